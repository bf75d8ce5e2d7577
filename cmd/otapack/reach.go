package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/internal/census"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/manifest"
)

func (a *app) reachCommand() *cobra.Command {
	var file string
	var allow bool
	c := &cobra.Command{
		Use:   "reach --census <file> <bundle>",
		Short: "Say which devices of the fleet would take a bundle",
		Long: `Hold a bundle against a census of the fleet: a CSV file with one line for each
class of devices, their number, and what each component has (docs/reach.md). For
every order in which the components could be updated, reach says how many devices
accept the release, how many need an intermediate version first, and how many
refuse it, and why.

A device accepts when the bootloader of every component makes all its checks, and
every combination of versions between two updates is allowed by the release
record. It needs an intermediate version when only such a combination is in the
way. The order of the release, marked with *, is the one that devices follow and
the one that the exit code is about: 0 when all accept, else 5.`,
		Example: `  otapack reach --census census.csv dist/1.4.2/toothbrush-1.4.2.ota
  otapack reach --census census.csv release.ota --allow-unreachable --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return usagef("--census is missing")
			}
			return a.reach(cmd.Context(), args[0], file, allow)
		},
	}
	f := c.Flags()
	f.StringVar(&file, "census", "", "CSV `file` with the devices in the field")
	f.BoolVar(&allow, "allow-unreachable", false, "exit 0 also when some devices do not accept")
	return c
}

// reachResult is the answer of --json.
type reachResult struct {
	Schema string `json:"schema"`
	*release.Reach
}

func (a *app) reach(ctx context.Context, path, file string, allow bool) error {
	project, err := a.openProject()
	if err != nil {
		return err
	}
	classes, err := readCensus(file, project)
	if err != nil {
		return err
	}
	f, size, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	reach, err := project.Reach(ctx, f, size, classes)
	if err != nil {
		return err
	}
	own := reach.Orders[0]
	if !a.json {
		if _, err := io.WriteString(a.stdout, reachText(reach)); err != nil {
			return err
		}
	}
	if n := reach.UnknownRecipients; n > 0 {
		a.say("warning: the census does not say which key these have, that they can decrypt is believed: %s", devices(n))
	}
	result := reachResult{"otapack.reach/1", reach}
	if findings := reachFindings(file, own); len(findings) > 0 && !allow {
		return resultError{&release.PolicyError{Findings: findings}, result}
	}
	return a.result(result, "")
}

// readCensus reads the devices in the field.
func readCensus(path string, project *release.Project) ([]census.Class, error) {
	in, _, err := openInput(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	classes, err := census.Parse(in, project.CensusParts())
	if err != nil {
		return nil, inputError(path, err)
	}
	return classes, nil
}

// reachFindings groups the classes that do not accept by their reason.
func reachFindings(file string, own release.OrderReach) []release.Finding {
	var found []release.Finding
	for _, reason := range slices.Sorted(maps.Keys(own.Reasons)) {
		for _, outcome := range []release.Outcome{release.Refuses, release.Intermediate} {
			var first *release.ClassReach
			var sum uint64
			for i, c := range own.Classes {
				if c.Reason != reason || c.Outcome != outcome {
					continue
				}
				if sum += c.Devices; first == nil {
					first = &own.Classes[i]
				}
			}
			if first == nil {
				continue
			}
			what := "refuse"
			if outcome == release.Intermediate {
				what = "need an intermediate version"
			}
			found = append(found, release.Finding{
				Reason: reason, Object: file,
				Detail: fmt.Sprintf("%s: %s, the first in line %d: %s: %s", what, devices(sum), first.Line, first.Component, first.Detail),
			})
		}
	}
	return found
}

func devices(n uint64) string {
	if n == 1 {
		return "1 device"
	}
	return fmt.Sprintf("%d devices", n)
}

// reachText is the table of orders, and of the classes that do not accept in the
// order of the release.
func reachText(r *release.Reach) string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s, %s in %d classes\n\n", r.ReleaseID, r.Product, devices(r.Devices), r.Classes)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "order\taccept\tintermediate\trefuse\n")
	for _, o := range r.Orders {
		mark := ""
		if o.InstallOrder {
			mark = " *"
		}
		fmt.Fprintf(w, "%s%s\t%d\t%d\t%d\n", strings.Join(o.Order, ", "), mark, o.Accepts, o.Intermediate, o.Refuses)
	}
	if own := r.Orders[0]; own.Accepts < r.Devices {
		fmt.Fprintf(w, "\nline\tdevices\toutcome\treason\twhy\n") // a line without tabs ends the columns above
		for _, c := range own.Classes {
			if c.Outcome != release.Accepts {
				fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s: %s\n", c.Line, c.Devices, c.Outcome, c.Reason, c.Component, c.Detail)
				for i, first := range c.First {
					word := "first"
					if i > 0 {
						word = "or"
					}
					fmt.Fprintf(w, "\t\t\t\t%s %s\n", word, versionsText(first))
				}
			}
		}
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

func versionsText(versions map[string]manifest.Version) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		parts = append(parts, name+" "+versions[name].String())
	}
	return strings.Join(parts, ", ")
}
