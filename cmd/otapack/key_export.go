package main

import (
	"context"
	"errors"
	"fmt"

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

    pem, der      SubjectPublicKeyInfo
    jwk           JSON Web Key (RFC 7517)
    cose          COSE_Key (RFC 9052), deterministic CBOR
    c             C header: X and Y big endian, and the key id
    nrf           C source for the nRF5 SDK bootloader: X and Y byte-reversed, P-256
    mcuboot       C source for MCUboot, as imgtool getpub writes it: the DER form
    mcuboot-hash  digest of the DER form, for MCUboot builds that keep only it:
                  32 bytes of SHA-256 for P-256, 48 of SHA-384 for P-384
    ihex@ADDRESS  Intel HEX: X and Y big endian at an address of the flash, without
                  the 0x04 that an uncompressed point begins with`,
		Example: `  otapack key export fw-2026 --as c -o bootloader/fw_key.h
  otapack key export fw-2026 --as ihex@0xfe000 -o fw_key.hex`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			form, err := parseKeyForm(as)
			if err != nil {
				return err
			}
			return a.keyExport(cmd.Context(), args[0], form, output, fromToken)
		},
	}
	f := c.Flags()
	f.StringVar(&as, "as", "pem", "`form`: pem, der, jwk, cose, c, nrf, mcuboot, mcuboot-hash or ihex@ADDRESS")
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

func (a *app) keyExport(ctx context.Context, alias string, form keyForm, output string, fromToken bool) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	key, err := a.publicKey(ctx, cfg, alias, fromToken)
	if err != nil {
		return err
	}
	data, err := form.render(alias, key)
	if errors.Is(err, sign.ErrCurve) {
		return &release.InputError{Path: "key " + alias, Err: err}
	}
	if err != nil {
		return err
	}
	r := exportResult{Schema: "otapack.key-export/1", Alias: alias, KeyID: key.ID().String(), Form: form.name}
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
		return pinnedKey(cfg, k)
	}
	if k.Token == "" {
		return sign.PublicKey{}, cfg.Errorf("keys."+alias, "has no token")
	}
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return sign.PublicKey{}, err
	}
	var pinned sign.PublicKey
	if isNameless(uri) {
		if pinned, err = pinnedKey(cfg, k); err != nil {
			return sign.PublicKey{}, err
		}
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
	info, err := oneKey(infos, uri, pinned)
	switch {
	case err != nil:
		return sign.PublicKey{}, fmt.Errorf("key %s: %w", alias, err)
	case info.Public.IsZero():
		return sign.PublicKey{}, fmt.Errorf("key %s: no usable public half on the token: %w", alias, hsm.ErrKeyNotFound)
	}
	return info.Public, nil
}
