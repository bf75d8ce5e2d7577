package provision

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"github.com/otapack/otapack/sign/verdict"
)

// maxList bounds a list of devices in bytes.
const maxList = 256 << 20

// ReadSerials reads a list of devices: CSV (RFC 4180) with a header line that
// has one column "serial"; other columns are not looked at. A serial is 1 to 64
// letters, digits, dots, hyphens and underscores, a letter or digit first.
// Refusals are a verdict.Error with the line: device-list, bad-serial or
// duplicate-serial.
func ReadSerials(in io.Reader) ([]string, error) {
	limited := &io.LimitedReader{R: in, N: maxList + 1}
	text := bufio.NewReader(limited)
	if mark, err := text.Peek(3); err == nil && string(mark) == "\uFEFF" { // as spreadsheets write it
		_, _ = text.Discard(3) // it is in the buffer
	}
	r := csv.NewReader(text)
	r.ReuseRecord = true
	fields, err := r.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, verdict.New(verdict.DeviceList, "devices", "it is empty, and should begin with a line of column names")
	case err != nil:
		return nil, listError(err)
	}
	column := slices.Index(fields, "serial")
	if column < 0 || slices.Contains(fields[column+1:], "serial") {
		return nil, verdict.New(verdict.DeviceList, "devices: line 1", "not one column is called \"serial\"")
	}
	var serials []string
	seen := map[string]int{}
	for {
		fields, err := r.Read()
		if limited.N == 0 {
			return nil, verdict.New(verdict.DeviceList, "devices", "larger than %d bytes", maxList)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, listError(err)
		}
		line, _ := r.FieldPos(column)
		object, serial := fmt.Sprintf("devices: line %d", line), fields[column]
		switch {
		case !serialPattern.MatchString(serial):
			return nil, verdict.New(verdict.BadSerial, object, "serial %.70q: want 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first", serial)
		case seen[serial] > 0:
			return nil, verdict.New(verdict.DuplicateSerial, object, "serial %s is in line %d already", serial, seen[serial])
		case len(serials) == MaxDevices:
			return nil, verdict.New(verdict.DeviceList, object, "more than %d devices", MaxDevices)
		}
		seen[serial] = line
		serials = append(serials, serial)
	}
	if len(serials) == 0 {
		return nil, verdict.New(verdict.DeviceList, "devices", "no device is in it")
	}
	return serials, nil
}

func listError(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return verdict.New(verdict.DeviceList, fmt.Sprintf("devices: line %d", e.Line), "%v", e.Err)
	}
	return err
}

// Faults of what Enumerate is asked for.
var (
	ErrSerialFormat = errors.New("unusable format of serials")
	ErrSerialRange  = errors.New("unusable range of serials")
)

var verbPattern = regexp.MustCompile(`^([A-Za-z0-9._-]*)%(?:0([1-9]))?d([A-Za-z0-9._-]*)$`)

// Enumerate returns count serials that are numbered from first. The format has
// one "%d", or "%06d" for a number of six digits, where no serial may need more;
// the rest of it is text.
func Enumerate(format string, first, count uint64) ([]string, error) {
	m := verbPattern.FindStringSubmatch(format)
	switch {
	case m == nil:
		return nil, fmt.Errorf("provision: %w: %.70q: want letters, digits, dots, hyphens and underscores around one %%d or %%06d", ErrSerialFormat, format)
	case count < 1 || count > MaxDevices:
		return nil, fmt.Errorf("provision: %w: %d devices, want 1 to %d", ErrSerialRange, count, MaxDevices)
	case first > 1<<63-1-count:
		return nil, fmt.Errorf("provision: %w: it begins at %d", ErrSerialRange, first)
	}
	width := 0
	if m[2] != "" {
		width = int(m[2][0] - '0')
		if last := strconv.FormatUint(first+count-1, 10); len(last) > width {
			return nil, fmt.Errorf("provision: %w: %s has more than %d digits", ErrSerialRange, last, width)
		}
	}
	serials := make([]string, count)
	for i := range serials {
		serials[i] = m[1] + fmt.Sprintf("%0*d", width, first+uint64(i)) + m[3]
		if !serialPattern.MatchString(serials[i]) {
			return nil, fmt.Errorf("provision: %w: it gives %.70q: want 1 to 64 bytes, a letter or digit first", ErrSerialFormat, serials[i])
		}
	}
	return serials, nil
}
