package delta

// learned is what misses teach about single values, beyond what the map says. A
// restart forgets it.
type learned struct {
	variables     variables
	targets       [1 << tableBits / 2]correction
	substitutions [1 << tableBits]substitution
}

// tableBits is the size of the table of substitutions; the one of targets has
// half as many entries, and a small model half of both.
const tableBits = 7

// slot returns the entry of a table of 1<<bits entries for a value.
func (s *stream) slot(value uint32, bits int) uint32 {
	if s.small() {
		bits--
	}
	return value * 0x9e3779b1 >> (32 - bits)
}

// variables remembers how addresses in RAM changed: the 32 that were learnt
// last.
type variables struct {
	entries [32]struct{ old, shift uint32 }
	count   int // of what was ever learnt
}

// predict shifts an address as the nearest known one at or below it, else as
// the highest.
func (v *variables) predict(old uint32) uint32 {
	best, shift := uint32(1<<32-1), uint32(0)
	for _, k := range v.entries[:min(v.count, len(v.entries))] {
		if d := old - k.old; d < best { // wraps for those above
			best, shift = d, k.shift
		}
	}
	return old + shift
}

func (v *variables) learn(old, address uint32) {
	for i := range v.entries[:min(v.count, len(v.entries))] {
		if v.entries[i].old == old {
			v.entries[i].shift = address - old
			return
		}
	}
	k := &v.entries[v.count%len(v.entries)]
	k.old, k.shift = old, address-old
	v.count++
}

// A correction is what to add where the map is wrong about an old offset, the
// lowest bit of which does not count: it marks functions.
type correction struct{ old, add int32 }

// moved returns where an old offset is in the new image.
func (s *stream) moved(old int) int {
	to := s.addresses.moved(old)
	if c := s.target(old); c.old == int32(old&^1) {
		to += int(c.add)
	}
	return to
}

func (s *stream) target(old int) *correction {
	return &s.targets[s.slot(uint32(old)>>1, tableBits-1)]
}

// learnTarget remembers where a branch or a pointer went that was not as
// predicted.
func (s *stream) learnTarget(u unit, is uint32) {
	old, to := int(u.old-s.OldBase), int(int32(is-s.NewBase))
	if u.kind == branch {
		if setField(is, 0) != setField(u.old, 0) {
			return // another instruction
		}
		old, to = target(u.old), target(is)
	}
	*s.target(old) = correction{int32(old &^ 1), int32(to - s.addresses.moved(old))}
}

// A substitution is a halfword that became another, so that it may do so again.
type substitution struct{ old, became uint16 }

// substitution returns the entry for a halfword, and whether it says anything.
func (s *stream) substitution(h uint32) (entry *substitution, told bool) {
	entry = &s.substitutions[s.slot(h, tableBits)]
	return entry, entry.old == uint16(h) && entry.became != uint16(h)
}
