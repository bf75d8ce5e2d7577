package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/provision"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) provisionCommand() *cobra.Command {
	var o provisionOptions
	c := &cobra.Command{
		Use:   "provision --devices <file> --output <file>",
		Short: "Make the secrets that a factory puts into devices",
		Long: `Make the secrets that the section "provision" of the project file lists, for each
device of a list, and write them as JSON Lines: one record per device and secret.
The token wraps them under the transport key, which the production line has. A
record also has the check value of its secret, and of a recipient the public half.
AES keys are made in the token; the private key of a recipient is made in the
memory of this program, because tokens do not agree on wrapping one.

The devices are a CSV file with a column "serial", or numbers: --count and
--serial-format.

Every record is appended once. A run that was interrupted or killed goes on when
the same command is given again; a file of other devices, secrets or keys is
refused. The file is meant to be used when it is complete.`,
		Example: `  otapack provision --devices lot-7.csv -o lot-7.jsonl --public-dir keys/lot-7
  otapack provision --count 500 --serial-format TB-%06d --first 1 -o bench.jsonl`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			numbered := false
			for _, name := range []string{"count", "serial-format", "first"} {
				numbered = numbered || cmd.Flags().Changed(name)
			}
			switch {
			case o.output == "":
				return usagef("--output is missing")
			case o.output == "-":
				return usagef("--output: want a file, which a run that was killed can go on with")
			case (o.devices != "") == numbered:
				return usagef("which devices? give either --devices, or --count and --serial-format")
			case numbered && (o.count == 0 || o.format == ""):
				return usagef("--count and --serial-format are both needed")
			}
			return a.provision(cmd.Context(), o)
		},
	}
	c.SuggestionsMinimumDistance = 2
	f := c.Flags()
	f.StringVar(&o.devices, "devices", "", "CSV `file` with a column \"serial\"")
	f.Uint64Var(&o.count, "count", 0, "`number` of devices, instead of --devices")
	f.StringVar(&o.format, "serial-format", "", "their serials: a `text` with one %d, or %06d for six digits")
	f.Uint64Var(&o.first, "first", 1, "`number` of the first one")
	f.StringVarP(&o.output, "output", "o", "", "`file` for the records, made or gone on with")
	f.StringVar(&o.publicDir, "public-dir", "", "`directory` for the public keys of recipients, one PEM file each")
	c.AddCommand(a.provisionInitCommand(), a.provisionCheckCommand())
	return c
}

type provisionOptions struct {
	devices           string
	format            string
	first, count      uint64
	output, publicDir string
}

// provisioned is the answer of --json.
type provisioned struct {
	Schema     string          `json:"schema"`
	Product    string          `json:"product"`
	Output     string          `json:"output"`
	Devices    int             `json:"devices"`
	Records    int             `json:"records"`
	Made       int             `json:"made"`       // by this run
	TornBytes  int64           `json:"torn_bytes"` // cut off from what a killed run left
	PublicKeys int             `json:"public_keys"`
	Check      provision.Check `json:"check"` // to try the transport key with
}

// provisionSessions is how many secrets are made at a time.
const provisionSessions = 4

func (a *app) provision(ctx context.Context, o provisionOptions) error {
	cfg, err := a.provisionConfig()
	if err != nil {
		return err
	}
	serials, err := o.serials()
	if err != nil {
		return err
	}
	header := provision.Header{Product: cfg.Product.Name, Devices: provision.NewDevices(serials), Secrets: secretsOf(cfg.Provision)}
	if o.publicDir != "" && !hasKind(header.Secrets, provision.Recipient) {
		return usagef("--public-dir: %s has no secret of the kind recipient", cfg.File())
	}
	if err := provision.Look(o.output, header); err != nil {
		return err
	}
	t, w, err := a.openWrapper(ctx, cfg)
	if err != nil {
		return err
	}
	defer t.Close() // what it made is in the file by then
	header.Module = moduleName(t.Module())
	if header.Check, err = provision.SelfTest(ctx, w, header.Secrets, header.Product); err != nil {
		return err
	}
	file, err := provision.Open(o.output, header, serials)
	if damage, ok := errors.AsType[*verdict.Error](err); ok && !errors.Is(err, provision.ErrOther) {
		return &release.InputError{Path: o.output, Err: damage}
	}
	if err != nil {
		return err
	}
	result := provisioned{
		Schema: "otapack.provision/1", Product: header.Product, Output: o.output, Devices: len(serials), Records: file.Records(),
		TornBytes: file.Torn(), Check: header.Check,
	}
	if file.Done() > 0 || file.Torn() > 0 {
		a.say("%s has %d of %d records already", o.output, file.Done(), file.Records())
	}
	before := file.Done()
	err = a.fill(ctx, file, w)
	result.Made = file.Done() - before
	if err = errors.Join(err, file.Close()); err != nil {
		a.say("%d of %d records are in %s; the same command goes on from there", file.Done(), file.Records(), o.output)
		return err
	}
	// The keys are looked up anew when a session was lost: they must not have
	// been exchanged meanwhile.
	after, err := provision.SelfTest(ctx, w, header.Secrets, header.Product)
	if err != nil {
		return err
	}
	if err := header.CheckKeys(after); err != nil {
		return fmt.Errorf("the token's keys were exchanged during the run: %w", err)
	}
	if o.publicDir != "" {
		if result.PublicKeys, err = writePublicKeys(o.publicDir, o.output); err != nil {
			return err
		}
		a.say("%d public keys are in %s", result.PublicKeys, o.publicDir)
	}
	a.say("%d devices: %d records in %s, %d of them made now", result.Devices, result.Records, o.output, result.Made)
	return a.result(result, o.output+"\n")
}

// fill shows how far it is.
func (a *app) fill(ctx context.Context, file *provision.File, w *hsm.Wrapper) error {
	if a.quiet {
		return file.Fill(ctx, w, provisionSessions, func(int) {})
	}
	start, before := time.Now(), file.Done()
	p := term.StartProgress(os.Stderr, "records "+term.Meter(0, file.Records()-before, 0))
	defer p.Stop()
	return file.Fill(ctx, w, provisionSessions, func(done int) {
		p.Set("records " + term.Meter(done-before, file.Records()-before, time.Since(start)))
	})
}

// provisionConfig reads the project file and insists on its section.
func (a *app) provisionConfig() (*config.Config, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	if cfg.Provision == nil {
		return nil, fmt.Errorf("%s: %w", cfg.File(), errNoProvision)
	}
	for _, key := range []struct{ path, uri string }{{"provision.transport", cfg.Provision.Transport}, {"provision.master", cfg.Provision.Master}} {
		uri, err := hsm.ParseURI(key.uri)
		switch {
		case key.uri == "": // no secret is derived
		case err != nil:
			return nil, err
		case uri.Object == "" && len(uri.ID) == 0:
			return nil, cfg.Errorf(key.path, "names no key: it needs an object or an id")
		case uri.Type != "" && uri.Type != "secret-key":
			return nil, cfg.Errorf(key.path, "type is %s, want secret-key", uri.Type)
		}
	}
	return cfg, nil
}

func (o provisionOptions) serials() ([]string, error) {
	if o.devices == "" {
		serials, err := provision.Enumerate(o.format, o.first, o.count)
		if err != nil {
			return nil, usageError{err}
		}
		return serials, nil
	}
	f, _, err := openInput(o.devices)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	serials, err := provision.ReadSerials(f)
	if err != nil {
		return nil, inputError(o.devices, err)
	}
	return serials, nil
}

func secretsOf(p *config.Provision) []provision.Secret {
	var secrets []provision.Secret
	for _, s := range p.Secrets {
		secrets = append(secrets, provision.Secret{Component: s.Component, Purpose: s.Purpose, Kind: provision.Kind(s.Kind), Bytes: s.Bytes})
	}
	return secrets
}

func hasKind(secrets []provision.Secret, kind provision.Kind) bool {
	for _, s := range secrets {
		if s.Kind == kind {
			return true
		}
	}
	return false
}

// provisionKeyError marks errors about the master key and the transport key,
// which are made by other commands than signing keys.
type provisionKeyError struct{ error }

func (e provisionKeyError) Unwrap() error { return e.error }

// openWrapper opens the token and finds the keys on it.
func (a *app) openWrapper(ctx context.Context, cfg *config.Config) (*hsm.Token, *hsm.Wrapper, error) {
	p := cfg.Provision
	spec := hsm.WrapperSpec{Size: 16} // of a recipient: P-256 is as strong as a key of 16 bytes
	for _, s := range p.Secrets {
		if s.Kind != config.Recipient {
			spec.Size = max(spec.Size, s.Bytes)
		}
		spec.Generate = spec.Generate || s.Kind == config.Generate
	}
	var err error
	if spec.Transport, err = hsm.ParseURI(p.Transport); err != nil {
		return nil, nil, err
	}
	if p.Master != "" {
		if spec.Master, err = hsm.ParseURI(p.Master); err != nil {
			return nil, nil, err
		}
	}
	t, err := a.openToken(ctx, cfg, p.Token, true)
	if err != nil {
		return nil, nil, err
	}
	w, err := t.Wrapper(ctx, spec)
	if err != nil {
		return nil, nil, errors.Join(provisionKeyError{err}, t.Close())
	}
	if transport, _ := w.Keys(); transport.Opens == hsm.Yes {
		a.say("warning: the transport key may also unwrap or decrypt: whoever may use the token can read what is wrapped under it")
	}
	return t, w, nil
}

// moduleName is what records call the module.
func moduleName(m hsm.ModuleInfo) string {
	var words []string
	for _, s := range []string{m.Manufacturer, m.Description, m.Version} {
		if s = provision.Printable(s); s != "" {
			words = append(words, s)
		}
	}
	return provision.Printable(strings.Join(words, " "))
}

func writePublicKeys(dir, records string) (int, error) {
	f, _, err := openInput(records)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return provision.WritePublicKeys(dir, f)
}
