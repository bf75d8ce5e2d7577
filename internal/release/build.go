package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// Draft is a release whose to-be-signed bytes are final, but for what covers a
// file that has to be signed first: the manifest of a component with a format
// of its own, and the release record.
type Draft struct {
	plan       *Plan
	components []built
	record     *manifest.RecordDraft // nil until all files are signed
	answered   []sign.Request        // of files
	random     io.Reader
}

// built is what a release has for one component: the parcel for any device, and
// further ones for devices that run a certain image.
type built struct {
	parcel
	file     deviceFile // nil for our own bootloaders
	variants []variant  // in ascending order of their bases' versions
	larger   []larger   // what was tried and is not smaller
}

// parcel is a manifest and its payload.
type parcel struct {
	artifact string // what the manifest is called in signing requests
	manifest manifest.Manifest
	envelope *manifest.Draft // nil until the payload is final
	payload  []byte
	window   uint32          // bytes that the decoder keeps of its output, 0 where it keeps none
	sealer   *encrypt.Sealer // nil when not encrypted
}

// variant is a parcel whose payload is a difference to a base.
type variant struct {
	parcel
	base base
}

// larger is a payload that was dropped, because a plainer one is not larger.
type larger struct {
	from   manifest.Version // nil: the whole image, compressed
	coding manifest.Coding
	size   int // in bytes
}

// parcels returns everything of a component that has a manifest of its own.
func (b *built) parcels() []*parcel {
	all := []*parcel{&b.parcel}
	for i := range b.variants {
		all = append(all, &b.variants[i].parcel)
	}
	return all
}

// Build makes payloads and manifests of a plan that Lint passes; its error is
// Lint's otherwise. It reads the images that patches come from. random is
// crypto/rand.Reader but in tests. The caller wipes the draft when the release is
// done.
func (p *Plan) Build(ctx context.Context, random io.Reader) (*Draft, error) {
	if err := p.Lint(); err != nil {
		return nil, err
	}
	bases := make([][]base, len(p.project.components))
	for i, c := range p.project.components {
		var err error
		if bases[i], err = p.loadBases(ctx, c); err != nil {
			return nil, err
		}
	}
	d := &Draft{plan: p, random: random}
	waits := false
	for i, c := range p.project.components {
		b, err := p.buildComponent(ctx, c, p.images[i], bases[i], random)
		d.components = append(d.components, b)
		if err != nil {
			d.Wipe()
			return nil, fmt.Errorf("release: %s: %w", c.Name, err)
		}
		waits = waits || b.file != nil
	}
	if waits {
		return d, nil
	}
	if err := d.layOutRecord(); err != nil {
		d.Wipe()
		return nil, err
	}
	return d, nil
}

// layOutRecord makes the release record over the manifests.
func (d *Draft) layOutRecord() error {
	var digests []manifest.Digest
	for _, b := range d.components {
		digests = append(digests, b.envelope.Digest())
	}
	record, err := d.plan.record(digests)
	if err != nil {
		return err
	}
	for i, b := range d.components {
		for _, v := range b.variants {
			record.Components[i].Variants = append(record.Components[i].Variants, manifest.RecordVariant{
				Manifest: v.envelope.Digest(), From: v.base.version, Base: v.base.content(),
			})
		}
	}
	d.record, err = manifest.NewRecord(record, d.plan.project.signer)
	return err
}

// signFiles has the files of bootloaders with a format of their own signed, and
// then lays out what covers them.
func (d *Draft) signFiles(ctx context.Context, signers map[sign.KeyID]sign.Signer) error {
	if d.record != nil {
		return nil
	}
	for i := range d.components {
		b, c := &d.components[i], d.plan.project.components[i]
		if b.file == nil {
			continue
		}
		answered, err := complete(ctx, b.file, signers)
		if err != nil {
			return fmt.Errorf("release: %s: %w", c.Name, err)
		}
		d.answered = append(d.answered, answered...)
		if b.payload, err = b.file.Bytes(); err != nil {
			return err
		}
		b.manifest.Image = manifest.Content{Digest: sha256.Sum256(b.payload), Size: uint32(len(b.payload))}
		if b.envelope, err = b.draft(c.signers); err != nil {
			return err
		}
	}
	return d.layOutRecord()
}

// Warnings are about what is allowed and rarely meant.
func (d *Draft) Warnings() []Finding {
	var findings []Finding
	for i, b := range d.components {
		if b.file == nil {
			findings = append(findings, d.plan.oneBank(i)...)
			continue
		}
		for _, f := range b.file.Warnings() {
			f.Object = d.plan.project.components[i].Name + ": " + f.Object
			findings = append(findings, f)
		}
	}
	return findings
}

// Wipe overwrites the content keys.
func (d *Draft) Wipe() {
	for i := range d.components {
		for _, parcel := range d.components[i].parcels() {
			if parcel.sealer != nil {
				parcel.sealer.Wipe()
			}
		}
	}
}

// buildComponent returns what there is to wipe also with an error.
func (p *Plan) buildComponent(ctx context.Context, c component, im image, bases []base, random io.Reader) (built, error) {
	b := built{parcel: parcel{artifact: manifestArtifact(c.Name), manifest: manifest.Manifest{
		Sequence: p.sequence,
		Version:  im.version,
		Vendor:   p.project.vendor,
		Class:    c.class,
		Slot:     c.slot,
		Install:  &manifest.Install{URI: c.URI},
	}}}
	var err error
	if c.device != nil {
		im.content.sequence = p.sequence
		b.file, err = c.device.build(im.content, random)
		if refusal, ok := errors.AsType[*verdict.Error](err); ok { // what its bootloader would refuse is not built
			err = &PolicyError{[]Finding{{refusal.Reason, c.Name, refusal.Detail}}}
		}
		return b, err
	}
	image, err := im.flatten()
	if err != nil {
		return b, err
	}
	b.manifest.Image = manifest.Content{Digest: sha256.Sum256(image), Size: uint32(len(image))}
	variants, err := codePatches(ctx, c, b.parcel, bases, im.bank.Base, image)
	if err != nil {
		return b, err
	}
	whole := coded{payload: image}
	if c.Compress != nil {
		compressed, err := codeWhole(ctx, c, im.bank.Base, image)
		if err != nil {
			return b, err
		}
		if len(compressed.payload) < len(image) {
			whole = compressed
		} else {
			b.larger = append(b.larger, larger{nil, compressed.decoding.Coding, len(compressed.payload)})
		}
	}
	if err := b.finish(c, whole, random); err != nil {
		return b, err
	}
	for _, v := range variants {
		if len(v.coded.payload) >= len(whole.payload) {
			b.larger = append(b.larger, larger{v.base.version, v.coded.decoding.Coding, len(v.coded.payload)})
			continue
		}
		b.variants = append(b.variants, v.variant)
		if err := b.variants[len(b.variants)-1].finish(c, v.coded, random); err != nil {
			return b, err
		}
	}
	return b, nil
}

// finish makes the parcel of a coded payload: it is encrypted if the component's
// are, and the envelope laid out.
func (p *parcel) finish(c component, in coded, random io.Reader) error {
	p.payload, p.window = in.payload, in.window
	if in.decoding != nil {
		if in.decoding.RAM > c.chip.DecoderRAM {
			return &PolicyError{[]Finding{{verdict.DecoderRAM, p.artifact, fmt.Sprintf("decoding %s takes %d bytes of RAM, %s has %d for it",
				in.decoding.Coding, in.decoding.RAM, c.chip.Name, c.chip.DecoderRAM)}}}
		}
		p.manifest.Staged = true
		p.manifest.Install.Decoding = in.decoding
		p.manifest.Install.Received = manifest.Content{Digest: sha256.Sum256(p.payload), Size: uint32(len(p.payload))}
	}
	if len(c.recipients) > 0 {
		if err := p.encrypt(c.recipients, random); err != nil {
			return err
		}
	}
	var err error
	p.envelope, err = p.draft(c.signers)
	return err
}

// encrypt replaces the payload by its ciphertext.
func (p *parcel) encrypt(to []encrypt.Recipient, random io.Reader) error {
	sealer, err := encrypt.NewSealer(random, to)
	if err != nil {
		return err
	}
	ciphertext := bytes.NewBuffer(make([]byte, 0, len(p.payload)))
	result, err := sealer.Seal(ciphertext, bytes.NewReader(p.payload))
	if err != nil {
		sealer.Wipe()
		return err
	}
	info := encryptionInfo(sealer.Header())
	p.payload, p.sealer = ciphertext.Bytes(), sealer
	p.manifest.Staged = true
	p.manifest.Install.Received = manifest.Content{Digest: result.CipherSHA256, Size: uint32(result.Size)}
	p.manifest.Install.Encryption = &info
	return nil
}

// encryptionInfo is the inverse of bootloader.Header.
func encryptionInfo(h encrypt.Header) cose.Encrypt {
	e := cose.Encrypt{IV: [16]byte(h.IV)}
	for _, r := range h.Recipients {
		e.Recipients = append(e.Recipients, cose.Recipient{
			Algorithm: int64(r.Management), KeyID: r.KeyID, X: r.EphemeralX, Y: r.EphemeralY, Wrapped: r.Wrapped,
		})
	}
	return e
}

// draft lays out the envelope for a set of keys. Encrypted components sever
// install: after installing, a device need not keep the encryption information.
func (p *parcel) draft(keys []sign.PublicKey) (*manifest.Draft, error) {
	return manifest.New(p.manifest, keys, manifest.Options{
		Artifact: p.artifact, SeverInstall: p.manifest.Encrypted(), KeyHints: true,
	})
}

// Requests returns what has to be signed, in order, as far as it is known: the
// files of bootloaders with a format of their own, or those that have been
// signed already; the manifests, less those over files that are not; then the
// release record.
func (d *Draft) Requests() []sign.Request {
	requests := slices.Clone(d.answered)
	for _, b := range d.components {
		if b.file != nil {
			requests = append(requests, b.file.Requests()...)
		}
	}
	return append(requests, d.covering()...)
}

// covering returns the requests of manifests and release record.
func (d *Draft) covering() []sign.Request {
	var requests []sign.Request
	for i := range d.components {
		for _, parcel := range d.components[i].parcels() {
			if parcel.envelope != nil {
				requests = append(requests, parcel.envelope.Requests()...)
			}
		}
	}
	if d.record != nil {
		requests = append(requests, d.record.Requests()...)
	}
	return requests
}

// Rehearsed is a draft that every reference bootloader has accepted.
type Rehearsed struct {
	draft     *Draft
	powerLoss *bootloader.Outcome
}

// Requests returns what has to be signed, see Draft.Requests.
func (r *Rehearsed) Requests() []sign.Request { return r.draft.Requests() }

// Signatures counts what has to be signed.
func (r *Rehearsed) Signatures() int {
	n := 1 // the release record
	for i, b := range r.draft.components {
		if b.file != nil {
			n += b.file.Signatures()
		}
		n += (1 + len(b.variants)) * len(r.draft.plan.project.components[i].signers)
	}
	return n
}

// Record returns what release.json will say, see Draft.Record.
func (r *Rehearsed) Record() Record { return r.draft.Record() }

// PowerLoss returns what the power-loss rehearsal has found, nil when the policy
// has none.
func (r *Rehearsed) PowerLoss() *bootloader.Outcome { return r.powerLoss }

// errRehearsal is a bug of this program, never of its input.
var errRehearsal = errors.New("rehearsal signed other bytes than the release would")

// Rehearse signs copies of all envelopes with throwaway keys and runs the
// bootloader of each component over them, once for each recipient of its
// payload. Then the devices install them on simulated flash, losing power, as
// far as policy.rehearse asks for it. The to-be-signed bytes are those of the
// draft.
func (d *Draft) Rehearse(ctx context.Context) (*Rehearsed, error) {
	var components []rehearsedComponent
	for i, c := range d.plan.project.components {
		rehearsed, err := d.rehearse(ctx, c, d.components[i])
		if err != nil {
			return nil, fmt.Errorf("release: rehearsal of %s: %w", c.Name, err)
		}
		components = append(components, rehearsed)
	}
	outcome, err := d.rehearsePowerLoss(ctx, components)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return &Rehearsed{d, outcome}, nil
}

// rehearse returns the component as a device takes it that trusts the throwaway
// keys.
func (d *Draft) rehearse(ctx context.Context, c component, b built) (rehearsedComponent, error) {
	var out, none rehearsedComponent
	signers := map[sign.KeyID]sign.Signer{}
	var keys []sign.PublicKey
	for _, k := range c.signers {
		s, err := sign.Throwaway(k.Algorithm())
		if err != nil {
			return none, err
		}
		signers[s.Public().ID()] = s
		keys = append(keys, s.Public())
	}
	if b.file != nil {
		in := d.plan.images[d.plan.project.index(c.Name)].content
		in.sequence = d.plan.sequence
		var err error
		if b.payload, err = rehearseFile(ctx, c.device, in, b.file, d.random); err != nil {
			return none, err
		}
		b.manifest.Image = manifest.Content{Digest: sha256.Sum256(b.payload), Size: uint32(len(b.payload))}
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleManifest, min(c.trust.Threshold(sign.RoleManifest), len(keys)), keys...); err != nil {
		return none, err
	}
	c.trust = &trust
	for _, v := range b.variants {
		device, envelope, err := d.rehearseParcel(ctx, c, v.parcel, v.base.image, keys, signers)
		if err != nil {
			return none, fmt.Errorf("from %s: %w", v.base.version, err)
		}
		out.patches = append(out.patches, bootloader.RehearsedComponent{
			Name: c.Name, Device: device, Envelope: envelope, Payload: v.payload, Base: v.base.image,
			Before: bootloader.Before{Version: v.base.version},
		})
	}
	device, envelope, err := d.rehearseParcel(ctx, c, b.parcel, nil, keys, signers)
	if err != nil {
		return none, err
	}
	out.whole = bootloader.RehearsedComponent{Name: c.Name, Device: device, Envelope: envelope, Payload: b.payload}
	return out, nil
}

// rehearseParcel signs a copy of an envelope and has devices that run an image,
// nil for any, take it: one for each recipient. It returns the last of them.
func (d *Draft) rehearseParcel(ctx context.Context, c component, p parcel, running []byte, keys []sign.PublicKey, signers map[sign.KeyID]sign.Signer) (device bootloader.Device, envelope []byte, err error) {
	draft, err := p.draft(keys)
	if err != nil {
		return device, nil, err
	}
	if p.envelope != nil { // else it covers a file that waits for signatures
		for i, r := range draft.Requests() {
			if !bytes.Equal(r.Message, p.envelope.Requests()[i].Message) {
				return device, nil, errRehearsal
			}
		}
	}
	signatures, err := sign.Answer(ctx, draft.Requests(), signers)
	if err != nil {
		return device, nil, err
	}
	if envelope, err = draft.Finish(signatures); err != nil {
		return device, nil, err
	}
	for i := range max(1, len(c.recipients)) {
		var id encrypt.Identity
		if p.sealer != nil {
			id = p.sealer.Identity(i)
		}
		// The floor is the release's own number: devices that already have it
		// must still take it again.
		device = d.plan.project.device(c, d.plan.sequence, id)
		if running != nil {
			device.Running = staged(running)
		}
		if _, _, err := bootloader.Verify(ctx, device, envelope, *staged(p.payload), bootloader.Options{}); err != nil {
			return device, nil, err
		}
	}
	return device, envelope, nil
}

// staged is bytes in memory as a bootloader reads them.
func staged(data []byte) *bootloader.Payload {
	return &bootloader.Payload{ReaderAt: bytes.NewReader(data), Size: int64(len(data))}
}
