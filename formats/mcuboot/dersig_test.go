package mcuboot

import (
	"bytes"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
)

// Signatures whose r or s has leading zero bytes, or a high first bit, are where
// readers of DER go wrong: they must come out the same from all libraries.
func TestReadECDSAOddLengths(t *testing.T) {
	for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
		s, err := sign.Throwaway(a)
		if err != nil {
			t.Fatal(err)
		}
		n := a.SignatureSize() / 2
		digest := a.Digest([]byte("message"))
		wanted := map[string]func(r, s []byte) bool{
			"r begins with 00":      func(r, _ []byte) bool { return r[0] == 0 && r[1] < 0x80 },
			"s begins with 00":      func(_, s []byte) bool { return s[0] == 0 && s[1] < 0x80 },
			"r begins with 00 80":   func(r, _ []byte) bool { return r[0] == 0 && r[1] >= 0x80 },
			"s begins with 00 80":   func(_, s []byte) bool { return s[0] == 0 && s[1] >= 0x80 },
			"both have a high bit":  func(r, s []byte) bool { return r[0] >= 0x80 && s[0] >= 0x80 },
			"neither does":          func(r, s []byte) bool { return r[0] < 0x80 && r[0] > 0 && s[0] < 0x80 && s[0] > 0 },
			"r only":                func(r, s []byte) bool { return r[0] >= 0x80 && s[0] < 0x80 },
			"s only":                func(r, s []byte) bool { return r[0] < 0x80 && s[0] >= 0x80 },
			"r is short, s is high": func(r, s []byte) bool { return r[0] == 0 && s[0] >= 0x80 },
		}
		for tries := 0; len(wanted) > 0; tries++ {
			if tries > 20000 {
				t.Fatalf("%s: not found: %d", a, len(wanted))
			}
			signature, err := s.SignDigest(t.Context(), digest)
			if err != nil {
				t.Fatal(err)
			}
			raw := signature.Encode(sign.Raw)
			for name, f := range wanted {
				if !f(raw[:n], raw[n:]) {
					continue
				}
				delete(wanted, name)
				for _, library := range []Crypto{TinyCrypt, MbedTLS, PSA} {
					if a == sign.ESP384 && library != PSA {
						continue
					}
					got, err := readECDSA(library, a, signature.Encode(sign.DER))
					if err != nil || !bytes.Equal(got.Encode(sign.Raw), raw) {
						t.Errorf("%s, library %d: %s: %x: %v", a, library, name, signature.Encode(sign.DER), err)
					} else if err := s.Public().VerifyDigest(digest, got); err != nil {
						t.Errorf("%s: %s: %v", a, name, err)
					}
				}
			}
		}
	}
}

// What each library takes that is not DER (crypto/ecdsa.h, mbedtls/asn1parse.c).
func TestReadECDSALibraries(t *testing.T) {
	tlv := func(tag byte, content ...[]byte) []byte {
		body := slices.Concat(content...)
		return append([]byte{tag, byte(len(body))}, body...)
	}
	r, s := bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)
	ri, si := tlv(2, r), tlv(2, s)
	long := func(content ...[]byte) []byte { // lengths in more bytes than they need
		body := slices.Concat(content...)
		return append([]byte{0x30, 0x83, 0, 0, byte(len(body))}, body...)
	}
	for _, c := range []struct {
		name               string
		data               []byte
		tiny, mbedtls, psa bool
	}{
		{"DER", tlv(0x30, ri, si), true, true, true},
		{"zeros after it", append(tlv(0x30, ri, si), 0, 0), true, false, true},
		{"other bytes after it", append(tlv(0x30, ri, si), 1), true, false, true},
		{"bytes after s, inside", tlv(0x30, ri, si, []byte{5, 0}), true, false, true},
		{"wrong outer tag", tlv(0x31, ri, si), false, false, true},
		{"wrong tag of r", tlv(0x30, tlv(3, r), si), false, false, true},
		{"wrong tag of s", tlv(0x30, ri, tlv(3, s)), false, false, true},
		{"outer length too short", append([]byte{0x30, 3}, append(slices.Clone(ri), si...)...), true, false, true},
		{"outer length too long", append([]byte{0x30, 99}, append(slices.Clone(ri), si...)...), false, false, true},
		{"long-form outer length", long(ri, si), true, true, false},
		{"long-form length of r", tlv(0x30, append([]byte{2, 0x81, 32}, r...), si), true, true, false},
		{"a zero before r", tlv(0x30, tlv(2, append([]byte{0}, r...)), si), true, true, true},
		{"three zeros before r", tlv(0x30, tlv(2, append([]byte{0, 0, 0}, r...)), si), true, true, false}, // PSA: wrong place of s
		{"r of 33 bytes", tlv(0x30, tlv(2, append([]byte{1}, r...)), si), true, false, true},              // the last 32 count
		{"r of no bytes", tlv(0x30, tlv(2), si), false, false, false},
		{"raw", append(slices.Clone(r), s...), false, false, false},
		{"nothing", nil, false, false, false},
		{"r only", tlv(0x30, ri), false, false, false},
		{"s cut", tlv(0x30, ri, si)[:60], false, false, false},
		{"indefinite length", append([]byte{0x30, 0x80}, append(slices.Clone(ri), si...)...), false, false, true},
		{"length of five bytes", append([]byte{0x30, 0x85, 0, 0, 0, 0, 68}, append(slices.Clone(ri), si...)...), false, false, false},
	} {
		for library, want := range map[Crypto]bool{TinyCrypt: c.tiny, MbedTLS: c.mbedtls, PSA: c.psa} {
			got, err := readECDSA(library, sign.ESP256, c.data)
			ok := err == nil && bytes.Equal(got.Encode(sign.Raw), slices.Concat(r, s))
			if ok != want {
				t.Errorf("%s, library %d: got %x, %v; want %v", c.name, library, got.Encode(sign.Raw), err, want)
			}
		}
	}
}

func FuzzReadECDSA(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 128))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
			strict, err := sign.ParseSignature(a, sign.DER, data)
			for _, library := range []Crypto{TinyCrypt, MbedTLS, PSA} {
				s, lenient := readECDSA(library, a, data)
				if err == nil && (lenient != nil || !bytes.Equal(s.Encode(sign.Raw), strict.Encode(sign.Raw))) {
					t.Errorf("library %d reads DER otherwise: %v", library, lenient)
				}
			}
		}
	})
}
