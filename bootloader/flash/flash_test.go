package flash

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// Small flashes of the two kinds: without ECC and with.
var (
	plain = Geometry{Base: 0x1000, Size: 1024, Page: 128, Unit: 4}
	ecc   = Geometry{Base: 0x08000000, Size: 2048, Page: 256, Unit: 8, WriteOnce: true}
)

func newFlash(t testing.TB, g Geometry) *Flash {
	t.Helper()
	f, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t testing.TB, f *Flash, addr uint32, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if err := f.Read(addr, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func random(n int, seed uint64) []byte {
	p := make([]byte, n)
	NewRand(seed).Fill(p)
	return p
}

func TestNew(t *testing.T) {
	for _, g := range []Geometry{
		{}, {Size: 1024, Page: 128}, {Size: 1024, Unit: 4}, {Size: 1024, Page: 130, Unit: 4}, {Size: 1000, Page: 128, Unit: 4},
		{Base: 64, Size: 1024, Page: 128, Unit: 4}, {Base: 0xffffff80, Size: 256, Page: 128, Unit: 4}, {Page: 128, Unit: 4},
	} {
		if _, err := New(g); !errors.Is(err, ErrGeometry) {
			t.Errorf("%+v: %v", g, err)
		}
	}
	f := newFlash(t, plain)
	if f.Geometry() != plain || !bytes.Equal(read(t, f, plain.Base, 1024), blank(1024)) || f.Ops() != 0 {
		t.Error("a new flash is not erased")
	}
}

func TestProgramClearsBits(t *testing.T) {
	f := newFlash(t, plain)
	for _, p := range [][]byte{{0xf0, 0xf0, 0xff, 0}, {0x3c, 0x3c, 0xff, 0xff}} {
		if err := f.Program(0x1010, p, 4); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, f, 0x1010, 4); !bytes.Equal(got, []byte{0x30, 0x30, 0xff, 0}) {
		t.Errorf("%x", got)
	}
	if err := f.Erase(0x1000); err != nil {
		t.Fatal(err)
	}
	if got := read(t, f, 0x1000, 128); !bytes.Equal(got, blank(128)) {
		t.Errorf("%x", got)
	}
	if got := f.Erases(); got[0] != 1 || slices.Max(got[1:]) != 0 || f.Ops() != 3 {
		t.Errorf("erases %v, %d operations", got, f.Ops())
	}
}

func TestRules(t *testing.T) {
	f, e := newFlash(t, plain), newFlash(t, ecc)
	im, err := NewImage(ecc, make([]byte, 300))
	if err != nil {
		t.Fatal(err)
	}
	program := func(f *Flash, addr uint32, n, grain int) error { return f.Program(addr, make([]byte, n), grain) }
	if err := program(e, ecc.Base, 16, 8); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want error }{
		"address off a unit":  {program(f, 0x1002, 4, 4), ErrAlignment},
		"length off a unit":   {program(f, 0x1000, 6, 4), ErrAlignment},
		"grain off a unit":    {program(f, 0x1000, 8, 6), ErrAlignment},
		"no grain":            {program(f, 0x1000, 8, 0), ErrAlignment},
		"below":               {program(f, 0x0ffc, 8, 4), ErrRange},
		"above":               {program(f, 0x13fc, 8, 4), ErrRange},
		"read above":          {f.Read(0x13ff, make([]byte, 2)), ErrRange},
		"erase off a page":    {f.Erase(0x1004), ErrAlignment},
		"erase above":         {f.Erase(0x1400), ErrRange},
		"unit twice":          {program(e, ecc.Base+8, 8, 8), ErrProgrammed},
		"unit twice, blank":   {e.Program(ecc.Base+8, blank(8), 8), ErrProgrammed},
		"page twice":          {e.ProgramPage(ecc.Base, im, 0, 256), ErrProgrammed},
		"page of another":     {f.ProgramPage(0x1000, im, 0, 4), ErrGeometry},
		"page off a page":     {e.ProgramPage(ecc.Base+8, im, 0, 256), ErrAlignment},
		"page without grain":  {e.ProgramPage(ecc.Base+256, im, 0, 0), ErrAlignment},
		"page above":          {e.ProgramPage(ecc.Base+2048, im, 0, 8), ErrRange},
		"decay above":         {f.Decay(0x1400, 0), ErrRange},
		"image larger":        {second(NewImage(ecc, make([]byte, 2049))), ErrRange},
		"image without pages": {second(NewImage(Geometry{}, nil)), ErrGeometry},
		"unit once":           {program(e, ecc.Base+16, 8, 8), nil},
		"read the last":       {f.Read(0x13ff, make([]byte, 1)), nil},
	} {
		if !errors.Is(c.got, c.want) || c.want == nil && c.got != nil {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
	if f.Stable(0x1400, 1) {
		t.Error("what is not there is stable")
	}
}

func second(_ *Image, err error) error { return err }

// Operations end on the grain and on pages, and Before sees and stops them.
func TestOperations(t *testing.T) {
	f := newFlash(t, plain)
	var seen []int
	stop := errors.New("stop")
	f.Before = func(op Op) error {
		if op.Kind == Erase {
			return stop
		}
		if seen = append(seen, len(op.Data)); len(seen) == 6 {
			return stop
		}
		return nil
	}
	data := random(100, 1)
	if err := f.Program(0x1060, data, 16); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []int{16, 16, 16, 16, 16, 16}) || f.Ops() != 5 {
		t.Errorf("saw %v, did %d", seen, f.Ops())
	}
	if got := read(t, f, 0x1060, 100); !bytes.Equal(got, append(slices.Clone(data[:80]), blank(20)...)) {
		t.Errorf("%x", got)
	}
	if err := f.Erase(0x1000); !errors.Is(err, stop) || bytes.Equal(read(t, f, 0x1060, 4), blank(4)) {
		t.Errorf("erased all the same, %v", err)
	}
	seen = nil
	if err := f.Program(0x1108, data[:40], 20); err != nil || !slices.Equal(seen, []int{20, 20}) {
		t.Errorf("saw %v, %v", seen, err)
	}
	seen = nil
	if err := f.Program(0x1178, data[:40], 24); err != nil || !slices.Equal(seen, []int{8, 24, 8}) {
		t.Errorf("saw %v, %v", seen, err)
	}
}

// A page of an image is the same whether its operations were looked at or not.
func TestProgramPage(t *testing.T) {
	for _, g := range []Geometry{plain, ecc} {
		data := random(int(2*g.Page+g.Page/2-3), 2)
		im, err := NewImage(g, data)
		if err != nil {
			t.Fatal(err)
		}
		if im.Pages() != 3 || im.Size() != len(data) {
			t.Errorf("%d pages, %d bytes", im.Pages(), im.Size())
		}
		quick, watched, unseen := newFlash(t, g), newFlash(t, g), newFlash(t, g)
		ops, asked := 0, 0
		watched.Before = func(Op) error { ops++; return nil }
		watched.Unseen = func(int) bool { return false }
		unseen.Before = func(Op) error { t.Error("seen"); return nil }
		unseen.Unseen = func(n int) bool { asked += n; return true }
		for _, f := range []*Flash{quick, watched, unseen} {
			for n := range im.Pages() {
				if err := f.ProgramPage(g.Base+g.Page+uint32(n)*g.Page, im, n, int(2*g.Unit)); err != nil {
					t.Fatal(err)
				}
			}
			if got := read(t, f, g.Base+g.Page, len(data)); !bytes.Equal(got, data) || f.Sum(g.Base+g.Page, 3) != im.Sum() {
				t.Error("content differs")
			}
			if f.Ops() != quick.Ops() {
				t.Errorf("%d and %d operations", f.Ops(), quick.Ops())
			}
		}
		if ops != quick.Ops() || asked != ops {
			t.Errorf("saw %d, was asked for %d of %d operations", ops, asked, quick.Ops())
		}
		if quick.Sum(g.Base, 3) == im.Sum() {
			t.Error("another place has the same sum")
		}
		// What was programmed counts as programmed, what was not does not.
		last := g.Base + 3*g.Page
		if err := quick.Program(last, make([]byte, g.Unit), int(g.Unit)); errors.Is(err, ErrProgrammed) != g.WriteOnce {
			t.Errorf("a second time: %v", err)
		}
		if err := quick.Program(last+g.Page-g.Unit, make([]byte, g.Unit), int(g.Unit)); err != nil {
			t.Errorf("behind the image: %v", err)
		}
		if im.Sum() != unseen.Sum(g.Base+g.Page, 3) {
			t.Error("one flash has changed the page of another")
		}
	}
}

// TestModel compares flash and clones of it with arrays, through random
// operations.
func TestModel(t *testing.T) {
	for seed := range uint64(50) {
		r := NewRand(seed)
		type pair struct {
			f     *Flash
			model []byte
		}
		worlds := []pair{{newFlash(t, plain), blank(1024)}}
		for range 200 {
			w := &worlds[r.IntN(len(worlds))]
			switch r.IntN(8) {
			case 0:
				if len(worlds) < 5 {
					worlds = append(worlds, pair{w.f.Clone(), slices.Clone(w.model)})
				}
			case 1:
				page := r.IntN(8) * 128
				if err := w.f.Erase(plain.Base + uint32(page)); err != nil {
					t.Fatal(err)
				}
				copy(w.model[page:page+128], blank(128))
			default:
				at := r.IntN(200) * 4
				data := make([]byte, 4*(1+r.IntN(50)))
				r.Fill(data)
				if err := w.f.Program(plain.Base+uint32(at), data, 4*(1+r.IntN(8))); err != nil {
					t.Fatal(err)
				}
				for i, b := range data {
					w.model[at+i] &= b
				}
			}
		}
		for i, w := range worlds {
			if got := read(t, w.f, plain.Base, 1024); !bytes.Equal(got, w.model) {
				t.Fatalf("seed %d: flash %d differs", seed, i)
			}
			if !w.f.Stable(plain.Base, 1024) {
				t.Errorf("seed %d: flash %d is not stable", seed, i)
			}
		}
	}
}

// tear programs one page's half and lets the power fail while it does the rest.
func tear(t testing.TB, g Geometry, kind Kind, mode Mode, seed uint64) (f *Flash, before, after []byte) {
	t.Helper()
	f = newFlash(t, g)
	half, size := int(g.Page/2), int(g.Page)
	if err := f.Program(g.Base, random(half, seed), half); err != nil {
		t.Fatal(err)
	}
	before = read(t, f, g.Base, size)
	op := Op{Kind: kind, Addr: g.Base}
	if after = blank(size); kind == Program {
		op = Op{Program, g.Base + uint32(half), random(half, seed+1000)}
		after = append(slices.Clone(before[:half]), op.Data...)
	}
	r := NewRand(seed, 7)
	f.Rand = r
	if err := f.Tear(op, mode, r); err != nil {
		t.Fatal(err)
	}
	return f, before, after
}

func TestTearWhole(t *testing.T) {
	for _, g := range []Geometry{plain, ecc} {
		for _, kind := range []Kind{Program, Erase} {
			f, before, _ := tear(t, g, kind, Before, 1)
			if !bytes.Equal(read(t, f, g.Base, len(before)), before) {
				t.Error("before: something has happened")
			}
			f, _, after := tear(t, g, kind, After, 1)
			if !bytes.Equal(read(t, f, g.Base, len(before)), after) {
				t.Error("after: it has not happened")
			}
		}
	}
	f := newFlash(t, plain)
	if err := f.Tear(Op{Kind: Erase, Addr: plain.Base}, Mode(9), NewRand(1)); err == nil {
		t.Error("an unknown mode")
	}
	if err := f.Tear(Op{Kind: Erase, Addr: plain.Base}, TornWeak, NewRand(1)); err != nil || !f.Stable(plain.Base, 128) {
		t.Errorf("a blank page was made worse: %v", err)
	}
}

// Without ECC, every cell is what it was, what it should become, or weak; torn
// cells stay as they are.
func TestTornWithoutECC(t *testing.T) {
	unstable, partial, blankLooking, completeLooking := 0, 0, 0, 0
	for seed := range uint64(400) {
		for _, kind := range []Kind{Program, Erase} {
			for _, mode := range []Mode{Torn, TornWeak} {
				f, before, after := tear(t, plain, kind, mode, seed)
				first := read(t, f, plain.Base, len(before))
				for i, b := range first {
					if b&^(before[i]|after[i]) != 0 || ^b&before[i]&after[i] != 0 {
						t.Fatalf("%v, seed %d: byte %d is %02x, was %02x, becomes %02x", mode, seed, i, b, before[i], after[i])
					}
				}
				same := true
				for range 8 {
					same = same && bytes.Equal(read(t, f, plain.Base, len(before)), first)
				}
				switch {
				case mode == Torn && (!same || !f.Stable(plain.Base, len(before))):
					t.Fatalf("seed %d: torn cells change", seed)
				case !same && f.Stable(plain.Base, len(before)):
					t.Fatalf("seed %d: cells change that are said to be stable", seed)
				case !same:
					unstable++
				}
				switch {
				case kind == Program && bytes.Equal(first, before):
					blankLooking++
				case kind == Program && bytes.Equal(first, after):
					completeLooking++
				case kind == Program:
					partial++
				}
				// To erase the page makes it good.
				if err := f.Erase(plain.Base); err != nil {
					t.Fatal(err)
				}
				if !f.Stable(plain.Base, len(before)) || !bytes.Equal(read(t, f, plain.Base, len(before)), blank(len(before))) {
					t.Fatalf("seed %d: not good after an erase", seed)
				}
			}
		}
	}
	if unstable < 100 || partial < 100 || blankLooking == 0 || completeLooking == 0 {
		t.Errorf("%d unstable, %d partial, %d look blank, %d look complete", unstable, partial, blankLooking, completeLooking)
	}
}

// With ECC, a torn unit does not read, a weak one does half of the time and then
// looks complete; in either case it counts as programmed.
func TestTornWithECC(t *testing.T) {
	reads, fails := 0, 0
	for seed := range uint64(200) {
		for _, mode := range []Mode{Torn, TornWeak} {
			f, _, after := tear(t, ecc, Program, mode, seed)
			half := ecc.Page / 2
			torn := -1
			for u := half; u < ecc.Page; u += 8 {
				p := make([]byte, 8)
				if f.Stable(ecc.Base+u, 8) {
					if err := f.Read(ecc.Base+u, p); err != nil || torn < 0 && !bytes.Equal(p, after[u:u+8]) || torn >= 0 && !bytes.Equal(p, blank(8)) {
						t.Fatalf("unit at %d: %x, %v", u, p, err)
					}
					continue
				}
				if torn >= 0 {
					t.Fatal("two units are torn")
				}
				torn = int(u)
				for range 16 {
					switch err := f.Read(ecc.Base+u, p); {
					case err == nil && (mode == Torn || !bytes.Equal(p, after[u:u+8])):
						t.Fatalf("a %v unit reads as %x", mode, p)
					case err == nil:
						reads++
					case !errors.Is(err, ErrECC):
						t.Fatal(err)
					case mode == TornWeak:
						fails++
					}
				}
			}
			if torn < 0 {
				t.Fatal("no unit is torn")
			}
			if err := f.Program(ecc.Base+uint32(torn), blank(8), 8); !errors.Is(err, ErrProgrammed) {
				t.Errorf("programmed a torn unit: %v", err)
			}
			if err := f.Tear(Op{Program, ecc.Base + uint32(torn), blank(8)}, mode, NewRand(1)); !errors.Is(err, ErrProgrammed) {
				t.Errorf("tore a torn unit: %v", err)
			}
		}
	}
	if reads < 1000 || fails < 1000 {
		t.Errorf("weak units read %d times and fail %d times", reads, fails)
	}
	f, _, _ := tear(t, ecc, Erase, Torn, 3)
	if f.Stable(ecc.Base, int(ecc.Page)) {
		t.Error("a torn erase leaves nothing behind")
	}
}

// Programming a weak cell for good makes it good; one that is to stay erased
// stays weak.
func TestWeakCells(t *testing.T) {
	healed, left := 0, 0
	for seed := range uint64(200) {
		f := newFlash(t, plain)
		r := NewRand(seed)
		f.Rand = r
		if err := f.Tear(Op{Program, plain.Base, make([]byte, 4)}, TornWeak, r); err != nil {
			t.Fatal(err)
		}
		if f.Stable(plain.Base, 4) {
			continue
		}
		other := f.Clone()
		if err := f.Program(plain.Base, make([]byte, 4), 4); err != nil || !f.Stable(plain.Base, 4) {
			t.Fatalf("seed %d: still weak, %v", seed, err)
		}
		healed++
		if err := other.Program(plain.Base, blank(4), 4); err != nil || other.Stable(plain.Base, 4) {
			t.Fatalf("seed %d: healed by nothing, %v", seed, err)
		}
		left++
	}
	if healed == 0 || left == 0 {
		t.Error("nothing was weak")
	}
}

func TestTearIsDeterministic(t *testing.T) {
	for _, g := range []Geometry{plain, ecc} {
		for _, kind := range []Kind{Program, Erase} {
			a, _, _ := tear(t, g, kind, TornWeak, 5)
			b, _, _ := tear(t, g, kind, TornWeak, 5)
			for range 20 {
				p, q := make([]byte, g.Page), make([]byte, g.Page)
				if ea, eb := a.Read(g.Base, p), b.Read(g.Base, q); (ea == nil) != (eb == nil) || ea == nil && !bytes.Equal(p, q) {
					t.Fatal("the same seed reads differently")
				}
			}
		}
	}
}

func TestDecay(t *testing.T) {
	f, e := newFlash(t, plain), newFlash(t, ecc)
	was := f.Clone()
	if err := f.Decay(0x1005, 3); err != nil || read(t, f, 0x1005, 1)[0] != 0xf7 || read(t, was, 0x1005, 1)[0] != 0xff {
		t.Errorf("%v", err)
	}
	if err := e.Decay(ecc.Base+9, 3); err != nil || !errors.Is(e.Read(ecc.Base, make([]byte, 16)), ErrECC) {
		t.Errorf("%v", err)
	}
	if err := e.Read(ecc.Base+16, make([]byte, 8)); err != nil {
		t.Errorf("the next unit: %v", err)
	}
}

func TestRand(t *testing.T) {
	// The first outputs for seed 0 and 1234567 of the reference (Vigna,
	// splitmix64.c).
	if got := NewRand(0).Uint64(); got != 0xe220a8397b1dcdaf {
		t.Errorf("%x", got)
	}
	if got := NewRand(1234567).Uint64(); got != 6457827717110365317 {
		t.Errorf("%d", got)
	}
	if NewRand(1, 2).Uint64() == NewRand(1, 3).Uint64() || NewRand(1, 2).Uint64() == NewRand(1).Uint64() || NewRand(1, 2, 3).Uint64() == NewRand(1, 3, 2).Uint64() {
		t.Error("parts do not count")
	}
	r, seen := NewRand(1), [5]int{}
	for range 1000 {
		seen[r.IntN(5)]++
	}
	for n, times := range seen {
		if times < 150 {
			t.Errorf("%d came %d of 1000 times", n, times)
		}
	}
}

func BenchmarkClone(b *testing.B) {
	f := newFlash(b, Geometry{Size: 1 << 20, Page: 4096, Unit: 4})
	b.ReportAllocs()
	for b.Loop() {
		f = f.Clone()
	}
}

// BenchmarkProgramPage is a bank of 416 KiB.
func BenchmarkProgramPage(b *testing.B) {
	g := Geometry{Size: 1 << 20, Page: 4096, Unit: 4}
	im, err := NewImage(g, random(416<<10, 1))
	if err != nil {
		b.Fatal(err)
	}
	erased := newFlash(b, g)
	b.SetBytes(416 << 10)
	b.ReportAllocs()
	for b.Loop() {
		f := erased.Clone()
		for n := range im.Pages() {
			if err := f.ProgramPage(uint32(n)*g.Page, im, n, 256); err != nil {
				b.Fatal(err)
			}
		}
	}
}
