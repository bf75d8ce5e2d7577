package verdicts

// SBSFU is a device with the bootloader of ST's X-CUBE-SBSFU. The firmware in a slot
// is an input, "installed", where a package brings a part of it only.
type SBSFU struct {
	Scheme       string      `json:"scheme"`        // "ecdsa-clear" or "ecdsa-aes-cbc"
	Offset       uint32      `json:"offset"`        // of the firmware in a slot, in bytes (SFU_IMG_IMAGE_OFFSET)
	InitVersion  uint16      `json:"init_version"`  // SFU_FW_VERSION_INIT_NUM
	StartVersion uint16      `json:"start_version"` // SFU_FW_VERSION_START_NUM
	Slots        []SBSFUSlot `json:"slots"`         // active slots, SFU1 first
}

// SBSFUSlot is an active slot with the keys of its firmware.
type SBSFUSlot struct {
	Size      uint32  `json:"size"`                // bytes, with the header
	Key       Hex     `json:"key"`                 // P-256: x‖y, big endian
	AESKey    Hex     `json:"aes_key,omitempty"`   // 16 bytes
	Installed *uint16 `json:"installed,omitempty"` // version of its firmware; absent without a valid header
}

// WolfBoot is a device with a wolfBoot for ECC256 and SHA-256, and an image in its
// update partition. Sizes are in bytes.
type WolfBoot struct {
	HeaderSize     uint32           `json:"header_size"`           // IMAGE_HEADER_SIZE
	PartitionSize  uint32           `json:"partition_size"`        // WOLFBOOT_PARTITION_SIZE
	UpdateSize     uint32           `json:"update_size,omitempty"` // WOLFBOOT_PARTITION_UPDATE_SIZE; 0: as PartitionSize
	SectorSize     uint32           `json:"sector_size"`           // WOLFBOOT_SECTOR_SIZE
	WriteOnce      bool             `json:"write_once,omitempty"`  // NVM_FLASH_WRITEONCE
	Keys           []WolfBootKey    `json:"keys"`                  // the key store, in its order
	Running        *WolfBootRunning `json:"running,omitempty"`
	Fallback       bool             `json:"fallback,omitempty"`        // the running image was found bad or never confirmed
	AllowDowngrade bool             `json:"allow_downgrade,omitempty"` // ALLOW_DOWNGRADE
}

// WolfBootKey is a slot of the key store.
type WolfBootKey struct {
	Point      Hex    `json:"point"`      // P-256: x‖y, big endian
	Partitions uint32 `json:"partitions"` // part_id_mask: bit 1 for applications
}

// WolfBootRunning is the image in the boot partition.
type WolfBootRunning struct {
	Version uint32 `json:"version"`
	Size    uint32 `json:"size"` // of its firmware
}
