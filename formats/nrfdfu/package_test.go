package nrfdfu_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// entry is a file of an archive.
type entry struct {
	name, content string
	method        uint16
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err == nil {
			_, err = io.WriteString(f, e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const application = `{"manifest":{"application":{"bin_file":"a.bin","dat_file":"a.dat"}}}`

func TestParsePackageAccepts(t *testing.T) {
	bin, dat := entry{"a.bin", "firmware", zip.Deflate}, entry{"a.dat", "packet", zip.Store}
	for name, c := range map[string]struct {
		entries []entry
		extra   []string
	}{
		"any order, deflated": {[]entry{dat, {"manifest.json", application, zip.Deflate}, bin}, nil},
		"folders and extras":  {[]entry{{"x/", "", zip.Store}, {"x/y.txt", "", zip.Store}, dat, bin, {"manifest.json", application, zip.Store}}, []string{"x/y.txt"}},
		"null kinds":          {[]entry{dat, bin, {"manifest.json", `{"manifest":{"bootloader":null,"application":{"bin_file":"a.bin","dat_file":"a.dat","info_read_only_metadata":null}}}` + "\n", zip.Store}}, nil},
		"metadata": {[]entry{dat, bin, {
			"manifest.json",
			`{"manifest":{"application":{"bin_file":"a.bin","dat_file":"a.dat","info_read_only_metadata":{"is_debug":false,"hw_version":52,"softdevice_req":[183]}}}}`, zip.Store,
		}}, nil},
	} {
		p, err := nrfdfu.ParsePackage(archive(t, c.entries...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(p.Extra, c.extra) || len(p.Images) != 1 {
			t.Errorf("%s: %d images, extra %q", name, len(p.Images), p.Extra)
			continue
		}
		if m := p.Images[0]; m.Kind != nrfdfu.KindApplication || string(m.Firmware) != "firmware" || string(m.Packet) != "packet" || m.Sizes != nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestParsePackageRefuses(t *testing.T) {
	manifest := func(text string) []byte {
		return archive(t, entry{"manifest.json", text, zip.Store}, entry{"a.bin", "b", zip.Store}, entry{"a.dat", "d", zip.Store})
	}
	with := func(e ...entry) []byte {
		return archive(t, append(e, entry{"manifest.json", application, zip.Store}, entry{"a.bin", "b", zip.Store}, entry{"a.dat", "d", zip.Store})...)
	}
	many := make([]entry, nrfdfu.MaxEntries)
	for i := range many {
		many[i].name = fmt.Sprint(i)
	}
	good := with()
	// The central directory is the last place where the name stands.
	header := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b[bytes.LastIndex(b, []byte("a.bin"))-46:])
		return b
	}
	local := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b[bytes.Index(b, []byte("a.bin"))-30:])
		return b
	}
	corrupt := bytes.Clone(good)
	corrupt[bytes.Index(corrupt, []byte("a.bin"))+len("a.bin")] ^= 1

	for name, c := range map[string]struct {
		data   []byte
		reason verdict.Reason
	}{
		"empty":                    {nil, verdict.DFUZip},
		"no zip":                   {[]byte("not an archive"), verdict.DFUZip},
		"cut":                      {good[:len(good)-1], verdict.DFUZip},
		"too long":                 {make([]byte, nrfdfu.MaxPackage+1), verdict.DFUZipLimit},
		"no entry":                 {archive(t), verdict.DFUZipEntry},
		"too many entries":         {with(many...), verdict.DFUZipLimit},
		"entry twice":              {with(entry{"a.bin", "other", zip.Store}), verdict.DFUZip},
		"entry and folder":         {with(entry{"a.bin/", "", zip.Store}), verdict.DFUZip},
		"leaves the folder":        {with(entry{"../a", "", zip.Store}), verdict.DFUZip},
		"absolute":                 {with(entry{"/a", "", zip.Store}), verdict.DFUZip},
		"backslash":                {with(entry{`b\a`, "", zip.Store}), verdict.DFUZip},
		"long name":                {with(entry{strings.Repeat("n", 129), "", zip.Store}), verdict.DFUZipLimit},
		"encrypted":                {header(func(b []byte) { b[8] |= 1 }), verdict.DFUZip},
		"other compression":        {header(func(b []byte) { b[10] = 12 }), verdict.DFUZip},
		"16 MiB and a byte":        {archive(t, entry{"manifest.json", application, zip.Store}, entry{"a.dat", "d", zip.Store}, entry{"a.bin", string(make([]byte, nrfdfu.MaxFirmware+1)), zip.Deflate}), verdict.DFUZipLimit},
		"size of one more":         {header(func(b []byte) { b[24]++ }), verdict.DFUZip},
		"something in front":       {append([]byte("MZ"), good...), verdict.DFUZip},
		"hidden entry":             {hidden(t), verdict.DFUZip},
		"other name in front":      {local(func(b []byte) { b[30] = 'b' }), verdict.DFUZip},
		"other length in front":    {local(func(b []byte) { b[26]++ }), verdict.DFUZip},
		"other field in front":     {local(func(b []byte) { b[28]++ }), verdict.DFUZip},
		"other compression there":  {local(func(b []byte) { b[8] = 8 }), verdict.DFUZip},
		"no sizes there":           {local(func(b []byte) { b[6] = 0 }), verdict.DFUZip},
		"content":                  {corrupt, verdict.DFUZip},
		"no manifest":              {archive(t, entry{"a.bin", "b", zip.Store}), verdict.DFUZipEntry},
		"manifest too long":        {manifest(strings.Repeat(" ", 65537)), verdict.DFUZipLimit},
		"no such bin_file":         {manifest(`{"manifest":{"application":{"bin_file":"b.bin","dat_file":"a.dat"}}}`), verdict.DFUZipEntry},
		"no such dat_file":         {manifest(`{"manifest":{"application":{"bin_file":"a.bin","dat_file":"b.dat"}}}`), verdict.DFUZipEntry},
		"empty manifest":           {manifest(""), verdict.DFUManifest},
		"array":                    {manifest("[]"), verdict.DFUManifest},
		"no manifest object":       {manifest("{}"), verdict.DFUManifest},
		"no image":                 {manifest(`{"manifest":{}}`), verdict.DFUManifest},
		"unknown kind":             {manifest(`{"manifest":{"modem":{"bin_file":"a.bin","dat_file":"a.dat"}}}`), verdict.DFUManifest},
		"dfu_version of old tools": {manifest(`{"manifest":{"dfu_version":0.5}}`), verdict.DFUManifest},
		"no dat_file":              {manifest(`{"manifest":{"application":{"bin_file":"a.bin"}}}`), verdict.DFUManifest},
		"one file for both":        {manifest(`{"manifest":{"application":{"bin_file":"a.bin","dat_file":"a.bin"}}}`), verdict.DFUManifest},
		"key twice":                {manifest(`{"manifest":{"application":{"bin_file":"a.bin","bin_file":"a.bin","dat_file":"a.dat"}}}`), verdict.DFUManifest},
		"key in upper case":        {manifest(`{"manifest":{"Application":{"bin_file":"a.bin","dat_file":"a.dat"}}}`), verdict.DFUManifest},
		"key with a long s":        {manifest(`{"manifest":{"ſoftdevice":{"bin_file":"a.bin","dat_file":"a.dat"}}}`), verdict.DFUManifest},
		"name is a number":         {manifest(`{"manifest":{"application":{"bin_file":1,"dat_file":"a.dat"}}}`), verdict.DFUManifest},
		"two objects":              {manifest(application + application), verdict.DFUManifest},
		"deep":                     {manifest(strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)), verdict.DFUManifest},
	} {
		if _, err := nrfdfu.ParsePackage(c.data); verdict.Of(err) != c.reason {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
}

// hidden makes an archive with an entry that the directory does not have: that
// of the same archive without it, moved.
func hidden(t testing.TB) []byte {
	t.Helper()
	rest := []entry{{"manifest.json", application, zip.Store}, {"a.bin", "b", zip.Store}, {"a.dat", "d", zip.Store}}
	long, short := archive(t, append(rest, entry{"b.bin", "other", zip.Store})...), archive(t, rest...)
	central := []byte("PK\x01\x02")
	file := append(long[:bytes.Index(long, central):bytes.Index(long, central)], short[bytes.Index(short, central):]...)
	end := file[len(file)-22:]
	binary.LittleEndian.PutUint32(end[16:], uint32(bytes.Index(long, central)))
	return file
}

// TestLocal reads the same archive with numbers in front of the contents, as
// pc-nrfutil has it, and behind.
func TestLocal(t *testing.T) {
	for name, file := range map[string][]byte{
		"in front": finish(t, nrfdfu.Options{SDReq: []uint32{1}, Application: &nrfdfu.Part{Firmware: bin(t, []byte("a"))}}, throwaway(t)),
		"behind":   archive(t, entry{"manifest.json", application, zip.Deflate}, entry{"a.bin", "b", zip.Deflate}, entry{"a.dat", "", zip.Store}),
	} {
		if _, err := nrfdfu.ParsePackage(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range file {
			changed := bytes.Clone(file)
			changed[i] ^= 0xff
			if _, err := nrfdfu.ParsePackage(changed); err != nil && verdict.Of(err) == "" {
				t.Errorf("%s, byte %d: %v", name, i, err)
			}
		}
	}
}

// TestManifest compares manifest.json with pc-nrfutil's, byte for byte.
func TestManifest(t *testing.T) {
	content := func(file []byte) string {
		r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Open("manifest.json")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	signer := throwaway(t)
	all := rebuilt(t)
	for _, name := range []string{"pkg/09_sd_bl.zip", "pkg/12_bl.zip", "pkg/18_app_gap.zip"} {
		golden, err := testvectors.Read(folder + name)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := content(finish(t, all[name], signer)), content(golden); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// TestEntries fixes what is in a package that we write, and in which order.
func TestEntries(t *testing.T) {
	file := finish(t, nrfdfu.Options{
		SDReq: []uint32{0xb7}, AppSDReq: []uint32{0x101},
		SoftDevice:  &nrfdfu.Part{Firmware: softDevice(t, 0x101, 132, 7002000, 0x26000)},
		Bootloader:  &nrfdfu.Part{Firmware: bin(t, []byte("b")), Version: 1},
		Application: &nrfdfu.Part{Firmware: bin(t, []byte("a")), Version: 1},
	}, throwaway(t))
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
		if f.Method != zip.Store || f.Flags != 0 || len(f.Extra) != 0 || f.Modified.Year() != 1980 {
			t.Errorf("%s: method %d, flags %#x, extra %x, time %s", f.Name, f.Method, f.Flags, f.Extra, f.Modified)
		}
	}
	if want := []string{"manifest.json", "sd_bl.dat", "sd_bl.bin", "application.dat", "application.bin"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestDescribe(t *testing.T) {
	for _, v := range vectors(t) {
		d := v.pack(t).Describe()
		if len(d.Images) != 1 {
			t.Fatalf("%s: %d images", v.File, len(d.Images))
		}
		m := d.Images[0]
		unreadable := slices.Contains([]string{"neg/09_sig_der.zip", "neg/27_signed_and_unsigned.zip", "neg/35_bv_4_entries.zip"}, v.File)
		if (m.Error != "") != unreadable || unreadable && m.Reason == "" {
			t.Errorf("%s: error %q (%s)", v.File, m.Error, m.Reason)
		}
		unusual := unreadable || slices.Contains([]string{"neg/24_init_before_opcode.zip", "neg/30_nonminimal_varint.zip", "neg/31_unknown_field.zip", "neg/34_init_512.zip"}, v.File)
		if m.Canonical == unusual {
			t.Errorf("%s: canonical is %t", v.File, m.Canonical)
		}
	}
	d := vectors(t)[0].pack(t).Describe().Images[0]
	if *d.FWVersion != 1 || *d.HWVersion != 52 || !slices.Equal(d.SDReq, []uint32{183}) || d.Type != "APPLICATION" || *d.AppSize != 20480 ||
		d.HashType != "SHA256" || d.SHA256 != "74efd3b1bc601f4a287ca1751be666dbe883f9f74b3665876615ec5a882f6c85" || d.SignatureType != "ECDSA_P256_SHA256" ||
		len(d.Signature) != 128 || d.SignedSize != 64 || len(d.BootValidations) != 1 || d.BootValidations[0].Type != "VALIDATE_GENERATED_CRC" {
		t.Errorf("got %+v", d)
	}
}
