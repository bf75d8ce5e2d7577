package bootloader

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/otapack/otapack/formats/payload/compress"
	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/formats/payload/delta/detools"
	"github.com/otapack/otapack/formats/payload/delta/hpatchlite"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// Decode returns the image of size bytes that a payload decodes to. Base is the
// image that the payload is a difference to, nil for a whole one; the caller has
// compared its digest.
//
// What is read is at most size bytes, whatever the payload says, and is not
// authentic until its digest was compared. A payload that is not of its coding
// is refused with verdict.PayloadCoding, one that gives more or fewer bytes with
// verdict.DecodedSize, and one whose decoder takes more RAM than the manifest
// says with verdict.DecoderRAM. Errors of the readers are passed on, and are no
// verdict.
func Decode(ctx context.Context, d manifest.Decoding, size uint32, base *Payload, payload io.Reader) (io.Reader, error) {
	if d.Base != nil && base == nil {
		return nil, errors.New("bootloader: a difference without its base")
	}
	if d.Base == nil {
		base = &Payload{bytes.NewReader(nil), 0}
	}
	source := &source{ctx: ctx, r: payload}
	out := &decoded{in: bufio.NewReader(source), source: source, coding: d.Coding, size: int64(size)}
	if err := out.open(d, base); err != nil {
		return nil, out.judge(err)
	}
	return out, nil
}

// open makes the decoder.
func (d *decoded) open(how manifest.Decoding, base *Payload) error {
	old := &source{ctx: d.source.ctx, at: base}
	d.base = old
	switch how.Coding {
	case manifest.CodingOD1:
		patch, err := delta.NewDecoder(d.in, old, &d.written, delta.Limits{NewLength: int(d.size)})
		if err != nil {
			return err
		}
		h := patch.Header()
		if int64(h.OldLength) != base.Size {
			return fmt.Errorf("%w: the patch is for %d bytes, the base has %d", delta.ErrOld, h.OldLength, base.Size)
		}
		d.r, d.keeps = patch, true
		return d.checkRAM(how, h.DecoderRAM())
	case manifest.CodingHPatchLite:
		return d.openWhole(how, old, base.Size, hpatchlite.Decode, func(patch []byte) (int, error) {
			info, err := hpatchlite.Describe(patch)
			return info.RAM, err
		})
	case manifest.CodingDetools:
		return d.openWhole(how, old, base.Size, detools.Decode, func(patch []byte) (int, error) {
			info, err := detools.Describe(patch)
			return info.RAM, err
		})
	case manifest.CodingZstd:
		return d.openCompressed(how, compress.Zstd)
	case manifest.CodingDeflate:
		return d.openCompressed(how, compress.Deflate)
	}
	return fmt.Errorf("no decoder for %s", how.Coding)
}

// openWhole decodes at once: the authors' decoders for devices read as they go,
// ours for these codings do not.
func (d *decoded) openWhole(how manifest.Decoding, base io.ReaderAt, size int64, decode func(old, patch []byte, limit int) ([]byte, error), ram func(patch []byte) (int, error)) error {
	patch, err := io.ReadAll(d.in)
	if err != nil {
		return err
	}
	takes, err := ram(patch)
	if err != nil {
		return err
	}
	if err := d.checkRAM(how, takes); err != nil {
		return err
	}
	old := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(base, 0, size), old); err != nil {
		return err
	}
	image, err := decode(old, patch, int(d.size))
	d.r = d.given(image, err)
	return cmp.Or(d.source.err, d.base.err)
}

// given is read like a decoder that reads as it goes: what was decoded, then the
// error.
func (d *decoded) given(image []byte, err error) io.Reader {
	if err == nil {
		return bytes.NewReader(image)
	}
	return io.MultiReader(bytes.NewReader(image), failing{d.judge(err)})
}

// failing is read with an error.
type failing struct{ err error }

// Read returns it.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// openCompressed decodes at once. What RAM deflate takes is known afterwards only.
func (d *decoded) openCompressed(how manifest.Decoding, c compress.Codec) error {
	payload, err := io.ReadAll(d.in)
	if err != nil {
		return err
	}
	image, window, err := compress.Decode(c, payload, int(d.size))
	switch {
	case errors.Is(err, compress.ErrLimit):
		err = verdict.Wrap(err, verdict.DecodedSize, "payload")
	case err == nil:
		err = d.checkRAM(how, c.DecoderRAM(window))
	}
	d.r = d.given(image, err)
	return d.source.err
}

// checkRAM refuses a payload that takes more RAM than the device was told.
func (d *decoded) checkRAM(how manifest.Decoding, takes int) error {
	if int64(takes) > int64(how.RAM) {
		return verdict.New(verdict.DecoderRAM, "payload", "decoding it takes %d bytes of RAM, signed are %d", takes, how.RAM)
	}
	return nil
}

// source reads a payload, or a base, and remembers why that failed: then the
// decoder's error says nothing about the payload.
type source struct {
	ctx context.Context
	r   io.Reader
	at  io.ReaderAt
	err error
}

func (s *source) Read(p []byte) (int, error) {
	return s.note(func() (int, error) { return s.r.Read(p) })
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	return s.note(func() (int, error) { return s.at.ReadAt(p, off) })
}

func (s *source) note(read func() (int, error)) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := read()
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// decoded is an image on its way out of a decoder.
type decoded struct {
	r       io.Reader
	in      *bufio.Reader
	source  *source // of in
	base    *source
	coding  manifest.Coding
	size    int64
	count   int64  // bytes that were read
	keeps   bool   // the decoder reads back what it has written
	written memory // the bank that a device writes
}

// memory is what a decoder has written.
type memory []byte

// ReadAt reads it back.
func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(*m).ReadAt(p, off) }

// judge turns a decoder's error into a verdict, unless one of its sources failed.
func (d *decoded) judge(err error) error {
	if cause := cmp.Or(d.source.err, d.base.err); cause != nil {
		return cause
	}
	if verdict.Of(err) == "" {
		err = verdict.Wrap(err, verdict.PayloadCoding, "payload: "+d.coding.String())
	}
	return err
}

func (d *decoded) Read(p []byte) (int, error) {
	if left := d.size - d.count; int64(len(p)) > left+1 { // one more than there should be
		p = p[:left+1]
	}
	n, err := d.r.Read(p)
	d.count += int64(n)
	if d.keeps {
		d.written = append(d.written, p[:n]...)
	}
	switch {
	case d.count > d.size:
		return 0, verdict.New(verdict.DecodedSize, "payload", "%s gives more than the %d bytes of the image", d.coding, d.size)
	case err == nil:
		return n, nil
	case verdict.Of(err) != "" || !errors.Is(err, io.EOF) || d.source.err != nil:
		return n, d.judge(err)
	case d.count < d.size:
		return 0, verdict.New(verdict.DecodedSize, "payload", "%s gives %d of the %d bytes of the image", d.coding, d.count, d.size)
	}
	if _, err := d.in.ReadByte(); err == nil {
		return 0, verdict.New(verdict.PayloadCoding, "payload", "bytes after the end of %s", d.coding)
	}
	return n, io.EOF
}
