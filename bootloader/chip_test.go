package bootloader

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
)

// A profile is data that nothing checks at run time.
func TestChips(t *testing.T) {
	chips := Chips()
	if !slices.IsSortedFunc(chips, func(a, b Chip) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in alphabetical order")
	}
	for i, c := range chips {
		if c.Name == "" || c.Title == "" || slices.ContainsFunc(chips[:i], func(o Chip) bool { return o.Name == c.Name }) {
			t.Errorf("chip %d has name %q and title %q", i, c.Name, c.Title)
		}
		if c.Page == 0 || c.Page&(c.Page-1) != 0 || c.WriteUnit == 0 || c.Page%c.WriteUnit != 0 {
			t.Errorf("%s: pages of %d bytes, units of %d", c.Name, c.Page, c.WriteUnit)
		}
		if c.Flash.Size == 0 || c.Flash.Base%c.Page != 0 || c.Flash.Size%c.Page != 0 {
			t.Errorf("%s: flash %s is not made of pages", c.Name, c.Flash)
		}
		if !c.Algorithm.Valid() || c.KeySlots < 2 {
			t.Errorf("%s: %d slots for %s keys: one key cannot be replaced", c.Name, c.KeySlots, c.Algorithm)
		}
		if len(c.Banks) == 0 {
			t.Errorf("%s has no bank", c.Name)
		}
		for j, b := range c.Banks {
			if _, err := c.WithBank(b); err != nil {
				t.Error(err)
			}
			if b.Base == c.Flash.Base {
				t.Errorf("%s: bank %s leaves no room for the bootloader", c.Name, b)
			}
			for _, o := range c.Banks[:j] {
				if uint64(b.Base) < o.End() {
					t.Errorf("%s: bank %s does not begin behind %s", c.Name, b, o)
				}
				if b.Size != o.Size {
					t.Errorf("%s: banks of %d and %d bytes: an image would fit one only", c.Name, o.Size, b.Size)
				}
			}
		}
		if c.Banks[len(c.Banks)-1].End() >= c.Flash.End() {
			t.Errorf("%s: the last bank leaves no room for the journal", c.Name)
		}
		for _, s := range []Step{
			StepEnvelope, StepSignature, StepManifest, StepVendor, StepClass, StepSlot, StepSequence, StepSize, StepDecoder, StepBase, StepCiphertext, StepUnwrap, StepImage,
		} {
			if n := len(c.Steps) - len(without(c, s).Steps); n != 1 {
				t.Errorf("%s makes step %s %d times", c.Name, s, n)
			}
		}
	}
}

func TestChipByName(t *testing.T) {
	for _, want := range Chips() {
		got, err := ChipByName(want.Name)
		if err != nil || got.Name != want.Name || got.Flash != want.Flash {
			t.Errorf("%s: got %+v, %v", want.Name, got, err)
		}
	}
	for _, name := range []string{"", "nrf52832", "NRF52840", "stm32l4 "} {
		_, err := ChipByName(name)
		if !errors.Is(err, ErrUnknownChip) || !strings.Contains(err.Error(), "known: nrf52840, stm32l4") {
			t.Errorf("%q: got %v, want ErrUnknownChip and the known names", name, err)
		}
	}
}

func TestWithBank(t *testing.T) {
	chip := Chip{
		Name: "chip", Flash: Region{0x08000000, 0x10000}, Page: 0x800, Algorithm: sign.ESP256,
		Banks: []Region{{0x08002000, 0x4000}, {0x08006000, 0x4000}},
	}
	for _, tt := range []struct {
		name string
		bank Region
		want string // "" for accepted
	}{
		{"empty", Region{0x08002000, 0}, "bank 0x08002000 (empty) is outside the flash 0x08000000-0x0800ffff"},
		{"nothing at all", Region{}, "bank 0x00000000 (empty) is outside"},
		{"below", Region{0x07fff800, 0x1000}, "bank 0x07fff800-0x080007ff is outside"},
		{"beyond", Region{0x0800f800, 0x1000}, "is outside"},
		{"after", Region{0x08010000, 0x800}, "is outside"},
		{"past the address space", Region{0xfffff800, 0x1000}, "bank 0xfffff800-0x1000007ff is outside"},
		{"base off a page", Region{0x08002400, 0x800}, "does not begin and end on 2048-byte pages"},
		{"end off a page", Region{0x08002000, 0x900}, "does not begin and end on 2048-byte pages"},
		{"last page", Region{0x0800f800, 0x800}, ""},
		{"whole flash", Region{0x08000000, 0x10000}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chip.WithBank(tt.bank)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || !slices.Equal(got.Banks, []Region{tt.bank}) {
				t.Errorf("got %v, %v", got.Banks, err)
			}
			if len(chip.Banks) != 2 {
				t.Errorf("the profile itself has changed: %v", chip.Banks)
			}
		})
	}
}

func TestBank(t *testing.T) {
	slot := func(n uint32) *uint32 { return &n }
	for _, chip := range Chips() {
		if got, err := chip.Bank(nil); err != nil || got != chip.Banks[0] {
			t.Errorf("%s, no slot: got %s, %v", chip.Name, got, err)
		}
		for i, want := range chip.Banks {
			if got, err := chip.Bank(slot(uint32(i))); err != nil || got != want {
				t.Errorf("%s, slot %d: got %s, %v", chip.Name, i, got, err)
			}
		}
		for _, n := range []int{len(chip.Banks), 1<<31 - 1, 1<<32 - 1} {
			if _, err := chip.Bank(slot(uint32(n))); err == nil {
				t.Errorf("%s has a slot %d", chip.Name, n)
			}
		}
	}
}

// Two pages outside the banks, whose places can be counted.
func TestJournalRegions(t *testing.T) {
	for _, c := range Chips() {
		if !c.Flash.Contains(c.Journal) || c.Journal.Base%c.Page != 0 || c.Journal.Size != 2*c.Page || c.Page%recordSize != 0 || recordSize%c.WriteUnit != 0 {
			t.Errorf("%s: journal %s", c.Name, c.Journal)
		}
		for _, b := range c.Banks {
			if b.overlaps(c.Journal) {
				t.Errorf("%s: the journal lies in bank %s", c.Name, b)
			}
		}
		if c.Attempts < 2 { // a power loss during the first boot is no failure
			t.Errorf("%s: %d attempts", c.Name, c.Attempts)
		}
		if got, err := c.complete(); err != nil || got.Journal != c.Journal || got.Cursor != c.Cursor || !slices.Equal(got.Banks, c.Banks) {
			t.Errorf("%s: completed to %v and %v, %v", c.Name, got.Banks, got.Journal, err)
		}
	}
}
