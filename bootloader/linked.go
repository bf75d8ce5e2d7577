package bootloader

import (
	"context"
	"encoding/binary"
)

// Linked says that an image runs from one bank, and that its chip has two.
type Linked struct {
	Component string
	Reset     uint32 // address of the reset handler, bit 0 cleared
	Bank      Region // that the handler lies in
}

// SRAM of a Cortex-M, where an initial stack pointer points to: ARMv7-M
// Architecture Reference Manual, system address map. A stack grows downwards, so
// that the end is a place to begin.
const (
	sramBase = 0x20000000
	sramEnd  = 0x40000000
)

// LinkedFor returns the bank that an image is linked for, and its reset handler.
// These are in its vector table, which a Cortex-M begins with: initial stack
// pointer, then the address of the reset handler, with bit 0 set for Thumb code,
// both little endian words (the same manual, vector table).
//
// It is a hint. ok is false when there is no vector table, and when the handler
// is in no bank: vectors that the bootloader adds the bank's address to count
// from 0.
func (c Chip) LinkedFor(image []byte) (reset uint32, bank Region, ok bool) {
	if len(image) < 8 {
		return 0, Region{}, false
	}
	stack, reset := binary.LittleEndian.Uint32(image), binary.LittleEndian.Uint32(image[4:])
	if stack%4 != 0 || stack <= sramBase || stack > sramEnd || reset%2 == 0 {
		return 0, Region{}, false
	}
	reset--
	for _, b := range c.Banks {
		if b.Contains(Region{reset, 2}) {
			return reset, b, true
		}
	}
	return 0, Region{}, false
}

// Linked returns the images that have no slot, that devices are taken to run from
// either of their banks, and that are linked for one. Errors are those of Run.
func (r Rehearsal) Linked(ctx context.Context) ([]Linked, error) {
	p, err := r.prepare(ctx, noFault)
	if err != nil {
		return nil, err
	}
	var found []Linked
	for i, part := range p.parts {
		if part.slotted || len(part.device.Chip.Banks) == 1 {
			continue
		}
		// The banks that are known: a second one that the rehearsal has found room
		// for need not be where the board has it.
		if reset, bank, ok := r.Components[i].Device.Chip.LinkedFor(part.releases[1].image); ok {
			found = append(found, Linked{part.name, reset, bank})
		}
	}
	return found, nil
}
