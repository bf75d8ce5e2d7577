package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
)

func (a *app) keyRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate <old-alias> <new-alias>",
		Short: "Plan how to replace a signing key without losing devices",
		Long: `Say how far the replacement of one signing key by another has come, and what to
write into the project file next. Nothing is changed and no token is opened.

    planned      the new key is not in the project file, or was not made
    prepared     it is pinned and fits the bootloaders' key slots; the old key signs
    transition   both keys sign and are trusted
    retired      the new key alone

Devices in the field know the old key only. They learn the new one from a release
that both keys have signed; the record of the last release shows whether there
was one. A step that would leave devices without a release that they accept is
refused (exit code 5). docs/keys.md has the whole procedure.`,
		Example: "  otapack key rotate fw-2025 fw-2026",
		Args:    cobra.ExactArgs(2),
		RunE:    func(_ *cobra.Command, args []string) error { return a.keyRotate(args[0], args[1]) },
	}
}

type rotateResult struct {
	Schema string `json:"schema"`
	release.Rotation
}

// rotationError carries a plan to the output.
type rotationError struct {
	error
	plan *release.Rotation
}

func (e rotationError) Unwrap() error    { return e.error }
func (e rotationError) addTo(f *failure) { f.Rotation = e.plan }

func (a *app) keyRotate(oldAlias, newAlias string) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	k, ok := cfg.Key(oldAlias)
	switch {
	case !ok:
		return usagef("%s has no key %q", cfg.File(), oldAlias)
	case oldAlias == newAlias:
		return usagef("%s cannot replace itself", oldAlias)
	}
	plan, err := planNewKey(cfg, k, newAlias)
	if plan == nil && err == nil {
		var project *release.Project
		if project, err = release.Open(cfg); err == nil {
			plan, err = project.Rotation(oldAlias, newAlias)
		}
	}
	if err != nil {
		return err
	}
	for _, w := range plan.Warnings {
		a.say("warning: %s", w)
	}
	if len(plan.Findings) == 0 {
		return a.result(rotateResult{"otapack.key-rotate/1", *plan}, rotationText(cfg, plan))
	}
	if !a.json {
		fmt.Fprint(a.stdout, rotationText(cfg, plan))
	}
	return rotationError{&release.PolicyError{Findings: plan.Findings}, plan}
}

// planNewKey is the plan for as long as there is no new key, nil when there is.
func planNewKey(cfg *config.Config, old config.Key, alias string) (*release.Rotation, error) {
	step := release.RotationRule{
		Path: "keys." + alias, Phase: release.PhasePlanned, Components: []string{},
		Step: "otapack key create " + alias,
	}
	switch k, ok := cfg.Key(alias); {
	case ok:
		_, err := os.Lstat(cfg.Resolve(k.Public))
		if err == nil {
			return nil, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, inputError(k.Public, err)
		}
		step.Line = cfg.Errorf("keys."+alias, "").Line
	default:
		token := old.Token
		if token == "" && len(cfg.HSM.Tokens) > 0 {
			token = cfg.HSM.Tokens[0].Name
		}
		step.Path, step.Line = "keys", cfg.Errorf("keys", "").Line
		step.Next = fmt.Sprintf(`%s: {token: %s, uri: "pkcs11:object=%s", public: keys/%s.pub.pem}`, alias, token, alias, alias)
		step.Step = "write this, then otapack key create " + alias
	}
	return &release.Rotation{
		Old: old.Name, New: alias, Phase: release.PhasePlanned, Rules: []release.RotationRule{step}, Warnings: []string{}, Findings: []release.Finding{},
	}, nil
}

func rotationText(cfg *config.Config, r *release.Rotation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s: %s\n", r.Old, r.New, r.Phase)
	if r.Last != "" {
		fmt.Fprintf(&b, "last release: %s\n", r.Last)
	}
	for _, rule := range r.Rules {
		fmt.Fprintf(&b, "\n%s:%d: %s: %s\n", cfg.File(), rule.Line, rule.Path, rule.Phase)
		for _, f := range []struct{ name, value string }{
			{"components", strings.Join(rule.Components, ", ")}, {"now", rule.Now}, {"next", rule.Next}, {"step", rule.Step},
		} {
			if f.value != "" {
				fmt.Fprintf(&b, "  %-10s  %s\n", f.name, f.value)
			}
		}
	}
	return b.String()
}
