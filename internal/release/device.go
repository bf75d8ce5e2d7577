package release

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// deviceFormat is a bootloader that is not ours: it has a file format and keys
// of its own. Its file is the payload that the component's manifest covers.
type deviceFormat interface {
	// load reads a firmware file by the rules of the format's own tools.
	load(data []byte, base *uint32) (content, firmware.Format, error)
	// build lays a file out. Random is read where the file is encrypted.
	build(in content, random io.Reader) (deviceFile, error)
	// signers are the keys that sign, trusted those that devices may hold.
	signers() []sign.PublicKey
	trusted() []sign.PublicKey
	// signsKey says that the signed bytes name the key that signs them.
	signsKey() bool
	// rehearsal returns the same bootloader with throwaway keys in it, and who
	// signs for them.
	rehearsal() (deviceFormat, map[sign.KeyID]sign.Signer, error)
	// check makes the bootloader's checks over a finished file, with one or more
	// of the trusted keys in it. A check that a missing device key made impossible
	// is not-run, and the last.
	check(ctx context.Context, file []byte, keys []sign.PublicKey, s deviceState) (bootloader.Trace, error)
}

// content is what a file is made of.
type content struct {
	payload  []byte // as the format's load returned it
	version  manifest.Version
	sequence uint32
}

// deviceState is what a bootloader remembers.
type deviceState struct {
	floor uint32 // sequence number of the installed release, 0 for a new device
	key   mcuboot.DeviceKey
}

// deviceFile is a file that waits for signatures. Some cover others, so it may
// ask more than once.
type deviceFile interface {
	// Requests returns what has to be signed next, nothing when the file is done.
	Requests() []sign.Request
	// Answer takes the signatures of Requests.
	Answer(signatures []sign.Signature) error
	// Bytes returns the file when everything is signed.
	Bytes() ([]byte, error)
	// Signatures counts all that are asked for.
	Signatures() int
	// Recipients names the device keys that the file is encrypted to: SHA-256 of
	// the SubjectPublicKeyInfo, in hexadecimal.
	Recipients() []string
	// Copies are further files from the same signatures, for single devices.
	Copies() []deviceCopy
	// Warnings are about what is allowed and rarely meant.
	Warnings() []Finding
}

// deviceCopy is a file for one device.
type deviceCopy struct {
	name  string // of the file, without folder
	write func(w io.Writer, random io.Reader) error
}

// loadAnywhere is firmware.Load where a raw binary needs no address.
func loadAnywhere(data []byte, base *uint32, maxSize int) (formats.Image, firmware.Format, error) {
	o := firmware.Options{Base: base, MaxSize: maxSize}
	image, format, err := firmware.Load(bytes.NewReader(data), o)
	if verdict.Of(err) == verdict.BaseMissing {
		o.Base = new(uint32)
		return firmware.Load(bytes.NewReader(data), o)
	}
	return image, format, err
}

var errNotSigned = errors.New("release: file is not signed yet")

// deviceFormat resolves a component's format, nil for our own bootloaders.
func (p *Project) deviceFormat(c config.Component) (deviceFormat, error) {
	switch {
	case c.MCUboot != nil:
		f, err := p.mcubootFormat(c)
		if err != nil {
			return nil, err
		}
		return f, nil
	case c.NRFDFU != nil:
		f, err := p.nrfdfuFormat(c)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	return nil, nil
}

// complete answers all requests of a file.
func complete(ctx context.Context, f deviceFile, signers map[sign.KeyID]sign.Signer) (answered []sign.Request, err error) {
	for {
		requests := f.Requests()
		if len(requests) == 0 {
			return answered, nil
		}
		signatures, err := sign.Answer(ctx, requests, signers)
		if err != nil {
			return nil, err
		}
		if err := f.Answer(signatures); err != nil {
			return nil, err
		}
		answered = append(answered, requests...)
	}
}

// rehearseFile makes the file with throwaway keys and has the bootloader accept
// it, once for each key that a device may hold alone. It returns the file.
func rehearseFile(ctx context.Context, format deviceFormat, in content, real deviceFile, random io.Reader) ([]byte, error) {
	rehearsal, signers, err := format.rehearsal()
	if err != nil {
		return nil, err
	}
	file, err := rehearsal.build(in, random)
	if err != nil {
		return nil, err
	}
	if !format.signsKey() {
		for i, r := range file.Requests() {
			if !bytes.Equal(r.Message, real.Requests()[i].Message) {
				return nil, errRehearsal
			}
		}
	}
	if _, err := complete(ctx, file, signers); err != nil {
		return nil, err
	}
	data, err := file.Bytes()
	if err != nil {
		return nil, err
	}
	for _, key := range rehearsal.signers() {
		// The floor is the release's own number: devices that already have it
		// must still take it again.
		trace, err := rehearsal.check(ctx, data, []sign.PublicKey{key}, deviceState{floor: in.sequence})
		if err == nil && !ran(trace) {
			err = errRehearsal
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// ran reports whether no check was left out for want of a device key.
func ran(t bootloader.Trace) bool {
	return len(t) > 0 && t[len(t)-1].Status != bootloader.NotRun
}
