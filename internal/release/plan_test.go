package release

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func TestOpenErrors(t *testing.T) {
	p256, p384, p521 := elliptic.P256(), elliptic.P384(), elliptic.P521()
	key := func(name, alias string) []string {
		return []string{"keys:\n", "keys:\n  " + alias + `: {token: t, uri: "pkcs11:object=x", public: keys/` + name + ".pem}\n"}
	}
	for _, tt := range []struct {
		name  string
		edits []string
		lay   func(t *testing.T, w *workshop)
		entry string // config.Error there
		path  string // or InputError about it
		text  string
		want  error
	}{
		{name: "no key file", lay: func(t *testing.T, w *workshop) { remove(t, w.path("keys/fw.pem")) },
			path: "keys/fw.pem", text: "no such file", want: fs.ErrNotExist},
		{name: "empty key file", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/fw.pem", nil) }, path: "keys/fw.pem", want: sign.ErrKey},
		{name: "private key", lay: func(t *testing.T, w *workshop) {
			w.write(t, "keys/fw.pem", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
		}, path: "keys/fw.pem", text: `"PRIVATE KEY"`, want: sign.ErrKey},
		{name: "large key file", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/fw.pem", make([]byte, maxKeyFile+1)) },
			path: "keys/fw.pem", text: "more than 16384 bytes"},
		{name: "directory for a key", edits: []string{"keys/fw.pem", "keys"}, path: "keys", text: "is a directory"},
		{name: "key on P-521", lay: func(t *testing.T, w *workshop) {
			w.write(t, "keys/fw.pem", publicPEM(t, ecdsaKey(t, p521, "x").Public()))
		}, path: "keys/fw.pem", text: "P-521", want: sign.ErrCurve},
		{name: "key on the bootloader's wrong curve", lay: func(t *testing.T, w *workshop) {
			w.write(t, "keys/fw.pem", publicPEM(t, ecdsaKey(t, p384, "x").Public()))
		}, entry: "components.radio.chip", text: "the bootloader of nrf52840 verifies esp256, key fw is for esp384", want: sign.ErrCurve},
		{name: "Ed25519 key", lay: func(t *testing.T, w *workshop) {
			w.write(t, "keys/fw.pem", publicPEM(t, ed25519.PublicKey(make([]byte, ed25519.PublicKeySize))))
		}, entry: "components.radio.signing", text: "key fw is for ed25519", want: sign.ErrAlgorithm},
		{name: "Ed25519 key for the record", lay: func(t *testing.T, w *workshop) {
			w.write(t, "keys/release.pem", publicPEM(t, ed25519.PublicKey(make([]byte, ed25519.PublicKeySize))))
		}, entry: "signing.release", text: "key release is for ed25519", want: sign.ErrAlgorithm},
		{name: "one key under two names", edits: append(key("fw", "other"), "sign: [fw]", "sign: [fw, other]"),
			entry: "components.radio.signing", text: "twice"},
		{name: "two keys for the record", edits: []string{"sign: [release]", "sign: [release, fw]"}, entry: "signing.release", text: "2 keys"},
		{name: "more keys than slots", edits: []string{"keys:\n", `keys:
  a: {public: keys/a.pem}
  b: {public: keys/b.pem}
  c: {public: keys/c.pem}
  d: {public: keys/d.pem}
`, "sign: [fw]", "sign: [fw], trust: [fw, a, b, c, d]"}, lay: func(t *testing.T, w *workshop) {
			for _, name := range []string{"a", "b", "c", "d"} {
				w.addSigner(t, name, ecdsaKey(t, p256, name))
			}
		}, entry: "components.radio.chip", text: "holds 4 keys, 5 are trusted"},

		{name: "unknown chip", edits: []string{"nrf52840", "nrf52832"}, entry: "components.radio.chip", text: "known: nrf52840, stm32l4"},
		{name: "bank outside the flash", edits: []string{"base: 0x08008000", "base: 0x08008000\n    bank: {base: 0x1c000, size: 64KiB}"},
			entry: "components.motor.bank", text: "outside the flash"},
		{name: "bank off a page", edits: []string{"base: 0x08008000", "base: 0x08008000\n    bank: {base: 0x08008000, size: 1000}"},
			entry: "components.motor.bank", text: "2048-byte pages"},
		{name: "bank of 4 GiB", edits: []string{"base: 0x08008000", "base: 0x08008000\n    bank: {base: 0, size: 0x100000000}"},
			entry: "components.motor.bank", text: "does not fit"},
		{name: "slot that the chip does not have", edits: []string{"base: 0x08008000", "base: 0x08008000\n    slot: 1"},
			entry: "components.motor.slot", text: "stm32l4 has 1 banks, no slot 1"},
		{name: "second slot of one bank", edits: []string{"image: radio.hex", "image: radio.hex\n    bank: {base: 0x1c000, size: 64KiB}\n    slot: 1"},
			entry: "components.radio.slot", text: "no slot 1"},

		{name: "no recipient key", lay: func(t *testing.T, w *workshop) { remove(t, w.path("keys/motor-device.pem")) },
			path: "keys/motor-device.pem", want: fs.ErrNotExist},
		{name: "bad recipient key", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/motor-device.pem", []byte("key")) },
			path: "keys/motor-device.pem", want: encrypt.ErrKey},
		{name: "recipient key on P-384", lay: func(t *testing.T, w *workshop) {
			w.write(t, "keys/motor-device.pem", publicPEM(t, ecdsaKey(t, p384, "x").Public()))
		}, path: "keys/motor-device.pem", text: "P-384", want: encrypt.ErrCurve},
		{name: "recipient key on X25519", lay: func(t *testing.T, w *workshop) {
			k, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			w.write(t, "keys/motor-device.pem", publicPEM(t, k.PublicKey()))
		}, path: "keys/motor-device.pem", want: encrypt.ErrCurve},

		{name: "malformed requirement", edits: []string{"install-order", "    requires: {radio: latest}\ninstall-order"},
			entry: "components.motor.requires.radio", text: `version "latest"`},
		{name: "malformed allowed version", edits: []string{"install-order", "allowed-versions: [{radio: 1.0.0}, {motor: 01.2}]\ninstall-order"},
			entry: "allowed-versions[1].motor", text: `version "01.2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, tt.edits...)
			if tt.lay != nil {
				tt.lay(t, w)
			}
			p, err := Open(w.config(t))
			if p != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v, want %v", p, err, tt.want)
			}
			if tt.entry != "" {
				wantConfig(t, err, tt.entry, tt.text)
			} else {
				wantInput(t, err, tt.path, tt.text)
				if strings.Count(err.Error(), filepath.Base(tt.path)) > 1 {
					t.Errorf("%q names the file twice", err)
				}
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestLoadErrors(t *testing.T) {
	record := func(text string) func(t *testing.T, w *workshop) {
		return func(t *testing.T, w *workshop) { w.write(t, "release.json", []byte(text)) }
	}
	for _, tt := range []struct {
		name    string
		version string // 1.0.0 when empty
		edits   []string
		lay     func(t *testing.T, w *workshop)
		entry   string
		path    string
		text    string
		want    error
		reason  verdict.Reason
	}{
		{name: "no version", version: " ", path: "--version", want: manifest.ErrVersion},
		{name: "malformed version", version: "v1.0.0", path: "--version", text: "v1.0.0", want: manifest.ErrVersion},
		{name: "version that is a path", version: "../1.0", path: "--version", want: manifest.ErrVersion},
		{name: "malformed component version", edits: []string{"base: 0x08008000", "base: 0x08008000\n    version: 1.x"},
			entry: "components.motor.version", text: "1.x"},

		{name: "no image", lay: func(t *testing.T, w *workshop) { remove(t, w.path("motor.bin")) }, path: "motor.bin", want: fs.ErrNotExist},
		{name: "directory for an image", edits: []string{"motor.bin", "keys"}, path: "keys", text: "is a directory"},
		{name: "empty image", lay: func(t *testing.T, w *workshop) { w.write(t, "motor.bin", nil) }, path: "motor.bin", reason: verdict.EmptyFirmware},
		{name: "raw image without a base", edits: []string{"    base: 0x08008000\n", ""}, path: "motor.bin", reason: verdict.BaseMissing},
		{name: "base for a file with addresses", edits: []string{"image: radio.hex", "image: radio.hex\n    base: 0x1c000"},
			path: "radio.hex", reason: verdict.BaseNotAllowed},
		{name: "damaged image", lay: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", bytes.Replace(w.read(t, "radio.hex"), []byte(":02"), []byte(":03"), 1))
		}, path: "radio.hex", reason: verdict.BadRecord},
		{name: "image past the address space", edits: []string{"base: 0x08008000", "base: 0xfffffff0"}, path: "motor.bin", reason: verdict.AddressRange},
		{name: "project file is gone", lay: func(t *testing.T, w *workshop) { remove(t, w.path("otapack.yaml")) },
			path: "otapack.yaml", want: fs.ErrNotExist},

		{name: "last release is text", lay: record("1.4.2"), path: "release.json"},
		{name: "last release is empty", lay: record(""), path: "release.json", text: "EOF"},
		{name: "last release is cut", lay: record(`{"schema": "otapack.release/1", "product": "bru`), path: "release.json", text: "EOF"},
		{name: "last release of another schema", lay: record(`{"schema": "otapack.release/2"}`), path: "release.json",
			text: `schema "otapack.release/2", want "otapack.release/1"`},
		{name: "last release without a schema", lay: record(`{}`), path: "release.json", text: `schema ""`},
		{name: "last release with an unknown key", lay: record(`{"schema": "otapack.release/1", "signature": ""}`), path: "release.json", text: "signature"},
		{name: "last release with text behind", lay: record(`{"schema": "otapack.release/1"} {}`), path: "release.json", text: "data after the record"},
		{name: "last release with a sequence number out of range", lay: record(`{"schema": "otapack.release/1", "sequence": 4294967296}`),
			path: "release.json", text: "4294967296"},
		{name: "last release with a negative sequence number", lay: record(`{"schema": "otapack.release/1", "sequence": -1}`),
			path: "release.json", text: "-1"},
		{name: "last release with a malformed version", lay: record(`{"schema": "otapack.release/1", "version": "1.2.3.4"}`),
			path: "release.json", want: manifest.ErrVersion},
		{name: "last release is large", lay: record(strings.Repeat(" ", maxRecordFile+1)), path: "release.json", text: "more than 4194304 bytes"},
		{name: "last release is a directory", lay: func(t *testing.T, w *workshop) { w.write(t, "release.json/x", nil) },
			path: "release.json", text: "is a directory"},
		{name: "last release below a file", edits: []string{"install-order", "output: {last-release: motor.bin/last.json}\ninstall-order"},
			path: "last.json", text: "not a directory"},
		{name: "no sequence number left", lay: record(`{"schema": "otapack.release/1", "product": "brush", "sequence": 4294967295}`),
			path: "release.json", text: "used up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, tt.edits...)
			p := w.open(t)
			if tt.lay != nil {
				tt.lay(t, w)
			}
			if tt.version == "" {
				tt.version = "1.0.0"
			}
			plan, err := p.Load(Options{Version: tt.version})
			if plan != nil || verdict.Of(err) != tt.reason || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v, want %v %s", plan, err, tt.want, tt.reason)
			}
			if tt.entry != "" {
				wantConfig(t, err, tt.entry, tt.text)
				return
			}
			if e, ok := errors.AsType[*InputError](err); ok && filepath.IsAbs(e.Path) {
				tt.path = filepath.Join(filepath.Dir(e.Path), tt.path) // the last release is named by its full path
			}
			wantInput(t, err, tt.path, tt.text)
		})
	}
}

// Each load looks at the firmware again.
func TestLoadTwice(t *testing.T) {
	w := newWorkshop(t)
	p := w.open(t)
	for _, name := range []string{"first", "second"} {
		image := pseudo(t, name, 500)
		w.write(t, "motor.bin", image)
		plan, err := p.Load(Options{Version: "1.0.0"})
		if err != nil {
			t.Fatal(err)
		}
		want := digestOf(image)
		want.Path = "motor.bin"
		record := build(t, plan, rand.Reader).Record()
		if len(record.Inputs) != 7 || !slices.Contains(record.Inputs, want) || record.Components[1].Image.SHA256 != want.SHA256 {
			t.Errorf("%s: inputs %v, image %s, want %v", name, record.Inputs, record.Components[1].Image.SHA256, want)
		}
	}
}

// lint returns what Lint finds, as "reason object".
func lint(t *testing.T, plan *Plan) ([]string, error) {
	t.Helper()
	err := plan.Lint()
	if err == nil {
		return nil, nil
	}
	e, ok := errors.AsType[*PolicyError](err)
	if !ok {
		t.Fatalf("got %v, want a PolicyError", err)
	}
	var found []string
	for _, f := range e.Findings {
		found = append(found, fmt.Sprintf("%s %s", f.Reason, f.Object))
		mustContain(t, err.Error(), f.String())
		if f.Detail == "" || strings.Contains(f.Detail, string(f.Reason)) || strings.HasPrefix(f.Detail, f.Object+": ") {
			t.Errorf("detail %q of %s repeats or says nothing", f.Detail, found[len(found)-1])
		}
	}
	return found, err
}

func TestLint(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	released := func(version string) func(t *testing.T, w *workshop) {
		return func(t *testing.T, w *workshop) { w.release(t, version) }
	}
	last := func(product string, sequence uint32) func(t *testing.T, w *workshop) {
		return func(t *testing.T, w *workshop) {
			w.write(t, "release.json", fmt.Appendf(nil, `{"schema": "otapack.release/1", "product": %q, "version": "1.0.0", "sequence": %d}`, product, sequence))
		}
	}
	const order = "install-order: [motor, radio]\n"
	for _, tt := range []struct {
		name     string
		lay      func(t *testing.T, w *workshop) // with the project as it is
		edits    []string                        // after that
		sequence *uint32
		want     []string
		text     string
	}{
		{name: "nothing"},
		{name: "first release with any number", sequence: number(math.MaxUint32)},
		{name: "next release", lay: last("brush", 7)},

		{name: "sequence number again", lay: last("brush", 7), sequence: number(7), want: []string{"sequence-rollback sequence number"},
			text: "7 is not above 7 of the last release 1.0.0"},
		{name: "sequence number back", lay: last("brush", 7), sequence: number(1), want: []string{"sequence-rollback sequence number"}},
		{name: "largest step", lay: last("brush", 7), edits: []string{order, "", rehearseOff, "policy: {max-sequence-step: 10}\n"}, sequence: number(17)},
		{name: "too large a step", lay: last("brush", 7), edits: []string{order, "", rehearseOff, "policy: {max-sequence-step: 10}\n"}, sequence: number(18),
			want: []string{"sequence-step sequence number"}, text: "18 is more than 10 above 7"},
		{name: "step to the end", lay: last("brush", math.MaxUint32-1), edits: []string{order, "", rehearseOff, "policy: {max-sequence-step: 4294967295}\n"}, sequence: number(math.MaxUint32)},
		{name: "step without a bound", lay: last("brush", 7), sequence: number(math.MaxUint32)},

		{name: "other product", lay: last("razor", 7), want: []string{"product-mismatch last release"}, text: "release.json is of product razor"},
		{name: "other product, lower number", lay: last("razor", 7), sequence: number(3), want: []string{"product-mismatch last release"}},

		{name: "draft's signing key", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/fw.pem", draftPublic(t)) },
			want: []string{"test-key key fw"}, text: "published in the SUIT drafts (signing)"},
		{name: "draft's key for the record", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/release.pem", draftPublic(t)) },
			want: []string{"test-key key release"}},
		{name: "draft's key, trusted only", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/old.pem", draftPublic(t)) },
			edits: []string{"keys:\n", "keys:\n  old: {public: keys/old.pem}\n", "sign: [fw]", "sign: [fw], trust: [fw, old]"}, want: []string{"test-key key old"}},
		{name: "draft's recipient", lay: func(t *testing.T, w *workshop) { w.write(t, "keys/motor-device.pem", draftRecipient(t)) },
			want: []string{"test-key keys/motor-device.pem"}, text: "published in the SUIT drafts (recipient)"},

		{name: "image one byte too large", lay: func(t *testing.T, w *workshop) { w.write(t, "motor.bin", make([]byte, motorBank+1)) },
			want: []string{"image-exceeds-bank motor"}, text: "motor.bin spans 225281 bytes, the bank 0x08008000-0x0803efff of stm32l4 has 225280"},
		{name: "two bytes far apart", lay: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", intelHex(t, radioBase, []byte{0}, radioBase+radioBank, []byte{0}))
		}, want: []string{"image-exceeds-bank radio"}},
		{name: "image too large for another bank", edits: []string{"base: 0x08008000", "base: 0x08008000\n    bank: {base: 0x08008000, size: 2KiB}"},
			lay: func(t *testing.T, w *workshop) { w.write(t, "motor.bin", make([]byte, 2049)) }, want: []string{"image-exceeds-bank motor"}},
		{name: "image below the bank", edits: []string{"base: 0x08008000", "base: 0x08007f00"}, want: []string{"image-outside-bank motor"},
			text: "occupies 0x08007f00-0x080082e8, it must begin at and lie in the bank 0x08008000-0x0803efff"},
		{name: "image above the start of the bank", edits: []string{"base: 0x08008000", "base: 0x08008004"}, want: []string{"image-outside-bank motor"}},
		{name: "image of another chip", edits: []string{"base: 0x08008000", "base: 0"}, want: []string{"image-outside-bank motor"}},
		{name: "image at the end of the address space", edits: []string{"base: 0x08008000", "base: 0xfffffc17"}, want: []string{"image-outside-bank motor"},
			text: "0xfffffc17-0xffffffff"},
		{name: "image for the first slot", edits: []string{"image: radio.hex", "image: radio.hex\n    slot: 1"}, want: []string{"image-outside-bank radio"}},

		{name: "old peer", edits: []string{order, "    requires: {radio: 1.0.2}\n" + order}, want: []string{"peer-too-old release record"},
			text: "motor 1.0.1 needs radio 1.0.2 or later, the combination has 1.0.1"},
		{name: "old peer on the way", edits: []string{order, "    requires: {radio: 1.0.1}\n" + order + "allowed-versions: [{radio: 1.0.0}]\n"},
			want: []string{"peer-too-old release record"}},
		{name: "just new enough a peer", edits: []string{order, "    requires: {radio: 1.0.1}\n" + order}},
		{name: "peer of a motor that stays behind", edits: []string{order, "    requires: {radio: 1.0.1}\n" + order + "allowed-versions: [{radio: 1.0.0, motor: 1.0.0}]\n"}},
		{name: "too many combinations", edits: []string{order, order + "allowed-versions:\n" + strings.Repeat("  - {radio: 1.0.0}\n", manifest.MaxAllowed+1)},
			want: []string{"record-inconsistent release record"}},

		{name: "undeclared transition", lay: released("1.0.0"), want: []string{"transition-not-allowed allowed-versions"},
			text: "the way from 1.0.0 to 1.0.1 passes {radio: 1.0.0, motor: 1.0.1}, which is not listed"},
		{name: "transition in the other order", lay: released("1.0.0"), edits: []string{order, "install-order: [radio, motor]\nallowed-versions: [{radio: 1.0.0}]\n"},
			want: []string{"transition-not-allowed allowed-versions"}, text: "{radio: 1.0.1, motor: 1.0.0}"},
		{name: "declared transition", lay: released("1.0.0"), edits: []string{order, order + "allowed-versions: [{radio: 1.0.0, motor: 1.0.1}]\n"}},
		{name: "declared with the new version left out", lay: released("1.0.0"), edits: []string{order, order + "allowed-versions: [{radio: 1.0.0}]\n"}},
		{name: "declared from another version", lay: released("0.9.0"), edits: []string{order, order + "allowed-versions: [{radio: 1.0.0}]\n"},
			want: []string{"transition-not-allowed allowed-versions"}},
		{name: "version spelled shorter", lay: released("1"), edits: []string{order, order + "allowed-versions: [{radio: 1.0.0}]\n"}},
		{name: "from the first of two releases", lay: func(t *testing.T, w *workshop) {
			w.release(t, "0.9.0")
			w.edit(t, order, order+"allowed-versions: [{radio: 0.9.0}]\n")
			w.release(t, "1.0.0")
		}, want: []string{"transition-not-allowed allowed-versions"}, text: "{radio: 1.0.0, motor: 1.0.1}"},
		{name: "component that was not there", lay: func(t *testing.T, w *workshop) {
			whole := w.read(t, "otapack.yaml")
			i := bytes.Index(whole, []byte("  motor:"))
			w.write(t, "otapack.yaml", whole[:i])
			w.release(t, "1.0.0")
			w.write(t, "otapack.yaml", whole)
		}},

		{name: "everything at once", lay: func(t *testing.T, w *workshop) {
			w.release(t, "1.0.0")
			w.write(t, "keys/fw.pem", draftPublic(t))
			w.write(t, "keys/radio-device.pem", draftRecipient(t))
			w.write(t, "radio.hex", intelHex(t, radioBase, make([]byte, radioBank+1)))
		}, edits: []string{"base: 0x08008000", "base: 0x08009000"}, sequence: number(1), want: []string{
			"sequence-rollback sequence number", "test-key key fw", "test-key keys/radio-device.pem",
			"image-exceeds-bank radio", "image-outside-bank motor", "transition-not-allowed allowed-versions",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t)
			if tt.lay != nil {
				tt.lay(t, w)
			}
			w.edit(t, tt.edits...)
			before := w.snapshot(t)
			plan, err := w.open(t).Load(Options{Version: "1.0.1", Sequence: tt.sequence})
			if err != nil {
				t.Fatal(err)
			}
			got, err := lint(t, plan)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err != nil {
				mustContain(t, err.Error(), tt.text)
			}
			w.wantUnchanged(t, before)
		})
	}
}

// draftPublic is key 1 of testvectors/suit/test-keys.txt, draftRecipient key 5.
func draftPublic(t testing.TB) []byte {
	t.Helper()
	return publicFromPoint(t, "048496811AAE0BAAABD26157189EECDA26BEAA8BF11B6F3FE6E2B5659C85DBC0AD3B1F2A4B6C098131C0A36DACD1D78BD381DCDFB09C052DB33991DB7338B4A896")
}

func draftRecipient(t testing.TB) []byte {
	t.Helper()
	return publicFromPoint(t, "045886CD61DD875862E5AAA820E7A15274C968A9BC96048DDCACE32F50C3651BA39EED8125E932CD60C0EAD3650D0A485CF726D378D1B016ED4298B2961E258F1B")
}

func publicFromPoint(t testing.TB, digits string) []byte {
	t.Helper()
	point, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		t.Fatal(err)
	}
	return publicPEM(t, key)
}

// The keys that are refused are the ones that the specifications print.
func TestPublishedKeys(t *testing.T) {
	text, err := testvectors.Read("suit/test-keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	scalar := func(digits string) []byte {
		d, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for where, d := range map[string]string{
		"the SUIT drafts (signing)":   "0296588D909418B339D150420A3612B57FB4F631A69F224FAE90CB4F3FE18973",
		"the SUIT drafts (recipient)": "60FE6DD6D85D5740A5349B6F91267EEAC5BA81B8CB53EE249E4B4EB102C476B3",
		"RFC 6979":                    "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", // appendix A.2.5
	} {
		if where != "RFC 6979" && !bytes.Contains(text, []byte(d)) {
			t.Errorf("%s is not in test-keys.txt", d)
		}
		private, err := ecdh.P256().NewPrivateKey(scalar(d))
		if err != nil {
			t.Fatal(err)
		}
		key, err := sign.ParsePublicKey(publicPEM(t, private.PublicKey()))
		if err != nil {
			t.Fatal(err)
		}
		if got := publishedIn(key.ID()); got != where {
			t.Errorf("%s: got %q", where, got)
		}
		recipient, err := encrypt.NewRecipient(private.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if got := recipientPublishedIn(recipient.Public); got != where {
			t.Errorf("%s as a recipient: got %q", where, got)
		}
	}
	for id, where := range testKeys {
		if digits, ok := strings.CutPrefix(id, "sha256:"); !ok || len(digits) != 64 || where == "" {
			t.Errorf("%s: %s", where, id)
		}
	}
	throwaway, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	if where := publishedIn(throwaway.Public().ID()); where != "" {
		t.Errorf("a fresh key is published in %s", where)
	}
}

// No release is signed with a key of the published verdicts, or encrypted to one.
func TestVerdictKeys(t *testing.T) {
	look := func(id string, published string) {
		t.Helper()
		if published == "" {
			t.Errorf("%s: a key of the vectors is not in the list", id)
		}
	}
	p256 := func(point []byte) sign.PublicKey {
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, point...))
		if err != nil {
			t.Fatal(err)
		}
		public, err := sign.NewPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return public
	}
	lost := func(name string) sign.PublicKey { // its private half is nowhere
		pem, err := testvectors.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		key, err := sign.ParsePublicKey(pem)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ofSDK, ofWolfBoot := lost("nrfdfu/test-a.pub.pem"), lost("wolfboot/ecc256.pub.pem")
	looked := 0
	for _, name := range verdicts.Families() {
		f, err := verdicts.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for id, d := range f.Devices {
			switch {
			case d.SUIT != nil:
				for _, k := range d.SUIT.Keys {
					look(id, publishedIn(p256(k.Point).ID()))
				}
			case d.MCUboot != nil:
				for _, der := range d.MCUboot.Keys {
					if k, err := sign.ParsePublicKey(der); err == nil { // not the RSA key
						look(id, publishedIn(k.ID()))
					}
				}
			case d.NRFDFU != nil:
				point := slices.Clone(d.NRFDFU.Key)
				slices.Reverse(point[:32])
				slices.Reverse(point[32:])
				if k := p256(point); !k.Equal(ofSDK) {
					look(id, publishedIn(k.ID()))
				}
			case d.SBSFU != nil:
				for _, s := range d.SBSFU.Slots {
					look(id, publishedIn(p256(s.Key).ID()))
				}
			case d.WolfBoot != nil:
				for _, k := range d.WolfBoot.Keys {
					if k := p256(k.Point); !k.Equal(ofWolfBoot) {
						look(id, publishedIn(k.ID()))
					}
				}
			default:
				t.Errorf("%s: no bootloader", id)
			}
			looked++
		}
		if d := f.Devices["T3/as-it-should-be"].SUIT; d != nil {
			private, err := ecdh.P256().NewPrivateKey(d.DeviceKey)
			if err != nil {
				t.Fatal(err)
			}
			recipient, err := encrypt.NewRecipient(private.PublicKey())
			if err != nil {
				t.Fatal(err)
			}
			look(name, recipientPublishedIn(recipient.Public))
		}
	}
	if looked < 100 {
		t.Errorf("%d devices", looked)
	}
}

// A run over a finished release tells whether it is the same.
func TestExisting(t *testing.T) {
	sequence := func(n uint32) *uint32 { return &n }
	edit := func(old, new string) func(t *testing.T, w *workshop) {
		return func(t *testing.T, w *workshop) {
			text := string(w.read(t, "dist/1.0.0/release.json"))
			if !strings.Contains(text, old) {
				t.Fatalf("no %q in release.json", old)
			}
			w.write(t, "dist/1.0.0/release.json", []byte(strings.Replace(text, old, new, 1)))
		}
	}
	key := func(name string) func(t *testing.T, w *workshop) {
		return func(t *testing.T, w *workshop) {
			w.write(t, "keys/"+name+".pem", publicPEM(t, deviceKey(t, "another").PublicKey()))
		}
	}
	for _, tt := range []struct {
		name    string
		change  func(t *testing.T, w *workshop)
		options Options
		found   bool
		want    error
		input   string // InputError that says this
		text    string
	}{
		{name: "nothing changed", found: true},
		{name: "the number that it has", options: Options{Sequence: sequence(1)}, found: true},
		{name: "other number", options: Options{Sequence: sequence(2)}, want: ErrExists, text: "has brush 1.0.0 with sequence number 1"},
		{name: "other version in its place", options: Options{Version: "1.0.1", OutDir: "dist/1.0.0"}, want: ErrExists, text: "has brush 1.0.0"},
		{name: "other place", options: Options{OutDir: "dist/elsewhere"}, want: ErrExists, text: "1.0.0 is the last release"},
		{name: "never released", options: Options{Version: "1.0.1"}},
		{name: "directory emptied", change: func(t *testing.T, w *workshop) {
			remove(t, w.path("dist/1.0.0/release.json"))
			remove(t, w.path("dist/1.0.0/brush-1.0.0.ota"))
		}, want: ErrExists, text: "1.0.0 is the last release (sequence number 1)"},
		{name: "never released anywhere", change: func(t *testing.T, w *workshop) {
			remove(t, w.path("dist/1.0.0/release.json"))
			remove(t, w.path("dist/1.0.0/brush-1.0.0.ota"))
			remove(t, w.path("release.json"))
		}},
		{name: "record lost", change: func(t *testing.T, w *workshop) { remove(t, w.path("dist/1.0.0/release.json")) },
			want: ErrExists, text: "brush-1.0.0.ota has no release.json beside it"},

		{name: "firmware", change: func(t *testing.T, w *workshop) { w.write(t, "motor.bin", pseudo(t, "motor 2", 1001)) },
			want: ErrExists, text: "input motor.bin has changed"},
		{name: "firmware with another file end", change: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", append(w.read(t, "radio.hex"), '\n'))
		}, want: ErrExists, text: "input radio.hex has changed"},
		{name: "project file", change: func(t *testing.T, w *workshop) { w.edit(t, "otapack: 1", "# a comment\notapack: 1") },
			want: ErrExists, text: "input otapack.yaml has changed"},
		{name: "signing key", change: key("fw"), want: ErrExists, text: "input keys/fw.pem has changed"},
		{name: "key of the record", change: key("release"), want: ErrExists, text: "input keys/release.pem has changed"},
		{name: "recipient", change: key("radio-device"), want: ErrExists, text: "input keys/radio-device.pem has changed"},
		{name: "input that was not there", change: edit("keys/fw.pem", "keys/other.pem"), want: ErrExists, text: "input keys/fw.pem has changed"},
		{name: "input that is no more", change: edit(`"inputs": [`, `"inputs": [
    {"path": "x", "sha256": "`+strings.Repeat("0", 64)+`", "size": 0},`), want: ErrExists, text: "has other inputs"},

		{name: "bundle gone", change: func(t *testing.T, w *workshop) { remove(t, w.path("dist/1.0.0/brush-1.0.0.ota")) }, want: ErrChanged, text: "no such file"},
		{name: "bundle damaged", change: func(t *testing.T, w *workshop) {
			data := w.read(t, "dist/1.0.0/brush-1.0.0.ota")
			data[len(data)/2] ^= 1
			w.write(t, "dist/1.0.0/brush-1.0.0.ota", data)
		}, want: ErrChanged, text: "brush-1.0.0.ota: differs"},
		{name: "bundle longer", change: func(t *testing.T, w *workshop) {
			w.write(t, "dist/1.0.0/brush-1.0.0.ota", append(w.read(t, "dist/1.0.0/brush-1.0.0.ota"), 0))
		}, want: ErrChanged},
		{name: "directory instead of the bundle", change: func(t *testing.T, w *workshop) {
			remove(t, w.path("dist/1.0.0/brush-1.0.0.ota"))
			w.write(t, "dist/1.0.0/brush-1.0.0.ota/x", nil)
		}, want: ErrChanged, text: "is a directory"},

		{name: "record of another product", change: edit(`"product": "brush"`, `"product": "razor"`), want: ErrExists, text: "has razor 1.0.0"},
		{name: "record cut", change: func(t *testing.T, w *workshop) {
			text := w.read(t, "dist/1.0.0/release.json")
			w.write(t, "dist/1.0.0/release.json", text[:len(text)/2])
		}, input: "EOF"},
		{name: "record of another schema", change: edit("otapack.release/1", "otapack.release/0"), input: "schema"},
		{name: "output above", change: edit("brush-1.0.0.ota", "../../motor.bin"), input: `output "../../motor.bin" lies elsewhere`},
		{name: "output by its full path", change: edit("brush-1.0.0.ota", "/etc/passwd"), input: "lies elsewhere"},
		{name: "output without a name", change: edit("brush-1.0.0.ota", ""), input: "lies elsewhere"},
		{name: "other file instead of the bundle", change: func(t *testing.T, w *workshop) {
			edit("brush-1.0.0.ota", "copy.ota")(t, w)
			w.write(t, "dist/1.0.0/copy.ota", w.read(t, "dist/1.0.0/brush-1.0.0.ota"))
		}, input: `"brush-1.0.0.ota" does not come first`},
		{name: "no outputs", change: func(t *testing.T, w *workshop) {
			text := string(w.read(t, "dist/1.0.0/release.json"))
			at := strings.Index(text, `"outputs"`)
			w.write(t, "dist/1.0.0/release.json", []byte(text[:at]+"\"outputs\": []\n}\n"))
		}, input: `"brush-1.0.0.ota" does not come first`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t)
			released, _ := w.release(t, "1.0.0")
			if tt.change != nil {
				tt.change(t, w)
			}
			o := tt.options
			if o.Version == "" {
				o.Version = "1.0.0"
			}
			if o.OutDir != "" {
				o.OutDir = w.path(o.OutDir)
			}
			plan, err := w.open(t).Load(o)
			if err != nil {
				t.Fatal(err)
			}
			before := w.snapshot(t)
			r, err := plan.Existing()
			w.wantUnchanged(t, before)
			switch {
			case tt.input != "":
				wantInput(t, err, w.path("dist/1.0.0/release.json"), tt.input)
			case tt.want != nil:
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v, want %v that says %q", err, tt.want, tt.text)
				}
			case err != nil:
				t.Error(err)
			}
			if (r != nil) != tt.found {
				t.Fatalf("found %+v", r)
			}
			if tt.found && !reflect.DeepEqual(*r, released) {
				t.Errorf("got  %+v\nwant %+v", *r, released)
			}
		})
	}
}

// A run that was killed before its last step is made good for by the next.
func TestCatchUp(t *testing.T) {
	w := newWorkshop(t, "install-order", "allowed-versions: [{radio: 1.0.0}]\ninstall-order")
	first, _ := w.release(t, "1.0.0")
	firstText := w.read(t, "release.json")
	second, _ := w.release(t, "1.0.1")
	secondText := w.read(t, "release.json")
	for _, tt := range []struct {
		name string
		last []byte // release.json, nil for none
		want []bool // first and second are ahead of it
	}{
		{"none", nil, []bool{true, true}},
		{"first", firstText, []bool{false, true}},
		{"second", secondText, []bool{false, false}},
		{"other product", bytes.Replace(firstText, []byte(`"brush"`), []byte(`"razor"`), 1), []bool{false, false}},
	} {
		if tt.last == nil {
			remove(t, w.path("release.json"))
		} else {
			w.write(t, "release.json", tt.last)
		}
		plan := w.load(t, "1.0.1")
		if got := []bool{plan.Behind(first), plan.Behind(second)}; !slices.Equal(got, tt.want) {
			t.Errorf("last release %s: behind %v, want %v", tt.name, got, tt.want)
		}
	}
	if err := w.load(t, "1.0.1").CatchUp(second); err != nil {
		t.Fatal(err)
	}
	if got := w.read(t, "release.json"); !bytes.Equal(got, secondText) {
		t.Errorf("caught up with\n%s", got)
	}
	plan := w.load(t, "1.0.1")
	remove(t, w.path("release.json"))
	w.write(t, "release.json/x", nil)
	before := w.snapshot(t)
	if err := plan.CatchUp(second); err == nil {
		t.Error("a directory was replaced")
	}
	w.wantUnchanged(t, before)
}
