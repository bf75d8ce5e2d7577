package hpatchlite

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/otapack/otapack/testvectors"
)

// images returns an old and a new image that differ in small and large ways.
func images(seed uint64, size int) (old, image []byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	old = slices.Concat(testvectors.Bytes("old", size), bytes.Repeat([]byte("table "), size/20))
	image = slices.Clone(old)
	for range 1 + r.IntN(8) {
		at := r.IntN(len(image))
		switch r.IntN(4) {
		case 0:
			image[at]++
		case 1:
			image = slices.Insert(image, at, testvectors.Bytes("new", r.IntN(60))...)
		case 2:
			image = slices.Delete(image, at, min(at+r.IntN(100), len(image)))
		default:
			n := min(200, len(image)-at)
			image = append(image, image[at:at+n]...)
		}
	}
	return old, image
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		old, image := images(seed, 3000)
		for _, dictionary := range []int{1, 64, DefaultDictionary} {
			patch, err := Encode(t.Context(), old, image, dictionary)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(old, patch, len(image))
			if err != nil || !bytes.Equal(got, image) {
				t.Errorf("seed %d: %d bytes, %v", seed, len(got), err)
			}
			info, err := Describe(patch)
			if err != nil || info.Size != len(image) || info.Dictionary > dictionary || info.RAM != DecoderRAM(info.Dictionary) {
				t.Errorf("seed %d: %+v, %v", seed, info, err)
			}
			if again, err := Encode(t.Context(), old, image, dictionary); err != nil || !bytes.Equal(again, patch) {
				t.Errorf("seed %d: two patches of one pair, %v", seed, err)
			}
			if len(patch) > len(image)/2 {
				t.Errorf("seed %d: a patch of %d bytes for %d", seed, len(patch), len(image))
			}
		}
	}
	for _, dictionary := range []int{0, MaxDictionary + 1} {
		if _, err := Encode(t.Context(), nil, []byte{1}, dictionary); err == nil {
			t.Errorf("a dictionary of %d bytes", dictionary)
		}
	}
}

func TestRefuses(t *testing.T) {
	old, image := images(3, 2000)
	patch, err := Encode(t.Context(), old, image, 256)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for n := range patch {
		got, err := Decode(old, patch[:n], len(image))
		if err == nil || len(got) < made || !bytes.HasPrefix(image, got) {
			t.Fatalf("%d bytes from %d of %d, %v", len(got), n, len(patch), err)
		}
		made = len(got)
	}
	if made < len(image)-300 {
		t.Errorf("%d of %d bytes before the last one of the patch", made, len(image))
	}
	if got, err := Decode(old, append(slices.Clone(patch), 0), len(image)); !errors.Is(err, ErrTrailing) || !bytes.Equal(got, image) {
		t.Errorf("a byte behind: %d bytes, %v", len(got), err)
	}
	if _, err := Decode(old, patch, len(image)-1); !errors.Is(err, ErrLimit) {
		t.Errorf("a byte more than allowed: %v", err)
	}
	if _, err := Decode(old[:len(old)/2], patch, len(image)); !errors.Is(err, ErrBase) {
		t.Errorf("half of the old image: %v", err)
	}
	for _, bad := range []string{"", "hJ000", "68490181", "6849040a0101", "6849014a300b3030300000373030 30"} {
		data, err := hex.DecodeString(bad)
		if err != nil {
			data = []byte(bad)
		}
		if _, err := Decode(old, data, 3000); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for bit := range 8 * len(patch) {
		bent := slices.Clone(patch)
		bent[bit/8] ^= 1 << (bit % 8)
		if got, err := Decode(old, bent, len(image)); err == nil && len(got) > len(image) {
			t.Fatalf("bit %d: %d bytes", bit, len(got))
		}
	}
}

// FuzzDecode: decoding ends within its bounds.
func FuzzDecode(f *testing.F) {
	old, image := images(5, 600)
	patch, err := Encode(f.Context(), old, image, 64)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(patch)
	f.Add([]byte("hI\x01J0\v000\x00\x007000")) // a number that is cut off behind an error
	f.Fuzz(func(t *testing.T, patch []byte) {
		got, err := Decode(old, patch, 1000)
		if len(got) > 1000 || err != nil && got != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// A patch that hpatch_lite.c (HPatchLite 1, with tuz_dec.c) has applied: it made
// this image of this old one.
func TestUpstream(t *testing.T) {
	old, image := images(6, 600)
	patch, err := hex.DecodeString("684901524e049802400000006f05814900f55901fe0445a02c008330207322007f31010100d7f98148e262f00541e216077f40e40c3705060b0600")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(old, patch, len(image)); err != nil || !bytes.Equal(got, image) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
