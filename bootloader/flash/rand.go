package flash

import "math/bits"

// Rand is a small deterministic generator (SplitMix64: Steele, Lea, Flood,
// "Fast splittable pseudorandom number generators", 2014). It decides which
// cells a power loss hits; it is for nothing that has to be unpredictable. The
// zero value is the generator of seed 0.
type Rand struct{ state uint64 }

// NewRand returns the generator that depends on a seed and, where several are
// needed, on what tells them apart.
func NewRand(seed uint64, parts ...uint64) *Rand {
	r := &Rand{seed}
	for _, p := range parts {
		r.state = r.Uint64() ^ p
	}
	return r
}

// Uint64 returns the next 64 bits.
func (r *Rand) Uint64() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// IntN returns a number from 0 to n-1. n is at least 1.
func (r *Rand) IntN(n int) int {
	hi, _ := bits.Mul64(r.Uint64(), uint64(n))
	return int(hi)
}

// Byte returns eight random bits.
func (r *Rand) Byte() byte { return byte(r.Uint64() >> 56) }

// Fill overwrites p with random bytes.
func (r *Rand) Fill(p []byte) {
	for i := range p {
		p[i] = r.Byte()
	}
}
