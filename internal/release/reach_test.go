package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/internal/census"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// at is a component of a class: version, hardware revision, rollback counter, and
// perhaps the key that it decrypts with.
func at(t testing.TB, version, revision string, sequence uint32, recipient ...byte) census.Component {
	t.Helper()
	v, err := manifest.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	return census.Component{Version: v, Revision: revision, Sequence: sequence, KnowsRecipient: recipient != nil, Recipient: recipient}
}

func reach(t testing.TB, p *Project, data []byte, classes ...census.Class) (*Reach, error) {
	t.Helper()
	return p.Reach(t.Context(), bytes.NewReader(data), int64(len(data)), classes)
}

// class makes a class of one device, radio first as in otapack.yaml.
func class(components ...census.Component) census.Class {
	return census.Class{Line: 2, Devices: 1, Components: components}
}

func (c ClassReach) String() string {
	text := fmt.Sprintf("%s %s %s %s", c.Outcome, c.Component, c.Step, c.Reason)
	for _, first := range c.First {
		text += fmt.Sprint(" ", first)
	}
	return strings.Join(strings.Fields(text), " ")
}

func TestReach(t *testing.T) {
	w, _, data := twoReleases(t) // 1.0.1 with sequence number 2, motor first; {radio: 1.0.0, motor: 1.0.1} is allowed
	p := w.open(t)
	keyOf := func(i int) []byte { return p.components[i].recipients[0].KeyID }
	for _, c := range []struct {
		name            string
		class           census.Class
		own, other      string // in install order, and radio first
		unknownRecipent bool
	}{
		{"last release", class(at(t, "1.0.0", "C", 1, keyOf(0)...), at(t, "1.0.0", "C", 1, keyOf(1)...)),
			"accepts", "refuses radio transition-not-allowed", false},
		{"motor is older", class(at(t, "1.0.0", "C", 1), at(t, "0.9", "C", 0)),
			"accepts", "refuses radio transition-not-allowed", true},
		{"radio is older", class(at(t, "0.9", "C", 0), at(t, "1.0.0", "C", 1)),
			"intermediate motor transition-not-allowed map[radio:1.0.0]", "refuses radio transition-not-allowed", true},
		{"installed", class(at(t, "1.0.1", "C", 2), at(t, "1.0.1", "C", 2)), "accepts", "accepts", true},
		{"half installed", class(at(t, "1.0.0", "C", 1), at(t, "1.0.1", "C", 2)), "accepts", "accepts", true},
		{"half installed, other half old", class(at(t, "0.9", "C", 0), at(t, "1.0.1", "C", 2)), "accepts", "accepts", true},
		{"newer", class(at(t, "1.0.2", "C", 3), at(t, "1.0.1", "C", 2)),
			"refuses radio sequence sequence-rollback", "refuses radio sequence sequence-rollback", true},
		{"other revisions", class(at(t, "1.0.0", "B", 1), at(t, "1.0.0", "D", 1)),
			"refuses motor class class-mismatch", "refuses radio class class-mismatch", true},
		{"no key", class(at(t, "1.0.0", "C", 1, []byte{}...), census.Component{Version: manifest.Version{1}, Revision: "C", KnowsRecipient: true}),
			"refuses motor unwrap recipient-key-missing", "refuses radio unwrap recipient-key-missing", false},
		{"another key", class(at(t, "1.0.0", "C", 1, 1, 2, 3), at(t, "1.0.0", "C", 1, keyOf(1)...)),
			"refuses radio unwrap key-unwrap-failed", "refuses radio unwrap key-unwrap-failed", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := reach(t, p, data, c.class)
			if err != nil {
				t.Fatal(err)
			}
			if r.Product != "brush" || r.ReleaseID != "1.0.1+2" || r.Sequence != 2 || r.Devices != 1 || r.Classes != 1 || len(r.Orders) != 2 || (r.UnknownRecipients == 1) != c.unknownRecipent {
				t.Errorf("%+v", r)
			}
			for i, want := range []string{c.own, c.other} {
				o := r.Orders[i]
				if got := o.Classes[0].String(); got != want {
					t.Errorf("%v: got %q, want %q: %s", o.Order, got, want, o.Classes[0].Detail)
				}
				if o.InstallOrder != (i == 0) || o.Accepts+o.Intermediate+o.Refuses != 1 || (o.Accepts == 1) != (len(o.Reasons) == 0) || o.Classes[0].Reason != "" && o.Reasons[o.Classes[0].Reason] != 1 {
					t.Errorf("%+v", o)
				}
			}
			if !slices.Equal(r.Orders[0].Order, []string{"motor", "radio"}) || !slices.Equal(r.Orders[1].Order, []string{"radio", "motor"}) {
				t.Errorf("orders %v and %v", r.Orders[0].Order, r.Orders[1].Order)
			}
		})
	}
}

// A bundle of somebody else, or that was put together, has no reach.
func TestReachRefused(t *testing.T) {
	w, first, data := twoReleases(t)
	p := w.open(t)
	c := class(at(t, "1.0.0", "C", 1), at(t, "1.0.0", "C", 1))
	change := func(edit func(c *bundle.Contents)) []byte {
		contents := openBundle(t, data)
		edit(&contents)
		return writeBundle(t, contents)
	}
	cut := data[:len(data)-1]
	crc := bytes.Clone(data)
	crc[bytes.Index(crc, payloadOf(t, openBundle(t, data).Components[1]))] ^= 1
	for name, tt := range map[string]struct {
		data []byte
		want verdict.Reason
	}{
		"cut off":               {cut, verdict.BundleTruncated},
		"payload damaged":       {crc, verdict.BundleChecksum},
		"record of another":     {change(func(c *bundle.Contents) { c.Record = openBundle(t, first).Record }), verdict.ManifestNotRecorded},
		"manifest of another":   {change(func(c *bundle.Contents) { c.Components[0] = openBundle(t, first).Components[0] }), verdict.ManifestNotRecorded},
		"a component less":      {change(func(c *bundle.Contents) { c.Components = c.Components[:1] }), verdict.ComponentsMismatch},
		"record signed for fw":  {change(func(c *bundle.Contents) { c.Record = resigned(t, w, c.Record, "fw") }), verdict.SignatureInvalid},
		"manifest is no longer": {change(func(c *bundle.Contents) { c.Components[0].Manifest = c.Components[1].Manifest }), verdict.ManifestNotRecorded},
	} {
		if r, err := reach(t, p, tt.data, c); verdict.Of(err) != tt.want {
			t.Errorf("%s: got %+v, %v, want %s", name, r, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Reach(ctx, bytes.NewReader(data), int64(len(data)), []census.Class{c}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// A payload of the right size and checksum that is not the signed one is what
	// the devices refuse.
	r, err := reach(t, p, change(func(c *bundle.Contents) {
		c.Components[0].Payload = section(bytes.Repeat([]byte{1}, int(c.Components[0].Payload.Size())))
	}), c)
	if err != nil || r.Orders[0].Classes[0].String() != "refuses motor ciphertext ciphertext-digest-mismatch" {
		t.Errorf("%+v, %v", r, err)
	}
}

func resigned(t *testing.T, w *workshop, record []byte, key string) []byte {
	t.Helper()
	r, err := manifest.ParseRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	return w.signRecord(t, r, key)
}

// chain is a fleet of three components that run version 2 of each; letters are
// components in the order of the record. Combinations are their versions.
func chain(t *testing.T, allowed ...string) *fleet {
	t.Helper()
	f := &fleet{}
	for i, name := range []string{"a", "b", "c"} {
		f.record.Components = append(f.record.Components, manifest.RecordComponent{Role: name, Version: manifest.Version{2}})
		f.parts = append(f.parts, fleetPart{Component: bundle.Component{Name: name}, record: i, config: i})
	}
	for _, a := range allowed {
		f.record.Allowed = append(f.record.Allowed, versions(a))
	}
	return f
}

func versions(digits string) []manifest.Version {
	var out []manifest.Version
	for _, d := range digits {
		out = append(out, manifest.Version{d - '0'})
	}
	return out
}

func TestReachOrders(t *testing.T) {
	name := func(order []fleetPart) string {
		var s string
		for _, p := range order {
			s += p.Name
		}
		return s
	}
	// a then b then c from 111, b first from 121 and on to 221; c last in all.
	f := chain(t, "211", "221", "121", "220")
	var got []string
	for _, o := range f.orders() {
		line := name(o)
		for _, from := range []string{"111", "110", "222", "112"} {
			if part, refused := f.walk(o, versions(from)); refused != nil {
				line += " " + part.Name
			} else {
				line += " ok"
			}
		}
		for _, s := range f.starts(o) {
			line += fmt.Sprint(" ", s)
		}
		got = append(got, line)
	}
	want := []string{
		"abc ok a ok a [2 1 1] [2 2 1] [2 2 0]",
		"acb c a ok a [2 2 1] [2 2 0]", // b is new already: only c is to be updated
		"bac ok b ok b [2 2 1] [1 2 1] [2 2 0]",
		"bca c b ok b [2 2 1] [2 2 0]",
		"cab c c ok a",
		"cba c c ok b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	f.record.Components[0].Requires = []manifest.Requirement{{Component: 2, Minimum: manifest.Version{1}}}
	if _, refused := f.walk(f.parts, versions("110")); refused == nil || refused.Reason != verdict.PeerTooOld || refused.Detail != "a 2 needs c 1 or later, devices would have 0" {
		t.Error(refused)
	}
	for n := 1; n <= 7; n++ {
		f.parts = nil
		for i := range n {
			f.parts = append(f.parts, fleetPart{Component: bundle.Component{Name: fmt.Sprint(i)}, record: i})
		}
		orders := f.orders()
		want := []int{1, 1, 2, 6, 24, 120, 1, 1}[n]
		if len(orders) != want || name(orders[0]) != name(f.parts) {
			t.Errorf("%d components: %d orders, first %s", n, len(orders), name(orders[0]))
		}
	}
}

// One verification is made for all classes that a bootloader cannot tell apart.
func TestReachAsksOnce(t *testing.T) {
	w, _, data := twoReleases(t)
	p := w.open(t)
	b := openBundle(t, data)
	m, err := manifest.Authenticate(b.Components[0].Manifest, p.components[1].trust)
	if err != nil {
		t.Fatal(err)
	}
	f := fleet{project: p, objections: map[string]*objection{}}
	part := fleetPart{Component: b.Components[0], config: 1, manifest: m}
	for range 3 {
		for sequence := range uint32(4) {
			o, err := f.bootloader(t.Context(), part, at(t, fmt.Sprintf("1.%d", sequence), "C", sequence))
			if err != nil || (o == nil) != (sequence <= 2) || o != nil && o.step != bootloader.StepSequence {
				t.Errorf("sequence %d: %+v, %v", sequence, o, err)
			}
		}
	}
	if len(f.objections) != 4 {
		t.Errorf("%d verifications", len(f.objections))
	}
}

func BenchmarkReach(b *testing.B) {
	w := benchWorkshop(b)
	_, data := w.release(b, "1.0.0")
	p := w.open(b)
	var classes []census.Class
	for i := range 1000 { // of ten sorts
		c := class(at(b, fmt.Sprintf("0.%d", i), "C", uint32(i%10)), at(b, "0.9", "C", 0))
		classes = append(classes, c)
	}
	for b.Loop() {
		if _, err := reach(b, p, data, classes...); err != nil {
			b.Fatal(err)
		}
	}
}
