package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"
)

// BenchmarkSeal is encryption and both hashes, without the public-key part.
func BenchmarkSeal(b *testing.B) {
	var key [keySize]byte
	iv := make([]byte, aes.BlockSize)
	for _, size := range []int{1 << 10, 64 << 10, 256<<10 - 1, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			image := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				stream, err := newKeystream(&key, iv)
				if err != nil {
					b.Fatal(err)
				}
				s := Sealer{stream: stream}
				if _, err := s.Seal(io.Discard, bytes.NewReader(image)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is decryption alone: whoever opens hashes what it needs.
func BenchmarkOpen(b *testing.B) {
	const size = 1 << 20
	h := Header{Algorithm: A128CTR, IV: make([]byte, aes.BlockSize)}
	key := &ContentKey{key: new([keySize]byte)}
	sealed := make([]byte, size)
	buf := make([]byte, 16<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(sealed), h, key)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewSealer is the public-key part for one recipient.
func BenchmarkNewSealer(b *testing.B) {
	_, to := recipient(b, "bench")
	for b.Loop() {
		if _, err := NewSealer(rand.Reader, []Recipient{to}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAESCTR and BenchmarkSHA256 are the parts of Seal, in the buffer size
// of `openssl speed`.
func BenchmarkAESCTR(b *testing.B) {
	buf := make([]byte, 16<<10)
	block, err := aes.NewCipher(make([]byte, keySize))
	if err != nil {
		b.Fatal(err)
	}
	stream := cipher.NewCTR(block, make([]byte, aes.BlockSize))
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		stream.XORKeyStream(buf, buf)
	}
}

func BenchmarkSHA256(b *testing.B) {
	buf := make([]byte, 16<<10)
	hash := sha256.New()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		hash.Write(buf)
	}
}
