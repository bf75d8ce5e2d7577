package firmware_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign/verdict"
)

func image(t testing.TB, segments ...formats.Segment) formats.Image {
	t.Helper()
	m, err := formats.NewImage(segments)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func load(t testing.TB, data []byte, o firmware.Options) formats.Image {
	t.Helper()
	m, _, err := firmware.Load(bytes.NewReader(data), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantSame(t testing.TB, got, want formats.Image) {
	t.Helper()
	if !reflect.DeepEqual(got.Segments(), want.Segments()) {
		t.Errorf("images differ:\ngot  %s\nwant %s", describe(got), describe(want))
	}
}

func describe(m formats.Image) string {
	var b strings.Builder
	for _, s := range m.Segments() {
		b.WriteString(s.Range().String() + " ")
	}
	return b.String()
}

// wantRefused checks the reason of a refusal and what its message names.
func wantRefused(t testing.TB, err error, reason verdict.Reason, parts ...string) {
	t.Helper()
	if verdict.Of(err) != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	base := new(uint32(0x0800_0000))
	hex := string(hexFile(hexRec(0, 0, 1, 2, 3)))
	for _, c := range []struct {
		name, in string
		o        firmware.Options
		reason   verdict.Reason
		part     string
	}{
		{"empty", "", firmware.Options{}, verdict.EmptyFirmware, ""},
		{"empty hex", "", firmware.Options{Format: firmware.IntelHex}, verdict.EmptyFirmware, ""},
		{"empty bin", "", firmware.Options{Format: firmware.Bin, Base: base}, verdict.EmptyFirmware, ""},
		{"bin without base", "\x00\x40\x00\x20", firmware.Options{}, verdict.BaseMissing, "bin: a raw binary has no addresses"},
		{"stated bin without base", "\x00\x40\x00\x20", firmware.Options{Format: firmware.Bin}, verdict.BaseMissing, ""},
		{"hex with base", hex, firmware.Options{Base: base}, verdict.BaseNotAllowed, "hex: the file has addresses of its own, base address 0x08000000"},
		{"srec with base", "S9030000FC\n", firmware.Options{Base: base}, verdict.BaseNotAllowed, ""},
		{"elf with base", "\x7fELF", firmware.Options{Base: base}, verdict.BaseNotAllowed, ""},
		{"text with base", "version https://git-lfs.github.com/spec/v1\n", firmware.Options{Base: base}, verdict.UnknownFirmware, "text file"},
		{"bin too large", "\x00\x40\x00\x20\x01", firmware.Options{Base: base, MaxSize: 4}, verdict.TooLarge, "more than 4 bytes"},
		{"bin past the address space", "\x00\x40\x00\x20\x01", firmware.Options{Base: new(uint32(0xffff_fffc))}, verdict.AddressRange, "firmware: bin"},
		{"hex behind a byte order mark", "\xef\xbb\xbf" + hex, firmware.Options{}, verdict.BadRecord, "line 1"},
		{"hex behind a blank line", "\n" + hex, firmware.Options{}, verdict.BadRecord, "line 1"},
		{"hex as srec", hex, firmware.Options{Format: firmware.SRec}, verdict.BadRecord, ""},
		{"hex as elf", hex + strings.Repeat(" ", 60), firmware.Options{Format: firmware.ELF}, verdict.BadELF, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _, err := firmware.Load(strings.NewReader(c.in), c.o)
			wantRefused(t, err, c.reason, c.part)
			if !m.Empty() {
				t.Error("an image beside the error")
			}
		})
	}

	for _, f := range []firmware.Format{-1, 5} {
		if _, _, err := firmware.Load(strings.NewReader(hex), firmware.Options{Format: f}); !errors.Is(err, firmware.ErrFormat) {
			t.Errorf("format %d: %v", f, err)
		}
	}
	if _, _, err := firmware.Load(strings.NewReader(hex), firmware.Options{MaxSize: -1}); err == nil {
		t.Error("a negative bound is accepted")
	}
}

// A reader that fails is no verdict on the file.
func TestLoadReadErrors(t *testing.T) {
	broken := errors.New("broken")
	sections := append(elfFile(prog{data: make([]byte, 1000), headers: true}), "debug information"...).addSections(section{1, 2, 84, 1})
	farSections := bytes.Clone(sections)
	elfBytes(farSections).set32(32, 0x1_0000)
	for name, in := range map[string]string{
		"at once": "",
		"bin":     strings.Repeat("\x00", 1000),
		"hex":     strings.Repeat(":0000000000\n", 1000),
		"srec":    "S0030000FC\n",
		"elf":     string(elfFile(prog{data: make([]byte, 1000)}).bytes())[:900],

		"elf, before its sections": string(farSections),
		"elf, in its sections":     string(sections[:len(sections)-1]),
	} {
		o := firmware.Options{}
		if name == "bin" {
			o.Base = new(uint32(0))
		}
		_, _, err := firmware.Load(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), o)
		if !errors.Is(err, broken) || verdict.Of(err) != "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLoadBin(t *testing.T) {
	data := []byte("\x00\x40\x00\x20\xc1\x01\x00\x08")
	for _, o := range []firmware.Options{
		{Base: new(uint32(0x1c000))},
		{Base: new(uint32(0x1c000)), Format: firmware.Bin, MaxSize: len(data)},
	} {
		m, f, err := firmware.Load(iotest.OneByteReader(bytes.NewReader(data)), o)
		if err != nil || f != firmware.Bin {
			t.Fatal(f, err)
		}
		wantSame(t, m, image(t, formats.Segment{Addr: 0x1c000, Data: data}))
	}
	text := []byte("hello")
	m := load(t, text, firmware.Options{Format: firmware.Bin, Base: new(uint32(0))})
	wantSame(t, m, image(t, formats.Segment{Data: text}))
}

func TestDetect(t *testing.T) {
	for in, want := range map[string]firmware.Format{
		"":                           firmware.Bin,
		"\x00\x40\x00\x20":           firmware.Bin,
		"\x7fELF\x01\x01\x01":        firmware.ELF,
		"\x7fEL":                     firmware.Bin,
		":10":                        firmware.IntelHex,
		":":                          firmware.IntelHex,
		":\xff":                      firmware.IntelHex, // damaged in its second byte: still not to be signed as it is
		" \t\r\n:0":                  firmware.IntelHex,
		"\xef\xbb\xbf:0":             firmware.IntelHex,
		"\x20\x3a\x00\x20\xc1\x01":   firmware.Bin, // stack pointer 0x20003a20
		"S0":                         firmware.SRec,
		"\nS3":                       firmware.SRec,
		"S":                          firmware.Bin,
		"SUB":                        firmware.Bin,
		"s1":                         firmware.Bin,
		"version https://git-lfs":    firmware.Bin,
		strings.Repeat("\n", 40):     firmware.Bin,
		"\xef\xbb\xbf":               firmware.Bin,
		"\x3d\xb8\xf3\x96\x00\x00S1": firmware.Bin, // MCUboot header
	} {
		if got := firmware.Detect([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestFormatNames(t *testing.T) {
	for f := firmware.Auto; f <= firmware.ELF; f++ {
		if got, err := firmware.ParseFormat(f.String()); got != f || err != nil {
			t.Errorf("%s: parsed to %s, %v", f, got, err)
		}
	}
	for _, name := range []string{"", "HEX", "ihex", "format(9)"} {
		if _, err := firmware.ParseFormat(name); !errors.Is(err, firmware.ErrFormat) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if got := firmware.Format(9).String(); got != "format(9)" {
		t.Error(got)
	}
}

// What a file claims costs nothing: neither its addresses nor its lengths.
func TestMemoryIsBounded(t *testing.T) {
	huge := elfFile(prog{paddr: 0, data: []byte("x")})
	huge.set32(52+16, 0xffff_ffff) // filesz
	huge.set32(52+20, 0xffff_ffff)
	far := elfFile(prog{paddr: 0, data: []byte("x")})
	far.set32(52+4, 0xffff_0000) // offset
	table := elfFile(prog{paddr: 0, data: []byte("x")})
	table.set32(28, 0xffff_0000) // phoff
	progs := elfFile(prog{paddr: 0, data: []byte("x")})
	progs.set16(44, 0xfffe) // phnum
	sections := elfFile(prog{paddr: 0, data: []byte("x"), headers: true})
	sections.set32(32, 0xffff_0000) // shoff
	sections.set16(46, 40)
	sections.set16(48, 0xffff) // shnum

	for name, c := range map[string]struct {
		in     []byte
		reason verdict.Reason
	}{
		"hex span":         {hexFile(hexRec(0, 0, 1), hexRec(4, 0, 0xff, 0xff), hexRec(0, 0xffff, 1)), verdict.AddressSpan},
		"srec span":        {srecFile(srecRec(1, 0, 1), srecRec(3, 0xffff_ffff, 1), srecRec(7, 0)), verdict.AddressSpan},
		"elf span":         {elfFile(prog{paddr: 0, data: []byte("x")}, prog{paddr: 0xffff_fff0, data: []byte("x")}).bytes(), verdict.AddressSpan},
		"elf filesz":       {huge.bytes(), verdict.TooLarge},
		"elf offset":       {far.bytes(), verdict.Truncated},
		"elf phoff":        {table.bytes(), verdict.Truncated},
		"elf phnum":        {progs.bytes(), verdict.Truncated},
		"elf sections":     {sections.bytes(), verdict.Truncated},
		"hex long line":    {[]byte(":" + strings.Repeat("0", 1<<20)), verdict.BadRecord},
		"hex no line ends": {bytes.Repeat([]byte(":00000001FF"), 1<<16), verdict.BadRecord},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := firmware.Load(bytes.NewReader(c.in), firmware.Options{})
			runtime.ReadMemStats(&after)
			wantRefused(t, err, c.reason)
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
}

// repeat is a file without an end.
type repeat struct {
	head, body string
	at         int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		if r.at < len(r.head) {
			p[i] = r.head[r.at]
		} else {
			p[i] = r.body[(r.at-len(r.head))%len(r.body)]
		}
		r.at++
	}
	return len(p), nil
}

func TestReadingIsBounded(t *testing.T) {
	end := ":00000001FF\n"
	for name, r := range map[string]*repeat{
		"hex base records": {body: ":020000040800F2\n"},
		"hex blank lines":  {head: ":0100000001FE\n" + end, body: "\n"},
		"hex data":         {body: ":0100000001FE\n"},
		"srec counts":      {body: "S5030000FC\n"},
		"bin":              {body: "\x00"},
		"elf":              {head: string(elfFile(prog{data: []byte("x"), offset: 0xff00_0000}).bytes()), body: "\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			o := firmware.Options{MaxSize: 1 << 10}
			if name == "bin" {
				o.Base = new(uint32(0))
			}
			_, _, err := firmware.Load(r, o)
			wantRefused(t, err, verdict.TooLarge)
			if r.at > 17<<20 {
				t.Errorf("%d bytes read", r.at)
			}
		})
	}
}
