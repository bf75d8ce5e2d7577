package mcuboot

import (
	"crypto/sha1" // RFC 9562 defines UUIDv5 over SHA-1; collisions only name two classes alike
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/otapack/otapack/sign/verdict"
)

// UUID is a vendor or class identifier, in the byte order of RFC 9562.
type UUID [16]byte

// namespaceDNS is the name space of domain names (RFC 9562, section 6.6).
var namespaceDNS = UUID{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}

// VendorUUID reads a vendor identifier as imgtool's --vid does: a UUID with or
// without its dashes, or a text, usually a domain name, of which it makes UUIDv5
// in the DNS name space. Unlike package manifest it keeps the text's case. Text
// that is empty or does not print is refused with verdict.UUIDForm.
func VendorUUID(text string) (UUID, error) { return parseUUID("vendor", text, namespaceDNS) }

// ClassUUID reads a class identifier as imgtool's --cid does: a UUID, or a text
// of which it makes UUIDv5 in the vendor's name space.
func ClassUUID(vendor UUID, text string) (UUID, error) { return parseUUID("class", text, vendor) }

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$|^[0-9a-fA-F]{32}$`)

func isUUID(text string) bool { return uuidForm.MatchString(text) }

func parseUUID(what, text string, namespace UUID) (UUID, error) {
	if isUUID(text) {
		var u UUID
		if _, err := hex.Decode(u[:], []byte(strings.ReplaceAll(text, "-", ""))); err != nil {
			return UUID{}, verdict.Wrap(err, verdict.UUIDForm, "mcuboot: "+what)
		}
		return u, nil
	}
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return UUID{}, verdict.New(verdict.UUIDForm, "mcuboot: "+what, "%q is neither a UUID nor a printable text", text)
	}
	h := sha1.New() // see the import
	h.Write(namespace[:])
	h.Write([]byte(text))
	u := UUID(h.Sum(nil)[:16])
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}

// String formats as 8-4-4-4-12 hexadecimal digits.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
