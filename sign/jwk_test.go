package sign_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
)

// The key of RFC 7517, appendix A.1.
func TestJWKOfRFC7517(t *testing.T) {
	const x, y = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
	var point []byte
	for _, s := range []string{"BA", x, y} { // 04
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, b...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(sign.ESP256.Curve(), point)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `","use":"sig","alg":"ES256","kid":"` + key.ID().String() + "\"}\n"
	if got := string(key.JWK()); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// What JWK writes gives the key back, by the rules of RFC 7518, section 6.2.
func TestJWKRoundTrip(t *testing.T) {
	for _, a := range algorithms {
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
			data := key.JWK()
			d := json.NewDecoder(bytes.NewReader(data))
			d.DisallowUnknownFields()
			var v struct{ Kty, Crv, X, Y, Use, Alg, Kid string }
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			size := (a.Curve().Params().BitSize + 7) / 8
			point := []byte{4}
			for _, s := range []string{v.X, v.Y} {
				b, err := base64.RawURLEncoding.Strict().DecodeString(s)
				if err != nil || len(b) != size {
					t.Fatalf("%s: coordinate of %d bytes, %v", data, len(b), err)
				}
				point = append(point, b...)
			}
			pub, err := ecdsa.ParseUncompressedPublicKey(a.Curve(), point)
			if err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			if back, err := sign.NewPublicKey(pub); err != nil || !back.Equal(key) {
				t.Fatalf("%s: another key, %v", data, err)
			}
			if v.Kty != "EC" || v.Crv != a.Curve().Params().Name || v.Use != "sig" || v.Kid != key.ID().String() {
				t.Fatalf("%s", data)
			}
			if want := "ES" + strings.TrimPrefix(v.Crv, "P-"); v.Alg != want {
				t.Fatalf("%s: algorithm %s, want %s", data, v.Alg, want)
			}
		}
		if zeros == 0 {
			t.Errorf("%s: no coordinate begins with a zero byte", a)
		}
	}
}

func TestJWKOfNoKey(t *testing.T) {
	if got := (sign.PublicKey{}).JWK(); got != nil {
		t.Errorf("got %s", got)
	}
}

// The key of RFC 8037, appendix A.2.
func TestJWKOfRFC8037(t *testing.T) {
	const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	raw, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.NewPublicKey(ed25519.PublicKey(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Ed25519(), raw) {
		t.Errorf("got %x", key.Ed25519())
	}
	want := `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","use":"sig","alg":"EdDSA","kid":"` + key.ID().String() + "\"}\n"
	if got := string(key.JWK()); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}
