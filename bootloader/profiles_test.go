package bootloader

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A profile is data that nothing checks at run time.
func TestProfiles(t *testing.T) {
	profiles := Profiles()
	if !slices.IsSortedFunc(profiles, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in alphabetical order")
	}
	compares := []Compare{CompareNone, CompareEarly, CompareConstantTime, CompareDoubled, CompareUnknown}
	responses := []Response{Refuse, Erase, EraseKeepHeader, BootOld, Stay, Halt, UnknownResponse}
	for i, p := range profiles {
		if p.Name == "" || p.Title == "" || slices.ContainsFunc(profiles[:i], func(o Profile) bool { return o.Name == p.Name }) {
			t.Errorf("profile %d has name %q and title %q", i, p.Name, p.Title)
		}
		if p.Verifier == "" {
			t.Errorf("%s has no verifier", p.Name)
		}
		for what, s := range map[string]string{
			"project": p.Source.Project, "version": p.Source.Version, "rollback of": p.Rollback.Of, "rule": p.Rollback.Rule, "raised": p.Rollback.Raised,
			"every boot": p.EveryBoot, "hardening": p.Hardening, "revert": p.Trial.Revert,
		} {
			if s == "" {
				t.Errorf("%s: %s is empty", p.Name, what)
			}
		}
		if len(p.Source.Files) == 0 || len(p.Writes) == 0 || len(p.Steps) < 5 {
			t.Errorf("%s: %d source files, %d writes, %d steps", p.Name, len(p.Source.Files), len(p.Writes), len(p.Steps))
		}
		if (p.Trial.Attempts > 0) != (p.Trial.Marker != "") {
			t.Errorf("%s: %d attempts, marked by %q", p.Name, p.Trial.Attempts, p.Trial.Marker)
		}
		if (p.Geometry.Page > 0) != (p.Geometry.WriteOnce != nil) {
			t.Errorf("%s: geometry is %+v", p.Name, p.Geometry)
		}
		if p.Geometry.Page%max(p.Geometry.WriteUnit, 1) != 0 {
			t.Errorf("%s: pages of %d bytes in units of %d", p.Name, p.Geometry.Page, p.Geometry.WriteUnit)
		}
		for j, s := range p.Steps {
			if s.ID == "" || s.Input == "" || !slices.Contains(compares, s.Compare) || !slices.Contains(responses, s.OnFail) {
				t.Errorf("%s: step %d is %+v", p.Name, j, s)
			}
			if slices.ContainsFunc(p.Steps[:j], func(o ProfileStep) bool { return o.ID == s.ID }) {
				t.Errorf("%s: step %s twice", p.Name, s.ID)
			}
			if s.ID != "bootable" && len(s.Reasons) == 0 {
				t.Errorf("%s: step %s has %d reasons", p.Name, s.ID, len(s.Reasons))
			}
			sorted := slices.Clone(s.Reasons)
			slices.Sort(sorted)
			if len(slices.Compact(sorted)) != len(s.Reasons) {
				t.Errorf("%s: step %s lists a reason twice", p.Name, s.ID)
			}
		}
		got, err := ProfileByName(p.Name)
		if err != nil || got.Title != p.Title {
			t.Errorf("%s: got %q, %v", p.Name, got.Title, err)
		}
	}
	if _, err := ProfileByName("grub"); !errors.Is(err, ErrUnknownProfile) || !strings.Contains(err.Error(), "known: mcuboot-overwrite, mcuboot-swap, nrf5-sdk, nrf52840, sbsfu, stm32l4, wolfboot") {
		t.Errorf("got %v", err)
	}
}

// What is secret is compared in constant time by our own verifiers. That of
// MCUboot is the one known exception, and is the loader's.
func TestLeaks(t *testing.T) {
	for _, p := range Profiles() {
		var got []Step
		for _, s := range p.Leaks() {
			got = append(got, s.ID)
		}
		var want []Step
		if strings.HasPrefix(p.Name, "mcuboot-") {
			want = []Step{"hash"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: secrets are compared early in %q, want %q", p.Name, got, want)
		}
	}
}
