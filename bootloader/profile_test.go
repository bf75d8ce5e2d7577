package bootloader

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
)

// variations are the chip's steps with one left out, and with one moved to any
// other place; swaps of neighbours are among the latter.
func variations(steps []Step) map[string][]Step {
	all := map[string][]Step{}
	for i, s := range steps {
		rest := slices.Delete(slices.Clone(steps), i, i+1)
		all[fmt.Sprintf("without %s", s)] = rest
		for j := range steps {
			if j != i {
				all[fmt.Sprintf("%s as number %d", s, j)] = slices.Insert(slices.Clone(rest), j, s)
			}
		}
	}
	return all
}

// sound says whether a list of steps reads the manifest only behind its
// signatures, and the payload only behind the manifest.
func sound(steps []Step, encrypted, withoutDecryption bool) bool {
	at := func(s Step) int { return slices.Index(steps, s) }
	if at(StepImage) < 0 || at(StepEnvelope) < 0 || at(StepSignature) < at(StepEnvelope) || at(StepManifest) < at(StepSignature) {
		return false
	}
	for _, s := range steps {
		if s != StepEnvelope && s != StepSignature && at(s) < at(StepManifest) {
			return false
		}
	}
	switch {
	case !encrypted:
		return true
	case withoutDecryption:
		return at(StepCiphertext) >= 0
	}
	return at(StepCiphertext) >= 0 && at(StepUnwrap) >= 0 && at(StepImage) > max(at(StepCiphertext), at(StepUnwrap))
}

// A profile is data, and may be wrong. Whatever the order of its steps, and
// whichever is missing: nothing panics, and neither a forged signature nor
// another payload than the signed one is ever accepted. What was signed well is
// accepted exactly by the profiles that check signatures and payload.
func TestProfileVariations(t *testing.T) {
	each(t, func(t *testing.T, chip Chip, template string) {
		good := newParcel(t, chip, template, testImage(t, 1000))
		good.layout.SeverInstall = true
		envelope := good.envelope(t)

		// The same manifest in which the signature is one of a stranger, the
		// signer's over other bytes, or there is none of a trusted key.
		stranger := *good
		stranger.signers = []sign.Signer{newSigner(t, "stranger")}
		other := *good
		other.manifest.Sequence++
		crossed := elements(t, envelope)
		crossed[envelopeAuth] = elements(t, other.envelope(t))[envelopeAuth]
		forged := map[string][]byte{
			"signed by a stranger":   stranger.envelope(t),
			"signature of another":   assemble(t, crossed),
			"signature with a flip":  flipSignature(t, good, envelope),
			"no envelope":            []byte("otapack"),
			"empty":                  nil,
			"envelope with one flip": flip(envelope, 8*(len(envelope)-1)),
		}

		check := func(t *testing.T, steps []Step, noKey bool) {
			p := *good
			p.device.Chip.Steps = steps
			p.options.WithoutDecryption = noKey
			for what, e := range forged {
				if v, trace, err := p.verify(t, e); v != nil || err == nil {
					t.Errorf("%s: accepted after %s", what, text(trace))
				}
			}
			// Without the size step, that there is no install sequence is found
			// late, but found where the sequence is needed.
			if v, trace, err := p.verify(t, sever(t, envelope)); template == "T3" && (v != nil || err == nil) {
				t.Errorf("severed: accepted after %s", text(trace))
			}
			for what, payload := range map[string][]byte{
				"flipped": flip(good.payload, 4000), "short": good.payload[1:], "long": append(slices.Clone(good.payload), 0), "none": nil,
			} {
				bad := p
				bad.payload = payload
				if v, trace, err := bad.verify(t, envelope); v != nil || err == nil {
					t.Errorf("%s payload: accepted after %s", what, text(trace))
				}
			}

			v, trace, err := p.verify(t, envelope)
			want := sound(steps, template == "T3", noKey)
			if (v != nil) != want || (err == nil) != want {
				t.Errorf("good parcel: got %v, %v, want accepted %t after %s", v, err, want, text(trace))
			}
			if v != nil && v.Complete() == (template == "T3" && noKey) {
				t.Errorf("good parcel: complete is %t after %s", v.Complete(), text(trace))
			}
		}
		all := variations(chip.Steps)
		all["as it is"] = chip.Steps
		all["no steps"] = nil
		all["signature twice"] = append([]Step{StepEnvelope, StepSignature}, chip.Steps...)
		all["all twice"] = append(slices.Clone(chip.Steps), chip.Steps...)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for _, noKey := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%t", name, noKey), func(t *testing.T) { check(t, all[name], noKey) })
			}
		}
	})
}

// Without one of the checks of the device's state, the others still hold.
func TestProfileWithoutCheck(t *testing.T) {
	each(t, func(t *testing.T, chip Chip, template string) {
		for _, missing := range []Step{StepVendor, StepClass, StepSlot, StepSequence, StepSize} {
			p := newParcel(t, without(chip, missing), template, testImage(t, 1000))
			for step, spoil := range map[Step]func(d *Device){
				StepVendor:   func(d *Device) { d.Chip = without(d.Chip, StepClass); d.Vendor = "other.example" },
				StepClass:    func(d *Device) { d.Revision = "z" },
				StepSequence: func(d *Device) { d.MinSequence++ },
				StepSize:     func(d *Device) { d.Chip.Banks = []Region{{d.Chip.Banks[0].Base, 999}, {0, 999}} },
			} {
				bad := *p
				spoil(&bad.device)
				_, trace, err := bad.verify(t, p.envelope(t))
				if (err == nil) != (missing == step) {
					t.Errorf("without %s, fault for %s: %v, %s", missing, step, err, text(trace))
				}
			}
		}
	})
}

// flip returns a copy with one bit changed.
func flip(data []byte, bit int) []byte {
	data = slices.Clone(data)
	data[bit/8] ^= 0x80 >> (bit % 8)
	return data
}

// flipSignature changes the last bit of s.
func flipSignature(t testing.TB, p *parcel, envelope []byte) []byte {
	t.Helper()
	e, err := manifest.Parse(envelope)
	if err != nil || len(e.Blocks) != 1 {
		t.Fatalf("%d blocks, %v", len(e.Blocks), err)
	}
	raw := e.Blocks[0].Signature.Encode(sign.Raw)
	m := elements(t, envelope)
	auth := string(m[envelopeAuth])
	at := len(auth) - 1
	if auth[at] != raw[63] {
		t.Fatal("the wrapper does not end in the signature")
	}
	m[envelopeAuth] = flip(m[envelopeAuth], 8*at+7)
	return assemble(t, m)
}
