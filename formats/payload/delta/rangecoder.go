package delta

import (
	"errors"
	"io"
)

// A prob is a cell of the model: in the upper twelve bits the probability of a
// 0 bit in 1/4096, in the lower four how often the cell was used, up to the
// last entry of rates.
type prob uint16

// even is a cell that knows nothing.
const even prob = 2048 << 4

// rarely is a cell for bits that are mostly 0.
const rarely prob = 3500<<4 | 3

// rates says how far a cell moves towards the bit it has seen, in 1/65536: fast
// at first, so that a small patch pays little for learning.
var rates = [...]uint32{40960, 25206, 18204, 14246, 11703, 9930, 8623, 7620, 6826, 5640, 4681, 3855}

// zero returns the probability of a 0 bit, of 4096.
func (p prob) zero() uint32 { return max(uint32(p)>>4, 1) }

// learn moves the cell towards a bit.
func (p *prob) learn(bit int) { p.adapt(bit, len(rates)-1) }

// learnFast does so for cells that are to forget sooner.
func (p *prob) learnFast(bit int) { p.adapt(bit, len(rates)-3) }

// adapt moves the cell no slower than the last rate says.
func (p *prob) adapt(bit, last int) {
	v, n := uint32(*p)>>4, *p&15
	rate := rates[n]
	if int(n) < last {
		n++
	}
	if bit == 0 {
		v += ((4095-v)*rate + 1<<15) >> 16
	} else {
		v -= (v*rate + 1<<15) >> 16
	}
	*p = prob(v)<<4 | n
}

func fill(cells []prob, p prob) {
	for i := range cells {
		cells[i] = p
	}
}

// A coder codes bits: a writer writes the bit that it is given, a reader
// ignores it. Both return what stands in the stream, so that the model is
// written once for both.
type coder interface {
	bit(cell *prob, bit int) int
	// code codes a bit whose probability to be 0 is zero/4096.
	code(zero uint32, bit int) int
	// restart ends the stream and begins another behind it.
	restart()
}

// A writer is the encoder of a range coder with 32 bits of range and carries
// into bytes already written.
type writer struct {
	low     uint64 // 33 bits: the upper one is a carry
	width   uint32
	held    byte // the first byte that is held back in case of a carry
	pending int  // bytes held back: that one and the 0xff after it
	out     []byte
}

func newWriter() *writer { return &writer{width: 1<<32 - 1} }

func (w *writer) bit(cell *prob, bit int) int {
	w.code(cell.zero(), bit)
	cell.learn(bit)
	return bit
}

func (w *writer) code(zero uint32, bit int) int {
	bound := (w.width >> 12) * zero
	if bit == 0 {
		w.width = bound
	} else {
		w.low += uint64(bound)
		w.width -= bound
	}
	for w.width < 1<<24 {
		w.width <<= 8
		w.shift()
	}
	return bit
}

// shift moves the upper byte of low towards the output.
func (w *writer) shift() {
	if carry := byte(w.low >> 32); carry != 0 || uint32(w.low) < 0xff<<24 || w.pending == 0 {
		w.release(carry)
		w.held = byte(w.low >> 24)
	}
	w.pending++
	w.low = w.low & (1<<24 - 1) << 8
}

// release writes the bytes that were held back.
func (w *writer) release(carry byte) {
	for b := w.held; w.pending > 0; w.pending-- {
		w.out = append(w.out, b+carry)
		b = 0xff
	}
}

// restart writes all of low, so that a reader is left with a remainder of zero,
// which it checks.
func (w *writer) restart() {
	for range preload {
		w.shift()
	}
	w.release(0)
	w.low, w.width = 0, 1<<32-1
}

// finish ends the stream and returns all that was written.
func (w *writer) finish() []byte {
	w.restart()
	return w.out
}

// A reader is the decoder.
type reader struct {
	src   io.ByteReader
	value uint32 // the stream's less the lower end of the range
	width uint32
	taken int   // bytes taken from src
	err   error // the first
}

func newReader(src io.ByteReader) *reader {
	r := &reader{src: src}
	r.begin()
	return r
}

// preload is how many bytes a reader has taken more than it needed.
const preload = 4

func (r *reader) begin() {
	r.width = 1<<32 - 1
	for range preload {
		r.next()
	}
}

func (r *reader) next() {
	b, err := r.src.ReadByte()
	if err != nil && r.err == nil {
		r.err = err
		if errors.Is(err, io.EOF) {
			r.err = ErrTruncated
		}
	}
	r.taken++
	r.value = r.value<<8 | uint32(b)
}

func (r *reader) bit(cell *prob, _ int) int {
	bit := r.code(cell.zero(), 0)
	cell.learn(bit)
	return bit
}

func (r *reader) code(zero uint32, _ int) int {
	bound := (r.width >> 12) * zero
	bit := 0
	if r.value < bound {
		r.width = bound
	} else {
		r.value -= bound
		r.width -= bound
		bit = 1
	}
	for r.width < 1<<24 {
		r.width <<= 8
		r.next()
	}
	return bit
}

// end checks that the writer ended here.
func (r *reader) end() {
	if r.err == nil && r.value != 0 {
		r.err = ErrCorrupt
	}
}

func (r *reader) restart() {
	r.end()
	r.begin()
}
