package bootloader

import (
	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign/verdict"
)

// wolfBootProfile is update and start of wolfBoot. wolfBoot_start does not look at
// what wolfBoot_update returns, and boots what is in the boot partition.
func wolfBootProfile() Profile {
	const armored = "ARMORED builds (gcc and IAR on Arm)"
	p := Profile{
		Name: "wolfboot", Title: "wolfBoot",
		Source: Source{Project: "wolfSSL/wolfBoot", Version: "5c07c379", Files: []string{
			"src/update_flash.c", "src/image.c", "src/libwolfboot.c", "include/image.h",
		}},
		Verifier: "formats/wolfboot",
		Steps: []ProfileStep{
			{ID: Step(wolfboot.StepOpen), Input: "header: magic, size against the partition",
				Note:    "then, whether this or the running image has any firmware",
				Reasons: []verdict.Reason{verdict.ImageMagic, verdict.ImageExceedsSlot, verdict.ImageSizes}},
			{ID: Step(wolfboot.StepType), Input: "header: image type, of an application and for this build's signature",
				Note:    "this step and all that follow are left out when a swap is resumed",
				Reasons: []verdict.Reason{verdict.ImageType, verdict.SignatureType}},
			{ID: Step(wolfboot.StepSize), Input: "size against what the swap leaves of the boot partition", Reasons: []verdict.Reason{verdict.ImageExceedsSlot}},
			{ID: Step(wolfboot.StepIntegrity), Input: "digest TLV against the digest of the image", Compare: CompareConstantTime,
				Note:    armored + " compare twice by call and a third time inline, with a position witness and two loop counters",
				Reasons: []verdict.Reason{verdict.ImageHashMissing, verdict.ImageDigestMismatch}},
			{ID: Step(wolfboot.StepAuthenticity), Input: "key hint against the key store, then the signature", Compare: CompareConstantTime,
				Note: "the scan for the key; integrity is asserted again, the key's partition mask is checked",
				Reasons: []verdict.Reason{
					verdict.NoKnownKey, verdict.SignatureType, verdict.ImageHashMissing, verdict.ImageDigestMismatch, verdict.KeyPartition,
					verdict.Unsigned, verdict.SignatureLength, verdict.SignatureInvalid,
				}},
			{ID: Step(wolfboot.StepSanity), Input: "flags of open, integrity and authenticity", OnFail: Halt,
				Note:    "PART_SANITY_CHECK; in " + armored + " the flags are stored with complements between canaries",
				Reasons: []verdict.Reason{verdict.FlowControl}},
			{ID: Step(wolfboot.StepVersion), Input: "version against the running image",
				Note:    "left out for a fallback and for an emergency update; " + armored + " read and compare the versions again",
				Reasons: []verdict.Reason{verdict.VersionDowngrade}},
		},
		Rollback: Rollback{
			Of: "version of the running image; there is no separate counter", Rule: "above",
			Raised: "with the swap, since the floor is what runs",
		},
		Trial: Trial{Attempts: 1, Marker: "partition state TESTING", Revert: "swaps back at the next boot"},
		Writes: []Write{
			{"at each sector of the swap", "flags of the sector"},
			{"after the swap", "state TESTING, then the update partition's trailer is erased"},
			{"when the firmware confirms itself", "state SUCCESS"},
		},
		EveryBoot: "open, integrity, authenticity, sanity. A bad image brings about an emergency update, which may be older; when that fails too, nothing boots",
		Hardening: "none in the plain build; " + armored + ": doubled compares, flags with complements, steps in assembly with repeated tests. States only clear bits",
		Geometry:  Geometry{Note: "the port's"},
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.OnFail == "" {
			s.OnFail = BootOld
		}
		if s.Compare == "" {
			s.Compare = CompareNone
		}
	}
	return p
}
