//go:build !cgo

package hsm

import (
	"errors"
	"testing"

	"github.com/otapack/otapack/sign"
)

func TestNoCgo(t *testing.T) {
	token, err := Open(t.Context(), Options{})
	if token != nil || !errors.Is(err, ErrNoCgo) {
		t.Errorf("Open: %v, %v", token, err)
	}
	_, signer := token.Signer(t.Context(), URI{}, sign.PublicKey{})
	_, keys := token.Keys(t.Context())
	_, generate := token.Generate(t.Context(), KeySpec{})
	wrapper, wrapperErr := token.Wrapper(t.Context(), WrapperSpec{})
	_, secret := token.GenerateSecretKey(t.Context(), SecretKeySpec{})
	_, _, derive := wrapper.Derive(t.Context(), nil)
	_, _, random := wrapper.Generate(t.Context(), 16)
	_, _, imported := wrapper.Import(t.Context(), nil)
	_, _, slots := Slots(t.Context(), "")
	_, mechanisms := token.Mechanisms(t.Context())
	_, _, sessions := token.OpenSessions(t.Context())
	for name, err := range map[string]error{
		"Wrapper":           wrapperErr,
		"GenerateSecretKey": secret,
		"Wrapper.Derive":    derive,
		"Wrapper.Generate":  random,
		"Wrapper.Import":    imported,
		"Signer":            signer,
		"Keys":              keys,
		"Generate":          generate,
		"CheckUnused":       token.CheckUnused(t.Context()),
		"Ping":              token.Ping(t.Context()),
		"InitToken":         InitToken(t.Context(), "", "", PIN{}, PIN{}),
		"Slots":             slots,
		"Mechanisms":        mechanisms,
		"OpenSessions":      sessions,
		"TrySign":           TrySign(t.Context(), nil),
	} {
		if !errors.Is(err, ErrNoCgo) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
