package delta

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// relocate returns the old image, absolute, with its addresses as the map
// predicts them in the new image. Code that only moved is the same in both then,
// so that a matcher finds more.
func (h Header) relocate(old []byte, addresses addressMap, ram ramMap) []byte {
	out := slices.Clone(old)
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(out[at:], v) }
	for i := 0; i+4 <= len(out); i += 2 {
		w := binary.LittleEndian.Uint32(out[i:])
		switch {
		case i&3 == 0 && w-h.OldBase < uint32(len(out)):
			put(i, h.NewBase+uint32(addresses.moved(int(w-h.OldBase))))
		case i&3 == 0 && w >= h.RAMStart && w < h.RAMEnd:
			put(i, ram.moved(w))
		case isBranch(w):
			put(i, setField(w, uint32(addresses.moved(target(w))>>1)))
		default:
			continue
		}
		i += 2
	}
	return out
}

// A ramMap says where variables went, as the encoder sees it: from all pointers
// to them in both images.
type ramMap []struct{ old, address uint32 }

// newRAMMap pairs the RAM addresses that stand at the same places of covers. Of
// several new addresses for an old one it takes the most frequent.
func (h Header) newRAMMap(old, image []byte, covers []cover) ramMap {
	isRAM := func(w uint32) bool { return w >= h.RAMStart && w < h.RAMEnd }
	type pair struct{ old, address uint32 }
	votes := map[pair]int{}
	for _, c := range covers {
		if (c.New^c.Old)&3 != 0 {
			continue
		}
		for i := -c.New & 3; i+4 <= c.Length; i += 4 {
			p := pair{binary.LittleEndian.Uint32(old[c.Old+i:]), binary.LittleEndian.Uint32(image[c.New+i:])}
			if isRAM(p.old) && isRAM(p.address) {
				votes[p]++
			}
		}
	}
	best := map[uint32]pair{}
	for p, n := range votes {
		b, ok := best[p.old]
		if m := votes[b]; !ok || n > m || n == m && p.address < b.address {
			best[p.old] = p
		}
	}
	var m ramMap
	for _, p := range best {
		m = append(m, p)
	}
	slices.SortFunc(m, func(a, b struct{ old, address uint32 }) int { return cmp.Compare(a.old, b.old) })
	return m
}

// moved shifts an address as the nearest known one at or below it.
func (m ramMap) moved(w uint32) uint32 {
	if len(m) == 0 {
		return w
	}
	i := sort.Search(len(m), func(i int) bool { return m[i].old > w })
	near := m[max(i-1, 0)]
	return w + near.address - near.old
}
