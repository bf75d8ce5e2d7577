package sign_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors"
)

const draftKey = "suit/libcsuit/trust_anchor_secp256r1_pub.pem"

// p384PEM was made with openssl ecparam -name secp384r1 -genkey.
const p384PEM = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEJxCwNwC/DYe0A9AJs5LrhwbwFvWgXe8r
G52iAbokIf8+vZqfV0e+HPPeaNdENLN7WFTya/DK6HPM+1zZ3tGL6k+bRyEAjVsD
+rJptxdrdAKWCaDv9Ct17euvgRpmv+ws
-----END PUBLIC KEY-----
`

func draftPEM(t testing.TB) []byte {
	t.Helper()
	b, err := testvectors.Read(draftKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustKey(t testing.TB, data []byte) sign.PublicKey {
	t.Helper()
	k, err := sign.ParsePublicKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// insert puts bytes at an offset and raises the one-byte lengths at the others.
func insert(b []byte, at int, more []byte, lengths ...int) []byte {
	b = slices.Insert(bytes.Clone(b), at, more...)
	for _, i := range lengths {
		b[i] += byte(len(more))
	}
	return b
}

func TestParsePublicKeyRefuses(t *testing.T) {
	text := draftPEM(t)
	block, _ := pem.Decode(text)
	der := block.Bytes // 30 59 · 30 13 (algorithm) · 03 42 00 04 X Y, the point from offset 26
	const point = 26
	if len(der) != point+65 || der[point] != 4 {
		t.Fatalf("unexpected layout: % x", der)
	}
	pemOf := func(kind string, headers map[string]string, b []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: b})
	}
	spki := func(pub any) []byte {
		b, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	curve := func(c elliptic.Curve) []byte {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return spki(key.Public())
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	// withPoint puts another BIT STRING content behind the algorithm of der.
	withPoint := func(p ...byte) []byte {
		return slices.Concat([]byte{0x30, byte(24 + len(p))}, der[2:point-3], []byte{3, byte(1 + len(p)), 0}, p)
	}
	x, y := der[point+1:point+33], der[point+33:]
	flip := func(at int, mask byte) []byte {
		b := bytes.Clone(der)
		b[at] ^= mask
		return b
	}

	for _, tt := range []struct {
		name string
		data []byte
		want error
	}{
		{"nil", nil, sign.ErrKey},
		{"white space", []byte(" \n"), sign.ErrKey},
		{"text", []byte("not a key"), sign.ErrKey},

		{"rsa", spki(rsaKey.Public()), sign.ErrKey},
		{"ed25519, 31 bytes", unhex(t, "3029300506032b6570032000"+strings.Repeat("11", 31)), sign.ErrKey},
		{"ed448", unhex(t, "3043300506032b6571033a00"+strings.Repeat("11", 57)), sign.ErrKey},
		{"x25519", unhex(t, "302a300506032b656e03210028c2943a00835ee6be46779210edf7ebe1f4d5a369da44ca4e367ef5df108448"), sign.ErrKey},
		{"P-521", curve(elliptic.P521()), sign.ErrCurve},
		{"P-521 in PEM", pemOf("PUBLIC KEY", nil, curve(elliptic.P521())), sign.ErrCurve},
		{"P-224", curve(elliptic.P224()), sign.ErrCurve},
		{"secp256k1", unhex(t, "3056301006072a8648ce3d020106052b8104000a03420004"+
			"e42b4c2fe92de0aface19a2c0859ed72849b457653b6efce385e59ffa7d810a9"+
			"e00238144b5cd530957bb36f5c0d5ca827e013e76181fc6483eeb2ddb9ec7112"), sign.ErrKey},
		{"P-256 point under the name of P-384", slices.Concat(unhex(t, "3056 3010 0607 2a8648ce3d0201 0605 2b81040022"), der[point-3:]), sign.ErrKey},

		{"trailing byte", append(bytes.Clone(der), 0), sign.ErrKey},
		{"trailing newline", append(bytes.Clone(der), '\n'), sign.ErrKey},
		{"truncated", der[:len(der)-1], sign.ErrKey},
		{"long-form length", insert(der, 1, []byte{0x81}), sign.ErrKey},
		{"element after the key", insert(der, len(der), []byte{5, 0}, 1), sign.ErrKey},
		{"element after the curve", insert(der, point-3, []byte{5, 0}, 1, 3), sign.ErrKey},
		{"unused bits in the key", flip(point-1, 1), sign.ErrKey},
		{"private key", func() []byte {
			b, err := x509.MarshalPKCS8PrivateKey(privateKey(t, sign.ESP256))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}(), sign.ErrKey},

		{"point off the curve", flip(len(der)-1, 1), sign.ErrKey},
		{"x not in the field", withPoint(slices.Concat([]byte{4}, elliptic.P256().Params().P.Bytes(), y)...), sign.ErrKey},
		{"compressed point", withPoint(append([]byte{2 + y[31]&1}, x...)...), sign.ErrKey},
		{"hybrid point", withPoint(slices.Concat([]byte{6 + y[31]&1}, x, y)...), sign.ErrKey},
		{"point without its form", withPoint(slices.Concat(x, y)...), sign.ErrKey},
		{"point at infinity", withPoint(0), sign.ErrKey},
		{"point 0, 0", withPoint(append([]byte{4}, make([]byte, 64)...)...), sign.ErrKey},
		{"no point", withPoint(), sign.ErrKey},

		{"PEM type EC PUBLIC KEY", pemOf("EC PUBLIC KEY", nil, der), sign.ErrKey},
		{"PEM type CERTIFICATE", pemOf("CERTIFICATE", nil, der), sign.ErrKey},
		{"PEM type PRIVATE KEY", pemOf("PRIVATE KEY", nil, der), sign.ErrKey},
		{"PEM type in lower case", pemOf("public key", nil, der), sign.ErrKey},
		{"PEM with headers", pemOf("PUBLIC KEY", map[string]string{"Comment": "x"}, der), sign.ErrKey},
		{"PEM around nothing", pemOf("PUBLIC KEY", nil, nil), sign.ErrKey},
		{"PEM around PEM", pemOf("PUBLIC KEY", nil, text), sign.ErrKey},
		{"PEM around a trailing byte", pemOf("PUBLIC KEY", nil, append(bytes.Clone(der), 0)), sign.ErrKey},
		{"PEM without its end", text[:len(text)-30], sign.ErrKey},
		{"PEM with a broken line", bytes.Replace(text, []byte("MFkw"), []byte("MF*w"), 1), sign.ErrKey},
		{"text before the PEM", append([]byte("subject: x\n"), text...), sign.ErrKey},
		{"text after the PEM", append(bytes.Clone(text), 'x'), sign.ErrKey},
		{"two keys", append(bytes.Clone(text), text...), sign.ErrKey},
		{"a key after a broken block", append([]byte("-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n"), text...), sign.ErrKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := sign.ParsePublicKey(tt.data)
			if !errors.Is(err, tt.want) || !k.IsZero() {
				t.Fatalf("got key %s, %v; want %v", k.ID().Short(), err, tt.want)
			}
			if other := map[error]error{sign.ErrKey: sign.ErrCurve, sign.ErrCurve: sign.ErrKey}[tt.want]; errors.Is(err, other) {
				t.Errorf("%v is also %v", err, other)
			}
		})
	}
}

// unchecked makes a key from its coordinates, as PKCS#11 libraries do.
func unchecked(c elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey {
	//lint:ignore SA1019 nothing else makes a key that is off its curve
	return &ecdsa.PublicKey{Curve: c, X: x, Y: y}
}

// coordinates returns the fixed P-256 key's.
func coordinates(t *testing.T) (x, y *big.Int) {
	t.Helper()
	point, err := privateKey(t, sign.ESP256).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:])
}

func TestNewPublicKeyRefuses(t *testing.T) {
	x, y := coordinates(t)
	for _, tt := range []struct {
		name string
		pub  any
		want error
	}{
		{"nil", nil, sign.ErrKey},
		{"no key", (*ecdsa.PublicKey)(nil), sign.ErrKey},
		{"no curve", &ecdsa.PublicKey{}, sign.ErrKey},
		{"not a pointer", *unchecked(elliptic.P256(), x, y), sign.ErrKey},
		{"private key", privateKey(t, sign.ESP256), sign.ErrKey},
		{"ed25519, 31 bytes", ed25519.PublicKey(make([]byte, 31)), sign.ErrKey},
		{"ed25519, empty", ed25519.PublicKey(nil), sign.ErrKey},
		{"ed25519 private key", ed25519.PrivateKey(make([]byte, 64)), sign.ErrKey},
		{"off the curve", unchecked(elliptic.P256(), big.NewInt(1), big.NewInt(1)), sign.ErrKey},
		{"infinity", unchecked(elliptic.P256(), new(big.Int), new(big.Int)), sign.ErrKey},
		{"negative", unchecked(elliptic.P256(), new(big.Int).Neg(x), y), sign.ErrKey},
		{"x not in the field", unchecked(elliptic.P256(), new(big.Int).Add(x, elliptic.P256().Params().P), y), sign.ErrKey},
		{"P-256 point on P-384", unchecked(elliptic.P384(), x, y), sign.ErrKey},
		{"P-224", unchecked(elliptic.P224(), x, y), sign.ErrCurve},
		{"P-521", unchecked(elliptic.P521(), x, y), sign.ErrCurve},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if k, err := sign.NewPublicKey(tt.pub); !errors.Is(err, tt.want) || !k.IsZero() {
				t.Errorf("got key %s, %v; want %v", k.ID().Short(), err, tt.want)
			}
		})
	}
}

// A PublicKey is a value: no later change of what it was made from, and of what
// it handed out, reaches it.
func TestPublicKeyIsACopy(t *testing.T) {
	x, y := coordinates(t)
	k, err := sign.NewPublicKey(unchecked(elliptic.P256(), x, y))
	if err != nil {
		t.Fatal(err)
	}
	der, point := k.DER(), k.Point()
	x.SetInt64(0)
	y.SetInt64(0)
	k.DER()[0], k.Point()[0] = 0, 0

	if !bytes.Equal(k.DER(), der) || !bytes.Equal(k.Point(), point) {
		t.Error("the key has changed")
	}
	signer, err := sign.FromCrypto(privateKey(t, sign.ESP256))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Verify([]byte("message"), mustSign(t, signer, []byte("message"))); err != nil {
		t.Error(err)
	}
}

// The ids are what "openssl pkey -pubin -outform DER | sha256sum" prints.
func TestKeyID(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pem   []byte
		a     sign.Algorithm
		id    string
		point string // its beginning
		size  int
	}{
		{"P-256", draftPEM(t), sign.ESP256, "ade2dad611717e910e295db3ba086fc40490b0daacfc23aace9348077b839b17", "048496811aae0baa", 65},
		{"P-384", []byte(p384PEM), sign.ESP384, "8eba6bf66fdd4ef6b1015eea2f8340272daf82eb36fec5fde7d0c36c890b2faa", "042710b03700bf0d", 97},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := mustKey(t, tt.pem)
			if k.IsZero() || k.Algorithm() != tt.a {
				t.Errorf("algorithm %s", k.Algorithm())
			}
			if got := k.ID().String(); got != "sha256:"+tt.id {
				t.Errorf("id %s", got)
			}
			if got := k.ID().Short(); got != "sha256:"+tt.id[:16] {
				t.Errorf("short id %s", got)
			}
			if hint := k.ID().Hint(); hex.EncodeToString(hint[:]) != tt.id[:2*sign.HintSize] {
				t.Errorf("hint %x", hint)
			}
			if p := k.Point(); len(p) != tt.size || !strings.HasPrefix(hex.EncodeToString(p), tt.point) || !bytes.HasSuffix(k.DER(), p) {
				t.Errorf("point % x", p)
			}
			if !bytes.Equal(k.PEM(), tt.pem) {
				t.Errorf("encodes to\n%s", k.PEM())
			}
			for form, data := range map[string][]byte{
				"DER":                  k.DER(),
				"PEM, no last newline": bytes.TrimSpace(tt.pem),
				"PEM, CR LF":           bytes.ReplaceAll(tt.pem, []byte("\n"), []byte("\r\n")),
				"PEM in white space":   []byte("\n \t" + string(tt.pem) + "\r\n\n"),
			} {
				again, err := sign.ParsePublicKey(data)
				if err != nil || !again.Equal(k) || again.ID() != k.ID() {
					t.Errorf("%s: key %s, %v", form, again.ID().Short(), err)
				}
			}
		})
	}
}

func TestZeroPublicKey(t *testing.T) {
	var none sign.PublicKey
	k := mustKey(t, draftPEM(t))
	if !none.IsZero() || none.Algorithm() != 0 || none.ID() != (sign.KeyID{}) || none.DER() != nil || none.PEM() != nil || none.Point() != nil {
		t.Error("the zero value holds a key")
	}
	if none.Equal(none) || none.Equal(k) || k.Equal(none) {
		t.Error("no key equals a key")
	}
	if !k.Equal(k) || k.Equal(mustKey(t, []byte(p384PEM))) {
		t.Error("a key differs from itself or equals another")
	}
	signature := mustSign(t, newKey(t, sign.ESP256), []byte("message"))
	if err := none.Verify([]byte("message"), signature); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("got %v", err)
	}
	if err := none.VerifyDigest(make([]byte, 32), signature); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("got %v", err)
	}
	if err := none.Verify(nil, sign.Signature{}); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("got %v", err)
	}
}

func TestVerify(t *testing.T) {
	message := []byte("the exact bytes")
	for _, a := range algorithms {
		t.Run(a.String(), func(t *testing.T) {
			signer := newKey(t, a)
			public := signer.Public()
			good := mustSign(t, signer, message)
			digest := a.Digest(message)
			other := algorithms[0]
			if other == a {
				other = algorithms[1]
			}

			for _, tt := range []struct {
				name      string
				key       sign.PublicKey
				message   []byte
				signature sign.Signature
			}{
				{"other key", newKey(t, a).Public(), message, good},
				{"key of the other algorithm", newKey(t, other).Public(), message, good},
				{"signature of the other algorithm", public, message, mustSign(t, newKey(t, other), message)},
				{"zero signature", public, message, sign.Signature{}},
				{"empty message", public, nil, good},
				{"longer message", public, append(bytes.Clone(message), 0), good},
				{"digest as message", public, digest, good},
			} {
				if err := tt.key.Verify(tt.message, tt.signature); !errors.Is(err, sign.ErrSignature) {
					t.Errorf("%s: got %v", tt.name, err)
				}
			}
			for _, n := range []int{0, 1, len(digest) - 1, len(digest) + 1, 20, 64} {
				if err := public.VerifyDigest(make([]byte, n), good); !errors.Is(err, sign.ErrDigestSize) {
					t.Errorf("digest of %d bytes: got %v", n, err)
				}
			}
			raw := good.Encode(sign.Raw)
			for i := range raw {
				bad := bytes.Clone(raw)
				bad[i] ^= 1 << (i % 8)
				s, err := sign.ParseSignature(a, sign.Raw, bad)
				if err != nil {
					continue // out of range, refused even earlier
				}
				if err := public.Verify(message, s); !errors.Is(err, sign.ErrSignature) {
					t.Errorf("bit flipped in byte %d: got %v", i, err)
				}
			}

			if err := public.Verify(message, good); err != nil {
				t.Error(err)
			}
			if err := public.VerifyDigest(digest, good); err != nil {
				t.Error(err)
			}
			// The documented second signature, (r, n-s).
			half := len(raw) / 2
			s := new(big.Int).SetBytes(raw[half:])
			second := rawBytes(a, new(big.Int).SetBytes(raw[:half]), s.Sub(a.Curve().Params().N, s))
			if err := public.Verify(message, mustParse(t, a, sign.Raw, second)); err != nil {
				t.Errorf("(r, n-s): %v", err)
			}
		})
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, text := range [][]byte{draftPEM(f), []byte(p384PEM)} {
		k := mustKey(f, text)
		f.Add(text)
		f.Add(k.DER())
		f.Add(append(k.DER(), 0))
		f.Add(bytes.Replace(text, []byte("PUBLIC"), []byte("PRIVATE"), 2))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := sign.ParsePublicKey(data)
		if err != nil {
			if !k.IsZero() || errors.Is(err, sign.ErrKey) == errors.Is(err, sign.ErrCurve) {
				t.Fatalf("key %s, %v", k.ID().Short(), err)
			}
			return
		}
		der := data
		if block, _ := pem.Decode(data); block != nil {
			der = block.Bytes
		}
		if !bytes.Equal(k.DER(), der) {
			t.Fatalf("% x encodes to % x", der, k.DER())
		}
		for _, form := range [][]byte{k.DER(), k.PEM()} {
			if again, err := sign.ParsePublicKey(form); err != nil || !again.Equal(k) {
				t.Fatalf("%q: key %s, %v", form, again.ID().Short(), err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	message := make([]byte, 55) // the Sig_structure of a manifest
	for _, a := range algorithms {
		b.Run(a.Curve().Params().Name, func(b *testing.B) {
			signer := newKey(b, a)
			public, signature := signer.Public(), mustSign(b, signer, message)
			b.ReportAllocs()
			for b.Loop() {
				if err := public.Verify(message, signature); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
