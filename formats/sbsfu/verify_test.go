package sbsfu_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// What ST's tool wrote is taken, and is the firmware that went in.
func TestPublishedPackages(t *testing.T) {
	second := device(t, sbsfu.Clear)
	second.Slots, second.Offset = append(second.Slots, second.Slots[0]), 1024
	for _, c := range []struct {
		file    string
		device  sbsfu.Device
		partial bool
	}{
		{"ecdsa_clear_v2.sfb", device(t, sbsfu.Clear), false},
		{"ecdsa_clear_v3_sfu2_o1024.sfb", second, false},
		{"ecdsa_aescbc_v2.sfb", device(t, sbsfu.AESCBC), false},
		{"ecdsa_aescbc_partial_v2.sfb", device(t, sbsfu.AESCBC), true},
	} {
		file := read(t, c.file)
		v, trace, err := sbsfu.Verify(t.Context(), file, c.device)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if len(trace) != len(steps) || !bytes.Equal(v.Firmware(), read(t, "v2.bin")) || v.Unusual() != nil {
			t.Errorf("%s: %v, unusual %v", c.file, trace, v.Unusual())
		}
		if h := v.Header(); h.Partial() != c.partial || h.Protocol != sbsfu.Protocol || !bytes.Equal(h.Encode(), file[:sbsfu.HeaderSize]) {
			t.Errorf("%s: header %+v", c.file, h)
		}
		f, err := sbsfu.Parse(file, c.device.Scheme, c.device.Offset)
		if err != nil || !bytes.Equal(f.Payload, file[c.device.Offset:]) {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

// Every bit of what is signed is: the key of the slot comes with the magic.
func TestSignedBytes(t *testing.T) {
	for scheme, name := range map[sbsfu.Scheme]string{sbsfu.Clear: "ecdsa_clear_v2.sfb", sbsfu.AESCBC: "ecdsa_aescbc_v2.sfb"} {
		file, d := read(t, name), device(t, scheme)
		for at := range sbsfu.HeaderSize {
			changed := bytes.Clone(file)
			changed[at] ^= 0x40
			v, trace, err := sbsfu.Verify(t.Context(), changed, d)
			what := fmt.Sprintf("%s, byte %d", name, at)
			switch {
			case at < 4:
				fails(t, what, trace, err, sbsfu.StepCandidate, verdict.ImageMagic)
			case at < 192:
				fails(t, what, trace, err, sbsfu.StepCandidate, verdict.SignatureInvalid)
			case err != nil || v.Unusual() == nil: // state and fingerprint are the device's
				t.Errorf("%s: %v, unusual %v", what, err, v)
			}
		}
	}
}

// Every field wrong in a header that is signed: what each step is there for.
func TestFields(t *testing.T) {
	clear, cbc, part := "ecdsa_clear_v2.sfb", "ecdsa_aescbc_v2.sfb", "ecdsa_aescbc_partial_v2.sfb"
	for _, c := range []struct {
		what, file string
		change     func(*sbsfu.Header)
		step       sbsfu.Step
		reason     verdict.Reason
	}{
		{"magic of no slot", clear, func(h *sbsfu.Header) { h.Magic[3] = '4' }, sbsfu.StepCandidate, verdict.ImageMagic},
		{"magic of a slot that is not there", clear, func(h *sbsfu.Header) { h.Magic[3] = '2' }, sbsfu.StepCandidate, verdict.ImageMagic},
		{"older", clear, func(h *sbsfu.Header) { h.Version = 0 }, sbsfu.StepVersion, verdict.VersionDowngrade},
		{"too large", clear, func(h *sbsfu.Header) { h.Size = 0x8000 - 511 }, sbsfu.StepVersion, verdict.ImageExceedsSlot},
		{"much too large", clear, func(h *sbsfu.Header) { h.Size, h.PartSize = 1<<32-1, 1<<32-1 }, sbsfu.StepVersion, verdict.ImageExceedsSlot},
		{"first reserved byte", clear, func(h *sbsfu.Header) { h.Reserved[0] = 1 }, sbsfu.StepHeader, verdict.ReservedBytes},
		{"last reserved byte", cbc, func(h *sbsfu.Header) { h.Reserved[27] = 0x80 }, sbsfu.StepHeader, verdict.ReservedBytes},
		{"size 0", clear, func(h *sbsfu.Header) { h.Size, h.PartSize = 0, 0 }, sbsfu.StepImage, verdict.ImageSizes},
		{"smaller", clear, func(h *sbsfu.Header) { h.Size, h.PartSize = h.Size-16, h.PartSize-16 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"larger", clear, func(h *sbsfu.Header) { h.Size, h.PartSize = h.Size+16, h.PartSize+16 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"part beyond the firmware", clear, func(h *sbsfu.Header) { h.PartOffset = 1 }, sbsfu.StepImage, verdict.ImageSizes},
		{"part wraps around", clear, func(h *sbsfu.Header) { h.PartOffset = 1<<32 - 1 }, sbsfu.StepImage, verdict.ImageSizes},
		{"larger part", clear, func(h *sbsfu.Header) { h.PartSize++ }, sbsfu.StepImage, verdict.ImageSizes},
		{"odd part", cbc, func(h *sbsfu.Header) { h.PartSize-- }, sbsfu.StepImage, verdict.ImageSizes},
		{"tag", clear, func(h *sbsfu.Header) { h.Tag[31] ^= 1 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"tag of a part", part, func(h *sbsfu.Header) { h.PartTag[0] ^= 1 }, sbsfu.StepImage, verdict.PayloadDigestMismatch},
		{"tag of what a part makes", part, func(h *sbsfu.Header) { h.Tag[0] ^= 1 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"elsewhere", part, func(h *sbsfu.Header) { h.PartOffset -= 16 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"IV", cbc, func(h *sbsfu.Header) { h.IV[0] ^= 1 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"protocol", clear, func(h *sbsfu.Header) { h.Protocol = 2 }, "", ""},
		{"tag of a part that is all", clear, func(h *sbsfu.Header) { h.PartTag[0] ^= 1 }, "", ""},
		{"newer", clear, func(h *sbsfu.Header) { h.Version = 1<<16 - 1 }, "", ""},
		{"the same version", clear, func(h *sbsfu.Header) { h.Version = 1 }, "", ""},
	} {
		scheme := sbsfu.AESCBC
		if c.file == clear {
			scheme = sbsfu.Clear
		}
		_, trace, err := sbsfu.Verify(t.Context(), resigned(t, read(t, c.file), scheme, c.change), device(t, scheme))
		if c.step != "" {
			fails(t, c.what, trace, err, c.step, c.reason)
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// The same package, and devices that are not the one it is for.
func TestDevices(t *testing.T) {
	other, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	clear, cbc, part := read(t, "ecdsa_clear_v2.sfb"), read(t, "ecdsa_aescbc_v2.sfb"), read(t, "ecdsa_aescbc_partial_v2.sfb")
	for _, c := range []struct {
		what   string
		file   []byte
		scheme sbsfu.Scheme
		change func(*sbsfu.Device)
		step   sbsfu.Step
		reason verdict.Reason
	}{
		{"another key", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Key = other.Public() }, sbsfu.StepCandidate, verdict.SignatureInvalid},
		{"no file", nil, sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepCandidate, verdict.Truncated},
		{"AES-GCM", read(t, "aesgcm_v2.sfb"), sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepCandidate, verdict.SFBScheme},
		{"newer", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Installed.Version = 3 }, sbsfu.StepVersion, verdict.VersionDowngrade},
		{"starts later", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.StartVersion = 3 }, sbsfu.StepVersion, verdict.VersionDowngrade},
		{"empty", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Installed = nil }, sbsfu.StepVersion, verdict.SFBInitVersion},
		{"version 0", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Installed.Version = 0 }, sbsfu.StepVersion, verdict.SFBInitVersion},
		{"empty, begins with 2", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Installed, d.InitVersion = nil, 2 }, "", ""},
		{"same version", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Installed.Version = 2 }, "", ""},
		{"slot just large enough", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Size = 512 + 13312 }, "", ""},
		{"slot too small", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Size = 512 + 13311 }, sbsfu.StepVersion, verdict.ImageExceedsSlot},
		{"file beyond the slot", append(bytes.Clone(clear), 0xff), sbsfu.Clear, func(d *sbsfu.Device) { d.Slots[0].Size = 512 + 13312 }, sbsfu.StepVersion, verdict.ImageExceedsSlot},
		{"offset", clear, sbsfu.Clear, func(d *sbsfu.Device) { d.Offset = 1024 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"clear for CBC", clear, sbsfu.AESCBC, func(*sbsfu.Device) {}, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"CBC for clear", cbc, sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepHeader, verdict.ReservedBytes},
		{"another AES key", cbc, sbsfu.AESCBC, func(d *sbsfu.Device) { d.Slots[0].AESKey = make([]byte, 16) }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"another base", part, sbsfu.AESCBC, func(d *sbsfu.Device) { d.Slots[0].Installed.Firmware[0] ^= 1 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"a part for an empty slot", part, sbsfu.AESCBC, func(d *sbsfu.Device) { d.Slots[0].Installed, d.InitVersion = nil, 2 }, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"a bit of the firmware", flip(clear, 600), sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"a bit of the ciphertext", flip(cbc, 600), sbsfu.AESCBC, func(*sbsfu.Device) {}, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"a bit of the part", flip(part, 600), sbsfu.AESCBC, func(*sbsfu.Device) {}, sbsfu.StepImage, verdict.PayloadDigestMismatch},
		{"cut", clear[:len(clear)-4], sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"header only", clear[:320], sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepImage, verdict.ImageDigestMismatch},
		{"more", append(bytes.Clone(clear), 1), sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepRest, verdict.SlotNotBlank},
		{"half a cleared word", append(bytes.Clone(clear), 0, 0, 0xff, 0xff), sbsfu.Clear, func(*sbsfu.Device) {}, sbsfu.StepRest, verdict.SlotNotBlank},
		{"erased and cleared words", append(bytes.Clone(clear), 0, 0, 0, 0, 0xff, 0xff), sbsfu.Clear, func(*sbsfu.Device) {}, "", ""},
		{"padding", flip(clear, 400), sbsfu.Clear, func(*sbsfu.Device) {}, "", ""},
	} {
		d := device(t, c.scheme)
		c.change(&d)
		v, trace, err := sbsfu.Verify(t.Context(), c.file, d)
		switch {
		case c.step != "":
			fails(t, c.what, trace, err, c.step, c.reason)
			if v != nil {
				t.Errorf("%s: verified", c.what)
			}
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func flip(file []byte, at int) []byte {
	b := bytes.Clone(file)
	b[at] ^= 1
	return b
}

// What is no verdict has an error of its own.
func TestNoVerdict(t *testing.T) {
	clear, part := read(t, "ecdsa_clear_v2.sfb"), read(t, "ecdsa_aescbc_partial_v2.sfb")
	d := device(t, sbsfu.AESCBC)
	d.Slots[0].Installed.Firmware = nil
	if _, _, err := sbsfu.Verify(t.Context(), part, d); !errors.Is(err, sbsfu.ErrBase) || verdict.Of(err) != "" {
		t.Errorf("unknown base: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := sbsfu.Verify(ctx, clear, device(t, sbsfu.Clear)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	p384, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*sbsfu.Device){
		"GCM":            func(d *sbsfu.Device) { d.Scheme = sbsfu.AESGCM },
		"no scheme":      func(d *sbsfu.Device) { d.Scheme = 0 },
		"no slots":       func(d *sbsfu.Device) { d.Slots = nil },
		"four slots":     func(d *sbsfu.Device) { d.Slots = slices.Repeat(d.Slots, 4) },
		"offset":         func(d *sbsfu.Device) { d.Offset = 319 },
		"small slot":     func(d *sbsfu.Device) { d.Slots[0].Size = 512 },
		"huge slot":      func(d *sbsfu.Device) { d.Slots[0].Size = sbsfu.MaxSlot + 1 },
		"no key":         func(d *sbsfu.Device) { d.Slots[0].Key = sign.PublicKey{} },
		"P-384":          func(d *sbsfu.Device) { d.Slots[0].Key = p384.Public() },
		"AES key":        func(d *sbsfu.Device) { d.Slots[0].AESKey = make([]byte, 16) },
		"AES key length": func(d *sbsfu.Device) { d.Scheme, d.Slots[0].AESKey = sbsfu.AESCBC, make([]byte, 32) },
	} {
		d := device(t, sbsfu.Clear)
		change(&d)
		if _, trace, err := sbsfu.Verify(t.Context(), clear, d); !errors.Is(err, sbsfu.ErrDevice) || trace != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whatever is ignored, the flow control and the second look find header and
// firmware, and nothing finds what only one step looks at.
func TestTraceWithout(t *testing.T) {
	clear := read(t, "ecdsa_clear_v2.sfb")
	reserved := resigned(t, clear, sbsfu.Clear, func(h *sbsfu.Header) { h.Reserved[0] = 1 })
	old := resigned(t, clear, sbsfu.Clear, func(h *sbsfu.Header) { h.Version = 0 })
	huge := resigned(t, clear, sbsfu.Clear, func(h *sbsfu.Header) { h.Size, h.PartSize = 1<<32-1, 1<<32-1 })
	for _, c := range []struct {
		what    string
		file    []byte
		ignored sbsfu.Step
		by      sbsfu.Step // that refuses it then
	}{
		{"signature", flip(clear, 130), sbsfu.StepCandidate, sbsfu.StepHeader},
		{"magic", flip(clear, 0), sbsfu.StepCandidate, sbsfu.StepCandidate},
		{"older", old, sbsfu.StepVersion, ""},
		{"huge", huge, sbsfu.StepVersion, sbsfu.StepVersion},
		{"reserved", reserved, sbsfu.StepHeader, sbsfu.StepFlow},
		{"firmware", flip(clear, 600), sbsfu.StepImage, sbsfu.StepFlow},
		{"more", append(bytes.Clone(clear), 1), sbsfu.StepRest, ""},
	} {
		trace, err := sbsfu.TraceWithout(t.Context(), c.file, device(t, sbsfu.Clear), c.ignored)
		if (err == nil) != (c.by == "") || c.by != "" && trace[len(trace)-1].Step != c.by {
			t.Errorf("%s without %s: %v after %v", c.what, c.ignored, err, trace)
		}
	}
}

// What a slot holds when the tags are compared: also what they refuse then.
func TestAssemble(t *testing.T) {
	clear, cbc, part := read(t, "ecdsa_clear_v2.sfb"), read(t, "ecdsa_aescbc_v2.sfb"), read(t, "ecdsa_aescbc_partial_v2.sfb")
	firmware := read(t, "v2.bin")
	older := device(t, sbsfu.AESCBC)
	older.Slots[0].Installed.Firmware[0] ^= 1
	newer := device(t, sbsfu.Clear)
	newer.Slots[0].Installed.Version = 3
	for _, c := range []struct {
		what   string
		file   []byte
		device sbsfu.Device
		want   []byte
	}{
		{"in the clear", clear, device(t, sbsfu.Clear), firmware},
		{"encrypted", cbc, device(t, sbsfu.AESCBC), firmware},
		{"a part", part, device(t, sbsfu.AESCBC), firmware},
		{"a part of other firmware", part, older, flip(firmware, 0)},
		{"a bit of the firmware", flip(clear, 512), device(t, sbsfu.Clear), flip(firmware, 0)},
		{"cut", clear[:len(clear)-1], device(t, sbsfu.Clear), append(bytes.Clone(firmware[:len(firmware)-1]), 0xff)},
		{"refused before", clear, newer, nil},
		{"not signed", flip(clear, 130), device(t, sbsfu.Clear), nil},
		{"sizes that cannot be", resigned(t, clear, sbsfu.Clear, func(h *sbsfu.Header) { h.PartOffset = 1 }), device(t, sbsfu.Clear), nil},
		{"no device", clear, sbsfu.Device{}, nil},
	} {
		if got := sbsfu.Assemble(c.file, c.device); !bytes.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %d bytes, want %d", c.what, len(got), len(c.want))
		}
	}
}
