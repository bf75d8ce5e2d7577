package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
)

func vectorKey(t *testing.T, name string) sign.PublicKey {
	t.Helper()
	data, err := testvectors.Read("keyforms/" + name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.ParsePublicKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func exportAs(t *testing.T, as string, key sign.PublicKey) []byte {
	t.Helper()
	form, err := parseKeyForm(as)
	if err != nil {
		t.Fatal(err)
	}
	data, err := form.write("fw", key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var cByte = regexp.MustCompile(`0x([0-9a-f]{2})\b`)

// cBytes returns the elements of the only array in C source.
func cBytes(t *testing.T, source []byte) []byte {
	t.Helper()
	if n := bytes.Count(source, []byte("{")); n != 1 {
		t.Fatalf("%d arrays in\n%s", n, source)
	}
	_, list, _ := bytes.Cut(source, []byte("{"))
	var digits strings.Builder
	for _, m := range cByte.FindAllSubmatch(list, -1) {
		digits.Write(m[1])
	}
	data, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What nrfutil writes for the same keys.
func TestExportNRF(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		vendor, err := testvectors.Read("keyforms/nrf-" + name + ".pub.c")
		if err != nil {
			t.Fatal(err)
		}
		key := vectorKey(t, "nrf-"+name+".pub.pem")
		ours := exportAs(t, "nrf", key)
		want := cBytes(t, vendor)
		if got := cBytes(t, ours); len(want) != 64 || !bytes.Equal(got, want) {
			t.Errorf("key %s:\ngot  %x\nwant %x", name, got, want)
		}
		declaration := []byte("__ALIGN(4) const uint8_t pk[64] =\n{\n")
		if !bytes.Contains(ours, declaration) || !bytes.Contains(vendor, declaration) {
			t.Errorf("key %s: another declaration:\n%s", name, ours)
		}
		if !bytes.Equal(key.DER(), vectorKey(t, "nrf-"+name+".pub.pem").DER()) {
			t.Error("the key was changed")
		}
	}
	form, err := parseKeyForm("nrf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := form.write("fw", vectorKey(t, "mcuboot-p384.pub.pem")); !errors.Is(err, sign.ErrCurve) {
		t.Errorf("P-384: %v, want ErrCurve", err)
	}
}

// What imgtool embeds, and what it names a key by in an image.
func TestExportMCUboot(t *testing.T) {
	for _, name := range []string{"p256", "p384"} {
		key := vectorKey(t, "mcuboot-"+name+".pub.pem")
		der, err := testvectors.Read("keyforms/mcuboot-" + name + ".pub.der")
		if err != nil {
			t.Fatal(err)
		}
		source := exportAs(t, "mcuboot", key)
		if got := cBytes(t, source); !bytes.Equal(got, der) {
			t.Errorf("%s:\ngot  %x\nwant %x", name, got, der)
		}
		length := map[string]string{"p256": "91", "p384": "120"}[name]
		for _, want := range []string{"const unsigned char ecdsa_pub_key[] = {\n", "};\nconst unsigned int ecdsa_pub_key_len = " + length + ";\n"} {
			if !strings.Contains(string(source), want) {
				t.Errorf("%s: no %q in\n%s", name, want, source)
			}
		}
		if got := exportAs(t, "der", key); !bytes.Equal(got, der) {
			t.Errorf("%s: DER %x, want %x", name, got, der)
		}
		hash, err := testvectors.Hex("keyforms/mcuboot-" + name + ".keyhash.hex")
		if err != nil {
			t.Fatal(err)
		}
		if got := exportAs(t, "mcuboot-hash", key); !bytes.Equal(got, hash) {
			t.Errorf("%s: hash %x, want %x", name, got, hash)
		}
	}
}

func TestExportIntelHex(t *testing.T) {
	for _, test := range []struct {
		key, as string
		at      uint32
	}{
		{"mcuboot-p256.pub.pem", "ihex@0xfe000", 0xfe000},
		{"mcuboot-p384.pub.pem", "ihex@1048560", 0xffff0},       // across 64 KiB
		{"mcuboot-p256.pub.pem", "ihex@0xffffffc0", 0xffffffc0}, // up to the last address
	} {
		key := vectorKey(t, test.key)
		image, format, err := firmware.Load(bytes.NewReader(exportAs(t, test.as, key)), firmware.Options{MaxSize: 1 << 10})
		if err != nil {
			t.Fatalf("%s: %v", test.as, err)
		}
		got, err := image.Flatten(image.Start(), 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		if image.Start() != test.at || !bytes.Equal(got, key.Point()[1:]) || format != firmware.IntelHex {
			t.Errorf("%s: %s at 0x%x: %x", test.as, format, image.Start(), got)
		}
	}
	form, err := parseKeyForm("ihex@0xffffffc1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = form.write("fw", vectorKey(t, "mcuboot-p256.pub.pem"))
	if code, exit := classify(err); code != codeUsage || exit != exitUsage {
		t.Errorf("beyond the last address: %v", err)
	}
}

func TestParseKeyForm(t *testing.T) {
	for _, bad := range []string{"", "PEM", "pem@0", "ihex", "ihex@", "ihex@0x100000000", "ihex@-1", "ihex@x", "c@0x10"} {
		if _, err := parseKeyForm(bad); err == nil {
			t.Errorf("%q is a form", bad)
		} else if _, exit := classify(err); exit != exitUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
