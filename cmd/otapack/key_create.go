package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

func (a *app) keyCreateCommand() *cobra.Command {
	var spec, algorithm string
	var people ceremony.Ceremony
	c := &cobra.Command{
		Use:   "create {<alias>... | --spec <file>}",
		Short: "Generate signing keys inside their tokens",
		Long: `Generate keys inside their tokens: those that the project file names, or those of
a key specification, a YAML file that also says who is there and why (see
docs/keys.md). A key can sign and nothing else, and cannot be extracted. After
generation the attributes are read back and a trial signature is verified; a key
that fails is deleted again.

The public half is written to the file that the project file pins. Beside it go
the record of the ceremony, <name>.ceremony.cbor, signed with the new key, and
the same as text, <name>.ceremony.txt.

An existing key or file is never overwritten: labels, ids and files of all keys
are looked for before the first key is made.`,
		Example: `  otapack key create fw-2026 release-2026 --operator "Ada Lovelace"
  otapack key create --spec keys/ceremony-2026.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if spec == "" {
				return a.keyCreateByAlias(cmd.Context(), args, algorithm, people)
			}
			if len(args) > 0 {
				return usagef("--spec names the keys, so that %q cannot be given too", args[0])
			}
			for _, flag := range []string{"algorithm", "operator", "witness", "purpose", "place"} {
				if cmd.Flags().Changed(flag) {
					return usagef("--%s does not go with --spec, which says it", flag)
				}
			}
			return a.keyCreateBySpec(cmd.Context(), spec)
		},
	}
	f := c.Flags()
	f.StringVar(&spec, "spec", "", "key specification, a YAML `file`")
	f.StringVar(&algorithm, "algorithm", sign.ESP256.String(), "signature `algorithm`: esp256 (P-256) or esp384 (P-384)")
	f.StringArrayVar(&people.Operators, "operator", nil, "`name` for the record: who makes the keys (repeatable)")
	f.StringArrayVar(&people.Witnesses, "witness", nil, "`name` for the record: who watches (repeatable)")
	f.StringVar(&people.Purpose, "purpose", "", "`text` for the record: what the keys are for")
	f.StringVar(&people.Place, "place", "", "`text` for the record: where this happens")
	return c
}

// plannedKey is a key to be made.
type plannedKey struct {
	name  string // alias or label
	alias string // may be empty
	token string // alias
	usage string // for the record, may be empty
	hsm.KeySpec
	files keyFiles
}

// keyFiles are the paths of what is written about a key. All are in one folder.
type keyFiles struct{ public, record, text string }

// filesOf puts the record of a ceremony beside the public half: fw.pub.pem and
// fw.ceremony.cbor.
func filesOf(public string) keyFiles {
	stem := strings.TrimSuffix(public, filepath.Ext(public))
	stem = strings.TrimSuffix(stem, ".pub")
	return keyFiles{public, stem + ".ceremony.cbor", stem + ".ceremony.txt"}
}

func (f keyFiles) all() []string { return []string{f.public, f.record, f.text} }

// checkUnused refuses files that exist, and a folder that they cannot be written
// to: a key on the token without them is half a key.
func (f keyFiles) checkUnused() error {
	for _, file := range f.all() {
		switch _, err := os.Lstat(file); {
		case err == nil:
			return fmt.Errorf("its file %s: %w", relative(file), fs.ErrExist)
		case !errors.Is(err, fs.ErrNotExist):
			return inputError(relative(file), err)
		}
	}
	probe := atomicfile.NewSet(filepath.Dir(f.public))
	err := probe.Write(filepath.Base(f.public), nil)
	return errors.Join(err, probe.Abort())
}

func (a *app) keyCreateByAlias(ctx context.Context, aliases []string, algorithm string, people ceremony.Ceremony) error {
	if len(aliases) == 0 {
		return usagef("name the keys to make, or pass --spec")
	}
	alg, err := sign.ParseAlgorithm(algorithm)
	if err == nil && !alg.Prehashed() {
		err = fmt.Errorf("%s keys are not made in tokens: %w", alg, sign.ErrAlgorithm)
	}
	if err != nil {
		return usagef("--algorithm: %w", err)
	}
	if err := people.Check(); err != nil {
		return usageError{err}
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	var keys []plannedKey
	for i, alias := range aliases {
		if slices.Contains(aliases[:i], alias) {
			return usagef("key %s is named twice", alias)
		}
		k, err := planAlias(cfg, alias)
		if err != nil {
			return err
		}
		k.Algorithm = alg
		if uses := usesOf(cfg, alias); len(uses) == 1 {
			k.usage = string(uses[0])
		}
		if err := checkChips(cfg, k); err != nil {
			return err
		}
		keys = append(keys, k)
	}
	return a.keyCreate(ctx, cfg, keys, people, nil)
}

func (a *app) keyCreateBySpec(ctx context.Context, path string) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	spec, err := config.LoadKeySpec(path)
	switch {
	case isConfig(err):
		return err
	case err != nil:
		return inputError(path, err)
	}
	people := ceremony.Ceremony{Operators: spec.Operators, Witnesses: spec.Witnesses, Purpose: spec.Purpose, Place: spec.Place}
	if err := people.Check(); err != nil {
		return spec.Errorf("", "%v", err)
	}
	var keys []plannedKey
	for i, n := range spec.Keys {
		k, err := planSpecified(cfg, spec, fmt.Sprintf("keys[%d]", i), n)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	digest := ceremony.Digest(spec.Digest)
	return a.keyCreate(ctx, cfg, keys, people, &digest)
}

// planAlias takes a key from the project file, without its algorithm.
func planAlias(cfg *config.Config, alias string) (plannedKey, error) {
	k, err := signingKey(cfg, alias)
	if err != nil {
		return plannedKey{}, err
	}
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return plannedKey{}, err
	}
	if uri.Object == "" {
		return plannedKey{}, cfg.Errorf("keys."+alias+".uri", "has no object: a new key needs a label")
	}
	return plannedKey{
		name: alias, alias: alias, token: k.Token,
		KeySpec: hsm.KeySpec{Label: uri.Object, ID: uri.ID}, files: filesOf(cfg.Resolve(k.Public)),
	}, nil
}

// planSpecified takes a key from a specification and holds it against the
// project file.
func planSpecified(cfg *config.Config, spec *config.KeySpec, path string, n config.NewKey) (plannedKey, error) {
	algorithm := sign.ESP256
	if n.Curve == sign.ESP384.Curve().Params().Name {
		algorithm = sign.ESP384
	}
	if n.Alias == "" {
		if _, ok := cfg.Token(n.Token); !ok {
			return plannedKey{}, spec.Errorf(path+".token", "%s has no token %q", cfg.File(), n.Token)
		}
		for _, k := range cfg.Keys {
			if uri, err := hsm.ParseURI(k.URI); err == nil && k.Token == n.Token && uri.Object == n.Label {
				return plannedKey{}, spec.Errorf(path+".label", "%s calls this key %s: write alias: %s", cfg.File(), k.Name, k.Name)
			}
		}
		return plannedKey{
			name: n.Label, token: n.Token, usage: n.Usage,
			KeySpec: hsm.KeySpec{Label: n.Label, ID: n.ID, Algorithm: algorithm}, files: filesOf(spec.Resolve(n.Public)),
		}, nil
	}
	if _, ok := cfg.Key(n.Alias); !ok {
		return plannedKey{}, spec.Errorf(path+".alias", "%s has no key %q", cfg.File(), n.Alias)
	}
	k, err := planAlias(cfg, n.Alias)
	if err != nil {
		return k, err
	}
	switch {
	case n.ID != nil && len(k.ID) > 0 && string(n.ID) != string(k.ID):
		return k, spec.Errorf(path+".id", "is %x, the uri of %s in %s has %x", n.ID, n.Alias, cfg.File(), k.ID)
	case n.ID != nil:
		k.ID = n.ID
	}
	for _, use := range usesOf(cfg, n.Alias) {
		if string(use) != n.Usage {
			return k, spec.Errorf(path+".usage", "is %s, %s uses %s for role %s", n.Usage, cfg.File(), n.Alias, use)
		}
	}
	k.Algorithm, k.usage = algorithm, n.Usage
	return k, checkChips(cfg, k)
}

// usesOf tells for which roles the project file uses a key: none, one or more.
func usesOf(cfg *config.Config, alias string) []sign.Role {
	in := func(r config.Rule) bool { return slices.Contains(r.Sign, alias) || slices.Contains(r.Trust, alias) }
	var uses []sign.Role
	if in(cfg.Signing.Manifest) || slices.ContainsFunc(cfg.Components, func(c config.Component) bool { return in(c.Signing) }) {
		uses = append(uses, sign.RoleManifest)
	}
	if in(cfg.Signing.Release) {
		uses = append(uses, sign.RoleRelease)
	}
	if slices.ContainsFunc(cfg.Components, func(c config.Component) bool {
		r, ok := c.DeviceSigning()
		return ok && in(r)
	}) {
		uses = append(uses, sign.RoleImage)
	}
	return uses
}

// checkChips refuses a key that a bootloader which is to trust it cannot use.
func checkChips(cfg *config.Config, k plannedKey) error {
	for _, c := range cfg.Components {
		if k.alias == "" || !slices.Contains(c.Signing.Trust, k.alias) && !slices.Contains(c.Signing.Sign, k.alias) {
			continue
		}
		path := "components." + c.Name + ".chip"
		chip, err := release.ChipOf(c)
		if err != nil {
			return cfg.Errorf(path, "%v", err)
		}
		if chip.Algorithm != k.Algorithm {
			return fmt.Errorf("%w: %w", cfg.Errorf(path, "the bootloader of %s verifies %s, key %s would be for %s", chip.Name, chip.Algorithm, k.name, k.Algorithm), sign.ErrCurve)
		}
	}
	return nil
}

// keyCreate makes keys after it has looked for all that could be in their way.
func (a *app) keyCreate(ctx context.Context, cfg *config.Config, keys []plannedKey, people ceremony.Ceremony, spec *ceremony.Digest) error {
	if err := checkDistinct(keys); err != nil {
		return err
	}
	for _, k := range keys {
		if err := k.files.checkUnused(); err != nil {
			return fmt.Errorf("key %s: %w", k.name, err)
		}
	}
	tokens := map[string]*hsm.Token{}
	defer func() {
		for _, t := range tokens {
			_ = t.Close() // the keys are made and verified by then
		}
	}()
	for _, k := range keys {
		if tokens[k.token] == nil {
			t, err := a.openToken(ctx, cfg, k.token, true)
			if err != nil {
				return fmt.Errorf("key %s: %w", k.name, err)
			}
			tokens[k.token] = t
		}
		if err := tokens[k.token].CheckUnused(ctx, k.KeySpec); err != nil {
			return fmt.Errorf("key %s: %w", k.name, err)
		}
	}
	result := keysResult{Schema: "otapack.key-create/1"}
	var text strings.Builder
	for _, k := range keys {
		r, err := a.createKey(ctx, tokens[k.token], k, ceremony.Record{Ceremony: people, Spec: spec})
		if err != nil {
			return fmt.Errorf("key %s: %w", k.name, err)
		}
		result.Keys = append(result.Keys, r)
		a.say("created %s (%s, not extractable) on token %s, public half in %s, record in %s", k.name, r.Curve, k.token, relative(k.files.public), relative(k.files.record))
		fmt.Fprintln(&text, r.KeyID)
	}
	return a.result(result, text.String())
}

// checkDistinct finds two keys of one ceremony that would be one, or whose files
// would.
func checkDistinct(keys []plannedKey) error {
	for i, k := range keys {
		for _, o := range keys[:i] {
			what := ""
			switch {
			case k.token == o.token && k.Label == o.Label:
				what = "label"
			case k.token == o.token && len(k.ID) > 0 && string(k.ID) == string(o.ID):
				what = "id"
			case slices.ContainsFunc(k.files.all(), func(f string) bool { return slices.Contains(o.files.all(), f) }):
				what = "file"
			default:
				continue
			}
			return fmt.Errorf("keys %s and %s would have the same %s: %w", o.name, k.name, what, hsm.ErrKeySpec)
		}
	}
	return nil
}

// signingKey looks an alias up that has a private half.
func signingKey(cfg *config.Config, alias string) (config.Key, error) {
	k, ok := cfg.Key(alias)
	switch {
	case !ok:
		return k, usagef("%s has no key %q", cfg.File(), alias)
	case k.Token == "":
		return k, cfg.Errorf("keys."+alias, "has no token: it only verifies")
	}
	return k, nil
}

// createKey makes a key and writes what there is to say about it. The record
// comes with what the operators said.
func (a *app) createKey(ctx context.Context, t *hsm.Token, k plannedKey, record ceremony.Record) (keyResult, error) {
	info, err := t.Generate(ctx, k.KeySpec)
	if err != nil {
		return keyResult{}, err
	}
	if err := writeKey(ctx, t, k, info, record); err != nil {
		return keyResult{}, fmt.Errorf("it was made and is on the token, but its files were not written: %w", err)
	}
	r := newKeyResult(info)
	r.Alias, r.Pinned, r.Record = k.alias, relative(k.files.public), relative(k.files.record)
	return r, nil
}

func writeKey(ctx context.Context, t *hsm.Token, k plannedKey, info hsm.KeyInfo, record ceremony.Record) error {
	digest, err := fileDigest(t.Module().Path)
	if err != nil {
		return err
	}
	record.Tool = ceremony.Printable("otapack " + toolVersion())
	record.Time = time.Now()
	record.Module, record.Token = moduleStatements(t.Module(), digest), tokenStatements(t.Info())
	record.Key = keyStatements(info)
	record.Key.Usage = k.usage
	signer, err := t.Signer(ctx, info.URI, info.Public)
	if err != nil {
		return err
	}
	signed, err := ceremony.Sign(ctx, record, signer)
	if err != nil {
		return err
	}
	text, err := record.Text()
	if err != nil {
		return err
	}
	set := atomicfile.NewSet(filepath.Dir(k.files.public))
	defer set.Abort() // nothing is left after Commit
	for _, f := range []struct {
		path string
		data []byte
	}{{k.files.public, info.Public.PEM()}, {k.files.record, signed}, {k.files.text, []byte(text)}} {
		if err := set.Write(filepath.Base(f.path), f.data); err != nil {
			return err
		}
	}
	return set.Commit()
}

func fileDigest(path string) (ceremony.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return ceremony.Digest{}, inputError(path, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ceremony.Digest{}, inputError(path, err)
	}
	return ceremony.Digest(h.Sum(nil)), nil
}

func moduleStatements(m hsm.ModuleInfo, digest ceremony.Digest) ceremony.Module {
	return ceremony.Module{
		Manufacturer: ceremony.Printable(m.Manufacturer), Description: ceremony.Printable(m.Description),
		Version: ceremony.Printable(m.Version), Cryptoki: ceremony.Printable(m.Cryptoki), SHA256: digest,
	}
}

func tokenStatements(t hsm.TokenInfo) ceremony.Token {
	return ceremony.Token{
		Label: ceremony.Printable(t.Label), Serial: ceremony.Printable(t.Serial), Model: ceremony.Printable(t.Model),
		Manufacturer: ceremony.Printable(t.Manufacturer), Firmware: ceremony.Printable(t.Firmware), Hardware: ceremony.Printable(t.Hardware),
	}
}

// keyStatements is what the module says of a key, as a record has it.
func keyStatements(k hsm.KeyInfo) ceremony.Key {
	at := k.Attributes
	return ceremony.Key{
		Label: ceremony.Printable(k.Label), ID: k.ID, Public: k.Public, Mechanism: ceremony.Printable(k.Mechanism),
		Attributes: ceremony.Attributes{
			Local:              recorded(at.Local),
			Sensitive:          recorded(at.Sensitive),
			AlwaysSensitive:    recorded(at.AlwaysSensitive),
			Extractable:        recorded(at.Extractable),
			NeverExtractable:   recorded(at.NeverExtractable),
			Sign:               recorded(at.Sign),
			Decrypt:            recorded(at.Decrypt),
			Unwrap:             recorded(at.Unwrap),
			Derive:             recorded(at.Derive),
			AlwaysAuthenticate: recorded(at.AlwaysAuthenticate),
		},
	}
}

func recorded(s hsm.State) ceremony.State {
	switch s {
	case hsm.No:
		return ceremony.No
	case hsm.Yes:
		return ceremony.Yes
	case hsm.Unknown:
	}
	return ceremony.Unknown
}
