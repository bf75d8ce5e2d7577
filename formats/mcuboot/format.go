package mcuboot

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// object is what an image is called in errors.
const object = "mcuboot image"

// Sizes of the header, in bytes.
const (
	MinHeader = 32          // of which the fields take all; the rest is padding
	MaxHeader = 1<<16 - 1   // the field has 16 bits
	maxArea   = 1<<16 - 1   // of a TLV area with its info header, and of one value
	infoSize  = 4           // magic and total of a TLV area
	entrySize = 4           // type and length of a TLV
	magic     = 0x96f3_b83d // of an image
)

// Magic numbers of the TLV areas.
const (
	magicUnprotected = 0x6907
	magicProtected   = 0x6908
)

// Flags of a header (boot/bootutil/include/bootutil/image.h).
type Flags uint32

// Flags. The compression flags are read and never written.
const (
	PIC              Flags = 0x1   // not supported by any loader
	EncryptedAES128  Flags = 0x4   // payload is encrypted with AES-128
	EncryptedAES256  Flags = 0x8   // payload is encrypted with AES-256; never both
	NonBootable      Flags = 0x10  // the loader treats the slot as empty
	RAMLoad          Flags = 0x20  // the load address is the RAM address to copy to
	ROMFixed         Flags = 0x100 // the load address is the flash address that the image is linked for
	CompressedLZMA1  Flags = 0x200
	CompressedLZMA2  Flags = 0x400
	CompressedThumb  Flags = 0x800 // ARM Thumb filter, with CompressedLZMA2
	encryptionFlags        = EncryptedAES128 | EncryptedAES256
	compressionFlags       = CompressedLZMA1 | CompressedLZMA2 | CompressedThumb
)

var flagNames = []struct {
	flag Flags
	name string
}{
	{PIC, "pic"}, {EncryptedAES128, "encrypted-aes128"}, {EncryptedAES256, "encrypted-aes256"}, {NonBootable, "non-bootable"},
	{RAMLoad, "ram-load"}, {ROMFixed, "rom-fixed"}, {CompressedLZMA1, "compressed-lzma1"}, {CompressedLZMA2, "compressed-lzma2"},
	{CompressedThumb, "compressed-arm-thumb"},
}

// String lists the flags' names and, in hexadecimal, the bits without one.
func (f Flags) String() string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
			f &^= n.flag
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Encrypted reports whether one of the two encryption flags is set.
func (f Flags) Encrypted() bool { return f&encryptionFlags != 0 }

// Header is the 32 bytes that an image begins with.
type Header struct {
	LoadAddress   uint32
	HeaderSize    uint16 // with padding, in bytes
	ProtectedSize uint16 // of the protected TLV area with its info header; 0 when there is none
	PayloadSize   uint32 // with the zeros that encryption pads with
	Flags         Flags
	Version       Version
	Pad           uint32 // 0
}

// parseHeader reads the fields of at least MinHeader bytes.
func parseHeader(b []byte) (h Header, ok bool) {
	le := binary.LittleEndian
	h = Header{
		LoadAddress: le.Uint32(b[4:]), HeaderSize: le.Uint16(b[8:]), ProtectedSize: le.Uint16(b[10:]), PayloadSize: le.Uint32(b[12:]),
		Flags: Flags(le.Uint32(b[16:])), Version: parseVersionField(b[20:]), Pad: le.Uint32(b[28:]),
	}
	return h, le.Uint32(b) == magic
}

func (h Header) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, magic)
	b = le.AppendUint32(b, h.LoadAddress)
	b = le.AppendUint16(b, h.HeaderSize)
	b = le.AppendUint16(b, h.ProtectedSize)
	b = le.AppendUint32(b, h.PayloadSize)
	b = le.AppendUint32(b, uint32(h.Flags))
	b = h.Version.append(b)
	return le.AppendUint32(b, h.Pad)
}

// end returns the offset of the first byte after the payload.
func (h Header) end() uint64 { return uint64(h.HeaderSize) + uint64(h.PayloadSize) }

// Version is the version of an image. Its zero value is 0.0.0.
type Version struct {
	Major, Minor uint8
	Revision     uint16
	Build        uint32
}

var versionForm = regexp.MustCompile(`^(0|[1-9]\d*)(?:\.(0|[1-9]\d*)(?:\.(0|[1-9]\d*)(?:\+(0|[1-9]\d*))?)?)?$`)

// ParseVersion reads "major[.minor[.revision[+build]]]" in decimal without
// leading zeros (scripts/imgtool/version.py). Another form, and numbers that the
// header's fields of 8, 8, 16 and 32 bits do not hold, are refused with
// verdict.BadVersion.
func ParseVersion(s string) (Version, error) {
	parts := versionForm.FindStringSubmatch(s)
	if parts == nil {
		return Version{}, verdict.New(verdict.BadVersion, "mcuboot: version", "%q, want major.minor.revision+build", s)
	}
	var numbers [4]uint64
	for i, bits := range []int{8, 8, 16, 32} {
		if parts[i+1] == "" {
			continue
		}
		n, err := strconv.ParseUint(parts[i+1], 10, bits)
		if err != nil {
			return Version{}, verdict.New(verdict.BadVersion, "mcuboot: version", "%q: %s has %d bits and holds no %s", s,
				[]string{"major", "minor", "revision", "build"}[i], bits, parts[i+1])
		}
		numbers[i] = n
	}
	return Version{uint8(numbers[0]), uint8(numbers[1]), uint16(numbers[2]), uint32(numbers[3])}, nil
}

// String formats as "1.2.3", with "+4" where the build number is not 0.
func (v Version) String() string {
	s := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Revision)
	if v.Build != 0 {
		s += fmt.Sprintf("+%d", v.Build)
	}
	return s
}

// Counter returns the security counter that imgtool makes of a version for
// "-s auto": major, minor and revision in 8, 8 and 16 bits, without the build.
func (v Version) Counter() uint32 {
	return uint32(v.Major)<<24 | uint32(v.Minor)<<16 | uint32(v.Revision)
}

// Compare returns -1, 0 or 1. The build number counts only where withBuild is
// set, as in a bootloader with MCUBOOT_VERSION_CMP_USE_BUILD_NUMBER
// (boot/bootutil/src/bootutil_loader.c, boot_compare_version).
func (v Version) Compare(w Version, withBuild bool) int {
	c := cmp.Compare(v.Counter(), w.Counter())
	if c == 0 && withBuild {
		c = cmp.Compare(v.Build, w.Build)
	}
	return c
}

func parseVersionField(b []byte) Version {
	return Version{b[0], b[1], binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
}

func (v Version) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(append(b, v.Major, v.Minor), v.Revision)
	return binary.LittleEndian.AppendUint32(b, v.Build)
}

// Type says what a TLV holds.
type Type uint16

// Types of TLVs (boot/bootutil/include/bootutil/image.h), those of the
// unprotected area first.
const (
	TypeKeyHash     Type = 0x01 // hash of a public key's DER, as long as the image hash
	TypePublicKey   Type = 0x02 // a public key's DER
	TypeSHA256      Type = 0x10
	TypeSHA384      Type = 0x11
	TypeSHA512      Type = 0x12
	TypeRSA2048     Type = 0x20 // RSASSA-PSS
	TypeECDSA224    Type = 0x21 // no longer made or read
	TypeECDSA       Type = 0x22 // DER ECDSA-Sig-Value, on P-256 or P-384
	TypeRSA3072     Type = 0x23 // RSASSA-PSS
	TypeEd25519     Type = 0x24 // 64 bytes
	TypePure        Type = 0x25 // one byte, 1: the signature covers the image and not its hash
	TypeEncRSA      Type = 0x30 // content key for RSA-OAEP
	TypeEncKW       Type = 0x31 // content key, AES key wrap
	TypeEncP256     Type = 0x32 // content key, ECIES on P-256
	TypeEncX25519   Type = 0x33 // content key, ECIES on X25519
	TypeEncX25519H5 Type = 0x34 // the same with SHA-512

	TypeDependency  Type = 0x40 // image id and minimum version
	TypeCounter     Type = 0x50 // security counter, 4 bytes
	TypeBootRecord  Type = 0x60 // CBOR map for measured boot
	TypeDecompSize  Type = 0x70
	TypeDecompHash  Type = 0x71
	TypeDecompSig   Type = 0x72
	TypeCompDecSize Type = 0x73
	TypeVendor      Type = 0x74 // UUID
	TypeClass       Type = 0x75 // UUID
)

var typeNames = map[Type]string{
	TypeKeyHash: "KEYHASH", TypePublicKey: "PUBKEY", TypeSHA256: "SHA256", TypeSHA384: "SHA384", TypeSHA512: "SHA512",
	TypeRSA2048: "RSA2048_PSS", TypeECDSA224: "ECDSA224", TypeECDSA: "ECDSA_SIG", TypeRSA3072: "RSA3072_PSS", TypeEd25519: "ED25519",
	TypePure: "SIG_PURE", TypeEncRSA: "ENC_RSA2048", TypeEncKW: "ENC_KW", TypeEncP256: "ENC_EC256", TypeEncX25519: "ENC_X25519",
	TypeEncX25519H5: "ENC_X25519_SHA512", TypeDependency: "DEPENDENCY", TypeCounter: "SEC_CNT", TypeBootRecord: "BOOT_RECORD",
	TypeDecompSize: "DECOMP_SIZE", TypeDecompHash: "DECOMP_SHA", TypeDecompSig: "DECOMP_SIGNATURE", TypeCompDecSize: "COMP_DEC_SIZE",
	TypeVendor: "UUID_VID", TypeClass: "UUID_CID",
}

// String returns the name in image.h, or the number of a type without one.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("0x%04x", uint16(t))
}

// vendor reports whether a type is one of those that image.h leaves to vendors:
// xxA0 to xxFF, without 0xffff, which stands for any type.
func (t Type) vendor() bool { return t&0xff >= 0xa0 && t != 0xffff }

// isEncryption reports whether a TLV of this type holds a content key.
func (t Type) isEncryption() bool {
	return slices.Contains([]Type{TypeEncRSA, TypeEncKW, TypeEncP256, TypeEncX25519, TypeEncX25519H5}, t)
}

// TLV is one entry of a TLV area.
type TLV struct {
	Type  Type
	Value []byte // at most 65,535 bytes
}

// appendArea writes a TLV area with its info header.
func appendArea(b []byte, areaMagic uint16, entries []TLV) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, areaMagic)
	b = le.AppendUint16(b, uint16(areaSize(entries)))
	for _, e := range entries {
		b = le.AppendUint16(b, uint16(e.Type))
		b = le.AppendUint16(b, uint16(len(e.Value)))
		b = append(b, e.Value...)
	}
	return b
}

// areaSize is the length of an area with its info header.
func areaSize(entries []TLV) int {
	n := infoSize
	for _, e := range entries {
		n += entrySize + len(e.Value)
	}
	return n
}

// Dependency is the lowest version of another image that an image runs with.
type Dependency struct {
	Image   uint8 // counted from 0
	Minimum Version
}

const dependencySize = 12

func parseDependency(b []byte) Dependency { return Dependency{b[0], parseVersionField(b[4:])} }

func (d Dependency) value() []byte { return d.Minimum.append([]byte{d.Image, 0, 0, 0}) }

// String formats as "image 1 >= 2.0.0+7".
func (d Dependency) String() string { return fmt.Sprintf("image %d >= %s", d.Image, d.Minimum) }
