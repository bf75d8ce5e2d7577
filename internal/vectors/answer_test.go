package vectors

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader"
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
	for _, name := range []string{"mcuboot", "wolfboot"} {
		for _, c := range load(t, name).Cases {
			if c.Verdict == verdicts.Refuse && c.Released.Size > 0 || name == "wolfboot" && c.Verdict == verdicts.Accept && c.Released.Size < 256 {
				t.Errorf("%s: released %d bytes", c.ID, c.Released.Size)
			}
		}
	}
	// The slot that is written is looked at from the step header on.
	written := 0
	for _, c := range load(t, "sbsfu").Cases {
		early := c.Step == "candidate-header" || c.Step == "version"
		if early && c.Released.Size > 0 || c.Verdict == verdicts.Accept && c.Released.Size == 0 || c.Step == "rest-blank" && c.Released.Size == 0 {
			t.Errorf("%s: released %d bytes", c.ID, c.Released.Size)
		}
		if c.Verdict == verdicts.Refuse && c.Released.Size > 0 {
			written++
		}
	}
	if written < 20 {
		t.Errorf("sbsfu: %d cases are refused after firmware was written", written)
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
	sfu := func(change func(*verdicts.SBSFU)) verdicts.Device {
		d := *load(t, "sbsfu").Devices["tool/in-the-clear"].SBSFU
		change(&d)
		return verdicts.Device{SBSFU: &d}
	}
	wolf := func(change func(*verdicts.WolfBoot)) verdicts.Device {
		d := wolfBootState(testSigner(t, keySigner).Public())
		change(&d)
		return verdicts.Device{WolfBoot: &d}
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
		"scheme":          sfu(func(d *verdicts.SBSFU) { d.Scheme = "aes-gcm" }),
		"slot's key":      sfu(func(d *verdicts.SBSFU) { d.Slots[0].Key = make(verdicts.Hex, 64) }),
		"wolfBoot's key":  wolf(func(d *verdicts.WolfBoot) { d.Keys[0].Point = make(verdicts.Hex, 63) }),
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
		"no slots":   sfu(func(d *verdicts.SBSFU) { d.Slots = nil }),
		"no sectors": wolf(func(d *verdicts.WolfBoot) { d.SectorSize = 0 }),
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

// TestBlindSpots has the reference verifiers look away, one thing at a time. If
// no vector notices, none would notice a bootloader that forgot the check.
func TestBlindSpots(t *testing.T) {
	suit := func(change func(*verdicts.SUIT)) func(*verdicts.Device) {
		return func(d *verdicts.Device) { c := *d.SUIT; change(&c); d.SUIT = &c }
	}
	mcu := func(change func(*verdicts.MCUboot)) func(*verdicts.Device) {
		return func(d *verdicts.Device) { c := *d.MCUboot; change(&c); d.MCUboot = &c }
	}
	nrf := func(change func(*verdicts.NRFDFU)) func(*verdicts.Device) {
		return func(d *verdicts.Device) { c := *d.NRFDFU; change(&c); d.NRFDFU = &c }
	}
	sfu := func(change func(*verdicts.SBSFU)) func(*verdicts.Device) {
		return func(d *verdicts.Device) {
			c := *d.SBSFU
			c.Slots = slices.Clone(c.Slots)
			change(&c)
			d.SBSFU = &c
		}
	}
	wolf := func(change func(*verdicts.WolfBoot)) func(*verdicts.Device) {
		return func(d *verdicts.Device) {
			c := *d.WolfBoot
			c.Keys = slices.Clone(c.Keys)
			change(&c)
			d.WolfBoot = &c
		}
	}
	for _, b := range []struct {
		name, family, step string
		blind              func(*verdicts.Device)
	}{
		{"rollback floor", "suit-nrf52840", "sequence", suit(func(d *verdicts.SUIT) { d.MinSequence = 0 })},
		{"rollback floor", "suit-stm32l4", "sequence", suit(func(d *verdicts.SUIT) { d.MinSequence = 0 })},
		{"size of the bank", "suit-stm32l4", "size", suit(func(d *verdicts.SUIT) { d.BankSize++ })},
		{"threshold", "suit-stm32l4", "signature", suit(func(d *verdicts.SUIT) { d.Threshold = 1 })},
		{"revocation", "suit-stm32l4", "signature", suit(func(d *verdicts.SUIT) {
			d.Keys = slices.Clone(d.Keys)
			for i := range d.Keys {
				d.Keys[i].Revoked = false
			}
		})},
		{"stored counter", "mcuboot", "counter", mcu(func(d *verdicts.MCUboot) { d.Rollback = nil })},
		{"vendor", "mcuboot", "vendor", mcu(func(d *verdicts.MCUboot) { d.Vendor = nil })},
		{"class", "mcuboot", "class", mcu(func(d *verdicts.MCUboot) { d.Class = nil })},
		{"allow list", "mcuboot", "tlvs", mcu(func(d *verdicts.MCUboot) { d.AnyTLV = true })},
		{"installed version", "mcuboot", "downgrade", mcu(func(d *verdicts.MCUboot) { d.Installed = nil })},
		{"build number", "mcuboot", "downgrade", mcu(func(d *verdicts.MCUboot) { d.CompareBuild = false })},
		{"load address", "mcuboot", "placement", mcu(func(d *verdicts.MCUboot) { d.Boot = nil })},
		{"address of the slot", "mcuboot", "placement", mcu(func(d *verdicts.MCUboot) { d.SlotAddress = nil })},
		{"RAM", "mcuboot", "placement", mcu(func(d *verdicts.MCUboot) { d.RAM = nil })},
		{"dependencies", "mcuboot", "dependencies", mcu(func(d *verdicts.MCUboot) { d.Images = 1 })},
		{"slot size", "mcuboot", "size", mcu(func(d *verdicts.MCUboot) { d.SlotSize = 0 })},
		{"signatures", "mcuboot", "signature", mcu(func(d *verdicts.MCUboot) { d.Signature, d.Keys, d.KeyMatch, d.Hash = "hash-only", nil, "hash", "" })},
		{"padding of signatures", "mcuboot", "signature", mcu(func(d *verdicts.MCUboot) { d.Crypto = "default" })},
		{"signatures", "nrfdfu", "signature", nrf(func(d *verdicts.NRFDFU) { d.UnsignedApps = true })},
		{"app version", "nrfdfu", "version", nrf(func(d *verdicts.NRFDFU) { d.AppVersion = 0 })},
		{"bootloader version", "nrfdfu", "version", nrf(func(d *verdicts.NRFDFU) { d.BootloaderVersion = 0 })},
		{"same version", "nrfdfu", "version", nrf(func(d *verdicts.NRFDFU) { d.RefuseSameVersion = false })},
		{"required SoftDevice", "nrfdfu", "softdevice", nrf(func(d *verdicts.NRFDFU) { d.AllowDowngrade = true })},
		{"boot signature", "nrfdfu", "boot-validation", nrf(func(d *verdicts.NRFDFU) { d.RequireBootSigned = false })},
		{"external applications", "nrfdfu", "type", nrf(func(d *verdicts.NRFDFU) { d.ExternalApps = true })},
		{"second bank", "nrfdfu", "room", nrf(func(d *verdicts.NRFDFU) { d.ForceDualBank = false })},
		{"SoftDevice family", "nrfdfu", "softdevice-info", nrf(func(d *verdicts.NRFDFU) { d.SDK = "15" })},
		{"installed version", "sbsfu", "version", sfu(func(d *verdicts.SBSFU) { d.Slots[0].Installed = new(uint16(1)) })},
		{"lowest version", "sbsfu", "version", sfu(func(d *verdicts.SBSFU) { d.StartVersion = 1 })},
		{"first version", "sbsfu", "version", sfu(func(d *verdicts.SBSFU) { d.InitVersion = 2 })},
		{"slot size", "sbsfu", "version", sfu(func(d *verdicts.SBSFU) { d.Slots[0].Size = 0x8000 })},
		{"running version", "wolfboot", "version", wolf(func(d *verdicts.WolfBoot) { d.Running = nil })},
		{"versions", "wolfboot", "version", wolf(func(d *verdicts.WolfBoot) { d.Fallback = true })},
		{"update partition", "wolfboot", "open", wolf(func(d *verdicts.WolfBoot) { d.UpdateSize = 0 })},
		{"second sector of the trailer", "wolfboot", "size", wolf(func(d *verdicts.WolfBoot) { d.WriteOnce = false })},
		{"partitions of keys", "wolfboot", "authenticity", wolf(func(d *verdicts.WolfBoot) { d.Keys[0].Partitions = 2 })},
	} {
		f := load(t, b.family)
		caught := 0
		for _, c := range f.Cases {
			if c.Step != b.step {
				continue
			}
			inputs, err := Inputs(f, c)
			if err != nil {
				t.Fatal(err)
			}
			d := f.Devices[c.Device]
			b.blind(&d)
			j, err := Reference(t.Context(), d, inputs)
			if err != nil {
				continue // a state that no device can be in
			}
			if j.Verdict == verdicts.Accept {
				caught++
			}
		}
		if caught == 0 {
			t.Errorf("%s: nothing is accepted by a verifier that is blind for the %s", b.family, b.name)
		}
	}
}

// TestSkippedSteps leaves whole steps of the SUIT profile out.
func TestSkippedSteps(t *testing.T) {
	for _, name := range []string{"suit-nrf52840", "suit-stm32l4"} {
		f := load(t, name)
		for _, step := range []bootloader.Step{bootloader.StepVendor, bootloader.StepClass, bootloader.StepSlot, bootloader.StepSequence} {
			caught := 0
			for _, c := range f.Cases {
				if c.Step != string(step) {
					continue
				}
				inputs, err := Inputs(f, c)
				if err != nil {
					t.Fatal(err)
				}
				d, err := suitDevice(*f.Devices[c.Device].SUIT)
				if err != nil {
					t.Fatal(err)
				}
				d.Chip.Steps = slices.DeleteFunc(slices.Clone(d.Chip.Steps), func(s bootloader.Step) bool { return s == step })
				payload := bootloader.Payload{ReaderAt: bytes.NewReader(inputs["payload"]), Size: int64(len(inputs["payload"]))}
				if _, _, err := bootloader.Verify(t.Context(), d, inputs["envelope"], payload, bootloader.Options{}); err == nil {
					caught++
				}
			}
			if caught == 0 {
				t.Errorf("%s: no vector is accepted without the step %s", name, step)
			}
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, line := range []string{"accept", "refuse", "skip", "refuse image image-digest-mismatch", "refuse a b c", "\x00"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAnswer(line)
		if err != nil {
			return
		}
		if again, err := ParseAnswer(a.String()); err != nil || again != a || strings.Join(strings.Fields(line), " ") != a.String() {
			t.Errorf("%q: %+v, then %+v, %v", line, a, again, err)
		}
	})
}

// The edits that a generator finds make the input again.
func FuzzDifference(f *testing.F) {
	f.Add([]byte("firmware of a device"), []byte("firmware of another device"))
	f.Add(bytes.Repeat([]byte{0xff}, 100), bytes.Repeat([]byte{0xff}, 90))
	f.Add([]byte(nil), bytes.Repeat([]byte{7}, 64))
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz"), []byte("opqrstuvwxyzabcdefghijklmn"))
	f.Fuzz(func(t *testing.T, base, data []byte) {
		in := verdicts.Input{Edits: difference(base, data), Content: verdicts.Of(data)}
		pieces, err := in.Pieces(base)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, p := range pieces {
			got = append(got, bytes.Repeat(p.Data, p.Times)...)
			if p.Base >= 0 && !bytes.Equal(p.Data, base[p.Base:p.Base+len(p.Data)]) {
				t.Errorf("a piece does not stand at %d of the base", p.Base)
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("got %x, want %x", got, data)
		}
	})
}
