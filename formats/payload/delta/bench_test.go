package delta

import (
	"bytes"
	"io"
	"math"
	"testing"
)

// BenchmarkPairs reports for each pair of real releases the patch's bytes and
// their ratio to the best peer's, and times encoder and decoder. The last one
// reports the geometric mean of the ratios.
func BenchmarkPairs(b *testing.B) {
	product, all := 1.0, pairs(b)
	for _, p := range all {
		patch := encode(b, p.old, p.image, p.Params)
		ratio := float64(len(patch)) / float64(p.peerBytes)
		product *= ratio
		b.Run(p.name+"/encode", func(b *testing.B) {
			for b.Loop() {
				encode(b, p.old, p.image, p.Params)
			}
			b.ReportMetric(float64(len(patch)), "bytes")
			b.ReportMetric(ratio, "of-best-peer")
		})
		b.Run(p.name+"/decode", func(b *testing.B) { benchmarkDecode(b, patch, p.old, len(p.image)) })
	}
	b.Run("mean", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(math.Pow(product, 1/float64(len(all))), "of-best-peer")
	})
}

// BenchmarkWhole is a patch without an old image.
func BenchmarkWhole(b *testing.B) {
	p := pairs(b)[4]
	patch := encode(b, nil, p.image, p.Params)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			encode(b, nil, p.image, p.Params)
		}
		b.ReportMetric(float64(len(patch)), "bytes")
		b.ReportMetric(float64(len(patch))/float64(len(p.image)), "of-image")
	})
	b.Run("decode", func(b *testing.B) { benchmarkDecode(b, patch, nil, len(p.image)) })
}

// benchmarkDecode reads the image in the pieces that a device writes.
func benchmarkDecode(b *testing.B, patch, old []byte, length int) {
	written := &memory{bytes: make([]byte, 0, length)}
	b.SetBytes(int64(length))
	for b.Loop() {
		written.bytes = written.bytes[:0]
		d, err := NewDecoder(bytes.NewReader(patch), bytes.NewReader(old), written, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(written, d); n != int64(length) || err != nil {
			b.Fatalf("%d bytes: %v", n, err)
		}
	}
}
