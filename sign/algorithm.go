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
// On a value that is not Valid, Curve is nil, Hash 0, and SignatureSize and Digest
// panic.
type Algorithm int

const (
	// ESP256 is ECDSA on P-256 with SHA-256, COSE algorithm -9.
	ESP256 Algorithm = iota + 1
	// ESP384 is ECDSA on P-384 with SHA-384, COSE algorithm -51.
	ESP384
)

type algorithm struct {
	name  string
	curve elliptic.Curve
	hash  crypto.Hash
	cose  int64
}

var algorithms = map[Algorithm]algorithm{
	ESP256: {"esp256", elliptic.P256(), crypto.SHA256, -9},
	ESP384: {"esp384", elliptic.P384(), crypto.SHA384, -51},
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

// Curve returns the elliptic curve of the keys.
func (a Algorithm) Curve() elliptic.Curve { return algorithms[a].curve }

// Hash returns the hash that is applied to a message before it is signed.
func (a Algorithm) Hash() crypto.Hash { return algorithms[a].hash }

// COSE returns the number in the IANA registry "COSE Algorithms", 0 (reserved
// there) when a is not Valid.
func (a Algorithm) COSE() int64 { return algorithms[a].cose }

// FromCOSE returns the algorithm with the given COSE number. Others wrap
// ErrAlgorithm, the deprecated and not fully specified ones (-7 ES256, -35
// ES384) among them.
func FromCOSE(number int64) (Algorithm, error) {
	for a, p := range algorithms {
		if p.cose == number {
			return a, nil
		}
	}
	return 0, fmt.Errorf("sign: COSE algorithm %d: %w", number, ErrAlgorithm)
}

// scalarSize is the length of r and of s in bytes.
func (a Algorithm) scalarSize() int { return (a.Curve().Params().BitSize + 7) / 8 }

// SignatureSize returns the length in bytes of a signature in Raw form: 64 or 96.
func (a Algorithm) SignatureSize() int { return 2 * a.scalarSize() }

// Digest hashes a message with the algorithm's hash.
func (a Algorithm) Digest(message []byte) []byte {
	h := a.Hash().New()
	h.Write(message)
	return h.Sum(nil)
}
