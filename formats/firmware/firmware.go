package firmware

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

// Format is a firmware file format.
type Format int

// Formats of firmware files. Auto, the zero value, decides by content.
const (
	Auto     Format = iota
	Bin             // raw bytes, without addresses
	IntelHex        // Intel HEX, types 00 to 05
	SRec            // Motorola S-records, S19, S28 and S37
	ELF             // 32-bit little-endian ARM executable
)

var formatNames = [...]string{Auto: "auto", Bin: "bin", IntelHex: "hex", SRec: "srec", ELF: "elf"}

// ErrFormat says that a Format, or the name of one, does not exist.
var ErrFormat = errors.New("unknown firmware format")

// String returns "auto", "bin", "hex", "srec" or "elf".
func (f Format) String() string {
	if f < 0 || int(f) >= len(formatNames) {
		return fmt.Sprintf("format(%d)", int(f))
	}
	return formatNames[f]
}

// ParseFormat is the inverse of Format.String. The error wraps ErrFormat.
func ParseFormat(name string) (Format, error) {
	for f, n := range formatNames {
		if n == name {
			return Format(f), nil
		}
	}
	return Auto, fmt.Errorf("firmware: %q: %w", name, ErrFormat)
}

// DefaultMaxSize is the bound where Options has none: 16 MiB, which is as much
// as an MCU of this class addresses in external flash.
const DefaultMaxSize = 16 << 20

// Options says how to read a firmware file. The zero value finds the format by
// content and takes no raw binaries.
type Options struct {
	Format Format

	// Base is the address of a raw binary's first byte: required for Bin, nil
	// for all others.
	Base *uint32

	// MaxSize bounds the bytes of the image, and also the span from its first
	// to its last address; 0 means DefaultMaxSize.
	MaxSize int
}

// headSize is how much of a file decides its format.
const headSize = 512

// Load reads one firmware file. It returns the format that it found, also
// beside an error when it got that far.
//
// A file that is refused gives a *verdict.Error with one of the reasons under
// "Firmware input files", verdict.Truncated or verdict.TooLarge. With
// Options.Format Auto a text file of another kind (a Git LFS pointer, an error
// page) is refused too: set Bin to load one.
func Load(r io.Reader, o Options) (formats.Image, Format, error) {
	if o.MaxSize < 0 {
		return formats.Image{}, o.Format, fmt.Errorf("firmware: maximum size %d is negative", o.MaxSize)
	}
	limit := cmp.Or(o.MaxSize, DefaultMaxSize)
	br := bufio.NewReaderSize(r, 32<<10)
	head, err := br.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return formats.Image{}, o.Format, fmt.Errorf("firmware: %w", err)
	}
	f := o.Format
	if f == Auto {
		f = Detect(head)
	}
	if f < Bin || f > ELF {
		return formats.Image{}, f, fmt.Errorf("firmware: %s: %w", f, ErrFormat)
	}
	image, err := load(br, head, f, limit, o)
	return image, f, err
}

func load(br *bufio.Reader, head []byte, f Format, limit int, o Options) (formats.Image, error) {
	object := "firmware: " + f.String()
	switch {
	case len(head) == 0:
		return formats.Image{}, verdict.New(verdict.EmptyFirmware, object, "the file is empty")
	case f == Bin && o.Format == Auto && isText(head):
		return formats.Image{}, verdict.New(verdict.UnknownFirmware, "firmware", "a text file that is neither Intel HEX nor S-records")
	case f == Bin && o.Base == nil:
		return formats.Image{}, verdict.New(verdict.BaseMissing, object, "a raw binary has no addresses and needs a base address")
	case f != Bin && o.Base != nil:
		return formats.Image{}, verdict.New(verdict.BaseNotAllowed, object, "the file has addresses of its own, base address 0x%08x is not for it", *o.Base)
	}
	switch f {
	case IntelHex:
		return readIntelHex(br, limit)
	case SRec:
		return readSRec(br, limit)
	case ELF:
		return readELF(br, limit)
	}
	data, err := io.ReadAll(io.LimitReader(br, int64(limit)+1))
	switch {
	case err != nil:
		return formats.Image{}, fmt.Errorf("%s: %w", object, err)
	case len(data) > limit:
		return formats.Image{}, verdict.New(verdict.TooLarge, object, "more than %s", size(limit))
	}
	image, err := formats.NewImage([]formats.Segment{{Addr: *o.Base, Data: data}})
	if err != nil {
		return formats.Image{}, fmt.Errorf("%s: %w", object, err)
	}
	return image, nil
}

// Detect tells the format from the first bytes of a file, 512 of them are
// plenty. What is nothing else is Bin, so Detect never returns Auto.
//
// A byte order mark and blanks in front of the first record are looked past:
// such a file is for the text parser to refuse, not to be signed as a raw
// binary. The vector table of a Cortex-M is never mistaken for text: its first
// byte is the low one of an aligned stack pointer, which no ':' or 'S' is.
func Detect(head []byte) Format {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	digit := func(set string) bool { return len(text) > 1 && strings.IndexByte(set, text[1]) >= 0 }
	switch {
	case bytes.HasPrefix(head, []byte(elfMagic)):
		return ELF
	case bytes.HasPrefix(head, []byte(":")), bytes.HasPrefix(text, []byte(":")) && digit("0123456789ABCDEFabcdef"):
		return IntelHex
	case bytes.HasPrefix(text, []byte("S")) && digit("0123456789"):
		return SRec
	}
	return Bin
}

func isText(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// size prints a number of bytes for people.
func size[T int | uint64](n T) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
}
