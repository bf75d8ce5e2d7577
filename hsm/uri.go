package hsm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// URI names a token, or a key on it, and where the module and the PIN are
// (RFC 7512). An empty field is an attribute that was not given.
//
// Text fields hold the decoded bytes as they are: PKCS#11 says UTF-8, tokens
// hold anything. A URI never holds a PIN, so it may be printed anywhere.
type URI struct {
	// Path attributes that name a token.
	Token, Serial, Model, Manufacturer string
	SlotID                             *uint // parsed, but Open refuses it: slots get renumbered

	// Path attributes that name an object on the token.
	Object string // CKA_LABEL
	ID     []byte // CKA_ID
	Type   string // "cert", "data", "private", "public" or "secret-key"

	// Query attributes.
	ModulePath string // absolute path of the module
	ModuleName string
	PINSource  string // absolute path of a file with the PIN
}

const (
	scheme       = "pkcs11:"
	maxURILength = 4096
)

var (
	pathAttributes  = []string{"token", "serial", "model", "manufacturer", "slot-id", "object", "id", "type"}
	queryAttributes = []string{"module-path", "module-name", "pin-source"}
	objectTypes     = []string{"cert", "data", "private", "public", "secret-key"}
)

// Characters that RFC 7512, section 2.3, allows unencoded in a value, beside
// letters, digits and "-._~".
const (
	pathCharacters  = ":[]@!$'()*+,=&"
	queryCharacters = ":[]@!$'()*+,=/?|"
)

// ParseURI reads an RFC 7512 URI, which needs no escaping of "+": it is a plus.
//
// An attribute given twice, an unknown or vendor-specific one, an empty value
// and a character that must be percent-encoded are errors. pin-source must be
// an absolute path, with or without "file:"; a "|command" is never run. An
// error wraps ErrURI and names the attribute, but never quotes the URI, which
// may hold a secret by mistake; pin-value also wraps ErrPINValue.
func ParseURI(s string) (URI, error) {
	if len(s) > maxURILength {
		return URI{}, fmt.Errorf("hsm: %w: longer than %d bytes", ErrURI, maxURILength)
	}
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return URI{}, fmt.Errorf("hsm: %w: it must begin with %q", ErrURI, scheme)
	}
	var u URI
	path, query, _ := strings.Cut(s[len(scheme):], "?")
	if err := u.parse(path, ";", pathAttributes, pathCharacters); err != nil {
		return URI{}, fmt.Errorf("hsm: %w: %w", ErrURI, err)
	}
	if err := u.parse(query, "&", queryAttributes, queryCharacters); err != nil {
		return URI{}, fmt.Errorf("hsm: %w: %w", ErrURI, err)
	}
	return u, nil
}

func (u *URI) parse(part, separator string, known []string, allowed string) error {
	if part == "" {
		return nil
	}
	var seen []string
	for i, attribute := range strings.Split(part, separator) {
		name, encoded, ok := strings.Cut(attribute, "=")
		switch {
		case !ok: // not quoted: it may be a secret that lost its name
			return fmt.Errorf("attribute %d of those separated by %q has no \"=\"", i+1, separator)
		case name == "pin-value":
			return ErrPINValue
		case !slices.Contains(known, name):
			return fmt.Errorf("attribute %.32q is not known here", name)
		case slices.Contains(seen, name):
			return fmt.Errorf("attribute %q is given twice", name)
		case encoded == "":
			return fmt.Errorf("attribute %q is empty", name)
		}
		seen = append(seen, name)
		value, err := percentDecode(encoded, allowed)
		if err == nil {
			err = u.set(name, value)
		}
		if err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	return nil
}

func (u *URI) set(name string, value []byte) error {
	text := string(value)
	switch name {
	case "token":
		u.Token = text
	case "serial":
		u.Serial = text
	case "model":
		u.Model = text
	case "manufacturer":
		u.Manufacturer = text
	case "slot-id":
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return errors.New("not a number below 2^32")
		}
		slot := uint(n)
		u.SlotID = &slot
	case "object":
		u.Object = text
	case "id":
		u.ID = value
	case "type":
		if !slices.Contains(objectTypes, text) {
			return fmt.Errorf("not one of %s", strings.Join(objectTypes, ", "))
		}
		u.Type = text
	case "module-path":
		if !isPath(text) {
			return errors.New("not an absolute path")
		}
		u.ModulePath = text
	case "module-name":
		u.ModuleName = text
	case "pin-source":
		if strings.HasPrefix(text, "|") {
			return errors.New("a command is never run")
		}
		if rest, ok := strings.CutPrefix(text, "file:"); ok {
			text = strings.TrimPrefix(rest, "//") // file:///path, without a host
		}
		if !isPath(text) {
			return errors.New("not \"file:\" and an absolute path")
		}
		u.PINSource = text
	}
	return nil
}

// isPath takes absolute paths that survive "file:" being put in front, where
// "//" would begin a host name.
func isPath(s string) bool {
	return filepath.IsAbs(s) && !strings.HasPrefix(s, "//") && !strings.Contains(s, "\x00")
}

// String returns the canonical form, which ParseURI reads back to the same
// value: fixed order of attributes, everything percent-encoded that may be,
// and the id always. It is ready to be pasted, between quotes in a shell.
func (u URI) String() string {
	var path, query []string
	add := func(part *[]string, name, value string, encode func(string) string) {
		if value != "" {
			*part = append(*part, name+"="+encode(value))
		}
	}
	add(&path, "token", u.Token, percentEncode)
	add(&path, "serial", u.Serial, percentEncode)
	add(&path, "model", u.Model, percentEncode)
	add(&path, "manufacturer", u.Manufacturer, percentEncode)
	if u.SlotID != nil {
		path = append(path, "slot-id="+strconv.FormatUint(uint64(*u.SlotID), 10))
	}
	add(&path, "object", u.Object, percentEncode)
	add(&path, "id", string(u.ID), percentEncodeAll)
	add(&path, "type", u.Type, percentEncode)
	add(&query, "module-path", u.ModulePath, percentEncodePath)
	add(&query, "module-name", u.ModuleName, percentEncode)
	if u.PINSource != "" {
		query = append(query, "pin-source=file:"+percentEncodePath(u.PINSource))
	}
	s := scheme + strings.Join(path, ";")
	if len(query) > 0 {
		s += "?" + strings.Join(query, "&")
	}
	return s
}

// namesToken reports whether any attribute restricts the token.
func (u URI) namesToken() bool {
	return u.Token != "" || u.Serial != "" || u.Model != "" || u.Manufacturer != ""
}

// matches reports whether every token attribute that is given equals the
// token's.
func (u URI) matches(info TokenInfo) bool {
	return (u.Token == "" || u.Token == info.Label) &&
		(u.Serial == "" || u.Serial == info.Serial) &&
		(u.Model == "" || u.Model == info.Model) &&
		(u.Manufacturer == "" || u.Manufacturer == info.Manufacturer)
}

func isUnreserved(c byte) bool { // RFC 3986, section 2.3
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func percentDecode(s, allowed string) ([]byte, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+3 > len(s) {
				return nil, errors.New("incomplete percent-encoding at its end")
			}
			v, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return nil, fmt.Errorf("wrong percent-encoding at byte %d", i)
			}
			b = append(b, v...)
			i += 2
		case isUnreserved(c) || strings.IndexByte(allowed, c) >= 0:
			b = append(b, c)
		default:
			return nil, fmt.Errorf("byte %d must be percent-encoded", i)
		}
	}
	return b, nil
}

func percentEncode(s string) string    { return encodeUnless(s, isUnreserved) }
func percentEncodeAll(s string) string { return encodeUnless(s, func(byte) bool { return false }) }
func percentEncodePath(s string) string {
	return encodeUnless(s, func(c byte) bool { return c == '/' || isUnreserved(c) })
}

func encodeUnless(s string, verbatim func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; verbatim(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
