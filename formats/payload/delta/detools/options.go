package detools

import "fmt"

// A Compression says how the stream of a patch is compressed. The number is that
// in the header.
type Compression uint8

// Compressions.
const (
	CRLE       Compression = 2 // runs; for decoders without a window
	Heatshrink Compression = 4
)

// String returns the name of the compression.
func (c Compression) String() string {
	switch c {
	case CRLE:
		return "crle"
	case Heatshrink:
		return "heatshrink"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// Options say what the device's decoder was built with.
type Options struct {
	Compression Compression
	// Window and Lookahead are the sizes of heatshrink's window and of its
	// longest copy, as powers of two. detools.c takes patches with its own sizes
	// only, which are fixed when it is compiled. Both are 0 with CRLE.
	Window, Lookahead int
}

// Default is what detools.c has when nobody changes heatshrink_config.h.
var Default = Options{Compression: Heatshrink, Window: 8, Lookahead: 7}

// Bounds of heatshrink (heatshrink_common.h).
const (
	minWindow, maxWindow = 4, 15
	minLookahead         = 3 // and less than the window
)

func (o Options) check() error {
	switch {
	case o.Compression == CRLE && (o.Window != 0 || o.Lookahead != 0):
		return fmt.Errorf("a window for crle: %w", ErrFormat)
	case o.Compression == CRLE:
		return nil
	case o.Compression != Heatshrink:
		return fmt.Errorf("%s: %w", o.Compression, ErrFormat)
	case o.Window < minWindow || o.Window > maxWindow || o.Lookahead < minLookahead || o.Lookahead >= o.Window:
		return fmt.Errorf("window of %d bits and lookahead of %d: %w", o.Window, o.Lookahead, ErrFormat)
	}
	return nil
}

// Bytes of RAM on a 32-bit core, from the structures in detools.h and
// heatshrink_decoder.h without LZMA, and the two buffers on the stack of
// process_data in detools.c.
const (
	ramPatch      = 116 // struct detools_apply_patch_t without heatshrink's buffers
	ramInput      = 256 // HEATSHRINK_STATIC_INPUT_BUFFER_SIZE
	ramStack      = 256 + 64
	bitsWithinInt = 27 // value bits that a size in detools.c may have
)

// DecoderRAM returns how many bytes detools.c takes: its state and, with
// heatshrink, an input buffer of 256 bytes and the window, on top of that 320
// bytes of stack.
func DecoderRAM(o Options) int {
	if o.Compression == CRLE {
		return ramPatch + ramStack
	}
	return ramPatch + ramInput + 1<<o.Window + ramStack
}
