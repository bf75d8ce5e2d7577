package bootloader

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign"
)

// wolfBootCase is an image of an application, and how it is spoiled.
type wolfBootCase struct {
	signer   sign.Signer // nil: the device's
	version  uint32      // 0: the good one
	kind     uint16      // 0: an application, ECC256
	claimed  sign.PublicKey
	unsigned bool
	firmware []byte // nil: the good one
}

// build lays an image out: TLVs with 0xff between them, so that each value begins
// at a multiple of eight.
func (c wolfBootCase) build(ctx context.Context) ([]byte, error) {
	b := binary.LittleEndian.AppendUint32([]byte(wolfboot.Magic), uint32(len(c.firmware)))
	put := func(kind wolfboot.Type, value []byte) {
		for len(b)%8 != 4 {
			b = append(b, 0xff)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(kind))
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	hint := sha256.Sum256(c.claimed.Point()[1:])
	put(wolfboot.TypeVersion, binary.LittleEndian.AppendUint32(nil, c.version))
	put(wolfboot.TypeImage, binary.LittleEndian.AppendUint16(nil, c.kind))
	put(wolfboot.TypeKeyHint, hint[:])
	for len(b)%8 != 4 {
		b = append(b, 0xff)
	}
	sum := sha256.Sum256(slices.Concat(b, c.firmware))
	put(wolfboot.TypeSHA256, sum[:])
	if !c.unsigned {
		s, err := c.signer.SignDigest(ctx, sum[:])
		if err != nil {
			return nil, err
		}
		put(wolfboot.TypeSignature, s.Encode(sign.Raw))
	}
	padding := slices.Repeat([]byte{0xff}, wolfboot.MinHeader-len(b))
	return slices.Concat(b, padding, c.firmware), nil
}

// wolfBootBadImages are what a wolfBoot for ECC256 and SHA-256 must refuse.
func wolfBootBadImages(ctx context.Context) ([]badImage, error) {
	var keys [3]sign.Signer
	for i := range keys {
		s, err := sign.Throwaway(sign.ESP256)
		if err != nil {
			return nil, err
		}
		keys[i] = s
	}
	signer, stranger, loader := keys[0], keys[1], keys[2]
	device := wolfboot.Device{
		PartitionSize: 32 << 10, SectorSize: 4 << 10, Running: &wolfboot.Running{Version: 2, Size: 4 << 10},
		Keys: []wolfboot.Key{{Public: signer.Public(), Partitions: wolfboot.AllPartitions}, {Public: loader.Public(), Partitions: 1}},
	}
	firmware := make([]byte, 4<<10)
	rand.Read(firmware)

	var all []badImage
	var errs error
	add := func(name, what string, file []byte) {
		all = append(all, badImage{name, what, func(ctx context.Context, without Step) (Trace, error) {
			trace, err := wolfboot.TraceWithout(ctx, file, device, wolfboot.Step(without))
			return fromWolfBoot(trace), err
		}})
	}
	build := func(c wolfBootCase) []byte {
		if c.signer == nil {
			c.signer = signer
		}
		if c.claimed.IsZero() {
			c.claimed = c.signer.Public()
		}
		if c.version == 0 {
			c.version = 3
		}
		if c.kind == 0 {
			c.kind = 0x0201
		}
		if c.firmware == nil {
			c.firmware = firmware
		}
		file, err := c.build(ctx)
		errs = errors.Join(errs, err)
		return file
	}
	good := build(wolfBootCase{})
	evil := slices.Clone(firmware)
	slices.Reverse(evil)
	add("wrong-key", "other firmware, signed with a key that the device does not know", build(wolfBootCase{signer: stranger, firmware: evil}))
	add("claimed-key", "the same, with the hint of a key that it knows", build(wolfBootCase{signer: stranger, claimed: signer.Public(), firmware: evil}))
	add("loader-key", "signed with a key for the bootloader itself", build(wolfBootCase{signer: loader}))
	add("unsigned", "no signature", build(wolfBootCase{unsigned: true}))
	add("flipped", "one bit of the firmware changed", skipFlip(good))
	add("truncated", "the last word of the firmware is missing", good[:len(good)-4])
	add("bad-magic", "does not begin with the magic number", slices.Concat([]byte("FLOW"), good[4:]))
	add("beyond", "larger than the partition", build(wolfBootCase{firmware: make([]byte, 32<<10)})[:32<<10])
	add("too-large", "into the trailer of the partition", build(wolfBootCase{firmware: make([]byte, 28<<10)}))
	add("other-type", "an image of the bootloader", build(wolfBootCase{kind: 0x0200}))
	add("other-signature", "of a type that is signed with Ed25519", build(wolfBootCase{kind: 0x0101}))
	add("older", "an older release", build(wolfBootCase{version: 1}))
	add("same", "the same version once more", build(wolfBootCase{version: 2}))
	return all, errs
}
