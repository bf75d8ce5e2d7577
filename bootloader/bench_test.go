package bootloader

import (
	"crypto/sha256"
	"io"
	"runtime"
	"testing"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
)

// pattern is an endless payload that takes no memory.
type pattern struct{}

func (pattern) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = byte(off+int64(i)) ^ byte((off+int64(i))>>8)
	}
	return len(p), nil
}

// endless makes a parcel whose payload is the first size bytes of a pattern, for
// a chip with one large bank.
func endless(t testing.TB, template string, size int64) *parcel {
	t.Helper()
	chip := Chips()[0]
	chip.Banks = []Region{{0, 1 << 30}}
	p := newParcel(t, chip, template, testImage(t, 16))
	sum := func(r io.Reader) manifest.Content {
		h := sha256.New()
		if n, err := io.Copy(h, r); err != nil || n != size {
			t.Fatalf("%d of %d bytes, %v", n, size, err)
		}
		return manifest.Content{Digest: manifest.Digest(h.Sum(nil)), Size: uint32(size)}
	}
	payload := func() io.Reader { return io.NewSectionReader(pattern{}, 0, size) }
	p.manifest.Image = sum(payload())
	if template == "T3" {
		// The pattern is the ciphertext, the image what it decrypts to.
		header := Header(*p.manifest.Install.Encryption)
		key, err := p.device.Identity.Unwrap(header)
		if err != nil {
			t.Fatal(err)
		}
		defer key.Wipe()
		plain, err := encrypt.NewReader(payload(), header, key)
		if err != nil {
			t.Fatal(err)
		}
		p.manifest.Install.Ciphertext, p.manifest.Image = p.manifest.Image, sum(plain)
	}
	return p
}

// allocated returns the bytes that one verification allocates.
func allocated(t *testing.T, template string, size int64) uint64 {
	t.Helper()
	p := endless(t, template, size)
	envelope := p.envelope(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	v, trace, err := Verify(t.Context(), p.device, envelope, Payload{pattern{}, size}, Options{})
	runtime.ReadMemStats(&after)
	if err != nil || !v.Complete() {
		t.Fatalf("%v after %s", err, text(trace))
	}
	return after.TotalAlloc - before.TotalAlloc
}

// Memory does not grow with the image.
func TestMemory(t *testing.T) {
	for _, template := range []string{"T1", "T3"} {
		small := allocated(t, template, 1<<20)
		large := allocated(t, template, 64<<20)
		// The slack is for what the runtime allocates meanwhile.
		if large > small+16<<10 || large > 256<<10 {
			t.Errorf("%s: verifying 64 MiB allocates %d bytes, 1 MiB %d", template, large, small)
		}
	}
}

func benchmarkVerify(b *testing.B, template string) {
	const size = 174784 // the radio image of examples/toothbrush
	p := newParcel(b, Chips()[0], template, testImage(b, size))
	envelope := p.envelope(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.verify(b, envelope); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyT1(b *testing.B) { benchmarkVerify(b, "T1") }
func BenchmarkVerifyT3(b *testing.B) { benchmarkVerify(b, "T3") }
