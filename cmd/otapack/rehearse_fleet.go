package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
)

// fleetRehearsed is the answer of --json to --census.
type fleetRehearsed struct {
	Schema    string `json:"schema"`
	Passed    bool   `json:"passed"`
	Complete  bool   `json:"complete"` // not interrupted
	Product   string `json:"product"`
	ReleaseID string `json:"release_id"`

	Devices   uint64               `json:"devices"`   // in the census
	Rehearsed uint64               `json:"rehearsed"` // devices whose state was rehearsed in full
	Failing   uint64               `json:"failing"`   // devices among them from whose state a run fails
	Runs      int                  `json:"runs"`
	Starts    []fleetStart         `json:"starts"` // the most devices first
	Left      []release.ClassReach `json:"left"`   // that do not take the bundle, or have it
}

// fleetStart is what was rehearsed from one state.
type fleetStart struct {
	Lines     []int      `json:"lines"` // of the census
	Devices   uint64     `json:"devices"`
	Rehearsal *rehearsed `json:"rehearsal"`
}

// fleetError carries what was rehearsed to the output.
type fleetError struct {
	error
	rehearsed *fleetRehearsed
}

func (e fleetError) Unwrap() error    { return e.error }
func (e fleetError) addTo(f *failure) { f.Result = e.rehearsed }

// rehearseFleet rehearses a bundle from every state that devices are in.
func (a *app) rehearseFleet(ctx context.Context, path string, o rehearseOptions) error {
	project, err := a.openProject()
	if err != nil {
		return err
	}
	identities, _, err := a.deviceKeys(project, o.deviceKeys)
	if err != nil {
		return err
	}
	classes, err := readCensus(o.census, project)
	if err != nil {
		return err
	}
	f, size, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fleet, report, err := project.FleetRehearsal(ctx, f, size, release.RehearseOptions{Identities: identities, Patch: o.patch}, classes)
	if err != nil {
		return err
	}
	if o.line != 0 {
		fleet.Starts = slices.DeleteFunc(fleet.Starts, func(s release.FleetStart) bool { return !slices.Contains(s.Lines, o.line) })
	}
	if len(fleet.Starts) == 0 {
		return nobodyLeft(o, fleet.Left)
	}
	result := &fleetRehearsed{
		Schema: "otapack.rehearse-census/1", Passed: true, Complete: true, Product: report.Product, ReleaseID: report.ReleaseID,
		Devices: fleet.Devices, Starts: []fleetStart{}, Left: append([]release.ClassReach{}, fleet.Left...),
	}
	trust, err := a.sayTaken(ctx, report, fleet.Starts[0].Rehearsal)
	if err != nil {
		return err
	}
	var refusals []error
	for i, s := range fleet.Starts {
		o.apply(s.Rehearsal)
		if done, err := a.single(ctx, s.Rehearsal, o); done || err != nil {
			return err
		}
		part, failed, err := a.rehearseStart(ctx, report, s, trust, fmt.Sprintf("state %d of %d, ", i+1, len(fleet.Starts)))
		if part == nil {
			return err
		}
		result.add(s, part)
		refusals = append(refusals, failed...)
		if err != nil {
			result.Passed, result.Complete = false, false
			if !a.json {
				fmt.Fprint(a.stdout, result.text())
			}
			return fleetError{fmt.Errorf("rehearsal: stopped in state %d of %d of the fleet: %w", i+1, len(fleet.Starts), err), result}
		}
	}
	if !a.json {
		fmt.Fprint(a.stdout, result.text())
	}
	if len(refusals) > 0 {
		for _, s := range result.Starts {
			o.line = s.Lines[0]
			a.sayReplays(path, o, s.Rehearsal)
		}
		return fleetError{&release.RejectedError{Failures: refusals}, result}
	}
	return a.result(result, "")
}

// nobodyLeft says why there is nothing to rehearse.
func nobodyLeft(o rehearseOptions, left []release.ClassReach) error {
	for _, c := range left {
		switch {
		case o.line != 0 && c.Line != o.line, o.line == 0 && c.Outcome == release.Installed:
			continue
		case c.Outcome == release.Installed:
			return usagef("--line %d: its devices have the release already", c.Line)
		}
		return &release.PolicyError{Findings: []release.Finding{{
			Reason: c.Reason, Object: o.census, Detail: fmt.Sprintf("line %d: %s: %s", c.Line, c.Component, c.Detail),
		}}}
	}
	if o.line != 0 {
		return usagef("--line %d: %s has no devices there", o.line, o.census)
	}
	return inputError(o.census, errors.New("all devices have the release already"))
}

// rehearseStart rehearses one state. What was covered is nil when nothing was.
func (a *app) rehearseStart(ctx context.Context, report *release.Report, s release.FleetStart, trust taken, title string) (*rehearsed, []error, error) {
	if !a.quiet {
		progress := term.StartProgress(os.Stderr, "")
		defer progress.Stop()
		s.Rehearsal.Progress = func(done, total int) { progress.Set(title + bar(done, total)) }
	}
	outcome, err := s.Rehearsal.Run(ctx)
	if outcome == nil {
		return nil, nil, fmt.Errorf("census line %d: %w", s.Lines[0], err)
	}
	var refusals []error
	for _, r := range outcome.Refusals() {
		refusals = append(refusals, fmt.Errorf("census line %d: %w", s.Lines[0], r))
	}
	return newRehearsed(report, s.Start, s.Rehearsal, outcome, trust), refusals, err
}

func (r *fleetRehearsed) add(s release.FleetStart, part *rehearsed) {
	r.Starts = append(r.Starts, fleetStart{s.Lines, s.Devices, part})
	r.Runs += part.Runs
	if part.Complete {
		r.Rehearsed += s.Devices
	}
	if len(part.Failures) > 0 {
		r.Failing += s.Devices
		r.Passed = false
	}
}

// text is the table for people: the states that were rehearsed, and the classes
// that were not.
func (r *fleetRehearsed) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s %s, %s\n\n", r.Product, r.ReleaseID, devices(r.Devices))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "line\tdevices\tstart\tcuts\tof operations\truns\tbricks\tmixed\tunverified\tother\n")
	for _, s := range r.Starts {
		o := s.Rehearsal
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", lineList(s.Lines), s.Devices, startText(o), o.CutPoints, o.Operations,
			o.Runs, o.Bricks, o.MixedPairs, o.UnverifiedBoots, o.CounterErrors+o.NotInstalled)
	}
	if len(r.Left) > 0 {
		fmt.Fprint(w, "\nline\tdevices\tnot rehearsed\treason\twhy\n") // a line without tabs ends the columns above
	}
	for _, c := range r.Left {
		why := c.Detail
		if c.Component != "" {
			why = c.Component + ": " + c.Detail
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", c.Line, c.Devices, c.Outcome, c.Reason, why)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	fmt.Fprintf(&b, "\n%d runs for %s; from the states of %d of them a run fails\n", r.Runs, devices(r.Rehearsed), r.Failing)
	return b.String()
}

func lineList(all []int) string {
	text := make([]string, len(all))
	for i, n := range all {
		text[i] = fmt.Sprint(n)
	}
	return strings.Join(text, ",")
}

// startText says what devices have: "radio 1.4.1 (3), motor 1.4.0 (2)", and
// whether they receive a patch.
func startText(r *rehearsed) string {
	var parts []string
	for _, c := range r.Start.Components {
		parts = append(parts, fmt.Sprintf("%s %s (%d)", c.Name, c.Version, c.Sequence))
	}
	if r.Patched {
		parts = append(parts, "patched")
	}
	return strings.Join(parts, ", ")
}
