package bootloader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats/chunk"
)

// ErrContradiction is wrapped by Chip.Check.
var ErrContradiction = errors.New("the profile contradicts itself")

// Check holds a profile against itself, for those that a program has put together
// on its own: the ones of Chips pass. The error names the first contradiction. A
// rehearsal makes this check once banks and journal have their places.
func (c Chip) Check() error {
	for _, check := range []func(Chip) string{Chip.checkFlash, Chip.checkRegions, Chip.checkTrial, Chip.checkSteps} {
		if what := check(c); what != "" {
			return c.contradiction(what)
		}
	}
	return nil
}

func (c Chip) contradiction(what string) error {
	return fmt.Errorf("bootloader: profile %q: %s: %w", c.Name, what, ErrContradiction)
}

func (c Chip) checkFlash() string {
	switch {
	case c.Page == 0 || c.WriteUnit == 0 || c.Page%c.WriteUnit != 0:
		return fmt.Sprintf("pages of %d bytes are not made of write units of %d", c.Page, c.WriteUnit)
	case c.Flash.Size == 0 || c.Flash.End() > 1<<32 || !c.onPages(c.Flash):
		return fmt.Sprintf("flash %s is not made of pages of %d bytes", c.Flash, c.Page)
	case recordSize%c.WriteUnit != 0 || chunk.CursorSize%c.WriteUnit != 0:
		return fmt.Sprintf("a journal record of %d bytes and a cursor of %d are not made of write units of %d", recordSize, chunk.CursorSize, c.WriteUnit)
	}
	return ""
}

func (c Chip) onPages(r Region) bool { return r.Base%c.Page == 0 && r.Size%c.Page == 0 }

// checkRegions looks at the places of banks, journal and cursors.
func (c Chip) checkRegions() string {
	if len(c.Banks) == 0 || len(c.Banks) > 2 {
		return fmt.Sprintf("%d banks, want one, or two that take turns", len(c.Banks))
	}
	for i, b := range c.Banks {
		switch {
		case b.Size == 0 || !c.Flash.Contains(b) || !c.onPages(b):
			return fmt.Sprintf("bank %s is not made of pages of the flash %s", b, c.Flash)
		case b.Size != c.Banks[0].Size:
			return fmt.Sprintf("banks of %d and %d bytes take turns", c.Banks[0].Size, b.Size)
		case i > 0 && b.overlaps(c.Banks[0]):
			return fmt.Sprintf("bank %s overlaps bank %s", b, c.Banks[0])
		case b.overlaps(c.Journal):
			return fmt.Sprintf("the journal %s lies in bank %s", c.Journal, b)
		case b.overlaps(c.Cursor):
			return fmt.Sprintf("the cursors %s lie in bank %s", c.Cursor, b)
		}
	}
	switch {
	case !c.twoPages(c.Journal):
		return fmt.Sprintf("the journal %s is not two pages of the flash %s", c.Journal, c.Flash)
	case !c.twoPages(c.Cursor):
		return fmt.Sprintf("the cursors %s are not two pages of the flash %s", c.Cursor, c.Flash)
	case c.Cursor.overlaps(c.Journal):
		return fmt.Sprintf("the cursors %s lie in the journal %s", c.Cursor, c.Journal)
	}
	return ""
}

func (c Chip) twoPages(r Region) bool {
	return uint64(r.Size) == 2*uint64(c.Page) && c.Flash.Contains(r) && c.onPages(r)
}

func (c Chip) checkTrial() string {
	switch {
	case c.Attempts < 1 || c.Attempts > 255: // counted in a byte of the journal
		return fmt.Sprintf("new firmware has %d attempts, want 1 to 255", c.Attempts)
	case !c.Algorithm.Valid():
		return fmt.Sprintf("keys are for %s", c.Algorithm)
	case c.KeySlots < 1:
		return fmt.Sprintf("%d key slots", c.KeySlots)
	}
	return ""
}

// checkSteps demands what Verify needs to come to a verdict: nothing is read
// before its signature was checked, and the payload is looked at.
func (c Chip) checkSteps() string {
	before := map[Step]Step{ // what a step needs; all others need the manifest
		StepEnvelope: "", StepSignature: StepEnvelope, StepManifest: StepSignature, StepImage: StepUnwrap, StepUnwrap: StepCiphertext,
	}
	for i, s := range c.Steps {
		needs, ok := before[s]
		if !ok {
			needs = StepManifest
		}
		switch {
		case slices.Contains(c.Steps[:i], s):
			return fmt.Sprintf("step %s twice", s)
		case needs != "" && !slices.Contains(c.Steps[:i], needs):
			return fmt.Sprintf("step %s without %s before it", s, needs)
		}
	}
	if !slices.Contains(c.Steps, StepImage) {
		return fmt.Sprintf("no step %s: the payload is not looked at", StepImage)
	}
	return ""
}
