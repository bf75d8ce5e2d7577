package config

import (
	"reflect"
	"strings"
	"testing"
)

const vendor = `otapack: 1
product: {name: p, vendor: v.example}
keys: {k: {token: t, uri: "pkcs11:object=k", public: k.pem}, d: {token: t, uri: "pkcs11:object=d", public: d.pem}}
hsm: {tokens: {t: {uri: "pkcs11:token=t"}}}
signing: {manifest: {sign: [k]}, release: {sign: [k]}}
components:
  a:
    chip: nrf52840
    model: m
    revision: A
    image: a.hex
    format: mcuboot
    mcuboot:
      profile: zephyr-swap-move
      signing: {sign: [d], trust: [d, k]}
      slot-size: 448KiB
      header-size: 0x200
      pad-header: true
      security-counter: 0x10
      dependencies: {1: 2.0.0, 2: 1.1.0+7}
      public-key-format: full
      allow-list: false
    encrypt: {to: [e.pem], per-device: devices}
  b:
    chip: nrf52840
    model: m
    revision: A
    image: b.hex
    format: nrfdfu
    nrfdfu:
      profile: nrf52840
      sdk: 17
      signing: {sign: [d]}
      hw-version: 52
      sd-req: [0x0100, 0x00B6]
      type: external-application
      softdevice: {image: sd.hex, id: [0x0100]}
`

func TestParseFormats(t *testing.T) {
	c, err := Parse("f", []byte(vendor))
	if err != nil {
		t.Fatal(err)
	}
	n := func(v uint64) *uint64 { return &v }
	yes, no := true, false
	rule := Rule{[]string{"d"}, []string{"d", "k"}, 1}
	a, b := c.Components[0], c.Components[1]
	if want := (&MCUboot{
		Profile: "zephyr-swap-move", Signing: rule, SlotSize: n(448 << 10), HeaderSize: n(0x200), PadHeader: &yes, Counter: "0x10",
		Dependencies: []ImageVersion{{1, "2.0.0"}, {2, "1.1.0+7"}}, FullKey: true, AllowList: &no,
	}); !reflect.DeepEqual(a.MCUboot, want) {
		t.Errorf("got  %+v\nwant %+v", a.MCUboot, want)
	}
	if a.Format != FormatMCUboot || a.PerDevice != "devices" {
		t.Errorf("component %+v", a)
	}
	if want := (&NRFDFU{
		Profile: "nrf52840", SDK: 17, Signing: Rule{[]string{"d"}, []string{"d"}, 1}, External: true, HWVersion: 52,
		SDReq: []uint64{0x100, 0xb6}, FWVersion: "sequence", SoftDevice: "sd.hex", SDID: []uint64{0x100},
	}); !reflect.DeepEqual(b.NRFDFU, want) {
		t.Errorf("got  %+v\nwant %+v", b.NRFDFU, want)
	}
	if r, ok := a.DeviceSigning(); !ok || !reflect.DeepEqual(r, rule) {
		t.Errorf("rule %+v, %t", r, ok)
	}
	if _, ok := (Component{Format: FormatSUIT}).DeviceSigning(); ok {
		t.Error("our own bootloaders have no rule beside that of the manifest")
	}
}

// One change to a valid file, and everything that is said about it.
func TestRefusedFormats(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{"format: mcuboot", "format: mcboot", `components.a.format: unknown value "mcboot" (did you mean "mcuboot"?)|components.a.mcuboot: is for components with "format: mcuboot"|components.a.encrypt.per-device: is for format mcuboot`},
		{"    format: mcuboot\n", "", `components.a.mcuboot: is for components with "format: mcuboot"|components.a.encrypt.per-device: is for format mcuboot; list the device keys in encrypt.to`},
		{"    format: nrfdfu\n", "    format: mcuboot\n", `components.b.format: needs a section "mcuboot"|components.b.nrfdfu: is for components with "format: nrfdfu"`},
		{"    format: nrfdfu\n", "    format: nrfdfu\n    encrypt: {to: [e.pem]}\n", `components.b.encrypt: the nRF5 bootloader cannot decrypt: have the application that receives the update decrypt it, and sign the plain package`},
		{"{to: [e.pem], per-device: devices}", "{to: [e.pem, f.pem]}", `components.a.encrypt.to: has 2 recipients, but an MCUboot image has one: put device keys in a folder and name it in encrypt.per-device`},
		{"    format: mcuboot\n", "    format: mcuboot\n    bank: {base: 0, size: 1}\n", `components.a.bank: is for our own bootloaders`},
		{"    format: mcuboot\n", "    format: mcuboot\n    slot: 1\n", `components.a.slot: is for our own bootloaders`},
		{"{sign: [d], trust: [d, k]}", "{sign: [d, k], threshold: 2}", `components.a.mcuboot.signing.threshold: this bootloader takes an image with one signature that it knows`},
		{"{sign: [d], trust: [d, k]}", "{sign: [x]}", `components.a.mcuboot.signing.sign[0]: unknown key alias "x"`},
		{"      signing: {sign: [d], trust: [d, k]}\n", "", `components.a.mcuboot: key "signing" is missing`},
		{"signing: {sign: [d]}", "signing: {sign: [d, k]}", `components.b.nrfdfu.signing: an nRF5 bootloader holds one key: name one`},
		{"pad-header: true", "pad-header: on", `components.a.mcuboot.pad-header: has to be true or false`},
		{"slot-size: 448KiB", "slot-size: 448kB", `components.a.mcuboot.slot-size: "448kB" is not a size`},
		{"header-size: 0x200", "header-size: 65536", `components.a.mcuboot.header-size: 65536 is out of range 32 to 65535`},
		{"security-counter: 0x10", "security-counter: auto", `components.a.mcuboot.security-counter: "auto" is neither a number nor one of sequence, version`},
		{"security-counter: 0x10", "security-counter: 4294967296", `components.a.mcuboot.security-counter: 4294967296 is out of range 0 to 4294967295`},
		{"{1: 2.0.0, 2: 1.1.0+7}", "{}", `components.a.mcuboot.dependencies: needs at least one entry`},
		{"{1: 2.0.0, 2: 1.1.0+7}", "{app: 2.0.0, 256: 1.0.0}", `components.a.mcuboot.dependencies.app: an image is a number from 0 to 255|components.a.mcuboot.dependencies.256: an image is a number from 0 to 255`},
		{"public-key-format: full", "public-key-format: der", `components.a.mcuboot.public-key-format: unknown value "der"`},
		{"sdk: 17", "sdk: 14", `components.b.nrfdfu.sdk: 14 is out of range 15 to 17`},
		{"sd-req: [0x0100, 0x00B6]", "sd-req: [0x10000]", `components.b.nrfdfu.sd-req[0]: 0x10000 is out of range 0 to 65535`},
		{"type: external-application", "type: app", `components.b.nrfdfu.type: unknown value "app"`},
		{"{image: sd.hex, id: [0x0100]}", "{image: sd.hex}", `components.b.nrfdfu.softdevice: key "id" is missing`},
	} {
		text := strings.Replace(vendor, test.old, test.new, 1)
		if text == vendor {
			t.Fatalf("no %q in the file", test.old)
		}
		t.Run(test.new, func(t *testing.T) { checkRefused(t, text, strings.Split(test.want, "|")) })
	}
}
