package nrfdfu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// TestSettings makes every settings page of pc-nrfutil again. Signatures are
// taken from its page; everything has to be equal then, the checksums included.
func TestSettings(t *testing.T) {
	app := func(v nrfdfu.ValidationType) *nrfdfu.Part {
		return &nrfdfu.Part{Firmware: input(t, "app_v1"), Version: 1, BootValidation: &v}
	}
	sd := &nrfdfu.Part{Firmware: input(t, "softdevice_s132_720_standin"), BootValidation: new(nrfdfu.ValidateECDSA)}
	for _, c := range []struct {
		file    string
		options nrfdfu.SettingsOptions
		address uint32
		backup  *uint32
	}{
		{"s1_v1_52", nrfdfu.SettingsOptions{Version: 1, Application: app(nrfdfu.NoValidation), BootloaderVersion: 1}, 0x7f000, nil},
		{"s2_v2_52_crc", nrfdfu.SettingsOptions{Version: 2, Application: app(nrfdfu.ValidateCRC), BootloaderVersion: 1}, 0x7f000, new(uint32(0x7e000))},
		{"s3_v2_52_sha", nrfdfu.SettingsOptions{Version: 2, Application: app(nrfdfu.ValidateSHA256), BootloaderVersion: 1}, 0x7f000, new(uint32(0x7e000))},
		{"s4_v2_52_ecdsa_sd", nrfdfu.SettingsOptions{Version: 2, Application: app(nrfdfu.ValidateECDSA), SoftDevice: sd, BootloaderVersion: 1}, 0x7f000, new(uint32(0x7e000))},
		{"s5_v2_52840", nrfdfu.SettingsOptions{Version: 2, Application: app(nrfdfu.ValidateCRC), BootloaderVersion: 1}, 0xff000, nil},
		{"s6_v2_52810_noapp", nrfdfu.SettingsOptions{Version: 2, BootloaderVersion: 3}, 0x2f000, new(uint32(0x2e000))},
	} {
		t.Run(c.file, func(t *testing.T) {
			want := image(t, "settings/"+c.file+".hex")
			page := want.Segments()[len(want.Segments())-1]
			if page.Addr != c.address && c.backup == nil {
				t.Fatalf("page at 0x%x", page.Addr)
			}
			size := nrfdfu.SettingsSizeV2
			if c.options.Version == 1 {
				size = nrfdfu.SettingsSizeV1
			}
			read, err := nrfdfu.ParseSettings(page.Data[len(page.Data)-size:])
			if err != nil {
				t.Fatal(err)
			}
			again, err := read.Encode()
			if err != nil || !bytes.Equal(again, page.Data[len(page.Data)-size:]) {
				t.Errorf("encodes to other bytes: %v", err)
			}

			c.options.Key = publicKey(t, "test-a")
			draft, err := nrfdfu.PrepareSettings(c.options)
			if err != nil {
				t.Fatal(err)
			}
			var signatures [][]byte
			for _, v := range []nrfdfu.StoredValidation{read.SoftDeviceBoot, read.AppBoot} {
				if v.Type == nrfdfu.ValidateECDSA {
					signatures = append(signatures, v.Content[:])
				}
			}
			encoded, err := draft.Finish(accepted(t, draft.Requests(), signatures))
			if err != nil {
				t.Fatal(err)
			}
			got, err := nrfdfu.SettingsImage(encoded, c.address, c.backup)
			if err != nil {
				t.Fatal(err)
			}
			if !sameImage(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}

			var application, softDevice *nrfdfu.Firmware
			if p := c.options.Application; p != nil {
				application = &p.Firmware
			}
			if p := c.options.SoftDevice; p != nil {
				softDevice = &p.Firmware
			}
			if err := read.CheckFirmware(c.options.Key, application, softDevice); err != nil {
				t.Error(err)
			}
		})
	}
}

func sameImage(a, b formats.Image) bool {
	x, y := a.Segments(), b.Segments()
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i].Addr != y[i].Addr || !bytes.Equal(x[i].Data, y[i].Data) {
			return false
		}
	}
	return true
}

// settings returns the page of an application with a boot validation.
func settings(t testing.TB, v nrfdfu.ValidationType) (nrfdfu.Settings, nrfdfu.Firmware, sign.PublicKey) {
	t.Helper()
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	f := bin(t, []byte("the firmware"))
	d, err := nrfdfu.PrepareSettings(nrfdfu.SettingsOptions{
		Version: 2, Application: &nrfdfu.Part{Firmware: f, Version: 7, BootValidation: &v}, BootloaderVersion: 3, Key: signer.Public(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Settings(answer(t, d.Requests(), signer))
	if err != nil {
		t.Fatal(err)
	}
	return s, f, signer.Public()
}

func TestCheckFirmware(t *testing.T) {
	for _, v := range []nrfdfu.ValidationType{nrfdfu.NoValidation, nrfdfu.ValidateCRC, nrfdfu.ValidateSHA256, nrfdfu.ValidateECDSA} {
		s, f, key := settings(t, v)
		if err := s.CheckFirmware(key, &f, nil); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		other := bin(t, []byte("The firmware"))
		if err := s.CheckFirmware(key, &other, nil); verdict.Of(err) != verdict.DFUSettingsFirmware {
			t.Errorf("%s: other firmware: %v", v, err)
		}
		s.Bank0.CRC = crc32.ChecksumIEEE(other.Data)
		want := verdict.DFUSettingsBoot
		if v == nrfdfu.NoValidation {
			want = ""
		}
		if err := s.CheckFirmware(key, &other, nil); verdict.Of(err) != want || want == "" && err != nil {
			t.Errorf("%s: other firmware with the right CRC: %v", v, err)
		}
		s.Bank0.Code = nrfdfu.BankInvalid
		if err := s.CheckFirmware(key, &f, nil); verdict.Of(err) != verdict.DFUSettingsFirmware {
			t.Errorf("%s: no application: %v", v, err)
		}
	}
	s, f, _ := settings(t, nrfdfu.ValidateECDSA)
	if err := s.CheckFirmware(sign.PublicKey{}, &f, nil); !errors.Is(err, nrfdfu.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	s.AppBoot.Type = 9
	if err := s.CheckFirmware(sign.PublicKey{}, &f, nil); verdict.Of(err) != verdict.DFUBootValidation {
		t.Errorf("type 9: %v", err)
	}
	s.SoftDeviceBoot.Type = nrfdfu.ValidateCRC
	if err := s.CheckFirmware(sign.PublicKey{}, nil, &f); verdict.Of(err) != verdict.DFUSettingsFirmware {
		t.Errorf("SoftDevice of another size: %v", err)
	}
}

// TestParseSettingsRefuses names what a bootloader that starts with empty
// settings has found.
func TestParseSettingsRefuses(t *testing.T) {
	s, _, _ := settings(t, nrfdfu.ValidateSHA256)
	good, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	seal := func(b []byte) { binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:0x5c])) }
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		reason verdict.Reason
		offset int64
	}{
		{"empty", func([]byte) []byte { return nil }, verdict.DFUSettingsLength, 0},
		{"short", func(b []byte) []byte { return b[:0x5b] }, verdict.DFUSettingsLength, 0x5b},
		{"version 2 cut", func(b []byte) []byte { return b[:0x322] }, verdict.DFUSettingsLength, 0x322},
		{"checksum", func(b []byte) []byte { b[8] ^= 1; return b }, verdict.DFUSettingsCRC, 0},
		{"erased", func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }, verdict.DFUSettingsCRC, 0},
		{"version 3", func(b []byte) []byte { b[4] = 3; seal(b); return b }, verdict.DFUSettingsVersion, 4},
		{"version 0", func(b []byte) []byte { b[4] = 0; seal(b); return b }, verdict.DFUSettingsVersion, 4},
		{"boot validation", func(b []byte) []byte { b[0x2a1] = 0; return b }, verdict.DFUSettingsBootCRC, 0x25c},
	} {
		_, err := nrfdfu.ParseSettings(c.change(bytes.Clone(good)))
		e, ok := errors.AsType[*verdict.Error](err)
		if !ok || e.Reason != c.reason || e.Offset != c.offset {
			t.Errorf("%s: got %v, want %s at offset %d", c.name, err, c.reason, c.offset)
		}
	}
}

func TestPrepareSettingsRefuses(t *testing.T) {
	part := func(v nrfdfu.ValidationType) *nrfdfu.Part {
		return &nrfdfu.Part{Firmware: bin(t, []byte{1}), BootValidation: &v}
	}
	p384, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options nrfdfu.SettingsOptions
		reason  verdict.Reason // "" for ErrOptions
	}{
		"version 0":                {nrfdfu.SettingsOptions{}, verdict.DFUSettingsVersion},
		"version 1 with CRC":       {nrfdfu.SettingsOptions{Version: 1, Application: part(nrfdfu.ValidateCRC)}, verdict.DFUSettingsVersion},
		"version 1 SoftDevice":     {nrfdfu.SettingsOptions{Version: 1, SoftDevice: part(nrfdfu.ValidateSHA256)}, verdict.DFUSettingsVersion},
		"no bytes":                 {nrfdfu.SettingsOptions{Version: 2, Application: &nrfdfu.Part{}}, verdict.DFUPartSize},
		"unknown type":             {nrfdfu.SettingsOptions{Version: 2, Application: part(4)}, verdict.DFUBootValidation},
		"signature without key":    {nrfdfu.SettingsOptions{Version: 2, Application: part(nrfdfu.ValidateECDSA)}, ""},
		"signature with other key": {nrfdfu.SettingsOptions{Version: 2, Application: part(nrfdfu.ValidateECDSA), Key: p384.Public()}, ""},
	} {
		_, err := nrfdfu.PrepareSettings(c.options)
		if verdict.Of(err) != c.reason || c.reason == "" && !errors.Is(err, nrfdfu.ErrOptions) {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
	if _, err := (nrfdfu.Settings{Version: 3}).Encode(); verdict.Of(err) != verdict.DFUSettingsVersion {
		t.Errorf("version 3: %v", err)
	}
	d, err := nrfdfu.PrepareSettings(nrfdfu.SettingsOptions{Version: 2, Application: part(nrfdfu.NoValidation)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Finish(make([]sign.Signature, 1)); !errors.Is(err, nrfdfu.ErrOptions) {
		t.Errorf("one signature too many: %v", err)
	}
	for address, backup := range map[uint32]*uint32{0x7f001: nil, 0x7f000: new(uint32(0x7f000)), 0xff000: new(uint32(2))} {
		if _, err := nrfdfu.SettingsImage([]byte{1}, address, backup); verdict.Of(err) != verdict.DFUSettingsAddress {
			t.Errorf("page at 0x%x: %v", address, err)
		}
	}
}

// Without a word about it an application is checked where that can be.
func TestSettingsDefault(t *testing.T) {
	for version, want := range map[int]nrfdfu.ValidationType{1: nrfdfu.NoValidation, 2: nrfdfu.ValidateCRC} {
		d, err := nrfdfu.PrepareSettings(nrfdfu.SettingsOptions{Version: version, Application: &nrfdfu.Part{Firmware: bin(t, []byte{1})}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Settings(nil)
		if err != nil || s.AppBoot.Type != want {
			t.Errorf("version %d: %s, %v", version, s.AppBoot.Type, err)
		}
	}
}
