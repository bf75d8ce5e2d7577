package verdicts

// Device is the state of a device as far as its bootloader looks at it, and how
// that was built. One of the fields is set.
type Device struct {
	SUIT    *SUIT    `json:"suit,omitempty"`
	MCUboot *MCUboot `json:"mcuboot,omitempty"`
	NRFDFU  *NRFDFU  `json:"nrfdfu,omitempty"`

	SBSFU    *SBSFU    `json:"sbsfu,omitempty"`
	WolfBoot *WolfBoot `json:"wolfboot,omitempty"`
}

// SUIT is a device with a bootloader for our SUIT profile.
type SUIT struct {
	Chip string `json:"chip"` // "nrf52840" or "stm32l4"
	// Names that the identifiers are made from, and the identifiers as they are
	// burnt into the bootloader: UUIDs of version 5 (RFC 9562).
	Vendor      string      `json:"vendor"`
	Model       string      `json:"model"`
	Revision    string      `json:"revision"`
	VendorID    Hex         `json:"vendor_id"`
	ClassID     Hex         `json:"class_id"`
	MinSequence uint32      `json:"min_sequence"`   // rollback floor
	Slot        *uint32     `json:"slot,omitempty"` // that would be written, where images are linked for slots
	BankBase    uint32      `json:"bank_base"`      // of that slot
	BankSize    uint32      `json:"bank_size"`      // bytes
	Keys        []PublicKey `json:"keys"`
	Threshold   uint32      `json:"threshold"` // how many of the keys must have signed
	// DeviceKey is the P-256 private key for payloads, a big-endian scalar. KEK is
	// a symmetric one with its identifier. At most one of them is there.
	DeviceKey Hex `json:"device_key,omitempty"`
	KEK       Hex `json:"kek,omitempty"`
	KEKID     Hex `json:"kek_id,omitempty"`
	// DecoderRAM is how many bytes a decoder may take. Decoders of all five codings
	// are there.
	DecoderRAM uint32 `json:"decoder_ram"`
}

// PublicKey is a P-256 key: x‖y, big endian.
type PublicKey struct {
	Point   Hex  `json:"point"`
	Revoked bool `json:"revoked,omitempty"`
}

// MCUboot is a device with an MCUboot. Names are those of formats/mcuboot and of
// otapack.yaml.
type MCUboot struct {
	Signature string `json:"signature"`      // "ecdsa-p256", "none" …
	Hash      string `json:"hash,omitempty"` // "sha512" where it is not the usual one
	Keys      []Hex  `json:"keys,omitempty"` // SubjectPublicKeyInfo, of RSA keys PKCS #1
	KeyMatch  string `json:"key_match"`      // "hash", "full", "builtin", "bypass"
	Crypto    string `json:"crypto"`         // "default", "tinycrypt", "mbedtls", "psa"
	AnyTLV    bool   `json:"any_tlv,omitempty"`

	Rollback     *uint32    `json:"rollback,omitempty"` // stored security counter
	Downgrade    string     `json:"downgrade"`          // "allow", "version", "counter"
	Installed    *Installed `json:"installed,omitempty"`
	CompareBuild bool       `json:"compare_build,omitempty"`
	Vendor       Hex        `json:"vendor,omitempty"` // UUIDs
	Class        Hex        `json:"class,omitempty"`

	Image  uint8   `json:"image,omitempty"`  // its number
	Images uint32  `json:"images,omitempty"` // how many; 0 is not known
	Others []Other `json:"others,omitempty"`

	Mode          string  `json:"mode"`                     // "unknown", "swap-move" …
	Slot          string  `json:"slot"`                     // "secondary" or "primary"
	SlotSize      uint32  `json:"slot_size,omitempty"`      // sizes are in bytes, 0 is not known
	SecondarySize uint32  `json:"secondary_size,omitempty"` // 0: as SlotSize
	SectorSize    uint32  `json:"sector_size,omitempty"`
	WriteSize     uint32  `json:"write_size,omitempty"`
	MaxAlign      uint32  `json:"max_align,omitempty"`
	MaxSectors    uint32  `json:"max_sectors,omitempty"`
	ErasedZero    bool    `json:"erased_zero,omitempty"`
	SlotAddress   *uint32 `json:"slot_address,omitempty"`
	RAM           *Memory `json:"ram,omitempty"`
	Boot          *Memory `json:"boot,omitempty"` // MCUBOOT_CHECK_HEADER_LOAD_ADDRESS

	Encryption string `json:"encryption"` // "none", "ecies-p256" …
	AESBits    uint32 `json:"aes_bits,omitempty"`
	DeviceKey  Hex    `json:"device_key,omitempty"` // PKCS #8
}

// Version is an MCUboot version.
type Version struct {
	Major    uint8  `json:"major"`
	Minor    uint8  `json:"minor"`
	Revision uint16 `json:"revision"`
	Build    uint32 `json:"build"`
}

// Installed is the image in the primary slot.
type Installed struct {
	Version
	Counter *uint32 `json:"counter,omitempty"`
}

// Other is the version of another image.
type Other struct {
	Image uint8 `json:"image"`
	Version
}

// Memory is a range of addresses.
type Memory struct {
	Start uint32 `json:"start"`
	Size  uint32 `json:"size"` // bytes
}

// NRFDFU is a device with a bootloader of the nRF5 SDK. Names follow sdk_config.h,
// see formats/nrfdfu.
type NRFDFU struct {
	SDK                 string      `json:"sdk"` // "15.3", "16.0", "17.1"
	Key                 Hex         `json:"key"` // pk[64] of the bootloader: x‖y, each half byte-reversed
	BLE                 bool        `json:"ble,omitempty"`
	Debug               bool        `json:"debug,omitempty"`
	HWVersion           uint32      `json:"hw_version"`
	SoftDevice          *SoftDevice `json:"softdevice,omitempty"`
	AppVersion          uint32      `json:"app_version"`
	BootloaderVersion   uint32      `json:"bootloader_version"`
	AppSize             uint32      `json:"app_size"` // bytes in bank 0, 0 for none
	UnsignedApps        bool        `json:"unsigned_apps,omitempty"`
	AllowDowngrade      bool        `json:"allow_downgrade,omitempty"`
	RefuseSameVersion   bool        `json:"refuse_same_version,omitempty"`
	RequireBootSigned   bool        `json:"require_boot_signed,omitempty"`
	ExternalApps        bool        `json:"external_apps,omitempty"`
	ExternalUnversioned bool        `json:"external_unversioned,omitempty"`
	SingleBank          bool        `json:"single_bank,omitempty"`
	ForceDualBank       bool        `json:"force_dual_bank,omitempty"`
	SettingsVersion     uint32      `json:"settings_version"`
	Bootloader          uint32      `json:"bootloader"`    // address
	MBRParams           uint32      `json:"mbr_params"`    // address of the page
	AppDataArea         uint32      `json:"app_data_area"` // bytes below the bootloader
}

// SoftDevice is the one that is installed.
type SoftDevice struct {
	FWID    uint16 `json:"fwid"`
	ID      uint32 `json:"id"`
	Version uint32 `json:"version"`
	End     uint32 `json:"end"` // address behind it
}
