package detools

import (
	"fmt"

	"github.com/otapack/otapack/formats/payload/delta/lz"
)

// heatshrink appends data as a heatshrink stream: one byte with the sizes, then
// bits from the highest on. 1 and eight bits are a literal; 0, the distance less
// one and the length less one are a copy. Zeros fill the last byte.
func heatshrink(out, data []byte, o Options) []byte {
	out = append(out, byte(o.Window-minWindow)<<4|byte(o.Lookahead-minLookahead))
	w := bitWriter{out: out}
	copies := cheapest(data, o)
	for i := 0; i < len(data); {
		if m := copies[i]; m.Length > 0 {
			w.bits(0, 1)
			w.bits(m.Distance-1, o.Window)
			w.bits(m.Length-1, o.Lookahead)
			i += m.Length
			continue
		}
		w.bits(1, 1)
		w.bits(int(data[i]), 8)
		i++
	}
	return w.out
}

// cheapest returns for each byte the copy that begins there in the shortest
// stream, or none for a literal. All copies cost the same and what is left never
// gets cheaper by being longer, so of the copies only the longest counts.
func cheapest(data []byte, o Options) []lz.Match {
	const literal = 9
	copied := 1 + o.Window + o.Lookahead
	finder := lz.NewFinder(data, 1<<o.Window, 1<<o.Lookahead)
	choice := make([]lz.Match, len(data))
	cost := make([]int, len(data)+1)
	var matches []lz.Match
	for i := len(data) - 1; i >= 0; i-- {
		cost[i] = literal + cost[i+1]
		matches = finder.At(matches[:0], i)
		if n := len(matches); n > 0 {
			if m := matches[n-1]; copied+cost[i+m.Length] < cost[i] {
				cost[i], choice[i] = copied+cost[i+m.Length], m
			}
		}
	}
	return choice
}

type bitWriter struct {
	out  []byte
	free int // bits of the last byte
}

func (w *bitWriter) bits(v, n int) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.out = append(w.out, 0)
			w.free = 8
		}
		w.free--
		w.out[len(w.out)-1] |= byte(v>>n&1) << w.free
	}
}

// shrunk reads a heatshrink stream. What lies before its beginning are zeros, as
// in the decoder: the original encoder refers to them.
type shrunk struct {
	in      []byte
	current byte // bits not yet read are the lowest ones
	left    int
	o       Options

	ring     []byte
	at       int
	copy     int // bytes to come
	distance int
}

// newShrunk reads the byte with the sizes.
func newShrunk(in []byte) (*shrunk, error) {
	if len(in) == 0 {
		return nil, ErrTruncated
	}
	o := Options{Heatshrink, int(in[0]>>4) + minWindow, int(in[0]&15) + minLookahead}
	if err := o.check(); err != nil {
		return nil, err
	}
	return &shrunk{in: in[1:], o: o, ring: make([]byte, 1<<o.Window)}, nil
}

func (s *shrunk) bits(n int) (int, error) {
	v := 0
	for ; n > 0; n-- {
		if s.left == 0 {
			if len(s.in) == 0 {
				return 0, ErrTruncated
			}
			s.current, s.left = s.in[0], 8
			s.in = s.in[1:]
		}
		s.left--
		v = v<<1 | int(s.current>>s.left&1)
	}
	return v, nil
}

func (s *shrunk) next() (byte, error) {
	if s.copy == 0 {
		literal, err := s.bits(1)
		if err != nil {
			return 0, err
		}
		if literal == 1 {
			b, err := s.bits(8)
			return s.put(byte(b)), err
		}
		distance, err := s.bits(s.o.Window)
		if err != nil {
			return 0, err
		}
		length, err := s.bits(s.o.Lookahead)
		if err != nil {
			return 0, err
		}
		s.distance, s.copy = distance+1, length+1
	}
	s.copy--
	return s.put(s.ring[(s.at-s.distance)&(len(s.ring)-1)]), nil
}

func (s *shrunk) put(b byte) byte {
	s.ring[s.at] = b
	s.at = (s.at + 1) & (len(s.ring) - 1)
	return b
}

func (s *shrunk) end() error {
	switch {
	case s.copy > 0:
		return fmt.Errorf("stream is longer than the patch in it: %w", ErrCode)
	case len(s.in) > 0:
		return ErrTrailing
	case s.current&(1<<s.left-1) != 0:
		return fmt.Errorf("padding is not zero: %w", ErrCode)
	}
	return nil
}
