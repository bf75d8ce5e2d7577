package release

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign/verdict"
)

// vectorImage is an image that begins with a vector table.
func vectorImage(reset uint32) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x20010000), reset), make([]byte, 1000))
}

// The addresses of the file are those of its slot, the code is linked for the
// other one, or the slot is right.
func TestLintSlot(t *testing.T) {
	const image = "image: radio.hex"
	for _, tt := range []struct {
		name  string
		base  uint32
		reset uint32
		edits []string
		want  []string
		text  string
	}{
		{name: "first slot", base: radioBase, reset: radioBase + 0x101, edits: []string{image, image + "\n    slot: 0"}},
		{name: "second slot", base: radioSlot1, reset: radioSlot1 + 0x101, edits: []string{image, image + "\n    slot: 1"}},
		{name: "moved to the second slot", base: radioSlot1, reset: radioBase + 0x101, edits: []string{image, image + "\n    slot: 1"},
			want: []string{"image-outside-bank radio"}, text: "the reset handler of radio.hex is at 0x0001c100 in the bank 0x0001c000-0x00083fff, slot 1 is the bank 0x00084000-0x000ebfff"},
		{name: "moved to the first slot", base: radioBase, reset: radioSlot1 + 0x101, edits: []string{image, image + "\n    slot: 0"},
			want: []string{"image-outside-bank radio"}, text: "slot 0 is the bank 0x0001c000-0x00083fff"},
		{name: "vectors that count from 0", base: radioSlot1, reset: 0x101, edits: []string{image, image + "\n    slot: 1"}},
		{name: "no slot", base: radioBase, reset: radioSlot1 + 0x101},
		{name: "no code", base: radioSlot1, reset: 0xffffffff, edits: []string{image, image + "\n    slot: 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, tt.edits...)
			w.write(t, "radio.hex", intelHex(t, int(tt.base), vectorImage(tt.reset)))
			plan, err := w.open(t).Load(Options{Version: "1.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := lint(t, plan)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err != nil {
				mustContain(t, err.Error(), tt.text)
			}
		})
	}
}

// Images that are taken to run from either bank are warned of, where power loss is
// rehearsed at all.
func TestOneBank(t *testing.T) {
	const image = "image: radio.hex"
	const short = "policy: {rehearse: short}\n"
	for _, tt := range []struct {
		name  string
		base  uint32
		reset uint32
		edits []string
		text  string // "" for no warning
	}{
		{name: "linked for the first bank", base: radioBase, reset: radioBase + 0x101, edits: []string{rehearseOff, short},
			text: "radio: two banks take turns, and radio.hex is linked for one: its reset handler is at 0x0001c100 in the bank 0x0001c000-0x00083fff."},
		{name: "linked for the second bank", base: radioBase, reset: radioSlot1 + 0x101, edits: []string{rehearseOff, short},
			text: "at 0x00084100 in the bank 0x00084000-0x000ebfff."},
		{name: "linked for a bank of the board's", base: 0x30000, reset: 0x30101, edits: []string{rehearseOff, short, image, image + "\n    bank: {base: 0x30000, size: 64KiB}"},
			text: "at 0x00030100 in the bank 0x00030000-0x0003ffff."},
		{name: "other boot flow", base: radioBase, reset: radioBase + 0x101},
		{name: "slot", base: radioBase, reset: radioBase + 0x101, edits: []string{rehearseOff, short, image, image + "\n    slot: 0"}},
		{name: "vectors that count from 0", base: radioBase, reset: 0x101, edits: []string{rehearseOff, short}},
		{name: "no vectors", base: radioBase, reset: 0, edits: []string{rehearseOff, short}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkshop(t, tt.edits...)
			w.write(t, "radio.hex", intelHex(t, int(tt.base), vectorImage(tt.reset)))
			w.write(t, "motor.bin", vectorImage(motorBase+0x101)) // has one bank
			got := build(t, w.load(t, "1.0.1"), rand.Reader).draft.Warnings()
			if tt.text == "" {
				if len(got) > 0 {
					t.Errorf("got %v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Reason != verdict.ImageOutsideBank {
				t.Fatalf("got %v, want one warning", got)
			}
			mustContain(t, got[0].String(), tt.text)
		})
	}
}
