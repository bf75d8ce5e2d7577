package release

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// twoReleases are two releases of one project, and the project.
func twoReleases(t testing.TB) (w *workshop, first, second []byte) {
	t.Helper()
	w = newWorkshop(t, "install-order", "allowed-versions: [{radio: 1.0.0}]\ninstall-order")
	_, first = w.release(t, "1.0.0")
	w.write(t, "motor.bin", pseudo(t, "motor 2", 1001))
	w.write(t, "radio.hex", intelHex(t, radioBase, pseudo(t, "radio 2", 5000)))
	_, second = w.release(t, "1.0.1")
	return w, first, second
}

func TestVerifyBundle(t *testing.T) {
	w, _, data := twoReleases(t)
	project := w.open(t)
	contents := openBundle(t, data)
	all := devices(t)
	for _, tt := range []struct {
		name       string
		identities map[string]encrypt.Identity
	}{
		{"without device keys", nil},
		{"empty", map[string]encrypt.Identity{}},
		{"no key for either", map[string]encrypt.Identity{"radio": nil, "motor": nil}},
		{"key of the radio", map[string]encrypt.Identity{"radio": all["radio"]}},
		{"both keys", all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, report, err := verifyBundle(t, project, data, VerifyOptions{MinSequence: 2, Identities: tt.identities})
			if err != nil {
				t.Fatal(err)
			}
			record := v.Record().Record()
			if record.ID != "1.0.1+2" || v.Record().Signer().ID() != project.signer.ID() {
				t.Errorf("record %+v", record)
			}
			if report.Product != "brush" || report.ReleaseID != "1.0.1+2" || report.Sequence != 2 || report.SignedBy != "release" || len(report.Components) != 2 {
				t.Fatalf("report %+v", report)
			}
			for i, want := range []struct{ name, chip string }{{"motor", "stm32l4"}, {"radio", "nrf52840"}} {
				c := report.Components[i]
				complete := tt.identities[want.name] != nil
				digest := record.Components[slices.IndexFunc(record.Components, func(r manifest.RecordComponent) bool { return r.Role == want.name })].Manifest
				if c.Name != want.name || c.Chip != want.chip || c.Version.String() != "1.0.1" || c.Sequence != 2 || c.ManifestDigest != digest ||
					!slices.Equal(c.SignedBy, []string{"fw"}) || !c.Accepted || c.Complete != complete {
					t.Errorf("%s: %+v", want.name, c)
				}
				last := bootloader.Check{Step: bootloader.StepImage, Status: bootloader.Passed}
				if !complete {
					last.Status = bootloader.NotRun
				}
				if len(c.Checks) != len(project.components[0].chip.Steps) || c.Checks[len(c.Checks)-1] != last {
					t.Errorf("%s: checks %+v", want.name, c.Checks)
				}
			}
		})
	}
	// The bundle is the same one when it is put together again.
	if again := writeBundle(t, contents); !bytes.Equal(again, data) {
		t.Error("the bundle cannot be put together again, tests below prove nothing")
	}
}

// refusal is what a component, or "" for the whole bundle, is refused for.
type refusal struct {
	component string
	reason    verdict.Reason
}

func TestVerifyBundleRefused(t *testing.T) {
	w, first, second := twoReleases(t)
	byName := func(data []byte, name string) bundle.Component {
		for _, c := range openBundle(t, data).Components {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("no component %s", name)
		return bundle.Component{}
	}
	// change edits the second release's bundle.
	change := func(edit func(c *bundle.Contents)) func(t *testing.T) []byte {
		return func(t *testing.T) []byte {
			c := openBundle(t, second)
			edit(&c)
			return writeBundle(t, c)
		}
	}
	// record replaces its record by a signed one that says something else.
	record := func(key string, edit func(r *manifest.Record)) func(t *testing.T) []byte {
		return change(func(c *bundle.Contents) {
			r, err := manifest.ParseRecord(c.Record)
			if err != nil {
				t.Fatal(err)
			}
			edit(&r)
			c.Record = w.signRecord(t, r, key)
		})
	}
	raw := func(edit func(data []byte) []byte) func(t *testing.T) []byte {
		return func(*testing.T) []byte { return edit(slices.Clone(second)) }
	}
	configured := func(pairs ...string) func(t *testing.T) *Project {
		return func(t *testing.T) *Project {
			other := newWorkshop(t, pairs...)
			return other.open(t)
		}
	}
	genuine := func(*testing.T) []byte { return second }
	flip := func(c *bundle.Component) {
		data := payloadOf(t, *c)
		data[len(data)/2] ^= 1
		c.Payload = section(data)
	}
	const motor, radio = 0, 1 // positions in the bundle

	for _, tt := range []struct {
		name    string
		data    func(t *testing.T) []byte
		project func(t *testing.T) *Project // the workshop's when nil
		options VerifyOptions
		want    []refusal
		text    string
	}{
		{name: "empty", data: raw(func([]byte) []byte { return nil }), want: []refusal{{"", verdict.BundleTruncated}}},
		{name: "truncated", data: raw(func(d []byte) []byte { return d[:len(d)-1] }), want: []refusal{{"", verdict.BundleTruncated}}},
		{name: "longer", data: raw(func(d []byte) []byte { return append(d, 0) }), want: []refusal{{"", verdict.BundleTrailingBytes}}},
		{name: "release.json", data: func(t *testing.T) []byte { return w.read(t, "release.json") }, want: []refusal{{"", verdict.BundleNotZip}}},
		{name: "envelope instead of the record", data: change(func(c *bundle.Contents) { c.Record = c.Components[0].Manifest }),
			want: []refusal{{"", verdict.NotSign1}}},

		{name: "record with a flipped bit", data: change(func(c *bundle.Contents) { c.Record[len(c.Record)/2] ^= 1 }), want: []refusal{{"", verdict.SignatureInvalid}}},
		{name: "record signed by a stranger", data: record("fw-b", func(*manifest.Record) {}), want: []refusal{{"", verdict.SignatureInvalid}}},
		{name: "record signed with the manifests' key", data: record("fw", func(*manifest.Record) {}), want: []refusal{{"", verdict.SignatureInvalid}}},
		{name: "other product in the record", data: record("release", func(r *manifest.Record) { r.Product = "razor" }),
			want: []refusal{{"", verdict.ProductMismatch}}, text: `for product "razor", configured is "brush"`},
		{name: "other vendor in the record", data: record("release", func(r *manifest.Record) { r.Vendor = manifest.VendorID("acme.test") }),
			want: []refusal{{"", verdict.VendorMismatch}}},
		{name: "project of another product", data: genuine, project: configured("name: brush", "name: razor"), want: []refusal{{"", verdict.ProductMismatch}}},
		{name: "project of another vendor", data: genuine, project: configured("vendor: acme.example", "vendor: other.example"),
			want: []refusal{{"", verdict.VendorMismatch}}},

		{name: "component missing in the bundle", data: change(func(c *bundle.Contents) { c.Components = c.Components[:1] }),
			want: []refusal{{"", verdict.ComponentsMismatch}}, text: "has [motor], the release record installs [motor radio]"},
		{name: "component more in the bundle", data: change(func(c *bundle.Contents) {
			extra := c.Components[radio]
			extra.Name = "sensor"
			c.Components = append(c.Components, extra)
		}), want: []refusal{{"", verdict.ComponentsMismatch}}},
		{name: "component renamed in the bundle", data: change(func(c *bundle.Contents) { c.Components[radio].Name = "radi0" }), want: []refusal{{"", verdict.ComponentsMismatch}}},
		{name: "names swapped in the bundle", data: change(func(c *bundle.Contents) {
			c.Components[motor].Name, c.Components[radio].Name = "radio", "motor"
		}), want: []refusal{{"", verdict.ComponentsMismatch}}},
		{name: "other order in the bundle", data: change(func(c *bundle.Contents) { slices.Reverse(c.Components) }),
			want: []refusal{{"", verdict.ComponentsMismatch}}, text: "has [radio motor], the release record installs [motor radio]"},
		{name: "other order in the record", data: record("release", func(r *manifest.Record) { slices.Reverse(r.InstallOrder) }),
			want: []refusal{{"", verdict.ComponentsMismatch}}},
		{name: "component renamed in the record", data: record("release", func(r *manifest.Record) { r.Components[0].Role = "radi0" }),
			want: []refusal{{"", verdict.ComponentsMismatch}}},
		{name: "component that is not configured", data: genuine,
			project: configured("  motor:", "  engine:", "[motor, radio]", "[engine, radio]"), want: []refusal{{"", verdict.ComponentsMismatch}},
			text: `has component "motor", configured are [radio engine]`},
		{name: "configured component that the release leaves out", data: change(func(c *bundle.Contents) {
			r, err := manifest.ParseRecord(c.Record)
			if err != nil {
				t.Fatal(err)
			}
			r.Components, r.InstallOrder, r.Allowed = r.Components[:1], []int{0}, nil
			c.Record, c.Components = w.signRecord(t, r, "release"), c.Components[radio:]
		}), want: []refusal{{"", verdict.ComponentsMismatch}}, text: `lacks component "motor", has [radio]`},

		{name: "one component of an older release", data: change(func(c *bundle.Contents) { c.Components[motor] = byName(first, "motor") }),
			want: []refusal{{"motor", verdict.ManifestNotRecorded}}},
		{name: "one component of an older release, devices at the newer", data: change(func(c *bundle.Contents) { c.Components[motor] = byName(first, "motor") }),
			options: VerifyOptions{MinSequence: 2}, want: []refusal{{"motor", verdict.SequenceRollback}}},
		{name: "one manifest of an older release", data: change(func(c *bundle.Contents) { c.Components[motor].Manifest = byName(first, "motor").Manifest }),
			want: []refusal{{"motor", verdict.CiphertextDigestMismatch}}},
		{name: "all components of an older release", data: change(func(c *bundle.Contents) { c.Components = openBundle(t, first).Components }),
			want: []refusal{{"motor", verdict.ManifestNotRecorded}, {"radio", verdict.ManifestNotRecorded}}},
		{name: "record of an older release", data: change(func(c *bundle.Contents) { c.Record = openBundle(t, first).Record }),
			want: []refusal{{"motor", verdict.ManifestNotRecorded}, {"radio", verdict.ManifestNotRecorded}}},
		{name: "older release", data: func(*testing.T) []byte { return first }, options: VerifyOptions{MinSequence: 2},
			want: []refusal{{"motor", verdict.SequenceRollback}, {"radio", verdict.SequenceRollback}}},
		{name: "other manifest in the record", data: record("release", func(r *manifest.Record) { r.Components[0].Manifest[0] ^= 1 }),
			want: []refusal{{"radio", verdict.ManifestNotRecorded}}},
		{name: "manifests swapped in the record", data: record("release", func(r *manifest.Record) {
			r.Components[0].Manifest, r.Components[1].Manifest = r.Components[1].Manifest, r.Components[0].Manifest
		}), want: []refusal{{"motor", verdict.ManifestNotRecorded}, {"radio", verdict.ManifestNotRecorded}}},
		{name: "other version in the record", data: record("release", func(r *manifest.Record) { r.Components[1].Version = manifest.Version{1, 0, 2} }),
			want: []refusal{{"motor", verdict.VersionMismatch}}, text: "version 1.0.1, the release record has 1.0.2"},
		{name: "other sequence number in the record", data: record("release", func(r *manifest.Record) { r.Sequence = 3 }),
			want: []refusal{{"motor", verdict.SequenceMismatch}, {"radio", verdict.SequenceMismatch}}, text: "sequence number 2, the release record has 3"},

		{name: "envelopes swapped", data: change(func(c *bundle.Contents) {
			c.Components[0].Manifest, c.Components[1].Manifest = c.Components[1].Manifest, c.Components[0].Manifest
		}), want: []refusal{{"motor", verdict.ClassMismatch}, {"radio", verdict.ClassMismatch}}},
		{name: "payloads swapped", data: change(func(c *bundle.Contents) {
			c.Components[0].Payload, c.Components[1].Payload = c.Components[1].Payload, c.Components[0].Payload
		}), want: []refusal{{"motor", verdict.PayloadElementSize}, {"radio", verdict.PayloadElementSize}}},
		{name: "envelope with a flipped bit", data: change(func(c *bundle.Contents) { c.Components[radio].Manifest[200] ^= 1 }),
			want: []refusal{{"radio", verdict.ManifestDigestMismatch}}},
		{name: "empty envelope", data: change(func(c *bundle.Contents) { c.Components[radio].Manifest = nil }), want: []refusal{{"radio", verdict.Truncated}}},
		{name: "payload with a flipped bit", data: change(func(c *bundle.Contents) { flip(&c.Components[motor]) }),
			want: []refusal{{"motor", verdict.CiphertextDigestMismatch}}},
		{name: "payload with a flipped bit and the old checksum", data: raw(func(d []byte) []byte {
			payload := payloadOf(t, byName(second, "motor"))
			d[bytes.Index(d, payload)] ^= 1
			return d
		}), want: []refusal{{"motor", verdict.CiphertextDigestMismatch}}},
		{name: "payload with another checksum", data: raw(func(d []byte) []byte {
			sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(payloadOf(t, byName(second, "motor"))))
			if n := bytes.Count(d, sum); n != 2 {
				t.Fatalf("the checksum occurs %d times", n)
			}
			return bytes.ReplaceAll(d, sum, []byte("oops"))
		}), want: []refusal{{"", verdict.BundleChecksum}}},

		{name: "devices of another revision", data: genuine, project: configured("model: brush-radio\n    revision: C", "model: brush-radio\n    revision: D"),
			want: []refusal{{"radio", verdict.ClassMismatch}}},
		{name: "devices of other revisions", data: genuine, project: configured("revision: C", "revision: D", "revision: C", "revision: D"),
			want: []refusal{{"motor", verdict.ClassMismatch}, {"radio", verdict.ClassMismatch}}},
		{name: "devices with a smaller bank", data: genuine, project: configured("image: radio.hex", "image: radio.hex\n    bank: {base: 0x1c000, size: 4KiB}"),
			want: []refusal{{"radio", verdict.ImageExceedsBank}}},
		{name: "different faults", data: change(func(c *bundle.Contents) { flip(&c.Components[motor]) }),
			project: configured("model: brush-radio\n    revision: C", "model: brush-radio\n    revision: D"),
			want:    []refusal{{"motor", verdict.CiphertextDigestMismatch}, {"radio", verdict.ClassMismatch}}},
		{name: "devices that trust another key", data: genuine,
			project: configured("keys:\n", "keys:\n  fw-b: {token: t, uri: \"pkcs11:object=b\", public: keys/fw-b.pem}\n", "manifest: {sign: [fw]}", "manifest: {sign: [fw-b]}"),
			want:    []refusal{{"motor", verdict.SignatureInvalid}, {"radio", verdict.SignatureInvalid}}},
		{name: "devices that want two signatures", data: genuine,
			project: configured("keys:\n", "keys:\n  fw-b: {token: t, uri: \"pkcs11:object=b\", public: keys/fw-b.pem}\n", "manifest: {sign: [fw]}", "manifest: {sign: [fw, fw-b], threshold: 2}"),
			want:    []refusal{{"motor", verdict.SignatureInvalid}, {"radio", verdict.SignatureInvalid}}},
		{name: "device keys swapped", data: genuine, options: VerifyOptions{Identities: map[string]encrypt.Identity{
			"radio": devices(t)["motor"], "motor": devices(t)["radio"],
		}}, want: []refusal{{"motor", verdict.KeyUnwrap}, {"radio", verdict.KeyUnwrap}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			project := w.open(t)
			if tt.project != nil {
				project = tt.project(t)
			}
			v, report, err := verifyBundle(t, project, tt.data(t), tt.options)
			if v != nil || err == nil || report == nil {
				t.Fatalf("got %v, %v, %v", v, report, err)
			}
			mustContain(t, err.Error(), tt.text)
			wantRefusals(t, report, err, tt.want)
		})
	}
}

// wantRefusals checks that error and report say who refuses and why.
func wantRefusals(t *testing.T, report *Report, err error, want []refusal) {
	t.Helper()
	rejected, ok := errors.AsType[*RejectedError](err)
	if want[0].component == "" {
		if ok || verdict.Of(err) != want[0].reason {
			t.Errorf("got %v, want reason %s of the whole bundle", err, want[0].reason)
		}
		if text, err := json.Marshal(report); err != nil || !bytes.Contains(text, []byte(`"components":[`)) {
			t.Errorf("report %s, %v", text, err)
		}
		return
	}
	if !ok || len(rejected.Failures) != len(want) {
		t.Fatalf("got %v, want %d refusals", err, len(want))
	}
	if n := strings.Count(rejected.Error(), "\n"); n != 0 {
		t.Errorf("%d lines in %q", n, rejected.Error())
	}
	refused := map[string]bool{}
	for i, r := range want {
		f := rejected.Failures[i]
		if verdict.Of(f) != r.reason || !strings.HasPrefix(f.Error(), r.component+": ") {
			t.Errorf("got %q, want %s: %s", f, r.component, r.reason)
		}
		mustContain(t, err.Error(), f.Error())
		refused[r.component] = true
	}
	if len(report.Components) != 2 {
		t.Fatalf("report %+v", report)
	}
	for _, c := range report.Components {
		if c.Accepted == refused[c.Name] || c.Complete && refused[c.Name] || c.SignedBy == nil || len(c.Checks) == 0 {
			t.Errorf("%+v", c)
		}
	}
}

// What keeps from a verdict is not told as a refusal.
func TestVerifyBundleNoVerdict(t *testing.T) {
	w, _, data := twoReleases(t)
	project := w.open(t)
	motor := openBundle(t, data).Components[0]
	at := int64(bytes.Index(data, payloadOf(t, motor)))

	check := func(name string, want error, ctx context.Context, r io.ReaderAt, o VerifyOptions) {
		t.Helper()
		v, report, err := project.VerifyBundle(ctx, r, int64(len(data)), o)
		_, rejected := errors.AsType[*RejectedError](err)
		if v != nil || err == nil || rejected || verdict.Of(err) != "" || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v, want %v and no verdict", name, v, err, want)
		}
		if report == nil || len(report.Components) != 0 {
			t.Errorf("%s: report %+v", name, report)
		}
	}
	good := bytes.NewReader(data)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	kek := encrypt.NewKEK(nil, [16]byte{})
	kek.Wipe()
	check("component that is not configured", nil, t.Context(), good, VerifyOptions{Identities: map[string]encrypt.Identity{"sensor": kek}})
	check("interrupted", context.Canceled, cancelled, good, VerifyOptions{})
	check("header cannot be read", iotest.ErrTimeout, t.Context(), failing{data, 10}, VerifyOptions{})
	check("payload cannot be read", iotest.ErrTimeout, t.Context(), failing{data, at + 500}, VerifyOptions{})

	// A refusal that was found before is not lost in it, but the verdict about
	// the rest is not known.
	bad := slices.Clone(data)
	bad[at] ^= 1
	radio := int64(bytes.Index(data, payloadOf(t, openBundle(t, data).Components[1])))
	_, report, err := project.VerifyBundle(t.Context(), failing{bad, radio}, int64(len(bad)), VerifyOptions{})
	if !errors.Is(err, iotest.ErrTimeout) || verdict.Of(err) != "" {
		t.Errorf("got %v", err)
	}
	if len(report.Components) != 1 || report.Components[0].Name != "motor" || report.Components[0].Accepted {
		t.Errorf("report %+v", report)
	}
}

// failing fails to read the byte at an offset.
type failing struct {
	data []byte
	at   int64
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(p)) {
		return 0, iotest.ErrTimeout
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// The errors of this package say what they are made of.
func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	input := &InputError{"a/b", cause}
	if input.Error() != "a/b: cause" || !errors.Is(input, cause) {
		t.Errorf("got %q", input)
	}
	f := Finding{verdict.TestKey, "key fw", "its private half is published"}
	policy := &PolicyError{[]Finding{f, f}}
	if want := "key fw: its private half is published (test-key)"; f.String() != want || policy.Error() != want+"; "+want {
		t.Errorf("got %q and %q", f, policy)
	}
	rejected := &RejectedError{[]error{verdict.New(verdict.KeyUnwrap, "a", "b"), cause}}
	if want := "a: b (key-unwrap-failed); cause"; rejected.Error() != want || !errors.Is(rejected, cause) || verdict.Of(rejected) != verdict.KeyUnwrap {
		t.Errorf("got %q", rejected)
	}
}

// Keys that the project does not name are called by their short ids.
func TestAlias(t *testing.T) {
	p := newWorkshop(t).open(t)
	if fw, _ := p.Key("fw"); p.alias(fw.ID()) != "fw" {
		t.Errorf("got %q, want fw", p.alias(fw.ID()))
	}
	stranger, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	if id := stranger.Public().ID(); p.alias(id) != id.Short() {
		t.Errorf("got %q, want %q", p.alias(id), id.Short())
	}
}
