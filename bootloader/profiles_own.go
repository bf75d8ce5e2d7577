package bootloader

import (
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// ownProfiles returns the profiles of the chips, whose bootloaders are ours.
func ownProfiles() []Profile {
	var all []Profile
	for _, c := range Chips() {
		p := Profile{
			Name: c.Name, Title: c.Title,
			Source:   Source{Project: "otapack", Version: "this version", Files: []string{"bootloader/verify.go", "manifest/verify.go", "manifest/decode.go", "formats/payload/encrypt/keywrap.go"}},
			Verifier: "bootloader",
			Rollback: Rollback{
				Of: "sequence number of the manifest", Rule: "not below the stored floor",
				Raised: "when the new firmware has confirmed itself",
			},
			Trial: Trial{
				Attempts: c.Attempts, Marker: "attempt counter in the journal record",
				Revert: "goes back to the other bank",
			},
			Writes: []Write{
				{"when an update begins", "journal record: the other bank holds nothing"},
				{"after all steps have passed", "journal record: the other bank holds a verified package"},
				{"when the update is to run", "journal record: active bank changed, trial, no attempts"},
				{"before each start of a trial", "journal record: one attempt more"},
				{"when the firmware confirms itself", "one journal record: confirmed, and the floor raised"},
			},
			EveryBoot: "the same steps over the bank, less decoder, base, ciphertext and unwrap: it holds the image in the clear",
			Hardening: "the verdict needs the results of three steps at once: signed manifest, payload hash, image looked at; fault hardening on the chip is the port's",
			Geometry:  Geometry{Page: c.Page, WriteUnit: c.WriteUnit, WriteOnce: &c.WriteOnce},
		}
		if len(c.Banks) == 1 {
			p.Trial.Revert = "there is no other bank: stays and waits to be fed"
			p.Writes = slices.Delete(p.Writes, 1, 2)
			p.Writes[0].State = "journal record: receiving"
			p.Writes[1].State = "journal record: trial, no attempts"
		}
		for _, step := range c.Steps {
			p.Steps = append(p.Steps, ownStep(step))
		}
		all = append(all, p)
	}
	return all
}

// Reasons that reading deterministic CBOR, signature blocks and encryption
// information gives.
var (
	cborReasons = []verdict.Reason{
		verdict.Truncated, verdict.TrailingBytes, verdict.WrongLength, verdict.WrongType, verdict.LongForm, verdict.Indefinite,
		verdict.DuplicateKey, verdict.UnsortedKeys, verdict.ReservedEncoding, verdict.BadUTF8, verdict.TooDeep, verdict.TooLarge,
		verdict.WrongCount, verdict.MissingKey,
	}
	sign1Reasons = []verdict.Reason{
		verdict.NotSign1, verdict.MissingAlgorithm, verdict.UnprotectedAlgorithm, verdict.ExtraProtected, verdict.ExtraUnprotected,
		verdict.ES256Deprecated, verdict.EdDSADeprecated, verdict.PayloadNotDetached, verdict.PayloadMissing, verdict.SignatureLength,
		verdict.SignatureRange,
	}
	encryptReasons = []verdict.Reason{
		verdict.NotEncrypt, verdict.Encrypt0, verdict.ProtectedNotEmpty, verdict.ContentAlgorithm, verdict.RecipientAlgorithm,
		verdict.IVLength, verdict.CiphertextAttached, verdict.WrappedKeyLength, verdict.EphemeralKey, verdict.ExtraProtected, verdict.ExtraUnprotected,
	}
)

// ownStep describes a step as the reference verifier makes it.
func ownStep(id Step) ProfileStep {
	s := ProfileStep{ID: id, OnFail: Refuse, Compare: CompareNone}
	switch id {
	case StepEnvelope:
		s.Input = "envelope: structure, signature blocks"
		s.Reasons = slices.Concat(cborReasons, sign1Reasons, []verdict.Reason{
			verdict.MissingTag, verdict.WrongTag, verdict.UncountedElement, verdict.TrailingAfterEnvelope, verdict.TrailingAfterDigest,
			verdict.UnknownEnvelopeKey, verdict.DigestAlgorithm, verdict.DigestLength, verdict.Unsigned,
		})
	case StepSignature:
		s.Input = "SHA-256 of the manifest against the wrapper's digest; signatures over that digest by the trusted keys"
		s.Compare = CompareConstantTime
		s.Note = "the digest; signatures are public and their verification need not be constant in time"
		s.Reasons = []verdict.Reason{
			verdict.ManifestDigestMismatch, verdict.DigestOverContent, verdict.NoKnownSignature, verdict.KeyRevoked,
			verdict.OverWrappedDigest, verdict.SignatureInvalid,
		}
	case StepManifest:
		s.Input = "manifest: one of the templates, byte for byte; digests of severed elements"
		s.Compare = CompareConstantTime
		s.Note = "the digests of severable elements"
		s.Reasons = slices.Concat(cborReasons, encryptReasons, []verdict.Reason{
			verdict.TrailingAfterManifest, verdict.TrailingAfterSequence, verdict.TrailingAfterDigest, verdict.UnknownManifestKey,
			verdict.UnknownCommand, verdict.UnknownParameter, verdict.OddSequence, verdict.DigestAlgorithm, verdict.DigestLength,
			verdict.ManifestVersion, verdict.BadVersion, verdict.SequenceRange, verdict.MissingVendorCheck, verdict.MissingClassCheck,
			verdict.VendorOnlyInInstall, verdict.ClassOnlyInInstall, verdict.MissingImageMatch, verdict.MissingImageSize,
			verdict.MissingParameter, verdict.DuplicateComponent, verdict.ComponentIndexRange, verdict.MissingSetComponentIndex,
			verdict.InstallTwice, verdict.InstallSevered, verdict.UnknownCoding, verdict.SeverableDigestMismatch, verdict.PayloadElementName,
			verdict.PayloadElementSize, verdict.NotInProfile,
		})
	case StepVendor:
		s.Input, s.Compare = "vendor identifier against the device's", CompareConstantTime
		s.Reasons = []verdict.Reason{verdict.VendorMismatch}
	case StepClass:
		s.Input, s.Compare = "class identifier (model and revision) against the device's", CompareConstantTime
		s.Reasons = []verdict.Reason{verdict.ClassMismatch}
	case StepSlot:
		s.Input = "slot that the image is linked for against the one to be written"
		s.Reasons = []verdict.Reason{verdict.SlotMismatch}
	case StepSequence:
		s.Input = "sequence number against the stored floor"
		s.Reasons = []verdict.Reason{verdict.SequenceRollback}
	case StepSize:
		s.Input = "size of the image against the bank, size of the payload against the signed one"
		s.Reasons = []verdict.Reason{verdict.ImageExceedsBank, verdict.PayloadElementSize, verdict.InstallSevered}
	case StepDecoder:
		s.Input = "signed RAM of the decoder against what the chip has for it; whether a difference can be applied beside its base"
		s.Note = "for payloads that are decoded"
		s.Reasons = []verdict.Reason{verdict.DecoderRAM, verdict.DeltaInPlace}
	case StepBase:
		s.Input, s.Compare = "SHA-256 and size of the running image against those that the payload is a difference to", CompareConstantTime
		s.Note = "for differences"
		s.Reasons = []verdict.Reason{verdict.BaseMismatch, verdict.PayloadTruncated}
	case StepCiphertext:
		s.Input, s.Compare = "SHA-256 of the payload as received against the signed digest", CompareConstantTime
		s.Note = "for payloads that are decrypted or decoded"
		s.Reasons = []verdict.Reason{verdict.CiphertextDigestMismatch, verdict.PayloadDigestMismatch, verdict.PayloadTruncated, verdict.InstallSevered}
	case StepUnwrap:
		s.Input, s.Compare = "integrity value of the AES key wrap, for each recipient block", CompareConstantTime
		s.Secret = "follows from the device's key"
		s.Reasons = []verdict.Reason{verdict.RecipientKeyMissing, verdict.EphemeralPoint, verdict.KeyUnwrap}
	case StepImage:
		s.Input, s.Compare = "SHA-256 of the image, decrypted and decoded, against the signed digest", CompareConstantTime
		s.Secret = "digest of decrypted content, where the payload is encrypted"
		s.Note = "whoever chooses the digest has the manifest key"
		s.Reasons = []verdict.Reason{verdict.ImageDigestMismatch, verdict.PayloadTruncated, verdict.TooLarge, verdict.PayloadCoding, verdict.DecodedSize}
	}
	return s
}
