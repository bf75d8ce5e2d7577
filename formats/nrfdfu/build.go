package nrfdfu

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Role is what the signatures of this format are trusted for: a bootloader has
// one key, for init packets and boot validation alike.
const Role = sign.RoleImage

// Special entries of a list of required SoftDevices (nrf_dfu_ver_validation.h).
const (
	// SoftDeviceNone, as first entry, says that the update needs no SoftDevice
	// and may overwrite one.
	SoftDeviceNone = 0
	// SoftDeviceAny fits any SoftDevice, and none; for external applications
	// only.
	SoftDeviceAny = 0xfffe
)

// ErrOptions says that Options cannot be built from, for a reason that is not a
// property of the input files.
var ErrOptions = errors.New("unsuitable options")

// SDK is the generation of the nRF5 SDK that a bootloader was built with.
type SDK int

// Generations whose bootloader sources were compared: 15.3.0, 16.0.0 and
// 17.1.0. Zero is the oldest.
const (
	SDK15 SDK = iota
	SDK16     // refuses a SoftDevice of another family
	SDK17     // checks a bootloader after a SoftDevice with a boot validation of its own
)

// String returns "15", "16" or "17".
func (s SDK) String() string {
	if s < SDK15 || s > SDK17 {
		return fmt.Sprintf("sdk(%d)", int(s))
	}
	return [...]string{"15", "16", "17"}[s]
}

// Part is one firmware of a package.
type Part struct {
	// Name is that of the files in the package, without extension: letters,
	// digits, '.', '-' and '_'. Empty means the name of the kind. A SoftDevice
	// with a bootloader is always "sd_bl".
	Name     string
	Firmware Firmware
	// Version is compared with the one that was installed before, see
	// [Device]. A SoftDevice has none: its init packet says MaxVersion.
	Version uint32
	// BootValidation is the check at every start, nil for the usual
	// ValidateCRC. A bootloader has no other.
	BootValidation *ValidationType
}

// Options says what goes into a package.
type Options struct {
	// At least one part. A bootloader and an application need a SoftDevice
	// with them, or two packages: the application would be installed by a
	// bootloader that is about to be replaced.
	Application, SoftDevice, Bootloader *Part

	// External says that the application is for another device behind the one
	// that receives it.
	External bool

	HWVersion uint32 // the device's NRF_DFU_HW_VERSION, compared for equality

	// SDReq lists the firmware ids of the SoftDevices, one of which must be
	// installed before the update. The order is kept: see SoftDeviceNone.
	// Empty means SoftDeviceAny for an external application and a debug
	// package, and is refused for all else.
	SDReq []uint32
	// AppSDReq lists the SoftDevices for the application of a package that
	// replaces the SoftDevice too: the new one. It is added to the list of the
	// SoftDevice itself, so that an interrupted update can be repeated.
	AppSDReq []uint32

	Debug bool // for debug bootloaders, which then check no versions

	// Key is the bootloader's key. The zero key makes an unsigned package,
	// which must be asked for.
	Key      sign.PublicKey
	Unsigned bool

	SDK SDK // of the oldest bootloader in the field
}

// Warning is something that is allowed and rarely meant.
type Warning struct {
	Reason verdict.Reason `json:"reason"`
	Object string         `json:"object"`
	Detail string         `json:"detail"`
}

// String formats as "object: detail (reason)".
func (w Warning) String() string { return fmt.Sprintf("%s: %s (%s)", w.Object, w.Detail, w.Reason) }

// draftImage is an image on its way into a package.
type draftImage struct {
	kind     Kind
	name     string
	firmware []byte
	init     InitCommand
	boot     []byte // the bytes that BootValidations[0] signs, nil unless it is ValidateECDSA
}

// BootDraft is a package whose boot validation signatures are missing. They
// are part of what the init packets' signatures cover, and so come first.
type BootDraft struct {
	options  Options
	images   []draftImage
	warnings []Warning
}

// Prepare checks the options and builds everything that needs no signature. A
// rehearsal answers the same requests with a throwaway key; what the second
// stage signs then differs in the answers of the first.
// What no device accepts, or what does not do what it seems to, is refused with
// a verdict.Error or ErrOptions; what may be meant is a warning.
//
//	boot, err := nrfdfu.Prepare(options)
//	signatures, err := sign.Answer(ctx, boot.Requests(), signers)
//	draft, err := boot.Finish(signatures)
//	signatures, err = sign.Answer(ctx, draft.Requests(), signers)
//	file, err := draft.Finish(signatures)
func Prepare(o Options) (*BootDraft, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b := &BootDraft{options: o}
	req := o.SDReq
	if len(req) == 0 {
		req = []uint32{SoftDeviceAny}
	}
	appReq := req
	if o.SoftDevice != nil && o.Application != nil {
		appReq = o.AppSDReq
		req = slices.Clone(req)
		for _, id := range appReq {
			if !slices.Contains(req, id) {
				req = append(req, id)
			}
		}
	}

	switch {
	case o.SoftDevice != nil && o.Bootloader != nil:
		b.addSoftDeviceBootloader(req)
	case o.SoftDevice != nil:
		init := o.init(TypeSoftDevice, MaxVersion, req)
		*init.SDSize = uint32(len(o.SoftDevice.Firmware.Data))
		b.add(KindSoftDevice, *o.SoftDevice, init)
	case o.Bootloader != nil:
		init := o.init(TypeBootloader, o.Bootloader.Version, req)
		*init.BLSize = uint32(len(o.Bootloader.Firmware.Data))
		b.add(KindBootloader, *o.Bootloader, init)
	}
	if o.Application != nil {
		t := TypeApplication
		if o.External {
			t = TypeExternalApplication
		}
		init := o.init(t, o.Application.Version, appReq)
		*init.AppSize = uint32(len(o.Application.Firmware.Data))
		b.add(KindApplication, *o.Application, init)
	}
	return b, b.finish()
}

// finish makes the checks that need all images.
func (b *BootDraft) finish() error {
	for i, image := range b.images {
		if slices.ContainsFunc(b.images[:i], func(o draftImage) bool { return o.name == image.name }) {
			return fmt.Errorf("nrfdfu: two parts with the name %q: %w", image.name, ErrOptions)
		}
		if err := CheckRequirements(image.init.SDReq); err != nil {
			return err
		}
		b.warnings = append(b.warnings, b.options.warn(image)...)
	}
	return nil
}

// Build is Prepare for packages without boot validation signatures. Where there
// are some it wraps ErrOptions.
func Build(o Options) (*Draft, error) {
	b, err := Prepare(o)
	if err != nil {
		return nil, err
	}
	if n := len(b.Requests()); n > 0 {
		return nil, fmt.Errorf("nrfdfu: %d boot validation signatures come first: %w", n, ErrOptions)
	}
	return b.Finish(nil)
}

func (b *BootDraft) add(kind Kind, p Part, init InitCommand) {
	sum := sha256.Sum256(p.Firmware.Data)
	slices.Reverse(sum[:])
	init.Hash = &Hash{Type: HashSHA256, Sum: sum[:]}
	image := draftImage{kind: kind, name: p.Name, firmware: p.Firmware.Data}
	if image.name == "" {
		image.name = string(kind)
	}
	if init.BootValidations == nil {
		init.BootValidations = []BootValidation{{Type: p.validation()}}
	}
	if init.BootValidations[0].Type == ValidateECDSA {
		image.boot = p.Firmware.Data
	}
	image.init = init
	b.images = append(b.images, image)
}

func (b *BootDraft) addSoftDeviceBootloader(req []uint32) {
	sd, bl := *b.options.SoftDevice, *b.options.Bootloader
	init := b.options.init(TypeSoftDeviceBootloader, bl.Version, req)
	*init.SDSize = uint32(len(sd.Firmware.Data))
	*init.BLSize = uint32(len(bl.Firmware.Data))
	init.BootValidations = []BootValidation{{Type: sd.validation()}, {Type: ValidateCRC}}
	b.add(KindSoftDeviceBootloader, Part{
		Name: "sd_bl", Firmware: Firmware{Data: slices.Concat(sd.Firmware.Data, bl.Firmware.Data)},
	}, init)
	if image := &b.images[len(b.images)-1]; image.boot != nil {
		image.boot = sd.Firmware.Data
	}
}

// init returns an init command with all fields in place, as pc-nrfutil has it,
// but without sizes, hash and boot validations.
func (o Options) init(t FirmwareType, version uint32, req []uint32) InitCommand {
	return InitCommand{
		FWVersion: &version, HWVersion: new(o.HWVersion), SDReq: slices.Clone(req), Type: &t,
		SDSize: new(uint32), BLSize: new(uint32), AppSize: new(uint32), IsDebug: new(o.Debug),
	}
}

func (p Part) validation() ValidationType {
	if p.BootValidation == nil {
		return ValidateCRC
	}
	return *p.BootValidation
}

// check refuses what cannot or should not become a package.
func (o Options) check() error {
	if err := o.checkParts(); err != nil {
		return err
	}
	combined := o.Application != nil && o.SoftDevice != nil
	switch {
	case o.Key.IsZero() && !o.Unsigned:
		return verdict.New(verdict.DFUUnsigned, "package", "no key, and an unsigned package was not asked for")
	case !o.Key.IsZero() && o.Unsigned:
		return fmt.Errorf("nrfdfu: a key for an unsigned package: %w", ErrOptions)
	case !o.Key.IsZero() && o.Key.Algorithm() != sign.ESP256:
		return fmt.Errorf("nrfdfu: key %s is for %s, the bootloader takes %s: %w", o.Key.ID().Short(), o.Key.Algorithm(), sign.ESP256, ErrOptions)
	case o.Unsigned && (o.Application.signed() || o.SoftDevice.signed()):
		return fmt.Errorf("nrfdfu: a boot validation signature in an unsigned package: %w", ErrOptions)
	case len(o.SDReq) == 0 && !o.External && !o.Debug:
		return verdict.New(verdict.DFURequirement, "package", "no required SoftDevice: with one installed, the bootloader refuses an empty list; [0] means none")
	case combined && len(o.AppSDReq) == 0:
		return verdict.New(verdict.DFURequirement, "package", "no SoftDevice for the application, which is installed beside the new one")
	case !combined && len(o.AppSDReq) > 0:
		return fmt.Errorf("nrfdfu: SoftDevices for the application of a package without both: %w", ErrOptions)
	}
	if err := CheckRequirements(o.SDReq); err != nil {
		return err
	}
	return CheckRequirements(o.AppSDReq)
}

func (p *Part) signed() bool { return p != nil && p.validation() == ValidateECDSA }

func (o Options) checkParts() error {
	n := 0
	for _, p := range []struct {
		name string
		part *Part
	}{{"application", o.Application}, {"softdevice", o.SoftDevice}, {"bootloader", o.Bootloader}} {
		if p.part == nil {
			continue
		}
		n++
		if err := p.part.check(p.name); err != nil {
			return err
		}
	}
	switch {
	case n == 0:
		return fmt.Errorf("nrfdfu: a package without parts: %w", ErrOptions)
	case o.External && (n > 1 || o.Application == nil):
		return verdict.New(verdict.DFUCombination, "package", "an external application is alone in its package")
	case o.Application != nil && o.Bootloader != nil && o.SoftDevice == nil:
		return verdict.New(verdict.DFUCombination, "package", "bootloader and application without a SoftDevice: make two packages")
	case o.Bootloader != nil && o.Bootloader.BootValidation != nil && o.Bootloader.validation() != ValidateCRC:
		return verdict.New(verdict.DFUBootValidation, "bootloader", "%s, which no bootloader applies to itself", o.Bootloader.validation())
	}
	if o.SoftDevice == nil {
		return nil
	}
	data := o.SoftDevice.Firmware.Data
	sd, ok := ReadSoftDevice(data)
	switch {
	case !ok:
		return verdict.New(verdict.DFUSoftDeviceInfo, "softdevice", "no information structure")
	case sd.End < alignPage(uint32(len(data))+mbrEnd):
		return verdict.New(verdict.DFUSoftDeviceInfo, "softdevice", "says that it ends at 0x%x, and has %d bytes from 0x%x on", sd.End, len(data), mbrEnd)
	case o.Bootloader != nil && o.SoftDevice.signed() && o.SDK < SDK17:
		return verdict.New(verdict.DFUBootSDBL, "softdevice",
			"an ECDSA boot validation beside a bootloader: up to SDK 16 it is applied to the bootloader too, and the package is never installed")
	}
	return nil
}

func (p Part) check(object string) error {
	switch n := len(p.Firmware.Data); {
	case n == 0 || n%word != 0 || n > MaxFirmware:
		return verdict.New(verdict.DFUPartSize, object, "%d bytes, want whole words and at most %d", n, MaxFirmware)
	case p.validation() > ValidateECDSA:
		return verdict.New(verdict.DFUBootValidation, object, "%s", p.validation())
	case p.Name != "" && !validName(p.Name):
		return fmt.Errorf("nrfdfu: %s: file name %q: %w", object, p.Name, ErrOptions)
	}
	return nil
}

// CheckRequirements refuses a list of required SoftDevices with more than
// MaxSoftDevices entries, one that no SoftDevice can have, or one twice.
func CheckRequirements(list []uint32) error {
	const object = "required SoftDevices"
	if len(list) > MaxSoftDevices {
		return verdict.New(verdict.DFURequirement, object, "%d entries, the bootloader reads %d", len(list), MaxSoftDevices)
	}
	for i, id := range list {
		switch {
		case id > 0xffff:
			return verdict.New(verdict.DFURequirement, object, "0x%x is no firmware id, which has 16 bits", id)
		case slices.Contains(list[:i], id):
			return verdict.New(verdict.DFURequirement, object, "0x%x twice", id)
		case i > 0 && id == SoftDeviceNone:
			return verdict.New(verdict.DFURequirement, object, "0 counts as the first entry only")
		}
	}
	return nil
}

// warn lists what is allowed and rarely meant in one image.
func (o Options) warn(image draftImage) []Warning {
	var list []Warning
	add := func(reason verdict.Reason, detail string, args ...any) {
		list = append(list, Warning{reason, string(image.kind), fmt.Sprintf(detail, args...)})
	}
	init := image.init
	if o.Unsigned {
		add(verdict.DFUUnsigned, "unsigned: only a bootloader that demands no signature for applications takes it")
	}
	if o.Debug {
		add(verdict.DFUDebug, "debug bootloaders skip the checks of hardware, SoftDevice and version for it, release bootloaders do not")
	}
	application := *init.Type == TypeApplication
	if *init.FWVersion == MaxVersion && *init.Type != TypeSoftDevice && !o.Debug {
		add(verdict.DFUVersionMax, "version %d: a device that installed it accepts no update any more", uint32(MaxVersion))
	}
	switch leadingZero := init.SDReq[0] == SoftDeviceNone; {
	case leadingZero && *init.Type == TypeSoftDevice:
		add(verdict.DFURequirement, "0 as required SoftDevice: devices with a SoftDevice refuse to replace it")
	case leadingZero && application && len(init.SDReq) > 1:
		add(verdict.DFURequirement, "the application may overwrite the SoftDevice; bootloaders that use one refuse it")
	case leadingZero && application:
		add(verdict.DFURequirement, "the application is accepted beside any SoftDevice, and may overwrite it")
	case slices.Contains(init.SDReq, SoftDeviceAny) && *init.Type != TypeExternalApplication && !o.Debug:
		add(verdict.DFURequirement, "0x%x means any SoftDevice for external applications only", SoftDeviceAny)
	}
	if n := o.packetSize(init); n > MaxPacketV1 {
		add(verdict.DFUPacketSize, "init packet of %d bytes: bootloaders up to SDK 15.2 have room for %d", n, MaxPacketV1)
	}
	return list
}

// packetSize is the length of the finished init packet.
func (o Options) packetSize(init InitCommand) int {
	init.BootValidations = slices.Clone(init.BootValidations)
	if v := init.BootValidations; v[0].Type == ValidateECDSA {
		v[0].Bytes = make([]byte, signatureSize)
	}
	p := Packet{OpCode: new(uint8(opCodeInit)), Init: init}
	if !o.Unsigned {
		p.Signature = &Signature{Bytes: make([]byte, signatureSize)}
	}
	return len(p.Encode())
}

// Warnings returns what is allowed and rarely meant.
func (b *BootDraft) Warnings() []Warning { return slices.Clone(b.warnings) }

// Requests asks for the boot validation signatures, one for each part that has
// ValidateECDSA, over its bytes. Most packages have none.
func (b *BootDraft) Requests() []sign.Request {
	var requests []sign.Request
	for _, image := range b.images {
		if image.boot != nil {
			requests = append(requests, sign.Request{
				Artifact: string(image.kind) + " boot validation", Role: Role, Key: b.options.Key.ID(), Message: image.boot,
			})
		}
	}
	return requests
}

// Finish puts the boot validation signatures in their place. It is pure, and
// checks number and algorithm of the signatures only.
func (b *BootDraft) Finish(signatures []sign.Signature) (*Draft, error) {
	encoded, err := encodeSignatures("boot validation", signatures, len(b.Requests()))
	if err != nil {
		return nil, err
	}
	d := &Draft{key: b.options.Key, images: slices.Clone(b.images), warnings: b.warnings}
	for i := range d.images {
		image := &d.images[i]
		if image.boot == nil {
			continue
		}
		image.init.BootValidations = slices.Clone(image.init.BootValidations)
		image.init.BootValidations[0].Bytes, encoded = encoded[0], encoded[1:]
	}
	return d, nil
}

// encodeSignatures lays signatures out as the bootloader reads them.
func encodeSignatures(object string, signatures []sign.Signature, want int) ([][]byte, error) {
	if len(signatures) != want {
		return nil, fmt.Errorf("nrfdfu: %s: %d signatures, want %d: %w", object, len(signatures), want, ErrOptions)
	}
	encoded := make([][]byte, len(signatures))
	for i, s := range signatures {
		if s.Algorithm() != sign.ESP256 {
			return nil, fmt.Errorf("nrfdfu: %s: %s, want one for %s: %w", object, s, sign.ESP256, ErrOptions)
		}
		encoded[i] = s.Encode(sign.LittleEndian)
	}
	return encoded, nil
}

// Draft is a package that is complete but for the signatures of its init
// packets.
type Draft struct {
	key      sign.PublicKey // zero for an unsigned package
	images   []draftImage
	warnings []Warning
}

var _ formats.Unsigned = (*Draft)(nil)

// Warnings returns what is allowed and rarely meant.
func (d *Draft) Warnings() []Warning { return slices.Clone(d.warnings) }

// Requests asks for one signature for each image, over its InitCommand: some
// 60 to 130 bytes that hold the hash of the firmware. An unsigned package has
// none.
func (d *Draft) Requests() []sign.Request {
	if d.key.IsZero() {
		return nil
	}
	var requests []sign.Request
	for _, image := range d.images {
		requests = append(requests, sign.Request{
			Artifact: string(image.kind) + " init packet", Role: Role, Key: d.key.ID(), Message: image.init.encode(),
		})
	}
	return requests
}

// Finish puts the signatures in their place and returns the .zip file. It is
// pure: the entries are stored, in a fixed order, with a fixed time.
func (d *Draft) Finish(signatures []sign.Signature) ([]byte, error) {
	encoded, err := encodeSignatures("init packet", signatures, len(d.Requests()))
	if err != nil {
		return nil, err
	}
	images := make([]Image, len(d.images))
	for i, image := range d.images {
		p := Packet{OpCode: new(uint8(opCodeInit)), Init: image.init}
		if !d.key.IsZero() {
			p.Signature = &Signature{Type: ECDSAP256SHA256, Bytes: encoded[i]}
		}
		images[i] = Image{
			Kind: image.kind, BinName: image.name + ".bin", DatName: image.name + ".dat",
			Firmware: image.firmware, Packet: p.Encode(),
		}
		if image.kind == KindSoftDeviceBootloader {
			images[i].Sizes = &Sizes{Bootloader: *image.init.BLSize, SoftDevice: *image.init.SDSize}
		}
	}
	return writePackage(images)
}
