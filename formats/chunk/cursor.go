package chunk

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/otapack/otapack/sign/verdict"
)

// CursorSize is the length of a saved cursor in bytes, a multiple of every write
// unit of the chips here.
const CursorSize = 24

// Cursor says how much of which object a receiver has stored for good. It is
// saved alternately in two slots, so that a write that is cut off leaves the
// other one.
type Cursor struct {
	Session    Session
	Size       uint32 // of the object, in bytes
	Offset     uint32 // bytes from the object's start that are stored
	Generation uint32 // counts the saves, wraps; the newer one of two counts
}

// Encode returns the saved form: session, size, offset, generation, and CRC-32
// (IEEE) of these; numbers are little-endian.
func (c Cursor) Encode() [CursorSize]byte {
	var b [CursorSize]byte
	copy(b[:], c.Session[:])
	binary.LittleEndian.PutUint32(b[8:], c.Size)
	binary.LittleEndian.PutUint32(b[12:], c.Offset)
	binary.LittleEndian.PutUint32(b[16:], c.Generation)
	binary.LittleEndian.PutUint32(b[20:], crc32.ChecksumIEEE(b[:20]))
	return b
}

// ParseCursor reads the saved form. What was not written completely is refused
// with verdict.ChunkCursor.
func ParseCursor(b [CursorSize]byte) (Cursor, error) {
	c := Cursor{
		Session:    Session(b[:8]),
		Size:       binary.LittleEndian.Uint32(b[8:]),
		Offset:     binary.LittleEndian.Uint32(b[12:]),
		Generation: binary.LittleEndian.Uint32(b[16:]),
	}
	switch got, want := crc32.ChecksumIEEE(b[:20]), binary.LittleEndian.Uint32(b[20:]); {
	case got != want:
		return Cursor{}, verdict.New(verdict.ChunkCursor, "cursor", "CRC-32 %08x, stored %08x", got, want)
	case c.Size < 1 || c.Size > MaxSize || c.Offset > c.Size:
		return Cursor{}, verdict.New(verdict.ChunkCursor, "cursor", "%d of %d bytes", c.Offset, c.Size)
	}
	return c, nil
}

// newer reports whether c was saved after o. Generations are compared like
// serial numbers (RFC 1982), so that they may wrap.
func (c Cursor) newer(o Cursor) bool { return int32(c.Generation-o.Generation) > 0 }
