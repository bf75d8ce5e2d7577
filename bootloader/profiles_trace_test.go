package bootloader

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// follows reports an error unless a trace can be one of a profile: the checks
// that passed are its steps in order, from the first on, less optional ones; the
// one that failed is the next, or a neighbour in file order, for one of the
// reasons that it lists. What is accepted has a complete trace.
func follows(p Profile, trace Trace, accepted bool) error {
	next := 0
	for i, c := range trace {
		at := slices.IndexFunc(p.Steps[next:], func(s ProfileStep) bool { return s.ID == c.Step })
		if at < 0 {
			return fmt.Errorf("check %d, %s, is not among the steps from number %d on", i, c.Step, next)
		}
		step := p.Steps[next+at]
		for _, left := range p.Steps[next : next+at] {
			if !left.Optional && (c.Status != Failed || !left.InFileOrder || !step.InFileOrder) {
				return fmt.Errorf("step %s was left out before %s", left.ID, c.Step)
			}
		}
		next += at + 1
		switch {
		case c.Status == Failed && (accepted || i != len(trace)-1):
			return fmt.Errorf("step %s failed, and that was not the end", c.Step)
		case c.Status == Failed && !slices.Contains(step.Reasons, c.Reason):
			return fmt.Errorf("step %s does not list the reason %s", c.Step, c.Reason)
		}
	}
	if !accepted && (len(trace) == 0 || trace[len(trace)-1].Status != Failed) {
		return errors.New("refused by no step")
	}
	for _, left := range p.Steps[next:] {
		if accepted && !left.Optional {
			return fmt.Errorf("accepted without step %s", left.ID)
		}
	}
	return nil
}

// The test of the test: what follows exists to find.
func TestFollows(t *testing.T) {
	p := Profile{Steps: []ProfileStep{
		{ID: "a", Reasons: []verdict.Reason{"x"}}, {ID: "b", Optional: true}, {ID: "c", InFileOrder: true}, {ID: "d", InFileOrder: true, Reasons: []verdict.Reason{"x"}}, {ID: "e"},
	}}
	pass := func(steps ...Step) Trace {
		var all Trace
		for _, s := range steps {
			all = append(all, Check{Step: s, Status: Passed})
		}
		return all
	}
	fail := func(trace Trace, s Step, r verdict.Reason) Trace {
		return append(trace, Check{Step: s, Status: Failed, Reason: r})
	}
	for i, c := range []struct {
		trace    Trace
		accepted bool
		ok       bool
	}{
		{pass("a", "b", "c", "d", "e"), true, true},
		{pass("a", "c", "d", "e"), true, true},
		{pass("a", "c", "d"), true, false},
		{pass("a", "d", "e"), true, false},
		{pass("b", "a", "c", "d", "e"), true, false},
		{pass("a", "c", "d", "e", "f"), true, false},
		{pass("a", "c", "d", "e"), false, false},
		{fail(nil, "a", "x"), false, true},
		{fail(nil, "a", "y"), false, false},
		{fail(nil, "a", "x"), true, false},
		{fail(pass("a"), "d", "x"), false, true},
		{fail(nil, "d", "x"), false, false},
		{append(fail(nil, "a", "x"), pass("c")...), false, false},
		{nil, false, false},
	} {
		if err := follows(p, c.trace, c.accepted); (err == nil) != c.ok {
			t.Errorf("case %d: %v, want ok %t", i, err, c.ok)
		}
	}
}

func profile(t testing.TB, name string) Profile {
	t.Helper()
	p, err := ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func stepOf(t testing.TB, p Profile, id Step) ProfileStep {
	t.Helper()
	i := slices.IndexFunc(p.Steps, func(s ProfileStep) bool { return s.ID == id })
	if i < 0 {
		t.Fatalf("%s has no step %s", p.Name, id)
	}
	return p.Steps[i]
}

// seen counts verdicts of a profile's steps, so that a corpus cannot shrink
// unnoticed.
type seen struct {
	profile  Profile
	accepted int
	reasons  map[string]bool // "step reason"
}

func (s *seen) hold(t *testing.T, what string, trace Trace, err error) {
	t.Helper()
	if err != nil && verdict.Of(err) == "" {
		t.Fatalf("%s: no verdict: %v", what, err)
	}
	if e := follows(s.profile, trace, err == nil); e != nil {
		t.Errorf("%s: %s: %v\n%s", s.profile.Name, what, e, text(trace))
	}
	if err == nil {
		s.accepted++
		return
	}
	if s.reasons == nil {
		s.reasons = map[string]bool{}
	}
	last := trace[len(trace)-1]
	s.reasons[fmt.Sprintf("%s %s", last.Step, last.Reason)] = true
}

func (s *seen) atLeast(t *testing.T, accepted, reasons int) {
	t.Helper()
	if s.accepted < accepted || len(s.reasons) < reasons {
		t.Errorf("%s: %d accepted, refused for %d reasons: %q", s.profile.Name, s.accepted, len(s.reasons), slices.Sorted(maps.Keys(s.reasons)))
	}
}

// The profiles of our chips against their verifier: everything that can be
// flipped or cut off, and the published vectors.
func TestOwnProfilesFollow(t *testing.T) {
	for _, chip := range Chips() {
		s := seen{profile: profile(t, chip.Name)}
		var ids []Step
		for _, step := range s.profile.Steps {
			ids = append(ids, step.ID)
		}
		if !slices.Equal(ids, chip.Steps) {
			t.Fatalf("%s: profile has steps %q, the chip %q", chip.Name, ids, chip.Steps)
		}
		for _, template := range templates {
			p := newParcel(t, chip, template, testImage(t, 48))
			envelope := p.envelope(t)
			try := func(what string, e []byte) {
				_, trace, err := p.verify(t, e)
				s.hold(t, what, trace, err)
			}
			try("as it is", envelope)
			for bit := range 8 * len(envelope) {
				try(fmt.Sprintf("%s, envelope bit %d", template, bit), flip(envelope, bit))
			}
			for n := range envelope {
				try(fmt.Sprintf("%s, %d bytes of envelope", template, n), envelope[:n])
			}
			e := elements(t, envelope)
			for bit := range 8 * len(e[envelopeManifest]) {
				try(fmt.Sprintf("%s, signed with manifest bit %d", template, bit), resigned(t, envelope, p.signers[0], flip(e[envelopeManifest], bit)))
			}
			good := *p
			for what, change := range map[string]func(){
				"payload":  func() { p.payload = flip(p.payload, 9) },
				"short":    func() { p.payload = p.payload[1:] },
				"vendor":   func() { p.device.Vendor = "other.example" },
				"class":    func() { p.device.Revision = "z" },
				"slot":     func() { p.device.Slot = new(uint32(7)); p.manifest.Slot = new(uint32(0)) },
				"sequence": func() { p.device.MinSequence++ },
				"bank":     func() { p.device.Chip.Banks = []Region{{0, 16}, {0, 16}} },
				"no key":   func() { p.device.Identity = nil },
				"other":    func() { p.device.Identity = identity(t, newDeviceKey(t, "another")) },
				"stranger": func() { p.device.Trust = trusting(t, sign.RoleManifest, 1, newSigner(t, "stranger")) },
			} {
				change()
				try(template+", "+what, p.envelope(t))
				*p = good
			}
		}
		for _, pattern := range []string{"suit/*/*.hex"} {
			names, err := testvectors.Cases(pattern)
			if err != nil {
				t.Fatal(err)
			}
			device := Device{Chip: chip, Vendor: "acme.example", Model: "radio", Revision: "b2", Trust: vectorTrust(t), Identity: vectorIdentity(t)}
			for _, name := range names {
				envelope, err := testvectors.Hex(name)
				if err != nil {
					t.Fatal(err)
				}
				_, trace, err := Verify(t.Context(), device, envelope, Payload{bytes.NewReader(nil), 0}, Options{})
				s.hold(t, name, trace, err)
			}
		}
		s.atLeast(t, 3, 70)
	}
}

// resigned replaces the manifest, with its byte-string head, and signs again.
func resigned(t testing.TB, envelope []byte, by sign.Signer, replacement []byte) []byte {
	t.Helper()
	e := elements(t, envelope)
	old, digest := sha256.Sum256(e[envelopeManifest]), sha256.Sum256(replacement)
	auth := bytes.Replace(e[envelopeAuth], old[:], digest[:], 1)
	wrapped, err := cose.Marshal([]any{-16, digest[:]})
	if err != nil {
		t.Fatal(err)
	}
	message, err := cose.ToBeSigned(sign.ESP256, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := by.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	raw := signature.Encode(sign.Raw)
	at := bytes.Index(envelope, e[envelopeAuth])
	auth = append(auth[:len(auth)-len(raw)], raw...)
	return slices.Concat(envelope[:at], auth, bytes.Replace(envelope[at+len(auth):], e[envelopeManifest], replacement, 1))
}

func digits(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mcubootFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Read("mcuboot/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mcubootKey(t testing.TB, name string) mcuboot.Key {
	t.Helper()
	block, _ := pem.Decode(mcubootFile(t, "keys/"+name+".pem"))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.FromCrypto(private.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return mcuboot.NewKey(s.Public())
}

// The MCUboot profiles against their verifier: golden images, their published
// changes, and every bit of header and TLV areas flipped.
func TestMCUbootProfilesFollow(t *testing.T) {
	goldens, err := testvectors.MCUbootImages()
	if err != nil {
		t.Fatal(err)
	}
	changes, err := testvectors.MCUbootMutations()
	if err != nil {
		t.Fatal(err)
	}
	device, err := mcuboot.ParseDeviceKey(mcubootFile(t, "keys/enc-p256.pem"))
	if err != nil {
		t.Fatal(err)
	}
	p256 := mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcubootKey(t, "p256")}, SlotSize: 0x10000, SectorSize: 0x1000, WriteSize: 4}
	targets := map[string]func(*mcuboot.Target){
		"02-p256": func(*mcuboot.Target) {},
		"03-p384": func(b *mcuboot.Target) { b.Signature, b.Keys = mcuboot.ECDSAP384, []mcuboot.Key{mcubootKey(t, "p384")} },
		"04-ed25519": func(b *mcuboot.Target) {
			b.Signature, b.Keys = mcuboot.Ed25519, []mcuboot.Key{mcubootKey(t, "ed25519")}
		},
		"06-ed25519-pure": func(b *mcuboot.Target) {
			b.Signature, b.Keys = mcuboot.Ed25519Pure, []mcuboot.Key{mcubootKey(t, "ed25519")}
		},
		"08-p256-enc": func(b *mcuboot.Target) { b.Encryption, b.DeviceKey = mcuboot.ECIESP256, device },
		"13-p256-deps": func(b *mcuboot.Target) {
			b.Images = 4
			b.Others = map[uint8]mcuboot.Version{1: {Major: 3}, 3: {Major: 3}}
		},
		"14-p256-seccnt": func(b *mcuboot.Target) { b.Rollback = new(uint32(42)) },
	}
	for name, mode := range map[string]mcuboot.Mode{"mcuboot-swap": mcuboot.SwapMove, "mcuboot-overwrite": mcuboot.OverwriteOnly} {
		s := seen{profile: profile(t, name)}
		base := p256
		base.Mode = mode
		for _, g := range goldens {
			change := targets[g.Name]
			if change == nil {
				continue
			}
			file, err := g.File()
			if err != nil {
				t.Fatal(err)
			}
			target := base
			change(&target)
			try := func(what string, file []byte, target mcuboot.Target) {
				_, trace, err := mcuboot.Verify(t.Context(), file, target)
				got := fromMCUboot(trace)
				if len(got) == 1 && got[0].Step == Step(mcuboot.StepHeader) && got[0].Reason == verdict.Truncated {
					return // a file of less than a header: the loader reads erased flash there
				}
				s.hold(t, g.Name+", "+what, got, err)
			}
			try("as it is", file, target)
			for _, c := range changes {
				if c.Base != g.Name {
					continue
				}
				b, err := c.Apply(file)
				if err != nil {
					t.Fatal(err)
				}
				try(c.Why, b, target)
			}
			other := target
			other.Keys = []mcuboot.Key{mcubootKey(t, map[bool]string{true: "p256-other", false: "p384"}[target.Signature == mcuboot.ECDSAP256])}
			if other.Keys[0].Verifies(other.Signature) {
				try("other key", file, other)
			}
			for what, spoil := range map[string]func(*mcuboot.Target){
				"rollback": func(b *mcuboot.Target) { b.Rollback = new(uint32(43)) },
				"vendor":   func(b *mcuboot.Target) { b.Vendor = new(mcuboot.UUID) },
				"class":    func(b *mcuboot.Target) { b.Class = new(mcuboot.UUID) },
				"slot":     func(b *mcuboot.Target) { b.SlotSize = 0xb000 },
				"downgrade": func(b *mcuboot.Target) {
					b.Downgrade, b.Installed = mcuboot.ByVersion, &mcuboot.Installed{Version: mcuboot.Version{Major: 9}}
				},
				"newer":     func(b *mcuboot.Target) { b.Downgrade, b.Installed = mcuboot.ByVersion, &mcuboot.Installed{} },
				"others":    func(b *mcuboot.Target) { b.Images, b.Others = 4, map[uint8]mcuboot.Version{1: {}, 3: {}} },
				"images":    func(b *mcuboot.Target) { b.Images = 2 },
				"placement": func(b *mcuboot.Target) { b.Boot = &mcuboot.Memory{Start: 0x1000, Size: 0x1000} },
				"no key":    func(b *mcuboot.Target) { b.DeviceKey = mcuboot.DeviceKey{} },
			} {
				bad := target
				spoil(&bad)
				try(what, file, bad)
			}
			if g.Name != "08-p256-enc" && g.Name != "14-p256-seccnt" {
				continue // these two have everything that the others have
			}
			f, err := mcuboot.Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			tlvs := int(f.Header.HeaderSize) + len(f.Payload)
			for at := range file {
				if at < 32 || at >= tlvs {
					try(fmt.Sprintf("bit of byte %d", at), flip(file, 8*at+at%8), target)
				}
			}
		}
		s.atLeast(t, 7, 32)
	}
}

// The nRF5 SDK profile against its verifier: the published packages on all
// devices, and every bit of init packets flipped.
func TestNRF5ProfileFollows(t *testing.T) {
	var file struct {
		Cases []struct {
			File   string
			Images map[nrfdfu.Kind]struct {
				Packet, Name, Firmware string
				Patch                  *struct {
					Offset int
					Value  byte
				}
				Cut             int
				Prepend, Append string
			}
		}
	}
	if err := testvectors.JSON("nrfdfu/verdicts.json", &file); err != nil {
		t.Fatal(err)
	}
	data, err := testvectors.Read("nrfdfu/test-a.pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.ParsePublicKey(data)
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) []byte {
		for _, ext := range []string{".bin", ".hex"} {
			data, err := testvectors.Read("nrfdfu/in/" + name + ext)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			f, err := nrfdfu.LoadFirmware(bytes.NewReader(data), firmware.Auto)
			if err != nil {
				t.Fatal(err)
			}
			return f.Data
		}
		t.Fatalf("no input %s", name)
		return nil
	}
	sd := &nrfdfu.SoftDevice{FWID: 0xb7, ID: 132, Version: 6001001, End: 0x26000}
	device := nrfdfu.Device{
		Key: key, BLE: true, HWVersion: 52, SoftDevice: sd, ExternalApps: true, ForceDualBank: true,
		Layout: nrfdfu.Layout{Bootloader: 0x78000, MBRParams: 0x7e000, AppDataArea: 0x3000},
	}
	devices := []func(*nrfdfu.Device){
		func(*nrfdfu.Device) {},
		func(d *nrfdfu.Device) {
			d.SoftDevice = &nrfdfu.SoftDevice{FWID: 0x101, ID: 132, Version: 7002000, End: 0x26000}
		},
		func(d *nrfdfu.Device) { d.HWVersion = 40 },
		func(d *nrfdfu.Device) { d.AppVersion, d.BootloaderVersion = 2, 2 },
		func(d *nrfdfu.Device) { d.Debug = true },
		func(d *nrfdfu.Device) { d.BLE, d.SoftDevice = false, nil },
		func(d *nrfdfu.Device) { d.SettingsVersion, d.RequireBootSigned, d.SDK = 1, true, nrfdfu.SDK16 },
		func(d *nrfdfu.Device) { d.UnsignedApps, d.ExternalApps, d.AppSize = true, false, 0x50000 },
	}
	s := seen{profile: profile(t, "nrf5-sdk")}
	try := func(what string, p *nrfdfu.Package, d nrfdfu.Device) {
		_, trace, err := nrfdfu.Verify(p, d)
		all := fromNRF(trace)
		for i, part := range all {
			if i < len(all)-1 {
				s.hold(t, what, part, nil) // each image but the last was accepted
			} else {
				s.hold(t, what, part, err)
			}
		}
	}
	for n, c := range file.Cases {
		p := &nrfdfu.Package{}
		for _, kind := range []nrfdfu.Kind{nrfdfu.KindSoftDeviceBootloader, nrfdfu.KindSoftDevice, nrfdfu.KindBootloader, nrfdfu.KindApplication} {
			m, ok := c.Images[kind]
			if !ok {
				continue
			}
			var data []byte
			if m.Firmware == "sd_bl" {
				data = append(load("softdevice_s132_720_standin"), load("bootloader")...)
			} else {
				data = bytes.Clone(load(m.Firmware))
			}
			if m.Patch != nil {
				data[m.Patch.Offset] = m.Patch.Value
			}
			data = slices.Concat(digits(t, m.Prepend), data[:len(data)-m.Cut], digits(t, m.Append))
			p.Images = append(p.Images, nrfdfu.Image{Kind: kind, BinName: m.Name + ".bin", DatName: m.Name + ".dat", Firmware: data, Packet: digits(t, m.Packet)})
		}
		for i, change := range devices {
			d := device
			change(&d)
			try(fmt.Sprintf("%s, device %d", c.File, i), p, d)
		}
		if n > 0 {
			continue
		}
		unsigned := device
		unsigned.UnsignedApps = true // the signature would hide what comes after it
		for bit := range 8 * len(p.Images[0].Packet) {
			bent := &nrfdfu.Package{Images: slices.Clone(p.Images)}
			bent.Images[0].Packet = flip(p.Images[0].Packet, bit)
			try(fmt.Sprintf("%s, packet bit %d", c.File, bit), bent, device)
			try(fmt.Sprintf("%s, packet bit %d, unsigned", c.File, bit), bent, unsigned)
		}
	}
	s.atLeast(t, 40, 22)
}

// The SBSFU profile against its verifier: ST's packages on several devices, every
// byte of their headers changed, and headers that are signed again.
func TestSBSFUProfileFollows(t *testing.T) {
	load := func(name string) []byte {
		data, err := testvectors.Read("sbsfu/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	published, err := sign.ParsePublicKey(load("ECC.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	s := seen{profile: profile(t, "sbsfu")}
	try := func(what string, file []byte, d sbsfu.Device) {
		_, trace, err := sbsfu.Verify(t.Context(), file, d)
		s.hold(t, what, fromSBSFU(trace), err)
	}
	for _, name := range []string{"ecdsa_clear_v2", "ecdsa_aescbc_v2", "ecdsa_aescbc_partial_v2", "ecdsa_clear_v3_sfu2_o1024", "aesgcm_v2"} {
		file := load(name + ".sfb")
		slot := sbsfu.Slot{Size: 0x8000, Key: published, Installed: &sbsfu.Installed{Version: 1, Firmware: load("v1.bin")}}
		d := sbsfu.Device{Scheme: sbsfu.Clear, Offset: 512}
		if strings.Contains(name, "aescbc") {
			d.Scheme, slot.AESKey = sbsfu.AESCBC, load("AES_CBC.bin")
		}
		if strings.HasSuffix(name, "o1024") {
			d.Offset = 1024
		}
		d.Slots = []sbsfu.Slot{slot, slot}
		for what, change := range map[string]func(*sbsfu.Device){
			"as it is": func(*sbsfu.Device) {},
			"one slot": func(d *sbsfu.Device) { d.Slots = d.Slots[:1] },
			"newer":    func(d *sbsfu.Device) { d.Slots[0].Installed = &sbsfu.Installed{Version: 9} },
			"empty":    func(d *sbsfu.Device) { d.Slots[0].Installed, d.Slots[1].Installed = nil, nil },
			"small":    func(d *sbsfu.Device) { d.Slots[0].Size, d.Slots[1].Size = 0x2000, 0x2000 },
			"offset":   func(d *sbsfu.Device) { d.Offset = 600 },
			"key":      func(d *sbsfu.Device) { d.Slots[0].Key, d.Slots[1].Key = own.Public(), own.Public() },
		} {
			other := d
			other.Slots = slices.Clone(d.Slots)
			change(&other)
			try(name+", "+what, file, other)
		}
		try(name+", longer", append(bytes.Clone(file), 1, 2, 3), d)
		for n := range 16 {
			try(fmt.Sprintf("%s, %d bytes", name, n*64), file[:n*64], d)
		}
		for at := range file[:sbsfu.HeaderSize] {
			try(fmt.Sprintf("%s, bit of byte %d", name, at), flip(file, 8*at+at%8), d)
		}
		if name == "aesgcm_v2" {
			continue
		}
		for i := range d.Slots {
			d.Slots[i].Key = own.Public() // the signature would hide what comes after it
		}
		for at := range 128 {
			h, err := sbsfu.ParseHeader(flip(file, 8*at+at%8), d.Scheme)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := own.Sign(t.Context(), h.Signed())
			if err != nil {
				t.Fatal(err)
			}
			copy(h.Signature[:], signature.Encode(sign.Raw))
			try(fmt.Sprintf("%s, signed bit of byte %d", name, at), slices.Concat(h.Encode(), file[sbsfu.HeaderSize:]), d)
		}
	}
	s.atLeast(t, 500, 12)
}

// The wolfBoot profile against its verifier: one image on several devices, every
// bit of its header changed, and the header once more behind a digest and a
// signature that are right.
func TestWolfBootProfileFollows(t *testing.T) {
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	made := wolfBootCase{signer: signer, claimed: signer.Public(), version: 2, kind: 0x0201, firmware: testvectors.Bytes("wolfboot profile", 500)}
	device := wolfboot.Device{
		PartitionSize: 8 << 10, SectorSize: 2 << 10, Running: &wolfboot.Running{Version: 1, Size: 100},
		Keys: []wolfboot.Key{{Public: signer.Public(), Partitions: wolfboot.AllPartitions}},
	}
	devices := []func(*wolfboot.Device){
		func(*wolfboot.Device) {},
		func(d *wolfboot.Device) { d.Running.Version = 2 },
		func(d *wolfboot.Device) { d.Running.Version, d.Fallback = 2, true },
		func(d *wolfboot.Device) { d.Running = nil },
		func(d *wolfboot.Device) { d.UpdateSize = 600 },
		func(d *wolfboot.Device) { d.PartitionSize, d.UpdateSize, d.SectorSize = 1000, 1000, 300 },
		func(d *wolfboot.Device) { d.HeaderSize = 512 },
		func(d *wolfboot.Device) { d.Keys[0].Partitions = 1 },
		func(d *wolfboot.Device) { d.Keys[0].Partitions, d.AllowDowngrade = 2, true },
	}
	s := seen{profile: profile(t, "wolfboot")}
	try := func(what string, file []byte, d wolfboot.Device) {
		_, trace, err := wolfboot.Verify(t.Context(), file, d)
		s.hold(t, what, fromWolfBoot(trace), err)
	}
	for _, c := range []struct {
		what   string
		change func(*wolfBootCase)
	}{
		{"good", func(*wolfBootCase) {}},
		{"unsigned", func(c *wolfBootCase) { c.unsigned = true }},
		{"version 0", func(c *wolfBootCase) { c.version = 0 }},
		{"Ed25519", func(c *wolfBootCase) { c.kind = 0x0101 }},
		{"bootloader", func(c *wolfBootCase) { c.kind = 0x0200 }},
		{"empty", func(c *wolfBootCase) { c.firmware = nil }},
		{"into the trailer", func(c *wolfBootCase) { c.firmware = make([]byte, 6<<10) }},
	} {
		one := made
		c.change(&one)
		file, err := one.build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, change := range devices {
			d := device
			d.Keys, d.Running = slices.Clone(d.Keys), new(*d.Running)
			change(&d)
			try(fmt.Sprintf("%s, device %d", c.what, i), file, d)
		}
	}
	file, err := made.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * wolfboot.MinHeader {
		try(fmt.Sprintf("bit %d", bit), flip(file, bit), device)
	}
	for n := range len(file) / 16 {
		try(fmt.Sprintf("%d bytes", 16*n), file[:16*n], device)
	}
	parsed, err := wolfboot.Parse(file, wolfboot.MinHeader)
	if err != nil {
		t.Fatal(err)
	}
	at := func(kind wolfboot.Type) int {
		i := slices.IndexFunc(parsed.TLVs, func(e wolfboot.TLV) bool { return e.Type == kind })
		return parsed.TLVs[i].Offset
	}
	digest, signature := at(wolfboot.TypeSHA256), at(wolfboot.TypeSignature)
	for bit := 64; bit < 8*(digest-4); bit++ {
		bent := flip(file, bit)
		sum := sha256.Sum256(slices.Concat(bent[:digest-4], bent[wolfboot.MinHeader:]))
		copy(bent[digest:], sum[:])
		made, err := signer.SignDigest(t.Context(), sum[:])
		if err != nil {
			t.Fatal(err)
		}
		copy(bent[signature:], made.Encode(sign.Raw))
		try(fmt.Sprintf("signed bit %d", bit), bent, device)
	}
	s.atLeast(t, 20, 13)
}

// What the corpora do not come to is held against the sources: a reason that a
// verifier's file names is one that its profile lists, and the other way round.
func TestProfilesListEveryReason(t *testing.T) {
	codes := reasonNames(t)
	name := regexp.MustCompile(`\bverdict\.([A-Z]\w*)`)
	for _, tt := range []struct {
		profiles []string
		files    []string
		not      []string // reasons of those files that are not about this verifier's verdict
	}{
		{[]string{"nrf52840", "stm32l4"}, []string{
			"bootloader/verify.go", "manifest/envelope.go", "manifest/decode.go", "bootloader/decode.go", "manifest/decoding.go", "manifest/verify.go", "manifest/version.go",
			"sign/cose/cose.go", "sign/cose/encrypt.go", "sign/strictcbor/reader.go",
		}, []string{"PayloadElementMissing"}},
		{[]string{"mcuboot-swap", "mcuboot-overwrite"}, []string{
			"formats/mcuboot/verify.go", "formats/mcuboot/walk.go", "formats/mcuboot/iterator.go", "formats/mcuboot/target.go", "formats/mcuboot/file.go",
		}, []string{"SlotMismatch"}}, // of the direct-xip mode
		{[]string{"nrf5-sdk"}, []string{"formats/nrfdfu/checks.go", "formats/nrfdfu/decode.go"}, nil},
		{[]string{"sbsfu"}, []string{"formats/sbsfu/header.go", "formats/sbsfu/verify.go"}, []string{"SFBHeader", "TrailingBytes"}}, // of Parse
		{[]string{"wolfboot"}, []string{"formats/wolfboot/verify.go"}, nil},
	} {
		inSource := map[verdict.Reason]bool{}
		for _, file := range tt.files {
			source, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range name.FindAllStringSubmatch(string(source), -1) {
				if code, ok := codes[m[1]]; ok && !slices.Contains(tt.not, m[1]) {
					inSource[code] = true
				}
			}
		}
		for _, n := range tt.profiles {
			listed := map[verdict.Reason]bool{}
			for _, s := range profile(t, n).Steps {
				for _, r := range s.Reasons {
					listed[r] = true
				}
			}
			for r := range inSource {
				if !listed[r] {
					t.Errorf("%s: no step lists %s", n, r)
				}
			}
			for r := range listed {
				if !inSource[r] && r != verdict.KeyUnwrap && r != verdict.EphemeralPoint { // those of ecies.go
					t.Errorf("%s: %s is listed, and nothing gives it", n, r)
				}
			}
		}
	}
}

// reasonNames maps the names of the constants to their codes.
func reasonNames(t *testing.T) map[string]verdict.Reason {
	t.Helper()
	source, err := os.ReadFile("../sign/verdict/reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]verdict.Reason{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) +Reason = "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		all[m[1]] = verdict.Reason(m[2])
	}
	if len(all) < 100 {
		t.Fatalf("%d reasons", len(all))
	}
	return all
}
