package nrfdfu

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Offsets in the settings page (nrf_dfu_types.h, nrf_dfu_settings_t; pc-nrfutil,
// nordicsemi/dfu/bl_dfu_sett.py). Numbers are little endian.
const (
	atCRC               = 0x00
	atVersion           = 0x04
	atAppVersion        = 0x08
	atBootloaderVersion = 0x0c
	atBankLayout        = 0x10
	atBankCurrent       = 0x14
	atBank0             = 0x18
	atBank1             = 0x24
	atWriteOffset       = 0x30
	atSDSize            = 0x34
	atProgress          = 0x38
	atEnterButtonless   = 0x58
	atInitCommand       = 0x5c  // the checksum ends here
	atBootCRC           = 0x25c // version 2 only, from here on
	atBootSoftDevice    = 0x260
	atBootApp           = 0x2a1
	atBootBootloader    = 0x2e2
	bootEnd             = 0x323 // and the checksum of the boot validations here

	// SettingsSizeV1 and SettingsSizeV2 are the bytes of a settings page that
	// [Settings.Encode] writes: whole words. The rest of the page is erased.
	SettingsSizeV1 = atInitCommand
	SettingsSizeV2 = bootEnd + 1

	settingsObject = "settings"
)

// Bank is an image in flash as the settings page has it.
type Bank struct {
	Size uint32 // bytes
	CRC  uint32 // CRC-32
	Code uint32 // BankApplication and others
}

// Settings is the bootloader's settings page: what it knows of the firmware
// beside it. A factory programs one with the first firmware, so that the
// bootloader starts it and refuses downgrades from the first update on.
type Settings struct {
	Version int // 2 from SDK 15.3 on, 1 before

	AppVersion, BootloaderVersion uint32
	BankLayout, BankCurrent       uint32
	Bank0, Bank1                  Bank // Bank0 is the application that runs
	WriteOffset                   uint32
	SoftDeviceSize                uint32    // bytes, without the master boot record
	Progress                      [8]uint32 // of an update under way
	EnterButtonless               uint32

	// Boot validations, version 2 only.
	SoftDeviceBoot, AppBoot, BootloaderBoot StoredValidation

	// InitCommand is the last init packet with the unused rest of its buffer,
	// 512 bytes, version 2 only.
	InitCommand [MaxPacket]byte
}

// StoredValidation is a boot validation with the content that the bootloader
// compares: CRC-32 in 4 little-endian bytes, SHA-256 in 32 bytes that are not
// reversed, or r‖s with each half byte-reversed. The rest is zero.
type StoredValidation struct {
	Type    ValidationType
	Content [signatureSize]byte
}

// SettingsOptions says what a factory's settings page is about.
type SettingsOptions struct {
	Version int // 1 or 2, see Settings

	// Application in bank 0, nil for none: the bootloader then waits for one.
	// Without a SoftDevice its size is 0, and it has no boot validation.
	Application, SoftDevice *Part
	BootloaderVersion       uint32

	Key sign.PublicKey // the bootloader's, where a part has ValidateECDSA
}

// SettingsDraft is a settings page that is complete but for the signatures of
// its boot validations.
type SettingsDraft struct {
	settings Settings
	key      sign.PublicKey
	pending  []pendingBoot
}

// pendingBoot is a boot validation that waits for its signature.
type pendingBoot struct {
	name     string
	message  []byte
	validate func(*Settings) *StoredValidation
}

// PrepareSettings builds a settings page as pc-nrfutil does (settings
// generate): a part without BootValidation gets ValidateCRC in version 2.
// Version 1 has no boot validations.
func PrepareSettings(o SettingsOptions) (*SettingsDraft, error) {
	d := &SettingsDraft{key: o.Key, settings: Settings{Version: o.Version, BootloaderVersion: o.BootloaderVersion}}
	if o.Version != 1 && o.Version != 2 {
		return nil, verdict.New(verdict.DFUSettingsVersion, settingsObject, "version %d, want 1 or 2", o.Version)
	}
	if p := o.SoftDevice; p != nil {
		d.settings.SoftDeviceSize = uint32(len(p.Firmware.Data))
		if err := d.add("softdevice", *p, func(s *Settings) *StoredValidation { return &s.SoftDeviceBoot }); err != nil {
			return nil, err
		}
	}
	if p := o.Application; p != nil {
		data := p.Firmware.Data
		d.settings.AppVersion = p.Version
		d.settings.Bank0 = Bank{Size: uint32(len(data)), CRC: crc32.ChecksumIEEE(data), Code: BankApplication}
		if err := d.add("application", *p, func(s *Settings) *StoredValidation { return &s.AppBoot }); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *SettingsDraft) add(name string, p Part, entry func(*Settings) *StoredValidation) error {
	if err := p.check(name); err != nil {
		return err
	}
	validation := p.validation()
	if d.settings.Version == 1 && p.BootValidation == nil {
		validation = NoValidation
	}
	if validation == NoValidation {
		return nil
	}
	if d.settings.Version == 1 {
		return verdict.New(verdict.DFUSettingsVersion, settingsObject, "version 1 has no boot validations, and the %s wants %s", name, validation)
	}
	v := entry(&d.settings)
	v.Type = validation
	switch v.Type {
	case ValidateCRC:
		binary.LittleEndian.PutUint32(v.Content[:], crc32.ChecksumIEEE(p.Firmware.Data))
	case ValidateSHA256:
		sum := sha256.Sum256(p.Firmware.Data)
		copy(v.Content[:], sum[:])
	case ValidateECDSA:
		if d.key.Algorithm() != sign.ESP256 {
			return fmt.Errorf("nrfdfu: %s: %s boot validation, and no key for %s: %w", name, v.Type, sign.ESP256, ErrOptions)
		}
		d.pending = append(d.pending, pendingBoot{name, p.Firmware.Data, entry})
	}
	return nil
}

// Requests asks for the signatures of boot validations, over the bytes of the
// part.
func (d *SettingsDraft) Requests() []sign.Request {
	var requests []sign.Request
	for _, p := range d.pending {
		requests = append(requests, sign.Request{
			Artifact: "settings: " + p.name + " boot validation", Role: Role, Key: d.key.ID(), Message: p.message,
		})
	}
	return requests
}

// Settings puts the signatures in their place. It is pure, and checks number
// and algorithm of the signatures only.
func (d *SettingsDraft) Settings(signatures []sign.Signature) (Settings, error) {
	encoded, err := encodeSignatures(settingsObject, signatures, len(d.pending))
	if err != nil {
		return Settings{}, err
	}
	s := d.settings
	for i, p := range d.pending {
		copy(p.validate(&s).Content[:], encoded[i])
	}
	return s, nil
}

// Finish is Settings, encoded: the bytes from the beginning of the page.
func (d *SettingsDraft) Finish(signatures []sign.Signature) ([]byte, error) {
	s, err := d.Settings(signatures)
	if err != nil {
		return nil, err
	}
	return s.Encode()
}

var _ formats.Unsigned = (*SettingsDraft)(nil)

// Encode returns the bytes from the beginning of the page, SettingsSizeV1 or
// SettingsSizeV2 of them, with both checksums.
func (s Settings) Encode() ([]byte, error) {
	size := SettingsSizeV1
	switch s.Version {
	case 1:
	case 2:
		size = SettingsSizeV2
	default:
		return nil, verdict.New(verdict.DFUSettingsVersion, settingsObject, "version %d, want 1 or 2", s.Version)
	}
	b := make([]byte, size)
	le := binary.LittleEndian
	words := s.words()
	for at, v := range words {
		le.PutUint32(b[at:], *v)
	}
	le.PutUint32(b[atVersion:], uint32(s.Version))
	for i, v := range s.Progress {
		le.PutUint32(b[atProgress+4*i:], v)
	}
	if s.Version == 2 {
		copy(b[atInitCommand:], s.InitCommand[:])
		for at, v := range s.validations() {
			b[at] = uint8(v.Type)
			copy(b[at+1:], v.Content[:])
		}
		b[bootEnd] = fill // up to a whole word
		le.PutUint32(b[atBootCRC:], crc32.ChecksumIEEE(b[atBootSoftDevice:bootEnd]))
	}
	le.PutUint32(b[atCRC:], crc32.ChecksumIEEE(b[atVersion:atInitCommand]))
	return b, nil
}

// words maps offsets to the fields that are plain numbers.
func (s *Settings) words() map[int]*uint32 {
	return map[int]*uint32{
		atAppVersion: &s.AppVersion, atBootloaderVersion: &s.BootloaderVersion,
		atBankLayout: &s.BankLayout, atBankCurrent: &s.BankCurrent,
		atBank0: &s.Bank0.Size, atBank0 + 4: &s.Bank0.CRC, atBank0 + 8: &s.Bank0.Code,
		atBank1: &s.Bank1.Size, atBank1 + 4: &s.Bank1.CRC, atBank1 + 8: &s.Bank1.Code,
		atWriteOffset: &s.WriteOffset, atSDSize: &s.SoftDeviceSize, atEnterButtonless: &s.EnterButtonless,
	}
}

func (s *Settings) validations() map[int]*StoredValidation {
	return map[int]*StoredValidation{atBootSoftDevice: &s.SoftDeviceBoot, atBootApp: &s.AppBoot, atBootBootloader: &s.BootloaderBoot}
}

// ParseSettings reads the beginning of a settings page, as it was built or as
// it was read out of a device; what comes after the boot validations is not
// looked at. It checks both checksums (nrf_dfu_settings.c, crc_ok and
// boot_validation_crc_ok): a bootloader that finds the first one wrong takes
// the backup page, or starts with empty settings.
func ParseSettings(b []byte) (Settings, error) {
	le := binary.LittleEndian
	if len(b) < SettingsSizeV1 {
		return Settings{}, verdict.At(int64(len(b)), verdict.DFUSettingsLength, settingsObject, "%d bytes, want at least %d", len(b), SettingsSizeV1)
	}
	stored, sum := le.Uint32(b[atCRC:]), crc32.ChecksumIEEE(b[atVersion:atInitCommand])
	switch {
	case stored == 0xffffffff:
		return Settings{}, verdict.At(atCRC, verdict.DFUSettingsCRC, settingsObject, "no checksum was written")
	case stored != sum:
		return Settings{}, verdict.At(atCRC, verdict.DFUSettingsCRC, settingsObject, "checksum %08x, want %08x", stored, sum)
	}
	version := le.Uint32(b[atVersion:])
	if version != 1 && version != 2 {
		return Settings{}, verdict.At(atVersion, verdict.DFUSettingsVersion, settingsObject, "version %d, want 1 or 2", version)
	}
	s := Settings{Version: int(version)}
	for at, v := range s.words() {
		*v = le.Uint32(b[at:])
	}
	for i := range s.Progress {
		s.Progress[i] = le.Uint32(b[atProgress+4*i:])
	}
	if version == 1 {
		return s, nil
	}
	if len(b) < bootEnd {
		return Settings{}, verdict.At(int64(len(b)), verdict.DFUSettingsLength, settingsObject, "%d bytes, version 2 has %d", len(b), bootEnd)
	}
	if stored, sum := le.Uint32(b[atBootCRC:]), crc32.ChecksumIEEE(b[atBootSoftDevice:bootEnd]); stored != sum {
		return Settings{}, verdict.At(atBootCRC, verdict.DFUSettingsBootCRC, settingsObject, "checksum of the boot validations %08x, want %08x", stored, sum)
	}
	copy(s.InitCommand[:], b[atInitCommand:])
	for at, v := range s.validations() {
		v.Type = ValidationType(b[at])
		copy(v.Content[:], b[at+1:])
	}
	return s, nil
}

// CheckFirmware makes the checks that a bootloader makes of the application,
// and of the SoftDevice if there is one, when it starts (nrf_bootloader.c,
// app_is_valid). The key is needed for ECDSA boot validations only. A nil
// SoftDevice means that none is installed.
func (s Settings) CheckFirmware(key sign.PublicKey, application, softDevice *Firmware) error {
	if application != nil {
		data := application.Data
		switch {
		case s.Bank0.Code != BankApplication:
			return verdict.New(verdict.DFUSettingsFirmware, settingsObject, "bank 0 has code 0x%02x, no application", s.Bank0.Code)
		case s.Bank0.Size != uint32(len(data)) || s.Bank0.CRC != crc32.ChecksumIEEE(data):
			return verdict.New(verdict.DFUSettingsFirmware, settingsObject, "bank 0 has %d bytes with CRC-32 %08x, the application %d with %08x",
				s.Bank0.Size, s.Bank0.CRC, len(data), crc32.ChecksumIEEE(data))
		}
		if err := s.AppBoot.check("application", key, data); err != nil {
			return err
		}
	}
	if softDevice == nil {
		return nil
	}
	data := softDevice.Data
	if s.SoftDeviceBoot.Type != NoValidation && s.SoftDeviceSize != uint32(len(data)) {
		return verdict.New(verdict.DFUSettingsFirmware, settingsObject, "SoftDevice of %d bytes, the file has %d", s.SoftDeviceSize, len(data))
	}
	return s.SoftDeviceBoot.check("SoftDevice", key, data)
}

func (v StoredValidation) check(part string, key sign.PublicKey, data []byte) error {
	var want []byte
	switch v.Type {
	case NoValidation:
		return nil
	case ValidateCRC:
		want = binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	case ValidateSHA256:
		sum := sha256.Sum256(data)
		want = sum[:]
	case ValidateECDSA:
		if key.IsZero() {
			return fmt.Errorf("nrfdfu: settings: %s: %w", part, ErrNoKey)
		}
		signature, err := sign.ParseSignature(sign.ESP256, sign.LittleEndian, v.Content[:])
		if err == nil {
			err = key.Verify(data, signature)
		}
		if err != nil {
			return verdict.Wrap(err, verdict.DFUSettingsBoot, settingsObject+": "+part+" boot validation")
		}
		return nil
	default:
		return verdict.New(verdict.DFUBootValidation, settingsObject, "%s boot validation of type %d", part, uint8(v.Type))
	}
	if subtle.ConstantTimeCompare(v.Content[:len(want)], want) != 1 {
		return verdict.New(verdict.DFUSettingsBoot, settingsObject, "%s boot validation %s does not match the firmware", part, v.Type)
	}
	return nil
}

// SettingsImage places an encoded settings page at its address and, unless
// backup is nil, once more at the backup's, ready for firmware.WriteIntelHex.
// Both addresses begin a flash page; the usual ones are in [Profile].
func SettingsImage(encoded []byte, address uint32, backup *uint32) (formats.Image, error) {
	addresses := []uint32{address}
	if backup != nil {
		addresses = append(addresses, *backup)
	}
	var segments []formats.Segment
	for _, at := range addresses {
		if at%flashPage51 != 0 || slices.ContainsFunc(segments, func(s formats.Segment) bool { return s.Addr == at }) {
			return formats.Image{}, verdict.New(verdict.DFUSettingsAddress, settingsObject, "page at 0x%x", at)
		}
		segments = append(segments, formats.Segment{Addr: at, Data: encoded})
	}
	return formats.NewImage(segments)
}

// flashPage51 is the page of the nRF51, the smallest that settings can have.
const flashPage51 = 1024
