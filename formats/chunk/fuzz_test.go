package chunk

import (
	"bytes"
	"testing"
)

// FuzzParse: what is accepted is encoded as the same bytes.
func FuzzParse(f *testing.F) {
	for _, w := range wire {
		f.Add(w.message.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Parse(b); err == nil && !bytes.Equal(m.Append(nil), b) {
			t.Errorf("% x becomes % x", b, m.Append(nil))
		}
		if message, err := OpenATT(b); err == nil && !bytes.Equal(AppendATT(nil, message), b) {
			t.Errorf("frame % x becomes % x", b, AppendATT(nil, message))
		}
	})
}

// FuzzCursor: what is accepted is encoded as the same bytes.
func FuzzCursor(f *testing.F) {
	b := Cursor{Size: 5, Offset: 3, Generation: 9}.Encode()
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, data []byte) {
		var b [CursorSize]byte
		copy(b[:], data)
		if c, err := ParseCursor(b); err == nil && c.Encode() != b {
			t.Errorf("% x becomes % x", b, c.Encode())
		}
	})
}

// FuzzUART: every message that is found stands in the stream as its frame, and a
// frame after any stream is found once the reader is reset.
func FuzzUART(f *testing.F) {
	f.Add(AppendUART(AppendUART([]byte{uartStart, 3}, []byte{2, 60}), []byte{uartStart}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var r UARTReader
		rest := stream
		for _, m := range r.messages(stream) {
			at := bytes.Index(rest, AppendUART(nil, m))
			if at < 0 {
				t.Fatalf("% x does not hold %x", rest, m)
			}
			rest = rest[at+len(m)+UARTOverhead:]
		}
		r.Reset()
		if got := r.messages(AppendUART(nil, []byte{7})); len(got) != 1 {
			t.Errorf("found %x", got)
		}
	})
}

// FuzzReceiver: whatever comes, a receiver writes each byte once, saves no cursor
// ahead of its data, and is complete only with the announced digest.
func FuzzReceiver(f *testing.F) {
	data := object(300)
	id := session(f, data)
	script := func(messages ...Message) []byte {
		var b []byte
		for _, m := range messages {
			message := m.Append(nil)
			b = append(append(b, byte(len(message))), message...)
		}
		return b
	}
	begin := Message{Kind: Begin, Session: id, Size: 300, Chunk: 238, Every: 1}
	f.Add(script(begin, Message{Kind: Data, Payload: data[:238]}, Message{Kind: Data, Index: 1, Payload: data[238:]}))
	f.Add(script(begin, Message{Kind: Data, Payload: data[1:239]}, Message{Kind: Data, Index: 1, Payload: data[238:]}))
	f.Fuzz(func(t *testing.T, script []byte) {
		m := newMemory(t, 1000)
		r := newReceiver(t, m, 1000)
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			answer, err := r.Handle(script[1:1+n], nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(answer) > 0 {
				if a, err := Parse(answer); err != nil || a.Kind == Data || a.Kind == Begin {
					t.Fatalf("answers %+v, %v", a, err)
				}
			}
			if r.Complete() && session(t, m.bytes[:r.Cursor().Size]) != r.Cursor().Session {
				t.Fatal("complete with another digest")
			}
			if n == 0 { // a restart
				r = newReceiver(t, m, 1000)
			}
			script = script[1+n:]
		}
	})
}
