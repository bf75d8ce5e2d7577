package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
)

// fit are the attributes of a key that Generate makes.
var fit = ceremony.Attributes{
	Local: ceremony.Yes, Sensitive: ceremony.Yes, AlwaysSensitive: ceremony.Yes, Extractable: ceremony.No, NeverExtractable: ceremony.Yes,
	Sign: ceremony.Yes, Decrypt: ceremony.No, Unwrap: ceremony.No, Derive: ceremony.No, AlwaysAuthenticate: ceremony.No,
}

func TestAttributeFindings(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*ceremony.Attributes)
		want     []string
		signOnly ceremony.State
	}{
		"fit":                           {func(*ceremony.Attributes) {}, nil, ceremony.Yes},
		"PIN for every signature":       {func(a *ceremony.Attributes) { a.AlwaysAuthenticate = ceremony.Yes }, nil, ceremony.Yes},
		"extractable":                   {func(a *ceremony.Attributes) { a.Extractable = ceremony.Yes }, []string{"refused key-extractable CKA_EXTRACTABLE is yes"}, ceremony.Yes},
		"readable":                      {func(a *ceremony.Attributes) { a.Sensitive = ceremony.No }, []string{"refused key-not-sensitive CKA_SENSITIVE is no"}, ceremony.Yes},
		"cannot sign":                   {func(a *ceremony.Attributes) { a.Sign = ceremony.No }, []string{"refused key-not-sign-only CKA_SIGN is no"}, ceremony.No},
		"decrypts":                      {func(a *ceremony.Attributes) { a.Decrypt = ceremony.Yes }, []string{"refused key-not-sign-only CKA_DECRYPT is yes"}, ceremony.No},
		"unwraps":                       {func(a *ceremony.Attributes) { a.Unwrap = ceremony.Yes }, []string{"refused key-not-sign-only CKA_UNWRAP is yes"}, ceremony.No},
		"derives":                       {func(a *ceremony.Attributes) { a.Derive = ceremony.Yes }, []string{"refused key-not-sign-only CKA_DERIVE is yes"}, ceremony.No},
		"NSS, which says so of its own": {func(a *ceremony.Attributes) { a.Local = ceremony.No }, []string{"warning key-not-local CKA_LOCAL is no"}, ceremony.Yes},
		"imported": {func(a *ceremony.Attributes) {
			a.Local, a.AlwaysSensitive, a.NeverExtractable = ceremony.No, ceremony.No, ceremony.No
		}, []string{
			"warning key-was-outside CKA_NEVER_EXTRACTABLE is no", "warning key-was-outside CKA_ALWAYS_SENSITIVE is no", "warning key-not-local CKA_LOCAL is no",
		}, ceremony.Yes},
		"a module that tells little": {func(a *ceremony.Attributes) { *a = ceremony.Attributes{Sign: ceremony.Yes, Extractable: ceremony.No} }, []string{
			"unknown  the module does not tell CKA_SENSITIVE, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE, CKA_NEVER_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_LOCAL",
		}, ceremony.Unknown},
	} {
		a := fit
		test.change(&a)
		var got []string
		for _, f := range attributeFindings(a) {
			got = append(got, f.Severity+" "+string(f.Reason)+" "+f.Detail)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got  %q\nwant %q", name, got, test.want)
		}
		if got := ceremonyAttributeView(a).signOnly(); got != test.signOnly {
			t.Errorf("%s: sign only is %s, want %s", name, got, test.signOnly)
		}
	}
}

// A key whose token says something else than its record.
func TestCheckRecord(t *testing.T) {
	dir := t.TempDir()
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	now := ceremony.Key{Label: "k", ID: []byte{1}, Public: signer.Public(), Mechanism: "CKM_EC_KEY_PAIR_GEN", Attributes: fit}
	record := ceremony.Record{Tool: "t", Time: time.Unix(0, 0), Key: now}
	data, err := ceremony.Sign(t.Context(), record, signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "k.ceremony.cbor"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(filepath.Join(dir, "otapack.yaml"), config.Starter("p", "v.example"))
	if err != nil {
		t.Fatal(err)
	}
	key := config.Key{Name: "k", Public: "k.pub.pem"}
	if err := os.WriteFile(filepath.Join(dir, "k.pub.pem"), signer.Public().PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := newCheckedKey(key, func(c *checkedKey) error { return c.checkOffline(cfg, key) })
	if err != nil || c.Status != "ok" || len(c.Findings) > 0 || *c.Attributes != ceremonyAttributeView(fit) || c.Curve != "P-256" || !strings.HasSuffix(c.Record, "k.ceremony.cbor") {
		t.Errorf("offline: %+v, %v", c, err)
	}

	check := func(now ceremony.Key) (found []string) {
		var c checkedKey
		recorded, err := c.checkRecord(cfg, key, signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		c.compare(*recorded, now)
		for _, f := range c.Findings {
			found = append(found, f.Severity+" "+string(f.Reason)+" "+f.Detail)
		}
		return found
	}
	if got := check(now); got != nil {
		t.Errorf("of the same key: %q", got)
	}
	now.Label, now.Extractable, now.Mechanism = "other", ceremony.Yes, ""
	want := []string{
		"refused ceremony-differs label was recorded as k and is other",
		"refused ceremony-differs mechanism was recorded as CKM_EC_KEY_PAIR_GEN and is -",
		"refused ceremony-differs extractable was recorded as no and is yes",
	}
	if got := check(now); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFilesOf(t *testing.T) {
	for public, want := range map[string]string{
		"keys/fw.pub.pem": "keys/fw.ceremony.cbor",
		"keys/fw.pem":     "keys/fw.ceremony.cbor",
		"fw":              "fw.ceremony.cbor",
		"/k/fw-1.2.pem":   "/k/fw-1.2.ceremony.cbor",
	} {
		if got := filesOf(public).record; got != want {
			t.Errorf("%s: got %s, want %s", public, got, want)
		}
	}
}

// Every attribute that hsm tells arrives in a record under its own name.
func TestKeyStatements(t *testing.T) {
	set := func(a *hsm.Attributes) []*hsm.State {
		return []*hsm.State{&a.Local, &a.Sensitive, &a.AlwaysSensitive, &a.Extractable, &a.NeverExtractable, &a.Sign, &a.Decrypt, &a.Unwrap, &a.Derive, &a.AlwaysAuthenticate}
	}
	for i := range (ceremony.Attributes{}).List() {
		var a hsm.Attributes
		*set(&a)[i] = hsm.Yes
		for j, f := range keyStatements(hsm.KeyInfo{Attributes: a}).List() {
			if want := map[bool]ceremony.State{true: ceremony.Yes, false: ceremony.Unknown}[i == j]; f.State != want {
				t.Errorf("%s is %s, want %s", f.Name, f.State, want)
			}
		}
		*set(&a)[i] = hsm.No
		if f := keyStatements(hsm.KeyInfo{Attributes: a}).List()[i]; f.State != ceremony.No {
			t.Errorf("%s is %s, want no", f.Name, f.State)
		}
	}
}
