package nrfdfu_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// FuzzParsePacket: a packet that is called canonical encodes to the same bytes,
// and every packet that is accepted to one that is canonical and says the same.
func FuzzParsePacket(f *testing.F) {
	for _, v := range vectors(f) {
		for _, m := range v.Images {
			f.Add(unhex(f, m.Packet))
		}
	}
	f.Add(plain(8, 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := nrfdfu.ParsePacket(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		if !bytes.Contains(b, p.SignedBytes()) {
			t.Fatalf("signed bytes %x are not in %x", p.SignedBytes(), b)
		}
		encoded := p.Encode()
		if offset, unusual := p.NonCanonical(); unusual == bytes.Equal(encoded, b) || unusual && offset > len(b) {
			t.Fatalf("unusual is %t at offset %d\n    got %x\nencoded %x", unusual, offset, b, encoded)
		}
		if len(encoded) > nrfdfu.MaxPacket {
			return // a message that was cut short by a zero tag can grow
		}
		again, err := nrfdfu.ParsePacket(encoded)
		if err != nil {
			t.Fatalf("%x, encoded as %x: %v", b, encoded, err)
		}
		if _, unusual := again.NonCanonical(); unusual || !bytes.Equal(again.Encode(), encoded) {
			t.Fatalf("%x is encoded as %x, which is not canonical", b, encoded)
		}
	})
}

// refused demands that an input's refusal has a reason, and an offset in it.
func refused(t *testing.T, err error, size int) {
	t.Helper()
	e, ok := errors.AsType[*verdict.Error](err)
	if !ok || e.Reason == "" || e.Offset > int64(size) {
		t.Fatalf("refused without a reason, or at an offset outside the %d bytes: %v", size, err)
	}
}

// FuzzParsePackage: what is accepted has files that the standard library finds
// under the same names, and Verify has an answer.
func FuzzParsePackage(f *testing.F) {
	data, err := testvectors.Read(folder + "pkg/18_app_gap.zip")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(archive(f, entry{"manifest.json", application, zip.Deflate}, entry{"a.bin", "b", zip.Deflate}, entry{"a.dat", "d", zip.Store}))
	d := device(f, "ble-s132-6.1.1")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := nrfdfu.ParsePackage(data)
		if err != nil {
			refused(t, err, len(data))
			return
		}
		r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Images {
			for name, want := range map[string][]byte{m.BinName: m.Firmware, m.DatName: m.Packet} {
				file, err := r.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(file); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		p.Describe()
		_, trace, err := nrfdfu.Verify(p, d)
		if _, ok := errorsAs(err); err != nil && !ok || len(trace) == 0 {
			t.Fatalf("%v, %d lines", err, len(trace))
		}
	})
}

// FuzzVerify: a bootloader that asks for no signature meets every init packet
// there is, and takes none whose firmware has another hash.
func FuzzVerify(f *testing.F) {
	for _, v := range vectors(f) {
		for _, m := range v.Images {
			f.Add(unhex(f, m.Packet), []byte("firmware"), uint8(0))
		}
	}
	sd := softDevice(f, 0x101, 132, 7002000, 0x26000).Data
	f.Add(signed([]byte{0x20, 3}, nil), sd, uint8(0xff))
	key := publicKey(f, "test-a")
	f.Fuzz(func(t *testing.T, packet, firmware []byte, bits uint8) {
		d := device(t, "ble-s132-6.1.1")
		d.Key, d.UnsignedApps = key, true
		d.SDK = nrfdfu.SDK(bits & 3 % 3)
		d.Debug, d.AllowDowngrade, d.SingleBank, d.ForceDualBank = bits&4 != 0, bits&8 != 0, bits&16 != 0, bits&32 != 0
		d.ExternalApps = bits&64 != 0
		if bits&128 != 0 {
			d.BLE, d.SoftDevice = false, nil
		}
		p := &nrfdfu.Package{Images: []nrfdfu.Image{{Kind: nrfdfu.KindApplication, Firmware: firmware, Packet: packet}}}
		verified, trace, err := nrfdfu.Verify(p, d)
		if err != nil {
			if _, ok := errorsAs(err); !ok {
				t.Fatal(err)
			}
			refused(t, err, len(packet))
			return
		}
		if len(trace) != 15 || int(verified.Images()[0].Size) != len(firmware) {
			t.Fatalf("accepted %d bytes as %+v", len(firmware), verified.Images())
		}
		if !slices.ContainsFunc(trace, func(c nrfdfu.Check) bool { return c.Step == nrfdfu.StepHash && c.Status == nrfdfu.Passed }) {
			t.Fatalf("no hash in %v", trace)
		}
	})
}

// FuzzParseSettings: what is accepted encodes to the same bytes, up to the end
// of what the checksums cover.
func FuzzParseSettings(f *testing.F) {
	for _, v := range []nrfdfu.ValidationType{nrfdfu.NoValidation, nrfdfu.ValidateECDSA} {
		s, _, _ := settings(f, v)
		for _, version := range []int{1, 2} {
			s.Version = version
			b, err := s.Encode()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, false)
			f.Add(b, true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal { // or else nothing gets past the checksums
			b = bytes.Clone(b)
			put := func(at, from, to int) {
				if len(b) >= to {
					binary.LittleEndian.PutUint32(b[at:], crc32.ChecksumIEEE(b[from:to]))
				}
			}
			put(0x25c, 0x260, 0x323)
			put(0, 4, 0x5c)
		}
		s, err := nrfdfu.ParseSettings(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		encoded, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		n := len(encoded)
		if s.Version == 2 {
			n-- // fills up a word
		}
		if !bytes.Equal(encoded[:n], b[:n]) {
			t.Fatalf("got %x\nencoded %x", b[:n], encoded[:n])
		}
	})
}
