package release

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// VerifyOptions describe the devices that a bundle is held against.
type VerifyOptions struct {
	MinSequence uint32 // rollback floor of the devices
	// Identities are the devices' decryption keys by component. Decryption is
	// left out for components without one, and reported as not run.
	Identities map[string]encrypt.Identity
	// Bases are images that devices run, by component. A variant is decoded with
	// the one that it is a difference to, or with that image out of the output
	// folder, and reported as not decoded where neither is there.
	Bases map[string][][]byte
	// ImageKeys are those of components with format mcuboot.
	ImageKeys map[string]mcuboot.DeviceKey
}

// Report tells what was checked. It is complete up to what the first failures
// made impossible to check.
type Report struct {
	Product    string            `json:"product"`
	ReleaseID  string            `json:"release_id"`
	Sequence   uint32            `json:"sequence"`
	SignedBy   string            `json:"signed_by"` // of the release record
	Components []ComponentReport `json:"components"`
}

// ComponentReport is what the bootloader of one component found.
type ComponentReport struct {
	Name           string           `json:"name"`
	Chip           string           `json:"chip"`
	Format         string           `json:"format"`
	Version        manifest.Version `json:"version,omitzero"` // as the next two, of an accepted manifest only
	Sequence       uint32           `json:"sequence,omitzero"`
	ManifestDigest manifest.Digest  `json:"manifest_digest,omitzero"`
	SignedBy       []string         `json:"signed_by"`
	Accepted       bool             `json:"accepted"`
	Complete       bool             `json:"complete"` // no check was left out
	Checks         bootloader.Trace `json:"checks"`
	Variants       []VariantReport  `json:"variants,omitempty"`

	image manifest.Content // of an accepted manifest
}

// VariantReport is what the bootloader of a device found that runs the base of a
// variant.
type VariantReport struct {
	From           string           `json:"from"` // version of the base, as the bundle has it
	ManifestDigest manifest.Digest  `json:"manifest_digest,omitzero"`
	Base           Content          `json:"base,omitzero"`
	SignedBy       []string         `json:"signed_by"`
	Accepted       bool             `json:"accepted"`
	Complete       bool             `json:"complete"`
	Checks         bootloader.Trace `json:"checks"`
}

// RejectedError says that a bundle was refused, and why: one error for each
// component that refuses it.
type RejectedError struct{ Failures []error }

// Error joins the failures.
func (e *RejectedError) Error() string {
	lines := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "; ")
}

// Unwrap returns the failures.
func (e *RejectedError) Unwrap() []error { return e.Failures }

// VerifiedBundle is a bundle that every component's bootloader accepts and
// whose parts are the ones that the release record ties together.
type VerifiedBundle struct {
	record *manifest.VerifiedRecord
}

// Record returns the verified release record.
func (v *VerifiedBundle) Record() *manifest.VerifiedRecord { return v.record }

// VerifyBundle checks a bundle: file structure, release record, product, and
// for each component the bootloader's checks and the agreement with the record.
// A refusal wraps a *verdict.Error; several components' refusals come as a
// *RejectedError. Other errors mean that there is no verdict.
func (p *Project) VerifyBundle(ctx context.Context, r io.ReaderAt, size int64, o VerifyOptions) (*VerifiedBundle, *Report, error) {
	report := &Report{Components: []ComponentReport{}}
	for name := range o.Identities {
		if p.index(name) < 0 {
			return nil, report, fmt.Errorf("release: a device key for component %q, which %s does not have", name, p.cfg.File())
		}
	}
	b, err := bundle.Open(r, size)
	if err != nil {
		return nil, report, err
	}
	vr, err := manifest.VerifyRecord(b.Record, &p.trust)
	if err != nil {
		return nil, report, err
	}
	record := vr.Record()
	report.Product, report.ReleaseID, report.Sequence = record.Product, record.ID, record.Sequence
	report.SignedBy = p.alias(vr.Signer().ID())
	if err := p.checkRecord(record, b); err != nil {
		return nil, report, err
	}
	var failures []error
	for _, part := range b.Components {
		cr, err := p.verifyComponent(ctx, part, record, o)
		if err != nil && verdict.Of(err) == "" {
			return nil, report, fmt.Errorf("release: %s: %w", part.Name, err)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", part.Name, err))
		}
		refused, err := p.verifyVariants(ctx, part, record, o, &cr)
		if err != nil {
			return nil, report, fmt.Errorf("release: %s: %w", part.Name, err)
		}
		failures = append(failures, refused...)
		report.Components = append(report.Components, cr)
	}
	if len(failures) > 0 {
		return nil, report, &RejectedError{failures}
	}
	if err := b.CheckPayloads(); err != nil {
		return nil, report, err
	}
	return &VerifiedBundle{vr}, report, nil
}

// checkRecord compares who the release is for, and which components it has.
func (p *Project) checkRecord(record manifest.Record, b *bundle.Bundle) error {
	if record.Product != p.cfg.Product.Name {
		return verdict.New(verdict.ProductMismatch, "release record", "for product %q, configured is %q", record.Product, p.cfg.Product.Name)
	}
	if !record.Vendor.Equal(p.vendor) {
		return verdict.New(verdict.VendorMismatch, "release record", "for vendor %s, configured is %s", record.Vendor, p.vendor)
	}
	var recorded, bundled, configured []string
	for _, i := range record.InstallOrder {
		recorded = append(recorded, record.Components[i].Role)
	}
	for _, c := range b.Components {
		bundled = append(bundled, c.Name)
	}
	for _, c := range p.components {
		configured = append(configured, c.Name)
	}
	for _, c := range b.Components {
		i := slices.IndexFunc(record.Components, func(r manifest.RecordComponent) bool { return r.Role == c.Name })
		if i < 0 {
			continue // refused below
		}
		var has, wants []string
		for _, v := range c.Variants {
			has = append(has, v.Base)
		}
		for _, v := range record.Components[i].Variants {
			wants = append(wants, v.From.String())
		}
		if !slices.Equal(has, wants) {
			return verdict.New(verdict.VariantsMismatch, "bundle", "has %s from %v, the release record from %v", c.Name, has, wants)
		}
	}
	if !slices.Equal(recorded, bundled) {
		return verdict.New(verdict.ComponentsMismatch, "bundle", "has %v, the release record installs %v", bundled, recorded)
	}
	for _, name := range recorded {
		if !slices.Contains(configured, name) {
			return verdict.New(verdict.ComponentsMismatch, "release record", "has component %q, configured are %v", name, configured)
		}
	}
	for _, name := range configured {
		if !slices.Contains(recorded, name) {
			return verdict.New(verdict.ComponentsMismatch, "release record", "lacks component %q, has %v", name, recorded)
		}
	}
	return nil
}

func (p *Project) verifyComponent(ctx context.Context, part bundle.Component, record manifest.Record, o VerifyOptions) (ComponentReport, error) {
	c := p.components[p.index(part.Name)]
	cr := ComponentReport{Name: part.Name, Chip: c.chip.Name, Format: c.Format, SignedBy: []string{}}
	id := o.Identities[part.Name]
	payload := bootloader.Payload{ReaderAt: part.Payload, Size: part.Payload.Size()}
	v, trace, err := bootloader.Verify(ctx, p.device(c, o.MinSequence, id), part.Manifest, payload, bootloader.Options{WithoutDecryption: id == nil})
	cr.Checks = trace
	if err != nil {
		return cr, err
	}
	complete := v.Complete()
	if c.device != nil {
		file, err := io.ReadAll(io.NewSectionReader(part.Payload, 0, payload.Size))
		if err != nil {
			return cr, err
		}
		trace, err := c.device.check(ctx, file, c.device.trusted(), deviceState{o.MinSequence, o.ImageKeys[part.Name]})
		cr.Checks = append(cr.Checks, trace...)
		if err != nil {
			return cr, err
		}
		complete = complete && !slices.ContainsFunc(trace, func(c bootloader.Check) bool { return c.Status == bootloader.NotRun })
	}
	m := v.Manifest()
	cr.image = m.Manifest().Image
	cr.Version, cr.Sequence, cr.ManifestDigest = m.Manifest().Version, m.Manifest().Sequence, m.Digest()
	for _, k := range m.Signers() {
		cr.SignedBy = append(cr.SignedBy, p.alias(k.ID()))
	}
	if err := matchRecord(m, part.Name, record); err != nil {
		return cr, err
	}
	cr.Accepted, cr.Complete = true, complete
	return cr, nil
}

// verifyVariants has a device that runs the base of a variant take it, for each
// variant. Refusals do not end it; the last is about an image that was given and
// is no base.
func (p *Project) verifyVariants(ctx context.Context, part bundle.Component, record manifest.Record, o VerifyOptions, cr *ComponentReport) (refusals []error, err error) {
	c := p.components[p.index(part.Name)]
	recorded := record.Components[slices.IndexFunc(record.Components, func(r manifest.RecordComponent) bool { return r.Role == part.Name })]
	used := map[manifest.Digest]bool{}
	for i, variant := range part.Variants {
		want := recorded.Variants[i] // checkRecord has compared them
		device := p.device(c, o.MinSequence, o.Identities[part.Name])
		base := findBase(o.Bases[part.Name], want.Base.Digest)
		if base == nil {
			base = p.archived(ctx, c, variant.Base, want.Base.Digest)
		}
		if base != nil {
			device.Running, used[want.Base.Digest] = staged(base), true
		}
		vr := VariantReport{From: variant.Base, SignedBy: []string{}}
		v, trace, err := bootloader.Verify(ctx, device, variant.Manifest, bootloader.Payload{ReaderAt: variant.Payload, Size: variant.Payload.Size()},
			bootloader.Options{WithoutDecryption: device.Identity == nil, WithoutBase: device.Running == nil})
		vr.Checks = trace
		if err == nil {
			err = matchVariant(v.Manifest(), recorded, want, record.Sequence)
			if m := v.Manifest().Manifest(); err == nil && cr.Accepted && m.Image != cr.image {
				err = verdict.New(verdict.VariantsMismatch, "manifest", "makes another image than the component's own manifest")
			}
		}
		switch {
		case err == nil:
			vr.Accepted, vr.Complete = true, v.Complete()
			vr.ManifestDigest, vr.Base = want.Manifest, Content{want.Base.Digest, want.Base.Size}
			for _, k := range v.Manifest().Signers() {
				vr.SignedBy = append(vr.SignedBy, p.alias(k.ID()))
			}
		case verdict.Of(err) == "":
			return nil, fmt.Errorf("from %s: %w", variant.Base, err)
		default:
			refusals = append(refusals, fmt.Errorf("%s from %s: %w", part.Name, variant.Base, err))
		}
		cr.Variants = append(cr.Variants, vr)
	}
	for _, base := range o.Bases[part.Name] {
		if digest := manifest.Digest(sha256.Sum256(base)); !used[digest] {
			refusals = append(refusals, fmt.Errorf("%s: %w", part.Name,
				verdict.New(verdict.BaseMismatch, "base", "no variant is for the image with SHA-256 %s", digest)))
		}
	}
	return refusals, nil
}

func findBase(bases [][]byte, digest manifest.Digest) []byte {
	for _, b := range bases {
		if sha256.Sum256(b) == digest {
			return b
		}
	}
	return nil
}

// matchVariant ties a variant's manifest to the release record.
func matchVariant(v *manifest.Verified, component manifest.RecordComponent, want manifest.RecordVariant, sequence uint32) error {
	m := v.Manifest()
	switch {
	case v.Digest() != want.Manifest:
		return verdict.New(verdict.ManifestNotRecorded, "manifest", "digest %s, the release record has %s", v.Digest(), want.Manifest)
	case m.Version.Compare(component.Version) != 0:
		return verdict.New(verdict.VersionMismatch, "manifest", "version %s, the release record has %s", m.Version, component.Version)
	case m.Sequence != sequence:
		return verdict.New(verdict.SequenceMismatch, "manifest", "sequence number %d, the release record has %d", m.Sequence, sequence)
	case !m.Decoded() || m.Install.Decoding.Base == nil || *m.Install.Decoding.Base != want.Base:
		return verdict.New(verdict.VariantsMismatch, "manifest", "is not for the base that the release record has")
	}
	return nil
}

// matchRecord ties a component's manifest to the release record: each is
// signed, but only together are they this release.
func matchRecord(m *manifest.Verified, name string, record manifest.Record) error {
	i := slices.IndexFunc(record.Components, func(c manifest.RecordComponent) bool { return c.Role == name })
	if i < 0 {
		return errors.New("release: component is not in the record") // checkRecord has compared the names
	}
	want := record.Components[i]
	switch {
	case m.Digest() != want.Manifest:
		return verdict.New(verdict.ManifestNotRecorded, "manifest", "digest %s, the release record has %s", m.Digest(), want.Manifest)
	case m.Manifest().Version.Compare(want.Version) != 0:
		return verdict.New(verdict.VersionMismatch, "manifest", "version %s, the release record has %s", m.Manifest().Version, want.Version)
	case m.Manifest().Sequence != record.Sequence:
		return verdict.New(verdict.SequenceMismatch, "manifest", "sequence number %d, the release record has %d", m.Manifest().Sequence, record.Sequence)
	}
	return nil
}
