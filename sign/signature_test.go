package sign_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
)

// tlv is a DER element with a short-form length.
func tlv(tag byte, content ...[]byte) []byte {
	body := slices.Concat(content...)
	return append([]byte{tag, byte(len(body))}, body...)
}

// swap is what LittleEndian has for Raw, and back: each half reversed.
func swap(raw []byte) []byte {
	b := bytes.Clone(raw)
	slices.Reverse(b[:len(b)/2])
	slices.Reverse(b[len(b)/2:])
	return b
}

func TestParseSignatureRefuses(t *testing.T) {
	for _, a := range algorithms {
		t.Run(a.String(), func(t *testing.T) {
			order := a.Curve().Params().N
			size := a.SignatureSize() / 2
			zero, one, ones := new(big.Int), big.NewInt(1), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*size)), big.NewInt(1))
			above := new(big.Int).Add(order, one)

			type scalars struct {
				name string
				r, s *big.Int
			}
			for _, tt := range []scalars{
				{"r = 0", zero, one},
				{"s = 0", one, zero},
				{"r = s = 0", zero, zero},
				{"r = n", order, one},
				{"s = n", one, order},
				{"r > n", above, one},
				{"s > n", one, above},
				{"all ones", ones, ones},
			} {
				raw := rawBytes(a, tt.r, tt.s)
				der, err := asn1.Marshal(struct{ R, S *big.Int }{tt.r, tt.s})
				if err != nil {
					t.Fatal(err)
				}
				for e, b := range map[sign.Encoding][]byte{sign.Raw: raw, sign.LittleEndian: swap(raw), sign.DER: der} {
					if s, err := sign.ParseSignature(a, e, b); !errors.Is(err, sign.ErrEncoding) || !s.IsZero() {
						t.Errorf("%s, %s: got %v, %v", e, tt.name, s, err)
					}
				}
			}

			good := rawBytes(a, one, one)
			for _, e := range []sign.Encoding{sign.Raw, sign.LittleEndian} {
				for name, b := range map[string][]byte{
					"nil":             nil,
					"empty":           {},
					"half":            good[:size],
					"one byte short":  good[:2*size-1],
					"one byte long":   append(bytes.Clone(good), 0),
					"two bytes short": good[1 : 2*size-1],
					"twice":           append(bytes.Clone(good), good...),
					"DER":             tlv(0x30, tlv(2, []byte{1}), tlv(2, []byte{1})),
				} {
					if _, err := sign.ParseSignature(a, e, b); !errors.Is(err, sign.ErrEncoding) {
						t.Errorf("%s, %s: got %v", e, name, err)
					}
				}
			}

			i1 := tlv(2, []byte{1})
			high := append([]byte{0x80}, make([]byte, size-1)...) // 2^(8·size-1) < n, needs a zero byte in front
			for name, b := range map[string][]byte{
				"nil":                           nil,
				"empty":                         {},
				"raw":                           good,
				"empty sequence":                tlv(0x30),
				"one integer":                   tlv(0x30, i1),
				"three integers":                tlv(0x30, i1, i1, i1),
				"set":                           tlv(0x31, i1, i1),
				"primitive sequence tag":        tlv(0x10, i1, i1),
				"octet strings":                 tlv(0x30, tlv(4, []byte{1}), tlv(4, []byte{1})),
				"enumerated":                    tlv(0x30, tlv(10, []byte{1}), i1),
				"sequence in a sequence":        tlv(0x30, tlv(0x30, i1, i1)),
				"null after s":                  tlv(0x30, i1, i1, []byte{5, 0}),
				"empty integer r":               tlv(0x30, tlv(2), i1),
				"empty integer s":               tlv(0x30, i1, tlv(2)),
				"leading zero byte in r":        tlv(0x30, tlv(2, []byte{0, 1}), i1),
				"leading zero byte in s":        tlv(0x30, i1, tlv(2, []byte{0, 1})),
				"two zero bytes before high":    tlv(0x30, tlv(2, []byte{0, 0}, high), i1),
				"r = -1":                        tlv(0x30, tlv(2, []byte{0xff}), i1),
				"s = -1":                        tlv(0x30, i1, tlv(2, []byte{0xff})),
				"s = -1 in two bytes":           tlv(0x30, i1, tlv(2, []byte{0xff, 0xff})),
				"high r without its zero byte":  tlv(0x30, tlv(2, high), i1),
				"high s without its zero byte":  tlv(0x30, i1, tlv(2, high)),
				"r one byte longer than n":      tlv(0x30, tlv(2, []byte{1}, make([]byte, size)), i1),
				"s one byte longer than n":      tlv(0x30, i1, tlv(2, []byte{1}, make([]byte, size))),
				"byte after the sequence":       append(tlv(0x30, i1, i1), 0),
				"signature after the signature": append(tlv(0x30, i1, i1), tlv(0x30, i1, i1)...),
				"truncated":                     tlv(0x30, i1, i1)[:7],
				"sequence length too large":     {0x30, 7, 2, 1, 1, 2, 1, 1},
				"sequence length too small":     {0x30, 5, 2, 1, 1, 2, 1, 1},
				"integer length too large":      {0x30, 6, 2, 1, 1, 2, 2, 1},
				"long-form sequence length":     {0x30, 0x81, 6, 2, 1, 1, 2, 1, 1},
				"long-form length in 2 bytes":   {0x30, 0x82, 0, 6, 2, 1, 1, 2, 1, 1},
				"long-form integer length":      {0x30, 7, 2, 0x81, 1, 1, 2, 1, 1},
				"length of 2^32":                {0x30, 0x85, 1, 0, 0, 0, 0, 2, 1, 1, 2, 1, 1},
				"length without bytes":          {0x30, 0xff},
				"indefinite length":             {0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0},
				"indefinite integer":            {0x30, 8, 2, 0x80, 1, 0, 0, 2, 1, 1},
				"long-form tag":                 {0x3f, 0x10, 6, 2, 1, 1, 2, 1, 1},
			} {
				if s, err := sign.ParseSignature(a, sign.DER, b); !errors.Is(err, sign.ErrEncoding) || !s.IsZero() {
					t.Errorf("der, %s: got %v, %v", name, s, err)
				}
			}

			for _, e := range []sign.Encoding{-1, 0, 4} {
				if _, err := sign.ParseSignature(a, e, good); !errors.Is(err, sign.ErrEncoding) {
					t.Errorf("%s: got %v", e, err)
				}
			}
		})
	}
	for _, a := range []sign.Algorithm{-1, 0, 4} {
		for _, e := range encodings {
			if _, err := sign.ParseSignature(a, e, make([]byte, 64)); !errors.Is(err, sign.ErrAlgorithm) {
				t.Errorf("%s, %s: got %v", a, e, err)
			}
		}
	}
}

// A signature of one curve is none of the other.
func TestParseSignatureOtherAlgorithm(t *testing.T) {
	r := new(big.Int).Sub(sign.ESP384.Curve().Params().N, big.NewInt(1)) // fits P-384 only
	raw := rawBytes(sign.ESP384, r, r)
	s := mustParse(t, sign.ESP384, sign.Raw, raw)
	for _, e := range encodings {
		if _, err := sign.ParseSignature(sign.ESP256, e, s.Encode(e)); !errors.Is(err, sign.ErrEncoding) {
			t.Errorf("%s: got %v", e, err)
		}
	}
}

// Every pair of scalars at the edges of a byte length survives every encoding;
// encoding/asn1 is the second opinion on DER.
func TestEncodeEdges(t *testing.T) {
	for _, a := range algorithms {
		order := a.Curve().Params().N
		edges := []*big.Int{new(big.Int).Sub(order, big.NewInt(1)), new(big.Int).Rsh(order, 1)}
		for bits := 0; bits < order.BitLen(); bits += 8 {
			low := new(big.Int).Lsh(big.NewInt(1), uint(bits)) // 01 00…
			edges = append(edges, low,
				new(big.Int).Lsh(big.NewInt(0x7f), uint(bits)), // the longest without a zero byte in front
				new(big.Int).Lsh(big.NewInt(0x80), uint(bits)), // the shortest with one
				new(big.Int).Sub(new(big.Int).Lsh(low, 7), big.NewInt(1)))
		}
		for _, r := range edges {
			for _, s := range edges {
				if r.Sign() == 0 || s.Sign() == 0 {
					continue
				}
				raw := rawBytes(a, r, s)
				der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
				if err != nil {
					t.Fatal(err)
				}
				checkEncodings(t, a, raw, der)
			}
		}
	}
}

// Real signatures until each class was met: r and s with the high bit set, and
// with a leading zero byte.
func TestEncodeSigned(t *testing.T) {
	for _, a := range algorithms {
		key := privateKey(t, a)
		public, err := sign.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		missing := map[string]bool{"high r": true, "high s": true, "short r": true, "short s": true}
		for i := 0; len(missing) > 0; i++ {
			if i == 1<<14 {
				t.Fatalf("%s: not seen in %d signatures: %v", a, i, missing)
			}
			message := []byte{byte(i >> 8), byte(i)}
			der, err := key.Sign(nil, a.Digest(message), a.Hash())
			if err != nil {
				t.Fatal(err)
			}
			s := mustParse(t, a, sign.DER, der)
			raw := s.Encode(sign.Raw)
			seen := false
			for name, half := range map[string][]byte{"r": raw[:len(raw)/2], "s": raw[len(raw)/2:]} {
				class := ""
				switch {
				case half[0] == 0:
					class = "short " + name
				case half[0]&0x80 != 0:
					class = "high " + name
				}
				seen = seen || missing[class]
				delete(missing, class)
			}
			if !seen {
				continue
			}
			checkEncodings(t, a, raw, der)
			for _, e := range encodings {
				if err := public.Verify(message, mustParse(t, a, e, s.Encode(e))); err != nil {
					t.Errorf("%s, %s: % x: %v", a, e, raw, err)
				}
			}
		}
	}
}

// checkEncodings parses the signature from each encoding and encodes it to all.
func checkEncodings(t *testing.T, a sign.Algorithm, raw, der []byte) {
	t.Helper()
	want := map[sign.Encoding][]byte{sign.Raw: raw, sign.DER: der, sign.LittleEndian: swap(raw)}
	for from, b := range want {
		s, err := sign.ParseSignature(a, from, b)
		if err != nil {
			t.Fatalf("%s: % x: %v", from, b, err)
		}
		for to, encoded := range want {
			if got := s.Encode(to); !bytes.Equal(got, encoded) {
				t.Fatalf("%s to %s: got\n% x, want\n% x", from, to, got, encoded)
			}
		}
	}
}

func TestSignatureValue(t *testing.T) {
	var none sign.Signature
	if !none.IsZero() || none.Algorithm() != 0 || none.String() != "no signature" {
		t.Errorf("the zero value is %s, algorithm %s", none, none.Algorithm())
	}
	for _, e := range encodings {
		if b := none.Encode(e); b != nil {
			t.Errorf("%s: the zero value encodes to % x", e, b)
		}
	}

	raw := rawBytes(sign.ESP256, big.NewInt(1), big.NewInt(2))
	input := bytes.Clone(raw)
	s := mustParse(t, sign.ESP256, sign.Raw, input)
	input[31] = 0xff
	s.Encode(sign.Raw)[31] = 0xff
	if got := s.Encode(sign.Raw); !bytes.Equal(got, raw) {
		t.Errorf("shares memory with its input or its output: % x", got)
	}
	if s.IsZero() || s.Algorithm() != sign.ESP256 || s.String() != "esp256 signature" {
		t.Errorf("got %s, algorithm %s", s, s.Algorithm())
	}
	if b := s.Encode(0); b != nil {
		t.Errorf("an unknown encoding gives % x", b)
	}
}

func FuzzParseSignature(f *testing.F) {
	for _, a := range algorithms {
		key := privateKey(f, a)
		der, err := key.Sign(nil, a.Digest(nil), a.Hash())
		if err != nil {
			f.Fatal(err)
		}
		s := mustParse(f, a, sign.DER, der)
		for _, e := range encodings {
			f.Add(int(a), int(e), s.Encode(e))
		}
		f.Add(int(a), int(sign.DER), tlv(0x30, tlv(2, []byte{1}), tlv(2, []byte{0, 0x80})))
		f.Add(int(a), int(sign.DER), []byte{0x30, 0x81, 6, 2, 1, 1, 2, 1, 1})
		f.Add(int(a), int(sign.DER), []byte{0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0})
	}
	f.Fuzz(func(t *testing.T, algorithm, encoding int, b []byte) {
		a, e := sign.Algorithm(algorithm), sign.Encoding(encoding)
		s, err := sign.ParseSignature(a, e, b)
		if err != nil {
			if !s.IsZero() {
				t.Fatalf("%s with error %v", s, err)
			}
			return
		}
		if got := s.Encode(e); !bytes.Equal(got, b) {
			t.Fatalf("% x encodes to % x", b, got)
		}
		for _, to := range encodings {
			again, err := sign.ParseSignature(a, to, s.Encode(to))
			if err != nil || !bytes.Equal(again.Encode(e), b) {
				t.Fatalf("% x is lost in %s: %v", b, to, err)
			}
		}
	})
}
