package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// BenchmarkProcess times whole processes, start-up and SoftHSM included, on the
// example's real firmware.
func BenchmarkProcess(b *testing.B) {
	dir := b.TempDir()
	binary := filepath.Join(dir, "otapack")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	otapack := func(b *testing.B, args ...string) {
		b.Helper()
		cmd := exec.Command(binary, append([]string{"--no-input"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SOFTHSM2_CONF=")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("otapack %v: %v: %s", args, err, out)
		}
	}
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

// softhsm returns the module that tests use.
func softhsm() string {
	if module := os.Getenv("OTAPACK_TEST_MODULE"); module != "" {
		return module
	}
	return "/usr/lib/softhsm/libsofthsm2.so"
}
