package vectors

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// hintOf is the unprotected header that names a key.
func hintOf(t testing.TB, name string) *item {
	h := testSigner(t, name).Public().ID().Hint()
	return dict(num(4), bin(h[:]))
}

// blockBefore puts the signature block of another key before the right one.
func blockBefore(name string) func(*forgery) {
	return func(f *forgery) {
		other := openEnvelope(f.T, f.Root.Encode(), testSigner(f.T, name))
		other.Sign()
		f.At(envelopeAuth).Insert(1, other.At(envelopeAuth, 1))
	}
}

func without(key int) func(*forgery) {
	return signed(func(f *forgery) { f.At(envelopeManifest).Drop(key) })
}

func versioned(elements ...int) func(*forgery) {
	return signed(func(f *forgery) {
		v := list()
		for _, e := range elements {
			v.Kids = append(v.Kids, num(e))
		}
		f.At(envelopeManifest).Set(keyVersion, wrap(v))
	})
}

// suitMutations are the rules about encoding, envelope and manifest, one each.
var suitMutations = []mutation{
	{name: "wrong tag", bend: func(f *forgery) { f.Root.Arg = 1070 }, step: bootloader.StepEnvelope, want: verdict.WrongTag},
	{name: "missing tag", bend: func(f *forgery) { f.Root = f.Root.Kids[0] }, step: bootloader.StepEnvelope, want: verdict.MissingTag},
	{name: "digest over the content instead of the byte string", bend: func(f *forgery) {
		digest := sha256.Sum256(f.At(envelopeManifest).Body())
		f.At(envelopeAuth, 0, 1).Str = digest[:]
		f.Sign()
	}, step: bootloader.StepSignature, want: verdict.DigestOverContent},
	{name: "signature over the wrapped digest", bend: func(f *forgery) {
		f.SignOver(f.At(envelopeAuth, 0).Encode())
	}, step: bootloader.StepSignature, want: verdict.OverWrappedDigest},
	{name: "algorithm -7", bend: func(f *forgery) { f.Block(0).Kids[0] = protected(-7); f.Sign() }, step: bootloader.StepEnvelope, want: verdict.ES256Deprecated},
	{name: "algorithm -8", bend: func(f *forgery) { f.Block(0).Kids[0] = protected(-8); f.Sign() }, step: bootloader.StepEnvelope, want: verdict.EdDSADeprecated},
	{name: "missing algorithm", bend: func(f *forgery) { f.Block(0).Kids[0] = bin(nil); f.Sign() }, step: bootloader.StepEnvelope, want: verdict.MissingAlgorithm},
	{name: "extra protected header", bend: func(f *forgery) {
		f.Block(0).Kids[0] = header(num(1), num(-9), num(3), num(60))
		f.Sign()
	}, step: bootloader.StepEnvelope, want: verdict.ExtraProtected},
	{name: "algorithm in the unprotected header", bend: func(f *forgery) {
		f.Block(0).Kids[0], f.Block(0).Kids[1] = bin(nil), dict(num(1), num(-9))
		f.Sign()
	}, step: bootloader.StepEnvelope, want: verdict.UnprotectedAlgorithm},
	{name: "payload not nil", bend: func(f *forgery) { f.Block(0).Kids[2] = bin(f.At(envelopeAuth, 0).Body()) }, step: bootloader.StepEnvelope, want: verdict.PayloadNotDetached},
	{name: "signature of 63 bytes", bend: func(f *forgery) { s := f.Block(0).Kids[3]; s.Str = s.Str[:63] }, step: bootloader.StepEnvelope, want: verdict.SignatureLength},
	{name: "signature of 65 bytes", bend: func(f *forgery) { s := f.Block(0).Kids[3]; s.Str = append(s.Str, 0) }, step: bootloader.StepEnvelope, want: verdict.SignatureLength, another: true},
	{name: "r zero", bend: func(f *forgery) { clear(f.Block(0).Kids[3].Str[:32]) }, step: bootloader.StepEnvelope, want: verdict.SignatureRange},
	{name: "s zero", bend: func(f *forgery) { clear(f.Block(0).Kids[3].Str[32:]) }, step: bootloader.StepEnvelope, want: verdict.SignatureRange, another: true},
	{name: "r = n", bend: func(f *forgery) { orderP256().FillBytes(f.Block(0).Kids[3].Str[:32]) }, step: bootloader.StepEnvelope, want: verdict.SignatureRange, another: true},
	{name: "s = n", bend: func(f *forgery) { orderP256().FillBytes(f.Block(0).Kids[3].Str[32:]) }, step: bootloader.StepEnvelope, want: verdict.SignatureRange, another: true},
	{name: "r above n", bend: func(f *forgery) { copy(f.Block(0).Kids[3].Str, bytes.Repeat([]byte{0xff}, 32)) }, step: bootloader.StepEnvelope, want: verdict.SignatureRange, another: true},
	{name: "s above n", bend: func(f *forgery) { copy(f.Block(0).Kids[3].Str[32:], bytes.Repeat([]byte{0xff}, 32)) }, step: bootloader.StepEnvelope, want: verdict.SignatureRange, another: true},

	{name: "envelope count too big", bend: func(f *forgery) { f.Root.In().More = 1 }, step: bootloader.StepEnvelope, want: verdict.WrongCount},
	{name: "envelope count too small", bend: func(f *forgery) { f.Root.In().More = -1 }, step: bootloader.StepEnvelope, want: verdict.UncountedElement},
	{name: "duplicate keys", bend: signed(func(f *forgery) {
		m := f.At(envelopeManifest).In()
		m.Kids = slices.Insert(m.Kids, 4, m.Kids[2], m.Kids[3])
	}), step: bootloader.StepManifest, want: verdict.DuplicateKey},
	{name: "unsorted keys", bend: signed(func(f *forgery) {
		m := f.At(envelopeManifest)
		m.Set(keySequence, m.Drop(keySequence))
	}), step: bootloader.StepManifest, want: verdict.UnsortedKeys},
	{name: "long-form integer", bend: signed(func(f *forgery) {
		f.At(envelopeManifest, keySequence).Head = []byte{0x1a, 0, 0, 4, 0x12}
	}), step: bootloader.StepManifest, want: verdict.LongForm},
	{name: "indefinite length", bend: signed(func(f *forgery) {
		f.At(toValidate...).In().Head = []byte{0x9f}
		f.At(toValidate...).In().Tail = []byte{0xff}
	}), step: bootloader.StepManifest, want: verdict.Indefinite},
	{name: "bytes after the envelope", bend: func(f *forgery) { f.Root.Tail = []byte{0} }, step: bootloader.StepEnvelope, want: verdict.TrailingAfterEnvelope},
	{name: "bytes after the manifest", bend: signed(func(f *forgery) {
		f.At(envelopeManifest).In().Tail = []byte{0}
	}), step: bootloader.StepManifest, want: verdict.TrailingAfterManifest},
	{name: "bytes after a sequence", bend: signed(func(f *forgery) { f.At(toValidate...).In().Tail = []byte{0} }), step: bootloader.StepManifest, want: verdict.TrailingAfterSequence},
	{name: "bytes after a digest", bend: func(f *forgery) {
		f.At(envelopeAuth, 0).In().Tail = []byte{0}
		f.Sign()
	}, step: bootloader.StepEnvelope, want: verdict.TrailingAfterDigest},
	{name: "unknown manifest key", bend: signed(func(f *forgery) {
		m := f.At(envelopeManifest)
		install := m.Drop(keyInstall)
		m.Set(16, bin([]byte{0x80})) // payload-fetch
		m.Set(keyInstall, install)
	}), step: bootloader.StepManifest, want: verdict.UnknownManifestKey},
	{name: "unknown command", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(2, num(14), num(15)) }), step: bootloader.StepManifest, want: verdict.UnknownCommand}, // abort
	{name: "unknown parameter", bend: signed(func(f *forgery) { f.At(toFacts...).Set(24, bin(sized(16))) }), step: bootloader.StepManifest, want: verdict.UnknownParameter},    // device identifier
	{name: "odd sequence", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(2, num(3)) }), step: bootloader.StepManifest, want: verdict.OddSequence},
	{name: "vendor check missing", bend: signed(func(f *forgery) { f.At(toShared...).DropCommand(conditionVendor) }), step: bootloader.StepManifest, want: verdict.MissingVendorCheck},
	{name: "class check missing", bend: signed(func(f *forgery) { f.At(toShared...).DropCommand(conditionClass) }), step: bootloader.StepManifest, want: verdict.MissingClassCheck},
	{name: "vendor check only in install", bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(conditionVendor)
		f.At(toInstall...).Insert(0, num(conditionVendor), num(15))
	}), step: bootloader.StepManifest, want: verdict.VendorOnlyInInstall},
	{name: "class check only in install", bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(conditionClass)
		f.At(toInstall...).Insert(0, num(conditionClass), num(15))
	}), step: bootloader.StepManifest, want: verdict.ClassOnlyInInstall},
	{name: "image-match missing in validate", bend: signed(func(f *forgery) { f.At(toValidate...).In().Kids = []*item{} }), step: bootloader.StepManifest, want: verdict.MissingImageMatch},
	{name: "size missing", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(parameterSize) }), step: bootloader.StepManifest, want: verdict.MissingImageSize},
	{name: "component index out of range", base: encrypted, bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 2 }), step: bootloader.StepManifest, want: verdict.ComponentIndexRange},
	{name: "two components without 12", base: encrypted, bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(setComponentIndex)
	}), step: bootloader.StepManifest, want: verdict.MissingSetComponentIndex},
	{name: "digest algorithm not -16", bend: signed(func(f *forgery) { *f.At(envelopeAuth, 0, 0) = *num(-43) }), step: bootloader.StepEnvelope, want: verdict.DigestAlgorithm},
	{name: "digest not 32 bytes", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Str = sized(31); f.Sign() }, step: bootloader.StepEnvelope, want: verdict.DigestLength},
	{name: "severed install wanted", base: severable, bend: func(f *forgery) { f.Root.Drop(envelopeInstall) }, step: bootloader.StepSize, want: verdict.InstallSevered},
	{name: "severable digest mismatch", base: severable, bend: func(f *forgery) { f.At(envelopeInstall, 1, parameterURI).Str[1] ^= 1 }, step: bootloader.StepManifest, want: verdict.SeverableDigestMismatch},
	{name: "install in the manifest and in the envelope", bend: func(f *forgery) {
		f.Root.Set(envelopeInstall, wrap(f.At(toInstall...).In()))
	}, step: bootloader.StepManifest, want: verdict.InstallTwice},
	{name: "integrated payload taken out and sent beside", base: integrated, bend: func(f *forgery) { f.Root.Drop("#ble") }},
	{name: "integrated payload of another name", base: integrated, bend: func(f *forgery) {
		f.Root.Set("#mcu", f.Root.Drop("#ble"))
	}, step: bootloader.StepManifest, want: verdict.PayloadElementName},
	{name: "integrated payload of another length", base: integrated, bend: func(f *forgery) {
		f.Root.Set("#ble", bin(make([]byte, imageSize-1)))
	}, step: bootloader.StepManifest, want: verdict.PayloadElementSize},
	{name: "sequence number lower", bend: signed(func(f *forgery) { f.At(envelopeManifest, keySequence).Arg-- }), step: bootloader.StepSequence, want: verdict.SequenceRollback},
	{name: "sequence number 2^32", bend: signed(func(f *forgery) { f.At(envelopeManifest, keySequence).Arg = 1 << 32 }), step: bootloader.StepManifest, want: verdict.SequenceRange},
	{name: "text nested 16 deep", base: severable, bend: func(f *forgery) {
		f.Root.Set(envelopeText, wrap(nested(16, num(0))))
		f.Resever(envelopeText)
	}, step: bootloader.StepEnvelope, want: verdict.TooDeep},
	{name: "IV of 12 bytes", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).At(1, 5).Str = sized(12) }), step: bootloader.StepManifest, want: verdict.IVLength},
	{name: "CTR with a protected header", base: encrypted, bend: signed(func(f *forgery) {
		f.At(toInfo...).In().Kids[0] = protected(cose.A128CTR)
	}), step: bootloader.StepManifest, want: verdict.ProtectedNotEmpty},
	{name: "COSE_Encrypt0 instead of COSE_Encrypt", base: encrypted, bend: signed(func(f *forgery) {
		message := f.At(toInfo...).In()
		f.At(toInstall...).At(11).Set(parameterEncryptionInfo, wrap(tagged(16, list(message.Kids[:3]...))))
	}), step: bootloader.StepManifest, want: verdict.Encrypt0},
	{name: "revoked key", bend: func(f *forgery) {
		f.Signer = testSigner(f.T, keyRevoked)
		hint := f.Signer.Public().ID().Hint()
		f.Block(0).Kids[1] = dict(num(4), bin(hint[:]))
		f.Sign()
	}, step: bootloader.StepSignature, want: verdict.KeyRevoked},
	{name: "only unknown signature blocks", bend: func(f *forgery) {
		f.At(envelopeAuth).In().Kids[1] = unknownBlock()
	}, step: bootloader.StepSignature, want: verdict.NoKnownSignature},

	// Envelope.
	{name: "empty input", bend: func(f *forgery) { f.Root = &item{Head: []byte{}} }, step: bootloader.StepEnvelope, want: verdict.Truncated},
	{name: "tag cut off", bend: func(f *forgery) { f.Root = &item{Head: []byte{0xd8}} }, step: bootloader.StepEnvelope, want: verdict.Truncated},
	{name: "tag in long form", bend: func(f *forgery) { f.Root.Head = []byte{0xd9, 0, 107} }, step: bootloader.StepEnvelope, want: verdict.LongForm},
	{name: "tag twice", bend: func(f *forgery) { f.Root = tagged(107, f.Root) }, step: bootloader.StepEnvelope, want: verdict.WrongType},
	{name: "envelope is an array", bend: func(f *forgery) { f.Root = tagged(107, list()) }, step: bootloader.StepEnvelope, want: verdict.WrongType},
	{name: "envelope of 17 elements", bend: func(f *forgery) { f.Root.In().More = 15 }, step: bootloader.StepEnvelope, want: verdict.WrongCount},
	{name: "no wrapper", bend: func(f *forgery) { f.Root.Drop(envelopeAuth) }, step: bootloader.StepEnvelope, want: verdict.MissingKey},
	{name: "no manifest", bend: func(f *forgery) { f.Root.Drop(envelopeManifest) }, step: bootloader.StepEnvelope, want: verdict.MissingKey},
	{name: "only the wrapper counted, then bytes", bend: func(f *forgery) { f.Root.Drop(envelopeManifest); f.Root.Tail = []byte{0} }, step: bootloader.StepEnvelope, want: verdict.MissingKey},
	{name: "delegation", bend: func(f *forgery) { f.Root.In().Kids = append([]*item{num(1), bin(nil)}, f.Root.In().Kids...) }, step: bootloader.StepEnvelope, want: verdict.UnknownEnvelopeKey},
	{name: "envelope elements not in order", bend: func(f *forgery) { f.Root.Set(envelopeAuth, f.Root.Drop(envelopeAuth)) }, step: bootloader.StepEnvelope, want: verdict.UnsortedKeys},
	{name: "wrapper twice", bend: func(f *forgery) {
		e := f.Root.In()
		e.Kids = slices.Insert(e.Kids, 2, e.Kids[0], e.Kids[1])
	}, step: bootloader.StepEnvelope, want: verdict.DuplicateKey},
	{name: "severable element not counted", base: severable, bend: func(f *forgery) { f.Root.In().More = -1 }, step: bootloader.StepEnvelope, want: verdict.UncountedElement},
	{name: "payload not counted", base: integrated, bend: func(f *forgery) { f.Root.In().More = -1 }, step: bootloader.StepEnvelope, want: verdict.UncountedElement},
	{name: "two payloads", base: integrated, bend: func(f *forgery) { f.Root.Set("#zzz", bin(nil)) }, step: bootloader.StepEnvelope, want: verdict.UnknownEnvelopeKey},
	{name: "payload is text", base: integrated, bend: func(f *forgery) { f.Root.Set("#ble", text("image")) }, step: bootloader.StepEnvelope, want: verdict.WrongType},
	{name: "payload without a name", base: integrated, bend: func(f *forgery) { f.Root.Set("", f.Root.Drop("#ble")) }, step: bootloader.StepManifest, want: verdict.PayloadElementName},
	{name: "empty payload without a name", bend: func(f *forgery) { f.Root.Set("", bin(nil)) }, step: bootloader.StepManifest, want: verdict.PayloadElementName},
	{name: "empty payload", base: integrated, bend: func(f *forgery) { f.Root.Set("#ble", bin(nil)) }, step: bootloader.StepManifest, want: verdict.PayloadElementSize},
	{name: "payload, install severed", base: severable, bend: func(f *forgery) {
		f.Root.Drop(envelopeInstall)
		f.Root.Set("#ble", bin(make([]byte, imageSize)))
	}, step: bootloader.StepManifest, want: verdict.InstallSevered},
	{name: "manifest too long", bend: signed(func(f *forgery) { f.At(envelopeManifest).In().Tail = sized(manifest.MaxManifest) }), step: bootloader.StepEnvelope, want: verdict.WrongLength},
	{name: "install too long", base: severable, bend: func(f *forgery) { f.Root.Set(envelopeInstall, bin(sized(manifest.MaxInstall+1))) }, step: bootloader.StepEnvelope, want: verdict.WrongLength},
	{name: "text too long", base: severable, bend: func(f *forgery) { f.Root.Set(envelopeText, bin(sized(manifest.MaxText+1))) }, step: bootloader.StepEnvelope, want: verdict.WrongLength},
	{name: "bytes after the text", base: severable, bend: func(f *forgery) { f.At(envelopeText).In().Tail = []byte{0}; f.Resever(envelopeText) }, step: bootloader.StepEnvelope, want: verdict.TrailingBytes},
	{name: "text with a float", base: severable, bend: func(f *forgery) {
		f.Root.Set(envelopeText, bin([]byte{0xf9, 0, 0}))
		f.Resever(envelopeText)
	}, step: bootloader.StepEnvelope, want: verdict.ReservedEncoding},
	{name: "text keys not in order", base: severable, bend: func(f *forgery) {
		f.Root.Set(envelopeText, wrap(dict(text("en"), num(0), text("de"), num(0))))
		f.Resever(envelopeText)
	}, step: bootloader.StepEnvelope, want: verdict.UnsortedKeys},
	{name: "text is another", base: severable, bend: func(f *forgery) { f.At(envelopeText, "en", 1).Str[0] ^= 1 }, step: bootloader.StepManifest, want: verdict.SeverableDigestMismatch},
	{name: "text that the manifest does not name", bend: func(f *forgery) { f.Root.Set(envelopeText, wrap(dict())) }, step: bootloader.StepManifest, want: verdict.SeverableDigestMismatch},

	// Wrapper and signature blocks.
	{name: "wrapper is a map", bend: func(f *forgery) { f.Root.Set(envelopeAuth, wrap(dict())) }, step: bootloader.StepEnvelope, want: verdict.WrongType},
	{name: "empty wrapper", bend: func(f *forgery) { f.Root.Set(envelopeAuth, wrap(list())) }, step: bootloader.StepEnvelope, want: verdict.WrongCount},
	{name: "no signature", bend: func(f *forgery) { a := f.At(envelopeAuth).In(); a.Kids = a.Kids[:1] }, step: bootloader.StepEnvelope, want: verdict.Unsigned},
	{name: "four signatures", bend: func(f *forgery) {
		b := f.At(envelopeAuth, 1)
		f.At(envelopeAuth).Insert(1, b, b, b)
	}, step: bootloader.StepEnvelope, want: verdict.WrongCount},
	{name: "bytes after the wrapper", bend: func(f *forgery) { f.At(envelopeAuth).In().Tail = []byte{0} }, step: bootloader.StepEnvelope, want: verdict.TrailingBytes},
	{name: "bytes after a block", bend: func(f *forgery) { f.Block(0).Tail = []byte{0} }, step: bootloader.StepEnvelope, want: verdict.TrailingBytes},
	{name: "block without a tag", bend: func(f *forgery) { f.At(envelopeAuth).In().Kids[1] = wrap(f.Block(0)) }, step: bootloader.StepEnvelope, want: verdict.NotSign1},
	{name: "COSE_Mac0", bend: func(f *forgery) { f.At(envelopeAuth).In().Kids[1] = wrap(tagged(17, f.Block(0))) }, step: bootloader.StepEnvelope, want: verdict.NotSign1},
	{name: "digest is a map", bend: func(f *forgery) { f.At(envelopeAuth).In().Kids[0] = wrap(dict()) }, step: bootloader.StepEnvelope, want: verdict.WrongType},
	{name: "digest of 64 bytes", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Str = sized(57) }, step: bootloader.StepEnvelope, want: verdict.DigestLength},
	{name: "another digest", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Str[0] ^= 1; f.Sign() }, step: bootloader.StepSignature, want: verdict.ManifestDigestMismatch},
	{name: "signature of another envelope", bend: func(f *forgery) { f.SignOver([]byte("another")) }, step: bootloader.StepSignature, want: verdict.SignatureInvalid},
	{name: "stranger's key", bend: func(f *forgery) { f.Signer = testSigner(f.T, keyStranger); f.Sign() }, step: bootloader.StepSignature, want: verdict.SignatureInvalid},

	// Manifest.
	{name: "manifest is an array", bend: signed(func(f *forgery) { f.Root.Set(envelopeManifest, wrap(list())) }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "no manifest version", bend: without(keyManifestVersion), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "no sequence number", bend: without(keySequence), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "no common", bend: without(keyCommon), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "no validate", bend: without(keyValidate), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "no invoke", bend: without(keyInvoke), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "no install", bend: without(keyInstall), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "manifest version 2", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyManifestVersion).Arg = 2 }), step: bootloader.StepManifest, want: verdict.ManifestVersion},
	{name: "sequence number -1", bend: signed(func(f *forgery) { *f.At(envelopeManifest, keySequence) = *num(-1) }), step: bootloader.StepManifest, want: verdict.SequenceRange},
	{name: "sequence number is text", bend: signed(func(f *forgery) { *f.At(envelopeManifest, keySequence) = *text("1042") }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "text key in the manifest", bend: signed(func(f *forgery) { f.At(envelopeManifest).Set("x", num(0)) }), step: bootloader.StepManifest, want: verdict.UnknownManifestKey},
	{name: "two unknown keys beside all others", base: severable, bend: signed(func(f *forgery) {
		f.At(envelopeManifest).Set(24, bin(nil))
		f.At(envelopeManifest).Set(25, bin(nil))
	}), step: bootloader.StepManifest, want: verdict.UnknownManifestKey},
	{name: "text in the manifest", bend: signed(func(f *forgery) { f.At(envelopeManifest).Set(keyText, wrap(dict())) }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "bytes after the version", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyVersion).In().Tail = []byte{0} }), step: bootloader.StepManifest, want: verdict.TrailingBytes},
	{name: "empty version", bend: versioned(), step: bootloader.StepManifest, want: verdict.WrongCount},
	{name: "version of six elements", bend: versioned(1, 2, 3, -1, 4, 5), step: bootloader.StepManifest, want: verdict.WrongCount},
	{name: "version of four numbers", bend: versioned(1, 2, 3, 4), step: bootloader.StepManifest, want: verdict.BadVersion},
	{name: "version that starts with its mark", bend: versioned(-1, 2), step: bootloader.StepManifest, want: verdict.BadVersion},
	{name: "version with an unknown mark", bend: versioned(1, -4), step: bootloader.StepManifest, want: verdict.BadVersion},
	{name: "version with two marks", bend: versioned(1, -1, -1), step: bootloader.StepManifest, want: verdict.BadVersion},
	{name: "version with two numbers after the mark", bend: versioned(1, -1, 1, 1), step: bootloader.StepManifest, want: verdict.BadVersion},
	{name: "version number 2^31", bend: versioned(1 << 31), step: bootloader.StepManifest, want: verdict.BadVersion},
	{name: "install digest of SHA-512", base: severable, bend: signed(func(f *forgery) {
		f.At(envelopeManifest).Set(keyInstall, list(num(-44), bin(sized(64))))
	}), step: bootloader.StepManifest, want: verdict.DigestAlgorithm},
	{name: "text digest of 20 bytes", base: severable, bend: signed(func(f *forgery) {
		f.At(envelopeManifest).Set(keyText, list(num(-16), bin(sized(20))))
	}), step: bootloader.StepManifest, want: verdict.DigestLength},

	// Common.
	{name: "key in common", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Set(5, num(0)) }), step: bootloader.StepManifest, want: verdict.UnknownManifestKey},
	{name: "dependencies", bend: signed(func(f *forgery) {
		c := f.At(envelopeManifest, keyCommon).In()
		c.Kids = append([]*item{num(1), dict()}, c.Kids...)
	}), step: bootloader.StepManifest, want: verdict.UnknownManifestKey},
	{name: "no components", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Drop(commonComponents) }), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "no shared sequence", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Drop(commonShared) }), step: bootloader.StepManifest, want: verdict.MissingKey},
	{name: "bytes after common", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).In().Tail = []byte{0} }), step: bootloader.StepManifest, want: verdict.TrailingBytes},
	{name: "zero components", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Set(commonComponents, list()) }), step: bootloader.StepManifest, want: verdict.WrongCount},
	{name: "three components", base: encrypted, bend: signed(func(f *forgery) {
		f.At(envelopeManifest, keyCommon, commonComponents).Insert(2, list(bin([]byte{2})))
	}), step: bootloader.StepManifest, want: verdict.WrongCount},
	{name: "component of two parts", bend: signed(func(f *forgery) {
		f.At(envelopeManifest, keyCommon, commonComponents, 0).Insert(1, bin([]byte{2}))
	}), step: bootloader.StepManifest, want: verdict.WrongCount},
	{name: "component identifier of 9 bytes", bend: signed(func(f *forgery) {
		f.At(envelopeManifest, keyCommon, commonComponents, 0, 0).Str = sized(9)
	}), step: bootloader.StepManifest, want: verdict.WrongLength},
	{name: "component twice", base: encrypted, bend: signed(func(f *forgery) {
		f.At(envelopeManifest, keyCommon, commonComponents, 1, 0).Str = []byte{0}
	}), step: bootloader.StepManifest, want: verdict.DuplicateComponent},

	// Sequences.
	{name: "sequence is a map", bend: signed(func(f *forgery) { f.At(envelopeManifest).Set(keyInvoke, wrap(dict())) }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "sequence of 33 commands", bend: signed(func(f *forgery) { f.At(toValidate...).In().Kids = slices.Repeat([]*item{num(3), num(15)}, 33) }), step: bootloader.StepManifest, want: verdict.WrongCount},
	{name: "command is text", bend: signed(func(f *forgery) { *f.At(toValidate...).At(0) = *text("abort") }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "policy above 15", bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 16 }), step: bootloader.StepManifest, want: verdict.TooLarge},
	{name: "try-each", bend: signed(func(f *forgery) { f.At(toShared...).Insert(0, num(15), list()) }), step: bootloader.StepManifest, want: verdict.UnknownCommand},
	{name: "bytes after the shared sequence", bend: signed(func(f *forgery) { f.At(toShared...).In().Tail = []byte{0} }), step: bootloader.StepManifest, want: verdict.TrailingAfterSequence},
	{name: "bytes after the severed install sequence", base: severable, bend: func(f *forgery) {
		f.At(envelopeInstall).In().Tail = []byte{0}
		f.Resever(envelopeInstall)
	}, step: bootloader.StepManifest, want: verdict.TrailingAfterSequence},
	{name: "unknown command in the severed install sequence", base: severable, bend: func(f *forgery) {
		f.At(envelopeInstall).Insert(0, num(14), num(15))
		f.Resever(envelopeInstall)
	}, step: bootloader.StepManifest, want: verdict.UnknownCommand},
	{name: "vendor check in invoke only", bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(conditionVendor)
		f.At(envelopeManifest, keyInvoke).Insert(0, num(conditionVendor), num(15))
	}), step: bootloader.StepManifest, want: verdict.MissingVendorCheck},
	{name: "component 1 of one", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(0, num(12), num(1)) }), step: bootloader.StepManifest, want: verdict.ComponentIndexRange},
	{name: "all components", base: encrypted, bend: signed(func(f *forgery) { f.At(toValidate...).In().Kids[1] = &item{Major: majorSimple, Arg: 21} }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "install without 12", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).DropCommand(setComponentIndex) }), step: bootloader.StepManifest, want: verdict.MissingSetComponentIndex},

	// Parameters.
	{name: "text key in parameters", bend: signed(func(f *forgery) { f.At(toFacts...).Set("x", num(0)) }), step: bootloader.StepManifest, want: verdict.UnknownParameter},
	{name: "parameters not in order", bend: signed(func(f *forgery) { p := f.At(toFacts...); p.Set(1, p.Drop(1)) }), step: bootloader.StepManifest, want: verdict.UnsortedKeys},
	{name: "vendor of 15 bytes", bend: signed(func(f *forgery) { f.At(toFacts...).At(1).Str = sized(15) }), step: bootloader.StepManifest, want: verdict.WrongLength},
	{name: "vendor by enterprise number", bend: signed(func(f *forgery) { f.At(toFacts...).Set(1, tagged(112, bin(sized(5)))) }), step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "no vendor", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(1) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "no class", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(2) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "no image digest", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(3) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "no parameters", bend: signed(func(f *forgery) { f.At(toShared...).DropCommand(overrideParameters) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "image size zero", bend: signed(func(f *forgery) { f.At(toFacts...).At(parameterSize).Arg = 0 }), step: bootloader.StepManifest, want: verdict.MissingImageSize},
	{name: "image size 2^32", bend: signed(func(f *forgery) { f.At(toFacts...).At(parameterSize).Arg = 1 << 32 }), step: bootloader.StepManifest, want: verdict.TooLarge},
	{name: "image digest of SHA-384", bend: signed(func(f *forgery) { *f.At(toFacts...).At(3, 0) = *num(-43) }), step: bootloader.StepManifest, want: verdict.DigestAlgorithm},
	{name: "bytes after the image digest", bend: signed(func(f *forgery) { f.At(toFacts...).At(3).In().Tail = []byte{0} }), step: bootloader.StepManifest, want: verdict.TrailingAfterDigest},
	{name: "no URI", bend: signed(func(f *forgery) { f.At(toInstall...).At(1).Drop(parameterURI) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "empty URI", bend: signed(func(f *forgery) { f.At(toInstall...).At(1, parameterURI).Str = nil }), step: bootloader.StepManifest, want: verdict.WrongLength},
	{name: "URI not UTF-8", bend: signed(func(f *forgery) { f.At(toInstall...).At(1, parameterURI).Str[3] = 0xff }), step: bootloader.StepManifest, want: verdict.BadUTF8},
	{name: "no ciphertext digest", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(3).Drop(parameterDigest) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "ciphertext of another size", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(3, parameterSize).Arg++ }), step: bootloader.StepManifest, want: verdict.PayloadElementSize},
	{name: "no encryption information", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(11).Drop(parameterEncryptionInfo) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "bytes after the encryption information", base: encrypted, bend: signed(func(f *forgery) {
		info := f.At(toInfo...)
		info.In()
		info.Kids[0].Tail = []byte{0}
	}), step: bootloader.StepManifest, want: verdict.TrailingBytes},
	{name: "A128GCM", base: encrypted, bend: signed(func(f *forgery) { *f.At(toInfo...).At(1, 1) = *num(1) }), step: bootloader.StepManifest, want: verdict.ContentAlgorithm},
	{name: "A256KW", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).At(3, 0).Kids[0] = protected(-5) }), step: bootloader.StepManifest, want: verdict.RecipientAlgorithm},
	{name: "ciphertext attached", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).In().Kids[2] = bin(sized(imageSize)) }), step: bootloader.StepManifest, want: verdict.CiphertextAttached},

	// Well-formed, and not what a template gives.
	{name: "another reporting policy", bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 14 }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "condition twice", bend: signed(func(f *forgery) { f.At(toShared...).Insert(2, num(conditionVendor), num(15)) }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "class before vendor", bend: signed(func(f *forgery) {
		s := f.At(toShared...).In()
		s.Kids[2], s.Kids[4] = s.Kids[4], s.Kids[2]
	}), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "slot without a condition", bend: signed(func(f *forgery) {
		p := f.At(toFacts...)
		size := p.Drop(parameterSize)
		p.Set(parameterSlot, num(1))
		p.Set(parameterSize, size)
	}), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "slot condition without a slot", bend: signed(func(f *forgery) { f.At(toShared...).Insert(6, num(conditionSlot), num(5)) }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "URI among the facts", bend: signed(func(f *forgery) { f.At(toFacts...).Set(parameterURI, text("#x")) }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "index with one component", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(0, num(12), num(0)) }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "no fetch", bend: signed(func(f *forgery) { f.At(toInstall...).DropCommand(directiveFetch) }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "validate of the ciphertext", base: encrypted, bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 1 }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "source is another component", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(11, parameterSource).Arg = 0 }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "size in a plain install", bend: signed(func(f *forgery) {
		p := f.At(toInstall...).At(1)
		uri := p.Drop(parameterURI)
		p.Set(parameterSize, num(imageSize))
		p.Set(parameterURI, uri)
	}), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "identity in a severed install", base: severable, bend: func(f *forgery) {
		f.At(envelopeInstall).Insert(0, num(conditionVendor), num(15))
		f.Resever(envelopeInstall)
	}, step: bootloader.StepManifest, want: verdict.NotInProfile},

	// What the list wants taken.
	{name: "sequence number equal to the floor", bend: func(*forgery) {}},
	{name: "no kid", bend: func(f *forgery) { f.Block(0).Kids[1] = dict() }},
	{name: "unknown kid", bend: func(f *forgery) { f.Block(0).Kids[1] = dict(num(4), bin([]byte("nobody"))) }},
	{name: "kid of a longer kind", bend: func(f *forgery) { f.Block(0).Kids[1] = dict(num(4), bin(sized(16))) }},
	{name: "kid of another trusted key", bend: func(f *forgery) { f.Block(0).Kids[1] = hintOf(f.T, keySecond) }},
	{name: "kid of a revoked key", bend: func(f *forgery) { f.Block(0).Kids[1] = hintOf(f.T, keyRevoked) }},
	{name: "unknown block behind", bend: func(f *forgery) { f.At(envelopeAuth).Insert(2, unknownBlock()) }},
	{name: "unknown block before", bend: func(f *forgery) { f.At(envelopeAuth).Insert(1, unknownBlock()) }},
	{name: "block of a stranger before", bend: blockBefore(keyStranger)},
	{name: "block of a revoked key before", bend: blockBefore(keyRevoked)},
	{name: "the other signature (r, n-s)", bend: func(f *forgery) {
		raw := f.Block(0).Kids[3].Str
		s := new(big.Int).SetBytes(raw[32:])
		s.Sub(orderP256(), s).FillBytes(raw[32:])
	}},

	// The signature is checked before anything of the manifest is read.
	{name: "manifest that is no CBOR, signed by a stranger", bend: func(f *forgery) {
		f.Signer = testSigner(f.T, keyStranger)
		f.Root.Set(envelopeManifest, bin([]byte("no CBOR at all")))
		f.Seal()
	}, step: bootloader.StepSignature, want: verdict.SignatureInvalid},
	{name: "manifest that is no CBOR, signed by the right key", bend: func(f *forgery) {
		f.Root.Set(envelopeManifest, bin([]byte("no CBOR at all")))
		f.Seal()
	}, step: bootloader.StepManifest, want: verdict.WrongType},
	{name: "empty manifest", bend: func(f *forgery) { f.Root.Set(envelopeManifest, bin(nil)); f.Seal() }, step: bootloader.StepManifest, want: verdict.Truncated},
	{name: "wrapped key of 8 bytes", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).At(3, 0, 2).Str = sized(8) }), step: bootloader.StepManifest, want: verdict.WrappedKeyLength},
	{name: "array length in long form", bend: signed(func(f *forgery) { f.At(toValidate...).In().Head = []byte{0x98, 2} }), step: bootloader.StepManifest, want: verdict.LongForm},
	{name: "map length in long form", bend: signed(func(f *forgery) { f.At(envelopeManifest).In().Head = []byte{0xb8, 7} }), step: bootloader.StepManifest, want: verdict.LongForm},
	{name: "byte string length in long form", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Head = []byte{0x59, 0, 32}; f.Sign() }, step: bootloader.StepEnvelope, want: verdict.LongForm},
	{name: "byte string of indefinite length", bend: func(f *forgery) {
		s := f.Block(0).Kids[3]
		f.Block(0).Kids[3] = &item{Head: []byte{0x5f}, Kids: []*item{bin(s.Str[:32]), bin(s.Str[32:])}, Tail: []byte{0xff}}
	}, step: bootloader.StepEnvelope, want: verdict.Indefinite},
	{name: "map of indefinite length", bend: signed(func(f *forgery) {
		f.At(envelopeManifest).In().Head, f.At(envelopeManifest).In().Tail = []byte{0xbf}, []byte{0xff}
	}), step: bootloader.StepManifest, want: verdict.Indefinite},
	{name: "reserved additional information", bend: signed(func(f *forgery) { f.At(envelopeManifest, keySequence).Head = []byte{0x1c} }), step: bootloader.StepManifest, want: verdict.ReservedEncoding},

	// Decoding.
	{name: "unknown coding", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(1).Arg = 6 }), step: bootloader.StepManifest, want: verdict.UnknownCoding},
	{name: "coding without a base", base: decoded, bend: signed(func(f *forgery) {
		p := f.At(toDecoding...)
		p.At(1).Arg = 5
		p.Drop(3)
		p.Drop(4)
	}), step: bootloader.StepManifest, want: verdict.UnknownCoding, another: true},
	{name: "whole image with a base", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(1).Arg = 2 }), step: bootloader.StepManifest, want: verdict.UnknownCoding, another: true},
	{name: "no decoder RAM", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Drop(2) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "base without its size", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Drop(4) }), step: bootloader.StepManifest, want: verdict.MissingParameter},
	{name: "base of SHA-384", base: decoded, bend: signed(func(f *forgery) { *f.At(toDecoding...).At(3, 0) = *num(-43) }), step: bootloader.StepManifest, want: verdict.DigestAlgorithm},
	{name: "base size zero", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(4).Arg = 0 }), step: bootloader.StepManifest, want: verdict.MissingImageSize},
	{name: "unknown payload information", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Set(5, num(0)) }), step: bootloader.StepManifest, want: verdict.UnknownParameter},
	{name: "bytes after the payload information", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).In().Tail = []byte{0} }), step: bootloader.StepManifest, want: verdict.TrailingBytes},
	{name: "copied and decoded", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).Insert(12, num(22), num(2)) }), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "decoded twice", base: decoded, bend: signed(func(f *forgery) {
		s := f.At(toInstall...).In()
		f.At(toInstall...).Insert(14, s.Kids[12], s.Kids[13])
	}), step: bootloader.StepManifest, want: verdict.NotInProfile},
	{name: "another private command", base: decoded, bend: signed(func(f *forgery) { *f.At(toInstall...).In().Kids[12] = *num(-258) }), step: bootloader.StepManifest, want: verdict.UnknownCommand},
}
