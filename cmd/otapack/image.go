package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

func (a *app) imageCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "image <command>",
		Short: "Sign, verify and show single MCUboot images and nRF5 DFU packages",
		Long: `Work on a single file of a vendor's bootloader, without a release around it: for
who comes from imgtool or nrfutil, and for build systems that sign one image at a
time. Flags are called as in those tools; docs/from-imgtool.md and
docs/from-nrfutil.md map each of them.`,
	})
	signing := group(&cobra.Command{
		Use:   "sign <format>",
		Short: "Make a signed image or package",
		Long:  "Make a signed MCUboot image (as imgtool sign) or nRF5 DFU package (as nrfutil pkg\ngenerate), with a key in a PKCS#11 token.",
	})
	signing.AddCommand(a.imageSignMCUbootCommand(), a.imageSignNRFDFUCommand())
	verifying := group(&cobra.Command{
		Use:   "verify <format>",
		Short: "Check a file as its bootloader does",
		Long:  "Check an MCUboot image or an nRF5 DFU package as the bootloader does, check by\ncheck, with the public key that is compiled into it.",
	})
	verifying.AddCommand(a.imageVerifyMCUbootCommand(), a.imageVerifyNRFDFUCommand())
	c.AddCommand(signing, verifying, a.imageEncryptCommand(), a.imageSettingsCommand(), a.imageInspectCommand())
	return c
}

// imageSigners are the flags that say who signs.
type imageSigners struct {
	keys      []string // alias in the project file, or PKCS#11 URI
	public    []string // pinned public halves, for keys given as URI
	module    string
	throwaway bool
	publicOut string
}

func (s *imageSigners) flags(f *pflag.FlagSet, several bool) {
	usage := "signing `key`: its alias in the project file, or a PKCS#11 URI with --public-key"
	if several {
		usage += "; twice for an image that devices with either key take"
	}
	f.StringArrayVarP(&s.keys, "key", "k", nil, usage)
	f.StringArrayVar(&s.public, "public-key", nil, "pinned public half of a key that is given as URI, PEM or DER `file`")
	f.StringVar(&s.module, "module", "", "PKCS#11 module `file` for keys given as URI (default OTAPACK_PKCS11_MODULE)")
	f.BoolVar(&s.throwaway, "throwaway-key", false, "sign with a key that is made now and forgotten, for development")
	f.StringVar(&s.publicOut, "public-out", "", "write the public half of the throwaway key to `file`")
}

// imageSigner is one of them, resolved as far as it goes without a token.
type imageSigner struct {
	name   string
	public sign.PublicKey
	open   func(ctx context.Context) (sign.Signer, func() error, error)
}

// resolve finds the pinned public halves. No token is touched.
func (a *app) resolveSigners(s imageSigners, algorithm sign.Algorithm) ([]imageSigner, error) {
	if s.throwaway {
		return a.throwawaySigner(s, algorithm)
	}
	if s.publicOut != "" {
		return nil, usagef("--public-out is for --throwaway-key")
	}
	public := s.public
	var signers []imageSigner
	for _, key := range s.keys {
		if !strings.HasPrefix(strings.ToLower(key), "pkcs11:") {
			signer, err := a.aliasSigner(key)
			if err != nil {
				return nil, err
			}
			signers = append(signers, signer)
			continue
		}
		if len(public) == 0 {
			return nil, usagef("--key %s needs --public-key, the file with its pinned public half", hideURI(key))
		}
		signer, err := a.uriSigner(key, public[0], s.module)
		if err != nil {
			return nil, err
		}
		signers, public = append(signers, signer), public[1:]
	}
	if len(public) > 0 {
		return nil, usagef("--public-key %s: no --key is given as URI for it", public[0])
	}
	return signers, nil
}

// hideURI is a URI for a message: without a query, where secrets hide.
func hideURI(uri string) string {
	path, _, _ := strings.Cut(uri, "?")
	return path
}

func (a *app) throwawaySigner(s imageSigners, algorithm sign.Algorithm) ([]imageSigner, error) {
	if len(s.keys) > 0 || len(s.public) > 0 {
		return nil, usagef("--throwaway-key and --key rule each other out")
	}
	made, err := sign.Throwaway(algorithm)
	if err != nil {
		return nil, err
	}
	a.say("warning: signed with a throwaway key: no product trusts it")
	if s.publicOut != "" {
		if err := writeFile(s.publicOut, made.Public().PEM()); err != nil {
			return nil, err
		}
	}
	return []imageSigner{{"throwaway", made.Public(), func(context.Context) (sign.Signer, func() error, error) {
		return made, func() error { return nil }, nil
	}}}, nil
}

func (a *app) aliasSigner(alias string) (imageSigner, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return imageSigner{}, err
	}
	k, err := signingKey(cfg, alias)
	if err != nil {
		return imageSigner{}, err
	}
	public, err := readPublicKey(cfg.Resolve(k.Public), k.Public)
	if err != nil {
		return imageSigner{}, err
	}
	return imageSigner{alias, public, func(ctx context.Context) (sign.Signer, func() error, error) {
		uri, err := hsm.ParseURI(k.URI)
		if err != nil {
			return nil, nil, err
		}
		t, err := a.openToken(ctx, cfg, k.Token, true)
		if err != nil {
			return nil, nil, err
		}
		s, err := t.Signer(ctx, uri, public)
		return s, t.Close, err
	}}, nil
}

func (a *app) uriSigner(key, file, module string) (imageSigner, error) {
	uri, err := hsm.ParseURI(key)
	if err != nil {
		return imageSigner{}, usageError{fmt.Errorf("--key: %w", err)}
	}
	public, err := readPublicKey(file, file)
	if err != nil {
		return imageSigner{}, err
	}
	for _, m := range []string{os.Getenv(envModule), uri.ModulePath} {
		if module == "" {
			module = m
		}
	}
	if module == "" {
		return imageSigner{}, fmt.Errorf("--key %s: %w", uri, errNoModule)
	}
	if module, err = filepath.Abs(module); err != nil {
		return imageSigner{}, err
	}
	return imageSigner{uri.String(), public, func(ctx context.Context) (sign.Signer, func() error, error) {
		t, err := hsm.Open(ctx, hsm.Options{
			Module: module, Token: uri, AllowFinalTry: a.allowFinalTry,
			PIN: a.pinSource(&config.Config{}, config.Token{Name: "image"}, uri),
		})
		if err != nil {
			return nil, nil, err
		}
		s, err := t.Signer(ctx, uri, public)
		return s, t.Close, err
	}}, nil
}

func readPublicKey(path, name string) (sign.PublicKey, error) {
	data, err := readInput(path, maxIdentity)
	if err != nil {
		return sign.PublicKey{}, err
	}
	key, err := sign.ParsePublicKey(data)
	if err != nil {
		return key, &release.InputError{Path: name, Err: err}
	}
	return key, nil
}

// openSigners opens tokens one after the other. Close is to be called also after
// an error.
func (a *app) openSigners(ctx context.Context, from []imageSigner) (signers map[sign.KeyID]sign.Signer, closeAll func(), err error) {
	var closers []func() error
	closeAll = func() {
		for _, c := range slices.Backward(closers) {
			if err := c(); err != nil {
				a.say("warning: %v", err)
			}
		}
	}
	signers = map[sign.KeyID]sign.Signer{}
	for _, s := range from {
		signer, done, err := s.open(ctx)
		if done != nil {
			closers = append(closers, done)
		}
		if err == nil {
			signer, err = sign.Checked(signer, s.public)
		}
		if err != nil {
			return nil, closeAll, fmt.Errorf("key %s: %w", s.name, err)
		}
		signers[s.public.ID()] = signer
	}
	return signers, closeAll, nil
}

// writeResult writes one result file; the same bytes again are fine, others need
// force.
func writeResult(path string, data []byte, force bool) error {
	if !force {
		return writeFile(path, data)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	set := atomicfile.NewSet(filepath.Dir(path))
	defer set.Abort() // nothing is left after Commit
	if err := set.Replace(path, data); err != nil {
		return err
	}
	return set.Commit()
}

// parseNumber reads a flag's number: decimal, or hexadecimal with 0x, KiB or MiB.
func parseNumber(s string, limit uint64) (uint64, error) {
	digits, shift := s, 0
	if t, ok := strings.CutSuffix(s, "KiB"); ok {
		digits, shift = t, 10
	} else if t, ok := strings.CutSuffix(s, "MiB"); ok {
		digits, shift = t, 20
	}
	n, err := strconv.ParseUint(digits, 0, 64)
	if err != nil || n > limit>>shift {
		return 0, fmt.Errorf("%q: want a number up to %d, decimal or with 0x", s, limit)
	}
	return n << shift, nil
}

// numberFlag defines a flag for an optional number.
func numberFlag(f *pflag.FlagSet, to **uint64, name, shorthand string, limit uint64, usage string) {
	f.FuncP(name, shorthand, usage, func(s string) error {
		n, err := parseNumber(s, limit)
		*to = &n
		return err
	})
}

// boolFlag defines a flag for an optional yes or no.
func boolFlag(f *pflag.FlagSet, to **bool, name, usage string) {
	f.BoolFunc(name, usage, func(s string) error {
		v, err := strconv.ParseBool(s)
		*to = &v
		return err
	})
}
