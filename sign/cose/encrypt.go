package cose

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// Algorithm numbers of the profile (IANA "COSE Algorithms"; RFC 9053, RFC 9459).
const (
	A128CTR       = -65534 // AES-128 in counter mode, no integrity of its own
	A128KW        = -3     // key wrap with a pre-shared key
	ECDHESA128KW  = -29    // ephemeral-static ECDH on P-256, then key wrap
	MaxRecipients = 8
)

const (
	ivSize         = 16
	wrappedKeySize = 24 // a 16-byte content key after RFC 3394
	coordinateSize = 32
)

// COSE_Key labels and values for the ephemeral key (RFC 9052, section 7;
// RFC 9053, section 7.1.1).
const (
	headerEphemeralKey = -1
	keyType            = 1
	keyTypeEC2         = 2
	keyCurve           = -1
	keyCurveP256       = 1
	keyX               = -2
	keyY               = -3
)

// Encrypt is a tagged COSE_Encrypt with detached ciphertext, as
// draft-ietf-suit-firmware-encryption uses it for A128CTR: zero-length
// protected header, algorithm and IV unprotected. Nothing in it is protected by
// COSE; it is trustworthy only inside a signed manifest.
type Encrypt struct {
	IV         [ivSize]byte // first counter block
	Recipients []Recipient  // 1 to MaxRecipients
}

// Recipient is one COSE_recipient: the content key, wrapped for one key.
type Recipient struct {
	Algorithm int64  // ECDHESA128KW or A128KW
	KeyID     []byte // hint, nil for none
	// X and Y are the ephemeral P-256 public key, big endian; zero for A128KW.
	X, Y    [coordinateSize]byte
	Wrapped [wrappedKeySize]byte
}

type recipientWire struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]any
	Ciphertext  []byte
}

type encryptWire struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]any
	Ciphertext  []byte
	Recipients  []recipientWire
}

// Encode writes the tagged message.
func (e Encrypt) Encode() ([]byte, error) {
	if n := len(e.Recipients); n < 1 || n > MaxRecipients {
		return nil, fmt.Errorf("cose: %d recipients, want 1 to %d", n, MaxRecipients)
	}
	w := encryptWire{Protected: []byte{}, Unprotected: map[int64]any{headerAlgorithm: A128CTR, headerIV: e.IV[:]}}
	for _, r := range e.Recipients {
		wire, err := r.wire()
		if err != nil {
			return nil, err
		}
		w.Recipients = append(w.Recipients, wire)
	}
	return Marshal(cbor.Tag{Number: tagEncrypt, Content: w})
}

func (r Recipient) wire() (recipientWire, error) {
	unprotected, err := unprotectedHeader(r.KeyID)
	if err != nil {
		return recipientWire{}, err
	}
	w := recipientWire{Protected: []byte{}, Unprotected: unprotected, Ciphertext: r.Wrapped[:]}
	switch r.Algorithm {
	case A128KW: // not an AEAD: the protected header is the empty string, the algorithm goes outside
		unprotected[headerAlgorithm] = A128KW
	case ECDHESA128KW:
		if w.Protected, err = protectedHeader(ECDHESA128KW); err != nil {
			return recipientWire{}, err
		}
		unprotected[headerEphemeralKey] = map[int64]any{keyType: keyTypeEC2, keyCurve: keyCurveP256, keyX: r.X[:], keyY: r.Y[:]}
	default:
		return recipientWire{}, fmt.Errorf("cose: recipient algorithm %d", r.Algorithm)
	}
	return w, nil
}

// ReadEncrypt reads a tagged COSE_Encrypt. It checks the form only; whether the
// ephemeral key lies on the curve is found where it is used.
func ReadEncrypt(r *strictcbor.Reader) Encrypt {
	var e Encrypt
	switch tag, ok := r.PeekTag(); {
	case !r.OK():
		return e
	case ok && tag == tagEncrypt0:
		r.Fail(verdict.Encrypt0, "COSE_Encrypt0 (tag %d), want COSE_Encrypt (tag %d)", tagEncrypt0, tagEncrypt)
		return e
	case !ok || tag != tagEncrypt:
		r.Fail(verdict.NotEncrypt, "want tag %d", tagEncrypt)
		return e
	}
	r.Tag()
	r.Array(4, 4)
	if at := r.Offset(); len(r.Bytes(0, 64)) != 0 {
		r.FailAt(at, verdict.ProtectedNotEmpty, "protected header must be zero length with A128CTR")
	}
	haveAlgorithm, haveIV := false, false
	r.Map(4, func(k strictcbor.Key) {
		at := r.Offset()
		switch {
		case !k.IsText && k.Int == headerAlgorithm:
			haveAlgorithm = true
			if alg := r.Int(); alg != A128CTR {
				r.FailAt(at, verdict.ContentAlgorithm, "content algorithm %d, want %d", alg, A128CTR)
			}
		case !k.IsText && k.Int == headerIV:
			haveIV = true
			if iv := r.Bytes(0, 64); r.OK() && len(iv) != ivSize {
				r.FailAt(at, verdict.IVLength, "IV of %d bytes, want %d", len(iv), ivSize)
			} else {
				copy(e.IV[:], iv)
			}
		default:
			r.Fail(verdict.ExtraUnprotected, "unprotected header parameter other than algorithm and IV")
		}
	})
	switch {
	case !r.OK():
		return e
	case !haveAlgorithm:
		r.Fail(verdict.ContentAlgorithm, "no content algorithm")
	case !haveIV:
		r.Fail(verdict.IVLength, "no IV")
	case !r.Null():
		r.Fail(verdict.CiphertextAttached, "ciphertext must be detached")
	}
	for range r.Array(1, MaxRecipients) {
		e.Recipients = append(e.Recipients, readRecipient(r))
	}
	return e
}

func readRecipient(r *strictcbor.Reader) Recipient {
	var rec Recipient
	r.Array(3, 3)
	at := r.Offset()
	protected := r.Nested("recipient: protected header", 64)
	hasProtected := protected.Len() > 0
	if hasProtected {
		protected.Map(4, func(k strictcbor.Key) {
			if k.IsText || k.Int != headerAlgorithm {
				protected.Fail(verdict.ExtraProtected, "header parameter beside the algorithm")
				return
			}
			rec.Algorithm = protected.Int()
		})
		protected.End(verdict.TrailingBytes)
	}
	haveKey := false
	r.Map(4, func(k strictcbor.Key) {
		switch {
		case k.IsText:
			r.Fail(verdict.ExtraUnprotected, "text header parameter")
		case k.Int == headerKeyID:
			rec.KeyID = r.Bytes(1, MaxKeyID)
		case k.Int == headerAlgorithm && rec.Algorithm == 0:
			rec.Algorithm = r.Int()
			if r.OK() && rec.Algorithm != A128KW { // only key wrap may name itself outside
				r.FailAt(at, verdict.RecipientAlgorithm, "unprotected recipient algorithm %d", rec.Algorithm)
			}
		case k.Int == headerEphemeralKey:
			haveKey = true
			readEphemeralKey(r, &rec)
		default:
			r.Fail(verdict.ExtraUnprotected, "unprotected header parameter %d", k.Int)
		}
	})
	switch {
	case !r.OK():
		return rec
	case rec.Algorithm == A128KW && hasProtected:
		r.FailAt(at, verdict.ProtectedNotEmpty, "protected header must be zero length with A128KW")
	case rec.Algorithm != A128KW && rec.Algorithm != ECDHESA128KW:
		r.FailAt(at, verdict.RecipientAlgorithm, "recipient algorithm %d", rec.Algorithm)
	case haveKey != (rec.Algorithm == ECDHESA128KW):
		r.FailAt(at, verdict.EphemeralKey, "ephemeral key present: %t, algorithm %d", haveKey, rec.Algorithm)
	}
	at = r.Offset()
	if wrapped := r.Bytes(0, 128); r.OK() && len(wrapped) != wrappedKeySize {
		r.FailAt(at, verdict.WrappedKeyLength, "wrapped key of %d bytes, want %d", len(wrapped), wrappedKeySize)
	} else {
		copy(rec.Wrapped[:], wrapped)
	}
	return rec
}

func readEphemeralKey(r *strictcbor.Reader, rec *Recipient) {
	at := r.Offset()
	pairs := 0
	r.Map(4, func(k strictcbor.Key) {
		pairs++
		switch {
		case k.IsText:
			r.Fail(verdict.EphemeralKey, "text label")
		case k.Int == keyType:
			if r.Int() != keyTypeEC2 {
				r.FailAt(at, verdict.EphemeralKey, "key type is not EC2")
			}
		case k.Int == keyCurve:
			if r.Int() != keyCurveP256 {
				r.FailAt(at, verdict.EphemeralKey, "curve is not P-256")
			}
		case k.Int == keyX:
			copy(rec.X[:], r.Bytes(coordinateSize, coordinateSize))
		case k.Int == keyY:
			copy(rec.Y[:], r.Bytes(coordinateSize, coordinateSize))
		default:
			r.Fail(verdict.EphemeralKey, "label %d", k.Int)
		}
	})
	if r.OK() && pairs != 4 {
		r.FailAt(at, verdict.EphemeralKey, "%d of 4 parameters", pairs)
	}
}
