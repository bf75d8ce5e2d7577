// Package detools writes and reads sequential patches of detools, for devices
// whose bootloader has detools.c (BSD-2), among them those with Espressif's
// delta update component. Everything is in memory:
//
//	patch, err := detools.Encode(ctx, old, image, detools.Default)
//	image, err := detools.Decode(old, patch, limit)
//
// A patch is a header and a compressed stream:
//
//	1 byte   bits 6-4 kind of patch: 0 sequential; 3-0 compression: 2 CRLE,
//	         4 heatshrink
//	size     of the new image
//
// The stream begins with a size of 0 (nothing about data sections). Then, until
// the new image is complete:
//
//	size     of the differences
//	bytes    new less old, modulo 256
//	size     of the new bytes
//	bytes    new
//	size     by how much to move in the old image, which reading starts at 0
//
// The first byte of a size has six value bits, bit 6 for minus and bit 7 for
// more bytes, which have seven value bits each, the lowest first.
//
// Source: docs/index.rst and c/detools.c of detools, read as a description. A
// patch has no digest of anything: compare that of the image. What Espressif's
// component wants in front of a patch (64 bytes, with the digest of the old
// image) is not part of the format and not written.
package detools
