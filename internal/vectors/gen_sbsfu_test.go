package vectors

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors/verdicts"
)

var sbsfuSteps = []string{
	string(sbsfu.StepCandidate), string(sbsfu.StepVersion), string(sbsfu.StepHeader), string(sbsfu.StepImage),
	string(sbsfu.StepRest), string(sbsfu.StepFlow), string(sbsfu.StepExecute),
}

// sbsfuSigner has the key of testvectors/sbsfu.
func sbsfuSigner(t *testing.T) sign.Signer {
	t.Helper()
	block, _ := pem.Decode(readVector(t, "sbsfu/ECC.pem"))
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

// sbsfuPackage is a package of ST's tool, and the device that it is for.
type sbsfuPackage struct {
	base   string
	data   []byte
	scheme sbsfu.Scheme
	device verdicts.SBSFU
}

func (p sbsfuPackage) state() verdicts.SBSFU {
	d := p.device
	d.Slots = slices.Clone(d.Slots)
	return d
}

// resigned changes the header and signs it again.
func (p sbsfuPackage) resigned(t *testing.T, change func(*sbsfu.Header)) []byte {
	t.Helper()
	h, err := sbsfu.ParseHeader(p.data, p.scheme)
	if err != nil {
		t.Fatal(err)
	}
	change(h)
	s, err := sbsfuSigner(t).Sign(t.Context(), h.Signed())
	if err != nil {
		t.Fatal(err)
	}
	copy(h.Signature[:], s.Encode(sign.Raw))
	return slices.Concat(h.Encode(), p.data[sbsfu.HeaderSize:])
}

func generateSBSFU(t *testing.T) *generator {
	g := newGenerator(t, "sbsfu", "ST X-CUBE-SBSFU", sbsfuSteps)
	key := sbsfuSigner(t).Public().Point()[1:]
	load := func(name, base string, scheme sbsfu.Scheme) sbsfuPackage {
		data := readVector(t, "sbsfu/"+name)
		slot := verdicts.SBSFUSlot{Size: 0x8000, Key: key, Installed: new(uint16(1))}
		if scheme == sbsfu.AESCBC {
			slot.AESKey = readVector(t, "sbsfu/AES_CBC.bin")
		}
		return sbsfuPackage{g.base(base, data), data, scheme, verdicts.SBSFU{
			Scheme: scheme.String(), Offset: 512, InitVersion: 1, StartVersion: 1, Slots: []verdicts.SBSFUSlot{slot},
		}}
	}
	clear := load("ecdsa_clear_v2.sfb", "sbsfu-clear-v2.sfb", sbsfu.Clear)
	second := load("ecdsa_clear_v3_sfu2_o1024.sfb", "sbsfu-clear-v3-sfu2.sfb", sbsfu.Clear)
	cbc := load("ecdsa_aescbc_v2.sfb", "sbsfu-aescbc-v2.sfb", sbsfu.AESCBC)
	part := load("ecdsa_aescbc_partial_v2.sfb", "sbsfu-aescbc-part-v2.sfb", sbsfu.AESCBC)
	gcm := load("aesgcm_v2.sfb", "sbsfu-aesgcm-v2.sfb", sbsfu.Clear)
	second.device.Offset, second.device.Slots = 1024, slices.Repeat(second.device.Slots, 2)
	installed := readVector(t, "sbsfu/v1.bin")
	g.base("sbsfu-v1.bin", installed)

	other := testSigner(t, keyStranger).Public().Point()[1:]
	header := func(p sbsfuPackage, change func(*sbsfu.Header)) sbsfuPackage {
		p.data = p.resigned(t, change)
		return p
	}
	edited := func(p sbsfuPackage, edit func([]byte) []byte) sbsfuPackage {
		p.data = edit(bytes.Clone(p.data))
		return p
	}
	longer := func(b ...byte) func([]byte) []byte { return func(f []byte) []byte { return append(f, b...) } }
	cut := func(n int) func([]byte) []byte { return func(f []byte) []byte { return f[:n] } }
	slot := func(change func(*verdicts.SBSFUSlot)) func(*verdicts.SBSFU) {
		return func(d *verdicts.SBSFU) { change(&d.Slots[0]) }
	}
	version := func(n uint16) func(*verdicts.SBSFU) {
		return slot(func(s *verdicts.SBSFUSlot) { s.Installed = &n })
	}
	size := func(n uint32) func(*verdicts.SBSFU) { return slot(func(s *verdicts.SBSFUSlot) { s.Size = n }) }
	empty := func(init uint16) func(*verdicts.SBSFU) {
		return func(d *verdicts.SBSFU) { d.Slots[0].Installed, d.InitVersion = nil, init }
	}
	otherBase := bytes.Clone(installed)
	otherBase[0] ^= 1
	for _, c := range []struct {
		what      string
		file      sbsfuPackage
		device    func(*verdicts.SBSFU)
		installed []byte // of a part
		want      Answer
	}{
		{"as ST's tool made it, in the clear", clear, nil, nil, accept()},
		{"as ST's tool made it, for SFU2", second, nil, nil, accept()},
		{"as ST's tool made it, encrypted", cbc, nil, nil, accept()},
		{"as ST's tool made it, a part", part, nil, installed, accept()},

		{"no file", edited(clear, cut(0)), nil, nil, refuse(sbsfu.StepCandidate, verdict.Truncated)},
		{"a byte short of a header", edited(clear, cut(319)), nil, nil, refuse(sbsfu.StepCandidate, verdict.Truncated)},
		{"AES-GCM", gcm, nil, nil, refuse(sbsfu.StepCandidate, verdict.SFBScheme)},
		{"magic of no slot", header(clear, func(h *sbsfu.Header) { h.Magic[3] = '4' }), nil, nil, refuse(sbsfu.StepCandidate, verdict.ImageMagic)},
		{"magic of a slot that is not there", header(clear, func(h *sbsfu.Header) { h.Magic[3] = '2' }), nil, nil, refuse(sbsfu.StepCandidate, verdict.ImageMagic)},
		{"another key", clear, slot(func(s *verdicts.SBSFUSlot) { s.Key = other }), nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"key of the other slot", second, func(d *verdicts.SBSFU) { d.Slots[1].Key = other }, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"first bit of the version", edited(clear, flipAt(6, 0x80)), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"last byte that is signed", edited(clear, flipAt(127, 1)), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"a bit of the IV", edited(cbc, flipAt(84, 1)), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"first bit of the signature", edited(clear, flipAt(128, 0x80)), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"last bit of the signature", edited(clear, flipAt(191, 1)), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"a signature of zeros", edited(clear, func(b []byte) []byte { copy(b[128:], make([]byte, 64)); return b }), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"s before r", edited(clear, func(b []byte) []byte { return slices.Concat(b[:128], b[160:192], b[128:160], b[192:]) }), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"signature of another package", edited(clear, func(b []byte) []byte { copy(b[128:192], cbc.data[128:]); return b }), nil, nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},
		{"signature before version", edited(clear, flipAt(128, 0x80)), version(3), nil, refuse(sbsfu.StepCandidate, verdict.SignatureInvalid)},

		{"an older version", clear, version(3), nil, refuse(sbsfu.StepVersion, verdict.VersionDowngrade)},
		{"older by far", clear, version(0x8003), nil, refuse(sbsfu.StepVersion, verdict.VersionDowngrade)},
		{"below the lowest version", clear, func(d *verdicts.SBSFU) { d.StartVersion = 3 }, nil, refuse(sbsfu.StepVersion, verdict.VersionDowngrade)},
		{"nothing installed, and not the first version", clear, empty(1), nil, refuse(sbsfu.StepVersion, verdict.SFBInitVersion)},
		{"nothing installed, and above the first version", header(clear, func(h *sbsfu.Header) { h.Version = 3 }), empty(2), nil, refuse(sbsfu.StepVersion, verdict.SFBInitVersion)},
		{"installed version 0, and not the first version", clear, version(0), nil, refuse(sbsfu.StepVersion, verdict.SFBInitVersion)},
		{"firmware too large by a byte", clear, size(512 + 13311), nil, refuse(sbsfu.StepVersion, verdict.ImageExceedsSlot)},
		{"a size that wraps around", header(clear, func(h *sbsfu.Header) { h.Size, h.PartSize = 1<<32-1, 1<<32-1 }), nil, nil, refuse(sbsfu.StepVersion, verdict.ImageExceedsSlot)},
		{"file beyond the slot", edited(clear, longer(0xff)), size(512 + 13312), nil, refuse(sbsfu.StepVersion, verdict.ImageExceedsSlot)},
		{"version before reserved bytes", header(clear, func(h *sbsfu.Header) { h.Reserved[0] = 1 }), version(3), nil, refuse(sbsfu.StepVersion, verdict.VersionDowngrade)},

		{"first reserved byte", header(clear, func(h *sbsfu.Header) { h.Reserved[0] = 1 }), nil, nil, refuse(sbsfu.StepHeader, verdict.ReservedBytes)},
		{"last reserved byte", header(clear, func(h *sbsfu.Header) { h.Reserved[43] = 0x80 }), nil, nil, refuse(sbsfu.StepHeader, verdict.ReservedBytes)},
		{"last reserved byte, encrypted", header(cbc, func(h *sbsfu.Header) { h.Reserved[27] = 0x80 }), nil, nil, refuse(sbsfu.StepHeader, verdict.ReservedBytes)},
		{"encrypted, where nothing is decrypted", cbc, func(d *verdicts.SBSFU) { d.Scheme, d.Slots[0].AESKey = "ecdsa-clear", nil }, nil, refuse(sbsfu.StepHeader, verdict.ReservedBytes)},
		{"reserved bytes before the firmware", edited(header(clear, func(h *sbsfu.Header) { h.Reserved[0] = 1 }), flipAt(600, 1)), nil, nil, refuse(sbsfu.StepHeader, verdict.ReservedBytes)},

		{"a size of 0", header(clear, func(h *sbsfu.Header) { h.Size, h.PartSize = 0, 0 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageSizes)},
		{"a part beyond the firmware", header(clear, func(h *sbsfu.Header) { h.PartOffset = 1 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageSizes)},
		{"a part that wraps around", header(clear, func(h *sbsfu.Header) { h.PartOffset = 1<<32 - 1 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageSizes)},
		{"a part larger than the firmware", header(clear, func(h *sbsfu.Header) { h.PartSize++ }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageSizes)},
		{"a part of half a block", header(cbc, func(h *sbsfu.Header) { h.PartSize -= 8 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageSizes)},
		{"smaller", header(clear, func(h *sbsfu.Header) { h.Size, h.PartSize = h.Size-16, h.PartSize-16 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"larger", header(clear, func(h *sbsfu.Header) { h.Size, h.PartSize = h.Size+16, h.PartSize+16 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"a tag with another last bit", header(clear, func(h *sbsfu.Header) { h.Tag[31] ^= 1 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"a tag with another first bit", header(clear, func(h *sbsfu.Header) { h.Tag[0] ^= 0x80 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"tag of the part", header(part, func(h *sbsfu.Header) { h.PartTag[0] ^= 1 }), nil, installed, refuse(sbsfu.StepImage, verdict.PayloadDigestMismatch)},
		{"tag of what the part makes", header(part, func(h *sbsfu.Header) { h.Tag[0] ^= 1 }), nil, installed, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"tag of the part before tag of the firmware", header(part, func(h *sbsfu.Header) { h.Tag[0] ^= 1; h.PartTag[0] ^= 1 }), nil, installed, refuse(sbsfu.StepImage, verdict.PayloadDigestMismatch)},
		{"a part elsewhere", header(part, func(h *sbsfu.Header) { h.PartOffset -= 16 }), nil, installed, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"another IV", header(cbc, func(h *sbsfu.Header) { h.IV[0] ^= 1 }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"another AES key", cbc, slot(func(s *verdicts.SBSFUSlot) { s.AESKey = make([]byte, 16) }), nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"in the clear, where it is decrypted", clear, func(d *verdicts.SBSFU) { *d = cbc.state() }, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"another offset", clear, func(d *verdicts.SBSFU) { d.Offset = 1024 }, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"first bit of the firmware", edited(clear, flipAt(512, 0x80)), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"last bit of the firmware", edited(clear, flipAt(13823, 1)), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"a bit of the ciphertext", edited(cbc, flipAt(600, 1)), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"a bit of the part", edited(part, flipAt(600, 1)), nil, installed, refuse(sbsfu.StepImage, verdict.PayloadDigestMismatch)},
		{"cut by a word", edited(clear, cut(13820)), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"header only", edited(clear, cut(320)), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"a part for other firmware", part, nil, otherBase, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"a part for an empty slot", part, empty(2), nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},
		{"firmware before what lies behind it", edited(clear, func(b []byte) []byte { b[512] ^= 1; return append(b, 1) }), nil, nil, refuse(sbsfu.StepImage, verdict.ImageDigestMismatch)},

		{"a byte behind the firmware", edited(clear, longer(1)), nil, nil, refuse(sbsfu.StepRest, verdict.SlotNotBlank)},
		{"half a cleared word", edited(clear, longer(0, 0, 0xff, 0xff)), nil, nil, refuse(sbsfu.StepRest, verdict.SlotNotBlank)},
		{"a word far behind the firmware", edited(clear, longer(append(bytes.Repeat([]byte{0xff}, 400), 0xfe)...)), nil, nil, refuse(sbsfu.StepRest, verdict.SlotNotBlank)},

		{"highest version", header(clear, func(h *sbsfu.Header) { h.Version = 1<<16 - 1 }), nil, nil, accept()},
		{"the same version", clear, version(2), nil, accept()},
		{"the lowest version", clear, func(d *verdicts.SBSFU) { d.StartVersion = 2 }, nil, accept()},
		{"nothing installed, and the first version", clear, empty(2), nil, accept()},
		{"installed version 0, and the first version", clear, func(d *verdicts.SBSFU) { version(0)(d); d.InitVersion = 2 }, nil, accept()},
		{"first version below the lowest", clear, func(d *verdicts.SBSFU) { empty(2)(d); d.StartVersion = 3 }, nil, accept()},
		{"another slot has a higher version", second, func(d *verdicts.SBSFU) { d.Slots[0].Installed = new(uint16(9)) }, nil, accept()},
		{"another slot has another key", second, func(d *verdicts.SBSFU) { d.Slots[0].Key = other }, nil, accept()},
		{"a slot just large enough", clear, size(512 + 13312), nil, accept()},
		{"protocol version 2", header(clear, func(h *sbsfu.Header) { h.Protocol = 2 }), nil, nil, accept()},
		{"tag of the part, where all is sent", header(clear, func(h *sbsfu.Header) { h.PartTag[0] ^= 1 }), nil, nil, accept()},
		{"erased and cleared words behind the firmware", edited(clear, longer(0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)), nil, nil, accept()},
		{"bytes between header and firmware", edited(clear, flipAt(400, 1)), nil, nil, accept()},
		{"state", edited(clear, flipAt(192, 1)), nil, nil, accept()},
		{"fingerprint", edited(clear, flipAt(319, 1)), nil, nil, accept()},
		{"r and n-s", edited(clear, negated), nil, nil, accept()},
	} {
		d := c.file.state()
		if c.device != nil {
			c.device(&d)
		}
		description := c.what
		if c.want.Verdict == verdicts.Accept {
			description = "taken: " + c.what
		}
		id := "rules/" + slug(c.what)
		if name, ok := strings.CutPrefix(c.what, "as ST's tool made it, "); ok {
			id = "tool/" + slug(name)
		}
		base := c.file.base
		if len(c.file.data) == 0 {
			base = ""
		}
		r := row{
			id: id, description: description, want: c.want, device: verdicts.Device{SBSFU: &d},
			inputs: []verdicts.Input{g.changed("image", base, c.file.data)}, data: map[string][]byte{"image": c.file.data},
		}
		if c.installed != nil {
			r.inputs = append(r.inputs, g.changed("installed", "sbsfu-v1.bin", c.installed))
			r.data["installed"] = c.installed
		}
		g.add(r)
	}
	return g
}

// changed describes data whose bytes stand where they stand in the base: of a
// firmware with long runs of one byte, difference finds what comes next too far
// behind.
func (g *generator) changed(name, base string, data []byte) verdicts.Input {
	from := g.files[base]
	n := min(len(from), len(data))
	var edits []verdicts.Edit
	for at := 0; at < n; {
		if from[at] == data[at] {
			at++
			continue
		}
		end := at + 1
		for i := end; i < min(n, end+window); i++ { // few equal bytes between two changes are no edge
			if from[i] != data[i] {
				end = i + 1
			}
		}
		edits = append(edits, insertions(at, end-at, data[at:end])...)
		at = end
	}
	return verdicts.Input{Name: name, Base: base, Edits: append(edits, insertions(n, len(from)-n, data[n:])...), Content: verdicts.Of(data)}
}

// negated puts n−s in the place of s, which verifies as well.
func negated(b []byte) []byte {
	s := new(big.Int).SetBytes(b[160:192])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(b[160:192])
	return b
}
