package vectors

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/compress"
	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/formats/payload/delta/detools"
	"github.com/otapack/otapack/formats/payload/delta/hpatchlite"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// coded is a payload of template T4, and what it is made of.
type coded struct {
	file           string // that it is published as
	payload        []byte
	running, image []byte // running is nil for a whole image
	decoding       manifest.Decoding
}

// coder makes payloads.
type coder struct {
	name   string
	patch  bool // of the running image
	coding manifest.Coding
	encode func(t *testing.T, base uint32, old, image []byte) ([]byte, error)
}

// coders are those of both chips, and then those of chips with two banks.
func coders(chip string) []coder {
	od1 := func(size, restart int) func(*testing.T, uint32, []byte, []byte) ([]byte, error) {
		return func(t *testing.T, base uint32, old, image []byte) ([]byte, error) {
			return delta.Encode(t.Context(), old, image, delta.Params{
				OldBase: base, NewBase: base, RAMStart: variables, RAMEnd: variables + 64<<10, MapSize: size, Restart: restart,
			})
		}
	}
	whole := func(c compress.Codec, window int) func(*testing.T, uint32, []byte, []byte) ([]byte, error) {
		return func(_ *testing.T, _ uint32, _, image []byte) ([]byte, error) {
			return compress.Encode(c, image, window)
		}
	}
	sequential := func(o detools.Options) func(*testing.T, uint32, []byte, []byte) ([]byte, error) {
		return func(t *testing.T, _ uint32, old, image []byte) ([]byte, error) {
			return detools.Encode(t.Context(), old, image, o)
		}
	}
	all := []coder{
		{"od1 image", false, manifest.CodingOD1, od1(delta.DefaultMap, 0)},
		{"od1 image in the small model", false, manifest.CodingOD1, od1(64, 0)},
		{"deflate image", false, manifest.CodingDeflate, whole(compress.Deflate, 4<<10)},
		{"zstd image", false, manifest.CodingZstd, whole(compress.Zstd, 1<<10)},
		{"od1 patch", true, manifest.CodingOD1, od1(delta.DefaultMap, 0)},
	}
	if chip == "stm32l4" {
		return all
	}
	return append(all, []coder{
		{"od1 patch in the small model", true, manifest.CodingOD1, od1(64, 0)},
		{"od1 patch with restart points", true, manifest.CodingOD1, od1(delta.DefaultMap, delta.MinRestart)},
		{"hpatchlite patch", true, manifest.CodingHPatchLite, func(t *testing.T, _ uint32, old, image []byte) ([]byte, error) {
			return hpatchlite.Encode(t.Context(), old, image, hpatchlite.DefaultDictionary)
		}},
		{"detools patch with heatshrink", true, manifest.CodingDetools, sequential(detools.Default)},
		{"detools patch with runs", true, manifest.CodingDetools, sequential(detools.Options{Compression: detools.CRLE})},
	}...)
}

// decoderRAM is what decoding a payload takes, as it says itself.
func decoderRAM(coding manifest.Coding, payload []byte, limit int) (uint32, error) {
	var ram int
	var err error
	switch coding {
	case manifest.CodingOD1:
		var h delta.Header
		h, err = delta.ReadHeader(payload)
		ram = h.DecoderRAM()
	case manifest.CodingHPatchLite:
		var info hpatchlite.Info
		info, err = hpatchlite.Describe(payload)
		ram = info.RAM
	case manifest.CodingDetools:
		var info detools.Info
		info, err = detools.Describe(payload)
		ram = info.RAM
	default:
		codec := map[manifest.Coding]compress.Codec{manifest.CodingZstd: compress.Zstd, manifest.CodingDeflate: compress.Deflate}[coding]
		var window int
		_, window, err = compress.Decode(codec, payload, limit)
		ram = codec.DecoderRAM(window)
	}
	return uint32(ram), err
}

// code makes a payload for a chip. One that is published stays as it is while it
// decodes to its image: a better encoder is no reason for new vectors.
func (g *generator) code(c coder, prefix string, base uint32) coded {
	g.t.Helper()
	out := coded{file: prefix + slug(c.name) + ".bin", image: program(g.t, base, true), decoding: manifest.Decoding{Coding: c.coding}}
	if c.patch {
		out.running = program(g.t, base, false)
		old := content(out.running)
		out.decoding.Base = &old
	}
	var err error
	if out.payload, err = os.ReadFile(filepath.Join(published, "files", out.file)); err != nil || !out.decodes(g.t) {
		if out.payload, err = c.encode(g.t, base, out.running, out.image); err != nil {
			g.t.Fatal(err)
		}
	}
	if out.decoding.RAM, err = decoderRAM(c.coding, out.payload, len(out.image)); err != nil {
		g.t.Fatal(err)
	}
	g.base(out.file, out.payload)
	return out
}

func (c coded) decodes(t *testing.T) bool {
	d := c.decoding
	d.RAM = math.MaxUint32
	r, err := bootloader.Decode(t.Context(), d, uint32(len(c.image)), staged(c.running), bytes.NewReader(c.payload))
	if err != nil {
		return false
	}
	image, err := io.ReadAll(r)
	return err == nil && bytes.Equal(image, c.image)
}

// The made-up program, and where its variables are.
const (
	routines  = 60
	variables = 0x20000000
)

// routine is one of the program's.
type routine struct {
	body  []uint16 // 0 is a call, 1 loads a word
	calls []int
	words []func(at []int) uint32 // from where routines are
}

// program links a made-up program at an address: routines that call each other and
// load words from behind them, which are pointers, variables and constants, and a
// text. The edited one has routines that are longer or call others, other constants
// and registers, and variables that moved: so most routines moved, and the words
// that point to them.
func program(t testing.TB, base uint32, edited bool) []byte {
	t.Helper()
	random := testBytes(t, "program", routines*64)
	next := func(n int) int {
		b := random[0]
		random = random[1:]
		return int(b) % n
	}
	moved := func(moves bool, by uint32) uint32 {
		if edited && moves {
			return by
		}
		return 0
	}
	var all []routine
	for i := range routines {
		r := routine{body: []uint16{0xb510}}
		for range 6 + next(14) {
			switch op, x := next(8), next(256); op {
			case 0:
				r.body, r.calls = append(r.body, 0), append(r.calls, (x+int(moved(i == 17, 7)))%routines)
			case 1:
				word := func([]int) uint32 { return uint32(x)*0x01010107 + moved(i%9 == 4, 5) }
				switch x % 3 {
				case 0:
					word = func(at []int) uint32 { return base + uint32(at[x%routines]) | 1 }
				case 1:
					word = func([]int) uint32 { return variables + 4*(uint32(x)+moved(x > 100, 3)) }
				}
				r.body, r.words = append(r.body, 1), append(r.words, word)
			default:
				r.body = append(r.body, []uint16{0x2100, 0x6808, 0x4630, 0x1c40, 0xd001, 0x4288}[op-2]+uint16(x%16)^uint16(moved(i%13 == 6, 8)))
			}
		}
		if edited && i%19 == 9 {
			r.body = append(r.body, 0x2301, 0x4058+uint16(i), 0x6018, 0x1, 0x3b0a)
			r.words = append(r.words, func([]int) uint32 { return 0xe000ed00 })
		}
		r.body = append(r.body, 0xbd10)
		all = append(all, r)
	}
	text := "made-up program 1.4.1"
	if edited {
		text = "made-up program 1.4.2, edited"
	}
	return append(link(all), text...)
}

// link writes routines one after the other, each with its words behind it.
func link(all []routine) []byte {
	at, size := make([]int, len(all)), 0
	pool := func(r routine, from int) int { return (from + 2*len(r.body) + 2*len(r.calls) + 3) &^ 3 }
	for i, r := range all {
		at[i] = size
		size = pool(r, size) + 4*len(r.words)
	}
	var image []byte
	half := func(h int) { image = binary.LittleEndian.AppendUint16(image, uint16(h)) }
	for _, r := range all {
		words := pool(r, len(image))
		for _, h := range r.body {
			switch h {
			case 0: // BL
				distance := (at[r.calls[0]] - len(image) - 4) / 2
				half(0xf000 | distance>>11&0x7ff)
				half(0xf800 | distance&0x7ff)
				r.calls = r.calls[1:]
			case 1: // LDR R1, [PC, #…]
				half(0x4900 | (words-(len(image)+4)&^3)/4)
				words += 4
			default:
				half(int(h))
			}
		}
		if len(image)%4 != 0 {
			half(0xbf00)
		}
		for _, word := range r.words {
			image = binary.LittleEndian.AppendUint32(image, word(at))
		}
	}
	return image
}

// take makes the payload that of the parcel, and its base what the device runs.
func (p *parcel) take(c coded) {
	p.image, p.payload, p.running = c.image, slices.Clone(c.payload), c.running
	p.payloadFile, p.envelopeFile = c.file, "t4-image.suit"
	d := c.decoding
	if d.Base != nil {
		base := *d.Base
		d.Base, p.envelopeFile = &base, "t4-patch.suit"
	}
	if d.Coding == manifest.CodingZstd {
		p.device.DecoderRAM = 256 << 10 // all that an nRF52840 has
	}
	p.manifest.Image, p.manifest.Install.Decoding = content(c.image), &d
	p.send(p.payload)
}

// send signs for another payload.
func (p *parcel) send(payload []byte) {
	p.payload, p.manifest.Install.Received = payload, content(payload)
}

// undecodedRows are what any bootloader refuses of T4, whatever codings it has: the
// devices of these vectors run no image, and have less than 4 GiB of RAM.
func undecodedRows(chip string) []parcelRow {
	whole := func(p *parcel) { p.manifest.Install.Decoding.Base = nil }
	rows := []parcelRow{
		{name: "decoder that needs 4 GiB of RAM", change: func(p *parcel) { whole(p); p.manifest.Install.Decoding.RAM = math.MaxUint32 },
			step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "patch whose decoder needs 4 GiB of RAM", change: func(p *parcel) { p.manifest.Install.Decoding.RAM = math.MaxUint32 },
			step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "decoded image larger than the bank", change: func(p *parcel) { whole(p); p.manifest.Image.Size = p.device.BankSize + 1 },
			step: bootloader.StepSize, reason: verdict.ImageExceedsBank},
		{name: "coded payload of another size", change: func(p *parcel) { whole(p); p.manifest.Install.Received.Size++ },
			step: bootloader.StepSize, reason: verdict.PayloadElementSize},
		{name: "whole image whose payload is another", change: func(p *parcel) { whole(p); p.manifest.Install.Received.Digest[0] ^= 1 },
			step: bootloader.StepCiphertext, reason: verdict.PayloadDigestMismatch},
		{name: "older patch", change: func(p *parcel) { p.manifest.Sequence-- }, step: bootloader.StepSequence, reason: verdict.SequenceRollback},
	}
	if chip == "stm32l4" {
		return append(rows, parcelRow{name: "patch of the image in the only bank", change: func(*parcel) {}, step: bootloader.StepDecoder, reason: verdict.DeltaInPlace})
	}
	return append(rows, parcelRow{name: "patch of an image that the device does not run", change: func(*parcel) {}, step: bootloader.StepBase, reason: verdict.BaseMismatch})
}

// decodedRows are about payloads that have to be decoded.
func decodedRows(t *testing.T, chip string, all map[string]coded) []parcelRow {
	rows := undecodedRows(chip)
	for _, c := range coders(chip) {
		if c.patch && chip == "stm32l4" {
			continue // see below
		}
		rows = append(rows, parcelRow{name: c.name, change: func(p *parcel) { p.take(all[c.name]) }})
		switch c.name {
		case "od1 image", "deflate image", "zstd image", "od1 patch", "hpatchlite patch", "detools patch with heatshrink":
			rows = append(rows, damagedRows(all[c.name], c.name)...)
		}
	}
	rows = append(rows, roomRows(all)...)
	if chip == "stm32l4" {
		return append(rows,
			parcelRow{name: "patch of the running image in the only bank", change: func(p *parcel) { p.take(all["od1 patch"]) },
				step: bootloader.StepDecoder, reason: verdict.DeltaInPlace})
	}
	return append(append(rows, patchRows(t, all)...), crossedRows(all)...)
}

// damagedRows are payloads that are signed, and decode to nothing or to something
// else.
func damagedRows(c coded, name string) []parcelRow {
	changed := func(change func(p *parcel)) func(p *parcel) {
		return func(p *parcel) { p.take(c); change(p) }
	}
	long := verdict.PayloadCoding // the size stands in the payload
	if c.decoding.Coding == manifest.CodingZstd || c.decoding.Coding == manifest.CodingDeflate {
		long = verdict.DecodedSize
	}
	rows := []parcelRow{
		{name: name + ", signed for another image", change: changed(func(p *parcel) { p.manifest.Image.Digest[31] ^= 1 }),
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
		{name: name + ", image a byte shorter than signed", change: changed(func(p *parcel) { p.manifest.Image.Size++ }),
			step: bootloader.StepImage, reason: verdict.DecodedSize},
		{name: name + ", image a byte longer than signed", change: changed(func(p *parcel) { p.manifest.Image.Size-- }),
			step: bootloader.StepImage, reason: long},
		{name: name + ", beginning damaged", change: changed(func(p *parcel) { p.payload[0] ^= 6; p.send(p.payload) }),
			step: bootloader.StepImage, reason: verdict.PayloadCoding},
		{name: name + ", last byte missing", change: changed(func(p *parcel) { p.send(p.payload[:len(p.payload)-1]) }),
			step: bootloader.StepImage, reason: verdict.PayloadCoding},
	}
	if c.decoding.Coding == manifest.CodingZstd {
		return rows // our decoder looks for the end first, others write on the way there
	}
	return append(rows, parcelRow{name: name + ", a byte behind its end", change: changed(func(p *parcel) { p.send(append(p.payload, 0)) }),
		step: bootloader.StepImage, reason: verdict.PayloadCoding})
}

// roomRows are about the decoder and the order of checks, with whole images.
func roomRows(all map[string]coded) []parcelRow {
	image := func(change func(p *parcel)) func(p *parcel) {
		return func(p *parcel) { p.take(all["deflate image"]); change(p) }
	}
	return []parcelRow{
		{name: "decoder that takes all RAM there is for it", change: image(func(p *parcel) { p.device.DecoderRAM = p.manifest.Install.Decoding.RAM })},
		{name: "decoder that takes a byte more than there is for it", change: image(func(p *parcel) { p.device.DecoderRAM = p.manifest.Install.Decoding.RAM - 1 }),
			step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "decoder on a device without RAM for it", change: image(func(p *parcel) { p.device.DecoderRAM = 0 }),
			step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "decoder that takes less RAM than announced", change: image(func(p *parcel) { p.manifest.Install.Decoding.RAM = p.device.DecoderRAM })},
		{name: "zstd image, which takes more RAM than the chip has", change: func(p *parcel) {
			ram := p.device.DecoderRAM
			p.take(all["zstd image"])
			p.device.DecoderRAM = ram
		}, step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "decoder before payload", change: image(func(p *parcel) { p.device.DecoderRAM = 1 }), after: func(p *parcel) { flipBit(p, 0, 1) },
			step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "whole image on a device that runs another", change: image(func(p *parcel) { p.running = all["od1 patch"].running })},
		{name: "first bit of a compressed image", change: image(func(*parcel) {}), after: func(p *parcel) { flipBit(p, 0, 0x80) },
			step: bootloader.StepCiphertext, reason: verdict.PayloadDigestMismatch},
		{name: "image instead of the compressed one", change: image(func(*parcel) {}), after: func(p *parcel) { p.payload = p.image[:len(p.payload)] },
			step: bootloader.StepCiphertext, reason: verdict.PayloadDigestMismatch},
		{name: "compressed image, encrypted", change: image(func(p *parcel) { p.encrypt(keyDevice) })},
		{name: "compressed image, encrypted, first bit of the ciphertext", change: image(func(p *parcel) { p.encrypt(keyDevice) }),
			after: func(p *parcel) { flipBit(p, 0, 1) }, step: bootloader.StepCiphertext, reason: verdict.CiphertextDigestMismatch},
		{name: "compressed image, encrypted for another device", change: image(func(p *parcel) { p.encrypt(keyOther); p.device.DeviceKey = scalar(keyDevice) }),
			step: bootloader.StepUnwrap, reason: verdict.KeyUnwrap},
		{name: "compressed image, encrypted with another IV", change: image(func(p *parcel) {
			p.encrypt(keyDevice)
			p.manifest.Install.Encryption.IV[0] ^= 1
		}), step: bootloader.StepImage, reason: verdict.PayloadCoding},
		{name: "compressed image, installation severable", change: image(func(p *parcel) { p.layout.SeverInstall = true })},
	}
}

// patchRows are about the base of patches.
func patchRows(t *testing.T, all map[string]coded) []parcelRow {
	patch := func(change func(p *parcel)) func(p *parcel) {
		return func(p *parcel) { p.take(all["od1 patch"]); change(p) }
	}
	running := func(change func(b []byte) []byte) func(p *parcel) {
		return patch(func(p *parcel) { p.running = change(slices.Clone(p.running)) })
	}
	mismatch := func(name string, change func(b []byte) []byte) parcelRow {
		return parcelRow{name: name, change: running(change), step: bootloader.StepBase, reason: verdict.BaseMismatch}
	}
	other := testBytes(t, "other base", len(all["od1 patch"].running))
	return []parcelRow{
		{name: "patch on a device that runs nothing", change: patch(func(p *parcel) { p.running = nil }), step: bootloader.StepBase, reason: verdict.BaseMismatch},
		mismatch("first bit of the base", func(b []byte) []byte { b[0] ^= 0x80; return b }),
		mismatch("last bit of the base", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		mismatch("base that lacks its last byte", func(b []byte) []byte { return b[:len(b)-1] }),
		mismatch("base and a byte more", func(b []byte) []byte { return append(b, 0xff) }),
		mismatch("device that runs the image already", func([]byte) []byte { return all["od1 patch"].image }),
		mismatch("other image of the size of the base", func([]byte) []byte { return other }),
		{name: "digest of the base", change: patch(func(p *parcel) { p.manifest.Install.Decoding.Base.Digest[31] ^= 1 }),
			step: bootloader.StepBase, reason: verdict.BaseMismatch},
		{name: "size of the base", change: patch(func(p *parcel) { p.manifest.Install.Decoding.Base.Size++ }),
			step: bootloader.StepBase, reason: verdict.BaseMismatch},
		{name: "decoder before base", change: patch(func(p *parcel) { p.running, p.device.DecoderRAM = other, 1 }),
			step: bootloader.StepDecoder, reason: verdict.DecoderRAM},
		{name: "base before payload", change: patch(func(p *parcel) { p.running = other }), after: func(p *parcel) { flipBit(p, 0, 1) },
			step: bootloader.StepBase, reason: verdict.BaseMismatch},
		{name: "last bit of a patch", change: patch(func(*parcel) {}), after: func(p *parcel) { flipBit(p, len(p.payload)-1, 1) },
			step: bootloader.StepCiphertext, reason: verdict.PayloadDigestMismatch},
		{name: "patch for the slot that does not run", change: patch(func(p *parcel) {
			p.slot(1)
			n := *p.device.Slot
			p.manifest.Slot = &n
		})},
		{name: "patch, encrypted", change: patch(func(p *parcel) { p.encrypt(keyDevice) })},
		{name: "patch, encrypted for a shared key", change: patch(func(p *parcel) { p.share("00000000", "k1") })},
		{name: "patch, encrypted, base before ciphertext", change: patch(func(p *parcel) { p.encrypt(keyDevice); p.running = other }),
			after: func(p *parcel) { flipBit(p, 0, 1) }, step: bootloader.StepBase, reason: verdict.BaseMismatch},
		{name: "patch, encrypted, device without a key", change: patch(func(p *parcel) { p.encrypt(keyDevice); p.device.DeviceKey = nil }),
			step: bootloader.StepUnwrap, reason: verdict.RecipientKeyMissing},
		{name: "patch, encrypted, signed for another image", change: patch(func(p *parcel) { p.encrypt(keyDevice); p.manifest.Image.Digest[0] ^= 1 }),
			step: bootloader.StepImage, reason: verdict.ImageDigestMismatch},
	}
}

// crossedRows are signed payloads that are right for something else.
func crossedRows(all map[string]coded) []parcelRow {
	row := func(name, signedFor string, payload []byte, reason verdict.Reason) parcelRow {
		return parcelRow{name: name, change: func(p *parcel) { p.take(all[signedFor]); p.send(payload) }, step: bootloader.StepImage, reason: reason}
	}
	// Both the signed base and what runs are not what the patch was made from.
	from := func(what, name string, base []byte, reason verdict.Reason) parcelRow {
		return parcelRow{name: name + " that was made from " + what, change: func(p *parcel) {
			signed := content(base)
			p.take(all[name])
			p.running, p.manifest.Install.Decoding.Base = base, &signed
		}, step: bootloader.StepImage, reason: reason}
	}
	var rows []parcelRow
	for _, name := range []string{"od1 patch", "hpatchlite patch", "detools patch with heatshrink", "detools patch with runs"} {
		right := all[name].running
		other := slices.Clone(right)
		other[len(other)/3] ^= 0x80
		rows = append(rows, from("a longer base", name, right[:len(right)/2], verdict.PayloadCoding),
			from("another base", name, other, verdict.ImageDigestMismatch))
	}
	od1 := all["od1 patch"].payload
	bent := func(at int, mask byte) []byte {
		b := slices.Clone(od1)
		b[at] ^= mask
		return b
	}
	return append(rows,
		row("od1 image signed as a patch", "od1 patch", all["od1 image"].payload, verdict.PayloadCoding),
		row("od1 patch signed as an image", "od1 image", od1, verdict.PayloadCoding),
		row("od1 of version 2", "od1 patch", bent(1, 0x60), verdict.PayloadCoding),
		row("od1 patch signed as hpatchlite", "hpatchlite patch", od1, verdict.PayloadCoding),
		row("od1 patch signed as detools", "detools patch with runs", od1, verdict.PayloadCoding),
		row("hpatchlite patch signed as od1", "od1 patch", all["hpatchlite patch"].payload, verdict.PayloadCoding),
		row("zstd image signed as deflate", "deflate image", all["zstd image"].payload, verdict.PayloadCoding),
		row("deflate image signed as zstd", "zstd image", all["deflate image"].payload, verdict.PayloadCoding),
		row("od1 patch with a bit changed at its end", "od1 patch", bent(len(od1)-1, 1), verdict.PayloadCoding),
		row("od1 patch with a bit changed in its map", "od1 patch", bent(20, 0x10), verdict.PayloadCoding),
		row("od1 patch with a bit changed in its middle", "od1 patch", bent(len(od1)/2, 0x10), verdict.PayloadCoding),
	)
}
