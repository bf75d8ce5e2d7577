package ceremony_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"SoftHSM v2":                            "SoftHSM v2",
		"Zoë 李雷 ½ ∑":                            "Zoë 李雷 ½ ∑",
		"a\x00b\nc\td\x7f":                      "a\uFFFDb\uFFFDc\uFFFDd\uFFFD",
		"a\u200bb\u202ec\u00a0":                 "a\uFFFDb\uFFFDc\uFFFD", // zero width, right to left, no-break space
		"\xff\xfea":                             "\uFFFD\uFFFDa",
		strings.Repeat("a", ceremony.MaxText+1): strings.Repeat("a", ceremony.MaxText),
		"a" + strings.Repeat("é", 64):           "a" + strings.Repeat("é", 63), // cut between characters
		strings.Repeat("\xff", 100):             strings.Repeat("\uFFFD", ceremony.MaxText/3),
	} {
		if got := ceremony.Printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestState(t *testing.T) {
	got, err := json.Marshal([]ceremony.State{ceremony.Unknown, ceremony.No, ceremony.Yes, 3})
	if want := `["unknown","no","yes","unknown"]`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// What Verify would refuse is not signed.
func TestCheck(t *testing.T) {
	key := newFixed(t, sign.ESP256)
	long := strings.Repeat("a", ceremony.MaxText+1)
	people := slices.Repeat([]string{"a"}, ceremony.MaxPeople+1)
	for name, test := range map[string]struct {
		change func(*ceremony.Record)
		reason verdict.Reason
	}{
		"nine operators":         {func(r *ceremony.Record) { r.Operators = people }, verdict.WrongCount},
		"nine witnesses":         {func(r *ceremony.Record) { r.Witnesses = people }, verdict.WrongCount},
		"operator without name":  {func(r *ceremony.Record) { r.Operators = []string{""} }, verdict.WrongLength},
		"operator with a tab":    {func(r *ceremony.Record) { r.Operators = []string{"a\tb"} }, verdict.CeremonyText},
		"witness long":           {func(r *ceremony.Record) { r.Witnesses = []string{long} }, verdict.WrongLength},
		"witness not UTF-8":      {func(r *ceremony.Record) { r.Witnesses = []string{"\xff"} }, verdict.CeremonyText},
		"place of two lines":     {func(r *ceremony.Record) { r.Place = "a\nb" }, verdict.CeremonyText},
		"place long":             {func(r *ceremony.Record) { r.Place = long }, verdict.WrongLength},
		"purpose long":           {func(r *ceremony.Record) { r.Purpose = strings.Repeat("a", ceremony.MaxPurpose+1) }, verdict.WrongLength},
		"purpose reordered":      {func(r *ceremony.Record) { r.Purpose = "a\u202eb" }, verdict.CeremonyText},
		"before 1970":            {func(r *ceremony.Record) { r.Time = time.Unix(-1, 0) }, verdict.TooLarge},
		"year 10000":             {func(r *ceremony.Record) { r.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, verdict.TooLarge},
		"no tool":                {func(r *ceremony.Record) { r.Tool = "" }, verdict.WrongLength},
		"manufacturer padded":    {func(r *ceremony.Record) { r.Module.Manufacturer = "a\x00" }, verdict.CeremonyText},
		"cryptoki version long":  {func(r *ceremony.Record) { r.Module.Cryptoki = long }, verdict.WrongLength},
		"token label of a NUL":   {func(r *ceremony.Record) { r.Token.Label = "\x00" }, verdict.CeremonyText},
		"token hardware long":    {func(r *ceremony.Record) { r.Token.Hardware = long }, verdict.WrongLength},
		"mechanism long":         {func(r *ceremony.Record) { r.Key.Mechanism = long }, verdict.WrongLength},
		"no key label":           {func(r *ceremony.Record) { r.Key.Label = "" }, verdict.WrongLength},
		"key label with escapes": {func(r *ceremony.Record) { r.Key.Label = "\x1b[2J" }, verdict.CeremonyText},
		"no key id":              {func(r *ceremony.Record) { r.Key.ID = nil }, verdict.WrongLength},
		"key id of 65 bytes":     {func(r *ceremony.Record) { r.Key.ID = make([]byte, ceremony.MaxID+1) }, verdict.WrongLength},
		"unknown usage":          {func(r *ceremony.Record) { r.Key.Usage = "boot" }, verdict.CeremonyKey},
		"no public key":          {func(r *ceremony.Record) { r.Key.Public = sign.PublicKey{} }, verdict.CeremonyKey},
		"state 3":                {func(r *ceremony.Record) { r.Key.Derive = 3 }, verdict.TooLarge},
		"state -1":               {func(r *ceremony.Record) { r.Key.Local = -1 }, verdict.TooLarge},
	} {
		r := full(key.PublicKey)
		test.change(&r)
		if err := r.Check(); verdict.Of(err) != test.reason {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
		if data, err := ceremony.Sign(t.Context(), r, key); verdict.Of(err) != test.reason || data != nil {
			t.Errorf("%s: Sign: %d bytes, %v, want %s", name, len(data), err, test.reason)
		}
	}
}

// Every bound itself is within.
func TestLimits(t *testing.T) {
	key := newFixed(t, sign.ESP384)
	r := full(key.PublicKey)
	most := strings.Repeat("a", ceremony.MaxText)
	r.Operators, r.Witnesses = slices.Repeat([]string{most}, ceremony.MaxPeople), slices.Repeat([]string{most}, ceremony.MaxPeople)
	r.Place, r.Tool, r.Purpose = most, most, strings.Repeat("é", ceremony.MaxPurpose/2)
	r.Time = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	r.Module = ceremony.Module{Manufacturer: most, Description: most, Version: most, Cryptoki: most}
	r.Token = ceremony.Token{Label: most, Serial: most, Model: most, Manufacturer: most, Firmware: most, Hardware: most}
	r.Key.Label, r.Key.Mechanism, r.Key.ID = most, most, make([]byte, ceremony.MaxID)
	v, err := ceremony.Verify(mustSign(t, r, key), key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	wantRecord(t, v.Record(), r)
}

func TestDifferences(t *testing.T) {
	key := newFixed(t, sign.ESP256)
	recorded := full(key.PublicKey).Key
	if got := recorded.Differences(full(key.PublicKey).Key); got != nil {
		t.Errorf("of the same key: %v", got)
	}
	now := full(key.PublicKey).Key
	now.Usage = "" // not a statement of the module
	now.Label, now.ID, now.Mechanism = "other", []byte{1}, ""
	now.Extractable, now.AlwaysAuthenticate = ceremony.Yes, ceremony.No
	want := []ceremony.Difference{
		{"label", "fw-2026", "other"},
		{"id", "0a01", "01"},
		{"mechanism", "CKM_EC_KEY_PAIR_GEN", "-"},
		{"extractable", "no", "yes"},
		{"always authenticate", "unknown", "no"},
	}
	if got := recorded.Differences(now); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// An attribute that List leaves out would not be recorded.
func TestAttributesList(t *testing.T) {
	a := ceremony.Attributes{}
	n := len(a.List())
	if n != 10 {
		t.Errorf("%d attributes", n)
	}
	a = ceremony.Attributes{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	for _, f := range a.List() {
		if f.State != ceremony.No || f.Name == "" {
			t.Errorf("%q is %s", f.Name, f.State)
		}
	}
}
