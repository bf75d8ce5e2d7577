package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/bootloader/link"
)

// linkOptions are the flags of verbs that compute with a link.
type linkOptions struct {
	mtu, packets, rate int
	interval           time.Duration
	uart               []string
}

func (o *linkOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&o.mtu, "mtu", 247, "ATT_MTU of the connection in `bytes`, 23 to 247")
	f.DurationVar(&o.interval, "interval", 30*time.Millisecond, "connection `interval`, 7.5ms to 4s")
	f.IntVar(&o.packets, "packets", 4, "packets in a connection interval")
	f.IntVar(&o.rate, "rate", 0, "throughput in attribute `bytes` a second, instead of --packets")
	f.StringArrayVar(&o.uart, "uart", nil, "`component=baud` of a component that is fed over a UART (repeatable)")
}

// ble returns the link that the flags describe, or a usage error.
func (o *linkOptions) ble(cmd *cobra.Command) (l link.Link, err error) {
	switch {
	case o.rate != 0 && cmd.Flags().Changed("packets"):
		return l, usagef("--rate and --packets: want one of them")
	case o.rate != 0:
		l, err = link.BLERate(o.mtu, o.interval, o.rate)
	default:
		l, err = link.BLE(o.mtu, o.interval, o.packets)
	}
	if err != nil {
		return l, usageError{err}
	}
	return l, nil
}

// bauds reads the values of --uart for components of these names.
func (o *linkOptions) bauds(components []string) (map[string]int, error) {
	bauds := map[string]int{}
	for _, spec := range o.uart {
		name, text, _ := strings.Cut(spec, "=")
		baud, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return nil, usagef("--uart %q: want component=baud", spec)
		case !slices.Contains(components, name):
			return nil, usagef("--uart: the bundle has no component %q", name)
		case bauds[name] != 0:
			return nil, usagef("--uart: %s is given twice", name)
		}
		if _, err := link.UART(baud); err != nil {
			return nil, usagef("--uart: %w", err)
		}
		bauds[name] = baud
	}
	return bauds, nil
}

// describe is the link as --json tells it.
func (o *linkOptions) describe(l link.Link) transferLink {
	return transferLink{
		MTU: o.mtu, ChunkBytes: l.Chunk, OverheadBytes: l.Overhead,
		IntervalSeconds: o.interval.Seconds(), PacketsPerSec: 1 / l.Frame.Seconds(),
	}
}

type transferLink struct {
	MTU             int     `json:"mtu"`
	ChunkBytes      int     `json:"chunk_bytes"`
	OverheadBytes   int     `json:"overhead_bytes"` // on the air, beside a message
	IntervalSeconds float64 `json:"interval_seconds"`
	PacketsPerSec   float64 `json:"packets_per_second"`
}

// transferCheckpoint is the erase unit, in bytes, of the device that stores what is
// transferred.
const transferCheckpoint = 4096

// simulate transfers an object many times.
func simulate(ctx context.Context, object []byte, l link.Link, loss link.Loss, runs int, seed uint64) ([]link.Result, error) {
	s, err := link.New(object, l, loss, link.Device{Capacity: int64(len(object)), Checkpoint: transferCheckpoint})
	if err != nil {
		return nil, err
	}
	return s.Runs(ctx, runs, seed)
}

// undisturbed transfers an object when nothing goes wrong.
func undisturbed(ctx context.Context, object []byte, l link.Link) (link.Result, error) {
	runs, err := simulate(ctx, object, l, link.Loss{}, 1, 0)
	if err != nil {
		return link.Result{}, err
	}
	return runs[0], nil
}
