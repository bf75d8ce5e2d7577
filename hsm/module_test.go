//go:build cgo

package hsm

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
)

func TestCheckModule(t *testing.T) {
	softhsm := modulePath(t)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	elf, err := os.ReadFile(softhsm)
	if err != nil {
		t.Fatal(err)
	}
	foreign := append([]byte(nil), elf...)
	binary.LittleEndian.PutUint16(foreign[18:], 22) // e_machine: EM_S390
	program := append([]byte(nil), elf...)
	binary.LittleEndian.PutUint16(program[16:], 2) // e_type: ET_EXEC
	headless := append([]byte(nil), elf...)
	clear(headless[40:48]) // e_shoff
	clear(headless[60:64]) // e_shnum, e_shstrndx

	for _, c := range []struct{ name, path, says string }{
		{"relative", "libsofthsm2.so", "not an absolute path"},
		{"empty", "", "not an absolute path"},
		{"missing", filepath.Join(dir, "none.so"), "no such file"},
		{"directory", dir, "not a regular file"},
		{"text", write("text.so", []byte("not a library")), "not an ELF shared object"},
		{"empty file", write("empty.so", nil), "not an ELF shared object"},
		{"cut", write("cut.so", elf[:200]), "not an ELF shared object"},
		{"foreign machine", write("foreign.so", foreign), "built for EM_S390"},
		{"program", write("program", program), "not an ELF shared object"},
		{"other library", loadedLibrary(t, "libc.so.6"), "does not export C_GetFunctionList"},
	} {
		if err := CheckModule(c.path); !errors.Is(err, ErrModule) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if _, err := Open(t.Context(), Options{Module: c.path, Token: URI{Token: "lab"}}); !errors.Is(err, ErrModule) {
			t.Errorf("%s: Open says %v", c.name, err)
		}
	}
	for _, path := range []string{softhsm, write("headless.so", headless)} {
		if err := CheckModule(path); err != nil {
			t.Error(err)
		}
	}
}

// loadedLibrary returns the path of a library that this process has loaded.
func loadedLibrary(t *testing.T, name string) string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`/\S*/` + regexp.QuoteMeta(name)).FindString(string(maps))
	if path == "" {
		t.Fatalf("%s is not loaded", name)
	}
	return path
}

func TestModuleLifetime(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "one")
	makeToken(t, "two")
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(modulePath(t), link); err != nil {
		t.Fatal(err)
	}
	one := open(t, "one")
	two, err := Open(t.Context(), Options{Module: link, Token: URI{Token: "two"}, PIN: pinIs(userPIN)})
	if err != nil {
		t.Fatal(err)
	}
	if one.module != two.module || one.module.refs != 2 {
		t.Fatalf("two names of one module are two modules")
	}
	key := generate(t, two, "key")

	for range 2 {
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if two.module.refs != 1 {
		t.Fatalf("closing twice left %d references", two.module.refs)
	}
	if _, err := one.Keys(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("use after Close: %v", err)
	}
	if _, err := one.Generate(t.Context(), KeySpec{Label: "x", Algorithm: key.Algorithm}); !errors.Is(err, ErrClosed) {
		t.Errorf("Generate after Close: %v", err)
	}
	signAndVerify(t, two, key)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if len(modules.open) != 0 {
		t.Errorf("%d modules stay loaded", len(modules.open))
	}
	signAndVerify(t, open(t, "two"), key) // and it can be loaded again
}

// Other code of the process may use the module too: then it is not ours to
// finalise.
func TestModuleInitializedByOthers(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	other := pkcs11.New(modulePath(t))
	defer other.Destroy()
	if err := other.Initialize(); err != nil {
		t.Fatal(err)
	}
	token := open(t, "lab")
	if _, err := token.Keys(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := token.Generate(t.Context(), KeySpec{Label: "x", Algorithm: 1})
	if !hasCode(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		t.Errorf("Generate on a module that is not ours: %v", err)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	if _, err := other.GetInfo(); err != nil {
		t.Errorf("after Close the module is gone for others: %v", err)
	}
	if err := other.Finalize(); err != nil {
		t.Error(err)
	}
}
