package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const full = `otapack: 1
product: {name: toothbrush, vendor: toothbrush.example}
hsm:
  module: /usr/lib/softhsm/libsofthsm2.so        # path
  tokens:
    release: {uri: "pkcs11:token=otapack-demo", pin: {file: .otapack/pin}}
keys:
  fw-2026:      {token: release, uri: "pkcs11:object=fw-2026", public: keys/fw-2026.pub.pem}
  fw-2025:      {public: keys/fw-2025.pub.pem}
  release-2026: {token: release, uri: "pkcs11:object=release-2026", public: keys/release-2026.pub.pem}
signing:
  manifest: {sign: [fw-2026], trust: [fw-2026, fw-2025], threshold: 1}
  release:  {sign: [release-2026]}
components:
  radio:
    chip: nrf52840
    model: toothbrush-radio
    revision: C
    image: firmware/radio.hex
    base: 0x1c000
    bank: {base: 0x1c000, size: 416KiB}
    slot: 0
    version: 1.10
    encrypt: {to: [keys/radio-device.pub.pem]}
    signing:
      sign: [fw-2026, release-2026]
      threshold: 2
    requires: {motor: "1.0.0"}
    uri: "#r"
  motor:
    chip: stm32l4
    model: toothbrush-motor
    revision: 3
    image: /firmware/motor.bin
install-order: [motor, radio]
allowed-versions: [{radio: 1.4.2, motor: 1.4.1}]
policy: {max-sequence-step: 1000}
output: {dir: out, last-release: out/last.json}
`

const minimal = `otapack: 1
product: {name: p, vendor: v.example}
keys: {k: {token: t, uri: "pkcs11:object=k", public: k.pem}}
hsm: {tokens: {t: {uri: "pkcs11:token=t"}}}
signing: {manifest: {sign: [k]}, release: {sign: [k]}}
components:
  b: {chip: nrf52840, model: m, revision: A, image: b.hex}
  a: {chip: nrf52840, model: m, revision: A, image: a.hex}
`

func TestParse(t *testing.T) {
	got, err := Parse("dir/otapack.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	base, slot := uint64(0x1c000), 0
	manifest := Rule{[]string{"fw-2026"}, []string{"fw-2026", "fw-2025"}, 1}
	want := Config{
		Product: Product{"toothbrush", "toothbrush.example"},
		HSM:     HSM{"/usr/lib/softhsm/libsofthsm2.so", []Token{{"release", "pkcs11:token=otapack-demo", ".otapack/pin"}}},
		Keys: []Key{
			{"fw-2026", "release", "pkcs11:object=fw-2026", "keys/fw-2026.pub.pem"},
			{"fw-2025", "", "", "keys/fw-2025.pub.pem"},
			{"release-2026", "release", "pkcs11:object=release-2026", "keys/release-2026.pub.pem"},
		},
		Signing: Signing{manifest, Rule{[]string{"release-2026"}, []string{"release-2026"}, 1}},
		Components: []Component{{
			Name: "radio", Chip: "nrf52840", Model: "toothbrush-radio", Revision: "C", Image: "firmware/radio.hex",
			Base: &base, Bank: &Bank{0x1c000, 416 << 10}, Slot: &slot, Version: "1.10",
			EncryptTo: []string{"keys/radio-device.pub.pem"},
			Signing:   Rule{[]string{"fw-2026", "release-2026"}, []string{"fw-2026", "release-2026"}, 2},
			Requires:  []ComponentVersion{{"motor", "1.0.0"}}, URI: "#r", Format: FormatSUIT,
		}, {
			Name: "motor", Chip: "stm32l4", Model: "toothbrush-motor", Revision: "3", Image: "/firmware/motor.bin",
			Signing: manifest, URI: "#motor", Format: FormatSUIT,
		}},
		InstallOrder:    []string{"motor", "radio"},
		AllowedVersions: [][]ComponentVersion{{{"radio", "1.4.2"}, {"motor", "1.4.1"}}},
		Policy:          Policy{1000, RehearseShort, ""},
		Output:          Output{"out", "out/last.json"},
		source:          source{file: "dir/otapack.yaml", dir: "dir", pos: got.pos},
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}

	for path, want := range map[string]string{
		"keys/fw-2026.pub.pem": filepath.Join("dir", "keys", "fw-2026.pub.pem"),
		"../x":                 "x",
		"/firmware/motor.bin":  "/firmware/motor.bin",
	} {
		if got := got.Resolve(path); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"components.radio.version":       "dir/otapack.yaml:23:14: components.radio.version: odd",
		"components.radio":               "dir/otapack.yaml:15:3: components.radio: odd",
		"components.radio.requires":      "dir/otapack.yaml:28:5: components.radio.requires: odd",
		"components.motor.version":       "dir/otapack.yaml:30:3: components.motor.version: odd",
		"components.radio.encrypt.to[0]": "dir/otapack.yaml:24:20: components.radio.encrypt.to[0]: odd",
		"components.radio.encrypt.to[7]": "dir/otapack.yaml:24:15: components.radio.encrypt.to[7]: odd",
		"allowed-versions[0].motor":      "dir/otapack.yaml:36:42: allowed-versions[0].motor: odd",
		"nowhere":                        "dir/otapack.yaml: nowhere: odd",
		"":                               "dir/otapack.yaml: odd",
	} {
		if got := got.Errorf(path, "o%s", "dd").Error(); got != want {
			t.Errorf("Errorf(%q):\n got %s\nwant %s", path, got, want)
		}
	}
	if k, ok := got.Key("fw-2025"); !ok || k.Public != "keys/fw-2025.pub.pem" {
		t.Errorf("Key: %v, %v", k, ok)
	}
	if k, ok := got.Token("release"); !ok || k.PINFile != ".otapack/pin" {
		t.Errorf("Token: %v, %v", k, ok)
	}
	if p, ok := got.Component("motor"); !ok || p.Chip != "stm32l4" {
		t.Errorf("Component: %v, %v", p, ok)
	}
	if p, ok := got.Component("moto"); ok {
		t.Errorf("Component: %v for an unknown name", p)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("otapack.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"b", "a"}; !slices.Equal(c.InstallOrder, want) {
		t.Errorf("install order %q, want the file's order %q", c.InstallOrder, want)
	}
	if want := (Output{"dist", "release.json"}); c.Output != want {
		t.Errorf("output %+v, want %+v", c.Output, want)
	}
	if want := (Rule{[]string{"k"}, []string{"k"}, 1}); !reflect.DeepEqual(c.Components[1].Signing, want) || !reflect.DeepEqual(c.Signing.Release, want) {
		t.Errorf("rules %+v and %+v, want %+v", c.Components[1].Signing, c.Signing.Release, want)
	}
	if got := c.Resolve("keys/a"); got != filepath.Join("keys", "a") {
		t.Errorf("Resolve: %q", got)
	}
}

// One change to a valid file, and everything that is said about it.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		// keys and structure
		{"    chip: nrf52840\n", "    chp: nrf52840\n", `15:3: components.radio: key "chip" is missing|16:5: components.radio.chp: unknown key (did you mean "chip"?)`},
		{"policy:", "colour: red\npolicy:", `37:1: colour: unknown key`},
		{"otapack: 1\n", "", `key "otapack" is missing`},
		{"otapack: 1\n", "otapack: 2\n", `1:10: otapack: is schema 2, this version reads schema 1`},
		{"otapack: 1\n", "otapack: one\n", `1:10: otapack: "one" is not a number: write it in decimal or with 0x`},
		{"    revision: C\n", "    revision: C\n    chip: stm32l4\n", `19:5: components.radio.chip: duplicate key, first in line 16`},
		{"  motor:\n", "  radio:\n", `28:23: components.radio.requires.motor: unknown component "motor"|30:3: components.radio: duplicate key, first in line 15|35:17: install-order[0]: unknown component "motor"|36:42: allowed-versions[0].motor: unknown component "motor"`},
		{"policy: {", "policy: {1: 2, ", `37:10: policy.1: unknown key`},
		{"policy: {", "policy: {\"a\\nb.c\": 2, ", `37:10: policy."a\nb.c": unknown key`},
		{"policy: {max-sequence-step: 1000}", "policy: 5", `37:9: policy: has to be a mapping`},
		{"policy: {max-sequence-step: 1000}", "policy:", `37:8: policy: is empty`},
		{"policy: {max-sequence-step: 1000}", "policy: [1]", `37:1: policy: has to be a mapping, not a list`},
		{"    image: firmware/radio.hex\n", "    image: {a: b}\n", `19:5: components.radio.image: has to be a single value on one line, not a mapping`},
		{"    image: firmware/radio.hex\n", "    image: [a]\n", `19:5: components.radio.image: has to be a single value on one line, not a list`},
		{"    image: firmware/radio.hex\n", "    image: |\n      a\n", `19:12: components.radio.image: has to be a single value on one line, not a block of text`},
		{"    image: firmware/radio.hex\n", "    image: ~\n", `19:12: components.radio.image: is empty`},
		{"    image: firmware/radio.hex\n", "    image: \"\"\n", `19:12: components.radio.image: is empty`},
		{"    image: firmware/radio.hex\n", "    image: \"a\\0b\"\n", `19:12: components.radio.image: contains a control character`},
		{"    image: firmware/radio.hex\n", "    image: \"a\\nb\"\n", `19:12: components.radio.image: contains a control character`},
		{"install-order: [motor, radio]", "install-order: motor", `35:16: install-order: has to be a list`},
		{"install-order: [motor, radio]", "install-order: []", `35:1: install-order: needs at least one entry`},
		{"install-order: [motor, radio]", "install-order: [[motor], radio]", `35:17: install-order[0]: has to be a single value on one line, not a list`},

		// names
		{"name: toothbrush,", "name: Toothbrush,", `2:17: product.name: "Toothbrush" is not a name: 1 to 32 lower-case letters, digits and hyphens, no hyphen first`},
		{"vendor: toothbrush.example", "vendor: toothbrush..example", `2:37: product.vendor: "toothbrush..example" is not a lower-case domain name`},
		{"vendor: toothbrush.example", "vendr: toothbrush.example", `2:1: product: key "vendor" is missing|2:29: product.vendr: unknown key (did you mean "vendor"?)`},
		{"  motor:\n", "  motor-controller:\n", `28:23: components.radio.requires.motor: unknown component "motor"|30:3: components.motor-controller: a name is 1 to 14 lower-case letters, digits and hyphens, no hyphen first|35:17: install-order[0]: unknown component "motor"|36:42: allowed-versions[0].motor: unknown component "motor"`},
		{"  fw-2025: ", "  fw.2025: ", `9:3: keys."fw.2025": a name is 1 to 32 lower-case letters, digits and hyphens, no hyphen first|12:48: signing.manifest.trust[1]: unknown key alias "fw-2025" (did you mean "fw-2026"?)`},
		{"    release: {", "    Release: {", `6:5: hsm.tokens.Release: a name is 1 to 32 lower-case letters, digits and hyphens, no hyphen first|8:25: keys.fw-2026.token: unknown token alias "release" (did you mean "Release"?)|10:25: keys.release-2026.token: unknown token alias "release"`},
		{"chip: nrf52840", "chip: NRF 52", `16:11: components.radio.chip: "NRF 52" is not a name`},
		{"revision: C", "revision: rev-c", `18:15: components.radio.revision: "rev-c" is not 1 to 32 letters`},
		{"model: toothbrush-radio", "model: a b", `17:12: components.radio.model: "a b" is not 1 to 64 letters`},
		{`uri: "#r"`, `uri: "#0123456789abcdef"`, `29:10: components.radio.uri: "#0123456789abcdef" is not 1 to 16 printable characters without spaces`},
		{`uri: "#r"`, `uri: #r`, `29:9: components.radio.uri: is empty`},
		{`uri: "#r"`, `uri: "#motor"`, `30:3: components.motor.uri: is also the uri of component radio`},

		// numbers
		{"size: 416KiB", "size: 416KB", `21:33: components.radio.bank.size: "416KB" is not a size: write bytes in decimal or with 0x, or a number of KiB or MiB`},
		{"size: 416KiB", "size: 416 KiB", `21:33: components.radio.bank.size: "416 KiB" is not a size`},
		{"size: 416KiB", "size: KiB", `21:33: components.radio.bank.size: "KiB" is not a size`},
		{"size: 416KiB", "size: 0", `21:33: components.radio.bank.size: 0 is out of range 1 to 4294967296`},
		{"size: 416KiB", "size: 4097MiB", `21:33: components.radio.bank.size: 4097MiB is out of range`},
		{"size: 416KiB", "size: 18446744073709551615KiB", `21:33: components.radio.bank.size: 18446744073709551615KiB is out of range`},
		{"size: 416KiB", "size: 99999999999999999999", `21:33: components.radio.bank.size: 99999999999999999999 is out of range`},
		{"size: 416KiB", "size: 4096MiB", `21:5: components.radio.bank: ends beyond the 32-bit address space`},
		{"size: 416KiB", "size: -1", `21:33: components.radio.bank.size: "-1" is not a size`},
		{"    base: 0x1c000\n", "    base: 112KiB\n", `20:11: components.radio.base: "112KiB" is not a number`},
		{"    base: 0x1c000\n", "    base: 0x100000000\n", `20:11: components.radio.base: 0x100000000 is out of range 0 to 4294967295`},
		{"    base: 0x1c000\n", "    base: 0o17\n", `20:11: components.radio.base: "0o17" is not a number`},
		{"    base: 0x1c000\n", "    base: 017\n", `20:11: components.radio.base: "017" is not a number`},
		{"    base: 0x1c000\n", "    base: 1_000\n", `20:11: components.radio.base: "1_000" is not a number`},
		{"    base: 0x1c000\n", "    base: 1e3\n", `20:11: components.radio.base: "1e3" is not a number`},
		{"slot: 0", "slot: 256", `22:11: components.radio.slot: 256 is out of range 0 to 255`},
		{"trust: [fw-2026, fw-2025], threshold: 1", "trust: [fw-2026, fw-2025], threshold: 0", `12:69: signing.manifest.threshold: 0 is out of range 1 to 3`},
		{"max-sequence-step: 1000", "max-sequence-step: 0", `37:29: policy.max-sequence-step: 0 is out of range`},

		// references
		{"keys:\n", "keys: {}\nx-keys:\n", `7:1: keys: needs at least one entry|8:1: x-keys: unknown key`},
		{"{token: release, uri: \"pkcs11:object=fw-2026\"", "{token: relaese, uri: \"pkcs11:object=fw-2026\"", `8:25: keys.fw-2026.token: unknown token alias "relaese" (did you mean "release"?)`},
		{"{token: release, uri: \"pkcs11:object=fw-2026\"", "{token: release", `8:3: keys.fw-2026: names a token but no uri of the key on it`},
		{"{token: release, uri: \"pkcs11:object=fw-2026\"", "{uri: \"pkcs11:object=fw-2026\"", `8:3: keys.fw-2026: has a uri but names no token`},
		{"  manifest: {sign: [fw-2026]", "  manifest: {sign: [fw-2025]", `12:21: signing.manifest.sign[0]: key fw-2025 cannot sign: it names no token`},
		{"  manifest: {sign: [fw-2026]", "  manifest: {sign: [fw-2062]", `12:21: signing.manifest.sign[0]: unknown key alias "fw-2062" (did you mean "fw-2026"?)`},
		{"trust: [fw-2026, fw-2025]", "trust: [fw-2026, xx]", `12:48: signing.manifest.trust[1]: unknown key alias "xx"`},
		{"trust: [fw-2026, fw-2025]", "trust: [fw-2025]", `12:60: signing.manifest.threshold: 1 trusted signatures are needed and 0 of the signing keys are trusted`},
		{"trust: [fw-2026, fw-2025], threshold: 1", "trust: [fw-2026, fw-2025], threshold: 2", `12:69: signing.manifest.threshold: 2 trusted signatures are needed and 1 of`},
		{"  manifest: {sign: [fw-2026]", "  manifest: {sign: [fw-2026, fw-2026]", `12:30: signing.manifest.sign[1]: "fw-2026" is listed twice`},
		{"  manifest: {sign: [fw-2026]", "  manifest: {sign: [a, b, c, d]", `12:14: signing.manifest.sign: has 4 keys, at most 3 can sign|12:21: signing.manifest.sign[0]: unknown key alias "a"|12:24: |12:27: |12:30: `},
		{"  release:  {sign: [release-2026]}\n", "", `11:1: signing: key "release" is missing`},
		{"      sign: [fw-2026, release-2026]\n", "", `25:5: components.radio.signing: key "sign" is missing`},
		{"[keys/radio-device.pub.pem]", "[a, a]", `24:23: components.radio.encrypt.to[1]: "a" is listed twice`},
		{"[keys/radio-device.pub.pem]", "[a, b, c, d, e, f, g, h, i]", `24:15: components.radio.encrypt.to: has 9 recipients, at most 8 are possible`},
		{"{motor: \"1.0.0\"}", "{moter: \"1.0.0\"}", `28:23: components.radio.requires.moter: unknown component "moter" (did you mean "motor"?)`},
		{"{motor: \"1.0.0\"}", "{radio: \"1.0.0\"}", `28:23: components.radio.requires.radio: a component cannot require itself`},
		{"{motor: \"1.0.0\"}", "{}", `28:5: components.radio.requires: needs at least one entry`},
		{"{motor: \"1.0.0\"}", "{motor: }", `components.radio.requires.motor: is empty`},
		{"[{radio: 1.4.2, motor: 1.4.1}]", "[{radio: 1.4.2, engine: 1.4.1}]", `36:43: allowed-versions[0].engine: unknown component "engine"`},
		{"[{radio: 1.4.2, motor: 1.4.1}]", "[radio]", `36:20: allowed-versions[0]: has to be a mapping`},
		{"install-order: [motor, radio]", "install-order: [motor, motor]", `35:24: install-order[1]: "motor" is listed twice`},
		{"install-order: [motor, radio]", "install-order: [motor, radio, x]", `35:31: install-order[2]: unknown component "x"`},

		// PINs
		{"pin: {file: .otapack/pin}", "pin: 87654321", `hsm.tokens.release.pin: a PIN does not belong in this file: write {file: <path>}, or leave it out to be asked`},
		{"pin: {file: .otapack/pin}", "pin: {value: 87654321}", `6:55: hsm.tokens.release.pin: a PIN does not belong in this file`},
		{"pin: {file: .otapack/pin}", "pin: [87654321]", `hsm.tokens.release.pin: a PIN does not belong in this file`},
		{"pin: {file: .otapack/pin}", "pin: {87654321: 1, file: x}", `6:55: hsm.tokens.release.pin: a PIN does not belong in this file`},
		{"pin: {file: .otapack/pin}", "pin: {}", `6:49: hsm.tokens.release.pin: a PIN does not belong in this file`},
		{"pkcs11:token=otapack-demo", "pkcs11:token=otapack-demo?pin-value=87654321", `6:20: hsm.tokens.release.uri: a PIN does not belong in this file: remove pin-value from the URI`},
		{"pkcs11:object=fw-2026", "pkcs11:object=fw-2026?PIN-Value=87654321", `8:39: keys.fw-2026.uri: a PIN does not belong in this file`},
		{"pkcs11:object=fw-2026", "object=fw-2026", `8:39: keys.fw-2026.uri: is not a PKCS#11 URI: it has to start with "pkcs11:"`},

		// YAML that is not accepted, and what is not YAML
		{"output: {", "output: &a {", `38:9: anchors and aliases are not accepted`},
		{"output: {dir: out,", "output: {dir: *a,", `38:15: anchors and aliases are not accepted`},
		{"policy:", "<<: {}\npolicy:", `37:1: merge keys are not accepted`},
		{"slot: 0", "slot: !!int 0", `22:11: tags are not accepted`},
		{"otapack: 1\n", "%YAML 1.2\n---\notapack: 1\n", `1:1: directives are not accepted`},
		{"otapack: 1\n", "? otapack\n: 1\n", `1:1: keys with "?" are not accepted`},
		{"otapack: 1\n", "---\n---\notapack: 1\n", `2:1: a second document is not accepted`},
		{"output:", "---\noutput:", `38:1: a second document is not accepted`},
		{"output:", "...\noutput:", `38:1: nothing is accepted after the end of the document`},
		{"slot: 0", "slot: \"0", `28:24: value is not allowed in this context`},
		{"slot: 0", "slot: [0", `23:5: ',' or ']' must be specified`},
		{"slot: 0", "slot: \xff", `22:11: is not UTF-8`},
		{"slot: 0", "slot: \x00", `22:11: control character`},
		{"slot: 0", "slot: \x7f", `22:11: control character`},
		{"slot: 0", "slot: [[[[[[[[[0]]]]]]]]]", `22:19: nested too deeply`},
	} {
		t.Run(test.new, func(t *testing.T) {
			if strings.Count(full, test.old) == 0 {
				t.Fatalf("%q is not in the file", test.old)
			}
			checkRefused(t, strings.Replace(full, test.old, test.new, 1), strings.Split(test.want, "|"))
		})
	}
}

// checkRefused compares each problem with the start of what is wanted.
func checkRefused(t *testing.T, file string, want []string) {
	t.Helper()
	_, err := Parse("f", []byte(file))
	if err == nil {
		t.Fatal("accepted")
	}
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is not a joined error", err)
	}
	for i, err := range list.Unwrap() {
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%T is not an *Error: %v", err, err)
		}
		if strings.Contains(err.Error(), "87654321") {
			t.Errorf("repeats the PIN: %v", err)
		}
		got := strings.TrimLeft(strings.TrimPrefix(err.Error(), "f:"), " ")
		if i >= len(want) || !strings.Contains(got, want[i]) {
			t.Errorf("problem %d: %s", i, got)
		}
	}
	if n := len(list.Unwrap()); n != len(want) {
		t.Errorf("%d problems, want %q", n, want)
	}
}

func TestRefusedWhole(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"empty":         {"", "f: is empty"},
		"comment":       {"# nothing\n", "f: is empty"},
		"only marker":   {"---\n", "f: is empty"},
		"list":          {"- a\n", "f:1:1: has to be a mapping"},
		"scalar":        {"a\n", "f:1:1: has to be a mapping"},
		"null":          {"~\n", "f:1:1: has to be a mapping"},
		"too large":     {strings.Repeat("#", MaxSize+1), "f: is larger than 1048576 bytes"},
		"deep flow":     {strings.Repeat("[", 1<<16), "f:1:9: nested too deeply"},
		"deep maps":     {strings.Repeat("{a: ", 1<<14), "f:1:33: nested too deeply"},
		"deep lists":    {strings.Repeat("- ", 1000), "f:1:65: nested too deeply"},
		"many tokens":   {strings.Repeat("a: 1\n", maxTokens), "f:3334:2: the file is too long"},
		"comma storm":   {"[" + strings.Repeat(",", maxTokens), "f:1:10001: the file is too long"},
		"no components": {strings.Replace(minimal[:strings.Index(minimal, "  b:")], "components:", "components: {}", 1), "f:6:1: components: needs at least one entry"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.file))
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestTooMany(t *testing.T) {
	var b strings.Builder
	b.WriteString(minimal)
	for i := range MaxComponents {
		fmt.Fprintf(&b, "  c%d: {chip: x, model: m, revision: A, image: i}\n", i)
	}
	_, err := Parse("f", []byte(b.String()))
	if want := "f:6:1: components: has 34 components, at most 32 are possible"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}

	b.Reset()
	b.WriteString(minimal)
	for i := range 25 {
		fmt.Fprintf(&b, "extra-%d: 1\n", i)
	}
	_, err = Parse("f", []byte(b.String()))
	list := err.(interface{ Unwrap() []error }).Unwrap()
	if len(list) != MaxErrors+1 || list[0].Error() != "f:9:1: extra-0: unknown key" || list[MaxErrors].Error() != "f: 5 more problems" {
		t.Errorf("got %v", err)
	}
}

// Spellings that mean the same.
func TestAccepted(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"windows line ends":   func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"byte-order mark":     func(s string) string { return "\uFEFF" + s },
		"document marker":     func(s string) string { return "# comment\n---\n" + s + "...\n# comment\n" },
		"no final newline":    func(s string) string { return strings.TrimSuffix(s, "\n") },
		"hexadecimal size":    func(s string) string { return strings.Replace(s, "416KiB", "0x68000", 1) },
		"decimal size":        func(s string) string { return strings.Replace(s, "416KiB", "425984", 1) },
		"quoted number":       func(s string) string { return strings.Replace(s, "slot: 0", "'slot': \"0\"", 1) },
		"list over two lines": func(s string) string { return strings.Replace(s, "[motor, radio]", "[motor,\n  radio]", 1) },
		"block list":          func(s string) string { return strings.Replace(s, "[motor, radio]", "\n- motor\n- radio", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			want, err := Parse("f", []byte(full))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse("f", []byte(change(full)))
			if err != nil {
				t.Fatal(err)
			}
			got.pos, want.pos = nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "otapack.yaml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v, want ErrNotExist", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("loaded a directory")
	}
	if err := os.WriteFile(path, []byte(minimal), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Resolve("k.pem"), filepath.Join(dir, "k.pem"); got != want {
		t.Errorf("Resolve: %q, want %q", got, want)
	}
	if err := os.WriteFile(path, append([]byte(minimal), make([]byte, MaxSize)...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasSuffix(err.Error(), "is larger than 1048576 bytes") {
		t.Errorf("large file: %v", err)
	}
}

func TestStarter(t *testing.T) {
	for _, test := range []struct{ product, vendor string }{
		{"toothbrush", "toothbrush.example"}, {"null", "null"}, {"1", "1"}, {"true", "no"}, {"0x10", "1e3"}, {"a-", "b"},
		{strings.Repeat("p", 32), strings.Repeat("v", 63) + ".example"},
	} {
		c, err := Parse("otapack.yaml", Starter(test.product, test.vendor))
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if c.Product != (Product{test.product, test.vendor}) {
			t.Errorf("got %+v, want %+v", c.Product, test)
		}
	}
	for _, bad := range []string{"", "Tooth", "a b", "a: b", "x\n", "\"", "é", "# x"} {
		if _, err := Parse("otapack.yaml", Starter(bad, "v.example")); err == nil {
			t.Errorf("product %q is accepted", bad)
		}
		if _, err := Parse("otapack.yaml", Starter("p", bad)); err == nil {
			t.Errorf("vendor %q is accepted", bad)
		}
	}

	// What the starter file has commented out is meant to be uncommented.
	file := regexp.MustCompile(`(?m)^( *)# ([a-z-]+: )`).ReplaceAllString(string(Starter("p", "v.example")), "$1$2")
	file = strings.Replace(file, "{peer: 1.0.0}", "{app: 1.0.0}", 1)
	_, err := Parse("f", []byte(file))
	if err == nil || !strings.HasSuffix(err.Error(), ": components.app.requires.app: a component cannot require itself") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v\n%s", err, file)
	}
	for _, key := range []string{"    base", "    bank", "    version", "    encrypt", "    signing", "    requires", "install-order", "allowed-versions", "policy", "provision", "output"} {
		if !strings.Contains(file, "\n"+key+": ") {
			t.Errorf("no %s in the starter file", key)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(minimal))
	f.Add([]byte(minimal + provision))
	f.Add(Starter("p", "v"))
	f.Add([]byte("---\n---\na: 1\n"))
	f.Add([]byte("a: [{b: \"\\x00\", ? c}, 'd']\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			if c != nil {
				t.Fatal("a config and an error")
			}
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%T is not an *Error: %v", err, err)
			}
			return
		}
		if len(c.InstallOrder) != len(c.Components) || len(c.Components) == 0 || len(c.Components) > MaxComponents {
			t.Fatalf("order %q of %d components", c.InstallOrder, len(c.Components))
		}
		rules := []Rule{c.Signing.Manifest, c.Signing.Release}
		for _, p := range c.Components {
			if !componentPattern.MatchString(p.Name) || p.Image == "" || p.URI == "" || len(p.URI) > MaxURI || !slices.Contains(c.InstallOrder, p.Name) {
				t.Fatalf("component %+v", p)
			}
			rules = append(rules, p.Signing)
		}
		for _, r := range rules {
			if len(r.Sign) == 0 || len(r.Sign) > MaxSigners || r.Threshold < 1 || r.Threshold > len(r.Sign) {
				t.Fatalf("rule %+v", r)
			}
			for _, alias := range slices.Concat(r.Sign, r.Trust) {
				if k, ok := c.Key(alias); !ok || k.Public == "" {
					t.Fatalf("rule %+v, key %+v", r, k)
				}
			}
			for _, alias := range r.Sign {
				k, _ := c.Key(alias)
				if _, ok := c.Token(k.Token); !ok || k.URI == "" || strings.Contains(k.URI, "pin-value") {
					t.Fatalf("signing key %+v", k)
				}
			}
		}
		if p := c.Provision; p != nil {
			if _, ok := c.Token(p.Token); !ok || p.Transport == "" || len(p.Secrets) == 0 || len(p.Secrets) > MaxSecrets {
				t.Fatalf("provision %+v", p)
			}
			for _, s := range p.Secrets {
				if _, ok := c.Component(s.Component); !ok || s.Bytes != 16 && s.Bytes != 32 || s.Kind == Derive && p.Master == "" {
					t.Fatalf("secret %+v", s)
				}
			}
		}
		for _, p := range c.pos {
			if p.line < 1 || p.column < 1 {
				t.Fatalf("position %+v", p)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse("f", []byte(full)); err != nil {
			b.Fatal(err)
		}
	}
}

// A diagnosis goes on with what a broken file has.
func TestLoadPart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "otapack.yaml")
	text := "otapack: 1\nhsm: {module: m.so, tokens: {a: {uri: \"pkcs11:token=a\"}}}\nkeys: {k: {token: a, uri: \"pkcs11:object=k\", public: k.pem}}\nfoo: 1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadPart(file)
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("error %v", err)
	}
	if token, ok := c.Token("a"); !ok || token.URI != "pkcs11:token=a" || c.HSM.Module != "m.so" || len(c.Keys) != 1 {
		t.Errorf("read %+v", c)
	}
	c, err = LoadPart(filepath.Join(dir, "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) || c.Resolve("x") != filepath.Join(dir, "x") {
		t.Errorf("no file: %v, %+v", err, c)
	}
}
