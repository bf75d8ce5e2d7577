package mcuboot

import (
	"encoding/binary"

	"github.com/otapack/otapack/sign/verdict"
)

// File is an image as it lies in a file. Its slices are those of the input.
type File struct {
	Header      Header
	Padding     []byte // of the header, from byte 32 on
	Payload     []byte // encrypted where the flags say so, unless it was made for the primary slot
	Protected   []TLV
	Unprotected []TLV
	// Tail is what follows the unprotected TLV area: nothing, or erased flash and
	// the trailer of the slot. The loader does not look at it while it verifies.
	Tail []byte

	protectedEnd, end int // offsets after the two areas
}

// Parse reads the structure of an image. It verifies nothing, and takes what the
// loader does not look at as it is: the order and the number of TLVs, types that
// are not known, bytes after the TLV area, bits of flags without a meaning.
// What is accepted has the same bytes when it is encoded again.
//
// Refused are, with the offset of what is wrong: a file that ends too early
// (verdict.Truncated), a first word that is not the magic number
// (verdict.ImageMagic), a header size below 32 (verdict.HeaderSize), both
// encryption flags (verdict.EncryptionFlags), wrong magic numbers of TLV areas
// (verdict.TLVMagic), a protected area of another size than the header says
// (verdict.ProtectedSize), and TLVs that do not end where their area does
// (verdict.TLVLength).
func Parse(data []byte) (*File, error) {
	if len(data) < MinHeader {
		return nil, verdict.At(int64(len(data)), verdict.Truncated, object, "%d bytes, a header has %d", len(data), MinHeader)
	}
	h, ok := parseHeader(data)
	switch {
	case !ok:
		return nil, verdict.At(0, verdict.ImageMagic, object, "begins with 0x%08x, want 0x%08x", binary.LittleEndian.Uint32(data), uint32(magic))
	case h.HeaderSize < MinHeader:
		return nil, verdict.At(8, verdict.HeaderSize, object, "header size %d, want at least %d", h.HeaderSize, MinHeader)
	case h.Flags&encryptionFlags == encryptionFlags:
		return nil, verdict.At(16, verdict.EncryptionFlags, object, "flags 0x%x say AES-128 and AES-256", uint32(h.Flags))
	case h.end() > uint64(len(data)):
		return nil, verdict.At(int64(len(data)), verdict.Truncated, object, "header and payload have %d bytes", h.end())
	}
	f := &File{Header: h, Padding: data[MinHeader:h.HeaderSize], Payload: data[h.HeaderSize:h.end()]}
	at := int(h.end())
	var err error
	if h.ProtectedSize != 0 {
		if f.Protected, f.protectedEnd, err = parseArea(data, at, magicProtected); err != nil {
			return nil, err
		}
		if got := f.protectedEnd - at; got != int(h.ProtectedSize) {
			return nil, verdict.At(int64(at), verdict.ProtectedSize, object, "protected TLV area of %d bytes, the header says %d", got, h.ProtectedSize)
		}
		at = f.protectedEnd
	}
	f.protectedEnd = at
	if f.Unprotected, f.end, err = parseArea(data, at, magicUnprotected); err != nil {
		return nil, err
	}
	f.Tail = data[f.end:]
	return f, nil
}

// parseArea reads the TLV area at an offset and returns the offset after it.
func parseArea(data []byte, at int, areaMagic uint16) ([]TLV, int, error) {
	le := binary.LittleEndian
	if len(data)-at < infoSize {
		return nil, 0, verdict.At(int64(at), verdict.Truncated, object, "ends where a TLV area begins")
	}
	if got := le.Uint16(data[at:]); got != areaMagic {
		return nil, 0, verdict.At(int64(at), verdict.TLVMagic, object, "TLV area begins with 0x%04x, want 0x%04x", got, areaMagic)
	}
	total := int(le.Uint16(data[at+2:]))
	switch {
	case total < infoSize:
		return nil, 0, verdict.At(int64(at+2), verdict.TLVLength, object, "TLV area of %d bytes, its own header has %d", total, infoSize)
	case total > len(data)-at:
		return nil, 0, verdict.At(int64(len(data)), verdict.Truncated, object, "TLV area of %d bytes begins at %d", total, at)
	}
	end := at + total
	var entries []TLV
	for at += infoSize; at < end; {
		if end-at < entrySize {
			return nil, 0, verdict.At(int64(at), verdict.TLVLength, object, "%d bytes left in the TLV area, an entry begins with %d", end-at, entrySize)
		}
		kind, length := Type(le.Uint16(data[at:])), int(le.Uint16(data[at+2:]))
		if length > end-at-entrySize {
			return nil, 0, verdict.At(int64(at), verdict.TLVLength, object, "%s of %d bytes passes the end of the TLV area", kind, length)
		}
		at += entrySize
		entries = append(entries, TLV{kind, data[at : at+length]})
		at += length
	}
	return entries, end, nil
}

// Encode writes the image. A File that Parse returned gives the bytes that it
// was read from. The sizes of payload, header and protected area are those of
// the Header: it is for the caller to keep them true.
func (f *File) Encode() []byte {
	b := f.appendSigned(make([]byte, 0, int(f.Header.end())+int(f.Header.ProtectedSize)+areaSize(f.Unprotected)+len(f.Tail)))
	b = appendArea(b, magicUnprotected, f.Unprotected)
	return append(b, f.Tail...)
}

// appendSigned writes what hash and signature cover, with the payload as it is.
func (f *File) appendSigned(b []byte) []byte {
	b = append(append(f.Header.append(b), f.Padding...), f.Payload...)
	if f.Header.ProtectedSize != 0 {
		b = appendArea(b, magicProtected, f.Protected)
	}
	return b
}

// End returns the offset of the first byte after the unprotected TLV area.
func (f *File) End() int { return f.end }

// find returns the value of the first entry of a type.
func find(entries []TLV, t Type) ([]byte, bool) {
	for _, e := range entries {
		if e.Type == t {
			return e.Value, true
		}
	}
	return nil, false
}
