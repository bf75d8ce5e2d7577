package bootloader

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats/payload/compress"
	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/formats/payload/delta/detools"
	"github.com/otapack/otapack/formats/payload/delta/hpatchlite"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// deflate is raw DEFLATE of an image.
func deflate(t testing.TB, image []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(image); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// codedParcel is a T4: a compressed payload for a device that takes it.
func codedParcel(t testing.TB, chip Chip) *parcel {
	t.Helper()
	image := bytes.Repeat(testImage(t, 500), 4)
	p := newParcel(t, chip, "T1", image)
	payload := deflate(t, image)
	_, window, err := compress.Decode(compress.Deflate, payload, len(image))
	if err != nil {
		t.Fatal(err)
	}
	p.code(payload, manifest.Decoding{Coding: manifest.CodingDeflate, RAM: uint32(compress.Deflate.DecoderRAM(window))})
	return p
}

// code replaces the payload.
func (p *parcel) code(payload []byte, d manifest.Decoding) {
	p.payload = payload
	p.manifest.Staged = true
	p.manifest.Install.Received = content(payload)
	p.manifest.Install.Decoding = &d
}

const (
	traceCoded  = traceStart + "decoder passed, base not-applicable, ciphertext passed, unwrap not-applicable, image passed"
	traceSealed = traceStart + "decoder passed, base not-applicable, ciphertext passed, unwrap passed, image passed"
)

func TestCoded(t *testing.T) {
	for _, chip := range Chips() {
		p := codedParcel(t, chip)
		v, trace, err := p.verify(t, p.envelope(t))
		if err != nil || !v.Complete() || text(trace) != traceCoded {
			t.Errorf("%s: %s, %v", chip.Name, text(trace), err)
		}

		// Decrypted first, decoded then.
		image := p.manifest.Image
		p.encrypt(t, newDeviceKey(t, "device"))
		p.manifest.Image, p.layout.SeverInstall = image, true
		envelope := p.envelope(t)
		v, trace, err = p.verify(t, envelope)
		if err != nil || !v.Complete() || text(trace) != traceSealed {
			t.Errorf("%s, encrypted: %s, %v", chip.Name, text(trace), err)
		}
		p.options.WithoutDecryption = true
		v, trace, err = p.verify(t, envelope)
		if err != nil || v.Complete() || !strings.HasSuffix(text(trace), "unwrap not-run, image not-run") {
			t.Errorf("%s, without the key: %s, %v", chip.Name, text(trace), err)
		}

		// In its bank it is the plain image.
		p = codedParcel(t, chip)
		p.payload, p.options.Installed = bytes.Repeat(testImage(t, 500), 4), true
		v, trace, err = p.verify(t, p.envelope(t))
		if err != nil || !v.Complete() || text(trace) != tracePlain {
			t.Errorf("%s, installed: %s, %v", chip.Name, text(trace), err)
		}
	}
}

func TestCodedRefused(t *testing.T) {
	image := func(t testing.TB) []byte { return bytes.Repeat(testImage(t, 500), 4) }
	sent := func(p *parcel, payload []byte) { p.payload, p.manifest.Install.Received = payload, content(payload) }
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *parcel) // before it is signed
		after  func(*parcel)
		step   Step
		reason verdict.Reason
	}{
		{name: "a byte of RAM too much", change: func(_ *testing.T, p *parcel) { p.manifest.Install.Decoding.RAM = p.device.Chip.DecoderRAM + 1 },
			step: StepDecoder, reason: verdict.DecoderRAM},
		{name: "chip without a decoder", change: func(_ *testing.T, p *parcel) { p.device.Chip.DecoderRAM = 0 },
			step: StepDecoder, reason: verdict.DecoderRAM},
		{name: "flipped", after: func(p *parcel) { p.payload[20] ^= 1 }, step: StepCiphertext, reason: verdict.PayloadDigestMismatch},
		{name: "truncated", after: func(p *parcel) { p.payload = p.payload[1:] }, step: StepSize, reason: verdict.PayloadElementSize},
		// Signed, but wrong: what the signer's tool would have to refuse.
		{name: "not deflate", change: func(t *testing.T, p *parcel) { sent(p, bytes.Repeat([]byte{0xff}, 100)) }, step: StepImage, reason: verdict.PayloadCoding},
		{name: "cut short", change: func(t *testing.T, p *parcel) { sent(p, p.payload[:len(p.payload)-1]) }, step: StepImage, reason: verdict.PayloadCoding},
		{name: "a byte behind", change: func(t *testing.T, p *parcel) { sent(p, append(p.payload, 0)) }, step: StepImage, reason: verdict.PayloadCoding},
		{name: "one byte more", change: func(t *testing.T, p *parcel) { sent(p, deflate(t, append(image(t), 1))) }, step: StepImage, reason: verdict.DecodedSize},
		{name: "one byte less", change: func(t *testing.T, p *parcel) { sent(p, deflate(t, image(t)[1:])) }, step: StepImage, reason: verdict.DecodedSize},
		{name: "bomb", change: func(t *testing.T, p *parcel) { sent(p, deflate(t, make([]byte, 64<<20))) }, step: StepImage, reason: verdict.DecodedSize},
		{name: "another image", change: func(t *testing.T, p *parcel) { sent(p, deflate(t, make([]byte, 2000))) }, step: StepImage, reason: verdict.ImageDigestMismatch},
		{name: "more RAM than signed", change: func(t *testing.T, p *parcel) { p.manifest.Install.Decoding.RAM-- }, step: StepImage, reason: verdict.DecoderRAM},
		{name: "another coding", change: func(t *testing.T, p *parcel) { p.manifest.Install.Decoding.Coding = manifest.CodingZstd }, step: StepImage, reason: verdict.PayloadCoding},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := codedParcel(t, Chips()[0])
			if tt.change != nil {
				tt.change(t, p)
			}
			envelope := p.envelope(t)
			if tt.after != nil {
				tt.after(p)
			}
			v, trace, err := p.verify(t, envelope)
			before, _, _ := strings.Cut(traceCoded, string(tt.step)+" ")
			if want := before + string(tt.step) + " failed " + string(tt.reason); v != nil || verdict.Of(err) != tt.reason || text(trace) != want {
				t.Errorf("%v\ngot  %s\nwant %s", err, text(trace), want)
			}
		})
	}
}

// An error of the transport is no verdict about the payload, and neither is an
// interrupted run.
func TestDecodeInterrupted(t *testing.T) {
	image := bytes.Repeat(testImage(t, 500), 400)
	payload := deflate(t, image)
	d := manifest.Decoding{Coding: manifest.CodingDeflate, RAM: 1}
	ctx, cancel := context.WithCancel(t.Context())
	for name, r := range map[string]io.Reader{
		"failing":  io.MultiReader(bytes.NewReader(payload[:len(payload)/2]), iotest.ErrReader(iotest.ErrTimeout)),
		"canceled": &cancelling{bytes.NewReader(payload), cancel},
	} {
		decoded, err := Decode(ctx, d, uint32(len(image)), nil, r)
		if err == nil {
			_, err = io.Copy(io.Discard, decoded)
		}
		if verdict.Of(err) != "" || !errors.Is(err, iotest.ErrTimeout) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Decode(t.Context(), manifest.Decoding{Coding: manifest.CodingOD1, RAM: 1, Base: &manifest.Content{Size: 1}}, 1, nil, nil); err == nil || verdict.Of(err) != "" {
		t.Errorf("without the base: %v", err)
	}
}

// cancelling cancels a context after the first read.
type cancelling struct {
	r      io.Reader
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	defer c.cancel()
	return c.r.Read(p[:1])
}

// patchParcel is a T4 whose payload is a patch, and a device that runs its base.
func patchParcel(t testing.TB) *parcel {
	t.Helper()
	image := testImage(t, 3000)
	base := slices.Concat(image[:1000], []byte("the old firmware"), image[1200:])
	p := newParcel(t, Chips()[0], "T1", image)
	p.patch(t, base, image, delta.Params{OldBase: 0x1c000, NewBase: 0x1c000})
	p.device.Running = inMemory(base)
	return p
}

func (p *parcel) patch(t testing.TB, base, image []byte, o delta.Params) {
	t.Helper()
	patch, err := delta.Encode(t.Context(), base, image, o)
	if err != nil {
		t.Fatal(err)
	}
	h, err := delta.ReadHeader(patch)
	if err != nil {
		t.Fatal(err)
	}
	c := content(base)
	p.code(patch, manifest.Decoding{Coding: manifest.CodingOD1, RAM: uint32(h.DecoderRAM()), Base: &c})
}

func inMemory(b []byte) *Payload { return &Payload{bytes.NewReader(b), int64(len(b))} }

const tracePatch = traceStart + "decoder passed, base passed, ciphertext passed, unwrap not-applicable, image passed"

func TestPatch(t *testing.T) {
	p := patchParcel(t)
	if len(p.payload) > 1500 {
		t.Errorf("a patch of %d bytes for an image of %d", len(p.payload), p.manifest.Image.Size)
	}
	envelope := p.envelope(t)
	v, trace, err := p.verify(t, envelope)
	if err != nil || !v.Complete() || text(trace) != tracePatch {
		t.Errorf("%s, %v", text(trace), err)
	}
	// Without the base its content is not claimed, and all else is checked.
	p.device.Running, p.options.WithoutBase = nil, true
	v, trace, err = p.verify(t, envelope)
	if err != nil || v.Complete() || text(trace) != traceStart+"decoder passed, base not-run, ciphertext passed, unwrap not-applicable, image not-run" {
		t.Errorf("%s, %v", text(trace), err)
	}
	p.payload[9] ^= 1
	if _, _, err = p.verify(t, envelope); verdict.Of(err) != verdict.PayloadDigestMismatch {
		t.Errorf("flipped: %v", err)
	}
	// A whole image needs no base, whatever is left out.
	whole := codedParcel(t, Chips()[0])
	whole.options.WithoutBase = true
	if v, _, err := whole.verify(t, whole.envelope(t)); err != nil || !v.Complete() {
		t.Errorf("whole: %v", err)
	}
}

func TestPatchRefused(t *testing.T) {
	image := testImage(t, 3000)
	old := func(p *parcel) []byte {
		b, err := io.ReadAll(io.NewSectionReader(p.device.Running, 0, p.device.Running.Size))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	signed := func(p *parcel, payload []byte) { p.payload, p.manifest.Install.Received = payload, content(payload) }
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *parcel)
		step   Step
		reason verdict.Reason
	}{
		{"no image", func(_ *testing.T, p *parcel) { p.device.Running = nil }, StepBase, verdict.BaseMismatch},
		{"one bit of the base", func(_ *testing.T, p *parcel) { p.device.Running = inMemory(flip(old(p), 8000)) }, StepBase, verdict.BaseMismatch},
		{"the base and a byte", func(_ *testing.T, p *parcel) { p.device.Running = inMemory(append(old(p), 0xff)) }, StepBase, verdict.BaseMismatch},
		{"the base less a byte", func(_ *testing.T, p *parcel) { p.device.Running = inMemory(old(p)[1:]) }, StepBase, verdict.BaseMismatch},
		{"the image itself", func(_ *testing.T, p *parcel) { p.device.Running = inMemory(image) }, StepBase, verdict.BaseMismatch},
		{"one bank", func(_ *testing.T, p *parcel) {
			p.device.Chip = Chips()[1]
		}, StepDecoder, verdict.DeltaInPlace},
		// Signed, but wrong.
		{"more RAM than signed", func(_ *testing.T, p *parcel) { p.manifest.Install.Decoding.RAM-- }, StepImage, verdict.DecoderRAM},
		{"for a longer base", func(t *testing.T, p *parcel) {
			d := *p.manifest.Install.Decoding
			p.patch(t, append(old(p), 1), image, delta.Params{})
			d.RAM = p.manifest.Install.Decoding.RAM
			p.manifest.Install.Decoding = &d
		}, StepImage, verdict.PayloadCoding},
		{"for a longer image", func(t *testing.T, p *parcel) { p.patch(t, old(p), append(slices.Clone(image), 1), delta.Params{}) }, StepImage, verdict.PayloadCoding},
		{"for a shorter image", func(t *testing.T, p *parcel) { p.patch(t, old(p), image[1:], delta.Params{}) }, StepImage, verdict.DecodedSize},
		{"for another image", func(t *testing.T, p *parcel) { p.patch(t, old(p), flip(image, 9), delta.Params{}) }, StepImage, verdict.ImageDigestMismatch},
		{"cut in the header", func(_ *testing.T, p *parcel) { signed(p, p.payload[:3]) }, StepImage, verdict.PayloadCoding},
		{"a byte behind", func(_ *testing.T, p *parcel) { signed(p, append(p.payload, 1)) }, StepImage, verdict.PayloadCoding},
		{"another format", func(_ *testing.T, p *parcel) { signed(p, []byte("hI10")) }, StepImage, verdict.PayloadCoding},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := patchParcel(t)
			tt.change(t, p)
			v, trace, err := p.verify(t, p.envelope(t))
			before, _, _ := strings.Cut(tracePatch, string(tt.step)+" ")
			if want := before + string(tt.step) + " failed " + string(tt.reason); v != nil || verdict.Of(err) != tt.reason || text(trace) != want {
				t.Errorf("%v\ngot  %s\nwant %s", err, text(trace), want)
			}
		})
	}
}

// others are parcels with patches of other codings.
func others(t *testing.T) map[manifest.Coding]*parcel {
	t.Helper()
	all := map[manifest.Coding]*parcel{manifest.CodingOD1: patchParcel(t)}
	add := func(c manifest.Coding, ram int, encode func(old, image []byte) ([]byte, error)) {
		p := patchParcel(t)
		old, err := io.ReadAll(io.NewSectionReader(p.device.Running, 0, p.device.Running.Size))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := encode(old, testImage(t, 3000))
		if err != nil {
			t.Fatal(err)
		}
		base := content(old)
		p.code(patch, manifest.Decoding{Coding: c, RAM: uint32(ram), Base: &base})
		all[c] = p
	}
	add(manifest.CodingHPatchLite, hpatchlite.DecoderRAM(1<<10), func(old, image []byte) ([]byte, error) {
		return hpatchlite.Encode(t.Context(), old, image, 1<<10)
	})
	add(manifest.CodingDetools, detools.DecoderRAM(detools.Default), func(old, image []byte) ([]byte, error) {
		return detools.Encode(t.Context(), old, image, detools.Default)
	})
	return all
}

func TestOtherCodings(t *testing.T) {
	image := bytes.Repeat(testImage(t, 500), 4)
	payload, err := compress.Encode(compress.Zstd, image, 4<<10)
	if err != nil {
		t.Fatal(err)
	}
	zstd := codedParcel(t, Chips()[0])
	zstd.device.Chip.DecoderRAM = 256 << 10
	zstd.code(payload, manifest.Decoding{Coding: manifest.CodingZstd, RAM: uint32(compress.Zstd.DecoderRAM(4 << 10))})
	if v, trace, err := zstd.verify(t, zstd.envelope(t)); err != nil || !v.Complete() || text(trace) != traceCoded {
		t.Errorf("zstd: %s, %v", text(trace), err)
	}
	for coding, p := range others(t) {
		v, trace, err := p.verify(t, p.envelope(t))
		if err != nil || !v.Complete() || text(trace) != tracePatch {
			t.Errorf("%s: %s, %v", coding, text(trace), err)
		}
		p.manifest.Install.Decoding.RAM--
		if _, _, err := p.verify(t, p.envelope(t)); verdict.Of(err) != verdict.DecoderRAM {
			t.Errorf("%s: a byte of RAM more than signed: %v", coding, err)
		}
		p.manifest.Install.Decoding.RAM = p.device.Chip.DecoderRAM
		p.manifest.Image.Size--
		if _, _, err := p.verify(t, p.envelope(t)); verdict.Of(err) != verdict.PayloadCoding && verdict.Of(err) != verdict.DecodedSize {
			t.Errorf("%s: a byte more than signed: %v", coding, err)
		}
	}
}

// Whatever the bytes of a patch are, decoding ends, gives no more than the image
// has, and has a reason when it refuses.
func TestPatchDamage(t *testing.T) {
	for coding, p := range others(t) {
		d, size := *p.manifest.Install.Decoding, p.manifest.Image.Size
		refused := 0
		for bit := range 8 * min(len(p.payload), 120) {
			for _, patch := range [][]byte{flip(p.payload, bit), p.payload[:bit/8]} {
				r, err := Decode(t.Context(), d, size, p.device.Running, bytes.NewReader(patch))
				n := int64(0)
				if err == nil {
					n, err = io.Copy(io.Discard, r)
				}
				if err != nil && verdict.Of(err) == "" || n > int64(size) || err == nil && n != int64(size) {
					t.Fatalf("%s, bit %d: %d bytes, %v", coding, bit, n, err)
				}
				if err != nil {
					refused++
				}
			}
		}
		if refused == 0 {
			t.Errorf("%s: no damage was found while decoding", coding)
		}
	}
}

// A base that cannot be read is no verdict about the patch.
func TestPatchUnreadableBase(t *testing.T) {
	p := patchParcel(t)
	broken := Payload{readerFunc(func([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }), p.device.Running.Size}
	r, err := Decode(t.Context(), *p.manifest.Install.Decoding, p.manifest.Image.Size, &broken, bytes.NewReader(p.payload))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if !errors.Is(err, iotest.ErrTimeout) || verdict.Of(err) != "" {
		t.Errorf("got %v", err)
	}
	p.device.Running = &broken
	if _, _, err := p.verify(t, p.envelope(t)); !errors.Is(err, iotest.ErrTimeout) || verdict.Of(err) != "" {
		t.Errorf("got %v", err)
	}
}

// FuzzDecode: whatever a payload is, decoding ends with the image's size or with a
// reason.
func FuzzDecode(f *testing.F) {
	image := testImage(f, 3000)
	base := slices.Concat(image[:1000], []byte("the old firmware"), image[1200:])
	c := content(base)
	for _, add := range []func() ([]byte, error){
		func() ([]byte, error) { return delta.Encode(f.Context(), base, image, delta.Params{MapSize: 64}) },
		func() ([]byte, error) { return delta.Encode(f.Context(), nil, image[:300], delta.Params{MapSize: 64}) },
		func() ([]byte, error) { return hpatchlite.Encode(f.Context(), base, image, 64) },
		func() ([]byte, error) { return detools.Encode(f.Context(), base, image, detools.Default) },
		func() ([]byte, error) { return deflate(f, image[:300]), nil },
	} {
		payload, err := add()
		if err != nil {
			f.Fatal(err)
		}
		for coding := manifest.CodingOD1; coding <= manifest.CodingDetools; coding++ {
			f.Add(uint8(coding), true, uint16(len(image)), payload)
			f.Add(uint8(coding), false, uint16(300), payload)
		}
	}
	f.Fuzz(func(t *testing.T, coding uint8, based bool, size uint16, payload []byte) {
		d := manifest.Decoding{Coding: manifest.Coding(coding), RAM: 1 << 16}
		if based {
			d.Base = &c
		}
		r, err := Decode(t.Context(), d, uint32(size), inMemory(base), bytes.NewReader(payload))
		n := int64(0)
		if err == nil {
			n, err = io.Copy(io.Discard, r)
		}
		if err == nil && n != int64(size) || n > int64(size) || err != nil && verdict.Of(err) == "" {
			t.Errorf("%d of %d bytes, %v", n, size, err)
		}
	})
}
