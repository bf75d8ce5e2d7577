package vectors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

var nrfSteps = []string{
	string(nrfdfu.StepReceive), string(nrfdfu.StepDecode), string(nrfdfu.StepSignature), string(nrfdfu.StepType), string(nrfdfu.StepHashType),
	string(nrfdfu.StepHardware), string(nrfdfu.StepSoftDevice), string(nrfdfu.StepVersion), string(nrfdfu.StepSize), string(nrfdfu.StepRoom),
	string(nrfdfu.StepTransfer), string(nrfdfu.StepHash), string(nrfdfu.StepSoftDeviceInfo), string(nrfdfu.StepBootValidation), string(nrfdfu.StepEnd),
}

// nrfPackage is one of verdicts.json.
type nrfPackage struct {
	File   string `json:"file"`
	What   string `json:"what"`
	Images map[string]struct {
		Packet   string `json:"packet"`
		Firmware string `json:"firmware"` // the input
		Patch    *struct {
			Offset int  `json:"offset"`
			Value  byte `json:"value"`
		} `json:"patch"`
		Cut     int    `json:"cut"`
		Prepend string `json:"prepend"`
		Append  string `json:"append"`
	} `json:"images"`
	Bootloader map[string][]string `json:"bootloader"`
}

// nrfInput reads a firmware of testvectors/nrfdfu by the rules of the format.
func nrfInput(t *testing.T, name string) []byte {
	t.Helper()
	if name == "sd_bl" {
		return slices.Concat(nrfInput(t, "softdevice_s132_720_standin"), nrfInput(t, "bootloader"))
	}
	found, err := testvectors.Cases("nrfdfu/in/" + name + ".*")
	if err != nil {
		t.Fatal(err)
	}
	f, err := nrfdfu.LoadFirmware(bytes.NewReader(readVector(t, found[0])), firmware.Auto)
	if err != nil {
		t.Fatal(err)
	}
	return f.Data
}

// little is a key as the bootloader has it.
func little(k sign.PublicKey) verdicts.Hex {
	b := slices.Clone(k.Point()[1:])
	slices.Reverse(b[:32])
	slices.Reverse(b[32:])
	return b
}

// sdkDevice is one of the devices of verdicts.json.
func sdkDevice(t *testing.T, name string) verdicts.NRFDFU {
	t.Helper()
	key, err := sign.ParsePublicKey(readVector(t, "nrfdfu/test-a.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	d := verdicts.NRFDFU{
		SDK: "15", Key: little(key), BLE: true, HWVersion: 52, SettingsVersion: 2, ExternalApps: true, ForceDualBank: true,
		SoftDevice: &verdicts.SoftDevice{FWID: 0xb7, ID: 132, Version: 6001001, End: 0x26000},
		Bootloader: 0x78000, MBRParams: 0x7e000, AppDataArea: 0x3000,
	}
	switch name {
	case "ble-s132-6.1.1":
	case "ble-s132-7.2.0":
		d.SoftDevice = &verdicts.SoftDevice{FWID: 0x101, ID: 132, Version: 7002000, End: 0x26000}
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

func generateNRFDFU(t *testing.T) *generator {
	g := newGenerator(t, "nrfdfu", "nRF5 SDK 15.3, 16.0 and 17.1 Secure DFU", nrfSteps)
	add := func(id, description, source, base string, packetBase string, packet, image []byte, d verdicts.NRFDFU, want Answer, response string) {
		in := g.input("firmware", base, image)
		if len(image) == 0 {
			in = g.input("firmware", "", nil)
		}
		g.add(row{
			id: id, description: description, source: source, want: want, response: response, device: verdicts.Device{NRFDFU: &d},
			inputs: []verdicts.Input{g.input("packet", packetBase, packet), in},
			data:   map[string][]byte{"packet": packet, "firmware": image},
		})
	}
	var all struct {
		Cases []nrfPackage `json:"cases"`
	}
	if err := testvectors.JSON("nrfdfu/verdicts.json", &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all.Cases {
		for _, kind := range slices.Sorted(maps.Keys(v.Images)) {
			m := v.Images[kind]
			base := "nrfdfu-" + strings.ReplaceAll(m.Firmware, "_", "-") + ".bin"
			image := slices.Clone(nrfInput(t, m.Firmware))
			g.base(base, nrfInput(t, m.Firmware))
			if m.Patch != nil {
				image[m.Patch.Offset] = m.Patch.Value
			}
			image = slices.Concat(unhex(t, m.Prepend), image[:len(image)-m.Cut], unhex(t, m.Append))
			packet := unhex(t, m.Packet)
			name := strings.TrimSuffix(path.Base(v.File), ".zip")
			packetBase := "nrfdfu-" + strings.ReplaceAll(name, "_", "-") + ".dat"
			if g.files[packetBase] == nil && len(packet) > 0 {
				g.base(packetBase, packet)
			}
			if len(packet) == 0 {
				packetBase = ""
			}
			for _, device := range slices.Sorted(maps.Keys(v.Bootloader)) {
				answer := v.Bootloader[device][0]
				want, response := accept(), ""
				description := "taken: "
				if rest, ok := strings.CutPrefix(answer, "REFUSE at "); ok {
					want, description = Answer{Verdict: verdicts.Refuse}, ""
					_, response, _ = strings.Cut(rest, ": ")
					response, _, _ = strings.Cut(response, " (")
					response = strings.Replace(response, "EXT_ERROR ", "ext ", 1)
				}
				what := v.What
				if what == "" {
					what = "as pc-nrfutil made it"
				}
				add("sdk/"+slug(name)+"/"+device, fmt.Sprintf("%s%s, %s, for %s", description, slug(name), what, device), verdicts.SourceNRF5, base, packetBase, packet, image, sdkDevice(t, device), want, response)
			}
		}
	}
	nrfRules(t, g, add)
	return g
}

// crafted is an application whose init packet is changed before it is signed, and
// whose parts are changed after.
type crafted struct {
	init     func(*nrfdfu.InitCommand)
	packet   func(*nrfdfu.Packet) // after signing
	image    []byte
	raw      func([]byte) []byte // the encoded packet
	sent     func([]byte) []byte // the firmware
	byAnyone string              // the signer, when it is another
}

func (c crafted) make(t *testing.T, image []byte) (packet, sent []byte) {
	t.Helper()
	if c.image != nil {
		image = c.image
	}
	sum := sha256.Sum256(image)
	slices.Reverse(sum[:])
	p := nrfdfu.Packet{OpCode: new(uint8(1)), Init: nrfdfu.InitCommand{
		FWVersion: new(uint32(1)), HWVersion: new(uint32(52)), SDReq: []uint32{0xb7}, Type: new(nrfdfu.TypeApplication),
		SDSize: new(uint32), BLSize: new(uint32), AppSize: new(uint32(len(image))),
		Hash: &nrfdfu.Hash{Type: nrfdfu.HashSHA256, Sum: sum[:]}, IsDebug: new(false),
		BootValidations: []nrfdfu.BootValidation{{Type: nrfdfu.ValidateCRC}},
	}}
	if c.init != nil {
		c.init(&p.Init)
	}
	name := keySigner
	if c.byAnyone != "" {
		name = c.byAnyone
	}
	s, err := testSigner(t, name).Sign(t.Context(), p.SignedBytes())
	if err != nil {
		t.Fatal(err)
	}
	p.Signature = &nrfdfu.Signature{Bytes: s.Encode(sign.LittleEndian)}
	if c.packet != nil {
		c.packet(&p)
	}
	packet, sent = p.Encode(), image
	if c.raw != nil {
		packet = c.raw(packet)
	}
	if c.sent != nil {
		sent = c.sent(bytes.Clone(image))
	}
	return packet, sent
}

// standIn is a SoftDevice as far as the bootloader looks at it: an information
// structure (nrf_sdm.h).
func standIn(fwid uint16, id, version, end uint32) []byte {
	b := bytes.Repeat([]byte{0xff}, 0x2100)
	le := binary.LittleEndian
	b[0x2000] = 0x48
	le.PutUint32(b[0x2004:], 0x51b1e5db)
	le.PutUint32(b[0x2008:], end)
	le.PutUint16(b[0x200c:], fwid)
	le.PutUint32(b[0x2010:], id)
	le.PutUint32(b[0x2014:], version)
	return b
}

// nrfRules has a case for each rule that the packages of pc-nrfutil do not reach.
func nrfRules(t *testing.T, g *generator, add func(id, description, source, base, packetBase string, packet, image []byte, d verdicts.NRFDFU, want Answer, response string)) {
	image := testBytes(t, "nrf application", 5120)
	const base, packetBase = "nrfdfu-rules.bin", "nrfdfu-rules.dat"
	g.base(base, image)
	packet, _ := crafted{}.make(t, image)
	g.base(packetBase, packet)
	sd := standIn(0x101, 132, 7002000, 0x26000)
	g.base("nrfdfu-standin.bin", sd)

	kind := func(ft nrfdfu.FirmwareType) func(*nrfdfu.InitCommand) {
		return func(c *nrfdfu.InitCommand) { c.Type = &ft }
	}
	soft := func(c *nrfdfu.InitCommand) {
		c.Type, c.SDSize = new(nrfdfu.TypeSoftDevice), new(uint32(len(sd)))
	}
	softBoot := func(c *nrfdfu.InitCommand) {
		c.Type, c.SDSize, c.BLSize, c.FWVersion = new(nrfdfu.TypeSoftDeviceBootloader), new(uint32(len(sd))), new(uint32(4)), new(uint32(9))
	}
	req := func(ids ...uint32) func(*nrfdfu.InitCommand) { return func(c *nrfdfu.InitCommand) { c.SDReq = ids } }
	appSize := func(n uint32) func(*nrfdfu.InitCommand) { return func(c *nrfdfu.InitCommand) { c.AppSize = &n } }
	boot := func(v nrfdfu.BootValidation) func(*nrfdfu.InitCommand) {
		return func(c *nrfdfu.InitCommand) { c.BootValidations = []nrfdfu.BootValidation{v} }
	}
	signature := func(change func([]byte) []byte) func(*nrfdfu.Packet) {
		return func(p *nrfdfu.Packet) { p.Signature.Bytes = change(bytes.Clone(p.Signature.Bytes)) }
	}
	unsigned := func(p *nrfdfu.Packet) { p.Signature = nil }
	firmware := func(change func([]byte) []byte) crafted { return crafted{sent: change} }
	signedBoot := func(message []byte) nrfdfu.BootValidation {
		s, err := testSigner(t, keySigner).Sign(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		return nrfdfu.BootValidation{Type: nrfdfu.ValidateECDSA, Bytes: s.Encode(sign.LittleEndian)}
	}

	for _, c := range []struct {
		name     string
		crafted  crafted
		device   func(*verdicts.NRFDFU)
		want     Answer
		response string
	}{
		{"empty packet", crafted{raw: func([]byte) []byte { return nil }}, nil, refuse(nrfdfu.StepReceive, verdict.DFUPacketSize), "INVALID_PARAMETER"},
		{"packet of 513 bytes", crafted{raw: func([]byte) []byte { return make([]byte, 513) }}, nil, refuse(nrfdfu.StepReceive, verdict.DFUPacketSize), "INSUFFICIENT_RESOURCES"},
		{"packet of 257 bytes, settings version 1", crafted{raw: func([]byte) []byte { return make([]byte, 257) }}, func(d *verdicts.NRFDFU) { d.SettingsVersion = 1 },
			refuse(nrfdfu.StepReceive, verdict.DFUPacketSize), "INSUFFICIENT_RESOURCES"},
		{"no protobuf", crafted{raw: func([]byte) []byte { return []byte("text") }}, nil, refuse(nrfdfu.StepDecode, verdict.DFUPacketEncoding), "INVALID_OBJECT"},
		{"packet cut by a byte", crafted{raw: func(b []byte) []byte { return b[:len(b)-1] }}, nil, refuse(nrfdfu.StepDecode, verdict.DFUPacketEncoding), "INVALID_OBJECT"},
		{"packet of zeros", crafted{raw: func([]byte) []byte { return make([]byte, 64) }}, nil, refuse(nrfdfu.StepDecode, verdict.DFUPacketCommands), "INVALID_OBJECT"},

		{"unsigned", crafted{packet: unsigned}, nil, refuse(nrfdfu.StepSignature, verdict.DFUUnsigned), "ext SIGNATURE_MISSING"},
		{"unsigned SoftDevice on BLE", crafted{init: soft, packet: unsigned}, func(d *verdicts.NRFDFU) { d.UnsignedApps = true },
			refuse(nrfdfu.StepSignature, verdict.DFUUnsigned), "ext SIGNATURE_MISSING"},
		{"unsigned bootloader", crafted{init: kind(nrfdfu.TypeBootloader), packet: unsigned}, func(d *verdicts.NRFDFU) { d.UnsignedApps = true },
			refuse(nrfdfu.StepSignature, verdict.DFUUnsigned), "ext SIGNATURE_MISSING"},
		{"Ed25519", crafted{packet: func(p *nrfdfu.Packet) { p.Signature.Type = 1 }}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignatureType), "ext WRONG_SIGNATURE_TYPE"},
		{"signature of 63 bytes", crafted{packet: signature(func(b []byte) []byte { return b[:63] })}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignatureLength), "OPERATION_FAILED"},
		{"empty signature", crafted{packet: signature(func([]byte) []byte { return nil })}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignatureLength), "OPERATION_FAILED"},
		{"signed by another key", crafted{byAnyone: keyStranger}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},
		{"signature of zeros", crafted{packet: signature(func(b []byte) []byte { clear(b); return b })}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},
		{"signature in big endian", crafted{packet: signature(func(b []byte) []byte { slices.Reverse(b[:32]); slices.Reverse(b[32:]); return b })}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},
		{"s before r", crafted{packet: signature(func(b []byte) []byte { return slices.Concat(b[32:], b[:32]) })}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},
		{"one bit of the signature", crafted{packet: signature(func(b []byte) []byte { b[63] ^= 1; return b })}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},
		{"version raised after signing", crafted{packet: func(p *nrfdfu.Packet) { p.Init.FWVersion = new(uint32(2)) }}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},
		{"signature before type", crafted{init: kind(5), byAnyone: keyStranger}, nil, refuse(nrfdfu.StepSignature, verdict.DFUSignature), "INVALID_OBJECT"},

		{"no type", crafted{init: func(c *nrfdfu.InitCommand) { c.Type = nil }}, nil, refuse(nrfdfu.StepType, verdict.DFUType), "ext INIT_COMMAND_INVALID"},
		{"type 5", crafted{init: kind(5)}, nil, refuse(nrfdfu.StepType, verdict.DFUType), "ext INIT_COMMAND_INVALID"},
		{"external application, not configured", crafted{init: kind(nrfdfu.TypeExternalApplication)}, nil, refuse(nrfdfu.StepType, verdict.DFUType), "ext INIT_COMMAND_INVALID"},
		{"no hash", crafted{init: func(c *nrfdfu.InitCommand) { c.Hash = nil }}, nil, refuse(nrfdfu.StepHashType, verdict.DFUHashType), "ext WRONG_HASH_TYPE"},
		{"SHA-512", crafted{init: func(c *nrfdfu.InitCommand) { c.Hash.Type = 4 }}, nil, refuse(nrfdfu.StepHashType, verdict.DFUHashType), "ext WRONG_HASH_TYPE"},
		{"no hardware version", crafted{init: func(c *nrfdfu.InitCommand) { c.HWVersion = nil }}, nil, refuse(nrfdfu.StepHardware, verdict.DFUHardwareMissing), "ext INIT_COMMAND_INVALID"},
		{"other hardware", crafted{}, func(d *verdicts.NRFDFU) { d.HWVersion = 53 }, refuse(nrfdfu.StepHardware, verdict.DFUHardware), "ext HW_VERSION_FAILURE"},
		{"debug packet for a release bootloader", crafted{init: func(c *nrfdfu.InitCommand) { c.IsDebug = new(true) }}, func(d *verdicts.NRFDFU) { d.HWVersion = 53 },
			refuse(nrfdfu.StepHardware, verdict.DFUHardware), "ext HW_VERSION_FAILURE"},
		{"hardware before SoftDevice", crafted{init: req(1)}, func(d *verdicts.NRFDFU) { d.HWVersion = 53 }, refuse(nrfdfu.StepHardware, verdict.DFUHardware), "ext HW_VERSION_FAILURE"},

		{"other SoftDevices", crafted{init: req(1, 2)}, nil, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"low bits of the SoftDevice's id only", crafted{init: req(0x100b7)}, nil, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"any SoftDevice", crafted{init: req(nrfdfu.SoftDeviceAny)}, nil, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"no SoftDevice named", crafted{init: req()}, nil, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"overwrites the SoftDevice that the bootloader needs", crafted{init: req(0, 0xb7)}, nil, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"overwrites another SoftDevice", crafted{init: req(0, 1)}, func(d *verdicts.NRFDFU) { d.BLE = false }, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"SoftDevice for a device without one", crafted{init: func(c *nrfdfu.InitCommand) { soft(c); c.SDReq = []uint32{0} }}, func(d *verdicts.NRFDFU) { d.AllowDowngrade = true },
			refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"external application that overwrites", crafted{init: func(c *nrfdfu.InitCommand) { kind(nrfdfu.TypeExternalApplication)(c); c.SDReq = []uint32{0} }},
			func(d *verdicts.NRFDFU) { d.ExternalApps = true }, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"needs a SoftDevice that is not there", crafted{}, func(d *verdicts.NRFDFU) { d.BLE, d.SoftDevice = false, nil }, refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},
		{"no version, no SoftDevice", crafted{init: func(c *nrfdfu.InitCommand) { c.FWVersion, c.SDReq = nil, nil }}, func(d *verdicts.NRFDFU) { d.BLE, d.SoftDevice = false, nil },
			refuse(nrfdfu.StepSoftDevice, verdict.DFUSoftDevice), "ext SD_VERSION_FAILURE"},

		{"no version", crafted{init: func(c *nrfdfu.InitCommand) { c.FWVersion = nil }}, nil, refuse(nrfdfu.StepVersion, verdict.DFUVersionMissing), "ext INIT_COMMAND_INVALID"},
		{"downgrade", crafted{}, func(d *verdicts.NRFDFU) { d.AppVersion = 2 }, refuse(nrfdfu.StepVersion, verdict.DFUVersion), "ext FW_VERSION_FAILURE"},
		{"downgrade by far", crafted{}, func(d *verdicts.NRFDFU) { d.AppVersion = 0x80000001 }, refuse(nrfdfu.StepVersion, verdict.DFUVersion), "ext FW_VERSION_FAILURE"},
		{"same version, not accepted", crafted{}, func(d *verdicts.NRFDFU) { d.AppVersion, d.RefuseSameVersion = 1, true }, refuse(nrfdfu.StepVersion, verdict.DFUVersion), "ext FW_VERSION_FAILURE"},
		{"same bootloader version", crafted{init: kind(nrfdfu.TypeBootloader)}, func(d *verdicts.NRFDFU) { d.BootloaderVersion = 1 }, refuse(nrfdfu.StepVersion, verdict.DFUVersion), "ext FW_VERSION_FAILURE"},
		{"older external application", crafted{init: kind(nrfdfu.TypeExternalApplication)}, func(d *verdicts.NRFDFU) { d.ExternalApps, d.AppVersion = true, 2 },
			refuse(nrfdfu.StepVersion, verdict.DFUVersion), "ext FW_VERSION_FAILURE"},
		{"version before size", crafted{init: func(c *nrfdfu.InitCommand) { c.AppSize = nil }}, func(d *verdicts.NRFDFU) { d.AppVersion = 2 }, refuse(nrfdfu.StepVersion, verdict.DFUVersion), "ext FW_VERSION_FAILURE"},

		{"no size", crafted{init: func(c *nrfdfu.InitCommand) { c.AppSize = nil }}, nil, refuse(nrfdfu.StepSize, verdict.DFUSizeMissing), "ext INIT_COMMAND_INVALID"},
		{"size of zero", crafted{init: appSize(0)}, nil, refuse(nrfdfu.StepSize, verdict.DFUSizeMissing), "ext INIT_COMMAND_INVALID"},
		{"sizes that wrap", crafted{init: func(c *nrfdfu.InitCommand) { softBoot(c); c.SDSize = new(uint32(1<<32 - 4)) }}, nil, refuse(nrfdfu.StepSize, verdict.DFUSizeMissing), "ext INIT_COMMAND_INVALID"},
		{"large bootloader", crafted{init: func(c *nrfdfu.InitCommand) { kind(nrfdfu.TypeBootloader)(c); c.BLSize = new(uint32(0x6001)) }}, nil,
			refuse(nrfdfu.StepSize, verdict.DFUBootloaderSize), "INSUFFICIENT_RESOURCES"},
		{"no room", crafted{init: appSize(0x4f001)}, nil, refuse(nrfdfu.StepRoom, verdict.DFUNoRoom), "INSUFFICIENT_RESOURCES"},
		{"size of 4 GiB", crafted{init: appSize(1<<32 - 1)}, nil, refuse(nrfdfu.StepRoom, verdict.DFUNoRoom), "INSUFFICIENT_RESOURCES"},
		{"no second bank", crafted{}, func(d *verdicts.NRFDFU) { d.ForceDualBank, d.AppSize = true, 0x4f000 }, refuse(nrfdfu.StepRoom, verdict.DFUNoRoom), "INSUFFICIENT_RESOURCES"},

		{"firmware cut by a word", firmware(func(b []byte) []byte { return b[:len(b)-4] }), nil, refuse(nrfdfu.StepTransfer, verdict.DFUFirmwareSize), "INVALID_PARAMETER"},
		{"firmware cut to a page", firmware(func(b []byte) []byte { return b[:4096] }), nil, refuse(nrfdfu.StepTransfer, verdict.DFUFirmwareSize), "no answer"},
		{"no firmware", firmware(func([]byte) []byte { return nil }), nil, refuse(nrfdfu.StepTransfer, verdict.DFUFirmwareSize), "no answer"},
		{"firmware longer, in its last page", firmware(func(b []byte) []byte { return append(b, 1) }), nil, refuse(nrfdfu.StepTransfer, verdict.DFUFirmwareSize), "INVALID_PARAMETER"},
		{"firmware longer, to a whole page", firmware(func(b []byte) []byte { return append(b, make([]byte, 8192-len(b))...) }), nil,
			refuse(nrfdfu.StepTransfer, verdict.DFUFirmwareSize), "OPERATION_NOT_PERMITTED"},
		{"whole pages, longer by a word", crafted{image: image[:4096], sent: func(b []byte) []byte { return append(b, 1, 2, 3, 4) }}, nil, refuse(nrfdfu.StepEnd, verdict.DFUFirmwareSize), "INVALID_PARAMETER"},
		{"whole pages, longer by a page", crafted{image: image[:4096], sent: func(b []byte) []byte { return append(b, make([]byte, 4096)...) }}, nil,
			refuse(nrfdfu.StepEnd, verdict.DFUFirmwareSize), "OPERATION_NOT_PERMITTED"},
		{"first bit of the firmware", firmware(func(b []byte) []byte { b[0] ^= 0x80; return b }), nil, refuse(nrfdfu.StepHash, verdict.DFUFirmwareHash), "ext VERIFICATION_FAILED"},
		{"last bit of the firmware", firmware(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), nil, refuse(nrfdfu.StepHash, verdict.DFUFirmwareHash), "ext VERIFICATION_FAILED"},
		{"hash not reversed", crafted{init: func(c *nrfdfu.InitCommand) { slices.Reverse(c.Hash.Sum) }}, nil, refuse(nrfdfu.StepHash, verdict.DFUFirmwareHash), "ext VERIFICATION_FAILED"},
		{"hash cut by a byte that is not zero", crafted{init: func(c *nrfdfu.InitCommand) { c.Hash.Sum = c.Hash.Sum[:31] }}, nil, refuse(nrfdfu.StepHash, verdict.DFUFirmwareHash), "ext VERIFICATION_FAILED"},
		{"hash before boot validation", crafted{init: boot(nrfdfu.BootValidation{Type: 9}), sent: func(b []byte) []byte { b[0] ^= 1; return b }}, nil,
			refuse(nrfdfu.StepHash, verdict.DFUFirmwareHash), "ext VERIFICATION_FAILED"},

		{"no SoftDevice inside", crafted{init: func(c *nrfdfu.InitCommand) { soft(c); c.SDSize = new(uint32(len(image))) }}, nil, refuse(nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceInfo), "INVALID_OBJECT"},
		{"major SoftDevice without a bootloader", crafted{image: sd, init: soft}, nil, refuse(nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceMajor), "INVALID_OBJECT"},
		{"SoftDevice longer than it says", crafted{image: standIn(0x101, 132, 6000000, 0x3000), init: soft}, nil, refuse(nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceInfo), "INVALID_OBJECT"},
		{"SoftDevice of another family, SDK 16", crafted{image: standIn(0x101, 140, 6002000, 0x26000), init: soft}, func(d *verdicts.NRFDFU) { d.SDK = "16" },
			refuse(nrfdfu.StepSoftDeviceInfo, verdict.DFUSoftDeviceFamily), "INVALID_OBJECT"},
		{"boot validation of type 9", crafted{init: boot(nrfdfu.BootValidation{Type: 9})}, nil, refuse(nrfdfu.StepBootValidation, verdict.DFUBootValidation), "INVALID_OBJECT"},
		{"boot validation without its signature", crafted{init: boot(nrfdfu.BootValidation{Type: nrfdfu.ValidateECDSA})}, nil, refuse(nrfdfu.StepBootValidation, verdict.DFUBootSignature), "INVALID_OBJECT"},
		{"boot validation signed over another image", crafted{init: boot(signedBoot([]byte("another")))}, nil, refuse(nrfdfu.StepBootValidation, verdict.DFUBootSignature), "INVALID_OBJECT"},
		{"boot signature demanded", crafted{}, func(d *verdicts.NRFDFU) { d.RequireBootSigned = true }, refuse(nrfdfu.StepBootValidation, verdict.DFUBootUnsigned), "INVALID_OBJECT"},
		{"bootloader checked as the SoftDevice, SDK 16", crafted{image: append(bytes.Clone(sd), 1, 2, 3, 4), init: func(c *nrfdfu.InitCommand) {
			softBoot(c)
			c.BootValidations[0] = signedBoot(sd)
		}}, func(d *verdicts.NRFDFU) { d.SDK = "16" }, refuse(nrfdfu.StepBootValidation, verdict.DFUBootSignature), "INVALID_OBJECT"},

		{"as it should be", crafted{}, nil, accept(), ""},
		{"boot validation signed", crafted{init: boot(signedBoot(image))}, func(d *verdicts.NRFDFU) { d.RequireBootSigned = true }, accept(), ""},
		{"same version", crafted{}, func(d *verdicts.NRFDFU) { d.AppVersion = 1 }, accept(), ""},
		{"downgrade allowed", crafted{}, func(d *verdicts.NRFDFU) { d.AppVersion, d.AllowDowngrade = 2, true }, accept(), ""},
		{"no boot validation", crafted{init: func(c *nrfdfu.InitCommand) { c.BootValidations = nil }}, nil, accept(), ""},
		{"debug packet for a debug bootloader", crafted{init: func(c *nrfdfu.InitCommand) { c.IsDebug, c.HWVersion, c.SDReq = new(true), nil, nil }}, func(d *verdicts.NRFDFU) { d.Debug = true }, accept(), ""},
		{"last page of the region", crafted{}, func(d *verdicts.NRFDFU) { d.AppSize = 0x4d000 }, accept(), ""},
		{"gives up the application", crafted{}, func(d *verdicts.NRFDFU) { d.AppSize = 0x4f000 }, accept(), ""},
		{"may overwrite any SoftDevice", crafted{init: req(0)}, nil, accept(), ""},
		{"may overwrite the SoftDevice that is there", crafted{init: req(0, 0xb7)}, func(d *verdicts.NRFDFU) { d.BLE = false }, accept(), ""},
		{"unsigned, where signatures are not asked for", crafted{packet: unsigned}, func(d *verdicts.NRFDFU) { d.UnsignedApps = true }, accept(), ""},
		{"any signature, where none is asked for", crafted{packet: signature(func(b []byte) []byte { clear(b); return b })}, func(d *verdicts.NRFDFU) { d.UnsignedApps = true }, accept(), ""},
		{"no op code", crafted{packet: func(p *nrfdfu.Packet) { p.OpCode = nil }}, nil, accept(), ""},
		{"SoftDevice without a version, SDK 17", crafted{image: standIn(0xb8, 132, 6002000, 0x26000), init: func(c *nrfdfu.InitCommand) { soft(c); c.FWVersion = nil }},
			func(d *verdicts.NRFDFU) { d.SDK = "17" }, accept(), ""},
		{"external application for any SoftDevice", crafted{init: func(c *nrfdfu.InitCommand) {
			kind(nrfdfu.TypeExternalApplication)(c)
			c.SDReq = []uint32{nrfdfu.SoftDeviceAny}
		}},
			func(d *verdicts.NRFDFU) { d.ExternalApps = true }, accept(), ""},
	} {
		d := sdkDevice(t, "ble-s132-6.1.1")
		d.Key, d.ExternalApps, d.ForceDualBank = little(testSigner(t, keySigner).Public()), false, false
		if c.device != nil {
			c.device(&d)
		}
		packet, sent := c.crafted.make(t, image)
		from := base
		if len(sent) >= len(sd) && bytes.Equal(sent[:16], sd[:16]) {
			from = "nrfdfu-standin.bin"
		}
		description := c.name
		if c.want.Verdict == verdicts.Accept {
			description = "taken: " + c.name
		}
		add("rules/"+slug(c.name), description, "", from, packetBase, packet, sent, d, c.want, c.response)
	}
}
