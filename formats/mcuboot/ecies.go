package mcuboot

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// Encryption is how a content key reaches the bootloader. One build has one way.
type Encryption int

// Key exchanges (boot/bootutil/include/bootutil/enc_key_public.h). RSA-OAEP and
// AES key wrap are not made and not opened here.
const (
	NoEncryption      Encryption = iota // built without MCUBOOT_ENC_IMAGES: refuses encrypted images
	ECIESP256                           // TLV 0x32; MCUBOOT_ENCRYPT_EC256
	ECIESX25519                         // TLV 0x33; MCUBOOT_ENCRYPT_X25519
	ECIESX25519SHA512                   // TLV 0x34; also MCUBOOT_HMAC_SHA512, PSA crypto only
)

type encryption struct {
	name      string
	tlv       Type
	curve     ecdh.Curve
	hash      func() hash.Hash // of HKDF and HMAC
	publicLen int
	tagLen    int // also of the HMAC key
}

var encryptions = map[Encryption]encryption{
	ECIESP256:         {"ecies-p256", TypeEncP256, ecdh.P256(), sha256.New, 65, sha256.Size},
	ECIESX25519:       {"ecies-x25519", TypeEncX25519, ecdh.X25519(), sha256.New, 32, sha256.Size},
	ECIESX25519SHA512: {"ecies-x25519-sha512", TypeEncX25519H5, ecdh.X25519(), sha512.New, 32, sha512.Size},
}

// String returns the name for configuration files, for example "ecies-p256".
func (e Encryption) String() string {
	if e == NoEncryption {
		return "none"
	}
	if p, ok := encryptions[e]; ok {
		return p.name
	}
	return fmt.Sprintf("encryption(%d)", int(e))
}

// ParseEncryption is the inverse of Encryption.String.
func ParseEncryption(name string) (Encryption, error) {
	var names []string
	for e := NoEncryption; e <= ECIESX25519SHA512; e++ {
		if e.String() == name {
			return e, nil
		}
		names = append(names, e.String())
	}
	return 0, fmt.Errorf("mcuboot: encryption %q (known: %s): %w", name, strings.Join(names, ", "), ErrTarget)
}

// size returns the length of the TLV's value for AES keys of so many bytes: 113
// or 129, 80 or 96, 112 or 128.
func (p encryption) size(keySize int) int { return p.publicLen + p.tagLen + keySize }

// eciesInfo is the context of HKDF (boot/bootutil/src/encrypted.c).
const eciesInfo = "MCUBoot_ECIES_v1"

// derive returns the AES key that wraps the content key and the HMAC key, cut
// from HKDF over the shared secret without a salt.
func (p encryption) derive(private *ecdh.PrivateKey, public *ecdh.PublicKey, keySize int) (wrapKey, macKey []byte, err error) {
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, nil, err
	}
	defer clear(shared)
	okm, err := hkdf.Key(p.hash, shared, nil, eciesInfo, keySize+p.tagLen)
	if err != nil {
		return nil, nil, err
	}
	return okm[:keySize:keySize], okm[keySize:], nil
}

// wrap encrypts a content key: ephemeral public key, HMAC over what follows,
// content key in AES-CTR from a counter of zeros.
func (p encryption) wrap(contentKey []byte, to Recipient, random io.Reader) ([]byte, error) {
	if to.public == nil || to.public.Curve() != p.curve {
		return nil, verdict.New(verdict.EncryptionTLV, "mcuboot: recipient key", "is on %s, but %s needs %s", curveName(to.public), p.name, p.curve)
	}
	ephemeral, err := p.ephemeral(random)
	if err != nil {
		return nil, err
	}
	wrapKey, macKey, err := p.derive(ephemeral, to.public, len(contentKey))
	if err != nil {
		return nil, fmt.Errorf("mcuboot: recipient key: %w: %w", ErrKey, err)
	}
	defer clear(wrapKey)
	defer clear(macKey)
	stream, err := keystream(wrapKey)
	if err != nil {
		return nil, err
	}
	wrapped := make([]byte, len(contentKey))
	stream.XORKeyStream(wrapped, contentKey)
	mac := hmac.New(p.hash, macKey)
	mac.Write(wrapped)
	value := append(make([]byte, 0, p.size(len(contentKey))), ephemeral.PublicKey().Bytes()...)
	return append(mac.Sum(value), wrapped...), nil
}

func curveName(k *ecdh.PublicKey) string {
	if k == nil {
		return "no curve"
	}
	return fmt.Sprint(k.Curve())
}

// ephemeral draws a private key of 32 bytes, again when they are not one. It
// does not use GenerateKey, which may take its bytes from elsewhere than random.
func (p encryption) ephemeral(random io.Reader) (*ecdh.PrivateKey, error) {
	const tries = 16 // a P-256 key fails once in 2^32
	var seed [32]byte
	defer clear(seed[:])
	for range tries {
		if _, err := io.ReadFull(random, seed[:]); err != nil {
			return nil, fmt.Errorf("mcuboot: ephemeral key: %w", err)
		}
		if key, err := p.curve.NewPrivateKey(seed[:]); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("mcuboot: ephemeral key: the random source gives no key")
}

// unwrap decrypts the content key in a TLV whose length fits keySize.
func (p encryption) unwrap(value []byte, key DeviceKey, keySize int) ([]byte, error) {
	point, tag, wrapped := value[:p.publicLen], value[p.publicLen:p.publicLen+p.tagLen], value[p.publicLen+p.tagLen:]
	public, err := p.curve.NewPublicKey(point)
	if err != nil {
		return nil, verdict.Wrap(err, verdict.EphemeralPoint, "mcuboot: encryption TLV")
	}
	wrapKey, macKey, err := p.derive(key.private, public, keySize)
	if err != nil {
		return nil, verdict.Wrap(err, verdict.EphemeralPoint, "mcuboot: encryption TLV")
	}
	defer clear(wrapKey)
	defer clear(macKey)
	mac := hmac.New(p.hash, macKey)
	mac.Write(wrapped)
	if subtle.ConstantTimeCompare(mac.Sum(nil), tag) != 1 {
		return nil, verdict.New(verdict.KeyUnwrap, "mcuboot: encryption TLV", "the content key is for another device key")
	}
	stream, err := keystream(wrapKey)
	if err != nil {
		return nil, err
	}
	contentKey := make([]byte, keySize)
	stream.XORKeyStream(contentKey, wrapped)
	return contentKey, nil
}

// keystream is AES-CTR from a counter block of zeros. The loader counts in 32
// bits, which the 32-bit size of a payload never exhausts.
func keystream(key []byte) (cipher.Stream, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("mcuboot: %w", err)
	}
	return cipher.NewCTR(block, make([]byte, aes.BlockSize)), nil
}

// openKey finds the content key of a file for a device key, whichever exchange
// and key length the TLV is for.
func openKey(f *File, key DeviceKey) ([]byte, error) {
	if key.IsZero() {
		return nil, verdict.New(verdict.RecipientKeyMissing, object, "encrypted, and there is no device key")
	}
	for e := ECIESP256; e <= ECIESX25519SHA512; e++ {
		p := encryptions[e]
		value, ok := find(f.Unprotected, p.tlv)
		if !ok || p.curve != key.private.Curve() {
			continue
		}
		for _, keySize := range []int{16, 32} {
			if len(value) == p.size(keySize) {
				return p.unwrap(value, key, keySize)
			}
		}
		return nil, verdict.New(verdict.EncryptionTLV, object, "%s of %d bytes", p.tlv, len(value))
	}
	return nil, verdict.New(verdict.EncryptionTLV, object, "no encrypted content key for a device key on %s", key.private.Curve())
}

// Decrypt returns an encrypted image with its payload in the clear. Flags,
// encryption TLV and trailer stay, as in an image that imgtool makes with
// --clear: it can be programmed into the primary slot, and Reopen makes images
// for other devices of it.
//
// The payload is compared with the image hash, so that a wrong or damaged
// content key is noticed; signatures are for Verify.
func Decrypt(data []byte, key DeviceKey) ([]byte, error) {
	f, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if !f.Header.Flags.Encrypted() {
		return nil, verdict.New(verdict.EncryptionFlags, object, "is not encrypted")
	}
	contentKey, err := openKey(f, key)
	if err != nil {
		return nil, err
	}
	defer clear(contentKey)
	stream, err := keystream(contentKey)
	if err != nil {
		return nil, err
	}
	out := f.Encode()
	payload := out[f.Header.HeaderSize:f.Header.end()]
	stream.XORKeyStream(payload, payload)
	f.Payload = payload
	if err := f.checkHash(); err != nil {
		return nil, err
	}
	return out, nil
}

// checkHash compares the image, as it is, with each of its image hashes; there
// must be one.
func (f *File) checkHash() error {
	found := false
	for _, e := range f.Unprotected {
		algorithm, ok := hashTypes[e.Type]
		if !ok {
			continue
		}
		found = true
		if subtle.ConstantTimeCompare(f.hash(algorithm), e.Value) != 1 {
			return verdict.New(verdict.ImageDigestMismatch, object, "the payload in the clear does not have the image hash %s", e.Type)
		}
	}
	if !found {
		return verdict.New(verdict.ImageHashMissing, object, "no image hash")
	}
	return nil
}

func (f *File) hash(algorithm crypto.Hash) []byte {
	h := algorithm.New()
	h.Write(f.Header.append(nil))
	h.Write(f.Padding)
	h.Write(f.Payload)
	if f.Header.ProtectedSize != 0 {
		h.Write(appendArea(nil, magicProtected, f.Protected))
	}
	return h.Sum(nil)
}
