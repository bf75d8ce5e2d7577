package delta

import (
	"encoding/binary"
	"errors"
	"io"
)

// The codec reads both images with every Thumb BL and B.W in absolute form: the
// distance that such a pair of halfwords carries is replaced by distance plus
// own address, both in halfwords from the start of the image. Calls of one
// function look the same everywhere then.
//
// Only pairs with J1 = J2 = 1 count, which reach 4 MiB to either side. The first
// halfword begins with 0x1e in its upper five bits, the second with 0x1f or 0x17, so
// whether a halfword belongs to a pair shows from its neighbours alone.

func isBranch(w uint32) bool {
	return w&0xf800 == 0xf000 && isTail(w>>16)
}

// isTail says whether the second halfword of a branch looks like h.
func isTail(h uint32) bool { return h&0xf800 == 0xf800 || h&0xf800 == 0xb800 }

// field returns the distance or address in a pair, in halfwords.
func field(w uint32) uint32 { return w&0x7ff<<11 | w>>16&0x7ff }

func setField(w, f uint32) uint32 { return w&0xf800f800 | f>>11&0x7ff | f&0x7ff<<16 }

// absolute turns a pair at an offset into its absolute form; relative turns it
// back.
func absolute(w uint32, at int) uint32 { return setField(w, field(w)+uint32(at+4)/2) }
func relative(w uint32, at int) uint32 { return setField(w, field(w)-uint32(at+4)/2) }

// makeAbsolute turns all pairs of a part of an image, which begins at an even
// offset, into the absolute form.
func makeAbsolute(part []byte, at int) {
	for i := 0; i+4 <= len(part); i += 2 {
		if w := binary.LittleEndian.Uint32(part[i:]); isBranch(w) {
			binary.LittleEndian.PutUint32(part[i:], absolute(w, at+i))
			i += 2
		}
	}
}

// target returns the offset that a pair in absolute form leads to; it may lie
// before the image.
func target(w uint32) int { return int(int32(field(w)<<10)>>10) * 2 }

const (
	pageSize = 1 << 10 // bytes of an image that a window holds
	around   = 2       // bytes before and behind, which a pair may reach into
)

// A window serves an image in absolute form from a part in memory. The first
// error of the source sticks; zeros are served then.
type window struct {
	src  io.ReaderAt // nil when all is in memory
	size int         // of the image, or of as much of it as has been written
	grow bool        // more will be written
	at   int         // offset of page
	page []byte
	buf  [around + pageSize + around]byte
	err  error
}

// load reads the page with the bytes from i to i+n.
func (w *window) load(i, n int) bool {
	if w.err != nil || w.src == nil || i < 0 || i+n > w.size {
		return false
	}
	from := max(i&^1-pageSize/8, 0)
	before := min(from, around)
	raw := w.buf[:min(before+pageSize+around, w.size-from+before)]
	if got, err := w.src.ReadAt(raw, int64(from-before)); got < len(raw) {
		if w.err = err; errors.Is(err, io.EOF) {
			w.err = io.ErrUnexpectedEOF
		}
		return false
	}
	makeAbsolute(raw, from-before)
	end := len(raw)
	if from-before+end < w.size || w.grow {
		end -= around
	}
	w.at, w.page = from, raw[before:max(end, before)]
	return i+n <= from+len(w.page)
}

// bytes returns n bytes of the image, little-endian; at most four.
func (w *window) bytes(i, n int) uint32 {
	if k := i - w.at; k < 0 || k+n > len(w.page) {
		if !w.load(i, n) {
			return 0
		}
	}
	k := i - w.at
	var v uint32
	for b := n - 1; b >= 0; b-- {
		v = v<<8 | uint32(w.page[k+b])
	}
	return v
}
