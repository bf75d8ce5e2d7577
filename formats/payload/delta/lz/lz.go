// Package lz finds what a stream repeats of the bytes shortly before, for the
// writers of compressed patches. The formats differ in how they code a
// repetition; each chooses among what a [Finder] offers.
package lz

// A Match says that Length bytes are those from Distance bytes before on. The
// two ranges may overlap.
type Match struct{ Distance, Length int }

// A Finder finds matches in one stream. It takes twelve bytes for a byte of the
// stream.
type Finder struct {
	data            []byte
	window, longest int
	// By offset in data:
	run  []int32 // how often the byte at it stands there in a row
	pair []int32 // the latest earlier offset of the same two bytes, or none
	end  []int32 // the latest earlier offset of the rest of a run and the byte behind it, or something else
}

const (
	none = -1

	// attempts bounds the places that are looked at for one byte.
	attempts = 1 << 12
)

// NewFinder returns a finder of matches with a distance of at most window and a
// length of at most longest. The data, shorter than 2 GiB, stays in use and must
// not change.
func NewFinder(data []byte, window, longest int) *Finder {
	f := &Finder{
		data: data, window: window, longest: longest,
		run: make([]int32, len(data)), pair: make([]int32, len(data)), end: make([]int32, len(data)),
	}
	for i := len(data) - 1; i >= 0; i-- {
		f.run[i] = 1
		if i+1 < len(data) && data[i] == data[i+1] {
			f.run[i] += f.run[i+1]
		}
	}
	pairs, ends := heads(), heads()
	for i := range data {
		f.pair[i], f.end[i] = none, none
		if i+1 == len(data) {
			break
		}
		key := int(data[i])<<8 | int(data[i+1])
		f.pair[i], pairs[key] = pairs[key], int32(i)
		if run := int(f.run[i]); run > 1 && i+run < len(data) {
			key := (int(data[i])<<8 | int(data[i+run])) ^ run*0x9e5 // any hash: At compares
			key &= len(ends) - 1
			f.end[i], ends[key] = ends[key], int32(i)
		}
	}
	return f
}

// heads returns the beginnings of empty lists.
func heads() []int32 {
	h := make([]int32, 1<<16)
	for i := range h {
		h[i] = none
	}
	return h
}

// At appends to matches those of the bytes from i on: the nearest first, each
// further one longer than the one before it. None is shorter than two bytes.
func (f *Finder) At(matches []Match, i int) []Match {
	limit := min(len(f.data)-i, f.longest)
	best, before := 1, f.pair
	// Differences of firmware are mostly zeros. Within a run, the byte before is
	// the nearest match for what is left of it, and longer ones end as it does.
	if run := int(f.run[i]); run > 1 && i > 0 && f.data[i-1] == f.data[i] {
		best, before = min(run, limit), f.end
		if best > 1 {
			matches = append(matches, Match{1, best})
		}
	}
	at := int(before[i])
	for left := attempts; left > 0 && at >= 0 && i-at <= f.window && best < limit; left-- {
		if f.data[at+best] == f.data[i+best] {
			if n := f.common(at, i, limit); n > best {
				best = n
				matches = append(matches, Match{i - at, n})
			}
		}
		at = int(before[at])
	}
	return matches
}

// Length returns how many bytes from i on are those from distance before on.
func (f *Finder) Length(i, distance int) int {
	if distance > i || distance > f.window {
		return 0
	}
	return f.common(i-distance, i, min(len(f.data)-i, f.longest))
}

func (f *Finder) common(a, b, limit int) int {
	n := 0
	for n < limit && f.data[a+n] == f.data[b+n] {
		n++
	}
	return n
}
