package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// base is an image that devices in the field run.
type base struct {
	release manifest.Version // that the image is from
	version manifest.Version // of the component in it
	image   []byte           // plain, from the start of its bank
	address uint32           // where the image runs
	source  string           // file that it was found in, as the user would name it
	known   bool             // a release record has its digest
}

// content names the image as a manifest does.
func (b base) content() manifest.Content {
	return manifest.Content{Digest: sha256.Sum256(b.image), Size: uint32(len(b.image))}
}

// loadBases finds the images that the patches of a component come from, in
// ascending order of their versions.
func (p *Plan) loadBases(ctx context.Context, c component) ([]base, error) {
	if c.Delta == nil {
		return nil, nil
	}
	var found []base
	for i, from := range c.Delta.From {
		b, err := p.loadBase(ctx, c, from, fmt.Sprintf("components.%s.delta.from[%d]", c.Name, i))
		if err != nil {
			return nil, err
		}
		if b == nil || slices.ContainsFunc(found, func(o base) bool { return o.content() == b.content() }) {
			continue
		}
		if at := slices.IndexFunc(found, func(o base) bool { return o.version.Compare(b.version) == 0 }); at >= 0 {
			return nil, p.project.cfg.Errorf(fmt.Sprintf("components.%s.delta.from[%d]", c.Name, i),
				"releases %s and %s have version %s of it with different images: devices cannot be told apart", found[at].release, b.release, b.version)
		}
		found = append(found, *b)
	}
	slices.SortFunc(found, func(a, b base) int { return a.version.Compare(b.version) })
	return found, nil
}

// loadBase finds one image. It returns nil when there is no last release, or the
// component was not in it.
func (p *Plan) loadBase(ctx context.Context, c component, from, path string) (*base, error) {
	cfg := p.project.cfg
	name := from
	var record *Record
	switch from {
	case config.FromLast:
		if record = p.last; record == nil {
			return nil, nil
		}
		name = record.Version.String()
	case config.FromOldestSupported:
		name, path = cfg.Policy.OldestSupported, "policy.oldest-supported"
	}
	version, err := manifest.ParseVersion(name)
	if err != nil {
		return nil, cfg.Errorf(path, "%v", err)
	}
	if version.Compare(p.version) == 0 {
		return nil, cfg.Errorf(path, "is the release itself, %s", version)
	}
	folder := filepath.Join(cfg.Output.Dir, name)
	if record == nil {
		if record, err = readRecord(cfg.Resolve(filepath.Join(folder, recordName))); err != nil {
			return nil, err
		}
	}
	b := &base{release: version, version: version, address: c.chip.Banks[0].Base}
	var want *Content
	if record != nil {
		at := slices.IndexFunc(record.Components, func(r ComponentRecord) bool { return r.Name == c.runs })
		switch {
		case at < 0 && from == config.FromLast:
			return nil, nil
		case at < 0:
			return nil, cfg.Errorf(path, "release %s has no component %s", name, c.runs)
		}
		want, b.version, b.known = &record.Components[at].Image, record.Components[at].Version, true
	}
	if b.source = c.Delta.ImageOf(name); b.source != "" {
		err = p.project.readBase(c, cfg.Resolve(b.source), b)
	} else {
		b.source = filepath.ToSlash(filepath.Join(folder, BundleName(cfg.Product.Name, version)))
		err = p.project.extractBase(ctx, c, b)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Delta.ImageOf(name) == "":
		return nil, cfg.Errorf(path, "there is no %s with the image of %s: name the firmware of that release in delta.images", b.source, c.runs)
	case errors.Is(err, errBaseEncrypted):
		return nil, cfg.Errorf(path, "%s has %s encrypted: name the firmware of that release in delta.images", b.source, c.runs)
	case err != nil:
		return nil, &InputError{b.source, err}
	}
	if got := b.content(); want != nil && (got.Digest != want.SHA256 || got.Size != want.Size) {
		return nil, &InputError{b.source, verdict.New(verdict.BaseMismatch, "image",
			"%d bytes with SHA-256 %s, release %s had %d bytes with %s", got.Size, got.Digest, name, want.Size, want.SHA256)}
	}
	return b, nil
}

// ReadImage reads a firmware file as the image in a component's bank. The path is
// seen from the working directory. The error is an *InputError.
func (p *Project) ReadImage(component, path string) ([]byte, error) {
	var b base
	if err := p.readBase(p.components[p.index(component)], path, &b); err != nil {
		return nil, &InputError{path, err}
	}
	return b.image, nil
}

// archived looks for the image with a digest where a release of its version has
// left it. It is nil when there is none: then the patch is not applied, which the
// report says.
func (p *Project) archived(ctx context.Context, c component, version string, digest manifest.Digest) []byte {
	v, err := manifest.ParseVersion(version)
	if err != nil {
		return nil
	}
	b := base{source: filepath.Join(p.cfg.Output.Dir, version, BundleName(p.cfg.Product.Name, v))}
	if err = p.extractBase(ctx, c, &b); err != nil && c.Delta != nil {
		if path := c.Delta.ImageOf(version); path != "" {
			err = p.readBase(c, p.cfg.Resolve(path), &b)
		}
	}
	if err != nil || b.content().Digest != digest {
		return nil
	}
	return b.image
}

// readBase reads a firmware file of an older release.
func (p *Project) readBase(c component, path string, b *base) error {
	data, err := readFile(path, maxFirmwareFile)
	if err != nil {
		return err
	}
	var o firmware.Options
	if c.Base != nil {
		o.Base = new(uint32(*c.Base))
	}
	loaded, _, err := firmware.Load(bytes.NewReader(data), o)
	if err != nil {
		return err
	}
	bank, err := bankOf(c.chip, loaded)
	if err != nil {
		return err
	}
	b.address = bank.Base
	b.image, err = loaded.Flatten(bank.Base, int(bank.Size), bootloader.Erased)
	return err
}

// bankOf returns the bank that an image begins.
func bankOf(chip bootloader.Chip, image formats.Image) (bootloader.Region, error) {
	for _, bank := range chip.Banks {
		if image.Start() == bank.Base && image.End() <= bank.End() {
			return bank, nil
		}
	}
	return bootloader.Region{}, fmt.Errorf("occupies 0x%08x-0x%08x, which is not a bank of %s", image.Start(), image.End()-1, chip.Name)
}

var errBaseEncrypted = errors.New("the image is encrypted")

// extractBase takes the image out of an older bundle. Its digest is compared
// with that release's record by the caller, so nothing is verified here.
func (p *Project) extractBase(ctx context.Context, c component, b *base) error {
	f, err := os.Open(p.cfg.Resolve(filepath.FromSlash(b.source)))
	if err != nil {
		return unwrapPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return unwrapPath(err)
	}
	contents, err := bundle.Open(f, info.Size())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(contents.Components, func(o bundle.Component) bool { return o.Name == c.runs })
	if at < 0 {
		return fmt.Errorf("has no component %s", c.runs)
	}
	part := contents.Components[at]
	envelope, err := manifest.Parse(part.Manifest)
	if err != nil {
		return err
	}
	m, err := envelope.Unverified()
	switch {
	case err != nil:
		return err
	case m.Encrypted():
		return errBaseEncrypted
	}
	bank, err := c.chip.Bank(m.Slot)
	if err != nil {
		return err
	}
	b.address = bank.Base
	if m.Image.Size > bank.Size || part.Payload.Size() > int64(bank.Size) {
		return verdict.New(verdict.ImageExceedsBank, "image", "%d bytes, the bank has %d", m.Image.Size, bank.Size)
	}
	var image io.Reader = io.NewSectionReader(part.Payload, 0, part.Payload.Size())
	if m.Decoded() {
		if image, err = bootloader.Decode(ctx, *m.Install.Decoding, m.Image.Size, nil, image); err != nil {
			return err
		}
	}
	b.image, err = io.ReadAll(image)
	return err
}
