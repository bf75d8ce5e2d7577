package chunk_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/otapack/otapack/formats/chunk"
)

// flash is the memory of a device that never loses power.
type flash struct {
	bytes   [1024]byte
	cursors [2][chunk.CursorSize]byte
}

func (f *flash) ReadAt(p []byte, off int64) (int, error)  { return copy(p, f.bytes[off:]), nil }
func (f *flash) WriteAt(p []byte, off int64) (int, error) { return copy(f.bytes[off:], p), nil }
func (f *flash) Erase(int64) error                        { return nil }

func (f *flash) ReadCursor(slot int) ([chunk.CursorSize]byte, error) { return f.cursors[slot], nil }

func (f *flash) WriteCursor(slot int, cursor [chunk.CursorSize]byte) error {
	f.cursors[slot] = cursor
	return nil
}

// A phone with an ATT_MTU of 185 and a device, on a link that loses nothing.
func Example() {
	object := bytes.Repeat([]byte("firmware"), 100)
	reader := bytes.NewReader(object)
	session, err := chunk.SessionOf(reader, reader.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	phone, err := chunk.NewSender(reader, reader.Size(), session, chunk.SenderOptions{Timeout: time.Second})
	if err == nil {
		err = phone.Connect(chunk.ChunkLen(185))
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	var memory flash
	device, err := chunk.NewReceiver(&memory, chunk.ReceiverOptions{Capacity: 1024, Checkpoint: 256})
	if err != nil {
		fmt.Println(err)
		return
	}

	var message, frame, answer []byte
	for clock := time.Duration(0); !phone.Done(); clock += 10 * time.Millisecond {
		if message, err = phone.Message(clock, message[:0]); err != nil {
			fmt.Println(err)
			return
		}
		frame = chunk.AppendATT(frame[:0], message) // what is written to the attribute

		received, err := chunk.OpenATT(frame)
		if err != nil {
			answer = device.Damaged(answer[:0])
		} else if answer, err = device.Handle(received, answer[:0]); err != nil {
			fmt.Println(err)
			return
		}
		if len(answer) > 0 { // on its way back it gets a frame, too
			if err := phone.Handle(clock, answer); err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	fmt.Println(device.Complete(), bytes.Equal(memory.bytes[:len(object)], object), phone.Stats().Chunks, "chunks")
	// Output: true true 5 chunks
}
