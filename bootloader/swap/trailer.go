package swap

import (
	"bytes"
	"encoding/binary"

	"github.com/otapack/otapack/bootloader/flash"
)

// field is what a field of a trailer holds.
type field uint8

// Values. A flag is good when it is 1, the magic number when all of it is there.
const (
	unset field = iota
	good
	bad
)

// swapType is what a boot is to do (boot/bootutil/include/bootutil/bootutil_public.h).
type swapType uint8

// Types, as a trailer has them; fail is not written.
const (
	none   swapType = 1
	test   swapType = 2
	perm   swapType = 3
	revert swapType = 4
	fail   swapType = 5
)

// trailer is what the end of a slot says, but for the swap status
// (boot_read_swap_state in boot/bootutil/src/bootutil_public.c).
type trailer struct {
	magic, imageOK, copyDone field
	swap                     swapType
}

// magic returns the magic number of an alignment (boot_img_magic).
func magic(align uint32) []byte {
	if align == 8 {
		return []byte{0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80}
	}
	return append(binary.LittleEndian.AppendUint16(nil, uint16(align)), 0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a)
}

// parseTrailer reads the end of a slot, from the swap info field on.
func (l layout) parseTrailer(end []byte) trailer {
	at := func(i uint32) byte { return end[i*l.align] }
	t := trailer{magic: bad, imageOK: flag(at(2)), copyDone: flag(at(1)), swap: swapType(at(0) & 0xf)}
	if m := end[len(end)-magicSize:]; erased(m) {
		t.magic = unset
	} else if bytes.Equal(m, magic(l.align)) {
		t.magic = good
	}
	if at(0) == flash.Erased || t.swap > revert {
		t.swap = none
	}
	return t
}

func flag(b byte) field {
	switch b {
	case flash.Erased:
		return unset
	case 1:
		return good
	}
	return bad
}

func erased(p []byte) bool {
	for _, b := range p {
		if b != flash.Erased {
			return false
		}
	}
	return true
}

// row is a line of the decision table: what the two trailers have to say.
type row struct {
	matches func(first, second trailer) bool
	swap    swapType
}

// decisions is boot_swap_tables (boot/bootutil/src/bootutil_public.c) without
// the line of swap using offset. The first match counts.
func decisions() []row {
	return []row{
		{func(_, s trailer) bool { return s.magic == good && s.imageOK == unset }, test},
		{func(_, s trailer) bool { return s.magic == good && s.imageOK == good }, perm},
		{func(p, _ trailer) bool { return p.magic == good && p.imageOK == unset && p.copyDone == good }, revert},
	}
}

// trailer reads that of a slot.
func (l *loader) trailer(slot int) (trailer, error) {
	a := l.slots[slot]
	end := make([]byte, a.size-l.swapInfo(a.size))
	if err := l.read(slot, l.swapInfo(a.size), end); err != nil {
		return trailer{}, err
	}
	return l.parseTrailer(end), nil
}

// decide is boot_swap_type_multi.
func (l *loader) decide() (swapType, error) {
	first, err := l.trailer(primary)
	if err != nil {
		return none, err
	}
	second, err := l.trailer(secondary)
	if err != nil {
		return none, err
	}
	for _, r := range l.table {
		if r.matches(first, second) {
			return r.swap, nil
		}
	}
	return none, nil
}

// writeField is boot_write_trailer: a value, filled up to the write unit.
func (l *loader) writeField(slot int, off uint32, value []byte) error {
	unit := bytes.Repeat([]byte{flash.Erased}, int(up(uint32(len(value)), l.write)))
	copy(unit, value)
	return l.program(slot, off, unit)
}

func (l *loader) writeImageOK(slot int) error {
	return l.writeField(slot, l.imageOK(l.slots[slot].size), []byte{1})
}

func (l *loader) writeCopyDone() error {
	return l.writeField(primary, l.copyDone(l.slots[primary].size), []byte{1})
}

func (l *loader) writeSwapInfo(slot int, t swapType) error {
	return l.writeField(slot, l.swapInfo(l.slots[slot].size), []byte{byte(t)})
}

func (l *loader) writeSwapSize(slot int, n uint32) error {
	return l.writeField(slot, l.swapSize(l.slots[slot].size), binary.LittleEndian.AppendUint32(nil, n))
}

// writeMagic is boot_write_magic: with erased bytes in front, up to the alignment.
func (l *loader) writeMagic(slot int) error {
	unit := bytes.Repeat([]byte{flash.Erased}, int(up(magicSize, l.align)))
	copy(unit[len(unit)-magicSize:], magic(l.align))
	return l.program(slot, l.slots[slot].size-uint32(len(unit)), unit)
}

// setImageOK is swap_set_image_ok.
func (l *loader) setImageOK() error {
	t, err := l.trailer(primary)
	if err != nil {
		return err
	}
	if t.imageOK != unset {
		return nil
	}
	return l.writeImageOK(primary)
}

// request is boot_set_next for the secondary slot, which the running firmware
// calls to have an image installed. A trailer that is neither empty nor whole is
// erased first, as MCUboot's callers do with the slot.
func (l *loader) request(permanent bool) error {
	t, err := l.trailer(secondary)
	if err != nil {
		return err
	}
	if t.magic == good {
		return nil
	}
	if t.magic == bad {
		if err := l.eraseTrailer(secondary); err != nil {
			return err
		}
	}
	if err := l.writeMagic(secondary); err != nil {
		return err
	}
	if !permanent {
		return l.writeSwapInfo(secondary, test)
	}
	if err := l.writeImageOK(secondary); err != nil {
		return err
	}
	return l.writeSwapInfo(secondary, perm)
}

// confirm is boot_set_next for the primary slot, which healthy firmware calls.
func (l *loader) confirm() error {
	t, err := l.trailer(primary)
	if err != nil {
		return err
	}
	if t.magic != good || t.imageOK != unset {
		return nil
	}
	return l.writeImageOK(primary)
}
