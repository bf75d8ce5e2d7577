// Package testvectors holds published test vectors and the verdict that each
// must get, and loads them for the tests of every other package.
//
// There is one folder per topic. Its README.md names the source, the commit and
// the licence of each file, and says what the vectors are. Names are
// slash-separated paths below this package:
//
//	names, err := testvectors.Cases("suit/profile/*.hex")
//	envelope, err := testvectors.Hex("suit/profile/T1-nrf-plain.hex")
//	err = testvectors.JSON("wycheproof/aes_wrap_test.json", &suite)
//
// Private keys in here are published and worthless: they sign test data only.
package testvectors

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
)

// FS holds the topic folders, for fs.WalkDir and for files that no function of
// this package reads.
//
//go:embed */*
var FS embed.FS

// Cases returns the names that match a pattern of path.Match, in lexical order.
// No match is an error that wraps fs.ErrNotExist: a table test over vectors
// must not pass because its folder moved.
func Cases(pattern string) ([]string, error) {
	names, err := fs.Glob(FS, pattern)
	if err != nil {
		return nil, fmt.Errorf("testvectors: %s: %w", pattern, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("testvectors: %s: %w", pattern, fs.ErrNotExist)
	}
	return names, nil
}

// Read returns the bytes of a file. The caller owns them.
func Read(name string) ([]byte, error) {
	data, err := FS.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("testvectors: %w", err)
	}
	return data, nil
}

// Hex returns the bytes that a file spells in hexadecimal digits of either
// case. White space is ignored, also between the two digits of a byte.
func Hex(name string) ([]byte, error) {
	text, err := Read(name)
	if err != nil {
		return nil, err
	}
	digits := bytes.Join(bytes.Fields(text), nil)
	n, err := hex.Decode(digits, digits)
	if err != nil {
		return nil, fmt.Errorf("testvectors: %s: %w", name, err)
	}
	return digits[:n], nil
}

// JSON decodes a file into v, like json.Unmarshal.
func JSON(name string, v any) error {
	data, err := Read(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("testvectors: %s: %w", name, err)
	}
	return nil
}

// Stream returns an endless source of bytes that depend on a name only: firmware
// that nobody has to store, randomness that comes out the same each time.
func Stream(name string) io.Reader {
	key := sha256.Sum256([]byte(name))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	return cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: zeros{}}
}

// Bytes returns the first bytes of a Stream.
func Bytes(name string, size int) []byte {
	b := make([]byte, size)
	if _, err := io.ReadFull(Stream(name), b); err != nil {
		panic(err)
	}
	return b
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
