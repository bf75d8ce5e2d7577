package manifest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// FuzzParse: every refusal has a reason, and what is accepted encodes to the
// same bytes, the manifest from its facts and the envelope around it.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"suit/profile/*.hex", "suit/manifest-37/*.hex", "suit/negative/*.hex"} {
		names, err := testvectors.Cases(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			data, err := testvectors.Hex(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	names, err := testvectors.Cases("suit/libcsuit/*.suit")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := testvectors.Read(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, base := range []int{plain, severable, integrated, encrypted, decoded, both} {
		f.Add(baseEnvelope(f, base))
	}
	slot := uint32(1)
	m := encryptedManifest()
	m.Slot, m.Version, m.Component = &slot, Version{1, 2, -1, 3}, []byte("image")
	f.Add(build(f, m, Options{SeverInstall: true}, alpha(f), testSigner(f, sign.ESP384, "delta")))
	trust := testTrust(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			wantSomeReason(t, err)
			return
		}
		wantEnvelope(t, e, data)
		if _, err := e.Authenticate(trust); err != nil {
			wantSomeReason(t, err)
		}
		if _, err := e.Unverified(); err != nil {
			wantSomeReason(t, err)
			return
		}
		wantManifest(t, e)
	})
}

func wantSomeReason(t *testing.T, err error) {
	t.Helper()
	if verdict.Of(err) == "" {
		t.Errorf("%v has no reason", err)
	}
}

// wantEnvelope puts an envelope together again from what was read. Blocks of
// unknown algorithms are not kept whole, so envelopes with such are left out.
func wantEnvelope(t *testing.T, e *Envelope, data []byte) {
	t.Helper()
	digest, err := e.Digest.encode()
	if err != nil {
		t.Fatal(err)
	}
	auth := [][]byte{digest}
	for _, b := range e.Blocks {
		if !b.Known() {
			return
		}
		block, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		auth = append(auth, block)
	}
	envelope := map[any]any{envelopeAuth: marshal(t, auth), envelopeManifest: e.manifest.content}
	if e.install.present() {
		envelope[envelopeInstall] = e.install.content
	}
	if e.text.present() {
		envelope[envelopeText] = e.text.content
	}
	if e.payload.present() {
		envelope[e.payloadName] = e.payload.content
	}
	if again := marshal(t, cbor.Tag{Number: tagEnvelope, Content: envelope}); !bytes.Equal(again, data) {
		t.Errorf("%x encodes to %x", data, again)
	}
}

// wantManifest encodes the facts of an accepted manifest.
func wantManifest(t *testing.T, e *Envelope) {
	t.Helper()
	d := decoder{r: e.manifest.reader("manifest"), envelope: e}
	d.read()
	d.match()
	if err := d.r.Err(); err != nil {
		t.Fatal(err)
	}
	manifest, install, err := []byte(nil), []byte(nil), error(nil)
	if d.m.Install != nil {
		manifest, install, err = d.m.encode(e.install.present())
	} else { // severed: only its digest is known
		b := body{
			sequence: uint64(d.m.Sequence), components: d.m.components(), version: d.m.Version,
			validate: d.m.validate(), invoke: d.m.invoke(), installDigest: d.installDigest, textDigest: d.m.Text,
		}
		if b.shared, err = d.m.shared(); err != nil {
			t.Fatal(err)
		}
		manifest, err = b.encode()
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(manifest, e.manifest.content) || !bytes.Equal(install, e.install.content) {
		t.Errorf("%x encodes to %x and %x", e.manifest.content, manifest, install)
	}
}

// FuzzRecord: every refusal has a reason, and what is accepted encodes to the
// same payload.
func FuzzRecord(f *testing.F) {
	r := testRecord()
	f.Add(signRecord(f, r, alpha(f)))
	f.Add(signRecord(f, r, testSigner(f, sign.ESP384, "delta")))
	r.Allowed, r.Components[0].Requires = nil, nil
	f.Add(signRecord(f, r, alpha(f)))
	r.Components, r.InstallOrder = r.Components[:1], []int{0}
	f.Add(signRecord(f, r, alpha(f)))
	trust := recordTrust(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := VerifyRecord(data, trust); err != nil {
			wantSomeReason(t, err)
		}
		record, err := ParseRecord(data)
		if err != nil {
			wantSomeReason(t, err)
			return
		}
		message, err := parseRecordMessage(data)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := record.encode()
		if err != nil || !bytes.Equal(payload, message.Payload) {
			t.Errorf("%x encodes to %x, %v", message.Payload, payload, err)
		}
	})
}

// FuzzVersion: text and array each are the only form of the version that they
// are read as, and the form of one another.
func FuzzVersion(f *testing.F) {
	for _, s := range []string{"1", "1.4.2", "1.2-rc.3", "1.2.3-beta", "0-alpha.0", "2147483647.0.1", "1-rc.", "01", "1.2.3.4"} {
		v, err := ParseVersion(s)
		if err != nil {
			v = Version{1, -4}
		}
		f.Add(s, marshal(f, v))
	}
	f.Fuzz(func(t *testing.T, s string, data []byte) {
		if v, err := ParseVersion(s); err == nil {
			if v.String() != s {
				t.Errorf("%q prints as %q", s, v)
			}
			if w, err := decodeVersion(marshal(t, v)); err != nil || !slices.Equal(v, w) {
				t.Errorf("%q: array %d, %v", s, w, err)
			}
		}
		v, err := decodeVersion(data)
		if err != nil {
			wantSomeReason(t, err)
			return
		}
		if again, err := cose.Marshal(v); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x encodes to %x, %v", data, again, err)
		}
		if w, err := ParseVersion(v.String()); err != nil || !slices.Equal(v, w) {
			t.Errorf("%d prints as %q, which reads as %d, %v", []int32(v), v, []int32(w), err)
		}
	})
}
