package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) imageCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "image <command>",
		Short: "Sign, verify and show single images of vendors' bootloaders",
		Long: `Work on a single file of a vendor's bootloader, without a release around it: for
who comes from imgtool or nrfutil, and for build systems that sign one image at a
time. Flags are called as in those tools; docs/from-imgtool.md and
docs/from-nrfutil.md map each of them. Packages of X-CUBE-SBSFU and images of
wolfBoot are verified and shown, and not made.`,
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
		Long: `Check an MCUboot image, an nRF5 DFU package, an X-CUBE-SBSFU package or a wolfBoot
image as the bootloader does, check by check, with the public key that is compiled
into it.`,
	})
	verifying.AddCommand(a.imageVerifyMCUbootCommand(), a.imageVerifyNRFDFUCommand(), a.imageVerifySBSFUCommand(), a.imageVerifyWolfBootCommand())
	rehearsing := group(&cobra.Command{
		Use:   "rehearse <format>",
		Short: "Install an image on simulated flash that loses power",
		Long: `Install an update as MCUboot does on simulated flash, losing power at every
operation.`,
	})
	rehearsing.AddCommand(a.imageRehearseMCUbootCommand())
	c.AddCommand(signing, verifying, rehearsing, a.imageEncryptCommand(), a.imageSettingsCommand(), a.imageInspectCommand())
	return c
}

// imageSigners are the flags that say who signs.
type imageSigners struct {
	keys      []string // alias in the project file, or PKCS#11 URI
	public    []string // pinned public halves, for keys given as URI
	module    string
	throwaway string // algorithm, "" for none
	publicOut string
}

func (s *imageSigners) flags(f *pflag.FlagSet, several bool) {
	usage := "signing `key`: its alias in the project file, or a PKCS#11 URI with --public-key"
	if several {
		usage += "; twice for an image that devices with either key take"
	}
	f.StringArrayVarP(&s.keys, "key", "k", nil, usage)
	f.StringArrayVar(&s.public, "public-key", nil, "pinned public half of a key that is given as URI, PEM or DER `file`")
	f.StringVar(&s.module, "module", "", "PKCS#11 module `file` for keys given as URI (default: as otapack hsm ls finds it)")
	f.StringVar(&s.throwaway, "throwaway-key", "", "sign with a key that is made now and forgotten, for development; `algorithm` esp256, esp384 or ed25519")
	f.Lookup("throwaway-key").NoOptDefVal = sign.ESP256.String()
	f.StringVar(&s.publicOut, "public-out", "", "write the public half of the throwaway key to `file`")
}

// given reports whether any key signs.
func (s *imageSigners) given() bool { return len(s.keys) > 0 || s.throwaway != "" }

// imageSigner is one of them, resolved as far as it goes without a token.
type imageSigner struct {
	name   string // in front of errors that do not name the key themselves
	public sign.PublicKey
	made   sign.Signer // a throwaway key; the others are on a token
	uri    hsm.URI
	token  string // signers with the same one share a session
	open   func(context.Context) (*hsm.Token, error)
}

// resolveSigners finds the pinned public halves. No token is touched.
func (a *app) resolveSigners(s imageSigners) ([]imageSigner, error) {
	if s.throwaway != "" {
		return throwawaySigner(s)
	}
	if s.publicOut != "" {
		return nil, usagef("--public-out is for --throwaway-key")
	}
	public := s.public
	var signers []imageSigner
	for _, key := range s.keys {
		if !strings.HasPrefix(strings.ToLower(key), "pkcs11:") {
			if strings.ContainsAny(key, `./\`) { // no alias has these
				return nil, usagef("--key %s looks like a file, and is an alias or a PKCS#11 URI: keys that sign are in a token; --throwaway-key makes one for development", key)
			}
			signer, err := a.aliasSigner(key)
			if err != nil {
				return nil, err
			}
			signers = append(signers, signer)
			continue
		}
		uri, err := hsm.ParseURI(key) // before the key is in any message: this refuses one with a PIN in it
		if err != nil {
			return nil, usageError{fmt.Errorf("--key: %w", err)}
		}
		if len(public) == 0 {
			return nil, usagef("--key %s needs --public-key, the file with its pinned public half", uri)
		}
		signer, err := a.uriSigner(uri, public[0], s.module)
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

func throwawaySigner(s imageSigners) ([]imageSigner, error) {
	if len(s.keys) > 0 || len(s.public) > 0 {
		return nil, usagef("--throwaway-key and --key rule each other out")
	}
	algorithm, err := sign.ParseAlgorithm(s.throwaway)
	if err != nil {
		return nil, usagef("--throwaway-key=%s: want esp256, esp384 or ed25519", s.throwaway)
	}
	made, err := sign.Throwaway(algorithm)
	if err != nil {
		return nil, err
	}
	return []imageSigner{{public: made.Public(), made: made}}, nil
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
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return imageSigner{}, err
	}
	public, err := pinnedKey(cfg, k)
	if err != nil {
		return imageSigner{}, err
	}
	return imageSigner{
		name: "key " + alias + ": ", public: public, uri: uri, token: k.Token,
		open: func(ctx context.Context) (*hsm.Token, error) { return a.openToken(ctx, cfg, k.Token, true) },
	}, fitForToken(alias, public)
}

func (a *app) uriSigner(uri hsm.URI, file, module string) (imageSigner, error) {
	public, err := readPublicKey(file)
	if err != nil {
		return imageSigner{}, err
	}
	module = cmp.Or(module, os.Getenv(envModule), uri.ModulePath)
	cfg, err := a.loadPart()
	if err != nil && !errors.Is(err, errNoConfig) && module == "" { // else it is not needed
		return imageSigner{}, err
	}
	if module == "" {
		module, _, err = namedModule(cfg)
	} else {
		module, err = filepath.Abs(module)
	}
	if err != nil {
		return imageSigner{}, fmt.Errorf("--key %s: %w", uri, err)
	}
	token := hsm.URI{Token: uri.Token, Serial: uri.Serial, Model: uri.Model, Manufacturer: uri.Manufacturer}
	return imageSigner{
		public: public, uri: uri, token: module + " " + token.String(),
		open: func(ctx context.Context) (*hsm.Token, error) {
			if err := useDevToken(cfg); err != nil {
				return nil, err
			}
			return hsm.Open(ctx, hsm.Options{Module: module, Token: uri, AllowFinalTry: a.allowFinalTry, PIN: a.pinSource(cfg, config.Token{}, uri)})
		},
	}, fitForToken(uri.String(), public)
}

// fitForToken refuses keys that no token signs with here.
func fitForToken(name string, public sign.PublicKey) error {
	if public.Algorithm() == sign.Ed25519 {
		return fmt.Errorf("key %s: an Ed25519 key; with a key in a token, otapack signs for P-256 and P-384 only: %w", name, hsm.ErrKeyUnfit)
	}
	return nil
}

func readPublicKey(path string) (sign.PublicKey, error) {
	data, err := readInput(path, maxIdentity)
	if err != nil {
		return sign.PublicKey{}, err
	}
	key, err := sign.ParsePublicKey(data)
	if err != nil {
		return key, &release.InputError{Path: path, Err: err}
	}
	return key, nil
}

// imageExists says that an output file is in the way.
type imageExists struct{ error }

func (e imageExists) Unwrap() error { return e.error }

// checkFree looks for output files before a key signs what could not be written.
// Without a signature the same bytes may come out, which is no conflict.
func checkFree(force bool, signers []imageSigner, paths ...string) error {
	if force || len(signers) == 0 {
		return nil
	}
	for _, path := range paths {
		if path == "" || path == "-" {
			continue
		}
		if _, err := os.Lstat(path); err == nil {
			return imageExists{fmt.Errorf("%s: %w", path, fs.ErrExist)}
		}
	}
	return nil
}

// openSigners opens tokens one after the other, each once. Close is to be called
// also after an error.
func (a *app) openSigners(ctx context.Context, from []imageSigner) (signers map[sign.KeyID]sign.Signer, closeAll func(), err error) {
	tokens := map[string]*hsm.Token{}
	closeAll = func() {
		for _, t := range tokens {
			if err := t.Close(); err != nil {
				a.say("warning: %v", err)
			}
		}
	}
	signers = map[sign.KeyID]sign.Signer{}
	for _, s := range from {
		signer := s.made
		if signer == nil {
			t := tokens[s.token]
			if t == nil {
				if t, err = s.open(ctx); err != nil {
					return nil, closeAll, err
				}
				tokens[s.token] = t
			}
			if signer, err = t.Signer(ctx, s.uri, s.public); err != nil {
				return nil, closeAll, fmt.Errorf("%s%w", s.name, err)
			}
		}
		if signers[s.public.ID()], err = sign.Checked(signer, s.public); err != nil {
			return nil, closeAll, fmt.Errorf("%s%w", s.name, err)
		}
	}
	return signers, closeAll, nil
}

// imageResult is the answer of --json to verbs that write an image.
type imageResult struct {
	Schema   string   `json:"schema"`
	Format   string   `json:"format"`
	Path     string   `json:"path,omitempty"`
	Paths    []string `json:"paths,omitempty"`
	Data     []byte   `json:"data,omitempty"` // base64, when no file was written
	Size     int64    `json:"size,omitempty"` // in bytes
	Hash     string   `json:"hash,omitempty"` // image hash, hexadecimal
	KeyIDs   []string `json:"key_ids,omitempty"`
	Version  string   `json:"version,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// signedBy notes down who signed.
func (r *imageResult) signedBy(signers []imageSigner) {
	for _, s := range signers {
		r.KeyIDs = append(r.KeyIDs, s.public.ID().String())
	}
}

// writeImage writes the finished file, or prints it where path is "-", and the
// public half of a throwaway key.
func (a *app) writeImage(r imageResult, path string, data []byte, force bool, s imageSigners, signers []imageSigner) error {
	r.Size = int64(len(data))
	files := []imageFile{{path, data}}
	if path == "-" {
		files = nil
		r.Data = data
	}
	if s.publicOut != "" && filepath.Clean(s.publicOut) == filepath.Clean(path) {
		return usagef("--public-out is the image's file")
	}
	if s.publicOut != "" {
		files = append(files, imageFile{s.publicOut, signers[0].public.PEM()})
	}
	if err := writeImageFiles(files, force); err != nil {
		return err
	}
	if s.throwaway != "" {
		a.say("warning: signed with a throwaway key: no product trusts it")
	}
	if path == "-" {
		return a.result(r, string(data))
	}
	r.Path = path
	return a.result(r, path+"\n")
}

// imageFile is a result on its way to the disk.
type imageFile struct {
	path string
	data []byte
}

// writeImageFiles writes all files or none. What exists is in the way, unless it
// has the same bytes; with force each is replaced.
func writeImageFiles(files []imageFile, force bool) error {
	set := atomicfile.NewSet(".")
	defer set.Abort() // nothing is left after Commit
	for _, f := range files {
		path, err := filepath.Abs(f.path)
		if err != nil {
			return err
		}
		if !force {
			if err := set.Write(path, f.data); err != nil {
				return err
			}
			continue
		}
		one := atomicfile.NewSet(".")
		defer one.Abort() // nothing is left after Commit
		if err := one.Replace(path, f.data); err != nil {
			return err
		}
		if err := one.Commit(); err != nil {
			return err
		}
	}
	err := set.Commit()
	if errors.Is(err, atomicfile.ErrExists) {
		return imageExists{err}
	}
	return err
}

// refused says what a bootloader would refuse as a rule that the command line
// breaks: nothing was signed yet.
func refused(err error) error {
	if refusal, ok := errors.AsType[*verdict.Error](err); ok {
		detail := refusal.Detail
		if detail == "" && refusal.Err != nil {
			detail = refusal.Err.Error()
		}
		return &release.PolicyError{Findings: []release.Finding{{Reason: refusal.Reason, Object: refusal.Object, Detail: detail}}}
	}
	if errors.Is(err, mcuboot.ErrTarget) || errors.Is(err, nrfdfu.ErrOptions) {
		return usageError{err}
	}
	return err
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
