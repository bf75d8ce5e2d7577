package detools

import "fmt"

// Info is what the header of a patch says.
type Info struct {
	Options
	Size int // of the new image in bytes
	RAM  int // what a decoder needs, see DecoderRAM
}

// Describe reads the header of a patch.
func Describe(patch []byte) (Info, error) {
	h, err := readHeader(patch)
	if err != nil {
		return Info{}, fmt.Errorf("detools: %w", err)
	}
	return Info{Options: h.options, Size: h.size, RAM: DecoderRAM(h.options)}, nil
}

// Decode returns the image that a patch makes from old. It refuses images longer
// than limit bytes, what is malformed and what goes on after the end, and takes
// memory for the image and the window only. With an error comes as much of the
// image as there was before it.
func Decode(old, patch []byte, limit int) ([]byte, error) {
	image, err := decode(old, patch, limit)
	if err != nil {
		return image, fmt.Errorf("detools: %w", err)
	}
	return image, nil
}

// A stream gives the bytes that are compressed.
type stream interface {
	next() (byte, error)
	end() error // unless the stream ends here
}

type header struct {
	options Options
	size    int
	stream  stream // nil when the new image is empty
}

// reader reads the sizes of a header.
type plain struct{ in []byte }

func (p *plain) next() (byte, error) {
	if len(p.in) == 0 {
		return 0, ErrTruncated
	}
	b := p.in[0]
	p.in = p.in[1:]
	return b, nil
}

func (p *plain) end() error {
	if len(p.in) > 0 {
		return ErrTrailing
	}
	return nil
}

func readHeader(patch []byte) (header, error) {
	var h header
	if len(patch) == 0 {
		return h, ErrTruncated
	}
	h.options.Compression = Compression(patch[0] & 15)
	if c := h.options.Compression; patch[0]>>4 != 0 || c != CRLE && c != Heatshrink {
		return h, fmt.Errorf("header %#02x: %w", patch[0], ErrFormat)
	}
	p := &plain{patch[1:]}
	r := reader{stream: p}
	h.size = r.size()
	if r.err != nil {
		return h, r.err
	}
	switch {
	case h.size < 0:
		return h, fmt.Errorf("image of %d bytes: %w", h.size, ErrCode)
	case h.size == 0:
		return h, p.end()
	case h.options.Compression == CRLE:
		h.stream = &crle{in: p.in}
		return h, nil
	}
	s, err := newShrunk(p.in)
	if err != nil {
		return h, err
	}
	h.stream, h.options = s, s.o
	return h, nil
}

func decode(old, patch []byte, limit int) ([]byte, error) {
	h, err := readHeader(patch)
	if err != nil {
		return nil, err
	}
	if h.size > limit {
		return nil, fmt.Errorf("image of %d bytes, at most %d: %w", h.size, limit, ErrLimit)
	}
	if h.size == 0 {
		return nil, nil
	}
	r := reader{stream: h.stream}
	image, err := r.image(old, h.size)
	if err != nil {
		return image, err
	}
	return image, h.stream.end()
}

// A reader reads what a stream says. After an error it returns zeros.
type reader struct {
	stream
	err error
}

func (r *reader) fail(cause error, detail string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(detail+": %w", append(args, cause)...)
	}
}

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.next()
	if err != nil {
		r.err = err
		return 0
	}
	return b
}

// image makes the new image.
func (r *reader) image(old []byte, size int) ([]byte, error) {
	if n := r.size(); n != 0 {
		r.fail(ErrFormat, "%d bytes about data sections", n)
	}
	var image []byte // not size bytes at once: a patch that is refused need not cost that
	add := func(to byte) {
		if b := r.byte(); r.err == nil {
			image = append(image, to+b)
		}
	}
	at := 0
	for first := true; len(image) < size && r.err == nil; first = false {
		n := r.length(size - len(image))
		if n > len(old)-at {
			r.fail(ErrBase, "%d bytes from %d on of %d", n, at, len(old))
		}
		for i := 0; i < n && r.err == nil; i++ {
			add(old[at])
			at++
		}
		extra := r.length(size - len(image))
		if n == 0 && extra == 0 && !first {
			r.fail(ErrCode, "neither differences nor new bytes") // without end, in a few bytes
		}
		for ; extra > 0 && r.err == nil; extra-- {
			add(0)
		}
		if move := r.size(); move < -at || move > len(old)-at {
			r.fail(ErrBase, "move by %d from %d of %d", move, at, len(old))
		} else {
			at += move
		}
	}
	return image, r.err
}

// length reads a size that is at most limit.
func (r *reader) length(limit int) int {
	n := r.size()
	if n < 0 || n > limit {
		r.fail(ErrCode, "%d bytes, %d are left of the new image", n, limit)
		return 0
	}
	return n
}

func (r *reader) size() int {
	first := r.byte()
	v, shift := int(first&0x3f), 6
	for more := first&0x80 != 0; more; shift += 7 {
		b := r.byte()
		if shift+7 > bitsWithinInt || b == 0 {
			r.fail(ErrCode, "size in too many bytes")
		}
		if r.err != nil {
			return 0
		}
		v |= int(b&0x7f) << shift
		more = b&0x80 != 0
	}
	if first&0x40 != 0 {
		if v == 0 {
			r.fail(ErrCode, "size of minus zero")
		}
		return -v
	}
	return v
}
