package hsm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"fmt"

	"github.com/otapack/otapack/sign"
)

// ecCurve is a named curve as CKA_EC_PARAMS holds it: the DER of its object
// identifier (RFC 5480, section 2.1.1.1).
type ecCurve struct {
	name      string
	params    []byte
	curve     elliptic.Curve
	algorithm sign.Algorithm // 0: none in package sign
}

var ecCurves = []ecCurve{
	{"P-256", []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, elliptic.P256(), sign.ESP256},
	{"P-384", []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, elliptic.P384(), sign.ESP384},
	{"P-521", []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}, elliptic.P521(), 0},
}

// parseCurve reads CKA_EC_PARAMS. A curve that is not in ecCurves keeps a name
// to be shown and has no elliptic.Curve.
func parseCurve(params []byte) ecCurve {
	for _, c := range ecCurves {
		if bytes.Equal(c.params, params) {
			return c
		}
	}
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err == nil && len(rest) == 0 {
		return ecCurve{name: oid.String()}
	}
	return ecCurve{name: "unknown"}
}

// parsePublicKey builds the public key from CKA_EC_PARAMS and CKA_EC_POINT. The
// point is uncompressed and wrapped in a DER OCTET STRING (PKCS#11 v2.40,
// section 2.3.3 of the current mechanisms), or bare, as some modules give it;
// the lengths tell which. Errors wrap sign.ErrCurve or sign.ErrKey.
func parsePublicKey(params, point []byte) (sign.PublicKey, error) {
	c := parseCurve(params)
	if c.algorithm == 0 {
		return sign.PublicKey{}, fmt.Errorf("CKA_EC_PARAMS: curve %s: %w", c.name, sign.ErrCurve)
	}
	size := 1 + 2*((c.curve.Params().BitSize+7)/8)
	// For both curves the length fits one byte of DER.
	if len(point) == size+2 && point[0] == asn1.TagOctetString && int(point[1]) == size {
		point = point[2:]
	}
	if len(point) != size {
		return sign.PublicKey{}, fmt.Errorf("CKA_EC_POINT: %d bytes, want %d for %s: %w", len(point), size, c.name, sign.ErrKey)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(c.curve, point)
	if err != nil {
		return sign.PublicKey{}, fmt.Errorf("CKA_EC_POINT: %w: %w", sign.ErrKey, err)
	}
	return sign.NewPublicKey(key)
}
