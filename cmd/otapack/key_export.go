package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

func (a *app) keyExportCommand() *cobra.Command {
	var as, output string
	var fromToken bool
	c := &cobra.Command{
		Use:   "export <alias>",
		Short: "Write a public key for a bootloader build or an auditor",
		Long: `Write the public half of a key: the pinned file's, or with --from-token the one
on the token, to pin a key that another tool has made.

Forms: pem and der hold the SubjectPublicKeyInfo; c is a C header with the
uncompressed point, X and Y big endian, and the key id.`,
		Example: "  otapack key export fw-2026 --as c -o bootloader/fw_key.h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.keyExport(cmd.Context(), args[0], as, output, fromToken)
		},
	}
	f := c.Flags()
	f.StringVar(&as, "as", "pem", "`form`: pem, der or c")
	f.StringVarP(&output, "output", "o", "-", "`file`, - for standard output")
	f.BoolVar(&fromToken, "from-token", false, "read the key from its token instead of the pinned file")
	return c
}

type exportResult struct {
	Schema string `json:"schema"`
	Alias  string `json:"alias"`
	KeyID  string `json:"key_id"`
	Form   string `json:"form"`
	Path   string `json:"path,omitempty"`
	Data   []byte `json:"data,omitempty"` // base64, when no file was written
}

func (a *app) keyExport(ctx context.Context, alias, as, output string, fromToken bool) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	key, err := a.publicKey(ctx, cfg, alias, fromToken)
	if err != nil {
		return err
	}
	var data []byte
	switch as {
	case "pem":
		data = key.PEM()
	case "der":
		data = key.DER()
	case "c":
		if key.Point() == nil {
			return usagef("--as c: %s is an %s key, which has no curve point X, Y", alias, key.Algorithm())
		}
		data = cHeader(alias, key)
	default:
		return usagef("--as %q: want pem, der or c", as)
	}
	r := exportResult{Schema: "otapack.key-export/1", Alias: alias, KeyID: key.ID().String(), Form: as}
	if output == "-" {
		r.Data = data
		return a.result(r, string(data))
	}
	if err := writeFile(output, data); err != nil {
		return err
	}
	r.Path = output
	return a.result(r, output+"\n")
}

func (a *app) publicKey(ctx context.Context, cfg *config.Config, alias string, fromToken bool) (sign.PublicKey, error) {
	k, ok := cfg.Key(alias)
	if !ok {
		return sign.PublicKey{}, usagef("%s has no key %q", cfg.File(), alias)
	}
	if !fromToken {
		data, err := readInput(cfg.Resolve(k.Public), maxIdentity)
		if err != nil {
			return sign.PublicKey{}, err
		}
		key, err := sign.ParsePublicKey(data)
		if err != nil {
			return key, &release.InputError{Path: k.Public, Err: err}
		}
		return key, nil
	}
	if k.Token == "" {
		return sign.PublicKey{}, cfg.Errorf("keys."+alias, "has no token")
	}
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return sign.PublicKey{}, err
	}
	t, err := a.openToken(ctx, cfg, k.Token, true)
	if err != nil {
		return sign.PublicKey{}, err
	}
	defer t.Close() // read only
	infos, err := t.Keys(ctx)
	if err != nil {
		return sign.PublicKey{}, err
	}
	var found []hsm.KeyInfo
	for _, info := range infos {
		if selects(uri, info) {
			found = append(found, info)
		}
	}
	switch {
	case len(found) == 0:
		return sign.PublicKey{}, fmt.Errorf("key %s: %w", alias, hsm.ErrKeyNotFound)
	case len(found) > 1:
		return sign.PublicKey{}, fmt.Errorf("key %s: %d keys: %w", alias, len(found), hsm.ErrKeyAmbiguous)
	case found[0].Public.IsZero():
		return sign.PublicKey{}, fmt.Errorf("key %s: no usable public half on the token: %w", alias, hsm.ErrKeyNotFound)
	}
	return found[0].Public, nil
}

// cHeader renders a key for a bootloader build.
func cHeader(alias string, k sign.PublicKey) []byte {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, alias)
	id := k.ID()
	var b strings.Builder
	fmt.Fprintf(&b, "/* Public key %s for %s, made by otapack. */\n", alias, k.Algorithm())
	fmt.Fprintf(&b, "/* %s */\n#ifndef OTAPACK_KEY_%s_H\n#define OTAPACK_KEY_%s_H\n\n#include <stdint.h>\n", id, strings.ToUpper(name), strings.ToUpper(name))
	array := func(what, comment string, data []byte) {
		fmt.Fprintf(&b, "\n/* %s */\nstatic const uint8_t otapack_key_%s_%s[%d] = {", comment, name, what, len(data))
		for i, c := range data {
			if i%12 == 0 {
				b.WriteString("\n   ")
			}
			fmt.Fprintf(&b, " 0x%02x,", c)
		}
		b.WriteString("\n};\n")
	}
	array("point", "X then Y, big endian.", k.Point()[1:])
	array("id", "SHA-256 of the DER SubjectPublicKeyInfo; the first 8 bytes are the COSE key hint.", id[:])
	b.WriteString("\n#endif\n")
	return []byte(b.String())
}
