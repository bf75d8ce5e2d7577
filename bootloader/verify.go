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
	StepDecoder    Step = "decoder"    // what decoding the payload takes: a decoder, its RAM, a bank of its own
	StepBase       Step = "base"       // the image that the device runs is the one that the payload is a difference to
	StepCiphertext Step = "ciphertext" // digest of the payload as received, before it is decrypted or decoded
	StepUnwrap     Step = "unwrap"     // content key, with the device's key
	StepImage      Step = "image"      // digest of the image, decrypted and decoded where it has to be
)

// Status is the verdict of one step.
type Status string

// Verdicts.
const (
	Passed        Status = "passed"
	Failed        Status = "failed"
	NotApplicable Status = "not-applicable" // nothing to check: the payload is not encrypted, or not coded
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
	Running                 *Payload         // image that the device runs, plain; nil for a device without
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
	// WithoutBase leaves the steps out that need the image that the device runs.
	// They are reported as not-run where the payload is a difference to one.
	WithoutBase bool
	// Installed says that the payload is the plain image in its bank, which is
	// how a bootloader finds it at a reset: there is nothing left to decrypt or
	// to decode.
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
	based     bool // the running image is the base of the payload
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
	case StepDecoder:
		return b.checkDecoder()
	case StepBase:
		return b.checkBase()
	case StepCiphertext:
		return b.checkReceived()
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

// decoding returns how the image is decoded from the payload, nil if it is not.
func (b *boot) decoding() *manifest.Decoding {
	if m := b.verified.Manifest(); m.Decoded() && !b.options.Installed {
		return m.Install.Decoding
	}
	return nil
}

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

// checkDecoder looks at what decoding would take, before anything is spent on it.
func (b *boot) checkDecoder() (Status, error) {
	d, chip := b.decoding(), b.device.Chip
	switch {
	case d == nil:
		return NotApplicable, nil
	case d.RAM > chip.DecoderRAM:
		return Failed, verdict.New(verdict.DecoderRAM, "payload", "decoding %s takes %d bytes of RAM, %s has %d for it", d.Coding, d.RAM, chip.Name, chip.DecoderRAM)
	case d.Base != nil && !chip.Dual():
		return Failed, verdict.New(verdict.DeltaInPlace, "payload", "is a difference to the image in the only bank of %s, which it would overwrite", chip.Name)
	}
	return Passed, nil
}

// checkBase compares the image that the device runs with the one that the
// payload is a difference to.
func (b *boot) checkBase() (Status, error) {
	d, running := b.decoding(), b.device.Running
	switch {
	case d == nil || d.Base == nil:
		return NotApplicable, nil
	case b.options.WithoutBase:
		return NotRun, nil
	case running == nil:
		return Failed, verdict.New(verdict.BaseMismatch, "payload", "is a difference to an image of %d bytes, and the device runs none", d.Base.Size)
	case running.Size != int64(d.Base.Size):
		return Failed, verdict.New(verdict.BaseMismatch, "payload", "is a difference to an image of %d bytes, the device runs one of %d", d.Base.Size, running.Size)
	}
	got, err := b.digest(io.NewSectionReader(running, 0, running.Size), running.Size)
	if err != nil {
		return Failed, err
	}
	if subtle.ConstantTimeCompare(got[:], d.Base.Digest[:]) != 1 {
		return Failed, verdict.New(verdict.BaseMismatch, "payload", "is a difference to the image with SHA-256 %s, the device runs %s", d.Base.Digest, got)
	}
	b.based = true
	return Passed, nil
}

// checkReceived compares the digest of what a payload is decrypted or decoded
// from. It comes first, so that only what was signed is decrypted or decoded.
func (b *boot) checkReceived() (Status, error) {
	if !b.encrypted() && b.decoding() == nil {
		return NotApplicable, nil
	}
	install, err := b.verified.Install()
	if err != nil {
		return Failed, err
	}
	got, err := b.digest(b.received(), b.payload.Size)
	if err != nil {
		return Failed, err
	}
	if want := install.Received.Digest; subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		reason := verdict.CiphertextDigestMismatch
		if !b.encrypted() {
			reason = verdict.PayloadDigestMismatch
		}
		return Failed, verdict.New(reason, "payload", "SHA-256 %s, signed %s", got, want)
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
	m, d := b.verified.Manifest(), b.decoding()
	image := b.received()
	if b.encrypted() && b.options.WithoutDecryption || d != nil && d.Base != nil && b.options.WithoutBase {
		b.looked = true
		return NotRun, nil
	}
	if b.encrypted() {
		if b.key == nil || !b.hashed {
			return Failed, errOrder
		}
		var err error
		if image, err = encrypt.NewReader(image, b.header, b.key); err != nil {
			return Failed, err
		}
	}
	if d != nil {
		if !b.hashed || d.Base != nil && !b.based {
			return Failed, errOrder
		}
		var err error
		if image, err = Decode(b.ctx, *d, m.Image.Size, b.device.Running, image); err != nil {
			return Failed, err
		}
	}
	got, err := b.digest(image, int64(m.Image.Size))
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

// digest hashes exactly size bytes.
func (b *boot) digest(r io.Reader, size int64) (manifest.Digest, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(hashWriter{b.ctx, h}, struct{ io.Reader }{r}, make([]byte, 32<<10))
	switch {
	case errors.Is(err, encrypt.ErrTooLong): // the signed IV leaves too few counter blocks
		return manifest.Digest{}, verdict.Wrap(err, verdict.TooLarge, "payload")
	case err != nil && verdict.Of(err) == "":
		return manifest.Digest{}, fmt.Errorf("bootloader: payload: %w", err)
	case err != nil: // the decoder's verdict
		return manifest.Digest{}, err
	case n != size:
		return manifest.Digest{}, verdict.New(verdict.PayloadTruncated, "payload", "%d of %d bytes", n, size)
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
