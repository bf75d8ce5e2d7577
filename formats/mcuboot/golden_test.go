package mcuboot_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Read("mcuboot/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldens(t testing.TB) []testvectors.MCUbootImage {
	t.Helper()
	all, err := testvectors.MCUbootImages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// payload returns firmware by its name in the tables.
func payload(t testing.TB, name string) []byte {
	t.Helper()
	b, err := testvectors.MCUbootPayload(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func imgtools(t testing.TB, g testvectors.MCUbootImage) []byte {
	t.Helper()
	b, err := g.File()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func find(t testing.TB, name string) testvectors.MCUbootImage {
	t.Helper()
	for _, g := range goldens(t) {
		if g.Name == name {
			return g
		}
	}
	t.Fatalf("no golden image %s", name)
	return testvectors.MCUbootImage{}
}

func derOf(t testing.TB, name string) []byte {
	t.Helper()
	block, _ := pem.Decode(read(t, "keys/"+name+".pem"))
	if block == nil {
		t.Fatalf("%s: no PEM", name)
	}
	return block.Bytes
}

func key(t testing.TB, name string) mcuboot.Key {
	t.Helper()
	if name == "rsa2048" {
		k, err := mcuboot.ParseKey(read(t, "keys/rsa2048.pub.der"))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return mcuboot.NewKey(signer(t, name).Public())
}

func deviceKey(t testing.TB, name string) mcuboot.DeviceKey {
	t.Helper()
	k, err := mcuboot.ParseDeviceKey(read(t, "keys/"+name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// flash is the slot of the golden images: the P-256 ones were also booted with
// swap-move in 64 KiB slots of 4 KiB sectors.
func flash(target mcuboot.Target) mcuboot.Target {
	target.Mode, target.SlotSize, target.SectorSize, target.WriteSize = mcuboot.SwapMove, 0x10000, 0x1000, 4
	return target
}

// goldenTarget is the bootloader that a golden image was verified with.
func goldenTarget(t testing.TB, name string) mcuboot.Target {
	t.Helper()
	target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256})
	signedBy := "p256"
	switch name {
	case "01-unsigned":
		target.Signature, signedBy = mcuboot.HashOnly, ""
	case "03-p384":
		target.Signature, signedBy = mcuboot.ECDSAP384, "p384"
	case "04-ed25519":
		target.Signature, signedBy = mcuboot.Ed25519, "ed25519"
	case "05-ed25519-sha512":
		target.Signature, target.Hash, signedBy = mcuboot.Ed25519, crypto.SHA512, "ed25519"
	case "06-ed25519-pure":
		target.Signature, signedBy = mcuboot.Ed25519Pure, "ed25519"
	case "07-rsa2048":
		target.Signature, signedBy = mcuboot.RSA2048, "rsa2048"
	case "08-p256-enc", "10-p256-enc-clear", "21-p256-enc-confirm":
		target.Encryption, target.DeviceKey = mcuboot.ECIESP256, deviceKey(t, "enc-p256")
	case "11-ed25519-enc-x25519":
		target.Signature, signedBy = mcuboot.Ed25519, "ed25519"
		target.Encryption, target.DeviceKey = mcuboot.ECIESX25519, deviceKey(t, "enc-x25519")
	case "12-ed25519-enc-x25519-hmac512":
		target.Signature, signedBy = mcuboot.Ed25519, "ed25519"
		target.Encryption, target.DeviceKey = mcuboot.ECIESX25519SHA512, deviceKey(t, "enc-x25519")
	case "20-p256-confirm-erased0":
		target.ErasedZero, target.MaxSectors = true, 64
	case "36-pubkey-full":
		target.KeyMatch = mcuboot.FullKey
	}
	if name == "10-p256-enc-clear" {
		target.Slot = mcuboot.Primary
	}
	if signedBy != "" {
		target.Keys = []mcuboot.Key{key(t, signedBy)}
	}
	return target
}

func TestVerifyGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.Name, func(t *testing.T) {
			file := imgtools(t, g)
			v, trace, err := mcuboot.Verify(t.Context(), file, goldenTarget(t, g.Name))
			if got := map[bool]string{true: "accept", false: "reject"}[err == nil]; got != g.Bootutil {
				t.Fatalf("%s, bootutil says %s: %v\n%+v", got, g.Bootutil, err, trace)
			}
			if v.Bootable() != (g.Name != "35-non-bootable") {
				t.Error("bootable is", v.Bootable())
			}
			if !bytes.Equal(v.File().Encode(), file) {
				t.Error("encodes to other bytes")
			}
			if k, ok := v.SignedBy(); ok != (g.Name != "01-unsigned") || ok && k.String() != goldenTarget(t, g.Name).Keys[0].String() {
				t.Errorf("signed by %s, %v", k, ok)
			}
		})
	}
}

func TestVerifyCompressed(t *testing.T) {
	_, trace, err := mcuboot.Verify(t.Context(), read(t, "lzma2.bin"), goldenTarget(t, ""))
	if verdict.Of(err) != verdict.CompressionNotBuiltIn || trace[len(trace)-1].Step != mcuboot.StepHeader {
		t.Errorf("%v\n%+v", err, trace)
	}
}

func TestVerifyNegatives(t *testing.T) {
	all, err := testvectors.MCUbootMutations()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("%d mutations", len(all))
	}
	reasons := map[verdict.Reason]int{}
	for _, m := range all {
		file, err := m.Apply(imgtools(t, find(t, m.Base)))
		if err != nil {
			t.Fatal(err)
		}
		target := goldenTarget(t, m.Base)
		target.Keys = []mcuboot.Key{key(t, m.VerifyKey)}
		if m.DecryptKey != "" {
			target.DeviceKey = deviceKey(t, m.DecryptKey)
		}
		_, trace, err := mcuboot.Verify(t.Context(), file, target)
		if got := map[bool]string{true: "accept", false: "reject"}[err == nil]; got != m.Bootutil {
			t.Errorf("%s, %s: %s, bootutil says %s: %v", m.Base, m.Why, got, m.Bootutil, err)
		}
		if err == nil {
			continue
		}
		last := trace[len(trace)-1]
		if reason := verdict.Of(err); reason == "" || last.Status != mcuboot.Failed || last.Reason != reason {
			t.Errorf("%s, %s: %v, trace ends with %+v", m.Base, m.Why, err, last)
		}
		reasons[verdict.Of(err)]++
	}
	t.Log(reasons)
}

// options is imgtool's command line of a golden image as Options.
func options(t testing.TB, name string) mcuboot.Options {
	t.Helper()
	o := mcuboot.Options{
		Target: goldenTarget(t, name), Version: mcuboot.Version{Major: 1, Minor: 2, Revision: 3, Build: 45}, HeaderSize: 0x200, PadHeader: true,
	}
	for _, k := range o.Target.Keys {
		o.Keys = append(o.Keys, k.Public())
	}
	o.Target.Keys = nil
	number := func(n uint32) *uint32 { return &n }
	if k := o.Target.DeviceKey; !k.IsZero() {
		o.Encrypt = &mcuboot.Encrypt{To: k.Recipient(), Clear: name == "10-p256-enc-clear"}
	}
	switch name {
	case "13-p256-deps":
		o.Dependencies = []mcuboot.Dependency{
			{Image: 1, Minimum: mcuboot.Version{Major: 2, Build: 7}}, {Image: 3, Minimum: mcuboot.Version{Minor: 1, Revision: 2}},
		}
	case "14-p256-seccnt":
		o.Counter = number(42)
	case "15-p256-seccnt-auto":
		o.Counter = number(o.Version.Counter())
	case "16-p256-confirm", "20-p256-confirm-erased0", "21-p256-enc-confirm":
		o.Padding = mcuboot.Confirm
	case "17-p256-test":
		o.Padding = mcuboot.Pad
	case "30-boot-record":
		o.BootRecord = "CoFM"
	case "31-custom-tlvs":
		value := []byte(" ")
		for i := range byte(32) {
			value = slices.Insert(value, int(i), i)
		}
		o.Custom = []mcuboot.TLV{{Type: 0xa0, Value: []byte{0xde, 0xad, 0xbe, 0xef}}, {Type: 0x1a3, Value: []byte("hello")}, {Type: 0x2ff, Value: value}}
	case "33-ram-load":
		o.LoadAddress = number(0x20020000)
	case "34-rom-fixed":
		o.ROMAddress = number(0x08010000)
	case "35-non-bootable":
		o.NonBootable = true
	case "37-header-in-input":
		o.PadHeader = false
	case "39-pad-sig":
		o.PadSignature = true
	}
	return o
}

// signatureOf takes the signature out of a golden image, for Finish to put back.
func signatureOf(t testing.TB, file []byte) []sign.Signature {
	t.Helper()
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range f.Unprotected {
		var a sign.Algorithm
		encoding, value := sign.DER, e.Value
		switch e.Type {
		case mcuboot.TypeECDSA:
			a = sign.ESP256
			value = value[:2+value[1]] // padding
			if len(value) > 72 {
				a = sign.ESP384
			}
		case mcuboot.TypeEd25519:
			a, encoding = sign.Ed25519, sign.Raw
		default:
			continue
		}
		s, err := sign.ParseSignature(a, encoding, value)
		if err != nil {
			t.Fatal(err)
		}
		return []sign.Signature{s}
	}
	return nil
}

// Same options, same bytes as imgtool: with its signature and its content key put
// in, only the encrypted content key differs.
func TestBuildGolden(t *testing.T) {
	for _, g := range goldens(t) {
		if g.Name == "07-rsa2048" { // verified only
			continue
		}
		t.Run(g.Name, func(t *testing.T) {
			want := imgtools(t, g)
			o := options(t, g.Name)
			input := payload(t, g.Payload)
			if !o.PadHeader {
				input = append(make([]byte, o.HeaderSize), input...)
			}
			var random io.Reader
			if o.Encrypt != nil {
				content := unhex(t, g.ContentKey)
				if len(content) == 0 { // --clear
					content = make([]byte, 16)
				}
				random = io.MultiReader(bytes.NewReader(content), bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
			}
			draft, err := mcuboot.Build(input, o, random)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := draft.Sign(signatureOf(t, want))
			if err != nil {
				t.Fatal(err)
			}
			got, err := draft.Finish(signatureOf(t, want))
			if err != nil {
				t.Fatal(err)
			}
			if o.Encrypt != nil {
				if v, _, err := mcuboot.Verify(t.Context(), got, goldenTarget(t, g.Name)); err != nil || !v.Complete() {
					t.Errorf("own encryption: %v", err)
				}
				got = withEncryptionTLV(t, got, want)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from imgtool's at %d of %d (%d) bytes", firstDifference(got, want), len(want), len(got))
			}
			// Deterministic signatures come out by themselves.
			if strings.Contains(g.Name, "ed25519") {
				answers, err := sign.Answer(t.Context(), draft.Requests(), map[sign.KeyID]sign.Signer{o.Keys[0].ID(): signer(t, "ed25519")})
				if err != nil {
					t.Fatal(err)
				}
				if again, err := draft.Finish(answers); err != nil || o.Encrypt == nil && !bytes.Equal(again, want) {
					t.Errorf("signed anew: %v", err)
				}
			}
			if g.HexBase != nil {
				image, err := signed.Image(*g.HexBase)
				if err != nil {
					t.Fatal(err)
				}
				if sum := sha256.Sum256(intelHex(t, image)); hex.EncodeToString(sum[:]) != g.FileSHA256 {
					t.Errorf("the HEX file has SHA-256 %x", sum)
				}
			}
		})
	}
}

// intelHex writes records of 16 bytes and lines that end in LF, as Python's
// intelhex does on Linux.
func intelHex(t testing.TB, image formats.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	record := func(kind byte, offset uint16, data []byte) {
		r := append([]byte{byte(len(data)), byte(offset >> 8), byte(offset), kind}, data...)
		sum := byte(0)
		for _, v := range r {
			sum -= v
		}
		fmt.Fprintf(&b, ":%X\n", append(r, sum))
	}
	upper := uint32(0)
	for _, s := range image.Segments() {
		for addr, data := s.Addr, s.Data; len(data) > 0; {
			if addr>>16 != upper {
				upper = addr >> 16
				record(4, 0, []byte{byte(upper >> 8), byte(upper)})
			}
			n := min(len(data), 16)
			record(0, uint16(addr), data[:n])
			addr, data = addr+uint32(n), data[n:]
		}
	}
	record(1, 0, nil)
	return b.Bytes()
}

// withEncryptionTLV replaces the encrypted content key by that of another file.
func withEncryptionTLV(t testing.TB, file, from []byte) []byte {
	t.Helper()
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	other, err := mcuboot.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	last := len(f.Unprotected) - 1
	mine, theirs := f.Unprotected[last], other.Unprotected[len(other.Unprotected)-1]
	if mine.Type != theirs.Type || len(mine.Value) != len(theirs.Value) {
		t.Fatalf("%s of %d bytes, imgtool's is %s of %d", mine.Type, len(mine.Value), theirs.Type, len(theirs.Value))
	}
	f.Unprotected[last] = theirs
	return f.Encode()
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestDecryptGolden(t *testing.T) {
	for _, name := range []string{"08-p256-enc", "11-ed25519-enc-x25519", "12-ed25519-enc-x25519-hmac512", "21-p256-enc-confirm"} {
		g := find(t, name)
		target := goldenTarget(t, name)
		plain, err := mcuboot.Decrypt(imgtools(t, g), target.DeviceKey)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mcuboot.Parse(plain)
		if err != nil {
			t.Fatal(err)
		}
		if want := append(payload(t, "odd"), 0, 0, 0, 0, 0); !bytes.Equal(f.Payload, want) {
			t.Errorf("%s: another payload", name)
		}
		target.Slot = mcuboot.Primary
		if _, _, err := mcuboot.Verify(t.Context(), plain, target); err != nil {
			t.Errorf("%s: in the primary slot: %v", name, err)
		}
		if _, err := mcuboot.Decrypt(imgtools(t, g), mcuboot.DeviceKey{}); verdict.Of(err) != verdict.RecipientKeyMissing {
			t.Errorf("%s: without a key: %v", name, err)
		}
	}
	if _, err := mcuboot.Decrypt(imgtools(t, find(t, "08-p256-enc")), deviceKey(t, "p256-other")); verdict.Of(err) != verdict.KeyUnwrap {
		t.Errorf("another key: %v", err)
	}
	if _, err := mcuboot.Decrypt(imgtools(t, find(t, "02-p256")), deviceKey(t, "enc-p256")); verdict.Of(err) != verdict.EncryptionFlags {
		t.Errorf("a plain image: %v", err)
	}
	if _, err := mcuboot.Decrypt(imgtools(t, find(t, "08-p256-enc")), deviceKey(t, "enc-x25519")); verdict.Of(err) != verdict.EncryptionTLV {
		t.Errorf("a key on another curve: %v", err)
	}
	damaged := imgtools(t, find(t, "08-p256-enc"))
	damaged[600] ^= 1
	if b, err := mcuboot.Decrypt(damaged, deviceKey(t, "enc-p256")); verdict.Of(err) != verdict.ImageDigestMismatch || b != nil {
		t.Errorf("a damaged payload: %v", err)
	}
}
