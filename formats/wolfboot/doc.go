// Package wolfboot reads images of wolfBoot and makes the checks of its update in
// the bootloader's order. It does not write images.
//
// An image is a header of fixed size, which the build decides, and the firmware.
// The header begins with "WOLF" and the size of the firmware; TLVs follow, each
// with type and length in 16 bits. All numbers are little endian. The digest is
// over the header up to its own TLV and over the firmware; the signature, r‖s in
// big endian, is over that digest. So what lies behind the digest is not signed.
//
// Supported are builds with SIGN=ECC256 and HASH=SHA256 for a little-endian
// target, without encryption, delta updates or hybrid signatures. An image for
// another signature is refused as that build refuses it; a delta update is an
// error that wraps [ErrUnsupported].
//
// Source: wolfSSL/wolfBoot at 5c07c379, src/update_flash.c (wolfBoot_update),
// src/image.c, src/libwolfboot.c (wolfBoot_find_header), include/wolfboot/wolfboot.h.
package wolfboot
