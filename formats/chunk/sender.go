package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/otapack/otapack/sign/verdict"
)

// Errors that end a connection or a transfer, to be tested with errors.Is.
var (
	// ErrNoProgress says that a message and its repetitions brought nothing. A
	// new connection may: see Sender.Connect.
	ErrNoProgress = errors.New("no progress after three retries")
	// ErrRefused says that the receiver will not take this object, however often
	// it is sent. A verdict.Error with the reason is wrapped beside it.
	ErrRefused = errors.New("the receiver refuses the object")
	// ErrOptions says that a Sender or Receiver was asked for what there is not.
	ErrOptions = errors.New("unsuitable options")
)

// Retries is how often a message is repeated before the connection is given up.
const Retries = 3

// maxRestarts is how often an object is sent again from its start because it
// did not arrive as what it is.
const maxRestarts = 2

// SenderOptions are a sender's view of the link. The zero value of each field
// but Timeout takes a default.
type SenderOptions struct {
	// Window is how many chunks are under way before the first of them must be
	// acknowledged: 1 to MaxWindow, 0 for 16. The receiver is asked to
	// acknowledge twice in a window.
	Window int
	// Timeout is how long an answer may take after the last message.
	Timeout time.Duration
}

// MaxWindow bounds SenderOptions.Window.
const MaxWindow = 255

// Sender sends one object. Call Connect, then Message until it has nothing to
// say, and Handle with every answer. All times count from any one moment.
type Sender struct {
	object  io.ReaderAt
	session Session
	size    uint32
	options SenderOptions

	chunk uint32 // bytes in a chunk but the last
	count uint32 // of chunks
	state senderState

	base     uint32 // everything before is acknowledged
	next     uint32 // to be sent
	high     uint32 // one above what was ever sent on this connection
	tries    int    // repetitions since the last progress
	deadline time.Duration

	restarts int
	stats    SenderStats
}

type senderState uint8

const (
	senderIdle      senderState = iota // not connected
	senderAnnounces                    // Begin has to be sent
	senderAsks                         // Begin was sent
	senderSends                        // chunks are sent
	senderDone
	senderFailed
)

// SenderStats counts what a sender has sent.
type SenderStats struct {
	Messages uint64 // in all
	Chunks   uint64 // of them Data
	Resent   uint64 // of them chunks that had been sent before on the same connection
}

// NewSender makes a sender of an object of size bytes, whose session SessionOf
// returns.
func NewSender(object io.ReaderAt, size int64, session Session, o SenderOptions) (*Sender, error) {
	if o.Window == 0 {
		o.Window = 16
	}
	switch {
	case size < 1 || size > MaxSize:
		return nil, fmt.Errorf("chunk: object of %d bytes, want 1 to %d: %w", size, int64(MaxSize), ErrOptions)
	case o.Window < 1 || o.Window > MaxWindow:
		return nil, fmt.Errorf("chunk: window of %d chunks, want 1 to %d: %w", o.Window, MaxWindow, ErrOptions)
	case o.Timeout <= 0:
		return nil, fmt.Errorf("chunk: timeout %v: %w", o.Timeout, ErrOptions)
	}
	return &Sender{object: object, session: session, size: uint32(size), options: o}, nil
}

// Connect begins on a new connection with chunks of so many bytes, MinChunk to
// MaxChunk: the receiver will say where to go on.
func (s *Sender) Connect(chunk int) error {
	if chunk < MinChunk || chunk > MaxChunk {
		return fmt.Errorf("chunk: chunks of %d bytes, want %d to %d: %w", chunk, MinChunk, MaxChunk, ErrOptions)
	}
	s.chunk = uint32(chunk)
	s.count = chunks(s.size, s.chunk)
	s.state, s.tries = senderAnnounces, 0
	s.base, s.next, s.high = 0, 0, 0 // counted in other chunks, perhaps
	return nil
}

// chunks is how many chunks an object has.
func chunks(size, chunk uint32) uint32 {
	return uint32((uint64(size) + uint64(chunk) - 1) / uint64(chunk))
}

// Done reports whether the receiver has the object.
func (s *Sender) Done() bool { return s.state == senderDone }

// Stats returns what was sent so far.
func (s *Sender) Stats() SenderStats { return s.stats }

// Deadline is when Message has something to say even if no answer comes. It
// counts while an answer is awaited.
func (s *Sender) Deadline() time.Duration { return s.deadline }

// Message appends the next message to dst, which stays as it is when there is
// nothing to be sent before the next answer or Deadline. An error wraps
// ErrNoProgress or ErrRefused, or comes from the object.
func (s *Sender) Message(now time.Duration, dst []byte) ([]byte, error) {
	switch s.state {
	case senderIdle, senderDone, senderFailed:
		return dst, nil
	case senderAsks:
		if now < s.deadline {
			return dst, nil
		}
		if err := s.retry(); err != nil {
			return dst, err
		}
		fallthrough
	case senderAnnounces:
		s.state, s.deadline = senderAsks, now+s.options.Timeout
		s.stats.Messages++
		every := max(1, s.options.Window/2)
		return Message{Kind: Begin, Session: s.session, Size: s.size, Chunk: uint8(s.chunk), Every: uint8(every)}.Append(dst), nil
	case senderSends:
	}
	if s.base < s.next && now >= s.deadline {
		if err := s.retry(); err != nil {
			return dst, err
		}
		s.next = s.base
	}
	if s.next == s.count || s.next-s.base >= uint32(s.options.Window) {
		return dst, nil
	}
	return s.data(now, dst)
}

func (s *Sender) data(now time.Duration, dst []byte) ([]byte, error) {
	from := s.next * s.chunk
	n := int(min(s.chunk, s.size-from))
	message := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, s.next)
	payload := len(dst)
	dst = slices.Grow(dst, n)[:payload+n]
	if got, err := s.object.ReadAt(dst[payload:], int64(from)); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return dst[:message], fmt.Errorf("chunk: object: %w", err)
	}
	s.stats.Messages++
	s.stats.Chunks++
	if s.next < s.high {
		s.stats.Resent++
	}
	s.next++
	s.high = max(s.high, s.next)
	s.deadline = now + s.options.Timeout
	return dst, nil
}

// retry counts a repetition.
func (s *Sender) retry() error {
	if s.tries == Retries {
		s.state = senderIdle
		return fmt.Errorf("chunk: session %s: chunk %d of %d: %w", s.session, s.base, s.count, ErrNoProgress)
	}
	s.tries++
	return nil
}

// Handle takes an answer of the receiver. What belongs to another session or to
// an earlier moment is ignored. An error wraps ErrNoProgress or ErrRefused, or is
// a *verdict.Error: the answer was none, and the connection can go on.
func (s *Sender) Handle(now time.Duration, message []byte) error {
	m, err := Parse(message)
	if err != nil {
		return err
	}
	waiting := s.state == senderAsks || s.state == senderSends
	switch {
	case m.Kind == Data || m.Kind == Begin:
		return verdict.New(verdict.ChunkMessage, "chunk answer", "not an answer")
	case !waiting:
		return nil
	case m.Kind == Nack && (m.Refusal == RefusedSession || s.state == senderAsks && m.Refusal <= RefusedMessage):
		// The receiver has restarted, or the announcement was lost.
		s.state = senderAnnounces
		return s.retry()
	case m.Session != s.session:
		return nil
	case m.Kind == Nack && m.Refusal == RefusedSize:
		s.state = senderFailed
		return fmt.Errorf("chunk: session %s: %w: %w", s.session, ErrRefused, verdict.New(verdict.ChunkSize, "chunk answer", "no room for %d bytes", s.size))
	case m.Kind == Nack && m.Refusal == RefusedDigest:
		return s.restart()
	case m.Kind == Done:
		// Not one that damage has made of something else: it comes as the answer to
		// Begin or to the last chunk.
		if m.Size == s.size && (s.state == senderAsks || s.high == s.count) {
			s.state = senderDone
		}
		return nil
	case m.Index >= s.count, s.state == senderSends && m.Index > s.high:
		return verdict.New(verdict.ChunkOrder, "chunk answer", "asks for chunk %d, sent were %d of %d", m.Index, s.high, s.count)
	case s.state == senderAsks:
		if m.Kind == Nack {
			return nil // it is about a message before this announcement
		}
		if m.Index > s.base { // else a receiver that restarts again and again would be tried for ever
			s.tries = 0
		}
		s.state, s.base, s.next, s.high = senderSends, m.Index, m.Index, m.Index
	case m.Index < s.base:
		return nil
	case m.Index > s.base:
		s.base, s.next, s.tries = m.Index, max(s.next, m.Index), 0
		s.deadline = now + s.options.Timeout
		if m.Kind == Nack && s.base < s.high {
			s.next, s.tries = s.base, 1
		}
	case m.Kind == Nack:
		s.next = s.base
		return s.retry()
	}
	return nil
}

// restart announces the object again, for all of it to be sent: the CRC of a
// frame misses one accident in 65536, perhaps in the announcement, or the
// receiver's memory is not what it was.
func (s *Sender) restart() error {
	if s.restarts == maxRestarts {
		s.state = senderFailed
		return fmt.Errorf("chunk: session %s: %w: %w", s.session, ErrRefused, verdict.New(verdict.ChunkDigest, "chunk answer", "arrived with another digest %d times", maxRestarts+1))
	}
	s.restarts++
	s.state, s.tries = senderAnnounces, 0
	return nil
}
