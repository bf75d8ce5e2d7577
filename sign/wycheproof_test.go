package sign_test

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
)

// wycheproof is the part that is needed of ecdsa_verify_schema_v1.json and
// ecdsa_p1363_verify_schema_v1.json.
type wycheproof struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		PublicKey struct {
			Uncompressed string `json:"uncompressed"`
		} `json:"publicKey"`
		PublicKeyDER string `json:"publicKeyDer"`
		PublicKeyPEM string `json:"publicKeyPem"`
		Tests        []struct {
			ID      int    `json:"tcId"`
			Comment string `json:"comment"`
			Message string `json:"msg"`
			Sig     string `json:"sig"`
			Result  string `json:"result"`
		} `json:"tests"`
	} `json:"testGroups"`
}

func TestWycheproof(t *testing.T) {
	for _, tt := range []struct {
		name     string
		a        sign.Algorithm
		encoding sign.Encoding
		valid    int // so that a loader that reads "" for every result does not pass
	}{
		{"ecdsa_secp256r1_sha256_test.json", sign.ESP256, sign.DER, 174},
		{"ecdsa_secp256r1_sha256_p1363_test.json", sign.ESP256, sign.Raw, 173},
		{"ecdsa_secp384r1_sha384_test.json", sign.ESP384, sign.DER, 194},
		{"ecdsa_secp384r1_sha384_p1363_test.json", sign.ESP384, sign.Raw, 193},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var suite wycheproof
			if err := testvectors.JSON("wycheproof/"+tt.name, &suite); err != nil {
				t.Fatal(err)
			}
			run, valid := 0, 0
			for _, group := range suite.TestGroups {
				key := mustKey(t, unhex(t, group.PublicKeyDER))
				if key.Algorithm() != tt.a || !key.Equal(mustKey(t, []byte(group.PublicKeyPEM))) {
					t.Fatalf("the %s key %s differs in DER and PEM", key.Algorithm(), key.ID())
				}
				point, err := ecdsa.ParseUncompressedPublicKey(tt.a.Curve(), unhex(t, group.PublicKey.Uncompressed))
				if err != nil {
					t.Fatal(err)
				}
				if k, err := sign.NewPublicKey(point); err != nil || !k.Equal(key) {
					t.Fatalf("the key %s differs in DER and as a point: %v", key.ID(), err)
				}

				for _, c := range group.Tests {
					run++
					want := false
					switch c.Result {
					case "valid":
						want = true
						valid++
					case "invalid":
					case "acceptable":
						// Wycheproof leaves such cases to the reader. This release has none; a
						// new one needs a decision here.
						t.Errorf("case %d (%s) is acceptable, and nobody has decided on it", c.ID, c.Comment)
						continue
					default:
						t.Errorf("case %d (%s): unknown result %q", c.ID, c.Comment, c.Result)
						continue
					}
					message, encoded := unhex(t, c.Message), unhex(t, c.Sig)
					check(t, key, tt.encoding, message, encoded, want, c.ID, c.Comment)
					if tt.encoding == sign.Raw { // the same numbers, byte-reversed: the same verdict
						check(t, key, sign.LittleEndian, message, swap(encoded), want, c.ID, c.Comment)
					}
				}
			}
			if run != suite.NumberOfTests || run == 0 {
				t.Errorf("%d cases run of %d", run, suite.NumberOfTests)
			}
			if valid != tt.valid {
				t.Errorf("%d valid cases, want %d", valid, tt.valid)
			}
		})
	}
}

// check parses and verifies; a refusal must have one of the two sentinels.
func check(t *testing.T, key sign.PublicKey, e sign.Encoding, message, encoded []byte, want bool, id int, comment string) {
	t.Helper()
	s, err := sign.ParseSignature(key.Algorithm(), e, encoded)
	switch {
	case err == nil:
		err = key.Verify(message, s)
		if err != nil && !errors.Is(err, sign.ErrSignature) {
			t.Errorf("case %d (%s): %v", id, comment, err)
		}
	case !errors.Is(err, sign.ErrEncoding):
		t.Errorf("case %d (%s): %v", id, comment, err)
	}
	if got := err == nil; got != want {
		t.Errorf("case %d (%s), %s %s: valid %t, want %t: %v", id, comment, e, hex.EncodeToString(encoded), got, want, err)
	}
}
