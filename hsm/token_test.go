//go:build cgo

package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/sign"
)

const (
	soPIN   = "87654321"
	userPIN = "123456"
)

// modulePath returns the SoftHSM module, without which these tests fail: they
// have no stand-in for a token.
func modulePath(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("OTAPACK_TEST_MODULE")
	if path == "" {
		path = "/usr/lib/softhsm/libsofthsm2.so"
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("OTAPACK_SKIP_HSM") == "1" {
			tb.Skipf("NOT TESTED, because OTAPACK_SKIP_HSM=1: %v", err)
		}
		tb.Fatalf("%v\ninstall softhsm2, name its module in OTAPACK_TEST_MODULE, or set OTAPACK_SKIP_HSM=1 to leave the HSM untested", err)
	}
	return path
}

// useSoftHSM gives a test a SoftHSM of its own, without tokens, and returns the
// folder for them. SoftHSM reads its configuration in C_Initialize, through the
// getenv of the C library, which os.Setenv reaches.
func useSoftHSM(tb testing.TB) (tokens string) {
	tb.Helper()
	modulePath(tb)
	dir := tb.TempDir()
	tokens = filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		tb.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	text := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("SOFTHSM2_CONF", conf)
	return tokens
}

func makeToken(tb testing.TB, label string) {
	tb.Helper()
	if err := InitToken(tb.Context(), modulePath(tb), label, NewPIN([]byte(soPIN)), NewPIN([]byte(userPIN))); err != nil {
		tb.Fatal(err)
	}
}

// makeTwin makes a token whose label exists already, which InitToken refuses.
func makeTwin(tb testing.TB, label string) {
	tb.Helper()
	m, err := loadModule(modulePath(tb))
	if err != nil {
		tb.Fatal(err)
	}
	defer m.release()
	found, _, err := tokens(m.ctx)
	if err != nil {
		tb.Fatal(err)
	}
	for _, s := range found {
		if !s.initialized {
			if err := m.ctx.InitToken(s.slot, soPIN, label); err != nil {
				tb.Fatal(err)
			}
			return
		}
	}
	tb.Fatal("no free slot")
}

func pinIs(pin string) PINSource {
	return func(context.Context, TokenInfo) (PIN, error) { return NewPIN([]byte(pin)), nil }
}

func openWith(tb testing.TB, label string, pin PINSource) (*Token, error) {
	tb.Helper()
	return Open(tb.Context(), Options{Module: modulePath(tb), Token: URI{Token: label}, PIN: pin})
}

func open(tb testing.TB, label string) *Token {
	tb.Helper()
	token, err := openWith(tb, label, pinIs(userPIN))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := token.Close(); err != nil {
			tb.Error(err)
		}
	})
	return token
}

func generate(tb testing.TB, token *Token, label string) KeyInfo {
	tb.Helper()
	key, err := token.Generate(tb.Context(), KeySpec{Label: label, Algorithm: sign.ESP256})
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func signAndVerify(tb testing.TB, token *Token, key KeyInfo) {
	tb.Helper()
	signer, err := token.Signer(tb.Context(), key.URI, key.Public)
	if err != nil {
		tb.Fatal(err)
	}
	useSigner(tb, signer, key.Public)
}

func useSigner(tb testing.TB, signer sign.Signer, public sign.PublicKey) {
	tb.Helper()
	message := []byte(tb.Name())
	signature, err := signer.Sign(tb.Context(), message)
	if err != nil {
		tb.Fatal(err)
	}
	if err := public.Verify(message, signature); err != nil {
		tb.Fatal(err)
	}
}

// readWrite runs f on a read-write session beside the token's own, which shares
// its login.
func readWrite(tb testing.TB, token *Token, f func(p *pkcs11.Ctx, session pkcs11.SessionHandle) error) {
	tb.Helper()
	p := token.module.ctx
	session, err := p.OpenSession(token.conn.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.CloseSession(session)
	if err := f(p, session); err != nil {
		tb.Fatal(err)
	}
}

// importKey puts a fresh key pair on the token, as a careless tool would do. A
// nil half is left out; more attributes of each half come from the caller.
func importKey(tb testing.TB, token *Token, curve elliptic.Curve, private, public []*pkcs11.Attribute) sign.PublicKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	var params []byte
	for _, c := range ecCurves {
		if c.curve == curve {
			params = c.params
		}
	}
	point, err = asn1.Marshal(point)
	if err != nil {
		tb.Fatal(err)
	}
	common := func(class uint) []*pkcs11.Attribute {
		return []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params),
		}
	}
	readWrite(tb, token, func(p *pkcs11.Ctx, session pkcs11.SessionHandle) error {
		if private != nil {
			template := append(common(pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_VALUE, scalar))
			if _, err := p.CreateObject(session, append(template, private...)); err != nil {
				return err
			}
		}
		if public != nil {
			template := append(common(pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, point))
			if _, err := p.CreateObject(session, append(template, public...)); err != nil {
				return err
			}
		}
		return nil
	})
	pub, err := sign.NewPublicKey(&key.PublicKey)
	if err != nil && !errors.Is(err, sign.ErrCurve) {
		tb.Fatal(err)
	}
	return pub
}

func label(s string) *pkcs11.Attribute     { return pkcs11.NewAttribute(pkcs11.CKA_LABEL, s) }
func id(b ...byte) *pkcs11.Attribute       { return pkcs11.NewAttribute(pkcs11.CKA_ID, b) }
func yes(attribute uint) *pkcs11.Attribute { return pkcs11.NewAttribute(attribute, true) }
func no(attribute uint) *pkcs11.Attribute  { return pkcs11.NewAttribute(attribute, false) }

type attributes = []*pkcs11.Attribute

func TestOpenErrors(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	makeToken(t, "other")
	slot := uint(0)
	for _, c := range []struct {
		name string
		uri  URI
		pin  PINSource
		want error
		says string
	}{
		{"wrong PIN", URI{Token: "lab"}, pinIs("999999"), ErrPINRejected, `hsm: token "lab": PIN rejected: C_Login: CKR_PIN_INCORRECT`},
		{"short PIN", URI{Token: "lab"}, pinIs("1"), ErrPINRejected, "C_Login: CKR_PIN_"},
		{"empty PIN", URI{Token: "lab"}, pinIs(""), ErrPINRequired, `hsm: token "lab": PIN required: it is empty`},
		{"zero PIN", URI{Token: "lab"}, func(context.Context, TokenInfo) (PIN, error) { return PIN{}, nil }, ErrPINRequired, ""},
		{"no PIN to be had", URI{Token: "lab"}, func(context.Context, TokenInfo) (PIN, error) { return PIN{}, os.ErrNotExist }, os.ErrNotExist, ""},
		{"another label", URI{Token: "nope"}, nil, ErrTokenNotFound, "hsm: token pkcs11:token=nope: token not found; the module has pkcs11:token="},
		{"serial of none", URI{Token: "lab", Serial: "00"}, nil, ErrTokenNotFound, "token=lab;serial="},
		{"both tokens", URI{Model: "SoftHSM v2"}, nil, ErrTokenAmbiguous, "token=other;serial="},
		{"nothing named", URI{Object: "key"}, nil, ErrURI, "does not name a token"},
		{"slot", URI{Token: "lab", SlotID: &slot}, nil, ErrURI, "slot-id"},
	} {
		token, err := Open(t.Context(), Options{Module: modulePath(t), Token: c.uri, PIN: c.pin})
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || token != nil {
			t.Errorf("%s: %v, want %v, %q", c.name, err, c.want, c.says)
		}
		if strings.Contains(fmt.Sprint(err), "999999") {
			t.Errorf("%s: the error shows the PIN", c.name)
		}
	}
	if len(modules.open) != 0 {
		t.Error("a module stays loaded after errors")
	}

	ctx, cancel := context.WithCancel(t.Context())
	token, err := Open(ctx, Options{Module: modulePath(t), Token: URI{Token: "lab"}, PIN: func(context.Context, TokenInfo) (PIN, error) {
		cancel() // as an operator does at the prompt
		return NewPIN([]byte(userPIN)), nil
	}})
	if !errors.Is(err, context.Canceled) || token != nil {
		t.Errorf("interrupted at the prompt: %v", err)
	}
}

func TestOpenWithoutConfiguration(t *testing.T) {
	useSoftHSM(t)
	t.Setenv("SOFTHSM2_CONF", filepath.Join(t.TempDir(), "none"))
	_, err := openWith(t, "lab", nil)
	if !hasCode(err, pkcs11.CKR_GENERAL_ERROR) || !strings.Contains(err.Error(), "C_Initialize: CKR_GENERAL_ERROR") {
		t.Errorf("got %v", err)
	}
	if len(modules.open) != 0 {
		t.Error("a module that did not initialise stays")
	}
}

// One wrong PIN costs one try, whatever is done afterwards.
func TestPINIsTriedOnce(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	asked := 0
	_, err := openWith(t, "lab", func(_ context.Context, info TokenInfo) (PIN, error) {
		asked++
		if info.PINCountLow || !info.LoginRequired || info.Label != "lab" {
			t.Errorf("asked with %+v", info)
		}
		return NewPIN([]byte("999999")), nil
	})
	if !errors.Is(err, ErrPINRejected) || asked != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	token, err := openWith(t, "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !token.Info().PINCountLow {
		t.Error("the token did not count the try: is the flag read at all?")
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	token = open(t, "lab")
	if token.pin.IsEmpty() {
		t.Error("the PIN is not kept")
	}
	if err := token.Close(); err != nil || !token.pin.IsEmpty() {
		t.Errorf("the PIN outlives Close (%v)", err)
	}
}

// A PIN that stopped working is not tried again by the next operation.
func TestPINChangedUnderUs(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	readWrite(t, token, func(p *pkcs11.Ctx, session pkcs11.SessionHandle) error {
		return p.SetPIN(session, userPIN, "654321")
	})
	if _, err := token.Keys(t.Context()); err != nil {
		t.Fatalf("an open session stays usable: %v", err)
	}
	if err := restart(token); err != nil {
		t.Fatal(err)
	}
	if err := token.Ping(t.Context()); !errors.Is(err, ErrPINRejected) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	token.pin = NewPIN([]byte("654321")) // would work, if it were tried
	if err := token.Ping(t.Context()); !errors.Is(err, ErrPINRejected) {
		t.Errorf("tried again: %v", err)
	}
}

func TestTwoTokensWithOneLabel(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	makeTwin(t, "lab")
	_, err := openWith(t, "lab", pinIs(userPIN))
	if !errors.Is(err, ErrTokenAmbiguous) {
		t.Fatalf("got %v", err)
	}
	// The message is good for pasting: each URI opens one token.
	_, listed, _ := strings.Cut(err.Error(), ErrTokenAmbiguous.Error()+": ")
	uris := strings.Split(listed, ", ")
	if len(uris) != 2 || uris[0] == uris[1] {
		t.Fatalf("got %v", err)
	}
	logins := 0
	for _, s := range uris {
		uri, err := ParseURI(s)
		if err != nil {
			t.Fatal(err)
		}
		token, err := Open(t.Context(), Options{Module: modulePath(t), Token: uri, PIN: pinIs(userPIN)})
		if err == nil { // the twin has no user PIN
			logins++
			generate(t, token, "key") // crypto11 must find it by serial
			if err := token.Close(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, ErrPINUnset) {
			t.Error(err)
		}
	}
	if logins != 1 {
		t.Errorf("%d tokens opened", logins)
	}
}

func TestInitToken(t *testing.T) {
	tokens := useSoftHSM(t)
	so, user := NewPIN([]byte(soPIN)), NewPIN([]byte(userPIN))
	for _, c := range []struct {
		name, label string
		so, user    PIN
		want        error
	}{
		{"no label", "", so, user, ErrTokenLabel},
		{"long label", strings.Repeat("x", 33), so, user, ErrTokenLabel},
		{"padded label", "lab ", so, user, ErrTokenLabel},
		{"no SO PIN", "lab", PIN{}, user, ErrPINRequired},
		{"no user PIN", "lab", so, PIN{}, ErrPINRequired},
		{"short user PIN", "lab", so, NewPIN([]byte("1")), ErrPINRejected},
	} {
		if err := InitToken(t.Context(), modulePath(t), c.label, c.so, c.user); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if left, err := os.ReadDir(tokens); err != nil || len(left) != 0 {
		t.Fatalf("refused tokens left %v, %v", left, err)
	}
	makeToken(t, strings.Repeat("x", 32))
	makeToken(t, "lab")
	if err := InitToken(t.Context(), modulePath(t), "lab", so, user); !errors.Is(err, ErrTokenExists) {
		t.Errorf("the same label again: %v", err)
	}
	if found, err := os.ReadDir(tokens); err != nil || len(found) != 2 {
		t.Fatalf("SOFTHSM2_CONF of os.Setenv did not reach SoftHSM: %v, %v", found, err)
	}
	info := open(t, "lab").Info()
	if info.Label != "lab" || len(info.Serial) != 16 || info.Model != "SoftHSM v2" || info.Manufacturer != "SoftHSM project" || !info.LoginRequired {
		t.Errorf("got %+v", info)
	}
}

func TestSigner(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
		key, err := token.Generate(t.Context(), KeySpec{Label: a.String(), Algorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		for _, uri := range []URI{key.URI, {Object: key.Label}, {ID: key.ID}} {
			signer, err := token.Signer(t.Context(), uri, key.Public)
			if err != nil {
				t.Fatal(err)
			}
			useSigner(t, signer, key.Public)
			if !signer.Public().Equal(key.Public) {
				t.Error("another public key")
			}
			for _, n := range []int{0, 5, 31, 33, 64} {
				if _, err := signer.SignDigest(t.Context(), make([]byte, n)); !errors.Is(err, sign.ErrDigestSize) {
					t.Errorf("%s over %d bytes: %v", a, n, err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := signer.Sign(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("after an interrupt: %v", err)
			}
		}
	}
}

func TestSessionIsReadOnly(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	check := func() {
		t.Helper()
		info, err := token.module.ctx.GetSessionInfo(token.conn.idle[0])
		if err != nil {
			t.Fatal(err)
		}
		if info.Flags&pkcs11.CKF_RW_SESSION != 0 || info.State != pkcs11.CKS_RO_USER_FUNCTIONS {
			t.Errorf("session has flags %#x, state %d", info.Flags, info.State)
		}
	}
	check()
	signAndVerify(t, token, generate(t, token, "key"))
	check() // crypto11 had a read-write session for generating
}

func TestSignerErrors(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")

	signing := yes(pkcs11.CKA_SIGN)
	good := importKey(t, token, elliptic.P256(), attributes{label("good"), id(1), signing}, attributes{label("good"), id(1)})
	importKey(t, token, elliptic.P256(), attributes{label("twin"), id(2), signing}, attributes{label("twin"), id(2)})
	importKey(t, token, elliptic.P256(), attributes{label("twin"), id(3), signing}, attributes{label("twin"), id(3)})
	alone := importKey(t, token, elliptic.P256(), attributes{label("alone"), id(4), signing}, nil)
	importKey(t, token, elliptic.P256(), nil, attributes{label("alone"), id(5)})
	two := importKey(t, token, elliptic.P256(), attributes{label("two"), id(6), signing}, attributes{label("two"), id(6)})
	importKey(t, token, elliptic.P256(), nil, attributes{label("two"), id(6)})
	wide := importKey(t, token, elliptic.P384(), attributes{label("wide"), id(7), signing}, attributes{label("wide"), id(7)})
	importKey(t, token, elliptic.P521(), attributes{label("widest"), id(8), signing}, attributes{label("widest"), id(8)})
	noID := importKey(t, token, elliptic.P256(), attributes{label("no id"), signing}, attributes{label("no id")})
	renamed := importKey(t, token, elliptic.P256(), attributes{label("renamed"), id(9), signing}, attributes{label("else"), id(9)})
	anonymous := importKey(t, token, elliptic.P256(), attributes{signing}, attributes{})
	mute := importKey(t, token, elliptic.P256(), attributes{label("mute"), id(10), no(pkcs11.CKA_SIGN)}, attributes{label("mute"), id(10)})
	importKey(t, token, elliptic.P256(), attributes{label("mispaired"), id(11), signing}, nil)
	stranger := importKey(t, token, elliptic.P256(), nil, attributes{label("mispaired"), id(11)})

	absent, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	edwards, err := sign.Throwaway(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		uri    string
		pinned sign.PublicKey
		want   error
		says   string
	}{
		{"not there", "pkcs11:object=radio", good, ErrKeyNotFound, `hsm: token "lab": key pkcs11:object=radio: key not found; the token has pkcs11:token=lab;serial=`},
		{"label right, id wrong", "pkcs11:object=good;id=%02", good, ErrKeyNotFound, "key pkcs11:object=good;id=%02: "},
		{"label in hexadecimal", "pkcs11:id=01", good, ErrKeyNotFound, ""},
		{"two of a label", "pkcs11:object=twin", good, ErrKeyAmbiguous, "object=twin;id=%02;type=private, pkcs11:token=lab;serial=" + token.Info().Serial + ";object=twin;id=%03;type=private"},
		{"only the private half, of another key", "pkcs11:object=alone", good, sign.ErrKeyMismatch, "it has no public key object, and the pinned key does not verify its trial signature"},
		{"only the private half, on another curve", "pkcs11:object=alone", wide, sign.ErrKeyMismatch, "it has no public key object"},
		{"two public halves", "pkcs11:object=two", two, ErrKeyAmbiguous, "it has 2 public key objects"},
		{"another key is pinned", "pkcs11:object=good", wide, sign.ErrKeyMismatch, "it is an esp256 key, pinned is esp384"},
		{"another key of the curve is pinned", "pkcs11:object=good", two, sign.ErrKeyMismatch, good.ID().Short()},
		{"curve of the pinned key", "pkcs11:object=wide", good, sign.ErrKeyMismatch, "esp384"},
		{"unsupported curve", "pkcs11:object=widest", good, sign.ErrKeyMismatch, "curve P-521"},
		{"nothing is pinned", "pkcs11:object=good", sign.PublicKey{}, sign.ErrKey, "no pinned public key"},
		{"an Ed25519 key is pinned", "pkcs11:object=good", edwards.Public(), sign.ErrAlgorithm, "ed25519"},
		{"no name, and not there", "pkcs11:token=lab", absent.Public(), ErrKeyNotFound, "key with the public half " + absent.Public().ID().Short() + ": key not found; the token has pkcs11:"},
		{"public key", "pkcs11:object=good;type=public", good, ErrURI, "type is public"},
		{"another token", "pkcs11:token=production;object=good", good, ErrKeyNotFound, "names another token"},
		{"another serial", "pkcs11:token=lab;serial=1;object=good", good, ErrKeyNotFound, "names another token"},
	} {
		uri, err := ParseURI(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := token.Signer(t.Context(), uri, c.pinned)
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || signer != nil {
			t.Errorf("%s: %v, want %v, %q", c.name, err, c.want, c.says)
		}
	}

	for uri, public := range map[string]sign.PublicKey{"pkcs11:object=good": good, "pkcs11:id=%01": good, "pkcs11:object=no%20id": noID, "pkcs11:object=renamed": renamed, "pkcs11:object=alone": alone,
		"pkcs11:type=private": anonymous, "pkcs11:": wide, "pkcs11:token=lab": alone} {
		u, err := ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := token.Signer(t.Context(), u, public)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		useSigner(t, signer, public)
	}

	// Errors that show only when signing.
	signer, err := token.Signer(t.Context(), URI{Object: "mute"}, mute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(t.Context(), nil); !errors.Is(err, ErrKeyUnfit) ||
		err.Error() != `hsm: token "lab": key pkcs11:object=mute: unfit key: C_SignInit: CKR_KEY_FUNCTION_NOT_PERMITTED` {
		t.Errorf("a key that may not sign: %v", err)
	}
	signer, err = token.Signer(t.Context(), URI{Object: "mispaired"}, stranger)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := signer.Sign(t.Context(), nil); !errors.Is(err, sign.ErrKeyMismatch) || !s.IsZero() ||
		!strings.HasPrefix(err.Error(), `hsm: token "lab": key pkcs11:object=mispaired: public half differs from the pinned key: what it signed: `) {
		t.Errorf("a public half of another key: %v", err)
	}
}

func TestKeys(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	if keys, err := token.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Fatalf("an empty token has %v, %v", keys, err)
	}
	made := generate(t, token, "made")
	leaky := importKey(t, token, elliptic.P384(),
		attributes{label("leaky"), id(1), yes(pkcs11.CKA_SIGN), yes(pkcs11.CKA_EXTRACTABLE), no(pkcs11.CKA_SENSITIVE), yes(pkcs11.CKA_DERIVE)},
		attributes{label("leaky"), id(1)})
	importKey(t, token, elliptic.P521(), attributes{label("wide"), id(2)}, attributes{label("wide"), id(2)})
	importKey(t, token, elliptic.P256(), attributes{label("alone"), id(3)}, nil)
	importKey(t, token, elliptic.P256(), attributes{}, attributes{}) // no name at all
	importKey(t, token, elliptic.P256(), nil, attributes{label("visitor"), id(4)})

	keys, err := token.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		label, curve string
		algorithm    sign.Algorithm
		public       bool
		private      State
	}
	var rows []row
	byLabel := make(map[string]KeyInfo)
	for _, k := range keys {
		rows = append(rows, row{k.Label, k.Curve, k.Algorithm, !k.Public.IsZero(), k.Private})
		byLabel[k.Label] = k
		if back, err := ParseURI(k.URI.String()); err != nil || back.String() != k.URI.String() {
			t.Errorf("%s does not parse back: %v", k.URI, err)
		}
	}
	want := []row{
		{"", "P-256", sign.ESP256, false, Yes},
		{"alone", "P-256", sign.ESP256, false, Yes},
		{"leaky", "P-384", sign.ESP384, true, Yes},
		{"made", "P-256", sign.ESP256, true, Yes},
		{"wide", "P-521", 0, false, Yes},
	}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", rows, want)
	}
	if !byLabel["leaky"].Public.Equal(leaky) || !byLabel["made"].Public.Equal(made.Public) {
		t.Error("wrong public halves")
	}
	if got, want := byLabel["made"].Attributes, (Attributes{Local: Yes, Sensitive: Yes, AlwaysSensitive: Yes, Extractable: No, NeverExtractable: Yes, Sign: Yes, Decrypt: No, Unwrap: No, Derive: No, AlwaysAuthenticate: No}); got != want {
		t.Errorf("generated key: %+v", got)
	}
	if got := byLabel["leaky"].Attributes; got.Local != No || got.Sensitive != No || got.AlwaysSensitive != No || got.Extractable != Yes || got.NeverExtractable != No || got.Derive != Yes {
		t.Errorf("imported key: %+v", got)
	}

	// Without a login the public halves are there, and say so.
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	anonymous, err := openWith(t, "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.Close()
	keys, err = anonymous.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	visible := make(map[string]KeyInfo)
	for _, k := range keys {
		visible[k.Label] = k
		if k.Private != Unknown || k.Attributes != (Attributes{}) {
			t.Errorf("without a login %s claims %v, %+v", k.Label, k.Private, k.Attributes)
		}
	}
	if len(keys) != 5 || !visible["made"].Public.Equal(made.Public) || visible["visitor"].Public.IsZero() || visible["wide"].Curve != "P-521" {
		t.Errorf("without a login: %v", keys)
	}
	if visible["made"].URI.String() != made.URI.String() {
		t.Errorf("%s has another name without a login: %s", made.URI, visible["made"].URI)
	}
	if _, err := anonymous.Signer(t.Context(), made.URI, made.Public); !errors.Is(err, ErrPINRequired) {
		t.Errorf("Signer without a login: %v", err)
	}
	if _, err := anonymous.Generate(t.Context(), KeySpec{Label: "x", Algorithm: sign.ESP256}); !errors.Is(err, ErrPINRequired) {
		t.Errorf("Generate without a login: %v", err)
	}
}

func TestGenerate(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	first, err := token.Generate(t.Context(), KeySpec{Label: "first", ID: []byte{0xca, 0xfe}, Algorithm: sign.ESP256})
	if err != nil {
		t.Fatal(err)
	}
	if first.URI.String() != "pkcs11:token=lab;serial="+token.Info().Serial+";object=first;id=%CA%FE;type=private" || first.Private != Yes {
		t.Errorf("got %s", first.URI)
	}
	second := generate(t, token, "second")
	if len(second.ID) != defaultIDLength || second.Public.Equal(first.Public) {
		t.Errorf("got %+v", second)
	}
	importKey(t, token, elliptic.P256(), nil, attributes{label("visitor"), id(5)})

	for _, c := range []struct {
		name string
		spec KeySpec
		want error
		says string
	}{
		{"same label", KeySpec{Label: "first", Algorithm: sign.ESP256}, ErrKeyExists, "object=first;id=%CA%FE"},
		{"same id", KeySpec{Label: "third", ID: []byte{0xca, 0xfe}, Algorithm: sign.ESP256}, ErrKeyExists, "object=first;id=%CA%FE"},
		{"label of a public key", KeySpec{Label: "visitor", Algorithm: sign.ESP256}, ErrKeyExists, "visitor"},
		{"id of a public key", KeySpec{Label: "third", ID: []byte{5}, Algorithm: sign.ESP256}, ErrKeyExists, "visitor"},
		{"no label", KeySpec{Algorithm: sign.ESP256}, ErrKeySpec, "label of 0 bytes"},
		{"long label", KeySpec{Label: strings.Repeat("x", 129), Algorithm: sign.ESP256}, ErrKeySpec, "129"},
		{"long id", KeySpec{Label: "third", ID: make([]byte, 65), Algorithm: sign.ESP256}, ErrKeySpec, "65"},
		{"no algorithm", KeySpec{Label: "third"}, sign.ErrAlgorithm, ""},
		{"Ed25519", KeySpec{Label: "third", Algorithm: sign.Ed25519}, sign.ErrAlgorithm, ""},
	} {
		if _, err := token.Generate(t.Context(), c.spec); !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, want %v, %q", c.name, err, c.want, c.says)
		}
	}
	if keys, err := token.Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("refused keys were made: %v, %v", keys, err)
	}
	signAndVerify(t, token, first)
	signAndVerify(t, token, second)
}

// What a token makes of a template is checked, not trusted.
func TestGeneratedKeyThatIsUnfit(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	c, err := crypto11.Configure(&crypto11.Config{Path: modulePath(t), TokenLabel: "lab", Pin: userPIN, MaxSessions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, d := range append(append([]demand(nil), demands...), consequences...) {
		public, private := crypto11.NewAttributeSet(), crypto11.NewAttributeSet()
		for _, set := range []crypto11.AttributeSet{public, private} {
			set.AddIfNotPresent(attributes{label(d.name), id(1)})
		}
		for _, other := range demands {
			private.AddIfNotPresent(attributes{pkcs11.NewAttribute(other.attribute, other.value != (other.attribute == d.attribute))})
		}
		pair, err := c.GenerateECDSAKeyPairWithAttributes(public, private, elliptic.P256())
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
			continue
		}
		err = keepIfFit(t.Context(), c, pair, KeySpec{Label: d.name, Algorithm: sign.ESP256})
		if d.firm == wished || d.attribute == pkcs11.CKA_ALWAYS_SENSITIVE || d.attribute == pkcs11.CKA_NEVER_EXTRACTABLE {
			if err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
			if err := keepIfFit(t.Context(), c, pair, KeySpec{Label: d.name, Algorithm: sign.ESP384}); !errors.Is(err, ErrKeyUnfit) {
				t.Errorf("wrong curve: %v", err)
			}
		} else if !errors.Is(err, ErrKeyUnfit) || !strings.Contains(err.Error(), d.name) {
			t.Errorf("%s: %v", d.name, err)
		}
		if left, err := c.FindPrivateKeys(nil, []byte(d.name)); err != nil || len(left) != 0 {
			t.Errorf("%s: the key was not deleted: %v, %v", d.name, left, err)
		}
	}
}

// Of two operators who make a key of one name at once, the later one deletes
// theirs, and only theirs.
func TestGenerateMeanwhile(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	c, err := crypto11.Configure(&crypto11.Config{Path: modulePath(t), TokenLabel: "lab", Pin: userPIN, MaxSessions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, ids := range map[string][2]byte{"two ids": {1, 2}, "one id": {3, 3}} {
		var pairs [2]crypto11.Signer
		for i := range pairs {
			if pairs[i], err = generatePair(c, KeySpec{Label: name, ID: ids[i : i+1], Algorithm: sign.ESP256}, wished); err != nil {
				t.Fatal(err)
			}
		}
		spec := KeySpec{Label: name, Algorithm: sign.ESP256}
		if err := keepIfFit(t.Context(), c, pairs[1], spec); !errors.Is(err, ErrKeyExists) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := c.FindPrivateKeys(nil, []byte(name)); err != nil || len(left) != 1 {
			t.Errorf("%s: %d keys are left, %v", name, len(left), err)
		}
		if err := keepIfFit(t.Context(), c, pairs[0], spec); err != nil {
			t.Errorf("%s: the first one: %v", name, err)
		}
	}
}

func TestGenerateInterrupted(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := token.Generate(ctx, KeySpec{Label: "x", Algorithm: sign.ESP256}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if keys, err := token.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("the token has %v, %v", keys, err)
	}
}

// Generating ends the sessions of the other Tokens of the module.
func TestGenerateBesideAnotherToken(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "one")
	makeToken(t, "two")
	one, two := open(t, "one"), open(t, "two")
	key := generate(t, one, "key")
	signer, err := one.Signer(t.Context(), key.URI, key.Public)
	if err != nil {
		t.Fatal(err)
	}
	generate(t, two, "key")
	useSigner(t, signer, key.Public)
	again := open(t, "one") // shares the login
	signAndVerify(t, again, key)
	useSigner(t, signer, key.Public)
}

func TestSessionLost(t *testing.T) {
	tokens := useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	p := token.module.ctx
	key := generate(t, token, "key")
	signer, err := token.Signer(t.Context(), key.URI, key.Public)
	if err != nil {
		t.Fatal(err)
	}
	for name, breakIt := range map[string]func() error{
		"session closed":      func() error { return p.CloseSession(token.conn.idle[0]) },
		"all sessions closed": func() error { return p.CloseAllSessions(token.conn.slot) },
		"logged out":          func() error { return p.Logout(token.conn.idle[0]) },
		"module finalised":    func() error { return p.Finalize() },
		"operation active": func() error {
			return p.SignInit(token.conn.idle[0], []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, handleOf(t, token, key))
		},
	} {
		for _, use := range []func(){
			func() { useSigner(t, signer, key.Public) },
			func() {
				if err := token.Ping(t.Context()); err != nil {
					t.Errorf("%s: Ping: %v", name, err)
				}
			},
			func() {
				if keys, err := token.Keys(t.Context()); err != nil || len(keys) != 1 {
					t.Errorf("%s: Keys: %v, %v", name, keys, err)
				}
			},
			func() { signAndVerify(t, token, key) },
			func() {
				_, err := token.Generate(t.Context(), KeySpec{Label: "key", Algorithm: sign.ESP256})
				if !errors.Is(err, ErrKeyExists) {
					t.Errorf("%s: the same key again: %v", name, err)
				}
			},
		} {
			if err := breakIt(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			use()
			useSigner(t, signer, key.Public)
		}
	}

	// Lost for good: the token is gone when the session is reopened.
	hidden := tokens + ".away"
	if err := os.Rename(tokens, hidden); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Finalize(); err != nil {
		t.Fatal(err)
	}
	_, err = signer.Sign(t.Context(), nil)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTokenNotFound) || !strings.Contains(err.Error(), "token not found") {
		t.Errorf("token gone: %v", err)
	}
	// And it is back: the next operation may try again.
	if err := os.Remove(tokens); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(hidden, tokens); err != nil {
		t.Fatal(err)
	}
	useSigner(t, signer, key.Public)

	// The same when the module itself does not start again.
	conf := os.Getenv("SOFTHSM2_CONF")
	t.Setenv("SOFTHSM2_CONF", filepath.Join(t.TempDir(), "none"))
	if err := p.Finalize(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = signer.Sign(t.Context(), nil)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "C_SignInit: CKR_CRYPTOKI_NOT_INITIALIZED; reopening: C_Initialize: CKR_GENERAL_ERROR") {
			t.Errorf("module gone: %v", err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	useSigner(t, signer, key.Public)
}

// restart ends the sessions of all Tokens of the module.
func restart(token *Token) error {
	token.module.mu.RLock()
	generation := token.module.generation
	token.module.mu.RUnlock()
	return token.module.restart(generation)
}

func handleOf(tb testing.TB, token *Token, key KeyInfo) (handle pkcs11.ObjectHandle) {
	tb.Helper()
	err := token.do(tb.Context(), func(s *session) (err error) {
		handle, err = s.lookup(tb.Context(), key.URI, key.Public)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return handle
}

func TestKeyDeletedUnderOpenSession(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	key := generate(t, token, "key")
	signer, err := token.Signer(t.Context(), key.URI, key.Public)
	if err != nil {
		t.Fatal(err)
	}
	destroy := func() {
		readWrite(t, token, func(p *pkcs11.Ctx, session pkcs11.SessionHandle) error {
			if err := p.FindObjectsInit(session, attributes{label("key")}); err != nil {
				return err
			}
			handles, _, err := p.FindObjects(session, 10)
			for _, h := range handles {
				err = errors.Join(err, p.DestroyObject(session, h))
			}
			return errors.Join(err, p.FindObjectsFinal(session))
		})
	}
	destroy()
	if _, err := signer.Sign(t.Context(), nil); !errors.Is(err, ErrKeyNotFound) || errors.Is(err, ErrUnavailable) {
		t.Errorf("key deleted: %v", err)
	}
	// A key of the same name is not the same key.
	generate(t, token, "key")
	if _, err := signer.Sign(t.Context(), nil); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("key with another id: %v", err)
	}
	destroy()
	if _, err := token.Generate(t.Context(), KeySpec{Label: "key", ID: key.ID, Algorithm: sign.ESP256}); err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(t.Context(), nil); !errors.Is(err, sign.ErrKeyMismatch) {
		t.Errorf("key replaced: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "one")
	makeToken(t, "two")
	var wg sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		token := open(t, name)
		key := generate(t, token, "key")
		for range 4 {
			wg.Go(func() {
				signer, err := token.Signer(t.Context(), key.URI, key.Public)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range 25 {
					if i == 10 { // all sessions of both tokens end
						if err := restart(token); err != nil {
							t.Error(err)
						}
					}
					if _, err := signer.Sign(t.Context(), []byte{byte(i)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
}

// One attribute that the module does not tell must not hide the others.
func TestReadUnknownAttributes(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	handle := handleOf(t, token, generate(t, token, "key"))
	err := token.do(t.Context(), func(s *session) error {
		v, err := s.read(t.Context(), handle, pkcs11.CKA_VALUE, pkcs11.CKA_LABEL, pkcs11.CKA_MODULUS, pkcs11.CKA_SENSITIVE)
		if err == nil && (v[0] != nil || string(v[1]) != "key" || v[2] != nil || stateOf(v[3]) != Yes || stateOf(v[2]) != Unknown) {
			t.Errorf("got %q", v)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
