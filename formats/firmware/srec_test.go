package firmware_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign/verdict"
)

// srecRec returns a record without a line end.
func srecRec(kind int, addr uint32, data ...byte) []byte {
	raw := []byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}
	raw = raw[4-map[int]int{0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}[kind]:]
	raw = append(raw, data...)
	raw = append([]byte{byte(len(raw) + 1)}, raw...)
	sum := byte(0)
	for _, b := range raw {
		sum += b
	}
	return fmt.Appendf(nil, "S%d%X", kind, append(raw, ^sum))
}

func srecFile(records ...[]byte) []byte {
	return append(bytes.Join(records, []byte("\n")), '\n')
}

func TestSRecRefuses(t *testing.T) {
	data, end := string(srecRec(1, 0x100, 1, 2, 3)), string(srecRec(9, 0))
	for _, c := range []struct {
		name, in string
		reason   verdict.Reason
		part     string
	}{
		{"no end record", data + "\n", verdict.MissingEndRecord, "line 1"},
		{"data after a count, no end", data + "\n" + string(srecRec(5, 1)) + "\n" + string(srecRec(1, 0, 1)), verdict.MissingEndRecord, "line 3"},
		{"only a header and an end", string(srecRec(0, 0, 'x')) + "\n" + end, verdict.EmptyFirmware, "no data"},
		{"only a count", string(srecRec(5, 0)), verdict.EmptyFirmware, "no data"},
		{"data after the end", data + "\n" + end + "\n" + data, verdict.DataAfterEnd, "line 3: data after the last record in line 2"},
		{"two ends", data + "\n" + end + "\n" + end, verdict.DataAfterEnd, "line 3"},
		{"data after a count and a blank line", data + "\n" + string(srecRec(5, 1)) + "\n\n" + end, verdict.DataAfterEnd, "line 4"},
		{"blank line", data + "\n\n" + end, verdict.BadRecord, "line 2: does not begin with 'S'"},
		{"intel hex record", data + "\n:00000001FF", verdict.BadRecord, "line 2"},
		{"S alone", data + "\nS", verdict.BadRecord, "line 2"},
		{"lower case s", data + "\ns9030000FC", verdict.BadRecord, "line 2"},
		{"S4", data + "\nS4030000FC\n" + end, verdict.UnknownRecord, `line 2: record type "S4"`},
		{"SA", data + "\nSA030000FC\n" + end, verdict.UnknownRecord, "line 2"},
		{"not hexadecimal", strings.Replace(data, "02", "0x", 1), verdict.BadRecord, "'x' is not a hexadecimal digit"},
		{"odd digits", data[:len(data)-1], verdict.BadRecord, "line 1: 13 hexadecimal digits"},
		{"no address", "S101FE\n", verdict.BadRecord, "line 1: S1 record of 2 bytes, at least 4 are needed"},
		{"short address", "S304000000FB\n", verdict.BadRecord, "S3 record of 5 bytes, at least 6"},
		{"count too small", "S10501000102" + "03F3\n", verdict.BadRecord, "record says that 5 bytes follow, there are 6"},
		{"count too large", "S1070100010203F1\n", verdict.BadRecord, "record says that 7 bytes follow, there are 6"},
		{"checksum", "S1060100010203F1\n", verdict.BadChecksum, "line 1: checksum is 0xF1, should be 0xF2"},
		{"checksum of the header", "S0030000FD\n" + data, verdict.BadChecksum, "line 1: checksum is 0xFD, should be 0xFC"},
		{"second header", string(srecRec(0, 0, 'x')) + "\n" + string(srecRec(0, 0, 'y')), verdict.BadRecord, "line 2: S0"},
		{"S5 counts too many", data + "\n" + string(srecRec(5, 2)) + "\n" + end, verdict.RecordCount, "line 2: S5 counts 2 data records, there are 1"},
		{"S6 counts too few", data + "\n" + string(srecRec(6, 0)) + "\n" + end, verdict.RecordCount, "line 2: S6 counts 0 data records, there are 1"},
		{"S5 with data", data + "\n" + string(srecRec(5, 1, 0)) + "\n" + end, verdict.BadRecord, "line 2: S5 record with 1 data bytes"},
		{"S9 with data", data + "\n" + string(srecRec(9, 0, 0)), verdict.BadRecord, "line 2: S9 record with 1 data bytes"},
		{"overlap", string(srecFile(srecRec(1, 0, 1, 2), srecRec(3, 1, 2), []byte(end))), verdict.SegmentOverlap, "line 2: 0x00000001-0x00000001 overlaps 0x00000000-0x00000001 of line 1"},
		{"past the address space", string(srecFile(srecRec(3, 0xffff_ffff, 1, 2), []byte(end))), verdict.AddressRange, "line 1: 2 bytes at 0xffffffff"},
		{"span", string(srecFile(srecRec(1, 0, 1), srecRec(2, 0x100, 1), srecRec(3, 0x2000_0000, 1), srecRec(7, 0))), verdict.AddressSpan, "line 3: segment at 0x20000000 is 512 MiB past the previous one, which ends at 0x00000100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, f, err := firmware.Load(strings.NewReader(c.in), firmware.Options{})
			wantRefused(t, err, c.reason, "firmware: srec", c.part)
			if f != firmware.SRec {
				t.Errorf("format %s", f)
			}
		})
	}
}

func TestSRec(t *testing.T) {
	seg := func(addr uint32, data ...byte) formats.Segment { return formats.Segment{Addr: addr, Data: data} }
	long := bytes.Repeat([]byte{0x5a}, 252)
	for _, c := range []struct {
		name string
		in   []byte
		want []formats.Segment
	}{
		{"S1", srecFile(srecRec(0, 0, 'x'), srecRec(1, 0x100, 1, 2), srecRec(9, 0)), []formats.Segment{seg(0x100, 1, 2)}},
		{"header at another address", srecFile(srecRec(0, 0x1234), srecRec(1, 0x100, 1), srecRec(9, 0)), []formats.Segment{seg(0x100, 1)}},
		{"longest record", srecFile(srecRec(1, 0, long...), srecRec(9, 0x100)), []formats.Segment{seg(0, long...)}},
		{"mixed widths and ends", srecFile(srecRec(1, 0, 1), srecRec(3, 1, 2), srecRec(2, 0x20000, 3), srecRec(8, 0)), []formats.Segment{seg(0, 1, 2), seg(0x20000, 3)}},
		{"counts on the way", srecFile(srecRec(1, 0, 1), srecRec(5, 1), srecRec(1, 1, 2), srecRec(6, 2), srecRec(7, 0)), []formats.Segment{seg(0, 1, 2)}},
		{"ends with its count", srecFile(srecRec(1, 0, 1), srecRec(5, 1)), []formats.Segment{seg(0, 1)}},
		{"ends with its count and blank lines", srecFile(srecRec(1, 0, 1), srecRec(5, 1), nil, nil), []formats.Segment{seg(0, 1)}},
		{"record without data counts", srecFile(srecRec(1, 0, 1), srecRec(1, 0), srecRec(5, 2), srecRec(9, 0)), []formats.Segment{seg(0, 1)}},
		{"S1 passes 64 KiB", srecFile(srecRec(1, 0xffff, 1, 2), srecRec(9, 0)), []formats.Segment{seg(0xffff, 1, 2)}},
		{"CRLF, lower case", bytes.ReplaceAll(bytes.ReplaceAll(srecFile(srecRec(3, 0x0800_abcd, 0xef), srecRec(7, 0)), []byte("\n"), []byte("\r\n")), []byte("ABCDEF"), []byte("abcdef")), []formats.Segment{seg(0x0800_abcd, 0xef)}},
		{"blank lines at the end", srecFile(srecRec(1, 0, 1), srecRec(9, 0), nil, []byte("\r")), []formats.Segment{seg(0, 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, f, err := firmware.Load(iotest.OneByteReader(bytes.NewReader(c.in)), firmware.Options{})
			if err != nil || f != firmware.SRec {
				t.Fatal(f, err)
			}
			wantSame(t, m, image(t, c.want...))
		})
	}
}
