package ctest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// plant is a mistake in the C that the verdicts have to find.
type plant struct{ name, file, right, wrong string }

var plants = []plant{
	{"class not compared", "verify.c", "return otapack_equal(v->manifest.class_id, v->device->class_id, 16);", "return v ? OTAPACK_GOOD : OTAPACK_BAD;"},
	{"slot not compared", "verify.c", "v->device->has_slot && v->manifest.slot == v->device->slot", "v->device->has_slot"},
	{"a revoked key counts", "verify.c", "if (signers >> key & 1 || d->keys[key].revoked ||", "if (signers >> key & 1 ||"},
	{"one signature is enough", "verify.c", "count >= d->threshold);", "count >= 1);"},
	{"digest of the manifest not compared", "verify.c", "if (otapack_element_is(&v->envelope.elements[OTAPACK_ELEMENT_MANIFEST], v->envelope.digest) != OTAPACK_GOOD)", "if (0)"},
	{"bank not looked at", "verify.c", "v->manifest.size <= v->device->bank_size && ", ""},
	{"ciphertext not compared", "verify.c", "return otapack_equal(v->received.digest, v->manifest.received, 32);", "return OTAPACK_GOOD;"},
	{"image not compared", "verify.c", "return otapack_equal(image->digest, v->manifest.digest, 32);", "return OTAPACK_GOOD;"},
	{"counter may wrap", "verify.c", "if (v->manifest.encrypted && (v->manifest.payload_size - 1) / 16", "if (0 && (v->manifest.payload_size - 1) / 16"},
	{"other recipients' points not looked at", "verify.c", "if (to.agreed && !otapack_point_load(", "if (0 && !otapack_point_load("},
	{"base not compared", "verify.c", "return otapack_equal(v->base_digest, v->manifest.base, 32);", "return OTAPACK_GOOD;"},
	{"RAM of the decoder not looked at", "verify.c", "m->ram <= v->device->decoder_ram && ", ""},
	{"any image is a base", "verify.c", " && !(m->base && v->device->one_bank)", ""},
	{"long integers", "cbor.c", "low >> 4 * n == 0", "0"},
	{"names in any bytes", "cbor.c", "major == OTAPACK_TEXT && ", "0 && "},
	{"trailing bytes", "cbor.c", "return (r->bad | r->left) == 0;", "return r->bad == 0;"},
	{"severed install not compared", "suit.c", "if (otapack_element_is(&e->elements[OTAPACK_ELEMENT_INSTALL], s.digest) != OTAPACK_GOOD)", "if (0)"},
	{"name of the payload not compared", "suit.c", "!is_same(&e->name, &m->uri)", "0"},
}

// apply plants a mistake in a copy of the file.
func (p plant) apply(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(p.right)); n != 1 {
		return fmt.Errorf("%s: %q occurs %d times", p.name, p.right, n)
	}
	return os.WriteFile(file, bytes.Replace(text, []byte(p.right), []byte(p.wrong), 1), 0o600)
}

// TestPlants builds the verifier with one mistake after the other. The verdicts
// for one of the chips, and for the other one where images are decoded from
// differences, have to find each.
func TestPlants(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	all, err := suitCases()
	if err != nil {
		t.Fatal(err)
	}
	cases := slices.DeleteFunc(slices.Clone(all), func(a asked) bool {
		return !strings.HasPrefix(a.id, "suit-stm32l4/") && !strings.HasPrefix(a.id, "suit-nrf52840/T4/")
	})
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	decoder, err := filepath.Abs(delta)
	if err != nil {
		t.Fatal(err)
	}
	compile := func(t *testing.T, args ...string) {
		cmd := exec.Command("gcc", append([]string{"-std=c99", "-O1", "-w", "-DDECODER", "-I" + decoder}, args...)...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	objects := []string{filepath.Join(decoder, "delta.c")}
	files, err := filepath.Glob(source + "/*.c")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "cases/host.c", "cases/cases.c") {
		name := strings.TrimPrefix(file, source+"/")
		objects = append(objects, filepath.Base(name)+".o")
		compile(t, "-c", "-o", filepath.Base(name)+".o", name)
	}
	for i, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			wrong := fmt.Sprintf("plant%d", i)
			text, err := os.ReadFile(filepath.Join(folder, p.file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, wrong+".c"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := p.apply(filepath.Join(folder, wrong+".c")); err != nil {
				t.Fatal(err)
			}
			others := slices.DeleteFunc(slices.Clone(objects), func(o string) bool { return o == p.file+".o" })
			compile(t, append([]string{"-o", wrong, wrong + ".c"}, others...)...)
			if len(differences(cases, askCases(t, filepath.Join(folder, wrong), cases))) == 0 {
				t.Error("all verdicts are those of the right one")
			}
		})
	}
}
