package delta

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzReadHeader: what is accepted is what append writes.
func FuzzReadHeader(f *testing.F) {
	f.Add(Header{Params: Params{OldBase: 0x1c000, NewBase: 0x1c000, RAMStart: usualRAM, RAMEnd: usualRAM + 0x20000, MapSize: DefaultMap}, OldLength: 200000, NewLength: 201000}.append(nil))
	f.Add(Header{Params{1, 2, 3, 4, MaxMap, MaxImage}, MaxImage, MaxImage}.append(nil))
	f.Fuzz(func(t *testing.T, patch []byte) {
		h, err := ReadHeader(patch)
		if err != nil {
			if !errors.Is(err, ErrHeader) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrParams) && !errors.Is(err, ErrTooLong) {
				t.Fatal(err)
			}
			return
		}
		if b := h.append(nil); !bytes.HasPrefix(patch, b) {
			t.Fatalf("%x is read as %x", patch, b)
		}
	})
}

// FuzzDecode: a stream behind a good header makes an image of the promised
// length or one of the documented errors, and the same from every restart point.
func FuzzDecode(f *testing.F) {
	old, image := images(20, 4)
	p := testParams()
	p.Restart = MinRestart
	h := Header{Params: p, OldLength: len(old), NewLength: len(image)}
	h.MapSize = DefaultMap
	f.Add(encode(f, old, image, p)[len(h.append(nil)):])
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, body []byte) {
		patch := append(h.append(nil), body...)
		got, err := Decode(patch, old, len(image))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrTrailing) {
				t.Fatal(err)
			}
			return
		}
		if len(got) != len(image) {
			t.Fatalf("%d bytes, not %d", len(got), len(image))
		}
		b := &bank{}
		d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(d, b, 100); err != nil {
			t.Fatal(err)
		}
		b.bytes = b.bytes[:d.State().Output]
		if d, err = Resume(bytes.NewReader(patch), bytes.NewReader(old), b, Limits{}, d.State()); err != nil {
			t.Fatal(err)
		}
		if err := decode(d, b, 100); err != nil || !bytes.Equal(b.bytes, got) {
			t.Fatalf("resumed: %v", err)
		}
	})
}
