//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/sign"
)

// Signer returns the private key that key names by object, id or both. It must
// be the only one, its public half must be on the token, as the only one, and
// equal pinned: else the error wraps ErrKeyNotFound, ErrKeyAmbiguous or
// sign.ErrKeyMismatch. Token attributes of key must match this token; its
// query attributes are not looked at.
//
// Every signature is verified with pinned before it is returned. The Signer
// works until the Token is closed.
func (t *Token) Signer(ctx context.Context, key URI, pinned sign.PublicKey) (sign.Signer, error) {
	switch {
	case key.Object == "" && len(key.ID) == 0:
		return nil, fmt.Errorf("hsm: %w: neither object nor id names a key", ErrURI)
	case key.Type != "" && key.Type != "private":
		return nil, fmt.Errorf("hsm: %w: type is %s, but a signing key is private", ErrURI, key.Type)
	}
	s := &signer{token: t, key: URI{Object: key.Object, ID: bytes.Clone(key.ID)}, public: pinned}
	err := t.do(ctx, func() error {
		if !key.matches(t.info) {
			return fmt.Errorf("key %s: %w: its URI names another token", s.key, ErrKeyNotFound)
		}
		return s.load(ctx)
	})
	if err != nil {
		return nil, err
	}
	return sign.Checked(s, pinned)
}

// signer is a private key object. Token.mu guards it.
type signer struct {
	token      *Token
	key        URI
	public     sign.PublicKey
	handle     pkcs11.ObjectHandle
	generation int // of the module, for which handle is good
}

// load finds the key and insists that its public half is s.public.
func (s *signer) load(ctx context.Context) error {
	handle, public, err := s.token.lookup(ctx, s.key)
	switch {
	case errors.Is(err, sign.ErrCurve): // the pinned key is on a supported one
		err = fmt.Errorf("%w: %w", sign.ErrKeyMismatch, err)
	case err != nil:
	case public.Algorithm() != s.public.Algorithm():
		err = fmt.Errorf("%w: it is an %s key, pinned is %s", sign.ErrKeyMismatch, public.Algorithm(), s.public.Algorithm())
	case !public.Equal(s.public):
		err = fmt.Errorf("%w: it is %s, pinned is %s", sign.ErrKeyMismatch, public.ID().Short(), s.public.ID().Short())
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", s.key, err)
	}
	s.handle, s.generation = handle, s.token.generation
	return nil
}

func (s *signer) Public() sign.PublicKey { return s.public }

func (s *signer) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	return s.SignDigest(ctx, s.public.Algorithm().Digest(message))
}

// SignDigest checks the length of the digest: tokens sign anything.
func (s *signer) SignDigest(ctx context.Context, digest []byte) (sign.Signature, error) {
	a := s.public.Algorithm()
	if len(digest) != a.Hash().Size() {
		return sign.Signature{}, fmt.Errorf("hsm: %s over %d bytes: %w", a, len(digest), sign.ErrDigestSize)
	}
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}
	var raw []byte
	err := s.token.do(ctx, func() (err error) {
		if s.generation != s.token.generation {
			if err := s.load(ctx); err != nil {
				return err
			}
		}
		p, session := s.token.module.ctx, s.token.session
		if err := p.SignInit(session, mechanism, s.handle); err != nil {
			return call("C_SignInit", err)
		}
		raw, err = p.Sign(session, digest)
		return call("C_Sign", err)
	})
	if err != nil {
		return sign.Signature{}, err
	}
	return sign.ParseSignature(a, sign.Raw, raw)
}
