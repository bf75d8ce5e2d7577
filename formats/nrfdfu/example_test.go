package nrfdfu_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
)

// An application for an nRF52840 with S140 7.2.0, signed and then verified as
// its bootloader will.
func Example() {
	signer, err := sign.Throwaway(sign.ESP256) // a key in a token, really
	if err != nil {
		fmt.Println(err)
		return
	}
	firmware, err := nrfdfu.FromBin([]byte(strings.Repeat("firmware", 512)))
	if err != nil {
		fmt.Println(err)
		return
	}
	draft, err := nrfdfu.Build(nrfdfu.Options{
		Application: &nrfdfu.Part{Firmware: firmware, Version: 10203},
		HWVersion:   52, SDReq: []uint32{0x100},
		Key: signer.Public(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	signatures, err := sign.Answer(context.Background(), draft.Requests(), map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := draft.Finish(signatures)
	if err != nil {
		fmt.Println(err)
		return
	}

	pack, err := nrfdfu.ParsePackage(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	chip, err := nrfdfu.ProfileByName("nrf52840")
	if err != nil {
		fmt.Println(err)
		return
	}
	s140, err := nrfdfu.SoftDeviceByName("s140 7.2.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	device := nrfdfu.Device{SDK: nrfdfu.SDK17, Key: signer.Public(), BLE: true, HWVersion: 52, SoftDevice: &s140, Layout: chip.Layout}
	verified, _, err := nrfdfu.Verify(pack, device)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("installed version", verified.Device().AppVersion)

	device.HWVersion = 53
	_, _, err = nrfdfu.Verify(pack, device)
	fmt.Println(err)
	// Output:
	// installed version 10203
	// application: hardware: made for hardware version 52, the device has 53 (dfu-hardware-version); the bootloader answers ext HW_VERSION_FAILURE
}
