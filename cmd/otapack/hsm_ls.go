package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
)

func (a *app) hsmListCommand() *cobra.Command {
	var module string
	var login bool
	c := &cobra.Command{
		Use:   "ls [<token>]",
		Short: "List the tokens of a module and the keys on them",
		Long: `List what a PKCS#11 module has: its tokens, and their EC keys as URIs that can be
pasted into the project file. The module is that of the project file or of the
environment, or the one given with --module, for which no project file is needed.

A token is given by its alias in the project file or by a PKCS#11 URI; without
one, all are listed. Most tokens show only public halves without --login, which
needs one token: a PIN is never tried on another than its own.`,
		Example: `  otapack hsm ls
  otapack hsm ls --module /usr/lib/softhsm/libsofthsm2.so
  otapack hsm ls --login "pkcs11:token=fw-release"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			return a.hsmList(cmd.Context(), module, name, login)
		},
	}
	c.Flags().StringVar(&module, "module", "", "`file` of a PKCS#11 module")
	c.Flags().BoolVar(&login, "login", false, "log in, to see private keys")
	return c
}

type moduleResult struct {
	Path         string `json:"path"`
	Manufacturer string `json:"manufacturer"`
	Description  string `json:"description"`
	Version      string `json:"version"`
	Cryptoki     string `json:"cryptoki"`
}

type tokenResult struct {
	Slot         uint   `json:"slot"` // slots get renumbered
	URI          string `json:"uri,omitempty"`
	Alias        string `json:"alias,omitempty"` // in the project file
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Model        string `json:"model"`
	Manufacturer string `json:"manufacturer"`
	Firmware     string `json:"firmware"`
	MaxSessions  uint   `json:"max_sessions,omitempty"` // 0: no limit, or not told

	Initialized    bool `json:"initialized"`
	PINInitialized bool `json:"pin_initialized"`
	LoginRequired  bool `json:"login_required"`
	PINPad         bool `json:"pin_pad"`
	PINCountLow    bool `json:"pin_count_low"`
	PINFinalTry    bool `json:"pin_final_try"`
	PINLocked      bool `json:"pin_locked"`

	Error string      `json:"error,omitempty"` // instead of all this
	Keys  []keyResult `json:"keys"`
}

type hsmListResult struct {
	Schema   string        `json:"schema"`
	Module   moduleResult  `json:"module"`
	LoggedIn bool          `json:"logged_in"`
	Tokens   []tokenResult `json:"tokens"`
	Warnings []string      `json:"warnings"`
}

func (a *app) hsmList(ctx context.Context, module, name string, login bool) error {
	cfg, err := a.loadPart()
	if err != nil && !errors.Is(err, errNoConfig) && module == "" { // else it is not needed
		return err
	}
	if module == "" {
		module, _, err = namedModule(cfg)
	} else {
		module, err = filepath.Abs(module)
	}
	if err == nil {
		err = useDevToken(cfg)
	}
	if err != nil {
		return err
	}
	alias, want, err := tokenArgument(cfg, name)
	if err != nil {
		return err
	}
	info, slots, err := hsm.Slots(ctx, module)
	if err != nil {
		return err
	}
	result := hsmListResult{Schema: "otapack.hsm-ls/1", Module: moduleResult(info), LoggedIn: login, Tokens: []tokenResult{}, Warnings: []string{}}
	if name != "" || login {
		only, err := oneToken(want, name != "", slots)
		if err != nil {
			return err
		}
		slots = []hsm.SlotInfo{only}
		if alias == "" { // the project file may know where its PIN is
			alias = newTokenResult(only, cfg).Alias
		}
	}
	for _, s := range slots {
		t := newTokenResult(s, cfg)
		if s.Initialized {
			o := hsm.Options{Module: module, Token: fullURI(s.Token), AllowFinalTry: a.allowFinalTry}
			if login {
				configured, _ := cfg.Token(alias)
				o.PIN = a.pinSource(cfg, configured, want)
			}
			if t.Keys, err = listKeys(ctx, o); errors.Is(err, hsm.ErrTokenAmbiguous) {
				t.Error, err = "its keys are not listed: another token has the same label and serial", nil
			}
			if err != nil {
				return err
			}
		}
		result.Tokens = append(result.Tokens, t)
	}
	result.Warnings = append(result.Warnings, duplicates(result.Tokens)...)
	for _, w := range result.Warnings {
		a.say("warning: %s", w)
	}
	text, err := result.text()
	if err != nil {
		return err
	}
	return a.result(result, text)
}

// tokenArgument reads the name of a token: an alias, a URI, or nothing.
func tokenArgument(cfg *config.Config, name string) (alias string, uri hsm.URI, err error) {
	text := name
	if t, ok := cfg.Token(name); ok {
		alias, text = name, t.URI
	} else if name != "" && !strings.HasPrefix(strings.ToLower(name), "pkcs11:") {
		return "", hsm.URI{}, usagef("%s has no token %q, and it is not a PKCS#11 URI", cfg.File(), name)
	}
	if text == "" {
		return "", hsm.URI{}, nil
	}
	uri, err = hsm.ParseURI(text)
	return alias, uri, err
}

// oneToken finds the only token that is meant. Without a name that is the only
// one there is.
func oneToken(want hsm.URI, named bool, slots []hsm.SlotInfo) (hsm.SlotInfo, error) {
	var matching []hsm.SlotInfo
	var uris []string
	for _, s := range slots {
		if s.Matches(want) {
			matching, uris = append(matching, s), append(uris, fullURI(s.Token).String())
		}
	}
	switch {
	case len(matching) == 1:
		return matching[0], nil
	case !named:
		return hsm.SlotInfo{}, usagef("--login: the module has %s, name the one whose PIN it is", counted(len(matching), "initialised token"))
	case len(matching) == 0:
		return hsm.SlotInfo{}, fmt.Errorf("token %s: %w", want, hsm.ErrTokenNotFound)
	}
	return hsm.SlotInfo{}, fmt.Errorf("token %s: %w: %s", want, hsm.ErrTokenAmbiguous, strings.Join(uris, ", "))
}

func listKeys(ctx context.Context, o hsm.Options) ([]keyResult, error) {
	t, err := hsm.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer t.Close() // read only
	infos, err := t.Keys(ctx)
	if err != nil {
		return nil, err
	}
	keys := []keyResult{}
	for _, info := range infos {
		keys = append(keys, newKeyResult(info))
	}
	return keys, nil
}

func newTokenResult(s hsm.SlotInfo, cfg *config.Config) tokenResult {
	i := s.Token
	t := tokenResult{
		Slot: s.ID, Label: i.Label, Serial: i.Serial, Model: i.Model, Manufacturer: i.Manufacturer, Firmware: i.Firmware, MaxSessions: i.MaxSessions,
		Initialized: s.Initialized, PINInitialized: s.PINInitialized, LoginRequired: i.LoginRequired,
		PINPad: i.PINPad, PINCountLow: i.PINCountLow, PINFinalTry: i.PINFinalTry, PINLocked: i.PINLocked,
		Keys: []keyResult{},
	}
	if s.Err != nil {
		t.Error = s.Err.Error()
	}
	if !s.Initialized {
		return t
	}
	t.URI = i.URI().String()
	for _, c := range cfg.HSM.Tokens {
		if uri, err := hsm.ParseURI(c.URI); err == nil && s.Matches(uri) {
			t.Alias = c.Name
		}
	}
	return t
}

// duplicates points out what a URI cannot tell apart, or not by its label.
func duplicates(tokens []tokenResult) []string {
	var warnings []string
	count := func(what string, names []string, advice string) {
		seen := map[string]int{}
		for _, n := range names {
			if seen[n]++; seen[n] == 2 {
				warnings = append(warnings, fmt.Sprintf("more than one %s %q: %s", what, n, advice))
			}
		}
	}
	var labels, serials []string
	for _, t := range tokens {
		if t.Initialized {
			labels = append(labels, t.Label)
			if t.Serial != "" {
				serials = append(serials, t.Serial)
			}
		}
	}
	count("token has the label", labels, "name them by serial")
	count("token has the serial", serials, "name them by label too")
	for _, t := range tokens {
		var names, ids []string
		for _, k := range t.Keys {
			if k.Label != "" {
				names = append(names, k.Label)
			}
			ids = append(ids, k.URI)
		}
		count("key on token "+t.Label+" has the label", names, "name them by id")
		count("key on token "+t.Label+" has the URI", ids, "no URI tells them apart, remove one")
	}
	return warnings
}

func (t tokenResult) flags() string {
	var words []string
	for _, f := range []struct {
		set  bool
		word string
	}{
		{t.Initialized && !t.PINInitialized, "no user PIN"},
		{t.LoginRequired, "login required"},
		{t.PINPad, "PIN pad"},
		{t.PINCountLow, "wrong PIN entered"},
		{t.PINFinalTry, "FINAL TRY"},
		{t.PINLocked, "LOCKED"},
	} {
		if f.set {
			words = append(words, f.word)
		}
	}
	switch {
	case t.Error != "":
		return t.Error
	case !t.Initialized:
		return "not initialised"
	}
	return orDash(strings.Join(words, ", "))
}

// visible says with what right the keys were listed.
func (r hsmListResult) visible() string {
	if r.LoggedIn {
		return "on the token"
	}
	return "to be seen without --login"
}

// text is three tables: the module, its tokens, their keys.
func (r hsmListResult) text() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s %s, Cryptoki %s\n", r.Module.Path, r.Module.Manufacturer, r.Module.Description, r.Module.Version, r.Module.Cryptoki)
	table := func(header string) *tabwriter.Writer {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "\n%s\n", header)
		return w
	}
	if len(r.Tokens) == 0 {
		return b.String() + "\nno tokens\n", nil
	}
	w := table("TOKEN\tALIAS\tMODEL\tMANUFACTURER\tFIRMWARE\tSTATE\tURI")
	keys := 0
	for _, t := range r.Tokens {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", orDash(t.Label), orDash(t.Alias), orDash(t.Model), orDash(t.Manufacturer), orDash(t.Firmware), t.flags(), orDash(t.URI))
		keys += len(t.Keys)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	if keys == 0 {
		return b.String() + "\nno EC keys " + r.visible() + "\n", nil
	}
	w = table("KEY\tTOKEN\tCURVE\tPRIVATE HALF\tURI")
	for _, t := range r.Tokens {
		for _, k := range t.Keys {
			seen := "not visible"
			if k.Private == hsm.Yes {
				seen = "yes"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", orDash(k.Label), orDash(t.Label), k.Curve, seen, k.URI)
		}
	}
	err := w.Flush()
	return b.String(), err
}
