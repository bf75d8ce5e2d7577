package sign_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
)

func TestTrustSetAdd(t *testing.T) {
	a, b := newKey(t, sign.ESP256).Public(), newKey(t, sign.ESP384).Public()
	again := mustKey(t, a.PEM()) // the same key, another value
	for _, tt := range []struct {
		name      string
		threshold int
		keys      []sign.PublicKey
	}{
		{"no keys", 1, nil},
		{"no keys, none needed", 0, nil},
		{"threshold 0", 0, []sign.PublicKey{a}},
		{"threshold negative", -1, []sign.PublicKey{a}},
		{"threshold above the keys", 3, []sign.PublicKey{a, b}},
		{"zero key", 1, []sign.PublicKey{a, {}}},
		{"only a zero key", 1, []sign.PublicKey{{}}},
		{"key twice", 1, []sign.PublicKey{a, b, a}},
		{"key twice, from PEM", 2, []sign.PublicKey{a, again}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var trust sign.TrustSet
			if err := trust.Add(sign.RoleManifest, tt.threshold, tt.keys...); !errors.Is(err, sign.ErrTrust) {
				t.Fatalf("got %v", err)
			}
			if n := trust.Threshold(sign.RoleManifest); n != 0 || trust.Keys(sign.RoleManifest) != nil {
				t.Errorf("the refused role has threshold %d, keys %v", n, trust.Keys(sign.RoleManifest))
			}
			if err := trust.Add(sign.RoleManifest, 1, b); err != nil {
				t.Errorf("after a refusal: %v", err)
			}
		})
	}

	var trust sign.TrustSet
	keys := []sign.PublicKey{a, b}
	if err := trust.Add(sign.RoleManifest, 2, keys...); err != nil {
		t.Fatal(err)
	}
	if err := trust.Add(sign.RoleManifest, 1, a); !errors.Is(err, sign.ErrTrust) {
		t.Errorf("a role set twice: got %v", err)
	}
	if err := trust.Add(sign.RoleRelease, 1, a); err != nil {
		t.Errorf("a key with two roles: %v", err)
	}
	keys[0] = sign.PublicKey{}
	trust.Keys(sign.RoleManifest)[1] = sign.PublicKey{}
	if got := trust.Keys(sign.RoleManifest); trust.Threshold(sign.RoleManifest) != 2 || !slices.EqualFunc(got, []sign.PublicKey{a, b}, sign.PublicKey.Equal) {
		t.Errorf("the role has threshold %d, %d keys", trust.Threshold(sign.RoleManifest), len(got))
	}
}

func TestTrustSetCheck(t *testing.T) {
	message := []byte("the exact bytes")
	a, b, c, stranger := newKey(t, sign.ESP256), newKey(t, sign.ESP384), newKey(t, sign.ESP256), newKey(t, sign.ESP256)
	id := func(s sign.Signer) []byte { id := s.Public().ID(); return id[:] }
	by := func(s sign.Signer, hint ...byte) sign.Candidate {
		return sign.Candidate{Hint: hint, Message: message, Signature: mustSign(t, s, message)}
	}
	wrong := sign.Candidate{Message: []byte("other bytes"), Signature: mustSign(t, a, message)}
	second := by(a)
	if bytes.Equal(second.Signature.Encode(sign.Raw), by(a).Signature.Encode(sign.Raw)) {
		t.Fatal("two signatures of one key are the same: the cases below would test less than they say")
	}

	for _, tt := range []struct {
		name       string
		threshold  int
		candidates []sign.Candidate
		want       []sign.Signer // nil: refused
	}{
		{"nothing", 1, nil, nil},
		{"zero candidate", 1, []sign.Candidate{{}}, nil},
		{"zero signature", 1, []sign.Candidate{{Hint: id(a), Message: message}}, nil},
		{"stranger", 1, []sign.Candidate{by(stranger)}, nil},
		{"stranger with a trusted hint", 1, []sign.Candidate{by(stranger, id(a)...)}, nil},
		{"other message", 1, []sign.Candidate{wrong}, nil},
		{"one of two", 2, []sign.Candidate{by(a)}, nil},
		{"one of two and a stranger", 2, []sign.Candidate{by(a), by(stranger)}, nil},
		{"one of two and another message", 2, []sign.Candidate{by(b), wrong}, nil},
		{"one key twice, the same signature", 2, []sign.Candidate{second, second}, nil},
		{"one key twice, two signatures", 2, []sign.Candidate{by(a), second}, nil},
		{"one key three times under three hints", 2, []sign.Candidate{by(a, id(a)...), by(a, id(b)...), by(a, id(c)...)}, nil},
		{"two of three", 3, []sign.Candidate{by(a), by(b), by(b)}, nil},

		{"one", 1, []sign.Candidate{by(c)}, []sign.Signer{c}},
		{"more than needed, in the set's order", 1, []sign.Candidate{by(c), by(a)}, []sign.Signer{a, c}},
		{"two", 2, []sign.Candidate{by(b), by(a)}, []sign.Signer{a, b}},
		{"three", 3, []sign.Candidate{by(c), by(b), by(a)}, []sign.Signer{a, b, c}},
		{"behind strangers and rubbish", 2, []sign.Candidate{{}, by(stranger), wrong, by(a), by(stranger), by(c)}, []sign.Signer{a, c}},
		{"twice and another", 2, []sign.Candidate{by(a), by(a), by(b)}, []sign.Signer{a, b}},

		{"right hint", 1, []sign.Candidate{by(b, id(b)[:8]...)}, []sign.Signer{b}},
		{"hint of one byte", 1, []sign.Candidate{by(b, id(b)[0])}, []sign.Signer{b}},
		{"whole id as hint", 1, []sign.Candidate{by(b, id(b)...)}, []sign.Signer{b}},
		{"empty hint", 1, []sign.Candidate{{Hint: []byte{}, Message: message, Signature: mustSign(t, b, message)}}, []sign.Signer{b}},
		{"hint of another trusted key", 1, []sign.Candidate{by(b, id(a)...)}, []sign.Signer{b}},
		{"hint of a stranger", 1, []sign.Candidate{by(b, id(stranger)...)}, []sign.Signer{b}},
		{"hint longer than an id", 1, []sign.Candidate{by(b, append(id(b), 0)...)}, []sign.Signer{b}},
		{"hints exchanged", 2, []sign.Candidate{by(a, id(b)...), by(b, id(a)...)}, []sign.Signer{a, b}},
		{"hints all of one key", 3, []sign.Candidate{by(a, id(a)...), by(b, id(a)...), by(c, id(a)...)}, []sign.Signer{a, b, c}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var trust sign.TrustSet
			if err := trust.Add(sign.RoleManifest, tt.threshold, a.Public(), b.Public(), c.Public()); err != nil {
				t.Fatal(err)
			}
			keys, err := trust.Check(sign.RoleManifest, tt.candidates)
			if tt.want == nil {
				if !errors.Is(err, sign.ErrThreshold) || keys != nil {
					t.Fatalf("got %d keys, %v", len(keys), err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(keys, tt.want, func(k sign.PublicKey, s sign.Signer) bool { return k.Equal(s.Public()) }) {
				t.Errorf("got %d keys, want %d, or another order", len(keys), len(tt.want))
			}
			if _, err := trust.Check(sign.RoleRelease, tt.candidates); !errors.Is(err, sign.ErrTrust) {
				t.Errorf("a role without keys: got %v", err)
			}
		})
	}
}

func TestTrustSetRevoke(t *testing.T) {
	message := []byte("the exact bytes")
	a, b, stranger := newKey(t, sign.ESP256), newKey(t, sign.ESP384), newKey(t, sign.ESP256)
	by := func(s sign.Signer) sign.Candidate {
		id := s.Public().ID()
		return sign.Candidate{Hint: id[:sign.HintSize], Message: message, Signature: mustSign(t, s, message)}
	}
	wrong := by(a)
	wrong.Message = []byte("other bytes")

	for _, tt := range []struct {
		name       string
		threshold  int
		revoked    []sign.Signer
		candidates []sign.Candidate
		want       error
	}{
		{"only signer revoked", 1, []sign.Signer{a}, []sign.Candidate{by(a)}, sign.ErrRevoked},
		{"one of two needed revoked", 2, []sign.Signer{a}, []sign.Candidate{by(a), by(b)}, sign.ErrRevoked},
		{"all revoked", 1, []sign.Signer{a, b}, []sign.Candidate{by(b)}, sign.ErrRevoked},
		{"revoked key of no role", 1, []sign.Signer{stranger}, []sign.Candidate{by(stranger)}, sign.ErrRevoked},
		{"revoked twice", 1, []sign.Signer{a, a}, []sign.Candidate{by(a)}, sign.ErrRevoked},
		{"revoked key did not sign", 1, []sign.Signer{a}, []sign.Candidate{by(stranger)}, sign.ErrThreshold},
		{"revoked key signed something else", 1, []sign.Signer{a}, []sign.Candidate{wrong}, sign.ErrThreshold},
		{"nothing signed", 1, []sign.Signer{a}, nil, sign.ErrThreshold},

		{"another signer", 1, []sign.Signer{a}, []sign.Candidate{by(b)}, nil},
		{"another signer behind the revoked one", 1, []sign.Signer{a}, []sign.Candidate{by(a), by(b)}, nil},
		{"a stranger revoked", 2, []sign.Signer{stranger}, []sign.Candidate{by(b), by(a)}, nil},
		{"the key without a public half revoked", 2, []sign.Signer{keyless{a}}, []sign.Candidate{by(b), by(a)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after sign.TrustSet // revoked before and after Add
			for _, s := range tt.revoked {
				before.Revoke(s.Public())
			}
			for _, trust := range []*sign.TrustSet{&before, &after} {
				if err := trust.Add(sign.RoleManifest, tt.threshold, a.Public(), b.Public()); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range tt.revoked {
				after.Revoke(s.Public())
			}
			for _, trust := range []*sign.TrustSet{&before, &after} {
				keys, err := trust.Check(sign.RoleManifest, tt.candidates)
				if !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if tt.want != nil {
					if keys != nil || errors.Is(err, sign.ErrRevoked) == errors.Is(err, sign.ErrThreshold) {
						t.Errorf("got %d keys, %v", len(keys), err)
					}
					continue
				}
				if len(keys) < tt.threshold {
					t.Errorf("got %d keys", len(keys))
				}
				for _, s := range tt.revoked {
					if slices.ContainsFunc(keys, s.Public().Equal) {
						t.Error("a revoked key is among them")
					}
				}
			}
		})
	}
}

func TestZeroTrustSet(t *testing.T) {
	var trust sign.TrustSet
	s := newKey(t, sign.ESP256)
	candidates := []sign.Candidate{{Message: nil, Signature: mustSign(t, s, nil)}}
	for _, role := range []sign.Role{sign.RoleManifest, sign.RoleRelease, "", "unknown"} {
		for _, c := range [][]sign.Candidate{nil, candidates} {
			if keys, err := trust.Check(role, c); !errors.Is(err, sign.ErrTrust) || keys != nil {
				t.Errorf("%q: got %d keys, %v", role, len(keys), err)
			}
		}
		if trust.Keys(role) != nil || trust.Threshold(role) != 0 {
			t.Errorf("%q has keys", role)
		}
	}
}
