package sign_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/otapack/otapack/sign"
)

// rfc8032 is test 3 of RFC 8032, section 7.1.
const (
	rfc8032Seed      = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
	rfc8032Public    = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
	rfc8032Message   = "af82"
	rfc8032Signature = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac" +
		"18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)

func TestEd25519(t *testing.T) {
	s, err := sign.FromCrypto(ed25519.NewKeyFromSeed(unhex(t, rfc8032Seed)))
	if err != nil {
		t.Fatal(err)
	}
	public := s.Public()
	if der := unhex(t, "302a300506032b6570032100"+rfc8032Public); !bytes.Equal(public.DER(), der) {
		t.Errorf("SubjectPublicKeyInfo %x", public.DER())
	}
	for _, data := range [][]byte{public.DER(), public.PEM()} {
		if k, err := sign.ParsePublicKey(data); err != nil || !k.Equal(public) || k.Algorithm() != sign.Ed25519 || k.Point() != nil {
			t.Errorf("read back: %v, %v", k, err)
		}
	}
	message := unhex(t, rfc8032Message)
	signature := mustSign(t, s, message)
	if raw := unhex(t, rfc8032Signature); !bytes.Equal(signature.Encode(sign.Raw), raw) {
		t.Errorf("signature %x", signature.Encode(sign.Raw))
	}
	if err := public.Verify(message, signature); err != nil {
		t.Error(err)
	}
	if err := public.Verify([]byte("another"), signature); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("another message: %v", err)
	}
	if checked, err := sign.Checked(s, public); err != nil {
		t.Error(err)
	} else if !bytes.Equal(mustSign(t, checked, message).Encode(sign.Raw), signature.Encode(sign.Raw)) {
		t.Error("the checked signer signs otherwise")
	}
	for i := range signature.Encode(sign.Raw) {
		raw := signature.Encode(sign.Raw)
		raw[i] ^= 1
		if err := public.Verify(message, mustParse(t, sign.Ed25519, sign.Raw, raw)); !errors.Is(err, sign.ErrSignature) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func TestEd25519Algorithm(t *testing.T) {
	a, err := sign.ParseAlgorithm("ed25519")
	if err != nil || a != sign.Ed25519 || a.String() != "ed25519" || a.COSE() != -19 || a.CurveName() != "Ed25519" {
		t.Errorf("%v, %v, COSE %d", a, err, a.COSE())
	}
	if a.Prehashed() || a.Hash() != 0 || a.Curve() != nil || a.Digest([]byte("x")) != nil || a.SignatureSize() != 64 {
		t.Errorf("%s has a hash or a curve", a)
	}
	if !sign.ESP256.Prehashed() || sign.ESP256.CurveName() != "P-256" {
		t.Error("ESP256 has no hash")
	}
}

// Neither a digest nor another encoding makes an Ed25519 signature.
func TestEd25519Refuses(t *testing.T) {
	s := newKey(t, sign.Ed25519)
	for _, n := range []int{0, 32, 64} {
		if signature, err := s.SignDigest(t.Context(), make([]byte, n)); !errors.Is(err, sign.ErrNeedMessage) || !signature.IsZero() {
			t.Errorf("digest of %d bytes: %v, %v", n, signature, err)
		}
	}
	signature := mustSign(t, s, nil)
	if err := s.Public().VerifyDigest(nil, signature); !errors.Is(err, sign.ErrNeedMessage) {
		t.Errorf("verified a digest: %v", err)
	}
	if signature.Encode(sign.DER) != nil || signature.Encode(sign.LittleEndian) != nil {
		t.Error("has r and s")
	}
	for e, b := range map[sign.Encoding][]byte{
		sign.DER: make([]byte, 64), sign.LittleEndian: make([]byte, 64), 0: make([]byte, 64), sign.Raw: make([]byte, 63),
	} {
		if got, err := sign.ParseSignature(sign.Ed25519, e, b); !errors.Is(err, sign.ErrEncoding) || !got.IsZero() {
			t.Errorf("%s, %d bytes: %v, %v", e, len(b), got, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sign(cancelled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	// 64 bytes are a P-256 signature too.
	ecdsa := newKey(t, sign.ESP256)
	other := mustSign(t, ecdsa, nil)
	if err := s.Public().Verify(nil, other); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("an ECDSA signature: %v", err)
	}
	if err := ecdsa.Public().Verify(nil, signature); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("an Ed25519 signature under an ECDSA key: %v", err)
	}
	if err := s.Public().Verify(nil, sign.Signature{}); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("no signature: %v", err)
	}
}
