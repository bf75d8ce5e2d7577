package mcuboot_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
)

// signer returns a published private key.
func signer(t testing.TB, name string) sign.Signer {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(derOf(t, name))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.FromCrypto(parsed.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func throwaway(t testing.TB, a sign.Algorithm) sign.Signer {
	t.Helper()
	s, err := sign.Throwaway(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func answers(t testing.TB, d *mcuboot.Draft, signers ...sign.Signer) []sign.Signature {
	t.Helper()
	by := map[sign.KeyID]sign.Signer{}
	for _, s := range signers {
		by[s.Public().ID()] = s
	}
	all, err := sign.Answer(t.Context(), d.Requests(), by)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func finish(t testing.TB, d *mcuboot.Draft, signers ...sign.Signer) []byte {
	t.Helper()
	b, err := d.Finish(answers(t, d, signers...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spki(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemKey(t testing.TB) []byte {
	t.Helper()
	return signer(t, "p256").Public().PEM()
}

func ecdhKey(t testing.TB, c elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &k.PublicKey
}

func sha256Of(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
