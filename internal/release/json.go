package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
)

// RecordSchema names the format of release.json.
const RecordSchema = "otapack.release/1"

const recordName = "release.json"

// Record is release.json: what went into a release, what was signed with which
// key, and what came out. It has no signature and no time; two builders with
// the same inputs can compare everything but ciphertext and signatures.
type Record struct {
	Schema       string              `json:"schema"`
	Product      string              `json:"product"`
	Vendor       string              `json:"vendor"`
	ReleaseID    string              `json:"release_id"`
	Version      manifest.Version    `json:"version"`
	Sequence     uint32              `json:"sequence"`
	Components   []ComponentRecord   `json:"components"`
	InstallOrder []string            `json:"install_order"`
	Allowed      []map[string]string `json:"allowed_versions"`
	Signatures   []SignatureRecord   `json:"signatures"`
	Inputs       []File              `json:"inputs"`  // paths relative to otapack.yaml
	Outputs      []File              `json:"outputs"` // paths relative to this file
}

// ComponentRecord is one component in release.json.
type ComponentRecord struct {
	Name           string           `json:"name"`
	Chip           string           `json:"chip"`
	Format         string           `json:"format"`
	Model          string           `json:"model"`
	Revision       string           `json:"revision"`
	VendorID       manifest.UUID    `json:"vendor_id"`
	ClassID        manifest.UUID    `json:"class_id"`
	Version        manifest.Version `json:"version"`
	Template       string           `json:"template"`
	InputFormat    string           `json:"input_format"`
	Image          Content          `json:"image,omitzero"`           // as the manifest names it: with a format of its own the file
	Payload        Content          `json:"payload,omitzero"`         // absent in a dry run where the file has to be signed first
	Recipients     []string         `json:"recipients"`               // key ids in hexadecimal, empty when not encrypted
	ManifestDigest manifest.Digest  `json:"manifest_digest,omitzero"` // known when the payload is
	Decoding       *DecodingRecord  `json:"decoding,omitempty"`       // of the payload, when it is not the image
	Variants       []VariantRecord  `json:"variants,omitempty"`       // for devices that run a certain image
	NotSmaller     []LargerRecord   `json:"not_smaller,omitempty"`    // tried, and left out
}

// DecodingRecord is how a device makes the image from the payload.
type DecodingRecord struct {
	Coding     string `json:"coding"`
	DecoderRAM uint32 `json:"decoder_ram"`      // in bytes
	Window     uint32 `json:"window,omitempty"` // of what was written that the decoder keeps, in bytes
}

// VariantRecord is a manifest and a payload for devices that run a certain image.
type VariantRecord struct {
	From           manifest.Version `json:"from"`     // version of the component there
	Release        manifest.Version `json:"release"`  // that the image is from
	Source         string           `json:"source"`   // file with the image, relative to otapack.yaml
	Recorded       bool             `json:"recorded"` // the image is the one that the record of that release has; false: there is none
	Base           Content          `json:"base"`
	Decoding       DecodingRecord   `json:"decoding"`
	Payload        Content          `json:"payload"`
	ManifestDigest manifest.Digest  `json:"manifest_digest"`
}

// LargerRecord is a payload that was left out, because it is not smaller than
// the whole image without it.
type LargerRecord struct {
	From   manifest.Version `json:"from,omitempty"` // absent for the whole image
	Coding string           `json:"coding"`
	Size   int              `json:"size"` // in bytes
}

// Content is a digest and a length in bytes.
type Content struct {
	SHA256 manifest.Digest `json:"sha256"`
	Size   uint32          `json:"size"`
}

// SignatureRecord tells which key signed which bytes.
type SignatureRecord struct {
	Artifact   string          `json:"artifact"`
	Role       sign.Role       `json:"role"`
	Key        string          `json:"key"`          // alias
	KeyID      string          `json:"key_id"`       // sha256:…
	ToBeSigned manifest.Digest `json:"to_be_signed"` // SHA-256 of the signed bytes
}

// variantArtifact is manifestArtifact for a variant.
func variantArtifact(component string, from manifest.Version) string {
	return component + " manifest from " + from.String()
}

// manifestArtifact is what a component's envelope is called in signing requests
// and in SignatureRecord.
func manifestArtifact(component string) string { return component + " manifest" }

// Encode writes the record as indented JSON with a final newline.
func (r Record) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Record returns what the draft's release.json will say, without outputs.
func (d *Draft) Record() Record {
	plan, project := d.plan, d.plan.project
	r := Record{
		Schema:       RecordSchema,
		Product:      project.cfg.Product.Name,
		Vendor:       project.cfg.Product.Vendor,
		ReleaseID:    fmt.Sprintf("%s+%d", plan.version, plan.sequence),
		Version:      plan.version,
		Sequence:     plan.sequence,
		InstallOrder: project.cfg.InstallOrder,
		Allowed:      []map[string]string{},
		Inputs:       plan.inputs,
		Outputs:      []File{},
	}
	for _, combination := range project.cfg.AllowedVersions {
		versions := map[string]string{}
		for _, cv := range combination {
			versions[cv.Component] = cv.Version
		}
		r.Allowed = append(r.Allowed, versions)
	}
	for i, c := range project.components {
		r.Components = append(r.Components, d.components[i].describe(c, plan.images[i]))
	}
	for _, q := range d.Requests() {
		r.Signatures = append(r.Signatures, SignatureRecord{
			Artifact: q.Artifact, Role: q.Role, Key: project.alias(q.Key), KeyID: q.Key.String(), ToBeSigned: sha256.Sum256(q.Message),
		})
	}
	return r
}

func (b built) describe(c component, im image) ComponentRecord {
	m := b.manifest
	r := ComponentRecord{
		Name: c.Name, Chip: c.chip.Name, Format: c.Format, Model: c.Model, Revision: c.Revision,
		VendorID: m.Vendor, ClassID: m.Class, Version: im.version,
		Template: m.Template(), InputFormat: im.format.String(),
		Image:      Content{m.Image.Digest, m.Image.Size},
		Payload:    Content{m.Payload().Digest, m.Payload().Size},
		Recipients: []string{},
	}
	if b.envelope != nil {
		r.ManifestDigest = b.envelope.Digest()
	}
	if m.Decoded() {
		d := b.decoding()
		r.Decoding = &d
	}
	for _, v := range b.variants {
		base, payload := v.base.content(), v.manifest.Payload()
		r.Variants = append(r.Variants, VariantRecord{
			From: v.base.version, Release: v.base.release, Source: v.base.source, Recorded: v.base.known, Base: Content{base.Digest, base.Size},
			Decoding: v.decoding(), Payload: Content{payload.Digest, payload.Size}, ManifestDigest: v.envelope.Digest(),
		})
	}
	for _, l := range b.larger {
		r.NotSmaller = append(r.NotSmaller, LargerRecord{l.from, l.coding.String(), l.size})
	}
	if b.file != nil {
		r.Recipients = append(r.Recipients, b.file.Recipients()...)
	}
	for _, to := range c.recipients {
		r.Recipients = append(r.Recipients, fmt.Sprintf("%x", to.KeyID))
	}
	return r
}

// decoding describes what a decoded payload takes.
func (p parcel) decoding() DecodingRecord {
	d := p.manifest.Install.Decoding
	return DecodingRecord{d.Coding.String(), d.RAM, p.window}
}
