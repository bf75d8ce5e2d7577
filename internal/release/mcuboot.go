package release

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// mcubootFormat is an MCUboot build and how images for it are made.
type mcubootFormat struct {
	options mcuboot.Options // without version and counter; Keys sign
	counter string          // as config.MCUboot.Counter
	trust   []sign.PublicKey
	device  mcuboot.DeviceKey // of a rehearsal
	copies  []mcubootCopy

	recipients []mcubootRecipient // all of them, for the lint
}

// mcubootRecipient is a device key and the file that it was read from.
type mcubootRecipient struct {
	file string
	key  mcuboot.Recipient
}

// mcubootCopy is a device that gets a file of its own.
type mcubootCopy struct {
	name string
	to   mcuboot.Recipient
}

// maxMCUbootPayload bounds a firmware in bytes where no slot size does.
const maxMCUbootPayload = 16 << 20

func (p *Project) mcubootFormat(c config.Component) (*mcubootFormat, error) {
	m, path := c.MCUboot, "components."+c.Name+".mcuboot"
	bad := func(field, format string, args ...any) error {
		if field != "" {
			field = "." + field
		}
		return p.cfg.Errorf(path+field, format, args...)
	}
	options, err := MCUbootOptions(m, bad)
	if err != nil {
		return nil, err
	}
	f := &mcubootFormat{options: options, counter: m.Counter}
	o := &f.options
	o.Artifact = c.Name + " image"
	switch t := o.Target; {
	case t.Signature == 0 || t.Mode == mcuboot.ModeUnknown:
		return nil, bad("", "has no profile, so that signature and mode are needed")
	case o.HeaderSize == 0:
		return nil, bad("", "has neither a profile nor a header-size")
	case t.SlotSize == 0:
		return nil, bad("", "needs a slot-size: whether an image fits depends on it")
	}
	for _, alias := range m.Signing.Sign {
		o.Keys = append(o.Keys, p.keys[alias])
	}
	for _, alias := range m.Signing.Trust {
		f.trust = append(f.trust, p.keys[alias])
	}
	if err := p.mcubootRecipients(f, c); err != nil {
		return nil, err
	}
	target := o.Target
	for _, k := range slices.Concat(o.Keys, f.trust) {
		key := mcuboot.NewKey(k)
		if !key.Verifies(target.Signature) {
			return nil, bad("signing", "the bootloader verifies %s, key %s is for %s: name another key, or say mcuboot.signature as the bootloader was built",
				target.Signature, p.alias(k.ID()), k.Algorithm())
		}
		target.Keys = append(target.Keys, key)
	}
	if err := target.Check(); err != nil {
		return nil, bad("", "%v", err)
	}
	return f, nil
}

// MCUbootOptions puts what m says over its profile. Keys, version, counter and
// recipients are left to the caller. Bad makes an error about a field of m, which
// it calls as otapack.yaml does, or about m as a whole.
func MCUbootOptions(m *config.MCUboot, bad func(field, format string, args ...any) error) (mcuboot.Options, error) {
	var o mcuboot.Options
	if m.Profile != "" {
		profile, err := mcuboot.ProfileByName(m.Profile)
		if err != nil {
			return o, bad("profile", "%v", err)
		}
		o.Target, o.HeaderSize, o.PadHeader = profile.Target, profile.HeaderSize, profile.PadHeader
	}
	if err := mcubootTarget(&o.Target, m, bad); err != nil {
		return o, err
	}
	setInt(&o.HeaderSize, m.HeaderSize)
	set(&o.PadHeader, m.PadHeader)
	switch m.Padding {
	case "pad":
		o.Padding = mcuboot.Pad
	case "confirm":
		o.Padding = mcuboot.Confirm
	}
	o.BootRecord, o.Vendor, o.Class = m.BootRecord, m.Vendor, m.Class
	o.LoadAddress, o.ROMAddress = address(m.LoadAddress), address(m.ROMAddress)
	if o.Target.Mode == mcuboot.DirectXIP {
		o.Target.SlotAddress = o.ROMAddress
	}
	for _, d := range m.Dependencies {
		minimum, err := mcuboot.ParseVersion(d.Version)
		if err != nil {
			return o, bad(fmt.Sprintf("dependencies.%d", d.Image), "%v", err)
		}
		o.Dependencies = append(o.Dependencies, mcuboot.Dependency{Image: uint8(d.Image), Minimum: minimum})
	}
	return o, nil
}

// mcubootTarget puts what m says over what its profile says.
func mcubootTarget(t *mcuboot.Target, m *config.MCUboot, bad func(field, format string, args ...any) error) error {
	var err error
	if m.Signature != "" {
		if t.Signature, err = mcuboot.ParseSignatureType(m.Signature); err != nil {
			return bad("signature", "%v", err)
		}
	}
	if m.Mode != "" {
		if t.Mode, err = mcuboot.ParseMode(m.Mode); err != nil {
			return bad("mode", "%v", err)
		}
	}
	if m.Encryption != "" {
		if t.Encryption, err = mcuboot.ParseEncryption(m.Encryption); err != nil {
			return bad("encryption", "%v", err)
		}
	}
	for _, size := range []struct {
		to   *uint32
		from *uint64
	}{
		{&t.SlotSize, m.SlotSize},
		{&t.SecondarySize, m.SecondarySize},
		{&t.SectorSize, m.SectorSize},
		{&t.WriteSize, m.WriteSize},
		{&t.MaxAlign, m.MaxAlign},
		{&t.MaxSectors, m.MaxSectors},
	} {
		if size.from != nil {
			*size.to = uint32(*size.from) // config has checked the range
		}
	}
	setInt(&t.AESBits, m.AESBits)
	setInt(&t.Images, m.Images)
	if m.Image != nil {
		t.Image = uint8(*m.Image)
	}
	set(&t.SaveEncTLV, m.SaveEncTLV)
	if m.AllowList != nil {
		t.AnyTLV = !*m.AllowList
	}
	if m.FullKey {
		t.KeyMatch = mcuboot.FullKey
	}
	if m.Rollback != nil {
		t.Rollback = nil
		if *m.Rollback {
			t.Rollback = new(uint32)
		}
	}
	switch m.Downgrade {
	case "allow":
		t.Downgrade = mcuboot.AllowDowngrade
	case "version":
		t.Downgrade = mcuboot.ByVersion
	case "security-counter":
		t.Downgrade = mcuboot.ByCounter
	}
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func setInt(to *int, from *uint64) {
	if from != nil {
		*to = int(*from) // config has checked the range
	}
}

func address(n *uint64) *uint32 {
	if n == nil {
		return nil
	}
	a := uint32(*n) // config has checked the range
	return &a
}

// mcubootRecipients reads the keys of devices.
func (p *Project) mcubootRecipients(f *mcubootFormat, c config.Component) error {
	path := "components." + c.Name + ".encrypt"
	if len(c.EncryptTo) == 0 {
		return nil
	}
	if f.options.Target.Encryption == mcuboot.NoEncryption {
		return p.cfg.Errorf(path, "the bootloader is built without encryption: say mcuboot.encryption, or leave encrypt out")
	}
	read := func(file string) (mcuboot.Recipient, error) {
		data, err := p.read(file, maxKeyFile)
		if err != nil {
			return mcuboot.Recipient{}, err
		}
		to, err := mcuboot.ParseRecipient(data)
		if err != nil {
			return mcuboot.Recipient{}, &InputError{file, err}
		}
		f.recipients = append(f.recipients, mcubootRecipient{file, to})
		return to, nil
	}
	to, err := read(c.EncryptTo[0])
	if err != nil {
		return err
	}
	f.options.Encrypt = &mcuboot.Encrypt{To: to}
	if c.PerDevice == "" {
		return nil
	}
	entries, err := os.ReadDir(p.cfg.Resolve(c.PerDevice))
	if err != nil {
		return &InputError{c.PerDevice, unwrapPath(err)}
	}
	for _, e := range entries { // sorted by name
		name, ok := strings.CutSuffix(strings.TrimSuffix(e.Name(), ".pem"), ".pub")
		if e.IsDir() || !ok && filepath.Ext(e.Name()) != ".pem" {
			continue
		}
		to, err := read(filepath.Join(c.PerDevice, e.Name()))
		if err != nil {
			return err
		}
		f.copies = append(f.copies, mcubootCopy{name + ".bin", to})
	}
	if len(f.copies) == 0 {
		return p.cfg.Errorf(path+".per-device", "folder %s has no .pem file", c.PerDevice)
	}
	return nil
}

func (f *mcubootFormat) signers() []sign.PublicKey { return f.options.Keys }
func (f *mcubootFormat) trusted() []sign.PublicKey { return f.trust }
func (f *mcubootFormat) signsKey() bool            { return f.options.BootRecord != "" }

// load takes the firmware from its first address on; imgtool fills gaps with
// 0xff whatever flash erases to.
func (f *mcubootFormat) load(data []byte, base *uint32) (content, firmware.Format, error) {
	image, format, err := loadAnywhere(data, base, 0)
	if err != nil {
		return content{}, format, err
	}
	limit := maxMCUbootPayload
	if n := f.options.Target.SlotSize; n > 0 {
		limit = int(n)
	}
	payload, err := image.Flatten(image.Start(), limit, bootloader.Erased)
	return content{payload: payload}, format, err
}

func (f *mcubootFormat) build(in content, random io.Reader) (deviceFile, error) {
	o := f.options
	var err error
	if o.Version, err = mcuboot.ParseVersion(in.version.String()); err != nil {
		return nil, err
	}
	if o.Counter, err = f.counterOf(o.Version, in.sequence); err != nil {
		return nil, err
	}
	draft, err := mcuboot.Build(in.payload, o, random)
	if err != nil {
		return nil, err
	}
	file := &mcubootFile{draft: draft, copies: f.copies}
	if o.Encrypt != nil {
		file.to = o.Encrypt.To
	}
	return file, nil
}

func (f *mcubootFormat) counterOf(v mcuboot.Version, sequence uint32) (*uint32, error) {
	switch f.counter {
	case "":
		return nil, nil
	case "sequence":
		return &sequence, nil
	case "version":
		n := v.Counter()
		return &n, nil
	}
	n, err := strconv.ParseUint(f.counter, 0, 32)
	if err != nil {
		return nil, fmt.Errorf("release: security counter %q: %w", f.counter, err)
	}
	counter := uint32(n)
	return &counter, nil
}

// rehearsal exchanges every key: those that sign, and where the image is
// encrypted that of the device, so that decryption runs too.
func (f *mcubootFormat) rehearsal() (deviceFormat, map[sign.KeyID]sign.Signer, error) {
	r := *f
	r.copies = nil
	keys, signers, err := throwaways(f.options.Keys)
	if err != nil {
		return nil, nil, err
	}
	r.options.Keys, r.trust = keys, keys
	if e := f.options.Encrypt; e != nil {
		private, err := e.To.Public().Curve().GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		if r.device, err = newDeviceKey(private); err != nil {
			return nil, nil, err
		}
		encrypted := *e
		encrypted.To = r.device.Recipient()
		r.options.Encrypt = &encrypted
	}
	return &r, signers, nil
}

func newDeviceKey(private *ecdh.PrivateKey) (mcuboot.DeviceKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return mcuboot.DeviceKey{}, err
	}
	defer clear(der)
	return mcuboot.ParseDeviceKey(der)
}

// throwaways makes a key for each of the given ones, of the same algorithm.
func throwaways(keys []sign.PublicKey) ([]sign.PublicKey, map[sign.KeyID]sign.Signer, error) {
	var made []sign.PublicKey
	signers := map[sign.KeyID]sign.Signer{}
	for _, k := range keys {
		s, err := sign.Throwaway(k.Algorithm())
		if err != nil {
			return nil, nil, err
		}
		signers[s.Public().ID()] = s
		made = append(made, s.Public())
	}
	return made, signers, nil
}

// StepContentKey is where an encrypted MCUboot image needs the device's key.
var StepContentKey = mcubootStep(mcuboot.StepContentKey)

func mcubootStep(s mcuboot.Step) bootloader.Step { return bootloader.Step("mcuboot-" + string(s)) }

func (f *mcubootFormat) check(ctx context.Context, file []byte, keys []sign.PublicKey, s deviceState) (bootloader.Trace, error) {
	t := f.options.Target
	for _, k := range keys {
		t.Keys = append(slices.Clip(t.Keys), mcuboot.NewKey(k))
	}
	t.DeviceKey = s.key
	if t.DeviceKey.IsZero() {
		t.DeviceKey = f.device
	}
	var floor uint32
	if f.counter == "sequence" {
		floor = s.floor
	}
	if t.Rollback != nil {
		t.Rollback = &floor
	}
	t.Installed = &mcuboot.Installed{Counter: &floor} // version 0.0.0: what the field has is not known
	_, steps, err := mcuboot.Verify(ctx, file, t)
	if errors.Is(err, mcuboot.ErrTarget) {
		return nil, err
	}
	var trace bootloader.Trace
	for _, c := range steps {
		trace = append(trace, bootloader.Check{
			Step: mcubootStep(c.Step), Status: bootloader.Status(c.Status), Reason: c.Reason, Detail: c.Detail,
		})
	}
	if verdict.Of(err) == verdict.RecipientKeyMissing && t.DeviceKey.IsZero() {
		last := &trace[len(trace)-1] // StepContentKey
		last.Status, last.Reason = bootloader.NotRun, ""
		return trace, nil
	}
	return trace, err
}

// mcubootFile is an image on its way.
type mcubootFile struct {
	draft  *mcuboot.Draft
	signed *mcuboot.Signed
	to     mcuboot.Recipient // zero when not encrypted
	copies []mcubootCopy
}

func (f *mcubootFile) Requests() []sign.Request {
	if f.signed != nil {
		return nil
	}
	return f.draft.Requests()
}

func (f *mcubootFile) Answer(signatures []sign.Signature) (err error) {
	f.signed, err = f.draft.Sign(signatures)
	return err
}

func (f *mcubootFile) Bytes() ([]byte, error) {
	if f.signed == nil {
		return nil, errNotSigned
	}
	return f.signed.Bytes()
}

func (f *mcubootFile) Signatures() int { return len(f.draft.Requests()) }

func (f *mcubootFile) Recipients() []string {
	var ids []string
	if f.to.Public() != nil {
		if der, err := x509.MarshalPKIXPublicKey(f.to.Public()); err == nil { // P-256 or X25519
			ids = append(ids, fmt.Sprintf("%x", sha256.Sum256(der)))
		}
	}
	return ids
}

func (f *mcubootFile) Copies() []deviceCopy {
	var copies []deviceCopy
	for _, c := range f.copies {
		copies = append(copies, deviceCopy{c.name, func(w io.Writer, random io.Reader) error {
			return f.signed.EncryptFor(w, c.to, random)
		}})
	}
	return copies
}

func (*mcubootFile) Warnings() []Finding { return nil }
