// Package swap is MCUboot's boot flow on simulated flash, and its rehearsal: the
// update of one image to another in two slots, cut off at its flash operations.
//
// The modes are swap using move and overwrite-only, in the builds that Zephyr
// makes by default: one image, no encryption, MCUBOOT_VALIDATE_PRIMARY_SLOT,
// MCUBOOT_OVERWRITE_ONLY_FAST, erased flash reads 0xff. Facts are those of
// mcu-tools/mcuboot at 2d4bacc3 (2026-07-22); paths in comments are of that
// repository. The flow does what MCUboot does, its weaknesses included:
// docs/mcuboot.md says which the rehearsal finds.
package swap
