// Package cose reads and writes the COSE messages (RFC 9052, STD 96) that
// releases carry: COSE_Sign1 around manifests and release records, and the
// COSE_Encrypt that tells a device how to decrypt a payload.
//
// Encoding is deterministic; decoding is strict and takes exactly the headers
// that the profile has. The package does no cryptography beyond handing the
// to-be-signed bytes to package sign.
package cose

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// CBOR tags of the IANA registry.
const (
	tagEncrypt0 = 16
	tagSign1    = 18
	tagEncrypt  = 96
)

// Header parameter labels (RFC 9052, section 3.1).
const (
	headerAlgorithm = 1
	headerKeyID     = 4
	headerIV        = 5
)

// MaxKeyID is the length bound of a key identifier in bytes.
const MaxKeyID = 16

// maxSignature bounds the signature of a block whose algorithm is unknown: an
// ML-DSA-87 signature has 4,627 bytes.
const maxSignature = 8 << 10

var encMode = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // constant options
	}
	return mode
}()

// Marshal encodes v deterministically (RFC 8949, section 4.2.1), with the rules
// of github.com/fxamacker/cbor for Go types.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// Sign1 is a tagged COSE_Sign1 (RFC 9052, section 4.2) whose protected header
// holds the algorithm and nothing else, and whose unprotected header is empty
// or holds a key identifier.
type Sign1 struct {
	Algorithm int64  // COSE number; may be one that package sign does not know
	KeyID     []byte // unprotected, so only a hint; nil for none
	Payload   []byte // nil when detached
	// Signature is zero when Algorithm is unknown to package sign.
	Signature sign.Signature
}

// Known reports whether package sign has the algorithm.
func (s Sign1) Known() bool { _, err := sign.FromCOSE(s.Algorithm); return err == nil }

type sign1Wire struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]any
	Payload     []byte
	Signature   []byte
}

func protectedHeader(algorithm int64) ([]byte, error) {
	return Marshal(map[int64]int64{headerAlgorithm: algorithm})
}

func unprotectedHeader(kid []byte) (map[int64]any, error) {
	switch {
	case kid == nil:
		return map[int64]any{}, nil
	case len(kid) == 0 || len(kid) > MaxKeyID:
		return nil, fmt.Errorf("cose: key identifier of %d bytes, want 1 to %d", len(kid), MaxKeyID)
	}
	return map[int64]any{headerKeyID: kid}, nil
}

// Encode writes the tagged message.
func (s Sign1) Encode() ([]byte, error) {
	if s.Signature.IsZero() || s.Signature.Algorithm().COSE() != s.Algorithm {
		return nil, errors.New("cose: COSE_Sign1 without a signature of its algorithm")
	}
	protected, err := protectedHeader(s.Algorithm)
	if err != nil {
		return nil, err
	}
	unprotected, err := unprotectedHeader(s.KeyID)
	if err != nil {
		return nil, err
	}
	return Marshal(cbor.Tag{Number: tagSign1, Content: sign1Wire{
		Protected: protected, Unprotected: unprotected, Payload: s.Payload, Signature: s.Signature.Encode(sign.Raw),
	}})
}

// ToBeSigned returns the Sig_structure that a signature of algorithm a covers
// (RFC 9052, section 4.4): "Signature1", protected header, external data, which
// is empty, and payload. An algorithm that sign.FromCOSE does not have, such as
// sign.Ed25519, wraps sign.ErrAlgorithm.
func ToBeSigned(a sign.Algorithm, payload []byte) ([]byte, error) {
	if known, err := sign.FromCOSE(a.COSE()); err != nil || known != a {
		return nil, fmt.Errorf("cose: %s: %w", a, sign.ErrAlgorithm)
	}
	protected, err := protectedHeader(a.COSE())
	if err != nil {
		return nil, err
	}
	return Marshal([]any{"Signature1", protected, []byte{}, payload})
}

// ReadSign1 reads a tagged COSE_Sign1. A payload must be present when
// maxPayload is above zero and absent (null) when it is zero. Blocks of
// unknown algorithms are read and returned, except for the deprecated numbers
// that name no curve (-7, -8): these are refused by name.
func ReadSign1(r *strictcbor.Reader, maxPayload int) Sign1 {
	var s Sign1
	if tag, ok := r.PeekTag(); r.OK() && (!ok || tag != tagSign1) {
		r.Fail(verdict.NotSign1, "want tag %d", tagSign1)
		return s
	}
	r.Tag()
	r.Array(4, 4)
	header := r.Offset()
	var found bool
	s.Algorithm, found = readProtectedAlgorithm(r)
	s.KeyID = readUnprotectedKeyID(r)
	at := r.Offset()
	switch {
	case !r.OK():
		return s
	case !found:
		r.FailAt(header, verdict.MissingAlgorithm, "no algorithm in the protected header")
		return s
	case maxPayload == 0:
		if !r.Null() {
			r.FailAt(at, verdict.PayloadNotDetached, "payload is not null")
		}
	case r.Null():
		r.FailAt(at, verdict.PayloadMissing, "payload is null")
	default:
		s.Payload = r.Bytes(0, maxPayload)
	}
	at = r.Offset()
	raw := r.Bytes(0, maxSignature)
	if !r.OK() {
		return s
	}
	switch s.Algorithm {
	case -7:
		r.FailAt(header, verdict.ES256Deprecated, "algorithm -7, want -9")
		return s
	case -8:
		r.FailAt(header, verdict.EdDSADeprecated, "algorithm -8, want -9")
		return s
	}
	algorithm, err := sign.FromCOSE(s.Algorithm)
	if err != nil {
		return s // unknown: the caller skips the block
	}
	if len(raw) != algorithm.SignatureSize() {
		r.FailAt(at, verdict.SignatureLength, "%d bytes, want %d", len(raw), algorithm.SignatureSize())
		return s
	}
	if s.Signature, err = sign.ParseSignature(algorithm, sign.Raw, raw); err != nil {
		r.FailAt(at, verdict.SignatureRange, "r or s not in [1, n-1]")
	}
	return s
}

// readProtectedAlgorithm reads a protected header. That the algorithm is absent
// is for the caller to refuse: it may stand in the unprotected header, which
// deserves its own name.
func readProtectedAlgorithm(r *strictcbor.Reader) (algorithm int64, found bool) {
	p := r.Nested("protected header", 64)
	if p.Len() == 0 {
		return 0, false
	}
	p.Map(4, func(k strictcbor.Key) {
		if k.IsText || k.Int != headerAlgorithm {
			p.Fail(verdict.ExtraProtected, "header parameter beside the algorithm")
			return
		}
		algorithm, found = p.Int(), true
	})
	p.End(verdict.TrailingBytes)
	return algorithm, found
}

func readUnprotectedKeyID(r *strictcbor.Reader) (kid []byte) {
	r.Map(4, func(k strictcbor.Key) {
		switch {
		case !k.IsText && k.Int == headerKeyID:
			kid = r.Bytes(1, MaxKeyID)
		case !k.IsText && k.Int == headerAlgorithm:
			r.Fail(verdict.UnprotectedAlgorithm, "algorithm in the unprotected header")
		default:
			r.Fail(verdict.ExtraUnprotected, "unprotected header parameter other than the key identifier")
		}
	})
	return kid
}
