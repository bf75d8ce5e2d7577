package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
)

// Signer is a private key that stays where it is.
//
// Implementations need not be safe for concurrent use. A nil error means that
// the Signature is not zero; it does not mean that it verifies, see Checked.
type Signer interface {
	// Public returns the public half as the signer knows it.
	Public() PublicKey
	// Sign signs a message; where possible the hash is taken on this side.
	Sign(ctx context.Context, message []byte) (Signature, error)
	// SignDigest signs a digest made with the algorithm's hash. Another length
	// wraps ErrDigestSize, an algorithm without such a hash ErrNeedMessage.
	SignDigest(ctx context.Context, digest []byte) (Signature, error)
}

// FromCrypto adapts a crypto.Signer whose Sign returns DER, or the 64 bytes of
// an Ed25519 signature, as the standard library and most key services do. Its
// key must suit NewPublicKey. The hash is taken on this side, and ctx is only
// looked at before signing.
func FromCrypto(s crypto.Signer) (Signer, error) {
	pub, err := NewPublicKey(s.Public())
	if err != nil {
		return nil, err
	}
	return cryptoSigner{s, pub}, nil
}

type cryptoSigner struct {
	signer crypto.Signer
	public PublicKey
}

func (c cryptoSigner) Public() PublicKey { return c.public }

func (c cryptoSigner) Sign(ctx context.Context, message []byte) (Signature, error) {
	if c.public.algorithm == Ed25519 {
		if err := ctx.Err(); err != nil {
			return Signature{}, err
		}
		raw, err := c.signer.Sign(rand.Reader, message, crypto.Hash(0))
		if err != nil {
			return Signature{}, fmt.Errorf("sign: key %s: %w", c.public.id.Short(), err)
		}
		return ParseSignature(Ed25519, Raw, raw)
	}
	return c.SignDigest(ctx, c.public.algorithm.Digest(message))
}

func (c cryptoSigner) SignDigest(ctx context.Context, digest []byte) (Signature, error) {
	if err := ctx.Err(); err != nil {
		return Signature{}, err
	}
	a := c.public.algorithm
	if !a.Prehashed() {
		return Signature{}, fmt.Errorf("sign: %s: %w", a, ErrNeedMessage)
	}
	if len(digest) != a.Hash().Size() {
		return Signature{}, fmt.Errorf("sign: %s over %d bytes: %w", a, len(digest), ErrDigestSize)
	}
	der, err := c.signer.Sign(rand.Reader, digest, a.Hash())
	if err != nil {
		return Signature{}, fmt.Errorf("sign: key %s: %w", c.public.id.Short(), err)
	}
	return ParseSignature(a, DER, der)
}

// Throwaway returns a signer with a fresh key in memory, for rehearsals: what
// it signs is accepted only where its public key was put into the trust set.
func Throwaway(a Algorithm) (Signer, error) {
	if !a.Valid() {
		return nil, fmt.Errorf("sign: throwaway key: %w", ErrAlgorithm)
	}
	if a == Ed25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("sign: throwaway key: %w", err)
		}
		return FromCrypto(key)
	}
	key, err := ecdsa.GenerateKey(a.Curve(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("sign: throwaway key: %w", err)
	}
	return FromCrypto(key)
}

// Checked returns a signer that verifies each signature with the pinned key
// before it hands it out. It refuses a signer whose own public half differs
// (ErrKeyMismatch) and the zero PublicKey as pin; a signature that does not
// verify wraps ErrSignature.
//
// Tokens do return signatures that fail under the public key they report: two
// key pairs with one label are enough.
func Checked(s Signer, pinned PublicKey) (Signer, error) {
	if !pinned.Equal(s.Public()) {
		return nil, fmt.Errorf("sign: key %s, pinned %s: %w", s.Public().id.Short(), pinned.id.Short(), ErrKeyMismatch)
	}
	return checked{s, pinned}, nil
}

type checked struct {
	signer Signer
	pinned PublicKey
}

func (c checked) Public() PublicKey { return c.pinned }

func (c checked) Sign(ctx context.Context, message []byte) (Signature, error) {
	s, err := c.signer.Sign(ctx, message)
	if err != nil {
		return Signature{}, err
	}
	if err := c.pinned.Verify(message, s); err != nil {
		return Signature{}, fmt.Errorf("sign: the signer's answer: %w", err)
	}
	return s, nil
}

func (c checked) SignDigest(ctx context.Context, digest []byte) (Signature, error) {
	s, err := c.signer.SignDigest(ctx, digest)
	if err != nil {
		return Signature{}, err
	}
	if err := c.pinned.VerifyDigest(digest, s); err != nil {
		return Signature{}, fmt.Errorf("sign: the signer's answer: %w", err)
	}
	return s, nil
}
