package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// goldenFile is an output of imgtool by its name.
func goldenFile(name string) ([]byte, error) {
	all, err := testvectors.MCUbootImages()
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if g.Name == name {
			return g.File()
		}
	}
	return nil, fmt.Errorf("no golden image %s", name)
}

// publicPEM is the public half of a key of testvectors/mcuboot.
func publicPEM(name string) ([]byte, error) {
	data, err := testvectors.Read("mcuboot/keys/" + name + ".pem")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	var half any
	switch k := private.(type) {
	case *ecdh.PrivateKey:
		half = k.PublicKey()
	case crypto.Signer:
		half = k.Public()
	}
	der, err := x509.MarshalPKIXPublicKey(half)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// runIn runs a command line in a folder.
func runIn(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// imageFolder is a folder with what golden images are made of.
func imageFolder(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	put := func(name string, data []byte, err error) {
		t.Helper()
		if err == nil {
			err = os.MkdirAll(filepath.Dir(name), 0o755)
		}
		if err == nil {
			err = os.WriteFile(name, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hexFile := func(segments ...formats.Segment) []byte {
		image, err := formats.NewImage(segments)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := firmware.WriteIntelHex(&b, image); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	app, err := testvectors.MCUbootPayload("app")
	put("app.bin", app, err)
	odd, err := testvectors.MCUbootPayload("odd")
	put("app_odd.bin", odd, err)
	put("app_hdr.bin", append(make([]byte, 0x200), app...), nil)
	put("app.hex", hexFile(formats.Segment{Addr: 0x08010200, Data: app}), nil)
	put("app_gap.hex", hexFile(formats.Segment{Addr: 0x08010200, Data: app[:0x3000]}, formats.Segment{Addr: 0x08010200 + 0x3123, Data: app[0x3000:0x5000]}), nil)
	tlv := []byte{}
	for i := range byte(32) {
		tlv = append(tlv, i)
	}
	put("tlv.bin", append(tlv, ' '), nil)
	for _, name := range []string{"p256", "p256-other", "p384", "ed25519", "enc-p256", "enc-x25519"} {
		data, err := publicPEM(name)
		put("keys/"+name+".pub.pem", data, err)
		data, err = testvectors.Read("mcuboot/keys/" + name + ".pem")
		put("keys/"+name+".pem", data, err)
	}
	data, err := testvectors.Read("mcuboot/keys/rsa2048.pub.der")
	put("keys/rsa2048.pub.der", data, err)
}

// words splits a command line as a shell does, quotes and all.
func words(line string) []string {
	var list []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}

// fromImgtool turns imgtool's command line into otapack's, as docs/from-imgtool.md
// has it: a throwaway key takes the place of a file, and a tag and its value are
// one argument.
func fromImgtool(command string) []string {
	args := []string{"image", "sign", "mcuboot"}
	signed := false
	list := words(command)[2:]
	for i := 0; i < len(list); i++ {
		switch w := list[i]; w {
		case "-k":
			i++
			signed = true
			algorithm := map[string]string{"keys/p256.pem": "esp256", "keys/p384.pem": "esp384", "keys/ed25519.pem": "ed25519"}[list[i]]
			args = append(args, "--throwaway-key="+algorithm, "--public-out=signer.pub.pem")
		case "--custom-tlv", "--custom-tlv-file":
			args = append(args, w, list[i+1]+"="+list[i+2])
			i += 2
		default:
			args = append(args, w)
		}
	}
	if !signed {
		args = append(args, "--unsigned")
	}
	return append(args, "--force")
}

// TestImageSignIsImgtool gives otapack imgtool's command lines.
func TestImageSignIsImgtool(t *testing.T) {
	imageFolder(t)
	all, err := testvectors.MCUbootImages()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.Name == "07-rsa2048" || g.Name == "40-fixsig" { // no key that otapack makes, and two runs in place of one
			continue
		}
		t.Run(g.Name, func(t *testing.T) {
			args := fromImgtool(g.Command)
			code, stdout, stderr := runIn(t, args...)
			if code != exitOK {
				t.Fatalf("%v: exit code %d: %s", args, code, stderr)
			}
			out := strings.TrimSpace(stdout)
			got, err := readImageFile(out)
			if err != nil {
				t.Fatal(err)
			}
			want, err := g.File()
			if err != nil {
				t.Fatal(err)
			}
			if g.HexBase != nil {
				image, _, err := loadFirmware(out)
				if err != nil || image.Start() != *g.HexBase {
					t.Errorf("begins at 0x%x: %v", image.Start(), err)
				}
			}
			if g.Name == "01-unsigned" && !bytes.Equal(got, want) {
				t.Error("other bytes")
			}
			sameImage(t, g, got, want)
		})
	}
}

// sameImage compares all but what a key, or chance, is in.
func sameImage(t *testing.T, g testvectors.MCUbootImage, got, want []byte) {
	t.Helper()
	if strings.Contains(g.Command, "-E") {
		name := "keys/enc-p256.pem"
		if strings.Contains(g.Command, "x25519") {
			name = "keys/enc-x25519.pem"
		}
		key, err := readImageKey(name)
		if err == nil && !strings.Contains(g.Command, "--clear") {
			if got, err = mcuboot.Decrypt(got, key); err == nil {
				want, err = mcuboot.Decrypt(want, key)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := mcuboot.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mcuboot.Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	record := slices.ContainsFunc(b.Protected, func(e mcuboot.TLV) bool { return e.Type == mcuboot.TypeBootRecord }) // names the key
	chance := []mcuboot.Type{mcuboot.TypeKeyHash, mcuboot.TypePublicKey, mcuboot.TypeECDSA, mcuboot.TypeEd25519, mcuboot.TypeEncP256, mcuboot.TypeEncX25519, mcuboot.TypeEncX25519H5}
	plain := func(list []mcuboot.TLV) []mcuboot.TLV {
		list = slices.Clone(list)
		for i, e := range list {
			switch {
			case slices.Contains(chance, e.Type), record && e.Type == mcuboot.TypeSHA256:
				list[i].Value = nil
			case e.Type == mcuboot.TypeBootRecord:
				list[i].Value = slices.Concat(e.Value[:17], e.Value[49:]) // its signer id
			}
		}
		return list
	}
	for what, same := range map[string]bool{
		"header":      a.Header == b.Header,
		"padding":     bytes.Equal(a.Padding, b.Padding),
		"payload":     bytes.Equal(a.Payload, b.Payload),
		"protected":   fmt.Sprint(plain(a.Protected)) == fmt.Sprint(plain(b.Protected)),
		"unprotected": fmt.Sprint(plain(a.Unprotected)) == fmt.Sprint(plain(b.Unprotected)),
		"size":        len(b.Tail) == 0 || len(got) == len(want),
		"trailer":     len(b.Tail) == len(a.Tail) && len(b.Tail) == 0 || len(a.Tail) > 64 && bytes.Equal(a.Tail[len(a.Tail)-64:], b.Tail[len(b.Tail)-64:]),
	} {
		if !same {
			t.Errorf("%s differs:\n%+v\n%+v", what, mcuboot.Describe(a), mcuboot.Describe(b))
		}
	}
}

// TestImageVerifyIsBootutil has image verify judge imgtool's images and damaged
// ones: the exit code is bootutil's verdict, and a refusal has a reason, the same
// in the error and in the last of the checks.
func TestImageVerifyIsBootutil(t *testing.T) {
	imageFolder(t)
	all, err := testvectors.MCUbootImages()
	if err != nil {
		t.Fatal(err)
	}
	mutations, err := testvectors.MCUbootMutations()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		m := testvectors.MCUbootMutation{Base: g.Name, Why: "as it is", Bootutil: g.Bootutil}
		w := words(g.Command)
		if i := slices.Index(w, "-k"); i >= 0 {
			m.VerifyKey = strings.TrimSuffix(filepath.Base(w[i+1]), ".pem")
		} else if strings.Contains(g.Command, "fix-sig") {
			m.VerifyKey = "p256"
		}
		if i := slices.Index(w, "-E"); i >= 0 {
			m.DecryptKey = strings.TrimSuffix(filepath.Base(w[i+1]), ".pub.pem")
		}
		mutations = append(mutations, m)
	}
	accepted := 0
	for _, m := range mutations {
		file, err := goldenFile(m.Base)
		if err == nil {
			file, err = m.Apply(file)
		}
		if err == nil {
			err = os.WriteFile("image.bin", file, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"--json", "image", "verify", "mcuboot", "image.bin", "--mode", "swap-move", "-S", "0x10000", "--sector-size", "4KiB", "--align", "4"}
		switch m.VerifyKey {
		case "":
			args = append(args, "--unsigned")
		case "rsa2048":
			args = append(args, "-k", "keys/rsa2048.pub.der")
		default:
			args = append(args, "-k", "keys/"+m.VerifyKey+".pub.pem")
		}
		if m.DecryptKey != "" {
			args = append(args, "--device-key", "keys/"+m.DecryptKey+".pem")
		}
		for base, flags := range map[string][]string{
			"05-ed25519-sha512": {"--sha", "512"}, "06-ed25519-pure": {"--pure"}, "10-p256-enc-clear": {"--primary"},
			"12-ed25519-enc-x25519-hmac512": {"--hmac-sha", "512"}, "20-p256-confirm-erased0": {"-R", "0", "-M", "64"}, "36-pubkey-full": {"--public-key-format", "full"},
		} {
			if m.Base == base {
				args = append(args, flags...)
			}
		}
		code, stdout, stderr := runIn(t, args...)
		if want := map[string]int{"accept": exitOK, "reject": exitVerify}[m.Bootutil]; code != want {
			t.Errorf("%s, %s: exit code %d, want %d: %s", m.Base, m.Why, code, want, stderr)
			continue
		}
		if code == exitOK {
			var r imageVerifyResult
			if err := json.Unmarshal([]byte(stdout), &r); err != nil || !r.Accepted || len(r.Checks) == 0 {
				t.Errorf("%s, %s: %v: %s", m.Base, m.Why, err, stdout)
			}
			accepted++
			continue
		}
		var f struct {
			Code   string
			Result imageVerifyResult
		}
		if err := json.Unmarshal([]byte(stdout), &f); err != nil || len(f.Result.Checks) == 0 || f.Result.Accepted {
			t.Errorf("%s, %s: %v: %s", m.Base, m.Why, err, stdout)
			continue
		}
		if last := f.Result.Checks[len(f.Result.Checks)-1]; f.Code != string(last.Reason) || last.Status != string(mcuboot.Failed) || f.Code == "" {
			t.Errorf("%s, %s: code %s, last check %+v", m.Base, m.Why, f.Code, last)
		}
	}
	if accepted < len(all) || accepted == len(mutations) {
		t.Errorf("%d of %d accepted", accepted, len(mutations))
	}
}

// TestImageVerifyCompressed: what upstream loaders refuse, whoever signed it.
func TestImageVerifyCompressed(t *testing.T) {
	imageFolder(t)
	data, err := testvectors.Read("mcuboot/lzma2.bin")
	if err == nil {
		err = os.WriteFile("lzma2.bin", data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runIn(t, "image", "verify", "mcuboot", "-k", "keys/p256.pub.pem", "lzma2.bin")
	if code != exitVerify || !strings.Contains(stderr, "("+string(verdict.CompressionNotBuiltIn)+")") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestImageChecks is for what no token and no firmware brings about: finished files
// that their bootloader refuses. None may be written.
func TestImageChecks(t *testing.T) {
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	other, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	o := mcuboot.Options{
		Target: mcuboot.Target{Signature: mcuboot.ECDSAP256, Encryption: mcuboot.ECIESP256}, HeaderSize: 32, PadHeader: true, Keys: []sign.PublicKey{signer.Public()},
	}
	draft, err := mcuboot.Build([]byte("firmware"), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := sign.Answer(t.Context(), draft.Requests(), map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := draft.Sign(signatures)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSigned(t.Context(), signed, o); err != nil {
		t.Error(err)
	}
	o.Keys = append(o.Keys, other.Public()) // each has to verify it alone
	if err := checkSigned(t.Context(), signed, o); verdict.Of(err) != verdict.NoKnownKey {
		t.Errorf("another key: %v", err)
	}

	app, err := nrfdfu.FromBin([]byte("firmware"))
	if err != nil {
		t.Fatal(err)
	}
	so := nrfdfu.SettingsOptions{Version: 2, Application: &nrfdfu.Part{Firmware: app}, SoftDevice: &nrfdfu.Part{Firmware: app}}
	settingsDraft, err := nrfdfu.PrepareSettings(so)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := settingsDraft.Settings(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSettings(settings, so); err != nil {
		t.Error(err)
	}
	changed, err := nrfdfu.FromBin([]byte("Firmware"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []nrfdfu.SettingsOptions{
		{Version: 2, Application: &nrfdfu.Part{Firmware: changed}, SoftDevice: so.SoftDevice},
		{Version: 2, Application: so.Application, SoftDevice: &nrfdfu.Part{Firmware: changed}},
	} {
		if err := checkSettings(settings, bad); verdict.Of(err) == "" {
			t.Errorf("other firmware: %v", err)
		}
	}
}

// TestImageInterrupted: nothing is written after an interrupt.
func TestImageInterrupted(t *testing.T) {
	imageFolder(t)
	code, _, stderr := runIn(t, words(`image sign mcuboot --throwaway-key --public-out signer.pem -v 1.0.0 -H 0x200 --pad-header --encrypt-later app.bin later.bin`)...)
	if code != exitOK {
		t.Fatal(stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{
		`image sign mcuboot --throwaway-key --public-out other.pem -v 1.0.0 -H 0x200 --pad-header app.bin out.bin`,
		`image encrypt --to keys/enc-p256.pub.pem -o out later.bin`,
	} {
		var out, errs bytes.Buffer
		if code := execute(ctx, words(line), &out, &errs); code != exitInterrupted {
			t.Errorf("%s: exit code %d: %s", line, code, errs.String())
		}
		for _, name := range []string{"out.bin", "out", "other.pem"} {
			if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s was written", line, name)
			}
		}
	}
}
