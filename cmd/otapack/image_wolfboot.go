package main

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign/verdict"
)

// codeDelta is the code of an image that gives no verdict here.
const codeDelta = "delta-update"

// wolfBootHints are those for what this bootloader refuses.
var wolfBootHints = map[string]string{
	codeDelta:                           "what a delta update makes depends on what runs: verify the whole image, which wolfBoot's sign writes beside it",
	string(verdict.ImageMagic):          "an image begins with WOLF: is this the firmware before wolfBoot's sign?",
	string(verdict.ImageExceedsSlot):    "make the firmware smaller, or say with --partition-size, --update-size, --sector-size and --write-once what the build has",
	string(verdict.ImageSizes):          "an image without firmware is taken only where some runs: --running-size",
	string(verdict.ImageType):           "an update is an image of the application, partition 1: wolfBoot's sign makes others with --id and --wolfboot-update",
	string(verdict.SignatureType):       "otapack knows the checks of builds with SIGN=ECC256, and they refuse other images: sign with --ecc256",
	string(verdict.ImageHashMissing):    "otapack knows the checks of builds with HASH=SHA256: sign with --sha256, and say with --header-size what IMAGE_HEADER_SIZE is",
	string(verdict.ImageDigestMismatch): "is IMAGE_HEADER_SIZE what --header-size says? Otherwise the file was changed after signing, or damaged on the way",
	string(verdict.NoKnownKey):          "the image was signed with other keys: is this the public half of one of them?",
	string(verdict.KeyPartition):        "--id says which partitions a key is for, as in wolfBoot's keygen; images of the application are for partition 1",
	string(verdict.Unsigned):            "sign the image: wolfBoot's --sha-only and --manual-sign leave the signature to be put in",
	string(verdict.SignatureInvalid):    "the file was changed after signing, or another key signed it than the one that it names",
	string(verdict.VersionDowngrade):    "an update has a higher version than what runs, unless the build allows downgrades (--allow-downgrade) or it follows a bad image (--fallback)",
}

// imageVerifyWolfBoot are the flags of "image verify wolfboot".
type imageVerifyWolfBoot struct {
	keys              []string
	ids               []string
	headerSize        *uint64
	partition, update *uint64
	sector            *uint64
	writeOnce         bool
	version, size     *uint64
	fallback          bool
	allowDowngrade    bool
}

func (a *app) imageVerifyWolfBootCommand() *cobra.Command {
	var o imageVerifyWolfBoot
	c := &cobra.Command{
		Use:   "wolfboot --key <public-key>... --partition-size <size> --sector-size <size> <image>",
		Short: "Check a wolfBoot image as the bootloader does",
		Long: `Check an image in the update partition as wolfBoot does before it swaps it in, check
by check in its order, on a device in the state that the flags describe. The build
is one with SIGN=ECC256 and HASH=SHA256: images for others are refused as it does.

A delta update gives no verdict: the exit code is 3.`,
		Example: "  otapack image verify wolfboot -k wolfboot.pub.pem --partition-size 0x20000 --sector-size 0x800 --running-version 3 app_v4_signed.bin",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.imageVerifyWolfBoot(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key `file` of the key store, in its order (repeatable)")
	f.StringArrayVar(&o.ids, "id", nil, "`partitions` that a key is for, as keygen's --id: \"1,2\"; once for all keys, or once for each (default any)")
	numberFlag(f, &o.headerSize, "header-size", "H", wolfboot.MaxHeader, "IMAGE_HEADER_SIZE in `bytes` (default 256)")
	numberFlag(f, &o.partition, "partition-size", "", wolfboot.MaxPartition, "WOLFBOOT_PARTITION_SIZE in `bytes`")
	numberFlag(f, &o.update, "update-size", "", wolfboot.MaxPartition, "WOLFBOOT_PARTITION_UPDATE_SIZE in `bytes`, where it differs")
	numberFlag(f, &o.sector, "sector-size", "", math.MaxUint32, "WOLFBOOT_SECTOR_SIZE in `bytes`")
	f.BoolVar(&o.writeOnce, "write-once", false, "NVM_FLASH_WRITEONCE is 1: the trailer takes two sectors")
	numberFlag(f, &o.version, "running-version", "", math.MaxUint32, "`version` of the image in the boot partition; left out for none")
	numberFlag(f, &o.size, "running-size", "", wolfboot.MaxPartition, "`size` of its firmware in bytes, which counts for an image without firmware only")
	f.BoolVar(&o.fallback, "fallback", false, "the image in the boot partition was found bad, or was never confirmed")
	f.BoolVar(&o.allowDowngrade, "allow-downgrade", false, "ALLOW_DOWNGRADE is 1: versions are not compared")
	return c
}

// device is what the flags describe.
func (f *imageVerifyWolfBoot) device() (wolfboot.Device, error) {
	d := wolfboot.Device{WriteOnce: f.writeOnce, Fallback: f.fallback, AllowDowngrade: f.allowDowngrade}
	switch {
	case len(f.keys) == 0:
		return d, usagef("--key is missing: without a key there is no verdict")
	case f.partition == nil:
		return d, usagef("--partition-size is missing")
	case f.sector == nil:
		return d, usagef("--sector-size is missing")
	}
	d.PartitionSize, d.SectorSize = uint32(*f.partition), uint32(*f.sector)
	if f.headerSize != nil {
		d.HeaderSize = uint32(*f.headerSize)
	}
	if f.update != nil {
		d.UpdateSize = uint32(*f.update)
	}
	if f.version != nil || f.size != nil {
		d.Running = &wolfboot.Running{}
		if f.version != nil {
			d.Running.Version = uint32(*f.version)
		}
		if f.size != nil {
			d.Running.Size = uint32(*f.size)
		}
	}
	if err := eachOf("id", len(f.ids), len(f.keys), "keys"); err != nil {
		return d, err
	}
	for i, file := range f.keys {
		partitions, err := partitionMask(nth(f.ids, i))
		if err != nil {
			return d, err
		}
		public, err := readPublicKey(file)
		if err != nil {
			return d, err
		}
		d.Keys = append(d.Keys, wolfboot.Key{Public: public, Partitions: partitions})
	}
	return d, nil
}

// partitionMask reads a list of partitions; all for none.
func partitionMask(list string) (mask uint32, err error) {
	if list == "" {
		return wolfboot.AllPartitions, nil
	}
	for id := range strings.SplitSeq(list, ",") {
		n, err := parseNumber(strings.TrimSpace(id), 31)
		if err != nil {
			return 0, usagef("--id %q: %w", list, err)
		}
		mask |= 1 << n
	}
	return mask, nil
}

func (a *app) imageVerifyWolfBoot(ctx context.Context, f imageVerifyWolfBoot, path string) error {
	device, err := f.device()
	if err != nil {
		return err
	}
	data, err := readInput(path, wolfboot.MaxPartition)
	if err != nil {
		return err
	}
	v, trace, err := wolfboot.Verify(ctx, data, device)
	if errors.Is(err, wolfboot.ErrDevice) {
		return usageError{err}
	}
	r := tracedResult("wolfboot", err, trace, func(c wolfboot.Check) imageCheck { return checkLine(c.Step, c.Status, c.Reason, c.Detail) })
	if v != nil {
		digest := v.Digest()
		r.Complete, r.Version, r.Hash = true, strconv.FormatUint(uint64(v.Version()), 10), hex.EncodeToString(digest[:])
		r.SignedBy = keyHash(v.SignedBy())
		r.unusual(v.Unusual())
	}
	return a.imageVerdict(path, r, err)
}
