package vectors

import (
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// pageNRF is the length in bytes of a data object: what the bootloader writes to
// flash at a time.
const pageNRF = 4096

func judgeNRFDFU(state verdicts.NRFDFU, packet, firmware []byte) (Judgement, error) {
	device, err := nrfDevice(state)
	if err != nil {
		return Judgement{}, err
	}
	// The bootloader sees no package: under which kind manifest.json files the
	// image makes no difference.
	image := nrfdfu.Image{Kind: nrfdfu.KindApplication, Packet: packet, Firmware: firmware}
	v, _, err := nrfdfu.Verify(&nrfdfu.Package{Images: []nrfdfu.Image{image}}, device)
	if err == nil {
		j := accepted()
		j.Released = verdicts.Of(firmware[:v.Images()[0].Size])
		return j, nil
	}
	r, ok := errors.AsType[*nrfdfu.Refusal](err)
	if !ok {
		return Judgement{}, err
	}
	j, err := refused(string(r.Step), err)
	if err != nil {
		return Judgement{}, err
	}
	j.Response, j.Released = r.Result.String(), received(r.Step, packet, firmware)
	return j, nil
}

// received is what stands in the second bank when a step refuses: the bootloader
// writes every page of the firmware as it comes.
func received(step nrfdfu.Step, packet, firmware []byte) verdicts.Content {
	p, err := nrfdfu.ParsePacket(packet)
	if err != nil {
		return verdicts.Content{}
	}
	size := announced(p.Init)
	switch step {
	case nrfdfu.StepTransfer: // whole pages, up to the one that is refused
		return verdicts.Of(firmware[:min(uint64(len(firmware)), size)/pageNRF*pageNRF])
	case nrfdfu.StepHash, nrfdfu.StepSoftDeviceInfo, nrfdfu.StepBootValidation, nrfdfu.StepEnd:
		return verdicts.Of(firmware[:size])
	case nrfdfu.StepReceive, nrfdfu.StepDecode, nrfdfu.StepSignature, nrfdfu.StepType, nrfdfu.StepHashType, nrfdfu.StepHardware,
		nrfdfu.StepSoftDevice, nrfdfu.StepVersion, nrfdfu.StepSize, nrfdfu.StepRoom: // before the first byte of firmware
	}
	return verdicts.Content{}
}

// announced is how many bytes a packet says that follow.
func announced(c nrfdfu.InitCommand) uint64 {
	var size uint32
	add := func(n *uint32) {
		if n != nil {
			size += *n
		}
	}
	switch {
	case c.Type == nil:
	case *c.Type == nrfdfu.TypeApplication || *c.Type == nrfdfu.TypeExternalApplication:
		add(c.AppSize)
	default:
		if *c.Type != nrfdfu.TypeBootloader {
			add(c.SDSize)
		}
		if *c.Type != nrfdfu.TypeSoftDevice {
			add(c.BLSize)
		}
	}
	return uint64(size)
}

func nrfDevice(s verdicts.NRFDFU) (nrfdfu.Device, error) {
	d := nrfdfu.Device{
		BLE: s.BLE, Debug: s.Debug, HWVersion: s.HWVersion,
		AppVersion: s.AppVersion, BootloaderVersion: s.BootloaderVersion, AppSize: s.AppSize,
		UnsignedApps: s.UnsignedApps, AllowDowngrade: s.AllowDowngrade, RefuseSameVersion: s.RefuseSameVersion,
		RequireBootSigned: s.RequireBootSigned, ExternalApps: s.ExternalApps, ExternalUnversioned: s.ExternalUnversioned,
		SingleBank: s.SingleBank, ForceDualBank: s.ForceDualBank, SettingsVersion: int(s.SettingsVersion),
		Layout: nrfdfu.Layout{Bootloader: s.Bootloader, MBRParams: s.MBRParams, AppDataArea: s.AppDataArea},
	}
	i := slices.IndexFunc([]nrfdfu.SDK{nrfdfu.SDK15, nrfdfu.SDK16, nrfdfu.SDK17}, func(sdk nrfdfu.SDK) bool { return sdk.String() == s.SDK })
	if i < 0 {
		return nrfdfu.Device{}, fmt.Errorf("vectors: %w: SDK %q", ErrDevice, s.SDK)
	}
	d.SDK = nrfdfu.SDK(i)
	if sd := s.SoftDevice; sd != nil {
		d.SoftDevice = &nrfdfu.SoftDevice{FWID: sd.FWID, ID: sd.ID, Version: sd.Version, End: sd.End}
	}
	if len(s.Key) != 64 {
		return nrfdfu.Device{}, fmt.Errorf("vectors: %w: key of %d bytes", ErrDevice, len(s.Key))
	}
	point := slices.Clone(s.Key)
	slices.Reverse(point[:32])
	slices.Reverse(point[32:])
	var err error
	d.Key, err = p256Key(point)
	return d, err
}
