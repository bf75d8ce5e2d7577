package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func (a *app) vectorsCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "vectors <command>",
		Short: "Hold a bootloader against the published test vectors",
		Long: `Work with the published test vectors: inputs for bootloaders, the state of the
device, and the verdict that each must get. They are part of this program; no
project file and no token is needed. docs/bootloaders.md says how to hold a
bootloader against them, on the host and on the target.`,
	})
	c.AddCommand(a.vectorsLsCommand(), a.vectorsExportCommand(), a.vectorsRunCommand(), a.vectorsAnswerCommand())
	return c
}

// vectorsFilter says which cases are meant.
type vectorsFilter struct {
	families []string
	match    string
	verdict  string
	step     string
	reason   string
	source   string
}

func (f *vectorsFilter) flags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.families, "family", nil, "only this `family`: "+strings.Join(verdicts.Families(), ", ")+"; may be given several times")
	flags.StringVar(&f.match, "match", "", "only cases with this `text` in their id")
	flags.StringVar(&f.verdict, "verdict", "", "only cases to `accept or refuse`")
	flags.StringVar(&f.step, "step", "", "only cases that fail first in this `step`")
	flags.StringVar(&f.reason, "reason", "", "only cases that are refused for this `reason`")
	flags.StringVar(&f.source, "source", "", "only cases whose verdict is by `who`: "+strings.Join(verdicts.Sources(), ", "))
}

// load returns the families with the cases that are meant. No case is an error:
// who asked for some and gets none would take it for success.
func (f *vectorsFilter) load() ([]*verdicts.Family, error) {
	for flag, words := range map[string][]string{
		f.verdict: {verdicts.Accept, verdicts.Refuse}, f.source: verdicts.Sources(),
	} {
		if flag != "" && !slices.Contains(words, flag) {
			return nil, usagef("%q is none of %s", flag, strings.Join(words, ", "))
		}
	}
	names := f.families
	if len(names) == 0 {
		names = verdicts.Families()
	}
	var families []*verdicts.Family
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		family, err := verdicts.Load(name)
		if err != nil {
			return nil, usageError{err}
		}
		family.Cases = slices.DeleteFunc(family.Cases, func(c verdicts.Case) bool { return !f.takes(c) })
		if len(family.Cases) > 0 {
			families = append(families, family)
		}
	}
	if len(families) == 0 {
		return nil, usagef("no case is like that; otapack vectors ls lists them")
	}
	return families, nil
}

func (f *vectorsFilter) takes(c verdicts.Case) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return strings.Contains(c.ID, f.match) && is(f.verdict, c.Verdict) && is(f.step, c.Step) && is(f.reason, c.Reason) && is(f.source, c.Source)
}

// countCases words how many there are of each family.
func countCases(families []*verdicts.Family) string {
	total, parts := 0, []string{}
	for _, f := range families {
		total += len(f.Cases)
		parts = append(parts, fmt.Sprintf("%s %d", f.Name, len(f.Cases)))
	}
	return fmt.Sprintf("%d cases: %s", total, strings.Join(parts, ", "))
}

func (a *app) vectorsLsCommand() *cobra.Command {
	var f vectorsFilter
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the test vectors",
		Long: `List test vectors: the answer that each must get, who gave the verdict, the id,
and the one thing that is tested.`,
		Example: `  otapack vectors ls --family suit-stm32l4 --step sequence
  otapack vectors ls --source bootutil --verdict accept`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.vectorsLs(f) },
	}
	f.flags(c.Flags())
	return c
}

// vectorsLsResult is the answer of --json.
type vectorsLsResult struct {
	Schema string        `json:"schema"`
	Cases  []vectorsCase `json:"cases"`
}

type vectorsCase struct {
	ID          string         `json:"id"`
	Family      string         `json:"family"`
	Description string         `json:"description"`
	Want        vectors.Answer `json:"want"`
	Source      string         `json:"source"`
	Inputs      []vectorsInput `json:"inputs"`
}

type vectorsInput struct {
	Name string `json:"name"`
	verdicts.Content
}

func (a *app) vectorsLs(filter vectorsFilter) error {
	families, err := filter.load()
	if err != nil {
		return err
	}
	r := vectorsLsResult{Schema: "otapack.vectors-ls/1"}
	var b strings.Builder
	for _, f := range families {
		for _, c := range f.Cases {
			v := vectorsCase{ID: c.ID, Family: f.Name, Description: c.Description, Want: vectors.Want(c), Source: c.Source}
			for _, in := range c.Inputs {
				v.Inputs = append(v.Inputs, vectorsInput{in.Name, in.Content})
			}
			r.Cases = append(r.Cases, v)
			fmt.Fprintf(&b, "%-46s %-8s  %s\n%*s  %s\n", v.Want, c.Source, c.ID, 55, "", c.Description)
		}
	}
	a.say("%s", countCases(families))
	return a.result(r, b.String())
}
