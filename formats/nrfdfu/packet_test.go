package nrfdfu_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign/verdict"
)

// field appends a protobuf field of wire type 2.
func field(number byte, content ...byte) []byte {
	b := []byte{number<<3 | 2}
	if n := len(content); n >= 0x80 {
		b = append(b, byte(n)|0x80, byte(n>>7))
	} else {
		b = append(b, byte(n))
	}
	return append(b, content...)
}

// plain wraps the bytes of an init command into an unsigned packet.
func plain(init ...byte) []byte { return field(1, field(2, init...)...) }

// signed wraps them into a signed one, with trailing bytes in the command.
func signed(init, trailing []byte) []byte {
	command := append(field(2, init...), trailing...)
	return field(2, slices.Concat(field(1, command...), []byte{0x10, 0}, field(3, make([]byte, 64)...))...)
}

// TestParsePacketAccepts lists what the bootloader's reader takes beyond what a
// writer should produce.
func TestParsePacketAccepts(t *testing.T) {
	uint32s := func(p *uint32) uint32 {
		if p == nil {
			return 999
		}
		return *p
	}
	for name, c := range map[string]struct {
		packet    []byte
		fw        uint32
		signed    []byte
		canonical bool
	}{
		"one field":                     {plain(8, 1), 1, []byte{8, 1}, true},
		"no field":                      {plain(), 999, nil, true},
		"long varint":                   {plain(8, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0), 1, []byte{8, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, false},
		"long tag":                      {plain(0x88, 0x80, 0, 1), 1, []byte{0x88, 0x80, 0, 1}, false},
		"other wire type":               {plain(8|5, 1), 1, []byte{8 | 5, 1}, false},
		"twice, the last counts":        {plain(8, 1, 8, 2), 2, []byte{8, 1, 8, 2}, false},
		"unknown varint":                {plain(8, 1, 0x78, 0xff, 0xff, 1), 1, []byte{8, 1, 0x78, 0xff, 0xff, 1}, false},
		"unknown 64 bits":               {plain(0x79, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1), 1, []byte{0x79, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1}, false},
		"unknown 32 bits":               {plain(0x7d, 1, 2, 3, 4, 8, 1), 1, []byte{0x7d, 1, 2, 3, 4, 8, 1}, false},
		"unknown bytes":                 {plain(0x7a, 1, 9, 8, 1), 1, []byte{0x7a, 1, 9, 8, 1}, false},
		"ends with a cut tag":           {plain(8, 1, 0x80), 1, []byte{8, 1, 0x80}, false},
		"ends with a zero tag":          {plain(8, 1, 0), 1, []byte{8, 1, 0}, false},
		"unpacked SoftDevices":          {plain(0x18, 5, 8, 1), 1, []byte{0x18, 5, 8, 1}, false},
		"empty list of SoftDevices":     {plain(0x1a, 0, 8, 1), 1, []byte{0x1a, 0, 8, 1}, false},
		"truth value -1":                {plain(8, 1, 0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), 1, []byte{8, 1, 0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, false},
		"signed":                        {signed([]byte{8, 1}, nil), 1, []byte{8, 1}, true},
		"op code after the command":     {signed([]byte{8, 1}, []byte{8, 2}), 2, []byte{8, 1, 8, 2}, false},
		"unknown after the signed part": {append(signed([]byte{8, 1}, nil), 0x78, 1), 1, []byte{8, 1}, false},
	} {
		p, err := nrfdfu.ParsePacket(c.packet)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := uint32s(p.Init.FWVersion); got != c.fw {
			t.Errorf("%s: version %d, want %d", name, got, c.fw)
		}
		if got := p.SignedBytes(); !bytes.Equal(got, c.signed) {
			t.Errorf("%s: signed bytes %x, want %x", name, got, c.signed)
		}
		if _, unusual := p.NonCanonical(); unusual == c.canonical {
			t.Errorf("%s: canonical is %t", name, !unusual)
		}
	}
}

func TestParsePacketRefuses(t *testing.T) {
	hash := func(content ...byte) []byte { return field(8, content...) }
	many := func(n int, one ...byte) []byte { return bytes.Repeat(one, n) }
	for name, c := range map[string]struct {
		packet []byte
		reason verdict.Reason
		offset int64
	}{
		"empty":                        {nil, verdict.DFUPacketSize, 0},
		"513 bytes":                    {make([]byte, 513), verdict.DFUPacketSize, 512},
		"nothing in it":                {[]byte{0}, verdict.DFUPacketCommands, verdict.NoOffset},
		"command without init":         {field(1, 8, 1), verdict.DFUPacketCommands, verdict.NoOffset},
		"signed and not":               {append(plain(8, 1), signed([]byte{8, 1}, nil)...), verdict.DFUPacketCommands, verdict.NoOffset},
		"two unsigned commands":        {append(plain(8, 1), plain(8, 1)...), verdict.DFUPacketCommands, verdict.NoOffset},
		"two init commands":            {field(1, append(field(2, 8, 1), field(2, 8, 1)...)...), verdict.DFUPacketCommands, verdict.NoOffset},
		"cut":                          {plain(8, 1)[:5], verdict.DFUPacketEncoding, 2},
		"cut number":                   {plain(8, 0x81), verdict.DFUPacketEncoding, 6},
		"number of eleven bytes":       {plain(append([]byte{8}, many(11, 0x80)...)...), verdict.DFUPacketEncoding, 15},
		"number of 33 bits":            {plain(8, 0x80, 0x80, 0x80, 0x80, 0x10), verdict.DFUPacketEncoding, 10},
		"tag of six bytes":             {plain(0x88, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1), verdict.DFUPacketEncoding, 9},
		"type 256":                     {plain(0x20, 0x80, 2), verdict.DFUPacketEncoding, 7},
		"truth value 128":              {plain(0x48, 0x80, 1), verdict.DFUPacketEncoding, 7},
		"unknown group":                {plain(0x7b), verdict.DFUPacketEncoding, 5},
		"unknown bytes too long":       {plain(0x7a, 2, 1), verdict.DFUPacketEncoding, 6},
		"17 SoftDevices":               {plain(field(3, many(17, 5)...)...), verdict.DFUPacketEncoding, 22},
		"17 SoftDevices, unpacked":     {plain(many(17, 0x18, 5)...), verdict.DFUPacketEncoding, 37},
		"four boot validations":        {plain(many(4, field(10, 8, 1, 0x12, 0)...)...), verdict.DFUPacketEncoding, 23},
		"boot validation without type": {plain(field(10, 0x12, 0)...), verdict.DFUPacketEncoding, 8},
		"boot validation of 65 bytes":  {plain(field(10, append([]byte{8, 1}, field(2, make([]byte, 65)...)...)...)...), verdict.DFUPacketEncoding, 10},
		"hash of 33 bytes":             {plain(hash(append([]byte{8, 3}, field(2, make([]byte, 33)...)...)...)...), verdict.DFUPacketEncoding, 10},
		"hash without bytes":           {plain(hash(8, 3)...), verdict.DFUPacketEncoding, 8},
		"no signature":                 {field(2, slices.Concat(field(1, field(2, 8, 1)...), []byte{0x10, 0})...), verdict.DFUPacketEncoding, 10},
		"no signature type":            {field(2, slices.Concat(field(1, field(2, 8, 1)...), field(3, make([]byte, 64)...))...), verdict.DFUPacketEncoding, 74},
		"DER signature":                {field(2, slices.Concat(field(1, field(2, 8, 1)...), []byte{0x10, 0}, field(3, make([]byte, 70)...))...), verdict.DFUPacketEncoding, 12},
		// What a bootloader takes for signed goes to the end of the command.
		"trailing bytes that are no init command": {signed([]byte{8, 1}, []byte{0x20, 0x80, 2}), verdict.DFUPacketEncoding, 11},
	} {
		_, err := nrfdfu.ParsePacket(c.packet)
		e, ok := errors.AsType[*verdict.Error](err)
		if !ok || e.Reason != c.reason || e.Offset != c.offset {
			t.Errorf("%s: got %v, want %s at offset %d", name, err, c.reason, c.offset)
		}
	}
}

func TestParsePacketKeepsNothing(t *testing.T) {
	b := plain(8, 1)
	p, err := nrfdfu.ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if got := p.SignedBytes(); !bytes.Equal(got, []byte{8, 1}) {
		t.Errorf("the packet changed to %x", got)
	}
}

func TestNames(t *testing.T) {
	for want, got := range map[string]string{
		"SOFTDEVICE_BOOTLOADER":      nrfdfu.TypeSoftDeviceBootloader.String(),
		"type(5)":                    nrfdfu.FirmwareType(5).String(),
		"SHA256":                     nrfdfu.HashSHA256.String(),
		"ED25519":                    nrfdfu.SignatureType(1).String(),
		"VALIDATE_ECDSA_P256_SHA256": nrfdfu.ValidateECDSA.String(),
		"17":                         nrfdfu.SDK17.String(),
		"sdk(3)":                     nrfdfu.SDK(3).String(),
		"ext HW_VERSION_FAILURE":     nrfdfu.Result{Code: 0x0b, Extended: 6}.String(),
		"result 0x0b 0x0d":           nrfdfu.Result{Code: 0x0b, Extended: 13}.String(),
		"s132 6.1.1":                 nrfdfu.SoftDevice{FWID: 0xb7, ID: 132, Version: 6001001}.String(),
		"SoftDevice 0x00b7":          nrfdfu.SoftDevice{FWID: 0xb7}.String(),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
