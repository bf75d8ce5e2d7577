package match

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// texts have repetitions of every kind that sorting must get right.
func texts() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	t := map[string][]byte{
		"empty":    nil,
		"one":      {7},
		"zeros":    make([]byte, 300),
		"rising":   []byte("abcdefgh"),
		"falling":  []byte("hgfedcba"),
		"periodic": []byte(strings.Repeat("abcab", 60)),
		"english":  []byte("mississippi missed the missing mistress"),
		"end":      append(make([]byte, 50), 255),
	}
	for _, alphabet := range []int{1, 2, 3, 255} {
		b := make([]byte, 500)
		for i := range b {
			b[i] = byte(r.IntN(alphabet + 1))
		}
		t["random "+string(rune('0'+alphabet%10))] = b
	}
	a, b := "a", "ab" // Fibonacci words nest deeply
	for range 12 {
		a, b = b, b+a
	}
	t["fibonacci"] = []byte(b)
	return t
}

func TestSuffixes(t *testing.T) {
	for name, text := range texts() {
		want := make([]int32, len(text))
		for i := range want {
			want[i] = int32(i)
		}
		slices.SortFunc(want, func(a, b int32) int { return bytes.Compare(text[a:], text[b:]) })
		if got := suffixes(text); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestLongest(t *testing.T) {
	for name, text := range texts() {
		x := NewIndex(text)
		for other, from := range texts() {
			for at := range from {
				want := 0
				for i := range text {
					want = max(want, common(text[i:], from[at:]))
				}
				if want < 2 {
					want = 0
				}
				i, n := x.Longest(from[at:])
				if n != want || common(text[i:], from[at:]) < n {
					t.Fatalf("%s from %s+%d: %d bytes at %d, want %d", name, other, at, n, i, want)
				}
			}
		}
	}
}

// check refuses covers that a writer could not use.
func check(t *testing.T, covers []Cover, old, image int) {
	t.Helper()
	end := 0
	for _, c := range covers {
		if c.New < end || c.Length <= 0 || c.Old < 0 || c.New+c.Length > image || c.Old+c.Length > old {
			t.Fatalf("%+v after %d, images of %d and %d bytes", c, end, old, image)
		}
		end = c.New + c.Length
	}
}

func TestCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	old := make([]byte, 4000)
	for i := range old {
		old[i] = byte(r.IntN(256))
	}
	added := []byte("something of its own, in neither half")
	edited := bytes.Clone(old)
	edited[1000] ^= 1
	edited[1010] ^= 1
	for _, c := range []struct {
		name  string
		image []byte
		want  []Cover
	}{
		{"same", old, []Cover{{0, 0, 4000}}},
		{"nothing", nil, nil},
		{"edited", edited, []Cover{{0, 0, 4000}}},
		{"grown in front", append(slices.Clone(added), old...), []Cover{{len(added), 0, 4000}}},
		{"grown behind", append(slices.Clone(old), added...), []Cover{{0, 0, 4000}}},
		{"inserted", slices.Concat(old[:2000], added, old[2000:]), []Cover{{0, 0, 2000}, {2000 + len(added), 2000, 2000}}},
		{"removed", slices.Concat(old[:1500], old[1600:]), []Cover{{0, 0, 1500}, {1500, 1600, 2400}}},
		{"swapped", slices.Concat(old[3000:], old[:3000]), []Cover{{0, 3000, 1000}, {1000, 0, 3000}}},
	} {
		got := NewIndex(old).Covers(c.image, 8)
		check(t, got, len(old), len(c.image))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestCoversOfAnything has no expectation but that covers can be used.
func TestCoversOfAnything(t *testing.T) {
	for _, old := range texts() {
		x := NewIndex(old)
		for _, image := range texts() {
			for _, threshold := range []int{0, 4, 8, 100} {
				check(t, x.Covers(image, threshold), len(old), len(image))
			}
		}
	}
}

// TestCoversOfBlankFlash has images on which a search without a bound would
// take hours.
func TestCoversOfBlankFlash(t *testing.T) {
	old := bytes.Repeat([]byte{0xff}, 1<<20)
	image := bytes.Clone(old)
	for i := 5000; i < len(image); i += 5000 {
		image[i] = 0
	}
	covers := NewIndex(old).Covers(image, 8)
	check(t, covers, len(old), len(image))
	covered := 0
	for _, c := range covers {
		covered += c.Length
	}
	if covered < len(image)*9/10 {
		t.Errorf("%d bytes covered", covered)
	}
}

func FuzzCovers(f *testing.F) {
	for _, text := range texts() {
		f.Add(text, []byte("ssissippi"), byte(8))
	}
	f.Fuzz(func(t *testing.T, old, image []byte, threshold byte) {
		if len(old)+len(image) > 1<<16 {
			t.Skip()
		}
		check(t, NewIndex(old).Covers(image, int(threshold)), len(old), len(image))
	})
}

func BenchmarkIndex(b *testing.B) {
	old := noise(1 << 20)
	b.SetBytes(int64(len(old)))
	for b.Loop() {
		NewIndex(old)
	}
}

func BenchmarkCovers(b *testing.B) {
	old := noise(1 << 20)
	image := slices.Clone(old)
	for i := 100; i < len(image); i += 300 {
		copy(image[i:], "edited")
	}
	x := NewIndex(old)
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		x.Covers(image, 8)
	}
}

// noise repeats itself about as much as machine code.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 0, n)
	for len(b) < n {
		if at := r.IntN(len(b) + 1); len(b) > 100 && r.IntN(4) > 0 && at+8 < len(b) {
			b = append(b, b[at:at+3+r.IntN(5)]...)
		} else {
			b = append(b, byte(r.IntN(256)))
		}
	}
	return b[:n]
}
