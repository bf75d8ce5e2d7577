package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/bootloader/link"
	"github.com/otapack/otapack/formats/chunk"
)

// lossy is a link on which something goes wrong all the time: a transfer of
// seconds meets what a phone in a pocket meets in an hour. Power losses are not
// among it, those are the rehearsal's.
var lossy = link.Loss{
	Drop: 0.03, Duplicate: 0.01, Reorder: 0.01, Corrupt: 0.01,
	Disconnect: time.Second, Restart: 4 * time.Second,
}

// receive has an MCU receive a package over a lossy link: from the phone, or from
// the host over the UART. What it has stored before a power loss it keeps. Whether
// all of it has arrived is for finish to see.
func (w *world) receive(ctx context.Context, to int, b *bankImage) error {
	m := w.mcus[to]
	l, err := link.UART(115200)
	if to == w.plan.host {
		l, err = link.BLE(247, 30*time.Millisecond, 4)
	}
	if err != nil {
		return err
	}
	device := link.Device{Capacity: int64(len(b.stream)), Checkpoint: int64(m.device.Chip.Page), Store: &bankStore{m: m, image: b}}
	s, err := link.New(b.stream, l, lossy, device)
	if err != nil {
		return err
	}
	w.transfers++
	result, err := s.Run(ctx, w.plan.Seed<<32+w.transfers)
	switch {
	case err != nil:
		return err
	case errors.Is(result.Err, chunk.ErrRefused):
		w.say(to, "gives the transfer up: %v", result.Err)
	case result.Err != nil:
		return result.Err
	default:
		w.say(to, "has received it: %d chunks, %d of them again, %d connections broke, the sender restarted %d times", result.Chunks, result.Resent, result.Disconnects, result.Restarts)
	}
	return nil
}

// bankStore is what the receiver of a package has for memory: the bank that is
// written, and two pages for cursors. The transferred object is the pages of the
// package one after the other.
type bankStore struct {
	m     *mcu
	image *bankImage // says where in the bank pages belong
	page  []byte     // gathered so far of the page that is being received, in RAM
}

func (s *bankStore) pageSize() int64 { return int64(s.m.device.Chip.Page) }

// at returns the flash address of a page of the object.
func (s *bankStore) at(page int64) uint32 {
	_, _, offset := s.image.page(s.image.made+int(page), s.m.device.Chip.Page)
	return s.m.bank(s.m.dest).Base + offset
}

// ReadAt reads what was stored. Units that do not read are zeros: the digest will
// not be right.
func (s *bankStore) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		page, in := (off+int64(n))/s.pageSize(), (off+int64(n))%s.pageSize()
		if page >= int64(s.image.pages()-s.image.made) {
			return n, io.EOF
		}
		part := p[n:min(len(p), n+int(s.pageSize()-in))]
		if s.m.flash.Read(s.at(page)+uint32(in), part) != nil {
			clear(part)
		}
		n += len(part)
	}
	return len(p), nil
}

// WriteAt gathers whole pages and programs them, on erased flash.
func (s *bankStore) WriteAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		if at%s.pageSize() == 0 {
			s.page = make([]byte, 0, s.pageSize()) // whoever watches keeps the one before
		}
		part := p[n:min(len(p), n+int(s.pageSize())-len(s.page))]
		s.page = append(s.page, part...)
		n += len(part)
		if int64(len(s.page)) < s.pageSize() {
			continue
		}
		if err := s.m.flash.Program(s.at(at/s.pageSize()), s.page, s.m.grain); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// Erase erases the pages from an offset on.
func (s *bankStore) Erase(from int64) error {
	if s.m.fault == resumesUnerased && from > 0 {
		return nil
	}
	for page := from / s.pageSize(); page < int64(s.image.pages()-s.image.made); page++ {
		if err := s.m.flash.Erase(s.at(page)); err != nil {
			return err
		}
	}
	return nil
}

// A slot is a page, in which cursors are written one after the other. The last
// one that reads counts. Before the first one the page is erased, also if it looks
// as if it were; the newest cursor is in the other slot then.

// ReadCursor returns the last cursor of a slot.
func (s *bankStore) ReadCursor(slot int) (last [chunk.CursorSize]byte, err error) {
	s.scan(slot, func(_ uint32, c [chunk.CursorSize]byte, valid bool) {
		if valid {
			last = c
		}
	})
	return last, nil
}

// WriteCursor appends a cursor to a slot.
func (s *bankStore) WriteCursor(slot int, cursor [chunk.CursorSize]byte) error {
	chip := s.m.device.Chip
	first := chip.Cursor.Base + uint32(slot)*chip.Page
	next, any := first, false
	s.scan(slot, func(at uint32, _ [chunk.CursorSize]byte, valid bool) {
		any, next = any || valid, at+chunk.CursorSize
	})
	if !any {
		next = first
	}
	for attempt := range 2 { // a page with spoiled places, and an erased one
		if attempt > 0 || next == first || next+chunk.CursorSize > first+chip.Page {
			next = first
			if err := s.m.flash.Erase(first); err != nil {
				return err
			}
		}
		for ; next+chunk.CursorSize <= first+chip.Page; next += chunk.CursorSize {
			switch err := s.m.flash.Program(next, cursor[:], int(chip.WriteUnit)); {
			case errors.Is(err, flash.ErrProgrammed):
				continue // a place that a power loss has spoiled
			case err != nil:
				return err
			}
			var read [chunk.CursorSize]byte
			if s.m.flash.Read(next, read[:]) == nil && read == cursor {
				return nil
			}
		}
	}
	return fmt.Errorf("bootloader: cursor slot %d: %w", slot, errJournal)
}

var erasedCursor = [chunk.CursorSize]byte(blankBytes(chunk.CursorSize))

// scan visits the places of a slot that are not blank. One that does not read is
// not.
func (s *bankStore) scan(slot int, visit func(at uint32, c [chunk.CursorSize]byte, valid bool)) {
	chip := s.m.device.Chip
	first := chip.Cursor.Base + uint32(slot)*chip.Page
	page := make([]byte, chip.Page)
	whole := s.m.flash.Read(first, page) == nil
	for at := 0; at+chunk.CursorSize <= len(page); at += chunk.CursorSize {
		place := page[at : at+chunk.CursorSize]
		readable := whole || s.m.flash.Read(first+uint32(at), place) == nil
		c := [chunk.CursorSize]byte(place)
		if readable && c == erasedCursor {
			continue
		}
		_, err := chunk.ParseCursor(c)
		visit(first+uint32(at), c, readable && err == nil)
	}
}
