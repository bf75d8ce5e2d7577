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
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
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
	pad, test      bool
	confirm        bool
	dependencyText string
}

// target defines the flags that describe a bootloader.
func (m *mcubootFlags) target(f *pflag.FlagSet) {
	f.StringVar(&m.Profile, "profile", "", "`name` of a common build to start from: zephyr-swap-move, st-oemirot and others")
	f.StringVar(&m.Mode, "mode", "", "update `mode`: swap-scratch, swap-move, swap-offset, overwrite-only, direct-xip, ram-load or single-slot")
	f.BoolVar(&m.overwriteOnly, "overwrite-only", false, "the same as --mode overwrite-only")
	numberFlag(f, &m.SlotSize, "slot-size", "S", math.MaxInt32, "`size` of the slot in bytes")
	numberFlag(f, &m.SecondarySize, "secondary-size", "", math.MaxInt32, "`size` of the secondary slot where it differs")
	numberFlag(f, &m.SectorSize, "sector-size", "", math.MaxInt32, "erase unit of the slots in `bytes`; the modes that swap need it")
	numberFlag(f, &m.WriteSize, "align", "", 32, "write size of the flash in `bytes`, 1 to 32 (default 1, as in imgtool, unless the profile says it)")
	numberFlag(f, &m.MaxAlign, "max-align", "", 32, "MCUBOOT_BOOT_MAX_ALIGN in `bytes`: 8, 16 or 32 (default the larger of 8 and --align)")
	numberFlag(f, &m.MaxSectors, "max-sectors", "M", 1<<20, "`number` of sectors that the bootloader takes (default 128)")
	f.StringVarP(&m.erased, "erased-val", "R", "0xff", "`value` of erased flash: 0 or 0xff")
	f.StringVar(&m.Encryption, "encryption", "", "key `exchange` that the bootloader decrypts with: ecies-p256, ecies-x25519 or ecies-x25519-sha512")
	numberFlag(f, &m.AESBits, "encrypt-keylen", "", 256, "AES key length in `bits`: 128 or 256")
	boolFlag(f, &m.SaveEncTLV, "save-enctlv", "the bootloader keeps encryption TLVs in the trailer (BOOT_SWAP_SAVE_ENCTLV)")
	f.StringVar(&m.keyFormat, "public-key-format", "hash", "`how` the image names its key: hash or full")
	f.BoolVar(&m.pure, "pure", false, "Ed25519 over the image and not over its hash")
	f.StringVar(&m.sha, "sha", "auto", "image `hash`: auto, 256, 384 or 512")
	f.StringVar(&m.hmacSHA, "hmac-sha", "auto", "`hash` of an X25519 key exchange: auto, 256 or 512")
	f.BoolVar(&m.allowAnyTLV, "no-allow-list", false, "the bootloader takes unknown TLVs (built without MCUBOOT_USE_TLV_ALLOW_LIST)")
}

// rules defines the flags about what an image is compared with.
func (m *mcubootFlags) rules(f *pflag.FlagSet) {
	numberFlag(f, &m.Image, "image", "", 255, "`number` of the image, from 0")
	numberFlag(f, &m.Images, "images", "", 256, "`number` of images of the bootloader")
	boolFlag(f, &m.Rollback, "rollback-protection", "the bootloader demands a security counter (MCUBOOT_HW_ROLLBACK_PROT)")
	f.StringVar(&m.Downgrade, "downgrade", "", "`what` the bootloader compares with the installed image: allow, version or security-counter")
}

// padding defines the flags about what follows an image in its slot.
func (m *mcubootFlags) padding(f *pflag.FlagSet) {
	f.BoolVar(&m.pad, "pad", false, "fill up to the slot size and mark as pending; without --mode with the trailer of the modes that swap, as imgtool")
	f.BoolVar(&m.test, "test", false, "the same as --pad: the image is swapped back unless it confirms itself")
	f.BoolVar(&m.confirm, "confirm", false, "fill up to the slot size and mark as confirmed")
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
	switch {
	case m.confirm && m.test:
		return mcuboot.Options{}, usagef("--confirm and --test rule each other out")
	case m.confirm:
		m.Padding = "confirm"
	case m.pad || m.test:
		m.Padding = "pad"
	}
	if !slices.Contains([]string{"", "allow", "version", "security-counter"}, m.Downgrade) {
		return mcuboot.Options{}, usagef("--downgrade %q: want allow, version or security-counter", m.Downgrade)
	}
	if !slices.Contains([]string{"auto", "256", "512"}, m.hmacSHA) {
		return mcuboot.Options{}, usagef("--hmac-sha %q: want auto, 256 or 512", m.hmacSHA)
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
	case m.pure && algorithm != sign.Ed25519:
		return o, usagef("--pure needs an Ed25519 key")
	case algorithm == sign.ESP256:
		t.Signature = mcuboot.ECDSAP256
	case algorithm == sign.ESP384:
		t.Signature = mcuboot.ECDSAP384
	case algorithm == sign.Ed25519 && m.pure:
		t.Signature = mcuboot.Ed25519Pure
	case algorithm == sign.Ed25519:
		t.Signature = mcuboot.Ed25519
	default:
		t.Signature = mcuboot.HashOnly
	}
	hashes := map[string]crypto.Hash{"auto": 0, "256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	hash, ok := hashes[m.sha]
	if !ok {
		return o, usagef("--sha %q: want auto, 256, 384 or 512", m.sha)
	}
	t.Hash = hash
	return o, m.checkSlot(t, o.Padding)
}

// checkSlot finds what the flags leave out, by their names.
func (m *mcubootFlags) checkSlot(t *mcuboot.Target, p mcuboot.Padding) error {
	switch {
	case t.SlotSize == 0 && p != mcuboot.NoPadding:
		return usagef("--pad, --test and --confirm need --slot-size")
	case t.SlotSize == 0:
		return nil
	case t.Mode == mcuboot.SwapMove, t.Mode == mcuboot.SwapOffset, t.Mode == mcuboot.SwapScratch:
		if t.SectorSize == 0 {
			return usagef("--mode %s with --slot-size needs --sector-size: how much of a slot is left for the image depends on it", t.Mode)
		}
	case t.Mode == mcuboot.ModeUnknown, t.Mode == mcuboot.OverwriteOnly, t.Mode == mcuboot.DirectXIP, t.Mode == mcuboot.RAMLoadMode, t.Mode == mcuboot.SingleSlot:
	}
	t.WriteSize = max(t.WriteSize, 1)
	return nil
}

// exchange is the encryption that suits a recipient, unless a flag says it.
func (m *mcubootFlags) exchange(t *mcuboot.Target, curve ecdh.Curve) error {
	if t.Encryption == mcuboot.NoEncryption {
		t.Encryption = mcuboot.ECIESP256
		if curve == ecdh.X25519() {
			t.Encryption = mcuboot.ECIESX25519
		}
	}
	if m.hmacSHA != "512" {
		return nil
	}
	if t.Encryption == mcuboot.ECIESP256 {
		return usagef("--hmac-sha 512 is for X25519 keys")
	}
	t.Encryption = mcuboot.ECIESX25519SHA512
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
	encryptTo   string
	clear       bool
	later       bool
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

An image that is written to a .hex file keeps its address; "-" writes binary to
standard output. Two --key make an image that devices with either key take.

With --encrypt the payload is encrypted for one device key. With --encrypt-later
it is marked as encrypted and left in the clear: "otapack image encrypt" then
makes one file for each of many devices from the one signature.

Without --mode or --profile, size and padding are imgtool's: for the modes that
swap, by a formula that takes any sector size. With them the image is held against
what this very bootloader leaves of the slot.`,
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
	o.rules(f)
	numberFlag(f, &o.HeaderSize, "header-size", "H", math.MaxUint16, "`bytes` that the header takes, 32 to 65535")
	f.BoolVar(&o.padHeader, "pad-header", false, "put the header in front: the firmware has no room for it at its beginning")
	o.padding(f)
	f.StringVarP(&o.encryptTo, "encrypt", "E", "", "encrypt for the device whose public key is in `file`")
	f.BoolVar(&o.clear, "clear", false, "with --encrypt: leave the payload in the clear, for the first programming")
	f.BoolVar(&o.later, "encrypt-later", false, "mark as encrypted and leave the payload in the clear, for otapack image encrypt")
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

func (a *app) imageSignMCUboot(ctx context.Context, f imageSignMCUboot, in, out string) error {
	if f.version == "" {
		return usagef("--version is missing")
	}
	switch {
	case f.unsigned && f.signers.given():
		return usagef("--unsigned and a key rule each other out")
	case !f.unsigned && !f.signers.given():
		return usagef("--key is missing; --unsigned makes an image without a signature")
	}
	signers, err := a.resolveSigners(f.signers)
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
	payload, base, err := f.payload(in, out, o)
	if err != nil {
		return err
	}
	draft, err := mcuboot.Build(payload, o, rand.Reader)
	if err != nil {
		return refused(err)
	}
	defer draft.Wipe()
	if err := checkFree(f.force, signers, out, f.signers.publicOut); err != nil {
		return err
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
		return fmt.Errorf("the finished image: %w", err)
	}
	data, err := signedBytes(signed, out, base)
	if err != nil {
		return err
	}
	a.say("MCUboot image %s, %s, accepted by the loader's checks", o.Version, countOf(len(signatures), "signature"))
	r := imageResult{Schema: "otapack.image-sign/1", Format: "mcuboot", Hash: hex.EncodeToString(draft.Hash()), Version: o.Version.String()}
	r.signedBy(signers)
	return a.writeImage(r, out, data, f.force, f.signers, signers)
}

// signedBytes is the file as its name wants it.
func signedBytes(signed *mcuboot.Signed, out string, base uint32) ([]byte, error) {
	if !isHex(out) {
		return signed.Bytes()
	}
	image, err := signed.Image(base)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := firmware.WriteIntelHex(&text, image); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

func isHex(path string) bool { return strings.EqualFold(filepath.Ext(path), ".hex") }

// countOf is a number of things for people.
func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// build resolves all flags but the keys.
func (f *imageSignMCUboot) build(algorithm sign.Algorithm) (mcuboot.Options, error) {
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
	if o.Version, err = mcuboot.ParseVersion(f.version); err != nil {
		return o, usagef("--version: %w", err)
	}
	switch {
	case strings.EqualFold(f.counter, "auto"):
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
	switch {
	case f.encryptTo == "" && f.clear:
		return o, usagef("--clear needs --encrypt")
	case f.encryptTo != "" && f.later:
		return o, usagef("--encrypt and --encrypt-later rule each other out")
	case f.later:
		o.Encrypt = &mcuboot.Encrypt{}
		return o, f.exchange(&o.Target, nil)
	case f.encryptTo == "":
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
func (f *imageSignMCUboot) payload(path, out string, o mcuboot.Options) (payload []byte, base uint32, err error) {
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
	switch {
	case !isHex(out):
	case f.hexAddress != nil:
		base = uint32(*f.hexAddress)
	case format == firmware.Bin:
		return nil, 0, usagef("--hex-addr is missing: %s has no address", path)
	case o.PadHeader && int64(base) < int64(o.HeaderSize):
		return nil, 0, usagef("%s begins at 0x%x, which leaves no room for the header in front: say where the image goes with --hex-addr", path, base)
	case o.PadHeader:
		base -= uint32(o.HeaderSize)
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
	replaced  *uint64 // security counter of the installed image
	address   *uint64 // of the slot
	primary   bool
	unsigned  bool
}

func (a *app) imageVerifyMCUbootCommand() *cobra.Command {
	var o imageVerifyMCUboot
	c := &cobra.Command{
		Use:   "mcuboot --key <public-key>... <image>",
		Short: "Check an MCUboot image as the bootloader does",
		Long: `Check an image as MCUboot does, check by check in its order. The flags say how
the bootloader was built; what they leave open is not checked and reported as
not-run. Without a key there is no verdict, except with --unsigned.

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
	f.StringVar(&o.installed, "installed-version", "", "`version` of the installed image, for --downgrade version (the default with this flag)")
	numberFlag(f, &o.replaced, "installed-counter", "", math.MaxUint32, "security `counter` of the installed image, for --downgrade security-counter")
	numberFlag(f, &o.address, "slot-address", "", math.MaxUint32, "`address` of the slot in flash, for images that are linked for one")
	f.StringVar(&o.Vendor, "vid", "", "vendor identifier that the bootloader demands: UUID or `text`")
	f.StringVar(&o.Class, "cid", "", "class identifier that the bootloader demands: UUID or `text`")
	f.BoolVar(&o.primary, "primary", false, "check as in the primary slot")
	f.BoolVar(&o.unsigned, "unsigned", false, "the bootloader verifies no signatures (MCUBOOT_SIGN_NONE)")
	o.target(f)
	o.rules(f)
	return c
}

// verifying is a bootloader with the keys of these files, or without any.
func (m *mcubootFlags) verifying(files []string, unsigned bool) (mcuboot.Target, error) {
	switch {
	case unsigned && len(files) > 0:
		return mcuboot.Target{}, usagef("--unsigned and a key rule each other out")
	case !unsigned && len(files) == 0:
		return mcuboot.Target{}, usagef("--key is missing: without a key there is no verdict; --unsigned is for bootloaders that verify no signatures")
	}
	keys, err := readImageKeys(files)
	if err != nil {
		return mcuboot.Target{}, err
	}
	return m.withKeys(keys)
}

func (a *app) imageVerifyMCUboot(ctx context.Context, f imageVerifyMCUboot, path string) error {
	t, err := f.verifying(f.keys, f.unsigned)
	if err != nil {
		return err
	}
	if err := f.state(&t); err != nil {
		return err
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
	r := tracedResult("mcuboot", err, trace, func(c mcuboot.Check) imageCheck { return checkLine(c.Step, c.Status, c.Reason, c.Detail) })
	if v != nil {
		r.Complete, r.Version, r.Hash = v.Complete(), v.File().Header.Version.String(), hex.EncodeToString(v.Hash())
		if k, ok := v.SignedBy(); ok {
			r.SignedBy = hex.EncodeToString(k.Hash(crypto.SHA256))
		}
		if !v.Bootable() {
			r.Warnings = append(r.Warnings, "the image is marked as non-bootable: the loader treats the slot as empty")
		}
	}
	return a.imageVerdict(path, r, err)
}

// state is what the flags say of the device that the image comes to.
func (f *imageVerifyMCUboot) state(t *mcuboot.Target) error {
	if f.primary {
		t.Slot = mcuboot.Primary
	}
	t.SlotAddress = word(f.address)
	if f.counter != nil {
		t.Rollback = word(f.counter)
	}
	if f.installed != "" || f.replaced != nil {
		t.Installed = &mcuboot.Installed{Counter: word(f.replaced)}
	}
	var err error
	if f.installed != "" {
		if t.Installed.Version, err = mcuboot.ParseVersion(f.installed); err != nil {
			return usagef("--installed-version: %w", err)
		}
		if f.Downgrade == "" && f.replaced == nil {
			t.Downgrade = mcuboot.ByVersion
		}
	}
	if f.replaced != nil && f.Downgrade == "" {
		t.Downgrade = mcuboot.ByCounter
	}
	var vendor mcuboot.UUID
	if f.Vendor != "" {
		if vendor, err = mcuboot.VendorUUID(f.Vendor); err != nil {
			return usagef("--vid: %w", err)
		}
		t.Vendor = &vendor
	}
	if f.Class != "" {
		class, err := mcuboot.ClassUUID(vendor, f.Class)
		if err != nil {
			return usagef("--cid: %w", err)
		}
		t.Class = &class
	}
	return nil
}

// word is a flag's number where 32 bits are wanted; the flag has checked the range.
func word(n *uint64) *uint32 {
	if n == nil {
		return nil
	}
	w := uint32(*n)
	return &w
}

// readImageKeys reads the keys that are compiled into a bootloader.
func readImageKeys(files []string) ([]mcuboot.Key, error) {
	var keys []mcuboot.Key
	for _, file := range files {
		data, err := readInput(file, maxIdentity)
		if err != nil {
			return nil, err
		}
		k, err := mcuboot.ParseKey(data)
		if err != nil {
			return nil, &release.InputError{Path: file, Err: err}
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// withKeys is the bootloader that has some keys, or none.
func (m *mcubootFlags) withKeys(keys []mcuboot.Key) (mcuboot.Target, error) {
	var first mcuboot.Key
	if len(keys) > 0 {
		first = keys[0]
	}
	o, err := m.options(first.Public().Algorithm())
	t := o.Target
	t.Keys = keys
	for _, rsa := range []mcuboot.SignatureType{mcuboot.RSA2048, mcuboot.RSA3072} {
		if first.Verifies(rsa) {
			t.Signature = rsa
		}
	}
	return t, err
}

// readImageFile reads an image, from binary or Intel HEX.
func readImageFile(path string) ([]byte, error) {
	if !isHex(path) {
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
	keys      []string
	deviceKey string
	clear     bool
	force     bool
}

func (a *app) imageEncryptCommand() *cobra.Command {
	var o imageEncrypt
	c := &cobra.Command{
		Use:   "encrypt --to <key-or-folder>... --output <directory> <image>",
		Short: "Make one encrypted MCUboot image for each device from a signed one",
		Long: `Take a signed MCUboot image whose payload is in the clear and that is marked as
encrypted ("otapack image sign mcuboot --encrypt-later", imgtool sign --encrypt
KEY --clear, or one that --device-key decrypts), and write one file for each
device key, each with a content key of its own. MCUboot signs the plain image, so
that one signature serves all of them and no token is needed here. With --key the
signature is checked first.

--to takes public keys in PEM files, or folders of them; files are called after
the keys. All of them are written or none; --force replaces them one by one.`,
		Example: "  otapack image encrypt --to keys/devices -k fw.pub.pem -o out app.clear.bin",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.imageEncrypt(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "public key `file` of a device, or a folder of such files (repeatable)")
	f.StringVarP(&o.output, "output", "o", "", "`directory` for the files")
	f.StringVar(&o.deviceKey, "device-key", "", "`file` with the private key that the image is encrypted to now")
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key `file` that has to verify the image (repeatable)")
	f.BoolVar(&o.clear, "clear", false, "leave the payload in the clear, for the first programming of each device")
	f.BoolVarP(&o.force, "force", "f", false, "replace existing output files")
	o.padding(f)
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
	signed, err := f.open(ctx, path, data, recipients[0])
	if err != nil {
		return err
	}
	r := imageResult{Schema: "otapack.image-encrypt/1", Format: "mcuboot"}
	for _, name := range names { // no two runs write the same bytes
		path := filepath.Join(f.output, name+".bin")
		if _, err := os.Lstat(path); err == nil && !f.force {
			return imageExists{fmt.Errorf("%s: %w", path, fs.ErrExist)}
		}
	}
	set := atomicfile.NewSet(f.output)
	defer set.Abort() // nothing is left after Commit
	for i, to := range recipients {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Paths = append(r.Paths, filepath.Join(f.output, names[i]+".bin"))
		if err := f.write(set, r.Paths[i], signed, to); err != nil {
			return err
		}
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("%s from one signature", countOf(len(recipients), "file"))
	return a.result(r, strings.Join(r.Paths, "\n")+"\n")
}

// open checks the image and takes it apart.
func (f *imageEncrypt) open(ctx context.Context, path string, data []byte, to mcuboot.Recipient) (*mcuboot.Signed, error) {
	keys, err := readImageKeys(f.keys)
	if err != nil {
		return nil, err
	}
	t, err := f.withKeys(keys)
	if err != nil {
		return nil, err
	}
	if err := f.exchange(&t, to.Public().Curve()); err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		inClear := t
		inClear.Slot, inClear.DeviceKey = mcuboot.Primary, mcuboot.DeviceKey{}
		if _, _, err := mcuboot.Verify(ctx, data, inClear); err != nil {
			if errors.Is(err, mcuboot.ErrTarget) {
				return nil, usageError{err}
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	padding := mcuboot.NoPadding
	switch {
	case f.confirm:
		padding = mcuboot.Confirm
	case f.pad || f.test:
		padding = mcuboot.Pad
	}
	signed, err := mcuboot.Reopen(data, t, padding)
	if err != nil {
		return nil, &release.InputError{Path: path, Err: err}
	}
	return signed, nil
}

// write makes the file of one device.
func (f *imageEncrypt) write(set *atomicfile.Set, path string, signed *mcuboot.Signed, to mcuboot.Recipient) error {
	emit := signed.EncryptFor
	if f.clear {
		emit = signed.ClearFor
	}
	if f.force {
		var b bytes.Buffer
		if err := emit(&b, to, rand.Reader); err != nil {
			return refused(err)
		}
		return writeImageFiles([]imageFile{{path, b.Bytes()}}, true)
	}
	w, err := set.Create(filepath.Base(path))
	if err != nil {
		return err
	}
	return refused(emit(w, to, rand.Reader))
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
