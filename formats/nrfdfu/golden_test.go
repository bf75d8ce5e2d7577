package nrfdfu_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
)

func errorsAs(err error) (*nrfdfu.Refusal, bool) { return errors.AsType[*nrfdfu.Refusal](err) }

// TestVerdicts holds Verify against what the bootloader's own code answered.
func TestVerdicts(t *testing.T) {
	n := 0
	for _, v := range vectors(t) {
		for name, want := range v.Bootloader {
			verified, trace, err := nrfdfu.Verify(v.pack(t), device(t, name))
			if got := outcome(verified, err); len(want) != 1 || got != want[0] {
				t.Errorf("%s (%s) on %s:\n got %s\nwant %s\n%v", v.File, v.What, name, got, want, trace)
			}
			if err == nil && (!verified.Complete() || len(trace) != 15) {
				t.Errorf("%s on %s: complete is %t, trace %v", v.File, name, verified.Complete(), trace)
			}
			n++
		}
	}
	if n < 150 {
		t.Errorf("%d verdicts", n)
	}
}

// rebuilt says how each package was made (pc-nrfutil's command lines).
func rebuilt(t *testing.T) map[string]nrfdfu.Options {
	app := func(name string, version uint32) *nrfdfu.Part {
		return &nrfdfu.Part{Name: name, Firmware: input(t, name), Version: version}
	}
	with := func(p *nrfdfu.Part, v nrfdfu.ValidationType) *nrfdfu.Part {
		p.BootValidation = &v
		return p
	}
	version := func(s string) uint32 {
		v, err := nrfdfu.ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	key := publicKey(t, "test-a")
	bl := func() *nrfdfu.Part { return app("bootloader", 2) }
	s720 := func() *nrfdfu.Part { return app("softdevice_s132_720_standin", 0) }
	b7 := []uint32{0xb7}
	zigbee := nrfdfu.Firmware{}
	for _, v := range vectors(t) {
		if v.File == "pkg/24_zigbee.zip" {
			zigbee.Data = v.pack(t).Images[0].Firmware
		}
	}
	all := map[string]nrfdfu.Options{
		"pkg/01_app.zip":    {Application: app("app_v1", 1)},
		"pkg/02_app_v2.zip": {Application: app("app_v2", 2)},
		// pc-nrfutil was given 0xB7,0xCB,0x101,0x124 and reordered them.
		"pkg/03_app_many_sd.zip":      {Application: app("app_v1", 1), SDReq: []uint32{0x101, 0xcb, 0x124, 0xb7}},
		"pkg/04_app_verstring.zip":    {Application: app("app_v1", version("2.7.31"))},
		"pkg/05_app_bv_ecdsa.zip":     {Application: with(app("app_v1", 1), nrfdfu.ValidateECDSA)},
		"pkg/06_app_bv_sha256.zip":    {Application: with(app("app_v1", 1), nrfdfu.ValidateSHA256)},
		"pkg/07_app_bv_none.zip":      {Application: with(app("app_v1", 1), nrfdfu.NoValidation)},
		"pkg/08_app_hw40.zip":         {Application: app("app_v1", 1), HWVersion: 40},
		"pkg/08_app_hw52.zip":         {Application: app("app_v1", 1)},
		"pkg/08_app_hw5202.zip":       {Application: app("app_v1", 1), HWVersion: 5202},
		"pkg/09_sd_bl.zip":            {SoftDevice: s720(), Bootloader: bl()},
		"pkg/10_sd_bl_sdbv_ecdsa.zip": {SoftDevice: with(s720(), nrfdfu.ValidateECDSA), Bootloader: bl(), SDK: nrfdfu.SDK17},
		"pkg/12_bl.zip":               {Bootloader: bl()},
		"pkg/13_sd.zip":               {SoftDevice: app("softdevice_s132_611_standin", 0)},
		"pkg/14_external_app.zip":     {Application: app("app_v1", 1), External: true, SDReq: []uint32{nrfdfu.SoftDeviceAny}},
		"pkg/15_app_debug.zip":        {Application: app("app_v1", nrfdfu.MaxVersion), Debug: true, HWVersion: nrfdfu.MaxVersion},
		"pkg/16_app_unsigned.zip":     {Application: app("app_v1", 1), Unsigned: true},
		"pkg/18_app_gap.zip":          {Application: app("app_gap", 1)},
		"pkg/20_app_nosd.zip":         {Application: app("app_v1", 1), SDReq: []uint32{nrfdfu.SoftDeviceNone}},
		"pkg/22_app_bin.zip":          {Application: app("app_v1", 1)},
		"pkg/23_app_v4294967295.zip":  {Application: app("app_v1", nrfdfu.MaxVersion), HWVersion: nrfdfu.MaxVersion},
		"pkg/24_zigbee.zip":           {Application: &nrfdfu.Part{Name: "1234-0007-01020304-demo", Firmware: zigbee, Version: 1}, External: true},
	}
	for name, o := range all {
		if !o.Unsigned {
			o.Key = key
		}
		if o.HWVersion == 0 {
			o.HWVersion = 52
		}
		if o.SDReq == nil && !o.External && !o.Debug {
			o.SDReq = b7
		}
		all[name] = o
	}
	return all
}

// TestRebuild makes every package of pc-nrfutil again from its inputs. With the
// signatures that pc-nrfutil made, everything has to be equal.
func TestRebuild(t *testing.T) {
	all := rebuilt(t)
	for _, v := range vectors(t) {
		if v.File[:4] != "pkg/" {
			continue
		}
		o, ok := all[v.File]
		if !ok {
			t.Errorf("%s is not rebuilt", v.File)
			continue
		}
		t.Run(v.File, func(t *testing.T) {
			want := v.pack(t)
			packet, err := nrfdfu.ParsePacket(want.Images[0].Packet)
			if err != nil {
				t.Fatal(err)
			}
			var boot, init [][]byte
			for _, b := range packet.Init.BootValidations {
				if b.Type == nrfdfu.ValidateECDSA {
					boot = append(boot, b.Bytes)
				}
			}
			if packet.Signature != nil {
				init = append(init, packet.Signature.Bytes)
			}

			stage, err := nrfdfu.Prepare(o)
			if err != nil {
				t.Fatal(err)
			}
			draft, err := stage.Finish(accepted(t, stage.Requests(), boot))
			if err != nil {
				t.Fatal(err)
			}
			file, err := draft.Finish(accepted(t, draft.Requests(), init))
			if err != nil {
				t.Fatal(err)
			}
			got, err := nrfdfu.ParsePackage(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Images) != len(want.Images) {
				t.Fatalf("%d images, want %d", len(got.Images), len(want.Images))
			}
			for i, m := range got.Images {
				w := want.Images[i]
				if m.Kind != w.Kind || m.BinName != w.BinName || m.DatName != w.DatName {
					t.Errorf("got %s %s %s, want %s %s %s", m.Kind, m.BinName, m.DatName, w.Kind, w.BinName, w.DatName)
				}
				if !bytes.Equal(m.Packet, w.Packet) {
					t.Errorf("init packet:\n got %x\nwant %x", m.Packet, w.Packet)
				}
				if !bytes.Equal(m.Firmware, w.Firmware) {
					t.Errorf("firmware of %d bytes differs from pc-nrfutil's of %d", len(m.Firmware), len(w.Firmware))
				}
			}
		})
	}
}

// accepted turns signatures of a package into answers, each of which must be
// one for its request.
func accepted(t *testing.T, requests []sign.Request, little [][]byte) []sign.Signature {
	t.Helper()
	if len(requests) != len(little) {
		t.Fatalf("%d requests, the package has %d signatures", len(requests), len(little))
	}
	var answers []sign.Signature
	for i, b := range little {
		s, err := sign.ParseSignature(sign.ESP256, sign.LittleEndian, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := publicKey(t, "test-a").Verify(requests[i].Message, s); err != nil {
			t.Errorf("%s: %v", requests[i].Artifact, err)
		}
		answers = append(answers, s)
	}
	return answers
}

// TestPackages reads zips that pc-nrfutil wrote.
func TestPackages(t *testing.T) {
	names, err := testvectors.Cases(folder + "pkg/*.zip")
	if err != nil {
		t.Fatal(err)
	}
	all := vectors(t)
	for _, name := range names {
		data, err := testvectors.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := nrfdfu.ParsePackage(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := slices.IndexFunc(all, func(v vector) bool { return folder+v.File == name })
		if i < 0 {
			t.Fatalf("no vector for %s", name)
		}
		want := all[i].pack(t)
		for i, m := range got.Images {
			w := want.Images[i]
			if m.Kind != w.Kind || m.BinName != w.BinName || !bytes.Equal(m.Firmware, w.Firmware) || !bytes.Equal(m.Packet, w.Packet) {
				t.Errorf("%s: image %d is another", name, i)
			}
			if (m.Kind == nrfdfu.KindSoftDeviceBootloader) != (m.Sizes != nil) {
				t.Errorf("%s: sizes %v", name, m.Sizes)
			}
		}
		verified, _, err := nrfdfu.Verify(got, device(t, "ble-s132-6.1.1"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if w := verified.Warnings(); len(w) > 0 {
			t.Errorf("%s: warnings %v", name, w)
		}
	}
}
