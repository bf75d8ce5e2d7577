package sign

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
)

// Encoding is how a signature is laid out; for ECDSA, how r and s are. Ed25519
// signatures have the Raw form only. The zero value is none of the layouts.
type Encoding int

const (
	// Raw is r‖s, both big endian and as long as the group order, 64 bytes for
	// P-256 and 96 for P-384: COSE (RFC 9053, section 2.1), PKCS#11
	// CKM_ECDSA, IEEE P1363. For Ed25519 it is R‖S, 64 bytes (RFC 8032,
	// section 5.1.6).
	Raw Encoding = iota + 1
	// DER is SEQUENCE { INTEGER r, INTEGER s } (RFC 3279, section 2.2.3), as
	// MCUboot and X.509 have it. Its length varies: up to 72 bytes for P-256
	// and 104 for P-384.
	DER
	// LittleEndian is r‖s with each half byte-reversed, as the Nordic nRF5 SDK
	// bootloader has it (pc-nrfutil, nordicsemi/dfu/signing.py).
	LittleEndian
)

// String returns "raw", "der" or "little-endian".
func (e Encoding) String() string {
	switch e {
	case Raw:
		return "raw"
	case DER:
		return "der"
	case LittleEndian:
		return "little-endian"
	}
	return fmt.Sprintf("encoding(%d)", int(e))
}

// Signature is an ECDSA signature whose r and s lie in [1, n-1], n being the
// order of the group, or 64 bytes of an Ed25519 signature. The zero value is no
// signature and verifies under no key.
//
// For every valid ECDSA signature (r, s) there is a second one, (r, n-s): name what
// was signed by its digest, never by a signature.
type Signature struct {
	algorithm Algorithm
	raw       []byte
}

// ParseSignature reads a signature and keeps no reference to b. Wrong lengths,
// r or s outside [1, n-1], DER that is not the unique shortest form and
// encodings that the algorithm does not have wrap ErrEncoding, unknown
// algorithms ErrAlgorithm. What is accepted encodes to the same bytes again.
func ParseSignature(a Algorithm, e Encoding, b []byte) (Signature, error) {
	if !a.Valid() {
		return Signature{}, fmt.Errorf("sign: signature: %w", ErrAlgorithm)
	}
	if a == Ed25519 {
		switch {
		case e != Raw:
			return Signature{}, fmt.Errorf("sign: %s signature in %s: %w", a, e, ErrEncoding)
		case len(b) != a.SignatureSize():
			return Signature{}, fmt.Errorf("sign: %s signature of %d bytes, want %d: %w", a, len(b), a.SignatureSize(), ErrEncoding)
		}
		return Signature{a, bytes.Clone(b)}, nil
	}
	var raw []byte
	switch e {
	case Raw, LittleEndian:
		if len(b) != a.SignatureSize() {
			return Signature{}, fmt.Errorf("sign: %s signature of %d bytes, want %d: %w", a, len(b), a.SignatureSize(), ErrEncoding)
		}
		raw = bytes.Clone(b)
		if e == LittleEndian {
			reverseHalves(raw)
		}
	case DER:
		var rs struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(b, &rs)
		switch {
		case err != nil:
			return Signature{}, fmt.Errorf("sign: DER signature: %w: %w", ErrEncoding, err)
		case len(rest) > 0:
			return Signature{}, fmt.Errorf("sign: DER signature: %d bytes after it: %w", len(rest), ErrEncoding)
		case rs.R.Sign() < 0 || rs.S.Sign() < 0 || rs.R.BitLen() > 8*a.scalarSize() || rs.S.BitLen() > 8*a.scalarSize():
			return Signature{}, fmt.Errorf("sign: DER signature: r or s out of range: %w", ErrEncoding)
		}
		raw = make([]byte, a.SignatureSize())
		rs.R.FillBytes(raw[:a.scalarSize()])
		rs.S.FillBytes(raw[a.scalarSize():])
		// encoding/asn1 ignores elements after s; DER has one form.
		if !slices.Equal(encodeDER(a, raw), b) {
			return Signature{}, fmt.Errorf("sign: DER signature is not in its shortest form: %w", ErrEncoding)
		}
	default:
		return Signature{}, fmt.Errorf("sign: %s: %w", e, ErrEncoding)
	}
	n := a.Curve().Params().N
	for _, half := range [][]byte{raw[:a.scalarSize()], raw[a.scalarSize():]} {
		v := new(big.Int).SetBytes(half)
		if v.Sign() == 0 || v.Cmp(n) >= 0 {
			return Signature{}, fmt.Errorf("sign: %s signature: r or s not in [1, n-1]: %w", a, ErrEncoding)
		}
	}
	return Signature{a, raw}, nil
}

// Algorithm returns the algorithm, 0 for the zero Signature.
func (s Signature) Algorithm() Algorithm { return s.algorithm }

// IsZero reports whether s holds no signature.
func (s Signature) IsZero() bool { return s.raw == nil }

// Encode lays the signature out, see the constants. The zero Signature and an
// encoding that its algorithm does not have give nil.
func (s Signature) Encode(e Encoding) []byte {
	if s.IsZero() || s.algorithm == Ed25519 && e != Raw {
		return nil
	}
	switch e {
	case Raw:
		return bytes.Clone(s.raw)
	case DER:
		return encodeDER(s.algorithm, s.raw)
	case LittleEndian:
		b := bytes.Clone(s.raw)
		reverseHalves(b)
		return b
	}
	return nil
}

// String tells only the algorithm: a signature is public, but long.
func (s Signature) String() string {
	if s.IsZero() {
		return "no signature"
	}
	return s.algorithm.String() + " signature"
}

func reverseHalves(b []byte) {
	slices.Reverse(b[:len(b)/2])
	slices.Reverse(b[len(b)/2:])
}

// encodeDER writes the SEQUENCE by hand: with at most 2×51 bytes of content no
// length needs more than one byte for P-256 and P-384.
func encodeDER(a Algorithm, raw []byte) []byte {
	integer := func(dst, v []byte) []byte {
		v = bytes.TrimLeft(v, "\x00")
		pad := 0
		if len(v) == 0 || v[0]&0x80 != 0 {
			pad = 1
		}
		dst = append(dst, 0x02, byte(len(v)+pad))
		return append(append(dst, make([]byte, pad)...), v...)
	}
	n := a.scalarSize()
	body := integer(integer(nil, raw[:n]), raw[n:])
	return append([]byte{0x30, byte(len(body))}, body...)
}
