// Package bundle reads and writes the .ota file, the one file of a release that
// a phone or a gateway downloads.
//
// It is a zip archive (PKWARE APPNOTE 6.3) that every unzip program opens, and
// of the many archives with the same content it is always the same one: entries
// are stored, not compressed, in a fixed order, without times, attributes,
// comments, extra fields, data descriptors or zip64:
//
//	release.cbor                            the signed release record
//	<component>/manifest.suit               for each component, in install order:
//	<component>/payload.bin                 its signed manifest and what its device receives
//	<component>/from-<base>/manifest.suit   for each of its variants: the same for
//	<component>/from-<base>/payload.bin     devices that have a certain image
//
// The same contents give the same bytes, and [Open] takes nothing else: every
// byte that is not content is compared with what [Write] would put there. What
// the entries mean is for others. In particular, nothing here verifies a
// signature.
//
// Open does not read payloads, which can be large and which the digest in the
// manifest protects anyway. Their CRC-32, the only bytes of a bundle that Open
// takes on trust, is compared by [Bundle.CheckPayloads].
package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// Names of the entries. Manifest and payload stand in a folder that has the
// name of the component.
const (
	RecordName   = "release.cbor"
	ManifestName = "manifest.suit"
	PayloadName  = "payload.bin"
)

// variantFolder is the folder of a variant, in that of its component, before the
// name of its base.
const variantFolder = "from-"

// Bounds of a bundle. Sizes are in bytes.
const (
	MaxComponents    = 32
	MaxComponentName = 14 // lower-case letters, digits and hyphens, no hyphen first
	MaxVariants      = 8  // of one component
	MaxBaseName      = 50 // lower-case letters, digits, hyphens and dots, a digit or letter first
	MaxRecord        = 64 << 10
	MaxManifest      = 64 << 10
	MaxSize          = 1<<32 - 2 // of the whole file: one more needs zip64
)

// ErrContents says that Write was given something that has no place in a
// bundle.
var ErrContents = errors.New("unsuitable contents")

// Contents is what a bundle holds.
type Contents struct {
	Record     []byte      // signed release record, at most MaxRecord bytes
	Components []Component // 1 to MaxComponents, in install order
}

// Component is the part of one component.
type Component struct {
	Name     string
	Manifest []byte            // signed manifest, at most MaxManifest bytes
	Payload  *io.SectionReader // read from its beginning, wherever it stands
	Variants []Variant         // at most MaxVariants
}

// Variant is another manifest and payload of a component, for devices that have
// a certain image.
type Variant struct {
	Base     string // names that image: its version. Each occurs once
	Manifest []byte // as in Component
	Payload  *io.SectionReader
}

// Bundle is an opened .ota file. Its payloads are read from the file when they
// are used.
type Bundle struct {
	Contents
	payloads []payload
}

// payload is the content of an entry that Open has not read.
type payload struct {
	entry
	data *io.SectionReader
}

// entry is what the headers say about a file of the archive.
type entry struct {
	name string
	crc  uint32 // CRC-32 of the content
	size uint32 // bytes
}

// Write writes a bundle. It reads each payload twice: once for its CRC-32, which
// precedes it in the file, and once to copy it. Contents that no bundle can hold
// wrap ErrContents, and nothing is written then.
func Write(w io.Writer, c Contents) error {
	entries, data, err := plan(c)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	var header []byte
	for i, e := range entries {
		header = appendLocal(header[:0], e)
		if _, err := w.Write(header); err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
		sum := crc32.NewIEEE()
		n, err := io.Copy(io.MultiWriter(w, sum), rewind(data[i]))
		switch {
		case err != nil:
			return fmt.Errorf("bundle: %s: %w", e.name, err)
		case n != int64(e.size) || sum.Sum32() != e.crc:
			return fmt.Errorf("bundle: %s: content changed while it was read", e.name)
		}
	}
	if _, err := w.Write(appendTail(nil, entries)); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}

// plan lists the entries of a bundle and where their content comes from.
func plan(c Contents) ([]entry, []*io.SectionReader, error) {
	if n := len(c.Components); n == 0 || n > MaxComponents {
		return nil, nil, fmt.Errorf("%d components, want 1 to %d: %w", n, MaxComponents, ErrContents)
	}
	var entries []entry
	var data []*io.SectionReader
	add := func(name string, content *io.SectionReader, limit int64) error {
		if content.Size() > limit {
			return fmt.Errorf("%s: %d bytes, at most %d are possible: %w", name, content.Size(), limit, ErrContents)
		}
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, rewind(content))
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case n != content.Size():
			return fmt.Errorf("%s: %d bytes announced, %d read: %w", name, content.Size(), n, io.ErrUnexpectedEOF)
		}
		entries = append(entries, entry{name, sum.Sum32(), uint32(n)})
		data = append(data, content)
		return nil
	}
	if err := add(RecordName, section(c.Record), MaxRecord); err != nil {
		return nil, nil, err
	}
	for i, p := range c.Components {
		switch {
		case !validName(p.Name):
			return nil, nil, fmt.Errorf("component name %q: %w", p.Name, ErrContents)
		case slices.ContainsFunc(c.Components[:i], func(o Component) bool { return o.Name == p.Name }):
			return nil, nil, fmt.Errorf("component %s twice: %w", p.Name, ErrContents)
		case p.Payload == nil:
			return nil, nil, fmt.Errorf("component %s without a payload: %w", p.Name, ErrContents)
		}
		if err := add(p.Name+"/"+ManifestName, section(p.Manifest), MaxManifest); err != nil {
			return nil, nil, err
		}
		if err := add(p.Name+"/"+PayloadName, p.Payload, MaxSize); err != nil {
			return nil, nil, err
		}
		if err := checkVariants(p); err != nil {
			return nil, nil, err
		}
		for _, v := range p.Variants {
			folder := p.Name + "/" + variantFolder + v.Base + "/"
			if err := add(folder+ManifestName, section(v.Manifest), MaxManifest); err != nil {
				return nil, nil, err
			}
			if err := add(folder+PayloadName, v.Payload, MaxSize); err != nil {
				return nil, nil, err
			}
		}
	}
	if size := totalSize(entries); size > MaxSize {
		return nil, nil, fmt.Errorf("%d bytes, at most %d are possible: %w", size, int64(MaxSize), ErrContents)
	}
	return entries, data, nil
}

func checkVariants(p Component) error {
	if n := len(p.Variants); n > MaxVariants {
		return fmt.Errorf("component %s has %d variants, at most %d are possible: %w", p.Name, n, MaxVariants, ErrContents)
	}
	for i, v := range p.Variants {
		switch {
		case !validBase(v.Base):
			return fmt.Errorf("component %s: base name %q: %w", p.Name, v.Base, ErrContents)
		case slices.ContainsFunc(p.Variants[:i], func(o Variant) bool { return o.Base == v.Base }):
			return fmt.Errorf("component %s: two variants from %s: %w", p.Name, v.Base, ErrContents)
		case v.Payload == nil:
			return fmt.Errorf("component %s: variant from %s without a payload: %w", p.Name, v.Base, ErrContents)
		}
	}
	return nil
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// rewind returns a reader of the whole section that leaves its position alone.
func rewind(s *io.SectionReader) io.Reader { return io.NewSectionReader(s, 0, s.Size()) }

// validName reports whether s is [a-z0-9][a-z0-9-]{0,13}.
func validName(s string) bool {
	if s == "" || len(s) > MaxComponentName || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// validBase reports whether s is [a-z0-9][a-z0-9.-]{0,49}.
func validBase(s string) bool {
	if s == "" || len(s) > MaxBaseName || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// Open reads the headers, the record and the manifests of a bundle of size
// bytes. A refusal is a *verdict.Error with one of the Bundle reasons; another
// error comes from r.
func Open(r io.ReaderAt, size int64) (*Bundle, error) {
	p := parser{r: r, size: size}
	if err := p.begin(); err != nil {
		return nil, err
	}
	b := &Bundle{}
	var err error
	if b.Record, err = p.content(RecordName, MaxRecord); err != nil {
		return nil, err
	}
	for {
		name, err := p.component(b.Components)
		if err != nil {
			return nil, err
		}
		if name == "" {
			break
		}
		c := Component{Name: name}
		if c.Manifest, c.Payload, err = b.parts(&p, name+"/"); err != nil {
			return nil, err
		}
		for {
			base, err := p.variant(c)
			if err != nil {
				return nil, err
			}
			if base == "" {
				break
			}
			v := Variant{Base: base}
			if v.Manifest, v.Payload, err = b.parts(&p, name+"/"+variantFolder+base+"/"); err != nil {
				return nil, err
			}
			c.Variants = append(c.Variants, v)
		}
		b.Components = append(b.Components, c)
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return b, nil
}

// parts reads a manifest and finds the payload beside it.
func (b *Bundle) parts(p *parser, folder string) ([]byte, *io.SectionReader, error) {
	manifest, err := p.content(folder+ManifestName, MaxManifest)
	if err != nil {
		return nil, nil, err
	}
	e, err := p.local(folder+PayloadName, MaxSize)
	if err != nil {
		return nil, nil, err
	}
	data := io.NewSectionReader(p.r, p.offset, int64(e.size))
	b.payloads = append(b.payloads, payload{e, data})
	p.offset += int64(e.size)
	return manifest, data, nil
}

// CheckPayloads reads every payload and compares its CRC-32 with the headers.
// After that the file is, byte for byte, what Write gives for its contents. It
// says nothing about who made them.
func (b *Bundle) CheckPayloads() error {
	for _, c := range b.payloads {
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, rewind(c.data))
		object := "bundle: " + c.name
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", object, err)
		case n != int64(c.size):
			return verdict.New(verdict.BundleTruncated, object, "got %d bytes, want %d", n, c.size)
		case sum.Sum32() != c.crc:
			return verdict.New(verdict.BundleChecksum, object, "got CRC-32 %08x, want %08x", sum.Sum32(), c.crc)
		}
	}
	return nil
}
