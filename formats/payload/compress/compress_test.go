package compress

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/otapack/otapack/testvectors"
)

// images are inputs of different kinds.
func images() map[string][]byte {
	random := testvectors.Bytes("compress", 40000)
	text := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog. ", 2000))
	sparse := make([]byte, 100000)
	for i := range 200 {
		copy(sparse[i*500:], random[i*7:i*7+20])
	}
	return map[string][]byte{
		"one byte": {7}, "random": random, "text": text, "zeros": make([]byte, 70000), "sparse": sparse,
		"far": slices.Concat(random[:9000], text[:3000], random[:9000]),
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []Codec{Zstd, Deflate} {
		smallest, largest, usual := c.Windows()
		for name, image := range images() {
			for _, window := range []int{smallest, 4 << 10, usual, largest} {
				payload, err := Encode(c, image, window)
				if err != nil {
					t.Fatalf("%s, %s, %d: %v", c, name, window, err)
				}
				got, takes, err := Decode(c, payload, len(image))
				if err != nil || !bytes.Equal(got, image) || takes > window || takes < smallest {
					t.Errorf("%s, %s, %d: %d bytes, window %d, %v", c, name, window, len(got), takes, err)
				}
				if again, err := Encode(c, image, window); err != nil || !bytes.Equal(again, payload) {
					t.Errorf("%s, %s: two payloads of one image, %v", c, name, err)
				}
				if _, _, err := Decode(c, payload, len(image)-1); len(image) > 0 && !errors.Is(err, ErrLimit) {
					t.Errorf("%s, %s: a byte more than expected: %v", c, name, err)
				}
			}
		}
	}
}

// A larger window does not make payloads larger, and sees what is farther back.
func TestWindow(t *testing.T) {
	image := images()["far"]
	for _, c := range []Codec{Zstd, Deflate} {
		near, err := Encode(c, image, 4<<10)
		if err != nil {
			t.Fatal(err)
		}
		far, err := Encode(c, image, 32<<10)
		if err != nil {
			t.Fatal(err)
		}
		if len(far) > len(near)-5000 {
			t.Errorf("%s: %d bytes with a window of 4 KiB, %d with one of 32 KiB", c, len(near), len(far))
		}
		if _, err := Encode(c, nil, 4<<10); err == nil {
			t.Errorf("%s: of nothing", c)
		}
		for _, window := range []int{0, 100, 3000, 64 << 20} {
			if _, err := Encode(c, image, window); !errors.Is(err, ErrWindow) {
				t.Errorf("%s: a window of %d bytes: %v", c, window, err)
			}
		}
	}
	for c, want := range map[Codec]int{Zstd: 276280, Deflate: 16<<10 + 1796} { // the first by ZSTD_estimateDStreamSize
		if got := c.DecoderRAM(16 << 10); got != want {
			t.Errorf("%s: %d bytes of RAM, want %d", c, got, want)
		}
	}
	if got := Zstd.String() + Deflate.String() + Codec(7).String(); got != "zstddeflatecodec 7" {
		t.Errorf("codecs are called %q", got)
	}
}

func TestDamage(t *testing.T) {
	image := images()["far"][8000:10000]
	for _, c := range []Codec{Zstd, Deflate} {
		payload, err := Encode(c, image, 4<<10)
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		for n := range payload {
			got, _, err := Decode(c, payload[:n], len(image))
			if err == nil || len(got) < made || !bytes.HasPrefix(image, got) {
				t.Fatalf("%s: %d bytes from %d of %d, %v", c, len(got), n, len(payload), err)
			}
			made = len(got)
		}
		if c == Deflate && made < len(image)-300 {
			t.Errorf("%d of %d bytes before the last one of the payload", made, len(image))
		}
		if got, _, err := Decode(c, payload, 1000); !errors.Is(err, ErrLimit) || c == Deflate && !bytes.Equal(got, image[:1000]) {
			t.Errorf("%s: %d bytes, at most 1000: %v", c, len(got), err)
		}
		if _, _, err := Decode(c, append(bytes.Clone(payload), 0), len(image)); !errors.Is(err, ErrTrailing) {
			t.Errorf("%s: a byte behind: %v", c, err)
		}
		if _, _, err := Decode(c, slices.Concat(payload, payload), 2*len(image)); !errors.Is(err, ErrTrailing) {
			t.Errorf("%s: twice: %v", c, err)
		}
		refused := 0
		for bit := range 8 * len(payload) {
			bent := bytes.Clone(payload)
			bent[bit/8] ^= 1 << (bit % 8)
			got, _, err := Decode(c, bent, len(image))
			if err != nil {
				refused++
			}
			if len(got) > len(image) {
				t.Fatalf("%s, bit %d: %d bytes", c, bit, len(got))
			}
		}
		if refused == 0 {
			t.Errorf("%s: no flipped bit was found", c)
		}
	}
}

func TestDeflateRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, payload string
		want          error
	}{
		{"nothing", "", ErrTruncated},
		{"reserved block", "07", ErrCode},
		{"stored, lengths disagree", "01 0100 ffff 41", ErrCode},
		{"stored, cut", "01 0200 fdff 41", ErrTruncated},
		{"fixed, no end", "4b", ErrTruncated},
		{"distance before the beginning", "03 02 00", ErrCode},
		{"length code without an end", "05 00 00 00 00 00 00 00", ErrCode},
		{"bits behind the end", "03 04", ErrCode},
		{"byte behind the end", "03 00 00", ErrTrailing},
	} {
		payload, err := hex.DecodeString(strings.ReplaceAll(tt.payload, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := Decode(Deflate, payload, 100); !errors.Is(err, tt.want) {
			t.Errorf("%s: %x, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	if got, window, err := Decode(Deflate, []byte{3, 0}, 0); len(got) > 0 || window != 256 || err != nil {
		t.Errorf("empty: %x, %d, %v", got, window, err)
	}
}

func TestZstdRefuses(t *testing.T) {
	image := make([]byte, 3<<20)
	encode := func(o ...zstd.EOption) []byte {
		w, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderCRC(false)}, o...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		return w.EncodeAll(image, nil)
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "skip"...)
	for name, tt := range map[string]struct {
		payload []byte
		want    error
	}{
		"not zstd":       {[]byte("hello, world"), ErrFormat},
		"skippable":      {skippable, ErrFormat},
		"single segment": {encode(zstd.WithSingleSegment(true)), ErrFormat},
		"dictionary":     {encode(zstd.WithSingleSegment(false), zstd.WithEncoderDictRaw(9, image[:1000])), ErrFormat},
		"checksum":       {encode(zstd.WithSingleSegment(false), zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<14)), ErrFormat},
		"large window":   {encode(zstd.WithSingleSegment(false), zstd.WithWindowSize(8<<20)), ErrWindow},
	} {
		if _, _, err := Decode(Zstd, tt.payload, len(image)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, _, err := Decode(Zstd, encode(zstd.WithSingleSegment(false), zstd.WithWindowSize(1<<14)), len(image)); err != nil {
		t.Errorf("with none of these: %v", err)
	}
}

// A decoder with a window of the announced size must not be asked for more, even
// if it is a match within the output.
func TestZstdLooksBeyondItsWindow(t *testing.T) {
	near := testvectors.Bytes("near", 1000)
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(32<<10), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // blocks that are no larger than the small window, and repeat each other
		if _, err := w.Write(near); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		near = append(near[500:], testvectors.Bytes("far", 500)...)
	}
	for range 2 {
		if _, err := w.Write(testvectors.Bytes("near", 1000)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	payload := b.Bytes()
	if _, window, err := Decode(Zstd, payload, 7000); err != nil || window != 32<<10 {
		t.Fatalf("window %d, %v", window, err)
	}
	payload[5] = 0 // the descriptor of the window: 1 KiB
	if _, _, err := Decode(Zstd, payload, 7000); !errors.Is(err, ErrCode) {
		t.Errorf("farther back than 1 KiB: %v", err)
	}
}

// The inflater agrees with the standard library's.
func TestInflateAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, image := range images() {
		for _, level := range []int{0, 1, 5, 9, stdflate.HuffmanOnly} {
			var b bytes.Buffer
			w, err := stdflate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			for rest := image; len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(20000))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil { // stored and fixed blocks between others
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, _, err := Decode(Deflate, b.Bytes(), len(image)); err != nil || !bytes.Equal(got, image) {
				t.Errorf("%s, level %d: %d bytes, %v", name, level, len(got), err)
			}
		}
	}
}

// FuzzDecode: decoding ends within its bound, and what ours takes as DEFLATE the
// standard library takes, too, and sees the same in it.
func FuzzDecode(f *testing.F) {
	for _, c := range []Codec{Zstd, Deflate} {
		for _, image := range images() {
			payload, err := Encode(c, image[:min(len(image), 600)], 1<<10)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(c), payload)
		}
	}
	f.Fuzz(func(t *testing.T, c uint8, payload []byte) {
		const limit = 4 << 10
		image, _, err := Decode(Codec(c), payload, limit)
		if len(image) > limit {
			t.Errorf("%d bytes", len(image))
		}
		if err != nil || Codec(c) == Zstd {
			return
		}
		want, err := io.ReadAll(stdflate.NewReader(bytes.NewReader(payload)))
		if err != nil || !bytes.Equal(want, image) {
			t.Errorf("got %x, the standard library %x, %v", image, want, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	image := images()["sparse"]
	for _, c := range []Codec{Zstd, Deflate} {
		payload, err := Encode(c, image, 16<<10)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				if _, _, err := Decode(c, payload, len(image)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncode reports the sizes of docs/payload-codecs.md.
func BenchmarkEncode(b *testing.B) {
	image, err := testvectors.Read("delta/mc-nrf51-m0-8.1.9.bin")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []Codec{Zstd, Deflate} {
		for _, window := range []int{1 << 10, 4 << 10, 16 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", c, window>>10), func(b *testing.B) {
				var payload []byte
				for b.Loop() {
					if payload, err = Encode(c, image, window); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(payload)), "payload-bytes")
			})
		}
	}
}
