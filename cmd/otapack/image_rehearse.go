package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader/swap"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/sign/verdict"
)

// imageRehearseMCUboot are the flags of "image rehearse mcuboot".
type imageRehearseMCUboot struct {
	mcubootFlags
	keys     []string
	unsigned bool
	strict   bool
	cuts     *uint64
	second   *uint64
	seed     *uint64
}

// imageRehearseResult is the answer of --json.
type imageRehearseResult struct {
	Schema    string         `json:"schema"`
	Format    string         `json:"format"`
	Mode      string         `json:"mode"`
	Runs      int            `json:"runs"`
	Failed    int            `json:"failed"`       // without those of torn trailers
	Torn      int            `json:"torn_trailer"` // that fail after a torn write or erasure of a trailer
	Scenarios []swap.Outcome `json:"scenarios"`
}

func (a *app) imageRehearseMCUbootCommand() *cobra.Command {
	var o imageRehearseMCUboot
	c := &cobra.Command{
		Use:   "mcuboot --key <public-key>... <installed-image> <new-image>",
		Short: "Rehearse an MCUboot update with losses of power",
		Long: `Install an update as MCUboot does, with the slots, sectors and write size of the
chip, on simulated flash. The power fails before, after and in the middle of flash
operations, of all that write a trailer and of --cuts that move an image, and again
while the device recovers. In the end it has to run the old or the new image, whole;
an image that does not confirm itself has to be gone.

Modes: swap-move and overwrite-only. A trailer of MCUboot has neither checksum nor
copy: what follows when a write of it is torn is counted apart, and fails only with
--strict.`,
		Example: "  otapack image rehearse mcuboot -k fw.pub.pem --profile zephyr-swap-move -S 448KiB old.signed.bin new.signed.bin",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.imageRehearseMCUboot(cmd.Context(), o, args[0], args[1])
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key `file` that is compiled into the bootloader (repeatable)")
	f.BoolVar(&o.unsigned, "unsigned", false, "the bootloader verifies no signatures (MCUBOOT_SIGN_NONE)")
	f.BoolVar(&o.strict, "strict", false, "fail after torn trailers, too")
	numberFlag(f, &o.cuts, "cuts", "", math.MaxInt32, "about how `many` operations on images to cut, 0 for all (default 100)")
	numberFlag(f, &o.second, "second-cuts", "", 100, "`number` of runs for each cut in which the power fails again (default 1)")
	numberFlag(f, &o.seed, "seed", "", math.MaxUint64, "`number` that decides what is drawn (default 1)")
	o.target(f)
	return c
}

func (a *app) imageRehearseMCUboot(ctx context.Context, f imageRehearseMCUboot, old, next string) error {
	t, err := f.verifying(f.keys, f.unsigned)
	if err != nil {
		return err
	}
	r := swap.Rehearsal{Target: t, Cuts: 100, Second: 1, Seed: 1}
	if f.cuts != nil {
		r.Cuts = int(*f.cuts)
	}
	if f.second != nil {
		r.Second = int(*f.second)
	}
	if f.seed != nil {
		r.Seed = *f.seed
	}
	if r.Old, err = readImageFile(old); err != nil {
		return err
	}
	if r.New, err = readImageFile(next); err != nil {
		return err
	}
	if !a.quiet {
		bar := term.StartProgress(os.Stderr, "rehearsing")
		defer bar.Stop()
		start := time.Now()
		r.Progress = func(done, of int) { bar.Set("operations " + term.Meter(done, of, time.Since(start))) }
	}
	outcomes, err := r.Run(ctx)
	if errors.Is(err, mcuboot.ErrTarget) || errors.Is(err, swap.ErrLayout) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	return a.imageRehearsed(t.Mode, outcomes, f.strict)
}

// imageRehearsed prints what was found and says how it ended.
func (a *app) imageRehearsed(mode mcuboot.Mode, outcomes []swap.Outcome, strict bool) error {
	r := imageRehearseResult{Schema: "otapack.image-rehearse/1", Format: "mcuboot", Mode: mode.String(), Scenarios: outcomes}
	var failures []error
	for i := range outcomes {
		o := &outcomes[i]
		r.Runs += o.Runs
		r.Failed += o.Failures()
		for _, f := range o.Findings {
			if f.TornTrailer {
				r.Torn += f.Runs
			}
			if strict || !f.TornTrailer {
				failures = append(failures, verdict.New(f.Reason, string(o.Scenario), "%s: %s", rehearsedCuts(f), f.Detail))
			}
		}
	}
	if !a.json {
		fmt.Fprint(a.stdout, imageRehearsedText(outcomes))
	}
	if len(failures) > 0 {
		return imageRehearsalError{&release.RejectedError{Failures: failures}, r}
	}
	if r.Torn > 0 {
		a.say("warning: %s in which a torn trailer decides otherwise: MCUboot's trailers have neither checksum nor copy", countOf(r.Torn, "run"))
	}
	a.say("%s, each ends with one of the two images whole, but where a torn trailer decides", countOf(r.Runs, "run"))
	return a.result(r, "")
}

// imageRehearsalError carries what was rehearsed to the output.
type imageRehearsalError struct {
	error
	result imageRehearseResult
}

func (e imageRehearsalError) Unwrap() error    { return e.error }
func (e imageRehearsalError) addTo(f *failure) { f.Result = e.result }

// rehearsedCuts says where the power failed.
func rehearsedCuts(f swap.Finding) string {
	if f.First.Mode == "" {
		return "no cut"
	}
	s := fmt.Sprintf("%s operation %d, %s", f.First.Mode, f.First.Operation, f.First.Place)
	if f.Second != nil {
		s += fmt.Sprintf("; then %s operation %d, %s", f.Second.Mode, f.Second.Operation, f.Second.Place)
	}
	return s
}

func imageRehearsedText(outcomes []swap.Outcome) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "new firmware\toperations\tcut\truns\tend with old\tend with new\tfailed\ttorn trailer\tmost erasures\n")
	for i := range outcomes {
		o := &outcomes[i]
		torn := o.Runs - o.EndOld - o.EndNew - o.Failures()
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", o.Scenario, o.Operations, o.Cut, o.Runs, o.EndOld, o.EndNew, o.Failures(), torn, o.MaxErases)
	}
	for i := range outcomes {
		for _, f := range outcomes[i].Findings {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", outcomes[i].Scenario, f.Reason, countOf(f.Runs, "run"), rehearsedCuts(f))
		}
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}
