package bootloader

import (
	"context"
	"errors"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// mcu is one microcontroller with our bootloader on simulated flash. Its methods
// are the bootloader's: boot at a reset, and the services begin, writePage,
// finish, commit and confirm that the firmware calls. All that it remembers
// across a reset is in flash; what these fields hold is RAM.
//
// One flow serves both chips. With two banks a package is staged in the bank
// that does not run, and the bank that it replaces is the way back. With one
// bank there is no way back: the bootloader stays until it was fed.
type mcu struct {
	device  Device // MinSequence and Slot are set for each check
	slotted bool   // images are linked for banks
	options Options
	checks  *checks
	grain   int // bytes of an image that are programmed in one operation

	flash   *flash.Flash
	journal journal
	fault   fault

	up      bool // has booted since the last reset
	state   state
	running *installed        // nil: the bootloader stays and waits
	dest    int               // bank that is being written
	fed     [maxEntries]uint8 // of a host: how often each MCU was fed
}

// installed is an image that the bootloader has accepted.
type installed struct {
	version  manifest.Version
	sequence uint32
	bank     int
}

// boot is what happens after a reset.
func (m *mcu) boot(ctx context.Context) error {
	m.up, m.running = true, nil
	s, ok := m.journal.load()
	if !ok {
		return nil // not provisioned: waits
	}
	found := s
	if s.phase == trial && m.fault != attemptsUncounted {
		if s.attempts++; int(s.attempts) > m.device.Chip.Attempts {
			s = m.back(s)
		}
	}
	// Written before it is acted on, also when it has not changed: a record that
	// a power loss has left weak may not be there at the next boot.
	if m.fault == recordsUnsettled && s == found {
		m.state = s
	} else if err := m.record(s); err != nil {
		return err
	}
	for s.phase != receiving {
		image, err := m.check(ctx, int(s.active))
		switch {
		case err == nil:
			m.running = image
			return nil
		case verdict.Of(err) == "":
			return err // no verdict
		case s.phase == confirmed && m.dual():
			return nil // the counter was raised: there is no way back. Waits
		}
		s = m.back(s)
		if err := m.record(s); err != nil {
			return err
		}
	}
	return nil
}

// back is the state after an image that did not hold: the other bank, or waiting
// where there is none. The counter was not raised for it.
func (m *mcu) back(s state) state {
	s.attempts, s.staged = 0, false
	if m.dual() {
		s.active, s.phase = 1-s.active&1, confirmed
	} else {
		s.phase = receiving
	}
	if m.fault == sequenceSpent && !m.dual() {
		s.floor += 10
	}
	return s
}

// errTrial says that the other bank is still the way back.
var errTrial = errors.New("bootloader: the image has not confirmed itself")

// begin makes ready the bank that a package goes to. From here on what was in
// it does not count.
func (m *mcu) begin() error {
	s := m.state
	m.dest = m.target()
	m.fed = [maxEntries]uint8{} // with what it has had
	switch {
	case !m.dual():
		m.running = nil // the bootloader writes, so the firmware does not run
		if m.fault != receivingUnrecorded {
			s.phase, s.attempts = receiving, 0
		}
	case s.phase != confirmed:
		return errTrial
	default:
		s.staged = false
	}
	if s == m.state {
		return nil
	}
	return m.record(s)
}

// writePage erases a page of the bank and programs it. Whoever transfers a
// package calls it page by page, in any order. A page that a power loss has hit
// is written again even if it reads right: it may not tomorrow.
func (m *mcu) writePage(offset uint32, im *flash.Image, n int) error {
	addr := m.bank(m.dest).Base + offset
	if m.fault != pagesNotErased {
		if err := m.flash.Erase(addr); err != nil {
			return err
		}
	}
	return m.flash.ProgramPage(addr, im, n, m.grain)
}

// writePages writes what is transferred of a package.
func (m *mcu) writePages(b *bankImage) error {
	for n := b.made; n < b.pages(); n++ {
		im, k, offset := b.page(n, m.device.Chip.Page)
		if err := m.writePage(offset, im, k); err != nil {
			return err
		}
	}
	return nil
}

// finish verifies what was written, as boot will, and notes that it is complete.
// A refusal is a *verdict.Error.
func (m *mcu) finish(ctx context.Context) error {
	if _, err := m.check(ctx, m.dest); err != nil {
		return err
	}
	if !m.dual() {
		return nil // commit follows, and is the note
	}
	s := m.state
	s.staged = true
	return m.record(s)
}

// commit makes the package the one that boots next: the pointer flips, and the
// trial begins. The caller resets.
func (m *mcu) commit() error {
	s := m.state
	s.phase, s.active, s.attempts, s.staged = trial, uint8(m.target()), 0, false
	switch m.fault {
	case counterBeforeConfirm:
		s.floor++
	case commitsConfirmed:
		s.phase = confirmed
	}
	return m.record(s)
}

// confirm ends the trial: the image attests that it works. The same record
// raises the rollback counter, so there is no way back any more and no moment
// between the two.
func (m *mcu) confirm() error {
	s := m.state
	s.phase, s.attempts = confirmed, 0
	s.floor = max(s.floor, m.running.sequence)
	if m.fault == counterForgotten {
		s.floor = 0
	}
	return m.record(s)
}

func (m *mcu) record(s state) error {
	if err := m.journal.append(s); err != nil {
		return err
	}
	m.state = s
	return nil
}

// dual reports whether there is a bank to go back to.
func (m *mcu) dual() bool { return len(m.device.Chip.Banks) > 1 }

func (m *mcu) other() int { return 1 - int(m.state.active)&1 }

// target is the bank that a package goes to.
func (m *mcu) target() int {
	if m.dual() {
		return m.other()
	}
	return 0
}

func (m *mcu) bank(n int) Region { return m.device.Chip.Banks[n%len(m.device.Chip.Banks)] }

// off is a reset or the loss of power: RAM is gone.
func (m *mcu) off() {
	m.up, m.running, m.state, m.dest, m.fed = false, nil, state{}, 0, [maxEntries]uint8{}
}

// check makes all checks of the profile over the image in a bank. A refusal is a
// *verdict.Error; other errors mean that there is no verdict.
func (m *mcu) check(ctx context.Context, bank int) (*installed, error) {
	region := m.bank(bank)
	device := m.device
	device.MinSequence = m.state.floor
	if m.slotted {
		slot := uint32(bank)
		device.Slot = &slot
	}
	image, err := m.checks.bank(ctx, device, m.flash, region, m.options)
	if m.fault == bootsUnverified && verdict.Of(err) != "" {
		return &installed{bank: bank}, nil
	}
	if err != nil {
		return nil, err
	}
	return &installed{image.version, image.sequence, bank}, nil
}
