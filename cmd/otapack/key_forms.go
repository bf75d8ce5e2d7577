package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
)

// keyForm writes a public key in one of the forms of "key export".
type keyForm struct {
	name  string // as in --as
	write func(alias string, k sign.PublicKey) ([]byte, error)
}

var keyForms = []keyForm{
	{"pem", func(_ string, k sign.PublicKey) ([]byte, error) { return k.PEM(), nil }},
	{"der", func(_ string, k sign.PublicKey) ([]byte, error) { return k.DER(), nil }},
	{"jwk", func(_ string, k sign.PublicKey) ([]byte, error) { return k.JWK(), nil }},
	{"cose", func(_ string, k sign.PublicKey) ([]byte, error) { return cose.EncodeKey(k) }},
	{"c", func(alias string, k sign.PublicKey) ([]byte, error) { return cHeader(alias, k), nil }},
	{"nrf", func(_ string, k sign.PublicKey) ([]byte, error) { return nrfSource(k) }},
	{"mcuboot", func(_ string, k sign.PublicKey) ([]byte, error) { return mcubootSource(k), nil }},
	{"mcuboot-hash", func(_ string, k sign.PublicKey) ([]byte, error) { return k.Algorithm().Digest(k.DER()), nil }},
}

// render writes a key, unless the form is made of a point's coordinates and the
// key has none.
func (f keyForm) render(alias string, k sign.PublicKey) ([]byte, error) {
	if k.Point() == nil && !slices.Contains([]string{"pem", "der", "jwk", "cose", "mcuboot"}, f.name) {
		return nil, fmt.Errorf("form %s has X and Y of a point, an %s key has none: %w", f.name, k.Algorithm(), sign.ErrCurve)
	}
	return f.write(alias, k)
}

// ihexForm is the name of the form that takes an address.
const ihexForm = "ihex"

// parseKeyForm finds what --as names.
func parseKeyForm(as string) (keyForm, error) {
	if name, address, ok := strings.Cut(as, "@"); ok && name == ihexForm {
		at, err := strconv.ParseUint(address, 0, 32)
		if err != nil {
			return keyForm{}, usagef("--as %q: want an address below 2^32, for example %s@0xfe000", as, ihexForm)
		}
		return keyForm{as, func(_ string, k sign.PublicKey) ([]byte, error) { return intelHex(uint32(at), k) }}, nil
	}
	var names []string
	for _, f := range keyForms {
		if f.name == as {
			return f, nil
		}
		names = append(names, f.name)
	}
	return keyForm{}, usagef("--as %q: want %s or %s@ADDRESS", as, strings.Join(names, ", "), ihexForm)
}

// cHeader renders a key for a bootloader build.
func cHeader(alias string, k sign.PublicKey) []byte {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, alias)
	id := k.ID()
	var b strings.Builder
	fmt.Fprintf(&b, "/* Public key %s for %s, made by otapack. */\n", alias, k.Algorithm())
	fmt.Fprintf(&b, "/* %s */\n#ifndef OTAPACK_KEY_%s_H\n#define OTAPACK_KEY_%s_H\n\n#include <stdint.h>\n", id, strings.ToUpper(name), strings.ToUpper(name))
	array := func(what, comment string, data []byte) {
		fmt.Fprintf(&b, "\n/* %s */\nstatic const uint8_t otapack_key_%s_%s[%d] = {", comment, name, what, len(data))
		writeCBytes(&b, data, 12, "   ")
		b.WriteString("\n};\n")
	}
	array("point", "X then Y, big endian.", k.Point()[1:])
	array("id", "SHA-256 of the DER SubjectPublicKeyInfo; the first 8 bytes are the COSE key hint.", id[:])
	b.WriteString("\n#endif\n")
	return []byte(b.String())
}

// nrfSource is the C source that nrfutil keys display --key pk --format code
// writes for the bootloader of the nRF5 SDK: X and Y, each with its bytes
// reversed, four-byte aligned (nrf_crypto reads little endian). That bootloader
// has P-256 only.
func nrfSource(k sign.PublicKey) ([]byte, error) {
	if k.Algorithm() != sign.ESP256 {
		return nil, fmt.Errorf("the nRF5 SDK bootloader verifies %s, this is a key for %s: %w", sign.ESP256, k.Algorithm(), sign.ErrCurve)
	}
	point := k.Point()[1:]
	x, y := point[:len(point)/2], point[len(point)/2:]
	slices.Reverse(x)
	slices.Reverse(y)
	var b strings.Builder
	fmt.Fprintf(&b, "/* Public key %s, made by otapack: X then Y, both little endian. */\n", k.ID())
	b.WriteString("#include \"stdint.h\"\n#include \"compiler_abstraction.h\"\n\n__ALIGN(4) const uint8_t pk[64] =\n{")
	writeCBytes(&b, x, len(x), "   ")
	writeCBytes(&b, y, len(y), "   ")
	b.WriteString("\n};\n")
	return []byte(b.String()), nil
}

// mcubootSource is the C source that imgtool getpub writes: the DER
// SubjectPublicKeyInfo under the names that MCUboot's keys.c refers to
// (scripts/imgtool/keys/general.py).
func mcubootSource(k sign.PublicKey) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "/* Public key %s, made by otapack: SubjectPublicKeyInfo in DER. */\n", k.ID())
	name := "ecdsa"
	if k.Algorithm() == sign.Ed25519 {
		name = "ed25519"
	}
	fmt.Fprintf(&b, "const unsigned char %s_pub_key[] = {", name)
	writeCBytes(&b, k.DER(), 8, "   ")
	fmt.Fprintf(&b, "\n};\nconst unsigned int %s_pub_key_len = %d;\n", name, len(k.DER()))
	return []byte(b.String())
}

// writeCBytes writes the elements of a C array, a number of them to a line.
func writeCBytes(b *strings.Builder, data []byte, perLine int, indent string) {
	for i, c := range data {
		if i%perLine == 0 {
			b.WriteString("\n" + indent)
		}
		fmt.Fprintf(b, " 0x%02x,", c)
	}
}

// intelHex places X and Y, big endian and without the 0x04 in front of them, at
// an address, for a key that is flashed and not compiled in.
func intelHex(address uint32, k sign.PublicKey) ([]byte, error) {
	image, err := formats.NewImage([]formats.Segment{{Addr: address, Data: k.Point()[1:]}})
	if err != nil {
		return nil, usagef("--as %s@0x%x: %w", ihexForm, address, err)
	}
	var b bytes.Buffer
	if err := firmware.WriteIntelHex(&b, image); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
