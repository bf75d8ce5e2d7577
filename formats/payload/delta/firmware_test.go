package delta

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// A function of a made-up program, to be linked at different addresses.
type function struct {
	body  []uint16 // a call is a zero, its target in calls
	calls []int    // ids of functions
	pool  []int    // of words behind the body: id of a function, or less than 0 for a variable
}

const (
	testBase = 0x8000
	testRAM  = 0x20000000
)

func testParams() Params {
	return Params{OldBase: testBase, NewBase: testBase, RAMStart: testRAM, RAMEnd: testRAM + 0x10000}
}

// A program is functions in the order of linking.
type program struct {
	order     []int
	functions map[int]function
}

// newProgram makes up n functions of instructions that real ones are full of.
func newProgram(r *rand.Rand, n int) program {
	p := program{functions: map[int]function{}}
	for id := range n {
		p.order = append(p.order, id)
		p.functions[id] = newFunction(r, n)
	}
	return p
}

func newFunction(r *rand.Rand, n int) function {
	f := function{body: []uint16{0xb510}}
	for range 5 + r.IntN(40) {
		switch r.IntN(8) {
		case 0:
			f.body = append(f.body, 0)
			f.calls = append(f.calls, r.IntN(n))
		case 1:
			f.body = append(f.body, 0x4800|uint16(r.IntN(4))<<8|uint16(r.IntN(8)))
		default:
			f.body = append(f.body, []uint16{0x2000, 0x6800, 0x4600, 0x3001, 0xd100}[r.IntN(5)]|uint16(r.IntN(16)))
		}
	}
	f.body = append(f.body, 0xbd10)
	for range r.IntN(4) {
		f.pool = append(f.pool, r.IntN(2*n)-n)
	}
	return f
}

// link returns the program's image. Variables move by ram bytes.
func (p program) link(base, ram uint32) []byte {
	at := map[int]int{}
	size := 0
	for _, id := range p.order {
		at[id] = size
		f := p.functions[id]
		size = (size+2*len(f.body)+2*len(f.calls)+3)&^3 + 4*len(f.pool)
	}
	image := make([]byte, 0, size)
	for _, id := range p.order {
		f := p.functions[id]
		call := 0
		for _, h := range f.body {
			if h != 0 {
				image = binary.LittleEndian.AppendUint16(image, h)
				continue
			}
			to, there := at[f.calls[call]]
			if !there {
				to = len(image) // the function was removed
			}
			call++
			image = binary.LittleEndian.AppendUint32(image, relative(setField(0xf800f000, uint32(to)/2), len(image)))
		}
		for len(image)%4 != 0 {
			image = append(image, 0, 0xbf)
		}
		for _, id := range f.pool {
			word := testRAM + ram + uint32(-id)*4
			if id >= 0 {
				word = base + uint32(at[id]) | 1
			}
			image = binary.LittleEndian.AppendUint32(image, word)
		}
	}
	return image
}

// edited returns a program with a few functions changed, added and removed.
func (p program) edited(r *rand.Rand, edits int) program {
	q := program{order: slices.Clone(p.order), functions: map[int]function{}}
	for id, f := range p.functions {
		q.functions[id] = f
	}
	n := len(p.order)
	for i := range edits {
		at := r.IntN(len(q.order))
		id := q.order[at]
		switch r.IntN(3) {
		case 0:
			q.functions[id] = newFunction(r, n)
		case 1:
			q.functions[n+i] = newFunction(r, n)
			q.order = slices.Insert(q.order, at, n+i)
		default:
			q.order = slices.Delete(q.order, at, at+1)
		}
	}
	return q
}
