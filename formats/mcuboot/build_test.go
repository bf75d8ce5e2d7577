package mcuboot_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

func TestBuildRefuses(t *testing.T) {
	p256, p384, ed := throwaway(t, sign.ESP256).Public(), throwaway(t, sign.ESP384).Public(), throwaway(t, sign.Ed25519).Public()
	device := deviceKey(t, "enc-p256").Recipient()
	x := deviceKey(t, "enc-x25519").Recipient()
	vendor, err := mcuboot.VendorUUID("example.com")
	if err != nil {
		t.Fatal(err)
	}
	encrypted := func(o *mcuboot.Options) {
		o.Target.Encryption, o.Encrypt = mcuboot.ECIESP256, &mcuboot.Encrypt{To: device}
	}
	for _, c := range []struct {
		name   string
		change func(o *mcuboot.Options)
		reason verdict.Reason
	}{
		{"as is", func(*mcuboot.Options) {}, ""},
		{"no key", func(o *mcuboot.Options) { o.Keys = nil }, verdict.Unsigned},
		{"key, but hash only", func(o *mcuboot.Options) { o.Target.Signature = mcuboot.HashOnly }, verdict.SignatureType},
		{"RSA", func(o *mcuboot.Options) { o.Target.Signature = mcuboot.RSA2048 }, verdict.SignatureType},
		{"P-384 key", func(o *mcuboot.Options) { o.Keys = []sign.PublicKey{p384} }, verdict.SignatureType},
		{"P-256 and Ed25519 keys", func(o *mcuboot.Options) { o.Keys = append(o.Keys, ed) }, verdict.SignatureType},
		{"one key twice", func(o *mcuboot.Options) { o.Keys = append(o.Keys, p256) }, verdict.SignatureType},
		{"padded Ed25519", func(o *mcuboot.Options) {
			o.Keys, o.Target.Signature, o.PadSignature = []sign.PublicKey{ed}, mcuboot.Ed25519, true
		}, verdict.SignatureType},
		{"padding for Mbed TLS", func(o *mcuboot.Options) { o.Target.Crypto, o.PadSignature = mcuboot.MbedTLS, true }, verdict.SignatureType},

		{"header of 31 bytes", func(o *mcuboot.Options) { o.HeaderSize = 31 }, verdict.HeaderSize},
		{"header of 32 bytes", func(o *mcuboot.Options) { o.HeaderSize = 32 }, ""},
		{"header of 64 KiB", func(o *mcuboot.Options) { o.HeaderSize = 1 << 16 }, verdict.HeaderSize},
		{"no room for the header", func(o *mcuboot.Options) { o.PadHeader = false }, verdict.HeaderPadding},
		{"two addresses", func(o *mcuboot.Options) { o.LoadAddress, o.ROMAddress = number(1), number(1) }, verdict.LoadAddress},
		{"no address for ram-load", func(o *mcuboot.Options) { o.Target.Mode = mcuboot.RAMLoadMode }, verdict.LoadAddress},
		{"not in RAM", func(o *mcuboot.Options) {
			o.Target.Mode, o.Target.RAM, o.LoadAddress = mcuboot.RAMLoadMode, &mcuboot.Memory{Start: 0x2000_0000, Size: 16}, number(0x2000_0000)
		}, verdict.LoadAddress},
		{"another slot", func(o *mcuboot.Options) {
			o.Target.Mode, o.Target.SlotAddress, o.ROMAddress = mcuboot.DirectXIP, number(0x10000), number(0x20000)
		}, verdict.SlotMismatch},

		{"no counter", func(o *mcuboot.Options) { o.Target.Rollback = number(0) }, verdict.CounterMissing},
		{"counter below", func(o *mcuboot.Options) { o.Target.Rollback, o.Counter = number(2), number(1) }, verdict.CounterRollback},
		{"counter", func(o *mcuboot.Options) { o.Target.Rollback, o.Counter = number(2), number(2) }, ""},
		{"downgrade", func(o *mcuboot.Options) {
			o.Target.Downgrade, o.Target.Installed = mcuboot.ByVersion, &mcuboot.Installed{Version: mcuboot.Version{Major: 9}}
		}, verdict.VersionDowngrade},
		{"downgrade by counter", func(o *mcuboot.Options) {
			o.Target.Downgrade, o.Target.Installed, o.Counter = mcuboot.ByCounter, &mcuboot.Installed{Counter: number(3)}, number(2)
		}, verdict.CounterRollback},
		{"no downgrade by counter", func(o *mcuboot.Options) {
			o.Target.Downgrade, o.Target.Installed, o.Counter = mcuboot.ByCounter, &mcuboot.Installed{Version: mcuboot.Version{Major: 9}, Counter: number(3)}, number(3)
		}, ""},
		{"in RAM to the last byte", func(o *mcuboot.Options) {
			o.Target.Mode, o.Target.RAM, o.LoadAddress = mcuboot.RAMLoadMode, &mcuboot.Memory{Start: 0x2000_0000, Size: 64 + 8 + 4 + 36 + 36 + 76}, number(0x2000_0000)
		}, ""},
		{"one byte past it", func(o *mcuboot.Options) {
			o.Target.Mode, o.Target.RAM, o.LoadAddress = mcuboot.RAMLoadMode, &mcuboot.Memory{Start: 0x2000_0000, Size: 64 + 8 + 4 + 36 + 36 + 75}, number(0x2000_0000)
		}, verdict.LoadAddress},
		{"no vendor", func(o *mcuboot.Options) { o.Target.Vendor = &vendor }, verdict.UUIDMissing},
		{"another vendor", func(o *mcuboot.Options) { o.Target.Vendor, o.Vendor = &vendor, "example.org" }, verdict.VendorMismatch},
		{"vendor", func(o *mcuboot.Options) { o.Target.Vendor, o.Vendor = &vendor, "example.com" }, ""},
		{"text class without a vendor", func(o *mcuboot.Options) { o.Class = "radio" }, verdict.UUIDForm},
		{"class UUID without a vendor", func(o *mcuboot.Options) { o.Class = strings.Repeat("0", 32) }, ""},
		{"vendor that does not print", func(o *mcuboot.Options) { o.Vendor = "a\nb" }, verdict.UUIDForm},

		{"dependency on itself", func(o *mcuboot.Options) { o.Dependencies = []mcuboot.Dependency{{Image: 0}} }, verdict.DependencyImage},
		{"dependency on no image", func(o *mcuboot.Options) {
			o.Target.Images, o.Dependencies = 2, []mcuboot.Dependency{{Image: 2}}
		}, verdict.DependencyImage},
		{"dependency not met", func(o *mcuboot.Options) {
			o.Target.Images, o.Target.Others, o.Dependencies = 2, map[uint8]mcuboot.Version{1: {Major: 1}}, []mcuboot.Dependency{{Image: 1, Minimum: mcuboot.Version{Major: 2}}}
		}, verdict.DependencyUnmet},
		{"boot record type of 12 characters", func(o *mcuboot.Options) { o.BootRecord = "ÄÄÄÄÄÄÄÄÄÄÄÄ" }, ""},
		{"boot record type of 13", func(o *mcuboot.Options) { o.BootRecord = "1234567890123" }, verdict.BootRecordType},
		{"boot record type that is no text", func(o *mcuboot.Options) { o.BootRecord = "\xff" }, verdict.BootRecordType},

		{"custom type of MCUboot", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0x50}} }, verdict.CustomTLV},
		{"custom type that is reserved", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0x0110}} }, verdict.CustomTLV},
		{"custom type that means any", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xffff}} }, verdict.CustomTLV},
		{"custom type twice", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0}, {Type: 0xa1}, {Type: 0xa0}} }, verdict.CustomTLV},
		{"custom types", func(o *mcuboot.Options) {
			o.Custom = []mcuboot.TLV{{Type: 0xa0}, {Type: 0xffa0}, {Type: 0xfffe, Value: []byte{0}}}
		}, ""},
		{"custom TLV of no bytes, the last", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0}} }, verdict.TLVNotAllowed},
		{"the same without the list", func(o *mcuboot.Options) { o.Custom, o.Target.AnyTLV = []mcuboot.TLV{{Type: 0xa0}}, true }, ""},
		{"custom TLV of 64 KiB", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0, Value: make([]byte, 1<<16)}} }, verdict.TLVLength},
		{"protected area of 64 KiB", func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0, Value: make([]byte, 1<<16-8)}} }, verdict.TLVLength},

		{"encrypted", encrypted, ""},
		{"encryption not built in", func(o *mcuboot.Options) { o.Encrypt = &mcuboot.Encrypt{To: device} }, verdict.EncryptionNotBuiltIn},
		{"encrypted, direct-xip", func(o *mcuboot.Options) { encrypted(o); o.Target.Mode = mcuboot.DirectXIP }, verdict.EncryptionMode},
		{"encrypted, single slot", func(o *mcuboot.Options) { encrypted(o); o.Target.Mode = mcuboot.SingleSlot }, verdict.EncryptionMode},
		{"encrypted, primary slot", func(o *mcuboot.Options) { encrypted(o); o.Target.Slot = mcuboot.Primary }, verdict.EncryptionMode},
		{"in the clear, primary slot", func(o *mcuboot.Options) {
			encrypted(o)
			o.Target.Slot, o.Encrypt.Clear = mcuboot.Primary, true
		}, ""},
		{"encrypted and pure", func(o *mcuboot.Options) {
			encrypted(o)
			o.Keys, o.Target.Signature = []sign.PublicKey{ed}, mcuboot.Ed25519Pure
		}, verdict.EncryptionMode},
		{"AES-256 for an AES-128 bootloader", func(o *mcuboot.Options) { encrypted(o); o.Encrypt.AESBits = 256 }, verdict.AESLength},
		{"recipient on the other curve", func(o *mcuboot.Options) { encrypted(o); o.Encrypt.To = x }, verdict.EncryptionTLV},
	} {
		o := mcuboot.Options{Target: flash(mcuboot.Target{Signature: mcuboot.ECDSAP256}), HeaderSize: 64, PadHeader: true, Keys: []sign.PublicKey{p256}}
		o.Target.MaxSectors = 16
		c.change(&o)
		d, err := mcuboot.Build([]byte("firmware"), o, rand.Reader)
		if verdict.Of(err) != c.reason || (err == nil) != (c.reason == "") || (d == nil) != (err != nil) {
			t.Errorf("%s: got %q, want %q: %v", c.name, verdict.Of(err), c.reason, err)
		}
	}
	o := mcuboot.Options{Target: mcuboot.Target{Signature: mcuboot.HashOnly}, HeaderSize: 32, PadHeader: true}
	if _, err := mcuboot.Build(nil, o, nil); verdict.Of(err) != verdict.EmptyFirmware {
		t.Errorf("no payload: %v", err)
	}
	o.Padding = mcuboot.Pad
	if _, err := mcuboot.Build([]byte("x"), o, nil); !errors.Is(err, mcuboot.ErrTarget) {
		t.Errorf("padding without a slot: %v", err)
	}
	if _, err := mcuboot.Build([]byte("x"), mcuboot.Options{HeaderSize: 32}, nil); !errors.Is(err, mcuboot.ErrTarget) {
		t.Errorf("no target: %v", err)
	}
}

func TestFinishRefuses(t *testing.T) {
	s, other := throwaway(t, sign.ESP256), throwaway(t, sign.ESP256)
	d, err := mcuboot.Build([]byte("firmware"), mcuboot.Options{
		Target: mcuboot.Target{Signature: mcuboot.ECDSAP256}, HeaderSize: 32, PadHeader: true, Keys: []sign.PublicKey{s.Public()},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := d.Requests()[0]
	if r.Role != sign.RoleImage || r.Artifact != "mcuboot image" || r.Key != s.Public().ID() {
		t.Errorf("request %+v", r)
	}
	wrong, err := other.Sign(t.Context(), r.Message)
	if err != nil {
		t.Fatal(err)
	}
	for name, signatures := range map[string][]sign.Signature{"none": nil, "two": {wrong, wrong}, "zero": {{}}, "by another key": {wrong}} {
		if b, err := d.Finish(signatures); err == nil || b != nil {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
	if _, err := d.Finish([]sign.Signature{wrong}); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("got %v", err)
	}
}

// An image with the signatures of an old and a new key boots on devices with
// either, and with both.
func TestRotation(t *testing.T) {
	for _, kind := range []mcuboot.SignatureType{mcuboot.ECDSAP256, mcuboot.ECDSAP384, mcuboot.Ed25519, mcuboot.Ed25519Pure} {
		t.Run(kind.String(), func(t *testing.T) {
			a := map[mcuboot.SignatureType]sign.Algorithm{mcuboot.ECDSAP256: sign.ESP256, mcuboot.ECDSAP384: sign.ESP384}[kind]
			if a == 0 {
				a = sign.Ed25519
			}
			old, fresh, stranger := throwaway(t, a), throwaway(t, a), throwaway(t, a)
			d, err := mcuboot.Build(payload(t, "app"), mcuboot.Options{
				Target: mcuboot.Target{Signature: kind}, HeaderSize: 0x200, PadHeader: true,
				Keys: []sign.PublicKey{old.Public(), fresh.Public()}, BootRecord: "SPE",
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			file := finish(t, d, old, fresh)
			for name, c := range map[string]struct {
				keys []sign.Signer
				by   sign.Signer
			}{"old": {[]sign.Signer{old}, old}, "new": {[]sign.Signer{fresh}, fresh}, "both": {[]sign.Signer{fresh, old}, fresh}} {
				target := mcuboot.Target{Signature: kind}
				for _, k := range c.keys {
					target.Keys = append(target.Keys, mcuboot.NewKey(k.Public()))
				}
				v, trace, err := mcuboot.Verify(t.Context(), file, target)
				if err != nil {
					t.Errorf("%s: %v\n%+v", name, err, trace)
				} else if k, _ := v.SignedBy(); !k.Public().Equal(c.by.Public()) {
					t.Errorf("%s: %s decided", name, k)
				}
			}
			want(t, "neither", file, mcuboot.Target{Signature: kind, Keys: []mcuboot.Key{mcuboot.NewKey(stranger.Public())}}, verdict.NoKnownKey)
		})
	}
}

// One signature, many recipients.
func TestEncryptFor(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	for _, c := range []struct {
		encryption mcuboot.Encryption
		device     string
		bits       int
	}{
		{mcuboot.ECIESP256, "enc-p256", 128}, {mcuboot.ECIESP256, "enc-p256", 256},
		{mcuboot.ECIESX25519, "enc-x25519", 128}, {mcuboot.ECIESX25519, "enc-x25519", 256},
		{mcuboot.ECIESX25519SHA512, "enc-x25519", 128}, {mcuboot.ECIESX25519SHA512, "enc-x25519", 256},
	} {
		t.Run(fmt.Sprint(c.encryption, c.bits), func(t *testing.T) {
			device := deviceKey(t, c.device)
			target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}, Encryption: c.encryption, AESBits: c.bits, DeviceKey: device})
			o := mcuboot.Options{Target: target, HeaderSize: 0x200, PadHeader: true, Keys: []sign.PublicKey{s.Public()}, Encrypt: &mcuboot.Encrypt{AESBits: c.bits}, Padding: mcuboot.Confirm}
			d, err := mcuboot.Build(payload(t, "odd"), o, nil)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := d.Sign(answers(t, d, s))
			if err != nil {
				t.Fatal(err)
			}
			master, err := signed.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			want(t, "master", master, target, verdict.EncryptionTLV)
			again, err := mcuboot.Reopen(master, target, mcuboot.Confirm)
			if err != nil {
				t.Fatal(err)
			}
			var files [][]byte
			for _, from := range []*mcuboot.Signed{signed, signed, again} {
				var b, inClear bytes.Buffer
				if err := from.EncryptFor(&b, device.Recipient(), rand.Reader); err != nil {
					t.Fatal(err)
				}
				want(t, "encrypted", b.Bytes(), target, "")
				if err := from.ClearFor(&inClear, device.Recipient(), rand.Reader); err != nil {
					t.Fatal(err)
				}
				primary := target
				primary.Slot = mcuboot.Primary
				want(t, "in the clear", inClear.Bytes(), primary, "")
				files = append(files, b.Bytes())
				if len(b.Bytes()) != 0x10000 || len(inClear.Bytes()) != 0x10000 {
					t.Errorf("%d bytes", b.Len())
				}
			}
			// A key serves one payload, and hash and signature are the same.
			if bytes.Equal(files[0][0x200:0x300], files[1][0x200:0x300]) {
				t.Error("two files share a content key")
			}
			// Decrypted, a file is a master again, for other devices.
			plain, err := mcuboot.Decrypt(files[0], device)
			if err != nil {
				t.Fatal(err)
			}
			third, err := mcuboot.Reopen(plain, target, mcuboot.NoPadding)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := third.EncryptFor(&b, device.Recipient(), rand.Reader); err != nil {
				t.Fatal(err)
			}
			want(t, "from a file for another device", b.Bytes(), target, "")
		})
	}
}

func TestReopenRefuses(t *testing.T) {
	target := goldenTarget(t, "08-p256-enc")
	file := imgtools(t, find(t, "08-p256-enc"))
	if _, err := mcuboot.Reopen(file, target, mcuboot.NoPadding); verdict.Of(err) != verdict.ImageDigestMismatch {
		t.Errorf("encrypted: %v", err)
	}
	if _, err := mcuboot.Reopen(imgtools(t, find(t, "02-p256")), target, mcuboot.NoPadding); verdict.Of(err) != verdict.EncryptionFlags {
		t.Errorf("plain: %v", err)
	}
	plain, err := mcuboot.Decrypt(file, target.DeviceKey)
	if err != nil {
		t.Fatal(err)
	}
	long := target
	long.AESBits = 256
	if _, err := mcuboot.Reopen(plain, long, mcuboot.NoPadding); verdict.Of(err) != verdict.AESLength {
		t.Errorf("AES-256: %v", err)
	}
	none := target
	none.Encryption = mcuboot.NoEncryption
	if _, err := mcuboot.Reopen(plain, none, mcuboot.NoPadding); verdict.Of(err) != verdict.EncryptionNotBuiltIn {
		t.Errorf("no encryption: %v", err)
	}
	if _, err := mcuboot.Reopen(plain[:100], target, mcuboot.NoPadding); verdict.Of(err) != verdict.Truncated {
		t.Errorf("truncated: %v", err)
	}
	tight := target
	tight.SlotSize = 0xb000
	if _, err := mcuboot.Reopen(plain, tight, mcuboot.NoPadding); verdict.Of(err) != verdict.ImageExceedsSlot {
		t.Errorf("a small slot: %v", err)
	}
	signed, err := mcuboot.Reopen(plain, target, mcuboot.NoPadding)
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.EncryptFor(io.Discard, deviceKey(t, "enc-x25519").Recipient(), rand.Reader); verdict.Of(err) != verdict.EncryptionTLV {
		t.Errorf("a recipient on another curve: %v", err)
	}
	if err := signed.EncryptFor(io.Discard, target.DeviceKey.Recipient(), bytes.NewReader(make([]byte, 20))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a random source that ends: %v", err)
	}
	if err := signed.EncryptFor(io.Discard, target.DeviceKey.Recipient(), bytes.NewReader(make([]byte, 1000))); err == nil {
		t.Error("an ephemeral key of zeros")
	}
	if err := signed.EncryptFor(broken{}, target.DeviceKey.Recipient(), rand.Reader); !errors.Is(err, errBroken) {
		t.Errorf("a writer that fails: %v", err)
	}
}

var errBroken = errors.New("disk full")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// What the loader leaves of a slot; the numbers are from
// boot/bootutil/src/bootutil_misc.c and app_max_size of each mode, worked by
// hand.
func TestMaxImage(t *testing.T) {
	const slot, sector = 0x10000, 0x1000
	for _, c := range []struct {
		name   string
		change func(*mcuboot.Target)
		want   uint32
	}{
		// Trailer: 128·3·4 status, 4·8, magic 16: 1584.
		{"scratch", func(t *mcuboot.Target) { t.Mode = mcuboot.SwapScratch }, slot - 1584},
		{"move: trailer sector and spare sector", func(*mcuboot.Target) {}, slot - 2*sector},
		{"offset", func(t *mcuboot.Target) { t.Mode = mcuboot.SwapOffset }, slot - 2*sector},
		{"overwrite: magic 16, image ok, copy done, swap info", func(t *mcuboot.Target) { t.Mode = mcuboot.OverwriteOnly }, slot - 16 - 3*8},
		{"direct-xip", func(t *mcuboot.Target) { t.Mode = mcuboot.DirectXIP }, slot - 40},
		{"ram-load", func(t *mcuboot.Target) { t.Mode = mcuboot.RAMLoadMode }, slot - 40},
		{"single slot", func(t *mcuboot.Target) { t.Mode = mcuboot.SingleSlot }, slot - 48},
		{"alignment 32", func(t *mcuboot.Target) { t.Mode, t.WriteSize = mcuboot.OverwriteOnly, 32 }, slot - 64 - 2*32},
		{"alignment 16", func(t *mcuboot.Target) { t.Mode, t.WriteSize = mcuboot.OverwriteOnly, 16 }, slot - 16 - 3*16},
		{"scratch, AES-128 keys", func(t *mcuboot.Target) { t.Mode, t.Encryption = mcuboot.SwapScratch, mcuboot.ECIESP256 }, slot - 1584 - 2*16},
		{"scratch, AES-256 keys", func(t *mcuboot.Target) {
			t.Mode, t.Encryption, t.AESBits = mcuboot.SwapScratch, mcuboot.ECIESP256, 256
		}, slot - 1584 - 2*32},
		{"scratch, saved TLVs of 113 bytes", func(t *mcuboot.Target) {
			t.Mode, t.Encryption, t.SaveEncTLV = mcuboot.SwapScratch, mcuboot.ECIESP256, true
		}, slot - 1584 - 2*120},
		{"scratch, saved TLVs of 96 bytes", func(t *mcuboot.Target) {
			t.Mode, t.Encryption, t.SaveEncTLV, t.AESBits = mcuboot.SwapScratch, mcuboot.ECIESX25519, true, 256
		}, slot - 1584 - 2*96},
		{"move, trailer of two sectors", func(t *mcuboot.Target) { t.WriteSize, t.MaxSectors = 32, 64 }, slot - 3*sector}, // 64·3·32 + 4·32 + 32
		{"move, one sector more in the primary slot", func(t *mcuboot.Target) { t.SlotSize, t.SecondarySize = slot+sector, slot }, slot - sector},
		{"offset, one sector more in the secondary slot", func(t *mcuboot.Target) {
			t.Mode, t.SecondarySize = mcuboot.SwapOffset, slot+sector
		}, slot - sector},
		// 10·3·8 + 48 = 288 bytes leave 24 + 48 for the scratch area's own: enough.
		{"scratch, a trailer in one sector", func(t *mcuboot.Target) { t.Mode, t.WriteSize, t.MaxSectors = mcuboot.SwapScratch, 8, 16 }, slot - 16*24 - 48},
		// 4096 + 32: 32 bytes in the first sector, the scratch area needs 12 + 48.
		{"scratch, padding before the trailer", func(t *mcuboot.Target) { t.Mode, t.MaxSectors = mcuboot.SwapScratch, 340 }, slot - 4128 - (12 + 48 - 32)},
		{"slot smaller than its trailer", func(t *mcuboot.Target) { t.SlotSize = sector }, 0},
	} {
		target := flash(mcuboot.Target{})
		c.change(&target)
		if got, ok := target.MaxImage(); got != c.want || !ok {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	if _, ok := (mcuboot.Target{SlotSize: slot}).MaxImage(); ok {
		t.Error("no mode")
	}
	if _, ok := (mcuboot.Target{Mode: mcuboot.SwapMove}).MaxImage(); ok {
		t.Error("no slot")
	}
}

// The largest image that imgtool passes for 64 KiB slots with 4 KiB sectors has a
// payload of 63,288 bytes. Bootloaders with overwrite and scratch boot it, those
// with move and offset refuse it; encrypted with AES-256 scratch refuses too.
func TestSizesThatImgtoolPasses(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	build := func(m mcuboot.Mode, n, bits int) error {
		o := mcuboot.Options{
			Target: flash(mcuboot.Target{Signature: mcuboot.ECDSAP256}), HeaderSize: 0x200, PadHeader: true, Keys: []sign.PublicKey{s.Public()},
		}
		o.Target.Mode = m
		if bits > 0 {
			o.Target.Encryption, o.Target.AESBits, o.Encrypt = mcuboot.ECIESP256, bits, &mcuboot.Encrypt{To: deviceKey(t, "enc-p256").Recipient()}
		}
		_, err := mcuboot.Build(make([]byte, n), o, rand.Reader)
		return err
	}
	for _, c := range []struct {
		mode   mcuboot.Mode
		n      int
		bits   int
		reason verdict.Reason
	}{
		{mcuboot.OverwriteOnly, 63288, 0, ""}, {mcuboot.SwapScratch, 63288, 0, ""}, {mcuboot.SwapScratch, 63289, 0, verdict.ImageExceedsSlot},
		{mcuboot.SwapMove, 63288, 0, verdict.ImageExceedsSlot}, {mcuboot.SwapOffset, 63288, 0, verdict.ImageExceedsSlot},
		{mcuboot.SwapMove, 0xe000 - 0x200 - 152, 0, ""}, {mcuboot.SwapMove, 0xe000 - 0x200 - 151, 0, verdict.ImageExceedsSlot},
		{mcuboot.OverwriteOnly, 63120, 256, ""}, {mcuboot.SwapScratch, 63120, 256, verdict.ImageExceedsSlot},
		{mcuboot.OverwriteOnly, 0x10000, 0, verdict.ImageSizes},
	} {
		if err := build(c.mode, c.n, c.bits); verdict.Of(err) != c.reason {
			t.Errorf("%s, %d bytes, AES %d: got %v, want %q", c.mode, c.n, c.bits, err, c.reason)
		}
	}
}

func TestTrailer(t *testing.T) {
	for _, mode := range []mcuboot.Mode{mcuboot.SwapScratch, mcuboot.SwapMove, mcuboot.SwapOffset, mcuboot.OverwriteOnly, mcuboot.DirectXIP, mcuboot.RAMLoadMode, mcuboot.SingleSlot} {
		for _, align := range []uint32{1, 2, 4, 8, 16, 32} {
			for _, padding := range []mcuboot.Padding{mcuboot.Pad, mcuboot.Confirm} {
				target := flash(mcuboot.Target{Signature: mcuboot.HashOnly})
				target.Mode, target.WriteSize, target.MaxSectors = mode, align, 16
				d, err := mcuboot.Build([]byte("firmware"), mcuboot.Options{Target: target, HeaderSize: 32, PadHeader: true, Padding: padding, LoadAddress: number(0x100)}, nil)
				if err != nil {
					t.Fatal(err)
				}
				signed, err := d.Sign(nil)
				if err != nil {
					t.Fatal(err)
				}
				file, err := signed.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				size := 0x10000
				if mode == mcuboot.SwapOffset { // written from the second sector on
					size -= 0x1000
				}
				f, err := mcuboot.Parse(file)
				if err != nil || len(file) != size {
					t.Fatalf("%s: %d bytes, %v", mode, len(file), err)
				}
				a := int(max(align, 8))
				confirmed := padding == mcuboot.Confirm && mode != mcuboot.OverwriteOnly
				if tr, ok := f.Trailer(); !ok || tr.MaxAlign != a || tr.Confirmed != confirmed {
					t.Errorf("%s, %d: trailer %+v, %v", mode, align, tr, ok)
				}
				// Everything else is erased.
				magicAt, okAt := size-16, size-max(16, a)-a
				for i := f.End(); i < magicAt; i++ {
					if wantByte := map[bool]byte{true: 1, false: 0xff}[confirmed && i == okAt]; file[i] != wantByte {
						t.Fatalf("%s, %d: byte %d is %#x", mode, align, i, file[i])
					}
				}
				image, err := signed.Image(0x0801_0000)
				if err != nil {
					t.Fatal(err)
				}
				segments := image.Segments()
				last := segments[len(segments)-1]
				if int(last.Range().End) != 0x0801_0000+size || !bytes.HasSuffix(last.Data, file[magicAt:]) {
					t.Errorf("%s, %d: HEX ends with %s", mode, align, last.Range())
				}
				if flat, err := image.Flatten(0x0801_0000, size, 0xff); err != nil || !bytes.Equal(flat, file) {
					t.Errorf("%s, %d: the HEX is another file: %v", mode, align, err)
				}
			}
		}
	}
	f, err := mcuboot.Parse(imgtools(t, find(t, "02-p256")))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Trailer(); ok {
		t.Error("a trailer in a file without")
	}
}

func TestBuildIsPure(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	device := deviceKey(t, "enc-p256")
	o := mcuboot.Options{
		Target:     flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Encryption: mcuboot.ECIESP256}),
		HeaderSize: 0x200, PadHeader: true, Keys: []sign.PublicKey{s.Public()}, Encrypt: &mcuboot.Encrypt{To: device.Recipient()},
	}
	app := payload(t, "odd")
	before := bytes.Clone(app)
	var files [][]byte
	var signatures []sign.Signature
	for range 2 {
		d, err := mcuboot.Build(app, o, bytes.NewReader(bytes.Repeat([]byte{9}, 48)))
		if err != nil {
			t.Fatal(err)
		}
		if signatures == nil {
			signatures = answers(t, d, s)
		}
		for range 2 {
			b, err := d.Finish(signatures)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, b)
		}
		signed, err := d.Sign(signatures)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%v %+v %#v %v", d, *d, d, signed); text != "[redacted] [redacted] [redacted] [redacted]" {
			t.Errorf("prints %.80s", text)
		}
	}
	wiped, err := mcuboot.Build(app, o, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := wiped.Sign(signatures)
	if err != nil {
		t.Fatal(err)
	}
	wiped.Wipe()
	if b, err := signed.Bytes(); err == nil || b != nil {
		t.Error("a file with a content key that was wiped")
	}
	if err := signed.EncryptFor(io.Discard, device.Recipient(), rand.Reader); err != nil {
		t.Errorf("with another content key: %v", err)
	}
	if len(slices.CompactFunc(files, bytes.Equal)) != 1 {
		t.Error("same inputs, other bytes")
	}
	if !bytes.Equal(app, before) {
		t.Error("the payload was changed")
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]mcuboot.Version{
		"1": {Major: 1}, "0.0.0": {}, "1.2": {Major: 1, Minor: 2}, "1.2.3": {Major: 1, Minor: 2, Revision: 3},
		"255.255.65535+4294967295": {Major: 255, Minor: 255, Revision: 65535, Build: 4294967295},
	} {
		if v, err := mcuboot.ParseVersion(text); err != nil || v != want {
			t.Errorf("%s: %v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "1.", "01", "1.2.03", "1.2+4", "1.2.3+", "1.2.3.4", "v1", "256", "1.256", "1.2.65536", "1.2.3+4294967296", "-1", " 1", "1\n"} {
		if v, err := mcuboot.ParseVersion(text); verdict.Of(err) != verdict.BadVersion {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
	v := mcuboot.Version{Major: 1, Minor: 2, Revision: 3, Build: 4}
	if v.String() != "1.2.3+4" || v.Counter() != 0x01020003 || (mcuboot.Version{Major: 1}).String() != "1.0.0" {
		t.Errorf("%s, %#x", v, v.Counter())
	}
	w := v
	w.Build = 9
	if v.Compare(w, false) != 0 || v.Compare(w, true) != -1 || w.Compare(v, true) != 1 || v.Compare(mcuboot.Version{Major: 1, Minor: 3}, true) != -1 {
		t.Error("order")
	}
}

// UUIDs as Python's uuid.uuid5 makes them.
func TestUUID(t *testing.T) {
	vendor, err := mcuboot.VendorUUID("example.com")
	if err != nil || vendor.String() != "cfbff0d1-9375-5685-968c-48ce8b15ae17" {
		t.Errorf("%s, %v", vendor, err)
	}
	class, err := mcuboot.ClassUUID(vendor, "radio")
	if err != nil || class.String() != "89aebcc5-0748-53e7-ae0d-15467bc44d9f" {
		t.Errorf("%s, %v", class, err)
	}
	for _, text := range []string{vendor.String(), strings.ReplaceAll(vendor.String(), "-", ""), strings.ToUpper(vendor.String())} {
		if u, err := mcuboot.VendorUUID(text); err != nil || u != vendor {
			t.Errorf("%s: %s, %v", text, u, err)
		}
	}
	for _, text := range []string{"", "a\tb", "\xff"} {
		if _, err := mcuboot.VendorUUID(text); verdict.Of(err) != verdict.UUIDForm {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTargetCheck(t *testing.T) {
	p256, p384 := mcuboot.NewKey(throwaway(t, sign.ESP256).Public()), mcuboot.NewKey(throwaway(t, sign.ESP384).Public())
	for name, change := range map[string]func(*mcuboot.Target){
		"no type":              func(t *mcuboot.Target) { t.Signature = 0 },
		"unknown type":         func(t *mcuboot.Target) { t.Signature = 99 },
		"hash of another type": func(t *mcuboot.Target) { t.Hash = crypto.SHA512 },
		"no keys":              func(t *mcuboot.Target) { t.Keys = nil },
		"keys for nothing":     func(t *mcuboot.Target) { t.Signature = mcuboot.HashOnly },
		"key of another type":  func(t *mcuboot.Target) { t.Keys = append(t.Keys, p384) },
		"zero key":             func(t *mcuboot.Target) { t.Keys = append(t.Keys, mcuboot.Key{}) },
		"two keys, full":       func(t *mcuboot.Target) { t.Keys, t.KeyMatch = append(t.Keys, p256), mcuboot.FullKey },
		"unknown match":        func(t *mcuboot.Target) { t.KeyMatch = 9 },
		"unknown crypto":       func(t *mcuboot.Target) { t.Crypto = 9 },
		"P-384 with TinyCrypt": func(t *mcuboot.Target) {
			t.Signature, t.Keys, t.Crypto = mcuboot.ECDSAP384, []mcuboot.Key{p384}, mcuboot.TinyCrypt
		},
		"unknown mode":            func(t *mcuboot.Target) { t.Mode = 99 },
		"unknown slot":            func(t *mcuboot.Target) { t.Slot = 2 },
		"unknown downgrade":       func(t *mcuboot.Target) { t.Downgrade = 3 },
		"image out of range":      func(t *mcuboot.Target) { t.Image, t.Images = 2, 2 },
		"unknown encryption":      func(t *mcuboot.Target) { t.Encryption = 9 },
		"AES-192":                 func(t *mcuboot.Target) { t.AESBits = 192 },
		"device key for nothing":  func(x *mcuboot.Target) { x.DeviceKey = deviceKey(t, "enc-p256") },
		"device key, other curve": func(x *mcuboot.Target) { x.Encryption, x.DeviceKey = mcuboot.ECIESX25519, deviceKey(t, "enc-p256") },
		"AES-256 with TinyCrypt": func(t *mcuboot.Target) {
			t.Encryption, t.AESBits, t.Crypto = mcuboot.ECIESP256, 256, mcuboot.TinyCrypt
		},
		"SHA-512 with Mbed TLS":  func(t *mcuboot.Target) { t.Encryption, t.Crypto = mcuboot.ECIESX25519SHA512, mcuboot.MbedTLS },
		"write size 3":           func(t *mcuboot.Target) { t.WriteSize = 3 },
		"no write size":          func(t *mcuboot.Target) { t.WriteSize = 0 },
		"alignment 64":           func(t *mcuboot.Target) { t.MaxAlign = 64 },
		"alignment below writes": func(t *mcuboot.Target) { t.WriteSize, t.MaxAlign = 32, 8 },
		"no sectors":             func(t *mcuboot.Target) { t.SectorSize = 0 },
		"broken sectors":         func(t *mcuboot.Target) { t.SectorSize = 0x3000 },
		"too many sectors":       func(t *mcuboot.Target) { t.SectorSize, t.MaxSectors = 256, 255 },
		"half a slot pair":       func(t *mcuboot.Target) { t.SlotSize, t.SecondarySize = 0, 0x1000 },
		"slot of 2 GiB":          func(t *mcuboot.Target) { t.SlotSize = 1 << 31 },
	} {
		target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{p256}})
		if err := target.Check(); err != nil {
			t.Fatal(err)
		}
		change(&target)
		if err := target.Check(); !errors.Is(err, mcuboot.ErrTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range []mcuboot.SignatureType{mcuboot.ECDSAP256, mcuboot.ECDSAP384, mcuboot.Ed25519, mcuboot.Ed25519Pure, mcuboot.RSA2048, mcuboot.RSA3072, mcuboot.HashOnly} {
		if got, err := mcuboot.ParseSignatureType(s.String()); got != s || err != nil {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for m := mcuboot.SwapScratch; m <= mcuboot.SingleSlot; m++ {
		if got, err := mcuboot.ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%s: %v, %v", m, got, err)
		}
	}
	for e := mcuboot.NoEncryption; e <= mcuboot.ECIESX25519SHA512; e++ {
		if got, err := mcuboot.ParseEncryption(e.String()); got != e || err != nil {
			t.Errorf("%s: %v, %v", e, got, err)
		}
	}
	_, err1 := mcuboot.ParseMode("unknown")
	_, err2 := mcuboot.ParseSignatureType("")
	_, err3 := mcuboot.ParseEncryption("rsa")
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, mcuboot.ErrTarget) {
			t.Errorf("got %v", err)
		}
	}
	for got, want := range map[string]string{
		mcuboot.Mode(99).String(): "mode(99)", mcuboot.SignatureType(0).String(): "signature-type(0)", mcuboot.Encryption(9).String(): "encryption(9)",
		mcuboot.Type(0xa0).String(): "0x00a0", mcuboot.Flags(0).String(): "none", mcuboot.Flags(0x80000014).String(): "encrypted-aes128, non-bootable, 0x80000000",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("key"), "private key": read(t, "keys/p256.pem"), "X25519": spki(t, deviceKey(t, "enc-x25519").Recipient().Public()),
		"two PEM blocks": append(pemKey(t), pemKey(t)...),
	} {
		if k, err := mcuboot.ParseKey(data); err == nil || k.DER() != nil {
			t.Errorf("%s: %v", name, k)
		}
	}
	if k, err := mcuboot.ParseKey(pemKey(t)); err != nil || k.String() != key(t, "p256").String() || len(k.DER()) != 91 {
		t.Errorf("%v, %v", k, err)
	}
	if (mcuboot.Key{}).String() != "no key" {
		t.Error("the zero key has a name")
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "private key": read(t, "keys/enc-p256.pem"), "P-384": spki(t, ecdhKey(t, elliptic.P384())), "Ed25519": key(t, "ed25519").DER(), "RSA": read(t, "keys/rsa2048.pub.der"),
	} {
		if _, err := mcuboot.ParseRecipient(data); !errors.Is(err, mcuboot.ErrKey) {
			t.Errorf("recipient: %s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "public key": pemKey(t), "P-384": read(t, "keys/p384.pem"), "Ed25519": read(t, "keys/ed25519.pem"),
		"trailing text": append(read(t, "keys/enc-p256.pem"), 'x'),
	} {
		if _, err := mcuboot.ParseDeviceKey(data); !errors.Is(err, mcuboot.ErrKey) {
			t.Errorf("device key: %s: %v", name, err)
		}
	}
	for _, name := range []string{"enc-p256", "enc-x25519"} {
		d := deviceKey(t, name)
		r, err := mcuboot.ParseRecipient(spki(t, d.Recipient().Public()))
		if err != nil || !r.Public().Equal(d.Recipient().Public()) {
			t.Errorf("%s: %v", name, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s %x %v", d, d, d, d, d, mcuboot.Target{DeviceKey: d}); strings.Count(text, "[redacted]") != 6 {
			t.Errorf("prints as %s", text)
		}
		if d.LogValue().String() != "[redacted]" {
			t.Error("logs")
		}
	}
	if !(mcuboot.DeviceKey{}).IsZero() || (mcuboot.DeviceKey{}).Recipient().Public() != nil {
		t.Error("the zero device key is one")
	}
}

// Without a mode, padding and the limit are imgtool's.
func TestModeUnknown(t *testing.T) {
	for _, name := range []string{"16-p256-confirm", "17-p256-test", "20-p256-confirm-erased0"} {
		o := options(t, name)
		o.Target.Mode, o.Target.SectorSize = mcuboot.ModeUnknown, 0
		o.Target.Signature, o.Keys = mcuboot.HashOnly, nil
		d, err := mcuboot.Build(payload(t, ""), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Finish(nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs := imgtools(t, find(t, name))
		if want := theirs[len(theirs)-4096:]; len(got) != len(theirs) || !bytes.Equal(got[len(got)-4096:], want) {
			t.Errorf("%s: another trailer", name)
		}
	}
	// 128 sectors of three writes, four fields of 8, magic of 16; header, TLV info and
	// hash. Without a write size it is imgtool's 1.
	for writeSize, trailer := range map[uint32]int{0: 432, 1: 432, 4: 1584} {
		o := mcuboot.Options{Target: mcuboot.Target{Signature: mcuboot.HashOnly, SlotSize: 0x4000, WriteSize: writeSize}, HeaderSize: 32, PadHeader: true}
		room := 0x4000 - trailer - 32 - 4 - 36
		if _, err := mcuboot.Build(make([]byte, room), o, nil); err != nil {
			t.Error(err)
		}
		if _, err := mcuboot.Build(make([]byte, room+1), o, nil); verdict.Of(err) != verdict.ImageExceedsSlot {
			t.Errorf("write size %d: %v", writeSize, err)
		}
	}
}
