package main

import (
	"context"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign/verdict"
)

// sbsfuSchemes are ours and ST's names of what a bootloader is built for.
var sbsfuSchemes = map[string]sbsfu.Scheme{
	"ecdsa-clear": sbsfu.Clear, "SECBOOT_ECCDSA_WITHOUT_ENCRYPT_SHA256": sbsfu.Clear,
	"ecdsa-aes-cbc": sbsfu.AESCBC, "SECBOOT_ECCDSA_WITH_AES128_CBC_SHA256": sbsfu.AESCBC,
	"aes-gcm": sbsfu.AESGCM, "SECBOOT_AES128_GCM_AES128_GCM_AES128_GCM": sbsfu.AESGCM,
}

// sbsfuHints are those for what this bootloader refuses.
var sbsfuHints = map[string]string{
	string(verdict.Truncated):             "a package begins with a header of 320 bytes: is this the .sfb file, and is it whole?",
	string(verdict.SFBScheme):             "choose a scheme with ECDSA for the project (SECBOOT_CRYPTO_SCHEME): with AES-GCM, who reads the key out of one device makes packages for all",
	string(verdict.ImageMagic):            "a package begins with SFU1, SFU2 or SFU3, the active slot that it is for: --slots says how many there are",
	string(verdict.SignatureInvalid):      "is this the public half of the key that prepareimage.py pack signed with? Each slot has its own: --key is given once for each",
	string(verdict.SFBInitVersion):        "say what runs with --installed-version; SFU_FW_VERSION_INIT_NUM of another project with --init-version",
	string(verdict.VersionDowngrade):      "devices take an equal or a higher version than the installed one, and none below SFU_FW_VERSION_START_NUM (--start-version)",
	string(verdict.ImageExceedsSlot):      "make the firmware smaller, or say with --slot-size and --offset what the project has",
	string(verdict.ReservedBytes):         "packages with encrypted firmware have an IV there: --scheme ecdsa-aes-cbc",
	string(verdict.PayloadDigestMismatch): "do --offset, --scheme and --aes-key describe the project? Otherwise the file was changed after signing, or damaged on the way",
	string(verdict.ImageDigestMismatch):   "do --offset, --scheme and --aes-key describe the project, and is --installed-firmware what a part was made for? Otherwise the file was changed after signing, or damaged on the way",
}

// imageVerifySBSFU are the flags of "image verify sbsfu".
type imageVerifySBSFU struct {
	scheme                    string
	offset                    uint64
	initVersion, startVersion uint64
	slots                     int
	// Of each slot, or of all.
	sizes     []uint64
	keys      []string
	aesKeys   []string
	installed []uint64
	firmware  []string
}

func (a *app) imageVerifySBSFUCommand() *cobra.Command {
	o := imageVerifySBSFU{offset: 512, initVersion: 1, startVersion: 1}
	c := &cobra.Command{
		Use:   "sbsfu --key <public-key> --scheme <scheme> --slot-size <size> <package.sfb>",
		Short: "Check an X-CUBE-SBSFU package as the bootloader does",
		Long: `Check a package (.sfb) as the bootloader of ST's X-CUBE-SBSFU does, check by check
in its order, on a device in the state that the flags describe: the installation,
then the start that follows.

A device has up to three active slots, SFU1 first, and the package says which one
it is for. Flags about a slot are given once for all slots, or once for each; a
slot without valid firmware has the installed version 0. A package with a part of
the firmware needs --installed-firmware, what the part is put into.`,
		Example: `  otapack image verify sbsfu -k ECC.pub.pem --scheme ecdsa-aes-cbc --aes-key AES_CBC.bin -S 0x32000 --installed-version 1 UserApp.sfb
  otapack image verify sbsfu -k ECC1.pub.pem -k ECC2.pub.pem --scheme ecdsa-clear -S 0x32000 -S 0x10000 --installed-version 3 --installed-version 0 UserApp2.sfb`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.imageVerifySBSFU(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key `file` of a slot (repeatable)")
	f.StringVar(&o.scheme, "scheme", "", "SECBOOT_CRYPTO_SCHEME, by its `name` or as ecdsa-clear or ecdsa-aes-cbc")
	f.StringArrayVar(&o.aesKeys, "aes-key", nil, "`file` with the 16 bytes of a slot's AES key, for ecdsa-aes-cbc (repeatable)")
	f.IntVar(&o.slots, "slots", 0, "`number` of active slots (default as many as a flag is given for)")
	numbersFlag(f, &o.sizes, "slot-size", "S", sbsfu.MaxSlot, "`size` of an active slot in bytes, with the header (repeatable)")
	f.FuncP("offset", "o", "where the firmware begins in a slot, in `bytes`: SFU_IMG_IMAGE_OFFSET (default 512)", numberTo(&o.offset, sbsfu.MaxSlot))
	numbersFlag(f, &o.installed, "installed-version", "", math.MaxUint16, "`version` of the firmware in a slot, 0 for none (repeatable)")
	f.StringArrayVar(&o.firmware, "installed-firmware", nil, "`file` with the firmware in a slot in the clear, for packages with a part of it (repeatable)")
	f.Func("init-version", "SFU_FW_VERSION_INIT_NUM: the `version` that a device without firmware takes (default 1)", numberTo(&o.initVersion, math.MaxUint16))
	f.Func("start-version", "SFU_FW_VERSION_START_NUM: the lowest `version` that is taken (default 1)", numberTo(&o.startVersion, math.MaxUint16))
	return c
}

// numberTo reads a flag's number into one that has a default.
func numberTo(to *uint64, limit uint64) func(string) error {
	return func(s string) (err error) {
		*to, err = parseNumber(s, limit)
		return err
	}
}

// device is what the flags describe.
func (f *imageVerifySBSFU) device() (sbsfu.Device, error) {
	scheme, known := sbsfuSchemes[f.scheme]
	switch {
	case len(f.keys) == 0:
		return sbsfu.Device{}, usagef("--key is missing: without a key there is no verdict")
	case f.scheme == "":
		return sbsfu.Device{}, usagef("--scheme is missing: ecdsa-clear or ecdsa-aes-cbc, as the bootloader was built")
	case !known:
		return sbsfu.Device{}, usagef("--scheme %q: want ecdsa-clear, ecdsa-aes-cbc, or the name of one in ST's se_crypto_config.h", f.scheme)
	case f.slots < 0 || f.slots > 3:
		return sbsfu.Device{}, usagef("--slots %d: want 1 to 3", f.slots)
	case len(f.sizes) == 0:
		return sbsfu.Device{}, usagef("--slot-size is missing")
	}
	d := sbsfu.Device{Scheme: scheme, Offset: uint32(f.offset), InitVersion: uint16(f.initVersion), StartVersion: uint16(f.startVersion)}
	n := max(f.slots, len(f.keys), len(f.sizes), len(f.aesKeys), len(f.installed), len(f.firmware))
	for _, flag := range []struct {
		name  string
		given int
	}{
		{"key", len(f.keys)}, {"slot-size", len(f.sizes)}, {"aes-key", len(f.aesKeys)}, {"installed-version", len(f.installed)}, {"installed-firmware", len(f.firmware)},
	} {
		if err := eachOf(flag.name, flag.given, n, "slots"); err != nil {
			return d, err
		}
	}
	if len(f.firmware) > 0 && len(f.installed) == 0 {
		return d, usagef("--installed-firmware needs its version: --installed-version")
	}
	for i := range n {
		s, err := f.slot(i)
		if err != nil {
			return d, err
		}
		d.Slots = append(d.Slots, s)
	}
	return d, nil
}

// slot is what the flags say of an active slot.
func (f *imageVerifySBSFU) slot(i int) (s sbsfu.Slot, err error) {
	s.Size = uint32(nth(f.sizes, i))
	if s.Key, err = readPublicKey(nth(f.keys, i)); err != nil {
		return s, err
	}
	if file := nth(f.aesKeys, i); file != "" {
		if s.AESKey, err = readAESKey(file); err != nil {
			return s, err
		}
	}
	version, file := nth(f.installed, i), nth(f.firmware, i)
	if version == 0 && file == "" {
		return s, nil
	}
	s.Installed = &sbsfu.Installed{Version: uint16(version)}
	if file != "" {
		s.Installed.Firmware, err = readImageFile(file)
	}
	return s, err
}

// readAESKey reads a key of AES-128 as prepareimage.py writes it.
func readAESKey(path string) ([]byte, error) {
	key, err := readInput(path, maxIdentity)
	if err == nil && len(key) != aes.BlockSize {
		err = &release.InputError{Path: path, Err: fmt.Errorf("%d bytes, want the 16 of a key of AES-128", len(key))}
	}
	return key, err
}

func (a *app) imageVerifySBSFU(ctx context.Context, f imageVerifySBSFU, path string) error {
	device, err := f.device()
	if err != nil {
		return err
	}
	data, err := readInput(path, sbsfu.MaxSlot)
	if err != nil {
		return err
	}
	v, trace, err := sbsfu.Verify(ctx, data, device)
	switch {
	case errors.Is(err, sbsfu.ErrDevice):
		return usageError{err}
	case errors.Is(err, sbsfu.ErrBase):
		return usagef("--installed-firmware is missing: %s has a part of the firmware, and the rest of it is installed", path)
	}
	r := tracedResult("sbsfu", err, trace, func(c sbsfu.Check) imageCheck { return checkLine(c.Step, c.Status, c.Reason, c.Detail) })
	if v != nil {
		h := v.Header()
		r.Complete, r.Version, r.Hash = true, strconv.Itoa(int(h.Version)), hex.EncodeToString(h.Tag[:])
		r.SignedBy = keyHash(device.Slots[h.Slot()-1].Key)
		r.unusual(v.Unusual())
	}
	return a.imageVerdict(path, r, err)
}
