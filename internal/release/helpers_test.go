package release

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
)

// Banks of the two chips.
const (
	radioBase, radioBank = 0x1c000, 0x68000
	radioSlot1           = 0x84000
	motorBase, motorBank = 0x08008000, 0x37000
)

// project is an otapack.yaml with two encrypted components. Install order is
// not the order of the file.
const project = `otapack: 1
product: {name: brush, vendor: acme.example}
hsm: {tokens: {t: {uri: "pkcs11:token=t"}}}
keys:
  fw: {token: t, uri: "pkcs11:object=fw", public: keys/fw.pem}
  release: {token: t, uri: "pkcs11:object=release", public: keys/release.pem}
signing:
  manifest: {sign: [fw]}
  release: {sign: [release]}
components:
  radio:
    chip: nrf52840
    model: brush-radio
    revision: C
    image: radio.hex
    encrypt: {to: [keys/radio-device.pem]}
  motor:
    chip: stm32l4
    model: brush-motor
    revision: C
    image: motor.bin
    base: 0x08008000
    encrypt: {to: [keys/motor-device.pem]}
install-order: [motor, radio]
policy: {rehearse: off}
`

// workshop is a folder with a project, its keys and its firmware.
type workshop struct {
	dir     string
	signers map[sign.KeyID]sign.Signer
}

// newWorkshop lays out the project after edits, pairs of what to replace in
// otapack.yaml and what by.
func newWorkshop(t testing.TB, edits ...string) *workshop {
	t.Helper()
	w := &workshop{dir: t.TempDir(), signers: map[sign.KeyID]sign.Signer{}}
	for _, name := range []string{"fw", "fw-b", "fw-c", "release"} {
		w.addSigner(t, name, ecdsaKey(t, elliptic.P256(), name))
	}
	for _, name := range []string{"radio-device", "motor-device"} {
		w.write(t, "keys/"+name+".pem", publicPEM(t, deviceKey(t, name).PublicKey()))
	}
	w.write(t, "radio.hex", intelHex(t, radioBase, pseudo(t, "radio", 3000)))
	w.write(t, "motor.bin", pseudo(t, "motor", 1001))
	w.write(t, "otapack.yaml", []byte(project))
	w.edit(t, edits...)
	return w
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

func (w *workshop) write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *workshop) read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// edit replaces text of otapack.yaml. Each text to replace must be there.
func (w *workshop) edit(t testing.TB, pairs ...string) {
	t.Helper()
	text := string(w.read(t, "otapack.yaml"))
	for pair := range slices.Chunk(pairs, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("no %q in otapack.yaml", pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	w.write(t, "otapack.yaml", []byte(text))
}

// addSigner writes keys/<name>.pem and keeps the private half as a token would.
func (w *workshop) addSigner(t testing.TB, name string, key *ecdsa.PrivateKey) {
	t.Helper()
	s, err := sign.FromCrypto(key)
	if err != nil {
		t.Fatal(err)
	}
	w.signers[s.Public().ID()] = s
	w.write(t, "keys/"+name+".pem", s.Public().PEM())
}

func (w *workshop) config(t testing.TB) *config.Config {
	t.Helper()
	c, err := config.Load(w.path("otapack.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *workshop) open(t testing.TB) *Project {
	t.Helper()
	p, err := Open(w.config(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *workshop) load(t testing.TB, version string) *Plan {
	t.Helper()
	plan, err := w.open(t).Load(Options{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// build goes from a plan to what is to be signed.
func build(t testing.TB, plan *Plan, random io.Reader) *Rehearsed {
	t.Helper()
	if err := plan.Lint(); err != nil {
		t.Fatal(err)
	}
	draft, err := plan.Build(t.Context(), random)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(draft.Wipe)
	rehearsed, err := draft.Rehearse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rehearsed
}

func (w *workshop) sign(t testing.TB, plan *Plan) *Signed {
	t.Helper()
	signed, err := build(t, plan, rand.Reader).Sign(t.Context(), w.signers)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (w *workshop) verified(t testing.TB, plan *Plan) *Verified {
	t.Helper()
	verified, err := w.sign(t, plan).Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return verified
}

// release runs the whole pipeline and returns the record and the bundle.
func (w *workshop) release(t testing.TB, version string) (Record, []byte) {
	t.Helper()
	v := w.verified(t, w.load(t, version))
	if err := v.Write(); err != nil {
		t.Fatal(err)
	}
	r := v.Record()
	return r, w.read(t, "dist/"+version+"/"+r.Outputs[0].Path)
}

// devices are the private keys of the devices that the project encrypts to.
func devices(t testing.TB) map[string]encrypt.Identity {
	t.Helper()
	return map[string]encrypt.Identity{
		"radio": identity(t, deviceKey(t, "radio-device")), "motor": identity(t, deviceKey(t, "motor-device")),
	}
}

func verifyBundle(t testing.TB, p *Project, data []byte, o VerifyOptions) (*VerifiedBundle, *Report, error) {
	t.Helper()
	return p.VerifyBundle(t.Context(), bytes.NewReader(data), int64(len(data)), o)
}

func openBundle(t testing.TB, data []byte) bundle.Contents {
	t.Helper()
	b, err := bundle.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return b.Contents
}

func writeBundle(t testing.TB, c bundle.Contents) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bundle.Write(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func payloadOf(t testing.TB, c bundle.Component) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(c.Payload, 0, c.Payload.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func section(data []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
}

// signRecord signs a release record of the test's own making.
func (w *workshop) signRecord(t testing.TB, r manifest.Record, key string) []byte {
	t.Helper()
	public, err := sign.ParsePublicKey(w.read(t, "keys/"+key+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	draft, err := manifest.NewRecord(r, public)
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := sign.Answer(t.Context(), draft.Requests(), w.signers)
	if err != nil {
		t.Fatal(err)
	}
	data, err := draft.Finish(signatures)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ecdsaKey makes a key from a name.
func ecdsaKey(t testing.TB, curve elliptic.Curve, name string) *ecdsa.PrivateKey {
	t.Helper()
	scalar := make([]byte, (curve.Params().BitSize+7)/8)
	copy(scalar[1:], pseudo(t, name, len(scalar)-1)) // below the order of any curve
	if curve == elliptic.P521() {
		scalar[1] = 0
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func deviceKey(t testing.TB, name string) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdsaKey(t, elliptic.P256(), name).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func identity(t testing.TB, key *ecdh.PrivateKey) encrypt.Identity {
	t.Helper()
	id, err := encrypt.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func pseudo(t testing.TB, name string, size int) []byte {
	t.Helper()
	return testvectors.Bytes(name, size)
}

// intelHex is a firmware file of one or more segments, as pairs of address and
// bytes.
func intelHex(t testing.TB, segments ...any) []byte {
	t.Helper()
	var list []formats.Segment
	for pair := range slices.Chunk(segments, 2) {
		list = append(list, formats.Segment{Addr: uint32(pair[0].(int)), Data: pair[1].([]byte)})
	}
	image, err := formats.NewImage(list)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := firmware.WriteIntelHex(&b, image); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// snapshot maps every file and directory of the workshop to its mode and
// content.
func (w *workshop) snapshot(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.dir, path)
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[name] += " " + string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantUnchanged checks that the workshop is as it was.
func (w *workshop) wantUnchanged(t *testing.T, before map[string]string) {
	t.Helper()
	after := w.snapshot(t)
	if maps.Equal(before, after) {
		return
	}
	for name := range before {
		if after[name] != before[name] {
			t.Errorf("%s has changed or gone", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s was made", name)
		}
	}
}

// wantInput checks for an *InputError about a path, in any error chain.
func wantInput(t *testing.T, err error, path, text string) {
	t.Helper()
	e, ok := errors.AsType[*InputError](err)
	if !ok || e.Path != path || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an InputError about %s that says %q", err, path, text)
	}
}

// wantConfig checks for a *config.Error with the line of an entry.
func wantConfig(t *testing.T, err error, path, text string) {
	t.Helper()
	e, ok := errors.AsType[*config.Error](err)
	if !ok || e.Path != path || e.Line == 0 || !strings.Contains(e.Msg, text) {
		t.Errorf("got %v, want a config.Error about %s with a line that says %q", err, path, text)
	}
}

func digestOf(data []byte) File { return File{SHA256: sha256.Sum256(data), Size: int64(len(data))} }

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}
