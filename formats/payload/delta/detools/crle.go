package detools

import "fmt"

// Kinds of segments of a CRLE stream. Both go on with the number of bytes, in
// groups of seven bits, the lowest first, bit 7 for more; then come the bytes, or
// the one that is repeated.
const (
	scattered = 0
	repeated  = 1
)

// shortestRun is from how many equal bytes a segment of its own is shorter, in
// the midst of others.
const shortestRun = 6

// runs appends data as a CRLE stream.
func runs(out, data []byte) []byte {
	segment := func(kind byte, n int, bytes []byte) {
		out = append(out, kind)
		for ; n >= 0x80; n >>= 7 {
			out = append(out, byte(n)|0x80)
		}
		out = append(out, byte(n))
		out = append(out, bytes...)
	}
	done := 0
	flush := func(to int) {
		if done < to {
			segment(scattered, to-done, data[done:to])
		}
	}
	for i := 0; i < len(data); {
		end := i + 1
		for end < len(data) && data[end] == data[i] {
			end++
		}
		if end-i >= shortestRun {
			flush(i)
			segment(repeated, end-i, data[i:i+1])
			done = end
		}
		i = end
	}
	flush(len(data))
	return out
}

// crle reads a CRLE stream.
type crle struct {
	in    []byte
	left  int // bytes of the segment
	again bool
	value byte // that is repeated
}

func (c *crle) byte() (byte, error) {
	if len(c.in) == 0 {
		return 0, ErrTruncated
	}
	b := c.in[0]
	c.in = c.in[1:]
	return b, nil
}

func (c *crle) next() (byte, error) {
	if c.left == 0 {
		if err := c.segment(); err != nil {
			return 0, err
		}
	}
	c.left--
	if c.again {
		return c.value, nil
	}
	return c.byte()
}

func (c *crle) segment() error {
	kind, err := c.byte()
	if err != nil {
		return err
	}
	if kind != scattered && kind != repeated {
		return fmt.Errorf("segment of kind %d: %w", kind, ErrCode)
	}
	shift := 0
	for more := true; more; shift += 7 {
		b, err := c.byte()
		if err != nil {
			return err
		}
		if shift > 21 || b == 0 && shift > 0 {
			return fmt.Errorf("length of a segment: %w", ErrCode)
		}
		c.left |= int(b&0x7f) << shift
		more = b&0x80 != 0
	}
	if c.left == 0 {
		return fmt.Errorf("segment without bytes: %w", ErrCode)
	}
	c.again = kind == repeated
	if c.again {
		c.value, err = c.byte()
	}
	return err
}

func (c *crle) end() error {
	switch {
	case c.left > 0:
		return fmt.Errorf("stream is longer than the patch in it: %w", ErrCode)
	case len(c.in) > 0:
		return ErrTrailing
	}
	return nil
}
