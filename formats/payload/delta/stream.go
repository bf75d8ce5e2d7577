package delta

// blockSize is how many bytes of a cover share one flag.
const blockSize = 1 << 10

// A stream is what encoder and decoder do alike, one step at a time. A coder
// says which of the two it is.
type stream struct {
	Header
	cells
	old       *window
	back      func(offset int) byte // of the new image, absolute, already coded
	addresses addressMap
	learned

	pos      int    // offset in the new image
	next     int    // cover of the map
	place    int    // what stands before
	last     uint32 // the two bytes before, the nearer one in the lower eight bits
	shift    int    // old less new offset of the last cover
	distance int    // of the last repeat
	missHist uint32 // bits, the latest lowest
	dirtHist uint32
	recents  [variable + 1][4]int // differences, the latest first

	copying   int // bytes of a repeat to go
	covering  int // bytes of a cover to go
	block     int // and of its block
	isDirty   bool
	restartAt int
	err       error
}

// A plan is what an encoder wants coded. A decoder has none.
type plan struct {
	image  []byte // the new one, absolute
	tokens []token
	next   int
}

// A token codes what no cover of the map does.
type token struct {
	place  int // afterLiteral, afterRepeat or afterCover: what it is
	at     int
	length int
	from   int // old offset of a cover, distance of a repeat
}

func newStream(h Header, old *window, back func(int) byte) *stream {
	s := &stream{Header: h, old: old, back: back, distance: 1, restartAt: h.Restart}
	s.reset()
	return s
}

// want returns the bytes that an encoder wants at an offset, little-endian.
func (p *plan) want(at, n int) uint32 {
	if p == nil {
		return 0
	}
	var v uint32
	for b := n - 1; b >= 0; b-- {
		v = v<<8 | uint32(p.image[at+b])
	}
	return v
}

// token returns the token that an encoder wants at an offset.
func (p *plan) token(at int) token {
	if p == nil {
		return token{}
	}
	for p.tokens[p.next].at < at {
		p.next++
	}
	return p.tokens[p.next]
}

// codeMap codes the covers that predictions are made of.
func (s *stream) codeMap(c coder, covers []cover) {
	n := s.coverLength.code(c, len(covers))
	if n > s.MapSize {
		s.err = ErrCorrupt
		return
	}
	coded := make([]cover, n)
	at, shift := 0, 0
	for i := range coded {
		var v cover
		if covers != nil {
			v = covers[i]
		}
		v.New = at + s.repeatDistance.code(c, v.New-at)
		shift += s.coverShift.codeSigned(c, v.Old-v.New-shift)
		v.Old = v.New + shift
		v.Length = s.coverLength.code(c, v.Length)
		at = v.New + v.Length
		if !s.fits(v, s.NewLength) {
			s.err = ErrCorrupt
			return
		}
		coded[i] = v
	}
	s.addresses = newAddressMap(coded)
	s.reset() // the numbers were the map's
}

// fits says whether a cover lies inside the old image and before an offset of
// the new one.
func (s *stream) fits(v cover, end int) bool {
	return v.Length > 0 && v.Old >= 0 && v.New+v.Length <= end && v.Old+v.Length <= s.OldLength
}

// room returns where a token must end: at the next cover of the map.
func (s *stream) room() int {
	if s.next < len(s.addresses.covers) {
		return s.addresses.covers[s.next].New
	}
	return s.NewLength
}

// step codes the next piece and returns its bytes, little-endian and absolute,
// and how many they are: zero to four. Encoders set what repeats copy apart.
func (s *stream) step(c coder, p *plan) (bytes uint32, n int) {
	atEdge := s.covering == 0 || s.block == 0
	switch {
	case s.Restart > 0 && s.pos >= s.restartAt && s.copying == 0 && atEdge:
		s.restart(c)
	case s.copying > 0:
		s.copying--
		bytes, n = uint32(s.back(s.pos-s.distance)), 1
	case s.covering > 0:
		bytes, n = s.unit(c, p)
	case s.next < len(s.addresses.covers) && s.addresses.covers[s.next].New == s.pos:
		s.next++
		s.open(s.addresses.covers[s.next-1])
	default:
		bytes, n = s.token(c, p.token(s.pos), p)
	}
	s.pos += n
	if n > 0 {
		s.last = lastTwo(s.last, bytes, n)
	}
	return bytes, n
}

// lastTwo returns the last two of n bytes that follow others.
func lastTwo(before, bytes uint32, n int) uint32 {
	for i := range n {
		before = before<<8&0xff00 | bytes>>(8*i)&0xff
	}
	return before
}

// restart forgets what was learnt.
func (s *stream) restart(c coder) {
	c.restart()
	s.forget()
}

// forget resets all that a restart does not carry over.
func (s *stream) forget() {
	s.reset()
	s.learned = learned{}
	s.recents = [variable + 1][4]int{}
	s.missHist, s.dirtHist = 0, 0
	s.distance, s.place = 1, afterLiteral
	s.restartAt = s.pos + s.Restart
}

func (s *stream) open(v cover) {
	if s.fits(v, s.room()) {
		s.covering, s.block = v.Length, 0
		s.shift = v.Old - v.New
		s.place = afterCover
	} else {
		s.err = ErrCorrupt
	}
}

func (s *stream) token(c coder, t token, p *plan) (uint32, int) {
	if c.bit(&s.notLiteral[s.place][s.pos&1], toBit(t.place != afterLiteral)) == 0 {
		s.place = afterLiteral
		return uint32(s.literal(c, s.pos, s.last, byte(p.want(s.pos, 1)))), 1
	}
	if c.bit(&s.isCover[s.place], toBit(t.place == afterCover)) == 1 {
		length := s.coverLength.code(c, t.length-1) + 1
		old := s.coverShift.codeSigned(c, t.from-(s.pos+s.shift)) + s.pos + s.shift
		s.open(cover{New: s.pos, Old: old, Length: length})
		return 0, 0
	}
	if c.bit(&s.newDistance[toBit(s.place == afterRepeat)], toBit(t.from != s.distance)) == 1 {
		s.distance = s.repeatDistance.code(c, t.from-1) + 1
	}
	length := s.repeatLength.code(c, t.length-2) + 2
	s.place = afterRepeat
	if s.distance > s.pos || length > s.room()-s.pos {
		s.err = ErrCorrupt
		return 0, 0
	}
	s.copying = length
	return 0, 0
}

// unit codes one unit of a cover, and what its block is before the first.
func (s *stream) unit(c coder, p *plan) (uint32, int) {
	if s.block <= 0 {
		s.block = min(blockSize, s.covering)
		s.isDirty = c.bit(&s.dirty[s.dirtHist&7], toBit(p != nil && s.differs(p))) == 1
		s.dirtHist = s.dirtHist<<1 | uint32(toBit(s.isDirty))
	}
	u := s.predict(s.pos, s.pos+s.shift, s.covering)
	bytes := u.predicted
	if s.isDirty {
		want := p.want(s.pos, u.size)
		cell := s.missedCell(u)
		missed := c.code(cell.zero(), toBit(want != u.predicted))
		cell.learnFast(missed)
		s.missHist = s.missHist<<1 | uint32(missed)
		if missed == 1 {
			bytes = s.miss(c, u, want)
		}
	}
	s.covering -= u.size
	s.block = max(s.block-u.size, 0)
	return bytes, u.size
}

// missedCell tells addresses of functions, which are odd, from those of data,
// and halfwords that changed before from those that did not.
func (s *stream) missedCell(u unit) *prob {
	row, column := u.kind, toBit(u.predicted != u.old)
	switch {
	case u.kind == pointer && u.old&1 == 1:
		row = kinds
	case u.kind == halfword:
		_, told := s.substitution(u.old)
		column = toBit(told)
	}
	return &s.missed[row][column][s.missHist&7]
}

// differs says whether a block has a unit that is not as predicted.
func (s *stream) differs(p *plan) bool {
	for done := 0; done < s.block; {
		u := s.predict(s.pos+done, s.pos+done+s.shift, s.covering-done)
		if p.want(s.pos+done, u.size) != u.predicted {
			return true
		}
		done += u.size
	}
	return false
}

// miss codes a unit that is not as predicted.
func (s *stream) miss(c coder, u unit, want uint32) uint32 {
	if u.predicted != u.old && c.bit(&s.changed[u.kind], toBit(want != u.old)) == 0 {
		want = u.old
	} else {
		switch u.kind {
		case branch, pointer, variable:
			want = s.missWord(c, u, want)
		case single:
			want = uint32(byte(u.predicted) + codeByte(c, &s.low[0], byte(want-u.predicted)))
		default:
			want = s.missHalfword(c, u.predicted, want)
		}
	}
	switch u.kind {
	case variable:
		s.variables.learn(u.old, want)
	case branch, pointer:
		s.learnTarget(u, want)
	}
	return want
}

// missHalfword codes a halfword as what became of its like, or by its bytes.
func (s *stream) missHalfword(c coder, predicted, want uint32) uint32 {
	entry, told := s.substitution(predicted)
	if told && c.bit(&s.another, toBit(want != uint32(entry.became))) == 0 {
		return uint32(entry.became)
	}
	want = s.halfwordDifference(c, predicted, want)
	*entry = substitution{uint16(predicted), uint16(want)}
	return want
}

func (s *stream) halfwordDifference(c coder, predicted, want uint32) uint32 {
	high := byte(predicted >> 8)
	changed := c.bit(&s.highChanged[high>>5], toBit(byte(want>>8) != high))
	if changed == 1 {
		high += codeByte(c, &s.high, byte(want>>8)-high)
	}
	low := byte(predicted) + codeByte(c, &s.low[changed], byte(want-predicted))
	return uint32(high)<<8 | uint32(low)
}

func (s *stream) missWord(c coder, u unit, want uint32) uint32 {
	difference := int(int32(want - u.predicted))
	asDifference := difference >= -1<<21 && difference < 1<<21
	if u.kind == branch {
		asDifference = setField(want, 0) == setField(u.predicted, 0)
		difference = int(int32((field(want)-field(u.predicted))<<10) >> 10)
	}
	if c.bit(&s.raw[u.kind], toBit(!asDifference)) == 1 {
		var v uint32
		for i := range 4 {
			b := s.literal(c, s.pos+i, lastTwo(s.last, v, i), byte(want>>(8*i)))
			v |= uint32(b) << (8 * i)
		}
		return v
	}
	difference = s.codeDifference(c, u.kind, difference)
	if u.kind == branch {
		return setField(u.predicted, field(u.predicted)+uint32(difference))
	}
	return u.predicted + uint32(difference)
}

// codeDifference codes a difference as one of the latest of its kind, or anew.
func (s *stream) codeDifference(c coder, k kind, difference int) int {
	recent := &s.recents[k]
	i := 0
	for i < len(recent) && c.bit(&s.recent[k][i], toBit(recent[i] != difference)) == 1 {
		i++
	}
	if i < len(recent) {
		difference = recent[i]
	} else {
		difference = s.difference[k].codeSigned(c, difference)
		i = len(recent) - 1
	}
	copy(recent[1:i+1], recent[:i])
	recent[0] = difference
	return difference
}
