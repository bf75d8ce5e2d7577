package formats

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// addressSpace is the number of byte addresses of a 32-bit MCU.
const addressSpace = 1 << 32

// Segment is a run of bytes at a physical (load) address.
type Segment struct {
	Addr uint32
	Data []byte
}

// Range returns the addresses that the segment occupies.
func (s Segment) Range() Range {
	return Range{s.Addr, uint64(s.Addr) + uint64(len(s.Data))}
}

// Range is the addresses from Start up to, not including, End. End is at most
// 2^32 where the range comes from an Image.
type Range struct {
	Start uint32
	End   uint64
}

// Size returns the number of addresses in the range.
func (r Range) Size() uint64 { return r.End - uint64(r.Start) }

// String names the first and the last address: "0x08000000-0x08000fff".
func (r Range) String() string {
	if r.Size() == 0 {
		return fmt.Sprintf("0x%08x (empty)", r.Start)
	}
	return fmt.Sprintf("0x%08x-0x%08x", r.Start, r.End-1)
}

// Image is firmware by address: segments in ascending order that neither
// overlap nor touch. The zero Image is empty. An Image does not change once it
// is made.
type Image struct {
	segments []Segment
}

// NewImage sorts the segments and merges those that touch; empty ones are
// dropped. It keeps the Data slices: the caller no longer writes to them.
//
// Segments that overlap, even with equal bytes, are refused with
// verdict.SegmentOverlap, one that passes the last 32-bit address with
// verdict.AddressRange.
func NewImage(segments []Segment) (Image, error) {
	const object = "formats: image"
	sorted := make([]Segment, 0, len(segments))
	for _, s := range segments {
		if s.Range().End > addressSpace {
			return Image{}, verdict.New(verdict.AddressRange, object, "%d bytes at 0x%08x pass the end of the 32-bit address space", len(s.Data), s.Addr)
		}
		if len(s.Data) > 0 {
			sorted = append(sorted, s)
		}
	}
	slices.SortFunc(sorted, func(a, b Segment) int { return cmp.Compare(a.Addr, b.Addr) })
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1].Range(), sorted[i].Range(); a.End > uint64(b.Start) {
			return Image{}, verdict.New(verdict.SegmentOverlap, object, "%s overlaps %s", b, a)
		}
	}

	merged := sorted[:0]
	for rest := sorted; len(rest) > 0; {
		n, end := 1, rest[0].Range().End
		for n < len(rest) && uint64(rest[n].Addr) == end {
			end = rest[n].Range().End
			n++
		}
		s := rest[0]
		if n > 1 {
			s.Data = make([]byte, 0, end-uint64(s.Addr))
			for _, part := range rest[:n] {
				s.Data = append(s.Data, part.Data...)
			}
		}
		merged = append(merged, s)
		rest = rest[n:]
	}
	return Image{merged}, nil
}

// Segments returns the segments in ascending order. Their Data is the image's
// own and is not to be written to.
func (m Image) Segments() []Segment { return slices.Clone(m.segments) }

// Empty reports whether the image has no bytes.
func (m Image) Empty() bool { return len(m.segments) == 0 }

// Start returns the lowest address, 0 for an empty image.
func (m Image) Start() uint32 {
	if m.Empty() {
		return 0
	}
	return m.segments[0].Addr
}

// End returns the address after the last byte, which may be 2^32; 0 for an
// empty image.
func (m Image) End() uint64 {
	if m.Empty() {
		return 0
	}
	return m.segments[len(m.segments)-1].Range().End
}

// Size returns the number of data bytes; gaps do not count.
func (m Image) Size() int {
	n := 0
	for _, s := range m.segments {
		n += len(s.Data)
	}
	return n
}

// Gaps returns the address ranges between the segments, in ascending order.
func (m Image) Gaps() []Range {
	var gaps []Range
	for i, s := range m.segments {
		if i > 0 {
			gaps = append(gaps, Range{uint32(m.segments[i-1].Range().End), uint64(s.Addr)})
		}
	}
	return gaps
}

// Flatten returns the bytes from base to End, with fill where the image has no
// data; erased flash reads as 0xFF. An empty image gives no bytes.
//
// An image that begins below base is refused with verdict.BelowBase, one that
// needs more than limit bytes with verdict.ImageTooLong, both before anything is
// allocated.
func (m Image) Flatten(base uint32, limit int, fill byte) ([]byte, error) {
	const object = "formats: image"
	if m.Empty() {
		return []byte{}, nil
	}
	if m.Start() < base {
		return nil, verdict.New(verdict.BelowBase, object, "begins at 0x%08x, below the base address 0x%08x", m.Start(), base)
	}
	whole := Range{base, m.End()}
	if whole.Size() > uint64(max(limit, 0)) {
		return nil, verdict.New(verdict.ImageTooLong, object, "%s is %d bytes, at most %d fit", whole, whole.Size(), limit)
	}
	flat := make([]byte, whole.Size())
	at := 0
	for _, s := range m.segments {
		start := int(s.Addr - base)
		for i := range flat[at:start] {
			flat[at+i] = fill
		}
		at = start + copy(flat[start:], s.Data)
	}
	return flat, nil
}
