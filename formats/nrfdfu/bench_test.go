package nrfdfu_test

import (
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
)

// quarter is a firmware of 256 KiB, a large application.
func quarter(b *testing.B) nrfdfu.Firmware { return bin(b, make([]byte, 256<<10)) }

func BenchmarkBuild(b *testing.B) {
	signer := throwaway(b)
	o := nrfdfu.Options{Key: signer.Public(), SDReq: []uint32{0xb7}, Application: &nrfdfu.Part{Firmware: quarter(b), Version: 1}}
	b.SetBytes(int64(len(o.Application.Firmware.Data)))
	for b.Loop() {
		finish(b, o, signer)
	}
}

func BenchmarkVerify(b *testing.B) {
	signer := throwaway(b)
	p := build(b, nrfdfu.Options{HWVersion: 52, SDReq: []uint32{0xb7}, Application: &nrfdfu.Part{Firmware: quarter(b), Version: 1}}, signer)
	d := device(b, "ble-s132-6.1.1")
	d.Key = signer.Public()
	b.SetBytes(int64(len(p.Images[0].Firmware)))
	for b.Loop() {
		if _, _, err := nrfdfu.Verify(p, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePackage(b *testing.B) {
	signer := throwaway(b)
	file := finish(b, nrfdfu.Options{SDReq: []uint32{0xb7}, Application: &nrfdfu.Part{Firmware: quarter(b), Version: 1}}, signer)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		parse(b, file)
	}
}

func BenchmarkParsePacket(b *testing.B) {
	packet := dat(b, "pkg/01_app.zip", nrfdfu.KindApplication)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nrfdfu.ParsePacket(packet); err != nil {
			b.Fatal(err)
		}
	}
}
