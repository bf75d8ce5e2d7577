package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// MaxBases bounds the list of one component's delta.from: as many variants as a
// release record holds for it.
const MaxBases = 8

// Values of Delta.From beside versions of releases.
const (
	FromLast            = "last"             // the last release, if there is one
	FromOldestSupported = "oldest-supported" // the one of Policy.OldestSupported
)

// Formats of patches.
const (
	DeltaOD1               = "od1"
	DeltaHPatchLite        = "hpatchlite"
	DeltaDetoolsHeatshrink = "detools-hs"
	DeltaDetoolsCRLE       = "detools-crle"
)

// Bounds of the distance between restart points in bytes.
const (
	minRestart = 1 << 10
	maxRestart = 1 << 22
)

// Codecs of whole images.
const (
	CompressOD1     = "od1"
	CompressZstd    = "zstd"
	CompressDeflate = "deflate"
)

// Delta asks for a patch for each of some older releases.
type Delta struct {
	From   []string // at least one: versions of releases, FromLast and FromOldestSupported
	Format string   // DeltaOD1 unless given
	// Window is how many bytes of what was read a decoder for DeltaHPatchLite or
	// DeltaDetoolsHeatshrink keeps, 0: as many as their authors' decoders. With
	// the latter it is a power of two, and Lookahead, also one, the longest copy.
	Window, Lookahead uint64
	// Restart is how many bytes of the image a decoder for DeltaOD1 makes at least
	// between two points that it can go on from after a loss of power, 0: it begins
	// again.
	Restart uint64
	// Where images are that the output folder does not have: listed by release,
	// or a path with ReleasePlace in it.
	Images    []BaseImage
	ImagePath string
}

// ReleasePlace stands for the version of a release in Delta.ImagePath.
const ReleasePlace = "{version}"

// ImageOf returns the path of the image of a release, "" when none is given.
func (d Delta) ImageOf(release string) string {
	for _, b := range d.Images {
		if b.Release == release {
			return b.Path
		}
	}
	return strings.ReplaceAll(d.ImagePath, ReleasePlace, release)
}

// BaseImage is the firmware of a component in an older release.
type BaseImage struct {
	Release string // version
	Path    string
}

// Compress asks for compressed whole images.
type Compress struct {
	Codec   string
	Window  uint64 // bytes of output that the decoder keeps, 0: the codec's default
	Restart uint64 // as in Delta, for CompressOD1
}

// delta reads what patches are made: a version, a list of them, or a section.
func (d *decoder) delta(v value) *Delta {
	delta := &Delta{Format: DeltaOD1}
	switch v.node.(type) {
	case *ast.SequenceNode:
		d.list(&delta.From)(value{v.node, v.path + ".from"}) // where it is said in full
	case *ast.MappingNode:
		d.object(v, fields{
			"from":      d.oneOrMore(&delta.From),
			"format":    d.choice(&delta.Format, DeltaOD1, DeltaHPatchLite, DeltaDetoolsHeatshrink, DeltaDetoolsCRLE),
			"images":    d.baseImages(delta),
			"window":    d.size(&delta.Window, 16, 1<<20),
			"lookahead": d.size(&delta.Lookahead, 8, 1<<14),
			"restart":   d.size(&delta.Restart, minRestart, maxRestart),
		}, "from")
		d.checkWindow(v.path, delta)
		if delta.Restart > 0 && delta.Format != DeltaOD1 {
			d.fail(v.path+".restart", "is not for %s, whose decoder begins again", delta.Format)
		}
	default:
		d.oneOrMore(&delta.From)(v)
	}
	if n := len(delta.From); n > MaxBases {
		d.fail(v.path, "has %d releases to come from, at most %d are possible", n, MaxBases)
	}
	return delta
}

// checkWindow refuses a window for a format without one, or of a size that its
// decoders cannot have.
func (d *decoder) checkWindow(path string, delta *Delta) {
	power := func(n uint64) bool { return n&(n-1) == 0 }
	switch delta.Format {
	case DeltaHPatchLite:
	case DeltaDetoolsHeatshrink:
		switch w, l := delta.Window, delta.Lookahead; {
		case (w == 0) != (l == 0):
			d.fail(path, "window and lookahead are given together: a decoder is built for both")
		case !power(w) || w > 32<<10:
			d.fail(path+".window", "%d is not a power of two from 16 to 32768", w)
		case !power(l) || l > 0 && l >= w:
			d.fail(path+".lookahead", "%d is not a power of two from 8 to half of the window", l)
		}
		return
	default:
		if delta.Window > 0 {
			d.fail(path+".window", "is not for %s", delta.Format)
		}
	}
	if delta.Lookahead > 0 {
		d.fail(path+".lookahead", "is for detools-hs")
	}
}

// oneOrMore reads a string, or a list of different ones.
func (d *decoder) oneOrMore(to *[]string) func(value) {
	return func(v value) {
		if _, ok := v.node.(*ast.SequenceNode); ok {
			d.list(to)(v)
			return
		}
		if s, ok := d.scalar(v); ok {
			*to = []string{s}
		}
	}
}

// baseImages reads a mapping from the version of a release to a path, or one
// path for all.
func (d *decoder) baseImages(to *Delta) func(value) {
	return func(v value) {
		if _, ok := v.node.(*ast.MappingNode); !ok {
			if d.text(&to.ImagePath)(v); to.ImagePath != "" && !strings.Contains(to.ImagePath, ReleasePlace) {
				d.fail(v.path, "has no %s in it, which stands for the version of a release", ReleasePlace)
			}
			return
		}
		entries, ok := d.entries(v)
		if ok && len(entries) == 0 {
			d.needOne(v)
		}
		for _, e := range entries {
			b := BaseImage{Release: e.key}
			d.text(&b.Path)(e.value)
			to.Images = append(to.Images, b)
		}
	}
}

// compress reads how whole images are compressed: a codec or a section.
func (d *decoder) compress(v value) *Compress {
	c := &Compress{}
	codec := d.choice(&c.Codec, CompressOD1, CompressZstd, CompressDeflate)
	if _, ok := v.node.(*ast.MappingNode); !ok {
		codec(v)
		return c
	}
	d.object(v, fields{"codec": codec, "window": d.size(&c.Window, 256, 1<<20), "restart": d.size(&c.Restart, minRestart, maxRestart)}, "codec")
	if c.Codec == CompressOD1 && c.Window > 0 {
		d.fail(v.path+".window", "is not for od1, whose decoder reads back what it has written")
	}
	if c.Codec != CompressOD1 && c.Restart > 0 {
		d.fail(v.path+".restart", "is not for %s, whose decoder begins again", c.Codec)
	}
	return c
}

// region reads a range of addresses.
func (d *decoder) region(to **Bank) func(value) {
	return func(v value) {
		r := &Bank{}
		*to = r
		d.object(v, fields{"base": d.number(&r.Base, 0, addressLimit-1), "size": d.size(&r.Size, 1, addressLimit)}, "base", "size")
		if r.Size > addressLimit-r.Base {
			d.fail(v.path, "ends beyond the 32-bit address space")
		}
	}
}

// checkPayload refuses what a component's bootloader cannot do with its payload.
func (d *decoder) checkPayload(c Component) {
	if c.Format == FormatSUIT {
		return
	}
	path := "components." + c.Name
	for _, section := range []struct {
		name  string
		given bool
	}{{"delta", c.Delta != nil}, {"compress", c.Compress != nil}} {
		if section.given {
			d.fail(path+"."+section.name, "is for our own bootloaders: one of format %s takes its image whole and as it is", c.Format)
		}
	}
	for _, section := range []struct {
		name  string
		given bool
	}{{"ram", c.RAM != nil}, {"decoder-ram", c.DecoderRAM != nil}} {
		if section.given {
			d.fail(path+"."+section.name, "is for payloads that are decoded, which those of format %s are not", c.Format)
		}
	}
}

// checkFrom looks for the release that "oldest-supported" stands for.
func (d *decoder) checkFrom(c Component) {
	if c.Delta == nil {
		return
	}
	for i, from := range c.Delta.From {
		if from == FromOldestSupported && d.cfg.Policy.OldestSupported == "" && !d.failed("policy.oldest-supported") {
			d.fail(fmt.Sprintf("components.%s.delta.from[%d]", c.Name, i), "needs policy.oldest-supported, the version of a release")
		}
	}
}
