package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader"
)

func (a *app) bootloaderCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "bootloader <command>",
		Short: "Show what bootloaders check, and which checks stand alone",
		Long: `Show bootloader profiles: which checks a bootloader makes and in which order, how
it compares, what it does when a check fails, when its rollback counter is raised.
Profiles of real bootloaders say where each fact was read. A verifier makes the
same checks in the same order; it says nothing about timing on a chip.`,
	})
	c.AddCommand(a.bootloaderListCommand(), a.bootloaderShowCommand(), a.bootloaderSkipsCommand())
	return c
}

func (a *app) bootloaderListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the bootloader profiles",
		Long: `List the bootloader profiles. SECRETS says how steps compare what must not leak by
timing: digests of decrypted firmware and tags under a device's key.`,
		Example: "  otapack bootloader ls",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.bootloaderList() },
	}
}

func (a *app) bootloaderShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show <profile>",
		Short: "Show the checks of a bootloader in their order",
		Long: `Show a bootloader profile: its checks in their order, how each compares, what
follows when it fails, and what is known of rollback, trial and stored state.

COMPARE is how bytes are compared: early ends at the first that differs,
constant-time looks at all of them, doubled does so twice, none compares no bytes,
unknown is in a library that was not read. Steps marked * are made by some builds
only, steps marked + by otapack and not by the bootloader.`,
		Example: "  otapack bootloader show mcuboot-swap\n  otapack bootloader show nrf5-sdk --json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.bootloaderShow(args[0]) },
	}
}

// bootloaderListResult is the answer of ls --json.
type bootloaderListResult struct {
	Schema   string              `json:"schema"`
	Profiles []bootloaderSummary `json:"profiles"`
}

type bootloaderSummary struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Steps    int    `json:"steps"`
	Attempts int    `json:"trial_attempts"`
	Verifier string `json:"verifier"`
	// Secrets are the ways in which secrets are compared.
	Secrets []bootloader.Compare `json:"secret_compares"`
}

func (a *app) bootloaderList() error {
	r := bootloaderListResult{Schema: "otapack.bootloader-ls/1"}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROFILE\tSTEPS\tTRIAL\tSECRETS\tVERIFIER\tTITLE")
	for _, p := range bootloader.Profiles() {
		s := bootloaderSummary{Name: p.Name, Title: p.Title, Steps: len(p.Steps), Attempts: p.Trial.Attempts, Verifier: p.Verifier, Secrets: []bootloader.Compare{}}
		for _, step := range p.Steps {
			if step.Secret != "" && !slices.Contains(s.Secrets, step.Compare) {
				s.Secrets = append(s.Secrets, step.Compare)
			}
		}
		r.Profiles = append(r.Profiles, s)
		secrets := ""
		for i, c := range s.Secrets {
			if i > 0 {
				secrets += ", "
			}
			secrets += string(c)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", s.Name, s.Steps, s.Attempts, orDash(secrets), s.Verifier, s.Title)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return a.result(r, b.String())
}

// profileArgument finds a profile by its name on the command line.
func profileArgument(name string) (bootloader.Profile, error) {
	p, err := bootloader.ProfileByName(name)
	if err != nil {
		return p, usageError{err}
	}
	return p, nil
}

// bootloaderShowResult is the answer of show --json.
type bootloaderShowResult struct {
	Schema string `json:"schema"`
	bootloader.Profile
}

func (a *app) bootloaderShow(name string) error {
	p, err := profileArgument(name)
	if err != nil {
		return err
	}
	text, err := profileText(p)
	if err != nil {
		return err
	}
	for _, s := range p.Leaks() {
		a.say("warning: step %s compares a secret and ends at the first byte that differs", s.ID)
	}
	return a.result(bootloaderShowResult{"otapack.bootloader-show/1", p}, text)
}

// profileText is the table of steps, what is known beside it, and the notes.
func profileText(p bootloader.Profile) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", p.Name, p.Title)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tCOMPARE\tON FAILURE\tLOOKS AT")
	for _, s := range p.Steps {
		mark := ""
		if s.Optional {
			mark += "*"
		}
		if s.Ours {
			mark += "+"
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", s.ID, mark, s.Compare, s.OnFail, s.Input)
	}
	fmt.Fprintln(w)
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	fact("rollback", p.Rollback.Of)
	fact("passes", p.Rollback.Rule)
	fact("raised", p.Rollback.Raised)
	fact("trial", trialText(p.Trial))
	fact("way back", p.Trial.Revert)
	for i, write := range p.Writes {
		name := "writes"
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(w, "%s\t%s: %s\n", name, write.When, write.State)
	}
	fact("every boot", p.EveryBoot)
	fact("hardening", p.Hardening)
	fact("flash", geometryText(p.Geometry))
	fact("verifier", p.Verifier+": same checks, same order")
	fact("source", p.Source.Project+" "+p.Source.Version)
	for _, f := range p.Source.Files {
		fmt.Fprintf(w, "\t%s\n", f)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	for _, s := range p.Steps {
		if s.Secret != "" {
			fmt.Fprintf(&b, "\n%s compares a secret (%s): %s\n", s.ID, s.Compare, s.Secret)
		}
		if s.Note != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", s.ID, s.Note)
		}
	}
	return b.String(), nil
}

func trialText(t bootloader.Trial) string {
	if t.Attempts == 0 {
		return "none"
	}
	return counted(t.Attempts, "start") + ", marked by " + t.Marker
}

func geometryText(g bootloader.Geometry) string {
	if g.Page == 0 {
		return g.Note
	}
	text := fmt.Sprintf("pages of %d bytes, written in units of %d", g.Page, g.WriteUnit)
	if g.WriteOnce != nil && *g.WriteOnce {
		text += ", each once between erases"
	}
	return text
}
