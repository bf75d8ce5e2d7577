package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/internal/p11fault"
)

// TestPINLeaks runs a release into every failure of a token, with the PIN from
// each source, and looks for it, and for a wrong one, wherever somebody else
// could read it: in what is printed, in arguments, in the environment as the
// module has it (which is what a child process would inherit), and in all files.
func TestPINLeaks(t *testing.T) {
	dir, otapack := newProject(t)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	pin := read(".otapack/pin")
	const wrong = "31337-not-the-pin-31337"
	secrets := map[string]string{"the PIN": pin, "the wrong PIN": wrong, "the SO PIN": read(".otapack/so-pin")}
	look := func(where string, data []byte) {
		t.Helper()
		for name, secret := range secrets {
			for _, form := range []string{
				secret, strings.ToUpper(secret), hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)),
				strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
			} {
				if bytes.Contains(data, []byte(form)) {
					t.Errorf("%s: %s shows", where, name)
				}
			}
		}
	}

	config := read("otapack.yaml") + "\npolicy: {rehearse: off}\n" // it takes most of the time, and knows no PIN
	noFile := strings.Replace(config, ", pin: {file: .otapack/pin}", "", 1)
	sources := map[string]struct {
		config string
		args   []string
		env    string
	}{
		"pin.file":            {config: config},
		"--pin-file":          {config: noFile, args: []string{"--pin-file", ".otapack/pin"}},
		"OTAPACK_PIN_FILE":    {config: noFile, env: "OTAPACK_PIN_FILE=.otapack/pin"},
		"OTAPACK_PIN":         {config: noFile, env: "OTAPACK_PIN=" + pin},
		"OTAPACK_PIN_RELEASE": {config: noFile, env: "OTAPACK_PIN_RELEASE=" + pin},
		"a wrong file":        {config: noFile, args: []string{"--pin-file", ".otapack/wrong"}},
		"a wrong variable":    {config: noFile, env: "OTAPACK_PIN=" + wrong},
	}
	if noFile == config {
		t.Fatal("the project file has changed")
	}
	if err := os.WriteFile(filepath.Join(dir, ".otapack", "wrong"), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(dir, ".otapack", "seen") // arguments and environment at each C_Sign
	module := p11fault.Build(t)
	signed := 0
	for name, source := range sources {
		if err := os.WriteFile(filepath.Join(dir, "otapack.yaml"), []byte(source.config), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, plan := range []string{
			"", "C_SignInit@2=0xb3", "C_SignInit@2+=0x32", "C_Sign@2=0x5", "C_Sign@2=0xb3 C_Login@2+=0xa0", "C_Login@1=0xa4", "C_Login@1=0x5",
			"C_OpenSession@1+=0xb1", "without=0x1041", "damage@1", "flags+0x40000", "flags+0x20000", "flags+0x100", "C_Initialize@1=0x5",
			"interrupt@1 C_Sign~20000",
		} {
			cmd := exec.CommandContext(t.Context(), "otapack", append(slices.Clone(source.args), "release", "--version", "1.0.0", "--no-input", "--json")...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), envSoftHSM+"=", "GORACE=atexit_sleep_ms=0", envModule+"="+module, "P11FAULT_REAL="+softhsm(), "P11FAULT="+plan,
				"P11FAULT_ENVIRON="+seen, "P11FAULT_LOG="+filepath.Join(dir, ".otapack", "calls"))
			if source.env != "" {
				cmd.Env = append(cmd.Env, source.env)
			}
			out, _ := cmd.CombinedOutput() // that it fails as it should is shown by the scripts
			look(fmt.Sprintf("%s, %q: output", name, plan), out)
			if len(out) == 0 {
				t.Errorf("%s, %q: no output", name, plan)
			}
			if data, err := os.ReadFile(seen); err == nil {
				signed += bytes.Count(data, []byte("P11FAULT_ENVIRON="))
			}
			lookAtFiles(t, dir, look)
			for _, path := range []string{"dist", "release.json", ".otapack/seen"} { // the next run releases anew
				if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if signed < 5*15 {
		t.Errorf("the environment was seen at %d signatures only", signed)
	}
	if err := otapack("release", "--version", "1.0.0", "--pin-file", ".otapack/pin"); err != nil {
		t.Error(err) // the token is not locked, and the project as it was
	}
}

// lookAtFiles looks at all files but those that are made for a PIN.
func lookAtFiles(t *testing.T, dir string, look func(where string, data []byte)) {
	t.Helper()
	n := 0
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.Contains([]string{".otapack/pin", ".otapack/so-pin", ".otapack/wrong"}, name) {
			return err
		}
		data, err := fs.ReadFile(root, name)
		look(name, data)
		n++
		return err
	})
	if err != nil || n < 10 {
		t.Errorf("%d files, %v", n, err)
	}
}

// TestStartsNoProgram keeps a PIN in memory from getting into a child process:
// only "vectors run" starts programs, and it opens no token.
func TestStartsNoProgram(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}} {{join .Imports " "}}{{end}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var starters []string
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 0 && slices.Contains(words[1:], "os/exec") {
			starters = append(starters, words[0])
		}
	}
	const module = "github.com/otapack/otapack/"
	if want := []string{module + "internal/vectors", module + "cmd/otapack"}; !slices.Equal(starters, want) {
		t.Errorf("programs are started by %q, want %q", starters, want)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		starts, opens := strings.Contains(string(text), `"os/exec"`), strings.Contains(string(text), "openToken(") || strings.Contains(string(text), "hsm.Open(")
		if !strings.HasSuffix(name, "_test.go") && starts && (opens || name != "vectors_run.go") {
			t.Errorf("%s starts programs", name)
		}
	}
}
