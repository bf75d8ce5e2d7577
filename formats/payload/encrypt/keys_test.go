package encrypt

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// asPEM encodes a private key as PKCS #8 and its public half as
// SubjectPublicKeyInfo.
func asPEM(t *testing.T, key interface{ Public() crypto.PublicKey }) (private, public []byte) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", pkcs8), block("PUBLIC KEY", spki)
}

func block(name string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})
}

func onCurve(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeyErrors(t *testing.T) {
	p256 := onCurve(t, elliptic.P256())
	private, public := asPEM(t, p256)
	spki, err := x509.MarshalPKIXPublicKey(p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	offCurve := bytes.Clone(spki)
	offCurve[len(offCurve)-1] ^= 1
	p224, p224Public := asPEM(t, onCurve(t, elliptic.P224()))
	p384, p384Public := asPEM(t, onCurve(t, elliptic.P384()))
	p521, p521Public := asPEM(t, onCurve(t, elliptic.P521()))
	x25519Key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, x25519Public := asPEM(t, x25519Key)
	_, ed25519Key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, edPublic := asPEM(t, ed25519Key)

	publicErr := func(data []byte) error { _, err := ParseRecipient(data); return err }
	privateErr := func(data []byte) error {
		id, err := ParseIdentity(data)
		if (id == nil) != (err != nil) {
			t.Errorf("identity %v with %v", id, err)
		}
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want error
		text string
	}{
		{"public: empty", publicErr(nil), ErrKey, "recipient key"},
		{"public: text", publicErr([]byte("hello")), ErrKey, "recipient key"},
		{"public: broken PEM", publicErr([]byte("-----BEGIN PUBLIC KEY-----\nAA")), ErrKey, "not valid PEM"},
		{"public: PEM around nonsense", publicErr(block("PUBLIC KEY", []byte{1, 2})), ErrKey, "recipient key"},
		{"public: data after the block", publicErr(append(bytes.Clone(public), "x"...)), ErrKey, "data after"},
		{"public: private key", publicErr(private), ErrKey, `PEM block is a "PRIVATE KEY", want "PUBLIC KEY"`},
		{"public: trailing bytes", publicErr(append(bytes.Clone(spki), 0)), ErrKey, "trailing"},
		{"public: not on the curve", publicErr(offCurve), ErrKey, ""},
		{"public: P-224", publicErr(p224Public), ErrCurve, "recipient key is on P-224, want P-256"},
		{"public: P-384", publicErr(p384Public), ErrCurve, "recipient key is on P-384, want P-256"},
		{"public: P-521", publicErr(p521Public), ErrCurve, "recipient key is on P-521, want P-256"},
		{"public: X25519", publicErr(x25519Public), ErrCurve, "recipient key is on X25519, want P-256"},
		{"public: Ed25519", publicErr(edPublic), ErrKey, "ed25519.PublicKey"},
		{"private: empty", privateErr(nil), ErrKey, "not valid PEM"},
		{"private: DER", privateErr(sec1), ErrKey, "not valid PEM"},
		{"private: only parameters", privateErr(block("EC PARAMETERS", []byte{5, 0})), ErrKey, "not valid PEM"},
		{"private: public key", privateErr(public), ErrKey, `PEM block is a "PUBLIC KEY"`},
		{"private: encrypted", privateErr(block("ENCRYPTED PRIVATE KEY", []byte{1})), ErrKey, `PEM block is a "ENCRYPTED PRIVATE KEY"`},
		{"private: PEM around nonsense", privateErr(block("PRIVATE KEY", []byte{1, 2})), ErrKey, "device key"},
		{"private: SEC 1 said to be PKCS #8", privateErr(block("PRIVATE KEY", sec1)), ErrKey, "device key"},
		{"private: two keys", privateErr(append(bytes.Clone(private), private...)), ErrKey, "data after"},
		{"private: P-224", privateErr(p224), ErrCurve, "device key is on P-224, want P-256"},
		{"private: P-384", privateErr(p384), ErrCurve, "device key is on P-384, want P-256"},
		{"private: P-521", privateErr(p521), ErrCurve, "device key is on P-521, want P-256"},
		{"private: X25519", privateErr(x25519), ErrCurve, "device key is on X25519, want P-256"},
		{"private: Ed25519", privateErr(ed), ErrKey, "ed25519.PrivateKey"},
	} {
		if !errors.Is(tt.err, tt.want) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: got %v, want %v with %q", tt.name, tt.err, tt.want, tt.text)
		}
	}
}

func TestKeys(t *testing.T) {
	key := onCurve(t, elliptic.P256())
	private, public := asPEM(t, key)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := block("EC PRIVATE KEY", der)
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})

	to, err := ParseRecipient(spki)
	if err != nil {
		t.Fatal(err)
	}
	fromPEM, err := ParseRecipient(append([]byte("\n"), public...))
	if err != nil || !fromPEM.Public.Equal(to.Public) || !bytes.Equal(fromPEM.KeyID, to.KeyID) {
		t.Errorf("PEM gives %v, %v, DER gives %v", fromPEM, err, to)
	}
	s := sealer(t, stream(""), to)
	for name, data := range map[string][]byte{
		"PKCS #8":                     private,
		"SEC 1":                       sec1,
		"SEC 1 behind its parameters": append(parameters, sec1...),
		"PKCS #8 in text":             append([]byte("Key of device 17\n"), private...),
	} {
		id, err := ParseIdentity(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := id.Unwrap(s.Header()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The expected value is of `openssl pkey -pubin -outform DER | sha256sum`.
func TestKeyID(t *testing.T) {
	to, err := ParseRecipient(vector(t, "suit/libcsuit/trust_anchor_secp256r1_pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex("ade2dad611717e91"); !bytes.Equal(to.KeyID, want) {
		t.Errorf("got %x, want %x", to.KeyID, want)
	}
}
