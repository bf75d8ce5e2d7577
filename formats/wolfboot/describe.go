package wolfboot

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otapack/otapack/sign/verdict"
)

// Field is one line of a description: what the file says, not whether it is true.
type Field struct {
	Section string // "header", "signed" or "unsigned"
	Name    string // of a TLV: its name in wolfboot.h without HDR_
	Value   string
	Offset  int // in the file, of a TLV's value, in bytes
}

// TLVs of builds that are not supported, where their value is more than bytes.
const (
	typeDeltaBase        Type = 0x05 // version of the image that a patch is for
	typeDeltaSize        Type = 0x06
	typeSHA3384          Type = 0x13
	typeSHA384           Type = 0x14
	typeDeltaInverse     Type = 0x15 // offset of the patch that goes back
	typeDeltaInverseSize Type = 0x16
)

// names are those of TLVs in wolfboot.h.
var names = map[Type]string{
	TypeVersion: "VERSION", TypeTimestamp: "TIMESTAMP", TypeSHA256: "SHA256", TypeImage: "IMG_TYPE",
	typeDeltaBase: "IMG_DELTA_BASE", typeDeltaSize: "IMG_DELTA_SIZE", 0x07: "IMG_DELTA_BASE_HASH",
	TypeKeyHint: "PUBKEY", 0x11: "SECONDARY_CIPHER", 0x12: "SECONDARY_PUBKEY", typeSHA3384: "SHA3_384", typeSHA384: "SHA384",
	typeDeltaInverse: "IMG_DELTA_INVERSE", typeDeltaInverseSize: "IMG_DELTA_INVERSE_SIZE",
	TypeSignature: "SIGNATURE", 0x21: "POLICY_SIGNATURE", 0x22: "SECONDARY_SIGNATURE", 0x23: "CERT_CHAIN",
}

// signers are the upper byte of an image type (AUTH_KEY_ in wolfboot.h).
var signers = map[uint16]string{
	0x01: "ED25519", 0x02: "ECC256", 0x03: "RSA2048", 0x04: "RSA4096", 0x05: "ED448", 0x06: "ECC384", 0x07: "ECC521",
	0x08: "RSA3072", 0x09: "LMS", 0x0a: "XMSS", 0x0b: "ML_DSA", 0x0c: "RSAPSS2048", 0x0d: "RSAPSS3072", 0x0e: "RSAPSS4096", 0xff: "not signed",
}

// Describe lists what is in an image, in its order, for people and for --json. The
// size of the header does not stand in it: it is what the firmware leaves of the
// file. TLVs are found as the bootloader finds them; of builds that are not
// supported they have a name, too. It refuses what does not begin as an image.
func Describe(b []byte) ([]Field, error) {
	if len(b) < MinHeader {
		return nil, verdict.At(int64(len(b)), verdict.Truncated, "wolfboot", "%d bytes, want a header of %d", len(b), MinHeader)
	}
	if string(b[:4]) != Magic {
		return nil, verdict.At(0, verdict.ImageMagic, "wolfboot", "begins with %x, want %q", b[:4], Magic)
	}
	size := binary.LittleEndian.Uint32(b[4:])
	fields := []Field{{"header", "firmware-size", fmt.Sprint(size), 4}}
	header := int64(len(b)) - int64(size)
	if header < MinHeader || header > MaxHeader {
		fields = append(fields, Field{"header", "header-size", fmt.Sprintf("not known: the file has %d bytes", len(b)), 0})
		header = MinHeader
	} else {
		fields = append(fields, Field{"header", "header-size", fmt.Sprint(header), 0})
	}
	section := "signed"
	for e := range walk(b[:header]) {
		fields = append(fields, Field{section, e.Type.String(), e.text(), e.Offset})
		if e.Type == TypeSHA256 || e.Type == typeSHA384 || e.Type == typeSHA3384 {
			section = "unsigned"
		}
	}
	return fields, nil
}

// String returns the name in wolfboot.h without HDR_, or the number.
func (t Type) String() string {
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("0x%04x", uint16(t))
}

// text is the value of a TLV.
func (e TLV) text() string {
	switch {
	case e.Type == TypeTimestamp && len(e.Value) == 8:
		seconds := binary.LittleEndian.Uint64(e.Value)
		if seconds >= 253402300800 { // the year 10000
			return fmt.Sprint(seconds)
		}
		return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
	case e.Type == TypeImage && len(e.Value) == 2:
		return kindText(binary.LittleEndian.Uint16(e.Value))
	case !slices.Contains([]Type{TypeVersion, typeDeltaBase, typeDeltaSize, typeDeltaInverse, typeDeltaInverseSize}, e.Type):
	case len(e.Value) == 4:
		return fmt.Sprint(binary.LittleEndian.Uint32(e.Value))
	case len(e.Value) == 2: // sizes of patches, by older releases of wolfBoot's tool
		return fmt.Sprint(binary.LittleEndian.Uint16(e.Value))
	}
	return hex.EncodeToString(e.Value)
}

// kindText words the value of TypeImage.
func kindText(kind uint16) string {
	words := []string{fmt.Sprintf("0x%04x", kind)}
	if name, ok := signers[kind>>8]; ok {
		words = append(words, name)
	}
	if kind&extraMask == extraDelta {
		words = append(words, "delta update")
	}
	switch part := kind & partMask; part {
	case 0:
		words = append(words, "the bootloader itself")
	case partApplication:
		words = append(words, "application")
	default:
		words = append(words, fmt.Sprintf("partition %d", part))
	}
	return strings.Join(words, ", ")
}
