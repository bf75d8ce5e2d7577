package delta

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestGuess(t *testing.T) {
	p := newProgram(rand.New(rand.NewPCG(9, 9)), 300)
	// The vector table is the first function's literals, as it were.
	for _, base := range []uint32{0, 0x8000, 0x1c000, 0x0800c200} {
		body := p.link(base+64, 0)
		image := binary.LittleEndian.AppendUint32(nil, testRAM+0x4000)
		for i := range 15 {
			at := 0
			for n := 0; n <= i*7; at += 2 {
				if binary.LittleEndian.Uint16(body[at:]) == 0xb510 {
					n++
				}
			}
			image = binary.LittleEndian.AppendUint32(image, base+64+uint32(at-2)|1)
		}
		image = append(image, body...)
		got, start, end, ok := Guess(image)
		if !ok || got != base || start != testRAM || end != testRAM+0x4000 {
			t.Errorf("base %#x: %#x, RAM %#x to %#x, %v", base, got, start, end, ok)
		}
		if _, _, _, ok := Guess(image[64:]); ok {
			t.Errorf("base %#x: guessed without a vector table", base)
		}
		for i := 64; i < len(image); i++ {
			image[i] = byte(i)
		}
		if _, _, _, ok := Guess(image); ok {
			t.Errorf("base %#x: guessed without functions", base)
		}
	}
	if _, _, _, ok := Guess(nil); ok {
		t.Error("guessed from nothing")
	}
}
