package vectors

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"fmt"
	"io"
	"math"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func judgeSUIT(ctx context.Context, state verdicts.SUIT, inputs map[string][]byte) (Judgement, error) {
	device, err := suitDevice(state)
	if err != nil {
		return Judgement{}, err
	}
	envelope, payload := inputs["envelope"], inputs["payload"]
	if running, ok := inputs["running"]; ok {
		device.Running = staged(running)
	}
	_, trace, err := bootloader.Verify(ctx, device, envelope, *staged(payload), bootloader.Options{})
	if err == nil {
		j := accepted()
		j.Released, err = released(ctx, envelope, payload, device)
		return j, err
	}
	if len(trace) == 0 {
		return Judgement{}, err
	}
	last := trace[len(trace)-1].Step
	j, err := refused(string(last), err)
	if err != nil {
		return Judgement{}, err
	}
	if last == bootloader.StepImage {
		// A device without room to verify first has written the image while it hashed it.
		j.Released, err = released(ctx, envelope, payload, device)
	}
	return j, err
}

func staged(b []byte) *bootloader.Payload {
	return &bootloader.Payload{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}

// released is the image as a device gets it out of a payload, as far as it comes.
func released(ctx context.Context, envelope, payload []byte, device bootloader.Device) (verdicts.Content, error) {
	v, err := manifest.Authenticate(envelope, device.Trust)
	if err != nil {
		return verdicts.Content{}, err
	}
	m := v.Manifest()
	if !m.Encrypted() && !m.Decoded() {
		return verdicts.Of(payload), nil
	}
	install, err := v.Install()
	if err != nil {
		return verdicts.Content{}, err
	}
	image := io.Reader(bytes.NewReader(payload))
	if m.Encrypted() {
		header := bootloader.Header(*install.Encryption)
		key, err := device.Identity.Unwrap(header)
		if err != nil {
			return verdicts.Content{}, err
		}
		defer key.Wipe()
		if image, err = encrypt.NewReader(image, header, key); err != nil {
			return verdicts.Content{}, err
		}
	}
	if m.Decoded() {
		image, err = bootloader.Decode(ctx, *install.Decoding, decodedRoom(m.Image.Size), device.Running, image)
		switch {
		case verdict.Of(err) != "": // why the image was refused before there was any of it
			return verdicts.Content{}, nil
		case err != nil:
			return verdicts.Content{}, err
		}
	}
	written, _ := io.ReadAll(io.LimitReader(image, int64(m.Image.Size))) // an error is why the image was refused
	return verdicts.Of(written), nil
}

// decodedRoom is more than an image has: a decoder may have written all of an image
// before it notices that more follows.
func decodedRoom(size uint32) uint32 { return size + min(64<<10, math.MaxUint32-size) }

func suitDevice(s verdicts.SUIT) (bootloader.Device, error) {
	chip, err := bootloader.ChipByName(s.Chip)
	if err != nil {
		return bootloader.Device{}, err
	}
	slots := uint32(1)
	if s.Slot != nil {
		slots = *s.Slot + 1
	}
	if slots > 16 {
		return bootloader.Device{}, fmt.Errorf("vectors: %w: slot %d", ErrDevice, slots-1)
	}
	chip.DecoderRAM = s.DecoderRAM
	chip.Banks = nil
	for range slots {
		chip.Banks = append(chip.Banks, bootloader.Region{Base: s.BankBase, Size: s.BankSize})
	}
	d := bootloader.Device{
		Chip: chip, Vendor: s.Vendor, Model: s.Model, Revision: s.Revision, MinSequence: s.MinSequence, Slot: s.Slot,
	}
	vendor := manifest.VendorID(s.Vendor)
	class := manifest.ClassID(vendor, s.Model, s.Revision)
	if !bytes.Equal(vendor[:], s.VendorID) || !bytes.Equal(class[:], s.ClassID) {
		return bootloader.Device{}, fmt.Errorf("vectors: %w: identifiers are not those of %s, %s and %s", ErrDevice, s.Vendor, s.Model, s.Revision)
	}
	if d.Trust, err = suitTrust(s); err != nil {
		return bootloader.Device{}, err
	}
	d.Identity, err = suitIdentity(s)
	return d, err
}

func suitTrust(s verdicts.SUIT) (*sign.TrustSet, error) {
	var set sign.TrustSet
	var keys []sign.PublicKey
	for _, k := range s.Keys {
		key, err := p256Key(k.Point)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
		if k.Revoked {
			set.Revoke(key)
		}
	}
	return &set, set.Add(sign.RoleManifest, int(s.Threshold), keys...)
}

// p256Key reads x‖y, big endian.
func p256Key(point []byte) (sign.PublicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(sign.ESP256.Curve(), append([]byte{4}, point...))
	if err != nil {
		return sign.PublicKey{}, fmt.Errorf("vectors: %w: key: %w", ErrDevice, err)
	}
	return sign.NewPublicKey(key)
}

func suitIdentity(s verdicts.SUIT) (encrypt.Identity, error) {
	switch {
	case len(s.DeviceKey) > 0:
		key, err := ecdh.P256().NewPrivateKey(s.DeviceKey)
		if err != nil {
			return nil, fmt.Errorf("vectors: %w: device key: %w", ErrDevice, err)
		}
		return encrypt.NewIdentity(key)
	case len(s.KEK) == 16:
		return encrypt.NewKEK(s.KEKID, [16]byte(s.KEK)), nil
	case len(s.KEK) > 0:
		return nil, fmt.Errorf("vectors: %w: key encryption key of %d bytes", ErrDevice, len(s.KEK))
	}
	return nil, nil
}
