package sbsfu

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// Sizes in bytes.
const (
	HeaderSize    = 320 // of a header with its state
	signedSize    = 128 // bytes of the header that the signature covers
	signatureSize = 64
	TagSize       = 32 // of SHA-256
	IVSize        = 16
	stateSize     = 96
)

// Offsets of the fields of a header (se_def_metadata.h).
const (
	atMagic           = 0
	atProtocol        = 4
	atVersion         = 6
	atSize            = 8
	atPartOffset      = 12
	atPartSize        = 16
	atTag             = 20
	atPartTag         = 52
	atIV              = 84 // with AES-CBC; without encryption the reserved bytes begin here
	atReservedCBC     = 100
	atSignature       = 128
	atState           = 192
	atPrevFingerprint = 288
)

// Protocol is the version of the header that prepareimage.py writes.
const Protocol = 1

// MaxSlot bounds the slots of a device, in bytes.
const MaxSlot = 16 << 20

// Scheme is what a bootloader is built to check and decrypt
// (SECBOOT_CRYPTO_SCHEME).
type Scheme int

// The schemes. The zero value is none.
const (
	Clear  Scheme = iota + 1 // ECDSA P-256, SHA-256, firmware in the clear
	AESCBC                   // the same, firmware encrypted with AES-128-CBC
	AESGCM                   // AES-128-GCM for everything; not supported
)

// String returns "ecdsa-clear", "ecdsa-aes-cbc" or "aes-gcm".
func (s Scheme) String() string {
	switch s {
	case Clear:
		return "ecdsa-clear"
	case AESCBC:
		return "ecdsa-aes-cbc"
	case AESGCM:
		return "aes-gcm"
	}
	return fmt.Sprintf("scheme %d", int(s))
}

// Header is the description of a firmware.
type Header struct {
	Magic      [4]byte // "SFU1" to "SFU3": which active slot it is for
	Protocol   uint16
	Version    uint16
	Size       uint32 // of the whole firmware in the clear, in bytes
	PartOffset uint32 // where the part begins in the firmware; 0 for a whole one
	PartSize   uint32 // of the part; Size for a whole one
	Tag        [TagSize]byte
	PartTag    [TagSize]byte // SHA-256 of the part in the clear
	IV         [IVSize]byte  // with AESCBC
	Reserved   []byte        // 44 bytes, or 28 with AESCBC
	Signature  [signatureSize]byte
	State      [stateSize]byte // three fields that the device clears; 0xff in a package
	Previous   [TagSize]byte   // fingerprint of the firmware before; 0 in a package
}

// Slot returns the number of the active slot, from 1; 0 for another magic.
func (h *Header) Slot() int {
	for n, magic := range []string{"SFU1", "SFU2", "SFU3"} {
		if string(h.Magic[:]) == magic {
			return n + 1
		}
	}
	return 0
}

// Partial reports whether the package carries a part of the firmware.
func (h *Header) Partial() bool { return h.PartOffset != 0 || h.PartSize != h.Size }

// Signed returns the bytes that the signature covers.
func (h *Header) Signed() []byte { return h.Encode()[:signedSize] }

// Encode returns the [HeaderSize] bytes that [ParseHeader] reads. Reserved bytes
// fill what is left before the signature: 44, or 28 behind an IV.
func (h *Header) Encode() []byte {
	b := make([]byte, HeaderSize)
	copy(b, h.Magic[:])
	binary.LittleEndian.PutUint16(b[atProtocol:], h.Protocol)
	binary.LittleEndian.PutUint16(b[atVersion:], h.Version)
	binary.LittleEndian.PutUint32(b[atSize:], h.Size)
	binary.LittleEndian.PutUint32(b[atPartOffset:], h.PartOffset)
	binary.LittleEndian.PutUint32(b[atPartSize:], h.PartSize)
	copy(b[atTag:], h.Tag[:])
	copy(b[atPartTag:], h.PartTag[:])
	copy(b[atIV:], h.IV[:])
	copy(b[max(atIV, atSignature-len(h.Reserved)):atSignature], h.Reserved)
	copy(b[atSignature:], h.Signature[:])
	copy(b[atState:], h.State[:])
	copy(b[atPrevFingerprint:], h.Previous[:])
	return b
}

// ParseHeader reads the first [HeaderSize] bytes of a package as a bootloader of
// a scheme does, which looks at none of them while reading. It refuses input
// that is shorter, the AES-GCM scheme, and headers that are made for it.
func ParseHeader(b []byte, scheme Scheme) (*Header, error) {
	if len(b) < HeaderSize {
		return nil, verdict.New(verdict.Truncated, "sbsfu: header", "%d bytes, want %d", len(b), HeaderSize)
	}
	if scheme != Clear && scheme != AESCBC {
		return nil, verdict.New(verdict.SFBScheme, "sbsfu: header", "%s has no signature, and is not supported", scheme)
	}
	if isGCM(b) {
		return nil, verdict.At(atSignature, verdict.SFBScheme, "sbsfu: header",
			"a message authentication code in place of a signature: made for the scheme %s, whose key lies in every device and can make packages", AESGCM)
	}
	return decode(b, scheme), nil
}

// isGCM reports whether a header is made for the AES-GCM scheme: there, reserved
// bytes lie where r is, which is never 0.
func isGCM(b []byte) bool {
	return blank(b[atSignature:atSignature+TagSize], 0) && !blank(b[atSignature:atState], 0)
}

// decode reads the fields of a header.
func decode(b []byte, scheme Scheme) *Header {
	h := Header{
		Protocol: binary.LittleEndian.Uint16(b[atProtocol:]), Version: binary.LittleEndian.Uint16(b[atVersion:]),
		Size: binary.LittleEndian.Uint32(b[atSize:]), PartOffset: binary.LittleEndian.Uint32(b[atPartOffset:]), PartSize: binary.LittleEndian.Uint32(b[atPartSize:]),
	}
	copy(h.Magic[:], b[atMagic:])
	copy(h.Tag[:], b[atTag:])
	copy(h.PartTag[:], b[atPartTag:])
	h.Reserved = slices.Clone(b[atIV:atSignature])
	if scheme == AESCBC {
		copy(h.IV[:], b[atIV:])
		h.Reserved = h.Reserved[atReservedCBC-atIV:]
	}
	copy(h.Signature[:], b[atSignature:])
	copy(h.State[:], b[atState:])
	copy(h.Previous[:], b[atPrevFingerprint:])
	return &h
}

// File is a package taken apart.
type File struct {
	Header  Header
	Payload []byte // the firmware or its part, as it is stored
}

// Parse reads a package strictly: besides what a bootloader looks at, it asks for
// everything to be as prepareimage.py writes it. offset is where the firmware
// begins, in bytes. The payload is not copied.
func Parse(b []byte, scheme Scheme, offset uint32) (*File, error) {
	h, err := ParseHeader(b, scheme)
	if err != nil {
		return nil, err
	}
	refuse := func(at int, reason verdict.Reason, detail string, args ...any) (*File, error) {
		return nil, verdict.At(int64(at), reason, "sbsfu", detail, args...)
	}
	end := uint64(offset) + uint64(h.PartSize)
	switch {
	case h.Slot() == 0:
		return refuse(atMagic, verdict.ImageMagic, "magic is %q, want SFU1, SFU2 or SFU3", h.Magic[:])
	case h.Protocol != Protocol:
		return refuse(atProtocol, verdict.SFBHeader, "protocol version %d, want %d", h.Protocol, Protocol)
	case offset < HeaderSize || offset > MaxSlot:
		return refuse(HeaderSize, verdict.ImageSizes, "firmware at %d, not behind the header or beyond the bound", offset)
	case h.sizes(scheme) != nil:
		return nil, h.sizes(scheme)
	case !blank(h.Reserved, 0):
		return refuse(atSignature-len(h.Reserved), verdict.ReservedBytes, "reserved bytes are not 0")
	case !blank(h.State[:], 0xff):
		return refuse(atState, verdict.SFBHeader, "state is not that of new firmware")
	case !blank(h.Previous[:], 0):
		return refuse(atPrevFingerprint, verdict.SFBHeader, "fingerprint of an earlier firmware")
	case uint64(len(b)) < end:
		return refuse(len(b), verdict.Truncated, "%d bytes, want %d", len(b), end)
	case uint64(len(b)) > end:
		return refuse(int(end), verdict.TrailingBytes, "%d bytes after the firmware", uint64(len(b))-end)
	case !blank(b[HeaderSize:offset], 0xff):
		return refuse(HeaderSize, verdict.SFBHeader, "what pads the header is not 0xff")
	}
	return &File{Header: *h, Payload: b[offset:end]}, nil
}

// sizes refuses a part that is not within the firmware, and one that AES-CBC
// cannot have encrypted.
func (h *Header) sizes(scheme Scheme) error {
	switch {
	case h.Size == 0 || h.PartSize == 0:
		return verdict.At(atSize, verdict.ImageSizes, "sbsfu", "firmware of %d bytes, of which %d are sent", h.Size, h.PartSize)
	case uint64(h.PartOffset)+uint64(h.PartSize) > uint64(h.Size):
		return verdict.At(atPartOffset, verdict.ImageSizes, "sbsfu", "%d bytes from %d on do not lie in a firmware of %d", h.PartSize, h.PartOffset, h.Size)
	case scheme == AESCBC && h.PartSize%IVSize != 0:
		return verdict.At(atPartSize, verdict.ImageSizes, "sbsfu", "%d bytes are no multiple of the cipher's %d", h.PartSize, IVSize)
	}
	return nil
}

// blank reports whether all bytes are v.
func blank(b []byte, v byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != v })
}
