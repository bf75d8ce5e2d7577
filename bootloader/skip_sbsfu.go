package bootloader

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign"
)

// sbsfuOffset is where firmware begins in a slot, as in most of ST's projects.
const sbsfuOffset = 512

// sbsfuPackage signs a whole firmware in the clear, with a changed header.
func sbsfuPackage(ctx context.Context, signer sign.Signer, firmware []byte, change func(*sbsfu.Header)) ([]byte, error) {
	sum := sha256.Sum256(firmware)
	h := sbsfu.Header{
		Magic: [4]byte([]byte("SFU1")), Protocol: sbsfu.Protocol, Version: 2,
		Size: uint32(len(firmware)), PartSize: uint32(len(firmware)), Tag: sum, PartTag: sum, Reserved: make([]byte, 44),
	}
	for i := range h.State {
		h.State[i] = 0xff
	}
	if change != nil {
		change(&h)
	}
	s, err := signer.Sign(ctx, h.Signed())
	if err != nil {
		return nil, err
	}
	copy(h.Signature[:], s.Encode(sign.Raw))
	padding := slices.Repeat([]byte{0xff}, sbsfuOffset-sbsfu.HeaderSize)
	return slices.Concat(h.Encode(), padding, firmware), nil
}

// sbsfuBadImages are what an SBSFU for firmware in the clear must refuse.
func sbsfuBadImages(ctx context.Context) ([]badImage, error) {
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		return nil, err
	}
	stranger, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		return nil, err
	}
	device := sbsfu.Device{Scheme: sbsfu.Clear, Offset: sbsfuOffset, Slots: []sbsfu.Slot{
		{Size: 32 << 10, Key: signer.Public(), Installed: &sbsfu.Installed{Version: 2}},
	}}
	firmware := make([]byte, 4<<10)
	rand.Read(firmware)
	good, err := sbsfuPackage(ctx, signer, firmware, nil)
	if err != nil {
		return nil, err
	}
	evil := slices.Clone(firmware)
	slices.Reverse(evil)
	other, err := sbsfuPackage(ctx, stranger, evil, nil)
	if err != nil {
		return nil, err
	}
	h, err := sbsfu.ParseHeader(good, sbsfu.Clear)
	if err != nil {
		return nil, err
	}
	h.Tag = sha256.Sum256(evil)
	swapped := slices.Concat(h.Encode(), other[sbsfu.HeaderSize:])

	var all []badImage
	var errs error
	add := func(name, what string, file []byte) {
		all = append(all, badImage{name, what, func(ctx context.Context, without Step) (Trace, error) {
			trace, err := sbsfu.TraceWithout(ctx, file, device, sbsfu.Step(without))
			return fromSBSFU(trace), err
		}})
	}
	signed := func(firmware []byte, change func(*sbsfu.Header)) []byte {
		file, err := sbsfuPackage(ctx, signer, firmware, change)
		errs = errors.Join(errs, err)
		return file
	}
	add("wrong-key", "other firmware, signed with a key that the device does not know", other)
	add("digest-swapped", "other firmware, and its hash put into the signed header", swapped)
	add("other-slot", "made for a slot that the device does not have", signed(firmware, func(h *sbsfu.Header) { h.Magic[3] = '2' }))
	add("older", "an older release", signed(firmware, func(h *sbsfu.Header) { h.Version = 1 }))
	add("too-large", "larger than the slot", signed(make([]byte, 32<<10), nil))
	add("other-scheme", "made for encrypted firmware: an IV where bytes are reserved", signed(firmware, func(h *sbsfu.Header) { rand.Read(h.Reserved[:16]) }))
	add("flipped", "one bit of the firmware changed", skipFlip(good))
	add("truncated", "the last word of the firmware is missing", good[:len(good)-4])
	add("followed", "code behind the firmware", slices.Concat(good, evil))
	return all, errs
}
