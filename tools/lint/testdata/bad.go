// Package bad has one finding per line that ends in a want comment.
package bad

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

var errOdd = errors.New("odd")

func unchecked(f *os.File, w *bufio.Writer) {
	defer f.Close()
	f.Close() // want "unchecked error"
	fmt.Fprintln(f)
	w.WriteByte(0)
	w.Flush() // want "unchecked error"
	//lint:ignore errcheck the process ends here
	f.Sync()
	f.Sync() //lint:ignore errcheck the process ends here
	//lint:ignore errcheck
	f.Sync() // want "unchecked error"
}

func compared(err error) bool {
	return err == errOdd // want "comparing with =="
}

func swallowed(r io.Reader) error {
	_, err := r.Read(nil)
	if err != nil {
		return nil // want "error is not nil"
	}
	return err
}

func nilness(p *int) int {
	if p == nil {
		return *p // want "nil dereference in load"
	}
	return 0
}

func ineffectual() (n int) {
	x := 1 // want "ineffectual assignment to x"
	x = 2
	return n + x
}

func converted(s string) string {
	return string(s) // want "unnecessary conversion"
}

func simplified(s string) bool {
	return strings.Index(s, "a") != -1 // want "should use strings.Contains"
}

func never(s []byte) bool {
	return len(s) < 0 // want "does not return negative values"
}

func unused() {} // want "func unused is unused"

// Wrong starts with another name. // want "comment on exported function Named"
func Named() error {
	return errors.New("It failed.") // want "error strings should not"
}

// Uses would recieve. // want "is a misspelling of"
var Uses = []any{unchecked, compared, swallowed, nilness, ineffectual, converted, simplified, never}
