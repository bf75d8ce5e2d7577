// Command signonce makes one signature with a key of a token, for the benchmark
// of whole processes. Without arguments it does nothing.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/sign"
)

func main() {
	if len(os.Args) == 1 {
		return
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(module, key, pinned, pinFile string) error {
	ctx := context.Background()
	uri, err := hsm.ParseURI(key)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(pinned)
	if err != nil {
		return err
	}
	public, err := sign.ParsePublicKey(pem)
	if err != nil {
		return err
	}
	token, err := hsm.Open(ctx, hsm.Options{Module: module, Token: uri, PIN: func(context.Context, hsm.TokenInfo) (hsm.PIN, error) {
		return hsm.ReadPINFile(pinFile, false)
	}})
	if err != nil {
		return err
	}
	defer token.Close()
	s, err := token.Signer(ctx, uri, public)
	if err != nil {
		return err
	}
	_, err = s.Sign(ctx, []byte("benchmark"))
	return err
}
