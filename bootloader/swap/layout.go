package swap

import (
	"errors"
	"fmt"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/formats/mcuboot"
)

// ErrLayout is a bootloader that is not rehearsed.
var ErrLayout = errors.New("not rehearsed")

// magicSize is the length of the magic number at the end of a slot.
const magicSize = 16

// chunk is how many bytes boot_copy_region writes at once (BUF_SZ in
// boot/bootutil/src/loader.c).
const chunk = 1024

// layout is the flash of a device: the primary slot, and after it the secondary.
// Sizes are in bytes.
type layout struct {
	overwrite  bool
	slots      [2]area
	sector     uint32
	write      uint32 // smallest program unit
	align      uint32 // MCUBOOT_BOOT_MAX_ALIGN
	maxSectors uint32 // MCUBOOT_MAX_IMG_SECTORS
}

// area is a slot in flash.
type area struct{ base, size uint32 }

// Indexes of slots.
const (
	primary   = 0
	secondary = 1
)

// newLayout takes the layout from a bootloader's description.
func newLayout(t mcuboot.Target) (layout, error) {
	bad := func(format string, args ...any) (layout, error) {
		return layout{}, fmt.Errorf("swap: %s: %w", fmt.Sprintf(format, args...), ErrLayout)
	}
	second := t.SecondarySize
	if second == 0 {
		second = t.SlotSize
	}
	l := layout{
		overwrite: t.Mode == mcuboot.OverwriteOnly, slots: [2]area{{0, t.SlotSize}, {t.SlotSize, second}},
		sector: t.SectorSize, write: max(t.WriteSize, 1), align: t.MaxAlign, maxSectors: t.MaxSectors,
	}
	if l.align == 0 {
		l.align = max(8, l.write)
	}
	if l.maxSectors == 0 {
		l.maxSectors = 128
	}
	switch {
	case t.Mode != mcuboot.SwapMove && t.Mode != mcuboot.OverwriteOnly:
		return bad("mode %s, want swap-move or overwrite-only", t.Mode)
	case t.Encryption != mcuboot.NoEncryption:
		return bad("encrypted images")
	case t.ErasedZero:
		return bad("flash that is 0 when erased")
	case t.SlotSize == 0 || l.sector == 0:
		return bad("slots of unknown size, or in sectors of unknown size")
	case l.sector%l.write != 0 || t.SlotSize%l.sector != 0 || second%l.sector != 0 || uint64(t.SlotSize)+uint64(second) > 1<<31:
		return bad("slots of %d and %d bytes in sectors of %d", t.SlotSize, second, l.sector)
	case second != t.SlotSize && second+l.sector != t.SlotSize: // boot_slots_compatible in boot/bootutil/src/swap_move.c
		return bad("slots of %d and %d bytes: MCUboot swaps slots of one size, or a secondary slot that is one sector smaller", t.SlotSize, second)
	case t.SlotSize/l.sector > l.maxSectors:
		return bad("slots of %d sectors, the bootloader takes %d", t.SlotSize/l.sector, l.maxSectors)
	case l.trailerSectors()*l.sector >= second:
		return bad("slots of %d bytes: no room beside the trailer", second)
	}
	return l, nil
}

func (l layout) geometry() flash.Geometry {
	return flash.Geometry{Size: l.slots[secondary].base + l.slots[secondary].size, Page: l.sector, Unit: l.write}
}

// Offsets of the fields of a trailer, from the beginning of a slot of some size
// (boot/bootutil/src/bootutil_misc.h; boot_swap_info_off in bootutil_public.c).
func (l layout) imageOK(size uint32) uint32  { return (size - magicSize - l.align) / l.align * l.align }
func (l layout) copyDone(size uint32) uint32 { return l.imageOK(size) - l.align }
func (l layout) swapInfo(size uint32) uint32 { return l.copyDone(size) - l.align }
func (l layout) swapSize(size uint32) uint32 { return l.swapInfo(size) - l.align }
func (l layout) status(size uint32) uint32   { return size - l.trailerSize() }

// trailerSize is that of boot_trailer_sz (boot/bootutil/src/bootutil_area.c):
// three status entries a sector, four fields and the magic number.
func (l layout) trailerSize() uint32 {
	return l.maxSectors*3*l.write + 4*l.align + up(magicSize, l.align)
}

func (l layout) trailerSectors() uint32 { return up(l.trailerSize(), l.sector) / l.sector }

func up(n, unit uint32) uint32 { return (n + unit - 1) / unit * unit }

// place names what lies at an address, for people.
func (l layout) place(addr uint32) string {
	name, a := "primary", l.slots[primary]
	if addr >= l.slots[secondary].base {
		name, a = "secondary", l.slots[secondary]
	}
	off := addr - a.base
	field := "trailer: "
	switch {
	case off < a.size-l.trailerSectors()*l.sector:
		field = "image"
	case off >= l.imageOK(a.size)+l.align:
		field += "magic"
	case off >= l.imageOK(a.size):
		field += "image_ok"
	case off >= l.copyDone(a.size):
		field += "copy_done"
	case off >= l.swapInfo(a.size):
		field += "swap_info"
	case off >= l.swapSize(a.size):
		field += "swap_size"
	case off >= l.status(a.size):
		field += "swap status"
	default:
		field = "sectors of the trailer"
	}
	return name + " " + field
}
