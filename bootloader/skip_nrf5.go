package bootloader

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
)

// nrf5Case is an application package, and how it is spoiled: its init command
// before it is signed, its packet and its firmware after.
type nrf5Case struct {
	command  func(*nrfdfu.InitCommand)
	packet   func(*nrfdfu.Packet)
	firmware []byte // nil: the one that is signed
	cut      int    // bytes off the end of the encoded packet
	signer   sign.Signer
}

func (c nrf5Case) pack(ctx context.Context, firmware []byte) (*nrfdfu.Package, error) {
	sum := sha256.Sum256(firmware)
	slices.Reverse(sum[:])
	p := nrfdfu.Packet{OpCode: new(uint8(1)), Init: nrfdfu.InitCommand{
		FWVersion: new(uint32(2)), HWVersion: new(uint32(52)), SDReq: []uint32{0xb7}, Type: new(nrfdfu.TypeApplication),
		SDSize: new(uint32), BLSize: new(uint32), AppSize: new(uint32(len(firmware))),
		Hash: &nrfdfu.Hash{Type: nrfdfu.HashSHA256, Sum: sum[:]}, IsDebug: new(false),
		BootValidations: []nrfdfu.BootValidation{{Type: nrfdfu.ValidateCRC}},
	}}
	if c.command != nil {
		c.command(&p.Init)
	}
	s, err := c.signer.Sign(ctx, p.SignedBytes())
	if err != nil {
		return nil, err
	}
	p.Signature = &nrfdfu.Signature{Bytes: s.Encode(sign.LittleEndian)}
	if c.packet != nil {
		c.packet(&p)
	}
	if c.firmware != nil {
		firmware = c.firmware
	}
	packet := p.Encode()
	return &nrfdfu.Package{Images: []nrfdfu.Image{{
		Kind: nrfdfu.KindApplication, BinName: "app.bin", DatName: "app.dat", Firmware: firmware, Packet: packet[:len(packet)-c.cut],
	}}}, nil
}

// nrf5BadImages are what a bootloader of the nRF5 SDK in its default
// configuration must refuse: applications, with CRC-32 as boot validation.
func nrf5BadImages(ctx context.Context) ([]badImage, error) {
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		return nil, err
	}
	stranger, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		return nil, err
	}
	device := nrfdfu.Device{
		Key: signer.Public(), BLE: true, HWVersion: 52, AppVersion: 2,
		SoftDevice: &nrfdfu.SoftDevice{FWID: 0xb7, ID: 132, Version: 6001001, End: 0x26000},
		Layout:     nrfdfu.Layout{Bootloader: 0x78000, MBRParams: 0x7e000, AppDataArea: 0x3000},
	}
	firmware := make([]byte, 20<<10)
	rand.Read(firmware)
	evil := slices.Clone(firmware)
	slices.Reverse(evil)
	evilSum := sha256.Sum256(evil)
	slices.Reverse(evilSum[:])

	var all []badImage
	var errs error
	add := func(name, what string, c nrf5Case, firmware []byte) {
		if c.signer == nil {
			c.signer = signer
		}
		p, err := c.pack(ctx, firmware)
		errs = errors.Join(errs, err)
		all = append(all, badImage{name, what, func(_ context.Context, without Step) (Trace, error) {
			trace, err := nrfdfu.TraceWithout(p, device, nrfdfu.Step(without))
			var one Trace
			for _, t := range fromNRF(trace) {
				one = t // there is one image
			}
			return one, err
		}})
	}
	command := func(change func(*nrfdfu.InitCommand)) nrf5Case { return nrf5Case{command: change} }

	add("wrong-key", "signed with a key that the device does not know", nrf5Case{signer: stranger}, firmware)
	add("unsigned", "no signature", nrf5Case{packet: func(p *nrfdfu.Packet) { p.Signature = nil }}, firmware)
	add("digest-swapped", "other firmware, and its hash put into the signed command",
		nrf5Case{packet: func(p *nrfdfu.Packet) { p.Init.Hash = &nrfdfu.Hash{Type: nrfdfu.HashSHA256, Sum: evilSum[:]} }, firmware: evil}, firmware)
	add("flipped", "one bit of the firmware changed", nrf5Case{firmware: skipFlip(firmware)}, firmware)
	add("truncated", "the last word of the firmware is missing", nrf5Case{firmware: firmware[:len(firmware)-4]}, firmware)
	add("too-large", "larger than the room for it", nrf5Case{}, make([]byte, 512<<10))
	add("older", "an older release", command(func(c *nrfdfu.InitCommand) { c.FWVersion = new(uint32(1)) }), firmware)
	add("no-version", "a release without a version", command(func(c *nrfdfu.InitCommand) { c.FWVersion = nil }), firmware)
	add("other-class", "made for another hardware version", command(func(c *nrfdfu.InitCommand) { c.HWVersion = new(uint32(53)) }), firmware)
	add("other-softdevice", "made for another SoftDevice", command(func(c *nrfdfu.InitCommand) { c.SDReq = []uint32{0x101} }), firmware)
	add("external", "an external application, which is not built in",
		command(func(c *nrfdfu.InitCommand) { c.Type = new(nrfdfu.TypeExternalApplication) }), firmware)
	add("other-hash", "a hash of another type", command(func(c *nrfdfu.InitCommand) { c.Hash.Type = nrfdfu.HashSHA256 + 1 }), firmware)
	add("no-size", "a command without the size of the application", command(func(c *nrfdfu.InitCommand) { c.AppSize = nil }), firmware)
	add("cut-packet", "the last byte of the init packet is missing", nrf5Case{cut: 1}, firmware)
	add("bad-boot-signature", "a boot validation signature of another key", command(func(c *nrfdfu.InitCommand) {
		c.BootValidations = []nrfdfu.BootValidation{{Type: nrfdfu.ValidateECDSA, Bytes: make([]byte, 64)}}
	}), firmware)
	return all, errs
}
