package link

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otapack/otapack/formats/chunk"
)

// ErrModel says that a link, a loss or a device was described by values that
// there are not.
var ErrModel = errors.New("unsuitable value")

// Link says how fast frames travel.
type Link struct {
	Chunk    int           // bytes in a chunk but the last
	Overhead int           // bytes on the wire or in the air beside a message
	Frame    time.Duration // that every frame takes
	Byte     time.Duration // and for each byte of message and overhead
	Latency  time.Duration // from the end of a frame to the moment when the other side can answer
	Window   int           // chunks under way, see chunk.SenderOptions
	UART     bool          // frames of chunk.AppendUART, else those of chunk.AppendATT
}

// BLEOverhead is what a frame on BLE takes in the air beside the message, in
// bytes: CRC-16 of the frame; ATT opcode and handle (Bluetooth Core, Vol 3 Part F
// 3.3.1); L2CAP header (Vol 3 Part A 3.1); preamble, access address, header and
// CRC of the link layer on the 1M PHY (Vol 6 Part B 2.1), which takes the frame
// in one packet. Encryption would add 4, and empty packets are not counted.
const BLEOverhead = 2 + 3 + 4 + 1 + 4 + 2 + 3

// bleWindow covers the answers' way at up to 16 packets in an interval.
const bleWindow = 32

// BLE is a connection with an ATT_MTU of 23 to 247 bytes and so many packets in
// a connection interval (7.5 ms to 4 s).
func BLE(mtu int, interval time.Duration, packets int) (Link, error) {
	switch {
	case mtu-3 < chunk.MinATT || mtu-3 > chunk.MaxATT:
		return Link{}, fmt.Errorf("link: MTU %d, want %d to %d: %w", mtu, chunk.MinATT+3, chunk.MaxATT+3, ErrModel)
	case interval < 7500*time.Microsecond || interval > 4*time.Second:
		return Link{}, fmt.Errorf("link: connection interval %v, want 7.5ms to 4s: %w", interval, ErrModel)
	case packets < 1 || packets > 64:
		return Link{}, fmt.Errorf("link: %d packets in a connection interval, want 1 to 64: %w", packets, ErrModel)
	}
	return Link{
		Chunk: chunk.ChunkLen(mtu), Overhead: BLEOverhead, Window: bleWindow,
		Frame: interval / time.Duration(packets), Latency: interval,
	}, nil
}

// BLERate is a connection for which the throughput in bytes of attribute values
// in a second is known; the connection interval delays answers.
func BLERate(mtu int, interval time.Duration, rate int) (Link, error) {
	l, err := BLE(mtu, interval, 1)
	if err != nil {
		return Link{}, err
	}
	if rate < 1 || rate > 1<<20 {
		return Link{}, fmt.Errorf("link: %d bytes in a second, want 1 to %d: %w", rate, 1<<20, ErrModel)
	}
	l.Frame = time.Second * time.Duration(mtu-3) / time.Duration(rate)
	return l, nil
}

// UART is a serial line with a start bit, 8 data bits and a stop bit, on which
// one message is under way at a time.
func UART(baud int) (Link, error) {
	if baud < 300 || baud > 8e6 {
		return Link{}, fmt.Errorf("link: %d baud, want 300 to 8000000: %w", baud, ErrModel)
	}
	return Link{Chunk: chunk.MaxChunk, Overhead: chunk.UARTOverhead, Byte: 10 * time.Second / time.Duration(baud), Window: 1, UART: true}, nil
}

// airtime is how long a message occupies the link.
func (l Link) airtime(message int) time.Duration {
	return l.Frame + l.Byte*time.Duration(message+l.Overhead)
}

// timeout is how long a sender waits: for the window to pass, for the answer to
// come back, and half as much again.
func (l Link) timeout() time.Duration {
	way := l.airtime(l.Chunk)*time.Duration(l.Window) + 4*l.Latency
	return max(way+way/2, 100*time.Millisecond)
}

// Loss says what goes wrong.
type Loss struct {
	// Probability from 0 to 1, of each frame in both directions.
	Drop, Duplicate, Reorder, Corrupt float64
	// Mean time on the air between two events, 0 for never: the connection
	// breaks, the phone's program restarts, the device loses power.
	Disconnect, Restart, PowerLoss time.Duration
}

// The profiles are assumptions to compare releases with, not measurements. "bad"
// is a phone in a pocket, at the edge of the range, with a system that ends
// programs in the background.
var profiles = map[string]Loss{
	"none":    {},
	"good":    {Drop: 0.0005, Disconnect: 30 * time.Minute},
	"average": {Drop: 0.005, Duplicate: 0.0005, Reorder: 0.0005, Corrupt: 0.0005, Disconnect: 5 * time.Minute, Restart: time.Hour, PowerLoss: 4 * time.Hour},
	"bad":     {Drop: 0.03, Duplicate: 0.002, Reorder: 0.002, Corrupt: 0.002, Disconnect: 45 * time.Second, Restart: 5 * time.Minute, PowerLoss: 15 * time.Minute},
}

// Profiles returns the names that ParseLoss knows, in alphabetical order.
func Profiles() []string { return slices.Sorted(maps.Keys(profiles)) }

// ParseLoss reads a loss: the name of a profile, values that replace its own, or
// values alone, separated by commas: "bad,disconnect=2m", "drop=0.02". Errors
// wrap ErrModel.
func ParseLoss(s string) (Loss, error) {
	var l Loss
	shares := map[string]*float64{"drop": &l.Drop, "duplicate": &l.Duplicate, "reorder": &l.Reorder, "corrupt": &l.Corrupt}
	times := map[string]*time.Duration{"disconnect": &l.Disconnect, "restart": &l.Restart, "power-loss": &l.PowerLoss}
	seen := map[string]bool{}
	for i, field := range strings.Split(s, ",") {
		name, value, given := strings.Cut(field, "=")
		if !given {
			profile, ok := profiles[name]
			if !ok || i > 0 {
				return Loss{}, fmt.Errorf("link: loss %q, want one of %s first, then name=value: %w", field, strings.Join(Profiles(), ", "), ErrModel)
			}
			l = profile
			continue
		}
		var err error
		if seen[name] {
			err = errors.New("given twice")
		}
		seen[name] = true
		switch share, duration := shares[name], times[name]; {
		case err != nil:
		case share != nil:
			*share, err = strconv.ParseFloat(value, 64)
			if err == nil && !(*share >= 0 && *share <= 1) { // also not a number
				err = errors.New("want 0 to 1")
			}
		case duration != nil:
			*duration, err = time.ParseDuration(value)
			if err == nil && *duration < 0 {
				err = errors.New("is negative")
			}
		default:
			err = errors.New("not known")
		}
		if err != nil {
			return Loss{}, fmt.Errorf("link: loss %q: %w: %w", field, err, ErrModel)
		}
	}
	return l, nil
}

// Device is the memory of the receiver.
type Device struct {
	Capacity   int64 // room for the object in bytes
	Checkpoint int64 // bytes between two saved cursors, see chunk.ReceiverOptions
	// Store, unless nil, is the memory. Then Loss has no PowerLoss: the store says
	// with an error when the power fails, and Run returns that.
	Store chunk.Store
}

// How long it takes until the two ends are connected again.
const (
	afterDisconnect = 3 * time.Second
	afterRestart    = 15 * time.Second
	afterPowerLoss  = 30 * time.Second
)
