package cose_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func readEncrypt(data []byte) (cose.Encrypt, error) {
	r := strictcbor.NewReader("message", data)
	e := cose.ReadEncrypt(r)
	r.End(verdict.TrailingBytes)
	return e, r.Err()
}

func TestReadEncryptRefusals(t *testing.T) {
	var (
		iv      = make([]byte, 16)
		content = header{1: cose.A128CTR, 5: iv}
		wrapped = make([]byte, 24)
		ecdh    = marshal(t, header{1: cose.ECDHESA128KW})
		point   = header{1: 2, -1: 1, -2: make([]byte, 32), -3: make([]byte, 32)}
		kw      = list{[]byte{}, header{1: cose.A128KW}, wrapped}
	)
	message := func(elements ...any) []byte { return marshal(t, cbor.Tag{Number: 96, Content: elements}) }
	recipient := func(elements ...any) []byte { return message([]byte{}, content, nil, list{elements}) }
	with := func(m header, k, v any) header {
		m = maps.Clone(m)
		if m[k] = v; v == nil {
			delete(m, k)
		}
		return m
	}
	key := func(k, v any) []byte { return recipient(ecdh, header{-1: with(point, k, v)}, wrapped) }
	good := message([]byte{}, content, nil, list{kw})
	unsorted := cbor.RawMessage(slices.Concat([]byte{0xa2, 0x20}, marshal(t, point), []byte{0x04, 0x41, 0x00})) // as libcsuit writes it
	const (
		atUnprotected = 4  // after the tag, the array and the zero-length protected header
		atIV          = 10 // its byte string
		atCiphertext  = 27
		atRecipients  = 28
		atRecipient   = 29
		atElements    = 30 // of the first recipient
	)
	for _, tt := range []struct {
		name   string
		data   []byte
		reason verdict.Reason
		offset int64
	}{
		{"no input", nil, verdict.Truncated, 0},
		{"no tag", good[2:], verdict.NotEncrypt, 0},
		{"tag of COSE_Sign1", append([]byte{0xd2}, good[2:]...), verdict.NotEncrypt, 0},
		{"COSE_Encrypt0", marshal(t, cbor.Tag{Number: 16, Content: list{[]byte{}, content, nil}}), verdict.Encrypt0, 0},
		{"tag in long form", append([]byte{0xd9, 0}, good[1:]...), verdict.LongForm, 0},
		{"three elements", message([]byte{}, content, nil), verdict.WrongCount, 2},
		{"protected header", message(marshal(t, header{1: cose.A128CTR}), header{5: iv}, nil, list{kw}), verdict.ProtectedNotEmpty, 3},
		{"protected header of an empty map", message([]byte{0xa0}, content, nil, list{kw}), verdict.ProtectedNotEmpty, 3},
		{"protected header is long", message(make([]byte, 65), content, nil, list{kw}), verdict.WrongLength, 3},
		{"no content algorithm", message([]byte{}, with(content, 1, nil), nil, list{kw}), verdict.ContentAlgorithm, 23},
		{"A128GCM", message([]byte{}, with(content, 1, 1), nil, list{kw}), verdict.ContentAlgorithm, atUnprotected + 2},
		{"A256CTR", message([]byte{}, with(content, 1, -65532), nil, list{kw}), verdict.ContentAlgorithm, atUnprotected + 2},
		{"no IV", message([]byte{}, with(content, 5, nil), nil, list{kw}), verdict.IVLength, 9},
		{"IV of 12 bytes", message([]byte{}, with(content, 5, iv[:12]), nil, list{kw}), verdict.IVLength, atIV},
		{"IV of 17 bytes", message([]byte{}, with(content, 5, make([]byte, 17)), nil, list{kw}), verdict.IVLength, atIV},
		{"kid for the content", message([]byte{}, with(content, 4, iv), nil, list{kw}), verdict.ExtraUnprotected, atIV},
		{"text header", message([]byte{}, with(content, "iv", iv), nil, list{kw}), verdict.ExtraUnprotected, 30},
		{"ciphertext attached", message([]byte{}, content, []byte{1}, list{kw}), verdict.CiphertextAttached, atCiphertext},
		{"ends before the ciphertext", good[:atCiphertext], verdict.Truncated, atCiphertext},
		{"no recipients", message([]byte{}, content, nil, list{}), verdict.WrongCount, atRecipients},
		{"nine recipients", message([]byte{}, content, nil, slices.Repeat(list{kw}, 9)), verdict.WrongCount, atRecipients},
		{"recipient with recipients", recipient([]byte{}, header{1: cose.A128KW}, wrapped, list{kw}), verdict.WrongCount, atRecipient},
		{"no recipient algorithm", recipient([]byte{}, header{}, wrapped), verdict.RecipientAlgorithm, atElements},
		{"direct", recipient([]byte{}, header{1: -6}, []byte{}), verdict.RecipientAlgorithm, atElements},
		{"A256KW", recipient([]byte{}, header{1: -5}, wrapped), verdict.RecipientAlgorithm, atElements},
		{"ECDH-ES+A256KW", recipient(marshal(t, header{1: -31}), header{-1: point}, wrapped), verdict.RecipientAlgorithm, atElements},
		{"ECDH-ES+A128KW named outside", recipient([]byte{}, header{1: cose.ECDHESA128KW, -1: point}, wrapped), verdict.RecipientAlgorithm, atElements},
		{"A128KW named inside", recipient(marshal(t, header{1: cose.A128KW}), header{}, wrapped), verdict.ProtectedNotEmpty, atElements},
		{"A128KW and an empty protected map", recipient([]byte{0xa0}, header{1: cose.A128KW}, wrapped), verdict.ProtectedNotEmpty, atElements},
		{"algorithm in both headers", recipient(ecdh, header{1: cose.A128KW, -1: point}, wrapped), verdict.ExtraUnprotected, 37},
		{"protected header beside the algorithm", recipient(marshal(t, header{1: cose.ECDHESA128KW, 4: []byte{1}}), header{-1: point}, wrapped), verdict.ExtraProtected, 36},
		{"bytes after the protected header", recipient(append(slices.Clone(ecdh), 0), header{-1: point}, wrapped), verdict.TrailingBytes, 35},
		{"kid after the ephemeral key", recipient(ecdh, unsorted, wrapped), verdict.UnsortedKeys, 112},
		{"static key", recipient(ecdh, header{-2: point}, wrapped), verdict.ExtraUnprotected, 37},
		{"text header for a recipient", recipient(ecdh, header{"epk": point}, wrapped), verdict.ExtraUnprotected, 40},
		{"kid too long", recipient([]byte{}, header{1: cose.A128KW, 4: make([]byte, 17)}, wrapped), verdict.WrongLength, 35},
		{"no ephemeral key", recipient(ecdh, header{}, wrapped), verdict.EphemeralKey, atElements},
		{"ephemeral key for A128KW", recipient([]byte{}, header{1: cose.A128KW, -1: point}, wrapped), verdict.EphemeralKey, atElements},
		{"ephemeral key of type OKP", key(1, 1), verdict.EphemeralKey, 37},
		{"ephemeral key on P-384", key(-1, 2), verdict.EphemeralKey, 37},
		{"ephemeral key without y", key(-3, nil), verdict.EphemeralKey, 37},
		{"ephemeral key with kid", recipient(ecdh, header{-1: with(with(point, -3, nil), 2, iv)}, wrapped), verdict.EphemeralKey, 41},
		{"ephemeral key with text label", recipient(ecdh, header{-1: with(with(point, -3, nil), "y", iv)}, wrapped), verdict.EphemeralKey, 79},
		{"ephemeral key with a label too many", key(4, iv), verdict.WrongCount, 37},
		{"compressed ephemeral key", key(-3, true), verdict.WrongType, 78},
		{"x of 31 bytes", key(-2, make([]byte, 31)), verdict.WrongLength, 43},
		{"y of 33 bytes", key(-3, make([]byte, 33)), verdict.WrongLength, 78},
		{"wrapped key of 16 bytes", recipient([]byte{}, header{1: cose.A128KW}, make([]byte, 16)), verdict.WrappedKeyLength, 34},
		{"wrapped key of 40 bytes", recipient([]byte{}, header{1: cose.A128KW}, make([]byte, 40)), verdict.WrappedKeyLength, 34},
		{"no wrapped key", recipient([]byte{}, header{1: cose.A128KW}, nil), verdict.WrongType, 34},
		{"bytes after the message", append(slices.Clone(good), 0), verdict.TrailingBytes, int64(len(good))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readEncrypt(tt.data)
			wantRefusal(t, err, tt.reason, tt.offset)
		})
	}
	for n := range good {
		_, err := readEncrypt(good[:n])
		if reason := verdict.Of(err); reason != verdict.Truncated && reason != verdict.WrongCount { // the latter between map pairs
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func TestEncodeEncryptErrors(t *testing.T) {
	good := cose.Recipient{Algorithm: cose.A128KW}
	for _, tt := range []struct {
		name       string
		recipients []cose.Recipient
	}{
		{"no recipients", nil},
		{"nine recipients", slices.Repeat([]cose.Recipient{good}, 9)},
		{"no algorithm", []cose.Recipient{good, {}}},
		{"A256KW", []cose.Recipient{{Algorithm: -5}}},
		{"empty kid", []cose.Recipient{{Algorithm: cose.A128KW, KeyID: []byte{}}}},
		{"kid of 17 bytes", []cose.Recipient{{Algorithm: cose.ECDHESA128KW, KeyID: make([]byte, 17)}}},
	} {
		if b, err := (cose.Encrypt{Recipients: tt.recipients}).Encode(); err == nil {
			t.Errorf("%s: encodes to % x", tt.name, b)
		}
	}
}

func TestEncryptRoundTrip(t *testing.T) {
	ecdh := cose.Recipient{Algorithm: cose.ECDHESA128KW, X: [32]byte{1}, Y: [32]byte{2}, Wrapped: [24]byte{3}}
	named := ecdh
	named.KeyID = []byte("recipient")
	kw := cose.Recipient{Algorithm: cose.A128KW, KeyID: []byte{0}, Wrapped: [24]byte{4}}
	for _, recipients := range [][]cose.Recipient{{ecdh}, {named}, {kw}, {kw, named, ecdh}, slices.Repeat([]cose.Recipient{named}, cose.MaxRecipients)} {
		want := cose.Encrypt{IV: [16]byte{5, 6}, Recipients: recipients}
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := readEncrypt(data)
		if err != nil {
			t.Fatal(err)
		}
		if got.IV != want.IV || !slices.EqualFunc(got.Recipients, want.Recipients, func(a, b cose.Recipient) bool {
			return a.Algorithm == b.Algorithm && bytes.Equal(a.KeyID, b.KeyID) && a.X == b.X && a.Y == b.Y && a.Wrapped == b.Wrapped
		}) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// encryptionInfo cuts the COSE_Encrypt out of an envelope.
func encryptionInfo(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Hex(name)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(data, []byte{0xd8, 0x60, 0x84})
	if i < 0 {
		t.Fatalf("%s has no COSE_Encrypt", name)
	}
	return data[i:]
}

func TestProfileVectors(t *testing.T) {
	for name, want := range map[string]cose.Recipient{
		"suit/profile/T3-nrf-enc-a128kw-a128ctr.hex":      {Algorithm: cose.A128KW, KeyID: []byte("ble-kek1")},
		"suit/profile/T3-nrf-enc-ecdh-a128ctr.hex":        {Algorithm: cose.ECDHESA128KW, KeyID: []byte("ble-enc1")},
		"suit/profile/T3-nrf-enc-ecdh-severable-full.hex": {Algorithm: cose.ECDHESA128KW, KeyID: []byte("ble-enc1")},
		"suit/profile/T3-nrf-enc-ecdh-with-payload.hex":   {Algorithm: cose.ECDHESA128KW, KeyID: []byte("ble-enc1")},
	} {
		t.Run(name, func(t *testing.T) {
			r := strictcbor.NewReader("message", encryptionInfo(t, name))
			e := cose.ReadEncrypt(r)
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if len(e.Recipients) != 1 || e.Recipients[0].Algorithm != want.Algorithm || !bytes.Equal(e.Recipients[0].KeyID, want.KeyID) {
				t.Errorf("recipients %+v", e.Recipients)
			}
			if iv := unhex(t, "dae613b2e0dc55f4322be38bdba9dc68"); !bytes.Equal(e.IV[:], iv) {
				t.Errorf("IV %x, want %x", e.IV, iv)
			}
			if again, err := e.Encode(); err != nil || !bytes.Equal(again, r.Since(0)) {
				t.Errorf("encodes to % x, %v; want % x", again, err, r.Since(0))
			}
		})
	}
}

// The examples of draft-ietf-suit-firmware-encryption: those with A128CTR are
// deterministic and are read, those with A128GCM are outside the profile.
func TestDraftVectors(t *testing.T) {
	for name, reason := range map[string]verdict.Reason{
		"aes-kw-aes-ctr":  "",
		"es-ecdh-aes-ctr": "",
		"aes-kw-aes-gcm":  verdict.ProtectedNotEmpty,
		"es-ecdh-aes-gcm": verdict.ProtectedNotEmpty,
	} {
		data, err := testvectors.Hex("suit/firmware-encryption/suit-encryption-info-" + name + ".hex")
		if err != nil {
			t.Fatal(err)
		}
		e, err := readEncrypt(data)
		if verdict.Of(err) != reason {
			t.Errorf("%s: got %v, want reason %q", name, err, reason)
		}
		if reason != "" {
			continue
		}
		if again, err := e.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: encodes to % x, %v; want % x", name, again, err, data)
		}
	}
}
