package chunk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/otapack/otapack/sign/verdict"
)

func check(t *testing.T, r *Receiver, m *memory, want []byte) {
	t.Helper()
	if !r.Complete() || !bytes.Equal(m.bytes[:len(want)], want) {
		t.Errorf("complete %v, or other bytes", r.Complete())
	}
	if c := r.Cursor(); int(c.Offset) != len(want) || c.Session != session(t, want) {
		t.Errorf("cursor %+v", c)
	}
}

// Every length of object and chunk at an edge arrives, each chunk sent once.
func TestTransfer(t *testing.T) {
	for _, size := range []int{1, MinChunk - 1, MinChunk, MinChunk + 1, MaxChunk, 4 * checkpoint, 5000} {
		for _, chunk := range []int{MinChunk, 100, MaxChunk} {
			data := object(size)
			s, m := newSender(t, data, chunk), newMemory(t, size)
			r := newReceiver(t, m, size)
			if _, err := exchange(s, r, nothing); err != nil {
				t.Fatalf("%d bytes in chunks of %d: %v", size, chunk, err)
			}
			check(t, r, m, data)
			count := uint64((size + chunk - 1) / chunk)
			if got := s.Stats(); got != (SenderStats{Messages: count + 1, Chunks: count}) {
				t.Errorf("%d bytes in chunks of %d: %+v", size, chunk, got)
			}
			// Once more: the receiver has it, and looks before it says so.
			again := newSender(t, data, chunk)
			if _, err := exchange(again, newReceiver(t, m, size), nothing); err != nil || again.Stats().Chunks != 0 {
				t.Errorf("again: %+v, %v", again.Stats(), err)
			}
		}
	}
}

// Each message of a transfer, and each pair of neighbours, may be lost.
func TestLoss(t *testing.T) {
	data := object(2000)
	for lost := range 60 {
		s, m := newSender(t, data, 100), newMemory(t, len(data))
		r := newReceiver(t, m, len(data))
		n := 0
		took, err := exchange(s, r, func([]byte) bool { n++; return n/2 == lost/2 || n == lost })
		if err != nil {
			t.Fatalf("message %d: %v", lost, err)
		}
		check(t, r, m, data)
		if took > 3*timeout {
			t.Errorf("message %d: %v", lost, took)
		}
	}
}

// A message that never comes through is sent four times, and then the connection
// is given up. The next one goes on where this one ended.
func TestRetries(t *testing.T) {
	data := object(2000)
	for index, want := range map[uint32]int{
		0: 1 + Retries,
		7: 1 + Retries,
		// With the first repetition the receiver says that it has chunk 18, which is
		// progress.
		19: 2 + Retries,
	} {
		s, m := newSender(t, data, 100), newMemory(t, len(data))
		r := newReceiver(t, m, len(data))
		times := 0
		_, err := exchange(s, r, func(b []byte) bool {
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			hit := got.Kind == Data && got.Index == index
			if hit {
				times++
			}
			return hit
		})
		if !errors.Is(err, ErrNoProgress) || times != want || r.Complete() {
			t.Errorf("chunk %d: sent %d times, %v", index, times, err)
		}
		r.Disconnect()
		if err := s.Connect(MinChunk); err != nil { // another MTU
			t.Fatal(err)
		}
		before := s.Stats().Chunks
		if _, err := exchange(s, r, nothing); err != nil {
			t.Error(err)
		}
		check(t, r, m, data)
		if got, want := s.Stats().Chunks-before, uint64((len(data)-int(index)*100)/MinChunk+1); got > want+1 {
			t.Errorf("from chunk %d: %d chunks, want %d", index, got, want)
		}
	}
	s := newSender(t, data, 100)
	_, err := exchange(s, newReceiver(t, newMemory(t, 2000), 2000), func([]byte) bool { return true })
	if !errors.Is(err, ErrNoProgress) || s.Stats().Messages != 1+Retries {
		t.Errorf("nobody there: %+v, %v", s.Stats(), err)
	}
}

// Power is cut in every operation of a transfer: each byte that counts as stored
// is, and the transfer goes on from the last cursor.
func TestPowerLoss(t *testing.T) {
	data, old := object(2000), object(1500)
	whole := func(cut int) *memory {
		m := newMemory(t, len(data))
		if _, err := exchange(newSender(t, old, 100), newReceiver(t, m, len(data)), nothing); err != nil {
			t.Fatal(err)
		}
		m.ops, m.cut = 0, cut
		return m
	}
	m := whole(0)
	if _, err := exchange(newSender(t, data, 100), newReceiver(t, m, len(data)), nothing); err != nil {
		t.Fatal(err)
	}
	total := m.ops
	for cut := 1; cut <= total; cut++ {
		m := whole(cut)
		s := newSender(t, data, 100)
		if _, err := exchange(s, newReceiver(t, m, len(data)), nothing); !errors.Is(err, errPower) {
			t.Fatalf("operation %d: %v", cut, err)
		}
		m.cut = 0
		r := newReceiver(t, m, len(data))
		from := r.Cursor()
		if from != m.saved {
			t.Fatalf("operation %d: cursor %+v, saved was %+v", cut, from, m.saved)
		}
		if from.Session == session(t, data) {
			for i := range from.Offset {
				if m.blank[i] || m.bytes[i] != data[i] {
					t.Fatalf("operation %d: the cursor says %d, byte %d is not there", cut, from.Offset, i)
				}
			}
		} else if from.Offset != uint32(len(old)) || !bytes.Equal(m.bytes[:len(old)], old) {
			t.Fatalf("operation %d: the cursor says %d of what was there before", cut, from.Offset)
		}
		if err := s.Connect(73); err != nil {
			t.Fatal(err)
		}
		if _, err := exchange(s, r, nothing); err != nil {
			t.Fatalf("operation %d: %v", cut, err)
		}
		check(t, r, m, data)
	}
	if total < 30 {
		t.Errorf("only %d operations", total)
	}
}

// The phone comes back with another release: nothing of the first one stays.
func TestChangedObject(t *testing.T) {
	first, second := object(2000), object(3000)[1000:]
	m := newMemory(t, 2000)
	r := newReceiver(t, m, 2000)
	n := 0
	if _, err := exchange(newSender(t, first, 100), r, func([]byte) bool { n++; return n > 15 }); !errors.Is(err, ErrNoProgress) {
		t.Fatal(err)
	}
	if r.Cursor().Offset == 0 {
		t.Fatal("nothing was stored")
	}
	r.Disconnect()
	if _, err := exchange(newSender(t, second, 100), r, nothing); err != nil {
		t.Fatal(err)
	}
	check(t, r, m, second)
}

// A chunk that was changed behind the CRC's back is found in the end, and the
// object is sent again; if it never arrives, that is said.
func TestWrongDigest(t *testing.T) {
	data := object(1000)
	for _, changed := range []int{1, 2, 3} {
		s, m := newSender(t, data, 100), newMemory(t, len(data))
		r := newReceiver(t, m, len(data))
		times := 0
		_, err := exchange(s, r, func(b []byte) bool {
			if got, err := Parse(b); err == nil && got.Kind == Data && got.Index == 3 && times < changed {
				got.Payload[0] ^= 1
				times++
			}
			return false
		})
		switch {
		case changed <= maxRestarts && err != nil:
			t.Errorf("changed %d times: %v", changed, err)
		case changed <= maxRestarts:
			check(t, r, m, data)
		case !errors.Is(err, ErrRefused) || verdict.Of(err) != verdict.ChunkDigest || r.Complete():
			t.Errorf("changed %d times: complete %v, %v", changed, r.Complete(), err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	s := newSender(t, object(1001), 100)
	_, err := exchange(s, newReceiver(t, newMemory(t, 1000), 1000), nothing)
	if !errors.Is(err, ErrRefused) || verdict.Of(err) != verdict.ChunkSize {
		t.Error(err)
	}
	if out, err := s.Message(time.Hour, nil); len(out) > 0 || err != nil {
		t.Errorf("goes on with % x, %v", out, err)
	}
}

// TestReceiver plays what a receiver gets against what it answers.
func TestReceiver(t *testing.T) {
	data := object(250)
	id := session(t, data)
	begin := Message{Kind: Begin, Session: id, Size: 250, Chunk: 100, Every: 2}
	chunk := func(i int) Message {
		return Message{Kind: Data, Index: uint32(i), Payload: data[100*i : min(100*i+100, 250)]}
	}
	ack := func(i uint32) string { return fmt.Sprintf("ack %d", i) }
	nack := func(i uint32, why Refusal) string { return fmt.Sprintf("nack %d %s", i, why.Reason()) }
	type step struct {
		message any
		want    string
	}
	const silence, done = "", "done 250"
	for name, steps := range map[string][]step{
		"in order":          {{begin, ack(0)}, {chunk(0), silence}, {chunk(1), ack(2)}, {chunk(2), done}, {chunk(2), done}, {begin, done}, {"disconnect", silence}, {begin, done}},
		"nothing announced": {{chunk(0), nack(0, RefusedSession)}, {chunk(1), silence}, {chunk(0), silence}, {begin, ack(0)}, {chunk(0), silence}},
		"repeated":          {{begin, ack(0)}, {begin, ack(0)}, {chunk(0), silence}, {begin, ack(1)}, {chunk(0), ack(1)}, {chunk(1), silence}, {chunk(0), silence}},
		"gap":               {{begin, ack(0)}, {chunk(1), nack(0, RefusedOrder)}, {chunk(2), silence}, {chunk(1), silence}, {chunk(0), silence}, {chunk(2), nack(1, RefusedOrder)}},
		"gap twice":         {{begin, ack(0)}, {chunk(2), nack(0, RefusedOrder)}, {chunk(1), nack(0, RefusedOrder)}, {chunk(2), silence}},
		"behind the end":    {{begin, ack(0)}, {Message{Kind: Data, Index: 3, Payload: data[:100]}, nack(0, RefusedOrder)}},
		"after the end": {{begin, ack(0)}, {chunk(0), silence}, {chunk(1), ack(2)}, {chunk(2), done},
			{Message{Kind: Data, Index: 3, Payload: data[:100]}, nack(3, RefusedOrder)}},
		"short":           {{begin, ack(0)}, {Message{Kind: Data, Payload: data[:99]}, nack(0, RefusedLength)}, {chunk(0), silence}},
		"long at the end": {{begin, ack(0)}, {chunk(0), silence}, {chunk(1), ack(2)}, {Message{Kind: Data, Index: 2, Payload: data[:100]}, nack(2, RefusedLength)}},
		"damaged":         {{begin, ack(0)}, {chunk(0), silence}, {"damaged", nack(1, RefusedChecksum)}, {chunk(2), silence}, {"damaged", silence}, {chunk(1), ack(2)}},
		"no message":      {{begin, ack(0)}, {[]byte{1, 2}, nack(0, RefusedMessage)}},
		"an answer":       {{begin, ack(0)}, {Message{Kind: Ack, Session: id}, silence}, {Message{Kind: Nack, Session: id, Refusal: RefusedOrder}, silence}},
		"disconnected":    {{begin, ack(0)}, {chunk(0), silence}, {"disconnect", silence}, {chunk(1), nack(0, RefusedSession)}, {begin, ack(1)}},
		"too large":       {{Message{Kind: Begin, Session: id, Size: 301, Chunk: 100, Every: 1}, nack(0, RefusedSize)}, {chunk(0), nack(0, RefusedSession)}},
		"every one":       {{Message{Kind: Begin, Session: id, Size: 250, Chunk: 100, Every: 1}, ack(0)}, {chunk(0), ack(1)}, {chunk(1), ack(2)}},
		"other chunks": {{begin, ack(0)}, {chunk(0), silence}, {Message{Kind: Begin, Session: id, Size: 250, Chunk: 60, Every: 1}, ack(1)},
			{Message{Kind: Data, Index: 1, Payload: data[60:120]}, ack(2)}},
	} {
		r := newReceiver(t, newMemory(t, 300), 300)
		for i, s := range steps {
			var answer []byte
			var err error
			switch m := s.message.(type) {
			case Message:
				answer, err = r.Handle(m.Append(nil), nil)
			case []byte:
				answer, err = r.Handle(m, nil)
			case string:
				if m == "damaged" {
					answer = r.Damaged(nil)
				} else {
					r.Disconnect()
				}
			}
			got := silence
			if len(answer) > 0 {
				a, err := Parse(answer)
				if err != nil {
					t.Fatal(err)
				}
				switch a.Kind {
				case Ack:
					got = ack(a.Index)
				case Nack:
					got = nack(a.Index, a.Refusal)
				case Done:
					got = fmt.Sprintf("done %d", a.Size)
				case Data, Begin:
					got = "a message of the sender"
				}
			}
			if err != nil || got != s.want {
				t.Errorf("%s: step %d: got %q, %v, want %q", name, i, got, err, s.want)
			}
		}
	}
}

// TestSenderIgnores gives a sender answers that it must not act on.
func TestSenderIgnores(t *testing.T) {
	data := object(2000)
	id := session(t, data)
	s := newSender(t, data, 100)
	say := func(want Kind, index uint32) {
		t.Helper()
		out, err := s.Message(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := Parse(out); err != nil || m.Kind != want || m.Index != index {
			t.Fatalf("says %+v, %v, want kind %d, index %d", m, err, want, index)
		}
	}
	hear := func(m Message, want verdict.Reason) {
		t.Helper()
		if err := s.Handle(0, m.Append(nil)); verdict.Of(err) != want || err != nil && want == "" {
			t.Fatalf("%+v: %v, want %q", m, err, want)
		}
	}
	hear(Message{Kind: Ack, Session: id, Index: 20}, "") // before it said anything
	say(Begin, 0)
	hear(Message{Kind: Ack, Session: Session{1}, Index: 20}, "")
	hear(Message{Kind: Nack, Session: id, Refusal: RefusedOrder}, "")
	hear(Message{Kind: Ack, Session: id, Index: 20}, verdict.ChunkOrder) // that would be done
	hear(Message{Kind: Done, Session: id, Size: 1999}, "")
	hear(Message{Kind: Ack, Session: id, Index: 5}, "")
	say(Data, 5)
	say(Data, 6)
	hear(Message{Kind: Ack, Session: id, Index: 8}, verdict.ChunkOrder) // was not sent
	hear(Message{Kind: Ack, Session: id, Index: 20}, verdict.ChunkOrder)
	hear(Message{Kind: Ack, Session: id, Index: 4}, "") // late
	hear(Message{Kind: Nack, Session: id, Index: 4, Refusal: RefusedOrder}, "")
	hear(Message{Kind: Data, Payload: data[:5]}, verdict.ChunkMessage)
	hear(Message{Kind: Begin, Session: id, Size: 2000, Chunk: 100, Every: 1}, verdict.ChunkMessage)
	say(Data, 7)
	hear(Message{Kind: Nack, Session: id, Index: 6, Refusal: RefusedChecksum}, "")
	say(Data, 6)
	hear(Message{Kind: Nack, Session: Session{}, Refusal: RefusedSession}, "") // the device has restarted
	say(Begin, 0)
	hear(Message{Kind: Ack, Session: id, Index: 2}, "")
	say(Data, 2)
	for range 3 {
		say(Data, s.next) // up to the window
	}
	if out, err := s.Message(0, nil); len(out) > 0 || err != nil {
		t.Errorf("beyond the window: % x, %v", out, err)
	}
	hear(Message{Kind: Ack, Session: id, Index: 6}, "")
	hear(Message{Kind: Done, Session: id, Size: 2000}, "") // most was not sent
	if s.Done() {
		t.Error("done")
	}
}

// A receiver that forgets the announcement every time is given up.
func TestForgetfulReceiver(t *testing.T) {
	data := object(2000)
	s := newSender(t, data, 100)
	var err error
	for turns := 0; err == nil && turns < 100; turns++ {
		out, sendErr := s.Message(0, nil)
		if sendErr != nil {
			t.Fatal(sendErr)
		}
		m, parseErr := Parse(out)
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		answer := Message{Kind: Ack, Session: session(t, data)}
		if m.Kind == Data {
			answer = Message{Kind: Nack, Refusal: RefusedSession}
		}
		err = s.Handle(0, answer.Append(nil))
	}
	if !errors.Is(err, ErrNoProgress) || s.Stats().Chunks != 1+Retries {
		t.Errorf("%+v, %v", s.Stats(), err)
	}
}

func TestOptions(t *testing.T) {
	data := bytes.NewReader(object(100))
	for _, o := range []SenderOptions{{}, {Timeout: -1}, {Timeout: 1, Window: 256}, {Timeout: 1, Window: -1}} {
		if _, err := NewSender(data, 100, Session{}, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, size := range []int64{0, MaxSize + 1} {
		if _, err := NewSender(data, size, Session{}, SenderOptions{Timeout: 1}); !errors.Is(err, ErrOptions) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	s, err := NewSender(data, 101, Session{}, SenderOptions{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []int{MinChunk - 1, MaxChunk + 1} {
		if err := s.Connect(chunk); !errors.Is(err, ErrOptions) {
			t.Errorf("chunks of %d: %v", chunk, err)
		}
	}
	if out, err := s.Message(0, nil); len(out) > 0 || err != nil {
		t.Errorf("not connected, and says % x, %v", out, err)
	}
	// The object is shorter than it was said to be.
	if err := s.Connect(101); err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(s, newReceiver(t, newMemory(t, 101), 101), nothing); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := SessionOf(data, 101); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	for _, o := range []ReceiverOptions{{}, {Capacity: 1}, {Checkpoint: 1}, {Capacity: 1, Checkpoint: MaxSize + 1}} {
		if _, err := NewReceiver(newMemory(t, 1), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// Cursors of a larger room, or with other checkpoints, are none.
	m := newMemory(t, 1000)
	for _, c := range []Cursor{{Size: 1001, Offset: 256}, {Size: 1000, Offset: 255}} {
		m.slots[0] = c.Encode()
		if r := newReceiver(t, m, 1000); r.Cursor() != (Cursor{}) {
			t.Errorf("%+v is taken", c)
		}
	}
}

// No chunk allocates, neither sent nor received.
func TestAllocations(t *testing.T) {
	data := object(1 << 20)
	s, r := newSender(t, data, 238), newReceiver(t, discard{}, len(data))
	var out, answer []byte
	turn := func() {
		var err error
		if out, err = s.Message(0, out[:0]); err == nil {
			answer, err = r.Handle(out, answer[:0])
		}
		if err == nil && len(answer) > 0 {
			err = s.Handle(0, answer)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	turn()
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// discard is a Store that forgets.
type discard struct{}

func (discard) ReadAt(p []byte, _ int64) (int, error)          { return len(p), nil }
func (discard) WriteAt(p []byte, _ int64) (int, error)         { return len(p), nil }
func (discard) Erase(int64) error                              { return nil }
func (discard) ReadCursor(int) (c [CursorSize]byte, err error) { return c, nil }
func (discard) WriteCursor(int, [CursorSize]byte) error        { return nil }
