package hsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPINPrintsRedacted(t *testing.T) {
	const secret = "hunter2"
	pin := NewPIN([]byte(secret))
	exported := struct{ PIN PIN }{pin}
	unexported := struct{ pin PIN }{pin}
	var out []string
	for _, v := range []any{pin, &pin, exported, &exported, unexported, &unexported, []PIN{pin}, map[string]PIN{"k": pin}, &Options{}, fmt.Errorf("x: %v", pin)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out = append(out, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			out = append(out, string(b))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		out = append(out, log.String())
	}
	for _, s := range out {
		for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprint([]byte(secret)), "104, 117", "0x68, 0x75"} {
			if strings.Contains(s, leak) {
				t.Errorf("a PIN shows in %q", s)
			}
		}
	}
	if got := fmt.Sprint(pin) + pin.String(); got != "[redacted][redacted]" {
		t.Errorf("a PIN prints as %q", got)
	}
	if b, err := json.Marshal(exported); err != nil || string(b) != `{"PIN":"[redacted]"}` {
		t.Errorf("a PIN in JSON is %s, %v", b, err)
	}
}

func TestPINWipe(t *testing.T) {
	b := []byte("1234")
	pin := NewPIN(b)
	dup := pin
	pin.Wipe()
	pin.Wipe()
	if !bytes.Equal(b, make([]byte, 4)) || !pin.IsEmpty() || !dup.IsEmpty() || dup.reveal() != "" {
		t.Errorf("after Wipe: %q, %q", b, dup.reveal())
	}
	var zero PIN
	zero.Wipe()
	if !zero.IsEmpty() || zero.reveal() != "" {
		t.Error("the zero PIN is not empty")
	}
}

func TestReadPINFile(t *testing.T) {
	long := strings.Repeat("9", maxPINLength)
	for _, c := range []struct {
		name, content string
		mode          fs.FileMode
		insecure      bool
		want, says    string
	}{
		{"plain", "1234", 0o600, false, "1234", ""},
		{"newline", "1234\n", 0o400, false, "1234", ""},
		{"cr newline", "1234\r\n", 0o600, false, "1234", ""},
		{"only one newline", "1234\n\n", 0o600, false, "1234\n", ""},
		{"blanks stay", " 12 \t\n", 0o600, false, " 12 \t", ""},
		{"cr stays", "1234\r", 0o600, false, "1234\r", ""},
		{"longest", long + "\r\n", 0o600, false, long, ""},
		{"insecure", "1234", 0o644, true, "1234", ""},
		{"empty", "", 0o600, false, "", "empty"},
		{"only newline", "\n", 0o600, false, "", "empty"},
		{"too long", long + "9", 0o600, false, "", "longer than 255"},
		{"much too long", strings.Repeat(long, 9), 0o600, false, "", "longer than 255"},
		{"group", "1234", 0o640, false, "", "group or others"},
		{"others", "1234", 0o604, false, "", "group or others"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pin")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			pin, err := ReadPINFile(path, c.insecure)
			if c.says != "" {
				if !errors.Is(err, ErrPINFile) || !strings.Contains(err.Error(), c.says) || !pin.IsEmpty() {
					t.Fatalf("got %v, want %q", err, c.says)
				}
				if strings.Contains(err.Error(), "1234") {
					t.Fatalf("the error shows the PIN: %v", err)
				}
				return
			}
			if err != nil || pin.reveal() != c.want {
				t.Fatalf("got %q, %v", pin.reveal(), err)
			}
		})
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if _, err := ReadPINFile(path, true); !errors.Is(err, ErrPINFile) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestReadPINFileFromPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { // a writer that comes once, and in two pieces
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err1 := f.WriteString("12")
			_, err2 := f.WriteString("34\n")
			err = errors.Join(err1, err2, f.Close())
		}
		written <- err
	}()
	pin, err := ReadPINFile(path, false)
	if err != nil || pin.reveal() != "1234" {
		t.Errorf("got %q, %v", pin.reveal(), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestCheckTries(t *testing.T) {
	for _, c := range []struct {
		info  TokenInfo
		allow bool
		want  error
	}{
		{TokenInfo{}, false, nil},
		{TokenInfo{PINCountLow: true}, false, nil},
		{TokenInfo{PINFinalTry: true}, false, ErrPINFinalTry},
		{TokenInfo{PINFinalTry: true}, true, nil},
		{TokenInfo{PINLocked: true}, true, ErrPINLocked},
		{TokenInfo{PINLocked: true, PINFinalTry: true}, false, ErrPINLocked},
	} {
		if err := checkTries(c.info, c.allow); !errors.Is(err, c.want) {
			t.Errorf("%+v, allow %v: %v, want %v", c.info, c.allow, err, c.want)
		}
	}
}
