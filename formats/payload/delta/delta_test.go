package delta

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// encode makes a patch, which Encode has decoded itself.
func encode(t testing.TB, old, image []byte, p Params) []byte {
	t.Helper()
	patch, err := Encode(context.Background(), old, image, p)
	if err != nil {
		t.Fatal(err)
	}
	return patch
}

// images returns two releases of one made-up program.
func images(functions, edits int) (old, image []byte) {
	r := rand.New(rand.NewPCG(uint64(functions), uint64(edits)))
	p := newProgram(r, functions)
	return p.link(testBase, 0), p.edited(r, edits).link(testBase, 8)
}

// TestSmall compares patches with what a codec that knows no addresses could
// not do.
func TestSmall(t *testing.T) {
	old, image := images(400, 3)
	if patch := encode(t, old, image, testParams()); len(patch) > len(image)/100 {
		t.Errorf("%d of %d bytes for three edits", len(patch), len(image))
	}
	if patch := encode(t, image, image, testParams()); len(patch) > 40 {
		t.Errorf("%d bytes for nothing", len(patch))
	}
	if patch := encode(t, nil, image, testParams()); len(patch) > len(image)*3/4 {
		t.Errorf("%d of %d bytes without an old image", len(patch), len(image))
	}
	p := testParams()
	p.NewBase += 0x4000
	moved := newProgram(rand.New(rand.NewPCG(1, 1)), 400)
	if patch := encode(t, moved.link(p.OldBase, 0), moved.link(p.NewBase, 0), p); len(patch) > 80 {
		t.Errorf("%d bytes for another link address", len(patch))
	}
}

// TestAnyImages codes what is no code, or hardly anything.
func TestAnyImages(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	noise := make([]byte, 3001)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	branches := bytes.Repeat([]byte{0x00, 0xf0, 0x00, 0xf8}, 300)
	all := [][]byte{nil, {1}, {0xf0, 0xff, 0xff}, noise, noise[1:], noise[:1999], branches, branches[2:1001],
		bytes.Repeat([]byte{0xff}, 5000), []byte(strings.Repeat("firmware ", 111))}
	for _, old := range all {
		for _, image := range all {
			for _, base := range []uint32{0, testBase, 1<<32 - 1000} {
				encode(t, old, image, Params{OldBase: base, NewBase: base + 8, RAMEnd: 1<<32 - 1, MapSize: 3, Restart: 1024})
			}
		}
	}
}

func TestSamePatch(t *testing.T) {
	old, image := images(100, 10)
	if a, b := encode(t, old, image, testParams()), encode(t, old, image, testParams()); !bytes.Equal(a, b) {
		t.Error("two patches of the same images differ")
	}
}

func TestEncodeRefuses(t *testing.T) {
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		size int
		p    Params
		want error
	}{
		{"stopped", stopped, 100, Params{}, context.Canceled},
		{"long", context.Background(), MaxImage + 1, Params{}, ErrTooLong},
		{"map", context.Background(), 100, Params{MapSize: MaxMap + 1}, ErrParams},
		{"restart", context.Background(), 100, Params{Restart: 10}, ErrParams},
		{"RAM", context.Background(), 100, Params{RAMStart: 2, RAMEnd: 1}, ErrParams},
	} {
		if _, err := Encode(c.ctx, []byte("old"), make([]byte, c.size), c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A bank is flash that is written in order and read while it is.
type bank struct{ memory }

// decode reads a patch in pieces of some length, into a bank.
func decode(d *Decoder, b *bank, piece int) error {
	p := make([]byte, piece)
	for {
		n, err := d.Read(p)
		if n > 0 {
			_, _ = b.Write(p[:n]) // cannot fail
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func TestDecoderInPieces(t *testing.T) {
	old, image := images(300, 30)
	image = append(image, image...) // repeats far back, read from the bank
	patch := encode(t, old, image, testParams())
	for _, piece := range []int{1, 3, 100, 10000} {
		b := &bank{}
		d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(d, b, piece); err != nil || !bytes.Equal(b.bytes, image) {
			t.Errorf("in pieces of %d: %v", piece, err)
		}
	}
}

// TestResume cuts the power at every restart point and anywhere behind it.
func TestResume(t *testing.T) {
	old, image := images(300, 60)
	p := testParams()
	p.Restart = 2048
	patch := encode(t, old, image, p)
	states := map[State]bool{}
	for cut := 0; cut < len(image); cut += 512 {
		b := &bank{}
		d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 512)
		for len(b.bytes) < cut {
			n, err := d.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = b.Write(buf[:n]) // cannot fail
		}
		kept, err := d.State().MarshalBinary()
		if err != nil || len(kept) > 32 {
			t.Fatalf("state of %d bytes: %v", len(kept), err)
		}
		var state State
		if err := state.UnmarshalBinary(kept); err != nil || state != d.State() {
			t.Fatalf("%+v from %+v: %v", state, d.State(), err)
		}
		states[state] = true
		if state.Output > len(b.bytes) {
			t.Fatalf("state %+v is ahead of %d bytes", state, len(b.bytes))
		}
		b.bytes = b.bytes[:state.Output]
		d, err = Resume(bytes.NewReader(patch), bytes.NewReader(old), b, Limits{}, state)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(d, b, 77); err != nil || !bytes.Equal(b.bytes, image) {
			t.Fatalf("resumed at %+v: %v", state, err)
		}
	}
	if len(states) < 5 {
		t.Errorf("%d states in %d bytes", len(states), len(image))
	}
}

func TestResumeRefuses(t *testing.T) {
	old, image := images(100, 10)
	p := testParams()
	p.Restart = 1024
	patch := encode(t, old, image, p)
	d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), &bank{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, err := d.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*State){
		"tag":    func(s *State) { s.tag++ },
		"offset": func(s *State) { s.pos = len(image) + 1 },
		"cover":  func(s *State) { s.covering = len(image) },
		"shift":  func(s *State) { s.shift, s.covering = -len(image), 1 },
		"map":    func(s *State) { s.next = DefaultMap + 1 },
		"before": func(s *State) { s.Patch = 1 },
		"behind": func(s *State) { s.Patch = len(patch) + 1 },
	} {
		state := d.State()
		change(&state)
		if _, err := Resume(bytes.NewReader(patch), bytes.NewReader(old), &bank{}, Limits{}, state); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(State).UnmarshalBinary(make([]byte, 31)); !errors.Is(err, ErrState) {
		t.Errorf("a long state: %v", err)
	}
}

// TestDamage: each cut and each flipped bit is refused, or decodes to an image
// of the promised length.
func TestDamage(t *testing.T) {
	old, image := images(60, 8)
	p := testParams()
	p.Restart = 1024
	patch := encode(t, old, image, p)
	for n := range patch {
		if _, err := Decode(patch[:n], old, len(image)); err == nil {
			t.Errorf("cut to %d of %d bytes: no error", n, len(patch))
		}
	}
	if _, err := Decode(append(bytes.Clone(patch), 0), old, len(image)); !errors.Is(err, ErrTrailing) {
		t.Errorf("a byte more: %v", err)
	}
	unnoticed := 0
	for i := range 8 * len(patch) {
		damaged := bytes.Clone(patch)
		damaged[i/8] ^= 1 << (i % 8)
		got, err := Decode(damaged, old, len(image))
		if err == nil && len(got) > len(image) {
			t.Fatalf("bit %d: %d bytes", i, len(got))
		}
		if err == nil {
			unnoticed++
		}
	}
	// A wrong link address is as good as the right one where nothing moved.
	if unnoticed > 8*maxHeader {
		t.Errorf("%d of %d flipped bits unnoticed", unnoticed, 8*len(patch))
	}
	if _, err := Decode(patch, image, len(image)); !errors.Is(err, ErrOld) {
		t.Errorf("another old image: %v", err)
	}
	if _, err := Decode(patch, make([]byte, len(old)), len(image)); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTruncated) {
		t.Errorf("an old image of zeros: %v", err)
	}
}

func TestLimits(t *testing.T) {
	old, image := images(60, 8)
	patch := encode(t, old, image, testParams())
	if _, err := Decode(patch, old, len(image)-1); !errors.Is(err, ErrLimit) {
		t.Errorf("a long image: %v", err)
	}
	for _, l := range []Limits{{NewLength: len(image) - 1}, {MapSize: DefaultMap - 1}} {
		if _, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), nil, l); !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

// TestOldImageThatFails: errors of the flash reach the caller.
func TestOldImageThatFails(t *testing.T) {
	old, image := images(60, 8)
	patch := encode(t, old, image, testParams())
	d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old[:len(old)/2]), nil, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := decode(d, &bank{}, 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an old image: %v", err)
	}
}
