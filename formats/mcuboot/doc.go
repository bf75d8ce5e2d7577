// Package mcuboot builds, reads and verifies the images of the MCUboot
// bootloader: byte for byte what imgtool writes, and accepted exactly where
// bootutil accepts. Facts are those of mcu-tools/mcuboot, main branch at
// 2d4bacc3 (2026-07-22), imgtool 2.4.0; paths in comments are of that
// repository. docs/mcuboot.md says what differs on purpose.
//
// A [Target] is one bootloader build and the device it runs on: what it
// verifies, with which keys, in which flash. Building and verifying look at the
// same one, so that what a device would refuse is refused when it is built.
//
//	draft, err := mcuboot.Build(payload, mcuboot.Options{Target: target, Version: v, HeaderSize: 0x200, PadHeader: true, Keys: keys}, rand.Reader)
//	signatures, err := sign.Answer(ctx, draft.Requests(), signers)
//	file, err := draft.Finish(signatures)
//	verified, trace, err := mcuboot.Verify(ctx, file, target)
//
// The signature covers neither content key nor recipient, so that one signature
// serves any number of devices with keys of their own:
//
//	signed, err := draft.Sign(signatures)
//	for _, device := range recipients {
//		err = signed.EncryptFor(w, device, rand.Reader) // a fresh content key each
//	}
//
// # Layout
//
// All integers are little endian (boot/bootutil/include/bootutil/image.h).
//
//	header, 32 bytes, and padding up to its hdr_size
//	payload, img_size bytes; the only part that is ever encrypted
//	protected TLV area, protect_tlv_size bytes; absent when that is 0
//	unprotected TLV area
//	nothing, or erased flash and the trailer of the slot
//
// Hash and signature cover everything up to the unprotected area, the payload
// in the clear.
package mcuboot
