package firmware

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

// The parts of 32-bit ELF that loading takes (System V ABI, chapters 4 and 5),
// all little endian. Parsing them here, not with debug/elf, means that nothing
// is allocated for section headers, symbols or compressed sections, and that
// the file can be read once from front to back.
const (
	elfMagic       = "\x7fELF"
	elfHeaderSize  = 52
	elfProgSize    = 32
	elfSectionSize = 40

	elfExec     = 2  // e_type
	elfARM      = 40 // e_machine
	elfLoad     = 1  // p_type
	elfAlloc    = 2  // sh_flags
	elfNoBits   = 8  // sh_type
	elfExtended = 0xffff
)

// elfSlack is how far beyond the data of an image the last of its segments may
// end in the file: headers and alignment.
const elfSlack = 16 << 20

// elfReader is a collector whose data is the beginning of the file.
type elfReader struct {
	collector
	r    *bufio.Reader
	file bytes.Buffer
}

// view returns n bytes at an offset of the file, reading on as far as needed.
// What they are, and the offset of the header that asks for them, is for the
// error.
func (e *elfReader) view(off, n int64, at int, what string) ([]byte, error) {
	end, bound := off+n, int64(e.limit)+elfSlack
	if missing := min(end, bound) - int64(e.file.Len()); missing > 0 {
		got, err := e.file.ReadFrom(io.LimitReader(e.r, missing))
		if err != nil {
			return nil, fmt.Errorf("firmware: elf: %w", err)
		}
		if got < missing {
			return nil, e.refuse(at, verdict.Truncated, "%s takes %d bytes at offset %d, the file ends at %d", what, n, off, e.file.Len())
		}
	}
	if end > bound {
		return nil, e.refuse(at, verdict.TooLarge, "%s takes %d bytes at offset %d, at most %s are read", what, n, off, size(uint64(bound)))
	}
	return e.file.Bytes()[off:end], nil
}

func readELF(r *bufio.Reader, limit int) (formats.Image, error) {
	e := &elfReader{collector: collector{format: ELF, limit: limit}, r: r}
	h, err := e.view(0, elfHeaderSize, 0, "ELF header")
	if err != nil {
		return formats.Image{}, err
	}
	u16 := func(off int) int { return int(binary.LittleEndian.Uint16(h[off:])) }
	u32 := func(off int) int64 { return int64(binary.LittleEndian.Uint32(h[off:])) }
	switch {
	case string(h[:4]) != elfMagic:
		err = e.refuse(0, verdict.BadELF, "no ELF magic")
	case h[4] != 1:
		err = e.refuse(4, verdict.UnsupportedELF, "class %d, want 1 (32-bit)", h[4])
	case h[5] != 1:
		err = e.refuse(5, verdict.UnsupportedELF, "data encoding %d, want 1 (little endian)", h[5])
	case h[6] != 1 || u32(20) != 1:
		err = e.refuse(6, verdict.BadELF, "version %d and %d, want 1", h[6], u32(20))
	case u16(16) != elfExec:
		err = e.refuse(16, verdict.UnsupportedELF, "type %d, want %d (executable)", u16(16), elfExec)
	case u16(18) != elfARM:
		err = e.refuse(18, verdict.UnsupportedELF, "machine %d, want %d (ARM)", u16(18), elfARM)
	case u16(44) == elfExtended:
		err = e.refuse(44, verdict.UnsupportedELF, "more than %d program headers", elfExtended-1)
	case u16(44) > 0 && u16(42) != elfProgSize:
		err = e.refuse(42, verdict.BadELF, "program headers of %d bytes, want %d", u16(42), elfProgSize)
	}
	if err != nil {
		return formats.Image{}, err
	}
	shoff, shentsize, shnum := u32(32), u16(46), u16(48)

	phoff, phsize := u32(28), int64(u16(44))*elfProgSize
	table, err := e.view(phoff, phsize, 28, "program header table")
	if err != nil {
		return formats.Image{}, err
	}
	if err := e.segments(int(phoff), table); err != nil {
		return formats.Image{}, err
	}
	e.data = e.file.Bytes()

	hasHeaders := func(s run) bool {
		return s.off < elfHeaderSize || (int64(s.off) < phoff+phsize && int64(s.off+s.n) > phoff)
	}
	var sections []byte
	kept := e.runs[:0]
	for _, s := range e.runs {
		if hasHeaders(s) {
			if sections == nil {
				if sections, err = e.sections(s.at, shoff, shentsize, shnum); err != nil {
					return formats.Image{}, err
				}
			}
			if s = cutHeaders(s, sections); s.n == 0 {
				continue // lld gives the headers a segment of their own
			}
		}
		kept = append(kept, s)
	}
	e.runs = kept
	return e.image()
}

// segments makes a run of each PT_LOAD segment that has bytes in the file, and
// reads the file up to the end of the last.
func (e *elfReader) segments(phoff int, table []byte) error {
	total := int64(0)
	for at := phoff; len(table) > 0; at, table = at+elfProgSize, table[elfProgSize:] {
		u32 := func(off int) int64 { return int64(binary.LittleEndian.Uint32(table[off:])) }
		offset, paddr, filesz, memsz := u32(4), u32(12), u32(16), u32(20)
		if u32(0) != elfLoad || filesz == 0 {
			continue
		}
		total += filesz
		switch {
		case filesz > memsz:
			return e.refuse(at, verdict.BadELF, "segment has %d bytes in the file, but %d in memory", filesz, memsz)
		case paddr+filesz > 1<<32:
			return e.refuse(at, verdict.AddressRange, "%d bytes at 0x%08x pass the end of the 32-bit address space", filesz, paddr)
		case total > int64(e.limit):
			return e.refuse(at, verdict.TooLarge, "more than %s of data", size(e.limit))
		}
		if _, err := e.view(offset, filesz, at, "segment"); err != nil {
			return err
		}
		e.runs = append(e.runs, run{uint32(paddr), int(offset), int(filesz), at})
	}
	return nil
}

// sections returns the section header table, which usually follows the debug
// information at the end of the file: what lies before it is skipped, not kept.
func (e *elfReader) sections(at int, shoff int64, shentsize, shnum int) ([]byte, error) {
	if shoff == 0 || shnum == 0 {
		return nil, e.refuse(at, verdict.UnsupportedELF, "segment has the ELF headers in it, and no section table tells where the firmware begins")
	}
	if shentsize != elfSectionSize {
		return nil, e.refuse(46, verdict.BadELF, "section headers of %d bytes, want %d", shentsize, elfSectionSize)
	}
	n := int64(shnum) * elfSectionSize
	read := int64(e.file.Len())
	if shoff <= read {
		return e.view(shoff, n, 32, "section header table")
	}
	if _, err := io.CopyN(io.Discard, e.r, shoff-read); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("firmware: elf: %w", err)
	}
	table, err := io.ReadAll(io.LimitReader(e.r, n))
	if err != nil {
		return nil, fmt.Errorf("firmware: elf: %w", err)
	}
	if int64(len(table)) < n {
		return nil, e.refuse(32, verdict.Truncated, "section header table takes %d bytes at offset %d, the file ends before that", n, shoff)
	}
	return table, nil
}

// cutHeaders moves the beginning of a segment to the first section in it that
// is loaded; a segment without one becomes empty.
func cutHeaders(s run, sections []byte) run {
	first := int64(s.off + s.n)
	for ; len(sections) > 0; sections = sections[elfSectionSize:] {
		u32 := func(off int) int64 { return int64(binary.LittleEndian.Uint32(sections[off:])) }
		kind, flags, offset, length := u32(4), u32(8), u32(16), u32(20)
		if kind != 0 && kind != elfNoBits && flags&elfAlloc != 0 && length > 0 && offset >= int64(s.off) {
			first = min(first, offset)
		}
	}
	cut := int(first) - s.off
	return run{s.addr + uint32(cut), s.off + cut, s.n - cut, s.at}
}
