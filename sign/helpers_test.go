package sign_test

import (
	"crypto/ecdsa"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
)

var algorithms = []sign.Algorithm{sign.ESP256, sign.ESP384}

var encodings = []sign.Encoding{sign.Raw, sign.DER, sign.LittleEndian}

// privateKey returns a fixed key, so that signatures with the nonce of RFC 6979
// (a nil reader) are the same in every run.
func privateKey(t testing.TB, a sign.Algorithm) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(a.Curve(), a.Digest([]byte("otapack test key"))[:a.SignatureSize()/2])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey(t testing.TB, a sign.Algorithm) sign.Signer {
	t.Helper()
	s, err := sign.Throwaway(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSign(t testing.TB, s sign.Signer, message []byte) sign.Signature {
	t.Helper()
	signature, err := s.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func mustParse(t testing.TB, a sign.Algorithm, e sign.Encoding, b []byte) sign.Signature {
	t.Helper()
	s, err := sign.ParseSignature(a, e, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unhex decodes digits with spaces between them.
func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rawBytes is r‖s, each reduced to the scalar size of a.
func rawBytes(a sign.Algorithm, r, s *big.Int) []byte {
	n := a.SignatureSize() / 2
	b := make([]byte, 2*n)
	r.FillBytes(b[:n])
	s.FillBytes(b[n:])
	return b
}
