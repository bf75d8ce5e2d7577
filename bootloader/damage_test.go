package bootloader

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// Every single bit of envelope and payload counts, but for the key hint: that
// is all of an envelope that is neither signed nor compared.
func TestEveryBit(t *testing.T) {
	chip := Chips()[1]
	for _, template := range []string{"T1", "T3"} {
		t.Run(template, func(t *testing.T) {
			p := newParcel(t, chip, template, testImage(t, 48))
			envelope := p.envelope(t)
			hint := p.signers[0].Public().ID().Hint()
			unsigned := bytes.Index(envelope, hint[:])
			if unsigned < 0 {
				t.Fatal("no hint")
			}
			reasons := map[verdict.Reason]int{}
			refused := func(what string, bit int, v *Verified, trace Trace, err error) {
				reason := verdict.Of(err)
				if v != nil || reason == "" || len(trace) == 0 || trace[len(trace)-1].Reason != reason {
					t.Errorf("%s, byte %d bit %d: %v, %v after %s", what, bit/8, bit%8, v, err, text(trace))
				}
				reasons[reason]++
			}
			for bit := range 8 * len(envelope) {
				v, trace, err := p.verify(t, flip(envelope, bit))
				if at := bit / 8; at >= unsigned && at < unsigned+len(hint) {
					if err != nil || v.Manifest().Digest() != sha256.Sum256(elements(t, envelope)[envelopeManifest]) {
						t.Errorf("hint, bit %d: %v", bit, err)
					}
					continue
				}
				refused("envelope", bit, v, trace, err)
			}
			if n := reasons[verdict.SignatureInvalid]; n < 500 || reasons[verdict.ManifestDigestMismatch] < 8*32 {
				t.Errorf("too few flips came as far as the signature: %v", reasons)
			}
			good := p.payload
			for bit := range 8 * len(good) {
				p.payload = flip(good, bit)
				v, trace, err := p.verify(t, envelope)
				refused("payload", bit, v, trace, err)
			}
			if n := reasons[verdict.CiphertextDigestMismatch] + reasons[verdict.ImageDigestMismatch]; n != 8*len(good) {
				t.Errorf("%d of %d payload flips were found by a digest: %v", n, 8*len(good), reasons)
			}
		})
	}
}

// Every shorter envelope and payload is refused as well.
func TestEveryTruncation(t *testing.T) {
	p := newParcel(t, Chips()[0], "T3", testImage(t, 48))
	envelope := p.envelope(t)
	e := elements(t, envelope)
	afterHead := 3 // two bytes of tag, one of the map
	afterAuth := afterHead + 1 + len(e[envelopeAuth])
	afterManifest := afterAuth + 1 + len(e[envelopeManifest])
	for n := range envelope {
		v, trace, err := p.verify(t, envelope[:n])
		reason := verdict.Truncated
		if n == afterHead || n == afterAuth || n == afterManifest {
			reason = verdict.WrongCount // between two elements
		}
		wantRefusal(t, "T3", v, trace, err, StepEnvelope, reason)
	}
	good := p.payload
	for n := range good {
		p.payload = good[:n]
		v, trace, err := p.verify(t, envelope)
		wantRefusal(t, "T3", v, trace, err, StepSize, verdict.PayloadElementSize)
	}
}

// FuzzVerify: no envelope and no payload makes the verifier panic, every
// refusal has a reason, and what is accepted is one of the manifests that the
// key has signed.
func FuzzVerify(f *testing.F) {
	chip := Chips()[0]
	signed := map[manifest.Digest]bool{}
	for _, template := range templates {
		p := newParcel(f, chip, template, testImage(f, 48))
		envelope := p.envelope(f)
		signed[sha256.Sum256(elements(f, envelope)[envelopeManifest])] = true
		f.Add(envelope, p.payload)
	}
	names, err := testvectors.Cases("suit/*/*.hex")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := testvectors.Hex(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte("payload"))
	}
	p := newParcel(f, chip, "T3", testImage(f, 48))
	slot := uint32(1)
	p.device.Slot = &slot
	f.Fuzz(func(t *testing.T, envelope, payload []byte) {
		p := *p
		p.payload = payload
		v, trace, err := p.verify(t, envelope)
		wantVerdict(t, v, trace, err)
		if v != nil && !signed[v.Manifest().Digest()] {
			t.Errorf("accepted %s, which nobody has signed", v.Manifest().Digest())
		}
	})
}

// FuzzVerifySigned goes behind the signature: it signs whatever stands in for
// the manifest. What is then accepted is what the device may take.
func FuzzVerifySigned(f *testing.F) {
	chip := Chips()[0]
	for _, template := range templates {
		p := newParcel(f, chip, template, testImage(f, 48))
		e := elements(f, p.envelope(f))
		f.Add(contentOf(f, e[envelopeManifest]), contentOf(f, e[envelopeInstall]), p.payload, false)
		p.layout.SeverInstall = false
		e = elements(f, p.envelope(f))
		f.Add(contentOf(f, e[envelopeManifest]), []byte(nil), p.payload, true)
	}
	p := newParcel(f, chip, "T3", testImage(f, 48))
	slot := uint32(1)
	p.device.Slot = &slot
	signer := p.signers[0]
	f.Fuzz(func(t *testing.T, body, install, payload []byte, noKey bool) {
		p := *p
		p.payload, p.options.WithoutDecryption = payload, noKey
		v, trace, err := p.verify(t, signBody(t, signer, body, install))
		wantVerdict(t, v, trace, err)
		if v == nil {
			return
		}
		m := v.Manifest().Manifest()
		bank, err := chip.Bank(p.device.Slot)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Payload() != content(payload):
			t.Errorf("accepted payload %+v, signed is %+v", content(payload), m.Payload())
		case m.Image.Size > bank.Size, m.Sequence < p.device.MinSequence, m.Slot != nil && *m.Slot != slot:
			t.Errorf("accepted %+v", m)
		case m.Vendor != p.manifest.Vendor, m.Class != p.manifest.Class:
			t.Errorf("accepted vendor %s, class %s", m.Vendor, m.Class)
		case v.Complete() == (m.Encrypted() && noKey):
			t.Errorf("complete is %t, encrypted %t", v.Complete(), m.Encrypted())
		}
	})
}

// wantVerdict checks what holds of every outcome.
func wantVerdict(t *testing.T, v *Verified, trace Trace, err error) {
	t.Helper()
	if (v == nil) == (err == nil) || err != nil && verdict.Of(err) == "" || len(trace) == 0 {
		t.Fatalf("got %v, %v after %s", v, err, text(trace))
	}
	if last := trace[len(trace)-1]; last.Reason != verdict.Of(err) || (last.Status == Failed) != (err != nil) {
		t.Errorf("got %v after %s", err, text(trace))
	}
}

// contentOf returns what stands in an encoded byte string, nil in none.
func contentOf(t testing.TB, element []byte) []byte {
	t.Helper()
	if element == nil {
		return nil
	}
	var b []byte
	if err := cbor.Unmarshal(element, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// signBody puts an envelope around a manifest and signs it.
func signBody(t testing.TB, signer sign.Signer, body, install []byte) []byte {
	t.Helper()
	marshal := func(v any) []byte {
		b, err := cose.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sum := sha256.Sum256(marshal(body))
	digest := marshal([]any{-16, sum[:]})
	message, err := cose.ToBeSigned(sign.ESP256, digest)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	block, err := cose.Sign1{Algorithm: sign.ESP256.COSE(), Signature: signature}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m := map[int][]byte{envelopeAuth: marshal([][]byte{digest, block}), envelopeManifest: body}
	if len(install) > 0 {
		m[envelopeInstall] = install
	}
	return assemble(t, m)
}
