package manifest

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// Device is what a manifest is held against.
type Device struct {
	Vendor UUID
	Class  UUID
	// MinSequence is the rollback floor: the number of the last release that
	// the device confirmed. An equal number passes (draft, section 8.4.2).
	MinSequence uint32
	// Slot is the slot that would be written; nil when images are not linked
	// for slots.
	Slot *uint32
}

// Verified is a manifest whose signatures were checked and whose form is that
// of the profile. It does not yet fit any device: see its Check methods.
type Verified struct {
	manifest    Manifest
	digest      Digest
	signers     []sign.PublicKey
	payload     []byte
	payloadName string
}

// Verify authenticates an envelope and holds it against a device, in the order
// of draft-ietf-suit-manifest-37, section 6: signatures before anything else
// of the manifest is read, then the rollback counter, then the conditions.
// A refusal is a *verdict.Error; a role without keys wraps sign.ErrTrust.
func Verify(envelope []byte, trust *sign.TrustSet, device Device) (*Verified, error) {
	v, err := Authenticate(envelope, trust)
	if err != nil {
		return nil, err
	}
	for _, check := range []error{
		v.CheckSequence(device.MinSequence),
		v.CheckVendor(device.Vendor),
		v.CheckClass(device.Class),
		v.CheckSlot(device.Slot),
	} {
		if check != nil {
			return nil, check
		}
	}
	return v, nil
}

// Authenticate is the first half of Verify: structure, digest, signatures and
// form, without a device. Verifiers that mirror a certain bootloader run its
// three hops themselves (Parse, Envelope.Authenticate, Authentic.Decode) and
// then the device's checks in that bootloader's order.
func Authenticate(envelope []byte, trust *sign.TrustSet) (*Verified, error) {
	e, err := Parse(envelope)
	if err != nil {
		return nil, err
	}
	a, err := e.Authenticate(trust)
	if err != nil {
		return nil, err
	}
	return a.Decode()
}

// Authentic is an envelope whose manifest is the one that enough trusted keys
// signed. Its content has not been read yet.
type Authentic struct {
	envelope *Envelope
	signers  []sign.PublicKey
}

// Authenticate compares the manifest's digest and checks the signatures.
func (e *Envelope) Authenticate(trust *sign.TrustSet) (*Authentic, error) {
	if err := e.checkDigest(); err != nil {
		return nil, err
	}
	signers, err := e.checkSignatures(trust)
	if err != nil {
		return nil, err
	}
	return &Authentic{e, signers}, nil
}

// Decode reads the manifest and the envelope's other elements, which the
// manifest names by digest.
func (a *Authentic) Decode() (*Verified, error) {
	e := a.envelope
	m, err := decode(e)
	if err != nil {
		return nil, err
	}
	v := &Verified{manifest: m, digest: e.Digest, signers: a.signers, payload: e.payload.content, payloadName: e.payloadName}
	if err := v.checkPayloadElement(); err != nil {
		return nil, err
	}
	return v, nil
}

func (e *Envelope) checkDigest() error {
	if e.Digest.covers(e.manifest) {
		return nil
	}
	// A common slip of generators deserves its own name.
	content := sha256.Sum256(e.manifest.content)
	if subtle.ConstantTimeCompare(content[:], e.Digest[:]) == 1 {
		return verdict.New(verdict.DigestOverContent, "envelope", "the digest leaves out the head of the manifest's byte string")
	}
	return verdict.New(verdict.ManifestDigestMismatch, "envelope", "the manifest is not the one that was signed")
}

func (e *Envelope) checkSignatures(trust *sign.TrustSet) ([]sign.PublicKey, error) {
	candidates, err := e.candidates(toBeSigned)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		return nil, verdict.New(verdict.NoKnownSignature, "envelope", "%d signature blocks, none of a known algorithm", len(e.Blocks))
	}
	signers, err := trust.Check(sign.RoleManifest, candidates)
	switch {
	case err == nil:
		return signers, nil
	case errors.Is(err, sign.ErrTrust):
		return nil, err
	case errors.Is(err, sign.ErrRevoked):
		return nil, verdict.Wrap(err, verdict.KeyRevoked, "envelope")
	}
	// Another common slip: the signature covers the digest as it stands in the
	// wrapper, with the byte-string head that the Sig_structure must not have.
	if wrapped, werr := e.candidates(toBeSignedWrapped); werr == nil {
		if _, werr = trust.Check(sign.RoleManifest, wrapped); werr == nil {
			return nil, verdict.Wrap(err, verdict.OverWrappedDigest, "envelope")
		}
	}
	return nil, verdict.Wrap(err, verdict.SignatureInvalid, "envelope")
}

// candidates pairs each block of a known algorithm with the bytes it has to
// cover.
func (e *Envelope) candidates(message func(sign.Algorithm, Digest) ([]byte, error)) ([]sign.Candidate, error) {
	var candidates []sign.Candidate
	for _, b := range e.Blocks {
		if b.Signature.IsZero() {
			continue // an algorithm from the future: its signer is not ours to judge
		}
		m, err := message(b.Signature.Algorithm(), e.Digest)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, sign.Candidate{Hint: b.KeyID, Message: m, Signature: b.Signature})
	}
	return candidates, nil
}

func toBeSignedWrapped(a sign.Algorithm, d Digest) ([]byte, error) {
	digest, err := d.encode()
	if err != nil {
		return nil, err
	}
	wrapped, err := cose.Marshal(digest)
	if err != nil {
		return nil, err
	}
	return cose.ToBeSigned(a, wrapped)
}

// checkPayloadElement holds an integrated payload against the manifest. The
// envelope's element names are not signed, so the name must be the signed URI.
func (v *Verified) checkPayloadElement() error {
	if v.payloadName == "" && v.payload == nil {
		return nil
	}
	in := v.manifest.Install
	if in == nil {
		return verdict.New(verdict.InstallSevered, "envelope", "integrated payload %q without the install sequence", v.payloadName)
	}
	if v.payloadName != in.URI {
		return verdict.New(verdict.PayloadElementName, "envelope", "integrated payload %q, the manifest fetches %q", v.payloadName, in.URI)
	}
	if want := v.manifest.Payload().Size; uint64(len(v.payload)) != uint64(want) {
		return verdict.New(verdict.PayloadElementSize, "envelope", "integrated payload of %d bytes, want %d", len(v.payload), want)
	}
	return nil
}

// Payload describes the bytes that are transferred: those that T3 and T4 make
// the image from, else the image. It is zero for T3 and T4 when install was
// severed.
func (m Manifest) Payload() Content {
	switch {
	case !m.Staged:
		return m.Image
	case m.Install == nil:
		return Content{}
	}
	return m.Install.Received
}

// Manifest returns the verified facts. Its slices alias the envelope.
func (v *Verified) Manifest() Manifest { return v.manifest }

// Digest returns the manifest digest, which identifies the manifest.
func (v *Verified) Digest() Digest { return v.digest }

// Signers returns the trusted keys whose signatures were found valid.
func (v *Verified) Signers() []sign.PublicKey { return v.signers }

// Install returns the install sequence's facts, or a refusal with reason
// install-severed when the envelope does not have them.
func (v *Verified) Install() (*Install, error) {
	if v.manifest.Install == nil {
		return nil, verdict.New(verdict.InstallSevered, "envelope", "the install sequence was taken out")
	}
	return v.manifest.Install, nil
}

// IntegratedPayload returns the payload inside the envelope. Its name and
// length are checked, its digest is not.
func (v *Verified) IntegratedPayload() ([]byte, error) {
	if v.payload == nil {
		return nil, verdict.New(verdict.PayloadElementMissing, "envelope", "no integrated payload")
	}
	return v.payload, nil
}

// CheckSequence refuses a sequence number below floor.
func (v *Verified) CheckSequence(floor uint32) error {
	if v.manifest.Sequence < floor {
		return verdict.New(verdict.SequenceRollback, "manifest", "sequence number %d, device is at %d", v.manifest.Sequence, floor)
	}
	return nil
}

// CheckVendor refuses a manifest for another vendor.
func (v *Verified) CheckVendor(vendor UUID) error {
	if !v.manifest.Vendor.Equal(vendor) {
		return verdict.New(verdict.VendorMismatch, "manifest", "made for vendor %s, device has %s", v.manifest.Vendor, vendor)
	}
	return nil
}

// CheckClass refuses a manifest for another model or hardware revision.
func (v *Verified) CheckClass(class UUID) error {
	if !v.manifest.Class.Equal(class) {
		return verdict.New(verdict.ClassMismatch, "manifest", "made for class %s, device has %s", v.manifest.Class, class)
	}
	return nil
}

// CheckSlot refuses an image linked for another slot than the one to be
// written. A manifest without a slot fits any.
func (v *Verified) CheckSlot(slot *uint32) error {
	want := v.manifest.Slot
	if want == nil || slot != nil && *slot == *want {
		return nil
	}
	if slot == nil {
		return verdict.New(verdict.SlotMismatch, "manifest", "linked for slot %d, device has no slots", *want)
	}
	return verdict.New(verdict.SlotMismatch, "manifest", "linked for slot %d, device would write slot %d", *want, *slot)
}
