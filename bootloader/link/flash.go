package link

import (
	"errors"
	"fmt"

	"github.com/otapack/otapack/formats/chunk"
)

// errPower is what an operation returns that the loss of power cut off.
var errPower = errors.New("power is gone")

// flash is the receiver's memory. It notes what a receiver may not do instead of
// failing like a chip.
type flash struct {
	bytes  []byte
	slots  [2][chunk.CursorSize]byte
	random *random

	stored int          // bytes from the start that are written without a gap
	dirty  int          // behind the last byte that is not blank
	saved  chunk.Cursor // written completely, and last
	cut    operation
	broken error // the first thing that may never happen
}

// operation is one after which, or inside which, power may go.
type operation uint8

const (
	noCut operation = iota
	cutWrite
	cutCursor
)

// fill makes the memory one that holds another object, of an earlier release.
func (f *flash) fill(other chunk.Session) {
	*f = flash{bytes: f.bytes, random: f.random, stored: len(f.bytes), dirty: len(f.bytes)}
	clear(f.bytes)
	f.saved = chunk.Cursor{Session: other, Size: uint32(len(f.bytes)), Offset: uint32(len(f.bytes)), Generation: uint32(f.random.next())}
	f.slots[0] = f.saved.Encode()
}

// check holds the cursor that a receiver finds against the memory.
func (f *flash) check(found chunk.Cursor) {
	if int(found.Offset) > f.stored {
		f.breaks("the cursor says %d, stored are %d bytes", found.Offset, f.stored)
	}
	if found.Generation != f.saved.Generation {
		f.breaks("cursor %d was saved, found is %d", f.saved.Generation, found.Generation)
	}
}

func (f *flash) breaks(format string, args ...any) {
	if f.broken == nil {
		f.broken = fmt.Errorf(format, args...)
	}
}

// torn says how many of n bytes are written when power goes now.
func (f *flash) torn(now operation, n int) (int, error) {
	if f.cut != now {
		return n, nil
	}
	f.cut = noCut
	return f.random.below(n + 1), errPower
}

// ReadAt reads object bytes.
func (f *flash) ReadAt(p []byte, off int64) (int, error) { return copy(p, f.bytes[off:]), nil }

// WriteAt writes object bytes. When it is cut off, the byte after the last one
// is written by half.
func (f *flash) WriteAt(p []byte, off int64) (int, error) {
	if int(off) < f.dirty {
		f.breaks("byte %d is written, and bytes before %d are not blank", off, f.dirty)
	}
	n, err := f.torn(cutWrite, len(p))
	copy(f.bytes[off:], p[:n])
	f.dirty = max(f.dirty, int(off)+n)
	if int(off) == f.stored {
		f.stored += n
	}
	if n < len(p) {
		f.bytes[int(off)+n] = p[n] | byte(f.random.next())
		f.dirty = max(f.dirty, int(off)+n+1)
	}
	return n, err
}

// Erase erases from an offset on.
func (f *flash) Erase(from int64) error {
	n, err := f.torn(cutWrite, len(f.bytes)-int(from))
	end := int(from) + n
	for i := int(from); i < end; i++ {
		f.bytes[i] = 0xff
	}
	if end >= f.dirty {
		f.dirty = min(f.dirty, int(from))
	}
	f.stored = min(f.stored, int(from))
	return err
}

// ReadCursor reads a slot.
func (f *flash) ReadCursor(slot int) ([chunk.CursorSize]byte, error) { return f.slots[slot], nil }

// WriteCursor erases a slot and writes it.
func (f *flash) WriteCursor(slot int, cursor [chunk.CursorSize]byte) error {
	c, err := chunk.ParseCursor(cursor)
	if err != nil || int(c.Offset) > f.stored {
		f.breaks("cursor %+v is saved, stored are %d bytes", c, f.stored)
	}
	n, err := f.torn(cutCursor, chunk.CursorSize)
	for i := range f.slots[slot] {
		f.slots[slot][i] = 0xff
		if i < n {
			f.slots[slot][i] = cursor[i]
		}
	}
	if f.slots[slot] == cursor { // the cut may have come behind it
		f.saved = c
	}
	return err
}
