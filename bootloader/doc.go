// Package bootloader is the reference verifier: Go code that makes the checks
// of a chip's bootloader, in the same order, over the same bytes.
//
// [Verify] takes a device (chip, identity, rollback floor, keys) and what the
// device would receive (envelope and payload), and returns a [Trace] with the
// verdict of each check and, if all pass, a *[Verified]. It needs no HSM, no
// network and an amount of memory that does not depend on the image.
//
// The claim is "same checks, same order", never "constant time on your chip".
// Digests and identifiers are compared with crypto/subtle on fixed-size arrays
// because it costs nothing; what is secret here is the content key and the
// device's private key, and these are handled by package encrypt alone.
//
// A chip is data, see [Chip]: flash geometry, key slots and the order of checks.
//
// [Rehearsal] puts the chips of a product together on simulated flash. Their
// bootloaders stage, commit, boot, confirm and revert a release while the power
// fails at every flash operation; see docs/rehearsal.md.
package bootloader
