package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
)

// KeyID is the SHA-256 of a key's DER SubjectPublicKeyInfo (RFC 5280,
// section 4.1). It identifies a key everywhere in this module.
type KeyID [sha256.Size]byte

// HintSize is the length in bytes of a key hint.
const HintSize = 8

// Hint returns the first eight bytes of the id, the form in which a COSE "kid"
// header may carry it. It is unsigned: it only orders the keys to try.
func (id KeyID) Hint() [HintSize]byte { return [HintSize]byte(id[:HintSize]) }

// String formats as "sha256:" and 64 lower-case hexadecimal digits.
func (id KeyID) String() string { return "sha256:" + hex.EncodeToString(id[:]) }

// Short formats as "sha256:" and the hint in hexadecimal, for people.
func (id KeyID) Short() string { return "sha256:" + hex.EncodeToString(id[:HintSize]) }

// PublicKey is a verification key together with its only algorithm. The zero
// value holds no key and verifies nothing.
type PublicKey struct {
	algorithm Algorithm
	key       *ecdsa.PublicKey  // nil for Ed25519
	edwards   ed25519.PublicKey // Ed25519 only
	spki      []byte
	id        KeyID
}

// NewPublicKey takes an *ecdsa.PublicKey on P-256 or P-384, or an
// ed25519.PublicKey, and copies it. Keys of other types, without a curve or off
// their curve wrap ErrKey, keys on other curves ErrCurve. Who cannot use Ed25519
// keys has to look at the key's Algorithm.
func NewPublicKey(pub crypto.PublicKey) (PublicKey, error) {
	if edwards, ok := pub.(ed25519.PublicKey); ok {
		return newEd25519(edwards)
	}
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("sign: public key of type %T: %w", pub, ErrKey)
	}
	if key == nil || key.Curve == nil {
		return PublicKey{}, fmt.Errorf("sign: public key without a curve: %w", ErrKey)
	}
	for a, p := range algorithms {
		if p.curve != key.Curve {
			continue
		}
		point, err := key.Bytes() // also refuses points off the curve
		if err != nil {
			return PublicKey{}, fmt.Errorf("sign: public key: %w: %w", ErrKey, err)
		}
		// A copy of its own: the id must not outlive a change of pub.
		key, err = ecdsa.ParseUncompressedPublicKey(p.curve, point)
		if err != nil {
			return PublicKey{}, fmt.Errorf("sign: public key: %w: %w", ErrKey, err)
		}
		spki, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return PublicKey{}, fmt.Errorf("sign: public key: %w: %w", ErrKey, err)
		}
		return PublicKey{algorithm: a, key: key, spki: spki, id: sha256.Sum256(spki)}, nil
	}
	return PublicKey{}, fmt.Errorf("sign: public key on %s, want P-256 or P-384: %w", key.Params().Name, ErrCurve)
}

func newEd25519(key ed25519.PublicKey) (PublicKey, error) {
	if len(key) != ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("sign: Ed25519 public key of %d bytes, want %d: %w", len(key), ed25519.PublicKeySize, ErrKey)
	}
	key = bytes.Clone(key)
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("sign: public key: %w: %w", ErrKey, err)
	}
	return PublicKey{algorithm: Ed25519, edwards: key, spki: spki, id: sha256.Sum256(spki)}, nil
}

// ParsePublicKey reads a SubjectPublicKeyInfo, with an uncompressed point where
// the key is ECDSA, in DER, or in PEM as one "PUBLIC KEY" block with nothing but white space around
// it. Whatever is accepted has the DER method's bytes: the id is that of the
// key as it was given. Errors wrap ErrCurve for keys on P-224 and P-521, ErrKey
// for everything else.
func ParsePublicKey(data []byte) (PublicKey, error) {
	der := data
	if text := bytes.TrimSpace(data); bytes.HasPrefix(text, []byte("-----BEGIN")) {
		block, rest := pem.Decode(text)
		switch {
		case block == nil:
			return PublicKey{}, fmt.Errorf("sign: public key: not valid PEM: %w", ErrKey)
		case bytes.Count(text, []byte("-----BEGIN")) > 1: // pem.Decode steps over blocks that it cannot read
			return PublicKey{}, fmt.Errorf("sign: public key: more than one PEM block: %w", ErrKey)
		case block.Type != "PUBLIC KEY":
			return PublicKey{}, fmt.Errorf("sign: public key: PEM block is a %q, want \"PUBLIC KEY\": %w", block.Type, ErrKey)
		case len(block.Headers) > 0:
			return PublicKey{}, fmt.Errorf("sign: public key: PEM block with headers: %w", ErrKey)
		case len(bytes.TrimSpace(rest)) > 0:
			return PublicKey{}, fmt.Errorf("sign: public key: data after the PEM block: %w", ErrKey)
		}
		der = block.Bytes
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("sign: public key: %w: %w", ErrKey, err)
	}
	key, err := NewPublicKey(pub)
	if err != nil {
		return PublicKey{}, err
	}
	if !bytes.Equal(key.spki, der) { // crypto/x509 reads some encodings that are not DER
		return PublicKey{}, fmt.Errorf("sign: public key: not in its only DER form: %w", ErrKey)
	}
	return key, nil
}

// Algorithm returns the key's algorithm, 0 for the zero PublicKey.
func (k PublicKey) Algorithm() Algorithm { return k.algorithm }

// ID returns the key's identifier, all zero for the zero PublicKey.
func (k PublicKey) ID() KeyID { return k.id }

// IsZero reports whether k holds no key.
func (k PublicKey) IsZero() bool { return k.spki == nil }

// Equal reports whether both are the same key. Two zero values are not equal:
// no key is never the expected key.
func (k PublicKey) Equal(other PublicKey) bool {
	return !k.IsZero() && !other.IsZero() && subtle.ConstantTimeCompare(k.id[:], other.id[:]) == 1
}

// DER returns the SubjectPublicKeyInfo (RFC 5480, section 2; RFC 8410, section
// 4), nil for the zero PublicKey.
func (k PublicKey) DER() []byte { return bytes.Clone(k.spki) }

// PEM returns the SubjectPublicKeyInfo as a "PUBLIC KEY" block (RFC 7468,
// section 13), nil for the zero PublicKey.
func (k PublicKey) PEM() []byte {
	if k.IsZero() {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})
}

// Point returns the uncompressed curve point: 0x04, X, Y, both coordinates big
// endian and as long as the field (SEC 1, section 2.3.3), so 65 bytes for P-256
// and 97 for P-384. Ed25519 keys and the zero PublicKey have none: nil.
func (k PublicKey) Point() []byte {
	if k.key == nil {
		return nil
	}
	point, err := k.key.Bytes()
	if err != nil { // NewPublicKey has encoded the same point before
		return nil
	}
	return point
}

// Ed25519 returns the 32 bytes of an Ed25519 key (RFC 8032, section 5.1.2), nil
// for other keys.
func (k PublicKey) Ed25519() []byte {
	if k.algorithm != Ed25519 {
		return nil
	}
	return bytes.Clone(k.spki[len(k.spki)-ed25519.PublicKeySize:]) // RFC 8410, section 4
}

// Verify hashes message with the key's algorithm, where that has a hash, and
// checks a signature over it. An error wraps ErrSignature.
func (k PublicKey) Verify(message []byte, s Signature) error {
	if k.IsZero() {
		return fmt.Errorf("sign: verify without a key: %w", ErrSignature)
	}
	if k.algorithm == Ed25519 {
		// A signature of another algorithm is told apart: its length may fit.
		if s.algorithm != Ed25519 {
			return fmt.Errorf("sign: %s signature for a %s key: %w", s.algorithm, k.algorithm, ErrSignature)
		}
		if !ed25519.Verify(k.edwards, message, s.raw) {
			return fmt.Errorf("sign: key %s: %w", k.id.Short(), ErrSignature)
		}
		return nil
	}
	return k.VerifyDigest(k.algorithm.Digest(message), s)
}

// VerifyDigest checks a signature over a digest that the caller computed with
// the algorithm's hash. An error wraps ErrSignature, ErrDigestSize, or
// ErrNeedMessage for Ed25519.
func (k PublicKey) VerifyDigest(digest []byte, s Signature) error {
	switch {
	case k.IsZero():
		return fmt.Errorf("sign: verify without a key: %w", ErrSignature)
	case s.algorithm != k.algorithm:
		return fmt.Errorf("sign: %s signature for a %s key: %w", s.algorithm, k.algorithm, ErrSignature)
	case !k.algorithm.Prehashed():
		return fmt.Errorf("sign: %s: %w", k.algorithm, ErrNeedMessage)
	case len(digest) != k.algorithm.Hash().Size():
		return fmt.Errorf("sign: %s over %d bytes: %w", k.algorithm, len(digest), ErrDigestSize)
	}
	if !ecdsa.VerifyASN1(k.key, digest, s.Encode(DER)) {
		return fmt.Errorf("sign: key %s: %w", k.id.Short(), ErrSignature)
	}
	return nil
}
