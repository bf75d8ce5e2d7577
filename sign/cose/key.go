package cose

import (
	"fmt"

	"github.com/otapack/otapack/sign"
)

// Parameters of a COSE_Key beside those of an ephemeral one (RFC 9052, section
// 7.1).
const (
	keyID        = 2
	keyAlgorithm = 3

	keyTypeOKP      = 1 // RFC 9053, section 7.2
	keyCurveEd25519 = 6
)

// keyCurves are the numbers in the IANA registry "COSE Elliptic Curves".
var keyCurves = map[sign.Algorithm]int64{sign.ESP256: keyCurveP256, sign.ESP384: 2}

// EncodeKey returns a public key as a COSE_Key in deterministic CBOR: key type
// EC2, key identifier, algorithm, curve, and both coordinates, big endian and as
// long as the field; for Ed25519 an OKP key with the 32 bytes of RFC 8032. The key identifier is the hint that manifests carry
// (sign.KeyID.Hint). The zero PublicKey wraps sign.ErrKey.
func EncodeKey(k sign.PublicKey) ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("cose: key: %w", sign.ErrKey)
	}
	hint := k.ID().Hint()
	if x := k.Ed25519(); x != nil {
		return Marshal(map[int64]any{keyType: keyTypeOKP, keyID: hint[:], keyAlgorithm: k.Algorithm().COSE(), keyCurve: keyCurveEd25519, keyX: x})
	}
	point := k.Point()[1:]
	return Marshal(map[int64]any{
		keyType:      keyTypeEC2,
		keyID:        hint[:],
		keyAlgorithm: k.Algorithm().COSE(),
		keyCurve:     keyCurves[k.Algorithm()],
		keyX:         point[:len(point)/2],
		keyY:         point[len(point)/2:],
	})
}
