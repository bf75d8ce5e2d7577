package mcuboot

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign"
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
	complete := !slices.ContainsFunc(l.trace, func(c Check) bool { return c.Status == NotRun })
	return &Verified{l.file, l.hash, l.walk.decided, complete}, l.trace, nil
}

// loader is one look at a slot.
type loader struct {
	ctx    context.Context
	target Target
	data   []byte
	trace  Trace

	header Header
	key    []byte // content key, nil when the payload is read as it is
	hash   []byte
	walk   walk
	file   *File
}

func (l *loader) wipe() { clear(l.key) }

// step notes what a check found. Its error is a refusal or nothing.
func (l *loader) step(s Step, status Status, detail string, err error) error {
	if err == nil {
		l.trace = append(l.trace, Check{Step: s, Status: status, Detail: detail})
		return nil
	}
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
		return l.step(StepHeader, Passed, "", err)
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

// iterator walks TLVs as bootutil_tlv_iter_next does (boot/bootutil/src/tlv.c).
// Unlike Parse it does not stop at the border between the areas: what counts for
// an entry is the end of both.
type iterator struct {
	loader       *loader
	onlyProt     bool
	at           uint64
	protEnd, end uint64
}

// begin is bootutil_tlv_iter_begin.
func (l *loader) begin(onlyProtected bool) (*iterator, error) {
	at := l.header.end()
	protected := uint64(l.header.ProtectedSize)
	info, err := l.read(at, infoSize)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(info) == magicProtected {
		if total := uint64(le.Uint16(info[2:])); total != protected {
			return nil, verdict.At(int64(at), verdict.ProtectedSize, object, "protected TLV area of %d bytes, the header says %d", total, protected)
		}
		if info, err = l.read(at+protected, infoSize); err != nil {
			return nil, err
		}
	} else if protected != 0 {
		return nil, verdict.At(int64(at), verdict.ProtectedSize, object, "no protected TLV area, the header says %d bytes", protected)
	}
	if got := le.Uint16(info); got != magicUnprotected {
		return nil, verdict.At(int64(at+protected), verdict.TLVMagic, object, "TLV area begins with 0x%04x, want 0x%04x", got, magicUnprotected)
	}
	end := at + protected + uint64(le.Uint16(info[2:]))
	return &iterator{loader: l, onlyProt: onlyProtected, at: at + infoSize, protEnd: at + protected, end: end}, nil
}

// entry is a TLV and where its header lies.
type entry struct {
	TLV
	at        uint64
	protected bool
}

// next returns the next entry; more is false after the last.
func (it *iterator) next() (e entry, more bool, err error) {
	for it.at < it.end {
		switch {
		case it.onlyProt && it.at >= it.protEnd:
			return entry{}, false, nil
		case it.loader.header.ProtectedSize > 0 && it.at == it.protEnd:
			it.at += infoSize
			continue
		}
		end := it.end
		if it.onlyProt {
			end = it.protEnd
		}
		if end-it.at < entrySize {
			return entry{}, false, verdict.At(int64(it.at), verdict.TLVLength, object, "%d bytes left in the TLV area, an entry begins with %d", end-it.at, entrySize)
		}
		head, err := it.loader.read(it.at, entrySize)
		if err != nil {
			return entry{}, false, err
		}
		kind, length := Type(binary.LittleEndian.Uint16(head)), uint64(binary.LittleEndian.Uint16(head[2:]))
		if length > end-it.at-entrySize {
			return entry{}, false, verdict.At(int64(it.at), verdict.TLVLength, object, "%s of %d bytes passes the end of the TLV area", kind, length)
		}
		value, err := it.loader.read(it.at+entrySize, length)
		if err != nil {
			return entry{}, false, err
		}
		e := entry{TLV{kind, value}, it.at, it.at+entrySize < it.protEnd}
		it.at += entrySize + length
		return e, true, nil
	}
	return entry{}, false, nil
}

// first finds the first entry of a type, malformed ones before it being errors.
func (l *loader) first(t Type, onlyProtected bool) (value []byte, ok bool, err error) {
	it, err := l.begin(onlyProtected)
	if err != nil {
		return nil, false, err
	}
	for {
		if e, more, err := it.next(); !more || e.Type == t {
			return e.Value, more, err
		}
	}
}

// validate is bootutil_img_validate (boot/bootutil/src/image_validate.c).
func (l *loader) validate() error {
	t := l.target
	if t.Signature != Ed25519Pure {
		if err := l.hashImage(); err != nil {
			return l.step(StepHash, Passed, "", err)
		}
	} else if err := l.checkPure(); err != nil {
		return l.step(StepSignature, Passed, "", err)
	}
	it, err := l.begin(false)
	if err != nil {
		return l.step(StepTLVs, Passed, "", err)
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
			return l.step(StepTLVs, Passed, "", err)
		}
		if !more {
			break
		}
		if step, err := l.walk.visit(e); err != nil {
			return l.step(step, Passed, "", err)
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

// counterSize is the length of a security counter.
const counterSize = 4

// walk is what the loop over all TLVs keeps.
type walk struct {
	target Target
	hash   []byte // computed
	signed []byte // what a pure signature covers

	hashValid bool
	found     []byte // image hash of the file, as it stands there
	matched   *Key   // of the key TLV before; nil when it is not one of the device's
	begun     bool   // the built-in key has been used up
	any       bool   // a signature of the bootloader's type is there
	decided   *Key   // of the last signature that was verified
	failure   error  // of that signature

	counter                  uint32
	counterOK, vendor, class bool
}

// allowed is the list of types for the unprotected area
// (boot/bootutil/src/image_validate.c, allowed_unprot_tlvs).
func (w *walk) allowed(t Type) bool {
	switch t {
	case TypeKeyHash, TypePublicKey, TypeSHA256, TypeSHA384, TypeSHA512, TypeRSA2048, TypeECDSA224, TypeECDSA, TypeRSA3072, TypeEd25519,
		TypeEncRSA, TypeEncKW, TypeEncP256:
		return true
	case TypePure:
		return w.target.Signature == Ed25519Pure
	case TypeEncX25519:
		return w.target.Encryption != ECIESX25519SHA512
	case TypeEncX25519H5:
		return w.target.Encryption == ECIESX25519SHA512
	default:
		return false
	}
}

// visit makes the loader's checks of one entry. A refusal ends the walk.
func (w *walk) visit(e entry) (Step, error) {
	t := w.target
	if !t.AnyTLV && !e.protected && !w.allowed(e.Type) {
		return StepTLVs, verdict.At(int64(e.at), verdict.TLVNotAllowed, object, "%s outside the protected area is not on the bootloader's list", e.Type)
	}
	kind := signatureTypes[t.Signature]
	switch {
	case e.Type == t.hash():
		return StepHash, w.visitHash(e)
	case t.Signature == HashOnly:
	case e.Type == TypeKeyHash && (t.KeyMatch == ByKeyHash || t.KeyMatch == AnyKeyHash), e.Type == TypePublicKey && t.KeyMatch == FullKey:
		return StepSignature, w.visitKey(e)
	case e.Type == kind.tlv:
		return StepSignature, w.visitSignature(e)
	}
	if err := w.visitIdentity(int64(e.at), e.Type, e.Value); err != nil {
		step := map[Type]Step{TypeCounter: StepCounter, TypeVendor: StepVendor, TypeClass: StepClass}[e.Type]
		return step, err
	}
	return StepTLVs, nil
}

func (w *walk) visitHash(e entry) error {
	w.found = e.Value
	switch {
	case w.target.Signature == Ed25519Pure: // not looked at
		return nil
	case len(e.Value) != len(w.hash):
		return verdict.At(int64(e.at), verdict.TLVLength, object, "%s of %d bytes", e.Type, len(e.Value))
	case subtle.ConstantTimeCompare(e.Value, w.hash) != 1:
		return verdict.At(int64(e.at), verdict.ImageDigestMismatch, object, "%s is not that of the image", e.Type)
	}
	w.hashValid = true
	return nil
}

// visitKey is bootutil_find_key. A key that is not known is no refusal: others
// may follow.
func (w *walk) visitKey(e entry) error {
	t := w.target
	hash := hashTypes[t.hash()]
	limit := hash.Size()
	if t.KeyMatch == FullKey {
		limit = w.signatureLimit() + 24
	}
	if len(e.Value) > limit {
		return verdict.At(int64(e.at), verdict.TLVLength, object, "%s of %d bytes, the bootloader takes %d", e.Type, len(e.Value), limit)
	}
	w.matched = nil
	for i, k := range t.Keys {
		match := false
		switch t.KeyMatch {
		case ByKeyHash: // memcmp over the length of the TLV: a shorter hash, even an empty one, matches too
			match = subtle.ConstantTimeCompare(k.Hash(hash)[:len(e.Value)], e.Value) == 1
		case FullKey: // the device compares hashes of the whole key
			match = subtle.ConstantTimeCompare(k.der, e.Value) == 1
		case AnyKeyHash:
			match = true
		case BuiltinKey: // reads no key TLV
		}
		if match {
			w.matched = &t.Keys[i]
			break
		}
	}
	return nil
}

// signatureLimit is SIG_BUF_SIZE.
func (w *walk) signatureLimit() int {
	switch w.target.Signature {
	case Ed25519, Ed25519Pure:
		return 64
	case RSA2048:
		return 256
	case RSA3072:
		return 384
	case ECDSAP256, ECDSAP384, HashOnly:
	}
	return maxSignature
}

// visitSignature verifies with the key that was named before. Signatures without
// one are skipped, and of the others the last decides.
func (w *walk) visitSignature(e entry) error {
	t := w.target
	w.any = true
	key := w.matched
	if t.KeyMatch == BuiltinKey && !w.begun {
		key, w.begun = &t.Keys[0], true
	}
	w.matched = nil
	if key == nil {
		return nil
	}
	limit := w.signatureLimit()
	exact := t.Signature != ECDSAP256 && t.Signature != ECDSAP384
	if n := len(e.Value); n > limit || exact && n != limit {
		return verdict.At(int64(e.at), verdict.TLVLength, object, "%s of %d bytes, the bootloader takes %d", e.Type, n, limit)
	}
	w.decided, w.failure = key, nil
	if err := w.verifySignature(*key, e.Value); err != nil {
		w.failure = &verdict.Error{Reason: verdict.SignatureInvalid, Object: object, Offset: int64(e.at),
			Detail: fmt.Sprintf("signature by key %s does not verify", key), Err: err}
	}
	return nil
}

func (w *walk) verifySignature(k Key, value []byte) error {
	t := w.target
	switch t.Signature {
	case ECDSAP256, ECDSAP384:
		s, err := readECDSA(t.crypto(), k.public.Algorithm(), value)
		if err != nil {
			return err
		}
		return k.public.VerifyDigest(w.hash, s)
	case Ed25519, Ed25519Pure:
		s, err := sign.ParseSignature(sign.Ed25519, sign.Raw, value)
		if err != nil {
			return err
		}
		if t.Signature == Ed25519Pure {
			return k.public.Verify(w.signed, s)
		}
		return k.public.Verify(w.hash, s)
	case RSA2048, RSA3072:
		return rsa.VerifyPSS(k.rsa, crypto.SHA256, w.hash, value, &rsa.PSSOptions{SaltLength: crypto.SHA256.Size(), Hash: crypto.SHA256})
	case HashOnly:
	}
	return fmt.Errorf("%s: %w", t.Signature, ErrTarget)
}

// signature is the verdict about signatures after the walk.
func (w *walk) signature() error {
	switch {
	case w.decided != nil:
		return w.failure
	case w.any:
		return verdict.New(verdict.NoKnownKey, object, "no signature comes after a key TLV that names one of the device's keys")
	}
	return verdict.New(verdict.Unsigned, object, "no %s TLV", signatureTypes[w.target.Signature].tlv)
}

// visitIdentity checks what says that an image is for this device and now.
func (w *walk) visitIdentity(at int64, kind Type, value []byte) error {
	t := w.target
	switch {
	case kind == TypeCounter && t.Rollback != nil:
		if len(value) != counterSize {
			return verdict.At(at, verdict.TLVLength, object, "security counter of %d bytes, want %d", len(value), counterSize)
		}
		w.counter = binary.LittleEndian.Uint32(value)
		if w.counter < *t.Rollback {
			return verdict.At(at, verdict.CounterRollback, object, "security counter %d, the device has %d", w.counter, *t.Rollback)
		}
		w.counterOK = true
	case kind == TypeVendor && t.Vendor != nil:
		if err := compareUUID(at, kind, value, *t.Vendor, verdict.VendorMismatch); err != nil {
			return err
		}
		w.vendor = true
	case kind == TypeClass && t.Class != nil:
		if err := compareUUID(at, kind, value, *t.Class, verdict.ClassMismatch); err != nil {
			return err
		}
		w.class = true
	}
	return nil
}

func compareUUID(at int64, kind Type, value []byte, want UUID, mismatch verdict.Reason) error {
	switch {
	case len(value) != len(want):
		return verdict.At(at, verdict.TLVLength, object, "%s of %d bytes, want %d", kind, len(value), len(want))
	case subtle.ConstantTimeCompare(value, want[:]) != 1:
		return verdict.At(at, mismatch, object, "%s %s, the device has %s", kind, UUID(value), want)
	}
	return nil
}

func (w *walk) counterMissing() error {
	if w.counterOK {
		return nil
	}
	return verdict.New(verdict.CounterMissing, object, "no security counter, and the bootloader has rollback protection")
}

func missingUUID(seen bool, what string) error {
	if seen {
		return nil
	}
	return verdict.New(verdict.UUIDMissing, object, "no %s identifier, and the bootloader compares it", what)
}

// missing asks for what the target wants and the walk did not see.
func (w *walk) missing() error {
	t := w.target
	switch {
	case t.Rollback != nil && !w.counterOK:
		return w.counterMissing()
	case t.Vendor != nil && !w.vendor:
		return missingUUID(false, "vendor")
	case t.Class != nil && !w.class:
		return missingUUID(false, "class")
	}
	return nil
}
