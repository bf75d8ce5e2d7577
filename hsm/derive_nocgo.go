//go:build !cgo

package hsm

import "context"

// Wrapper stands for the keys of a token, which this build cannot open.
type Wrapper struct{}

// Wrapper returns ErrNoCgo.
func (*Token) Wrapper(context.Context, WrapperSpec) (*Wrapper, error) { return nil, errNoCgo }

// GenerateSecretKey returns ErrNoCgo.
func (*Token) GenerateSecretKey(context.Context, SecretKeySpec) (SecretKeyInfo, error) {
	return SecretKeyInfo{}, errNoCgo
}

// Keys returns zero values.
func (*Wrapper) Keys() (transport, master SecretKeyInfo) { return transport, master }

// Derive returns ErrNoCgo.
func (*Wrapper) Derive(context.Context, []byte) (wrapped, check []byte, err error) {
	return nil, nil, errNoCgo
}

// Generate returns ErrNoCgo.
func (*Wrapper) Generate(context.Context, int) (wrapped, check []byte, err error) {
	return nil, nil, errNoCgo
}

// Import returns ErrNoCgo.
func (*Wrapper) Import(context.Context, []byte) (wrapped, check []byte, err error) {
	return nil, nil, errNoCgo
}
