package release

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"testing"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

const rehearseOff = "policy: {rehearse: off}\n"

func rehearsalOf(t *testing.T, w *workshop, data []byte, o RehearseOptions) (*bootloader.Rehearsal, *Start, error) {
	t.Helper()
	r, start, report, err := w.open(t).Rehearsal(t.Context(), bytes.NewReader(data), int64(len(data)), o)
	if report == nil {
		t.Error("no report")
	}
	return r, start, err
}

// TestRehearsePowerLoss: a release rehearses as much as its policy says.
func TestRehearsePowerLoss(t *testing.T) {
	outcome := func(policy string) *bootloader.Outcome {
		w := newWorkshop(t, rehearseOff, policy)
		return build(t, w.load(t, "1.4.2"), rand.Reader).PowerLoss()
	}
	if o := outcome(rehearseOff); o != nil {
		t.Errorf("off: %+v", o)
	}
	short, full := outcome(""), outcome("policy: {rehearse: full}\n")
	if short == nil || !short.Complete || short.CutPoints == 0 || short.CutPoints >= short.Operations || short.SecondCuts != 0 {
		t.Errorf("short: %+v", short)
	}
	if full == nil || !full.Complete || full.CutPoints <= short.CutPoints || full.SecondCuts == 0 || len(full.Ways) != 4 {
		t.Fatalf("full: %+v", full)
	}
	for _, w := range full.Ways {
		if (w.CutPoints == w.Operations) != (w.Run.String() == "healthy" || w.Run.String() == "sick") {
			t.Errorf("full: %+v", w)
		}
	}
}

// TestRehearsePowerLossRefused: images that one bank cannot hold together.
func TestRehearsePowerLossRefused(t *testing.T) {
	w := newWorkshop(t, rehearseOff, "")
	w.write(t, "radio.hex", intelHex(t, radioBase, pseudo(t, "radio", radioBank-4096)))
	draft, err := w.load(t, "1.4.2").Build(t.Context(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Wipe()
	if _, err := draft.Rehearse(t.Context()); verdict.Of(err) != verdict.PackageExceedsBank {
		t.Errorf("got %v", err)
	}
}

// TestRehearsalStart: what the devices have before.
func TestRehearsalStart(t *testing.T) {
	w := newWorkshop(t, "install-order: [motor, radio]\n", "install-order: [motor, radio]\nallowed-versions: [{motor: 1.4.3, radio: 1.4.2}, {motor: 1.4.3, radio: 1.4.0}]\n")
	w.release(t, "1.4.2")
	second, data := w.release(t, "1.4.3")
	if second.Sequence != 2 {
		t.Fatalf("sequence %d", second.Sequence)
	}
	first := w.path("dist/1.4.2/release.json")

	// release.json is the bundle's own: made up from what the record allows.
	r, start, err := rehearsalOf(t, w, data, RehearseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := func(from, motor, radio string, sizes ...int) {
		t.Helper()
		c := start.Components
		if start.From != from || start.Sequence != 1 || len(c) != 2 || c[0].Name != "motor" || c[1].Name != "radio" ||
			c[0].Version.String() != motor || c[1].Version.String() != radio || c[0].Size != sizes[0] || c[1].Size != sizes[1] {
			t.Errorf("start %+v, want from %q motor %s, radio %s", start, from, motor, radio)
		}
		for i, b := range r.Components {
			if b.Name != c[i].Name || b.Before.Version.Compare(c[i].Version) != 0 || b.Before.Sequence != start.Sequence || b.Before.Size != c[i].Size {
				t.Errorf("component %+v, start %+v", b.Before, c[i])
			}
		}
	}
	want("", "0.0.0", "1.4.2", 1001, 3000)
	allows := func(motor, radio string) bool {
		var versions []manifest.Version
		for _, s := range []string{motor, radio} {
			v, err := manifest.ParseVersion(s)
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, v)
		}
		return r.Allows(versions)
	}
	for combination, ok := range map[[2]string]bool{
		{"1.4.3", "1.4.3"}: true, {"1.4.3", "1.4.2"}: true, {"1.4.3", "1.4.0"}: true, {"0.0.0", "1.4.2"}: true,
		{"0.0.0", "1.4.3"}: false, {"1.4.2", "1.4.3"}: false, {"1.4.3", "1.4.1"}: false,
	} {
		if allows(combination[0], combination[1]) != ok {
			t.Errorf("%v: want %v", combination, ok)
		}
	}
	o, err := r.Run(t.Context())
	if err != nil || len(o.Failures) > 0 {
		t.Errorf("%v, %+v", err, o)
	}

	// The release before, by name and as the last one.
	if r, start, err = rehearsalOf(t, w, data, RehearseOptions{From: first, Identities: devices(t)}); err != nil {
		t.Fatal(err)
	}
	want(first, "1.4.2", "1.4.2", 1001, 3000)
	if allows("1.4.2", "1.4.3") || !allows("1.4.3", "1.4.2") {
		t.Error("allows other combinations than the record")
	}
	w.write(t, "release.json", w.read(t, "dist/1.4.2/release.json"))
	if r, start, err = rehearsalOf(t, w, data, RehearseOptions{}); err != nil {
		t.Fatal(err)
	}
	want("release.json", "1.4.2", "1.4.2", 1001, 3000)

	// A starting state that is none.
	w.write(t, "other.json", bytes.Replace(w.read(t, "release.json"), []byte(`"brush"`), []byte(`"razor"`), 1))
	w.write(t, "broken.json", []byte("{"))
	for path, text := range map[string]string{
		"dist/1.4.3/release.json": "not below 2 of the bundle", "other.json": "is of product razor", "broken.json": "unexpected", "nowhere.json": fs.ErrNotExist.Error(),
	} {
		_, _, err := rehearsalOf(t, w, data, RehearseOptions{From: w.path(path)})
		wantInput(t, err, w.path(path), text)
	}
	w.write(t, "release.json", []byte("{"))
	if _, _, err := rehearsalOf(t, w, data, RehearseOptions{}); err == nil {
		t.Error("an unreadable last release passes")
	}
	// A record of another product, or of this release, is not where devices start.
	w.write(t, "release.json", w.read(t, "other.json"))
	if _, start, err = rehearsalOf(t, w, data, RehearseOptions{}); err != nil || start.From != "" {
		t.Errorf("%+v, %v", start, err)
	}
}

// TestRehearsalNewComponent: a component that the release before did not have
// starts with made-up firmware.
func TestRehearsalNewComponent(t *testing.T) {
	w := newWorkshop(t)
	text := string(w.read(t, "otapack.yaml"))
	both := []byte(text)
	w.edit(t, text[bytes.Index(both, []byte("  motor:")):], "")
	w.release(t, "1.4.2")
	w.write(t, "otapack.yaml", both)
	_, data := w.release(t, "1.4.3")
	r, start, err := rehearsalOf(t, w, data, RehearseOptions{From: w.path("dist/1.4.2/release.json")})
	if err != nil {
		t.Fatal(err)
	}
	if c := start.Components; c[0].Name != "motor" || c[0].Version.String() != "0.0.0" || c[1].Version.String() != "1.4.2" {
		t.Errorf("%+v", start)
	}
	if r.Components[0].Before.Sequence != 1 {
		t.Errorf("%+v", r.Components[0].Before)
	}
}

// TestRehearsalRefused: what VerifyBundle refuses is not rehearsed.
func TestRehearsalRefused(t *testing.T) {
	w := newWorkshop(t)
	_, data := w.release(t, "1.4.2")
	w.edit(t, "model: brush-motor\n    revision: C", "model: brush-motor\n    revision: D")
	r, _, err := rehearsalOf(t, w, data, RehearseOptions{})
	if r != nil || verdict.Of(err) != verdict.ClassMismatch {
		t.Errorf("got %v, %v", r, err)
	}
	if _, ok := errors.AsType[*RejectedError](err); !ok {
		t.Errorf("got %T", err)
	}
}
