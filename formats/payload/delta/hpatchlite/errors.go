package hpatchlite

import "errors"

// Faults of a patch, to be tested with errors.Is.
var (
	ErrFormat    = errors.New("not an HPatchLite patch of version 1")
	ErrTruncated = errors.New("patch ends early")
	ErrTrailing  = errors.New("patch goes on after its end")
	ErrLimit     = errors.New("patch asks for more memory or a longer image than allowed")
	ErrBase      = errors.New("patch reads outside of the old image")
	ErrCode      = errors.New("patch is malformed")
)
