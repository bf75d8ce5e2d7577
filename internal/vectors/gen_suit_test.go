package vectors

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// Envelopes that the mutations start from.
const (
	plain      = iota // T1, key hint
	severable         // T1, install and text severable and present
	integrated        // T1, payload in the envelope
	encrypted         // T3
	decoded           // T4, a difference
)

const imageSize = 96 // bytes of the usual image

// The keys of the SUIT families by the names that they are made from. The device
// trusts the signer, the second and the revoked one.
const (
	keySigner   = "vectors signer"
	keySecond   = "vectors second signer"
	keyThird    = "vectors third signer"
	keyRevoked  = "vectors revoked signer"
	keyStranger = "vectors stranger"
	keyDevice   = "vectors device"
	keyOther    = "vectors other device"
)

// parcel is what a device is sent, before it is signed, and a device that takes
// it just so: its rollback floor is the parcel's sequence number.
type parcel struct {
	t        *testing.T
	device   verdicts.SUIT
	manifest manifest.Manifest
	layout   manifest.Options
	signers  []sign.Signer
	payload  []byte // as received

	image, running            []byte // of a payload that is decoded: what it decodes to, and what the device runs
	payloadFile, envelopeFile string // what the published inputs begin with
}

func publicKeys(signers []sign.Signer) []sign.PublicKey {
	var keys []sign.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	return keys
}

func point(s sign.Signer) verdicts.Hex { return s.Public().Point()[1:] }

func content(b []byte) manifest.Content {
	return manifest.Content{Digest: sha256.Sum256(b), Size: uint32(len(b))}
}

func (p *parcel) trust(threshold uint32, names ...string) {
	p.device.Threshold, p.device.Keys = threshold, nil
	for _, n := range names {
		p.device.Keys = append(p.device.Keys, verdicts.PublicKey{Point: point(testSigner(p.t, n)), Revoked: n == keyRevoked})
	}
}

// identify puts the names of a device's identifiers.
func (p *parcel) identify(vendor, model, revision string) {
	d := &p.device
	d.Vendor, d.Model, d.Revision = vendor, model, revision
	v := manifest.VendorID(vendor)
	c := manifest.ClassID(v, model, revision)
	d.VendorID, d.ClassID = v[:], c[:]
}

func (p *parcel) slot(n uint32) {
	chip, err := bootloader.ChipByName(p.device.Chip)
	if err != nil {
		p.t.Fatal(err)
	}
	p.device.Slot = &n
	if int(n) < len(chip.Banks) {
		p.device.BankBase, p.device.BankSize = chip.Banks[n].Base, chip.Banks[n].Size
	}
}

func newParcel(t *testing.T, chip, template string, image []byte) *parcel {
	t.Helper()
	profile, err := bootloader.ChipByName(chip)
	if err != nil {
		t.Fatal(err)
	}
	signer := testSigner(t, keySigner)
	p := &parcel{t: t, layout: manifest.Options{KeyHints: true}, signers: []sign.Signer{signer}, payload: image}
	p.device = verdicts.SUIT{Chip: chip, MinSequence: 1042, BankBase: profile.Banks[0].Base, BankSize: profile.Banks[0].Size, DecoderRAM: profile.DecoderRAM}
	p.identify("acme.example", map[string]string{"nrf52840": "radio", "stm32l4": "motor"}[chip], "b2")
	p.trust(1, keySigner, keySecond, keyRevoked)
	p.manifest = manifest.Manifest{
		Sequence: 1042,
		Version:  manifest.Version{1, 4, 2},
		Vendor:   manifest.UUID(p.device.VendorID),
		Class:    manifest.UUID(p.device.ClassID),
		Image:    content(image),
		Install:  &manifest.Install{URI: "#ble"},
	}
	switch template {
	case "T2b":
		p.slot(uint32(len(profile.Banks) - 1))
		n := *p.device.Slot
		p.manifest.Slot = &n
	case "T3":
		p.encrypt(keyDevice)
	case "T4":
		p.payload = testBytes(t, "patch", 40)
		base := content(testBytes(t, "base", imageSize))
		p.manifest.Staged = true
		p.manifest.Install.Received = content(p.payload)
		p.manifest.Install.Decoding = &manifest.Decoding{Coding: manifest.CodingOD1, RAM: 8 << 10, Base: &base}
		p.envelopeFile = "t4.suit"
	}
	if got := p.manifest.Template(); got != template {
		t.Fatalf("template %s, want %s", got, template)
	}
	return p
}

// encrypt replaces the payload, and gives the device the first of the keys.
func (p *parcel) encrypt(names ...string) {
	p.t.Helper()
	var to []encrypt.Recipient
	for _, n := range names {
		to = append(to, recipientOf(p.t, testDeviceKey(p.t, n)))
	}
	header, result, ciphertext := seal(p.t, "sealer", to, p.payload)
	p.payload = ciphertext
	p.manifest.Staged = true
	p.manifest.Install.Received = manifest.Content{Digest: result.CipherSHA256, Size: uint32(result.Size)}
	p.manifest.Install.Encryption = encryption(header)
	p.device.DeviceKey = scalar(names[0])
}

func recipientOf(t testing.TB, key *ecdh.PrivateKey) encrypt.Recipient {
	t.Helper()
	r, err := encrypt.NewRecipient(key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func seal(t testing.TB, name string, to []encrypt.Recipient, plaintext []byte) (encrypt.Header, encrypt.Result, []byte) {
	t.Helper()
	sealer, err := encrypt.NewSealer(stream(name), to)
	if err != nil {
		t.Fatal(err)
	}
	defer sealer.Wipe()
	var ciphertext bytes.Buffer
	result, err := sealer.Seal(&ciphertext, bytes.NewReader(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealer.Header(), result, ciphertext.Bytes()
}

// encryption is the inverse of bootloader.Header.
func encryption(h encrypt.Header) *cose.Encrypt {
	e := &cose.Encrypt{IV: [16]byte(h.IV)}
	for _, r := range h.Recipients {
		e.Recipients = append(e.Recipients, cose.Recipient{
			Algorithm: int64(r.Management), KeyID: r.KeyID, X: r.EphemeralX, Y: r.EphemeralY, Wrapped: r.Wrapped,
		})
	}
	return e
}

// recipient returns the first recipient block, to be changed before signing.
func (p *parcel) recipient() *cose.Recipient { return &p.manifest.Install.Encryption.Recipients[0] }

// envelope signs the parcel.
func (p *parcel) envelope() []byte {
	p.t.Helper()
	draft, err := manifest.New(p.manifest, publicKeys(p.signers), p.layout)
	if err != nil {
		p.t.Fatal(err)
	}
	byID := map[sign.KeyID]sign.Signer{}
	for _, s := range p.signers {
		byID[s.Public().ID()] = s
	}
	signatures, err := sign.Answer(p.t.Context(), draft.Requests(), byID)
	if err != nil {
		p.t.Fatal(err)
	}
	envelope, err := draft.Finish(signatures)
	if err != nil {
		p.t.Fatal(err)
	}
	return envelope
}

// baseParcel is what the mutations of envelopes start from.
func baseParcel(t *testing.T, chip string, base int) *parcel {
	t.Helper()
	image := testBytes(t, "image", imageSize)
	template := "T1"
	switch base {
	case encrypted:
		template = "T3"
	case decoded:
		template = "T4"
	}
	p := newParcel(t, chip, template, image)
	switch base {
	case severable:
		p.layout.SeverInstall, p.layout.Text = true, dict(text("en"), dict(num(1), text("update"))).Encode()
	case integrated:
		p.layout.Payload = image
	}
	return p
}

// mutation turns a good envelope into a bad one, or into another good one.
type mutation struct {
	name    string
	base    int
	bend    func(*forgery)
	step    bootloader.Step // "" where the envelope is taken
	want    verdict.Reason
	another bool // another spelling of the rule of the row above
}

// parcelRow is a case about the device or the payload.
type parcelRow struct {
	name   string
	only   []string // templates; nil for all
	size   int      // of the image, imageSize when 0
	change func(p *parcel)
	bend   func(f *forgery) // after signing
	after  func(p *parcel)  // after signing
	step   bootloader.Step
	reason verdict.Reason
}

func generateSUIT(t *testing.T, chip string) *generator {
	var steps []string
	profile, err := bootloader.ChipByName(chip)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range profile.Steps {
		steps = append(steps, string(s))
	}
	g := newGenerator(t, "suit-"+chip, "otapack's SUIT profile on "+profile.Title, steps)
	prefix := "suit-" + chip + "-"

	add := func(id, description, base string, p *parcel, envelope []byte, want Answer) {
		payload := g.input("payload", "", p.payload)
		for _, name := range []string{prefix + "image.bin", prefix + "ciphertext.bin", p.payloadFile} {
			if b := g.files[name]; b != nil && len(p.payload) > 0 && len(payload.Edits) == 1 && payload.Edits[0].Times == 0 {
				if in := g.input("payload", name, p.payload); len(in.Edits) == 0 || len(in.Edits[0].Insert) < len(p.payload)/2 {
					payload = in
				}
			}
		}
		d := p.device
		r := row{
			id: id, description: description, device: verdicts.Device{SUIT: &d},
			inputs: []verdicts.Input{g.input("envelope", base, envelope), payload},
			data:   map[string][]byte{"envelope": envelope, "payload": p.payload},
			want:   want,
		}
		if p.running != nil {
			r.inputs = append(r.inputs, g.input("running", prefix+"running.bin", p.running))
			r.data["running"] = p.running
		}
		g.add(r)
	}

	g.base(prefix+"image.bin", testBytes(t, "image", imageSize))
	g.base(prefix+"ciphertext.bin", newParcel(t, chip, "T3", testBytes(t, "image", imageSize)).payload)
	names := []string{"t1.suit", "t1-severable.suit", "t1-integrated.suit", "t3.suit", "t4.suit"}
	for base, name := range names {
		g.base(prefix+name, baseParcel(t, chip, base).envelope())
	}
	for _, template := range []string{"T1", "T2b", "T3"} {
		p := newParcel(t, chip, template, testBytes(t, "image", imageSize))
		base := prefix + strings.ToLower(template) + ".suit"
		if g.files[base] == nil {
			g.base(base, p.envelope())
		}
		add(template+"/as-it-should-be", "envelope and payload as they should be", base, p, p.envelope(), accept())
	}
	for i, what := range []string{"text and install severable", "payload in the envelope"} {
		name := names[i+1]
		p := baseParcel(t, chip, i+1)
		add("encoding/"+slug(what), "taken: "+what, prefix+name, p, p.envelope(), accept())
	}
	for _, m := range suitMutations {
		p := baseParcel(t, chip, m.base)
		f := openEnvelope(t, p.envelope(), testSigner(t, keySigner))
		m.bend(f)
		want, description := accept(), "taken: "+m.name
		if m.step != "" {
			want, description = refuse(m.step, m.want), m.name
		}
		add("encoding/"+slug(m.name), description, prefix+names[m.base], p, f.Root.Encode(), want)
	}
	for _, r := range slices.Concat(suitRows(t, chip), sharedRows()) {
		for _, template := range []string{"T1", "T2b", "T3"} {
			if r.only != nil && !slices.Contains(r.only, template) {
				continue
			}
			size := r.size
			image := testBytes(t, "image", imageSize)
			if size > 0 {
				image = bytes.Repeat([]byte{0xa5}, size)
			}
			p := newParcel(t, chip, template, image)
			if r.change != nil {
				r.change(p)
			}
			envelope := p.envelope()
			if r.bend != nil {
				f := openEnvelope(t, envelope, testSigner(t, keySigner))
				r.bend(f)
				envelope = f.Root.Encode()
			}
			if r.after != nil {
				r.after(p)
			}
			want, description := accept(), "taken: "+r.name
			if r.step != "" {
				want, description = refuse(r.step, r.reason), r.name
			}
			add(template+"/"+slug(r.name), description, prefix+strings.ToLower(template)+".suit", p, envelope, want)
		}
	}
	g.base(prefix+"running.bin", program(t, profile.Banks[0].Base, false))
	payloads := map[string]coded{}
	for _, c := range coders(chip) {
		payloads[c.name] = g.code(c, prefix, profile.Banks[0].Base)
	}
	for _, r := range decodedRows(t, chip, payloads) {
		p := newParcel(t, chip, "T4", testBytes(t, "image", imageSize))
		r.change(p)
		envelope := p.envelope()
		if base := prefix + p.envelopeFile; g.files[base] == nil {
			g.base(base, envelope)
		}
		if r.after != nil {
			r.after(p)
		}
		want, description := accept(), "taken: "+r.name
		if r.step != "" {
			want, description = refuse(r.step, r.reason), r.name
		}
		add("T4/"+slug(r.name), description, prefix+p.envelopeFile, p, envelope, want)
	}
	// Every element of an envelope cut short, and single bits all over it.
	p := baseParcel(t, chip, encrypted)
	envelope := p.envelope()
	for _, n := range []int{1, 2, 4, 20, 60, 120, 130, 200, 300, 400, len(envelope) - 1} {
		reason := verdict.Truncated
		add(fmt.Sprintf("encoding/first-%d-bytes", n), fmt.Sprintf("only the first %d bytes of the envelope", n), prefix+"t3.suit", p, envelope[:n], refuse(bootloader.StepEnvelope, reason))
	}
	return g
}

func suitRows(t *testing.T, chip string) []parcelRow {
	profile, err := bootloader.ChipByName(chip)
	if err != nil {
		t.Fatal(err)
	}
	bank := profile.Banks[0].Size
	bare, ciphered := []string{"T1", "T2b"}, []string{"T3"}
	signer := func(name string) sign.Signer { return testSigner(t, name) }
	return []parcelRow{
		{name: "signed by a stranger", change: func(p *parcel) { p.signers = []sign.Signer{signer(keyStranger)} },
			step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "one signature of two", change: func(p *parcel) { p.trust(2, keySigner, keySecond, keyThird) },
			step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "the same signature twice for two", change: func(p *parcel) { p.trust(2, keySigner, keySecond); p.signers = append(p.signers, p.signers[0]) },
			step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "one and a stranger for two", change: func(p *parcel) { p.trust(2, keySigner, keySecond); p.signers = append(p.signers, signer(keyStranger)) },
			step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "two of three signatures", change: func(p *parcel) {
			p.trust(2, keySigner, keySecond, keyThird)
			p.signers = []sign.Signer{signer(keyThird), p.signers[0]}
		}},
		{name: "a stranger signed as well", change: func(p *parcel) { p.signers = []sign.Signer{signer(keyStranger), p.signers[0], signer(keySecond)} }},
		{name: "signed by the second key of the device", change: func(p *parcel) { p.signers = []sign.Signer{signer(keySecond)} }},
		{name: "signed by a revoked key", change: func(p *parcel) { p.signers = []sign.Signer{signer(keyRevoked)} },
			step: bootloader.StepSignature, reason: verdict.KeyRevoked},
		{name: "signed by a revoked key and a good one", change: func(p *parcel) { p.signers = append(p.signers, signer(keyRevoked)) }},
		{name: "a revoked key does not count towards two", change: func(p *parcel) {
			p.trust(2, keySigner, keySecond, keyRevoked)
			p.signers = append(p.signers, signer(keyRevoked))
		}, step: bootloader.StepSignature, reason: verdict.KeyRevoked},
		{name: "one bit of r", bend: func(f *forgery) { f.Block(0).Kids[3].Str[31] ^= 1 }, step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "one bit of s", bend: func(f *forgery) { f.Block(0).Kids[3].Str[63] ^= 1 }, step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "r and s swapped", bend: func(f *forgery) {
			s := f.Block(0).Kids[3].Str
			f.Block(0).Kids[3].Str = slices.Concat(s[32:], s[:32])
		}, step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "signature by a key that is the device's, over another manifest", change: func(p *parcel) { p.manifest.Version = manifest.Version{1, 4, 3} },
			bend: func(f *forgery) { f.SignOver([]byte("another")) }, step: bootloader.StepSignature, reason: verdict.SignatureInvalid},
		{name: "sequence number raised after signing", bend: func(f *forgery) { f.At(envelopeManifest, keySequence).Arg++ },
			step: bootloader.StepSignature, reason: verdict.ManifestDigestMismatch},
		{name: "class changed after signing", bend: func(f *forgery) {
			at := 1
			if f.At(toShared...).In().Kids[0].Arg == setComponentIndex {
				at = 3
			}
			f.At(toShared...).At(at, 2).Str[0] ^= 1
		}, step: bootloader.StepSignature, reason: verdict.ManifestDigestMismatch},
		{name: "no key hint", change: func(p *parcel) { p.layout.KeyHints = false }},

		{name: "other vendor", change: func(p *parcel) { p.identify("acme.test", p.device.Model, "b2") }, step: bootloader.StepVendor, reason: verdict.VendorMismatch},
		{name: "vendor before class", change: func(p *parcel) { p.manifest.Vendor, p.manifest.Class = manifest.UUID{}, manifest.UUID{} },
			step: bootloader.StepVendor, reason: verdict.VendorMismatch},
		{name: "last bit of the vendor", change: func(p *parcel) { p.manifest.Vendor[15] ^= 1 }, step: bootloader.StepVendor, reason: verdict.VendorMismatch},
		{name: "other hardware revision", change: func(p *parcel) { p.identify("acme.example", p.device.Model, "b3") }, step: bootloader.StepClass, reason: verdict.ClassMismatch},
		{name: "other model", change: func(p *parcel) { p.identify("acme.example", "razor", "b2") }, step: bootloader.StepClass, reason: verdict.ClassMismatch},
		{name: "model and revision shifted", change: func(p *parcel) { p.identify("acme.example", p.device.Model+"/b2", "") },
			step: bootloader.StepClass, reason: verdict.ClassMismatch},
		{name: "class of the other chip", change: func(p *parcel) {
			other := map[string]string{"radio": "motor", "motor": "radio"}[p.device.Model]
			p.manifest.Class = manifest.ClassID(p.manifest.Vendor, other, "b2")
		}, step: bootloader.StepClass, reason: verdict.ClassMismatch},
		{name: "vendor where the class stands", change: func(p *parcel) { p.manifest.Class = p.manifest.Vendor }, step: bootloader.StepClass, reason: verdict.ClassMismatch},
		{name: "last bit of the class", change: func(p *parcel) { p.manifest.Class[15] ^= 1 }, step: bootloader.StepClass, reason: verdict.ClassMismatch},
		{name: "class before sequence number", change: func(p *parcel) { p.manifest.Class[0] ^= 1; p.manifest.Sequence = 0 },
			step: bootloader.StepClass, reason: verdict.ClassMismatch},

		{name: "other slot", only: []string{"T2b"}, change: func(p *parcel) { p.slot(*p.device.Slot ^ 1) }, step: bootloader.StepSlot, reason: verdict.SlotMismatch},
		{name: "device without slots", only: []string{"T2b"}, change: func(p *parcel) { p.device.Slot = nil }, step: bootloader.StepSlot, reason: verdict.SlotMismatch},
		{name: "slot that the chip does not have", only: []string{"T2b"}, change: func(p *parcel) { *p.manifest.Slot = 7 }, step: bootloader.StepSlot, reason: verdict.SlotMismatch},
		{name: "slot before sequence number", only: []string{"T2b"}, change: func(p *parcel) { *p.manifest.Slot = 7; p.manifest.Sequence = 0 },
			step: bootloader.StepSlot, reason: verdict.SlotMismatch},
		{name: "image without a slot for a device with slots", only: []string{"T1", "T3"}, change: func(p *parcel) { p.slot(uint32(len(profile.Banks) - 1)) }},

		{name: "lower sequence number", change: func(p *parcel) { p.manifest.Sequence-- }, step: bootloader.StepSequence, reason: verdict.SequenceRollback},
		{name: "sequence number 0", change: func(p *parcel) { p.manifest.Sequence = 0 }, step: bootloader.StepSequence, reason: verdict.SequenceRollback},
		{name: "sequence number whose low byte is higher", change: func(p *parcel) { p.manifest.Sequence, p.device.MinSequence = 0x0ff, 0x100 },
			step: bootloader.StepSequence, reason: verdict.SequenceRollback},
		{name: "below the last sequence number", change: func(p *parcel) { p.manifest.Sequence, p.device.MinSequence = math.MaxUint32-1, math.MaxUint32 },
			step: bootloader.StepSequence, reason: verdict.SequenceRollback},
		{name: "sequence number with the sign bit", change: func(p *parcel) { p.manifest.Sequence, p.device.MinSequence = 1<<31-1, 1<<31 },
			step: bootloader.StepSequence, reason: verdict.SequenceRollback},
		{name: "sequence number before size", change: func(p *parcel) { p.manifest.Sequence-- }, after: func(p *parcel) { p.payload = nil },
			step: bootloader.StepSequence, reason: verdict.SequenceRollback},
		{name: "equal sequence number of a newer version", change: func(p *parcel) { p.manifest.Version = manifest.Version{2} }},
		{name: "higher sequence number", change: func(p *parcel) { p.manifest.Sequence++ }},
		{name: "higher sequence number of an older version", change: func(p *parcel) { p.manifest.Sequence++; p.manifest.Version = manifest.Version{0, 1} }},
		{name: "new device", change: func(p *parcel) { p.device.MinSequence = 0 }},
		{name: "last sequence number", change: func(p *parcel) { p.manifest.Sequence, p.device.MinSequence = math.MaxUint32, math.MaxUint32 }},
		{name: "sequence number above the sign bit", change: func(p *parcel) { p.manifest.Sequence = 1 << 31 }},

		{name: "image larger than the bank", change: func(p *parcel) {
			p.manifest.Image.Size = bank + 1
			p.manifest.Install.Received.Size = p.manifest.Image.Size
		}, step: bootloader.StepSize, reason: verdict.ImageExceedsBank},
		{name: "image of 4 GiB", change: func(p *parcel) {
			p.manifest.Image.Size, p.manifest.Install.Received.Size = math.MaxUint32, math.MaxUint32
		}, step: bootloader.StepSize, reason: verdict.ImageExceedsBank},
		{name: "install severed", change: func(p *parcel) { p.layout.SeverInstall = true }, bend: func(f *forgery) { f.Root.Drop(envelopeInstall) },
			step: bootloader.StepSize, reason: verdict.InstallSevered},
		{name: "short payload", after: func(p *parcel) { p.payload = p.payload[1:] }, step: bootloader.StepSize, reason: verdict.PayloadElementSize},
		{name: "long payload", after: func(p *parcel) { p.payload = append(slices.Clone(p.payload), 0) }, step: bootloader.StepSize, reason: verdict.PayloadElementSize},
		{name: "no payload", after: func(p *parcel) { p.payload = nil }, step: bootloader.StepSize, reason: verdict.PayloadElementSize},
		{name: "size before digest", after: func(p *parcel) { p.payload = bytes.Repeat([]byte{1}, imageSize+1) }, step: bootloader.StepSize, reason: verdict.PayloadElementSize},
		{name: "one byte", size: 1},
		{name: "full bank", size: int(bank), only: []string{"T1"}},
		{name: "one byte more than the bank", size: int(bank) + 1, only: []string{"T1"}, step: bootloader.StepSize, reason: verdict.ImageExceedsBank},
		{name: "install severable", change: func(p *parcel) { p.layout.SeverInstall = true }},
		{name: "no version", change: func(p *parcel) { p.manifest.Version = nil }},

		{name: "first bit of the ciphertext", only: ciphered, after: func(p *parcel) { flipBit(p, 0, 0x80) },
			step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "last bit of the ciphertext", only: ciphered, after: func(p *parcel) { flipBit(p, len(p.payload)-1, 1) },
			step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "the image instead of the ciphertext", only: ciphered, after: func(p *parcel) { p.payload = testBytes(t, "image", imageSize) },
			step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "plain image right, ciphertext digest wrong", only: ciphered, change: func(p *parcel) { p.manifest.Install.Received.Digest[31] ^= 1 },
			step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "digests swapped", only: ciphered, change: func(p *parcel) {
			p.manifest.Image, p.manifest.Install.Received = p.manifest.Install.Received, p.manifest.Image
		}, step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "ciphertext before unwrap", only: ciphered, change: func(p *parcel) { p.device.DeviceKey = nil }, after: func(p *parcel) { flipBit(p, 0, 1) },
			step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},

		{name: "no device key", only: ciphered, change: func(p *parcel) { p.device.DeviceKey = nil },
			step: bootloader.StepUnwrap, reason: verdict.RecipientKeyMissing},
		{name: "other device's key", only: ciphered, change: func(p *parcel) { p.device.DeviceKey = scalar(keyOther) },
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "other kind of key", only: ciphered, change: func(p *parcel) { p.device.DeviceKey, p.device.KEK = nil, bytes.Repeat([]byte{1}, 16) },
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "wrapped key", only: ciphered, change: func(p *parcel) { p.recipient().Wrapped[23] ^= 1 },
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "integrity value of the wrapped key", only: ciphered, change: func(p *parcel) { p.recipient().Wrapped[0] ^= 0x80 },
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "key wrap without agreement", only: ciphered, change: func(p *parcel) {
			*p.recipient() = cose.Recipient{Algorithm: cose.A128KW, Wrapped: p.recipient().Wrapped}
		}, step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "other ephemeral point", only: ciphered, change: func(p *parcel) {
			at := testDeviceKey(t, "vectors ephemeral").PublicKey().Bytes()
			p.recipient().X, p.recipient().Y = [32]byte(at[1:33]), [32]byte(at[33:])
		}, step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "ephemeral point negated", only: ciphered, change: func(p *parcel) {
			y := new(big.Int).SetBytes(p.recipient().Y[:])
			y.Sub(sign.ESP256.Curve().Params().P, y).FillBytes(p.recipient().Y[:])
		}}, // ECDH uses the x coordinate of the shared point only: (x, −y) agrees on the same key
		{name: "ephemeral point off the curve", only: ciphered, change: func(p *parcel) { p.recipient().Y[31] ^= 1 },
			step: bootloader.StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "ephemeral point zero", only: ciphered, change: func(p *parcel) { p.recipient().X, p.recipient().Y = [32]byte{}, [32]byte{} },
			step: bootloader.StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "ephemeral coordinate above the field", only: ciphered, change: func(p *parcel) {
			copy(p.recipient().X[:], bytes.Repeat([]byte{0xff}, 32))
		}, step: bootloader.StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "second recipient off the curve", only: ciphered, change: func(p *parcel) {
			bad := *p.recipient()
			bad.Y[0] ^= 1
			p.manifest.Install.Encryption.Recipients = append(p.manifest.Install.Encryption.Recipients, bad)
		}, step: bootloader.StepUnwrap, reason: verdict.EphemeralPoint},
		{name: "second of two recipients", only: []string{"T1"}, change: func(p *parcel) {
			p.layout.SeverInstall = true
			p.encrypt(keyOther, keyDevice)
			p.device.DeviceKey = scalar(keyDevice)
		}},
		{name: "neither of two recipients", only: []string{"T1"}, change: func(p *parcel) {
			p.layout.SeverInstall = true
			p.encrypt(keyOther, keyDevice)
			p.device.DeviceKey = scalar(keyStranger)
		}, step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "unknown recipient key id", only: ciphered, change: func(p *parcel) { p.recipient().KeyID = []byte("no such") }},
		{name: "no recipient key id", only: ciphered, change: func(p *parcel) { p.recipient().KeyID = nil }},
		{name: "device key that nothing needs", only: bare, change: func(p *parcel) { p.device.DeviceKey = scalar(keyDevice) }},

		{name: "first bit of the image", only: bare, after: func(p *parcel) { flipBit(p, 0, 0x80) },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "last bit of the image", only: bare, after: func(p *parcel) { flipBit(p, len(p.payload)-1, 1) },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "image erased", only: bare, after: func(p *parcel) { p.payload = bytes.Repeat([]byte{0xff}, len(p.payload)) },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "image digest of nothing", only: bare, change: func(p *parcel) { p.manifest.Image.Digest = sha256.Sum256(nil) },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "first half of the image digest right", only: bare, change: func(p *parcel) { p.manifest.Image.Digest[16] ^= 1 },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, other content key", only: ciphered, change: func(p *parcel) {
			h, _, _ := seal(t, "other sealer", []encrypt.Recipient{recipientOf(t, testDeviceKey(t, keyDevice))}, []byte("another"))
			p.manifest.Install.Encryption.Recipients = encryption(h).Recipients
		}, step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, other IV", only: ciphered, change: func(p *parcel) { p.manifest.Install.Encryption.IV[11] ^= 1 },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, counter of the IV not zero", only: ciphered, change: func(p *parcel) { p.manifest.Install.Encryption.IV[15] ^= 1 },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "ciphertext right, image digest wrong", only: ciphered, change: func(p *parcel) { p.manifest.Image.Digest[0] ^= 1 },
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: "IV at the end of the counter", only: ciphered, change: func(p *parcel) {
			copy(p.manifest.Install.Encryption.IV[12:], "\xff\xff\xff\xff")
		}, step: bootloader.StepImage, reason: verdict.TooLarge},
	}
}

func flipBit(p *parcel, at int, mask byte) {
	p.payload = slices.Clone(p.payload)
	p.payload[at] ^= mask
}
