package firmware

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

// maxRuns bounds the separate address ranges of one file, and with it the
// memory beside the data. It admits 4 MiB in 16-byte records of which no two
// follow each other.
const maxRuns = 1 << 18

// run is data at consecutive addresses: bytes data[off:off+n] of a collector.
type run struct {
	addr   uint32
	off, n int
	at     int // where it was read: line number, or offset of the ELF program header
}

func (r run) addresses() formats.Range {
	return formats.Range{Start: r.addr, End: uint64(r.addr) + uint64(r.n)}
}

// collector gathers the data of one file and judges it as a whole.
type collector struct {
	format Format
	limit  int // bound on data bytes and on the span of their addresses
	data   []byte
	runs   []run
}

// refuse returns the error for what stands at a line or offset.
func (c *collector) refuse(at int, reason verdict.Reason, detail string, args ...any) *verdict.Error {
	if c.format == ELF {
		return verdict.At(int64(at), reason, "firmware: elf", detail, args...)
	}
	return verdict.New(reason, fmt.Sprintf("firmware: %s: line %d", c.format, at), detail, args...)
}

// add copies data that was read at a line.
func (c *collector) add(line int, addr uint64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if addr+uint64(len(data)) > 1<<32 {
		return c.refuse(line, verdict.AddressRange, "%d bytes at 0x%08x pass the end of the 32-bit address space", len(data), addr)
	}
	if len(data) > c.limit-len(c.data) {
		return c.refuse(line, verdict.TooLarge, "more than %s of data", size(c.limit))
	}
	if last := len(c.runs) - 1; last >= 0 && c.runs[last].addresses().End == addr {
		c.runs[last].n += len(data)
	} else {
		if len(c.runs) == maxRuns {
			return c.refuse(line, verdict.TooLarge, "more than %d separate address ranges", maxRuns)
		}
		c.runs = append(c.runs, run{uint32(addr), len(c.data), len(data), line})
	}
	c.data = append(c.data, data...)
	return nil
}

// image returns what was gathered, once it is known that no two runs overlap
// and that together they span no more than the limit.
func (c *collector) image() (formats.Image, error) {
	if len(c.runs) == 0 {
		return formats.Image{}, verdict.New(verdict.EmptyFirmware, "firmware: "+c.format.String(), "no data to load")
	}
	slices.SortFunc(c.runs, func(a, b run) int { return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(a.at, b.at)) })
	segments := make([]formats.Segment, len(c.runs))
	for i, r := range c.runs {
		if i > 0 {
			if below := c.runs[i-1]; below.addresses().End > uint64(r.addr) {
				return formats.Image{}, c.overlap(below, r)
			}
		}
		segments[i] = formats.Segment{Addr: r.addr, Data: c.data[r.off : r.off+r.n : r.off+r.n]}
	}
	image, err := formats.NewImage(segments)
	if err != nil {
		return formats.Image{}, fmt.Errorf("firmware: %s: %w", c.format, err)
	}
	whole := formats.Range{Start: image.Start(), End: image.End()}
	if whole.Size() > uint64(c.limit) {
		return formats.Image{}, c.tooWide(whole)
	}
	return image, nil
}

// overlap reports two runs at the one that was read later.
func (c *collector) overlap(a, b run) error {
	if a.at > b.at {
		a, b = b, a
	}
	where := "line"
	if c.format == ELF {
		where = "program header at offset"
	}
	return c.refuse(b.at, verdict.SegmentOverlap, "%s overlaps %s of %s %d", b.addresses(), a.addresses(), where, a.at)
}

// tooWide reports the run above the widest gap: as the data itself is within
// the limit, that gap is the reason.
func (c *collector) tooWide(whole formats.Range) error {
	gap := func(i int) uint64 { return uint64(c.runs[i].addr) - c.runs[i-1].addresses().End }
	widest := 1
	for i := 2; i < len(c.runs); i++ {
		if gap(i) > gap(widest) {
			widest = i
		}
	}
	r := c.runs[widest]
	return c.refuse(r.at, verdict.AddressSpan, "segment at 0x%08x is %s past the previous one, which ends at 0x%08x: %s is %s, at most %s allowed",
		r.addr, size(gap(widest)), c.runs[widest-1].addresses().End-1, whole, size(whole.Size()), size(c.limit))
}
