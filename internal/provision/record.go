package provision

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/sign/verdict"
)

// Schema is the first word of a file.
const Schema = "otapack.provision-records/1"

// Bounds of a file.
const (
	MaxDevices = 1_000_000
	MaxSecrets = 32 // of one device

	maxHeader = 16 << 10 // bytes, with the line feed
	maxRecord = 2 << 10
	maxModule = 128 // bytes
)

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	serialPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Hex is bytes that are lower-case hexadecimal in JSON.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Header is the first line of a file: all that the records depend on. Two runs
// with the same header may share a file.
type Header struct {
	Schema    string   `json:"schema"`
	Product   string   `json:"product"`
	Devices   Devices  `json:"devices"`
	Secrets   []Secret `json:"secrets"`
	Mechanism string   `json:"mechanism"` // of wrapping, always Mechanism
	Module    string   `json:"module"`    // what the PKCS#11 module calls itself, with its version
	Check     Check    `json:"check"`     // tells other keys
}

// Devices is the list of devices without naming them.
type Devices struct {
	Count  int    `json:"count"`
	Digest string `json:"digest"` // "sha256:" and the SHA-256 of the serials, each with a line feed, in hexadecimal
}

// NewDevices describes a list of serials.
func NewDevices(serials []string) Devices {
	h := sha256.New()
	for _, s := range serials {
		addSerial(h, s)
	}
	return Devices{len(serials), digestText(h)}
}

func addSerial(h hash.Hash, serial string) { _, _ = io.WriteString(h, serial+"\n") } // never fails

func digestText(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// Record is one secret of one device.
type Record struct {
	Serial    string `json:"serial"`
	Component string `json:"component"`
	Purpose   string `json:"purpose"`
	Kind      Kind   `json:"kind"`
	Wrapped   Hex    `json:"wrapped"`   // the secret under the transport key
	Mechanism string `json:"mechanism"` // how it is wrapped
	Module    string `json:"module"`    // what wrapped it
	KCV       Hex    `json:"kcv"`       // check value of the secret, as an AES key

	// Of a recipient: the public half as SubjectPublicKeyInfo in DER, which is
	// base64 in JSON, and the key id that payloads are encrypted to.
	PublicKey []byte `json:"public_key,omitempty"`
	KeyID     Hex    `json:"key_id,omitempty"`
}

// encode returns the one line that stands for v.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// decode reads a line that encode could have written, and no other: encoding it
// again has to give the same bytes, which leaves no room for unknown, repeated
// and unordered members, blanks and other spellings.
func decode(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	again, err := encode(v)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(again, line):
		return errors.New("it is not spelled as this program spells it")
	}
	return nil
}

func (h Header) check() error {
	switch {
	case h.Schema != Schema:
		return fmt.Errorf("schema is %.40q, want %q", h.Schema, Schema)
	case !namePattern.MatchString(h.Product):
		return errors.New("the product has no name")
	case h.Devices.Count < 1 || h.Devices.Count > MaxDevices:
		return fmt.Errorf("%d devices, want 1 to %d", h.Devices.Count, MaxDevices)
	case !digestPattern.MatchString(h.Devices.Digest):
		return errors.New("the list of devices has no digest")
	case len(h.Secrets) == 0 || len(h.Secrets) > MaxSecrets:
		return fmt.Errorf("%d secrets, want 1 to %d", len(h.Secrets), MaxSecrets)
	case h.Mechanism != Mechanism:
		return fmt.Errorf("mechanism is %.40q, want %q", h.Mechanism, Mechanism)
	case h.Module == "" || len(h.Module) > maxModule || h.Module != Printable(h.Module):
		return errors.New("the module has no name")
	case len(h.Check.Wrapped) != checkBytes+wrapOverhead || len(h.Check.KCV) != CheckSize:
		return errors.New("the secret for checking has the wrong length")
	}
	for i, s := range h.Secrets {
		if err := s.check(); err != nil {
			return fmt.Errorf("secret %d: %w", i+1, err)
		}
		if slices.ContainsFunc(h.Secrets[:i], func(o Secret) bool { return o.Component == s.Component && o.Purpose == s.Purpose }) {
			return fmt.Errorf("secret %d: there are two for %s %s", i+1, s.Component, s.Purpose)
		}
	}
	return nil
}

// Printable returns a text as a record can hold it, without what does not print
// and cut to 128 bytes.
func Printable(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s))
	for len(s) > maxModule {
		_, n := utf8.DecodeLastRuneInString(s)
		s = strings.TrimSpace(s[:len(s)-n])
	}
	return s
}

// check compares a record with what it is about.
func (r Record) check(h Header, s Secret) error {
	switch {
	case r.Component != s.Component || r.Purpose != s.Purpose || r.Kind != s.Kind:
		return verdict.New(verdict.ProvisionOrder, "", "it is for %.32s %.32s (%.10s), want %s %s (%s)", r.Component, r.Purpose, r.Kind, s.Component, s.Purpose, s.Kind)
	case r.Mechanism != h.Mechanism || r.Module != h.Module:
		return verdict.New(verdict.ProvisionFormat, "", "mechanism and module are not those of the header")
	case len(r.Wrapped) != s.Bytes+wrapOverhead:
		return verdict.New(verdict.ProvisionFormat, "", "%d bytes wrapped, want %d", len(r.Wrapped), s.Bytes+wrapOverhead)
	case len(r.KCV) != CheckSize:
		return verdict.New(verdict.ProvisionFormat, "", "check value of %d bytes, want %d", len(r.KCV), CheckSize)
	case s.Kind != Recipient && (len(r.PublicKey) > 0 || len(r.KeyID) > 0):
		return verdict.New(verdict.ProvisionFormat, "", "public key of what is no recipient")
	case s.Kind != Recipient:
		return nil
	}
	to, err := encrypt.ParseRecipient(r.PublicKey)
	switch {
	case err != nil:
		return verdict.Wrap(err, verdict.ProvisionFormat, "")
	case subtle.ConstantTimeCompare(to.KeyID, r.KeyID) != 1: // the id is the hash of the canonical encoding
		return verdict.New(verdict.ProvisionFormat, "", "key id %x is not that of the public key, %x", []byte(r.KeyID), to.KeyID)
	}
	return nil
}

// Reader reads a file, strictly.
type Reader struct {
	Header Header

	in     *bufio.Reader
	line   int   // of the last one that was read, from 1
	offset int64 // behind it
	n      int   // records
	serial string
	seen   map[string]int // serial to line
	digest hash.Hash
}

// errTorn says that the last line has no line feed.
var errTorn = errors.New("the file ends in the middle of a record")

// NewReader reads the header. A file that has no good one is a verdict.Error
// with the reason provision-format.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, maxHeader), seen: map[string]int{}, digest: sha256.New()}
	line, err := r.next(maxHeader)
	if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
		return nil, verdict.New(verdict.ProvisionFormat, "records", "there is no header")
	}
	if err != nil {
		return nil, err
	}
	if err := decode(line, &r.Header); err != nil {
		return nil, verdict.Wrap(err, verdict.ProvisionFormat, "records: line 1")
	}
	if err := r.Header.check(); err != nil {
		return nil, verdict.Wrap(err, verdict.ProvisionFormat, "records: line 1")
	}
	return r, nil
}

func (r *Reader) next(limit int) ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	long := false
	for errors.Is(err, bufio.ErrBufferFull) { // a lost line feed, or a tail that never reached the disk
		long = true
		line, err = r.in.ReadSlice('\n')
	}
	switch {
	case err == nil && (long || len(line) > limit):
		return nil, verdict.New(verdict.ProvisionFormat, r.at(1), "longer than %d bytes", limit)
	case errors.Is(err, io.EOF) && (long || len(line) > 0):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	r.line++
	r.offset += int64(len(line))
	return line, nil
}

// at names the line that is so many behind the last one.
func (r *Reader) at(n int) string { return fmt.Sprintf("records: line %d", r.line+n) }

// Next returns the next record, io.EOF behind the last one of a complete file,
// and a verdict.Error with the reason provision-incomplete where another one
// should begin or end and the file does instead.
func (r *Reader) Next() (Record, error) {
	rec, err := r.read()
	missing := r.Header.records() - r.n
	switch {
	case errors.Is(err, errTorn):
		return Record{}, verdict.New(verdict.ProvisionIncomplete, "records", "%d of %d are missing, and the file ends in the middle of one", missing, r.Header.records())
	case errors.Is(err, io.EOF) && missing > 0:
		return Record{}, verdict.New(verdict.ProvisionIncomplete, "records", "%d of %d are missing", missing, r.Header.records())
	case errors.Is(err, io.EOF) && digestText(r.digest) != r.Header.Devices.Digest:
		return Record{}, verdict.New(verdict.ProvisionOrder, "records", "they are of other devices than the header says")
	}
	return rec, err
}

// records is how many a complete file has.
func (h Header) records() int { return h.Devices.Count * len(h.Secrets) }

// read returns io.EOF behind the last whole line, errTorn when more follows.
func (r *Reader) read() (Record, error) {
	line, err := r.next(maxRecord)
	if err != nil {
		return Record{}, err
	}
	var rec Record
	if err := decode(line, &rec); err != nil {
		return Record{}, verdict.Wrap(err, verdict.ProvisionFormat, r.at(0))
	}
	secret := r.Header.Secrets[r.n%len(r.Header.Secrets)]
	switch first := r.n%len(r.Header.Secrets) == 0; {
	case r.n == r.Header.records():
		return Record{}, verdict.New(verdict.ProvisionOrder, r.at(0), "there are more records than the header says")
	case !serialPattern.MatchString(rec.Serial):
		return Record{}, verdict.New(verdict.BadSerial, r.at(0), "%.70q", rec.Serial)
	case first && r.seen[rec.Serial] > 0:
		return Record{}, verdict.New(verdict.DuplicateSerial, r.at(0), "device %s has records in line %d already", rec.Serial, r.seen[rec.Serial])
	case first:
		r.serial, r.seen[rec.Serial] = rec.Serial, r.line
		addSerial(r.digest, rec.Serial)
	case rec.Serial != r.serial:
		return Record{}, verdict.New(verdict.ProvisionOrder, r.at(0), "device %s begins before device %s is complete", rec.Serial, r.serial)
	}
	if err := rec.check(r.Header, secret); err != nil {
		e, _ := errors.AsType[*verdict.Error](err)
		e.Object = r.at(0)
		return Record{}, e
	}
	r.n++
	return rec, nil
}
