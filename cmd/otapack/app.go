package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
)

// app is what all verbs share: the output streams and the global flags.
type app struct {
	stdout, stderr io.Writer

	configPath      string
	json            bool
	quiet           bool
	noInput         bool
	pinFile         string
	insecurePINFile bool
	allowFinalTry   bool

	pins map[string][]byte // taken out of the environment, by variable
}

const defaultConfig = "otapack.yaml"

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "otapack",
		Short: "Sign firmware releases for devices with more than one microcontroller",
		Long: `otapack builds, signs and verifies firmware releases for devices with more than
one microcontroller. Signing keys stay in a PKCS#11 token; every release is
checked by the reference bootloaders of all its chips before it is signed, and
again before it is written.`,
		Example: `  otapack release --version 1.4.2
  otapack verify dist/1.4.2/toothbrush-1.4.2.ota`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	group(root)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVarP(&a.configPath, "config", "c", defaultConfig, "project `file`")
	f.BoolVar(&a.json, "json", false, "write one JSON object to standard output, also on failure")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no warnings on standard error")
	f.BoolVar(&a.noInput, "no-input", false, "never ask for anything")
	f.StringVar(&a.pinFile, "pin-file", "", "read the token's PIN from `file`")
	f.BoolVar(&a.insecurePINFile, "insecure-pin-file", false, "accept a PIN file that others may read")
	f.BoolVar(&a.allowFinalTry, "allow-final-try", false, "log in even if one more wrong PIN would lock the token")
	root.AddCommand(
		a.initCommand(), a.keyCommand(), a.hsmCommand(),
		a.releaseCommand(), a.verifyCommand(), a.rehearseCommand(), a.inspectCommand(), a.transferCommand(), a.sizeCommand(), a.reachCommand(),
		a.imageCommand(), a.provisionCommand(), a.bootloaderCommand(), a.vectorsCommand(), a.manCommand(), a.versionCommand(),
	)
	root.AddCommand(helpTopics()...)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			group(c)
		case "help":
			c.Args = helpArgs
		}
	}
	wrapArgs(root)
	return root
}

// helpArgs refuses to explain what does not exist.
func helpArgs(cmd *cobra.Command, args []string) error {
	about, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) == 0 {
		return err
	}
	return unknownCommand(about, rest[0])
}

// wrapArgs turns complaints about arguments into usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// group makes a command that only holds others: without one of them, or with a
// word that is none of them, it is a usage error.
func group(c *cobra.Command) *cobra.Command {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return c
}

func unknownCommand(parent *cobra.Command, word string) error {
	err := fmt.Errorf("unknown command %q for %q", word, parent.CommandPath())
	if near := parent.SuggestionsFor(word); len(near) > 0 {
		err = fmt.Errorf("%w (did you mean %s?)", err, strings.Join(near, " or "))
	}
	return err
}

// say writes a line for people.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, "otapack: "+format+"\n", args...)
	}
}

// result writes what a verb was asked for: v as JSON, or text.
func (a *app) result(v any, text string) error {
	if !a.json {
		_, err := io.WriteString(a.stdout, text)
		return err
	}
	return a.encode(v)
}

// encode writes one JSON object on a line of its own.
func (a *app) encode(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// loadConfig reads the project file.
func (a *app) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(a.configPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noConfig(a.configPath)
	}
	if err != nil {
		return nil, err
	}
	return cfg, checkURIs(cfg)
}

func noConfig(path string) error {
	return fmt.Errorf("%w: %w", errNoConfig, &release.InputError{Path: path, Err: fs.ErrNotExist})
}

// checkURIs finds URIs that cannot be used before a token is wanted: config
// only looks for what must not stand in the file.
func checkURIs(cfg *config.Config) error {
	var errs []error
	check := func(path, uri string) {
		if _, err := hsm.ParseURI(uri); err != nil && uri != "" {
			errs = append(errs, cfg.Errorf(path, "%v", err))
		}
	}
	for _, t := range cfg.HSM.Tokens {
		check("hsm.tokens."+t.Name+".uri", t.URI)
	}
	for _, k := range cfg.Keys {
		check("keys."+k.Name+".uri", k.URI)
	}
	if p := cfg.Provision; p != nil {
		check("provision.transport", p.Transport)
		check("provision.master", p.Master)
	}
	return errors.Join(errs...)
}

// openProject reads the project file and the public keys that it names.
func (a *app) openProject() (*release.Project, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	return release.Open(cfg)
}

// relative returns a path as a person in the working directory would write it.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
