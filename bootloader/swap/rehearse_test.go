package swap

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign/verdict"
)

// example is a rehearsal of two images without signatures.
func example(t *testing.T, target mcuboot.Target, old, next int) *Rehearsal {
	t.Helper()
	target.Signature = mcuboot.HashOnly
	build := func(n int, fill byte) []byte {
		o := mcuboot.Options{Target: target, Version: mcuboot.Version{Major: fill}, HeaderSize: 32, PadHeader: true}
		d, err := mcuboot.Build(bytes.Repeat([]byte{fill}, n), o, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Sign(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return &Rehearsal{Target: target, Old: build(old, 1), New: build(next, 2), Second: 1, Seed: 7}
}

func target(mode mcuboot.Mode, sector, write uint32) mcuboot.Target {
	return mcuboot.Target{Mode: mode, SlotSize: 8 * sector, SectorSize: sector, WriteSize: write, MaxSectors: 16}
}

func run(t *testing.T, r *Rehearsal, prepare func(*loader)) []Outcome {
	t.Helper()
	all, err := r.run(context.Background(), prepare)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		t.Logf("%s: %d operations, %d runs, old %d, new %d", o.Scenario, o.Operations, o.Runs, o.EndOld, o.EndNew)
		for _, f := range o.Findings {
			t.Logf("  %+v", f)
			if f.Second != nil {
				t.Logf("  second %+v", *f.Second)
			}
		}
	}
	return all
}

func failures(all []Outcome) (n int) {
	for i := range all {
		n += all[i].Failures()
	}
	return n
}

// TestSurvives: whatever is cut off outside a trailer, the device runs one of the
// two images whole in the end, and firmware that does not confirm itself is gone.
func TestSurvives(t *testing.T) {
	for _, c := range []struct {
		name      string
		target    mcuboot.Target
		old, next int
	}{
		{"move, 2 KiB", target(mcuboot.SwapMove, 2048, 4), 5000, 9000},
		{"move, 4 KiB, smaller", target(mcuboot.SwapMove, 4096, 8), 9000, 3000},
		{"move, to a sector's end", target(mcuboot.SwapMove, 2048, 16), 4096 - 32 - 40, 2048 - 32 - 40},
		{"overwrite", target(mcuboot.OverwriteOnly, 2048, 4), 5000, 9000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := example(t, c.target, c.old, c.next)
			if testing.Short() { // make test does all of it without the race detector
				r.Cuts = 10
			}
			all := run(t, r, func(*loader) {})
			if failures(all) > 0 {
				t.Error("fails")
			}
			for _, o := range all {
				if o.MaxErases == 0 || o.Runs < 4*o.Cut || o.Cut < min(10, o.Operations) || o.EndOld+o.EndNew == 0 {
					t.Errorf("%s: %d runs for %d operations", o.Scenario, o.Runs, o.Operations)
				}
			}
		})
	}
}

// TestPlanted: a flow with a bug fails.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		name   string
		plant  func(*loader)
		reason verdict.Reason
	}{
		{"status before the copy", func(l *loader) {
			l.steps = []func(*loader, transfer) error{(*loader).clear, (*loader).note, (*loader).carry}
		}, verdict.RehearsalBrick},
		{"no revert", func(l *loader) { l.table = l.table[:2] }, verdict.RehearsalNotReverted},
		{"image_ok not looked at", func(l *loader) {
			l.table[2].matches = func(p, _ trailer) bool { return p.magic == good && p.copyDone == good }
		}, verdict.RehearsalUnsettled},
		{"no erasure", func(l *loader) { l.steps = l.steps[1:] }, verdict.RehearsalBrick},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := run(t, example(t, target(mcuboot.SwapMove, 2048, 4), 3000, 5000), c.plant)
			found := slices.ContainsFunc(all, func(o Outcome) bool {
				return slices.ContainsFunc(o.Findings, func(f Finding) bool { return !f.TornTrailer && f.Reason == c.reason })
			})
			if !found {
				t.Errorf("no %s", c.reason)
			}
		})
	}
}

// TestCopyDoneTorn: what MCUboot does when the write of copy_done is torn. The
// flag is neither set nor unset then, and the trial has no end.
func TestCopyDoneTorn(t *testing.T) {
	all := run(t, example(t, target(mcuboot.SwapMove, 2048, 4), 3000, 5000), func(*loader) {})
	found := slices.ContainsFunc(all[1].Findings, func(f Finding) bool {
		return f.TornTrailer && f.Reason == verdict.RehearsalNotReverted && f.First.Place == "write primary trailer: copy_done"
	})
	if !found {
		t.Error("not found")
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Rehearsal)
		want   error
	}{
		{"another mode", func(r *Rehearsal) { r.Target.Mode = mcuboot.DirectXIP }, ErrLayout},
		{"no sectors", func(r *Rehearsal) { r.Target.SectorSize = 0 }, ErrLayout},
		{"another size", func(r *Rehearsal) { r.Target.SecondarySize = 4 * 2048 }, ErrLayout},
		{"more sectors than taken", func(r *Rehearsal) { r.Target.MaxSectors = 4 }, ErrLayout},
		{"trailer as large as the slot", func(r *Rehearsal) { r.Target.SlotSize, r.Target.MaxSectors = 2048, 128 }, ErrLayout},
		{"erased to 0", func(r *Rehearsal) { r.Target.ErasedZero = true }, ErrLayout},
		{"the same image", func(r *Rehearsal) { r.New = r.Old }, ErrLayout},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := example(t, target(mcuboot.SwapMove, 2048, 4), 3000, 5000)
			c.change(r)
			if _, err := r.Run(context.Background()); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	r := example(t, target(mcuboot.SwapMove, 2048, 4), 3000, 5000)
	r.New = bytes.Clone(r.New)
	r.New[100] ^= 1
	if _, err := r.Run(context.Background()); err == nil {
		t.Error("took a damaged image")
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := example(t, target(mcuboot.SwapMove, 2048, 4), 3000, 5000).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// FuzzTrailer: whatever stands at the end of a slot is read, and decided on
// once.
func FuzzTrailer(f *testing.F) {
	l, err := newLayout(target(mcuboot.SwapMove, 2048, 4))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Repeat([]byte{flash.Erased}, 40), magic(8))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		fl, err := flash.New(l.geometry())
		if err != nil {
			t.Fatal(err)
		}
		for slot, end := range [][]byte{a, b} {
			size := int(l.trailerSectors() * l.sector)
			if len(end) > size {
				end = end[len(end)-size:]
			}
			padded := append(bytes.Repeat([]byte{flash.Erased}, size-len(end)), end...)
			if err := fl.Program(l.slots[slot].base+l.slots[slot].size-uint32(size), padded, chunk); err != nil {
				t.Fatal(err)
			}
		}
		loader := newLoader(l, fl, func(int, []byte) (bool, error) { return false, nil })
		decided, err := loader.decide()
		if err != nil || decided < none || decided > revert {
			t.Errorf("%d, %v", decided, err)
		}
		s, err := loader.readProgress()
		if err != nil || s.entry == 0 || s.entry > l.maxSectors+1 {
			t.Errorf("%+v, %v", s, err)
		}
		if err := loader.boot(); err == nil {
			t.Error("started an image that is not valid")
		}
	})
}
