package nrfdfu_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
)

const folder = "nrfdfu/"

// vector is one package of verdicts.json.
type vector struct {
	File       string                      `json:"file"`
	What       string                      `json:"what"`
	Images     map[nrfdfu.Kind]vectorImage `json:"images"`
	Bootloader map[string][]string         `json:"bootloader"`
}

type vectorImage struct {
	Packet   string `json:"packet"`
	Name     string `json:"name"`     // of its files
	Firmware string `json:"firmware"` // the input
	Patch    *struct {
		Offset int  `json:"offset"`
		Value  byte `json:"value"`
	} `json:"patch"`
	Cut     int    `json:"cut"`
	Prepend string `json:"prepend"`
	Append  string `json:"append"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	var file struct {
		Cases []vector `json:"cases"`
	}
	if err := testvectors.JSON(folder+"verdicts.json", &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 50 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	return file.Cases
}

// dat returns the init packet of an image of a vector.
func dat(t testing.TB, file string, kind nrfdfu.Kind) []byte {
	t.Helper()
	for _, v := range vectors(t) {
		if v.File == file {
			return unhex(t, v.Images[kind].Packet)
		}
	}
	t.Fatalf("no vector %s", file)
	return nil
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pack returns the package that a vector describes.
func (v vector) pack(t testing.TB) *nrfdfu.Package {
	t.Helper()
	p := &nrfdfu.Package{}
	for _, kind := range []nrfdfu.Kind{nrfdfu.KindSoftDeviceBootloader, nrfdfu.KindSoftDevice, nrfdfu.KindBootloader, nrfdfu.KindApplication} {
		m, ok := v.Images[kind]
		if !ok {
			continue
		}
		data := bytes.Clone(input(t, m.Firmware).Data)
		if m.Patch != nil {
			data[m.Patch.Offset] = m.Patch.Value
		}
		data = append(unhex(t, m.Prepend), data[:len(data)-m.Cut]...)
		data = append(data, unhex(t, m.Append)...)
		p.Images = append(p.Images, nrfdfu.Image{
			Kind: kind, BinName: m.Name + ".bin", DatName: m.Name + ".dat", Firmware: data, Packet: unhex(t, m.Packet),
		})
	}
	return p
}

// input reads a firmware file by the rules of the format.
func input(t testing.TB, name string) nrfdfu.Firmware {
	t.Helper()
	if name == "sd_bl" {
		sd, bl := input(t, "softdevice_s132_720_standin"), input(t, "bootloader")
		return nrfdfu.Firmware{Data: append(bytes.Clone(sd.Data), bl.Data...)}
	}
	for _, ext := range []string{".bin", ".hex"} {
		data, err := testvectors.Read(folder + "in/" + name + ext)
		if err != nil {
			continue
		}
		f, err := nrfdfu.LoadFirmware(bytes.NewReader(data), firmware.Auto)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return f
	}
	t.Fatalf("no input %s", name)
	return nrfdfu.Firmware{}
}

func publicKey(t testing.TB, name string) sign.PublicKey {
	t.Helper()
	pem, err := testvectors.Read(folder + name + ".pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.ParsePublicKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// s132 is what the stand-in SoftDevices of the vectors say of themselves.
func s132(fwid uint16, version uint32) *nrfdfu.SoftDevice {
	return &nrfdfu.SoftDevice{FWID: fwid, ID: 132, Version: version, End: 0x26000}
}

// device returns a device state of verdicts.json by its name.
func device(t testing.TB, name string) nrfdfu.Device {
	t.Helper()
	d := nrfdfu.Device{
		Key: publicKey(t, "test-a"), BLE: true, HWVersion: 52, SoftDevice: s132(0xb7, 6001001),
		ExternalApps: true, ForceDualBank: true,
		Layout: nrfdfu.Layout{Bootloader: 0x78000, MBRParams: 0x7e000, AppDataArea: 0x3000},
	}
	switch name {
	case "ble-s132-6.1.1":
	case "ble-s132-7.2.0":
		d.SoftDevice = s132(0x101, 7002000)
	case "ble-s132-6.1.1-hw40":
		d.HWVersion = 40
	case "ble-s132-6.1.1-app2-bl2":
		d.AppVersion, d.BootloaderVersion = 2, 2
	case "ble-s132-6.1.1-debug-bootloader":
		d.Debug = true
	case "serial-no-softdevice":
		d.BLE, d.SoftDevice = false, nil
	default:
		t.Fatalf("device %q", name)
	}
	return d
}

// outcome words a verdict as verdicts.json does.
func outcome(v *nrfdfu.Verified, err error) string {
	if err == nil {
		in, after := v.Images()[0], v.Device()
		return fmt.Sprintf("accept bank_1: code 0x%02x size %d crc 0x%08x at 0x%05x; app_version %d bootloader_version %d; boot validation app %d sd %d",
			in.BankCode, in.Size, in.CRC, in.Address, after.AppVersion, after.BootloaderVersion, in.AppValidation, in.SoftDeviceValidation)
	}
	r, ok := errorsAs(err)
	if !ok {
		return err.Error()
	}
	request := "init execute (prevalidate)"
	switch r.Step {
	case nrfdfu.StepReceive:
		request = "init create"
	case nrfdfu.StepTransfer, nrfdfu.StepEnd:
		request = "data create"
	case nrfdfu.StepHash, nrfdfu.StepSoftDeviceInfo, nrfdfu.StepBootValidation:
		request = "last data execute (postvalidate)"
	}
	return fmt.Sprintf("REFUSE at %s: %s (0x%02x)", request, strings.Replace(r.Result.String(), "ext ", "EXT_ERROR ", 1), r.Result.Code)
}

// bin makes firmware of raw bytes.
func bin(t testing.TB, data []byte) nrfdfu.Firmware {
	t.Helper()
	f, err := nrfdfu.FromBin(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// image reads a hex file.
func image(t testing.TB, name string) formats.Image {
	t.Helper()
	data, err := testvectors.Read(folder + name)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := firmware.Load(bytes.NewReader(data), firmware.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answer signs requests with one key.
func answer(t testing.TB, requests []sign.Request, signer sign.Signer) []sign.Signature {
	t.Helper()
	signatures, err := sign.Answer(t.Context(), requests, map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		t.Fatal(err)
	}
	return signatures
}
