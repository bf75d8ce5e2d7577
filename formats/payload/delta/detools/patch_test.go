package detools

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

var builds = []Options{Default, {Compression: Heatshrink, Window: 11, Lookahead: 4}, {Compression: Heatshrink, Window: 4, Lookahead: 3}, {Compression: CRLE}}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		old, image := images(seed, 3000)
		for _, o := range builds {
			patch, err := Encode(t.Context(), old, image, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(old, patch, len(image))
			if err != nil || !bytes.Equal(got, image) {
				t.Errorf("seed %d, %+v: %d bytes, %v", seed, o, len(got), err)
			}
			info, err := Describe(patch)
			if err != nil || info.Size != len(image) || info.Options != o || info.RAM != DecoderRAM(o) {
				t.Errorf("seed %d, %+v: %+v, %v", seed, o, info, err)
			}
			if again, err := Encode(t.Context(), old, image, o); err != nil || !bytes.Equal(again, patch) {
				t.Errorf("seed %d: two patches of one pair, %v", seed, err)
			}
		}
	}
	for _, o := range []Options{{}, {Compression: CRLE, Window: 8}, {Compression: Heatshrink, Window: 3, Lookahead: 3}, {Compression: Heatshrink, Window: 8, Lookahead: 8}, {Compression: 1}} {
		if _, err := Encode(t.Context(), nil, []byte{1}, o); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if got := CRLE.String() + Heatshrink.String() + Compression(9).String(); got != "crleheatshrinkcompression 9" {
		t.Errorf("compressions are called %q", got)
	}
}

func TestRefuses(t *testing.T) {
	old, image := images(3, 2000)
	for _, o := range builds {
		patch, err := Encode(t.Context(), old, image, o)
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		for n := range patch {
			got, err := Decode(old, patch[:n], len(image))
			if err == nil || len(got) < made || !bytes.HasPrefix(image, got) {
				t.Fatalf("%+v: %d bytes from %d of %d, %v", o, len(got), n, len(patch), err)
			}
			made = len(got)
		}
		if made < len(image)-300 {
			t.Errorf("%+v: %d of %d bytes before the last one of the patch", o, made, len(image))
		}
		if got, err := Decode(old, append(slices.Clone(patch), 0), len(image)); !errors.Is(err, ErrTrailing) || !bytes.Equal(got, image) {
			t.Errorf("%+v: a byte behind: %d bytes, %v", o, len(got), err)
		}
		if _, err := Decode(old, patch, len(image)-1); !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: a byte more than allowed: %v", o, err)
		}
		if _, err := Decode(old[:len(old)/2], patch, len(image)); !errors.Is(err, ErrBase) {
			t.Errorf("%+v: half of the old image: %v", o, err)
		}
		for bit := range 8 * min(len(patch), 300) {
			bent := slices.Clone(patch)
			bent[bit/8] ^= 1 << (bit % 8)
			if got, err := Decode(old, bent, len(image)); err == nil && len(got) > len(image) {
				t.Fatalf("%+v, bit %d: %d bytes", o, bit, len(got))
			}
		}
	}
	for _, bad := range []string{"", "00", "01", "12", "24", "0480"} { // no compression, LZMA, in place, hdiffpatch, cut
		data, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(old, data, 3000); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzDecode: decoding ends within its bounds.
func FuzzDecode(f *testing.F) {
	old, image := images(5, 600)
	for _, o := range builds {
		patch, err := Encode(f.Context(), old, image, o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(patch)
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		got, err := Decode(old, patch, 1000)
		if len(got) > 1000 || err != nil && got != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// Patches that detools.c (0.53.0) has applied: they made this image of this old
// one.
func TestUpstream(t *testing.T) {
	old, image := images(6, 600)
	for name, digits := range map[string]string{
		"heatshrink": "048e1144806260700007f0043808101cb30b0126c5916c20cd0fe00fe00b7012a53f141711036c7f004783d03c90c9bc160d0beb41302d3fe00860",
		"crle":       "028e11000300890301c50100000801000000002c8501014600000322b00601dc02000001010154000004e205880301c80100000c0740e40c3705060bd604810301c30100",
	} {
		patch, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(old, patch, len(image)); err != nil || !bytes.Equal(got, image) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}
