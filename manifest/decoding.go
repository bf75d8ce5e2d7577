package manifest

import (
	"fmt"

	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// Coding is how the payload of a T4 is coded.
type Coding uint8

// The codings. Their numbers are part of the format.
const (
	CodingOD1        Coding = 1 // difference to a base, or a whole image (docs/delta.md)
	CodingZstd       Coding = 2 // one Zstandard frame (RFC 8878)
	CodingDeflate    Coding = 3 // raw DEFLATE (RFC 1951)
	CodingHPatchLite Coding = 4 // HPatchLite patch of version 1
	CodingDetools    Coding = 5 // detools sequential patch
)

// String returns the name of the coding.
func (c Coding) String() string {
	switch c {
	case CodingOD1:
		return "od1"
	case CodingZstd:
		return "zstd"
	case CodingDeflate:
		return "deflate"
	case CodingHPatchLite:
		return "hpatchlite"
	case CodingDetools:
		return "detools"
	}
	return fmt.Sprintf("coding %d", uint8(c))
}

// based reports whether a payload of the coding is a difference to a base; od1
// payloads are that or whole images.
func (c Coding) based(base bool) bool {
	switch c {
	case CodingZstd, CodingDeflate:
		return !base
	case CodingHPatchLite, CodingDetools:
		return base
	}
	return true
}

// Decoding says how a device makes the image from the payload, once that is
// decrypted.
type Decoding struct {
	Coding Coding
	RAM    uint32 // what the decoder needs at most, in bytes
	// Base is the plain image that the payload is a difference to, nil when it
	// is a whole image. A device that runs another one takes another payload.
	Base *Content
}

func (d Decoding) check() error {
	switch {
	case d.Coding < CodingOD1 || d.Coding > CodingDetools:
		return fmt.Errorf("manifest: %s, want %d to %d", d.Coding, CodingOD1, CodingDetools)
	case d.RAM == 0:
		return fmt.Errorf("manifest: a decoder for %s that needs no RAM", d.Coding)
	case d.Base != nil && d.Base.Size == 0:
		return fmt.Errorf("manifest: an empty base")
	case !d.Coding.based(d.Base != nil):
		return fmt.Errorf("manifest: %s with a base is %t", d.Coding, d.Base != nil)
	}
	return nil
}

// encode returns the payload-info, which the byte string of the decode command
// holds.
func (d Decoding) encode() ([]byte, error) {
	m := map[int64]any{decodeCoding: d.Coding, decodeRAM: d.RAM}
	if d.Base != nil {
		m[decodeBaseDigest] = digestWire{Algorithm: digestSHA256, Bytes: d.Base.Digest[:]}
		m[decodeBaseSize] = d.Base.Size
	}
	return cose.Marshal(m)
}

// readDecoding reads a payload-info.
func readDecoding(r *strictcbor.Reader) Decoding {
	var d Decoding
	var digest *Digest
	var size *uint32
	start := r.Offset()
	r.Map(maxPairs, func(k strictcbor.Key) {
		at := r.Offset()
		switch {
		case k.IsText:
			r.FailAt(at, verdict.UnknownParameter, "text key")
		case k.Int == decodeCoding:
			v := r.Uint(1<<32 - 1)
			if r.OK() && (v < uint64(CodingOD1) || v > uint64(CodingDetools)) {
				r.FailAt(at, verdict.UnknownCoding, "coding %d, want %d to %d", v, CodingOD1, CodingDetools)
			}
			d.Coding = Coding(v)
		case k.Int == decodeRAM:
			if d.RAM = uint32(r.Uint(1<<32 - 1)); r.OK() && d.RAM == 0 {
				r.FailAt(at, verdict.MissingParameter, "a decoder that needs no RAM")
			}
		case k.Int == decodeBaseDigest:
			v := readDigest(r)
			digest = &v
		case k.Int == decodeBaseSize:
			v := uint32(r.Uint(1<<32 - 1))
			if r.OK() && v == 0 {
				r.FailAt(at, verdict.MissingImageSize, "base size is zero")
			}
			size = &v
		default:
			r.FailAt(at, verdict.UnknownParameter, "payload information %d", k.Int)
		}
	})
	r.End(verdict.TrailingBytes)
	switch {
	case !r.OK():
	case d.Coding == 0 || d.RAM == 0 || (digest == nil) != (size == nil):
		r.FailAt(start, verdict.MissingParameter, "payload information lacks the coding, the decoder's RAM, or half of the base")
	case !d.Coding.based(digest != nil):
		r.FailAt(start, verdict.UnknownCoding, "%s with a base is %t", d.Coding, digest != nil)
	case digest != nil:
		d.Base = &Content{*digest, *size}
	}
	return d
}
