package chunk

import (
	"bytes"
	"testing"
)

func BenchmarkCRC16(b *testing.B) {
	data := object(MaxATT)
	b.SetBytes(MaxATT)
	for b.Loop() {
		CRC16(data)
	}
}

// BenchmarkSend cuts an object, frames included.
func BenchmarkSend(b *testing.B) {
	data := object(174784) // the radio image of examples/toothbrush
	id := session(b, data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := NewSender(bytes.NewReader(data), int64(len(data)), id, SenderOptions{Timeout: timeout})
		if err == nil {
			err = s.Connect(MaxChunk)
		}
		if err != nil {
			b.Fatal(err)
		}
		var message, frame, answer []byte
		for s.state = senderSends; s.next < s.count; {
			if message, err = s.Message(0, message[:0]); err != nil {
				b.Fatal(err)
			}
			frame = AppendATT(frame[:0], message)
			if s.next == s.count {
				break
			}
			answer = Message{Kind: Ack, Session: id, Index: s.next}.Append(answer[:0])
			if err := s.Handle(0, answer); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkReceive takes the same object, digest included.
func BenchmarkReceive(b *testing.B) {
	data := object(174784)
	id := session(b, data)
	var frames [][]byte
	frames = append(frames, AppendATT(nil, Message{Kind: Begin, Session: id, Size: uint32(len(data)), Chunk: MaxChunk, Every: 8}.Append(nil)))
	for i := 0; i*MaxChunk < len(data); i++ {
		m := Message{Kind: Data, Index: uint32(i), Payload: data[i*MaxChunk : min((i+1)*MaxChunk, len(data))]}
		frames = append(frames, AppendATT(nil, m.Append(nil)))
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	store := &ram{data: make([]byte, len(data))}
	for b.Loop() {
		store.slots = [2][CursorSize]byte{}
		r, err := NewReceiver(store, ReceiverOptions{Capacity: int64(len(data)), Checkpoint: 4096})
		if err != nil {
			b.Fatal(err)
		}
		var answer []byte
		for _, f := range frames {
			message, err := OpenATT(f)
			if err == nil {
				answer, err = r.Handle(message, answer[:0])
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if !r.Complete() {
			b.Fatal("not complete")
		}
	}
}

// ram is a Store without the checks of memory.
type ram struct {
	data  []byte
	slots [2][CursorSize]byte
}

func (m *ram) ReadAt(p []byte, off int64) (int, error)  { return bytes.NewReader(m.data).ReadAt(p, off) }
func (m *ram) WriteAt(p []byte, off int64) (int, error) { return copy(m.data[off:], p), nil }
func (m *ram) Erase(int64) error                        { return nil }

func (m *ram) ReadCursor(slot int) ([CursorSize]byte, error) { return m.slots[slot], nil }

func (m *ram) WriteCursor(slot int, cursor [CursorSize]byte) error {
	m.slots[slot] = cursor
	return nil
}
