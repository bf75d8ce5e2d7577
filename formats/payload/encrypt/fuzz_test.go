package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
)

// FuzzUnwrap: no header makes an Identity panic, every refusal is one of the
// documented errors, and what opens is exactly what wrapping the key gives.
func FuzzUnwrap(f *testing.F) {
	key, to := recipient(f, "fuzz")
	device := identity(f, key)
	kek := NewKEK([]byte("kek"), [keySize]byte(draftKEK))
	add := func(h Header, n uint8) {
		w := h.Recipients[0]
		f.Add(int(h.Algorithm), h.IV, int(w.Management), w.KeyID, w.EphemeralX[:], w.EphemeralY[:], w.Wrapped[:], n)
	}
	add(sealer(f, stream("fuzz"), to).Header(), 1)
	add(sealer(f, stream("more"), to).Header(), 3)
	for _, name := range []string{"aes-kw-aes-ctr", "aes-kw-aes-gcm", "es-ecdh-aes-ctr", "es-ecdh-aes-gcm"} {
		add(readInfo(f, vector(f, "suit/firmware-encryption/suit-encryption-info-"+name+".hex")), 1)
	}

	f.Fuzz(func(t *testing.T, algorithm int, iv []byte, management int, id, x, y, wrapped []byte, n uint8) {
		w := WrappedKey{Management: KeyManagement(management), KeyID: id}
		copy(w.EphemeralX[:], x)
		copy(w.EphemeralY[:], y)
		copy(w.Wrapped[:], wrapped)
		h := Header{Algorithm: Algorithm(algorithm), IV: iv}
		for range n % (MaxRecipients + 2) {
			h.Recipients = append(h.Recipients, w)
		}
		check := h.Check()
		for _, who := range []Identity{device, kek} {
			got, err := who.Unwrap(h)
			switch {
			case err != nil:
				if got != nil || check == nil && !errors.Is(err, ErrUnwrap) || check != nil && err.Error() != check.Error() {
					t.Fatalf("unwrap: %v, check: %v", err, check)
				}
				continue
			case check != nil:
				t.Fatalf("opens what the check refuses: %v", check)
			}
			kekBits := (*[keySize]byte)(bytes.Clone(draftKEK))
			if who == device {
				point, err := w.ephemeralKey()
				if err != nil {
					t.Fatal(err)
				}
				if kekBits, err = deriveKEK(key, point); err != nil {
					t.Fatal(err)
				}
			}
			block, err := aes.NewCipher(kekBits[:])
			if err != nil {
				t.Fatal(err)
			}
			if again := wrap(block, got.key); again != w.Wrapped {
				t.Fatalf("wraps to %x, was %x", again, w.Wrapped)
			}
		}
	})
}

// FuzzRoundTrip: what is sealed for some devices opens for each of them, as
// the same bytes and digests, in whatever pieces it is read.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("This is a real firmware image."), "seed", uint8(1), uint16(7))
	f.Add([]byte{}, "", uint8(8), uint16(0))
	f.Add(make([]byte, 1000), "x", uint8(2), uint16(16))
	f.Fuzz(func(t *testing.T, image []byte, seed string, n uint8, piece uint16) {
		step := int(piece / 2)
		if piece%2 == 1 && len(image) > 0 { // over and over, so that short inputs reach the long path
			image = bytes.Repeat(image, 1+((serialChunks+2)*chunkSize)/len(image))
			step += 1 << 10
		}
		var devices []Identity
		var to []Recipient
		for i := range n % (MaxRecipients + 1) {
			key, r := recipient(t, seed+string(rune('a'+i)))
			devices, to = append(devices, identity(t, key)), append(to, r)
		}
		s, err := NewSealer(stream(seed), to)
		if len(to) == 0 {
			if !errors.Is(err, ErrNoRecipients) {
				t.Fatal(err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var sealed bytes.Buffer
		result, err := s.Seal(&sealed, &pieces{image, step})
		if err != nil {
			t.Fatal(err)
		}
		if want := (Result{sha256.Sum256(image), sha256.Sum256(sealed.Bytes()), int64(len(image))}); result != want || sealed.Len() != len(image) {
			t.Fatalf("got %+v and %d bytes, want %+v", result, sealed.Len(), want)
		}
		for i, device := range append(devices, s.Identity(0), s.Identity(len(to)-1)) {
			key, err := device.Unwrap(s.Header())
			if err != nil {
				t.Fatal(i, err)
			}
			r, err := NewReader(&pieces{sealed.Bytes(), step + 1}, s.Header(), key)
			if err != nil {
				t.Fatal(err)
			}
			if opened, err := io.ReadAll(r); err != nil || !bytes.Equal(opened, image) {
				t.Fatalf("device %d: %d bytes, %v", i, len(opened), err)
			}
		}
	})
}

// pieces reads b in steps of at most n bytes, 0 for no limit.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(dst []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	if p.n > 0 && len(dst) > p.n {
		dst = dst[:p.n]
	}
	n := copy(dst, p.b)
	p.b = p.b[n:]
	return n, nil
}
