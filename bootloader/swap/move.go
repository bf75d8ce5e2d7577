package swap

import (
	"encoding/binary"

	"github.com/otapack/otapack/bootloader/flash"
)

// progress is how far a swap has come (struct boot_status): a phase, a sector
// from 1 on and within the second phase a state from 1 on.
type progress struct {
	swapping bool // second phase: the image has been moved up
	entry    uint32
	state    uint8
	swap     swapType
	resumed  bool // the primary slot has a status
}

// reset is boot_status_is_reset.
func (s progress) reset() bool { return !s.swapping && s.entry == 1 && s.state == 1 }

// readProgress is swap_read_status and, in boot/bootutil/src/swap_move.c,
// swap_status_source and swap_read_status_bytes.
func (l *loader) readProgress() (progress, error) {
	s := progress{entry: 1, state: 1, swap: none}
	first, err := l.trailer(primary)
	if err != nil {
		return s, err
	}
	second, err := l.trailer(secondary)
	if err != nil {
		return s, err
	}
	s.resumed = first.magic == good && first.copyDone == unset && second.magic != good
	if !s.resumed {
		return s, nil
	}
	size := l.slots[primary].size
	entries := l.maxSectors * 3
	var found uint32
	for i := entries; i > 0; i-- {
		var b [1]byte
		if err := l.read(primary, l.status(size)+(i-1)*l.write, b[:]); err != nil {
			return s, err
		}
		if b[0] != flash.Erased && found == 0 {
			found = i
		}
	}
	switch {
	case found == 0:
	case found < l.maxSectors:
		s.entry = found + 1
	default:
		s.swapping, s.entry, s.state = true, (found-l.maxSectors)/2+1, uint8((found-l.maxSectors)%2)+1
	}
	var info [1]byte
	if err := l.read(primary, l.swapInfo(size), info[:]); err != nil {
		return s, err
	}
	if info[0] != flash.Erased {
		s.swap = swapType(info[0] & 0xf)
	}
	return s, nil
}

// storedSize reads how much is being swapped.
func (l *loader) storedSize() (uint32, error) {
	var b [4]byte
	err := l.read(primary, l.swapSize(l.slots[primary].size), b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// headersFound is boot_read_image_headers with boot_read_image_header of
// boot/bootutil/src/swap_move.c: headers are looked for where the swap has left
// them. Without one in the primary slot, or in the middle of a swap in either
// slot, nothing is done.
func (l *loader) headersFound(s progress) (bool, error) {
	var last uint32
	if !s.reset() {
		size, err := l.storedSize()
		if err != nil {
			return false, err
		}
		last = l.lastSector(size)
	}
	var first header
	for slot := range 2 {
		from, off := slot, uint32(0)
		switch {
		case s.reset():
		case !s.swapping && slot == primary && s.entry > last:
			off = l.sector
		case s.swapping && s.entry > 1 && s.entry <= last:
			from = 1 - slot
		case s.swapping && s.entry == 1 && slot == primary:
			off = l.sector
		case s.swapping && s.entry == 1 && s.state == 2:
			from = primary
		}
		h, err := l.header(from, off)
		if err != nil {
			return false, err
		}
		if slot == primary {
			first = h
		}
		if h.magic != headerMagic && (slot == primary || !s.reset()) {
			l.first = &first
			return false, nil
		}
	}
	return true, nil
}

// lastSector is find_last_idx: the number of sectors of a size, at least 1.
func (l layout) lastSector(size uint32) uint32 {
	return max(1, uint32((uint64(size)+uint64(l.sector)-1)/uint64(l.sector)))
}

// transfer is a sector on its way, and where that is noted down.
type transfer struct {
	from, to int
	src, dst uint32
	slot     uint32 // of the status entry, from 0
	state    uint8  // its value
}

// transferSteps are the three steps of a transfer in their order: the status is
// written when the sector is in its place (boot_move_sector_up, boot_swap_sectors).
func transferSteps() []func(*loader, transfer) error {
	return []func(*loader, transfer) error{(*loader).clear, (*loader).carry, (*loader).note}
}

func (l *loader) clear(t transfer) error { return l.erase(t.to, t.dst) }
func (l *loader) carry(t transfer) error { return l.copy(t.from, t.to, t.src, t.dst, l.sector) }

// note is boot_write_status.
func (l *loader) note(t transfer) error {
	return l.writeField(primary, l.status(l.slots[primary].size)+t.slot*l.write, []byte{t.state})
}

func (l *loader) transfer(t transfer) error {
	for _, step := range l.steps {
		if err := step(l, t); err != nil {
			return err
		}
	}
	return nil
}

// swap is boot_swap_image and swap_run: all sectors of the primary slot move up
// by one, the last first; then, from the first on, each sector of the secondary
// slot comes down and the one that was moved takes its place.
func (l *loader) swap(s progress) error {
	size, err := l.swapped(s)
	if err != nil {
		return err
	}
	last := l.lastSector(size)
	if s.reset() && last >= l.slots[primary].size/l.sector-l.trailerSectors() {
		return nil // no room
	}
	if s.reset() && s.swap == revert {
		if err := l.prepareRevert(size); err != nil {
			return err
		}
	}
	if !s.swapping {
		if err := l.moveUp(s, last, size); err != nil {
			return err
		}
		s.entry, s.state = 1, 1
	}
	for i := s.entry; i <= last; i++ {
		at := l.maxSectors + (i-1)*2
		if i > s.entry || s.state == 1 {
			if err := l.transfer(transfer{secondary, primary, (i - 1) * l.sector, (i - 1) * l.sector, at, 1}); err != nil {
				return err
			}
		}
		if err := l.transfer(transfer{primary, secondary, i * l.sector, (i - 1) * l.sector, at + 1, 2}); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) moveUp(s progress, last, size uint32) error {
	for i := last; i > 0; i-- {
		done := last - i // sectors moved before this one
		if done+1 < s.entry {
			continue
		}
		if done == 0 {
			if err := l.begin(s, size); err != nil {
				return err
			}
		}
		if err := l.transfer(transfer{primary, primary, (i - 1) * l.sector, i * l.sector, done, 1}); err != nil {
			return err
		}
	}
	return nil
}

// swapped is how many bytes are swapped: what the larger image needs.
func (l *loader) swapped(s progress) (uint32, error) {
	if !s.reset() {
		return l.storedSize()
	}
	var largest uint32
	for slot := range 2 {
		h, err := l.header(slot, 0)
		if err != nil {
			return 0, err
		}
		if h.magic != headerMagic {
			continue
		}
		size, err := l.imageSize(slot, h)
		if err != nil {
			return 0, err
		}
		largest = max(largest, size)
	}
	return largest, nil
}

// begin makes the trailers ready: that of the primary slot gets what a later boot
// has to know, and the request in the secondary slot goes.
func (l *loader) begin(s progress, size uint32) error {
	if !s.resumed {
		if err := l.eraseTrailer(primary); err != nil {
			return err
		}
		if err := l.initStatus(s.swap, size); err != nil {
			return err
		}
	}
	return l.eraseTrailer(secondary)
}

// initStatus is swap_status_init. The magic number is last: with it the rest counts.
func (l *loader) initStatus(t swapType, size uint32) error {
	second, err := l.trailer(secondary)
	if err != nil {
		return err
	}
	if t != none {
		if err := l.writeSwapInfo(primary, t); err != nil {
			return err
		}
	}
	if second.imageOK == good {
		if err := l.writeImageOK(primary); err != nil {
			return err
		}
	}
	if err := l.writeSwapSize(primary, size); err != nil {
		return err
	}
	return l.writeMagic(primary)
}

// prepareRevert is fixup_revert: the secondary slot is marked as a permanent
// update before the mark in the primary slot goes.
func (l *loader) prepareRevert(size uint32) error {
	second, err := l.trailer(secondary)
	if err != nil {
		return err
	}
	if second.magic != unset {
		return nil
	}
	if err := l.eraseTrailer(secondary); err != nil {
		return err
	}
	if err := l.writeImageOK(secondary); err != nil {
		return err
	}
	if err := l.writeSwapSize(secondary, size); err != nil {
		return err
	}
	return l.writeMagic(secondary)
}
