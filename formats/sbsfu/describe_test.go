package sbsfu_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign/verdict"
)

// ST's packages, also those of the scheme that is refused, and changes of them.
func TestDescribe(t *testing.T) {
	changed := func(name string, change func([]byte) []byte) []byte { return change(read(t, name)) }
	for _, c := range []struct {
		what string
		file []byte
		want map[string]string
	}{
		{"clear", read(t, "ecdsa_clear_v2.sfb"), map[string]string{
			"magic": "SFU1", "protocol": "1", "version": "2", "size": "13312", "part": "", "scheme": "ecdsa-clear", "iv": "", "state": "", "previous": "", "offset": "512",
			"tag": "2558fd4da2cfca21d49299404905b036c69a75a044fca574da6873253e4639d8",
		}},
		{"SFU2 at 1024", read(t, "ecdsa_clear_v3_sfu2_o1024.sfb"), map[string]string{"magic": "SFU2", "version": "3", "offset": "1024"}},
		{"AES-CBC, a part", read(t, "ecdsa_aescbc_partial_v2.sfb"), map[string]string{
			"part": "9216 bytes from 4096 on", "scheme": "ecdsa-aes-cbc", "iv": "e25daba9bc38c7d688c475e0c222f34e", "offset": "512",
			"part-tag": "cfa6c8427bb17706499a756cb24eab691920c75799d2bdd068c48e8c131bc6fd",
		}},
		{"AES-GCM", read(t, "aesgcm_v2.sfb"), map[string]string{
			"scheme": "aes-gcm: no signature, and not supported", "tag": "a79af59ced9dfbec424258c3fdb013e2", "part-tag": "a79af59ced9dfbec424258c3fdb013e2",
			"nonce": "a9544dd4dd2fbbc26bdeab46", "mac": "bc5df335a2fa1f186e5b6709c48b9912", "signature": "",
		}},
		{"header alone", read(t, "ecdsa_clear_v2.sfb")[:sbsfu.HeaderSize], map[string]string{"offset": "not in the file: 320 bytes, and 13312 are to be sent"}},
		{"taken from a device", changed("ecdsa_clear_v2.sfb", func(b []byte) []byte { clear(b[192:224]); b[288] = 1; return b }), map[string]string{
			"state": "0000000000000000000000000000000000000000000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff" +
				"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"previous": "0100000000000000000000000000000000000000000000000000000000000000",
		}},
	} {
		fields, err := sbsfu.Describe(c.file)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		for name, want := range c.want {
			got := ""
			if i := slices.IndexFunc(fields, func(f sbsfu.Field) bool { return f.Name == name }); i >= 0 {
				got = fields[i].Value
			}
			if got != want {
				t.Errorf("%s: %s is %q, want %q", c.what, name, got, want)
			}
		}
	}
	for reason, bad := range map[verdict.Reason][]byte{
		verdict.Truncated:  read(t, "ecdsa_clear_v2.sfb")[:sbsfu.HeaderSize-1],
		verdict.ImageMagic: changed("ecdsa_clear_v2.sfb", func(b []byte) []byte { b[3] = '4'; return b }),
	} {
		if fields, err := sbsfu.Describe(bad); fields != nil || verdict.Of(err) != reason {
			t.Errorf("%s: %v, %v", reason, fields, err)
		}
	}
}

// FuzzDescribe: what is described has the magic of a slot, and fields lie in the
// file.
func FuzzDescribe(f *testing.F) {
	for _, name := range []string{"ecdsa_clear_v2.sfb", "ecdsa_aescbc_partial_v2.sfb", "aesgcm_v2.sfb"} {
		f.Add(read(f, name)[:600])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := sbsfu.Describe(b)
		if (err == nil) == (verdict.Of(err) != "") || err == nil && !bytes.HasPrefix(b, []byte("SFU")) {
			t.Fatalf("%v, %v", fields, err)
		}
		for _, e := range fields {
			if e.Offset > len(b) || e.Name == "" || e.Value == "" {
				t.Fatalf("%+v", e)
			}
		}
	})
}
