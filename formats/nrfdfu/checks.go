package nrfdfu

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// This file has the checks themselves, each named after the function of the
// bootloader that it mirrors.

// receive is nrf_dfu_validation_init_cmd_create.
func (b *boot) receive() (Status, error) {
	n, limit := len(b.image.Packet), b.device.maxPacket()
	switch {
	case n == 0:
		return Failed, refuse(resultParameter, verdict.DFUPacketSize, "empty init packet")
	case n > limit:
		return Failed, refuse(resultResources, verdict.DFUPacketSize, "init packet of %d bytes, the bootloader has room for %d", n, limit)
	}
	return Passed, nil
}

// decode is stored_init_cmd_decode.
func (b *boot) decode() (Status, error) {
	p, err := ParsePacket(b.image.Packet)
	if err != nil {
		e, ok := errors.AsType[*verdict.Error](err)
		if !ok {
			return Failed, err
		}
		return Failed, &refusal{resultObject, e}
	}
	b.packet, b.init = p, p.Init
	if p.Init.Type != nil {
		b.kind = *p.Init.Type
	}
	return Passed, nil
}

func (b *boot) signatureRequired() bool {
	if b.kind == TypeApplication || b.kind == TypeSoftDevice && !b.device.BLE {
		return !b.device.UnsignedApps
	}
	return true
}

// signature is nrf_dfu_validation_signature_check for the init packet.
func (b *boot) signature() (Status, error) {
	s := b.packet.Signature
	switch {
	case !b.signatureRequired():
		return NotApplicable, nil
	case s == nil:
		return Failed, refuse(resultSignatureMissing, verdict.DFUUnsigned, "no signature")
	case s.Type != ECDSAP256SHA256:
		return Failed, refuse(resultSignatureType, verdict.DFUSignatureType, "signature type %s, want %s", s.Type, ECDSAP256SHA256)
	case len(s.Bytes) != signatureSize:
		return Failed, refuse(resultFailed, verdict.DFUSignatureLength, "signature of %d bytes, want %d", len(s.Bytes), signatureSize)
	case b.device.Key.IsZero():
		return Failed, fmt.Errorf("nrfdfu: device: %w", ErrNoKey)
	case !b.verifies(b.packet.signed, s.Bytes):
		return Failed, refuse(resultObject, verdict.DFUSignature, "signature over the %d bytes of the init command does not verify with key %s%s",
			len(b.packet.signed), b.device.Key.ID().Short(), b.signatureHint(s.Bytes))
	}
	return Passed, nil
}

func (b *boot) verifies(message, signature []byte) bool {
	s, err := sign.ParseSignature(sign.ESP256, sign.LittleEndian, signature)
	return err == nil && b.device.Key.Verify(message, s) == nil
}

// signatureHint names the usual mistakes of external signing, so that a wrong
// byte order does not look like a wrong key.
func (b *boot) signatureHint(signature []byte) string {
	half := signatureSize / 2
	r, s := signature[:half], signature[half:]
	reversed := func(b []byte) []byte {
		b = slices.Clone(b)
		slices.Reverse(b)
		return b
	}
	message := b.packet.signed
	digest := sha256.Sum256(message)
	switch {
	case b.verifies(message, slices.Concat(reversed(r), reversed(s))):
		return ": r and s are big endian, the bootloader wants each byte-reversed"
	case b.verifies(message, slices.Concat(s, r)):
		return ": s stands before r"
	case b.verifies(digest[:], signature):
		return ": the digest was hashed once more"
	case b.verifies(b.packet.command(), signature):
		return ": it covers the command, not the init command in it"
	}
	return ""
}

// firmwareType is fw_type_ok.
func (b *boot) firmwareType() (Status, error) {
	switch {
	case b.init.Type == nil:
		return Failed, refuse(resultInitInvalid, verdict.DFUType, "no firmware type")
	case b.kind > TypeExternalApplication:
		return Failed, refuse(resultInitInvalid, verdict.DFUType, "firmware type %d", uint8(b.kind))
	case b.kind == TypeExternalApplication && !b.device.ExternalApps:
		return Failed, refuse(resultInitInvalid, verdict.DFUType, "an external application, for which the bootloader is not configured")
	}
	return Passed, nil
}

// hashType is fw_hash_type_ok.
func (b *boot) hashType() (Status, error) {
	switch h := b.init.Hash; {
	case h == nil:
		return Failed, refuse(resultHashType, verdict.DFUHashType, "no firmware hash")
	case h.Type != HashSHA256:
		return Failed, refuse(resultHashType, verdict.DFUHashType, "firmware hash %s, want %s", h.Type, HashSHA256)
	}
	return Passed, nil
}

// skipsVersions reports whether a debug bootloader has a debug package before
// it (nrf_dfu_ver_validation_check).
func (b *boot) skipsVersions() bool {
	return b.device.Debug && b.init.IsDebug != nil && *b.init.IsDebug
}

func (b *boot) hardware() (Status, error) {
	switch v := b.init.HWVersion; {
	case b.skipsVersions():
		return NotApplicable, nil
	case v == nil:
		return Failed, refuse(resultInitInvalid, verdict.DFUHardwareMissing, "no hardware version")
	case *v != b.device.HWVersion:
		return Failed, refuse(resultHWVersion, verdict.DFUHardware, "made for hardware version %d, the device has %d", *v, b.device.HWVersion)
	}
	return Passed, nil
}

// softDevice is sd_req_ok.
func (b *boot) softDevice() (Status, error) {
	if b.skipsVersions() {
		return NotApplicable, nil
	}
	if detail := b.softDeviceRefused(); detail != "" {
		return Failed, refuse(resultSDVersion, verdict.DFUSoftDevice, "%s", detail)
	}
	return Passed, nil
}

// softDeviceRefused returns why, or "".
func (b *boot) softDeviceRefused() string {
	req, sd := b.init.SDReq, b.device.SoftDevice
	// A bootloader that needs the SoftDevice protects it in any case.
	preventDowngrade := !b.device.AllowDowngrade || b.device.BLE && b.kind == TypeSoftDevice
	matches := slices.ContainsFunc(req, func(id uint32) bool {
		return sd != nil && id == uint32(sd.FWID) || id == SoftDeviceAny && b.kind == TypeExternalApplication
	})
	if sd == nil {
		switch needed := len(req) > 0 && req[0] != SoftDeviceNone; {
		case needed && !matches:
			return fmt.Sprintf("needs SoftDevice %s, the device has none", formatIDs(req))
		case !needed && preventDowngrade && b.init.FWVersion == nil:
			return "no firmware version, which a device without a SoftDevice wants"
		}
		return ""
	}
	switch {
	case len(req) == 0:
		return "names no SoftDevice, the device has one"
	case req[0] != SoftDeviceNone:
		if !matches {
			return fmt.Sprintf("needs SoftDevice %s, the device has 0x%04x", formatIDs(req), sd.FWID)
		}
	case b.kind == TypeApplication:
		switch {
		case !preventDowngrade || len(req) == 1:
		case b.device.BLE:
			return "would overwrite the SoftDevice, which the bootloader needs"
		case !slices.Contains(req, uint32(sd.FWID)):
			return fmt.Sprintf("may overwrite SoftDevice %s, the device has 0x%04x", formatIDs(req[1:]), sd.FWID)
		}
	case b.kind == TypeExternalApplication:
		return "an external application that would overwrite the SoftDevice"
	case b.kind == TypeSoftDevice && preventDowngrade:
		return "a SoftDevice for a device without one"
	}
	return ""
}

func formatIDs(list []uint32) string {
	text := ""
	for i, id := range list {
		if i > 0 {
			text += " or "
		}
		text += fmt.Sprintf("0x%04x", id)
	}
	return text
}

// version is fw_version_ok and fw_version_required.
func (b *boot) version() (Status, error) {
	d, v := b.device, b.init.FWVersion
	if b.skipsVersions() {
		return NotApplicable, nil
	}
	if v == nil {
		required := true
		switch b.kind {
		case TypeSoftDevice:
			required = false
		case TypeApplication:
			required = !d.AllowDowngrade
		case TypeExternalApplication:
			required = !d.ExternalUnversioned
		}
		if required {
			return Failed, refuse(resultInitInvalid, verdict.DFUVersionMissing, "no firmware version")
		}
		return NotApplicable, nil
	}
	stored, ok := d.AppVersion, false
	switch b.kind {
	case TypeApplication, TypeSoftDevice:
		if d.AllowDowngrade {
			return NotApplicable, nil
		}
		ok = *v > stored || *v == stored && !d.RefuseSameVersion
	case TypeExternalApplication:
		if d.ExternalUnversioned {
			return NotApplicable, nil
		}
		ok = *v >= stored
	default:
		stored = d.BootloaderVersion
		ok = *v > stored
	}
	if !ok {
		return Failed, refuse(resultFWVersion, verdict.DFUVersion, "version %d, the device has installed %d", *v, stored)
	}
	return Passed, nil
}

// sizes is update_data_size_get. Sums wrap as they do on the device.
func (b *boot) sizes() (Status, error) {
	b.size = 0
	if b.kind == TypeApplication || b.kind == TypeExternalApplication {
		if b.init.AppSize != nil {
			b.size = *b.init.AppSize
		}
	} else {
		if b.kind.hasSoftDevice() && b.init.SDSize != nil {
			b.size = *b.init.SDSize
		}
		if b.kind.hasBootloader() && b.init.BLSize != nil {
			area := b.device.Layout.MBRParams - b.device.Layout.Bootloader
			if *b.init.BLSize > area {
				return Failed, refuse(resultResources, verdict.DFUBootloaderSize, "bootloader of %d bytes, its area has %d", *b.init.BLSize, area)
			}
			b.size += *b.init.BLSize
		}
	}
	if b.size == 0 {
		return Failed, refuse(resultInitInvalid, verdict.DFUSizeMissing, "no size for firmware of type %s", b.kind)
	}
	return Passed, nil
}

// room is nrf_dfu_cache_prepare: it finds a place for the image, and gives up
// application and SoftDevice for it where they may go.
func (b *boot) room() (Status, error) {
	d := &b.device
	end := d.Layout.Bootloader - d.Layout.AppDataArea
	single := d.SingleBank && (b.kind == TypeApplication || b.kind == TypeSoftDevice)
	keepSD := d.BLE || len(b.init.SDReq) > 0 && b.init.SDReq[0] != SoftDeviceNone || d.SoftDevice == nil
	keepApp := d.ForceDualBank && d.AppSize > 0

	fits := func(address uint32) bool { return address <= end && b.size <= end-address }
	tooLarge := func(address uint32) (Status, error) {
		return Failed, refuse(resultResources, verdict.DFUNoRoom, "%d bytes do not fit between 0x%x and the application data at 0x%x", b.size, address, end)
	}
	b.address = d.bank1()
	if fits(b.address) && !single || keepApp {
		if !fits(b.address) {
			return tooLarge(b.address)
		}
		return Passed, nil
	}
	b.address = d.bank0()
	if fits(b.address) && !single || keepSD {
		if !fits(b.address) {
			return tooLarge(b.address)
		}
		d.AppSize = 0
		return Passed, nil
	}
	b.address = mbrEnd
	if !fits(b.address) {
		return tooLarge(b.address)
	}
	d.AppSize, d.SoftDevice = 0, nil
	return Passed, nil
}

// transfer sends the firmware file page by page, as senders do, up to the page
// that completes the image (on_data_obj_create_request).
func (b *boot) transfer() (Status, error) {
	length := uint32(len(b.image.Firmware))
	for offset := uint32(0); offset < min(length, b.size); offset += page {
		object := min(page, length-offset)
		switch {
		case object%page != 0 && offset+object != b.size:
			return Failed, refuse(resultParameter, verdict.DFUFirmwareSize, "%d bytes, the init packet announces %d", length, b.size)
		case object > b.size-offset:
			return Failed, refuse(resultNotPermitted, verdict.DFUFirmwareSize, "%d bytes, the init packet announces %d", length, b.size)
		}
	}
	if length < b.size {
		return Failed, refuse(Result{}, verdict.DFUFirmwareSize, "%d bytes, the init packet announces %d", length, b.size)
	}
	return Passed, nil
}

// received is the image, without what follows it in the file.
func (b *boot) received() []byte { return b.image.Firmware[:b.size] }

// hash is fw_hash_ok.
func (b *boot) hash() (Status, error) {
	sum := sha256.Sum256(b.received())
	want := b.init.Hash.stored
	slices.Reverse(want[:])
	if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
		return Passed, nil
	}
	hint := ""
	if subtle.ConstantTimeCompare(sum[:], b.init.Hash.stored[:]) == 1 {
		hint = ": it is not byte-reversed"
	}
	return Failed, refuse(resultVerification, verdict.DFUFirmwareHash, "SHA-256 %x, signed %x%s", sum, want, hint)
}

// softDeviceInfo is softdevice_info_ok and is_major_softdevice_update.
func (b *boot) softDeviceInfo() (Status, error) {
	if b.kind == TypeApplication || b.kind == TypeExternalApplication || !b.kind.hasSoftDevice() {
		return NotApplicable, nil
	}
	size := uint32(0)
	if b.init.SDSize != nil {
		size = *b.init.SDSize
	}
	sd, ok := ReadSoftDevice(b.received())
	old := b.device.SoftDevice
	switch {
	case !ok:
		return Failed, refuse(resultObject, verdict.DFUSoftDeviceInfo, "the SoftDevice has no information structure")
	case sd.End < alignPage(size+mbrEnd), size > b.size:
		return Failed, refuse(resultObject, verdict.DFUSoftDeviceInfo, "the SoftDevice says that it ends at 0x%x, and has %d bytes from 0x%x on", sd.End, size, mbrEnd)
	}
	b.newSD = sd
	status := Passed
	if b.device.SDK >= SDK16 && old != nil {
		switch {
		case old.ID == 0:
			status = NotRun
		case old.ID != sd.ID:
			return Failed, refuse(resultObject, verdict.DFUSoftDeviceFamily, "SoftDevice S%d, the device has S%d", sd.ID, old.ID)
		}
	}
	switch {
	case !b.device.BLE || b.kind.hasBootloader():
	case old.Version == 0:
		status = NotRun
	case old.Major() != sd.Major():
		return Failed, refuse(resultObject, verdict.DFUSoftDeviceMajor,
			"major version %d of the SoftDevice, the device has %d, and the package has no bootloader for it", sd.Major(), old.Major())
	}
	return status, nil
}

// bootValidation is postvalidate_app and postvalidate_sd_bl.
func (b *boot) bootValidation() (Status, error) {
	image := b.received()
	switch {
	case b.kind == TypeExternalApplication:
		return NotApplicable, nil
	case b.kind == TypeApplication:
		v, err := b.checkBoot("application", 0, ValidateCRC, image)
		if err != nil {
			return Failed, err
		}
		if b.device.RequireBootSigned && v != ValidateECDSA {
			return Failed, refuse(resultObject, verdict.DFUBootUnsigned, "boot validation %s, the bootloader demands %s", v, ValidateECDSA)
		}
		b.appValidation = v
		return Passed, nil
	}
	bootloaderEntry := 0
	if b.kind.hasSoftDevice() {
		size := uint32(0)
		if b.init.SDSize != nil {
			size = *b.init.SDSize
		}
		v, err := b.checkBoot("SoftDevice", 0, ValidateCRC, image[:size])
		if err != nil {
			return Failed, err
		}
		b.sdValidation = v
		image = image[size:]
		if b.device.SDK >= SDK17 {
			bootloaderEntry = 1
		}
	}
	if b.kind.hasBootloader() {
		if _, err := b.checkBoot("bootloader", bootloaderEntry, NoValidation, image); err != nil {
			return Failed, err
		}
	}
	return Passed, nil
}

// checkBoot is boot_validation_extract: CRC and hash are computed, only a
// signature can be wrong.
func (b *boot) checkBoot(part string, entry int, fallback ValidationType, data []byte) (ValidationType, error) {
	v := BootValidation{Type: fallback}
	if entry < len(b.init.BootValidations) {
		v = b.init.BootValidations[entry]
	}
	switch v.Type {
	case NoValidation, ValidateCRC, ValidateSHA256:
		return v.Type, nil
	case ValidateECDSA:
		if b.device.Key.IsZero() {
			return 0, fmt.Errorf("nrfdfu: device: %w", ErrNoKey)
		}
		if !b.verifies(data, v.stored()) {
			return 0, refuse(resultObject, verdict.DFUBootSignature, "boot validation %d does not verify over the %d bytes of the %s", entry, len(data), part)
		}
		return v.Type, nil
	}
	return 0, refuse(resultObject, verdict.DFUBootValidation, "boot validation of type %d", uint8(v.Type))
}

// end looks at what a sender goes on with after the image is complete. The
// device has accepted it by then, but the sender is told otherwise.
func (b *boot) end() (Status, error) {
	extra := len(b.image.Firmware) - int(b.size)
	if extra == 0 {
		return Passed, nil
	}
	// The progress is reset, so the object is looked at as if it were the first.
	result := resultNotPermitted
	if object := uint32(min(extra, page)); object%page != 0 && object != b.size {
		result = resultParameter
	}
	return Failed, refuse(result, verdict.DFUFirmwareSize, "%d bytes after the %d that the init packet announces", extra, b.size)
}
