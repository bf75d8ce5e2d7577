// Package hpatchlite writes and reads patches of HPatchLite, for devices whose
// bootloader has its decoder (hpatch_lite.c with tuz_dec.c, MIT). Everything is
// in memory:
//
//	patch, err := hpatchlite.Encode(ctx, old, image, hpatchlite.DefaultDictionary)
//	image, err := hpatchlite.Decode(old, patch, limit)
//
// A patch says how to make the new image from the old one, in the order of the
// new image: copy a range of the old image and add differences to it, or take
// bytes as they are. All of it but the header is compressed with tinyuz.
//
//	"hI"
//	1 byte   compression: 0 none, 1 tinyuz
//	1 byte   bits 7-6 version 1, 5-3 size of the body's length, 2-0 size of the
//	         new image's length, in bytes
//	         length of the new image, then of the uncompressed body (0 bytes
//	         when nothing is compressed), little-endian without leading zeros
//	body     number of ranges, then the ranges
//
// A range in the body:
//
//	number   length
//	step     from the end of the previous range of the old image to this one.
//	         First byte: bit 7 the differences are all zero and left out, bit 6
//	         backwards, bit 5 more groups follow, 4-0 value
//	number   new bytes before the range, which follow
//	bytes    new less old, modulo 256, one for each byte of the range
//
// Numbers are big-endian groups of seven bits; bit 7 says that another group
// follows. The last range ends where the new image ends; it alone may be empty.
//
// Source: hpatch_lite.c of HDiffPatch (MIT), tuz_dec.c of tinyuz (MIT), read as
// a description. A patch has no digest of anything: compare that of the image.
package hpatchlite
