package testvectors_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/otapack/otapack/testvectors"
)

func TestErrors(t *testing.T) {
	read := func(name string) error { _, err := testvectors.Read(name); return err }
	digits := func(name string) error { _, err := testvectors.Hex(name); return err }
	cases := func(pattern string) error { _, err := testvectors.Cases(pattern); return err }
	object := func(name string) error { return testvectors.JSON(name, new(map[string]any)) }

	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"read: no such file", read("suit/none.hex"), fs.ErrNotExist},
		{"read: path leaves the package", read("../go.mod"), fs.ErrNotExist},
		{"hex: no such file", digits("suit/none.hex"), fs.ErrNotExist},
		{"hex: not hexadecimal", digits("suit/README.md"), hex.InvalidByteError('#')},
		{"json: no such file", object("suit/none.json"), fs.ErrNotExist},
		{"cases: nothing matches", cases("suit/*.none"), fs.ErrNotExist},
		{"cases: bad pattern", cases("suit/[a"), path.ErrBadPattern},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !errors.Is(tt.err, tt.want) {
				t.Fatalf("got %v, want %v", tt.err, tt.want)
			}
			if !strings.HasPrefix(tt.err.Error(), "testvectors: ") {
				t.Errorf("%q does not name the package", tt.err)
			}
		})
	}
	if err := object("suit/README.md"); err == nil || !strings.Contains(err.Error(), "suit/README.md") {
		t.Errorf("json: got %v, want an error that names the file", err)
	}
}

// Every .hex and .json file of every topic must load, and every topic must say
// where its files come from.
func TestFiles(t *testing.T) {
	loaded := 0
	err := fs.WalkDir(testvectors.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && name != "." && !strings.Contains(name, "/"):
			if _, err := testvectors.Read(name + "/README.md"); err != nil {
				t.Error(err)
			}
		case path.Ext(name) == ".hex" && strings.HasPrefix(name, "suit/"): // elsewhere .hex is Intel HEX
			b, err := testvectors.Hex(name)
			if err != nil || len(b) == 0 {
				t.Errorf("%s: %d bytes, %v", name, len(b), err)
			}
			loaded++
		case path.Ext(name) == ".json":
			if err := testvectors.JSON(name, new(any)); err != nil {
				t.Error(err)
			}
			loaded++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if loaded == 0 {
		t.Error("no vectors are embedded")
	}
}

func TestHex(t *testing.T) {
	b, err := testvectors.Hex("suit/manifest-37/example0-unsigned.hex")
	if err != nil {
		t.Fatal(err)
	}
	if head := hex.EncodeToString(b[:4]); len(b) != 161 || head != "d86ba202" {
		t.Errorf("got %d bytes that begin with %s, want 161 with d86ba202", len(b), head)
	}
	b[0] = 0
	if again, err := testvectors.Hex("suit/manifest-37/example0-unsigned.hex"); err != nil || again[0] != 0xd8 {
		t.Errorf("a change of the result reaches the next caller: % x, %v", again[:4], err)
	}
}

func TestCases(t *testing.T) {
	names, err := testvectors.Cases("suit/libcsuit/*.suit")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 7 || names[0] != "suit/libcsuit/suit_manifest_exp0.suit" {
		t.Errorf("got %q, want seven envelopes, exp0 first", names)
	}
}

func TestStream(t *testing.T) {
	a, again, b := testvectors.Bytes("a", 100), testvectors.Bytes("a", 200)[:100], testvectors.Bytes("b", 100)
	if !bytes.Equal(a, again) || bytes.Equal(a, b) || bytes.Equal(a[:50], a[50:]) {
		t.Errorf("%x\n%x\n%x", a, again, b)
	}
}

func TestMCUboot(t *testing.T) {
	images, err := testvectors.MCUbootImages()
	if err != nil || len(images) != 31 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	files := map[string][]byte{}
	for _, g := range images {
		if files[g.Name], err = g.File(); err != nil {
			t.Error(err)
		}
	}
	g := images[0]
	g.TLVs = ""
	if _, err := g.File(); err == nil {
		t.Error("an image without its TLVs is imgtool's")
	}
	mutations, err := testvectors.MCUbootMutations()
	if err != nil || len(mutations) != 121 {
		t.Fatalf("%d mutations, %v", len(mutations), err)
	}
	for _, m := range mutations {
		file := files[m.Base]
		before := bytes.Clone(file)
		changed, err := m.Apply(file)
		if err != nil {
			t.Error(err)
		}
		if !bytes.Equal(file, before) {
			t.Errorf("%s, %s: changes what it was given", m.Base, m.Why)
		}
		if bytes.Equal(file, changed) {
			t.Logf("%s, %s: changes nothing", m.Base, m.Why)
		}
	}
	m := mutations[0]
	m.Ops[0].Op = "rot13"
	if _, err := m.Apply(files[m.Base]); err == nil {
		t.Error("an unknown operation passes")
	}
}
