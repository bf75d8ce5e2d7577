package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) inspectCommand() *cobra.Command {
	var diag bool
	c := &cobra.Command{
		Use:   "inspect <file>",
		Short: "Show what is in a bundle, an envelope, a record or an image",
		Long: `Decode a bundle (.ota), a SUIT envelope, a release record or the record of a key
ceremony and show it. Images and packages of vendors' bootloaders are shown as by
"otapack image inspect". Nothing is verified: what inspect prints is what the file
claims.

With --diag, show the CBOR diagnostic notation (RFC 8949, section 8); byte strings
that happen to parse as CBOR are shown as such, which is a guess.`,
		Example: "  otapack inspect dist/1.4.2/toothbrush-1.4.2.ota",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !diag && isImage(args[0]) {
				return a.imageInspect(args[0])
			}
			return a.inspect(args[0], diag)
		},
	}
	c.Flags().BoolVar(&diag, "diag", false, "show CBOR diagnostic notation")
	return c
}

// maxDocument bounds a single envelope or record in bytes.
const maxDocument = 1 << 20

// part is one thing that inspect shows: a file, or an entry of a bundle.
type part struct {
	Name     string        `json:"name"`
	Kind     string        `json:"kind"` // "bundle", "envelope", "release-record", "ceremony-record" or "payload"
	Size     int64         `json:"size"` // in bytes
	Envelope *envelopeView `json:"envelope,omitempty"`
	Record   *recordView   `json:"record,omitempty"`
	Ceremony *ceremonyView `json:"ceremony,omitempty"`
	Diag     string        `json:"diag,omitempty"`
	Parts    []part        `json:"parts,omitempty"`
}

type inspectResult struct {
	Schema   string `json:"schema"`
	Verified bool   `json:"verified"` // always false: inspect does not verify
	part
}

type envelopeView struct {
	Template       string           `json:"template"`
	ManifestDigest manifest.Digest  `json:"manifest_digest"`
	ManifestSize   int              `json:"manifest_size"`
	Sequence       uint32           `json:"sequence"`
	Version        manifest.Version `json:"version"`
	VendorID       manifest.UUID    `json:"vendor_id"`
	ClassID        manifest.UUID    `json:"class_id"`
	Slot           *uint32          `json:"slot,omitempty"`
	Image          release.Content  `json:"image"`
	URI            string           `json:"uri,omitempty"`
	Ciphertext     *release.Content `json:"ciphertext,omitempty"`
	Received       *release.Content `json:"received,omitempty"` // the payload, where it is decoded and not encrypted
	Decoding       *decodingView    `json:"decoding,omitempty"`
	IV             string           `json:"iv,omitempty"`
	Recipients     []recipientView  `json:"recipients,omitempty"`
	Signatures     []signatureView  `json:"signatures"`
	Severed        bool             `json:"install_severed"`
}

type recipientView struct {
	Algorithm int64  `json:"algorithm"`
	KeyID     string `json:"key_id"`
}

type signatureView struct {
	Algorithm int64  `json:"algorithm"`
	KeyHint   string `json:"key_hint,omitempty"`
}

type recordView struct {
	ID           string                `json:"id"`
	Product      string                `json:"product"`
	VendorID     manifest.UUID         `json:"vendor_id"`
	Sequence     uint32                `json:"sequence"`
	Components   []recordComponentView `json:"components"`
	InstallOrder []string              `json:"install_order"`
	Allowed      [][]manifest.Version  `json:"allowed_versions"`
}

type recordComponentView struct {
	Role           string                      `json:"role"`
	Version        manifest.Version            `json:"version"`
	ManifestDigest manifest.Digest             `json:"manifest_digest"`
	Requires       map[string]manifest.Version `json:"requires,omitempty"`
	Variants       []recordVariantView         `json:"variants,omitempty"`
}

type recordVariantView struct {
	From           manifest.Version `json:"from"`
	ManifestDigest manifest.Digest  `json:"manifest_digest"`
	Base           release.Content  `json:"base"`
}

func (a *app) inspect(path string, diag bool) error {
	p, err := inspectFile(path, diag)
	if err != nil {
		if _, ok := classify(err); ok == exitVerify { // a file that is not what it should be, not a failed verification
			err = &release.InputError{Path: path, Err: err}
		}
		return err
	}
	var b strings.Builder
	p.print(&b, "")
	verifier := "otapack verify"
	if p.Ceremony != nil {
		verifier = "otapack key check"
	}
	a.say("nothing was verified; %s does that", verifier)
	return a.result(inspectResult{"otapack.inspect/1", false, p}, b.String())
}

func inspectFile(path string, diag bool) (part, error) {
	f, size, err := openInput(path)
	if err != nil {
		return part{}, err
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), head); err != nil {
		return part{}, &release.InputError{Path: path, Err: verdict.New(verdict.Truncated, "file", "%d bytes", size)}
	}
	if bytes.HasPrefix(head, []byte("PK")) {
		return inspectBundle(path, f, size, diag)
	}
	data, err := readInput(path, maxDocument)
	if err != nil {
		return part{}, err
	}
	if ceremony.IsRecord(data) {
		return inspectCeremony(path, data, diag)
	}
	if bytes.HasPrefix(head, []byte{0xd2}) { // tag 18, COSE_Sign1
		return inspectRecord(path, data, diag)
	}
	return inspectEnvelope(path, data, diag)
}

func inspectBundle(path string, r io.ReaderAt, size int64, diag bool) (part, error) {
	b, err := bundle.Open(r, size)
	if err != nil {
		return part{}, err
	}
	p := part{Name: path, Kind: "bundle", Size: size}
	record, err := inspectRecord(bundle.RecordName, b.Record, diag)
	if err != nil {
		return p, err
	}
	p.Parts = append(p.Parts, record)
	for _, c := range b.Components {
		parts, err := inspectParcel(c.Name+"/", c.Manifest, c.Payload, diag)
		if err != nil {
			return p, err
		}
		p.Parts = append(p.Parts, parts...)
		for _, v := range c.Variants {
			if parts, err = inspectParcel(c.Name+"/from-"+v.Base+"/", v.Manifest, v.Payload, diag); err != nil {
				return p, err
			}
			p.Parts = append(p.Parts, parts...)
		}
	}
	return p, nil
}

// inspectParcel shows a manifest of a bundle and the payload beside it.
func inspectParcel(folder string, envelope []byte, payload *io.SectionReader, diag bool) ([]part, error) {
	e, err := inspectEnvelope(folder+bundle.ManifestName, envelope, diag)
	if err != nil {
		return nil, err
	}
	if d := e.Envelope.Decoding; d != nil && e.Envelope.Ciphertext == nil {
		d.readHeader(payload)
	}
	return []part{e, {Name: folder + bundle.PayloadName, Kind: "payload", Size: payload.Size()}}, nil
}

func inspectEnvelope(name string, data []byte, diag bool) (part, error) {
	p := part{Name: name, Kind: "envelope", Size: int64(len(data))}
	e, err := manifest.Parse(data)
	if err != nil {
		return p, err
	}
	m, err := e.Unverified()
	if err != nil {
		return p, err
	}
	v := &envelopeView{
		Template: m.Template(), ManifestDigest: e.Digest, ManifestSize: e.ManifestSize(),
		Sequence: m.Sequence, Version: m.Version, VendorID: m.Vendor, ClassID: m.Class, Slot: m.Slot,
		Image: release.Content{SHA256: m.Image.Digest, Size: m.Image.Size}, Severed: m.Install == nil,
		Signatures: []signatureView{},
	}
	if in := m.Install; in != nil {
		v.URI = in.URI
		if m.Decoded() && in.Encryption == nil {
			v.Received = &release.Content{SHA256: in.Received.Digest, Size: in.Received.Size}
		}
		if d := in.Decoding; d != nil {
			v.Decoding = decodingOf(*d)
		}
		if in.Encryption != nil {
			v.Ciphertext = &release.Content{SHA256: in.Received.Digest, Size: in.Received.Size}
			v.IV = fmt.Sprintf("%x", in.Encryption.IV)
			for _, r := range in.Encryption.Recipients {
				v.Recipients = append(v.Recipients, recipientView{r.Algorithm, fmt.Sprintf("%x", r.KeyID)})
			}
		}
	}
	for _, b := range e.Blocks {
		v.Signatures = append(v.Signatures, signatureView{b.Algorithm, fmt.Sprintf("%x", b.KeyID)})
	}
	p.Envelope = v
	p.Diag, err = diagnose(data, diag)
	return p, err
}

func inspectRecord(name string, data []byte, diag bool) (part, error) {
	p := part{Name: name, Kind: "release-record", Size: int64(len(data))}
	r, err := manifest.ParseRecord(data)
	if err != nil {
		return p, err
	}
	v := &recordView{ID: r.ID, Product: r.Product, VendorID: r.Vendor, Sequence: r.Sequence, Allowed: r.Allowed}
	for _, c := range r.Components {
		cv := recordComponentView{Role: c.Role, Version: c.Version, ManifestDigest: c.Manifest}
		for _, q := range c.Requires {
			if cv.Requires == nil {
				cv.Requires = map[string]manifest.Version{}
			}
			cv.Requires[r.Components[q.Component].Role] = q.Minimum
		}
		for _, o := range c.Variants {
			cv.Variants = append(cv.Variants, recordVariantView{o.From, o.Manifest, release.Content{SHA256: o.Base.Digest, Size: o.Base.Size}})
		}
		v.Components = append(v.Components, cv)
	}
	for _, i := range r.InstallOrder {
		v.InstallOrder = append(v.InstallOrder, r.Components[i].Role)
	}
	p.Record = v
	p.Diag, err = diagnose(data, diag)
	return p, err
}

// diagnose renders CBOR diagnostic notation when it is wanted.
func diagnose(data []byte, wanted bool) (string, error) {
	if !wanted {
		return "", nil
	}
	mode, err := cbor.DiagOptions{ByteStringEmbeddedCBOR: true}.DiagMode()
	if err != nil {
		return "", err
	}
	return mode.Diagnose(data)
}

// print writes the part as indented text.
func (p part) print(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%s%s  %s, %d bytes\n", indent, p.Name, p.Kind, p.Size)
	in := indent + "  "
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "%s%-16s %s\n", in, name, fmt.Sprintf(format, args...))
	}
	if e := p.Envelope; e != nil {
		e.print(line)
	}
	if r := p.Record; r != nil {
		r.print(line)
	}
	if c := p.Ceremony; c != nil {
		c.print(b, in)
	}
	if p.Diag != "" {
		line("diagnostic", "%s", p.Diag)
	}
	for _, sub := range p.Parts {
		sub.print(b, in)
	}
}

func (e *envelopeView) print(line func(name, format string, args ...any)) {
	line("template", "%s, manifest of %d bytes", e.Template, e.ManifestSize)
	line("manifest digest", "%s", e.ManifestDigest)
	line("sequence", "%d", e.Sequence)
	line("version", "%s", e.Version)
	line("vendor id", "%s", e.VendorID)
	line("class id", "%s", e.ClassID)
	if e.Slot != nil {
		line("slot", "%d", *e.Slot)
	}
	line("image", "%d bytes, SHA-256 %s", e.Image.Size, e.Image.SHA256)
	switch {
	case e.Severed:
		line("install", "severed")
	case e.Received != nil:
		line("payload", "%d bytes, SHA-256 %s", e.Received.Size, e.Received.SHA256)
		e.Decoding.print(line)
		line("uri", "%s", e.URI)
	case e.Ciphertext != nil:
		line("ciphertext", "%d bytes, SHA-256 %s", e.Ciphertext.Size, e.Ciphertext.SHA256)
		line("encryption", "A128CTR, IV %s", e.IV)
		for _, r := range e.Recipients {
			line("recipient", "algorithm %d, key id %s", r.Algorithm, r.KeyID)
		}
		if e.Decoding != nil {
			e.Decoding.print(line)
		}
		fallthrough
	default:
		line("uri", "%s", e.URI)
	}
	for _, s := range e.Signatures {
		line("signature", "algorithm %d, key hint %s", s.Algorithm, orDash(s.KeyHint))
	}
}

func (r *recordView) print(line func(name, format string, args ...any)) {
	line("release", "%s of %s, sequence %d", r.ID, r.Product, r.Sequence)
	line("vendor id", "%s", r.VendorID)
	for _, c := range r.Components {
		line("component", "%s %s, manifest %s", c.Role, c.Version, c.ManifestDigest)
		for _, peer := range slices.Sorted(maps.Keys(c.Requires)) {
			line("", "needs %s %s or later", peer, c.Requires[peer])
		}
		for _, v := range c.Variants {
			line("", "from %s, manifest %s", v.From, v.ManifestDigest)
		}
	}
	line("install order", "%s", strings.Join(r.InstallOrder, ", "))
	for _, versions := range r.Allowed {
		text, err := json.Marshal(versions)
		if err != nil {
			continue // versions are strings
		}
		line("allowed", "%s", text)
	}
}
