package wolfboot_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign/verdict"
)

// Parse refuses what the bootloader leaves alone and its tool does not write.
func TestParse(t *testing.T) {
	s := throwaway(t)
	build := func(change func(*recipe)) []byte {
		r := good(t, s)
		change(&r)
		return r.build(t)
	}
	file := build(func(*recipe) {})
	f, err := wolfboot.Parse(file, 256)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.TLVs) != 6 || !bytes.Equal(f.TLV(wolfboot.TypeVersion), u32(2)) || f.TLV(0x30) != nil || len(f.Firmware) != 3000 {
		t.Errorf("%d TLVs: %v", len(f.TLVs), f.TLVs)
	}
	for _, c := range []struct {
		what   string
		file   []byte
		header uint32
		reason verdict.Reason
	}{
		{"magic", build(func(r *recipe) { r.magic = "FLOW" }), 256, verdict.ImageMagic},
		{"shorter", file[:len(file)-1], 256, verdict.Truncated},
		{"no header", file[:255], 256, verdict.Truncated},
		{"longer", append(bytes.Clone(file), 0xff), 256, verdict.TrailingBytes},
		{"header size", file, 128, verdict.HeaderSize},
		{"huge header size", file, 1 << 20, verdict.HeaderSize},
		{"version of 2 bytes", build(func(r *recipe) { r.set(wolfboot.TypeVersion, u16(1)) }), 256, verdict.TLVLength},
		{"two versions", build(func(r *recipe) { r.signed = slices.Insert(r.signed, 0, r.signed[0]) }), 256, verdict.TLVRepeated},
		{"version behind the digest", build(func(r *recipe) {
			r.unsigned = append(r.unsigned, r.signed[0])
			r.signed = r.signed[1:]
		}), 256, verdict.TLVNotAllowed},
		{"end mark", build(func(r *recipe) { r.unsigned = append(r.unsigned, entry{0, nil}) }), 256, verdict.TLVNotAllowed},
		{"TLV beyond the header", append(append(bytes.Clone(file[:250]), 0x30, 0, 9, 0, 0xff, 0xff), file[256:]...), 256, verdict.TLVLength},
		{"odd TLV", append(append(bytes.Clone(file[:249]), 0x30, 0, 0, 0, 0xff, 0xff, 0xff), file[256:]...), 256, verdict.TLVLength},
	} {
		if _, err := wolfboot.Parse(c.file, c.header); verdict.Of(err) != c.reason {
			t.Errorf("%s: %v, want %s", c.what, err, c.reason)
		}
	}
}

// FuzzParse: what is accepted is the whole input, its TLVs lie in the header in
// order, and the bootloader's checks come to an end over anything.
func FuzzParse(f *testing.F) {
	s := throwaway(f)
	r := good(f, s)
	r.firmware, r.size = r.firmware[:64], 64
	file, d := r.build(f), device(s)
	f.Add(file, uint32(256), uint8(0))
	f.Add(read(f, "ecc256_v2.bin"), uint32(256), uint8(4))
	f.Add(read(f, "ecc256_v5_sha384.bin"), uint32(512), uint8(3))
	f.Add(file[:len(file)-1], uint32(256), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, header uint32, step uint8) {
		if got, err := wolfboot.Parse(b, header); err == nil {
			at := 8
			for _, e := range got.TLVs {
				if e.Offset < at+4 || !bytes.Equal(e.Value, b[e.Offset:e.Offset+len(e.Value)]) {
					t.Fatalf("TLV 0x%x at %d", e.Type, e.Offset)
				}
				at = e.Offset + len(e.Value)
			}
			if at > int(header) || len(b) != int(header)+len(got.Firmware) {
				t.Fatalf("TLVs end at %d of %d, %d bytes of firmware in %d", at, header, len(got.Firmware), len(b))
			}
		} else if verdict.Of(err) == "" {
			t.Fatal(err)
		}
		for _, ignored := range []wolfboot.Step{"", steps[int(step)%len(steps)]} {
			if _, err := wolfboot.TraceWithout(t.Context(), b, d, ignored); err != nil && verdict.Of(err) == "" && !errors.Is(err, wolfboot.ErrUnsupported) {
				t.Fatalf("without %s: %v", ignored, err)
			}
		}
	})
}
