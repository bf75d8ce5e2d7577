package delta

import "errors"

// Faults of patches, images and parameters, to be tested with errors.Is. Errors
// of a reader come through as they are.
var (
	ErrHeader    = errors.New("not a delta header")
	ErrVersion   = errors.New("unsupported version of the delta format")
	ErrParams    = errors.New("unusable delta parameters")
	ErrTooLong   = errors.New("image is too long")
	ErrLimit     = errors.New("patch asks for more than the limits allow")
	ErrOld       = errors.New("old image has another length than the patch says")
	ErrTruncated = errors.New("patch ends early")
	ErrTrailing  = errors.New("bytes after the end of the patch")
	ErrCorrupt   = errors.New("patch is damaged, or made for another old image")
	ErrState     = errors.New("not a state of this patch")
)
