package mcuboot_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

func TestParseRefuses(t *testing.T) {
	target := mcuboot.Target{Signature: mcuboot.HashOnly}
	good := small(t, target, nil, func(o *mcuboot.Options) { o.Counter = number(1) })
	const payloadEnd = 64 + 31
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	put16 := func(at int, v uint16) []byte {
		return change(func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], v); return b })
	}
	for _, c := range []struct {
		name   string
		data   []byte
		reason verdict.Reason
		offset int64
	}{
		{"nothing", nil, verdict.Truncated, 0},
		{"half a header", good[:16], verdict.Truncated, 16},
		{"magic", change(func(b []byte) []byte { b[3] = 0; return b }), verdict.ImageMagic, 0},
		{"header size 31", put16(8, 31), verdict.HeaderSize, 8},
		{"both AES flags", change(func(b []byte) []byte { b[16] = 12; return b }), verdict.EncryptionFlags, 16},
		{"payload cut", good[:payloadEnd-1], verdict.Truncated, payloadEnd - 1},
		{"no TLV area", good[:payloadEnd], verdict.Truncated, payloadEnd},
		{"protected magic", put16(payloadEnd, 0x6907), verdict.TLVMagic, payloadEnd},
		{"protected total of 3", put16(payloadEnd+2, 3), verdict.TLVLength, payloadEnd + 2},
		{"protected total past the file", put16(payloadEnd+2, 0xffff), verdict.Truncated, int64(len(good))},
		{"protected total of another size", put16(10, 11), verdict.ProtectedSize, payloadEnd},
		{"protected entry too long", put16(payloadEnd+6, 5), verdict.TLVLength, payloadEnd + 4},
		{"protected entry too short", put16(payloadEnd+6, 3), verdict.TLVLength, payloadEnd + 11},
		{"unprotected magic", put16(payloadEnd+12, 0x6908), verdict.TLVMagic, payloadEnd + 12},
		{"unprotected area cut", good[:len(good)-1], verdict.Truncated, int64(len(good) - 1)},
		{"unprotected entry too long", put16(payloadEnd+18, 33), verdict.TLVLength, payloadEnd + 16},
		{"a protected area that the header does not have", put16(10, 0), verdict.TLVMagic, payloadEnd},
	} {
		f, err := mcuboot.Parse(c.data)
		var e *verdict.Error
		if !errors.As(err, &e) || e.Reason != c.reason || e.Offset != c.offset || f != nil {
			t.Errorf("%s: got %v, want %s at %d", c.name, err, c.reason, c.offset)
		}
	}
}

// Parse takes what the loader does not look at.
func TestParseTakes(t *testing.T) {
	h := func(flags uint32, protected uint16) []byte {
		b := make([]byte, 32)
		binary.LittleEndian.PutUint32(b, 0x96f3b83d)
		binary.LittleEndian.PutUint16(b[8:], 32)
		binary.LittleEndian.PutUint16(b[10:], protected)
		binary.LittleEndian.PutUint32(b[16:], flags)
		b[28] = 7
		return b
	}
	empty, emptyProtected := []byte{7, 0x69, 4, 0}, []byte{8, 0x69, 4, 0}
	for name, data := range map[string][]byte{
		"no TLVs":              append(h(0, 0), empty...),
		"empty protected area": append(append(h(0, 4), emptyProtected...), empty...),
		"unknown flags":        append(h(0xfffffff3, 0), empty...),
		"unknown TLV":          append(h(0, 0), 7, 0x69, 9, 0, 0xff, 0xff, 1, 0, 5),
		"bytes behind":         append(append(h(0, 0), empty...), 1, 2, 3),
	} {
		f, err := mcuboot.Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(f.Encode(), data) {
			t.Errorf("%s: encodes to %x", name, f.Encode())
		}
	}
}

func TestDescribe(t *testing.T) {
	f, err := mcuboot.Parse(imgtools(t, find(t, "21-p256-enc-confirm")))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, d := range mcuboot.Describe(f) {
		fmt.Fprintf(&b, "%d %s %s %.30s\n", d.Offset, d.Section, d.Name, d.Value)
	}
	const want = `4 header load-address 0x00000000
8 header header-size 512
10 header protected-size 0
12 header payload-size 40464
16 header flags encrypted-aes128
20 header version 1.2.3+45
40980 unprotected SHA256 7843dc61b74e8d261a29c5f2d4e650
41016 unprotected KEYHASH bb0c4cd37cb30507b0b6a31fbb9d41
`
	if !strings.HasPrefix(b.String(), want) || !strings.HasSuffix(b.String(), "65520 tail trailer confirmed, aligned to 8\n") {
		t.Errorf("got\n%s", b.String())
	}

	s := throwaway(t, sign.ESP256)
	f, err = mcuboot.Parse(small(t, mcuboot.Target{Signature: mcuboot.ECDSAP256}, s, func(o *mcuboot.Options) {
		o.Counter, o.Vendor, o.ROMAddress = number(7), "cfbff0d1-9375-5685-968c-48ce8b15ae17", number(0x10000)
		o.Dependencies = []mcuboot.Dependency{{Image: 1, Minimum: mcuboot.Version{Major: 2}}}
		o.Custom = []mcuboot.TLV{{Type: 0xa0, Value: []byte{0xca, 0xfe}}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, d := range mcuboot.Describe(f) {
		values[d.Name] = d.Value
	}
	for name, want := range map[string]string{
		"SEC_CNT": "7", "DEPENDENCY": "image 1 >= 2.0.0", "UUID_VID": "cfbff0d1-9375-5685-968c-48ce8b15ae17", "0x00a0": "cafe", "flags": "rom-fixed", "load-address": "0x00010000",
	} {
		if values[name] != want {
			t.Errorf("%s: got %q, want %q", name, values[name], want)
		}
	}
}

func seeds(f *testing.F) {
	for _, name := range []string{"01-unsigned", "14-p256-seccnt", "04-ed25519"} {
		g := find(f, name)
		// The firmware of the golden images is too long for a fuzzer.
		file, err := mcuboot.Parse(imgtools(f, g))
		if err != nil {
			f.Fatal(err)
		}
		file.Header.PayloadSize, file.Payload = 16, file.Payload[:16]
		file.Header.HeaderSize, file.Padding = 32, nil
		f.Add(file.Encode())
	}
	f.Add(small(f, mcuboot.Target{Signature: mcuboot.HashOnly}, nil, nil))
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := mcuboot.Parse(data)
		if err != nil {
			if verdict.Of(err) == "" || file != nil {
				t.Errorf("refused without a reason: %v", err)
			}
			return
		}
		if !bytes.Equal(file.Encode(), data) {
			t.Errorf("encodes to %x", file.Encode())
		}
		if file.End()+len(file.Tail) != len(data) {
			t.Errorf("ends at %d", file.End())
		}
		last := 0
		for _, d := range mcuboot.Describe(file) {
			if d.Offset < last || d.Offset > len(data) || d.Name == "" {
				t.Errorf("%+v after %d", d, last)
			}
			last = d.Offset
		}
	})
}

// Accepted means accepted by Parse too, whatever the bootloader; and bytes that a
// hash covers cannot change.
func FuzzVerify(f *testing.F) {
	seeds(f)
	device, err := mcuboot.ParseDeviceKey(read(f, "keys/enc-p256.pem"))
	if err != nil {
		f.Fatal(err)
	}
	p256, ed := key(f, "p256"), key(f, "ed25519")
	targets := []mcuboot.Target{
		{Signature: mcuboot.HashOnly},
		{Signature: mcuboot.HashOnly, AnyTLV: true, Mode: mcuboot.OverwriteOnly, SlotSize: 4096, Images: 2, Rollback: number(1)},
		{Signature: mcuboot.HashOnly, Mode: mcuboot.RAMLoadMode, RAM: &mcuboot.Memory{Size: 1 << 20}, Encryption: mcuboot.ECIESP256, DeviceKey: device},
		flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{p256}, AnyTLV: true, Encryption: mcuboot.ECIESP256, DeviceKey: device}),
		{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{p256}, Crypto: mcuboot.PSA, KeyMatch: mcuboot.AnyKeyHash},
		{Signature: mcuboot.Ed25519, Keys: []mcuboot.Key{ed}, KeyMatch: mcuboot.FullKey, Downgrade: mcuboot.ByCounter, Mode: mcuboot.SwapMove, Installed: &mcuboot.Installed{Counter: number(1)}},
		{Signature: mcuboot.Ed25519Pure, Keys: []mcuboot.Key{ed}, KeyMatch: mcuboot.BuiltinKey},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for i, target := range targets {
			v, trace, err := mcuboot.Verify(t.Context(), data, target)
			switch {
			case err == nil && (len(trace) == 0 || trace[len(trace)-1].Status == mcuboot.Failed):
				t.Errorf("target %d: accepted with trace %+v", i, trace)
			case err == nil && !bytes.Equal(v.File().Encode(), data):
				t.Errorf("target %d: another file", i)
			case err != nil && verdict.Of(err) == "":
				t.Errorf("target %d: %v", i, err)
			case err != nil && (len(trace) == 0 || trace[len(trace)-1].Reason != verdict.Of(err)):
				t.Errorf("target %d: %v with trace %+v", i, err, trace)
			}
		}
	})
}

var sizes = map[string]int{"200KiB": 200 << 10, "1MiB": 1 << 20}

func benchTarget(b *testing.B, s sign.Signer) mcuboot.Target {
	return mcuboot.Target{
		Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}, Mode: mcuboot.SwapMove, SlotSize: 2 << 20, SectorSize: 4096, WriteSize: 8, MaxSectors: 512,
		Encryption: mcuboot.ECIESP256, DeviceKey: deviceKey(b, "enc-p256"),
	}
}

func benchFile(b *testing.B, s sign.Signer, size int, encrypt *mcuboot.Encrypt) *mcuboot.Signed {
	b.Helper()
	d, err := mcuboot.Build(make([]byte, size), mcuboot.Options{
		Target: benchTarget(b, s), HeaderSize: 0x200, PadHeader: true, Keys: []sign.PublicKey{s.Public()}, Encrypt: encrypt,
	}, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signed, err := d.Sign(answers(b, d, s))
	if err != nil {
		b.Fatal(err)
	}
	return signed
}

func BenchmarkBuild(b *testing.B) {
	s := throwaway(b, sign.ESP256)
	for name, size := range sizes {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := benchFile(b, s, size, nil).Bytes(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	s := throwaway(b, sign.ESP256)
	device := deviceKey(b, "enc-p256").Recipient()
	for name, size := range sizes {
		for kind, encrypt := range map[string]*mcuboot.Encrypt{"plain": nil, "encrypted": {To: device}} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				file, err := benchFile(b, s, size, encrypt).Bytes()
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := mcuboot.Verify(b.Context(), file, benchTarget(b, s)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A file per device: 1000 recipients, one signature.
func BenchmarkEncryptFor1000(b *testing.B) {
	s := throwaway(b, sign.ESP256)
	device := deviceKey(b, "enc-p256").Recipient()
	for name, size := range sizes {
		b.Run(name, func(b *testing.B) {
			signed := benchFile(b, s, size, &mcuboot.Encrypt{})
			b.SetBytes(1000 * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for range 1000 {
					if err := signed.EncryptFor(io.Discard, device, rand.Reader); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
