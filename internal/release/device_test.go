package release

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// vendorEdits make the radio's bootloader that of the nRF5 SDK and the motor's
// MCUboot, each with a key of its own.
var vendorEdits = []string{
	"  release: {token", "  fw-b: {token: t, uri: \"pkcs11:object=b\", public: keys/fw-b.pem}\n  fw-c: {token: t, uri: \"pkcs11:object=c\", public: keys/fw-c.pem}\n  release: {token",
	"    encrypt: {to: [keys/radio-device.pem]}\n", `    format: nrfdfu
    nrfdfu:
      profile: nrf52840
      sdk: 17
      signing: {sign: [fw-b]}
      hw-version: 52
      sd-req: [0x0100]
      boot-validation: ecdsa
`,
	"    base: 0x08008000\n", `    format: mcuboot
    mcuboot:
      profile: st-oemirot
      signing: {sign: [fw-c]}
      slot-size: 96KiB
      sector-size: 2KiB
      align: 8
      max-align: 8
      security-counter: sequence
`,
}

func newVendorWorkshop(t testing.TB, edits ...string) *workshop {
	t.Helper()
	return newWorkshop(t, append(slices.Clone(vendorEdits), edits...)...)
}

// imageKey is the private half of a device key as MCUboot has it.
func imageKey(t testing.TB, name string) mcuboot.DeviceKey {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(deviceKey(t, name))
	if err != nil {
		t.Fatal(err)
	}
	key, err := mcuboot.ParseDeviceKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func imageKeys(t testing.TB) map[string]mcuboot.DeviceKey {
	t.Helper()
	return map[string]mcuboot.DeviceKey{"motor": imageKey(t, "motor-device")}
}

// The files are what the vendors' bootloaders take, the manifests cover them
// byte by byte, and all of it comes out of one run.
func TestVendorFormats(t *testing.T) {
	w := newVendorWorkshop(t)
	record, data := w.release(t, "1.4.2")
	_, report, err := verifyBundle(t, w.open(t), data, VerifyOptions{MinSequence: 1, ImageKeys: imageKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Components {
		if !c.Accepted || !c.Complete {
			t.Errorf("%s: accepted %t, complete %t: %+v", c.Name, c.Accepted, c.Complete, c.Checks)
		}
	}

	files := map[string][]byte{}
	for _, c := range openBundle(t, data).Components {
		files[c.Name] = payloadOf(t, c)
		e, err := manifest.Parse(c.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.Unverified()
		if err != nil {
			t.Fatal(err)
		}
		if m.Encrypted() || m.Image.Digest != manifest.Digest(sha256.Sum256(files[c.Name])) || int(m.Image.Size) != len(files[c.Name]) {
			t.Errorf("%s: the manifest covers %v", c.Name, m.Image)
		}
	}

	pkg, err := nrfdfu.ParsePackage(files["radio"])
	if err != nil {
		t.Fatal(err)
	}
	app := pkg.Describe().Images[0]
	if *app.FWVersion != 1 || *app.HWVersion != 52 || !slices.Equal(app.SDReq, []uint32{0x100}) || app.BootValidations[0].Type != "VALIDATE_ECDSA_P256_SHA256" ||
		app.SHA256 != fmt.Sprintf("%x", sha256.Sum256(pseudo(t, "radio", 3000))) {
		t.Errorf("package: %+v", app)
	}
	plain, err := mcuboot.Decrypt(files["motor"], imageKey(t, "motor-device"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := mcuboot.Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	if image.Header.Version != (mcuboot.Version{Major: 1, Minor: 4, Revision: 2}) || !bytes.HasPrefix(image.Payload, pseudo(t, "motor", 1001)) ||
		bytes.Contains(files["motor"], pseudo(t, "motor", 1001)[:64]) {
		t.Errorf("image: %+v", image.Header)
	}

	// Two rounds for the package, one for the image, then what covers them.
	var signed []string
	for _, s := range record.Signatures {
		signed = append(signed, s.Artifact+" by "+s.Key)
	}
	if got, want := strings.Join(signed, ", "), "radio application boot validation by fw-b, radio application init packet by fw-b, motor image by fw-c, "+
		"radio manifest by fw, motor manifest by fw, release record by release"; got != want {
		t.Errorf("signed %s", got)
	}
	spki, err := x509.MarshalPKIXPublicKey(deviceKey(t, "motor-device").PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range record.Components {
		want := map[string][]string{"radio": {"nrfdfu"}, "motor": {"mcuboot", fmt.Sprintf("%x", sha256.Sum256(spki))}}[c.Name]
		if got := append([]string{c.Format}, c.Recipients...); !slices.Equal(got, want) || c.Payload.SHA256 != manifest.Digest(sha256.Sum256(files[c.Name])) {
			t.Errorf("%s is %q, %+v", c.Name, got, c.Payload)
		}
	}

	// Without the device's key decryption is left out, and said so.
	_, report, err = verifyBundle(t, w.open(t), data, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	motor := report.Components[slices.IndexFunc(report.Components, func(c ComponentReport) bool { return c.Name == "motor" })]
	if last := motor.Checks[len(motor.Checks)-1]; motor.Complete || last.Step != StepContentKey || last.Status != "not-run" {
		t.Errorf("without a key: %+v", motor)
	}

	// The same again changes nothing.
	existing, err := w.load(t, "1.4.2").Existing()
	if err != nil || existing == nil || existing.Sequence != 1 {
		t.Errorf("the same release again: %+v, %v", existing, err)
	}
}

// A dry run knows what it can know: nothing that covers an unsigned file.
func TestVendorDryRun(t *testing.T) {
	w := newVendorWorkshop(t)
	rehearsed := build(t, w.load(t, "1.4.2"), counting{})
	r := rehearsed.Record()
	if got := rehearsed.Signatures(); got != 6 {
		t.Errorf("%d signatures", got)
	}
	if len(r.Signatures) != 2 || r.Signatures[0].Artifact != "radio application boot validation" || r.Signatures[1].Artifact != "motor image" {
		t.Errorf("signatures %+v", r.Signatures)
	}
	for _, c := range r.Components {
		if c.ManifestDigest != (manifest.Digest{}) || c.Payload != (Content{}) {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
}

// counting is a reader of no secrets.
type counting struct{}

func (counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i + 1)
	}
	return len(p), nil
}

// Devices with the old and devices with the new key take an image that both have
// signed.
func TestVendorRotation(t *testing.T) {
	const both = "signing: {sign: [fw-b, fw-c]}"
	w := newVendorWorkshop(t, "signing: {sign: [fw-c]}", both)
	_, data := w.release(t, "1.4.2")
	for _, trust := range []string{"fw-b", "fw-c"} {
		device := newVendorWorkshop(t, "signing: {sign: [fw-c]}", "signing: {sign: ["+trust+"]}")
		if _, _, err := verifyBundle(t, device.open(t), data, VerifyOptions{ImageKeys: imageKeys(t)}); err != nil {
			t.Errorf("a device with %s: %v", trust, err)
		}
	}
	stranger := newVendorWorkshop(t, "signing: {sign: [fw-c]}", "signing: {sign: [fw]}")
	if _, _, err := verifyBundle(t, stranger.open(t), data, VerifyOptions{ImageKeys: imageKeys(t)}); verdict.Of(err) == "" {
		t.Errorf("a device with another key: %v", err)
	}
}

// One signature serves every device.
func TestVendorPerDevice(t *testing.T) {
	w := newVendorWorkshop(t, "{to: [keys/motor-device.pem]}", "{to: [keys/motor-device.pem], per-device: keys/devices}")
	names := []string{"TB-000001", "TB-000002", "TB-000003"}
	for _, n := range names {
		w.write(t, "keys/devices/"+n+".pub.pem", publicPEM(t, deviceKey(t, n).PublicKey()))
	}
	w.write(t, "keys/devices/README.txt", []byte("not a key"))
	record, data := w.release(t, "1.4.2")
	var motor []byte
	for _, c := range openBundle(t, data).Components {
		if c.Name == "motor" {
			motor = payloadOf(t, c)
		}
	}
	fleet, err := mcuboot.Decrypt(motor, imageKey(t, "motor-device"))
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		out := record.Outputs[i+1]
		file := w.read(t, "dist/1.4.2/"+out.Path)
		if out.Path != "motor/"+n+".bin" || out.SHA256 != manifest.Digest(sha256.Sum256(file)) || out.Size != int64(len(file)) {
			t.Errorf("output %+v", out)
		}
		plain, err := mcuboot.Decrypt(file, imageKey(t, n))
		if err != nil {
			t.Fatal(err)
		}
		a, err := mcuboot.Parse(plain)
		if err != nil {
			t.Fatal(err)
		}
		b, err := mcuboot.Parse(fleet)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Payload, b.Payload) || !slices.EqualFunc(a.Unprotected[:3], b.Unprotected[:3], func(x, y mcuboot.TLV) bool { return x.Type == y.Type && bytes.Equal(x.Value, y.Value) }) {
			t.Errorf("%s: hash, key or signature differ", n)
		}
		if _, err := mcuboot.Decrypt(file, imageKey(t, "motor-device")); verdict.Of(err) == "" {
			t.Errorf("%s: another device reads it: %v", n, err)
		}
	}
	// A file that changed is noticed before the version is taken for done.
	w.write(t, "dist/1.4.2/motor/TB-000002.bin", []byte("x"))
	if _, err := w.load(t, "1.4.2").Existing(); !errors.Is(err, ErrChanged) {
		t.Errorf("a changed file: %v", err)
	}
	// One more device is another release.
	w.write(t, "keys/devices/TB-000004.pem", publicPEM(t, deviceKey(t, "d4").PublicKey()))
	if _, err := w.load(t, "1.4.2").Existing(); !errors.Is(err, ErrExists) {
		t.Errorf("one more device: %v", err)
	}
}

// What a bootloader would refuse is refused before a signer is asked.
func TestVendorRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version string
		edits   []string
		reason  verdict.Reason
	}{
		{"image larger than the slot leaves", "1.4.2", []string{"slot-size: 96KiB", "slot-size: 2KiB"}, verdict.ImageExceedsSlot},
		{"no counter for a bootloader that wants one", "1.4.2", []string{"      security-counter: sequence\n", ""}, verdict.CounterMissing},
		{"direct-xip decrypts nothing", "1.4.2", []string{"      align: 8\n", "      align: 8\n      mode: direct-xip\n      rom-fixed: 0x08010000\n"}, verdict.EncryptionMode},
		{"depends on itself", "1.4.2", []string{"      align: 8\n", "      align: 8\n      image: 1\n      images: 2\n      dependencies: {1: 1.0.0}\n"}, verdict.DependencyImage},
		{"depends on an image that is not there", "1.4.2", []string{"      align: 8\n", "      align: 8\n      images: 2\n      dependencies: {2: 1.0.0}\n"}, verdict.DependencyImage},
		{"long software type", "1.4.2", []string{"      align: 8\n", "      align: 8\n      boot-record: coprocessor-firmware\n"}, verdict.BootRecordType},
		{"class without vendor", "1.4.2", []string{"      align: 8\n", "      align: 8\n      cid: motor\n"}, verdict.UUIDForm},
		{"version part too large", "1.256.0", nil, verdict.BadVersion},
		{"pre-release", "1.4.2-rc.1", nil, verdict.BadVersion},
		{"version string that carries", "2.100.1", []string{"      boot-validation: ecdsa\n", "      fw-version: version\n"}, verdict.DFUVersionString},
		{"no SoftDevice is not an alternative", "1.4.2", []string{"sd-req: [0x0100]", "sd-req: [0x0100, 0x00]"}, verdict.DFURequirement},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newVendorWorkshop(t, tt.edits...)
			plan, err := w.open(t).Load(Options{Version: tt.version})
			if err == nil {
				_, err = plan.Build(t.Context(), counting{})
			}
			if verdict.Of(err) != tt.reason && !hasFinding(err, tt.reason) {
				t.Errorf("got %v, want %s", err, tt.reason)
			}
		})
	}
}

func hasFinding(err error, reason verdict.Reason) bool {
	p, ok := errors.AsType[*PolicyError](err)
	return ok && slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Reason == reason })
}

// What otapack.yaml says of a bootloader and no build can be.
func TestVendorConfig(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		edits      []string
	}{
		{"unknown profile", `motor.mcuboot.profile: mcuboot: profile "st-rot" (known: st-oemirot, zephyr-`, []string{"profile: st-oemirot", "profile: st-rot"}},
		{"no slot size", "motor.mcuboot: needs a slot-size", []string{"      slot-size: 96KiB\n", ""}},
		{"no profile", "motor.mcuboot: has no profile, so that signature and mode are needed", []string{"      profile: st-oemirot\n", ""}},
		{"key of another type", "motor.mcuboot.signing: the bootloader verifies ecdsa-p384, key fw-c is for esp256: name another key", []string{"profile: st-oemirot", "profile: st-oemirot\n      signature: ecdsa-p384"}},
		{"encryption that is not built in", "motor.encrypt: the bootloader is built without encryption", []string{"profile: st-oemirot", "profile: zephyr-overwrite"}},
		{"odd sectors", "motor.mcuboot: mcuboot: target: slots of", []string{"profile: st-oemirot", "profile: zephyr-swap-move", "sector-size: 2KiB", "sector-size: 5000", "    encrypt: {to: [keys/motor-device.pem]}\n", ""}},
		{"unknown chip", `radio.nrfdfu.profile: nrfdfu: chip "nrf9160" (known: nrf52810,`, []string{"profile: nrf52840", "profile: nrf9160"}},
		{"bootloader between pages", "radio.nrfdfu: nrfdfu: device: bootloader from 0xf8001 to", []string{"sdk: 17", "sdk: 17\n      bootloader-start: 0xf8001"}},
		{"BLE without a SoftDevice", "radio.nrfdfu: nrfdfu: device: a BLE bootloader without a SoftDevice", []string{"sd-req: [0x0100]", "sd-req: [0]\n      ble: true"}},
		{"SDK before the chip", "radio.nrfdfu.sdk: Nordic nRF52833 is supported from SDK 16 on", []string{"profile: nrf52840\n      sdk: 17", "profile: nrf52833\n      sdk: 15"}},
		{"unknown mode", `motor.mcuboot.mode: mcuboot: mode "swap" (known: swap-scratch, swap-move,`, []string{"profile: st-oemirot", "profile: st-oemirot\n      mode: swap"}},
		{"unknown signature", `motor.mcuboot.signature: mcuboot: signature type "p256" (known: ecdsa-p256, ecdsa-p384,`, []string{"profile: st-oemirot", "profile: st-oemirot\n      signature: p256"}},
		{"unknown encryption", `motor.mcuboot.encryption: mcuboot: encryption "rsa" (known: `, []string{"profile: st-oemirot", "profile: st-oemirot\n      encryption: rsa"}},
		{"unknown SoftDevice", "radio.nrfdfu.sd-req: firmware id 0x1234 is of no SoftDevice", []string{"sd-req: [0x0100]", "sd-req: [0x1234]"}},
		{"empty folder", "motor.encrypt.per-device: folder keys/none has no .pem file", []string{"{to: [keys/motor-device.pem]}", "{to: [keys/motor-device.pem], per-device: keys/none}"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newVendorWorkshop(t, tt.edits...)
			w.write(t, "keys/none/README.txt", nil)
			_, err := Open(w.config(t))
			if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A device key whose private half anybody can have is refused, in either place.
func TestVendorPublishedRecipients(t *testing.T) {
	published, err := testvectors.Read("mcuboot/keys/enc-x25519.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := mcuboot.ParseDeviceKey(published)
	if err != nil {
		t.Fatal(err)
	}
	x25519 := publicPEM(t, key.Recipient().Public())
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newVendorWorkshop(t, "profile: st-oemirot", "profile: st-oemirot\n      encryption: ecies-x25519",
		"{to: [keys/motor-device.pem]}", "{to: [keys/motor-device.pem], per-device: keys/devices}")
	for _, tt := range []struct {
		name         string
		fleet, alone []byte
		want         []string
	}{
		{"neither", publicPEM(t, own.PublicKey()), publicPEM(t, own.PublicKey()), nil},
		{"fleet", x25519, publicPEM(t, own.PublicKey()), []string{"test-key keys/motor-device.pem"}},
		{"one device", publicPEM(t, own.PublicKey()), x25519, []string{"test-key keys/devices/TB-000001.pem"}},
	} {
		w.write(t, "keys/motor-device.pem", tt.fleet)
		w.write(t, "keys/devices/TB-000001.pem", tt.alone)
		plan, err := w.open(t).Load(Options{Version: "1.4.2"})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := lint(t, plan); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A folder that is not there, a key that is none.
func TestVendorInputs(t *testing.T) {
	w := newVendorWorkshop(t, "{to: [keys/motor-device.pem]}", "{to: [keys/motor-device.pem], per-device: keys/devices}")
	_, err := Open(w.config(t))
	if in, ok := errors.AsType[*InputError](err); !ok || in.Path != "keys/devices" {
		t.Errorf("no folder: %v", err)
	}
	w.write(t, "keys/devices/a.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}))
	_, err = Open(w.config(t))
	if in, ok := errors.AsType[*InputError](err); !ok || in.Path != filepath.Join("keys/devices", "a.pem") || !errors.Is(err, mcuboot.ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

// How large a file may be is for its own bootloader to say, not for the chip
// whose profile the component takes.
func TestVendorLargeSlot(t *testing.T) {
	w := newVendorWorkshop(t, "slot-size: 96KiB", "slot-size: 1MiB\n      padding: confirm", "    encrypt: {to: [keys/motor-device.pem]}\n", "")
	_, data := w.release(t, "1.4.2")
	if _, _, err := verifyBundle(t, w.open(t), data, VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range openBundle(t, data).Components {
		if file := payloadOf(t, c); c.Name == "motor" && len(file) != 1<<20 {
			t.Errorf("%d bytes", len(file))
		}
	}
}

// The profile of a vendor's bootloader is under its format; the chip is a name.
func TestVendorChipName(t *testing.T) {
	w := newVendorWorkshop(t, "chip: stm32l4", "chip: stm32h573", "chip: nrf52840", "chip: nrf52833")
	record, _ := w.release(t, "1.4.2")
	if got := record.Components[0].Chip + " " + record.Components[1].Chip; got != "nrf52833 stm32h573" {
		t.Errorf("chips %s", got)
	}
	w.edit(t, "chip: nrf52833", "chip: NRF 52")
	if _, err := config.Load(w.path("otapack.yaml")); err == nil || !strings.Contains(err.Error(), "is not a name") {
		t.Errorf("got %v", err)
	}
}

// A key that this bootloader cannot verify with is a mistake in the file.
func TestVendorKeyCurve(t *testing.T) {
	other, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	for alias, says := range map[string]string{
		"fw-b": "radio.nrfdfu.signing: the nRF5 bootloader verifies esp256, key fw-b is for esp384",
		"fw-c": "motor.mcuboot.signing: the bootloader verifies ecdsa-p256, key fw-c is for esp384",
	} {
		w := newVendorWorkshop(t)
		w.write(t, "keys/"+alias+".pem", other.Public().PEM())
		_, err := Open(w.config(t))
		if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", alias, err)
		}
	}
}

// A signer that answers with another key's signature gets no file written.
func TestVendorWrongSignature(t *testing.T) {
	for _, alias := range []string{"fw-b", "fw-c"} {
		w := newVendorWorkshop(t)
		public, err := sign.ParsePublicKey(w.read(t, "keys/"+alias+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		other, err := sign.Throwaway(sign.ESP256)
		if err != nil {
			t.Fatal(err)
		}
		w.signers[public.ID()] = other
		signed, err := build(t, w.load(t, "1.4.2"), counting{}).Sign(t.Context(), w.signers)
		if err == nil {
			_, err = signed.Verify(t.Context())
		}
		if !errors.Is(err, sign.ErrSignature) && verdict.Of(err) == "" {
			t.Errorf("%s: %v", alias, err)
		}
	}
}

// The bootloader's own checks run, each to the end.
func TestVendorCheckRefuses(t *testing.T) {
	w := newVendorWorkshop(t)
	_, data := w.release(t, "1.4.2")
	p := w.open(t)
	for _, part := range openBundle(t, data).Components {
		c := p.components[p.index(part.Name)]
		file := payloadOf(t, part)
		state := deviceState{key: imageKey(t, "motor-device")}
		if _, err := c.device.check(t.Context(), file, c.device.trusted(), state); err != nil {
			t.Errorf("%s: %v", part.Name, err)
		}
		state.floor = 2
		if _, err := c.device.check(t.Context(), file, c.device.trusted(), state); verdict.Of(err) == "" {
			t.Errorf("%s: taken below the floor: %v", part.Name, err)
		}
		state.floor = 0
		file[len(file)/2] ^= 1
		if _, err := c.device.check(t.Context(), file, c.device.trusted(), state); verdict.Of(err) == "" {
			t.Errorf("%s: damaged and taken: %v", part.Name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.device.check(ctx, file, c.device.trusted(), state); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: interrupted: %v", part.Name, err)
		}
	}
}

// Keys of bootloaders are replaced like those of manifests where an image can
// have two signatures, and with the bootloader where it holds one key.
func TestRotationOfBootloaderKeys(t *testing.T) {
	const spare = "  release: {token: t, uri: \"pkcs11:object=release\""
	w := newVendorWorkshop(t, spare, "  fw-d: {token: t, uri: \"pkcs11:object=d\", public: keys/fw-d.pem}\n  p384: {token: t, uri: \"pkcs11:object=p\", public: keys/p384.pem}\n"+spare)
	w.addSigner(t, "fw-d", ecdsaKey(t, elliptic.P256(), "fw-d"))
	w.addSigner(t, "p384", ecdsaKey(t, elliptic.P384(), "p384"))
	const motor, radio = "components.motor.mcuboot.signing", "components.radio.nrfdfu.signing"

	r := w.rotation(t, "fw-c", "fw-d")
	wantRule(t, r, motor, PhasePrepared, "signing: {sign: [fw-c, fw-d]}", "both keys will sign")
	wantFindings(t, r)
	wantFindings(t, w.rotation(t, "fw-c", "p384"), verdict.RotationAlgorithm)

	// The new key alone, too early.
	w.release(t, "1.4.2")
	w.edit(t, "signing: {sign: [fw-c]}", "signing: {sign: [fw-d]}")
	r = w.rotation(t, "fw-c", "fw-d")
	wantFindings(t, r, verdict.RotationStrands)
	w.edit(t, "signing: {sign: [fw-d]}", "signing: {sign: [fw-c, fw-d]}", "install-order", "allowed-versions: [{radio: 1.4.2, motor: 1.4.3}]\ninstall-order")
	w.release(t, "1.4.3")
	r = w.rotation(t, "fw-c", "fw-d")
	wantRule(t, r, motor, PhaseTransition, "signing: {sign: [fw-d]}", "was signed by both keys")
	w.edit(t, "signing: {sign: [fw-c, fw-d]}", "signing: {sign: [fw-d]}")
	r = w.rotation(t, "fw-c", "fw-d")
	wantRule(t, r, motor, PhaseRetired, "", "nothing")
	wantFindings(t, r)

	r = w.rotation(t, "fw-b", "fw-c")
	wantRule(t, r, radio, PhasePrepared, "signing: {sign: [fw-c]}", "release a bootloader with fw-c compiled in, signed by fw-b")
	wantFindings(t, w.rotation(t, "fw-b", "p384"), verdict.RotationAlgorithm)
	w.edit(t, "signing: {sign: [fw-b]}", "signing: {sign: [fw-c]}")
	r = w.rotation(t, "fw-b", "fw-c")
	wantRule(t, r, radio, PhaseRetired, "", "nothing")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "the next one is for devices whose bootloader knows fw-c") {
		t.Errorf("warnings %q", r.Warnings)
	}
}
