package sign

import "errors"

// Errors of this package, to be tested with errors.Is.
var (
	ErrAlgorithm   = errors.New("unsupported algorithm")
	ErrKey         = errors.New("unsupported public key")
	ErrCurve       = errors.New("key is on another curve")
	ErrEncoding    = errors.New("malformed signature")
	ErrSignature   = errors.New("signature does not verify")
	ErrDigestSize  = errors.New("digest has another length than the algorithm's hash")
	ErrNeedMessage = errors.New("algorithm signs messages, not digests")
	ErrKeyMismatch = errors.New("public half differs from the pinned key")
	ErrNoSigner    = errors.New("no signer for this key")
	ErrTrust       = errors.New("unusable trust set")
	ErrRevoked     = errors.New("signed by a revoked key")
	ErrThreshold   = errors.New("too few valid signatures")
)
