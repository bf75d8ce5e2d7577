package term

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childVariable makes the test binary a program that asks for a secret on its
// controlling terminal and writes what it got to standard output.
const childVariable = "OTAPACK_TEST_TERM_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	secret, err := ReadSecret(ctx, "PIN: ")
	fmt.Printf("%q no terminal %v, canceled %v, input %v", secret,
		errors.Is(err, ErrNoTerminal), errors.Is(err, context.Canceled), errors.Is(err, ErrInput))
}

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

func termios(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	got, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *got
}

func TestIsTerminal(t *testing.T) {
	_, slave := openPTY(t)
	if !IsTerminal(slave) {
		t.Error("a terminal does not count as one")
	}
	for _, test := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"TERM": "xterm"}, true},
		{map[string]string{"TERM": "dumb"}, false},
		{map[string]string{"TERM": "xterm", "NO_COLOR": "0"}, false},
	} {
		if got := ColorEnabled(func(name string) string { return test.env[name] }, slave); got != test.want {
			t.Errorf("ColorEnabled with %v = %v, want %v", test.env, got, test.want)
		}
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 33, Row: 5}); err != nil {
		t.Fatal(err)
	}
	if got := width(slave); got != 33 {
		t.Errorf("width %d, want 33", got)
	}
	StartProgress(slave, "text").Stop()
}

func TestReadSecret(t *testing.T) {
	const (
		got    = "no terminal false, canceled false, input false"
		cancel = `"" no terminal false, canceled true, input false`
		input  = `"" no terminal false, canceled false, input true`
	)
	for _, test := range []struct {
		name  string
		typed string
		kill  bool // send an interrupt instead of typing
		want  string
	}{
		{"line", "123456\r", false, `"123456" ` + got},
		{"line feed", "123456\n", false, `"123456" ` + got},
		{"empty", "\r", false, `"" ` + got},
		{"spaces are kept", " 1 2 \r", false, `" 1 2 " ` + got},
		{"corrected", "12x\x7f3ä\b4\r", false, `"1234" ` + got},
		{"corrected to nothing", "\x7f1\x7f\x7f2\r", false, `"2" ` + got},
		{"line killed", "wrong\x15right\r", false, `"right" ` + got},
		{"longest", strings.Repeat("x", maxSecret) + "\r", false, `"` + strings.Repeat("x", maxSecret) + `" ` + got},
		{"too long", strings.Repeat("x", maxSecret+1), false, input},
		{"arrow key", "12\x1b[D3\r", false, input},
		{"zero byte", "12\x003\r", false, input},
		{"tab", "12\t3\r", false, input},
		{"Ctrl-C", "12\x03", false, cancel},
		{"Ctrl-D", "12\x04", false, cancel},
		{"signal", "", true, cancel},
	} {
		t.Run(test.name, func(t *testing.T) {
			master, slave := openPTY(t)
			before := termios(t, slave)
			if before.Lflag&unix.ECHO == 0 {
				t.Fatal("the terminal does not echo to begin with")
			}
			var out bytes.Buffer
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childVariable+"=1", "GORACE=atexit_sleep_ms=0")
			child.Stdin = strings.NewReader("this is data, not a secret\n")
			child.Stdout = &out
			child.Stderr = os.Stderr
			child.ExtraFiles = []*os.File{slave} // descriptor 3 of the child
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			screen := make([]byte, len("PIN: "))
			if _, err := io.ReadFull(master, screen); err != nil || string(screen) != "PIN: " {
				t.Fatalf("prompt %q, %v", screen, err)
			}
			if termios(t, slave).Lflag&unix.ECHO != 0 {
				t.Error("the terminal echoes while the secret is typed")
			}
			if test.kill {
				if err := child.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			} else if _, err := io.WriteString(master, test.typed); err != nil {
				t.Fatal(err)
			}
			screen = make([]byte, len(eraseLine))
			if _, err := io.ReadFull(master, screen); err != nil || string(screen) != eraseLine {
				t.Errorf("after the secret %q, %v, want the line erased", screen, err)
			}
			if err := child.Wait(); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.want {
				t.Errorf("got  %s\nwant %s", out.String(), test.want)
			}
			if after := termios(t, slave); after != before {
				t.Errorf("terminal left as %+v, was %+v", after, before)
			}
		})
	}
}

func TestReadSecretWithoutTerminal(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=1", "GORACE=atexit_sleep_ms=0")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := child.CombinedOutput()
	if want := `"" no terminal true, canceled false, input false`; err != nil || string(out) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
}

func TestReadSecretCanceledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if secret, err := ReadSecret(ctx, "PIN: "); secret != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %q, %v, want context.Canceled", secret, err)
	}
}
