package cose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
)

// The key of RFC 7517, appendix A.1, written down by hand after RFC 9052 and
// RFC 9053.
func TestEncodeKey(t *testing.T) {
	x := unhex(t, "30a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e")
	y := unhex(t, "e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723")
	pub, err := ecdsa.ParseUncompressedPublicKey(sign.ESP256.Curve(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	hint := key.ID().Hint()
	want := slices.Concat(unhex(t, "a6 01 02 02 48"), hint[:], unhex(t, "03 28 20 01 21 5820"), x, unhex(t, "22 5820"), y)
	got, err := cose.EncodeKey(key)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got  %x, %v\nwant %x", got, err, want)
	}
	if _, err := cose.EncodeKey(sign.PublicKey{}); !errors.Is(err, sign.ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

// The key of RFC 8037, appendix A.2, written down by hand after RFC 9053, section
// 7.2.
func TestEncodeKeyEd25519(t *testing.T) {
	x := unhex(t, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	key, err := sign.NewPublicKey(ed25519.PublicKey(x))
	if err != nil {
		t.Fatal(err)
	}
	hint := key.ID().Hint()
	want := slices.Concat(unhex(t, "a5 01 01 02 48"), hint[:], unhex(t, "03 32 20 06 21 5820"), x)
	got, err := cose.EncodeKey(key)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got  %x, %v\nwant %x", got, err, want)
	}
}

func TestEncodeKeyRoundTrip(t *testing.T) {
	for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
		zeros := 0 // coordinates that begin with a zero byte, which has to stay
		for n := range 600 {
			scalar := make([]byte, a.SignatureSize()/2)
			scalar[len(scalar)-2], scalar[len(scalar)-1] = byte((n+1)>>8), byte(n+1)
			private, err := ecdsa.ParseRawPrivateKey(a.Curve(), scalar)
			if err != nil {
				t.Fatal(err)
			}
			key, err := sign.NewPublicKey(private.Public())
			if err != nil {
				t.Fatal(err)
			}
			if p := key.Point()[1:]; p[0] == 0 || p[len(p)/2] == 0 {
				zeros++
			} else if n > 0 {
				continue
			}
			data, err := cose.EncodeKey(key)
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				Type  int    `cbor:"1,keyasint"`
				ID    []byte `cbor:"2,keyasint"`
				Alg   int64  `cbor:"3,keyasint"`
				Curve int    `cbor:"-1,keyasint"`
				X     []byte `cbor:"-2,keyasint"`
				Y     []byte `cbor:"-3,keyasint"`
			}
			mode, err := cbor.DecOptions{ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode()
			if err != nil {
				t.Fatal(err)
			}
			if err := mode.Unmarshal(data, &v); err != nil {
				t.Fatalf("%x: %v", data, err)
			}
			pub, err := ecdsa.ParseUncompressedPublicKey(a.Curve(), slices.Concat([]byte{4}, v.X, v.Y))
			if err != nil {
				t.Fatalf("%x: %v", data, err)
			}
			if back, err := sign.NewPublicKey(pub); err != nil || !back.Equal(key) {
				t.Fatalf("%x: another key, %v", data, err)
			}
			hint := key.ID().Hint()
			if found, err := sign.FromCOSE(v.Alg); v.Type != 2 || found != a || err != nil || v.Curve != int(a) || !bytes.Equal(v.ID, hint[:]) {
				t.Fatalf("%+v of %x", v, data)
			}
		}
		if zeros == 0 {
			t.Errorf("%s: no coordinate begins with a zero byte", a)
		}
	}
}
