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
		p.manifest.Install.Received, p.manifest.Image = p.manifest.Image, sum(plain)
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

// benchmarkRehearse is a default rehearsal: every 256 bytes, one second cut for
// each first one.
func benchmarkRehearse(b *testing.B, radio, motor int, change func(*Rehearsal)) {
	r := brush(b, radio, motor)
	r.Pairs = 1
	var heap uint64
	r.Progress = func(done, _ int) {
		if done%200 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = max(heap, m.HeapInuse)
		}
	}
	change(&r)
	runs := 0
	for b.Loop() {
		o, err := r.Run(b.Context())
		if err != nil || len(o.Failures) > 0 {
			b.Fatalf("%v, %+v", err, o)
		}
		runs += o.Runs
	}
	b.ReportMetric(float64(runs)/float64(b.N), "runs/op")
	b.ReportMetric(float64(runs)/b.Elapsed().Seconds(), "runs/s")
	b.ReportMetric(float64(heap)/(1<<20), "heap-MiB")
}

func BenchmarkRehearse64(b *testing.B)  { benchmarkRehearse(b, 64<<10, 32<<10, func(*Rehearsal) {}) }
func BenchmarkRehearse200(b *testing.B) { benchmarkRehearse(b, 200<<10, 64<<10, func(*Rehearsal) {}) }

// BenchmarkRehearseShort is what a release does on images of the size of
// examples/toothbrush.
func BenchmarkRehearseShort(b *testing.B) {
	benchmarkRehearse(b, 171<<10, 2<<10, func(r *Rehearsal) { r.Sample, r.Pairs, r.Progress = 64, 0, nil })
}

// BenchmarkRehearseExhaustive cuts at every write unit, without second cuts.
func BenchmarkRehearseExhaustive(b *testing.B) {
	benchmarkRehearse(b, 16<<10, 8<<10, func(r *Rehearsal) { r.Grain, r.Pairs = 1, 0 })
}
