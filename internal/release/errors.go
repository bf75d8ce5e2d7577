package release

import (
	"errors"
	"fmt"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrExists says that this version was released before from other inputs.
	ErrExists = errors.New("version was released before with other content")
	// ErrChanged says that an output of an earlier release is not what its
	// record says any more.
	ErrChanged = errors.New("differs from the release record")
)

// InputError says that a file named in otapack.yaml cannot be used.
type InputError struct {
	Path string
	Err  error
}

// Error formats as "path: cause".
func (e *InputError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// Finding is one rule that a plan breaks.
type Finding struct {
	Reason verdict.Reason `json:"reason"`
	Object string         `json:"object"`
	Detail string         `json:"detail"`
}

// String formats as "object: detail (reason)".
func (f Finding) String() string { return fmt.Sprintf("%s: %s (%s)", f.Object, f.Detail, f.Reason) }

// PolicyError says that a plan breaks rules. It lists all of them.
type PolicyError struct{ Findings []Finding }

// Error joins the findings with "; ".
func (e *PolicyError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "; ")
}
