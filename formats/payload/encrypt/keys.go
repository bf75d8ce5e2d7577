package encrypt

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// MaxKeyID is the length bound of a recipient's key id in bytes.
const MaxKeyID = 16

// Recipient is a device key to encrypt to.
type Recipient struct {
	KeyID  []byte          // COSE kid, 1 to MaxKeyID bytes
	Public *ecdh.PublicKey // on P-256
}

// NewRecipient returns the recipient for a P-256 key, under the key id that
// KeyID gives it. A key on another curve wraps ErrCurve.
func NewRecipient(public *ecdh.PublicKey) (Recipient, error) {
	if err := checkCurve("recipient key", public); err != nil {
		return Recipient{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Recipient{}, fmt.Errorf("encrypt: recipient key: %w: %w", ErrKey, err)
	}
	id := sha256.Sum256(spki)
	return Recipient{KeyID: id[:8:8], Public: public}, nil
}

func checkCurve(object string, public *ecdh.PublicKey) error {
	switch {
	case public == nil:
		return fmt.Errorf("encrypt: %s is missing: %w", object, ErrKey)
	case public.Curve() != ecdh.P256():
		return fmt.Errorf("encrypt: %s is on %v, want P-256: %w", object, public.Curve(), ErrCurve)
	}
	return nil
}

// ParseRecipient reads a SubjectPublicKeyInfo in DER, or in PEM as one
// "PUBLIC KEY" block with nothing but white space after it. A key on another
// curve wraps ErrCurve, anything else that is not a P-256 key wraps ErrKey.
func ParseRecipient(data []byte) (Recipient, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN")) {
		block, rest := pem.Decode(data)
		switch {
		case block == nil:
			return Recipient{}, fmt.Errorf("encrypt: recipient key: not valid PEM: %w", ErrKey)
		case block.Type != "PUBLIC KEY":
			return Recipient{}, fmt.Errorf("encrypt: recipient key: PEM block is a %q, want \"PUBLIC KEY\": %w", block.Type, ErrKey)
		case len(bytes.TrimSpace(rest)) > 0:
			return Recipient{}, fmt.Errorf("encrypt: recipient key: data after the PEM block: %w", ErrKey)
		}
		der = block.Bytes
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Recipient{}, fmt.Errorf("encrypt: recipient key: %w: %w", ErrKey, err)
	}
	switch key := parsed.(type) {
	case *ecdh.PublicKey: // X25519
		return NewRecipient(key)
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() { // P-224 has no crypto/ecdh form
			return Recipient{}, fmt.Errorf("encrypt: recipient key is on %s, want P-256: %w", key.Params().Name, ErrCurve)
		}
		public, err := key.ECDH()
		if err != nil {
			return Recipient{}, fmt.Errorf("encrypt: recipient key: %w: %w", ErrKey, err)
		}
		return NewRecipient(public)
	}
	return Recipient{}, fmt.Errorf("encrypt: recipient key of type %T: %w", parsed, ErrKey)
}

// ParseIdentity reads a device's private key from PEM: PKCS #8 ("PRIVATE KEY")
// or SEC 1 ("EC PRIVATE KEY"), the latter also behind an "EC PARAMETERS" block
// as openssl writes it. A key on another curve wraps ErrCurve, anything else
// that is not a P-256 key wraps ErrKey.
func ParseIdentity(data []byte) (Identity, error) {
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return nil, fmt.Errorf("encrypt: device key: not valid PEM: %w", ErrKey)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("encrypt: device key: data after the PEM block: %w", ErrKey)
	}
	defer clear(block.Bytes)
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("encrypt: device key: PEM block is a %q, want \"PRIVATE KEY\" or \"EC PRIVATE KEY\": %w", block.Type, ErrKey)
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt: device key: %w: %w", ErrKey, err)
	}
	switch key := parsed.(type) {
	case *ecdh.PrivateKey: // X25519
		return NewIdentity(key)
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("encrypt: device key is on %s, want P-256: %w", key.Params().Name, ErrCurve)
		}
		private, err := key.ECDH()
		if err != nil {
			return nil, fmt.Errorf("encrypt: device key: %w: %w", ErrKey, err)
		}
		return NewIdentity(private)
	}
	return nil, fmt.Errorf("encrypt: device key of type %T: %w", parsed, ErrKey)
}
