//go:build cgo

package hsm

import "context"

// CheckUnused looks for keys of any type that have a label or an id that
// Generate would be asked for, so that a ceremony for several keys can be
// refused before it makes the first. Such a key wraps ErrKeyExists. A KeySpec
// without an id is checked by its label alone. It needs no read-write session.
func (t *Token) CheckUnused(ctx context.Context, specs ...KeySpec) error {
	return t.do(ctx, func(s *session) error {
		if t.options.PIN == nil && s.info.LoginRequired {
			return ErrPINRequired // private keys are hidden
		}
		for _, spec := range specs {
			if err := s.checkUnused(ctx, spec); err != nil {
				return err
			}
		}
		return nil
	})
}
