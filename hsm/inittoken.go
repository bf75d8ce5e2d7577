//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

const maxTokenLabel = 32 // bytes of the label in CK_TOKEN_INFO

// InitToken makes a token with a user PIN in a slot whose token is not
// initialised, as SoftHSM always offers one. It never touches a token that is.
// An existing token of that label wraps ErrTokenExists, a module without a free
// slot ErrTokenNotFound. The label has 1 to 32 bytes and no blank at its end.
//
// It is meant for development tokens. SoftHSM finds its directory through
// SOFTHSM2_CONF, which it reads when a module is opened first; os.Setenv
// reaches it, because with cgo it also sets the variable of the C library.
func InitToken(ctx context.Context, module, label string, soPIN, userPIN PIN) (err error) {
	switch {
	case label == "" || len(label) > maxTokenLabel || strings.TrimRight(label, " \x00") != label:
		return fmt.Errorf("hsm: new token %q: %w", label, ErrTokenLabel)
	case soPIN.IsEmpty() || userPIN.IsEmpty():
		return fmt.Errorf("hsm: new token %q: %w", label, ErrPINRequired)
	}
	m, err := loadModule(module)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.release()) }()
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := initToken(ctx, m.ctx, label, soPIN, userPIN); err != nil {
		return fmt.Errorf("hsm: new token %q: %w", label, err)
	}
	return nil
}

func initToken(ctx context.Context, p *pkcs11.Ctx, label string, soPIN, userPIN PIN) error {
	all, _, err := tokens(p)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(s slotToken) bool { return s.initialized && s.info.Label == label }); i >= 0 {
		return fmt.Errorf("%w: %s", ErrTokenExists, all[i].info.URI())
	}
	free := slices.IndexFunc(all, func(s slotToken) bool { return !s.initialized })
	if free < 0 {
		return fmt.Errorf("%w: no slot has an uninitialised token", ErrTokenNotFound)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Checked here, or a bad user PIN would leave half a token behind.
	for _, pin := range []PIN{soPIN, userPIN} {
		if n := uint(len(pin.reveal())); n < all[free].minPIN || n > all[free].maxPIN {
			return fmt.Errorf("%w: the token wants %d to %d bytes", ErrPINRejected, all[free].minPIN, all[free].maxPIN)
		}
	}
	slot := all[free].slot
	if err := p.InitToken(slot, soPIN.reveal(), label); err != nil {
		return call("C_InitToken", err)
	}
	session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return call("C_OpenSession", err)
	}
	defer p.CloseSession(session) // also logs out, as it is the only one
	if err := p.Login(session, pkcs11.CKU_SO, soPIN.reveal()); err != nil {
		return call("C_Login", err)
	}
	return call("C_InitPIN", p.InitPIN(session, userPIN.reveal()))
}
