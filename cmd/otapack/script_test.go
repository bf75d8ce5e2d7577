package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/formats/firmware"
)

var update = flag.Bool("update", false, "write what the tests compare with: generated pages and golden parts of the scripts")

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"otapack": main, "p11import": p11import}) // also puts them into PATH
}

// TestScript runs testdata/script/*.txtar, each in a folder of its own and, after
// "project", with a SoftHSM token of its own. Beside what package testscript has:
//
//	project                     a project of two components, with token and keys (see writeProject)
//	softhsm                     what follows needs SoftHSM, as project does
//	exits CODE program args...  run a program that has to fail with CODE, to say why and to leave no file behind
//	setpin VARIABLE             put the token's PIN into the environment
//	json FILE PATH VALUE        compare a value; PATH is like findings.0.reason, FILE may be stdout
//	edit FILE OLD NEW           replace the one occurrence of OLD; \n is a new line
//	mkimage FILE SIZE [BASE]    write firmware, as Intel HEX if that is the file's extension
//	flip FILE OFFSET            flip a bit; a negative offset counts from the end
//	cut FILE SIZE               cut a file off; a negative size says how many bytes to remove
//	append FILE HEX             add bytes to the end
//	tamper BUNDLE ENTRY OFFSET  flip a bit of an entry and put its checksums right
//	graft BUNDLE OTHER NAME     take a component from another bundle
//	unwrap FILE KEY ...         do what a factory does with a record (see scriptUnwrap)
//	foreign FILE TO             copy a module, for another machine
//	waitfor FILE                wait until a program in the background has made a file
//	fault [PLAN]                what follows uses a module with faults, see package p11fault; without a plan it is as before
//	calls FUNCTION NUMBER       how often a PKCS#11 function was called since the last fault
//	recipient NAME WORD FILE    replace a word by the id of the key that a component is encrypted to
//	vector, golden, ...         files of testvectors (see imageScriptCommands)
//	nosecrets                   no PIN and no private key in stdout, stderr and the files outside .otapack and bench
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // with -race, every process would sleep for a second
			env.Setenv("MODULE", softhsm())
			env.Setenv("SPY", spy())
			env.Setenv("REMOTE", remote())
			env.Values[scriptT{}] = env.T()
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "spy":
				return spy() != "", nil
			case "remote":
				return remote() != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: withImageCommands(map[string]func(*testscript.TestScript, bool, []string){
			"project":   scriptProject,
			"softhsm":   scriptSoftHSM,
			"exits":     scriptExits,
			"setpin":    scriptSetPIN,
			"json":      scriptJSON,
			"edit":      scriptEdit,
			"mkimage":   scriptMkimage,
			"flip":      scriptFlip,
			"cut":       scriptCut,
			"append":    scriptAppend,
			"tamper":    scriptTamper,
			"graft":     scriptGraft,
			"foreign":   scriptForeign,
			"waitfor":   scriptWaitFor,
			"fault":     scriptFault,
			"calls":     scriptCalls,
			"nosecrets": scriptNoSecrets,
			"unwrap":    scriptUnwrap,
			"recipient": scriptRecipient,
		}),
	})
}

// spy returns OpenSC's module that logs all calls to another one, "" where it is
// not installed. Scripts ask for it with [spy] and find it in $SPY.
func spy() string {
	found, err := filepath.Glob("/usr/lib/*/pkcs11-spy.so")
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

// scriptT is the key of a script's testing.TB among its values.
type scriptT struct{}

// needArgs checks how a command is called; none can be negated.
func needArgs(ts *testscript.TestScript, neg bool, args []string, usage string, low, high int) {
	if neg || len(args) < low || len(args) > high {
		ts.Fatalf("usage: %s", usage)
	}
}

func scriptProject(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "project", 0, 0)
	scriptSoftHSM(ts, neg, args)
	ts.Check(makeProject(ts.MkAbs("."), func(args ...string) error { return ts.Exec("otapack", args...) }))
}

func scriptSoftHSM(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "softhsm", 0, 0)
	needSoftHSM(ts.Value(scriptT{}).(testing.TB))
}

// needSoftHSM fails a test where there is no SoftHSM: a token has no stand-in.
func needSoftHSM(tb testing.TB) {
	tb.Helper()
	_, err := os.Stat(softhsm())
	switch {
	case err == nil:
	case os.Getenv("OTAPACK_SKIP_HSM") == "1":
		tb.Skipf("NOT TESTED, because OTAPACK_SKIP_HSM=1: %v", err)
	default:
		tb.Fatalf("%v\ninstall softhsm2, name its module in OTAPACK_TEST_MODULE, or set OTAPACK_SKIP_HSM=1 to leave the HSM untested", err)
	}
}

// testProject is a radio with an encrypted payload, which feeds a motor
// controller with a plain one.
const testProject = `otapack: 1
product: {name: toothbrush, vendor: toothbrush.example}
hsm:
  module: %s
  tokens:
    release: {uri: "pkcs11:token=otapack-test", pin: {file: .otapack/pin}}
keys:
  fw:      {token: release, uri: "pkcs11:object=fw", public: keys/fw.pub.pem}
  release: {token: release, uri: "pkcs11:object=release", public: keys/release.pub.pem}
signing:
  manifest: {sign: [fw]}
  release:  {sign: [release]}
components:
  radio:
    chip: nrf52840
    model: toothbrush-radio
    revision: C
    image: radio.hex
    encrypt: {to: [keys/radio-device.pub.pem]}
  motor:
    chip: stm32l4
    model: toothbrush-motor
    revision: C
    image: motor.bin
    base: 0x08008000
    requires: {radio: 1.0.0}
install-order: [radio, motor]
`

// makeProject writes otapack.yaml, radio.hex and motor.bin into a folder, and
// has otapack make the token otapack-test, the keys fw and release in it, and
// the radio's key bench/radio.key.pem.
func makeProject(dir string, otapack func(args ...string) error) error {
	if err := os.WriteFile(filepath.Join(dir, "otapack.yaml"), fmt.Appendf(nil, testProject, softhsm()), 0o644); err != nil {
		return err
	}
	if err := writeImage(filepath.Join(dir, "radio.hex"), 3000, 0x1c000); err != nil {
		return err
	}
	if err := writeImage(filepath.Join(dir, "motor.bin"), 1500, 0x08008000); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--dev-token"},
		{"key", "create", "fw", "release"},
		{"key", "recipient", "--private-out", "bench/radio.key.pem", "--public-out", "keys/radio-device.pub.pem"},
	} {
		if err := otapack(args...); err != nil {
			return fmt.Errorf("otapack %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// writeImage writes what looks like the firmware of a Cortex-M: a stack pointer,
// a reset vector and code, the same bytes each time.
func writeImage(file string, size int, base uint32) error {
	data := make([]byte, size)
	for i, x := 0, uint32(1); i < size; i++ {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		data[i] = byte(x >> 24)
	}
	copy(data, []byte{0, 0, 1, 0x20, 1, 1, byte(base >> 16), byte(base >> 24)}) // SP 0x20010000, reset at base + 0x100, Thumb
	if filepath.Ext(file) != ".hex" {
		return os.WriteFile(file, data, 0o644)
	}
	image, err := formats.NewImage([]formats.Segment{{Addr: base, Data: data}})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := firmware.WriteIntelHex(&text, image); err != nil {
		return err
	}
	return os.WriteFile(file, text.Bytes(), 0o644)
}

func scriptMkimage(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "mkimage FILE SIZE [BASE]", 2, 3)
	base := uint64(0x1c000)
	if len(args) == 3 {
		var err error
		base, err = strconv.ParseUint(args[2], 0, 32)
		ts.Check(err)
	}
	ts.Check(writeImage(ts.MkAbs(args[0]), number(ts, args[1]), uint32(base)))
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// scriptExits is for failures: of success, exec is enough.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "exits CODE program args...", 2, 1000)
	want := number(ts, args[0])
	before := fingerprints(ts)
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		ts.Fatalf("%v", err)
	case err == nil && want != 0, err != nil && exit.ExitCode() != want:
		ts.Fatalf("exit code %d, want %d", exitCode(exit), want)
	}
	errorLines := 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if !strings.HasPrefix(line, "otapack: ") {
			ts.Fatalf("not a message of otapack: %q", line)
		}
		if strings.HasPrefix(line, "otapack: error: ") {
			errorLines++
		}
	}
	if errorLines == 0 {
		ts.Fatalf("no error line")
	}
	if after := fingerprints(ts); !maps.Equal(before, after) {
		ts.Fatalf("files changed:\nbefore %v\nafter  %v", before, after)
	}
}

func exitCode(err *exec.ExitError) int {
	if err == nil {
		return 0
	}
	return err.ExitCode()
}

// fingerprints has every file and folder of the script but the token's.
func fingerprints(ts *testscript.TestScript) map[string]string {
	found := map[string]string{}
	walk(ts, func(name string, data []byte, mode fs.FileMode) {
		found[name] = fmt.Sprintf("%v %x", mode, sha256.Sum256(data))
	}, ".otapack")
	return found
}

// walk visits the files and folders of the script, without some folders.
func walk(ts *testscript.TestScript, visit func(name string, data []byte, mode fs.FileMode), without ...string) {
	root := os.DirFS(ts.Getenv("WORK"))
	ts.Check(fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(without, name):
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		if d.Type().IsRegular() {
			if data, err = fs.ReadFile(root, name); err != nil {
				return err
			}
		}
		visit(name, data, info.Mode())
		return nil
	}))
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "json FILE PATH VALUE", 3, 3)
	text := ts.ReadFile(args[0])
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("%s: more than one JSON value", args[0])
	}
	if got := lookup(v, strings.Split(args[1], ".")); got != args[2] {
		ts.Fatalf("%s is %q, want %q", args[1], got, args[2])
	}
}

// lookup follows a path of keys and indices. What is not there is "absent".
func lookup(v any, steps []string) string {
	for _, step := range steps {
		switch node := v.(type) {
		case map[string]any:
			value, ok := node[step]
			if !ok {
				return "absent"
			}
			v = value
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node) {
				return "absent"
			}
			v = node[i]
		default:
			return "absent"
		}
	}
	return fmt.Sprint(v)
}

func scriptEdit(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "edit FILE OLD NEW", 3, 3)
	old, text := strings.ReplaceAll(args[1], `\n`, "\n"), strings.ReplaceAll(args[2], `\n`, "\n")
	change(ts, args[0], func(data []byte) []byte {
		if n := bytes.Count(data, []byte(old)); n != 1 {
			ts.Fatalf("%s has %q %d times", args[0], old, n)
		}
		return bytes.Replace(data, []byte(old), []byte(text), 1)
	})
}

// change rewrites a file.
func change(ts *testscript.TestScript, file string, f func(data []byte) []byte) {
	ts.Check(os.WriteFile(ts.MkAbs(file), f([]byte(ts.ReadFile(file))), 0o644))
}

// place turns an offset that may count from the end into one that is in the data.
func place(ts *testscript.TestScript, offset string, size int) int {
	n := number(ts, offset)
	if n < 0 {
		n += size
	}
	if n < 0 || n >= size {
		ts.Fatalf("offset %s is not in the %d bytes", offset, size)
	}
	return n
}

func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "flip FILE OFFSET", 2, 2)
	change(ts, args[0], func(data []byte) []byte {
		data[place(ts, args[1], len(data))] ^= 1
		return data
	})
}

func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "cut FILE SIZE", 2, 2)
	change(ts, args[0], func(data []byte) []byte { return data[:place(ts, args[1], len(data))] })
}

func scriptAppend(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "append FILE HEX", 2, 2)
	more, err := hex.DecodeString(args[1])
	ts.Check(err)
	change(ts, args[0], func(data []byte) []byte { return append(data, more...) })
}

func scriptTamper(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "tamper BUNDLE ENTRY OFFSET", 3, 3)
	change(ts, args[0], func(data []byte) []byte {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		ts.Check(err)
		i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == args[1] })
		if i < 0 {
			ts.Fatalf("%s has no entry %s", args[0], args[1])
		}
		out, err := tamper(data, z.File[i], place(ts, args[2], int(z.File[i].UncompressedSize64)))
		ts.Check(err)
		return out
	})
}

// tamper flips a bit at an offset of an entry, as somebody does who can write a
// bundle but not sign.
func tamper(data []byte, entry *zip.File, offset int) ([]byte, error) {
	start, err := entry.DataOffset()
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	data = bytes.Clone(data)
	data[int(start)+offset] ^= 1
	content := data[start : start+int64(entry.UncompressedSize64)]
	if entry.Name == bundle.RecordName {
		b.Record = content
	}
	for i := range b.Components {
		c := &b.Components[i]
		switch entry.Name {
		case c.Name + "/" + bundle.ManifestName:
			c.Manifest = content
		case c.Name + "/" + bundle.PayloadName:
			c.Payload = io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content)))
		}
		for j := range c.Variants {
			v := &c.Variants[j]
			switch entry.Name {
			case c.Name + "/from-" + v.Base + "/" + bundle.ManifestName:
				v.Manifest = content
			case c.Name + "/from-" + v.Base + "/" + bundle.PayloadName:
				v.Payload = io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content)))
			}
		}
	}
	var out bytes.Buffer
	err = bundle.Write(&out, b.Contents)
	return out.Bytes(), err
}

func scriptGraft(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "graft BUNDLE OTHER NAME", 3, 3)
	change(ts, args[0], func(data []byte) []byte {
		b, err := bundle.Open(bytes.NewReader(data), int64(len(data)))
		ts.Check(err)
		other := ts.ReadFile(args[1])
		from, err := bundle.Open(strings.NewReader(other), int64(len(other)))
		ts.Check(err)
		named := func(c bundle.Component) bool { return c.Name == args[2] }
		b.Components[slices.IndexFunc(b.Components, named)] = from.Components[slices.IndexFunc(from.Components, named)]
		var out bytes.Buffer
		ts.Check(bundle.Write(&out, b.Contents))
		return out.Bytes()
	})
}

// tokenPIN reads a PIN that init has made up.
func tokenPIN(ts *testscript.TestScript, name string) string {
	return strings.TrimSuffix(ts.ReadFile(filepath.Join(ts.Getenv("WORK"), devTokenDir, name)), "\n")
}

func scriptSetPIN(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "setpin VARIABLE", 1, 1)
	ts.Setenv(args[0], tokenPIN(ts, "pin"))
}

func scriptNoSecrets(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "nosecrets", 0, 0)
	private := strings.Split(ts.ReadFile(filepath.Join(ts.Getenv("WORK"), "bench", "radio.key.pem")), "\n")
	secrets := []string{tokenPIN(ts, "pin"), tokenPIN(ts, "so-pin"), "PRIVATE KEY-----", private[1]}
	look := func(where, text string) {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				ts.Fatalf("%s has %q", where, s)
			}
		}
	}
	look("stdout", ts.ReadFile("stdout"))
	look("stderr", ts.ReadFile("stderr"))
	walk(ts, func(name string, data []byte, _ fs.FileMode) { look(name, string(data)) }, ".otapack", "bench")
}
