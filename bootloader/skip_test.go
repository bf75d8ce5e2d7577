package bootloader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
)

// What refuses each bad image, and what becomes of it when that step is ignored.
var wantSkips = map[string][]string{
	"nrf52840": append([]string{"other-base: base, image"}, ownSkips...),
	"stm32l4":  append([]string{"in-place: decoder, taken"}, ownSkips...),
	"mcuboot-swap": append([]string{
		"older: counter, downgrade", "older-version: downgrade, taken", "older-counter: counter, taken",
	}, mcubootSkips...),
	"mcuboot-overwrite": append([]string{
		"older: downgrade, counter", "older-version: downgrade, taken", "older-counter: counter, taken",
	}, mcubootSkips...),
	"sbsfu": {
		"wrong-key: candidate-header, header", "digest-swapped: candidate-header, header", "other-slot: candidate-header, nothing",
		"older: version, taken", "too-large: version, nothing", "other-scheme: header, flow",
		"flipped: image, flow", "truncated: image, flow", "followed: rest-blank, taken",
	},
	"wolfboot": {
		"wrong-key: authenticity, sanity", "claimed-key: authenticity, sanity", "loader-key: authenticity, sanity", "unsigned: authenticity, sanity",
		"flipped: integrity, authenticity", "truncated: integrity, authenticity", "bad-magic: open, nothing", "beyond: open, nothing",
		"too-large: size, taken", "other-type: type, taken", "other-signature: type, authenticity", "older: version, taken", "same: version, taken",
	},
	"nrf5-sdk": {
		"wrong-key: signature, taken", "unsigned: signature, taken", "digest-swapped: signature, taken",
		"flipped: hash, taken", "truncated: transfer, nothing", "too-large: room, taken",
		"older: version, taken", "no-version: version, taken", "other-class: hardware, taken", "other-softdevice: softdevice, taken",
		"external: type, taken", "other-hash: hash-type, taken", "bad-boot-signature: boot-validation, taken",
		"no-size: size, hash", "cut-packet: decode, nothing",
	},
}

var ownSkips = []string{
	"wrong-key: signature, taken", "digest-swapped: signature, taken", "unsigned: envelope, nothing",
	"other-vendor: vendor, class", "other-class: class, taken", "other-slot: slot, taken", "older: sequence, taken",
	"too-large: size, taken", "truncated: size, image", "flipped: image, taken",
	"flipped-ciphertext: ciphertext, image", "other-device: unwrap, nothing", "other-plaintext: image, taken",
	"decoder-ram: decoder, taken", "flipped-code: ciphertext, image",
}

var mcubootSkips = []string{
	"wrong-key: signature, taken", "claimed-key: signature, taken", "unsigned: signature, taken",
	"flipped: hash, signature", "digest-swapped: signature, taken",
	"other-vendor: vendor, class", "other-class: class, taken", "dependency: dependencies, taken", "other-address: placement, taken",
	"unknown-tlv: tlvs, taken", "truncated: tlvs, nothing", "too-large: size, taken", "bad-magic: header, hash",
	"flipped-ciphertext: hash, signature", "other-device: content-key, hash",
}

// Steps that no bad image is for: they refuse what is malformed in ways that no
// later step could make something of, or what is a matter of other packages.
var withoutImage = map[string][]Step{
	"bootloader":      {StepManifest, StepBase},
	"formats/mcuboot": {"bootable", "structure"},
	"formats/nrfdfu":  {"receive", "softdevice-info", "end"},
	// What these find, a step before them does too.
	"formats/sbsfu":    {"flow", "execute"},
	"formats/wolfboot": {"sanity"},
}

func TestSkips(t *testing.T) {
	if _, err := Skips(t.Context(), Profile{Name: "data"}); !errors.Is(err, ErrNoVerifier) {
		t.Errorf("a profile without a verifier: %v", err)
	}
	for _, p := range Profiles() {
		m, err := Skips(t.Context(), p)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		var got []string
		alone := map[Step][]string{}
		for _, image := range m.Images {
			if image.What == "" || len(image.Without) != len(p.Steps) {
				t.Errorf("%s: %s: %q, %d steps", p.Name, image.Name, image.What, len(image.Without))
			}
			for i, cell := range image.Without {
				if cell.Step != p.Steps[i].ID {
					t.Errorf("%s: %s: step %d is %s", p.Name, image.Name, i, cell.Step)
				}
				if cell.Step != image.RefusedBy { // a step that was not to blame
					if cell.Taken || cell.RefusedBy != image.RefusedBy {
						t.Errorf("%s: %s without %s: %+v", p.Name, image.Name, cell.Step, cell)
					}
					continue
				}
				fate := string(cell.RefusedBy)
				switch {
				case cell.Taken:
					fate = "taken"
					alone[cell.Step] = append(alone[cell.Step], image.Name)
				case fate == "":
					fate = "nothing"
				}
				got = append(got, fmt.Sprintf("%s: %s, %s", image.Name, image.RefusedBy, fate))
			}
			if !slices.Contains(stepOf(t, p, image.RefusedBy).Reasons, image.Reason) {
				t.Errorf("%s: %s: step %s does not list %s", p.Name, image.Name, image.RefusedBy, image.Reason)
			}
		}
		want := slices.Sorted(slices.Values(wantSkips[p.Name]))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", p.Name, got, want)
		}
		var idle []Step
		for _, step := range m.Steps {
			if !slices.ContainsFunc(m.Images, func(i BadImage) bool { return i.RefusedBy == step }) {
				idle = append(idle, step)
			}
		}
		want = nil
		for _, step := range withoutImage[p.Verifier] {
			alone := step == StepBase && p.Name == "nrf52840" // with two banks there is one
			if !alone {
				want = append(want, string(step))
			}
		}
		if got := fmt.Sprint(idle); got != fmt.Sprint(want) {
			t.Errorf("%s: no image is for %q, want %q", p.Name, idle, want)
		}
		for _, point := range m.Alone {
			if !slices.Equal(point.Images, alone[point.Step]) {
				t.Errorf("%s: %s alone refuses %q, want %q", p.Name, point.Step, point.Images, alone[point.Step])
			}
			delete(alone, point.Step)
		}
		if len(alone) > 0 {
			t.Errorf("%s: not named: %v", p.Name, alone)
		}
	}
}

// The stand-in for an ignored signature has the manifest that the device was
// sent, and nothing else than its signature is good.
func TestSkipBelieved(t *testing.T) {
	o, _, err := newOwnMaker(Chips()[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	good := o.envelope(t.Context(), o.signer, nil)
	stranger, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	foreign := o.envelope(t.Context(), stranger, nil)
	if o.err != nil {
		t.Fatal(o.err)
	}
	a, b := elements(t, good), elements(t, foreign)
	if !slices.Equal(a[envelopeManifest], b[envelopeManifest]) || slices.Equal(a[envelopeAuth], b[envelopeAuth]) {
		t.Error("the envelopes differ in more, or less, than the signature")
	}
	c := ownCase{device: o.device, envelope: good, payload: o.image}
	if trace, err := c.check(t.Context(), ""); err != nil || len(trace) != len(o.device.Chip.Steps) {
		t.Errorf("what is good is refused: %v after %s", err, text(trace))
	}
	c.device.Chip.Steps = c.device.Chip.Steps[:8] // looks at no payload
	if _, err := c.check(t.Context(), ""); err == nil {
		t.Error("taken without a look at the payload")
	}
}

// A matrix over an image that is taken anyway would prove nothing.
func TestSkipRowRefuses(t *testing.T) {
	m := SkipMatrix{Steps: []Step{"a"}}
	good := badImage{check: func(context.Context, Step) (Trace, error) { return nil, nil }}
	if _, err := m.row(t.Context(), good); err == nil {
		t.Error("a good image has a row")
	}
	broken := badImage{check: func(context.Context, Step) (Trace, error) { return nil, errOrder }}
	if _, err := m.row(t.Context(), broken); !errors.Is(err, errOrder) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Skips(ctx, profile(t, "nrf52840")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
