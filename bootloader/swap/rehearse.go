package swap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign/verdict"
)

// maxBoots is how often a device starts before it has to be at rest.
const maxBoots = 12

// tears is how often an operation on a trailer is torn: what is left depends on
// single bits.
const tears = 8

// Rehearsal is an update that is cut off.
type Rehearsal struct {
	// Target is the bootloader; its Slot is of no account.
	Target mcuboot.Target
	// Old is the installed image and New the update, signed and without padding.
	Old, New []byte
	// Cuts is about how many operations on images are cut, spread over all of them;
	// 0 for all. Those on trailers, which say how far the update is, always are.
	Cuts int
	// Second is how many more runs each cut gets in which the power fails again,
	// at an operation that is drawn.
	Second int
	Seed   uint64
	// Progress is called after each operation, from several goroutines, if it is
	// set.
	Progress func(done, of int)
}

// Scenario is how the new firmware behaves and what was asked for.
type Scenario string

// Scenarios. In overwrite-only only the last is there: nothing is reverted.
const (
	Healthy   Scenario = "healthy"   // a test update whose firmware confirms itself
	Sick      Scenario = "sick"      // a test update whose firmware never does
	Permanent Scenario = "permanent" // an update that needs no confirmation
)

// Outcome is what was found in one scenario.
type Outcome struct {
	Scenario   Scenario  `json:"scenario"`
	Operations int       `json:"operations"` // of flash, in the run without a cut
	Cut        int       `json:"cut"`        // how many of them were cut
	Runs       int       `json:"runs"`
	EndOld     int       `json:"end_old"`    // runs at whose end the old image runs
	EndNew     int       `json:"end_new"`    // the new one
	MaxErases  uint32    `json:"max_erases"` // of one sector, in the run without a cut
	Findings   []Finding `json:"findings"`
}

// Finding is a way to fail, and how many runs end in it.
type Finding struct {
	Reason verdict.Reason `json:"reason"`
	// First is where the power failed first, and Second where it failed again.
	First  Cut  `json:"first"`
	Second *Cut `json:"second,omitempty"`
	// TornTrailer is a cut in the middle of a write or an erasure of a trailer:
	// MCUboot keeps no second copy of its fields, and no checksum.
	TornTrailer bool   `json:"torn_trailer"`
	Runs        int    `json:"runs"`
	Detail      string `json:"detail,omitempty"` // of the first of these runs
}

// Cut is a loss of power.
type Cut struct {
	Operation int    `json:"operation"` // from 0; since the cut before, where there was one
	Mode      string `json:"mode"`
	Place     string `json:"place"`
	torn      bool
	trailer   bool
}

// Failures counts the runs that fail for another reason than a torn trailer.
func (o *Outcome) Failures() int {
	n := 0
	for _, f := range o.Findings {
		if !f.TornTrailer {
			n += f.Runs
		}
	}
	return n
}

// errPower is a loss of power.
var errPower = errors.New("power lost")

// rehearsal is one that runs.
type rehearsal struct {
	*Rehearsal
	ctx      context.Context
	layout   layout
	scenario Scenario
	verdicts map[[sha256.Size]byte]bool // by slot and content
	prepare  func(*loader)              // for tests: plants a bug
	progress func()
	images   int // operations on images in the run without a cut
	works    bool
	outcome  Outcome
}

// Run rehearses all scenarios of the mode. The error means that there is no
// verdict: the bootloader is not rehearsed (ErrLayout, mcuboot.ErrTarget), takes
// one of the images not at all (a verdict.Reason), or ctx is done.
func (r *Rehearsal) Run(ctx context.Context) ([]Outcome, error) {
	return r.run(ctx, func(*loader) {})
}

func (r *Rehearsal) run(ctx context.Context, prepare func(*loader)) ([]Outcome, error) {
	l, err := newLayout(r.Target)
	if err != nil {
		return nil, err
	}
	images := *r
	if images.Old, err = r.accepted(ctx, r.Old, mcuboot.Primary); err != nil {
		return nil, fmt.Errorf("installed image: %w", err)
	}
	if images.New, err = r.accepted(ctx, r.New, mcuboot.Secondary); err != nil {
		return nil, fmt.Errorf("new image: %w", err)
	}
	if bytes.Equal(images.Old, images.New) {
		return nil, fmt.Errorf("swap: two images that are the same: %w", ErrLayout)
	}
	scenarios := []Scenario{Healthy, Sick, Permanent}
	if l.overwrite {
		scenarios = []Scenario{Permanent}
	}
	sweeps := make([]*rehearsal, len(scenarios))
	total, done := 0, new(atomic.Int64)
	for i, s := range scenarios {
		one := &rehearsal{Rehearsal: &images, ctx: ctx, layout: l, scenario: s, verdicts: map[[sha256.Size]byte]bool{}, prepare: prepare, outcome: Outcome{Scenario: s, Findings: []Finding{}}}
		if err := one.whole(); err != nil {
			return nil, err
		}
		sweeps[i] = one
		total += one.outcome.Operations
	}
	var wait sync.WaitGroup
	failed := make([]error, len(sweeps))
	for i, one := range sweeps {
		one.progress = func() {
			if r.Progress != nil {
				r.Progress(int(done.Add(1)), total)
			}
		}
		wait.Go(func() { failed[i] = one.sweep() })
	}
	wait.Wait()
	var all []Outcome
	for _, one := range sweeps {
		all = append(all, one.outcome)
	}
	return all, errors.Join(failed...)
}

// accepted is an image that the bootloader takes, without what follows its end.
func (r *Rehearsal) accepted(ctx context.Context, data []byte, slot mcuboot.Slot) ([]byte, error) {
	t := r.Target
	t.Slot = slot
	v, _, err := mcuboot.Verify(ctx, data, t)
	switch {
	case err != nil:
		return nil, err
	case !v.Bootable():
		return nil, fmt.Errorf("swap: an image that is marked as not bootable: %w", ErrLayout)
	case binary.LittleEndian.Uint32(data) != headerMagic:
		return nil, fmt.Errorf("swap: a text file: convert it to binary: %w", ErrLayout)
	}
	return data[:len(data)-len(v.File().Tail)], nil
}

// device is one that runs the update.
type device struct {
	*rehearsal
	flash     *flash.Flash
	requested bool
	runs      field // good: the new image; unset: the old one
}

// factory is a device with the old image, and the new one beside it.
func (r *rehearsal) factory() (*device, error) {
	f, err := flash.New(r.layout.geometry())
	if err != nil {
		return nil, err
	}
	for slot, image := range [][]byte{r.Old, r.New} {
		padded := append(bytes.Clone(image), bytes.Repeat([]byte{flash.Erased}, int(up(uint32(len(image)), r.layout.write))-len(image))...)
		if err := f.Program(r.layout.slots[slot].base, padded, chunk); err != nil {
			return nil, err
		}
	}
	return &device{rehearsal: r, flash: f}, nil
}

// whole does the run without a cut.
func (r *rehearsal) whole() error {
	d, err := r.factory()
	if err != nil {
		return err
	}
	d.flash.Before = func(op flash.Op) error {
		r.outcome.Operations++
		if !r.inTrailer(op) {
			r.images++
		}
		return nil
	}
	reason, detail := d.settle()
	if reason == "" && r.scenario != Sick && d.runs != good {
		reason, detail = verdict.RehearsalNotInstalled, "the old image runs"
	}
	r.outcome.MaxErases = slices.Max(d.flash.Erases())
	r.note(d, reason, detail, nil)
	r.works = reason == ""
	return r.ctx.Err()
}

// sweep does, where the run without a cut is as it should be, those with one from
// its operations.
func (r *rehearsal) sweep() error {
	if !r.works {
		return nil
	}
	d, err := r.factory()
	if err != nil {
		return err
	}
	step := 1
	if r.Cuts > 0 {
		step = max(1, r.images/r.Cuts)
	}
	n, image := 0, 0
	d.flash.Before = func(op flash.Op) error {
		if !r.inTrailer(op) {
			image++
		}
		if r.inTrailer(op) || image%step == 0 {
			err = errors.Join(err, r.cutHere(d, op, n))
			r.outcome.Cut++
		}
		n++
		r.progress()
		return err
	}
	d.settle()
	return err
}

// cutHere loses power at an operation in every way.
func (r *rehearsal) cutHere(d *device, op flash.Op, n int) error {
	for _, mode := range flash.Modes() {
		first := r.cut(op, n, mode)
		draws := 1
		if first.torn && first.trailer {
			draws = tears
		}
		for k := range draws {
			if err := r.cutOnce(d, op, first, mode, uint64(n*tears+k)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutOnce is one such cut, and what may follow it.
func (r *rehearsal) cutOnce(d *device, op flash.Op, first Cut, mode flash.Mode, part uint64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	start, err := d.torn(op, mode, part)
	if err != nil {
		return err
	}
	ops := 0
	once := start.clone(part)
	once.flash.Before = func(flash.Op) error { ops++; return nil }
	reason, detail := once.settle()
	r.note(once, reason, detail, []Cut{first})
	for k := 0; k < r.Second && ops > 0; k++ {
		if err := r.cutAgain(start, first, ops, part, uint64(k)); err != nil {
			return err
		}
	}
	return nil
}

// cutAgain loses power a second time, at one of the operations after the first.
func (r *rehearsal) cutAgain(start *device, first Cut, ops int, part, k uint64) error {
	draw := flash.NewRand(r.Seed, part, k, 2)
	at, mode := draw.IntN(ops), flash.Modes()[draw.IntN(len(flash.Modes()))]
	d := start.clone(part)
	var hit *flash.Op
	n := 0
	d.flash.Before = func(op flash.Op) error {
		if n++; n <= at {
			return nil
		}
		hit = &op
		return errPower
	}
	reason, detail := d.settle()
	if hit == nil { // weak cells read otherwise this time
		r.note(d, reason, detail, []Cut{first})
		return nil
	}
	again, err := d.torn(*hit, mode, part+k)
	if err != nil {
		return err
	}
	reason, detail = again.settle()
	r.note(again, reason, detail, []Cut{first, r.cut(*hit, at, mode)})
	return nil
}

func (r *rehearsal) cut(op flash.Op, n int, mode flash.Mode) Cut {
	place := r.layout.place(op.Addr)
	what := "write"
	if op.Kind == flash.Erase {
		what = "erase"
	}
	return Cut{n, mode.String(), what + " " + place, mode == flash.Torn || mode == flash.TornWeak, r.inTrailer(op)}
}

func (r *rehearsal) inTrailer(op flash.Op) bool {
	return !strings.HasSuffix(r.layout.place(op.Addr), "image")
}

// clone is the same device once more.
func (d *device) clone(part uint64) *device {
	c := *d
	c.flash = d.flash.Clone()
	c.flash.Rand = flash.NewRand(d.Seed, part)
	return &c
}

// torn is the device after a loss of power during an operation.
func (d *device) torn(op flash.Op, mode flash.Mode, part uint64) (*device, error) {
	c := d.clone(part)
	if err := c.flash.Tear(op, mode, flash.NewRand(d.Seed, part, uint64(mode), 1)); err != nil {
		return nil, err
	}
	return c, nil
}

// settle starts the device until a start changes nothing. The reason says what
// is wrong then, "" when nothing is.
func (d *device) settle() (verdict.Reason, string) {
	for range maxBoots {
		before := d.flash.Ops()
		if err := d.cycle(); err != nil {
			switch {
			case errors.Is(err, flash.ErrAlignment), errors.Is(err, flash.ErrRange):
				return verdict.RehearsalFlashRule, err.Error()
			case errors.Is(err, errForeign):
				return verdict.RehearsalUnverified, err.Error()
			}
			return verdict.RehearsalBrick, err.Error()
		}
		if d.flash.Ops() == before {
			return d.judge()
		}
	}
	return verdict.RehearsalUnsettled, fmt.Sprintf("after %d starts", maxBoots)
}

// judge says whether the device may stay as it is.
func (d *device) judge() (verdict.Reason, string) {
	size := up(uint32(len(d.image())), d.layout.sector)
	switch {
	case !d.flash.Stable(0, int(size)):
		return verdict.RehearsalUnverified, "the image does not read the same twice"
	case d.scenario == Sick && d.runs == good:
		return verdict.RehearsalNotReverted, "the new image runs, and was never confirmed"
	}
	return "", ""
}

func (d *device) image() []byte {
	if d.runs == good {
		return d.New
	}
	return d.Old
}

// errForeign is an image in the primary slot that is neither of the two.
var errForeign = errors.New("what is started is neither the old nor the new image")

// cycle is one start of the device and what the firmware does then.
func (d *device) cycle() error {
	l := newLoader(d.layout, d.flash, d.valid)
	d.prepare(l)
	if err := l.boot(); err != nil {
		return err
	}
	if err := d.identify(l); err != nil {
		return err
	}
	switch {
	case d.runs == good && d.scenario == Healthy:
		return l.confirm()
	case d.runs != good && !d.requested:
		if err := l.request(d.scenario == Permanent); err != nil {
			return err
		}
		d.requested = true
	}
	return nil
}

// identify finds out which image was started.
func (d *device) identify(l *loader) error {
	for _, c := range []struct {
		is    field
		image []byte
	}{{unset, d.Old}, {good, d.New}} {
		have := make([]byte, len(c.image))
		if err := l.read(primary, 0, have); err != nil {
			return err
		}
		if bytes.Equal(have, c.image) {
			d.runs = c.is
			return nil
		}
	}
	return errForeign
}

// valid asks the verifier of the format, once for the same content.
func (r *rehearsal) valid(slot int, data []byte) (bool, error) {
	h := sha256.New()
	h.Write([]byte{byte(slot)})
	h.Write(data)
	key := [sha256.Size]byte(h.Sum(nil))
	if ok, known := r.verdicts[key]; known {
		return ok, nil
	}
	t := r.Target
	t.Slot = mcuboot.Primary
	if slot == secondary {
		t.Slot = mcuboot.Secondary
	}
	_, _, err := mcuboot.Verify(r.ctx, data, t)
	if _, refused := errors.AsType[*verdict.Error](err); err != nil && !refused {
		return false, err
	}
	r.verdicts[key] = err == nil
	return err == nil, nil
}

// note counts a run, and joins it to those that fail in the same way.
func (r *rehearsal) note(d *device, reason verdict.Reason, detail string, cuts []Cut) {
	o := &r.outcome
	o.Runs++
	if reason == "" {
		if d.runs == good {
			o.EndNew++
		} else {
			o.EndOld++
		}
		return
	}
	f := Finding{Reason: reason, Runs: 1, Detail: detail}
	for i, c := range cuts {
		f.TornTrailer = f.TornTrailer || c.torn && c.trailer
		if i == 0 {
			f.First = c
		} else {
			f.Second = &c
		}
	}
	for i := range o.Findings {
		if o.Findings[i].alike(f) {
			o.Findings[i].Runs++
			return
		}
	}
	o.Findings = append(o.Findings, f)
}

// alike reports whether two failures differ in the operation's number only.
func (f Finding) alike(g Finding) bool {
	same := func(a, b Cut) bool { return a.Mode == b.Mode && a.Place == b.Place }
	if f.Reason != g.Reason || !same(f.First, g.First) || (f.Second == nil) != (g.Second == nil) {
		return false
	}
	return f.Second == nil || same(*f.Second, *g.Second)
}
