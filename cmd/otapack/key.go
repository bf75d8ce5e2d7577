package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

func (a *app) keyCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "key <command>",
		Short: "Make, list, check and export keys, and plan their rotation",
		Long: `Make signing keys inside a token and record the ceremony, list and check what a
token has, export public keys, plan the rotation of a key, and make device keys
for the bench.`,
	})
	c.AddCommand(a.keyCreateCommand(), a.keyListCommand(), a.keyCheckCommand(), a.keyExportCommand(), a.keyRotateCommand(), a.keyRecipientCommand())
	return c
}

// keyResult is one key in the answers of --json.
type keyResult struct {
	Alias      string        `json:"alias,omitempty"`
	Label      string        `json:"label"`
	URI        string        `json:"uri"`
	Curve      string        `json:"curve"`
	Algorithm  string        `json:"algorithm,omitempty"`
	KeyID      string        `json:"key_id,omitempty"`
	Private    hsm.State     `json:"private"`
	Pinned     string        `json:"pinned,omitempty"` // file, or "missing", "unusable" or "differs from" and the file
	Record     string        `json:"record,omitempty"` // file of the ceremony record
	Attributes keyAttributes `json:"attributes"`
}

// keyAttributes is hsm.Attributes with the names that JSON has.
type keyAttributes struct {
	Local            hsm.State `json:"local"`
	Sensitive        hsm.State `json:"sensitive"`
	AlwaysSensitive  hsm.State `json:"always_sensitive"`
	Extractable      hsm.State `json:"extractable"`
	NeverExtractable hsm.State `json:"never_extractable"`
	Sign             hsm.State `json:"sign"`
	Decrypt          hsm.State `json:"decrypt"`
	Unwrap           hsm.State `json:"unwrap"`
	Derive           hsm.State `json:"derive"`

	AlwaysAuthenticate hsm.State `json:"always_authenticate"`
}

type keysResult struct {
	Schema string      `json:"schema"`
	Keys   []keyResult `json:"keys"`
}

func newKeyResult(k hsm.KeyInfo) keyResult {
	r := keyResult{Label: k.Label, URI: k.URI.String(), Curve: k.Curve, Private: k.Private, Attributes: keyAttributes(k.Attributes)}
	if k.Algorithm.Valid() {
		r.Algorithm = k.Algorithm.String()
	}
	if !k.Public.IsZero() {
		r.KeyID = k.Public.ID().String()
	}
	return r
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls [<token>]...",
		Short: "List the keys on the project's tokens",
		Long: `List the EC keys on the tokens of the project file, all of them or those given by
alias. Attributes are what the module says: good for finding mistakes, no proof.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.keyList(cmd.Context(), args) },
	}
}

func (a *app) keyList(ctx context.Context, tokens []string) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if len(tokens) == 0 {
		for _, t := range cfg.HSM.Tokens {
			tokens = append(tokens, t.Name)
		}
	}
	result := keysResult{Schema: "otapack.key-ls/1", Keys: []keyResult{}}
	for _, alias := range tokens {
		if _, ok := cfg.Token(alias); !ok {
			return usagef("%s has no token %q", cfg.File(), alias)
		}
		keys, err := a.tokenKeys(ctx, cfg, alias)
		if err != nil {
			return fmt.Errorf("token %s: %w", alias, err)
		}
		result.Keys = append(result.Keys, keys...)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ALIAS\tCURVE\tLOCAL\tEXTRACTABLE\tSIGN\tPINNED\tURI")
	for _, k := range result.Keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", orDash(k.Alias), k.Curve, k.Attributes.Local, k.Attributes.Extractable, k.Attributes.Sign, orDash(k.Pinned), k.URI)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return a.result(result, b.String())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) tokenKeys(ctx context.Context, cfg *config.Config, alias string) ([]keyResult, error) {
	t, err := a.openToken(ctx, cfg, alias, true)
	if err != nil {
		return nil, err
	}
	defer t.Close() // read only
	infos, err := t.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var keys []keyResult
	for _, info := range infos {
		r := newKeyResult(info)
		for _, k := range cfg.Keys {
			if k.Token != alias {
				continue
			}
			pinned, err := pinnedKey(cfg, k)
			if uri, e := hsm.ParseURI(k.URI); e == nil && selects(uri, pinned, info) {
				r.Alias, r.Pinned = k.Name, pinState(k, pinned, info.Public, err)
			}
		}
		keys = append(keys, r)
	}
	return keys, nil
}

// selects reports whether a configured URI names this key. One without label
// and id names the key that pinned is the public half of.
func selects(uri hsm.URI, pinned sign.PublicKey, k hsm.KeyInfo) bool {
	if isNameless(uri) {
		return k.Public.Equal(pinned)
	}
	return (uri.Object == "" || uri.Object == k.Label) && (len(uri.ID) == 0 || string(uri.ID) == string(k.ID))
}

func isNameless(uri hsm.URI) bool { return uri.Object == "" && len(uri.ID) == 0 }

// oneKey finds the only key that a configured URI names.
func oneKey(keys []hsm.KeyInfo, uri hsm.URI, pinned sign.PublicKey) (hsm.KeyInfo, error) {
	var found []hsm.KeyInfo
	for _, k := range keys {
		if selects(uri, pinned, k) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return hsm.KeyInfo{}, hsm.ErrKeyNotFound
	case 1:
		return found[0], nil
	}
	return hsm.KeyInfo{}, fmt.Errorf("%d keys: %w", len(found), hsm.ErrKeyAmbiguous)
}

// pinnedKey reads the public half that the project file pins.
func pinnedKey(cfg *config.Config, k config.Key) (sign.PublicKey, error) {
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

// pinState compares the token's public half with the pinned file's.
func pinState(k config.Key, pinned, found sign.PublicKey, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "missing " + k.Public
	case err != nil:
		return "unusable " + k.Public
	case !pinned.Equal(found):
		return "differs from " + k.Public
	}
	return k.Public
}

// writeFile writes one new file; the same bytes again are fine.
func writeFile(path string, data []byte) error {
	set := atomicfile.NewSet(filepath.Dir(path))
	defer set.Abort() // nothing is left after Commit
	if err := set.Write(filepath.Base(path), data); err != nil {
		return err
	}
	return set.Commit()
}
