package nrfdfu

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Step is one check of the bootloader.
type Step string

// The checks, in the order in which a bootloader makes them for an image. Their
// names are part of the trace and do not change.
const (
	StepReceive        Step = "receive"         // init packet fits the buffer
	StepDecode         Step = "decode"          // init packet can be read
	StepSignature      Step = "signature"       // of the init packet
	StepType           Step = "type"            // firmware type is known
	StepHashType       Step = "hash-type"       // firmware hash is SHA-256
	StepHardware       Step = "hardware"        // hardware version
	StepSoftDevice     Step = "softdevice"      // required SoftDevices
	StepVersion        Step = "version"         // firmware version is no downgrade
	StepSize           Step = "size"            // sizes of the parts
	StepRoom           Step = "room"            // a place in flash to receive the image
	StepTransfer       Step = "transfer"        // firmware file has the announced length
	StepHash           Step = "hash"            // firmware hash
	StepSoftDeviceInfo Step = "softdevice-info" // the SoftDevice is one, and fits the device
	StepBootValidation Step = "boot-validation" // what will be checked at every start holds now
	StepEnd            Step = "end"             // nothing follows the image
)

// Status is the verdict of one step.
type Status string

// Verdicts.
const (
	Passed        Status = "passed"
	Failed        Status = "failed"
	NotApplicable Status = "not-applicable" // this bootloader does not make the check for this image
	NotRun        Status = "not-run"        // the device's state does not say enough
)

// Check is one line of a trace.
type Check struct {
	Image  Kind           `json:"image"`
	Step   Step           `json:"step"`
	Status Status         `json:"status"`
	Reason verdict.Reason `json:"reason,omitempty"` // when failed
	Result *Result        `json:"result,omitempty"` // the bootloader's answer, when failed
	Detail string         `json:"detail,omitempty"`
}

// Trace lists the checks that were made, in order. It ends with the first that
// failed.
type Trace []Check

// Refusal is the error of a check. It wraps a *verdict.Error.
type Refusal struct {
	Image  Kind
	Step   Step
	Result Result // what the bootloader answers
	Err    error
}

// Error formats as "application: hardware: detail (reason); the bootloader
// answers RESULT".
func (r *Refusal) Error() string {
	if r.Result == (Result{}) {
		return fmt.Sprintf("%s: %s: %v; the transfer never completes", r.Image, r.Step, r.Err)
	}
	return fmt.Sprintf("%s: %s: %v; the bootloader answers %s", r.Image, r.Step, r.Err, r.Result)
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Bank codes in the settings page (nrf_dfu_types.h).
const (
	BankInvalid              = 0x00
	BankApplication          = 0x01
	BankSoftDevice           = 0xa5
	BankBootloader           = 0xaa
	BankSoftDeviceBootloader = 0xac
	BankExternalApplication  = 0xb1
)

// Installed is what a bootloader notes down of an image that it accepted.
type Installed struct {
	Kind     Kind
	Type     FirmwareType
	BankCode uint8
	Size     uint32 // bytes
	CRC      uint32 // CRC-32 of the image
	Address  uint32 // where it was received
	// Boot validations as the settings page has them afterwards.
	AppValidation, SoftDeviceValidation ValidationType
}

// Verified says that the device would install the package.
type Verified struct {
	images   []Installed
	device   Device
	warnings []Warning
	complete bool
}

// Images returns what was installed, in order.
func (v *Verified) Images() []Installed { return slices.Clone(v.images) }

// Device returns the state after the update.
func (v *Verified) Device() Device { return v.device }

// Warnings returns what the bootloader does not look at, and people should.
func (v *Verified) Warnings() []Warning { return slices.Clone(v.warnings) }

// Complete reports whether no check had to be left out because the state of the
// device does not say enough.
func (v *Verified) Complete() bool { return v.complete }

// ErrNoKey says that a signature is to be checked and the device has no key.
var ErrNoKey = errors.New("no public key")

// Verify makes the checks of the device's bootloader over all images of a
// package, in the order in which they are transferred; each finds the device as
// the one before has left it. It mirrors the bootloaders of the nRF5 SDK 15.3,
// 16.0 and 17.1: nrf_dfu_req_handler.c, nrf_dfu_validation.c and
// nrf_dfu_ver_validation.c in components/libraries/bootloader/dfu.
//
// It stops at the first refusal, which is the last line of the trace and a
// *[Refusal]. Other errors wrap ErrOptions or ErrNoKey and mean that the
// verdict is not known.
func Verify(p *Package, device Device) (*Verified, Trace, error) {
	if err := device.Check(); err != nil {
		return nil, nil, err
	}
	b := boot{device: device, verified: Verified{complete: true}}
	for i := range p.Images {
		b.image = p.Images[i]
		if err := b.install(); err != nil {
			return nil, b.trace, err
		}
	}
	if len(b.verified.images) == 0 {
		return nil, b.trace, fmt.Errorf("nrfdfu: a package without images: %w", ErrOptions)
	}
	b.verified.device = b.device
	return &b.verified, b.trace, nil
}

// boot is a bootloader at work: each step leaves what the next ones need.
type boot struct {
	device   Device
	trace    Trace
	verified Verified

	image   Image
	packet  Packet
	init    InitCommand
	kind    FirmwareType // 0 where the packet does not say, as on the device
	size    uint32
	address uint32
	newSD   SoftDevice

	appValidation, sdValidation ValidationType // in the settings page
}

// refusal is a verdict of a step on its way to become a Refusal.
type refusal struct {
	result Result
	err    *verdict.Error
}

func (r *refusal) Error() string { return r.err.Error() }

func refuse(result Result, reason verdict.Reason, detail string, args ...any) error {
	return &refusal{result, verdict.New(reason, "", detail, args...)}
}

// check is one step of a bootloader.
type check struct {
	step Step
	run  func() (Status, error)
}

// checks are the steps in the bootloader's order.
func (b *boot) checks() []check {
	return []check{
		{StepReceive, b.receive},
		{StepDecode, b.decode},
		{StepSignature, b.signature},
		{StepType, b.firmwareType},
		{StepHashType, b.hashType},
		{StepHardware, b.hardware},
		{StepSoftDevice, b.softDevice},
		{StepVersion, b.version},
		{StepSize, b.sizes},
		{StepRoom, b.room},
		{StepTransfer, b.transfer},
		{StepHash, b.hash},
		{StepSoftDeviceInfo, b.softDeviceInfo},
		{StepBootValidation, b.bootValidation},
		{StepEnd, b.end},
	}
}

func (b *boot) install() error {
	b.init, b.kind = InitCommand{}, 0
	for _, c := range b.checks() {
		status, err := c.run()
		if err != nil {
			return b.failed(c.step, err)
		}
		if status == NotRun {
			b.verified.complete = false
		}
		b.trace = append(b.trace, Check{Image: b.image.Kind, Step: c.step, Status: status})
	}
	b.warn()
	b.activate()
	return nil
}

// CheckContent makes the checks of Verify that come out the same on every device
// with a key and an SDK: all but those of hardware, installed SoftDevice,
// installed version and room. A tool that makes packages for devices that it does
// not know uses it before it hands one out. The zero key is for packages that are
// unsigned on purpose. A refusal is a *[Refusal].
func (p *Package) CheckContent(key sign.PublicKey, sdk SDK) error {
	ofDevice := []Step{StepHardware, StepSoftDevice, StepVersion, StepRoom}
	if key.IsZero() {
		ofDevice = append(ofDevice, StepSignature)
	}
	if len(p.Images) == 0 {
		return fmt.Errorf("nrfdfu: a package without images: %w", ErrOptions)
	}
	for _, image := range p.Images {
		b := boot{image: image, device: Device{SDK: sdk, Key: key, ExternalApps: true, Layout: Layout{MBRParams: math.MaxUint32}}}
		for _, c := range b.checks() {
			if slices.Contains(ofDevice, c.step) {
				continue
			}
			if _, err := c.run(); err != nil {
				return b.failed(c.step, err)
			}
		}
	}
	return nil
}

func (b *boot) failed(step Step, err error) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return fmt.Errorf("%s: %s: %w", b.image.Kind, step, err)
	}
	b.trace = append(b.trace, Check{
		Image: b.image.Kind, Step: step, Status: Failed, Reason: r.err.Reason, Result: &r.result, Detail: r.err.Error(),
	})
	return &Refusal{Image: b.image.Kind, Step: step, Result: r.result, Err: r.err}
}

// activate notes the image down, and leaves the device as it is after the
// restart that copies the image into place.
func (b *boot) activate() {
	d := &b.device
	in := Installed{
		Kind: b.image.Kind, Type: b.kind, Size: b.size, CRC: crc32.ChecksumIEEE(b.received()), Address: b.address,
	}
	version := uint32(0)
	if b.init.FWVersion != nil {
		version = *b.init.FWVersion
	}
	switch b.kind {
	case TypeExternalApplication:
		in.BankCode = BankExternalApplication
	case TypeApplication:
		in.BankCode = BankApplication
		if !d.BLE && (len(b.init.SDReq) == 0 || b.init.SDReq[0] == SoftDeviceNone) {
			d.SoftDevice = nil // it goes where the SoftDevice was
		}
		d.AppSize = b.size
		if !b.skipsVersions() {
			d.AppVersion = version
		}
	default:
		in.BankCode = BankBootloader
		if b.kind.hasSoftDevice() {
			in.BankCode = BankSoftDevice
			if b.kind.hasBootloader() {
				in.BankCode = BankSoftDeviceBootloader
			}
			if old := d.SoftDevice; old == nil || old.Major() != b.newSD.Major() {
				d.AppSize = 0 // made for another SoftDevice
			}
			d.SoftDevice = new(b.newSD)
		}
		if b.kind.hasBootloader() && !b.skipsVersions() {
			d.BootloaderVersion = version
		}
	}
	in.AppValidation, in.SoftDeviceValidation = b.appValidation, b.sdValidation
	b.verified.images = append(b.verified.images, in)
}

// kindOf is where manifest.json files firmware of a type.
func kindOf(t FirmwareType) Kind {
	switch t {
	case TypeSoftDevice:
		return KindSoftDevice
	case TypeBootloader:
		return KindBootloader
	case TypeSoftDeviceBootloader:
		return KindSoftDeviceBootloader
	case TypeApplication, TypeExternalApplication:
		return KindApplication
	}
	return ""
}

// warn lists what the bootloader has not looked at.
func (b *boot) warn() {
	add := func(reason verdict.Reason, detail string, args ...any) {
		b.verified.warnings = append(b.verified.warnings, Warning{reason, string(b.image.Kind), fmt.Sprintf(detail, args...)})
	}
	if want := kindOf(b.kind); want != b.image.Kind {
		add(verdict.DFUManifestType, "filed as %s, and installed as %s: the bootloader goes by the init packet", b.image.Kind, b.kind)
	}
	if s := b.image.Sizes; s != nil && (b.init.SDSize == nil || b.init.BLSize == nil || *b.init.SDSize != s.SoftDevice || *b.init.BLSize != s.Bootloader) {
		add(verdict.DFUManifestSizes, "manifest.json says %d and %d bytes, which the init packet does not", s.SoftDevice, s.Bootloader)
	}
	if offset, ok := b.packet.NonCanonical(); ok {
		add(verdict.DFUPacketCanonical, "unusual encoding at offset %d of the init packet: tools that encode it again break its signature", offset)
	}
	if op := b.packet.OpCode; op == nil || *op != opCodeInit {
		add(verdict.DFUOpCode, "op code is not INIT: the bootloader does not look at it, other tools do")
	}
	switch s := b.packet.Signature; {
	case b.signatureRequired():
	case s == nil:
		add(verdict.DFUUnsigned, "unsigned, and this bootloader asks for no signature")
	case !b.device.Key.IsZero() && !b.verifies(b.packet.signed, s.Bytes):
		add(verdict.DFUSignature, "a signature that does not verify, and this bootloader does not look at it")
	}
	if b.init.IsDebug != nil && *b.init.IsDebug {
		add(verdict.DFUDebug, "debug package")
	}
	if b.kind == TypeApplication && b.device.SoftDevice != nil && len(b.init.SDReq) > 0 && b.init.SDReq[0] == SoftDeviceNone {
		add(verdict.DFURequirement, "needs no SoftDevice, and was accepted by a device with one")
	}
}
