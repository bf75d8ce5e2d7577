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

// built is one component's manifest and payload.
type built struct {
	manifest manifest.Manifest
	envelope *manifest.Draft // nil until the payload is final
	payload  []byte
	sealer   *encrypt.Sealer // nil when not encrypted
	file     deviceFile      // nil for our own bootloaders
}

// Build makes payloads and manifests of a plan that Lint passes; its error is
// Lint's otherwise. random is crypto/rand.Reader but in tests. The caller wipes
// the draft when the release is done.
func (p *Plan) Build(random io.Reader) (*Draft, error) {
	if err := p.Lint(); err != nil {
		return nil, err
	}
	d := &Draft{plan: p, random: random}
	waits := false
	for i, c := range p.project.components {
		b, err := p.buildComponent(c, p.images[i], random)
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
		if b.envelope, err = b.draft(c, c.signers); err != nil {
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
	for _, b := range d.components {
		if b.sealer != nil {
			b.sealer.Wipe()
		}
	}
}

// buildComponent returns what there is to wipe also with an error.
func (p *Plan) buildComponent(c component, im image, random io.Reader) (built, error) {
	b := built{manifest: manifest.Manifest{
		Sequence: p.sequence,
		Version:  im.version,
		Vendor:   p.project.vendor,
		Class:    c.class,
		Slot:     c.slot,
		Install:  &manifest.Install{URI: c.URI},
	}}
	var err error
	if c.device != nil {
		im.content.sequence = p.sequence
		b.file, err = c.device.build(im.content, random)
		if refusal, ok := errors.AsType[*verdict.Error](err); ok { // what its bootloader would refuse is not built
			err = &PolicyError{[]Finding{{refusal.Reason, c.Name, refusal.Detail}}}
		}
		return b, err
	}
	if b.payload, err = im.flatten(); err != nil {
		return built{}, err
	}
	b.manifest.Image = manifest.Content{Digest: sha256.Sum256(b.payload), Size: uint32(len(b.payload))}
	if len(c.recipients) > 0 {
		if err := b.encrypt(c.recipients, random); err != nil {
			return built{}, err
		}
	}
	b.envelope, err = b.draft(c, c.signers)
	return b, err
}

// encrypt replaces the payload by its ciphertext.
func (b *built) encrypt(to []encrypt.Recipient, random io.Reader) error {
	sealer, err := encrypt.NewSealer(random, to)
	if err != nil {
		return err
	}
	ciphertext := bytes.NewBuffer(make([]byte, 0, len(b.payload)))
	result, err := sealer.Seal(ciphertext, bytes.NewReader(b.payload))
	if err != nil {
		sealer.Wipe()
		return err
	}
	info := encryptionInfo(sealer.Header())
	b.payload, b.sealer = ciphertext.Bytes(), sealer
	b.manifest.Staged = true
	b.manifest.Image.Digest = result.PlainSHA256
	b.manifest.Install.Received = manifest.Content{Digest: result.CipherSHA256, Size: uint32(result.Size)}
	b.manifest.Install.Encryption = &info
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
func (b *built) draft(c component, keys []sign.PublicKey) (*manifest.Draft, error) {
	return manifest.New(b.manifest, keys, manifest.Options{
		Artifact: manifestArtifact(c.Name), SeverInstall: b.manifest.Encrypted(), KeyHints: true,
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
	for _, b := range d.components {
		if b.envelope != nil {
			requests = append(requests, b.envelope.Requests()...)
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
		n += len(r.draft.plan.project.components[i].signers)
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
	var components []bootloader.RehearsedComponent
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
func (d *Draft) rehearse(ctx context.Context, c component, b built) (bootloader.RehearsedComponent, error) {
	none := bootloader.RehearsedComponent{}
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
	draft, err := b.draft(c, keys)
	if err != nil {
		return none, err
	}
	if b.file == nil {
		for i, r := range draft.Requests() {
			if !bytes.Equal(r.Message, b.envelope.Requests()[i].Message) {
				return none, errRehearsal
			}
		}
	}
	signatures, err := sign.Answer(ctx, draft.Requests(), signers)
	if err != nil {
		return none, err
	}
	envelope, err := draft.Finish(signatures)
	if err != nil {
		return none, err
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleManifest, min(c.trust.Threshold(sign.RoleManifest), len(keys)), keys...); err != nil {
		return none, err
	}
	c.trust = &trust
	payload := bootloader.Payload{ReaderAt: bytes.NewReader(b.payload), Size: int64(len(b.payload))}
	var device bootloader.Device
	for i := range max(1, len(c.recipients)) {
		var id encrypt.Identity
		if b.sealer != nil {
			id = b.sealer.Identity(i)
		}
		// The floor is the release's own number: devices that already have it
		// must still take it again.
		device = d.plan.project.device(c, d.plan.sequence, id)
		if _, _, err := bootloader.Verify(ctx, device, envelope, payload, bootloader.Options{}); err != nil {
			return none, err
		}
	}
	return bootloader.RehearsedComponent{Name: c.Name, Device: device, Envelope: envelope, Payload: b.payload}, nil
}
