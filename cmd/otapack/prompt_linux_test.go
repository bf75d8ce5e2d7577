package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// TestPrompt types PINs at the terminal of a release whose standard streams are
// all redirected, as in a script that somebody starts by hand.
func TestPrompt(t *testing.T) {
	dir, _ := newProject(t)
	config := filepath.Join(dir, "otapack.yaml")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(", pin: {file: .otapack/pin}"), nil, 1)
	if err := os.WriteFile(config, data, 0o644); err != nil {
		t.Fatal(err)
	}
	pin, err := os.ReadFile(filepath.Join(dir, devTokenDir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	right := strings.TrimSpace(string(pin))
	const prompt = "PIN for token otapack-test: "
	for _, test := range []struct {
		name   string
		typed  string
		signal os.Signal // sent instead
		exit   int
		stderr string
	}{
		{name: "wrong", typed: "0000000000\r", exit: exitPIN, stderr: "PIN rejected: C_Login: CKR_PIN_INCORRECT\n"},
		{name: "nothing", typed: "\r", exit: exitPIN, stderr: "PIN required, and nothing was typed\n"},
		{name: "arrow key", typed: right + "\x1b[D\r", exit: exitPIN, stderr: "unusable input: a key that is not text\n"},
		{name: "Ctrl-C", typed: "00\x03", exit: exitInterrupted},
		{name: "Ctrl-D", typed: "\x04", exit: exitInterrupted},
		{name: "interrupt", signal: os.Interrupt, exit: exitInterrupted},
		{name: "terminate", signal: syscall.SIGTERM, exit: exitInterrupted},
		{name: "right", typed: right + "\r", exit: exitOK, stderr: "otapack: signed and verified: 3 signatures, 2 components\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			master, slave := openPTY(t)
			before := tree(t, dir)
			var stdout, stderr bytes.Buffer
			child := exec.CommandContext(t.Context(), "otapack", "release", "--version", "1.4.2")
			child.Dir = dir
			child.Env = append(os.Environ(), envSoftHSM+"=", "GORACE=atexit_sleep_ms=0")
			child.Stdin = strings.NewReader(right + "\n") // data, not an answer
			child.Stdout, child.Stderr = &stdout, &stderr
			child.ExtraFiles = []*os.File{slave} // descriptor 3 of the child
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			_ = slave.Close() // so that the screen ends with the child
			screen := make([]byte, len(prompt))
			if _, err := io.ReadFull(master, screen); err != nil || string(screen) != prompt {
				t.Fatalf("prompt %q, %v", screen, err)
			}
			if test.signal != nil {
				if err := child.Process.Signal(test.signal); err != nil {
					t.Fatal(err)
				}
			} else if _, err := io.WriteString(master, test.typed); err != nil {
				t.Fatal(err)
			}
			screen, _ = io.ReadAll(master) // ends with EIO when the other end is closed
			_ = child.Wait()               // its exit code says it all
			if code := child.ProcessState.ExitCode(); code != test.exit {
				t.Errorf("exit code %d, want %d", code, test.exit)
			}
			if !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stderr lacks %q:\n%s", test.stderr, stderr.String())
			}
			if strings.Contains(string(screen), "PIN") {
				t.Errorf("asked again: %q", screen) // two keys, one token, one login
			}
			for what, text := range map[string]string{"screen": string(screen), "stdout": stdout.String(), "stderr": stderr.String()} {
				if strings.Contains(text, right) || strings.Contains(text, "0000") {
					t.Errorf("the PIN is in %s: %q", what, text)
				}
			}
			if test.exit == exitOK {
				if stdout.String() != "dist/1.4.2/toothbrush-1.4.2.ota\n" {
					t.Errorf("stdout %q", stdout.String())
				}
			} else if after := tree(t, dir); stdout.Len() > 0 || after != before {
				t.Errorf("stdout %q, files %s, before %s", stdout.String(), after, before)
			}
		})
	}
}
