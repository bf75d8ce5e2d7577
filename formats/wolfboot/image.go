package wolfboot

import (
	"encoding/binary"
	"iter"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// Magic is what an image begins with.
const Magic = "WOLF"

// Sizes and bounds in bytes.
const (
	fixedSize    = 8       // magic and size of the firmware
	tlvHead      = 4       // type and length
	digestSize   = 32      // SHA-256, of images and of keys
	signSize     = 64      // ECDSA P-256
	MinHeader    = 256     // smallest header of this signature
	MaxHeader    = 16384   // bound of a header
	MaxPartition = 1 << 27 // bound of a partition
)

// Type is the type of a TLV in a header.
type Type uint16

// TLVs that a build with ECC256 and SHA-256 reads, or its tool writes (wolfboot.h).
const (
	typeEnd       Type = 0x00
	TypeVersion   Type = 0x01 // u32
	TypeTimestamp Type = 0x02 // u64
	TypeSHA256    Type = 0x03
	TypeImage     Type = 0x04 // u16: what signs it, and which partition it is for
	TypeKeyHint   Type = 0x10 // SHA-256 of the public key X‖Y
	TypeSignature Type = 0x20
)

// lengths are those of the TLVs above.
var lengths = map[Type]int{TypeVersion: 4, TypeTimestamp: 8, TypeSHA256: digestSize, TypeImage: 2, TypeKeyHint: digestSize, TypeSignature: signSize}

// Parts of the value of TypeImage.
const (
	partMask  = 0x000f
	extraMask = 0x00f0
	authMask  = 0xff00

	partApplication = 0x0001
	extraDelta      = 0x00d0
	authECC256      = 0x0200
)

// find is wolfBoot_find_header: the offset of the value of the first TLV of a type,
// and its length. Where the walk ends early, by a length or a zero type, what
// lies behind is not found.
func find(header []byte, want Type) (at, length int, ok bool) {
	for e := range walk(header) {
		if e.Type == want {
			return e.Offset, len(e.Value), true
		}
	}
	return 0, 0, false
}

// walk goes over the TLVs of a header as wolfBoot_find_header does.
func walk(header []byte) iter.Seq[TLV] {
	return func(yield func(TLV) bool) {
		for p := fixedSize; len(header)-p >= tlvHead; {
			kind := Type(binary.LittleEndian.Uint16(header[p:]))
			if kind == typeEnd {
				return
			}
			if header[p] == 0xff || p%2 != 0 { // padding
				p++
				continue
			}
			n := int(binary.LittleEndian.Uint16(header[p+2:]))
			if len(header)-p < tlvHead+n || !yield(TLV{Type: kind, Offset: p + tlvHead, Value: header[p+tlvHead : p+tlvHead+n]}) {
				return
			}
			p += tlvHead + n
		}
	}
}

// TLV is one entry of a header.
type TLV struct {
	Type   Type
	Offset int // of its value in the header, in bytes
	Value  []byte
}

// File is an image taken apart.
type File struct {
	TLVs     []TLV // in the order of the file
	Firmware []byte
}

// TLV returns the value of the TLV of a type, nil for none.
func (f *File) TLV(t Type) []byte {
	i := slices.IndexFunc(f.TLVs, func(e TLV) bool { return e.Type == t })
	if i < 0 {
		return nil
	}
	return f.TLVs[i].Value
}

// Parse reads an image strictly: besides what a bootloader looks at, it asks that
// the file ends with the firmware, that TLVs have the length of their type and
// occur once, that only key hint and signatures lie behind the digest, and that all
// else in the header is padding. headerSize is the build's. Values and firmware
// are not copied.
func Parse(b []byte, headerSize uint32) (*File, error) {
	refuse := func(at int, reason verdict.Reason, detail string, args ...any) (*File, error) {
		return nil, verdict.At(int64(at), reason, "wolfboot", detail, args...)
	}
	if headerSize < MinHeader || headerSize > MaxHeader {
		return refuse(0, verdict.HeaderSize, "header of %d bytes, want %d to %d", headerSize, MinHeader, MaxHeader)
	}
	if len(b) < int(headerSize) {
		return refuse(len(b), verdict.Truncated, "%d bytes, want a header of %d", len(b), headerSize)
	}
	if string(b[:4]) != Magic {
		return refuse(0, verdict.ImageMagic, "begins with %x, want %q", b[:4], Magic)
	}
	end := uint64(headerSize) + uint64(binary.LittleEndian.Uint32(b[4:]))
	if uint64(len(b)) < end {
		return refuse(len(b), verdict.Truncated, "%d bytes, want %d", len(b), end)
	}
	if uint64(len(b)) > end {
		return refuse(int(end), verdict.TrailingBytes, "%d bytes after the firmware", uint64(len(b))-end)
	}
	tlvs, err := parseTLVs(b[:headerSize])
	if err != nil {
		return nil, err
	}
	return &File{TLVs: tlvs, Firmware: b[headerSize:]}, nil
}

// parseTLVs reads the TLVs of a header, to its last byte.
func parseTLVs(header []byte) ([]TLV, error) {
	var all []TLV
	refuse := func(at int, reason verdict.Reason, detail string, args ...any) ([]TLV, error) {
		return nil, verdict.At(int64(at), reason, "wolfboot: header", detail, args...)
	}
	signed := true
	for p := fixedSize; p < len(header); {
		if header[p] == 0xff {
			p++
			continue
		}
		if p%2 != 0 || len(header)-p < tlvHead {
			return refuse(p, verdict.TLVLength, "neither padding nor a TLV")
		}
		kind, n := Type(binary.LittleEndian.Uint16(header[p:])), int(binary.LittleEndian.Uint16(header[p+2:]))
		want, known := lengths[kind]
		switch {
		case kind == typeEnd:
			return refuse(p, verdict.TLVNotAllowed, "end mark, and padding is 0xff")
		case len(header)-p < tlvHead+n || known && n != want:
			return refuse(p, verdict.TLVLength, "TLV 0x%04x of %d bytes", uint16(kind), n)
		case slices.ContainsFunc(all, func(e TLV) bool { return e.Type == kind }):
			return refuse(p, verdict.TLVRepeated, "TLV 0x%04x occurs twice", uint16(kind))
		case !signed && kind != TypeKeyHint && (kind < TypeSignature || kind > TypeSignature+2):
			return refuse(p, verdict.TLVNotAllowed, "TLV 0x%04x behind the digest, where nothing is signed", uint16(kind))
		}
		signed = signed && kind != TypeSHA256
		all = append(all, TLV{Type: kind, Offset: p + tlvHead, Value: header[p+tlvHead : p+tlvHead+n]})
		p += tlvHead + n
	}
	return all, nil
}
