package bootloader

import (
	"context"
	"fmt"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/sign/verdict"
)

// Replay is one run with everything that happened.
type Replay struct {
	Run        Run
	Tracks     []Track // one for each component, in install order
	Events     []Event
	Operations int      // of all flash, from start to rest
	End        string   // what runs where in the end
	Failure    *Failure // nil when no invariant broke
}

// Track is one component's flash in a replay.
type Track struct {
	Component string
	Chip      Chip // with the banks and the journal that were used
	Touches   []Touch
}

// Touch is one flash operation.
type Touch struct {
	At    int // number of the operation, over all components and cuts
	Erase bool
	Region
}

// Event is something that happens between flash operations.
type Event struct {
	At        int    // number of operations before it
	Component string // whom it happens to
	Text      string
	Cut       bool // the power fails
}

// Replay makes one run again, as Run has made it with the same seed and grain.
func (r Rehearsal) Replay(ctx context.Context, run Run) (*Replay, error) {
	p, err := r.prepare(ctx, noFault)
	if err != nil {
		return nil, err
	}
	return p.replay(ctx, run)
}

func (p *plan) replay(ctx context.Context, run Run) (*Replay, error) {
	out := &Replay{Run: run}
	for _, part := range p.parts {
		out.Tracks = append(out.Tracks, Track{Component: part.name, Chip: part.device.Chip})
	}
	w := p.world(Run{Sick: run.Sick, Lossy: run.Lossy})
	for i := len(run.Cuts) - 1; i >= 0; i-- { // each has the randomness of the run up to it
		upTo := Run{Sick: run.Sick, Lossy: run.Lossy, Cuts: run.Cuts[:i+1]}
		w.arm = &armed{cut: run.Cuts[i], rand: upTo.rand(p.Seed), then: w.arm}
	}
	p.record(w, out)
	if err := w.finish(ctx); err != nil {
		return nil, err
	}
	if w.arm != nil {
		return nil, fmt.Errorf("bootloader: run %s: the device comes to rest before operation %d: %w", run, w.arm.cut.Op, ErrRun)
	}
	if run.Flip > 0 {
		w = w.clone(flash.NewRand(p.Seed, uint64(run.Flip-1)))
		p.record(w, out)
		if err := p.flip(ctx, w, run.Flip-1, &tally{failures: map[verdict.Reason]*Failure{}}); err != nil {
			return nil, err
		}
	}
	out.End, out.Failure = w.describe(), w.failure
	if out.Failure != nil {
		out.Failure.Runs, out.Failure.First = 1, run
	}
	return out, nil
}

// record has a world's operations and events written down.
func (p *plan) record(w *world, out *Replay) {
	w.listen(true)
	w.watch = func(mcu int, op flash.Op) {
		t := Touch{At: out.Operations, Erase: op.Kind == flash.Erase, Region: Region{op.Addr, uint32(len(op.Data))}}
		if t.Erase {
			t.Size = p.parts[mcu].geometry.Page
		}
		out.Tracks[mcu].Touches = append(out.Tracks[mcu].Touches, t)
		out.Operations++
	}
	w.note = func(mcu int, cut bool, text string) {
		out.Events = append(out.Events, Event{out.Operations, p.parts[mcu].name, text, cut})
	}
}
