package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
)

func scriptForeign(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "foreign FILE TO", 2, 2)
	module := []byte(ts.ReadFile(args[0]))
	binary.LittleEndian.PutUint16(module[18:], 22) // e_machine: EM_S390
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), module, 0o644))
}

// remote returns p11-kit's module for tokens elsewhere, "" where it is not
// installed. Scripts ask for it with [remote] and find it in $REMOTE.
func remote() string {
	found, err := filepath.Glob("/usr/lib/*/pkcs11/p11-kit-client.so")
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "waitfor FILE", 1, 1)
	for range 1000 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not appear", args[0])
}

func TestReport(t *testing.T) {
	var printed []string
	r := report{ctx: t.Context(), print: func(c check) { printed = append(printed, c.text(8)) }}
	second := errors.New("second")
	ok := func() finding { return found("%d", 1) }
	r.run("a", ok)
	r.run("b.x", func() finding { return failing(hsm.ErrPINLocked, "one", "two") }, "a")
	r.run("c", ok, "a", "b.x")
	r.run("d", ok, "c")
	r.run("e", func() finding { return warning("w\nv", "f") }, "a")
	r.run("f", func() finding { return failing(second) }, "e")
	want := []string{
		"a         ok       1\n",
		"b x       FAILED   PIN is locked\n                   fix: one\n                        two\n",
		"c         skipped  needs b x\n",
		"d         skipped  needs c\n",
		"e         warning  w\n                   v\n                   fix: f\n",
		"f         FAILED   second\n",
	}
	if got := strings.Join(printed, ""); got != strings.Join(want, "") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, ""))
	}
	err := r.end()
	if !errors.Is(err, hsm.ErrPINLocked) || errors.Is(err, second) || err.Error() != "hsm doctor: 2 of 6 checks failed" {
		t.Errorf("end: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	r = report{ctx: ctx, print: func(c check) { t.Errorf("printed %+v", c) }}
	r.run("interrupted", func() finding { cancel(); return failing(context.Canceled) })
	r.run("after", func() finding { t.Error("ran on"); return ok() })
	if err := r.end(); !errors.Is(err, context.Canceled) || len(r.checks) != 0 {
		t.Errorf("interrupted: %v, %+v", err, r.checks)
	}
}

func TestCheckClock(t *testing.T) {
	day := func(year int) time.Time { return time.Date(year, 5, 6, 7, 8, 9, 0, time.UTC) }
	for _, c := range []struct {
		name   string
		now    time.Time
		ahead  map[string]time.Duration
		status checkStatus
		detail string
	}{
		{"plain", day(2026), nil, checkOK, "2026-05-06 07:08:09 UTC"},
		{"never set", day(1970), nil, checkWarning, "this machine's clock says 1970-05-06 07:08:09 UTC"},
		{"far future", day(2126), nil, checkWarning, "this machine's clock says 2126-05-06 07:08:09 UTC"},
		{"agrees", day(2026), map[string]time.Duration{"a": -2 * time.Minute}, checkOK, "2026-05-06 07:08:09 UTC, as the token's clock"},
		{"ahead", day(2026), map[string]time.Duration{"b": time.Hour, "a": -time.Hour, "c": 0}, checkWarning,
			"2026-05-06 07:08:09 UTC; the clock of token a is ahead by -1h0m0s; the clock of token b is ahead by 1h0m0s"},
	} {
		if f := checkClock(c.now, c.ahead); f.status != c.status || f.detail != c.detail || (f.fix == "") != (c.status == checkOK) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	for clock, want := range map[string]string{"2026050607080900": "2026-05-06T07:08:09Z", "20260506070809": "2026-05-06T07:08:09Z"} {
		if got, ok := tokenTime(hsm.TokenInfo{Clock: clock}); !ok || got.Format(time.RFC3339) != want {
			t.Errorf("%q is %v, %v", clock, got, ok)
		}
	}
	for _, clock := range []string{"", "2026", "0000000000000000", "20261306070809"} {
		if got, ok := tokenTime(hsm.TokenInfo{Clock: clock}); ok {
			t.Errorf("%q is %v", clock, got)
		}
	}
}

// TestCheckTries is for what SoftHSM never says: it does not lock.
func TestCheckTries(t *testing.T) {
	flags := func(f func(*hsm.TokenInfo)) hsm.TokenInfo {
		i := hsm.TokenInfo{Label: "lab", LoginRequired: true}
		f(&i)
		return i
	}
	for _, c := range []struct {
		name   string
		info   hsm.TokenInfo
		final  bool
		status checkStatus
		err    error
	}{
		{"fresh", flags(func(*hsm.TokenInfo) {}), false, checkOK, nil},
		{"no login", hsm.TokenInfo{Label: "lab", PINLocked: true}, false, checkOK, nil},
		{"locked", flags(func(i *hsm.TokenInfo) { i.PINLocked = true }), true, checkFailed, hsm.ErrPINLocked},
		{"final", flags(func(i *hsm.TokenInfo) { i.PINFinalTry = true }), false, checkFailed, hsm.ErrPINFinalTry},
		{"final, allowed", flags(func(i *hsm.TokenInfo) { i.PINFinalTry = true }), true, checkWarning, nil},
		{"low", flags(func(i *hsm.TokenInfo) { i.PINCountLow = true }), false, checkWarning, nil},
		{"no PIN yet", flags(func(i *hsm.TokenInfo) { i.Label = "new" }), false, checkFailed, hsm.ErrPINRequired},
	} {
		d := &doctor{app: &app{allowFinalTry: c.final}, slots: []hsm.SlotInfo{
			{Token: hsm.TokenInfo{Label: "new"}, Initialized: true},
			{Token: hsm.TokenInfo{Label: "lab"}, Initialized: true, PINInitialized: true},
		}}
		if f := d.checkTries(c.info); f.status != c.status || !errors.Is(f.err, c.err) || (f.fix == "") != (c.status == checkOK) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// TestFitness is for attributes that otapack's own keys never have.
func TestFitness(t *testing.T) {
	good := hsm.Attributes{Local: hsm.Yes, Sensitive: hsm.Yes, Extractable: hsm.No, NeverExtractable: hsm.Yes, Sign: hsm.Yes, Unwrap: hsm.No}
	for _, c := range []struct {
		name   string
		change func(*hsm.KeyInfo)
		status checkStatus
		detail string
	}{
		{"good", func(*hsm.KeyInfo) {}, checkOK, "P-256, not extractable, sign only"},
		{"silent module", func(k *hsm.KeyInfo) { k.Attributes = hsm.Attributes{} }, checkOK, "P-256, extractable or not: the module does not say, sign only"},
		{"NSS denies CKA_LOCAL", func(k *hsm.KeyInfo) { k.Local = hsm.No }, checkOK, "P-256, not extractable, sign only"},
		{"extractable", func(k *hsm.KeyInfo) { k.Extractable = hsm.Yes }, checkWarning, "P-256, extractable, sign only"},
		{"readable", func(k *hsm.KeyInfo) { k.Sensitive = hsm.No }, checkWarning, "P-256, not extractable, its value can be read, sign only"},
		{"imported", func(k *hsm.KeyInfo) { k.Local, k.NeverExtractable = hsm.No, hsm.No }, checkWarning,
			"P-256, not extractable, sign only, not generated in this token: a copy may exist elsewhere"},
		{"more uses", func(k *hsm.KeyInfo) { k.Unwrap, k.Derive = hsm.Yes, hsm.Yes }, checkOK, "P-256, not extractable, may sign, unwrap, derive"},
		{"PIN each time", func(k *hsm.KeyInfo) { k.AlwaysAuthenticate = hsm.Yes }, checkOK,
			"P-256, not extractable, sign only, wants the PIN for every signature"},
		{"not for signing", func(k *hsm.KeyInfo) { k.Sign = hsm.No }, checkFailed, "unfit key: CKA_SIGN is false"},
		{"other curve", func(k *hsm.KeyInfo) { k.Curve, k.Algorithm = "P-521", 0 }, checkFailed, "unfit key: curve P-521"},
	} {
		info := hsm.KeyInfo{Curve: "P-256", Algorithm: sign.ESP256, Attributes: good}
		c.change(&info)
		if f := fitness(config.Key{Name: "fw"}, info); f.status != c.status || f.detail != c.detail || (f.fix == "") != (c.status == checkOK) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// TestSoftHSMFolders is for what other users may not read: the most frequent
// reason why SoftHSM does not start. As root, it runs the program as nobody.
func TestSoftHSMFolders(t *testing.T) {
	needSoftHSM(t)
	dir, err := os.MkdirTemp("", "otapack-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	tokens, conf, program := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "otapack")
	copyProgram(t, program)
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, tokens, filepath.Join(tokens, "token")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		closed string
		want   []string
	}{
		{"", []string{"softhsm       ok       " + conf + ", from SOFTHSM2_CONF; tokens in " + tokens}},
		{conf, []string{"softhsm       FAILED   unusable PKCS#11 module: SoftHSM's configuration, from SOFTHSM2_CONF: open " + conf + ": permission denied", "fix: let this user (uid "}},
		{tokens, []string{"softhsm       FAILED   ", "its directories.tokendir: open " + tokens + ": permission denied", ") read " + tokens + ", for example as a member of the group"}},
		{filepath.Join(tokens, "token"), []string{"softhsm       warning  ", "a token in " + tokens + " cannot be read by this user"}},
	} {
		if c.closed != "" {
			info, err := os.Stat(c.closed)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.closed, 0); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(c.closed, info.Mode())
		}
		cmd := exec.CommandContext(t.Context(), program, "hsm", "doctor")
		cmd.Dir = dir
		cmd.Env = []string{"SOFTHSM2_CONF=" + conf, "OTAPACK_PKCS11_MODULE=" + softhsm(), "HOME=" + dir, "GORACE=atexit_sleep_ms=0"}
		if os.Geteuid() == 0 {
			const nobody = 65534
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitInput { // there is no project file
			t.Fatalf("%s: %v", c.closed, err)
		}
		for _, want := range c.want {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("closed %q: no %q in\n%s", c.closed, want, out)
			}
		}
		if c.closed != "" {
			if err := os.Chmod(c.closed, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// copyProgram puts otapack where other users can run it.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	from, err := exec.LookPath("otapack") // TestMain has put it into PATH
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTokenFolder(t *testing.T) {
	for text, want := range map[string]string{
		"directories.tokendir = /a/b\n":                         "/a/b",
		"# directories.tokendir = /no\ndirectories.tokendir=/a": "/a",
		"log.level = ERROR\ndirectories.tokendir = /a # here\n": "/a",
		"directories.tokendir =\n":                              "",
		"log.level = ERROR\n":                                   "",
	} {
		path := filepath.Join(t.TempDir(), "softhsm2.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := tokenFolder(path); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestDuplicates(t *testing.T) {
	token := func(label, serial string, keys ...keyResult) tokenResult {
		return tokenResult{Label: label, Serial: serial, Initialized: true, Keys: keys}
	}
	got := fmt.Sprintf("%q", duplicates([]tokenResult{
		token("a", "1"), token("a", "2"), token("a", "2"), {}, {},
		token("b", "3", keyResult{Label: "k", URI: "u"}, keyResult{Label: "k", URI: "v"}, keyResult{URI: "v"}, keyResult{URI: "w"}),
	}))
	const want = `["more than one token has the label \"a\": name them by serial"` +
		` "more than one token has the serial \"2\": name them by label too"` +
		` "more than one key on token b has the label \"k\": name them by id"` +
		` "more than one key on token b has the URI \"v\": no URI tells them apart, remove one"]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
