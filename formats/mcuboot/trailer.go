package mcuboot

import (
	"bytes"
	"fmt"
)

// magicSize is the length of the magic number at the end of a slot.
const magicSize = 16

// Padding says what follows an image in its slot.
type Padding int

// Paddings. All but NoPadding fill the slot with erased flash.
const (
	NoPadding Padding = iota
	Pad               // with the trailer's magic: the loader swaps, and reverts what does not confirm itself. imgtool --pad, --test
	Confirm           // also image_ok: a permanent update. In overwrite-only, which has no reverting, the same as Pad
)

// trailerMagic returns the magic number of a maximum alignment
// (scripts/imgtool/image.py; boot/bootutil/include/bootutil/bootutil_public.h).
func trailerMagic(maxAlign uint32) []byte {
	if maxAlign == 8 {
		return []byte{0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80}
	}
	return []byte{byte(maxAlign), byte(maxAlign >> 8), 0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a}
}

// field is a part of a padded file that is not erased flash.
type field struct {
	offset int64 // from the first byte of the header
	data   []byte
}

// padTo is the length of a padded file. An update for swap-offset lies one
// sector into its slot.
func (t Target) padTo() int64 {
	n := int64(t.slotSize())
	if t.Mode == SwapOffset && t.slot() == Secondary {
		n -= int64(t.SectorSize)
	}
	return n
}

// trailer returns the fields of a padded file in ascending order.
func (t Target) trailer(p Padding) []field {
	if p == NoPadding {
		return nil
	}
	end := t.padTo()
	fields := []field{{end - magicSize, trailerMagic(t.maxAlign())}}
	if p == Confirm && t.Mode != OverwriteOnly {
		ok := bytes.Repeat([]byte{t.erased()}, int(t.maxAlign()))
		ok[0] = 1
		at := end - alignUp(int64(magicSize), int64(t.maxAlign())) - int64(t.maxAlign())
		fields = append([]field{{at, ok}}, fields...)
	}
	return fields
}

// Trailer is what the end of a padded file says.
type Trailer struct {
	MaxAlign  int  // as the magic number has it; 8 where it has the oldest form
	Confirmed bool // image_ok is set: a permanent update
}

// Trailer reads the end of the file; ok is false when there is no trailer.
func (f *File) Trailer() (t Trailer, ok bool) {
	n := len(f.Tail)
	if n < magicSize {
		return Trailer{}, false
	}
	end := f.Tail[n-magicSize:]
	for _, align := range []int{8, 16, 32} {
		if !bytes.Equal(end, trailerMagic(uint32(align))) {
			continue
		}
		at := n - alignUpInt(magicSize, align) - align
		return Trailer{align, at >= 0 && f.Tail[at] == 1}, true
	}
	return Trailer{}, false
}

func alignUpInt(n, align int) int { return int(alignUp(int64(n), int64(align))) }

// String formats as "test" or "confirmed", with the alignment.
func (t Trailer) String() string {
	if t.Confirmed {
		return fmt.Sprintf("confirmed, aligned to %d", t.MaxAlign)
	}
	return fmt.Sprintf("test, aligned to %d", t.MaxAlign)
}
