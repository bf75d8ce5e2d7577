package encrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// keySize is the length in bytes of content keys and key encryption keys.
const keySize = 16

// kdfContext is the COSE_KDF_Context of ECDH-ES+A128KW (RFC 9053, section 5.2;
// draft-ietf-suit-firmware-encryption, section 6.2.4), 42 bytes:
//
//	[-3, [nil, nil, nil], [nil, nil, nil], [128, h'a101381c', 'SUIT Payload Encryption']]
const kdfContext = "\x84\x22\x83\xf6\xf6\xf6\x83\xf6\xf6\xf6\x83\x18\x80\x44\xa1\x01\x38\x1c\x57SUIT Payload Encryption"

// deriveKEK returns the key encryption key that two P-256 keys agree on:
// HKDF-SHA-256 without salt over the x coordinate of the shared point.
func deriveKEK(private *ecdh.PrivateKey, public *ecdh.PublicKey) (*[keySize]byte, error) {
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("key agreement: %w", err)
	}
	defer clear(shared)
	kek, err := hkdf.Key(sha256.New, shared, nil, kdfContext, keySize)
	if err != nil {
		return nil, fmt.Errorf("key derivation: %w", err)
	}
	return (*[keySize]byte)(kek), nil
}

// wrapIV is the initial value of RFC 3394, section 2.2.3.1.
const wrapIV = 0xa6a6a6a6a6a6a6a6

// wrap is AES key wrap (RFC 3394, section 2.2.1) of a 16-byte key: two
// semiblocks, six rounds.
func wrap(kek cipher.Block, key *[keySize]byte) (wrapped [24]byte) {
	var block [aes.BlockSize]byte // A, then the semiblock of step t
	defer clear(block[:])
	binary.BigEndian.PutUint64(block[:], wrapIV)
	copy(wrapped[8:], key[:])
	for t := 1; t <= 12; t++ {
		r := semiblock(&wrapped, t)
		copy(block[8:], r)
		kek.Encrypt(block[:], block[:])
		block[7] ^= byte(t)
		copy(r, block[8:])
	}
	copy(wrapped[:], block[:8])
	return wrapped
}

// unwrap undoes wrap (RFC 3394, section 2.2.2). It returns nil unless the
// integrity value is right.
func unwrap(kek cipher.Block, wrapped [24]byte) *[keySize]byte {
	var block [aes.BlockSize]byte
	defer clear(block[:])
	defer clear(wrapped[:])
	copy(block[:], wrapped[:8])
	for t := 12; t >= 1; t-- {
		r := semiblock(&wrapped, t)
		copy(block[8:], r)
		block[7] ^= byte(t)
		kek.Decrypt(block[:], block[:])
		copy(r, block[8:])
	}
	var want [8]byte
	binary.BigEndian.PutUint64(want[:], wrapIV)
	if subtle.ConstantTimeCompare(block[:8], want[:]) != 1 {
		return nil
	}
	key := [keySize]byte(wrapped[8:])
	return &key
}

// semiblock returns R[1] for odd and R[2] for even steps.
func semiblock(wrapped *[24]byte, t int) []byte { return wrapped[16-8*(t%2):][:8] }
