package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/sign"
)

// newProject makes the project of the scripts for a test in Go and returns its
// folder and what runs otapack there.
func newProject(t *testing.T) (dir string, otapack func(args ...string) error) {
	t.Helper()
	needSoftHSM(t)
	dir = t.TempDir()
	otapack = func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), "otapack", args...) // TestMain has put it into PATH
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), envSoftHSM+"=", "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := makeProject(dir, otapack); err != nil {
		t.Fatal(err)
	}
	return dir, otapack
}

// tree lists what is in a folder, without the token's.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && name == devTokenDir {
			return fs.SkipDir
		}
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// TestDamage flips a bit in every byte of a bundle, with and without the
// checksums put right, and cuts the bundle off everywhere, sparing most bytes of
// the payloads. verify must refuse each with exit code 4 and a reason. Only key
// hints may change: they are not signed and say which key to try first.
func TestDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it without the race detector")
	}
	dir, otapack := newProject(t)
	if err := otapack("release", "--version", "1.4.2"); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "dist", "1.4.2", "toothbrush-1.4.2.ota"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	for _, section := range reasonSections(t) {
		for _, r := range section.reasons {
			reasons[r.code] = true
		}
	}
	file := filepath.Join(dir, "damaged.ota")
	verify := func(data []byte) (int, failure) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := execute(t.Context(), []string{
			"verify", file, "--json", "--config", filepath.Join(dir, "otapack.yaml"), "--device-key", "radio=" + filepath.Join(dir, "bench", "radio.key.pem"),
		}, &out, io.Discard)
		var f failure
		if err := json.Unmarshal(out.Bytes(), &f); err != nil {
			t.Fatalf("%v: %s", err, out.Bytes())
		}
		return code, f
	}
	if code, f := verify(good); code != exitOK {
		t.Fatalf("undamaged: exit code %d: %s", code, f.Message)
	}
	refused := func(what string, at int, data []byte) {
		t.Helper()
		if code, f := verify(data); code != exitVerify || f.Exit != code || !reasons[f.Code] {
			t.Errorf("%s at %d: exit code %d, reason %q: %s", what, at, code, f.Code, f.Message)
		}
	}

	z, err := zip.NewReader(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	const step = 101 // between the bytes of a payload that are looked at
	spare := make([]bool, len(good))
	hints := 0
	for _, entry := range z.File {
		start, err := entry.DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		content := good[start : start+int64(entry.UncompressedSize64)]
		hint := keyHint(t, dir, entry.Name, content)
		for at := range content {
			if path.Base(entry.Name) == bundle.PayloadName && at%step != 0 {
				spare[int(start)+at] = true
				continue
			}
			tampered, err := tamper(good, entry, at)
			if err != nil {
				t.Fatal(err)
			}
			if hint.contains(at) {
				hints++
				if code, f := verify(tampered); code != exitOK {
					t.Errorf("key hint of %s at %d: exit code %d: %s", entry.Name, at, code, f.Message)
				}
				continue
			}
			refused(entry.Name+" tampered with", at, tampered)
		}
	}
	if hints != 3*sign.HintSize {
		t.Errorf("%d bytes of key hints, want those of three signatures", hints)
	}
	for at := range good {
		if spare[at] {
			continue
		}
		refused("cut off", at, good[:at])
		flipped := bytes.Clone(good)
		flipped[at] ^= 1 << (at % 8)
		refused("bit flipped", at, flipped)
	}
}

// span is a range of offsets.
type span struct{ start, end int }

func (s span) contains(at int) bool { return s.start <= at && at < s.end }

// keyHint finds the hint of the key that signed an entry; payloads have none.
func keyHint(t *testing.T, dir, entry string, content []byte) span {
	t.Helper()
	alias := "fw"
	switch path.Base(entry) {
	case bundle.PayloadName:
		return span{}
	case bundle.RecordName:
		alias = "release"
	}
	data, err := os.ReadFile(filepath.Join(dir, "keys", alias+".pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.ParsePublicKey(data)
	if err != nil {
		t.Fatal(err)
	}
	hint := key.ID().Hint()
	start := bytes.Index(content, hint[:])
	if start < 0 || bytes.Count(content, hint[:]) != 1 {
		t.Fatalf("%s: no key hint, or more than one", entry)
	}
	return span{start, start + len(hint)}
}
