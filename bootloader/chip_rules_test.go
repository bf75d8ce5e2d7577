package bootloader

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestChipCheck(t *testing.T) {
	for _, c := range Chips() {
		if err := c.Check(); err != nil {
			t.Error(err)
		}
	}
	move := func(c *Chip, s Step, to int) { // only the steps of c itself
		c.Steps = slices.Insert(without(*c, s).Steps, to, s)
	}
	for _, tt := range []struct {
		name  string
		spoil func(*Chip)
		want  string
	}{
		{"no pages", func(c *Chip) { c.Page = 0 }, "pages of 0 bytes are not made of write units of 4"},
		{"no write units", func(c *Chip) { c.WriteUnit = 0 }, "pages of 4096 bytes are not made of write units of 0"},
		{"odd write units", func(c *Chip) { c.WriteUnit = 3 }, "are not made of write units of 3"},
		{"write unit of two records", func(c *Chip) { c.WriteUnit = 32 }, "a journal record of 16 bytes and a cursor of 24 are not made of write units of 32"},
		{"flash off a page", func(c *Chip) { c.Flash.Size-- }, "flash 0x00000000-0x000ffffe is not made of pages of 4096 bytes"},
		{"no flash", func(c *Chip) { c.Flash.Size = 0 }, "flash 0x00000000 (empty) is not made of pages"},
		{"flash beyond all addresses", func(c *Chip) { c.Flash.Base = 1<<32 - 4096 }, "flash 0xfffff000-0x1000fefff is not made of pages"},

		{"no bank", func(c *Chip) { c.Banks = nil }, "0 banks, want one, or two that take turns"},
		{"three banks", func(c *Chip) { c.Banks = append(slices.Clone(c.Banks), Region{0xec000, 4096}) }, "3 banks"},
		{"bank outside", func(c *Chip) { c.Banks[1].Base = 0x100000 }, "bank 0x00100000-0x00167fff is not made of pages of the flash"},
		{"bank off a page", func(c *Chip) { c.Banks[0].Base++ }, "bank 0x0001c001-0x00084000 is not made of pages"},
		{"empty bank", func(c *Chip) { c.Banks[0].Size = 0 }, "bank 0x0001c000 (empty) is not made of pages"},
		{"unequal banks", func(c *Chip) { c.Banks[1].Size -= 4096 }, "banks of 425984 and 421888 bytes take turns"},
		{"banks that overlap", func(c *Chip) { c.Banks[1].Base -= 4096 }, "bank 0x00083000-0x000eafff overlaps bank 0x0001c000-0x00083fff"},
		{"same bank twice", func(c *Chip) { c.Banks[1] = c.Banks[0] }, "overlaps"},
		{"cursors in a bank", func(c *Chip) { c.Cursor.Base = c.Banks[1].Base }, "the cursors 0x00084000-0x00085fff lie in bank 0x00084000-0x000ebfff"},
		{"cursors of one page", func(c *Chip) { c.Cursor.Size = c.Page }, "the cursors 0x000fc000-0x000fcfff are not two pages of the flash"},
		{"cursors in the journal", func(c *Chip) { c.Cursor.Base = c.Journal.Base - c.Page }, "the cursors 0x000fd000-0x000fefff lie in the journal"},
		{"journal in a bank", func(c *Chip) { c.Journal.Base = c.Banks[1].Base }, "the journal 0x00084000-0x00085fff lies in bank 0x00084000-0x000ebfff"},
		{"journal of one page", func(c *Chip) { c.Journal.Size = c.Page }, "the journal 0x000fe000-0x000fefff is not two pages of the flash"},
		{"journal of half the address space", func(c *Chip) {
			c.Flash.Size, c.Page, c.Banks, c.Journal = 1<<31, 1<<31, []Region{{0, 1 << 31}}, Region{1 << 31, 0}
			c.Cursor = Region{}
		},
			"the journal 0x80000000 (empty) is not two pages"},
		{"journal outside", func(c *Chip) { c.Journal.Base = 0xff000 }, "the journal 0x000ff000-0x00100fff is not two pages"},
		{"journal off a page", func(c *Chip) { c.Journal.Base = 0xfd800 }, "is not two pages"},

		{"never started", func(c *Chip) { c.Attempts = 0 }, "new firmware has 0 attempts, want 1 to 255"},
		{"more attempts than a byte counts", func(c *Chip) { c.Attempts = 256 }, "256 attempts"},
		{"no algorithm", func(c *Chip) { c.Algorithm = 0 }, "keys are for"},
		{"no key", func(c *Chip) { c.KeySlots = 0 }, "0 key slots"},

		{"no steps", func(c *Chip) { c.Steps = nil }, "no step image: the payload is not looked at"},
		{"payload not looked at", func(c *Chip) { c.Steps = without(*c, StepImage).Steps }, "no step image"},
		{"no signature", func(c *Chip) { c.Steps = without(*c, StepSignature).Steps }, "step manifest without signature before it"},
		{"manifest before its signature", func(c *Chip) { move(c, StepManifest, 1) }, "step manifest without signature before it"},
		{"signature before the envelope", func(c *Chip) { move(c, StepSignature, 0) }, "step signature without envelope before it"},
		{"class before the manifest", func(c *Chip) { move(c, StepClass, 2) }, "step class without manifest before it"},
		{"decrypted before it is checked", func(c *Chip) { move(c, StepUnwrap, 3) }, "step unwrap without ciphertext before it"},
		{"image before its key", func(c *Chip) { move(c, StepImage, len(c.Steps)-2) }, "step image without unwrap before it"},
		{"a step twice", func(c *Chip) { c.Steps = append(slices.Clone(c.Steps), StepClass) }, "step class twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ChipByName("nrf52840")
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(&c)
			err = c.Check()
			if !errors.Is(err, ErrContradiction) || !strings.HasPrefix(err.Error(), `bootloader: profile "nrf52840": `) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrContradiction and %q", err, tt.want)
			}
		})
	}
}

// What contradicts itself is refused by name before anything is simulated.
func TestRehearseContradiction(t *testing.T) {
	for want, spoil := range map[string]func(*Chip){
		"motor: bootloader: profile \"stm32l4\": new firmware has 0 attempts": func(c *Chip) { c.Attempts = 0 },
		"pages of 2048 bytes are not made of write units of 0":                func(c *Chip) { c.WriteUnit = 0 },
		"pages of 0 bytes": func(c *Chip) { c.Page, c.Journal = 0, c.Banks[0] },
		"step class twice": func(c *Chip) {
			c.Steps = append([]Step{StepEnvelope, StepSignature, StepManifest, StepClass}, c.Steps[4:]...)
		},
	} {
		r := brush(t, 2000, 1000)
		spoil(&r.Components[1].Device.Chip)
		if o, err := r.Run(t.Context()); o != nil || !errors.Is(err, ErrContradiction) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %+v, %v, want %q", o, err, want)
		}
	}
}
