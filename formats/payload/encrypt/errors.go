package encrypt

import "errors"

// Faults of keys and of the sender's input, to be tested with errors.Is.
var (
	ErrKey                = errors.New("unsupported key")
	ErrCurve              = errors.New("wrong curve")
	ErrKeyID              = errors.New("key id has an unsupported length")
	ErrDuplicateRecipient = errors.New("recipient key is given twice")
	ErrSpent              = errors.New("key material was used up or wiped")
)

// Faults of a Header that anybody can see without a key.
var (
	ErrAlgorithm         = errors.New("unsupported algorithm")
	ErrIV                = errors.New("initialization vector has the wrong length")
	ErrNoRecipients      = errors.New("no recipients")
	ErrTooManyRecipients = errors.New("too many recipients")
	ErrEphemeralKey      = errors.New("ephemeral key is not a point of P-256")
)

// Faults that take a key to find, and the bound of the payload.
var (
	// ErrUnwrap does not say which recipient was tried or which check it
	// failed: the answer must not help whoever sends modified headers.
	ErrUnwrap         = errors.New("no recipient block could be unwrapped")
	ErrAuthentication = errors.New("ciphertext does not authenticate")
	ErrTooLong        = errors.New("payload is too long")
)
