package bootloader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// ErrUnknownProfile is wrapped by ProfileByName.
var ErrUnknownProfile = errors.New("unknown bootloader profile")

// Compare is how a step compares bytes.
type Compare string

// Ways to compare. They are about the code that was read, not about cycles on a
// chip.
const (
	CompareNone         Compare = "none"          // no bytes: numbers, structure, or a signature equation
	CompareEarly        Compare = "early"         // ends at the first byte that differs
	CompareConstantTime Compare = "constant-time" // looks at all bytes, whatever they are
	CompareDoubled      Compare = "doubled"       // looks at all bytes, and a second time before the result counts
	CompareUnknown      Compare = "unknown"       // in a library or port that was not read
)

// Response is what a bootloader does when a step fails.
type Response string

// Responses.
const (
	Refuse          Response = "refuse"            // takes nothing; what runs goes on running
	Erase           Response = "erase"             // erases the slot with the update, boots what is installed
	EraseKeepHeader Response = "erase-keep-header" // erases the slot but for its header, which keeps the version floor
	BootOld         Response = "boot-old"          // leaves the update where it is, boots what is installed
	Stay            Response = "stay"              // stays in the bootloader and waits for another update
	Halt            Response = "halt"              // boots nothing
	UnknownResponse Response = "unknown"           // not known
)

// Profile is the contract of one bootloader as data: which checks it makes, in
// which order, and what it does about them. It says what the code does, where
// that was read; a field that is empty, 0 or "unknown" is not known. Equal order
// and equal verdicts say nothing about timing on a chip.
type Profile struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Source Source `json:"source"`
	// Verifier is the package that makes the same checks in the same order.
	Verifier string `json:"verifier"`

	Steps []ProfileStep `json:"steps"` // in order

	Rollback Rollback `json:"rollback"`
	Trial    Trial    `json:"trial"`
	Writes   []Write  `json:"writes"` // in order
	// EveryBoot says what is checked again at every start.
	EveryBoot string `json:"every_boot"`
	// Hardening says what is there against induced faults.
	Hardening string   `json:"hardening"`
	Geometry  Geometry `json:"flash"`
}

// Source says where the facts of a profile are from.
type Source struct {
	Project string   `json:"project"` // repository, or mirror of one
	Version string   `json:"version"` // commit or release that was read
	Files   []string `json:"files"`   // in the project
}

// ProfileStep is one check of a profile.
type ProfileStep struct {
	ID      Step     `json:"id"`
	Input   string   `json:"input"`
	Compare Compare  `json:"compare"`
	OnFail  Response `json:"on_fail"`
	// Reasons are the codes that the step can give.
	Reasons []verdict.Reason `json:"reasons,omitempty"`
	// Secret says of what is compared why it must not leak by its timing; "" where
	// an attacker can compute both sides.
	Secret string `json:"secret,omitempty"`
	// Optional steps are made in some builds only.
	Optional bool `json:"optional,omitempty"`
	// InFileOrder marks neighbours that follow the order of the file: any of them
	// may be the first to fail.
	InFileOrder bool `json:"in_file_order,omitempty"`
	// Ours marks a check that the verifier makes and the bootloader does not.
	Ours bool   `json:"ours,omitempty"`
	Note string `json:"note,omitempty"`
}

// Rollback is how older firmware is kept out.
type Rollback struct {
	Of     string `json:"of"`     // what is compared
	Rule   string `json:"rule"`   // what passes
	Raised string `json:"raised"` // when the floor moves
}

// Trial is how new firmware proves itself.
type Trial struct {
	Attempts int    `json:"attempts"` // starts without a confirmation before the way back; 0: there is no trial
	Marker   string `json:"marker,omitempty"`
	Revert   string `json:"revert,omitempty"`
}

// Write is one change of stored state.
type Write struct {
	When  string `json:"when"`
	State string `json:"state"`
}

// Geometry is the class of flash that a bootloader is made for. 0 and nil are not
// known, or the choice of the port.
type Geometry struct {
	Page      uint32 `json:"page,omitempty"`       // erase unit in bytes
	WriteUnit uint32 `json:"write_unit,omitempty"` // in bytes
	WriteOnce *bool  `json:"write_once,omitempty"` // a unit is programmed once between erases
	Note      string `json:"note,omitempty"`
}

// Profiles returns the profiles in alphabetical order.
func Profiles() []Profile {
	profiles := append(ownProfiles(), mcubootSwap(), mcubootOverwrite(), nrf5SDK(), sbsfuProfile(), wolfBootProfile())
	slices.SortFunc(profiles, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	return profiles
}

// ProfileByName returns a profile. The error lists the known names.
func ProfileByName(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("bootloader: profile %q (known: %s): %w", name, strings.Join(names, ", "), ErrUnknownProfile)
}

// Leaks returns the steps that compare something secret and may end early.
func (p Profile) Leaks() []ProfileStep {
	var found []ProfileStep
	for _, s := range p.Steps {
		if s.Secret != "" && s.Compare == CompareEarly {
			found = append(found, s)
		}
	}
	return found
}
