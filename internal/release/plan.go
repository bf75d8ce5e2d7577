package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// maxFirmwareFile bounds a firmware file in bytes: 16 MiB of image take 45 MiB
// as Intel HEX.
const maxFirmwareFile = 64 << 20

// maxRecordFile bounds a release.json in bytes.
const maxRecordFile = 4 << 20

// Options of a release.
type Options struct {
	Version  string  // of the release, required
	Sequence *uint32 // nil: one above the last release, 1 for the first
	OutDir   string  // "": <output.dir>/<version>
}

// Plan is a release whose inputs are all read and hashed.
type Plan struct {
	project  *Project
	version  manifest.Version
	sequence uint32
	explicit bool // the sequence number was asked for
	outDir   string
	last     *Record // record of the last release, nil for the first
	lastFile []byte  // what it was read from, nil for no file
	inputs   []File
	images   []image // one per component
}

// image is a component's firmware.
type image struct {
	version manifest.Version
	format  firmware.Format
	loaded  formats.Image // for our own bootloaders
	bank    bootloader.Region
	content content // for other ones
}

// Load reads firmware and the last release's record. Errors are *InputError,
// or *config.Error for values of the configuration.
func (p *Project) Load(o Options) (*Plan, error) {
	plan := &Plan{project: p, outDir: o.OutDir}
	var err error
	if plan.version, err = manifest.ParseVersion(o.Version); err != nil {
		return nil, &InputError{"--version", err}
	}
	if plan.outDir == "" {
		plan.outDir = filepath.Join(p.cfg.Resolve(p.cfg.Output.Dir), o.Version)
	}
	if plan.last, plan.lastFile, err = readRecordFile(p.cfg.Resolve(p.cfg.Output.LastRelease)); err != nil {
		return nil, err
	}
	if err := plan.setSequence(o.Sequence); err != nil {
		return nil, err
	}
	name := filepath.Base(p.cfg.File())
	if _, err := p.read(name, 1<<20); err != nil {
		return nil, err
	}
	for _, c := range p.components {
		image, err := p.loadImage(c, plan.version)
		if err != nil {
			return nil, err
		}
		plan.images = append(plan.images, image)
	}
	plan.inputs = slices.Clone(p.inputs)
	slices.SortFunc(plan.inputs, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return plan, nil
}

func (p *Plan) setSequence(asked *uint32) error {
	switch {
	case asked != nil:
		p.sequence, p.explicit = *asked, true
	case p.last == nil:
		p.sequence = 1
	case p.last.Sequence == math.MaxUint32:
		return &InputError{p.project.cfg.Output.LastRelease, errors.New("the sequence number is used up")}
	default:
		p.sequence = p.last.Sequence + 1
	}
	return nil
}

func (p *Project) loadImage(c component, release manifest.Version) (image, error) {
	im := image{version: release}
	var err error
	if c.Version != "" {
		if im.version, err = manifest.ParseVersion(c.Version); err != nil {
			return im, p.cfg.Errorf("components."+c.Name+".version", "%v", err)
		}
	}
	if im.bank, err = c.chip.Bank(c.slot); err != nil {
		return im, err
	}
	data, err := p.read(c.Image, maxFirmwareFile)
	if err != nil {
		return im, err
	}
	var o firmware.Options
	if c.Base != nil {
		base := uint32(*c.Base)
		if uint64(base) != *c.Base {
			return im, p.cfg.Errorf("components."+c.Name+".base", "does not fit 32 bits")
		}
		o.Base = &base
	}
	if c.device != nil {
		if im.content, im.format, err = c.device.load(data, o.Base); err != nil {
			return im, &InputError{c.Image, err}
		}
		im.content.version = im.version
		return im, nil
	}
	if im.loaded, im.format, err = firmware.Load(bytes.NewReader(data), o); err != nil {
		return im, &InputError{c.Image, err}
	}
	return im, nil
}

// flatten returns the bytes that the bank will hold, from its start. Lint has
// checked that the image lies in the bank.
func (im image) flatten() ([]byte, error) {
	return im.loaded.Flatten(im.bank.Base, int(im.bank.Size), bootloader.Erased)
}

// readRecord reads a release.json; a missing file is no record and no error.
func readRecord(path string) (*Record, error) {
	r, _, err := readRecordFile(path)
	return r, err
}

func readRecordFile(path string) (*Record, []byte, error) {
	data, err := readFile(path, maxRecordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &InputError{path, err}
	}
	r, err := parseRecord(path, data)
	return r, data, err
}

func parseRecord(path string, data []byte) (*Record, error) {
	var r Record
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, &InputError{path, err}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, &InputError{path, errors.New("data after the record")}
	}
	if r.Schema != RecordSchema {
		return nil, &InputError{path, fmt.Errorf("schema %q, want %q", r.Schema, RecordSchema)}
	}
	return &r, nil
}

// OutDir returns the directory that the release goes to.
func (p *Plan) OutDir() string { return p.outDir }

// Version returns the version of the release.
func (p *Plan) Version() manifest.Version { return p.version }

// Sequence returns the release's sequence number.
func (p *Plan) Sequence() uint32 { return p.sequence }

// Existing looks for this version among the outputs. It returns the record of
// an earlier run when that was made from the same inputs and everything it
// wrote is still there, nil when there is none, and an error that wraps
// ErrExists or ErrChanged otherwise.
//
// Ciphertext and signatures are random, so "the same release" cannot be told
// from output bytes; it is told from the inputs.
func (p *Plan) Existing() (*Record, error) {
	r, err := readRecord(filepath.Join(p.outDir, recordName))
	if err != nil {
		return nil, err
	}
	if r == nil {
		// Found now and not by Write, which comes after a PIN was asked for.
		bundle := filepath.Join(p.outDir, BundleName(p.project.cfg.Product.Name, p.version))
		if _, err := os.Lstat(bundle); err == nil {
			return nil, fmt.Errorf("release: %s has no %s beside it: %w", bundle, recordName, ErrExists)
		}
		if p.last != nil && p.last.Product == p.project.cfg.Product.Name && p.last.Version.Compare(p.version) == 0 {
			return nil, fmt.Errorf("release: %s is the last release (sequence number %d), and it is not in %s: %w", p.version, p.last.Sequence, p.outDir, ErrExists)
		}
		return nil, nil
	}
	if r.Product != p.project.cfg.Product.Name || r.Version.Compare(p.version) != 0 || p.explicit && r.Sequence != p.sequence {
		return nil, fmt.Errorf("release: %s has %s %s with sequence number %d: %w", p.outDir, r.Product, r.Version, r.Sequence, ErrExists)
	}
	for _, f := range p.inputs {
		if !slices.Contains(r.Inputs, f) {
			return nil, fmt.Errorf("release: %s: input %s has changed since: %w", p.outDir, f.Path, ErrExists)
		}
	}
	if len(r.Inputs) != len(p.inputs) {
		return nil, fmt.Errorf("release: %s: has other inputs: %w", p.outDir, ErrExists)
	}
	for _, f := range r.Outputs {
		if !filepath.IsLocal(f.Path) {
			return nil, &InputError{filepath.Join(p.outDir, recordName), fmt.Errorf("output %q lies elsewhere", f.Path)}
		}
		data, err := os.ReadFile(filepath.Join(p.outDir, f.Path))
		if err != nil {
			return nil, fmt.Errorf("release: %w: %w", err, ErrChanged)
		}
		if got := (File{f.Path, sha256.Sum256(data), int64(len(data))}); got != f {
			return nil, fmt.Errorf("release: %s: %w", filepath.Join(p.outDir, f.Path), ErrChanged)
		}
	}
	if bundle := BundleName(r.Product, r.Version); len(r.Outputs) == 0 || r.Outputs[0].Path != bundle {
		return nil, &InputError{filepath.Join(p.outDir, recordName), fmt.Errorf("output %q does not come first", bundle)}
	}
	return r, nil
}

// Behind reports whether the record of the last release is older than an
// existing release: a run that was killed has not come to Write's last step, or
// the file was lost. The next release would take the sequence number again.
func (p *Plan) Behind(existing Record) bool {
	return p.last == nil || p.last.Product == existing.Product && p.last.Sequence < existing.Sequence
}

// CatchUp makes an existing release the last one.
func (p *Plan) CatchUp(existing Record) error {
	record, err := existing.Encode()
	if err != nil {
		return err
	}
	set := atomicfile.NewSet(p.outDir)
	defer set.Abort() // after Commit it does nothing, before it the first error counts
	if err := set.ReplaceUnchanged(p.project.cfg.Resolve(p.project.cfg.Output.LastRelease), record, p.lastFile); err != nil {
		return err
	}
	return set.Commit()
}

// Lint holds the plan against the rules of a release. The error is a
// *PolicyError with every rule that is broken.
func (p *Plan) Lint() error {
	var findings []Finding
	add := func(reason verdict.Reason, object, format string, args ...any) {
		findings = append(findings, Finding{reason, object, fmt.Sprintf(format, args...)})
	}
	p.lintSequence(add)
	p.lintKeys(add)
	for i, c := range p.project.components {
		if c.device == nil {
			p.images[i].lint(c, add)
		}
	}
	record, err := p.record(nil)
	switch refusal, ok := errors.AsType[*verdict.Error](err); {
	case ok:
		add(refusal.Reason, refusal.Object, "%s", refusal.Detail)
	case err != nil:
		return err
	default:
		p.lintTransition(record, add)
	}
	if len(findings) > 0 {
		return &PolicyError{findings}
	}
	return nil
}

type report func(reason verdict.Reason, object, format string, args ...any)

func (p *Plan) lintSequence(add report) {
	if p.last == nil {
		return
	}
	if p.last.Product != p.project.cfg.Product.Name {
		add(verdict.ProductMismatch, "last release", "%s is of product %s", p.project.cfg.Output.LastRelease, p.last.Product)
		return
	}
	if p.sequence <= p.last.Sequence {
		add(verdict.SequenceRollback, "sequence number", "%d is not above %d of the last release %s", p.sequence, p.last.Sequence, p.last.Version)
	}
	if limit := p.project.cfg.Policy.MaxSequenceStep; limit > 0 && uint64(p.sequence) > uint64(p.last.Sequence)+limit {
		add(verdict.SequenceStep, "sequence number", "%d is more than %d above %d of the last release %s", p.sequence, limit, p.last.Sequence, p.last.Version)
	}
}

// lintKeys refuses keys whose private halves are published.
func (p *Plan) lintKeys(add report) {
	for _, k := range p.project.cfg.Keys {
		if where := publishedIn(p.project.keys[k.Name].ID()); where != "" {
			add(verdict.TestKey, "key "+k.Name, "its private half is published in %s", where)
		}
	}
	for _, c := range p.project.components {
		for i, r := range c.recipients {
			if where := recipientPublishedIn(r.Public); where != "" {
				add(verdict.TestKey, c.EncryptTo[i], "its private half is published in %s", where)
			}
		}
		if f, ok := c.device.(*mcubootFormat); ok {
			for _, r := range f.recipients {
				if where := recipientPublishedIn(r.key.Public()); where != "" {
					add(verdict.TestKey, r.file, "its private half is published in %s", where)
				}
			}
		}
	}
}

func (im image) lint(c component, add report) {
	start, end := im.loaded.Start(), im.loaded.End()
	switch {
	case end-uint64(start) > uint64(im.bank.Size):
		add(verdict.ImageExceedsBank, c.Name, "%s spans %d bytes, the bank %s of %s has %d", c.Image, end-uint64(start), im.bank, c.chip.Name, im.bank.Size)
	case start != im.bank.Base: // else it ends inside, too
		add(verdict.ImageOutsideBank, c.Name, "%s occupies 0x%08x-0x%08x, it must begin at and lie in the bank %s of %s", c.Image, start, end-1, im.bank, c.chip.Name)
	default:
		im.lintSlot(c, add)
	}
}

// lintTransition walks from the last release to this one in install order. A
// device may lose power for days between two components, so every combination
// on the way must be declared as allowed.
func (p *Plan) lintTransition(record manifest.Record, add report) {
	if p.last == nil {
		return
	}
	versions := record.Own()
	for i, c := range p.project.components {
		at := slices.IndexFunc(p.last.Components, func(o ComponentRecord) bool { return o.Name == c.Name })
		if at < 0 {
			return // a new component: there is no installed version to come from
		}
		versions[i] = p.last.Components[at].Version
	}
	for _, i := range p.project.order[:len(p.project.order)-1] {
		versions[i] = p.images[i].version
		if !record.Allows(versions) {
			add(verdict.TransitionNotAllowed, "allowed-versions", "the way from %s to %s passes %s, which is not listed", p.last.Version, p.version, p.combination(versions))
		}
	}
}

// combination prints versions as otapack.yaml has them.
func (p *Plan) combination(versions []manifest.Version) string {
	var parts []string
	for i, c := range p.project.components {
		parts = append(parts, c.Name+": "+versions[i].String())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// record lays out the release record; digests are the manifests', nil while
// they are not known.
func (p *Plan) record(digests []manifest.Digest) (manifest.Record, error) {
	r := manifest.Record{
		ID:           fmt.Sprintf("%s+%d", p.version, p.sequence),
		Product:      p.project.cfg.Product.Name,
		Vendor:       p.project.vendor,
		Sequence:     p.sequence,
		InstallOrder: p.project.order,
	}
	for i, c := range p.project.components {
		component := manifest.RecordComponent{Role: c.Name, Version: p.images[i].version, Requires: c.requires}
		if digests != nil {
			component.Manifest = digests[i]
		}
		r.Components = append(r.Components, component)
	}
	for _, combination := range p.project.allowed {
		versions := r.Own() // components left out of an entry run in their new version
		for i, v := range combination {
			if v != nil {
				versions[i] = v
			}
		}
		r.Allowed = append(r.Allowed, versions)
	}
	return r, r.Check()
}
