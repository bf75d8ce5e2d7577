// Package compress makes whole images smaller in two published formats: one
// Zstandard frame (RFC 8878), and raw DEFLATE (RFC 1951).
//
// Both are for devices that have such a decoder. Its memory depends on how far
// back in its own output it has to look, the window, so the window is a parameter
// of [Encode], and [Decode] tells the one that a payload really takes.
//
// Decode is strict: one frame or stream, nothing behind it, no dictionary, no
// checksum, no more than the expected bytes.
package compress

import (
	"errors"
	"fmt"
)

// A Codec is a compressed format.
type Codec uint8

// Codecs.
const (
	Zstd Codec = iota
	Deflate
)

// String returns the name of the codec.
func (c Codec) String() string {
	switch c {
	case Zstd:
		return "zstd"
	case Deflate:
		return "deflate"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Faults of payloads, to be tested with errors.Is.
var (
	ErrWindow    = errors.New("unusable window")
	ErrFormat    = errors.New("not of this format, or with a feature that devices do not have")
	ErrTruncated = errors.New("payload ends early")
	ErrTrailing  = errors.New("payload goes on after its end")
	ErrLimit     = errors.New("payload gives more bytes than expected")
	ErrCode      = errors.New("payload is malformed")
)

// Windows returns the smallest, the largest and the usual window of a codec, in
// bytes. Each is a power of two.
func (c Codec) Windows() (smallest, largest, usual int) {
	if c == Zstd {
		return 1 << 10, 1 << 20, 16 << 10
	}
	return 1 << 8, 32 << 10, 32 << 10
}

// DecoderRAM returns how many bytes a decoder on a 32-bit core takes with a window.
//
// Deflate: uzlib, as arm-none-eabi-gcc 12.2 -Os lays it out for a Cortex-M0+: the
// window, 1284 bytes of state and tables, and 512 bytes of stack. zlib's inflate
// takes 7 KiB and the window (zconf.h). Zstd: what ZSTD_estimateDStreamSize of
// libzstd 1.5.4 says; its tables and its buffers for a block are most of it.
func (c Codec) DecoderRAM(window int) int {
	if c == Zstd {
		const state, block = 227128, 128 << 10
		return state + window + 2*min(window, block)
	}
	const state, stack = 1284, 512
	return window + state + stack
}

// CheckWindow refuses a window that the codec cannot have.
func (c Codec) CheckWindow(window int) error {
	smallest, largest, _ := c.Windows()
	if window < smallest || window > largest || window&(window-1) != 0 {
		return fmt.Errorf("%d bytes, want a power of two from %d to %d: %w", window, smallest, largest, ErrWindow)
	}
	return nil
}

// Encode compresses an image for a decoder with a window. The same image and
// window give the same payload.
func Encode(c Codec, image []byte, window int) ([]byte, error) {
	err := c.CheckWindow(window)
	var payload []byte
	switch {
	case err != nil:
	case len(image) == 0:
		err = errors.New("no image")
	case c == Zstd:
		payload, err = encodeZstd(image, window)
	default:
		payload, err = encodeDeflate(image, window)
	}
	if err != nil {
		return nil, fmt.Errorf("compress: %s: %w", c, err)
	}
	return payload, nil
}

// Decode returns the image in a payload, and the window that it takes: of zstd the
// announced one, of deflate the farthest distance back, which any decoder with a
// window of that size can do. It refuses images of more than limit bytes, and
// takes no more memory for one. With an error comes as much of the image as there
// was before it.
func Decode(c Codec, payload []byte, limit int) (image []byte, window int, err error) {
	if c == Zstd {
		image, window, err = decodeZstd(payload, limit)
	} else {
		image, window, err = decodeDeflate(payload, limit)
	}
	if err != nil {
		return image, 0, fmt.Errorf("compress: %s: %w", c, err)
	}
	return image, window, nil
}
