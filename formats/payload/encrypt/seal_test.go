package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

func sealer(t testing.TB, random io.Reader, to ...Recipient) *Sealer {
	t.Helper()
	s, err := NewSealer(random, to)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSealerErrors(t *testing.T) {
	_, a := recipient(t, "a")
	_, b := recipient(t, "b")
	p384, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var nine []Recipient
	for i := range MaxRecipients + 1 {
		_, r := recipient(t, fmt.Sprint(i))
		nine = append(nine, r)
	}
	for _, tt := range []struct {
		name   string
		random io.Reader
		to     []Recipient
		want   error
		text   string
	}{
		{"no recipient", stream(""), nil, ErrNoRecipients, ""},
		{"nine recipients", stream(""), nine, ErrTooManyRecipients, "9, at most 8"},
		{"no key id", stream(""), []Recipient{{Public: a.Public}}, ErrKeyID, "0 bytes"},
		{"long key id", stream(""), []Recipient{{KeyID: make([]byte, 17), Public: a.Public}}, ErrKeyID, "17 bytes"},
		{"no key", stream(""), []Recipient{a, {KeyID: a.KeyID}}, ErrKey, ""},
		{"wrong curve", stream(""), []Recipient{{a.KeyID, p384.PublicKey()}}, ErrCurve, "recipient key is on P-384, want P-256"},
		{"same key, other id", stream(""), []Recipient{a, b, {b.KeyID, a.Public}}, ErrDuplicateRecipient, "recipients 0 and 2"},
		{"no randomness", iotest.ErrReader(io.EOF), []Recipient{a}, io.EOF, "content key"},
		{"short IV", io.LimitReader(stream(""), 27), []Recipient{a}, io.ErrUnexpectedEOF, "initialization vector"},
		{"short ephemeral key", io.LimitReader(stream(""), 28+32+31), []Recipient{a, b}, io.ErrUnexpectedEOF, "recipient 1: ephemeral key"},
		{"no valid scalar", ones{}, []Recipient{a}, nil, "random source"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewSealer(tt.random, tt.to)
			if s != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, %v, want an error that wraps %v and says %q", s, err, tt.want, tt.text)
			}
		})
	}
}

// ones is a reader of 0xff bytes.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestEphemeralRejection(t *testing.T) {
	good := bytes.Repeat([]byte{7}, 32)
	want := privateKey(t, good)
	zero := make([]byte, 32)
	for _, bad := range [][]byte{zero, bytes.Repeat([]byte{0xff}, 32)} {
		got, err := newEphemeral(bytes.NewReader(append(bytes.Clone(bad), good...)))
		if err != nil || !got.Equal(want) {
			t.Errorf("after %x: %v", bad, err)
		}
	}
}

func TestSealErrors(t *testing.T) {
	_, to := recipient(t, "a")
	broken := errors.New("broken")
	long := 24*chunkSize + 1
	for _, tt := range []struct {
		name string
		dst  io.Writer
		src  io.Reader
		want error
	}{
		{"source fails at once", io.Discard, iotest.ErrReader(broken), broken},
		{"source fails in the first chunk", io.Discard, failAfter(100, broken), broken},
		{"source fails between chunks", io.Discard, failAfter(chunkSize, broken), broken},
		{"source fails later", io.Discard, failAfter(long, broken), broken},
		{"source is truncated", io.Discard, failAfter(100, io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
		{"long source is truncated", io.Discard, failAfter(long, io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
		{"short payload, full disk", &fullWriter{0, broken}, io.LimitReader(ones{}, 100), broken},
		{"full disk at the first chunk", &fullWriter{100, broken}, io.LimitReader(ones{}, int64(long)), broken},
		{"full disk later", &fullWriter{20 * chunkSize, broken}, io.LimitReader(ones{}, int64(long)), broken},
		{"full disk at the last chunk", &fullWriter{24 * chunkSize, broken}, io.LimitReader(ones{}, int64(long)), broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left behind
				s := sealer(t, stream(""), to)
				if result, err := s.Seal(tt.dst, tt.src); !errors.Is(err, tt.want) || result != (Result{}) {
					t.Errorf("got %+v, %v, want %v", result, err, tt.want)
				}
				if _, err := s.Seal(io.Discard, strings.NewReader("")); !errors.Is(err, ErrSpent) {
					t.Errorf("second payload after the failure: %v", err)
				}
			})
		})
	}
}

func failAfter(n int, err error) io.Reader {
	return io.MultiReader(io.LimitReader(ones{}, int64(n)), iotest.ErrReader(err))
}

// fullWriter takes n bytes.
type fullWriter struct {
	n   int
	err error
}

func (w *fullWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		return 0, w.err
	}
	w.n -= len(p)
	return len(p), nil
}

func TestSealTwice(t *testing.T) {
	_, to := recipient(t, "a")
	s := sealer(t, stream(""), to)
	if _, err := s.Seal(io.Discard, strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	var dst bytes.Buffer
	if _, err := s.Seal(&dst, strings.NewReader("two")); !errors.Is(err, ErrSpent) || dst.Len() != 0 {
		t.Errorf("second payload: %v, %d bytes", err, dst.Len())
	}
}

// The 32-bit block counter must not wrap, on either side.
func TestCounterBound(t *testing.T) {
	_, to := recipient(t, "a")
	for _, tt := range []struct {
		counter string
		limit   int
	}{
		{"ffffffff", 16},
		{"fffffffe", 32},
		{"ffff0000", 1 << 20}, // the bound falls at the end of a chunk
	} {
		iv := append(make([]byte, 12), unhex(tt.counter)...)
		seal := func(n int) error {
			s := sealer(t, stream(""), to)
			var err error
			if s.stream, err = newKeystream(new([keySize]byte), iv); err != nil {
				t.Fatal(err)
			}
			_, err = s.Seal(io.Discard, bytes.NewReader(make([]byte, n)))
			return err
		}
		open := func(n int) error {
			r, err := NewReader(bytes.NewReader(make([]byte, n)), Header{Algorithm: A128CTR, IV: iv}, &ContentKey{key: new([keySize]byte)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, r)
			return err
		}
		for name, run := range map[string]func(int) error{"seal": seal, "open": open} {
			if err := run(tt.limit); err != nil {
				t.Errorf("%s from %s: %d bytes: %v", name, tt.counter, tt.limit, err)
			}
			if err := run(tt.limit + 1); !errors.Is(err, ErrTooLong) {
				t.Errorf("%s from %s: %d bytes: %v, want %v", name, tt.counter, tt.limit+1, err, ErrTooLong)
			}
		}
	}
	r, err := NewReader(ones{}, Header{Algorithm: A128CTR, IV: bytes.Repeat([]byte{0xff}, 16)}, &ContentKey{key: new([keySize]byte)})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{17, 1} { // the second would fit if the first had not been refused
		if got, err := r.Read(make([]byte, n)); got != 0 || !errors.Is(err, ErrTooLong) {
			t.Errorf("read of %d: %d, %v", n, got, err)
		}
	}
	k, err := newKeystream(new([keySize]byte), make([]byte, aes.BlockSize))
	if err != nil || k.left != MaxPayload || MaxPayload != 64<<30 {
		t.Errorf("a fresh IV allows %d bytes, %v, want %d", k.left, err, uint64(MaxPayload))
	}
}

func TestSealSizes(t *testing.T) {
	_, to := recipient(t, "a")
	for _, size := range []int{0, 1, 15, 16, 17, chunkSize - 1, chunkSize, chunkSize + 1, serialChunks*chunkSize - 1,
		serialChunks * chunkSize, serialChunks*chunkSize + 1, (serialChunks + chunks) * chunkSize, 30*chunkSize + 7} {
		image := make([]byte, size)
		if _, err := io.ReadFull(stream("image"), image); err != nil {
			t.Fatal(err)
		}
		for name, src := range map[string]io.Reader{
			"whole":    bytes.NewReader(image),
			"halves":   iotest.HalfReader(bytes.NewReader(image)),
			"with EOF": iotest.DataErrReader(bytes.NewReader(image)),
		} {
			s := sealer(t, stream("seal"), to)
			key, err := s.Identity(0).Unwrap(s.Header())
			if err != nil {
				t.Fatal(err)
			}
			block, err := aes.NewCipher(key.key[:])
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, size)
			cipher.NewCTR(block, s.Header().IV).XORKeyStream(want, image)

			var got bytes.Buffer
			result, err := s.Seal(&got, src)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d bytes, %s: another ciphertext", size, name)
			}
			if result != (Result{sha256.Sum256(image), sha256.Sum256(want), int64(size)}) {
				t.Errorf("%d bytes, %s: %+v", size, name, result)
			}
			opened, err := NewReader(iotest.HalfReader(&got), s.Header(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(opened, image); err != nil {
				t.Errorf("%d bytes, %s: %v", size, name, err)
			}
		}
	}
}

// Two payloads never share key material, also for the same recipients.
func TestFreshness(t *testing.T) {
	_, to := recipient(t, "a")
	a, b := sealer(t, rand.Reader, to).Header(), sealer(t, rand.Reader, to).Header()
	if bytes.Equal(a.IV, b.IV) || a.Recipients[0].EphemeralX == b.Recipients[0].EphemeralX || a.Recipients[0].Wrapped == b.Recipients[0].Wrapped {
		t.Errorf("headers %+v and %+v", a, b)
	}
}

func TestHeaderIsACopy(t *testing.T) {
	_, to := recipient(t, "a")
	s := sealer(t, stream(""), to)
	h := s.Header()
	h.IV[0] ^= 1
	h.Recipients[0].KeyID[0] ^= 1
	h.Recipients[0].Wrapped[0] ^= 1
	to.KeyID[0] ^= 1
	key, err := s.Identity(0).Unwrap(s.Header())
	if err != nil || bytes.Equal(s.Header().IV, h.IV) || bytes.Equal(s.Header().Recipients[0].KeyID, h.Recipients[0].KeyID) {
		t.Errorf("a change of the header reaches the sealer: %v, %v", key, err)
	}
}

// Memory must not grow with the payload, on either side.
func TestMemory(t *testing.T) {
	_, to := recipient(t, "a")
	seal := func(size int64) uint64 {
		s := sealer(t, stream(""), to)
		return allocated(func() {
			if result, err := s.Seal(io.Discard, io.LimitReader(ones{}, size)); err != nil || result.Size != size {
				t.Fatal(result, err)
			}
		})
	}
	open := func(size int64) uint64 {
		buf := make([]byte, 32<<10)
		return allocated(func() {
			r, err := NewReader(io.LimitReader(ones{}, size), Header{Algorithm: A128CTR, IV: draftIV}, &ContentKey{key: new([keySize]byte)})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); err != nil || n != size {
				t.Fatal(n, err)
			}
		})
	}
	for name, run := range map[string]func(int64) uint64{"seal": seal, "open": open} {
		run(1 << 20) // the first use of crypto packages allocates once
		small, large := run(1<<20), run(64<<20)
		if large > small+16<<10 || large > 1<<20 {
			t.Errorf("%s: %d bytes of memory for 64 MiB, %d for 1 MiB", name, large, small)
		}
	}
}

// allocated returns how many bytes f allocates on the heap in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestWipe(t *testing.T) {
	device, to := recipient(t, "a")
	s := sealer(t, stream(""), to)
	view, header := s.Identity(0), s.Header()
	key, err := view.Unwrap(header)
	if err != nil {
		t.Fatal(err)
	}
	bits, kekBits := key.key, s.views[0].kek
	for range 2 {
		key.Wipe()
		s.Wipe()
	}
	if zero := [keySize]byte{}; *bits != zero || *kekBits != zero {
		t.Error("keys are still in memory")
	}
	if _, err := NewReader(strings.NewReader(""), header, key); !errors.Is(err, ErrSpent) {
		t.Errorf("reader with a wiped key: %v", err)
	}
	if _, err := s.Seal(io.Discard, strings.NewReader("")); !errors.Is(err, ErrSpent) {
		t.Errorf("seal after wipe: %v", err)
	}
	if _, err := view.Unwrap(header); !errors.Is(err, ErrSpent) {
		t.Errorf("sender's view after wipe: %v", err)
	}
	if _, err := identity(t, device).Unwrap(s.Header()); err != nil {
		t.Errorf("header after wipe: %v", err)
	}
	agreed := &[keySize]byte{1}
	_, err = unwrapAny(header, nil, func(*WrappedKey, *ecdh.PublicKey) (*[keySize]byte, error) { return agreed, nil })
	if !errors.Is(err, ErrUnwrap) || *agreed != [keySize]byte{} {
		t.Errorf("after %v the key encryption key is still in memory", err)
	}
	kek := NewKEK(nil, [keySize]byte{1})
	kek.Wipe()
	if _, err := kek.Unwrap(header); !errors.Is(err, ErrSpent) {
		t.Errorf("key encryption key after wipe: %v", err)
	}
}

func TestRedaction(t *testing.T) {
	device, to := recipient(t, "a")
	s := sealer(t, stream(""), to)
	key, err := s.Identity(0).Unwrap(s.Header())
	if err != nil {
		t.Fatal(err)
	}
	*key.key = [keySize]byte(bytes.Repeat([]byte{0xa5}, keySize))
	*s.views[0].kek = *key.key
	kek := NewKEK([]byte("kid"), *key.key)

	for _, v := range []any{key, *key, kek, *kek, s, s.Identity(0), identity(t, device)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			if got := fmt.Sprintf(verb, v); got != "[redacted]" {
				t.Errorf("%T under %s: %s", v, verb, got)
			}
		}
		if got, err := json.Marshal(map[string]any{"v": v}); err != nil || string(got) != `{"v":"[redacted]"}` {
			t.Errorf("%T in JSON: %s, %v", v, got, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		if got := log.String(); !strings.Contains(got, `"v":"[redacted]"`) || !strings.Contains(got, "v=[redacted]") {
			t.Errorf("%T in slog: %s", v, got)
		}
	}
	// fmt does not ask the methods of unexported fields.
	holder := struct {
		key ContentKey
		kek KEK
		s   Sealer
	}{*key, *kek, *s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
		got := fmt.Sprintf(verb, holder)
		for _, leak := range []string{"a5a5", "165 165", "165, 165", "0xa5, 0xa5"} {
			if strings.Contains(got, leak) {
				t.Errorf("an enclosing struct prints %s under %s", got, verb)
			}
		}
	}
}
