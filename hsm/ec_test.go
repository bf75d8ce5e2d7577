package hsm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/otapack/otapack/sign"
)

func TestParsePublicKey(t *testing.T) {
	point := func(c ecdh.Curve) []byte {
		key, err := c.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key.PublicKey().Bytes()
	}
	p256, p384, p521 := point(ecdh.P256()), point(ecdh.P384()), point(ecdh.P521())
	params256, params384, params521 := ecCurves[0].params, ecCurves[1].params, ecCurves[2].params
	octets := func(b []byte) []byte { return append([]byte{0x04, byte(len(b))}, b...) }
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		return b
	}
	compressed := append([]byte{0x02}, p256[1:33]...)
	koblitz, _ := hex.DecodeString("06052b8104000a")

	for _, c := range []struct {
		name          string
		params, point []byte
		algorithm     sign.Algorithm
		want          error
	}{
		{"P-256 in DER", params256, octets(p256), sign.ESP256, nil},
		{"P-256 bare", params256, p256, sign.ESP256, nil},
		{"P-384 in DER", params384, octets(p384), sign.ESP384, nil},
		{"P-384 bare", params384, p384, sign.ESP384, nil},
		{"no params", nil, p256, 0, sign.ErrCurve},
		{"params with a byte after", append(bytes.Clone(params256), 0), p256, 0, sign.ErrCurve},
		{"another curve", koblitz, p256, 0, sign.ErrCurve},
		{"unsupported curve", params521, p521, 0, sign.ErrCurve},
		{"no point", params256, nil, 0, sign.ErrKey},
		{"not on the curve", params256, octets(flip(p256)), 0, sign.ErrKey},
		{"point of another curve", params256, octets(p384), 0, sign.ErrKey},
		{"compressed", params256, octets(compressed), 0, sign.ErrKey},
		{"infinity", params256, octets([]byte{0}), 0, sign.ErrKey},
		{"cut", params256, octets(p256)[:66], 0, sign.ErrKey},
		{"byte after", params256, append(octets(p256), 0), 0, sign.ErrKey},
		{"long-form length", params256, append([]byte{0x04, 0x81, 0x41}, p256...), 0, sign.ErrKey},
		{"wrong tag", params256, append([]byte{0x03, 0x41}, p256...), 0, sign.ErrKey},
		{"wrapped twice", params256, octets(octets(p256)), 0, sign.ErrKey},
	} {
		got, err := parsePublicKey(c.params, c.point)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if got.Algorithm() != c.algorithm {
			t.Errorf("%s: %s", c.name, got.Algorithm())
		}
		if err == nil && !bytes.HasSuffix(c.point, got.Point()) {
			t.Errorf("%s: another point", c.name)
		}
	}
	if name := parseCurve(koblitz).name; name != "1.3.132.0.10" {
		t.Errorf("secp256k1 is shown as %s", name)
	}
}

func FuzzParsePublicKey(f *testing.F) {
	p256, _ := hex.DecodeString("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
	f.Add(ecCurves[0].params, p256)
	f.Add(ecCurves[0].params, append([]byte{0x04, 0x41}, p256...))
	f.Add(ecCurves[1].params, p256)
	f.Add([]byte{0x13, 0x01, 0x41}, []byte{0x04})
	f.Fuzz(func(t *testing.T, params, point []byte) {
		key, err := parsePublicKey(params, point)
		if err != nil {
			if !errors.Is(err, sign.ErrCurve) && !errors.Is(err, sign.ErrKey) {
				t.Fatalf("unclassified: %v", err)
			}
			return
		}
		bare := key.Point()
		wrapped := append([]byte{0x04, byte(len(bare))}, bare...)
		if !bytes.Equal(point, bare) && !bytes.Equal(point, wrapped) {
			t.Fatalf("%x was read as %x", point, bare)
		}
	})
}
