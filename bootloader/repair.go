package bootloader

import (
	"context"

	"github.com/otapack/otapack/sign/verdict"
)

// Sick says whose new firmware does not work: it never confirms itself, and a
// watchdog resets it.
type Sick uint8

// Who is sick.
const (
	Nobody Sick = iota
	Host        // the MCU that feeds the others falls back to what it had
	Peers       // those that are fed wait in their bootloaders, or fall back
)

// String returns the name in replays: healthy, sick, sick-peers.
func (s Sick) String() string { return [...]string{"healthy", "sick", "sick-peers"}[s%3] }

// maxFeedings is how often a feeder tries before it leaves an MCU alone until it
// is reset itself: firmware that does not work must not wear flash out.
const maxFeedings = 3

// makeRepair makes the release that comes after one whose peers do not work: the
// same versions, with the next sequence number.
func (p *plan) makeRepair(ctx context.Context) error {
	if !p.feeds() {
		return nil
	}
	for i, part := range p.parts {
		m := part.released
		m.Sequence++
		m.Staged, m.Component, m.Staging = false, nil, nil
		if m.Slot != nil && i == p.host && i == 0 { // it has the release; a host that comes later does not
			m.Slot = new(1 - *m.Slot)
		}
		r, err := part.made(ctx, m, part.releases[1].image)
		if err != nil {
			return err
		}
		part.releases = append(part.releases, r)
	}
	return nil
}

// feeds reports whether an MCU is fed.
func (p *plan) feeds() bool { return p.host < 0 || len(p.parts) > 1 }

// fails reports whether firmware that is on trial does not work.
func (w *world) fails(i int) bool {
	return w.mcus[i].running.sequence == w.plan.sequence && (w.sick == Host && i == w.plan.host || w.sick == Peers && i != w.plan.host)
}

// feedings counts, in the feeder's RAM, how often it has fed each MCU.
func (w *world) feedings() *[maxEntries]uint8 {
	if w.plan.host < 0 {
		return &w.fed
	}
	return &w.mcus[w.plan.host].fed
}

// givenUp reports whether an MCU was fed in vain often enough.
func (w *world) givenUp(i int) bool {
	m := w.mcus[i]
	if w.plan.fault == feedsForEver {
		return false
	}
	return i != w.plan.host && w.feedings()[i] >= maxFeedings && (m.running == nil || m.running.sequence < w.plan.sequence)
}

// gaveUp reports whether an MCU was given up.
func (w *world) gaveUp() bool {
	for i := range w.mcus {
		if w.givenUp(i) {
			return true
		}
	}
	return false
}

// judgeSickPeers holds what must be true of a device at rest that has a peer
// whose new firmware does not work.
func (w *world) judgeSickPeers() {
	for i, m := range w.mcus {
		part := w.plan.parts[i]
		switch {
		case i == w.plan.host && m.running == nil:
			w.fail(verdict.RehearsalBrick, "%s comes to rest without firmware: %s", part.name, w.describe())
		case i == w.plan.host && i == 0 && (m.running.sequence != w.plan.sequence || m.state.phase != confirmed):
			w.fail(verdict.RehearsalNotInstalled, "%s does not have the release: %s", part.name, w.describe())
		case i != w.plan.host && m.running != nil && m.running.sequence >= w.plan.sequence && !part.updated():
			w.fail(verdict.RehearsalNotReverted, "%s keeps firmware that does not work: %s", part.name, w.describe())
		}
	}
}

// repair brings the next release, whose firmware works. An MCU that waits must
// take it.
func (w *world) repair(ctx context.Context) error {
	w.offered, w.committed, w.began = 2, false, false
	w.fed = [maxEntries]uint8{}
	if w.plan.host >= 0 {
		w.say(w.plan.host, "is offered a repaired release")
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	if w.failure == nil {
		w.judgeInstalled(w.plan.sequence + 1)
	}
	return nil
}
