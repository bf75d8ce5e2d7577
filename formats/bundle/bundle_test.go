package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/otapack/otapack/sign/verdict"
)

func small() Contents {
	return Contents{
		Record: []byte("record"),
		Components: []Component{
			{"radio", []byte("manifest of radio"), section([]byte("payload of radio")), nil},
			{"motor-2", []byte("manifest of motor"), section([]byte("payload of motor")), nil},
		},
	}
}

func encode(t testing.TB, c Contents) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(data []byte) (*Bundle, error) { return Open(bytes.NewReader(data), int64(len(data))) }

// file is one entry for archive/zip, which knows nothing of this package.
type file struct {
	name, data string
	change     func(*zip.FileHeader)
}

// zipped is the archive that archive/zip makes of some entries.
func zipped(t testing.TB, comment string, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{
			Name: f.name, CreatorVersion: 10, ReaderVersion: 10,
			//lint:ignore SA1019 CreateRaw writes the old fields as they are, and only them
			ModifiedDate: 0x21,
			CRC32:        crc32.ChecksumIEEE([]byte(f.data)), CompressedSize64: uint64(len(f.data)), UncompressedSize64: uint64(len(f.data)),
		}
		if f.change != nil {
			f.change(h)
		}
		e, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(e, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetComment(comment); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func smallFiles() []file {
	return []file{
		{name: "release.cbor", data: "record"},
		{name: "radio/manifest.suit", data: "manifest of radio"},
		{name: "radio/payload.bin", data: "payload of radio"},
		{name: "motor-2/manifest.suit", data: "manifest of motor"},
		{name: "motor-2/payload.bin", data: "payload of motor"},
	}
}

func TestWriteIsWhatZipWrites(t *testing.T) {
	got := encode(t, small())
	if want := zipped(t, "", smallFiles()...); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if again := encode(t, small()); !bytes.Equal(got, again) {
		t.Error("the same contents gave other bytes")
	}

	r, err := zip.NewReader(bytes.NewReader(got), int64(len(got)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range smallFiles() {
		data, err := r.Open(want.name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(data) // checks the CRC-32
		if err != nil || string(content) != want.data || r.File[i].Name != want.name {
			t.Errorf("entry %d is %s with %q, %v, want %s with %q", i, r.File[i].Name, content, err, want.name, want.data)
		}
	}
}

func TestOpen(t *testing.T) {
	data := encode(t, small())
	b, err := open(data)
	if err != nil {
		t.Fatal(err)
	}
	want := small()
	if !bytes.Equal(b.Record, want.Record) || len(b.Components) != len(want.Components) {
		t.Fatalf("got %+v", b)
	}
	for i, c := range b.Components {
		payload, err := io.ReadAll(c.Payload)
		wantPayload, _ := io.ReadAll(want.Components[i].Payload)
		if err != nil || c.Name != want.Components[i].Name || !bytes.Equal(c.Manifest, want.Components[i].Manifest) || !bytes.Equal(payload, wantPayload) {
			t.Errorf("component %d: %s, %q, %q, %v", i, c.Name, c.Manifest, payload, err)
		}
	}
	// The payloads have been read to their ends: neither of these minds.
	if err := b.CheckPayloads(); err != nil {
		t.Error(err)
	}
	if again := encode(t, b.Contents); !bytes.Equal(again, data) {
		t.Error("an opened bundle is written in other bytes")
	}
}

// varied is small with variants of the first component.
func varied() Contents {
	c := small()
	c.Components[0].Variants = []Variant{
		{"1.2.0", []byte("manifest from 1.2.0"), section([]byte("patch of 1.2.0"))},
		{"1.3.0-rc.1", []byte("manifest from 1.3.0-rc.1"), section([]byte("patch of 1.3.0-rc.1"))},
	}
	return c
}

func variedFiles() []file {
	files := smallFiles()
	return slices.Insert(files, 3,
		file{name: "radio/from-1.2.0/manifest.suit", data: "manifest from 1.2.0"},
		file{name: "radio/from-1.2.0/payload.bin", data: "patch of 1.2.0"},
		file{name: "radio/from-1.3.0-rc.1/manifest.suit", data: "manifest from 1.3.0-rc.1"},
		file{name: "radio/from-1.3.0-rc.1/payload.bin", data: "patch of 1.3.0-rc.1"},
	)
}

func TestVariants(t *testing.T) {
	data := encode(t, varied())
	if want := zipped(t, "", variedFiles()...); !bytes.Equal(data, want) {
		t.Errorf("got  %x\nwant %x", data, want)
	}
	b, err := open(data)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range varied().Components {
		got := b.Components[i]
		if got.Name != c.Name || len(got.Variants) != len(c.Variants) {
			t.Fatalf("%s has %d variants, want %d of %s", got.Name, len(got.Variants), len(c.Variants), c.Name)
		}
		for j, v := range c.Variants {
			payload, err := io.ReadAll(got.Variants[j].Payload)
			want, _ := io.ReadAll(v.Payload)
			if err != nil || got.Variants[j].Base != v.Base || !bytes.Equal(got.Variants[j].Manifest, v.Manifest) || !bytes.Equal(payload, want) {
				t.Errorf("variant %d: %+v, %q, %v", j, got.Variants[j], payload, err)
			}
		}
	}
	if err := b.CheckPayloads(); err != nil {
		t.Error(err)
	}
	if again := encode(t, b.Contents); !bytes.Equal(again, data) {
		t.Error("an opened bundle is written in other bytes")
	}
	data[bytes.Index(data, []byte("patch of 1.3.0"))] ^= 1
	if b, err = open(data); err != nil {
		t.Fatal(err)
	}
	if err := b.CheckPayloads(); verdict.Of(err) != verdict.BundleChecksum || !strings.Contains(err.Error(), "radio/from-1.3.0-rc.1/payload.bin") {
		t.Errorf("a damaged patch: %v", err)
	}
}

func TestVariantsRefused(t *testing.T) {
	edit := func(f func(files []file) []file) []byte { return zipped(t, "", f(variedFiles())...) }
	rename := func(i int, name string) []byte {
		return edit(func(files []file) []file { files[i].name = name; return files })
	}
	many := smallFiles()[:3]
	for i := range MaxVariants + 1 {
		many = append(many, file{name: fmt.Sprintf("radio/from-%d/manifest.suit", i)}, file{name: fmt.Sprintf("radio/from-%d/payload.bin", i)})
	}
	for _, test := range []struct {
		name   string
		data   []byte
		reason verdict.Reason
	}{
		{"no payload", edit(func(f []file) []file { return slices.Delete(f, 4, 5) }), verdict.BundleEntryOrder},
		{"no manifest", edit(func(f []file) []file { return slices.Delete(f, 3, 4) }), verdict.BundleEntryOrder},
		{"other base's payload", rename(4, "radio/from-1.2.1/payload.bin"), verdict.BundleEntryOrder},
		{"other component's", edit(func(f []file) []file {
			f[3].name, f[4].name = "motor-2/from-1/manifest.suit", "motor-2/from-1/payload.bin"
			return f
		}), verdict.BundleComponentName},
		{"before the component", edit(func(f []file) []file { return slices.Concat(f[:1], f[3:5], f[1:3], f[5:]) }), verdict.BundleComponentName},
		{"base twice", edit(func(f []file) []file { return slices.Insert(f, 5, f[3], f[4]) }), verdict.BundleBaseName},
		{"no base", rename(3, "radio/from-/manifest.suit"), verdict.BundleBaseName},
		{"dots", rename(3, "radio/from-../manifest.suit"), verdict.BundleBaseName},
		{"upper case", rename(3, "radio/from-1.2.0-RC/manifest.suit"), verdict.BundleBaseName},
		{"subfolder", rename(3, "radio/from-1/2/manifest.suit"), verdict.BundleBaseName},
		{"long base", rename(3, "radio/from-"+strings.Repeat("1", MaxBaseName+1)+"/manifest.suit"), verdict.BundleBaseName},
		{"too many", zipped(t, "", many...), verdict.BundleTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			if b, err := open(test.data); verdict.Of(err) != test.reason || b != nil {
				t.Errorf("got %v, want %s", err, test.reason)
			}
		})
	}
	for name, bend := range map[string]func(*Component){
		"malformed base":    func(c *Component) { c.Variants[0].Base = ".." },
		"one base twice":    func(c *Component) { c.Variants[1].Base = c.Variants[0].Base },
		"no payload":        func(c *Component) { c.Variants[1].Payload = nil },
		"too many variants": func(c *Component) { c.Variants = make([]Variant, MaxVariants+1) },
		"large manifest":    func(c *Component) { c.Variants[0].Manifest = make([]byte, MaxManifest+1) },
	} {
		c := varied()
		bend(&c.Components[0])
		var b bytes.Buffer
		if err := Write(&b, c); !errors.Is(err, ErrContents) || b.Len() > 0 {
			t.Errorf("%s: %v, %d bytes written", name, err, b.Len())
		}
	}
}

func TestLargest(t *testing.T) {
	c := Contents{Record: bytes.Repeat([]byte{1}, MaxRecord)}
	for i := range MaxComponents {
		c.Components = append(c.Components, Component{fmt.Sprintf("component-%02d", i), bytes.Repeat([]byte{byte(i)}, MaxManifest), section(nil), nil})
	}
	c.Components[3].Name = "component-long" // 14 bytes
	b, err := open(encode(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.CheckPayloads(); err != nil {
		t.Error(err)
	}
}

// Every truncation, and every bit flipped, is found: by Open, or in a payload by
// CheckPayloads.
func TestDamage(t *testing.T) {
	good := encode(t, small())
	for n := range good {
		if _, err := open(good[:n]); verdict.Of(err) != verdict.BundleTruncated {
			t.Errorf("cut to %d bytes: %v, want %s", n, err, verdict.BundleTruncated)
		}
	}
	bundleReason := func(r verdict.Reason) bool { return strings.HasPrefix(string(r), "bundle-") }
	payload := func(i int) bool {
		for _, text := range []string{"payload of radio", "payload of motor"} {
			if at := bytes.Index(good, []byte(text)); i >= at && i < at+len(text) {
				return true
			}
		}
		return false
	}
	seen := map[verdict.Reason]int{}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			b, err := open(bad)
			if payload(i) {
				if err != nil {
					t.Fatalf("byte %d bit %d: %v, although Open does not read payloads", i, bit, err)
				}
				if err := b.CheckPayloads(); verdict.Of(err) != verdict.BundleChecksum {
					t.Errorf("byte %d bit %d: %v, want %s", i, bit, err, verdict.BundleChecksum)
				}
				continue
			}
			if !bundleReason(verdict.Of(err)) || b != nil {
				t.Errorf("byte %d bit %d: %v, want a bundle reason", i, bit, err)
			}
			seen[verdict.Of(err)]++
		}
	}
	for _, r := range []verdict.Reason{verdict.BundleNotZip, verdict.BundleEntryOrder, verdict.BundleComponentName,
		verdict.BundleNotStored, verdict.BundleTooLarge, verdict.BundleChecksum, verdict.BundleNonCanonical} {
		if seen[r] == 0 {
			t.Errorf("no flipped bit gave %s: %v", r, seen)
		}
	}
}

func TestRefused(t *testing.T) {
	edit := func(f func(files []file) []file) []byte { return zipped(t, "", f(smallFiles())...) }
	header := func(i int, change func(h *zip.FileHeader)) []byte {
		return edit(func(files []file) []file { files[i].change = change; return files })
	}
	rename := func(i int, name string) []byte {
		return edit(func(files []file) []file { files[i].name = name; return files })
	}
	setTime := func(time, date uint16) func(h *zip.FileHeader) {
		return func(h *zip.FileHeader) {
			//lint:ignore SA1019 CreateRaw writes the old fields as they are, and only them
			h.ModifiedTime, h.ModifiedDate = time, date
		}
	}
	many := []file{{name: "release.cbor"}}
	for i := range MaxComponents + 1 {
		many = append(many, file{name: fmt.Sprintf("c%d/manifest.suit", i)}, file{name: fmt.Sprintf("c%d/payload.bin", i)})
	}
	good := encode(t, small())
	var deflated, described bytes.Buffer
	for _, f := range []struct {
		to     *bytes.Buffer
		method uint16
	}{{&deflated, zip.Deflate}, {&described, zip.Store}} {
		w := zip.NewWriter(f.to)
		for _, file := range smallFiles() {
			e, err := w.CreateHeader(&zip.FileHeader{Name: file.name, Method: f.method})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(e, file.data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	endOf := func(n uint16) []byte { // claims another number of entries
		data := bytes.Clone(good)
		binary.LittleEndian.PutUint16(data[len(data)-14:], n)
		binary.LittleEndian.PutUint16(data[len(data)-12:], n)
		return data
	}

	for _, test := range []struct {
		name   string
		data   []byte
		reason verdict.Reason
		offset int64
	}{
		{"empty", nil, verdict.BundleTruncated, 0},
		{"other file", []byte("hello, this is text and not a zip at all"), verdict.BundleNotZip, 0},
		{"short other file", []byte("PKx"), verdict.BundleNotZip, 0},
		{"empty zip", zipped(t, ""), verdict.BundleNotZip, 0},
		{"bytes before", append([]byte("#!"), good...), verdict.BundleNotZip, 0},
		{"byte after", append(bytes.Clone(good), 0), verdict.BundleTrailingBytes, int64(len(good))},
		{"twice", append(bytes.Clone(good), good...), verdict.BundleTrailingBytes, int64(len(good))},
		{"comment", zipped(t, "x", smallFiles()...), verdict.BundleNonCanonical, int64(len(good)) - 2},
		{"no component", zipped(t, "", smallFiles()[0]), verdict.BundleEntryOrder, 48},
		{"no record", zipped(t, "", smallFiles()[1:]...), verdict.BundleEntryOrder, 0},
		{"no payload", zipped(t, "", smallFiles()[:2]...), verdict.BundleEntryOrder, 114},
		{"no manifest", edit(func(f []file) []file { return append(f[:1], f[2:]...) }), verdict.BundleEntryOrder, 48},
		{"payload first", edit(func(f []file) []file { f[1], f[2] = f[2], f[1]; return f }), verdict.BundleEntryOrder, 48},
		{"record last", edit(func(f []file) []file { return append(f[1:], f[0]) }), verdict.BundleEntryOrder, 0},
		{"extra entry", edit(func(f []file) []file { return append(f, file{name: "README"}) }), verdict.BundleEntryOrder, 310},
		{"folder entry", edit(func(f []file) []file { return append(f, file{name: "x/"}) }), verdict.BundleEntryOrder, 310},
		{"component twice", edit(func(f []file) []file { return append(f, f[1], f[2]) }), verdict.BundleComponentName, 310},
		{"other component's payload", rename(2, "motor/payload.bin"), verdict.BundleEntryOrder, 114},
		{"upper case", rename(1, "Radio/manifest.suit"), verdict.BundleComponentName, 48},
		{"no name", rename(1, "/manifest.suit"), verdict.BundleComponentName, 48},
		{"dots", rename(1, "../manifest.suit"), verdict.BundleComponentName, 48},
		{"hyphen first", rename(1, "-r/manifest.suit"), verdict.BundleComponentName, 48},
		{"subfolder", rename(1, "a/b/manifest.suit"), verdict.BundleComponentName, 48},
		{"zero byte", rename(1, "rad\x00o/manifest.suit"), verdict.BundleComponentName, 48},
		{"long name", rename(1, "component-longe/manifest.suit"), verdict.BundleComponentName, 48},
		{"longer name", rename(1, strings.Repeat("x", maxEntryName-len("/manifest.suit")+1)+"/manifest.suit"), verdict.BundleEntryOrder, 48},
		{"backslash", rename(1, `radio\manifest.suit`), verdict.BundleEntryOrder, 48},
		{"too many components", zipped(t, "", many...), verdict.BundleTooLarge, 0},
		{"large record", edit(func(f []file) []file { f[0].data = strings.Repeat("x", MaxRecord+1); return f }), verdict.BundleTooLarge, 0},
		{"large manifest", edit(func(f []file) []file { f[3].data = strings.Repeat("x", MaxManifest+1); return f }), verdict.BundleTooLarge, 177},
		{"deflated", deflated.Bytes(), verdict.BundleNotStored, 0},
		{"encrypted", header(2, func(h *zip.FileHeader) { h.Flags = 1 }), verdict.BundleNotStored, 114},
		{"data descriptors", described.Bytes(), verdict.BundleNonCanonical, 4},
		{"UTF-8 flag", header(0, func(h *zip.FileHeader) { h.Flags = 0x800 }), verdict.BundleNonCanonical, 7},
		{"time", header(0, setTime(1, 0x21)), verdict.BundleNonCanonical, 10},
		{"date", header(2, setTime(0, 0x22)), verdict.BundleNonCanonical, 126},
		{"extra field", header(0, func(h *zip.FileHeader) { h.Extra = []byte{1, 0, 0, 0} }), verdict.BundleNonCanonical, 28},
		{"entry comment", header(0, func(h *zip.FileHeader) { h.Comment = "x" }), verdict.BundleNonCanonical, 342},
		{"version needed", header(0, func(h *zip.FileHeader) { h.ReaderVersion = 20 }), verdict.BundleNonCanonical, 4},
		{"made on unix", header(0, func(h *zip.FileHeader) { h.CreatorVersion = 3<<8 | 10 }), verdict.BundleNonCanonical, 315},
		{"attributes", header(4, func(h *zip.FileHeader) { h.ExternalAttrs = 1 }), verdict.BundleNonCanonical, 601},
		{"wrong CRC of record", header(0, func(h *zip.FileHeader) { h.CRC32++ }), verdict.BundleChecksum, 42},
		{"wrong CRC of manifest", header(1, func(h *zip.FileHeader) { h.CRC32++ }), verdict.BundleChecksum, 97},
		{"sizes differ", header(2, func(h *zip.FileHeader) { h.CompressedSize64-- }), verdict.BundleNonCanonical, 132},
		{"large payload", header(2, func(h *zip.FileHeader) { h.CompressedSize64, h.UncompressedSize64 = 1<<31, 1<<31 }), verdict.BundleTruncated, 161},
		{"zip64 payload", header(2, func(h *zip.FileHeader) { h.CompressedSize64, h.UncompressedSize64 = 1<<32, 1<<32 }), verdict.BundleTooLarge, 114},
		{"fewer entries in the end record", endOf(4), verdict.BundleNonCanonical, int64(len(good)) - 14},
		{"more entries in the end record", endOf(6), verdict.BundleNonCanonical, int64(len(good)) - 14},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := open(test.data)
			if verdict.Of(err) != test.reason || b != nil {
				t.Fatalf("got %v, want %s", err, test.reason)
			}
			if e, _ := errors.AsType[*verdict.Error](err); e.Offset != test.offset && test.name != "too many components" {
				t.Errorf("%v, want offset %d", err, test.offset)
			}
		})
	}
	for _, size := range []int64{-1, MaxSize + 1} {
		if _, err := Open(bytes.NewReader(good), size); verdict.Of(err) == "" {
			t.Errorf("opened with size %d: %v", size, err)
		}
	}
	// The file is shorter than it was said to be.
	for _, n := range []int{10, 100, 130, len(good) - 30} {
		if _, err := Open(bytes.NewReader(good[:n]), int64(len(good))); verdict.Of(err) != verdict.BundleTruncated {
			t.Errorf("cut to %d bytes behind its back: %v, want %s", n, err, verdict.BundleTruncated)
		}
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

// An error of the reader is passed on and is no verdict about the file.
func TestReadError(t *testing.T) {
	good := encode(t, small())
	for i := range good {
		b, err := Open(failing{good, int64(i)}, int64(len(good)))
		if err == nil {
			err = b.CheckPayloads()
		}
		if !errors.Is(err, iotest.ErrTimeout) || verdict.Of(err) != "" {
			t.Fatalf("byte %d: %v, want the reader's error", i, err)
		}
	}
}

func TestCheckPayloadsTruncated(t *testing.T) {
	good := encode(t, small())
	b, err := open(good)
	if err != nil {
		t.Fatal(err)
	}
	b.payloads[1].data = io.NewSectionReader(strings.NewReader("payl"), 0, b.payloads[1].data.Size())
	if err := b.CheckPayloads(); verdict.Of(err) != verdict.BundleTruncated {
		t.Errorf("got %v, want %s", err, verdict.BundleTruncated)
	}
}

func TestWriteErrors(t *testing.T) {
	edit := func(f func(c *Contents)) Contents {
		c := small()
		f(&c)
		return c
	}
	big := func(n int64) *io.SectionReader { return io.NewSectionReader(zeros{}, 0, n) }
	for _, test := range []struct {
		name string
		c    Contents
		want error
	}{
		{"nothing", Contents{}, ErrContents},
		{"too many components", edit(func(c *Contents) { c.Components = make([]Component, MaxComponents+1) }), ErrContents},
		{"large record", edit(func(c *Contents) { c.Record = make([]byte, MaxRecord+1) }), ErrContents},
		{"large manifest", edit(func(c *Contents) { c.Components[1].Manifest = make([]byte, MaxManifest+1) }), ErrContents},
		{"large payload", edit(func(c *Contents) { c.Components[1].Payload = big(MaxSize + 1) }), ErrContents},
		{"name twice", edit(func(c *Contents) { c.Components[1].Name = "radio" }), ErrContents},
		{"no name", edit(func(c *Contents) { c.Components[1].Name = "" }), ErrContents},
		{"long name", edit(func(c *Contents) { c.Components[1].Name = "component-longe" }), ErrContents},
		{"bad name", edit(func(c *Contents) { c.Components[1].Name = "../x" }), ErrContents},
		{"no payload", edit(func(c *Contents) { c.Components[1].Payload = nil }), ErrContents},
		{"short payload", edit(func(c *Contents) { c.Components[1].Payload = io.NewSectionReader(strings.NewReader("x"), 0, 2) }), io.ErrUnexpectedEOF},
		{"unreadable payload", edit(func(c *Contents) { c.Components[1].Payload = io.NewSectionReader(failing{[]byte("x"), 0}, 0, 1) }), iotest.ErrTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Write(&b, test.c); !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), "bundle: ") {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if b.Len() != 0 {
				t.Errorf("%d bytes were written", b.Len())
			}
		})
	}
	for n := range len(encode(t, small())) {
		if err := Write(&full{n}, small()); !errors.Is(err, iotest.ErrTimeout) {
			t.Fatalf("writer that is full after %d bytes: %v", n, err)
		}
	}
	c := small()
	c.Components[0].Payload = io.NewSectionReader(&changing{}, 0, 10)
	if err := Write(io.Discard, c); err == nil || !strings.Contains(err.Error(), "content changed") {
		t.Errorf("payload that changes: %v", err)
	}
}

// full takes n bytes.
type full struct{ n int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.n {
		return f.n, iotest.ErrTimeout
	}
	f.n -= len(p)
	return len(p), nil
}

// changing gives other bytes each time it is read.
type changing struct{ n byte }

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	c.n++
	for i := range p {
		p[i] = c.n
	}
	return len(p), nil
}

// zeros is an endless file of zero bytes.
type zeros struct{}

func (zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	return len(p), nil
}

func FuzzOpen(f *testing.F) {
	f.Add(encode(f, small()))
	f.Add(encode(f, varied()))
	f.Add(encode(f, Contents{nil, []Component{{"a", nil, section(nil), nil}}}))
	f.Add(zipped(f, "comment", smallFiles()...))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := open(data)
		if err == nil {
			err = b.CheckPayloads()
		}
		if err != nil {
			if !strings.HasPrefix(string(verdict.Of(err)), "bundle-") {
				t.Fatalf("no bundle reason: %v", err)
			}
			return
		}
		if again := encode(t, b.Contents); !bytes.Equal(again, data) {
			t.Fatalf("accepted  %x\nwritten as %x", data, again)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	const size = 64 << 20
	c := Contents{nil, []Component{{"radio", nil, io.NewSectionReader(zeros{}, 0, size), nil}}}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(io.Discard, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	data := encode(b, small())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := open(data); err != nil {
			b.Fatal(err)
		}
	}
}
