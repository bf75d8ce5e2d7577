package bootloader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// checks remembers verdicts of one component by content, for all runs. Each
// distinct content is verified in full once, its signature included.
type checks struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]judgement
}

// judgement is what an accepted manifest says, or why it was refused.
type judgement struct {
	version  manifest.Version
	sequence uint32
	refusal  error // a *verdict.Error
}

// bank checks the image that the directory of a bank names.
func (c *checks) bank(ctx context.Context, device Device, f *flash.Flash, bank Region, o Options) (judgement, error) {
	d, err := readDirectory(f, bank)
	if err != nil {
		return judgement{}, err
	}
	own, err := d.own()
	if err != nil {
		return judgement{}, err
	}
	return c.entry(ctx, device, f, bank, own, o)
}

// entry checks one entry of a bank's directory.
func (c *checks) entry(ctx context.Context, device Device, f *flash.Flash, bank Region, e entry, o Options) (judgement, error) {
	envelope, err := readFlash(f, bank, e.envelope)
	if err != nil {
		return judgement{}, err
	}
	at, page := bank.Base+e.payload.offset, f.Geometry().Page
	pages := int((e.payload.size + page - 1) / page)
	var payload []byte
	var content [sha256.Size]byte
	stable := f.Stable(at, pages*int(page))
	if stable {
		content = f.Sum(at, pages)
	} else { // cells that read differently each time: what is read now is judged
		if payload, err = readFlash(f, bank, e.payload); err != nil {
			return judgement{}, err
		}
		content = sha256.Sum256(payload)
	}
	key := checkKey(device, content, e.payload.size, stable, envelope, o)
	c.mu.Lock()
	known, ok := c.seen[key]
	c.mu.Unlock()
	if ok {
		return known, known.refusal
	}
	if stable {
		if payload, err = readFlash(f, bank, e.payload); err != nil {
			return judgement{}, err
		}
	}
	v, _, err := Verify(ctx, device, envelope, Payload{bytes.NewReader(payload), int64(len(payload))}, o)
	switch {
	case err == nil:
		m := v.Manifest().Manifest()
		known = judgement{version: m.Version, sequence: m.Sequence}
	case verdict.Of(err) != "":
		known = judgement{refusal: err}
	default:
		return judgement{}, err // no verdict
	}
	c.mu.Lock()
	c.seen[key] = known
	c.mu.Unlock()
	return known, known.refusal
}

// readFlash reads a range of a bank. A unit that does not read is a refusal: on
// the chip it is an exception that the bootloader has to survive.
func readFlash(f *flash.Flash, bank Region, s span) ([]byte, error) {
	p := make([]byte, s.size)
	if err := f.Read(bank.Base+s.offset, p); err != nil {
		return nil, verdict.Wrap(err, verdict.FlashUnreadable, "flash")
	}
	return p, nil
}

// checkKey covers everything that a verdict depends on and that is not the same
// for all of a component's devices.
func checkKey(d Device, content [sha256.Size]byte, size uint32, stable bool, envelope []byte, o Options) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%t %+v", stable, o)
	slot := uint64(1) << 32
	if d.Slot != nil {
		slot = uint64(*d.Slot)
	}
	for _, n := range []uint64{uint64(d.MinSequence), slot, uint64(size), uint64(len(envelope))} {
		h.Write(binary.LittleEndian.AppendUint64(nil, n))
	}
	h.Write(content[:])
	h.Write(envelope)
	return [sha256.Size]byte(h.Sum(nil))
}
