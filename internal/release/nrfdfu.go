package release

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
)

// nrfdfuFormat is an nRF5 SDK bootloader and how packages for it are made.
type nrfdfuFormat struct {
	options nrfdfu.Options // without the application
	app     nrfdfu.Part    // without firmware and version
	version string         // as config.NRFDFU.FWVersion
	device  nrfdfu.Device  // with the SoftDevice that is installed before the update
	trust   sign.PublicKey
}

// maxNRFFile bounds a SoftDevice or bootloader file in bytes, as Intel HEX.
const maxNRFFile = 4 << 20

func (p *Project) nrfdfuFormat(c config.Component) (*nrfdfuFormat, error) {
	n, path := c.NRFDFU, "components."+c.Name+".nrfdfu"
	profile, err := nrfdfu.ProfileByName(n.Profile)
	if err != nil {
		return nil, p.cfg.Errorf(path+".profile", "%v", err)
	}
	sdk := nrfdfu.SDK15 + nrfdfu.SDK(n.SDK-15) // config has checked the range
	if sdk < profile.Oldest {
		return nil, p.cfg.Errorf(path+".sdk", "%s is supported from SDK %d on", profile.Title, 15+int(profile.Oldest-nrfdfu.SDK15))
	}
	f := &nrfdfuFormat{version: n.FWVersion, app: nrfdfu.Part{Name: c.Name}, trust: p.keys[n.Signing.Trust[0]]}
	for _, k := range []sign.PublicKey{p.keys[n.Signing.Sign[0]], f.trust} {
		if k.Algorithm() != sign.ESP256 {
			return nil, fmt.Errorf("%w: %w",
				p.cfg.Errorf(path+".signing", "the nRF5 bootloader verifies %s, key %s is for %s", sign.ESP256, p.alias(k.ID()), k.Algorithm()), sign.ErrCurve)
		}
	}
	f.options = nrfdfu.Options{
		External: n.External, HWVersion: uint32(n.HWVersion), SDReq: words(n.SDReq), AppSDReq: words(n.SDID),
		Key: p.keys[n.Signing.Sign[0]], SDK: sdk,
	}
	if v, ok := map[string]nrfdfu.ValidationType{
		"none": nrfdfu.NoValidation, "crc": nrfdfu.ValidateCRC, "sha256": nrfdfu.ValidateSHA256, "ecdsa": nrfdfu.ValidateECDSA,
	}[n.BootValidation]; ok {
		f.app.BootValidation = &v
	}
	f.device = nrfdfu.Device{
		SDK: sdk, HWVersion: uint32(n.HWVersion), Layout: profile.Layout,
		ExternalApps: n.External, RequireBootSigned: n.BootValidation == "ecdsa",
	}
	if n.BootloaderStart != nil {
		f.device.Layout.Bootloader = uint32(*n.BootloaderStart)
	}
	if n.AppDataArea != nil {
		f.device.Layout.AppDataArea = uint32(*n.AppDataArea)
	}
	if f.device.SoftDevice, err = installedSoftDevice(n.SDReq); err != nil {
		return nil, p.cfg.Errorf(path+".sd-req", "%v", err)
	}
	f.device.BLE = f.device.SoftDevice != nil
	set(&f.device.BLE, n.BLE)
	if err := f.device.Check(); err != nil {
		return nil, p.cfg.Errorf(path, "%v", err)
	}
	for _, part := range []struct {
		file string
		to   **nrfdfu.Part
		v    uint64
	}{{n.SoftDevice, &f.options.SoftDevice, 0}, {n.Bootloader, &f.options.Bootloader, n.BootloaderVersion}} {
		if part.file == "" {
			continue
		}
		data, err := p.read(part.file, maxNRFFile)
		if err != nil {
			return nil, err
		}
		loaded, err := nrfdfu.LoadFirmware(bytes.NewReader(data), 0)
		if err != nil {
			return nil, &InputError{part.file, err}
		}
		*part.to = &nrfdfu.Part{Firmware: loaded, Version: uint32(part.v)}
	}
	return f, nil
}

func words(list []uint64) []uint32 {
	var out []uint32
	for _, n := range list {
		out = append(out, uint32(n)) // config has checked the range
	}
	return out
}

// installedSoftDevice is the first of a requirement, nil where none may be
// installed.
func installedSoftDevice(req []uint64) (*nrfdfu.SoftDevice, error) {
	if len(req) == 0 || uint32(req[0]) == nrfdfu.SoftDeviceNone || uint32(req[0]) == nrfdfu.SoftDeviceAny {
		return nil, nil
	}
	for _, s := range nrfdfu.SoftDevices() {
		if uint64(s.FWID) == req[0] {
			return &s, nil
		}
	}
	return nil, fmt.Errorf("firmware id 0x%04x is of no SoftDevice that is known here, so that the room for an update is not known", req[0])
}

func (f *nrfdfuFormat) signers() []sign.PublicKey { return []sign.PublicKey{f.options.Key} }
func (f *nrfdfuFormat) trusted() []sign.PublicKey { return []sign.PublicKey{f.trust} }
func (*nrfdfuFormat) signsKey() bool              { return false }

func (f *nrfdfuFormat) load(data []byte, _ *uint32) (content, firmware.Format, error) {
	loaded, err := nrfdfu.LoadFirmware(bytes.NewReader(data), firmware.Auto)
	if err != nil {
		return content{}, firmware.Auto, err
	}
	// Read again for the name of its format; UICR words are far from the code.
	_, format, err := loadAnywhere(data, nil, math.MaxInt32)
	return content{payload: loaded.Data}, format, err
}

func (f *nrfdfuFormat) build(in content, _ io.Reader) (deviceFile, error) {
	o, app := f.options, f.app
	var err error
	if app.Version, err = f.versionOf(in); err != nil {
		return nil, err
	}
	app.Firmware = nrfdfu.Firmware{Data: in.payload}
	o.Application = &app
	boot, err := nrfdfu.Prepare(o)
	if err != nil {
		return nil, err
	}
	file := &nrfdfuFile{name: app.Name, boot: boot, images: 1}
	if o.SoftDevice != nil || o.Bootloader != nil {
		file.images++
	}
	if len(boot.Requests()) == 0 {
		return file, file.Answer(nil)
	}
	return file, nil
}

func (f *nrfdfuFormat) versionOf(in content) (uint32, error) {
	switch f.version {
	case "sequence":
		return in.sequence, nil
	case "version":
		return nrfdfu.ParseVersion(in.version.String())
	}
	n, err := strconv.ParseUint(f.version, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("release: fw-version %q: %w", f.version, err)
	}
	return uint32(n), nil
}

func (f *nrfdfuFormat) rehearsal() (deviceFormat, map[sign.KeyID]sign.Signer, error) {
	keys, signers, err := throwaways(f.signers())
	if err != nil {
		return nil, nil, err
	}
	r := *f
	r.options.Key, r.trust = keys[0], keys[0]
	return &r, signers, nil
}

func (f *nrfdfuFormat) check(ctx context.Context, file []byte, keys []sign.PublicKey, s deviceState) (bootloader.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pkg, err := nrfdfu.ParsePackage(file)
	if err != nil {
		return nil, err
	}
	device := f.device
	device.Key = keys[0]
	if f.version == "sequence" {
		device.AppVersion = s.floor
	}
	_, steps, err := nrfdfu.Verify(pkg, device)
	var trace bootloader.Trace
	for _, c := range steps {
		trace = append(trace, bootloader.Check{
			Step: bootloader.Step("nrfdfu-" + string(c.Step)), Status: bootloader.Status(c.Status), Reason: c.Reason, Detail: c.Detail,
		})
	}
	return trace, err
}

// nrfdfuFile is a package on its way. A boot validation's signature is covered by
// that of the init packet.
type nrfdfuFile struct {
	name   string // of the component
	boot   *nrfdfu.BootDraft
	draft  *nrfdfu.Draft
	images int // each has an init packet to sign
	file   []byte
}

func (f *nrfdfuFile) Requests() []sign.Request {
	var requests []sign.Request
	switch {
	case f.file != nil:
		return nil
	case f.draft != nil:
		requests = f.draft.Requests()
	default:
		requests = f.boot.Requests()
	}
	for i := range requests {
		requests[i].Artifact = f.name + " " + requests[i].Artifact
	}
	return requests
}

func (f *nrfdfuFile) Answer(signatures []sign.Signature) (err error) {
	if f.draft == nil {
		f.draft, err = f.boot.Finish(signatures)
		return err
	}
	f.file, err = f.draft.Finish(signatures)
	return err
}

func (f *nrfdfuFile) Bytes() ([]byte, error) {
	if f.file == nil {
		return nil, errNotSigned
	}
	return f.file, nil
}

func (f *nrfdfuFile) Signatures() int { return f.images + len(f.boot.Requests()) }

func (*nrfdfuFile) Recipients() []string { return nil }

func (*nrfdfuFile) Copies() []deviceCopy { return nil }

func (f *nrfdfuFile) Warnings() []Finding {
	var findings []Finding
	for _, w := range f.boot.Warnings() {
		findings = append(findings, Finding{w.Reason, w.Object, w.Detail})
	}
	return findings
}
