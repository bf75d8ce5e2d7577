package cose_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

type (
	list   = []any
	header = map[any]any
)

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cose.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signature returns r = s = 1, which is well-formed for every algorithm.
func signature(t testing.TB, a sign.Algorithm) sign.Signature {
	t.Helper()
	raw := make([]byte, a.SignatureSize())
	raw[len(raw)/2-1], raw[len(raw)-1] = 1, 1
	s, err := sign.ParseSignature(a, sign.Raw, raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readSign1 reads a message that fills its input.
func readSign1(data []byte, maxPayload int) (cose.Sign1, error) {
	r := strictcbor.NewReader("message", data)
	s := cose.ReadSign1(r, maxPayload)
	r.End(verdict.TrailingBytes)
	return s, r.Err()
}

func wantRefusal(t *testing.T, err error, reason verdict.Reason, offset int64) {
	t.Helper()
	e, ok := errors.AsType[*verdict.Error](err)
	if !ok || e.Reason != reason || e.Offset != offset {
		t.Errorf("got %v, want %s at offset %d", err, reason, offset)
	}
}

func TestReadSign1Refusals(t *testing.T) {
	const detached, attached = 0, 16
	alg := marshal(t, map[int]int{1: -9})
	sig := signature(t, sign.ESP256).Encode(sign.Raw)
	message := func(elements ...any) []byte { return marshal(t, cbor.Tag{Number: 18, Content: elements}) }
	scalars := func(r, s byte) []byte {
		return slices.Concat(bytes.Repeat([]byte{r}, 32), bytes.Repeat([]byte{s}, 32))
	}
	order := unhex(t, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	good := message(alg, header{}, nil, sig)
	for _, tt := range []struct {
		name       string
		data       []byte
		maxPayload int
		reason     verdict.Reason
		offset     int64
	}{
		{"no input", nil, detached, verdict.Truncated, 0},
		{"no tag", good[1:], detached, verdict.NotSign1, 0},
		{"tag of COSE_Mac0", append([]byte{0xd1}, good[1:]...), detached, verdict.NotSign1, 0},
		{"tag of COSE_Sign", append([]byte{0xd8, 98}, good[1:]...), detached, verdict.NotSign1, 0},
		{"tag in long form", append([]byte{0xd8, 18}, good[1:]...), detached, verdict.LongForm, 0},
		{"tag twice", append([]byte{0xd2}, good...), detached, verdict.WrongType, 1},
		{"not an array", unhex(t, "d2 a0"), detached, verdict.WrongType, 1},
		{"three elements", message(alg, header{}, nil), detached, verdict.WrongCount, 1},
		{"five elements", message(alg, header{}, nil, sig, nil), detached, verdict.WrongCount, 1},
		{"protected header is a map", message(header{1: -9}, header{}, nil, sig), detached, verdict.WrongType, 2},
		{"protected header is long", message(make([]byte, 65), header{}, nil, sig), detached, verdict.WrongLength, 2},
		{"empty protected header", message([]byte{}, header{}, nil, sig), detached, verdict.MissingAlgorithm, 2},
		{"protected header without algorithm", message(marshal(t, header{}), header{}, nil, sig), detached, verdict.MissingAlgorithm, 2},
		{"algorithm and critical headers", message(marshal(t, header{1: -9, 2: list{1}}), header{}, nil, sig), detached, verdict.ExtraProtected, 7},
		{"text header", message(marshal(t, header{"alg": -9}), header{}, nil, sig), detached, verdict.ExtraProtected, 8},
		{"algorithm by name", message(marshal(t, header{1: "ES256"}), header{}, nil, sig), detached, verdict.WrongType, 5},
		{"algorithm twice", message(unhex(t, "a2 01 28 01 28"), header{}, nil, sig), detached, verdict.DuplicateKey, 6},
		{"bytes after the protected header", message(append(alg, 0), header{}, nil, sig), detached, verdict.TrailingBytes, 6},
		{"algorithm in the unprotected header only", message([]byte{}, header{1: -9}, nil, sig), detached, verdict.UnprotectedAlgorithm, 5},
		{"algorithm in both headers", message(alg, header{1: -9}, nil, sig), detached, verdict.UnprotectedAlgorithm, 8},
		{"unprotected header other than kid", message(alg, header{33: []byte{0}}, nil, sig), detached, verdict.ExtraUnprotected, 9},
		{"unprotected text header", message(alg, header{"kid": []byte{0}}, nil, sig), detached, verdict.ExtraUnprotected, 11},
		{"empty kid", message(alg, header{4: []byte{}}, nil, sig), detached, verdict.WrongLength, 8},
		{"kid of 17 bytes", message(alg, header{4: make([]byte, 17)}, nil, sig), detached, verdict.WrongLength, 8},
		{"kid is text", message(alg, header{4: "key"}, nil, sig), detached, verdict.WrongType, 8},
		{"payload attached", message(alg, header{}, []byte{1}, sig), detached, verdict.PayloadNotDetached, 7},
		{"empty payload attached", message(alg, header{}, []byte{}, sig), detached, verdict.PayloadNotDetached, 7},
		{"ends before the payload", good[:7], detached, verdict.Truncated, 7},
		{"payload detached", good, attached, verdict.PayloadMissing, 7},
		{"payload too long", message(alg, header{}, make([]byte, 17), sig), attached, verdict.WrongLength, 7},
		{"payload is text", message(alg, header{}, "payload", sig), attached, verdict.WrongType, 7},
		{"ES256", message(marshal(t, header{1: -7}), header{}, nil, sig), detached, verdict.ES256Deprecated, 2},
		{"EdDSA", message(marshal(t, header{1: -8}), header{}, nil, sig), detached, verdict.EdDSADeprecated, 2},
		{"no signature", message(alg, header{}, nil, nil), detached, verdict.WrongType, 8},
		{"signature of 0 bytes", message(alg, header{}, nil, []byte{}), detached, verdict.SignatureLength, 8},
		{"signature of 63 bytes", message(alg, header{}, nil, sig[1:]), detached, verdict.SignatureLength, 8},
		{"signature of 65 bytes", message(alg, header{}, nil, append([]byte{0}, sig...)), detached, verdict.SignatureLength, 8},
		{"P-256 signature for ESP384", message(marshal(t, header{1: -51}), header{}, nil, sig), detached, verdict.SignatureLength, 9},
		{"P-384 signature for ESP256", message(alg, header{}, nil, signature(t, sign.ESP384).Encode(sign.Raw)), detached, verdict.SignatureLength, 8},
		{"r is zero", message(alg, header{}, nil, scalars(0, 1)), detached, verdict.SignatureRange, 8},
		{"s is zero", message(alg, header{}, nil, scalars(1, 0)), detached, verdict.SignatureRange, 8},
		{"r is n", message(alg, header{}, nil, slices.Concat(order, sig[32:])), detached, verdict.SignatureRange, 8},
		{"s is n", message(alg, header{}, nil, slices.Concat(sig[:32], order)), detached, verdict.SignatureRange, 8},
		{"signature of an unknown algorithm beyond all bounds", message(marshal(t, header{1: -48}), header{}, nil, make([]byte, 8<<10+1)), detached, verdict.WrongLength, 9},
		{"bytes after the message", append(slices.Clone(good), 0), detached, verdict.TrailingBytes, int64(len(good))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := readSign1(tt.data, tt.maxPayload)
			wantRefusal(t, err, tt.reason, tt.offset)
			if tt.reason != verdict.TrailingBytes && !s.Signature.IsZero() {
				t.Error("the refused message has a signature")
			}
		})
	}
	for n := range good {
		if _, err := readSign1(good[:n], detached); verdict.Of(err) != verdict.Truncated {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func TestEncodeSign1Errors(t *testing.T) {
	sig := signature(t, sign.ESP256)
	for _, tt := range []struct {
		name string
		cose.Sign1
	}{
		{"zero value", cose.Sign1{}},
		{"no signature", cose.Sign1{Algorithm: -9}},
		{"signature of another algorithm", cose.Sign1{Algorithm: -51, Signature: sig}},
		{"no algorithm", cose.Sign1{Signature: sig}},
		{"empty kid", cose.Sign1{Algorithm: -9, Signature: sig, KeyID: []byte{}}},
		{"kid of 17 bytes", cose.Sign1{Algorithm: -9, Signature: sig, KeyID: make([]byte, 17)}},
	} {
		if b, err := tt.Encode(); err == nil {
			t.Errorf("%s: encodes to % x", tt.name, b)
		}
	}
	if _, err := cose.ToBeSigned(sign.Ed25519, nil); !errors.Is(err, sign.ErrAlgorithm) {
		t.Errorf("Ed25519: %v", err)
	}
	if _, err := cose.ToBeSigned(0, nil); !errors.Is(err, sign.ErrAlgorithm) {
		t.Errorf("to be signed without an algorithm: %v", err)
	}
}

func TestSign1RoundTrip(t *testing.T) {
	for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
		for _, kid := range [][]byte{nil, {0}, []byte("12345678"), []byte("1234567890123456")} {
			for _, payload := range [][]byte{nil, {}, []byte("payload"), make([]byte, 1<<16)} {
				want := cose.Sign1{Algorithm: a.COSE(), KeyID: kid, Payload: payload, Signature: signature(t, a)}
				data, err := want.Encode()
				if err != nil {
					t.Fatal(err)
				}
				maxPayload := 0
				if payload != nil {
					maxPayload = 1 << 16
				}
				got, err := readSign1(data, maxPayload)
				if err != nil {
					t.Fatal(err)
				}
				if !got.Known() || got.Algorithm != want.Algorithm || !bytes.Equal(got.KeyID, kid) || (got.KeyID == nil) != (kid == nil) ||
					!bytes.Equal(got.Payload, payload) || (got.Payload == nil) != (payload == nil) ||
					!bytes.Equal(got.Signature.Encode(sign.Raw), want.Signature.Encode(sign.Raw)) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		}
	}
}

// A block of an algorithm from the future is read, so that others after it
// count, and is never taken for a signature.
func TestUnknownAlgorithm(t *testing.T) {
	for _, algorithm := range []int64{-48, -46, 0, 5, -35, 1 << 40} {
		data := marshal(t, cbor.Tag{Number: 18, Content: list{marshal(t, map[int]int64{1: algorithm}), header{4: []byte("kid")}, nil, make([]byte, 4627)}})
		s, err := readSign1(data, 0)
		if err != nil {
			t.Fatalf("%d: %v", algorithm, err)
		}
		if s.Known() || s.Algorithm != algorithm || !s.Signature.IsZero() || string(s.KeyID) != "kid" {
			t.Errorf("%d: got %+v", algorithm, s)
		}
		if _, err := s.Encode(); err == nil {
			t.Errorf("%d: encodes without a signature", algorithm)
		}
	}
}

// The Sig_structure of a manifest is always 55 bytes with ESP256: the digest
// array of 36 after a constant head.
func TestToBeSigned(t *testing.T) {
	digest := unhex(t, "82 2f 5820"+strings.Repeat("ab", 32))
	for a, want := range map[sign.Algorithm][]byte{
		sign.ESP256: unhex(t, "84 6a 5369676e617475726531 43 a10128 40 5824"),
		sign.ESP384: unhex(t, "84 6a 5369676e617475726531 44 a1013832 40 5824"),
	} {
		got, err := cose.ToBeSigned(a, digest)
		if err != nil {
			t.Fatal(err)
		}
		if want = append(want, digest...); !bytes.Equal(got, want) {
			t.Errorf("%s: got % x, want % x", a, got, want)
		}
	}
}

func TestMarshalError(t *testing.T) {
	if b, err := cose.Marshal(make(chan int)); err == nil {
		t.Errorf("a channel encodes to % x", b)
	}
}
