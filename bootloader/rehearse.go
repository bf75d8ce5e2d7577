package bootloader

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// Rehearsal is a release and the device that installs it on simulated flash,
// losing power at every flash operation. See Run.
type Rehearsal struct {
	// Components in install order. The first whose chip has two banks is the
	// host, which feeds the others.
	Components []RehearsedComponent
	// Allows reports whether versions, in the order of Components, may run
	// together. The versions before the release always may.
	Allows func(versions []manifest.Version) bool

	Seed uint64 // of everything that is random
	// Grain is how many bytes of an image are programmed in one operation, 0
	// for DefaultGrain; it is rounded up to the chip's write unit, so that 1 is
	// every unit. Records of the journal are always cut unit by unit.
	Grain int
	// Sample is about how many cut points are tried, 0 for all. The journal's
	// are among them first.
	Sample int
	// Pairs is how often the power fails a second time, at a random operation
	// after each first cut.
	Pairs int
	// Workers is how many runs are made at a time, 0 for one per processor.
	Workers int
	only    []Run // in tests: the ways, instead of all
	// Progress, unless nil, is called now and then by one goroutine at a time.
	Progress func(done, total int)
}

// DefaultGrain is how many bytes of an image are programmed in one operation.
const DefaultGrain = 256

// RehearsedComponent is one component of a rehearsed release.
type RehearsedComponent struct {
	Name string
	// Device has the chip, the identifiers, the trusted keys and the decryption
	// key. Without the latter an encrypted payload is installed as it is, and
	// its ciphertext is what the bootloader verifies. MinSequence is not used.
	Device   Device
	Envelope []byte
	Payload  []byte // as delivered
	Before   Before
	// Base, unless nil, is the image that the component has before, and that the
	// payload is a difference to. Only the host makes its image on the device, and
	// it needs the decryption key if the payload is encrypted.
	Base []byte
}

// Before is what a component has before the release: firmware of random bytes,
// signed with a key of its own that the simulated device trusts too. With the
// release's own sequence number it is the release, which an earlier visit of the
// phone has brought: the rest of the device is still to come.
type Before struct {
	Version  manifest.Version
	Sequence uint32 // also the rollback counter
	Size     int    // of the image in bytes, unless there is a base
}

// Run installs the release over and over, cutting the power at each flash
// operation in every mode and reach, and lets the device come to rest each time.
// What goes wrong with devices is in the outcome, and no error. An error means
// that the release is refused before (a *verdict.Error), or that ctx is done:
// then the outcome has what was covered.
func (r Rehearsal) Run(ctx context.Context) (*Outcome, error) {
	p, err := r.prepare(ctx, noFault)
	if err != nil {
		return nil, err
	}
	return p.run(ctx)
}

func (p *plan) run(ctx context.Context) (*Outcome, error) {
	t := &tally{ends: map[string]int{}, failures: map[verdict.Reason]*Failure{}}
	err := p.cutAll(ctx, t)
	if err == nil {
		err = p.flipAll(ctx, t)
	}
	o := t.outcome()
	for _, part := range p.parts {
		o.Verified += len(part.checks.seen)
	}
	o.Complete = err == nil
	return o, err
}

// job is a cut point: the device just before an operation.
type job struct {
	world *world
	mcu   int
	op    flash.Op
	n     int // of the operation
}

// cutAll makes all runs.
func (p *plan) cutAll(ctx context.Context, t *tally) error {
	ways := p.ways()
	chosen := make([][]bool, len(ways))
	for i, way := range ways {
		var err error
		if chosen[i], err = p.choose(ctx, way, t); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan job, p.Workers)
	var wg sync.WaitGroup
	for range p.Workers {
		wg.Go(func() {
			for j := range jobs {
				if err := p.cutPoint(ctx, j, t); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i, way := range ways {
		w := p.world(way)
		w.listen(true)
		n := -1
		w.watch = func(mcu int, op flash.Op) {
			if n++; !chosen[i][n] || ctx.Err() != nil {
				return
			}
			select {
			case jobs <- job{w.clone(nil), mcu, op, n}:
			case <-ctx.Done():
			}
		}
		if err := w.settle(ctx); err != nil {
			cancel(err)
		}
	}
	close(jobs)
	wg.Wait()
	return context.Cause(ctx)
}

// ways returns the ways through the installation, without cuts.
func (p *plan) ways() []Run {
	ways := []Run{{}, {Lossy: true}}
	if p.only != nil {
		return p.only
	}
	if p.host >= 0 && !p.parts[p.host].updated() { // it could fall back
		ways = append(ways, Run{Sick: Host})
	}
	if p.feeds() {
		ways = append(ways, Run{Sick: Peers})
	}
	return ways
}

// world returns the device before the release, for a run.
func (p *plan) world(r Run) *world {
	w := p.start.clone(r.rand(p.Seed))
	w.sick, w.lossy = r.Sick, r.Lossy
	return w
}

// choose makes the run without a cut and says at which of its operations to cut.
func (p *plan) choose(ctx context.Context, way Run, t *tally) ([]bool, error) {
	w := p.world(way)
	w.listen(true)
	var journals []bool
	records := 0
	w.watch = func(mcu int, op flash.Op) {
		journals = append(journals, p.inJournal(mcu, op))
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if way.Sick == Nobody && !way.Lossy {
		for i := range p.parts {
			t.wear = append(t.wear, p.wear(i, w))
		}
	}
	w.listen(false) // what follows is the device at rest
	if err := w.finish(ctx); err != nil {
		return nil, err
	}
	t.add(way, w)
	for _, in := range journals {
		if in {
			records++
		}
	}
	if way.costly() {
		clear(journals)
		records = 0
	}
	chosen := journals // all of the journals' operations, and of the others
	others := len(journals) - records
	wanted := others
	if sample := p.sample(way); sample > 0 {
		wanted = min(others, max(sample-records, 0))
	}
	if others > 0 { // evenly spread from a random start
		at := flash.NewRand(p.Seed, math.MaxUint64).IntN(others)
		for i, in := range journals {
			if !in {
				chosen[i] = at%others < wanted
				at += wanted
			}
		}
	}
	t.points(way, chosen)
	return chosen, nil
}

// costlySample is how many operations are cut on costly ways.
const costlySample = 64

// costly reports whether a run on a way takes longer than on others: with lossy
// links, and with peers that are fed over and over. The journals' operations are
// not all cut there.
func (r Run) costly() bool { return r.Lossy || r.Sick == Peers }

// sample is about how many cut points of a way are tried, 0 for all. On costly ways
// it is a quarter of what was asked for.
func (p *plan) sample(way Run) int {
	switch {
	case !way.costly():
		return p.Sample
	case p.Sample > 0:
		return max(p.Sample/4, 1)
	}
	return costlySample
}

func (p *plan) inJournal(mcu int, op flash.Op) bool {
	return p.parts[mcu].device.Chip.Journal.Contains(Region{op.Addr, 1})
}

func (p *plan) wear(i int, w *world) Wear {
	wear := Wear{Component: p.parts[i].name, Places: int(w.mcus[i].journal.number - p.start.mcus[i].journal.number)}
	before := p.start.mcus[i].flash.Erases()
	for page, n := range w.mcus[i].flash.Erases() {
		wear.Erases += int(n - before[page])
		wear.MostPage = max(wear.MostPage, int(n-before[page]))
	}
	return wear
}

// cutPoint makes the runs whose first cut is at one operation.
func (p *plan) cutPoint(ctx context.Context, j job, t *tally) error {
	reaches := []Reach{ReachBoard}
	if len(p.parts) > 1 {
		reaches = append(reaches, ReachChip)
		if j.mcu != p.host && !p.inJournal(j.mcu, j.op) { // what it does by itself goes on
			reaches = append(reaches, ReachPeers)
		}
	}
	for _, reach := range reaches {
		for _, mode := range flash.Modes() {
			if reach == ReachPeers && mode != flash.Before {
				continue // the operation does not happen: no more data comes
			}
			run := Run{Sick: j.world.sick, Lossy: j.world.lossy, Cuts: []Cut{{j.n, reach, mode}}}
			ops, err := p.cutOnce(ctx, j, run, t)
			if err != nil {
				return err
			}
			for k := range p.Pairs {
				if ops == 0 {
					break
				}
				if err := p.cutTwice(ctx, j, run, k, ops, t); err != nil {
					return err
				}
			}
		}
	}
	t.progress(Run{Sick: j.world.sick, Lossy: j.world.lossy}, p.Progress)
	return nil
}

// cutOnce makes a run with one cut and returns its operations after that.
func (p *plan) cutOnce(ctx context.Context, j job, run Run, t *tally) (ops int, err error) {
	w := j.world.clone(run.rand(p.Seed))
	before := w.allOps()
	w.cut(j.mcu, j.op, run.Cuts[0], w.mcus[0].flash.Rand)
	if err := w.finish(ctx); err != nil {
		return 0, err
	}
	t.add(run, w)
	return w.allOps() - before, nil
}

// cutTwice is cutOnce with another cut among the operations after the first.
func (p *plan) cutTwice(ctx context.Context, j job, first Run, k, ops int, t *tally) error {
	r := first.rand(p.Seed + uint64(k) + 1)
	second := Cut{r.IntN(ops), ReachBoard, flash.Modes()[r.IntN(len(flash.Modes()))]}
	if len(p.parts) > 1 {
		second.Reach = Reach(r.IntN(2))
	}
	run := Run{Sick: first.Sick, Lossy: first.Lossy, Cuts: append(slices.Clone(first.Cuts), second)}
	// As replayed: each cut has the randomness of the run up to it.
	w := j.world.clone(first.rand(p.Seed))
	w.cut(j.mcu, j.op, first.Cuts[0], w.mcus[0].flash.Rand)
	w.listen(true)
	w.arm = &armed{cut: second, rand: run.rand(p.Seed)}
	if err := w.finish(ctx); err != nil {
		return err
	}
	t.add(run, w)
	return nil
}

func (w *world) allOps() int {
	n := 0
	for _, m := range w.mcus {
		n += m.flash.Ops()
	}
	return n
}

// flipSample is how many bits are flipped in what is installed.
const flipSample = 256

// flipAll flips bits of the banks of a device that has the release, one at a time.
// What has changed must not start again.
func (p *plan) flipAll(ctx context.Context, t *tally) error {
	installed := p.world(Run{})
	if err := installed.finish(ctx); err != nil {
		return err
	}
	if installed.failure != nil {
		return nil // what is not installed cannot decay
	}
	for n := range flipSample {
		if err := p.flip(ctx, installed.clone(flash.NewRand(p.Seed, uint64(n))), n, t); err != nil {
			return err
		}
	}
	return nil
}

// flip flips one bit of a bank and switches the device off and on.
func (p *plan) flip(ctx context.Context, w *world, n int, t *tally) error {
	random := flash.NewRand(p.Seed, math.MaxUint64, uint64(n))
	i := n % len(w.mcus)
	m, b := w.mcus[i], p.parts[i].releases[1].bank
	bank := m.bank(n / len(w.mcus))
	offset := uint32(random.IntN(b.body.Size() + b.trailer.Size()))
	if body := uint32(b.body.Size()); offset >= body {
		offset += b.at - body
	}
	w.say(i, "a bit flips at 0x%08x", bank.Base+offset)
	if err := m.flash.Decay(bank.Base+offset, random.IntN(8)); err != nil {
		return err
	}
	before := m.flash.Erases()
	w.allOff()
	if err := w.settle(ctx); err != nil {
		return err
	}
	t.flipped(n, w, m, slices.Equal(before, m.flash.Erases()))
	return nil
}
