package vectors

import (
	"context"
	"errors"
	"testing"

	"github.com/otapack/otapack/testvectors/verdicts"
)

func load(t testing.TB, name string) *verdicts.Family {
	t.Helper()
	f, err := verdicts.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestReference: our verifiers give every published verdict, with step, reason
// and what was released.
func TestReference(t *testing.T) {
	for _, name := range verdicts.Families() {
		f := load(t, name)
		for _, c := range f.Cases {
			inputs, err := Inputs(f, c)
			if err != nil {
				t.Fatal(err)
			}
			j, err := Reference(t.Context(), f.Devices[c.Device], inputs)
			if err != nil || j.Answer != Want(c) || j.Response != c.Answer || !j.Released.Equal(c.Released) {
				t.Errorf("%s: got %s (%s) and %+v, %v, want %s (%s) and %+v", c.ID, j.Answer, j.Response, j.Released, err, Want(c), c.Answer, c.Released)
			}
		}
	}
}

// What is released is the image of a case that is taken, and nothing before the
// step that reads the payload.
func TestReleased(t *testing.T) {
	image := verdicts.Of(testBytes(t, "image", imageSize))
	last := map[string]string{"suit-nrf52840": "image", "suit-stm32l4": "image"}
	for name, step := range last {
		f := load(t, name)
		for _, c := range f.Cases {
			switch {
			case c.Verdict == verdicts.Refuse && c.Step != step && c.Released.Size != 0:
				t.Errorf("%s: %d bytes before step %s", c.ID, c.Released.Size, step)
			case c.Verdict == verdicts.Accept && c.Released.Size == imageSize && !c.Released.Equal(image):
				t.Errorf("%s: released %+v", c.ID, c.Released)
			case c.Verdict == verdicts.Accept && c.Released.Size == 0:
				t.Errorf("%s: nothing released", c.ID)
			}
		}
	}
	early := map[string]bool{}
	for _, step := range nrfSteps {
		if step == "transfer" {
			break
		}
		early[step] = true
	}
	for _, c := range load(t, "nrfdfu").Cases {
		if early[c.Step] && c.Released.Size > 0 || c.Verdict == verdicts.Accept && c.Released.Size == 0 {
			t.Errorf("%s: released %d bytes", c.ID, c.Released.Size)
		}
	}
	for _, c := range load(t, "mcuboot").Cases {
		if c.Verdict == verdicts.Refuse && c.Released.Size > 0 {
			t.Errorf("%s: released %d bytes", c.ID, c.Released.Size)
		}
	}
}

func TestReferenceErrors(t *testing.T) {
	suit := func(change func(*verdicts.SUIT)) verdicts.Device {
		d := *load(t, "suit-nrf52840").Devices["T1/as-it-should-be"].SUIT
		change(&d)
		return verdicts.Device{SUIT: &d}
	}
	mcu := func(change func(*verdicts.MCUboot)) verdicts.Device {
		d := plainMCUboot("ecdsa-p256", mcubootKey(t, "p256"))
		change(&d)
		return verdicts.Device{MCUboot: &d}
	}
	nrf := func(change func(*verdicts.NRFDFU)) verdicts.Device {
		d := sdkDevice(t, "ble-s132-6.1.1")
		change(&d)
		return verdicts.Device{NRFDFU: &d}
	}
	slot := uint32(1 << 20)
	for name, d := range map[string]verdicts.Device{
		"no bootloader":   {},
		"identifiers":     suit(func(d *verdicts.SUIT) { d.Model = "another" }),
		"slot":            suit(func(d *verdicts.SUIT) { d.Slot = &slot }),
		"key":             suit(func(d *verdicts.SUIT) { d.Keys[0].Point = make(verdicts.Hex, 64) }),
		"device key":      suit(func(d *verdicts.SUIT) { d.DeviceKey = make(verdicts.Hex, 32) }),
		"KEK":             suit(func(d *verdicts.SUIT) { d.KEK = make(verdicts.Hex, 15) }),
		"key match":       mcu(func(d *verdicts.MCUboot) { d.KeyMatch = "" }),
		"hash":            mcu(func(d *verdicts.MCUboot) { d.Hash = "md5" }),
		"vendor":          mcu(func(d *verdicts.MCUboot) { d.Vendor = make(verdicts.Hex, 15) }),
		"SDK":             nrf(func(d *verdicts.NRFDFU) { d.SDK = "14" }),
		"nRF key":         nrf(func(d *verdicts.NRFDFU) { d.Key = nil }),
		"nRF key, off it": nrf(func(d *verdicts.NRFDFU) { d.Key = make(verdicts.Hex, 64) }),
	} {
		if j, err := Reference(t.Context(), d, nil); !errors.Is(err, ErrDevice) || j.Verdict != "" {
			t.Errorf("%s: got %v, %v", name, j, err)
		}
	}
	// A device that the verifiers themselves refuse gives no verdict either.
	for name, d := range map[string]verdicts.Device{
		"chip":       suit(func(d *verdicts.SUIT) { d.Chip = "z80" }),
		"no keys":    suit(func(d *verdicts.SUIT) { d.Keys = nil }),
		"mode":       mcu(func(d *verdicts.MCUboot) { d.Mode = "teleport" }),
		"no MCU key": mcu(func(d *verdicts.MCUboot) { d.Keys = nil }),
		"bad key":    mcu(func(d *verdicts.MCUboot) { d.Keys = []verdicts.Hex{{1}} }),
		"layout":     nrf(func(d *verdicts.NRFDFU) { d.Bootloader = 1 }),
	} {
		if j, err := Reference(t.Context(), d, nil); err == nil || j.Verdict != "" {
			t.Errorf("%s: got %v, %v", name, j, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	f := load(t, "suit-nrf52840")
	inputs, err := Inputs(f, f.Cases[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Reference(cancelled, f.Devices[f.Cases[0].Device], inputs); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkReference(b *testing.B) {
	for _, name := range verdicts.Families() {
		f := load(b, name)
		inputs := make([]map[string][]byte, len(f.Cases))
		for i, c := range f.Cases {
			var err error
			if inputs[i], err = Inputs(f, c); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for i, c := range f.Cases {
					if _, err := Reference(b.Context(), f.Devices[c.Device], inputs[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
