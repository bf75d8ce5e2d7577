package release

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// plainRadio takes the encryption of the radio away, and has its line replaced.
func plainRadio(line string) []string {
	return []string{"    encrypt: {to: [keys/radio-device.pem]}\n", line}
}

// firmwareOf is an image that compresses, and differs a little by version.
func firmwareOf(t testing.TB, version byte) []byte {
	t.Helper()
	image := bytes.Repeat(pseudo(t, "radio", 500), 8)
	copy(image[1000:], bytes.Repeat([]byte{version}, 16))
	return image
}

func TestCompressedRelease(t *testing.T) {
	for _, tt := range []struct {
		codec, lines string
		window       uint32
		encrypted    bool
	}{
		{"od1", "compress: od1", 0, false},
		{"od1", "compress: od1", 0, true},
		{"deflate", "compress: deflate", 32 << 10, true},
		{"deflate", "compress: {codec: deflate, window: 1KiB}", 1 << 10, false},
		{"zstd", "compress: zstd\n    decoder-ram: 300KiB", 16 << 10, false},
		{"zstd", "compress: {codec: zstd, window: 4KiB}\n    decoder-ram: 300KiB", 4 << 10, true},
	} {
		w := newWorkshop(t, "    image: radio.hex\n", "    image: radio.hex\n    "+tt.lines+"\n", "rehearse: off", "rehearse: short")
		if !tt.encrypted {
			w.edit(t, plainRadio("")...)
		}
		image := firmwareOf(t, 1)
		w.write(t, "radio.hex", intelHex(t, radioBase, image))
		record, data := w.release(t, "1.0.0")
		c := record.Components[0]
		if c.Template != "T4" || c.Decoding == nil || c.Decoding.Coding != tt.codec || c.Decoding.DecoderRAM == 0 || c.Decoding.Window != tt.window ||
			int(c.Image.Size) != len(image) || c.Payload.Size >= c.Image.Size || (len(c.Recipients) == 1) != tt.encrypted || len(c.NotSmaller) > 0 {
			t.Errorf("%s, encrypted %t: %+v, %+v", tt.codec, tt.encrypted, c, c.Decoding)
		}
		if m := record.Components[1]; m.Decoding != nil || m.Template != "T3" {
			t.Errorf("motor: %+v", m)
		}
		_, report, err := verifyBundle(t, w.open(t), data, VerifyOptions{Identities: devices(t)})
		if err != nil {
			t.Fatal(err)
		}
		radio := report.Components[slices.IndexFunc(report.Components, func(c ComponentReport) bool { return c.Name == "radio" })]
		if !radio.Complete || !slices.Contains(radio.Checks, bootloader.Check{Step: bootloader.StepDecoder, Status: bootloader.Passed}) {
			t.Errorf("%s, encrypted %t: %+v", tt.codec, tt.encrypted, radio)
		}
	}
}

// Restart points of od1 stand in the patch, which the manifest's digest covers.
func TestRestart(t *testing.T) {
	w := newWorkshop(t, plainRadio("")...)
	_, data := evolve(t, w, "    delta: {from: last, restart: 2KiB}\n    compress: {codec: od1, restart: 1KiB}\n")
	c := openBundle(t, data).Components[0]
	for want, payload := range map[int]*io.SectionReader{1 << 10: c.Payload, 2 << 10: c.Variants[0].Payload} {
		patch, err := io.ReadAll(payload)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := delta.ReadHeader(patch); err != nil || h.Restart != want || h.NewBase != radioBase || h.RAMStart != 0x20000000 || h.RAMEnd != 0x20040000 {
			t.Errorf("%+v, %v, want a restart point every %d bytes", h, err, want)
		}
	}
}

func TestCodecWindow(t *testing.T) {
	for line, text := range map[string]string{
		"{codec: deflate, window: 64KiB}": "65536 bytes, want a power of two from 256 to 32768",
		"{codec: zstd, window: 512}":      "512 bytes, want a power of two from 1024 to 1048576",
		"{codec: zstd, window: 3KiB}":     "3072 bytes, want a power of two from 1024 to 1048576",
	} {
		w := newWorkshop(t, "    image: radio.hex\n", "    image: radio.hex\n    compress: "+line+"\n")
		_, err := Open(w.config(t))
		wantConfig(t, err, "components.radio.compress.window", text)
	}
}

// What does not get smaller stays as it is, and the record says so.
func TestCompressionThatDoesNotPay(t *testing.T) {
	w := newWorkshop(t, plainRadio("    compress: od1\n")...)
	record, _ := w.release(t, "1.0.0")
	c := record.Components[0]
	if c.Template != "T1" || c.Decoding != nil || c.Payload != c.Image || len(c.NotSmaller) != 1 || c.NotSmaller[0].Coding != "od1" ||
		len(c.NotSmaller[0].From) > 0 || c.NotSmaller[0].Size < int(c.Image.Size) {
		t.Errorf("%+v", c)
	}
}

func TestDecoderRAM(t *testing.T) {
	w := newWorkshop(t, plainRadio("    compress: od1\n    decoder-ram: 1KiB\n")...)
	w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, 1)))
	_, err := w.load(t, "1.0.0").Build(t.Context(), rand.Reader)
	if p, ok := errors.AsType[*PolicyError](err); !ok || p.Findings[0].Reason != verdict.DecoderRAM {
		t.Errorf("got %v, want %s", err, verdict.DecoderRAM)
	}
}

// evolve releases three versions of the radio, and returns the last record and
// bundle; edit is made before the last.
func evolve(t *testing.T, w *workshop, lines string, edits ...string) (Record, []byte) {
	t.Helper()
	// The motor stays as it is, so that no combination is new.
	w.edit(t, "    model: brush-motor\n", "    model: brush-motor\n    version: 1.0.0\n", "install-order: [motor, radio]", "install-order: [radio, motor]")
	for i, v := range []string{"1.0.0", "1.1.0"} {
		w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, byte(i))))
		w.write(t, "archive/"+v+"/radio.hex", w.read(t, "radio.hex"))
		w.release(t, v)
	}
	w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, 9)))
	w.edit(t, append([]string{"    image: radio.hex\n", "    image: radio.hex\n" + lines}, edits...)...)
	return w.release(t, "1.2.0")
}

func TestDelta(t *testing.T) {
	plain := newWorkshop(t, plainRadio("")...)
	record, data := evolve(t, plain, "    delta: [last, 1.0.0]\n    compress: od1\n", "policy: {", "policy: {oldest-supported: 1.0.0, ")
	c := record.Components[0]
	if len(c.Variants) != 2 || len(c.NotSmaller) > 0 || c.Decoding == nil {
		t.Fatalf("%+v", c)
	}
	for i, v := range c.Variants {
		image := firmwareOf(t, byte(i))
		if from := []string{"1.0.0", "1.1.0"}[i]; v.From.String() != from || v.Release.String() != from || v.Source != "dist/"+from+"/brush-"+from+".ota" ||
			!v.Recorded || v.Base != (Content{digestOf(image).SHA256, uint32(len(image))}) || v.Decoding.Coding != "od1" || v.Payload.Size >= c.Payload.Size {
			t.Errorf("variant %d: %+v", i, v)
		}
	}
	if n := len(record.Signatures); n != 2+2+1 {
		t.Errorf("%d signatures", n)
	}
	if a := record.Signatures[1].Artifact; a != "radio manifest from 1.0.0" {
		t.Errorf("second signature is of %s", a)
	}
	// The bases are found in the output folder.
	_, report, err := verifyBundle(t, plain.open(t), data, VerifyOptions{Identities: devices(t)})
	if err != nil {
		t.Fatal(err)
	}
	radio := report.Components[0]
	if len(radio.Variants) != 2 || !radio.Variants[0].Complete || !radio.Variants[1].Complete || radio.Variants[1].From != "1.1.0" {
		t.Errorf("%+v", radio.Variants)
	}
}

// With encryption each patch has a content key of its own, and the image of an
// older release comes from an archive.
func TestDeltaEncrypted(t *testing.T) {
	for _, images := range []string{`"archive/{version}/radio.hex"`, "{1.0.0: archive/1.0.0/radio.hex, 1.1.0: archive/1.1.0/radio.hex}"} {
		w := newWorkshop(t)
		record, data := evolve(t, w, "    delta: {from: [1.0.0, last], images: "+images+"}\n")
		c := record.Components[0]
		if len(c.Variants) != 2 || c.Variants[0].Source != "archive/1.0.0/radio.hex" || !c.Variants[1].Recorded || c.Template != "T3" {
			t.Fatalf("%+v", c)
		}
		_, report, err := verifyBundle(t, w.open(t), data, VerifyOptions{Identities: devices(t)})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range report.Components[0].Variants {
			if !v.Complete {
				t.Errorf("%+v", v)
			}
		}
		// Without key and archive both are left out, and both are said.
		if err := os.RemoveAll(w.path("archive")); err != nil {
			t.Fatal(err)
		}
		_, report, err = verifyBundle(t, w.open(t), data, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v := report.Components[0].Variants[0]
		for _, step := range []bootloader.Step{bootloader.StepBase, bootloader.StepUnwrap, bootloader.StepImage} {
			if v.Complete || !slices.Contains(v.Checks, bootloader.Check{Step: step, Status: bootloader.NotRun}) {
				t.Errorf("%s: %+v", step, v)
			}
		}
		e := openBundle(t, data).Components[0]
		sealed := map[string]bool{}
		for _, envelope := range [][]byte{e.Manifest, e.Variants[0].Manifest, e.Variants[1].Manifest} {
			parsed, err := manifest.Parse(envelope)
			if err != nil {
				t.Fatal(err)
			}
			m, err := parsed.Unverified()
			if err != nil {
				t.Fatal(err)
			}
			sealed[string(m.Install.Encryption.IV[:])] = true
		}
		if len(sealed) != 3 {
			t.Errorf("%d IVs for three payloads", len(sealed))
		}
	}
}

// The first release has no last one, and one component may have come later.
func TestDeltaFromNothing(t *testing.T) {
	w := newWorkshop(t, plainRadio("    delta: last\n")...)
	record, _ := w.release(t, "1.0.0")
	if c := record.Components[0]; len(c.Variants) > 0 || len(c.NotSmaller) > 0 {
		t.Errorf("%+v", c)
	}
}

// A patch that is not smaller than the whole image has no place in a bundle.
func TestDeltaThatDoesNotPay(t *testing.T) {
	w := newWorkshop(t, plainRadio("    delta: last\n")...)
	w.edit(t, "    model: brush-motor\n", "    model: brush-motor\n    version: 1.0.0\n", "install-order: [motor, radio]", "install-order: [radio, motor]")
	w.release(t, "1.0.0")
	w.write(t, "radio.hex", intelHex(t, radioBase, pseudo(t, "another", 100)))
	record, data := w.release(t, "1.1.0")
	c := record.Components[0]
	if len(c.Variants) > 0 || len(c.NotSmaller) != 1 || c.NotSmaller[0].From.String() != "1.0.0" || c.NotSmaller[0].Size < 100 {
		t.Errorf("%+v", c)
	}
	if b := openBundle(t, data); len(b.Components[0].Variants) > 0 {
		t.Error("the bundle has it")
	}
}

func TestBasesRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lines  string   // of the radio
		edits  []string // of otapack.yaml
		change func(*testing.T, *workshop)
		path   string // of the config.Error, or of the InputError
		text   string
	}{
		{name: "no such release", lines: "delta: [0.9.0]", path: "components.radio.delta.from[0]", text: "there is no dist/0.9.0/brush-0.9.0.ota with the image of radio: name the firmware of that release in delta.images"},
		{name: "not a version", lines: "delta: [last, newest]", path: "components.radio.delta.from[1]", text: "newest"},
		{name: "the release itself", lines: "delta: {from: [1.2.0]}", path: "components.radio.delta.from[0]", text: "is the release itself, 1.2.0"},
		{name: "oldest is the release itself", lines: "delta: oldest-supported", edits: []string{"policy: {", "policy: {oldest-supported: 1.2.0, "}, path: "policy.oldest-supported", text: "is the release itself"},
		{name: "image is not there", lines: "delta: {from: last, images: {1.1.0: nowhere.hex}}", path: "nowhere.hex", text: "no such file"},
		{name: "image of another release", lines: "delta: {from: last, images: {1.1.0: archive/1.0.0/radio.hex}}", path: "archive/1.0.0/radio.hex", text: "base-mismatch"},
		{name: "image without addresses", lines: "delta: {from: last, images: {1.1.0: motor.bin}}", path: "motor.bin", text: "base-address-missing"},
		{name: "image elsewhere", lines: "delta: {from: last, images: {1.1.0: elsewhere.hex}}", path: "elsewhere.hex", text: "is not a bank of nrf52840"},
		{name: "bundle is gone", lines: "delta: last", change: func(t *testing.T, w *workshop) {
			if err := os.Remove(w.path("dist/1.1.0/brush-1.1.0.ota")); err != nil {
				t.Fatal(err)
			}
		}, path: "components.radio.delta.from[0]", text: "there is no dist/1.1.0/brush-1.1.0.ota"},
		{name: "bundle is damaged", lines: "delta: last", change: func(t *testing.T, w *workshop) { w.write(t, "dist/1.1.0/brush-1.1.0.ota", []byte("PK")) }, path: "dist/1.1.0/brush-1.1.0.ota", text: "bundle-truncated"},
		{name: "bundle of another release", lines: "delta: last", change: func(t *testing.T, w *workshop) {
			w.write(t, "dist/1.1.0/brush-1.1.0.ota", w.read(t, "dist/1.0.0/brush-1.0.0.ota"))
		}, path: "dist/1.1.0/brush-1.1.0.ota", text: "base-mismatch"},
		{name: "record is damaged", lines: "delta: [1.0.0]", change: func(t *testing.T, w *workshop) { w.write(t, "dist/1.0.0/release.json", []byte("{")) }, path: "release.json", text: "unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, plainRadio("")...)
			evolve(t, w, "")
			if err := os.RemoveAll(w.path("dist/1.2.0")); err != nil {
				t.Fatal(err)
			}
			w.write(t, "release.json", w.read(t, "dist/1.1.0/release.json"))
			w.write(t, "elsewhere.hex", intelHex(t, radioBase+0x1000, firmwareOf(t, 1)))
			w.edit(t, append([]string{"    image: radio.hex\n", "    image: radio.hex\n    " + tt.lines + "\n"}, tt.edits...)...)
			if tt.change != nil {
				tt.change(t, w)
			}
			draft, err := w.load(t, "1.2.0").Build(t.Context(), rand.Reader)
			if draft != nil || err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %q", err, tt.text)
			}
			c, isConfig := errors.AsType[*config.Error](err)
			in, isInput := errors.AsType[*InputError](err)
			if !(isConfig && c.Path == tt.path && c.Line > 0) && !(isInput && strings.HasSuffix(in.Path, tt.path)) {
				t.Errorf("got %v, want an error about %s", err, tt.path)
			}
		})
	}
}

// Two releases with the same image make one patch, two with the same version of
// a component and different images none.
func TestBasesOfOneVersion(t *testing.T) {
	w := newWorkshop(t, plainRadio("    version: 3.0.0\n")...)
	w.edit(t, "    model: brush-motor\n", "    model: brush-motor\n    version: 1.0.0\n", "install-order: [motor, radio]", "install-order: [radio, motor]")
	for _, v := range []string{"1.0.0", "1.1.0"} {
		w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, 1)))
		w.release(t, v)
	}
	w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, 2)))
	w.edit(t, "    version: 3.0.0\n", "    version: 3.1.0\n    delta: [1.0.0, last]\n    compress: od1\n")
	draft, err := w.load(t, "1.2.0").Build(t.Context(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Wipe()
	if v := draft.Record().Components[0].Variants; len(v) != 1 || v[0].From.String() != "3.0.0" || v[0].Release.String() != "1.0.0" {
		t.Errorf("%+v", v)
	}

	w.edit(t, "    version: 3.1.0\n    delta: [1.0.0, last]\n", "    version: 3.0.0\n")
	w.release(t, "1.2.0")
	w.edit(t, "    version: 3.0.0\n", "    version: 3.1.0\n    delta: [1.0.0, 1.2.0]\n")
	_, err = w.load(t, "1.3.0").Build(t.Context(), rand.Reader)
	wantConfig(t, err, "components.radio.delta.from[1]", "releases 1.0.0 and 1.2.0 have version 3.0.0 of it with different images")
}

// An image that nobody has recorded is taken, and the record says that.
func TestUnrecordedBase(t *testing.T) {
	w := newWorkshop(t, plainRadio("    delta: {from: 0.9.0, images: {0.9.0: old.hex}}\n    compress: od1\n")...)
	w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, 1)))
	w.write(t, "old.hex", intelHex(t, radioBase, firmwareOf(t, 2)))
	record, _ := w.release(t, "1.0.0")
	if v := record.Components[0].Variants; len(v) != 1 || v[0].Recorded || v[0].From.String() != "0.9.0" {
		t.Errorf("%+v", v)
	}
}

func TestOldestSupported(t *testing.T) {
	w := newWorkshop(t, "policy: {", "policy: {oldest-supported: first, ")
	_, err := Open(w.config(t))
	wantConfig(t, err, "policy.oldest-supported", "first")
}

func TestDeltaNeedsTwoBanks(t *testing.T) {
	w := newWorkshop(t, "    model: brush-motor\n", "    model: brush-motor\n    delta: last\n")
	_, err := Open(w.config(t))
	wantConfig(t, err, "components.motor.delta", "stm32l4 has one bank: its image would be overwritten while a patch still reads it")

	// A board that describes its own bank has another one, too.
	w = newWorkshop(t, plainRadio("    delta: last\n    bank: {base: 0x1c000, size: 64KiB}\n")...)
	w.open(t)
}

// An image for one slot takes the place of one that is linked for the other, so
// that is what its patch comes from.
func TestDeltaForSlots(t *testing.T) {
	w := newWorkshop(t, plainRadio("    slot: 0\n    delta: last\n")...)
	_, err := Open(w.config(t))
	wantConfig(t, err, "components.radio.delta", "linked for slot 0, and no component is for the other slot")

	w = newWorkshop(t, plainRadio("    slot: 0\n")...)
	w.edit(t, "  motor:\n", "  radio-b:\n    chip: nrf52840\n    model: brush-radio\n    revision: C\n    image: radio-b.hex\n    slot: 1\n  motor:\n",
		"install-order: [motor, radio]", "install-order: [motor, radio, radio-b]\nallowed-versions: [{motor: 1.1.0, radio: 1.0.0, radio-b: 1.0.0}, {motor: 1.1.0, radio: 1.1.0, radio-b: 1.0.0}]")
	w.write(t, "radio.hex", intelHex(t, radioBase, firmwareOf(t, 1)))
	w.write(t, "radio-b.hex", intelHex(t, radioSlot1, firmwareOf(t, 2)))
	w.release(t, "1.0.0")
	w.edit(t, "    slot: 1\n", "    slot: 1\n    delta: last\n    compress: od1\n")
	record, _ := w.release(t, "1.1.0")
	a := firmwareOf(t, 1)
	if v := record.Components[1].Variants; len(v) != 1 || v[0].Base.SHA256 != digestOf(a).SHA256 {
		t.Errorf("%+v", v)
	}
}

// What of a variant is not what the release record has.
func TestVariantRefused(t *testing.T) {
	w := newWorkshop(t, plainRadio("")...)
	_, data := evolve(t, w, "    delta: [last, 1.0.0]\n    compress: od1\n")
	identities := devices(t)
	for _, tt := range []struct {
		name   string
		bend   func(*bundle.Contents)
		bases  map[string][][]byte
		reason verdict.Reason
		text   string
	}{
		{name: "as it is"},
		{name: "one less", bend: func(c *bundle.Contents) { c.Components[0].Variants = c.Components[0].Variants[:1] }, reason: verdict.VariantsMismatch},
		{name: "none", bend: func(c *bundle.Contents) { c.Components[0].Variants = nil }, reason: verdict.VariantsMismatch},
		{name: "one more", bend: func(c *bundle.Contents) {
			c.Components[1].Variants = []bundle.Variant{{Base: "1.0.0", Manifest: c.Components[1].Manifest, Payload: c.Components[1].Payload}}
		}, reason: verdict.VariantsMismatch},
		{name: "renamed", bend: func(c *bundle.Contents) { c.Components[0].Variants[0].Base = "1.0.1" }, reason: verdict.VariantsMismatch},
		{name: "manifests exchanged", bend: func(c *bundle.Contents) {
			v := c.Components[0].Variants
			v[0].Manifest, v[1].Manifest, v[0].Payload, v[1].Payload = v[1].Manifest, v[0].Manifest, v[1].Payload, v[0].Payload
		}, reason: verdict.BaseMismatch, text: "radio from 1.0.0: base: payload: is a difference to the image with SHA-256"},
		{name: "the whole image's", bend: func(c *bundle.Contents) {
			v := c.Components[0].Variants
			v[0].Manifest, v[0].Payload = c.Components[0].Manifest, c.Components[0].Payload
		}, reason: verdict.ManifestNotRecorded, text: "radio from 1.0.0"},
		{name: "patch flipped", bend: func(c *bundle.Contents) {
			v := &c.Components[0].Variants[1]
			patch, err := io.ReadAll(v.Payload)
			if err != nil {
				t.Fatal(err)
			}
			patch[len(patch)/2] ^= 1
			v.Payload = section(patch)
		}, reason: verdict.PayloadDigestMismatch, text: "radio from 1.1.0: ciphertext: payload: SHA-256"},
		{name: "another base", bases: map[string][][]byte{"radio": {firmwareOf(t, 77)}}, reason: verdict.BaseMismatch, text: "no variant is for the image with SHA-256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := openBundle(t, data)
			if tt.bend != nil {
				tt.bend(&c)
			}
			_, report, err := verifyBundle(t, w.open(t), writeBundle(t, c), VerifyOptions{Identities: identities, Bases: tt.bases})
			if verdict.Of(err) != tt.reason || tt.text != "" && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %s, %q; %+v", err, tt.reason, tt.text, report)
			}
		})
	}
}

// Every format of patches goes the whole way: encoded, signed, and decoded by the
// reference bootloader.
func TestDeltaFormats(t *testing.T) {
	for _, tt := range []struct {
		lines  string
		coding string
		window uint32
		ram    uint32 // at most
	}{
		{"", "od1", 0, 24 << 10},
		{", format: hpatchlite", "hpatchlite", 4 << 10, 5 << 10},
		{", format: hpatchlite, window: 1KiB", "hpatchlite", 1 << 10, 2 << 10},
		{", format: detools-hs", "detools", 256, 2 << 10},
		{", format: detools-hs, window: 1KiB, lookahead: 16", "detools", 1 << 10, 2 << 10},
		{", format: detools-crle", "detools", 0, 1 << 10},
	} {
		w := newWorkshop(t, plainRadio("")...)
		record, _ := evolve(t, w, "    delta: {from: [last, 1.0.0]"+tt.lines+"}\n")
		c := record.Components[0]
		if len(c.Variants) != 2 {
			t.Fatalf("%s: %+v", tt.coding, c)
		}
		for _, v := range c.Variants {
			if d := v.Decoding; d.Coding != tt.coding || d.Window != tt.window || d.DecoderRAM > tt.ram || d.DecoderRAM < 300 || v.Payload.Size > c.Payload.Size/2 {
				t.Errorf("%s: %+v, %d bytes", tt.lines, d, v.Payload.Size)
			}
		}
	}
}
