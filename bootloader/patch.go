package bootloader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/sign/verdict"
)

// patch is a payload from which the host makes its image, page by page, out of
// the bank that runs. That is not written before the image is verified, so that a
// power loss costs no more than to begin again.
type patch struct {
	verified *Verified
	device   Device
	payload  []byte // as delivered

	mu   sync.Mutex
	made map[[2][sha256.Size]byte]bool // from what image and payload the release's image was made
}

// newPatch returns the patch that a device has verified and can decrypt.
func newPatch(v *Verified, d Device, payload []byte) (*patch, error) {
	if !v.Complete() {
		return nil, errors.New("bootloader: a difference whose decryption key is not known")
	}
	return &patch{verified: v, device: d, payload: payload, made: map[[2][sha256.Size]byte]bool{}}, nil
}

// apply makes the image of a package in the bank that is written. Each content of
// flash is decoded in full once, a refusal is a *verdict.Error.
func (m *mcu) apply(ctx context.Context, b *bankImage) error {
	base, bank, p := m.bank(int(m.state.active)), m.bank(m.dest), b.patch
	size := p.device.Running.Size
	pages := func(n int64) int { return int((n + int64(m.device.Chip.Page) - 1) / int64(m.device.Chip.Page)) }
	old, at := pages(size), bank.Base+b.from.offset
	stable := m.flash.Stable(base.Base, int(size)) && m.flash.Stable(at, int(b.from.size))
	key := [2][sha256.Size]byte{m.flash.Sum(base.Base, old), m.flash.Sum(at, pages(int64(b.from.size)))}
	p.mu.Lock()
	known := stable && p.made[key]
	p.mu.Unlock()
	image := b.body // begins with it
	if !known {
		made, err := m.decode(ctx, b, base)
		if err != nil {
			return err
		}
		if !bytes.Equal(made, b.image) {
			if image, err = flash.NewImage(m.flash.Geometry(), made); err != nil {
				return err
			}
		} else if stable {
			p.mu.Lock()
			p.made[key] = true
			p.mu.Unlock()
		}
	}
	if m.fault == patchInPlace {
		dest := m.dest
		m.dest = int(m.state.active)
		defer func() { m.dest = dest }()
	}
	for n := range min(b.made, image.Pages()) {
		if err := m.writePage(uint32(n)*m.device.Chip.Page, image, n); err != nil {
			return err
		}
	}
	return nil
}

// decode makes the image from what is in flash now.
func (m *mcu) decode(ctx context.Context, b *bankImage, base Region) ([]byte, error) {
	payload, err := readFlash(m.flash, m.bank(m.dest), b.from)
	if err != nil {
		return nil, err
	}
	device := b.patch.device
	device.Running = &Payload{io.NewSectionReader(flashReader{m.flash, base}, 0, device.Running.Size), device.Running.Size}
	return open(ctx, device, b.patch.verified, payload)
}

// flashReader reads a bank. A unit that does not read is a refusal.
type flashReader struct {
	flash *flash.Flash
	bank  Region
}

// ReadAt reads from the bank's start on.
func (r flashReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.flash.Read(r.bank.Base+uint32(off), p); err != nil {
		return 0, verdict.Wrap(err, verdict.FlashUnreadable, "flash")
	}
	return len(p), nil
}
