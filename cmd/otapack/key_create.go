package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
)

func (a *app) keyCreateCommand() *cobra.Command {
	var algorithm string
	c := &cobra.Command{
		Use:   "create <alias>...",
		Short: "Generate signing keys inside their tokens",
		Long: `Generate the keys that the project file names, inside their tokens. A key can
sign and nothing else, and cannot be extracted. Its public half is written to the
file that the project file pins.

An existing key or file is never overwritten. After generation the attributes are
read back and a trial signature is verified; a key that fails is deleted again.`,
		Example: "  otapack key create fw-2026 release-2026",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			alg, err := sign.ParseAlgorithm(algorithm)
			if err != nil {
				return usagef("--algorithm: %w", err)
			}
			if !alg.Prehashed() {
				return usagef("--algorithm: %s keys are not made in tokens: %w", alg, sign.ErrAlgorithm)
			}
			return a.keyCreate(cmd.Context(), args, alg)
		},
	}
	c.Flags().StringVar(&algorithm, "algorithm", sign.ESP256.String(), "signature `algorithm`: esp256 (P-256) or esp384 (P-384)")
	return c
}

func (a *app) keyCreate(ctx context.Context, aliases []string, algorithm sign.Algorithm) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	result := keysResult{Schema: "otapack.key-create/1"}
	var text strings.Builder
	for _, alias := range aliases {
		k, err := signingKey(cfg, alias)
		if err != nil {
			return err
		}
		info, err := a.createKey(ctx, cfg, k, algorithm)
		if err != nil {
			return fmt.Errorf("key %s: %w", alias, err)
		}
		r := newKeyResult(info)
		r.Alias, r.Pinned = alias, k.Public
		result.Keys = append(result.Keys, r)
		a.say("created %s (%s, not extractable) on token %s, public half in %s", alias, info.Curve, k.Token, relative(cfg.Resolve(k.Public)))
		fmt.Fprintln(&text, info.Public.ID())
	}
	return a.result(result, text.String())
}

// signingKey looks an alias up that has a private half.
func signingKey(cfg *config.Config, alias string) (config.Key, error) {
	k, ok := cfg.Key(alias)
	switch {
	case !ok:
		return k, usagef("%s has no key %q", cfg.File(), alias)
	case k.Token == "":
		return k, cfg.Errorf("keys."+alias, "has no token: it only verifies")
	}
	return k, nil
}

func (a *app) createKey(ctx context.Context, cfg *config.Config, k config.Key, algorithm sign.Algorithm) (hsm.KeyInfo, error) {
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return hsm.KeyInfo{}, err
	}
	// Look at the public file first: a key on the token without it is half a key.
	file := cfg.Resolve(k.Public)
	switch _, err := os.Lstat(file); {
	case err == nil:
		return hsm.KeyInfo{}, fmt.Errorf("its public half %s: %w", k.Public, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return hsm.KeyInfo{}, inputError(k.Public, err)
	}
	t, err := a.openToken(ctx, cfg, k.Token, true)
	if err != nil {
		return hsm.KeyInfo{}, err
	}
	defer t.Close() // the key is made and verified by then
	info, err := t.Generate(ctx, hsm.KeySpec{Label: uri.Object, ID: uri.ID, Algorithm: algorithm})
	if err != nil {
		return hsm.KeyInfo{}, err
	}
	return info, writeFile(file, info.Public.PEM())
}
