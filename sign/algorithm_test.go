package sign_test

import (
	"crypto"
	"crypto/elliptic"
	"errors"
	"testing"

	"github.com/otapack/otapack/sign"
)

func TestUnknownAlgorithm(t *testing.T) {
	for _, name := range []string{"", "ESP256", "es256", "esp521", "esp256 ", "algorithm(1)"} {
		if a, err := sign.ParseAlgorithm(name); !errors.Is(err, sign.ErrAlgorithm) || a != 0 {
			t.Errorf("ParseAlgorithm(%q) = %v, %v", name, a, err)
		}
	}
	for _, number := range []int64{0, -7, -8, -35, -36, -19, -52, 9, 51} {
		if a, err := sign.FromCOSE(number); !errors.Is(err, sign.ErrAlgorithm) || a != 0 {
			t.Errorf("FromCOSE(%d) = %v, %v", number, a, err)
		}
	}
	for _, a := range []sign.Algorithm{-1, 0, 4} {
		if a.Valid() || a.COSE() != 0 || a.Curve() != nil || a.CurveName() != "" || a.Hash() != 0 || a.Prehashed() || a.SignatureSize() != 0 || a.Digest(nil) != nil {
			t.Errorf("%v passes for an algorithm", a)
		}
	}
	if s := sign.Algorithm(0).String(); s != "algorithm(0)" {
		t.Errorf("got %q", s)
	}
	for e, want := range map[sign.Encoding]string{0: "encoding(0)", sign.Raw: "raw", sign.DER: "der", sign.LittleEndian: "little-endian"} {
		if e.String() != want {
			t.Errorf("got %q, want %q", e, want)
		}
	}
}

func TestAlgorithm(t *testing.T) {
	for _, tt := range []struct {
		a     sign.Algorithm
		name  string
		cose  int64
		curve elliptic.Curve
		hash  crypto.Hash
		size  int
	}{
		{sign.ESP256, "esp256", -9, elliptic.P256(), crypto.SHA256, 64},
		{sign.ESP384, "esp384", -51, elliptic.P384(), crypto.SHA384, 96},
	} {
		if a, err := sign.ParseAlgorithm(tt.name); a != tt.a || err != nil {
			t.Errorf("ParseAlgorithm(%q) = %v, %v", tt.name, a, err)
		}
		if a, err := sign.FromCOSE(tt.cose); a != tt.a || err != nil {
			t.Errorf("FromCOSE(%d) = %v, %v", tt.cose, a, err)
		}
		if !tt.a.Valid() || tt.a.String() != tt.name || tt.a.COSE() != tt.cose {
			t.Errorf("%d is %s, COSE %d", int(tt.a), tt.a, tt.a.COSE())
		}
		if tt.a.Curve() != tt.curve || tt.a.Hash() != tt.hash || tt.a.SignatureSize() != tt.size {
			t.Errorf("%s: %s, %s, %d", tt.a, tt.a.Curve().Params().Name, tt.a.Hash(), tt.a.SignatureSize())
		}
		if n := len(tt.a.Digest([]byte("x"))); n != tt.hash.Size() {
			t.Errorf("%s: digest of %d bytes", tt.a, n)
		}
	}
}
