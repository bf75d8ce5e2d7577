package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/otapack/otapack/internal/ceremony"
)

// ceremonyView is a ceremony record for JSON.
type ceremonyView struct {
	Tool      string             `json:"tool"`
	Time      time.Time          `json:"time"`
	Operators []string           `json:"operators"`
	Witnesses []string           `json:"witnesses"`
	Purpose   string             `json:"purpose,omitempty"`
	Place     string             `json:"place,omitempty"`
	Spec      string             `json:"spec,omitempty"` // sha256:…
	Module    ceremonyModuleView `json:"module"`
	Token     ceremonyTokenView  `json:"token"`
	Key       ceremonyKeyView    `json:"key"`

	sections []ceremony.Section
}

type ceremonyModuleView struct {
	Manufacturer string `json:"manufacturer"`
	Description  string `json:"description"`
	Version      string `json:"version"`
	Cryptoki     string `json:"cryptoki"`
	File         string `json:"file"` // sha256:…
}

type ceremonyTokenView struct {
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Model        string `json:"model"`
	Manufacturer string `json:"manufacturer"`
	Firmware     string `json:"firmware"`
	Hardware     string `json:"hardware"`
}

type ceremonyKeyView struct {
	Label      string                `json:"label"`
	ID         string                `json:"id"` // hexadecimal
	Curve      string                `json:"curve"`
	Usage      string                `json:"usage,omitempty"`
	KeyID      string                `json:"key_id"`
	Public     []byte                `json:"public"` // DER SubjectPublicKeyInfo, base64
	Mechanism  string                `json:"mechanism"`
	Attributes ceremonyAttributeView `json:"attributes"`
}

// ceremonyAttributeView is ceremony.Attributes with the names that JSON has.
type ceremonyAttributeView struct {
	Local              ceremony.State `json:"local"`
	Sensitive          ceremony.State `json:"sensitive"`
	AlwaysSensitive    ceremony.State `json:"always_sensitive"`
	Extractable        ceremony.State `json:"extractable"`
	NeverExtractable   ceremony.State `json:"never_extractable"`
	Sign               ceremony.State `json:"sign"`
	Decrypt            ceremony.State `json:"decrypt"`
	Unwrap             ceremony.State `json:"unwrap"`
	Derive             ceremony.State `json:"derive"`
	AlwaysAuthenticate ceremony.State `json:"always_authenticate"`
}

func newCeremonyView(r ceremony.Record) *ceremonyView {
	v := &ceremonyView{
		Tool: r.Tool, Time: r.Time,
		Operators: append([]string{}, r.Operators...), Witnesses: append([]string{}, r.Witnesses...),
		Purpose: r.Purpose, Place: r.Place,
		Module: ceremonyModuleView{r.Module.Manufacturer, r.Module.Description, r.Module.Version, r.Module.Cryptoki, r.Module.SHA256.String()},
		Token:  ceremonyTokenView(r.Token),
		Key: ceremonyKeyView{
			Label: r.Key.Label, ID: fmt.Sprintf("%x", r.Key.ID), Curve: r.Key.CurveName(), Usage: r.Key.Usage,
			KeyID: r.Key.Public.ID().String(), Public: r.Key.Public.DER(), Mechanism: r.Key.Mechanism,
			Attributes: ceremonyAttributeView(r.Key.Attributes),
		},
		sections: r.Sections(),
	}
	if r.Spec != nil {
		v.Spec = r.Spec.String()
	}
	return v
}

func inspectCeremony(name string, data []byte, diag bool) (part, error) {
	p := part{Name: name, Kind: "ceremony-record", Size: int64(len(data))}
	r, err := ceremony.Parse(data)
	if err != nil {
		return p, err
	}
	p.Ceremony = newCeremonyView(r)
	p.Diag, err = diagnose(data, diag)
	return p, err
}

func (v *ceremonyView) print(b *strings.Builder, indent string) {
	for _, s := range v.sections {
		fmt.Fprintf(b, "%s%s\n", indent, s.Title)
		for _, f := range s.Fields {
			fmt.Fprintf(b, "%s  %-20s %s\n", indent, f.Name, f.Value)
		}
	}
}
