package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// provision follows minimal, whose token is t and whose components are b and a.
const provision = `provision:
  token: t
  transport: "pkcs11:object=line"
  master: "pkcs11:object=master"
  secrets:
    b: {storage: {kind: derive, bytes: 16}, update: {kind: recipient}}
    a:
      storage: {kind: generate, bytes: 32}
`

func TestProvision(t *testing.T) {
	got, err := Parse("f", []byte(minimal+provision))
	if err != nil {
		t.Fatal(err)
	}
	want := &Provision{
		Token: "t", Transport: "pkcs11:object=line", Master: "pkcs11:object=master",
		Secrets: []Secret{{"b", "storage", Derive, 16}, {"b", "update", Recipient, 32}, {"a", "storage", Generate, 32}},
	}
	if !reflect.DeepEqual(got.Provision, want) {
		t.Errorf("got  %+v\nwant %+v", got.Provision, want)
	}
	if got, err := Parse("f", []byte(minimal)); err != nil || got.Provision != nil {
		t.Errorf("without the section: %+v, %v", got, err)
	}
}

func TestProvisionRefused(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{"  token: t\n", "", `9:1: provision: key "token" is missing`},
		{"  token: t\n", "  token: u\n", `10:10: provision.token: unknown token alias "u"`},
		{"  token: t\n", "  token: t\n  tokn: t\n", `11:3: provision.tokn: unknown key (did you mean "token"?)`},
		{"\"pkcs11:object=line\"", "line", `11:14: provision.transport: is not a PKCS#11 URI: it has to start with "pkcs11:"`},
		{"\"pkcs11:object=line\"", "\"pkcs11:object=line?pin-value=1234\"", `11:14: provision.transport: a PIN does not belong in this file: remove pin-value from the URI`},
		{"  master: \"pkcs11:object=master\"\n", "", `9:1: provision: has secrets to derive and no master key`},
		{"kind: derive, bytes: 16", "kind: generate, bytes: 16", `12:11: provision.master: no secret is derived from it`},
		{"kind: derive, bytes: 16", "kind: derive", `14:9: provision.secrets.b.storage: key "bytes" is missing`},
		{"kind: derive, bytes: 16", "kind: derive, bytes: 24", `14:40: provision.secrets.b.storage.bytes: 24 is not 16 or 32`},
		{"kind: derive, bytes: 16", "kind: derive, bytes: 0", `14:40: provision.secrets.b.storage.bytes: 0 is out of range 16 to 32`},
		{"kind: derive, bytes: 16", "kind: deriv, bytes: 16", `14:25: provision.secrets.b.storage.kind: "deriv" is not derive, generate or recipient (did you mean "derive"?)`},
		{"kind: derive, bytes: 16", "bytes: 16", `14:9: provision.secrets.b.storage: key "kind" is missing`},
		{"{kind: recipient}", "{kind: recipient, bytes: 32}", `14:78: provision.secrets.b.update.bytes: is not for a recipient: its key is on P-256, which has 32`},
		{"update: {kind", "storage: {kind", `14:45: provision.secrets.b.storage: duplicate key, first in line 14`},
		{"update: {kind", "Update: {kind", `14:45: provision.secrets.b.Update: a name is 1 to 32 lower-case letters, digits and hyphens, no hyphen first`},
		{"    a:\n", "    c:\n", `15:5: provision.secrets.c: unknown component "c"`},
		{"    a:\n      storage: {kind: generate, bytes: 32}\n", "    a: {}\n", `15:5: provision.secrets.a: needs at least one entry`},
		{provision[strings.Index(provision, "    b:"):], "    []\n", `13:3: provision.secrets: has to be a mapping, not a list`},
	} {
		if strings.Count(provision, test.old) != 1 {
			t.Fatalf("%q is not there once", test.old)
		}
		_, err := Parse("f", []byte(minimal+strings.Replace(provision, test.old, test.new, 1)))
		if want := "f:" + test.want; err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", test.new, err, want)
		}
	}
	var many strings.Builder
	many.WriteString(minimal + "provision: {token: t, transport: \"pkcs11:object=line\", secrets: {a: {")
	for i := range MaxSecrets + 1 {
		fmt.Fprintf(&many, "p%d: {kind: recipient}, ", i)
	}
	many.WriteString("}}}\n")
	if _, err := Parse("f", []byte(many.String())); err == nil || err.Error() != "f:9:56: provision.secrets: has 33 secrets, at most 32 are possible" {
		t.Errorf("too many: %v", err)
	}
}
