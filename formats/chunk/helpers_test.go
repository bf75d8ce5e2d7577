package chunk

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// object is so many bytes that do not repeat soon.
func object(size int) []byte {
	data := make([]byte, size)
	for i, x := 0, uint32(1); i < size; i++ {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		data[i] = byte(x >> 24)
	}
	return data
}

func session(t testing.TB, data []byte) Session {
	t.Helper()
	s, err := SessionOf(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const timeout = time.Second

func newSender(t testing.TB, data []byte, chunk int) *Sender {
	t.Helper()
	s, err := NewSender(bytes.NewReader(data), int64(len(data)), session(t, data), SenderOptions{Timeout: timeout, Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Connect(chunk); err != nil {
		t.Fatal(err)
	}
	return s
}

var errPower = errors.New("power is gone")

// memory is a Store in RAM that checks what a receiver promises. Operation number
// cut, counted from 1, is done by half and fails, and so does all after it.
type memory struct {
	t     testing.TB
	bytes []byte
	blank []bool
	slots [2][CursorSize]byte
	saved Cursor // last
	ops   int
	cut   int
}

func newMemory(t testing.TB, size int) *memory {
	m := &memory{t: t, bytes: make([]byte, size), blank: make([]bool, size)}
	for i := range m.blank {
		m.blank[i] = true
	}
	return m
}

// step says how many of n bytes an operation does.
func (m *memory) step(n int) (int, error) {
	m.ops++
	switch {
	case m.cut == 0 || m.ops < m.cut:
		return n, nil
	case m.ops == m.cut:
		return n / 2, errPower
	}
	return 0, errPower
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.bytes).ReadAt(p, off)
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	n, err := m.step(len(p))
	for i, b := range p[:n] {
		if !m.blank[int(off)+i] {
			m.t.Errorf("byte %d is written twice", int(off)+i)
		}
		m.blank[int(off)+i], m.bytes[int(off)+i] = false, b
	}
	return n, err
}

func (m *memory) Erase(from int64) error {
	if from%checkpoint != 0 {
		m.t.Errorf("erased from %d", from)
	}
	n, err := m.step(len(m.bytes) - int(from))
	for i := range n {
		m.blank[int(from)+i], m.bytes[int(from)+i] = true, 0xff
	}
	return err
}

func (m *memory) ReadCursor(slot int) ([CursorSize]byte, error) { return m.slots[slot], nil }

func (m *memory) WriteCursor(slot int, cursor [CursorSize]byte) error {
	c, err := ParseCursor(cursor)
	if err != nil {
		m.t.Error(err)
	}
	for i, blank := range m.blank[:c.Offset] {
		if blank {
			m.t.Errorf("the cursor says %d, byte %d is blank", c.Offset, i)
			break
		}
	}
	n, err := m.step(CursorSize)
	if n > 0 {
		m.slots[slot] = [CursorSize]byte{}
	}
	copy(m.slots[slot][:n], cursor[:])
	if err == nil {
		m.saved = c
	}
	return err
}

const checkpoint = 256

func newReceiver(t testing.TB, store Store, capacity int) *Receiver {
	t.Helper()
	r, err := NewReceiver(store, ReceiverOptions{Capacity: int64(capacity), Checkpoint: checkpoint})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// exchange passes messages to and fro on a link that lose decides about, until
// the sender is done or has given up. It returns the time that went by.
func exchange(s *Sender, r *Receiver, lose func(message []byte) bool) (time.Duration, error) {
	var now time.Duration
	var out, answer []byte
	for !s.Done() {
		var err error
		if out, err = s.Message(now, out[:0]); err != nil {
			return now, err
		}
		if len(out) == 0 {
			now = max(now, s.Deadline())
			continue
		}
		now += time.Millisecond
		if lose(out) {
			continue
		}
		if answer, err = r.Handle(out, answer[:0]); err != nil {
			return now, err
		}
		if len(answer) > 0 && !lose(answer) {
			if err := s.Handle(now, answer); err != nil {
				return now, err
			}
		}
	}
	return now, nil
}

func nothing([]byte) bool { return false }
