package swap

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/otapack/otapack/bootloader/flash"
)

// errNoImage is a boot that ends in the bootloader.
var errNoImage = errors.New("no image to boot")

// loader is one boot of a device. Errors are those of the flash: MCUboot asserts
// where they are not dealt with here.
type loader struct {
	layout
	flash *flash.Flash
	// valid is bootutil_img_validate of the image in a slot.
	valid func(slot int, data []byte) (bool, error)
	table []row
	// first is the header that the primary slot is judged by, where a search for
	// headers was given up: MCUboot does not read it anew then.
	first *header
	steps []func(*loader, transfer) error
}

func newLoader(l layout, f *flash.Flash, valid func(int, []byte) (bool, error)) *loader {
	return &loader{layout: l, flash: f, valid: valid, table: decisions(), steps: transferSteps()}
}

// address is that of a range in a slot; MCUboot's flash areas end where the slot
// does.
func (l *loader) address(slot int, off uint32, n int) (uint32, error) {
	if uint64(off)+uint64(n) > uint64(l.slots[slot].size) {
		return 0, fmt.Errorf("swap: %d bytes at 0x%x of a slot of 0x%x: %w", n, off, l.slots[slot].size, flash.ErrRange)
	}
	return l.slots[slot].base + off, nil
}

func (l *loader) read(slot int, off uint32, p []byte) error {
	addr, err := l.address(slot, off, len(p))
	if err != nil {
		return err
	}
	return l.flash.Read(addr, p)
}

func (l *loader) program(slot int, off uint32, p []byte) error {
	addr, err := l.address(slot, off, len(p))
	if err != nil {
		return err
	}
	return l.flash.Program(addr, p, chunk)
}

func (l *loader) erase(slot int, off uint32) error {
	addr, err := l.address(slot, off, int(l.sector))
	if err != nil {
		return err
	}
	return l.flash.Erase(addr)
}

// eraseTrailer is swap_scramble_trailer_sectors: the last sector first.
func (l *loader) eraseTrailer(slot int) error {
	for i := range l.trailerSectors() {
		if err := l.erase(slot, l.slots[slot].size-(i+1)*l.sector); err != nil {
			return err
		}
	}
	return nil
}

// eraseSlot is boot_scramble_slot: the first sector first.
func (l *loader) eraseSlot(slot int) error {
	for off := uint32(0); off < l.slots[slot].size; off += l.sector {
		if err := l.erase(slot, off); err != nil {
			return err
		}
	}
	return nil
}

// header is the part of an image's header that the flow looks at
// (struct image_header, little-endian: magic 4, load address 4, header size 2,
// protected TLVs 2, image size 4, flags 4).
type header struct {
	magic     uint32
	tlvs      uint32 // offset of the TLV areas
	protected uint32
	flags     uint32
}

// Values of the header and of TLV areas.
const (
	headerMagic   = 0x96f3b83d
	erasedWord    = 0xffffffff
	nonBootable   = 0x10
	tlvMagic      = 0x6907
	protectedTLVs = 0x6908
)

func (l *loader) header(slot int, off uint32) (header, error) {
	b := make([]byte, 20)
	if err := l.read(slot, off, b); err != nil {
		return header{}, err
	}
	le := binary.LittleEndian
	return header{le.Uint32(b), uint32(le.Uint16(b[8:])) + le.Uint32(b[12:]), uint32(le.Uint16(b[10:])), le.Uint32(b[16:])}, nil
}

// imageSize is boot_read_image_size (boot/bootutil/src/bootutil_misc.c): up to
// the end of the TLV areas.
func (l *loader) imageSize(slot int, h header) (uint32, error) {
	at := h.tlvs
	for range 2 {
		b := make([]byte, 4)
		if uint64(at)+4 > uint64(l.slots[slot].size) {
			return 0, errNoImage
		}
		if err := l.read(slot, at, b); err != nil {
			return 0, err
		}
		kind, n := binary.LittleEndian.Uint16(b), uint32(binary.LittleEndian.Uint16(b[2:]))
		switch {
		case kind == tlvMagic && (h.protected == 0 || at > h.tlvs):
			return at + n, nil
		case kind == protectedTLVs && n == h.protected && at == h.tlvs && n > 0:
			at += n
		default:
			return 0, errNoImage
		}
	}
	return 0, errNoImage
}

// validate is boot_validate_slot (boot/bootutil/src/loader.c). What is not valid
// in the secondary slot is erased.
func (l *loader) validate(slot int, resumed swapType) (bool, error) {
	h, err := l.header(slot, 0)
	if err != nil {
		return false, err
	}
	if slot == primary && l.first != nil {
		h = *l.first
	}
	if h.magic == erasedWord || h.flags&nonBootable != 0 {
		if slot == primary || l.overwrite {
			return false, nil
		}
		return false, l.dropTrailers(resumed)
	}
	data, err := l.image(slot, h)
	ok := false
	if err == nil {
		ok, err = l.valid(slot, data)
	}
	if err != nil {
		return false, err
	}
	if ok || slot == primary {
		return ok, nil
	}
	return false, l.eraseSlot(slot)
}

// dropTrailers is what is done about a secondary slot without an image.
func (l *loader) dropTrailers(resumed swapType) error {
	if err := l.eraseTrailer(secondary); err != nil {
		return err
	}
	decided, err := l.decide()
	if err != nil {
		return err
	}
	if resumed != revert && decided != revert {
		return nil
	}
	return l.eraseTrailer(primary)
}

// image reads an image up to its end, or the whole slot where that is not known.
func (l *loader) image(slot int, h header) ([]byte, error) {
	size, err := l.imageSize(slot, h)
	if errors.Is(err, errNoImage) || size > l.slots[slot].size {
		size, err = l.slots[slot].size, nil
	}
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	return data, l.read(slot, 0, data)
}

// boot is context_boot_go (boot/bootutil/src/loader.c). It returns nil when the
// image in the primary slot is started.
func (l *loader) boot() error {
	s, todo, err := l.prepare()
	if err != nil {
		return err
	}
	switch todo {
	case none:
	case test, perm, revert:
		err = l.update(s, todo)
	case fail:
		if !l.overwrite {
			err = l.setImageOK()
		}
	}
	if err != nil {
		return err
	}
	ok, err := l.validate(primary, none)
	if err == nil && !ok {
		err = errNoImage
	}
	return err
}

// prepare is boot_prepare_image_for_update: it finishes what a loss of power has
// cut off, or says what is to be done.
func (l *loader) prepare() (progress, swapType, error) {
	s := progress{entry: 1, state: 1, swap: none}
	if !l.overwrite {
		var err error
		if s, err = l.readProgress(); err != nil {
			return s, none, err
		}
		found, err := l.headersFound(s)
		if err != nil || !found {
			return s, none, err
		}
	}
	switch {
	case !s.reset():
		return s, none, l.finish(s, s.swap)
	case s.swap == none:
		todo, err := l.decide()
		if err != nil || todo == none {
			return s, none, err
		}
		ok, err := l.validate(secondary, none)
		if err != nil || !ok {
			return s, none, err
		}
		return s, todo, nil
	}
	ok, err := l.validate(secondary, s.swap)
	if err != nil || ok {
		return s, s.swap, err
	}
	return s, fail, nil
}

// update is boot_perform_update.
func (l *loader) update(s progress, todo swapType) error {
	if l.overwrite {
		return l.overwritePrimary()
	}
	s.swap = todo
	return l.finish(s, todo)
}

// finish swaps, or what is left to swap, and marks the primary slot, also where
// swap found no room.
func (l *loader) finish(s progress, todo swapType) error {
	if err := l.swap(s); err != nil {
		return err
	}
	if todo == revert || todo == perm {
		if err := l.setImageOK(); err != nil {
			return err
		}
	}
	if todo < test || todo > revert {
		return nil
	}
	return l.writeCopyDone()
}

// overwritePrimary is boot_copy_image in a build with MCUBOOT_OVERWRITE_ONLY_FAST.
func (l *loader) overwritePrimary() error {
	h, err := l.header(secondary, 0)
	if err != nil {
		return err
	}
	size, err := l.imageSize(secondary, h)
	if err != nil {
		return err
	}
	for off := uint32(0); off < size && off < l.slots[primary].size; off += l.sector {
		if err := l.erase(primary, off); err != nil {
			return err
		}
	}
	first := l.slots[primary].size - l.trailerSectors()*l.sector
	for off := first; off < l.slots[primary].size; off += l.sector {
		if err := l.erase(primary, off); err != nil {
			return err
		}
	}
	if err := l.copy(secondary, primary, 0, 0, size+l.write-size%l.write); err != nil {
		return err
	}
	if err := l.writeMagic(primary); err != nil {
		return err
	}
	if err := l.erase(secondary, 0); err != nil {
		return err
	}
	return l.erase(secondary, l.slots[secondary].size-l.sector)
}

// copy is boot_copy_region.
func (l *loader) copy(from, to int, src, dst, size uint32) error {
	buf := make([]byte, chunk)
	for done := uint32(0); done < size; done += chunk {
		b := buf[:min(chunk, size-done)]
		if err := l.read(from, src+done, b); err != nil {
			return err
		}
		if err := l.program(to, dst+done, b); err != nil {
			return err
		}
	}
	return nil
}
