package delta

// literals models bytes that nothing predicts. Thumb instructions are little-
// endian halfwords, with the operation in the upper five bits of the second
// byte. So an even byte is told best by the byte before it, an odd byte by the one
// two before it, both of which are upper halves: that is the near context. The far
// context is the other of the two. Each context gives a probability, and a mixer
// that learns weighs both.
type literals struct {
	// The upper four bits of a byte know five bits of the context, the lower four
	// only one, beside the upper four: [near or far][parity and context][node].
	upper [contexts][2 << 5][1 << 4]prob
	lower [contexts][2 << 1][1 << 8]prob
	// [parity][upper or lower four bits][near or far], 1<<16 being one
	weights [2][2][contexts]int32

	// A decoder with a small map has these in place of all above.
	plain [2][1 << 8]prob // [parity][node]
}

const (
	contexts  = 2
	smallMap  = 64      // covers up to which the model is the small one
	maxWeight = 1 << 18 // so that 32 bits hold all sums
)

func (m *literals) reset() {
	for i := range contexts {
		for k := range m.upper[i] {
			fill(m.upper[i][k][:], even)
		}
		for k := range m.lower[i] {
			fill(m.lower[i][k][:], even)
		}
	}
	for i := range m.plain {
		fill(m.plain[i][:], even)
		for k := range m.weights[i] {
			m.weights[i][k] = [contexts]int32{1 << 15, 1 << 15}
		}
	}
}

// small says whether the decoder's memory is scarce.
func (s *stream) small() bool { return s.MapSize <= smallMap }

// literal codes the byte at an offset, given the two before it, the nearer one
// in the lower eight bits.
func (s *stream) literal(c coder, at int, before uint32, b byte) byte {
	m, parity := &s.literals, at&1
	if s.small() {
		return codeByte(c, &m.plain[parity], b)
	}
	context := [contexts]uint32{before & 0xff, before >> 8 & 0xff}
	if parity == 1 {
		context[0], context[1] = context[1], context[0]
	}
	node := 1
	for i := 7; i >= 0; i-- {
		var cells [contexts]*prob
		for k, v := range context {
			if i >= 4 {
				cells[k] = &m.upper[k][int(v>>3)<<1|parity][node]
			} else {
				cells[k] = &m.lower[k][int(v>>7)<<1|parity][node]
			}
		}
		node = node<<1 | mix(c, &m.weights[parity][toBit(i < 4)], cells, int(b>>i)&1)
	}
	return byte(node)
}

// mix codes a bit with the weighted mean of what two cells say, in the logistic
// domain (Mahoney, "Adaptive Weighing of Context Models for Lossless Data
// Compression", 2005).
func mix(c coder, weights *[contexts]int32, cells [contexts]*prob, bit int) int {
	var sum int32
	var in [contexts]int32
	for k, cell := range cells {
		in[k] = stretch(cell.zero())
		sum += weights[k] * in[k]
	}
	p := squash(sum >> 16)
	bit = c.code(p, bit)
	miss := int32(1-bit)<<12 - int32(p)
	for k, cell := range cells {
		w := weights[k] + (in[k]*miss+1<<13)>>14
		weights[k] = min(max(w, -maxWeight), maxWeight)
		cell.learn(bit)
	}
	return bit
}

// stretched has ln(p/(1-p)) times 256 for p in 1/64, limited to ±2047.
var stretched = [65]int32{
	-2047, -1061, -879, -771, -693, -632, -581, -537, -498, -463, -432, -403, -375, -350, -326, -303,
	-281, -260, -240, -221, -202, -183, -166, -148, -131, -114, -97, -81, -64, -48, -32, -16,
	0, 16, 32, 48, 64, 81, 97, 114, 131, 148, 166, 183, 202, 221, 240, 260,
	281, 303, 326, 350, 375, 403, 432, 463, 498, 537, 581, 632, 693, 771, 879, 1061,
	2047,
}

// squashed has 4096/(1+exp(-x)) for x from -8 in steps of 1/2.
var squashed = [33]int32{
	1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546,
	2048, 2550, 2994, 3349, 3608, 3785, 3902, 3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094,
	4095,
}

// stretch turns a probability in 1/4096 into its log-odds in 1/256.
func stretch(p uint32) int32 {
	i, f := p>>6, int32(p&63)
	return stretched[i] + (stretched[i+1]-stretched[i])*f>>6
}

// squash turns log-odds in 1/256 into a probability in 1/4096.
func squash(x int32) uint32 {
	x = min(max(x, -2047), 2047) + 2048
	i, f := x>>7, x&127
	return uint32(squashed[i] + (squashed[i+1]-squashed[i])*f>>7)
}
