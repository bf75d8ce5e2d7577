package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// benchProject is the toothbrush with two encrypted components: 170 KiB for the
// radio, a few KiB for the motor.
const benchProject = `otapack: 1
product: {name: toothbrush, vendor: toothbrush.example}
hsm:
  module: %s
  tokens:
    release: {uri: "pkcs11:token=otapack-bench", pin: {file: .otapack/pin}}
keys:
  fw:      {token: release, uri: "pkcs11:object=fw", public: keys/fw.pub.pem}
  release: {token: release, uri: "pkcs11:object=release", public: keys/release.pub.pem}
signing:
  manifest: {sign: [fw]}
  release:  {sign: [release]}
components:
  radio: {chip: nrf52840, model: radio, revision: C, image: radio.hex, encrypt: {to: [keys/radio.pub.pem]}}
  motor: {chip: stm32l4, model: motor, revision: C, image: motor.hex, encrypt: {to: [keys/motor.pub.pem]}}
`

// benchFolder builds the program, and returns a folder and what runs it there.
func benchFolder(b *testing.B) (dir string, otapack func(b *testing.B, args ...string) *os.ProcessState) {
	b.Helper()
	dir = b.TempDir()
	binary := filepath.Join(dir, "otapack")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return dir, func(b *testing.B, args ...string) *os.ProcessState {
		b.Helper()
		cmd := exec.Command(binary, append([]string{"--no-input"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SOFTHSM2_CONF=")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("otapack %v: %v: %s", args, err, out)
		}
		return cmd.ProcessState
	}
}

// BenchmarkProcess times whole processes, start-up and SoftHSM included, on the
// example's real firmware.
func BenchmarkProcess(b *testing.B) {
	dir, otapack := benchFolder(b)
	for name, from := range map[string]string{"radio.hex": "firmware/radio.hex", "motor.hex": "motor/motor.hex"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "examples", "toothbrush", filepath.FromSlash(from)))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "otapack.yaml"), fmt.Appendf(nil, benchProject, softhsm()), 0o600); err != nil {
		b.Fatal(err)
	}
	otapack(b, "init", "--dev-token")
	otapack(b, "key", "create", "fw", "release")
	for _, mcu := range []string{"radio", "motor"} {
		otapack(b, "key", "recipient", "--private-out", "bench/"+mcu+".pem", "--public-out", "keys/"+mcu+".pub.pem")
	}
	otapack(b, "release", "--version", "1.0.0")

	b.Run("version", func(b *testing.B) {
		for b.Loop() {
			otapack(b, "version")
		}
	})
	b.Run("key-ls", func(b *testing.B) { // opens the token and logs in
		for b.Loop() {
			otapack(b, "key", "ls")
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			otapack(b, "verify", "dist/1.0.0/toothbrush-1.0.0.ota", "--device-key", "radio=bench/radio.pem", "--device-key", "motor=bench/motor.pem")
		}
	})
	b.Run("release", func(b *testing.B) {
		for b.Loop() { // each run releases anew: neither its output nor a last release is there
			for _, path := range []string{"dist", "release.json"} {
				if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
					b.Fatal(err)
				}
			}
			otapack(b, "release", "--version", "1.0.0")
		}
	})
}

// BenchmarkImage times whole processes that sign a single file, with a key in
// SoftHSM and with a throwaway one, and the largest memory of any of them. On the
// same files imgtool 2.4.0 takes 0.20 s, for hex to hex 1.4 s and 142 MiB, and
// nrfutil 6.1.7 0.7 to 1.0 s (2 cores, 2.5 GHz).
func BenchmarkImage(b *testing.B) {
	dir, otapack := benchFolder(b)
	if err := os.WriteFile(filepath.Join(dir, "otapack.yaml"), fmt.Appendf(nil, benchProject, softhsm()), 0o600); err != nil {
		b.Fatal(err)
	}
	otapack(b, "init", "--dev-token")
	otapack(b, "key", "create", "fw")
	for name, size := range map[string]int{"200k.bin": 200 << 10, "1m.hex": 1 << 20} {
		if err := writeImage(filepath.Join(dir, name), size, 0x08010000); err != nil {
			b.Fatal(err)
		}
	}
	mcuboot := []string{"image", "sign", "mcuboot", "-f", "-v", "1.4.2", "-H", "0x200", "--pad-header", "-S", "2MiB", "--align", "4"}
	nrfdfu := []string{"image", "sign", "nrfdfu", "-f", "--hw-version", "52", "--sd-req", "0x100", "--application", "200k.bin", "--application-version", "4", "out.zip"}
	for _, bench := range []struct {
		name string
		args []string
	}{
		{"mcuboot-200KiB-bin", append(slices.Clip(mcuboot), "200k.bin", "out.bin")},
		{"mcuboot-1MiB-hex", append(slices.Clip(mcuboot), "1m.hex", "out.hex")},
		{"nrfdfu-200KiB", nrfdfu},
	} {
		for _, key := range []string{"--key=fw", "--throwaway-key"} {
			b.Run(bench.name+"/"+strings.TrimLeft(key, "-"), func(b *testing.B) {
				most := 0.0
				for b.Loop() {
					most = max(most, maxRSS(otapack(b, append(slices.Clip(bench.args), key)...)))
				}
				b.ReportMetric(most/(1<<20), "MiB")
			})
		}
	}
	otapack(b, append(slices.Clip(mcuboot), "--throwaway-key", "--encrypt-later", "200k.bin", "later.bin")...)
	for i := range 1000 {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.PublicKey())
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, "devices"), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "devices", fmt.Sprintf("%04d.pem", i)), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("encrypt-200KiB-for-1000", func(b *testing.B) {
		most := 0.0
		for b.Loop() {
			if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil {
				b.Fatal(err)
			}
			most = max(most, maxRSS(otapack(b, "image", "encrypt", "--to", "devices", "-o", "out", "later.bin")))
		}
		b.ReportMetric(most/(1<<20), "MiB")
	})
}

// softhsm returns the module that tests use.
func softhsm() string {
	if module := os.Getenv("OTAPACK_TEST_MODULE"); module != "" {
		return module
	}
	return "/usr/lib/softhsm/libsofthsm2.so"
}
