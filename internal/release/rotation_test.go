package release

import (
	"crypto/elliptic"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign/verdict"
)

// rotationKeys adds aliases for the other keys of the workshop.
const rotationKeys = `  fw-b: {token: t, uri: "pkcs11:object=fw-b", public: keys/fw-b.pem}
  fw-c: {token: t, uri: "pkcs11:object=fw-c", public: keys/fw-c.pem}
  fw-d: {token: t, uri: "pkcs11:object=fw-d", public: keys/fw-d.pem}
  fw-e: {token: t, uri: "pkcs11:object=fw-e", public: keys/fw-e.pem}
  p384: {token: t, uri: "pkcs11:object=p384", public: keys/p384.pem}
  copy: {token: t, uri: "pkcs11:object=copy", public: keys/fw.pem}
  guest: {public: keys/fw-e.pem}
signing:
`

func rotationWorkshop(t *testing.T, edits ...string) *workshop {
	t.Helper()
	w := newWorkshop(t, "signing:\n", rotationKeys)
	for _, name := range []string{"fw-d", "fw-e"} {
		w.addSigner(t, name, ecdsaKey(t, elliptic.P256(), name))
	}
	w.addSigner(t, "p384", ecdsaKey(t, elliptic.P384(), "p384"))
	w.edit(t, edits...)
	return w
}

func (w *workshop) rotation(t *testing.T, old, new string) *Rotation {
	t.Helper()
	r, err := w.open(t).Rotation(old, new)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantRule compares the plan for a rule.
func wantRule(t *testing.T, r *Rotation, path string, phase Phase, next, step string) {
	t.Helper()
	i := slices.IndexFunc(r.Rules, func(rule RotationRule) bool { return rule.Path == path })
	if i < 0 {
		t.Fatalf("no rule %s in %+v", path, r.Rules)
	}
	rule := r.Rules[i]
	if rule.Phase != phase || rule.Next != next || !strings.Contains(rule.Step, step) || rule.Line == 0 {
		t.Errorf("%s:\ngot  %s, line %d, next %q, step %q\nwant %s, next %q, step %q", path, rule.Phase, rule.Line, rule.Next, rule.Step, phase, next, step)
	}
}

func wantFindings(t *testing.T, r *Rotation, want ...verdict.Reason) {
	t.Helper()
	var got []verdict.Reason
	for _, f := range r.Findings {
		got = append(got, f.Reason)
	}
	if !slices.Equal(got, want) {
		t.Errorf("findings %v, want %v", r.Findings, want)
	}
}

// The rotation of a manifest key from its first to its last step, each taken as
// the plan says.
func TestRotationOfManifestKey(t *testing.T) {
	const rule = "signing.manifest"
	w := rotationWorkshop(t)
	w.release(t, "1.0.0")
	follow := func(phase Phase, now, next, step string) {
		t.Helper()
		r := w.rotation(t, "fw", "fw-b")
		wantFindings(t, r)
		wantRule(t, r, rule, phase, next, step)
		if r.Phase != phase || !slices.Equal(r.Rules[0].Components, []string{"radio", "motor"}) || r.Rules[0].Now != now {
			t.Errorf("%+v", r)
		}
		if next != "" {
			w.edit(t, now, next)
		}
	}
	const old, both, trusting, retired = "manifest: {sign: [fw]}", "manifest: {sign: [fw, fw-b]}", "manifest: {sign: [fw-b], trust: [fw, fw-b]}", "manifest: {sign: [fw-b]}"
	follow(PhasePrepared, old, both, "both keys will sign it")
	follow(PhaseTransition, both, "", "make a release")
	w.edit(t, "install-order", "allowed-versions: [{radio: 1.0.0, motor: 1.1.0}]\ninstall-order")
	record, _ := w.release(t, "1.1.0")
	if len(record.Signatures) != 5 {
		t.Errorf("%d signatures", len(record.Signatures))
	}
	follow(PhaseTransition, both, retired, "1.1.0+2 was signed by both keys: write this when the devices have taken it")
	follow(PhaseRetired, retired, "", "nothing")
	// Devices can go on trusting the old key for a while.
	w.edit(t, retired, trusting)
	follow(PhaseTransition, trusting, retired, "only fw has signed")
	w.edit(t, "{radio: 1.0.0, motor: 1.1.0}", "{radio: 1.1.0, motor: 1.2.0}")
	w.release(t, "1.2.0")
	follow(PhaseRetired, retired, "", "nothing")
}

// The old key is taken out before a release was signed by both.
func TestRotationStrandsDevices(t *testing.T) {
	for _, now := range []string{"manifest: {sign: [fw-b]}", "manifest: {sign: [fw-b], trust: [fw, fw-b]}"} {
		w := rotationWorkshop(t)
		w.release(t, "1.0.0")
		w.edit(t, "manifest: {sign: [fw]}", now)
		r := w.rotation(t, "fw", "fw-b")
		wantFindings(t, r, verdict.RotationStrands, verdict.RotationStrands) // radio and motor
		next := r.Rules[0].Next
		if next != "manifest: {sign: [fw, fw-b]}" || r.Rules[0].Step != "sign with both keys again" {
			t.Errorf("%+v", r.Rules[0])
		}
		if !strings.Contains(r.Findings[0].Detail, "the last release of radio, 1.0.0+1, was signed by fw only") {
			t.Errorf("%s", r.Findings[0])
		}
		w.edit(t, now, next)
		wantFindings(t, w.rotation(t, "fw", "fw-b"))
	}
	// Without a release there are no devices.
	w := rotationWorkshop(t, "manifest: {sign: [fw]}", "manifest: {sign: [fw-b]}")
	wantFindings(t, w.rotation(t, "fw", "fw-b"))
}

// A release record has one signature: the verifiers learn the new key first.
func TestRotationOfReleaseKey(t *testing.T) {
	const rule = "signing.release"
	w := rotationWorkshop(t)
	w.release(t, "1.0.0")
	follow := func(phase Phase, now, next, step string) {
		t.Helper()
		r := w.rotation(t, "release", "fw-b")
		wantFindings(t, r)
		wantRule(t, r, rule, phase, next, step)
		if next != "" {
			w.edit(t, now, next)
		}
	}
	const old, trusting, changed, retired = "release: {sign: [release]}", "release: {sign: [release], trust: [release, fw-b]}", "release: {sign: [fw-b], trust: [release, fw-b]}", "release: {sign: [fw-b]}"
	follow(PhasePrepared, old, trusting, "have everything that verifies release records trust both")
	follow(PhaseTransition, trusting, changed, "trusts fw-b")
	follow(PhaseTransition, changed, "", "fw-b will sign its record")
	w.edit(t, "install-order", "allowed-versions: [{radio: 1.0.0, motor: 1.1.0}]\ninstall-order")
	w.release(t, "1.1.0")
	follow(PhaseTransition, changed, retired, "nobody is to verify a release any more")
	follow(PhaseRetired, retired, "", "nothing")

	w = rotationWorkshop(t)
	w.release(t, "1.0.0")
	w.edit(t, old, retired)
	r := w.rotation(t, "release", "fw-b")
	wantFindings(t, r, verdict.RotationStrands)
	wantRule(t, r, rule, PhaseRetired, "release: {sign: [fw-b], trust: [fw-b, release]}", "until a release was made")
}

// A component with a rule of its own has a line of its own; the plan is as far as
// its slowest rule.
func TestRotationOfComponentRules(t *testing.T) {
	w := rotationWorkshop(t, "    chip: stm32l4\n", "    chip: stm32l4\n    signing: {sign: [fw, fw-c], threshold: 2}\n", "manifest: {sign: [fw]}", "manifest: {sign: [fw, fw-b], trust: [fw, fw-b]}")
	r := w.rotation(t, "fw", "fw-b")
	wantFindings(t, r)
	wantRule(t, r, "signing.manifest", PhaseTransition, "", "make a release")
	wantRule(t, r, "components.motor.signing", PhasePrepared, "signing: {sign: [fw, fw-c, fw-b], threshold: 2}", "make a release")
	if r.Phase != PhasePrepared || !slices.Equal(r.Rules[0].Components, []string{"radio"}) || !slices.Equal(r.Rules[1].Components, []string{"motor"}) {
		t.Errorf("%+v", r)
	}
	mustContain(t, strings.Join(r.Warnings, "\n"),
		"components.motor.signing: on devices that trust both, fw and fw-b count as two of the 2 signatures",
		"signing.manifest: devices that never take that release know only fw",
		"signing.manifest: a signature teaches a device no key")
	// One that repeats the common rule has a line of its own all the same.
	w = rotationWorkshop(t, "    chip: stm32l4\n", "    chip: stm32l4\n    signing: {sign: [fw]}\n")
	if r := w.rotation(t, "fw", "fw-b"); len(r.Rules) != 2 || r.Rules[1].Path != "components.motor.signing" {
		t.Errorf("%+v", r.Rules)
	}
}

func TestRotationImpossible(t *testing.T) {
	const manifest = "manifest: {sign: [fw]}"
	for name, test := range map[string]struct {
		old, new string
		edits    []string
		want     []verdict.Reason
	}{
		"the same key":      {"fw", "copy", nil, []verdict.Reason{verdict.RotationSameKey}},
		"another curve":     {"fw", "p384", nil, []verdict.Reason{verdict.RotationAlgorithm, verdict.RotationAlgorithm}},
		"five keys":         {"fw", "fw-e", []string{manifest, "manifest: {sign: [fw], trust: [fw, fw-b, fw-c, fw-d]}"}, []verdict.Reason{verdict.RotationKeySlots, verdict.RotationKeySlots}},
		"four signers":      {"fw", "fw-d", []string{manifest, "manifest: {sign: [fw, fw-b, fw-c]}"}, []verdict.Reason{verdict.RotationSigners}},
		"two signers of 2":  {"fw", "fw-b", []string{manifest, "manifest: {sign: [fw, fw-b], threshold: 2}"}, nil}, // until there is a release
		"trusted, not used": {"fw-c", "fw-b", []string{manifest, "manifest: {sign: [fw], trust: [fw, fw-c]}"}, nil},
	} {
		r := rotationWorkshop(t, test.edits...).rotation(t, test.old, test.new)
		var got []verdict.Reason
		for _, f := range r.Findings {
			got = append(got, f.Reason)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, r.Findings, test.want)
		}
	}
	w := rotationWorkshop(t, manifest, "manifest: {sign: [fw, fw-b], threshold: 2}")
	w.release(t, "1.0.0")
	wantFindings(t, w.rotation(t, "fw", "fw-b"), verdict.RotationThreshold)
}

// A key that devices trust and that signs nothing.
func TestRotationOfSpareKey(t *testing.T) {
	w := rotationWorkshop(t, "manifest: {sign: [fw]}", "manifest: {sign: [fw], trust: [fw, fw-c]}")
	wantRule(t, w.rotation(t, "fw-c", "fw-b"), "signing.manifest", PhasePrepared, "manifest: {sign: [fw], trust: [fw, fw-c, fw-b]}", "have the devices trust fw-b")
	w.edit(t, "trust: [fw, fw-c]", "trust: [fw, fw-c, fw-b]")
	wantRule(t, w.rotation(t, "fw-c", "fw-b"), "signing.manifest", PhaseTransition, "manifest: {sign: [fw], trust: [fw, fw-b]}", "when the devices trust fw-b")
}

func TestRotationWarnsOfTheLastSlot(t *testing.T) {
	w := rotationWorkshop(t, "manifest: {sign: [fw]}", "manifest: {sign: [fw], trust: [fw, fw-c, fw-d]}")
	r := w.rotation(t, "fw", "fw-b")
	wantFindings(t, r)
	mustContain(t, strings.Join(r.Warnings, "\n"), "until fw is retired, all 4 key slots of radio (nrf52840) are in use")
}

func TestRotationErrors(t *testing.T) {
	w := rotationWorkshop(t)
	p := w.open(t)
	_, err := p.Rotation("fw-b", "fw-c")
	wantConfig(t, err, "signing", "no rule names fw-b or fw-c")
	_, err = p.Rotation("fw", "guest")
	wantConfig(t, err, "keys.guest", "names no token: it cannot sign")
	if _, err := p.Rotation("fw", "nobody"); err == nil {
		t.Error("a key that is not there")
	}
	w.write(t, "release.json", []byte("{}"))
	_, err = p.Rotation("fw", "fw-b")
	wantInput(t, err, w.path("release.json"), `schema ""`)
	w.write(t, "release.json", []byte(`{"schema": "otapack.release/1", "product": "other"}`))
	_, err = p.Rotation("fw", "fw-b")
	wantInput(t, err, "release.json", "is of product other")
}
