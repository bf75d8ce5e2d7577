package link

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/otapack/otapack/formats/chunk"
	"github.com/otapack/otapack/sign/verdict"
)

func object(size int) []byte {
	r := random(1)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(r.next())
	}
	return data
}

var device = Device{Capacity: 1 << 20, Checkpoint: 4096}

func ble(t testing.TB, mtu int) Link {
	t.Helper()
	l, err := BLE(mtu, 30*time.Millisecond, 4)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func profile(t testing.TB, s string) Loss {
	t.Helper()
	l, err := ParseLoss(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func simulator(t testing.TB, size int, l Link, loss string) *Simulator {
	t.Helper()
	s, err := New(object(size), l, profile(t, loss), device)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Without loss, a run is what can be computed by hand.
func TestClean(t *testing.T) {
	const size = 23800
	for name, c := range map[string]struct {
		link            Link
		frames, air     uint64
		atLeast, atMost time.Duration
	}{
		// 100 chunks and the announcement; answers to the announcement, to every
		// 16th chunk and to the last. Four frames in 30 ms.
		"BLE": {ble(t, 247), 101, 101*19 + 18 + 100*4 + size + 8*(19+16), 101 * 30 * time.Millisecond / 4, 101*30*time.Millisecond/4 + 200*time.Millisecond},
		// Every chunk is acknowledged, 10 bits for a byte.
		"UART": {uart(t, 115200), 101, 101*4 + 18 + 100*4 + size + 101*(4+16), 2200 * time.Millisecond, 2400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := simulator(t, size, c.link, "none").Run(t.Context(), 1)
			if err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			if r.Frames != c.frames || r.Chunks != 100 || r.Resent != 0 || r.Air != c.air || r.Elapsed < c.atLeast || r.Elapsed > c.atMost {
				t.Errorf("got %+v, want %d frames, %d bytes, %v to %v", r, c.frames, c.air, c.atLeast, c.atMost)
			}
		})
	}
}

func uart(t testing.TB, baud int) Link {
	t.Helper()
	l, err := UART(baud)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestArrives lets everything go wrong alone and together. What arrives is what
// was sent, or the run fails here.
func TestArrives(t *testing.T) {
	var total Result
	for _, l := range []Link{ble(t, 23), ble(t, 185), uart(t, 38400)} {
		for _, loss := range []string{
			"none", "good", "average", "bad",
			"drop=0.2", "duplicate=0.5", "reorder=0.5", "corrupt=0.2",
			"disconnect=1s", "restart=1s", "power-loss=2s",
			"drop=0.1,duplicate=0.1,reorder=0.1,corrupt=0.1,disconnect=5s,restart=7s,power-loss=6s",
		} {
			results, err := simulator(t, 30011, l, loss).Runs(t.Context(), 8, 1)
			if err != nil {
				t.Fatalf("%+v, %s: %v", l, loss, err)
			}
			for i, r := range results {
				if r.Err != nil {
					t.Errorf("%+v, %s: run %d: %v", l, loss, i, r.Err)
				}
				total.Disconnects += r.Disconnects
				total.GivenUp += r.GivenUp
				total.Restarts += r.Restarts
				total.PowerLosses += r.PowerLosses
				total.Resent += r.Resent
			}
		}
	}
	if total.Disconnects < 100 || total.GivenUp < 10 || total.Restarts < 100 || total.PowerLosses < 100 || total.Resent < 1000 {
		t.Errorf("little went wrong: %+v", total)
	}
}

// A CRC of 16 bits misses damage now and then; here it misses all. The digest
// does not.
func TestUndetectedDamage(t *testing.T) {
	s := simulator(t, 3000, ble(t, 100), "corrupt=0.01")
	s.forge = true
	results, err := s.Runs(t.Context(), 1000, 5)
	if err != nil {
		t.Fatal(err)
	}
	var arrived, harmed, refused int
	for _, r := range results {
		switch {
		case errors.Is(r.Err, chunk.ErrRefused):
			refused++
		case r.Err != nil:
			t.Error(r.Err)
		default:
			arrived++
			harmed += min(1, r.Undetected)
		}
	}
	if arrived < 900 || harmed < 100 {
		t.Errorf("%d arrived, %d of them in spite of undetected damage; %d were refused", arrived, harmed, refused)
	}
}

// Power goes at every few frames, and in every operation of the memory.
func TestPowerLoss(t *testing.T) {
	s, err := New(object(3000), ble(t, 247), profile(t, "power-loss=60ms"), Device{Capacity: 4000, Checkpoint: 512})
	if err != nil {
		t.Fatal(err)
	}
	results, err := s.Runs(t.Context(), 300, 3)
	if err != nil {
		t.Fatal(err)
	}
	losses := 0
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
		losses += r.PowerLosses
	}
	if losses < 500 {
		t.Errorf("%d losses of power", losses)
	}
}

// The same seed gives the same run, another one another.
func TestSeed(t *testing.T) {
	s := simulator(t, 20000, ble(t, 100), "bad,disconnect=2s")
	first, err := s.Runs(t.Context(), 5, 7)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Runs(t.Context(), 5, 7)
	if err != nil || !slices.Equal(first, second) {
		t.Errorf("%+v and then %+v, %v", first, second, err)
	}
	other, err := s.Runs(t.Context(), 5, 8)
	if err != nil || slices.Equal(first, other) {
		t.Errorf("seed 8 gives the same, %v", err)
	}
	// Fixed for all machines and versions of Go.
	if got := (Result{Elapsed: first[0].Elapsed, Frames: first[0].Frames, Air: first[0].Air}); got != golden {
		t.Errorf("got %#v, want %#v", got, golden)
	}
}

// golden is the first of these runs.
var golden = Result{Elapsed: 9277500 * time.Microsecond, Frames: 331, Air: 38305}

// Some transfers end without the object, and say why.
func TestFailures(t *testing.T) {
	r, err := simulator(t, 1000, ble(t, 247), "drop=1").Run(t.Context(), 1)
	if err != nil || !errors.Is(r.Err, ErrLimit) || r.GivenUp == 0 {
		t.Errorf("nothing comes through: %+v, %v", r, err)
	}
	small, err := New(object(1000), ble(t, 247), Loss{}, Device{Capacity: 999, Checkpoint: 100})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = small.Run(t.Context(), 1); err != nil || !errors.Is(r.Err, chunk.ErrRefused) || verdict.Of(r.Err) != verdict.ChunkSize {
		t.Errorf("too large: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := simulator(t, 1000, ble(t, 247), "none").Runs(ctx, 3, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestInvariants shows that the checks find what they are for.
func TestInvariants(t *testing.T) {
	seed := random(1)
	cursor := func(offset uint32) [chunk.CursorSize]byte { return chunk.Cursor{Size: 100, Offset: offset}.Encode() }
	for name, do := range map[string]func(f *flash) error{
		"cursor ahead":        func(f *flash) error { return errors.Join(write(f, 0, 50), f.WriteCursor(0, cursor(51))) },
		"cursor of no object": func(f *flash) error { return f.WriteCursor(0, [chunk.CursorSize]byte{}) },
		"cursor not erased":   func(f *flash) error { return errors.Join(write(f, 0, 50), f.Erase(0), f.WriteCursor(0, cursor(50))) },
		"a gap":               func(f *flash) error { return errors.Join(write(f, 10, 50), f.WriteCursor(0, cursor(50))) },
		"written twice":       func(f *flash) error { return errors.Join(write(f, 0, 50), write(f, 49, 1)) },
	} {
		f := flash{bytes: make([]byte, 100), random: &seed}
		f.fill(chunk.Session{})
		if err := f.Erase(0); err != nil {
			t.Fatal(err)
		}
		if err := do(&f); err != nil || f.broken == nil {
			t.Errorf("%s: not found, %v", name, err)
		}
	}
	f := flash{bytes: make([]byte, 100), random: &seed}
	f.fill(chunk.Session{})
	if err := f.Erase(0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(&f, 0, 50), f.WriteCursor(0, cursor(50)), f.Erase(20), write(&f, 20, 80), f.WriteCursor(1, cursor(100))); err != nil || f.broken != nil {
		t.Errorf("%v, %v", err, f.broken)
	}
	f.fill(chunk.Session{})
	if f.check(f.saved); f.broken != nil {
		t.Error(f.broken)
	}
	for _, found := range []chunk.Cursor{{}, {Size: 101, Offset: 101, Generation: f.saved.Generation}, {Generation: f.saved.Generation - 1}} {
		f.broken = nil
		if f.check(found); f.broken == nil {
			t.Errorf("found %+v", found)
		}
	}
	// A phone that believes an object to be another's.
	s := simulator(t, 1000, ble(t, 247), "none")
	r := run{Simulator: s}
	if err := errors.Join(r.boot(), r.launch(), r.transfer(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.flash.bytes[5] ^= 1
	if err := r.arrived(); !errors.Is(err, ErrInvariant) {
		t.Errorf("other bytes: %v", err)
	}
	r.receiver.Disconnect()
	if err := r.boot(); err != nil {
		t.Fatal(err)
	}
	if err := r.arrived(); !errors.Is(err, ErrInvariant) {
		t.Errorf("not complete: %v", err)
	}
}

func write(f *flash, off, n int) error {
	_, err := f.WriteAt(make([]byte, n), int64(off))
	return err
}

func TestModels(t *testing.T) {
	for _, c := range []struct {
		mtu, packets int
		interval     time.Duration
	}{{22, 1, time.Second}, {248, 1, time.Second}, {23, 0, time.Second}, {23, 65, time.Second}, {23, 1, time.Millisecond}, {23, 1, 5 * time.Second}} {
		if _, err := BLE(c.mtu, c.interval, c.packets); !errors.Is(err, ErrModel) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := BLERate(22, time.Second, 1000); !errors.Is(err, ErrModel) {
		t.Error(err)
	}
	for _, rate := range []int{0, 1<<20 + 1} {
		if _, err := BLERate(23, time.Second, rate); !errors.Is(err, ErrModel) {
			t.Errorf("rate %d: %v", rate, err)
		}
	}
	for _, baud := range []int{299, 8000001} {
		if _, err := UART(baud); !errors.Is(err, ErrModel) {
			t.Errorf("%d baud: %v", baud, err)
		}
	}
	l, err := BLERate(247, 30*time.Millisecond, 10000)
	if err != nil || l.Frame != 24400*time.Microsecond {
		t.Errorf("%+v, %v", l, err)
	}
	for _, o := range []struct {
		size   int
		link   Link
		device Device
	}{{0, ble(t, 23), device}, {1, Link{}, device}, {1, Link{Chunk: 20, Window: 1}, device}, {1, ble(t, 23), Device{}}} {
		if _, err := New(object(o.size), o.link, Loss{}, o.device); !errors.Is(err, ErrModel) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// failing is a store whose next cursor is not written.
type failing struct {
	flash
	err error
}

func (f *failing) WriteCursor(slot int, c [chunk.CursorSize]byte) error {
	if err := f.err; err != nil {
		f.err = nil
		return err
	}
	return f.flash.WriteCursor(slot, c)
}

// A device with a store of its own loses power when the store says so.
func TestStore(t *testing.T) {
	gone := errors.New("gone")
	store := &failing{flash{bytes: make([]byte, 5000), random: new(random)}, gone}
	d := device
	d.Store = store
	if _, err := New(object(5000), ble(t, 23), Loss{PowerLoss: time.Hour}, d); !errors.Is(err, ErrModel) {
		t.Errorf("two powers that fail: %v", err)
	}
	s, err := New(object(5000), ble(t, 23), Loss{Drop: 0.1, Disconnect: time.Second}, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), 1); !errors.Is(err, gone) {
		t.Fatalf("got %v", err)
	}
	if r, err := s.Run(t.Context(), 2); err != nil || r.Err != nil || !bytes.Equal(store.bytes, object(5000)) || store.broken != nil {
		t.Errorf("%+v, %v, %v", r, err, store.broken)
	}
}

func TestParseLoss(t *testing.T) {
	for text, want := range map[string]Loss{
		"none":                    {},
		"bad,drop=0,disconnect=0": {Duplicate: 0.002, Reorder: 0.002, Corrupt: 0.002, Restart: 5 * time.Minute, PowerLoss: 15 * time.Minute},
		"drop=0.5":                {Drop: 0.5},
		"corrupt=1,reorder=0.25,power-loss=1h30m": {Corrupt: 1, Reorder: 0.25, PowerLoss: 90 * time.Minute},
	} {
		if got, err := ParseLoss(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "worse", "drop=0.1,bad", "good,bad", "drop=", "drop=1.1", "drop=-1", "drop=NaN", "disconnect=5", "disconnect=-5s", "rain=1", "drop=0,drop=1", "good,"} {
		if got, err := ParseLoss(text); !errors.Is(err, ErrModel) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	if !slices.Equal(Profiles(), []string{"average", "bad", "good", "none"}) {
		t.Error(Profiles())
	}
}

// SplitMix64 with seed 1234567, as its authors' C code prints it.
func TestRandom(t *testing.T) {
	r := random(1234567)
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := r.next(); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	seen := [3]int{}
	for range 3000 {
		seen[r.below(3)]++
	}
	if slices.Min(seen[:]) < 900 {
		t.Errorf("not even: %v", seen)
	}
}

func benchmark(b *testing.B, mtu int, loss string) {
	s := simulator(b, 174784, ble(b, mtu), loss) // the radio image of examples/toothbrush
	b.ReportAllocs()
	b.SetBytes(174784)
	for seed := uint64(0); b.Loop(); seed++ {
		if r, err := s.Run(b.Context(), seed); err != nil || r.Err != nil {
			b.Fatal(err, r.Err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

func BenchmarkRunMTU247Average(b *testing.B) { benchmark(b, 247, "average") }
func BenchmarkRunMTU247Bad(b *testing.B)     { benchmark(b, 247, "bad") }
func BenchmarkRunMTU23Bad(b *testing.B)      { benchmark(b, 23, "bad") }
