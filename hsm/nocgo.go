//go:build !cgo

package hsm

import (
	"context"
	"fmt"

	"github.com/otapack/otapack/sign"
)

var errNoCgo = fmt.Errorf("hsm: %w", ErrNoCgo)

// Token stands for a PKCS#11 token, which this build cannot open.
type Token struct{}

// Open returns ErrNoCgo, as does everything else here.
func Open(context.Context, Options) (*Token, error) { return nil, errNoCgo }

// InitToken returns ErrNoCgo.
func InitToken(context.Context, string, string, PIN, PIN) error { return errNoCgo }

// Slots returns ErrNoCgo.
func Slots(context.Context, string) (ModuleInfo, []SlotInfo, error) {
	return ModuleInfo{}, nil, errNoCgo
}

// TrySign returns ErrNoCgo.
func TrySign(context.Context, sign.Signer) error { return errNoCgo }

// Info returns the zero TokenInfo.
func (*Token) Info() TokenInfo { return TokenInfo{} }

// Module returns the zero ModuleInfo.
func (*Token) Module() ModuleInfo { return ModuleInfo{} }

// Ping returns ErrNoCgo.
func (*Token) Ping(context.Context) error { return errNoCgo }

// Keys returns ErrNoCgo.
func (*Token) Keys(context.Context) ([]KeyInfo, error) { return nil, errNoCgo }

// Signer returns ErrNoCgo.
func (*Token) Signer(context.Context, URI, sign.PublicKey) (sign.Signer, error) {
	return nil, errNoCgo
}

// Generate returns ErrNoCgo.
func (*Token) Generate(context.Context, KeySpec) (KeyInfo, error) { return KeyInfo{}, errNoCgo }

// CheckUnused returns ErrNoCgo.
func (*Token) CheckUnused(context.Context, ...KeySpec) error { return errNoCgo }

// Mechanisms returns ErrNoCgo.
func (*Token) Mechanisms(context.Context) ([]Mechanism, error) { return nil, errNoCgo }

// OpenSessions returns ErrNoCgo.
func (*Token) OpenSessions(context.Context) (opened, wanted int, err error) { return 0, 0, errNoCgo }

// Close does nothing.
func (*Token) Close() error { return nil }
