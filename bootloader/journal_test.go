package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader/flash"
)

// journalGeometries are those of the two chips with pages that are soon full.
var journalGeometries = map[string]flash.Geometry{
	"nrf52840": {Size: 1 << 10, Page: 256, Unit: 4},
	"stm32l4":  {Size: 1 << 10, Page: 256, Unit: 8, WriteOnce: true},
}

func newJournal(t testing.TB, g flash.Geometry, f fault) *journal {
	t.Helper()
	mem, err := flash.New(g)
	if err != nil {
		t.Fatal(err)
	}
	region := Region{g.Base + 256, 512}
	return &journal{flash: mem, region: region, page: g.Page, unit: int(g.Unit), fault: f, next: region.Base}
}

// journalRun boots a device that has to bring its counter to 2, with the power
// failing at some operations, and then lets it boot in peace. It returns what
// went wrong.
func journalRun(t testing.TB, g flash.Geometry, f fault, records int, seed uint64, cuts int) error {
	j := newJournal(t, g, f)
	for range records {
		if err := j.append(state{phase: confirmed, floor: 1}); err != nil {
			return err
		}
	}
	r := flash.NewRand(seed)
	j.flash.Rand = r
	left := r.IntN(16)
	j.flash.Before = func(op flash.Op) error {
		if left--; left >= 0 || cuts == 0 {
			return nil
		}
		cuts--
		left = r.IntN(16)
		if err := j.flash.Tear(op, flash.Modes()[r.IntN(4)], r); err != nil {
			return err
		}
		return errCut
	}
	seen := uint32(1)
	for peace := 0; peace < 6; {
		if cuts == 0 {
			peace++
		}
		s, ok := j.load()
		if !ok {
			return errors.New("no record counts")
		}
		for _, floor := range []uint32{s.floor, 2} { // settle, then confirm
			s.floor = floor
			switch err := j.append(s); {
			case errors.Is(err, errCut):
			case err != nil:
				return err
			case s.floor < seen:
				return fmt.Errorf("the counter went from %d to %d", seen, s.floor)
			default:
				seen = s.floor
				continue
			}
			break
		}
	}
	if seen != 2 {
		return errors.New("the counter never came up")
	}
	return nil
}

// TestJournalCuts: whatever the power does, a record that was acted on counts
// for ever. The journal alone is fast enough to meet what takes two power losses
// and some bad luck.
func TestJournalCuts(t *testing.T) {
	const runs = 2000
	for name, g := range journalGeometries {
		for cuts := range 4 {
			for n := range uint64(runs) {
				if err := journalRun(t, g, noFault, 1+int(n%40), n, cuts); err != nil {
					t.Fatalf("%s, %d cuts, run %d: %v", name, cuts, n, err)
				}
			}
		}
	}
}

// TestJournalFaults: each rule of the journal is there for something.
func TestJournalFaults(t *testing.T) {
	for f, name := range map[fault]string{journalWithoutCRC: "no CRC", numbersReused: "numbers reused"} {
		found := false
		for n := uint64(0); !found && n < 60000; n++ { // the second takes very bad luck
			for _, g := range journalGeometries {
				found = found || journalRun(t, g, f, 1+int(n%40), n, 2) != nil
			}
		}
		if !found {
			t.Errorf("%s: not found", name)
		}
	}
}

// The bytes of a record are a contract with the bootloaders.
// The CRCs are those of zlib.
func TestRecordLayout(t *testing.T) {
	for want, s := range map[string]state{
		"04030201 02 01 03 00 11000000 f211dc78": {phase: trial, active: 1, attempts: 3, floor: 17},
		"04030201 01 00 00 01 ffffffff a256cedd": {phase: confirmed, staged: true, floor: 1<<32 - 1},
	} {
		if got := fmt.Sprintf("%x", s.encode(0x01020304)); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
	good := state{phase: receiving, floor: 1}.encode(7)
	for i := range good { // any bit counts
		for bit := range 8 {
			p := bytes.Clone(good)
			p[i] ^= 1 << bit
			if s, n, ok := decodeState(p, noFault); ok {
				t.Errorf("byte %d, bit %d: read as %d %+v", i, bit, n, s)
			}
		}
	}
	for name, s := range map[string]state{"phase 0": {}, "phase 4": {phase: 4}, "bank 2": {phase: confirmed, active: 2}} {
		if _, _, ok := decodeState(s.encode(1), noFault); ok {
			t.Errorf("%s counts", name)
		}
	}
}

// The journal goes around its two pages and never erases the one with the newest
// record.
func TestJournalWraps(t *testing.T) {
	for name, g := range journalGeometries {
		j := newJournal(t, g, noFault)
		for n := range uint32(100) {
			want := state{phase: confirmed, floor: n}
			if err := j.append(want); err != nil {
				t.Fatal(err)
			}
			if n%7 == 0 { // a reset
				if got, ok := j.load(); !ok || got != want || j.number != n+1 {
					t.Fatalf("%s: record %d: %d %+v, %v", name, n, j.number, got, ok)
				}
			}
		}
		if erases := j.flash.Erases(); erases[0] != 0 || erases[1] != 4 || erases[2] != 3 || erases[3] != 0 {
			t.Errorf("%s: erases %v of pages with 16 places each", name, erases)
		}
	}
}
