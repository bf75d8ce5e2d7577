package match

import (
	"cmp"
	"math/bits"
	"slices"
)

// Prices say what a format takes for what covers leave it to code, in any unit.
type Prices struct {
	Cover  int      // the head of a cover
	Shift  int      // each bit of the difference of its distance to the last one's
	Fresh  int      // a byte outside of covers
	Differ int      // a byte in a cover that differs
	At     []uint16 // by offset in the new image, when set: Fresh goes for a byte with 1000 here, in proportion for others
	Again  int      // a byte in a cover that differs by as much as that four bytes before: a moved address
	Same   []int    // the first byte of a run in a cover that does not differ, the second, and so on; the last one goes for all further
}

// reach is how many bytes beyond its ends a candidate is considered.
const reach = 512

// near are further distances to consider about a candidate: where code grows or
// shrinks, so do tables, by an entry or two, and repetition in them hides it.
var near = []int{0, -2, 2, -4, 4, -8, 8, -12, 12}

// substantial is the length from which a candidate has neighbours.
const substantial = 16

// Choose returns the covers that cost least, out of candidates that may overlap
// and be in any order, such as the results of Covers for several thresholds. The
// covers keep the candidates' distances between old and new, and begin and end
// where it is cheapest.
func Choose(old, image []byte, candidates []Cover, p Prices) []Cover {
	lines := linesOf(candidates, len(old), len(image))
	var fresh way  // ends outside of covers
	var open []way // end in covers
	for i := range image {
		cheapest := fresh
		for _, w := range open {
			if w.cost < cheapest.cost {
				cheapest = w
			}
		}
		for len(lines) > 0 && lines[0].start <= i {
			open = append(open, way{stretch: stretch{line: &lines[0]}, cost: never})
			lines = lines[1:]
		}
		open = slices.DeleteFunc(open, func(w way) bool { return w.line.end <= i })
		var before *stretch // of all that begin here
		follow := func(l *line, cost int) way {
			if before == nil {
				before = &stretch{cheapest.start, cheapest.line, cheapest.before}
			}
			return way{stretch: stretch{i, l, before}, cost: cost}
		}
		last := cheapest.distance()
		for k := range open {
			w := &open[k]
			if w.cost > cheapest.cost+p.Cover {
				if changed := cheapest.cost + p.Cover + p.Shift*bits.Len(uint(max(w.line.distance-last, last-w.line.distance))); changed < w.cost {
					*w = follow(w.line, changed)
				}
			}
			w.take(old, image, i, &p)
		}
		if cheapest.cost < fresh.cost {
			fresh = follow(nil, cheapest.cost)
		}
		if p.At == nil {
			fresh.cost += p.Fresh
		} else {
			fresh.cost += int(p.At[i]) * p.Fresh / 1000
		}
	}
	for _, w := range open {
		if w.cost < fresh.cost {
			fresh = w
		}
	}
	return fresh.covers(len(image))
}

// take adds the price of byte i in a cover.
func (w *way) take(old, image []byte, i int, p *Prices) {
	d := w.line.distance
	switch {
	case image[i] == old[i+d]:
		w.cost += p.Same[min(w.run, len(p.Same)-1)]
		w.run++
		return
	case i-4 >= w.line.start && image[i]-old[i+d] == image[i-4]-old[i-4+d]:
		w.cost += p.Again
	default:
		w.cost += p.Differ
	}
	w.run = 0
}

const never = 1 << 50

// A line is a distance between old and new, and where in the new image it is a
// candidate.
type line struct{ distance, start, end int }

// linesOf returns the lines by their starts.
func linesOf(candidates []Cover, old, image int) []line {
	lines := make([]line, 0, len(candidates))
	for _, c := range candidates {
		for _, n := range near {
			d := c.Old - c.New + n
			start, end := max(c.New-reach, -d, 0), min(c.New+c.Length+reach, old-d, image)
			if start < end && (n == 0 || c.Length >= substantial) {
				lines = append(lines, line{d, start, end})
			}
		}
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.start, b.start))
	})
	merged := lines[:0]
	for _, l := range lines {
		if n := len(merged); n > 0 && merged[n-1].distance == l.distance && l.start <= merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, l.end)
			continue
		}
		merged = append(merged, l)
	}
	slices.SortStableFunc(merged, func(a, b line) int { return cmp.Compare(a.start, b.start) })
	return merged
}

// A way is the cheapest way to the present byte that ends in a stretch.
type way struct {
	stretch
	cost int
	run  int // bytes without a difference at its end
}

// A stretch keeps to one line, or lies outside of covers, up to the next one.
type stretch struct {
	start  int
	line   *line // nil outside
	before *stretch
}

// distance returns that of the last cover.
func (s *stretch) distance() int {
	for ; s != nil; s = s.before {
		if s.line != nil {
			return s.line.distance
		}
	}
	return 0
}

// covers returns those on the way that ends with s at a place in the new image.
func (s *stretch) covers(end int) []Cover {
	var covers []Cover
	for ; s != nil; s = s.before {
		if s.line != nil && s.start < end {
			covers = append(covers, Cover{New: s.start, Old: s.start + s.line.distance, Length: end - s.start})
		}
		end = s.start
	}
	slices.Reverse(covers)
	return covers
}
