// Package firmware reads firmware files as toolchains write them (raw binary,
// Intel HEX, Motorola S-records, ELF) into a [formats.Image], and writes Images
// as raw binary and Intel HEX.
//
//	f, err := os.Open("build/app.hex")
//	image, format, err := firmware.Load(f, firmware.Options{})
//
// The format is found by content. Only a raw binary needs to be told where it
// goes, [Options.Base]; the others carry addresses, and refuse one.
//
// # What is refused
//
// A firmware file is untrusted and what comes out of here is signed, so
// everything that two tools could read in two ways is an error: wrong
// checksums and lengths, data after the end record, a missing end record,
// addresses that get two bytes (also equal ones), addresses past 2^32. Errors
// are *verdict.Error; they name the line of a text file, or the byte offset in
// an ELF file, and say where it happened in addresses.
//
// One bound, [Options.MaxSize], holds for the number of data bytes and for the
// span from the lowest to the highest address. Memory grows with the bytes that
// were really read, never with a length or an address that the file claims. A
// file with the words of an nRF52's UICR at 0x10001000 beside its code is the
// usual one whose span is too wide: UICR is not part of an update, and has to
// be cut off by whoever makes the file.
//
// # Intel HEX
//
// Record types 00 to 05 (Intel, Hexadecimal Object File Format Specification,
// revision A), digits in either case, lines that end in LF or CRLF, blank lines
// only after the end-of-file record. Where the specification leaves room, this
// package follows srec_cat:
//
//   - The last record of type 02 or 04 alone decides the base; the other kind
//     does not add to it, as it does in the readers of binutils.
//   - After type 02, a data record that passes offset 0xFFFF goes on at offset 0
//     of the same segment. After type 04, or with neither, addresses are linear
//     and a record may pass a 64 KiB boundary.
//   - Start addresses (types 03 and 05) are checked for form and dropped: where
//     an MCU starts is in its vector table.
//
// # S-records
//
// S0 (first line only, may be absent), data in S1, S2 and S3, mixed at will and
// linear in 32 bits, counts S5 and S6, and S7, S8 or S9 at the end, whichever
// width the data has. As srec_cat writes no S7, S8 or S9 unless it knows an
// execution start, a file may also end with its count.
//
// # ELF
//
// 32-bit little-endian ARM executables. An image is made of the PT_LOAD
// segments that have bytes in the file, at their physical addresses (p_paddr):
// initialised data is where it lies in flash, not where it is copied to.
// Padding between the sections of one segment is part of the image; objcopy
// leaves it out of a hex file.
//
// GNU ld and lld place the ELF headers themselves into the first segment where
// the addresses leave room below the code, for example when an image is linked
// 0x200 bytes into its slot to make room for a boot header. Those bytes are cut
// off: such a segment begins with its first allocated section, as it does for
// objcopy. Apart from that the section table is not read.
package firmware
