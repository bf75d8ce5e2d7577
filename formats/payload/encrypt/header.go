package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"fmt"
	"slices"
)

// Algorithm is a content encryption algorithm, by its COSE number.
type Algorithm int

// Content encryption algorithms (RFC 9459, section 4; RFC 9053, section 4.1).
const (
	A128CTR Algorithm = -65534 // AES-128 in counter mode, the profile's
	A128GCM Algorithm = 1      // AES-128-GCM with a 128-bit tag; opened, never made
)

// String returns the name in the COSE registry.
func (a Algorithm) String() string {
	switch a {
	case A128CTR:
		return "A128CTR"
	case A128GCM:
		return "A128GCM"
	}
	return fmt.Sprintf("Algorithm(%d)", int(a))
}

// ivSize returns the length in bytes of the algorithm's IV: a whole counter
// block for CTR, a nonce for GCM. It is 0 for unsupported algorithms.
func (a Algorithm) ivSize() int {
	switch a {
	case A128CTR:
		return aes.BlockSize
	case A128GCM:
		return gcmNonceSize
	}
	return 0
}

// KeyManagement says how a content key reaches a recipient, by its COSE number.
type KeyManagement int

// Key management algorithms (RFC 9053, sections 6.2.1 and 6.4.1).
const (
	ECDHESA128KW KeyManagement = -29 // ephemeral-static ECDH, HKDF-SHA-256, then key wrap
	A128KW       KeyManagement = -3  // key wrap with a key that both sides have
)

// String returns the name in the COSE registry.
func (m KeyManagement) String() string {
	switch m {
	case ECDHESA128KW:
		return "ECDH-ES+A128KW"
	case A128KW:
		return "A128KW"
	}
	return fmt.Sprintf("KeyManagement(%d)", int(m))
}

// MaxRecipients is how many recipients a Header may have. It bounds the work
// of a device that must try them all.
const MaxRecipients = 8

// Header is what a receiver needs beside its own key: the content of a SUIT
// encryption info. Nothing in it is secret and nothing in it is authentic by
// itself.
type Header struct {
	Algorithm  Algorithm
	IV         []byte       // CTR: the first counter block, 16 bytes; GCM: the nonce, 12 bytes
	Recipients []WrappedKey // 1 to MaxRecipients
}

// WrappedKey is one COSE_recipient: the content key, readable by one key.
type WrappedKey struct {
	Management KeyManagement
	KeyID      []byte // COSE kid, a hint; may be empty, of any length, and wrong
	// EphemeralX and EphemeralY are the coordinates of the sender's ephemeral
	// P-256 key, big endian; zero for A128KW.
	EphemeralX, EphemeralY [32]byte
	Wrapped                [24]byte // content key after RFC 3394
}

// Check reports the faults of a header that show without a key: ErrAlgorithm,
// ErrIV, ErrNoRecipients, ErrTooManyRecipients, ErrEphemeralKey. One bad
// recipient spoils the header, so that all devices come to the same verdict.
// Unwrap begins with the same check.
func (h Header) Check() error {
	_, err := h.check()
	return err
}

// check returns the recipients' ephemeral keys, nil where there is none.
func (h Header) check() ([]*ecdh.PublicKey, error) {
	if err := h.checkContent(); err != nil {
		return nil, err
	}
	switch n := len(h.Recipients); {
	case n == 0:
		return nil, fmt.Errorf("encrypt: header: %w", ErrNoRecipients)
	case n > MaxRecipients:
		return nil, fmt.Errorf("encrypt: header: %w: %d, at most %d", ErrTooManyRecipients, n, MaxRecipients)
	}
	points := make([]*ecdh.PublicKey, len(h.Recipients))
	for i := range h.Recipients {
		var err error
		if points[i], err = h.Recipients[i].ephemeralKey(); err != nil {
			return nil, fmt.Errorf("encrypt: header: recipient %d: %w", i, err)
		}
	}
	return points, nil
}

func (h Header) checkContent() error {
	switch want := h.Algorithm.ivSize(); {
	case want == 0:
		return fmt.Errorf("encrypt: header: %w: %v", ErrAlgorithm, h.Algorithm)
	case len(h.IV) != want:
		return fmt.Errorf("encrypt: header: %w: %d bytes, %v wants %d", ErrIV, len(h.IV), h.Algorithm, want)
	}
	return nil
}

// ephemeralKey checks that the coordinates are below the field prime and on the
// curve. Without that an attacker learns the device key from points of other
// curves. P-256 has prime order: no small subgroups remain.
func (w *WrappedKey) ephemeralKey() (*ecdh.PublicKey, error) {
	switch w.Management {
	case A128KW:
		if w.EphemeralX != [32]byte{} || w.EphemeralY != [32]byte{} {
			return nil, fmt.Errorf("%w: %v has none", ErrEphemeralKey, w.Management)
		}
		return nil, nil
	case ECDHESA128KW:
		key, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, w.EphemeralX[:], w.EphemeralY[:]))
		if err != nil {
			return nil, ErrEphemeralKey
		}
		return key, nil
	}
	return nil, fmt.Errorf("%w: %v", ErrAlgorithm, w.Management)
}

// clone returns a header that shares no memory with h.
func (h Header) clone() Header {
	h.IV = bytes.Clone(h.IV)
	h.Recipients = slices.Clone(h.Recipients)
	for i := range h.Recipients {
		h.Recipients[i].KeyID = bytes.Clone(h.Recipients[i].KeyID)
	}
	return h
}
