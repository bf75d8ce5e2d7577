package firmware_test

import (
	"bytes"
	"math"
	"reflect"
	"runtime/metrics"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign/verdict"
)

// fuzzLimit keeps one input cheap.
const fuzzLimit = 64 << 10

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// fuzzMemory is how much loading an input may allocate, in bytes.
func fuzzMemory(in []byte) uint64 { return 1<<20 + uint64(64*len(in)) }

// check loads an input and holds it against what is promised for every input:
// a verdict or an image, memory by the size of what was read, an image within
// its bounds that comes back the same from a hex file.
func check(t *testing.T, in []byte, o firmware.Options) {
	o.MaxSize = fuzzLimit
	var m formats.Image
	var f firmware.Format
	var err error
	// The runtime books allocations late, so one reading can include those of
	// earlier inputs: what Load itself takes, it takes each time.
	least := uint64(math.MaxUint64)
	for range 3 {
		before := allocated()
		m, f, err = firmware.Load(bytes.NewReader(in), o)
		if least = min(least, allocated()-before); least <= fuzzMemory(in) {
			break
		}
	}
	if least > fuzzMemory(in) {
		t.Errorf("%d bytes allocated for %d", least, len(in))
	}
	if err != nil {
		if verdict.Of(err) == "" {
			t.Errorf("no verdict: %v", err)
		}
		if !m.Empty() {
			t.Error("an image beside the error")
		}
		return
	}
	if f == firmware.Auto || o.Format != firmware.Auto && f != o.Format {
		t.Errorf("format %s, want %s", f, o.Format)
	}
	if m.Empty() || m.Size() > fuzzLimit || m.End()-uint64(m.Start()) > fuzzLimit {
		t.Fatalf("image out of bounds: %d bytes, %#x-%#x", m.Size(), m.Start(), m.End())
	}
	var text bytes.Buffer
	if err := firmware.WriteIntelHex(&text, m); err != nil {
		t.Fatal(err)
	}
	again, f, err := firmware.Load(&text, firmware.Options{MaxSize: fuzzLimit})
	if err != nil || f != firmware.IntelHex || !reflect.DeepEqual(again, m) {
		t.Errorf("not the same from its hex file: %s, %v", f, err)
	}
	var bin bytes.Buffer
	if err := firmware.WriteBin(&bin, m, 0xff); err != nil {
		t.Fatal(err)
	}
	if flat, err := m.Flatten(m.Start(), fuzzLimit, 0xff); err != nil || !bytes.Equal(flat, bin.Bytes()) {
		t.Errorf("not the same flattened: %v", err)
	}
}

func seedText(f *testing.F) {
	for _, name := range []string{"app.hex", "slot.hex", "low.hex", "low-segmented.hex", "high-objcopy.hex", "wrap02.hex", "app.srec", "low.srec", "low-s37.srec"} {
		f.Add(vector(f, name))
	}
	f.Add(hexFile(hexRec(2, 0, 0x10, 0), hexRec(0, 0xffff, 1, 2), hexRec(3, 0, 0, 0, 1, 0), hexRec(5, 0, 8, 0, 0, 1)))
	f.Add(hexFile(hexRec(0, 8, 1), hexRec(0, 0, 1), hexRec(4, 0, 0xff, 0xff), hexRec(0, 0xffff, 1)))
	f.Add(srecFile(srecRec(0, 0), srecRec(1, 0xffff, 1, 2), srecRec(2, 0, 1), srecRec(3, 1, 1), srecRec(6, 3), srecRec(8, 0)))
}

// seedELF adds small files only: the fuzzer takes long to minimize a linker's.
func seedELF(f *testing.F) {
	f.Add([]byte(elfFile(prog{paddr: 0x100, data: []byte("code")}, prog{paddr: 0x104, data: []byte("data")}, prog{paddr: 0x200, data: []byte("more")})))
	f.Add([]byte(elfFile(prog{paddr: 0x1_0000, data: []byte("firmware"), headers: true}).addSections(section{1, 2, 84, 8})))
	f.Add([]byte(append(elfFile(prog{paddr: 0x1_0000, data: []byte("firmware"), headers: true}), make([]byte, 40)...).addSections(section{1, 2, 88, 4})))
}

func FuzzIntelHex(f *testing.F) {
	seedText(f)
	f.Fuzz(func(t *testing.T, in []byte) { check(t, in, firmware.Options{Format: firmware.IntelHex}) })
}

func FuzzSRec(f *testing.F) {
	seedText(f)
	f.Fuzz(func(t *testing.T, in []byte) { check(t, in, firmware.Options{Format: firmware.SRec}) })
}

func FuzzELF(f *testing.F) {
	seedELF(f)
	f.Fuzz(func(t *testing.T, in []byte) { check(t, in, firmware.Options{Format: firmware.ELF}) })
}

func FuzzLoad(f *testing.F) {
	seedText(f)
	seedELF(f)
	f.Add([]byte("\x00\x40\x00\x20\xc1\x01\x00\x08"))
	f.Fuzz(func(t *testing.T, in []byte) {
		check(t, in, firmware.Options{})
		check(t, in, firmware.Options{Base: new(uint32(0x1c000))})
	})
}

// Checksums keep a fuzzer out; this target writes them itself, so that what
// records mean gets its share.
func FuzzIntelHexRecords(f *testing.F) {
	f.Add([]byte("\x00\xff\xf8\x04abcd\x02\x00\x00\x02\x10\x00\x00\xff\xfe\x04abcd"))
	f.Add([]byte("\x04\x00\x00\x02\x08\x00\x00\x00\x00\x01a\x00\x00\x02\x01b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var records [][]byte
		for len(in) >= 4 {
			n := min(int(in[3]), len(in)-4)
			records = append(records, hexRec(in[0], uint16(in[1])<<8|uint16(in[2]), in[4:4+n]...))
			in = in[4+n:]
		}
		check(t, hexFile(records...), firmware.Options{})
	})
}
