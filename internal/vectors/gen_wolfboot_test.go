package vectors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

var wolfBootSteps = []string{
	string(wolfboot.StepOpen), string(wolfboot.StepType), string(wolfboot.StepSize), string(wolfboot.StepIntegrity),
	string(wolfboot.StepAuthenticity), string(wolfboot.StepSanity), string(wolfboot.StepVersion),
}

// wolfBootState is a device with a key for everything, beside a running version 1.
func wolfBootState(key sign.PublicKey) verdicts.WolfBoot {
	return verdicts.WolfBoot{
		HeaderSize: 256, PartitionSize: 0x4000, SectorSize: 0x1000, Running: &verdicts.WolfBootRunning{Version: 1, Size: 100},
		Keys: []verdicts.WolfBootKey{{Point: key.Point()[1:], Partitions: wolfboot.AllPartitions}},
	}
}

func generateWolfBoot(t *testing.T) *generator {
	g := newGenerator(t, "wolfboot", "wolfBoot, ECC256 and SHA-256", wolfBootSteps)
	add := func(id, description, source, base string, image []byte, d verdicts.WolfBoot, want Answer) {
		if want.Verdict == verdicts.Accept {
			description = "taken: " + description
		}
		input := g.input
		if len(image) == len(g.files[base]) {
			input = g.changed
		}
		g.add(row{
			id: id, description: description, source: source, want: want, device: verdicts.Device{WolfBoot: &d},
			inputs: []verdicts.Input{input("image", base, image)}, data: map[string][]byte{"image": image},
		})
	}
	key, err := sign.ParsePublicKey(readVector(t, "wolfboot/ecc256.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	wolfBootCode(t, g, wolfBootState(key), add)
	for _, c := range []struct {
		file, what string
		want       Answer
	}{
		{"ecc256_v2", "as wolfBoot's tool made it", accept()},
		{"ecc256_v4_id0", "an image of the bootloader itself", refuse(wolfboot.StepType, verdict.ImageType)},
		{"ecc256_v5_sha384", "digest by SHA-384", refuse(wolfboot.StepIntegrity, verdict.ImageHashMissing)},
		{"ed25519_v6", "signed with Ed25519", refuse(wolfboot.StepType, verdict.SignatureType)},
		{"unsigned_v8", "not signed", refuse(wolfboot.StepType, verdict.SignatureType)},
	} {
		file := readVector(t, "wolfboot/"+c.file+".bin")
		add("tool/"+slug(c.file), c.what, "", g.base("wolfboot-"+slug(c.file)+".bin", file), file, wolfBootState(key), c.want)
	}
	wolfBootRules(t, g, add)
	return g
}

// wolfBootCode has what wolfBoot's own code said of changes of an image.
func wolfBootCode(t *testing.T, g *generator, d verdicts.WolfBoot, add func(id, description, source, base string, image []byte, d verdicts.WolfBoot, want Answer)) {
	var cases []struct {
		WolfBoot string            // the step that refuses, or "taken"
		Changes  map[string]string // offset: bytes
	}
	if err := testvectors.JSON("wolfboot/verdicts.json", &cases); err != nil {
		t.Fatal(err)
	}
	original := readVector(t, "wolfboot/ecc256_v2.bin")
	base := g.base("wolfboot-ecc256-v2.bin", original)
	for i, c := range cases {
		image := bytes.Clone(original)
		for offset, digits := range c.Changes {
			at, err := strconv.Atoi(offset)
			if err != nil {
				t.Fatal(err)
			}
			copy(image[at:], unhex(t, digits))
		}
		want := accept()
		if c.WolfBoot != "taken" {
			want = Answer{Verdict: verdicts.Refuse, Step: c.WolfBoot}
		}
		what := wolfBootChanges(t, original, image)
		add(fmt.Sprintf("code/%03d-%s", i, slug(what)), "other bytes in "+what, verdicts.SourceWolfBoot, base, image, d, want)
	}
}

// wolfBootChanges words where an image differs from the one of wolfBoot's tool.
func wolfBootChanges(t *testing.T, original, image []byte) string {
	fields, err := wolfboot.Describe(original)
	if err != nil {
		t.Fatal(err)
	}
	// Beginnings of what stands in the header: magic and size, then TLVs with their
	// heads. Behind the last one, all is padding.
	names := []string{"magic", "size"}
	starts := []int{0, 4}
	for _, f := range fields[2:] {
		names, starts = append(names, f.Name), append(starts, f.Offset-4)
	}
	names, starts = append(names, "padding", "firmware"), append(starts, fields[len(fields)-1].Offset+64, 256)
	counts := map[string]int{}
	var words []string
	for at := range image {
		if image[at] == original[at] {
			continue
		}
		i, found := slices.BinarySearch(starts, at)
		if !found {
			i--
		}
		counts[names[i]]++
	}
	again := counts["SHA256"] > 16 && counts["SIGNATURE"] > 32 // made anew, both
	for _, name := range names {
		if counts[name] > 0 && (!again || name != "SHA256" && name != "SIGNATURE") {
			words = append(words, name)
		}
	}
	switch {
	case len(words) == 0:
		return "signed again"
	case again:
		return strings.Join(words, ", ") + ", signed again"
	}
	return strings.Join(words, ", ")
}

// wolfEntry is a TLV of an image that is made.
type wolfEntry struct {
	kind  wolfboot.Type
	value []byte // nil of digest and signature: what they have to be
}

// wolfImage is an image that is made.
type wolfImage struct {
	magic    string
	size     uint32 // of the firmware, in its header
	header   int
	entries  []wolfEntry
	firmware []byte
	signer   string
}

func (w *wolfImage) at(kind wolfboot.Type) int {
	return slices.IndexFunc(w.entries, func(e wolfEntry) bool { return e.kind == kind })
}

func (w *wolfImage) set(kind wolfboot.Type, value []byte) { w.entries[w.at(kind)].value = value }

func (w *wolfImage) remove(kind wolfboot.Type) {
	i := w.at(kind)
	w.entries = slices.Delete(w.entries, i, i+1)
}

// make puts TLVs where wolfBoot's tool aligns them to.
func (w *wolfImage) make(t *testing.T) []byte {
	t.Helper()
	b := binary.LittleEndian.AppendUint32([]byte(w.magic), w.size)
	var sum [sha256.Size]byte
	for _, e := range w.entries {
		for len(b)%8 != 4 {
			b = append(b, 0xff)
		}
		value := e.value
		switch {
		case e.kind == wolfboot.TypeSHA256:
			sum = sha256.Sum256(slices.Concat(b, w.firmware))
			if value == nil {
				value = sum[:]
			}
		case e.kind == wolfboot.TypeSignature && value == nil:
			s, err := testSigner(t, w.signer).SignDigest(t.Context(), sum[:])
			if err != nil {
				t.Fatal(err)
			}
			value = s.Encode(sign.Raw)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(e.kind))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	return slices.Concat(b, bytes.Repeat([]byte{0xff}, w.header-len(b)), w.firmware)
}

// wolfBootRules has a case for each rule.
func wolfBootRules(t *testing.T, g *generator, add func(id, description, source, base string, image []byte, d verdicts.WolfBoot, want Answer)) {
	firmware := testBytes(t, "wolfboot application", 3000)
	public := testSigner(t, keySigner).Public()
	other := testSigner(t, keyStranger).Public()
	second := verdicts.WolfBootKey{Point: other.Point()[1:], Partitions: wolfboot.AllPartitions}
	hint := sha256.Sum256(public.Point()[1:])
	otherHint := sha256.Sum256(other.Point()[1:])
	word := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	kind := func(n uint16) func(*wolfImage) {
		return func(w *wolfImage) { w.set(wolfboot.TypeImage, binary.LittleEndian.AppendUint16(nil, n)) }
	}
	sized := func(n uint32) func(*wolfImage) { return func(w *wolfImage) { w.size = n } }
	value := func(k wolfboot.Type, v []byte) func(*wolfImage) { return func(w *wolfImage) { w.set(k, v) } }
	without := func(k wolfboot.Type) func(*wolfImage) { return func(w *wolfImage) { w.remove(k) } }
	insert := func(i int, e ...wolfEntry) func(*wolfImage) {
		return func(w *wolfImage) { w.entries = slices.Insert(w.entries, i, e...) }
	}
	long := func(n int) func(*wolfImage) {
		return func(w *wolfImage) { w.firmware, w.size = append(firmware, make([]byte, n-len(firmware))...), uint32(n) }
	}
	made := func(change func(*wolfImage)) []byte {
		w := wolfImage{
			magic: wolfboot.Magic, size: uint32(len(firmware)), header: 256, firmware: firmware, signer: keySigner,
			entries: []wolfEntry{
				{wolfboot.TypeVersion, word(2)}, {wolfboot.TypeTimestamp, make([]byte, 8)}, {wolfboot.TypeImage, []byte{0x01, 0x02}},
				{wolfboot.TypeSHA256, nil}, {wolfboot.TypeKeyHint, hint[:]}, {wolfboot.TypeSignature, nil},
			},
		}
		if change != nil {
			change(&w)
		}
		return w.make(t)
	}
	base := g.base("wolfboot-rules.bin", made(nil))
	parsed, err := wolfboot.Parse(made(nil), 256)
	if err != nil {
		t.Fatal(err)
	}
	signature := parsed.TLVs[len(parsed.TLVs)-1].Offset
	for _, c := range []struct {
		what   string
		change func(*wolfImage)
		edit   func([]byte) []byte // after signing
		device func(*verdicts.WolfBoot)
		want   Answer
	}{
		{"no file", nil, func([]byte) []byte { return nil }, nil, refuse(wolfboot.StepOpen, verdict.ImageMagic)},
		{"magic", func(w *wolfImage) { w.magic = "FLOW" }, nil, nil, refuse(wolfboot.StepOpen, verdict.ImageMagic)},
		{"one byte beyond the partition", sized(0x4000 - 255), nil, nil, refuse(wolfboot.StepOpen, verdict.ImageExceedsSlot)},
		{"a size that wraps around", sized(1<<32 - 1), nil, nil, refuse(wolfboot.StepOpen, verdict.ImageExceedsSlot)},
		{"a small update partition", nil, nil, func(d *verdicts.WolfBoot) { d.UpdateSize = 0x400 }, refuse(wolfboot.StepOpen, verdict.ImageExceedsSlot)},
		{"no firmware, neither here nor there", func(w *wolfImage) { w.firmware, w.size = nil, 0 }, nil, func(d *verdicts.WolfBoot) { d.Running = nil }, refuse(wolfboot.StepOpen, verdict.ImageSizes)},
		{"magic before type", func(w *wolfImage) { w.magic = "wolf"; kind(0x0200)(w) }, nil, nil, refuse(wolfboot.StepOpen, verdict.ImageMagic)},

		{"no type", without(wolfboot.TypeImage), nil, nil, refuse(wolfboot.StepType, verdict.ImageType)},
		{"a type of 4 bytes", value(wolfboot.TypeImage, word(0x0201)), nil, nil, refuse(wolfboot.StepType, verdict.ImageType)},
		{"the bootloader itself", kind(0x0200), nil, nil, refuse(wolfboot.StepType, verdict.ImageType)},
		{"partition 2", kind(0x0202), nil, nil, refuse(wolfboot.StepType, verdict.ImageType)},
		{"type of Ed25519", kind(0x0101), nil, nil, refuse(wolfboot.StepType, verdict.SignatureType)},
		{"type of RSA 4096", kind(0x0401), nil, nil, refuse(wolfboot.StepType, verdict.SignatureType)},
		{"type of unsigned images", kind(0xff01), nil, nil, refuse(wolfboot.StepType, verdict.SignatureType)},
		{"type before size", func(w *wolfImage) { kind(0x0200)(w); long(0x3eff)(w) }, nil, nil, refuse(wolfboot.StepType, verdict.ImageType)},

		{"into the trailer", long(0x4000 - 256 - 0x1000), nil, nil, refuse(wolfboot.StepSize, verdict.ImageExceedsSlot)},
		{"into the second sector of the trailer", long(0x4000 - 256 - 0x2000), nil, func(d *verdicts.WolfBoot) { d.WriteOnce = true }, refuse(wolfboot.StepSize, verdict.ImageExceedsSlot)},
		{"a small boot partition", nil, nil, func(d *verdicts.WolfBoot) { d.PartitionSize, d.UpdateSize, d.SectorSize = 0x0b00, 0x2000, 0x400 }, refuse(wolfboot.StepSize, verdict.ImageExceedsSlot)},
		{"size before the digest", func(w *wolfImage) {
			long(0x3000)(w)
			w.set(wolfboot.TypeSHA256, make([]byte, 32))
		}, nil, nil, refuse(wolfboot.StepSize, verdict.ImageExceedsSlot)},

		{"one byte less", sized(2999), nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"one byte more", sized(3001), nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"no digest", without(wolfboot.TypeSHA256), nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageHashMissing)},
		{"a digest of 31 bytes", value(wolfboot.TypeSHA256, make([]byte, 31)), nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageHashMissing)},
		{"a digest of zeros", value(wolfboot.TypeSHA256, make([]byte, 32)), nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"end mark before the digest", insert(3, wolfEntry{0, []byte{}}), nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageHashMissing)},
		{"first bit of the firmware", nil, flipAt(256, 0x80), nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"last bit of the firmware", nil, flipAt(3255, 1), nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"a bit of the timestamp", nil, flipAt(24, 1), nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"version raised after signing", nil, flipAt(13, 1), nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"cut by a byte", nil, func(b []byte) []byte { return b[:len(b)-1] }, nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"header of 256 bytes, 512 wanted", nil, nil, func(d *verdicts.WolfBoot) { d.HeaderSize = 512 }, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"header of 512 bytes, 256 wanted", func(w *wolfImage) { w.header = 512 }, nil, nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},
		{"digest before the key", value(wolfboot.TypeKeyHint, make([]byte, 32)), flipAt(3255, 1), nil, refuse(wolfboot.StepIntegrity, verdict.ImageDigestMismatch)},

		{"no hint", without(wolfboot.TypeKeyHint), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.NoKnownKey)},
		{"a hint of 31 bytes", value(wolfboot.TypeKeyHint, hint[:31]), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.NoKnownKey)},
		{"hint of nobody", value(wolfboot.TypeKeyHint, make([]byte, 32)), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.NoKnownKey)},
		{"first bytes of a hint", value(wolfboot.TypeKeyHint, append(bytes.Clone(hint[:31]), hint[31]^1)), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.NoKnownKey)},
		{"a key that is not in the store", func(w *wolfImage) { w.signer = keyStranger; w.set(wolfboot.TypeKeyHint, otherHint[:]) }, nil, nil, refuse(wolfboot.StepAuthenticity, verdict.NoKnownKey)},
		{"no signature", without(wolfboot.TypeSignature), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.Unsigned)},
		{"an empty signature", value(wolfboot.TypeSignature, []byte{}), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.Unsigned)},
		{"a signature of 63 bytes", value(wolfboot.TypeSignature, make([]byte, 63)), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.SignatureLength)},
		{"a signature of zeros", value(wolfboot.TypeSignature, make([]byte, 64)), nil, nil, refuse(wolfboot.StepAuthenticity, verdict.SignatureInvalid)},
		{"another signer, with the hint of a known key", func(w *wolfImage) { w.signer = keyStranger }, nil, nil, refuse(wolfboot.StepAuthenticity, verdict.SignatureInvalid)},
		{"hint of another known key", value(wolfboot.TypeKeyHint, otherHint[:]), nil, func(d *verdicts.WolfBoot) { d.Keys = append(d.Keys, second) }, refuse(wolfboot.StepAuthenticity, verdict.SignatureInvalid)},
		{"s before r", nil, func(b []byte) []byte {
			at := signature
			return slices.Concat(b[:at], b[at+32:at+64], b[at:at+32], b[at+64:])
		}, nil, refuse(wolfboot.StepAuthenticity, verdict.SignatureInvalid)},
		{"last bit of the signature", nil, flipAt(signature+63, 1), nil, refuse(wolfboot.StepAuthenticity, verdict.SignatureInvalid)},
		{"a key for the bootloader only", nil, nil, func(d *verdicts.WolfBoot) { d.Keys[0].Partitions = 1 }, refuse(wolfboot.StepAuthenticity, verdict.KeyPartition)},
		{"a key for other partitions", nil, nil, func(d *verdicts.WolfBoot) { d.Keys[0].Partitions = ^uint32(2) }, refuse(wolfboot.StepAuthenticity, verdict.KeyPartition)},
		{"signature before version", func(w *wolfImage) { w.signer = keyStranger; w.set(wolfboot.TypeVersion, word(1)) }, nil, nil, refuse(wolfboot.StepAuthenticity, verdict.SignatureInvalid)},

		{"an older version", nil, nil, func(d *verdicts.WolfBoot) { d.Running.Version = 3 }, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},
		{"the same version", nil, nil, func(d *verdicts.WolfBoot) { d.Running.Version = 2 }, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},
		{"older by far", nil, nil, func(d *verdicts.WolfBoot) { d.Running.Version = 0x80000003 }, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},
		{"no version", without(wolfboot.TypeVersion), nil, nil, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},
		{"no version, and nothing runs", without(wolfboot.TypeVersion), nil, func(d *verdicts.WolfBoot) { d.Running = nil }, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},
		{"a version of 2 bytes", value(wolfboot.TypeVersion, []byte{9, 0}), nil, nil, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},
		{"a higher version behind a lower one", insert(0, wolfEntry{wolfboot.TypeVersion, word(1)}), nil, nil, refuse(wolfboot.StepVersion, verdict.VersionDowngrade)},

		{"as it should be", nil, nil, nil, accept()},
		{"highest version", value(wolfboot.TypeVersion, word(1<<32-1)), nil, nil, accept()},
		{"a version above half of all", value(wolfboot.TypeVersion, word(0x80000000)), nil, nil, accept()},
		{"nothing runs", nil, nil, func(d *verdicts.WolfBoot) { d.Running = nil }, accept()},
		{"older, after a bad image", nil, nil, func(d *verdicts.WolfBoot) { d.Running.Version, d.Fallback = 3, true }, accept()},
		{"older, and that is allowed", nil, nil, func(d *verdicts.WolfBoot) { d.Running.Version, d.AllowDowngrade = 3, true }, accept()},
		{"no version, and that is allowed", without(wolfboot.TypeVersion), nil, func(d *verdicts.WolfBoot) { d.AllowDowngrade = true }, accept()},
		{"up to the trailer", long(0x4000 - 256 - 0x1000 - 1), nil, nil, accept()},
		{"up to a trailer of two sectors", long(0x4000 - 256 - 0x2000 - 1), nil, func(d *verdicts.WolfBoot) { d.WriteOnce = true }, accept()},
		{"no firmware, where some runs", func(w *wolfImage) { w.firmware, w.size = nil, 0 }, nil, nil, accept()},
		{"more behind the firmware", nil, func(b []byte) []byte { return append(b, 1) }, nil, accept()},
		{"ones at the end of the firmware, left out", func(w *wolfImage) {
			w.firmware, w.size = append(bytes.Clone(firmware), 0xff, 0xff), uint32(len(firmware)+2)
		}, func(b []byte) []byte { return b[:len(b)-2] }, nil, accept()},
		{"header of 512 bytes", func(w *wolfImage) { w.header = 512 }, nil, func(d *verdicts.WolfBoot) { d.HeaderSize = 512 }, accept()},
		{"hint before the digest", func(w *wolfImage) { w.entries[3], w.entries[4] = w.entries[4], w.entries[3] }, nil, nil, accept()},
		{"an unknown TLV", insert(1, wolfEntry{0x34, []byte("custom")}), nil, nil, accept()},
		{"an unknown TLV behind the digest, unsigned", insert(6, wolfEntry{0x34, []byte("custom")}), nil, nil, accept()},
		{"padding changed", nil, flipAt(250, 0x80), nil, accept()},
		{"the second key of the store", nil, nil, func(d *verdicts.WolfBoot) { d.Keys = append([]verdicts.WolfBootKey{second}, d.Keys...) }, accept()},
		{"a key for applications only", nil, nil, func(d *verdicts.WolfBoot) { d.Keys[0].Partitions = 2 }, accept()},
		{"bits of the type that nobody reads", kind(0x0211), nil, nil, accept()},
	} {
		d := wolfBootState(public)
		if c.device != nil {
			c.device(&d)
		}
		image := made(c.change)
		if c.edit != nil {
			image = c.edit(image)
		}
		from := base
		if len(image) == 0 {
			from = ""
		}
		add("rules/"+slug(c.what), c.what, "", from, image, d, c.want)
	}
}

// flipAt changes bits of a byte.
func flipAt(at int, bits byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= bits
		return b
	}
}
