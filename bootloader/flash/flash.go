package flash

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
)

// Violations of the chip's rules and faults of its cells, to be tested with
// errors.Is.
var (
	// ErrProgrammed is what a chip with ECC answers to programming a unit twice
	// (STM32L4: PROGERR in FLASH_SR, RM0394, section 3.3.7).
	ErrProgrammed = errors.New("unit is programmed already")
	// ErrAlignment is an address or a length off the write unit or the page.
	ErrAlignment = errors.New("not on a write unit or page")
	// ErrRange is an address outside the flash.
	ErrRange = errors.New("outside the flash")
	// ErrECC is a unit whose error correction gives up (STM32L4: NMI and ECCD in
	// FLASH_ECCR, RM0394, section 3.3.2).
	ErrECC = errors.New("uncorrectable ECC error")
	// ErrGeometry is a geometry that no flash has.
	ErrGeometry = errors.New("unsuitable geometry")
)

// Erased is what erased flash reads as.
const Erased = 0xff

// Geometry describes a flash. Sizes are in bytes.
type Geometry struct {
	Base, Size uint32 // address range
	Page       uint32 // erase unit
	Unit       uint32 // smallest programmable unit
	// WriteOnce flash has an ECC per unit: it takes each unit once between two
	// erases, and a unit that was cut off while it was programmed does not read.
	WriteOnce bool
}

// Kind is what an operation does.
type Kind uint8

// Operations.
const (
	Program Kind = iota
	Erase
)

// Op is one operation that a loss of power can hit.
type Op struct {
	Kind Kind
	Addr uint32
	Data []byte // to program; nil to erase the page at Addr
}

// Flash is the memory of one chip. It is not safe for concurrent use, but clones
// of it are used independently.
type Flash struct {
	// Before, unless nil, is called before every operation. Its error stops the
	// operation and is returned by the call that wanted it.
	Before func(Op) error
	// Unseen, unless nil, is asked before a page of an Image is programmed in n
	// operations. If it answers true, Before is not called for them.
	Unseen func(n int) bool
	// Rand decides how cells read that a power loss has left undecided.
	Rand *Rand

	geometry Geometry
	pages    []*page // nil: erased
	blank    *page   // what an erased page holds
	erases   []uint32
	ops      int
	owner    *owner
}

// owner marks the pages that one flash may change. A clone begins a new owner on
// both sides.
type owner struct{ _ byte }

// page is a page that is not blank. It is shared, and does not change, unless
// its owner is the flash's.
type page struct {
	owner *owner
	data  []byte
	used  []uint64                          // bitmap of units programmed since the last erase
	scars map[int]scar                      // by unit
	sum   atomic.Pointer[[sha256.Size]byte] // of data, nil while not known
}

// scar is what is wrong with a unit.
type scar struct {
	weak  []byte // bits that read as anything; without ECC
	dead  bool   // with ECC: never reads
	shaky bool   // with ECC: reads half of the time
}

// New returns an erased flash.
func New(g Geometry) (*Flash, error) {
	switch {
	case g.Unit == 0 || g.Page == 0 || g.Page%g.Unit != 0 || g.Size == 0 || g.Size%g.Page != 0 || g.Base%g.Page != 0:
		return nil, fmt.Errorf("flash: %d bytes in pages of %d and units of %d at 0x%08x: %w", g.Size, g.Page, g.Unit, g.Base, ErrGeometry)
	case uint64(g.Base)+uint64(g.Size) > 1<<32:
		return nil, fmt.Errorf("flash: ends beyond the 32-bit address space: %w", ErrGeometry)
	}
	n := g.Size / g.Page
	return &Flash{
		geometry: g, Rand: &Rand{}, pages: make([]*page, n), blank: &page{data: blank(int(g.Page))}, erases: make([]uint32, n), owner: &owner{},
	}, nil
}

// Geometry returns the flash's geometry.
func (f *Flash) Geometry() Geometry { return f.geometry }

// Clone returns a flash of the same content, at the cost of one pointer per
// page. It has no Before and no Unseen, and a Rand of its own to be set.
func (f *Flash) Clone() *Flash {
	c := &Flash{
		geometry: f.geometry, Rand: &Rand{}, blank: f.blank, ops: f.ops, owner: &owner{},
		pages:  append([]*page(nil), f.pages...),
		erases: append([]uint32(nil), f.erases...),
	}
	f.owner = &owner{}
	return c
}

// Ops returns how many operations were done since New, clones included.
func (f *Flash) Ops() int { return f.ops }

// Erases returns how often each page was erased since New, first page first.
func (f *Flash) Erases() []uint32 { return append([]uint32(nil), f.erases...) }

// Read fills p from an address. Weak cells read at random, each time anew. The
// error wraps ErrECC when a unit does not read; what p holds then is of no use.
func (f *Flash) Read(addr uint32, p []byte) error {
	if err := f.inside(addr, len(p)); err != nil {
		return err
	}
	for len(p) > 0 {
		i, off := f.locate(addr)
		n := min(len(p), int(f.geometry.Page)-off)
		if err := f.readPage(i, off, p[:n]); err != nil {
			return err
		}
		p, addr = p[n:], addr+uint32(n)
	}
	return nil
}

func (f *Flash) readPage(i, off int, p []byte) error {
	pg := f.pages[i]
	if pg == nil {
		pg = f.blank
	}
	copy(p, pg.data[off:])
	if len(pg.scars) == 0 {
		return nil
	}
	unit := int(f.geometry.Unit)
	for u := off / unit; u*unit < off+len(p); u++ { // in order: each draws from Rand
		s, ok := pg.scars[u]
		switch {
		case !ok:
		case s.dead || s.shaky && f.Rand.Uint64()>>63 == 0:
			return fmt.Errorf("flash: 0x%08x: %w", f.address(i)+uint32(u*unit), ErrECC)
		}
		for j, weak := range s.weak {
			if at := u*unit + j - off; weak != 0 && at >= 0 && at < len(p) {
				p[at] ^= f.Rand.Byte() & weak
			}
		}
	}
	return nil
}

// Program clears bits at an address. It is done in operations of grain bytes, a
// multiple of the write unit, that do not reach over a page. The address and the
// length are multiples of the write unit.
func (f *Flash) Program(addr uint32, data []byte, grain int) error {
	unit := int(f.geometry.Unit)
	switch {
	case int(addr)%unit != 0 || len(data)%unit != 0 || grain <= 0 || grain%unit != 0:
		return fmt.Errorf("flash: program %d bytes at 0x%08x in steps of %d: %w", len(data), addr, grain, ErrAlignment)
	case f.inside(addr, len(data)) != nil:
		return f.inside(addr, len(data))
	}
	for len(data) > 0 {
		_, off := f.locate(addr)
		n := min(len(data), grain, int(f.geometry.Page)-off)
		if err := f.do(Op{Program, addr, data[:n]}); err != nil {
			return err
		}
		data, addr = data[n:], addr+uint32(n)
	}
	return nil
}

// ProgramPage is Program for page n of a prepared image. Where nobody looks at
// the single operations, the page's memory is shared instead of copied.
func (f *Flash) ProgramPage(addr uint32, im *Image, n, grain int) error {
	pg := im.pages[n]
	i, off := f.locate(addr)
	ops := (im.lengths[n] + grain - 1) / max(grain, 1)
	switch {
	case im.geometry.Page != f.geometry.Page || im.geometry.Unit != f.geometry.Unit:
		return fmt.Errorf("flash: image made for pages of %d and units of %d: %w", im.geometry.Page, im.geometry.Unit, ErrGeometry)
	case off != 0 || grain <= 0:
		return fmt.Errorf("flash: program a page at 0x%08x in steps of %d: %w", addr, grain, ErrAlignment)
	case f.inside(addr, len(pg.data)) != nil:
		return f.inside(addr, len(pg.data))
	case f.pages[i] != nil, f.Before != nil && (f.Unseen == nil || !f.Unseen(ops)):
		return f.Program(addr, pg.data[:im.lengths[n]], grain)
	}
	f.pages[i] = pg
	f.ops += ops
	return nil
}

// Erase erases the page at an address.
func (f *Flash) Erase(addr uint32) error {
	if err := f.inside(addr, int(f.geometry.Page)); err != nil {
		return err
	}
	if addr%f.geometry.Page != 0 {
		return fmt.Errorf("flash: erase at 0x%08x: %w", addr, ErrAlignment)
	}
	return f.do(Op{Kind: Erase, Addr: addr})
}

func (f *Flash) do(op Op) error {
	if f.Before != nil {
		if err := f.Before(op); err != nil {
			return err
		}
	}
	f.ops++
	return f.apply(op)
}

// apply does the operation in full.
func (f *Flash) apply(op Op) error {
	i, off := f.locate(op.Addr)
	if op.Kind == Erase {
		f.pages[i] = nil
		f.erases[i]++
		return nil
	}
	unit := int(f.geometry.Unit)
	pg := f.own(i)
	for j := 0; j < len(op.Data); j += unit {
		u := (off + j) / unit
		if f.geometry.WriteOnce && pg.isUsed(u) {
			return fmt.Errorf("flash: 0x%08x: %w", op.Addr+uint32(j), ErrProgrammed)
		}
		pg.program(u, unit, op.Data[j:j+unit])
	}
	return nil
}

// own returns a page that may be changed.
func (f *Flash) own(i int) *page {
	old := f.pages[i]
	if old != nil && old.owner == f.owner {
		old.sum.Store(nil)
		return old
	}
	size := int(f.geometry.Page)
	pg := &page{owner: f.owner, data: make([]byte, size), used: make([]uint64, (size/int(f.geometry.Unit)+63)/64)}
	if old == nil {
		copy(pg.data, f.blank.data)
	} else {
		copy(pg.data, old.data)
		copy(pg.used, old.used)
		for u, s := range old.scars {
			pg.scar(u, s)
		}
	}
	f.pages[i] = pg
	return pg
}

func (p *page) isUsed(unit int) bool { return p.used[unit/64]>>(unit%64)&1 != 0 }

func (p *page) use(unit int) { p.used[unit/64] |= 1 << (unit % 64) }

func (p *page) scar(unit int, s scar) {
	if p.scars == nil {
		p.scars = map[int]scar{}
	}
	p.scars[unit] = s
}

// program clears bits of one unit for good: also those that were weak.
func (p *page) program(unit, size int, data []byte) {
	p.use(unit)
	for j, b := range data {
		p.data[unit*size+j] &= b
	}
	s, ok := p.scars[unit]
	if !ok || s.weak == nil {
		return
	}
	weak := make([]byte, size)
	left := byte(0)
	for j, b := range data {
		weak[j] = s.weak[j] & b
		left |= weak[j]
	}
	if s.weak = weak; left != 0 {
		p.scars[unit] = s
	} else {
		delete(p.scars, unit)
	}
}

// Stable reports whether a range reads the same each time, without an error.
func (f *Flash) Stable(addr uint32, size int) bool {
	if f.inside(addr, size) != nil {
		return false
	}
	unit := int(f.geometry.Unit)
	for end := addr + uint32(size); addr < end; {
		i, off := f.locate(addr)
		if pg := f.pages[i]; pg != nil {
			for u := range pg.scars {
				if at := f.address(i) + uint32(u*unit); at+uint32(unit) > addr && at < end {
					return false
				}
			}
		}
		addr += f.geometry.Page - uint32(off)
	}
	return true
}

// Sum returns a digest of whole pages from a page's address that is the same for
// the same content, see Image.Sum. It says nothing of pages that are not Stable.
// It costs next to nothing where the content comes from an Image.
func (f *Flash) Sum(addr uint32, pages int) [sha256.Size]byte {
	h := sha256.New()
	first, _ := f.locate(addr)
	for _, pg := range f.pages[first:min(len(f.pages), first+pages)] {
		if pg == nil {
			pg = f.blank
		}
		sum := pg.digest()
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (p *page) digest() [sha256.Size]byte {
	if s := p.sum.Load(); s != nil {
		return *s
	}
	s := sha256.Sum256(p.data)
	p.sum.Store(&s)
	return s
}

func blank(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = Erased
	}
	return p
}

// Decay is what years do: without ECC it inverts the bit, with ECC the unit has
// lost two bits and does not read any more; one would have been corrected.
func (f *Flash) Decay(addr uint32, bit int) error {
	if err := f.inside(addr, 1); err != nil {
		return err
	}
	i, off := f.locate(addr)
	pg := f.own(i)
	if f.geometry.WriteOnce {
		pg.scar(off/int(f.geometry.Unit), scar{dead: true})
	} else {
		pg.data[off] ^= 1 << (bit & 7)
	}
	return nil
}

func (f *Flash) inside(addr uint32, size int) error {
	g := f.geometry
	if addr < g.Base || uint64(addr)+uint64(size) > uint64(g.Base)+uint64(g.Size) {
		return fmt.Errorf("flash: %d bytes at 0x%08x: %w", size, addr, ErrRange)
	}
	return nil
}

func (f *Flash) locate(addr uint32) (page, offset int) {
	return int((addr - f.geometry.Base) / f.geometry.Page), int((addr - f.geometry.Base) % f.geometry.Page)
}

func (f *Flash) address(page int) uint32 { return f.geometry.Base + uint32(page)*f.geometry.Page }
