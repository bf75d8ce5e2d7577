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
}

const defaultConfig = "otapack.yaml"

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "otapack <command>",
		Short: "Sign firmware releases for devices with more than one microcontroller",
		Long: `otapack builds, signs and verifies firmware releases for devices with more than
one microcontroller. Signing keys stay in a PKCS#11 token; every release is
checked by the reference bootloaders of all its chips before it is signed, and
again before it is written.`,
		Example: `  otapack release --version 1.4.2
  otapack verify dist/1.4.2/toothbrush-1.4.2.ota`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVarP(&a.configPath, "config", "c", defaultConfig, "project `file`")
	f.BoolVar(&a.json, "json", false, "write one JSON object to standard output, also on failure")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no warnings on standard error")
	f.BoolVar(&a.noInput, "no-input", false, "never ask for anything")
	f.StringVar(&a.pinFile, "pin-file", "", "read the token's PIN from `file`")
	f.BoolVar(&a.insecurePINFile, "insecure-pin-file", false, "accept a PIN file that others may read")
	f.BoolVar(&a.allowFinalTry, "allow-final-try", false, "log in even if one more wrong PIN would lock the token")
	root.AddCommand(a.initCommand(), a.keyCommand(), a.releaseCommand(), a.verifyCommand(), a.inspectCommand(), a.versionCommand())
	root.AddCommand(helpTopics()...)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
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
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w (did you mean %s?)", err, strings.Join(near, ", "))
		}
		return usageError{err}
	}
	return c
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
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// loadConfig reads the project file.
func (a *app) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(a.configPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errNoConfig, &release.InputError{Path: a.configPath, Err: fs.ErrNotExist})
	}
	return cfg, err
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
