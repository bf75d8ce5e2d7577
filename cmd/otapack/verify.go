package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
)

func (a *app) verifyCommand() *cobra.Command {
	var minSequence uint64
	var deviceKeys, bases []string
	var checks bool
	c := &cobra.Command{
		Use:   "verify <bundle>",
		Short: "Check whether the devices would take a bundle",
		Long: `Check a bundle as the devices do: the release record, then for each component
every check of its bootloader, in the bootloader's order, with the keys, models
and hardware revisions of the project file. No token and no private signing key
are needed.

Encrypted payloads are decrypted where --device-key gives a device's private
key. Without it the decryption steps are reported as not run: the signed digest
of the ciphertext is checked, that a device can read it is not.

A variant, whose payload is a patch, is applied to the image that it comes from.
The image is the firmware file of --base, or in the output folder of that release.
Without it the steps that need it are reported as not run.`,
		Example: `  otapack verify dist/1.4.2/toothbrush-1.4.2.ota
  otapack verify release.ota --min-sequence 17 --device-key radio=bench/radio.pem
  otapack verify release.ota --base radio=archive/radio-1.4.1.hex`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if minSequence > math.MaxUint32 {
				return usagef("--min-sequence %d: want at most %d", minSequence, uint32(math.MaxUint32))
			}
			return a.verify(cmd.Context(), args[0], uint32(minSequence), deviceKeys, bases, checks)
		},
	}
	f := c.Flags()
	f.Uint64Var(&minSequence, "min-sequence", 0, "rollback `counter` of the devices: refuse a lower sequence number")
	f.StringArrayVar(&deviceKeys, "device-key", nil, "private key `component=file` of a device, to check decryption (repeatable)")
	f.StringArrayVar(&bases, "base", nil, "firmware `component=file` that a device runs, to apply a patch to (repeatable)")
	f.BoolVar(&checks, "checks", false, "list every check of every bootloader")
	return c
}

// verifyResult is the answer of --json.
type verifyResult struct {
	Schema   string `json:"schema"`
	Accepted bool   `json:"accepted"`
	Complete bool   `json:"complete"` // no check was left out
	release.Report
}

func (a *app) verify(ctx context.Context, path string, minSequence uint32, deviceKeys, bases []string, checks bool) error {
	project, err := a.openProject()
	if err != nil {
		return err
	}
	o := release.VerifyOptions{MinSequence: minSequence}
	if o.Identities, o.ImageKeys, err = a.deviceKeys(project, deviceKeys); err != nil {
		return err
	}
	if o.Bases, err = a.bases(project, bases); err != nil {
		return err
	}
	f, size, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	verified, report, err := project.VerifyBundle(ctx, f, size, o)
	if !a.json {
		if text := reportText(report, checks); text != "" {
			fmt.Fprint(a.stdout, text)
		}
	}
	if err != nil {
		return reportError{err, report}
	}
	complete := true
	for _, c := range report.Components {
		complete = complete && c.Complete
		for _, v := range c.Variants {
			complete = complete && v.Complete
		}
	}
	id := verified.Record().Record().ID
	switch {
	case complete:
		a.say("%s: every device of this project takes release %s", path, id)
	case missingBase(report):
		a.say("%s: release %s is accepted as far as it was checked; not every patch was applied, see --base", path, id)
	case missingKey(report):
		a.say("%s: release %s is accepted as far as it was checked; decryption was not, see --device-key", path, id)
	default:
		a.say("%s: release %s is accepted as far as it was checked; --checks shows what was not", path, id)
	}
	return a.result(verifyResult{"otapack.verify/1", true, complete, *report}, "")
}

// missingBase reports whether an image that a patch comes from would let more be
// checked.
func missingBase(r *release.Report) bool {
	return notRun(r, bootloader.StepBase)
}

// missingKey reports whether a device key would let more be checked.
func missingKey(r *release.Report) bool {
	return notRun(r, bootloader.StepUnwrap, release.StepContentKey)
}

// notRun reports whether one of some steps was left out, for any device.
func notRun(r *release.Report, steps ...bootloader.Step) bool {
	for _, c := range r.Components {
		traces := []bootloader.Trace{c.Checks}
		for _, v := range c.Variants {
			traces = append(traces, v.Checks)
		}
		for _, check := range slices.Concat(traces...) {
			if check.Status == bootloader.NotRun && slices.Contains(steps, check.Step) {
				return true
			}
		}
	}
	return false
}

// reportText prints a line per component, with the check that failed in one that
// refuses, and the lines of all checks if asked to.
func reportText(r *release.Report, checks bool) string {
	if len(r.Components) == 0 {
		return "" // the record was refused: its error says it all
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "record\tok\t%s %s, signed by %s\n", r.Product, r.ReleaseID, r.SignedBy)
	list := func(t bootloader.Trace) {
		for _, check := range t {
			if checks {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", check.Step, check.Status, check.Reason)
			}
		}
	}
	for _, c := range r.Components {
		if c.Accepted {
			fmt.Fprintf(w, "%s\tok\t%s, version %s, sequence %d, signed by %s, %s\n", c.Name, c.Chip, c.Version, c.Sequence, strings.Join(c.SignedBy, " and "), checksText(c.Checks))
		} else {
			fmt.Fprintf(w, "%s\tREFUSED\t%s, %s\n", c.Name, c.Chip, refusalText(c.Checks))
		}
		list(c.Checks)
		for _, v := range c.Variants {
			if v.Accepted {
				fmt.Fprintf(w, "%s from %s\tok\tsigned by %s, %s\n", c.Name, v.From, strings.Join(v.SignedBy, " and "), checksText(v.Checks))
			} else {
				fmt.Fprintf(w, "%s from %s\tREFUSED\t%s\n", c.Name, v.From, refusalText(v.Checks))
			}
			list(v.Checks)
		}
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}

// refusalText names the check that refused.
func refusalText(t bootloader.Trace) string {
	if n := len(t); n > 0 && t[n-1].Status == bootloader.Failed {
		return fmt.Sprintf("%s: %s", t[n-1].Step, t[n-1].Reason)
	}
	return "does not match the release record"
}

func checksText(t bootloader.Trace) string {
	passed, notRun := 0, 0
	for _, c := range t {
		switch c.Status {
		case bootloader.Passed:
			passed++
		case bootloader.NotRun:
			notRun++
		case bootloader.Failed, bootloader.NotApplicable:
		}
	}
	if notRun > 0 {
		return fmt.Sprintf("%d checks passed, %d not run", passed, notRun)
	}
	return fmt.Sprintf("%d checks passed", passed)
}

// deviceKeys reads the keys of --device-key.
func (a *app) deviceKeys(project *release.Project, specs []string) (map[string]encrypt.Identity, map[string]mcuboot.DeviceKey, error) {
	identities, imageKeys := map[string]encrypt.Identity{}, map[string]mcuboot.DeviceKey{}
	for _, spec := range specs {
		name, file, ok := strings.Cut(spec, "=")
		if !ok || name == "" || file == "" {
			return nil, nil, usagef("--device-key %q: want component=file", spec)
		}
		c, ok := project.Config().Component(name)
		if !ok {
			return nil, nil, usagef("--device-key: %s has no component %q", a.configPath, name)
		}
		if len(c.EncryptTo) == 0 {
			a.say("warning: %s is not encrypted by %s; its device key may not be needed", name, a.configPath)
		}
		var err error
		if c.Format == config.FormatMCUboot {
			imageKeys[name], err = readImageKey(file)
		} else {
			identities[name], err = readIdentity(file)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return identities, imageKeys, nil
}

// bases reads the firmware of --base.
func (a *app) bases(project *release.Project, specs []string) (map[string][][]byte, error) {
	bases := map[string][][]byte{}
	for _, spec := range specs {
		name, file, ok := strings.Cut(spec, "=")
		if !ok || name == "" || file == "" {
			return nil, usagef("--base %q: want component=file", spec)
		}
		if _, ok := project.Config().Component(name); !ok {
			return nil, usagef("--base: %s has no component %q", a.configPath, name)
		}
		image, err := project.ReadImage(name, file)
		if err != nil {
			return nil, err
		}
		bases[name] = append(bases[name], image)
	}
	return bases, nil
}

// maxIdentity bounds a private key file in bytes.
const maxIdentity = 16 << 10

func readIdentity(path string) (encrypt.Identity, error) {
	data, err := readInput(path, maxIdentity)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	id, err := encrypt.ParseIdentity(data)
	if err != nil {
		return nil, &release.InputError{Path: path, Err: err}
	}
	return id, nil
}

// readImageKey reads the key that an MCUboot bootloader decrypts with.
func readImageKey(path string) (mcuboot.DeviceKey, error) {
	data, err := readInput(path, maxIdentity)
	if err != nil {
		return mcuboot.DeviceKey{}, err
	}
	defer clear(data)
	key, err := mcuboot.ParseDeviceKey(data)
	if err != nil {
		return key, &release.InputError{Path: path, Err: err}
	}
	return key, nil
}

// openInput opens a regular file named on the command line.
func openInput(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, inputError(path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, inputError(path, err)
	}
	return f, info.Size(), nil
}
