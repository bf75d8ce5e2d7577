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
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

// validations are the names of boot validations, as nrfutil has them.
var validations = map[string]nrfdfu.ValidationType{
	"NO_VALIDATION":              nrfdfu.NoValidation,
	"VALIDATE_GENERATED_CRC":     nrfdfu.ValidateCRC,
	"VALIDATE_GENERATED_SHA256":  nrfdfu.ValidateSHA256,
	"VALIDATE_ECDSA_P256_SHA256": nrfdfu.ValidateECDSA,
}

// validation reads a boot validation: nrfutil's name for it, or a short one.
func validation(flag, name string) (*nrfdfu.ValidationType, error) {
	if name == "" {
		return nil, nil
	}
	short := map[string]string{
		"none": "NO_VALIDATION", "crc": "VALIDATE_GENERATED_CRC", "sha256": "VALIDATE_GENERATED_SHA256", "ecdsa": "VALIDATE_ECDSA_P256_SHA256",
	}
	if long, ok := short[name]; ok {
		name = long
	}
	v, ok := validations[name]
	if !ok {
		return nil, usagef("--%s %q: want none, crc, sha256 or ecdsa", flag, name)
	}
	return &v, nil
}

// imageParts are the firmware files and versions of packages and settings.
type imageParts struct {
	application, softDevice, bootloader string
	appVersion, bootloaderVersion       *uint64
	appVersionText                      string
	appValidation, sdValidation         string
}

func (p *imageParts) flags(f *pflag.FlagSet) {
	f.StringVar(&p.application, "application", "", "application `file`")
	numberFlag(f, &p.appVersion, "application-version", "", math.MaxUint32, "`version` of the application")
	f.StringVar(&p.appVersionText, "application-version-string", "", "`version` of the application as a.b.c")
	f.StringVar(&p.softDevice, "softdevice", "", "SoftDevice `file`")
	numberFlag(f, &p.bootloaderVersion, "bootloader-version", "", math.MaxUint32, "`version` of the bootloader")
	f.StringVar(&p.appValidation, "app-boot-validation", "", "`how` the application is checked at every start: none, crc (the default), sha256 or ecdsa")
	f.StringVar(&p.sdValidation, "sd-boot-validation", "", "`how` the SoftDevice is checked at every start: as for the application")
}

// part reads one of them, nil where the file is not given.
func (p *imageParts) part(file, flag, validationName string) (*nrfdfu.Part, error) {
	v, err := validation(flag, validationName)
	if err != nil {
		return nil, err
	}
	if file == "" {
		if v != nil {
			return nil, usagef("--%s is about a file that is not given", flag)
		}
		return nil, nil
	}
	data, err := readInput(file, maxFirmware)
	if err != nil {
		return nil, err
	}
	loaded, err := nrfdfu.LoadFirmware(bytes.NewReader(data), firmware.Auto)
	if err != nil {
		return nil, &release.InputError{Path: file, Err: err}
	}
	return &nrfdfu.Part{Firmware: loaded, BootValidation: v}, nil
}

// parts reads the files; debug packages need no versions.
func (p *imageParts) parts(debug bool) (app, sd, bl *nrfdfu.Part, err error) {
	if app, err = p.part(p.application, "app-boot-validation", p.appValidation); err != nil {
		return nil, nil, nil, err
	}
	if sd, err = p.part(p.softDevice, "sd-boot-validation", p.sdValidation); err != nil {
		return nil, nil, nil, err
	}
	if bl, err = p.part(p.bootloader, "", ""); err != nil {
		return nil, nil, nil, err
	}
	if app != nil {
		if app.Version, err = p.applicationVersion(debug); err != nil {
			return nil, nil, nil, err
		}
	} else if p.appVersion != nil || p.appVersionText != "" {
		return nil, nil, nil, usagef("a version of the application, but no --application")
	}
	switch {
	case bl == nil:
	case p.bootloaderVersion != nil:
		bl.Version = uint32(*p.bootloaderVersion)
	case debug:
		bl.Version = nrfdfu.MaxVersion
	default:
		return nil, nil, nil, usagef("--bootloader-version is missing")
	}
	return app, sd, bl, nil
}

// dropped warns of bytes that an update does not bring. Of a SoftDevice they are
// the master boot record, and of a bootloader its UICR words, as a rule.
func (p *imageParts) dropped(app *nrfdfu.Part) []string {
	if app == nil || app.Firmware.Dropped == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d bytes are left out: an update writes neither the master boot record nor UICR", p.application, app.Firmware.Dropped)}
}

func (p *imageParts) applicationVersion(debug bool) (uint32, error) {
	switch {
	case p.appVersion != nil && p.appVersionText != "":
		return 0, usagef("--application-version and --application-version-string rule each other out")
	case p.appVersion != nil:
		return uint32(*p.appVersion), nil
	case p.appVersionText != "":
		v, err := nrfdfu.ParseVersion(p.appVersionText)
		if err != nil {
			return 0, usagef("--application-version-string: %w", err)
		}
		return v, nil
	case debug:
		return nrfdfu.MaxVersion, nil
	}
	return 0, usagef("--application-version is missing, or --application-version-string")
}

// imageSignNRFDFU are the flags of "image sign nrfdfu".
type imageSignNRFDFU struct {
	imageParts
	signers   imageSigners
	hwVersion *uint64
	sdReq     []string
	sdID      []string
	external  bool
	debug     bool
	unsigned  bool
	sdk       int
	force     bool
}

func (a *app) imageSignNRFDFUCommand() *cobra.Command {
	var o imageSignNRFDFU
	c := &cobra.Command{
		Use:   "nrfdfu --hw-version <n> --key <key> <package.zip>",
		Short: "Make a signed nRF5 DFU package, as nrfutil pkg generate does",
		Long: `Make a DFU package for the bootloader of the nRF5 SDK and sign it in one step with
a key in a PKCS#11 token. Combinations that no device installs are refused before
the token is opened, and what is allowed and rarely meant is a warning. Before the
package is written, it is read back and its signatures, hashes and sizes are
checked as every bootloader does.

The package is the same for the same input, but for the signatures. An
application with --app-boot-validation ecdsa takes two signatures. "-" writes to
standard output.`,
		Example: `  otapack image sign nrfdfu --hw-version 52 --sd-req 0x0100 --application app.hex --application-version 4 --key radio-2026 app.zip
  otapack image sign nrfdfu --hw-version 52 --sd-req 0xB7 --sd-id 0x101 --softdevice s132.hex --bootloader bl.hex --bootloader-version 2 --application app.hex --application-version 4 -k radio-2026 all.zip`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.imageSignNRFDFU(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	o.signers.flags(f, false)
	f.BoolVar(&o.unsigned, "unsigned", false, "make a package without a signature")
	o.flags(f)
	f.StringVar(&o.bootloader, "bootloader", "", "bootloader `file`")
	numberFlag(f, &o.hwVersion, "hw-version", "", math.MaxUint32, "hardware `version`, equal to the device's")
	f.StringSliceVar(&o.sdReq, "sd-req", nil, "firmware `ids` of SoftDevices, one of which is installed; 0x00 first: none")
	f.StringSliceVar(&o.sdID, "sd-id", nil, "firmware `ids` of the new SoftDevice, for the application in the same package")
	f.BoolVar(&o.external, "external-app", false, "the application is for a device behind this one")
	f.BoolVar(&o.debug, "debug-mode", false, "for debug bootloaders, which check no versions")
	f.IntVar(&o.sdk, "sdk", 15, "`generation` of the nRF5 SDK of the oldest bootloader in the field: 15, 16 or 17")
	f.BoolVarP(&o.force, "force", "f", false, "replace an existing output file")
	return c
}

// firmwareIDs reads a list of SoftDevice ids and keeps its order.
func firmwareIDs(flag string, list []string) ([]uint32, error) {
	var ids []uint32
	for _, s := range list {
		n, err := parseNumber(strings.TrimSpace(s), math.MaxUint16)
		if err != nil {
			return nil, usagef("--%s %w", flag, err)
		}
		ids = append(ids, uint32(n))
	}
	return ids, nil
}

func sdkOf(n int) (nrfdfu.SDK, error) {
	if n < 15 || n > 17 {
		return 0, usagef("--sdk %d: want 15, 16 or 17", n)
	}
	return nrfdfu.SDK15 + nrfdfu.SDK(n-15), nil
}

// options resolves the flags but the key.
func (f *imageSignNRFDFU) options() (nrfdfu.Options, error) {
	o := nrfdfu.Options{External: f.external, Debug: f.debug, Unsigned: f.unsigned}
	var err error
	if o.Application, o.SoftDevice, o.Bootloader, err = f.parts(f.debug); err != nil {
		return o, err
	}
	if o.Application == nil && o.SoftDevice == nil && o.Bootloader == nil {
		return o, usagef("nothing to put into the package: give --application, --softdevice or --bootloader")
	}
	if o.SDReq, err = firmwareIDs("sd-req", f.sdReq); err != nil {
		return o, err
	}
	if o.AppSDReq, err = firmwareIDs("sd-id", f.sdID); err != nil {
		return o, err
	}
	if o.SDK, err = sdkOf(f.sdk); err != nil {
		return o, err
	}
	switch {
	case f.hwVersion != nil:
		o.HWVersion = uint32(*f.hwVersion)
	case f.debug:
		o.HWVersion = nrfdfu.MaxVersion
	default:
		return o, usagef("--hw-version is missing")
	}
	if f.debug && len(o.SDReq) == 0 {
		o.SDReq = []uint32{nrfdfu.SoftDeviceAny}
	}
	return o, nil
}

func (a *app) imageSignNRFDFU(ctx context.Context, f imageSignNRFDFU, out string) error {
	switch {
	case f.unsigned && f.signers.given():
		return usagef("--unsigned and a key rule each other out")
	case !f.unsigned && !f.signers.given():
		return usagef("--key is missing; --unsigned makes a package without a signature")
	case len(f.signers.keys) > 1:
		return usagef("%d keys: the bootloader holds one, and a package has one signature", len(f.signers.keys))
	case f.bootloader == "" && f.bootloaderVersion != nil:
		return usagef("a version of the bootloader, but no --bootloader")
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	signers, err := a.resolveSigners(f.signers)
	if err != nil {
		return err
	}
	for _, s := range signers {
		o.Key = s.public
	}
	boot, err := nrfdfu.Prepare(o)
	if err != nil {
		return refused(err)
	}
	r := imageResult{Schema: "otapack.image-sign/1", Format: "nrfdfu"}
	r.Warnings = f.dropped(o.Application)
	for _, w := range boot.Warnings() {
		r.Warnings = append(r.Warnings, w.String())
	}
	for _, w := range r.Warnings {
		a.say("warning: %s", w)
	}
	if err := checkFree(f.force, signers, out, f.signers.publicOut); err != nil {
		return err
	}
	open, closeAll, err := a.openSigners(ctx, signers)
	defer closeAll()
	if err != nil {
		return err
	}
	signatures, err := sign.Answer(ctx, boot.Requests(), open)
	if err != nil {
		return err
	}
	made := len(signatures)
	draft, err := boot.Finish(signatures)
	if err != nil {
		return err
	}
	if signatures, err = sign.Answer(ctx, draft.Requests(), open); err != nil {
		return err
	}
	made += len(signatures)
	data, err := draft.Finish(signatures)
	if err != nil {
		return err
	}
	pkg, err := nrfdfu.ParsePackage(data)
	if err == nil {
		err = pkg.CheckContent(o.Key, o.SDK)
	}
	if err != nil {
		return fmt.Errorf("the finished package: %w", err)
	}
	a.say("nRF5 DFU package, %s, checked as bootloaders do", countOf(made, "signature"))
	r.signedBy(signers)
	return a.writeImage(r, out, data, f.force, f.signers, signers)
}

// imageVerifyNRFDFU are the flags of "image verify nrfdfu".
type imageVerifyNRFDFU struct {
	key                           string
	profile                       string
	sdk                           int
	hwVersion                     *uint64
	softDevice                    string
	softDeviceEnd                 *uint64
	serial                        bool
	debug                         bool
	appVersion, bootloaderVersion *uint64
	appSize                       *uint64
	bootloaderStart, dataArea     *uint64
	unsignedApps                  bool
	allowDowngrade                bool
	refuseSame                    bool
	requireBootSigned             bool
	external                      bool
	settings                      int
}

func (a *app) imageVerifyNRFDFUCommand() *cobra.Command {
	var o imageVerifyNRFDFU
	c := &cobra.Command{
		Use:   "nrfdfu --key <public-key> --hw-version <n> <package.zip>",
		Short: "Check an nRF5 DFU package as the bootloader does",
		Long: `Check a package as the bootloader of the nRF5 SDK does, check by check in its
order, on a device in the state that the flags describe. A refusal names the rule
and what a phone is told: "error 5" is INVALID_OBJECT.`,
		Example: "  otapack image verify nrfdfu -k radio.pub.pem --profile nrf52840 --sdk 17 --hw-version 52 --softdevice 0x0100 app.zip",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.imageVerifyNRFDFU(o, args[0]) },
	}
	f := c.Flags()
	f.StringVarP(&o.key, "key", "k", "", "public key `file` that is compiled into the bootloader")
	f.StringVar(&o.profile, "profile", "nrf52840", "`chip`: nrf52810, nrf52832, nrf52833 or nrf52840")
	f.IntVar(&o.sdk, "sdk", 15, "`generation` of the nRF5 SDK of the bootloader: 15, 16 or 17")
	numberFlag(f, &o.hwVersion, "hw-version", "", math.MaxUint32, "hardware `version` of the device")
	f.StringVar(&o.softDevice, "softdevice", "", "installed SoftDevice: its firmware `id`, or a name like \"s140 7.2.0\"; left out for none")
	numberFlag(f, &o.softDeviceEnd, "softdevice-end", "", math.MaxUint32, "`address` behind the installed SoftDevice, where otapack does not know its id")
	f.BoolVar(&o.serial, "serial", false, "the bootloader works over a serial line and not over BLE")
	f.BoolVar(&o.debug, "debug-bootloader", false, "the bootloader is a debug build, which checks no versions of debug packages")
	numberFlag(f, &o.appVersion, "application-version", "", math.MaxUint32, "`version` of the installed application")
	numberFlag(f, &o.bootloaderVersion, "bootloader-version", "", math.MaxUint32, "`version` of the bootloader")
	numberFlag(f, &o.appSize, "application-size", "", math.MaxUint32, "`size` of the installed application in bytes, 0 for none")
	numberFlag(f, &o.bootloaderStart, "bootloader-start", "", math.MaxUint32, "`address` of the bootloader, where it is not the SDK's")
	numberFlag(f, &o.dataArea, "app-data-area", "", math.MaxUint32, "`size` that the bootloader keeps for application data")
	f.BoolVar(&o.unsignedApps, "unsigned-apps", false, "NRF_DFU_REQUIRE_SIGNED_APP_UPDATE is 0")
	f.BoolVar(&o.allowDowngrade, "allow-downgrade", false, "NRF_DFU_APP_DOWNGRADE_PREVENTION is 0")
	f.BoolVar(&o.refuseSame, "refuse-same-version", false, "NRF_DFU_APP_ACCEPT_SAME_VERSION is 0")
	f.BoolVar(&o.requireBootSigned, "require-boot-signature", false, "NRF_BL_APP_SIGNATURE_CHECK_REQUIRED is 1")
	f.BoolVar(&o.external, "external-app", false, "NRF_DFU_SUPPORTS_EXTERNAL_APP is 1")
	f.IntVar(&o.settings, "bl-settings-version", 2, "`version` of the settings page: 1 up to SDK 15.2, else 2")
	return c
}

func (f *imageVerifyNRFDFU) device() (nrfdfu.Device, error) {
	var d nrfdfu.Device
	if f.key == "" {
		return d, usagef("--key is missing: without a key there is no verdict")
	}
	if f.hwVersion == nil {
		return d, usagef("--hw-version is missing")
	}
	profile, err := nrfdfu.ProfileByName(f.profile)
	if err != nil {
		return d, usagef("--profile: %w", err)
	}
	sdk, err := sdkOf(f.sdk)
	if err != nil {
		return d, err
	}
	d = nrfdfu.Device{
		SDK: sdk, Debug: f.debug, HWVersion: uint32(*f.hwVersion), Layout: profile.Layout, SettingsVersion: f.settings,
		UnsignedApps: f.unsignedApps, AllowDowngrade: f.allowDowngrade, RefuseSameVersion: f.refuseSame,
		RequireBootSigned: f.requireBootSigned, ExternalApps: f.external,
	}
	for to, from := range map[*uint32]*uint64{
		&d.AppVersion: f.appVersion, &d.BootloaderVersion: f.bootloaderVersion, &d.AppSize: f.appSize,
		&d.Layout.Bootloader: f.bootloaderStart, &d.Layout.AppDataArea: f.dataArea,
	} {
		if from != nil {
			*to = uint32(*from)
		}
	}
	if f.softDevice != "" {
		s, err := softDevice(f.softDevice, f.softDeviceEnd)
		if err != nil {
			return d, err
		}
		d.SoftDevice = &s
		d.BLE = !f.serial
	}
	d.Key, err = readPublicKey(f.key)
	return d, err
}

// softDevice finds one by name or firmware id, or makes one of its id and end.
func softDevice(name string, end *uint64) (nrfdfu.SoftDevice, error) {
	if id, err := parseNumber(name, math.MaxUint16); err == nil {
		all := nrfdfu.SoftDevices()
		i := slices.IndexFunc(all, func(s nrfdfu.SoftDevice) bool { return uint64(s.FWID) == id })
		switch {
		case end != nil:
			return nrfdfu.SoftDevice{FWID: uint16(id), End: uint32(*end)}, nil
		case i < 0:
			return nrfdfu.SoftDevice{}, usagef("--softdevice 0x%04x is none that otapack knows: say where it ends with --softdevice-end", id)
		}
		return all[i], nil
	}
	s, err := nrfdfu.SoftDeviceByName(name)
	if err != nil {
		return s, usagef("--softdevice: %w", err)
	}
	return s, nil
}

func (a *app) imageVerifyNRFDFU(f imageVerifyNRFDFU, path string) error {
	device, err := f.device()
	if err != nil {
		return err
	}
	data, err := readInput(path, nrfdfu.MaxPackage)
	if err != nil {
		return err
	}
	pkg, err := nrfdfu.ParsePackage(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	v, trace, err := nrfdfu.Verify(pkg, device)
	if errors.Is(err, nrfdfu.ErrOptions) {
		return usageError{err}
	}
	r := tracedResult("nrfdfu", err, trace, func(c nrfdfu.Check) imageCheck {
		check := checkLine(c.Step, c.Status, c.Reason, c.Detail)
		if len(pkg.Images) > 1 {
			check.Image = string(c.Image)
		}
		if c.Result != nil {
			check.Result = c.Result.String()
		}
		return check
	})
	if v != nil {
		r.Complete = v.Complete()
		for _, w := range v.Warnings() {
			r.Warnings = append(r.Warnings, w.String())
		}
	}
	return a.imageVerdict(path, r, err)
}
