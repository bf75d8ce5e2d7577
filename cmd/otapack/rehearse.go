package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) rehearseCommand() *cobra.Command {
	var o rehearseOptions
	c := &cobra.Command{
		Use:   "rehearse <bundle>",
		Short: "Install a bundle on simulated devices that lose power at every flash operation",
		Long: `Verify a bundle, then install it on simulated flash, over and over: the power
fails before, after and in the middle of every flash operation, of the whole
board or of one MCU, with firmware that works and with firmware that does not,
and while packets are lost, damaged and repeated on their way to the flash.
Each time the devices come to rest with the power back. None may be left without
firmware, start what was not signed, run a version combination that the release
record does not list, or lower its rollback counter; and in the end the release
has to be installed, or the firmware that does not work to be gone.

The devices start with the last release if it is older than the bundle, with the
one of --from, or with made-up firmware. With --census they start from every state
that the fleet is in (docs/reach.md), one after the other; classes of devices that
do not accept the bundle are listed and left out.

With --patch the first MCU with two banks receives the patch from the version that
it starts with (docs/updates.md), and makes the image from it and from the image
of that release, which is looked for in the output folder.

Programming is cut every 256 bytes, and every write unit with --exhaustive; the
bootloaders' journals always are. With --cuts only about so many of these
operations are cut, those of the journals first.

What a rehearsal proves and what it does not is in docs/rehearsal.md.`,
		Example: `  otapack rehearse dist/1.4.2/toothbrush-1.4.2.ota
  otapack rehearse dist/1.4.4/toothbrush-1.4.4.ota --from dist/1.4.2/release.json
  otapack rehearse release.ota --census census.csv --cuts 200
  otapack rehearse release.ota --seed 17 --replay sick,board:torn-weak:412 --svg run.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seeded = cmd.Flags().Changed("seed")
			switch {
			case o.pairs < 0:
				return usagef("--pairs %d: want 0 or more", o.pairs)
			case o.cuts < 0:
				return usagef("--cuts %d: want 0 or more", o.cuts)
			case o.census != "" && o.from != "":
				return usagef("--census and --from: want one of them")
			case o.line != 0 && o.census == "":
				return usagef("--line is about a line of --census")
			case o.census != "" && o.line == 0 && (o.replay != "" || o.svg != ""):
				return usagef("--replay and --svg are about one run: say with --line which devices it is of")
			}
			if o.replay != "" {
				run, err := bootloader.ParseRun(o.replay)
				if err != nil {
					return usagef("--replay: %w", err)
				}
				o.run = &run
			}
			if o.census != "" {
				return a.rehearseFleet(cmd.Context(), args[0], o)
			}
			return a.rehearse(cmd.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "release.json `file` of the release that the devices have")
	f.BoolVar(&o.patch, "patch", false, "devices receive the patch from what they start with, not the whole image")
	f.StringVar(&o.census, "census", "", "CSV `file` with the devices in the field")
	f.IntVar(&o.line, "line", 0, "rehearse the devices of one `line` of the census only")
	f.StringArrayVar(&o.deviceKeys, "device-key", nil, "private key `component=file` of a device, to install the decrypted image (repeatable)")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that all randomness comes from (default the sequence number)")
	f.IntVar(&o.cuts, "cuts", 0, "about how many operations to cut, from each start and on each way, 0 for all")
	f.IntVar(&o.pairs, "pairs", 1, "`number` of second power cuts to try after each first one")
	f.BoolVar(&o.exhaustive, "exhaustive", false, "cut at every write unit of the images too; takes minutes")
	f.StringVar(&o.replay, "replay", "", "make one `run` again and tell what happens")
	f.StringVar(&o.svg, "svg", "", "draw the replayed run, or the one without a cut, into `file`")
	return c
}

type rehearseOptions struct {
	from, replay, svg string
	census            string
	line              int // of the census, 0 for all
	deviceKeys        []string
	seed              uint64
	seeded            bool
	patch             bool
	pairs, cuts       int
	exhaustive        bool
	run               *bootloader.Run
}

// rehearsed is the answer of --json.
type rehearsed struct {
	Schema    string `json:"schema"`
	Passed    bool   `json:"passed"`
	Complete  bool   `json:"complete"` // not interrupted
	Product   string `json:"product"`
	ReleaseID string `json:"release_id"`

	Start   *release.Start `json:"start"`
	Patched bool           `json:"patched"` // the host makes its image from a patch and what it has
	taken
	Seed  uint64 `json:"seed"`
	Grain int    `json:"grain"` // bytes of an image programmed in one operation

	Operations int `json:"operations"` // flash operations of the installation, with and without working firmware
	CutPoints  int `json:"cut_points"` // of them with a power cut
	Runs       int `json:"runs"`
	SecondCuts int `json:"second_cuts"` // runs among them in which the power failed twice
	Verified   int `json:"verified"`    // distinct contents whose signatures were verified

	Ways            []rehearsedWay    `json:"ways"`
	EndStates       []endState        `json:"end_states"`
	Bricks          int               `json:"bricks"` // runs, as the next ones
	MixedPairs      int               `json:"mixed_pairs"`
	UnverifiedBoots int               `json:"unverified_boots"`
	CounterErrors   int               `json:"counter_errors"`
	NotInstalled    int               `json:"not_installed"`
	Failures        []rehearseFailure `json:"failures"`
	FlippedBits     flippedBits       `json:"flipped_bits"`
	Wear            []wear            `json:"wear"`
}

// taken is what a rehearsal takes on trust, or not.
type taken struct {
	Decrypted bool      `json:"decrypted"`          // encrypted images were installed as they run
	OneBank   []oneBank `json:"one_bank,omitempty"` // images that are run from either bank and linked for one
}

type oneBank struct {
	Component string `json:"component"`
	Reset     uint32 `json:"reset"`     // address of the reset handler
	BankBase  uint32 `json:"bank_base"` // of the bank that it lies in
	BankSize  uint32 `json:"bank_size"` // in bytes
}

// rehearsedWay is one way through the installation.
type rehearsedWay struct {
	Way        string `json:"way"` // as replays begin
	Operations int    `json:"operations"`
	CutPoints  int    `json:"cut_points"`
}

type endState struct {
	State string `json:"state"`
	Runs  int    `json:"runs"`
}

type rehearseFailure struct {
	Reason verdict.Reason `json:"reason"`
	Detail string         `json:"detail"`
	Runs   int            `json:"runs"`
	Replay string         `json:"replay"` // for --replay
}

type flippedBits struct {
	Bits      int `json:"bits"`
	Harmless  int `json:"harmless"`
	Recovered int `json:"recovered"`
	Refused   int `json:"refused"`
}

type wear struct {
	Component string `json:"component"`
	Erases    int    `json:"erases"`           // of pages, in one installation
	MostPage  int    `json:"most_erased_page"` // how often
	Places    int    `json:"journal_places"`
}

// replayed is the answer of --json to --replay.
type replayed struct {
	Schema     string           `json:"schema"`
	Passed     bool             `json:"passed"`
	Run        string           `json:"run"`
	Seed       uint64           `json:"seed"`
	Operations int              `json:"operations"`
	End        string           `json:"end"`
	Failure    *rehearseFailure `json:"failure,omitempty"`
	Events     []replayEvent    `json:"events"`
}

type replayEvent struct {
	Operation int    `json:"operation"`
	Component string `json:"component"`
	Event     string `json:"event"`
}

// rehearsalError carries what was rehearsed to the output.
type rehearsalError struct {
	error
	rehearsed *rehearsed
}

func (e rehearsalError) Unwrap() error    { return e.error }
func (e rehearsalError) addTo(f *failure) { f.Rehearsal = e.rehearsed }

func (a *app) rehearse(ctx context.Context, path string, o rehearseOptions) error {
	project, err := a.openProject()
	if err != nil {
		return err
	}
	identities, _, err := a.deviceKeys(project, o.deviceKeys)
	if err != nil {
		return err
	}
	f, size, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, start, report, err := project.Rehearsal(ctx, f, size, release.RehearseOptions{Identities: identities, From: o.from, Patch: o.patch})
	if err != nil {
		return err
	}
	o.apply(r)
	if done, err := a.single(ctx, r, o); done || err != nil {
		return err
	}
	a.sayStart(start)
	trust, err := a.sayTaken(ctx, report, r)
	if err != nil {
		return err
	}
	if !a.quiet {
		progress := term.StartProgress(os.Stderr, "")
		defer progress.Stop()
		r.Progress = func(done, total int) { progress.Set(bar(done, total)) }
	}
	outcome, err := r.Run(ctx)
	if outcome == nil {
		return err
	}
	result := newRehearsed(report, start, r, outcome, trust)
	if !a.json {
		fmt.Fprint(a.stdout, rehearsedText(result))
	}
	if err != nil {
		return rehearsalError{fmt.Errorf("rehearsal: stopped after %d of %d cut points: %w", outcome.CutPoints, outcome.Selected, err), result}
	}
	if refusals := outcome.Refusals(); len(refusals) > 0 {
		a.sayReplays(path, o, result)
		return rehearsalError{&release.RejectedError{Failures: refusals}, result}
	}
	return a.result(result, "")
}

// apply sets how much is rehearsed.
func (o rehearseOptions) apply(r *bootloader.Rehearsal) {
	if o.seeded {
		r.Seed = o.seed
	}
	if r.Pairs, r.Sample = o.pairs, o.cuts; o.exhaustive {
		r.Grain = 1
	}
}

// single makes the one run that --replay and --svg are about, and reports whether
// that was all.
func (a *app) single(ctx context.Context, r *bootloader.Rehearsal, o rehearseOptions) (done bool, err error) {
	if o.run != nil {
		return true, a.replay(ctx, r, *o.run, o.svg)
	}
	if o.svg == "" {
		return false, nil
	}
	drawing, err := r.Replay(ctx, bootloader.Run{})
	if err != nil {
		return false, err
	}
	return false, a.draw(drawing, o.svg)
}

// sayTaken says what the rehearsal takes on trust.
func (a *app) sayTaken(ctx context.Context, report *release.Report, r *bootloader.Rehearsal) (taken, error) {
	t := taken{Decrypted: report.Components != nil}
	for _, c := range report.Components {
		t.Decrypted = t.Decrypted && c.Complete
	}
	if !t.Decrypted {
		a.say("no --device-key: ciphertext stands in for the images of encrypted components")
	}
	for _, c := range r.Components {
		if c.Device.Chip.Dual() && c.Device.Slot == nil {
			a.say("%s is not linked for a slot: it is taken to run from either bank", c.Name)
		}
	}
	linked, err := r.Linked(ctx)
	for _, l := range linked {
		t.OneBank = append(t.OneBank, oneBank{l.Component, l.Reset, l.Bank.Base, l.Bank.Size})
		a.say("warning: %s is linked for one bank: its reset handler is at 0x%08x in the bank %s", l.Component, l.Reset, l.Bank)
	}
	return t, err
}

// bar is a progress bar in text.
func bar(done, total int) string {
	const width = 30
	filled := width * done / max(total, 1)
	return fmt.Sprintf("rehearsing [%s%s] %d of %d cut points", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done, total)
}

func (a *app) sayStart(s *release.Start) {
	var parts []string
	for _, c := range s.Components {
		parts = append(parts, c.Name+" "+c.Version.String())
	}
	from := "made-up firmware"
	if s.From != "" {
		from = s.From
	}
	a.say("devices start with %s, sequence number %d (%s)", strings.Join(parts, ", "), s.Sequence, from)
}

// sayReplays tells how to see the failures again.
func (a *app) sayReplays(path string, o rehearseOptions, r *rehearsed) {
	args := []string{"otapack rehearse", path, fmt.Sprintf("--seed %d", r.Seed)}
	if o.from != "" {
		args = append(args, "--from "+o.from)
	}
	if o.patch {
		args = append(args, "--patch")
	}
	if o.census != "" {
		args = append(args, "--census "+o.census, fmt.Sprintf("--line %d", o.line))
	}
	for _, k := range o.deviceKeys {
		args = append(args, "--device-key "+k)
	}
	if o.exhaustive {
		args = append(args, "--exhaustive")
	}
	for _, f := range r.Failures {
		a.say("replay: %s --replay %s", strings.Join(args, " "), f.Replay)
	}
}

func newRehearsed(report *release.Report, start *release.Start, r *bootloader.Rehearsal, o *bootloader.Outcome, trust taken) *rehearsed {
	out := &rehearsed{
		Schema: "otapack.rehearse/1", Passed: o.Complete && len(o.Failures) == 0, Complete: o.Complete,
		Product: report.Product, ReleaseID: report.ReleaseID, Start: start, Patched: slices.ContainsFunc(r.Components, func(c bootloader.RehearsedComponent) bool { return c.Base != nil }), taken: trust,
		Seed: r.Seed, Grain: max(r.Grain, 1),
		Operations: o.Operations, CutPoints: o.CutPoints, Runs: o.Runs, SecondCuts: o.SecondCuts, Verified: o.Verified,
		Ways:            []rehearsedWay{},
		EndStates:       []endState{},
		Bricks:          o.Failed(verdict.RehearsalBrick),
		MixedPairs:      o.Failed(verdict.RehearsalVersions),
		UnverifiedBoots: o.Failed(verdict.RehearsalUnverified),
		CounterErrors:   o.Failed(verdict.RehearsalCounter),
		NotInstalled:    o.Failed(verdict.RehearsalNotInstalled, verdict.RehearsalNotReverted, verdict.RehearsalUnsettled),
		Failures:        []rehearseFailure{},
		FlippedBits:     flippedBits(o.Flipped),
	}
	if r.Grain == 0 {
		out.Grain = bootloader.DefaultGrain
	}
	for _, w := range o.Ways {
		out.Ways = append(out.Ways, rehearsedWay{w.Run.String(), w.Operations, w.CutPoints})
	}
	for _, e := range o.Ends {
		out.EndStates = append(out.EndStates, endState(e))
	}
	for _, f := range o.Failures {
		out.Failures = append(out.Failures, rehearseFailure{f.Reason, f.Detail, f.Runs, f.First.String()})
	}
	for _, w := range o.Wear {
		out.Wear = append(out.Wear, wear(w))
	}
	return out
}

// rehearsedText is the table for people.
func rehearsedText(r *rehearsed) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "release\t%s %s\n", r.Product, r.ReleaseID)
	for i, way := range r.Ways {
		title := ""
		if i == 0 {
			title = "power cuts"
		}
		fmt.Fprintf(w, "%s\t%s: at %d of %d flash operations\n", title, way.Way, way.CutPoints, way.Operations)
	}
	fmt.Fprintf(w, "seed\t%d\n", r.Seed)
	fmt.Fprintf(w, "runs\t%d, %d of them with a second cut\n", r.Runs, r.SecondCuts)
	for i, e := range r.EndStates {
		title := ""
		if i == 0 {
			title = "end states"
		}
		fmt.Fprintf(w, "%s\t%s: %d runs\n", title, e.State, e.Runs)
	}
	fmt.Fprintf(w, "bricks\t%d\n", r.Bricks)
	fmt.Fprintf(w, "mixed version pairs\t%d\n", r.MixedPairs)
	fmt.Fprintf(w, "unverified boots\t%d\n", r.UnverifiedBoots)
	fmt.Fprintf(w, "counter errors\t%d\n", r.CounterErrors)
	fmt.Fprintf(w, "not installed\t%d\n", r.NotInstalled)
	if n := r.FlippedBits; n.Bits > 0 {
		fmt.Fprintf(w, "flipped bits\t%d: %d harmless, %d refused, %d refused and recovered\n", n.Bits, n.Harmless, n.Refused, n.Recovered)
	}
	for _, c := range r.Wear {
		fmt.Fprintf(w, "wear of %s\t%d page erases, none more than %d times, %d journal places\n", c.Component, c.Erases, c.MostPage, c.Places)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

// replay makes one run and tells it.
func (a *app) replay(ctx context.Context, r *bootloader.Rehearsal, run bootloader.Run, svg string) error {
	p, err := r.Replay(ctx, run)
	if errors.Is(err, bootloader.ErrRun) {
		return usagef("--replay: %w", err)
	}
	if err != nil {
		return err
	}
	if svg != "" {
		if err := a.draw(p, svg); err != nil {
			return err
		}
	}
	out := replayed{
		Schema: "otapack.replay/1", Passed: p.Failure == nil, Run: run.String(), Seed: r.Seed,
		Operations: p.Operations, End: p.End, Events: []replayEvent{},
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, e := range p.Events {
		out.Events = append(out.Events, replayEvent{e.At, e.Component, e.Text})
		fmt.Fprintf(w, "%d\t%s\t  %s\n", e.At, e.Component, e.Text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "at rest: %s\n", p.End)
	if p.Failure == nil {
		return a.result(out, b.String())
	}
	if !a.json {
		fmt.Fprint(a.stdout, b.String())
	}
	return verdict.New(p.Failure.Reason, "power-loss rehearsal", "%s, in run %s", p.Failure.Detail, run)
}

// draw writes a picture of a run.
func (a *app) draw(p *bootloader.Replay, path string) error {
	set := atomicfile.NewSet(filepath.Dir(path))
	defer set.Abort() // after Commit it does nothing, before it the first error counts
	if err := set.Write(filepath.Base(path), drawRun(p)); err != nil {
		return err
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("drew run %s into %s", p.Run, path)
	return nil
}
