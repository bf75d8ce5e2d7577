package hsm

import (
	"crypto/aes"
	"errors"
	"fmt"
)

// ErrKeyPolicy is a secret key that is the right one and lets out what has to
// stay in the token.
var ErrKeyPolicy = errors.New("the key may do more than it should")

// Use is what a secret key is for, and the only thing it may do.
type Use int

// The uses.
const (
	Derivation Use = iota + 1 // CKA_DERIVE: a master key, from which device keys are derived
	Wrapping                  // CKA_WRAP: a transport key, under which device keys leave the token
)

// String returns "derivation" or "wrapping".
func (u Use) String() string {
	switch u {
	case Derivation:
		return "derivation"
	case Wrapping:
		return "wrapping"
	}
	return fmt.Sprintf("Use(%d)", int(u))
}

// SecretKeySpec says which AES-256 key to generate.
type SecretKeySpec struct {
	Label string // CKA_LABEL, not empty, not in use by a secret key
	ID    []byte // CKA_ID, not in use by a secret key; nil means 8 random bytes
	Use   Use
}

// SecretKeyInfo describes an AES key on a token. Beside its names these are
// statements of the module, and no proof of anything.
type SecretKeyInfo struct {
	Label string // CKA_LABEL, may be empty
	ID    []byte // CKA_ID, may be empty
	URI   URI    // token, serial, object, id and type=secret-key
	Size  int    // bytes
	Local State  // CKA_LOCAL: generated in the token

	// Opens tells whether a transport key can also open what it wrapped
	// (CKA_UNWRAP or CKA_DECRYPT). Then whoever may use the token can read every
	// device key that was ever wrapped under it.
	Opens State
}

// WrapperSpec says which keys a Wrapper uses, and for what.
type WrapperSpec struct {
	Transport URI // names an AES key by object, id or both
	// Master names the AES key that Derive uses. Without object and id there is
	// none, and Derive is an error.
	Master URI

	Generate bool // whether Generate will be called, so that its mechanism is looked for
	// Size is the security that is wanted of the keys, 16 or 32 bytes: a shorter
	// master or transport key is unfit.
	Size int
}

// WrapMechanism is the mechanism that a Wrapper wraps with. It is RFC 3394 for
// keys of 16, 24 and 32 bytes; modules differ about all other lengths.
const WrapMechanism = "CKM_AES_KEY_WRAP"

// KeyCheckSize is the length of a key check value in bytes.
const KeyCheckSize = 5

// KeyCheckValue returns the key check value of an AES key: the first
// KeyCheckSize bytes of AES-CMAC (RFC 4493) over 16 zero bytes, as ANSI
// X9.24-1:2017 has it for AES. An HSM that shows three bytes shows the first
// three of these.
func KeyCheckValue(key []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("hsm: key check value: %w", err)
	}
	// The message is one whole block, so the MAC is the encryption of K1 (RFC
	// 4493, section 2.4), and K1 is twice the encryption of zero.
	var l [aes.BlockSize]byte
	block.Encrypt(l[:], l[:])
	carry := l[0] >> 7
	for i := range l {
		l[i] <<= 1
		if i+1 < len(l) {
			l[i] |= l[i+1] >> 7 // not shifted yet
		}
	}
	l[aes.BlockSize-1] ^= 0x87 * carry
	block.Encrypt(l[:], l[:])
	return l[:KeyCheckSize], nil
}
