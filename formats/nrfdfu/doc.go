// Package nrfdfu reads, builds and verifies the packages of Nordic's nRF5 SDK
// Secure DFU: a zip archive with a firmware file and an init packet for each
// image (pc-nrfutil, nordicsemi/dfu), and the settings page that a factory
// programs beside the first firmware.
//
// What is signed is small: the init packet's InitCommand, some 60 to 130 bytes,
// which holds the SHA-256 of the firmware. Two things are laid out backwards,
// and this package alone has to know it: r and s of a signature, each
// byte-reversed, and the firmware hash, all of it.
//
// # Building
//
// An application whose bootloader checks an ECDSA signature at every start
// carries that signature inside the InitCommand, which is then signed itself.
// So there are two stages, [BootDraft] and [Draft]; most packages have no
// requests in the first one, and [Build] leaves it out. Both are pure: the same
// options and signatures give the same bytes.
//
// # Reading
//
// [ParsePackage] takes the archive apart, [ParsePacket] an init packet, with
// all that the bootloader's protobuf reader takes. [Verify] makes the
// bootloader's checks in the bootloader's order and, when one fails, says which
// rule it was and what a phone will show. Neither was made from the tool that
// writes packages: pc-nrfutil never verifies one.
//
// # No encryption
//
// The bootloader has no decryption. A package for it holds the plain firmware;
// who wants to hide it on its way encrypts the package as a whole, and undoes
// that in the application or gateway that receives it.
package nrfdfu
