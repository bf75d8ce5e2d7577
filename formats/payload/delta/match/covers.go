package match

// A Cover says that Length bytes of the new image from New on resemble those of
// the old image from Old on. They need not be equal: a delta format codes the
// differences.
type Cover struct{ New, Old, Length int }

// Covers returns what the image of the index covers of another image, in the
// order of the new image and without overlaps.
//
// The method is that of bsdiff (Percival, "Naive Differences of Executable
// Code", 2003). A scan keeps to one distance between old and new until an exact
// match elsewhere is more than threshold bytes longer than what agrees at that
// distance. Each such match grows in both directions while at least half of its
// bytes agree, and where two meet they part at the byte that leaves the fewest
// differences.
//
// A low threshold finds more and shorter covers; 8 is bsdiff's.
func (x *Index) Covers(image []byte, threshold int) []Cover {
	anchors := x.anchors(image, threshold)
	var covers []Cover
	for i, a := range anchors {
		next := Cover{New: len(image)}
		if i+1 < len(anchors) {
			next = anchors[i+1]
		}
		a.Length = x.ahead(image, a, next.New)
		if i+1 < len(anchors) {
			back := x.behind(image, next, a.New)
			if overlap := a.New + a.Length - (next.New - back); overlap > 0 {
				keep := x.part(image, a.New+a.Length-overlap, a.Old-a.New, next.Old-next.New, overlap)
				a.Length -= overlap - keep
				back -= keep
			}
			anchors[i+1].New, anchors[i+1].Old = next.New-back, next.Old-back
		}
		if a.Length > 0 {
			covers = append(covers, a)
		}
	}
	return covers
}

// anchors finds the places of a new image where the distance to the old image
// changes. The first is the beginning of both.
func (x *Index) anchors(image []byte, threshold int) []Cover {
	anchors := []Cover{{}}
	distance := 0 // old less new offset
	same := func(i int) int {
		if j := i + distance; j >= 0 && j < len(x.image) && x.image[j] == image[i] {
			return 1
		}
		return 0
	}
	for at, length := 0, 0; at < len(image); {
		at += length
		agree, counted := 0, at // bytes in image[at:counted] that agree at the distance
		var old int
		for ; at < len(image); at++ {
			old, length = x.Longest(image[at:])
			for ; counted < at+length; counted++ {
				agree += same(counted)
			}
			if length > 0 && length == agree || length > agree+threshold {
				break
			}
			if counted > at {
				agree -= same(at)
			} else {
				counted = at + 1
			}
		}
		if at < len(image) && length != agree {
			anchors = append(anchors, Cover{New: at, Old: old})
			distance = old - at
		}
	}
	return anchors
}

// ahead returns how far a cover grows towards the end of the images, at most to
// the new offset limit.
func (x *Index) ahead(image []byte, a Cover, limit int) int {
	limit = min(limit-a.New, len(x.image)-a.Old)
	agree, best, length := 0, 0, 0
	for i := 0; i < limit; {
		if image[a.New+i] == x.image[a.Old+i] {
			agree++
		}
		i++
		if score := 2*agree - i; score > best {
			best, length = score, i
		}
	}
	return length
}

// behind returns how far a cover grows towards the beginning, at most to the
// new offset limit.
func (x *Index) behind(image []byte, a Cover, limit int) int {
	limit = min(a.New-limit, a.Old)
	agree, best, length := 0, 0, 0
	for i := 1; i <= limit; i++ {
		if image[a.New-i] == x.image[a.Old-i] {
			agree++
		}
		if score := 2*agree - i; score > best {
			best, length = score, i
		}
	}
	return length
}

// part returns how many of the n bytes of a new image that two covers share, the
// first with an old offset from + first, the other with from + second, are
// better in the first.
func (x *Index) part(image []byte, from, first, second, n int) int {
	score, best, keep := 0, 0, 0
	for i := range n {
		if b := image[from+i]; x.image[from+first+i] == b {
			score++
			if x.image[from+second+i] == b {
				score--
			}
		} else if x.image[from+second+i] == b {
			score--
		}
		if score > best {
			best, keep = score, i+1
		}
	}
	return keep
}
