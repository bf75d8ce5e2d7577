package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

const redacted = "[redacted]"

// maxPINLength bounds what is read from a PIN file, in bytes. It is the largest
// PIN of the tokens that are known to us (SoftHSM).
const maxPINLength = 255

// PIN is a token's PIN. It prints as [redacted] in every way that fmt,
// encoding/json and log/slog know. Copies share the bytes, so that Wipe on one
// wipes all. The zero value is no PIN.
//
// Wiping has a limit: the PKCS#11 libraries take a PIN as a Go string, and
// that copy stays in memory until it is overwritten by chance.
type PIN struct {
	// Where a PIN is an unexported field of another struct, fmt does not ask
	// Format, and it follows one pointer. So there are two: it shows an address.
	secret **[]byte
}

// NewPIN takes b over: the caller must not use it afterwards.
func NewPIN(b []byte) PIN {
	p := &b
	return PIN{&p}
}

// IsEmpty reports whether there is no PIN, or none any more.
func (p PIN) IsEmpty() bool { return p.secret == nil || len(**p.secret) == 0 }

// Wipe overwrites the PIN with zeros and makes it empty.
func (p PIN) Wipe() {
	if p.secret != nil {
		clear(**p.secret)
		**p.secret = nil
	}
}

// reveal returns the PIN as the libraries want it.
func (p PIN) reveal() string {
	if p.secret == nil {
		return ""
	}
	return string(**p.secret)
}

// Format writes [redacted] for every verb.
func (p PIN) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// String returns [redacted].
func (p PIN) String() string { return redacted }

// MarshalText returns [redacted].
func (p PIN) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns [redacted].
func (p PIN) LogValue() slog.Value { return slog.StringValue(redacted) }

// PINSource gets the PIN of a token: from a file, the environment, a terminal.
// It is called once per login, right before it, and only when the token wants
// a login and has tries left. The Token takes the PIN over, keeps it for the
// case that it has to log in again, and wipes it on Close.
//
// For a token with a PIN pad (info.PINPad) it may return the zero PIN, after it
// has told the operator to use the pad.
type PINSource func(ctx context.Context, info TokenInfo) (PIN, error)

// ReadPINFile reads a PIN from a file, which is opened and read once and may
// thus be a pipe. One newline (LF or CR LF) at the end is removed and nothing
// else. An empty PIN, one of more than 255 bytes, and, unless insecure is set,
// a regular file that group or others may read, wrap ErrPINFile.
func ReadPINFile(path string, insecure bool) (PIN, error) {
	f, err := os.Open(path)
	if err != nil {
		return PIN{}, fmt.Errorf("hsm: %w: %w", ErrPINFile, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return PIN{}, fmt.Errorf("hsm: %w: %w", ErrPINFile, err)
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o044 != 0 && !insecure {
		return PIN{}, fmt.Errorf("hsm: %w %s: group or others may read it (mode %04o)", ErrPINFile, path, mode.Perm())
	}
	b := make([]byte, maxPINLength+len("\r\n")+1)
	n, err := io.ReadFull(f, b)
	pin := b[:n]
	switch {
	case err == nil:
		err = fmt.Errorf("longer than %d bytes", maxPINLength)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = nil
	}
	if line, ok := bytes.CutSuffix(pin, []byte("\n")); ok {
		pin = bytes.TrimSuffix(line, []byte("\r"))
	}
	if err == nil && len(pin) == 0 {
		err = errors.New("empty")
	}
	if err == nil && len(pin) > maxPINLength {
		err = fmt.Errorf("longer than %d bytes", maxPINLength)
	}
	if err != nil {
		clear(b)
		return PIN{}, fmt.Errorf("hsm: %w %s: %w", ErrPINFile, path, err)
	}
	return NewPIN(pin), nil
}

// checkTries refuses a login that could lock the token, or must fail.
func checkTries(info TokenInfo, allowFinalTry bool) error {
	switch {
	case info.PINLocked:
		return ErrPINLocked
	case info.PINFinalTry && !allowFinalTry:
		return ErrPINFinalTry
	}
	return nil
}
