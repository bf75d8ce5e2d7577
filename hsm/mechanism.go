package hsm

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// Mechanism is one that a token offers (C_GetMechanismInfo).
type Mechanism struct {
	Code uint // CK_MECHANISM_TYPE
	// MinKeySize and MaxKeySize bound the keys, in bits or bytes as PKCS#11
	// says for the mechanism: bits for elliptic curves, bytes for AES.
	MinKeySize, MaxKeySize uint
}

// Name returns "CKM_ECDSA", or a number for those that are of no use here.
func (m Mechanism) Name() string { return mechanismName(m.Code) }

// mechanismNames are those that this package uses, and their kin that tell
// operators what a token is good for (PKCS#11 v3.0 current mechanisms).
var mechanismNames = map[uint]string{
	pkcs11.CKM_EC_KEY_PAIR_GEN:        "CKM_EC_KEY_PAIR_GEN",
	pkcs11.CKM_ECDSA:                  "CKM_ECDSA",
	pkcs11.CKM_ECDSA_SHA256:           "CKM_ECDSA_SHA256",
	pkcs11.CKM_ECDSA_SHA384:           "CKM_ECDSA_SHA384",
	pkcs11.CKM_ECDH1_DERIVE:           "CKM_ECDH1_DERIVE",
	0x1055:                            "CKM_EC_EDWARDS_KEY_PAIR_GEN", // PKCS#11 v3.0, which miekg/pkcs11 does not have
	0x1057:                            "CKM_EDDSA",
	pkcs11.CKM_RSA_PKCS:               "CKM_RSA_PKCS",
	pkcs11.CKM_RSA_PKCS_PSS:           "CKM_RSA_PKCS_PSS",
	pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN:  "CKM_RSA_PKCS_KEY_PAIR_GEN",
	pkcs11.CKM_AES_KEY_GEN:            "CKM_AES_KEY_GEN",
	pkcs11.CKM_AES_ECB:                "CKM_AES_ECB",
	pkcs11.CKM_AES_CMAC:               "CKM_AES_CMAC",
	pkcs11.CKM_AES_ECB_ENCRYPT_DATA:   "CKM_AES_ECB_ENCRYPT_DATA",
	pkcs11.CKM_AES_KEY_WRAP:           "CKM_AES_KEY_WRAP",
	pkcs11.CKM_AES_KEY_WRAP_PAD:       "CKM_AES_KEY_WRAP_PAD",
	pkcs11.CKM_GENERIC_SECRET_KEY_GEN: "CKM_GENERIC_SECRET_KEY_GEN",
}

func mechanismName(code uint) string {
	if name, ok := mechanismNames[code]; ok {
		return name
	}
	return fmt.Sprintf("CKM 0x%08X", code)
}

// mechanismOf names what CKA_KEY_GEN_MECHANISM holds: a CK_ULONG, whose value
// of all ones is CK_UNAVAILABLE_INFORMATION.
func mechanismOf(value []byte) string {
	var code uint64
	switch {
	case len(value) != int(unsafe.Sizeof(uint(0))):
		return ""
	case len(value) == 4:
		code = uint64(binary.NativeEndian.Uint32(value))
	default:
		code = binary.NativeEndian.Uint64(value)
	}
	if uint(code) == ^uint(0) {
		return ""
	}
	return mechanismName(uint(code))
}

// missing names the mechanism that a token does not have.
func missing(code uint, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrMechanism, mechanismName(code), err)
}
