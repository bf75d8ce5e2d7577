package release

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func TestRelease(t *testing.T) {
	w := newWorkshop(t)
	before := w.snapshot(t)
	plan := w.load(t, "1.4.2")
	if plan.Sequence() != 1 || plan.Version().String() != "1.4.2" || plan.OutDir() != w.path("dist/1.4.2") {
		t.Errorf("sequence number %d, version %s, into %s", plan.Sequence(), plan.Version(), plan.OutDir())
	}
	if r, err := plan.Existing(); r != nil || err != nil {
		t.Errorf("existing: %v, %v", r, err)
	}
	verified := w.verified(t, plan)
	w.wantUnchanged(t, before) // until Write
	if err := verified.Write(); err != nil {
		t.Fatal(err)
	}

	var names []string
	after := w.snapshot(t)
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, filepath.ToSlash(name))
		} else if after[name] != before[name] {
			t.Errorf("%s has changed", name)
		}
	}
	slices.Sort(names)
	if want := []string{"dist", "dist/1.4.2", "dist/1.4.2/brush-1.4.2.ota", "dist/1.4.2/release.json", "release.json"}; !slices.Equal(names, want) {
		t.Errorf("made %v, want %v", names, want)
	}
	if !bytes.Equal(w.read(t, "release.json"), w.read(t, "dist/1.4.2/release.json")) {
		t.Error("the last release is another one")
	}

	data := w.read(t, "dist/1.4.2/brush-1.4.2.ota")
	contents := openBundle(t, data)
	if len(contents.Components) != 2 || contents.Components[0].Name != "motor" || contents.Components[1].Name != "radio" {
		t.Error("the bundle is not in install order")
	}
	for i, image := range [][]byte{pseudo(t, "motor", 1001), pseudo(t, "radio", 3000)} {
		payload := payloadOf(t, contents.Components[i])
		if len(payload) != len(image) || bytes.Contains(data, image[:16]) {
			t.Errorf("%s: payload of %d bytes for %d, or in clear", contents.Components[i].Name, len(payload), len(image))
		}
	}
	vb, report, err := verifyBundle(t, w.open(t), data, VerifyOptions{MinSequence: 1, Identities: devices(t)})
	if err != nil {
		t.Fatal(err)
	}
	if r := vb.Record().Record(); r.ID != "1.4.2+1" || r.Product != "brush" || r.Sequence != 1 || !slices.Equal(r.InstallOrder, []int{1, 0}) || len(r.Allowed) != 0 {
		t.Errorf("release record %+v", r)
	}
	for _, c := range report.Components {
		if !c.Accepted || !c.Complete {
			t.Errorf("%+v", c)
		}
	}
}

// The next release counts on from the last one, wherever that went.
func TestNextRelease(t *testing.T) {
	w := newWorkshop(t, "install-order", "allowed-versions: [{radio: 1.0.0}]\ninstall-order")
	first, _ := w.release(t, "1.0.0")
	w.write(t, "motor.bin", pseudo(t, "motor 2", 900))
	second, data := w.release(t, "1.0.1")
	if first.Sequence != 1 || second.Sequence != 2 || second.ReleaseID != "1.0.1+2" {
		t.Errorf("sequence numbers %d and %d, release %s", first.Sequence, second.Sequence, second.ReleaseID)
	}
	for floor, reason := range map[uint32]verdict.Reason{0: "", 1: "", 2: "", 3: verdict.SequenceRollback} {
		_, _, err := verifyBundle(t, w.open(t), data, VerifyOptions{MinSequence: floor})
		if verdict.Of(err) != reason || (err == nil) != (reason == "") {
			t.Errorf("devices at %d: %v, want reason %q", floor, err, reason)
		}
	}

	third := uint32(math.MaxUint32)
	plan, err := w.open(t).Load(Options{Version: "1.0.1", Sequence: &third, OutDir: w.path("elsewhere/deep")})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.verified(t, plan).Write(); err != nil {
		t.Fatal(err)
	}
	var record Record
	if err := json.Unmarshal(w.read(t, "release.json"), &record); err != nil || record.Sequence != third {
		t.Errorf("the last release has sequence number %d, %v", record.Sequence, err)
	}
	w.read(t, "elsewhere/deep/brush-1.0.1.ota")
	_, err = w.open(t).Load(Options{Version: "1.0.2"})
	wantInput(t, err, "release.json", "used up")
}

// Everything in release.json is what a stranger would compute from the files.
func TestReleaseJSON(t *testing.T) {
	w := newWorkshop(t,
		"revision: C\n    image: motor.bin", "revision: C\n    image: motor.bin\n    version: 2.0.0-rc.3\n    requires: {radio: 1.4.0}",
		"install-order", "allowed-versions: [{radio: 1.4.0, motor: 1.9.9}, {radio: 1.4.1}]\ninstall-order")
	plan := w.load(t, "1.4.2")
	rehearsed := build(t, plan, rand.Reader)
	requests := rehearsed.Requests()
	if got := rehearsed.draft.Record().Outputs; got == nil || len(got) != 0 {
		t.Errorf("outputs before signing: %#v", got)
	}
	signed, err := rehearsed.Sign(t.Context(), w.signers)
	if err != nil {
		t.Fatal(err)
	}
	verified, err := signed.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := verified.Write(); err != nil {
		t.Fatal(err)
	}

	text := w.read(t, "release.json")
	mustContain(t, string(text), `"schema": "otapack.release/1"`, `"version": "1.4.2"`, `"release_id": "1.4.2+1"`, `"version": "2.0.0-rc.3"`)
	if !bytes.HasSuffix(text, []byte("\n}\n")) {
		t.Error("no newline at the end")
	}
	r, err := readRecord(w.path("release.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*r, verified.Record()) {
		t.Errorf("read   %+v\nwanted %+v", *r, verified.Record())
	}
	if again, err := r.Encode(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("encodes to other bytes again: %v\n%s", err, again)
	}

	if r.Product != "brush" || r.Vendor != "acme.example" || r.Sequence != 1 {
		t.Errorf("%+v", r)
	}
	if want := []string{"motor", "radio"}; !slices.Equal(r.InstallOrder, want) {
		t.Errorf("install order %v, want %v", r.InstallOrder, want)
	}
	if want := []map[string]string{{"radio": "1.4.0", "motor": "1.9.9"}, {"radio": "1.4.1"}}; !reflect.DeepEqual(r.Allowed, want) {
		t.Errorf("allowed versions %v, want %v", r.Allowed, want)
	}

	// Inputs: all files that the project names, and the project file itself.
	var inputs []string
	for _, f := range r.Inputs {
		inputs = append(inputs, f.Path)
		want := digestOf(w.read(t, f.Path))
		if want.Path = f.Path; f != want {
			t.Errorf("input %+v, want %+v", f, want)
		}
	}
	if want := []string{"keys/fw.pem", "keys/motor-device.pem", "keys/radio-device.pem", "keys/release.pem", "motor.bin", "otapack.yaml", "radio.hex"}; !slices.Equal(inputs, want) {
		t.Errorf("inputs %v, want %v", inputs, want)
	}
	if len(r.Outputs) != 1 {
		t.Fatalf("outputs %v", r.Outputs)
	}
	data := w.read(t, "dist/1.4.2/brush-1.4.2.ota")
	want := digestOf(data)
	if want.Path = "brush-1.4.2.ota"; r.Outputs[0] != want {
		t.Errorf("output %+v, want %+v", r.Outputs[0], want)
	}

	// Signatures: what was asked of the signers, in that order.
	aliases := map[string]string{"radio manifest": "fw", "motor manifest": "fw", "release record": "release"}
	if len(r.Signatures) != len(requests) || len(requests) != 3 {
		t.Fatalf("%d signatures, %d requests", len(r.Signatures), len(requests))
	}
	for i, q := range requests {
		want := SignatureRecord{q.Artifact, q.Role, aliases[q.Artifact], q.Key.String(), sha256.Sum256(q.Message)}
		if r.Signatures[i] != want {
			t.Errorf("signature %+v, want %+v", r.Signatures[i], want)
		}
	}

	// Components: against the bundle and the firmware.
	contents := openBundle(t, data)
	slices.Reverse(contents.Components) // install order to file order
	for i, tt := range []struct {
		image                        []byte
		chip, model, format, version string
		device                       string
	}{
		{pseudo(t, "radio", 3000), "nrf52840", "brush-radio", "hex", "1.4.2", "radio-device"},
		{pseudo(t, "motor", 1001), "stm32l4", "brush-motor", "bin", "2.0.0-rc.3", "motor-device"},
	} {
		part := contents.Components[i]
		envelope, err := manifest.Parse(part.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		to, err := encrypt.NewRecipient(deviceKey(t, tt.device).PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		vendor := manifest.VendorID("acme.example")
		payload := payloadOf(t, part)
		c := r.Components[i]
		version := c.Version.String()
		c.Version = nil
		want := ComponentRecord{
			Name: part.Name, Chip: tt.chip, Format: "suit", Model: tt.model, Revision: "C",
			VendorID: vendor, ClassID: manifest.ClassID(vendor, tt.model, "C"),
			Template: "T3", InputFormat: tt.format,
			Image:          Content{sha256.Sum256(tt.image), uint32(len(tt.image))},
			Payload:        Content{sha256.Sum256(payload), uint32(len(payload))},
			Recipients:     []string{fmt.Sprintf("%x", to.KeyID)},
			ManifestDigest: envelope.Digest,
		}
		if !reflect.DeepEqual(c, want) || version != tt.version {
			t.Errorf("version %s, want %s\ngot  %+v\nwant %+v", version, tt.version, c, want)
		}
	}

	// The release record says the same.
	record, err := manifest.ParseRecord(contents.Record)
	if err != nil {
		t.Fatal(err)
	}
	radio, motor := r.Components[0], r.Components[1]
	wantRecord := manifest.Record{
		ID: "1.4.2+1", Product: "brush", Vendor: manifest.VendorID("acme.example"), Sequence: 1,
		Components: []manifest.RecordComponent{
			{Role: "radio", Manifest: radio.ManifestDigest, Version: radio.Version},
			{Role: "motor", Manifest: motor.ManifestDigest, Version: motor.Version,
				Requires: []manifest.Requirement{{Component: 0, Minimum: manifest.Version{1, 4, 0}}}},
		},
		InstallOrder: []int{1, 0},
		Allowed:      [][]manifest.Version{{{1, 4, 0}, {1, 9, 9}}, {{1, 4, 1}, motor.Version}},
	}
	if !reflect.DeepEqual(record, wantRecord) {
		t.Errorf("release record\ngot  %+v\nwant %+v", record, wantRecord)
	}
}

// All randomness enters in Build: the same source gives the same bytes to sign,
// another one other ciphertext.
func TestDeterministic(t *testing.T) {
	w := newWorkshop(t)
	first, second := build(t, w.load(t, "1.0.0"), testvectors.Stream("a")), build(t, w.load(t, "1.0.0"), testvectors.Stream("a"))
	if !reflect.DeepEqual(first.Requests(), second.Requests()) {
		t.Error("the same inputs and randomness gave other requests")
	}
	if !reflect.DeepEqual(first.Record(), second.Record()) {
		t.Error("the same inputs and randomness gave another record")
	}
	third := build(t, w.load(t, "1.0.0"), testvectors.Stream("b"))
	for i, c := range third.Record().Components {
		old := first.Record().Components[i]
		if c.Image != old.Image || c.Payload.SHA256 == old.Payload.SHA256 || c.ManifestDigest == old.ManifestDigest {
			t.Errorf("other randomness: %+v after %+v", c, old)
		}
	}
	for i, q := range third.Requests() {
		if bytes.Equal(q.Message, first.Requests()[i].Message) {
			t.Errorf("%s: other randomness, the same bytes to sign", q.Artifact)
		}
	}

	// Without encryption there is no randomness at all.
	plain := newWorkshop(t, "    encrypt: {to: [keys/radio-device.pem]}\n", "", "    encrypt: {to: [keys/motor-device.pem]}\n", "")
	none := iotest.ErrReader(errors.New("randomness was asked for"))
	if !reflect.DeepEqual(build(t, plain.load(t, "1.0.0"), none).Record(), build(t, plain.load(t, "1.0.0"), none).Record()) {
		t.Error("a plain release is not reproducible")
	}
}

func TestBuildErrors(t *testing.T) {
	w := newWorkshop(t)
	for _, tt := range []struct {
		name string
		n    int64 // bytes of randomness
		want string
	}{
		{"none", 0, "release: radio: encrypt: content key"},
		{"for one component", 60, "release: motor: encrypt: content key"},
		{"all but one byte", 119, "release: motor: encrypt: recipient 0: ephemeral key"},
	} {
		d, err := w.load(t, "1.0.0").Build(t.Context(), io.LimitReader(testvectors.Stream("random"), tt.n))
		if d != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want %q", tt.name, d, err, tt.want)
		}
	}
	// A plan that Lint refuses cannot be built.
	w.write(t, "motor.bin", make([]byte, motorBank+1))
	_, err := w.load(t, "1.0.0").Build(t.Context(), rand.Reader)
	if policy, ok := errors.AsType[*PolicyError](err); !ok || policy.Findings[0].Reason != verdict.ImageExceedsBank {
		t.Errorf("got %v, want %s", err, verdict.ImageExceedsBank)
	}
}

func TestRequests(t *testing.T) {
	w := newWorkshop(t,
		"keys:\n", "keys:\n  fw-b: {token: t, uri: \"pkcs11:object=b\", public: keys/fw-b.pem}\n",
		"install-order", "    signing: {sign: [fw-b, fw]}\ninstall-order")
	plan := w.load(t, "1.0.0")
	rehearsed := build(t, plan, rand.Reader)
	key := func(alias string) sign.KeyID {
		k, ok := plan.project.Key(alias)
		if !ok {
			t.Fatalf("no key %s", alias)
		}
		return k.ID()
	}
	type request struct {
		artifact string
		role     sign.Role
		key      sign.KeyID
	}
	var got []request
	for _, q := range rehearsed.Requests() {
		got = append(got, request{q.Artifact, q.Role, q.Key})
	}
	want := []request{
		{"radio manifest", sign.RoleManifest, key("fw")},
		{"motor manifest", sign.RoleManifest, key("fw-b")},
		{"motor manifest", sign.RoleManifest, key("fw")},
		{"release record", sign.RoleRelease, key("release")},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	var names []string
	for _, k := range plan.project.Signers() {
		names = append(names, k.Name)
	}
	if want := []string{"fw", "fw-b", "release"}; !slices.Equal(names, want) {
		t.Errorf("signers %v, want %v", names, want)
	}
	if _, ok := plan.project.Key("nobody"); ok {
		t.Error("there is a key that the project does not name")
	}
}

// Rehearsal leaves the bytes to sign alone, and finds what a device would.
func TestRehearse(t *testing.T) {
	w := newWorkshop(t)
	for _, tt := range []struct {
		name   string
		change func(d *Draft)
		want   error
		reason verdict.Reason
	}{
		{name: "as built", change: func(*Draft) {}},
		{name: "another manifest", change: func(d *Draft) { d.components[1].manifest.Sequence++ }, want: errRehearsal},
		{name: "payload", change: func(d *Draft) { d.components[1].payload[1000] ^= 1 }, reason: verdict.CiphertextDigestMismatch},
		{name: "payload of another component", change: func(d *Draft) { d.components[1].payload = d.components[0].payload }, reason: verdict.PayloadElementSize},
		{name: "keys of another component", change: func(d *Draft) { d.components[1].sealer = d.components[0].sealer }, reason: verdict.KeyUnwrap},
		{name: "device of another revision", change: func(d *Draft) { d.plan.project.components[1].Revision = "D" }, reason: verdict.ClassMismatch},
		{name: "wiped", change: (*Draft).Wipe, want: encrypt.ErrSpent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			draft, err := w.load(t, "1.0.0").Build(t.Context(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			defer draft.Wipe()
			before := draft.Requests()
			tt.change(draft)
			rehearsed, err := draft.Rehearse(t.Context())
			if (rehearsed == nil) != (err != nil) || verdict.Of(err) != tt.reason || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v %s", err, tt.want, tt.reason)
			}
			if err == nil && (tt.want != nil || !reflect.DeepEqual(before, rehearsed.Requests())) {
				t.Error("accepted, or with other requests")
			}
			if err != nil && !strings.HasPrefix(err.Error(), "release: rehearsal of ") {
				t.Errorf("got %q", err)
			}
		})
	}
	draft, err := w.load(t, "1.0.0").Build(t.Context(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := draft.Rehearse(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// liar is a signer that does not do what it is asked for.
type liar struct {
	sign.Signer
	answer func(ctx context.Context, message []byte) (sign.Signature, error)
}

func (l liar) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	return l.answer(ctx, message)
}

// No release comes out of signatures that are not there or not right.
func TestSignRefused(t *testing.T) {
	w := newWorkshop(t)
	plan := w.load(t, "1.0.0")
	rehearsed := build(t, plan, rand.Reader)
	before := w.snapshot(t)
	errToken := errors.New("token was removed")
	stranger, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	for _, alias := range []string{"fw", "release"} {
		public, _ := plan.project.Key(alias)
		honest := w.signers[public.ID()]
		for _, tt := range []struct {
			name   string
			signer sign.Signer // nil: none
			want   error
		}{
			{"no signer", nil, sign.ErrNoSigner},
			{"signer of another key", stranger, sign.ErrSignature},
			{"signer fails", liar{honest, func(context.Context, []byte) (sign.Signature, error) { return sign.Signature{}, errToken }}, errToken},
			{"no signature", liar{honest, func(context.Context, []byte) (sign.Signature, error) { return sign.Signature{}, nil }}, sign.ErrSignature},
			{"signature of another key", liar{honest, stranger.Sign}, sign.ErrSignature},
			{"signature of another message", liar{honest, func(ctx context.Context, m []byte) (sign.Signature, error) {
				return honest.Sign(ctx, append(slices.Clone(m), 0))
			}}, sign.ErrSignature},
			{"signature of the message twice hashed", liar{honest, func(ctx context.Context, m []byte) (sign.Signature, error) {
				return honest.Sign(ctx, sign.ESP256.Digest(m))
			}}, sign.ErrSignature},
			{"signature with a flipped bit", liar{honest, func(ctx context.Context, m []byte) (sign.Signature, error) {
				s, err := honest.Sign(ctx, m)
				if err != nil {
					return s, err
				}
				raw := s.Encode(sign.Raw)
				raw[40] ^= 1
				return sign.ParseSignature(sign.ESP256, sign.Raw, raw)
			}}, sign.ErrSignature},
		} {
			t.Run(alias+" "+tt.name, func(t *testing.T) {
				signers := maps.Clone(w.signers)
				delete(signers, public.ID())
				if tt.signer != nil {
					signers[public.ID()] = tt.signer
				}
				signed, err := rehearsed.Sign(t.Context(), signers)
				if signed != nil || !errors.Is(err, tt.want) {
					t.Errorf("got %v, %v, want %v", signed, err, tt.want)
				}
				w.wantUnchanged(t, before)
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rehearsed.Sign(ctx, w.signers); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	// None of this has used the draft up.
	if _, err := rehearsed.Sign(t.Context(), w.signers); err != nil {
		t.Error(err)
	}
}

// Verify reads back what will be written. A bit changed between signing and
// writing is found wherever it is, but for the key hints, which nobody signs.
func TestVerifyFindsDamage(t *testing.T) {
	w := newWorkshop(t)
	w.write(t, "radio.hex", intelHex(t, radioBase, pseudo(t, "radio", 60)))
	w.write(t, "motor.bin", pseudo(t, "motor", 30))
	signed := w.sign(t, w.load(t, "1.0.0"))
	good := signed.bundle
	hinted := map[int]bool{}
	for _, s := range w.signers {
		hint := s.Public().ID().Hint()
		for at := range good {
			if bytes.HasPrefix(good[at:], hint[:]) {
				for i := range hint {
					hinted[at+i] = true
				}
			}
		}
	}
	if len(hinted) != 3*sign.HintSize {
		t.Fatalf("%d bytes of hints, want three hints", len(hinted))
	}
	for i := range good {
		if hinted[i] {
			continue
		}
		signed.bundle = slices.Clone(good)
		signed.bundle[i] ^= 1 << (i % 8)
		v, err := signed.Verify(t.Context())
		if v != nil || verdict.Of(err) == "" || !strings.HasPrefix(err.Error(), "release: the finished bundle: ") {
			t.Errorf("byte %d: %v, %v", i, v, err)
		}
	}
	for _, n := range []int{0, 1, len(good) / 2, len(good) - 1} {
		signed.bundle = good[:n]
		if _, err := signed.Verify(t.Context()); verdict.Of(err) != verdict.BundleTruncated {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	signed.bundle = good
	if _, err := signed.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	signed.draft.Wipe()
	if _, err := signed.Verify(t.Context()); !errors.Is(err, encrypt.ErrSpent) || verdict.Of(err) != "" {
		t.Errorf("without content keys: %v, want %v", err, encrypt.ErrSpent)
	}
}

// Rehearsal and Verify decrypt for each recipient, and for devices that have
// this very release already.
func TestEveryRecipient(t *testing.T) {
	w := newWorkshop(t, "to: [keys/radio-device.pem]", "to: [keys/radio-device.pem, keys/motor-device.pem]")
	draft, err := w.load(t, "1.0.0").Build(t.Context(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Wipe()
	radio := &draft.components[0]
	radio.manifest.Install.Encryption.Recipients[1].Wrapped[0] ^= 1
	if radio.envelope, err = radio.draft(draft.plan.project.components[0].signers); err != nil {
		t.Fatal(err)
	}
	record, err := draft.plan.record([]manifest.Digest{radio.envelope.Digest(), draft.components[1].envelope.Digest()})
	if err != nil {
		t.Fatal(err)
	}
	if draft.record, err = manifest.NewRecord(record, draft.plan.project.signer); err != nil {
		t.Fatal(err)
	}
	if _, err := draft.Rehearse(t.Context()); verdict.Of(err) != verdict.KeyUnwrap {
		t.Errorf("rehearsal: got %v, want %s", err, verdict.KeyUnwrap)
	}
	signed, err := (&Rehearsed{draft: draft}).Sign(t.Context(), w.signers)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(t.Context()); verdict.Of(err) != verdict.KeyUnwrap {
		t.Errorf("bundle: got %v, want %s", err, verdict.KeyUnwrap)
	}

	signed = w.sign(t, w.load(t, "1.0.0"))
	signed.draft.plan.sequence++
	if _, err := signed.Verify(t.Context()); verdict.Of(err) != verdict.SequenceRollback {
		t.Errorf("got %v, want %s", err, verdict.SequenceRollback)
	}
}

// A release is written whole or not at all, and never over something else.
func TestWrite(t *testing.T) {
	for _, tt := range []struct {
		name string
		lay  func(t *testing.T, w *workshop) // what is in the way
		want error
	}{
		{"other bundle", func(t *testing.T, w *workshop) { w.write(t, "dist/1.0.0/brush-1.0.0.ota", []byte("other")) }, atomicfile.ErrExists},
		{"empty bundle", func(t *testing.T, w *workshop) { w.write(t, "dist/1.0.0/brush-1.0.0.ota", nil) }, atomicfile.ErrExists},
		{"other record", func(t *testing.T, w *workshop) { w.write(t, "dist/1.0.0/release.json", []byte("{}")) }, atomicfile.ErrExists},
		{"directory of that name", func(t *testing.T, w *workshop) { w.write(t, "dist/1.0.0/brush-1.0.0.ota/x", nil) }, atomicfile.ErrExists},
		{"file instead of the directory", func(t *testing.T, w *workshop) { w.write(t, "dist", []byte("file")) }, nil},
		{"file instead of the version's directory", func(t *testing.T, w *workshop) { w.write(t, "dist/1.0.0", []byte("file")) }, nil},
		{"directory instead of the last release", func(t *testing.T, w *workshop) { w.write(t, "last.json/x", nil) }, nil},
		{"file in the way to the last release", func(t *testing.T, w *workshop) {
			w.edit(t, "last-release: last.json", "last-release: motor.bin/last.json")
		}, nil},
		{"read-only directory", func(t *testing.T, w *workshop) {
			if os.Geteuid() == 0 {
				t.Skip("no directory is read-only to root")
			}
			w.write(t, "dist/old", nil)
			if err := os.Chmod(w.path("dist"), 0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.Chmod(w.path("dist"), 0o755); err != nil {
					t.Error(err)
				}
			})
		}, fs.ErrPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, "install-order", "output: {last-release: last.json}\ninstall-order")
			verified := w.verified(t, w.load(t, "1.0.0")) // before the obstacle, which Load or Existing may find
			tt.lay(t, w)
			verified.signed.draft.plan.project.cfg = w.config(t)
			before := w.snapshot(t)
			err := verified.Write()
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			w.wantUnchanged(t, before)
		})
	}
	t.Run("two at once", func(t *testing.T) {
		w := newWorkshop(t)
		first, second := w.verified(t, w.load(t, "1.0.0")), w.verified(t, w.load(t, "1.0.1"))
		if err := first.Write(); err != nil {
			t.Fatal(err)
		}
		before := w.snapshot(t)
		if err := second.Write(); !errors.Is(err, atomicfile.ErrChanged) {
			t.Errorf("two releases have sequence number 1: %v", err)
		}
		w.wantUnchanged(t, before)
	})
	t.Run("twice", func(t *testing.T) {
		w := newWorkshop(t)
		verified := w.verified(t, w.load(t, "1.0.0"))
		if err := verified.Write(); err != nil {
			t.Fatal(err)
		}
		before := w.snapshot(t)
		if err := verified.Write(); err != nil {
			t.Error(err)
		}
		w.wantUnchanged(t, before)
	})
}

// Releases of other shapes go through the whole pipeline, and every device for
// which they are takes them.
func TestShapes(t *testing.T) {
	const radioTo, motorTo = "    encrypt: {to: [keys/radio-device.pem]}\n", "    encrypt: {to: [keys/motor-device.pem]}\n"
	more := `keys:
  fw-b: {token: t, uri: "pkcs11:object=b", public: keys/fw-b.pem}
  fw-c: {token: t, uri: "pkcs11:object=c", public: keys/fw-c.pem}
`
	var eight []string
	for i := range encrypt.MaxRecipients {
		eight = append(eight, fmt.Sprintf("keys/device-%d.pem", i))
	}
	for _, tt := range []struct {
		name  string
		edits []string
		lay   func(t *testing.T, w *workshop)
		// of the component that is different
		component, template, format string
		image                       []byte
		recipients, signatures      int
		check                       func(t *testing.T, w *workshop, r Record, report *Report)
	}{
		{name: "plain", edits: []string{motorTo, ""}, component: "motor", template: "T1", format: "bin", image: pseudo(t, "motor", 1001), signatures: 3},
		{name: "all plain", edits: []string{motorTo, "", radioTo, ""}, component: "radio", template: "T1", format: "hex", image: pseudo(t, "radio", 3000), signatures: 3},
		{name: "first slot", edits: []string{radioTo, "    slot: 0\n"}, component: "radio", template: "T2b", format: "hex", image: pseudo(t, "radio", 3000), signatures: 3},
		{name: "second slot", edits: []string{radioTo, "    slot: 1\n"}, lay: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", intelHex(t, radioSlot1, pseudo(t, "radio", 200)))
		}, component: "radio", template: "T2b", format: "hex", image: pseudo(t, "radio", 200), signatures: 3},
		{name: "encrypted slot", edits: []string{radioTo, radioTo + "    slot: 1\n"}, lay: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", intelHex(t, radioSlot1, pseudo(t, "radio", 200)))
		}, component: "radio", template: "T3", format: "hex", image: pseudo(t, "radio", 200), recipients: 1, signatures: 3},
		{name: "other bank", edits: []string{"base: 0x08008000", "base: 0x08010000\n    bank: {base: 0x08010000, size: 64KiB}"}, lay: func(t *testing.T, w *workshop) {
			w.write(t, "motor.bin", pseudo(t, "motor", 64<<10))
		}, component: "motor", template: "T3", format: "bin", image: pseudo(t, "motor", 64<<10), recipients: 1, signatures: 3},
		{name: "full bank", lay: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", intelHex(t, radioBase, pseudo(t, "radio", radioBank)))
		}, component: "radio", template: "T3", format: "hex", image: pseudo(t, "radio", radioBank), recipients: 1, signatures: 3},
		{name: "gaps", lay: func(t *testing.T, w *workshop) {
			w.write(t, "radio.hex", intelHex(t, radioBase, []byte("vectors"), radioBase+10, []byte("code")))
		}, component: "radio", template: "T3", format: "hex", image: []byte("vectors\xff\xff\xffcode"), recipients: 1, signatures: 3},
		{name: "eight recipients", edits: []string{"[keys/motor-device.pem]", "[" + strings.Join(eight, ", ") + "]"}, lay: func(t *testing.T, w *workshop) {
			for i, name := range eight {
				w.write(t, name, publicPEM(t, deviceKey(t, fmt.Sprint("device ", i)).PublicKey()))
			}
		}, component: "motor", template: "T3", format: "bin", image: pseudo(t, "motor", 1001), recipients: 8, signatures: 3},
		{name: "three signers", edits: []string{"keys:\n", more, "manifest: {sign: [fw]}", "manifest: {sign: [fw, fw-b, fw-c], threshold: 2}"},
			component: "radio", template: "T3", format: "hex", image: pseudo(t, "radio", 3000), recipients: 1, signatures: 7,
			check: func(t *testing.T, _ *workshop, _ Record, report *Report) {
				for _, c := range report.Components {
					if want := []string{"fw", "fw-b", "fw-c"}; !slices.Equal(c.SignedBy, want) {
						t.Errorf("%s is signed by %v, want %v", c.Name, c.SignedBy, want)
					}
				}
			}},
		{name: "one signer of three trusted", edits: []string{"keys:\n", more, "manifest: {sign: [fw]}", "manifest: {sign: [fw-b], trust: [fw, fw-b, fw-c]}"},
			component: "radio", template: "T3", format: "hex", image: pseudo(t, "radio", 3000), recipients: 1, signatures: 3,
			check: func(t *testing.T, w *workshop, r Record, report *Report) {
				if r.Signatures[0].Key != "fw-b" || !slices.Equal(report.Components[0].SignedBy, []string{"fw-b"}) {
					t.Errorf("signed by %s, verified %v", r.Signatures[0].Key, report.Components[0].SignedBy)
				}
			}},
		{name: "record signed on P-384", lay: func(t *testing.T, w *workshop) { w.addSigner(t, "release", ecdsaKey(t, elliptic.P384(), "release")) },
			component: "radio", template: "T3", format: "hex", image: pseudo(t, "radio", 3000), recipients: 1, signatures: 3},
		{name: "requirement", edits: []string{"install-order", "    requires: {radio: 1.4.2}\ninstall-order"},
			component: "motor", template: "T3", format: "bin", image: pseudo(t, "motor", 1001), recipients: 1, signatures: 3},
		{name: "image elsewhere", lay: func(t *testing.T, w *workshop) {
			path := filepath.Join(t.TempDir(), "app.bin")
			if err := os.WriteFile(path, []byte("\x00app"), 0o644); err != nil {
				t.Fatal(err)
			}
			w.edit(t, "image: motor.bin", "image: "+path)
		}, component: "motor", template: "T3", format: "bin", image: []byte("\x00app"), recipients: 1, signatures: 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, tt.edits...)
			if tt.lay != nil {
				tt.lay(t, w)
			}
			r, data := w.release(t, "1.4.2")
			if len(r.Signatures) != tt.signatures {
				t.Errorf("%d signatures, want %d", len(r.Signatures), tt.signatures)
			}
			i := slices.IndexFunc(r.Components, func(c ComponentRecord) bool { return c.Name == tt.component })
			c := r.Components[i]
			image := Content{sha256.Sum256(tt.image), uint32(len(tt.image))}
			if c.Template != tt.template || c.InputFormat != tt.format || c.Image != image || len(c.Recipients) != tt.recipients {
				t.Errorf("got %+v, want template %s from %s, image %+v, %d recipients", c, tt.template, tt.format, image, tt.recipients)
			}
			if plain := c.Payload == c.Image; plain != (tt.recipients == 0) {
				t.Errorf("payload %+v of image %+v", c.Payload, c.Image)
			}

			project := w.open(t)
			ids := devices(t)
			accept := func() *Report {
				_, report, err := verifyBundle(t, project, data, VerifyOptions{MinSequence: 1, Identities: ids})
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range report.Components {
					if !c.Accepted || !c.Complete {
						t.Errorf("%+v", c)
					}
				}
				return report
			}
			if tt.recipients != len(eight) {
				report := accept()
				if tt.check != nil {
					tt.check(t, w, r, report)
				}
				return
			}
			for i := range eight {
				ids["motor"] = identity(t, deviceKey(t, fmt.Sprint("device ", i)))
				accept()
			}
		})
	}
}

func TestOneComponent(t *testing.T) {
	w := newWorkshop(t)
	text := string(w.read(t, "otapack.yaml"))
	text = text[:strings.Index(text, "  motor:")]
	w.write(t, "otapack.yaml", []byte(text))
	w.release(t, "1.0.0")
	r, data := w.release(t, "1.0.1") // there is no way between components
	if len(r.Components) != 1 || !slices.Equal(r.InstallOrder, []string{"radio"}) {
		t.Errorf("%+v", r)
	}
	if _, _, err := verifyBundle(t, w.open(t), data, VerifyOptions{}); err != nil {
		t.Error(err)
	}
}
