package wolfboot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

func TestVerify(t *testing.T) {
	s := throwaway(t)
	r := good(t, s)
	file := r.build(t)
	v, trace, err := wolfboot.Verify(t.Context(), file, device(s))
	if err != nil {
		t.Fatal(err)
	}
	if len(trace) != len(steps) || v.Version() != 2 || !v.SignedBy().Equal(s.Public()) || !bytes.Equal(v.Firmware(), r.firmware) || v.Unusual() != nil {
		t.Errorf("version %d, unusual %v, trace %v", v.Version(), v.Unusual(), trace)
	}
}

// Every byte of an image: what is signed, what is not, and what nobody reads.
func TestBytes(t *testing.T) {
	s := throwaway(t)
	file := good(t, s).build(t)
	f, err := wolfboot.Parse(file, 256)
	if err != nil {
		t.Fatal(err)
	}
	digest, signature := 0, 0 // offsets of the TLVs
	for _, e := range f.TLVs {
		switch e.Type {
		case wolfboot.TypeSHA256:
			digest = e.Offset - 4
		case wolfboot.TypeSignature:
			signature = e.Offset - 4
		}
	}
	unread := 0
	for at := range 300 {
		changed := bytes.Clone(file)
		changed[at] ^= 0x01
		v, trace, err := wolfboot.Verify(t.Context(), changed, device(s))
		what := fmt.Sprintf("byte %d", at)
		switch {
		case at < 4:
			fails(t, what, trace, err, wolfboot.StepOpen, verdict.ImageMagic)
		case at < digest || at >= 256:
			before := []wolfboot.Step{wolfboot.StepOpen, wolfboot.StepType, wolfboot.StepSize, wolfboot.StepIntegrity}
			if err == nil || !slices.Contains(before, trace[len(trace)-1].Step) {
				t.Errorf("%s: %v", what, err)
			}
		case at < digest+4+32:
			if err == nil || trace[len(trace)-1].Step != wolfboot.StepIntegrity {
				t.Errorf("%s: %v", what, err)
			}
		case at >= signature && at < signature+4+64:
			if err == nil || trace[len(trace)-1].Step != wolfboot.StepAuthenticity {
				t.Errorf("%s: %v", what, err)
			}
		case err == nil: // padding that nobody reads, which Parse does
			unread++
			if v.Unusual() == nil {
				t.Errorf("%s: not unusual", what)
			}
		}
	}
	if unread == 0 {
		t.Error("every byte counts, which is not so in wolfBoot")
	}
}

// Every field wrong in an image that is signed for all that.
func TestFields(t *testing.T) {
	s, other := throwaway(t), throwaway(t)
	for _, c := range []struct {
		what   string
		change func(*recipe)
		step   wolfboot.Step
		reason verdict.Reason
	}{
		{"magic", func(r *recipe) { r.magic = "FLOW" }, wolfboot.StepOpen, verdict.ImageMagic},
		{"beyond the partition", func(r *recipe) { r.size = 0x4000 - 255 }, wolfboot.StepOpen, verdict.ImageExceedsSlot},
		{"size wraps around", func(r *recipe) { r.size = 1<<32 - 1 }, wolfboot.StepOpen, verdict.ImageExceedsSlot},
		{"no type", func(r *recipe) { r.remove(wolfboot.TypeImage) }, wolfboot.StepType, verdict.ImageType},
		{"type of 4 bytes", func(r *recipe) { r.set(wolfboot.TypeImage, u32(0x0201)) }, wolfboot.StepType, verdict.ImageType},
		{"bootloader", func(r *recipe) { r.set(wolfboot.TypeImage, u16(0x0200)) }, wolfboot.StepType, verdict.ImageType},
		{"partition 2", func(r *recipe) { r.set(wolfboot.TypeImage, u16(0x0202)) }, wolfboot.StepType, verdict.ImageType},
		{"Ed25519", func(r *recipe) { r.set(wolfboot.TypeImage, u16(0x0101)) }, wolfboot.StepType, verdict.SignatureType},
		{"unsigned type", func(r *recipe) { r.set(wolfboot.TypeImage, u16(0xff01)) }, wolfboot.StepType, verdict.SignatureType},
		{"into the trailer", func(r *recipe) { r.size = 0x4000 - 256 - 0x1000 }, wolfboot.StepSize, verdict.ImageExceedsSlot},
		{"up to the trailer", func(r *recipe) { r.size = 0x4000 - 256 - 0x1000 - 1 }, wolfboot.StepIntegrity, verdict.ImageDigestMismatch},
		{"one byte less", func(r *recipe) { r.size-- }, wolfboot.StepIntegrity, verdict.ImageDigestMismatch},
		{"digest", func(r *recipe) { r.digest = func(b []byte) []byte { b[0] ^= 1; return b } }, wolfboot.StepIntegrity, verdict.ImageDigestMismatch},
		{"digest of 31 bytes", func(r *recipe) { r.digest = func(b []byte) []byte { return b[:31] } }, wolfboot.StepIntegrity, verdict.ImageHashMissing},
		{"end mark before the digest", func(r *recipe) { r.signed = append(r.signed, entry{0, nil}) }, wolfboot.StepIntegrity, verdict.ImageHashMissing},
		{"no hint", func(r *recipe) { r.remove(wolfboot.TypeKeyHint) }, wolfboot.StepAuthenticity, verdict.NoKnownKey},
		{"hint of 31 bytes", func(r *recipe) { r.set(wolfboot.TypeKeyHint, make([]byte, 31)) }, wolfboot.StepAuthenticity, verdict.NoKnownKey},
		{"hint of nobody", func(r *recipe) { r.set(wolfboot.TypeKeyHint, make([]byte, 32)) }, wolfboot.StepAuthenticity, verdict.NoKnownKey},
		{"no signature", func(r *recipe) { r.remove(wolfboot.TypeSignature) }, wolfboot.StepAuthenticity, verdict.Unsigned},
		{"empty signature", func(r *recipe) { r.set(wolfboot.TypeSignature, []byte{}) }, wolfboot.StepAuthenticity, verdict.Unsigned},
		{"signature of 63 bytes", func(r *recipe) { r.set(wolfboot.TypeSignature, make([]byte, 63)) }, wolfboot.StepAuthenticity, verdict.SignatureLength},
		{"signature of zeros", func(r *recipe) { r.set(wolfboot.TypeSignature, make([]byte, 64)) }, wolfboot.StepAuthenticity, verdict.SignatureInvalid},
		{"another signer", func(r *recipe) { r.signer = other }, wolfboot.StepAuthenticity, verdict.SignatureInvalid},
		{"the same version", func(r *recipe) { r.set(wolfboot.TypeVersion, u32(1)) }, wolfboot.StepVersion, verdict.VersionDowngrade},
		{"no version", func(r *recipe) { r.remove(wolfboot.TypeVersion) }, wolfboot.StepVersion, verdict.VersionDowngrade},
		{"version of 2 bytes", func(r *recipe) { r.set(wolfboot.TypeVersion, u16(9)) }, wolfboot.StepVersion, verdict.VersionDowngrade},
		{"first of two versions", func(r *recipe) { r.signed = slices.Insert(r.signed, 0, entry{wolfboot.TypeVersion, u32(0)}) }, wolfboot.StepVersion, verdict.VersionDowngrade},
		{"highest version", func(r *recipe) { r.set(wolfboot.TypeVersion, u32(1<<32-1)) }, "", ""},
		{"hint behind the digest", func(r *recipe) {
			r.unsigned = append(r.unsigned, r.signed[3])
			r.signed = r.signed[:3]
		}, "", ""},
		{"no firmware, and some is running", func(r *recipe) { r.firmware, r.size = nil, 0 }, "", ""},
		{"longer header", func(r *recipe) { r.header = 512 }, wolfboot.StepIntegrity, verdict.ImageDigestMismatch},
	} {
		r := good(t, s)
		c.change(&r)
		v, trace, err := wolfboot.Verify(t.Context(), r.build(t), device(s))
		if c.step != "" {
			fails(t, c.what, trace, err, c.step, c.reason)
			if v != nil {
				t.Errorf("%s: verified", c.what)
			}
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// The same image, and other devices and files.
func TestDevices(t *testing.T) {
	s, other := throwaway(t), throwaway(t)
	file := good(t, s).build(t)
	big := good(t, s)
	big.header = 512
	for _, c := range []struct {
		what   string
		file   []byte
		change func(*wolfboot.Device)
		step   wolfboot.Step
		reason verdict.Reason
	}{
		{"no file", nil, func(*wolfboot.Device) {}, wolfboot.StepOpen, verdict.ImageMagic},
		{"file beyond the partition", append(bytes.Clone(file), make([]byte, 0x4000)...), func(*wolfboot.Device) {}, wolfboot.StepOpen, verdict.ImageExceedsSlot},
		{"small update partition", file, func(d *wolfboot.Device) { d.UpdateSize = 0x400 }, wolfboot.StepOpen, verdict.ImageExceedsSlot},
		{"small boot partition", file, func(d *wolfboot.Device) { d.PartitionSize, d.UpdateSize, d.SectorSize = 0x0b00, 0x2000, 0x400 }, wolfboot.StepSize, verdict.ImageExceedsSlot},
		{"two sectors of trailer", file, func(d *wolfboot.Device) { d.PartitionSize, d.WriteOnce = 0x2c00, true }, wolfboot.StepSize, verdict.ImageExceedsSlot},
		{"one sector of trailer", file, func(d *wolfboot.Device) { d.PartitionSize = 0x2c00 }, "", ""},
		{"header of 512", big.build(t), func(d *wolfboot.Device) { d.HeaderSize = 512 }, "", ""},
		{"header of 256 read as 512", file, func(d *wolfboot.Device) { d.HeaderSize = 512 }, wolfboot.StepIntegrity, verdict.ImageDigestMismatch},
		{"cut", file[:len(file)-1], func(*wolfboot.Device) {}, wolfboot.StepIntegrity, verdict.ImageDigestMismatch},
		{"longer", append(bytes.Clone(file), 1), func(*wolfboot.Device) {}, "", ""},
		{"another key", file, func(d *wolfboot.Device) { d.Keys[0].Public = other.Public() }, wolfboot.StepAuthenticity, verdict.NoKnownKey},
		{"second key", file, func(d *wolfboot.Device) {
			d.Keys = append([]wolfboot.Key{{Public: other.Public(), Partitions: 2}}, d.Keys...)
		}, "", ""},
		{"key for the bootloader", file, func(d *wolfboot.Device) { d.Keys[0].Partitions = 1 }, wolfboot.StepAuthenticity, verdict.KeyPartition},
		{"key for applications", file, func(d *wolfboot.Device) { d.Keys[0].Partitions = 2 }, "", ""},
		{"newer", file, func(d *wolfboot.Device) { d.Running.Version = 3 }, wolfboot.StepVersion, verdict.VersionDowngrade},
		{"newer, fallback", file, func(d *wolfboot.Device) { d.Running.Version, d.Fallback = 3, true }, "", ""},
		{"newer, downgrade allowed", file, func(d *wolfboot.Device) { d.Running.Version, d.AllowDowngrade = 3, true }, "", ""},
		{"nothing runs", file, func(d *wolfboot.Device) { d.Running = nil }, "", ""},
	} {
		d := device(s)
		c.change(&d)
		_, trace, err := wolfboot.Verify(t.Context(), c.file, d)
		if c.step != "" {
			fails(t, c.what, trace, err, c.step, c.reason)
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	empty := good(t, s)
	empty.firmware, empty.size = nil, 0
	d := device(s)
	d.Running = nil
	_, trace, err := wolfboot.Verify(t.Context(), empty.build(t), d)
	fails(t, "nothing anywhere", trace, err, wolfboot.StepOpen, verdict.ImageSizes)
}

// What is no verdict has an error of its own.
func TestNoVerdict(t *testing.T) {
	s := throwaway(t)
	r := good(t, s)
	file := r.build(t)
	r.set(wolfboot.TypeImage, u16(0x02d1))
	if _, _, err := wolfboot.Verify(t.Context(), r.build(t), device(s)); !errors.Is(err, wolfboot.ErrUnsupported) || verdict.Of(err) != "" {
		t.Errorf("delta: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := wolfboot.Verify(ctx, file, device(s)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	p384, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*wolfboot.Device){
		"small header":    func(d *wolfboot.Device) { d.HeaderSize = 128 },
		"odd header":      func(d *wolfboot.Device) { d.HeaderSize = 257 },
		"huge header":     func(d *wolfboot.Device) { d.HeaderSize = wolfboot.MaxHeader + 2 },
		"small partition": func(d *wolfboot.Device) { d.PartitionSize = 0x2100 },
		"small update":    func(d *wolfboot.Device) { d.UpdateSize = 256 },
		"huge partition":  func(d *wolfboot.Device) { d.PartitionSize = wolfboot.MaxPartition + 1 },
		"huge update":     func(d *wolfboot.Device) { d.UpdateSize = wolfboot.MaxPartition + 1 },
		"no sectors":      func(d *wolfboot.Device) { d.SectorSize = 0 },
		"huge sectors":    func(d *wolfboot.Device) { d.SectorSize = 1 << 31 },
		"no keys":         func(d *wolfboot.Device) { d.Keys = nil },
		"P-384":           func(d *wolfboot.Device) { d.Keys[0].Public = p384.Public() },
	} {
		d := device(s)
		change(&d)
		if _, trace, err := wolfboot.Verify(t.Context(), file, d); !errors.Is(err, wolfboot.ErrDevice) || trace != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is ignored, and what refuses it then: the flags find integrity and
// authenticity, the rest stands alone.
func TestTraceWithout(t *testing.T) {
	s, other := throwaway(t), throwaway(t)
	build := func(change func(*recipe)) []byte {
		r := good(t, s)
		change(&r)
		return r.build(t)
	}
	file := build(func(*recipe) {})
	for _, c := range []struct {
		what    string
		file    []byte
		ignored wolfboot.Step
		by      wolfboot.Step // that refuses it then
	}{
		{"magic", build(func(r *recipe) { r.magic = "FLOW" }), wolfboot.StepOpen, wolfboot.StepOpen},
		{"too large", build(func(r *recipe) { r.size = 1<<32 - 1 }), wolfboot.StepOpen, wolfboot.StepOpen},
		{"bootloader", build(func(r *recipe) { r.set(wolfboot.TypeImage, u16(0x0200)) }), wolfboot.StepType, ""},
		{"Ed25519", build(func(r *recipe) { r.set(wolfboot.TypeImage, u16(0x0101)) }), wolfboot.StepType, wolfboot.StepAuthenticity},
		{"into the trailer", build(func(r *recipe) { r.firmware = make([]byte, 0x3000); r.size = 0x3000 }), wolfboot.StepSize, ""},
		{"firmware", append(file[:len(file)-1:len(file)-1], file[len(file)-1]^1), wolfboot.StepIntegrity, wolfboot.StepAuthenticity},
		{"other signer", build(func(r *recipe) { r.signer = other }), wolfboot.StepAuthenticity, wolfboot.StepSanity},
		{"older", build(func(r *recipe) { r.set(wolfboot.TypeVersion, u32(1)) }), wolfboot.StepVersion, ""},
	} {
		trace, err := wolfboot.TraceWithout(t.Context(), c.file, device(s), c.ignored)
		if (err == nil) != (c.by == "") || c.by != "" && trace[len(trace)-1].Step != c.by {
			t.Errorf("%s without %s: %v after %v", c.what, c.ignored, err, trace)
		}
	}
}
