package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// Envelopes that the mutations start from.
const (
	plain      = iota // T1, key hint
	severable         // T1, install and text severable and present
	integrated        // T1, payload in the envelope
	encrypted         // T3
	decoded           // T4, a difference
	both              // T4, compressed and encrypted, install severable and present
)

// testTrust accepts the keys alpha and beta, and has withdrawn gamma.
func testTrust(t testing.TB) *sign.TrustSet {
	t.Helper()
	trust := trusting(t, sign.RoleManifest, 1, alpha(t), beta(t), gamma(t))
	trust.Revoke(gamma(t).Public())
	return trust
}

func alpha(t testing.TB) sign.Signer { return testSigner(t, sign.ESP256, "alpha") }
func beta(t testing.TB) sign.Signer  { return testSigner(t, sign.ESP256, "beta") }
func gamma(t testing.TB) sign.Signer { return testSigner(t, sign.ESP256, "gamma") }

// baseEnvelope is signed by alpha and accepted by testTrust and testDevice.
func baseEnvelope(t testing.TB, base int) []byte {
	t.Helper()
	m, o := plainManifest(), Options{KeyHints: true}
	switch base {
	case severable:
		o.SeverInstall, o.Text = true, dict(text("en"), dict(num(1), text("update"))).Encode()
	case integrated:
		o.Payload = testImage
	case encrypted:
		m = encryptedManifest()
	case decoded:
		m = decodedManifest()
	case both:
		m, o.SeverInstall = bothManifest(), true
	}
	return build(t, m, o, alpha(t))
}

// mutation turns a good envelope into a bad one.
type mutation struct {
	name    string
	base    int
	bend    func(*forgery)
	want    verdict.Reason
	another bool                  // another spelling of the rule of the row above
	then    func(*Verified) error // refused only when this is asked for
}

// signed makes a fault inside the signed part: after it, digest and signature
// are right again, so that nothing but the fault can be the reason.
func signed(bend func(*forgery)) func(*forgery) {
	return func(f *forgery) {
		bend(f)
		f.Seal()
	}
}

// The places where faults are put.
var (
	toShared   = []any{envelopeManifest, keyCommon, commonShared}
	toFacts    = []any{envelopeManifest, keyCommon, commonShared, 1} // T1: the parameters
	toInstall  = []any{envelopeManifest, keyInstall}
	toInfo     = []any{envelopeManifest, keyInstall, 11, parameterEncryptionInfo} // T3
	toValidate = []any{envelopeManifest, keyValidate}
	toDecoding = []any{envelopeManifest, keyInstall, 13} // T4: the payload-info
)

// Every case of the reference verifier's list (suit profile, "cases to test"),
// in the order of that list. Not here, because they need keys or payloads and
// belong to package bootloader: a ciphertext digest that is right while the
// plaintext is wrong (wrong content key), the reverse, an A128KW integrity
// failure, an ephemeral point that is not on the curve. What the list wants
// accepted (equal sequence number, unknown kid, unknown extra block) is in
// TestAccepted.
var mutations = []mutation{
	{name: "wrong tag", bend: func(f *forgery) { f.Root.Arg = 1070 }, want: verdict.WrongTag},
	{name: "missing tag", bend: func(f *forgery) { f.Root = f.Root.Kids[0] }, want: verdict.MissingTag},
	{name: "digest over the content instead of the byte string", bend: func(f *forgery) {
		digest := sha256.Sum256(f.At(envelopeManifest).Body())
		f.At(envelopeAuth, 0, 1).Str = digest[:]
		f.Sign()
	}, want: verdict.DigestOverContent},
	{name: "signature over the wrapped digest", bend: func(f *forgery) {
		f.SignOver(f.At(envelopeAuth, 0).Encode())
	}, want: verdict.OverWrappedDigest},
	{name: "algorithm -7", bend: func(f *forgery) { f.Block(0).Kids[0] = protected(-7); f.Sign() }, want: verdict.ES256Deprecated},
	{name: "algorithm -8", bend: func(f *forgery) { f.Block(0).Kids[0] = protected(-8); f.Sign() }, want: verdict.EdDSADeprecated},
	{name: "missing algorithm", bend: func(f *forgery) { f.Block(0).Kids[0] = bin(nil); f.Sign() }, want: verdict.MissingAlgorithm},
	{name: "extra protected header", bend: func(f *forgery) {
		f.Block(0).Kids[0] = header(num(1), num(-9), num(3), num(60))
		f.Sign()
	}, want: verdict.ExtraProtected},
	{name: "algorithm in the unprotected header", bend: func(f *forgery) {
		f.Block(0).Kids[0], f.Block(0).Kids[1] = bin(nil), dict(num(1), num(-9))
		f.Sign()
	}, want: verdict.UnprotectedAlgorithm},
	{name: "payload not nil", bend: func(f *forgery) { f.Block(0).Kids[2] = bin(f.At(envelopeAuth, 0).Body()) }, want: verdict.PayloadNotDetached},
	{name: "signature of 63 bytes", bend: func(f *forgery) { s := f.Block(0).Kids[3]; s.Str = s.Str[:63] }, want: verdict.SignatureLength},
	{name: "signature of 65 bytes", bend: func(f *forgery) { s := f.Block(0).Kids[3]; s.Str = append(s.Str, 0) }, want: verdict.SignatureLength, another: true},
	{name: "r zero", bend: func(f *forgery) { clear(f.Block(0).Kids[3].Str[:32]) }, want: verdict.SignatureRange},
	{name: "s zero", bend: func(f *forgery) { clear(f.Block(0).Kids[3].Str[32:]) }, want: verdict.SignatureRange, another: true},
	{name: "r = n", bend: func(f *forgery) { orderP256().FillBytes(f.Block(0).Kids[3].Str[:32]) }, want: verdict.SignatureRange, another: true},
	{name: "s = n", bend: func(f *forgery) { orderP256().FillBytes(f.Block(0).Kids[3].Str[32:]) }, want: verdict.SignatureRange, another: true},
	{name: "r above n", bend: func(f *forgery) { copy(f.Block(0).Kids[3].Str, bytes.Repeat([]byte{0xff}, 32)) }, want: verdict.SignatureRange, another: true},
	{name: "s above n", bend: func(f *forgery) { copy(f.Block(0).Kids[3].Str[32:], bytes.Repeat([]byte{0xff}, 32)) }, want: verdict.SignatureRange, another: true},

	{name: "envelope count too big", bend: func(f *forgery) { f.Root.In().More = 1 }, want: verdict.WrongCount},
	{name: "envelope count too small", bend: func(f *forgery) { f.Root.In().More = -1 }, want: verdict.UncountedElement},
	{name: "duplicate keys", bend: signed(func(f *forgery) {
		m := f.At(envelopeManifest).In()
		m.Kids = slices.Insert(m.Kids, 4, m.Kids[2], m.Kids[3])
	}), want: verdict.DuplicateKey},
	{name: "unsorted keys", bend: signed(func(f *forgery) {
		m := f.At(envelopeManifest)
		m.Set(keySequence, m.Drop(keySequence))
	}), want: verdict.UnsortedKeys},
	{name: "long-form integer", bend: signed(func(f *forgery) {
		f.At(envelopeManifest, keySequence).Head = []byte{0x1a, 0, 0, 4, 0x12}
	}), want: verdict.LongForm},
	{name: "indefinite length", bend: signed(func(f *forgery) {
		f.At(toValidate...).In().Head = []byte{0x9f}
		f.At(toValidate...).In().Tail = []byte{0xff}
	}), want: verdict.Indefinite},
	{name: "bytes after the envelope", bend: func(f *forgery) { f.Root.Tail = []byte{0} }, want: verdict.TrailingAfterEnvelope},
	{name: "bytes after the manifest", bend: signed(func(f *forgery) {
		f.At(envelopeManifest).In().Tail = []byte{0}
	}), want: verdict.TrailingAfterManifest},
	{name: "bytes after a sequence", bend: signed(func(f *forgery) { f.At(toValidate...).In().Tail = []byte{0} }), want: verdict.TrailingAfterSequence},
	{name: "bytes after a digest", bend: func(f *forgery) {
		f.At(envelopeAuth, 0).In().Tail = []byte{0}
		f.Sign()
	}, want: verdict.TrailingAfterDigest},
	{name: "unknown manifest key", bend: signed(func(f *forgery) {
		m := f.At(envelopeManifest)
		install := m.Drop(keyInstall)
		m.Set(16, bin([]byte{0x80})) // payload-fetch
		m.Set(keyInstall, install)
	}), want: verdict.UnknownManifestKey},
	{name: "unknown command", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(2, num(14), num(15)) }), want: verdict.UnknownCommand}, // abort
	{name: "unknown parameter", bend: signed(func(f *forgery) { f.At(toFacts...).Set(24, bin(sized(16))) }), want: verdict.UnknownParameter},    // device identifier
	{name: "odd sequence", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(2, num(3)) }), want: verdict.OddSequence},
	{name: "vendor check missing", bend: signed(func(f *forgery) { f.At(toShared...).DropCommand(conditionVendor) }), want: verdict.MissingVendorCheck},
	{name: "class check missing", bend: signed(func(f *forgery) { f.At(toShared...).DropCommand(conditionClass) }), want: verdict.MissingClassCheck},
	{name: "vendor check only in install", bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(conditionVendor)
		f.At(toInstall...).Insert(0, num(conditionVendor), num(15))
	}), want: verdict.VendorOnlyInInstall},
	{name: "class check only in install", bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(conditionClass)
		f.At(toInstall...).Insert(0, num(conditionClass), num(15))
	}), want: verdict.ClassOnlyInInstall},
	{name: "image-match missing in validate", bend: signed(func(f *forgery) { f.At(toValidate...).In().Kids = []*item{} }), want: verdict.MissingImageMatch},
	{name: "size missing", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(parameterSize) }), want: verdict.MissingImageSize},
	{name: "component index out of range", base: encrypted, bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 2 }), want: verdict.ComponentIndexRange},
	{name: "two components without 12", base: encrypted, bend: signed(func(f *forgery) {
		f.At(toShared...).DropCommand(setComponentIndex)
	}), want: verdict.MissingSetComponentIndex},
	{name: "digest algorithm not -16", bend: signed(func(f *forgery) { *f.At(envelopeAuth, 0, 0) = *num(-43) }), want: verdict.DigestAlgorithm},
	{name: "digest not 32 bytes", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Str = sized(31); f.Sign() }, want: verdict.DigestLength},
	{name: "severed install wanted", base: severable, bend: func(f *forgery) { f.Root.Drop(envelopeInstall) },
		then: func(v *Verified) error { _, err := v.Install(); return err }, want: verdict.InstallSevered},
	{name: "severable digest mismatch", base: severable, bend: func(f *forgery) { f.At(envelopeInstall, 1, parameterURI).Str[1] ^= 1 }, want: verdict.SeverableDigestMismatch},
	{name: "install in the manifest and in the envelope", bend: func(f *forgery) {
		f.Root.Set(envelopeInstall, wrap(f.At(toInstall...).In()))
	}, want: verdict.InstallTwice},
	{name: "integrated payload missing", base: integrated, bend: func(f *forgery) { f.Root.Drop("#ble") },
		then: func(v *Verified) error { _, err := v.IntegratedPayload(); return err }, want: verdict.PayloadElementMissing},
	{name: "integrated payload of another name", base: integrated, bend: func(f *forgery) {
		f.Root.Set("#mcu", f.Root.Drop("#ble"))
	}, want: verdict.PayloadElementName},
	{name: "integrated payload of another length", base: integrated, bend: func(f *forgery) {
		f.Root.Set("#ble", bin(testImage[1:]))
	}, want: verdict.PayloadElementSize},
	{name: "sequence number lower", bend: signed(func(f *forgery) { f.At(envelopeManifest, keySequence).Arg-- }), want: verdict.SequenceRollback},
	{name: "sequence number 2^32", bend: signed(func(f *forgery) { f.At(envelopeManifest, keySequence).Arg = 1 << 32 }), want: verdict.SequenceRange},
	{name: "text nested 16 deep", base: severable, bend: func(f *forgery) {
		f.Root.Set(envelopeText, wrap(nested(16, num(0))))
		f.Resever(envelopeText)
	}, want: verdict.TooDeep},
	{name: "IV of 12 bytes", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).At(1, 5).Str = sized(12) }), want: verdict.IVLength},
	{name: "CTR with a protected header", base: encrypted, bend: signed(func(f *forgery) {
		f.At(toInfo...).In().Kids[0] = protected(cose.A128CTR)
	}), want: verdict.ProtectedNotEmpty},
	{name: "COSE_Encrypt0 instead of COSE_Encrypt", base: encrypted, bend: signed(func(f *forgery) {
		message := f.At(toInfo...).In()
		f.At(toInstall...).At(11).Set(parameterEncryptionInfo, wrap(tagged(16, list(message.Kids[:3]...))))
	}), want: verdict.Encrypt0},
	{name: "unknown coding", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeCoding).Arg = 6 }), want: verdict.UnknownCoding},
	{name: "revoked key", bend: func(f *forgery) {
		f.Signer = gamma(f.T)
		hint := f.Signer.Public().ID().Hint()
		f.Block(0).Kids[1] = dict(num(4), bin(hint[:]))
		f.Sign()
	}, want: verdict.KeyRevoked},
	{name: "only unknown signature blocks", bend: func(f *forgery) {
		f.At(envelopeAuth).In().Kids[1] = unknownBlock()
	}, want: verdict.NoKnownSignature},
}

func orderP256() *big.Int { return sign.ESP256.Curve().Params().N }

// unknownBlock is a signature block of ML-DSA-44, which this module does not
// have.
func unknownBlock() *item {
	return wrap(tagged(18, list(protected(-48), dict(), null(), bin(sized(2420)))))
}

func (m mutation) run(t *testing.T) {
	f := openEnvelope(t, baseEnvelope(t, m.base), alpha(t))
	m.bend(f)
	v, err := Verify(f.Root.Encode(), testTrust(t), testDevice)
	if m.then != nil {
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, m.then(v), m.want)
		return
	}
	if v != nil {
		t.Error("a refused envelope is returned")
	}
	wantReason(t, err, m.want)
}

func TestNegative(t *testing.T) {
	for base := range both + 1 {
		if _, err := Verify(baseEnvelope(t, base), testTrust(t), testDevice); err != nil {
			t.Fatalf("envelope %d: %v", base, err)
		}
		// The editor itself changes nothing.
		f := openEnvelope(t, baseEnvelope(t, base), alpha(t))
		if f.Seal(); !bytes.Equal(f.Root.Encode(), baseEnvelope(t, base)) {
			t.Errorf("envelope %d does not survive the editor", base)
		}
	}
	first := map[verdict.Reason]string{}
	for i, m := range mutations {
		t.Run(m.name, m.run)
		switch other, taken := first[m.want]; {
		case m.another && mutations[i-1].want != m.want:
			t.Errorf("%q has not the reason of the row above", m.name)
		case taken && !m.another:
			t.Errorf("%q and %q share the reason %s", other, m.name, m.want)
		default:
			first[m.want] = m.name
		}
	}
}

// The same rules in other places, and what else a decoder must refuse.
func TestRefusedElsewhere(t *testing.T) {
	drop := func(key int) func(*forgery) {
		return signed(func(f *forgery) { f.At(envelopeManifest).Drop(key) })
	}
	version := func(elements ...int) func(*forgery) {
		return signed(func(f *forgery) {
			v := list()
			for _, e := range elements {
				v.Kids = append(v.Kids, num(e))
			}
			f.At(envelopeManifest).Set(keyVersion, wrap(v))
		})
	}
	for _, m := range []mutation{
		// Envelope.
		{name: "empty input", bend: func(f *forgery) { f.Root = &item{Head: []byte{}} }, want: verdict.Truncated},
		{name: "tag cut off", bend: func(f *forgery) { f.Root = &item{Head: []byte{0xd8}} }, want: verdict.Truncated},
		{name: "tag in long form", bend: func(f *forgery) { f.Root.Head = []byte{0xd9, 0, 107} }, want: verdict.LongForm},
		{name: "tag twice", bend: func(f *forgery) { f.Root = tagged(107, f.Root) }, want: verdict.WrongType},
		{name: "envelope is an array", bend: func(f *forgery) { f.Root = tagged(107, list()) }, want: verdict.WrongType},
		{name: "envelope of 17 elements", bend: func(f *forgery) { f.Root.In().More = 15 }, want: verdict.WrongCount},
		{name: "no wrapper", bend: func(f *forgery) { f.Root.Drop(envelopeAuth) }, want: verdict.MissingKey},
		{name: "no manifest", bend: func(f *forgery) { f.Root.Drop(envelopeManifest) }, want: verdict.MissingKey},
		{name: "only the wrapper counted, then bytes", bend: func(f *forgery) { f.Root.Drop(envelopeManifest); f.Root.Tail = []byte{0} }, want: verdict.MissingKey},
		{name: "delegation", bend: func(f *forgery) { f.Root.In().Kids = append([]*item{num(1), bin(nil)}, f.Root.In().Kids...) }, want: verdict.UnknownEnvelopeKey},
		{name: "envelope elements not in order", bend: func(f *forgery) { f.Root.Set(envelopeAuth, f.Root.Drop(envelopeAuth)) }, want: verdict.UnsortedKeys},
		{name: "wrapper twice", bend: func(f *forgery) {
			e := f.Root.In()
			e.Kids = slices.Insert(e.Kids, 2, e.Kids[0], e.Kids[1])
		}, want: verdict.DuplicateKey},
		{name: "severable element not counted", base: severable, bend: func(f *forgery) { f.Root.In().More = -1 }, want: verdict.UncountedElement},
		{name: "payload not counted", base: integrated, bend: func(f *forgery) { f.Root.In().More = -1 }, want: verdict.UncountedElement},
		{name: "two payloads", base: integrated, bend: func(f *forgery) { f.Root.Set("#zzz", bin(nil)) }, want: verdict.UnknownEnvelopeKey},
		{name: "payload is text", base: integrated, bend: func(f *forgery) { f.Root.Set("#ble", text("image")) }, want: verdict.WrongType},
		{name: "payload without a name", base: integrated, bend: func(f *forgery) { f.Root.Set("", f.Root.Drop("#ble")) }, want: verdict.PayloadElementName},
		{name: "empty payload without a name", bend: func(f *forgery) { f.Root.Set("", bin(nil)) }, want: verdict.PayloadElementName},
		{name: "empty payload", base: integrated, bend: func(f *forgery) { f.Root.Set("#ble", bin(nil)) }, want: verdict.PayloadElementSize},
		{name: "payload, install severed", base: severable, bend: func(f *forgery) {
			f.Root.Drop(envelopeInstall)
			f.Root.Set("#ble", bin(testImage))
		}, want: verdict.InstallSevered},
		{name: "manifest too long", bend: signed(func(f *forgery) { f.At(envelopeManifest).In().Tail = sized(MaxManifest) }), want: verdict.WrongLength},
		{name: "install too long", base: severable, bend: func(f *forgery) { f.Root.Set(envelopeInstall, bin(sized(MaxInstall+1))) }, want: verdict.WrongLength},
		{name: "text too long", base: severable, bend: func(f *forgery) { f.Root.Set(envelopeText, bin(sized(MaxText+1))) }, want: verdict.WrongLength},
		{name: "bytes after the text", base: severable, bend: func(f *forgery) { f.At(envelopeText).In().Tail = []byte{0}; f.Resever(envelopeText) }, want: verdict.TrailingBytes},
		{name: "text with a float", base: severable, bend: func(f *forgery) {
			f.Root.Set(envelopeText, bin([]byte{0xf9, 0, 0}))
			f.Resever(envelopeText)
		}, want: verdict.ReservedEncoding},
		{name: "text keys not in order", base: severable, bend: func(f *forgery) {
			f.Root.Set(envelopeText, wrap(dict(text("en"), num(0), text("de"), num(0))))
			f.Resever(envelopeText)
		}, want: verdict.UnsortedKeys},
		{name: "text is another", base: severable, bend: func(f *forgery) { f.At(envelopeText, "en", 1).Str[0] ^= 1 }, want: verdict.SeverableDigestMismatch},
		{name: "text that the manifest does not name", bend: func(f *forgery) { f.Root.Set(envelopeText, wrap(dict())) }, want: verdict.SeverableDigestMismatch},

		// Wrapper and signature blocks.
		{name: "wrapper is a map", bend: func(f *forgery) { f.Root.Set(envelopeAuth, wrap(dict())) }, want: verdict.WrongType},
		{name: "empty wrapper", bend: func(f *forgery) { f.Root.Set(envelopeAuth, wrap(list())) }, want: verdict.WrongCount},
		{name: "no signature", bend: func(f *forgery) { a := f.At(envelopeAuth).In(); a.Kids = a.Kids[:1] }, want: verdict.Unsigned},
		{name: "four signatures", bend: func(f *forgery) {
			b := f.At(envelopeAuth, 1)
			f.At(envelopeAuth).Insert(1, b, b, b)
		}, want: verdict.WrongCount},
		{name: "bytes after the wrapper", bend: func(f *forgery) { f.At(envelopeAuth).In().Tail = []byte{0} }, want: verdict.TrailingBytes},
		{name: "bytes after a block", bend: func(f *forgery) { f.Block(0).Tail = []byte{0} }, want: verdict.TrailingBytes},
		{name: "block without a tag", bend: func(f *forgery) { f.At(envelopeAuth).In().Kids[1] = wrap(f.Block(0)) }, want: verdict.NotSign1},
		{name: "COSE_Mac0", bend: func(f *forgery) { f.At(envelopeAuth).In().Kids[1] = wrap(tagged(17, f.Block(0))) }, want: verdict.NotSign1},
		{name: "digest is a map", bend: func(f *forgery) { f.At(envelopeAuth).In().Kids[0] = wrap(dict()) }, want: verdict.WrongType},
		{name: "digest of 64 bytes", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Str = sized(57) }, want: verdict.DigestLength},
		{name: "another digest", bend: func(f *forgery) { f.At(envelopeAuth, 0, 1).Str[0] ^= 1; f.Sign() }, want: verdict.ManifestDigestMismatch},
		{name: "signature of another envelope", bend: func(f *forgery) { f.SignOver([]byte("another")) }, want: verdict.SignatureInvalid},
		{name: "stranger's key", bend: func(f *forgery) { f.Signer = testSigner(f.T, sign.ESP256, "stranger"); f.Sign() }, want: verdict.SignatureInvalid},

		// Manifest.
		{name: "manifest is an array", bend: signed(func(f *forgery) { f.Root.Set(envelopeManifest, wrap(list())) }), want: verdict.WrongType},
		{name: "no manifest version", bend: drop(keyManifestVersion), want: verdict.MissingKey},
		{name: "no sequence number", bend: drop(keySequence), want: verdict.MissingKey},
		{name: "no common", bend: drop(keyCommon), want: verdict.MissingKey},
		{name: "no validate", bend: drop(keyValidate), want: verdict.MissingKey},
		{name: "no invoke", bend: drop(keyInvoke), want: verdict.MissingKey},
		{name: "no install", bend: drop(keyInstall), want: verdict.MissingKey},
		{name: "manifest version 2", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyManifestVersion).Arg = 2 }), want: verdict.ManifestVersion},
		{name: "sequence number -1", bend: signed(func(f *forgery) { *f.At(envelopeManifest, keySequence) = *num(-1) }), want: verdict.SequenceRange},
		{name: "sequence number is text", bend: signed(func(f *forgery) { *f.At(envelopeManifest, keySequence) = *text("1042") }), want: verdict.WrongType},
		{name: "text key in the manifest", bend: signed(func(f *forgery) { f.At(envelopeManifest).Set("x", num(0)) }), want: verdict.UnknownManifestKey},
		{name: "two unknown keys beside all others", base: severable, bend: signed(func(f *forgery) {
			f.At(envelopeManifest).Set(24, bin(nil))
			f.At(envelopeManifest).Set(25, bin(nil))
		}), want: verdict.UnknownManifestKey},
		{name: "text in the manifest", bend: signed(func(f *forgery) { f.At(envelopeManifest).Set(keyText, wrap(dict())) }), want: verdict.WrongType},
		{name: "bytes after the version", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyVersion).In().Tail = []byte{0} }), want: verdict.TrailingBytes},
		{name: "empty version", bend: version(), want: verdict.WrongCount},
		{name: "version of six elements", bend: version(1, 2, 3, -1, 4, 5), want: verdict.WrongCount},
		{name: "version of four numbers", bend: version(1, 2, 3, 4), want: verdict.BadVersion},
		{name: "version that starts with its mark", bend: version(-1, 2), want: verdict.BadVersion},
		{name: "version with an unknown mark", bend: version(1, -4), want: verdict.BadVersion},
		{name: "version with two marks", bend: version(1, -1, -1), want: verdict.BadVersion},
		{name: "version with two numbers after the mark", bend: version(1, -1, 1, 1), want: verdict.BadVersion},
		{name: "version number 2^31", bend: version(1 << 31), want: verdict.BadVersion},
		{name: "install digest of SHA-512", base: severable, bend: signed(func(f *forgery) {
			f.At(envelopeManifest).Set(keyInstall, list(num(-44), bin(sized(64))))
		}), want: verdict.DigestAlgorithm},
		{name: "text digest of 20 bytes", base: severable, bend: signed(func(f *forgery) {
			f.At(envelopeManifest).Set(keyText, list(num(-16), bin(sized(20))))
		}), want: verdict.DigestLength},

		// Common.
		{name: "key in common", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Set(5, num(0)) }), want: verdict.UnknownManifestKey},
		{name: "dependencies", bend: signed(func(f *forgery) {
			c := f.At(envelopeManifest, keyCommon).In()
			c.Kids = append([]*item{num(1), dict()}, c.Kids...)
		}), want: verdict.UnknownManifestKey},
		{name: "no components", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Drop(commonComponents) }), want: verdict.MissingKey},
		{name: "no shared sequence", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Drop(commonShared) }), want: verdict.MissingKey},
		{name: "bytes after common", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).In().Tail = []byte{0} }), want: verdict.TrailingBytes},
		{name: "zero components", bend: signed(func(f *forgery) { f.At(envelopeManifest, keyCommon).Set(commonComponents, list()) }), want: verdict.WrongCount},
		{name: "three components", base: encrypted, bend: signed(func(f *forgery) {
			f.At(envelopeManifest, keyCommon, commonComponents).Insert(2, list(bin([]byte{2})))
		}), want: verdict.WrongCount},
		{name: "component of two parts", bend: signed(func(f *forgery) {
			f.At(envelopeManifest, keyCommon, commonComponents, 0).Insert(1, bin([]byte{2}))
		}), want: verdict.WrongCount},
		{name: "component identifier of 9 bytes", bend: signed(func(f *forgery) {
			f.At(envelopeManifest, keyCommon, commonComponents, 0, 0).Str = sized(9)
		}), want: verdict.WrongLength},
		{name: "component twice", base: encrypted, bend: signed(func(f *forgery) {
			f.At(envelopeManifest, keyCommon, commonComponents, 1, 0).Str = []byte{0}
		}), want: verdict.DuplicateComponent},

		// Sequences.
		{name: "sequence is a map", bend: signed(func(f *forgery) { f.At(envelopeManifest).Set(keyInvoke, wrap(dict())) }), want: verdict.WrongType},
		{name: "sequence of 33 commands", bend: signed(func(f *forgery) { f.At(toValidate...).In().Kids = slices.Repeat([]*item{num(3), num(15)}, 33) }), want: verdict.WrongCount},
		{name: "command is text", bend: signed(func(f *forgery) { *f.At(toValidate...).At(0) = *text("abort") }), want: verdict.WrongType},
		{name: "policy above 15", bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 16 }), want: verdict.TooLarge},
		{name: "try-each", bend: signed(func(f *forgery) { f.At(toShared...).Insert(0, num(15), list()) }), want: verdict.UnknownCommand},
		{name: "bytes after the shared sequence", bend: signed(func(f *forgery) { f.At(toShared...).In().Tail = []byte{0} }), want: verdict.TrailingAfterSequence},
		{name: "bytes after the severed install sequence", base: severable, bend: func(f *forgery) {
			f.At(envelopeInstall).In().Tail = []byte{0}
			f.Resever(envelopeInstall)
		}, want: verdict.TrailingAfterSequence},
		{name: "unknown command in the severed install sequence", base: severable, bend: func(f *forgery) {
			f.At(envelopeInstall).Insert(0, num(14), num(15))
			f.Resever(envelopeInstall)
		}, want: verdict.UnknownCommand},
		{name: "vendor check in invoke only", bend: signed(func(f *forgery) {
			f.At(toShared...).DropCommand(conditionVendor)
			f.At(envelopeManifest, keyInvoke).Insert(0, num(conditionVendor), num(15))
		}), want: verdict.MissingVendorCheck},
		{name: "component 1 of one", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(0, num(12), num(1)) }), want: verdict.ComponentIndexRange},
		{name: "all components", base: encrypted, bend: signed(func(f *forgery) { f.At(toValidate...).In().Kids[1] = &item{Major: majorSimple, Arg: 21} }), want: verdict.WrongType},
		{name: "install without 12", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).DropCommand(setComponentIndex) }), want: verdict.MissingSetComponentIndex},

		// Parameters.
		{name: "text key in parameters", bend: signed(func(f *forgery) { f.At(toFacts...).Set("x", num(0)) }), want: verdict.UnknownParameter},
		{name: "parameters not in order", bend: signed(func(f *forgery) { p := f.At(toFacts...); p.Set(1, p.Drop(1)) }), want: verdict.UnsortedKeys},
		{name: "vendor of 15 bytes", bend: signed(func(f *forgery) { f.At(toFacts...).At(1).Str = sized(15) }), want: verdict.WrongLength},
		{name: "vendor by enterprise number", bend: signed(func(f *forgery) { f.At(toFacts...).Set(1, tagged(112, bin(sized(5)))) }), want: verdict.WrongType},
		{name: "no vendor", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(1) }), want: verdict.MissingParameter},
		{name: "no class", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(2) }), want: verdict.MissingParameter},
		{name: "no image digest", bend: signed(func(f *forgery) { f.At(toFacts...).Drop(3) }), want: verdict.MissingParameter},
		{name: "no parameters", bend: signed(func(f *forgery) { f.At(toShared...).DropCommand(overrideParameters) }), want: verdict.MissingParameter},
		{name: "image size zero", bend: signed(func(f *forgery) { f.At(toFacts...).At(parameterSize).Arg = 0 }), want: verdict.MissingImageSize},
		{name: "image size 2^32", bend: signed(func(f *forgery) { f.At(toFacts...).At(parameterSize).Arg = 1 << 32 }), want: verdict.TooLarge},
		{name: "image digest of SHA-384", bend: signed(func(f *forgery) { *f.At(toFacts...).At(3, 0) = *num(-43) }), want: verdict.DigestAlgorithm},
		{name: "bytes after the image digest", bend: signed(func(f *forgery) { f.At(toFacts...).At(3).In().Tail = []byte{0} }), want: verdict.TrailingAfterDigest},
		{name: "no URI", bend: signed(func(f *forgery) { f.At(toInstall...).At(1).Drop(parameterURI) }), want: verdict.MissingParameter},
		{name: "empty URI", bend: signed(func(f *forgery) { f.At(toInstall...).At(1, parameterURI).Str = nil }), want: verdict.WrongLength},
		{name: "URI not UTF-8", bend: signed(func(f *forgery) { f.At(toInstall...).At(1, parameterURI).Str[3] = 0xff }), want: verdict.BadUTF8},
		{name: "no ciphertext digest", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(3).Drop(parameterDigest) }), want: verdict.MissingParameter},
		{name: "ciphertext of another size", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(3, parameterSize).Arg++ }), want: verdict.PayloadElementSize},
		{name: "no encryption information", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(11).Drop(parameterEncryptionInfo) }), want: verdict.MissingParameter},
		{name: "bytes after the encryption information", base: encrypted, bend: signed(func(f *forgery) {
			info := f.At(toInfo...)
			info.In()
			info.Kids[0].Tail = []byte{0}
		}), want: verdict.TrailingBytes},
		{name: "A128GCM", base: encrypted, bend: signed(func(f *forgery) { *f.At(toInfo...).At(1, 1) = *num(1) }), want: verdict.ContentAlgorithm},
		{name: "A256KW", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).At(3, 0).Kids[0] = protected(-5) }), want: verdict.RecipientAlgorithm},
		{name: "ciphertext attached", base: encrypted, bend: signed(func(f *forgery) { f.At(toInfo...).In().Kids[2] = bin(testCiphertext) }), want: verdict.CiphertextAttached},

		// Decoding.
		{name: "coding 0", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeCoding).Arg = 0 }), want: verdict.UnknownCoding},
		{name: "coding 257", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeCoding).Arg = 257 }), want: verdict.UnknownCoding},
		{name: "coding is text", base: decoded, bend: signed(func(f *forgery) { *f.At(toDecoding...).At(decodeCoding) = *text("od1") }), want: verdict.WrongType},
		{name: "zstd with a base", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeCoding).Arg = 2 }), want: verdict.UnknownCoding},
		{name: "detools without a base", base: decoded, bend: signed(func(f *forgery) {
			p := f.At(toDecoding...)
			p.At(decodeCoding).Arg = 5
			p.Drop(decodeBaseDigest)
			p.Drop(decodeBaseSize)
		}), want: verdict.UnknownCoding},
		{name: "base without a size", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Drop(decodeBaseSize) }), want: verdict.MissingParameter},
		{name: "base without a digest", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Drop(decodeBaseDigest) }), want: verdict.MissingParameter},
		{name: "base size zero", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeBaseSize).Arg = 0 }), want: verdict.MissingImageSize},
		{name: "base digest of SHA-384", base: decoded, bend: signed(func(f *forgery) { *f.At(toDecoding...).At(decodeBaseDigest, 0) = *num(-43) }), want: verdict.DigestAlgorithm},
		{name: "base digest of 31 bytes", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeBaseDigest, 1).Str = sized(31) }), want: verdict.DigestLength},
		{name: "decoder RAM zero", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeRAM).Arg = 0 }), want: verdict.MissingParameter},
		{name: "decoder RAM 2^32", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).At(decodeRAM).Arg = 1 << 32 }), want: verdict.TooLarge},
		{name: "no coding", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Drop(decodeCoding) }), want: verdict.MissingParameter},
		{name: "no decoder RAM", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Drop(decodeRAM) }), want: verdict.MissingParameter},
		{name: "unknown payload information", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Set(5, num(0)) }), want: verdict.UnknownParameter},
		{name: "text key in the payload information", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).Set("x", num(0)) }), want: verdict.UnknownParameter},
		{name: "payload information not in order", base: decoded, bend: signed(func(f *forgery) { p := f.At(toDecoding...); p.Set(1, p.Drop(1)) }), want: verdict.UnsortedKeys},
		{name: "bytes after the payload information", base: decoded, bend: signed(func(f *forgery) { f.At(toDecoding...).In().Tail = []byte{0} }), want: verdict.TrailingBytes},
		{name: "payload information too long", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).In().Kids[13] = bin(sized(maxPayloadInfo + 1)) }), want: verdict.WrongLength},
		{name: "payload information not wrapped", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).In().Kids[13] = dict(num(1), num(1), num(2), num(1)) }), want: verdict.WrongType},
		{name: "payload size zero", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).At(3, parameterSize).Arg = 0 }), want: verdict.PayloadElementSize},
		{name: "no payload digest", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).At(3).Drop(parameterDigest) }), want: verdict.MissingParameter},
		{name: "no source", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).At(11).Drop(parameterSource) }), want: verdict.MissingParameter},
		{name: "neither copied nor decoded", base: decoded, bend: signed(func(f *forgery) {
			s := f.At(toInstall...).In()
			s.Kids = slices.Delete(s.Kids, 12, 14)
		}), want: verdict.MissingParameter},
		{name: "copied and decoded", base: decoded, bend: signed(func(f *forgery) { f.At(toInstall...).Insert(12, num(directiveCopy), num(reportFailure)) }), want: verdict.NotInProfile},
		{name: "decoded twice", base: decoded, bend: signed(func(f *forgery) {
			s := f.At(toInstall...).In()
			f.At(toInstall...).Insert(14, s.Kids[12], s.Kids[13])
		}), want: verdict.NotInProfile},
		{name: "decoded with one component", bend: signed(func(f *forgery) {
			info, err := Decoding{Coding: CodingZstd, RAM: 1}.encode()
			if err != nil {
				f.T.Fatal(err)
			}
			f.At(toInstall...).Insert(4, num(directiveDecode), bin(info))
		}), want: verdict.NotInProfile},
		{name: "decode in validate", base: decoded, bend: signed(func(f *forgery) {
			s := f.At(toInstall...).In()
			f.At(toValidate...).Insert(2, s.Kids[12], s.Kids[13])
		}), want: verdict.NotInProfile},
		{name: "another private command", base: decoded, bend: signed(func(f *forgery) { *f.At(toInstall...).In().Kids[12] = *num(-258) }), want: verdict.UnknownCommand},
		{name: "severed decoding is another", base: both, bend: func(f *forgery) { f.At(envelopeInstall, 13, decodeRAM).Arg-- }, want: verdict.SeverableDigestMismatch},

		// Well-formed, and not what a template gives.
		{name: "another reporting policy", bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 14 }), want: verdict.NotInProfile},
		{name: "condition twice", bend: signed(func(f *forgery) { f.At(toShared...).Insert(2, num(conditionVendor), num(15)) }), want: verdict.NotInProfile},
		{name: "class before vendor", bend: signed(func(f *forgery) {
			s := f.At(toShared...).In()
			s.Kids[2], s.Kids[4] = s.Kids[4], s.Kids[2]
		}), want: verdict.NotInProfile},
		{name: "slot without a condition", bend: signed(func(f *forgery) {
			p := f.At(toFacts...)
			size := p.Drop(parameterSize)
			p.Set(parameterSlot, num(1))
			p.Set(parameterSize, size)
		}), want: verdict.NotInProfile},
		{name: "slot condition without a slot", bend: signed(func(f *forgery) { f.At(toShared...).Insert(6, num(conditionSlot), num(5)) }), want: verdict.NotInProfile},
		{name: "URI among the facts", bend: signed(func(f *forgery) { f.At(toFacts...).Set(parameterURI, text("#x")) }), want: verdict.NotInProfile},
		{name: "index with one component", bend: signed(func(f *forgery) { f.At(toValidate...).Insert(0, num(12), num(0)) }), want: verdict.NotInProfile},
		{name: "no fetch", bend: signed(func(f *forgery) { f.At(toInstall...).DropCommand(directiveFetch) }), want: verdict.NotInProfile},
		{name: "validate of the ciphertext", base: encrypted, bend: signed(func(f *forgery) { f.At(toValidate...).At(1).Arg = 1 }), want: verdict.NotInProfile},
		{name: "source is another component", base: encrypted, bend: signed(func(f *forgery) { f.At(toInstall...).At(11, parameterSource).Arg = 0 }), want: verdict.NotInProfile},
		{name: "size in a plain install", bend: signed(func(f *forgery) {
			p := f.At(toInstall...).At(1)
			uri := p.Drop(parameterURI)
			p.Set(parameterSize, num(len(testImage)))
			p.Set(parameterURI, uri)
		}), want: verdict.NotInProfile},
		{name: "identity in a severed install", base: severable, bend: func(f *forgery) {
			f.At(envelopeInstall).Insert(0, num(conditionVendor), num(15))
			f.Resever(envelopeInstall)
		}, want: verdict.NotInProfile},
	} {
		t.Run(m.name, m.run)
	}
}

// Offsets count from the start of the envelope, also inside the byte strings
// within byte strings.
func TestOffsets(t *testing.T) {
	for _, tt := range []struct {
		name string
		base int
		bend func(*forgery)
		path []any // the item that is refused
		want verdict.Reason
	}{
		{"manifest", plain, func(f *forgery) { f.At(envelopeManifest, keySequence).Arg = 1 << 32 }, []any{envelopeManifest, keySequence}, verdict.SequenceRange},
		{"parameter", plain, func(f *forgery) { f.At(toFacts...).At(2).Str = sized(15) }, append(slices.Clone(toFacts), 2), verdict.WrongLength},
		{"digest in a parameter", plain, func(f *forgery) { *f.At(toFacts...).At(3, 0) = *num(-43) }, append(slices.Clone(toFacts), 3, 0), verdict.DigestAlgorithm},
		{"command", encrypted, func(f *forgery) { f.At(toInstall...).At(12).Arg = 99 }, append(slices.Clone(toInstall), 12), verdict.UnknownCommand},
		{"recipient", encrypted, func(f *forgery) { f.At(toInfo...).At(3, 0, 2).Str = sized(8) }, append(slices.Clone(toInfo), 3, 0, 2), verdict.WrappedKeyLength},
		{"signature", plain, func(f *forgery) { f.Block(0).Kids[3].Str = sized(1) }, []any{envelopeAuth, 1, 3}, verdict.SignatureLength},
		{"severed install", severable, func(f *forgery) { *f.At(envelopeInstall, 2) = *text("x"); f.Resever(envelopeInstall) }, []any{envelopeInstall, 2}, verdict.WrongType},
		{"text", severable, func(f *forgery) { *f.At(envelopeText, "en", 1) = item{Major: majorText, Str: []byte{0xff}} }, []any{envelopeText, "en", 1}, verdict.BadUTF8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := openEnvelope(t, baseEnvelope(t, tt.base), alpha(t))
			if tt.bend(f); tt.want != verdict.SignatureLength {
				f.Seal()
			}
			_, err := Authenticate(f.Root.Encode(), testTrust(t))
			wantReason(t, err, tt.want)
			if e, ok := errors.AsType[*verdict.Error](err); ok && e.Offset != int64(f.Root.Offset(f.At(tt.path...))) {
				t.Errorf("got %v, want offset %d", err, f.Root.Offset(f.At(tt.path...)))
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	hint := func(s sign.Signer) *item {
		h := s.Public().ID().Hint()
		return dict(num(4), bin(h[:]))
	}
	want, err := Verify(baseEnvelope(t, plain), testTrust(t), testDevice)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		bend func(*forgery)
	}{
		{"sequence number equal to the floor", func(*forgery) {}},
		{"no kid", func(f *forgery) { f.Block(0).Kids[1] = dict() }},
		{"unknown kid", func(f *forgery) { f.Block(0).Kids[1] = dict(num(4), bin([]byte("nobody"))) }},
		{"kid of a longer kind", func(f *forgery) { f.Block(0).Kids[1] = dict(num(4), bin(sized(16))) }},
		{"kid of another trusted key", func(f *forgery) { f.Block(0).Kids[1] = hint(beta(t)) }},
		{"kid of a revoked key", func(f *forgery) { f.Block(0).Kids[1] = hint(gamma(t)) }},
		{"unknown block behind", func(f *forgery) { f.At(envelopeAuth).Insert(2, unknownBlock()) }},
		{"unknown block before", func(f *forgery) { f.At(envelopeAuth).Insert(1, unknownBlock()) }},
		{"block of a stranger before", func(f *forgery) {
			stranger := openEnvelope(t, baseEnvelope(t, plain), testSigner(t, sign.ESP256, "stranger"))
			stranger.Sign()
			f.At(envelopeAuth).Insert(1, stranger.At(envelopeAuth, 1))
		}},
		{"block of a revoked key before", func(f *forgery) {
			revoked := openEnvelope(t, baseEnvelope(t, plain), gamma(t))
			revoked.Sign()
			f.At(envelopeAuth).Insert(1, revoked.At(envelopeAuth, 1))
		}},
		{"the other signature (r, n-s)", func(f *forgery) {
			raw := f.Block(0).Kids[3].Str
			s := new(big.Int).SetBytes(raw[32:])
			s.Sub(orderP256(), s).FillBytes(raw[32:])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := openEnvelope(t, baseEnvelope(t, plain), alpha(t))
			tt.bend(f)
			v, err := Verify(f.Root.Encode(), testTrust(t), testDevice)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(v, want) {
				t.Errorf("got %+v, want %+v", v, want)
			}
		})
	}
}

// Reading for people asks for no signature, and its result never passes for a
// verified one.
func TestUnverified(t *testing.T) {
	f := openEnvelope(t, baseEnvelope(t, severable), testSigner(t, sign.ESP256, "stranger"))
	f.Seal()
	data := f.Root.Encode()
	e, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Unverified()
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := Authenticate(baseEnvelope(t, severable), testTrust(t))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, genuine.Manifest()) || e.Digest != genuine.Digest() {
		t.Errorf("got %+v, want %+v", m, genuine.Manifest())
	}
	_, err = Authenticate(data, testTrust(t))
	wantReason(t, err, verdict.SignatureInvalid)

	// A manifest that Parse does not look at.
	f = openEnvelope(t, baseEnvelope(t, plain), alpha(t))
	f.At(envelopeManifest, keyManifestVersion).Arg = 2
	f.Seal()
	if e, err = Parse(f.Root.Encode()); err != nil {
		t.Fatal(err)
	}
	_, err = e.Unverified()
	wantReason(t, err, verdict.ManifestVersion)
	a, err := e.Authenticate(testTrust(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Decode()
	wantReason(t, err, verdict.ManifestVersion)
}

// The signature is checked before anything of the manifest is read.
func TestOrder(t *testing.T) {
	f := openEnvelope(t, baseEnvelope(t, plain), testSigner(t, sign.ESP256, "stranger"))
	f.Root.Set(envelopeManifest, bin([]byte("no CBOR at all")))
	f.Seal()
	_, err := Authenticate(f.Root.Encode(), testTrust(t))
	wantReason(t, err, verdict.SignatureInvalid)
	f.At(envelopeAuth, 0, 1).Str[0] ^= 1
	_, err = Authenticate(f.Root.Encode(), testTrust(t))
	wantReason(t, err, verdict.ManifestDigestMismatch)

	// Rollback, vendor, class, slot.
	m := plainManifest()
	slot, other := uint32(1), uint32(2)
	m.Slot = &slot
	data := build(t, m, Options{}, alpha(t))
	device := Device{MinSequence: 1043, Slot: &other}
	for _, step := range []struct {
		want verdict.Reason
		mend func()
	}{
		{verdict.SequenceRollback, func() { device.MinSequence = 1042 }},
		{verdict.VendorMismatch, func() { device.Vendor = testDevice.Vendor }},
		{verdict.ClassMismatch, func() { device.Class = testDevice.Class }},
		{verdict.SlotMismatch, func() { device.Slot = nil }},
		{verdict.SlotMismatch, func() { device.Slot = &slot }},
	} {
		v, err := Verify(data, testTrust(t), device)
		if v != nil {
			t.Error("a refused envelope is returned")
		}
		wantReason(t, err, step.want)
		step.mend()
	}
	if _, err := Verify(data, testTrust(t), device); err != nil {
		t.Error(err)
	}
}

func TestSignatures(t *testing.T) {
	a, b, c := alpha(t), beta(t), testSigner(t, sign.ESP384, "delta")
	two := trusting(t, sign.RoleManifest, 2, a, b, c)
	for _, tt := range []struct {
		name    string
		signers []sign.Signer
		trust   *sign.TrustSet
		want    verdict.Reason
	}{
		{"one of one", []sign.Signer{a}, trusting(t, sign.RoleManifest, 1, a), ""},
		{"one for two", []sign.Signer{a}, two, verdict.SignatureInvalid},
		{"the same twice for two", []sign.Signer{a, a}, two, verdict.SignatureInvalid},
		{"one and a stranger for two", []sign.Signer{a, gamma(t)}, two, verdict.SignatureInvalid},
		{"two for two", []sign.Signer{b, a}, two, ""},
		{"two algorithms for two", []sign.Signer{c, a}, two, ""},
		{"three for two", []sign.Signer{a, b, c}, two, ""},
		{"two and a stranger for two", []sign.Signer{a, gamma(t), c}, two, ""},
		{"P-384", []sign.Signer{c}, trusting(t, sign.RoleManifest, 1, c), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := build(t, plainManifest(), Options{KeyHints: true}, tt.signers...)
			v, err := Authenticate(data, tt.trust)
			if tt.want != "" {
				wantReason(t, err, tt.want)
				if !errors.Is(err, sign.ErrThreshold) {
					t.Errorf("%v does not wrap sign.ErrThreshold", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := len(v.Signers()); got < tt.trust.Threshold(sign.RoleManifest) {
				t.Errorf("%d signers", got)
			}
			for _, k := range v.Signers() {
				if !slices.ContainsFunc(tt.signers, func(s sign.Signer) bool { return s.Public().Equal(k) }) {
					t.Errorf("%s did not sign", k.ID())
				}
			}
		})
	}

	t.Run("revoked", func(t *testing.T) {
		two := trusting(t, sign.RoleManifest, 2, a, b, c)
		two.Revoke(a.Public())
		_, err := Authenticate(build(t, plainManifest(), Options{}, a, b), two)
		wantReason(t, err, verdict.KeyRevoked)
		if !errors.Is(err, sign.ErrRevoked) {
			t.Errorf("%v does not wrap sign.ErrRevoked", err)
		}
		v, err := Authenticate(build(t, plainManifest(), Options{}, a, b, c), two)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Signers()) != 2 || slices.ContainsFunc(v.Signers(), a.Public().Equal) {
			t.Errorf("signers %v", v.Signers())
		}
	})
	t.Run("role without keys", func(t *testing.T) {
		for _, trust := range []*sign.TrustSet{{}, trusting(t, sign.RoleRelease, 1, a)} {
			v, err := Verify(build(t, plainManifest(), Options{}, a), trust, testDevice)
			if v != nil || !errors.Is(err, sign.ErrTrust) || verdict.Of(err) != "" {
				t.Errorf("got %v, want sign.ErrTrust and no reason", err)
			}
		}
	})
	t.Run("message names the algorithm", func(t *testing.T) {
		d, err := New(plainManifest(), publicKeys([]sign.Signer{a, c}), Options{Artifact: "radio manifest"})
		if err != nil {
			t.Fatal(err)
		}
		r := d.Requests()
		if len(r) != 2 || len(r[0].Message) != 55 || len(r[1].Message) != 56 || r[0].Artifact != "radio manifest" ||
			r[0].Role != sign.RoleManifest || r[0].Key != a.Public().ID() || r[1].Key != c.Public().ID() {
			t.Errorf("requests %+v", r)
		}
	})
}

// Every single-bit error of an envelope is refused, or stands in the key hint,
// which is not signed, and then changes nothing in what was verified.
func TestBitFlips(t *testing.T) {
	for name, base := range map[string]int{"T1": plain, "T1 severable": severable, "T3": encrypted, "T4": decoded, "T4 severable": both} {
		t.Run(name, func(t *testing.T) {
			data := baseEnvelope(t, base)
			trust := testTrust(t)
			want, err := Verify(data, trust, testDevice)
			if err != nil {
				t.Fatal(err)
			}
			hint := alpha(t).Public().ID().Hint()
			at := bytes.Index(data, hint[:])
			for bit := range 8 * len(data) {
				data[bit/8] ^= 1 << (bit % 8)
				v, err := Verify(data, trust, testDevice)
				inHint := bit/8 >= at && bit/8 < at+len(hint)
				switch {
				case err == nil != inHint:
					t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
				case inHint && !reflect.DeepEqual(v, want):
					t.Errorf("bit %d of byte %d changes %+v to %+v", bit%8, bit/8, want, v)
				case !inHint && verdict.Of(err) == "":
					t.Errorf("bit %d of byte %d: %v has no reason", bit%8, bit/8, err)
				}
				data[bit/8] ^= 1 << (bit % 8)
			}
		})
	}
}

// A truncated envelope is refused wherever it ends.
func TestTruncated(t *testing.T) {
	data := baseEnvelope(t, integrated)
	for n := range data {
		if _, err := Authenticate(data[:n], testTrust(t)); verdict.Of(err) == "" {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	key := alpha(t).Public()
	off := func(b []byte, err error) bool { return b != nil || err == nil }
	for _, tt := range []struct {
		name string
		bend func(*Manifest, *Options)
		keys []sign.PublicKey
	}{
		{"no key", nil, []sign.PublicKey{}},
		{"four keys", nil, []sign.PublicKey{key, key, key, key}},
		{"zero key", nil, []sign.PublicKey{{}}},
		{"no install", func(m *Manifest, _ *Options) { m.Install = nil }, nil},
		{"no URI", func(m *Manifest, _ *Options) { m.Install.URI = "" }, nil},
		{"URI too long", func(m *Manifest, _ *Options) { m.Install.URI = string(sized(MaxURI + 1)) }, nil},
		{"URI not UTF-8", func(m *Manifest, _ *Options) { m.Install.URI = "#\xff" }, nil},
		{"encrypted without information", func(m *Manifest, _ *Options) { m.Staged = true }, nil},
		{"information without encrypted", func(m *Manifest, _ *Options) { m.Install.Encryption = &cose.Encrypt{} }, nil},
		{"information without recipients", func(m *Manifest, _ *Options) { *m = encryptedManifest(); m.Install.Encryption.Recipients = nil }, nil},
		{"ciphertext of another size", func(m *Manifest, _ *Options) { *m = encryptedManifest(); m.Install.Received.Size++ }, nil},
		{"empty payload to decode", func(m *Manifest, _ *Options) { *m = decodedManifest(); m.Install.Received.Size = 0 }, nil},
		{"decoding without staging", func(m *Manifest, _ *Options) { *m = decodedManifest(); m.Staged = false }, nil},
		{"unknown coding", func(m *Manifest, _ *Options) { *m = decodedManifest(); m.Install.Decoding.Coding = 6 }, nil},
		{"decoder without RAM", func(m *Manifest, _ *Options) { *m = decodedManifest(); m.Install.Decoding.RAM = 0 }, nil},
		{"empty base", func(m *Manifest, _ *Options) { *m = decodedManifest(); m.Install.Decoding.Base.Size = 0 }, nil},
		{"deflate with a base", func(m *Manifest, _ *Options) { *m = decodedManifest(); m.Install.Decoding.Coding = CodingDeflate }, nil},
		{"hpatchlite without a base", func(m *Manifest, _ *Options) {
			*m = decodedManifest()
			m.Install.Decoding = &Decoding{Coding: CodingHPatchLite, RAM: 1}
		}, nil},
		{"empty image", func(m *Manifest, _ *Options) { m.Image.Size = 0 }, nil},
		{"empty component identifier", func(m *Manifest, _ *Options) { m.Component = []byte{} }, nil},
		{"long component identifier", func(m *Manifest, _ *Options) { m.Component = sized(9) }, nil},
		{"component twice", func(m *Manifest, _ *Options) { *m = encryptedManifest(); m.Component = []byte{1} }, nil},
		{"version outside the grammar", func(m *Manifest, _ *Options) { m.Version = Version{1, 2, 3, 4} }, nil},
		{"manifest too long", func(m *Manifest, _ *Options) {
			*m = encryptedManifest()
			m.Install.Encryption.Recipients = slices.Repeat(m.Install.Encryption.Recipients, 8)
		}, nil},
		{"text too long", func(_ *Manifest, o *Options) { o.Text = text(string(sized(MaxText))).Encode() }, nil},
		{"text is not CBOR", func(_ *Manifest, o *Options) { o.Text = []byte("text") }, nil},
		{"empty text", func(_ *Manifest, o *Options) { o.Text = []byte{} }, nil},
		{"payload of another length", func(_ *Manifest, o *Options) { o.Payload = testImage[1:] }, nil},
		{"another payload", func(_ *Manifest, o *Options) { o.Payload = sized(len(testImage)) }, nil},
		{"plain payload of an encrypted manifest", func(m *Manifest, o *Options) { *m = encryptedManifest(); o.Payload = testImage }, nil},
	} {
		m, o, keys := plainManifest(), Options{}, tt.keys
		if keys == nil {
			keys = []sign.PublicKey{key}
		}
		if tt.bend != nil {
			tt.bend(&m, &o)
		}
		if d, err := New(m, keys, o); err == nil {
			t.Errorf("%s: a draft of %d bytes", tt.name, len(d.manifest))
		}
	}

	d, err := New(plainManifest(), []sign.PublicKey{key}, Options{Artifact: "radio manifest"})
	if err != nil {
		t.Fatal(err)
	}
	if off(d.Finish(nil)) {
		t.Error("finishes without a signature")
	}
	if off(d.Finish([]sign.Signature{{}})) {
		t.Error("finishes with the zero signature")
	}
	foreign, err := beta(t).Sign(t.Context(), d.Requests()[0].Message)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := d.Finish([]sign.Signature{foreign}); b != nil || !errors.Is(err, sign.ErrSignature) {
		t.Errorf("finishes with another key's signature: %v", err)
	}
}

// What a T4 says is read back, and a device that has severed its install
// sequence knows no more than that the payload was not the image.
func TestDecoding(t *testing.T) {
	slot := uint32(1)
	slotted := decodedManifest()
	slotted.Slot = &slot
	for name, want := range map[string]Manifest{"difference": decodedManifest(), "compressed and encrypted": bothManifest(), "for a slot": slotted} {
		t.Run(name, func(t *testing.T) {
			data := build(t, want, Options{SeverInstall: true}, alpha(t))
			v, err := Authenticate(data, testTrust(t))
			if err != nil {
				t.Fatal(err)
			}
			m := v.Manifest()
			if !m.Decoded() || m.Template() != "T4" || m.Encrypted() != want.Encrypted() || m.Payload() != want.Install.Received {
				t.Errorf("%s, decoded %t, encrypted %t, payload %+v", m.Template(), m.Decoded(), m.Encrypted(), m.Payload())
			}
			if !reflect.DeepEqual(m.Install, want.Install) || !reflect.DeepEqual(m.Slot, want.Slot) {
				t.Errorf("got %+v, want %+v", m.Install, want.Install)
			}
			f := openEnvelope(t, data, nil)
			f.Root.Drop(envelopeInstall)
			if v, err = Authenticate(f.Root.Encode(), testTrust(t)); err != nil {
				t.Fatal(err)
			}
			if m = v.Manifest(); m.Decoded() || m.Encrypted() || !m.Staged || m.Template() != "T3 or T4" || m.Payload() != (Content{}) {
				t.Errorf("severed: %+v", m)
			}
		})
	}
	if got := decodedManifest().Install.Decoding.Coding.String() + " " + Coding(9).String(); got != "od1 coding 9" {
		t.Errorf("codings are called %q", got)
	}
}

// The bytes of a decode command, as docs/manifest.cddl has them.
func TestPayloadInfo(t *testing.T) {
	d := Decoding{Coding: CodingDetools, RAM: 640, Base: &Content{Digest{0: 0xaa, 31: 0xbb}, 0x10000}}
	want := append([]byte{0xa4, 1, 5, 2, 0x19, 2, 0x80, 3, 0x82, 0x2f, 0x58, 0x20, 0xaa}, make([]byte, 30)...)
	want = append(want, 0xbb, 4, 0x1a, 0, 1, 0, 0)
	got, err := d.encode()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got % x, %v, want % x", got, err, want)
	}
}

// Eight recipients fit when install is severed.
func TestRecipients(t *testing.T) {
	m := encryptedManifest()
	m.Install.Encryption.Recipients = slices.Repeat(m.Install.Encryption.Recipients, cose.MaxRecipients)
	data := build(t, m, Options{SeverInstall: true, Payload: testCiphertext}, alpha(t))
	v, err := Verify(data, testTrust(t), testDevice)
	if err != nil {
		t.Fatal(err)
	}
	in, err := v.Install()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, m.Install) {
		t.Errorf("got %+v, want %+v", in, m.Install)
	}
	if p, err := v.IntegratedPayload(); err != nil || !bytes.Equal(p, testCiphertext) || v.Manifest().Payload() != m.Install.Received {
		t.Errorf("payload % x, %v", p, err)
	}
	f := openEnvelope(t, data, nil)
	f.Root.Drop("#ble")
	f.Root.Drop(envelopeInstall)
	if v, err = Verify(f.Root.Encode(), testTrust(t), testDevice); err != nil || v.Manifest().Payload() != (Content{}) {
		t.Errorf("severed: payload %+v, %v", v.Manifest().Payload(), err)
	}
}
