//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/sign"
)

// Signer returns the private key that key names by object, id or both, and that
// pinned is the public half of. With neither it is the key whose public half is
// pinned, for tokens whose keys have no names.
//
// Exactly one private key must match, and its public key object equal pinned:
// else the error wraps ErrKeyNotFound, ErrKeyAmbiguous or sign.ErrKeyMismatch.
// Where the token has no public key object that belongs to the key, the key
// signs a text that authorises nothing, and pinned must verify it. Token
// attributes of key must match this token; its query attributes are not looked
// at.
//
// Every signature is verified with pinned before it is returned; one that does
// not verify wraps sign.ErrKeyMismatch. The Signer works until the Token is
// closed, and for several goroutines at once.
func (t *Token) Signer(ctx context.Context, key URI, pinned sign.PublicKey) (sign.Signer, error) {
	switch {
	case pinned.IsZero():
		return nil, fmt.Errorf("hsm: key %s: no pinned public key: %w", key, sign.ErrKey)
	case !pinned.Algorithm().Prehashed(): // CKM_ECDSA only
		return nil, fmt.Errorf("hsm: key %s: %s: %w", key, pinned.Algorithm(), sign.ErrAlgorithm)
	case key.Type != "" && key.Type != "private":
		return nil, fmt.Errorf("hsm: %w: type is %s, but a signing key is private", ErrURI, key.Type)
	}
	p := &signer{token: t, key: URI{Object: key.Object, ID: bytes.Clone(key.ID)}, public: pinned}
	err := t.do(ctx, func(s *session) error {
		if !key.matches(s.info) {
			return fmt.Errorf("key %s: %w: its URI names another token", p.name(), ErrKeyNotFound)
		}
		_, _, err := p.load(ctx, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// signer is a private key object.
type signer struct {
	token  *Token
	key    URI
	public sign.PublicKey

	mu     sync.Mutex  // guards what follows
	conn   *connection // for which handle is good
	handle pkcs11.ObjectHandle
	// always says that every signature wants a login of its own.
	always bool
}

// load finds the key, unless it has been found in this connection, and insists
// that its public half is p.public.
func (p *signer) load(ctx context.Context, s *session) (handle pkcs11.ObjectHandle, always bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != s.conn {
		if p.handle, err = s.lookup(ctx, p.key, p.public); err != nil {
			return 0, false, fmt.Errorf("key %s: %w", p.name(), err)
		}
		v, err := s.read(ctx, p.handle, pkcs11.CKA_ALWAYS_AUTHENTICATE)
		if err != nil {
			return 0, false, err
		}
		p.conn, p.always = s.conn, stateOf(v[0]) == Yes
	}
	return p.handle, p.always, nil
}

// name is how errors call the key.
func (p *signer) name() string {
	if p.key.Object == "" && len(p.key.ID) == 0 {
		return "with the public half " + p.public.ID().Short()
	}
	return p.key.String()
}

func (p *signer) Public() sign.PublicKey { return p.public }

func (p *signer) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	return p.SignDigest(ctx, p.public.Algorithm().Digest(message))
}

// SignDigest checks the length of the digest: tokens sign anything.
func (p *signer) SignDigest(ctx context.Context, digest []byte) (sign.Signature, error) {
	a := p.public.Algorithm()
	if len(digest) != a.Hash().Size() {
		return sign.Signature{}, fmt.Errorf("hsm: %s over %d bytes: %w", a, len(digest), sign.ErrDigestSize)
	}
	raw, err := p.signRaw(ctx, digest)
	if err != nil {
		return sign.Signature{}, err
	}
	signature, err := sign.ParseSignature(a, sign.Raw, raw)
	if err == nil {
		err = p.public.VerifyDigest(digest, signature)
	}
	if err != nil {
		return sign.Signature{}, p.token.fail(fmt.Errorf("key %s: %w: what it signed: %w", p.name(), sign.ErrKeyMismatch, err))
	}
	return signature, nil
}

// signRaw returns what the token makes of a digest.
func (p *signer) signRaw(ctx context.Context, digest []byte) (raw []byte, err error) {
	err = p.token.do(ctx, func(s *session) error {
		handle, always, err := p.load(ctx, s)
		if err != nil {
			return err
		}
		if raw, err = s.sign(ctx, handle, always, digest); err != nil {
			return fmt.Errorf("key %s: %w", p.name(), err)
		}
		return nil
	})
	return raw, err
}

// sign makes one signature. With always, nobody else may use the token between
// the login and the signature that it is for: some tokens would forget it.
func (s *session) sign(ctx context.Context, handle pkcs11.ObjectHandle, always bool, digest []byte) ([]byte, error) {
	if always {
		s.token.reauthenticating.Lock()
		defer s.token.reauthenticating.Unlock()
	}
	err := call("C_SignInit", s.p.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, handle))
	switch {
	case hasCode(err, pkcs11.CKR_MECHANISM_INVALID):
		return nil, missing(pkcs11.CKM_ECDSA, err)
	case hasCode(err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT):
		return nil, fmt.Errorf("%w: %w", ErrKeyUnfit, err)
	case err != nil:
		return nil, err
	}
	s.active = true
	if always {
		if err := s.authenticate(ctx); err != nil {
			return nil, err
		}
	}
	raw, err := cSign(s.p, s.handle, digest)
	s.active = false
	return raw, err
}
