package detools

import "errors"

// Faults of a patch, to be tested with errors.Is.
var (
	ErrFormat    = errors.New("not a sequential patch that is compressed with CRLE or heatshrink")
	ErrTruncated = errors.New("patch ends early")
	ErrTrailing  = errors.New("patch goes on after its end")
	ErrLimit     = errors.New("patch asks for more memory or a longer image than allowed")
	ErrBase      = errors.New("patch reads outside of the old image")
	ErrCode      = errors.New("patch is malformed")
)
