package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
)

func (a *app) provisionInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [master|transport]...",
		Short: "Generate the master key and the transport key inside their token",
		Long: `Generate the keys that the section "provision" of the project file names, inside
their token: AES-256 keys that cannot be extracted, a master key that can derive
and nothing else, a transport key that can wrap and nothing else. Without a name
it makes all that the file has.

A transport key that is made here never leaves the token, so no production line
can have it: it serves to try things out. The key of a real line comes from the
factory and is put into the token with the tools of the HSM's vendor.

An existing key is never overwritten.`,
		Example:   "  otapack provision init master",
		Args:      cobra.OnlyValidArgs,
		ValidArgs: []string{roleMaster, roleTransport},
		RunE:      func(cmd *cobra.Command, args []string) error { return a.provisionInit(cmd.Context(), args) },
	}
}

const (
	roleMaster    = "master"
	roleTransport = "transport"
)

type provisionInitResult struct {
	Schema string             `json:"schema"`
	Keys   []provisionKeyMade `json:"keys"`
}

type provisionKeyMade struct {
	Role  string    `json:"role"`
	URI   string    `json:"uri"`
	Bytes int       `json:"bytes"`
	Local hsm.State `json:"local"`
}

func (a *app) provisionInit(ctx context.Context, roles []string) error {
	cfg, err := a.provisionConfig()
	if err != nil {
		return err
	}
	if len(roles) == 0 {
		if cfg.Provision.Master != "" {
			roles = append(roles, roleMaster)
		}
		roles = append(roles, roleTransport)
	}
	var specs []hsm.SecretKeySpec
	for i, role := range roles {
		spec, err := secretKeySpec(cfg, role)
		if err != nil {
			return err
		}
		if slices.Contains(roles[:i], role) {
			return usagef("%s is named twice", role)
		}
		specs = append(specs, spec)
	}
	t, err := a.openToken(ctx, cfg, cfg.Provision.Token, true)
	if err != nil {
		return err
	}
	defer t.Close() // the keys are made and tried by then
	result := provisionInitResult{Schema: "otapack.provision-init/1"}
	var text strings.Builder
	for i, spec := range specs {
		info, err := t.GenerateSecretKey(ctx, spec)
		if err != nil {
			return fmt.Errorf("%s key: %w", roles[i], provisionKeyError{err})
		}
		result.Keys = append(result.Keys, provisionKeyMade{roles[i], info.URI.String(), info.Size, info.Local})
		a.say("created the %s key on token %s: AES-256, for %s only, not extractable", roles[i], cfg.Provision.Token, spec.Use)
		fmt.Fprintln(&text, info.URI)
	}
	return a.result(result, text.String())
}

func secretKeySpec(cfg *config.Config, role string) (hsm.SecretKeySpec, error) {
	text, use := cfg.Provision.Transport, hsm.Wrapping
	if role == roleMaster {
		text, use = cfg.Provision.Master, hsm.Derivation
	}
	if text == "" {
		return hsm.SecretKeySpec{}, cfg.Errorf("provision", "names no master key")
	}
	uri, err := hsm.ParseURI(text)
	if err != nil {
		return hsm.SecretKeySpec{}, err
	}
	if uri.Object == "" {
		return hsm.SecretKeySpec{}, cfg.Errorf("provision."+role, "a key to be made needs a label: name it by object")
	}
	return hsm.SecretKeySpec{Label: uri.Object, ID: uri.ID, Use: use}, nil
}
