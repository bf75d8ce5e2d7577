package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/otapack/otapack/formats/payload/delta/match"
)

// What Encode tries.
var (
	thresholds = []int{3, 5, 8} // of the matcher
	shortest   = []int{8, 12}   // covers, in bytes
)

const (
	rounds      = 3 // of matching against the relocated old image
	passes      = 3 // of choosing tokens
	minMapCover = 24
)

// Encode returns a patch that makes the new image from the old one. Without an
// old image, the patch holds the whole new one, compressed. The same images and
// parameters give the same patch. It tries several ways to see what the images
// have in common, on all processors, and decodes the smallest patch before it
// returns it.
func Encode(ctx context.Context, old, image []byte, p Params) ([]byte, error) {
	if p.MapSize == 0 {
		p.MapSize = DefaultMap
	}
	h := Header{Params: p, OldLength: len(old), NewLength: len(image)}
	if err := h.check(); err != nil {
		return nil, err
	}
	e := &encoder{Header: h, image: bytes.Clone(image), old: bytes.Clone(old)}
	makeAbsolute(e.image, 0)
	makeAbsolute(e.old, 0)
	best, err := e.best(ctx)
	if err != nil {
		return nil, err
	}
	patch := append(h.append(nil), best...)
	switch got, err := Decode(patch, old, len(image)); {
	case err != nil:
		return nil, fmt.Errorf("decoding the patch: %w", err)
	case !slices.Equal(got, image):
		return nil, errors.New("the patch does not decode to the new image")
	}
	return patch, nil
}

// An encoder has both images in absolute form.
type encoder struct {
	Header
	old, image []byte
}

// A trial is one way to cover the new image.
type trial struct {
	covers   []cover
	shortest int
}

// best codes all trials and returns the smallest stream, of equal ones the
// first.
func (e *encoder) best(ctx context.Context) ([]byte, error) {
	trials, err := e.trials(ctx)
	if err != nil {
		return nil, err
	}
	streams := make([][]byte, len(trials))
	parallel(ctx, len(trials), func(i int) {
		streams[i] = e.encode(trials[i])
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.MinFunc(streams, func(a, b []byte) int { return len(a) - len(b) }), nil
}

// trials matches the images, first as they are and then with the old one
// relocated as the covers so far suggest.
func (e *encoder) trials(ctx context.Context) ([]trial, error) {
	if len(e.old) == 0 {
		return []trial{{}}, nil
	}
	plain := match.NewIndex(e.old)
	found := make([][]trial, len(thresholds))
	parallel(ctx, len(thresholds), func(i int) {
		covers := plain.Covers(e.image, thresholds[i])
		for round := 0; ; round++ {
			for _, n := range shortest {
				found[i] = append(found[i], trial{covers, n})
			}
			if round == rounds || ctx.Err() != nil {
				return
			}
			addresses := newAddressMap(e.mapOf(covers))
			relocated := e.relocate(e.old, addresses, e.newRAMMap(e.old, e.image, covers))
			covers = match.NewIndex(relocated).Covers(e.image, thresholds[i])
		}
	})
	return distinct(slices.Concat(found...)), ctx.Err()
}

// distinct leaves out trials like earlier ones: images that are alike are
// covered alike at every threshold.
func distinct(trials []trial) []trial {
	var d []trial
	for _, t := range trials {
		t.covers = slices.DeleteFunc(slices.Clone(t.covers), func(c cover) bool { return c.Length < t.shortest })
		if !slices.ContainsFunc(d, func(o trial) bool { return slices.Equal(o.covers, t.covers) }) {
			d = append(d, t)
		}
	}
	return d
}

// parallel calls do with 0 to n-1 on all processors.
func parallel(ctx context.Context, n int, do func(i int)) {
	var wait sync.WaitGroup
	work := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for i := range work {
				if ctx.Err() == nil {
					do(i)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wait.Wait()
}

// mapOf picks the longest covers for the map.
func (e *encoder) mapOf(covers []cover) []cover {
	long := slices.DeleteFunc(slices.Clone(covers), func(c cover) bool { return c.Length < minMapCover })
	if len(long) > e.MapSize {
		lengths := make([]int, len(long))
		for i, c := range long {
			lengths[i] = c.Length
		}
		slices.Sort(lengths)
		least := lengths[len(lengths)-e.MapSize]
		long = slices.DeleteFunc(long, func(c cover) bool { return c.Length < least })
		long = long[:min(len(long), e.MapSize)]
	}
	return long
}

// encode codes one trial.
func (e *encoder) encode(t trial) []byte {
	inMap := e.mapOf(t.covers)
	p := &plan{image: e.image, tokens: e.tokens(t.covers, inMap)}
	s := newStream(e.Header, &window{size: len(e.old), page: e.old}, func(at int) byte { return e.image[at] })
	w := newWriter()
	s.codeMap(w, inMap)
	for s.pos < s.NewLength {
		if s.copying > 0 {
			s.pos += s.copying
			s.last, s.copying = uint32(e.image[s.pos-2])<<8|uint32(e.image[s.pos-1]), 0
			continue
		}
		s.step(w, p)
	}
	return w.finish()
}

// tokens covers what the map does not. Each pass knows better what a token
// costs.
func (e *encoder) tokens(covers, inMap []cover) []token {
	var tokens []token
	price := defaultPrices()
	for range passes {
		f := newFinder(e.image)
		tokens = tokens[:0]
		at, next := 0, 0
		for _, c := range covers {
			tokens = append(tokens, f.parseGap(at, c.New, price)...)
			if next < len(inMap) && inMap[next] == c {
				next++
			} else {
				tokens = append(tokens, token{afterCover, c.New, c.Length, c.Old})
			}
			at = c.New + c.Length
		}
		tokens = append(tokens, f.parseGap(at, len(e.image), price)...)
		price = learnPrices(e.image, tokens)
	}
	return tokens
}
