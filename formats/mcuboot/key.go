package mcuboot

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // hashes of images and keys
	_ "crypto/sha512" // hashes of images and keys
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/otapack/otapack/sign"
)

// ErrKey says that a key cannot be read, or is of no use here.
var ErrKey = errors.New("unsupported key")

// SignatureType is what one bootloader build verifies. The zero value is none.
type SignatureType int

// Signature types. A build has exactly one (boot/bootutil/src/image_validate.c).
const (
	ECDSAP256   SignatureType = iota + 1 // over SHA-256; MCUBOOT_SIGN_EC256
	ECDSAP384                            // over SHA-384; MCUBOOT_SIGN_EC384, with PSA or custom crypto only
	Ed25519                              // over the bytes of the hash; MCUBOOT_SIGN_ED25519
	Ed25519Pure                          // over the image itself; also MCUBOOT_SIGN_PURE
	RSA2048                              // PSS over SHA-256; MCUBOOT_SIGN_RSA. Verified only
	RSA3072                              // the same. Verified only
	HashOnly                             // no signature: whoever can write the slot can boot from it
)

type signatureType struct {
	name   string
	tlv    Type           // of the signature
	hashes []Type         // of the image, the default first
	key    sign.Algorithm // 0 where package sign does not sign with it
}

var signatureTypes = map[SignatureType]signatureType{
	ECDSAP256:   {"ecdsa-p256", TypeECDSA, []Type{TypeSHA256}, sign.ESP256},
	ECDSAP384:   {"ecdsa-p384", TypeECDSA, []Type{TypeSHA384}, sign.ESP384},
	Ed25519:     {"ed25519", TypeEd25519, []Type{TypeSHA256, TypeSHA512}, sign.Ed25519},
	Ed25519Pure: {"ed25519-pure", TypeEd25519, []Type{TypeSHA512, TypeSHA256}, sign.Ed25519},
	RSA2048:     {"rsa-2048", TypeRSA2048, []Type{TypeSHA256}, 0},
	RSA3072:     {"rsa-3072", TypeRSA3072, []Type{TypeSHA256}, 0},
	HashOnly:    {"hash-only", 0, []Type{TypeSHA256, TypeSHA512}, 0},
}

// hashTypes has the TLV of each image hash. SHA-384 comes with ECDSAP384 only
// (boot/bootutil/include/bootutil/crypto/sha.h).
var hashTypes = map[Type]crypto.Hash{TypeSHA256: crypto.SHA256, TypeSHA384: crypto.SHA384, TypeSHA512: crypto.SHA512}

// String returns the name for configuration files, for example "ecdsa-p256".
func (s SignatureType) String() string {
	if p, ok := signatureTypes[s]; ok {
		return p.name
	}
	return fmt.Sprintf("signature-type(%d)", int(s))
}

// ParseSignatureType is the inverse of SignatureType.String.
func ParseSignatureType(name string) (SignatureType, error) {
	var names []string
	for s := ECDSAP256; s <= HashOnly; s++ {
		if s.String() == name {
			return s, nil
		}
		names = append(names, s.String())
	}
	return 0, fmt.Errorf("mcuboot: signature type %q (known: %s): %w", name, strings.Join(names, ", "), ErrTarget)
}

// Key is a public key as a bootloader holds it. The zero value is none.
type Key struct {
	der    []byte
	public sign.PublicKey // ECDSA and Ed25519
	rsa    *rsa.PublicKey // RSA
}

// NewKey returns the key that a bootloader holds for an ECDSA or Ed25519 key.
func NewKey(public sign.PublicKey) Key { return Key{der: public.DER(), public: public} }

// ParseKey reads a public key: a SubjectPublicKeyInfo in DER, or in PEM as one
// "PUBLIC KEY" block, or what "imgtool getpub -e raw" gives, which for RSA is the
// PKCS #1 RSAPublicKey. RSA keys have 2048 or 3072 bits. Errors wrap ErrKey, or
// sign.ErrCurve for keys on other curves.
func ParseKey(data []byte) (Key, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN")) {
		var err error
		if der, err = decodePEM(data, "public key", "PUBLIC KEY"); err != nil {
			return Key{}, err
		}
	}
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return newRSAKey(key)
	}
	if parsed, err := x509.ParsePKIXPublicKey(der); err == nil {
		if key, ok := parsed.(*rsa.PublicKey); ok {
			return newRSAKey(key)
		}
	}
	public, err := sign.ParsePublicKey(der)
	if err != nil {
		return Key{}, fmt.Errorf("mcuboot: %w: %w", ErrKey, err)
	}
	return NewKey(public), nil
}

func newRSAKey(key *rsa.PublicKey) (Key, error) {
	if n := key.Size(); n != 256 && n != 384 || key.N.BitLen() != 8*n {
		return Key{}, fmt.Errorf("mcuboot: RSA key of %d bits, want 2048 or 3072: %w", key.N.BitLen(), ErrKey)
	}
	return Key{der: x509.MarshalPKCS1PublicKey(key), rsa: key}, nil
}

// decodePEM returns the content of the only block.
func decodePEM(data []byte, what, want string) ([]byte, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("mcuboot: %s: not valid PEM: %w", what, ErrKey)
	case block.Type != want:
		return nil, fmt.Errorf("mcuboot: %s: PEM block is a %q, want %q: %w", what, block.Type, want, ErrKey)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("mcuboot: %s: data after the PEM block: %w", what, ErrKey)
	}
	return block.Bytes, nil
}

// DER returns the key as bootloaders embed it and hash it: SubjectPublicKeyInfo
// for ECDSA and Ed25519, 91, 120 or 44 bytes; PKCS #1 RSAPublicKey for RSA.
func (k Key) DER() []byte { return bytes.Clone(k.der) }

// Hash returns the hash of the key's DER, the value of a KEYHASH TLV.
func (k Key) Hash(h crypto.Hash) []byte {
	hash := h.New()
	hash.Write(k.der)
	return hash.Sum(nil)
}

// Verifies reports whether signatures of a type are made with this key.
func (k Key) Verifies(s SignatureType) bool {
	switch s {
	case RSA2048:
		return k.rsa != nil && k.rsa.Size() == 256
	case RSA3072:
		return k.rsa != nil && k.rsa.Size() == 384
	case ECDSAP256, ECDSAP384, Ed25519, Ed25519Pure:
		return k.public.Algorithm() == signatureTypes[s].key
	case HashOnly:
	}
	return false
}

// Public returns the key in the form of package sign, the zero PublicKey for RSA.
func (k Key) Public() sign.PublicKey { return k.public }

// String names the key by the first eight bytes of the SHA-256 of its DER.
func (k Key) String() string {
	if k.der == nil {
		return "no key"
	}
	return "sha256:" + hex.EncodeToString(k.Hash(crypto.SHA256)[:sign.HintSize])
}

// Recipient is the public half of a key that devices decrypt with, on P-256 or
// X25519.
type Recipient struct{ public *ecdh.PublicKey }

// ParseRecipient reads a SubjectPublicKeyInfo in DER, or in PEM as one "PUBLIC
// KEY" block. Errors wrap ErrKey.
func ParseRecipient(data []byte) (Recipient, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN")) {
		var err error
		if der, err = decodePEM(data, "recipient key", "PUBLIC KEY"); err != nil {
			return Recipient{}, err
		}
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Recipient{}, fmt.Errorf("mcuboot: recipient key: %w: %w", ErrKey, err)
	}
	switch key := parsed.(type) {
	case *ecdh.PublicKey: // X25519
		return Recipient{key}, nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return Recipient{}, fmt.Errorf("mcuboot: recipient key is on %s, want P-256 or X25519: %w", key.Params().Name, ErrKey)
		}
		public, err := key.ECDH()
		if err != nil {
			return Recipient{}, fmt.Errorf("mcuboot: recipient key: %w: %w", ErrKey, err)
		}
		return Recipient{public}, nil
	}
	return Recipient{}, fmt.Errorf("mcuboot: recipient key of type %T, want P-256 or X25519: %w", parsed, ErrKey)
}

// Public returns the key, nil for the zero Recipient.
func (r Recipient) Public() *ecdh.PublicKey { return r.public }

// DeviceKey is the private half, as a bootloader embeds it. It prints as
// "[redacted]".
type DeviceKey struct {
	redacted
	private *ecdh.PrivateKey
}

// ParseDeviceKey reads a private key on P-256 or X25519: PKCS #8 in DER, or in
// PEM as one "PRIVATE KEY" block. Errors wrap ErrKey.
func ParseDeviceKey(data []byte) (DeviceKey, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN")) {
		var err error
		if der, err = decodePEM(data, "device key", "PRIVATE KEY"); err != nil {
			return DeviceKey{}, err
		}
		defer clear(der)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return DeviceKey{}, fmt.Errorf("mcuboot: device key: %w: %w", ErrKey, err)
	}
	switch key := parsed.(type) {
	case *ecdh.PrivateKey: // X25519
		return DeviceKey{private: key}, nil
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return DeviceKey{}, fmt.Errorf("mcuboot: device key is on %s, want P-256 or X25519: %w", key.Params().Name, ErrKey)
		}
		private, err := key.ECDH()
		if err != nil {
			return DeviceKey{}, fmt.Errorf("mcuboot: device key: %w: %w", ErrKey, err)
		}
		return DeviceKey{private: private}, nil
	}
	return DeviceKey{}, fmt.Errorf("mcuboot: device key of type %T, want P-256 or X25519: %w", parsed, ErrKey)
}

// IsZero reports whether there is no key.
func (k DeviceKey) IsZero() bool { return k.private == nil }

// Recipient returns the public half.
func (k DeviceKey) Recipient() Recipient {
	if k.IsZero() {
		return Recipient{}
	}
	return Recipient{k.private.PublicKey()}
}

// redacted makes a type that holds secrets print as "[redacted]".
type redacted struct{}

// Format implements fmt.Formatter, whatever the verb.
func (redacted) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// MarshalText implements encoding.TextMarshaler.
func (redacted) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// LogValue implements slog.LogValuer.
func (redacted) LogValue() slog.Value { return slog.StringValue("[redacted]") }
