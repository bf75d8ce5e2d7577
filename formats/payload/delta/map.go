package delta

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// A reference is an address in code or data of a cover: where it leads in the old
// image, and how much further what stands in its place leads in the new one.
type reference struct {
	old, shift int
	weight     int // about what it saves, in bits, when the map predicts the shift
}

// Weights. A pointer or branch that was predicted wrong once is learnt; loads are
// of words nearby, which mostly keep their distance.
const (
	firstReference = 4
	nextReference  = 1
)

// references returns those in all covers by their old offset.
func (e *encoder) references(covers []cover) []reference {
	var all []reference
	seen := map[reference]bool{}
	add := func(old, image, first int) {
		r := reference{old, image - old, first}
		if seen[r] {
			r.weight = nextReference
		}
		seen[r] = true
		all = append(all, r)
	}
	for _, c := range covers {
		if (c.Old|c.New)&1 != 0 {
			continue
		}
		for i := 0; i+4 <= c.Length; i += 2 {
			from, at := c.Old+i, c.New+i
			was, is := binary.LittleEndian.Uint32(e.old[from:]), binary.LittleEndian.Uint32(e.image[at:])
			switch {
			case (at|from)&3 == 0 && was-e.OldBase < uint32(len(e.old)):
				if is-e.NewBase < uint32(len(e.image)) {
					add(int(was-e.OldBase), int(is-e.NewBase), firstReference)
				}
				i += 2
			case isBranch(was):
				if isBranch(is) {
					add(target(was), target(is), firstReference)
				}
				i += 2
			case isLoad(was) && isLoad(is):
				add(loaded(was, from), loaded(is, at), nextReference)
			}
		}
	}
	slices.SortFunc(all, func(a, b reference) int { return cmp.Compare(a.old, b.old) })
	return all
}

// isLoad reports whether a unit begins with LDR (literal), encoding T1 of Armv6-M;
// loaded returns the offset of the word that one at an offset loads.
func isLoad(w uint32) bool        { return w&0xf800 == 0x4800 }
func loaded(w uint32, at int) int { return (at+4)&^3 + int(w&0xff)*4 }

// minMapCover is the length of the shortest cover in a map, in bytes.
const minMapCover = 8

// mapOf picks the covers for the map, in the order of the new image. A cover
// stands for all old offsets up to the next one in the map. So one that predicts
// references there hardly better than the one before it is left out, and what is
// enough to stay grows until the map has room.
func (e *encoder) mapOf(covers []cover) []cover {
	refs := e.references(covers)
	byOld := newAddressMap(covers).byOld
	byOld = slices.DeleteFunc(byOld, func(c cover) bool { return c.Length < minMapCover })
	for enough := 1; ; enough += 1 + enough/8 {
		for n := -1; n != len(byOld); { // what is left out changes how far others reach
			n = len(byOld)
			byOld = worthwhile(byOld, refs, enough)
		}
		if len(byOld) <= e.MapSize {
			break
		}
	}
	slices.SortFunc(byOld, func(a, b cover) int { return cmp.Compare(a.New, b.New) })
	return byOld
}

// worthwhile returns the covers that save enough against the one before them.
func worthwhile(byOld []cover, refs []reference, enough int) []cover {
	var kept []cover
	for i, c := range byOld {
		n := len(refs)
		if i+1 < len(byOld) {
			n, _ = slices.BinarySearchFunc(refs, byOld[i+1].Old, func(r reference, old int) int { return cmp.Compare(r.old, old) })
		}
		saved := 0
		for _, r := range refs[:n] {
			if r.shift == c.New-c.Old {
				saved += r.weight
			}
			if len(kept) > 0 && r.shift == kept[len(kept)-1].New-kept[len(kept)-1].Old {
				saved -= r.weight
			}
		}
		if saved >= enough {
			kept = append(kept, c)
		}
		refs = refs[n:]
	}
	return kept
}
