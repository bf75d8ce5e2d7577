package nrfdfu

import (
	"fmt"

	"github.com/otapack/otapack/sign"
)

const page = 4096 // bytes of a flash page of the nRF52, and of a data object

func alignPage(n uint32) uint32 { return (n + page - 1) &^ (page - 1) }

// Device is the state of one device, and how its bootloader was configured. The
// zero value of each switch is the default of the SDK (sdk_config.h).
type Device struct {
	SDK SDK
	Key sign.PublicKey // pk[64] of the bootloader

	// BLE says that the bootloader itself uses the SoftDevice, which it
	// therefore never gives up.
	BLE   bool
	Debug bool // NRF_DFU_DEBUG_VERSION: checks no versions for debug packages

	HWVersion  uint32      // NRF_DFU_HW_VERSION
	SoftDevice *SoftDevice // that is installed, nil for none

	// What the settings page says. A device fresh from the programmer may have
	// zeros here, and then accepts any version.
	AppVersion, BootloaderVersion uint32
	AppSize                       uint32 // bytes of the application in bank 0, 0 for none

	UnsignedApps        bool // NRF_DFU_REQUIRE_SIGNED_APP_UPDATE is 0
	AllowDowngrade      bool // NRF_DFU_APP_DOWNGRADE_PREVENTION is 0
	RefuseSameVersion   bool // NRF_DFU_APP_ACCEPT_SAME_VERSION is 0
	RequireBootSigned   bool // NRF_BL_APP_SIGNATURE_CHECK_REQUIRED is 1
	ExternalApps        bool // NRF_DFU_SUPPORTS_EXTERNAL_APP is 1
	ExternalUnversioned bool // NRF_DFU_EXTERNAL_APP_VERSIONING is 0
	SingleBank          bool // NRF_DFU_SINGLE_BANK_APP_UPDATES is 1
	ForceDualBank       bool // NRF_DFU_FORCE_DUAL_BANK_APP_UPDATES is 1

	// SettingsVersion is 1 for bootloaders up to SDK 15.2, which take init
	// packets of MaxPacketV1 bytes; 0 and 2 mean 2.
	SettingsVersion int

	Layout Layout
}

// Layout is where a bootloader has its things in flash. Addresses are the
// device's, sizes are in bytes.
type Layout struct {
	Bootloader  uint32 // address of the bootloader, and end of what it can update
	MBRParams   uint32 // address of the MBR parameters page, and end of the bootloader
	AppDataArea uint32 // NRF_DFU_APP_DATA_AREA_SIZE: below the bootloader, kept for application data
}

// Check refuses a state that no device can be in. Its errors are about what the
// caller configured, and wrap [ErrOptions].
func (d Device) Check() error {
	l := d.Layout
	end := int64(l.Bootloader) - int64(l.AppDataArea)
	switch {
	case d.SDK < SDK15 || d.SDK > SDK17:
		return fmt.Errorf("nrfdfu: device: %s: %w", d.SDK, ErrOptions)
	case d.SettingsVersion < 0 || d.SettingsVersion > 2:
		return fmt.Errorf("nrfdfu: device: settings version %d: %w", d.SettingsVersion, ErrOptions)
	case l.Bootloader%page != 0 || l.AppDataArea%page != 0 || end < mbrEnd || l.MBRParams <= l.Bootloader:
		return fmt.Errorf("nrfdfu: device: bootloader from 0x%x to 0x%x with %d bytes of application data below it: %w", l.Bootloader, l.MBRParams, l.AppDataArea, ErrOptions)
	case d.BLE && d.SoftDevice == nil:
		return fmt.Errorf("nrfdfu: device: a BLE bootloader without a SoftDevice: %w", ErrOptions)
	case d.SoftDevice != nil && (d.SoftDevice.End <= mbrEnd || d.SoftDevice.End > uint32(end)):
		return fmt.Errorf("nrfdfu: device: SoftDevice that ends at 0x%x: %w", d.SoftDevice.End, ErrOptions)
	case uint64(d.AppSize) > uint64(end) || int64(d.bank1()) > end:
		return fmt.Errorf("nrfdfu: device: application of %d bytes: %w", d.AppSize, ErrOptions)
	case !d.Key.IsZero() && d.Key.Algorithm() != sign.ESP256:
		return fmt.Errorf("nrfdfu: device: key %s is for %s, want %s: %w", d.Key.ID().Short(), d.Key.Algorithm(), sign.ESP256, ErrOptions)
	}
	return nil
}

// bank0 is where the application begins (nrf_dfu_utils.c).
func (d Device) bank0() uint32 {
	if d.SoftDevice == nil {
		return mbrEnd
	}
	return alignPage(d.SoftDevice.End)
}

// bank1 is the first page after the application, where an update is received.
func (d Device) bank1() uint32 { return alignPage(d.bank0() + d.AppSize) }

// maxPacket is the size of the bootloader's buffer for init packets.
func (d Device) maxPacket() int {
	if d.SettingsVersion == 1 {
		return MaxPacketV1
	}
	return MaxPacket
}

// Result is what a bootloader answers to a request (nrf_dfu_req_handler.h,
// nrf_dfu_handling_error.h). Phones show it as "error 5", or as an extended
// error.
type Result struct {
	Code     uint8 // 0 where the bootloader never answers
	Extended uint8 // with Code 0x0b
}

// Results that a package can bring about.
var (
	resultParameter    = Result{Code: 0x03}
	resultResources    = Result{Code: 0x04}
	resultObject       = Result{Code: 0x05}
	resultNotPermitted = Result{Code: 0x08}
	resultFailed       = Result{Code: 0x0a}

	resultInitInvalid      = Result{resultExtended, 0x04}
	resultFWVersion        = Result{resultExtended, 0x05}
	resultHWVersion        = Result{resultExtended, 0x06}
	resultSDVersion        = Result{resultExtended, 0x07}
	resultSignatureMissing = Result{resultExtended, 0x08}
	resultHashType         = Result{resultExtended, 0x09}
	resultSignatureType    = Result{resultExtended, 0x0b}
	resultVerification     = Result{resultExtended, 0x0c}
)

const resultExtended = 0x0b

var resultNames = map[Result]string{
	{}:                     "no answer",
	resultParameter:        "INVALID_PARAMETER",
	resultResources:        "INSUFFICIENT_RESOURCES",
	resultObject:           "INVALID_OBJECT",
	resultNotPermitted:     "OPERATION_NOT_PERMITTED",
	resultFailed:           "OPERATION_FAILED",
	resultInitInvalid:      "ext INIT_COMMAND_INVALID",
	resultFWVersion:        "ext FW_VERSION_FAILURE",
	resultHWVersion:        "ext HW_VERSION_FAILURE",
	resultSDVersion:        "ext SD_VERSION_FAILURE",
	resultSignatureMissing: "ext SIGNATURE_MISSING",
	resultHashType:         "ext WRONG_HASH_TYPE",
	resultSignatureType:    "ext WRONG_SIGNATURE_TYPE",
	resultVerification:     "ext VERIFICATION_FAILED",
}

// String returns the SDK's name of the result without its prefix, "ext" in
// front of extended errors: "INVALID_OBJECT", "ext HW_VERSION_FAILURE".
func (r Result) String() string {
	if name, ok := resultNames[r]; ok {
		return name
	}
	return fmt.Sprintf("result 0x%02x 0x%02x", r.Code, r.Extended)
}

// MarshalText encodes as String does.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
