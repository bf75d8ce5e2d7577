// Package census reads what is known of the devices in the field: a CSV file
// (RFC 4180) with one line for each class of devices that run the same.
//
//	devices,radio.version,radio.chip,radio.revision,radio.sequence,motor.version,…
//	8200,1.4.1,nrf52840,C,3,1.4.1,…
//
// Every component of the product has the columns version, chip (bootloader
// profile), revision (of the hardware) and sequence (rollback counter), and may
// have recipient: the id of the key that the devices decrypt with, in
// hexadecimal, "none" for devices without one, empty where it is not known.
// Columns come in any order; lines that begin with # are comments.
//
// Reading is strict: an unknown, missing or repeated column, a chip that the
// product does not have there, two lines about the same class, and a space around
// a value are errors, each with its line.
package census

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/otapack/otapack/manifest"
)

// Bounds of a census.
const (
	MaxSize     = 4 << 20 // bytes
	MaxClasses  = 10000
	MaxDevices  = math.MaxUint32 // in one class
	maxRevision = 64             // bytes
	maxKeyID    = 16             // bytes
)

// Class is one line: devices that are alike.
type Class struct {
	Line       int
	Devices    uint64
	Components []Component // as in the product
}

// Component is what these devices have of one component.
type Component struct {
	Version  manifest.Version
	Revision string // of the hardware
	Sequence uint32 // rollback counter: lower sequence numbers are refused

	// KnowsRecipient says that Recipient tells the id of the decryption key; an
	// empty one is that of devices without a key.
	KnowsRecipient bool
	Recipient      []byte
}

// Part is a component of the product as far as a census must agree with it.
type Part struct{ Name, Chip string }

// Error is a line that cannot be taken.
type Error struct {
	Line   int
	Column string // may be empty
	Err    error
}

// Error formats as "line n: column: cause".
func (e *Error) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return fmt.Sprintf("line %d: %s: %v", e.Line, e.Column, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	columnDevices   = "devices"
	columnVersion   = "version"
	columnChip      = "chip"
	columnRevision  = "revision"
	columnSequence  = "sequence"
	columnRecipient = "recipient"

	noRecipient = "none"
)

// Parse reads the census of a product. An error is an *Error where it belongs to
// a line.
func Parse(r io.Reader, product []Part) ([]Class, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > MaxSize:
		return nil, fmt.Errorf("more than %d bytes", MaxSize)
	case !utf8.Valid(data):
		return nil, errors.New("not UTF-8")
	}
	lines := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))) // spreadsheets begin with it
	lines.Comment = '#'
	t := table{product: product, seen: map[string]int{}}
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, &Error{Line: e.Line, Err: e.Err}
		}
		if err != nil {
			return nil, err
		}
		line, _ := lines.FieldPos(0)
		if t.columns == nil {
			err = t.header(line, fields)
		} else {
			err = t.class(line, fields)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case t.columns == nil:
		return nil, errors.New("no line with the names of the columns")
	case len(t.classes) == 0:
		return nil, errors.New("no devices")
	}
	return t.classes, nil
}

// table is a census while it is read.
type table struct {
	product []Part
	columns []column
	seen    map[string]int // line of a class, by everything but the number of devices
	classes []Class
}

// column is what a field is about.
type column struct {
	name string // as in the header
	part int    // index into the product, -1 for the devices
	what string
}

func (t *table) header(line int, fields []string) error {
	at := map[string]bool{}
	for _, name := range fields {
		c := column{name, -1, name}
		if part, what, ok := strings.Cut(name, "."); ok {
			c.what = what
			c.part = slices.IndexFunc(t.product, func(p Part) bool { return p.Name == part })
		}
		parts := []string{columnVersion, columnChip, columnRevision, columnSequence, columnRecipient}
		switch {
		case name == columnDevices:
		case c.part < 0 || !slices.Contains(parts, c.what):
			return &Error{line, "", fmt.Errorf("unknown column %q, want devices and <component>.{%s} of %s", name, strings.Join(parts, ","), t.names())}
		}
		if at[name] {
			return &Error{line, "", fmt.Errorf("column %s twice", name)}
		}
		at[name] = true
		t.columns = append(t.columns, c)
	}
	for _, p := range t.product {
		for _, what := range []string{columnVersion, columnChip, columnRevision, columnSequence} {
			if name := p.Name + "." + what; !at[name] {
				return &Error{line, "", fmt.Errorf("column %s is missing", name)}
			}
		}
	}
	if !at[columnDevices] {
		return &Error{line, "", fmt.Errorf("column %s is missing", columnDevices)}
	}
	return nil
}

func (t *table) names() string {
	names := make([]string, len(t.product))
	for i, p := range t.product {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

func (t *table) class(line int, fields []string) error {
	if len(t.classes) == MaxClasses {
		return &Error{line, "", fmt.Errorf("more than %d classes", MaxClasses)}
	}
	class := Class{Line: line, Components: make([]Component, len(t.product))}
	var key strings.Builder
	for i, value := range fields {
		c := t.columns[i]
		if err := t.field(&class, c, value); err != nil {
			return &Error{line, c.name, err}
		}
		if c.part >= 0 {
			key.WriteString(value + "\x00")
		}
	}
	if first, ok := t.seen[key.String()]; ok {
		return &Error{line, "", fmt.Errorf("the same class as line %d", first)}
	}
	t.seen[key.String()] = line
	t.classes = append(t.classes, class)
	return nil
}

func (t *table) field(class *Class, c column, value string) error {
	if strings.TrimSpace(value) != value || strings.ContainsRune(value, 0) {
		return fmt.Errorf("a space or a control character in %q", value)
	}
	var err error
	if c.part < 0 {
		class.Devices, err = number(value, MaxDevices)
		if err == nil && class.Devices == 0 {
			err = errors.New("no devices")
		}
		return err
	}
	component := &class.Components[c.part]
	switch c.what {
	case columnVersion:
		component.Version, err = manifest.ParseVersion(value)
	case columnChip:
		if want := t.product[c.part].Chip; value != want {
			err = fmt.Errorf("unknown class: chip %q, the product has %s", value, want)
		}
	case columnRevision:
		component.Revision = value
		if value == "" || len(value) > maxRevision {
			err = fmt.Errorf("revision of %d bytes, want 1 to %d", len(value), maxRevision)
		}
	case columnSequence:
		var n uint64
		n, err = number(value, math.MaxUint32)
		component.Sequence = uint32(n)
	case columnRecipient:
		component.KnowsRecipient = value != ""
		if value == "" || value == noRecipient {
			break
		}
		component.Recipient, err = hex.DecodeString(value)
		if err != nil || len(component.Recipient) > maxKeyID || strings.ToLower(value) != value {
			err = fmt.Errorf("%q, want the key's id in lower-case hexadecimal, %q or nothing", value, noRecipient)
		}
	}
	return err
}

// number reads a decimal number that is written in its shortest form.
func number(s string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > limit || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q, want a number up to %d", s, limit)
	}
	return n, nil
}
