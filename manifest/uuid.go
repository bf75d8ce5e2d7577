package manifest

import (
	"crypto/sha1" // RFC 9562 defines UUIDv5 over SHA-1; collisions only name two revisions alike
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// UUID is a 16-byte identifier in the byte order of RFC 9562.
type UUID [16]byte

// namespaceDNS is the name space of domain names (RFC 9562, section 6.6).
var namespaceDNS = UUID{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}

// newUUID5 is UUIDv5 (RFC 9562, section 5.5).
func newUUID5(namespace UUID, name string) UUID {
	h := sha1.New() // see the import
	h.Write(namespace[:])
	h.Write([]byte(name))
	u := UUID(h.Sum(nil)[:16])
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u
}

// VendorID returns the vendor identifier: UUIDv5 of the vendor's domain name in
// lower case, in the DNS name space (draft-ietf-suit-manifest-37, section
// 8.4.8.2).
func VendorID(domain string) UUID { return newUUID5(namespaceDNS, strings.ToLower(domain)) }

// ClassID returns the class identifier of one hardware-compatibility family:
// UUIDv5 of "model/revision" in the vendor's name space. Images for another
// revision of the board have another class and are refused by the device.
func ClassID(vendor UUID, model, revision string) UUID {
	return newUUID5(vendor, model+"/"+revision)
}

// Equal compares in constant time.
func (u UUID) Equal(other UUID) bool { return subtle.ConstantTimeCompare(u[:], other[:]) == 1 }

// String formats as 8-4-4-4-12 hexadecimal digits.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// MarshalText encodes as String does.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads 8-4-4-4-12 hexadecimal digits.
func (u *UUID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "-", ""))
	if err != nil || len(b) != len(u) || UUID(b).String() != strings.ToLower(string(text)) {
		return fmt.Errorf("manifest: UUID %q, want 8-4-4-4-12 hexadecimal digits", text)
	}
	copy(u[:], b)
	return nil
}
