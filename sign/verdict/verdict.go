// Package verdict names why an input was refused.
//
// Every decoder and verifier of this module answers with the same vocabulary:
// a [Reason] is the code that a verifier returns, that the published test
// vectors expect, that --json prints and that the documentation lists. Codes
// are part of the command's interface: they are added, never renamed.
//
// A refusal is an [Error]. Callers that only need the code use [Of].
package verdict

import (
	"errors"
	"fmt"
	"strings"
)

// Reason is a stable, lower-case, hyphenated code such as "digest-mismatch".
type Reason string

// NoOffset marks an Error that is not tied to a byte position.
const NoOffset = -1

// Error says that an input was read and refused.
type Error struct {
	Reason Reason
	Object string // what was looked at, for example "manifest: common"
	Offset int64  // byte position in the input as given, or NoOffset
	Detail string // the observed fact, for example "got 33 bytes, want 32"
	Err    error  // cause, may be nil
}

// New returns an Error without an offset. The detail is formatted like
// fmt.Sprintf and may be empty.
func New(reason Reason, object, detail string, args ...any) *Error {
	return &Error{Reason: reason, Object: object, Offset: NoOffset, Detail: fmt.Sprintf(detail, args...)}
}

// At returns an Error that points at a byte offset.
func At(offset int64, reason Reason, object, detail string, args ...any) *Error {
	e := New(reason, object, detail, args...)
	e.Offset = offset
	return e
}

// Wrap returns an Error around a cause.
func Wrap(err error, reason Reason, object string) *Error {
	return &Error{Reason: reason, Object: object, Offset: NoOffset, Err: err}
}

// Error formats as "object: detail at offset n (reason): cause". Without a
// detail the cause takes its place.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Object != "" {
		b.WriteString(e.Object + ": ")
	}
	fact, cause := e.Detail, e.Err
	switch {
	case fact == "" && cause != nil:
		fact, cause = cause.Error(), nil
	case fact == "":
		fact = "refused"
	}
	b.WriteString(fact)
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " at offset %d", e.Offset)
	}
	fmt.Fprintf(&b, " (%s)", e.Reason)
	if cause != nil {
		fmt.Fprintf(&b, ": %v", cause)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the reason of the first Error in err's chain, or "" when err is
// nil or carries none.
func Of(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}
