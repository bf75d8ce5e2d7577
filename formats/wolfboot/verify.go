package wolfboot

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Step is one check of the bootloader.
type Step string

// The checks, in order. Their names are part of the trace and do not change.
const (
	StepOpen         Step = "open"         // magic, and size against the partition
	StepType         Step = "type"         // an application, signed as the build verifies
	StepSize         Step = "size"         // size against what the swap leaves of the partition
	StepIntegrity    Step = "integrity"    // digest of header and firmware
	StepAuthenticity Step = "authenticity" // key, what the key is for, signature
	StepSanity       Step = "sanity"       // the flags that open, integrity and authenticity set
	StepVersion      Step = "version"      // above what runs
)

// Status is the verdict of one step.
type Status string

// Verdicts.
const (
	Passed        Status = "passed"
	Failed        Status = "failed"
	NotApplicable Status = "not-applicable" // the bootloader does not check this
	NotRun        Status = "not-run"        // ignored, see TraceWithout
)

// Check is one line of a trace.
type Check struct {
	Step   Step           `json:"step"`
	Status Status         `json:"status"`
	Reason verdict.Reason `json:"reason,omitempty"` // when failed
	Detail string         `json:"detail,omitempty"`
}

// Trace lists the checks that were made, in order. It ends with the first that
// failed.
type Trace []Check

// Errors that are no verdict.
var (
	ErrDevice      = errors.New("unusable device")    // the device contradicts itself
	ErrUnsupported = errors.New("not supported here") // a delta update, whose base only the device has
)

// Device is a device with a wolfBoot for ECC256 and SHA-256.
type Device struct {
	HeaderSize    uint32 // IMAGE_HEADER_SIZE in bytes; 0 for 256
	PartitionSize uint32 // of the boot partition in bytes (WOLFBOOT_PARTITION_SIZE)
	UpdateSize    uint32 // of the update partition; 0 where it is as large
	SectorSize    uint32 // WOLFBOOT_SECTOR_SIZE in bytes
	WriteOnce     bool   // NVM_FLASH_WRITEONCE: the trailer takes two sectors
	Keys          []Key  // the key store, in its order
	Running       *Running
	// Fallback is an update after the running image was found bad, or was never
	// confirmed: an older version passes.
	Fallback       bool
	AllowDowngrade bool // ALLOW_DOWNGRADE: versions are not compared
}

// Key is a slot of the key store.
type Key struct {
	Public     sign.PublicKey
	Partitions uint32 // bit n: the key is for images of partition n, 1 for applications (part_id_mask)
}

// AllPartitions is the mask of a key for everything.
const AllPartitions = ^uint32(0)

// Running is the image in the boot partition; none counts as version 0 and size 0.
type Running struct {
	Version uint32
	Size    uint32 // of the firmware in bytes
}

// Check reports whether a device can be one. Errors wrap [ErrDevice].
func (d *Device) Check() error {
	bad := func(what string, args ...any) error {
		return fmt.Errorf("wolfboot: device: %s: %w", fmt.Sprintf(what, args...), ErrDevice)
	}
	switch header := d.header(); {
	case header < MinHeader || header > MaxHeader || header%2 != 0:
		return bad("header of %d bytes", header)
	case d.PartitionSize > MaxPartition || d.update() > MaxPartition:
		return bad("partitions of %d and %d bytes", d.PartitionSize, d.update())
	case d.SectorSize == 0 || uint64(d.PartitionSize) <= uint64(header)+2*uint64(d.SectorSize) || d.update() <= header:
		return bad("partitions of %d and %d bytes with sectors of %d", d.PartitionSize, d.update(), d.SectorSize)
	case len(d.Keys) == 0:
		return bad("no keys")
	}
	for i, k := range d.Keys {
		if k.Public.Algorithm() != sign.ESP256 {
			return bad("key %d is not on P-256, and other signatures are not supported", i)
		}
	}
	return nil
}

func (d *Device) header() uint32 {
	if d.HeaderSize == 0 {
		return MinHeader
	}
	return d.HeaderSize
}

func (d *Device) update() uint32 {
	if d.UpdateSize == 0 {
		return d.PartitionSize
	}
	return d.UpdateSize
}

// Verified says that the bootloader of a device swaps an image in.
type Verified struct {
	firmware []byte
	version  uint32
	digest   [digestSize]byte
	key      sign.PublicKey
	unusual  error
}

// Firmware returns the firmware.
func (v *Verified) Firmware() []byte { return slices.Clone(v.firmware) }

// Version returns the version in the header, 0 for none.
func (v *Verified) Version() uint32 { return v.version }

// Digest returns the SHA-256 of header and firmware that is signed.
func (v *Verified) Digest() [sha256.Size]byte { return v.digest }

// SignedBy returns the key whose signature it is.
func (v *Verified) SignedBy() sign.PublicKey { return v.key }

// Unusual returns what [Parse] refuses of the image and the bootloader does not
// look at, nil for nothing.
func (v *Verified) Unusual() error { return v.unusual }

// Verify makes the checks of wolfBoot_update over an image that was put into the
// update partition. Bytes that the file does not have read as 0xff.
//
// It stops at the first refusal, the last line of the trace, a *[verdict.Error].
// Other errors wrap ErrDevice or ErrUnsupported, or are the context's.
func Verify(ctx context.Context, file []byte, device Device) (*Verified, Trace, error) {
	b := boot{ctx: ctx, device: device, file: file}
	if err := b.run(); err != nil {
		return nil, b.trace, err
	}
	// The verdict does not rest on the flags alone.
	if err := b.signature(); err != nil {
		return nil, b.trace, err
	}
	_, unusual := Parse(file, device.header())
	return &Verified{firmware: b.firmware, version: b.versionOf(), digest: b.digest, key: b.key.Public, unusual: unusual}, b.trace, nil
}

// TraceWithout makes the checks of Verify and ignores what one of them says, as a
// fault in the bootloader would: the trace has it as not-run. The flag that it
// sets stays unset all the same. It gives no Verified. An error is the first other
// refusal, or that there is nothing to go on with.
func TraceWithout(ctx context.Context, file []byte, device Device, ignored Step) (Trace, error) {
	b := boot{ctx: ctx, device: device, file: file, ignored: ignored}
	err := b.run()
	return b.trace, err
}

// boot is a bootloader at work: each step leaves what the next ones need.
type boot struct {
	ctx     context.Context
	device  Device
	file    []byte
	ignored Step
	trace   Trace

	header   []byte
	size     uint32
	firmware []byte
	digest   [digestSize]byte
	key      Key

	headerOK, digestOK, signatureOK bool
}

func (b *boot) run() error {
	if err := b.device.Check(); err != nil {
		return err
	}
	for _, c := range []struct {
		step Step
		run  func() (Status, error)
	}{
		{StepOpen, always(b.open)},
		{StepType, always(b.imageType)},
		{StepSize, always(b.sizes)},
		{StepIntegrity, always(b.integrity)},
		{StepAuthenticity, always(b.authenticity)},
		{StepSanity, always(b.sanity)},
		{StepVersion, b.version},
	} {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		status, err := c.run()
		refusal, refused := errors.AsType[*verdict.Error](err)
		switch {
		case err == nil:
			b.trace = append(b.trace, Check{Step: c.step, Status: status})
		case refused && c.step == b.ignored && b.goesOn():
			b.trace = append(b.trace, Check{Step: c.step, Status: NotRun})
		case refused:
			b.trace = append(b.trace, Check{Step: c.step, Status: Failed, Reason: refusal.Reason, Detail: refusal.Error()})
			return err
		default:
			return fmt.Errorf("wolfboot: %s: %w", c.step, err)
		}
	}
	return nil
}

// always gives a check that every device makes its status.
func always(check func() error) func() (Status, error) {
	return func() (Status, error) { return Passed, check() }
}

// goesOn reports whether an ignored refusal leaves what later steps read: the
// image has to lie in its partition.
func (b *boot) goesOn() bool { return b.ignored != StepOpen || b.firmware != nil }

func refuse(step Step, reason verdict.Reason, detail string, args ...any) error {
	return verdict.New(reason, "wolfboot: "+string(step), detail, args...)
}

// open is wolfBoot_open_image, and what wolfBoot_update asks of the larger of both
// images before it looks at more.
func (b *boot) open() error {
	header, room := b.device.header(), b.device.update()-b.device.header()
	if len(b.file) > int(b.device.update()) {
		return refuse(StepOpen, verdict.ImageExceedsSlot, "file of %d bytes for a partition of %d", len(b.file), b.device.update())
	}
	b.header = b.stored(0, header)
	if string(b.header[:4]) != Magic {
		return refuse(StepOpen, verdict.ImageMagic, "begins with %x, want %q", b.header[:4], Magic)
	}
	b.size = binary.LittleEndian.Uint32(b.header[4:])
	if b.size > room {
		return refuse(StepOpen, verdict.ImageExceedsSlot, "firmware of %d bytes for a partition with room for %d", b.size, room)
	}
	b.firmware = b.stored(header, b.size)
	if b.size == 0 && (b.device.Running == nil || b.device.Running.Size == 0) {
		return refuse(StepOpen, verdict.ImageSizes, "no firmware, neither here nor in the boot partition")
	}
	b.headerOK = true
	return nil
}

// stored returns n bytes of the update partition.
func (b *boot) stored(at, n uint32) []byte {
	flash := slices.Repeat([]byte{0xff}, int(n))
	copy(flash, b.file[min(int(at), len(b.file)):])
	return flash
}

// imageType looks at the partition and the kind of signature. A build without delta
// updates does not look at the bits between; one with them applies a patch.
func (b *boot) imageType() error {
	kind, _ := b.kind()
	switch {
	case kind&partMask != partApplication:
		return refuse(StepType, verdict.ImageType, "type 0x%04x is not that of an application", kind)
	case kind&authMask != authECC256:
		return refuse(StepType, verdict.SignatureType, "type 0x%04x is not of an image signed with ECC256", kind)
	case kind&extraMask == extraDelta:
		return fmt.Errorf("delta update: %w", ErrUnsupported)
	}
	return nil
}

// kind is wolfBoot_get_blob_type: 0 where there is none.
func (b *boot) kind() (uint16, bool) {
	at, n, ok := find(b.header, TypeImage)
	if !ok || n != 2 {
		return 0, false
	}
	return binary.LittleEndian.Uint16(b.header[at:]), true
}

// sizes keeps the last sectors of the boot partition for its trailer.
func (b *boot) sizes() error {
	trailer := b.device.SectorSize
	if b.device.WriteOnce {
		trailer *= 2
	}
	if limit := b.device.PartitionSize - b.device.header() - trailer - 1; b.size > limit {
		return refuse(StepSize, verdict.ImageExceedsSlot, "firmware of %d bytes, and the swap leaves %d", b.size, limit)
	}
	return nil
}

// integrity is wolfBoot_verify_integrity.
func (b *boot) integrity() error { return b.verifyDigest(StepIntegrity) }

func (b *boot) verifyDigest(step Step) error {
	b.digestOK = false
	at, n, ok := find(b.header, TypeSHA256)
	if !ok || n != digestSize {
		return refuse(step, verdict.ImageHashMissing, "no SHA-256 of 32 bytes")
	}
	hash := sha256.New()
	hash.Write(b.header[:at-tlvHead])
	hash.Write(b.firmware)
	hash.Sum(b.digest[:0])
	if subtle.ConstantTimeCompare(b.digest[:], b.header[at:at+n]) != 1 {
		return refuse(step, verdict.ImageDigestMismatch, "SHA-256 of header and firmware is %x, the header has %x", b.digest, b.header[at:at+n])
	}
	b.digestOK = true
	return nil
}

// authenticity is wolfBoot_verify_authenticity. Where the digest was not found
// right, it is computed once more.
func (b *boot) authenticity() error {
	at, n, ok := find(b.header, TypeKeyHint)
	if !ok || n != digestSize {
		return refuse(StepAuthenticity, verdict.NoKnownKey, "no key hint of 32 bytes")
	}
	hint := b.header[at : at+n]
	i := slices.IndexFunc(b.device.Keys, func(k Key) bool {
		sum := sha256.Sum256(k.Public.Point()[1:])
		return subtle.ConstantTimeCompare(sum[:], hint) == 1
	})
	if i < 0 {
		return refuse(StepAuthenticity, verdict.NoKnownKey, "key %x is not in the key store", hint)
	}
	b.key = b.device.Keys[i]
	kind, ok := b.kind()
	if !ok || kind&authMask != authECC256 {
		return refuse(StepAuthenticity, verdict.SignatureType, "type 0x%04x is not of an image signed with ECC256", kind)
	}
	if !b.digestOK {
		if err := b.verifyDigest(StepAuthenticity); err != nil {
			return err
		}
	}
	if part := kind & partMask; b.key.Partitions&(1<<part) == 0 {
		return refuse(StepAuthenticity, verdict.KeyPartition, "key %d of the key store is not for images of partition %d", i, part)
	}
	if err := b.signature(); err != nil {
		return err
	}
	b.signatureOK = true
	return nil
}

func (b *boot) signature() error {
	at, n, ok := find(b.header, TypeSignature)
	if !ok || n == 0 {
		return refuse(StepAuthenticity, verdict.Unsigned, "no signature")
	}
	if n != signSize {
		return refuse(StepAuthenticity, verdict.SignatureLength, "signature of %d bytes, want %d", n, signSize)
	}
	s, err := sign.ParseSignature(sign.ESP256, sign.Raw, b.header[at:at+n])
	if err == nil {
		err = b.key.Public.VerifyDigest(b.digest[:], s)
	}
	if err != nil {
		return verdict.Wrap(err, verdict.SignatureInvalid, "wolfboot: "+string(StepAuthenticity))
	}
	return nil
}

// sanity is PART_SANITY_CHECK.
func (b *boot) sanity() error {
	if !b.headerOK || !b.digestOK || !b.signatureOK {
		return refuse(StepSanity, verdict.FlowControl, "header %t, digest %t, signature %t", b.headerOK, b.digestOK, b.signatureOK)
	}
	return nil
}

func (b *boot) version() (Status, error) {
	if b.device.Fallback || b.device.AllowDowngrade {
		return NotApplicable, nil
	}
	var running uint32
	if b.device.Running != nil {
		running = b.device.Running.Version
	}
	if v := b.versionOf(); running >= v {
		return Failed, refuse(StepVersion, verdict.VersionDowngrade, "version %d, running is %d", v, running)
	}
	return Passed, nil
}

// versionOf is wolfBoot_get_blob_version: 0 where there is none.
func (b *boot) versionOf() uint32 {
	at, n, ok := find(b.header, TypeVersion)
	if !ok || n != 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(b.header[at:])
}
