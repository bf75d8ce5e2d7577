//go:build cgo

package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
)

// unwrapKey is RFC 3394, section 2.2.2, written for any number of semiblocks:
// what a factory does with a blob.
func unwrapKey(tb testing.TB, kek, wrapped []byte) []byte {
	tb.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		tb.Fatal(err)
	}
	n := len(wrapped)/8 - 1
	b, r := make([]byte, 16), bytes.Clone(wrapped)
	copy(b, r[:8])
	for t := 6 * n; t >= 1; t-- {
		i := (t-1)%n + 1
		copy(b[8:], r[8*i:])
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)^uint64(t))
		block.Decrypt(b, b)
		copy(r[8*i:], b[8:])
	}
	if subtle.ConstantTimeCompare(b[:8], bytes.Repeat([]byte{0xa6}, 8)) != 1 {
		tb.Fatalf("%x does not unwrap", wrapped)
	}
	return r[8:]
}

// TestUnwrapKey checks the test's own reference (RFC 3394, sections 4.3 and 4.6).
func TestUnwrapKey(t *testing.T) {
	kek, _ := hex.DecodeString("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
	for wrapped, want := range map[string]string{
		"64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7":                                 "00112233445566778899aabbccddeeff",
		"28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21": "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
	} {
		blob, err := hex.DecodeString(wrapped)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(unwrapKey(t, kek, blob)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestKeyCheckValue compares with values that OpenSSL computed.
func TestKeyCheckValue(t *testing.T) {
	for key, want := range map[string]string{
		"00000000000000000000000000000000":                                 "763cbcde81",
		"000102030405060708090a0b0c0d0e0f":                                 "be7ed6ae78",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f": "377822c093",
		strings.Repeat("ff", 24):                                           "8bd7e00ba9",
	} {
		k, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := KeyCheckValue(k); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, %v, want %s", key, got, err, want)
		}
	}
	if _, err := KeyCheckValue(make([]byte, 17)); err == nil {
		t.Error("a key of 17 bytes has a check value")
	}
}

// importSecret puts an AES key on the token. It may do nothing, must not be read
// and cannot be extracted, but for what the attributes say.
func importSecret(tb testing.TB, token *Token, name string, value []byte, change ...*pkcs11.Attribute) {
	tb.Helper()
	template := attributes{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
		yes(pkcs11.CKA_TOKEN), yes(pkcs11.CKA_PRIVATE), yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE),
		label(name),
	}
	for _, p := range permissions {
		template = append(template, no(p.attribute))
	}
	for _, c := range change {
		for i, a := range template {
			if a.Type == c.Type {
				template = append(template[:i], template[i+1:]...)
				break
			}
		}
		template = append(template, c)
	}
	readWrite(tb, token, func(p *pkcs11.Ctx, session pkcs11.SessionHandle) error {
		_, err := p.CreateObject(session, template)
		return err
	})
}

// secrets is a token with known keys, and the wrapper that uses them.
type secrets struct {
	token             *Token
	wrapper           *Wrapper
	master, transport []byte
}

func useSecrets(tb testing.TB) secrets {
	tb.Helper()
	useSoftHSM(tb)
	makeToken(tb, "lab")
	s := secrets{token: open(tb, "lab"), master: make([]byte, 32), transport: make([]byte, 32)}
	_, _ = rand.Read(s.master)
	_, _ = rand.Read(s.transport)
	importSecret(tb, s.token, "master", s.master, yes(pkcs11.CKA_DERIVE), id(1))
	importSecret(tb, s.token, "transport", s.transport, yes(pkcs11.CKA_WRAP), id(2))
	var err error
	s.wrapper, err = s.token.Wrapper(tb.Context(), WrapperSpec{
		Transport: URI{Object: "transport"}, Master: URI{ID: []byte{1}, Type: "secret-key"}, Generate: true, Size: 32,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// derived is what the token has to derive: AES-ECB of the data.
func (s secrets) derived(tb testing.TB, data []byte) []byte {
	tb.Helper()
	block, err := aes.NewCipher(s.master)
	if err != nil {
		tb.Fatal(err)
	}
	key := make([]byte, len(data))
	for i := 0; i < len(data); i += aes.BlockSize {
		block.Encrypt(key[i:], data[i:])
	}
	return key
}

// opens unwraps a blob and checks its check value.
func (s secrets) opens(tb testing.TB, wrapped, check []byte) []byte {
	tb.Helper()
	key := unwrapKey(tb, s.transport, wrapped)
	want, err := KeyCheckValue(key)
	if err != nil || !bytes.Equal(check, want) {
		tb.Errorf("check value %x, want %x, %v", check, want, err)
	}
	return key
}

func (s secrets) checkDerive(tb testing.TB, data []byte) {
	tb.Helper()
	wrapped, check, err := s.wrapper.Derive(tb.Context(), data)
	if err != nil {
		tb.Error(err)
		return
	}
	if got, want := s.opens(tb, wrapped, check), s.derived(tb, data); !bytes.Equal(got, want) {
		tb.Errorf("derived %x, want %x", got, want)
	}
}

func TestWrapper(t *testing.T) {
	s := useSecrets(t)
	transport, master := s.wrapper.Keys()
	for _, k := range []struct {
		SecretKeyInfo
		uri string
	}{
		{transport, "object=transport;id=%02;type=secret-key"},
		{master, "object=master;id=%01;type=secret-key"},
	} {
		if !strings.HasSuffix(k.URI.String(), k.uri) || k.Size != 32 || k.Local != No || k.Opens != No {
			t.Errorf("%s: %+v", k.URI, k.SecretKeyInfo)
		}
	}
	for _, size := range []int{16, 32} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		s.checkDerive(t, data)
		s.checkDerive(t, data)

		wrapped, check, err := s.wrapper.Import(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.opens(t, wrapped, check); !bytes.Equal(got, data) {
			t.Errorf("imported %x, want %x", got, data)
		}

		seen := map[string]bool{}
		for range 10 {
			wrapped, check, err := s.wrapper.Generate(t.Context(), size)
			if err != nil {
				t.Fatal(err)
			}
			key := s.opens(t, wrapped, check)
			if len(key) != size || seen[string(key)] {
				t.Errorf("generated %d bytes, seen before: %v", len(key), seen[string(key)])
			}
			seen[string(key)] = true
		}
	}
	for _, size := range []int{0, 15, 24, 33, 64} {
		_, _, derive := s.wrapper.Derive(t.Context(), make([]byte, size))
		_, _, imported := s.wrapper.Import(t.Context(), make([]byte, size))
		_, _, generate := s.wrapper.Generate(t.Context(), size)
		for name, err := range map[string]error{"Derive": derive, "Import": imported, "Generate": generate} {
			if !errors.Is(err, ErrKeySpec) {
				t.Errorf("%s of %d bytes: %v", name, size, err)
			}
		}
	}

	// Nothing stays behind in any session but the two keys.
	err := s.token.do(t.Context(), func(s *session) error {
		handles, err := s.find(t.Context(), secretTemplate("", nil))
		if len(handles) != 2 {
			t.Errorf("%d secret keys are left, want 2", len(handles))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSessionKeyIsHidden looks at a device key before it is destroyed.
func TestSessionKeyIsHidden(t *testing.T) {
	s := useSecrets(t)
	_, _, err := s.wrapper.wrap(t.Context(), 16, func(se *session, master pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error) {
		key, err := se.derive(master, make([]byte, 16))
		if err != nil {
			return 0, err
		}
		_, err = se.p.GetAttributeValue(se.handle, key, attributes{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
		if !hasCode(call("", err), pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
			t.Errorf("the value can be read: %v", err)
		}
		v, err := se.read(t.Context(), key, pkcs11.CKA_TOKEN, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE)
		for i, value := range v {
			if stateOf(value) != No {
				t.Errorf("attribute %d is %s", i, stateOf(value))
			}
		}
		return key, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrapperErrors(t *testing.T) {
	s := useSecrets(t)
	master, transport := yes(pkcs11.CKA_DERIVE), yes(pkcs11.CKA_WRAP)
	value := make([]byte, 32)
	importSecret(t, s.token, "m-extractable", value, master, yes(pkcs11.CKA_EXTRACTABLE))
	importSecret(t, s.token, "m-readable", value, master, no(pkcs11.CKA_SENSITIVE))
	importSecret(t, s.token, "m-encrypts", value, master, yes(pkcs11.CKA_ENCRYPT))
	importSecret(t, s.token, "m-signs", value, master, yes(pkcs11.CKA_SIGN))
	importSecret(t, s.token, "m-wraps", value, master, yes(pkcs11.CKA_WRAP))
	importSecret(t, s.token, "m-short", value[:16], master)
	importSecret(t, s.token, "t-extractable", value, transport, yes(pkcs11.CKA_EXTRACTABLE))
	importSecret(t, s.token, "t-readable", value, transport, no(pkcs11.CKA_SENSITIVE))
	importSecret(t, s.token, "t-short", value[:16], transport)
	importSecret(t, s.token, "t-unwraps", value, transport, yes(pkcs11.CKA_UNWRAP))
	importSecret(t, s.token, "t-decrypts", value, transport, yes(pkcs11.CKA_DECRYPT))
	importSecret(t, s.token, "generic", value, master, transport, pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET))
	importSecret(t, s.token, "twin", value, master)
	importSecret(t, s.token, "twin", value, master)
	generate(t, s.token, "signing")
	for _, c := range []struct {
		transport, master URI
		size              int
		want              error
		text              string
	}{
		{URI{Object: "none"}, URI{}, 16, ErrKeyNotFound, "transport key pkcs11:object=none;type=secret-key: key not found; the token has pkcs11:"},
		{URI{Object: "signing"}, URI{}, 16, ErrKeyNotFound, "transport key"},
		{URI{Object: "transport", ID: []byte{9}}, URI{}, 16, ErrKeyNotFound, "id=%09"},
		{URI{Object: "transport", Token: "other"}, URI{}, 16, ErrKeyNotFound, "its URI names another token"},
		{URI{}, URI{}, 16, ErrURI, "it does not name a transport key"},
		{URI{Token: "lab"}, URI{}, 16, ErrURI, "it does not name a transport key"},
		{URI{Object: "transport", Type: "private"}, URI{}, 16, ErrURI, "type is private, want secret-key"},
		{URI{Object: "transport"}, URI{Object: "master", Type: "public"}, 16, ErrURI, "type is public"},
		{URI{Object: "transport"}, URI{Object: "twin"}, 16, ErrKeyAmbiguous, "master key pkcs11:object=twin;type=secret-key: more than one key matches: pkcs11:"},
		{URI{Object: "transport"}, URI{Object: "transport"}, 16, ErrKeyUnfit, "CKA_DERIVE is no"},
		{URI{Object: "master"}, URI{}, 16, ErrKeyUnfit, "CKA_WRAP is no"},
		{URI{Object: "generic"}, URI{}, 16, ErrKeyUnfit, "it is not an AES key"},
		{URI{Object: "t-short"}, URI{}, 32, ErrKeyUnfit, "it has 16 bytes, want 32"},
		{URI{Object: "transport"}, URI{Object: "m-short"}, 32, ErrKeyUnfit, "it has 16 bytes, want 32"},
		{URI{Object: "transport"}, URI{Object: "m-extractable"}, 16, ErrKeyPolicy, "CKA_EXTRACTABLE is yes"},
		{URI{Object: "transport"}, URI{Object: "m-readable"}, 16, ErrKeyPolicy, "CKA_SENSITIVE is no"},
		{URI{Object: "transport"}, URI{Object: "m-encrypts"}, 16, ErrKeyPolicy, "CKA_ENCRYPT is yes"},
		{URI{Object: "transport"}, URI{Object: "m-signs"}, 16, ErrKeyPolicy, "CKA_SIGN is yes"},
		{URI{Object: "transport"}, URI{Object: "m-wraps"}, 16, ErrKeyPolicy, "CKA_WRAP is yes"},
		{URI{Object: "t-extractable"}, URI{}, 16, ErrKeyPolicy, "CKA_EXTRACTABLE is yes"},
		{URI{Object: "t-readable"}, URI{}, 16, ErrKeyPolicy, "CKA_SENSITIVE is no"},
	} {
		_, err := s.token.Wrapper(t.Context(), WrapperSpec{Transport: c.transport, Master: c.master, Size: c.size})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s, %s: %v, want %v with %q", c.transport, c.master, err, c.want, c.text)
		}
	}
	for _, name := range []string{"t-unwraps", "t-decrypts"} {
		w, err := s.token.Wrapper(t.Context(), WrapperSpec{Transport: URI{Object: name}, Size: 16})
		if err != nil {
			t.Fatal(err)
		}
		if k, _ := w.Keys(); k.Opens != Yes {
			t.Errorf("%s: opens is %s", name, k.Opens)
		}
		if _, _, err := w.Derive(t.Context(), make([]byte, 16)); !errors.Is(err, ErrKeySpec) {
			t.Errorf("Derive without a master key: %v", err)
		}
	}

	// Without a login there is nothing to see. The other Token would lend its own.
	if err := s.token.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.wrapper.Derive(t.Context(), make([]byte, 16)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	public, err := openWith(t, "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer public.Close()
	if _, err := public.Wrapper(t.Context(), WrapperSpec{Transport: URI{Object: "transport"}}); !errors.Is(err, ErrPINRequired) {
		t.Errorf("without a login: %v", err)
	}
	if _, err := public.GenerateSecretKey(t.Context(), SecretKeySpec{Label: "x", Use: Wrapping}); !errors.Is(err, ErrPINRequired) {
		t.Errorf("without a login: %v", err)
	}
}

// TestMechanismMissing asks for one that SoftHSM does not have.
func TestMechanismMissing(t *testing.T) {
	s := useSecrets(t)
	err := s.token.do(t.Context(), func(s *session) error { return s.needMechanisms(pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_CCM) })
	if want := "the token lacks a mechanism: CKM 0x00001088"; !errors.Is(err, ErrMechanism) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestGenerateSecretKey(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	for _, spec := range []SecretKeySpec{{Label: "master", ID: []byte{1}, Use: Derivation}, {Label: "transport", Use: Wrapping}} {
		key, err := token.GenerateSecretKey(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if key.Label != spec.Label || key.Size != 32 || key.Local != Yes || key.Opens != No || len(key.ID) == 0 {
			t.Errorf("%+v", key)
		}
		again := spec
		again.ID = nil
		if _, err := token.GenerateSecretKey(t.Context(), again); !errors.Is(err, ErrKeyExists) {
			t.Errorf("the same label: %v", err)
		}
		again = SecretKeySpec{Label: "other", ID: key.ID, Use: spec.Use}
		if _, err := token.GenerateSecretKey(t.Context(), again); !errors.Is(err, ErrKeyExists) {
			t.Errorf("the same id: %v", err)
		}
	}
	for _, spec := range []SecretKeySpec{
		{Label: "", Use: Wrapping}, {Label: "x"}, {Label: strings.Repeat("x", 200), Use: Wrapping}, {Label: "x", ID: make([]byte, 65), Use: Wrapping},
	} {
		if _, err := token.GenerateSecretKey(t.Context(), spec); !errors.Is(err, ErrKeySpec) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	w, err := token.Wrapper(t.Context(), WrapperSpec{Transport: URI{Object: "transport"}, Master: URI{Object: "master"}, Generate: true, Size: 32})
	if err != nil {
		t.Fatal(err)
	}
	one, oneCheck, err := w.Derive(t.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	// The token keeps the keys: another login derives the same.
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	token = open(t, "lab")
	if w, err = token.Wrapper(t.Context(), WrapperSpec{Transport: URI{Object: "transport"}, Master: URI{Object: "master"}, Size: 32}); err != nil {
		t.Fatal(err)
	}
	two, twoCheck, err := w.Derive(t.Context(), make([]byte, 32))
	if err != nil || !bytes.Equal(one, two) || !bytes.Equal(oneCheck, twoCheck) {
		t.Errorf("%x %x, then %x %x, %v", one, oneCheck, two, twoCheck, err)
	}
}

// TestUnfitSecretKeyIsDeleted has a key of each use fail its check.
func TestUnfitSecretKeyIsDeleted(t *testing.T) {
	s := useSecrets(t)
	err := s.token.do(t.Context(), func(se *session) error {
		handles, err := se.find(t.Context(), secretTemplate("master", nil))
		if err != nil {
			return err
		}
		if _, err := se.checkNew(t.Context(), handles[0], Wrapping); !errors.Is(err, ErrKeyUnfit) {
			t.Errorf("a master key for wrapping: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	importSecret(t, s.token, "unwraps", make([]byte, 32), yes(pkcs11.CKA_WRAP), yes(pkcs11.CKA_UNWRAP))
	err = s.token.do(t.Context(), func(se *session) error {
		handles, err := se.find(t.Context(), secretTemplate("unwraps", nil))
		if err != nil {
			return err
		}
		if _, err := se.checkNew(t.Context(), handles[0], Wrapping); !errors.Is(err, ErrKeyPolicy) {
			t.Errorf("a new transport key that unwraps: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrapperSessionLost(t *testing.T) {
	s := useSecrets(t)
	p := s.token.module.ctx
	for name, breakIt := range map[string]func() error{
		"session closed":   func() error { return p.CloseSession(s.token.conn.idle[0]) },
		"logged out":       func() error { return p.Logout(s.token.conn.idle[0]) },
		"module finalised": func() error { return p.Finalize() },
	} {
		if err := breakIt(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.checkDerive(t, make([]byte, 16))
	}
}

func TestWrapperConcurrently(t *testing.T) {
	s := useSecrets(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				data := make([]byte, 16)
				copy(data, fmt.Sprintf("%d-%d", i, j))
				s.checkDerive(t, data)
			}
		})
	}
	all.Wait()
}

// BenchmarkWrapper is one device key: derived or made, wrapped, its check value
// computed, and destroyed.
func BenchmarkWrapper(b *testing.B) {
	s := useSecrets(b)
	data := make([]byte, 32)
	for name, f := range map[string]func() error{
		"derive":   func() error { _, _, err := s.wrapper.Derive(b.Context(), data); return err },
		"generate": func() error { _, _, err := s.wrapper.Generate(b.Context(), 32); return err },
		"import":   func() error { _, _, err := s.wrapper.Import(b.Context(), data); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
