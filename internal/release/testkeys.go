package release

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"

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
	"sha256:c1907fa4eac7fae3840a78902b6f0710b037e9968e5c6274a12a28790c7d4e3c": "MCUboot (root-ed25519.pem)",
	"sha256:9a1dc1eb80199d8498f2a75dde0a7b75216e8302bf3a12bd04f153f48f3f24a0": "MCUboot (enc-x25519-priv.pem)",
	"sha256:bb868a727f0ef75e890a6a52bccd1d936fb34438afd6f237e8af259865742446": "MCUboot (cypress-test-ec-p256.pem)",
	"sha256:6dc968724fdedb71be7c8ad62540ea148996f96adb5c48e9cc3112c588f26d89": "MCUboot (testplan/mynewt/key_ec256.pem)",
	"sha256:1c35c9ccb929906e7792eda384825b41be700c50760493eaf163135933e191aa": "MCUboot (testplan/mynewt/key_ec256_2.pem)",
	"sha256:d58bf29f1cb5454abc2b20a52f198726adc03cd0fd4e659ca98606a2714e08cd": "otapack (testvectors/verdicts, vectors signer)",
	"sha256:88626ce329b3c4f06144079079bcca0c1274103596c5f106b15365d72969f7d5": "otapack (testvectors/verdicts, vectors second signer)",
	"sha256:5320b2985c7cf56442066c7aace525691658467b2cb252940f8c105bf6ab7800": "otapack (testvectors/verdicts, vectors third signer)",
	"sha256:708970d2cd9fa7fab22ce59e0a3a9671dc63bf9591f11a7e01bce6c88da63211": "otapack (testvectors/verdicts, vectors revoked signer)",
	"sha256:fb7aa996a24019f9b58956081718923899fb23267274fbaac673cfdb663886a0": "otapack (testvectors/verdicts, vectors stranger)",
	"sha256:87281d08d920d52116f83f8ff3e118551b2ce98dd3290b12004cf972276c9ccc": "otapack (testvectors/verdicts, vectors device)",
	"sha256:f3b552626acecf88085d68051bbb491e57d8a57ae78b075ba937accd9f279605": "otapack (testvectors/verdicts, vectors other device)",
	"sha256:bb0c4cd37cb30507b0b6a31fbb9d41bfc5f9a5ec7a4afe883876fba72dd4dbc6": "otapack (testvectors/mcuboot/keys/p256.pem)",
	"sha256:3e9d77dc7721324e096a15edaa6eb902778a9f7ad361cf454f2b66f2866b59c1": "otapack (testvectors/mcuboot/keys/p256-other.pem)",
	"sha256:b8a2463d255debed984dbbd08439d6861de3596286170dcec0e904c922ff2f65": "otapack (testvectors/mcuboot/keys/p384.pem)",
	"sha256:0bb28a5c6cfedaeecfaeaa1c68ca019d442e4c02d6d191a2413d504f31d7952f": "otapack (testvectors/mcuboot/keys/ed25519.pem)",
	"sha256:ce8d00ea1f765720b4eb25a9c056db3af07432478c5a53396a90c84945e0fff1": "otapack (testvectors/mcuboot/keys/enc-p256.pem)",
	"sha256:b0b650cb73e920dd8df0dd6c394d466e969c46cd02057eb9c3551fa1bc37f348": "otapack (testvectors/mcuboot/keys/enc-x25519.pem)",
	"sha256:2b469ca9b32222d35f4030b8a96b3dd6034b3e58479ec3746403572fc005c5f3": "otapack (testvectors/sbsfu/ECC.pem)",
}

// publishedIn says where the private half of a key can be had, "" when it is
// not known to be published.
func publishedIn(id sign.KeyID) string { return testKeys[id.String()] }

// recipientPublishedIn is publishedIn for the public half of a device's key.
func recipientPublishedIn(public crypto.PublicKey) string {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "" // it was read from the same form
	}
	return publishedIn(sha256.Sum256(spki))
}
