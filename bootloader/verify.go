package bootloader

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// Step is one check of a bootloader.
type Step string

// The checks. Their names are part of the trace and do not change.
const (
	StepEnvelope   Step = "envelope"   // the envelope's structure and its signature blocks
	StepSignature  Step = "signature"  // manifest digest and signatures by trusted keys
	StepManifest   Step = "manifest"   // the manifest is one of the profile's templates
	StepVendor     Step = "vendor"     // vendor identifier
	StepClass      Step = "class"      // class identifier: model and hardware revision
	StepSlot       Step = "slot"       // slot that the image is linked for
	StepSequence   Step = "sequence"   // rollback counter
	StepSize       Step = "size"       // image fits the bank, payload has the signed size
	StepCiphertext Step = "ciphertext" // digest of the payload as received, before decryption
	StepUnwrap     Step = "unwrap"     // content key, with the device's key
	StepImage      Step = "image"      // digest of the image, decrypted where it is encrypted
)

// Status is the verdict of one step.
type Status string

// Verdicts.
const (
	Passed        Status = "passed"
	Failed        Status = "failed"
	NotApplicable Status = "not-applicable" // nothing to check: the payload is not encrypted
	NotRun        Status = "not-run"        // asked to leave out, see Options
)

// Check is one line of a trace.
type Check struct {
	Step   Step           `json:"step"`
	Status Status         `json:"status"`
	Reason verdict.Reason `json:"reason,omitempty"` // when failed
	Detail string         `json:"detail,omitempty"`
}

// Trace lists the checks that were made, in order. It ends with the first that
// failed, or before the first that could not be made.
type Trace []Check

// Device is the state of one device as far as its bootloader looks at it.
type Device struct {
	Chip Chip
	// Vendor domain, model and revision are the inputs of the identifiers that
	// are burnt into the bootloader.
	Vendor, Model, Revision string
	MinSequence             uint32  // rollback floor
	Slot                    *uint32 // slot that would be written; nil where images are not linked for slots
	Trust                   *sign.TrustSet
	Identity                encrypt.Identity // decryption key; nil for a device without
}

// Payload is what the transport has staged for a device.
type Payload struct {
	io.ReaderAt
	Size int64 // in bytes
}

// Options changes what is checked.
type Options struct {
	// WithoutDecryption leaves the steps out that need the device's private
	// key. They are reported as not-run: a signed ciphertext digest says that
	// the payload is the one that was released, not that a device can read it.
	WithoutDecryption bool
	// Installed says that the payload is the plain image in its bank, which is
	// how a bootloader finds it at a reset: there is nothing left to decrypt.
	Installed bool
}

// Verified says that the device would install the payload.
type Verified struct {
	manifest *manifest.Verified
	complete bool
}

// Manifest returns the verified manifest.
func (v *Verified) Manifest() *manifest.Verified { return v.manifest }

// Complete reports whether every step ran, decryption included.
func (v *Verified) Complete() bool { return v.complete }

// Verify makes the checks of the device's bootloader over an envelope and its
// payload. It stops at the first refusal, which is the last line of the trace
// and the error, with a verdict.Reason. Other errors mean that the verdict is
// not known: the payload cannot be read, ctx is done, no keys are configured.
func Verify(ctx context.Context, device Device, envelope []byte, payload Payload, o Options) (*Verified, Trace, error) {
	b := boot{ctx: ctx, device: device, data: envelope, payload: payload, options: o}
	if b.device.Trust == nil {
		b.device.Trust = &sign.TrustSet{} // trusts nobody
	}
	defer b.wipe()
	trace := make(Trace, 0, len(device.Chip.Steps))
	complete := true
	for _, step := range device.Chip.Steps {
		status, err := b.run(step)
		if err != nil {
			if reason := verdict.Of(err); reason != "" {
				trace = append(trace, Check{step, Failed, reason, err.Error()})
			}
			return nil, trace, fmt.Errorf("%s: %w", step, err)
		}
		complete = complete && status != NotRun
		trace = append(trace, Check{Step: step, Status: status})
	}
	if b.verified == nil || !b.hashed || !b.looked {
		return nil, trace, fmt.Errorf("bootloader: profile %q does not check signature and payload", device.Chip.Name)
	}
	return &Verified{manifest: b.verified, complete: complete}, trace, nil
}

// boot is one pass of the bootloader: each step leaves what the next ones need.
type boot struct {
	ctx     context.Context
	device  Device
	data    []byte
	payload Payload
	options Options

	envelope  *manifest.Envelope
	authentic *manifest.Authentic
	verified  *manifest.Verified
	header    encrypt.Header
	key       *encrypt.ContentKey
	hashed    bool // the payload, plain or encrypted, is the one that was signed
	looked    bool // the image step came, and passed or was to be left out
}

func (b *boot) wipe() {
	if b.key != nil {
		b.key.Wipe()
	}
}

var errOrder = errors.New("bootloader: the profile's steps are out of order")

func (b *boot) run(step Step) (Status, error) {
	var err error
	switch step {
	case StepEnvelope:
		b.envelope, err = manifest.Parse(b.data)
		return Passed, err
	case StepSignature:
		if b.envelope == nil {
			return Failed, errOrder
		}
		b.authentic, err = b.envelope.Authenticate(b.device.Trust)
		return Passed, err
	case StepManifest:
		if b.authentic == nil {
			return Failed, errOrder
		}
		b.verified, err = b.authentic.Decode()
		return Passed, err
	}
	if b.verified == nil {
		return Failed, errOrder
	}
	switch step {
	case StepVendor:
		return Passed, b.verified.CheckVendor(b.vendor())
	case StepClass:
		return Passed, b.verified.CheckClass(manifest.ClassID(b.vendor(), b.device.Model, b.device.Revision))
	case StepSlot:
		return Passed, b.verified.CheckSlot(b.device.Slot)
	case StepSequence:
		return Passed, b.verified.CheckSequence(b.device.MinSequence)
	case StepSize:
		return Passed, b.checkSize()
	case StepCiphertext:
		return b.checkCiphertext()
	case StepUnwrap:
		return b.unwrap()
	case StepImage:
		return b.checkImage()
	}
	return Failed, fmt.Errorf("bootloader: unknown step %q", step)
}

func (b *boot) vendor() manifest.UUID { return manifest.VendorID(b.device.Vendor) }

// encrypted reports whether the payload is.
func (b *boot) encrypted() bool { return b.verified.Manifest().Encrypted() && !b.options.Installed }

func (b *boot) checkSize() error {
	bank, err := b.device.Chip.Bank(b.device.Slot)
	if err != nil {
		return err
	}
	m := b.verified.Manifest()
	if m.Image.Size > bank.Size {
		return verdict.New(verdict.ImageExceedsBank, "image", "%d bytes, the bank has %d", m.Image.Size, bank.Size)
	}
	want := int64(m.Image.Size)
	if !b.options.Installed {
		if _, err := b.verified.Install(); err != nil {
			return err
		}
		want = int64(m.Payload().Size)
	}
	if b.payload.Size != want {
		return verdict.New(verdict.PayloadElementSize, "payload", "%d bytes, signed for %d", b.payload.Size, want)
	}
	return nil
}

func (b *boot) checkCiphertext() (Status, error) {
	if !b.encrypted() {
		return NotApplicable, nil
	}
	install, err := b.verified.Install()
	if err != nil {
		return Failed, err
	}
	got, err := b.digest(b.received())
	if err != nil {
		return Failed, err
	}
	if want := install.Received.Digest; subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return Failed, verdict.New(verdict.CiphertextDigestMismatch, "payload", "SHA-256 %s, signed %s", got, want)
	}
	b.hashed = true
	return Passed, nil
}

func (b *boot) unwrap() (Status, error) {
	switch {
	case !b.encrypted():
		return NotApplicable, nil
	case b.options.WithoutDecryption:
		return NotRun, nil
	case b.device.Identity == nil:
		return Failed, verdict.New(verdict.RecipientKeyMissing, "payload", "encrypted, and the device has no key")
	}
	install, err := b.verified.Install()
	if err != nil {
		return Failed, err
	}
	b.header = Header(*install.Encryption)
	key, err := b.device.Identity.Unwrap(b.header)
	switch {
	case errors.Is(err, encrypt.ErrEphemeralKey):
		return Failed, verdict.Wrap(err, verdict.EphemeralPoint, "encryption information")
	case errors.Is(err, encrypt.ErrUnwrap):
		return Failed, verdict.Wrap(err, verdict.KeyUnwrap, "encryption information")
	case err != nil:
		return Failed, err
	}
	b.key = key
	return Passed, nil
}

func (b *boot) checkImage() (Status, error) {
	m := b.verified.Manifest()
	image := b.received()
	if b.encrypted() {
		if b.options.WithoutDecryption {
			b.looked = true
			return NotRun, nil
		}
		if b.key == nil || !b.hashed {
			return Failed, errOrder
		}
		var err error
		if image, err = encrypt.NewReader(image, b.header, b.key); err != nil {
			return Failed, err
		}
	}
	got, err := b.digest(image)
	if err != nil {
		return Failed, err
	}
	if subtle.ConstantTimeCompare(got[:], m.Image.Digest[:]) != 1 {
		return Failed, verdict.New(verdict.ImageDigestMismatch, "image", "SHA-256 %s, signed %s", got, m.Image.Digest)
	}
	b.hashed, b.looked = true, true
	return Passed, nil
}

// received reads the staged payload from its start.
func (b *boot) received() io.Reader { return io.NewSectionReader(b.payload, 0, b.payload.Size) }

// digest hashes exactly the payload's size of bytes.
func (b *boot) digest(r io.Reader) (manifest.Digest, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(hashWriter{b.ctx, h}, struct{ io.Reader }{r}, make([]byte, 32<<10))
	switch {
	case errors.Is(err, encrypt.ErrTooLong): // the signed IV leaves too few counter blocks
		return manifest.Digest{}, verdict.Wrap(err, verdict.TooLarge, "payload")
	case err != nil:
		return manifest.Digest{}, fmt.Errorf("bootloader: payload: %w", err)
	case n != b.payload.Size:
		return manifest.Digest{}, verdict.New(verdict.PayloadTruncated, "payload", "%d of %d bytes", n, b.payload.Size)
	}
	return manifest.Digest(h.Sum(nil)), nil
}

// hashWriter lets a long payload be interrupted.
type hashWriter struct {
	ctx context.Context
	h   hash.Hash
}

func (w hashWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.h.Write(p)
}

// Header turns the encryption information of a manifest into what package
// encrypt works with.
func Header(e cose.Encrypt) encrypt.Header {
	h := encrypt.Header{Algorithm: encrypt.A128CTR, IV: e.IV[:]}
	for _, r := range e.Recipients {
		h.Recipients = append(h.Recipients, encrypt.WrappedKey{
			Management: encrypt.KeyManagement(r.Algorithm), KeyID: r.KeyID,
			EphemeralX: r.X, EphemeralY: r.Y, Wrapped: r.Wrapped,
		})
	}
	return h
}
