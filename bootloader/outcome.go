package bootloader

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/otapack/otapack/sign/verdict"
)

// Failure is a broken invariant.
type Failure struct {
	Reason verdict.Reason
	Detail string // of the first run
	Runs   int    // in how many runs it was the first to break
	First  Run
}

// End is a way in which devices came to rest.
type End struct {
	State string // for example "radio 1.4.2, motor 1.4.2"
	Runs  int
}

// Wear is the load on a component's flash of one installation without a cut, from
// the boot before it.
type Wear struct {
	Component string
	Erases    int // of all pages
	MostPage  int // erases of the page that was erased most
	Places    int // of the journal that were used
}

// Flipped counts bits that flipped in the banks of a device with the release.
type Flipped struct {
	Bits      int
	Harmless  int // not in what runs, or corrected
	Recovered int // refused, and the MCU was fed again
	Refused   int // refused, and the MCU waits in its bootloader
}

// Way counts the operations of one way through the installation, and those that
// were cut.
type Way struct {
	Run        Run // without cuts
	Operations int
	CutPoints  int
}

// Outcome is what a rehearsal found.
type Outcome struct {
	Operations int   // of the installation, with working firmware and with firmware that does not
	Selected   int   // cut points among them
	CutPoints  int   // of these were tried: all, unless it was interrupted
	Ways       []Way // the same by way
	Runs       int
	SecondCuts int // runs among them in which the power failed twice
	Verified   int // distinct images and payloads whose signature and digests were verified
	Ends       []End
	Failures   []Failure // one for each reason
	Wear       []Wear
	Flipped    Flipped
	Complete   bool // not interrupted
}

// Failed returns the number of runs that broke an invariant for one of the
// reasons, or for any if none is given.
func (o *Outcome) Failed(reasons ...verdict.Reason) int {
	n := 0
	for _, f := range o.Failures {
		if len(reasons) == 0 || slices.Contains(reasons, f.Reason) {
			n += f.Runs
		}
	}
	return n
}

// Refusals returns the broken invariants as errors with reason codes, nil when
// there are none.
func (o *Outcome) Refusals() []error {
	var errs []error
	for _, f := range o.Failures {
		errs = append(errs, verdict.New(f.Reason, "power-loss rehearsal", "%s, in %d of %d runs, first %s", f.Detail, f.Runs, o.Runs, f.First))
	}
	return errs
}

// Add counts another rehearsal of the same release, which did not fail either.
func (o *Outcome) Add(other *Outcome) {
	o.Operations += other.Operations
	o.Selected += other.Selected
	o.CutPoints += other.CutPoints
	o.Ways = append(o.Ways, other.Ways...)
	o.Runs += other.Runs
	o.SecondCuts += other.SecondCuts
	o.Verified += other.Verified
	o.Ends = append(o.Ends, other.Ends...)
	o.Wear = append(o.Wear, other.Wear...)
	o.Flipped.Bits += other.Flipped.Bits
	o.Flipped.Harmless += other.Flipped.Harmless
	o.Flipped.Recovered += other.Flipped.Recovered
	o.Flipped.Refused += other.Flipped.Refused
	o.Complete = o.Complete && other.Complete
}

// tally collects the results of all workers.
type tally struct {
	mu       sync.Mutex
	out      Outcome
	ends     map[string]int
	failures map[verdict.Reason]*Failure
	wear     []Wear
}

func (t *tally) points(way Run, chosen []bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Operations += len(chosen)
	t.out.Ways = append(t.out.Ways, Way{Run: way, Operations: len(chosen)})
	for _, c := range chosen {
		if c {
			t.out.Selected++
		}
	}
}

func (t *tally) progress(way Run, report func(done, total int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.CutPoints++
	for i, w := range t.out.Ways {
		if w.Run.Sick == way.Sick && w.Run.Lossy == way.Lossy {
			t.out.Ways[i].CutPoints++
		}
	}
	if report != nil {
		report(t.out.CutPoints, t.out.Selected)
	}
}

func (t *tally) add(run Run, w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Runs++
	if len(run.Cuts) > 1 {
		t.out.SecondCuts++
	}
	t.ends[w.describe()]++
	t.fail(run, w.failure)
}

func (t *tally) fail(run Run, f *Failure) {
	if f == nil {
		return
	}
	known, ok := t.failures[f.Reason]
	if !ok {
		t.failures[f.Reason] = &Failure{f.Reason, f.Detail, 1, run}
		return
	}
	known.Runs++
	if run.compare(known.First) < 0 {
		known.Detail, known.First = f.Detail, run
	}
}

func (t *tally) flipped(n int, w *world, m *mcu, untouched bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := &t.out.Flipped
	d.Bits++
	switch {
	case m.running == nil:
		d.Refused++
	case untouched:
		d.Harmless++
	default:
		d.Recovered++
	}
	t.fail(Run{Flip: n + 1}, w.failure)
}

func (t *tally) outcome() *Outcome {
	o := t.out
	o.Wear = t.wear
	for _, state := range slices.Sorted(maps.Keys(t.ends)) {
		o.Ends = append(o.Ends, End{state, t.ends[state]})
	}
	slices.SortStableFunc(o.Ends, func(a, b End) int { return cmp.Compare(b.Runs, a.Runs) })
	for _, reason := range slices.Sorted(maps.Keys(t.failures)) {
		o.Failures = append(o.Failures, *t.failures[reason])
	}
	return &o
}
