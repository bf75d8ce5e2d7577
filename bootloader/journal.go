package bootloader

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/otapack/otapack/bootloader/flash"
)

// phase says how far a bootloader trusts the image in the active bank.
type phase uint8

// Phases. Their numbers stand in flash.
const (
	// confirmed: the image has attested that it works.
	confirmed phase = 1
	// trial: the image is installed and has not confirmed itself.
	trial phase = 2
	// receiving: the only bank is being written, or what is in it had its
	// chances. The bootloader stays and waits to be fed.
	receiving phase = 3
)

// state is what a bootloader remembers. Each change is one record in the
// journal, which holds all of it:
//
//	offset  size  field (integers little endian)
//	0       4     number of the record's place, counts up from 1
//	4       1     phase
//	5       1     active bank
//	6       1     attempts: boots of a trial so far
//	7       1     staged: 1 when the other bank holds a verified package
//	8       4     floor: the rollback counter
//	12      4     CRC-32 (IEEE 802.3) of the 12 bytes before
//
// That is four words on the nRF52840 and two double words on the STM32L4,
// programmed in this order. A record counts when its CRC is right, and the one
// with the highest number is the state. The CRC is in the last unit, so a record
// that was cut off anywhere does not count and the one before it does: writing a
// record is the one step that either has happened or has not.
type state struct {
	phase    phase
	active   uint8
	attempts uint8
	staged   bool
	floor    uint32
}

const (
	recordSize = 16
	noNumber   = 0xffffffff // what a blank place has for a number
)

// errJournal says that no place of an erased page takes a record.
var errJournal = errors.New("bootloader: the journal does not take a record")

func (s state) encode(number uint32) []byte {
	p := make([]byte, 0, recordSize)
	p = binary.LittleEndian.AppendUint32(p, number)
	staged := byte(0)
	if s.staged {
		staged = 1
	}
	p = append(p, byte(s.phase), s.active, s.attempts, staged)
	p = binary.LittleEndian.AppendUint32(p, s.floor)
	return binary.LittleEndian.AppendUint32(p, crc32.ChecksumIEEE(p))
}

// decodeState reads a record and reports whether it counts.
func decodeState(p []byte, fault fault) (s state, number uint32, ok bool) {
	number = binary.LittleEndian.Uint32(p)
	if number == noNumber {
		return s, number, false
	}
	s = state{phase: phase(p[4]), active: p[5], attempts: p[6], staged: p[7] == 1, floor: binary.LittleEndian.Uint32(p[8:])}
	if fault == journalWithoutCRC {
		return s, number, true
	}
	ok = crc32.ChecksumIEEE(p[:recordSize-4]) == binary.LittleEndian.Uint32(p[recordSize-4:]) &&
		s.phase >= confirmed && s.phase <= receiving && s.active <= 1 && p[7] <= 1
	return s, number, ok
}

// journal appends records to two pages in turn.
//
// A page is erased just before its first record is written, always: one that
// reads as erased may have been cut off while it was. The other page keeps the
// newest record meanwhile.
//
// Numbers are those of the places, counted in the order in which they are used.
// So two records never have the same number: one that did not read when its
// successor was written may read again later, and must not win then. And a place
// that a power loss has spoiled and that reads as blank does no harm: only its
// first unit can have been begun, and the next record programs the same number
// there. With ECC that unit refuses, and the place after it is taken.
type journal struct {
	flash  *flash.Flash
	region Region
	page   uint32 // size in bytes
	unit   int
	fault  fault

	number uint32 // of the newest record, 0 when there is none
	newest uint32 // its address
	next   uint32 // address of the next record
}

// load finds the newest record. Without one, ok is false.
func (j *journal) load() (s state, ok bool) {
	j.number, j.newest, j.next = 0, 0, j.region.Base
	for page := j.region.Base; uint64(page) < j.region.End(); page += j.page {
		j.scan(page, func(addr uint32, p []byte) {
			if p == nil {
				return
			}
			if read, number, good := decodeState(p, j.fault); good && number > j.number {
				s, ok, j.number, j.newest = read, true, number, addr
			}
		})
	}
	if !ok {
		return s, false
	}
	page := j.newest &^ (j.page - 1)
	j.next = j.newest + recordSize
	j.scan(page, func(addr uint32, p []byte) {
		if addr > j.newest && (p == nil || [recordSize]byte(p) != erasedRecord) {
			j.next = addr + recordSize
		}
	})
	return s, true
}

// scan visits the places of a page, with nil for one that does not read.
func (j *journal) scan(page uint32, visit func(addr uint32, p []byte)) {
	buf := make([]byte, j.page)
	whole := j.flash.Read(page, buf) == nil
	for at := uint32(0); at < j.page; at += recordSize {
		p := buf[at : at+recordSize]
		if !whole && j.flash.Read(page+at, p) != nil {
			p = nil
		}
		visit(page+at, p)
	}
}

var erasedRecord = [recordSize]byte(blankBytes(recordSize))

// numberOf returns the number of a place ahead of the newest record.
func (j *journal) numberOf(addr uint32) uint32 {
	switch {
	case j.fault == numbersReused:
		return j.number + 1
	case j.number == 0:
		return (addr-j.region.Base)/recordSize + 1
	}
	return j.number + (addr+j.region.Size-j.newest)%j.region.Size/recordSize
}

// append writes a state as the newest record.
func (j *journal) append(s state) error {
	for range 2 * j.page / recordSize {
		if (j.next-j.region.Base)%j.page == 0 { // the page that j.next has left is full
			if uint64(j.next) == j.region.End() {
				j.next = j.region.Base
			}
			if err := j.flash.Erase(j.next); err != nil {
				return err
			}
		}
		addr, number := j.next, j.numberOf(j.next)
		j.next += recordSize
		switch err := j.flash.Program(addr, s.encode(number), j.unit); {
		case errors.Is(err, flash.ErrProgrammed):
			continue // a place that a power loss has spoiled
		case err != nil:
			return err
		}
		p := make([]byte, recordSize)
		if j.flash.Read(addr, p) != nil {
			continue
		}
		if got, n, ok := decodeState(p, j.fault); ok && got == s && n == number {
			j.number, j.newest = number, addr
			return nil
		}
	}
	return errJournal
}
