package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// checkStatus is how a check of hsm doctor came out.
type checkStatus string

const (
	checkOK      checkStatus = "ok"
	checkWarning checkStatus = "warning"
	checkFailed  checkStatus = "failed"
	checkSkipped checkStatus = "skipped" // something that it needs has failed
)

// check is one line of hsm doctor.
type check struct {
	ID     string      `json:"id"` // "module-file", "login.release", "key.fw"
	Status checkStatus `json:"status"`
	Detail string      `json:"detail"`        // what was found
	Fix    string      `json:"fix,omitempty"` // what to do about a failure or warning, one step a line
}

// finding is the outcome of a check.
type finding struct {
	status      checkStatus
	detail, fix string
	err         error // of a failure: decides the exit code
}

func found(format string, args ...any) finding {
	return finding{status: checkOK, detail: fmt.Sprintf(format, args...)}
}

func warning(detail, fix string) finding {
	return finding{status: checkWarning, detail: detail, fix: fix}
}

// failing is a failure; fix may have several lines.
func failing(err error, fix ...string) finding {
	return finding{checkFailed, strings.TrimPrefix(err.Error(), "hsm: "), strings.Join(fix, "\n"), err}
}

func skipping(why string) finding { return finding{status: checkSkipped, detail: why} }

// doctorError ends a run of hsm doctor in which something failed. It is the first
// failure to those who ask for the exit code.
type doctorError struct {
	first  error
	checks []check
}

func (e doctorError) Error() string {
	failed := 0
	for _, c := range e.checks {
		if c.Status == checkFailed {
			failed++
		}
	}
	return fmt.Sprintf("hsm doctor: %d of %d checks failed", failed, len(e.checks))
}

func (e doctorError) Unwrap() error { return e.first }

func (e doctorError) addTo(f *failure) { f.Checks = e.checks }

// report collects checks, and prints each as soon as it is known: the next one
// may wait for a device or a person.
type report struct {
	ctx    context.Context
	print  func(check)
	checks []check
	first  error // of the first failure
}

// run makes a check, unless one that it needs was not passed, and reports
// whether it was passed. Once the context is over it does nothing.
func (r *report) run(id string, f func() finding, needs ...string) bool {
	if r.ctx.Err() != nil {
		return false
	}
	var out finding
	if i := slices.IndexFunc(needs, func(need string) bool { return !r.passed(need) }); i >= 0 {
		out = skipping("needs " + checkName(needs[i]))
	} else {
		out = f()
	}
	if r.ctx.Err() != nil { // the check was interrupted, and says nothing
		return false
	}
	c := check{id, out.status, out.detail, out.fix}
	if r.checks = append(r.checks, c); r.first == nil {
		r.first = out.err
	}
	r.print(c)
	return r.passed(id)
}

func (r *report) passed(id string) bool {
	return slices.ContainsFunc(r.checks, func(c check) bool {
		return c.ID == id && (c.Status == checkOK || c.Status == checkWarning)
	})
}

// end is the error of the run.
func (r *report) end() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.first != nil {
		return doctorError{r.first, r.checks}
	}
	return nil
}

// checkName is an id as people read it: "login.release" is "login release".
func checkName(id string) string { return strings.Replace(id, ".", " ", 1) }

// text is a check as a line of a table whose first column has a width, with
// further lines below its last column.
func (c check) text(width int) string {
	status := string(c.Status)
	if c.Status == checkFailed {
		status = "FAILED" // to be found in a long log
	}
	margin := "\n" + strings.Repeat(" ", width+2+len(checkWarning)+2)
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s  %-*s  %s\n", width, checkName(c.ID), len(checkWarning), status, strings.ReplaceAll(c.Detail, "\n", margin))
	if c.Fix != "" {
		fmt.Fprintf(&b, "%s%s\n", margin[1:], "fix: "+strings.ReplaceAll(c.Fix, "\n", margin+"     "))
	}
	return b.String()
}
