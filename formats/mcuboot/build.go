package mcuboot

import (
	"bytes"
	"cmp"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Options says what to make of a payload. Its names follow those of imgtool.
type Options struct {
	// Artifact names the image in requests and errors; "mcuboot image" if empty.
	Artifact string
	// Target is the bootloader that has to accept the image. Its Keys are not
	// needed and not looked at. What the target says and the image breaks is
	// refused.
	Target  Target
	Version Version

	// HeaderSize is where the payload begins, 32 to 65535 bytes. With PadHeader
	// the header is put in front of the payload and filled with erased flash,
	// without it the payload begins with that many zeros, which the header takes
	// the place of.
	HeaderSize int
	PadHeader  bool

	// Keys sign, in this order; none for HashOnly. A bootloader skips signatures
	// by keys that it does not know and decides by the last that it knows, so that
	// an image with the signatures of an old and a new key boots on devices with
	// either. (imgtool makes one signature.)
	Keys []sign.PublicKey
	// PadSignature fills ECDSA P-256 signatures with zeros to 72 bytes, for
	// bootloaders before 1.5. Builds with Mbed TLS refuse them.
	PadSignature bool

	LoadAddress *uint32 // in RAM; sets RAMLoad
	ROMAddress  *uint32 // in flash, where the image is linked for; sets ROMFixed
	NonBootable bool

	// Counter is the security counter, nil for none. Version.Counter is imgtool's
	// "auto".
	Counter *uint32
	// BootRecord is the software type in the record for measured boot, of 1 to 12
	// characters; "" for no record.
	BootRecord    string
	Dependencies  []Dependency
	Vendor, Class string // UUIDs or texts, see VendorUUID and ClassUUID; "" for none
	Custom        []TLV  // protected; types 0xXXA0 to 0xXXFF, each once

	// Encrypt asks for an encrypted image, nil for a plain one.
	Encrypt *Encrypt

	// Padding needs Target.SlotSize and Target.Mode.
	Padding Padding
}

// Encrypt says for whom an image is encrypted.
type Encrypt struct {
	// To gets the content key that Build draws. The zero Recipient is for images
	// that EncryptFor will make, one for each device: Finish then gives an image
	// with its payload in the clear and without a content key, for Reopen and not
	// for a device.
	To Recipient
	// Clear leaves the payload in the clear beside flag and content key, for the
	// first programming of the primary slot.
	Clear bool
	// AESBits must be what the target has; 0 takes it from there.
	AESBits int
}

// Draft is an image that is complete but for its signatures. It implements
// formats.Unsigned and prints as "[redacted]": it may hold a content key.
type Draft struct {
	redacted
	options  Options
	file     *File // the payload in the clear, no unprotected TLVs
	requests []sign.Request
	hash     []byte
	key      *contentKey // nil when there is no recipient yet
}

// contentKey is an AES key and what tells it to one device.
type contentKey struct {
	key []byte // nil when wiped
	tlv TLV
}

func (k *contentKey) wipe() {
	clear(k.key)
	k.key = nil
}

var _ formats.Unsigned = (*Draft)(nil)

// Build lays out an image of a payload, as formats.Image.Flatten gives it;
// imgtool fills gaps with 0xff. It keeps a reference to the payload.
//
// From random, which is crypto/rand.Reader but in tests, it reads only where
// Options.Encrypt has a recipient: content key, then ephemeral key.
//
// Whatever the target would refuse, and combinations that no bootloader has,
// are refused with a verdict.Reason; the detail says the rule.
func Build(payload []byte, o Options, random io.Reader) (*Draft, error) {
	o.Artifact = cmp.Or(o.Artifact, object)
	if _, ok := signatureTypes[o.Target.Signature]; !ok {
		return nil, o.Target.Check()
	}
	keys := make([]Key, len(o.Keys))
	for i, k := range o.Keys {
		keys[i] = NewKey(k)
	}
	target := o.Target
	target.Keys = keys[:min(len(keys), 1)] // of several a device may know any
	switch {
	case o.Target.Signature == HashOnly && len(keys) > 0:
		return nil, verdict.New(verdict.SignatureType, o.Artifact, "%d keys, but the bootloader verifies no signatures", len(keys))
	case o.Target.Signature != HashOnly && len(keys) == 0:
		return nil, verdict.New(verdict.Unsigned, o.Artifact, "no key, but the bootloader verifies %s", o.Target.Signature)
	case o.Target.Signature == RSA2048 || o.Target.Signature == RSA3072:
		return nil, verdict.New(verdict.SignatureType, o.Artifact, "%s signatures are verified and not made", o.Target.Signature)
	}
	for i, k := range keys {
		switch {
		case !k.Verifies(o.Target.Signature):
			return nil, verdict.New(verdict.SignatureType, o.Artifact, "key %s is for %s, one bootloader verifies one type of signature: %s", k, k.public.Algorithm(), o.Target.Signature)
		case slices.ContainsFunc(o.Keys[:i], o.Keys[i].Equal):
			return nil, verdict.New(verdict.SignatureType, o.Artifact, "key %s signs twice", k)
		}
	}
	if err := target.Check(); err != nil {
		return nil, err
	}
	d := &Draft{options: o}
	if err := d.layOut(payload, keys); err != nil {
		return nil, err
	}
	signed := d.file.appendSigned(nil)
	d.hash = d.digest(signed)
	if err := d.lint(signed); err != nil {
		return nil, err
	}
	if err := d.drawKey(random); err != nil {
		return nil, err
	}
	for _, k := range o.Keys {
		message := signed
		if o.Target.Signature == Ed25519 {
			message = d.hash
		}
		d.requests = append(d.requests, sign.Request{Artifact: o.Artifact, Role: sign.RoleImage, Key: k.ID(), Message: message})
	}
	return d, nil
}

func (d *Draft) digest(b []byte) []byte {
	h := hashTypes[d.options.Target.hash()].New()
	h.Write(b)
	return h.Sum(nil)
}

// layOut makes header, payload and protected TLVs.
func (d *Draft) layOut(payload []byte, keys []Key) error {
	o := d.options
	if o.HeaderSize < MinHeader || o.HeaderSize > MaxHeader {
		return verdict.New(verdict.HeaderSize, o.Artifact, "header of %d bytes, want %d to %d", o.HeaderSize, MinHeader, MaxHeader)
	}
	padding := bytes.Repeat([]byte{o.Target.erased()}, o.HeaderSize-MinHeader)
	if !o.PadHeader {
		if len(payload) < o.HeaderSize || slices.ContainsFunc(payload[:o.HeaderSize], func(b byte) bool { return b != 0 }) {
			return verdict.New(verdict.HeaderPadding, o.Artifact, "the firmware does not begin with %d zero bytes to put the header in", o.HeaderSize)
		}
		padding, payload = payload[MinHeader:o.HeaderSize], payload[o.HeaderSize:]
	}
	if len(payload) == 0 {
		return verdict.New(verdict.EmptyFirmware, o.Artifact, "no bytes after the header")
	}
	f := &File{Padding: padding, Payload: payload}
	var err error
	if f.Protected, err = d.protected(keys); err != nil {
		return err
	}
	h := Header{HeaderSize: uint16(o.HeaderSize), Version: o.Version}
	if len(f.Protected) > 0 {
		n := areaSize(f.Protected)
		if n > maxArea {
			return verdict.New(verdict.TLVLength, o.Artifact, "protected TLVs of %d bytes, at most %d", n, maxArea)
		}
		h.ProtectedSize = uint16(n)
	}
	switch {
	case o.LoadAddress != nil && o.ROMAddress != nil:
		return verdict.New(verdict.LoadAddress, o.Artifact, "the header has one address: of RAM to load to, or of flash to run from")
	case o.LoadAddress != nil:
		h.Flags, h.LoadAddress = RAMLoad, *o.LoadAddress
	case o.ROMAddress != nil:
		h.Flags, h.LoadAddress = ROMFixed, *o.ROMAddress
	}
	if o.NonBootable {
		h.Flags |= NonBootable
	}
	if o.Encrypt != nil {
		h.Flags |= o.Target.aesFlag()
		// imgtool pads header and payload together, with zeros even where flash
		// erases to ones, and counts the padding as payload.
		if n := (o.HeaderSize + len(payload)) % 16; n > 0 {
			f.Payload = append(slices.Clone(payload), make([]byte, 16-n)...)
		}
	}
	if uint64(len(f.Payload)) > 1<<32-1 {
		return verdict.New(verdict.ImageSizes, o.Artifact, "payload of %d bytes, its size has 32 bits", len(f.Payload))
	}
	h.PayloadSize = uint32(len(f.Payload))
	f.Header = h
	d.file = f
	return o.Target.checkHeaderSizes(h)
}

// protected makes the protected TLVs in imgtool's order
// (scripts/imgtool/image.py, create).
func (d *Draft) protected(keys []Key) ([]TLV, error) {
	o := d.options
	var area []TLV
	if o.Counter != nil {
		area = append(area, TLV{TypeCounter, binary.LittleEndian.AppendUint32(nil, *o.Counter)})
	}
	if o.BootRecord != "" {
		record, err := d.bootRecord(keys)
		if err != nil {
			return nil, err
		}
		area = append(area, TLV{TypeBootRecord, record})
	}
	for _, dependency := range o.Dependencies {
		switch {
		case dependency.Image == o.Target.Image:
			return nil, verdict.New(verdict.DependencyImage, o.Artifact, "image %d depends on itself", dependency.Image)
		case o.Target.Images > 0 && int(dependency.Image) >= o.Target.Images:
			return nil, verdict.New(verdict.DependencyImage, o.Artifact, "depends on image %d, and the bootloader has %d, counted from 0: the check would always fail", dependency.Image, o.Target.Images)
		}
		area = append(area, TLV{TypeDependency, dependency.value()})
	}
	var vendor UUID
	if o.Vendor != "" {
		var err error
		if vendor, err = VendorUUID(o.Vendor); err != nil {
			return nil, err
		}
		area = append(area, TLV{TypeVendor, vendor[:]})
	}
	if o.Class != "" {
		if o.Vendor == "" && !isUUID(o.Class) {
			return nil, verdict.New(verdict.UUIDForm, o.Artifact, "class %q is a text, whose UUID is made in the vendor's name space: give the vendor too", o.Class)
		}
		u, err := ClassUUID(vendor, o.Class)
		if err != nil {
			return nil, err
		}
		area = append(area, TLV{TypeClass, u[:]})
	}
	for i, c := range o.Custom {
		switch {
		case !c.Type.vendor():
			return nil, verdict.New(verdict.CustomTLV, o.Artifact, "type 0x%04x is reserved, custom types are 0x..a0 to 0x..ff and not 0xffff", uint16(c.Type))
		case slices.ContainsFunc(o.Custom[:i], func(other TLV) bool { return other.Type == c.Type }):
			return nil, verdict.New(verdict.CustomTLV, o.Artifact, "type 0x%04x twice", uint16(c.Type))
		case len(c.Value) > maxArea:
			return nil, verdict.New(verdict.TLVLength, o.Artifact, "custom TLV 0x%04x of %d bytes, at most %d", uint16(c.Type), len(c.Value), maxArea)
		}
		area = append(area, c)
	}
	return area, nil
}

// maxSoftwareType is the length of a boot record's software type in characters
// (scripts/imgtool/image.py, MAX_SW_TYPE_LENGTH).
const maxSoftwareType = 12

// bootRecord makes the record that the loader completes with the image hash and
// hands to the attestation service (boot/bootutil/src/boot_record.c;
// scripts/imgtool/boot_record.py): a CBOR map in exactly this order, the
// measurement last, because the loader overwrites the last bytes.
func (d *Draft) bootRecord(keys []Key) ([]byte, error) {
	o := d.options
	if !utf8.ValidString(o.BootRecord) || utf8.RuneCountInString(o.BootRecord) > maxSoftwareType {
		return nil, verdict.New(verdict.BootRecordType, o.Artifact, "software type %q, want at most %d characters", o.BootRecord, maxSoftwareType)
	}
	const text, byteString = 0x60, 0x40
	var b []byte
	item := func(key, major byte, value []byte) {
		b = append(b, key)
		if n := len(value); n < 24 {
			b = append(b, major|byte(n))
		} else {
			b = append(b, major|24, byte(n)) // at most 64
		}
		b = append(b, value...)
	}
	hash := hashTypes[o.Target.hash()]
	signer := make([]byte, 32) // imgtool's, whatever the hash
	if len(keys) > 0 {
		signer = keys[0].Hash(hash)
	}
	b = append(b, 0xa5) // five pairs
	item(1, text, []byte(o.BootRecord))
	item(4, text, fmt.Appendf(nil, "%d.%d.%d", o.Version.Major, o.Version.Minor, o.Version.Revision))
	item(5, byteString, signer)
	item(6, text, []byte(o.Target.hash().String()))
	item(2, byteString, make([]byte, hash.Size()))
	return b, nil
}

// lint refuses what the target would, and what no bootloader has. signed is the
// image up to the unprotected area.
func (d *Draft) lint(signed []byte) error {
	o, t, f := d.options, d.options.Target, d.file
	refuse := func(reason verdict.Reason, format string, args ...any) error {
		return verdict.New(reason, o.Artifact, format, args...)
	}
	if e := o.Encrypt; e != nil {
		switch {
		case t.Encryption == NoEncryption:
			return refuse(verdict.EncryptionNotBuiltIn, "encrypted, but the bootloader is built without encryption")
		case e.AESBits != 0 && e.AESBits != 8*t.keySize():
			return refuse(verdict.AESLength, "AES-%d, but one build takes one key length: AES-%d", e.AESBits, 8*t.keySize())
		case t.Mode == DirectXIP:
			return refuse(verdict.EncryptionMode, "direct-xip runs the image where it lies and cannot decrypt it")
		case t.Mode == SingleSlot && !e.Clear:
			return refuse(verdict.EncryptionMode, "the loader decrypts in the secondary slot, and single-slot has none")
		case t.slot() == Primary && t.Mode != RAMLoadMode && !e.Clear:
			return refuse(verdict.EncryptionMode, "the primary slot holds the payload in the clear: ask for that")
		case t.Signature == Ed25519Pure:
			return refuse(verdict.EncryptionMode, "a pure signature is verified over the bytes in flash, which would be encrypted")
		case e.To.public != nil && e.To.public.Curve() != encryptions[t.Encryption].curve:
			return refuse(verdict.EncryptionTLV, "recipient key is on %s, the bootloader decrypts with %s", e.To.public.Curve(), t.Encryption)
		}
	}
	if o.PadSignature && t.Signature != ECDSAP256 {
		return refuse(verdict.SignatureType, "only ECDSA P-256 signatures were ever padded")
	}
	if o.PadSignature && t.crypto() == MbedTLS {
		return refuse(verdict.SignatureType, "Mbed TLS refuses bytes after a signature")
	}
	if o.Padding < NoPadding || o.Padding > Confirm {
		return fmt.Errorf("mcuboot: %s: padding %d: %w", o.Artifact, o.Padding, ErrTarget)
	}
	if o.Padding != NoPadding && (t.SlotSize == 0 || t.Mode == ModeUnknown) {
		return fmt.Errorf("mcuboot: %s: padding needs slot size and mode: %w", o.Artifact, ErrTarget)
	}
	longest := d.longestArea()
	n := areaSize(longest)
	if n > maxArea {
		return refuse(verdict.TLVLength, "unprotected TLVs of %d bytes, at most %d", n, maxArea)
	}
	if err := t.checkSize(f.Header, int64(len(signed)+n)); err != nil {
		return err
	}
	if o.NonBootable {
		return nil // no loader looks at the rest
	}
	l := loader{target: t, header: f.Header, data: appendArea(signed, magicUnprotected, longest)}
	if err := l.checkPlacement(); err != nil {
		return err
	}
	if err := l.checkVersion(); err != nil {
		return err
	}
	if err := checkProtected(t, f); err != nil {
		return err
	}
	return l.checkDependencies(o.Dependencies)
}

// longestArea is the unprotected area with the longest that signatures can be,
// and a content key.
func (d *Draft) longestArea() []TLV {
	area := d.unprotected(nil)
	for _, k := range d.options.Keys {
		n := k.Algorithm().SignatureSize()
		if k.Algorithm().Prehashed() {
			n += 8 // SEQUENCE, two INTEGERs, and a zero byte before each
		}
		area = append(area, d.keyTLVFor(k), TLV{Value: make([]byte, n)})
	}
	if d.options.Encrypt != nil {
		t := d.options.Target
		area = append(area, TLV{Value: make([]byte, encryptions[t.Encryption].size(t.keySize()))})
	}
	return area
}

// checkProtected makes the checks of the loader over protected TLVs.
func checkProtected(t Target, f *File) error {
	if n := len(f.Protected); n > 0 && len(f.Protected[n-1].Value) == 0 && !t.AnyTLV {
		// bootutil_tlv_iter_is_prot (boot/bootutil/src/tlv.c) asks where the value begins.
		return verdict.New(verdict.TLVNotAllowed, object, "%s is the last protected TLV and has no bytes: the bootloader takes it for an unprotected one", f.Protected[n-1].Type)
	}
	w := walk{target: t}
	for _, e := range f.Protected {
		if err := w.visitIdentity(0, e.Type, e.Value); err != nil {
			return err
		}
	}
	return w.missing()
}

// drawKey draws the content key of Options.Encrypt.To.
func (d *Draft) drawKey(random io.Reader) error {
	e := d.options.Encrypt
	if e == nil || e.To.public == nil {
		return nil
	}
	var err error
	d.key, err = newContentKey(d.options.Target.Encryption, d.options.Target.keySize(), e.To, random)
	return err
}

// newContentKey draws a content key and encrypts it.
func newContentKey(e Encryption, keySize int, to Recipient, random io.Reader) (*contentKey, error) {
	key := make([]byte, keySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("mcuboot: content key: %w", err)
	}
	p := encryptions[e]
	value, err := p.wrap(key, to, random)
	if err != nil {
		clear(key)
		return nil, err
	}
	return &contentKey{key, TLV{p.tlv, value}}, nil
}

// unprotected makes the unprotected TLVs in imgtool's order, one signature
// after the other. The caller has checked their number.
func (d *Draft) unprotected(signatures []sign.Signature) []TLV {
	t := d.options.Target
	area := []TLV{{t.hash(), d.hash}}
	if t.Signature == Ed25519Pure {
		area = append(area, TLV{TypePure, []byte{1}})
	}
	for i, s := range signatures {
		encoding := sign.DER
		if s.Algorithm() == sign.Ed25519 {
			encoding = sign.Raw
		}
		value := s.Encode(encoding)
		if d.options.PadSignature {
			value = append(value, make([]byte, max(0, paddedSignature-len(value)))...)
		}
		area = append(area, d.keyTLVFor(d.options.Keys[i]), TLV{signatureTypes[t.Signature].tlv, value})
	}
	return area
}

// paddedSignature is the length of a padded P-256 signature.
const paddedSignature = 72

// keyTLVFor names a key in the way that the target looks keys up.
func (d *Draft) keyTLVFor(k sign.PublicKey) TLV {
	if d.options.Target.KeyMatch == FullKey {
		return TLV{TypePublicKey, k.DER()}
	}
	return TLV{TypeKeyHash, NewKey(k).Hash(hashTypes[d.options.Target.hash()])}
}

// Requests returns one signing request per key. The message is what the key
// signs: the image from its header to its protected TLVs, or for Ed25519 the
// image hash.
func (d *Draft) Requests() []sign.Request { return d.requests }

// Hash returns the image hash, which names the image whatever its signatures and
// recipients are.
func (d *Draft) Hash() []byte { return bytes.Clone(d.hash) }

// Finish returns the signed image: Sign, then Signed.Bytes.
func (d *Draft) Finish(signatures []sign.Signature) ([]byte, error) {
	s, err := d.Sign(signatures)
	if err != nil {
		return nil, err
	}
	return s.Bytes()
}

// Sign puts the signatures, in the order of Requests, into the image. It
// verifies each with its key first: an image that its own keys refuse is never
// returned.
func (d *Draft) Sign(signatures []sign.Signature) (*Signed, error) {
	o := d.options
	if len(signatures) != len(o.Keys) {
		return nil, fmt.Errorf("mcuboot: %s: %d signatures for %d keys", o.Artifact, len(signatures), len(o.Keys))
	}
	for i, s := range signatures {
		if err := o.Keys[i].Verify(d.requests[i].Message, s); err != nil {
			return nil, fmt.Errorf("mcuboot: %s: %w", o.Artifact, err)
		}
	}
	f := *d.file
	f.Unprotected = d.unprotected(signatures)
	s := &Signed{file: &f, target: o.Target, padding: o.Padding, key: d.key}
	s.clear = o.Encrypt != nil && o.Encrypt.Clear
	size := int64(f.Header.end()) + int64(f.Header.ProtectedSize) + int64(areaSize(s.area(d.key)))
	if err := o.Target.checkSize(f.Header, size); err != nil {
		return nil, err
	}
	return s, nil
}

// Signed is a signed image with its payload in the clear, of which files for
// devices are made. Signing does not depend on how a file is encrypted. It prints
// as "[redacted]".
type Signed struct {
	redacted
	file    *File // payload in the clear, no encryption TLV
	target  Target
	padding Padding
	key     *contentKey // of the draft's recipient
	clear   bool        // leave the payload of Bytes in the clear
}

var (
	errNotMarked = errors.New("mcuboot: image is not marked as encrypted, and flags are signed")
	errWiped     = errors.New("mcuboot: the content key was wiped")
)

// Wipe overwrites the content key, which the images that Sign returned share.
// What needed it fails from then on.
func (d *Draft) Wipe() {
	if d.key != nil {
		d.key.wipe()
	}
}

// Bytes returns the file: encrypted for the recipient of Options.Encrypt.To
// where there is one, unless Clear was asked for.
func (s *Signed) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if err := s.write(&b, s.key, s.clear); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// EncryptFor writes a file for one device key, with a content key of its own:
// hash and signatures stay as they are. It reads content key and ephemeral key
// from random, and streams: besides the image it takes a fixed amount of memory.
// It may be called for many recipients at once.
func (s *Signed) EncryptFor(w io.Writer, to Recipient, random io.Reader) error {
	return s.emit(w, to, random, false)
}

// ClearFor is EncryptFor with the payload in the clear, for the primary slot of
// that device.
func (s *Signed) ClearFor(w io.Writer, to Recipient, random io.Reader) error {
	return s.emit(w, to, random, true)
}

func (s *Signed) emit(w io.Writer, to Recipient, random io.Reader, inClear bool) error {
	if !s.file.Header.Flags.Encrypted() {
		return errNotMarked
	}
	key, err := newContentKey(s.target.Encryption, s.target.keySize(), to, random)
	if err != nil {
		return err
	}
	defer key.wipe()
	return s.write(w, key, inClear)
}

// area is the unprotected area of a file with a content key, or without.
func (s *Signed) area(key *contentKey) []TLV {
	if key == nil {
		return s.file.Unprotected
	}
	return append(slices.Clone(s.file.Unprotected), key.tlv)
}

// write emits the file, encrypted where there is a key.
func (s *Signed) write(w io.Writer, key *contentKey, inClear bool) error {
	f := s.file
	var stream cipher.Stream
	if key != nil {
		if key.key == nil {
			return errWiped
		}
		var err error
		if stream, err = keystream(key.key); err != nil {
			return err
		}
	}
	if inClear {
		stream = nil
	}
	if _, err := w.Write(append(f.Header.append(make([]byte, 0, f.Header.HeaderSize)), f.Padding...)); err != nil {
		return err
	}
	if err := writePayload(w, f.Payload, stream); err != nil {
		return err
	}
	var tail []byte
	if f.Header.ProtectedSize != 0 {
		tail = appendArea(tail, magicProtected, f.Protected)
	}
	tail = appendArea(tail, magicUnprotected, s.area(key))
	if _, err := w.Write(tail); err != nil {
		return err
	}
	return s.writeTrailer(w, int64(f.Header.end())+int64(len(tail)))
}

// writePayload encrypts piece by piece.
func writePayload(w io.Writer, payload []byte, stream cipher.Stream) error {
	if stream == nil || len(payload) == 0 {
		_, err := w.Write(payload)
		return err
	}
	buf := make([]byte, min(32<<10, len(payload)))
	for part := range slices.Chunk(payload, len(buf)) {
		stream.XORKeyStream(buf, part)
		if _, err := w.Write(buf[:len(part)]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Signed) writeTrailer(w io.Writer, at int64) error {
	fill := func(end int64) error {
		filler := bytes.Repeat([]byte{s.target.erased()}, int(min(max(end-at, 0), 32<<10)))
		for at < end {
			n, err := w.Write(filler[:min(end-at, int64(len(filler)))])
			if err != nil {
				return err
			}
			at += int64(n)
		}
		return nil
	}
	for _, field := range s.target.trailer(s.padding) {
		if err := fill(field.offset); err != nil {
			return err
		}
		n, err := w.Write(field.data)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// Image returns the file for an Intel HEX: the image at base, the address of its
// header, and the fields of the trailer as segments of their own, with nothing in
// between (scripts/imgtool/image.py, save).
func (s *Signed) Image(base uint32) (formats.Image, error) {
	plain := *s
	plain.padding = NoPadding
	data, err := plain.Bytes()
	if err != nil {
		return formats.Image{}, err
	}
	segments := []formats.Segment{{Addr: base, Data: data}}
	for _, field := range s.target.trailer(s.padding) {
		at := uint64(base) + uint64(field.offset)
		if at > 1<<32-1 {
			return formats.Image{}, verdict.New(verdict.AddressRange, object, "trailer at 0x%x is past the 32-bit address space", at)
		}
		segments = append(segments, formats.Segment{Addr: uint32(at), Data: field.data})
	}
	return formats.NewImage(segments)
}

// Reopen takes a signed image with its payload in the clear and the flags of an
// encrypted one, as Finish without a recipient, imgtool --clear and Decrypt give
// it, to make files for devices of it. An encryption TLV and what follows the TLV
// area are left behind. The target says how devices decrypt, and how large their
// slots are; padding as in Options.
//
// The payload is compared with the image hash. Signatures are for Verify.
func Reopen(data []byte, target Target, padding Padding) (*Signed, error) {
	f, err := Parse(data)
	switch {
	case err != nil:
		return nil, err
	case !f.Header.Flags.Encrypted():
		return nil, verdict.New(verdict.EncryptionFlags, object, "is not marked as encrypted, and flags are signed")
	case target.Encryption == NoEncryption:
		return nil, verdict.New(verdict.EncryptionNotBuiltIn, object, "encrypted, but the bootloader is built without encryption")
	case f.Header.Flags&encryptionFlags != target.aesFlag():
		return nil, verdict.New(verdict.AESLength, object, "marked as %s, and the bootloader takes AES-%d", f.Header.Flags&encryptionFlags, 8*target.keySize())
	case padding != NoPadding && (target.SlotSize == 0 || target.Mode == ModeUnknown):
		return nil, fmt.Errorf("mcuboot: padding needs slot size and mode: %w", ErrTarget)
	}
	if err := f.checkHash(); err != nil {
		return nil, err
	}
	f.Unprotected = slices.DeleteFunc(f.Unprotected, func(e TLV) bool { return e.Type.isEncryption() })
	f.Tail = nil
	n := areaSize(f.Unprotected) + entrySize + encryptions[target.Encryption].size(target.keySize())
	if n > maxArea {
		return nil, verdict.New(verdict.TLVLength, object, "unprotected TLVs of %d bytes, at most %d", n, maxArea)
	}
	if err := target.checkSize(f.Header, int64(f.Header.end())+int64(f.Header.ProtectedSize)+int64(n)); err != nil {
		return nil, err
	}
	return &Signed{file: f, target: target, padding: padding, clear: true}, nil
}
