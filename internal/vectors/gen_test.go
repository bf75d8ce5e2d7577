package vectors

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

var update = flag.Bool("update", false, "write the published verdicts anew")

const published = "../../testvectors/verdicts"

// generators make the families. They use fixed keys and the nonces of RFC 6979,
// so that they make the same bytes every time.
var generators = map[string]func(*testing.T) *generator{
	"suit-nrf52840": func(t *testing.T) *generator { return generateSUIT(t, "nrf52840") },
	"suit-stm32l4":  func(t *testing.T) *generator { return generateSUIT(t, "stm32l4") },
	"mcuboot":       generateMCUboot,
	"nrfdfu":        generateNRFDFU,
	"sbsfu":         generateSBSFU,
	"wolfboot":      generateWolfBoot,
}

// TestGenerate makes all families again and compares them with what is
// published.
func TestGenerate(t *testing.T) {
	if got := slices.Sorted(maps.Keys(generators)); !slices.Equal(got, verdicts.Families()) {
		t.Fatalf("generators of %q, families are %q", got, verdicts.Families())
	}
	files := map[string][]byte{}
	for _, name := range verdicts.Families() {
		g := generators[name](t)
		for file, data := range g.files {
			if old, ok := files["files/"+file]; ok && !bytes.Equal(old, data) {
				t.Errorf("two files %s", file)
			}
			files["files/"+file] = data
		}
		files[name+".json"] = g.encode()
	}
	if t.Failed() {
		return
	}
	if *update {
		if err := os.RemoveAll(filepath.Join(published, "files")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(published, "files"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(published, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(published, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is out of step (%v): go test ./internal/vectors -run TestGenerate -update", name, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(published, "files"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files["files/"+e.Name()] == nil {
			t.Errorf("files/%s is used by no case", e.Name())
		}
	}
}

// generator collects a family.
type generator struct {
	t      *testing.T
	family verdicts.Family
	files  map[string][]byte
	states map[string]string // names of devices by their JSON
	ids    map[string]bool

	windows map[string]map[string][]int // of the files
}

func newGenerator(t *testing.T, name, title string, steps []string) *generator {
	return &generator{
		t: t,
		family: verdicts.Family{
			Schema: verdicts.Schema, Name: name, Title: title, Steps: steps,
			Files: map[string]verdicts.Content{}, Devices: map[string]verdicts.Device{},
		},
		files: map[string][]byte{}, states: map[string]string{}, ids: map[string]bool{}, windows: map[string]map[string][]int{},
	}
}

// base notes down a file that inputs begin with.
func (g *generator) base(name string, data []byte) string {
	g.t.Helper()
	if old, ok := g.files[name]; ok && !bytes.Equal(old, data) {
		g.t.Fatalf("two files %s", name)
	}
	g.files[name] = data
	g.family.Files[name] = verdicts.Of(data)
	return name
}

// input describes data as edits of a base, "" for none.
func (g *generator) input(name, base string, data []byte) verdicts.Input {
	g.t.Helper()
	if base != "" && g.files[base] == nil {
		g.t.Fatalf("no file %s", base)
	}
	if g.windows[base] == nil {
		g.windows[base] = windowsOf(g.files[base])
	}
	return verdicts.Input{Name: name, Base: base, Edits: differenceAt(g.files[base], data, g.windows[base]), Content: verdicts.Of(data)}
}

// row is a case to be added.
type row struct {
	id, description string
	device          verdicts.Device
	inputs          []verdicts.Input
	data            map[string][]byte
	want            Answer
	response        string
	source          string
}

// add notes a case down. Our verifier has to agree; where somebody else's code
// gave the verdict, the reason is ours, and the step unless it is known.
func (g *generator) add(r row) {
	g.t.Helper()
	id := g.family.Name + "/" + r.id
	if g.ids[id] {
		g.t.Errorf("%s twice", id)
	}
	g.ids[id] = true
	j, err := Reference(g.t.Context(), r.device, r.data)
	if err != nil {
		g.t.Errorf("%s: %v", id, err)
		return
	}
	if r.source == "" {
		r.source = verdicts.SourceOtapack
	}
	if r.source != verdicts.SourceOtapack {
		r.want.Step, r.want.Reason = cmp.Or(r.want.Step, j.Step), cmp.Or(r.want.Reason, j.Reason)
	}
	if j.Answer != r.want || r.response != "" && j.Response != r.response {
		g.t.Errorf("%s: got %s (%s), want %s (%s)", id, j.Answer, j.Response, r.want, r.response)
	}
	g.family.Cases = append(g.family.Cases, verdicts.Case{
		ID: id, Description: r.description, Device: g.device(r.id, r.device), Inputs: r.inputs,
		Verdict: r.want.Verdict, Step: r.want.Step, Reason: r.want.Reason, Answer: j.Response, Source: r.source, Released: j.Released,
	})
}

// device names a state after the first case that has it.
func (g *generator) device(id string, d verdicts.Device) string {
	g.t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		g.t.Fatal(err)
	}
	name, ok := g.states[string(b)]
	if !ok {
		name = id
		g.states[string(b)], g.family.Devices[name] = name, d
	}
	return name
}

// encode writes one line per file, device and case.
func (g *generator) encode() []byte {
	g.t.Helper()
	var b bytes.Buffer
	line := func(v any) string {
		var one bytes.Buffer
		e := json.NewEncoder(&one)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			g.t.Fatal(err)
		}
		return strings.TrimSuffix(one.String(), "\n")
	}
	f := g.family
	fmt.Fprintf(&b, "{\n\"schema\": %s,\n\"family\": %s,\n\"title\": %s,\n\"steps\": %s,\n", line(f.Schema), line(f.Name), line(f.Title), line(f.Steps))
	fmt.Fprintf(&b, "\"files\": {%s},\n", lines(f.Files, line))
	fmt.Fprintf(&b, "\"devices\": {%s},\n\"cases\": [", lines(f.Devices, line))
	for i, c := range f.Cases {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + line(c))
	}
	b.WriteString("\n]\n}\n")
	return b.Bytes()
}

func lines[V any](m map[string]V, line func(any) string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + line(name) + ": " + line(m[name]))
	}
	return b.String() + "\n"
}

// difference returns the edits that make data of base. It looks for what of the
// base comes next, in runs of at least a window.
func difference(base, data []byte) []verdicts.Edit {
	return differenceAt(base, data, windowsOf(base))
}

const window = 16 // bytes

// windowsOf says where each window of the base stands.
func windowsOf(base []byte) map[string][]int {
	places := map[string][]int{}
	for i := 0; i+window <= len(base); i++ {
		key := string(base[i : i+window])
		places[key] = append(places[key], i)
	}
	return places
}

func differenceAt(base, data []byte, places map[string][]int) []verdicts.Edit {
	const near = 6
	var edits []verdicts.Edit
	at, literal := 0, 0 // in base and data: what comes after the last match
	for i := 0; i < len(data); {
		match := -1
		if same := at + i - literal; same < len(base) && bytes.HasPrefix(data[i:], base[same:min(same+near, len(base))]) {
			match = same // as if bytes were replaced by as many others
		} else if i+window <= len(data) {
			offsets := places[string(data[i:i+window])]
			if k, _ := slices.BinarySearch(offsets, at); k < len(offsets) {
				match = offsets[k]
			}
		}
		if match < 0 {
			i++
			continue
		}
		edits = append(edits, insertions(at, match-at, data[literal:i])...)
		for i < len(data) && match < len(base) && data[i] == base[match] {
			i, match = i+1, match+1
		}
		at, literal = match, i
	}
	return append(edits, insertions(at, len(base)-at, data[literal:])...)
}

// insertions replaces bytes. Long runs of one byte get an edit of their own.
func insertions(at, remove int, data []byte) []verdicts.Edit {
	const long = 32
	var edits []verdicts.Edit
	add := func(b []byte, times int) {
		edits = append(edits, verdicts.Edit{At: at, Remove: remove, Insert: b, Times: times})
		at, remove = at+remove, 0
	}
	start := 0
	for i := 0; i < len(data); {
		end := i + 1
		for end < len(data) && data[end] == data[i] {
			end++
		}
		if end-i >= long {
			if start < i {
				add(data[start:i], 0)
			}
			add(data[i:i+1], end-i)
			start = end
		}
		i = end
	}
	if start < len(data) || remove > 0 {
		add(data[start:], 0)
	}
	return edits
}

// slug makes a part of an id of a sentence.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

func accept() Answer { return Answer{Verdict: verdicts.Accept} }

func refuse[S, R ~string](step S, reason R) Answer {
	return Answer{verdicts.Refuse, string(step), string(reason)}
}

// deterministic signs with the nonce of RFC 6979: that is what crypto/ecdsa does
// without a source of randomness.
type deterministic struct{ *ecdsa.PrivateKey }

func (k deterministic) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, o)
}

// scalar makes a private key of a name. The names are published, and so are the
// keys: internal/release refuses to sign with them.
func scalar(name string) []byte {
	sum := sha256.Sum256([]byte("otapack test key: " + name))
	return sum[:]
}

func newSigner(t testing.TB, key *ecdsa.PrivateKey) sign.Signer {
	t.Helper()
	s, err := sign.FromCrypto(deterministic{key})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testSigner has the P-256 key of a name.
func testSigner(t testing.TB, name string) sign.Signer {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(sign.ESP256.Curve(), scalar(name))
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

func testDeviceKey(t testing.TB, name string) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(scalar(name))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// stream is a source of bytes that depends on a name only.
func stream(name string) io.Reader { return testvectors.Stream("otapack test key: " + name) }

// testBytes are firmware of so many bytes.
func testBytes(t testing.TB, name string, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := io.ReadFull(stream(name), b); err != nil {
		t.Fatal(err)
	}
	return b
}
