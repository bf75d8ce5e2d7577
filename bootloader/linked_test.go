package bootloader

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// vectors returns an image that begins with a vector table.
func vectors(stack, reset uint32, size int) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, stack), reset), make([]byte, size-8))
}

func TestLinkedFor(t *testing.T) {
	radio, err := ChipByName("nrf52840")
	if err != nil {
		t.Fatal(err)
	}
	described, err := radio.WithBank(Region{0x30000, 0x20000})
	if err != nil {
		t.Fatal(err)
	}
	const stack = 0x20010000
	for _, tt := range []struct {
		name  string
		chip  Chip
		image []byte
		want  int // bank, -1 for none
	}{
		{"first bank", radio, vectors(stack, 0x1c101, 8), 0},
		{"start of the first bank", radio, vectors(stack, 0x1c001, 8), 0},
		{"end of the first bank", radio, vectors(stack, 0x83fff, 8), 0},
		{"second bank", radio, vectors(stack, 0x84001, 100), 1},
		{"end of the second bank", radio, vectors(stack, 0xebfff, 100), 1},
		{"stack at the end of RAM", radio, vectors(0x20040000, 0x1c101, 8), 0},
		{"behind the banks", radio, vectors(stack, 0xec001, 8), -1},
		{"below the banks", radio, vectors(stack, 0x1bfff, 8), -1},
		{"relative vectors", radio, vectors(stack, 0x101, 8), -1},
		{"no Thumb code", radio, vectors(stack, 0x1c100, 8), -1},
		{"stack in flash", radio, vectors(0x1c000, 0x1c101, 8), -1},
		{"stack below all of RAM", radio, vectors(0x20000000, 0x1c101, 8), -1},
		{"stack off a word", radio, vectors(0x20010002, 0x1c101, 8), -1},
		{"erased", radio, blankBytes(16), -1},
		{"last address", radio, vectors(stack, 0xffffffff, 8), -1},
		{"half a table", radio, vectors(stack, 0x1c101, 8)[:7], -1},
		{"empty", radio, nil, -1},
		{"described bank", described, vectors(stack, 0x30101, 8), 0},
		{"not the described bank", described, vectors(stack, 0x1c101, 8), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reset, bank, ok := tt.chip.LinkedFor(tt.image)
			if tt.want < 0 {
				if ok || reset != 0 || bank != (Region{}) {
					t.Errorf("got 0x%08x in %s, %t", reset, bank, ok)
				}
				return
			}
			if want := binary.LittleEndian.Uint32(tt.image[4:]) - 1; !ok || reset != want || bank != tt.chip.Banks[tt.want] {
				t.Errorf("got 0x%08x in %s, %t, want 0x%08x in %s", reset, bank, ok, want, tt.chip.Banks[tt.want])
			}
		})
	}
}

// An image that devices run from either bank is linked for one. With a slot, or
// where there is one bank only, that is as it should be.
func TestRehearsalLinked(t *testing.T) {
	linked := func(name, chip, template string, reset uint32) RehearsedComponent {
		c, err := ChipByName(chip)
		if err != nil {
			t.Fatal(err)
		}
		p := newParcel(t, c, template, vectors(0x20008000, reset, 3000))
		return RehearsedComponent{Name: name, Device: p.device, Envelope: p.envelope(t), Payload: p.payload, Before: Before{Version: oldVersion, Sequence: 1041, Size: 100}}
	}
	onBank := func(c RehearsedComponent, bank Region) RehearsedComponent {
		var err error
		if c.Device.Chip, err = c.Device.Chip.WithBank(bank); err != nil {
			t.Fatal(err)
		}
		return c
	}
	withoutKey := func(c RehearsedComponent) RehearsedComponent { c.Device.Identity = nil; return c }
	first := []Linked{{"radio", 0x1c100, Region{0x1c000, 0x68000}}}
	for name, tt := range map[string]struct {
		radio RehearsedComponent
		want  []Linked
	}{
		"plain":                    {linked("radio", "nrf52840", "T1", 0x1c101), first},
		"encrypted":                {linked("radio", "nrf52840", "T3", 0x1c101), first},
		"encrypted, key unknown":   {withoutKey(linked("radio", "nrf52840", "T3", 0x1c101)), nil},
		"for a slot":               {linked("radio", "nrf52840", "T2b", 0x84101), nil},
		"relative":                 {linked("radio", "nrf52840", "T1", 0x101), nil},
		"bank of the board's":      {onBank(linked("radio", "nrf52840", "T1", 0x30101), Region{0x30000, 0x10000}), []Linked{{"radio", 0x30100, Region{0x30000, 0x10000}}}},
		"outside the board's bank": {onBank(linked("radio", "nrf52840", "T1", 0x84101), Region{0x30000, 0x10000}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := Rehearsal{
				Components: []RehearsedComponent{tt.radio, linked("motor", "stm32l4", "T1", 0x08008101)},
				Allows:     allowing([]manifest.Version{newVersion, oldVersion}), Seed: 1,
			}
			got, err := r.Linked(t.Context())
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	damaged := brush(t, 2000, 1000)
	damaged.Components[0].Payload[9] ^= 1
	if got, err := damaged.Linked(t.Context()); got != nil || verdict.Of(err) != verdict.ImageDigestMismatch {
		t.Errorf("damaged: got %+v, %v", got, err)
	}
}
