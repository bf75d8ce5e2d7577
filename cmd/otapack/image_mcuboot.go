package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// mcubootFlags are those that say how the bootloader was built.
type mcubootFlags struct {
	config.MCUboot
	overwriteOnly  bool
	pure           bool
	sha            string
	hmacSHA        string
	erased         string
	keyFormat      string
	allowAnyTLV    bool
	primary        bool
	dependencyText string
}

// target defines the flags that describe a bootloader.
func (m *mcubootFlags) target(f *pflag.FlagSet) {
	f.StringVar(&m.Profile, "profile", "", "`name` of a common build to start from: zephyr-swap-move, st-oemirot and others")
	f.StringVar(&m.Mode, "mode", "", "update `mode`: swap-scratch, swap-move, swap-offset, overwrite-only, direct-xip, ram-load or single-slot")
	f.BoolVar(&m.overwriteOnly, "overwrite-only", false, "the same as --mode overwrite-only")
	numberFlag(f, &m.SlotSize, "slot-size", "S", math.MaxInt32, "`size` of the slot in bytes")
	numberFlag(f, &m.SecondarySize, "secondary-size", "", math.MaxInt32, "`size` of the secondary slot where it differs")
	numberFlag(f, &m.SectorSize, "sector-size", "", math.MaxInt32, "erase unit of the slots: `bytes`")
	numberFlag(f, &m.WriteSize, "align", "", 32, "write size of the flash: `bytes`, 1 to 32")
	numberFlag(f, &m.MaxAlign, "max-align", "", 32, "MCUBOOT_BOOT_MAX_ALIGN: `bytes`, 8, 16 or 32")
	numberFlag(f, &m.MaxSectors, "max-sectors", "M", 1<<20, "`number` of sectors that the bootloader takes (default 128)")
	f.StringVarP(&m.erased, "erased-val", "R", "0xff", "`value` of erased flash: 0 or 0xff")
	f.StringVar(&m.Encryption, "encryption", "", "key `exchange` that the bootloader decrypts with: ecies-p256, ecies-x25519 or ecies-x25519-sha512")
	numberFlag(f, &m.AESBits, "encrypt-keylen", "", 256, "AES key length in `bits`: 128 or 256")
	boolFlag(f, &m.SaveEncTLV, "save-enctlv", "the bootloader keeps encryption TLVs in the trailer (BOOT_SWAP_SAVE_ENCTLV)")
	f.StringVar(&m.keyFormat, "public-key-format", "hash", "how the image names its key: hash or full")
	f.BoolVar(&m.pure, "pure", false, "Ed25519 over the image and not over its hash")
	f.StringVar(&m.sha, "sha", "auto", "image `hash`: auto, 256, 384 or 512")
	f.StringVar(&m.hmacSHA, "hmac-sha", "auto", "`hash` of an X25519 key exchange: auto, 256 or 512")
	numberFlag(f, &m.Image, "image", "", 255, "`number` of the image, from 0")
	numberFlag(f, &m.Images, "images", "", 256, "`number` of images of the bootloader")
	f.BoolVar(&m.allowAnyTLV, "no-allow-list", false, "the bootloader takes unknown TLVs (built without MCUBOOT_USE_TLV_ALLOW_LIST)")
	boolFlag(f, &m.Rollback, "rollback-protection", "the bootloader demands a security counter (MCUBOOT_HW_ROLLBACK_PROT)")
	f.StringVar(&m.Downgrade, "downgrade", "", "what the bootloader compares with the installed image: `allow`, version or security-counter")
}

// options resolves them for a signature algorithm.
func (m *mcubootFlags) options(algorithm sign.Algorithm) (mcuboot.Options, error) {
	bad := func(field, format string, args ...any) error {
		if field != "" {
			field = "--" + field + ": "
		}
		return usagef("%s%s", field, fmt.Sprintf(format, args...))
	}
	if m.overwriteOnly {
		if m.Mode != "" && m.Mode != mcuboot.OverwriteOnly.String() {
			return mcuboot.Options{}, usagef("--overwrite-only and --mode %s rule each other out", m.Mode)
		}
		m.Mode = mcuboot.OverwriteOnly.String()
	}
	m.FullKey = m.keyFormat == "full"
	if !m.FullKey && m.keyFormat != "hash" {
		return mcuboot.Options{}, usagef("--public-key-format %q: want hash or full", m.keyFormat)
	}
	if m.allowAnyTLV {
		m.AllowList = new(bool)
	}
	o, err := release.MCUbootOptions(&m.MCUboot, bad)
	if err != nil {
		return o, err
	}
	t := &o.Target
	switch m.erased {
	case "0xff":
	case "0", "0x00":
		t.ErasedZero = true
	default:
		return o, usagef("--erased-val %q: want 0 or 0xff", m.erased)
	}
	switch {
	case algorithm == sign.ESP256:
		t.Signature = mcuboot.ECDSAP256
	case algorithm == sign.ESP384:
		t.Signature = mcuboot.ECDSAP384
	case algorithm == sign.Ed25519 && m.pure:
		t.Signature = mcuboot.Ed25519Pure
	case algorithm == sign.Ed25519:
		t.Signature = mcuboot.Ed25519
	case t.Signature == 0:
		t.Signature = mcuboot.HashOnly
	}
	hashes := map[string]crypto.Hash{"auto": 0, "256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	hash, ok := hashes[m.sha]
	if !ok {
		return o, usagef("--sha %q: want auto, 256, 384 or 512", m.sha)
	}
	t.Hash = hash
	return o, nil
}

// exchange is the encryption that suits a recipient, unless a flag says it.
func (m *mcubootFlags) exchange(t *mcuboot.Target, curve ecdh.Curve) error {
	if t.Encryption == mcuboot.NoEncryption {
		t.Encryption = mcuboot.ECIESP256
		if curve == ecdh.X25519() {
			t.Encryption = mcuboot.ECIESX25519
		}
	}
	switch m.hmacSHA {
	case "auto", "256":
	case "512":
		if t.Encryption == mcuboot.ECIESP256 {
			return usagef("--hmac-sha 512 is for X25519 keys")
		}
		t.Encryption = mcuboot.ECIESX25519SHA512
	default:
		return usagef("--hmac-sha %q: want auto, 256 or 512", m.hmacSHA)
	}
	return nil
}

// imageSignMCUboot are the flags of "image sign mcuboot".
type imageSignMCUboot struct {
	mcubootFlags
	signers     imageSigners
	version     string
	counter     string
	unsigned    bool
	padHeader   bool
	pad, test   bool
	confirm     bool
	encryptTo   string
	clear       bool
	padSig      bool
	nonBootable bool
	custom      []string
	customFiles []string
	hexAddress  *uint64
	force       bool
}

func (a *app) imageSignMCUbootCommand() *cobra.Command {
	var o imageSignMCUboot
	c := &cobra.Command{
		Use:   "mcuboot --version <version> [--key <key>]... <firmware> <image>",
		Short: "Make a signed MCUboot image, as imgtool sign does",
		Long: `Make an MCUboot image of a firmware (binary, Intel HEX, S-records or ELF) and
sign it in one step with a key in a PKCS#11 token. Everything that the bootloader
would refuse is refused before the token is opened; the finished image passes the
loader's own checks before it is written.

An image that is written to a .hex file keeps its address. Two --key make an
image that devices with either key take. With --encrypt the payload is encrypted
for one device key; "otapack image encrypt" makes one file for each of many
devices from a single signature (give --clear-for-many here).`,
		Example: `  otapack image sign mcuboot -k fw-2026 -v 1.4.2 -H 0x200 -S 0x68000 --pad-header --align 4 app.bin app.signed.bin
  otapack image sign mcuboot --profile zephyr-swap-move -S 448KiB -k 'pkcs11:token=release;object=fw' --public-key fw.pem -v 1.4.2 zephyr.hex signed.hex`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("pad-header") {
				o.PadHeader = &o.padHeader
			}
			return a.imageSignMCUboot(cmd.Context(), o, args[0], args[1])
		},
	}
	f := c.Flags()
	o.signers.flags(f, true)
	f.BoolVar(&o.unsigned, "unsigned", false, "make an image with a hash and no signature")
	f.StringVarP(&o.version, "version", "v", "", "`version` of the image, major.minor.revision+build")
	f.StringVarP(&o.counter, "security-counter", "s", "", "security `counter`: a number, or auto to make it of the version")
	o.target(f)
	numberFlag(f, &o.HeaderSize, "header-size", "H", math.MaxUint16, "`bytes` that the header takes, 32 to 65535")
	f.BoolVar(&o.padHeader, "pad-header", false, "put the header in front: the firmware has no room for it at its beginning")
	f.BoolVar(&o.pad, "pad", false, "fill up to the slot size and mark as pending")
	f.BoolVar(&o.test, "test", false, "the same as --pad")
	f.BoolVar(&o.confirm, "confirm", false, "fill up to the slot size and mark as confirmed")
	f.StringVarP(&o.encryptTo, "encrypt", "E", "", "encrypt for the device whose public key is in `file`")
	f.BoolVar(&o.clear, "clear", false, "with --encrypt: leave the payload in the clear, for the first programming")
	f.StringVar(&o.BootRecord, "boot-record", "", "add a record for measured boot with this software `type`")
	f.StringVarP(&o.dependencyText, "dependencies", "d", "", "lowest versions of other images, as `\"(1, 2.0.0), (2, 1.1.0)\"`")
	f.StringVar(&o.Vendor, "vid", "", "vendor identifier: UUID or `text`")
	f.StringVar(&o.Class, "cid", "", "class identifier: UUID or `text`")
	numberFlag(f, &o.LoadAddress, "load-addr", "L", math.MaxUint32, "`address` in RAM that the image is loaded to")
	numberFlag(f, &o.ROMAddress, "rom-fixed", "F", math.MaxUint32, "`address` in flash that the image is linked for")
	numberFlag(f, &o.hexAddress, "hex-addr", "x", math.MaxUint32, "`address` of the image in a .hex output")
	f.StringArrayVar(&o.custom, "custom-tlv", nil, "protected TLV `tag=value`, the value as text or with 0x in hexadecimal (repeatable)")
	f.StringArrayVar(&o.customFiles, "custom-tlv-file", nil, "protected TLV `tag=file` (repeatable)")
	f.BoolVar(&o.nonBootable, "non-bootable", false, "mark the image as not bootable")
	f.BoolVar(&o.padSig, "pad-sig", false, "pad ECDSA P-256 signatures, for bootloaders before 1.5")
	f.BoolVarP(&o.force, "force", "f", false, "replace an existing output file")
	return c
}

// imageResult is the answer of --json to verbs that write an image.
type imageResult struct {
	Schema  string   `json:"schema"`
	Format  string   `json:"format"`
	Path    string   `json:"path,omitempty"`
	Paths   []string `json:"paths,omitempty"`
	Size    int64    `json:"size,omitempty"` // in bytes
	Hash    string   `json:"hash,omitempty"` // image hash, hexadecimal
	KeyIDs  []string `json:"key_ids,omitempty"`
	Version string   `json:"version,omitempty"`
}

func (a *app) imageSignMCUboot(ctx context.Context, f imageSignMCUboot, in, out string) error {
	if f.version == "" {
		return usagef("--version is missing")
	}
	switch {
	case f.unsigned && (len(f.signers.keys) > 0 || f.signers.throwaway):
		return usagef("--unsigned and a key rule each other out")
	case !f.unsigned && len(f.signers.keys) == 0 && !f.signers.throwaway:
		return usagef("--key is missing; --unsigned makes an image without a signature")
	}
	signers, err := a.resolveSigners(f.signers, sign.ESP256)
	if err != nil {
		return err
	}
	var algorithm sign.Algorithm
	for _, s := range signers {
		algorithm = s.public.Algorithm()
	}
	o, err := f.build(algorithm)
	if err != nil {
		return err
	}
	for _, s := range signers {
		o.Keys = append(o.Keys, s.public)
	}
	payload, base, err := f.payload(in, o)
	if err != nil {
		return err
	}
	draft, err := mcuboot.Build(payload, o, rand.Reader)
	if err != nil {
		return refused(err)
	}
	open, closeAll, err := a.openSigners(ctx, signers)
	defer closeAll()
	if err != nil {
		return err
	}
	signatures, err := sign.Answer(ctx, draft.Requests(), open)
	if err != nil {
		return err
	}
	signed, err := draft.Sign(signatures)
	if err != nil {
		return err
	}
	if err := checkSigned(ctx, signed, o); err != nil {
		return err
	}
	data, err := signed.Bytes()
	if err != nil {
		return err
	}
	if strings.EqualFold(filepath.Ext(out), ".hex") {
		image, err := signed.Image(base)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := firmware.WriteIntelHex(&text, image); err != nil {
			return err
		}
		data = text.Bytes()
	}
	if err := writeResult(out, data, f.force); err != nil {
		return err
	}
	r := imageResult{Schema: "otapack.image-sign/1", Format: "mcuboot", Path: out, Size: int64(len(data)), Hash: hex.EncodeToString(draft.Hash()), Version: o.Version.String()}
	for _, k := range o.Keys {
		r.KeyIDs = append(r.KeyIDs, k.ID().String())
	}
	a.say("%s: MCUboot image %s, %d signatures, accepted by the loader's checks", out, o.Version, len(signatures))
	return a.result(r, out+"\n")
}

// refused marks what a bootloader would refuse as refused by policy: nothing was
// verified yet.
func refused(err error) error {
	refusal, ok := errors.AsType[*verdict.Error](err)
	if !ok {
		if errors.Is(err, mcuboot.ErrTarget) {
			return usageError{err}
		}
		return err
	}
	return &release.PolicyError{Findings: []release.Finding{{Reason: refusal.Reason, Object: refusal.Object, Detail: refusal.Detail}}}
}

// build resolves all flags but the keys.
func (f *imageSignMCUboot) build(algorithm sign.Algorithm) (mcuboot.Options, error) {
	switch {
	case f.confirm:
		f.Padding = "confirm"
	case f.pad || f.test:
		f.Padding = "pad"
	}
	if err := f.dependencies(); err != nil {
		return mcuboot.Options{}, err
	}
	o, err := f.options(algorithm)
	if err != nil {
		return o, err
	}
	if o.HeaderSize == 0 {
		return o, usagef("--header-size is missing, or a --profile that has one")
	}
	if f.Padding != "" && o.Target.SlotSize == 0 {
		return o, usagef("--pad and --confirm need --slot-size")
	}
	if f.Padding != "" && o.Target.Mode == mcuboot.ModeUnknown {
		return o, usagef("--pad and --confirm need --mode: trailers differ between modes")
	}
	if o.Version, err = mcuboot.ParseVersion(f.version); err != nil {
		return o, usagef("--version: %w", err)
	}
	switch {
	case f.counter == "auto":
		n := o.Version.Counter()
		o.Counter = &n
	case f.counter != "":
		n, err := parseNumber(f.counter, math.MaxUint32)
		if err != nil {
			return o, usagef("--security-counter %w, or auto", err)
		}
		counter := uint32(n)
		o.Counter = &counter
	}
	o.PadSignature, o.NonBootable = f.padSig, f.nonBootable
	if o.Custom, err = customTLVs(f.custom, f.customFiles); err != nil {
		return o, err
	}
	if f.encryptTo == "" {
		if f.clear {
			return o, usagef("--clear needs --encrypt")
		}
		return o, nil
	}
	data, err := readInput(f.encryptTo, maxIdentity)
	if err != nil {
		return o, err
	}
	to, err := mcuboot.ParseRecipient(data)
	if err != nil {
		return o, &release.InputError{Path: f.encryptTo, Err: err}
	}
	o.Encrypt = &mcuboot.Encrypt{To: to, Clear: f.clear}
	return o, f.exchange(&o.Target, to.Public().Curve())
}

var dependencyPattern = regexp.MustCompile(`\(\s*(\d+)\s*,\s*([0-9.+]+)\s*\)`)

// dependencies reads what imgtool takes: "(1, 2.0.0+7), (3, 0.1.2)".
func (f *imageSignMCUboot) dependencies() error {
	found := dependencyPattern.FindAllStringSubmatch(f.dependencyText, -1)
	if rest := strings.Trim(dependencyPattern.ReplaceAllString(f.dependencyText, ""), " ,"); rest != "" {
		return usagef("--dependencies: %q is not like (1, 2.0.0)", rest)
	}
	for _, m := range found {
		n, err := strconv.ParseUint(m[1], 10, 8)
		if err != nil {
			return usagef("--dependencies: image %s, want 0 to 255", m[1])
		}
		f.Dependencies = append(f.Dependencies, config.ImageVersion{Image: n, Version: m[2]})
	}
	return nil
}

// customTLVs reads "tag=value" and "tag=file".
func customTLVs(values, files []string) ([]mcuboot.TLV, error) {
	var list []mcuboot.TLV
	read := func(flag, spec string, value func(string) ([]byte, error)) error {
		tag, text, ok := strings.Cut(spec, "=")
		n, err := strconv.ParseUint(tag, 0, 16)
		if !ok || err != nil {
			return usagef("--%s %q: want tag=value, the tag a number below 0x10000", flag, spec)
		}
		b, err := value(text)
		if err != nil {
			return err
		}
		list = append(list, mcuboot.TLV{Type: mcuboot.Type(n), Value: b})
		return nil
	}
	for _, spec := range values {
		if err := read("custom-tlv", spec, func(text string) ([]byte, error) {
			digits, ok := strings.CutPrefix(text, "0x")
			if !ok {
				return []byte(text), nil
			}
			b, err := hex.DecodeString(digits)
			if err != nil {
				return nil, usagef("--custom-tlv %q: %w", spec, err)
			}
			return b, nil
		}); err != nil {
			return nil, err
		}
	}
	for _, spec := range files {
		if err := read("custom-tlv-file", spec, func(name string) ([]byte, error) { return readInput(name, 1<<16) }); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// payload reads the firmware, and where a .hex output begins.
func (f *imageSignMCUboot) payload(path string, o mcuboot.Options) (payload []byte, base uint32, err error) {
	image, format, err := loadFirmware(path)
	if err != nil {
		return nil, 0, err
	}
	limit := firmware.DefaultMaxSize
	if n := o.Target.SlotSize; n > 0 {
		limit = int(n)
	}
	payload, err = image.Flatten(image.Start(), limit, 0xff)
	if err != nil {
		return nil, 0, &release.InputError{Path: path, Err: err}
	}
	base = image.Start()
	if o.PadHeader && format != firmware.Bin {
		base -= uint32(min(o.HeaderSize, int(base)))
	}
	if f.hexAddress != nil {
		base = uint32(*f.hexAddress)
	}
	return payload, base, nil
}

// checkSigned has the loader accept what was made, with each key alone. What is
// encrypted is checked as a file for a device that is made up.
func checkSigned(ctx context.Context, s *mcuboot.Signed, o mcuboot.Options) error {
	data, err := s.Bytes()
	if err != nil {
		return err
	}
	t := o.Target
	if e := o.Encrypt; e != nil && !e.Clear && e.To.Public() != nil {
		private, err := e.To.Public().Curve().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return err
		}
		defer clear(der)
		if t.DeviceKey, err = mcuboot.ParseDeviceKey(der); err != nil {
			return err
		}
		var b bytes.Buffer
		if err := s.EncryptFor(&b, t.DeviceKey.Recipient(), rand.Reader); err != nil {
			return err
		}
		data = b.Bytes()
	} else if e != nil {
		t.Slot = mcuboot.Primary // the payload is in the clear
	}
	keys := o.Keys
	if len(keys) == 0 {
		_, _, err := mcuboot.Verify(ctx, data, t)
		return err
	}
	for _, k := range keys {
		t.Keys = []mcuboot.Key{mcuboot.NewKey(k)}
		if _, _, err := mcuboot.Verify(ctx, data, t); err != nil {
			return err
		}
	}
	return nil
}

// imageVerifyMCUboot are the flags of "image verify mcuboot".
type imageVerifyMCUboot struct {
	mcubootFlags
	keys      []string
	deviceKey string
	counter   *uint64
	installed string
}

func (a *app) imageVerifyMCUbootCommand() *cobra.Command {
	var o imageVerifyMCUboot
	c := &cobra.Command{
		Use:   "mcuboot --key <public-key>... <image>",
		Short: "Check an MCUboot image as the bootloader does",
		Long: `Check an image as MCUboot does, check by check in its order. The flags say how
the bootloader was built; what they leave open is not checked and reported as
not-run. Without a key there is no verdict.

An encrypted image needs the device's private key. --primary looks at it as it
stands in the primary slot, where the payload is in the clear.`,
		Example: "  otapack image verify mcuboot -k fw.pub.pem --profile zephyr-swap-move -S 448KiB app.signed.bin",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.imageVerifyMCUboot(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key `file` that is compiled into the bootloader (repeatable)")
	f.StringVar(&o.deviceKey, "device-key", "", "`file` with the private key that the device decrypts with")
	numberFlag(f, &o.counter, "stored-counter", "", math.MaxUint32, "security `counter` that the device has stored")
	f.StringVar(&o.installed, "installed-version", "", "`version` of the installed image")
	f.BoolVar(&o.primary, "primary", false, "check as in the primary slot")
	o.target(f)
	return c
}

// imageVerifyResult is the answer of --json.
type imageVerifyResult struct {
	Schema   string       `json:"schema"`
	Format   string       `json:"format"`
	Accepted bool         `json:"accepted"`
	Complete bool         `json:"complete"` // no check was left out
	Checks   []imageCheck `json:"checks"`
	Warnings []string     `json:"warnings,omitempty"`
}

// imageCheck is one check of a vendor's bootloader.
type imageCheck struct {
	Step   string         `json:"step"`
	Status string         `json:"status"`
	Reason verdict.Reason `json:"reason,omitempty"`
	Result string         `json:"result,omitempty"` // what a phone is told
	Detail string         `json:"detail,omitempty"`
}

func (a *app) imageVerifyMCUboot(ctx context.Context, f imageVerifyMCUboot, path string) error {
	if len(f.keys) == 0 {
		return usagef("--key is missing: without a key there is no verdict")
	}
	var keys []mcuboot.Key
	for _, file := range f.keys {
		data, err := readInput(file, maxIdentity)
		if err != nil {
			return err
		}
		k, err := mcuboot.ParseKey(data)
		if err != nil {
			return &release.InputError{Path: file, Err: err}
		}
		keys = append(keys, k)
	}
	o, err := f.options(keys[0].Public().Algorithm())
	if err != nil {
		return err
	}
	t := o.Target
	t.Keys = keys
	for _, rsa := range []mcuboot.SignatureType{mcuboot.RSA2048, mcuboot.RSA3072} {
		if keys[0].Public().IsZero() && keys[0].Verifies(rsa) {
			t.Signature = rsa
		}
	}
	if f.primary {
		t.Slot = mcuboot.Primary
	}
	if f.counter != nil {
		n := uint32(*f.counter)
		t.Rollback = &n
	}
	if f.installed != "" {
		v, err := mcuboot.ParseVersion(f.installed)
		if err != nil {
			return usagef("--installed-version: %w", err)
		}
		t.Installed = &mcuboot.Installed{Version: v}
	}
	if f.deviceKey != "" {
		if t.DeviceKey, err = readImageKey(f.deviceKey); err != nil {
			return err
		}
		if err := f.exchange(&t, t.DeviceKey.Recipient().Public().Curve()); err != nil {
			return err
		}
	}
	data, err := readImageFile(path)
	if err != nil {
		return err
	}
	v, trace, err := mcuboot.Verify(ctx, data, t)
	if errors.Is(err, mcuboot.ErrTarget) {
		return usageError{err}
	}
	r := imageVerifyResult{Schema: "otapack.image-verify/1", Format: "mcuboot", Accepted: err == nil, Checks: []imageCheck{}}
	for _, c := range trace {
		r.Checks = append(r.Checks, imageCheck{Step: string(c.Step), Status: string(c.Status), Reason: c.Reason, Detail: c.Detail})
	}
	if v != nil {
		r.Complete = v.Complete()
		if !v.Bootable() {
			r.Warnings = append(r.Warnings, "the image is marked as non-bootable: the loader treats the slot as empty")
		}
	}
	return a.imageVerdict(path, r, err)
}

// imageVerdict prints the checks and says how it ended.
func (a *app) imageVerdict(path string, r imageVerifyResult, err error) error {
	if !a.json {
		fmt.Fprint(a.stdout, checksTable(r.Checks))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, w := range r.Warnings {
		a.say("warning: %s", w)
	}
	if r.Complete {
		a.say("%s: the bootloader takes it", path)
	} else {
		a.say("%s: the bootloader takes it as far as the flags describe it", path)
	}
	return a.result(r, "")
}

func checksTable(checks []imageCheck) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		detail := c.Detail
		if c.Reason != "" {
			detail = string(c.Reason)
		}
		if c.Result != "" {
			detail += ", the phone is told " + c.Result
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Step, c.Status, detail)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

// readImageFile reads an image, from binary or Intel HEX.
func readImageFile(path string) ([]byte, error) {
	if !strings.EqualFold(filepath.Ext(path), ".hex") {
		return readInput(path, firmware.DefaultMaxSize)
	}
	image, _, err := loadFirmware(path)
	if err != nil {
		return nil, err
	}
	data, err := image.Flatten(image.Start(), firmware.DefaultMaxSize, 0xff)
	if err != nil {
		return nil, &release.InputError{Path: path, Err: err}
	}
	return data, nil
}

// imageEncrypt are the flags of "image encrypt".
type imageEncrypt struct {
	mcubootFlags
	to        []string
	output    string
	deviceKey string
	primary   bool
}

func (a *app) imageEncryptCommand() *cobra.Command {
	var o imageEncrypt
	c := &cobra.Command{
		Use:   "encrypt --to <key-or-folder>... --output <directory> <image>",
		Short: "Make one encrypted MCUboot image for each device from a signed one",
		Long: `Take a signed MCUboot image whose payload is in the clear and that is marked as
encrypted ("otapack image sign mcuboot --encrypt KEY --clear", or one that
--device-key decrypts), and write one file for each device key, each with a
content key of its own. MCUboot signs the plain image, so that one signature
serves all of them and no token is needed here.

--to takes public keys in PEM files, or folders of them; files are called after
the keys.`,
		Example: "  otapack image encrypt --to keys/devices -o out app.clear.bin",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.imageEncrypt(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "public key `file` of a device, or a folder of such files (repeatable)")
	f.StringVarP(&o.output, "output", "o", "", "`directory` for the files")
	f.StringVar(&o.deviceKey, "device-key", "", "`file` with the private key that the image is encrypted to now")
	f.BoolVar(&o.primary, "clear", false, "leave the payload in the clear, for the first programming of each device")
	o.target(f)
	return c
}

func (a *app) imageEncrypt(ctx context.Context, f imageEncrypt, path string) error {
	if len(f.to) == 0 || f.output == "" {
		return usagef("--to and --output are both needed")
	}
	names, recipients, err := readRecipients(f.to)
	if err != nil {
		return err
	}
	data, err := readImageFile(path)
	if err != nil {
		return err
	}
	if f.deviceKey != "" {
		key, err := readImageKey(f.deviceKey)
		if err != nil {
			return err
		}
		if data, err = mcuboot.Decrypt(data, key); err != nil {
			return &release.InputError{Path: path, Err: err}
		}
	}
	o, err := f.options(0)
	if err != nil {
		return err
	}
	if err := f.exchange(&o.Target, recipients[0].Public().Curve()); err != nil {
		return err
	}
	signed, err := mcuboot.Reopen(data, o.Target, mcuboot.NoPadding)
	if err != nil {
		return &release.InputError{Path: path, Err: err}
	}
	set := atomicfile.NewSet(f.output)
	defer set.Abort() // nothing is left after Commit
	r := imageResult{Schema: "otapack.image-encrypt/1", Format: "mcuboot"}
	for i, to := range recipients {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, err := set.Create(names[i] + ".bin")
		if err != nil {
			return err
		}
		emit := signed.EncryptFor
		if f.primary {
			emit = signed.ClearFor
		}
		if err := emit(w, to, rand.Reader); err != nil {
			return refused(err)
		}
		r.Paths = append(r.Paths, filepath.Join(f.output, names[i]+".bin"))
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("%d files from one signature", len(recipients))
	return a.result(r, strings.Join(r.Paths, "\n")+"\n")
}

// readRecipients reads device keys from files and folders. Names are those of
// the files without extensions.
func readRecipients(paths []string) (names []string, recipients []mcuboot.Recipient, err error) {
	var files []string
	for _, p := range paths {
		entries, err := os.ReadDir(p)
		if err != nil { // a file, or nothing
			files = append(files, p)
			continue
		}
		n := len(files)
		for _, e := range entries {
			if !e.IsDir() && filepath.Ext(e.Name()) == ".pem" {
				files = append(files, filepath.Join(p, e.Name()))
			}
		}
		if len(files) == n {
			return nil, nil, &release.InputError{Path: p, Err: errors.New("no .pem file in this folder")}
		}
	}
	seen := map[string]string{}
	for _, file := range files {
		data, err := readInput(file, maxIdentity)
		if err != nil {
			return nil, nil, err
		}
		to, err := mcuboot.ParseRecipient(data)
		if err != nil {
			return nil, nil, &release.InputError{Path: file, Err: err}
		}
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".pem"), ".pub")
		if other, ok := seen[name]; ok {
			return nil, nil, usagef("--to: %s and %s would both become %s.bin", other, file, name)
		}
		seen[name] = file
		names, recipients = append(names, name), append(recipients, to)
	}
	return names, recipients, nil
}
