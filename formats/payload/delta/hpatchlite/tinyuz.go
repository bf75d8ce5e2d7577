package hpatchlite

import (
	"encoding/binary"

	"github.com/otapack/otapack/formats/payload/delta/lz"
)

// Numbers of tinyuz (tuz_types.h, tuz_types_private.h). A stream begins with the
// size of the dictionary, four bytes in little-endian order.
const (
	shortestCopy   = 2
	shortestLine   = 15   // of a run of literals
	farther        = 2687 // distances beyond it have copies of at least three bytes
	controlLine    = 1    // a run of literals
	controlAlign   = 2    // the rest of the type byte is void, and the distance is 1 again
	controlEnd     = 3
	lengthBits     = 1 // value bits in a group of a length
	distanceBits   = 2 // value bits in a group of a distance or a run's length
	nearDistances  = 128
	longestCopy    = 1<<16 - 1 // decoders may be built with 16-bit lengths
	dictionaryHead = 4
)

// A bitWriter writes single bits into type bytes, the lowest bit first. A type
// byte stands where its first bit is written, between bytes that were written
// whole.
type bitWriter struct {
	out  []byte
	at   int // of the current type byte
	used int // bits of it
}

func newBitWriter(out []byte) *bitWriter { return &bitWriter{out: out, used: 8} }

func (w *bitWriter) byte(b byte) { w.out = append(w.out, b) }

func (w *bitWriter) bit(b int) {
	if w.used == 8 {
		w.at, w.used = len(w.out), 0
		w.out = append(w.out, 0)
	}
	w.out[w.at] |= byte(b << w.used)
	w.used++
}

// number writes v in groups of so many value bits, the highest group first, each
// followed by a bit that says whether another follows. A number in n groups
// begins to count where those in n-1 groups end.
func (w *bitWriter) number(v, bits int) {
	var groups [32]int
	n := 0
	for ; ; n++ {
		groups[n] = v & (1<<bits - 1)
		if v >>= bits; v == 0 {
			break
		}
		v--
	}
	for ; n >= 0; n-- {
		for i := range bits {
			w.bit(groups[n] >> i & 1)
		}
		w.bit(min(n, 1))
	}
}

// numberCost returns how many bits number writes.
func numberCost(v, bits int) int {
	cost := bits + 1
	for v >>= bits; v > 0; v = (v - 1) >> bits {
		cost += bits + 1
	}
	return cost
}

// distance writes the distance of a copy, or 0 for a control.
func (w *bitWriter) distance(d int) {
	if d < nearDistances {
		w.byte(byte(d))
		return
	}
	d -= nearDistances
	w.byte(byte(d) | 0x80)
	w.number(d>>7, distanceBits)
}

func distanceCost(d int) int {
	if d < nearDistances {
		return 8
	}
	return 8 + numberCost((d-nearDistances)>>7, distanceBits)
}

// A step of a parse is one literal byte or one copy.
type step struct {
	length   int
	distance int  // 0 for a literal
	repeat   bool // the distance is that of the copy before
}

// compress appends data as a tinyuz stream.
func compress(out, data []byte, dictionary int) []byte {
	out = binary.LittleEndian.AppendUint32(out, uint32(dictionary))
	w := newBitWriter(out)
	literals := 0 // before i that are not yet written
	fresh := false
	i := 0
	for _, s := range parse(data, dictionary) {
		if s.distance == 0 {
			literals++
			i++
			continue
		}
		fresh = w.literals(data[i-literals:i], fresh)
		literals = 0
		w.copy(s, fresh)
		fresh = false
		i += s.length
	}
	fresh = w.literals(data[i-literals:i], fresh)
	w.control(controlEnd, fresh)
	return w.out
}

// literals writes bytes as they are, as a run if that is shorter. Fresh says
// whether a literal was written since the last copy; what it returns is the same
// afterwards.
func (w *bitWriter) literals(b []byte, fresh bool) bool {
	for len(b) > 0 {
		n := min(len(b), longestCopy)
		head := 1 + numberCost(controlLine, lengthBits) + 8
		if fresh {
			head++
		}
		if n >= shortestLine && head+numberCost(n-shortestLine, distanceBits) < n {
			w.control(controlLine, fresh)
			w.number(n-shortestLine, distanceBits)
			w.out = append(w.out, b[:n]...)
		} else {
			for _, c := range b[:n] {
				w.bit(1)
				w.byte(c)
			}
		}
		fresh = true
		b = b[n:]
	}
	return fresh
}

func (w *bitWriter) control(which int, fresh bool) {
	w.bit(0)
	w.number(which, lengthBits)
	if fresh {
		w.bit(0)
	}
	w.byte(0)
}

func (w *bitWriter) copy(s step, fresh bool) {
	coded := s.length - shortestCopy
	if !s.repeat && s.distance > farther {
		coded--
	}
	w.bit(0)
	w.number(coded, lengthBits)
	if fresh {
		w.bit(b2i(s.repeat))
	}
	if !s.repeat {
		w.distance(s.distance)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A node is the cheapest known way to the end of a prefix, of those that end in
// a literal or of those that end in a copy.
type node struct {
	cost     int32 // in bits
	length   int32 // of the last step
	distance int32 // of the last copy on the way
	literal  bool  // the step before the last one was a literal
	repeat   bool  // the last step is a copy that repeats the distance
}

const unreached = 1 << 30

// parse chooses the steps that take the fewest bits, as far as one can say that
// knows only the cheapest ways to each place: the distance that a later copy may
// repeat depends on the way.
func parse(data []byte, dictionary int) []step {
	p := &parser{
		data:   data,
		finder: lz.NewFinder(data, dictionary, longestCopy),
		nodes:  make([][2]node, len(data)+1),
	}
	for i := range p.nodes {
		p.nodes[i] = [2]node{{cost: unreached}, {cost: unreached}}
	}
	p.nodes[0][afterCopy] = node{distance: 1}
	for i, skip := 0, 0; i < len(data); i++ {
		if i < skip {
			continue
		}
		if n := p.from(i); n >= taken {
			skip = i + n
		}
	}
	return p.steps()
}

// Kinds of ways.
const (
	afterCopy = iota
	afterLiteral
)

const (
	// taken is the length from which a copy is taken without a look at shorter
	// ones.
	taken = 1024
	// every is the length up to which every part of a match is tried.
	every = 64
)

type parser struct {
	data    []byte
	finder  *lz.Finder
	nodes   [][2]node
	matches []lz.Match
}

// from tries all steps from place i and returns the length of the longest.
func (p *parser) from(i int) int {
	p.matches = p.finder.At(p.matches[:0], i)
	longest := 0
	if n := len(p.matches); n > 0 {
		longest = p.matches[n-1].Length
	}
	for kind := range p.nodes[i] {
		at := p.nodes[i][kind]
		if at.cost == unreached {
			continue
		}
		fresh := kind == afterLiteral
		p.reach(i+1, afterLiteral, node{cost: at.cost + 9, length: 1, distance: at.distance, literal: fresh})
		if fresh {
			n := p.finder.Length(i, int(at.distance))
			longest = max(longest, n)
			p.copies(i, lz.Match{Distance: int(at.distance), Length: n}, shortestCopy, node{
				cost: at.cost + 2, distance: at.distance, literal: fresh, repeat: true,
			})
		}
		from := 0
		for _, m := range p.matches {
			p.copies(i, m, from+1, node{
				cost: at.cost + 1 + int32(b2i(fresh)+distanceCost(m.Distance)), distance: int32(m.Distance), literal: fresh,
			})
			from = m.Length
		}
	}
	return longest
}

// copies tries copies of a match from the shortest on. The node has their cost
// without their length.
func (p *parser) copies(i int, m lz.Match, shortest int, n node) {
	least := shortestCopy
	if !n.repeat && m.Distance > farther {
		least++
	}
	cost := n.cost
	try := func(length int) {
		n.cost, n.length = cost+int32(numberCost(length-least, lengthBits)), int32(length)
		p.reach(i+length, afterCopy, n)
	}
	if m.Length < least {
		return
	}
	if m.Length < taken {
		for length := max(shortest, least); length < min(m.Length, every); length++ {
			try(length)
		}
	}
	try(m.Length)
}

func (p *parser) reach(i, kind int, n node) {
	if n.cost < p.nodes[i][kind].cost {
		p.nodes[i][kind] = n
	}
}

// steps walks the cheapest way back.
func (p *parser) steps() []step {
	i := len(p.data)
	kind := afterCopy
	if p.nodes[i][afterLiteral].cost < p.nodes[i][afterCopy].cost {
		kind = afterLiteral
	}
	var steps []step
	for i > 0 {
		n := p.nodes[i][kind]
		s := step{length: int(n.length)}
		if kind == afterCopy {
			s.distance, s.repeat = int(n.distance), n.repeat
		}
		steps = append(steps, s)
		i -= s.length
		kind = afterCopy
		if n.literal {
			kind = afterLiteral
		}
	}
	for a, b := 0, len(steps)-1; a < b; a, b = a+1, b-1 {
		steps[a], steps[b] = steps[b], steps[a]
	}
	return steps
}
