package bootloader

import (
	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign/verdict"
)

// sbsfuProfile is ST's secure boot and secure firmware update (X-CUBE-SBSFU):
// what an installation checks, then what the start after it does.
func sbsfuProfile() Profile {
	return Profile{
		Name: "sbsfu", Title: "ST X-CUBE-SBSFU",
		Source: Source{Project: "X-CUBE-SBSFU (mirrors STChens/SBSFU_G4_SPDM_Demo, tohidg-fcs/st_sbsfu)", Version: "a14c015d (the first)", Files: []string{
			"SBSFU/App/sfu_boot.c", "SBSFU/App/sfu_fwimg_common.c", "SBSFU/App/sfu_boot.h",
		}},
		Verifier: "formats/sbsfu",
		Steps: []ProfileStep{
			{ID: Step(sbsfu.StepCandidate), Input: "header signature of the downloaded image, by the key of the slot that the magic names",
				Compare: CompareUnknown, OnFail: UnknownResponse, Note: "in ST's crypto library",
				Reasons: []verdict.Reason{verdict.Truncated, verdict.SFBScheme, verdict.ImageMagic, verdict.SignatureInvalid}},
			{ID: Step(sbsfu.StepVersion), Input: "version against the active image and the first version allowed, then the size against the slot",
				Compare: CompareNone, OnFail: Erase,
				Note:    "called twice; without a valid active header only the initial version passes",
				Reasons: []verdict.Reason{verdict.SFBInitVersion, verdict.VersionDowngrade, verdict.ImageExceedsSlot}},
			{ID: Step(sbsfu.StepHeader), Input: "header: magic, reserved bytes zero, then the header signature", Compare: CompareConstantTime, OnFail: EraseKeepHeader,
				Note: "the reserved bytes, by an OR over all of them", Reasons: []verdict.Reason{verdict.ReservedBytes, verdict.SignatureInvalid}},
			{ID: Step(sbsfu.StepImage), Input: "tag of the image (SHA-256, or of AES-GCM) against the header", Compare: CompareDoubled, OnFail: EraseKeepHeader,
				Secret:  "an authentication tag in the AES-GCM scheme, and the hash of decrypted content where the image is encrypted",
				Note:    "an OR over all bytes; the tag is kept and compared again before the jump. Of a partial image first the tag of the part",
				Reasons: []verdict.Reason{verdict.ImageSizes, verdict.PayloadDigestMismatch, verdict.ImageDigestMismatch}},
			{ID: Step(sbsfu.StepRest), Input: "the rest of the slot is blank", Compare: CompareUnknown, OnFail: EraseKeepHeader,
				Note: "words of all ones, or all zeros", Reasons: []verdict.Reason{verdict.SlotNotBlank}},
			{ID: Step(sbsfu.StepFlow), Input: "flow control word against the constant of a complete run", Compare: CompareNone, OnFail: Halt,
				Reasons: []verdict.Reason{verdict.FlowControl}},
			{ID: Step(sbsfu.StepExecute), Input: "header signature once more, saved tag once more, flow control word", Compare: CompareConstantTime, OnFail: UnknownResponse,
				Note:    "a wrong flow control word halts; it is tested again right before the jump",
				Reasons: []verdict.Reason{verdict.SignatureInvalid, verdict.ImageDigestMismatch}},
		},
		Rollback: Rollback{
			Of: "version in the header of the active slot", Rule: "not below",
			Raised: "with the swap: an erased slot keeps its header",
		},
		Trial: Trial{
			Attempts: 1, Marker: "state SELFTEST in the header", Revert: "a start that finds SELFTEST marks the image invalid and goes back",
		},
		Writes: []Write{
			{"after the swap", "header of the active slot"},
			{"before the first start", "state: NEW to SELFTEST"},
			{"when the firmware confirms itself", "state: SELFTEST to VALID"},
		},
		EveryBoot: "header, image, rest-blank, flow and execute, for each configured slot",
		Hardening: "flow control word, checks made twice, decision code compiled without optimisation, services locked twice; the watchdog is fed in long loops",
		Geometry:  Geometry{Note: "of the STM32 family; states are fields of 32 bytes that are cleared"},
	}
}
