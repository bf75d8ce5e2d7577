package ctest

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// Case writes a case of letter S of bootloader/c/cases/cases.h. Inputs are those
// of a published case.
func Case(d verdicts.SUIT, inputs map[string][]byte) ([]byte, error) {
	var hasSlot, slot uint32
	if d.Slot != nil {
		hasSlot, slot = 1, *d.Slot
	}
	b := slices.Concat([]byte("S"), d.VendorID, d.ClassID)
	for _, n := range []uint32{d.MinSequence, hasSlot, slot, d.BankSize, d.Threshold, uint32(len(d.Keys))} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for _, k := range d.Keys {
		id := keyID(k.Point)
		b = slices.Concat(b, k.Point, id[:16], []byte{0})
		if k.Revoked {
			b[len(b)-1] = 1
		}
	}
	key, name := []byte(d.KEK), []byte(d.KEKID)
	if len(d.DeviceKey) > 0 {
		private, err := ecdh.P256().NewPrivateKey(d.DeviceKey)
		if err != nil {
			return nil, fmt.Errorf("ctest: device key: %w", err)
		}
		to, err := encrypt.NewRecipient(private.PublicKey())
		if err != nil {
			return nil, fmt.Errorf("ctest: device key: %w", err)
		}
		key, name = d.DeviceKey, to.KeyID
	}
	for _, field := range [][]byte{key, name} {
		b = append(append(b, byte(len(field))), field...)
	}
	chip, err := bootloader.ChipByName(d.Chip)
	if err != nil {
		return nil, fmt.Errorf("ctest: %w", err)
	}
	oneBank := uint32(1)
	if chip.Dual() {
		oneBank = 0
	}
	for _, n := range []uint32{d.DecoderRAM, oneBank} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for _, input := range [][]byte{inputs["running"], inputs["envelope"], inputs["payload"]} {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(input))), input...)
	}
	return b, nil
}

// Coding returns how the payload of an envelope is decoded, 0 for one that is
// not, or that does not say it. Nothing is verified.
func Coding(envelope []byte) manifest.Coding {
	e, err := manifest.Parse(envelope)
	if err != nil {
		return 0
	}
	if m, err := e.Unverified(); err == nil && m.Decoded() {
		return m.Install.Decoding.Coding
	}
	return 0
}

// spkiHead stands before a point in a SubjectPublicKeyInfo on P-256 (RFC 5480).
const spkiHead = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"

func keyID(point []byte) [sha256.Size]byte {
	return sha256.Sum256(slices.Concat([]byte(spkiHead), point))
}
