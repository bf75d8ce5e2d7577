package chunk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/otapack/otapack/sign/verdict"
)

// Bounds of a transfer.
const (
	// MinATT and MaxATT bound what one BLE write or notification carries in
	// bytes: ATT_MTU is 23 at least, and 247 is the largest that fits one packet
	// of the link layer (Bluetooth Core, Vol 3 Part F 3.2.8 and Vol 6 Part B 2.4).
	// Three bytes of the MTU are opcode and handle.
	MinATT, MaxATT = 20, 244

	// MinChunk and MaxChunk bound a chunk in bytes: what MinATT and MaxATT leave
	// after index and CRC.
	MinChunk, MaxChunk = MinATT - indexSize - crcSize, MaxATT - indexSize - crcSize

	// MaxMessage is the length of the longest message in bytes.
	MaxMessage = indexSize + MaxChunk

	// MaxSize bounds an object in bytes, to what one file of a bundle holds.
	MaxSize = 1<<32 - 2

	indexSize = 4
	crcSize   = 2
)

// Session identifies an object: the first 8 bytes of its SHA-256. Both ends use
// it to tell whether a transfer may go on, and the receiver to check in the end
// that the object has arrived.
type Session [8]byte

// String is the session in hexadecimal.
func (s Session) String() string { return hex.EncodeToString(s[:]) }

// SessionOf reads an object of size bytes and returns its session.
func SessionOf(object io.ReaderAt, size int64) (Session, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(object, 0, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Session{}, fmt.Errorf("chunk: object: %w", err)
	}
	return Session(h.Sum(nil)[:len(Session{})]), nil
}

// Kind tells messages apart.
type Kind uint8

// The kinds of messages. Data and Begin come from the sender, the others from the
// receiver.
const (
	Data  Kind = iota + 1 // one chunk
	Begin                 // which object follows, and in chunks of which length
	Ack                   // everything before a chunk is stored
	Nack                  // a message was refused; send from a chunk on
	Done                  // the object is stored and has the announced digest
)

// The first word of a message is the index of a chunk or one of these. No object
// has as many chunks.
const (
	wordBegin = 0xfffffff1
	wordAck   = 0xfffffff2
	wordNack  = 0xfffffff3
	wordDone  = 0xfffffff4
	maxIndex  = (MaxSize+MinChunk-1)/MinChunk - 1
)

// Lengths of the messages that are not Data, in bytes.
const (
	beginSize = indexSize + len(Session{}) + 4 + 1 + 1
	ackSize   = indexSize + len(Session{}) + 4
	nackSize  = ackSize + 1
	doneSize  = ackSize
)

// Refusal is why a receiver refuses a message, as it stands in a Nack.
type Refusal uint8

// The refusals. They are numbered for ever.
const (
	RefusedChecksum Refusal = 1 // the frame was damaged
	RefusedMessage  Refusal = 2 // the frame holds no message of this protocol
	RefusedLength   Refusal = 3 // the chunk does not have the length of its place
	RefusedOrder    Refusal = 4 // another chunk has to come first
	RefusedSession  Refusal = 5 // no object was announced on this connection
	RefusedSize     Refusal = 6 // the object is larger than the room for it
	RefusedDigest   Refusal = 7 // everything arrived and is not the announced object
)

// Reason is the refusal as a reason code, "" for one that is not defined.
func (r Refusal) Reason() verdict.Reason {
	switch r {
	case RefusedChecksum:
		return verdict.ChunkChecksum
	case RefusedMessage:
		return verdict.ChunkMessage
	case RefusedLength:
		return verdict.ChunkLength
	case RefusedOrder:
		return verdict.ChunkOrder
	case RefusedSession:
		return verdict.ChunkSession
	case RefusedSize:
		return verdict.ChunkSize
	case RefusedDigest:
		return verdict.ChunkDigest
	}
	return ""
}

// Message is what both ends tell each other, without a frame around it.
type Message struct {
	Kind Kind
	// Index is the chunk of Data. In Ack and Nack it is the first chunk that the
	// receiver does not have, which may be one more than there are.
	Index   uint32
	Payload []byte  // of Data: the chunk. After Parse it is part of the input.
	Session Session // of all but Data
	Size    uint32  // of Begin and Done: the object's length in bytes, 1 to MaxSize
	Chunk   uint8   // of Begin: bytes in every chunk but the last, MinChunk to MaxChunk
	Every   uint8   // of Begin: acknowledge after so many chunks at the latest, 1 or more
	Refusal Refusal // of Nack
}

// Parse reads one message. Numbers are little-endian. It takes exactly what
// Append writes; a refusal is a *verdict.Error with verdict.ChunkMessage or
// verdict.ChunkLength.
func Parse(b []byte) (Message, error) {
	if len(b) < indexSize {
		return Message{}, verdict.New(verdict.ChunkLength, "chunk message", "%d bytes", len(b))
	}
	word, body := binary.LittleEndian.Uint32(b), b[indexSize:]
	var m Message
	want := 0
	switch {
	case word <= maxIndex:
		if len(body) < 1 || len(body) > MaxChunk {
			return Message{}, verdict.New(verdict.ChunkLength, "chunk message", "a chunk of %d bytes, want 1 to %d", len(body), MaxChunk)
		}
		return Message{Kind: Data, Index: word, Payload: body}, nil
	case word == wordBegin:
		m.Kind, want = Begin, beginSize
	case word == wordAck:
		m.Kind, want = Ack, ackSize
	case word == wordNack:
		m.Kind, want = Nack, nackSize
	case word == wordDone:
		m.Kind, want = Done, doneSize
	default:
		return Message{}, verdict.New(verdict.ChunkMessage, "chunk message", "first word 0x%08x", word)
	}
	if len(b) != want {
		return Message{}, verdict.New(verdict.ChunkLength, "chunk message", "%d bytes after word 0x%08x, want %d", len(body), word, want-indexSize)
	}
	number := binary.LittleEndian.Uint32(body[copy(m.Session[:], body):])
	last := body[len(m.Session)+4:]
	switch m.Kind {
	case Begin:
		m.Size, m.Chunk, m.Every = number, last[0], last[1]
		if m.Size < 1 || m.Size > MaxSize || m.Chunk < MinChunk || m.Chunk > MaxChunk || m.Every < 1 {
			return Message{}, verdict.New(verdict.ChunkMessage, "chunk message", "begins %d bytes in chunks of %d, acknowledged every %d", m.Size, m.Chunk, m.Every)
		}
		return m, nil
	case Done:
		if m.Size = number; number < 1 || number > MaxSize {
			return Message{}, verdict.New(verdict.ChunkMessage, "chunk message", "done with %d bytes", number)
		}
		return m, nil
	case Nack:
		if m.Refusal = Refusal(last[0]); m.Refusal.Reason() == "" {
			return Message{}, verdict.New(verdict.ChunkMessage, "chunk message", "refusal %d", m.Refusal)
		}
	case Ack, Data:
	}
	if m.Index = number; number > maxIndex+1 {
		return Message{}, verdict.New(verdict.ChunkMessage, "chunk message", "index %d", number)
	}
	return m, nil
}

// Append adds the message to dst. What Parse would refuse is the caller's
// mistake and is written as it is; a message without a kind adds nothing.
func (m Message) Append(dst []byte) []byte {
	switch m.Kind {
	case Data:
		dst = binary.LittleEndian.AppendUint32(dst, m.Index)
		return append(dst, m.Payload...)
	case Begin:
		dst = append(binary.LittleEndian.AppendUint32(dst, wordBegin), m.Session[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, m.Size)
		return append(dst, m.Chunk, m.Every)
	case Ack:
		dst = append(binary.LittleEndian.AppendUint32(dst, wordAck), m.Session[:]...)
		return binary.LittleEndian.AppendUint32(dst, m.Index)
	case Nack:
		dst = append(binary.LittleEndian.AppendUint32(dst, wordNack), m.Session[:]...)
		return append(binary.LittleEndian.AppendUint32(dst, m.Index), byte(m.Refusal))
	case Done:
		dst = append(binary.LittleEndian.AppendUint32(dst, wordDone), m.Session[:]...)
		return binary.LittleEndian.AppendUint32(dst, m.Size)
	}
	return dst
}

// AppendATT adds the frame of a message for a BLE attribute to dst: the message
// and its CRC16, low byte first. The attribute value has a length of its own.
func AppendATT(dst, message []byte) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, message...), CRC16(message))
}

// OpenATT returns the message in a frame of AppendATT, as part of it.
func OpenATT(frame []byte) ([]byte, error) {
	n := len(frame) - crcSize
	if n < indexSize || len(frame) > MaxATT {
		return nil, verdict.New(verdict.ChunkLength, "chunk frame", "%d bytes, want %d to %d", len(frame), indexSize+crcSize, MaxATT)
	}
	if got, want := CRC16(frame[:n]), binary.LittleEndian.Uint16(frame[n:]); got != want {
		return nil, verdict.New(verdict.ChunkChecksum, "chunk frame", "CRC-16 %04x, the frame says %04x", got, want)
	}
	return frame[:n:n], nil
}

// ChunkLen returns the length of a chunk in bytes for an ATT_MTU, which counts
// opcode and handle. It is within MinChunk and MaxChunk for an MTU of 23 to 247.
func ChunkLen(mtu int) int { return mtu - 3 - indexSize - crcSize }
