package chunk

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
)

// Store is the memory of a receiver: room for one object, and two slots for
// cursors. Writes come in order; a device may gather them into write units, but
// WriteCursor returns only when all that was written before it is stored for
// good. A receiver stops at the first error.
type Store interface {
	// ReadAt and WriteAt are for the object's bytes. A byte is written once after
	// it was erased.
	io.ReaderAt
	io.WriterAt
	// Erase makes everything from an offset on writable. The offset is 0 or a
	// multiple of ReceiverOptions.Checkpoint.
	Erase(from int64) error
	// ReadCursor and WriteCursor are for slots 0 and 1. A slot that was never
	// written may hold anything that is no cursor.
	ReadCursor(slot int) ([CursorSize]byte, error)
	WriteCursor(slot int, cursor [CursorSize]byte) error
}

// ReceiverOptions describe a device.
type ReceiverOptions struct {
	Capacity int64 // room for an object in bytes
	// Checkpoint is how many bytes lie between two saved cursors: what may have to
	// be sent again after a loss of power. A multiple of the erase unit.
	Checkpoint int64
}

// Receiver receives objects, one at a time, into a Store.
type Receiver struct {
	store   Store
	options ReceiverOptions

	saved Cursor
	slot  int  // that the next cursor goes to
	dirty bool // what lies behind the cursor may be half written

	offset uint32 // bytes stored, saved or not
	ready  bool   // an object was announced on this connection

	chunk, count, every uint32
	next                uint32 // chunk that has to follow
	unacknowledged      uint32
	refused             bool   // something, since the last progress
	refusedAt           uint32 // index of it; what was sent after it needs no answer
	complete            bool   // digest checked
}

// NewReceiver makes a receiver that goes on from the cursors in the store.
func NewReceiver(store Store, o ReceiverOptions) (*Receiver, error) {
	if o.Capacity < 1 || o.Checkpoint < 1 || o.Checkpoint > MaxSize {
		return nil, fmt.Errorf("chunk: capacity %d, checkpoint %d: %w", o.Capacity, o.Checkpoint, ErrOptions)
	}
	r := &Receiver{store: store, options: o, dirty: true}
	found := false
	for slot := range 2 {
		data, err := store.ReadCursor(slot)
		if err != nil {
			return nil, fmt.Errorf("chunk: cursor: %w", err)
		}
		c, err := ParseCursor(data)
		if err != nil || int64(c.Size) > o.Capacity || int64(c.Offset)%o.Checkpoint != 0 && c.Offset != c.Size {
			continue // never written, torn, or of a device with other options
		}
		if !found || c.newer(r.saved) {
			r.saved, r.slot, found = c, 1-slot, true
		}
	}
	r.offset = r.saved.Offset
	return r, nil
}

// Disconnect tells that the connection is gone: the next one begins with Begin.
func (r *Receiver) Disconnect() { r.ready, r.refused = false, false }

// Complete reports whether the store holds the whole object, with the digest
// that the sender announced.
func (r *Receiver) Complete() bool { return r.complete }

// Cursor returns what was saved last. A zero Size means nothing.
func (r *Receiver) Cursor() Cursor { return r.saved }

// Damaged is for a frame that is damaged beyond reading. Like Handle it appends
// the answer to dst, if there is one.
func (r *Receiver) Damaged(dst []byte) []byte { return r.refuse(dst, RefusedChecksum, r.next) }

// Handle takes a message of the sender and appends the answer to dst, which
// stays as it is where none is due. Errors come from the store; a device then
// starts again with NewReceiver.
func (r *Receiver) Handle(message, dst []byte) ([]byte, error) {
	m, err := Parse(message)
	switch {
	case err != nil:
		//lint:ignore nilerr what the sender did wrong is told to the sender
		return r.refuse(dst, RefusedMessage, r.next), nil
	case m.Kind == Begin:
		return r.begin(m, dst)
	case m.Kind == Data && !r.ready:
		return r.refuse(dst, RefusedSession, m.Index), nil
	case m.Kind == Data:
		return r.data(m, dst)
	}
	return dst, nil // an answer, of which a receiver gets none
}

func (r *Receiver) begin(m Message, dst []byte) ([]byte, error) {
	if int64(m.Size) > r.options.Capacity {
		return Message{Kind: Nack, Session: m.Session, Refusal: RefusedSize}.Append(dst), nil
	}
	if r.saved.Session != m.Session || r.saved.Size != m.Size {
		if err := r.reset(m.Session, m.Size); err != nil {
			return dst, err
		}
	}
	if r.dirty {
		if r.offset < r.saved.Size {
			if err := r.store.Erase(int64(r.offset)); err != nil {
				return dst, fmt.Errorf("chunk: erase: %w", err)
			}
		}
		r.dirty = false
	}
	r.chunk, r.every = uint32(m.Chunk), uint32(m.Every)
	r.count = chunks(m.Size, r.chunk)
	r.next = r.offset / r.chunk // the first chunk may be there in part
	if r.offset == m.Size {
		r.next = r.count
	}
	r.ready, r.refused, r.unacknowledged = true, false, 0
	if r.next == r.count {
		return r.finish(dst)
	}
	return r.acknowledge(dst), nil
}

func (r *Receiver) data(m Message, dst []byte) ([]byte, error) {
	switch {
	case m.Index < r.next && m.Index != r.next-1:
		return dst, nil
	case m.Index < r.next: // the acknowledgement was lost
		return r.acknowledge(dst), nil
	case m.Index != r.next || r.next == r.count:
		return r.refuse(dst, RefusedOrder, m.Index), nil
	}
	from := r.next * r.chunk
	if len(m.Payload) != int(min(r.chunk, r.saved.Size-from)) {
		return r.refuse(dst, RefusedLength, m.Index), nil
	}
	fresh := m.Payload[r.offset-from:]
	if _, err := r.store.WriteAt(fresh, int64(r.offset)); err != nil {
		return dst, fmt.Errorf("chunk: write: %w", err)
	}
	r.offset += uint32(len(fresh))
	r.next++
	r.refused = false
	r.unacknowledged++
	checkpoint := r.offset - r.offset%uint32(r.options.Checkpoint)
	if r.next == r.count {
		checkpoint = r.offset
	}
	if checkpoint > r.saved.Offset {
		if err := r.save(r.saved.Session, r.saved.Size, checkpoint); err != nil {
			return dst, err
		}
	}
	switch {
	case r.next == r.count:
		return r.finish(dst)
	case r.unacknowledged >= r.every:
		return r.acknowledge(dst), nil
	}
	return dst, nil
}

// finish says that all is done when the object is what it should be, and begins
// anew when it is not.
func (r *Receiver) finish(dst []byte) ([]byte, error) {
	if !r.complete {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(r.store, 0, int64(r.saved.Size))); err != nil {
			return dst, fmt.Errorf("chunk: read: %w", err)
		}
		if subtle.ConstantTimeCompare(h.Sum(nil)[:len(Session{})], r.saved.Session[:]) != 1 {
			if err := r.reset(r.saved.Session, r.saved.Size); err != nil {
				return dst, err
			}
			return r.refuse(dst, RefusedDigest, r.count), nil
		}
		r.complete = true
	}
	return r.acknowledge(dst), nil
}

// reset begins an object. The cursor comes first: after a loss of power between
// the two, nothing must seem to be stored that is erased.
func (r *Receiver) reset(session Session, size uint32) error {
	if err := r.save(session, size, 0); err != nil {
		return err
	}
	if err := r.store.Erase(0); err != nil {
		return fmt.Errorf("chunk: erase: %w", err)
	}
	r.dirty, r.complete, r.refused = false, false, false
	r.offset, r.next = 0, 0
	return nil
}

func (r *Receiver) save(session Session, size, offset uint32) error {
	c := Cursor{Session: session, Size: size, Offset: offset, Generation: r.saved.Generation + 1}
	if err := r.store.WriteCursor(r.slot, c.Encode()); err != nil {
		return fmt.Errorf("chunk: cursor: %w", err)
	}
	r.saved, r.slot = c, 1-r.slot
	return nil
}

func (r *Receiver) acknowledge(dst []byte) []byte {
	r.unacknowledged = 0
	if r.complete {
		return Message{Kind: Done, Session: r.saved.Session, Size: r.saved.Size}.Append(dst)
	}
	return Message{Kind: Ack, Session: r.saved.Session, Index: r.next}.Append(dst)
}

// refuse answers once for everything that is under way: what has a higher index
// was sent before the sender could know. A lower one comes from a sender that
// went back and has not heard the answer.
func (r *Receiver) refuse(dst []byte, why Refusal, at uint32) []byte {
	if r.refused && at >= r.refusedAt {
		return dst
	}
	r.refused, r.refusedAt = true, at
	m := Message{Kind: Nack, Session: r.saved.Session, Refusal: why}
	if r.ready {
		m.Index = r.next
	}
	return m.Append(dst)
}
