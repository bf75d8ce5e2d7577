package firmware

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

// maxRecord is the longest record in either format: an Intel HEX record of 255
// data bytes has 5 bytes around them, an S-record at most 256 bytes in all.
const maxRecord = 255 + 5

// records reads a text file record by record.
type records struct {
	collector
	r    *bufio.Reader
	line int   // number of the line last read
	left int64 // characters that may still be read
	buf  [maxRecord]byte
}

// newRecords bounds the text by what it takes to write every byte as a record
// of its own (13 characters and CRLF), and some for records without data.
func newRecords(r *bufio.Reader, f Format, limit int) *records {
	return &records{collector: collector{format: f, limit: limit}, r: r, left: 16*int64(limit) + 64<<10}
}

// next returns the next line without its LF or CRLF, valid until the call after
// it; io.EOF after the last.
func (t *records) next() ([]byte, error) {
	line, err := t.r.ReadSlice('\n')
	if len(line) == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	t.line++
	t.left -= int64(len(line))
	if err == nil {
		line = line[:len(line)-1]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("firmware: %s: line %d: %w", t.format, t.line, err)
	case t.left < 0:
		return nil, t.refuse(t.line, verdict.TooLarge, "text is too long for %s of data", size(t.limit))
	case len(line) > 2+2*maxRecord:
		return nil, t.bad("longer than any record")
	}
	return line, nil
}

// bad reports a malformed record in the current line.
func (t *records) bad(detail string, args ...any) error {
	return t.refuse(t.line, verdict.BadRecord, detail, args...)
}

// decode turns the digits of a record into bytes, which stay valid until the
// next call, and returns their sum.
func (t *records) decode(digits []byte) (record []byte, sum byte, err error) {
	if len(digits)%2 != 0 || len(digits) > 2*maxRecord {
		return nil, 0, t.bad("%d hexadecimal digits", len(digits))
	}
	n, err := hex.Decode(t.buf[:], digits)
	if invalid, ok := errors.AsType[hex.InvalidByteError](err); ok {
		return nil, 0, t.bad("%q is not a hexadecimal digit", byte(invalid))
	}
	for _, b := range t.buf[:n] {
		sum += b
	}
	return t.buf[:n], sum, nil
}

// finish reads what is left, which may only be blank lines, and returns the
// image.
func (t *records) finish() (formats.Image, error) {
	end := t.line
	for {
		line, err := t.next()
		switch {
		case errors.Is(err, io.EOF):
			return t.image()
		case err != nil:
			return formats.Image{}, err
		case len(line) > 0:
			return formats.Image{}, t.refuse(t.line, verdict.DataAfterEnd, "data after the last record in line %d", end)
		}
	}
}
