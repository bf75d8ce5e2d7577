package firmware_test

import (
	"bytes"
	"debug/elf"
	"os"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/testvectors"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Read("firmware/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden is the image that testvectors/firmware/make.sh has srec_cat generate.
func golden(t testing.TB, offset uint32) formats.Image {
	text := bytes.Repeat([]byte("otapack golden"), 20)
	return image(t,
		formats.Segment{Addr: offset + 0xfff3, Data: text[:0x10105-0xfff3]},
		formats.Segment{Addr: offset + 0x10201, Data: []byte{0xa5, 0xa5}},
	)
}

func TestGoldenText(t *testing.T) {
	for name, offset := range map[string]uint32{
		"low.hex": 0, "low-segmented.hex": 0, "low-objcopy.hex": 0, "low.srec": 0, "low-s37.srec": 0,
		"high.hex": 0x0800_0000, "high-objcopy.hex": 0x0800_0000, "high.srec": 0x0800_0000,
	} {
		t.Run(name, func(t *testing.T) {
			wantSame(t, load(t, vector(t, name), firmware.Options{}), golden(t, offset))
		})
	}
	wrapped := load(t, vector(t, "wrap02.hex"), firmware.Options{})
	wantSame(t, wrapped, load(t, vector(t, "wrap02.srec"), firmware.Options{}))
}

func TestGoldenIntelHexWriter(t *testing.T) {
	if got, want := intelHex(t, golden(t, 0x0800_0000)), vector(t, "high-objcopy.hex"); !bytes.Equal(got, want) {
		t.Errorf("objcopy writes\n%s\ngot\n%s", want, got)
	}
	// Below 1 MiB the base record is another one and all else the same.
	low := bytes.Replace(vector(t, "low-objcopy.hex"), []byte(":020000021000EC"), []byte(":020000040001F9"), 1)
	if got := intelHex(t, golden(t, 0)); !bytes.Equal(got, low) {
		t.Errorf("objcopy writes, but for its base record,\n%s\ngot\n%s", low, got)
	}
}

func TestGoldenELF(t *testing.T) {
	for _, c := range []struct {
		elf, tools string // names without extension
		start      uint32
	}{
		{"app", "app", 0x0800_0000},
		{"slot", "slot", 0x1_0200},
		{"lld", "slot", 0x1_0200},
	} {
		t.Run(c.elf, func(t *testing.T) {
			m := load(t, vector(t, c.elf+".elf"), firmware.Options{})
			sections := load(t, vector(t, c.tools+".hex"), firmware.Options{})
			wantSame(t, load(t, vector(t, c.tools+".srec"), firmware.Options{}), sections)
			if m.Start() != c.start || m.End() != sections.End() {
				t.Errorf("%#x-%#x, want %#x-%#x", m.Start(), m.End(), c.start, sections.End())
			}
			// GNU ld makes one segment of the sections around the gap and pads
			// it with zeros; with the same fill all are the same.
			if !bytes.Equal(flat(t, m, 0), flat(t, sections, 0)) {
				t.Error("the ELF file and objcopy's hex file differ")
			}
			if !bytes.Equal(flat(t, sections, 0xff), vector(t, c.tools+".bin")) {
				t.Error("objcopy's hex and binary files differ")
			}
		})
	}
}

// debug/elf, which the package does without, agrees on what there is to load.
func TestGoldenELFAgainstDebugELF(t *testing.T) {
	file := vector(t, "app.elf")
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var segments []formats.Segment
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Filesz > 0 {
			data := make([]byte, p.Filesz)
			if _, err := p.ReadAt(data, 0); err != nil {
				t.Fatal(err)
			}
			segments = append(segments, formats.Segment{Addr: uint32(p.Paddr), Data: data})
		}
	}
	wantSame(t, load(t, file, firmware.Options{}), image(t, segments...))
}

func flat(t testing.TB, m formats.Image, fill byte) []byte {
	t.Helper()
	b, err := m.Flatten(m.Start(), 1<<20, fill)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The radio firmware of the example, 480 KB of hex from a vendor's build.
func TestRealFirmware(t *testing.T) {
	file, err := os.ReadFile("../../examples/toothbrush/firmware/radio.hex")
	if os.IsNotExist(err) {
		t.Skip("examples/toothbrush/firmware/radio.hex is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, file, firmware.Options{})
	if m.Start() != 0x1c000 || m.Size() != 174784 || len(m.Segments()) != 1 {
		t.Errorf("%s: %d bytes", describe(m), m.Size())
	}
}
