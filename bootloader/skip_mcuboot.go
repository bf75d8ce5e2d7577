package bootloader

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
)

// mcubootMaker builds images for one device.
type mcubootMaker struct {
	target   mcuboot.Target // the device's bootloader, with everything built in
	options  mcuboot.Options
	firmware []byte
	err      error // first failure
}

// newMCUbootMaker returns a maker for a device with one signing key.
func newMCUbootMaker(signer sign.Signer, mode mcuboot.Mode) (*mcubootMaker, error) {
	const vendor, class = "vendor.example", "model a"
	device, err := mcubootDevice()
	if err != nil {
		return nil, err
	}
	vendorID, err := mcuboot.VendorUUID(vendor)
	if err != nil {
		return nil, err
	}
	classID, err := mcuboot.ClassUUID(vendorID, class)
	if err != nil {
		return nil, err
	}
	flash := mcuboot.Target{
		Signature: mcuboot.ECDSAP256, Mode: mode, SlotSize: 64 << 10, SectorSize: 4 << 10, WriteSize: 4,
		Encryption: mcuboot.ECIESP256,
	}
	m := &mcubootMaker{target: flash, firmware: make([]byte, 1000)}
	rand.Read(m.firmware)
	t := &m.target
	t.Keys, t.DeviceKey = []mcuboot.Key{mcuboot.NewKey(signer.Public())}, device
	t.Rollback, t.Downgrade, t.Installed = new(uint32(10)), mcuboot.ByVersion, &mcuboot.Installed{Version: mcuboot.Version{Major: 2}}
	t.Vendor, t.Class = &vendorID, &classID
	t.Images, t.Others = 2, map[uint8]mcuboot.Version{1: {Major: 2}}
	t.Boot = &mcuboot.Memory{Start: 0x10000, Size: 64 << 10}
	flash.SlotSize = 0 // too large an image is to be built too
	m.options = mcuboot.Options{
		Target: flash, Version: mcuboot.Version{Major: 2}, HeaderSize: 0x200, PadHeader: true, Counter: new(uint32(10)),
		Vendor: vendor, Class: class, Dependencies: []mcuboot.Dependency{{Image: 1, Minimum: mcuboot.Version{Major: 2}}},
		ROMAddress: new(uint32(0x10000)),
	}
	return m, nil
}

func mcubootDevice() (mcuboot.DeviceKey, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return mcuboot.DeviceKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return mcuboot.DeviceKey{}, err
	}
	defer clear(der)
	return mcuboot.ParseDeviceKey(der)
}

// build signs the firmware with changed options.
func (m *mcubootMaker) build(ctx context.Context, signer sign.Signer, change func(*mcuboot.Options)) []byte {
	o := m.options
	o.Keys = []sign.PublicKey{signer.Public()}
	if change != nil {
		change(&o)
	}
	draft, err := mcuboot.Build(m.firmware, o, rand.Reader)
	if err != nil {
		m.err = errors.Join(m.err, err)
		return nil
	}
	signatures, err := sign.Answer(ctx, draft.Requests(), map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		m.err = errors.Join(m.err, err)
		return nil
	}
	file, err := draft.Finish(signatures)
	m.err = errors.Join(m.err, err)
	return file
}

// edit changes what no signature covers, or what one does.
func (m *mcubootMaker) edit(file []byte, change func(*mcuboot.File)) []byte {
	f, err := mcuboot.Parse(file)
	if err != nil {
		m.err = errors.Join(m.err, err)
		return nil
	}
	f.Payload, f.Unprotected = slices.Clone(f.Payload), slices.Clone(f.Unprotected)
	change(f)
	return f.Encode()
}

// mcubootBadImages are what an MCUboot with everything built in must refuse.
func mcubootBadImages(ctx context.Context, profile string) ([]badImage, error) {
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		return nil, err
	}
	stranger, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		return nil, err
	}
	mode := mcuboot.SwapMove
	if profile == "mcuboot-overwrite" {
		mode = mcuboot.OverwriteOnly
	}
	m, err := newMCUbootMaker(signer, mode)
	if err != nil {
		return nil, err
	}
	other, err := mcubootDevice()
	if err != nil {
		return nil, err
	}
	var all []badImage
	add := func(name, what string, file []byte) {
		all = append(all, badImage{name, what, func(ctx context.Context, without Step) (Trace, error) {
			trace, err := mcuboot.TraceWithout(ctx, file, m.target, mcuboot.Step(without))
			return fromMCUboot(trace), err
		}})
	}
	signed := func(change func(*mcuboot.Options)) []byte { return m.build(ctx, signer, change) }

	good := signed(nil)
	if m.err != nil {
		return nil, m.err
	}
	foreign := m.build(ctx, stranger, nil)
	add("wrong-key", "signed with a key that the device does not know, and says so", foreign)
	add("claimed-key", "signed with such a key, under the name of the device's", m.edit(foreign, func(f *mcuboot.File) {
		for i := range f.Unprotected {
			if f.Unprotected[i].Type == mcuboot.TypeKeyHash {
				f.Unprotected[i].Value = m.target.Keys[0].Hash(crypto.SHA256)
			}
		}
	}))
	add("unsigned", "no signature", m.edit(good, func(f *mcuboot.File) {
		f.Unprotected = slices.DeleteFunc(f.Unprotected, func(e mcuboot.TLV) bool { return e.Type == mcuboot.TypeECDSA })
	}))
	add("flipped", "one bit of the payload changed", m.edit(good, func(f *mcuboot.File) { f.Payload[0] ^= 1 }))
	add("digest-swapped", "one bit changed, and the hash computed again", m.edit(good, func(f *mcuboot.File) {
		f.Payload[0] ^= 1
		file := f.Encode()
		covered := int(f.Header.HeaderSize) + len(f.Payload) + int(f.Header.ProtectedSize)
		sum := sha256.Sum256(file[:covered])
		for i := range f.Unprotected {
			if f.Unprotected[i].Type == mcuboot.TypeSHA256 {
				f.Unprotected[i].Value = sum[:]
			}
		}
	}))
	add("older", "an older version and an older security counter",
		signed(func(o *mcuboot.Options) { o.Version, o.Counter = mcuboot.Version{Major: 1}, new(uint32(9)) }))
	add("older-version", "an older version, with the security counter of the new one", signed(func(o *mcuboot.Options) { o.Version.Major = 1 }))
	add("older-counter", "an older security counter, with the version of the new one", signed(func(o *mcuboot.Options) { o.Counter = new(uint32(9)) }))
	add("other-vendor", "made for another vendor", signed(func(o *mcuboot.Options) { o.Vendor = "other.example" }))
	add("other-class", "made for another model", signed(func(o *mcuboot.Options) { o.Class = "model b" }))
	add("dependency", "needs a newer version of the other image",
		signed(func(o *mcuboot.Options) {
			o.Dependencies = []mcuboot.Dependency{{Image: 1, Minimum: mcuboot.Version{Major: 3}}}
		}))
	add("other-address", "linked for another address", signed(func(o *mcuboot.Options) { o.ROMAddress = new(uint32(0x80000)) }))
	add("unknown-tlv", "an unsigned entry that the allow list does not have", m.edit(good, func(f *mcuboot.File) {
		f.Unprotected = append(f.Unprotected, mcuboot.TLV{Type: 0xa0, Value: []byte{1}})
	}))
	add("truncated", "the last byte is missing", good[:len(good)-1])
	limit, _ := m.target.MaxImage()
	firmware := m.firmware
	m.firmware = make([]byte, int(limit)-(len(good)-len(firmware))+4) // a DER signature may be shorter
	add("too-large", "a few bytes more than the mode leaves of the slot", signed(nil))
	m.firmware = firmware
	add("bad-magic", "one bit of the header's magic number changed", slices.Concat([]byte{good[0] ^ 1}, good[1:]))
	encrypted := signed(func(o *mcuboot.Options) { o.Encrypt = &mcuboot.Encrypt{To: m.target.DeviceKey.Recipient()} })
	add("flipped-ciphertext", "one bit of the encrypted payload changed", m.edit(encrypted, func(f *mcuboot.File) { f.Payload[0] ^= 1 }))
	add("other-device", "encrypted to another device's key",
		signed(func(o *mcuboot.Options) { o.Encrypt = &mcuboot.Encrypt{To: other.Recipient()} }))
	return all, m.err
}
