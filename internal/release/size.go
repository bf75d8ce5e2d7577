package release

import (
	"fmt"
	"io"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/internal/census"
	"github.com/otapack/otapack/manifest"
)

// Sizes says what a bundle has for the devices, and how large it is.
type Sizes struct {
	Product    string
	ReleaseID  string
	Record     []byte          // signed, as every device receives it
	Components []ComponentSize // in install order
	sequence   uint32
}

// ComponentSize is what there is for one component.
type ComponentSize struct {
	Name    string
	Image   int64 // bytes in the bank
	Choices []Choice
	config  int // index into the project's components, and a class's
}

// Choice is a payload of a component: the one for all devices, or a difference
// for those that run a certain version.
type Choice struct {
	From     manifest.Version // nil: for all devices
	Coding   string           // "plain", or as the manifest has it
	Manifest []byte
	Payload  *io.SectionReader
	// DecoderRAM is what a device needs to decode the payload, in bytes, 0 for
	// what needs no decoding.
	DecoderRAM uint32
	// Erased is how many flash pages a device erases for it: those of the image,
	// and those that hold a payload that is decoded later. 0 where another
	// bootloader decides.
	Erased int
}

// Bytes is what is transferred.
func (c Choice) Bytes() int64 { return int64(len(c.Manifest)) + c.Payload.Size() }

// Sizes reads the manifests of a bundle of this project, whose signatures have to
// hold. Payloads are looked at as they are used.
func (p *Project) Sizes(r io.ReaderAt, size int64) (*Sizes, error) {
	b, record, parts, err := p.openParts(r, size)
	if err != nil {
		return nil, err
	}
	s := &Sizes{Product: record.Product, ReleaseID: record.ID, Record: b.Record, sequence: record.Sequence}
	for _, part := range parts {
		m := part.manifest.Manifest()
		c := ComponentSize{Name: part.Name, Image: int64(m.Image.Size), config: part.config}
		chip := p.components[part.config].chip
		c.Choices = append(c.Choices, choice(chip, m, nil, part.Manifest, part.Payload))
		recorded := record.Components[part.record]
		for i, v := range part.Variants { // checkRecord has compared them
			authentic, err := manifest.Authenticate(v.Manifest, p.components[part.config].trust)
			if err == nil {
				err = matchVariant(authentic, recorded, recorded.Variants[i], record.Sequence)
			}
			if err != nil {
				return nil, fmt.Errorf("%s from %s: %w", part.Name, v.Base, err)
			}
			c.Choices = append(c.Choices, choice(chip, authentic.Manifest(), recorded.Variants[i].From, v.Manifest, v.Payload))
		}
		s.Components = append(s.Components, c)
	}
	return s, nil
}

func choice(chip bootloader.Chip, m manifest.Manifest, from manifest.Version, envelope []byte, payload *io.SectionReader) Choice {
	c := Choice{From: from, Coding: "plain", Manifest: envelope, Payload: payload}
	pages := func(n int64) int { return int((n + int64(chip.Page) - 1) / int64(chip.Page)) }
	if chip.Page > 1 {
		c.Erased = pages(int64(m.Image.Size))
	}
	if m.Decoded() {
		d := m.Install.Decoding
		c.Coding, c.DecoderRAM = d.Coding.String(), d.RAM
		if chip.Page > 1 {
			c.Erased += pages(payload.Size())
		}
	}
	return c
}

// For returns which choice of a component the devices of a class receive, -1 for
// none: they have the release's sequence number already.
func (s *Sizes) For(component int, class census.Class) int {
	c := s.Components[component]
	has := class.Components[c.config]
	if has.Sequence >= s.sequence {
		return -1
	}
	for i, choice := range c.Choices {
		if choice.From != nil && choice.From.Compare(has.Version) == 0 {
			return i
		}
	}
	return 0
}

// openParts opens a bundle of this project and authenticates its record and the
// components' manifests.
func (p *Project) openParts(r io.ReaderAt, size int64) (*bundle.Bundle, manifest.Record, []fleetPart, error) {
	b, err := bundle.Open(r, size)
	if err != nil {
		return nil, manifest.Record{}, nil, err
	}
	if err := b.CheckPayloads(); err != nil {
		return nil, manifest.Record{}, nil, err
	}
	vr, err := manifest.VerifyRecord(b.Record, &p.trust)
	if err != nil {
		return nil, manifest.Record{}, nil, err
	}
	record := vr.Record()
	if err := p.checkRecord(record, b); err != nil {
		return nil, record, nil, err
	}
	var parts []fleetPart
	for _, part := range b.Components { // in install order
		i := p.index(part.Name)
		m, err := manifest.Authenticate(part.Manifest, p.components[i].trust)
		if err == nil {
			err = matchRecord(m, part.Name, record)
		}
		if err != nil {
			return nil, record, nil, fmt.Errorf("%s: %w", part.Name, err)
		}
		parts = append(parts, fleetPart{part, i, recordIndex(record, part.Name), m})
	}
	return b, record, parts, nil
}
