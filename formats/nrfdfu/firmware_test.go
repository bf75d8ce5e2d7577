package nrfdfu_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign/verdict"
)

// TestInputs reads hex files with all that the rules are about. The packages of
// pc-nrfutil (see TestRebuild) have the same bytes for three of them.
func TestInputs(t *testing.T) {
	for name, want := range map[string]struct {
		size, dropped int
		address       uint32
	}{
		"app_gap":                     {1612, 0, 0x26000},
		"app_odd":                     {4100, 0, 0x26000},
		"app_mbr_uicr":                {2048, 260, 0x26000},
		"bootloader":                  {6152, 8, 0x78000},
		"softdevice_s132_720_standin": {16384, 2560, 0x1000},
		"app_v1":                      {20480, 0, 0},
	} {
		f := input(t, name)
		if len(f.Data) != want.size || f.Dropped != want.dropped || f.Address != want.address {
			t.Errorf("%s: %d bytes at 0x%x, %d dropped, want %+v", name, len(f.Data), f.Address, f.Dropped, want)
		}
	}
	if f := input(t, "app_odd"); f.Data[4099] != 0xff {
		t.Errorf("filled with %#x", f.Data[4099])
	}
}

func TestFromImage(t *testing.T) {
	magic := []byte{0xdb, 0xe5, 0xb1, 0x51}
	for name, c := range map[string]struct {
		segments []formats.Segment
		want     string
		address  uint32
	}{
		"gap":                         {[]formats.Segment{{Addr: 0x2000, Data: []byte{1}}, {Addr: 0x2003, Data: []byte{2, 3}}}, "01ffff0203ffffff", 0x2000},
		"below 0x1000":                {[]formats.Segment{{Addr: 0xffe, Data: []byte{1, 2, 3, 4}}}, "0304ffff", 0x1000},
		"from 0x10000000 on":          {[]formats.Segment{{Addr: 0x0ffffffe, Data: []byte{1, 2, 3, 4}}, {Addr: 0x12000000, Data: []byte{9}}}, "0102ffff", 0x0ffffffe},
		"early SoftDevice":            {[]formats.Segment{{Addr: 0x2ffe, Data: []byte{1, 2, 3, 4}}, {Addr: 0x4004, Data: magic}}, "", 0x3000},
		"early, the last place":       {[]formats.Segment{{Addr: 0x2ffe, Data: []byte{1, 2, 3, 4}}, {Addr: 0x7004, Data: magic}}, "", 0x3000},
		"too late":                    {[]formats.Segment{{Addr: 0x2ffe, Data: []byte{1, 2, 3, 4}}, {Addr: 0x8004, Data: magic}}, "", 0x2ffe},
		"the usual SoftDevice":        {[]formats.Segment{{Addr: 0x2ffe, Data: []byte{1, 2, 3, 4}}, {Addr: 0x3004, Data: magic}, {Addr: 0x4004, Data: magic}}, "", 0x2ffe},
		"incomplete number":           {[]formats.Segment{{Addr: 0x2ffe, Data: []byte{1, 2, 3, 4}}, {Addr: 0x4004, Data: magic[:3]}}, "", 0x2ffe},
		"an application above 0x3000": {[]formats.Segment{{Addr: 0x26000, Data: []byte{1, 2, 3, 4}}}, "01020304", 0x26000},
	} {
		m, err := formats.NewImage(c.segments)
		if err != nil {
			t.Fatal(err)
		}
		f, err := nrfdfu.FromImage(m)
		if err != nil || f.Address != c.address || c.want != "" && hex.EncodeToString(f.Data) != c.want || len(f.Data)%4 != 0 {
			t.Errorf("%s: %d bytes at 0x%x, %v", name, len(f.Data), f.Address, err)
		}
	}
	for name, c := range map[string]struct {
		segments []formats.Segment
		reason   verdict.Reason
	}{
		"empty":        {nil, verdict.DFUPartSize},
		"nothing left": {[]formats.Segment{{Addr: 0, Data: []byte{1}}, {Addr: 0x10001014, Data: []byte{2}}}, verdict.DFUPartSize},
		"too wide":     {[]formats.Segment{{Addr: 0x1000, Data: []byte{1}}, {Addr: 0x1000 + nrfdfu.MaxFirmware, Data: []byte{2}}}, verdict.ImageTooLong},
	} {
		m, err := formats.NewImage(c.segments)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nrfdfu.FromImage(m); verdict.Of(err) != c.reason {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
}

func TestFromBin(t *testing.T) {
	for in, want := range map[string]string{"a": "61ffffff", "abcd": "61626364", "abcde": "6162636465ffffff"} {
		data := []byte(in)
		f, err := nrfdfu.FromBin(data)
		data[0] = 0
		if err != nil || hex.EncodeToString(f.Data) != want || f.Dropped != 0 {
			t.Errorf("%s: %x, %v", in, f.Data, err)
		}
	}
	for _, n := range []int{0, nrfdfu.MaxFirmware + 1} {
		if _, err := nrfdfu.FromBin(make([]byte, n)); verdict.Of(err) != verdict.DFUPartSize {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestLoadFirmware(t *testing.T) {
	raw := bytes.Repeat([]byte{0, 1, 2, 3}, 300<<10) // longer than any buffer on the way
	for _, f := range []firmware.Format{firmware.Auto, firmware.Bin} {
		got, err := nrfdfu.LoadFirmware(bytes.NewReader(raw), f)
		if err != nil || sha256.Sum256(got.Data) != sha256.Sum256(raw) {
			t.Errorf("%s: %d bytes, %v", f, len(got.Data), err)
		}
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		r      io.Reader
		format firmware.Format
		reason verdict.Reason
	}{
		"empty":    {bytes.NewReader(nil), firmware.Auto, verdict.EmptyFirmware},
		"text":     {bytes.NewReader([]byte("version https://git-lfs.github.com/spec/v1\n")), firmware.Auto, verdict.UnknownFirmware},
		"bad hex":  {bytes.NewReader([]byte(":00000001FE\n")), firmware.Auto, verdict.BadChecksum},
		"too long": {io.LimitReader(zeros{}, 60<<20), firmware.Bin, verdict.TooLarge},
		"17 MiB":   {io.LimitReader(zeros{}, 17<<20), firmware.Bin, verdict.DFUPartSize},
		"broken":   {iotest.ErrReader(broken), firmware.Auto, ""},
		"breaks":   {io.MultiReader(bytes.NewReader(raw), iotest.ErrReader(broken)), firmware.Auto, ""},
	} {
		_, err := nrfdfu.LoadFirmware(c.r, c.format)
		if err == nil || verdict.Of(err) != c.reason || c.reason == "" && !errors.Is(err, broken) {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestReadSoftDevice(t *testing.T) {
	f := softDevice(t, 0x101, 132, 7002000, 0x26000)
	if got, ok := nrfdfu.ReadSoftDevice(f.Data); !ok || got != *s132(0x101, 7002000) || got.Major() != 7 {
		t.Errorf("got %+v, %t", got, ok)
	}
	short := bytes.Clone(f.Data)
	short[0x2000] = 0x10 // an old structure, without id and version
	if got, ok := nrfdfu.ReadSoftDevice(short); !ok || got.ID != 0 || got.Version != 0 || got.FWID != 0x101 {
		t.Errorf("old structure: %+v, %t", got, ok)
	}
	for name, data := range map[string][]byte{"empty": nil, "short": f.Data[:0x2007], "none": make([]byte, 0x3000)} {
		if _, ok := nrfdfu.ReadSoftDevice(data); ok {
			t.Errorf("%s: found one", name)
		}
	}
}
