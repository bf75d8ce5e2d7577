package bootloader

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

var (
	oldVersion = manifest.Version{1, 4, 1}
	newVersion = manifest.Version{1, 4, 2}
)

// component makes a component at version 1.4.2, sequence number 1042, that has
// had 1.4.1 before.
func testComponent(t testing.TB, name, chip, template string, size int) RehearsedComponent {
	t.Helper()
	c, err := ChipByName(chip)
	if err != nil {
		t.Fatal(err)
	}
	p := newParcel(t, c, template, testImage(t, size))
	return RehearsedComponent{
		Name: name, Device: p.device, Envelope: p.envelope(t), Payload: p.payload,
		Before: Before{Version: oldVersion, Sequence: 1041, Size: size},
	}
}

// allowing lists what may run together beside 1.4.2 everywhere.
func allowing(combinations ...[]manifest.Version) func([]manifest.Version) bool {
	return func(versions []manifest.Version) bool {
		same := func(a, b manifest.Version) bool { return a.Compare(b) == 0 }
		all := slices.IndexFunc(versions, func(v manifest.Version) bool { return !same(v, newVersion) }) < 0
		return all || slices.ContainsFunc(combinations, func(c []manifest.Version) bool { return slices.EqualFunc(c, versions, same) })
	}
}

// brush is a radio that feeds a motor controller.
func brush(t testing.TB, radio, motor int) Rehearsal {
	t.Helper()
	return Rehearsal{
		Components: []RehearsedComponent{testComponent(t, "radio", "nrf52840", "T1", radio), testComponent(t, "motor", "stm32l4", "T1", motor)},
		Allows:     allowing([]manifest.Version{newVersion, oldVersion}),
		Seed:       1,
	}
}

// runAll makes all runs; few of them with -short, which goes with the race detector.
func runAll(t testing.TB, r Rehearsal, f fault) *Outcome {
	t.Helper()
	if testing.Short() {
		r.Sample = 12
	}
	p, err := r.prepare(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !o.Complete || o.CutPoints != o.Selected || o.CutPoints == 0 {
		t.Errorf("not complete: %+v", o)
	}
	return o
}

// TestRehearse: no device of any make comes to harm.
func TestRehearse(t *testing.T) {
	radio := func(template string) RehearsedComponent { return testComponent(t, "radio", "nrf52840", template, 5000) }
	motor := func(template string) RehearsedComponent { return testComponent(t, "motor", "stm32l4", template, 3000) }
	named := func(c RehearsedComponent, name string) RehearsedComponent { c.Name = name; return c }
	withoutKey := func(c RehearsedComponent) RehearsedComponent { c.Device.Identity = nil; return c }
	onBank := func(c RehearsedComponent, bank Region) RehearsedComponent {
		var err error
		if c.Device.Chip, err = c.Device.Chip.WithBank(bank); err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := func(c RehearsedComponent, size int) RehearsedComponent { c.Before.Size = size; return c }
	for name, tt := range map[string]struct {
		components []RehearsedComponent
		allowed    [][]manifest.Version
		ends       []string
	}{
		"radio first": {
			[]RehearsedComponent{radio("T1"), motor("T1")}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, motor 1.4.1", "radio 1.4.2, motor 1.4.2"},
		},
		"motor first": { // the radio that does not work is undone, the motor is not
			[]RehearsedComponent{motor("T1"), radio("T1")}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"motor 1.4.2, radio 1.4.1", "motor 1.4.2, radio 1.4.2"},
		},
		"encrypted": {
			[]RehearsedComponent{radio("T3"), motor("T3")}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, motor 1.4.1", "radio 1.4.2, motor 1.4.2"},
		},
		"encrypted, keys unknown": {
			[]RehearsedComponent{withoutKey(radio("T3")), withoutKey(motor("T3"))}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, motor 1.4.1", "radio 1.4.2, motor 1.4.2"},
		},
		"linked for a slot": {
			[]RehearsedComponent{radio("T2b"), motor("T2b")}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, motor 1.4.1", "radio 1.4.2, motor 1.4.2"},
		},
		"larger before": {
			[]RehearsedComponent{before(radio("T1"), 20000), before(motor("T1"), 9000)}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, motor 1.4.1", "radio 1.4.2, motor 1.4.2"},
		},
		"other layout": {
			[]RehearsedComponent{onBank(radio("T1"), Region{0x20000, 0x10000}), onBank(motor("T1"), Region{0x08037000, 0x9000})}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, motor 1.4.1", "radio 1.4.2, motor 1.4.2"},
		},
		"two hosts": {
			[]RehearsedComponent{radio("T1"), named(radio("T1"), "display")}, [][]manifest.Version{{newVersion, oldVersion}},
			[]string{"radio 1.4.1, display 1.4.1", "radio 1.4.2, display 1.4.2"},
		},
		"three": {
			[]RehearsedComponent{motor("T1"), radio("T1"), named(motor("T1"), "pump")},
			[][]manifest.Version{{newVersion, oldVersion, oldVersion}, {newVersion, newVersion, oldVersion}},
			[]string{"motor 1.4.2, radio 1.4.1, pump 1.4.1", "motor 1.4.2, radio 1.4.2, pump 1.4.2"},
		},
		"alone":   {[]RehearsedComponent{radio("T1")}, nil, []string{"radio 1.4.1", "radio 1.4.2"}},
		"gateway": {[]RehearsedComponent{motor("T1")}, nil, []string{"motor 1.4.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := runAll(t, Rehearsal{Components: tt.components, Allows: allowing(tt.allowed...), Seed: 7, Grain: 1024, Pairs: 1, Sample: 60}, noFault)
			if len(o.Failures) > 0 {
				t.Errorf("%+v", o.Failures)
			}
			var ends []string
			runs := 0
			for _, e := range o.Ends {
				ends = append(ends, e.State)
				runs += e.Runs
			}
			slices.Sort(ends)
			slices.Sort(tt.ends)
			if !slices.Equal(ends, tt.ends) || runs != o.Runs || o.SecondCuts == 0 {
				t.Errorf("%d runs, %d with a second cut, end in %+v, want %q", o.Runs, o.SecondCuts, o.Ends, tt.ends)
			}
			if f := o.Flipped; f.Bits != flipSample || f.Harmless+f.Refused+f.Recovered != f.Bits || f.Harmless == 0 || f.Refused+f.Recovered == 0 {
				t.Errorf("flipped bits: %+v", f)
			}
			for _, w := range o.Wear {
				if w.MostPage != 1 || w.Places != 5 { // a boot, begin or finish, commit, a boot, confirm
					t.Errorf("wear: %+v", w)
				}
			}
		})
	}
}

// TestFaults plants the mistakes that the rehearsal exists to find. Each must be
// found, for the right reason and where it shows: a detector that finds nothing
// cannot be told from a flow without fault by anything else.
func TestFaults(t *testing.T) {
	notShort(t)
	sick := func(f Failure) bool { return f.First.Sick == Host }
	sickPeers := func(f Failure) bool { return f.First.Sick == Peers }
	torn := func(f Failure) bool {
		return len(f.First.Cuts) == 1 && f.First.Cuts[0].Mode >= flash.Torn
	}
	healthy := func(f Failure) bool { return f.First.Sick == Nobody && f.First.Flip == 0 }
	lossy := func(f Failure) bool { return f.First.Lossy && len(f.First.Cuts) > 0 }
	for f, want := range map[fault]struct {
		name   string
		reason verdict.Reason
		shows  func(Failure) bool
	}{
		pointerBeforeData:    {"pointer before data", verdict.RehearsalNotInstalled, healthy},
		oldBankErased:        {"old bank erased before confirm", verdict.RehearsalBrick, sick},
		counterBeforeConfirm: {"counter raised before confirm", verdict.RehearsalBrick, sick}, // healthy firmware alone does not show it
		counterForgotten:     {"counter forgotten", verdict.RehearsalCounter, healthy},
		journalWithoutCRC:    {"journal without CRC", verdict.RehearsalBrick, healthy},
		recordsUnsettled:     {"record acted on as found", verdict.RehearsalCounter, torn}, // cuts between operations do not show it
		attemptsUncounted:    {"attempts not counted", verdict.RehearsalUnsettled, sick},
		commitsConfirmed:     {"no trial", verdict.RehearsalNotReverted, sick},
		bootsUnverified:      {"boots what is there", verdict.RehearsalUnverified, func(f Failure) bool { return f.First.Flip > 0 }},
		receivingUnrecorded:  {"only bank written without a note", verdict.RehearsalCounter, healthy},
		pagesNotErased:       {"pages not erased", verdict.RehearsalFlashRule, healthy},
		feedsDuringTrial:     {"peer fed during the host's trial", verdict.RehearsalVersions, sick},
		restagesNever:        {"interrupted transfer not begun again", verdict.RehearsalNotInstalled, healthy},
		feedsForEver:         {"sick peer fed for ever", verdict.RehearsalUnsettled, sickPeers},
		sequenceSpent:        {"counter raised for what did not confirm", verdict.RehearsalBrick, sickPeers},
		resumesUnerased:      {"transfer resumed without erasing", verdict.RehearsalFlashRule, lossy},
	} {
		t.Run(want.name, func(t *testing.T) {
			r := brush(t, 1200, 600)
			r.only = []Run{{}, {Sick: Host}}
			if way, ok := map[fault]Run{resumesUnerased: {Lossy: true}, feedsForEver: {Sick: Peers}, sequenceSpent: {Sick: Peers}}[f]; ok {
				r.only = []Run{way}
			}
			var o *Outcome
			i := -1
			for r.Seed = 1; i < 0 && r.Seed <= 20; r.Seed++ { // cells have to read the wrong way at the wrong time
				o = runAll(t, r, f)
				i = slices.IndexFunc(o.Failures, func(f Failure) bool { return f.Reason == want.reason })
			}
			r.Seed--
			if i < 0 || !want.shows(o.Failures[i]) {
				t.Fatalf("got %+v, want %s", o.Failures, want.reason)
			}
			failure := o.Failures[i]
			if n := o.Failed(want.reason); n != failure.Runs || o.Failed() < n {
				t.Errorf("counted %d and %d of %d runs", n, o.Failed(), failure.Runs)
			}
			if errs := o.Refusals(); len(errs) != len(o.Failures) || verdict.Of(errs[i]) != want.reason || !strings.Contains(errs[i].Error(), failure.First.String()) {
				t.Errorf("refusals %v", errs)
			}

			// Replayed by its text, it fails again in the same way.
			run, err := ParseRun(failure.First.String())
			if err != nil {
				t.Fatal(err)
			}
			p, err := r.prepare(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			again, err := p.replay(t.Context(), run)
			if err != nil {
				t.Fatal(err)
			}
			if again.Failure == nil || again.Failure.Reason != failure.Reason || again.Failure.Detail != failure.Detail {
				t.Errorf("replay of %s: %+v, want %+v", run, again.Failure, failure)
			}
		})
	}
	if o := runAll(t, brush(t, 2000, 1000), noFault); len(o.Failures) > 0 {
		t.Errorf("without a fault: %+v", o.Failures)
	}
}

// TestPeerWaitsForConfirm is a hole that the first design had: the motor was fed
// as soon as the new radio ran. When that radio fell back, it was too late to
// take the motor's update back: its counter was raised, and no release has the
// old radio with the new motor.
func TestPeerWaitsForConfirm(t *testing.T) {
	r := brush(t, 2000, 1000)
	tell := func(f fault) *Replay {
		p, err := r.prepare(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.replay(t.Context(), Run{Sick: Host})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := tell(feedsDuringTrial); out.Failure == nil || out.Failure.Reason != verdict.RehearsalVersions || out.End != "radio 1.4.1, motor 1.4.2" {
		t.Errorf("the old design ends with %s, %+v", out.End, out.Failure)
	}
	out := tell(noFault)
	if out.Failure != nil || out.End != "radio 1.4.1, motor 1.4.1" {
		t.Errorf("ends with %s, %+v", out.End, out.Failure)
	}
	for _, touch := range out.Tracks[1].Touches {
		if !out.Tracks[1].Chip.Journal.Contains(touch.Region) {
			t.Errorf("the motor's flash was touched at %s", touch.Region)
		}
	}
}

// The result depends on the seed and on nothing else.
func TestDeterministic(t *testing.T) {
	r := brush(t, 2000, 1000)
	r.Pairs, r.Workers, r.Sample = 2, 1, 40
	one := runAll(t, r, noFault)
	r.Workers = 4
	if four := runAll(t, r, noFault); !reflect.DeepEqual(one, four) {
		t.Errorf("one worker:\n%+v\nfour:\n%+v", one, four)
	}
}

func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes all runs")
	}
}

// A sample is about as large as asked for and has all of the journals' cut
// points as far as there is room.
func TestSample(t *testing.T) {
	notShort(t)
	r := brush(t, 40000, 20000)
	r.Sample = 100
	o := runAll(t, r, noFault)
	if o.CutPoints < 230 || o.CutPoints > 320 || o.Operations < 3*o.CutPoints {
		t.Errorf("%d of %d cut points, want about 100 with and 100 without working firmware, and the journals' or 25 on each of the other ways", o.CutPoints, o.Operations)
	}
	r.Sample = 1
	if o := runAll(t, r, noFault); o.CutPoints < 40 { // the journals'
		t.Errorf("%d cut points", o.CutPoints)
	}
}

func TestInterrupted(t *testing.T) {
	r := brush(t, 20000, 10000)
	ctx, cancel := context.WithCancel(t.Context())
	r.Progress = func(done, total int) {
		if done == 5 {
			cancel()
		}
		if done > total {
			t.Errorf("%d of %d", done, total)
		}
	}
	o, err := r.Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if o == nil || o.Complete || o.CutPoints < 5 || o.CutPoints >= o.Selected || o.Runs < o.CutPoints {
		t.Errorf("covered: %+v", o)
	}
	if _, err := r.Replay(ctx, Run{}); !errors.Is(err, context.Canceled) {
		t.Errorf("replay: %v", err)
	}
}

// What cannot be rehearsed is refused before the first run.
func TestRehearseRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Rehearsal)
		reason verdict.Reason // "" for an error without one
	}{
		"no component":    {func(r *Rehearsal) { r.Components = nil }, ""},
		"unknown chip":    {func(r *Rehearsal) { r.Components[0].Device.Chip.Name = "z80" }, ""},
		"damaged payload": {func(r *Rehearsal) { r.Components[1].Payload[9] ^= 1 }, verdict.ImageDigestMismatch},
		"another device":  {func(r *Rehearsal) { r.Components[0].Device.Revision = "b3" }, verdict.ClassMismatch},
		"another bundle's": {func(r *Rehearsal) {
			r.Components[1] = testComponent(t, "motor", "nrf52840", "T1", 10)
			r.Components[1].Envelope[20] ^= 1
		}, "?"},
		"older": {func(r *Rehearsal) { r.Components[0].Before.Sequence = 1043 }, verdict.SequenceRollback},
		"image too large for a directory": {func(r *Rehearsal) {
			r.Components[0] = testComponent(t, "radio", "nrf52840", "T1", 0x68000)
		}, verdict.PackageExceedsBank},
		"payload of the peer too large": {func(r *Rehearsal) {
			r.Components[0], r.Components[1] = testComponent(t, "radio", "nrf52840", "T1", 300<<10), testComponent(t, "motor", "stm32l4", "T1", 200<<10)
		}, verdict.PackageExceedsBank},
		"no room for a second bank": {func(r *Rehearsal) {
			r.Components[0].Device.Chip.Banks = []Region{{0x1c000, 0xc0000}}
		}, verdict.PackageExceedsBank},
		"no room for a journal": {func(r *Rehearsal) {
			r.Components[1].Device.Chip.Banks = []Region{r.Components[1].Device.Chip.Flash}
		}, verdict.PackageExceedsBank},
	} {
		t.Run(name, func(t *testing.T) {
			r := brush(t, 2000, 1000)
			tt.change(&r)
			o, err := r.Run(t.Context())
			if err == nil || o != nil {
				t.Fatalf("got %+v, %v", o, err)
			}
			if got := verdict.Of(err); got != tt.reason && (tt.reason != "?" || got == "") {
				t.Errorf("got %v, want reason %q", err, tt.reason)
			}
		})
	}
}

func TestParseRun(t *testing.T) {
	for _, s := range []string{
		"healthy", "sick", "healthy,lossy", "sick,lossy,board:torn:1", "sick-peers", "sick-peers,chip:after:3", "sick,board:torn:117", "healthy,chip:before:12,board:torn-weak:0", "healthy,peers:after:2147483647", "flip:1",
	} {
		r, err := ParseRun(s)
		if err != nil || r.String() != s {
			t.Errorf("%q: got %v, %v", s, r, err)
		}
	}
	for _, s := range []string{
		"", "ill", "healthy,", "healthy,board", "healthy,board:torn", "healthy,board:torn:", "healthy,board:torn:-1", "healthy,board:torn:1:2",
		"healthy,board:Torn:1", "healthy,phone:torn:1", "healthy,board:torn:2147483648", "healthy board:torn:1", "lossy", "healthy,lossy,lossy", "healthy,board:torn:1,lossy", "flip:0", "flip:", "flip:1,board:torn:1",
	} {
		if r, err := ParseRun(s); !errors.Is(err, ErrRun) {
			t.Errorf("%q: got %v, %v", s, r, err)
		}
	}
	for name, s := range map[string]string{"reach": Reach(9).String(), "mode": flash.Mode(9).String()} {
		if !strings.Contains(s, "(9)") {
			t.Errorf("%s: %q", name, s)
		}
	}
}

func TestReplay(t *testing.T) {
	r := brush(t, 5000, 3000)
	for s, want := range map[string]string{
		"healthy":                            "radio 1.4.2, motor 1.4.2",
		"sick,board:torn-weak:12":            "radio 1.4.1, motor 1.4.1",
		"healthy,board:torn:30,chip:after:3": "radio 1.4.2, motor 1.4.2",
		"healthy,lossy,peers:before:70":      "radio 1.4.2, motor 1.4.2",
		"sick-peers,board:torn:60":           "radio 1.4.2, motor 1.4.2", // repaired
		"flip:1":                             "",
	} {
		run, err := ParseRun(s)
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Replay(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		cuts, touches := 0, 0
		for _, e := range p.Events {
			if e.Cut {
				cuts++
			}
		}
		for _, track := range p.Tracks {
			touches += len(track.Touches)
		}
		if p.Failure != nil || want != "" && p.End != want || cuts != len(run.Cuts) || touches != p.Operations {
			t.Errorf("%s: ends with %s, %+v; %d cuts, %d of %d operations", s, p.End, p.Failure, cuts, touches, p.Operations)
		}
		again, err := r.Replay(t.Context(), run)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%s: not the same a second time, %v", s, err)
		}
	}
	if _, err := r.Replay(t.Context(), Run{Cuts: []Cut{{Op: 1 << 20}}}); !errors.Is(err, ErrRun) {
		t.Errorf("a cut that never comes: %v", err)
	}
}

// Every write unit of small images, in all modes.
func TestExhaustive(t *testing.T) {
	notShort(t)
	r := brush(t, 300, 200)
	r.Grain, r.only = 1, []Run{{}, {Sick: Host}}
	o := runAll(t, r, noFault)
	if len(o.Failures) > 0 || o.Operations < (300/4+200/8)*2 {
		t.Errorf("%d operations, %+v", o.Operations, o.Failures)
	}
}

func ExampleRun_String() {
	fmt.Println(Run{Sick: Host, Cuts: []Cut{{Op: 117, Reach: ReachBoard, Mode: flash.Torn}}})
	// Output: sick,board:torn:117
}

// A device that has a part of the release gets the rest.
func TestRehearseRest(t *testing.T) {
	for name, tt := range map[string]struct {
		has   int // component that has the release
		ends  []string
		wear  [2]bool // whose flash is written, beside the journal
		start string
	}{
		"radio has it": {0, []string{"radio 1.4.2, motor 1.4.2"}, [2]bool{false, true}, "radio 1.4.2, motor 1.4.1"},
		"motor has it": {1, []string{"radio 1.4.1, motor 1.4.2", "radio 1.4.2, motor 1.4.2"}, [2]bool{true, false}, "radio 1.4.1, motor 1.4.2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := brush(t, 5000, 3000)
			r.Pairs = 1
			r.Components[tt.has].Before = Before{Version: newVersion, Sequence: 1042, Size: 1}
			r.Allows = allowing() // what devices start with is allowed anyhow
			p, err := r.prepare(t.Context(), noFault)
			if err != nil {
				t.Fatal(err)
			}
			w := p.world(Run{})
			for range w.mcus {
				if _, err := w.turn(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.describe(); got != tt.start {
				t.Errorf("starts with %s, want %s", got, tt.start)
			}
			o := runAll(t, r, noFault)
			if len(o.Failures) > 0 {
				t.Errorf("%+v", o.Failures)
			}
			var ends []string
			for _, e := range o.Ends {
				ends = append(ends, e.State)
			}
			slices.Sort(ends)
			if !slices.Equal(ends, tt.ends) {
				t.Errorf("ends in %q, want %q", ends, tt.ends)
			}
			for i, w := range o.Wear {
				if w.Erases > 0 != tt.wear[i] {
					t.Errorf("wear %+v", w)
				}
			}
		})
	}
	r := brush(t, 2000, 1000)
	for i := range r.Components {
		r.Components[i].Before.Sequence = 1042
	}
	if _, err := r.Run(t.Context()); verdict.Of(err) != verdict.SequenceRollback {
		t.Errorf("with the whole release: %v", err)
	}
}
