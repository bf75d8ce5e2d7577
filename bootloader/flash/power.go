package flash

import "fmt"

// Mode says what is left of an operation during which the power fails.
type Mode uint8

// Modes.
const (
	Before   Mode = iota // nothing has happened yet
	After                // it was completed, and nobody has noted it
	Torn                 // a part of it has happened and stays as it is
	TornWeak             // a part of it has happened, and cells read differently each time
)

// Modes lists all modes.
func Modes() []Mode { return []Mode{Before, After, Torn, TornWeak} }

// String returns the name in replays: before, after, torn, torn-weak.
func (m Mode) String() string {
	switch m {
	case Before:
		return "before"
	case After:
		return "after"
	case Torn:
		return "torn"
	case TornWeak:
		return "torn-weak"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Tear leaves in the flash what a loss of power during an operation leaves. It
// is called for an operation that Before has stopped.
//
// A torn program operation has completed a random number of units; of the next
// one, some bits are programmed. Without ECC these are stable (Torn) or some of
// them read as anything (TornWeak). With ECC the unit does not read (Torn), or
// only half of the time (TornWeak).
//
// A torn erase has raised a random part of the page's bits. When it is weak, the
// page reads as erased but for bits that have not fully risen.
func (f *Flash) Tear(op Op, mode Mode, r *Rand) error {
	switch mode {
	case Before:
		return nil
	case After:
		return f.apply(op)
	case Torn, TornWeak:
		if op.Kind == Erase {
			f.tearErase(op, mode == TornWeak, r)
			return nil
		}
		return f.tearProgram(op, mode == TornWeak, r)
	}
	return fmt.Errorf("flash: unknown mode %v", mode)
}

func (f *Flash) tearProgram(op Op, weak bool, r *Rand) error {
	unit := int(f.geometry.Unit)
	done := r.IntN(len(op.Data)/unit) * unit
	if err := f.apply(Op{Program, op.Addr, op.Data[:done]}); err != nil {
		return err
	}
	i, off := f.locate(op.Addr)
	u, data := (off+done)/unit, op.Data[done:done+unit]
	pg := f.own(i)
	switch {
	case f.geometry.WriteOnce && pg.isUsed(u):
		return fmt.Errorf("flash: 0x%08x: %w", op.Addr+uint32(done), ErrProgrammed)
	case f.geometry.WriteOnce && weak: // it looks complete when it reads
		pg.program(u, unit, data)
		pg.scar(u, scar{shaky: true})
	case f.geometry.WriteOnce:
		partial := make([]byte, unit)
		for j := range partial {
			partial[j] = data[j] | r.Byte()
		}
		pg.program(u, unit, partial)
		pg.scar(u, scar{dead: true})
	default:
		tearUnit(pg, u, unit, data, weak, r)
	}
	return nil
}

// tearUnit programs some of the bits of a unit without ECC. How far it has come
// is drawn first: hardly begun (it still reads as blank, most of the time),
// almost done (it reads as complete, most of the time), or anything between.
func tearUnit(pg *page, u, unit int, data []byte, weak bool, r *Rand) {
	progress := [...]int{0, r.IntN(257), 256}[r.IntN(3)] // of 256 bits, this many are programmed
	share := r.IntN(65)                                  // of 256 bits, this many are weak
	undecided := make([]byte, unit)
	partial := make([]byte, unit)
	if old := pg.scars[u].weak; old != nil {
		copy(undecided, old) // program clears those that it reaches
	}
	for j := range partial {
		partial[j] = data[j]
		for bit := range 8 {
			mask := byte(1) << bit
			if pg.data[u*unit+j]&^data[j]&mask == 0 {
				continue // nothing to do for this bit
			}
			switch {
			case weak && r.IntN(256) < share:
				partial[j] |= mask
				undecided[j] |= mask
			case r.IntN(256) >= progress:
				partial[j] |= mask
			}
		}
	}
	pg.scar(u, scar{weak: undecided})
	pg.program(u, unit, partial)
}

func (f *Flash) tearErase(op Op, weak bool, r *Rand) {
	i, _ := f.locate(op.Addr)
	if f.pages[i] == nil {
		return // blank cells have nothing to gain
	}
	f.erases[i]++
	unit := int(f.geometry.Unit)
	pg := f.own(i)
	pg.scars = nil
	progress := r.IntN(257)
	for u := range len(pg.data) / unit {
		cells := pg.data[u*unit : (u+1)*unit]
		undecided := make([]byte, unit)
		changed := false
		for j, b := range cells {
			switch low := ^b; {
			case low == 0:
			case weak:
				undecided[j] = low & r.Byte() & r.Byte()
				cells[j] = Erased
				changed = true
			case r.IntN(256) < progress:
				cells[j] |= r.Byte()
				changed = changed || cells[j] != b
			}
		}
		switch {
		case !changed:
		case f.geometry.WriteOnce && weak:
			pg.scar(u, scar{shaky: true})
		case f.geometry.WriteOnce:
			pg.scar(u, scar{dead: true})
		case weak:
			pg.scar(u, scar{weak: undecided})
		}
	}
}
