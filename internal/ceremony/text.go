package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Section is a part of a record as people read it.
type Section struct {
	Title  string
	Fields []Field
}

// Field is one line of a Section. Values are on one line and never empty: what
// nobody said is "-".
type Field struct{ Name, Value string }

// String formats as "sha256:" and 64 lower-case hexadecimal digits.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// Sections returns everything that stands in a record, in the words of its text
// form. What was claimed by whom is said in the titles.
func (r Record) Sections() []Section {
	made := []Field{{"time", r.Time.UTC().Format(time.RFC3339)}, {"tool", orDash(r.Tool)}}
	if r.Spec != nil {
		made = append(made, Field{"specification", r.Spec.String()})
	}
	var people []Field
	for _, name := range r.Operators {
		people = append(people, Field{"operator", name})
	}
	for _, name := range r.Witnesses {
		people = append(people, Field{"witness", name})
	}
	if r.Purpose != "" {
		people = append(people, Field{"purpose", r.Purpose})
	}
	if r.Place != "" {
		people = append(people, Field{"place", r.Place})
	}
	if r.Key.Usage != "" {
		people = append(people, Field{"usage", r.Key.Usage})
	}
	if people == nil {
		people = []Field{{"operator", "-"}}
	}
	return []Section{
		{"The record", made},
		{"Written down by the operators", people},
		{"Public key, which signed this record", []Field{
			{"curve", orDash(r.Key.CurveName())},
			{"key", r.Key.Public.ID().String()},
			{"public key", hex.EncodeToString(r.Key.Public.DER())},
		}},
		{"Said by the module of the key, unsigned", r.Key.statements()},
		{"Said by the module of the token, unsigned", []Field{
			{"label", orDash(r.Token.Label)},
			{"serial", orDash(r.Token.Serial)},
			{"model", orDash(r.Token.Model)},
			{"manufacturer", orDash(r.Token.Manufacturer)},
			{"firmware", orDash(r.Token.Firmware)},
			{"hardware", orDash(r.Token.Hardware)},
		}},
		{"Said by the module of itself, unsigned", []Field{
			{"manufacturer", orDash(r.Module.Manufacturer)},
			{"description", orDash(r.Module.Description)},
			{"version", orDash(r.Module.Version)},
			{"cryptoki", orDash(r.Module.Cryptoki)},
			{"file", r.Module.SHA256.String()},
		}},
	}
}

// statements are what the module said of the key.
func (k Key) statements() []Field {
	fields := []Field{
		{"label", orDash(k.Label)},
		{"id", orDash(hex.EncodeToString(k.ID))},
		{"mechanism", orDash(k.Mechanism)},
	}
	for _, a := range k.List() {
		fields = append(fields, Field{a.Name, a.State.String()})
	}
	return fields
}

// Difference is a statement about a key that is no longer what was recorded.
type Difference struct{ Name, Recorded, Found string }

// Differences compares what the module said of the key when the record was made
// with what it says now.
func (k Key) Differences(now Key) []Difference {
	var list []Difference
	found := now.statements()
	for i, recorded := range k.statements() {
		if recorded.Value != found[i].Value {
			list = append(list, Difference{recorded.Name, recorded.Value, found[i].Value})
		}
	}
	return list
}

const textHead = `Key ceremony record, %s
SHA-256 of what was signed: %x

The record is signed with the new key itself: who made it could use the private
half. Names are what the operators wrote. What the PKCS#11 module said is not
signed by the token and came over a path that nobody has authenticated: it
catches mistakes and proves nothing to a third party about the hardware.
Attestation by the maker of the token is not part of this record.
`

// Text renders a record for people. The same record gives the same text.
func (r Record) Text() (string, error) {
	payload, err := r.encode()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, textHead, Format, sha256.Sum256(payload))
	for _, s := range r.Sections() {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		for _, f := range s.Fields {
			fmt.Fprintf(&b, "  %-20s %s\n", f.Name, f.Value)
		}
	}
	return b.String(), nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
