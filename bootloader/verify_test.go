package bootloader

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// each runs a test for every template on every chip.
func each(t *testing.T, test func(t *testing.T, chip Chip, template string)) {
	for _, chip := range Chips() {
		for _, template := range templates {
			t.Run(chip.Name+" "+template, func(t *testing.T) { test(t, chip, template) })
		}
	}
}

// witness counts what a bootloader touches.
type witness struct {
	bytes.Reader
	encrypt.Identity
	reads, unwraps int
}

func (w *witness) ReadAt(p []byte, off int64) (int, error) {
	w.reads++
	return w.Reader.ReadAt(p, off)
}

func (w *witness) Unwrap(h encrypt.Header) (*encrypt.ContentKey, error) {
	w.unwraps++
	return w.Identity.Unwrap(h)
}

func TestRefused(t *testing.T) {
	stranger, second, third := newSigner(t, "stranger"), newSigner(t, "second"), newSigner(t, "third")
	plain, encrypted := []string{"T1", "T2b"}, []string{"T3"}
	for _, tt := range []struct {
		name   string
		only   []string // templates; nil for all
		change func(t *testing.T, p *parcel)
		bend   func(t testing.TB, envelope []byte) []byte // after signing
		after  func(t *testing.T, p *parcel)              // after signing
		step   Step
		reason verdict.Reason
	}{
		{name: "nothing", bend: func(testing.TB, []byte) []byte { return nil }, step: StepEnvelope, reason: verdict.Truncated},
		{name: "another file", bend: func(testing.TB, []byte) []byte { return []byte("PK\x03\x04") }, step: StepEnvelope, reason: verdict.MissingTag},
		{name: "truncated envelope", bend: func(_ testing.TB, e []byte) []byte { return e[:len(e)-1] }, step: StepEnvelope, reason: verdict.Truncated},
		{name: "byte after the envelope", bend: func(_ testing.TB, e []byte) []byte { return append(e, 0) }, step: StepEnvelope, reason: verdict.TrailingAfterEnvelope},

		{name: "signed by a stranger", change: func(_ *testing.T, p *parcel) { p.signers = []sign.Signer{stranger} },
			step: StepSignature, reason: verdict.SignatureInvalid},
		{name: "one signature of two", change: func(t *testing.T, p *parcel) {
			p.device.Trust = trusting(t, sign.RoleManifest, 2, p.signers[0], second, third)
		}, step: StepSignature, reason: verdict.SignatureInvalid},
		{name: "revoked key", change: func(_ *testing.T, p *parcel) { p.device.Trust.Revoke(p.signers[0].Public()) },
			step: StepSignature, reason: verdict.KeyRevoked},
		{name: "manifest of another envelope", bend: func(t testing.TB, e []byte) []byte {
			p := newParcel(t, Chips()[0], "T1", testImage(t, 10))
			p.manifest.Sequence++
			mine, other := elements(t, e), elements(t, p.envelope(t))
			mine[envelopeManifest] = other[envelopeManifest]
			return assemble(t, mine)
		}, step: StepSignature, reason: verdict.ManifestDigestMismatch},
		{name: "signatures of another envelope", bend: func(t testing.TB, e []byte) []byte {
			p := newParcel(t, Chips()[0], "T1", testImage(t, 10))
			mine, other := elements(t, e), elements(t, p.envelope(t))
			mine[envelopeAuth] = other[envelopeAuth]
			return assemble(t, mine)
		}, step: StepSignature, reason: verdict.ManifestDigestMismatch},

		{name: "install of another envelope", only: encrypted, bend: func(t testing.TB, e []byte) []byte {
			p := newParcel(t, Chips()[0], "T3", testImage(t, 10))
			mine, other := elements(t, e), elements(t, p.envelope(t))
			mine[envelopeInstall] = other[envelopeInstall]
			return assemble(t, mine)
		}, step: StepManifest, reason: verdict.SeverableDigestMismatch},

		{name: "other vendor", change: func(_ *testing.T, p *parcel) { p.device.Vendor = "acme.test" }, step: StepVendor, reason: verdict.VendorMismatch},
		{name: "vendor before class", change: func(_ *testing.T, p *parcel) { p.manifest.Vendor, p.manifest.Class = manifest.UUID{}, manifest.UUID{} },
			step: StepVendor, reason: verdict.VendorMismatch},
		{name: "other hardware revision", change: func(_ *testing.T, p *parcel) { p.device.Revision = "b3" }, step: StepClass, reason: verdict.ClassMismatch},
		{name: "other model", change: func(_ *testing.T, p *parcel) { p.device.Model = "razor" }, step: StepClass, reason: verdict.ClassMismatch},
		{name: "model and revision shifted", change: func(_ *testing.T, p *parcel) { p.device.Model, p.device.Revision = "brush/b2", "" },
			step: StepClass, reason: verdict.ClassMismatch},

		{name: "other slot", only: []string{"T2b"}, change: func(_ *testing.T, p *parcel) {
			other := *p.device.Slot ^ 1
			p.device.Slot = &other
		}, step: StepSlot, reason: verdict.SlotMismatch},
		{name: "device without slots", only: []string{"T2b"}, change: func(_ *testing.T, p *parcel) { p.device.Slot = nil },
			step: StepSlot, reason: verdict.SlotMismatch},

		{name: "lower sequence number", change: func(_ *testing.T, p *parcel) { p.manifest.Sequence-- }, step: StepSequence, reason: verdict.SequenceRollback},
		{name: "sequence number 0", change: func(_ *testing.T, p *parcel) { p.manifest.Sequence = 0 }, step: StepSequence, reason: verdict.SequenceRollback},
		{name: "below the last sequence number", change: func(_ *testing.T, p *parcel) {
			p.manifest.Sequence, p.device.MinSequence = math.MaxUint32-1, math.MaxUint32
		}, step: StepSequence, reason: verdict.SequenceRollback},

		{name: "image larger than the bank", change: func(_ *testing.T, p *parcel) {
			p.manifest.Image.Size = p.device.Chip.Banks[0].Size + 1
			p.manifest.Install.Received.Size = p.manifest.Image.Size
		}, step: StepSize, reason: verdict.ImageExceedsBank},
		{name: "image of 4 GiB", change: func(_ *testing.T, p *parcel) {
			p.manifest.Image.Size, p.manifest.Install.Received.Size = math.MaxUint32, math.MaxUint32
		}, step: StepSize, reason: verdict.ImageExceedsBank},
		{name: "install severed", change: func(_ *testing.T, p *parcel) { p.layout.SeverInstall = true }, bend: sever,
			step: StepSize, reason: verdict.InstallSevered},
		{name: "short payload", after: func(_ *testing.T, p *parcel) { p.payload = p.payload[1:] }, step: StepSize, reason: verdict.PayloadElementSize},
		{name: "long payload", after: func(_ *testing.T, p *parcel) { p.payload = append(p.payload, 0) }, step: StepSize, reason: verdict.PayloadElementSize},
		{name: "no payload", after: func(_ *testing.T, p *parcel) { p.payload = nil }, step: StepSize, reason: verdict.PayloadElementSize},

		{name: "first bit of the ciphertext", only: encrypted, after: func(_ *testing.T, p *parcel) { p.payload[0] ^= 0x80 },
			step: StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "last bit of the ciphertext", only: encrypted, after: func(_ *testing.T, p *parcel) { p.payload[len(p.payload)-1] ^= 1 },
			step: StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "plain image right, ciphertext digest wrong", only: encrypted, change: func(_ *testing.T, p *parcel) { p.manifest.Install.Received.Digest[31] ^= 1 },
			step: StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "digests swapped", only: encrypted, change: func(_ *testing.T, p *parcel) {
			p.manifest.Image, p.manifest.Install.Received = p.manifest.Install.Received, p.manifest.Image
		}, step: StepCiphertext, reason: verdict.CiphertextDigestMismatch},

		{name: "no device key", only: encrypted, change: func(_ *testing.T, p *parcel) { p.device.Identity = nil },
			step: StepUnwrap, reason: verdict.RecipientKeyMissing},
		{name: "other device's key", only: encrypted, change: func(t *testing.T, p *parcel) { p.device.Identity = identity(t, newDeviceKey(t, "other")) },
			step: StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "other kind of key", only: encrypted, change: func(_ *testing.T, p *parcel) { p.device.Identity = encrypt.NewKEK(nil, [16]byte{1}) },
			step: StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "wrapped key", only: encrypted, change: func(_ *testing.T, p *parcel) { p.recipient().Wrapped[23] ^= 1 },
			step: StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "integrity value of the wrapped key", only: encrypted, change: func(_ *testing.T, p *parcel) { p.recipient().Wrapped[0] ^= 0x80 },
			step: StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "key wrap without agreement", only: encrypted, change: func(_ *testing.T, p *parcel) {
			*p.recipient() = cose.Recipient{Algorithm: cose.A128KW, Wrapped: p.recipient().Wrapped}
		}, step: StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "other ephemeral point", only: encrypted, change: func(t *testing.T, p *parcel) {
			point := newDeviceKey(t, "ephemeral").PublicKey().Bytes()
			p.recipient().X, p.recipient().Y = [32]byte(point[1:33]), [32]byte(point[33:])
		}, step: StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "ephemeral point off the curve", only: encrypted, change: func(_ *testing.T, p *parcel) { p.recipient().Y[31] ^= 1 },
			step: StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "ephemeral point zero", only: encrypted, change: func(_ *testing.T, p *parcel) { p.recipient().X, p.recipient().Y = [32]byte{}, [32]byte{} },
			step: StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "ephemeral coordinate above the field", only: encrypted, change: func(_ *testing.T, p *parcel) {
			copy(p.recipient().X[:], bytes.Repeat([]byte{0xff}, 32))
		}, step: StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "second recipient off the curve", only: encrypted, change: func(_ *testing.T, p *parcel) {
			bad := *p.recipient()
			bad.Y[0] ^= 1
			p.manifest.Install.Encryption.Recipients = append(p.manifest.Install.Encryption.Recipients, bad)
		}, step: StepUnwrap, reason: verdict.EphemeralPoint},

		{name: "first bit of the image", only: plain, after: func(_ *testing.T, p *parcel) { p.payload[0] ^= 0x80 },
			step: StepImage, reason: verdict.ImageDigestMismatch},
		{name: "last bit of the image", only: plain, after: func(_ *testing.T, p *parcel) { p.payload[len(p.payload)-1] ^= 1 },
			step: StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, other content key", only: encrypted, change: func(t *testing.T, p *parcel) {
			p.manifest.Install.Encryption.Recipients = otherKey(t)
		}, step: StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, other IV", only: encrypted, change: func(_ *testing.T, p *parcel) { p.manifest.Install.Encryption.IV[11] ^= 1 },
			step: StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, image digest wrong", only: encrypted, change: func(_ *testing.T, p *parcel) { p.manifest.Image.Digest[0] ^= 1 },
			step: StepImage, reason: verdict.ImageDigestMismatch},
		{name: "IV at the end of the counter", only: encrypted, change: func(_ *testing.T, p *parcel) {
			copy(p.manifest.Install.Encryption.IV[12:], "\xff\xff\xff\xff")
		}, step: StepImage, reason: verdict.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, chip Chip, template string) {
				if tt.only != nil && !slices.Contains(tt.only, template) {
					return
				}
				p := newParcel(t, chip, template, testImage(t, 1000))
				if tt.change != nil {
					tt.change(t, p)
				}
				envelope := p.envelope(t)
				if tt.bend != nil {
					envelope = tt.bend(t, envelope)
				}
				if tt.after != nil {
					tt.after(t, p)
				}
				w := &witness{Reader: *bytes.NewReader(p.payload), Identity: p.device.Identity}
				if p.device.Identity != nil {
					p.device.Identity = w
				}
				v, trace, err := Verify(t.Context(), p.device, envelope, Payload{w, int64(len(p.payload))}, p.options)
				wantRefusal(t, template, v, trace, err, tt.step, tt.reason)

				at := func(s Step) int { return slices.Index(chip.Steps, s) }
				if at(tt.step) < at(StepCiphertext) && w.reads > 0 {
					t.Errorf("the payload was read before it was refused in step %s", tt.step)
				}
				if at(tt.step) < at(StepUnwrap) && w.unwraps > 0 {
					t.Errorf("the device key was used before the payload was refused in step %s", tt.step)
				}
			})
		})
	}
}

// otherKey returns recipient blocks that open with the device's key, to a
// content key that encrypted another payload.
func otherKey(t *testing.T) []cose.Recipient {
	t.Helper()
	to, err := encrypt.NewRecipient(newDeviceKey(t, "device").PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := encrypt.NewSealer(testvectors.Stream("other"), []encrypt.Recipient{to})
	if err != nil {
		t.Fatal(err)
	}
	defer sealer.Wipe()
	return encryption(sealer.Header()).Recipients
}

// With everything wrong at once a device finds the first fault of its list, and
// the next one when that is mended.
func TestOrder(t *testing.T) {
	each(t, func(t *testing.T, chip Chip, template string) {
		p := newParcel(t, chip, template, testImage(t, 1000))
		good := *p
		p.device.Vendor, p.device.Model, p.device.MinSequence = "other.example", "razor", 2000
		p.device.Trust = trusting(t, sign.RoleManifest, 1, newSigner(t, "stranger"))
		p.device.Identity, p.payload = nil, []byte("short")
		if template == "T2b" {
			p.device.Slot = nil
		}
		if template == "T3" {
			p.manifest.Image.Digest[0] ^= 1
		}
		envelope := append(p.envelope(t), 0)

		for _, fault := range []struct {
			step   Step
			reason verdict.Reason
			only   string // template
			mend   func()
		}{
			{StepEnvelope, verdict.TrailingAfterEnvelope, "", func() { envelope = envelope[:len(envelope)-1] }},
			{StepSignature, verdict.SignatureInvalid, "", func() { p.device.Trust = good.device.Trust }},
			{StepVendor, verdict.VendorMismatch, "", func() { p.device.Vendor = good.device.Vendor }},
			{StepClass, verdict.ClassMismatch, "", func() { p.device.Model = good.device.Model }},
			{StepSlot, verdict.SlotMismatch, "T2b", func() { p.device.Slot = good.device.Slot }},
			{StepSequence, verdict.SequenceRollback, "", func() { p.device.MinSequence = good.device.MinSequence }},
			{StepSize, verdict.PayloadElementSize, "", func() { p.payload = make([]byte, len(good.payload)) }},
			{StepCiphertext, verdict.CiphertextDigestMismatch, "T3", func() { p.payload = good.payload }},
			{StepUnwrap, verdict.RecipientKeyMissing, "T3", func() { p.device.Identity = good.device.Identity }},
			{StepImage, verdict.ImageDigestMismatch, "", func() { p.payload, envelope = good.payload, good.envelope(t) }},
		} {
			if fault.only != "" && fault.only != template {
				continue
			}
			v, trace, err := p.verify(t, envelope)
			wantRefusal(t, template, v, trace, err, fault.step, fault.reason)
			fault.mend()
		}
		if _, _, err := p.verify(t, envelope); err != nil {
			t.Errorf("refused after everything was mended: %v", err)
		}
	})
}

func TestTaken(t *testing.T) {
	second, third := newSigner(t, "second"), newSigner(t, "third")
	for _, tt := range []struct {
		name   string
		only   []string
		size   func(Chip) int // of the image, 1000 when nil
		change func(t *testing.T, p *parcel)
		bend   func(t testing.TB, envelope []byte) []byte
	}{
		{name: "as it should be"},
		{name: "higher sequence number", change: func(_ *testing.T, p *parcel) { p.manifest.Sequence++ }},
		{name: "new device", change: func(_ *testing.T, p *parcel) { p.device.MinSequence = 0 }},
		{name: "last sequence number", change: func(_ *testing.T, p *parcel) {
			p.manifest.Sequence, p.device.MinSequence = math.MaxUint32, math.MaxUint32
		}},
		{name: "vendor in capitals", change: func(_ *testing.T, p *parcel) { p.device.Vendor = strings.ToUpper(p.device.Vendor) }},
		{name: "no version", change: func(_ *testing.T, p *parcel) { p.manifest.Version = nil }},
		{name: "image without a slot for a device with slots", only: []string{"T1", "T3"}, change: func(_ *testing.T, p *parcel) {
			slot := uint32(len(p.device.Chip.Banks) - 1)
			p.device.Slot = &slot
		}},
		{name: "one byte", size: func(Chip) int { return 1 }},
		{name: "full bank", size: func(c Chip) int { return int(c.Banks[0].Size) }},
		{name: "install severable", change: func(_ *testing.T, p *parcel) { p.layout.SeverInstall = true }},
		{name: "install not severable", change: func(_ *testing.T, p *parcel) { p.layout.SeverInstall = false }},
		{name: "text", change: func(_ *testing.T, p *parcel) { p.layout.Text = []byte("\xa0") }},
		{name: "no key hint", change: func(_ *testing.T, p *parcel) { p.layout.KeyHints = false }},
		{name: "unknown key hint", bend: func(t testing.TB, e []byte) []byte { return rehint(t, e, []byte("no such!")) }},
		{name: "hint to another trusted key",
			change: func(t *testing.T, p *parcel) {
				p.device.Trust = trusting(t, sign.RoleManifest, 1, second, p.signers[0])
			},
			bend: func(t testing.TB, e []byte) []byte {
				hint := second.Public().ID().Hint()
				return rehint(t, e, hint[:])
			}},
		{name: "two of three signatures", change: func(t *testing.T, p *parcel) {
			p.device.Trust = trusting(t, sign.RoleManifest, 2, p.signers[0], second, third)
			p.signers = []sign.Signer{third, p.signers[0]}
		}},
		{name: "a stranger signed as well", change: func(t *testing.T, p *parcel) {
			p.signers = []sign.Signer{newSigner(t, "stranger"), p.signers[0], second}
		}},
		{name: "unknown recipient key id", only: []string{"T3"}, change: func(_ *testing.T, p *parcel) { p.recipient().KeyID = []byte("no such") }},
		{name: "no recipient key id", only: []string{"T3"}, change: func(_ *testing.T, p *parcel) { p.recipient().KeyID = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, chip Chip, template string) {
				if tt.only != nil && !slices.Contains(tt.only, template) {
					return
				}
				size := 1000
				if tt.size != nil {
					size = tt.size(chip)
				}
				p := newParcel(t, chip, template, testImage(t, size))
				if tt.change != nil {
					tt.change(t, p)
				}
				envelope := p.envelope(t)
				if tt.bend != nil {
					envelope = tt.bend(t, envelope)
				}
				v, trace, err := p.verify(t, envelope)
				if err != nil || v == nil {
					t.Fatalf("got %v, %s", err, text(trace))
				}
				if got, want := text(trace), takenTrace(template); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if !v.Complete() {
					t.Error("not complete")
				}
				if m := v.Manifest(); m.Digest() != sha256.Sum256(elements(t, envelope)[envelopeManifest]) || m.Manifest().Sequence != p.manifest.Sequence {
					t.Errorf("got manifest %s with sequence number %d", m.Digest(), m.Manifest().Sequence)
				}
			})
		})
	}
}

// rehint replaces the hint to the parcel's signer, which is not signed.
func rehint(t testing.TB, envelope, hint []byte) []byte {
	t.Helper()
	old := newSigner(t, "signer").Public().ID().Hint()
	if n := bytes.Count(envelope, old[:]); n != 1 || len(hint) != len(old) {
		t.Fatalf("the hint occurs %d times", n)
	}
	return bytes.Replace(envelope, old[:], hint, 1)
}

// Up to eight devices have keys of their own.
func TestRecipients(t *testing.T) {
	for _, chip := range Chips() {
		p := newParcel(t, chip, "T1", testImage(t, 1000))
		p.layout.SeverInstall = true
		var keys []*ecdh.PrivateKey
		for i := range encrypt.MaxRecipients {
			keys = append(keys, newDeviceKey(t, fmt.Sprint("device ", i)))
		}
		p.encrypt(t, keys...)
		envelope := p.envelope(t)
		for i, k := range keys {
			p.device.Identity = identity(t, k)
			if v, trace, err := p.verify(t, envelope); err != nil || !v.Complete() {
				t.Errorf("%s, device %d: %v, %s", chip.Name, i, err, text(trace))
			}
		}
		p.device.Identity = identity(t, newDeviceKey(t, "another"))
		v, trace, err := p.verify(t, envelope)
		wantRefusal(t, "T3", v, trace, err, StepUnwrap, verdict.KeyUnwrap)
	}
}

func TestWithoutDecryption(t *testing.T) {
	each(t, func(t *testing.T, chip Chip, template string) {
		p := newParcel(t, chip, template, testImage(t, 1000))
		p.options.WithoutDecryption = true
		envelope := p.envelope(t)
		for _, id := range []encrypt.Identity{p.device.Identity, nil, encrypt.NewKEK(nil, [16]byte{})} {
			p.device.Identity = id
			v, trace, err := p.verify(t, envelope)
			if err != nil {
				t.Fatal(err)
			}
			want := tracePlain
			if template == "T3" {
				want = traceNoKey
			}
			if got := text(trace); got != want || v.Complete() != (template != "T3") {
				t.Errorf("complete: %t\ngot  %s\nwant %s", v.Complete(), got, want)
			}
		}
		p.payload[500] ^= 1
		v, trace, err := p.verify(t, envelope)
		if template == "T3" {
			wantRefusal(t, template, v, trace, err, StepCiphertext, verdict.CiphertextDigestMismatch)
		} else {
			wantRefusal(t, template, v, trace, err, StepImage, verdict.ImageDigestMismatch)
		}
	})
}

// readerFunc is a payload that misbehaves.
type readerFunc func(p []byte, off int64) (int, error)

func (f readerFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// firstRead is the step that first reads the payload.
func firstRead(template string) Step {
	if template == "T3" {
		return StepCiphertext
	}
	return StepImage
}

// A transport that ends early has delivered a bad payload, whatever it had
// announced.
func TestTruncatedPayload(t *testing.T) {
	each(t, func(t *testing.T, chip Chip, template string) {
		p := newParcel(t, chip, template, testImage(t, 100_000))
		envelope := p.envelope(t)
		for _, n := range []int{0, 1, 32 << 10, 99_999} {
			payload := Payload{bytes.NewReader(p.payload[:n]), int64(len(p.payload))}
			v, trace, err := Verify(t.Context(), p.device, envelope, payload, Options{})
			wantRefusal(t, template, v, trace, err, firstRead(template), verdict.PayloadTruncated)
		}
	})
}

// The payload is read twice when it is encrypted; what the second reading gives
// is hashed as well.
func TestPayloadChanges(t *testing.T) {
	for _, chip := range Chips() {
		p := newParcel(t, chip, "T3", testImage(t, 1000))
		reads := 0
		payload := readerFunc(func(b []byte, off int64) (int, error) {
			n, err := bytes.NewReader(p.payload).ReadAt(b, off)
			if off == 0 {
				if reads++; reads == 2 {
					b[0] ^= 1
				}
			}
			return n, err
		})
		v, trace, err := Verify(t.Context(), p.device, p.envelope(t), Payload{payload, 1000}, Options{})
		wantRefusal(t, "T3", v, trace, err, StepImage, verdict.ImageDigestMismatch)
	}
}

// What keeps a device from coming to a verdict is no verdict: there is an error
// without a reason, and the trace ends before the step.
func TestNoVerdict(t *testing.T) {
	errBus := errors.New("bus error")
	for _, tt := range []struct {
		name   string
		only   []string
		change func(t *testing.T, p *parcel)
		reader func(cancel func(), payload []byte) readerFunc
		step   Step
		want   error
	}{
		{name: "reader", reader: func(func(), []byte) readerFunc { return func([]byte, int64) (int, error) { return 0, errBus } }, want: errBus},
		{name: "reader at the end", reader: func(_ func(), payload []byte) readerFunc {
			return func(p []byte, off int64) (int, error) {
				if off+int64(len(p)) >= int64(len(payload)) {
					return len(p) / 2, errBus
				}
				return copy(p, payload[off:]), nil
			}
		}, want: errBus},
		{name: "timeout", reader: func(func(), []byte) readerFunc {
			return func([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }
		}, want: iotest.ErrTimeout},
		{name: "interrupted", reader: func(cancel func(), payload []byte) readerFunc {
			return func(p []byte, off int64) (int, error) {
				if off > 0 {
					cancel()
				}
				return copy(p, payload[off:]), nil
			}
		}, want: context.Canceled},
		{name: "interrupted before", reader: func(cancel func(), payload []byte) readerFunc {
			cancel()
			return bytes.NewReader(payload).ReadAt
		}, want: context.Canceled},
		{name: "no trust set", change: func(_ *testing.T, p *parcel) { p.device.Trust = nil }, step: StepSignature, want: sign.ErrTrust},
		{name: "no key for manifests", change: func(t *testing.T, p *parcel) {
			p.device.Trust = trusting(t, sign.RoleRelease, 1, p.signers[0])
		}, step: StepSignature, want: sign.ErrTrust},
		{name: "slot that the chip does not have", only: []string{"T1", "T3"}, change: func(_ *testing.T, p *parcel) {
			slot := uint32(2)
			p.device.Slot = &slot
		}, step: StepSize},
		{name: "key of the device is gone", only: []string{"T3"}, change: func(_ *testing.T, p *parcel) {
			kek := encrypt.NewKEK(nil, [16]byte{})
			kek.Wipe()
			p.device.Identity = kek
			p.recipient().Algorithm, p.recipient().X, p.recipient().Y = cose.A128KW, [32]byte{}, [32]byte{}
		}, step: StepUnwrap, want: encrypt.ErrSpent},
		{name: "step that does not exist", change: func(_ *testing.T, p *parcel) {
			p.device.Chip.Steps = append(slices.Clone(p.device.Chip.Steps), "voltage")
		}, step: "voltage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, chip Chip, template string) {
				if tt.only != nil && !slices.Contains(tt.only, template) {
					return
				}
				p := newParcel(t, chip, template, testImage(t, 100_000))
				if tt.change != nil {
					tt.change(t, p)
				}
				envelope := p.envelope(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				payload := Payload{bytes.NewReader(p.payload), int64(len(p.payload))}
				step := tt.step
				if tt.reader != nil {
					payload.ReaderAt, step = tt.reader(cancel, p.payload), firstRead(template)
				}
				v, trace, err := Verify(ctx, p.device, envelope, payload, Options{})
				if v != nil || err == nil || verdict.Of(err) != "" || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("got %v, %v, want %v and no verdict", v, err, tt.want)
				}
				if err != nil && !strings.HasPrefix(err.Error(), string(step)+": ") {
					t.Errorf("got %q, want an error of step %s", err, step)
				}
				before, _, _ := strings.Cut(takenTrace(template)+", voltage ", string(step)+" ")
				if got := text(trace); got != strings.TrimSuffix(before, ", ") {
					t.Errorf("got  %s\nwant %s", got, before)
				}
			})
		})
	}
}

func TestTraceJSON(t *testing.T) {
	p := newParcel(t, Chips()[0], "T1", testImage(t, 1000))
	p.device.Vendor = "other.example"
	_, trace, _ := p.verify(t, p.envelope(t))
	got, err := json.Marshal(trace)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"step":"envelope","status":"passed"},{"step":"signature","status":"passed"},{"step":"manifest","status":"passed"},` +
		`{"step":"vendor","status":"failed","reason":"vendor-mismatch","detail":"manifest: made for vendor ` +
		manifest.VendorID("acme.example").String() + `, device has ` + manifest.VendorID("other.example").String() + ` (vendor-mismatch)"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestInstalled is the check at a reset: the plain image is in its bank, and
// neither a key nor the install sequence is needed any more.
func TestInstalled(t *testing.T) {
	each(t, func(t *testing.T, chip Chip, template string) {
		image := testImage(t, 1000)
		p := newParcel(t, chip, template, image)
		envelope := p.envelope(t)
		if template == "T3" {
			envelope = sever(t, envelope)
		}
		ciphertext := p.payload
		p.options.Installed, p.device.Identity, p.payload = true, nil, image
		v, trace, err := p.verify(t, envelope)
		if err != nil || !v.Complete() || text(trace) != tracePlain {
			t.Fatalf("%v\ngot  %s\nwant %s", err, text(trace), tracePlain)
		}
		refused := func(step Step, reason verdict.Reason) {
			t.Helper()
			v, trace, err := p.verify(t, envelope)
			wantRefusal(t, "T1", v, trace, err, step, reason) // as a plain one
		}
		if template == "T3" {
			p.payload = ciphertext
			refused(StepImage, verdict.ImageDigestMismatch)
		}
		p.payload = append(image[:999:999], image[999]^1)
		refused(StepImage, verdict.ImageDigestMismatch)
		p.payload = image[:999]
		refused(StepSize, verdict.PayloadElementSize)
		p.payload, p.device.MinSequence = image, 1043
		refused(StepSequence, verdict.SequenceRollback)
	})
}
