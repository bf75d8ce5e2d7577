package compress

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/klauspost/compress/flate"
)

// encodeDeflate takes the better of two searches: the thorough one, which looks
// back 32 KiB, where the decoder can, and one that keeps to a window.
func encodeDeflate(image []byte, window int) ([]byte, error) {
	var best []byte
	for _, open := range []func(*bytes.Buffer) (*flate.Writer, error){
		func(b *bytes.Buffer) (*flate.Writer, error) { return flate.NewWriter(b, flate.BestCompression) },
		func(b *bytes.Buffer) (*flate.Writer, error) { return flate.NewWriterWindow(b, window) },
	} {
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(image); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		if _, reach, err := decodeDeflate(b.Bytes(), len(image)); err != nil {
			return nil, err
		} else if reach <= window && (best == nil || b.Len() < len(best)) {
			best = b.Bytes()
		}
	}
	if best == nil {
		return nil, fmt.Errorf("the search keeps to no window of %d bytes: %w", window, ErrWindow)
	}
	return best, nil
}

// decodeDeflate is RFC 1951. No library says how far back a stream looks, which
// is what a device has to have room for.
func decodeDeflate(payload []byte, limit int) (image []byte, window int, err error) {
	d := inflater{in: payload, limit: limit}
	for last := false; !last && d.err == nil; {
		last = d.bits(1) == 1
		switch kind := d.bits(2); {
		case d.err != nil:
		case kind == 0:
			d.stored()
		case kind == 1:
			d.compressed(fixedLiterals, fixedDistances)
		case kind == 2:
			d.dynamic()
		default:
			d.fail(ErrCode)
		}
	}
	switch {
	case d.err != nil:
		return d.out, 0, d.err
	case len(d.in) > 0:
		return d.out, 0, ErrTrailing
	case d.hold != 0:
		return d.out, 0, fmt.Errorf("bits after the end are set: %w", ErrCode)
	}
	smallest, _, _ := Deflate.Windows()
	return d.out, max(1<<bits.Len(uint(max(d.reach, 1)-1)), smallest), nil
}

// inflater decodes one stream.
type inflater struct {
	in    []byte
	hold  uint32 // bits that were taken from in, the next is the lowest
	have  int    // how many
	out   []byte
	limit int
	reach int // the farthest distance
	err   error
}

func (d *inflater) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// bits takes up to 15 bits, 0 after an error.
func (d *inflater) bits(n int) int {
	for d.have < n {
		if len(d.in) == 0 {
			d.fail(ErrTruncated)
			return 0
		}
		d.hold |= uint32(d.in[0]) << d.have
		d.in, d.have = d.in[1:], d.have+8
	}
	v := d.hold & (1<<n - 1)
	d.hold, d.have = d.hold>>n, d.have-n
	return int(v)
}

// write appends to the output.
func (d *inflater) write(b ...byte) {
	if room := d.limit - len(d.out); len(b) > room {
		d.fail(ErrLimit)
		b = b[:room]
	}
	d.out = append(d.out, b...)
}

// stored is a block without compression (section 3.2.4).
func (d *inflater) stored() {
	d.bits(d.have % 8)
	n := d.bits(8) | d.bits(8)<<8
	if complement := d.bits(8) | d.bits(8)<<8; d.err == nil && n != ^complement&0xffff {
		d.fail(ErrCode)
	}
	if n > len(d.in) {
		d.fail(ErrTruncated)
	}
	if d.err == nil {
		d.write(d.in[:n]...)
		d.in = d.in[n:]
	}
}

// code is a Huffman code: how many codes there are of each length, and their
// symbols in order (section 3.2.2).
type code struct {
	counts  [16]int
	symbols []int
}

// newCode makes a code from the lengths of its symbols. A code that leaves bit
// patterns without a symbol is refused, but for one symbol of one bit, and for
// none at all.
func newCode(lengths []int) (code, error) {
	var c code
	for _, n := range lengths {
		c.counts[n]++
	}
	c.counts[0] = 0
	left, total := 1, 0
	for n := 1; n < len(c.counts); n++ {
		if left = 2*left - c.counts[n]; left < 0 {
			return c, ErrCode
		}
		total += c.counts[n]
	}
	if left > 0 && !(total == 0 || total == 1 && c.counts[1] == 1) {
		return c, ErrCode
	}
	for n := 1; n < len(c.counts); n++ {
		for symbol, l := range lengths {
			if l == n {
				c.symbols = append(c.symbols, symbol)
			}
		}
	}
	return c, nil
}

// symbol reads one symbol.
func (d *inflater) symbol(c code) int {
	value, first, index := 0, 0, 0
	for n := 1; n < len(c.counts) && d.err == nil; n++ {
		value |= d.bits(1)
		if at := value - first; at < c.counts[n] {
			return c.symbols[index+at]
		}
		index += c.counts[n]
		first = (first + c.counts[n]) << 1
		value <<= 1
	}
	d.fail(ErrCode)
	return 0
}

// Codes of blocks that bring none (section 3.2.6).
var fixedLiterals, fixedDistances = fixedCodes()

func fixedCodes() (literals, distances code) {
	lengths := make([]int, 288)
	for i := range lengths {
		switch {
		case i < 144, i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	five := make([]int, 32) // 30 and 31 never occur in a stream
	for i := range five {
		five[i] = 5
	}
	literals, _ = newCode(lengths)
	distances, _ = newCode(five)
	return literals, distances
}

// order is that of the code length codes (section 3.2.7).
var order = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic is a block that brings its codes.
func (d *inflater) dynamic() {
	literals, distances, n := d.bits(5)+257, d.bits(5)+1, d.bits(4)+4
	var small [19]int
	for _, at := range order[:n] {
		small[at] = d.bits(3)
	}
	lengthCode, err := newCode(small[:])
	if err != nil || literals > 286 || distances > 30 {
		d.fail(ErrCode)
	}
	var lengths []int
	for len(lengths) < literals+distances && d.err == nil {
		repeat, value := 1, d.symbol(lengthCode)
		switch {
		case value == 16 && len(lengths) == 0:
			d.fail(ErrCode)
		case value == 16:
			repeat, value = 3+d.bits(2), lengths[len(lengths)-1]
		case value == 17:
			repeat, value = 3+d.bits(3), 0
		case value == 18:
			repeat, value = 11+d.bits(7), 0
		}
		for range repeat {
			lengths = append(lengths, value)
		}
	}
	if d.err != nil {
		return
	}
	if len(lengths) > literals+distances || lengths[256] == 0 {
		d.fail(ErrCode)
		return
	}
	l, lErr := newCode(lengths[:literals])
	t, tErr := newCode(lengths[literals:])
	if lErr != nil || tErr != nil {
		d.fail(ErrCode)
		return
	}
	d.compressed(l, t)
}

// compressed is the content of a block with codes (section 3.2.5).
func (d *inflater) compressed(literals, distances code) {
	for d.err == nil {
		symbol := d.symbol(literals)
		switch {
		case d.err != nil || symbol == 256:
			return
		case symbol < 256:
			d.write(byte(symbol))
		case symbol > 285:
			d.fail(ErrCode)
		default:
			length := d.length(symbol - 257)
			d.copy(length, d.distance(d.symbol(distances)))
		}
	}
}

// length is that of a copy: eight single lengths, then four of each number of
// extra bits, and 258 has a symbol of its own.
func (d *inflater) length(symbol int) int {
	switch {
	case symbol < 8:
		return 3 + symbol
	case symbol == 28:
		return 258
	}
	extra := symbol/4 - 1
	return 3 + (4+symbol%4)<<extra + d.bits(extra)
}

// distance is that of a copy: four single ones, then two of each number of extra
// bits.
func (d *inflater) distance(symbol int) int {
	if symbol < 4 {
		return 1 + symbol
	}
	extra := symbol/2 - 1
	if extra > 13 {
		d.fail(ErrCode)
		return 1
	}
	return 1 + (2+symbol%2)<<extra + d.bits(extra)
}

// copy repeats what was written.
func (d *inflater) copy(length, distance int) {
	switch {
	case d.err != nil:
		return
	case distance > len(d.out):
		d.fail(ErrCode)
		return
	case length > d.limit-len(d.out):
		d.fail(ErrLimit)
		length = d.limit - len(d.out)
	}
	d.reach = max(d.reach, distance)
	for range length {
		d.out = append(d.out, d.out[len(d.out)-distance])
	}
}
