package bootloader

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
)

// detected is the |t| above which a difference between two classes of inputs is
// real. Around 4.5 busy machines give false alarms.
const detected = 10

// BenchmarkDudect times functions with two classes of inputs and reports the t
// of Welch's test between them, as dudect does (Reparaz, Balasch, Verbauwhede:
// "Dude, is my code constant time?"). It is a report, not a proof: make
// consttime is the gate. Only the controls, which leak, are held to a result.
func BenchmarkDudect(b *testing.B) {
	secret := make([]byte, 32)
	rand.Read(secret)
	kek := encrypt.NewKEK(nil, [16]byte(secret))
	header := encrypt.Header{
		Algorithm: encrypt.A128CTR, IV: make([]byte, 16),
		Recipients: []encrypt.WrappedKey{{Management: encrypt.A128KW}},
	}
	fixed := slices.Clone(secret) // differs in the last byte only: the worst for an early exit
	fixed[31] ^= 1
	for _, bm := range []struct {
		name    string
		control bool // leaks
		run     func(input []byte) bool
	}{
		{"control-early-exit", true, func(in []byte) bool { return equalEarly(secret, in) }},
		{"bytes.Equal", false, func(in []byte) bool { return bytes.Equal(secret, in) }},
		{"subtle.ConstantTimeCompare", false, func(in []byte) bool { return subtle.ConstantTimeCompare(secret, in) == 1 }},
		{"manifest.UUID.Equal", false, func(in []byte) bool { return manifest.UUID(secret[16:]).Equal(manifest.UUID(in[16:])) }},
		{"encrypt.KEK.Unwrap", false, func(in []byte) bool {
			header.Recipients[0].Wrapped = [24]byte(in)
			_, err := kek.Unwrap(header)
			return err == nil
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			var samples [2][]float64
			for b.Loop() {
				batch(&samples, fixed, bm.run)
			}
			t := welch(samples)
			b.ReportMetric(t, "|t|")
			b.ReportMetric(float64(len(samples[0])+len(samples[1])), "samples")
			if bm.control && t < detected {
				b.Errorf("|t| is %.1f: the control leaks and was not detected", t)
			}
		})
	}
}

// batch adds measurements of both classes, mixed: the fixed input, and random
// ones. Each is of 16 calls, since the clock is coarse.
func batch(samples *[2][]float64, fixed []byte, run func([]byte) bool) {
	const size, calls, most = 4000, 16, 1 << 20
	inputs, classes := make([]byte, size*len(fixed)), make([]byte, size)
	rand.Read(inputs)
	rand.Read(classes)
	for i, class := range classes {
		if class&1 == 0 {
			copy(inputs[i*len(fixed):], fixed)
		}
	}
	for i, class := range classes {
		input := inputs[i*len(fixed):][:len(fixed)]
		start := time.Now()
		for range calls {
			run(input)
		}
		elapsed := time.Since(start)
		if s := &samples[class&1]; len(*s) < most {
			*s = append(*s, float64(elapsed))
		}
	}
}

// welch returns the largest |t| over all measurements and over those below some
// percentiles: interruptions make the tail, and hide what is small.
func welch(samples [2][]float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(samples[0], samples[1])))
	largest := 0.0
	for _, percent := range []int{50, 80, 90, 95, 99, 100} {
		limit := all[(len(all)-1)*percent/100]
		var mean, variance, n [2]float64
		for class, s := range samples {
			for _, x := range s { // Welford's sums
				if x > limit {
					continue
				}
				n[class]++
				d := x - mean[class]
				mean[class] += d / n[class]
				variance[class] += d * (x - mean[class])
			}
		}
		if n[0] < 100 || n[1] < 100 {
			// One class is all but absent below the limit: nothing to compare, and
			// the limits above will show it.
			continue
		}
		error2 := variance[0]/(n[0]-1)/n[0] + variance[1]/(n[1]-1)/n[1]
		if error2 > 0 {
			largest = max(largest, math.Abs(mean[0]-mean[1])/math.Sqrt(error2))
		}
	}
	return largest
}

// The statistic itself, on measurements that are made up.
func TestWelch(t *testing.T) {
	made := func(shift float64) (s [2][]float64) {
		noise := make([]byte, 20000)
		rand.Read(noise)
		for i, x := range noise {
			s[i%2] = append(s[i%2], 100+float64(x)/64+shift*float64(i%2))
		}
		return s
	}
	if got := welch(made(0)); got > detected {
		t.Errorf("|t| is %.1f without a difference", got)
	}
	if got := welch(made(1)); got < detected {
		t.Errorf("|t| is %.1f with one", got)
	}
}
