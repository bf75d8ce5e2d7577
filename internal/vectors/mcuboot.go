package vectors

import (
	"context"
	"crypto"
	"fmt"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func judgeMCUboot(ctx context.Context, state verdicts.MCUboot, image []byte) (Judgement, error) {
	target, err := mcubootTarget(state)
	if err != nil {
		return Judgement{}, err
	}
	v, trace, err := mcuboot.Verify(ctx, image, target)
	if err != nil {
		if len(trace) == 0 {
			return Judgement{}, err
		}
		return refused(string(trace[len(trace)-1].Step), err)
	}
	j := accepted()
	inPlace := target.Slot == mcuboot.Primary || target.Mode == mcuboot.DirectXIP || target.Mode == mcuboot.RAMLoadMode || target.Mode == mcuboot.SingleSlot
	if inPlace || !v.Bootable() {
		return j, nil
	}
	plain := image
	if v.File().Header.Flags.Encrypted() {
		if plain, err = mcuboot.Decrypt(image, target.DeviceKey); err != nil {
			return Judgement{}, err
		}
	}
	j.Released = verdicts.Of(plain[:v.File().End()])
	return j, nil
}

var (
	keyMatches = map[string]mcuboot.KeyMatch{"hash": mcuboot.ByKeyHash, "full": mcuboot.FullKey, "builtin": mcuboot.BuiltinKey, "bypass": mcuboot.AnyKeyHash}
	cryptos    = map[string]mcuboot.Crypto{"default": mcuboot.DefaultCrypto, "tinycrypt": mcuboot.TinyCrypt, "mbedtls": mcuboot.MbedTLS, "psa": mcuboot.PSA}
	downgrades = map[string]mcuboot.Downgrade{"allow": mcuboot.AllowDowngrade, "version": mcuboot.ByVersion, "counter": mcuboot.ByCounter}
	slots      = map[string]mcuboot.Slot{"secondary": mcuboot.Secondary, "primary": mcuboot.Primary}
	hashes     = map[string]crypto.Hash{"": 0, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}
)

// named looks a word up.
func named[V any](words map[string]V, what, word string) (V, error) {
	v, ok := words[word]
	if !ok {
		return v, fmt.Errorf("vectors: %w: %s %q", ErrDevice, what, word)
	}
	return v, nil
}

func mcubootTarget(s verdicts.MCUboot) (mcuboot.Target, error) {
	t := mcuboot.Target{
		AnyTLV: s.AnyTLV, Rollback: s.Rollback, CompareBuild: s.CompareBuild,
		Image: s.Image, Images: int(s.Images),
		SlotSize: s.SlotSize, SecondarySize: s.SecondarySize, SectorSize: s.SectorSize, WriteSize: s.WriteSize,
		MaxAlign: s.MaxAlign, MaxSectors: s.MaxSectors, ErasedZero: s.ErasedZero, SlotAddress: s.SlotAddress,
		AESBits: int(s.AESBits),
	}
	var err error
	for _, read := range []func(){
		func() { t.Signature, err = mcuboot.ParseSignatureType(s.Signature) },
		func() { t.Hash, err = named(hashes, "hash", s.Hash) },
		func() { t.KeyMatch, err = named(keyMatches, "key match", s.KeyMatch) },
		func() { t.Crypto, err = named(cryptos, "crypto library", s.Crypto) },
		func() { t.Downgrade, err = named(downgrades, "downgrade prevention", s.Downgrade) },
		func() { t.Slot, err = named(slots, "slot", s.Slot) },
		func() { t.Encryption, err = mcuboot.ParseEncryption(s.Encryption) },
		func() {
			if s.Mode != mcuboot.ModeUnknown.String() {
				t.Mode, err = mcuboot.ParseMode(s.Mode)
			}
		},
		func() {
			if len(s.DeviceKey) > 0 {
				t.DeviceKey, err = mcuboot.ParseDeviceKey(s.DeviceKey)
			}
		},
		func() { t.Vendor, err = uuid(s.Vendor) },
		func() { t.Class, err = uuid(s.Class) },
	} {
		if read(); err != nil {
			return mcuboot.Target{}, err
		}
	}
	for _, der := range s.Keys {
		k, err := mcuboot.ParseKey(der)
		if err != nil {
			return mcuboot.Target{}, err
		}
		t.Keys = append(t.Keys, k)
	}
	if in := s.Installed; in != nil {
		t.Installed = &mcuboot.Installed{Version: mcuboot.Version(in.Version), Counter: in.Counter}
	}
	for _, o := range s.Others {
		if t.Others == nil {
			t.Others = make(map[uint8]mcuboot.Version)
		}
		t.Others[o.Image] = mcuboot.Version(o.Version)
	}
	if m := s.RAM; m != nil {
		t.RAM = &mcuboot.Memory{Start: m.Start, Size: m.Size}
	}
	if m := s.Boot; m != nil {
		t.Boot = &mcuboot.Memory{Start: m.Start, Size: m.Size}
	}
	return t, nil
}

func uuid(b []byte) (*mcuboot.UUID, error) {
	switch len(b) {
	case 0:
		return nil, nil
	case len(mcuboot.UUID{}):
		u := mcuboot.UUID(b)
		return &u, nil
	}
	return nil, fmt.Errorf("vectors: %w: identifier of %d bytes", ErrDevice, len(b))
}
