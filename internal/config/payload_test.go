package config

import (
	"reflect"
	"strings"
	"testing"
)

const payloads = minimal + `policy: {oldest-supported: 1.2.0}
`

func TestParsePayload(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for _, tt := range []struct {
		lines string
		want  Component
	}{
		{"delta: last", Component{Delta: &Delta{From: []string{"last"}, Format: DeltaOD1}}},
		{"delta: [1.10, oldest-supported]", Component{Delta: &Delta{From: []string{"1.10", "oldest-supported"}, Format: DeltaOD1}}},
		{"delta: {from: last, format: detools-hs}", Component{Delta: &Delta{From: []string{"last"}, Format: DeltaDetoolsHeatshrink}}},
		{"delta: {from: last, format: hpatchlite, window: 8KiB}", Component{Delta: &Delta{From: []string{"last"}, Format: DeltaHPatchLite, Window: 8 << 10}}},
		{"delta: {from: last, format: detools-hs, window: 2KiB, lookahead: 16}", Component{Delta: &Delta{From: []string{"last"}, Format: DeltaDetoolsHeatshrink, Window: 2 << 10, Lookahead: 16}}},
		{"delta: {from: [last, 1.0.0], images: {1.0.0: old/b.hex, 1.1.0: old/c.hex}}", Component{
			Delta: &Delta{From: []string{"last", "1.0.0"}, Format: DeltaOD1, Images: []BaseImage{{"1.0.0", "old/b.hex"}, {"1.1.0", "old/c.hex"}}}}},
		{`delta: {from: last, images: "old/{version}/b.hex"}`, Component{Delta: &Delta{From: []string{"last"}, Format: DeltaOD1, ImagePath: "old/{version}/b.hex"}}},
		{"delta: {from: last, restart: 32KiB}", Component{Delta: &Delta{From: []string{"last"}, Format: DeltaOD1, Restart: 32 << 10}}},
		{"compress: {codec: od1, restart: 4096}", Component{Compress: &Compress{Codec: CompressOD1, Restart: 4096}}},
		{"compress: od1", Component{Compress: &Compress{Codec: CompressOD1}}},
		{"compress: {codec: zstd, window: 8KiB}", Component{Compress: &Compress{Codec: CompressZstd, Window: 8 << 10}}},
		{"ram: {base: 0x20000000, size: 64KiB}, decoder-ram: 12KiB", Component{RAM: &Bank{0x20000000, 64 << 10}, DecoderRAM: n(12 << 10)}},
	} {
		c, err := Parse("f", []byte(strings.Replace(payloads, "image: b.hex", "image: b.hex, "+tt.lines, 1)))
		if err != nil {
			t.Errorf("%s: %v", tt.lines, err)
			continue
		}
		got := c.Components[0]
		if !reflect.DeepEqual(got.Delta, tt.want.Delta) || !reflect.DeepEqual(got.Compress, tt.want.Compress) ||
			!reflect.DeepEqual(got.RAM, tt.want.RAM) || !reflect.DeepEqual(got.DecoderRAM, tt.want.DecoderRAM) {
			t.Errorf("%s: got %+v", tt.lines, got)
		}
		if c.Policy.OldestSupported != "1.2.0" {
			t.Errorf("policy %+v", c.Policy)
		}
	}
}

func TestImageOf(t *testing.T) {
	d := Delta{Images: []BaseImage{{"1.0.0", "one.hex"}}, ImagePath: ""}
	if a, b := d.ImageOf("1.0.0"), d.ImageOf("1.1.0"); a != "one.hex" || b != "" {
		t.Errorf("got %q and %q", a, b)
	}
	d = Delta{ImagePath: "{version}/b-{version}.hex"}
	if a := d.ImageOf("1.1.0"); a != "1.1.0/b-1.1.0.hex" {
		t.Errorf("got %q", a)
	}
}

func TestRefusedPayload(t *testing.T) {
	for _, tt := range []struct{ lines, want string }{
		{"delta: ", `7:66: components.b.delta: is empty`},
		{"delta: []", `components.b.delta.from: needs at least one entry`},
		{"delta: {}", `components.b.delta: key "from" is missing`},
		{"delta: {from: []}", `components.b.delta.from: needs at least one entry`},
		{"delta: [last, last]", `components.b.delta.from[1]: "last" is listed twice`},
		{"delta: [last, [1.0.0]]", `7:74: components.b.delta.from[1]: has to be a single value on one line, not a list`},
		{"delta: [1, 2, 3, 4, 5, 6, 7, 8, 9]", `components.b.delta: has 9 releases to come from, at most 8 are possible`},
		{"delta: {from: last, format: bsdiff}", `7:88: components.b.delta.format: unknown value "bsdiff"`},
		{"delta: {from: last, format: od2}", `components.b.delta.format: unknown value "od2" (did you mean "od1"?)`},
		{"delta: {from: last, image: x}", `components.b.delta.image: unknown key (did you mean "images"?)`},
		{"delta: {from: last, images: {}}", `components.b.delta.images: needs at least one entry`},
		{"delta: {from: last, images: {1.0.0: }}", `components.b.delta.images."1.0.0": is empty`},
		{"delta: {from: last, images: old/b.hex}", `components.b.delta.images: has no {version} in it, which stands for the version of a release`},
		{"delta: {from: last, images: [x]}", `components.b.delta.images: has to be a single value on one line, not a list`},
		{"delta: {from: last, window: 4KiB}", `components.b.delta.window: is not for od1`},
		{"delta: {from: last, format: detools-crle, window: 4KiB}", `components.b.delta.window: is not for detools-crle`},
		{"delta: {from: last, format: hpatchlite, lookahead: 16}", `components.b.delta.lookahead: is for detools-hs`},
		{"delta: {from: last, format: detools-hs, window: 256}", `components.b.delta: window and lookahead are given together: a decoder is built for both`},
		{"delta: {from: last, format: detools-hs, window: 300, lookahead: 16}", `components.b.delta.window: 300 is not a power of two from 16 to 32768`},
		{"delta: {from: last, format: detools-hs, window: 64KiB, lookahead: 16}", `components.b.delta.window: 65536 is not a power of two from 16 to 32768`},
		{"delta: {from: last, format: detools-hs, window: 16, lookahead: 16}", `components.b.delta.lookahead: 16 is not a power of two from 8 to half of the window`},
		{"delta: {from: last, restart: 100}", `components.b.delta.restart: 100 is out of range 1024 to 4194304`},
		{"delta: {from: last, format: hpatchlite, restart: 4KiB}", `components.b.delta.restart: is not for hpatchlite, whose decoder begins again`},
		{"compress: {codec: deflate, restart: 4KiB}", `components.b.compress.restart: is not for deflate, whose decoder begins again`},
		{"compress: gzip", `components.b.compress: unknown value "gzip"`},
		{"compress: {window: 8KiB}", `components.b.compress: key "codec" is missing`},
		{"compress: {codec: zstd, window: 8MiB}", `components.b.compress.window: 8MiB is out of range 256 to 1048576`},
		{"compress: {codec: od1, window: 8KiB}", `components.b.compress.window: is not for od1, whose decoder reads back what it has written`},
		{"compress: [od1]", `components.b.compress: has to be a single value on one line, not a list`},
		{"ram: {base: 0x20000000}", `components.b.ram: key "size" is missing`},
		{"ram: {base: 0xffffffff, size: 2}", `components.b.ram: ends beyond the 32-bit address space`},
		{"decoder-ram: 0", `components.b.decoder-ram: 0 is out of range`},
	} {
		file := strings.Replace(payloads, "image: b.hex", "image: b.hex, "+tt.lines, 1)
		t.Run(tt.lines, func(t *testing.T) { checkRefused(t, file, []string{tt.want}) })
	}
	t.Run("no oldest", func(t *testing.T) {
		checkRefused(t, strings.Replace(minimal, "image: b.hex", "image: b.hex, delta: [last, oldest-supported]", 1),
			[]string{`components.b.delta.from[1]: needs policy.oldest-supported, the version of a release`})
	})
	t.Run("vendor", func(t *testing.T) {
		text := strings.Replace(vendor, "    format: nrfdfu\n", "    format: nrfdfu\n    delta: last\n    compress: od1\n    decoder-ram: 1KiB\n    ram: {base: 0, size: 1}\n", 1)
		checkRefused(t, text, []string{
			`components.b.delta: is for our own bootloaders: one of format nrfdfu takes its image whole and as it is`,
			`components.b.compress: is for our own bootloaders`,
			`components.b.decoder-ram: is for payloads that are decoded`,
			`components.b.ram: is for payloads that are decoded`,
		})
	})
}
