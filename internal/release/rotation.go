package release

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Phase says how far the rotation of a key has come.
type Phase string

// The phases, in their order.
const (
	PhasePlanned    Phase = "planned"    // the new key is not in otapack.yaml, or was not made
	PhasePrepared   Phase = "prepared"   // the new key is there, the old one does the work
	PhaseTransition Phase = "transition" // devices can meet either
	PhaseRetired    Phase = "retired"    // only the new key is left
)

var phases = []Phase{PhasePlanned, PhasePrepared, PhaseTransition, PhaseRetired}

// Rotation is the plan to replace one signing key by another without losing
// devices.
type Rotation struct {
	Old      string         `json:"old"` // alias
	New      string         `json:"new"` // alias
	Phase    Phase          `json:"phase"`
	Last     string         `json:"last_release,omitempty"` // id of the release that was looked at
	Rules    []RotationRule `json:"rules"`
	Warnings []string       `json:"warnings"`

	// Findings say why the next step is impossible, or would leave devices
	// without a release that they accept.
	Findings []Finding `json:"findings"`
}

// RotationRule is the plan for one place in otapack.yaml.
type RotationRule struct {
	Path       string   `json:"path"` // "signing.manifest"
	Line       int      `json:"line"` // in otapack.yaml
	Phase      Phase    `json:"phase"`
	Components []string `json:"components"` // whose manifests the rule is for
	Now        string   `json:"now,omitempty"`
	Next       string   `json:"next,omitempty"` // what to write instead, "" for nothing
	Step       string   `json:"step"`           // what to do
}

// rotation works out a plan.
type rotation struct {
	Rotation
	project  *Project
	old, new sign.PublicKey
	last     *Record // nil: there is no release
}

// Rotation plans how to replace the key old by the key new, two aliases. It
// reads the last release's record to learn which keys signed what devices have.
// The record is not signed itself.
//
// For manifests the order is: sign with both keys (devices that know only the
// old one accept such a release, and what it installs brings the new key), then
// sign with the new one alone. A release record has one signature, so there
// whoever verifies records has to trust the new key before it signs.
func (p *Project) Rotation(old, new string) (*Rotation, error) {
	r := rotation{
		Rotation: Rotation{Old: old, New: new, Phase: PhaseRetired, Rules: []RotationRule{}, Warnings: []string{}, Findings: []Finding{}},
		project:  p, old: p.keys[old], new: p.keys[new],
	}
	last := p.cfg.Output.LastRelease
	var err error
	if r.last, err = readRecord(p.cfg.Resolve(last)); err != nil {
		return nil, err
	}
	if r.last != nil {
		if r.last.Product != p.cfg.Product.Name {
			return nil, &InputError{last, fmt.Errorf("is of product %s", r.last.Product)}
		}
		r.Last = r.last.ReleaseID
	}
	k, ok := p.cfg.Key(new)
	switch {
	case !ok:
		return nil, errors.New("release: rotation to a key that the project does not have")
	case k.Token == "":
		return nil, p.cfg.Errorf("keys."+new, "names no token: it cannot sign")
	}
	if where := publishedIn(r.new.ID()); where != "" {
		r.find(verdict.TestKey, "key "+new, "its private half is published in %s", where)
	}
	if r.new.Equal(r.old) {
		r.find(verdict.RotationSameKey, "key "+new, "it is the same key as %s", old)
	}
	r.severalRule("signing.manifest", p.cfg.Signing.Manifest, manifestOf, func(c component) bool { return !p.cfg.Has("components." + c.Name + ".signing") })
	for _, own := range p.components {
		only := func(c component) bool { return c.Name == own.Name }
		if path := "components." + own.Name + ".signing"; p.cfg.Has(path) {
			r.severalRule(path, own.Signing, manifestOf, only)
		}
		switch path := "components." + own.Name + "." + own.Format + ".signing"; {
		case own.MCUboot != nil:
			r.severalRule(path, own.MCUboot.Signing, imageOf, only)
		case own.NRFDFU != nil:
			r.bootloaderRule(path, own.NRFDFU.Signing, own.Name)
		}
	}
	r.releaseRule("signing.release", p.cfg.Signing.Release)
	if len(r.Rules) == 0 {
		return nil, p.cfg.Errorf("signing", "no rule names %s or %s", old, new)
	}
	for _, rule := range r.Rules {
		if slices.Index(phases, rule.Phase) < slices.Index(phases, r.Phase) {
			r.Phase = rule.Phase
		}
	}
	return &r.Rotation, nil
}

func (r *rotation) find(reason verdict.Reason, object, detail string, args ...any) {
	r.Findings = append(r.Findings, Finding{reason, object, fmt.Sprintf(detail, args...)})
}

func (r *rotation) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// state is where a rule names the two keys.
type state struct{ oldSigns, newSigns, oldTrusted, newTrusted bool }

func (r *rotation) state(rule config.Rule) state {
	return state{
		slices.Contains(rule.Sign, r.Old), slices.Contains(rule.Sign, r.New),
		slices.Contains(rule.Trust, r.Old), slices.Contains(rule.Trust, r.New),
	}
}

// severalRule plans for files that several keys can sign: manifests, and MCUboot
// images. A signature is recognised by what made says of a component.
func (r *rotation) severalRule(path string, rule config.Rule, made signatureOf, applies func(component) bool) {
	s := r.state(rule)
	if s == (state{}) {
		return
	}
	plan := RotationRule{Path: path, Line: r.line(path), Components: []string{}, Now: ruleYAML(path, rule)}
	var components []component
	for _, c := range r.project.components {
		if applies(c) {
			components = append(components, c)
			plan.Components = append(plan.Components, c.Name)
		}
	}
	both, without := rule, rule
	both.Sign, both.Trust = with(rule.Sign, r.New), with(with(rule.Trust, r.Old), r.New)
	without.Sign, without.Trust = drop(rule.Sign, r.Old), drop(rule.Trust, r.Old)
	if !s.oldSigns && !s.newSigns { // devices trust the old key, but others sign
		both.Sign, without.Sign = rule.Sign, rule.Sign
	}
	switch {
	case s.newSigns && !s.oldSigns:
		plan.Phase = PhaseTransition
		if !s.oldTrusted {
			plan.Phase = PhaseRetired
		}
		stranded := r.stranded(path, components, made)
		switch {
		case stranded:
			back := both
			back.Sign, back.Trust = with([]string{r.Old}, rule.Sign...), with([]string{r.Old}, rule.Trust...)
			plan.Next, plan.Step = ruleYAML(path, back), "sign with both keys again"
		case s.oldTrusted:
			plan.Next = ruleYAML(path, without)
			plan.Step = fmt.Sprintf("write this when no device is to take a release any more that only %s has signed", r.Old)
		default:
			plan.Step = "nothing"
		}
	case s.oldTrusted && s.newTrusted && s.oldSigns == s.newSigns:
		plan.Phase = PhaseTransition
		signed := r.signedByBoth(components, made)
		switch {
		case s.oldSigns && !signed:
			plan.Step = "make a release: both keys will sign it"
		case s.oldSigns:
			plan.Next = ruleYAML(path, without)
			plan.Step = fmt.Sprintf("%s was signed by both keys: write this when the devices have taken it", r.Last)
		default:
			plan.Next = ruleYAML(path, without)
			plan.Step = fmt.Sprintf("write this when the devices trust %s", r.New)
		}
		if s.oldSigns && signed && len(without.Sign) < rule.Threshold {
			r.find(verdict.RotationThreshold, path, "%d keys have to sign and %d would be left", rule.Threshold, len(without.Sign))
		}
	default:
		plan.Phase = PhasePrepared
		plan.Next = ruleYAML(path, both)
		plan.Step = "write this and make a release: both keys will sign it"
		if !s.oldSigns {
			plan.Step = fmt.Sprintf("write this, and have the devices trust %s", r.New)
		}
		r.checkFit(path, both, components)
	}
	if plan.Phase == PhasePrepared || plan.Phase == PhaseTransition && s.oldSigns {
		r.warn("%s: a signature teaches a device no key: what the release with both signatures installs has to bring %s into a key slot of the bootloader", path, r.New)
		r.warn("%s: devices that never take that release know only %s: keep it available, and offer it before any later one", path, r.Old)
		if rule.Threshold > 1 {
			r.warn("%s: on devices that trust both, %s and %s count as two of the %d signatures: one person who can use both is two", path, r.Old, r.New, rule.Threshold)
		}
	}
	r.Rules = append(r.Rules, plan)
}

// checkFit looks for what rules out that a rule names both keys.
func (r *rotation) checkFit(path string, both config.Rule, components []component) {
	if n := len(both.Sign); n > config.MaxSigners {
		r.find(verdict.RotationSigners, path, "%d keys would sign, at most %d can", n, config.MaxSigners)
	}
	for _, c := range components {
		if c.MCUboot != nil && strings.HasPrefix(path, "components."+c.Name+"."+c.Format) {
			if t := c.device.(*mcubootFormat).options.Target; !mcuboot.NewKey(r.new).Verifies(t.Signature) {
				r.find(verdict.RotationAlgorithm, path, "the bootloader of %s verifies %s, key %s is for %s", c.Name, t.Signature, r.New, r.new.Algorithm())
			}
			continue
		}
		switch n := len(both.Trust); {
		case r.new.Algorithm() != c.chip.Algorithm:
			r.find(verdict.RotationAlgorithm, path, "the bootloader of %s (%s) verifies %s, key %s is for %s", c.Name, c.chip.Name, c.chip.Algorithm, r.New, r.new.Algorithm())
		case n > c.chip.KeySlots:
			r.find(verdict.RotationKeySlots, path, "the bootloader of %s (%s) holds %d keys, %d would be trusted", c.Name, c.chip.Name, c.chip.KeySlots, n)
		case n == c.chip.KeySlots:
			r.warn("%s: until %s is retired, all %d key slots of %s (%s) are in use: no other key can be added", path, r.Old, n, c.Name, c.chip.Name)
		}
	}
}

// stranded finds devices whose last release only the old key has signed, while
// the next one will not be signed by it.
func (r *rotation) stranded(path string, components []component, made signatureOf) bool {
	found := false
	for _, c := range components {
		if old, new := r.signedBy(made(c.Name)); old && !new {
			r.find(verdict.RotationStrands, path, "the last release of %s, %s, was signed by %s only: devices that have it know no other key and refuse the next release", c.Name, r.Last, r.Old)
			found = true
		}
	}
	return found
}

// signedByBoth reports whether the last release has all components with both
// signatures.
func (r *rotation) signedByBoth(components []component, made signatureOf) bool {
	return !slices.ContainsFunc(components, func(c component) bool {
		old, new := r.signedBy(made(c.Name))
		return !old || !new
	})
}

// signedBy tells which of the two keys made signatures of a kind in the last
// release.
func (r *rotation) signedBy(match func(SignatureRecord) bool) (old, new bool) {
	if r.last == nil {
		return false, false
	}
	for _, s := range r.last.Signatures {
		if match(s) {
			old = old || s.KeyID == r.old.ID().String()
			new = new || s.KeyID == r.new.ID().String()
		}
	}
	return old, new
}

// signatureOf returns what recognises the signatures of a component's file.
type signatureOf func(component string) func(SignatureRecord) bool

func manifestOf(component string) func(SignatureRecord) bool {
	return func(s SignatureRecord) bool {
		return s.Role == sign.RoleManifest && s.Artifact == manifestArtifact(component)
	}
}

func imageOf(component string) func(SignatureRecord) bool {
	return func(s SignatureRecord) bool {
		return s.Role == sign.RoleImage && strings.HasPrefix(s.Artifact, component+" ")
	}
}

// bootloaderRule plans for a bootloader that holds one key: another key comes
// with another bootloader, in a package that the old key signs.
func (r *rotation) bootloaderRule(path string, rule config.Rule, name string) {
	s := r.state(rule)
	if s == (state{}) {
		return
	}
	plan := RotationRule{Path: path, Line: r.line(path), Components: []string{name}, Now: ruleYAML(path, rule), Phase: PhaseRetired, Step: "nothing"}
	if s.oldSigns || s.oldTrusted {
		changed := config.Rule{Sign: []string{r.New}, Trust: []string{r.New}, Threshold: 1}
		plan.Phase, plan.Next = PhasePrepared, ruleYAML(path, changed)
		plan.Step = fmt.Sprintf("release a bootloader with %s compiled in, signed by %s (nrfdfu.bootloader); write this when the devices have installed it", r.New, r.Old)
		r.warn("%s: this bootloader holds one key: devices that miss the release with the new bootloader know only %s: keep it available", path, r.Old)
		if r.new.Algorithm() != sign.ESP256 {
			r.find(verdict.RotationAlgorithm, path, "the bootloader of %s verifies %s, key %s is for %s", name, sign.ESP256, r.New, r.new.Algorithm())
		}
	} else if old, new := r.signedBy(imageOf(name)); old && !new {
		r.warn("%s: the last release, %s, was signed by %s: the next one is for devices whose bootloader knows %s", path, r.Last, r.Old, r.New)
	}
	r.Rules = append(r.Rules, plan)
}

func ofRecord(s SignatureRecord) bool { return s.Role == sign.RoleRelease }

func (r *rotation) releaseRule(path string, rule config.Rule) {
	s := r.state(rule)
	if s == (state{}) {
		return
	}
	plan := RotationRule{Path: path, Line: r.line(path), Components: []string{}, Now: ruleYAML(path, rule)}
	trusted, changed, without := rule, rule, rule
	trusted.Trust = with(with(rule.Trust, r.Old), r.New)
	changed.Trust, changed.Sign = trusted.Trust, slices.Clone(rule.Sign)
	if i := slices.Index(changed.Sign, r.Old); i >= 0 {
		changed.Sign[i] = r.New
	}
	without.Trust = drop(rule.Trust, r.Old)
	old, _ := r.signedBy(ofRecord)
	switch {
	case !s.newTrusted:
		plan.Phase, plan.Next = PhasePrepared, ruleYAML(path, trusted)
		plan.Step = "write this, and have everything that verifies release records trust both: gateways, apps, the MCU that coordinates an update"
	case s.oldSigns:
		plan.Phase, plan.Next = PhaseTransition, ruleYAML(path, changed)
		plan.Step = fmt.Sprintf("write this when everything that verifies release records trusts %s", r.New)
	case s.oldTrusted && s.newSigns && old:
		plan.Phase, plan.Step = PhaseTransition, fmt.Sprintf("make a release: %s will sign its record", r.New)
	case s.oldTrusted:
		plan.Phase, plan.Next = PhaseTransition, ruleYAML(path, without)
		plan.Step = fmt.Sprintf("write this when nobody is to verify a release any more whose record %s has signed", r.Old)
	case old:
		plan.Phase, plan.Next, plan.Step = PhaseRetired, ruleYAML(path, trusted), "trust both keys until a release was made"
		r.find(verdict.RotationStrands, path, "the record of the last release, %s, was signed by %s, which is not trusted any more: verifiers that know only %s refuse the next one", r.Last, r.Old, r.Old)
	default:
		plan.Phase, plan.Step = PhaseRetired, "nothing"
	}
	if plan.Phase == PhasePrepared || s.oldSigns {
		r.warn("%s: a release record has one signature, so it cannot carry both: nothing in otapack.yaml shows whether its verifiers know %s", path, r.New)
	}
	r.Rules = append(r.Rules, plan)
}

func (r *rotation) line(path string) int { return r.project.cfg.Errorf(path, "").Line }

// ruleYAML writes a rule as it can stand in otapack.yaml, under the last word of
// its path.
func ruleYAML(path string, rule config.Rule) string {
	list := func(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
	var b strings.Builder
	fmt.Fprintf(&b, "%s: {sign: %s", path[strings.LastIndexByte(path, '.')+1:], list(rule.Sign))
	if !slices.Equal(rule.Sign, rule.Trust) {
		fmt.Fprintf(&b, ", trust: %s", list(rule.Trust))
	}
	if rule.Threshold > 1 {
		fmt.Fprintf(&b, ", threshold: %d", rule.Threshold)
	}
	return b.String() + "}"
}

// with returns the list with names that are not in it yet appended.
func with(list []string, names ...string) []string {
	list = slices.Clone(list)
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func drop(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}
