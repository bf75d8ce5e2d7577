package sign

import (
	"crypto"
	"crypto/elliptic"
	_ "crypto/sha256" // SHA-256 for ESP256
	_ "crypto/sha512" // SHA-384 for ESP384
	"fmt"
)

// Algorithm is a fully specified signature algorithm: curve and hash together
// (RFC 9864, section 2.1). A key has exactly one. The zero value is none.
//
// On a value that is not Valid, Curve and Digest are nil, Hash and SignatureSize
// 0.
type Algorithm int

const (
	// ESP256 is ECDSA on P-256 with SHA-256, COSE algorithm -9.
	ESP256 Algorithm = iota + 1
	// ESP384 is ECDSA on P-384 with SHA-384, COSE algorithm -51.
	ESP384
	// Ed25519 is EdDSA on edwards25519 (RFC 8032, section 5.1), COSE algorithm
	// -19; -8, "EdDSA", names no curve and is deprecated. It signs messages, not
	// digests: the hash is inside the algorithm, and Prehashed is false. Device
	// formats use it; no COSE message of this module does.
	Ed25519
)

type algorithm struct {
	name  string
	curve elliptic.Curve
	hash  crypto.Hash
	cose  int64
	size  int // of a signature in Raw form
}

var algorithms = map[Algorithm]algorithm{
	ESP256:  {"esp256", elliptic.P256(), crypto.SHA256, -9, 64},
	ESP384:  {"esp384", elliptic.P384(), crypto.SHA384, -51, 96},
	Ed25519: {name: "ed25519", cose: -19, size: 64},
}

// ParseAlgorithm is the inverse of Algorithm.String. Unknown names wrap
// ErrAlgorithm.
func ParseAlgorithm(name string) (Algorithm, error) {
	for a, p := range algorithms {
		if p.name == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("sign: algorithm %q: %w", name, ErrAlgorithm)
}

// String returns the lower-case registered name, for example "esp256".
func (a Algorithm) String() string {
	if p, ok := algorithms[a]; ok {
		return p.name
	}
	return fmt.Sprintf("algorithm(%d)", int(a))
}

// Valid reports whether a is one of the constants of this package.
func (a Algorithm) Valid() bool { _, ok := algorithms[a]; return ok }

// Prehashed reports whether what is signed is a digest made with Hash, as in
// ECDSA. Ed25519 signs the message itself.
func (a Algorithm) Prehashed() bool { return algorithms[a].hash != 0 }

// Curve returns the elliptic curve of an ECDSA algorithm, nil for Ed25519.
func (a Algorithm) Curve() elliptic.Curve { return algorithms[a].curve }

// CurveName returns "P-256", "P-384" or "Ed25519", "" when a is not Valid.
func (a Algorithm) CurveName() string {
	switch {
	case a == Ed25519:
		return "Ed25519"
	case a.Valid():
		return a.Curve().Params().Name
	}
	return ""
}

// Hash returns the hash that is applied to a message before it is signed, 0
// where there is none: Ed25519.
func (a Algorithm) Hash() crypto.Hash { return algorithms[a].hash }

// COSE returns the number in the IANA registry "COSE Algorithms", 0 (reserved
// there) when a is not Valid.
func (a Algorithm) COSE() int64 { return algorithms[a].cose }

// FromCOSE returns the algorithm of a COSE message by its number. Numbers that
// no message of this module carries wrap ErrAlgorithm: the deprecated and not
// fully specified ones (-7 ES256, -35 ES384, -8 EdDSA), and Ed25519 (-19).
func FromCOSE(number int64) (Algorithm, error) {
	for a, p := range algorithms {
		if p.cose == number && a.Prehashed() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("sign: COSE algorithm %d: %w", number, ErrAlgorithm)
}

// scalarSize is the length of r and of s in bytes.
func (a Algorithm) scalarSize() int { return a.SignatureSize() / 2 }

// SignatureSize returns the length in bytes of a signature in Raw form: 64 or 96.
func (a Algorithm) SignatureSize() int { return algorithms[a].size }

// Digest hashes a message with the algorithm's hash. It is nil where there is
// no such hash: see Prehashed.
func (a Algorithm) Digest(message []byte) []byte {
	if !a.Prehashed() {
		return nil
	}
	h := a.Hash().New()
	h.Write(message)
	return h.Sum(nil)
}
