package sbsfu_test

import (
	"bytes"
	"testing"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign/verdict"
)

// Parse refuses what the bootloader leaves alone and no tool writes.
func TestParse(t *testing.T) {
	file := read(t, "ecdsa_clear_v2.sfb")
	set := func(at int, v byte) []byte {
		b := bytes.Clone(file)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		what   string
		file   []byte
		offset uint32
		reason verdict.Reason
	}{
		{"magic", set(3, 'M'), 512, verdict.ImageMagic},
		{"protocol", set(4, 2), 512, verdict.SFBHeader},
		{"size", set(9, 1), 512, verdict.ImageSizes},
		{"part", set(12, 1), 512, verdict.ImageSizes},
		{"reserved", set(84, 1), 512, verdict.ReservedBytes},
		{"state", set(192, 0), 512, verdict.SFBHeader},
		{"fingerprint", set(319, 1), 512, verdict.SFBHeader},
		{"padding", set(511, 0), 512, verdict.SFBHeader},
		{"longer", append(bytes.Clone(file), 0xff), 512, verdict.TrailingBytes},
		{"shorter", file[:len(file)-1], 512, verdict.Truncated},
		{"no header", file[:319], 512, verdict.Truncated},
		{"offset in the header", file, 319, verdict.ImageSizes},
		{"offset beyond the bound", file, 1<<32 - 1, verdict.ImageSizes},
		{"AES-GCM", read(t, "aesgcm_v2.sfb"), 512, verdict.SFBScheme},
	} {
		if _, err := sbsfu.Parse(c.file, sbsfu.Clear, c.offset); verdict.Of(err) != c.reason {
			t.Errorf("%s: %v, want %s", c.what, err, c.reason)
		}
	}
	if _, err := sbsfu.ParseHeader(file, sbsfu.AESGCM); verdict.Of(err) != verdict.SFBScheme {
		t.Errorf("scheme AES-GCM: %v", err)
	}
	if got := sbsfu.Scheme(9).String() + sbsfu.AESGCM.String() + sbsfu.Clear.String() + sbsfu.AESCBC.String(); got != "scheme 9aes-gcmecdsa-clearecdsa-aes-cbc" {
		t.Error(got)
	}
}

// FuzzParse: what is read encodes to the same bytes, and what is accepted is the
// whole input. The bootloader's checks come to an end over all of it.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"ecdsa_clear_v2.sfb", "ecdsa_aescbc_partial_v2.sfb", "aesgcm_v2.sfb"} {
		f.Add(read(f, name)[:600], true, uint32(512), uint8(0))
		f.Add(read(f, name), false, uint32(512), uint8(3))
	}
	clear, cbc := device(f, sbsfu.Clear), device(f, sbsfu.AESCBC)
	f.Fuzz(func(t *testing.T, b []byte, encrypted bool, offset uint32, step uint8) {
		scheme, d := sbsfu.Clear, clear
		if encrypted {
			scheme, d = sbsfu.AESCBC, cbc
		}
		h, err := sbsfu.ParseHeader(b, scheme)
		if err == nil && !bytes.Equal(h.Encode(), b[:sbsfu.HeaderSize]) {
			t.Fatalf("%x is encoded as %x", b[:sbsfu.HeaderSize], h.Encode())
		}
		file, parsed := sbsfu.Parse(b, scheme, offset)
		if (parsed == nil) != (verdict.Of(parsed) == "") || err != nil && parsed == nil {
			t.Fatalf("header: %v, file: %v", err, parsed)
		}
		if parsed == nil && len(b) != int(offset)+len(file.Payload) {
			t.Fatalf("%d bytes of payload at %d of %d", len(file.Payload), offset, len(b))
		}
		ignored := steps[int(step)%len(steps)]
		if _, err := sbsfu.TraceWithout(t.Context(), b, d, ignored); err != nil && verdict.Of(err) == "" {
			t.Fatalf("without %s: %v", ignored, err)
		}
	})
}
