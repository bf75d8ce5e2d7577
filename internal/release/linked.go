package release

import (
	"fmt"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign/verdict"
)

// linked returns the reset handler of an image and the bank that it is in, see
// bootloader.Chip.LinkedFor.
func (im image) linked(c component) (reset uint32, bank bootloader.Region, ok bool) {
	if im.loaded.Empty() {
		return 0, bootloader.Region{}, false
	}
	return c.chip.LinkedFor(im.loaded.Segments()[0].Data)
}

// lintSlot refuses an image whose addresses in the file are those of its slot and
// whose code is linked for the other one.
func (im image) lintSlot(c component, add report) {
	if c.slot == nil {
		return
	}
	if reset, bank, ok := im.linked(c); ok && bank != im.bank {
		add(verdict.ImageOutsideBank, c.Name, "the reset handler of %s is at 0x%08x in the bank %s, slot %d is the bank %s", c.Image, reset, bank, *c.slot, im.bank)
	}
}

// oneBank warns of an image that devices run from either of two banks and that is
// linked for one. A product whose bootloaders have another boot flow than ours
// does not rehearse it, and is not warned.
func (p *Plan) oneBank(i int) []Finding {
	c := p.project.components[i]
	if c.slot != nil || !c.chip.Dual() || p.project.cfg.Policy.Rehearse == config.RehearseOff {
		return nil
	}
	reset, bank, ok := p.images[i].linked(c)
	if !ok {
		return nil
	}
	return []Finding{{verdict.ImageOutsideBank, c.Name, fmt.Sprintf(
		"two banks take turns, and %s is linked for one: its reset handler is at 0x%08x in the bank %s. Make a release for each slot, or link it position independent, with vectors that count from 0",
		c.Image, reset, bank)}}
}
