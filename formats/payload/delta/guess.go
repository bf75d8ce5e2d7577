package delta

import (
	"encoding/binary"
	"slices"
)

// Guess returns the link address and the RAM range of a flat image for a
// Cortex-M.
//
// The image begins with a vector table: the initial stack pointer, taken for
// the end of RAM, then addresses of handlers. Any table holds addresses of
// functions, too, and the base is the one, in steps of 256 bytes, at which most
// of these lead to an instruction that saves LR, as functions begin. It is not
// ok without a table, or when the evidence is weak; tell the addresses from an
// ELF file or a linker map then.
func Guess(image []byte) (base, ramStart, ramEnd uint32, ok bool) {
	stack, low, high := vectors(image)
	span := uint32(len(image))
	if high == 0 || high-low >= span {
		return 0, 0, 0, false
	}
	targets := functionPointers(image, max(high, span)-span, low+min(span, 1<<32-1-low))
	starts := functionStarts(image)
	best, second := 0, 0
	const step = 1 << 8
	first := max((max(high, span)-span)&^(step-1), 0)
	for b := first; b <= low; b += step {
		hits := 0
		for _, t := range targets {
			if o := t&^1 - b; o < span && starts[o/2] {
				hits++
			}
		}
		if hits > best {
			base, best, second = b, hits, best
		} else {
			second = max(second, hits)
		}
	}
	if best < 16 || best < 2*second {
		return 0, 0, 0, false
	}
	return base, stack &^ (1<<24 - 1), stack, true
}

// vectors returns the initial stack pointer, and the lowest and highest handler
// of the first 16 words; zeros unless they look like a vector table.
func vectors(image []byte) (stack, low, high uint32) {
	const words = 16
	if len(image) < 4*words {
		return 0, 0, 0
	}
	stack = binary.LittleEndian.Uint32(image)
	if stack>>29 != 1 || stack&3 != 0 { // the SRAM region of Armv6-M and Armv7-M
		return 0, 0, 0
	}
	low = 1<<32 - 1
	for i := 1; i < words; i++ {
		h := binary.LittleEndian.Uint32(image[4*i:])
		if i <= 3 && h&1 == 0 { // reset, NMI, hard fault: everything has them
			return 0, 0, 0
		}
		if h&1 == 1 {
			low, high = min(low, h), max(high, h)
		}
	}
	return stack, low, high
}

// functionPointers returns the different odd words from low to high.
func functionPointers(image []byte, low, high uint32) []uint32 {
	var p []uint32
	for i := 0; i+4 <= len(image); i += 4 {
		if w := binary.LittleEndian.Uint32(image[i:]); w&1 == 1 && w >= low && w <= high {
			p = append(p, w)
		}
	}
	slices.Sort(p)
	return slices.Compact(p)
}

// functionStarts marks the halfwords that are PUSH {..., LR}, in its short form
// or in STMDB SP!'s.
func functionStarts(image []byte) []bool {
	starts := make([]bool, (len(image)+1)/2)
	for i := 0; i+4 <= len(image); i += 2 {
		h, next := binary.LittleEndian.Uint16(image[i:]), binary.LittleEndian.Uint16(image[i+2:])
		starts[i/2] = h&0xff00 == 0xb500 || h == 0xe92d && next&0x4000 != 0
	}
	return starts
}
