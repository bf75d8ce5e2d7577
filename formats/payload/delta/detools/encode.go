package detools

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats/payload/delta/match"
)

// What Encode tries: thresholds of the search, see match.Index.Covers, and then
// from which length on covers are worth their heads.
var (
	thresholds = []int{8, 6, 12, 16}
	shortest   = []int{8, 12, 16, 24}
)

// maxSize is the greatest size that detools.c reads.
const maxSize = 1<<bitsWithinInt - 1

// Encode returns a patch that makes image from old. The same input gives the
// same patch. What it returns was decoded and compared.
func Encode(ctx context.Context, old, image []byte, o Options) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("detools: %w", err)
	}
	if len(image) > maxSize || len(old) > maxSize {
		return nil, fmt.Errorf("detools: images of %d and %d bytes: %w", len(old), len(image), ErrLimit)
	}
	patch, err := smallest(ctx, old, image, o)
	if err != nil {
		return nil, fmt.Errorf("detools: %w", err)
	}
	got, err := Decode(old, patch, len(image))
	if err != nil {
		return nil, fmt.Errorf("detools: check of the patch: %w", err)
	}
	if !bytes.Equal(got, image) {
		return nil, fmt.Errorf("detools: the patch makes another image")
	}
	return patch, nil
}

func smallest(ctx context.Context, old, image []byte, o Options) ([]byte, error) {
	index := match.NewIndex(old)
	var best []byte
	var covers []match.Cover // of the best patch
	try := func(all []match.Cover, shortest int) error {
		kept := slices.DeleteFunc(slices.Clone(all), func(c match.Cover) bool { return c.Length < shortest })
		if patch := write(old, image, kept, o); best == nil || len(patch) < len(best) {
			best, covers = patch, all
		}
		return ctx.Err()
	}
	for _, threshold := range thresholds {
		if err := try(index.Covers(image, threshold), shortest[0]); err != nil {
			return nil, err
		}
	}
	for _, length := range shortest[1:] {
		if err := try(covers, length); err != nil {
			return nil, err
		}
	}
	return best, nil
}

// write returns the patch for given covers.
func write(old, image []byte, covers []match.Cover, o Options) []byte {
	out := appendSize([]byte{byte(o.Compression)}, len(image))
	if len(image) == 0 {
		return out // the decoder stops here
	}
	stream := writeStream(old, image, covers)
	if o.Compression == CRLE {
		return runs(out, stream)
	}
	return heatshrink(out, stream, o)
}

func writeStream(old, image []byte, covers []match.Cover) []byte {
	stream := appendSize(nil, 0)
	if len(covers) == 0 || covers[0].New > 0 || covers[0].Old > 0 {
		covers = append([]match.Cover{{}}, covers...)
	}
	for i, c := range covers {
		stream = appendSize(stream, c.Length)
		for k := range c.Length {
			stream = append(stream, image[c.New+k]-old[c.Old+k])
		}
		end, move := len(image), 0
		if i+1 < len(covers) {
			end, move = covers[i+1].New, covers[i+1].Old-c.Old-c.Length
		}
		stream = appendSize(stream, end-c.New-c.Length)
		stream = append(stream, image[c.New+c.Length:end]...)
		stream = appendSize(stream, move)
	}
	return stream
}

func appendSize(b []byte, v int) []byte {
	var first byte
	if v < 0 {
		first = 0x40
		v = -v
	}
	first |= byte(v & 0x3f)
	v >>= 6
	if v > 0 {
		first |= 0x80
	}
	b = append(b, first)
	for v > 0 {
		next := byte(v & 0x7f)
		if v >>= 7; v > 0 {
			next |= 0x80
		}
		b = append(b, next)
	}
	return b
}
