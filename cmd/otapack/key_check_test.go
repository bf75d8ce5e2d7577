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
var fit = hsm.Attributes{
	Local: hsm.Yes, Sensitive: hsm.Yes, AlwaysSensitive: hsm.Yes, Extractable: hsm.No, NeverExtractable: hsm.Yes,
	Sign: hsm.Yes, Decrypt: hsm.No, Unwrap: hsm.No, Derive: hsm.No, AlwaysAuthenticate: hsm.No,
}

func TestAttributeFindings(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*hsm.Attributes)
		want     []string
		signOnly hsm.State
	}{
		"fit":                           {func(*hsm.Attributes) {}, nil, hsm.Yes},
		"PIN for every signature":       {func(a *hsm.Attributes) { a.AlwaysAuthenticate = hsm.Yes }, nil, hsm.Yes},
		"extractable":                   {func(a *hsm.Attributes) { a.Extractable = hsm.Yes }, []string{"refused key-extractable CKA_EXTRACTABLE is yes"}, hsm.Yes},
		"readable":                      {func(a *hsm.Attributes) { a.Sensitive = hsm.No }, []string{"refused key-not-sensitive CKA_SENSITIVE is no"}, hsm.Yes},
		"cannot sign":                   {func(a *hsm.Attributes) { a.Sign = hsm.No }, []string{"refused key-not-sign-only CKA_SIGN is no"}, hsm.No},
		"decrypts":                      {func(a *hsm.Attributes) { a.Decrypt = hsm.Yes }, []string{"refused key-not-sign-only CKA_DECRYPT is yes"}, hsm.No},
		"unwraps":                       {func(a *hsm.Attributes) { a.Unwrap = hsm.Yes }, []string{"refused key-not-sign-only CKA_UNWRAP is yes"}, hsm.No},
		"derives":                       {func(a *hsm.Attributes) { a.Derive = hsm.Yes }, []string{"refused key-not-sign-only CKA_DERIVE is yes"}, hsm.No},
		"NSS, which says so of its own": {func(a *hsm.Attributes) { a.Local = hsm.No }, []string{"warning key-not-local CKA_LOCAL is no"}, hsm.Yes},
		"imported": {func(a *hsm.Attributes) { a.Local, a.AlwaysSensitive, a.NeverExtractable = hsm.No, hsm.No, hsm.No }, []string{
			"warning key-was-outside CKA_NEVER_EXTRACTABLE is no", "warning key-was-outside CKA_ALWAYS_SENSITIVE is no", "warning key-not-local CKA_LOCAL is no",
		}, hsm.Yes},
		"a module that tells little": {func(a *hsm.Attributes) { *a = hsm.Attributes{Sign: hsm.Yes, Extractable: hsm.No} }, []string{
			"unknown  the module does not tell CKA_SENSITIVE, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE, CKA_NEVER_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_LOCAL",
		}, hsm.Unknown},
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
		if got := keyAttributes(a).signOnly(); got != test.signOnly {
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
	info := hsm.KeyInfo{Label: "k", ID: []byte{1}, Public: signer.Public(), Mechanism: "CKM_EC_KEY_PAIR_GEN", Attributes: fit}
	record := ceremony.Record{Tool: "t", Time: time.Unix(0, 0), Key: keyStatements(info)}
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
	if err != nil || c.Status != "ok" || len(c.Findings) > 0 || *c.Attributes != keyAttributes(fit) || c.Curve != "P-256" || !strings.HasSuffix(c.Record, "k.ceremony.cbor") {
		t.Errorf("offline: %+v, %v", c, err)
	}

	check := func(info hsm.KeyInfo) (found []string) {
		var c checkedKey
		recorded, err := c.checkRecord(cfg, key, signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		c.compare(recorded, info)
		for _, f := range c.Findings {
			found = append(found, f.Severity+" "+string(f.Reason)+" "+f.Detail)
		}
		return found
	}
	if got := check(info); got != nil {
		t.Errorf("of the same key: %q", got)
	}
	info.Label, info.Extractable, info.Mechanism = "other", hsm.Yes, ""
	want := []string{
		"refused ceremony-differs label was recorded as k and is other",
		"refused ceremony-differs mechanism was recorded as CKM_EC_KEY_PAIR_GEN and is -",
		"refused ceremony-differs extractable was recorded as no and is yes",
	}
	if got := check(info); !slices.Equal(got, want) {
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
