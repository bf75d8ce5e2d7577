package delta

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Limits of the format.
const (
	MaxImage   = 1<<23 - 1 // bytes of an old or new image
	MaxMap     = 4096      // covers in a map
	DefaultMap = 256
	MinRestart = 1 << 10 // bytes between restart points

	magic   = 0xd1
	version = 1
)

// Params says what the images are.
type Params struct {
	OldBase, NewBase uint32 // link addresses
	// RAMStart and RAMEnd bound the addresses that are variables; an empty range
	// means there are none.
	RAMStart, RAMEnd uint32
	// MapSize is how many covers the decoder can hold, 0 for DefaultMap.
	MapSize int
	// Restart is the least number of output bytes between two points from which
	// a decoder can go on after a loss of power, 0 for no such points.
	Restart int
}

// A Header is the beginning of a patch.
type Header struct {
	Params
	OldLength, NewLength int // bytes; a patch without an old image holds the whole new one
}

// Flags of a header: fields that are there.
const (
	hasNewBase   = 1 << iota // the bases differ
	hasRAM                   // there is a range
	hasRAMStart              // which begins elsewhere than at usualRAM
	hasMapSize               // other than DefaultMap
	hasRestart               // restart points
	versionShift = iota      // above the flags

	usualRAM = 0x20000000 // where the SRAM of Cortex-M begins
)

// check refuses a header that a decoder could not follow.
func (h Header) check() error {
	switch {
	case h.OldLength > MaxImage || h.NewLength > MaxImage:
		return fmt.Errorf("%w: %d to %d bytes, at most %d", ErrTooLong, h.OldLength, h.NewLength, MaxImage)
	case h.MapSize < 1 || h.MapSize > MaxMap:
		return fmt.Errorf("%w: a map of %d covers, not 1 to %d", ErrParams, h.MapSize, MaxMap)
	case h.Restart != 0 && (h.Restart < MinRestart || h.Restart > MaxImage):
		return fmt.Errorf("%w: %d bytes between restart points, not %d to %d", ErrParams, h.Restart, MinRestart, MaxImage)
	case h.RAMEnd < h.RAMStart:
		return fmt.Errorf("%w: RAM ends at %#x before it starts at %#x", ErrParams, h.RAMEnd, h.RAMStart)
	}
	return nil
}

// append writes the header: magic, version and flags, then numbers as varints
// (LEB128, shortest form). The length of the old image is its difference to the
// new one's, zigzag. Addresses are rotated right by eight bits first, as the
// lower ones are mostly zero.
func (h Header) append(b []byte) []byte {
	flags := toBit(h.NewBase != h.OldBase)*hasNewBase | toBit(h.RAMEnd != h.RAMStart)*hasRAM |
		toBit(h.RAMEnd != h.RAMStart && h.RAMStart != usualRAM)*hasRAMStart |
		toBit(h.MapSize != DefaultMap)*hasMapSize | toBit(h.Restart != 0)*hasRestart
	address := func(a uint32) { b = binary.AppendUvarint(b, uint64(bits.RotateLeft32(a, -8))) }
	b = append(b, magic, byte(version<<versionShift|flags))
	b = binary.AppendUvarint(b, uint64(h.NewLength))
	b = binary.AppendVarint(b, int64(h.OldLength-h.NewLength))
	address(h.OldBase)
	if flags&hasNewBase != 0 {
		address(h.NewBase)
	}
	if flags&hasRAMStart != 0 {
		address(h.RAMStart)
	}
	if flags&hasRAM != 0 {
		address(h.RAMEnd - h.RAMStart)
	}
	if flags&hasMapSize != 0 {
		b = binary.AppendUvarint(b, uint64(h.MapSize))
	}
	if flags&hasRestart != 0 {
		b = binary.AppendUvarint(b, uint64(h.Restart))
	}
	return b
}

// maxHeader is the length in bytes that no header exceeds.
const maxHeader = 2 + 8*5

// ReadHeader reads the header of a patch. It refuses what [Encode] does not
// write.
func ReadHeader(patch []byte) (Header, error) {
	h, _, err := parseHeader(patch)
	return h, err
}

// parseHeader returns the header's length, too.
func parseHeader(patch []byte) (h Header, length int, err error) {
	p := fields{rest: patch}
	if len(patch) < 2 || patch[0] != magic {
		return h, 0, ErrHeader
	}
	if v := patch[1] >> versionShift; v != version {
		return h, 0, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	flags := int(patch[1] & (1<<versionShift - 1))
	p.rest = patch[2:]
	h.NewLength = p.number()
	h.OldLength = h.NewLength + p.signed()
	h.OldBase = p.address()
	h.NewBase = h.OldBase
	if flags&hasNewBase != 0 {
		h.NewBase = p.address()
	}
	if flags&hasRAM != 0 {
		h.RAMStart = usualRAM
		if flags&hasRAMStart != 0 {
			h.RAMStart = p.address()
		}
		h.RAMEnd = h.RAMStart + p.address()
	}
	h.MapSize = DefaultMap
	if flags&hasMapSize != 0 {
		h.MapSize = p.number()
	}
	if flags&hasRestart != 0 {
		h.Restart = p.number()
	}
	if p.bad || h.OldLength < 0 {
		return Header{}, 0, ErrHeader
	}
	// One header has one encoding, so that a signed patch has one, too.
	length = len(patch) - len(p.rest)
	if string(h.append(nil)) != string(patch[:length]) {
		return Header{}, 0, ErrHeader
	}
	if err := h.check(); err != nil {
		return Header{}, 0, err
	}
	return h, length, nil
}

// fields reads the numbers of a header.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) number() int {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 || v > 1<<32-1 || n > 1 && f.rest[n-1] == 0 { // not the shortest form
		f.bad = true
		return 0
	}
	f.rest = f.rest[n:]
	return int(v)
}

func (f *fields) signed() int {
	v := f.number()
	return v>>1 ^ -(v & 1)
}

func (f *fields) address() uint32 { return bits.RotateLeft32(uint32(f.number()), 8) }

// DecoderRAM returns how many bytes of RAM the C decoder of this format takes
// for the patch, apart from 512 bytes of stack.
func (h Header) DecoderRAM() int {
	if h.MapSize <= smallMap {
		return smallRAM + ramPerCover*h.MapSize
	}
	return fullRAM + ramPerCover*h.MapSize
}

// The C decoder's memory; its tests compare.
const (
	fullRAM     = 12800
	smallRAM    = 5100
	ramPerCover = 14
)
