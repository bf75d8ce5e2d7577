package provision

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/sign/verdict"
)

// TestDiversifier spells the input out, and pins the vector of
// docs/provisioning.md.
func TestDiversifier(t *testing.T) {
	input := "\x00\x15otapack device key v1" + "\x00\x0atoothbrush" + "\x00\x05radio" + "\x00\x09TB-000001" + "\x00\x07storage" + "\x00\x01\x20"
	sum := sha256.Sum256([]byte(input))
	got := Diversifier("toothbrush", "radio", "TB-000001", "storage", 32)
	if !bytes.Equal(got, sum[:]) {
		t.Errorf("got %x, want %x", got, sum)
	}
	// Two texts never run together, and a short key is no part of a long one.
	for _, other := range [][]byte{
		Diversifier("toothbrush", "radioT", "B-000001", "storage", 32),
		Diversifier("toothbrush", "radio", "TB-000001storage", "", 32),
		Diversifier("toothbrush", "radio", "TB-000001", "storage", 16),
		Diversifier("toothbrus", "hradio", "TB-000001", "storage", 32),
		diversifier(checkDomain, "toothbrush"),
	} {
		if bytes.Equal(other[:16], got[:16]) {
			t.Errorf("%x is the same", other)
		}
	}
	m := newSoft(t) // master key 00..1f, transport key 20..3f
	for _, v := range []struct {
		size                        int
		diversifier, key, blob, kcv string
	}{
		{16, vector16.diversifier, vector16.key, vector16.wrapped, vector16.kcv},
		{32, vector32.diversifier, vector32.key, vector32.wrapped, vector32.kcv},
	} {
		d := Diversifier("toothbrush", "radio", "TB-000001", "storage", v.size)
		key := m.derived(d)
		for _, c := range []struct {
			name, got, want string
		}{
			{"diversifier", hex.EncodeToString(d), v.diversifier},
			{"key", hex.EncodeToString(key), v.key},
			{"wrapped", hex.EncodeToString(m.wrap(key)), v.blob},
			{"kcv", hex.EncodeToString(kcv(key)), v.kcv},
		} {
			if c.got != c.want {
				t.Errorf("%d bytes: %s %s, want %s", v.size, c.name, c.got, c.want)
			}
		}
	}
}

// TestDocumentedVector keeps the page and the vectors here together.
func TestDocumentedVector(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "provisioning.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []vector{vector16, vector32} {
		for _, value := range []string{v.diversifier, v.key, v.wrapped, v.kcv} {
			if !strings.Contains(string(page), value) {
				t.Errorf("docs/provisioning.md lacks %s", value)
			}
		}
	}
}

type vector struct{ diversifier, key, wrapped, kcv string }

// The values were computed with Python's cryptography package.
var (
	vector16 = vector{"970d2a75336c6ba68eb9fc20285f9126", "6de90e7224e3021d5ceb9d9ee3d67e3f", "145fa4c9e8d3aa9bfac3e92ad64e2dd5beb90b828db20feb", "068c7212f4"}
	vector32 = vector{"4c0ea9d15daa5263b5677d4f8f76a52501c3683b9b2e95f16b21e7bea45c8a21", "559fd5e1b7d5225090e027bc83a8d58bbe395a253f466a9ecd05804905ea27c9", "d6c1e767411ceed83b7b2af69c09d8c3e293d372891f6f726f9c777c326876221327e2e32435a9a4", "d943c12215"}
)

// fill runs to the end in a file of its own.
func fill(t *testing.T, path string, h Header, serials []string, m Maker) {
	t.Helper()
	f, err := Open(path, h, serials)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Fill(t.Context(), m, 3, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// readAll reads a complete file.
func readAll(t *testing.T, path string) (Header, []Record) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, records, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return h, records
}

func parse(data []byte) (Header, []Record, error) {
	r, err := NewReader(bytes.NewReader(data))
	if err != nil {
		return Header{}, nil, err
	}
	var records []Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header, records, nil
		}
		if err != nil {
			return r.Header, records, err
		}
		records = append(records, rec)
	}
}

// checkSecrets does what a factory does with every record.
func checkSecrets(t *testing.T, m *soft, h Header, records []Record, serials []string) {
	t.Helper()
	if len(records) != len(serials)*len(h.Secrets) {
		t.Fatalf("%d records, want %d", len(records), len(serials)*len(h.Secrets))
	}
	seen := map[string]bool{}
	for i, r := range records {
		s := h.Secrets[i%len(h.Secrets)]
		if r.Serial != serials[i/len(h.Secrets)] || r.Component != s.Component || r.Purpose != s.Purpose {
			t.Fatalf("record %d is for %s %s %s", i, r.Serial, r.Component, r.Purpose)
		}
		secret := m.unwrap(r.Wrapped)
		if len(secret) != s.Bytes || !bytes.Equal(kcv(secret), r.KCV) {
			t.Fatalf("record %d: %d bytes, check value %x", i, len(secret), []byte(r.KCV))
		}
		if seen[string(secret)] {
			t.Fatalf("record %d: a secret for two", i)
		}
		seen[string(secret)] = true
		switch s.Kind {
		case Derive:
			if want := m.derived(Diversifier(h.Product, s.Component, r.Serial, s.Purpose, s.Bytes)); !bytes.Equal(secret, want) {
				t.Fatalf("record %d: derived %x, want %x", i, secret, want)
			}
		case Recipient:
			key, err := ecdh.P256().NewPrivateKey(secret)
			if err != nil {
				t.Fatal(err)
			}
			to, err := encrypt.ParseRecipient(r.PublicKey)
			if err != nil || !to.Public.Equal(key.PublicKey()) || !bytes.Equal(to.KeyID, r.KeyID) {
				t.Fatalf("record %d: the public half is of another key, %v", i, err)
			}
		case Generate:
		}
	}
}

func TestFill(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 100) // 400 records: several batches
	path := filepath.Join(t.TempDir(), "records.jsonl")
	var progress []int
	f, err := Open(path, h, serials)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Fill(t.Context(), m, 4, func(done int) { progress = append(progress, done) }); err != nil {
		t.Fatal(err)
	}
	if want := []int{128, 256, 384, 400}; !slices.Equal(progress, want) {
		t.Errorf("progress %v, want %v", progress, want)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, records := readAll(t, path)
	if got.differs(h) != "" {
		t.Errorf("header: %s", got.differs(h))
	}
	checkSecrets(t, m, h, records, serials)

	// Again: there is nothing to do.
	before := readFile(t, path)
	calls := m.calls.Load()
	fill(t, path, h, serials, m)
	if !bytes.Equal(before, readFile(t, path)) || m.calls.Load() != calls {
		t.Error("a complete file was changed")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTorn cuts a file off at every byte behind its header.
func TestTorn(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 1)
	path := filepath.Join(t.TempDir(), "records.jsonl")
	fill(t, path, h, serials, m)
	whole := readFile(t, path)
	header := bytes.IndexByte(whole, '\n') + 1
	for size := header; size <= len(whole); size++ {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		kept := bytes.LastIndexByte(whole[:size], '\n') + 1
		f, err := Open(path, h, serials)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if want := bytes.Count(whole[header:kept], []byte("\n")); f.Done() != want || f.Torn() != int64(size-kept) {
			t.Errorf("%d bytes: %d records, %d bytes torn, want %d and %d", size, f.Done(), f.Torn(), want, size-kept)
		}
		if err := f.Fill(t.Context(), m, 1, func(int) {}); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		_, records := readAll(t, path)
		checkSecrets(t, m, h, records, serials)
		if !bytes.HasPrefix(readFile(t, path), whole[:kept]) {
			t.Errorf("%d bytes: a whole record was changed", size)
		}
	}
	// A tail that was allocated and never written.
	for _, tail := range []int{1, 5000, 100_000} {
		if err := os.WriteFile(path, append(bytes.Clone(whole[:header]), make([]byte, tail)...), 0o600); err != nil {
			t.Fatal(err)
		}
		fill(t, path, h, serials, m)
		_, records := readAll(t, path)
		checkSecrets(t, m, h, records, serials)
	}
}

// TestFillStops has the maker fail, or the context end, at every place.
func TestFillStops(t *testing.T) {
	failure := errors.New("no more")
	for _, workers := range []int{1, 4} {
		for stop := range 12 {
			for _, interrupt := range []bool{false, true} {
				m := newSoft(t)
				h, serials := project(t, m, 3)
				path := filepath.Join(t.TempDir(), "records.jsonl")
				f, err := Open(path, h, serials)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				want := failure
				first := m.calls.Load()
				m.fail = func(call int64) error {
					switch {
					case call-first != int64(stop)+1:
						return nil
					case interrupt:
						cancel()
						return nil
					}
					return failure
				}
				if interrupt {
					want = context.Canceled
				}
				err = f.Fill(ctx, m, workers, func(int) {})
				if !errors.Is(err, want) {
					t.Fatalf("stop at %d: %v, want %v", stop, err, want)
				}
				if f.Done() > stop+workers {
					t.Errorf("stop at %d: %d records", stop, f.Done())
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				m.fail = nil
				fill(t, path, h, serials, m)
				_, records := readAll(t, path)
				checkSecrets(t, m, h, records, serials)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 2)
	dir := t.TempDir()
	path := filepath.Join(dir, "records.jsonl")
	fill(t, path, h, serials, m)
	whole := readFile(t, path)
	lines := bytes.SplitAfter(whole, []byte("\n"))

	other := func(change func(*Header)) Header {
		o := h
		o.Secrets = slices.Clone(h.Secrets)
		change(&o)
		return o
	}
	more, moreSerials := project(t, m, 3)
	keys, _ := project(t, softWith(t, make([]byte, 32), make([]byte, 32)), 2)
	for _, c := range []struct {
		h       Header
		serials []string
		want    string
	}{
		{other(func(h *Header) { h.Product = "razor" }), serials, "it is for product toothbrush, not razor"},
		{more, moreSerials, "it is for other devices (2, not 3)"},
		{other(func(h *Header) { h.Secrets[0].Bytes = 32 }), serials, "it has other secrets"},
		{other(func(h *Header) { h.Module = "soft 2.0" }), serials, "its module is soft 1.0, not soft 2.0"},
		{keys, serials, "its transport key or master key is another one"},
	} {
		_, err := Open(path, c.h, c.serials)
		if want := fmt.Sprintf("provision: %s: exists and belongs to another run: %s", path, c.want); !errors.Is(err, ErrOther) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		c.h.Check, c.h.Module = Check{}, "" // not known yet
		if want := strings.Contains(c.want, "module") || strings.Contains(c.want, "key"); (Look(path, c.h) == nil) != want {
			t.Errorf("Look: %v, would it go on: %v", Look(path, c.h), want)
		}
	}
	if err := Look(filepath.Join(dir, "none"), h); err != nil {
		t.Errorf("no file: %v", err)
	}

	// What is not ours is not touched, whatever it is.
	for _, content := range []string{"", "no newline", "a text\n", string(lines[0][:20]), "{}\n"} {
		file := filepath.Join(dir, "other")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file, h, serials); !errors.Is(err, ErrOther) {
			t.Errorf("%q: %v", content, err)
		}
		if err := Look(file, h); !errors.Is(err, ErrOther) {
			t.Errorf("%q: Look: %v", content, err)
		}
		if got := readFile(t, file); string(got) != content {
			t.Errorf("%q became %q", content, got)
		}
	}
	if _, err := Open(dir, h, serials); !errors.Is(err, ErrOther) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(filepath.Join(path, "x"), h, serials); err == nil {
		t.Error("below a file")
	}

	// Records that are damaged, or in another place.
	swapped := bytes.Join([][]byte{lines[0], lines[5], lines[6]}, nil)
	for _, c := range []struct {
		data []byte
		want verdict.Reason
	}{
		{append(bytes.Clone(lines[0]), bytes.Replace(whole[len(lines[0]):], []byte(`"radio"`), []byte(`"motor"`), 1)...), verdict.ProvisionOrder},
		{append(bytes.Clone(whole), lines[1]...), verdict.ProvisionOrder},
		{swapped, verdict.ProvisionOrder},
		{bytes.Join([][]byte{lines[0], lines[2]}, nil), verdict.ProvisionOrder},
		{bytes.Replace(whole, []byte(`{"serial"`), []byte(`{ "serial"`), 1), verdict.ProvisionFormat},
		{append(append(bytes.Clone(whole), make([]byte, 20000)...), '\n'), verdict.ProvisionFormat},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, h, serials); verdict.Of(err) != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
		if !bytes.Equal(readFile(t, path), c.data) {
			t.Errorf("%s: the file was changed", c.want)
		}
	}

	for name, change := range map[string]func(*Header){
		"product":   func(h *Header) { h.Product = "Tooth Brush" },
		"devices":   func(h *Header) { h.Devices.Count = 0 },
		"digest":    func(h *Header) { h.Devices.Digest = "sha256:" + strings.Repeat("0", 64) },
		"no secret": func(h *Header) { h.Secrets = nil },
		"twice":     func(h *Header) { h.Secrets[1] = h.Secrets[0] },
		"bytes":     func(h *Header) { h.Secrets[1].Bytes = 16 },
		"kind":      func(h *Header) { h.Secrets[1].Kind = "deriv" },
		"name":      func(h *Header) { h.Secrets[1].Purpose = "a b" },
		"module":    func(h *Header) { h.Module = "a\x07" },
		"check":     func(h *Header) { h.Check.KCV = nil },
	} {
		if _, err := Open(filepath.Join(dir, "new"), other(change), serials); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a file was made for an unusable header")
	}
}

func TestLock(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 2)
	path := filepath.Join(t.TempDir(), "records.jsonl")
	f, err := Open(path, h, serials)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, h, serials); !errors.Is(err, ErrLocked) {
		t.Errorf("a second run: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, path, h, serials, m)
}

func TestReader(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 2)
	path := filepath.Join(t.TempDir(), "records.jsonl")
	fill(t, path, h, serials, m)
	whole := string(readFile(t, path))
	lines := strings.SplitAfter(whole, "\n")
	head, one, two := lines[0], strings.Join(lines[1:5], ""), strings.Join(lines[5:9], "")
	for _, c := range []struct {
		name, text string
		want       verdict.Reason
		message    string
	}{
		{"empty", "", verdict.ProvisionFormat, "there is no header"},
		{"no line feed", strings.TrimSuffix(head, "\n"), verdict.ProvisionFormat, "there is no header"},
		{"another schema", strings.Replace(whole, "records/1", "records/2", 1), verdict.ProvisionFormat, `schema is "otapack.provision-records/2"`},
		{"unknown member", strings.Replace(whole, `{"schema"`, `{"x":1,"schema"`, 1), verdict.ProvisionFormat, "unknown field"},
		{"repeated member", strings.Replace(whole, `"product":"toothbrush",`, `"product":"toothbrush","product":"toothbrush",`, 1), verdict.ProvisionFormat, "not spelled"},
		{"upper-case hexadecimal", head + strings.Replace(one, `"wrapped":"`, `"wrapped":"AB`, 1) + two, verdict.ProvisionFormat, "not spelled"},
		{"carriage returns", strings.ReplaceAll(whole, "\n", "\r\n"), verdict.ProvisionFormat, "not spelled"},
		{"only a header", head, verdict.ProvisionIncomplete, "8 of 8 are missing"},
		{"half", head + one, verdict.ProvisionIncomplete, "4 of 8 are missing"},
		{"torn", strings.TrimSuffix(whole, "\n"), verdict.ProvisionIncomplete, "1 of 8 are missing, and the file ends in the middle of one"},
		{"too many", whole + one, verdict.ProvisionOrder, "line 10: there are more records than the header says"},
		{"twice", head + one + one, verdict.DuplicateSerial, "line 6: device TB-0001 has records in line 2 already"},
		{"another device", head + one + strings.ReplaceAll(two, "TB-0002", "TB-0003"), verdict.ProvisionOrder, "of other devices"},
		{"changed order", head + two + one, verdict.ProvisionOrder, "of other devices"},
		{"mixed devices", head + lines[1] + lines[6], verdict.ProvisionOrder, "line 3: device TB-0002 begins before device TB-0001 is complete"},
		{"secret left out", head + lines[1] + lines[3], verdict.ProvisionOrder, "line 3: it is for motor storage (derive), want radio update (recipient)"},
		{"serial", strings.ReplaceAll(whole, "TB-0002", "../TB-2"), verdict.BadSerial, `line 6: "../TB-2"`},
		{"key id", head + strings.Replace(one, `"key_id":"`, `"key_id":"00`, 1), verdict.ProvisionFormat, "is not that of the public key"},
		{"public key", head + strings.Replace(one, `"public_key":"MFk`, `"public_key":"MFo`, 1), verdict.ProvisionFormat, "line 3: encrypt: recipient key"},
		{"public key of a secret", head + strings.Replace(one, `"}`, `","key_id":"00"}`, 1), verdict.ProvisionFormat, "line 2: public key of what is no recipient"},
		{"mechanism", head + strings.Replace(one, "KEY_WRAP", "KEY_WRAP_PAD", 1), verdict.ProvisionFormat, "line 2: mechanism and module"},
		{"module", head + strings.Replace(one, "soft 1.0", "soft 1.1", 1), verdict.ProvisionFormat, "line 2: mechanism and module"},
		{"check value", head + strings.Replace(one, `"kcv":"`, `"kcv":"00`, 1), verdict.ProvisionFormat, "line 2: check value of 6 bytes, want 5"},
		{"wrapped", head + strings.Replace(one, `"wrapped":"`, `"wrapped":"00`, 1), verdict.ProvisionFormat, "line 2: 25 bytes wrapped, want 24"},
		{"long line", head + strings.Replace(one, `"TB-0001"`, `"`+strings.Repeat("x", maxRecord)+`"`, 1), verdict.ProvisionFormat, "line 2: longer than 2048 bytes"},
		{"not JSON", head + "hello\n", verdict.ProvisionFormat, "line 2: invalid character"},
	} {
		_, _, err := parse([]byte(c.text))
		if verdict.Of(err) != c.want || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want %q (%s)", c.name, err, c.message, c.want)
		}
	}
}

func TestSelfTest(t *testing.T) {
	m := newSoft(t)
	derive := []Secret{{"radio", "storage", Derive, 16}}
	random := []Secret{{"radio", "update", Recipient, 32}}
	c, err := SelfTest(t.Context(), m, derive, "toothbrush")
	if err != nil {
		t.Fatal(err)
	}
	if key := m.unwrap(c.Wrapped); !bytes.Equal(key, m.derived(diversifier(checkDomain, "toothbrush")[:16])) || !bytes.Equal(c.KCV, kcv(key)) {
		t.Errorf("%x %x", []byte(c.Wrapped), []byte(c.KCV))
	}
	c, err = SelfTest(t.Context(), m, random, "toothbrush")
	if err != nil {
		t.Fatal(err)
	}
	if key := m.unwrap(c.Wrapped); !bytes.Equal(key, make([]byte, 16)) || hex.EncodeToString(c.KCV) != "763cbcde81" {
		t.Errorf("without a master key: %x %x", []byte(c.Wrapped), []byte(c.KCV))
	}
	if _, err := SelfTest(t.Context(), forgetful{m}, derive, "toothbrush"); !errors.Is(err, ErrSelfTest) {
		t.Errorf("two answers: %v", err)
	}
	m.fail = func(int64) error { return io.ErrClosedPipe }
	if _, err := SelfTest(t.Context(), m, derive, "toothbrush"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("no answer: %v", err)
	}
}

// forgetful derives something else each time.
type forgetful struct{ *soft }

func (f forgetful) Derive(ctx context.Context, data []byte) (wrapped, check []byte, err error) {
	return f.Generate(ctx, len(data))
}

func TestRederive(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 2)
	path := filepath.Join(t.TempDir(), "records.jsonl")
	fill(t, path, h, serials, m)
	_, records := readAll(t, path)
	other := make([]byte, 32)
	keys := make([]byte, 32)
	for i := range keys {
		keys[i] = byte(i)
	}
	for _, r := range records {
		compared, err := Rederive(t.Context(), m, h, r)
		if err != nil || compared != (r.Kind == Derive) {
			t.Errorf("%s: %v, %v", r.Kind, compared, err)
		}
		_, err = Rederive(t.Context(), softWith(t, other, other), h, r)
		if (verdict.Of(err) == verdict.ProvisionDiffers) != (r.Kind == Derive) {
			t.Errorf("%s with another master key: %v", r.Kind, err)
		}
		_, err = Rederive(t.Context(), softWith(t, keys, other), h, r)
		if r.Kind == Derive && !strings.Contains(err.Error(), "it is not wrapped under the transport key") {
			t.Errorf("another transport key: %v", err)
		}
	}
	if err := h.CheckKeys(h.Check); err != nil {
		t.Error(err)
	}
	if err := h.CheckKeys(Check{Wrapped: h.Check.Wrapped, KCV: Hex(other[:CheckSize])}); verdict.Of(err) != verdict.ProvisionDiffers {
		t.Errorf("another check: %v", err)
	}
}

func TestWritePublicKeys(t *testing.T) {
	m := newSoft(t)
	h, serials := project(t, m, 2*keysAtOnce+1)
	path := filepath.Join(t.TempDir(), "records.jsonl")
	fill(t, path, h, serials, m)
	dir := filepath.Join(t.TempDir(), "public")
	write := func() (int, error) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return WritePublicKeys(dir, f)
	}
	for range 2 {
		if n, err := write(); err != nil || n != len(serials) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	_, records := readAll(t, path)
	for i, s := range serials {
		to, err := encrypt.ParseRecipient(readFile(t, filepath.Join(dir, s+".radio.update.pub.pem")))
		if err != nil || !bytes.Equal(to.KeyID, records[4*i+1].KeyID) {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != len(serials) {
		t.Errorf("%d files, %v", len(all), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "TB-0001.radio.update.pub.pem"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := write(); !errors.Is(err, atomicfile.ErrExists) {
		t.Errorf("another file: %v", err)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"SoftHSM 2.6": "SoftHSM 2.6", " a\x00b\nc\xff ": "abc", strings.Repeat("ä", 100): strings.Repeat("ä", 64), "": "",
		strings.Repeat("x", 127) + " y": strings.Repeat("x", 127),
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestReadSerials(t *testing.T) {
	for in, want := range map[string]string{
		"serial\nA\nB-1\n":                   "A B-1",
		"lot,serial\r\n7,A\r\n\"x\ny\",B":    "A B",
		"\uFEFFserial\nA\n":                  "A",
		"serial\n\nA\n":                      "A",
		"serial\n" + strings.Repeat("x", 64): strings.Repeat("x", 64),
	} {
		got, err := ReadSerials(strings.NewReader(in))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                                   "devices: it is empty, and should begin with a line of column names (device-list)",
		"serial\n":                           "devices: no device is in it (device-list)",
		"sn\nA\n":                            `devices: line 1: not one column is called "serial" (device-list)`,
		"serial,serial\nA,B\n":               `devices: line 1: not one column is called "serial" (device-list)`,
		"serial\nA\nB\nA\n":                  "devices: line 4: serial A is in line 2 already (duplicate-serial)",
		"lot,serial\n\"x\ny\",A\n1,A\n":      "devices: line 4: serial A is in line 3 already (duplicate-serial)",
		"serial\nA,B\n":                      "devices: line 2: wrong number of fields (device-list)",
		"serial\n\"A\n":                      `devices: line 2: extraneous or missing " in quoted-field (device-list)`,
		"serial\nA B\n":                      `devices: line 2: serial "A B": want 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first (bad-serial)`,
		"serial\n../x\n":                     `devices: line 2: serial "../x": want`,
		"serial,b\n,x\n":                     `devices: line 2: serial "": want`,
		"serial\n" + strings.Repeat("x", 65): "devices: line 2: serial \"xxx",
	} {
		_, err := ReadSerials(strings.NewReader(in))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
	if _, err := ReadSerials(io.MultiReader(strings.NewReader("serial\nA\n"), broken{})); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken file: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestEnumerate(t *testing.T) {
	for _, c := range []struct {
		format       string
		first, count uint64
		want         string // the first and the last, or the error
	}{
		{"TB-%06d", 1, 3, "TB-000001 TB-000003"},
		{"%d", 9, 2, "9 10"},
		{"%02d.C", 98, 2, "98.C 99.C"},
		{"TB-%02d", 98, 3, "provision: unusable range of serials: 100 has more than 2 digits"},
		{"TB", 1, 1, `provision: unusable format of serials: "TB": want`},
		{"%d%d", 1, 1, "provision: unusable format"},
		{"%s", 1, 1, "provision: unusable format"},
		{"%6d", 1, 1, "provision: unusable format"},
		{"%010d", 1, 1, "provision: unusable format"},
		{"-%d", 1, 1, `provision: unusable format of serials: it gives "-1": want`},
		{strings.Repeat("x", 64) + "%d", 1, 1, "provision: unusable format of serials: it gives"},
		{"%d", 1, 0, "provision: unusable range of serials: 0 devices, want 1 to 1000000"},
		{"%d", 1, MaxDevices + 1, "provision: unusable range of serials: 1000001 devices"},
		{"%d", 1<<63 - 2, 1, "9223372036854775806 9223372036854775806"},
		{"%d", 1<<63 - 1, 1, "provision: unusable range of serials: it begins at 9223372036854775807"},
	} {
		got, err := Enumerate(c.format, c.first, c.count)
		if err != nil {
			if !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, ErrSerialFormat) && !errors.Is(err, ErrSerialRange) {
				t.Errorf("%s: %v, want %s", c.format, err, c.want)
			}
			continue
		}
		if text := got[0] + " " + got[len(got)-1]; text != c.want || uint64(len(got)) != c.count {
			t.Errorf("%s: %s, %d, want %s", c.format, text, len(got), c.want)
		}
	}
}

// FuzzReader: what is accepted is what encode writes.
func FuzzReader(f *testing.F) {
	m := newSoft(f)
	h, serials := project(f, m, 1)
	var whole []byte
	line, err := encode(h)
	if err != nil {
		f.Fatal(err)
	}
	whole = append(whole, line...)
	for _, s := range h.Secrets {
		r, err := h.newRecord(f.Context(), m, serials[0], s)
		if err != nil {
			f.Fatal(err)
		}
		if line, err = encode(r); err != nil {
			f.Fatal(err)
		}
		whole = append(whole, line...)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(bytes.Replace(whole, []byte("toothbrush"), []byte("razor"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, records, err := parse(data)
		if h.Schema == "" {
			return
		}
		again, encodeErr := encode(h)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		for _, r := range records {
			line, err := encode(r)
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, line...)
		}
		if !bytes.HasPrefix(data, again) || err == nil && len(again) != len(data) {
			t.Errorf("%q was accepted and is written as %q", data, again)
		}
		if err == nil && len(records) != h.records() {
			t.Errorf("%d records in a complete file, want %d", len(records), h.records())
		}
	})
}

// FuzzReadSerials: what is accepted is unique and reads back as itself.
func FuzzReadSerials(f *testing.F) {
	f.Add("serial\nA\nB\n")
	f.Add("lot,serial\n\"x\ny\",A\n1,B\n")
	f.Add("\uFEFFserial,x\r\nA,\"\"\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		serials, err := ReadSerials(strings.NewReader(in))
		if err != nil {
			return
		}
		again, err := ReadSerials(strings.NewReader("serial\n" + strings.Join(serials, "\n") + "\n"))
		if err != nil || !slices.Equal(serials, again) {
			t.Errorf("%q gave %q, then %q, %v", in, serials, again, err)
		}
	})
}

// BenchmarkFill is what the file costs beside the token: encoding, writing and
// flushing one record.
func BenchmarkFill(b *testing.B) {
	m := newSoft(b)
	h, _ := project(b, m, 1)
	h.Secrets = h.Secrets[:1]
	serials, err := Enumerate("TB-%07d", 1, MaxDevices)
	if err != nil {
		b.Fatal(err)
	}
	serials = serials[:min(b.N, MaxDevices)]
	h.Devices = NewDevices(serials)
	f, err := Open(filepath.Join(b.TempDir(), "records.jsonl"), h, serials)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := f.Fill(b.Context(), m, 1, func(int) {}); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}
