package vectors

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// The example of RFC 3394, section 4.1.
const (
	sharedKEK        = "000102030405060708090a0b0c0d0e0f"
	sharedContentKey = "00112233445566778899aabbccddeeff"
	sharedWrapped    = "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"
)

// share encrypts the payload for recipients with these key ids, "" for none, and
// gives the device the key, which it calls k1. The counter is the last 32 bits of
// the IV.
func (p *parcel) share(counter string, kids ...string) {
	p.t.Helper()
	block, err := aes.NewCipher(p.hex(sharedContentKey))
	if err != nil {
		p.t.Fatal(err)
	}
	iv := slices.Concat(testBytes(p.t, "shared nonce", 12), p.hex(counter))
	ciphertext := make([]byte, len(p.payload))
	cipher.NewCTR(block, iv).XORKeyStream(ciphertext, p.payload)
	info := &cose.Encrypt{IV: [16]byte(iv)}
	for _, kid := range kids {
		r := cose.Recipient{Algorithm: cose.A128KW, Wrapped: [24]byte(p.hex(sharedWrapped))}
		if kid != "" {
			r.KeyID = []byte(kid)
		}
		info.Recipients = append(info.Recipients, r)
	}
	p.send(ciphertext)
	p.manifest.Install.Encryption = info
	p.device.DeviceKey, p.device.KEK, p.device.KEKID = nil, p.hex(sharedKEK), []byte("k1")
}

// shareImage makes the payload an image of so many bytes, and shares it.
func (p *parcel) shareImage(size int, counter string, kids ...string) {
	p.t.Helper()
	p.payload = testBytes(p.t, "shared image", size)
	p.manifest.Image = content(p.payload)
	p.share(counter, kids...)
}

// breakFirst makes the wrapped keys of the first n recipients such that no key
// opens them.
func (p *parcel) breakFirst(n int) {
	for i := range n {
		p.manifest.Install.Encryption.Recipients[i].Wrapped[i] ^= 1
	}
}

func (p *parcel) hex(s string) []byte {
	p.t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// sharedRows are about payloads that open with a key which devices share, and
// about the end of the counter: it has 32 bits, and must not come back to where
// it has been.
func sharedRows() []parcelRow {
	const first = "00000000"
	rows := []parcelRow{
		{name: "shared key, named", change: func(p *parcel) { p.shareImage(100, first, "k1") }},
		{name: "shared key, named otherwise", change: func(p *parcel) { p.shareImage(100, first, "k2") }},
		{name: "shared key, not named", change: func(p *parcel) { p.shareImage(100, first, "") }},
		{name: "shared key of a device that has no name for it", change: func(p *parcel) { p.shareImage(100, first, "k1"); p.device.KEKID = nil }},
		{name: "shared key, second of two recipients of its name", change: func(p *parcel) { p.shareImage(100, first, "k1", "k1"); p.breakFirst(1) }},
		{name: "shared key, recipient of another name opens", change: func(p *parcel) { p.shareImage(100, first, "k1", "k2"); p.breakFirst(1) }},
		{name: "shared key, last of eight recipients", change: func(p *parcel) { p.shareImage(100, first, strings.Split("abcdefgh", "")...); p.breakFirst(7) }},
		{name: "shared key after a recipient with a key of its own", change: func(p *parcel) {
			own := *p.recipient()
			p.shareImage(100, first, "k1")
			r := &p.manifest.Install.Encryption.Recipients
			*r = slices.Insert(*r, 0, own)
		}},
		{name: "shared key, neither of two recipients", change: func(p *parcel) { p.shareImage(100, first, "k1", "k2"); p.breakFirst(2) },
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "other shared key", change: func(p *parcel) { p.shareImage(100, first, "k1"); p.device.KEK = p.hex(sharedContentKey) },
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "shared key of a device that has none", change: func(p *parcel) { p.shareImage(100, first, "k1"); p.device.KEK, p.device.KEKID = nil, nil },
			step: bootloader.StepUnwrap, reason: verdict.RecipientKeyMissing},
		{name: "shared key, ciphertext right, image another", change: func(p *parcel) { p.shareImage(100, first, "k1"); p.manifest.Image.Digest[0] ^= 1 },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},

		{name: "one block at the last counter", change: func(p *parcel) { p.shareImage(16, "ffffffff", "k1") }},
		{name: "one byte at the last counter", change: func(p *parcel) { p.shareImage(1, "ffffffff", "k1") }},
		{name: "one byte more than a block at the last counter", change: func(p *parcel) { p.shareImage(17, "ffffffff", "k1") },
			step: bootloader.StepImage, reason: verdict.TooLarge},
		{name: "two blocks at the last two counters", change: func(p *parcel) { p.shareImage(32, "fffffffe", "k1") }},
		{name: "one byte more than two blocks at the last two counters", change: func(p *parcel) { p.shareImage(33, "fffffffe", "k1") },
			step: bootloader.StepImage, reason: verdict.TooLarge},
		{name: "counter that carries into its third byte", change: func(p *parcel) { p.shareImage(48, "0000ffff", "k1") }},
	}
	for i := range rows {
		rows[i].only = []string{"T3"}
	}
	return rows
}
