package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"
)

// BenchmarkSeal is encryption and both hashes; BenchmarkSHA256 and
// BenchmarkAESCTR are its parts, in the buffer size of `openssl speed`.
func BenchmarkSeal(b *testing.B) {
	var key [keySize]byte
	iv := make([]byte, aes.BlockSize)
	for _, size := range []int{1 << 10, 64<<10 - 1, 64 << 10, 128 << 10, 256 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			image := bytes.NewReader(make([]byte, size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				stream, err := newKeystream(&key, iv) // without the public-key part
				if err != nil {
					b.Fatal(err)
				}
				s := Sealer{stream: stream}
				image.Seek(0, io.SeekStart)
				if _, err := s.Seal(io.Discard, image); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

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
