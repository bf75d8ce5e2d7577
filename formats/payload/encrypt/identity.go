package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"fmt"
	"log/slog"
)

// redacted makes the types that hold keys print as "[redacted]" under every
// verb of fmt, in JSON and in log/slog. They hold the key behind a pointer as
// well, because fmt prints the unexported fields of an enclosing struct
// without asking their methods.
type redacted struct{}

// Format implements fmt.Formatter.
func (redacted) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// MarshalText implements encoding.TextMarshaler.
func (redacted) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// LogValue implements slog.LogValuer.
func (redacted) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// ContentKey is the AES-128 key of one payload. It prints as "[redacted]".
type ContentKey struct {
	redacted
	key *[keySize]byte // nil after Wipe
}

// Wipe overwrites the key. Readers that were made with it keep working.
func (k *ContentKey) Wipe() { wipe(&k.key) }

func wipe(key **[keySize]byte) {
	if *key != nil {
		clear((*key)[:])
		*key = nil
	}
}

// Identity is something that reads the content key out of a header: a device's
// private key, a key that both sides have, or the sender's memory of what it
// agreed on with a recipient.
//
// Unwrap checks the header first, see [Header.Check]. Then it tries the
// recipients whose key id matches its own, and after them all others, because
// key ids are hints. When none opens the error wraps ErrUnwrap. The caller
// wipes the key.
type Identity interface {
	Unwrap(h Header) (*ContentKey, error)
}

// unwrapAny is the loop of every Identity. kekFor returns the key encryption
// key for a recipient, which is wiped after use, or nil to pass it over.
func unwrapAny(h Header, id []byte, kekFor func(*WrappedKey, *ecdh.PublicKey) (*[keySize]byte, error)) (*ContentKey, error) {
	points, err := h.check()
	if err != nil {
		return nil, err
	}
	for _, hinted := range [...]bool{true, false} {
		for i := range h.Recipients {
			w := &h.Recipients[i]
			if bytes.Equal(w.KeyID, id) != hinted {
				continue
			}
			kek, err := kekFor(w, points[i])
			if err != nil {
				return nil, fmt.Errorf("encrypt: unwrap: %w", err)
			}
			if kek == nil {
				continue
			}
			block, err := aes.NewCipher(kek[:])
			clear(kek[:])
			if err != nil {
				return nil, fmt.Errorf("encrypt: unwrap: %w", err)
			}
			if key := unwrap(block, w.Wrapped); key != nil {
				return &ContentKey{key: key}, nil
			}
		}
	}
	return nil, fmt.Errorf("encrypt: header: %w", ErrUnwrap)
}

// NewIdentity returns the identity of a device's P-256 private key. It opens
// ECDH-ES+A128KW recipients and prints as "[redacted]". A key on another curve
// wraps ErrCurve.
func NewIdentity(key *ecdh.PrivateKey) (Identity, error) {
	if err := checkCurve("device key", key.PublicKey()); err != nil {
		return nil, err
	}
	to, err := NewRecipient(key.PublicKey())
	if err != nil {
		return nil, err
	}
	return &device{id: to.KeyID, key: key}, nil
}

type device struct {
	redacted
	id  []byte
	key *ecdh.PrivateKey
}

func (d *device) Unwrap(h Header) (*ContentKey, error) {
	return unwrapAny(h, d.id, func(_ *WrappedKey, ephemeral *ecdh.PublicKey) (*[keySize]byte, error) {
		if ephemeral == nil {
			return nil, nil
		}
		return deriveKEK(d.key, ephemeral)
	})
}

// KEK is an AES-128 key encryption key that sender and device share. It is the
// Identity for A128KW recipients and prints as "[redacted]".
type KEK struct {
	redacted
	id  []byte
	key *[keySize]byte // nil after Wipe
}

// NewKEK returns the identity of a shared key. The id is matched against key
// ids of recipients and may be nil.
func NewKEK(id []byte, key [keySize]byte) *KEK {
	return &KEK{id: bytes.Clone(id), key: &key}
}

// Wipe overwrites the key. Unwrap then returns ErrSpent.
func (k *KEK) Wipe() { wipe(&k.key) }

// Unwrap implements Identity.
func (k *KEK) Unwrap(h Header) (*ContentKey, error) {
	return unwrapAny(h, k.id, func(_ *WrappedKey, ephemeral *ecdh.PublicKey) (*[keySize]byte, error) {
		switch {
		case k.key == nil:
			return nil, ErrSpent
		case ephemeral != nil:
			return nil, nil
		}
		kek := *k.key
		return &kek, nil
	})
}

// senderView is the sender's view of one recipient.
type senderView struct {
	redacted
	id  []byte
	x   [32]byte       // of the ephemeral key
	kek *[keySize]byte // nil after Wipe
}

// Unwrap takes the decision of the device from the sender's side. The device's
// key agreement only sees the x coordinate of the ephemeral key, and y is
// determined by it but for the sign, so x alone decides whether it arrives at
// the same key encryption key.
func (s *senderView) Unwrap(h Header) (*ContentKey, error) {
	return unwrapAny(h, s.id, func(w *WrappedKey, ephemeral *ecdh.PublicKey) (*[keySize]byte, error) {
		switch {
		case s.kek == nil:
			return nil, ErrSpent
		case ephemeral == nil || w.EphemeralX != s.x:
			return nil, nil
		}
		kek := *s.kek
		return &kek, nil
	})
}
