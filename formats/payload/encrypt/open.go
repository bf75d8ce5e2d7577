package encrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
)

// MaxPayload is the length in bytes that Seal takes at most, 64 GiB: 2^32
// counter blocks.
const MaxPayload = 1 << 32 * aes.BlockSize

// MaxGCM is the length in bytes of the longest plaintext of OpenGCM.
const MaxGCM = 1 << 20

const (
	gcmNonceSize = 12
	gcmTagSize   = 16
)

// gcmAAD is the Enc_structure of A128GCM (RFC 9052, section 5.3):
//
//	["Encrypt", << {1: 1} >>, h'']
const gcmAAD = "\x83\x67Encrypt\x43\xa1\x01\x01\x40"

// keystream is AES-128-CTR up to the point where the last four bytes of the
// counter block would wrap. Past it a 32-bit hardware counter starts again at
// zero while software carries into the nonce: they would disagree, and one of
// them could reuse a block.
type keystream struct {
	stream cipher.Stream
	left   uint64 // bytes
}

func newKeystream(key *[keySize]byte, iv []byte) (*keystream, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	used := uint64(binary.BigEndian.Uint32(iv[aes.BlockSize-4:]))
	return &keystream{cipher.NewCTR(block, iv), (1<<32 - used) * aes.BlockSize}, nil
}

// xor is cipher.Stream.XORKeyStream with the bound. After an error it takes
// nothing more.
func (k *keystream) xor(dst, src []byte) error {
	if uint64(len(src)) > k.left {
		k.left = 0
		return ErrTooLong
	}
	k.left -= uint64(len(src))
	k.stream.XORKeyStream(dst, src)
	return nil
}

// NewReader returns the plaintext of an A128CTR ciphertext. Bytes are decrypted
// in place as they are read. They are not authentic until the caller has
// compared the digest of all of them, see the package documentation.
//
// The error wraps ErrAlgorithm for any other algorithm, ErrIV, or ErrSpent if
// the key was wiped. Reads wrap ErrTooLong once the 32-bit block counter would
// wrap.
func NewReader(src io.Reader, h Header, key *ContentKey) (io.Reader, error) {
	if err := h.checkOpen(A128CTR, key); err != nil {
		return nil, err
	}
	stream, err := newKeystream(key.key, h.IV)
	if err != nil {
		return nil, err
	}
	return &reader{src, stream}, nil
}

type reader struct {
	src    io.Reader
	stream *keystream
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if err := r.stream.xor(p[:n], p[:n]); err != nil {
		return 0, fmt.Errorf("encrypt: read: %w", err)
	}
	return n, err
}

// OpenGCM returns the plaintext of an A128GCM ciphertext with its 16-byte tag
// at the end.
//
// It wants all of it at once and at most MaxGCM bytes of plaintext (else
// ErrTooLong), because plaintext must not be released before the tag at the
// end was checked, so a stream would have to be held back as a whole anyway.
// The error wraps ErrAuthentication when the tag does not fit, ErrAlgorithm
// for any other algorithm, ErrIV, or ErrSpent if the key was wiped.
func OpenGCM(ciphertext []byte, h Header, key *ContentKey) ([]byte, error) {
	if err := h.checkOpen(A128GCM, key); err != nil {
		return nil, err
	}
	if len(ciphertext) > MaxGCM+gcmTagSize {
		return nil, fmt.Errorf("encrypt: open: %w: %d bytes, %v takes %d", ErrTooLong, len(ciphertext), A128GCM, MaxGCM+gcmTagSize)
	}
	block, err := aes.NewCipher(key.key[:])
	if err != nil {
		return nil, fmt.Errorf("encrypt: open: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("encrypt: open: %w", err)
	}
	plain, err := gcm.Open(nil, h.IV, ciphertext, []byte(gcmAAD))
	if err != nil {
		return nil, fmt.Errorf("encrypt: open: %w", ErrAuthentication)
	}
	return plain, nil
}

func (h Header) checkOpen(want Algorithm, key *ContentKey) error {
	if err := h.checkContent(); err != nil {
		return err
	}
	switch {
	case h.Algorithm != want:
		return fmt.Errorf("encrypt: open: %w: %v, want %v", ErrAlgorithm, h.Algorithm, want)
	case key.key == nil:
		return fmt.Errorf("encrypt: open: %w", ErrSpent)
	}
	return nil
}
