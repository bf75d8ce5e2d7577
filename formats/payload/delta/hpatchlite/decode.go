package hpatchlite

import "fmt"

// Bounds. A decoder of ours takes patches beyond what a device does, so that it
// can say what is wrong with them.
const (
	MaxDictionary = 1 << 20   // in bytes
	maxNumber     = 1<<31 - 1 // decoders may be built with 32-bit positions
	version       = 1
)

// Compressions of the body.
const (
	compressionNone   = 0
	compressionTinyuz = 1
)

// Bits of a step's first byte.
const (
	stepSame  = 0x80
	stepBack  = 0x40
	stepMore  = 0x20
	stepValue = 0x1f
)

// Info is what the header of a patch says.
type Info struct {
	Size       int // of the new image in bytes
	Compressed bool
	Dictionary int // of tinyuz in bytes, 0 without compression
	RAM        int // what a decoder needs, see DecoderRAM
}

// DecoderRAM returns how many bytes hpatch_lite.c with tuz_dec.c take on a 32-bit
// core, as arm-none-eabi-gcc 12.2 -Os lays them out for a Cortex-M0+: the
// dictionary, 60 bytes of state of tinyuz, its input buffer of 32 bytes, the two
// halves of a cache of 64 bytes, and 224 bytes of stack. The two buffers may be as
// small as three bytes.
func DecoderRAM(dictionary int) int { return dictionary + 60 + 32 + 64 + 224 }

// Describe reads the header of a patch.
func Describe(patch []byte) (Info, error) {
	h, err := readHeader(patch)
	if err != nil {
		return Info{}, fmt.Errorf("hpatchlite: %w", err)
	}
	return Info{Size: h.size, Compressed: h.compressed, Dictionary: h.dictionary, RAM: DecoderRAM(h.dictionary)}, nil
}

// Decode returns the image that a patch makes from old. It refuses images longer
// than limit bytes, what is malformed and what goes on after the end, and takes
// memory for the image and the dictionary only. With an error comes as much of the
// image as there was before it.
func Decode(old, patch []byte, limit int) ([]byte, error) {
	image, err := decode(old, patch, limit)
	if err != nil {
		return image, fmt.Errorf("hpatchlite: %w", err)
	}
	return image, nil
}

type header struct {
	size, body int
	compressed bool
	dictionary int
	length     int // of the header in bytes
}

func readHeader(patch []byte) (header, error) {
	var h header
	if len(patch) < 4 {
		return h, ErrTruncated
	}
	if patch[0] != 'h' || patch[1] != 'I' || patch[3]>>6 != version {
		return h, ErrFormat
	}
	switch patch[2] {
	case compressionNone:
	case compressionTinyuz:
		h.compressed = true
	default:
		return h, fmt.Errorf("compression %d: %w", patch[2], ErrFormat)
	}
	rest := patch[4:]
	var err error
	if h.size, rest, err = readLength(rest, int(patch[3]&7)); err != nil {
		return h, err
	}
	if h.body, rest, err = readLength(rest, int(patch[3]>>3&7)); err != nil {
		return h, err
	}
	if !h.compressed {
		if h.body != 0 {
			return h, fmt.Errorf("length of a body that is not compressed: %w", ErrCode)
		}
		h.length = len(patch) - len(rest)
		return h, nil
	}
	// The dictionary's size has four bytes, zeros included.
	if len(rest) < dictionaryHead {
		return h, ErrTruncated
	}
	for i := range dictionaryHead {
		h.dictionary |= int(rest[i]) << (8 * i)
	}
	if h.dictionary == 0 {
		return h, fmt.Errorf("dictionary of no bytes: %w", ErrCode)
	}
	if h.dictionary > MaxDictionary {
		return h, fmt.Errorf("dictionary of %d bytes: %w", h.dictionary, ErrLimit)
	}
	h.length = len(patch) - len(rest) + dictionaryHead
	return h, nil
}

func readLength(b []byte, n int) (int, []byte, error) {
	if n > len(b) {
		return 0, nil, ErrTruncated
	}
	if n > 4 || n > 0 && b[n-1] == 0 {
		return 0, nil, fmt.Errorf("length in %d bytes: %w", n, ErrCode)
	}
	v := 0
	for i := range n {
		v |= int(b[i]) << (8 * i)
	}
	if v > maxNumber {
		return 0, nil, fmt.Errorf("length of %d bytes: %w", v, ErrLimit)
	}
	return v, b[n:], nil
}

func decode(old, patch []byte, limit int) ([]byte, error) {
	h, err := readHeader(patch)
	if err != nil {
		return nil, err
	}
	if h.size > limit {
		return nil, fmt.Errorf("image of %d bytes, at most %d: %w", h.size, limit, ErrLimit)
	}
	r := bodyReader{stream: &plain{patch[h.length:]}}
	if h.compressed {
		r.stream = &tinyuz{in: patch[h.length:], ring: make([]byte, min(h.dictionary, max(h.body, 1))), dictionary: h.dictionary, last: 1}
	}
	image, err := r.image(old, h.size)
	if err != nil {
		return image, err
	}
	if h.compressed && r.read != h.body {
		return image, fmt.Errorf("body of %d bytes, header says %d: %w", r.read, h.body, ErrCode)
	}
	return image, r.stream.end()
}

// A stream gives the bytes of a body.
type stream interface {
	next() (byte, error)
	end() error // unless the stream ends here
}

// plain is a body that is not compressed.
type plain struct{ b []byte }

func (p *plain) next() (byte, error) {
	if len(p.b) == 0 {
		return 0, ErrTruncated
	}
	b := p.b[0]
	p.b = p.b[1:]
	return b, nil
}

func (p *plain) end() error {
	if len(p.b) > 0 {
		return ErrTrailing
	}
	return nil
}

// A bodyReader reads ranges. After an error it returns zeros.
type bodyReader struct {
	stream
	read int // bytes
	err  error
}

func (r *bodyReader) byte() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.next()
	if err != nil {
		r.err = err
		return 0
	}
	r.read++
	return b
}

func (r *bodyReader) fail(cause error, detail string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(detail+": %w", append(args, cause)...)
	}
}

// image makes the new image.
func (r *bodyReader) image(old []byte, size int) ([]byte, error) {
	var image []byte // not size bytes at once: a patch that is refused need not cost that
	add := func(to byte) {
		if b := r.byte(); r.err == nil {
			image = append(image, to+b)
		}
	}
	oldEnd := 0
	count := r.number()
	if count > size+1 {
		r.fail(ErrCode, "%d ranges of %d bytes", count, size)
	}
	for i := 0; i < count && r.err == nil; i++ {
		length := r.number()
		step, same := r.step()
		gap := r.number()
		if length == 0 && i < count-1 {
			r.fail(ErrCode, "range %d is empty", i)
		}
		if left := size - len(image); gap > left || length > left-gap {
			r.fail(ErrCode, "range %d ends beyond the new image", i)
		}
		start := oldEnd + step
		if start < 0 || start > len(old) || length > len(old)-start {
			r.fail(ErrBase, "range %d, %d bytes from %d on of %d", i, length, start, len(old))
		}
		for ; gap > 0 && r.err == nil; gap-- {
			add(0)
		}
		switch {
		case r.err != nil:
		case same:
			image = append(image, old[start:start+length]...)
		default:
			for _, b := range old[start : start+length] {
				add(b)
			}
		}
		oldEnd = start + length
	}
	if len(image) < size {
		r.fail(ErrCode, "ranges end %d bytes before the new image", size-len(image))
	}
	return image, r.err
}

func (r *bodyReader) number() int {
	start := r.read
	v := r.groups(0)
	if n := r.read - start; n > 1 && v < 1<<(7*(n-1)) {
		r.fail(ErrCode, "number in too many bytes")
	}
	return v
}

// groups reads the groups of a number behind the first bits v.
func (r *bodyReader) groups(v int) int {
	for more := true; more; {
		b := r.byte()
		if v > maxNumber>>7 {
			r.fail(ErrCode, "number beyond 31 bits")
		}
		if r.err != nil {
			return 0
		}
		v = v<<7 | int(b&0x7f)
		more = b&0x80 != 0
	}
	return v
}

func (r *bodyReader) step() (v int, same bool) {
	tag := r.byte()
	v = int(tag & stepValue)
	if tag&stepMore != 0 {
		start := r.read
		v = r.groups(v)
		if r.err == nil && v < (stepValue+1)<<(7*(r.read-start-1)) {
			r.fail(ErrCode, "step in too many bytes")
		}
	}
	if tag&stepBack != 0 {
		if v == 0 {
			r.fail(ErrCode, "step of minus zero")
		}
		v = -v
	}
	return v, tag&stepSame != 0
}
