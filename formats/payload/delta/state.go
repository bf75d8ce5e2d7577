package delta

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A State is a restart point of a patch: where a decoder goes on after a loss
// of power. The zero State is the beginning.
type State struct {
	Patch  int // bytes of the patch before it
	Output int // bytes of the new image before it, all to be found in the bank

	tag      uint32
	pos      int // of the coder, up to three bytes behind Output
	shift    int
	next     int
	covering int
	tail     [6]byte // before pos, absolute
}

// stateSize is the length of a marshalled State in bytes.
const stateSize = 4 + 3 + 3 + 4 + 2 + 3 + 6

func tagOf(header []byte) uint32 { return crc32.ChecksumIEEE(header) }

// MarshalBinary returns 25 bytes, numbers little-endian: the CRC-32 of the
// patch's header, patch offset (3 bytes), output offset of the coder (3), old
// less new offset (4), next cover of the map (2), bytes of the cover to go (3),
// and the six bytes before in absolute form.
func (s State) MarshalBinary() ([]byte, error) {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, stateSize), s.tag)
	b = append24(append24(b, s.Patch), s.pos)
	b = binary.LittleEndian.AppendUint32(b, uint32(s.shift))
	b = binary.LittleEndian.AppendUint16(b, uint16(s.next))
	return append(append24(b, s.covering), s.tail[:]...), nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (s *State) UnmarshalBinary(b []byte) error {
	if len(b) != stateSize {
		return ErrState
	}
	*s = State{
		tag:      binary.LittleEndian.Uint32(b),
		Patch:    read24(b[4:]),
		pos:      read24(b[7:]),
		shift:    int(int32(binary.LittleEndian.Uint32(b[10:]))),
		next:     int(binary.LittleEndian.Uint16(b[14:])),
		covering: read24(b[16:]),
		tail:     [6]byte(b[19:]),
	}
	s.Output = max(s.pos&^1-2, 0)
	return nil
}

func append24(b []byte, v int) []byte { return append(b, byte(v), byte(v>>8), byte(v>>16)) }
func read24(b []byte) int             { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// note keeps the restart point that the last step passed.
func (d *Decoder) note() {
	d.reached = d.State()
	d.ahead = State{
		Patch: d.header + d.bits.taken - preload, Output: d.settled(),
		tag: d.tag, pos: d.pos, shift: d.shift, next: d.next, covering: d.covering,
	}
	for i := range d.ahead.tail {
		if at := d.pos - len(d.ahead.tail) + i; at >= 0 {
			d.ahead.tail[i] = d.recent[at%history]
		}
	}
}

// State returns the latest restart point before which Read has returned
// everything. Keep it after the output was written; until there is a restart
// point, it is the zero State.
func (d *Decoder) State() State {
	if d.done >= d.ahead.Output {
		return d.ahead
	}
	return d.reached
}

// Resume returns a decoder that goes on at a restart point. The patch is read
// from its beginning, as the map stands there. The first Read returns the byte at
// offset state.Output.
func Resume(patch io.Reader, old, written io.ReaderAt, limits Limits, state State) (*Decoder, error) {
	d, err := NewDecoder(patch, old, written, limits)
	if err != nil || state == (State{}) {
		return d, err
	}
	ahead := state.Patch - d.header - d.bits.taken
	covers := d.addresses.covers
	if state.tag != d.tag || d.Restart == 0 || ahead < 0 || state.shift < -MaxImage || state.shift > MaxImage ||
		state.next > len(covers) || state.next > 0 && covers[state.next-1].New > state.pos {
		return nil, ErrState
	}
	d.pos, d.shift, d.next, d.covering = state.pos, state.shift, state.next, state.covering
	at := cover{New: d.pos, Old: d.pos + d.shift, Length: d.covering}
	if at.Length > 0 && !d.fits(at, d.room()) || d.pos > d.room() {
		return nil, ErrState
	}
	if _, err := d.in.Discard(ahead); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	d.bits.taken += ahead
	d.bits.begin()
	d.stream.forget()
	for i, b := range state.tail {
		d.recent[(d.pos-len(state.tail)+i+history)%history] = b
	}
	d.kept = max(d.pos-len(state.tail), 0)
	d.last = uint32(state.tail[4])<<8 | uint32(state.tail[5])
	d.done = state.Output
	d.written.size = d.done
	d.ahead, d.reached = state, state
	return d, d.fault()
}
