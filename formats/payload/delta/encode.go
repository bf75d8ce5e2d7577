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
	thresholds = []int{3, 6, 12} // of the matcher

	// offers are in 1/16 bit, Fresh for a byte that costs 1000/16 bits by freshPrices.
	offers = []match.Prices{
		{Cover: 250, Shift: 14, Fresh: 860, Differ: 120, Again: 70, Same: []int{12, 5, 0}},
		{Cover: 200, Shift: 15, Fresh: 860, Differ: 130, Again: 60, Same: []int{15, 5, 1}},
		{Cover: 330, Shift: 13, Fresh: 900, Differ: 120, Again: 60, Same: []int{10, 6, 1}},
	}
)

const (
	rounds = 3 // of matching against the relocated old image
	passes = 3 // of choosing tokens
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
	e.finder = newFinder(e.image)
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
	finder     *finder // of repeats in the new image
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

// trials returns ways to cover the new image. It matches the images at several
// thresholds, first as they are and then with the old one relocated as the
// covers so far suggest. From all that is found it chooses by prices.
func (e *encoder) trials(ctx context.Context) ([][]cover, error) {
	if len(e.old) == 0 {
		return [][]cover{nil}, nil
	}
	plain := match.NewIndex(e.old)
	found := make([][]cover, len(thresholds))
	var sorting sync.Mutex // suffixes: one after the other, for the memory that it takes
	var fresh []uint16
	parallel(ctx, len(thresholds)+1, func(i int) {
		if i == len(thresholds) {
			fresh = e.freshPrices()
			return
		}
		found[i] = plain.Covers(e.image, thresholds[i])
		for range rounds {
			if ctx.Err() == nil {
				relocated := e.relocated(found[i])
				sorting.Lock()
				index := match.NewIndex(relocated)
				sorting.Unlock()
				found[i] = index.Covers(e.image, thresholds[i])
			}
		}
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// A poor relocation is good enough to choose the covers of a better one.
	all := slices.Concat(found...)
	relocated := e.relocated(found[1])
	for range 2 {
		relocated = e.relocated(match.Choose(relocated, e.image, all, at(offers[0], fresh)))
	}
	trials := make([][]cover, len(offers))
	parallel(ctx, len(trials), func(i int) {
		trials[i] = match.Choose(relocated, e.image, all, at(offers[i], fresh))
	})
	return distinct(trials), ctx.Err()
}

// relocated returns the old image as covers suggest.
func (e *encoder) relocated(covers []cover) []byte {
	return e.relocate(e.old, newAddressMap(e.mapOf(covers)), e.newRAMMap(e.old, e.image, covers))
}

// pricedAtOnce is how many bytes are priced at once, which takes twenty times as
// much memory.
const pricedAtOnce = 64 << 10

// freshPrices returns what each byte of the new image costs in 1/16 bit when no
// cover has it, as a literal or in a repeat.
func (e *encoder) freshPrices() []uint16 {
	at := make([]uint16, len(e.image))
	for from := 0; from < len(at); from += pricedAtOnce {
		e.price(at, from, min(from+pricedAtOnce, len(at)))
	}
	return at
}

// price fills in the prices of a part of the image.
func (e *encoder) price(at []uint16, from, end int) {
	p := defaultPrices()
	for _, h := range e.finder.parse(from, end, p) {
		begin := end - int(h.length)
		price := p.isLiteral + p.literal[begin&1][e.image[begin]]
		if h.place == afterRepeat {
			price = p.isRepeat + p.newDistance + p.distance[size(int(h.from)-1)] + p.length[size(int(h.length)-2)]
		}
		for i := begin; i < end; i++ {
			at[i] = uint16(16 * price / float64(h.length))
		}
		end = begin
	}
}

// at returns prices with the share of each byte filled in.
func at(p match.Prices, fresh []uint16) match.Prices {
	p.At = fresh
	return p
}

// distinct leaves out ways like earlier ones.
func distinct(trials [][]cover) [][]cover {
	var d [][]cover
	for _, t := range trials {
		if !slices.ContainsFunc(d, func(o []cover) bool { return slices.Equal(o, t) }) {
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

// encode codes one way to cover the new image.
func (e *encoder) encode(covers []cover) []byte {
	inMap := e.mapOf(covers)
	p := &plan{image: e.image, tokens: e.tokens(covers, inMap)}
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
		tokens = tokens[:0]
		at, next := 0, 0
		for _, c := range covers {
			tokens = append(tokens, e.finder.parseGap(at, c.New, price)...)
			if next < len(inMap) && inMap[next] == c {
				next++
			} else {
				tokens = append(tokens, token{afterCover, c.New, c.Length, c.Old})
			}
			at = c.New + c.Length
		}
		tokens = append(tokens, e.finder.parseGap(at, len(e.image), price)...)
		price = learnPrices(e.image, tokens)
	}
	return tokens
}
