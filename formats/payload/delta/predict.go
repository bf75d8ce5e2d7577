package delta

import (
	"cmp"
	"slices"
	"sort"

	"github.com/otapack/otapack/formats/payload/delta/match"
)

// A cover says that bytes of the new image come from the old one, with
// differences.
type cover = match.Cover

// An addressMap says where parts of the old image went.
type addressMap struct {
	covers []cover // in the order of the new image
	byOld  []cover
}

func newAddressMap(covers []cover) addressMap {
	byOld := slices.Clone(covers)
	slices.SortStableFunc(byOld, func(a, b cover) int { return cmp.Compare(a.Old, b.Old) })
	return addressMap{covers, byOld}
}

// moved returns where an old offset is in the new image: it keeps its distance
// to the cover that begins at or before it, even behind the cover's end. An
// offset before all covers goes with the first.
func (m addressMap) moved(old int) int {
	if len(m.byOld) == 0 {
		return old
	}
	i := sort.Search(len(m.byOld), func(i int) bool { return m.byOld[i].Old > old })
	c := m.byOld[max(i-1, 0)]
	return old + c.New - c.Old
}

// A unit is what one flag says of a cover: whether the prediction is right.
type unit struct {
	kind      kind
	size      int    // bytes: 1, 2 or 4
	old       uint32 // those of the old image, little-endian
	predicted uint32
}

// predict takes the unit at an offset of the new image from the old image, with
// left bytes of the cover to go.
func (s *stream) predict(at, old, left int) unit {
	if left < 2 || (at|old)&1 != 0 {
		b := s.old.bytes(old, 1)
		return unit{single, 1, b, b}
	}
	if left >= 4 {
		w := s.old.bytes(old, 4)
		if (at|old)&3 == 0 {
			if offset := w - s.OldBase; offset < uint32(s.OldLength) {
				return unit{pointer, 4, w, s.NewBase + uint32(s.moved(int(offset)))}
			}
			if w >= s.RAMStart && w < s.RAMEnd {
				return unit{variable, 4, w, s.variables.predict(w)}
			}
		}
		if isBranch(w) {
			return unit{branch, 4, w, setField(w, uint32(s.moved(target(w))>>1))}
		}
	}
	h := s.old.bytes(old, 2)
	if h>>11 != 9 {
		return unit{halfword, 2, h, h}
	}
	// LDR Rt, [PC, #imm8*4] reads a word of the literal pool.
	target := (old+4)&^3 + int(h&0xff)*4
	if d := s.addresses.moved(target) - (at+4)&^3; d >= 0 && d <= 1020 && d&3 == 0 {
		return unit{load, 2, h, h&0xff00 | uint32(d)/4}
	}
	return unit{load, 2, h, h}
}
