package hpatchlite

import "fmt"

// tinyuz decompresses a stream byte by byte.
type tinyuz struct {
	in         []byte // behind the size of the dictionary
	ring       []byte // the last bytes
	dictionary int
	written    int

	types byte // bits not yet read of the type byte
	left  int  // how many

	line  int  // literals to come
	copy  int  // bytes to come from distance last
	last  int  // distance
	fresh bool // a literal came since the last copy
}

func (t *tinyuz) byte() (byte, error) {
	if len(t.in) == 0 {
		return 0, ErrTruncated
	}
	b := t.in[0]
	t.in = t.in[1:]
	return b, nil
}

func (t *tinyuz) bit() (int, error) {
	if t.left == 0 {
		b, err := t.byte()
		if err != nil {
			return 0, err
		}
		t.types, t.left = b, 8
	}
	b := int(t.types & 1)
	t.types >>= 1
	t.left--
	return b, nil
}

// number reads what bitWriter.number writes.
func (t *tinyuz) number(bits int) (int, error) {
	for v := 0; ; v++ {
		group := 0
		for i := range bits {
			b, err := t.bit()
			if err != nil {
				return 0, err
			}
			group |= b << i
		}
		if v = v<<bits + group; v > maxNumber>>3 {
			return 0, fmt.Errorf("number in tinyuz: %w", ErrLimit)
		}
		more, err := t.bit()
		if err != nil || more == 0 {
			return v, err
		}
	}
}

func (t *tinyuz) put(b byte) byte {
	t.ring[t.written%len(t.ring)] = b
	t.written++
	return b
}

// next returns the next byte, an error at the end of the stream.
func (t *tinyuz) next() (byte, error) {
	for {
		switch {
		case t.copy > 0:
			t.copy--
			return t.put(t.ring[(t.written-t.last)%len(t.ring)]), nil
		case t.line > 0:
			t.line--
			b, err := t.byte()
			return t.put(b), err
		}
		literal, err := t.bit()
		if err != nil {
			return 0, err
		}
		if literal == 1 {
			t.fresh = true
			b, err := t.byte()
			return t.put(b), err
		}
		if ended, err := t.code(); err != nil {
			return 0, err
		} else if ended {
			return 0, fmt.Errorf("body is shorter than its ranges: %w", ErrCode)
		}
	}
}

// code reads a copy or a control, and whether it is that of the end.
func (t *tinyuz) code() (ended bool, err error) {
	length, err := t.number(lengthBits)
	if err != nil {
		return false, err
	}
	distance, fresh := 0, t.fresh
	t.fresh = false
	if fresh {
		same, err := t.bit()
		if err != nil {
			return false, err
		}
		distance = same * t.last
	}
	if distance == 0 {
		if distance, err = t.distance(); err != nil {
			return false, err
		}
		if distance == 0 {
			return t.control(length)
		}
		if distance > farther {
			length++
		}
	}
	if distance > t.dictionary || distance > t.written {
		return false, fmt.Errorf("copy from %d bytes before the %d. of a dictionary of %d: %w", distance, t.written, t.dictionary, ErrCode)
	}
	t.last, t.copy = distance, length+shortestCopy
	return false, nil
}

func (t *tinyuz) distance() (int, error) {
	b, err := t.byte()
	if err != nil || b < nearDistances {
		return int(b), err
	}
	high, err := t.number(distanceBits)
	return (high<<7 | int(b&0x7f)) + nearDistances, err
}

func (t *tinyuz) control(which int) (ended bool, err error) {
	if which == controlLine {
		n, err := t.number(distanceBits)
		t.line, t.fresh = n+shortestLine, true
		return false, err
	}
	if t.types != 0 && t.left > 0 {
		return false, fmt.Errorf("bits before the end of a type byte: %w", ErrCode)
	}
	t.left, t.last = 0, 1
	if which != controlAlign && which != controlEnd {
		return false, fmt.Errorf("control %d: %w", which, ErrCode)
	}
	return which == controlEnd, nil
}

// end returns an error unless the stream ends here, and the input with it.
func (t *tinyuz) end() error {
	if t.copy > 0 || t.line > 0 {
		return fmt.Errorf("body is longer than its ranges: %w", ErrCode)
	}
	for {
		literal, err := t.bit()
		if err != nil {
			return err
		}
		if literal == 1 {
			return fmt.Errorf("body is longer than its ranges: %w", ErrCode)
		}
		ended, err := t.code()
		if err != nil {
			return err
		}
		if t.copy > 0 || t.line > 0 {
			return fmt.Errorf("body is longer than its ranges: %w", ErrCode)
		}
		if ended {
			break
		}
	}
	if len(t.in) > 0 {
		return ErrTrailing
	}
	return nil
}
