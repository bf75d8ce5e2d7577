package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const fullSpec = `otapack-keys: 1
operators: [Ada Lovelace, "Zoë: Müller"]
witnesses: [李雷]
purpose: "yearly rotation"
place: Vault 2
keys:
  - {alias: fw-2026, id: 0a01, curve: P-256, usage: manifest}
  - alias: release-2026
    curve: P-384
    usage: release
  - {token: backup, label: "FW 2026", id: "0102", public: spare.pub.pem, curve: P-256, usage: manifest}
`

const minimalSpec = `otapack-keys: 1
operators: [A]
keys: [{alias: k, curve: P-256, usage: manifest}]
`

func TestParseKeySpec(t *testing.T) {
	got, err := ParseKeySpec("dir/spec.yaml", []byte(fullSpec))
	if err != nil {
		t.Fatal(err)
	}
	want := &KeySpec{
		Operators: []string{"Ada Lovelace", "Zoë: Müller"}, Witnesses: []string{"李雷"}, Purpose: "yearly rotation", Place: "Vault 2",
		Keys: []NewKey{
			{Alias: "fw-2026", ID: []byte{0x0a, 1}, Curve: "P-256", Usage: "manifest"},
			{Alias: "release-2026", Curve: "P-384", Usage: "release"},
			{Token: "backup", Label: "FW 2026", Public: "spare.pub.pem", ID: []byte{1, 2}, Curve: "P-256", Usage: "manifest"},
		},
		Digest: sha256.Sum256([]byte(fullSpec)),
		source: source{"dir/spec.yaml", "dir", got.pos},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := got.Resolve("spare.pub.pem"), filepath.Join("dir", "spare.pub.pem"); got != want {
		t.Errorf("Resolve: %s, want %s", got, want)
	}
	for path, want := range map[string]string{
		"keys[1]":       "dir/spec.yaml:8:5: keys[1]: odd",
		"keys[2].label": "dir/spec.yaml:11:28: keys[2].label: odd",
		"operators[1]":  "dir/spec.yaml:2:27: operators[1]: odd",
	} {
		if got := got.Errorf(path, "odd").Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if _, err := ParseKeySpec("f", []byte(minimalSpec)); err != nil {
		t.Error(err)
	}
}

// One change to a valid file, and everything that is said about it.
func TestKeySpecRefused(t *testing.T) {
	const alias = "{alias: fw-2026, id: 0a01, curve: P-256, usage: manifest}"
	for _, test := range []struct{ old, new, want string }{
		{"otapack-keys: 1\n", "", `key "otapack-keys" is missing`},
		{"otapack-keys: 1\n", "otapack-keys: 2\n", `1:15: otapack-keys: is schema 2, this version reads schema 1`},
		{"otapack-keys: 1\n", "otapack: 1\n", `key "otapack-keys" is missing|1:1: otapack: unknown key`},
		{"purpose:", "purpos:", `4:1: purpos: unknown key (did you mean "purpose"?)`},
		{`purpose: "yearly rotation"`, "purpose: |\n  a\n", `4:10: purpose: has to be a single value on one line, not a block of text`},
		{"place: Vault 2", "place:", `5:7: place: is empty`},
		{"place: Vault 2", "place: \"a\\tb\"", `5:8: place: contains a control character`},
		{"place: Vault 2", "place: Vault 2\nplace: Vault 3", `6:1: place: duplicate key, first in line 5`},
		{"operators: [Ada Lovelace, \"Zoë: Müller\"]", "operators: []", `2:1: operators: needs at least one entry`},
		{"operators: [Ada Lovelace, \"Zoë: Müller\"]", "operators: Ada", `2:12: operators: has to be a list`},
		{"operators: [Ada Lovelace, \"Zoë: Müller\"]\n", "", `key "operators" is missing`},
		{"\"Zoë: Müller\"", "Ada Lovelace", `2:27: operators[1]: "Ada Lovelace" is listed twice`},
		{"[李雷]", "[Ada Lovelace]", `3:13: witnesses[0]: "Ada Lovelace" is an operator and cannot be a witness too`},
		{alias, "{alias: FW, curve: P-256, usage: manifest}", `7:13: keys[0].alias: "FW" is not a name: 1 to 32 lower-case letters, digits and hyphens, no hyphen first`},
		{alias, "{alias: release-2026, curve: P-256, usage: manifest}", `8:5: keys[1]: is the same key as keys[0]`},
		{alias, "{token: backup, label: FW 2026, public: x, curve: P-256, usage: manifest}", `11:5: keys[2]: is the same key as keys[0]`},
		{alias, "{curve: P-256, usage: manifest}", `7:5: keys[0]: needs an alias of otapack.yaml, or else token, label and public (token and label and public missing)`},
		{alias, "{token: t, label: l, curve: P-256, usage: manifest}", `7:5: keys[0]: needs an alias of otapack.yaml, or else token, label and public (public missing)`},
		{"{alias: fw-2026, ", "{alias: fw-2026, token: t, ", `7:29: keys[0].token: does not go with alias: otapack.yaml says it`},
		{"{alias: fw-2026, ", "{alias: fw-2026, label: l, public: p, ", `7:29: keys[0].label: does not go with alias: otapack.yaml says it|7:40: keys[0].public: does not go with alias: otapack.yaml says it`},
		{"0a01", "0A01", `7:26: keys[0].id: "0A01" is not 1 to 64 bytes in lower-case hexadecimal`},
		{"0a01", "0a0", `7:26: keys[0].id: "0a0" is not 1 to 64 bytes in lower-case hexadecimal`},
		{"0a01", strings.Repeat("00", 65), `7:26: keys[0].id: "` + strings.Repeat("00", 65) + `" is not 1 to 64 bytes in lower-case hexadecimal`},
		{"P-384", "P-521", `9:12: keys[1].curve: "P-521" is not P-256 or P-384`},
		{"P-384\n", "p384\n", `9:12: keys[1].curve: "p384" is not P-256 or P-384`},
		{"    curve: P-384\n", "", `8:5: keys[1]: key "curve" is missing`},
		{"usage: release", "usage: boot", `10:12: keys[1].usage: "boot" is not manifest, release or image`},
		{"    usage: release\n", "", `8:5: keys[1]: key "usage" is missing`},
		{"    usage: release\n", "    usage: release\n    pin: 1\n", `11:5: keys[1].pin: unknown key`},
		{"\nkeys:", "\n---\nkeys:", `6:1: a second document is not accepted`},
		{"place: Vault 2", "place: &a Vault 2", `5:8: anchors and aliases are not accepted`},
	} {
		if strings.Count(fullSpec, test.old) != 1 {
			t.Fatalf("%q", test.old)
		}
		s, err := ParseKeySpec("f", []byte(strings.Replace(fullSpec, test.old, test.new, 1)))
		if err == nil || s != nil {
			t.Errorf("%q is accepted", test.new)
			continue
		}
		var want []string
		for line := range strings.SplitSeq(test.want, "|") {
			if line[0] < '0' || line[0] > '9' {
				line = " " + line
			}
			want = append(want, "f:"+line)
		}
		if got := err.Error(); got != strings.Join(want, "\n") {
			t.Errorf("%q:\ngot  %s\nwant %s", test.new, got, strings.Join(want, "\n"))
		}
	}
	var b strings.Builder
	b.WriteString("otapack-keys: 1\noperators: [A]\nkeys:\n")
	for i := range MaxKeysInSpec + 1 {
		fmt.Fprintf(&b, "- {alias: k%d, curve: P-256, usage: manifest}\n", i)
	}
	if _, err := ParseKeySpec("f", []byte(b.String())); err == nil || err.Error() != "f:3:1: keys: has 33 keys, at most 32 are possible" {
		t.Errorf("33 keys: %v", err)
	}
}

func TestLoadKeySpec(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spec.yaml")
	if _, err := LoadKeySpec(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v, want ErrNotExist", err)
	}
	if err := os.WriteFile(path, []byte(minimalSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := LoadKeySpec(path)
	if err != nil || s.File() != path || len(s.Keys) != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
}

// What docs/keys.md shows is a specification.
func TestKeySpecInDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "keys.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	s, err := ParseKeySpec("docs/keys.md", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Keys) != 3 || len(s.Operators) != 1 || len(s.Witnesses) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestHas(t *testing.T) {
	c, err := Parse("f", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"signing.manifest.trust": true, "signing.release.trust": false, "components.radio.signing": true, "components.motor.signing": false,
		"components.radio.signing.threshold": true, "": false, "nowhere": false,
	} {
		if got := c.Has(path); got != want {
			t.Errorf("Has(%q) = %v", path, got)
		}
	}
}

func FuzzParseKeySpec(f *testing.F) {
	f.Add([]byte(fullSpec))
	f.Add([]byte(minimalSpec))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseKeySpec("f", data)
		if err != nil {
			if s != nil {
				t.Fatal("a specification and an error")
			}
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%T is not an *Error: %v", err, err)
			}
			return
		}
		if len(s.Operators) == 0 || len(s.Keys) == 0 || len(s.Keys) > MaxKeysInSpec || s.Digest != sha256.Sum256(data) {
			t.Fatalf("%+v", s)
		}
		for _, k := range s.Keys {
			byAlias := k.Alias != "" && k.Token == "" && k.Label == "" && k.Public == ""
			byLabel := k.Alias == "" && k.Token != "" && k.Label != "" && k.Public != ""
			if byAlias == byLabel || !curvePattern.MatchString(k.Curve) || !usagePattern.MatchString(k.Usage) || k.ID != nil && len(k.ID) == 0 || len(k.ID) > 64 {
				t.Fatalf("%+v", k)
			}
		}
	})
}
