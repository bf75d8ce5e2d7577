package delta

import (
	"math"
	"math/bits"
	"slices"
)

// A price is a guess in bits of what tokens cost, made from what the last plan
// used.
type prices struct {
	literal             [2][256]float64 // by parity of the offset
	isLiteral, isRepeat float64
	sameDistance        float64
	newDistance         float64
	distance, length    [maxBits]float64 // by the length of the number in bits
}

func defaultPrices() *prices {
	p := &prices{isLiteral: .3, isRepeat: 2.6, sameDistance: 3, newDistance: .4}
	for i := range 256 {
		p.literal[0][i], p.literal[1][i] = 6.6, 6.2
	}
	for i := range p.distance {
		p.distance[i] = float64(i) + 3
		p.length[i] = float64(2*i) + 1
	}
	return p
}

func size(v int) int { return bits.Len(uint(v+1)) - 1 }

// learnPrices counts what tokens used.
func learnPrices(image []byte, tokens []token) *prices {
	p := defaultPrices()
	var seen [2][256]float64
	var parity [2]float64
	var literals, repeats, same float64
	var distances, lengths [maxBits]float64
	last := 0
	for _, t := range tokens {
		switch t.place {
		case afterLiteral:
			seen[t.at&1][image[t.at]]++
			parity[t.at&1]++
			literals++
		case afterRepeat:
			repeats++
			if t.from == last {
				same++
			} else {
				distances[size(t.from-1)]++
			}
			last = t.from
			lengths[size(t.length-2)]++
		}
	}
	if literals < 500 {
		return p
	}
	cost := func(n, all float64) float64 { return -math.Log2((n + .5) / (all + 1)) }
	for k := range seen {
		for v := range seen[k] {
			// Cells adapt and have a context, which counting does not see.
			p.literal[k][v] = -.92 * math.Log2((seen[k][v]+.3)/(parity[k]+.3*256))
		}
	}
	p.isLiteral = cost(literals, literals+repeats)
	p.isRepeat = cost(repeats, literals+repeats) + .2
	p.sameDistance = cost(same, repeats)
	p.newDistance = cost(repeats-same, repeats)
	for i := range distances {
		p.distance[i] = cost(distances[i], repeats-same+2) + float64(i)
		p.length[i] = cost(lengths[i], repeats+2) + float64(i)*.9
	}
	return p
}

// A finder lists earlier occurrences of what stands at an offset of the new
// image. It does not change once it is made, so that all trials share it.
type finder struct {
	image   []byte
	earlier []int32 // by offset: the latest one before with the same three bytes, or noMatch
}

const (
	noMatch    = -1
	chainDepth = 64 // occurrences tried
	minRepeat  = 3
	lengthStep = 300 // lengths tried below the longest
	longRepeat = 100 // bytes of a repeat that is not searched for better ones inside
)

func newFinder(image []byte) *finder {
	f := &finder{image, make([]int32, max(len(image)-minRepeat+1, 0))}
	latest := make(map[[minRepeat]byte]int32)
	for at := range f.earlier {
		key := [minRepeat]byte(image[at:])
		before, ok := latest[key]
		if !ok {
			before = noMatch
		}
		f.earlier[at], latest[key] = before, int32(at)
	}
	return f
}

// matches calls found with ever longer matches of what is at an offset, up to
// end.
func (f *finder) matches(at, end int, found func(length, distance int)) {
	if at+minRepeat > end {
		return
	}
	candidate := f.earlier[at]
	best := minRepeat - 1
	for depth := 0; candidate != noMatch && depth < chainDepth && at+best < end; depth++ {
		n := f.common(int(candidate), at, end)
		if n > best {
			found(n, at-int(candidate))
			best = n
		}
		candidate = f.earlier[candidate]
		if best >= longRepeat {
			break
		}
	}
}

// common returns how many bytes agree from a and from b on, up to end for b.
func (f *finder) common(a, b, end int) int {
	n := 0
	for b+n < end && f.image[a+n] == f.image[b+n] {
		n++
	}
	return n
}

// A hop is a token by where it ends, in little memory.
type hop struct{ place, length, from int32 }

// parse returns the cheapest literals and repeats for image[from:to], backwards:
// the last hop ends at to, and each goes on where the one behind it begins.
func (f *finder) parse(from, to int, p *prices) []hop {
	cost := make([]float64, to-from+1)
	by := make([]hop, to-from+1) // the hop that ends here
	for i := 1; i < len(cost); i++ {
		cost[i] = math.Inf(1)
	}
	try := func(i int, h hop, price float64) {
		if end := i + int(h.length); cost[i]+price < cost[end] {
			cost[end], by[end] = cost[i]+price, h
		}
	}
	for at, long := from, 0; at < to; at++ {
		if at < long {
			continue
		}
		i := at - from
		try(i, hop{afterLiteral, 1, 0}, p.isLiteral+p.literal[at&1][f.image[at]])
		shortest := minRepeat
		f.matches(at, to, func(length, distance int) {
			price := p.isRepeat + p.newDistance + p.distance[size(distance-1)]
			for n := max(shortest, length-lengthStep); n <= length; n++ {
				try(i, hop{afterRepeat, int32(n), int32(distance)}, price+p.length[size(n-2)])
			}
			shortest = length + 1
			if length >= longRepeat {
				long = at + length
			}
		})
		// One literal amid a repeat leaves the distance as it is.
		if i > 1 && by[i].place == afterLiteral && by[i-1].place == afterRepeat {
			distance := by[i-1].from
			for n := f.common(at-int(distance), at, to); n >= 2; n-- {
				try(i, hop{afterRepeat, int32(n), distance}, p.isRepeat+p.sameDistance+p.length[size(n-2)])
			}
		}
	}
	var path []hop
	for i := to - from; i > 0; {
		h := by[i]
		i -= int(h.length)
		path = append(path, h)
	}
	return path
}

// parseGap returns the tokens of a parse in the order of the image.
func (f *finder) parseGap(from, to int, p *prices) []token {
	path := f.parse(from, to, p)
	tokens := make([]token, 0, len(path))
	for _, h := range slices.Backward(path) {
		tokens = append(tokens, token{int(h.place), from, int(h.length), int(h.from)})
		from += int(h.length)
	}
	return tokens
}
