// Package sbsfu reads packages of ST's secure boot and secure firmware update,
// X-CUBE-SBSFU (.sfb), and makes the checks of its bootloader in the
// bootloader's order. It does not write packages.
//
// A package is a header of 320 bytes, 0xff up to the offset of the firmware,
// which is a constant of the project, and the firmware or the part of it that
// changes. All numbers are little endian, the ECDSA signature is r‖s in big
// endian. [ParseHeader] has the layout. Which of the schemes a header is made
// for does not stand in it: the project decides.
//
// Of the schemes, ECDSA P-256 with SHA-256 is supported, with the firmware in
// the clear or encrypted with AES-128-CBC, whole or in part. The AES-GCM scheme
// has no signature at all: the key that checks a package also makes it, lies in
// every device, and is used for header and firmware with one nonce. It is
// refused with [verdict.SFBScheme].
//
// Sources: SE_FwRawHeaderTypeDef in se_def_metadata.h, and prepareimage.py, both
// of X-CUBE-SBSFU; for the checks sfu_fwimg_common.c, sfu_fwimg_services.h and
// sfu_boot.c in the mirror STChens/SBSFU_G4_SPDM_Demo.
package sbsfu
