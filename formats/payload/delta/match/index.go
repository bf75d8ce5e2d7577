package match

import (
	"encoding/binary"
	"math/bits"
)

// An Index finds the longest match of any bytes in one image. It may be used
// from several goroutines at once. It takes five bytes for a byte of the image
// and one quarter of a MiB.
type Index struct {
	image  []byte
	sorted []int32
	pairs  []int32 // pairs[p]: the first place of suffixes that begin with pair p or a later one
}

// longest is where a search stops counting, so that images of one byte
// throughout stay cheap. A scan that stops here goes on behind it.
const longest = 1 << 12

// NewIndex sorts the suffixes of image, which stays in use and must not change.
// The image is shorter than 2 GiB.
func NewIndex(image []byte) *Index {
	x := &Index{image: image, sorted: suffixes(image), pairs: make([]int32, 1<<16+1)}
	// The suffix of one byte stands before the pairs that begin with that byte.
	place := 0
	for pair := range x.pairs {
		for place < len(x.sorted) && x.pairAt(place) < pair {
			place++
		}
		x.pairs[pair] = int32(place)
	}
	return x
}

// pairAt returns the first two bytes of a suffix, big-endian; the one suffix of
// a single byte counts as the pair with a zero.
func (x *Index) pairAt(place int) int {
	s := x.image[x.sorted[place]:]
	if len(s) == 1 {
		return int(s[0]) << 8
	}
	return int(binary.BigEndian.Uint16(s))
}

// Longest returns where in the image the longest prefix of want begins, up to 4
// KiB of it, and its length. Matches of less than two bytes are not found: the
// length is 0 then.
func (x *Index) Longest(want []byte) (at, length int) {
	if len(want) < 2 {
		return 0, 0
	}
	want = want[:min(len(want), longest)]
	pair := int(binary.BigEndian.Uint16(want))
	low, high := int(x.pairs[pair]), int(x.pairs[pair+1])
	// Suffixes before low are smaller, those from high on are greater. What want
	// shares with both neighbours is shared by all between them.
	var below, above int
	for low < high {
		middle := int(uint(low+high) >> 1)
		suffix := x.image[x.sorted[middle]:]
		n := min(below, above)
		n += common(suffix[n:], want[n:])
		if n > length {
			at, length = int(x.sorted[middle]), n
		}
		switch {
		case n == len(want):
			return at, length
		case n == len(suffix) || suffix[n] < want[n]:
			low, below = middle+1, n
		default:
			high, above = middle, n
		}
	}
	if length < 2 {
		return 0, 0
	}
	return at, length
}

// common returns how many bytes two slices share at their beginnings.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if differ := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); differ != 0 {
			return i + bits.TrailingZeros64(differ)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
