package firmware_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
)

// tool returns a function that runs a program in a fresh directory and returns
// the path of a file there.
func tool(t *testing.T, name string) (run func(args ...string), path func(file string) string) {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: only the golden files are compared", name)
	}
	dir := t.TempDir()
	run = func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	return run, func(file string) string { return filepath.Join(dir, file) }
}

// generated returns images with gaps, starts at odd or only at 16-byte
// addresses, and segments across 64 KiB boundaries, at several bases; the same
// ones in every run.
func generated(t *testing.T) map[string]formats.Image {
	r := rand.New(rand.NewPCG(1, 2))
	images := map[string]formats.Image{}
	for _, base := range []uint32{0, 0x1_fff0, 0x9_ffff, 0x0800_0003, 0x0801_0010, 0x1000_fff1, 0xfff0_0001} {
		var segments []formats.Segment
		addr := base
		step := uint32(1)
		if aligned(base) {
			step = 16
		}
		for _, n := range []int{1, 15, 16, 17, 70_000, 300, 2} {
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			segments = append(segments, formats.Segment{Addr: addr, Data: data})
			addr += uint32(n) + 1 + r.Uint32N(40_000)
			addr += -addr % step
		}
		images[fmt.Sprintf("0x%08x", base)] = image(t, segments...)
	}
	return images
}

func aligned(addr uint32) bool { return addr%16 == 0 }

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func intelHex(t *testing.T, m formats.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := firmware.WriteIntelHex(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLiveSrecCat(t *testing.T) {
	for name, m := range generated(t) {
		t.Run(name, func(t *testing.T) {
			srecCat, path := tool(t, "srec_cat")
			var input []string
			for i, s := range m.Segments() {
				part := fmt.Sprintf("%d.part", i)
				write(t, path(part), s.Data)
				input = append(input, part, "-binary", "-offset", fmt.Sprintf("0x%x", s.Addr))
			}
			for file, args := range map[string][]string{
				"a.hex":      {"-intel"},
				"16.hex":     {"-intel", "-line-length=44"},
				"a.srec":     {"-motorola"},
				"s37.srec":   {"-motorola", "-address-length=4"},
				"start.hex":  {"-intel", "-execution-start-address=0x100"},
				"start.srec": {"-motorola", "-execution-start-address=0x100"},
			} {
				srecCat(append(append(input[:len(input):len(input)], "-o", file), args...)...)
				wantSame(t, load(t, read(t, path(file)), firmware.Options{}), m)
			}
			if m.End() <= 1<<20 {
				srecCat(append(append(input[:len(input):len(input)], "-o", "seg.hex"), "-intel", "-address-length=3")...)
				wantSame(t, load(t, read(t, path("seg.hex")), firmware.Options{}), m)
			}
			ours := intelHex(t, m)
			// srec_cat lets records pass 64 KiB boundaries, writes LF, and a
			// base record also for base 0.
			theirs := bytes.ReplaceAll(read(t, path("16.hex")), []byte("\n"), []byte("\r\n"))
			if aligned(m.Start()) && !bytes.Equal(bytes.TrimPrefix(theirs, []byte(":020000040000FA\r\n")), ours) {
				t.Error("srec_cat writes another hex file")
			}
			write(t, path("ours.hex"), ours)
			srecCat("ours.hex", "-intel", "-offset", fmt.Sprintf("-0x%x", m.Start()), "-fill", "0xee", "0", fmt.Sprintf("0x%x", m.End()-uint64(m.Start())), "-o", "ours.bin", "-binary")
			wantFlat(t, m, read(t, path("ours.bin")))
		})
	}
}

func TestLiveObjcopy(t *testing.T) {
	for name, m := range generated(t) {
		t.Run(name, func(t *testing.T) {
			objcopy, path := tool(t, "objcopy")
			ours := intelHex(t, m)
			write(t, path("ours.hex"), ours)
			for _, output := range []string{"ihex", "srec"} {
				objcopy("-I", "ihex", "-O", output, "ours.hex", output)
				wantSame(t, load(t, read(t, path(output)), firmware.Options{}), m)
			}
			if m.Start() >= 1<<20 && !bytes.Equal(read(t, path("ihex")), ours) {
				t.Error("objcopy writes another hex file")
			}
			objcopy("-I", "ihex", "-O", "binary", "--gap-fill", "0xee", "ours.hex", "ours.bin")
			wantFlat(t, m, read(t, path("ours.bin")))
		})
	}
}

// wantFlat compares a binary, its gaps filled with 0xee, with the image.
func wantFlat(t *testing.T, m formats.Image, bin []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := firmware.WriteBin(&b, m, 0xee); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), bin) || !bytes.Equal(flat(t, m, 0xee), bin) {
		t.Error("the binaries differ")
	}
}

func TestLiveLinker(t *testing.T) {
	for _, base := range []uint32{0, 0x200, 0x1c000, 0x1_0200, 0x0800_0000, 0x0801_0400} {
		t.Run(fmt.Sprintf("0x%08x", base), func(t *testing.T) {
			gcc, path := tool(t, "arm-none-eabi-gcc")
			objcopy, err := exec.LookPath("arm-none-eabi-objcopy")
			if err != nil {
				t.Skip("arm-none-eabi-objcopy is not installed: only the golden files are compared")
			}
			for _, name := range []string{"app.S", "app.ld"} {
				write(t, path(name), vector(t, name))
			}
			gcc("-mcpu=cortex-m4", "-mthumb", "-g", "-nostdlib", "-T", "app.ld", "-Wl,--defsym,BASE="+fmt.Sprint(base), "-o", "app.elf", "app.S")
			if out, err := exec.CommandContext(t.Context(), objcopy, "-O", "binary", path("app.elf"), path("app.bin")).CombinedOutput(); err != nil {
				t.Fatalf("objcopy: %v\n%s", err, out)
			}
			m := load(t, read(t, path("app.elf")), firmware.Options{})
			if m.Start() != base || !bytes.Equal(flat(t, m, 0), read(t, path("app.bin"))) {
				t.Errorf("objcopy writes another binary: %s", describe(m))
			}
		})
	}
}
