package bootloader

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/otapack/otapack/bootloader/flash"
	"github.com/otapack/otapack/sign/verdict"
)

var packageGeometry = flash.Geometry{Base: 0x1000, Size: 0x1000, Page: 256, Unit: 4}

// written programs a bank image, as an update does, and returns the flash.
func written(t testing.TB, bank Region, b *bankImage) *flash.Flash {
	t.Helper()
	f, err := flash.New(packageGeometry)
	if err != nil {
		t.Fatal(err)
	}
	for n := range b.pages() {
		im, i, offset := b.page(n, packageGeometry.Page)
		if err := f.ProgramPage(bank.Base+offset, im, i, 64); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestLayOut(t *testing.T) {
	bank := Region{0x1400, 0x800}
	data := testImage(t, 4000)
	for name, tt := range map[string]struct {
		parts []contents
		own   int
		pages int
	}{
		"one":               {[]contents{{data[:700], data[1000:1100]}}, 0, 3 + 1},
		"host first":        {[]contents{{data[:700], data[1000:1050]}, {data[300:500], data[1100:1160]}}, 0, 3 + 1 + 1},
		"host last":         {[]contents{{data[:256], data[1000:1050]}, {data[300:500], data[1100:1160]}}, 1, 1 + 1 + 1},
		"large envelopes":   {[]contents{{data[:10], data[1000:1250]}, {data[300:310], data[2000:2300]}}, 0, 1 + 1 + 3 + 1},
		"all of the bank":   {[]contents{{data[:0x700], data[1000 : 1000+256-28]}}, 0, 8},
		"a byte of payload": {[]contents{{data[:1], nil}, {data[1:2], nil}, {data[2:3], nil}}, 1, 3 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := layOut(packageGeometry, bank, tt.parts, tt.own, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b.pages() != tt.pages {
				t.Errorf("%d pages, want %d", b.pages(), tt.pages)
			}
			f := written(t, bank, b)
			d, err := readDirectory(f, bank)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range tt.parts {
				payload, err := readFlash(f, bank, d[i].payload)
				if err != nil || !bytes.Equal(payload, p.payload) {
					t.Errorf("payload %d: %v", i, err)
				}
				envelope, err := readFlash(f, bank, d[i].envelope)
				if err != nil || !bytes.Equal(envelope, p.envelope) {
					t.Errorf("envelope %d: %v", i, err)
				}
				if d[i].payload.offset%packageGeometry.Page != 0 {
					t.Errorf("payload %d is not on a page", i)
				}
			}
			if own, err := d.own(); err != nil || own != d[tt.own] {
				t.Errorf("own entry %v, %v, want %v", own, err, d[tt.own])
			}
		})
	}
	for name, parts := range map[string][]contents{
		"image":    {{data[:0x701], data[1000:1010]}},
		"envelope": {{data[:0x700], data[1000 : 1000+256-27]}},
		"payload":  {{data[:0x400], nil}, {data[:0x301], nil}},
		"count":    make([]contents, 16),
	} {
		if _, err := layOut(packageGeometry, bank, parts, 0, nil); verdict.Of(err) != verdict.PackageExceedsBank {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadDirectoryRefused(t *testing.T) {
	bank := Region{0x1400, 0x800}
	data := testImage(t, 1000)
	b, err := layOut(packageGeometry, bank, []contents{{data[:700], data[700:800]}, {data[800:900], data[900:1000]}}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := written(t, bank, b)
	at := uint32(bank.End()) - packageGeometry.Page
	for offset := range directorySize(2) { // any bit of it
		f := good.Clone()
		if err := f.Decay(at+offset, int(offset)); err != nil {
			t.Fatal(err)
		}
		if _, err := readDirectory(f, bank); verdict.Of(err) != verdict.PackageDirectory {
			t.Errorf("byte %d: %v", offset, err)
		}
	}
	for name, change := range map[string]func([]byte){
		"blank":                   func(p []byte) { copy(p, blankBytes(len(p))) },
		"no entries":              func(p []byte) { p[4] = 0 },
		"too many entries":        func(p []byte) { p[4] = maxEntries + 1 },
		"payload outside":         func(p []byte) { binary.LittleEndian.PutUint32(p[12:], 0x801) },
		"payload around the end":  func(p []byte) { binary.LittleEndian.PutUint32(p[8:], 0xffffffff) },
		"envelope outside":        func(p []byte) { binary.LittleEndian.PutUint32(p[20:], 0x801) },
		"envelope beyond a bound": func(p []byte) { binary.LittleEndian.PutUint32(p[20:], maxEnvelope+1) },
	} {
		f := good.Clone()
		p := make([]byte, directorySize(2))
		if err := f.Read(at, p); err != nil {
			t.Fatal(err)
		}
		change(p)
		binary.LittleEndian.PutUint32(p[len(p)-4:], crc32.ChecksumIEEE(p[:len(p)-4]))
		if err := f.Erase(at); err != nil {
			t.Fatal(err)
		}
		if err := f.Program(at, p, 4); err != nil {
			t.Fatal(err)
		}
		if _, err := readDirectory(f, bank); verdict.Of(err) != verdict.PackageDirectory {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (directory{{payload: span{256, 1}}}).own(); verdict.Of(err) != verdict.PackageDirectory {
		t.Errorf("no image of its own: %v", err)
	}
}

// FuzzDirectory: a directory that is accepted is the one that would be written.
func FuzzDirectory(f *testing.F) {
	f.Add((directory{{span{0, 700}, span{0x720, 100}}, {span{0x300, 100}, span{0x784, 100}}}).encode())
	f.Add((directory{{}}).encode())
	f.Add(blankBytes(256))
	f.Fuzz(func(t *testing.T, data []byte) {
		page := blankBytes(256)
		copy(page, data)
		bank := Region{0x1000, 0x1000}
		mem, err := flash.New(packageGeometry)
		if err != nil {
			t.Fatal(err)
		}
		if err := mem.Program(0x1f00, page, 4); err != nil {
			t.Fatal(err)
		}
		d, err := readDirectory(mem, bank)
		if err != nil {
			if verdict.Of(err) == "" {
				t.Fatal(err)
			}
			return
		}
		if again := d.encode(); !bytes.Equal(again, page[:len(again)]) {
			t.Errorf("got %x, written as %x", page[:len(again)], again)
		}
	})
}

// FuzzState: a record that counts is the one that would be written.
func FuzzState(f *testing.F) {
	f.Add(state{phase: trial, active: 1, attempts: 2, floor: 17}.encode(4711))
	f.Add(state{phase: confirmed, staged: true, floor: 1 << 31}.encode(1))
	f.Add(blankBytes(recordSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) != recordSize {
			return
		}
		s, number, ok := decodeState(data, noFault)
		if again := s.encode(number); ok && !bytes.Equal(again, data) {
			t.Errorf("got %x, written as %x", data, again)
		}
	})
}
