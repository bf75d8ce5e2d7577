package delta

import "math/bits"

// A number codes integers from 0 to 2^maxBits - 2: the length of value+1 in
// bits in unary, then its bits from the second on. Small values are cheap.
type number struct {
	length [maxBits]prob
	second [knownLengths]prob    // the bit after the leading one, by length
	third  [knownLengths][2]prob // and the one after, by length and second bit
	low    [knownBits]prob       // the others, by position
}

// Numbers that are longer share the last cells.
const (
	maxBits      = 25
	knownLengths = 13
	knownBits    = 16
)

func (n *number) reset() {
	fill(n.length[:], even)
	fill(n.second[:], even)
	fill(n.low[:], even)
	for i := range n.third {
		fill(n.third[i][:], even)
	}
}

func (n *number) code(c coder, value int) int {
	v := uint32(value) + 1
	length := bits.Len32(v) - 1 // less the leading one
	k := 0
	for k < maxBits-1 && c.bit(&n.length[k], toBit(k < length)) == 1 {
		k++
	}
	row := min(k, knownLengths) - 1
	r := uint32(1)
	for i := k - 1; i >= 0; i-- {
		cell := &n.low[min(i, knownBits-1)]
		switch k - 1 - i {
		case 0:
			cell = &n.second[row]
		case 1:
			cell = &n.third[row][r&1]
		}
		r = r<<1 | uint32(c.bit(cell, int(v>>i)&1))
	}
	return int(r) - 1
}

// codeSigned codes 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
func (n *number) codeSigned(c coder, value int) int {
	v := n.code(c, value<<1^value>>63)
	return v>>1 ^ -(v & 1)
}

func toBit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// codeByte codes eight bits, the highest first, each in the cell that the bits
// before it choose.
func codeByte(c coder, tree *[256]prob, b byte) byte {
	m := 1
	for i := 7; i >= 0; i-- {
		m = m<<1 | c.bit(&tree[m], int(b>>i)&1)
	}
	return byte(m)
}

// A kind is what a unit of an old image is taken for.
type kind int

const (
	halfword kind = iota // nothing special
	branch               // BL or B.W
	pointer              // address in the image
	variable             // address in RAM
	load                 // LDR from a literal pool
	single               // a byte that is no part of a halfword in both images
	kinds
)

// What stands before a token.
const (
	afterLiteral = iota
	afterRepeat
	afterCover
	places
)

// cells is the part of the model that learns. A restart resets it.
type cells struct {
	coverShift, coverLength      number
	repeatDistance, repeatLength number
	difference                   [kinds]number // of words only
	notLiteral                   [places][2]prob
	isCover                      [places]prob
	newDistance                  [2]prob
	missed                       [kinds + 1][2][8]prob
	changed                      [kinds]prob
	dirty                        [8]prob
	raw                          [kinds]prob
	recent                       [kinds][4]prob
	another                      prob
	highChanged                  [8]prob
	high                         [1 << 8]prob
	low                          [2][1 << 8]prob
	literals                     literals
}

func (m *cells) reset() {
	for _, n := range []*number{&m.coverShift, &m.coverLength, &m.repeatDistance, &m.repeatLength} {
		n.reset()
	}
	for i := range m.notLiteral {
		fill(m.notLiteral[i][:], even)
	}
	fill(m.isCover[:], even)
	fill(m.newDistance[:], even)
	for i := range m.missed {
		for k := range m.missed[i] {
			fill(m.missed[i][k][:], rarely)
		}
	}
	for i := range kinds {
		m.difference[i].reset()
		fill(m.recent[i][:], even)
	}
	fill(m.changed[:], even)
	fill(m.dirty[:], even)
	fill(m.raw[:], rarely)
	m.another = even
	fill(m.highChanged[:], even)
	fill(m.high[:], even)
	fill(m.low[0][:], even)
	fill(m.low[1][:], even)
	m.literals.reset()
}
