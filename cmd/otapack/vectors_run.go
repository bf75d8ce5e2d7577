package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/internal/vectors"
)

// maxJobs bounds how many programs run at a time.
const maxJobs = 64

func (a *app) vectorsRunCommand() *cobra.Command {
	var f vectorsFilter
	var p vectors.Program
	c := &cobra.Command{
		Use:   "run [flags] <program> [<argument>]...",
		Short: "Ask a bootloader's verifier all test vectors",
		Long: `Run a program over the test vectors and report where it disagrees.

The program is started once for each case. On standard input it gets one line of
JSON with the state of the device and the paths of the input files (for its
fields see docs/bootloaders.md). It answers with one line on standard output:

  accept
  refuse <step> [<reason>]
  skip

and exits with 0 for accept and another status for refuse. A reason that is left
out is not compared. A case that is about something that the program was built
without, a template or an algorithm, is skipped; that is counted, and at least
one case must not be. With --stream one program for each job runs all the time:
it reads a case from every line and writes an answer for every line.

A program that crashes, says something else, or takes longer than --timeout gives
no answer, which is a disagreement. It gets the environment of otapack without
OTAPACK_PIN. Flags go before the program, what follows belongs to it.

"otapack vectors answer" is such a program: our reference verifiers.`,
		Example: `  otapack vectors run --family suit-nrf52840 ./build-host/verify
  otapack vectors run --verdict-only --source bootutil python3 imgtool_verify.py
  otapack vectors run --stream otapack vectors answer --stream`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.vectorsRun(cmd.Context(), f, p, args) },
	}
	c.Flags().SetInterspersed(false)
	f.flags(c.Flags())
	c.Flags().BoolVar(&p.Stream, "stream", false, "keep the program running, and ask in lines")
	c.Flags().BoolVar(&p.VerdictOnly, "verdict-only", false, "compare accept and refuse only, not steps and reasons")
	c.Flags().DurationVar(&p.Timeout, "timeout", 10*time.Second, "how `long` an answer may take")
	c.Flags().IntVarP(&p.Jobs, "jobs", "j", 0, "run `n` programs at a time (default one for each processor, at most 8)")
	return c
}

// vectorsRunResult is the answer of --json.
type vectorsRunResult struct {
	Schema    string            `json:"schema"`
	Program   []string          `json:"program"`
	Cases     int               `json:"cases"`
	Agree     int               `json:"agree"`
	Skipped   int               `json:"skipped"`
	Disagreed []vectors.Outcome `json:"disagreements"`
}

// errVectors says that a program and the vectors disagree.
var errVectors = errors.New("disagrees with the test vectors")

// vectorsError carries the disagreements to the output.
type vectorsError struct{ result vectorsRunResult }

func (e vectorsError) Error() string {
	if e.result.Skipped == e.result.Cases {
		return fmt.Sprintf("%s: it skipped all of %d cases: nothing was compared", e.result.Program[0], e.result.Cases)
	}
	return fmt.Sprintf("%s: %d of %d cases: %v", e.result.Program[0], len(e.result.Disagreed), e.result.Cases, errVectors)
}

func (e vectorsError) Unwrap() error    { return errVectors }
func (e vectorsError) addTo(f *failure) { f.Vectors = &e.result }

func (a *app) vectorsRun(ctx context.Context, filter vectorsFilter, p vectors.Program, args []string) error {
	switch {
	case p.Jobs < 0 || p.Jobs > maxJobs:
		return usagef("--jobs %d: want 1 to %d", p.Jobs, maxJobs)
	case p.Timeout <= 0:
		return usagef("--timeout %v: want more than 0", p.Timeout)
	}
	if p.Jobs == 0 {
		p.Jobs = min(runtime.NumCPU(), 8)
	}
	families, err := filter.load()
	if err != nil {
		return err
	}
	var tasks []vectors.Task
	for _, f := range families {
		for _, c := range f.Cases {
			tasks = append(tasks, vectors.Task{Family: f, Case: c})
		}
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fmt.Errorf("vectors: %w: %w", vectors.ErrStart, err)
	}
	p.Path, p.Args = path, args[1:]
	p.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OTAPACK_PIN") })
	outcomes, err := a.ask(ctx, p, tasks)
	if err != nil {
		return err
	}
	r := vectorsRunResult{Schema: "otapack.vectors-run/1", Program: args, Cases: len(outcomes), Disagreed: []vectors.Outcome{}}
	for _, o := range outcomes {
		switch o.Kind {
		case vectors.KindAgrees:
			r.Agree++
		case vectors.KindSkipped:
			r.Skipped++
		default:
			r.Disagreed = append(r.Disagreed, o)
		}
	}
	if r.Skipped == r.Cases {
		return vectorsError{r}
	}
	if len(r.Disagreed) > 0 {
		if !a.json {
			if err := a.disagreements(r.Disagreed); err != nil {
				return err
			}
		}
		return vectorsError{r}
	}
	text := fmt.Sprintf("agrees in all of %s\n", countCases(families))
	if r.Skipped > 0 {
		text = fmt.Sprintf("agrees in %d, skipped %d of %s\n", r.Agree, r.Skipped, countCases(families))
	}
	return a.result(r, text)
}

// ask runs the program with a progress bar.
func (a *app) ask(ctx context.Context, p vectors.Program, tasks []vectors.Task) ([]vectors.Outcome, error) {
	if a.quiet {
		return vectors.Run(ctx, p, tasks, func() {})
	}
	var done atomic.Int64
	start := time.Now()
	bar := term.StartProgress(os.Stderr, "cases "+term.Meter(0, len(tasks), 0))
	defer bar.Stop()
	return vectors.Run(ctx, p, tasks, func() {
		bar.Set("cases " + term.Meter(int(done.Add(1)), len(tasks), time.Since(start)))
	})
}

// vectorsKinds are the words of the table, the worst first.
var vectorsKinds = []struct {
	kind  vectors.Kind
	words string
}{
	{vectors.KindAccepted, "accepted, and must not be"},
	{vectors.KindRefused, "refused, and must not be"},
	{vectors.KindStep, "refused in another step"},
	{vectors.KindReason, "refused for another reason"},
	{vectors.KindNoAnswer, "no answer"},
}

// maxNoAnswer bounds how many cases without an answer the table has: a program
// that does not work at all gives none.
const maxNoAnswer = 20

// disagreements prints a table, the worst first.
func (a *app) disagreements(outcomes []vectors.Outcome) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, k := range vectorsKinds {
		n := 0
		for _, o := range outcomes {
			if o.Kind != k.kind {
				continue
			}
			if n++; n == 1 {
				fmt.Fprintf(w, "%s:\n", k.words)
			}
			switch {
			case o.Kind != vectors.KindNoAnswer:
				fmt.Fprintf(w, "  %s\twant %s\tgot %s\n", o.ID, o.Want, o.Got)
			case n <= maxNoAnswer:
				fmt.Fprintf(w, "  %s\twant %s\t%s\n", o.ID, o.Want, o.Detail)
			}
		}
		if k.kind == vectors.KindNoAnswer && n > maxNoAnswer {
			fmt.Fprintf(w, "  and %d more, see --json\n", n-maxNoAnswer)
		}
	}
	return w.Flush()
}
