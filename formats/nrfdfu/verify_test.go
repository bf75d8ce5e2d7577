package nrfdfu_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// crafted makes an application package whose init packet is changed before it
// is signed, and whose parts are changed after.
type crafted struct {
	init     func(*nrfdfu.InitCommand)
	packet   func(*nrfdfu.Packet)
	image    func(*nrfdfu.Image)
	firmware []byte
	sizes    *nrfdfu.Sizes
}

// application20k is a firmware of five pages.
func application20k() []byte { return bytes.Repeat([]byte("firmware"), 20480/8) }

func (c crafted) pack(t testing.TB, signer sign.Signer) *nrfdfu.Package {
	t.Helper()
	firmware := c.firmware
	if firmware == nil {
		firmware = application20k()
	}
	sum := sha256.Sum256(firmware)
	slices.Reverse(sum[:])
	p := nrfdfu.Packet{OpCode: new(uint8(1)), Init: nrfdfu.InitCommand{
		FWVersion: new(uint32(1)), HWVersion: new(uint32(52)), SDReq: []uint32{0xb7}, Type: new(nrfdfu.TypeApplication),
		SDSize: new(uint32), BLSize: new(uint32), AppSize: new(uint32(len(firmware))),
		Hash: &nrfdfu.Hash{Type: nrfdfu.HashSHA256, Sum: sum[:]}, IsDebug: new(false),
		BootValidations: []nrfdfu.BootValidation{{Type: nrfdfu.ValidateCRC}},
	}}
	if c.init != nil {
		c.init(&p.Init)
	}
	s, err := signer.Sign(t.Context(), p.SignedBytes())
	if err != nil {
		t.Fatal(err)
	}
	p.Signature = &nrfdfu.Signature{Bytes: s.Encode(sign.LittleEndian)}
	if c.packet != nil {
		c.packet(&p)
	}
	image := nrfdfu.Image{Kind: nrfdfu.KindApplication, BinName: "a.bin", DatName: "a.dat", Firmware: firmware, Packet: p.Encode(), Sizes: c.sizes}
	if c.image != nil {
		c.image(&image)
	}
	return &nrfdfu.Package{Images: []nrfdfu.Image{image}}
}

// TestVerifyRefuses has a package for every reason and every answer that the
// bootloader has for it.
func TestVerifyRefuses(t *testing.T) {
	signer := throwaway(t)
	sd := softDevice(t, 0x101, 132, 7002000, 0x26000).Data
	kind := func(ft nrfdfu.FirmwareType) func(*nrfdfu.InitCommand) {
		return func(c *nrfdfu.InitCommand) { c.Type = &ft }
	}
	// A SoftDevice of another major version cannot come alone on BLE.
	softDevicePacket := func(c *nrfdfu.InitCommand) {
		c.Type, c.SDSize = new(nrfdfu.TypeSoftDevice), new(uint32(len(sd)))
	}
	softDeviceBootloader := func(c *nrfdfu.InitCommand) {
		c.Type, c.SDSize, c.BLSize, c.FWVersion = new(nrfdfu.TypeSoftDeviceBootloader), new(uint32(len(sd))), new(uint32(4)), new(uint32(9))
	}
	none := nrfdfu.Result{}
	for name, c := range map[string]struct {
		crafted crafted
		device  func(*nrfdfu.Device)
		step    nrfdfu.Step
		reason  verdict.Reason
		result  string
	}{
		"empty packet":         {crafted{image: func(m *nrfdfu.Image) { m.Packet = nil }}, nil, nrfdfu.StepReceive, verdict.DFUPacketSize, "INVALID_PARAMETER"},
		"513 bytes of packet":  {crafted{image: func(m *nrfdfu.Image) { m.Packet = make([]byte, 513) }}, nil, nrfdfu.StepReceive, verdict.DFUPacketSize, "INSUFFICIENT_RESOURCES"},
		"257 bytes, version 1": {crafted{image: func(m *nrfdfu.Image) { m.Packet = make([]byte, 257) }}, func(d *nrfdfu.Device) { d.SettingsVersion = 1 }, nrfdfu.StepReceive, verdict.DFUPacketSize, "INSUFFICIENT_RESOURCES"},
		"no protobuf":          {crafted{image: func(m *nrfdfu.Image) { m.Packet = []byte("text") }}, nil, nrfdfu.StepDecode, verdict.DFUPacketEncoding, "INVALID_OBJECT"},
		"unsigned":             {crafted{packet: func(p *nrfdfu.Packet) { p.Signature = nil }}, nil, nrfdfu.StepSignature, verdict.DFUUnsigned, "ext SIGNATURE_MISSING"},
		"unsigned SoftDevice on BLE": {
			crafted{init: softDevicePacket, packet: func(p *nrfdfu.Packet) { p.Signature = nil }},
			func(d *nrfdfu.Device) { d.UnsignedApps = true }, nrfdfu.StepSignature, verdict.DFUUnsigned, "ext SIGNATURE_MISSING",
		},
		"unsigned bootloader": {
			crafted{init: kind(nrfdfu.TypeBootloader), packet: func(p *nrfdfu.Packet) { p.Signature = nil }},
			func(d *nrfdfu.Device) { d.UnsignedApps = true }, nrfdfu.StepSignature, verdict.DFUUnsigned, "ext SIGNATURE_MISSING",
		},
		"Ed25519":            {crafted{packet: func(p *nrfdfu.Packet) { p.Signature.Type = 1 }}, nil, nrfdfu.StepSignature, verdict.DFUSignatureType, "ext WRONG_SIGNATURE_TYPE"},
		"63 bytes":           {crafted{packet: func(p *nrfdfu.Packet) { p.Signature.Bytes = p.Signature.Bytes[:63] }}, nil, nrfdfu.StepSignature, verdict.DFUSignatureLength, "OPERATION_FAILED"},
		"other key":          {crafted{}, func(d *nrfdfu.Device) { d.Key = publicKey(t, "test-b") }, nrfdfu.StepSignature, verdict.DFUSignature, "INVALID_OBJECT"},
		"signature of zeros": {crafted{packet: func(p *nrfdfu.Packet) { clear(p.Signature.Bytes) }}, nil, nrfdfu.StepSignature, verdict.DFUSignature, "INVALID_OBJECT"},
		"no type":            {crafted{init: func(c *nrfdfu.InitCommand) { c.Type = nil }}, nil, nrfdfu.StepType, verdict.DFUType, "ext INIT_COMMAND_INVALID"},
		"type 5":             {crafted{init: kind(5)}, nil, nrfdfu.StepType, verdict.DFUType, "ext INIT_COMMAND_INVALID"},
		"external":           {crafted{init: kind(nrfdfu.TypeExternalApplication)}, nil, nrfdfu.StepType, verdict.DFUType, "ext INIT_COMMAND_INVALID"},
		"no hash":            {crafted{init: func(c *nrfdfu.InitCommand) { c.Hash = nil }}, nil, nrfdfu.StepHashType, verdict.DFUHashType, "ext WRONG_HASH_TYPE"},
		"SHA-512":            {crafted{init: func(c *nrfdfu.InitCommand) { c.Hash.Type = 4 }}, nil, nrfdfu.StepHashType, verdict.DFUHashType, "ext WRONG_HASH_TYPE"},
		"no hardware":        {crafted{init: func(c *nrfdfu.InitCommand) { c.HWVersion = nil }}, nil, nrfdfu.StepHardware, verdict.DFUHardwareMissing, "ext INIT_COMMAND_INVALID"},
		"other hardware":     {crafted{}, func(d *nrfdfu.Device) { d.HWVersion = 53 }, nrfdfu.StepHardware, verdict.DFUHardware, "ext HW_VERSION_FAILURE"},
		"debug packet":       {crafted{init: func(c *nrfdfu.InitCommand) { c.IsDebug = new(true) }}, func(d *nrfdfu.Device) { d.HWVersion = 53 }, nrfdfu.StepHardware, verdict.DFUHardware, "ext HW_VERSION_FAILURE"},
		"other SoftDevice":   {crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{1, 2} }}, nil, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"low bits only":      {crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{0x100b7} }}, nil, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"any SoftDevice":     {crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{nrfdfu.SoftDeviceAny} }}, nil, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"none named":         {crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = nil }}, nil, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"overwrites":         {crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{0, 0xb7} }}, nil, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"overwrites another": {crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{0, 1} }}, func(d *nrfdfu.Device) { d.BLE = false }, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"SoftDevice for none": {
			crafted{init: func(c *nrfdfu.InitCommand) { softDevicePacket(c); c.SDReq = []uint32{0} }},
			func(d *nrfdfu.Device) { d.AllowDowngrade = true }, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE",
		},
		"external overwrites": {
			crafted{init: func(c *nrfdfu.InitCommand) { kind(nrfdfu.TypeExternalApplication)(c); c.SDReq = []uint32{0} }},
			func(d *nrfdfu.Device) { d.ExternalApps = true }, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE",
		},
		"needs one":        {crafted{}, func(d *nrfdfu.Device) { d.BLE, d.SoftDevice = false, nil }, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"no version, none": {crafted{init: func(c *nrfdfu.InitCommand) { c.FWVersion, c.SDReq = nil, nil }}, func(d *nrfdfu.Device) { d.BLE, d.SoftDevice = false, nil }, nrfdfu.StepSoftDevice, verdict.DFUSoftDevice, "ext SD_VERSION_FAILURE"},
		"no version":       {crafted{init: func(c *nrfdfu.InitCommand) { c.FWVersion = nil }}, nil, nrfdfu.StepVersion, verdict.DFUVersionMissing, "ext INIT_COMMAND_INVALID"},
		"downgrade":        {crafted{}, func(d *nrfdfu.Device) { d.AppVersion = 2 }, nrfdfu.StepVersion, verdict.DFUVersion, "ext FW_VERSION_FAILURE"},
		"same version":     {crafted{}, func(d *nrfdfu.Device) { d.AppVersion, d.RefuseSameVersion = 1, true }, nrfdfu.StepVersion, verdict.DFUVersion, "ext FW_VERSION_FAILURE"},
		"same bootloader":  {crafted{init: kind(nrfdfu.TypeBootloader)}, func(d *nrfdfu.Device) { d.BootloaderVersion = 1 }, nrfdfu.StepVersion, verdict.DFUVersion, "ext FW_VERSION_FAILURE"},
		"older external":   {crafted{init: kind(nrfdfu.TypeExternalApplication)}, func(d *nrfdfu.Device) { d.ExternalApps, d.AppVersion = true, 2 }, nrfdfu.StepVersion, verdict.DFUVersion, "ext FW_VERSION_FAILURE"},
		"no size":          {crafted{init: func(c *nrfdfu.InitCommand) { c.AppSize = nil }}, nil, nrfdfu.StepSize, verdict.DFUSizeMissing, "ext INIT_COMMAND_INVALID"},
		"size of zero":     {crafted{init: func(c *nrfdfu.InitCommand) { c.AppSize = new(uint32) }}, nil, nrfdfu.StepSize, verdict.DFUSizeMissing, "ext INIT_COMMAND_INVALID"},
		"sizes that wrap": {
			crafted{init: func(c *nrfdfu.InitCommand) { softDeviceBootloader(c); c.SDSize = new(uint32(1<<32 - 4)) }},
			nil, nrfdfu.StepSize, verdict.DFUSizeMissing, "ext INIT_COMMAND_INVALID",
		},
		"large bootloader": {
			crafted{init: func(c *nrfdfu.InitCommand) { kind(nrfdfu.TypeBootloader)(c); c.BLSize = new(uint32(0x6001)) }},
			nil, nrfdfu.StepSize, verdict.DFUBootloaderSize, "INSUFFICIENT_RESOURCES",
		},
		"no room":        {crafted{init: func(c *nrfdfu.InitCommand) { c.AppSize = new(uint32(0x4f001)) }}, nil, nrfdfu.StepRoom, verdict.DFUNoRoom, "INSUFFICIENT_RESOURCES"},
		"no second bank": {crafted{}, func(d *nrfdfu.Device) { d.ForceDualBank, d.AppSize = true, 0x4b000 }, nrfdfu.StepRoom, verdict.DFUNoRoom, "INSUFFICIENT_RESOURCES"},
		"cut by a word":  {crafted{image: func(m *nrfdfu.Image) { m.Firmware = m.Firmware[:20476] }}, nil, nrfdfu.StepTransfer, verdict.DFUFirmwareSize, "INVALID_PARAMETER"},
		"cut by a page":  {crafted{image: func(m *nrfdfu.Image) { m.Firmware = m.Firmware[:16384] }}, nil, nrfdfu.StepTransfer, verdict.DFUFirmwareSize, none.String()},
		"no firmware":    {crafted{image: func(m *nrfdfu.Image) { m.Firmware = nil }}, nil, nrfdfu.StepTransfer, verdict.DFUFirmwareSize, none.String()},
		"longer, in the last page": {
			crafted{firmware: []byte("abcd"), image: func(m *nrfdfu.Image) { m.Firmware = append(m.Firmware, 1) }},
			nil, nrfdfu.StepTransfer, verdict.DFUFirmwareSize, "INVALID_PARAMETER",
		},
		"longer, to a whole page": {
			crafted{firmware: []byte("abcd"), image: func(m *nrfdfu.Image) { m.Firmware = append(m.Firmware, make([]byte, 4092)...) }},
			nil, nrfdfu.StepTransfer, verdict.DFUFirmwareSize, "OPERATION_NOT_PERMITTED",
		},
		"longer by a word": {crafted{image: func(m *nrfdfu.Image) { m.Firmware = append(m.Firmware, 1, 2, 3, 4) }}, nil, nrfdfu.StepEnd, verdict.DFUFirmwareSize, "INVALID_PARAMETER"},
		"longer by a page": {crafted{image: func(m *nrfdfu.Image) { m.Firmware = append(m.Firmware, make([]byte, 4096)...) }}, nil, nrfdfu.StepEnd, verdict.DFUFirmwareSize, "OPERATION_NOT_PERMITTED"},
		"other firmware":   {crafted{image: func(m *nrfdfu.Image) { m.Firmware[0]++ }}, nil, nrfdfu.StepHash, verdict.DFUFirmwareHash, "ext VERIFICATION_FAILED"},
		"hash not reversed": {
			crafted{init: func(c *nrfdfu.InitCommand) { slices.Reverse(c.Hash.Sum) }}, nil, nrfdfu.StepHash, verdict.DFUFirmwareHash, "ext VERIFICATION_FAILED",
		},
		"no SoftDevice inside": {crafted{init: func(c *nrfdfu.InitCommand) { softDevicePacket(c); c.SDSize = new(uint32(20480)) }}, nil, nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceInfo, "INVALID_OBJECT"},
		"major SoftDevice":     {crafted{firmware: sd, init: softDevicePacket}, nil, nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceMajor, "INVALID_OBJECT"},
		"SoftDevice too long": {
			crafted{firmware: softDevice(t, 0x101, 132, 6000000, 0x3000).Data, init: softDevicePacket}, nil, nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceInfo, "INVALID_OBJECT",
		},
		"other family": {
			crafted{firmware: softDevice(t, 0x101, 140, 6002000, 0x26000).Data, init: softDevicePacket},
			func(d *nrfdfu.Device) { d.SDK = nrfdfu.SDK16 }, nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceFamily, "INVALID_OBJECT",
		},
		"boot validation 9": {crafted{init: func(c *nrfdfu.InitCommand) { c.BootValidations[0].Type = 9 }}, nil, nrfdfu.StepBootValidation, verdict.DFUBootValidation, "INVALID_OBJECT"},
		"boot signature":    {crafted{init: func(c *nrfdfu.InitCommand) { c.BootValidations[0].Type = nrfdfu.ValidateECDSA }}, nil, nrfdfu.StepBootValidation, verdict.DFUBootSignature, "INVALID_OBJECT"},
		"boot unsigned":     {crafted{}, func(d *nrfdfu.Device) { d.RequireBootSigned = true }, nrfdfu.StepBootValidation, verdict.DFUBootUnsigned, "INVALID_OBJECT"},
		"bootloader checked as the SoftDevice": {
			crafted{firmware: append(bytes.Clone(sd), 1, 2, 3, 4), init: func(c *nrfdfu.InitCommand) {
				softDeviceBootloader(c)
				s, err := signer.Sign(t.Context(), sd)
				if err != nil {
					t.Error(err)
				}
				c.BootValidations[0] = nrfdfu.BootValidation{Type: nrfdfu.ValidateECDSA, Bytes: s.Encode(sign.LittleEndian)}
			}},
			func(d *nrfdfu.Device) { d.SDK = nrfdfu.SDK16 }, nrfdfu.StepBootValidation, verdict.DFUBootSignature, "INVALID_OBJECT",
		},
	} {
		d := device(t, "ble-s132-6.1.1")
		d.Key, d.ExternalApps, d.ForceDualBank = signer.Public(), false, false
		if c.device != nil {
			c.device(&d)
		}
		verified, trace, err := nrfdfu.Verify(c.crafted.pack(t, signer), d)
		r, ok := errorsAs(err)
		if !ok || verified != nil {
			t.Errorf("%s: got %v, want a refusal", name, err)
			continue
		}
		if r.Step != c.step || verdict.Of(err) != c.reason || r.Result.String() != c.result {
			t.Errorf("%s: got %s %s %q, want %s %s %q", name, r.Step, verdict.Of(err), r.Result, c.step, c.reason, c.result)
		}
		last := trace[len(trace)-1]
		if last.Step != r.Step || last.Status != nrfdfu.Failed || last.Reason != c.reason || *last.Result != r.Result || last.Detail == "" {
			t.Errorf("%s: the trace ends with %+v", name, last)
		}
	}
}

// TestVerifyAccepts has what looks wrong and is not.
func TestVerifyAccepts(t *testing.T) {
	signer := throwaway(t)
	minor := softDevice(t, 0xb8, 132, 6002000, 0x26000).Data
	for name, c := range map[string]struct {
		crafted  crafted
		device   func(*nrfdfu.Device)
		warnings []verdict.Reason
	}{
		"usual":                   {crafted{}, nil, nil},
		"same version":            {crafted{}, func(d *nrfdfu.Device) { d.AppVersion = 1 }, nil},
		"downgrade allowed":       {crafted{}, func(d *nrfdfu.Device) { d.AppVersion, d.AllowDowngrade = 2, true }, nil},
		"no boot validation":      {crafted{init: func(c *nrfdfu.InitCommand) { c.BootValidations = nil }}, nil, nil},
		"debug on debug":          {crafted{init: func(c *nrfdfu.InitCommand) { c.IsDebug, c.HWVersion, c.SDReq = new(true), nil, nil }}, func(d *nrfdfu.Device) { d.Debug = true }, []verdict.Reason{verdict.DFUDebug}},
		"last page of the region": {crafted{}, func(d *nrfdfu.Device) { d.AppSize = 0x4a000 }, nil},
		"gives up the application": {
			crafted{}, func(d *nrfdfu.Device) { d.AppSize = 0x4b000 }, nil,
		},
		"overwrites a SoftDevice": {
			crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{0} }}, nil, []verdict.Reason{verdict.DFURequirement},
		},
		"one that it names": {
			crafted{init: func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{0, 0xb7} }}, func(d *nrfdfu.Device) { d.BLE = false }, []verdict.Reason{verdict.DFURequirement},
		},
		"unsigned": {
			crafted{packet: func(p *nrfdfu.Packet) { p.Signature = nil }}, func(d *nrfdfu.Device) { d.UnsignedApps = true }, []verdict.Reason{verdict.DFUUnsigned},
		},
		"any signature": {
			crafted{packet: func(p *nrfdfu.Packet) { clear(p.Signature.Bytes) }}, func(d *nrfdfu.Device) { d.UnsignedApps = true }, []verdict.Reason{verdict.DFUSignature},
		},
		"no op code": {crafted{packet: func(p *nrfdfu.Packet) { p.OpCode = nil }}, nil, []verdict.Reason{verdict.DFUOpCode}},
		"filed as a bootloader": {
			crafted{image: func(m *nrfdfu.Image) { m.Kind = nrfdfu.KindBootloader }}, nil, []verdict.Reason{verdict.DFUManifestType},
		},
		"other sizes in the manifest": {crafted{sizes: &nrfdfu.Sizes{SoftDevice: 1}}, nil, []verdict.Reason{verdict.DFUManifestSizes}},
		"SoftDevice without a version": {
			crafted{firmware: minor, init: func(c *nrfdfu.InitCommand) {
				c.Type, c.SDSize, c.FWVersion = new(nrfdfu.TypeSoftDevice), new(uint32(len(minor))), nil
			}, image: func(m *nrfdfu.Image) { m.Kind = nrfdfu.KindSoftDevice }}, func(d *nrfdfu.Device) { d.SDK = nrfdfu.SDK17 }, nil,
		},
	} {
		d := device(t, "ble-s132-6.1.1")
		d.Key, d.ForceDualBank = signer.Public(), false
		if c.device != nil {
			c.device(&d)
		}
		verified, trace, err := nrfdfu.Verify(c.crafted.pack(t, signer), d)
		if err != nil {
			t.Errorf("%s: %v\n%v", name, err, trace)
			continue
		}
		var got []verdict.Reason
		for _, w := range verified.Warnings() {
			got = append(got, w.Reason)
		}
		if !slices.Equal(got, c.warnings) || !verified.Complete() {
			t.Errorf("%s: warnings %v, want %v, complete %t", name, verified.Warnings(), c.warnings, verified.Complete())
		}
	}
}

// A 31-byte hash and a 63-byte boot validation are read from buffers of zeros,
// so that they are right when what was cut off is a zero.
func TestCutZeros(t *testing.T) {
	signer := throwaway(t)
	d := device(t, "ble-s132-6.1.1")
	d.Key = signer.Public()

	data := []byte{0, 0, 0, 0}
	for i := 0; sha256.Sum256(data)[0] != 0; i++ {
		data[0], data[1] = byte(i), byte(i>>8)
	}
	cut := crafted{firmware: data, init: func(c *nrfdfu.InitCommand) { c.Hash.Sum = c.Hash.Sum[:31] }}
	if _, _, err := nrfdfu.Verify(cut.pack(t, signer), d); err != nil {
		t.Error(err)
	}

	var boot []byte
	for i := 0; boot == nil || boot[63] != 0; i++ {
		if i == 20000 {
			t.Fatal("no signature with a leading zero")
		}
		s, err := signer.Sign(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		boot = s.Encode(sign.LittleEndian)
	}
	cut.init = func(c *nrfdfu.InitCommand) {
		c.BootValidations[0] = nrfdfu.BootValidation{Type: nrfdfu.ValidateECDSA, Bytes: boot[:63]}
	}
	if _, _, err := nrfdfu.Verify(cut.pack(t, signer), d); err != nil {
		t.Error(err)
	}
}

// TestTransition updates SoftDevice, bootloader and application in one package:
// the application finds what the first image has left.
func TestTransition(t *testing.T) {
	signer := throwaway(t)
	boot := new(nrfdfu.ValidateECDSA)
	o := nrfdfu.Options{
		HWVersion: 52, SDReq: []uint32{0xb7}, AppSDReq: []uint32{0x101}, SDK: nrfdfu.SDK17,
		SoftDevice:  &nrfdfu.Part{Firmware: softDevice(t, 0x101, 132, 7002000, 0x27000), BootValidation: boot},
		Bootloader:  &nrfdfu.Part{Firmware: bin(t, []byte("bootloader")), Version: 2},
		Application: &nrfdfu.Part{Firmware: bin(t, application20k()), Version: 5, BootValidation: boot},
	}
	p := build(t, o, signer)
	d := device(t, "ble-s132-6.1.1")
	d.Key, d.SDK, d.AppSize, d.AppVersion = signer.Public(), nrfdfu.SDK17, 8192, 4
	verified, trace, err := nrfdfu.Verify(p, d)
	if err != nil {
		t.Fatalf("%v\n%v", err, trace)
	}
	images := verified.Images()
	if len(images) != 2 || len(trace) != 30 || len(verified.Warnings()) != 0 || !verified.Complete() {
		t.Fatalf("%d images, %d lines, warnings %v", len(images), len(trace), verified.Warnings())
	}
	if sd := images[0]; sd.BankCode != nrfdfu.BankSoftDeviceBootloader || sd.Address != 0x28000 || sd.SoftDeviceValidation != nrfdfu.ValidateECDSA {
		t.Errorf("first image %+v", sd)
	}
	if app := images[1]; app.BankCode != nrfdfu.BankApplication || app.Address != 0x27000 || app.AppValidation != nrfdfu.ValidateECDSA {
		t.Errorf("second image %+v", app)
	}
	after := verified.Device()
	if after.SoftDevice.FWID != 0x101 || after.BootloaderVersion != 2 || after.AppVersion != 5 || after.AppSize != 20480 {
		t.Errorf("afterwards %+v", after)
	}
	if d.SoftDevice.FWID != 0xb7 {
		t.Error("the caller's device was changed")
	}
	// Once more: SoftDevice and bootloader are there, which is not an update.
	_, trace, err = nrfdfu.Verify(p, after)
	if r, ok := errorsAs(err); !ok || r.Step != nrfdfu.StepVersion || r.Image != nrfdfu.KindSoftDeviceBootloader {
		t.Errorf("again: %v\n%v", err, trace)
	}
}

// What is not known of the device leaves a check out, and says so.
func TestIncomplete(t *testing.T) {
	signer := throwaway(t)
	o := nrfdfu.Options{HWVersion: 52, SDReq: []uint32{0xb7}, SoftDevice: &nrfdfu.Part{Firmware: softDevice(t, 0x101, 132, 7002000, 0x26000)}}
	p := build(t, o, signer)
	for _, sdk := range []nrfdfu.SDK{nrfdfu.SDK15, nrfdfu.SDK16} {
		d := device(t, "ble-s132-6.1.1")
		d.Key, d.SDK, d.SoftDevice = signer.Public(), sdk, &nrfdfu.SoftDevice{FWID: 0xb7, End: 0x26000}
		verified, trace, err := nrfdfu.Verify(p, d)
		if err != nil || verified.Complete() {
			t.Errorf("%s: %v\n%v", sdk, err, trace)
		}
		i := slices.IndexFunc(trace, func(c nrfdfu.Check) bool { return c.Step == nrfdfu.StepSoftDeviceInfo })
		if trace[i].Status != nrfdfu.NotRun {
			t.Errorf("%s: %+v", sdk, trace[i])
		}
	}
}

// TestVerifyCannot has what leaves the verdict open.
func TestVerifyCannot(t *testing.T) {
	signer := throwaway(t)
	p384, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	good := crafted{}.pack(t, signer)
	for name, c := range map[string]struct {
		device func(*nrfdfu.Device)
		pack   *nrfdfu.Package
		want   error
	}{
		"no key":              {func(d *nrfdfu.Device) { d.Key = sign.PublicKey{} }, good, nrfdfu.ErrNoKey},
		"key on P-384":        {func(d *nrfdfu.Device) { d.Key = p384.Public() }, good, nrfdfu.ErrOptions},
		"no layout":           {func(d *nrfdfu.Device) { d.Layout = nrfdfu.Layout{} }, good, nrfdfu.ErrOptions},
		"area below flash":    {func(d *nrfdfu.Device) { d.Layout.AppDataArea = 0x78000 }, good, nrfdfu.ErrOptions},
		"pages":               {func(d *nrfdfu.Device) { d.Layout.Bootloader++ }, good, nrfdfu.ErrOptions},
		"application too big": {func(d *nrfdfu.Device) { d.AppSize = 0x60000 }, good, nrfdfu.ErrOptions},
		"huge application":    {func(d *nrfdfu.Device) { d.AppSize = 1<<32 - 1 }, good, nrfdfu.ErrOptions},
		"SoftDevice too big":  {func(d *nrfdfu.Device) { d.SoftDevice.End = 1<<32 - 1 }, good, nrfdfu.ErrOptions},
		"BLE without one":     {func(d *nrfdfu.Device) { d.SoftDevice = nil }, good, nrfdfu.ErrOptions},
		"settings version 3":  {func(d *nrfdfu.Device) { d.SettingsVersion = 3 }, good, nrfdfu.ErrOptions},
		"SDK 18":              {func(d *nrfdfu.Device) { d.SDK = 3 }, good, nrfdfu.ErrOptions},
		"no images":           {func(*nrfdfu.Device) {}, &nrfdfu.Package{}, nrfdfu.ErrOptions},
		"no key for start": {
			func(d *nrfdfu.Device) { d.Key, d.UnsignedApps = sign.PublicKey{}, true },
			crafted{init: func(c *nrfdfu.InitCommand) { c.BootValidations[0].Type = nrfdfu.ValidateECDSA }}.pack(t, signer), nrfdfu.ErrNoKey,
		},
	} {
		d := device(t, "ble-s132-6.1.1")
		c.device(&d)
		verified, _, err := nrfdfu.Verify(c.pack, d)
		if verified != nil || !errors.Is(err, c.want) || verdict.Of(err) != "" {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestHints names the usual mistakes of external signing.
func TestHints(t *testing.T) {
	signer := throwaway(t)
	d := device(t, "ble-s132-6.1.1")
	d.Key = signer.Public()
	for want, c := range map[string]crafted{
		"r and s are big endian": {packet: func(p *nrfdfu.Packet) {
			slices.Reverse(p.Signature.Bytes[:32])
			slices.Reverse(p.Signature.Bytes[32:])
		}},
		"s stands before r": {packet: func(p *nrfdfu.Packet) {
			p.Signature.Bytes = slices.Concat(p.Signature.Bytes[32:], p.Signature.Bytes[:32])
		}},
		"hashed once more": {packet: func(p *nrfdfu.Packet) {
			digest := sha256.Sum256(p.SignedBytes())
			s, err := signer.Sign(t.Context(), digest[:])
			if err != nil {
				t.Error(err)
			}
			p.Signature.Bytes = s.Encode(sign.LittleEndian)
		}},
		"covers the command": {packet: func(p *nrfdfu.Packet) {
			unsigned := *p
			unsigned.Signature = nil
			s, err := signer.Sign(t.Context(), unsigned.Encode()[2:]) // without tag and length
			if err != nil {
				t.Error(err)
			}
			p.Signature.Bytes = s.Encode(sign.LittleEndian)
		}},
		"not byte-reversed": {init: func(i *nrfdfu.InitCommand) { slices.Reverse(i.Hash.Sum) }},
	} {
		_, _, err := nrfdfu.Verify(c.pack(t, signer), d)
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestProfiles verifies an application on every profile with every SoftDevice
// that fits it.
func TestProfiles(t *testing.T) {
	signer := throwaway(t)
	for _, profile := range nrfdfu.Profiles() {
		if got, err := nrfdfu.ProfileByName(profile.Name); err != nil || got != profile {
			t.Errorf("%s: %v", profile.Name, err)
		}
		if profile.Settings+4096 != profile.Flash || profile.Backup != profile.Layout.MBRParams || profile.Backup+4096 != profile.Settings {
			t.Errorf("%s: pages do not end the flash: %+v", profile.Name, profile)
		}
		fits := 0
		for _, sd := range nrfdfu.SoftDevices() {
			if got, err := nrfdfu.SoftDeviceByName(sd.String()); err != nil || got != sd {
				t.Errorf("%s: %v", sd, err)
			}
			if sd.End > profile.Layout.Bootloader-profile.Layout.AppDataArea {
				continue
			}
			fits++
			p := build(t, nrfdfu.Options{HWVersion: 52, SDReq: []uint32{uint32(sd.FWID)}, Application: &nrfdfu.Part{Firmware: bin(t, []byte("a"))}}, signer)
			d := nrfdfu.Device{SDK: profile.Oldest, Key: signer.Public(), BLE: true, HWVersion: 52, SoftDevice: &sd, Layout: profile.Layout}
			verified, trace, err := nrfdfu.Verify(p, d)
			if err != nil {
				t.Errorf("%s with %s: %v\n%v", profile.Name, sd, err, trace)
				continue
			}
			if in := verified.Images()[0]; in.Address != sd.End {
				t.Errorf("%s with %s: received at 0x%x", profile.Name, sd, in.Address)
			}
		}
		if fits < 3 {
			t.Errorf("%s: %d SoftDevices fit", profile.Name, fits)
		}
	}
	if _, err := nrfdfu.ProfileByName("nrf9160"); !errors.Is(err, nrfdfu.ErrUnknown) {
		t.Error(err)
	}
	if _, err := nrfdfu.SoftDeviceByName("s132 1.0.0"); !errors.Is(err, nrfdfu.ErrUnknown) {
		t.Error(err)
	}
}

// TestCheckContent has no device, and refuses what none takes, as the bootloaders
// of verdicts.json do, and takes what one of them takes.
func TestCheckContent(t *testing.T) {
	key := publicKey(t, "test-a")
	counts := map[bool]int{}
	for _, v := range vectors(t) {
		p := v.pack(t)
		accepted := false
		for device, answers := range v.Bootloader {
			last := answers[len(answers)-1]
			accepted = accepted || strings.HasPrefix(last, "accept") && !strings.Contains(device, "debug")
		}
		err := p.CheckContent(key, nrfdfu.SDK15)
		if accepted && err != nil {
			t.Errorf("%s: %v", v.File, err)
		}
		if r := (*nrfdfu.Refusal)(nil); err != nil && (!errors.As(err, &r) || verdict.Of(err) == "") {
			t.Errorf("%s: %v is no refusal", v.File, err)
		}
		if err == nil && !accepted && !strings.Contains(v.File, "no_fw_version") { // versions are checked against the installed ones
			for _, answers := range v.Bootloader { // of what is left to the device
				last := answers[len(answers)-1]
				if !strings.Contains(last, "VERSION_FAILURE") && !strings.Contains(last, "INSUFFICIENT_RESOURCES") && !strings.HasPrefix(last, "accept") {
					t.Errorf("%s: taken, %s", v.File, last)
				}
			}
		}
		counts[err == nil]++
		if err == nil && p.CheckContent(publicKey(t, "test-b"), nrfdfu.SDK15) == nil {
			t.Errorf("%s: another key verifies it", v.File)
		}
	}
	if counts[true] < 15 || counts[false] < 15 {
		t.Error(counts)
	}
	if err := (&nrfdfu.Package{}).CheckContent(key, nrfdfu.SDK15); !errors.Is(err, nrfdfu.ErrOptions) {
		t.Errorf("no images: %v", err)
	}
}
