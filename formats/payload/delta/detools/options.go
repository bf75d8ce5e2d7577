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

// bitsWithinInt is how many value bits a size in detools.c may have.
const bitsWithinInt = 27

// Bytes of RAM on a 32-bit core, as arm-none-eabi-gcc 12.2 -Os lays out detools.c
// 0.53.0 for a Cortex-M0+, without LZMA and file access.
const (
	ramPatch = 128 // struct detools_apply_patch_t without heatshrink's buffers
	ramInput = 256 // HEATSHRINK_STATIC_INPUT_BUFFER_SIZE
	ramStack = 448 // most of it the two buffers of process_data
)

// DecoderRAM returns how many bytes detools.c takes: its state and 448 bytes of
// stack, with heatshrink also an input buffer of 256 bytes and the window. That
// is 1088 bytes for the default, 576 with CRLE.
func DecoderRAM(o Options) int {
	if o.Compression == CRLE {
		return ramPatch + ramStack
	}
	return ramPatch + ramInput + 1<<o.Window + ramStack
}
