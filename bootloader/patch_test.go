package bootloader

import (
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// patched makes the radio of a brush one that is updated with a patch.
func patched(t testing.TB, r Rehearsal, size int, encrypted bool) Rehearsal {
	t.Helper()
	image := testImage(t, size)
	base := slices.Concat(image[:size/3], []byte("the old firmware"), image[size/3+200:])
	p := newParcel(t, Chips()[0], "T1", image)
	p.patch(t, base, image, delta.Params{OldBase: 0x1c000, NewBase: 0x1c000, MapSize: 64})
	if encrypted {
		of := p.manifest.Image
		p.encrypt(t, newDeviceKey(t, "device"))
		p.manifest.Image = of
	}
	i := slices.IndexFunc(r.Components, func(c RehearsedComponent) bool { return c.Name == "radio" })
	r.Components[i] = RehearsedComponent{
		Name: "radio", Device: p.device, Envelope: p.envelope(t), Payload: p.payload, Base: base,
		Before: Before{Version: oldVersion, Sequence: 1041},
	}
	return r
}

// TestRehearsePatch: a host that makes its image from what it has and a patch
// comes to no harm, wherever the power fails.
func TestRehearsePatch(t *testing.T) {
	motorFirst := func(r Rehearsal) Rehearsal { slices.Reverse(r.Components); return r }
	for name, r := range map[string]Rehearsal{
		"plain":       patched(t, brush(t, 1, 3000), 9000, false),
		"encrypted":   patched(t, brush(t, 1, 3000), 9000, true),
		"motor first": patched(t, motorFirst(brush(t, 1, 3000)), 9000, false),
	} {
		t.Run(name, func(t *testing.T) {
			r.Pairs, r.Grain, r.Sample = 1, 1024, 60
			o := runAll(t, r, noFault)
			if len(o.Failures) > 0 || len(o.Ends) < 2 {
				t.Errorf("%+v, %+v", o.Failures, o.Ends)
			}
			out, err := r.Replay(t.Context(), Run{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(out.Events, func(e Event) bool { return e.Component == "radio" && e.Text[:5] == "makes" }) {
				t.Error("no image is made")
			}
			i := slices.IndexFunc(out.Tracks, func(k Track) bool { return k.Component == "radio" })
			for _, touch := range out.Tracks[i].Touches {
				if out.Tracks[i].Chip.Banks[0].Contains(touch.Region) {
					t.Fatalf("the running bank was touched at %s", touch.Region)
				}
			}
		})
	}
}

// The mistakes that a patch makes possible.
func TestRehearsePatchFaults(t *testing.T) {
	notShort(t)
	for f, want := range map[fault]verdict.Reason{
		patchInPlace: verdict.RehearsalBrick, // the image that runs is the one that is written
	} {
		r := patched(t, brush(t, 1, 1000), 5000, false)
		r.Sample, r.Grain = 40, 1024
		o := runAll(t, r, f)
		if !slices.ContainsFunc(o.Failures, func(f Failure) bool { return f.Reason == want }) {
			t.Errorf("fault %d: %+v, want %s", f, o.Failures, want)
		}
	}
}

func TestRehearsePatchRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Rehearsal)
		reason verdict.Reason
	}{
		"another base":    {func(r *Rehearsal) { r.Components[0].Base[7] ^= 1 }, verdict.BaseMismatch},
		"no base":         {func(r *Rehearsal) { r.Components[0].Base = nil }, verdict.BaseMismatch},
		"damaged":         {func(r *Rehearsal) { r.Components[0].Payload[9] ^= 1 }, verdict.PayloadDigestMismatch},
		"key not known":   {func(r *Rehearsal) { *r = patched(t, *r, 5000, true); r.Components[0].Device.Identity = nil }, ""},
		"MCU that is fed": {func(r *Rehearsal) { r.Components[0].Name, r.Components[1] = "x", r.Components[0]; *r = withHost(t, *r) }, verdict.BaseMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			r := patched(t, brush(t, 1, 1000), 5000, false)
			tt.change(&r)
			if _, err := r.Run(t.Context()); err == nil || verdict.Of(err) != tt.reason {
				t.Errorf("got %v, want reason %q", err, tt.reason)
			}
		})
	}
}

// withHost gives a rehearsal a first MCU that feeds the others.
func withHost(t testing.TB, r Rehearsal) Rehearsal {
	t.Helper()
	r.Components[0] = testComponent(t, "host", "nrf52840", "T1", 1000)
	r.Allows = func([]manifest.Version) bool { return true }
	return r
}
