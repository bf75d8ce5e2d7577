package release

import (
	"crypto/sha256"
	"crypto/x509"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/sign"
)

// testKeys are the ids of keys whose private halves are printed in
// specifications or shipped with tools, by where they are found. A release
// signed with one of them, or encrypted to one, is open to everybody; devices
// with such a key in their bootloader have been shipped.
var testKeys = map[string]string{
	"sha256:ade2dad611717e910e295db3ba086fc40490b0daacfc23aace9348077b839b17": "the SUIT drafts (signing)",
	"sha256:b1e6d37be35d4246d596cb5dea54c113d8e7b5152c81709fb08dc002f914a31e": "the SUIT drafts (second signer)",
	"sha256:6dfa3012ee45ad4ecaafc47d1f727440968071137dfad918cae096cd0bf2d426": "the SUIT drafts (recipient)",
	"sha256:5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4": "RFC 6979",
	"sha256:e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6": "MCUboot (root-ec-p256.pem)",
	"sha256:6bcd1e16d80e5fe13a5307e6f1de8344c7e50e537d9962ce35ef6db5e642fae8": "MCUboot (root-ec-p384.pem)",
	"sha256:3c23fc4e1d332a0c86e6a8bf6ecf26046d702302e135bf53fc04a009a33a78c5": "MCUboot (enc-ec256-priv.pem)",
	"sha256:bb868a727f0ef75e890a6a52bccd1d936fb34438afd6f237e8af259865742446": "MCUboot (cypress-test-ec-p256.pem)",
	"sha256:6dc968724fdedb71be7c8ad62540ea148996f96adb5c48e9cc3112c588f26d89": "MCUboot (testplan/mynewt/key_ec256.pem)",
	"sha256:1c35c9ccb929906e7792eda384825b41be700c50760493eaf163135933e191aa": "MCUboot (testplan/mynewt/key_ec256_2.pem)",
}

// publishedIn says where the private half of a key can be had, "" when it is
// not known to be published.
func publishedIn(id sign.KeyID) string { return testKeys[id.String()] }

func recipientPublishedIn(r encrypt.Recipient) string {
	spki, err := x509.MarshalPKIXPublicKey(r.Public)
	if err != nil {
		return "" // ParseRecipient has read it from the same form
	}
	return publishedIn(sha256.Sum256(spki))
}
