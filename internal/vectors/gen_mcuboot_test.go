package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// mcubootSteps are in the order of all modes but direct-xip and ram-load, which
// look at header and placement first.
var mcubootSteps = []string{
	string(mcuboot.StepBootable), string(mcuboot.StepDowngrade), string(mcuboot.StepHeader), string(mcuboot.StepContentKey),
	string(mcuboot.StepTLVs), string(mcuboot.StepSize), string(mcuboot.StepHash), string(mcuboot.StepSignature), string(mcuboot.StepCounter),
	string(mcuboot.StepVendor), string(mcuboot.StepClass), string(mcuboot.StepPlacement), string(mcuboot.StepDependencies), string(mcuboot.StepStructure),
}

func readVector(t *testing.T, name string) []byte {
	t.Helper()
	data, err := testvectors.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unhex(t *testing.T, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mcubootPEM is a published private key in DER.
func mcubootPEM(t *testing.T, name string) []byte {
	t.Helper()
	block, _ := pem.Decode(readVector(t, "mcuboot/keys/"+name+".pem"))
	if block == nil {
		t.Fatalf("%s: no PEM", name)
	}
	return block.Bytes
}

func mcubootSigner(t *testing.T, name string) sign.Signer {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(mcubootPEM(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := parsed.(*ecdsa.PrivateKey); ok {
		return newSigner(t, key)
	}
	s, err := sign.FromCrypto(parsed.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mcubootKey(t *testing.T, name string) verdicts.Hex {
	t.Helper()
	if name == "rsa2048" {
		return readVector(t, "mcuboot/keys/rsa2048.pub.der")
	}
	return mcubootSigner(t, name).Public().DER()
}

func imgtools(t *testing.T, image testvectors.MCUbootImage) []byte {
	t.Helper()
	file, err := image.File()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// plainMCUboot is a bootloader build of which nothing but the signature is known.
func plainMCUboot(signature string, keys ...verdicts.Hex) verdicts.MCUboot {
	return verdicts.MCUboot{
		Signature: signature, Keys: keys, KeyMatch: "hash", Crypto: "default", Downgrade: "allow", Mode: "unknown", Slot: "secondary", Encryption: "none",
	}
}

// in64K is the slot of imgtool's images.
func in64K(d verdicts.MCUboot) verdicts.MCUboot {
	d.Mode, d.SlotSize, d.SectorSize, d.WriteSize = "swap-move", 0x10000, 0x1000, 4
	return d
}

// imgtoolDevice is the bootloader that one of imgtool's images was verified with.
func imgtoolDevice(t *testing.T, name string) verdicts.MCUboot {
	t.Helper()
	d := in64K(plainMCUboot("ecdsa-p256", mcubootKey(t, "p256")))
	signedBy := func(signature, key string) { d.Signature, d.Keys = signature, []verdicts.Hex{mcubootKey(t, key)} }
	encrypted := func(kind, key string) { d.Encryption, d.DeviceKey = kind, mcubootPEM(t, key) }
	switch name {
	case "01-unsigned":
		d.Signature, d.Keys = "hash-only", nil
	case "03-p384":
		signedBy("ecdsa-p384", "p384")
	case "04-ed25519":
		signedBy("ed25519", "ed25519")
	case "05-ed25519-sha512":
		signedBy("ed25519", "ed25519")
		d.Hash = "sha512"
	case "06-ed25519-pure":
		signedBy("ed25519-pure", "ed25519")
	case "07-rsa2048":
		signedBy("rsa-2048", "rsa2048")
	case "08-p256-enc", "21-p256-enc-confirm":
		encrypted(mcuboot.ECIESP256.String(), "enc-p256")
	case "10-p256-enc-clear":
		encrypted(mcuboot.ECIESP256.String(), "enc-p256")
		d.Slot = "primary"
	case "11-ed25519-enc-x25519":
		signedBy("ed25519", "ed25519")
		encrypted(mcuboot.ECIESX25519.String(), "enc-x25519")
	case "12-ed25519-enc-x25519-hmac512":
		signedBy("ed25519", "ed25519")
		encrypted(mcuboot.ECIESX25519SHA512.String(), "enc-x25519")
	case "20-p256-confirm-erased0":
		d.ErasedZero, d.MaxSectors = true, 64
	case "36-pubkey-full":
		d.KeyMatch = "full"
	}
	return d
}

func generateMCUboot(t *testing.T) *generator {
	g := newGenerator(t, "mcuboot", "MCUboot, main branch at 2d4bacc3", mcubootSteps)
	add := func(id, description, base, source string, file []byte, d verdicts.MCUboot, want Answer) {
		g.add(row{
			id: id, description: description, source: source, want: want, device: verdicts.Device{MCUboot: &d},
			inputs: []verdicts.Input{g.input("image", base, file)}, data: map[string][]byte{"image": file},
		})
	}
	const app = "mcuboot-app.bin"
	g.base(app, readVector(t, "mcuboot/app.bin"))
	all, err := testvectors.MCUbootImages()
	if err != nil {
		t.Fatal(err)
	}
	byName, bases := map[string]testvectors.MCUbootImage{}, map[string]string{}
	for _, image := range all {
		base := app
		if image.ContentKey != "" {
			base = "mcuboot-" + image.Name + ".bin"
			file := imgtools(t, image)
			g.base(base, file[:min(len(file), 0xa200)]) // without the padding of a slot
		}
		byName[image.Name], bases[image.Name] = image, base
		description := "taken: imgtool's output: " + strings.TrimPrefix(image.Command, "imgtool ")
		if image.Name == "35-non-bootable" {
			description = "valid, but marked as non-bootable, so that a slot with it counts as empty"
		}
		add("imgtool/"+image.Name, description, base, verdicts.SourceBootutil, imgtools(t, image), imgtoolDevice(t, image.Name), Answer{Verdict: byWord(t, image.Bootutil)})
	}
	lzma := readVector(t, "mcuboot/lzma2.bin")
	add("imgtool/lzma2", "compressed, which upstream bootloaders are not built for", g.base("mcuboot-lzma2.bin", lzma), "", lzma,
		imgtoolDevice(t, ""), refuse(mcuboot.StepHeader, verdict.CompressionNotBuiltIn))
	changes, err := testvectors.MCUbootMutations()
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range changes {
		file, err := m.Apply(imgtools(t, byName[m.Base]))
		if err != nil {
			t.Fatal(err)
		}
		d := imgtoolDevice(t, m.Base)
		description := m.Why
		d.Keys = []verdicts.Hex{mcubootKey(t, m.VerifyKey)}
		if m.DecryptKey != "" {
			d.DeviceKey = mcubootPEM(t, m.DecryptKey)
		}
		add(fmt.Sprintf("bootutil/%03d-%s", i, slug(m.Why)), description, bases[m.Base], verdicts.SourceBootutil, file, d, Answer{Verdict: byWord(t, m.Bootutil)})
	}
	mcubootRules(t, g, add)
	return g
}

func byWord(t *testing.T, bootutil string) string {
	t.Helper()
	word, ok := map[string]string{"accept": verdicts.Accept, "reject": verdicts.Refuse}[bootutil]
	if !ok {
		t.Fatalf("verdict %q", bootutil)
	}
	return word
}

const smallPayload = "firmware of a very small device!"

// small is an image of a few bytes.
func small(t *testing.T, d verdicts.MCUboot, signer string, change func(*mcuboot.Options)) []byte {
	t.Helper()
	target, err := mcubootTarget(d)
	if err != nil {
		t.Fatal(err)
	}
	target.Keys = nil
	o := mcuboot.Options{Target: target, HeaderSize: 64, PadHeader: true, Version: mcuboot.Version{Major: 1, Minor: 2}}
	signers := map[sign.KeyID]sign.Signer{}
	if signer != "" {
		s := mcubootSigner(t, signer)
		o.Keys, signers[s.Public().ID()] = []sign.PublicKey{s.Public()}, s
	}
	if change != nil {
		change(&o)
	}
	draft, err := mcuboot.Build([]byte(smallPayload), o, stream("mcuboot content key"))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := sign.Answer(t.Context(), draft.Requests(), signers)
	if err != nil {
		t.Fatal(err)
	}
	b, err := draft.Finish(answers)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// retlv replaces the unprotected TLVs, which no signature covers.
func retlv(t *testing.T, file []byte, area ...mcuboot.TLV) []byte {
	t.Helper()
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	f.Unprotected = area
	return f.Encode()
}

func tlvs(t *testing.T, file []byte) []mcuboot.TLV {
	t.Helper()
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return f.Unprotected
}

// mcubootRules has a case for each rule of the loader that imgtool's images do
// not reach.
func mcubootRules(t *testing.T, g *generator, add func(id, description, base, source string, file []byte, d verdicts.MCUboot, want Answer)) {
	device := plainMCUboot("ecdsa-p256", mcubootKey(t, "p256"))
	changed := func(change func(*verdicts.MCUboot)) verdicts.MCUboot { d := device; change(&d); return d }
	file, other := small(t, device, "p256", nil), small(t, device, "p256-other", nil)
	const base = "mcuboot-small.bin"
	g.base(base, file)
	group := ""
	rule := func(name string, file []byte, d verdicts.MCUboot, want Answer) {
		t.Helper()
		if want.Verdict == verdicts.Accept {
			add(group+"/"+slug(name), "taken: "+name, base, "", file, d, want)
			return
		}
		add(group+"/"+slug(name), name, base, "", file, d, want)
	}
	a := tlvs(t, file)
	hash, keyHash, signature := a[0], a[1], a[2]
	unknownHash, bad := tlvs(t, other)[1], tlvs(t, other)[2]
	cut := func(e mcuboot.TLV, n int) mcuboot.TLV { return mcuboot.TLV{Type: e.Type, Value: e.Value[:n]} }
	long := func(e mcuboot.TLV, n int) mcuboot.TLV {
		return mcuboot.TLV{Type: e.Type, Value: append(bytes.Clone(e.Value), make([]byte, n)...)}
	}
	vendorTLV := mcuboot.TLV{Type: 0xa0, Value: []byte{1}}
	wrongHash := mcuboot.TLV{Type: hash.Type, Value: make([]byte, 32)}
	number := func(n uint32) *uint32 { return &n }
	mis := func(at int, e mcuboot.TLV) mcuboot.TLV {
		e.Value = bytes.Clone(e.Value)
		e.Value[at] ^= 1
		return e
	}

	group = "tlv"
	anyTLV := changed(func(d *verdicts.MCUboot) { d.AnyTLV = true })
	for _, c := range []struct {
		name string
		area []mcuboot.TLV
		d    verdicts.MCUboot
		want Answer
	}{
		{"as built", []mcuboot.TLV{hash, keyHash, signature}, device, accept()},
		{"hash last", []mcuboot.TLV{keyHash, signature, hash}, device, accept()},
		{"no hash", []mcuboot.TLV{keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.ImageHashMissing)},
		{"two hashes", []mcuboot.TLV{hash, keyHash, hash, signature}, device, accept()},
		{"a second hash that is wrong", []mcuboot.TLV{hash, keyHash, signature, wrongHash}, device, refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"a first hash that is wrong", []mcuboot.TLV{wrongHash, hash, keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"hash that differs in its last bit", []mcuboot.TLV{mis(31, hash), keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"short hash", []mcuboot.TLV{cut(hash, 31), keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.TLVLength)},
		{"long hash", []mcuboot.TLV{long(hash, 1), keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.TLVLength)},
		{"empty hash", []mcuboot.TLV{cut(hash, 0), keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.TLVLength)},
		{"a hash of another algorithm, not looked at", []mcuboot.TLV{{Type: mcuboot.TypeSHA512, Value: []byte("no")}, hash, keyHash, signature}, device, accept()},
		{"another hash only", []mcuboot.TLV{{Type: mcuboot.TypeSHA512, Value: make([]byte, 64)}, keyHash, signature}, device, refuse(mcuboot.StepHash, verdict.ImageHashMissing)},

		{"signature before its key", []mcuboot.TLV{hash, signature, keyHash}, device, refuse(mcuboot.StepSignature, verdict.NoKnownKey)},
		{"no key", []mcuboot.TLV{hash, signature}, device, refuse(mcuboot.StepSignature, verdict.NoKnownKey)},
		{"no signature", []mcuboot.TLV{hash, keyHash}, device, refuse(mcuboot.StepSignature, verdict.Unsigned)},
		{"nothing", nil, device, refuse(mcuboot.StepHash, verdict.ImageHashMissing)},
		{"unknown key", []mcuboot.TLV{hash, unknownHash, bad}, device, refuse(mcuboot.StepSignature, verdict.NoKnownKey)},
		{"unknown and known key", []mcuboot.TLV{hash, unknownHash, bad, keyHash, signature}, device, accept()},
		{"known and unknown key", []mcuboot.TLV{hash, keyHash, signature, unknownHash, bad}, device, accept()},
		{"a key that is replaced before its signature", []mcuboot.TLV{hash, keyHash, unknownHash, signature}, device, refuse(mcuboot.StepSignature, verdict.NoKnownKey)},
		{"two signatures after one key", []mcuboot.TLV{hash, keyHash, signature, bad}, device, accept()},
		{"the last decides, and is bad", []mcuboot.TLV{hash, keyHash, signature, keyHash, bad}, device, refuse(mcuboot.StepSignature, verdict.SignatureInvalid)},
		{"the last decides, and is good", []mcuboot.TLV{hash, keyHash, bad, keyHash, signature}, device, accept()},
		{"signature by another key under the known hash", []mcuboot.TLV{hash, keyHash, bad}, device, refuse(mcuboot.StepSignature, verdict.SignatureInvalid)},
		{"one bit of the signature", []mcuboot.TLV{hash, keyHash, mis(20, signature)}, device, refuse(mcuboot.StepSignature, verdict.SignatureInvalid)},
		{"key hash that differs in its last bit", []mcuboot.TLV{hash, mis(31, keyHash), signature}, device, refuse(mcuboot.StepSignature, verdict.NoKnownKey)},
		{"key hash of 4 bytes", []mcuboot.TLV{hash, cut(keyHash, 4), signature}, device, accept()},
		{"key hash of no bytes", []mcuboot.TLV{hash, cut(keyHash, 0), signature}, device, accept()},
		{"key hash of 33 bytes", []mcuboot.TLV{hash, long(keyHash, 1), signature}, device, refuse(mcuboot.StepSignature, verdict.TLVLength)},
		{"signature with padding", []mcuboot.TLV{hash, keyHash, long(signature, 3)}, device, accept()},
		{"signature with padding for MbedTLS", []mcuboot.TLV{hash, keyHash, long(signature, 3)}, changed(func(d *verdicts.MCUboot) { d.Crypto = "mbedtls" }),
			refuse(mcuboot.StepSignature, verdict.SignatureInvalid)},
		{"signature of more than the loader reads", []mcuboot.TLV{hash, keyHash, long(signature, 60)}, device, refuse(mcuboot.StepSignature, verdict.TLVLength)},
		{"the same by an unknown key", []mcuboot.TLV{hash, unknownHash, long(signature, 60), keyHash, signature}, device, accept()},
		{"raw r and s", []mcuboot.TLV{hash, keyHash, {Type: mcuboot.TypeECDSA, Value: make([]byte, 64)}}, device, refuse(mcuboot.StepSignature, verdict.SignatureInvalid)},
		{"empty signature", []mcuboot.TLV{hash, keyHash, {Type: mcuboot.TypeECDSA}}, device, refuse(mcuboot.StepSignature, verdict.SignatureInvalid)},
		{"Ed25519 signature for P-256", []mcuboot.TLV{hash, keyHash, {Type: mcuboot.TypeEd25519, Value: make([]byte, 64)}}, device, refuse(mcuboot.StepSignature, verdict.Unsigned)},

		{"vendor TLV outside the protected area", []mcuboot.TLV{hash, keyHash, signature, vendorTLV}, device, refuse(mcuboot.StepTLVs, verdict.TLVNotAllowed)},
		{"vendor TLV, no allow list", []mcuboot.TLV{hash, keyHash, signature, vendorTLV}, anyTLV, accept()},
		{"counter outside the protected area", []mcuboot.TLV{hash, keyHash, signature, {Type: mcuboot.TypeCounter, Value: make([]byte, 4)}}, device, refuse(mcuboot.StepTLVs, verdict.TLVNotAllowed)},
		{"type 0xffff", []mcuboot.TLV{hash, keyHash, signature, {Type: 0xffff}}, device, refuse(mcuboot.StepTLVs, verdict.TLVNotAllowed)},
		{"pure flag for a build of hashes", []mcuboot.TLV{hash, {Type: mcuboot.TypePure, Value: []byte{1}}, keyHash, signature}, device, refuse(mcuboot.StepTLVs, verdict.TLVNotAllowed)},
		{"key and encryption TLVs", []mcuboot.TLV{hash, {Type: mcuboot.TypePublicKey}, {Type: mcuboot.TypeEncRSA}, {Type: mcuboot.TypeEncKW}, {Type: mcuboot.TypeEncP256}, {Type: mcuboot.TypeEncX25519}, {Type: mcuboot.TypeECDSA224}, keyHash, signature}, device, accept()},
		{"the X25519 TLV of the other hash", []mcuboot.TLV{hash, keyHash, signature, {Type: mcuboot.TypeEncX25519H5}}, device, refuse(mcuboot.StepTLVs, verdict.TLVNotAllowed)},
	} {
		rule(c.name, retlv(t, file, c.area...), c.d, c.want)
	}
	rule("bytes after the TLV area", append(bytes.Clone(file), 1, 2, 3), device, accept())

	group = "key"
	both := changed(func(d *verdicts.MCUboot) {
		d.Keys = append(slices.Clone(d.Keys), mcubootKey(t, "p256-other"))
	})
	rule("second of two keys", other, both, accept())
	rule("key hash and signature of two keys", retlv(t, file, hash, unknownHash, signature), both, refuse(mcuboot.StepSignature, verdict.SignatureInvalid))
	rule("one of the device's keys is not enough if the other is named", retlv(t, file, hash, keyHash, bad), both, refuse(mcuboot.StepSignature, verdict.SignatureInvalid))
	builtin := changed(func(d *verdicts.MCUboot) { d.KeyMatch = "builtin" })
	rule("built in, no key TLV", retlv(t, file, hash, signature), builtin, accept())
	rule("built in, key TLVs are not read", retlv(t, file, hash, long(keyHash, 40), signature), builtin, accept())
	rule("built in, only the first signature counts", retlv(t, file, hash, signature, bad), builtin, accept())
	rule("built in, the first signature is the one", retlv(t, file, hash, bad, signature), builtin, refuse(mcuboot.StepSignature, verdict.SignatureInvalid))
	bypass := changed(func(d *verdicts.MCUboot) { d.KeyMatch = "bypass" })
	rule("bypass, any hash", retlv(t, file, hash, unknownHash, signature), bypass, accept())
	rule("bypass, no hash", retlv(t, file, hash, signature), bypass, refuse(mcuboot.StepSignature, verdict.NoKnownKey))
	full := changed(func(d *verdicts.MCUboot) { d.KeyMatch = "full" })
	withKey := func(k []byte) []byte {
		return retlv(t, file, hash, mcuboot.TLV{Type: mcuboot.TypePublicKey, Value: k}, signature)
	}
	rule("full key", withKey(mcubootKey(t, "p256")), full, accept())
	rule("full key of another", withKey(mcubootKey(t, "p256-other")), full, refuse(mcuboot.StepSignature, verdict.NoKnownKey))
	rule("full key, longer than the loader reads", withKey(make([]byte, 153)), full, refuse(mcuboot.StepSignature, verdict.TLVLength))
	rule("full key wanted, hash given", file, full, refuse(mcuboot.StepSignature, verdict.NoKnownKey))
	rule("hash wanted, full key given", withKey(mcubootKey(t, "p256")), device, refuse(mcuboot.StepSignature, verdict.NoKnownKey))
	hashOnly := plainMCUboot("hash-only")
	rule("hash only, signatures are not looked at", file, hashOnly, accept())
	rule("hash only, wrong hash", retlv(t, file, wrongHash, keyHash, signature), hashOnly, refuse(mcuboot.StepHash, verdict.ImageDigestMismatch))
	p384 := plainMCUboot("ecdsa-p384", mcubootKey(t, "p384"))
	rule("P-384", small(t, p384, "p384", nil), p384, accept())
	rule("P-256 for a P-384 bootloader", file, p384, refuse(mcuboot.StepHash, verdict.ImageHashMissing))

	group = "pure"
	pure := plainMCUboot("ed25519-pure", mcubootKey(t, "ed25519"))
	pureFile := small(t, pure, "ed25519", nil)
	p := tlvs(t, pureFile)
	flag := func(value ...byte) mcuboot.TLV { return mcuboot.TLV{Type: mcuboot.TypePure, Value: value} }
	rule("as built", pureFile, pure, accept())
	rule("flag 0", retlv(t, pureFile, p[0], flag(0), p[2], p[3]), pure, refuse(mcuboot.StepSignature, verdict.PureMissing))
	rule("flag of two bytes", retlv(t, pureFile, p[0], flag(1, 1), p[2], p[3]), pure, refuse(mcuboot.StepSignature, verdict.PureMissing))
	rule("no flag", retlv(t, pureFile, p[0], p[2], p[3]), pure, refuse(mcuboot.StepSignature, verdict.PureMissing))
	rule("wrong hash, not looked at", retlv(t, pureFile, mcuboot.TLV{Type: p[0].Type, Value: []byte{1}}, p[1], p[2], p[3]), pure, accept())
	rule("no hash", retlv(t, pureFile, p[1], p[2], p[3]), pure, accept())
	rule("another payload", flipped(pureFile, 70), pure, refuse(mcuboot.StepSignature, verdict.SignatureInvalid))
	rule("signature of 63 bytes", retlv(t, pureFile, p[0], p[1], p[2], cut(p[3], 63)), pure, refuse(mcuboot.StepSignature, verdict.TLVLength))
	prehashed := pure
	prehashed.Signature, prehashed.Hash, prehashed.AnyTLV = "ed25519", "sha512", true
	rule("for a loader that signs hashes", pureFile, prehashed, refuse(mcuboot.StepSignature, verdict.SignatureInvalid))

	group = "device"
	device = in64K(device)
	vendor, err := mcuboot.VendorUUID("example.com")
	if err != nil {
		t.Fatal(err)
	}
	class, err := mcuboot.ClassUUID(vendor, "radio")
	if err != nil {
		t.Fatal(err)
	}
	counted := small(t, device, "p256", func(o *mcuboot.Options) { o.Counter = number(5) })
	namedFile := small(t, device, "p256", func(o *mcuboot.Options) { o.Vendor, o.Class = "example.com", "radio" })
	dependent := small(t, device, "p256", func(o *mcuboot.Options) {
		o.Dependencies = []mcuboot.Dependency{{Image: 1, Minimum: mcuboot.Version{Major: 2, Build: 7}}}
	})
	third := small(t, device, "p256", func(o *mcuboot.Options) { o.Dependencies = []mcuboot.Dependency{{Image: 3}} })
	rollback := func(n uint32) verdicts.MCUboot { return changed(func(d *verdicts.MCUboot) { d.Rollback = &n }) }
	installed := func(mode, downgrade string, v verdicts.Version, counter *uint32) verdicts.MCUboot {
		return changed(func(d *verdicts.MCUboot) {
			d.Mode, d.Downgrade, d.Installed = mode, downgrade, &verdicts.Installed{Version: v, Counter: counter}
		})
	}
	others := func(images uint32, v ...verdicts.Other) verdicts.MCUboot {
		return changed(func(d *verdicts.MCUboot) { d.Images, d.Others = images, v })
	}
	newer := verdicts.Version{Major: 1, Minor: 2, Revision: 1}
	same := verdicts.Version{Major: 1, Minor: 2, Build: 9}
	compareBuild := installed("swap-move", "version", same, nil)
	compareBuild.CompareBuild = true
	for _, c := range []struct {
		name string
		file []byte
		d    verdicts.MCUboot
		want Answer
	}{
		{"no counter", file, rollback(0), refuse(mcuboot.StepCounter, verdict.CounterMissing)},
		{"counter below", counted, rollback(6), refuse(mcuboot.StepCounter, verdict.CounterRollback)},
		{"counter far below", counted, rollback(1 << 31), refuse(mcuboot.StepCounter, verdict.CounterRollback)},
		{"counter equal", counted, rollback(5), accept()},
		{"counter above", counted, rollback(4), accept()},
		{"counter without protection", counted, device, accept()},
		{"older, swap", file, installed("swap-move", "version", newer, nil), refuse(mcuboot.StepDowngrade, verdict.VersionDowngrade)},
		{"older, overwrite", file, installed("overwrite-only", "version", newer, nil), refuse(mcuboot.StepDowngrade, verdict.VersionDowngrade)},
		{"older, overwrite, before the hash", flipped(file, 70), installed("overwrite-only", "version", newer, nil), refuse(mcuboot.StepDowngrade, verdict.VersionDowngrade)},
		{"older, swap, after the hash", flipped(file, 70), installed("swap-move", "version", newer, nil), refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"older, overwrite by counter compares versions", counted, installed("overwrite-only", "counter", newer, number(0)), refuse(mcuboot.StepDowngrade, verdict.VersionDowngrade)},
		{"older, direct-xip chooses the newest", file, installed("direct-xip", "version", newer, nil), accept()},
		{"older, no prevention", file, installed("swap-move", "allow", newer, nil), accept()},
		{"same version", file, installed("swap-move", "version", verdicts.Version{Major: 1, Minor: 2}, nil), accept()},
		{"older by its major version", file, installed("swap-move", "version", verdicts.Version{Major: 2}, nil), refuse(mcuboot.StepDowngrade, verdict.VersionDowngrade)},
		{"newer by its major version", file, installed("swap-move", "version", verdicts.Version{Minor: 255, Revision: 65535}, nil), accept()},
		{"the build number does not count", file, installed("swap-move", "version", same, nil), accept()},
		{"the build number counts", file, compareBuild, refuse(mcuboot.StepDowngrade, verdict.VersionDowngrade)},
		{"by counter, below", counted, installed("swap-scratch", "counter", newer, number(6)), refuse(mcuboot.StepDowngrade, verdict.CounterRollback)},
		{"by counter, equal", counted, installed("swap-scratch", "counter", newer, number(5)), accept()},
		{"by counter, none in the update", file, installed("swap-scratch", "counter", newer, number(0)), refuse(mcuboot.StepDowngrade, verdict.CounterMissing)},
		{"by counter, none installed", file, installed("swap-scratch", "counter", newer, nil), accept()},
		{"vendor and class", namedFile, changed(func(d *verdicts.MCUboot) { d.Vendor, d.Class = vendor[:], class[:] }), accept()},
		{"no vendor", file, changed(func(d *verdicts.MCUboot) { d.Vendor = vendor[:] }), refuse(mcuboot.StepVendor, verdict.UUIDMissing)},
		{"no class", file, changed(func(d *verdicts.MCUboot) { d.Class = class[:] }), refuse(mcuboot.StepClass, verdict.UUIDMissing)},
		{"another vendor", namedFile, changed(func(d *verdicts.MCUboot) { d.Vendor = class[:] }), refuse(mcuboot.StepVendor, verdict.VendorMismatch)},
		{"another class", namedFile, changed(func(d *verdicts.MCUboot) { d.Class = vendor[:] }), refuse(mcuboot.StepClass, verdict.ClassMismatch)},
		{"dependency, one image", dependent, others(1), accept()},
		{"dependency met", dependent, others(2, verdicts.Other{Image: 1, Version: verdicts.Version{Major: 2, Build: 1}}), accept()},
		{"dependency not met", dependent, others(2, verdicts.Other{Image: 1, Version: verdicts.Version{Major: 1, Minor: 255}}), refuse(mcuboot.StepDependencies, verdict.DependencyUnmet)},
		{"dependency on no image", third, others(2), refuse(mcuboot.StepDependencies, verdict.DependencyImage)},
	} {
		rule(c.name, c.file, c.d, c.want)
	}

	group = "placement"
	ram := small(t, device, "p256", func(o *mcuboot.Options) { o.LoadAddress = number(0x2000_0000) })
	rom := small(t, device, "p256", func(o *mcuboot.Options) { o.ROMAddress = number(0x0801_0000) })
	memory := func(start, size uint32) verdicts.MCUboot {
		return changed(func(d *verdicts.MCUboot) { d.Mode, d.RAM = "ram-load", &verdicts.Memory{Start: start, Size: size} })
	}
	slotAt := func(at uint32) verdicts.MCUboot {
		return changed(func(d *verdicts.MCUboot) { d.Mode, d.SlotAddress = "direct-xip", &at })
	}
	boot := func(start, size uint32) verdicts.MCUboot {
		return changed(func(d *verdicts.MCUboot) { d.Boot = &verdicts.Memory{Start: start, Size: size} })
	}
	size := uint32(len(ram))
	rule("to RAM", ram, memory(0x2000_0000, size), accept())
	rule("RAM one byte too small", ram, memory(0x2000_0000, size-1), refuse(mcuboot.StepPlacement, verdict.LoadAddress))
	rule("below the RAM", ram, memory(0x2000_0001, 1<<20), refuse(mcuboot.StepPlacement, verdict.LoadAddress))
	rule("not for RAM", file, memory(0x2000_0000, 1<<20), refuse(mcuboot.StepPlacement, verdict.LoadAddress))
	rule("for RAM, placement before the hash", flipped(file, 70), memory(0x2000_0000, 1<<20), refuse(mcuboot.StepPlacement, verdict.LoadAddress))
	rule("for RAM, another mode", ram, device, accept())
	rule("its slot", rom, slotAt(0x0801_0000), accept())
	rule("another slot", rom, slotAt(0x0802_0000), refuse(mcuboot.StepPlacement, verdict.SlotMismatch))
	rule("for no slot", file, slotAt(0x0802_0000), accept())
	rule("load address in the primary slot", rom, boot(0x0801_0000, 0x10000), accept())
	rule("load address below the primary slot", rom, boot(0x0801_0001, 0x10000), refuse(mcuboot.StepPlacement, verdict.LoadAddress))
	rule("load address after the primary slot", rom, boot(0x0800_0000, 0x10000), refuse(mcuboot.StepPlacement, verdict.LoadAddress))

	group = "header"
	overwrite := plainMCUboot("hash-only")
	overwrite.Mode, overwrite.SlotSize = "overwrite-only", 4096
	good := small(t, overwrite, "", func(o *mcuboot.Options) { o.Counter = number(1) })
	rehash := func(b []byte) []byte {
		sum := sha256.Sum256(b[:len(b)-40]) // one TLV and its area's header
		copy(b[len(b)-32:], sum[:])
		return b
	}
	set32 := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	set16 := func(at int, v uint16) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint16(b[at:], v)
		return b
	}
	protected := 64 + len(smallPayload)
	for _, c := range []struct {
		name string
		file []byte
		want Answer
	}{
		{"as built", good, accept()},
		{"empty file", nil, refuse(mcuboot.StepHeader, verdict.Truncated)},
		{"31 bytes", good[:31], refuse(mcuboot.StepHeader, verdict.Truncated)},
		{"erased flash", bytes.Repeat([]byte{0xff}, 1024), refuse(mcuboot.StepHeader, verdict.ImageMagic)},
		{"magic", set32(0, 0x96f3b83c), refuse(mcuboot.StepHeader, verdict.ImageMagic)},
		{"payload as large as the slot", set32(12, 4096), refuse(mcuboot.StepHeader, verdict.ImageSizes)},
		{"payload of 4 GiB", set32(12, 0xffffffff), refuse(mcuboot.StepHeader, verdict.ImageSizes)},
		{"payload longer than the file", set32(12, 1000), refuse(mcuboot.StepHash, verdict.Truncated)},
		{"AES-128 flag", set32(16, 4), refuse(mcuboot.StepHeader, verdict.EncryptionNotBuiltIn)},
		{"AES-256 flag", set32(16, 8), refuse(mcuboot.StepHeader, verdict.EncryptionNotBuiltIn)},
		{"LZMA1 flag", set32(16, 0x200), refuse(mcuboot.StepHeader, verdict.CompressionNotBuiltIn)},
		{"LZMA2 flag", set32(16, 0x400), refuse(mcuboot.StepHeader, verdict.CompressionNotBuiltIn)},
		{"ARM Thumb flag alone", set32(16, 0x800), refuse(mcuboot.StepHeader, verdict.CompressionNotBuiltIn)},
		{"flags without a meaning", rehash(set32(16, 0xf000_0002)), accept()},
		{"pad word", rehash(set32(28, 1)), accept()},
		{"version changed", set32(20, 9), refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"padding of the header changed", flipped(good, 40), refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"protected TLV changed", flipped(good, protected+9), refuse(mcuboot.StepHash, verdict.ImageDigestMismatch)},
		{"no protected size", set16(10, 0), refuse(mcuboot.StepTLVs, verdict.ProtectedSize)},
		{"another protected size", set16(10, 13), refuse(mcuboot.StepTLVs, verdict.ProtectedSize)},
		{"protected magic", flipped(good, protected), refuse(mcuboot.StepTLVs, verdict.ProtectedSize)},
		{"unprotected magic", flipped(good, protected+12), refuse(mcuboot.StepTLVs, verdict.TLVMagic)},
		{"one byte of the TLVs missing", good[:len(good)-1], refuse(mcuboot.StepTLVs, verdict.Truncated)},
	} {
		rule(c.name, c.file, overwrite, c.want)
	}
	bothFlags := overwrite
	bothFlags.Encryption = mcuboot.ECIESP256.String()
	rule("both AES flags", set32(16, 12), bothFlags, refuse(mcuboot.StepHeader, verdict.EncryptionFlags))
	limit := overwrite
	limit.SlotSize = uint32(len(good)) + 24
	rule("too long for the trailer of its slot", good, limit, refuse(mcuboot.StepSize, verdict.ImageExceedsSlot))

	group = "encryption"
	enc := changed(func(d *verdicts.MCUboot) {
		d.Encryption, d.DeviceKey = mcuboot.ECIESP256.String(), mcubootPEM(t, "enc-p256")
	})
	to, err := mcuboot.ParseDeviceKey(enc.DeviceKey)
	if err != nil {
		t.Fatal(err)
	}
	secret := small(t, enc, "p256", func(o *mcuboot.Options) { o.Encrypt = &mcuboot.Encrypt{To: to.Recipient()} })
	e := tlvs(t, secret)
	with := func(change func(*verdicts.MCUboot)) verdicts.MCUboot { d := enc; change(&d); return d }
	rule("as built", secret, enc, accept())
	rule("plain image", file, enc, accept())
	rule("looked at in the primary slot", secret, with(func(d *verdicts.MCUboot) { d.Slot = "primary" }), refuse(mcuboot.StepHash, verdict.ImageDigestMismatch))
	rule("another key", secret, with(func(d *verdicts.MCUboot) { d.DeviceKey = mcubootPEM(t, "p256-other") }), refuse(mcuboot.StepContentKey, verdict.KeyUnwrap))
	rule("no key", secret, with(func(d *verdicts.MCUboot) { d.DeviceKey = nil }), refuse(mcuboot.StepContentKey, verdict.RecipientKeyMissing))
	rule("AES-256 bootloader", secret, with(func(d *verdicts.MCUboot) { d.AESBits = 256 }), refuse(mcuboot.StepContentKey, verdict.EncryptionTLV))
	rule("X25519 bootloader", secret, with(func(d *verdicts.MCUboot) {
		d.Encryption, d.DeviceKey = mcuboot.ECIESX25519.String(), mcubootPEM(t, "enc-x25519")
	}), refuse(mcuboot.StepContentKey, verdict.EncryptionTLV))
	rule("bootloader without encryption", secret, device, refuse(mcuboot.StepHeader, verdict.EncryptionNotBuiltIn))
	rule("direct-xip", secret, with(func(d *verdicts.MCUboot) { d.Mode = "direct-xip" }), refuse(mcuboot.StepHeader, verdict.EncryptionMode))
	rule("single slot, nothing is decrypted", secret, with(func(d *verdicts.MCUboot) { d.Mode = "single-slot" }), refuse(mcuboot.StepHash, verdict.ImageDigestMismatch))
	rule("no encryption TLV", retlv(t, secret, e[:3]...), enc, refuse(mcuboot.StepContentKey, verdict.EncryptionTLV))
	first := mcuboot.TLV{Type: mcuboot.TypeEncP256, Value: bytes.Repeat([]byte{4}, 113)}
	rule("the first encryption TLV counts", retlv(t, secret, append([]mcuboot.TLV{first}, e...)...), enc, refuse(mcuboot.StepContentKey, verdict.EphemeralPoint))
	rule("a second encryption TLV does not", retlv(t, secret, append(slices.Clone(e), mcuboot.TLV{Type: mcuboot.TypeEncP256, Value: []byte{1}})...), enc, accept())
	rule("long encryption TLV", retlv(t, secret, e[0], e[1], e[2], long(e[3], 1)), enc, refuse(mcuboot.StepContentKey, verdict.EncryptionTLV))
	for _, c := range []struct {
		name   string
		at     int
		reason verdict.Reason
	}{
		{"form of the ephemeral point", 0, verdict.EphemeralPoint}, {"ephemeral point off the curve", 40, verdict.EphemeralPoint},
		{"tag of the content key", 70, verdict.KeyUnwrap}, {"encrypted content key", 112, verdict.KeyUnwrap},
	} {
		rule(c.name, retlv(t, secret, e[0], e[1], e[2], mis(c.at, e[3])), enc, refuse(mcuboot.StepContentKey, c.reason))
	}
	rule("first byte of the ciphertext", flipped(secret, 64), enc, refuse(mcuboot.StepHash, verdict.ImageDigestMismatch))

	// No tool makes such a file, and a loader does not look: the entry swallows the
	// header of the unprotected area.
	group = "structure"
	custom := plainMCUboot("hash-only")
	custom.AnyTLV = true
	swallow := small(t, custom, "", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0, Value: make([]byte, 4)}} })
	binary.LittleEndian.PutUint16(swallow[protected+6:], 8)
	rule("protected entry that reaches into the unprotected area", rehash(swallow), custom, refuse(mcuboot.StepStructure, verdict.TLVLength))
}

func flipped(file []byte, at int) []byte {
	b := bytes.Clone(file)
	b[at] ^= 1
	return b
}
