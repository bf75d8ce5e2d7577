package bootloader

// The profiles of this file are data only: no package here makes their checks.

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

// sbsfu is ST's secure boot and secure firmware update (X-CUBE-SBSFU).
func sbsfu() Profile {
	return Profile{
		Name: "sbsfu", Title: "ST X-CUBE-SBSFU",
		Source: Source{Project: "X-CUBE-SBSFU (mirrors STChens/SBSFU_G4_SPDM_Demo, tohidg-fcs/st_sbsfu)", Version: "unknown", Files: []string{
			"SBSFU/App/sfu_boot.c", "SBSFU/App/sfu_fwimg_common.c", "SBSFU/App/sfu_boot.h",
		}},
		Steps: []ProfileStep{
			{ID: "candidate-header", Input: "header signature of the downloaded image", Compare: CompareUnknown, OnFail: UnknownResponse, Note: "in ST's crypto library"},
			{ID: "version", Input: "version against the active image and the first version allowed", Compare: CompareNone, OnFail: Erase,
				Note: "called twice; without a valid active header only the initial version passes"},
			{ID: "header", Input: "header: magic, reserved bytes zero, then the header signature", Compare: CompareConstantTime, OnFail: EraseKeepHeader,
				Note: "the reserved bytes, by an OR over all of them"},
			{ID: "image", Input: "tag of the image (SHA-256, or of AES-GCM) against the header", Compare: CompareDoubled, OnFail: EraseKeepHeader,
				Secret: "an authentication tag in the AES-GCM scheme, and the hash of decrypted content where the image is encrypted",
				Note:   "an OR over all bytes; the tag is kept and compared again before the jump"},
			{ID: "rest-blank", Input: "the rest of the slot is blank", Compare: CompareUnknown, OnFail: EraseKeepHeader},
			{ID: "flow", Input: "flow control word against the constant of a complete run", Compare: CompareNone, OnFail: Halt},
			{ID: "execute", Input: "header signature once more, saved tag once more, flow control word", Compare: CompareConstantTime, OnFail: UnknownResponse,
				Note: "a wrong flow control word halts; it is tested again right before the jump"},
		},
		Rollback: Rollback{
			Of: "version in the header of the active slot", Rule: "not below",
			Raised: "with the swap: an erased slot keeps its header",
		},
		Trial: Trial{
			Attempts: 1, Marker: "state SELFTEST in the header", Revert: "a start that finds SELFTEST marks the image invalid and goes back",
		},
		Writes: []Write{
			{"after the swap", "header of the active slot"},
			{"before the first start", "state: NEW to SELFTEST"},
			{"when the firmware confirms itself", "state: SELFTEST to VALID"},
		},
		EveryBoot: "header, image, rest-blank, flow and execute, for each configured slot",
		Hardening: "flow control word, checks made twice, decision code compiled without optimisation, services locked twice; the watchdog is fed in long loops",
		Geometry:  Geometry{Note: "of the STM32 family; states are fields of 32 bytes that are cleared"},
	}
}
