package config

import (
	"strconv"
	"strings"
)

// Starter returns a commented otapack.yaml for a product with one component,
// as a file to begin with. It loads without an error when product is a name and
// vendor a lower-case domain name; Parse tells when they are not.
func Starter(product, vendor string) []byte {
	return []byte(strings.NewReplacer("PRODUCT", yamlScalar(product), "VENDOR", yamlScalar(vendor), "MODEL", yamlScalar(product+"-app")).Replace(starter))
}

// yamlScalar quotes what YAML could take for something else than a string.
func yamlScalar(s string) string {
	if s != "null" && domainPattern.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

const starter = `# What a release is made of and who signs it. Unknown keys are errors, relative
# paths start at this file, and nothing in here is secret.
otapack: 1

product:
  name: PRODUCT
  vendor: VENDOR   # a domain of yours; devices know it as a UUID

hsm:
  module: /usr/lib/softhsm/libsofthsm2.so   # or set OTAPACK_PKCS11_MODULE
  tokens:
    release:
      uri: "pkcs11:token=otapack-dev"
      pin: {file: .otapack/pin}   # where the PIN is; without it, you are asked

# An alias stands for a key: its private half on a token, its public half here.
# "otapack key create" makes both.
keys:
  fw-1:      {token: release, uri: "pkcs11:object=fw-1", public: keys/fw-1.pub.pem}
  release-1: {token: release, uri: "pkcs11:object=release-1", public: keys/release-1.pub.pem}

# trust is what devices accept, sign unless given; threshold is 1 unless given.
signing:
  manifest: {sign: [fw-1]}
  release:  {sign: [release-1]}

components:
  app:
    chip: nrf52840
    model: MODEL
    revision: A              # hardware revision; a device takes only its own
    image: firmware/app.hex  # raw binary, Intel HEX, SREC or ELF
    # base: 0x1c000                               # raw binary only: address of its first byte
    # bank: {base: 0x1c000, size: 416KiB}         # instead of the chip's own
    # version: 1.0.0                              # instead of the version of the release
    # encrypt: {to: [keys/app-device.pub.pem]}    # with format mcuboot one key, and "per-device: FOLDER" for a file per device
    # delta: [last, oldest-supported]             # patches for devices that have one of these releases
    # compress: od1                               # whole images too: od1, zstd or deflate
    # signing: {sign: [fw-1], trust: [fw-1], threshold: 1}
    # requires: {peer: 1.0.0}                     # lowest version of another component

# install-order: [app]                            # the order above unless given
# allowed-versions: [{app: 1.0.0}]                # mixtures that may run while an update is under way
# policy: {max-sequence-step: 1000, rehearse: short, oldest-supported: 1.0.0}   # rehearse power loss: off, short or full
# provision: {token: release, transport: "pkcs11:object=line", secrets: {app: {update: {kind: recipient}}}}
# output: {dir: dist, last-release: release.json}
`
