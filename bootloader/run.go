package bootloader

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/otapack/otapack/bootloader/flash"
)

// Reach says which MCUs lose power.
type Reach uint8

// Reaches.
const (
	ReachBoard Reach = iota // all of them
	ReachChip               // the one that is at the operation
	ReachPeers              // the others, while this one is being fed
)

// String returns the name in replays: board, chip, peers.
func (r Reach) String() string {
	switch r {
	case ReachBoard:
		return "board"
	case ReachChip:
		return "chip"
	case ReachPeers:
		return "peers"
	}
	return fmt.Sprintf("Reach(%d)", uint8(r))
}

// Cut is one loss of power.
type Cut struct {
	Op    int // flash operation, counted from 0 from the start or from the cut before
	Reach Reach
	Mode  flash.Mode
}

// Run is one way through the installation. Its text says all that it takes to
// replay it with the same seed and grain: "healthy", "sick,board:torn:117",
// "healthy,chip:before:12,board:torn-weak:3", "healthy,lossy,board:after:30",
// "sick-peers,board:torn:80", or "flip:9".
type Run struct {
	Sick Sick // whose new firmware does not work
	// Lossy has packages go over links that lose, and a transfer that is cut off
	// goes on where it was; otherwise pages are written as by a programmer.
	Lossy bool
	Cuts  []Cut
	Flip  int // number of the bit that flips after the installation, from 1; 0 for none
}

// String formats a run as ParseRun reads it.
func (r Run) String() string {
	if r.Flip > 0 {
		return fmt.Sprintf("flip:%d", r.Flip)
	}
	parts := []string{r.Sick.String()}
	if r.Lossy {
		parts = append(parts, "lossy")
	}
	for _, c := range r.Cuts {
		parts = append(parts, fmt.Sprintf("%s:%s:%d", c.Reach, c.Mode, c.Op))
	}
	return strings.Join(parts, ",")
}

// ErrRun is wrapped by ParseRun.
var ErrRun = errors.New("not a run")

// ParseRun reads the text of a run.
func ParseRun(s string) (Run, error) {
	var r Run
	if n, ok := strings.CutPrefix(s, "flip:"); ok {
		flip, err := strconv.ParseUint(n, 10, 31)
		if err != nil || flip == 0 {
			return r, fmt.Errorf("bootloader: run %q: flip is not a number from 1: %w", s, ErrRun)
		}
		r.Flip = int(flip)
		return r, nil
	}
	fields := strings.Split(s, ",")
	sick := slices.IndexFunc([]Sick{Nobody, Host, Peers}, func(s Sick) bool { return s.String() == fields[0] })
	if sick < 0 {
		return r, fmt.Errorf("bootloader: run %q does not begin with healthy, sick or sick-peers: %w", s, ErrRun)
	}
	r.Sick = Sick(sick)
	fields = fields[1:]
	if len(fields) > 0 && fields[0] == "lossy" {
		r.Lossy, fields = true, fields[1:]
	}
	for _, field := range fields {
		var c Cut
		reach, rest, _ := strings.Cut(field, ":")
		mode, op, _ := strings.Cut(rest, ":")
		i := slices.IndexFunc([]Reach{ReachBoard, ReachChip, ReachPeers}, func(r Reach) bool { return r.String() == reach })
		j := slices.IndexFunc(flash.Modes(), func(m flash.Mode) bool { return m.String() == mode })
		n, err := strconv.ParseUint(op, 10, 31)
		if i < 0 || j < 0 || err != nil {
			return r, fmt.Errorf("bootloader: run %q: cut %q is not reach:mode:operation: %w", s, field, ErrRun)
		}
		c.Reach, c.Mode, c.Op = Reach(i), flash.Modes()[j], int(n)
		r.Cuts = append(r.Cuts, c)
	}
	return r, nil
}

// compare orders runs: the one to look at first comes first.
func (r Run) compare(o Run) int {
	switch {
	case r.Flip != o.Flip:
		return cmp.Compare(r.Flip, o.Flip)
	case len(r.Cuts) != len(o.Cuts):
		return cmp.Compare(len(r.Cuts), len(o.Cuts))
	case r.Sick != o.Sick:
		return cmp.Compare(r.Sick, o.Sick)
	case r.Lossy && !o.Lossy:
		return 1
	case o.Lossy && !r.Lossy:
		return -1
	}
	return slices.CompareFunc(r.Cuts, o.Cuts, func(a, b Cut) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Reach, b.Reach), cmp.Compare(a.Mode, b.Mode))
	})
}

// rand is the randomness of a run, the same each time.
func (r Run) rand(seed uint64) *flash.Rand {
	parts := []uint64{uint64(r.Sick)}
	if r.Lossy {
		parts[0] += 16
	}
	for _, c := range r.Cuts {
		parts = append(parts, uint64(c.Op), uint64(c.Reach), uint64(c.Mode))
	}
	return flash.NewRand(seed, parts...)
}
