package vectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otapack/otapack/testvectors/verdicts"
)

// cProgram reads every input of a header in pieces of odd sizes and compares its
// SHA-256, counts, and prints some of what it finds.
const cProgram = `
#include <stdio.h>
#include <string.h>

static uint32_t ror(uint32_t v, int n) { return v >> n | v << (32 - n); }

/* SHA-256 (FIPS 180-4) of an input, read through otapack_read. */
static void digest(const struct otapack_input *in, uint8_t out[32])
{
	static const uint32_t k[64] = {
		0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,0xd807aa98,0x12835b01,0x243185be,0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,
		0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,0x5cb0a9dc,0x76f988da,0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,
		0x27b70a85,0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,0xd192e819,0xd6990624,0xf40e3585,0x106aa070,
		0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,0x682e6ff3,0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2};
	uint32_t h[8] = {0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19};
	int ended = 0;
	for (uint32_t at = 0, done = 0; !done; at += 64) {
		uint8_t b[64] = {0};
		uint32_t n = otapack_read(in, at, b, 7);
		if (n == 7)
			n += otapack_read(in, at + 7, b + 7, 57);
		if (n < 64 && !ended) {
			b[n] = 0x80;
			ended = 1;
			done = n < 56;
		} else if (n == 0) {
			done = 1;
		}
		if (done) {
			uint64_t bits = (uint64_t)in->size * 8;
			for (int i = 0; i < 8; i++)
				b[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
		}
		uint32_t w[64], s[8];
		for (int i = 0; i < 16; i++)
			w[i] = (uint32_t)b[4*i] << 24 | (uint32_t)b[4*i+1] << 16 | (uint32_t)b[4*i+2] << 8 | b[4*i+3];
		for (int i = 16; i < 64; i++)
			w[i] = w[i-16] + (ror(w[i-15], 7) ^ ror(w[i-15], 18) ^ w[i-15] >> 3) + w[i-7] + (ror(w[i-2], 17) ^ ror(w[i-2], 19) ^ w[i-2] >> 10);
		memcpy(s, h, sizeof s);
		for (int i = 0; i < 64; i++) {
			uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
			uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
			memmove(s + 1, s, 7 * sizeof *s);
			s[4] += t1;
			s[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++)
			h[i] += s[i];
	}
	for (int i = 0; i < 32; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

int main(void)
{
	unsigned accepted = 0, inputs = 0, steps = 0, reasons = 0, released = 0;
	for (unsigned i = 0; i < UPPER_CASES; i++) {
		const struct LOWER_case *c = &LOWER_cases[i];
		accepted += c->verdict == OTAPACK_ACCEPT;
		steps += c->step != UPPER_STEP_NONE;
		reasons += c->reason != UPPER_REASON_NONE;
		released += c->released;
		for (unsigned j = 0; j < c->n_inputs; j++) {
			uint8_t sum[32] = {0};
			if (c->inputs[j].size > 0)
				digest(&c->inputs[j], sum);
			if (memcmp(sum, c->inputs[j].sha256, 32) != 0) {
				printf("%s: %s is another\n", c->id, c->inputs[j].name);
				return 1;
			}
			inputs++;
		}
	}
	printf("%d cases, %u inputs, %u accepted, %u steps, %u reasons, %u released\n", UPPER_CASES, inputs, accepted, steps, reasons, released);
	SPECIAL
	return 0;
}
`

// The headers compile as strict C99, and every input that C reads out of one has
// its published SHA-256.
func TestExportC(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	special := map[string]string{
		"suit-nrf52840": `printf("%s %u %u %d\n", OTAPACK_DEVICE->vendor, OTAPACK_DEVICE->n_keys, OTAPACK_DEVICE->min_sequence, OTAPACK_DEVICE->has_slot);`,
		"suit-stm32l4":  `printf("%02x %u\n", OTAPACK_DEVICE->class_id.data[0], OTAPACK_DEVICE->keys[0].point.size);`,
		"mcuboot":       `printf("%s %s %u\n", OTAPACK_DEVICE->signature, OTAPACK_DEVICE->mode, OTAPACK_DEVICE->slot_size);`,
		"nrfdfu":        `printf("%x %x\n", OTAPACK_DEVICE->softdevice->fwid, OTAPACK_DEVICE->bootloader);`,
		"sbsfu":         `printf("%s %u %u %d\n", OTAPACK_DEVICE->scheme, OTAPACK_DEVICE->offset, OTAPACK_DEVICE->n_slots, OTAPACK_DEVICE->slots[0].installed);`,
		"wolfboot":      `printf("%x %x %u\n", OTAPACK_DEVICE->partition_size, OTAPACK_DEVICE->keys[0].partitions, OTAPACK_DEVICE->running->version);`,
	}
	class := load(t, "suit-stm32l4").Devices["T1/as-it-should-be"].SUIT.ClassID
	wantSpecial := map[string]string{
		"suit-nrf52840": "acme.example 3 1042 0", "suit-stm32l4": fmt.Sprintf("%02x 64", class[0]), "mcuboot": "hash-only swap-move 65536", "nrfdfu": "b7 78000",
		"sbsfu": "ecdsa-clear 512 1 1", "wolfboot": "4000 ffffffff 1",
	}
	dir := t.TempDir()
	for _, name := range verdicts.Families() {
		t.Run(name, func(t *testing.T) {
			f := load(t, name)
			header, err := ExportC(f)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ExportC(f)
			if err != nil || string(again) != string(header) {
				t.Fatal("another header the second time")
			}
			lower := "otapack_" + cName(name)
			text := "#include \"" + CHeader(name) + "\"\n" + strings.NewReplacer(
				"SPECIAL", special[name], "UPPER", strings.ToUpper(lower), "LOWER", lower).Replace(cProgram)
			text = strings.ReplaceAll(text, "OTAPACK_DEVICE", lower+"_cases[0].device")
			program := filepath.Join(dir, name)
			for file, data := range map[string][]byte{CHeader(name): header, name + ".c": []byte(text)} {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			build := exec.Command(gcc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-o", program, program+".c")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%.2000s", err, out)
			}
			out, err := exec.Command(program).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var inputs, accepted, released int
			for _, c := range f.Cases {
				inputs += len(c.Inputs)
				released += c.Released.Size
				if c.Verdict == verdicts.Accept {
					accepted++
				}
			}
			refused := len(f.Cases) - accepted
			want := fmt.Sprintf("%d cases, %d inputs, %d accepted, %d steps, %d reasons, %d released\n%s\n",
				len(f.Cases), inputs, accepted, refused, refused, released, wantSpecial[name])
			if string(out) != want {
				t.Errorf("got %swant %s", out, want)
			}
			t.Logf("header of %d bytes", len(header))
		})
	}
	// All headers in one program: their names do not clash.
	var all strings.Builder
	for _, name := range verdicts.Families() {
		fmt.Fprintf(&all, "#include \"%s\"\n#include \"%s\"\n", CHeader(name), CHeader(name))
	}
	all.WriteString("int main(void) { return OTAPACK_NRFDFU_CASES + OTAPACK_MCUBOOT_CASES + OTAPACK_SUIT_STM32L4_CASES + OTAPACK_SUIT_NRF52840_CASES + OTAPACK_SBSFU_CASES + OTAPACK_WOLFBOOT_CASES == 0; }\n")
	if err := os.WriteFile(filepath.Join(dir, "all.c"), []byte(all.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-std=c99", "-Wall", "-Werror", "-o", filepath.Join(dir, "all"), filepath.Join(dir, "all.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
}

func TestExportCErrors(t *testing.T) {
	if _, err := ExportC(&verdicts.Family{Name: "none"}); !errors.Is(err, ErrDevice) {
		t.Errorf("got %v", err)
	}
	f := *load(t, "nrfdfu")
	f.Files = nil
	if _, err := ExportC(&f); err == nil {
		t.Error("exported without files")
	}
	if _, err := ExportJSON(&f); err == nil {
		t.Error("exported without files")
	}
	if err := ExportFiles(&f, func(string, []byte) error { return nil }); err == nil {
		t.Error("exported without files")
	}
}

func TestExportJSON(t *testing.T) {
	f := load(t, "suit-stm32l4")
	data, err := ExportJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	var e exported
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Cases) != len(f.Cases) || e.Schema != ExportSchema {
		t.Fatalf("%d cases, schema %s", len(e.Cases), e.Schema)
	}
	for i, c := range e.Cases {
		inputs := map[string][]byte{}
		for _, in := range c.Inputs {
			if !verdicts.Of(in.Data).Equal(in.Content) {
				t.Errorf("%s: %s is another", c.ID, in.Name)
			}
			inputs[in.Name] = in.Data
		}
		if j, err := Reference(t.Context(), c.Device, inputs); err != nil || j.Answer != Want(f.Cases[i]) {
			t.Errorf("%s: %v, %v", c.ID, j.Answer, err)
		}
	}
}

func TestExportFiles(t *testing.T) {
	f := load(t, "suit-nrf52840")
	files := map[string][]byte{}
	failing := errors.New("disk full")
	if err := ExportFiles(f, func(name string, data []byte) error { files[name] = data; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := ExportFiles(f, func(string, []byte) error { return failing }); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
	for _, c := range f.Cases {
		var q Question
		if err := json.Unmarshal(files[c.ID+"/case.json"], &q); err != nil {
			t.Fatal(err)
		}
		for name, path := range q.Inputs {
			data, ok := files[c.ID+"/"+path]
			if want, err := f.Input(c, name); err != nil || !ok || string(data) != string(want) {
				t.Errorf("%s: %s is another", c.ID, name)
			}
		}
		if got, err := ParseAnswer(string(files[c.ID+"/want"])); err != nil || got != Want(c) || q.ID != c.ID {
			t.Errorf("%s: %+v, %v", c.ID, got, err)
		}
	}
}
