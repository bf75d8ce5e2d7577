package bootloader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/otapack/otapack/sign"
)

// ErrUnknownChip is wrapped by ChipByName.
var ErrUnknownChip = errors.New("unknown chip profile")

// Region is a range of addresses.
type Region struct {
	Base uint32 // address of the first byte
	Size uint32 // in bytes
}

// End returns the address after the last byte.
func (r Region) End() uint64 { return uint64(r.Base) + uint64(r.Size) }

// Contains reports whether o lies inside r.
func (r Region) Contains(o Region) bool { return o.Base >= r.Base && o.End() <= r.End() }

// String names the first and the last address: "0x0001c000-0x00083fff".
func (r Region) String() string {
	if r.Size == 0 {
		return fmt.Sprintf("0x%08x (empty)", r.Base)
	}
	return fmt.Sprintf("0x%08x-0x%08x", r.Base, r.End()-1)
}

// Chip is the profile of one MCU and of our bootloader on it: what a verifier
// and a flash simulator need to know, as data.
type Chip struct {
	Name  string // as otapack.yaml spells it
	Title string // for people

	Flash     Region
	Page      uint32 // erase unit in bytes
	WriteUnit uint32 // smallest programmable unit in bytes
	// WriteOnce chips keep an ECC per write unit and refuse to program a unit
	// twice between erases.
	WriteOnce bool

	// Banks hold images, slot n is bank n. Images that are not linked for a slot
	// have the addresses of the first bank; a chip with two banks runs them from
	// either, see docs/rehearsal.md for what that asks of them.
	Banks []Region

	// RAM is the memory that the firmware's variables are in. Its addresses tell
	// a pointer to RAM from other words when a difference is made.
	RAM Region
	// DecoderRAM is how many bytes a decoder may take while it makes an image,
	// beside its code and stack.
	DecoderRAM uint32

	// Journal is two pages for the records of the boot flow.
	Journal Region
	// Cursor is two pages for how far a transfer has come, see docs/transfer.md.
	Cursor Region
	// Attempts is how often an image may be started before it has confirmed
	// itself. After that the bootloader goes back.
	Attempts int

	// Algorithm is the one that the bootloader's key slots are made for, and
	// KeySlots how many of them it has: no more keys can be trusted at a time.
	Algorithm sign.Algorithm
	KeySlots  int

	// Steps are the checks in the order in which the bootloader makes them.
	Steps []Step
}

// Erased is what erased flash reads as on all chips here.
const Erased = 0xff

// Both of our bootloaders make the same checks in the same order: what is
// cheap and tells whether the package is meant for this device comes before
// what needs the payload.
var profileSteps = []Step{
	StepEnvelope, StepSignature, StepManifest,
	StepVendor, StepClass, StepSlot, StepSequence, StepSize, StepDecoder, StepBase,
	StepCiphertext, StepUnwrap, StepImage,
}

// Chips returns the known profiles in alphabetical order.
//
// nrf52840: 1 MiB flash, 4 KiB pages, 4-byte words (nRF52840 Product
// Specification v1.7, NVMC). MBR and SoftDevice below 0x1c000, two banks, then
// the bootloader from 0xec000; the transfer's cursors and its journal have the last
// four pages. 256 KiB RAM, a quarter of which a decoder may take.
//
// stm32l4: STM32L432/L433 with 256 KiB flash, 2 KiB pages, 8-byte double words
// with ECC that can be programmed once (RM0394, section 3). Bootloader in the
// first 28 KiB, then two pages for cursors, one bank, the last two pages for its
// journal. 48 KiB RAM at 0x20000000 (SRAM1; SRAM2 with 16 KiB follows it at
// 0x2000c000), a quarter of all of it for a decoder.
func Chips() []Chip {
	return []Chip{
		{
			Name: "nrf52840", Title: "Nordic nRF52840, dual bank",
			Flash: Region{0, 1 << 20}, Page: 4 << 10, WriteUnit: 4,
			Banks:   []Region{{0x1c000, 0x68000}, {0x84000, 0x68000}},
			Journal: Region{0xfe000, 0x2000}, Cursor: Region{0xfc000, 0x2000}, Attempts: 3,
			RAM: Region{0x20000000, 256 << 10}, DecoderRAM: 64 << 10,
			Algorithm: sign.ESP256, KeySlots: 4,
			Steps: profileSteps,
		},
		{
			Name: "stm32l4", Title: "ST STM32L4, single bank, fed over a UART",
			Flash: Region{0x08000000, 256 << 10}, Page: 2 << 10, WriteUnit: 8, WriteOnce: true,
			Banks:   []Region{{0x08008000, 0x37000}},
			Journal: Region{0x0803f000, 0x1000}, Cursor: Region{0x08007000, 0x1000}, Attempts: 3,
			RAM: Region{0x20000000, 64 << 10}, DecoderRAM: 16 << 10,
			Algorithm: sign.ESP256, KeySlots: 4,
			Steps: profileSteps,
		},
	}
}

// Carried returns the profile of an MCU whose own bootloader is another one:
// what passes a file on to it checks the manifest around the file, in the same
// steps, and leaves flash to that bootloader. The file has at most limit bytes.
func Carried(name string, limit uint32) Chip {
	whole := Region{Size: limit}
	return Chip{
		Name: name, Title: "another bootloader's, behind a manifest",
		Flash: whole, Page: 1, WriteUnit: 1, Banks: []Region{whole},
		Algorithm: sign.ESP256, KeySlots: 4,
		Steps: profileSteps,
	}
}

// ChipByName returns a profile. The error lists the known names.
func ChipByName(name string) (Chip, error) {
	chips := Chips()
	if i := slices.IndexFunc(chips, func(c Chip) bool { return c.Name == name }); i >= 0 {
		return chips[i], nil
	}
	var names []string
	for _, c := range chips {
		names = append(names, c.Name)
	}
	return Chip{}, fmt.Errorf("bootloader: chip %q (known: %s): %w", name, strings.Join(names, ", "), ErrUnknownChip)
}

// WithBank returns the profile with its first bank replaced, for boards that
// lay out their flash differently. The bank must lie in flash and begin and end
// on pages.
func (c Chip) WithBank(bank Region) (Chip, error) {
	switch {
	case bank.Size == 0 || !c.Flash.Contains(bank):
		return Chip{}, fmt.Errorf("bootloader: %s: bank %s is outside the flash %s", c.Name, bank, c.Flash)
	case bank.Base%c.Page != 0 || bank.Size%c.Page != 0:
		return Chip{}, fmt.Errorf("bootloader: %s: bank %s does not begin and end on %d-byte pages", c.Name, bank, c.Page)
	}
	c.Banks = []Region{bank}
	return c, nil
}

// Dual reports whether the running image stays where it is while another one is
// written. A board that describes its own bank has as many as the chip's profile.
func (c Chip) Dual() bool {
	profile, err := ChipByName(c.Name)
	return len(c.Banks) > 1 || err == nil && len(profile.Banks) > 1
}

// Bank returns the bank that a slot names, the first one for nil.
func (c Chip) Bank(slot *uint32) (Region, error) {
	i := uint32(0)
	if slot != nil {
		i = *slot
	}
	if int64(i) >= int64(len(c.Banks)) {
		return Region{}, fmt.Errorf("bootloader: %s has %d banks, no slot %d", c.Name, len(c.Banks), i)
	}
	return c.Banks[i], nil
}
