package release

import (
	"context"
	"fmt"
	"math"

	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/manifest"
)

// coded is a payload, and how a device makes the image from it.
type coded struct {
	payload  []byte
	decoding *manifest.Decoding // nil: the payload is the image
	window   uint32             // bytes that the decoder keeps of its output, 0: none
}

// compress codes a whole image.
func compress(ctx context.Context, c component, address uint32, image []byte) (coded, error) {
	return codeOD1(ctx, c, nil, address, image)
}

// codeOD1 makes a patch that knows Thumb code, or without a base a compressed
// image. Address is where the image runs.
func codeOD1(ctx context.Context, c component, b *base, address uint32, image []byte) (coded, error) {
	p := delta.Params{OldBase: address, NewBase: address, RAMStart: c.chip.RAM.Base, RAMEnd: uint32(min(c.chip.RAM.End(), math.MaxUint32)), MapSize: mapSize(c.chip.DecoderRAM)}
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
	return codeOD1(ctx, c, &b, address, image)
}
