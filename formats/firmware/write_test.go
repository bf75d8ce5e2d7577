package firmware_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
)

// failAfter is a disk that is full after so many bytes.
type failAfter int

var errFull = errors.New("disk is full")

func (f *failAfter) Write(p []byte) (int, error) {
	n := min(len(p), int(*f))
	*f -= failAfter(n)
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestWriteErrors(t *testing.T) {
	m := image(t, formats.Segment{Addr: 0x10, Data: []byte("abc")}, formats.Segment{Addr: 0x5010, Data: make([]byte, 10000)})
	for _, room := range []failAfter{0, 2, 100, 0x5001} {
		bin, hex := room, room
		if err := firmware.WriteBin(&bin, m, 0xff); !errors.Is(err, errFull) {
			t.Errorf("bin with room for %d: %v", room, err)
		}
		if err := firmware.WriteIntelHex(&hex, m); !errors.Is(err, errFull) {
			t.Errorf("hex with room for %d: %v", room, err)
		}
	}
}

func TestWriteBin(t *testing.T) {
	m := image(t, formats.Segment{Addr: 0x10, Data: []byte("abc")}, formats.Segment{Addr: 0x15, Data: []byte("f")}, formats.Segment{Addr: 0x2710, Data: []byte("z")})
	var b bytes.Buffer
	if err := firmware.WriteBin(&b, m, '.'); err != nil {
		t.Fatal(err)
	}
	flat, err := m.Flatten(0x10, 1<<20, '.')
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "abc..f...") || !bytes.Equal(b.Bytes(), flat) {
		t.Errorf("%d bytes, not what Flatten gives", b.Len())
	}
	b.Reset()
	if err := firmware.WriteBin(&b, formats.Image{}, '.'); err != nil || b.Len() != 0 {
		t.Errorf("an empty image is %d bytes, %v", b.Len(), err)
	}
}

func TestWriteIntelHex(t *testing.T) {
	for _, c := range []struct {
		name     string
		segments []formats.Segment
		want     string
	}{
		{"empty", nil, ":00000001FF\r\n"},
		{"short and full records", []formats.Segment{{Addr: 0x102, Data: []byte("0123456789abcdefg")}},
			":10010200303132333435363738396162636465668B\r\n:010112006785\r\n:00000001FF\r\n"},
		{"64 KiB boundary", []formats.Segment{{Addr: 0x1_ffff, Data: []byte{1, 2}}},
			":020000040001F9\r\n:01FFFF000100\r\n:020000040002F8\r\n:0100000002FD\r\n:00000001FF\r\n"},
		{"one base for two segments", []formats.Segment{{Addr: 0x0800_0000, Data: []byte{1}}, {Addr: 0x0800_ffff, Data: []byte{2}}},
			":020000040800F2\r\n:0100000001FE\r\n:01FFFF0002FF\r\n:00000001FF\r\n"},
		{"last byte", []formats.Segment{{Addr: 0xffff_ffff, Data: []byte{0xff}}},
			":02000004FFFFFC\r\n:01FFFF00FF02\r\n:00000001FF\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := firmware.WriteIntelHex(&b, image(t, c.segments...)); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("got\n%s\nwant\n%s", &b, c.want)
			}
		})
	}
}
