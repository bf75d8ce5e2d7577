package detools

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
		"from behind":  old[100:],
		"grown":        append(slices.Clone(old), testvectors.Bytes("new", 300)...),
		"blank":        make([]byte, 100000),
		"all new":      testvectors.Bytes("other", 400),
		"turned round": slices.Concat(old[250:], old[:250]),
	} {
		for _, from := range [][]byte{nil, {1}, old} {
			for _, k := range kinds {
				patch, err := Encode(t.Context(), from, image, k.o)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got, err := Decode(from, patch, len(image)); err != nil || !bytes.Equal(got, image) {
					t.Errorf("%s from %d bytes, %s: %d bytes, %v", name, len(from), k.name, len(got), err)
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Encode(ctx, old, old[:200], Default); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRefusesStreams has what is in the stream of a patch, for an old image of
// eight bytes and a new one of four, in both compressions.
func TestRefusesStreams(t *testing.T) {
	old := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		name, stream string
		want         error
	}{
		{"copied", "00 04 00000000 00 00", nil},
		{"new", "00 00 04 09090909 00", nil},
		{"moved first", "00 00 00 04 04 00000000 00 00", nil},
		{"there and back", "00 02 0000 00 02 02 0000 00 46", nil},
		{"data sections", "01", ErrFormat},
		{"nothing twice", "00 00 00 01 00 00 01 04 00000000 00 00", ErrCode},
		{"writes differences beyond the image", "00 05 0000000000 00 00", ErrCode},
		{"writes new bytes beyond the image", "00 03 000000 02 0909 00", ErrCode},
		{"less than no differences", "00 41 00 00", ErrCode},
		{"reads beyond the old image", "00 00 00 06 04 00000000 00 00", ErrBase},
		{"moves before the old image", "00 02 0000 00 43 02 0000 00 00", ErrBase},
		{"moves beyond the old image", "00 02 0000 00 07 02 0000 00 00", ErrBase},
		{"size of minus zero", "00 04 00000000 00 40", ErrCode},
		{"size in two bytes for one", "00 84 00 00000000 00 00", ErrCode},
		{"size of 28 bits", "00 ff ffff ff ff ff ff 00 00", ErrCode},
		{"goes on", "00 04 00000000 00 00 77", ErrCode},
	} {
		stream, err := hex.DecodeString(strings.ReplaceAll(c.stream, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		for name, patch := range map[string][]byte{
			"crle":       append([]byte{2, 4, 0, byte(len(stream))}, stream...),
			"heatshrink": literally(stream),
		} {
			want := c.want
			if c.name == "goes on" && name == "heatshrink" {
				want = ErrTrailing // heatshrink has no length to compare with
			}
			image, err := Decode(old, patch, 4)
			if !errors.Is(err, want) || err == nil && len(image) != 4 {
				t.Errorf("%s, %s: %x, %v, want %v", c.name, name, image, err, want)
			}
		}
	}
}

// literally returns a patch with a heatshrink stream of literals.
func literally(stream []byte) []byte {
	w := bitWriter{out: []byte{4, 4, 0x44}}
	for _, b := range stream {
		w.bits(1, 1)
		w.bits(int(b), 8)
	}
	return w.out
}

// TestRefusesCompression has faults of the compressions themselves. The stream is
// "00 04 00000000 00 00" for an image of four bytes.
func TestRefusesCompression(t *testing.T) {
	old := []byte{1, 2, 3, 4}
	for _, c := range []struct {
		name, patch string
		want        error
	}{
		{"runs", "02 04 00 02 00 04 01 06 00", nil},
		{"a run more than needed", "02 04 00 02 00 04 01 07 00", ErrCode},
		{"a segment behind", "02 04 00 02 00 04 01 06 00 00 01 00", ErrTrailing},
		{"cut", "02 04 00 02 00 04 01 06", ErrTruncated},
		{"cut in a length", "02 04 00 82", ErrTruncated},
		{"kind 2", "02 04 02 08", ErrCode},
		{"a run of no bytes", "02 04 00 00", ErrCode},
		{"length in two bytes for one", "02 04 00 82 00 00 04 01 06 00", ErrCode},
		{"length of 35 bits", "02 04 01 ff ff ff ff 7f 00", ErrCode},
		{"zeros for ever", "02 04 01 ff ff ff 7f 00", ErrCode}, // neither differences nor new bytes
		{"empty image", "02 00", nil},
		{"something behind an empty image", "02 00 00", ErrTrailing},
		{"image of minus one byte", "02 41 00", ErrCode},
		{"lookahead as long as the window", "04 04 05 80", ErrFormat},
		{"no stream", "04 04", ErrTruncated},
	} {
		patch, err := hex.DecodeString(strings.ReplaceAll(c.patch, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if image, err := Decode(old, patch, 4); !errors.Is(err, c.want) {
			t.Errorf("%s: %x, %v, want %v", c.name, image, err, c.want)
		}
	}
	patch := literally([]byte{0, 4, 0, 0, 0, 0, 0, 0})
	if image, err := Decode(old, patch, 4); err != nil || !bytes.Equal(image, old) {
		t.Fatalf("%x, %v", image, err)
	}
	if _, err := Decode(old, patch[:len(patch)-1], 4); !errors.Is(err, ErrTruncated) {
		t.Errorf("cut in a literal: %v", err)
	}
	w := bitWriter{out: []byte{4, 4, 0x44}}
	for _, b := range []byte{0, 4, 9} {
		w.bits(1, 1)
		w.bits(int(b), 8)
	}
	w.bits(0, 1) // five zeros from before the beginning, where the decoder has them, too
	w.bits(255, 8)
	w.bits(4, 7)
	image, err := Decode(old, w.out, 4)
	if want := []byte{10, 2, 3, 4}; err != nil || !bytes.Equal(image, want) {
		t.Errorf("zeros of the empty window: %x, %v", image, err)
	}
	bent := slices.Clone(w.out)
	bent[len(bent)-1] |= 1
	if _, err := Decode(old, bent, 4); !errors.Is(err, ErrCode) {
		t.Errorf("padding: %v", err)
	}
}
