package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

func (a *app) keyCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "key <command>",
		Short: "Make, list and export keys",
		Long:  "Make signing keys inside a token, list what a token has, export public keys,\nand make device keys for the bench.",
	})
	c.AddCommand(a.keyCreateCommand(), a.keyListCommand(), a.keyExportCommand(), a.keyRecipientCommand())
	return c
}

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
			return a.keyCreate(cmd.Context(), args, alg)
		},
	}
	c.Flags().StringVar(&algorithm, "algorithm", sign.ESP256.String(), "signature `algorithm`: esp256 (P-256) or esp384 (P-384)")
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
	Pinned     string        `json:"pinned,omitempty"` // file, or "differs from <file>"
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

// writeFile writes one new file; the same bytes again are fine.
func writeFile(path string, data []byte) error {
	set := atomicfile.NewSet(filepath.Dir(path))
	defer set.Abort() // nothing is left after Commit
	if err := set.Write(filepath.Base(path), data); err != nil {
		return err
	}
	return set.Commit()
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
			if uri, err := hsm.ParseURI(k.URI); err == nil && k.Token == alias && selects(uri, info) {
				r.Alias, r.Pinned = k.Name, pinState(cfg, k, info)
			}
		}
		keys = append(keys, r)
	}
	return keys, nil
}

// selects reports whether a configured URI names this key.
func selects(uri hsm.URI, k hsm.KeyInfo) bool {
	return (uri.Object == "" || uri.Object == k.Label) && (uri.ID == nil || string(uri.ID) == string(k.ID))
}

// pinState compares the token's public half with the pinned file.
func pinState(cfg *config.Config, k config.Key, info hsm.KeyInfo) string {
	data, err := readInput(cfg.Resolve(k.Public), maxIdentity)
	if err != nil {
		return "missing " + k.Public
	}
	pinned, err := sign.ParsePublicKey(data)
	if err != nil || !pinned.Equal(info.Public) {
		return "differs from " + k.Public
	}
	return k.Public
}

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

func (a *app) keyRecipientCommand() *cobra.Command {
	var private, public string
	c := &cobra.Command{
		Use:   "recipient --private-out <file> --public-out <file>",
		Short: "Make a device's decryption key for the bench",
		Long: `Make a P-256 key pair that a device decrypts payloads with, and write both halves
as PEM files. The private half is in clear text: this is for development boards
and tests, whose key you burn by hand. Keys of production devices belong into
your provisioning.`,
		Example: "  otapack key recipient --private-out bench/radio.key.pem --public-out keys/radio-device.pub.pem",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if private == "" || public == "" {
				return usagef("--private-out and --public-out are both needed")
			}
			if filepath.Clean(private) == filepath.Clean(public) {
				return usagef("--private-out and --public-out name the same file")
			}
			return a.keyRecipient(private, public)
		},
	}
	f := c.Flags()
	f.StringVar(&private, "private-out", "", "`file` for the private half, PKCS #8 PEM, mode 0600")
	f.StringVar(&public, "public-out", "", "`file` for the public half, SubjectPublicKeyInfo PEM")
	return c
}

type recipientResult struct {
	Schema  string `json:"schema"`
	KeyID   string `json:"key_id"` // as in the manifest, hexadecimal
	Private string `json:"private"`
	Public  string `json:"public"`
}

func (a *app) keyRecipient(private, public string) error {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(pkcs8)
	spki, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	if err != nil {
		return err
	}
	to, err := encrypt.NewRecipient(key.PublicKey())
	if err != nil {
		return err
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	defer clear(secret)
	paths := make([]string, 2)
	for i, p := range []string{private, public} {
		if paths[i], err = filepath.Abs(p); err != nil {
			return err
		}
	}
	set := atomicfile.NewSet(filepath.Dir(paths[0]))
	defer set.Abort() // nothing is left after Commit
	if err := set.WritePrivate(paths[0], secret); err != nil {
		return err
	}
	if err := set.Write(paths[1], pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})); err != nil {
		return err
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("private half in %s: for the bench only", private)
	r := recipientResult{"otapack.key-recipient/1", fmt.Sprintf("%x", to.KeyID), private, public}
	return a.result(r, public+"\n")
}
