package sbsfu

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
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
	StepCandidate Step = "candidate-header" // signature of the header that was received, by the key of the slot that it names
	StepVersion   Step = "version"          // version against the installed one, size against the slot
	StepHeader    Step = "header"           // of the active slot: magic, reserved bytes, signature
	StepImage     Step = "image"            // tag of the firmware
	StepRest      Step = "rest-blank"       // nothing lies behind the firmware
	StepFlow      Step = "flow"             // header and firmware were both found good
	StepExecute   Step = "execute"          // signature and tag once more
)

// Status is the verdict of one step.
type Status string

// Verdicts.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	NotRun Status = "not-run" // ignored, see TraceWithout
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
	ErrDevice = errors.New("unusable device")            // the device contradicts itself
	ErrBase   = errors.New("installed firmware missing") // a part was sent, and what it is a part of is not known
)

// Device is a device with an SBSFU. Versions of 0 stand for the defaults of ST's
// projects, which are 1.
type Device struct {
	Scheme       Scheme
	Offset       uint32 // of the firmware in a slot, in bytes (SFU_IMG_IMAGE_OFFSET)
	InitVersion  uint16 // the only one that is taken without an installed header (SFU_FW_VERSION_INIT_NUM)
	StartVersion uint16 // the lowest one that is taken (SFU_FW_VERSION_START_NUM)
	Slots        []Slot // active slots, SFU1 first; up to 3
}

// Slot is an active slot with the keys of its firmware.
type Slot struct {
	Size      uint32 // in bytes, with the header
	Key       sign.PublicKey
	AESKey    []byte     // 16 bytes, with AESCBC
	Installed *Installed // nil: no valid header is installed
}

// Installed is what runs. The bootloader takes version 0 for no header.
type Installed struct {
	Version  uint16
	Firmware []byte // in the clear; nil where it is not known, and parts cannot be verified
}

// Check reports whether a device can be one. Errors wrap [ErrDevice].
func (d *Device) Check() error {
	bad := func(what string, args ...any) error {
		return fmt.Errorf("sbsfu: device: %s: %w", fmt.Sprintf(what, args...), ErrDevice)
	}
	switch {
	case d.Scheme == AESGCM:
		return bad("scheme %s: it has no signature; the key that checks a package makes packages too, and lies in every device", d.Scheme)
	case d.Scheme != Clear && d.Scheme != AESCBC:
		return bad("%s", d.Scheme)
	case len(d.Slots) == 0 || len(d.Slots) > 3:
		return bad("%d slots, want 1 to 3", len(d.Slots))
	case d.Offset < HeaderSize:
		return bad("firmware at %d, inside the header", d.Offset)
	}
	for i, s := range d.Slots {
		switch {
		case s.Size <= d.Offset || s.Size > MaxSlot:
			return bad("slot %d of %d bytes", i+1, s.Size)
		case s.Key.Algorithm() != sign.ESP256:
			return bad("slot %d: key is not on P-256", i+1)
		case d.Scheme == AESCBC && len(s.AESKey) != aes.BlockSize:
			return bad("slot %d: AES key of %d bytes, want 16", i+1, len(s.AESKey))
		case d.Scheme == Clear && s.AESKey != nil:
			return bad("slot %d: an AES key, and nothing is encrypted", i+1)
		}
	}
	return nil
}

// Verified says that the bootloader of a device installs and starts a package.
type Verified struct {
	header   Header
	firmware []byte
	unusual  error
}

// Header returns the header of the package.
func (v *Verified) Header() Header { return v.header }

// Firmware returns the whole firmware in the clear, as it lies in the slot.
func (v *Verified) Firmware() []byte { return slices.Clone(v.firmware) }

// Unusual returns what [Parse] refuses of the package and the bootloader does not
// look at, nil for nothing.
func (v *Verified) Unusual() error { return v.unusual }

// Verify makes the checks of the device's bootloader over a package: those of an
// installation, then those of the start that follows. What is received lies in
// flash, so bytes that the file does not have read as 0xff.
//
// It stops at the first refusal, the last line of the trace, a *[verdict.Error].
// Other errors wrap ErrDevice or ErrBase, or are the context's.
func Verify(ctx context.Context, file []byte, device Device) (*Verified, Trace, error) {
	b := boot{ctx: ctx, device: device, file: file}
	if err := b.run(); err != nil {
		return nil, b.trace, err
	}
	_, unusual := Parse(file, device.Scheme, device.Offset)
	return &Verified{header: *b.header, firmware: b.firmware, unusual: unusual}, b.trace, nil
}

// TraceWithout makes the checks of Verify and ignores what one of them says, as a
// fault in the bootloader would: the trace has it as not-run. Its step of the
// flow control is left out all the same. It gives no Verified. An error is the
// first other refusal, or that there is nothing to go on with.
func TraceWithout(ctx context.Context, file []byte, device Device, ignored Step) (Trace, error) {
	b := boot{ctx: ctx, device: device, file: file, ignored: ignored}
	err := b.run()
	return b.trace, err
}

// Steps of the flow control: the bootloader adds each to a word where a check
// ends well, and compares the word with that of a complete run.
const (
	flowAuthenticate = 1 << iota
	flowIntegrity
	flowComplete = flowAuthenticate | flowIntegrity
)

// boot is a bootloader at work: each step leaves what the next ones need.
type boot struct {
	ctx     context.Context
	device  Device
	file    []byte
	ignored Step
	trace   Trace

	header   *Header
	slot     *Slot
	firmware []byte
	saved    [TagSize]byte // tag as computed
	flow     int
}

func (b *boot) run() error {
	if err := b.device.Check(); err != nil {
		return err
	}
	for _, c := range []struct {
		step Step
		run  func() error
	}{
		{StepCandidate, b.candidate},
		{StepVersion, b.version},
		{StepHeader, b.activeHeader},
		{StepImage, b.image},
		{StepRest, b.rest},
		{StepFlow, b.flowControl},
		{StepExecute, b.execute},
	} {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		err := c.run()
		refusal, refused := errors.AsType[*verdict.Error](err)
		switch {
		case err == nil:
			b.trace = append(b.trace, Check{Step: c.step, Status: Passed})
		case refused && c.step == b.ignored && b.goesOn():
			b.trace = append(b.trace, Check{Step: c.step, Status: NotRun})
		case refused:
			b.trace = append(b.trace, Check{Step: c.step, Status: Failed, Reason: refusal.Reason, Detail: refusal.Error()})
			return err
		default:
			return fmt.Errorf("sbsfu: %s: %w", c.step, err)
		}
	}
	return nil
}

// goesOn reports whether an ignored refusal leaves what later steps read.
func (b *boot) goesOn() bool {
	switch b.ignored {
	case StepCandidate:
		return b.slot != nil
	case StepVersion:
		return b.header.Size <= b.slot.Size-b.device.Offset && uint64(len(b.file)) <= uint64(b.slot.Size)
	case StepImage:
		return b.firmware != nil
	}
	return true
}

func refuse(step Step, reason verdict.Reason, detail string, args ...any) error {
	return verdict.New(reason, "sbsfu: "+string(step), detail, args...)
}

// candidate reads the header; the magic says whose key verifies it.
func (b *boot) candidate() error {
	h, err := ParseHeader(b.file, b.device.Scheme)
	if err != nil {
		return err
	}
	b.header = h
	n := h.Slot()
	if n == 0 || n > len(b.device.Slots) {
		return refuse(StepCandidate, verdict.ImageMagic, "magic is %q, and the device has %d slots", h.Magic[:], len(b.device.Slots))
	}
	b.slot = &b.device.Slots[n-1]
	return b.signature(StepCandidate)
}

func (b *boot) signature(step Step) error {
	s, err := sign.ParseSignature(sign.ESP256, sign.Raw, b.header.Signature[:])
	if err == nil {
		err = b.slot.Key.Verify(b.header.Signed(), s)
	}
	if err != nil {
		return verdict.Wrap(err, verdict.SignatureInvalid, "sbsfu: "+string(step))
	}
	return nil
}

// version is SFU_IMG_CheckFwVersion, and the size that the loader compares right
// after it.
func (b *boot) version() error {
	var installed uint16
	if b.slot.Installed != nil {
		installed = b.slot.Installed.Version
	}
	first, lowest := max(b.device.InitVersion, 1), max(b.device.StartVersion, 1)
	switch v := b.header.Version; {
	case installed == 0 && v != first:
		return refuse(StepVersion, verdict.SFBInitVersion, "version %d, and nothing is installed: only %d is taken", v, first)
	case installed != 0 && (v < installed || v < lowest):
		return refuse(StepVersion, verdict.VersionDowngrade, "version %d, installed is %d, the lowest allowed %d", v, installed, lowest)
	}
	if room := b.slot.Size - b.device.Offset; b.header.Size > room {
		return refuse(StepVersion, verdict.ImageExceedsSlot, "firmware of %d bytes for a slot with room for %d", b.header.Size, room)
	}
	if uint64(len(b.file)) > uint64(b.slot.Size) {
		return refuse(StepVersion, verdict.ImageExceedsSlot, "file of %d bytes for a slot of %d", len(b.file), b.slot.Size)
	}
	return nil
}

// activeHeader is VerifyHeaderSignature. The magic found its slot before.
func (b *boot) activeHeader() error {
	if !blank(b.header.Reserved, 0) {
		return refuse(StepHeader, verdict.ReservedBytes, "reserved bytes are not 0")
	}
	if err := b.signature(StepHeader); err != nil {
		return err
	}
	b.flow |= flowAuthenticate
	return nil
}

// image decrypts what was sent, puts a part into the installed firmware, and
// compares the tags.
func (b *boot) image() error {
	h := b.header
	if err := h.sizes(b.device.Scheme); err != nil {
		return err
	}
	if h.Partial() && b.slot.Installed != nil && b.slot.Installed.Firmware == nil {
		return ErrBase
	}
	part, err := b.decrypted()
	if err != nil {
		return err
	}
	b.assemble(part)
	b.saved = sha256.Sum256(b.firmware)
	if sum := sha256.Sum256(part); h.Partial() && !sameTag(sum, h.PartTag) {
		return refuse(StepImage, verdict.PayloadDigestMismatch, "SHA-256 of the part is %x, the header has %x", sum, h.PartTag)
	}
	if !sameTag(b.saved, h.Tag) {
		return refuse(StepImage, verdict.ImageDigestMismatch, "SHA-256 of the firmware is %x, the header has %x", b.saved, h.Tag)
	}
	b.flow |= flowIntegrity
	return nil
}

// assemble puts what was sent into the firmware that is installed.
func (b *boot) assemble(part []byte) {
	b.firmware = slices.Repeat([]byte{0xff}, int(b.header.Size))
	if b.slot.Installed != nil && b.header.Partial() {
		copy(b.firmware, b.slot.Installed.Firmware)
	}
	copy(b.firmware[b.header.PartOffset:], part)
}

// Assemble returns the firmware that the slot of a device holds after a package was
// installed and before tags are compared: in a project that loads to where it runs,
// this much is written when the package is refused. It is nil for a package that
// is refused before, and for sizes that cannot be.
func Assemble(file []byte, device Device) []byte {
	b := boot{device: device, file: file}
	if device.Check() != nil || b.candidate() != nil || b.version() != nil || b.header.sizes(device.Scheme) != nil {
		return nil
	}
	part, err := b.decrypted()
	if err != nil {
		return nil
	}
	b.assemble(part)
	return b.firmware
}

// decrypted returns what was sent, in the clear.
func (b *boot) decrypted() ([]byte, error) {
	part := slices.Repeat([]byte{0xff}, int(b.header.PartSize))
	copy(part, b.file[min(int(b.device.Offset), len(b.file)):])
	if b.device.Scheme == AESCBC {
		block, err := aes.NewCipher(b.slot.AESKey)
		if err != nil {
			return nil, err
		}
		cipher.NewCBCDecrypter(block, b.header.IV[:]).CryptBlocks(part, part)
	}
	return part, nil
}

func sameTag(a, b [TagSize]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// rest is VerifySlot: words behind the firmware are erased or cleared ones. The
// file ends before the slot does.
func (b *boot) rest() error {
	end := int(b.device.Offset) + int(b.header.PartSize)
	for at := end; at < len(b.file); at += 4 {
		word := b.file[at:min(at+4, len(b.file))]
		if !blank(word, 0xff) && !blank(word, 0) {
			return verdict.At(int64(at), verdict.SlotNotBlank, "sbsfu: "+string(StepRest), "bytes behind the firmware")
		}
	}
	return nil
}

func (b *boot) flowControl() error {
	if b.flow != flowComplete {
		return refuse(StepFlow, verdict.FlowControl, "a check of header or firmware did not end well")
	}
	return nil
}

// execute asks again for what the verdict rests on.
func (b *boot) execute() error {
	if err := b.signature(StepExecute); err != nil {
		return err
	}
	if !sameTag(b.saved, b.header.Tag) {
		return refuse(StepExecute, verdict.ImageDigestMismatch, "the saved tag is not that of the header")
	}
	return nil
}
