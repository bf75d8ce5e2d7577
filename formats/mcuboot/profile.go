package mcuboot

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is a common way to build MCUboot: a Target without what every board
// decides for itself, which is keys and sizes of slots, and how images for it
// are laid out.
type Profile struct {
	Name, Title string // as otapack.yaml spells it, and for people
	Target      Target
	HeaderSize  int  // bytes
	PadHeader   bool // the firmware does not reserve the room for the header
}

// Profiles returns the known profiles in alphabetical order.
//
// The zephyr ones are builds of MCUboot's Zephyr port: the application is linked
// with 0x200 bytes left for the header (CONFIG_ROM_START_OFFSET), and the TLV
// allow list is on. st-oemirot is the OEMiROT of STM32H5, U5 and WBA: header of
// 0x400 bytes that the tool adds, 16-byte flash words, overwrite-only,
// ECIES-P256, and a security counter that the device keeps
// (STMicroelectronics/STM32CubeH5, ROT_Provisioning/OEMiROT/Images).
func Profiles() []Profile {
	zephyr := func(name, title string, mode Mode) Profile {
		return Profile{
			Name: "zephyr-" + name, Title: "Zephyr, " + title,
			Target:     Target{Signature: ECDSAP256, Mode: mode, SectorSize: 4 << 10, WriteSize: 4},
			HeaderSize: 0x200,
		}
	}
	counter := uint32(0)
	return []Profile{
		{
			Name: "st-oemirot", Title: "ST OEMiROT",
			Target: Target{
				Signature: ECDSAP256, Mode: OverwriteOnly, WriteSize: 16, MaxAlign: 16, SectorSize: 8 << 10,
				Encryption: ECIESP256, Rollback: &counter, Downgrade: ByVersion,
			},
			HeaderSize: 0x400, PadHeader: true,
		},
		zephyr("direct-xip", "runs the newer of two slots in place", DirectXIP),
		zephyr("overwrite", "copies the update over the application", OverwriteOnly),
		zephyr("swap-move", "swaps by moving, the usual choice", SwapMove),
		zephyr("swap-offset", "swaps by offset", SwapOffset),
		zephyr("swap-scratch", "swaps through a scratch area", SwapScratch),
	}
}

// ProfileByName returns a profile. The error lists the known names and wraps
// ErrTarget.
func ProfileByName(name string) (Profile, error) {
	profiles := Profiles()
	if i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name }); i >= 0 {
		return profiles[i], nil
	}
	var names []string
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("mcuboot: profile %q (known: %s): %w", name, strings.Join(names, ", "), ErrTarget)
}
