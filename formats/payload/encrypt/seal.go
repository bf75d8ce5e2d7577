package encrypt

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
// reads src once, to its end, and uses memory independent of its size. It may
// use src and dst at the same time, but neither after it has returned.
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
	chunkSize = 32 << 10
	// serialChunks is how many chunks are done before a second goroutine
	// starts: payloads below 256 KiB are done sooner without it.
	serialChunks = 8
	// chunks is how many chunks the two goroutines pass around.
	chunks = 8
)

// seal is Seal. Two SHA-256 are nearly all of its work. In a long payload they
// run side by side: this goroutine reads and hashes the plaintext, another one
// encrypts in place, hashes the ciphertext and writes it. A chunk belongs to
// one of the two at a time.
func (k *keystream) seal(dst io.Writer, src io.Reader) (Result, error) {
	plain, sealed := sha256.New(), sha256.New()
	var size int64
	read := func(chunk []byte) (n int, last bool, err error) {
		n, last, err = fill(chunk, src)
		plain.Write(chunk[:n])
		size += int64(n)
		return n, last, err
	}
	write := func(chunk []byte) error {
		if err := k.xor(chunk, chunk); err != nil {
			return err
		}
		sealed.Write(chunk)
		_, err := dst.Write(chunk)
		return err
	}
	result := func() Result {
		return Result{[sha256.Size]byte(plain.Sum(nil)), [sha256.Size]byte(sealed.Sum(nil)), size}
	}

	chunk := make([]byte, chunkSize)
	for range serialChunks {
		n, last, err := read(chunk)
		if err == nil {
			err = write(chunk[:n])
		}
		if err != nil || last {
			return result(), err
		}
	}

	// Neither channel ever blocks its sender: there are no more chunks.
	full, free := make(chan []byte, chunks), make(chan []byte, chunks)
	free <- chunk
	for range chunks - 1 {
		free <- make([]byte, chunkSize)
	}
	var writeErr error // of the writer, until it closes free
	go func() {
		defer close(free)
		for chunk := range full {
			if writeErr = write(chunk); writeErr != nil {
				return
			}
			free <- chunk[:chunkSize]
		}
	}()
	var readErr error
	for chunk := range free {
		n, last, err := read(chunk)
		if readErr = err; err != nil {
			break
		}
		full <- chunk[:n]
		if last {
			break
		}
	}
	close(full)
	for range free { // until the writer has ended
	}
	return result(), cmp.Or(readErr, writeErr)
}

// fill reads until the chunk is full or src is at its end, which it reports.
// Unlike io.ReadFull it tells that from an io.ErrUnexpectedEOF of src: a
// truncated payload must not pass for a short one.
func fill(chunk []byte, src io.Reader) (n int, last bool, err error) {
	for n < len(chunk) {
		m, err := src.Read(chunk[n:])
		n += m
		switch {
		case err == io.EOF:
			return n, true, nil
		case err != nil:
			return n, false, err
		}
	}
	return n, false, nil
}
