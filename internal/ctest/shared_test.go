package ctest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// The example of RFC 3394, section 4.1.
const (
	kek        = "000102030405060708090a0b0c0d0e0f"
	contentKey = "00112233445566778899aabbccddeeff"
	wrapped    = "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"
)

// sealed is an image that is encrypted for a shared key.
type sealed struct {
	name    string
	size    int    // of the image in bytes
	counter string // last 32 bits of the IV
	kids    []string
	broken  int // the first so many recipients have a wrapped key that opens with no key
	kek     string
	want    string
}

// sharedKeyCases are what the published verdicts do not have: payloads that open
// with a shared key, and counters at their end.
func sharedKeyCases() ([]asked, error) {
	var all []asked
	for _, c := range []sealed{
		{name: "named", size: 100, counter: "00000000", kids: []string{"k1"}, want: "accept"},
		{name: "named otherwise", size: 100, counter: "00000000", kids: []string{"k2"}, want: "accept"},
		{name: "not named", size: 100, counter: "00000000", kids: []string{""}, want: "accept"},
		{name: "the second one", size: 100, counter: "00000000", kids: []string{"k1", "k1"}, broken: 1, want: "accept"},
		{name: "the last of eight", size: 100, counter: "00000000", kids: strings.Split("abcdefgh", ""), broken: 7, want: "accept"},
		{name: "none of two", size: 100, counter: "00000000", kids: []string{"k1", "k2"}, broken: 2, want: "refuse unwrap"},
		{name: "another key", size: 100, counter: "00000000", kids: []string{"k1"}, kek: contentKey, want: "refuse unwrap"},
		{name: "last counter", size: 16, counter: "ffffffff", kids: []string{"k1"}, want: "accept"},
		{name: "behind the last counter", size: 17, counter: "ffffffff", kids: []string{"k1"}, want: "refuse image"},
		{name: "last two counters", size: 32, counter: "fffffffe", kids: []string{"k1"}, want: "accept"},
		{name: "behind the last two counters", size: 33, counter: "fffffffe", kids: []string{"k1"}, want: "refuse image"},
	} {
		a, err := c.ask()
		if err == nil && a.want != c.want {
			err = fmt.Errorf("Go says %s, want %s", a.want, c.want)
		}
		if err != nil {
			return nil, fmt.Errorf("shared key, %s: %w", c.name, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// encrypted returns the image, the ciphertext, and how to decrypt it.
func (c sealed) encrypted() (image, ciphertext []byte, info *cose.Encrypt, err error) {
	bytes := random(c.name)
	image = bytes(c.size)
	iv := slices.Concat(bytes(12), mustHex(c.counter))
	block, err := aes.NewCipher(mustHex(contentKey))
	if err != nil {
		return nil, nil, nil, err
	}
	ciphertext = make([]byte, c.size)
	cipher.NewCTR(block, iv).XORKeyStream(ciphertext, image)
	info = &cose.Encrypt{IV: [16]byte(iv)}
	for i, kid := range c.kids {
		r := cose.Recipient{Algorithm: cose.A128KW, Wrapped: [24]byte(mustHex(wrapped))}
		if kid != "" {
			r.KeyID = []byte(kid)
		}
		if i < c.broken {
			r.Wrapped[i] ^= 1
		}
		info.Recipients = append(info.Recipients, r)
	}
	return image, ciphertext, info, nil
}

// ask signs a manifest for it, and asks Go.
func (c sealed) ask() (asked, error) {
	image, ciphertext, info, err := c.encrypted()
	if err != nil {
		return asked{}, err
	}
	vendor := manifest.VendorID("acme.example")
	class := manifest.ClassID(vendor, "radio", "b2")
	m := manifest.Manifest{
		Sequence: 7, Vendor: vendor, Class: class, Image: content(image), Staged: true,
		Install: &manifest.Install{URI: "#radio", Received: content(ciphertext), Encryption: info},
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), random("manifest key")(32))
	if err != nil {
		return asked{}, err
	}
	signer, err := sign.FromCrypto(key)
	if err != nil {
		return asked{}, err
	}
	envelope, err := envelopeOf(m, signer)
	if err != nil {
		return asked{}, err
	}
	device := verdicts.SUIT{
		Chip: "nrf52840", Vendor: "acme.example", Model: "radio", Revision: "b2", VendorID: vendor[:], ClassID: class[:],
		MinSequence: 7, BankSize: 1000, Threshold: 1, Keys: []verdicts.PublicKey{{Point: signer.Public().Point()[1:]}},
		KEK: mustHex(kek), KEKID: verdicts.Hex("k1"),
	}
	if c.kek != "" {
		device.KEK = mustHex(c.kek)
	}
	judged, err := vectors.Reference(context.Background(), verdicts.Device{SUIT: &device}, map[string][]byte{"envelope": envelope, "payload": ciphertext})
	if err != nil {
		return asked{}, err
	}
	a := asked{id: "shared key: " + c.name, envelope: envelope, want: strings.TrimSpace(judged.Verdict + " " + judged.Step)}
	a.fields, err = suitFields(device, envelope, ciphertext)
	return a, err
}

// envelopeOf signs a manifest; the installation is severed.
func envelopeOf(m manifest.Manifest, signer sign.Signer) ([]byte, error) {
	draft, err := manifest.New(m, []sign.PublicKey{signer.Public()}, manifest.Options{SeverInstall: true, KeyHints: true})
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(context.Background(), draft.Requests()[0].Message)
	if err != nil {
		return nil, err
	}
	return draft.Finish([]sign.Signature{signature})
}

func content(data []byte) manifest.Content {
	return manifest.Content{Digest: sha256.Sum256(data), Size: uint32(len(data))}
}

// mustHex is for constants.
func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
