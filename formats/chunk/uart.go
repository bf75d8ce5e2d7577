package chunk

import "encoding/binary"

// Frames on the UART are those of the motor controller in examples/toothbrush
// (motor/frame.h):
//
//	0xa5 | length | message | CRC low | CRC high
//
// The length counts the message, 1 to MaxUART bytes. The CRC covers length and
// message. The controller's application takes 16 bytes and drops longer frames
// at their length; its bootloader takes them all.
const (
	uartStart = 0xa5

	// MaxUART is the length of the longest message in a UART frame in bytes.
	MaxUART = 255
	// UARTOverhead is what a UART frame adds to a message, in bytes.
	UARTOverhead = 4
)

// AppendUART adds the frame of a message of 1 to MaxUART bytes to dst.
func AppendUART(dst, message []byte) []byte {
	dst = append(dst, uartStart, byte(len(message)))
	covered := len(dst) - 1
	dst = append(dst, message...)
	return binary.LittleEndian.AppendUint16(dst, CRC16(dst[covered:]))
}

// UARTReader finds frames in a stream of bytes. What is no frame is dropped
// without a word, as a UART has noise; the sender's timeout repeats it.
type UARTReader struct {
	// Max is the length of the longest message to take, 0 for MaxUART.
	Max uint8

	state    uartState
	length   uint8
	got      uint8
	received uint8 // low byte of the frame's CRC
	crc      uint16
	message  [MaxUART]byte
}

type uartState uint8

const (
	uartIdle uartState = iota
	uartLength
	uartMessage
	uartCRCLow
	uartCRCHigh
)

// Read takes the next byte. When it completes a frame, Read returns the message,
// which is valid until the next call, else nil.
func (r *UARTReader) Read(b byte) []byte {
	switch r.state {
	case uartIdle:
		if b == uartStart {
			r.state = uartLength
		}
	case uartLength:
		r.length, r.got, r.crc = b, 0, crcStep(crcInitial, b)
		r.state = uartMessage
		if b == 0 || r.Max > 0 && b > r.Max {
			r.state = uartIdle
		}
	case uartMessage:
		r.message[r.got] = b
		r.got++
		r.crc = crcStep(r.crc, b)
		if r.got == r.length {
			r.state = uartCRCLow
		}
	case uartCRCLow:
		r.received, r.state = b, uartCRCHigh
	case uartCRCHigh:
		r.state = uartIdle
		if uint16(r.received)|uint16(b)<<8 == r.crc {
			return r.message[:r.length]
		}
	}
	return nil
}

// Reset drops a frame that was begun: call it when the line was silent for the
// time of a few bytes.
func (r *UARTReader) Reset() { r.state = uartIdle }
