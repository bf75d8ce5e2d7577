package bootloader

// The profile of this file is data only: no package here makes its checks.

// wolfBoot is update and start of wolfBoot. wolfBoot_start does not look at what
// wolfBoot_update returns, and boots what is in the boot partition.
func wolfBoot() Profile {
	const armored = "ARMORED builds (gcc and IAR on Arm)"
	return Profile{
		Name: "wolfboot", Title: "wolfBoot",
		Source: Source{Project: "wolfSSL/wolfBoot", Version: "5c07c379", Files: []string{"src/update_flash.c", "src/image.c", "include/image.h"}},
		Steps: []ProfileStep{
			{ID: "open", Input: "header: magic, size", Compare: CompareNone, OnFail: BootOld},
			{ID: "type", Input: "header: image type, of an application and for this build's signature", Compare: CompareNone, OnFail: BootOld},
			{ID: "size", Input: "size against the partition", Compare: CompareNone, OnFail: BootOld},
			{ID: "integrity", Input: "digest TLV against the digest of the image", Compare: CompareConstantTime, OnFail: BootOld,
				Note: armored + " compare twice by call and a third time inline, with a position witness and two loop counters"},
			{ID: "authenticity", Input: "key hint against the key store, then the signature", Compare: CompareConstantTime, OnFail: BootOld,
				Note: "the scan for the key; integrity is asserted again, the key's partition mask is checked"},
			{ID: "sanity", Input: "flags of the two steps before", Compare: CompareNone, OnFail: BootOld,
				Note: "PART_SANITY_CHECK; in " + armored + " the flags are stored with complements between canaries"},
			{ID: "version", Input: "version against the running image", Compare: CompareNone, OnFail: BootOld,
				Note: "left out for a fallback and for an emergency update; " + armored + " read and compare the versions again"},
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
}
