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
		o.SeverInstall, o.Text = true, dict(text("en"), dict(num(1), text("update"))).encode()
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
		f.seal()
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
	{name: "wrong tag", bend: func(f *forgery) { f.root.arg = 1070 }, want: verdict.WrongTag},
	{name: "missing tag", bend: func(f *forgery) { f.root = f.root.kids[0] }, want: verdict.MissingTag},
	{name: "digest over the content instead of the byte string", bend: func(f *forgery) {
		digest := sha256.Sum256(f.at(envelopeManifest).body())
		f.at(envelopeAuth, 0, 1).str = digest[:]
		f.sign()
	}, want: verdict.DigestOverContent},
	{name: "signature over the wrapped digest", bend: func(f *forgery) {
		f.signOver(f.at(envelopeAuth, 0).encode())
	}, want: verdict.OverWrappedDigest},
	{name: "algorithm -7", bend: func(f *forgery) { f.block(0).kids[0] = protected(-7); f.sign() }, want: verdict.ES256Deprecated},
	{name: "algorithm -8", bend: func(f *forgery) { f.block(0).kids[0] = protected(-8); f.sign() }, want: verdict.EdDSADeprecated},
	{name: "missing algorithm", bend: func(f *forgery) { f.block(0).kids[0] = bin(nil); f.sign() }, want: verdict.MissingAlgorithm},
	{name: "extra protected header", bend: func(f *forgery) {
		f.block(0).kids[0] = header(num(1), num(-9), num(3), num(60))
		f.sign()
	}, want: verdict.ExtraProtected},
	{name: "algorithm in the unprotected header", bend: func(f *forgery) {
		f.block(0).kids[0], f.block(0).kids[1] = bin(nil), dict(num(1), num(-9))
		f.sign()
	}, want: verdict.UnprotectedAlgorithm},
	{name: "payload not nil", bend: func(f *forgery) { f.block(0).kids[2] = bin(f.at(envelopeAuth, 0).body()) }, want: verdict.PayloadNotDetached},
	{name: "signature of 63 bytes", bend: func(f *forgery) { s := f.block(0).kids[3]; s.str = s.str[:63] }, want: verdict.SignatureLength},
	{name: "signature of 65 bytes", bend: func(f *forgery) { s := f.block(0).kids[3]; s.str = append(s.str, 0) }, want: verdict.SignatureLength, another: true},
	{name: "r zero", bend: func(f *forgery) { clear(f.block(0).kids[3].str[:32]) }, want: verdict.SignatureRange},
	{name: "s zero", bend: func(f *forgery) { clear(f.block(0).kids[3].str[32:]) }, want: verdict.SignatureRange, another: true},
	{name: "r = n", bend: func(f *forgery) { orderP256().FillBytes(f.block(0).kids[3].str[:32]) }, want: verdict.SignatureRange, another: true},
	{name: "s = n", bend: func(f *forgery) { orderP256().FillBytes(f.block(0).kids[3].str[32:]) }, want: verdict.SignatureRange, another: true},
	{name: "r above n", bend: func(f *forgery) { copy(f.block(0).kids[3].str, bytes.Repeat([]byte{0xff}, 32)) }, want: verdict.SignatureRange, another: true},
	{name: "s above n", bend: func(f *forgery) { copy(f.block(0).kids[3].str[32:], bytes.Repeat([]byte{0xff}, 32)) }, want: verdict.SignatureRange, another: true},

	{name: "envelope count too big", bend: func(f *forgery) { f.root.in().more = 1 }, want: verdict.WrongCount},
	{name: "envelope count too small", bend: func(f *forgery) { f.root.in().more = -1 }, want: verdict.UncountedElement},
	{name: "duplicate keys", bend: signed(func(f *forgery) {
		m := f.at(envelopeManifest).in()
		m.kids = slices.Insert(m.kids, 4, m.kids[2], m.kids[3])
	}), want: verdict.DuplicateKey},
	{name: "unsorted keys", bend: signed(func(f *forgery) {
		m := f.at(envelopeManifest)
		m.set(keySequence, m.drop(keySequence))
	}), want: verdict.UnsortedKeys},
	{name: "long-form integer", bend: signed(func(f *forgery) {
		f.at(envelopeManifest, keySequence).head = []byte{0x1a, 0, 0, 4, 0x12}
	}), want: verdict.LongForm},
	{name: "indefinite length", bend: signed(func(f *forgery) {
		f.at(toValidate...).in().head = []byte{0x9f}
		f.at(toValidate...).in().tail = []byte{0xff}
	}), want: verdict.Indefinite},
	{name: "bytes after the envelope", bend: func(f *forgery) { f.root.tail = []byte{0} }, want: verdict.TrailingAfterEnvelope},
	{name: "bytes after the manifest", bend: signed(func(f *forgery) {
		f.at(envelopeManifest).in().tail = []byte{0}
	}), want: verdict.TrailingAfterManifest},
	{name: "bytes after a sequence", bend: signed(func(f *forgery) { f.at(toValidate...).in().tail = []byte{0} }), want: verdict.TrailingAfterSequence},
	{name: "bytes after a digest", bend: func(f *forgery) {
		f.at(envelopeAuth, 0).in().tail = []byte{0}
		f.sign()
	}, want: verdict.TrailingAfterDigest},
	{name: "unknown manifest key", bend: signed(func(f *forgery) {
		m := f.at(envelopeManifest)
		install := m.drop(keyInstall)
		m.set(16, bin([]byte{0x80})) // payload-fetch
		m.set(keyInstall, install)
	}), want: verdict.UnknownManifestKey},
	{name: "unknown command", bend: signed(func(f *forgery) { f.at(toValidate...).insert(2, num(14), num(15)) }), want: verdict.UnknownCommand}, // abort
	{name: "unknown parameter", bend: signed(func(f *forgery) { f.at(toFacts...).set(24, bin(sized(16))) }), want: verdict.UnknownParameter},    // device identifier
	{name: "odd sequence", bend: signed(func(f *forgery) { f.at(toValidate...).insert(2, num(3)) }), want: verdict.OddSequence},
	{name: "vendor check missing", bend: signed(func(f *forgery) { f.at(toShared...).dropCommand(conditionVendor) }), want: verdict.MissingVendorCheck},
	{name: "class check missing", bend: signed(func(f *forgery) { f.at(toShared...).dropCommand(conditionClass) }), want: verdict.MissingClassCheck},
	{name: "vendor check only in install", bend: signed(func(f *forgery) {
		f.at(toShared...).dropCommand(conditionVendor)
		f.at(toInstall...).insert(0, num(conditionVendor), num(15))
	}), want: verdict.VendorOnlyInInstall},
	{name: "class check only in install", bend: signed(func(f *forgery) {
		f.at(toShared...).dropCommand(conditionClass)
		f.at(toInstall...).insert(0, num(conditionClass), num(15))
	}), want: verdict.ClassOnlyInInstall},
	{name: "image-match missing in validate", bend: signed(func(f *forgery) { f.at(toValidate...).in().kids = []*item{} }), want: verdict.MissingImageMatch},
	{name: "size missing", bend: signed(func(f *forgery) { f.at(toFacts...).drop(parameterSize) }), want: verdict.MissingImageSize},
	{name: "component index out of range", base: encrypted, bend: signed(func(f *forgery) { f.at(toValidate...).at(1).arg = 2 }), want: verdict.ComponentIndexRange},
	{name: "two components without 12", base: encrypted, bend: signed(func(f *forgery) {
		f.at(toShared...).dropCommand(setComponentIndex)
	}), want: verdict.MissingSetComponentIndex},
	{name: "digest algorithm not -16", bend: signed(func(f *forgery) { *f.at(envelopeAuth, 0, 0) = *num(-43) }), want: verdict.DigestAlgorithm},
	{name: "digest not 32 bytes", bend: func(f *forgery) { f.at(envelopeAuth, 0, 1).str = sized(31); f.sign() }, want: verdict.DigestLength},
	{name: "severed install wanted", base: severable, bend: func(f *forgery) { f.root.drop(envelopeInstall) },
		then: func(v *Verified) error { _, err := v.Install(); return err }, want: verdict.InstallSevered},
	{name: "severable digest mismatch", base: severable, bend: func(f *forgery) { f.at(envelopeInstall, 1, parameterURI).str[1] ^= 1 }, want: verdict.SeverableDigestMismatch},
	{name: "install in the manifest and in the envelope", bend: func(f *forgery) {
		f.root.set(envelopeInstall, wrap(f.at(toInstall...).in()))
	}, want: verdict.InstallTwice},
	{name: "integrated payload missing", base: integrated, bend: func(f *forgery) { f.root.drop("#ble") },
		then: func(v *Verified) error { _, err := v.IntegratedPayload(); return err }, want: verdict.PayloadElementMissing},
	{name: "integrated payload of another name", base: integrated, bend: func(f *forgery) {
		f.root.set("#mcu", f.root.drop("#ble"))
	}, want: verdict.PayloadElementName},
	{name: "integrated payload of another length", base: integrated, bend: func(f *forgery) {
		f.root.set("#ble", bin(testImage[1:]))
	}, want: verdict.PayloadElementSize},
	{name: "sequence number lower", bend: signed(func(f *forgery) { f.at(envelopeManifest, keySequence).arg-- }), want: verdict.SequenceRollback},
	{name: "sequence number 2^32", bend: signed(func(f *forgery) { f.at(envelopeManifest, keySequence).arg = 1 << 32 }), want: verdict.SequenceRange},
	{name: "text nested 16 deep", base: severable, bend: func(f *forgery) {
		f.root.set(envelopeText, wrap(nested(16, num(0))))
		f.resever(envelopeText)
	}, want: verdict.TooDeep},
	{name: "IV of 12 bytes", base: encrypted, bend: signed(func(f *forgery) { f.at(toInfo...).at(1, 5).str = sized(12) }), want: verdict.IVLength},
	{name: "CTR with a protected header", base: encrypted, bend: signed(func(f *forgery) {
		f.at(toInfo...).in().kids[0] = protected(cose.A128CTR)
	}), want: verdict.ProtectedNotEmpty},
	{name: "COSE_Encrypt0 instead of COSE_Encrypt", base: encrypted, bend: signed(func(f *forgery) {
		message := f.at(toInfo...).in()
		f.at(toInstall...).at(11).set(parameterEncryptionInfo, wrap(tagged(16, list(message.kids[:3]...))))
	}), want: verdict.Encrypt0},
	{name: "unknown coding", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeCoding).arg = 6 }), want: verdict.UnknownCoding},
	{name: "revoked key", bend: func(f *forgery) {
		f.key = gamma(f.t)
		hint := f.key.Public().ID().Hint()
		f.block(0).kids[1] = dict(num(4), bin(hint[:]))
		f.sign()
	}, want: verdict.KeyRevoked},
	{name: "only unknown signature blocks", bend: func(f *forgery) {
		f.at(envelopeAuth).in().kids[1] = unknownBlock()
	}, want: verdict.NoKnownSignature},
}

func orderP256() *big.Int { return sign.ESP256.Curve().Params().N }

// unknownBlock is a signature block of ML-DSA-44, which this module does not
// have.
func unknownBlock() *item {
	return wrap(tagged(18, list(protected(-48), dict(), null(), bin(sized(2420)))))
}

func (m mutation) run(t *testing.T) {
	f := forge(t, baseEnvelope(t, m.base), alpha(t))
	m.bend(f)
	v, err := Verify(f.root.encode(), testTrust(t), testDevice)
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
		f := forge(t, baseEnvelope(t, base), alpha(t))
		if f.seal(); !bytes.Equal(f.root.encode(), baseEnvelope(t, base)) {
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
		return signed(func(f *forgery) { f.at(envelopeManifest).drop(key) })
	}
	version := func(elements ...int) func(*forgery) {
		return signed(func(f *forgery) {
			v := list()
			for _, e := range elements {
				v.kids = append(v.kids, num(e))
			}
			f.at(envelopeManifest).set(keyVersion, wrap(v))
		})
	}
	for _, m := range []mutation{
		// Envelope.
		{name: "empty input", bend: func(f *forgery) { f.root = &item{head: []byte{}} }, want: verdict.Truncated},
		{name: "tag cut off", bend: func(f *forgery) { f.root = &item{head: []byte{0xd8}} }, want: verdict.Truncated},
		{name: "tag in long form", bend: func(f *forgery) { f.root.head = []byte{0xd9, 0, 107} }, want: verdict.LongForm},
		{name: "tag twice", bend: func(f *forgery) { f.root = tagged(107, f.root) }, want: verdict.WrongType},
		{name: "envelope is an array", bend: func(f *forgery) { f.root = tagged(107, list()) }, want: verdict.WrongType},
		{name: "envelope of 17 elements", bend: func(f *forgery) { f.root.in().more = 15 }, want: verdict.WrongCount},
		{name: "no wrapper", bend: func(f *forgery) { f.root.drop(envelopeAuth) }, want: verdict.MissingKey},
		{name: "no manifest", bend: func(f *forgery) { f.root.drop(envelopeManifest) }, want: verdict.MissingKey},
		{name: "only the wrapper counted, then bytes", bend: func(f *forgery) { f.root.drop(envelopeManifest); f.root.tail = []byte{0} }, want: verdict.MissingKey},
		{name: "delegation", bend: func(f *forgery) { f.root.in().kids = append([]*item{num(1), bin(nil)}, f.root.in().kids...) }, want: verdict.UnknownEnvelopeKey},
		{name: "envelope elements not in order", bend: func(f *forgery) { f.root.set(envelopeAuth, f.root.drop(envelopeAuth)) }, want: verdict.UnsortedKeys},
		{name: "wrapper twice", bend: func(f *forgery) {
			e := f.root.in()
			e.kids = slices.Insert(e.kids, 2, e.kids[0], e.kids[1])
		}, want: verdict.DuplicateKey},
		{name: "severable element not counted", base: severable, bend: func(f *forgery) { f.root.in().more = -1 }, want: verdict.UncountedElement},
		{name: "payload not counted", base: integrated, bend: func(f *forgery) { f.root.in().more = -1 }, want: verdict.UncountedElement},
		{name: "two payloads", base: integrated, bend: func(f *forgery) { f.root.set("#zzz", bin(nil)) }, want: verdict.UnknownEnvelopeKey},
		{name: "payload is text", base: integrated, bend: func(f *forgery) { f.root.set("#ble", text("image")) }, want: verdict.WrongType},
		{name: "payload without a name", base: integrated, bend: func(f *forgery) { f.root.set("", f.root.drop("#ble")) }, want: verdict.PayloadElementName},
		{name: "empty payload without a name", bend: func(f *forgery) { f.root.set("", bin(nil)) }, want: verdict.PayloadElementName},
		{name: "empty payload", base: integrated, bend: func(f *forgery) { f.root.set("#ble", bin(nil)) }, want: verdict.PayloadElementSize},
		{name: "payload, install severed", base: severable, bend: func(f *forgery) {
			f.root.drop(envelopeInstall)
			f.root.set("#ble", bin(testImage))
		}, want: verdict.InstallSevered},
		{name: "manifest too long", bend: signed(func(f *forgery) { f.at(envelopeManifest).in().tail = sized(MaxManifest) }), want: verdict.WrongLength},
		{name: "install too long", base: severable, bend: func(f *forgery) { f.root.set(envelopeInstall, bin(sized(MaxInstall+1))) }, want: verdict.WrongLength},
		{name: "text too long", base: severable, bend: func(f *forgery) { f.root.set(envelopeText, bin(sized(MaxText+1))) }, want: verdict.WrongLength},
		{name: "bytes after the text", base: severable, bend: func(f *forgery) { f.at(envelopeText).in().tail = []byte{0}; f.resever(envelopeText) }, want: verdict.TrailingBytes},
		{name: "text with a float", base: severable, bend: func(f *forgery) {
			f.root.set(envelopeText, bin([]byte{0xf9, 0, 0}))
			f.resever(envelopeText)
		}, want: verdict.ReservedEncoding},
		{name: "text keys not in order", base: severable, bend: func(f *forgery) {
			f.root.set(envelopeText, wrap(dict(text("en"), num(0), text("de"), num(0))))
			f.resever(envelopeText)
		}, want: verdict.UnsortedKeys},
		{name: "text is another", base: severable, bend: func(f *forgery) { f.at(envelopeText, "en", 1).str[0] ^= 1 }, want: verdict.SeverableDigestMismatch},
		{name: "text that the manifest does not name", bend: func(f *forgery) { f.root.set(envelopeText, wrap(dict())) }, want: verdict.SeverableDigestMismatch},

		// Wrapper and signature blocks.
		{name: "wrapper is a map", bend: func(f *forgery) { f.root.set(envelopeAuth, wrap(dict())) }, want: verdict.WrongType},
		{name: "empty wrapper", bend: func(f *forgery) { f.root.set(envelopeAuth, wrap(list())) }, want: verdict.WrongCount},
		{name: "no signature", bend: func(f *forgery) { a := f.at(envelopeAuth).in(); a.kids = a.kids[:1] }, want: verdict.Unsigned},
		{name: "four signatures", bend: func(f *forgery) {
			b := f.at(envelopeAuth, 1)
			f.at(envelopeAuth).insert(1, b, b, b)
		}, want: verdict.WrongCount},
		{name: "bytes after the wrapper", bend: func(f *forgery) { f.at(envelopeAuth).in().tail = []byte{0} }, want: verdict.TrailingBytes},
		{name: "bytes after a block", bend: func(f *forgery) { f.block(0).tail = []byte{0} }, want: verdict.TrailingBytes},
		{name: "block without a tag", bend: func(f *forgery) { f.at(envelopeAuth).in().kids[1] = wrap(f.block(0)) }, want: verdict.NotSign1},
		{name: "COSE_Mac0", bend: func(f *forgery) { f.at(envelopeAuth).in().kids[1] = wrap(tagged(17, f.block(0))) }, want: verdict.NotSign1},
		{name: "digest is a map", bend: func(f *forgery) { f.at(envelopeAuth).in().kids[0] = wrap(dict()) }, want: verdict.WrongType},
		{name: "digest of 64 bytes", bend: func(f *forgery) { f.at(envelopeAuth, 0, 1).str = sized(57) }, want: verdict.DigestLength},
		{name: "another digest", bend: func(f *forgery) { f.at(envelopeAuth, 0, 1).str[0] ^= 1; f.sign() }, want: verdict.ManifestDigestMismatch},
		{name: "signature of another envelope", bend: func(f *forgery) { f.signOver([]byte("another")) }, want: verdict.SignatureInvalid},
		{name: "stranger's key", bend: func(f *forgery) { f.key = testSigner(f.t, sign.ESP256, "stranger"); f.sign() }, want: verdict.SignatureInvalid},

		// Manifest.
		{name: "manifest is an array", bend: signed(func(f *forgery) { f.root.set(envelopeManifest, wrap(list())) }), want: verdict.WrongType},
		{name: "no manifest version", bend: drop(keyManifestVersion), want: verdict.MissingKey},
		{name: "no sequence number", bend: drop(keySequence), want: verdict.MissingKey},
		{name: "no common", bend: drop(keyCommon), want: verdict.MissingKey},
		{name: "no validate", bend: drop(keyValidate), want: verdict.MissingKey},
		{name: "no invoke", bend: drop(keyInvoke), want: verdict.MissingKey},
		{name: "no install", bend: drop(keyInstall), want: verdict.MissingKey},
		{name: "manifest version 2", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyManifestVersion).arg = 2 }), want: verdict.ManifestVersion},
		{name: "sequence number -1", bend: signed(func(f *forgery) { *f.at(envelopeManifest, keySequence) = *num(-1) }), want: verdict.SequenceRange},
		{name: "sequence number is text", bend: signed(func(f *forgery) { *f.at(envelopeManifest, keySequence) = *text("1042") }), want: verdict.WrongType},
		{name: "text key in the manifest", bend: signed(func(f *forgery) { f.at(envelopeManifest).set("x", num(0)) }), want: verdict.UnknownManifestKey},
		{name: "two unknown keys beside all others", base: severable, bend: signed(func(f *forgery) {
			f.at(envelopeManifest).set(24, bin(nil))
			f.at(envelopeManifest).set(25, bin(nil))
		}), want: verdict.UnknownManifestKey},
		{name: "text in the manifest", bend: signed(func(f *forgery) { f.at(envelopeManifest).set(keyText, wrap(dict())) }), want: verdict.WrongType},
		{name: "bytes after the version", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyVersion).in().tail = []byte{0} }), want: verdict.TrailingBytes},
		{name: "empty version", bend: version(), want: verdict.WrongCount},
		{name: "version of six elements", bend: version(1, 2, 3, -1, 4, 5), want: verdict.WrongCount},
		{name: "version of four numbers", bend: version(1, 2, 3, 4), want: verdict.BadVersion},
		{name: "version that starts with its mark", bend: version(-1, 2), want: verdict.BadVersion},
		{name: "version with an unknown mark", bend: version(1, -4), want: verdict.BadVersion},
		{name: "version with two marks", bend: version(1, -1, -1), want: verdict.BadVersion},
		{name: "version with two numbers after the mark", bend: version(1, -1, 1, 1), want: verdict.BadVersion},
		{name: "version number 2^31", bend: version(1 << 31), want: verdict.BadVersion},
		{name: "install digest of SHA-512", base: severable, bend: signed(func(f *forgery) {
			f.at(envelopeManifest).set(keyInstall, list(num(-44), bin(sized(64))))
		}), want: verdict.DigestAlgorithm},
		{name: "text digest of 20 bytes", base: severable, bend: signed(func(f *forgery) {
			f.at(envelopeManifest).set(keyText, list(num(-16), bin(sized(20))))
		}), want: verdict.DigestLength},

		// Common.
		{name: "key in common", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyCommon).set(5, num(0)) }), want: verdict.UnknownManifestKey},
		{name: "dependencies", bend: signed(func(f *forgery) {
			c := f.at(envelopeManifest, keyCommon).in()
			c.kids = append([]*item{num(1), dict()}, c.kids...)
		}), want: verdict.UnknownManifestKey},
		{name: "no components", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyCommon).drop(commonComponents) }), want: verdict.MissingKey},
		{name: "no shared sequence", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyCommon).drop(commonShared) }), want: verdict.MissingKey},
		{name: "bytes after common", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyCommon).in().tail = []byte{0} }), want: verdict.TrailingBytes},
		{name: "zero components", bend: signed(func(f *forgery) { f.at(envelopeManifest, keyCommon).set(commonComponents, list()) }), want: verdict.WrongCount},
		{name: "three components", base: encrypted, bend: signed(func(f *forgery) {
			f.at(envelopeManifest, keyCommon, commonComponents).insert(2, list(bin([]byte{2})))
		}), want: verdict.WrongCount},
		{name: "component of two parts", bend: signed(func(f *forgery) {
			f.at(envelopeManifest, keyCommon, commonComponents, 0).insert(1, bin([]byte{2}))
		}), want: verdict.WrongCount},
		{name: "component identifier of 9 bytes", bend: signed(func(f *forgery) {
			f.at(envelopeManifest, keyCommon, commonComponents, 0, 0).str = sized(9)
		}), want: verdict.WrongLength},
		{name: "component twice", base: encrypted, bend: signed(func(f *forgery) {
			f.at(envelopeManifest, keyCommon, commonComponents, 1, 0).str = []byte{0}
		}), want: verdict.DuplicateComponent},

		// Sequences.
		{name: "sequence is a map", bend: signed(func(f *forgery) { f.at(envelopeManifest).set(keyInvoke, wrap(dict())) }), want: verdict.WrongType},
		{name: "sequence of 33 commands", bend: signed(func(f *forgery) { f.at(toValidate...).in().kids = slices.Repeat([]*item{num(3), num(15)}, 33) }), want: verdict.WrongCount},
		{name: "command is text", bend: signed(func(f *forgery) { *f.at(toValidate...).at(0) = *text("abort") }), want: verdict.WrongType},
		{name: "policy above 15", bend: signed(func(f *forgery) { f.at(toValidate...).at(1).arg = 16 }), want: verdict.TooLarge},
		{name: "try-each", bend: signed(func(f *forgery) { f.at(toShared...).insert(0, num(15), list()) }), want: verdict.UnknownCommand},
		{name: "bytes after the shared sequence", bend: signed(func(f *forgery) { f.at(toShared...).in().tail = []byte{0} }), want: verdict.TrailingAfterSequence},
		{name: "bytes after the severed install sequence", base: severable, bend: func(f *forgery) {
			f.at(envelopeInstall).in().tail = []byte{0}
			f.resever(envelopeInstall)
		}, want: verdict.TrailingAfterSequence},
		{name: "unknown command in the severed install sequence", base: severable, bend: func(f *forgery) {
			f.at(envelopeInstall).insert(0, num(14), num(15))
			f.resever(envelopeInstall)
		}, want: verdict.UnknownCommand},
		{name: "vendor check in invoke only", bend: signed(func(f *forgery) {
			f.at(toShared...).dropCommand(conditionVendor)
			f.at(envelopeManifest, keyInvoke).insert(0, num(conditionVendor), num(15))
		}), want: verdict.MissingVendorCheck},
		{name: "component 1 of one", bend: signed(func(f *forgery) { f.at(toValidate...).insert(0, num(12), num(1)) }), want: verdict.ComponentIndexRange},
		{name: "all components", base: encrypted, bend: signed(func(f *forgery) { f.at(toValidate...).in().kids[1] = &item{major: majorSimple, arg: 21} }), want: verdict.WrongType},
		{name: "install without 12", base: encrypted, bend: signed(func(f *forgery) { f.at(toInstall...).dropCommand(setComponentIndex) }), want: verdict.MissingSetComponentIndex},

		// Parameters.
		{name: "text key in parameters", bend: signed(func(f *forgery) { f.at(toFacts...).set("x", num(0)) }), want: verdict.UnknownParameter},
		{name: "parameters not in order", bend: signed(func(f *forgery) { p := f.at(toFacts...); p.set(1, p.drop(1)) }), want: verdict.UnsortedKeys},
		{name: "vendor of 15 bytes", bend: signed(func(f *forgery) { f.at(toFacts...).at(1).str = sized(15) }), want: verdict.WrongLength},
		{name: "vendor by enterprise number", bend: signed(func(f *forgery) { f.at(toFacts...).set(1, tagged(112, bin(sized(5)))) }), want: verdict.WrongType},
		{name: "no vendor", bend: signed(func(f *forgery) { f.at(toFacts...).drop(1) }), want: verdict.MissingParameter},
		{name: "no class", bend: signed(func(f *forgery) { f.at(toFacts...).drop(2) }), want: verdict.MissingParameter},
		{name: "no image digest", bend: signed(func(f *forgery) { f.at(toFacts...).drop(3) }), want: verdict.MissingParameter},
		{name: "no parameters", bend: signed(func(f *forgery) { f.at(toShared...).dropCommand(overrideParameters) }), want: verdict.MissingParameter},
		{name: "image size zero", bend: signed(func(f *forgery) { f.at(toFacts...).at(parameterSize).arg = 0 }), want: verdict.MissingImageSize},
		{name: "image size 2^32", bend: signed(func(f *forgery) { f.at(toFacts...).at(parameterSize).arg = 1 << 32 }), want: verdict.TooLarge},
		{name: "image digest of SHA-384", bend: signed(func(f *forgery) { *f.at(toFacts...).at(3, 0) = *num(-43) }), want: verdict.DigestAlgorithm},
		{name: "bytes after the image digest", bend: signed(func(f *forgery) { f.at(toFacts...).at(3).in().tail = []byte{0} }), want: verdict.TrailingAfterDigest},
		{name: "no URI", bend: signed(func(f *forgery) { f.at(toInstall...).at(1).drop(parameterURI) }), want: verdict.MissingParameter},
		{name: "empty URI", bend: signed(func(f *forgery) { f.at(toInstall...).at(1, parameterURI).str = nil }), want: verdict.WrongLength},
		{name: "URI not UTF-8", bend: signed(func(f *forgery) { f.at(toInstall...).at(1, parameterURI).str[3] = 0xff }), want: verdict.BadUTF8},
		{name: "no ciphertext digest", base: encrypted, bend: signed(func(f *forgery) { f.at(toInstall...).at(3).drop(parameterDigest) }), want: verdict.MissingParameter},
		{name: "ciphertext of another size", base: encrypted, bend: signed(func(f *forgery) { f.at(toInstall...).at(3, parameterSize).arg++ }), want: verdict.PayloadElementSize},
		{name: "no encryption information", base: encrypted, bend: signed(func(f *forgery) { f.at(toInstall...).at(11).drop(parameterEncryptionInfo) }), want: verdict.MissingParameter},
		{name: "bytes after the encryption information", base: encrypted, bend: signed(func(f *forgery) {
			info := f.at(toInfo...)
			info.in()
			info.kids[0].tail = []byte{0}
		}), want: verdict.TrailingBytes},
		{name: "A128GCM", base: encrypted, bend: signed(func(f *forgery) { *f.at(toInfo...).at(1, 1) = *num(1) }), want: verdict.ContentAlgorithm},
		{name: "A256KW", base: encrypted, bend: signed(func(f *forgery) { f.at(toInfo...).at(3, 0).kids[0] = protected(-5) }), want: verdict.RecipientAlgorithm},
		{name: "ciphertext attached", base: encrypted, bend: signed(func(f *forgery) { f.at(toInfo...).in().kids[2] = bin(testCiphertext) }), want: verdict.CiphertextAttached},

		// Decoding.
		{name: "coding 0", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeCoding).arg = 0 }), want: verdict.UnknownCoding},
		{name: "coding 257", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeCoding).arg = 257 }), want: verdict.UnknownCoding},
		{name: "coding is text", base: decoded, bend: signed(func(f *forgery) { *f.at(toDecoding...).at(decodeCoding) = *text("od1") }), want: verdict.WrongType},
		{name: "zstd with a base", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeCoding).arg = 2 }), want: verdict.UnknownCoding},
		{name: "detools without a base", base: decoded, bend: signed(func(f *forgery) {
			p := f.at(toDecoding...)
			p.at(decodeCoding).arg = 5
			p.drop(decodeBaseDigest)
			p.drop(decodeBaseSize)
		}), want: verdict.UnknownCoding},
		{name: "base without a size", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).drop(decodeBaseSize) }), want: verdict.MissingParameter},
		{name: "base without a digest", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).drop(decodeBaseDigest) }), want: verdict.MissingParameter},
		{name: "base size zero", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeBaseSize).arg = 0 }), want: verdict.MissingImageSize},
		{name: "base digest of SHA-384", base: decoded, bend: signed(func(f *forgery) { *f.at(toDecoding...).at(decodeBaseDigest, 0) = *num(-43) }), want: verdict.DigestAlgorithm},
		{name: "base digest of 31 bytes", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeBaseDigest, 1).str = sized(31) }), want: verdict.DigestLength},
		{name: "decoder RAM zero", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeRAM).arg = 0 }), want: verdict.MissingParameter},
		{name: "decoder RAM 2^32", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).at(decodeRAM).arg = 1 << 32 }), want: verdict.TooLarge},
		{name: "no coding", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).drop(decodeCoding) }), want: verdict.MissingParameter},
		{name: "no decoder RAM", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).drop(decodeRAM) }), want: verdict.MissingParameter},
		{name: "unknown payload information", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).set(5, num(0)) }), want: verdict.UnknownParameter},
		{name: "text key in the payload information", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).set("x", num(0)) }), want: verdict.UnknownParameter},
		{name: "payload information not in order", base: decoded, bend: signed(func(f *forgery) { p := f.at(toDecoding...); p.set(1, p.drop(1)) }), want: verdict.UnsortedKeys},
		{name: "bytes after the payload information", base: decoded, bend: signed(func(f *forgery) { f.at(toDecoding...).in().tail = []byte{0} }), want: verdict.TrailingBytes},
		{name: "payload information too long", base: decoded, bend: signed(func(f *forgery) { f.at(toInstall...).in().kids[13] = bin(sized(maxPayloadInfo + 1)) }), want: verdict.WrongLength},
		{name: "payload information not wrapped", base: decoded, bend: signed(func(f *forgery) { f.at(toInstall...).in().kids[13] = dict(num(1), num(1), num(2), num(1)) }), want: verdict.WrongType},
		{name: "payload size zero", base: decoded, bend: signed(func(f *forgery) { f.at(toInstall...).at(3, parameterSize).arg = 0 }), want: verdict.PayloadElementSize},
		{name: "no payload digest", base: decoded, bend: signed(func(f *forgery) { f.at(toInstall...).at(3).drop(parameterDigest) }), want: verdict.MissingParameter},
		{name: "no source", base: decoded, bend: signed(func(f *forgery) { f.at(toInstall...).at(11).drop(parameterSource) }), want: verdict.MissingParameter},
		{name: "neither copied nor decoded", base: decoded, bend: signed(func(f *forgery) {
			s := f.at(toInstall...).in()
			s.kids = slices.Delete(s.kids, 12, 14)
		}), want: verdict.MissingParameter},
		{name: "copied and decoded", base: decoded, bend: signed(func(f *forgery) { f.at(toInstall...).insert(12, num(directiveCopy), num(reportFailure)) }), want: verdict.NotInProfile},
		{name: "decoded twice", base: decoded, bend: signed(func(f *forgery) {
			s := f.at(toInstall...).in()
			f.at(toInstall...).insert(14, s.kids[12], s.kids[13])
		}), want: verdict.NotInProfile},
		{name: "decoded with one component", bend: signed(func(f *forgery) {
			info, err := Decoding{Coding: CodingZstd, RAM: 1}.encode()
			if err != nil {
				f.t.Fatal(err)
			}
			f.at(toInstall...).insert(4, num(directiveDecode), bin(info))
		}), want: verdict.NotInProfile},
		{name: "decode in validate", base: decoded, bend: signed(func(f *forgery) {
			s := f.at(toInstall...).in()
			f.at(toValidate...).insert(2, s.kids[12], s.kids[13])
		}), want: verdict.NotInProfile},
		{name: "another private command", base: decoded, bend: signed(func(f *forgery) { *f.at(toInstall...).in().kids[12] = *num(-258) }), want: verdict.UnknownCommand},
		{name: "severed decoding is another", base: both, bend: func(f *forgery) { f.at(envelopeInstall, 13, decodeRAM).arg-- }, want: verdict.SeverableDigestMismatch},

		// Well-formed, and not what a template gives.
		{name: "another reporting policy", bend: signed(func(f *forgery) { f.at(toValidate...).at(1).arg = 14 }), want: verdict.NotInProfile},
		{name: "condition twice", bend: signed(func(f *forgery) { f.at(toShared...).insert(2, num(conditionVendor), num(15)) }), want: verdict.NotInProfile},
		{name: "class before vendor", bend: signed(func(f *forgery) {
			s := f.at(toShared...).in()
			s.kids[2], s.kids[4] = s.kids[4], s.kids[2]
		}), want: verdict.NotInProfile},
		{name: "slot without a condition", bend: signed(func(f *forgery) {
			p := f.at(toFacts...)
			size := p.drop(parameterSize)
			p.set(parameterSlot, num(1))
			p.set(parameterSize, size)
		}), want: verdict.NotInProfile},
		{name: "slot condition without a slot", bend: signed(func(f *forgery) { f.at(toShared...).insert(6, num(conditionSlot), num(5)) }), want: verdict.NotInProfile},
		{name: "URI among the facts", bend: signed(func(f *forgery) { f.at(toFacts...).set(parameterURI, text("#x")) }), want: verdict.NotInProfile},
		{name: "index with one component", bend: signed(func(f *forgery) { f.at(toValidate...).insert(0, num(12), num(0)) }), want: verdict.NotInProfile},
		{name: "no fetch", bend: signed(func(f *forgery) { f.at(toInstall...).dropCommand(directiveFetch) }), want: verdict.NotInProfile},
		{name: "validate of the ciphertext", base: encrypted, bend: signed(func(f *forgery) { f.at(toValidate...).at(1).arg = 1 }), want: verdict.NotInProfile},
		{name: "source is another component", base: encrypted, bend: signed(func(f *forgery) { f.at(toInstall...).at(11, parameterSource).arg = 0 }), want: verdict.NotInProfile},
		{name: "size in a plain install", bend: signed(func(f *forgery) {
			p := f.at(toInstall...).at(1)
			uri := p.drop(parameterURI)
			p.set(parameterSize, num(len(testImage)))
			p.set(parameterURI, uri)
		}), want: verdict.NotInProfile},
		{name: "identity in a severed install", base: severable, bend: func(f *forgery) {
			f.at(envelopeInstall).insert(0, num(conditionVendor), num(15))
			f.resever(envelopeInstall)
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
		{"manifest", plain, func(f *forgery) { f.at(envelopeManifest, keySequence).arg = 1 << 32 }, []any{envelopeManifest, keySequence}, verdict.SequenceRange},
		{"parameter", plain, func(f *forgery) { f.at(toFacts...).at(2).str = sized(15) }, append(slices.Clone(toFacts), 2), verdict.WrongLength},
		{"digest in a parameter", plain, func(f *forgery) { *f.at(toFacts...).at(3, 0) = *num(-43) }, append(slices.Clone(toFacts), 3, 0), verdict.DigestAlgorithm},
		{"command", encrypted, func(f *forgery) { f.at(toInstall...).at(12).arg = 99 }, append(slices.Clone(toInstall), 12), verdict.UnknownCommand},
		{"recipient", encrypted, func(f *forgery) { f.at(toInfo...).at(3, 0, 2).str = sized(8) }, append(slices.Clone(toInfo), 3, 0, 2), verdict.WrappedKeyLength},
		{"signature", plain, func(f *forgery) { f.block(0).kids[3].str = sized(1) }, []any{envelopeAuth, 1, 3}, verdict.SignatureLength},
		{"severed install", severable, func(f *forgery) { *f.at(envelopeInstall, 2) = *text("x"); f.resever(envelopeInstall) }, []any{envelopeInstall, 2}, verdict.WrongType},
		{"text", severable, func(f *forgery) { *f.at(envelopeText, "en", 1) = item{major: majorText, str: []byte{0xff}} }, []any{envelopeText, "en", 1}, verdict.BadUTF8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := forge(t, baseEnvelope(t, tt.base), alpha(t))
			if tt.bend(f); tt.want != verdict.SignatureLength {
				f.seal()
			}
			_, err := Authenticate(f.root.encode(), testTrust(t))
			wantReason(t, err, tt.want)
			if e, ok := errors.AsType[*verdict.Error](err); ok && e.Offset != int64(f.root.offset(f.at(tt.path...))) {
				t.Errorf("got %v, want offset %d", err, f.root.offset(f.at(tt.path...)))
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
		{"no kid", func(f *forgery) { f.block(0).kids[1] = dict() }},
		{"unknown kid", func(f *forgery) { f.block(0).kids[1] = dict(num(4), bin([]byte("nobody"))) }},
		{"kid of a longer kind", func(f *forgery) { f.block(0).kids[1] = dict(num(4), bin(sized(16))) }},
		{"kid of another trusted key", func(f *forgery) { f.block(0).kids[1] = hint(beta(t)) }},
		{"kid of a revoked key", func(f *forgery) { f.block(0).kids[1] = hint(gamma(t)) }},
		{"unknown block behind", func(f *forgery) { f.at(envelopeAuth).insert(2, unknownBlock()) }},
		{"unknown block before", func(f *forgery) { f.at(envelopeAuth).insert(1, unknownBlock()) }},
		{"block of a stranger before", func(f *forgery) {
			stranger := forge(t, baseEnvelope(t, plain), testSigner(t, sign.ESP256, "stranger"))
			stranger.sign()
			f.at(envelopeAuth).insert(1, stranger.at(envelopeAuth, 1))
		}},
		{"block of a revoked key before", func(f *forgery) {
			revoked := forge(t, baseEnvelope(t, plain), gamma(t))
			revoked.sign()
			f.at(envelopeAuth).insert(1, revoked.at(envelopeAuth, 1))
		}},
		{"the other signature (r, n-s)", func(f *forgery) {
			raw := f.block(0).kids[3].str
			s := new(big.Int).SetBytes(raw[32:])
			s.Sub(orderP256(), s).FillBytes(raw[32:])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := forge(t, baseEnvelope(t, plain), alpha(t))
			tt.bend(f)
			v, err := Verify(f.root.encode(), testTrust(t), testDevice)
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
	f := forge(t, baseEnvelope(t, severable), testSigner(t, sign.ESP256, "stranger"))
	f.seal()
	data := f.root.encode()
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
	f = forge(t, baseEnvelope(t, plain), alpha(t))
	f.at(envelopeManifest, keyManifestVersion).arg = 2
	f.seal()
	if e, err = Parse(f.root.encode()); err != nil {
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
	f := forge(t, baseEnvelope(t, plain), testSigner(t, sign.ESP256, "stranger"))
	f.root.set(envelopeManifest, bin([]byte("no CBOR at all")))
	f.seal()
	_, err := Authenticate(f.root.encode(), testTrust(t))
	wantReason(t, err, verdict.SignatureInvalid)
	f.at(envelopeAuth, 0, 1).str[0] ^= 1
	_, err = Authenticate(f.root.encode(), testTrust(t))
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
		{"text too long", func(_ *Manifest, o *Options) { o.Text = text(string(sized(MaxText))).encode() }, nil},
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
			f := forge(t, data, nil)
			f.root.drop(envelopeInstall)
			if v, err = Authenticate(f.root.encode(), testTrust(t)); err != nil {
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
	f := forge(t, data, nil)
	f.root.drop("#ble")
	f.root.drop(envelopeInstall)
	if v, err = Verify(f.root.encode(), testTrust(t), testDevice); err != nil || v.Manifest().Payload() != (Content{}) {
		t.Errorf("severed: payload %+v, %v", v.Manifest().Payload(), err)
	}
}
