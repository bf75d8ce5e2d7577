package bootloader

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// ownCase is what a device of ours is sent.
type ownCase struct {
	device   Device
	envelope []byte
	// believed has the same manifest, and a signature that holds: what the device
	// goes on with when the verdict about signatures is ignored. nil: envelope.
	believed []byte
	payload  []byte
}

// check makes the device's steps, with one verdict ignored.
func (c ownCase) check(ctx context.Context, without Step) (Trace, error) {
	b := boot{ctx: ctx, device: c.device, data: c.envelope, payload: Payload{bytes.NewReader(c.payload), int64(len(c.payload))}}
	if without == StepSignature && c.believed != nil {
		b.data = c.believed
	}
	defer b.wipe()
	var trace Trace
	for _, step := range c.device.Chip.Steps {
		status, err := b.run(step)
		if err != nil && step == without && verdict.Of(err) != "" && b.goesOn(step) {
			status, err = NotRun, nil
		}
		if err != nil {
			if reason := verdict.Of(err); reason != "" {
				trace = append(trace, Check{step, Failed, reason, err.Error()})
			}
			return trace, err
		}
		trace = append(trace, Check{Step: step, Status: status})
	}
	if b.verified == nil || !b.hashed || !b.looked {
		return trace, errOrder
	}
	return trace, nil
}

// goesOn leaves what the later steps look for, and reports whether it could: a
// parser that has failed and a key that was not unwrapped leave nothing.
func (b *boot) goesOn(ignored Step) bool {
	switch ignored {
	case StepEnvelope, StepManifest, StepUnwrap:
		return false
	case StepSignature:
		return b.authentic != nil
	case StepCiphertext:
		b.hashed = true
	case StepBase:
		b.based = true
	case StepImage:
		b.hashed, b.looked = true, true
	case StepVendor, StepClass, StepSlot, StepSequence, StepSize, StepDecoder:
	}
	return true
}

// ownMaker makes parcels for one device.
type ownMaker struct {
	device   Device
	manifest manifest.Manifest // of a plain image that the device takes
	image    []byte
	signer   sign.Signer
	err      error // first failure
}

func newOwnMaker(name string) (*ownMaker, *ecdh.PrivateKey, error) {
	chip, err := ChipByName(name)
	if err != nil {
		return nil, nil, err
	}
	signer, err := sign.Throwaway(chip.Algorithm)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	identity, err := encrypt.NewIdentity(key)
	if err != nil {
		return nil, nil, err
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleManifest, 1, signer.Public()); err != nil {
		return nil, nil, err
	}
	const vendor, model, revision = "vendor.example", "model", "a"
	image := make([]byte, 1000)
	rand.Read(image)
	return &ownMaker{
		device: Device{Chip: chip, Vendor: vendor, Model: model, Revision: revision, MinSequence: 10, Trust: &trust, Identity: identity},
		manifest: manifest.Manifest{
			Sequence: 10, Vendor: manifest.VendorID(vendor), Class: manifest.ClassID(manifest.VendorID(vendor), model, revision),
			Image: skipContent(image), Install: &manifest.Install{URI: "#fw"},
		},
		image: image, signer: signer,
	}, key, nil
}

func skipContent(b []byte) manifest.Content {
	return manifest.Content{Digest: sha256.Sum256(b), Size: uint32(len(b))}
}

// envelope signs the manifest with changes.
func (o *ownMaker) envelope(ctx context.Context, signer sign.Signer, change func(*manifest.Manifest)) []byte {
	m := o.manifest
	install := *m.Install
	m.Install = &install
	if change != nil {
		change(&m)
	}
	draft, err := manifest.New(m, []sign.PublicKey{signer.Public()}, manifest.Options{})
	if err != nil {
		o.err = errors.Join(o.err, err)
		return nil
	}
	signatures, err := sign.Answer(ctx, draft.Requests(), map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		o.err = errors.Join(o.err, err)
		return nil
	}
	envelope, err := draft.Finish(signatures)
	o.err = errors.Join(o.err, err)
	return envelope
}

// seal encrypts the image to a device, and returns the change of the manifest
// that goes with it.
func (o *ownMaker) seal(to *ecdh.PublicKey) (ciphertext []byte, change func(*manifest.Manifest)) {
	fail := func(err error) ([]byte, func(*manifest.Manifest)) {
		o.err = errors.Join(o.err, err)
		return nil, nil
	}
	recipient, err := encrypt.NewRecipient(to)
	if err != nil {
		return fail(err)
	}
	sealer, err := encrypt.NewSealer(rand.Reader, []encrypt.Recipient{recipient})
	if err != nil {
		return fail(err)
	}
	defer sealer.Wipe()
	var out bytes.Buffer
	result, err := sealer.Seal(&out, bytes.NewReader(o.image))
	if err != nil {
		return fail(err)
	}
	header := sealer.Header()
	information := &cose.Encrypt{IV: [16]byte(header.IV)}
	for _, r := range header.Recipients {
		information.Recipients = append(information.Recipients, cose.Recipient{
			Algorithm: int64(r.Management), KeyID: r.KeyID, X: r.EphemeralX, Y: r.EphemeralY, Wrapped: r.Wrapped,
		})
	}
	return out.Bytes(), func(m *manifest.Manifest) {
		m.Staged = true
		m.Install.Received = manifest.Content{Digest: result.CipherSHA256, Size: uint32(result.Size)}
		m.Install.Encryption = information
	}
}

// code makes a patch from a base, or with nil compresses the image, and returns
// the change of the manifest that goes with it.
func (o *ownMaker) code(ctx context.Context, base []byte) (payload []byte, change func(*manifest.Manifest)) {
	payload, err := delta.Encode(ctx, base, o.image, delta.Params{MapSize: 64})
	header, bad := delta.ReadHeader(payload)
	o.err = errors.Join(o.err, err, bad)
	d := &manifest.Decoding{Coding: manifest.CodingOD1, RAM: uint32(header.DecoderRAM())}
	if base != nil {
		content := skipContent(base)
		d.Base = &content
	}
	return payload, func(m *manifest.Manifest) {
		m.Staged = true
		m.Install.Received, m.Install.Decoding = skipContent(payload), d
	}
}

func skipPayload(b []byte) *Payload { return &Payload{bytes.NewReader(b), int64(len(b))} }

// ownBadImages are what the bootloader of one of our chips must refuse.
func ownBadImages(ctx context.Context, chip string) ([]badImage, error) {
	o, key, err := newOwnMaker(chip)
	if err != nil {
		return nil, err
	}
	stranger, err := sign.Throwaway(o.device.Chip.Algorithm)
	if err != nil {
		return nil, err
	}
	other, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var all []badImage
	add := func(name, what string, c ownCase) {
		if c.device.Chip.Name == "" {
			c.device = o.device
		}
		if c.payload == nil {
			c.payload = o.image
		}
		all = append(all, badImage{name, what, c.check})
	}
	signed := func(change func(*manifest.Manifest)) []byte { return o.envelope(ctx, o.signer, change) }

	good := signed(nil)
	if o.err != nil {
		return nil, o.err
	}
	evil := slices.Clone(o.image)
	slices.Reverse(evil)
	swap := func(m *manifest.Manifest) { m.Image = skipContent(evil) }
	add("wrong-key", "other firmware, signed with a key that the device does not know",
		ownCase{envelope: o.envelope(ctx, stranger, swap), believed: signed(swap), payload: evil})
	was, is := sha256.Sum256(o.image), sha256.Sum256(evil)
	add("digest-swapped", "other firmware, and its digest put into the signed manifest",
		ownCase{envelope: bytes.Replace(good, was[:], is[:], 1), believed: signed(swap), payload: evil})
	add("unsigned", "no signature block", ownCase{envelope: unsignedEnvelope(good)})
	add("other-vendor", "made for another vendor", ownCase{envelope: signed(func(m *manifest.Manifest) {
		m.Vendor = manifest.VendorID("other.example")
		m.Class = manifest.ClassID(m.Vendor, o.device.Model, o.device.Revision)
	})})
	add("other-class", "made for another hardware revision", ownCase{envelope: signed(func(m *manifest.Manifest) {
		m.Class = manifest.ClassID(m.Vendor, o.device.Model, "b")
	})})
	slotted := o.device
	slotted.Slot = new(uint32(0))
	add("other-slot", "linked for another slot", ownCase{device: slotted, envelope: signed(func(m *manifest.Manifest) { m.Slot = new(uint32(1)) })})
	add("older", "an older release", ownCase{envelope: signed(func(m *manifest.Manifest) { m.Sequence = 9 })})
	small := o.device
	small.Chip.Banks = slices.Clone(small.Chip.Banks)
	small.Chip.Banks[0].Size = uint32(len(o.image)) - 1
	add("too-large", "one byte larger than the bank", ownCase{device: small, envelope: good})
	add("truncated", "the last byte of the payload is missing", ownCase{envelope: good, payload: o.image[:len(o.image)-1]})
	add("flipped", "one bit of the payload changed", ownCase{envelope: good, payload: skipFlip(o.image)})

	ciphertext, sealed := o.seal(key.PublicKey())
	foreign, toOther := o.seal(other.PublicKey())
	if o.err != nil {
		return nil, o.err
	}
	encrypted := signed(sealed)
	add("flipped-ciphertext", "one bit of the encrypted payload changed", ownCase{envelope: encrypted, payload: skipFlip(ciphertext)})
	add("other-device", "encrypted to another device's key", ownCase{envelope: signed(toOther), payload: foreign})
	whole, inAll := o.code(ctx, nil)
	greedy := o.device
	greedy.Chip.DecoderRAM = 1
	add("decoder-ram", "compressed, and the decoder needs more RAM than there is", ownCase{device: greedy, envelope: signed(inAll), payload: whole})
	add("flipped-code", "one bit of the compressed payload changed", ownCase{envelope: signed(inAll), payload: skipFlip(whole)})
	older := skipFlip(o.image)
	patch, inPart := o.code(ctx, older)
	if o.err != nil {
		return nil, o.err
	}
	if o.device.Chip.Dual() {
		other := o.device
		other.Running = skipPayload(evil)
		add("other-base", "a patch for a device that runs another image", ownCase{device: other, envelope: signed(inPart), payload: patch})
	} else {
		same := o.device
		same.Running = skipPayload(older)
		add("in-place", "a patch of the image in the only bank", ownCase{device: same, envelope: signed(inPart), payload: patch})
	}
	wrong := func(m *manifest.Manifest) { sealed(m); m.Image = skipContent(evil) }
	add("other-plaintext", "signed well, and decrypts to something else", ownCase{envelope: signed(wrong), payload: ciphertext})
	return all, o.err
}

func skipFlip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// unsignedEnvelope takes the one signature block out of the envelope: the
// authentication wrapper is then an array of its digest alone. The digest's
// byte string is 0x58 0x24 and 36 bytes.
func unsignedEnvelope(envelope []byte) []byte {
	digest := []byte{0x82, 0x58, 0x24, 0x82, 0x2f, 0x58, 0x20}
	at := bytes.Index(envelope, digest)
	if at < 2 {
		return envelope // taken, and reported as such
	}
	end := at + int(envelope[at-1]) // the wrapper's byte string is 0x58, length
	return slices.Concat(envelope[:at-1], []byte{39, 0x81}, envelope[at+1:at+39], envelope[end:])
}
