package mcuboot_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// shortWriter fails after so many bytes.
type shortWriter int

func (w *shortWriter) Write(p []byte) (int, error) {
	if len(p) > int(*w) {
		return 0, errBroken
	}
	*w -= shortWriter(len(p))
	return len(p), nil
}

func TestWritersThatFail(t *testing.T) {
	target := flash(mcuboot.Target{Signature: mcuboot.HashOnly, Encryption: mcuboot.ECIESX25519})
	d, err := mcuboot.Build(payload(t, "odd"), mcuboot.Options{
		Target: target, HeaderSize: 0x200, PadHeader: true, Encrypt: &mcuboot.Encrypt{}, Padding: mcuboot.Confirm,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := d.Sign(nil)
	if err != nil {
		t.Fatal(err)
	}
	to := deviceKey(t, "enc-x25519").Recipient()
	for _, n := range []int{0, 0x200, 0x200 + 32<<10, 0x200 + 40464, 0x200 + 40464 + 124, 60000, 0x10000 - 24, 0x10000 - 16, 0x10000 - 1} {
		w := shortWriter(n)
		if err := signed.EncryptFor(&w, to, rand.Reader); !errors.Is(err, errBroken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		w = shortWriter(n)
		if err := signed.ClearFor(&w, to, rand.Reader); !errors.Is(err, errBroken) {
			t.Errorf("in the clear, after %d bytes: %v", n, err)
		}
	}
	w := shortWriter(0x10000)
	if err := signed.EncryptFor(&w, to, rand.Reader); err != nil {
		t.Error(err)
	}
	if _, err := signed.Image(math.MaxUint32 - 0xffff + 1); verdict.Of(err) != verdict.AddressRange {
		t.Errorf("a HEX past the address space: %v", err)
	}

	plain, err := mcuboot.Build([]byte("x"), mcuboot.Options{Target: mcuboot.Target{Signature: mcuboot.HashOnly}, HeaderSize: 32, PadHeader: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = plain.Sign(nil); err != nil {
		t.Fatal(err)
	}
	plain.Wipe() // has nothing to wipe
	if err := signed.EncryptFor(&w, to, rand.Reader); err == nil {
		t.Error("an image that is not marked as encrypted was")
	}
}

func TestHashes(t *testing.T) {
	for _, kind := range []mcuboot.SignatureType{mcuboot.ECDSAP384, mcuboot.Ed25519Pure} {
		a := sign.ESP384
		if kind == mcuboot.Ed25519Pure {
			a = sign.Ed25519
		}
		s := throwaway(t, a)
		target := mcuboot.Target{Signature: kind, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}}
		d, err := mcuboot.Build([]byte("firmware"), mcuboot.Options{Target: target, HeaderSize: 32, PadHeader: true, Keys: []sign.PublicKey{s.Public()}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, trace, err := mcuboot.Verify(t.Context(), finish(t, d, s), target)
		if err != nil || !bytes.Equal(v.Hash(), d.Hash()) || len(v.Hash()) != map[mcuboot.SignatureType]int{mcuboot.ECDSAP384: 48, mcuboot.Ed25519Pure: 64}[kind] {
			t.Errorf("%s: %x, %v", kind, v.Hash(), err)
		}
		text, err := json.Marshal(trace)
		if err != nil || !bytes.Contains(text, []byte(`{"step":"signature","status":"passed","detail":"`+kind.String()+` by key sha256:`)) {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// Malformed entries that only a signer can make.
func TestMalformedProtected(t *testing.T) {
	target := flash(mcuboot.Target{Signature: mcuboot.HashOnly})
	target.Images, target.Rollback, target.Others = 2, number(1), map[uint8]mcuboot.Version{1: {Major: 1}}
	vendor := mcuboot.UUID{1}
	build := func(protected ...mcuboot.TLV) []byte {
		f, err := mcuboot.Parse(small(t, target, nil, func(o *mcuboot.Options) { o.Counter = number(1) }))
		if err != nil {
			t.Fatal(err)
		}
		n := 4
		for _, e := range protected {
			n += 4 + len(e.Value)
		}
		f.Protected, f.Header.ProtectedSize = protected, uint16(n)
		b := f.Encode()
		end := len(b) - 40
		f.Unprotected[0].Value = sha256Of(b[:end])
		return f.Encode()
	}
	counter := mcuboot.TLV{Type: mcuboot.TypeCounter, Value: []byte{1, 0, 0, 0}}
	dependency := func(n int) mcuboot.TLV {
		return mcuboot.TLV{Type: mcuboot.TypeDependency, Value: append([]byte{1, 0, 0, 0, 1}, make([]byte, 12)...)[:n]}
	}
	want(t, "as it should be", build(counter, dependency(12)), target, "")
	want(t, "dependency of 11 bytes", build(counter, dependency(11)), target, verdict.TLVLength)
	want(t, "dependency of 13 bytes", build(counter, dependency(13)), target, verdict.TLVLength)
	want(t, "dependency on itself, met", build(counter, mcuboot.TLV{Type: mcuboot.TypeDependency, Value: make([]byte, 12)}), target, "")
	want(t, "counter of 3 bytes", build(mcuboot.TLV{Type: mcuboot.TypeCounter, Value: make([]byte, 3)}), target, verdict.TLVLength)
	want(t, "two counters, the second too low", build(counter, mcuboot.TLV{Type: mcuboot.TypeCounter, Value: make([]byte, 4)}), target, verdict.CounterRollback)
	named := target
	named.Vendor = &vendor
	want(t, "vendor of 15 bytes", build(counter, mcuboot.TLV{Type: mcuboot.TypeVendor, Value: make([]byte, 15)}), named, verdict.TLVLength)
	want(t, "vendor", build(counter, mcuboot.TLV{Type: mcuboot.TypeVendor, Value: vendor[:]}), named, "")
	newer := target
	newer.Downgrade, newer.Installed = mcuboot.ByCounter, &mcuboot.Installed{Counter: number(1)}
	want(t, "the first counter is compared", build(counter, mcuboot.TLV{Type: mcuboot.TypeCounter, Value: []byte{9, 0, 0, 0}}), newer, "")
}

func TestRSAKeysRefused(t *testing.T) {
	for _, bits := range []int{1024, 2047, 4096} {
		if testing.Short() && bits > 2048 {
			continue
		}
		t.Setenv("GODEBUG", "rsa1024min=0")
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := mcuboot.ParseKey(spki(t, k.Public())); !errors.Is(err, mcuboot.ErrKey) || got.DER() != nil {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}
