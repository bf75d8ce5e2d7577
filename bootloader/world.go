package bootloader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// errCut is what a flash operation returns during which the power fails.
var errCut = errors.New("bootloader: power lost")

// world is one device with its MCUs, and the phone that has the release. The
// firmware that runs on the MCUs is here, as far as it has to do with updates.
//
// The host is the first MCU with two banks: it takes the release from the phone,
// updates itself and feeds the others over the UART. In a product without such
// an MCU a gateway feeds all; it never loses power.
type world struct {
	plan      *plan
	mcus      []*mcu // in install order
	sick      Sick   // whose new firmware does not work
	lossy     bool   // packages come over links that lose
	transfers uint64 // begun so far, each with accidents of its own

	offered   int               // the release that the phone or the gateway has, an index
	delivered int               // the last one that the host has accepted
	began     bool              // the phone has begun to transfer
	fed       [maxEntries]uint8 // by a gateway: how often each MCU was fed
	committed bool              // the phone was told that the release is being installed

	floors  []uint32     // highest rollback counter seen of each MCU
	known   []*installed // what each was last seen to run, identified
	failure *Failure     // first broken invariant

	ops   int                                  // operations since the hook was set
	watch func(mcu int, op flash.Op)           // sees them, for drawings
	note  func(mcu int, cut bool, text string) // hears what happens, for replays
	arm   *armed
}

// armed is a power loss to come.
type armed struct {
	cut  Cut
	rand *flash.Rand
	then *armed
}

// clone returns a world that goes its own way. It keeps nothing of a call that
// is under way: an MCU that loses power forgets that, and one that does not
// looks again at what there is to do.
func (w *world) clone(r *flash.Rand) *world {
	c := *w
	c.mcus = make([]*mcu, len(w.mcus))
	for i, m := range w.mcus {
		n := *m
		n.flash = m.flash.Clone()
		n.flash.Rand = r
		n.journal.flash = n.flash
		c.mcus[i] = &n
	}
	c.floors, c.known = slices.Clone(w.floors), slices.Clone(w.known)
	c.watch, c.note, c.arm, c.ops = nil, nil, nil, 0
	return &c
}

// listen has the world's operations counted, watched and cut.
func (w *world) listen(on bool) {
	w.ops = 0
	for i, m := range w.mcus {
		m.flash.Before, m.flash.Unseen = nil, nil
		if !on {
			continue
		}
		m.flash.Unseen = func(n int) bool {
			if w.watch != nil || w.arm != nil && w.ops+n > w.arm.cut.Op {
				return false
			}
			w.ops += n
			return true
		}
		m.flash.Before = func(op flash.Op) error {
			n := w.ops
			w.ops++
			if w.watch != nil {
				w.watch(i, op)
			}
			if w.arm == nil || w.arm.cut.Op != n {
				return nil
			}
			a := w.arm
			w.arm, w.ops = a.then, 0
			for _, m := range w.mcus {
				m.flash.Rand = a.rand
			}
			w.cut(i, op, a.cut, a.rand)
			return errCut
		}
	}
}

// cut is the loss of power during an operation of one MCU.
func (w *world) cut(at int, op flash.Op, c Cut, r *flash.Rand) {
	if w.note != nil {
		w.note(at, true, fmt.Sprintf("power lost (%s, %s) while it was to %s", c.Reach, c.Mode, opText(op)))
	}
	if c.Reach != ReachPeers {
		if err := w.mcus[at].flash.Tear(op, c.Mode, r); err != nil {
			w.fail(verdict.RehearsalFlashRule, "%v", err)
		}
	}
	for i, m := range w.mcus {
		if c.Reach == ReachBoard || (i == at) == (c.Reach == ReachChip) {
			m.off()
		}
	}
}

func opText(op flash.Op) string {
	if op.Kind == flash.Erase {
		return fmt.Sprintf("erase the page at 0x%08x", op.Addr)
	}
	return fmt.Sprintf("program %d bytes at 0x%08x", len(op.Data), op.Addr)
}

func (w *world) say(mcu int, format string, args ...any) {
	if w.note != nil {
		w.note(mcu, false, fmt.Sprintf(format, args...))
	}
}

// maxTurns is far more than a device needs after any cut.
const maxTurns = 100

// settle lets the device run with its power on until nothing more happens. An
// error means that there is no result; what is wrong with the device is in
// w.failure.
func (w *world) settle(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for range maxTurns {
		busy, err := w.turn(ctx)
		switch {
		case errors.Is(err, errCut):
			continue
		case errors.Is(err, flash.ErrProgrammed) || errors.Is(err, flash.ErrAlignment) || errors.Is(err, flash.ErrRange):
			w.fail(verdict.RehearsalFlashRule, "%v", err)
			return nil
		case errors.Is(err, errJournal):
			w.fail(verdict.RehearsalBrick, "%v", err)
			return nil
		case err != nil:
			return err
		}
		w.observe()
		if !busy {
			return nil
		}
	}
	w.fail(verdict.RehearsalUnsettled, "after %d turns: %s", maxTurns, w.describe())
	return nil
}

// turn does one thing that there is to do, and reports whether there was one.
func (w *world) turn(ctx context.Context) (busy bool, err error) {
	for i, m := range w.mcus {
		if !m.up {
			err := m.boot(ctx)
			if err == nil {
				w.say(i, "boots: %s", w.status(i))
			}
			return true, err
		}
	}
	if w.plan.fault == feedsDuringTrial {
		if busy, err := w.install(ctx); busy || err != nil {
			return busy, err
		}
	}
	for i, m := range w.mcus {
		if m.running == nil || m.state.phase != trial {
			continue
		}
		if w.plan.fault == oldBankErased && m.dual() {
			if err := m.flash.Erase(m.bank(m.other()).Base); err != nil {
				return true, err
			}
		}
		if w.fails(i) {
			w.say(i, "does not work: its watchdog resets it")
			m.off()
			return true, nil
		}
		w.say(i, "has tested itself and confirms")
		return true, m.confirm()
	}
	// Only now, when nobody is on trial, the release goes on to the next MCU.
	// If the host could still fall back, a peer that it has updated could not.
	if busy, err := w.install(ctx); busy || err != nil {
		return busy, err
	}
	return w.download(ctx)
}

// install takes the next step of the newest package that is here, in install
// order: the host's own image is committed, another MCU's is fed to it.
func (w *world) install(ctx context.Context) (busy bool, err error) {
	for i, m := range w.mcus {
		if i == w.plan.host {
			if m.running == nil || !m.state.staged {
				continue
			}
			w.committed = true
			w.say(i, "commits the package in bank %d", m.target())
			if err := m.commit(); err != nil {
				return true, err
			}
			m.off()
			return true, nil
		}
		if w.givenUp(i) {
			return false, nil // those after it have to wait, too
		}
		next, err := w.offer(ctx, i)
		switch {
		case errors.Is(err, errNoOffer), verdict.Of(err) != "":
			continue
		case err != nil:
			return false, err
		case m.running != nil && m.running.sequence >= next.sequence:
			continue
		}
		w.say(i, "is fed version %s", next.version)
		if done, err := w.transfer(ctx, i, next.bank); !done {
			return true, err
		}
		if err := m.commit(); err != nil {
			return true, err
		}
		w.feedings()[i]++
		m.off()
		return true, nil
	}
	return false, nil
}

// errNoOffer says that the host has nothing for an MCU.
var errNoOffer = errors.New("bootloader: nothing to pass on")

// offer returns what the host has for another MCU and that MCU would take.
// Payloads are verified before the MCU erases anything. The error is errNoOffer
// or a *verdict.Error when there is nothing.
func (w *world) offer(ctx context.Context, to int) (*release, error) {
	part := w.plan.parts[to]
	if w.plan.host < 0 { // the gateway has the release, and knows that it is good
		return part.releases[w.offered], nil
	}
	host := w.mcus[w.plan.host]
	if host.running == nil {
		return nil, errNoOffer
	}
	bank := host.bank(int(host.state.active))
	if host.state.staged {
		bank = host.bank(host.other())
	}
	d, err := readDirectory(host.flash, bank)
	if err != nil {
		return nil, err
	}
	if to >= len(d) {
		return nil, errNoOffer
	}
	device := part.device
	device.MinSequence = w.mcus[to].state.floor
	if part.slotted {
		slot := uint32(w.mcus[to].target())
		device.Slot = &slot
	}
	found, err := part.checks.entry(ctx, device, host.flash, bank, d[to], part.delivered)
	if err != nil {
		return nil, err
	}
	for _, r := range part.releases {
		if r.sequence == found.sequence {
			return r, nil
		}
	}
	return nil, errNoOffer
}

// download has the phone transfer the release to the host, from the beginning
// each time. It offers a release once: a host that has fallen back is not asked
// again.
func (w *world) download(ctx context.Context) (busy bool, err error) {
	if w.plan.host < 0 {
		return false, nil
	}
	host := w.mcus[w.plan.host]
	switch {
	case host.running == nil, host.running.sequence >= w.plan.parts[w.plan.host].releases[w.offered].sequence, w.committed:
		return false, nil
	case w.began && w.plan.fault == restagesNever:
		return false, nil
	case host.state.staged && w.delivered == w.offered && w.gaveUp():
		return false, nil // it has it, and can do no more with it
	}
	w.began = true
	w.say(w.plan.host, "receives the release")
	accepted, err := w.transfer(ctx, w.plan.host, w.plan.parts[w.plan.host].releases[w.offered].bank)
	if accepted {
		w.delivered = w.offered
	}
	return true, err
}

// transfer brings a package to an MCU and reports whether it was accepted.
func (w *world) transfer(ctx context.Context, to int, b *bankImage) (accepted bool, err error) {
	m := w.mcus[to]
	if err := m.begin(); err != nil {
		return false, err
	}
	if w.plan.fault == pointerBeforeData {
		w.committed = w.committed || to == w.plan.host
		if err := m.commit(); err != nil {
			return false, err
		}
	}
	bring := m.writePages
	if w.lossy {
		bring = func(b *bankImage) error { return w.receive(ctx, to, b) }
	}
	if err := bring(b); err != nil {
		return false, err
	}
	if b.patch != nil {
		w.say(to, "makes the image from %d bytes", b.from.size)
		err = m.apply(ctx, b)
		if reason := verdict.Of(err); reason != "" {
			w.say(to, "cannot: %s", reason)
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	if w.plan.fault == pointerBeforeData {
		m.off()
		return false, nil
	}
	err = m.finish(ctx)
	if reason := verdict.Of(err); reason != "" {
		w.say(to, "refuses it: %s", reason)
		return false, nil
	}
	return err == nil, err
}

// fail notes the first broken invariant.
func (w *world) fail(reason verdict.Reason, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
}

// observe holds the invariants that are true at all times.
func (w *world) observe() {
	versions := make([]manifest.Version, len(w.mcus))
	all := true
	for i, m := range w.mcus {
		part := w.plan.parts[i]
		if m.up {
			if m.state.floor < w.floors[i] {
				w.fail(verdict.RehearsalCounter, "the rollback counter of %s went from %d to %d", part.name, w.floors[i], m.state.floor)
			}
			w.floors[i] = max(w.floors[i], m.state.floor)
		}
		if m.running == nil {
			all = false
			continue
		}
		if m.running != w.known[i] && !part.runsSigned(m) {
			w.fail(verdict.RehearsalUnverified, "%s runs from bank %d what was never signed, or does not read the same twice", part.name, m.running.bank)
			return
		}
		w.known[i] = m.running
		versions[i] = m.running.version
	}
	if all && !w.plan.allows(versions) {
		w.fail(verdict.RehearsalVersions, "%s run together", w.describe())
	}
}

// runsSigned tells by the bytes in the bank, and not by what the bootloader has
// found, whether an MCU runs what it says.
func (p *part) runsSigned(m *mcu) bool {
	bank := m.bank(m.running.bank)
	for _, r := range p.releases {
		if r.sequence != m.running.sequence || !m.flash.Stable(bank.Base, len(r.image)) {
			continue
		}
		if m.flash.Sum(bank.Base, r.pages) == r.sum {
			return true
		}
		image := make([]byte, len(r.image)) // what follows it on its last page may differ
		return m.flash.Read(bank.Base, image) == nil && sha256.Sum256(image) == sha256.Sum256(r.image)
	}
	return false
}

// judge holds the invariants of a device at rest.
func (w *world) judge() {
	if w.sick == Peers {
		w.judgeSickPeers()
		return
	}
	for i, m := range w.mcus {
		if m.running == nil {
			w.fail(verdict.RehearsalBrick, "%s comes to rest without firmware: %s", w.plan.parts[i].name, w.describe())
			return
		}
	}
	if w.sick == Host {
		if m := w.mcus[w.plan.host]; m.running.sequence >= w.plan.sequence {
			w.fail(verdict.RehearsalNotReverted, "%s keeps firmware that does not work: %s", w.plan.parts[w.plan.host].name, w.describe())
		}
		return
	}
	w.judgeInstalled(w.plan.sequence)
}

// judgeInstalled demands that every MCU has a release.
func (w *world) judgeInstalled(sequence uint32) {
	for i, m := range w.mcus {
		switch {
		case m.running == nil:
			w.fail(verdict.RehearsalBrick, "%s comes to rest without firmware: %s", w.plan.parts[i].name, w.describe())
			return
		case m.running.sequence == sequence && m.state.phase == confirmed && m.state.floor != sequence:
			w.fail(verdict.RehearsalCounter, "the rollback counter of %s stays at %d: %s", w.plan.parts[i].name, m.state.floor, w.describe())
			return
		case m.running.sequence != sequence || m.state.phase != confirmed:
			w.fail(verdict.RehearsalNotInstalled, "%s does not have the release: %s", w.plan.parts[i].name, w.describe())
			return
		}
	}
}

// restCycles is how often a device at rest is switched off and on: cells that a
// power loss has left weak get the chance to read differently.
const restCycles = 2

// finish lets the device come to rest, judges it, and does so again after
// switching it off and on.
func (w *world) finish(ctx context.Context) error {
	for cycle := range 1 + restCycles {
		if cycle > 0 {
			w.allOff()
		}
		if err := w.settle(ctx); err != nil {
			return err
		}
		if w.failure != nil {
			break
		}
		w.judge()
	}
	if w.sick == Peers && w.failure == nil {
		return w.repair(ctx)
	}
	return nil
}

func (w *world) allOff() {
	for _, m := range w.mcus {
		m.off()
	}
}

// describe says what runs where: "radio 1.4.2, motor waits".
func (w *world) describe() string {
	parts := make([]string, len(w.mcus))
	for i := range w.mcus {
		parts[i] = w.plan.parts[i].name + " " + w.status(i)
	}
	return strings.Join(parts, ", ")
}

func (w *world) status(i int) string {
	m := w.mcus[i]
	switch {
	case !m.up:
		return "off"
	case m.running == nil:
		return "waits"
	case m.state.phase == trial:
		return m.running.version.String() + " on trial"
	}
	return m.running.version.String()
}
