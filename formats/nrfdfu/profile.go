package nrfdfu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Profile is what a chip and the SDK's example bootloaders for it have in
// common: a beginning for a [Device]. Products move the bootloader.
type Profile struct {
	Name  string // of the chip, in lower case
	Title string // for people
	// Oldest is the first SDK generation that supports the chip.
	Oldest   SDK
	Flash    uint32 // bytes
	Layout   Layout
	Settings uint32 // address of the settings page
	Backup   uint32 // address of its backup, the MBR parameters page
}

// Profiles returns the known chips in alphabetical order. Addresses of the
// pages are those of nrf_dfu_types.h, of the bootloader those of the SDK's
// examples (secure_bootloader_gcc_nrf52.ld), the same in 15.3, 16.0 and 17.1.
func Profiles() []Profile {
	const area = 3 * page // NRF_DFU_APP_DATA_AREA_SIZE in sdk_config.h
	return []Profile{
		{
			Name: "nrf52810", Title: "Nordic nRF52810", Oldest: SDK15, Flash: 192 << 10,
			Layout: Layout{Bootloader: 0x28000, MBRParams: 0x2e000, AppDataArea: area}, Settings: 0x2f000, Backup: 0x2e000,
		},
		{
			Name: "nrf52832", Title: "Nordic nRF52832", Oldest: SDK15, Flash: 512 << 10,
			Layout: Layout{Bootloader: 0x78000, MBRParams: 0x7e000, AppDataArea: area}, Settings: 0x7f000, Backup: 0x7e000,
		},
		{
			Name: "nrf52833", Title: "Nordic nRF52833", Oldest: SDK16, Flash: 512 << 10,
			Layout: Layout{Bootloader: 0x78000, MBRParams: 0x7e000, AppDataArea: area}, Settings: 0x7f000, Backup: 0x7e000,
		},
		{
			Name: "nrf52840", Title: "Nordic nRF52840", Oldest: SDK15, Flash: 1 << 20,
			Layout: Layout{Bootloader: 0xf8000, MBRParams: 0xfe000, AppDataArea: area}, Settings: 0xff000, Backup: 0xfe000,
		},
	}
}

// ErrUnknown is wrapped by ProfileByName and SoftDeviceByName.
var ErrUnknown = errors.New("unknown name")

// ProfileByName returns a profile. The error lists the known names.
func ProfileByName(name string) (Profile, error) {
	profiles := Profiles()
	if i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name }); i >= 0 {
		return profiles[i], nil
	}
	var names []string
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("nrfdfu: chip %q (known: %s): %w", name, strings.Join(names, ", "), ErrUnknown)
}

// String returns variant and version: "s132 6.1.1", or the firmware id where
// they are not known.
func (s SoftDevice) String() string {
	if s.ID == 0 || s.Version == 0 {
		return fmt.Sprintf("SoftDevice 0x%04x", s.FWID)
	}
	return fmt.Sprintf("s%d %d.%d.%d", s.ID, s.Major(), s.Version/1000%1000, s.Version%1000)
}

// SoftDevices returns the ones that SDK 15.3, 16.0 and 17.1 come with.
// Firmware ids are those that pc-nrfutil lists for --sd-req, sizes those of
// nrf_sdm.h in the SDKs.
func SoftDevices() []SoftDevice {
	return []SoftDevice{
		{FWID: 0xb8, ID: 112, Version: 6001001, End: 0x19000},
		{FWID: 0x103, ID: 112, Version: 7002000, End: 0x19000},
		{FWID: 0x102, ID: 113, Version: 7002000, End: 0x1c000},
		{FWID: 0xb7, ID: 132, Version: 6001001, End: 0x26000},
		{FWID: 0xcb, ID: 132, Version: 7000001, End: 0x26000},
		{FWID: 0x101, ID: 132, Version: 7002000, End: 0x26000},
		{FWID: 0xb6, ID: 140, Version: 6001001, End: 0x26000},
		{FWID: 0x100, ID: 140, Version: 7002000, End: 0x27000},
	}
}

// SoftDeviceByName finds a SoftDevice by what String returns for it. The error
// lists the known names.
func SoftDeviceByName(name string) (SoftDevice, error) {
	var names []string
	for _, s := range SoftDevices() {
		if s.String() == name {
			return s, nil
		}
		names = append(names, s.String())
	}
	return SoftDevice{}, fmt.Errorf("nrfdfu: SoftDevice %q (known: %s): %w", name, strings.Join(names, ", "), ErrUnknown)
}
