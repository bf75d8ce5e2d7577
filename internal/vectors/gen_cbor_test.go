package vectors

import (
	"math/big"

	"github.com/otapack/otapack/internal/forge"
	"github.com/otapack/otapack/sign"
)

// Integer keys of SUIT (draft-ietf-suit-manifest-37; see package manifest).
const (
	envelopeAuth     = 2
	envelopeManifest = 3
	envelopeInstall  = 20
	envelopeText     = 23

	keyManifestVersion = 1
	keySequence        = 2
	keyCommon          = 3
	keyVersion         = 6
	keyValidate        = 7
	keyInvoke          = 9
	keyInstall         = 20
	keyText            = 23

	commonComponents = 2
	commonShared     = 4

	conditionVendor    = 1
	conditionClass     = 2
	conditionSlot      = 5
	setComponentIndex  = 12
	overrideParameters = 20
	directiveFetch     = 21

	parameterDigest         = 3
	parameterSlot           = 5
	parameterSize           = 14
	parameterEncryptionInfo = 19
	parameterURI            = 21
	parameterSource         = 22
)

// The places where faults are put.
var (
	toShared   = []any{envelopeManifest, keyCommon, commonShared}
	toFacts    = []any{envelopeManifest, keyCommon, commonShared, 1} // T1: the parameters
	toInstall  = []any{envelopeManifest, keyInstall}
	toInfo     = []any{envelopeManifest, keyInstall, 11, parameterEncryptionInfo} // T3
	toDecoding = []any{envelopeManifest, keyInstall, 13}                          // T4: the payload-info
	toValidate = []any{envelopeManifest, keyValidate}
)

func orderP256() *big.Int { return sign.ESP256.Curve().Params().N }

// unknownBlock is a signature block of ML-DSA-44, which nobody here has.
func unknownBlock() *item {
	return wrap(tagged(18, list(protected(-48), dict(), null(), bin(sized(2420)))))
}

// signed makes a fault inside the signed part: after it, digest and signature
// are right again, so that nothing but the fault can be the reason.
func signed(bend func(*forgery)) func(*forgery) {
	return func(f *forgery) {
		bend(f)
		f.Seal()
	}
}

// Short names of package forge.
type (
	item    = forge.Item
	forgery = forge.Envelope
)

const (
	majorUint     = forge.MajorUint
	majorNegative = forge.MajorNegative
	majorBytes    = forge.MajorBytes
	majorText     = forge.MajorText
	majorArray    = forge.MajorArray
	majorMap      = forge.MajorMap
	majorTag      = forge.MajorTag
	majorSimple   = forge.MajorSimple
)

var (
	num          = forge.Num
	bin          = forge.Bin
	text         = forge.Text
	list         = forge.List
	dict         = forge.Dict
	null         = forge.Null
	wrap         = forge.Wrap
	tagged       = forge.Tagged
	header       = forge.Header
	protected    = forge.Protected
	sized        = forge.Sized
	nested       = forge.Nested
	openEnvelope = forge.Open
)
