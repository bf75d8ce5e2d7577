package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// Header fields that are the same in every bundle (APPNOTE 6.3, sections 4.3
// and 4.4). All numbers are little endian.
const (
	localSignature   = 0x04034b50
	centralSignature = 0x02014b50
	endSignature     = 0x06054b50
	version          = 10     // 1.0, stored files; as "made by" also host 0, whose attributes are 0
	dosDate          = 0x0021 // 1980-01-01, at the time 0

	localSize   = 30 // without the name
	centralSize = 46 // without the name
	endSize     = 22

	maxEntryName = MaxComponentName + len("/"+variantFolder) + MaxBaseName + len("/"+ManifestName)
)

// appendLocal appends a local file header (section 4.3.7).
func appendLocal(b []byte, e entry) []byte {
	b = binary.LittleEndian.AppendUint32(b, localSignature)
	b = appendCommon(b, e)
	return append(b, e.name...)
}

// appendCommon appends the fields that local and central headers share.
func appendCommon(b []byte, e entry) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, version) // needed to extract
	b = le.AppendUint16(b, 0)       // flags: sizes known, name in ASCII
	b = le.AppendUint16(b, 0)       // method: stored
	b = le.AppendUint16(b, 0)       // time
	b = le.AppendUint16(b, dosDate)
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint32(b, e.size) // stored
	b = le.AppendUint32(b, e.size) // extracted
	b = le.AppendUint16(b, uint16(len(e.name)))
	return le.AppendUint16(b, 0) // no extra field
}

// appendTail appends what follows the last entry: the central directory
// (section 4.3.12) and its end record (section 4.3.16).
func appendTail(b []byte, entries []entry) []byte {
	le := binary.LittleEndian
	begin, offset := len(b), int64(0)
	for _, e := range entries {
		b = le.AppendUint32(b, centralSignature)
		b = le.AppendUint16(b, version) // made by
		b = appendCommon(b, e)
		b = le.AppendUint16(b, 0) // no comment
		b = le.AppendUint16(b, 0) // disk
		b = le.AppendUint16(b, 0) // internal attributes
		b = le.AppendUint32(b, 0) // external attributes
		b = le.AppendUint32(b, uint32(offset))
		b = append(b, e.name...)
		offset += e.length()
	}
	size := len(b) - begin
	b = le.AppendUint32(b, endSignature)
	b = le.AppendUint16(b, 0) // this disk
	b = le.AppendUint16(b, 0) // disk of the directory
	b = le.AppendUint16(b, uint16(len(entries)))
	b = le.AppendUint16(b, uint16(len(entries)))
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, uint32(offset))
	return le.AppendUint16(b, 0) // no comment
}

// length is the size in bytes of an entry with its local header.
func (e entry) length() int64 { return localSize + int64(len(e.name)) + int64(e.size) }

// totalSize is the size in bytes of a bundle with these entries.
func totalSize(entries []entry) int64 {
	size := int64(endSize)
	for _, e := range entries {
		size += e.length() + centralSize + int64(len(e.name))
	}
	return size
}

// parser reads a bundle from its first byte to its last.
type parser struct {
	r       io.ReaderAt
	size    int64
	offset  int64 // of the next byte to look at
	entries []entry
}

// refuse returns a refusal at the current offset.
func (p *parser) refuse(reason verdict.Reason, detail string, args ...any) error {
	return verdict.At(p.offset, reason, "bundle", detail, args...)
}

// peek returns n bytes at the current offset, which must be in the file. The
// caller has bounded n.
func (p *parser) peek(n int64) ([]byte, error) {
	if left := p.size - p.offset; n > left {
		return nil, p.refuse(verdict.BundleTruncated, "%d bytes left, want %d", left, n)
	}
	b := make([]byte, n)
	switch got, err := p.r.ReadAt(b, p.offset); {
	case int64(got) == n:
		return b, nil
	case errors.Is(err, io.EOF):
		return nil, p.refuse(verdict.BundleTruncated, "%d bytes left, want %d", got, n)
	default:
		return nil, fmt.Errorf("bundle: %w", err)
	}
}

// begin checks that the file is the beginning of a zip, at least, and not too
// large to be a bundle.
func (p *parser) begin() error {
	if p.size > MaxSize {
		return p.refuse(verdict.BundleTooLarge, "%d bytes, at most %d are possible", p.size, int64(MaxSize))
	}
	signature := binary.LittleEndian.AppendUint32(nil, localSignature)
	got, err := p.peek(max(0, min(p.size, int64(len(signature)))))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(signature, got) {
		return p.refuse(verdict.BundleNotZip, "got % x, want % x", got, signature)
	}
	return nil
}

// component returns the name of the component that begins here, or "" at the
// central directory.
func (p *parser) component(before []Component) (string, error) {
	signature, err := p.peek(4)
	if err != nil {
		return "", err
	}
	if binary.LittleEndian.Uint32(signature) == centralSignature && len(before) > 0 {
		return "", nil
	}
	entryName, err := p.name()
	if err != nil {
		return "", err
	}
	name, ok := strings.CutSuffix(entryName, "/"+ManifestName)
	switch {
	case !ok:
		return "", p.refuse(verdict.BundleEntryOrder, "entry %q, want the manifest of a component", entryName)
	case !validName(name):
		return "", p.refuse(verdict.BundleComponentName, "component name %q", name)
	case slices.ContainsFunc(before, func(c Component) bool { return c.Name == name }):
		return "", p.refuse(verdict.BundleComponentName, "component %s occurs twice", name)
	case len(before) == MaxComponents:
		return "", p.refuse(verdict.BundleTooLarge, "more than %d components", MaxComponents)
	}
	return name, nil
}

// variant returns the base of the variant of a component that begins here, or ""
// where something else does, which is for the next one to judge.
func (p *parser) variant(of Component) (string, error) {
	signature, err := p.peek(4)
	if err != nil {
		return "", err
	}
	if binary.LittleEndian.Uint32(signature) == centralSignature {
		return "", nil
	}
	entryName, err := p.name()
	if err != nil {
		return "", err
	}
	base, ok := strings.CutPrefix(entryName, of.Name+"/"+variantFolder)
	if !ok {
		return "", nil
	}
	base, ok = strings.CutSuffix(base, "/"+ManifestName)
	switch {
	case !ok:
		return "", p.refuse(verdict.BundleEntryOrder, "entry %q, want the manifest of a variant", entryName)
	case !validBase(base):
		return "", p.refuse(verdict.BundleBaseName, "%s: base name %q", of.Name, base)
	case slices.ContainsFunc(of.Variants, func(v Variant) bool { return v.Base == base }):
		return "", p.refuse(verdict.BundleBaseName, "%s: two variants from %s", of.Name, base)
	case len(of.Variants) == MaxVariants:
		return "", p.refuse(verdict.BundleTooLarge, "%s: more than %d variants", of.Name, MaxVariants)
	}
	return base, nil
}

// name returns the name of the entry that begins here.
func (p *parser) name() (string, error) {
	header, err := p.peek(localSize)
	if err != nil {
		return "", err
	}
	le := binary.LittleEndian
	if le.Uint32(header) != localSignature {
		return "", p.refuse(verdict.BundleEntryOrder, "no entry begins here")
	}
	n := int64(le.Uint16(header[26:]))
	if n > int64(maxEntryName) {
		return "", p.refuse(verdict.BundleEntryOrder, "entry name of %d bytes", n)
	}
	header, err = p.peek(localSize + n)
	if err != nil {
		return "", err
	}
	return string(header[localSize:]), nil
}

// local reads the header of the entry that has to begin here and stops at its
// content, which is in the file.
func (p *parser) local(name string, limit int64) (entry, error) {
	got, err := p.name()
	if err != nil {
		return entry{}, err
	}
	if got != name {
		return entry{}, p.refuse(verdict.BundleEntryOrder, "entry %q, want %q", got, name)
	}
	header, err := p.peek(localSize + int64(len(name)))
	if err != nil {
		return entry{}, err
	}
	le := binary.LittleEndian
	if flags, method := le.Uint16(header[6:]), le.Uint16(header[8:]); method != 0 || flags&1 != 0 {
		return entry{}, p.refuse(verdict.BundleNotStored, "%s has method %d, flags %#x", name, method, flags)
	}
	e := entry{name, le.Uint32(header[14:]), le.Uint32(header[22:])}
	if int64(e.size) > limit {
		return entry{}, p.refuse(verdict.BundleTooLarge, "%s has %d bytes, at most %d are possible", name, e.size, limit)
	}
	if err := p.same(header, appendLocal(nil, e), "local header of "+name); err != nil {
		return entry{}, err
	}
	p.offset += int64(len(header))
	if left := p.size - p.offset; int64(e.size) > left {
		return entry{}, p.refuse(verdict.BundleTruncated, "%s has %d bytes, %d are left", name, e.size, left)
	}
	p.entries = append(p.entries, e)
	return e, nil
}

// content reads an entry that is held in memory.
func (p *parser) content(name string, limit int64) ([]byte, error) {
	e, err := p.local(name, limit)
	if err != nil {
		return nil, err
	}
	data, err := p.peek(int64(e.size))
	if err != nil {
		return nil, err
	}
	if crc := crc32.ChecksumIEEE(data); crc != e.crc {
		return nil, p.refuse(verdict.BundleChecksum, "%s: got CRC-32 %08x, want %08x", name, crc, e.crc)
	}
	p.offset += int64(e.size)
	return data, nil
}

// end compares everything after the last entry, which the entries determine.
func (p *parser) end() error {
	want := appendTail(nil, p.entries)
	left := p.size - p.offset
	got, err := p.peek(min(left, int64(len(want))))
	if err != nil {
		return err
	}
	if err := p.same(got, want[:len(got)], "central directory"); err != nil {
		return err
	}
	p.offset += int64(len(got))
	switch {
	case len(got) < len(want):
		return p.refuse(verdict.BundleTruncated, "central directory has %d bytes, want %d", len(got), len(want))
	case left > int64(len(want)):
		return p.refuse(verdict.BundleTrailingBytes, "%d bytes after the end", left-int64(len(want)))
	}
	return nil
}

// same refuses the first byte, at the current offset, that differs.
func (p *parser) same(got, want []byte, what string) error {
	for i := range got {
		if got[i] != want[i] {
			return verdict.At(p.offset+int64(i), verdict.BundleNonCanonical, "bundle", "%s: got %#02x, want %#02x", what, got[i], want[i])
		}
	}
	return nil
}
