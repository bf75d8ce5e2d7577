package bootloader

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/sign/verdict"
)

// A package fills a bank: the image at its start, what the MCU passes on to
// others behind it, and at the end the directory with the envelopes.
//
//	bank start    image, plain, as it runs
//	page          payload for the next MCU, as delivered; more of them, on pages
//	…
//	bank end      envelopes that do not fit the last page, in the pages before it
//	last page     directory, then the envelopes
//
// Because image and payloads lie in one bank, one record of the journal switches
// both: there is no moment at which an MCU runs one release and has another to
// pass on. And the bank that it came from still has what it takes to feed the
// others back.
//
// The directory (integers little endian, offsets from the bank's start):
//
//	offset  size   field
//	0       4      "OTAD"
//	4       4      number of entries, n
//	8       16·n   for each component in install order: offset and size of its
//	               payload, offset and size of its envelope; the entry with
//	               payload offset 0 is the MCU's own image
//	8+16·n  4      CRC-32 (IEEE 802.3) of all before
//
// It is not signed and need not be: it only says where things are, and each of
// them is verified. Its CRC is there to tell a blank page from a directory.
type directory []entry

type entry struct{ payload, envelope span }

// span is a range inside a bank.
type span struct{ offset, size uint32 }

const (
	directoryMagic = "OTAD"
	maxEntries     = 32       // as many as a bundle holds
	maxEnvelope    = 64 << 10 // bytes
)

func directorySize(n int) uint32 { return uint32(8 + 16*n + 4) }

func (d directory) encode() []byte {
	p := append([]byte(directoryMagic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(p[4:], uint32(len(d)))
	for _, e := range d {
		for _, n := range []uint32{e.payload.offset, e.payload.size, e.envelope.offset, e.envelope.size} {
			p = binary.LittleEndian.AppendUint32(p, n)
		}
	}
	return binary.LittleEndian.AppendUint32(p, crc32.ChecksumIEEE(p))
}

// readDirectory reads the directory of a bank and holds every range against the
// bank's size.
func readDirectory(f *flash.Flash, bank Region) (directory, error) {
	bad := func(format string, args ...any) error {
		return verdict.New(verdict.PackageDirectory, "package directory", format, args...)
	}
	page := f.Geometry().Page
	p, err := readFlash(f, bank, span{bank.Size - page, min(page, directorySize(maxEntries))})
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(p[4:])
	if string(p[:4]) != directoryMagic || n < 1 || n > maxEntries || directorySize(int(n)) > uint32(len(p)) {
		return nil, bad("none")
	}
	end := directorySize(int(n)) - 4
	if crc32.ChecksumIEEE(p[:end]) != binary.LittleEndian.Uint32(p[end:]) {
		return nil, bad("wrong CRC")
	}
	d := make(directory, n)
	for i := range d {
		q := p[8+16*i:]
		word := func(k int) uint32 { return binary.LittleEndian.Uint32(q[4*k:]) }
		d[i] = entry{span{word(0), word(1)}, span{word(2), word(3)}}
		for _, s := range []span{d[i].payload, d[i].envelope} {
			if uint64(s.offset)+uint64(s.size) > uint64(bank.Size) {
				return nil, bad("entry %d ends outside the bank", i)
			}
		}
		if d[i].envelope.size > maxEnvelope {
			return nil, bad("entry %d has an envelope of %d bytes", i, d[i].envelope.size)
		}
	}
	return d, nil
}

// own returns the entry of the image that runs here.
func (d directory) own() (entry, error) {
	for _, e := range d {
		if e.payload.offset == 0 {
			return e, nil
		}
	}
	return entry{}, verdict.New(verdict.PackageDirectory, "package directory", "has no image that runs here")
}

// contents is one component's part of a package.
type contents struct{ payload, envelope []byte }

// bankImage is a package laid out for a bank, ready to be written.
type bankImage struct {
	body    *flash.Image // from the bank's start
	trailer *flash.Image // up to the bank's end
	at      uint32       // offset of the trailer
	stream  []byte       // the pages that are transferred, one after the other
	patch   *patch       // makes the image; nil where it is transferred
	image   []byte       // that the patch has to make
	made    int          // pages of the image that the patch makes
	from    span         // of the patch
}

// layOut makes the package of the parts, in install order, for the MCU whose
// image is parts[own]. If a patch makes that image, it lies behind the payloads
// until then, and the image's pages are not transferred.
func layOut(g flash.Geometry, bank Region, parts []contents, own int, p *patch) (*bankImage, error) {
	up := func(n uint32) uint32 { return (n + g.Page - 1) / g.Page * g.Page }
	d := make(directory, len(parts))
	body := append([]byte(nil), parts[own].payload...)
	d[own].payload = span{0, uint32(len(body))}
	for i, c := range parts {
		if i == own {
			continue
		}
		body = append(body, blankBytes(int(up(uint32(len(body))))-len(body))...)
		d[i].payload = span{uint32(len(body)), uint32(len(c.payload))}
		body = append(body, c.payload...)
	}
	im := &bankImage{patch: p, image: parts[own].payload}
	if p != nil {
		im.made = int(up(uint32(len(parts[own].payload))) / g.Page)
		body = append(body, blankBytes(int(up(uint32(len(body))))-len(body))...)
		im.from = span{uint32(len(body)), uint32(len(p.payload))}
		body = append(body, p.payload...)
	}
	total := directorySize(len(parts))
	for _, c := range parts {
		total += uint32(len(c.envelope))
	}
	size, at := up(total), directorySize(len(parts)) // of the trailer, and where envelopes begin in it
	if size > g.Page {
		size, at = up(total-directorySize(len(parts)))+g.Page, 0
	}
	if need := uint64(up(uint32(len(body)))) + uint64(size); need > uint64(bank.Size) || directorySize(len(parts)) > g.Page {
		return nil, verdict.New(verdict.PackageExceedsBank, "package", "image, payloads to pass on and envelopes take %d bytes, the bank has %d", need, bank.Size)
	}
	trailer := blankBytes(int(size))
	base := bank.Size - size
	for i, c := range parts {
		d[i].envelope = span{base + at, uint32(len(c.envelope))}
		copy(trailer[at:], c.envelope)
		at += uint32(len(c.envelope))
	}
	copy(trailer[size-g.Page:], d.encode())

	im.at = base
	im.stream = slices.Concat(body, blankBytes(int(up(uint32(len(body))))-len(body)), trailer)[im.made*int(g.Page):]
	var err error
	if im.body, err = flash.NewImage(g, body); err != nil {
		return nil, err
	}
	im.trailer, err = flash.NewImage(g, trailer)
	return im, err
}

func blankBytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = flash.Erased
	}
	return p
}

// pages returns the number of pages that are written.
func (b *bankImage) pages() int { return b.body.Pages() + b.trailer.Pages() }

// page returns where page n comes from and its offset in the bank.
func (b *bankImage) page(n int, pageSize uint32) (im *flash.Image, i int, offset uint32) {
	if n < b.body.Pages() {
		return b.body, n, uint32(n) * pageSize
	}
	n -= b.body.Pages()
	return b.trailer, n, b.at + uint32(n)*pageSize
}
