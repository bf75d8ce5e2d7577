package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// imageVerifyResult is the answer of --json.
type imageVerifyResult struct {
	Schema   string       `json:"schema"`
	Format   string       `json:"format"`
	Accepted bool         `json:"accepted"`
	Complete bool         `json:"complete"` // no check was left out
	Version  string       `json:"version,omitempty"`
	Hash     string       `json:"hash,omitempty"`      // of the image as its header has it, hexadecimal
	SignedBy string       `json:"signed_by,omitempty"` // key id: SHA-256 of the public key's DER
	Checks   []imageCheck `json:"checks"`
	Warnings []string     `json:"warnings,omitempty"`
}

// imageCheck is one check of a vendor's bootloader.
type imageCheck struct {
	Image  string         `json:"image,omitempty"` // of several in a package
	Step   string         `json:"step"`
	Status string         `json:"status"`
	Reason verdict.Reason `json:"reason,omitempty"`
	Result string         `json:"result,omitempty"` // what a phone is told
	Detail string         `json:"detail,omitempty"`
}

// tracedResult begins an answer with the trace of a format's verifier.
func tracedResult[C any](format string, err error, trace []C, line func(C) imageCheck) imageVerifyResult {
	r := imageVerifyResult{Schema: "otapack.image-verify/1", Format: format, Accepted: err == nil, Checks: []imageCheck{}}
	for _, c := range trace {
		r.Checks = append(r.Checks, line(c))
	}
	return r
}

// checkLine is a line of a trace; formats name steps and statuses by types of
// their own.
func checkLine[S, T ~string](step S, status T, reason verdict.Reason, detail string) imageCheck {
	return imageCheck{Step: string(step), Status: string(status), Reason: reason, Detail: detail}
}

// keyHash is the identifier of a key in an answer.
func keyHash(k sign.PublicKey) string {
	sum := sha256.Sum256(k.DER())
	return hex.EncodeToString(sum[:])
}

// unusual warns of what the bootloader does not look at.
func (r *imageVerifyResult) unusual(err error) {
	if err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("not as the vendor's tool writes it, and the bootloader does not look there: %v", err))
	}
}

// imageVerifyError carries the checks to the output.
type imageVerifyError struct {
	error
	result imageVerifyResult
}

func (e imageVerifyError) Unwrap() error    { return e.error }
func (e imageVerifyError) addTo(f *failure) { f.Result = e.result }

// imageHints say what to do next after the refusal of a bootloader for which the
// general hints are not right, by format and code.
var imageHints = map[string]map[string]string{"sbsfu": sbsfuHints, "wolfboot": wolfBootHints}

// imageHintsFor returns the hints of the format whose bootloader refused.
func imageHintsFor(err error) (map[string]string, bool) {
	e, ok := errors.AsType[imageVerifyError](err)
	if !ok {
		return nil, false
	}
	own, ok := imageHints[e.result.Format]
	return own, ok
}

// imageVerdict prints the checks and says how it ended.
func (a *app) imageVerdict(path string, r imageVerifyResult, err error) error {
	if !a.json {
		fmt.Fprint(a.stdout, checksTable(r.Checks))
	}
	if err != nil {
		return imageVerifyError{fmt.Errorf("%s: %w", path, err), r}
	}
	for _, w := range r.Warnings {
		a.say("warning: %s", w)
	}
	what := path
	if r.Version != "" {
		what += ": version " + r.Version
	}
	if r.Complete {
		a.say("%s: the bootloader takes it", what)
	} else {
		a.say("%s: the bootloader takes it as far as the flags describe it", what)
	}
	return a.result(r, "")
}

func checksTable(checks []imageCheck) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		detail := c.Detail
		if c.Reason != "" { // the error line has the detail
			detail = string(c.Reason)
		}
		if c.Result != "" {
			detail += ", the phone is told " + c.Result
		}
		if detail != "" {
			detail = "\t" + detail
		}
		fmt.Fprintf(w, "%s\t%s%s\n", strings.TrimSpace(c.Image+" "+c.Step), c.Status, detail)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

// numbersFlag defines a flag for a number that may be given several times.
func numbersFlag(f *pflag.FlagSet, to *[]uint64, name, shorthand string, limit uint64, usage string) {
	f.FuncP(name, shorthand, usage, func(s string) error {
		n, err := parseNumber(s, limit)
		*to = append(*to, n)
		return err
	})
}

// eachOf demands that a flag is given never, once for all n things, or once for
// each of them.
func eachOf(flag string, given, n int, things string) error {
	if given > 1 && given != n {
		return usagef("--%s is given %d times for %d %s: once for all, or once for each", flag, given, n, things)
	}
	return nil
}

// nth is what such a flag says of thing i; the zero value when it is not given.
func nth[V any](values []V, i int) (v V) {
	switch {
	case len(values) == 1:
		return values[0]
	case i < len(values):
		return values[i]
	}
	return v
}
