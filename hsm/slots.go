//go:build cgo

package hsm

import (
	"context"
	"errors"

	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/sign"
)

// Slots loads a module and lists its slots that have a token, without a login.
// A slot that does not answer is listed with Err; it does not end the list.
//
// How far it came is told by the error: one that wraps ErrModule is about the
// file or the loader, a CallError names C_Initialize, C_GetInfo or
// C_GetSlotList. What was found out until then is returned with it.
func Slots(ctx context.Context, module string) (info ModuleInfo, slots []SlotInfo, err error) {
	if err := ctx.Err(); err != nil {
		return ModuleInfo{}, nil, err
	}
	m, err := loadModule(module)
	if err != nil {
		return ModuleInfo{}, nil, err
	}
	defer func() { err = errors.Join(err, m.release()) }()
	m.mu.RLock()
	defer m.mu.RUnlock()
	slots, err = m.slots(ctx)
	return m.info, slots, err
}

func (m *module) slots(ctx context.Context) ([]SlotInfo, error) {
	handles, err := m.ctx.GetSlotList(true)
	if err != nil {
		return nil, call("C_GetSlotList", err)
	}
	var slots []SlotInfo
	for _, handle := range handles {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		slot := SlotInfo{ID: handle}
		if raw, err := m.ctx.GetSlotInfo(handle); err == nil { // only to tell slots apart
			slot.Description = trim(raw.SlotDescription)
		}
		raw, err := m.ctx.GetTokenInfo(handle)
		if err != nil {
			slot.Err = call("C_GetTokenInfo", err)
		} else {
			slot.Token = newTokenInfo(raw)
			slot.Initialized = raw.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0
			slot.PINInitialized = raw.Flags&pkcs11.CKF_USER_PIN_INITIALIZED != 0
		}
		slots = append(slots, slot)
	}
	return slots, nil
}

// Mechanisms lists what the token offers, in the order it has them. One that it
// lists and says nothing about has key sizes of 0.
func (t *Token) Mechanisms(ctx context.Context) ([]Mechanism, error) {
	var mechanisms []Mechanism
	err := t.do(ctx, func(s *session) error {
		mechanisms = nil
		listed, err := s.p.GetMechanismList(s.conn.slot)
		if err != nil {
			return call("C_GetMechanismList", err)
		}
		for _, m := range listed {
			if err := ctx.Err(); err != nil {
				return err
			}
			found := Mechanism{Code: m.Mechanism}
			info, err := s.p.GetMechanismInfo(s.conn.slot, []*pkcs11.Mechanism{m})
			switch err := call("C_GetMechanismInfo", err); {
			case err == nil:
				found.MinKeySize, found.MaxKeySize = info.MinKeySize, info.MaxKeySize
			case Stale(err):
				return err
			}
			mechanisms = append(mechanisms, found)
		}
		return nil
	})
	return mechanisms, err
}

// OpenSessions opens as many sessions at once as the token is used with at
// most, closes those that were not open before, and returns how many there
// were. Fewer than wanted means that other programs hold sessions.
func (t *Token) OpenSessions(ctx context.Context) (opened, wanted int, err error) {
	wanted = t.sessionLimit()
	err = t.do(ctx, func(s *session) (err error) {
		opened = 1
		for opened < wanted {
			if err := ctx.Err(); err != nil {
				return err
			}
			handle, err := openSession(s.p, s.conn.slot)
			if errors.Is(err, ErrSessions) {
				return nil
			}
			if err != nil {
				return err
			}
			opened++
			defer func() {
				if e := call("C_CloseSession", s.p.CloseSession(handle)); err == nil {
					err = e
				}
			}()
		}
		return nil
	})
	return opened, wanted, err
}

// TrySign has a signer of a Token sign a text that authorises nothing, which is
// verified as every signature is.
func TrySign(ctx context.Context, signer sign.Signer) error {
	_, err := signer.Sign(ctx, []byte(trialMessage))
	return err
}
