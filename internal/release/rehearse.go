package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/census"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
)

// shortSample is how many cut points a release tries, for each of its two ways
// through the installation, beside those of the journals. It keeps the release
// of a product like examples/toothbrush well below a second.
const shortSample = 64

// Start is the state of the devices before a rehearsed release.
type Start struct {
	From       string           `json:"from"` // release.json that tells it, "" when nothing does
	Sequence   uint32           `json:"sequence"`
	Components []StartComponent `json:"components"` // in install order
}

// StartComponent is what a component has before a rehearsed release.
type StartComponent struct {
	Name     string           `json:"name"`
	Version  manifest.Version `json:"version"`
	Sequence uint32           `json:"sequence"` // rollback counter
	Size     int              `json:"size"`     // of the image in bytes
}

// RehearseOptions describe the devices of a rehearsal.
type RehearseOptions struct {
	Patch      bool                        // devices receive patches from what they have, where the bundle has some
	Identities map[string]encrypt.Identity // as in VerifyOptions
	From       string                      // path of the release.json that they have installed, "": see Rehearsal
}

// Rehearsal verifies a bundle and returns its power-loss rehearsal, ready to be
// run. Errors are those of VerifyBundle, and *InputError for the starting state.
//
// Without RehearseOptions.From the devices start with the last release, if that
// is an older one. Otherwise they start with made-up firmware: the versions that
// the release record allows beside the release's own, one sequence number below
// it.
func (p *Project) Rehearsal(ctx context.Context, r io.ReaderAt, size int64, o RehearseOptions) (*bootloader.Rehearsal, *Start, *Report, error) {
	record, components, report, err := p.rehearsed(ctx, r, size, o.Identities)
	if err != nil {
		return nil, nil, report, err
	}
	last, from, err := p.startingRecord(o.From, record.Sequence)
	if err != nil {
		return nil, nil, report, err
	}
	result, start := rehearsal(record, last, slices.Clone(components))
	if o.Patch {
		if components, err = p.patched(ctx, r, size, record, start, components); err != nil {
			return nil, nil, report, err
		}
		result, start = rehearsal(record, last, components)
	}
	start.From = from
	return result, start, report, nil
}

// ErrNoPatch says that a bundle has no patch for what devices have, or that the
// image that it comes from is not in the output folder.
var ErrNoPatch = errors.New("no patch whose base is here")

// patched replaces the payload of the component that can make its image on the
// device, the first with two banks, by the patch for what the device starts with.
func (p *Project) patched(ctx context.Context, r io.ReaderAt, size int64, record manifest.Record, start *Start, components []bootloader.RehearsedComponent) ([]bootloader.RehearsedComponent, error) {
	b, err := bundle.Open(r, size)
	if err != nil {
		return nil, err
	}
	host := slices.IndexFunc(components, func(c bootloader.RehearsedComponent) bool { return c.Device.Chip.Dual() })
	if host < 0 {
		return nil, fmt.Errorf("release: no component has two banks: %w", ErrNoPatch)
	}
	name, version := components[host].Name, start.Components[host].Version
	variants := b.Components[host].Variants
	at := slices.IndexFunc(variants, func(v bundle.Variant) bool { return v.Base == version.String() })
	if at < 0 {
		return nil, fmt.Errorf("release: %s from %s: %w", name, version, ErrNoPatch)
	}
	recorded := record.Components[recordIndex(record, name)].Variants[at] // as checkRecord has compared
	image := p.archived(ctx, p.components[p.index(name)], version.String(), recorded.Base.Digest)
	if image == nil {
		return nil, fmt.Errorf("release: %s from %s: %w", name, version, ErrNoPatch)
	}
	payload, err := io.ReadAll(io.NewSectionReader(variants[at].Payload, 0, variants[at].Payload.Size()))
	if err != nil {
		return nil, fmt.Errorf("release: %s from %s: %w", name, version, err)
	}
	components = slices.Clone(components)
	c := &components[host]
	c.Envelope, c.Payload, c.Base, c.Before.Version = variants[at].Manifest, payload, image, version
	return components, nil
}

// rehearsed verifies a bundle and returns its components in install order.
func (p *Project) rehearsed(ctx context.Context, r io.ReaderAt, size int64, identities map[string]encrypt.Identity) (manifest.Record, []bootloader.RehearsedComponent, *Report, error) {
	var record manifest.Record
	if name := p.Unrehearsed(); name != "" {
		return record, nil, &Report{}, p.cfg.Errorf("components."+name+".format", "power loss is rehearsed with our own bootloaders only")
	}
	verified, report, err := p.VerifyBundle(ctx, r, size, VerifyOptions{Identities: identities})
	if err != nil {
		return record, nil, report, err
	}
	record = verified.Record().Record()
	b, err := bundle.Open(r, size)
	if err != nil {
		return record, nil, report, err
	}
	var components []bootloader.RehearsedComponent
	for _, part := range b.Components {
		c := p.components[p.index(part.Name)]
		payload := make([]byte, part.Payload.Size()) // VerifyBundle has held it against the bank
		if _, err := io.ReadFull(io.NewSectionReader(part.Payload, 0, part.Payload.Size()), payload); err != nil {
			return record, nil, report, fmt.Errorf("release: %s: %w", part.Name, err)
		}
		components = append(components, bootloader.RehearsedComponent{
			Name: part.Name, Device: p.device(c, 0, identities[part.Name]), Envelope: part.Manifest, Payload: payload,
		})
	}
	return record, components, report, nil
}

// FleetRehearsal is the rehearsals of a bundle on the devices of a census.
type FleetRehearsal struct {
	Devices uint64       // in the census
	Starts  []FleetStart // the most devices first
	Left    []ClassReach // classes that do not take the bundle, or have it
}

// FleetStart is a state that devices of the census are in.
type FleetStart struct {
	Lines     []int // of the census
	Devices   uint64
	Start     *Start
	Rehearsal *bootloader.Rehearsal
}

// Installed is the outcome of a class that has the release already.
const Installed Outcome = "installed"

// FleetRehearsal is Rehearsal from every state that devices of a census are in
// and from which they accept the bundle, see Reach. Image sizes are those of the
// last release, or of the bundle where that did not have the version.
func (p *Project) FleetRehearsal(ctx context.Context, r io.ReaderAt, size int64, o RehearseOptions, classes []census.Class) (*FleetRehearsal, *Report, error) {
	record, components, report, err := p.rehearsed(ctx, r, size, o.Identities)
	if err != nil {
		return nil, report, err
	}
	reach, err := p.Reach(ctx, r, size, classes)
	if err != nil {
		return nil, report, err
	}
	last, _, err := p.startingRecord("", record.Sequence)
	if err != nil {
		return nil, report, err
	}
	fleet := &FleetRehearsal{Devices: reach.Devices}
	states := map[string]int{} // index into Starts
	for i, c := range reach.Orders[0].Classes {
		start := p.censusStart(classes[i], components, last)
		if c.Outcome == Accepts && !slices.ContainsFunc(start.Components, func(s StartComponent) bool { return s.Sequence < record.Sequence }) {
			c.Outcome = Installed
		}
		if c.Outcome != Accepts {
			fleet.Left = append(fleet.Left, c)
			continue
		}
		key := fmt.Sprint(start.Components)
		at, known := states[key]
		if !known {
			at = len(fleet.Starts)
			states[key] = at
			with := components
			if o.Patch {
				switch patched, err := p.patched(ctx, r, size, record, start, components); {
				case err == nil:
					with = patched
				case !errors.Is(err, ErrNoPatch): // those of other versions receive the whole image
					return nil, report, err
				}
			}
			fleet.Starts = append(fleet.Starts, FleetStart{Start: start, Rehearsal: fromStart(record, start, with)})
		}
		fleet.Starts[at].Lines = append(fleet.Starts[at].Lines, c.Line)
		fleet.Starts[at].Devices += c.Devices
	}
	slices.SortStableFunc(fleet.Starts, func(a, b FleetStart) int { return cmp.Compare(b.Devices, a.Devices) })
	return fleet, report, nil
}

// censusStart is the state of a class, in install order.
func (p *Project) censusStart(class census.Class, components []bootloader.RehearsedComponent, last *Record) *Start {
	start := &Start{}
	for _, c := range components {
		has := class.Components[p.index(c.Name)]
		s := StartComponent{c.Name, has.Version, has.Sequence, len(c.Payload)}
		if last != nil {
			at := slices.IndexFunc(last.Components, func(r ComponentRecord) bool { return r.Name == c.Name && r.Version.Compare(has.Version) == 0 })
			if at >= 0 {
				s.Size = int(last.Components[at].Image.Size)
			}
		}
		start.Components = append(start.Components, s)
		start.Sequence = max(start.Sequence, has.Sequence)
	}
	return start
}

// fromStart is the rehearsal of components on devices in a known state.
func fromStart(record manifest.Record, start *Start, components []bootloader.RehearsedComponent) *bootloader.Rehearsal {
	components = slices.Clone(components)
	for i, s := range start.Components {
		components[i].Before = bootloader.Before{Sequence: s.Sequence, Version: s.Version, Size: s.Size}
	}
	return &bootloader.Rehearsal{
		Components: components, Seed: uint64(record.Sequence),
		Allows: func(versions []manifest.Version) bool { return record.Allows(inRecordOrder(record, versions)) },
	}
}

// inRecordOrder sorts versions, in install order, as the record has its
// components.
func inRecordOrder(record manifest.Record, inOrder []manifest.Version) []manifest.Version {
	versions := make([]manifest.Version, len(inOrder))
	for i, v := range inOrder {
		versions[record.InstallOrder[i]] = v
	}
	return versions
}

// Unrehearsed returns the first component whose bootloader is a vendor's: what
// that does when the power fails is not known here. It is "" for none.
func (p *Project) Unrehearsed() string {
	for _, c := range p.components {
		if c.device != nil {
			return c.Name
		}
	}
	return ""
}

// startingRecord reads the record that tells what the devices have: the one that
// was asked for, or the last release's if that is older than the bundle.
func (p *Project) startingRecord(asked string, sequence uint32) (r *Record, from string, err error) {
	if asked == "" {
		from = p.cfg.Output.LastRelease
		r, err = readRecord(p.cfg.Resolve(from))
		if err != nil || r == nil || r.Product != p.cfg.Product.Name || r.Sequence >= sequence {
			return nil, "", err
		}
		return r, from, nil
	}
	switch r, err = readRecord(asked); {
	case err != nil:
		return nil, "", err
	case r == nil:
		err = fs.ErrNotExist
	case r.Product != p.cfg.Product.Name:
		err = fmt.Errorf("is of product %s", r.Product)
	case r.Sequence >= sequence:
		err = fmt.Errorf("has sequence number %d, not below %d of the bundle", r.Sequence, sequence)
	default:
		return r, asked, nil
	}
	return nil, "", &InputError{asked, err}
}

// rehearsal puts components, in install order, and what they have before
// together. last is nil when that is not known.
func rehearsal(record manifest.Record, last *Record, components []bootloader.RehearsedComponent) (*bootloader.Rehearsal, *Start) {
	start := &Start{Sequence: record.Sequence - 1}
	if last != nil {
		start.Sequence = last.Sequence
	}
	for i := range components {
		c := &components[i]
		from := c.Before.Version // of a patch
		c.Before = bootloader.Before{Sequence: start.Sequence, Version: impliedVersion(record, record.InstallOrder[i]), Size: len(c.Payload)}
		switch {
		case c.Base != nil:
			c.Before.Version, c.Before.Size = from, len(c.Base)
		case last != nil:
			at := slices.IndexFunc(last.Components, func(r ComponentRecord) bool { return r.Name == c.Name })
			if at >= 0 { // else a new component
				c.Before.Version, c.Before.Size = last.Components[at].Version, int(last.Components[at].Image.Size)
			}
		}
		start.Components = append(start.Components, StartComponent{c.Name, c.Before.Version, c.Before.Sequence, c.Before.Size})
	}
	own := make([]manifest.Version, len(components))
	for i, c := range record.InstallOrder {
		own[i] = record.Components[c].Version
	}
	allows := func(inOrder []manifest.Version) bool {
		// The record names the combinations on the way from the last release, and
		// none on the way from what is made up here.
		return record.Allows(inRecordOrder(record, inOrder)) || last == nil && onTheWay(inOrder, own, components)
	}
	return &bootloader.Rehearsal{Components: components, Allows: allows, Seed: uint64(record.Sequence)}, start
}

// impliedVersion is the highest version that the record allows of a component
// beside its own, 0.0.0 for none.
func impliedVersion(record manifest.Record, component int) manifest.Version {
	version := manifest.Version{0, 0, 0}
	for _, combination := range record.Allowed {
		if v := combination[component]; v.Compare(record.Components[component].Version) != 0 && v.Compare(version) > 0 {
			version = v
		}
	}
	return version
}

// onTheWay reports whether versions, in install order, are what the devices run
// after the first few components have the release.
func onTheWay(versions, own []manifest.Version, before []bootloader.RehearsedComponent) bool {
	for updated := range len(versions) + 1 {
		same := true
		for i, v := range versions {
			want := own[i]
			if i >= updated {
				want = before[i].Before.Version
			}
			same = same && v.Compare(want) == 0
		}
		if same {
			return true
		}
	}
	return false
}

// rehearsePowerLoss is the short or the full rehearsal of a release, as the
// policy says. Components come in the order of otapack.yaml.
//
// With patches it is done once more for each, on devices that run what the patch
// comes from. The outcome counts all of them.
func (d *Draft) rehearsePowerLoss(ctx context.Context, components []rehearsedComponent) (*bootloader.Outcome, error) {
	policy := d.plan.project.cfg.Policy.Rehearse
	if policy == config.RehearseOff || d.plan.project.Unrehearsed() != "" {
		return nil, nil
	}
	digests := make([]manifest.Digest, len(d.components))
	for i, b := range d.components {
		digests[i] = b.envelope.Digest()
	}
	record, err := d.plan.record(digests)
	if err != nil {
		return nil, err
	}
	var ordered []bootloader.RehearsedComponent
	for _, i := range d.plan.project.order {
		ordered = append(ordered, components[i].whole)
	}
	all := &bootloader.Outcome{Complete: true}
	run := func(components []bootloader.RehearsedComponent, sample int) error {
		r, _ := rehearsal(record, d.plan.last, components)
		r.Sample = sample
		if policy == config.RehearseFull {
			r.Sample, r.Pairs = 0, 1
		}
		outcome, err := r.Run(ctx)
		if err != nil {
			return err
		}
		if refusals := outcome.Refusals(); len(refusals) > 0 {
			return &RejectedError{refusals}
		}
		all.Add(outcome)
		return nil
	}
	if err := run(ordered, shortSample); err != nil {
		return nil, err
	}
	for n, i := range d.plan.project.order {
		for _, patch := range components[i].patches {
			version := patch.Before.Version
			with := slices.Clone(ordered)
			with[n] = patch
			if err := run(with, shortSample/4); err != nil {
				return nil, fmt.Errorf("release: %s from %s: %w", patch.Name, version, err)
			}
		}
	}
	return all, nil
}

// rehearsedComponent is a component that its bootloader has accepted.
type rehearsedComponent struct {
	whole   bootloader.RehearsedComponent
	patches []bootloader.RehearsedComponent // for devices that run their bases
}
