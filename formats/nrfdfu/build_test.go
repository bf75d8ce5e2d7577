package nrfdfu_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// softDevice makes a stand-in: an information structure and nothing else.
func softDevice(t testing.TB, fwid uint16, id, version, end uint32) nrfdfu.Firmware {
	t.Helper()
	b := bytes.Repeat([]byte{0xff}, 0x2100)
	le := binary.LittleEndian
	b[0x2000] = 0x48
	le.PutUint32(b[0x2004:], 0x51b1e5db)
	le.PutUint32(b[0x2008:], end)
	le.PutUint16(b[0x200c:], fwid)
	le.PutUint32(b[0x2010:], id)
	le.PutUint32(b[0x2014:], version)
	return bin(t, b)
}

func throwaway(t testing.TB) sign.Signer {
	t.Helper()
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// finish makes both stages with one key.
func finish(t testing.TB, o nrfdfu.Options, signer sign.Signer) []byte {
	t.Helper()
	if !o.Unsigned {
		o.Key = signer.Public()
	}
	stage, err := nrfdfu.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	draft, err := stage.Finish(answer(t, stage.Requests(), signer))
	if err != nil {
		t.Fatal(err)
	}
	file, err := draft.Finish(answer(t, draft.Requests(), signer))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func parse(t testing.TB, file []byte) *nrfdfu.Package {
	t.Helper()
	p, err := nrfdfu.ParsePackage(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// build is finish, read back.
func build(t testing.TB, o nrfdfu.Options, signer sign.Signer) *nrfdfu.Package {
	t.Helper()
	return parse(t, finish(t, o, signer))
}

func TestPrepareRefuses(t *testing.T) {
	key := throwaway(t).Public()
	p384, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	app := func() *nrfdfu.Part { return &nrfdfu.Part{Firmware: bin(t, []byte("application")), Version: 1} }
	bl := func() *nrfdfu.Part { return &nrfdfu.Part{Firmware: bin(t, []byte("bootloader")), Version: 1} }
	sd := func() *nrfdfu.Part { return &nrfdfu.Part{Firmware: softDevice(t, 0x101, 132, 7002000, 0x26000)} }
	signed := func(p *nrfdfu.Part) *nrfdfu.Part { p.BootValidation = new(nrfdfu.ValidateECDSA); return p }
	named := func(p *nrfdfu.Part, name string) *nrfdfu.Part { p.Name = name; return p }
	req := []uint32{0xb7}

	for name, c := range map[string]struct {
		options nrfdfu.Options
		reason  verdict.Reason // "" for ErrOptions
	}{
		"no part":                     {nrfdfu.Options{Key: key, SDReq: req}, ""},
		"bootloader and application":  {nrfdfu.Options{Key: key, SDReq: req, Bootloader: bl(), Application: app()}, verdict.DFUCombination},
		"external with SoftDevice":    {nrfdfu.Options{Key: key, SDReq: req, SoftDevice: sd(), Application: app(), External: true}, verdict.DFUCombination},
		"external bootloader":         {nrfdfu.Options{Key: key, SDReq: req, Bootloader: bl(), External: true}, verdict.DFUCombination},
		"no key":                      {nrfdfu.Options{SDReq: req, Application: app()}, verdict.DFUUnsigned},
		"unsigned with key":           {nrfdfu.Options{Key: key, Unsigned: true, SDReq: req, Application: app()}, ""},
		"key on P-384":                {nrfdfu.Options{Key: p384.Public(), SDReq: req, Application: app()}, ""},
		"unsigned, signed at start":   {nrfdfu.Options{Unsigned: true, SDReq: req, Application: signed(app())}, ""},
		"no required SoftDevice":      {nrfdfu.Options{Key: key, Application: app()}, verdict.DFURequirement},
		"none for the application":    {nrfdfu.Options{Key: key, SDReq: req, SoftDevice: sd(), Application: app()}, verdict.DFURequirement},
		"one for a lone application":  {nrfdfu.Options{Key: key, SDReq: req, AppSDReq: req, Application: app()}, ""},
		"17 bits":                     {nrfdfu.Options{Key: key, SDReq: []uint32{0x10000}, Application: app()}, verdict.DFURequirement},
		"twice":                       {nrfdfu.Options{Key: key, SDReq: []uint32{0xb7, 0xb7}, Application: app()}, verdict.DFURequirement},
		"zero behind":                 {nrfdfu.Options{Key: key, SDReq: []uint32{0xb7, 0}, Application: app()}, verdict.DFURequirement},
		"17 of them":                  {nrfdfu.Options{Key: key, SDReq: sequence(17), Application: app()}, verdict.DFURequirement},
		"17 with the new one":         {nrfdfu.Options{Key: key, SDReq: sequence(16), AppSDReq: []uint32{0x101}, SoftDevice: sd(), Application: app()}, verdict.DFURequirement},
		"no bytes":                    {nrfdfu.Options{Key: key, SDReq: req, Application: &nrfdfu.Part{}}, verdict.DFUPartSize},
		"half a word":                 {nrfdfu.Options{Key: key, SDReq: req, Application: &nrfdfu.Part{Firmware: nrfdfu.Firmware{Data: []byte{1, 2}}}}, verdict.DFUPartSize},
		"unknown boot validation":     {nrfdfu.Options{Key: key, SDReq: req, Application: &nrfdfu.Part{Firmware: app().Firmware, BootValidation: new(nrfdfu.ValidationType(4))}}, verdict.DFUBootValidation},
		"signed bootloader":           {nrfdfu.Options{Key: key, SDReq: req, Bootloader: signed(bl())}, verdict.DFUBootValidation},
		"no SoftDevice":               {nrfdfu.Options{Key: key, SDReq: req, SoftDevice: app()}, verdict.DFUSoftDeviceInfo},
		"SoftDevice too long":         {nrfdfu.Options{Key: key, SDReq: req, SoftDevice: &nrfdfu.Part{Firmware: softDevice(t, 1, 1, 1, 0x3000)}}, verdict.DFUSoftDeviceInfo},
		"signed SoftDevice, SDK 16":   {nrfdfu.Options{Key: key, SDReq: req, SoftDevice: signed(sd()), Bootloader: bl(), SDK: nrfdfu.SDK16}, verdict.DFUBootSDBL},
		"file name":                   {nrfdfu.Options{Key: key, SDReq: req, Application: named(app(), "../app")}, ""},
		"hidden file":                 {nrfdfu.Options{Key: key, SDReq: req, Application: named(app(), ".app")}, ""},
		"one name for two":            {nrfdfu.Options{Key: key, SDReq: req, AppSDReq: req, SoftDevice: named(sd(), "fw"), Application: named(app(), "fw")}, ""},
		"the name of SoftDevice with": {nrfdfu.Options{Key: key, SDReq: req, AppSDReq: req, SoftDevice: sd(), Bootloader: bl(), Application: named(app(), "sd_bl")}, ""},
	} {
		_, err := nrfdfu.Prepare(c.options)
		if verdict.Of(err) != c.reason || c.reason == "" && !errors.Is(err, nrfdfu.ErrOptions) {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
}

func sequence(n uint32) []uint32 {
	var list []uint32
	for i := range n {
		list = append(list, i+1)
	}
	return list
}

func TestFinishRefuses(t *testing.T) {
	signer := throwaway(t)
	p384, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		t.Fatal(err)
	}
	o := nrfdfu.Options{
		Key: signer.Public(), SDReq: []uint32{0xb7},
		Application: &nrfdfu.Part{Firmware: bin(t, []byte("a")), BootValidation: new(nrfdfu.ValidateECDSA)},
	}
	if _, err := nrfdfu.Build(o); !errors.Is(err, nrfdfu.ErrOptions) {
		t.Errorf("Build with a boot validation signature: %v", err)
	}
	stage, err := nrfdfu.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	other := answer(t, []sign.Request{{Key: p384.Public().ID()}}, p384)
	for name, signatures := range map[string][]sign.Signature{"none": nil, "two": append(other, other...), "P-384": other, "empty": make([]sign.Signature, 1)} {
		if _, err := stage.Finish(signatures); !errors.Is(err, nrfdfu.ErrOptions) {
			t.Errorf("boot validation, %s: %v", name, err)
		}
	}
	draft, err := stage.Finish(answer(t, stage.Requests(), signer))
	if err != nil {
		t.Fatal(err)
	}
	for name, signatures := range map[string][]sign.Signature{"none": nil, "P-384": other, "empty": make([]sign.Signature, 1)} {
		if _, err := draft.Finish(signatures); !errors.Is(err, nrfdfu.ErrOptions) {
			t.Errorf("init packet, %s: %v", name, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	key := throwaway(t).Public()
	app := func(version uint32) *nrfdfu.Part {
		return &nrfdfu.Part{Firmware: bin(t, []byte("a")), Version: version}
	}
	sd := &nrfdfu.Part{Firmware: softDevice(t, 0x101, 132, 7002000, 0x26000)}
	long := []uint32{0xffff, 0xfffd, 0xfffc, 0xfffb, 0xfffa, 0xfff9, 0xfff8, 0xfff7, 0xfff6, 0xfff5, 0xfff4, 0xfff3, 0xfff2, 0xfff1, 0xfff0, 0xffef}
	signed := app(nrfdfu.MaxVersion - 1)
	signed.BootValidation = new(nrfdfu.ValidateECDSA)
	for name, c := range map[string]struct {
		options nrfdfu.Options
		want    []verdict.Reason
	}{
		"usual":                         {nrfdfu.Options{Key: key, SDReq: []uint32{0xb7, 0xcb}, Application: app(1)}, nil},
		"unsigned":                      {nrfdfu.Options{Unsigned: true, SDReq: []uint32{0xb7}, Application: app(1)}, []verdict.Reason{verdict.DFUUnsigned}},
		"debug":                         {nrfdfu.Options{Key: key, Debug: true, Application: app(nrfdfu.MaxVersion)}, []verdict.Reason{verdict.DFUDebug}},
		"last version":                  {nrfdfu.Options{Key: key, SDReq: []uint32{0xb7}, Application: app(nrfdfu.MaxVersion)}, []verdict.Reason{verdict.DFUVersionMax}},
		"SoftDevice has no version":     {nrfdfu.Options{Key: key, SDReq: []uint32{0xb7}, SoftDevice: sd}, nil},
		"needs no SoftDevice":           {nrfdfu.Options{Key: key, SDReq: []uint32{0}, Application: app(1)}, []verdict.Reason{verdict.DFURequirement}},
		"may overwrite one":             {nrfdfu.Options{Key: key, SDReq: []uint32{0, 0xb7}, Application: app(1)}, []verdict.Reason{verdict.DFURequirement}},
		"SoftDevice beside none":        {nrfdfu.Options{Key: key, SDReq: []uint32{0}, SoftDevice: sd}, []verdict.Reason{verdict.DFURequirement}},
		"bootloader beside none":        {nrfdfu.Options{Key: key, SDReq: []uint32{0}, Bootloader: app(1)}, nil},
		"any SoftDevice":                {nrfdfu.Options{Key: key, SDReq: []uint32{nrfdfu.SoftDeviceAny}, Application: app(1)}, []verdict.Reason{verdict.DFURequirement}},
		"any SoftDevice, external":      {nrfdfu.Options{Key: key, External: true, Application: app(1)}, nil},
		"more than 256 bytes of packet": {nrfdfu.Options{Key: key, SDReq: long, HWVersion: 1 << 31, Application: signed}, []verdict.Reason{verdict.DFUPacketSize}},
	} {
		stage, err := nrfdfu.Prepare(c.options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []verdict.Reason
		for _, w := range stage.Warnings() {
			got = append(got, w.Reason)
			if w.Object == "" || w.Detail == "" || !strings.HasSuffix(w.String(), " ("+string(w.Reason)+")") {
				t.Errorf("%s: warning %q", name, w)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestOrder keeps the order of required SoftDevices, which pc-nrfutil does not.
func TestOrder(t *testing.T) {
	signer := throwaway(t)
	sd := &nrfdfu.Part{Firmware: softDevice(t, 0x101, 132, 7002000, 0x26000)}
	app := &nrfdfu.Part{Firmware: bin(t, []byte("a")), Version: 1}
	p := build(t, nrfdfu.Options{SDReq: []uint32{0xcb, 0xb7}, AppSDReq: []uint32{0x101, 0xb7}, SoftDevice: sd, Application: app}, signer)
	want := [][]uint32{{0xcb, 0xb7, 0x101}, {0x101, 0xb7}}
	for i, m := range p.Images {
		packet, err := nrfdfu.ParsePacket(m.Packet)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(packet.Init.SDReq, want[i]) {
			t.Errorf("%s: %#x, want %#x", m.Kind, packet.Init.SDReq, want[i])
		}
	}
}

// TestDeterministic pins the bytes of a package.
func TestDeterministic(t *testing.T) {
	o := nrfdfu.Options{Unsigned: true, HWVersion: 52, SDReq: []uint32{0xb7}, Application: &nrfdfu.Part{Firmware: bin(t, []byte("firmware")), Version: 1}}
	draft, err := nrfdfu.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	file, err := draft.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := draft.Finish(nil)
	if err != nil || !bytes.Equal(file, again) {
		t.Errorf("a second Finish gives other bytes: %v", err)
	}
	const want = "872c546d47db5b95f855d1ebca4873a47e5b68f8b79712ad51955c7198d320b9"
	sum := sha256.Sum256(file)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 of the package is %s, want %s", got, want)
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]uint32{"0.0.0": 0, "1.2.3": 10203, "2.7.31": 20731, "0.99.99": 9999, "429496.72.95": nrfdfu.MaxVersion} {
		if got, err := nrfdfu.ParseVersion(s); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "2.100.1", "1.1.100", "1.01.1", "-1.0.0", "+1.0.0", "1. 2.3", "a.b.c", "429496.72.96", "99999999999.0.0", "1.2.3-rc1"} {
		if got, err := nrfdfu.ParseVersion(s); verdict.Of(err) != verdict.DFUVersionString {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

// TestSignatures builds packages until r and s have been seen with a leading
// zero byte and with the highest bit set, in init packet and boot validation.
// All of them must be accepted.
func TestSignatures(t *testing.T) {
	signer := throwaway(t)
	o := nrfdfu.Options{
		HWVersion: 52, SDReq: []uint32{0xb7},
		Application: &nrfdfu.Part{Firmware: bin(t, []byte("application")), Version: 1, BootValidation: new(nrfdfu.ValidateECDSA)},
	}
	d := device(t, "ble-s132-6.1.1")
	d.Key = signer.Public()
	seen := map[string]bool{}
	look := func(what string, signature []byte) {
		// The most significant byte of a half is its last one.
		for half, top := range map[string]byte{"r": signature[31], "s": signature[63]} {
			switch {
			case top == 0:
				seen[what+" "+half+" zero"] = true
			case top >= 0x80:
				seen[what+" "+half+" high"] = true
			}
		}
	}
	const all, tries = 8, 20000
	for i := 0; len(seen) < all; i++ {
		if i == tries {
			t.Fatalf("only %v after %d packages", seen, tries)
		}
		o.Application.Version = uint32(i)
		p := build(t, o, signer)
		if _, trace, err := nrfdfu.Verify(p, d); err != nil {
			t.Fatalf("%v\n%v", err, trace)
		}
		packet, err := nrfdfu.ParsePacket(p.Images[0].Packet)
		if err != nil {
			t.Fatal(err)
		}
		look("init", packet.Signature.Bytes)
		look("boot", packet.Init.BootValidations[0].Bytes)
	}
}
