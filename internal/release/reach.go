package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/internal/census"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// Outcome is what devices of a class do with a bundle in one order of updates.
type Outcome string

// Outcomes. A refusal of a bootloader counts before what stands on the way.
const (
	// Accepts: every bootloader takes its part, and every combination of versions
	// on the way is allowed.
	Accepts Outcome = "accepts"
	// Intermediate: every bootloader takes its part, but a combination on the way
	// is not allowed. From other versions, which are listed, it would be.
	Intermediate Outcome = "intermediate"
	// Refuses: a bootloader does not take its part, or nothing that the record
	// allows leads this way.
	Refuses Outcome = "refuses"
)

// Reach says what a fleet does with a bundle.
type Reach struct {
	Product   string `json:"product"`
	ReleaseID string `json:"release_id"`
	Sequence  uint32 `json:"sequence"`
	Devices   uint64 `json:"devices"`
	Classes   int    `json:"classes"`
	// UnknownRecipients are devices whose census does not say which key they
	// decrypt an encrypted payload with: whether they can is not known.
	UnknownRecipients uint64       `json:"unknown_recipients"`
	Orders            []OrderReach `json:"orders"` // the release's own first
}

// OrderReach is one order in which the components could be updated.
type OrderReach struct {
	Order        []string                  `json:"order"`
	InstallOrder bool                      `json:"install_order"` // the one that devices follow
	Accepts      uint64                    `json:"accepts"`       // devices, as the next three
	Intermediate uint64                    `json:"intermediate"`
	Refuses      uint64                    `json:"refuses"`
	Reasons      map[verdict.Reason]uint64 `json:"reasons"`
	Classes      []ClassReach              `json:"classes"` // in the order of the census
}

// ClassReach is what the devices of one line of the census do.
type ClassReach struct {
	Line      int             `json:"line"`
	Devices   uint64          `json:"devices"`
	Outcome   Outcome         `json:"outcome"`
	Component string          `json:"component,omitempty"` // that is not taken, or after which devices would stand wrong
	Step      bootloader.Step `json:"step,omitempty"`      // of the bootloader that refuses
	Reason    verdict.Reason  `json:"reason,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	// First lists versions to bring devices to before this release, any one of
	// them, by component; those that need not change are left out.
	First []map[string]manifest.Version `json:"first,omitempty"`
}

// maxOrdered is how many components are tried in every order: 5 have 120.
const maxOrdered = 5

// CensusParts returns what a census of this project must agree with.
func (p *Project) CensusParts() []census.Part {
	parts := make([]census.Part, len(p.components))
	for i, c := range p.components {
		parts[i] = census.Part{Name: c.Name, Chip: c.chip.Name}
	}
	return parts
}

// Reach checks a bundle like VerifyBundle, but against the devices of a census,
// whose components are those of CensusParts: the record and the manifests must be
// of this project, and then each class is asked once. Products of more than five
// components are looked at in the release's own order only.
//
// An error means that the bundle is not this project's, or that there is no
// verdict. What the devices refuse is the result.
func (p *Project) Reach(ctx context.Context, r io.ReaderAt, size int64, classes []census.Class) (*Reach, error) {
	_, record, parts, err := p.openParts(r, size)
	if err != nil {
		return nil, err
	}
	f := fleet{project: p, record: record, parts: parts, objections: map[string]*objection{}}
	reach := &Reach{Product: f.record.Product, ReleaseID: f.record.ID, Sequence: f.record.Sequence, Classes: len(classes)}
	for _, c := range classes {
		reach.Devices += c.Devices
		if f.unknownRecipient(c) {
			reach.UnknownRecipients += c.Devices
		}
	}
	for i, order := range f.orders() {
		or, err := f.order(ctx, order, classes)
		if err != nil {
			return nil, err
		}
		or.InstallOrder = i == 0
		reach.Orders = append(reach.Orders, or)
	}
	return reach, nil
}

// recordIndex finds a component that checkRecord has found.
func recordIndex(record manifest.Record, name string) int {
	return slices.IndexFunc(record.Components, func(c manifest.RecordComponent) bool { return c.Role == name })
}

// fleet asks the devices of a census.
type fleet struct {
	project    *Project
	record     manifest.Record
	parts      []fleetPart           // in install order
	objections map[string]*objection // by component and what its bootloader looks at; nil for none
}

// fleetPart is a component of the bundle.
type fleetPart struct {
	bundle.Component
	config   int // index into the project's components, and a class's
	record   int // index into the record's
	manifest *manifest.Verified
}

// objection is why a bootloader does not take its part.
type objection struct {
	step   bootloader.Step
	reason verdict.Reason
	detail string
}

// orders returns all orders of the parts, the install order first.
func (f *fleet) orders() [][]fleetPart {
	if len(f.parts) > maxOrdered {
		return [][]fleetPart{f.parts}
	}
	orders := [][]fleetPart{{}}
	for n := range f.parts {
		var longer [][]fleetPart
		for _, o := range orders {
			for _, next := range f.parts {
				if !slices.ContainsFunc(o, func(p fleetPart) bool { return p.record == next.record }) {
					longer = append(longer, append(o[:n:n], next))
				}
			}
		}
		orders = longer
	}
	return orders
}

func (f *fleet) order(ctx context.Context, order []fleetPart, classes []census.Class) (OrderReach, error) {
	reach := OrderReach{Reasons: map[verdict.Reason]uint64{}, Classes: make([]ClassReach, 0, len(classes))}
	for _, part := range order {
		reach.Order = append(reach.Order, part.Name)
	}
	starts := f.starts(order)
	for _, class := range classes {
		c, err := f.class(ctx, order, starts, class)
		if err != nil {
			return reach, err
		}
		switch c.Outcome {
		case Accepts:
			reach.Accepts += c.Devices
		case Intermediate:
			reach.Intermediate += c.Devices
		case Refuses:
			reach.Refuses += c.Devices
		}
		if c.Reason != "" {
			reach.Reasons[c.Reason] += c.Devices
		}
		reach.Classes = append(reach.Classes, c)
	}
	return reach, nil
}

// class asks one class.
func (f *fleet) class(ctx context.Context, order []fleetPart, starts [][]manifest.Version, class census.Class) (ClassReach, error) {
	c := ClassReach{Line: class.Line, Devices: class.Devices, Outcome: Accepts}
	for _, part := range order {
		r, err := f.bootloader(ctx, part, class.Components[part.config])
		if err != nil {
			return c, fmt.Errorf("release: %s: %w", part.Name, err)
		}
		if r != nil {
			c.Outcome, c.Component = Refuses, part.Name
			c.Step, c.Reason, c.Detail = r.step, r.reason, r.detail
			return c, nil
		}
	}
	installed := f.installed(class)
	blocked, refused := f.walk(order, installed)
	if refused == nil {
		return c, nil
	}
	c.Outcome, c.Component, c.Reason, c.Detail = Refuses, blocked.Name, refused.Reason, refused.Detail
	for _, start := range starts {
		first := map[string]manifest.Version{}
		useful := true
		for _, part := range order {
			i := part.record
			switch {
			case part.record == order[0].record || start[i].Compare(installed[i]) == 0:
			case start[i].Compare(f.record.Components[i].Version) == 0:
				useful = false // that would be this release, in another order
			default:
				first[part.Name] = start[i]
			}
		}
		same := func(o map[string]manifest.Version) bool { return fmt.Sprint(o) == fmt.Sprint(first) }
		if useful && !slices.ContainsFunc(c.First, same) {
			c.Outcome, c.First = Intermediate, append(c.First, first)
		}
	}
	return c, nil
}

// installed returns the versions of a class by component of the record.
func (f *fleet) installed(class census.Class) []manifest.Version {
	versions := make([]manifest.Version, len(f.parts))
	for _, part := range f.parts {
		versions[part.record] = class.Components[part.config].Version
	}
	return versions
}

// walk updates one component after the other. It returns the one after which the
// device would run a combination that is not allowed, and why that is not.
func (f *fleet) walk(order []fleetPart, from []manifest.Version) (fleetPart, *verdict.Error) {
	versions := slices.Clone(from)
	for _, part := range order {
		version := f.record.Components[part.record].Version
		if versions[part.record].Compare(version) == 0 {
			continue // it runs already: nothing changes
		}
		versions[part.record] = version
		if !f.record.Allows(versions) {
			return part, f.forbidden(versions)
		}
	}
	return fleetPart{}, nil
}

// forbidden says why a combination is not allowed.
func (f *fleet) forbidden(versions []manifest.Version) *verdict.Error {
	for i, c := range f.record.Components {
		if versions[i].Compare(c.Version) != 0 {
			continue
		}
		for _, q := range c.Requires {
			if got := versions[q.Component]; got.Compare(q.Minimum) < 0 {
				return verdict.New(verdict.PeerTooOld, "release record", "%s %s needs %s %s or later, devices would have %s",
					c.Role, c.Version, f.record.Components[q.Component].Role, q.Minimum, got)
			}
		}
	}
	var names []string
	for i, c := range f.record.Components {
		names = append(names, c.Role+": "+versions[i].String())
	}
	return verdict.New(verdict.TransitionNotAllowed, "release record", "devices would run {%s}, which is not listed", strings.Join(names, ", "))
}

// starts returns the allowed combinations from which an order works: after its
// first component, a device runs one of those that the record lists.
func (f *fleet) starts(order []fleetPart) [][]manifest.Version {
	first := order[0].record
	version := f.record.Components[first].Version
	var starts [][]manifest.Version
	for _, a := range f.record.Allowed {
		if a[first].Compare(version) != 0 {
			continue
		}
		if _, refused := f.walk(order[1:], a); refused == nil {
			starts = append(starts, a)
		}
	}
	return starts
}

// bootloader asks one component of a class, once for all classes that are alike
// in what it looks at.
func (f *fleet) bootloader(ctx context.Context, part fleetPart, c census.Component) (*objection, error) {
	key := fmt.Sprintf("%d %d %v %x %s", part.config, c.Sequence, c.KnowsRecipient, c.Recipient, c.Revision)
	if r, ok := f.objections[key]; ok {
		return r, nil
	}
	own := f.project.components[part.config]
	own.Revision = c.Revision
	payload := bootloader.Payload{ReaderAt: part.Payload, Size: part.Payload.Size()}
	_, trace, err := bootloader.Verify(ctx, f.project.device(own, c.Sequence, nil), part.Manifest, payload, bootloader.Options{WithoutDecryption: true})
	r := part.decryption(c)
	if refusal, ok := errors.AsType[*verdict.Error](err); ok {
		r = &objection{trace[len(trace)-1].Step, refusal.Reason, refusal.Detail}
		if r.reason == verdict.ClassMismatch {
			r.detail = fmt.Sprintf("hardware revision %s: %s", c.Revision, r.detail)
		}
	} else if err != nil {
		return nil, err
	}
	f.objections[key] = r
	return r, nil
}

// decryption says whether a device has a key for a payload, as far as the ids of
// keys tell. Where the census does not say, it is believed to have.
func (p fleetPart) decryption(c census.Component) *objection {
	install := p.manifest.Manifest().Install
	if !p.manifest.Manifest().Encrypted() || !c.KnowsRecipient || install == nil || install.Encryption == nil {
		return nil
	}
	if len(c.Recipient) == 0 {
		return &objection{bootloader.StepUnwrap, verdict.RecipientKeyMissing, "encrypted, and the device has no key"}
	}
	for _, to := range install.Encryption.Recipients {
		if bytes.Equal(to.KeyID, c.Recipient) {
			return nil
		}
	}
	return &objection{bootloader.StepUnwrap, verdict.KeyUnwrap, fmt.Sprintf("not encrypted to the device's key %x", c.Recipient)}
}

// unknownRecipient reports whether a class has a component of which it is not
// known whether it can decrypt its payload.
func (f *fleet) unknownRecipient(class census.Class) bool {
	return slices.ContainsFunc(f.parts, func(p fleetPart) bool {
		return p.manifest.Manifest().Encrypted() && !class.Components[p.config].KnowsRecipient
	})
}
