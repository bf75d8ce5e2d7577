package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/term"
)

// Environment variables. They are read here and nowhere else.
const (
	envModule  = "OTAPACK_PKCS11_MODULE"
	envPINFile = "OTAPACK_PIN_FILE"
	envPIN     = "OTAPACK_PIN"
	envSoftHSM = "SOFTHSM2_CONF"
)

// devTokenDir is where init puts a SoftHSM development token, next to
// otapack.yaml.
const devTokenDir = ".otapack"

// openToken opens the token with an alias; login says whether to log in.
func (a *app) openToken(ctx context.Context, cfg *config.Config, alias string, login bool) (*hsm.Token, error) {
	t, ok := cfg.Token(alias)
	if !ok {
		return nil, cfg.Errorf("hsm.tokens", "no token %q", alias)
	}
	uri, err := hsm.ParseURI(t.URI)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cfg.Errorf("hsm.tokens."+alias+".uri", "unusable"), err)
	}
	module, err := modulePath(cfg)
	if err != nil {
		return nil, err
	}
	o := hsm.Options{Module: module, Token: uri, AllowFinalTry: a.allowFinalTry}
	if login {
		o.PIN = a.pinSource(cfg, t, uri)
	}
	return hsm.Open(ctx, o)
}

// modulePath returns the PKCS#11 module: the environment wins over the file.
// It also points SoftHSM at the development token next to the project file, if
// there is one and the environment does not say otherwise.
func modulePath(cfg *config.Config) (string, error) {
	module, _, err := namedModule(cfg)
	if err != nil {
		return "", err
	}
	return module, useDevToken(cfg)
}

// namedModule returns the absolute path of the module and who names it.
func namedModule(cfg *config.Config) (module, from string, err error) {
	module, from = os.Getenv(envModule), envModule
	if module == "" && cfg.HSM.Module != "" {
		module, from = cfg.Resolve(cfg.HSM.Module), "hsm.module in "+cfg.File()
	}
	if module == "" {
		return "", "", fmt.Errorf("%s: %w", cfg.File(), errNoModule)
	}
	module, err = filepath.Abs(module)
	return module, from, err
}

// useDevToken sets SOFTHSM2_CONF for a development token next to the project
// file.
func useDevToken(cfg *config.Config) error {
	dir, err := filepath.Abs(cfg.Resolve(devTokenDir))
	if err != nil {
		return err
	}
	if !isDir(filepath.Join(dir, "tokens")) || os.Getenv(envSoftHSM) != "" {
		return nil
	}
	conf, err := writeSoftHSMConf(dir)
	if err != nil {
		return err
	}
	return os.Setenv(envSoftHSM, conf)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// writeSoftHSMConf makes SoftHSM's configuration name the tokens beside it.
// SoftHSM wants an absolute path, so a project that was copied or moved would
// otherwise sign with the tokens of the place it came from.
func writeSoftHSMConf(dir string) (path string, err error) {
	path = filepath.Join(dir, "softhsm2.conf")
	want := fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", filepath.Join(dir, "tokens"))
	if have, err := os.ReadFile(path); err == nil && string(have) == string(want) {
		return path, nil
	}
	// Other runs may read it at this moment.
	set := atomicfile.NewSet(dir)
	defer set.Abort() // after Commit it does nothing, before it the first error counts
	if err := set.Replace(path, want); err != nil {
		return "", err
	}
	return path, set.Commit()
}

// pinOrigin is where the PIN of a token is: a file, a variable, or neither.
type pinOrigin struct {
	name           string // of the setting, as a person finds it; "" with neither
	file, variable string
}

// pinOrigin finds the first source that is set.
func (a *app) pinOrigin(cfg *config.Config, t config.Token, uri hsm.URI) pinOrigin {
	variable := envPIN + "_" + strings.ToUpper(strings.ReplaceAll(t.Name, "-", "_"))
	switch {
	case a.pinFile != "":
		return pinOrigin{name: "--pin-file", file: a.pinFile}
	case t.PINFile != "":
		return pinOrigin{name: "hsm.tokens." + t.Name + ".pin.file", file: cfg.Resolve(t.PINFile)}
	case uri.PINSource != "":
		return pinOrigin{name: "pin-source", file: cfg.Resolve(uri.PINSource)}
	case os.Getenv(envPINFile) != "":
		return pinOrigin{name: envPINFile, file: os.Getenv(envPINFile)}
	case len(a.pins[variable]) > 0 && t.Name != "":
		return pinOrigin{name: variable, variable: variable}
	case len(a.pins[envPIN]) > 0:
		return pinOrigin{name: envPIN, variable: envPIN}
	}
	return pinOrigin{}
}

// pinSource finds the PIN of a token. The first source that is set wins; if it
// fails, no other is tried: a PIN from the wrong place costs a try.
func (a *app) pinSource(cfg *config.Config, t config.Token, uri hsm.URI) hsm.PINSource {
	return func(ctx context.Context, info hsm.TokenInfo) (hsm.PIN, error) {
		origin := a.pinOrigin(cfg, t, uri)
		switch {
		case origin.file != "":
			return hsm.ReadPINFile(origin.file, a.insecurePINFile)
		case origin.variable != "":
			return hsm.NewPIN(bytes.Clone(a.pins[origin.variable])), nil // the token wipes what it gets
		case info.PINPad:
			a.say("token %s: enter the PIN on the PIN pad", info.Label)
			return hsm.PIN{}, nil
		case a.noInput:
			return hsm.PIN{}, fmt.Errorf("%w, and --no-input rules out asking for it", hsm.ErrPINRequired)
		}
		pin, err := term.ReadSecret(ctx, fmt.Sprintf("PIN for token %s: ", info.Label))
		if errors.Is(err, term.ErrNoTerminal) {
			return hsm.PIN{}, fmt.Errorf("%w, and there is no terminal to ask at", hsm.ErrPINRequired)
		}
		if err != nil {
			return hsm.PIN{}, err
		}
		if len(pin) == 0 {
			return hsm.PIN{}, fmt.Errorf("%w, and nothing was typed", hsm.ErrPINRequired)
		}
		return hsm.NewPIN(pin), nil
	}
}

// takePINs takes all PINs out of the environment, so that no module and no child
// process finds them there. Several tokens may need the same one.
func (a *app) takePINs() error {
	a.pins = map[string][]byte{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if name != envPIN && !strings.HasPrefix(name, envPIN+"_") || name == envPINFile {
			continue
		}
		a.pins[name] = []byte(value)
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) wipePINs() {
	for _, pin := range a.pins {
		clear(pin)
	}
}
