package delta

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	history = 4 << 10 // latest bytes that a Decoder keeps for repeats
	maxRead = 512     // bytes of one Read
	patchIO = 512     // bytes of patch read at once
)

// Limits bounds what a Decoder accepts; zero values stand for the format's own
// limits.
type Limits struct {
	NewLength int // bytes of the new image
	MapSize   int // covers in the map
}

func (l Limits) check(h Header) error {
	if l.NewLength > 0 && h.NewLength > l.NewLength {
		return fmt.Errorf("%w: an image of %d bytes, at most %d", ErrLimit, h.NewLength, l.NewLength)
	}
	if l.MapSize > 0 && h.MapSize > l.MapSize {
		return fmt.Errorf("%w: a map of %d covers, at most %d", ErrLimit, h.MapSize, l.MapSize)
	}
	return nil
}

// A Decoder reads the new image from a patch and the old one, in order and in
// fixed memory.
type Decoder struct {
	stream
	in      *bufio.Reader
	bits    *reader
	header  int // length in bytes
	written window
	recent  [history]byte // of the new image, absolute, at offset modulo history
	kept    int           // the first offset that recent has
	done    int           // bytes that Read has returned
	err     error

	tag     uint32 // of the patch, in its states
	reached State  // the latest that Read has passed
	ahead   State  // the next
}

// NewDecoder reads the header and the map of a patch. The old image is read
// from old, at any offset below its length. From written, which may be nil for
// images under 4 KiB, the decoder reads its own output back: whatever an earlier
// call of Read returned must be there when Read is called again.
//
// A patch is worth something only with a signature over it, and the output only
// after its digest was compared: damage that decodes is not found here.
func NewDecoder(patch io.Reader, old, written io.ReaderAt, limits Limits) (*Decoder, error) {
	d := &Decoder{in: bufio.NewReaderSize(patch, patchIO)}
	start, err := d.in.Peek(maxHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	h, length, err := parseHeader(start)
	if err != nil {
		return nil, err
	}
	if err := limits.check(h); err != nil {
		return nil, err
	}
	d.header, d.tag = length, tagOf(start[:length])
	if _, err := d.in.Discard(length); err != nil {
		return nil, err
	}
	d.stream = *newStream(h, &window{src: old, size: h.OldLength}, d.latest)
	d.written = window{src: written, grow: true}
	d.bits = newReader(d.in)
	d.codeMap(d.bits, nil)
	if err := d.fault(); err != nil {
		return nil, err
	}
	return d, nil
}

// Header returns the patch's header.
func (d *Decoder) Header() Header { return d.stream.Header }

// Read returns the next bytes of the new image, at most 512, and io.EOF behind
// the last when the patch ends there, too.
func (d *Decoder) Read(p []byte) (int, error) {
	p = p[:min(len(p), maxRead)]
	for d.err == nil && d.settled()-d.done < len(p) && d.pos < d.NewLength {
		d.advance()
	}
	if d.err == nil && d.pos == d.NewLength {
		d.finish()
	}
	n := min(len(p), d.settled()-d.done)
	if d.err != nil && !errors.Is(d.err, io.EOF) {
		return 0, d.err
	}
	if n == 0 && len(p) > 0 {
		return 0, d.err
	}
	for i := range n {
		p[i] = d.output(d.done + i)
	}
	d.done += n
	d.written.size = d.done
	return n, nil
}

// advance does one step.
func (d *Decoder) advance() {
	restarts := d.restartAt
	b, n := d.step(d.bits, nil)
	for i := range n {
		d.recent[(d.pos-n+i)%history] = byte(b >> (8 * i))
	}
	d.err = d.fault()
	if d.restartAt != restarts {
		d.note()
	}
}

// fault returns the first error of all parts.
func (d *Decoder) fault() error {
	for _, err := range []error{d.old.err, d.written.err, d.bits.err, d.stream.err} {
		if err != nil {
			return err
		}
	}
	return nil
}

// finish checks the end of the patch, once.
func (d *Decoder) finish() {
	d.bits.end()
	if d.err = d.fault(); d.err != nil {
		return
	}
	switch _, err := d.in.ReadByte(); {
	case err == nil:
		d.err = ErrTrailing
	default:
		d.err = err // io.EOF as it should be
	}
}

// settled returns the length of the output that later bytes cannot change: a
// branch is turned back when both of its halfwords are there.
func (d *Decoder) settled() int {
	if d.pos == d.NewLength {
		return d.pos
	}
	return max(d.pos&^1-2, 0)
}

// output returns a byte of the new image as it is in flash.
func (d *Decoder) output(at int) byte {
	if e := at &^ 1; e+4 <= d.pos && isBranch(d.word(e)) {
		return byte(relative(d.word(e), e) >> (8 * (at - e)))
	} else if e -= 2; e >= 0 && e+4 <= d.pos && isBranch(d.word(e)) {
		return byte(relative(d.word(e), e) >> (8 * (at - e)))
	}
	return d.recent[at%history]
}

// word returns four of the latest bytes.
func (d *Decoder) word(at int) uint32 {
	var v uint32
	for i := range 4 {
		v |= uint32(d.recent[(at+i)%history]) << (8 * i)
	}
	return v
}

// latest returns a byte of the new image in absolute form.
func (d *Decoder) latest(at int) byte {
	if at >= d.kept && d.pos-at <= history {
		return d.recent[at%history]
	}
	return byte(d.written.bytes(at, 1))
}

// Decode returns the new image of a patch, which must not be longer than
// maxSize bytes.
func Decode(patch, old []byte, maxSize int) ([]byte, error) {
	h, err := ReadHeader(patch)
	if err != nil {
		return nil, err
	}
	if h.OldLength != len(old) {
		return nil, fmt.Errorf("%w: %d, not %d bytes", ErrOld, len(old), h.OldLength)
	}
	if h.NewLength > maxSize {
		return nil, fmt.Errorf("%w: an image of %d bytes, at most %d", ErrLimit, h.NewLength, maxSize)
	}
	image := memory{bytes: make([]byte, 0, min(h.NewLength, maxSize))}
	d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), &image, Limits{})
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(&image, d); err != nil {
		return nil, err
	}
	return image.bytes, nil
}

// A memory is a bank that can be read while it is written.
type memory struct{ bytes []byte }

// Write appends.
func (m *memory) Write(b []byte) (int, error) {
	m.bytes = append(m.bytes, b...)
	return len(b), nil
}

// ReadAt reads what was written.
func (m *memory) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.bytes).ReadAt(b, at)
}
