package bootloader

import (
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign/verdict"
)

// nrf5SDK is the secure bootloader of the nRF5 SDK. Its init packet is checked
// before anything else is received, the image when all of it has arrived.
func nrf5SDK() Profile {
	p := Profile{
		Name: "nrf5-sdk", Title: "Nordic nRF5 SDK, secure bootloader",
		Source: Source{Project: "nRF5 SDK 15.3, 16.0 and 17.1 (mirrors kaidokert/nRF5_SDK, wangben85/nRF52832_SDK_16.0_Ben)", Version: "d6198b2f, 643dc208", Files: []string{
			"components/libraries/bootloader/dfu/nrf_dfu_req_handler.c", "components/libraries/bootloader/dfu/nrf_dfu_validation.c",
			"components/libraries/bootloader/dfu/nrf_dfu_ver_validation.c", "components/libraries/bootloader/nrf_bootloader.c",
			"components/libraries/bootloader/nrf_bootloader_fw_activation.c",
		}},
		Verifier: "formats/nrfdfu",
		Steps: []ProfileStep{
			{ID: Step(nrfdfu.StepReceive), Input: "length of the init packet", Reasons: []verdict.Reason{verdict.DFUPacketSize}},
			{ID: Step(nrfdfu.StepDecode), Input: "init packet: protobuf",
				Reasons: []verdict.Reason{verdict.DFUPacketEncoding, verdict.DFUPacketCommands, verdict.DFUPacketSize}},
			{ID: Step(nrfdfu.StepSignature), Input: "signature over the init command", Compare: CompareUnknown,
				Note:    "in the crypto library; all of it is public. Applications can be configured to need none",
				Reasons: []verdict.Reason{verdict.DFUUnsigned, verdict.DFUSignatureType, verdict.DFUSignatureLength, verdict.DFUSignature}},
			{ID: Step(nrfdfu.StepType), Input: "type of the firmware", Reasons: []verdict.Reason{verdict.DFUType}},
			{ID: Step(nrfdfu.StepHashType), Input: "type of the firmware hash", Reasons: []verdict.Reason{verdict.DFUHashType}},
			{ID: Step(nrfdfu.StepHardware), Input: "hardware version, equal to the device's",
				Note:    "a debug bootloader leaves this and the next two out for a debug package",
				Reasons: []verdict.Reason{verdict.DFUHardwareMissing, verdict.DFUHardware}},
			{ID: Step(nrfdfu.StepSoftDevice), Input: "required SoftDevices against the installed one", Reasons: []verdict.Reason{verdict.DFUSoftDevice}},
			{ID: Step(nrfdfu.StepVersion), Input: "firmware version against the settings page",
				Reasons: []verdict.Reason{verdict.DFUVersionMissing, verdict.DFUVersion}},
			{ID: Step(nrfdfu.StepSize), Input: "sizes of the parts", Reasons: []verdict.Reason{verdict.DFUSizeMissing, verdict.DFUBootloaderSize}},
			{ID: Step(nrfdfu.StepRoom), Input: "room in flash", Note: "may give up the installed application or SoftDevice",
				Reasons: []verdict.Reason{verdict.DFUNoRoom}},
			{ID: Step(nrfdfu.StepTransfer), Input: "length of what is sent", Reasons: []verdict.Reason{verdict.DFUFirmwareSize}},
			{ID: Step(nrfdfu.StepHash), Input: "SHA-256 of the image in flash against the init packet", Compare: CompareEarly,
				Note: "memcmp; both sides are public", Reasons: []verdict.Reason{verdict.DFUFirmwareHash}},
			{ID: Step(nrfdfu.StepSoftDeviceInfo), Input: "information structure of a new SoftDevice",
				Reasons: []verdict.Reason{verdict.DFUSoftDeviceInfo, verdict.DFUSoftDeviceFamily, verdict.DFUSoftDeviceMajor}},
			{ID: Step(nrfdfu.StepBootValidation), Input: "what will be checked at every start", Compare: CompareUnknown,
				Note:    "only a signature can be wrong, CRC-32 and SHA-256 are computed here",
				Reasons: []verdict.Reason{verdict.DFUBootValidation, verdict.DFUBootSignature, verdict.DFUBootUnsigned}},
			{ID: Step(nrfdfu.StepEnd), Input: "bytes after the image",
				Note: "the image is accepted by then, the sender is told otherwise", Reasons: []verdict.Reason{verdict.DFUFirmwareSize}},
		},
		Rollback: Rollback{
			Of:     "firmware version, in the settings page",
			Rule:   "application: not below, or above where configured; bootloader: above",
			Raised: "when the image was received and its hash is right, before it is activated and without a confirmation",
		},
		Trial: Trial{Revert: "none: a valid image is not given up"},
		Writes: []Write{
			{"when the image is complete and right", "settings page, then its backup: bank 1 valid, bank 0 invalid, version, CRC-32 and size, progress cleared"},
			{"after each page that is copied to bank 0", "settings page: progress"},
			{"after the copy", "settings page: bank 0 valid, bank 1 invalid"},
		},
		EveryBoot: "the SoftDevice and the application by their boot validation: none, CRC-32 (the application's default), SHA-256 or ECDSA",
		Hardening: "none",
		Geometry:  Geometry{Page: 4 << 10, WriteUnit: 4, WriteOnce: new(false)},
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		s.OnFail = Stay
		if s.Compare == "" {
			s.Compare = CompareNone
		}
	}
	return p
}
