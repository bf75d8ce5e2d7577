// Package term is the terminal of the command: it asks for secrets, shows
// progress and knows whether colour is wanted.
//
// What needs a person goes to the controlling terminal and is erased
// afterwards, so that standard input and output stay free for data. Where there
// is no terminal, [ReadSecret] says so with [ErrNoTerminal] and [Progress] is
// silent.
package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"
)

// Errors of this package, to be tested with errors.Is.
var (
	ErrNoTerminal = errors.New("no controlling terminal")
	ErrInput      = errors.New("unusable input")
)

// maxSecret bounds what may be typed, in bytes.
const maxSecret = 1024

// Control characters as a terminal in raw mode delivers them.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEnd       = 0x04 // Ctrl-D
	keyBackspace = 0x08
	keyLine      = '\n'
	keyReturn    = '\r'
	keyKill      = 0x15 // Ctrl-U
	keyDelete    = 0x7f
)

// eraseLine opens a new line, which works everywhere, and then erases the one
// above, which does not.
const eraseLine = "\r\n\x1b[F\x1b[K"

// IsTerminal reports whether a file is a terminal.
func IsTerminal(f *os.File) bool {
	is := false
	_ = control(f, func(fd int) error {
		is = term.IsTerminal(fd)
		return nil
	})
	return is
}

// ColorEnabled reports whether coloured output to a file is wanted: it is a
// terminal, TERM is not "dumb" and NO_COLOR (no-color.org) is empty or not set.
// The environment is looked up through env.
func ColorEnabled(env func(string) string, f *os.File) bool {
	return env("NO_COLOR") == "" && env("TERM") != "dumb" && IsTerminal(f)
}

// ReadSecret shows a prompt on the controlling terminal and returns the line
// that is typed there, without showing it. Then the line with the prompt is
// erased and the terminal is as before, whatever happened.
//
// The error wraps ErrNoTerminal when there is no terminal to ask at,
// context.Canceled when Ctrl-C or Ctrl-D is typed, the context's error when it
// ends first, and ErrInput for a key that is not text: a secret that is not
// what its owner believes must not reach a token that counts attempts. The
// caller wipes the result.
func ReadSecret(ctx context.Context, prompt string) (secret []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("term: %w", err)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("term: %w: %w", ErrNoTerminal, err)
	}
	defer tty.Close() // also ends the reading below where the platform can
	var before *term.State
	if err := control(tty, func(fd int) error { before, err = term.MakeRaw(fd); return err }); err != nil {
		return nil, fmt.Errorf("term: %w: %w", ErrNoTerminal, err)
	}
	defer func() {
		_, eraseErr := io.WriteString(tty, eraseLine)
		restoreErr := control(tty, func(fd int) error { return term.Restore(fd, before) })
		if err == nil && (eraseErr != nil || restoreErr != nil) {
			clear(secret)
			secret, err = nil, fmt.Errorf("term: %w", errors.Join(eraseErr, restoreErr))
		}
	}()
	if _, err := io.WriteString(tty, prompt); err != nil {
		return nil, fmt.Errorf("term: %w", err)
	}

	type result struct {
		secret []byte
		err    error
	}
	typed := make(chan result, 1)
	go func() {
		secret, err := readLine(tty)
		typed <- result{secret, err}
	}()
	select {
	case r := <-typed:
		if r.err != nil {
			return nil, fmt.Errorf("term: %w", r.err)
		}
		return r.secret, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("term: %w", ctx.Err())
	}
}

// readLine reads from a terminal in raw mode. It takes one byte at a time so
// that what follows the line stays in the queue.
func readLine(tty io.Reader) ([]byte, error) {
	var line [maxSecret]byte
	var key [1]byte
	defer func() {
		clear(line[:])
		clear(key[:])
	}()
	n := 0
	for {
		if _, err := io.ReadFull(tty, key[:]); err != nil {
			return nil, err
		}
		switch c := key[0]; {
		case c == keyReturn, c == keyLine:
			return append(make([]byte, 0, n), line[:n]...), nil
		case c == keyInterrupt, c == keyEnd:
			return nil, context.Canceled
		case c == keyBackspace, c == keyDelete:
			_, size := utf8.DecodeLastRune(line[:n])
			n -= size
		case c == keyKill:
			n = 0
		case c < ' ':
			return nil, fmt.Errorf("%w: a key that is not text", ErrInput)
		case n == maxSecret:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrInput, maxSecret)
		default:
			line[n] = c
			n++
		}
	}
}

// control calls f with the descriptor of a file and leaves the file in the mode
// it is in, which File.Fd would not.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if controlErr := conn.Control(func(fd uintptr) { err = f(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}
