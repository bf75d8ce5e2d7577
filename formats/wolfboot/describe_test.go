package wolfboot_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign/verdict"
)

// value is what a description says of a name, "" for nothing.
func value(fields []wolfboot.Field, section, name string) string {
	i := slices.IndexFunc(fields, func(f wolfboot.Field) bool { return f.Section == section && f.Name == name })
	if i < 0 {
		return ""
	}
	return fields[i].Value
}

// Images of wolfBoot's tool, also those that are refused or give no verdict.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		file string
		want map[string]string // "section name": value
	}{
		{"ecc256_v2.bin", map[string]string{
			"header firmware-size": "400", "header header-size": "256", "signed VERSION": "2", "signed TIMESTAMP": "2026-11-25T09:54:01Z",
			"signed IMG_TYPE": "0x0201, ECC256, application", "signed SHA256": "1dcf38fcc638ddd17e8db666efc8896fd4db3801201661a510746c99b1d4995b",
			"unsigned PUBKEY": "9cfce8a025f675e9aa7d05b5ce932b5e118f67b25c521b3410874d3e20411b91", "signed PUBKEY": "",
		}},
		{"ecc256_v4_id0.bin", map[string]string{"signed IMG_TYPE": "0x0200, ECC256, the bootloader itself"}},
		{"ecc256_v5_sha384.bin", map[string]string{"signed SHA256": "", "signed SHA384": "850e9b0e0a38354e8c5ce89b2142bb01be13e5cdc4601af99ca46d4f1d8494e1de3884115adfc36a23b8fcfbf6c89fdc", "unsigned SHA384": ""}},
		{"ed25519_v6.bin", map[string]string{"signed IMG_TYPE": "0x0101, ED25519, application"}},
		{"unsigned_v8.bin", map[string]string{"signed IMG_TYPE": "0xff01, not signed, application", "unsigned SIGNATURE": ""}},
		{"ecc256_v9_delta.bin", map[string]string{
			"signed IMG_TYPE": "0x02d1, ECC256, delta update, application", "signed IMG_DELTA_BASE": "2", "signed IMG_DELTA_SIZE": "199",
			"signed IMG_DELTA_INVERSE": "464", "signed IMG_DELTA_INVERSE_SIZE": "394",
		}},
	} {
		fields, err := wolfboot.Describe(read(t, c.file))
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
		for key, want := range c.want {
			section, name, _ := strings.Cut(key, " ")
			if got := value(fields, section, name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.file, key, got, want)
			}
		}
	}
}

// What no tool writes is shown as far as it goes.
func TestDescribeOdd(t *testing.T) {
	file := read(t, "ecc256_v2.bin")
	changed := func(change func([]byte) []byte) []byte { return change(bytes.Clone(file)) }
	for _, c := range []struct {
		what, section, name, want string
		file                      []byte
	}{
		{"cut", "header", "header-size", "not known: the file has 300 bytes", file[:300]},
		{"cut", "signed", "VERSION", "2", file[:300]},
		{"a huge size", "header", "firmware-size", "4294967295", changed(func(b []byte) []byte { copy(b[4:], "\xff\xff\xff\xff"); return b })},
		{"an unknown TLV", "signed", "0x0034", "02000000", changed(func(b []byte) []byte { b[8] = 0x34; return b })},
		{"a version of a byte", "signed", "VERSION", "02", changed(func(b []byte) []byte { b[10] = 1; return b })},
		{"a far date", "signed", "TIMESTAMP", "18446744073709551615", changed(func(b []byte) []byte { copy(b[24:], bytes.Repeat([]byte{0xff}, 8)); return b })},
		{"an unknown signature", "signed", "IMG_TYPE", "0x7f03, partition 3", changed(func(b []byte) []byte { copy(b[36:], "\x03\x7f"); return b })},
		{"a length beyond the header", "signed", "VERSION", "", changed(func(b []byte) []byte { b[11] = 0xff; return b })},
	} {
		fields, err := wolfboot.Describe(c.file)
		if got := value(fields, c.section, c.name); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", c.what, got, err)
		}
	}
	for reason, bad := range map[verdict.Reason][]byte{
		verdict.Truncated: file[:255], verdict.ImageMagic: changed(func(b []byte) []byte { b[0] = 'F'; return b }),
	} {
		if fields, err := wolfboot.Describe(bad); fields != nil || verdict.Of(err) != reason {
			t.Errorf("%s: %v, %v", reason, fields, err)
		}
	}
}

// FuzzDescribe: fields lie in the file, in order.
func FuzzDescribe(f *testing.F) {
	f.Add(read(f, "ecc256_v2.bin"))
	f.Add(read(f, "ecc256_v9_delta.bin"))
	f.Add([]byte(wolfboot.Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := wolfboot.Describe(b)
		if (err == nil) == (verdict.Of(err) != "") || (err == nil) != (fields != nil) {
			t.Fatalf("%v, %v", fields, err)
		}
		at := 0
		for _, e := range fields {
			if e.Section != "header" && (e.Offset < at || e.Offset > len(b)) || e.Name == "" {
				t.Fatalf("%+v after %d", e, at)
			}
			at = e.Offset
		}
	})
}
