package mcuboot

import (
	"crypto"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// ErrTarget says that a target, or the name of one of its options, makes no
// sense.
var ErrTarget = errors.New("unusable bootloader target")

// Mode is how a bootloader updates.
type Mode int

// Update modes. Without one, what depends on the flash is not checked.
const (
	ModeUnknown   Mode = iota
	SwapScratch        // MCUBOOT_SWAP_USING_SCRATCH
	SwapMove           // MCUBOOT_SWAP_USING_MOVE
	SwapOffset         // MCUBOOT_SWAP_USING_OFFSET: updates begin in the second sector of the secondary slot
	OverwriteOnly      // MCUBOOT_OVERWRITE_ONLY
	DirectXIP          // MCUBOOT_DIRECT_XIP
	RAMLoadMode        // MCUBOOT_RAM_LOAD
	SingleSlot         // MCUBOOT_SINGLE_APPLICATION_SLOT
)

var modeNames = [...]string{
	ModeUnknown: "unknown", SwapScratch: "swap-scratch", SwapMove: "swap-move", SwapOffset: "swap-offset", OverwriteOnly: "overwrite-only",
	DirectXIP: "direct-xip", RAMLoadMode: "ram-load", SingleSlot: "single-slot",
}

// String returns the name for configuration files, for example "swap-move".
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("mode(%d)", int(m))
	}
	return modeNames[m]
}

// ParseMode is the inverse of Mode.String, but for "unknown".
func ParseMode(name string) (Mode, error) {
	if i := slices.Index(modeNames[:], name); i > 0 {
		return Mode(i), nil
	}
	return 0, fmt.Errorf("mcuboot: mode %q (known: %s): %w", name, strings.Join(modeNames[1:], ", "), ErrTarget)
}

// swaps reports whether the mode exchanges the slots sector by sector.
func (m Mode) swaps() bool { return m == SwapScratch || m == SwapMove || m == SwapOffset }

// KeyMatch is how a bootloader finds the key of a signature.
type KeyMatch int

// Ways to a key (boot/bootutil/src/bootutil_find_key.c).
const (
	ByKeyHash  KeyMatch = iota // KEYHASH TLV before the signature names one of the keys built in
	FullKey                    // PUBKEY TLV has the key, the device its hash: MCUBOOT_HW_KEY
	BuiltinKey                 // the crypto library has the key, no TLV is read: MCUBOOT_BUILTIN_KEY
	AnyKeyHash                 // the one key, whatever the KEYHASH TLV says: MCUBOOT_BYPASS_KEY_MATCH
)

// Crypto is the library behind bootutil. They differ in which encodings of an
// ECDSA signature pass (boot/bootutil/include/bootutil/crypto/ecdsa.h).
type Crypto int

// Crypto libraries.
const (
	DefaultCrypto Crypto = iota // TinyCrypt, or what has what TinyCrypt lacks: MbedTLS for AES-256, PSA for P-384 and ECIESX25519SHA512
	TinyCrypt                   // takes padding after the signature and lengths in more bytes than needed
	MbedTLS                     // takes no bytes after the signature
	PSA                         // looks at the lengths of r and s only
)

// Slot is where an image is looked at.
type Slot int

// Slots. Except in the ram-load mode an encrypted image is decrypted in the
// secondary one only.
const (
	Secondary Slot = iota
	Primary
)

// Downgrade is what MCUBOOT_DOWNGRADE_PREVENTION compares.
type Downgrade int

// Comparisons with the installed image, in the swap modes and overwrite-only.
const (
	AllowDowngrade Downgrade = iota
	ByVersion
	ByCounter // MCUBOOT_DOWNGRADE_PREVENTION_SECURITY_COUNTER; overwrite-only compares versions all the same
)

// Installed is the image in the primary slot.
type Installed struct {
	Version Version
	Counter *uint32 // nil where it has none
}

// Memory is a range of addresses.
type Memory struct{ Start, Size uint32 }

// contains reports whether size bytes from addr on lie inside.
func (m Memory) contains(addr, size uint64) bool {
	return addr >= uint64(m.Start) && addr+size <= uint64(m.Start)+uint64(m.Size)
}

// Target is one bootloader build and the state of the device it runs on, as far
// as it decides about images. Only Signature is required, and Keys unless that is
// HashOnly; what is left out is not checked, and Verify says so in its trace.
type Target struct {
	Signature SignatureType
	Hash      crypto.Hash // of the image; 0: SHA-512 for Ed25519Pure, SHA-384 for ECDSAP384, else SHA-256
	Keys      []Key       // in the order of bootutil_keys; the only one unless KeyMatch is ByKeyHash
	KeyMatch  KeyMatch
	Crypto    Crypto

	// AnyTLV is a build without MCUBOOT_USE_TLV_ALLOW_LIST: it takes unknown TLVs
	// outside the protected area. Zephyr builds with the list.
	AnyTLV bool

	// Rollback is the counter that the device has stored, in a build with
	// MCUBOOT_HW_ROLLBACK_PROT; nil in others. Every image needs a security
	// counter then.
	Rollback *uint32
	// Downgrade is compared with Installed; nothing is while that is nil.
	Downgrade Downgrade
	Installed *Installed
	// CompareBuild is MCUBOOT_VERSION_CMP_USE_BUILD_NUMBER.
	CompareBuild bool

	// Vendor and Class are what MCUBOOT_UUID_VID and MCUBOOT_UUID_CID compare,
	// nil in builds without.
	Vendor, Class *UUID

	// Image is the number of the image, counted from 0, and Images how many there
	// are; 0 is not known, and dependencies on others are not checked then. Others
	// has the versions that will run beside it, where they are known.
	Image  uint8
	Images int
	Others map[uint8]Version

	Mode Mode
	Slot Slot
	// SlotSize is that of both slots, or of the primary one where SecondarySize is
	// not 0. Sizes are in bytes; 0 is not known, and limits are not checked then.
	SlotSize      uint32
	SecondarySize uint32
	SectorSize    uint32 // erase unit, the same in all of both slots
	WriteSize     uint32 // largest program unit of the slots: 1, 2, 4, 8, 16 or 32
	MaxAlign      uint32 // MCUBOOT_BOOT_MAX_ALIGN: 8, 16 or 32; 0: the larger of 8 and WriteSize
	MaxSectors    uint32 // MCUBOOT_MAX_IMG_SECTORS; 0: 128
	ErasedZero    bool   // erased flash reads 0x00, not 0xff
	// SlotAddress is where in flash the slot begins, for images that are linked
	// for one (direct-xip).
	SlotAddress *uint32
	// RAM is where the ram-load mode may copy to.
	RAM *Memory
	// Boot is where the load address must lie in the secondary slot, that is the
	// primary slot, in a build with MCUBOOT_CHECK_HEADER_LOAD_ADDRESS.
	Boot *Memory

	Encryption Encryption
	AESBits    int  // 128 or 256 (MCUBOOT_AES_256); 0: 128
	SaveEncTLV bool // MCUBOOT_SWAP_SAVE_ENCTLV: the trailer keeps TLVs and not keys
	DeviceKey  DeviceKey
}

// Check refuses a target that no build can be.
func (t Target) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("mcuboot: target: %s: %w", fmt.Sprintf(format, args...), ErrTarget)
	}
	p, ok := signatureTypes[t.Signature]
	hashOK := t.Hash == 0 || slices.ContainsFunc(p.hashes, func(h Type) bool { return hashTypes[h] == t.Hash })
	switch {
	case !ok:
		return bad("no signature type")
	case !hashOK:
		return bad("%s with %v", t.Signature, t.Hash)
	case t.Signature != HashOnly && len(t.Keys) == 0:
		return bad("%s without a key", t.Signature)
	case t.Signature == HashOnly && len(t.Keys) > 0:
		return bad("keys, but no signatures")
	case t.KeyMatch < ByKeyHash || t.KeyMatch > AnyKeyHash:
		return bad("unknown way to a key")
	case t.KeyMatch != ByKeyHash && len(t.Keys) > 1:
		return bad("%d keys where the bootloader has one", len(t.Keys))
	case t.Crypto < DefaultCrypto || t.Crypto > PSA:
		return bad("unknown crypto library")
	case t.Signature == ECDSAP384 && t.Crypto != DefaultCrypto && t.Crypto != PSA:
		return bad("P-384 needs PSA crypto (crypto/ecdsa.h)")
	case t.Mode < 0 || int(t.Mode) >= len(modeNames):
		return bad("%s", t.Mode)
	case t.Slot != Primary && t.Slot != Secondary:
		return bad("unknown slot")
	case t.Downgrade < AllowDowngrade || t.Downgrade > ByCounter:
		return bad("unknown downgrade prevention")
	case t.Images < 0 || t.Images > 256 || t.Images > 0 && int(t.Image) >= t.Images:
		return bad("image %d of %d", t.Image, t.Images)
	}
	for i, k := range t.Keys {
		if !k.Verifies(t.Signature) {
			return bad("key %d is not for %s", i, t.Signature)
		}
	}
	if err := t.checkEncryption(bad); err != nil {
		return err
	}
	return t.checkFlash(bad)
}

func (t Target) checkEncryption(bad func(string, ...any) error) error {
	p, ok := encryptions[t.Encryption]
	switch {
	case t.Encryption != NoEncryption && !ok:
		return bad("%s", t.Encryption)
	case t.AESBits != 0 && t.AESBits != 128 && t.AESBits != 256:
		return bad("AES with %d bits, want 128 or 256", t.AESBits)
	case t.Encryption != NoEncryption && t.keySize() == 32 && t.Crypto == TinyCrypt:
		return bad("TinyCrypt has no AES-256 (crypto/aes_ctr_tinycrypt.h)")
	case t.Encryption == ECIESX25519SHA512 && t.crypto() != PSA:
		return bad("%s needs PSA crypto (encrypted_psa.c)", t.Encryption)
	case t.DeviceKey.IsZero():
		return nil
	case t.Encryption == NoEncryption:
		return bad("a device key, but no encryption")
	case t.DeviceKey.private.Curve() != p.curve:
		return bad("device key is on %s, %s needs %s", t.DeviceKey.private.Curve(), t.Encryption, p.curve)
	}
	return nil
}

func (t Target) checkFlash(bad func(string, ...any) error) error {
	alignments := []uint32{1, 2, 4, 8, 16, 32}
	switch {
	case t.WriteSize != 0 && !slices.Contains(alignments, t.WriteSize):
		return bad("write size %d, want 1, 2, 4, 8, 16 or 32", t.WriteSize)
	case t.MaxAlign != 0 && !slices.Contains([]uint32{8, 16, 32}, t.MaxAlign):
		return bad("maximum alignment %d, want 8, 16 or 32", t.MaxAlign)
	case t.maxAlign() < t.WriteSize:
		return bad("maximum alignment %d below the write size %d", t.maxAlign(), t.WriteSize)
	case t.SlotSize == 0 && t.SecondarySize != 0:
		return bad("size of the secondary slot without that of the primary")
	case t.SlotSize == 0 || t.Mode == ModeUnknown:
		return nil
	case t.SlotSize > math.MaxInt32 || t.SecondarySize > math.MaxInt32: // the loader computes in int too
		return bad("slot of more than 2 GiB")
	case t.Mode.swaps() && t.WriteSize == 0:
		return bad("%s without a write size", t.Mode)
	case t.Mode.swaps() && (t.SectorSize == 0 || t.SlotSize%t.SectorSize != 0 || t.SecondarySize%t.SectorSize != 0):
		return bad("slots of %d and %d bytes in sectors of %d", t.SlotSize, t.secondarySize(), t.SectorSize)
	case t.Mode.swaps() && max(t.SlotSize, t.secondarySize())/t.SectorSize > t.maxSectors():
		return bad("slot of %d sectors, the bootloader takes %d", max(t.SlotSize, t.secondarySize())/t.SectorSize, t.maxSectors())
	}
	return nil
}

// hash returns the TLV of the image hash.
func (t Target) hash() Type {
	hashes := signatureTypes[t.Signature].hashes
	for _, h := range hashes {
		if hashTypes[h] == t.Hash {
			return h
		}
	}
	return hashes[0]
}

func (t Target) crypto() Crypto {
	switch {
	case t.Crypto != DefaultCrypto:
		return t.Crypto
	case t.Signature == ECDSAP384 || t.Encryption == ECIESX25519SHA512:
		return PSA
	case t.Encryption != NoEncryption && t.keySize() == 32:
		return MbedTLS
	}
	return TinyCrypt
}

// keySize is that of content keys, in bytes.
func (t Target) keySize() int {
	if t.AESBits == 256 {
		return 32
	}
	return 16
}

func (t Target) aesFlag() Flags {
	if t.keySize() == 32 {
		return EncryptedAES256
	}
	return EncryptedAES128
}

func (t Target) erased() byte {
	if t.ErasedZero {
		return 0
	}
	return 0xff
}

func (t Target) secondarySize() uint32 {
	if t.SecondarySize != 0 {
		return t.SecondarySize
	}
	return t.SlotSize
}

// slotSize is the size of the slot that the image is for.
func (t Target) slotSize() uint32 {
	if t.slot() == Secondary {
		return t.secondarySize()
	}
	return t.SlotSize
}

// slot is Slot, but for the mode that has only one.
func (t Target) slot() Slot {
	if t.Mode == SingleSlot {
		return Primary
	}
	return t.Slot
}

func (t Target) maxSectors() uint32 {
	if t.MaxSectors == 0 {
		return 128
	}
	return t.MaxSectors
}

func (t Target) maxAlign() uint32 {
	if t.MaxAlign == 0 {
		return max(8, t.WriteSize)
	}
	return t.MaxAlign
}

func alignUp[T uint32 | int64](n, align T) T { return (n + align - 1) / align * align }

// trailerInfo is the part of the trailer that does not grow with the number of
// sectors (boot/bootutil/src/bootutil_area.c, boot_trailer_info_sz).
func (t Target) trailerInfo() int64 {
	align := int64(t.maxAlign())
	n := 4*align + alignUp(int64(magicSize), align) // swap info, copy done, image ok, swap size; magic
	if t.Mode == SwapOffset {
		n += align // sizes of the unprotected TLV areas
	}
	if p, ok := encryptions[t.Encryption]; ok {
		saved := t.keySize()
		if t.SaveEncTLV {
			saved = p.size(t.keySize())
		}
		n += 2 * alignUp(int64(saved), align)
	}
	return n
}

// statusEntry is what one sector takes of the swap status
// (boot/bootutil/src/bootutil_area.h, boot_status_entry_sz).
func (t Target) statusEntry() int64 {
	switch t.Mode {
	case SingleSlot:
		return 0
	case SwapOffset:
		return 2 * int64(t.WriteSize)
	case ModeUnknown, SwapScratch, SwapMove, OverwriteOnly, DirectXIP, RAMLoadMode:
	}
	return 3 * int64(t.WriteSize)
}

// MaxImage returns how many bytes an image may have, from its header to the end
// of its TLV areas (boot/bootutil/src/bootutil_misc.c, bootutil_max_image_size,
// and app_max_size of each swap mode). It is exact where imgtool only
// approximates: the swap modes by moving and by offset need whole trailer
// sectors and a spare one, and AES-256 or saved TLVs need more of the trailer.
// Scratch is taken to be as large as a sector. ok is false while the target does
// not say mode and size of the slot.
func (t Target) MaxImage() (size uint32, ok bool) {
	if t.Mode == ModeUnknown || t.SlotSize == 0 {
		return 0, false
	}
	primary, secondary, sector := int64(t.SlotSize), int64(t.secondarySize()), int64(t.SectorSize)
	align := int64(t.maxAlign())
	trailer := int64(t.maxSectors())*t.statusEntry() + t.trailerInfo()
	var n int64
	switch t.Mode {
	case SwapMove:
		n = min(primary-sector, secondary) - alignUp(trailer, sector)
	case SwapOffset:
		n = min(primary, secondary-sector) - alignUp(trailer, sector)
	case SwapScratch:
		slot := min(primary, secondary)
		n = slot - trailer
		// The scratch area gets a trailer of its own when the first sector with a
		// part of the slot's trailer is swapped.
		inFirst := trailer % sector
		if inFirst == 0 {
			inFirst = sector
		}
		n -= max(0, t.statusEntry()+t.trailerInfo()-inFirst)
	case SingleSlot:
		n = int64(t.slotSize()) - t.trailerInfo()
	case OverwriteOnly, DirectXIP, RAMLoadMode:
		n = imageOK(int64(t.slotSize()), align) - 2*align // boot_swap_info_off
	case ModeUnknown:
	}
	return uint32(max(n, 0)), true
}

// imageOK is the offset of the image_ok field (boot/bootutil/src/bootutil_misc.h,
// boot_image_ok_off).
func imageOK(slotSize, align int64) int64 {
	return (slotSize - int64(magicSize) - align) / align * align
}

// checkSize compares the size of an image with the slot, as the loader does in
// two places: header, payload and protected area with the slot, all of it with
// MaxImage.
func (t Target) checkSize(h Header, size int64) error {
	limit, ok := t.MaxImage()
	if !ok {
		return nil
	}
	if err := t.checkHeaderSizes(h); err != nil {
		return err
	}
	if size > int64(limit) {
		return verdict.New(verdict.ImageExceedsSlot, object, "%d bytes, %s leaves %d of the slot's %d", size, t.Mode, limit, t.slotSize())
	}
	return nil
}

// checkTrailer is what imgtool checks of an image for a slot, whatever the mode
// (scripts/imgtool/image.py, check_trailer): beside it fits the trailer of the
// modes that swap. It is for a target that does not say its mode; of the others
// MaxImage knows more.
func (t Target) checkTrailer(size int64) error {
	if t.Mode != ModeUnknown || t.SlotSize == 0 {
		return nil
	}
	t.WriteSize = max(t.WriteSize, 1)
	trailer := int64(t.maxSectors())*t.statusEntry() + t.trailerInfo()
	if slot := int64(t.slotSize()); size+trailer > slot {
		return verdict.New(verdict.ImageExceedsSlot, object,
			"%d bytes and a trailer of %d for the modes that swap do not fit the slot of %d; other modes need less, if they are named", size, trailer, slot)
	}
	return nil
}

// checkHeaderSizes is the middle of boot_check_header_valid
// (boot/bootutil/src/bootutil_loader.c).
func (t Target) checkHeaderSizes(h Header) error {
	n := h.end() + uint64(h.ProtectedSize)
	switch {
	case n > math.MaxUint32:
		return verdict.At(12, verdict.ImageSizes, object, "header, payload and protected TLVs of %d bytes pass 2^32", n)
	case t.SlotSize != 0 && n >= uint64(t.slotSize()):
		return verdict.At(12, verdict.ImageSizes, object, "header, payload and protected TLVs of %d bytes do not fit the slot of %d", n, t.slotSize())
	}
	return nil
}
