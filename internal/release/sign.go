package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
)

// Signed is a release with all its signatures, as a bundle in memory: payloads
// are bounded by the flash banks they go to.
type Signed struct {
	draft  *Draft
	bundle []byte
}

// Sign has the draft's requests signed. Signers are expected to be
// sign.Checked; every signature is verified once more where it is put in.
func (r *Rehearsed) Sign(ctx context.Context, signers map[sign.KeyID]sign.Signer) (*Signed, error) {
	d := r.draft
	if err := d.signFiles(ctx, signers); err != nil {
		return nil, err
	}
	signatures, err := sign.Answer(ctx, d.covering(), signers)
	if err != nil {
		return nil, err
	}
	next := func(n int) []sign.Signature {
		s := signatures[:n]
		signatures = signatures[n:]
		return s
	}
	contents := bundle.Contents{Components: make([]bundle.Component, 0, len(d.components))}
	parts := make([]bundle.Component, len(d.components))
	for i, b := range d.components {
		part := &parts[i]
		part.Name, part.Payload = d.plan.project.components[i].Name, sectionOf(b.payload)
		if part.Manifest, err = b.envelope.Finish(next(len(b.envelope.Requests()))); err != nil {
			return nil, err
		}
		for _, v := range b.variants {
			envelope, err := v.envelope.Finish(next(len(v.envelope.Requests())))
			if err != nil {
				return nil, err
			}
			part.Variants = append(part.Variants, bundle.Variant{Base: v.base.version.String(), Manifest: envelope, Payload: sectionOf(v.payload)})
		}
	}
	if contents.Record, err = d.record.Finish(next(1)); err != nil {
		return nil, err
	}
	for _, i := range d.plan.project.order {
		contents.Components = append(contents.Components, parts[i])
	}
	var file bytes.Buffer
	if err := bundle.Write(&file, contents); err != nil {
		return nil, err
	}
	return &Signed{d, file.Bytes()}, nil
}

func sectionOf(data []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
}

// Verified is a signed release that its own bundle, read back from the bytes to
// be written, proves acceptable with the pinned keys.
type Verified struct {
	signed *Signed
	record Record
}

// Verify reads the bundle back and runs all checks of VerifyBundle over it,
// decryption for each recipient included.
func (s *Signed) Verify(ctx context.Context) (*Verified, error) {
	project := s.draft.plan.project
	recipients := 1
	for _, c := range project.components {
		recipients = max(recipients, len(c.recipients))
	}
	bases := map[string][][]byte{}
	for i, b := range s.draft.components {
		for _, v := range b.variants {
			bases[project.components[i].Name] = append(bases[project.components[i].Name], v.base.image)
		}
	}
	for n := range recipients {
		identities := map[string]encrypt.Identity{}
		for i, b := range s.draft.components {
			var own anyIdentity
			for _, parcel := range b.parcels() {
				if parcel.sealer != nil {
					own = append(own, parcel.sealer.Identity(min(n, len(project.components[i].recipients)-1)))
				}
			}
			if own != nil {
				identities[project.components[i].Name] = own
			}
		}
		_, report, err := project.VerifyBundle(ctx, bytes.NewReader(s.bundle), int64(len(s.bundle)), VerifyOptions{
			MinSequence: s.draft.plan.sequence, Identities: identities, Bases: bases,
		})
		if err != nil {
			return nil, fmt.Errorf("release: the finished bundle: %w", err)
		}
		for _, c := range report.Components {
			for _, v := range c.Variants {
				if !v.Complete {
					return nil, fmt.Errorf("release: the finished bundle: %s from %s was not checked", c.Name, v.From)
				}
			}
		}
	}
	record := s.draft.Record()
	name := BundleName(record.Product, record.Version)
	record.Outputs = []File{{name, sha256.Sum256(s.bundle), int64(len(s.bundle))}}
	return &Verified{s, record}, nil
}

// anyIdentity is the sender's view of one device key over several payloads, each
// of which has its own.
type anyIdentity []encrypt.Identity

// Unwrap returns the content key that one of them opens.
func (a anyIdentity) Unwrap(h encrypt.Header) (key *encrypt.ContentKey, err error) {
	for _, id := range a {
		if key, err = id.Unwrap(h); err == nil {
			return key, nil
		}
	}
	return nil, err
}

// Record returns what Write will note down.
func (v *Verified) Record() Record { return v.record }

// BundleName returns the name of a release's bundle.
func BundleName(product string, version manifest.Version) string {
	return product + "-" + version.String() + ".ota"
}

// Write publishes the bundle and release.json, and then makes the latter the
// last release: all or nothing. Existing files with other content are an
// *atomicfile.ExistsError. When the last release is not the one that this one was
// planned after, another run was faster, and has taken the sequence number: the
// error wraps atomicfile.ErrChanged.
//
// Files for single devices are made on the way, each with a content key of its
// own: Record names them afterwards.
func (v *Verified) Write() error {
	plan := v.signed.draft.plan
	set := atomicfile.NewSet(plan.outDir)
	defer set.Abort() // after Commit it does nothing, before it the first error counts
	if err := set.Write(v.record.Outputs[0].Path, v.signed.bundle); err != nil {
		return err
	}
	copies, err := v.signed.draft.writeCopies(set)
	if err != nil {
		return err
	}
	v.record.Outputs = append(v.record.Outputs[:1:1], copies...)
	record, err := v.record.Encode()
	if err != nil {
		return err
	}
	if err := set.Write(recordName, record); err != nil {
		return err
	}
	if err := set.ReplaceUnchanged(plan.project.cfg.Resolve(plan.project.cfg.Output.LastRelease), record, plan.lastFile); err != nil {
		return err
	}
	return set.Commit()
}

// writeCopies streams the files for single devices into folders that are called
// as their components.
func (d *Draft) writeCopies(set *atomicfile.Set) ([]File, error) {
	var files []File
	for i, b := range d.components {
		if b.file == nil {
			continue
		}
		for _, c := range b.file.Copies() {
			name := d.plan.project.components[i].Name + "/" + c.name
			w, err := set.Create(name)
			if err != nil {
				return nil, err
			}
			sum := sha256.New()
			counted := &counter{w: io.MultiWriter(w, sum)}
			if err := c.write(counted, d.random); err != nil {
				return nil, fmt.Errorf("release: %s: %w", name, err)
			}
			files = append(files, File{name, manifest.Digest(sum.Sum(nil)), counted.n})
		}
	}
	return files, nil
}

// counter counts bytes on their way.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// alias returns the name of a key in otapack.yaml, or its short id.
func (p *Project) alias(id sign.KeyID) string {
	for _, k := range p.cfg.Keys {
		if p.keys[k.Name].ID() == id {
			return k.Name
		}
	}
	return id.Short()
}

// Signers lists the key aliases that a release of this project needs, each
// once, in the order in which they are used.
func (p *Project) Signers() []config.Key {
	var names []string
	for _, c := range p.components {
		if rule, ok := c.DeviceSigning(); ok {
			names = append(names, rule.Sign...)
		}
		names = append(names, c.Signing.Sign...)
	}
	names = append(names, p.cfg.Signing.Release.Sign...)
	var keys []config.Key
	seen := map[string]bool{}
	for _, n := range names {
		if k, ok := p.cfg.Key(n); ok && !seen[n] {
			seen[n] = true
			keys = append(keys, k)
		}
	}
	return keys
}
