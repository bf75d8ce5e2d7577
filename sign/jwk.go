package sign

import (
	"encoding/base64"
	"fmt"
)

// joseNames are what JOSE calls a curve (RFC 7518, section 6.2.1.1) and its
// signature algorithm (section 3.1).
var joseNames = map[Algorithm]struct{ crv, alg string }{
	ESP256: {"P-256", "ES256"},
	ESP384: {"P-384", "ES384"},
}

// JWK returns the key as a JSON Web Key (RFC 7517) for signatures, one line with
// a final newline, nil for the zero PublicKey. Coordinates are big endian and as
// long as the field, in unpadded base64url (RFC 7518, section 6.2.1); the
// "kid" member is the key's id.
func (k PublicKey) JWK() []byte {
	if k.IsZero() {
		return nil
	}
	coordinate := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	if k.algorithm == Ed25519 { // RFC 8037, section 2
		return fmt.Appendf(nil, `{"kty":"OKP","crv":"Ed25519","x":"%s","use":"sig","alg":"EdDSA","kid":"%s"}`+"\n", coordinate(k.Ed25519()), k.id)
	}
	names, point := joseNames[k.algorithm], k.Point()[1:]
	// All values are of alphabets that JSON needs no escapes for.
	return fmt.Appendf(nil, `{"kty":"EC","crv":"%s","x":"%s","y":"%s","use":"sig","alg":"%s","kid":"%s"}`+"\n",
		names.crv, coordinate(point[:len(point)/2]), coordinate(point[len(point)/2:]), names.alg, k.id)
}
