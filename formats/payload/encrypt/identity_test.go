package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestHeaderFaults(t *testing.T) {
	device, to := recipient(t, "a")
	s := sealer(t, stream(""), to)
	edit := func(f func(*Header)) Header {
		h := s.Header()
		f(&h)
		return h
	}
	for _, tt := range []struct {
		name string
		h    Header
		want error
	}{
		{"zero value", Header{}, ErrAlgorithm},
		{"unknown content algorithm", edit(func(h *Header) { h.Algorithm = 24 }), ErrAlgorithm},
		{"no IV", edit(func(h *Header) { h.IV = nil }), ErrIV},
		{"nonce of GCM for CTR", edit(func(h *Header) { h.IV = h.IV[:12] }), ErrIV},
		{"counter block of CTR for GCM", edit(func(h *Header) { h.Algorithm = A128GCM }), ErrIV},
		{"no recipients", edit(func(h *Header) { h.Recipients = nil }), ErrNoRecipients},
		{"nine recipients", edit(func(h *Header) { h.Recipients = slices.Repeat(h.Recipients, 9) }), ErrTooManyRecipients},
		{"unknown key management", edit(func(h *Header) { h.Recipients[0].Management = -25 }), ErrAlgorithm},
		{"point off the curve", edit(func(h *Header) { h.Recipients[0].EphemeralY[31] ^= 1 }), ErrEphemeralKey},
		{"coordinate not below the prime", edit(func(h *Header) { h.Recipients[0].EphemeralX = [32]byte(bytes.Repeat([]byte{0xff}, 32)) }), ErrEphemeralKey},
		{"no ephemeral key", edit(func(h *Header) {
			h.Recipients[0].EphemeralX, h.Recipients[0].EphemeralY = [32]byte{}, [32]byte{}
		}), ErrEphemeralKey},
		{"ephemeral key with A128KW", edit(func(h *Header) { h.Recipients[0].Management = A128KW }), ErrEphemeralKey},
		{"a bad recipient after a good one", edit(func(h *Header) {
			h.Recipients = append(h.Recipients, WrappedKey{Management: ECDHESA128KW})
		}), ErrEphemeralKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.h.Check(); !errors.Is(err, tt.want) {
				t.Errorf("check: got %v, want %v", err, tt.want)
			}
			for _, id := range []Identity{identity(t, device), s.Identity(0), NewKEK(nil, [keySize]byte{})} {
				if key, err := id.Unwrap(tt.h); !errors.Is(err, tt.want) || key != nil {
					t.Errorf("%T: got %v, want %v", id, err, tt.want)
				}
			}
		})
	}
	if err := s.Header().Check(); err != nil {
		t.Error(err)
	}
}

// Whatever keeps a recipient block from opening, the answer is the same.
func TestUnwrapIsOpaque(t *testing.T) {
	device, to := recipient(t, "a")
	_, other := recipient(t, "b")
	s := sealer(t, stream(""), to)
	wrappedBit, otherPoint := s.Header(), s.Header()
	wrappedBit.Recipients[0].Wrapped[23] ^= 1
	foreign := sealer(t, stream("other"), other).Header().Recipients[0]
	otherPoint.Recipients[0].EphemeralX, otherPoint.Recipients[0].EphemeralY = foreign.EphemeralX, foreign.EphemeralY

	// A block that the shared key wrapped, but which says ECDH.
	kek := [keySize]byte(draftKEK)
	block, err := aes.NewCipher(kek[:])
	if err != nil {
		t.Fatal(err)
	}
	confused := s.Header()
	confused.Recipients[0].Wrapped = wrap(block, &kek)

	for name, try := range map[string]struct {
		id Identity
		h  Header
	}{
		"shared key under ECDH":   {NewKEK(to.KeyID, kek), confused},
		"another device":          {identity(t, device), Header{A128CTR, draftIV, []WrappedKey{foreign}}},
		"modified key":            {identity(t, device), wrappedBit},
		"another ephemeral key":   {identity(t, device), otherPoint},
		"shared key for ECDH":     {NewKEK(to.KeyID, [keySize]byte{}), s.Header()},
		"device key for A128KW":   {identity(t, device), Header{A128CTR, draftIV, []WrappedKey{{Management: A128KW, KeyID: to.KeyID}}}},
		"another shared key":      {NewKEK(nil, [keySize]byte{}), Header{A128CTR, draftIV, []WrappedKey{{Management: A128KW}}}},
		"sender, another payload": {s.Identity(0), sealer(t, stream("again"), to).Header()},
	} {
		key, err := try.id.Unwrap(try.h)
		if key != nil || !errors.Is(err, ErrUnwrap) || err.Error() != "encrypt: header: no recipient block could be unwrapped" {
			t.Errorf("%s: got %v, %v", name, key, err)
		}
	}
}

func TestRecipients(t *testing.T) {
	var devices []*ecdh.PrivateKey
	var to []Recipient
	for i := range MaxRecipients {
		key, r := recipient(t, fmt.Sprint("device ", i))
		devices, to = append(devices, key), append(to, r)
	}
	s := sealer(t, stream(""), to...)
	h := s.Header()
	want, err := s.Identity(0).Unwrap(h)
	if err != nil {
		t.Fatal(err)
	}
	points := map[[32]byte]bool{}
	for i, w := range h.Recipients {
		points[w.EphemeralX] = true
		for _, id := range []Identity{identity(t, devices[i]), s.Identity(i)} {
			if got, err := id.Unwrap(h); err != nil || *got.key != *want.key {
				t.Errorf("recipient %d, %T: %v", i, id, err)
			}
		}
	}
	if len(points) != MaxRecipients {
		t.Errorf("%d ephemeral keys for %d recipients", len(points), MaxRecipients)
	}
}

// A key id orders the attempts and excludes nothing.
func TestKeyIDIsAHint(t *testing.T) {
	device, mine := recipient(t, "mine")
	_, a := recipient(t, "a")
	_, b := recipient(t, "b")
	for _, tt := range []struct {
		name string
		ids  [3]string
		want []int
	}{
		{"right", [3]string{"a", "b", "me"}, []int{2, 0, 1}},
		{"unknown", [3]string{"a", "b", "c"}, []int{0, 1, 2}},
		{"of another recipient", [3]string{"a", "me", "b"}, []int{1, 0, 2}},
		{"of all", [3]string{"me", "me", "me"}, []int{0, 1, 2}},
		{"empty", [3]string{"", "", ""}, []int{0, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sealer(t, stream(""), a, b, mine)
			h := s.Header()
			for i, id := range tt.ids {
				h.Recipients[i].KeyID = []byte(id)
			}
			var tried []int
			_, err := unwrapAny(h, []byte("me"), func(w *WrappedKey, _ *ecdh.PublicKey) (*[keySize]byte, error) {
				tried = append(tried, slices.IndexFunc(h.Recipients, func(r WrappedKey) bool { return r.Wrapped == w.Wrapped }))
				return nil, nil
			})
			if !errors.Is(err, ErrUnwrap) || !slices.Equal(tried, tt.want) {
				t.Errorf("tried %v, %v, want %v", tried, err, tt.want)
			}
			if _, err := identity(t, device).Unwrap(h); err != nil {
				t.Errorf("device: %v", err)
			}
		})
	}
}

// The sender's view must decide every header as the device does.
func TestSenderDecidesAsDevice(t *testing.T) {
	key, to := recipient(t, "a")
	_, other := recipient(t, "b")
	s := sealer(t, stream(""), other, to)
	device, sender := identity(t, key), s.Identity(1)
	p, _ := new(big.Int).SetString("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", 16)

	for _, tt := range []struct {
		name  string
		edit  func(*Header)
		opens bool
	}{
		{"as made", func(*Header) {}, true},
		{"other order", func(h *Header) { slices.Reverse(h.Recipients) }, true},
		{"alone", func(h *Header) { h.Recipients = h.Recipients[1:] }, true},
		{"other IV", func(h *Header) { h.IV[3] ^= 1 }, true},
		{"negated ephemeral key", func(h *Header) { // the same x: the same shared secret
			y := &h.Recipients[1].EphemeralY
			new(big.Int).Sub(p, new(big.Int).SetBytes(y[:])).FillBytes(y[:])
		}, true},
		{"recipient taken out", func(h *Header) { h.Recipients = h.Recipients[:1] }, false},
		{"wrapped keys swapped", func(h *Header) {
			a, b := &h.Recipients[0].Wrapped, &h.Recipients[1].Wrapped
			*a, *b = *b, *a
		}, false},
		{"ephemeral key of the other", func(h *Header) {
			a, b := h.Recipients[0], &h.Recipients[1]
			b.EphemeralX, b.EphemeralY = a.EphemeralX, a.EphemeralY
		}, false},
		{"modified key", func(h *Header) { h.Recipients[1].Wrapped[0] ^= 0x80 }, false},
		{"bad point", func(h *Header) { h.Recipients[1].EphemeralX[0] ^= 1 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := s.Header()
			tt.edit(&h)
			a, errA := device.Unwrap(h)
			b, errB := sender.Unwrap(h)
			if opens := errA == nil; opens != tt.opens || fmt.Sprint(errA) != fmt.Sprint(errB) || opens && *a.key != *b.key {
				t.Errorf("device: %v, sender: %v, want success %t", errA, errB, tt.opens)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	key := &ContentKey{key: (*[keySize]byte)(bytes.Clone(draftCEK))}
	ctr := Header{Algorithm: A128CTR, IV: make([]byte, 16)}
	gcm := Header{Algorithm: A128GCM, IV: make([]byte, 12)}
	reader := func(h Header, k *ContentKey) error {
		r, err := NewReader(strings.NewReader("x"), h, k)
		if (r == nil) != (err != nil) {
			t.Errorf("reader %v with %v", r, err)
		}
		return err
	}
	whole := func(ciphertext []byte, h Header, k *ContentKey) error {
		plain, err := OpenGCM(ciphertext, h, k)
		if plain != nil && err != nil {
			t.Errorf("releases %d bytes with %v", len(plain), err)
		}
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"ctr: GCM header", reader(gcm, key), ErrAlgorithm},
		{"ctr: no algorithm", reader(Header{}, key), ErrAlgorithm},
		{"ctr: short IV", reader(Header{Algorithm: A128CTR, IV: make([]byte, 15)}, key), ErrIV},
		{"ctr: no key", reader(ctr, &ContentKey{}), ErrSpent},
		{"gcm: CTR header", whole(make([]byte, 32), ctr, key), ErrAlgorithm},
		{"gcm: long nonce", whole(make([]byte, 32), Header{Algorithm: A128GCM, IV: make([]byte, 13)}, key), ErrIV},
		{"gcm: no key", whole(make([]byte, 32), gcm, &ContentKey{}), ErrSpent},
		{"gcm: empty", whole(nil, gcm, key), ErrAuthentication},
		{"gcm: shorter than a tag", whole(make([]byte, 15), gcm, key), ErrAuthentication},
		{"gcm: wrong tag", whole(make([]byte, 48), gcm, key), ErrAuthentication},
		{"gcm: as long as allowed", whole(make([]byte, MaxGCM+16), gcm, key), ErrAuthentication},
		{"gcm: too long", whole(make([]byte, MaxGCM+17), gcm, key), ErrTooLong},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.err, tt.want)
		}
	}

	r, err := NewReader(failAfter(10, io.ErrUnexpectedEOF), ctr, key)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(b) != 10 {
		t.Errorf("truncated source: %d bytes, %v", len(b), err)
	}
}

// A payload of the draft with any bit of the ciphertext, the tag or the nonce
// flipped.
func TestGCMTampering(t *testing.T) {
	h := readInfo(t, vector(t, "suit/firmware-encryption/suit-encryption-info-es-ecdh-aes-gcm.hex"))
	ciphertext := vector(t, "suit/firmware-encryption/encrypted-payload-es-ecdh-aes-gcm.hex")
	key, err := draftIdentity(t, ECDHESA128KW).Unwrap(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{ciphertext, h.IV} {
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			if plain, err := OpenGCM(ciphertext, h, key); plain != nil || !errors.Is(err, ErrAuthentication) {
				t.Fatalf("bit %d: %q, %v", bit, plain, err)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		v    fmt.Stringer
		want string
	}{
		{A128CTR, "A128CTR"}, {A128GCM, "A128GCM"}, {Algorithm(3), "Algorithm(3)"},
		{ECDHESA128KW, "ECDH-ES+A128KW"}, {A128KW, "A128KW"}, {KeyManagement(0), "KeyManagement(0)"},
	} {
		if got := tt.v.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
