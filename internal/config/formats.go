package config

import (
	"errors"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// mcuboot reads the section of a component with the format mcuboot.
func (d *decoder) mcuboot(v value) *MCUboot {
	m := &MCUboot{}
	d.object(v, fields{
		"profile":           d.name(&m.Profile),
		"signing":           d.rule(&m.Signing),
		"signature":         d.name(&m.Signature),
		"mode":              d.name(&m.Mode),
		"encryption":        d.name(&m.Encryption),
		"aes":               d.optional(&m.AESBits, 128, 256),
		"save-enctlv":       d.flag(&m.SaveEncTLV),
		"header-size":       d.optionalSize(&m.HeaderSize, 32, 1<<16-1),
		"pad-header":        d.flag(&m.PadHeader),
		"slot-size":         d.optionalSize(&m.SlotSize, 1, 1<<31-1),
		"secondary-size":    d.optionalSize(&m.SecondarySize, 1, 1<<31-1),
		"sector-size":       d.optionalSize(&m.SectorSize, 1, 1<<31-1),
		"align":             d.optional(&m.WriteSize, 1, 32),
		"max-align":         d.optional(&m.MaxAlign, 8, 32),
		"max-sectors":       d.optional(&m.MaxSectors, 1, 1<<20),
		"padding":           d.choice(&m.Padding, "pad", "confirm"),
		"security-counter":  d.counter(&m.Counter, "sequence", "version"),
		"rollback":          d.flag(&m.Rollback),
		"downgrade":         d.choice(&m.Downgrade, "allow", "version", "security-counter"),
		"allow-list":        d.flag(&m.AllowList),
		"public-key-format": d.keyFormat(&m.FullKey),
		"boot-record":       d.text(&m.BootRecord),
		"image":             d.optional(&m.Image, 0, 255),
		"images":            d.optional(&m.Images, 1, 256),
		"dependencies":      d.dependencies(&m.Dependencies),
		"vid":               d.text(&m.Vendor),
		"cid":               d.text(&m.Class),
		"load-addr":         d.optional(&m.LoadAddress, 0, addressLimit-1),
		"rom-fixed":         d.optional(&m.ROMAddress, 0, addressLimit-1),
	}, "signing")
	return m
}

// nrfdfu reads the section of a component with the format nrfdfu.
func (d *decoder) nrfdfu(v value) *NRFDFU {
	n := &NRFDFU{FWVersion: "sequence"}
	d.object(v, fields{
		"profile":          d.name(&n.Profile),
		"sdk":              d.number(&n.SDK, 15, 17),
		"signing":          d.rule(&n.Signing),
		"bootloader-start": d.optional(&n.BootloaderStart, 0, addressLimit-1),
		"app-data-area":    d.optionalSize(&n.AppDataArea, 0, addressLimit-1),
		"ble":              d.flag(&n.BLE),
		"type": func(v value) {
			var kind string
			d.choice(&kind, "application", "external-application")(v)
			n.External = kind == "external-application"
		},
		"hw-version":      d.number(&n.HWVersion, 0, 1<<32-1),
		"sd-req":          d.numbers(&n.SDReq, 1<<16-1),
		"fw-version":      d.counter(&n.FWVersion, "sequence", "version"),
		"boot-validation": d.choice(&n.BootValidation, "none", "crc", "sha256", "ecdsa"),
		"softdevice": func(v value) {
			d.object(v, fields{"image": d.text(&n.SoftDevice), "id": d.numbers(&n.SDID, 1<<16-1)}, "image", "id")
		},
		"bootloader": func(v value) {
			d.object(v, fields{"image": d.text(&n.Bootloader), "version": d.number(&n.BootloaderVersion, 0, 1<<32-1)}, "image", "version")
		},
	}, "profile", "sdk", "signing", "hw-version")
	if len(n.Signing.Sign) > 1 || len(n.Signing.Trust) > 1 {
		d.fail(v.path+".signing", "an nRF5 bootloader holds one key: name one")
	}
	return n
}

// checkFormat holds a component's sections against its format.
func (d *decoder) checkFormat(c Component) {
	path := "components." + c.Name
	for _, section := range []struct {
		format string
		given  bool
	}{{FormatMCUboot, c.MCUboot != nil}, {FormatNRFDFU, c.NRFDFU != nil}} {
		switch {
		case section.given && c.Format != section.format:
			d.fail(path+"."+section.format, "is for components with \"format: %s\"", section.format)
		case !section.given && c.Format == section.format && !d.failed(path):
			d.fail(path+".format", "needs a section %q", section.format)
		}
	}
	if c.Format != FormatSUIT {
		for name, given := range map[string]bool{"bank": c.Bank != nil, "slot": c.Slot != nil} {
			if given {
				d.fail(path+"."+name, "is for our own bootloaders; where this one puts an image is said under %q", c.Format)
			}
		}
	}
	if r, ok := c.DeviceSigning(); ok && r.Threshold > 1 {
		d.fail(path+"."+c.Format+".signing.threshold", "this bootloader takes an image with one signature that it knows")
	}
	switch {
	case c.Format == FormatNRFDFU && len(c.EncryptTo) > 0:
		d.fail(path+".encrypt", "the nRF5 bootloader cannot decrypt: have the application that receives the update decrypt it, and sign the plain package")
	case c.Format == FormatMCUboot && len(c.EncryptTo) > 1:
		d.fail(path+".encrypt.to", "has %d recipients, but an MCUboot image has one: put device keys in a folder and name it in encrypt.per-device", len(c.EncryptTo))
	case c.PerDevice != "" && c.Format != FormatMCUboot:
		d.fail(path+".encrypt.per-device", "is for format mcuboot; list the device keys in encrypt.to")
	}
}

// choice reads one of a few words.
func (d *decoder) choice(to *string, words ...string) func(value) {
	return func(v value) {
		s, ok := d.scalar(v)
		if !ok || d.known("value", words, s, v.path) {
			*to = s
		}
	}
}

// flag reads true or false.
func (d *decoder) flag(to **bool) func(value) {
	return func(v value) {
		node, ok := v.node.(*ast.BoolNode)
		if !ok {
			d.fail(v.path, "has to be true or false")
			return
		}
		*to = &node.Value
	}
}

// optional is number for an entry that need not be there.
func (d *decoder) optional(to **uint64, low, high uint64) func(value) {
	return func(v value) {
		*to = new(uint64)
		d.number(*to, low, high)(v)
	}
}

// optionalSize is size for an entry that need not be there.
func (d *decoder) optionalSize(to **uint64, low, high uint64) func(value) {
	return func(v value) {
		*to = new(uint64)
		d.size(*to, low, high)(v)
	}
}

// numbers reads a sequence of numbers, whose order counts.
func (d *decoder) numbers(to *[]uint64, high uint64) func(value) {
	return func(v value) {
		for _, item := range d.items(v) {
			var n uint64
			d.number(&n, 0, high)(item)
			*to = append(*to, n)
		}
	}
}

// counter reads a number of 32 bits, or a word for where it comes from.
func (d *decoder) counter(to *string, words ...string) func(value) {
	return func(v value) {
		s, ok := d.scalar(v)
		if !ok {
			return
		}
		*to = s
		for _, w := range words {
			if s == w {
				return
			}
		}
		n, err := parseUint(s)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			d.fail(v.path, "%q is neither a number nor one of %s", s, strings.Join(words, ", "))
		case err != nil || n > 1<<32-1:
			d.fail(v.path, "%s is out of range 0 to %d", s, uint32(1<<32-1))
		}
	}
}

// keyFormat reads imgtool's --public-key-format.
func (d *decoder) keyFormat(full *bool) func(value) {
	return func(v value) {
		var s string
		d.choice(&s, "hash", "full")(v)
		*full = s == "full"
	}
}

// dependencies reads a mapping from image number to version.
func (d *decoder) dependencies(to *[]ImageVersion) func(value) {
	return func(v value) {
		entries, ok := d.entries(v)
		if ok && len(entries) == 0 {
			d.needOne(v)
		}
		for _, e := range entries {
			n, err := parseUint(e.key)
			if err != nil || n > 255 {
				d.failAt(e.at, e.path, "an image is a number from 0 to 255")
				continue
			}
			dep := ImageVersion{Image: n}
			d.text(&dep.Version)(e.value)
			*to = append(*to, dep)
		}
	}
}
