//go:build valgrind && linux && amd64

package bootloader

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"runtime/debug"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/valgrind"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
)

// lookup reads a table at secret places, which Memcheck has to report as well.
//
//go:noinline
func lookup(table *[256]byte, secret []byte) (sum byte) {
	for _, s := range secret {
		sum += table[s]
	}
	return sum
}

// TestConstantTime counts the branches and addresses that depend on a secret, in
// all that the verifiers do with secrets. Branches on a verdict are allowed, and
// counted: a comparison that ends early has one for each byte. It runs under
// Memcheck only, see make consttime.
func TestConstantTime(t *testing.T) {
	if !valgrind.Running() {
		t.Fatal("not under valgrind: run make consttime")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // freed memory keeps its marks

	secret, other := make([]byte, 32), make([]byte, 32)
	rand.Read(secret)
	copy(other, secret)
	var table [256]byte
	var sink [1]byte

	shared := sharedKeyParcel(t)
	sharedEnvelope := shared.envelope(t)
	agreed := newParcel(t, Chips()[0], "T1", testImage(t, 1000))
	scalar := sha256.Sum256([]byte("device"))
	agreed.encrypt(t, newDeviceKey(t, "device"))
	agreedEnvelope := agreed.envelope(t)
	mcubootFile, mcubootKey := encryptedMCUboot(t)

	for _, c := range []struct {
		name string
		// most is how many are allowed, and what for; least is what has to be found:
		// the controls, and that the secret is used at all.
		least, most int
		secret      []byte
		// prepare is not counted: it brings the secret to where it is kept.
		prepare func()
		run     func() error
	}{
		{name: "control: early exit", least: 32, most: 32, secret: secret, run: func() error {
			equalEarly(secret, other)
			return nil
		}},
		{name: "control: bytes.Equal", least: 1, most: 32, secret: secret, run: func() error {
			bytes.Equal(secret, other)
			return nil
		}},
		{name: "control: table lookup", least: 32, most: 32, secret: secret, run: func() error {
			sink[0] = lookup(&table, secret)
			return nil
		}},
		{name: "subtle.ConstantTimeCompare", secret: secret, run: func() error {
			sink[0] = byte(subtle.ConstantTimeCompare(secret, other))
			return nil
		}},
		{name: "SHA-256", secret: secret, run: func() error {
			sum := sha256.Sum256(secret)
			sink[0] = sum[0]
			return nil
		}},
		{name: "unwrap with a shared key", least: 1, most: 1, // the verdict
			secret: kekBytes[:], prepare: func() { shared.device.Identity = encrypt.NewKEK(nil, kekBytes) },
			run: func() error {
				_, err := shared.device.Identity.Unwrap(Header(*shared.manifest.Install.Encryption))
				return err
			}},
		{name: "verify with a shared key", least: 1, most: 2, // the verdicts of the steps unwrap and image
			secret: kekBytes[:], prepare: func() { shared.device.Identity = encrypt.NewKEK(nil, kekBytes) },
			run: func() error {
				_, _, err := shared.verify(t, sharedEnvelope)
				return err
			}},
		{name: "verify with a key agreement", least: 1, most: 4, // the two verdicts, key id and point at infinity
			secret: scalar[:], prepare: func() { agreed.device.Identity = deviceIdentity(t, scalar[:]) },
			run: func() error {
				_, _, err := agreed.verify(t, agreedEnvelope)
				return err
			}},
		{name: "MCUboot, decrypt", least: 1, most: 3, // the verdicts on tag and hash, point at infinity
			secret: mcubootKey, run: func() error {
				_, err := mcuboot.Decrypt(mcubootFile, deviceKeyOf)
				return err
			}, prepare: func() {
				var err error
				if deviceKeyOf, err = mcuboot.ParseDeviceKey(mcubootKey); err != nil {
					t.Fatal(err)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// What the runtime does meanwhile may add to one count, a leak is in each.
			found := -1
			for range 3 {
				valgrind.Secret(c.secret)
				if c.prepare != nil {
					c.prepare()
				}
				before := valgrind.Errors()
				err := c.run()
				n := valgrind.Errors() - before
				valgrind.Public(c.secret)
				valgrind.Public(sink[:])
				if err != nil {
					t.Fatal("refused")
				}
				if found < 0 || n < found {
					found = n
				}
			}
			t.Logf("%d branches or addresses depend on the secret", found)
			if found < c.least || found > c.most {
				t.Errorf("want %d to %d", c.least, c.most)
			}
		})
	}
}

var (
	kekBytes    = [16]byte([]byte("0123456789abcdef"))
	deviceKeyOf mcuboot.DeviceKey
)

func deviceIdentity(t *testing.T, scalar []byte) encrypt.Identity {
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return identity(t, key)
}

// sharedKeyParcel is encrypted under kekBytes, which this package only reads.
func sharedKeyParcel(t *testing.T) *parcel {
	t.Helper()
	p := newParcel(t, Chips()[0], "T1", testImage(t, 1000))
	p.encrypt(t, newDeviceKey(t, "device"))
	kek, err := aes.NewCipher(kekBytes[:])
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("a key of 16 byte")
	stream, err := aes.NewCipher(content)
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCTR(stream, p.manifest.Install.Encryption.IV[:]).XORKeyStream(p.payload, testImage(t, 1000))
	p.manifest.Install.Received = manifest.Content{Digest: sha256.Sum256(p.payload), Size: uint32(len(p.payload))}
	r := p.recipient()
	r.Algorithm, r.X, r.Y, r.KeyID = cose.A128KW, [32]byte{}, [32]byte{}, nil
	r.Wrapped = wrapKey(kek, content)
	return p
}

// wrapKey is RFC 3394, section 2.2.1, for a key of 16 bytes.
func wrapKey(kek cipher.Block, key []byte) (wrapped [24]byte) {
	a := bytes.Repeat([]byte{0xa6}, 8)
	copy(wrapped[8:], key)
	for t := 1; t <= 12; t++ {
		r := wrapped[16-8*(t%2):][:8]
		b := append(bytes.Clone(a), r...)
		kek.Encrypt(b, b)
		b[7] ^= byte(t)
		copy(a, b[:8])
		copy(r, b[8:])
	}
	copy(wrapped[:], a)
	return wrapped
}

// encryptedMCUboot returns an image, and the device's key in PKCS #8.
func encryptedMCUboot(t *testing.T) (file, key []byte) {
	t.Helper()
	private := newDeviceKey(t, "device")
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	device, err := mcuboot.ParseDeviceKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMCUbootMaker(signer, mcuboot.SwapMove)
	if err != nil {
		t.Fatal(err)
	}
	file = m.build(t.Context(), signer, func(o *mcuboot.Options) { o.Encrypt = &mcuboot.Encrypt{To: device.Recipient()} })
	if m.err != nil {
		t.Fatal(m.err)
	}
	return file, key
}
