package chunk

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign/verdict"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCRC16(t *testing.T) {
	for text, want := range map[string]uint16{"123456789": 0x29b1, "": 0xffff, "A": 0xb915} { // as Python: binascii.crc_hqx(text, 0xffff)
		if got := CRC16([]byte(text)); got != want {
			t.Errorf("%q: got %04x, want %04x", text, got, want)
		}
	}
	data := object(70)
	for n := range data {
		crc := uint16(crcInitial)
		for _, b := range data[:n] {
			crc = crcStep(crc, b)
		}
		if got := CRC16(data[:n]); got != crc {
			t.Errorf("%d bytes: %04x at once, %04x one by one", n, got, crc)
		}
	}
}

// The wire of docs/transfer.md.
var wire = []struct {
	hex     string
	message Message
}{
	{"02000000 c0ffee", Message{Kind: Data, Index: 2, Payload: []byte{0xc0, 0xff, 0xee}}},
	{"f1ffffff 0102030405060708 c0aa0200 ee08", Message{Kind: Begin, Session: Session{1, 2, 3, 4, 5, 6, 7, 8}, Size: 174784, Chunk: 238, Every: 8}},
	{"f2ffffff 0102030405060708 df020000", Message{Kind: Ack, Session: Session{1, 2, 3, 4, 5, 6, 7, 8}, Index: 735}},
	{"f4ffffff 0102030405060708 c0aa0200", Message{Kind: Done, Session: Session{1, 2, 3, 4, 5, 6, 7, 8}, Size: 174784}},
	{"f3ffffff 0102030405060708 11000000 04", Message{Kind: Nack, Session: Session{1, 2, 3, 4, 5, 6, 7, 8}, Index: 17, Refusal: RefusedOrder}},
}

func TestMessages(t *testing.T) {
	for _, w := range wire {
		b := unhex(t, w.hex)
		if got := w.message.Append([]byte{9}); !bytes.Equal(got[1:], b) || got[0] != 9 {
			t.Errorf("%+v: got % x, want % x", w.message, got[1:], b)
		}
		got, err := Parse(b)
		if err != nil || !bytes.Equal(got.Append(nil), b) || got.Kind != w.message.Kind || got.Index != w.message.Index || got.Refusal != w.message.Refusal ||
			got.Session != w.message.Session || got.Size != w.message.Size || got.Chunk != w.message.Chunk || got.Every != w.message.Every {
			t.Errorf("%s: got %+v, %v, want %+v", w.hex, got, err, w.message)
		}
	}
	// The last chunk of the largest object, and its acknowledgement.
	for _, text := range []string{"92244912 0000", "f2ffffff 0102030405060708 93244912"} {
		if _, err := Parse(unhex(t, text)); err != nil {
			t.Error(err)
		}
	}
	if n := chunks(MaxSize, MinChunk); n != maxIndex+1 {
		t.Errorf("%d chunks of the largest object", n)
	}
	if got := (Message{}).Append(nil); len(got) != 0 {
		t.Errorf("no message is % x", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]verdict.Reason{
		"":         verdict.ChunkLength,
		"000000":   verdict.ChunkLength,
		"00000000": verdict.ChunkLength, // an empty chunk
		"00000000" + strings.Repeat("00", MaxChunk+1): verdict.ChunkLength,
		"93244912 00":                               verdict.ChunkMessage, // no object has this chunk
		"f0ffffff 00":                               verdict.ChunkMessage,
		"f5ffffff 0102030405060708 11000000":        verdict.ChunkMessage,
		"f4ffffff 0102030405060708 00000000":        verdict.ChunkMessage,
		"f4ffffff 0102030405060708 ffffffff":        verdict.ChunkMessage,
		"f4ffffff 0102030405060708 c0aa020000":      verdict.ChunkLength,
		"f1ffffff 0102030405060708 c0aa0200 ee":     verdict.ChunkLength,
		"f1ffffff 0102030405060708 c0aa0200 ee0800": verdict.ChunkLength,
		"f1ffffff 0102030405060708 00000000 ee08":   verdict.ChunkMessage, // no bytes
		"f1ffffff 0102030405060708 ffffffff ee08":   verdict.ChunkMessage, // too many
		"f1ffffff 0102030405060708 c0aa0200 0d08":   verdict.ChunkMessage, // chunks of 13 bytes
		"f1ffffff 0102030405060708 c0aa0200 ef08":   verdict.ChunkMessage, // of 239
		"f1ffffff 0102030405060708 c0aa0200 ee00":   verdict.ChunkMessage, // never acknowledged
		"f2ffffff 0102030405060708 9324491211":      verdict.ChunkLength,
		"f2ffffff 0102030405060708 94244912":        verdict.ChunkMessage, // more chunks than any object has
		"f3ffffff 0102030405060708 11000000 00":     verdict.ChunkMessage, // refusals that are not defined
		"f3ffffff 0102030405060708 11000000 08":     verdict.ChunkMessage,
		"f3ffffff 0102030405060708 11000000":        verdict.ChunkLength,
	} {
		if m, err := Parse(unhex(t, text)); verdict.Of(err) != want {
			t.Errorf("%s: got %+v, %v, want %s", text, m, err, want)
		}
	}
}

func TestATT(t *testing.T) {
	message := unhex(t, wire[0].hex)
	frame := AppendATT(nil, message)
	if want := "02000000c0ffee" + "c5a8"; hex.EncodeToString(frame) != want { // CRC as Python: binascii.crc_hqx(message, 0xffff)
		t.Errorf("got %x, want %s", frame, want)
	}
	if got, err := OpenATT(frame); err != nil || !bytes.Equal(got, message) {
		t.Errorf("got % x, %v", got, err)
	}
	for bit := range 8 * len(frame) {
		frame[bit/8] ^= 1 << (bit % 8)
		if _, err := OpenATT(frame); verdict.Of(err) != verdict.ChunkChecksum {
			t.Errorf("bit %d is flipped: %v", bit, err)
		}
		frame[bit/8] ^= 1 << (bit % 8)
	}
	for _, n := range []int{0, 5, MaxATT + 1} {
		if _, err := OpenATT(make([]byte, n)); verdict.Of(err) != verdict.ChunkLength {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	// All messages fit the smallest attribute, chunks the attribute they are cut for.
	for _, m := range wire {
		if n := len(AppendATT(nil, m.message.Append(nil))); n > MinATT {
			t.Errorf("a frame of %d bytes", n)
		}
	}
	for mtu, want := range map[int]int{23: MinChunk, 185: 176, 247: MaxChunk} {
		data := Message{Kind: Data, Payload: make([]byte, ChunkLen(mtu))}
		if n := len(AppendATT(nil, data.Append(nil))); ChunkLen(mtu) != want || n != mtu-3 {
			t.Errorf("MTU %d: chunks of %d bytes, want %d; frames of %d", mtu, ChunkLen(mtu), want, n)
		}
	}
}

// The frames that docs/transfer.md shows are those that are sent.
func TestDocumentedFrames(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "transfer.md"))
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for line := range strings.Lines(string(page)) {
		name, frame, ok := strings.Cut(line, " ")
		if ok && (name == "ATT" || name == "UART") {
			shown = append(shown, name+" "+strings.Join(strings.Fields(frame), ""))
		}
	}
	var want []string
	for _, w := range wire[:2] {
		b := w.message.Append(nil)
		want = append(want, fmt.Sprintf("ATT %x", AppendATT(nil, b)), fmt.Sprintf("UART %x", AppendUART(nil, b)))
	}
	if !slices.Equal(shown, want) {
		t.Errorf("shown are %q, want %q", shown, want)
	}
}

// messages returns copies of what a reader finds.
func (r *UARTReader) messages(stream []byte) [][]byte {
	var found [][]byte
	for _, b := range stream {
		if m := r.Read(b); m != nil {
			found = append(found, bytes.Clone(m))
		}
	}
	return found
}

// The vectors of examples/toothbrush/motor/frame_test.c.
func TestUART(t *testing.T) {
	frame := AppendUART(nil, []byte{2, 60})
	if want := "a502023c4133"; hex.EncodeToString(frame) != want {
		t.Errorf("got %x, want %s", frame, want)
	}
	for _, noise := range []string{"00ff5a", "a500ffffffff", "a51101020304", "a5ff01020304", "a502023c0000"} {
		r := UARTReader{Max: 16}
		if got := r.messages(unhex(t, noise)); len(got) > 0 || r.state != uartIdle {
			t.Errorf("%s: got %x, state %d", noise, got, r.state)
		}
		if got := r.messages(frame); len(got) != 1 || !bytes.Equal(got[0], []byte{2, 60}) {
			t.Errorf("after %s: got %x", noise, got)
		}
	}
	var r UARTReader
	for n := 1; n <= MaxUART; n++ {
		message := bytes.Repeat([]byte{uartStart}, n)
		two := AppendUART(AppendUART(nil, message), message)
		if got := r.messages(two); len(got) != 2 || !bytes.Equal(got[1], message) || len(two) != 2*(n+UARTOverhead) {
			t.Errorf("%d bytes: got %x", n, got)
		}
	}
	if r.messages(frame[:4]); r.state == uartIdle {
		t.Error("not inside a frame")
	}
	r.Reset()
	if got := r.messages(frame); len(got) != 1 {
		t.Errorf("after Reset: got %x", got)
	}
}

// TestUARTAgreesWithC runs the motor controller's own reader over noise and
// frames: both find the same messages.
func TestUARTAgreesWithC(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	motor, err := filepath.Abs(filepath.Join("..", "..", "examples", "toothbrush", "motor"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const program = `#include "frame.h"
#include <stdio.h>
int main(void) {
	struct frame_reader r = {0};
	for (int c; (c = getchar()) != EOF;)
		for (int i = 0, n = frame_read(&r, (uint8_t)c); i < n; i++)
			printf("%02x%s", r.body[i], i + 1 < n ? "" : "\n");
	return 0;
}
`
	if err := os.WriteFile(filepath.Join(dir, "main.c"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	reader := filepath.Join(dir, "reader")
	build := exec.CommandContext(t.Context(), cc, "-std=c99", "-I", motor, "-o", reader, filepath.Join(dir, "main.c"), filepath.Join(motor, "frame.c"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Frames of all lengths up to one that the controller does not take, half of
	// them damaged, with noise in between that has many start bytes.
	noise := object(1 << 16)
	var stream []byte
	for i := 0; len(noise) > 300; i++ {
		message := noise[:1+i%18]
		stream = AppendUART(stream, message)
		noise = noise[len(message):]
		if i%2 == 1 {
			stream[len(stream)-1-i%len(message)] ^= noise[0] | 1
		}
		for _, b := range noise[:i%5] {
			stream = append(stream, b&0x0f|0xa0)
		}
		noise = noise[i%5:]
	}
	run := exec.CommandContext(t.Context(), reader)
	run.Stdin = bytes.NewReader(stream)
	out, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	r := UARTReader{Max: 16}
	var want strings.Builder
	found := r.messages(stream)
	for _, m := range found {
		want.WriteString(hex.EncodeToString(m) + "\n")
	}
	if string(out) != want.String() || len(found) < 1000 {
		t.Errorf("C finds %d messages, Go %d, in %d bytes", strings.Count(string(out), "\n"), len(found), len(stream))
	}
}

func TestCursor(t *testing.T) {
	c := Cursor{Session: Session{1, 2, 3, 4, 5, 6, 7, 8}, Size: 174784, Offset: 4096, Generation: 7}
	b := c.Encode()
	if want := "0102030405060708c0aa02000010000007000000" + "48626f5d"; hex.EncodeToString(b[:]) != want { // CRC as Python: zlib.crc32
		t.Errorf("got %x, want %s", b, want)
	}
	if got, err := ParseCursor(b); err != nil || got != c {
		t.Errorf("got %+v, %v", got, err)
	}
	for bit := range 8 * len(b) {
		bad := b
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := ParseCursor(bad); verdict.Of(err) != verdict.ChunkCursor {
			t.Errorf("bit %d is flipped: %v", bit, err)
		}
	}
	var erased [CursorSize]byte
	for i := range erased {
		erased[i] = 0xff
	}
	for _, bad := range [][CursorSize]byte{{}, erased, Cursor{}.Encode(), Cursor{Size: 5, Offset: 6}.Encode(), Cursor{Size: MaxSize + 1}.Encode()} {
		if _, err := ParseCursor(bad); verdict.Of(err) != verdict.ChunkCursor {
			t.Errorf("%x: %v", bad, err)
		}
	}
	for _, pair := range [][2]uint32{{1, 0}, {0, 1<<32 - 1}, {1 << 31, 1}} {
		newer, older := Cursor{Generation: pair[0]}, Cursor{Generation: pair[1]}
		if pair[0] != 1<<31 && !newer.newer(older) || older.newer(newer) {
			t.Errorf("%d and %d", pair[0], pair[1])
		}
	}
}
