package bootloader

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// templates are the manifest templates that a parcel can have.
var templates = []string{"T1", "T2b", "T3"}

// newSigner returns the signer whose key is made from a name.
func newSigner(t testing.TB, name string) sign.Signer {
	t.Helper()
	scalar := sha256.Sum256([]byte(name))
	key, err := ecdsa.ParseRawPrivateKey(sign.ESP256.Curve(), scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.FromCrypto(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publicKeys(signers ...sign.Signer) []sign.PublicKey {
	var keys []sign.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	return keys
}

func trusting(t testing.TB, role sign.Role, threshold int, signers ...sign.Signer) *sign.TrustSet {
	t.Helper()
	var set sign.TrustSet
	if err := set.Add(role, threshold, publicKeys(signers...)...); err != nil {
		t.Fatal(err)
	}
	return &set
}

// newDeviceKey returns the decryption key that is made from a name.
func newDeviceKey(t testing.TB, name string) *ecdh.PrivateKey {
	t.Helper()
	scalar := sha256.Sum256([]byte(name))
	key, err := ecdh.P256().NewPrivateKey(scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func identity(t testing.TB, key *ecdh.PrivateKey) encrypt.Identity {
	t.Helper()
	id, err := encrypt.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testImage(t testing.TB, size int) []byte {
	t.Helper()
	return testvectors.Bytes("image", size)
}

func content(b []byte) manifest.Content {
	return manifest.Content{Digest: sha256.Sum256(b), Size: uint32(len(b))}
}

// parcel is what a device is sent, before it is signed, and a device that takes
// it just so: its rollback floor is the parcel's sequence number.
type parcel struct {
	device   Device
	manifest manifest.Manifest
	layout   manifest.Options
	signers  []sign.Signer
	payload  []byte // as received
	options  Options
}

func newParcel(t testing.TB, chip Chip, template string, image []byte) *parcel {
	t.Helper()
	const vendor, model, revision = "acme.example", "brush", "b2"
	signer := newSigner(t, "signer")
	p := &parcel{
		device: Device{
			Chip: chip, Vendor: vendor, Model: model, Revision: revision, MinSequence: 1042,
			Trust: trusting(t, sign.RoleManifest, 1, signer),
		},
		manifest: manifest.Manifest{
			Sequence: 1042,
			Version:  manifest.Version{1, 4, 2},
			Vendor:   manifest.VendorID(vendor),
			Class:    manifest.ClassID(manifest.VendorID(vendor), model, revision),
			Image:    content(image),
			Install:  &manifest.Install{URI: "#fw"},
		},
		layout:  manifest.Options{KeyHints: true},
		signers: []sign.Signer{signer},
		payload: image,
	}
	switch template {
	case "T2b":
		slot := uint32(len(chip.Banks) - 1)
		p.manifest.Slot, p.device.Slot = &slot, &slot
	case "T3":
		p.layout.SeverInstall = true
		p.encrypt(t, newDeviceKey(t, "device"))
	}
	if got := p.manifest.Template(); got != template {
		t.Fatalf("template %s, want %s", got, template)
	}
	return p
}

// encrypt replaces the payload, and gives the device the first of the keys.
func (p *parcel) encrypt(t testing.TB, keys ...*ecdh.PrivateKey) {
	t.Helper()
	var to []encrypt.Recipient
	for _, k := range keys {
		r, err := encrypt.NewRecipient(k.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, r)
	}
	sealer, err := encrypt.NewSealer(testvectors.Stream("sealer"), to)
	if err != nil {
		t.Fatal(err)
	}
	defer sealer.Wipe()
	var ciphertext bytes.Buffer
	result, err := sealer.Seal(&ciphertext, bytes.NewReader(p.payload))
	if err != nil {
		t.Fatal(err)
	}
	p.payload = ciphertext.Bytes()
	p.manifest.Staged = true
	p.manifest.Install.Received = manifest.Content{Digest: result.CipherSHA256, Size: uint32(result.Size)}
	p.manifest.Install.Encryption = encryption(sealer.Header())
	p.device.Identity = identity(t, keys[0])
}

// encryption is the inverse of Header.
func encryption(h encrypt.Header) *cose.Encrypt {
	e := &cose.Encrypt{IV: [16]byte(h.IV)}
	for _, r := range h.Recipients {
		e.Recipients = append(e.Recipients, cose.Recipient{
			Algorithm: int64(r.Management), KeyID: r.KeyID, X: r.EphemeralX, Y: r.EphemeralY, Wrapped: r.Wrapped,
		})
	}
	return e
}

// recipient returns the first recipient block, to be changed before signing.
func (p *parcel) recipient() *cose.Recipient { return &p.manifest.Install.Encryption.Recipients[0] }

// envelope signs the parcel.
func (p *parcel) envelope(t testing.TB) []byte {
	t.Helper()
	draft, err := manifest.New(p.manifest, publicKeys(p.signers...), p.layout)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[sign.KeyID]sign.Signer{}
	for _, s := range p.signers {
		byID[s.Public().ID()] = s
	}
	signatures, err := sign.Answer(t.Context(), draft.Requests(), byID)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := draft.Finish(signatures)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func (p *parcel) verify(t testing.TB, envelope []byte) (*Verified, Trace, error) {
	t.Helper()
	payload := Payload{ReaderAt: bytes.NewReader(p.payload), Size: int64(len(p.payload))}
	return Verify(t.Context(), p.device, envelope, payload, p.options)
}

// elements takes an envelope without text keys apart.
func elements(t testing.TB, envelope []byte) map[int]cbor.RawMessage {
	t.Helper()
	var tag cbor.RawTag
	if err := cbor.Unmarshal(envelope, &tag); err != nil {
		t.Fatal(err)
	}
	var m map[int]cbor.RawMessage
	if err := cbor.Unmarshal(tag.Content, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// keys of an envelope's elements (draft-ietf-suit-manifest-37)
const (
	tagEnvelope      = 107
	envelopeAuth     = 2
	envelopeManifest = 3
	envelopeInstall  = 20
)

func assemble(t testing.TB, elements any) []byte {
	t.Helper()
	envelope, err := cose.Marshal(cbor.Tag{Number: tagEnvelope, Content: elements})
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

// sever takes the install sequence out of an envelope.
func sever(t testing.TB, envelope []byte) []byte {
	t.Helper()
	m := elements(t, envelope)
	if m[envelopeInstall] == nil {
		t.Fatal("install is not severable")
	}
	delete(m, envelopeInstall)
	return assemble(t, m)
}

// text prints a trace in one line.
func text(trace Trace) string {
	var parts []string
	for _, c := range trace {
		s := fmt.Sprintf("%s %s", c.Step, c.Status)
		if c.Reason != "" {
			s += " " + string(c.Reason)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

// Traces of devices that take the parcel.
const (
	traceStart = "envelope passed, signature passed, manifest passed, vendor passed, class passed, slot passed, sequence passed, size passed, "
	traceWhole = traceStart + "decoder not-applicable, base not-applicable, "
	tracePlain = traceWhole + "ciphertext not-applicable, unwrap not-applicable, image passed"
	traceT3    = traceWhole + "ciphertext passed, unwrap passed, image passed"
	traceNoKey = traceWhole + "ciphertext passed, unwrap not-run, image not-run"
)

func takenTrace(template string) string {
	if template == "T3" {
		return traceT3
	}
	return tracePlain
}

// wantRefusal checks that a device came to a step and refused there, after it
// had passed all steps before, and for the reason that both trace and error give.
func wantRefusal(t *testing.T, template string, v *Verified, trace Trace, err error, step Step, reason verdict.Reason) {
	t.Helper()
	before, _, found := strings.Cut(takenTrace(template), string(step)+" ")
	if want := fmt.Sprintf("%s%s failed %s", before, step, reason); !found || text(trace) != want {
		t.Errorf("got  %s\nwant %s", text(trace), want)
	}
	if v != nil || verdict.Of(err) != reason {
		t.Fatalf("got %v, %v, want reason %q", v, err, reason)
	}
	last := trace[len(trace)-1]
	if want := fmt.Sprintf("%s: %s", step, last.Detail); err.Error() != want || last.Detail == "" {
		t.Errorf("error %q, want %q", err, want)
	}
	for _, c := range trace[:len(trace)-1] {
		if c.Detail != "" || c.Reason != "" {
			t.Errorf("%s: passed with %q, %q", c.Step, c.Reason, c.Detail)
		}
	}
}

// without returns the profile with some steps left out.
func without(c Chip, steps ...Step) Chip {
	c.Steps = slices.DeleteFunc(slices.Clone(c.Steps), func(s Step) bool { return slices.Contains(steps, s) })
	return c
}
