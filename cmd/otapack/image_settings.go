package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
)

// imageSettings are the flags of "image settings".
type imageSettings struct {
	imageParts
	signers  imageSigners
	family   string
	version  int
	start    *uint64
	noBackup bool
	backup   *uint64
	force    bool
}

// families are nrfutil's names of chips that share addresses.
var families = map[string]string{
	"NRF52810": "nrf52810", "NRF52": "nrf52832", "NRF52832": "nrf52832", "NRF52833": "nrf52833", "NRF52840": "nrf52840",
}

func (a *app) imageSettingsCommand() *cobra.Command {
	var o imageSettings
	c := &cobra.Command{
		Use:   "settings --family <chip> --bootloader-version <n> <settings.hex>",
		Short: "Make the settings page of an nRF5 bootloader for the factory",
		Long: `Make the settings page that is programmed together with the first firmware, as
nrfutil settings generate does: the bootloader then starts the application and
refuses downgrades from the first update on. Boot validations with ecdsa are
signed with a key in a PKCS#11 token.`,
		Example: `  otapack image settings --family NRF52840 --application app.hex --application-version 1 --bootloader-version 1 settings.hex`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.imageSettings(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	o.signers.flags(f, false)
	o.flags(f)
	f.StringVar(&o.family, "family", "", "`chip`: NRF52810, NRF52 (nRF52832), NRF52833 or NRF52840")
	f.IntVar(&o.version, "bl-settings-version", 2, "`version` of the page: 1 up to SDK 15.2, else 2")
	numberFlag(f, &o.start, "start-address", "", math.MaxUint32, "`address` of the page, where it is not the chip's")
	f.BoolVar(&o.noBackup, "no-backup", false, "leave the backup page out")
	numberFlag(f, &o.backup, "backup-address", "", math.MaxUint32, "`address` of the backup page (default one page below)")
	f.BoolVarP(&o.force, "force", "f", false, "replace an existing output file")
	return c
}

func (a *app) imageSettings(ctx context.Context, f imageSettings, out string) error {
	chip, ok := families[strings.ToUpper(f.family)]
	if !ok {
		return usagef("--family %q: want NRF52810, NRF52, NRF52833 or NRF52840", f.family)
	}
	profile, err := nrfdfu.ProfileByName(chip)
	if err != nil {
		return err
	}
	if f.bootloaderVersion == nil {
		return usagef("--bootloader-version is missing")
	}
	app, sd, _, err := f.parts(false)
	if err != nil {
		return err
	}
	o := nrfdfu.SettingsOptions{Version: f.version, Application: app, SoftDevice: sd, BootloaderVersion: uint32(*f.bootloaderVersion)}
	signers, err := a.resolveSigners(f.signers, sign.ESP256)
	if err != nil {
		return err
	}
	for _, s := range signers {
		o.Key = s.public
	}
	draft, err := nrfdfu.PrepareSettings(o)
	if err != nil {
		if errors.Is(err, nrfdfu.ErrOptions) {
			return usageError{err}
		}
		return refused(err)
	}
	var signatures []sign.Signature
	if requests := draft.Requests(); len(requests) > 0 {
		if len(signers) == 0 {
			return usagef("--key is missing: a boot validation with ecdsa is signed")
		}
		open, closeAll, err := a.openSigners(ctx, signers)
		defer closeAll()
		if err != nil {
			return err
		}
		if signatures, err = sign.Answer(ctx, requests, open); err != nil {
			return err
		}
	}
	settings, err := draft.Settings(signatures)
	if err != nil {
		return err
	}
	if err := checkSettings(settings, o); err != nil {
		return err
	}
	page, err := settings.Encode()
	if err != nil {
		return err
	}
	address, backup := profile.Settings, &profile.Backup
	if f.start != nil {
		address = uint32(*f.start)
		*backup = address - 0x1000
	}
	if f.backup != nil {
		*backup = uint32(*f.backup)
	}
	if f.noBackup {
		backup = nil
	}
	image, err := nrfdfu.SettingsImage(page, address, backup)
	if err != nil {
		return refused(err)
	}
	var text bytes.Buffer
	if err := firmware.WriteIntelHex(&text, image); err != nil {
		return err
	}
	if err := writeResult(out, text.Bytes(), f.force); err != nil {
		return err
	}
	r := imageResult{Schema: "otapack.image-settings/1", Format: "nrfdfu", Path: out, Size: int64(text.Len())}
	a.say("%s: settings page at 0x%x, version %d", out, address, f.version)
	return a.result(r, out+"\n")
}

// checkSettings holds the page against the firmware, as the bootloader does at
// every start.
func checkSettings(s nrfdfu.Settings, o nrfdfu.SettingsOptions) error {
	var app, sd *nrfdfu.Firmware
	if o.Application != nil {
		app = &o.Application.Firmware
	}
	if o.SoftDevice != nil {
		sd = &o.SoftDevice.Firmware
	}
	if err := s.CheckFirmware(o.Key, app, sd); err != nil {
		return fmt.Errorf("the finished page: %w", err)
	}
	return nil
}

// isSettings finds a settings page in firmware with addresses.
func isSettings(addresses []uint32) (nrfdfu.Profile, bool) {
	for _, p := range nrfdfu.Profiles() {
		if slices.Contains(addresses, p.Settings) {
			return p, true
		}
	}
	return nrfdfu.Profile{}, false
}
