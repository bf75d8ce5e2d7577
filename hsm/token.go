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

// Token is one token with a pool of read-only sessions, which it opens as they
// are needed.
type Token struct {
	options Options
	module  *module

	use  sync.RWMutex  // held for reading by operations, for writing by Close
	free chan struct{} // has an element for each session that may be in use

	reauthenticating sync.Mutex // see signer.authenticate

	mu         sync.Mutex // guards what follows
	info       TokenInfo
	conn       *connection // nil: there is none
	generation int         // of the module, when conn was last made or tried
	lost       error       // why there is no connection, until there is one again
	pin        PIN         // kept for connecting again and for Generate
	rejected   error       // what the token said of the PIN: it is never tried again
	closed     bool
}

// connection is what selecting the token and logging in gave. Sessions and
// object handles are of use only in the connection that they come from.
type connection struct {
	generation int // of the module
	slot       uint
	idle       []pkcs11.SessionHandle
	open       int // sessions, idle ones included
}

// session is one session for the use of one operation.
type session struct {
	token  *Token
	conn   *connection
	p      *pkcs11.Ctx
	handle pkcs11.SessionHandle
	info   TokenInfo
	// active says that an operation was begun and not finished.
	active bool
}

var (
	errSessionEnded = errors.New("the session ended")
	errNoMore       = errors.New("the token opens no further session")
	errLost         = errors.New("the connection was lost a moment ago")
)

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
	case o.Sessions < 0 || o.Sessions > MaxSessions:
		return nil, fmt.Errorf("hsm: %d sessions: want 1 to %d", o.Sessions, MaxSessions)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := loadModule(o.Module)
	if err != nil {
		return nil, err
	}
	t := &Token{options: o, module: m, free: make(chan struct{}, cmp.Or(o.Sessions, defaultSessions))}
	t.free <- struct{}{}
	if err := t.do(ctx, func(*session) error { return nil }); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	for range t.sessionLimit() - 1 {
		t.free <- struct{}{}
	}
	return t, nil
}

// sessionLimit is how many sessions to open at most.
func (t *Token) sessionLimit() int {
	limit := cap(t.free)
	if n := t.Info().MaxSessions; n > 0 && n < uint(limit) {
		limit = int(n)
	}
	return limit
}

// Info returns what the token said about itself when it was opened.
func (t *Token) Info() TokenInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.info
}

// Module returns what the module said about itself when it was loaded.
func (t *Token) Module() ModuleInfo { return t.module.info }

// Ping checks that a session is alive, and reopens it when it is not.
func (t *Token) Ping(ctx context.Context) error {
	return t.do(ctx, func(s *session) error {
		_, err := s.p.GetSessionInfo(s.handle)
		return call("C_GetSessionInfo", err)
	})
}

// Close waits for what is under way, ends all sessions, lets go of the module
// and wipes the PIN. A second Close does nothing. An error only says that the
// module did not let go cleanly: what was signed before is not affected.
func (t *Token) Close() error {
	t.use.Lock()
	defer t.use.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.pin.Wipe()
	return errors.Join(t.closeSessions(), t.module.release())
}

func (t *Token) closeSessions() error {
	t.module.mu.RLock()
	defer t.module.mu.RUnlock()
	if t.conn == nil || t.conn.generation != t.module.generation {
		return nil // the sessions ended with their generation; their numbers may be someone else's by now
	}
	var errs []error
	for _, handle := range t.conn.idle {
		if err := call("C_CloseSession", t.module.ctx.CloseSession(handle)); !Stale(err) {
			errs = append(errs, err)
		}
	}
	t.conn = nil
	return errors.Join(errs...)
}

// do runs f on a session of its own, waiting until one is free. When f finds
// the session lost, the module is restarted, the token connected again, and f
// run once more; f must cope with that.
func (t *Token) do(ctx context.Context, f func(*session) error) error {
	t.use.RLock()
	defer t.use.RUnlock()
	held := 0
	defer func() {
		for range held {
			t.free <- struct{}{}
		}
	}()
	for {
		select {
		case <-t.free:
			held++
		case <-ctx.Done():
			return t.fail(ctx.Err())
		}
		// When the token opens no further session, those that it has opened for
		// us are in use, and each of their users gives an element back.
		if err := t.run(ctx, f); !errors.Is(err, errNoMore) {
			return t.fail(err)
		}
	}
}

// run gives f two chances. Others that lost the same connection do not spend
// the second one: whoever comes first makes the new connection.
func (t *Token) run(ctx context.Context, f func(*session) error) error {
	for again := false; ; {
		if err := t.revive(ctx); err != nil {
			return err
		}
		conn, err := t.attempt(ctx, f)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errLost):
			continue
		case conn == nil || !Stale(err):
			return err
		}
		t.lose(conn, err)
		if again {
			return fmt.Errorf("%w: %w, even after reopening", ErrUnavailable, err)
		}
		again = true
	}
}

// revive restarts the module when the connection was lost and nobody has done
// so since.
func (t *Token) revive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	closed, lost, generation := t.closed, t.lost, t.generation
	t.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case lost == nil:
		return nil
	}
	if err := t.module.restart(generation); err != nil {
		return notReopened(lost, err)
	}
	return nil
}

// lose gives a connection up, if another operation has not done so already.
func (t *Token) lose(conn *connection, why error) {
	t.module.mu.RLock()
	defer t.module.mu.RUnlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == conn {
		t.conn, t.lost = nil, why
		t.abandon(conn, conn.idle...)
	}
}

// abandon closes sessions that nobody will use again, unless the restart of the
// module is going to end them, or has.
func (t *Token) abandon(conn *connection, sessions ...pkcs11.SessionHandle) {
	if t.module.owned || conn.generation != t.module.generation {
		return
	}
	for _, handle := range sessions {
		_ = t.module.ctx.CloseSession(handle) // it may be gone already
	}
}

// attempt runs f on a session of the current connection, which it makes if need
// be. The connection is nil when it could not be made, so that nothing logs in
// twice for one failure.
func (t *Token) attempt(ctx context.Context, f func(*session) error) (*connection, error) {
	t.module.mu.RLock()
	defer t.module.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, s, err := t.take(ctx)
	if err != nil {
		return conn, err
	}
	err = f(s)
	t.put(s, err)
	return conn, err
}

// take connects if need be, and takes an idle session or opens one.
func (t *Token) take(ctx context.Context) (*connection, *session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil || t.conn.generation != t.module.generation {
		if t.lost != nil && t.generation == t.module.generation {
			return nil, nil, errLost
		}
		if err := t.connect(ctx); err != nil {
			return nil, nil, err
		}
	}
	c := t.conn
	s := &session{token: t, conn: c, p: t.module.ctx, info: t.info}
	if n := len(c.idle); n > 0 {
		s.handle, c.idle = c.idle[n-1], c.idle[:n-1]
		return c, s, nil
	}
	var err error
	if s.handle, err = openSession(s.p, c.slot); err != nil {
		if errors.Is(err, ErrSessions) { // c has some, and they are in use
			err = errNoMore
		}
		return c, nil, err
	}
	c.open++
	return c, s, nil
}

// put gives a session back. One that a call failed on, or that was left in the
// middle of an operation, is closed instead: the next user would find the
// operation active.
func (t *Token) put(s *session, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := s.conn
	if t.conn != c || Stale(err) { // the connection is lost
		t.abandon(c, s.handle)
		return
	}
	if _, failed := errors.AsType[CallError](err); !failed && !s.active {
		c.idle = append(c.idle, s.handle)
		return
	}
	if c.open == 1 { // the login ends with the last session: open another one first
		if handle, err := openSession(s.p, c.slot); err == nil {
			c.idle, c.open = append(c.idle, handle), c.open+1
		}
	}
	_ = s.p.CloseSession(s.handle) // what failed is reported already
	if c.open--; c.open == 0 {
		t.conn = nil
	}
}

// connect selects the token, opens a first session of the current generation
// and logs in.
func (t *Token) connect(ctx context.Context) error {
	if t.rejected != nil {
		return t.rejected
	}
	first := t.generation == 0
	t.conn, t.generation = nil, t.module.generation
	conn, err := t.logIn(ctx)
	switch {
	case err == nil:
		t.conn, t.lost = conn, nil
		return nil
	case first:
		return err
	}
	t.lost = cmp.Or(t.lost, errSessionEnded)
	switch {
	case isPINError(err):
		return fmt.Errorf("the session was lost (%v), and the new login: %w", t.lost, err)
	case ctx.Err() != nil:
		return err
	}
	return notReopened(t.lost, err)
}

// notReopened leaves only ErrUnavailable to be found by errors.Is: a token that
// was there before is unavailable rather than not found.
func notReopened(lost, err error) error {
	return fmt.Errorf("%w: %v; reopening: %v", ErrUnavailable, lost, err)
}

// fail says which token an error is about.
func (t *Token) fail(err error) error {
	info := t.Info()
	switch {
	case err == nil:
		return nil
	case info == (TokenInfo{}): // not found yet
		u := t.options.Token
		return fmt.Errorf("hsm: token %s: %w", URI{Token: u.Token, Serial: u.Serial, Model: u.Model, Manufacturer: u.Manufacturer}, err)
	}
	return fmt.Errorf("hsm: token %q: %w", info.Label, err)
}

func (t *Token) logIn(ctx context.Context) (*connection, error) {
	p := t.module.ctx
	found, err := selectToken(p, t.options.Token)
	if err != nil {
		return nil, err
	}
	t.info = found.info
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	handle, err := openSession(p, found.slot)
	if err != nil {
		return nil, err
	}
	if err := t.login(ctx, handle); err != nil {
		_ = p.CloseSession(handle)
		return nil, err
	}
	return &connection{t.generation, found.slot, []pkcs11.SessionHandle{handle}, 1}, nil
}

func openSession(p *pkcs11.Ctx, slot uint) (pkcs11.SessionHandle, error) {
	handle, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err := call("C_OpenSession", err); hasCode(err, pkcs11.CKR_SESSION_COUNT) {
		return 0, fmt.Errorf("%w: %w", ErrSessions, err)
	} else if err != nil {
		return 0, err
	}
	return handle, nil
}

// login makes the one attempt, if the token wants one.
func (t *Token) login(ctx context.Context, handle pkcs11.SessionHandle) error {
	if t.options.PIN == nil || !t.info.LoginRequired {
		return nil
	}
	if err := checkTries(t.info, t.options.AllowFinalTry); err != nil {
		return err
	}
	err := t.enterPIN(ctx, handle, pkcs11.CKU_USER)
	if hasCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return nil
	}
	return err
}

// enterPIN makes one attempt, after asking for the PIN where it is not known
// yet. Once the token has rejected the PIN no further attempt is made. t.mu is
// held.
func (t *Token) enterPIN(ctx context.Context, handle pkcs11.SessionHandle, user uint) error {
	if t.rejected != nil { // another operation was faster
		return t.rejected
	}
	if t.pin.IsEmpty() {
		if t.options.PIN == nil {
			return ErrPINRequired
		}
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
	err := call("C_Login", t.module.ctx.Login(handle, user, t.pin.reveal()))
	switch {
	case err == nil:
		return nil
	case Stale(err) || hasCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		return err
	}
	err = classifyPIN(err)
	if pad && !isPINError(err) {
		err = fmt.Errorf("%w: %w", ErrPINPad, err)
	}
	if isPINError(err) {
		t.rejected = err
		t.pin.Wipe()
	}
	return err
}

// authenticate is the login that a key with CKA_ALWAYS_AUTHENTICATE wants
// between C_SignInit and C_Sign. The flags of the token are read anew: the PIN
// may have been mistyped elsewhere since the first login.
func (s *session) authenticate(ctx context.Context) error {
	t := s.token
	t.mu.Lock()
	defer t.mu.Unlock()
	raw, err := s.p.GetTokenInfo(s.conn.slot)
	if err != nil {
		return call("C_GetTokenInfo", err)
	}
	if err := checkTries(newTokenInfo(raw), t.options.AllowFinalTry); err != nil {
		return err
	}
	return t.enterPIN(ctx, s.handle, pkcs11.CKU_CONTEXT_SPECIFIC)
}

// classifyPIN puts a sentinel in front of what a token says about a PIN.
func classifyPIN(err error) error {
	switch {
	case hasCode(err, pkcs11.CKR_PIN_LOCKED):
		return fmt.Errorf("%w: %w", ErrPINLocked, err)
	case hasCode(err, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		return fmt.Errorf("%w: %w", ErrPINUnset, err)
	case hasCode(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE):
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
	for _, slot := range slots {
		raw, err := p.GetTokenInfo(slot)
		if err := call("C_GetTokenInfo", err); err != nil {
			if !hasCode(err, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED) {
				broken = err
			}
			continue
		}
		found = append(found, slotToken{
			slot:        slot,
			info:        newTokenInfo(raw),
			initialized: raw.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0,
			label:       raw.Label,
			serial:      raw.SerialNumber,
			minPIN:      raw.MinPinLen,
			maxPIN:      raw.MaxPinLen,
		})
	}
	return found, broken, nil
}

func newTokenInfo(raw pkcs11.TokenInfo) TokenInfo {
	flag := func(f uint) bool { return raw.Flags&f != 0 }
	i := TokenInfo{
		Label:         trim(raw.Label),
		Serial:        trim(raw.SerialNumber),
		Model:         trim(raw.Model),
		Manufacturer:  trim(raw.ManufacturerID),
		Hardware:      versionText(raw.HardwareVersion),
		Firmware:      versionText(raw.FirmwareVersion),
		LoginRequired: flag(pkcs11.CKF_LOGIN_REQUIRED),
		PINPad:        flag(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH),
		PINCountLow:   flag(pkcs11.CKF_USER_PIN_COUNT_LOW),
		PINFinalTry:   flag(pkcs11.CKF_USER_PIN_FINAL_TRY),
		PINLocked:     flag(pkcs11.CKF_USER_PIN_LOCKED),
		MaxSessions:   count(raw.MaxSessionCount),
	}
	if flag(pkcs11.CKF_CLOCK_ON_TOKEN) {
		i.Clock = trim(raw.UTCTime)
	}
	return i
}

func trim(s string) string { return strings.TrimRight(s, " \x00") }

func versionText(v pkcs11.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// count reads a number of sessions, 0 for CK_EFFECTIVELY_INFINITE (0) and
// CK_UNAVAILABLE_INFORMATION (all ones).
func count(n uint) uint {
	if n == ^uint(0) {
		return 0
	}
	return n
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
