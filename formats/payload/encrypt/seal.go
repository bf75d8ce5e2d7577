package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// Result describes a sealed payload. Both digests belong into the signed
// manifest.
type Result struct {
	PlainSHA256  [sha256.Size]byte
	CipherSHA256 [sha256.Size]byte
	Size         int64 // bytes, of plaintext and ciphertext alike
}

// Sealer encrypts one payload to a set of recipients. It is not safe for
// concurrent use and prints as "[redacted]".
type Sealer struct {
	redacted
	header Header
	views  []*senderView
	stream *keystream // nil once used
}

// NewSealer draws the key material of one payload and wraps the content key
// for 1 to MaxRecipients recipients.
//
// From random, which is crypto/rand.Reader but in tests, it reads in this
// order: the content key, 16 bytes; the first 12 bytes of the IV, whose other 4
// are zero; per recipient the ephemeral private key, 32 bytes big endian, read
// again when they are zero or not below the group order. This will not change:
// a fixed reader gives a fixed header.
//
// The error wraps ErrNoRecipients, ErrTooManyRecipients, ErrKeyID, ErrCurve,
// ErrKey for a recipient without a key, or ErrDuplicateRecipient.
func NewSealer(random io.Reader, to []Recipient) (*Sealer, error) {
	if err := checkRecipients(to); err != nil {
		return nil, err
	}
	var key [keySize]byte
	defer clear(key[:])
	iv := make([]byte, aes.BlockSize)
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return nil, fmt.Errorf("encrypt: content key: %w", err)
	}
	if _, err := io.ReadFull(random, iv[:12]); err != nil {
		return nil, fmt.Errorf("encrypt: initialization vector: %w", err)
	}
	stream, err := newKeystream(&key, iv)
	if err != nil {
		return nil, err
	}
	s := &Sealer{header: Header{Algorithm: A128CTR, IV: iv}, stream: stream}
	for i, r := range to {
		w, view, err := wrapFor(random, &key, r)
		if err != nil {
			s.Wipe()
			return nil, fmt.Errorf("encrypt: recipient %d: %w", i, err)
		}
		s.header.Recipients = append(s.header.Recipients, w)
		s.views = append(s.views, view)
	}
	return s, nil
}

func checkRecipients(to []Recipient) error {
	switch n := len(to); {
	case n == 0:
		return fmt.Errorf("encrypt: %w", ErrNoRecipients)
	case n > MaxRecipients:
		return fmt.Errorf("encrypt: %w: %d, at most %d", ErrTooManyRecipients, n, MaxRecipients)
	}
	for i, r := range to {
		if n := len(r.KeyID); n < 1 || n > MaxKeyID {
			return fmt.Errorf("encrypt: recipient %d: %w: %d bytes, want 1 to %d", i, ErrKeyID, n, MaxKeyID)
		}
		if err := checkCurve(fmt.Sprintf("recipient %d: recipient key", i), r.Public); err != nil {
			return err
		}
		for j := range i {
			if to[j].Public.Equal(r.Public) {
				return fmt.Errorf("encrypt: recipients %d and %d: %w", j, i, ErrDuplicateRecipient)
			}
		}
	}
	return nil
}

// wrapFor wraps the content key for one recipient.
func wrapFor(random io.Reader, key *[keySize]byte, to Recipient) (WrappedKey, *senderView, error) {
	ephemeral, err := newEphemeral(random)
	if err != nil {
		return WrappedKey{}, nil, err
	}
	kek, err := deriveKEK(ephemeral, to.Public)
	if err != nil {
		return WrappedKey{}, nil, err
	}
	block, err := aes.NewCipher(kek[:])
	if err != nil {
		return WrappedKey{}, nil, err
	}
	point := ephemeral.PublicKey().Bytes() // 0x04, X, Y
	w := WrappedKey{
		Management: ECDHESA128KW,
		KeyID:      bytes.Clone(to.KeyID),
		EphemeralX: [32]byte(point[1:33]),
		EphemeralY: [32]byte(point[33:]),
		Wrapped:    wrap(block, key),
	}
	return w, &senderView{id: w.KeyID, x: w.EphemeralX, kek: kek}, nil
}

// newEphemeral draws a private key by rejection sampling. It does not use
// ecdh.P256().GenerateKey, which since Go 1.26 ignores the reader.
func newEphemeral(random io.Reader) (*ecdh.PrivateKey, error) {
	var scalar [32]byte
	defer clear(scalar[:])
	// crypto/ecdh keeps a copy of the key that nothing can wipe. It protects
	// one payload and is dropped here.
	for range 4 { // one draw misses with probability 2^-32
		if _, err := io.ReadFull(random, scalar[:]); err != nil {
			return nil, fmt.Errorf("ephemeral key: %w", err)
		}
		if key, err := ecdh.P256().NewPrivateKey(scalar[:]); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("ephemeral key: random source gives no private key")
}

// Header returns what the recipients need. The caller may change it.
func (s *Sealer) Header() Header { return s.header.clone() }

// Identity returns the sender's view of recipient i, counted as they were
// given: it unwraps exactly the headers that the recipient's device unwraps,
// without its private key. It returns ErrSpent after Wipe.
func (s *Sealer) Identity(i int) Identity { return s.views[i] }

// Wipe overwrites the keys. It may be called more than once; only Header works
// after it.
func (s *Sealer) Wipe() {
	s.stream = nil
	for _, v := range s.views {
		wipe(&v.kek)
	}
}

// Seal encrypts src to dst and hashes both sides of the cipher on the way. It
// reads src once, to its end, and uses memory independent of its size.
//
// A Sealer seals once, whether or not it succeeds, so that key and IV are never
// used for a second payload; then and after Wipe the error wraps ErrSpent. It
// wraps ErrTooLong for more than MaxPayload bytes. On any error what was
// written to dst is to be discarded.
func (s *Sealer) Seal(dst io.Writer, src io.Reader) (Result, error) {
	stream := s.stream
	if s.stream = nil; stream == nil {
		return Result{}, fmt.Errorf("encrypt: seal: %w", ErrSpent)
	}
	result, err := stream.seal(dst, src)
	if err != nil {
		return Result{}, fmt.Errorf("encrypt: seal: %w", err)
	}
	return result, nil
}

const (
	// chunkSize is how much goes through seal in one step, in bytes.
	chunkSize = 64 << 10
	// serialChunks is how many chunks are done before the second goroutine
	// starts: it pays from about 200 KiB on.
	serialChunks = 3
)

// seal is Seal. Two SHA-256 are nearly all of its work, so in a long payload
// the plaintext's runs on a goroutine of its own. That one may fall behind by
// a small ring of chunks.
func (k *keystream) seal(dst io.Writer, src io.Reader) (Result, error) {
	plain, sealed := sha256.New(), sha256.New()
	var size int64
	emit := func(out, in []byte) error {
		if err := k.xor(out, in); err != nil {
			return err
		}
		size += int64(len(out))
		sealed.Write(out)
		_, err := dst.Write(out)
		return err
	}
	result := func() Result {
		return Result{[sha256.Size]byte(plain.Sum(nil)), [sha256.Size]byte(sealed.Sum(nil)), size}
	}

	var ring [4]chunk
	first := &ring[0]
	for range serialChunks {
		last, err := first.fill(src)
		if err != nil {
			return Result{}, err
		}
		plain.Write(first.data)
		if err := emit(first.data, first.data); err != nil || last {
			return result(), err
		}
	}

	ahead := newHasher(plain, len(ring))
	out := make([]byte, chunkSize)
	var err error
	for i, last := 0, false; err == nil && !last; i++ {
		c := &ring[i%len(ring)]
		c.hashing.Wait()
		if last, err = c.fill(src); err == nil {
			ahead.add(c)
			err = emit(out[:len(c.data)], c.data)
		}
	}
	ahead.wait()
	return result(), err
}

// chunk is a piece of the plaintext.
type chunk struct {
	data    []byte         // chunkSize bytes but for the last chunk
	hashing sync.WaitGroup // held while a hasher reads data
}

// fill reads the next chunk and reports whether src is at its end. It does not
// use io.ReadFull, which hides whether io.ErrUnexpectedEOF came from src: a
// truncated source must not pass for a short one.
func (c *chunk) fill(src io.Reader) (last bool, err error) {
	if c.data == nil {
		c.data = make([]byte, chunkSize)
	}
	n := 0
	for n < chunkSize && err == nil {
		var m int
		m, err = src.Read(c.data[n:])
		n += m
	}
	c.data = c.data[:n]
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// hasher feeds chunks to a hash on a goroutine of its own.
type hasher struct {
	chunks chan *chunk
	done   chan struct{}
}

// newHasher starts a hasher that lets its caller be ahead by some chunks.
func newHasher(to hash.Hash, ahead int) hasher {
	h := hasher{make(chan *chunk, ahead), make(chan struct{})}
	go func() {
		for c := range h.chunks {
			to.Write(c.data)
			c.hashing.Done()
		}
		close(h.done)
	}()
	return h
}

// add hands a chunk over until c.hashing.Wait returns.
func (h hasher) add(c *chunk) {
	c.hashing.Add(1)
	h.chunks <- c
}

// wait returns when all chunks are hashed and the goroutine has ended.
func (h hasher) wait() {
	close(h.chunks)
	<-h.done
}
