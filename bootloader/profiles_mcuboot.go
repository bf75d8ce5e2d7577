package bootloader

import (
	"slices"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign/verdict"
)

// mcubootSteps are the checks of boot_validate_slot (boot/bootutil/src/loader.c)
// and of what it calls, for an image in the secondary slot.
func mcubootSteps() []ProfileStep {
	steps := []ProfileStep{
		{ID: Step(mcuboot.StepBootable), Input: "header: erased, or flag NON_BOOTABLE", OnFail: BootOld,
			Note: "counts as an empty slot; the verifier goes on and says so"},
		{ID: Step(mcuboot.StepHeader), Input: "header: magic, sums of sizes, flags of what the build supports",
			Reasons: []verdict.Reason{
				verdict.ImageMagic, verdict.ImageSizes, verdict.EncryptionNotBuiltIn, verdict.EncryptionMode, verdict.EncryptionFlags,
				verdict.CompressionNotBuiltIn, verdict.Truncated, verdict.TLVLength,
			}},
		{ID: Step(mcuboot.StepContentKey), Input: "encryption TLV: HMAC tag of ECIES over the wrapped content key", Compare: CompareConstantTime,
			Secret: "tag under a key that follows from the device's key",
			Note:   "encrypted.c compares all bytes unless the crypto library has a compare of its own",
			Reasons: []verdict.Reason{
				verdict.RecipientKeyMissing, verdict.EncryptionTLV, verdict.EphemeralPoint, verdict.KeyUnwrap, verdict.Truncated,
				verdict.TLVLength, verdict.TLVMagic, verdict.ProtectedSize,
			}},
		{ID: Step(mcuboot.StepSize), Input: "end of the TLV areas against what the mode leaves of the slot",
			Note:    "made after the hash was computed",
			Reasons: []verdict.Reason{verdict.ImageExceedsSlot, verdict.ImageSizes}},
		{ID: Step(mcuboot.StepTLVs), Input: "TLV areas: magics, protected size, lengths, allow list of unprotected types",
			Reasons: []verdict.Reason{verdict.TLVMagic, verdict.TLVLength, verdict.TLVNotAllowed, verdict.ProtectedSize, verdict.Truncated}},
		{ID: Step(mcuboot.StepHash), Input: "hash TLV against the hash of header, payload in the clear and protected TLVs", Compare: CompareEarly,
			Secret: "hash of decrypted content, where the image is encrypted: the TLV is not signed, so whoever delivers the file chooses it",
			Note:   "boot_fih_memequal; memcmp where fault hardening is off. Builds for pure Ed25519 do not make it", Optional: true,
			Reasons: []verdict.Reason{verdict.ImageDigestMismatch, verdict.ImageHashMissing, verdict.TLVLength, verdict.Truncated}},
		{ID: Step(mcuboot.StepSignature), Input: "KEYHASH TLV against the hashes of the built-in keys, then the signature over the hash", Compare: CompareEarly,
			Note: "the key hash, by memcmp; all of it is public. Unknown keys are skipped, of known ones the last decides",
			Reasons: []verdict.Reason{
				verdict.SignatureInvalid, verdict.NoKnownKey, verdict.Unsigned, verdict.PureMissing, verdict.TLVLength, verdict.TLVMagic,
				verdict.ProtectedSize, verdict.Truncated,
			}},
		{ID: Step(mcuboot.StepCounter), Input: "security counter TLV against the stored counter",
			Note:    "builds with MCUBOOT_HW_ROLLBACK_PROT",
			Reasons: []verdict.Reason{verdict.CounterRollback, verdict.CounterMissing, verdict.TLVLength}},
		{ID: Step(mcuboot.StepVendor), Input: "vendor identifier TLV", Compare: CompareUnknown,
			Note:    "builds with MCUBOOT_UUID_VID; the port compares",
			Reasons: []verdict.Reason{verdict.VendorMismatch, verdict.UUIDMissing, verdict.TLVLength}},
		{ID: Step(mcuboot.StepClass), Input: "class identifier TLV", Compare: CompareUnknown,
			Note:    "builds with MCUBOOT_UUID_CID; the port compares",
			Reasons: []verdict.Reason{verdict.ClassMismatch, verdict.UUIDMissing, verdict.TLVLength}},
		{ID: Step(mcuboot.StepPlacement), Input: "load address against the primary slot",
			Note:    "builds with MCUBOOT_CHECK_HEADER_LOAD_ADDRESS",
			Reasons: []verdict.Reason{verdict.LoadAddress}},
		{ID: Step(mcuboot.StepDependencies), Input: "dependency TLVs against the versions of the other images", OnFail: BootOld,
			Note: "builds for more than one image; one that is not met cancels all pending updates",
			Reasons: []verdict.Reason{
				verdict.DependencyImage, verdict.DependencyUnmet, verdict.TLVLength, verdict.TLVMagic, verdict.ProtectedSize, verdict.Truncated,
			}},
		{ID: Step(mcuboot.StepStructure), Input: "the file as a whole", OnFail: Refuse, Ours: true,
			Note:    "what no tool makes, and the loader does not look at",
			Reasons: []verdict.Reason{verdict.HeaderSize, verdict.TLVMagic, verdict.TLVLength, verdict.ProtectedSize, verdict.EncryptionFlags, verdict.ImageMagic, verdict.Truncated}},
	}
	inFileOrder := []mcuboot.Step{
		mcuboot.StepSize, mcuboot.StepTLVs, mcuboot.StepHash, mcuboot.StepSignature, mcuboot.StepCounter, mcuboot.StepVendor, mcuboot.StepClass,
	}
	for i := range steps {
		s := &steps[i]
		if s.Compare == "" {
			s.Compare = CompareNone
		}
		if s.OnFail == "" {
			s.OnFail = Erase
		}
		s.InFileOrder = slices.Contains(inFileOrder, mcuboot.Step(s.ID))
	}
	return steps
}

var mcubootDowngrade = ProfileStep{
	ID: Step(mcuboot.StepDowngrade), Input: "version, or security counter, against the installed image", Compare: CompareNone, Optional: true,
	Note: "builds with MCUBOOT_DOWNGRADE_PREVENTION",
	Reasons: []verdict.Reason{
		verdict.VersionDowngrade, verdict.CounterRollback, verdict.CounterMissing, verdict.TLVLength, verdict.TLVMagic, verdict.ProtectedSize, verdict.Truncated,
	},
}

// insertStep puts a step before another.
func insertStep(steps []ProfileStep, s ProfileStep, before mcuboot.Step) []ProfileStep {
	at := slices.IndexFunc(steps, func(s ProfileStep) bool { return s.ID == Step(before) })
	return slices.Insert(steps, at, s)
}

func mcubootProfile(name, title string) Profile {
	return Profile{
		Name: name, Title: title,
		Source: Source{Project: "mcu-tools/mcuboot", Version: "2d4bacc3", Files: []string{
			"boot/bootutil/src/loader.c", "boot/bootutil/src/bootutil_loader.c", "boot/bootutil/src/image_validate.c",
			"boot/bootutil/src/tlv.c", "boot/bootutil/src/encrypted.c", "boot/bootutil/src/bootutil_public.c",
			"boot/bootutil/include/bootutil/fault_injection_hardening.h",
		}},
		Verifier:  "formats/mcuboot",
		EveryBoot: "the image in the primary slot, in builds with MCUBOOT_VALIDATE_PRIMARY_SLOT",
		Hardening: "off by default. Profiles up to HIGH: results as far-apart words, control flow counter, from MEDIUM on each comparison tested twice, at HIGH random delays; the downgrade check of the swap modes is not hardened",
		Geometry:  Geometry{Note: "the port's; trailer fields lie in write units of their own, of up to 32 bytes"},
	}
}

func mcubootSwap() Profile {
	p := mcubootProfile("mcuboot-swap", "MCUboot, swap using scratch, move or offset")
	downgrade := mcubootDowngrade
	downgrade.OnFail = BootOld
	p.Steps = insertStep(mcubootSteps(), downgrade, mcuboot.StepStructure)
	p.Rollback = Rollback{
		Of:     "security counter, and version or counter of the installed image, each where it is built in",
		Rule:   "not below",
		Raised: "permanent update: right after the swap. Test update: at a later boot, after the firmware has set image_ok and the primary slot was validated",
	}
	p.Trial = Trial{
		Attempts: 1, Marker: "copy_done set and image_ok not, in the trailer of the primary slot",
		Revert: "the next boot without image_ok swaps back",
	}
	p.Writes = []Write{
		{"before the swap", "trailer: swap info"},
		{"at each sector", "trailer: swap status"},
		{"permanent update, after the swap", "trailer: image_ok; security counter"},
		{"after that", "trailer: copy_done"},
		{"when the firmware confirms itself", "trailer: image_ok"},
	}
	return p
}

func mcubootOverwrite() Profile {
	p := mcubootProfile("mcuboot-overwrite", "MCUboot, overwrite-only")
	downgrade := mcubootDowngrade
	downgrade.OnFail = Erase
	downgrade.Note += "; compares versions, before any cryptography"
	p.Steps = insertStep(mcubootSteps(), downgrade, mcuboot.StepHeader)
	p.Rollback = Rollback{
		Of:   "security counter, and version of the installed image, each where it is built in",
		Rule: "not below", Raised: "unknown",
	}
	p.Trial = Trial{Revert: "none: the old image is overwritten"}
	p.Writes = []Write{{"while the update is copied", "primary slot"}}
	return p
}
