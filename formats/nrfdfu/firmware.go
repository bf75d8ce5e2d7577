package nrfdfu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign/verdict"
)

// MaxFirmware bounds the bytes of one firmware file, in a package and as
// input. The chips have up to 1 MiB of flash; an external application may be
// for a larger one.
const MaxFirmware = 16 << 20

// Addresses that decide what of a hex file is firmware (pc-nrfutil,
// nordicsemi/dfu/nrfhex.py).
const (
	mbrEnd      = 0x1000     // the master boot record lies below
	earlySD     = 0x3000     // where the first SoftDevices for the nRF52832 begin
	outsideCode = 0x10000000 // information registers and external memory, from here on
	word        = 4
	fill        = 0xff // what erased flash reads as
)

// Where the information structure of a SoftDevice is, from its first byte, and
// the fields in it (nrf_sdm.h). Numbers are little endian.
const (
	infoOffset  = 0x2000
	infoMagic   = infoOffset + 0x04
	infoSize    = infoOffset + 0x08
	infoFWID    = infoOffset + 0x0c
	infoID      = infoOffset + 0x10
	infoVersion = infoOffset + 0x14

	softDeviceMagic = 0x51b1e5db
)

// Firmware is the content of a .bin file of a package: whole words, without
// gaps.
type Firmware struct {
	Data    []byte
	Address uint32 // of the first byte, where the input had addresses
	// Dropped counts the bytes of the input that lie outside the flash that an
	// update writes: the master boot record, UICR, external memory.
	Dropped int
}

// FromBin takes a raw binary as it is, and fills it up to a whole number of
// 4-byte words with 0xFF.
func FromBin(data []byte) (Firmware, error) {
	if len(data) > MaxFirmware {
		return Firmware{}, verdict.New(verdict.DFUPartSize, "firmware", "%d bytes, at most %d are possible", len(data), MaxFirmware)
	}
	f := Firmware{Data: slices.Clone(data)}
	return f, f.finish()
}

// FromImage takes firmware with addresses by the rules of pc-nrfutil
// (nordicsemi/dfu/nrfhex.py): bytes below 0x1000 (the master boot record) and
// from 0x10000000 on (UICR, external memory) are dropped, below 0x3000 in an
// early SoftDevice for the nRF52832; gaps are filled with 0xFF, and so is the
// end up to a whole number of 4-byte words.
func FromImage(m formats.Image) (Firmware, error) {
	code, err := cut(m, mbrEnd, outsideCode)
	if err != nil {
		return Firmware{}, err
	}
	if isEarlySoftDevice(code) {
		if code, err = cut(code, earlySD, outsideCode); err != nil {
			return Firmware{}, err
		}
	}
	f := Firmware{Address: code.Start(), Dropped: m.Size() - code.Size()}
	if f.Data, err = code.Flatten(code.Start(), MaxFirmware, fill); err != nil {
		return Firmware{}, err
	}
	return f, f.finish()
}

// LoadFirmware reads a firmware file of any format that package firmware reads
// and applies the rules of [FromImage] or, to a raw binary, of [FromBin].
// Unlike firmware.Load alone it takes hex files with UICR words in them, which
// are a long way from the code.
func LoadFirmware(r io.Reader, f firmware.Format) (Firmware, error) {
	const limit = MaxFirmware / 16 * 50 // 50 bytes of text are plenty for 16 bytes of data
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return Firmware{}, fmt.Errorf("nrfdfu: firmware: %w", err)
	case len(data) > limit:
		return Firmware{}, verdict.New(verdict.TooLarge, "firmware", "more than %d bytes", limit)
	case f == firmware.Bin:
		return FromBin(data)
	}
	image, _, err := firmware.Load(bytes.NewReader(data), firmware.Options{Format: f, MaxSize: math.MaxInt32})
	switch {
	case verdict.Of(err) == verdict.BaseMissing: // a raw binary, which has no need of one here
		return FromBin(data)
	case err != nil:
		return Firmware{}, err
	}
	return FromImage(image)
}

// cut keeps what lies from begin up to, not including, end.
func cut(m formats.Image, begin, end uint64) (formats.Image, error) {
	var kept []formats.Segment
	for _, s := range m.Segments() {
		r := s.Range()
		from, to := max(uint64(r.Start), begin), min(r.End, end)
		if from < to {
			kept = append(kept, formats.Segment{Addr: uint32(from), Data: s.Data[from-uint64(r.Start) : to-uint64(r.Start)]})
		}
	}
	return formats.NewImage(kept)
}

// isEarlySoftDevice looks for the magic number where SoftDevices have it that
// begin at 0x3000 or later, and not where the others have it.
func isEarlySoftDevice(m formats.Image) bool {
	magic := func(at uint32) bool {
		b, err := bytesAt(m, at)
		return err == nil && binary.LittleEndian.Uint32(b) == softDeviceMagic
	}
	const usual = mbrEnd + infoMagic
	if magic(usual) {
		return false
	}
	for i := range uint32(4) {
		if magic(usual + (i+1)*0x1000) {
			return true
		}
	}
	return false
}

var errGap = errors.New("no data")

func bytesAt(m formats.Image, at uint32) ([]byte, error) {
	for _, s := range m.Segments() {
		if r := s.Range(); at >= r.Start && uint64(at)+word <= r.End {
			return s.Data[at-r.Start:][:word], nil
		}
	}
	return nil, errGap
}

// finish pads to whole words and refuses what is empty or too long.
func (f *Firmware) finish() error {
	if len(f.Data) == 0 {
		return verdict.New(verdict.DFUPartSize, "firmware", "no bytes that an update writes, %d others", f.Dropped)
	}
	for len(f.Data)%word != 0 {
		f.Data = append(f.Data, fill)
	}
	return nil
}

// SoftDevice is what a SoftDevice says of itself.
type SoftDevice struct {
	FWID    uint16 // firmware id, which sd_req lists
	ID      uint32 // variant, for example 132; 0 where it is not known
	Version uint32 // 1000000 × major + 1000 × minor + bugfix; 0 where it is not known
	End     uint32 // address after its last byte: its size, the master boot record included
}

// Major returns the major version.
func (s SoftDevice) Major() uint32 { return s.Version / 1000000 }

// ReadSoftDevice reads the information structure of a SoftDevice (nrf_sdm.h),
// whose bytes begin after the master boot record. It reports false where there
// is none.
func ReadSoftDevice(data []byte) (SoftDevice, bool) {
	if word32(data, infoMagic) != softDeviceMagic {
		return SoftDevice{}, false
	}
	s := SoftDevice{FWID: uint16(word32(data, infoFWID)), End: word32(data, infoSize)}
	// The first byte is the length of the structure: old ones are shorter.
	if length := data[infoOffset]; length > infoID-infoOffset {
		s.ID = word32(data, infoID)
		if length > infoVersion-infoOffset {
			s.Version = word32(data, infoVersion)
		}
	}
	return s, true
}

// word32 reads as the device does: past the end there is erased flash.
func word32(data []byte, at int) uint32 {
	b := [word]byte{fill, fill, fill, fill}
	if at < len(data) {
		copy(b[:], data[at:])
	}
	return binary.LittleEndian.Uint32(b[:])
}
