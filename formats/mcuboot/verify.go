package mcuboot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// Step is one check of the loader.
type Step string

// The checks. Their names are part of the trace and do not change.
const (
	StepBootable     Step = "bootable"     // the slot counts as empty where the image is marked as not bootable
	StepDowngrade    Step = "downgrade"    // version or counter against the installed image
	StepHeader       Step = "header"       // magic number, sizes, flags of what the build supports
	StepPlacement    Step = "placement"    // addresses that the image is linked for or loaded to
	StepContentKey   Step = "content-key"  // with the device's key
	StepTLVs         Step = "tlvs"         // the TLV areas and what may stand in them
	StepSize         Step = "size"         // what the update mode leaves of the slot
	StepHash         Step = "hash"         // image hash
	StepSignature    Step = "signature"    // by a key of the device
	StepCounter      Step = "counter"      // security counter
	StepVendor       Step = "vendor"       // vendor identifier
	StepClass        Step = "class"        // class identifier
	StepDependencies Step = "dependencies" // versions of the other images
	StepStructure    Step = "structure"    // what Parse refuses and the loader does not look at
)

// Status is the verdict of one step.
type Status string

// Verdicts.
const (
	Passed        Status = "passed"
	Failed        Status = "failed"
	NotApplicable Status = "not-applicable" // the bootloader does not check this
	NotRun        Status = "not-run"        // the target does not say enough to check it
)

// Check is one line of a trace.
type Check struct {
	Step   Step           `json:"step"`
	Status Status         `json:"status"`
	Reason verdict.Reason `json:"reason,omitempty"` // when failed
	Detail string         `json:"detail,omitempty"`
}

// Trace lists the checks in the loader's order. It ends with the first that
// failed.
type Trace []Check

// Verified says that the bootloader of a target takes an image.
type Verified struct {
	file     *File
	hash     []byte
	key      *Key
	complete bool
}

// File returns the image, its payload as it was given.
func (v *Verified) File() *File { return v.file }

// Hash returns the image hash: of the image in the clear, except for
// Ed25519Pure, whose loader computes none, as it stands in the file.
func (v *Verified) Hash() []byte { return bytes.Clone(v.hash) }

// SignedBy returns the key whose signature decided; ok is false for HashOnly.
func (v *Verified) SignedBy() (k Key, ok bool) {
	if v.key == nil {
		return Key{}, false
	}
	return *v.key, true
}

// Bootable reports whether the loader would boot the image. It treats a slot with
// an image that is marked as NonBootable as empty, however valid that is.
func (v *Verified) Bootable() bool { return v.file.Header.Flags&NonBootable == 0 }

// Complete reports whether the target said enough for every step.
func (v *Verified) Complete() bool { return v.complete }

// Verify makes the checks of a target's bootloader over the content of a slot,
// in its order (boot/bootutil/src/loader.c, boot_validate_slot;
// bootutil_loader.c; image_validate.c; tlv.c). It stops at the first refusal,
// which is the last line of the trace and the error, with a verdict.Reason. Other
// errors mean that the verdict is not known: the target is unusable (ErrTarget),
// or ctx is done.
//
// The loader reads flash, where a file that ends too early is followed by erased
// bytes; here it is refused (verdict.Truncated). An Intel HEX is verified as the
// bytes from the header on.
func Verify(ctx context.Context, data []byte, target Target) (*Verified, Trace, error) {
	if err := target.Check(); err != nil {
		return nil, nil, err
	}
	l := &loader{ctx: ctx, target: target, data: data}
	defer l.wipe()
	if err := l.run(); err != nil {
		return nil, l.trace, err
	}
	v, err := l.verified()
	return v, l.trace, err
}

// verified asks once more for what the verdict rests on, and not for the steps
// that have passed: what a step leaves behind is not there when its check failed.
func (l *loader) verified() (*Verified, error) {
	w, signature := &l.walk, l.target.Signature
	hashed := w.hashValid || signature == Ed25519Pure
	signed := w.decided != nil && w.failure == nil || signature == HashOnly
	if l.file == nil || !hashed || !signed {
		return nil, errors.New("mcuboot: the checks have passed, and hash or signature were not found to be right")
	}
	complete := !slices.ContainsFunc(l.trace, func(c Check) bool { return c.Status == NotRun })
	return &Verified{l.file, l.hash, w.decided, complete}, nil
}

// TraceWithout makes the same checks and ignores what one of them says, as a
// fault in the loader would: the trace has it as not-run. It is for asking which
// check stands alone, and gives no Verified. An error is the first other refusal,
// or that the loader has nothing to go on with.
func TraceWithout(ctx context.Context, data []byte, target Target, ignored Step) (Trace, error) {
	if err := target.Check(); err != nil {
		return nil, err
	}
	l := &loader{ctx: ctx, target: target, data: data, ignored: ignored}
	defer l.wipe()
	err := l.run()
	return l.trace, err
}

// loader is one look at a slot.
type loader struct {
	ctx     context.Context
	target  Target
	data    []byte
	trace   Trace
	ignored Step // "" but in TraceWithout

	header Header
	key    []byte // content key, nil when the payload is read as it is
	hash   []byte
	walk   walk
	file   *File
}

func (l *loader) wipe() { clear(l.key) }

// step notes what a check found. Its error is a refusal or nothing.
func (l *loader) step(s Step, status Status, detail string, err error) error {
	if err != nil && s == l.ignored && verdict.Of(err) != "" {
		status, detail, err = NotRun, err.Error(), nil
	}
	if err == nil {
		l.trace = append(l.trace, Check{Step: s, Status: status, Detail: detail})
		return nil
	}
	return l.stuck(s, err)
}

// stuck is step for errors after which there is nothing to go on with.
func (l *loader) stuck(s Step, err error) error {
	if reason := verdict.Of(err); reason != "" {
		l.trace = append(l.trace, Check{s, Failed, reason, err.Error()})
	}
	return fmt.Errorf("%s: %w", s, err)
}

func (l *loader) run() error {
	steps := []func() error{l.readHeader, l.checkNonBootable, l.overwriteDowngrade, l.headerValid, l.contentKey, l.validate, l.placement, l.dependencies, l.swapDowngrade, l.structure}
	if l.target.Mode == DirectXIP || l.target.Mode == RAMLoadMode {
		// These modes look at all headers first, then copy to RAM, then validate
		// (boot_load_and_validate_images).
		steps = []func() error{l.readHeader, l.headerValid, l.placement, l.checkNonBootable, l.contentKey, l.validate, l.dependencies, l.structure}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// read returns bytes of the slot, as LOAD_IMAGE_DATA does.
func (l *loader) read(at, n uint64) ([]byte, error) {
	if t := l.target; t.SlotSize != 0 && at+n > uint64(t.slotSize()) {
		return nil, verdict.At(int64(at), verdict.TLVLength, object, "%d bytes pass the end of the slot", n)
	}
	if at+n > uint64(len(l.data)) {
		return nil, verdict.At(int64(len(l.data)), verdict.Truncated, object, "%d bytes at %d are missing", n, at)
	}
	return l.data[at : at+n], nil
}

// readHeader does not judge: the loader reads 32 bytes of whatever is there.
func (l *loader) readHeader() error {
	b, err := l.read(0, MinHeader)
	if err != nil {
		return l.stuck(StepHeader, err)
	}
	l.header, _ = parseHeader(b)
	return nil
}

// checkNonBootable is the first question of boot_validate_slot. Such an image is not
// booted; whether it is valid is still worth knowing.
func (l *loader) checkNonBootable() error {
	if l.header.Flags&NonBootable != 0 {
		return l.step(StepBootable, NotApplicable, "marked as non-bootable: the loader treats the slot as empty", nil)
	}
	return l.step(StepBootable, Passed, "", nil)
}

// overwriteDowngrade comes before all that costs time, and erases the slot.
func (l *loader) overwriteDowngrade() error {
	if l.target.Mode != OverwriteOnly || l.target.Downgrade == AllowDowngrade || l.target.slot() == Primary {
		return nil
	}
	return l.downgrade()
}

// swapDowngrade is check_downgrade_prevention (boot/bootutil/src/loader.c).
func (l *loader) swapDowngrade() error {
	if !l.target.Mode.swaps() || l.target.Downgrade == AllowDowngrade || l.target.slot() == Primary {
		return nil
	}
	return l.downgrade()
}

func (l *loader) downgrade() error {
	if l.target.Installed == nil {
		return l.step(StepDowngrade, NotRun, "the installed version is not known", nil)
	}
	return l.step(StepDowngrade, Passed, fmt.Sprintf("installed is %s", l.target.Installed.Version), l.checkVersion())
}

// checkVersion compares with the installed image, in the modes that do.
func (l *loader) checkVersion() error {
	t := l.target
	switch {
	case t.Installed == nil || t.slot() == Primary || t.Downgrade == AllowDowngrade:
	case t.Mode == OverwriteOnly || t.Mode.swaps() && t.Downgrade == ByVersion:
		if l.header.Version.Compare(t.Installed.Version, t.CompareBuild) < 0 {
			return verdict.At(20, verdict.VersionDowngrade, object, "version %s, installed is %s", l.header.Version, t.Installed.Version)
		}
	case t.Mode.swaps() && t.Installed.Counter != nil:
		counter, err := l.protectedCounter()
		switch {
		case err != nil:
			return err
		case counter < *t.Installed.Counter:
			return verdict.New(verdict.CounterRollback, object, "security counter %d, installed is %d", counter, *t.Installed.Counter)
		}
	}
	return nil
}

// protectedCounter is bootutil_get_img_security_cnt: the first in the protected
// area.
func (l *loader) protectedCounter() (uint32, error) {
	value, ok, err := l.first(TypeCounter, true)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 0, verdict.New(verdict.CounterMissing, object, "no security counter")
	case len(value) != counterSize:
		return 0, verdict.New(verdict.TLVLength, object, "security counter of %d bytes, want %d", len(value), counterSize)
	}
	return binary.LittleEndian.Uint32(value), nil
}

// headerValid is boot_check_header_valid (boot/bootutil/src/bootutil_loader.c).
func (l *loader) headerValid() error {
	return l.step(StepHeader, Passed, fmt.Sprintf("version %s", l.header.Version), l.checkHeader())
}

func (l *loader) checkHeader() error {
	h := l.header
	if got := binary.LittleEndian.Uint32(l.data); got != magic {
		return verdict.At(0, verdict.ImageMagic, object, "begins with 0x%08x, want 0x%08x", got, uint32(magic))
	}
	if err := l.target.checkHeaderSizes(h); err != nil {
		return err
	}
	switch {
	case h.Flags.Encrypted() && l.target.Encryption == NoEncryption:
		return verdict.At(16, verdict.EncryptionNotBuiltIn, object, "encrypted, but the bootloader is built without encryption")
	case h.Flags.Encrypted() && l.target.Mode == DirectXIP:
		return verdict.At(16, verdict.EncryptionMode, object, "encrypted, but direct-xip runs the image where it lies")
	case h.Flags&encryptionFlags == encryptionFlags:
		return verdict.At(16, verdict.EncryptionFlags, object, "flags 0x%x say AES-128 and AES-256", uint32(h.Flags))
	case h.Flags&compressionFlags != 0:
		return verdict.At(16, verdict.CompressionNotBuiltIn, object, "compressed, and the bootloader has no decompressor")
	}
	return nil
}

// placement is about addresses: boot_rom_address_check, the first part of
// boot_load_image_to_sram, and MCUBOOT_CHECK_HEADER_LOAD_ADDRESS, which comes
// after the signature.
func (l *loader) placement() error {
	status, detail := NotApplicable, ""
	switch t := l.target; {
	case t.Mode == RAMLoadMode:
		status = Passed
		if t.RAM == nil {
			status, detail = NotRun, "the RAM to load to is not known"
		}
	case t.Mode == DirectXIP && l.header.Flags&ROMFixed != 0:
		status = Passed
		if t.SlotAddress == nil {
			status, detail = NotRun, "the address of the slot is not known"
		}
	case t.Boot != nil && t.slot() == Secondary && t.Mode != DirectXIP:
		status = Passed
	}
	return l.step(StepPlacement, status, detail, l.checkPlacement())
}

func (l *loader) checkPlacement() error {
	h, t := l.header, l.target
	switch {
	case t.Mode == RAMLoadMode && h.Flags&RAMLoad == 0:
		return verdict.At(16, verdict.LoadAddress, object, "no load address in RAM, and the bootloader only loads to RAM")
	case t.Mode == RAMLoadMode && t.RAM != nil:
		it, err := l.begin(false) // boot_read_image_size
		if err != nil {
			return err
		}
		size := it.end
		if !t.RAM.contains(uint64(h.LoadAddress), size) {
			return verdict.At(4, verdict.LoadAddress, object, "%d bytes at 0x%08x are not in the RAM of %d bytes at 0x%08x", size, h.LoadAddress, t.RAM.Size, t.RAM.Start)
		}
	case t.Mode == DirectXIP && h.Flags&ROMFixed != 0 && t.SlotAddress != nil && h.LoadAddress != *t.SlotAddress:
		return verdict.At(4, verdict.SlotMismatch, object, "linked for a slot at 0x%08x, this one is at 0x%08x", h.LoadAddress, *t.SlotAddress)
	case t.Boot != nil && t.slot() == Secondary && t.Mode != DirectXIP && t.Mode != RAMLoadMode && !t.Boot.contains(uint64(h.LoadAddress), 1):
		return verdict.At(4, verdict.LoadAddress, object, "load address 0x%08x is not in the primary slot of %d bytes at 0x%08x", h.LoadAddress, t.Boot.Size, t.Boot.Start)
	}
	return nil
}

// contentKey is boot_enc_load, where an encrypted payload is decrypted: in the
// secondary slot, and on the way to RAM.
func (l *loader) contentKey() error {
	if !l.header.Flags.Encrypted() || l.target.slot() != Secondary && l.target.Mode != RAMLoadMode {
		return l.step(StepContentKey, NotApplicable, "", nil)
	}
	key, err := l.loadKey()
	l.key = key
	return l.step(StepContentKey, Passed, "", err)
}

func (l *loader) loadKey() ([]byte, error) {
	t := l.target
	p := encryptions[t.Encryption]
	if t.DeviceKey.IsZero() {
		return nil, verdict.New(verdict.RecipientKeyMissing, object, "encrypted, and there is no device key to verify it with")
	}
	value, ok, err := l.first(p.tlv, false)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, verdict.New(verdict.EncryptionTLV, object, "no %s TLV", p.tlv)
	case len(value) != p.size(t.keySize()):
		return nil, verdict.New(verdict.EncryptionTLV, object, "%s of %d bytes, AES-%d makes %d", p.tlv, len(value), 8*t.keySize(), p.size(t.keySize()))
	}
	return p.unwrap(value, t.DeviceKey, t.keySize())
}

// validate is bootutil_img_validate (boot/bootutil/src/image_validate.c).
func (l *loader) validate() error {
	t := l.target
	if t.Signature != Ed25519Pure {
		if err := l.hashImage(); err != nil {
			return l.stuck(StepHash, err)
		}
	} else if err := l.checkPure(); err != nil {
		return l.stuck(StepSignature, err)
	}
	it, err := l.begin(false)
	if err != nil {
		return l.stuck(StepTLVs, err)
	}
	if limit, ok := t.MaxImage(); !ok {
		err = l.step(StepSize, NotRun, "mode and size of the slot are not known", nil)
	} else {
		err = l.step(StepSize, Passed, fmt.Sprintf("%d of %d bytes", it.end, limit), t.checkSize(l.header, int64(it.end)))
	}
	if err != nil {
		return err
	}
	l.walk = walk{target: t, hash: l.hash, signed: l.signed()}
	for {
		e, more, err := it.next()
		if err != nil {
			return l.stuck(StepTLVs, err)
		}
		if !more {
			break
		}
		if step, err := l.walk.visit(e); err != nil {
			if err := l.step(step, Passed, "", err); err != nil {
				return err
			}
		}
	}
	return l.conclude()
}

// signed is header, payload and protected TLVs as they lie in flash, what a pure
// signature is verified over.
func (l *loader) signed() []byte {
	return l.data[:min(l.header.end()+uint64(l.header.ProtectedSize), uint64(len(l.data)))]
}

// hashImage is bootutil_img_hash (boot/bootutil/src/bootutil_img_hash.c).
func (l *loader) hashImage() error {
	size := l.header.end() + uint64(l.header.ProtectedSize)
	if _, err := l.read(0, size); err != nil {
		return err
	}
	h := hashTypes[l.target.hash()].New()
	head, rest := uint64(l.header.HeaderSize), l.data[l.header.end():size]
	h.Write(l.data[:head])
	payload := l.data[head:l.header.end()]
	const chunk = 32 << 10
	if l.key == nil {
		for part := range slices.Chunk(payload, chunk) {
			if err := l.ctx.Err(); err != nil {
				return err
			}
			h.Write(part)
		}
	} else {
		stream, err := keystream(l.key)
		if err != nil {
			return err
		}
		buf := make([]byte, chunk)
		defer clear(buf)
		for part := range slices.Chunk(payload, chunk) {
			if err := l.ctx.Err(); err != nil {
				return err
			}
			stream.XORKeyStream(buf, part)
			h.Write(buf[:len(part)])
		}
	}
	h.Write(rest)
	l.hash = h.Sum(nil)
	return nil
}

// checkPure is bootutil_check_for_pure.
func (l *loader) checkPure() error {
	value, ok, err := l.first(TypePure, false)
	switch {
	case err != nil:
		return err
	case !ok || len(value) != 1 || value[0] != 1:
		return verdict.New(verdict.PureMissing, object, "no SIG_PURE TLV with the value 1, and the bootloader verifies pure signatures only")
	}
	// The loader computes no hash; the size of what it verifies is checked here.
	_, err = l.read(0, l.header.end()+uint64(l.header.ProtectedSize))
	return err
}

// conclude asks for what must have been there.
func (l *loader) conclude() error {
	w, t := &l.walk, l.target
	if err := l.step(StepTLVs, Passed, "", nil); err != nil {
		return err
	}
	if t.Signature == Ed25519Pure {
		l.hash = w.found
	} else {
		var err error
		if !w.hashValid {
			err = verdict.New(verdict.ImageHashMissing, object, "no %s TLV", t.hash())
		}
		if err := l.step(StepHash, Passed, t.hash().String(), err); err != nil {
			return err
		}
	}
	if t.Signature == HashOnly {
		if err := l.step(StepSignature, NotApplicable, "the bootloader verifies none", nil); err != nil {
			return err
		}
	} else {
		detail := ""
		if w.decided != nil {
			detail = fmt.Sprintf("%s by key %s", t.Signature, w.decided)
		}
		if err := l.step(StepSignature, Passed, detail, w.signature()); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		step   Step
		wanted bool
		err    error
		detail string
	}{
		{StepCounter, t.Rollback != nil, w.counterMissing(), fmt.Sprint(w.counter)},
		{StepVendor, t.Vendor != nil, missingUUID(w.vendor, "vendor"), ""},
		{StepClass, t.Class != nil, missingUUID(w.class, "class"), ""},
	} {
		var err error
		if !c.wanted {
			err = l.step(c.step, NotApplicable, "", nil)
		} else {
			err = l.step(c.step, Passed, c.detail, c.err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dependencies is boot_verify_slot_dependencies (boot/bootutil/src/loader.c), in
// builds for more than one image.
func (l *loader) dependencies() error {
	if l.target.Images <= 1 {
		status, detail := NotApplicable, ""
		if _, ok, err := l.first(TypeDependency, true); l.target.Images == 0 && (ok || err != nil) {
			status, detail = NotRun, "the number of images is not known"
		}
		return l.step(StepDependencies, status, detail, nil)
	}
	it, err := l.begin(true)
	if err != nil {
		return l.step(StepDependencies, Passed, "", err)
	}
	var all []Dependency
	for {
		e, more, err := it.next()
		if err != nil {
			return l.step(StepDependencies, Passed, "", err)
		}
		if !more {
			break
		}
		if e.Type != TypeDependency {
			continue
		}
		if len(e.Value) != dependencySize {
			return l.step(StepDependencies, Passed, "", verdict.At(int64(e.at), verdict.TLVLength, object, "dependency of %d bytes, want %d", len(e.Value), dependencySize))
		}
		all = append(all, parseDependency(e.Value))
	}
	status, detail := Passed, ""
	for _, d := range all {
		if _, ok := l.target.Others[d.Image]; !ok && d.Image != l.target.Image {
			status, detail = NotRun, fmt.Sprintf("the version of image %d is not known", d.Image)
		}
	}
	return l.step(StepDependencies, status, detail, l.checkDependencies(all))
}

// checkDependencies compares with the versions that are known. On a device that
// is the update of the other image where one is pending.
func (l *loader) checkDependencies(all []Dependency) error {
	t := l.target
	for _, d := range all {
		if t.Images > 0 && int(d.Image) >= t.Images {
			return verdict.New(verdict.DependencyImage, object, "depends on image %d, and the bootloader has %d, counted from 0", d.Image, t.Images)
		}
		version, ok := t.Others[d.Image]
		if d.Image == t.Image { // nothing keeps an image from asking for itself
			version, ok = l.header.Version, true
		}
		if ok && version.Compare(d.Minimum, t.CompareBuild) < 0 {
			return verdict.New(verdict.DependencyUnmet, object, "needs %s, which is %s", d, version)
		}
	}
	return nil
}

// structure is the one check that the loader does not make: an image whose
// structure Parse refuses is not made by any tool, even where a loader boots it.
func (l *loader) structure() error {
	f, err := Parse(l.data)
	l.file = f
	return l.step(StepStructure, Passed, "", err)
}
