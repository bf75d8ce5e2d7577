package firmware

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/otapack/otapack/formats"
)

// WriteBin writes the image from Start to End, with fill in its gaps; erased
// flash reads as 0xFF. It takes no memory for gaps, but writes all of them: an
// image that did not come from Load may span up to 4 GiB.
func WriteBin(w io.Writer, m formats.Image, fill byte) error {
	filler := bytes.Repeat([]byte{fill}, 4<<10)
	at := uint64(m.Start())
	for _, s := range m.Segments() {
		for gap := uint64(s.Addr) - at; gap > 0; {
			n := min(gap, uint64(len(filler)))
			if _, err := w.Write(filler[:n]); err != nil {
				return fmt.Errorf("firmware: bin: %w", err)
			}
			gap -= n
		}
		if _, err := w.Write(s.Data); err != nil {
			return fmt.Errorf("firmware: bin: %w", err)
		}
		at = s.Range().End
	}
	return nil
}

// hexChunk is the data bytes of a record, as objcopy and most tools have it.
const hexChunk = 16

// WriteIntelHex writes the image as objcopy -O ihex does: 16 bytes a record
// counted from the start of each segment, none across a 64 KiB boundary, upper
// case, CRLF. It differs in three ways:
//
//   - Above 64 KiB, addresses are always given by records of type 04; objcopy
//     uses type 02 up to 1 MiB, which not every flashing tool takes.
//   - There is no start address record: an Image has none. objcopy writes one
//     (03 or 05) unless the entry point is 0.
//   - Sections of an ELF file that touch are one segment here; objcopy begins a
//     new record with each of them.
func WriteIntelHex(w io.Writer, m formats.Image) error {
	bw := bufio.NewWriter(w)
	var line []byte
	record := func(kind byte, offset uint16, data []byte) {
		line = appendHexRecord(line[:0], kind, offset, data)
		bw.Write(line) // the error is kept for Flush
	}
	upper := uint32(0)
	for _, s := range m.Segments() {
		for addr, data := s.Addr, s.Data; len(data) > 0; {
			if addr>>16 != upper {
				upper = addr >> 16
				record(hexLinear, 0, []byte{byte(upper >> 8), byte(upper)})
			}
			n := min(len(data), hexChunk, 1<<16-int(addr&0xffff))
			record(hexData, uint16(addr), data[:n])
			addr, data = addr+uint32(n), data[n:]
		}
	}
	record(hexEnd, 0, nil)
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("firmware: hex: %w", err)
	}
	return nil
}

func appendHexRecord(dst []byte, kind byte, offset uint16, data []byte) []byte {
	dst = append(dst, ':')
	sum := byte(0)
	put := func(b byte) {
		const digits = "0123456789ABCDEF"
		dst = append(dst, digits[b>>4], digits[b&15])
		sum += b
	}
	put(byte(len(data)))
	put(byte(offset >> 8))
	put(byte(offset))
	put(kind)
	for _, b := range data {
		put(b)
	}
	put(-sum)
	return append(dst, '\r', '\n')
}
