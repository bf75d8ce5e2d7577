package provision

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
)

// soft is a Maker whose keys are known.
type soft struct {
	master, transport cipher.Block

	calls atomic.Int64
	fail  func(call int64) error // nil: never
}

func newSoft(tb testing.TB) *soft {
	tb.Helper()
	var keys [64]byte
	for i := range keys {
		keys[i] = byte(i)
	}
	return softWith(tb, keys[:32], keys[32:])
}

func softWith(tb testing.TB, master, transport []byte) *soft {
	tb.Helper()
	m, err := aes.NewCipher(master)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := aes.NewCipher(transport)
	if err != nil {
		tb.Fatal(err)
	}
	return &soft{master: m, transport: t}
}

func (s *soft) derived(data []byte) []byte {
	key := make([]byte, len(data))
	for i := 0; i < len(data); i += aes.BlockSize {
		s.master.Encrypt(key[i:], data[i:])
	}
	return key
}

func (s *soft) Derive(ctx context.Context, data []byte) (wrapped, check []byte, err error) {
	return s.Import(ctx, s.derived(data))
}

func (s *soft) Generate(ctx context.Context, size int) (wrapped, check []byte, err error) {
	key := make([]byte, size)
	_, _ = rand.Read(key)
	return s.Import(ctx, key)
}

func (s *soft) Import(ctx context.Context, key []byte) (wrapped, check []byte, err error) {
	if n := s.calls.Add(1); s.fail != nil {
		if err := s.fail(n); err != nil {
			return nil, nil, err
		}
	}
	return s.wrap(key), kcv(key), ctx.Err()
}

// wrap is RFC 3394, section 2.2.1.
func (s *soft) wrap(key []byte) []byte {
	n := len(key) / 8
	b := bytes.Repeat([]byte{0xa6}, 16)
	r := append(make([]byte, 8), key...)
	for t := 1; t <= 6*n; t++ {
		part := r[8*((t-1)%n+1):][:8]
		copy(b[8:], part)
		s.transport.Encrypt(b, b)
		copy(part, b[8:])
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)^uint64(t))
	}
	copy(r, b[:8])
	return r
}

// unwrap is RFC 3394, section 2.2.2, nil for what does not unwrap.
func (s *soft) unwrap(wrapped []byte) []byte {
	n := len(wrapped)/8 - 1
	r := bytes.Clone(wrapped)
	b := append(bytes.Clone(r[:8]), make([]byte, 8)...)
	for t := 6 * n; t >= 1; t-- {
		part := r[8*((t-1)%n+1):][:8]
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)^uint64(t))
		copy(b[8:], part)
		s.transport.Decrypt(b, b)
		copy(part, b[8:])
	}
	if !bytes.Equal(b[:8], bytes.Repeat([]byte{0xa6}, 8)) {
		return nil
	}
	return r[8:]
}

// kcv is AES-CMAC over 16 zero bytes, the long way (RFC 4493, section 2.4).
func kcv(key []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	l := make([]byte, 16)
	block.Encrypt(l, l)
	high, low := binary.BigEndian.Uint64(l), binary.BigEndian.Uint64(l[8:])
	carry := high >> 63
	high, low = high<<1|low>>63, low<<1^0x87*carry
	binary.BigEndian.PutUint64(l, high)
	binary.BigEndian.PutUint64(l[8:], low)
	block.Encrypt(l, l)
	return l[:CheckSize]
}

// project is a header with a secret of each kind, and its devices.
func project(tb testing.TB, m Maker, devices int) (Header, []string) {
	tb.Helper()
	h := Header{
		Schema:  Schema,
		Product: "toothbrush",
		Secrets: []Secret{
			{"radio", "storage", Derive, 16}, {"radio", "update", Recipient, 32}, {"motor", "storage", Derive, 32}, {"motor", "debug", Generate, 16},
		},
		Mechanism: Mechanism,
		Module:    "soft 1.0",
	}
	serials := make([]string, devices)
	for i := range serials {
		serials[i] = fmt.Sprintf("TB-%04d", i+1)
	}
	h.Devices = NewDevices(serials)
	var err error
	if h.Check, err = SelfTest(tb.Context(), m, h.Secrets, h.Product); err != nil {
		tb.Fatal(err)
	}
	return h, serials
}
