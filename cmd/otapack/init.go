package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
)

func (a *app) initCommand() *cobra.Command {
	var product, vendor string
	var devToken bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a starter project file, and make a development token",
		Long: `Write a commented otapack.yaml to begin with. An existing file is left alone.

With --dev-token, make a SoftHSM token for the first token of the project file,
in the folder .otapack next to it, with a random PIN in the file that pin.file
names. otapack finds the token by itself; for other programs set SOFTHSM2_CONF to
.otapack/softhsm2.conf. A development token keeps keys from being copied by
accident, not by an attacker: real releases need a real HSM.`,
		Example: "  otapack init --product toothbrush --vendor toothbrush.example --dev-token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.init(cmd.Context(), product, vendor, devToken)
		},
	}
	f := c.Flags()
	f.StringVar(&product, "product", "", "`name` of the product (default: the directory's name)")
	f.StringVar(&vendor, "vendor", "", "`domain` of the vendor (default: <product>.example)")
	f.BoolVar(&devToken, "dev-token", false, "make a SoftHSM development token")
	return c
}

type initResult struct {
	Schema string `json:"schema"`
	Config string `json:"config"`
	Made   bool   `json:"made"`            // false: it was there already
	Token  string `json:"token,omitempty"` // URI of the development token
}

func (a *app) init(ctx context.Context, product, vendor string, devToken bool) error {
	result := initResult{Schema: "otapack.init/1", Config: a.configPath}
	if _, err := os.Stat(a.configPath); errors.Is(err, fs.ErrNotExist) {
		if err := a.writeStarter(product, vendor); err != nil {
			return err
		}
		result.Made = true
		a.say("wrote %s", a.configPath)
	} else {
		a.say("%s is there already, left as it is", a.configPath)
	}
	if devToken {
		cfg, err := a.loadConfig()
		if err != nil {
			return err
		}
		if result.Token, err = a.makeDevToken(ctx, cfg); err != nil {
			return err
		}
	}
	return a.result(result, a.configPath+"\n")
}

func (a *app) writeStarter(product, vendor string) error {
	if product == "" {
		dir, err := filepath.Abs(filepath.Dir(a.configPath))
		if err != nil {
			return err
		}
		product = strings.ToLower(filepath.Base(dir))
	}
	if vendor == "" {
		vendor = product + ".example"
	}
	data := config.Starter(product, vendor)
	if _, err := config.Parse(a.configPath, data); err != nil {
		return usagef("product %q and vendor %q do not make a valid file; pass --product and --vendor: %w", product, vendor, err)
	}
	return writeFile(a.configPath, data)
}

// makeDevToken makes the first token of the configuration in SoftHSM.
func (a *app) makeDevToken(ctx context.Context, cfg *config.Config) (string, error) {
	if len(cfg.HSM.Tokens) == 0 {
		return "", cfg.Errorf("hsm", "names no token")
	}
	t := cfg.HSM.Tokens[0]
	uri, err := hsm.ParseURI(t.URI)
	if err != nil {
		return "", err
	}
	path := "hsm.tokens." + t.Name
	if uri.Token == "" || t.PINFile == "" {
		return "", cfg.Errorf(path, "a development token needs a label (pkcs11:token=…) and a pin.file")
	}
	made := os.Getenv(envSoftHSM) // modulePath sets it
	dir, err := filepath.Abs(cfg.Resolve(devTokenDir))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		return "", err
	}
	module, err := modulePath(cfg)
	if err != nil {
		return "", err
	}
	if !strings.Contains(filepath.Base(module), "softhsm") {
		return "", cfg.Errorf("hsm.module", "development tokens are made with SoftHSM only, not with %s", module)
	}
	pin, err := devPIN(cfg.Resolve(t.PINFile))
	if err != nil {
		return "", err
	}
	defer pin.Wipe()
	soPIN, err := devPIN(filepath.Join(dir, "so-pin"))
	if err != nil {
		return "", err
	}
	defer soPIN.Wipe()
	switch err := hsm.InitToken(ctx, module, uri.Token, soPIN, pin); {
	case errors.Is(err, hsm.ErrTokenExists):
		a.say("token %s is there already, left as it is", uri.Token)
	case err != nil:
		return "", err
	default:
		if made == "" {
			made = relative(dir)
		}
		a.say("made token %s in %s, PIN in %s", uri.Token, made, t.PINFile)
	}
	return uri.String(), nil
}

// devPIN reads a PIN file and makes it first if need be: 16 random hexadecimal
// digits.
func devPIN(path string) (hsm.PIN, error) {
	if _, err := os.Stat(path); err == nil {
		return hsm.ReadPINFile(path, false)
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return hsm.PIN{}, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return hsm.PIN{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hsm.PIN{}, err
	}
	text := append([]byte(hex.EncodeToString(random[:])), '\n')
	defer clear(text)
	if _, err = f.Write(text); err == nil {
		err = f.Close()
	}
	if err != nil {
		return hsm.PIN{}, err
	}
	return hsm.ReadPINFile(path, false)
}
