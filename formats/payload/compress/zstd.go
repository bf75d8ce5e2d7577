package compress

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

func encodeZstd(image []byte, window int) ([]byte, error) {
	w, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),    // the manifest has a digest
		zstd.WithSingleSegment(false), // which would make the whole image the window
	)
	if err != nil {
		return nil, err
	}
	payload := w.EncodeAll(image, nil)
	return payload, w.Close()
}

func decodeZstd(payload []byte, limit int) ([]byte, int, error) {
	h, err := zstdHeader(payload)
	if err != nil {
		return nil, 0, err
	}
	if h.HasFCS && h.FrameContentSize > uint64(limit) {
		return nil, 0, fmt.Errorf("%d bytes: %w", h.FrameContentSize, ErrLimit)
	}
	if err := oneFrame(payload[h.HeaderSize:]); err != nil {
		return nil, 0, err
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(h.WindowSize), zstd.WithDecoderMaxMemory(max(uint64(limit), h.WindowSize)+1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	image, err := r.DecodeAll(payload, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, 0, ErrLimit
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w", ErrCode, err)
	case len(image) > limit:
		return nil, 0, ErrLimit
	}
	return image, int(h.WindowSize), nil
}

// zstdHeader reads the header of a frame and refuses what a small decoder does
// not have: dictionaries, windows that are the whole image, and checksums, which
// the signed digest of the image makes superfluous.
func zstdHeader(payload []byte) (zstd.Header, error) {
	var h zstd.Header
	_, largest, _ := Zstd.Windows()
	switch err := h.Decode(payload); {
	case err != nil:
		return h, fmt.Errorf("%w: %w", ErrFormat, err)
	case h.Skippable || h.DictionaryID != 0 || h.SingleSegment || h.HasCheckSum:
		return h, fmt.Errorf("skippable %t, dictionary %d, single segment %t, checksum %t: %w", h.Skippable, h.DictionaryID, h.SingleSegment, h.HasCheckSum, ErrFormat)
	case h.WindowSize > uint64(largest):
		return h, fmt.Errorf("%d bytes: %w", h.WindowSize, ErrWindow)
	}
	return h, nil
}

// oneFrame walks the blocks of a frame (RFC 8878, section 3.1.1.2) to its end,
// which has to be that of the payload.
func oneFrame(rest []byte) error {
	for last := false; !last; {
		if len(rest) < 3 {
			return ErrTruncated
		}
		head := uint32(rest[0]) | uint32(binary.LittleEndian.Uint16(rest[1:]))<<8
		size := int(head >> 3)
		if kind := head >> 1 & 3; kind == 1 { // one byte, repeated
			size = 1
		}
		if last = head&1 == 1; size > len(rest)-3 {
			return ErrTruncated
		}
		rest = rest[3+size:]
	}
	if len(rest) > 0 {
		return ErrTrailing
	}
	return nil
}
