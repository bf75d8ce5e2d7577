package mcuboot

import (
	"errors"

	"github.com/otapack/otapack/sign"
)

// errECDSA says that the crypto library finds no r and s in a signature.
var errECDSA = errors.New("not an ECDSA-Sig-Value to this bootloader")

// maxSignature is the size of the loader's buffer for an ECDSA signature
// (boot/bootutil/src/image_validate.c, SIG_BUF_SIZE).
const maxSignature = 128

// readECDSA finds r and s as the bootloader's crypto library does: all take
// encodings that are not DER, each others.
func readECDSA(library Crypto, a sign.Algorithm, b []byte) (sign.Signature, error) {
	n := a.SignatureSize() / 2
	var r, s []byte
	var ok bool
	switch library {
	case MbedTLS:
		r, s, ok = readMbedTLS(b)
	case PSA:
		r, s, ok = readPSA(b, n)
	case DefaultCrypto, TinyCrypt:
		r, s, ok = readTinyCrypt(b, n)
	}
	if !ok {
		return sign.Signature{}, errECDSA
	}
	raw := make([]byte, 2*n)
	for i, v := range [][]byte{r, s} {
		for len(v) > n && v[0] == 0 {
			v = v[1:]
		}
		if len(v) > n {
			return sign.Signature{}, errECDSA
		}
		copy(raw[(i+1)*n-len(v):], v)
	}
	return sign.ParseSignature(a, sign.Raw, raw)
}

// ASN.1 tags.
const (
	tagInteger  = 0x02
	tagSequence = 0x30
)

// asn1Element is mbedtls_asn1_get_tag: it takes lengths of up to four bytes in
// more bytes than they need.
func asn1Element(b []byte, tag byte) (content, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	length, b := int64(b[1]), b[2:]
	if length >= 0x80 {
		n := int(length & 0x7f)
		if n == 0 || n > 4 || len(b) < n {
			return nil, nil, false
		}
		length = 0
		for _, v := range b[:n] {
			length = length<<8 | int64(v)
		}
		b = b[n:]
	}
	if length > int64(len(b)) {
		return nil, nil, false
	}
	return b[:length], b[length:], true
}

// readTinyCrypt is bootutil_decode_sig and bootutil_read_bigint
// (boot/bootutil/include/bootutil/crypto/ecdsa.h). The integers may pass the end
// of their SEQUENCE, bytes after them are not looked at, and of a long integer
// the last n bytes count.
func readTinyCrypt(b []byte, n int) (r, s []byte, ok bool) {
	body, rest, ok := asn1Element(b, tagSequence)
	if !ok {
		return nil, nil, false
	}
	b = b[len(b)-len(body)-len(rest):]
	if r, b, ok = asn1Element(b, tagInteger); !ok {
		return nil, nil, false
	}
	if s, _, ok = asn1Element(b, tagInteger); !ok {
		return nil, nil, false
	}
	return r[max(0, len(r)-n):], s[max(0, len(s)-n):], true
}

// readMbedTLS is mbedtls_ecdsa_read_signature: nothing may follow, and the
// integers are read without a sign.
func readMbedTLS(b []byte) (r, s []byte, ok bool) {
	b, rest, ok := asn1Element(b, tagSequence)
	if !ok || len(rest) > 0 {
		return nil, nil, false
	}
	if r, b, ok = asn1Element(b, tagInteger); !ok {
		return nil, nil, false
	}
	if s, b, ok = asn1Element(b, tagInteger); !ok || len(b) > 0 {
		return nil, nil, false
	}
	return r, s, true
}

// readPSA is parse_signature_from_rfc5480_encoding
// (boot/bootutil/include/bootutil/crypto/ecdsa.h), with its arithmetic: it reads
// the two lengths, and neither tags nor the length of the whole. Where the
// lengths lead it past the signature, the loader reads its stack; that is
// refused.
func readPSA(b []byte, n int) (r, s []byte, ok bool) {
	take := func(from, count int) ([]byte, bool) {
		if from+count > len(b) {
			return nil, false
		}
		return b[from : from+count], true
	}
	if len(b) < 4 {
		return nil, nil, false
	}
	at, length := 4, int(b[3])
	count := min(length, n)
	if length >= n {
		at += length - n
		if length%2 == 1 {
			length--
		}
	}
	if r, ok = take(at, count); !ok {
		return nil, nil, false
	}
	if at += length + 1; at >= len(b) {
		return nil, nil, false
	}
	length, at = int(b[at]), at+1
	if length >= n {
		at += length - n
	}
	s, ok = take(at, min(length, n))
	return r, s, ok
}
