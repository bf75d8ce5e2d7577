package main

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) imageInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect <file>",
		Short: "Show what is in an image or a package of a vendor's bootloader",
		Long: `Decode an MCUboot image (binary or Intel HEX), an nRF5 DFU package (.zip), a
settings page (.hex), an X-CUBE-SBSFU package (.sfb) or a wolfBoot image and show
it, also where otapack cannot verify it. Nothing is verified: what inspect prints is
what the file claims.`,
		Example: "  otapack image inspect app.signed.bin",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.imageInspect(args[0]) },
	}
}

// imageInspectResult is the answer of --json; one of the last five is there.
type imageInspectResult struct {
	Schema   string              `json:"schema"`
	Verified bool                `json:"verified"` // always false
	Format   string              `json:"format"`
	MCUboot  []imageField        `json:"mcuboot,omitempty"`
	SBSFU    []imageField        `json:"sbsfu,omitempty"`
	WolfBoot []imageField        `json:"wolfboot,omitempty"`
	Package  *nrfdfu.Description `json:"nrfdfu,omitempty"`
	Settings *settingsView       `json:"settings,omitempty"`
}

// imageField is a line about an image.
type imageField struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Offset  int    `json:"offset"`
}

// settingsView is a settings page.
type settingsView struct {
	Version           int    `json:"version"`
	AppVersion        uint32 `json:"app_version"`
	BootloaderVersion uint32 `json:"bootloader_version"`
	AppSize           uint32 `json:"app_size"` // of bank 0, in bytes
	AppCRC            uint32 `json:"app_crc"`
	BankCode          uint32 `json:"bank_code"`
	SoftDeviceSize    uint32 `json:"softdevice_size"`
	AppValidation     string `json:"app_boot_validation,omitempty"`
	SDValidation      string `json:"sd_boot_validation,omitempty"`
}

func (a *app) imageInspect(path string) error {
	r := imageInspectResult{Schema: "otapack.image-inspect/1"}
	text, err := r.read(path)
	if err != nil {
		if reason := verdict.Of(err); reason != "" {
			err = &release.InputError{Path: path, Err: err}
		}
		return err
	}
	a.say("nothing was verified; otapack image verify does that")
	return a.result(r, text)
}

// isImage recognises what image inspect is for. A file that cannot be read is left
// to who complains about it.
func isImage(path string) bool {
	if isHex(path) {
		return true
	}
	f, size, err := openInput(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, mcuboot.MinHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return false
	}
	if isSFB(head) || isWolfBoot(head) {
		return true
	}
	if !bytes.HasPrefix(head, []byte("PK")) {
		_, err := mcuboot.Parse(head)
		return verdict.Of(err) != verdict.ImageMagic
	}
	if size > nrfdfu.MaxPackage {
		return false
	}
	data, err := readInput(path, nrfdfu.MaxPackage)
	if err == nil {
		_, err = nrfdfu.ParsePackage(data)
	}
	return err == nil
}

func isSFB(data []byte) bool {
	for _, magic := range []string{"SFU1", "SFU2", "SFU3"} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return true
		}
	}
	return false
}

func isWolfBoot(data []byte) bool { return bytes.HasPrefix(data, []byte(wolfboot.Magic)) }

func (r *imageInspectResult) read(path string) (string, error) {
	data, err := readInput(path, maxFirmware)
	if err != nil {
		return "", err
	}
	if bytes.HasPrefix(data, []byte("PK")) {
		pkg, err := nrfdfu.ParsePackage(data)
		if err != nil {
			return "", err
		}
		d := pkg.Describe()
		r.Format, r.Package = "nrfdfu", &d
		return packageText(d), nil
	}
	if isHex(path) {
		image, _, err := loadFirmware(path)
		if err != nil {
			return "", err
		}
		var starts []uint32
		for _, s := range image.Segments() {
			starts = append(starts, s.Addr)
		}
		if p, ok := isSettings(starts); ok {
			for _, s := range image.Segments() {
				if s.Addr == p.Settings {
					return r.settings(s.Data)
				}
			}
		}
		if data, err = readImageFile(path); err != nil {
			return "", err
		}
	}
	switch {
	case isSFB(data):
		r.Format = "sbsfu"
		fields, err := sbsfu.Describe(data)
		r.SBSFU = imageFields(fields)
		return fieldsText(r.SBSFU), err
	case isWolfBoot(data):
		r.Format = "wolfboot"
		fields, err := wolfboot.Describe(data)
		r.WolfBoot = imageFields(fields)
		return fieldsText(r.WolfBoot), err
	}
	f, err := mcuboot.Parse(data)
	if err != nil {
		return "", err
	}
	r.Format, r.MCUboot = "mcuboot", imageFields(mcuboot.Describe(f))
	return fieldsText(r.MCUboot), nil
}

// imageFields takes over the description that a format gives.
func imageFields[F mcuboot.Field | sbsfu.Field | wolfboot.Field](described []F) []imageField {
	var fields []imageField
	for _, f := range described {
		fields = append(fields, imageField(f))
	}
	return fields
}

func fieldsText(fields []imageField) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Section, f.Name, f.Value)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

func (r *imageInspectResult) settings(data []byte) (string, error) {
	s, err := nrfdfu.ParseSettings(data)
	if err != nil {
		return "", err
	}
	v := &settingsView{
		Version: s.Version, AppVersion: s.AppVersion, BootloaderVersion: s.BootloaderVersion,
		AppSize: s.Bank0.Size, AppCRC: s.Bank0.CRC, BankCode: s.Bank0.Code, SoftDeviceSize: s.SoftDeviceSize,
	}
	if s.Version == 2 {
		v.AppValidation, v.SDValidation = s.AppBoot.Type.String(), s.SoftDeviceBoot.Type.String()
	}
	r.Format, r.Settings = "nrfdfu-settings", v
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "settings version\t%d\n", v.Version)
	fmt.Fprintf(w, "application\tversion %d, %d bytes, CRC-32 0x%08x, bank code 0x%02x\n", v.AppVersion, v.AppSize, v.AppCRC, v.BankCode)
	fmt.Fprintf(w, "bootloader\tversion %d\n", v.BootloaderVersion)
	fmt.Fprintf(w, "softdevice\t%d bytes\n", v.SoftDeviceSize)
	if s.Version == 2 {
		fmt.Fprintf(w, "boot validation\tapplication %s, SoftDevice %s\n", v.AppValidation, v.SDValidation)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return b.String(), nil
}

func packageText(d nrfdfu.Description) string {
	var b strings.Builder
	for _, image := range d.Images {
		fmt.Fprintf(&b, "%s  %s, %d bytes; %s, %d bytes\n", image.Kind, image.BinFile, image.FirmwareSize, image.DatFile, image.PacketSize)
		if image.Error != "" {
			fmt.Fprintf(&b, "  init packet      %s\n", image.Error)
			continue
		}
		line := func(name, format string, args ...any) {
			fmt.Fprintf(&b, "  %-16s "+format+"\n", append([]any{name}, args...)...)
		}
		number := func(name string, n *uint32) {
			if n != nil {
				line(name, "%d", *n)
			}
		}
		line("type", "%s", image.Type)
		number("fw version", image.FWVersion)
		number("hw version", image.HWVersion)
		var req []string
		for _, id := range image.SDReq {
			req = append(req, fmt.Sprintf("0x%04x", id))
		}
		line("sd req", "%s", orDash(strings.Join(req, ", ")))
		line("sha256", "%s", orDash(image.SHA256))
		for _, v := range image.BootValidations {
			line("boot validation", "%s", v.Type)
		}
		line("signature", "%s", orDash(image.SignatureType))
		if !image.Canonical {
			line("encoding", "not canonical")
		}
	}
	for _, name := range d.Extra {
		fmt.Fprintf(&b, "%s  not named in manifest.json\n", name)
	}
	return b.String()
}
