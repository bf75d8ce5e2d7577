//go:build cgo

package hsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

// Token is one token with one read-only session.
type Token struct {
	options Options
	module  *module

	mu         sync.Mutex // guards what follows and the session, which only one thread may use
	info       TokenInfo
	slot       uint
	session    pkcs11.SessionHandle
	generation int   // of the module, when the session was opened
	lost       error // why there is no session, until one is open again
	pin        PIN   // kept for reopening and for Generate
	rejected   error // a PIN error when reopening: never tried again
	closed     bool
}

var errSessionEnded = errors.New("the session ended with those of another token")

// Open loads the module, selects the token, opens a session and, with
// Options.PIN, logs in: one attempt.
//
// When another Token of this process has logged in to the same token already,
// PKCS#11 does not check the PIN again.
func Open(ctx context.Context, o Options) (*Token, error) {
	switch {
	case o.Token.SlotID != nil:
		return nil, fmt.Errorf("hsm: %w: slot-id: slots get renumbered; name the token by its serial or label", ErrURI)
	case !o.Token.namesToken():
		return nil, fmt.Errorf("hsm: %w: it does not name a token", ErrURI)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := loadModule(o.Module)
	if err != nil {
		return nil, err
	}
	t := &Token{options: o, module: m}
	if err := t.attempt(ctx, func() error { return nil }); err != nil {
		return nil, errors.Join(t.fail(err), t.Close())
	}
	return t, nil
}

// Info returns what the token said about itself when it was opened.
func (t *Token) Info() TokenInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.info
}

// Ping checks that the session is alive, and reopens it when it is not.
func (t *Token) Ping(ctx context.Context) error {
	return t.do(ctx, func() error {
		_, err := t.module.ctx.GetSessionInfo(t.session)
		return call("C_GetSessionInfo", err)
	})
}

// Close ends the session, lets go of the module and wipes the PIN. A second
// Close does nothing. An error only says that the module did not let go
// cleanly: what was signed before is not affected.
func (t *Token) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.pin.Wipe()
	return errors.Join(t.closeSession(), t.module.release())
}

func (t *Token) closeSession() error {
	t.module.mu.RLock()
	defer t.module.mu.RUnlock()
	if t.session == 0 || t.generation != t.module.generation {
		return nil // the session ended with its generation; its number may be someone else's by now
	}
	err := call("C_CloseSession", t.module.ctx.CloseSession(t.session))
	if Stale(err) {
		return nil
	}
	return err
}

// do gives f exclusive use of the session.
func (t *Token) do(ctx context.Context, f func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run(ctx, f)
}

// run is do for callers that hold t.mu. When f finds the session lost, the
// module is restarted, the session reopened and f run once more; f must cope
// with that.
func (t *Token) run(ctx context.Context, f func() error) error {
	switch {
	case t.closed:
		return t.fail(ErrClosed)
	case t.rejected != nil:
		return t.fail(t.rejected)
	}
	if t.lost == nil {
		err := t.attempt(ctx, f)
		if !Stale(err) {
			return t.fail(err)
		}
		t.lost = err
	}
	if err := t.module.restart(t.generation); err != nil {
		return t.fail(t.notReopened(err))
	}
	err := t.attempt(ctx, f)
	if Stale(err) {
		err = fmt.Errorf("%w: %w, even after reopening", ErrUnavailable, err)
	}
	return t.fail(err)
}

// attempt runs f on an open session. An error of opening it again is never
// Stale, so that nothing logs in twice for one operation.
func (t *Token) attempt(ctx context.Context, f func() error) error {
	t.module.mu.RLock()
	defer t.module.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.lost != nil || t.generation != t.module.generation {
		first := t.generation == 0
		t.lost = cmp.Or(t.lost, errSessionEnded)
		t.session, t.generation = 0, t.module.generation
		switch err := t.connect(ctx); {
		case err == nil:
			t.lost = nil
		case first || ctx.Err() != nil:
			return err
		case isPINError(err):
			t.rejected = err
			return err
		default:
			return t.notReopened(err)
		}
	}
	return f()
}

// notReopened leaves only ErrUnavailable to be found by errors.Is: a token that
// was there before is unavailable rather than not found.
func (t *Token) notReopened(err error) error {
	return fmt.Errorf("%w: %v; reopening: %v", ErrUnavailable, t.lost, err)
}

// fail says which token an error is about.
func (t *Token) fail(err error) error {
	switch {
	case err == nil:
		return nil
	case t.info == (TokenInfo{}): // not found yet
		u := t.options.Token
		return fmt.Errorf("hsm: token %s: %w", URI{Token: u.Token, Serial: u.Serial, Model: u.Model, Manufacturer: u.Manufacturer}, err)
	}
	return fmt.Errorf("hsm: token %q: %w", t.info.Label, err)
}

// connect selects the token and opens a session of the current generation.
func (t *Token) connect(ctx context.Context) error {
	p := t.module.ctx
	found, err := selectToken(p, t.options.Token)
	if err != nil {
		return err
	}
	t.info = found.info
	if err := ctx.Err(); err != nil {
		return err
	}
	session, err := p.OpenSession(found.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return call("C_OpenSession", err)
	}
	if err := t.login(ctx, session); err != nil {
		_ = p.CloseSession(session)
		return err
	}
	t.slot, t.session = found.slot, session
	return nil
}

// login makes the one attempt, if the token wants one.
func (t *Token) login(ctx context.Context, session pkcs11.SessionHandle) error {
	if t.options.PIN == nil || !t.info.LoginRequired {
		return nil
	}
	if err := checkTries(t.info, t.options.AllowFinalTry); err != nil {
		return err
	}
	if t.pin.IsEmpty() {
		pin, err := t.options.PIN(ctx, t.info)
		if err != nil {
			return err
		}
		t.pin = pin
	}
	pad := t.info.PINPad && t.pin.IsEmpty()
	if t.pin.IsEmpty() && !pad { // some modules answer anything from HOST_MEMORY to PIN_INCORRECT
		return fmt.Errorf("%w: it is empty", ErrPINRequired)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// miekg/pkcs11 v1.1.2 passes an empty PIN as NULL, which is what PKCS#11
	// wants for the PIN pad.
	err := call("C_Login", t.module.ctx.Login(session, pkcs11.CKU_USER, t.pin.reveal()))
	switch {
	case hasCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case err != nil && pad:
		return fmt.Errorf("%w: %w", ErrPINPad, err)
	}
	return classifyPIN(err)
}

// classifyPIN puts a sentinel in front of what a token says about a PIN.
func classifyPIN(err error) error {
	switch {
	case hasCode(err, pkcs11.CKR_PIN_LOCKED):
		return fmt.Errorf("%w: %w", ErrPINLocked, err)
	case hasCode(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED):
		return fmt.Errorf("%w: %w", ErrPINRejected, err)
	}
	return err
}

// slotToken is a token in a slot.
type slotToken struct {
	slot        uint
	info        TokenInfo
	initialized bool
	// label and serial as the library gives them: without blanks at the end,
	// but with NULs.
	label, serial  string
	minPIN, maxPIN uint // bytes
}

// tokens lists the tokens that are present. Slots that do not answer are left
// out, so that a broken reader cannot block a healthy token; broken is what the
// last of them answered, unless it only has no token.
func tokens(p *pkcs11.Ctx) (found []slotToken, broken, err error) {
	slots, err := p.GetSlotList(true)
	if err != nil {
		return nil, nil, call("C_GetSlotList", err)
	}
	trim := func(s string) string { return strings.TrimRight(s, " \x00") }
	for _, slot := range slots {
		raw, err := p.GetTokenInfo(slot)
		if err := call("C_GetTokenInfo", err); err != nil {
			if !hasCode(err, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED) {
				broken = err
			}
			continue
		}
		flag := func(f uint) bool { return raw.Flags&f != 0 }
		found = append(found, slotToken{
			slot: slot,
			info: TokenInfo{
				Label:         trim(raw.Label),
				Serial:        trim(raw.SerialNumber),
				Model:         trim(raw.Model),
				Manufacturer:  trim(raw.ManufacturerID),
				LoginRequired: flag(pkcs11.CKF_LOGIN_REQUIRED),
				PINPad:        flag(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH),
				PINCountLow:   flag(pkcs11.CKF_USER_PIN_COUNT_LOW),
				PINFinalTry:   flag(pkcs11.CKF_USER_PIN_FINAL_TRY),
				PINLocked:     flag(pkcs11.CKF_USER_PIN_LOCKED),
			},
			initialized: flag(pkcs11.CKF_TOKEN_INITIALIZED),
			label:       raw.Label,
			serial:      raw.SerialNumber,
			minPIN:      raw.MinPinLen,
			maxPIN:      raw.MaxPinLen,
		})
	}
	return found, broken, nil
}

// selectToken returns the only initialised token that matches want.
func selectToken(p *pkcs11.Ctx, want URI) (slotToken, error) {
	all, broken, err := tokens(p)
	if err != nil {
		return slotToken{}, err
	}
	all = slices.DeleteFunc(all, func(s slotToken) bool { return !s.initialized })
	var matching []slotToken
	for _, s := range all {
		if want.matches(s.info) {
			matching = append(matching, s)
		}
	}
	if len(matching) == 1 {
		return matching[0], nil
	}
	if len(matching) > 1 {
		return slotToken{}, fmt.Errorf("%w: %s", ErrTokenAmbiguous, listTokens(matching))
	}
	seen := "no initialised token"
	if len(all) > 0 {
		seen = listTokens(all)
	}
	err = fmt.Errorf("%w; the module has %s", ErrTokenNotFound, seen)
	if broken != nil {
		err = fmt.Errorf("%w; a slot could not be read: %w", err, broken)
	}
	return slotToken{}, err
}

func listTokens(found []slotToken) string {
	var uris []URI
	for _, s := range found[:min(len(found), listLimit)] {
		uris = append(uris, s.info.fullURI())
	}
	return list(uris, len(found))
}
