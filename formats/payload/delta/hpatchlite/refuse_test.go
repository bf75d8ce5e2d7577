package hpatchlite

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/testvectors"
)

// TestTiny has images that leave parts of a patch out.
func TestTiny(t *testing.T) {
	old := testvectors.Bytes("old", 500)
	for name, image := range map[string][]byte{
		"empty":        {},
		"one byte":     {7},
		"same":         old,
		"shorter":      old[:200],
		"grown":        append(slices.Clone(old), testvectors.Bytes("new", 300)...),
		"blank":        make([]byte, 100000),
		"all new":      testvectors.Bytes("other", 400),
		"turned round": slices.Concat(old[250:], old[:250]),
	} {
		for _, from := range [][]byte{nil, {1}, old} {
			patch, err := Encode(t.Context(), from, image, DefaultDictionary)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err := Decode(from, patch, len(image)); err != nil || !bytes.Equal(got, image) {
				t.Errorf("%s from %d bytes: %d bytes, %v", name, len(from), len(got), err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Encode(ctx, old, old[:200], DefaultDictionary); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRefusesRanges has bodies that are not compressed, for an old image of eight
// bytes and a new one of four.
func TestRefusesRanges(t *testing.T) {
	old := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		name, body string
		want       error
	}{
		{"copied", "01 04 80 00", nil},
		{"copied from further on", "01 04 84 00", nil},
		{"differences", "01 04 00 00 00 01 00 ff", nil},
		{"new", "01 00 80 04 09 09 09 09", nil},
		{"two ranges, the second backwards", "02 02 82 00 02 c4 00", nil},
		{"empty body", "", ErrTruncated},
		{"cut in the differences", "01 04 00 00 00 01", ErrTruncated},
		{"cut in new bytes", "01 00 80 04 09", ErrTruncated},
		{"goes on", "01 04 80 00 00", ErrTrailing},
		{"no ranges", "00", ErrCode},
		{"ends early", "01 03 80 00", ErrCode},
		{"more ranges than bytes", "06", ErrCode},
		{"an empty range first", "02 00 80 00 04 80 00", ErrCode},
		{"writes beyond the image", "01 05 80 00", ErrCode},
		{"new bytes beyond the image", "01 00 80 05 09 09 09 09 09", ErrCode},
		{"a range of 2 GiB", "01 87 ff ff ff 7f 80 00", ErrCode},
		{"a number of 35 bits", "01 ff ff ff ff 7f 80 00", ErrCode},
		{"reads beyond the old image", "01 04 85 00", ErrBase},
		{"reads before the old image", "01 04 c1 00", ErrBase},
		{"number in two bytes for one", "80 01 04 80 00", ErrCode},
		{"step in two bytes for one", "01 04 a0 04 00", ErrCode},
		{"step of minus zero", "01 04 c0 00", ErrCode},
	} {
		body, err := hex.DecodeString(strings.ReplaceAll(c.body, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		image, err := Decode(old, append([]byte("hI\x00\x41\x04"), body...), 4)
		if !errors.Is(err, c.want) || err == nil && len(image) != 4 {
			t.Errorf("%s: %x, %v, want %v", c.name, image, err, c.want)
		}
	}
}

// TestRefusesStreams has tinyuz streams that make a body of one range: four times
// the byte 9.
func TestRefusesStreams(t *testing.T) {
	good := newBitWriter(nil)
	for _, b := range []byte{1, 0, 0x80, 4, 9, 9, 9, 9} {
		good.bit(1)
		good.byte(b)
	}
	literals := func() *bitWriter { return &bitWriter{slices.Clone(good.out), good.at, good.used} }
	write := func(change func(w *bitWriter)) []byte {
		w := literals()
		change(w)
		return w.out
	}
	for name, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"as it should be": {write(func(w *bitWriter) { w.control(controlEnd, true) }), nil},
		"aligned first": {write(func(w *bitWriter) {
			w.control(controlAlign, true)
			w.used = 8
			w.control(controlEnd, false)
		}), nil},
		"no end":                {good.out, ErrTruncated},
		"goes on":               {append(write(func(w *bitWriter) { w.control(controlEnd, true) }), 0), ErrTrailing},
		"a literal more":        {write(func(w *bitWriter) { w.bit(1); w.byte(9) }), ErrCode},
		"a copy more":           {write(func(w *bitWriter) { w.copy(step{length: 2, distance: 1}, true) }), ErrCode},
		"a run more":            {write(func(w *bitWriter) { w.control(controlLine, true); w.number(0, distanceBits) }), ErrCode},
		"before the beginning":  {write(func(w *bitWriter) { w.copy(step{length: 2, distance: 9}, true) }), ErrCode},
		"beyond the dictionary": {write(func(w *bitWriter) { w.copy(step{length: 2, distance: 200}, true) }), ErrCode},
		"an unknown control":    {write(func(w *bitWriter) { w.control(4, true) }), ErrCode},
		"bits behind the end": {write(func(w *bitWriter) {
			w.control(controlEnd, true)
			w.out[w.at] |= 0x80
		}), ErrCode},
		"a number without end": {write(func(w *bitWriter) {
			w.bit(0)
			for range 100 {
				w.bit(1)
			}
		}), ErrLimit},
	} {
		patch := append([]byte("hI\x01\x49\x04\x08\x10\x00\x00\x00"), c.stream...)
		if image, err := Decode(nil, patch, 4); !errors.Is(err, c.want) || err == nil && !bytes.Equal(image, []byte{9, 9, 9, 9}) {
			t.Errorf("%s: %x, %v, want %v", name, image, err, c.want)
		}
	}
}

func TestRefusesHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		patch string
		want  error
	}{
		"another magic":                 {"hJ\x01\x49\x04\x08\x10\x00\x00\x00", ErrFormat},
		"in place":                      {"hI\x01\x89\x04\x08\x10\x00\x00\x00", ErrFormat},
		"lzma":                          {"hI\x03\x49\x04\x08\x10\x00\x00\x00", ErrFormat},
		"cut":                           {"hI\x01", ErrTruncated},
		"cut in a length":               {"hI\x01\x4a\x04", ErrTruncated},
		"cut in the dictionary":         {"hI\x01\x49\x04\x08\x10\x00", ErrTruncated},
		"length in too many bytes":      {"hI\x01\x4a\x04\x00\x08\x10\x00\x00\x00", ErrCode},
		"length of five bytes":          {"hI\x01\x4d\x04\x01\x01\x01\x01\x08\x10\x00\x00\x00", ErrCode},
		"image of 4 GiB":                {"hI\x01\x4c\xff\xff\xff\xff\x08\x10\x00\x00\x00", ErrLimit},
		"no dictionary":                 {"hI\x01\x49\x04\x08\x00\x00\x00\x00", ErrCode},
		"dictionary of 16 MiB":          {"hI\x01\x49\x04\x08\x00\x00\x00\x01", ErrLimit},
		"length of what is not smaller": {"hI\x00\x49\x04\x08\x00\x00\x00\x01", ErrCode},
	} {
		if info, err := Describe([]byte(c.patch)); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, info, err, c.want)
		}
	}
}
