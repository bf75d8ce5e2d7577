package firmware

import (
	"bufio"
	"errors"
	"io"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

// srecAddress is the bytes of address (big endian) by S-record type. A record
// is 'S' and the type, then in hexadecimal a byte that counts what follows it,
// the address, the data, and a checksum that makes the sum of all bytes 0xFF.
// There is no S4.
var srecAddress = [10]int{0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}

func readSRec(r *bufio.Reader, limit int) (formats.Image, error) {
	t := newRecords(r, SRec, limit)
	records := uint64(0) // data records so far
	counted := false     // the last record was their count
	for {
		line, err := t.next()
		if errors.Is(err, io.EOF) {
			if counted {
				return t.image()
			}
			return formats.Image{}, t.refuse(t.line, verdict.MissingEndRecord, "the file ends without an S7, S8, S9 or count record")
		}
		if err != nil {
			return formats.Image{}, err
		}
		if counted && len(line) == 0 {
			return t.finish()
		}
		if len(line) < 2 || line[0] != 'S' {
			return formats.Image{}, t.bad("does not begin with 'S' and a digit")
		}
		kind := int(line[1]) - '0'
		if kind < 0 || kind >= len(srecAddress) || srecAddress[kind] == 0 {
			return formats.Image{}, t.refuse(t.line, verdict.UnknownRecord, "record type %q, known are S0 to S3 and S5 to S9", line[:2])
		}
		record, sum, err := t.decode(line[2:])
		if err != nil {
			return formats.Image{}, err
		}
		begin := 1 + srecAddress[kind]
		if len(record) < begin+1 {
			return formats.Image{}, t.bad("S%d record of %d bytes, at least %d are needed", kind, len(record), begin+1)
		}
		if n := len(record) - 1; n != int(record[0]) {
			return formats.Image{}, t.bad("record says that %d bytes follow, there are %d", record[0], n)
		}
		if sum != 0xff {
			last := record[len(record)-1]
			return formats.Image{}, t.refuse(t.line, verdict.BadChecksum, "checksum is 0x%02X, should be 0x%02X", last, last-(sum+1))
		}
		var addr uint64
		for _, b := range record[1:begin] {
			addr = addr<<8 | uint64(b)
		}
		data := record[begin : len(record)-1]
		if kind >= 5 && len(data) > 0 {
			return formats.Image{}, t.bad("S%d record with %d data bytes, it takes none", kind, len(data))
		}
		counted = false
		switch kind {
		case 0:
			if t.line != 1 {
				return formats.Image{}, t.bad("S0 header after the first line")
			}
		case 1, 2, 3:
			records++
			if err := t.add(t.line, addr, data); err != nil {
				return formats.Image{}, err
			}
		case 5, 6:
			if addr != records {
				return formats.Image{}, t.refuse(t.line, verdict.RecordCount, "S%d counts %d data records, there are %d", kind, addr, records)
			}
			counted = true
		default:
			return t.finish()
		}
	}
}
