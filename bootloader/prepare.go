package bootloader

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// plan is a rehearsal made ready. It does not change while runs are made.
type plan struct {
	Rehearsal
	parts    []*part
	host     int    // index of the host, -1: a gateway feeds all MCUs
	sequence uint32 // of the release
	fault    fault
	start    *world // before the release
}

// part is one component: its device, and what it has had before and gets.
type part struct {
	name      string
	device    Device
	slotted   bool
	geometry  flash.Geometry
	delivered Options    // of checking a payload as it is delivered
	boot      Options    // of checking what is in a bank
	releases  []*release // before, the release, and if there is one the repair
	patch     *patch     // how the release is made on the device, nil where it arrives whole
	released  manifest.Manifest
	signers   []sign.Signer // of what nobody has released
	checks    *checks
}

// release is what a component has at one of the releases.
type release struct {
	version  manifest.Version
	sequence uint32
	envelope []byte
	payload  []byte // as delivered
	image    []byte // as it is in the bank
	pages    int    // of the image
	sum      [sha256.Size]byte
	bank     *bankImage
}

func (r Rehearsal) prepare(ctx context.Context, fault fault) (*plan, error) {
	p := &plan{Rehearsal: r, host: -1, fault: fault}
	p.Grain = cmp.Or(p.Grain, DefaultGrain)
	p.Workers = cmp.Or(p.Workers, runtime.GOMAXPROCS(0))
	if len(r.Components) == 0 {
		return nil, errors.New("bootloader: a rehearsal of no components")
	}
	for i, c := range r.Components {
		part, err := c.prepare(ctx, flash.NewRand(r.Seed, uint64(i)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		p.parts = append(p.parts, part)
		if p.host < 0 && len(part.device.Chip.Banks) > 1 {
			p.host = i
		}
		if i > 0 && part.releases[1].sequence != p.sequence {
			return nil, verdict.New(verdict.SequenceMismatch, c.Name, "sequence number %d, %s has %d", part.releases[1].sequence, r.Components[0].Name, p.sequence)
		}
		p.sequence = part.releases[1].sequence
	}
	if !slices.ContainsFunc(p.parts, func(part *part) bool { return !part.updated() }) {
		return nil, verdict.New(verdict.SequenceRollback, "starting state", "has the release already, sequence number %d", p.sequence)
	}
	for i, part := range p.parts {
		if part.patch != nil && i != p.host {
			return nil, verdict.New(verdict.BaseMismatch, part.name, "a difference is for the MCU that has two banks and feeds the others")
		}
	}
	if err := p.makeRepair(ctx); err != nil {
		return nil, err
	}
	if err := p.layOut(); err != nil {
		return nil, err
	}
	var err error
	p.start, err = p.device()
	return p, err
}

// prepare verifies the component's release, decrypts it where the device can,
// and makes the firmware that it had before.
func (c RehearsedComponent) prepare(ctx context.Context, random *flash.Rand) (*part, error) {
	chip, err := c.Device.Chip.complete()
	if err != nil {
		return nil, err
	}
	if err := chip.Check(); err != nil {
		return nil, err
	}
	part := &part{
		name: c.Name, device: c.Device, slotted: c.Device.Slot != nil, checks: &checks{seen: map[[sha256.Size]byte]judgement{}},
		geometry: flash.Geometry{Base: chip.Flash.Base, Size: chip.Flash.Size, Page: chip.Page, Unit: chip.WriteUnit, WriteOnce: chip.WriteOnce},
	}
	part.device.Chip = chip
	part.device.MinSequence = c.Before.Sequence
	if c.Base != nil {
		part.device.Running = &Payload{bytes.NewReader(c.Base), int64(len(c.Base))}
	}
	payload := Payload{bytes.NewReader(c.Payload), int64(len(c.Payload))}
	part.delivered.WithoutDecryption = c.Device.Identity == nil
	v, _, err := Verify(ctx, part.device, c.Envelope, payload, part.delivered)
	if err != nil {
		return nil, err
	}
	m := v.Manifest().Manifest()
	if m.Sequence < c.Before.Sequence {
		return nil, verdict.New(verdict.SequenceRollback, "starting state", "has sequence number %d, the release %d", c.Before.Sequence, m.Sequence)
	}
	after := &release{version: m.Version, sequence: m.Sequence, envelope: c.Envelope, payload: c.Payload, image: c.Payload}
	if part.boot = part.delivered; v.Complete() {
		part.boot = Options{Installed: true}
	}
	if m.Staged && v.Complete() {
		if after.image, err = open(ctx, part.device, v, c.Payload); err != nil {
			return nil, err
		}
	}
	if err := after.measure(part.geometry); err != nil {
		return nil, err
	}
	if err := part.trustOwn(random); err != nil {
		return nil, err
	}
	if c.Base != nil {
		if part.patch, err = newPatch(v, part.device, c.Payload); err != nil {
			return nil, err
		}
	}
	part.device.Running = nil
	before := after
	if m.Sequence > c.Before.Sequence {
		if before, err = part.before(ctx, c, m, random); err != nil {
			return nil, err
		}
	}
	part.releases = []*release{before, after}
	part.released = m
	return part, nil
}

// updated reports whether the component has the release from the start.
func (p *part) updated() bool { return p.releases[0] == p.releases[1] }

// open returns the image that a device makes from a payload that it has verified.
func open(ctx context.Context, device Device, v *Verified, payload []byte) ([]byte, error) {
	m := v.Manifest().Manifest()
	image := io.Reader(bytes.NewReader(payload))
	if m.Encrypted() {
		header := Header(*m.Install.Encryption)
		key, err := device.Identity.Unwrap(header)
		if err != nil {
			return nil, err
		}
		defer key.Wipe()
		if image, err = encrypt.NewReader(image, header, key); err != nil {
			return nil, err
		}
	}
	if m.Decoded() {
		var err error
		if image, err = Decode(ctx, *m.Install.Decoding, m.Image.Size, device.Running, image); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(image)
}

// before makes the firmware that was there before.
func (p *part) before(ctx context.Context, c RehearsedComponent, after manifest.Manifest, random *flash.Rand) (*release, error) {
	b, image := c.Before, c.Base
	if image == nil {
		image = make([]byte, max(b.Size, 1))
		random.Fill(image)
	}
	m := manifest.Manifest{Sequence: b.Sequence, Version: b.Version, Vendor: after.Vendor, Class: after.Class, Slot: after.Slot}
	if after.Slot != nil && len(p.device.Chip.Banks) > 1 {
		m.Slot = new(1 - *after.Slot)
	}
	return p.made(ctx, m, image)
}

// made signs an image that nobody has released.
func (p *part) made(ctx context.Context, m manifest.Manifest, image []byte) (*release, error) {
	m.Image = manifest.Content{Digest: sha256.Sum256(image), Size: uint32(len(image))}
	m.Install = &manifest.Install{URI: "#made"}
	var keys []sign.PublicKey
	signers := map[sign.KeyID]sign.Signer{}
	for _, s := range p.signers {
		keys = append(keys, s.Public())
		signers[s.Public().ID()] = s
	}
	draft, err := manifest.New(m, keys, manifest.Options{Artifact: p.name + ", rehearsed"})
	if err != nil {
		return nil, err
	}
	signatures, err := sign.Answer(ctx, draft.Requests(), signers)
	if err != nil {
		return nil, err
	}
	r := &release{version: m.Version, sequence: m.Sequence, payload: image, image: image}
	if r.envelope, err = draft.Finish(signatures); err != nil {
		return nil, err
	}
	return r, r.measure(p.geometry)
}

// measure computes what a bank with the image has for a digest.
func (r *release) measure(g flash.Geometry) error {
	image, err := flash.NewImage(g, r.image)
	if err != nil {
		return err
	}
	r.pages, r.sum = image.Pages(), image.Sum()
	return nil
}

// trustOwn makes signers for firmware that nobody has released, and has the device
// trust them: nobody but the HSM can sign for the real keys.
func (p *part) trustOwn(random *flash.Rand) error {
	threshold := max(1, p.device.Trust.Threshold(sign.RoleManifest))
	keys := p.device.Trust.Keys(sign.RoleManifest)
	for range threshold {
		s, err := seededSigner(p.device.Chip.Algorithm, random)
		if err != nil {
			return err
		}
		p.signers = append(p.signers, s)
		keys = append(keys, s.Public())
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleManifest, threshold, keys...); err != nil {
		return err
	}
	p.device.Trust = &trust
	return nil
}

// seededKey signs the same way each time, so that a run can be replayed to the
// bit. Nobody but the simulated device trusts it.
type seededKey struct{ *ecdsa.PrivateKey }

// Sign is deterministic (RFC 6979).
func (k seededKey) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, o)
}

func seededSigner(a sign.Algorithm, random *flash.Rand) (sign.Signer, error) {
	scalar := make([]byte, (a.Curve().Params().BitSize+7)/8)
	random.Fill(scalar[1:]) // below the order of the group
	scalar[len(scalar)-1] |= 1
	key, err := ecdsa.ParseRawPrivateKey(a.Curve(), scalar)
	if err != nil {
		return nil, err
	}
	return sign.FromCrypto(seededKey{key})
}

// complete returns the profile with what it takes to install an image. A board
// that describes its own bank has not said where the second one, the journal and
// the cursors are; they are put where there is room.
func (c Chip) complete() (Chip, error) {
	profile, err := ChipByName(c.Name)
	if err != nil {
		return c, err
	}
	if what := c.checkFlash(); what != "" { // the search below goes by pages
		return c, c.contradiction(what)
	}
	taken := slices.Clone(c.Banks)
	room := func(size uint32) (Region, bool) {
		for base := c.Flash.End() - uint64(size); base >= uint64(c.Flash.Base); base -= uint64(c.Page) {
			r := Region{uint32(base), size}
			if !slices.ContainsFunc(taken, func(o Region) bool { return r.overlaps(o) }) {
				return r, true
			}
			if base < uint64(c.Page) {
				break
			}
		}
		return Region{}, false
	}
	for _, pages := range []*Region{&c.Journal, &c.Cursor} {
		if slices.ContainsFunc(taken, func(o Region) bool { return pages.overlaps(o) }) {
			var ok bool
			if *pages, ok = room(2 * c.Page); !ok {
				return c, verdict.New(verdict.PackageExceedsBank, "flash", "the bank leaves no room for the journal and the cursors")
			}
		}
		taken = append(taken, *pages)
	}
	if len(profile.Banks) > 1 && len(c.Banks) == 1 {
		second, ok := room(c.Banks[0].Size)
		if !ok {
			return c, verdict.New(verdict.PackageExceedsBank, "flash", "a second bank of %d bytes does not fit beside %s", c.Banks[0].Size, c.Banks[0])
		}
		c.Banks = []Region{c.Banks[0], second}
	}
	return c, nil
}

func (r Region) overlaps(o Region) bool { return uint64(r.Base) < o.End() && uint64(o.Base) < r.End() }

// layOut makes the packages of all releases: the host's has everything, the
// others' have their own image. A component that has the release already has its
// package: of a host, the one with what is still to be passed on.
func (p *plan) layOut() error {
	for which := range p.parts[0].releases {
		var all []contents
		for _, part := range p.parts {
			r := part.releases[which]
			all = append(all, contents{r.payload, r.envelope})
		}
		for i, part := range p.parts {
			r := part.releases[which]
			parts, own := []contents{{r.image, r.envelope}}, 0
			if i == p.host {
				parts, own = slices.Clone(all), i
				parts[i].payload = r.image
			}
			var made *patch
			if which == 1 {
				made = part.patch
			}
			var err error
			if r.bank, err = layOut(part.geometry, part.device.Chip.Banks[0], parts, own, made); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}

// allows reports whether versions may run together.
func (p *plan) allows(versions []manifest.Version) bool {
	before := true
	for i, v := range versions {
		before = before && v.Compare(p.parts[i].releases[0].version) == 0
	}
	return before || p.Allows(versions)
}

// device makes the device as it is before the release.
func (p *plan) device() (*world, error) {
	w := &world{plan: p, offered: 1, floors: make([]uint32, len(p.parts)), known: make([]*installed, len(p.parts))}
	for i, part := range p.parts {
		f, err := flash.New(part.geometry)
		if err != nil {
			return nil, err
		}
		chip, r := part.device.Chip, part.releases[0]
		unit := int(chip.WriteUnit)
		m := &mcu{
			device: part.device, slotted: part.slotted, options: part.boot, checks: part.checks, grain: (p.Grain + unit - 1) / unit * unit, fault: p.fault, flash: f,
			journal: journal{flash: f, region: chip.Journal, page: chip.Page, unit: unit, fault: p.fault, next: chip.Journal.Base},
		}
		m.state = state{phase: confirmed, floor: r.sequence}
		if part.slotted && m.dual() {
			m.state.active = uint8(1 - *part.device.Slot)
		}
		m.dest = int(m.state.active)
		if err := m.writePages(r.bank); err != nil {
			return nil, err
		}
		if err := m.record(m.state); err != nil {
			return nil, err
		}
		w.mcus, w.floors[i] = append(w.mcus, m), r.sequence
	}
	return w, nil
}
