package mcuboot

import (
	"crypto"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// counterSize is the length of a security counter.
const counterSize = 4

// walk is what the loop over all TLVs keeps.
type walk struct {
	target Target
	hash   []byte // computed
	signed []byte // what a pure signature covers

	hashValid bool
	found     []byte // image hash of the file, as it stands there
	matched   *Key   // of the key TLV before; nil when it is not one of the device's
	begun     bool   // the built-in key has been used up
	any       bool   // a signature of the bootloader's type is there
	decided   *Key   // of the last signature that was verified
	failure   error  // of that signature

	counter                  uint32
	counterOK, vendor, class bool
}

// allowed is the list of types for the unprotected area
// (boot/bootutil/src/image_validate.c, allowed_unprot_tlvs).
func (w *walk) allowed(t Type) bool {
	switch t {
	case TypeKeyHash, TypePublicKey, TypeSHA256, TypeSHA384, TypeSHA512, TypeRSA2048, TypeECDSA224, TypeECDSA, TypeRSA3072, TypeEd25519,
		TypeEncRSA, TypeEncKW, TypeEncP256:
		return true
	case TypePure:
		return w.target.Signature == Ed25519Pure
	case TypeEncX25519:
		return w.target.Encryption != ECIESX25519SHA512
	case TypeEncX25519H5:
		return w.target.Encryption == ECIESX25519SHA512
	default:
		return false
	}
}

// visit makes the loader's checks of one entry. A refusal ends the walk.
func (w *walk) visit(e entry) (Step, error) {
	t := w.target
	if !t.AnyTLV && !e.protected && !w.allowed(e.Type) {
		return StepTLVs, verdict.At(int64(e.at), verdict.TLVNotAllowed, object, "%s outside the protected area is not on the bootloader's list", e.Type)
	}
	kind := signatureTypes[t.Signature]
	switch {
	case e.Type == t.hash():
		return StepHash, w.visitHash(e)
	case t.Signature == HashOnly:
	case e.Type == TypeKeyHash && (t.KeyMatch == ByKeyHash || t.KeyMatch == AnyKeyHash), e.Type == TypePublicKey && t.KeyMatch == FullKey:
		return StepSignature, w.visitKey(e)
	case e.Type == kind.tlv:
		return StepSignature, w.visitSignature(e)
	}
	if err := w.visitIdentity(int64(e.at), e.Type, e.Value); err != nil {
		step := map[Type]Step{TypeCounter: StepCounter, TypeVendor: StepVendor, TypeClass: StepClass}[e.Type]
		return step, err
	}
	return StepTLVs, nil
}

func (w *walk) visitHash(e entry) error {
	w.found = e.Value
	switch {
	case w.target.Signature == Ed25519Pure: // not looked at
		return nil
	case len(e.Value) != len(w.hash):
		return verdict.At(int64(e.at), verdict.TLVLength, object, "%s of %d bytes", e.Type, len(e.Value))
	case subtle.ConstantTimeCompare(e.Value, w.hash) != 1:
		return verdict.At(int64(e.at), verdict.ImageDigestMismatch, object, "%s is not that of the image", e.Type)
	}
	w.hashValid = true
	return nil
}

// visitKey is bootutil_find_key. A key that is not known is no refusal: others
// may follow.
func (w *walk) visitKey(e entry) error {
	t := w.target
	hash := hashTypes[t.hash()]
	limit := hash.Size()
	if t.KeyMatch == FullKey {
		limit = w.signatureLimit() + 24
	}
	if len(e.Value) > limit {
		return verdict.At(int64(e.at), verdict.TLVLength, object, "%s of %d bytes, the bootloader takes %d", e.Type, len(e.Value), limit)
	}
	w.matched = nil
	for i, k := range t.Keys {
		match := false
		switch t.KeyMatch {
		case ByKeyHash: // memcmp over the length of the TLV: a shorter hash, even an empty one, matches too
			match = subtle.ConstantTimeCompare(k.Hash(hash)[:len(e.Value)], e.Value) == 1
		case FullKey: // the device compares hashes of the whole key
			match = subtle.ConstantTimeCompare(k.der, e.Value) == 1
		case AnyKeyHash:
			match = true
		case BuiltinKey: // reads no key TLV
		}
		if match {
			w.matched = &t.Keys[i]
			break
		}
	}
	return nil
}

// signatureLimit is SIG_BUF_SIZE.
func (w *walk) signatureLimit() int {
	switch w.target.Signature {
	case Ed25519, Ed25519Pure:
		return 64
	case RSA2048:
		return 256
	case RSA3072:
		return 384
	case ECDSAP256, ECDSAP384, HashOnly:
	}
	return maxSignature
}

// visitSignature verifies with the key that was named before. Signatures without
// one are skipped, and of the others the last decides.
func (w *walk) visitSignature(e entry) error {
	t := w.target
	w.any = true
	key := w.matched
	if t.KeyMatch == BuiltinKey && !w.begun {
		key, w.begun = &t.Keys[0], true
	}
	w.matched = nil
	if key == nil {
		return nil
	}
	limit := w.signatureLimit()
	exact := t.Signature != ECDSAP256 && t.Signature != ECDSAP384
	if n := len(e.Value); n > limit || exact && n != limit {
		return verdict.At(int64(e.at), verdict.TLVLength, object, "%s of %d bytes, the bootloader takes %d", e.Type, n, limit)
	}
	w.decided, w.failure = key, nil
	if err := w.verifySignature(*key, e.Value); err != nil {
		w.failure = &verdict.Error{Reason: verdict.SignatureInvalid, Object: object, Offset: int64(e.at),
			Detail: fmt.Sprintf("signature by key %s does not verify", key), Err: err}
	}
	return nil
}

func (w *walk) verifySignature(k Key, value []byte) error {
	t := w.target
	switch t.Signature {
	case ECDSAP256, ECDSAP384:
		s, err := readECDSA(t.crypto(), k.public.Algorithm(), value)
		if err != nil {
			return err
		}
		return k.public.VerifyDigest(w.hash, s)
	case Ed25519, Ed25519Pure:
		s, err := sign.ParseSignature(sign.Ed25519, sign.Raw, value)
		if err != nil {
			return err
		}
		if t.Signature == Ed25519Pure {
			return k.public.Verify(w.signed, s)
		}
		return k.public.Verify(w.hash, s)
	case RSA2048, RSA3072:
		return rsa.VerifyPSS(k.rsa, crypto.SHA256, w.hash, value, &rsa.PSSOptions{SaltLength: crypto.SHA256.Size(), Hash: crypto.SHA256})
	case HashOnly:
	}
	return fmt.Errorf("%s: %w", t.Signature, ErrTarget)
}

// signature is the verdict about signatures after the walk.
func (w *walk) signature() error {
	switch {
	case w.decided != nil:
		return w.failure
	case w.any:
		return verdict.New(verdict.NoKnownKey, object, "no signature comes after a key TLV that names one of the device's keys")
	}
	return verdict.New(verdict.Unsigned, object, "no %s TLV", signatureTypes[w.target.Signature].tlv)
}

// visitIdentity checks what says that an image is for this device and now.
func (w *walk) visitIdentity(at int64, kind Type, value []byte) error {
	t := w.target
	switch {
	case kind == TypeCounter && t.Rollback != nil:
		if len(value) != counterSize {
			return verdict.At(at, verdict.TLVLength, object, "security counter of %d bytes, want %d", len(value), counterSize)
		}
		w.counter = binary.LittleEndian.Uint32(value)
		if w.counter < *t.Rollback {
			return verdict.At(at, verdict.CounterRollback, object, "security counter %d, the device has %d", w.counter, *t.Rollback)
		}
		w.counterOK = true
	case kind == TypeVendor && t.Vendor != nil:
		if err := compareUUID(at, kind, value, *t.Vendor, verdict.VendorMismatch); err != nil {
			return err
		}
		w.vendor = true
	case kind == TypeClass && t.Class != nil:
		if err := compareUUID(at, kind, value, *t.Class, verdict.ClassMismatch); err != nil {
			return err
		}
		w.class = true
	}
	return nil
}

func compareUUID(at int64, kind Type, value []byte, want UUID, mismatch verdict.Reason) error {
	switch {
	case len(value) != len(want):
		return verdict.At(at, verdict.TLVLength, object, "%s of %d bytes, want %d", kind, len(value), len(want))
	case subtle.ConstantTimeCompare(value, want[:]) != 1:
		return verdict.At(at, mismatch, object, "%s %s, the device has %s", kind, UUID(value), want)
	}
	return nil
}

func (w *walk) counterMissing() error {
	if w.counterOK {
		return nil
	}
	return verdict.New(verdict.CounterMissing, object, "no security counter, and the bootloader has rollback protection")
}

func missingUUID(seen bool, what string) error {
	if seen {
		return nil
	}
	return verdict.New(verdict.UUIDMissing, object, "no %s identifier, and the bootloader compares it", what)
}

// missing asks for what the target wants and the walk did not see.
func (w *walk) missing() error {
	t := w.target
	switch {
	case t.Rollback != nil && !w.counterOK:
		return w.counterMissing()
	case t.Vendor != nil && !w.vendor:
		return missingUUID(false, "vendor")
	case t.Class != nil && !w.class:
		return missingUUID(false, "class")
	}
	return nil
}
