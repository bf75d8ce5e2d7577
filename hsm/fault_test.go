//go:build cgo

package hsm

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/internal/p11fault"
	"github.com/otapack/otapack/sign"
)

func TestMain(m *testing.M) {
	code := m.Run()
	p11fault.Remove()
	os.Exit(code)
}

// Flags of a token (CK_TOKEN_INFO, PKCS#11 v2.40, section 3.2).
const (
	flagLoginRequired = pkcs11.CKF_LOGIN_REQUIRED
	flagPINPad        = pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH
	flagCountLow      = pkcs11.CKF_USER_PIN_COUNT_LOW
	flagFinalTry      = pkcs11.CKF_USER_PIN_FINAL_TRY
	flagLocked        = pkcs11.CKF_USER_PIN_LOCKED
)

// faulty is a token "lab" with a key, to be opened with faults.
type faulty struct {
	module string
	key    KeyInfo
}

func newFaulty(tb testing.TB) faulty {
	tb.Helper()
	useSoftHSM(tb)
	makeToken(tb, "lab")
	token := open(tb, "lab")
	f := faulty{p11fault.Build(tb), generate(tb, token, "key")}
	if err := token.Close(); err != nil {
		tb.Fatal(err)
	}
	return f
}

// open starts a plan and opens the token.
func (f faulty) open(tb testing.TB, plan string, change ...func(*Options)) (*Token, error) {
	tb.Helper()
	p11fault.Plan(tb, modulePath(tb), plan)
	o := Options{Module: f.module, Token: URI{Token: "lab"}, PIN: pinIs(userPIN)}
	for _, c := range change {
		c(&o)
	}
	token, err := Open(tb.Context(), o)
	if err == nil {
		tb.Cleanup(func() { _ = token.Close() }) // what a fault leaves of a module does not matter here
	}
	return token, err
}

// signer opens the token and the key, which have to be there.
func (f faulty) signer(tb testing.TB, plan string, change ...func(*Options)) (*Token, sign.Signer) {
	tb.Helper()
	token, err := f.open(tb, plan, change...)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := token.Signer(tb.Context(), f.key.URI, f.key.Public)
	if err != nil {
		tb.Fatal(err)
	}
	return token, s
}

func sessions(n int) func(*Options) { return func(o *Options) { o.Sessions = n } }

const (
	workers = 8
	each    = 25
)

// signMany has workers sign each a number of messages, and returns the error of
// each signature that did not come. One that comes has to be right.
func signMany(tb testing.TB, token *Token, s sign.Signer) (made int, failed []error) {
	tb.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				message := fmt.Appendf(nil, "%d %d", w, i)
				signature, err := s.Sign(tb.Context(), message)
				if err == nil && i == each/2 {
					err = token.Ping(tb.Context())
				}
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
				} else {
					made++
					if err := s.Public().Verify(message, signature); err != nil {
						tb.Errorf("a wrong signature: %v", err)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made+len(failed) != workers*each {
		tb.Errorf("%d signatures and %d errors, of %d", made, len(failed), workers*each)
	}
	if n := len(token.free); n != token.sessionLimit() {
		tb.Errorf("%d of %d sessions may be used afterwards", n, token.sessionLimit())
	}
	return made, failed
}

// The rule of reconnecting: one fault, or two that are far apart, lose nothing
// where a new session can cure them. Two that are close together may hit one
// signature twice. What does not come is an error that says so, and each loss
// costs one login.
func TestReconnect(t *testing.T) {
	f := newFaulty(t)
	codes := []uint{
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_GENERAL_ERROR,
	}
	struck := map[string]int{}
	for _, function := range []string{"C_SignInit", "C_Sign", "C_OpenSession", "C_GetSessionInfo"} {
		first, far := 40, 140
		switch function {
		case "C_OpenSession": // the first is that of Open
			first, far = 2, 5
		case "C_GetSessionInfo":
			first, far = 2, 7
		}
		for _, code := range codes {
			for _, pool := range []int{1, 4, 8} {
				for _, faults := range [][]int{{first}, {first, far}, {first, first + 1}} {
					var plan []string
					for _, n := range faults {
						plan = append(plan, fmt.Sprintf("%s@%d=0x%x", function, n, code))
					}
					name := fmt.Sprintf("%v pool %d", plan, pool)
					token, s := f.signer(t, strings.Join(plan, " "), sessions(pool))
					made, failed := signMany(t, token, s)

					hit := 0
					for _, n := range faults {
						if p11fault.Calls(t, function) >= n {
							hit++
						}
					}
					struck[function] += hit
					stale := Stale(CallError{function, code})
					// Few sessions are opened, and few asked for their state: for
					// those even the far fault is close.
					close := len(faults) == 2 && (faults[1] == first+1 || first == 2)
					switch {
					case len(failed) > hit:
						t.Errorf("%s: %d faults lost %d signatures: %v", name, hit, len(failed), failed)
					case stale && !close && len(failed) > 0:
						t.Errorf("%s: %d lost: %v", name, len(failed), failed)
					case stale && len(failed) > 1:
						t.Errorf("%s: %d lost: %v", name, len(failed), failed)
					case !stale && function != "C_OpenSession" && len(failed) != hit:
						t.Errorf("%s: %d faults, %d errors, %d signatures", name, hit, len(failed), made)
					}
					for _, err := range failed {
						_, plain := errors.AsType[CallError](err)
						if stale && !errors.Is(err, ErrUnavailable) || !stale && !plain {
							t.Errorf("%s: %v", name, err)
						}
					}
					if logins := p11fault.Calls(t, "C_Login"); logins > 1+hit {
						t.Errorf("%s: %d faults cost %d logins", name, hit, logins)
					}
					useSigner(t, s, f.key.Public) // whatever happened, it is over
					if err := token.Close(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	}
	for function, n := range struck {
		if n == 0 {
			t.Errorf("no fault of %s has struck", function)
		}
	}
}

// A token that never comes back is given up after one reopening per signature.
func TestDeath(t *testing.T) {
	f := newFaulty(t)
	for _, plan := range []string{
		"*@100+=0x32",
		"C_SignInit@10+=0x32",
		"C_Sign@10+=0xb3",
		"C_Sign@10+=0x101",
		"C_SignInit@10+=0x32 C_GetSlotList@3+=0x30",
		"C_SignInit@10+=0x32 C_OpenSession@9+=0xe0",
		"C_SignInit@10+=0x32 C_Login@2+=0x30",
		"C_SignInit@10+=0x32 C_Initialize@2+=0x5",
	} {
		for _, pool := range []int{1, 8} {
			token, s := f.signer(t, plan, sessions(pool))
			_, failed := signMany(t, token, s)
			if len(failed) < workers*each-100 {
				t.Errorf("%s: only %d errors", plan, len(failed))
			}
			for _, err := range failed {
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v", plan, err)
				}
			}
			if n := p11fault.Calls(t, "C_Initialize"); n > 1+2*len(failed) {
				t.Errorf("%s: %d errors cost %d restarts", plan, len(failed), n)
			}
			_ = token.Close()
		}
	}
}

// The token's answer is not taken for a signature.
func TestDamagedSignature(t *testing.T) {
	f := newFaulty(t)
	_, s := f.signer(t, "damage@2")
	useSigner(t, s, f.key.Public)
	if got, err := s.Sign(t.Context(), []byte("x")); !errors.Is(err, sign.ErrKeyMismatch) || !errors.Is(err, sign.ErrSignature) || !got.IsZero() {
		t.Errorf("got %v", err)
	}
	useSigner(t, s, f.key.Public)
}

// A signature is two calls: a third is what a slow network does not forgive.
func TestCallsPerSignature(t *testing.T) {
	f := newFaulty(t)
	_, s := f.signer(t, "")
	before := map[string]int{}
	functions := []string{"C_SignInit", "C_Sign", "C_OpenSession", "C_GetSessionInfo", "C_FindObjectsInit", "C_Login"}
	for _, name := range functions {
		before[name] = p11fault.Calls(t, name)
	}
	for range 10 {
		useSigner(t, s, f.key.Public)
	}
	for _, name := range functions {
		want := 0
		if name == "C_SignInit" || name == "C_Sign" {
			want = 10
		}
		if got := p11fault.Calls(t, name) - before[name]; got != want {
			t.Errorf("10 signatures make %d calls of %s, want %d", got, name, want)
		}
	}
}

// An interrupt takes effect between signatures, and for those who wait.
func TestCancelSlowToken(t *testing.T) {
	f := newFaulty(t)
	_, s := f.signer(t, "C_Sign~20000", sessions(1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var once sync.Once
	begun := 0 // signatures, when the interrupt came
	for range workers {
		wg.Go(func() {
			for {
				signature, err := s.Sign(ctx, []byte("x"))
				if err != nil {
					if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
						t.Errorf("got %v", err)
					}
					return
				}
				if err := s.Public().Verify([]byte("x"), signature); err != nil {
					t.Error(err)
				}
				once.Do(func() {
					cancel()
					begun = p11fault.Calls(t, "C_Sign")
				})
			}
		})
	}
	wg.Wait()
	if n := p11fault.Calls(t, "C_Sign") - begun; n > 1 { // the one session was just about to begin it
		t.Errorf("%d signatures after an interrupt", n)
	}
	useSigner(t, s, f.key.Public)
}

// Operations wait for a session no longer than their context lives, and Close
// waits for the operations.
func TestPoolWait(t *testing.T) {
	f := newFaulty(t)
	token, s := f.signer(t, "", sessions(1))
	inside, leave, closed := make(chan struct{}), make(chan struct{}), make(chan error)
	busy := make(chan error)
	go func() {
		busy <- token.do(context.WithoutCancel(t.Context()), func(*session) error {
			close(inside)
			<-leave
			return nil
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, err := s.Sign(ctx, nil)
		waiting <- err
	}()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a session: %v", err)
	}
	go func() { closed <- token.Close() }()
	select {
	case err := <-closed:
		t.Errorf("closed under an operation: %v", err)
	default:
	}
	close(leave)
	if err := <-busy; err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := s.Sign(t.Context(), nil); !errors.Is(err, ErrClosed) || err.Error() != `hsm: token "lab": token is closed` {
		t.Errorf("used after Close: %v", err)
	}
}

// A token that says or shows that it opens few sessions is served with those.
func TestFewSessions(t *testing.T) {
	f := newFaulty(t)
	for _, c := range []struct {
		plan string
		want int // sessions opened
	}{
		{"sessions=1", 1},
		{"sessions=3", 3},
		{"maxsessions=2", 2},
		{"maxsessions=0", workers},
		{"maxsessions=-1", workers},
	} {
		token, s := f.signer(t, c.plan+" C_Sign~200", sessions(workers))
		if _, failed := signMany(t, token, s); len(failed) > 0 {
			t.Errorf("%s: %v", c.plan, failed)
		}
		if token.conn.open > c.want || token.conn.open != len(token.conn.idle) {
			t.Errorf("%s: %d sessions open, %d idle, want at most %d", c.plan, token.conn.open, len(token.conn.idle), c.want)
		}
		if n := p11fault.Calls(t, "C_Login"); n != 1 {
			t.Errorf("%s: %d logins", c.plan, n)
		}
		_ = token.Close()
	}

	_, err := f.open(t, "C_OpenSession@1+=0xb1")
	if !errors.Is(err, ErrSessions) || errors.Is(err, ErrUnavailable) ||
		err.Error() != `hsm: token "lab": the token has no free session: C_OpenSession: CKR_SESSION_COUNT` {
		t.Errorf("all sessions are taken: %v", err)
	}
	_, s := f.signer(t, "C_SignInit@1=0xb3 C_OpenSession@2+=0xb1")
	if _, err := s.Sign(t.Context(), nil); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), ErrSessions.Error()) {
		t.Errorf("all sessions are taken when one is lost: %v", err)
	}
	for _, n := range []int{-1, MaxSessions + 1} {
		if _, err := f.open(t, "", sessions(n)); err == nil {
			t.Errorf("%d sessions are accepted", n)
		}
	}
}

// The session that an error was met on is not used again, and a last one is not
// closed before there is another: the login would end with it.
func TestFailedSessionIsReplaced(t *testing.T) {
	f := newFaulty(t)
	token, s := f.signer(t, "C_Sign@2=0x5 C_Sign@4=0x5")
	for i := range 6 {
		_, err := s.Sign(t.Context(), nil)
		if failed := hasCode(err, pkcs11.CKR_GENERAL_ERROR); failed != (i == 1 || i == 3) || !failed && err != nil {
			t.Errorf("signature %d: %v", i, err)
		}
	}
	if logins, closes := p11fault.Calls(t, "C_Login"), p11fault.Calls(t, "C_CloseSession"); logins != 1 || closes != 2 || token.conn.open != 1 {
		t.Errorf("%d logins, %d sessions closed, %d open", logins, closes, token.conn.open)
	}

	if err := token.Close(); err != nil {
		t.Error(err)
	}

	// With one session at most there is no other way than to log in again.
	_, s = f.signer(t, "sessions=1 C_Sign@2=0x5")
	for range 4 {
		_, err := s.Sign(t.Context(), nil)
		if err != nil && !hasCode(err, pkcs11.CKR_GENERAL_ERROR) {
			t.Error(err)
		}
	}
	if n := p11fault.Calls(t, "C_Login"); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// Once the token has said no to the PIN, nobody tries it again: not the other
// operations that lost the same session, and none that comes later.
func TestRejectedPINIsNotRepeated(t *testing.T) {
	f := newFaulty(t)
	for code, want := range map[uint]error{
		pkcs11.CKR_PIN_INCORRECT: ErrPINRejected,
		pkcs11.CKR_PIN_LEN_RANGE: ErrPINRejected,
		pkcs11.CKR_PIN_EXPIRED:   ErrPINUnset,
		pkcs11.CKR_PIN_LOCKED:    ErrPINLocked,
	} {
		for _, pool := range []int{1, 8} {
			token, s := f.signer(t, fmt.Sprintf("C_SignInit@30=0xb3 C_Login@2=0x%x", code), sessions(pool))
			_, failed := signMany(t, token, s)
			if len(failed) < workers*each/2 {
				t.Errorf("%v: only %d errors", want, len(failed))
			}
			for _, err := range failed {
				if !errors.Is(err, want) || errors.Is(err, ErrUnavailable) {
					t.Errorf("%v: %v", want, err)
				}
			}
			if _, err := token.Generate(t.Context(), KeySpec{Label: "new", Algorithm: sign.ESP256}); !errors.Is(err, want) {
				t.Errorf("Generate: %v", err)
			}
			if n := p11fault.Calls(t, "C_Login"); n != 2 {
				t.Errorf("%v, pool %d: %d logins", want, pool, n)
			}
		}
	}
}

// The same when the operator interrupts while the token thinks about the PIN.
func TestRejectedPINAndInterrupt(t *testing.T) {
	f := newFaulty(t)
	token, s := f.signer(t, "C_SignInit@1=0xb3 C_Login@2=0xa0 C_Login~100000")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for p11fault.Calls(t, "C_Login") < 2 {
		}
		cancel()
	}()
	if _, err := s.Sign(ctx, nil); !errors.Is(err, ErrPINRejected) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := token.Ping(t.Context()); !errors.Is(err, ErrPINRejected) {
		t.Errorf("afterwards: %v", err)
	}
	if n := p11fault.Calls(t, "C_Login"); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// What the token says of its PIN is read before the PIN is asked for.
func TestPINFlags(t *testing.T) {
	f := newFaulty(t)
	for _, c := range []struct {
		name   string
		set    uint
		clear  uint
		final  bool // AllowFinalTry
		want   error
		asked  int
		logins int
	}{
		{name: "locked", set: flagLocked, want: ErrPINLocked},
		{name: "locked, whatever is allowed", set: flagLocked | flagFinalTry, final: true, want: ErrPINLocked},
		{name: "final try", set: flagFinalTry, want: ErrPINFinalTry},
		{name: "final try, allowed", set: flagFinalTry, final: true, asked: 1, logins: 1},
		{name: "count low", set: flagCountLow, asked: 1, logins: 1},
		{name: "no login required", clear: flagLoginRequired},
	} {
		asked := 0
		plan := fmt.Sprintf("flags+0x%x flags-0x%x", c.set, c.clear)
		_, err := f.open(t, plan, func(o *Options) {
			o.AllowFinalTry = c.final
			o.PIN = func(_ context.Context, info TokenInfo) (PIN, error) {
				asked++
				if info.PINCountLow != (c.set == flagCountLow) {
					t.Errorf("%s: asked with %+v", c.name, info)
				}
				return NewPIN([]byte(userPIN)), nil
			}
		})
		if !errors.Is(err, c.want) || asked != c.asked || p11fault.Calls(t, "C_Login") != c.logins {
			t.Errorf("%s: asked %d times, %d logins: %v", c.name, asked, p11fault.Calls(t, "C_Login"), err)
		}
	}
}

func TestPINPad(t *testing.T) {
	f := newFaulty(t)
	pad := fmt.Sprintf("flags+0x%x ", flagPINPad)
	told := 0
	noPIN := func(o *Options) {
		o.PIN = func(_ context.Context, info TokenInfo) (PIN, error) {
			if told++; !info.PINPad {
				t.Error("the PIN pad is kept secret")
			}
			return PIN{}, nil
		}
	}
	token, s := f.signer(t, pad+"C_SignInit@2=0xb3 padpin="+userPIN, noPIN)
	useSigner(t, s, f.key.Public)
	useSigner(t, s, f.key.Public) // the session is lost: the operator types it again
	if n := p11fault.Calls(t, "C_Login"); n != 2 || told != 2 {
		t.Errorf("%d logins, the operator was told %d times", n, told)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}

	// A PIN that is given anyhow is used: the pad is optional on some tokens.
	token, err := f.open(t, pad)
	if err != nil {
		t.Fatalf("a PIN beside the pad: %v", err)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		plan string
		want error
		says string
	}{
		{pad + "padpin=999999", ErrPINRejected, `hsm: token "lab": PIN rejected: C_Login: CKR_PIN_INCORRECT`},
		{pad + "C_Login@1=0x50 padpin=" + userPIN, ErrPINPad, `hsm: token "lab": no login through the token's PIN pad: C_Login: CKR_FUNCTION_CANCELED`},
		{pad + "C_Login@1=0xa4 padpin=" + userPIN, ErrPINLocked, "C_Login: CKR_PIN_LOCKED"},
		{pad, ErrPINPad, "C_Login: CKR_ARGUMENTS_BAD"}, // a token that has none, whatever it says
		{"padpin=" + userPIN, ErrPINRequired, "it is empty"},
	} {
		told = 0
		_, err := f.open(t, c.plan, func(o *Options) {
			o.PIN = func(context.Context, TokenInfo) (PIN, error) { return PIN{}, nil }
		})
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || p11fault.Calls(t, "C_Login") > 1 {
			t.Errorf("%q: %d logins, %v", c.plan, p11fault.Calls(t, "C_Login"), err)
		}
	}
}

// newAlways puts a key on the token that wants the PIN for every signature.
func newAlways(t *testing.T) faulty {
	t.Helper()
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	public := importKey(t, token, elliptic.P256(),
		attributes{label("always"), id(9), yes(pkcs11.CKA_SIGN), yes(pkcs11.CKA_PRIVATE), yes(pkcs11.CKA_ALWAYS_AUTHENTICATE)},
		attributes{label("always"), id(9)})
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	return faulty{p11fault.Build(t), KeyInfo{URI: URI{Object: "always"}, Public: public}}
}

func TestPINForEverySignature(t *testing.T) {
	f := newAlways(t)
	asked := 0
	ask := func(o *Options) {
		o.PIN = func(context.Context, TokenInfo) (PIN, error) {
			asked++
			return NewPIN([]byte(userPIN)), nil
		}
	}
	token, s := f.signer(t, "", ask)
	if keys, err := token.Keys(t.Context()); err != nil || keys[0].AlwaysAuthenticate != Yes {
		t.Fatalf("%+v, %v", keys, err)
	}
	made, failed := signMany(t, token, s)
	if made != workers*each {
		t.Errorf("lost: %v", failed)
	}
	if n := p11fault.Calls(t, "C_Login"); n != 1+made || asked != 1 {
		t.Errorf("%d logins for %d signatures, asked %d times", n, made, asked)
	}

	// A lost session costs one more login, and nothing else.
	for _, plan := range []string{"C_Sign@20=0xb3", "C_SignInit@20=0x32", "C_Login@20=0x30", "C_Login@20=0x101"} {
		token, s := f.signer(t, plan, sessions(4))
		if _, failed := signMany(t, token, s); len(failed) > 0 {
			t.Errorf("%s: %v", plan, failed)
		}
	}

	// A token that never sees the login says so, and is not signed with.
	for _, code := range []uint{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LOCKED} {
		for _, pool := range []int{1, 8} {
			token, s := f.signer(t, fmt.Sprintf("C_Login@20=0x%x", code), sessions(pool))
			made, failed := signMany(t, token, s)
			if n := p11fault.Calls(t, "C_Login"); n != 20 || made != 18 {
				t.Errorf("pool %d: %d logins, %d signatures", pool, n, made)
			}
			for _, err := range failed {
				if !isPINError(err) {
					t.Error(err)
				}
			}
		}
	}
}

// A login that is not even tried must not leave the session in the middle of
// an operation, for the next user to trip over.
func TestPINForASignatureIsNotTried(t *testing.T) {
	f := newAlways(t)
	asked := 0
	give := func() (PIN, error) { return NewPIN([]byte(userPIN)), nil }
	token, s := f.signer(t, fmt.Sprintf("flags+0x%x padpin=%s", flagPINPad, userPIN), func(o *Options) {
		o.PIN = func(context.Context, TokenInfo) (PIN, error) {
			asked++
			return give()
		}
	})
	token.pin.Wipe() // as if it had come from the pad
	nobody := errors.New("nobody there")
	give = func() (PIN, error) { return PIN{}, nobody }
	if _, err := s.Sign(t.Context(), nil); !errors.Is(err, nobody) {
		t.Errorf("got %v", err)
	}
	give = func() (PIN, error) { return PIN{}, nil }
	useSigner(t, s, f.key.Public)
	if n := p11fault.Calls(t, "C_Login"); n != 2 || asked != 3 || p11fault.Calls(t, "C_Initialize") != 1 {
		t.Errorf("%d logins, asked %d times, %d restarts", n, asked, p11fault.Calls(t, "C_Initialize")-1)
	}
}

// A key without a public half that wants its PIN for every signature cannot be
// tried: it is taken only when no other key is the pinned one.
func TestLookupOfKeysThatCannotBeTried(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	signing, always, private := yes(pkcs11.CKA_SIGN), yes(pkcs11.CKA_ALWAYS_AUTHENTICATE), yes(pkcs11.CKA_PRIVATE)
	alone := importKey(t, token, elliptic.P256(), attributes{label("alone"), id(1), signing, private, always}, nil)
	pair := importKey(t, token, elliptic.P256(), attributes{label("pair"), id(2), signing}, attributes{label("pair"), id(2)})
	for _, pinned := range []sign.PublicKey{alone, pair} {
		s, err := token.Signer(t.Context(), URI{}, pinned)
		if err != nil {
			t.Fatal(err)
		}
		useSigner(t, s, pinned)
	}
	importKey(t, token, elliptic.P256(), attributes{label("second"), id(3), signing, private, always}, nil)
	if _, err := token.Signer(t.Context(), URI{}, alone); !errors.Is(err, ErrKeyAmbiguous) {
		t.Errorf("two that cannot be tried: %v", err)
	}
}

func TestMissingMechanism(t *testing.T) {
	f := newFaulty(t)
	_, s := f.signer(t, "without=0x1041")
	if _, err := s.Sign(t.Context(), nil); !errors.Is(err, ErrMechanism) ||
		err.Error() != `hsm: token "lab": key `+(URI{Object: "key", ID: f.key.ID}).String()+`: the token lacks a mechanism: CKM_ECDSA: C_SignInit: CKR_MECHANISM_INVALID` {
		t.Errorf("got %v", err)
	}
	token, err := f.open(t, "without=0x1040")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Generate(t.Context(), KeySpec{Label: "new", Algorithm: sign.ESP256}); !errors.Is(err, ErrMechanism) || !strings.Contains(err.Error(), "CKM_EC_KEY_PAIR_GEN") {
		t.Errorf("got %v", err)
	}
}

// A slot that does not answer for a moment, as while another program changes its
// token, is no second token.
func TestGenerateInSilentSlot(t *testing.T) {
	f := newFaulty(t)
	for plan, want := range map[string]error{
		"C_GetTokenInfo@3+=0x5":  CallError{"C_GetTokenInfo", pkcs11.CKR_GENERAL_ERROR},
		"C_GetTokenInfo@3+=0xe0": ErrTokenNotFound,
	} {
		token, err := f.open(t, plan)
		if err != nil {
			t.Fatal(err)
		}
		_, err = token.Generate(t.Context(), KeySpec{Label: "new", Algorithm: sign.ESP256})
		if !errors.Is(err, want) || errors.Is(err, ErrTokenAmbiguous) {
			t.Errorf("%s: %v, want %v", plan, err, want)
		}
		_ = token.Close()
	}
}

// Of those who make a secret key of one name at once, at most one keeps it.
func TestGenerateSecretKeyMeanwhile(t *testing.T) {
	f := newFaulty(t)
	token, err := f.open(t, "C_GenerateKey~300000")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var errs [3]error
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = token.GenerateSecretKey(t.Context(), SecretKeySpec{Label: "master", Use: Derivation})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, ErrKeyExists) {
			t.Error(err)
		}
	}
	err = token.do(t.Context(), func(s *session) error {
		handles, err := s.find(t.Context(), secretTemplate("master", nil))
		if len(handles) != made || made > 1 {
			t.Errorf("%d keys, %d of them kept", len(handles), made)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if n := p11fault.Calls(t, "C_GenerateKey"); n < 2 {
		t.Errorf("%d key was made, the others came too late", n)
	}
}

func TestGenerateSecretKeyInOneSession(t *testing.T) {
	f := newFaulty(t)
	token, err := f.open(t, "sessions=1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.GenerateSecretKey(t.Context(), SecretKeySpec{Label: "master", Use: Derivation}); !errors.Is(err, ErrSessions) {
		t.Errorf("got %v", err)
	}
}

// Close while a key is generated: both wait for locks that the other needs.
func TestCloseDuringGenerate(t *testing.T) {
	f := newFaulty(t)
	for i := range 20 {
		token, err := f.open(t, "")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := token.Generate(t.Context(), KeySpec{Label: fmt.Sprint("new", i), Algorithm: sign.ESP256})
			if err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			for p11fault.Calls(t, "C_Finalize") == 0 && p11fault.Calls(t, "C_FindObjectsInit") < 4 {
			}
			if err := token.Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
	if len(modules.open) != 0 {
		t.Error("the module stays loaded")
	}
}

// What a program may print of this package has no PIN in it, however it fails.
func TestNothingPrintsThePIN(t *testing.T) {
	f := newFaulty(t)
	const wrong = "31337-not-the-pin"
	look := func(what, text string) {
		for _, secret := range []string{userPIN, wrong, soPIN, fmt.Sprintf("%x", userPIN), fmt.Sprint([]byte(userPIN))} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s", what, text)
			}
		}
	}
	options := Options{}
	token, s := f.signer(t, "", func(o *Options) { options = *o })
	keys, err := token.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	uri, err := ParseURI("pkcs11:token=lab?pin-source=file:/etc/pin")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{token, token.module, s, options, token.Info(), token.Module(), keys, uri, token.conn, token.pin} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			look(fmt.Sprintf("%T with %s", v, verb), fmt.Sprintf(verb, v))
		}
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	for _, plan := range []string{
		"C_Login@1=0xa0", "C_Login@1=0xa1", "C_Login@1=0xa2", "C_Login@1=0xa3", "C_Login@1=0xa4", "C_Login@1=0x102", "C_Login@1=0x5", "C_Login@1=0x32",
		"C_OpenSession@1=0xb1", "C_GetTokenInfo@1=0x30", "C_GetSlotList@1=0x5", "C_Initialize@1=0x5", "flags+0x40000", "flags+0x20000", "",
	} {
		token, err := f.open(t, plan, func(o *Options) { o.PIN = pinIs(wrong) })
		if err == nil {
			t.Errorf("%q: opened", plan)
			_ = token.Close()
			continue
		}
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			look(plan, fmt.Sprintf(verb, err))
		}
	}
}

// Where another part of the program has initialised the module, a restart does
// not end sessions: those of a lost connection are closed one by one.
func TestLostSessionsAreClosed(t *testing.T) {
	f := newFaulty(t)
	p11fault.Plan(t, modulePath(t), "")
	other := pkcs11.New(f.module)
	defer other.Destroy()
	if err := other.Initialize(); err != nil {
		t.Fatal(err)
	}
	token, s := f.signer(t, "C_Sign@20=0x30 C_SignInit@150=0xe0", sessions(workers))
	if _, failed := signMany(t, token, s); len(failed) > 0 {
		t.Errorf("lost: %v", failed)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	if opened, closed := p11fault.Calls(t, "C_OpenSession"), p11fault.Calls(t, "C_CloseSession"); opened != closed || opened < 2 {
		t.Errorf("%d sessions opened, %d closed", opened, closed)
	}
	if err := other.Finalize(); err != nil {
		t.Error(err)
	}
}

// Every call of a program's way from Open to Close fails once, whatever it is:
// what the program gets is right, or an error that says which call it was.
func TestEveryCallFailsOnce(t *testing.T) {
	f := newFaulty(t)
	use := func() error {
		token, err := Open(t.Context(), Options{Module: f.module, Token: URI{Token: "lab"}, PIN: pinIs(userPIN)})
		if err != nil {
			return err
		}
		err = func() error {
			keys, err := token.Keys(t.Context())
			if err != nil {
				return err
			}
			if len(keys) != 1 || !keys[0].Public.Equal(f.key.Public) {
				t.Errorf("a wrong list: %v", keys)
			}
			for _, uri := range []URI{f.key.URI, {}} {
				s, err := token.Signer(t.Context(), uri, f.key.Public)
				if err != nil {
					return err
				}
				for range 2 {
					signature, err := s.Sign(t.Context(), []byte("x"))
					if err != nil {
						return err
					}
					if err := f.key.Public.Verify([]byte("x"), signature); err != nil {
						t.Errorf("a wrong signature: %v", err)
					}
				}
			}
			return nil
		}()
		if e := token.Close(); e != nil && err == nil {
			return e
		}
		return err
	}
	for _, code := range []uint{
		pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_SESSION_HANDLE_INVALID,
		pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_FUNCTION_FAILED,
	} {
		done, failed := 0, 0
		for n := 1; ; n++ {
			p11fault.Plan(t, modulePath(t), fmt.Sprintf("*@%d=0x%x", n, code))
			err := use()
			_, named := errors.AsType[CallError](err)
			switch {
			case err == nil:
				done++
			case !named && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTokenNotFound):
				t.Errorf("call %d, 0x%x: %v", n, code, err)
			default:
				failed++
			}
			if logins := p11fault.Calls(t, "C_Login"); logins > 2 {
				t.Errorf("call %d, 0x%x: %d logins", n, code, logins)
			}
			if len(modules.open) != 0 {
				t.Fatalf("call %d, 0x%x: the module stays loaded", n, code)
			}
			if p11fault.Calls(t, "*") < n { // the program ends before the fault
				break
			}
		}
		if stale := Stale(CallError{"", code}); stale && done < failed || failed == 0 {
			t.Errorf("0x%x: %d runs without an error, %d with", code, done, failed)
		}
	}
}
