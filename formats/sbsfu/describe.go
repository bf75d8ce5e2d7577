package sbsfu

import (
	"encoding/hex"
	"fmt"

	"github.com/otapack/otapack/sign/verdict"
)

// Field is one line of a description: what the file says, not whether it is true.
type Field struct {
	Section string // "header" or "firmware"
	Name    string
	Value   string
	Offset  int // in the file, in bytes
}

// Offsets of the fields that the AES-GCM scheme places elsewhere (se_def_metadata.h).
const (
	atPartTagGCM = 36
	atNonceGCM   = 52
	atMAC        = 176
	tagSizeGCM   = 16
	nonceSizeGCM = 12
)

// Describe lists what is in a package, in its order, for people and for --json.
// The scheme does not stand in it and is told by what does: AES-GCM has a message
// authentication code in place of a signature, AES-CBC an IV where the scheme
// without encryption has zeros. Where the firmware begins follows from the file's
// length. It refuses what does not begin with the header of a package.
func Describe(b []byte) ([]Field, error) {
	if len(b) < HeaderSize {
		return nil, verdict.New(verdict.Truncated, "sbsfu: header", "%d bytes, want %d", len(b), HeaderSize)
	}
	scheme := Clear
	switch {
	case isGCM(b):
		scheme = AESGCM
	case !blank(b[atIV:atReservedCBC], 0):
		scheme = AESCBC
	}
	h := decode(b, scheme)
	if h.Slot() == 0 {
		return nil, verdict.At(atMagic, verdict.ImageMagic, "sbsfu", "magic is %q, want SFU1, SFU2 or SFU3", h.Magic[:])
	}
	fields := []Field{
		{"header", "magic", string(h.Magic[:]), atMagic},
		{"header", "protocol", fmt.Sprint(h.Protocol), atProtocol},
		{"header", "version", fmt.Sprint(h.Version), atVersion},
		{"header", "size", fmt.Sprint(h.Size), atSize},
	}
	if h.Partial() {
		fields = append(fields, Field{"header", "part", fmt.Sprintf("%d bytes from %d on", h.PartSize, h.PartOffset), atPartOffset})
	}
	if scheme == AESGCM {
		fields = append(fields, Field{"header", "scheme", scheme.String() + ": no signature, and not supported", atMAC}, bytesField(b, "tag", atTag, tagSizeGCM),
			bytesField(b, "part-tag", atPartTagGCM, tagSizeGCM), bytesField(b, "nonce", atNonceGCM, nonceSizeGCM), bytesField(b, "mac", atMAC, tagSizeGCM))
	} else {
		fields = append(fields, Field{"header", "scheme", scheme.String(), atIV}, bytesField(b, "tag", atTag, TagSize), bytesField(b, "part-tag", atPartTag, TagSize))
		if scheme == AESCBC {
			fields = append(fields, bytesField(b, "iv", atIV, IVSize))
		}
		fields = append(fields, bytesField(b, "signature", atSignature, signatureSize))
	}
	if !blank(h.State[:], 0xff) {
		fields = append(fields, bytesField(b, "state", atState, stateSize))
	}
	if !blank(h.Previous[:], 0) {
		fields = append(fields, bytesField(b, "previous", atPrevFingerprint, TagSize))
	}
	if at := int64(len(b)) - int64(h.PartSize); at >= HeaderSize {
		return append(fields, Field{"firmware", "offset", fmt.Sprint(at), int(at)}), nil
	}
	return append(fields, Field{"firmware", "offset", fmt.Sprintf("not in the file: %d bytes, and %d are to be sent", len(b), h.PartSize), HeaderSize}), nil
}

// bytesField is a field of the header in hexadecimal.
func bytesField(b []byte, name string, at, n int) Field {
	return Field{"header", name, hex.EncodeToString(b[at : at+n]), at}
}
