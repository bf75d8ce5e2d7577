package lz

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestAt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := make([]byte, 600)
	for i := range random {
		random[i] = byte(r.IntN(3))
	}
	for _, data := range [][]byte{nil, {1}, bytes.Repeat([]byte{7}, 50), []byte("abcabcabdabcabd"), random} {
		for _, window := range []int{1, 7, 200} {
			f := NewFinder(data, window, 20)
			for i := range data {
				got := f.At(nil, i)
				// Nearest and longest by trying every distance.
				var want []Match
				best := 1
				for d := 1; d <= min(i, window); d++ {
					n := 0
					for n < 20 && i+n < len(data) && data[i+n] == data[i-d+n] {
						n++
					}
					if n != f.Length(i, d) {
						t.Fatalf("%d at distance %d: length %d, want %d", i, d, f.Length(i, d), n)
					}
					if n > best {
						best = n
						want = append(want, Match{d, n})
					}
				}
				if len(got) != len(want) {
					t.Fatalf("%d of %q, window %d: got %v, want %v", i, data, window, got, want)
				}
				for k := range want {
					if got[k] != want[k] {
						t.Fatalf("%d of %q, window %d: got %v, want %v", i, data, window, got, want)
					}
				}
			}
		}
	}
}

func TestLengthOutsideOfTheWindow(t *testing.T) {
	f := NewFinder(make([]byte, 10), 4, 10)
	for _, c := range []struct{ i, distance, want int }{{5, 4, 5}, {5, 5, 0}, {2, 3, 0}, {9, 1, 1}} {
		if got := f.Length(c.i, c.distance); got != c.want {
			t.Errorf("%d, distance %d: got %d, want %d", c.i, c.distance, got, c.want)
		}
	}
}
