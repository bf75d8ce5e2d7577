package nrfdfu

import (
	"fmt"
	"slices"
)

// Bounds of an init packet, from the bootloader's dfu-cc.options and
// nrf_dfu_types.h.
const (
	MaxPacket         = 512 // bytes of an init packet, settings version 2
	MaxPacketV1       = 256 // bytes of an init packet, settings version 1
	MaxSoftDevices    = 16  // entries of InitCommand.SDReq
	MaxBootValidation = 3   // entries of InitCommand.BootValidations

	hashSize      = 32 // bytes of a SHA-256
	signatureSize = 64 // bytes of r‖s
)

// FirmwareType says what an init packet updates. The bootloader goes by it
// alone, not by the name that the package has for the image.
type FirmwareType uint8

// Firmware types (dfu-cc.proto, FwType).
const (
	TypeApplication          FirmwareType = 0
	TypeSoftDevice           FirmwareType = 1
	TypeBootloader           FirmwareType = 2
	TypeSoftDeviceBootloader FirmwareType = 3 // the SoftDevice, directly followed by the bootloader
	TypeExternalApplication  FirmwareType = 4 // for another device, behind this one
)

// String returns the name that dfu-cc.proto has for the type.
func (t FirmwareType) String() string {
	return enumName("type", uint8(t), "APPLICATION", "SOFTDEVICE", "BOOTLOADER", "SOFTDEVICE_BOOTLOADER", "EXTERNAL_APPLICATION")
}

// hasSoftDevice and hasBootloader test bits, as the bootloader does: they are
// meant for the types 1 to 3, but it asks them of any type that is no
// application.
func (t FirmwareType) hasSoftDevice() bool { return t&TypeSoftDevice != 0 }
func (t FirmwareType) hasBootloader() bool { return t&TypeBootloader != 0 }

// HashType is the algorithm of an init packet's firmware hash.
type HashType uint8

// HashSHA256 is the only hash that a bootloader accepts.
const HashSHA256 HashType = 3

// String returns the name that dfu-cc.proto has for the type.
func (t HashType) String() string {
	return enumName("hash", uint8(t), "NO_HASH", "CRC", "SHA128", "SHA256", "SHA512")
}

// SignatureType is the algorithm of an init packet's signature.
type SignatureType uint8

// ECDSAP256SHA256 is the only signature that a bootloader accepts.
const ECDSAP256SHA256 SignatureType = 0

// String returns the name that dfu-cc.proto has for the type.
func (t SignatureType) String() string {
	return enumName("signature", uint8(t), "ECDSA_P256_SHA256", "ED25519")
}

// ValidationType is the check that the bootloader makes of a part whenever it
// starts.
type ValidationType uint8

// Validation types (dfu-cc.proto, ValidationType). Only ValidateECDSA carries
// bytes in the init packet; CRC and hash are computed by the device.
const (
	NoValidation   ValidationType = 0
	ValidateCRC    ValidationType = 1 // CRC-32
	ValidateSHA256 ValidationType = 2
	ValidateECDSA  ValidationType = 3 // ECDSA P-256 over the part's bytes
)

// String returns the name that pc-nrfutil has for the type.
func (t ValidationType) String() string {
	return enumName("validation", uint8(t), "NO_VALIDATION", "VALIDATE_GENERATED_CRC", "VALIDATE_GENERATED_SHA256", "VALIDATE_ECDSA_P256_SHA256")
}

func enumName(kind string, v uint8, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", kind, v)
}

// InitCommand is what the signature of an init packet covers. Fields are
// pointers where the bootloader asks whether they are present.
type InitCommand struct {
	FWVersion *uint32
	HWVersion *uint32
	// SDReq lists the firmware ids of the SoftDevices that the update may be
	// installed beside, in an order that matters: a leading 0 says that the
	// SoftDevice is not needed and may be overwritten.
	SDReq                   []uint32
	Type                    *FirmwareType
	SDSize, BLSize, AppSize *uint32 // in bytes
	Hash                    *Hash
	IsDebug                 *bool
	BootValidations         []BootValidation
}

// Hash names the firmware file.
type Hash struct {
	Type HashType
	Sum  []byte // byte-reversed, at most 32 bytes

	// stored is the bootloader's buffer. What a shorter sum leaves of it is
	// zero, or the rest of a longer sum that the packet gave before.
	stored [hashSize]byte
}

// BootValidation says how a part is checked at every start.
type BootValidation struct {
	Type  ValidationType
	Bytes []byte // ValidateECDSA: r‖s, each half byte-reversed; else empty
}

// stored returns the bootloader's copy of the bytes, zero where there are less
// than 64.
func (v BootValidation) stored() []byte {
	b := make([]byte, signatureSize)
	copy(b, v.Bytes)
	return b
}

// Signature is the signature of an init packet as it stands there.
type Signature struct {
	Type  SignatureType
	Bytes []byte // r‖s, each half byte-reversed
}

// Packet is an init packet, the .dat file of an image.
type Packet struct {
	OpCode    *uint8 // 1 is INIT; the bootloader does not look at it
	Init      InitCommand
	Signature *Signature // nil in an unsigned packet

	raw    []byte // as parsed
	signed []byte // what the bootloader takes for the bytes of the InitCommand
}

const opCodeInit = 1

// Protobuf wire types and field numbers (dfu-cc.proto).
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5

	packetCommand       = 1
	packetSignedCommand = 2

	signedCommand       = 1
	signedSignatureType = 2
	signedSignature     = 3

	commandOpCode = 1
	commandInit   = 2

	initFWVersion      = 1
	initHWVersion      = 2
	initSDReq          = 3
	initType           = 4
	initSDSize         = 5
	initBLSize         = 6
	initAppSize        = 7
	initHash           = 8
	initIsDebug        = 9
	initBootValidation = 10

	// Hash and BootValidation have the same shape.
	taggedType  = 1
	taggedBytes = 2
)

// SignedBytes returns the bytes that the signature is made over. Of a parsed
// packet these are the ones that stand in it, whatever their encoding: the
// bootloader hashes all that follows the length of the init field in the
// command.
func (p Packet) SignedBytes() []byte {
	if p.raw != nil {
		return slices.Clone(p.signed)
	}
	return p.Init.encode()
}

// Encode returns the packet in its canonical encoding: fields in the order of
// their numbers, shortest varints, SDReq packed. Fields that are nil are left
// out; pc-nrfutil and [Build] write all of them.
func (p Packet) Encode() []byte {
	if p.Signature == nil {
		return appendBytes(nil, packetCommand, p.command())
	}
	signed := appendBytes(nil, signedCommand, p.command())
	signed = appendUint(signed, signedSignatureType, uint64(p.Signature.Type))
	signed = appendBytes(signed, signedSignature, p.Signature.Bytes)
	return appendBytes(nil, packetSignedCommand, signed)
}

// command returns the Command message, which has the InitCommand in it.
func (p Packet) command() []byte {
	var b []byte
	if p.OpCode != nil {
		b = appendUint(b, commandOpCode, uint64(*p.OpCode))
	}
	return appendBytes(b, commandInit, p.Init.encode())
}

// NonCanonical returns the offset of the first byte at which a parsed packet
// differs from its canonical encoding, and whether there is one. Such a packet
// is as good as any other to a bootloader, but tools that parse and encode
// again find its signature wrong.
func (p Packet) NonCanonical() (offset int, ok bool) {
	if p.raw == nil {
		return 0, false
	}
	canonical := p.Encode()
	for i := range min(len(canonical), len(p.raw)) {
		if canonical[i] != p.raw[i] {
			return i, true
		}
	}
	return min(len(canonical), len(p.raw)), len(canonical) != len(p.raw)
}

func (c InitCommand) encode() []byte {
	var b []byte
	optional := func(field int, v *uint32) {
		if v != nil {
			b = appendUint(b, field, uint64(*v))
		}
	}
	optional(initFWVersion, c.FWVersion)
	optional(initHWVersion, c.HWVersion)
	if len(c.SDReq) > 0 {
		var packed []byte
		for _, id := range c.SDReq {
			packed = appendVarint(packed, uint64(id))
		}
		b = appendBytes(b, initSDReq, packed)
	}
	if c.Type != nil {
		b = appendUint(b, initType, uint64(*c.Type))
	}
	optional(initSDSize, c.SDSize)
	optional(initBLSize, c.BLSize)
	optional(initAppSize, c.AppSize)
	if c.Hash != nil {
		b = appendTagged(b, initHash, uint8(c.Hash.Type), c.Hash.Sum)
	}
	if c.IsDebug != nil {
		debug := uint64(0)
		if *c.IsDebug {
			debug = 1
		}
		b = appendUint(b, initIsDebug, debug)
	}
	for _, v := range c.BootValidations {
		b = appendTagged(b, initBootValidation, uint8(v.Type), v.Bytes)
	}
	return b
}

func appendTagged(b []byte, field int, kind uint8, content []byte) []byte {
	m := appendUint(nil, taggedType, uint64(kind))
	return appendBytes(b, field, appendBytes(m, taggedBytes, content))
}

func appendUint(b []byte, field int, v uint64) []byte {
	return appendVarint(appendVarint(b, uint64(field)<<3|wireVarint), v)
}

func appendBytes(b []byte, field int, content []byte) []byte {
	b = appendVarint(appendVarint(b, uint64(field)<<3|wireBytes), uint64(len(content)))
	return append(b, content...)
}

// appendVarint writes base 128, low group first.
func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}
