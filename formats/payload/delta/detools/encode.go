package detools

import (
	"bytes"
	"context"
	"fmt"

	"github.com/otapack/otapack/formats/payload/delta/match"
)

// What Encode tries: thresholds of the search, see match.Index.Covers, and prices
// in eighths of a bit for the choice among what they find. The prices are from
// trying, on pairs of MakeCode images.
var (
	thresholds       = []int{2, 4, 6, 8}
	heatshrinkPrices = []match.Prices{
		{Cover: 480, Fresh: 48, Differ: 72, Again: 24, Same: []int{20, 20, 1}},
		{Cover: 400, Fresh: 52, Differ: 72, Again: 24, Same: []int{10, 10, 1}},
		{Cover: 320, Fresh: 56, Differ: 72, Again: 24, Same: []int{20, 20, 0}},
	}
	crlePrices = []match.Prices{
		{Cover: 240, Fresh: 64, Differ: 64, Again: 64, Same: []int{64, 64, 64, 64, 64, 0}}, // runs take five bytes more
	}
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
	var found, last []match.Cover
	for _, threshold := range thresholds {
		last = index.Covers(image, threshold)
		found = append(found, last...)
	}
	prices := heatshrinkPrices
	if o.Compression == CRLE {
		prices = crlePrices
	}
	best := write(old, image, last, o) // when no price fits
	for _, p := range prices {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if patch := write(old, image, match.Choose(old, image, found, p), o); len(patch) < len(best) {
			best = patch
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
