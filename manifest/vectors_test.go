package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// assemble puts an envelope together from the content of its manifest, with one
// signature block.
func assemble(t testing.TB, manifest, kid []byte, signer sign.Signer) []byte {
	t.Helper()
	digest := Digest(sha256.Sum256(marshal(t, manifest)))
	message, err := toBeSigned(signer.Public().Algorithm(), digest)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signer.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	block, err := cose.Sign1{Algorithm: s.Algorithm().COSE(), KeyID: kid, Signature: s}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := digest.encode()
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, cbor.Tag{Number: tagEnvelope, Content: map[int][]byte{
		envelopeAuth: marshal(t, [][]byte{encoded, block}), envelopeManifest: manifest,
	}})
}

func wantBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func mustUnhex(digits string) []byte {
	b, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	return b
}

func sha256Digest(t testing.TB, digits string) []byte {
	t.Helper()
	d, err := Digest(mustUnhex(digits)).encode()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sequenceOf(t testing.TB, commands ...command) []byte {
	t.Helper()
	b, err := encodeSequence(commands)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Envelopes that are outside the profile, or of which one part is, reproduced
// byte for byte through the encoder below the templates. libcsuit and the
// program that made the profile's instances are independent of it.
func TestReproduced(t *testing.T) {
	const (
		draftDigest  = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210"
		draftDigest2 = "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff"
		acmeDigest   = "2a14e06dcca892292ba731513fe13b1a4b460d731ea760f8163db639bdc2dd2f"
		acmeDigest2  = "d8439dcb97d337e765dc102b4b445849ee6919c7dda292d1719e86ef0bf8dfc4"
		tryEach      = 15
	)
	type params = map[int64]any
	var (
		component = [][]byte{{0}}
		choose    = func(i int) command { return command{code: setComponentIndex, arg: i} }
		override  = func(p params) command { return command{code: overrideParameters, arg: p} }
		either    = func(a, b []byte) command { return command{code: tryEach, arg: [][]byte{a, b}} }
		vendor    = command{code: conditionVendor, arg: reportAll}
		class     = command{code: conditionClass, arg: reportAll}
		slot      = command{code: conditionSlot, arg: reportSlot}
		match     = command{code: conditionImageMatch, arg: reportAll}
		invoke    = command{code: directiveInvoke, arg: reportFailure}
		fetch     = command{code: directiveFetch, arg: reportFailure}

		arm      = VendorID("arm.com")
		armClass = mustUnhex("1492af1425695e48bf429b2d51f2ab45")
		acme     = VendorID("acme.example")

		draftShared = []command{
			override(params{1: arm[:], 2: armClass, 3: sha256Digest(t, draftDigest), 14: 34768}), vendor, class,
		}
		acmeInstall = []command{override(params{21: "#ble"}), fetch, match}
	)
	for _, tt := range []struct {
		name string
		want []byte
		body
	}{
		{"libcsuit exp0", rawVector(t, "libcsuit/suit_manifest_exp0.suit"), body{
			components: component, shared: draftShared, validate: []command{match}, invoke: []command{invoke},
		}},
		{"libcsuit exp1", rawVector(t, "libcsuit/suit_manifest_exp1.suit"), body{
			sequence: 1, components: component, shared: draftShared, validate: []command{match},
			install: []command{override(params{21: "http://example.com/file.bin"}), fetch, match},
		}},
		{"libcsuit exp5", rawVector(t, "libcsuit/suit_manifest_exp5.suit"), body{
			sequence: 5, components: [][]byte{{0}, {1}},
			shared: append(append([]command{choose(0)}, draftShared...),
				choose(1), override(params{3: sha256Digest(t, draftDigest2), 14: 76834})),
			validate: []command{choose(0), match, choose(1), match},
			invoke:   []command{choose(0), invoke},
			install: []command{
				choose(0), override(params{21: "http://example.com/file1.bin"}), fetch, match,
				choose(1), override(params{21: "http://example.com/file2.bin"}), fetch, match,
			},
		}},
		{"two hardware revisions", hexVector(t, "profile/T1-nrf-two-hw-revs.hex"), body{
			sequence: 1042, version: Version{1, 4, 2}, components: component,
			shared: []command{
				override(params{1: acme[:], 3: sha256Digest(t, acmeDigest), 14: 245760}), vendor,
				either(
					sequenceOf(t, override(params{2: mustUnhex("c912d0b1ae885a6b8b38bed70dbcbf20")}), class),
					sequenceOf(t, override(params{2: mustUnhex("84922653ac695e9b8a36053661cb19ee")}), class),
				),
			},
			validate: []command{match}, invoke: []command{invoke}, install: acmeInstall,
		}},
		{"two slots", hexVector(t, "profile/T2-nrf-ab-xip.hex"), body{
			sequence: 1042, version: Version{1, 4, 2}, components: component,
			shared: []command{
				override(params{1: acme[:], 2: mustUnhex("c912d0b1ae885a6b8b38bed70dbcbf20")}), vendor, class,
				either(
					sequenceOf(t, override(params{5: 0}), slot, override(params{3: sha256Digest(t, acmeDigest), 14: 245760})),
					sequenceOf(t, override(params{5: 1}), slot, override(params{3: sha256Digest(t, acmeDigest2), 14: 245760})),
				),
			},
			validate: []command{match}, invoke: []command{invoke},
			install: []command{
				either(
					sequenceOf(t, override(params{5: 0}), slot, override(params{21: "#ble.a"})),
					sequenceOf(t, override(params{5: 1}), slot, override(params{21: "#ble.b"})),
				),
				fetch, match,
			},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content, err := tt.body.encode()
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, assemble(t, content, nil, vectorSigner(t)), tt.want)
		})
	}
}

// The instances of the profile are accepted, and what they say builds the same
// envelope again, signature included.
func TestProfile(t *testing.T) {
	signer := vectorSigner(t)
	trust := trusting(t, sign.RoleManifest, 1, signer)
	radio := mustUnhex("c912d0b1ae885a6b8b38bed70dbcbf20")
	stm32 := mustUnhex("02137fe5f40f5fef9d3a1088dbe07f29")
	slot1 := uint32(1)
	for _, tt := range []struct {
		name      string
		class     []byte
		size      uint32
		slot      *uint32
		uri       string // empty: severed
		encrypted bool
		decoded   bool
		text      bool
		kid       bool
	}{
		{name: "T1-nrf-plain", class: radio, size: 245760, uri: "#ble"},
		{name: "T1-stm32-plain", class: stm32, size: 98304, uri: "#mcu"},
		{name: "T1-nrf-plain-kid8", class: radio, size: 245760, uri: "#ble", kid: true},
		{name: "T1-nrf-severable-full", class: radio, size: 245760, uri: "#ble", text: true},
		{name: "T1-nrf-severable-severed", class: radio, size: 245760, text: true},
		{name: "T2b-nrf-slot1-only", class: radio, size: 245760, slot: &slot1, uri: "#ble"},
		{name: "T3-nrf-enc-a128kw-a128ctr", class: radio, size: 1024, uri: "#ble", encrypted: true},
		{name: "T3-nrf-enc-ecdh-a128ctr", class: radio, size: 1024, uri: "#ble", encrypted: true},
		{name: "T3-nrf-enc-ecdh-severable-full", class: radio, size: 1024, uri: "#ble", encrypted: true},
		{name: "T3-nrf-enc-ecdh-severable-severed", class: radio, size: 1024, encrypted: true},
		{name: "T3-nrf-enc-ecdh-with-payload", class: radio, size: 1024, uri: "#ble", encrypted: true},
		{name: "T4-nrf-difference", class: radio, size: 245760, uri: "#ble", decoded: true},
		{name: "T4-nrf-difference-slot1", class: radio, size: 245760, slot: &slot1, uri: "#ble", decoded: true},
		{name: "T4-nrf-compressed-enc-severable", class: radio, size: 245760, uri: "#ble", encrypted: true, decoded: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := hexVector(t, "profile/"+tt.name+".hex")
			v, err := Verify(data, trust, Device{Vendor: VendorID("acme.example"), Class: UUID(tt.class), MinSequence: 1042, Slot: tt.slot})
			if err != nil {
				t.Fatal(err)
			}
			m := v.Manifest()
			if m.Sequence != 1042 || m.Version.String() != "1.4.2" || m.Image.Size != tt.size || !reflect.DeepEqual(m.Slot, tt.slot) ||
				m.Staged != (tt.encrypted || tt.decoded) || (m.Text != nil) != tt.text || len(v.Signers()) != 1 || !v.Signers()[0].Equal(signer.Public()) {
				t.Errorf("manifest %+v, signers %v", m, v.Signers())
			}
			if in, err := v.Install(); tt.uri == "" {
				wantReason(t, err, verdict.InstallSevered)
				wantSevered(t, data, m)
				return
			} else if err != nil || in.URI != tt.uri || (in.Encryption != nil) != tt.encrypted || (in.Decoding != nil) != tt.decoded {
				t.Errorf("install %+v, %v", in, err)
			}

			e, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if tt.kid { // not the key's own hint, so not what Finish would write
				content, _, err := m.encode(false)
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, assemble(t, content, e.Blocks[0].KeyID, signer), data)
				return
			}
			o := Options{SeverInstall: e.install.present(), Text: e.text.content, Payload: e.payload.content}
			m.Text = nil // New takes it from the options
			d, err := New(m, v.signers, o)
			if err != nil {
				t.Fatal(err)
			}
			if d.Digest() != v.Digest() {
				t.Errorf("digest %s, want %s", d.Digest(), v.Digest())
			}
			wantBytes(t, finish(t, d, signer), data)
		})
	}
}

// wantSevered checks that a severed vector is its full form without the
// severable elements, and says the same but for them.
func wantSevered(t *testing.T, data []byte, m Manifest) {
	t.Helper()
	for _, full := range []string{"T1-nrf-severable-full", "T3-nrf-enc-ecdh-severable-full", "T3-nrf-enc-ecdh-with-payload"} {
		whole := hexVector(t, "profile/"+full+".hex")
		e, err := Parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		f := openEnvelope(t, whole, nil)
		for _, key := range []any{envelopeInstall, envelopeText, "#ble"} {
			if f.Root.In().Index(key) >= 0 {
				f.Root.Drop(key)
			}
		}
		if !bytes.Equal(f.Root.Encode(), data) {
			continue
		}
		want, err := e.Unverified()
		if err != nil {
			t.Fatal(err)
		}
		if want.Install = nil; !reflect.DeepEqual(m, want) {
			t.Errorf("severed: %+v, want %+v", m, want)
		}
		return
	}
	t.Error("no full form gives these bytes when it is severed")
}

// Genuine signatures over something that the profile does not have.
func TestOutsideProfile(t *testing.T) {
	trust := trusting(t, sign.RoleManifest, 1, vectorSigner(t))
	for name, want := range map[string]verdict.Reason{
		"profile/C1-cose-sign1-small-map.hex":        verdict.WrongTag,
		"profile/T1-nrf-two-hw-revs.hex":             verdict.UnknownCommand, // try-each
		"profile/T2-nrf-ab-xip.hex":                  verdict.UnknownCommand,
		"profile/T4-two-mcus-one-envelope.hex":       verdict.MissingParameter,   // read as T3, the second component has no ciphertext
		"profile/T5-nrf-plain-peer-version.hex":      verdict.UnknownParameter,   // version
		"libcsuit/suit_manifest_exp0.suit":           verdict.MissingKey,         // install
		"libcsuit/suit_manifest_exp1.suit":           verdict.MissingKey,         // invoke
		"libcsuit/suit_manifest_exp2A.suit":          verdict.UnknownManifestKey, // reference URI
		"libcsuit/suit_manifest_exp2B.suit":          verdict.UnknownManifestKey,
		"libcsuit/suit_manifest_exp3.suit":           verdict.UnknownCommand,   // try-each
		"libcsuit/suit_manifest_exp4.suit":           verdict.WrongCount,       // three components
		"libcsuit/suit_manifest_exp5.suit":           verdict.MissingParameter, // two images, no ciphertext
		"negative/example0-esp256-bad-signature.hex": verdict.SignatureInvalid,
	} {
		t.Run(name, func(t *testing.T) {
			read := testvectors.Hex
			if path.Ext(name) == ".suit" {
				read = testvectors.Read
			}
			data, err := read("suit/" + name)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Authenticate(data, trust)
			if v != nil {
				t.Error("a refused envelope is returned")
			}
			wantReason(t, err, want)
			if want == verdict.WrongTag {
				return
			}
			// Up to the manifest they are all in order, but for the bad signature.
			e, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Authenticate(trust); want == verdict.SignatureInvalid {
				wantReason(t, err, want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// The examples of the draft itself: the digests are right, the signatures are
// of the deprecated algorithm, or absent.
func TestDraftExamples(t *testing.T) {
	names, err := testvectors.Cases("suit/manifest-37/*.hex")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 13 {
		t.Errorf("%d examples, want 13", len(names))
	}
	trust := trusting(t, sign.RoleManifest, 1, vectorSigner(t))
	for _, name := range names {
		data, err := testvectors.Hex(name)
		if err != nil {
			t.Fatal(err)
		}
		root, _ := parseItem(data)
		digest := sha256.Sum256(root.At(envelopeManifest).Encode())
		if got := root.At(envelopeAuth, 0, 1).Str; !bytes.Equal(got, digest[:]) {
			t.Errorf("%s: digest %x, want %x", name, got, digest)
		}
		want := verdict.ES256Deprecated
		if len(root.At(envelopeAuth).In().Kids) == 1 {
			want = verdict.Unsigned
		}
		_, err = Authenticate(data, trust)
		if got := verdict.Of(err); got != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}
