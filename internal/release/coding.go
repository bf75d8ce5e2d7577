package release

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/bits"

	"github.com/otapack/otapack/formats/payload/compress"
	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/formats/payload/delta/detools"
	"github.com/otapack/otapack/formats/payload/delta/hpatchlite"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
)

// coded is a payload, and how a device makes the image from it.
type coded struct {
	payload  []byte
	decoding *manifest.Decoding // nil: the payload is the image
	window   uint32             // bytes that the decoder keeps of its output, 0: none
}

// codeWhole compresses a whole image.
func codeWhole(ctx context.Context, c component, address uint32, image []byte) (coded, error) {
	codec, coding := compress.Zstd, manifest.CodingZstd
	switch c.Compress.Codec {
	case config.CompressOD1:
		return codeOD1(ctx, c, nil, address, int(c.Compress.Restart), image)
	case config.CompressDeflate:
		codec, coding = compress.Deflate, manifest.CodingDeflate
	}
	window := codecWindow(codec, *c.Compress)
	payload, err := compress.Encode(codec, image, window)
	if err != nil {
		return coded{}, err
	}
	return coded{payload, &manifest.Decoding{Coding: coding, RAM: uint32(codec.DecoderRAM(window))}, uint32(window)}, nil
}

// codecWindow is the window that was asked for, or the codec's usual one.
func codecWindow(c compress.Codec, asked config.Compress) int {
	_, _, usual := c.Windows()
	return cmp.Or(int(asked.Window), usual)
}

// codeOD1 makes a patch that knows Thumb code, or without a base a compressed
// image. Address is where the image runs.
func codeOD1(ctx context.Context, c component, b *base, address uint32, restart int, image []byte) (coded, error) {
	p := delta.Params{
		OldBase: address, NewBase: address, RAMStart: c.chip.RAM.Base, RAMEnd: uint32(min(c.chip.RAM.End(), math.MaxUint32)),
		MapSize: mapSize(c.chip.DecoderRAM), Restart: restart,
	}
	d := &manifest.Decoding{Coding: manifest.CodingOD1}
	var old []byte
	if b != nil {
		base := b.content()
		p.OldBase, old, d.Base = b.address, b.image, &base
	}
	patch, err := delta.Encode(ctx, old, image, p)
	if err != nil {
		return coded{}, err
	}
	h, err := delta.ReadHeader(patch)
	if err != nil {
		return coded{}, err
	}
	d.RAM = uint32(h.DecoderRAM())
	return coded{patch, d, 0}, nil
}

// mapSize is how many covers a decoder with some RAM can hold: the usual number,
// or less where RAM is short.
func mapSize(ram uint32) int {
	for size := delta.DefaultMap; size > 64; size /= 2 {
		if h := (delta.Header{Params: delta.Params{MapSize: size}}); uint32(h.DecoderRAM()) <= ram {
			return size
		}
	}
	return 64
}

// codedVariant is a variant that is not finished.
type codedVariant struct {
	variant
	coded coded
}

// codePatches makes a patch from each base of a component. Address is where the
// image runs.
func codePatches(ctx context.Context, c component, whole parcel, bases []base, address uint32, image []byte) ([]codedVariant, error) {
	var variants []codedVariant
	for _, b := range bases {
		patch, err := codePatch(ctx, c, b, address, image)
		if err != nil {
			return nil, fmt.Errorf("from %s: %w", b.version, err)
		}
		v := codedVariant{variant{whole, b}, patch}
		install := *whole.manifest.Install
		v.artifact, v.manifest.Install = variantArtifact(c.Name, b.version), &install
		variants = append(variants, v)
	}
	return variants, nil
}

// codePatch makes the patch from one base.
func codePatch(ctx context.Context, c component, b base, address uint32, image []byte) (coded, error) {
	content := b.content()
	d := &manifest.Decoding{Base: &content}
	var patch []byte
	var err error
	window := 0
	switch c.Delta.Format {
	case config.DeltaHPatchLite:
		window = cmp.Or(int(c.Delta.Window), hpatchlite.DefaultDictionary)
		d.Coding, d.RAM = manifest.CodingHPatchLite, uint32(hpatchlite.DecoderRAM(window))
		patch, err = hpatchlite.Encode(ctx, b.image, image, window)
	case config.DeltaDetoolsCRLE, config.DeltaDetoolsHeatshrink:
		o := detoolsOptions(*c.Delta)
		if o.Window > 0 {
			window = 1 << o.Window
		}
		d.Coding, d.RAM = manifest.CodingDetools, uint32(detools.DecoderRAM(o))
		patch, err = detools.Encode(ctx, b.image, image, o)
	default:
		return codeOD1(ctx, c, &b, address, int(c.Delta.Restart), image)
	}
	return coded{patch, d, uint32(window)}, err
}

// detoolsOptions is how a device's detools.c was built.
func detoolsOptions(d config.Delta) detools.Options {
	if d.Format == config.DeltaDetoolsCRLE {
		return detools.Options{Compression: detools.CRLE}
	}
	o := detools.Default
	if d.Window > 0 { // both are powers of two
		o.Window, o.Lookahead = bits.Len64(d.Window)-1, bits.Len64(d.Lookahead)-1
	}
	return o
}
