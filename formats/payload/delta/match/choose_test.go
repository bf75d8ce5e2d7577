package match

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// inBits are prices in bits of a format in which runs without a difference are
// cheap.
var inBits = Prices{Cover: 40, Fresh: 8, Differ: 9, Again: 3, Same: []int{6, 0}}

// paid is what covers cost.
func paid(old, image []byte, covers []Cover, p Prices) int {
	cost, end := 0, 0
	for _, c := range covers {
		cost += (c.New-end)*p.Fresh + p.Cover
		run := 0
		for i := range c.Length {
			at, from := c.New+i, c.Old+i
			switch {
			case image[at] == old[from]:
				cost += p.Same[min(run, len(p.Same)-1)]
				run++
				continue
			case at >= 4 && from >= 4 && image[at]-old[from] == image[at-4]-old[from-4]:
				cost += p.Again
			default:
				cost += p.Differ
			}
			run = 0
		}
		end = c.New + c.Length
	}
	return cost + (len(image)-end)*p.Fresh
}

func TestChoose(t *testing.T) {
	old := noise(4000)
	added := bytes.Repeat([]byte{1, 2, 3, 4, 5}, 8)
	moved := slices.Clone(old)
	for i := 2000; i < 2400; i += 4 { // a table of addresses
		moved[i] += 16
	}
	moved = slices.Delete(moved, 2400, 2404)
	for _, c := range []struct {
		name       string
		image      []byte
		candidates []Cover
		want       []Cover
	}{
		{"no candidates", old[:100], nil, nil},
		{"one", old, []Cover{{0, 0, 4000}}, []Cover{{0, 0, 4000}}},
		{"grows to both sides", old, []Cover{{490, 490, 3100}}, []Cover{{0, 0, 4000}}},
		{"shrinks", slices.Concat(old[:1000], added), []Cover{{0, 0, 1040}}, []Cover{{0, 0, 1000}}},
		{"parts", slices.Concat(old[:1000], added, old[1000:]), []Cover{{0, 0, 1030}, {1030, 990, 3010}}, []Cover{{0, 0, 1000}, {1040, 1000, 3000}}},
		{"not worth a head", slices.Concat(added, old[:4], added), []Cover{{40, 0, 4}}, nil},
		{"a distance of a word more", moved, []Cover{{0, 0, 2400}}, []Cover{{0, 0, 2400}, {2400, 2404, reach}}},
	} {
		got := Choose(old, c.image, c.candidates, inBits)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestChooseOfAnything finds covers that can be used and cost no more than those
// of one threshold.
func TestChooseOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 30 {
		old := noise(1 + r.IntN(3000))
		image := slices.Clone(old)
		for range r.IntN(60) {
			at := r.IntN(len(image))
			switch r.IntN(3) {
			case 0:
				image[at]++
			case 1:
				image = slices.Insert(image, at, noise(1+r.IntN(30))...)
			case 2:
				image = slices.Delete(image, at, min(at+1+r.IntN(30), len(image)))
			}
			if len(image) == 0 {
				image = []byte{1}
			}
		}
		x := NewIndex(old)
		var all []Cover
		least := len(image) * inBits.Fresh
		for _, threshold := range []int{2, 8} {
			covers := x.Covers(image, threshold)
			all = append(all, covers...)
			least = min(least, paid(old, image, covers, inBits))
		}
		got := Choose(old, image, all, inBits)
		check(t, got, len(old), len(image))
		if cost := paid(old, image, got, inBits); cost > least+least/100 {
			t.Errorf("%d and %d bytes: costs %d, a threshold alone %d", len(old), len(image), cost, least)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	old := noise(1 << 18)
	image := slices.Clone(old)
	for i := 100; i < len(image); i += 300 {
		copy(image[i:], "edited")
	}
	x := NewIndex(old)
	candidates := slices.Concat(x.Covers(image, 2), x.Covers(image, 8))
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		Choose(old, image, candidates, inBits)
	}
}
