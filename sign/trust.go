package sign

import (
	"bytes"
	"fmt"
	"slices"
)

// TrustSet says which keys a verifier accepts for which role, and how many of
// them must have signed. The zero value trusts nobody.
type TrustSet struct {
	roles   map[Role]trust
	revoked []PublicKey
}

type trust struct {
	keys      []PublicKey
	threshold int
}

// Add sets the keys of a role. threshold counts distinct keys and must be
// between 1 and len(keys); a role can be set once, a key occur once in it. An
// error wraps ErrTrust and leaves the set as it was.
func (t *TrustSet) Add(role Role, threshold int, keys ...PublicKey) error {
	if _, ok := t.roles[role]; ok {
		return fmt.Errorf("sign: role %s is set twice: %w", role, ErrTrust)
	}
	if threshold < 1 || threshold > len(keys) {
		return fmt.Errorf("sign: role %s: threshold %d with %d keys: %w", role, threshold, len(keys), ErrTrust)
	}
	for i, k := range keys {
		if k.IsZero() {
			return fmt.Errorf("sign: role %s: empty key: %w", role, ErrTrust)
		}
		if slices.ContainsFunc(keys[:i], k.Equal) {
			return fmt.Errorf("sign: role %s: key %s twice: %w", role, k.id.Short(), ErrTrust)
		}
	}
	if t.roles == nil {
		t.roles = make(map[Role]trust)
	}
	t.roles[role] = trust{slices.Clone(keys), threshold}
	return nil
}

// Revoke withdraws keys from all roles, those set later included. A signature
// by a revoked key counts for nothing; when it leaves a role below its threshold,
// the error of Check names the key. A threshold does not fall with the keys.
func (t *TrustSet) Revoke(keys ...PublicKey) {
	t.revoked = append(t.revoked, keys...)
}

func (t *TrustSet) isRevoked(k PublicKey) bool { return slices.ContainsFunc(t.revoked, k.Equal) }

// Keys returns the keys of a role as they were added, revoked ones included, nil
// when it has none.
func (t *TrustSet) Keys(role Role) []PublicKey { return slices.Clone(t.roles[role].keys) }

// Threshold returns how many distinct keys of a role must have signed; 0 means
// that the role has no keys and nothing can satisfy it.
func (t *TrustSet) Threshold(role Role) int { return t.roles[role].threshold }

// Candidate is one signature found in a file.
type Candidate struct {
	Hint      []byte    // unsigned key hint: the first bytes of a KeyID, or empty
	Message   []byte    // the exact bytes that the signature must cover
	Signature Signature // the zero Signature is never valid
}

// Check returns the keys of role that made valid signatures among the
// candidates, at least the role's threshold of them, in the trust set's order.
// A key counts once, however often it signed, and a candidate for one key.
// Hints only order the attempts: a wrong hint never hides a valid signature.
// When too few signed, the error wraps ErrRevoked if a revoked key is among the
// signers and ErrThreshold if none is. A role without keys wraps ErrTrust.
//
// The caller derives every Message from one and the same content, or signatures
// over different contents would add up, and bounds the number of candidates:
// each may cost one verification per key, revoked keys included.
func (t *TrustSet) Check(role Role, candidates []Candidate) ([]PublicKey, error) {
	r, ok := t.roles[role]
	if !ok {
		return nil, fmt.Errorf("sign: no trusted key for role %s: %w", role, ErrTrust)
	}
	signed := make([]bool, len(r.keys))
	for _, c := range candidates {
		for _, i := range r.order(c.Hint) {
			if !signed[i] && !t.isRevoked(r.keys[i]) && r.keys[i].Verify(c.Message, c.Signature) == nil {
				signed[i] = true
				break
			}
		}
	}
	var by []PublicKey
	for i, k := range r.keys {
		if signed[i] {
			by = append(by, k)
		}
	}
	if len(by) < r.threshold {
		for _, c := range candidates {
			for _, k := range t.revoked {
				if k.Verify(c.Message, c.Signature) == nil {
					return nil, fmt.Errorf("sign: role %s: key %s: %w", role, k.id.Short(), ErrRevoked)
				}
			}
		}
		return nil, fmt.Errorf("sign: role %s: %d of %d required signatures: %w", role, len(by), r.threshold, ErrThreshold)
	}
	return by, nil
}

// order returns key indices, those that a hint names first.
func (r trust) order(hint []byte) []int {
	var first, rest []int
	for i, k := range r.keys {
		if len(hint) > 0 && bytes.HasPrefix(k.id[:], hint) {
			first = append(first, i)
		} else {
			rest = append(rest, i)
		}
	}
	return append(first, rest...)
}
