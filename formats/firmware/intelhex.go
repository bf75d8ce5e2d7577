package firmware

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

// Intel HEX record types. A record is ':', then in hexadecimal a byte that
// counts the data, 16 bits of address offset (big endian), the type, the data,
// and a checksum that makes the sum of all bytes 0.
const (
	hexData         = 0
	hexEnd          = 1
	hexSegment      = 2 // bits 4 to 19 of the base; offsets wrap within 64 KiB
	hexStartSegment = 3 // CS:IP
	hexLinear       = 4 // bits 16 to 31 of the base
	hexStartLinear  = 5 // EIP
)

// hexOverhead is the bytes of a record beside its data.
const hexOverhead = 5

// hexFixed is the data length of the types that have a fixed one.
var hexFixed = [...]int{hexEnd: 0, hexSegment: 2, hexStartSegment: 4, hexLinear: 2, hexStartLinear: 4}

func readIntelHex(r *bufio.Reader, limit int) (formats.Image, error) {
	t := newRecords(r, IntelHex, limit)
	var base uint64
	segmented := false
	for {
		line, err := t.next()
		if errors.Is(err, io.EOF) {
			return formats.Image{}, t.refuse(t.line, verdict.MissingEndRecord, "the file ends without an end-of-file record")
		}
		if err != nil {
			return formats.Image{}, err
		}
		if len(line) == 0 || line[0] != ':' {
			return formats.Image{}, t.bad("does not begin with ':'")
		}
		record, sum, err := t.decode(line[1:])
		if err != nil {
			return formats.Image{}, err
		}
		if len(record) < hexOverhead {
			return formats.Image{}, t.bad("record of %d bytes, at least %d are needed", len(record), hexOverhead)
		}
		if n := len(record) - hexOverhead; n != int(record[0]) {
			return formats.Image{}, t.bad("record says that it has %d data bytes, it has %d", record[0], n)
		}
		if sum != 0 {
			last := record[len(record)-1]
			return formats.Image{}, t.refuse(t.line, verdict.BadChecksum, "checksum is 0x%02X, should be 0x%02X", last, last-sum)
		}
		offset, kind, data := uint64(binary.BigEndian.Uint16(record[1:])), record[3], record[4:len(record)-1]
		if kind > hexStartLinear {
			return formats.Image{}, t.refuse(t.line, verdict.UnknownRecord, "record type %02X, known are 00 to 05", kind)
		}
		if kind != hexData && (offset != 0 || len(data) != hexFixed[kind]) {
			return formats.Image{}, t.bad("record of type %02X with %d data bytes and address %04X, want %d and 0000", kind, len(data), offset, hexFixed[kind])
		}
		switch kind {
		case hexData:
			var wrapped []byte
			if room := 1<<16 - int(offset); segmented && len(data) > room {
				data, wrapped = data[:room], data[room:]
			}
			if err := t.add(t.line, base+offset, data); err != nil {
				return formats.Image{}, err
			}
			if err := t.add(t.line, base, wrapped); err != nil {
				return formats.Image{}, err
			}
		case hexSegment:
			base, segmented = uint64(binary.BigEndian.Uint16(data))<<4, true
		case hexLinear:
			base, segmented = uint64(binary.BigEndian.Uint16(data))<<16, false
		case hexEnd:
			return t.finish()
		}
	}
}
