package hpatchlite

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats/payload/delta/match"
)

// DefaultDictionary is the size of tinyuz's dictionary in bytes that the decoder
// was measured with. A larger one makes patches smaller and takes that much RAM.
const DefaultDictionary = 4 << 10

// What Encode tries: thresholds of the search, see match.Index.Covers, and prices
// in eighths of a bit for the choice among what they find. The prices are from
// trying, on pairs of MakeCode images.
var (
	thresholds = []int{2, 4, 6, 8}
	prices     = []match.Prices{
		{Cover: 400, Fresh: 40, Differ: 72, Again: 24, Same: []int{10, 10, 1}},
		{Cover: 400, Fresh: 48, Differ: 72, Again: 24, Same: []int{20, 20, 1}},
		{Cover: 400, Fresh: 56, Differ: 72, Again: 24, Same: []int{20, 10, 0}},
	}
)

// sameRun is from how many bytes without a difference a range of its own is
// cheaper than differences of zero: found by trying, on pairs of MakeCode images.
const sameRun = 400

// Encode returns a patch that makes image from old, with a dictionary of so many
// bytes, up to MaxDictionary. The same input gives the same patch. What it
// returns was decoded and compared.
func Encode(ctx context.Context, old, image []byte, dictionary int) ([]byte, error) {
	if dictionary < 1 || dictionary > MaxDictionary {
		return nil, fmt.Errorf("hpatchlite: dictionary of %d bytes, want 1 to %d", dictionary, MaxDictionary)
	}
	if len(image) > maxNumber || len(old) > maxNumber {
		return nil, fmt.Errorf("hpatchlite: images of %d and %d bytes: %w", len(old), len(image), ErrLimit)
	}
	patch, err := smallest(ctx, old, image, dictionary)
	if err != nil {
		return nil, fmt.Errorf("hpatchlite: %w", err)
	}
	got, err := Decode(old, patch, len(image))
	if err != nil {
		return nil, fmt.Errorf("hpatchlite: check of the patch: %w", err)
	}
	if !bytes.Equal(got, image) {
		return nil, fmt.Errorf("hpatchlite: the patch makes another image")
	}
	return patch, nil
}

func smallest(ctx context.Context, old, image []byte, dictionary int) ([]byte, error) {
	index := match.NewIndex(old)
	var found, last []match.Cover
	for _, threshold := range thresholds {
		last = index.Covers(image, threshold)
		found = append(found, last...)
	}
	best := write(old, image, last, dictionary) // when no price fits
	for _, p := range prices {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if patch := write(old, image, match.Choose(old, image, found, p), dictionary); len(patch) < len(best) {
			best = patch
		}
	}
	return best, nil
}

// write returns the patch for given covers.
func write(old, image []byte, covers []match.Cover, dictionary int) []byte {
	body := writeBody(old, image, ranges(old, image, covers))
	out := []byte{'h', 'I', compressionTinyuz, 0}
	out, n := appendLength(out, len(image))
	out, u := appendLength(out, len(body))
	out[3] = version<<6 | byte(u)<<3 | byte(n)
	return compress(out, body, dictionary)
}

// A span is a range of a patch.
type span struct {
	match.Cover
	same bool // no differences
}

// ranges cuts the covers where sameRun bytes or more are the same, and ends with
// the new image.
func ranges(old, image []byte, covers []match.Cover) []span {
	var spans []span
	end := 0
	for _, c := range covers {
		spans = cut(spans, old, image, c)
		end = c.New + c.Length
	}
	if end < len(image) {
		last := 0 // where a step of zero leads
		if n := len(covers); n > 0 {
			last = covers[n-1].Old + covers[n-1].Length
		}
		spans = append(spans, span{match.Cover{New: len(image), Old: last}, true})
	}
	return spans
}

func cut(spans []span, old, image []byte, c match.Cover) []span {
	add := func(from, to int, same bool) {
		if from < to {
			spans = append(spans, span{match.Cover{New: c.New + from, Old: c.Old + from, Length: to - from}, same})
		}
	}
	done := 0
	for i := 0; i < c.Length; i++ {
		start := i
		for i < c.Length && image[c.New+i] == old[c.Old+i] {
			i++
		}
		if i-start >= sameRun || start == 0 && i == c.Length {
			add(done, start, false)
			add(start, i, true)
			done = i
		}
	}
	add(done, c.Length, false)
	return spans
}

func writeBody(old, image []byte, spans []span) []byte {
	body := appendNumber(nil, len(spans))
	newEnd, oldEnd := 0, 0
	for _, s := range spans {
		body = appendNumber(body, s.Length)
		body = appendStep(body, s.Old-oldEnd, s.same)
		body = appendNumber(body, s.New-newEnd)
		body = append(body, image[newEnd:s.New]...)
		newEnd, oldEnd = s.New+s.Length, s.Old+s.Length
		if !s.same {
			for i := range s.Length {
				body = append(body, image[s.New+i]-old[s.Old+i])
			}
		}
	}
	return body
}

// appendLength appends a length without leading zeros, and says in how many bytes.
func appendLength(b []byte, v int) ([]byte, int) {
	n := 0
	for ; v > 0; v >>= 8 {
		b = append(b, byte(v))
		n++
	}
	return b, n
}

func appendNumber(b []byte, v int) []byte {
	start := len(b)
	b = append(b, byte(v&0x7f))
	for v >>= 7; v > 0; v >>= 7 {
		b = append(b, byte(v&0x7f)|0x80)
	}
	slices.Reverse(b[start:])
	return b
}

func appendStep(b []byte, v int, same bool) []byte {
	var tag byte
	if same {
		tag |= stepSame
	}
	if v < 0 {
		tag |= stepBack
		v = -v
	}
	start := len(b)
	more := byte(0)
	for v >= 1<<5 {
		b = append(b, byte(v&0x7f)|more)
		v >>= 7
		more = 0x80
	}
	if len(b) > start {
		tag |= stepMore
	}
	b = append(b, tag|byte(v))
	slices.Reverse(b[start:])
	return b
}
