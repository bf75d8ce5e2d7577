package hpatchlite

import (
	"bytes"
	"testing"

	"github.com/otapack/otapack/testvectors"
)

// pairs of images in testvectors/delta.
var pairs = []struct{ name, old, image string }{
	{"mc1-patch", "mc-nrf51-m0-7.0.6", "mc-nrf51-m0-8.1.9"},
	{"mc1-minor", "mc-nrf51-m0-2.1.8", "mc-nrf51-m0-4.0.24"},
	{"mc1-major", "mc-nrf51-m0-0.14.58", "mc-nrf51-m0-1.4.19"},
	{"mc2-minor", "mc-nrf52-m4-4.0.24", "mc-nrf52-m4-7.0.6"},
	{"mc2-patch", "mc-nrf52-m4-7.0.6", "mc-nrf52-m4-8.1.9"},
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Read("delta/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestApplied reads a patch that the original decoder has applied, and writes one
// that is no larger.
func TestApplied(t *testing.T) {
	old, image, patch := read(t, pairs[0].old+".bin"), read(t, pairs[0].image+".bin"), read(t, "mc1-patch.hpatchlite")
	got, err := Decode(old, patch, len(image))
	if err != nil || !bytes.Equal(got, image) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	ours, err := Encode(t.Context(), old, image, DefaultDictionary)
	if err != nil || len(ours) > len(patch) {
		t.Errorf("%d bytes, the patch in testvectors has %d: %v", len(ours), len(patch), err)
	}
}

// BenchmarkPairs reports the sizes of docs/payload-codecs.md.
func BenchmarkPairs(b *testing.B) {
	for _, p := range pairs {
		old, image := read(b, p.old+".bin"), read(b, p.image+".bin")
		b.Run(p.name, func(b *testing.B) {
			var patch []byte
			for b.Loop() {
				var err error
				if patch, err = Encode(b.Context(), old, image, DefaultDictionary); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(patch)), "patch-bytes")
		})
	}
}
