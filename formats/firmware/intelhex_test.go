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

// hexRec returns a record without a line end.
func hexRec(kind byte, offset uint16, data ...byte) []byte {
	raw := append([]byte{byte(len(data)), byte(offset >> 8), byte(offset), kind}, data...)
	sum := byte(0)
	for _, b := range raw {
		sum += b
	}
	return fmt.Appendf(nil, ":%X", append(raw, -sum))
}

// hexFile joins records and an end-of-file record with LF.
func hexFile(records ...[]byte) []byte {
	return append(bytes.Join(append(records, hexRec(1, 0)), []byte("\n")), '\n')
}

func TestIntelHexRefuses(t *testing.T) {
	data, end := string(hexRec(0, 0x100, 1, 2, 3)), string(hexRec(1, 0))
	for _, c := range []struct {
		name, in string
		reason   verdict.Reason
		part     string
	}{
		{"no end record", data, verdict.MissingEndRecord, "line 1"},
		{"no end record after LF", data + "\n" + data[:0], verdict.MissingEndRecord, "line 1"},
		{"only an end record", end, verdict.EmptyFirmware, "no data"},
		{"data after the end", data + "\n" + end + "\n\n" + data, verdict.DataAfterEnd, "line 4: data after the last record in line 2"},
		{"blank at the end", data + "\n" + end + "\n ", verdict.DataAfterEnd, "line 3"},
		{"blank line before the end", data + "\n\n" + end, verdict.BadRecord, "line 2: does not begin with ':'"},
		{"garbage line", data + "\nhello\n" + end, verdict.BadRecord, "line 2"},
		{"blank before", data + "\n " + end, verdict.BadRecord, "line 2"},
		{"blank after", data + " \n" + end, verdict.BadRecord, "line 1"},
		{"CR alone", data + "\r" + end, verdict.BadRecord, "line 1"},
		{"two CR", data + "\r\r\n" + end, verdict.BadRecord, "line 1"},
		{"NUL", data + "\n" + end + "\x00", verdict.BadRecord, "line 2"},
		{"not hexadecimal", strings.Replace(data, "1", "G", 1), verdict.BadRecord, `line 1: 'G' is not a hexadecimal digit`},
		{"odd digits", data[:len(data)-1], verdict.BadRecord, "line 1: 15 hexadecimal digits"},
		{"colon alone", ":\n" + end, verdict.BadRecord, "line 1: record of 0 bytes, at least 5"},
		{"too short", ":00000001\n", verdict.BadRecord, "record of 4 bytes, at least 5"},
		{"length too small", ":02010000010203F7\n", verdict.BadRecord, "line 1: record says that it has 2 data bytes, it has 3"},
		{"length too large", ":04010000010203F5\n", verdict.BadRecord, "it has 4 data bytes, it has 3"},
		{"line too long", data + "\n:" + strings.Repeat("0", 600), verdict.BadRecord, "line 2: longer than any record"},
		{"checksum", ":03010000010203F7\n", verdict.BadChecksum, "line 1: checksum is 0xF7, should be 0xF6"},
		{"checksum of the end", data + "\n:00000001FE", verdict.BadChecksum, "line 2"},
		{"unknown type", string(hexRec(6, 0, 0, 0)) + "\n" + end, verdict.UnknownRecord, "line 1: record type 06"},
		{"universal hex block", string(hexRec(10, 0, 0x99, 0, 0xc0, 0xde)) + "\n" + end, verdict.UnknownRecord, "record type 0A"},
		{"end with data", data + "\n" + string(hexRec(1, 0, 0)), verdict.BadRecord, "line 2: record of type 01 with 1 data bytes"},
		{"end with address", data + "\n" + string(hexRec(1, 0x100)), verdict.BadRecord, "line 2"},
		{"short base", string(hexRec(4, 0, 8)) + "\n" + end, verdict.BadRecord, "record of type 04 with 1 data bytes and address 0000, want 2 and 0000"},
		{"long base", string(hexRec(2, 0, 0, 8, 0)) + "\n" + end, verdict.BadRecord, "type 02"},
		{"base with address", string(hexRec(2, 4, 0x10, 0)) + "\n" + end, verdict.BadRecord, "address 0004"},
		{"short start", string(hexRec(5, 0, 0, 0)) + "\n" + end, verdict.BadRecord, "type 05"},
		{"long start", string(hexRec(3, 0, 0, 0, 0, 0, 0)) + "\n" + end, verdict.BadRecord, "type 03"},
		{"start checksum", data + "\n:0400000508000000EE\n" + end, verdict.BadChecksum, "line 2"},
		{"overlap", string(hexFile(hexRec(0, 0, 1, 2), hexRec(0, 0x80, 9), hexRec(0, 1, 7))), verdict.SegmentOverlap, "line 3: 0x00000001-0x00000001 overlaps 0x00000000-0x00000001 of line 1"},
		{"overlap downwards", string(hexFile(hexRec(0, 8, 1, 2), hexRec(0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9))), verdict.SegmentOverlap, "line 2: 0x00000000-0x00000008 overlaps 0x00000008-0x00000009 of line 1"},
		{"overlap with equal bytes", string(hexFile(hexRec(0, 0, 1, 2), hexRec(0, 0, 1, 2))), verdict.SegmentOverlap, "line 2"},
		{"overlap by wrapping", string(hexFile(hexRec(2, 0, 0, 0), hexRec(0, 0, 9), hexRec(0, 0xffff, 1, 2))), verdict.SegmentOverlap, "line 3"},
		{"past the address space", string(hexFile(hexRec(4, 0, 0xff, 0xff), hexRec(0, 0xffff, 1, 2))), verdict.AddressRange, "line 2: 2 bytes at 0xffffffff"},
		{"UICR", string(hexFile(hexRec(4, 0, 0, 7), hexRec(0, 0x7000, 1, 2), hexRec(4, 0, 0x10, 0), hexRec(0, 0x1014, 0, 0x70, 7, 0))), verdict.AddressSpan,
			"line 4: segment at 0x10001014 is 255.5 MiB past the previous one, which ends at 0x00077001: 0x00077000-0x10001017 is 255.5 MiB, at most 16 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, f, err := firmware.Load(strings.NewReader(c.in), firmware.Options{})
			wantRefused(t, err, c.reason, "firmware: hex", c.part)
			if f != firmware.IntelHex {
				t.Errorf("format %s", f)
			}
		})
	}
}

func TestIntelHex(t *testing.T) {
	seg := func(addr uint32, data ...byte) formats.Segment { return formats.Segment{Addr: addr, Data: data} }
	long := bytes.Repeat([]byte{0x5a}, 255)
	for _, c := range []struct {
		name string
		in   []byte
		want []formats.Segment
	}{
		{"one record", hexFile(hexRec(0, 0x100, 1, 2)), []formats.Segment{seg(0x100, 1, 2)}},
		{"no line end at the end", bytes.TrimSpace(hexFile(hexRec(0, 0x100, 1, 2))), []formats.Segment{seg(0x100, 1, 2)}},
		{"CRLF", bytes.ReplaceAll(hexFile(hexRec(0, 0x100, 1, 2)), []byte("\n"), []byte("\r\n")), []formats.Segment{seg(0x100, 1, 2)}},
		{"blank lines at the end", append(hexFile(hexRec(0, 0x100, 1, 2)), "\n\r\n\n"...), []formats.Segment{seg(0x100, 1, 2)}},
		{"lower case", bytes.ToLower(hexFile(hexRec(0, 0xabcd, 0xef))), []formats.Segment{seg(0xabcd, 0xef)}},
		{"longest record", hexFile(hexRec(0, 0, long...)), []formats.Segment{seg(0, long...)}},
		{"record without data", hexFile(hexRec(0, 0x40), hexRec(0, 0, 1)), []formats.Segment{seg(0, 1)}},
		{"gap and order", hexFile(hexRec(0, 0x20, 3), hexRec(0, 0, 1), hexRec(0, 1, 2)), []formats.Segment{seg(0, 1, 2), seg(0x20, 3)}},
		{"linear base", hexFile(hexRec(4, 0, 8, 1), hexRec(0, 2, 1)), []formats.Segment{seg(0x0801_0002, 1)}},
		{"segment base", hexFile(hexRec(2, 0, 0x10, 1), hexRec(0, 2, 1)), []formats.Segment{seg(0x1_0012, 1)}},
		{"highest segment address", hexFile(hexRec(2, 0, 0xff, 0xff), hexRec(0, 0xffff, 1)), []formats.Segment{seg(0x10_ffef, 1)}},
		{"linear crosses 64 KiB", hexFile(hexRec(4, 0, 0, 1), hexRec(0, 0xffff, 1, 2)), []formats.Segment{seg(0x1_ffff, 1, 2)}},
		{"neither crosses 64 KiB", hexFile(hexRec(0, 0xffff, 1, 2)), []formats.Segment{seg(0xffff, 1, 2)}},
		{"segment wraps", hexFile(hexRec(2, 0, 0x10, 0), hexRec(0, 0xffff, 1, 2)), []formats.Segment{seg(0x1_0000, 2), seg(0x1_ffff, 1)}},
		{"segment replaces linear", hexFile(hexRec(4, 0, 0, 2), hexRec(2, 0, 0x10, 0), hexRec(0, 0, 1)), []formats.Segment{seg(0x1_0000, 1)}},
		{"linear replaces segment", hexFile(hexRec(2, 0, 0x10, 0), hexRec(4, 0, 0, 2), hexRec(0, 0, 1)), []formats.Segment{seg(0x2_0000, 1)}},
		{"last byte", hexFile(hexRec(4, 0, 0xff, 0xff), hexRec(0, 0xffff, 1)), []formats.Segment{seg(0xffff_ffff, 1)}},
		{"start addresses", hexFile(hexRec(0, 0, 1), hexRec(3, 0, 0, 0, 1, 0), hexRec(5, 0, 8, 0, 0, 1)), []formats.Segment{seg(0, 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, f, err := firmware.Load(iotest.OneByteReader(bytes.NewReader(c.in)), firmware.Options{})
			if err != nil || f != firmware.IntelHex {
				t.Fatal(f, err)
			}
			wantSame(t, m, image(t, c.want...))
		})
	}
}

// MaxSize admits exactly as much as it says, in bytes and in span.
func TestMaxSize(t *testing.T) {
	dense := hexFile(hexRec(0, 0, 1, 2, 3, 4), hexRec(0, 4, 5, 6, 7, 8))
	sparse := hexFile(hexRec(0, 0, 1), hexRec(0, 7, 8))
	for _, in := range [][]byte{dense, sparse} {
		if m := load(t, in, firmware.Options{MaxSize: 8}); m.End() != 8 {
			t.Errorf("image ends at %d", m.End())
		}
	}
	_, _, err := firmware.Load(bytes.NewReader(dense), firmware.Options{MaxSize: 7})
	wantRefused(t, err, verdict.TooLarge, "line 2: more than 7 bytes of data")
	_, _, err = firmware.Load(bytes.NewReader(sparse), firmware.Options{MaxSize: 7})
	wantRefused(t, err, verdict.AddressSpan, "line 2", "is 8 bytes, at most 7 bytes")
}

// The part of a record that wraps counts like the part that does not.
func TestMaxSizeWhenSegmentWraps(t *testing.T) {
	in := hexFile(hexRec(2, 0, 0, 0), hexRec(0, 0xfffe, 1, 2, 3, 4))
	_, _, err := firmware.Load(bytes.NewReader(in), firmware.Options{MaxSize: 3})
	wantRefused(t, err, verdict.TooLarge, "line 2")
}

func TestTooManyRanges(t *testing.T) {
	var b bytes.Buffer
	for i := range 1<<18 + 1 {
		if i%0x8000 == 0 {
			b.Write(append(hexRec(4, 0, 0, byte(i>>15)), '\n'))
		}
		b.Write(append(hexRec(0, uint16(2*i), 1), '\n'))
	}
	b.Write(hexRec(1, 0))
	_, _, err := firmware.Load(&b, firmware.Options{})
	wantRefused(t, err, verdict.TooLarge, "more than 262144 separate address ranges")
}

func BenchmarkIntelHex(b *testing.B) {
	data := make([]byte, 256<<10)
	for i := range data {
		data[i] = byte(i*i + i>>8)
	}
	var text bytes.Buffer
	if err := firmware.WriteIntelHex(&text, image(b, formats.Segment{Addr: 0x0800_0000, Data: data})); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		load(b, text.Bytes(), firmware.Options{})
	}
}
