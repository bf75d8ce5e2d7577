package release

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/compress"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
)

// maxKeyFile bounds a public key file in bytes.
const maxKeyFile = 16 << 10

// Project is otapack.yaml with the keys and profiles that it names.
type Project struct {
	cfg        *config.Config
	vendor     manifest.UUID
	keys       map[string]sign.PublicKey // by alias
	trust      sign.TrustSet             // role release
	signer     sign.PublicKey            // of the release record
	components []component
	order      []int                // install order, indices into components
	allowed    [][]manifest.Version // allowed-versions, by component; nil where an entry leaves one out
	inputs     []File
}

// component is one component as configured, without firmware.
type component struct {
	config.Component
	chip       bootloader.Chip
	class      manifest.UUID
	slot       *uint32
	trust      *sign.TrustSet // role manifest
	signers    []sign.PublicKey
	recipients []encrypt.Recipient
	requires   []manifest.Requirement
	device     deviceFormat // nil for our own bootloaders
	runs       string       // component that the device runs while this one is written: itself, unless linked for a slot
}

// File is a file that went into a release or came out of it.
type File struct {
	Path   string          `json:"path"` // relative, with slashes
	SHA256 manifest.Digest `json:"sha256"`
	Size   int64           `json:"size"` // in bytes
}

// Open reads the public keys that a configuration names and resolves its chip
// profiles. It needs no private key and no firmware. Errors are
// *config.Error or *InputError.
func Open(cfg *config.Config) (*Project, error) {
	p := &Project{cfg: cfg, vendor: manifest.VendorID(cfg.Product.Vendor), keys: map[string]sign.PublicKey{}}
	for _, k := range cfg.Keys {
		data, err := p.read(k.Public, maxKeyFile)
		if err != nil {
			return nil, err
		}
		if p.keys[k.Name], err = sign.ParsePublicKey(data); err != nil {
			return nil, &InputError{k.Public, err}
		}
	}
	if v := cfg.Policy.OldestSupported; v != "" {
		if _, err := manifest.ParseVersion(v); err != nil {
			return nil, cfg.Errorf("policy.oldest-supported", "%v", err)
		}
	}
	trust, signers, err := p.rule("signing.release", cfg.Signing.Release, sign.RoleRelease)
	if err != nil {
		return nil, err
	}
	if len(signers) != 1 {
		return nil, cfg.Errorf("signing.release", "%d keys, but a release record has one signature", len(signers))
	}
	p.trust, p.signer = *trust, signers[0]
	for _, c := range cfg.Components {
		component, err := p.component(c)
		if err != nil {
			return nil, err
		}
		p.components = append(p.components, component)
	}
	for i := range p.components {
		if err := p.checkDelta(&p.components[i]); err != nil {
			return nil, err
		}
	}
	for _, name := range cfg.InstallOrder {
		p.order = append(p.order, p.index(name))
	}
	for i, combination := range cfg.AllowedVersions {
		versions := make([]manifest.Version, len(p.components))
		for _, cv := range combination {
			if versions[p.index(cv.Component)], err = manifest.ParseVersion(cv.Version); err != nil {
				return nil, cfg.Errorf(fmt.Sprintf("allowed-versions[%d].%s", i, cv.Component), "%v", err)
			}
		}
		p.allowed = append(p.allowed, versions)
	}
	return p, nil
}

// Config returns the configuration.
func (p *Project) Config() *config.Config { return p.cfg }

// Key returns the pinned public half of a key alias.
func (p *Project) Key(alias string) (sign.PublicKey, bool) {
	k, ok := p.keys[alias]
	return k, ok
}

// index returns the position of a component; config has checked the names.
func (p *Project) index(name string) int {
	return slices.IndexFunc(p.cfg.Components, func(c config.Component) bool { return c.Name == name })
}

// ChipOf returns the profile by which a component's manifest is checked. With a
// vendor's bootloader the chip has any name: that bootloader knows its own limits.
func ChipOf(c config.Component) (bootloader.Chip, error) {
	if c.Format != config.FormatSUIT {
		return bootloader.Carried(c.Chip, maxFirmwareFile), nil
	}
	return bootloader.ChipByName(c.Chip)
}

func (p *Project) component(c config.Component) (component, error) {
	path := "components." + c.Name
	out := component{Component: c, class: manifest.ClassID(p.vendor, c.Model, c.Revision)}
	var err error
	if out.chip, err = ChipOf(c); err != nil {
		return out, p.cfg.Errorf(path+".chip", "%v", err)
	}
	if c.Bank != nil {
		bank := bootloader.Region{Base: uint32(c.Bank.Base), Size: uint32(c.Bank.Size)}
		if uint64(bank.Base) != c.Bank.Base || uint64(bank.Size) != c.Bank.Size {
			return out, p.cfg.Errorf(path+".bank", "does not fit 32-bit addresses")
		}
		if out.chip, err = out.chip.WithBank(bank); err != nil {
			return out, p.cfg.Errorf(path+".bank", "%v", err)
		}
	}
	if c.RAM != nil {
		out.chip.RAM = bootloader.Region{Base: uint32(c.RAM.Base), Size: uint32(min(c.RAM.Size, math.MaxUint32))}
	}
	if c.DecoderRAM != nil {
		out.chip.DecoderRAM = uint32(*c.DecoderRAM)
	}
	if c.Slot != nil {
		slot := uint32(*c.Slot)
		if _, err := out.chip.Bank(&slot); err != nil {
			return out, p.cfg.Errorf(path+".slot", "%v", err)
		}
		out.slot = &slot
	}
	if out.trust, out.signers, err = p.rule(path+".signing", c.Signing, sign.RoleManifest); err != nil {
		return out, err
	}
	for _, k := range slices.Concat(out.trust.Keys(sign.RoleManifest), out.signers) {
		if k.Algorithm() != out.chip.Algorithm {
			return out, fmt.Errorf("%w: %w",
				p.cfg.Errorf(path+".chip", "the bootloader of %s verifies %s, key %s is for %s", out.chip.Name, out.chip.Algorithm, p.alias(k.ID()), k.Algorithm()), sign.ErrCurve)
		}
	}
	if n := len(out.trust.Keys(sign.RoleManifest)); n > out.chip.KeySlots {
		return out, p.cfg.Errorf(path+".chip", "the bootloader of %s holds %d keys, %d are trusted", out.chip.Name, out.chip.KeySlots, n)
	}
	if out.device, err = p.deviceFormat(c); err != nil {
		return out, err
	}
	if out.device != nil {
		c.EncryptTo = nil // it decrypts in its own way
	}
	for _, file := range c.EncryptTo {
		data, err := p.read(file, maxKeyFile)
		if err != nil {
			return out, err
		}
		r, err := encrypt.ParseRecipient(data)
		if err != nil {
			return out, &InputError{file, err}
		}
		out.recipients = append(out.recipients, r)
	}
	for _, r := range c.Requires {
		v, err := manifest.ParseVersion(r.Version)
		if err != nil {
			return out, p.cfg.Errorf(path+".requires."+r.Component, "%v", err)
		}
		out.requires = append(out.requires, manifest.Requirement{Component: p.index(r.Component), Minimum: v})
	}
	slices.SortFunc(out.requires, func(a, b manifest.Requirement) int { return a.Component - b.Component })
	return out, nil
}

// checkDelta refuses patches where no device could apply them, and finds the
// component that a patch comes from: an image that is linked for one slot takes
// the place of one that is linked for the other.
func (p *Project) checkDelta(c *component) error {
	c.runs = c.Name
	if err := checkWindow(c.Compress); err != nil {
		return p.cfg.Errorf("components."+c.Name+".compress.window", "%v", err)
	}
	if c.Delta == nil {
		return nil
	}
	path := "components." + c.Name + ".delta"
	if !c.chip.Dual() {
		return p.cfg.Errorf(path, "%s has one bank: its image would be overwritten while a patch still reads it", c.chip.Name)
	}
	if c.slot == nil {
		return nil
	}
	at := slices.IndexFunc(p.components, func(o component) bool {
		return o.class.Equal(c.class) && o.slot != nil && *o.slot != *c.slot
	})
	if at < 0 {
		return p.cfg.Errorf(path, "it is linked for slot %d, and no component is for the other slot, which devices run when they take it", *c.slot)
	}
	c.runs = p.components[at].Name
	return nil
}

// checkWindow refuses a window that the codec cannot have.
func checkWindow(c *config.Compress) error {
	switch {
	case c == nil || c.Codec == config.CompressOD1:
		return nil
	case c.Codec == config.CompressDeflate:
		return compress.Deflate.CheckWindow(codecWindow(compress.Deflate, *c))
	}
	return compress.Zstd.CheckWindow(codecWindow(compress.Zstd, *c))
}

// rule turns a signing rule into a trust set and the keys that sign.
func (p *Project) rule(path string, r config.Rule, role sign.Role) (*sign.TrustSet, []sign.PublicKey, error) {
	var trusted, signers []sign.PublicKey
	for _, alias := range r.Trust {
		trusted = append(trusted, p.keys[alias])
	}
	for _, alias := range r.Sign {
		signers = append(signers, p.keys[alias])
	}
	for _, k := range slices.Concat(trusted, signers) {
		if !k.Algorithm().Prehashed() {
			return nil, nil, fmt.Errorf("%w: %w", p.cfg.Errorf(path, "key %s is for %s, manifests and records are signed with ECDSA", p.alias(k.ID()), k.Algorithm()), sign.ErrAlgorithm)
		}
	}
	var t sign.TrustSet
	if err := t.Add(role, r.Threshold, trusted...); err != nil {
		return nil, nil, p.cfg.Errorf(path, "%v", err)
	}
	return &t, signers, nil
}

// read loads a file of the configuration and notes it as an input.
func (p *Project) read(path string, limit int64) ([]byte, error) {
	data, err := readFile(p.cfg.Resolve(path), limit)
	if err != nil {
		return nil, &InputError{path, err}
	}
	p.note(File{filepath.ToSlash(path), sha256.Sum256(data), int64(len(data))})
	return data, nil
}

// note keeps what was read last: a second Load may find other firmware.
func (p *Project) note(f File) {
	if i := slices.IndexFunc(p.inputs, func(o File) bool { return o.Path == f.Path }); i >= 0 {
		p.inputs[i] = f
		return
	}
	p.inputs = append(p.inputs, f)
}

// readFile reads a file of at most limit bytes. Its errors leave the path to the
// caller.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, unwrapPath(err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return data, nil
}

// unwrapPath drops the path from an *fs.PathError: InputError has it already.
func unwrapPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// device is the state of a device that takes the component.
func (p *Project) device(c component, floor uint32, id encrypt.Identity) bootloader.Device {
	return bootloader.Device{
		Chip: c.chip, Vendor: p.cfg.Product.Vendor, Model: c.Model, Revision: c.Revision,
		MinSequence: floor, Slot: c.slot, Trust: c.trust, Identity: id,
	}
}
