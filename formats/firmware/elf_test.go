package firmware_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign/verdict"
)

// prog is a program header and what it loads.
type prog struct {
	kind    uint32 // PT_LOAD if 0
	paddr   uint32
	data    []byte
	offset  uint32 // where the data is said to be, if not 0
	headers bool   // the segment begins at offset 0 and goes on to its data
}

type elfBytes []byte

func (e elfBytes) set16(off int, v uint16) { binary.LittleEndian.PutUint16(e[off:], v) }
func (e elfBytes) set32(off int, v uint32) { binary.LittleEndian.PutUint32(e[off:], v) }
func (e elfBytes) bytes() []byte           { return e }

// elfFile lays out: header, program headers, data of each in turn. There are
// no sections.
func elfFile(progs ...prog) elfBytes {
	e := make(elfBytes, 52+32*len(progs))
	copy(e, "\x7fELF\x01\x01\x01")
	e.set16(16, 2)
	e.set16(18, 40)
	e.set32(20, 1)
	e.set32(28, 52)
	e.set16(40, 52)
	e.set16(42, 32)
	e.set16(44, uint16(len(progs)))
	for i, p := range progs {
		h := 52 + 32*i
		offset, length := uint32(len(e)), uint32(len(p.data))
		if p.headers {
			offset, length = 0, offset+length
		}
		if p.offset != 0 {
			offset = p.offset
		}
		e = append(e, p.data...)
		e.set32(h, max(p.kind, 1))
		e.set32(h+4, offset)
		e.set32(h+8, 0x2000_0000) // vaddr, not where the image is
		e.set32(h+12, p.paddr)
		e.set32(h+16, length)
		e.set32(h+20, length+8)
	}
	return e
}

// section is a section header; addSections appends a table of them.
type section struct{ kind, flags, offset, size uint32 }

func (e elfBytes) addSections(sections ...section) elfBytes {
	e.set32(32, uint32(len(e)))
	e.set16(46, 40)
	e.set16(48, uint16(len(sections)))
	for _, s := range sections {
		h := len(e)
		e = append(e, make([]byte, 40)...)
		e.set32(h+4, s.kind)
		e.set32(h+8, s.flags)
		e.set32(h+16, s.offset)
		e.set32(h+20, s.size)
	}
	return e
}

func TestELFRefuses(t *testing.T) {
	x := []byte("firmware")
	edit := func(f func(e elfBytes)) elfBytes {
		e := elfFile(prog{paddr: 0x0800_0000, data: x})
		f(e)
		return e
	}
	for _, c := range []struct {
		name   string
		in     elfBytes
		reason verdict.Reason
		part   string
	}{
		{"only magic", elfBytes("\x7fELF"), verdict.Truncated, "ELF header takes 52 bytes at offset 0, the file ends at 4"},
		{"64-bit", edit(func(e elfBytes) { e[4] = 2 }), verdict.UnsupportedELF, "class 2, want 1 (32-bit) at offset 4"},
		{"big endian", edit(func(e elfBytes) { e[5] = 2 }), verdict.UnsupportedELF, "data encoding 2, want 1 (little endian) at offset 5"},
		{"ident version", edit(func(e elfBytes) { e[6] = 0 }), verdict.BadELF, "at offset 6"},
		{"version", edit(func(e elfBytes) { e.set32(20, 2) }), verdict.BadELF, "version 1 and 2"},
		{"object file", edit(func(e elfBytes) { e.set16(16, 1) }), verdict.UnsupportedELF, "type 1, want 2 (executable) at offset 16"},
		{"shared object", edit(func(e elfBytes) { e.set16(16, 3) }), verdict.UnsupportedELF, "type 3"},
		{"x86", edit(func(e elfBytes) { e.set16(18, 3) }), verdict.UnsupportedELF, "machine 3, want 40 (ARM) at offset 18"},
		{"RISC-V", edit(func(e elfBytes) { e.set16(18, 243) }), verdict.UnsupportedELF, "machine 243"},
		{"too many program headers", edit(func(e elfBytes) { e.set16(44, 0xffff) }), verdict.UnsupportedELF, "at offset 44"},
		{"program header size", edit(func(e elfBytes) { e.set16(42, 56) }), verdict.BadELF, "program headers of 56 bytes, want 32 at offset 42"},
		{"program headers past the end", edit(func(e elfBytes) { e.set16(44, 3) }), verdict.Truncated, "program header table takes 96 bytes at offset 52"},
		{"program headers elsewhere", edit(func(e elfBytes) { e.set32(28, 0x8000) }), verdict.Truncated, "program header table takes 32 bytes at offset 32768"},
		{"no program headers", edit(func(e elfBytes) { e.set16(44, 0); e.set16(42, 0); e.set32(28, 0) }), verdict.EmptyFirmware, "no data"},
		{"nothing to load", elfFile(prog{kind: 0x7000_0001, data: x}), verdict.EmptyFirmware, "no data"},
		{"no bytes in the file", elfFile(prog{}), verdict.EmptyFirmware, "no data"},
		{"more in the file than in memory", edit(func(e elfBytes) { e.set32(52+20, 7) }), verdict.BadELF, "segment has 8 bytes in the file, but 7 in memory at offset 52"},
		{"segment past the end", edit(func(e elfBytes) { e.set32(52+16, 9) }), verdict.Truncated, "segment takes 9 bytes at offset 84, the file ends at 92 at offset 52"},
		{"segment offset past the end", edit(func(e elfBytes) { e.set32(52+4, 0x1000) }), verdict.Truncated, "segment takes 8 bytes at offset 4096"},
		{"past the address space", elfFile(prog{paddr: 0xffff_fff9, data: x}), verdict.AddressRange, "8 bytes at 0xfffffff9"},
		{"huge segment", edit(func(e elfBytes) { e.set32(52+16, 0x1000_0000); e.set32(52+20, 0x1000_0000) }), verdict.TooLarge, "more than 16 MiB of data at offset 52"},
		{"overlap", elfFile(prog{paddr: 0x100, data: x}, prog{paddr: 0x107, data: x}), verdict.SegmentOverlap,
			"0x00000107-0x0000010e overlaps 0x00000100-0x00000107 of program header at offset 52 at offset 84"},
		{"span", elfFile(prog{paddr: 0x1000, data: x}, prog{paddr: 0x1000_1014, data: x}), verdict.AddressSpan, "segment at 0x10001014 is 256 MiB past the previous one, which ends at 0x00001007"},
		{"headers without sections", elfFile(prog{paddr: 0x1_0000, data: x, headers: true}), verdict.UnsupportedELF, "segment has the ELF headers in it, and no section table"},
		{"headers and odd sections", func() elfBytes {
			e := elfFile(prog{paddr: 0x1_0000, data: x, headers: true}).addSections(section{1, 2, 84, 8})
			e.set16(46, 64)
			return e
		}(), verdict.BadELF, "section headers of 64 bytes"},
		{"headers and cut sections", func() elfBytes {
			e := elfFile(prog{paddr: 0x1_0000, data: x, headers: true}).addSections(section{1, 2, 84, 8})
			return e[:len(e)-1]
		}(), verdict.Truncated, "section header table takes 40 bytes at offset 92"},
		{"headers and far sections", func() elfBytes {
			e := elfFile(prog{paddr: 0x1_0000, data: x, headers: true}).addSections(section{1, 2, 84, 8})
			e.set32(32, 0x10_0000)
			return e
		}(), verdict.Truncated, "section header table takes 40 bytes at offset 1048576"},
		{"nothing but headers", elfFile(prog{paddr: 0x1_0000, data: x, headers: true}).addSections(section{}), verdict.EmptyFirmware, "no data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, f, err := firmware.Load(bytes.NewReader(c.in), firmware.Options{})
			wantRefused(t, err, c.reason, "firmware: elf", c.part)
			if f != firmware.ELF {
				t.Errorf("format %s", f)
			}
		})
	}
}

func TestELF(t *testing.T) {
	seg := func(addr uint32, data string) formats.Segment {
		return formats.Segment{Addr: addr, Data: []byte(data)}
	}
	// The program headers may follow the data.
	last := elfFile(prog{paddr: 0x100, data: []byte("firmware")})
	last.set32(28, uint32(len(last)))
	last = append(last, last[52:84]...)

	for _, c := range []struct {
		name string
		in   elfBytes
		want []formats.Segment
	}{
		{"one segment", elfFile(prog{paddr: 0x0800_0000, data: []byte("firmware")}), []formats.Segment{seg(0x0800_0000, "firmware")}},
		{"touching, any order", elfFile(prog{paddr: 0x108, data: []byte("data")}, prog{paddr: 0x100, data: []byte("firmware")}), []formats.Segment{seg(0x100, "firmwaredata")}},
		{"gap, others skipped", elfFile(prog{paddr: 0x100, data: []byte("code")}, prog{kind: 4, paddr: 0x100, data: []byte("note")}, prog{paddr: 0x2000_0000}, prog{paddr: 0x200, data: []byte("data")}),
			[]formats.Segment{seg(0x100, "code"), seg(0x200, "data")}},
		{"program headers behind", last, []formats.Segment{seg(0x100, "firmware")}},
		{"last byte", elfFile(prog{paddr: 0xffff_fff8, data: []byte("firmware")}), []formats.Segment{seg(0xffff_fff8, "firmware")}},
		{"headers cut off", elfFile(prog{paddr: 0x1_0000, data: []byte("....firmware"), headers: true}).addSections(
			section{},
			section{1, 2, 88, 8},     // the firmware
			section{1, 0, 0, 4},      // not allocated
			section{8, 2, 0, 4},      // no bits
			section{1, 2, 0, 0},      // empty
			section{1, 2, 92, 4},     // further up
			section{1, 2, 0x4000, 1}, // in no segment
		), []formats.Segment{seg(0x1_0058, "firmware")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, f, err := firmware.Load(iotest.OneByteReader(bytes.NewReader(c.in)), firmware.Options{})
			if err != nil || f != firmware.ELF {
				t.Fatal(f, err)
			}
			wantSame(t, m, image(t, c.want...))
		})
	}
}

// The section table of a real file is megabytes further on, behind the debug
// information.
func TestELFSectionsBehindDebugInformation(t *testing.T) {
	e := elfFile(prog{paddr: 0x1_0000, data: []byte("firmware"), headers: true})
	e = append(e, make([]byte, 3<<20)...).addSections(section{1, 2, 84, 8})
	m := load(t, e, firmware.Options{MaxSize: 1 << 10})
	wantSame(t, m, image(t, formats.Segment{Addr: 0x1_0054, Data: []byte("firmware")}))
}

func BenchmarkELF(b *testing.B) {
	data := make([]byte, 256<<10)
	file := elfFile(prog{paddr: 0x0800_0000, data: data}, prog{paddr: 0x0805_0000, data: data[:1024]}).bytes()
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		load(b, file, firmware.Options{})
	}
}
