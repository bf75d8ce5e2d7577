package sign_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
)

// both calls a signer's two verbs over the same message.
func both(t *testing.T, ctx context.Context, s sign.Signer, message []byte, check func(verb string, signature sign.Signature, err error)) {
	t.Helper()
	signature, err := s.Sign(ctx, message)
	check("Sign", signature, err)
	signature, err = s.SignDigest(ctx, s.Public().Algorithm().Digest(message))
	check("SignDigest", signature, err)
}

// device is a crypto.Signer that gives the same answer to everything.
type device struct {
	public crypto.PublicKey
	answer []byte
	err    error
}

func (d device) Public() crypto.PublicKey { return d.public }

func (d device) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return d.answer, d.err }

func TestFromCryptoRefuses(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		signer crypto.Signer
		want   error
	}{
		{"P-521", p521, sign.ErrCurve},
		{"no public key", device{}, sign.ErrKey},
	} {
		if s, err := sign.FromCrypto(tt.signer); !errors.Is(err, tt.want) || s != nil {
			t.Errorf("%s: got %v, %v", tt.name, s, err)
		}
	}
}

func TestFromCryptoErrors(t *testing.T) {
	broken := errors.New("device removed")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, a := range algorithms {
		key := privateKey(t, a)
		der, err := key.Sign(nil, a.Digest(nil), a.Hash())
		if err != nil {
			t.Fatal(err)
		}
		raw := mustParse(t, a, sign.DER, der).Encode(sign.Raw)
		for _, tt := range []struct {
			name   string
			ctx    context.Context
			signer crypto.Signer
			want   error
		}{
			{"error", t.Context(), device{key.Public(), nil, broken}, broken},
			{"error and signature", t.Context(), device{key.Public(), der, broken}, broken},
			{"no answer", t.Context(), device{key.Public(), nil, nil}, sign.ErrEncoding},
			{"raw", t.Context(), device{key.Public(), raw, nil}, sign.ErrEncoding},
			{"trailing byte", t.Context(), device{key.Public(), append(bytes.Clone(der), 0), nil}, sign.ErrEncoding},
			{"cancelled", cancelled, key, context.Canceled},
		} {
			s, err := sign.FromCrypto(tt.signer)
			if err != nil {
				t.Fatal(err)
			}
			both(t, tt.ctx, s, nil, func(verb string, signature sign.Signature, err error) {
				if !errors.Is(err, tt.want) || !signature.IsZero() {
					t.Errorf("%s, %s, %s: got %v, %v", a, tt.name, verb, signature, err)
				}
			})
		}

		s, err := sign.FromCrypto(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 20, a.Hash().Size() - 1, a.Hash().Size() + 1, 64} {
			if signature, err := s.SignDigest(t.Context(), make([]byte, n)); !errors.Is(err, sign.ErrDigestSize) || !signature.IsZero() {
				t.Errorf("%s: digest of %d bytes: got %v, %v", a, n, signature, err)
			}
		}
	}
}

func TestThrowaway(t *testing.T) {
	for _, a := range []sign.Algorithm{-1, 0, 4} {
		if s, err := sign.Throwaway(a); !errors.Is(err, sign.ErrAlgorithm) || s != nil {
			t.Errorf("%s: got %v, %v", a, s, err)
		}
	}
	for _, a := range algorithms {
		s := newKey(t, a)
		if s.Public().Algorithm() != a {
			t.Errorf("%s: a key for %s", a, s.Public().Algorithm())
		}
		if s.Public().Equal(newKey(t, a).Public()) {
			t.Errorf("%s: the same key twice", a)
		}
		message := []byte("message")
		both(t, t.Context(), s, message, func(verb string, signature sign.Signature, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Public().Verify(message, signature); err != nil {
				t.Errorf("%s, %s: %v", a, verb, err)
			}
		})
	}
}

// No way of printing a signer shows the private key behind it.
func TestSignerPrintsNoSecret(t *testing.T) {
	key := privateKey(t, sign.ESP256)
	secret, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sign.FromCrypto(key)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := sign.Checked(plain, plain.Public())
	if err != nil {
		t.Fatal(err)
	}
	spellings := []string{
		hex.EncodeToString(secret[:8]),
		strings.Trim(fmt.Sprint(secret[:8]), "[]"), // bytes in decimal
		new(big.Int).SetBytes(secret).String(),
	}
	for _, s := range []sign.Signer{plain, checked} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			text := strings.ToLower(fmt.Sprintf(format, s))
			for _, spelling := range spellings {
				if strings.Contains(text, spelling) {
					t.Errorf("%s of %T contains %s", format, s, spelling)
				}
			}
		}
		if b, err := json.Marshal(s); err != nil || string(b) != "{}" {
			t.Errorf("JSON of %T: %s, %v", s, b, err)
		}
	}
}

func TestCheckedRefusesKey(t *testing.T) {
	s := newKey(t, sign.ESP256)
	for name, pinned := range map[string]sign.PublicKey{
		"other key":       newKey(t, sign.ESP256).Public(),
		"other algorithm": newKey(t, sign.ESP384).Public(),
		"zero key":        {},
	} {
		if c, err := sign.Checked(s, pinned); !errors.Is(err, sign.ErrKeyMismatch) || c != nil {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
	}
	if c, err := sign.Checked(keyless{s}, sign.PublicKey{}); !errors.Is(err, sign.ErrKeyMismatch) || c != nil {
		t.Errorf("neither side has a key: got %v, %v", c, err)
	}
}

// keyless does not know its public half.
type keyless struct{ sign.Signer }

func (keyless) Public() sign.PublicKey { return sign.PublicKey{} }

// liar reports the public half of one signer and answers as it likes.
type liar struct {
	sign.Signer
	answer func(honest sign.Signature) (sign.Signature, error)
}

func (l liar) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	return l.lie(l.Signer.Sign(ctx, message))
}

func (l liar) SignDigest(ctx context.Context, digest []byte) (sign.Signature, error) {
	return l.lie(l.Signer.SignDigest(ctx, digest))
}

func (l liar) lie(honest sign.Signature, err error) (sign.Signature, error) {
	if err != nil {
		return sign.Signature{}, err
	}
	return l.answer(honest)
}

func TestCheckedFindsLies(t *testing.T) {
	message := []byte("the exact bytes")
	lost := errors.New("session lost")
	for _, a := range algorithms {
		honest := newKey(t, a)
		always := func(s sign.Signature) func(sign.Signature) (sign.Signature, error) {
			return func(sign.Signature) (sign.Signature, error) { return s, nil }
		}
		other := algorithms[0]
		if other == a {
			other = algorithms[1]
		}
		for _, tt := range []struct {
			name   string
			answer func(sign.Signature) (sign.Signature, error)
			want   error
		}{
			{"made with another key", always(mustSign(t, newKey(t, a), message)), sign.ErrSignature},
			{"made with another algorithm", always(mustSign(t, newKey(t, other), message)), sign.ErrSignature},
			{"over another message", always(mustSign(t, honest, []byte("other bytes"))), sign.ErrSignature},
			{"over the digest as message", always(mustSign(t, honest, a.Digest(message))), sign.ErrSignature},
			{"zero signature, no error", always(sign.Signature{}), sign.ErrSignature},
			{"flipped bit", func(s sign.Signature) (sign.Signature, error) {
				raw := s.Encode(sign.Raw)
				raw[len(raw)-1] ^= 1
				if raw[len(raw)-1] == 0 {
					raw[len(raw)-1] = 2 // stay away from s = 0
				}
				return sign.ParseSignature(a, sign.Raw, raw)
			}, sign.ErrSignature},
			{"r and s swapped", func(s sign.Signature) (sign.Signature, error) {
				raw := s.Encode(sign.Raw)
				return sign.ParseSignature(a, sign.Raw, append(raw[len(raw)/2:], raw[:len(raw)/2]...))
			}, sign.ErrSignature},
			{"error", func(sign.Signature) (sign.Signature, error) { return sign.Signature{}, lost }, lost},
			{"good signature with an error", func(s sign.Signature) (sign.Signature, error) { return s, lost }, lost},
		} {
			s, err := sign.Checked(liar{honest, tt.answer}, honest.Public())
			if err != nil {
				t.Fatal(err)
			}
			both(t, t.Context(), s, message, func(verb string, signature sign.Signature, err error) {
				if !errors.Is(err, tt.want) || !signature.IsZero() {
					t.Errorf("%s, %s, %s: got %v, %v", a, tt.name, verb, signature, err)
				}
			})
		}
	}
}

func TestChecked(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, a := range algorithms {
		token := newKey(t, a)
		s, err := sign.Checked(token, mustKey(t, token.Public().PEM()))
		if err != nil {
			t.Fatal(err)
		}
		if !s.Public().Equal(token.Public()) {
			t.Errorf("%s: public half %s", a, s.Public().ID())
		}
		if _, err := s.SignDigest(t.Context(), make([]byte, 20)); !errors.Is(err, sign.ErrDigestSize) {
			t.Errorf("%s: got %v", a, err)
		}
		message := []byte("message")
		both(t, cancelled, s, message, func(verb string, signature sign.Signature, err error) {
			if !errors.Is(err, context.Canceled) || !signature.IsZero() {
				t.Errorf("%s, %s: got %v, %v", a, verb, signature, err)
			}
		})
		both(t, t.Context(), s, message, func(verb string, signature sign.Signature, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if err := token.Public().Verify(message, signature); err != nil {
				t.Errorf("%s, %s: %v", a, verb, err)
			}
		})
	}
}

// counted calls a function before each signature.
type counted struct {
	sign.Signer
	before func()
}

func (c counted) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	c.before()
	return c.Signer.Sign(ctx, message)
}

func TestAnswerErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	key, missing := newKey(t, sign.ESP256), newKey(t, sign.ESP256)
	id := key.Public().ID()
	request := func(artifact string, id sign.KeyID) sign.Request {
		return sign.Request{Artifact: artifact, Role: sign.RoleManifest, Key: id, Message: []byte(artifact)}
	}
	lost := errors.New("session lost")
	lose := liar{key, func(sign.Signature) (sign.Signature, error) { return sign.Signature{}, lost }}

	for _, tt := range []struct {
		name     string
		ctx      context.Context
		signer   sign.Signer
		requests []sign.Request
		want     error
		artifact string // that the error names
		signed   int    // how often the signer was asked
	}{
		{"no signer", t.Context(), key, []sign.Request{request("radio", missing.Public().ID())}, sign.ErrNoSigner, "radio", 0},
		{"no signer for the last", t.Context(), key, []sign.Request{request("radio", id), request("motor", missing.Public().ID())}, sign.ErrNoSigner, "motor", 0},
		{"no key asked for", t.Context(), key, []sign.Request{request("radio", sign.KeyID{})}, sign.ErrNoSigner, "radio", 0},
		{"cancelled", cancelled, key, []sign.Request{request("radio", id)}, context.Canceled, "radio", 0},
		{"signer fails", t.Context(), lose, []sign.Request{request("radio", id), request("motor", id)}, lost, "radio", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			signers := map[sign.KeyID]sign.Signer{id: counted{tt.signer, func() { asked++ }}}
			signatures, err := sign.Answer(tt.ctx, tt.requests, signers)
			if !errors.Is(err, tt.want) || signatures != nil {
				t.Fatalf("got %v, %v", signatures, err)
			}
			if !strings.HasPrefix(err.Error(), "sign: "+tt.artifact+": ") {
				t.Errorf("%q does not begin with the artifact %s", err, tt.artifact)
			}
			if asked != tt.signed {
				t.Errorf("the signer was asked %d times, want %d", asked, tt.signed)
			}
		})
	}
}

// A context that ends while a signature is made lets no other begin.
func TestAnswerStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	key := newKey(t, sign.ESP256)
	asked := 0
	stopping := counted{key, func() {
		if asked++; asked == 2 {
			cancel()
		}
	}}
	id := key.Public().ID()
	requests := make([]sign.Request, 4)
	for i := range requests {
		requests[i] = sign.Request{Artifact: "radio", Key: id}
	}
	signatures, err := sign.Answer(ctx, requests, map[sign.KeyID]sign.Signer{id: stopping})
	if !errors.Is(err, context.Canceled) || signatures != nil || asked != 2 {
		t.Errorf("got %v, %v after %d", signatures, err, asked)
	}
}

func TestAnswer(t *testing.T) {
	if signatures, err := sign.Answer(t.Context(), nil, nil); err != nil || len(signatures) != 0 {
		t.Errorf("no requests: got %v, %v", signatures, err)
	}

	a, b, c := newKey(t, sign.ESP256), newKey(t, sign.ESP384), newKey(t, sign.ESP256)
	signers := map[sign.KeyID]sign.Signer{}
	for _, s := range []sign.Signer{a, b, c} {
		signers[s.Public().ID()] = s
	}
	order := []sign.Signer{c, a, b, a, c}
	var requests []sign.Request
	for i, s := range order {
		requests = append(requests, sign.Request{Artifact: "radio manifest", Key: s.Public().ID(), Message: []byte{byte(i)}})
	}
	signatures, err := sign.Answer(t.Context(), requests, signers)
	if err != nil {
		t.Fatal(err)
	}
	if len(signatures) != len(requests) {
		t.Fatalf("%d signatures for %d requests", len(signatures), len(requests))
	}
	for i, s := range signatures {
		if err := order[i].Public().Verify(requests[i].Message, s); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
}
