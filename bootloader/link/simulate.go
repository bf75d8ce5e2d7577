package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otapack/otapack/formats/chunk"
	"github.com/otapack/otapack/sign/verdict"
)

var (
	// ErrInvariant says that the protocol broke its word: a transfer ended with
	// other bytes in the device than the phone has, a saved cursor was ahead of
	// the stored bytes, or a byte was written twice. The seed repeats it.
	ErrInvariant = errors.New("the protocol broke its word")
	// ErrLimit says that a transfer was given up: too many connections or too
	// long.
	ErrLimit = errors.New("given up")
)

// Limits of a transfer, after which it is given up.
const (
	MaxConnections = 10000
	MaxElapsed     = 7 * 24 * time.Hour
)

// Result is one simulated transfer.
type Result struct {
	// Err is nil when the object arrived. Else it wraps ErrLimit or
	// chunk.ErrRefused.
	Err     error
	Elapsed time.Duration
	Frames  uint64 // sent by the phone
	Answers uint64 // sent by the device
	Air     uint64 // bytes of both, link layer included
	Chunks  uint64 // of the phone's frames
	Resent  uint64 // chunks that were sent more often than once, counted each time

	Disconnects int // connections that broke
	GivenUp     int // connections on which three retries brought nothing
	Restarts    int // of the phone's program
	PowerLosses int // of the device
	Undetected  int // damaged frames whose CRC was right
}

// Simulator runs transfers of one object.
type Simulator struct {
	object  []byte
	session chunk.Session
	link    Link
	loss    Loss
	device  Device

	random random
	flash  flash
	queue  []flight
	free   [][]byte // frames to use again
	forge  bool     // damaged frames have the right CRC, for tests
}

// flight is a frame under way.
type flight struct {
	at       time.Duration
	toDevice bool
	frame    []byte
}

// New makes a simulator. The object is held in memory. Errors wrap ErrModel.
func New(object []byte, link Link, loss Loss, device Device) (*Simulator, error) {
	size := int64(len(object))
	switch {
	case size < 1 || size > chunk.MaxSize:
		return nil, fmt.Errorf("link: object of %d bytes, want 1 to %d: %w", size, int64(chunk.MaxSize), ErrModel)
	case link.Chunk < chunk.MinChunk || link.Chunk > chunk.MaxChunk || link.Window < 1 || link.Window > chunk.MaxWindow || link.airtime(link.Chunk) <= 0:
		return nil, fmt.Errorf("link: chunks of %d bytes in %v, window of %d: %w", link.Chunk, link.airtime(link.Chunk), link.Window, ErrModel)
	case device.Capacity < 1 || device.Checkpoint < 1 || device.Store != nil && loss.PowerLoss != 0:
		return nil, fmt.Errorf("link: capacity %d, checkpoint %d: %w", device.Capacity, device.Checkpoint, ErrModel)
	}
	session, err := chunk.SessionOf(bytes.NewReader(object), size)
	if err != nil {
		return nil, err
	}
	s := &Simulator{object: object, session: session, link: link, loss: loss, device: device}
	if device.Store == nil {
		s.flash = flash{bytes: make([]byte, min(device.Capacity, size)), random: &s.random}
	}
	return s, nil
}

// Run simulates one transfer, to a device that has another object, or whatever is
// in Device.Store. The error is not about what went wrong on the link, see
// Result.Err: it wraps ErrInvariant or is the store's, or ctx is done.
func (s *Simulator) Run(ctx context.Context, seed uint64) (Result, error) {
	s.random = random(seed)
	if s.device.Store == nil {
		s.flash.fill(earlier(s.session))
	}
	s.lose() // the answers that came when the last run was over
	r := run{Simulator: s}
	if err := r.boot(); err != nil {
		return Result{}, err
	}
	if err := r.launch(); err != nil {
		return Result{}, err
	}
	if err := r.transfer(ctx); err != nil {
		return Result{}, fmt.Errorf("link: seed %d: %w", seed, err)
	}
	r.count()
	r.result.Elapsed = r.now
	if once := uint64((len(s.object) + s.link.Chunk - 1) / s.link.Chunk); r.result.Chunks > once {
		r.result.Resent = r.result.Chunks - once
	}
	return r.result, nil
}

// run is one transfer.
type run struct {
	*Simulator
	result   Result
	sender   *chunk.Sender
	receiver *chunk.Receiver
	reader   chunk.UARTReader

	now       time.Duration
	connected bool
	away      time.Duration // until the next connection
	forward   time.Duration // when the phone may send again
	back      time.Duration // when the device may send again

	message, frame, answer []byte
}

// boot starts the device from its memory.
func (r *run) boot() (err error) {
	o := chunk.ReceiverOptions{Capacity: r.device.Capacity, Checkpoint: r.device.Checkpoint}
	if r.device.Store != nil {
		r.receiver, err = chunk.NewReceiver(r.device.Store, o)
		return err
	}
	r.receiver, err = chunk.NewReceiver(&r.flash, o)
	if err == nil {
		r.flash.check(r.receiver.Cursor())
	}
	return err
}

// earlier is the session of another object.
func earlier(s chunk.Session) chunk.Session {
	s[0]++
	return s
}

// launch starts the phone's program.
func (r *run) launch() (err error) {
	r.sender, err = chunk.NewSender(bytes.NewReader(r.object), int64(len(r.object)), r.session, chunk.SenderOptions{Window: r.link.Window, Timeout: r.link.timeout()})
	return err
}

// count adds what a sender has sent.
func (r *run) count() { r.result.Chunks += r.sender.Stats().Chunks }

func (r *run) transfer(ctx context.Context) error {
	connections := 0
	for step := 0; ; step++ {
		switch {
		case step%1024 == 0 && ctx.Err() != nil:
			return ctx.Err()
		case r.flash.broken != nil:
			return fmt.Errorf("%w: %w", ErrInvariant, r.flash.broken)
		case r.now > MaxElapsed || connections > MaxConnections:
			r.result.Err = fmt.Errorf("link: %w after %v and %d connections", ErrLimit, r.now.Round(time.Second), connections)
			return nil
		case r.sender.Done():
			return r.arrived()
		}
		if !r.connected {
			connections++
			if err := r.connect(); err != nil {
				return err
			}
		}
		err := r.step()
		switch {
		case errors.Is(err, chunk.ErrNoProgress):
			r.result.GivenUp++
			r.drop(afterDisconnect)
		case errors.Is(err, chunk.ErrRefused):
			r.result.Err = err
			return nil
		case err != nil:
			return err
		}
	}
}

// arrived checks what the transfer was for.
func (r *run) arrived() error {
	switch {
	case !r.receiver.Complete():
		return fmt.Errorf("%w: the phone is done, the device is not", ErrInvariant)
	case r.device.Store == nil && !bytes.Equal(r.flash.bytes, r.object):
		return fmt.Errorf("%w: the device has other bytes", ErrInvariant)
	}
	return nil
}

func (r *run) connect() error {
	r.now += r.away
	r.away, r.forward, r.back = 0, r.now, r.now
	r.connected = true
	r.reader.Reset()
	return r.sender.Connect(r.link.Chunk)
}

// drop ends the connection.
func (r *run) drop(away time.Duration) {
	r.connected = false
	r.away = max(r.away, away)
	r.receiver.Disconnect()
	r.lose()
}

// lose forgets what is under way.
func (s *Simulator) lose() {
	for _, f := range s.queue {
		s.free = append(s.free, f.frame)
	}
	s.queue = s.queue[:0]
}

// step sends one message if the phone has one and the link is free, else it lets
// the time pass to the next event.
func (r *run) step() error {
	next := r.forward
	if r.now >= r.forward {
		var err error
		if r.message, err = r.sender.Message(r.now, r.message[:0]); err != nil {
			return err
		}
		if len(r.message) > 0 {
			r.result.Frames++
			r.forward = r.now + r.link.airtime(len(r.message))
			r.send(r.message, r.forward+r.link.Latency, true)
			return r.mishap(r.forward - r.now)
		}
		next = r.sender.Deadline()
	}
	if len(r.queue) == 0 || r.queue[0].at > next {
		r.now = max(r.now, next)
		return nil
	}
	f := r.queue[0]
	r.queue = slices.Delete(r.queue, 0, 1)
	r.now = max(r.now, f.at)
	err := r.arrives(f)
	r.free = append(r.free, f.frame)
	return err
}

func (r *run) arrives(f flight) error {
	if f.toDevice {
		return r.deviceReceives(f.frame)
	}
	message, ok := r.open(f.frame)
	if !ok {
		return nil
	}
	err := r.sender.Handle(r.now, message)
	if verdict.Of(err) != "" && !errors.Is(err, chunk.ErrRefused) {
		return nil // a damaged answer whose CRC was right
	}
	return err
}

// send puts a message on the link, with what may happen to it there.
func (r *run) send(message []byte, arrives time.Duration, toDevice bool) {
	r.result.Air += uint64(len(message) + r.link.Overhead)
	if r.link.UART {
		r.frame = chunk.AppendUART(r.frame[:0], message)
	} else {
		r.frame = chunk.AppendATT(r.frame[:0], message)
	}
	slot := r.link.airtime(len(message))
	copies := 1
	if r.random.hits(r.loss.Duplicate) {
		copies = 2
	}
	for i := range copies {
		if r.random.hits(r.loss.Drop) {
			continue
		}
		at := arrives + time.Duration(i)*slot
		if r.random.hits(r.loss.Reorder) {
			at += time.Duration(1+r.random.below(4)) * slot
		}
		var frame []byte
		if n := len(r.free); n > 0 {
			frame, r.free = r.free[n-1], r.free[:n-1]
		}
		frame = append(frame[:0], r.frame...)
		if r.random.hits(r.loss.Corrupt) {
			r.corrupt(frame)
		}
		r.enqueue(flight{at, toDevice, frame})
	}
}

// corrupt changes one bit, or one to four bytes.
func (r *run) corrupt(frame []byte) {
	before := slices.Clone(frame)
	if r.random.below(2) == 0 {
		frame[r.random.below(len(frame))] ^= 1 << r.random.below(8)
	} else {
		for range 1 + r.random.below(4) {
			frame[r.random.below(len(frame))] = byte(r.random.next())
		}
	}
	if n := len(frame) - 2; r.forge {
		copy(frame, chunk.AppendATT(nil, frame[:n]))
	}
	if _, err := chunk.OpenATT(frame); !r.link.UART && err == nil && !slices.Equal(before, frame) {
		r.result.Undetected++
	}
}

// enqueue keeps the queue in the order of arrival; nearly always the new frame
// is the last.
func (r *run) enqueue(f flight) {
	i := len(r.queue)
	for i > 0 && r.queue[i-1].at > f.at {
		i--
	}
	r.queue = slices.Insert(r.queue, i, f)
}

// open takes a message out of its frame.
func (r *run) open(frame []byte) ([]byte, bool) {
	if !r.link.UART {
		message, err := chunk.OpenATT(frame)
		return message, err == nil
	}
	var found []byte
	for _, b := range frame {
		if m := r.reader.Read(b); m != nil {
			found = append(found[:0], m...)
		}
	}
	r.reader.Reset() // the line is silent after a frame
	return found, found != nil
}

func (r *run) deviceReceives(frame []byte) error {
	message, ok := r.open(frame)
	r.answer = r.answer[:0]
	switch {
	case ok:
		var err error
		if r.answer, err = r.receiver.Handle(message, r.answer); errors.Is(err, errPower) {
			return r.powerLoss()
		} else if err != nil {
			return err
		}
	case !r.link.UART:
		r.answer = r.receiver.Damaged(r.answer)
	}
	if len(r.answer) > 0 {
		r.result.Answers++
		r.back = max(r.back, r.now) + r.link.airtime(len(r.answer))
		r.send(r.answer, r.back+r.link.Latency, false)
	}
	return nil
}

// mishap lets happen what goes by time, here the time of one frame.
func (r *run) mishap(slot time.Duration) error {
	within := func(mean time.Duration) bool {
		return mean > 0 && r.random.hits(float64(slot)/float64(mean))
	}
	if within(r.loss.Disconnect) {
		r.result.Disconnects++
		r.drop(afterDisconnect)
	}
	if within(r.loss.Restart) {
		r.result.Restarts++
		r.drop(afterRestart)
		r.count()
		if err := r.launch(); err != nil {
			return err
		}
	}
	if within(r.loss.PowerLoss) {
		switch when := operation(r.random.below(3)); when {
		case noCut: // between two operations
			return r.powerLoss()
		case cutWrite, cutCursor:
			r.flash.cut = when
		}
	}
	return nil
}

// powerLoss restarts the device from what it has stored.
func (r *run) powerLoss() error {
	r.result.PowerLosses++
	r.flash.cut = noCut
	r.drop(afterPowerLoss)
	return r.boot()
}

// Runs simulates n transfers, with seeds that follow from one. It stops at the
// first error.
func (s *Simulator) Runs(ctx context.Context, n int, seed uint64) ([]Result, error) {
	seeds := random(seed)
	results := make([]Result, n)
	for i := range results {
		var err error
		if results[i], err = s.Run(ctx, seeds.next()); err != nil {
			return nil, err
		}
	}
	return results, nil
}
