package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) keyCheckCommand() *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use:   "check [<alias>]...",
		Short: "Check the signing keys on their tokens",
		Long: `Check keys of the project file, all that have a token or those given by alias:

  - exactly one key on the token has the name, and its public half is the pinned one
  - the private half cannot be extracted or read, and can sign and nothing else
  - the record of the ceremony, if there is one beside the public half, verifies
    with the pinned key and says what the token says now

Attributes are what the module says, yes, no or unknown: good for finding
mistakes, no proof. Unknown ones are reported and not refused. A key that was
not generated in its token, or could be extracted once, is a warning.

With --offline no token is opened: each key needs a record, and the attributes are
those that it has.`,
		Example: `  otapack key check
  otapack key check --offline fw-2026`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.keyCheck(cmd.Context(), args, offline) },
	}
	c.Flags().BoolVar(&offline, "offline", false, "open no token: check the ceremony records alone")
	return c
}

// checkedKey is what was found out about a key.
type checkedKey struct {
	Alias      string                 `json:"alias"`
	Token      string                 `json:"token"`
	Status     string                 `json:"status"` // "ok", "refused" or "unusable"
	KeyID      string                 `json:"key_id,omitempty"`
	URI        string                 `json:"uri,omitempty"`
	Curve      string                 `json:"curve,omitempty"`
	Attributes *ceremonyAttributeView `json:"attributes,omitempty"`
	Record     string                 `json:"record,omitempty"` // file of the ceremony record, when there is one
	Findings   []keyFinding           `json:"findings"`
	Error      string                 `json:"error,omitempty"` // why it is unusable
}

// Severities of a keyFinding.
const (
	severityRefused = "refused"
	severityWarning = "warning"
	severityUnknown = "unknown" // the module does not tell
)

type keyFinding struct {
	Severity string         `json:"severity"`
	Reason   verdict.Reason `json:"reason,omitempty"`
	Detail   string         `json:"detail"`
}

type keyCheckResult struct {
	Schema string       `json:"schema"`
	Keys   []checkedKey `json:"keys"`
}

// keyCheckError carries what was found to the output.
type keyCheckError struct {
	error
	keys []checkedKey
}

func (e keyCheckError) Unwrap() error    { return e.error }
func (e keyCheckError) addTo(f *failure) { f.Keys = e.keys }

func (a *app) keyCheck(ctx context.Context, aliases []string, offline bool) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	keys, err := keysToCheck(cfg, aliases)
	if err != nil {
		return err
	}
	checked := make([]checkedKey, len(keys))
	var failures []error
	if offline {
		failures = checkRecords(cfg, keys, checked)
	} else if failures, err = a.checkTokens(ctx, cfg, keys, checked); err != nil {
		return err
	}
	text, err := checkText(checked)
	if err != nil {
		return err
	}
	var refused []release.Finding
	for _, k := range checked {
		for _, f := range k.Findings {
			switch f.Severity {
			case severityRefused:
				refused = append(refused, release.Finding{Reason: f.Reason, Object: "key " + k.Alias, Detail: f.Detail})
			case severityWarning:
				a.say("warning: key %s: %s (%s)", k.Alias, f.Detail, f.Reason)
			default:
				a.say("key %s: %s", k.Alias, f.Detail)
			}
		}
	}
	if len(failures) == 0 && len(refused) == 0 {
		return a.result(keyCheckResult{"otapack.key-check/1", checked}, text)
	}
	if !a.json {
		fmt.Fprint(a.stdout, text)
	}
	if len(failures) == 0 {
		return keyCheckError{&release.PolicyError{Findings: refused}, checked}
	}
	for _, f := range refused {
		a.say("%s", f)
	}
	return keyCheckError{errors.Join(failures...), checked}
}

func keysToCheck(cfg *config.Config, aliases []string) ([]config.Key, error) {
	var keys []config.Key
	for i, alias := range aliases {
		k, err := signingKey(cfg, alias)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(aliases[:i], alias) {
			keys = append(keys, k)
		}
	}
	if len(aliases) > 0 {
		return keys, nil
	}
	for _, k := range cfg.Keys {
		if k.Token != "" {
			keys = append(keys, k)
		}
	}
	return keys, nil // not empty: the project file has rules, and they need keys that sign
}

// checkRecords fills in what the records alone say. A key that is not what it
// should be is among failures.
func checkRecords(cfg *config.Config, keys []config.Key, checked []checkedKey) (failures []error) {
	for i, k := range keys {
		c, err := newCheckedKey(k, func(c *checkedKey) error { return c.checkOffline(cfg, k) })
		if err != nil {
			failures = append(failures, err)
		}
		checked[i] = c
	}
	return failures
}

// checkTokens fills in the keys, one token after the other.
func (a *app) checkTokens(ctx context.Context, cfg *config.Config, keys []config.Key, checked []checkedKey) (failures []error, err error) {
	for _, token := range cfg.HSM.Tokens {
		errs, err := a.checkToken(ctx, cfg, token.Name, keys, checked)
		if err != nil {
			return nil, fmt.Errorf("token %s: %w", token.Name, err)
		}
		failures = append(failures, errs...)
	}
	return failures, nil
}

// checkToken fills in the keys of one token, which it opens if there are any. A
// key that is not what it should be is among failures; err means that nothing
// can be said.
func (a *app) checkToken(ctx context.Context, cfg *config.Config, alias string, keys []config.Key, checked []checkedKey) (failures []error, err error) {
	if !slices.ContainsFunc(keys, func(k config.Key) bool { return k.Token == alias }) {
		return nil, nil
	}
	t, err := a.openToken(ctx, cfg, alias, true)
	if err != nil {
		return nil, err
	}
	defer t.Close() // read only
	infos, err := t.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		if k.Token != alias {
			continue
		}
		c, err := newCheckedKey(k, func(c *checkedKey) error { return c.check(ctx, cfg, t, infos, k) })
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			failures = append(failures, err)
		}
		checked[i] = c
	}
	return failures, nil
}

// newCheckedKey sums up what a check finds.
func newCheckedKey(k config.Key, check func(*checkedKey) error) (checkedKey, error) {
	c := checkedKey{Alias: k.Name, Token: k.Token, Status: "ok", Findings: []keyFinding{}}
	err := check(&c)
	switch {
	case err != nil:
		c.Status, c.Error = "unusable", err.Error()
		return c, fmt.Errorf("key %s: %w", k.Name, err)
	case slices.ContainsFunc(c.Findings, func(f keyFinding) bool { return f.Severity == severityRefused }):
		c.Status = severityRefused
	}
	return c, nil
}

func (c *checkedKey) check(ctx context.Context, cfg *config.Config, t *hsm.Token, infos []hsm.KeyInfo, k config.Key) error {
	pinned, err := pinnedKey(cfg, k)
	if err != nil {
		return err
	}
	c.KeyID = pinned.ID().String()
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return err
	}
	// A signer for exactly one key with the pinned public half, as a release
	// needs it.
	if _, err := t.Signer(ctx, uri, pinned); err != nil {
		return err
	}
	info, err := oneKey(infos, uri, pinned)
	if err != nil {
		return err
	}
	c.URI = info.URI.String()
	now := keyStatements(info)
	now.Public = pinned // not every token has the public half
	c.describe(now)
	recorded, err := c.checkRecord(cfg, k, pinned)
	if recorded != nil {
		c.compare(*recorded, now)
	}
	return err
}

// compare holds what the token says now against the record.
func (c *checkedKey) compare(recorded, now ceremony.Key) {
	for _, d := range recorded.Differences(now) {
		c.refuse(verdict.CeremonyDiffers, "%s was recorded as %s and is %s", d.Name, d.Recorded, d.Found)
	}
}

// checkOffline takes the word of the record, which has to be there.
func (c *checkedKey) checkOffline(cfg *config.Config, k config.Key) error {
	pinned, err := pinnedKey(cfg, k)
	if err != nil {
		return err
	}
	c.KeyID = pinned.ID().String()
	recorded, err := c.checkRecord(cfg, k, pinned)
	switch {
	case err != nil:
		return err
	case recorded != nil:
		c.describe(*recorded)
	case c.Record == "":
		c.refuse(verdict.CeremonyMissing, "there is no %s", relative(filesOf(cfg.Resolve(k.Public)).record))
	}
	return nil
}

// describe notes what is said of a key, and what is wrong with that.
func (c *checkedKey) describe(k ceremony.Key) {
	attributes := ceremonyAttributeView(k.Attributes)
	c.Curve, c.Attributes = k.CurveName(), &attributes
	c.Findings = append(c.Findings, attributeFindings(k.Attributes)...)
}

func (c *checkedKey) refuse(reason verdict.Reason, format string, args ...any) {
	c.Findings = append(c.Findings, keyFinding{severityRefused, reason, fmt.Sprintf(format, args...)})
}

// attributeFindings holds attributes against what a signing key should have.
func attributeFindings(at ceremony.Attributes) []keyFinding {
	var list []keyFinding
	var unknown []string
	for _, rule := range []struct {
		name     string
		state    ceremony.State
		bad      ceremony.State
		severity string
		reason   verdict.Reason
	}{
		{"CKA_EXTRACTABLE", at.Extractable, ceremony.Yes, severityRefused, verdict.KeyExtractable},
		{"CKA_SENSITIVE", at.Sensitive, ceremony.No, severityRefused, verdict.KeyNotSensitive},
		{"CKA_SIGN", at.Sign, ceremony.No, severityRefused, verdict.KeyNotSignOnly},
		{"CKA_DECRYPT", at.Decrypt, ceremony.Yes, severityRefused, verdict.KeyNotSignOnly},
		{"CKA_UNWRAP", at.Unwrap, ceremony.Yes, severityRefused, verdict.KeyNotSignOnly},
		{"CKA_DERIVE", at.Derive, ceremony.Yes, severityRefused, verdict.KeyNotSignOnly},
		{"CKA_NEVER_EXTRACTABLE", at.NeverExtractable, ceremony.No, severityWarning, verdict.KeyWasOutside},
		{"CKA_ALWAYS_SENSITIVE", at.AlwaysSensitive, ceremony.No, severityWarning, verdict.KeyWasOutside},
		{"CKA_LOCAL", at.Local, ceremony.No, severityWarning, verdict.KeyNotLocal}, // NSS says so of keys that it made
	} {
		switch rule.state {
		case rule.bad:
			list = append(list, keyFinding{rule.severity, rule.reason, fmt.Sprintf("%s is %s", rule.name, rule.state)})
		case ceremony.Unknown:
			unknown = append(unknown, rule.name)
		case ceremony.Yes, ceremony.No:
		}
	}
	if unknown != nil {
		list = append(list, keyFinding{Severity: severityUnknown, Detail: "the module does not tell " + strings.Join(unknown, ", ")})
	}
	return list
}

// checkRecord verifies the record of a key's ceremony and returns what it says of
// the key, nil when there is none or it is refused.
func (c *checkedKey) checkRecord(cfg *config.Config, k config.Key, pinned sign.PublicKey) (*ceremony.Key, error) {
	files := filesOf(cfg.Resolve(k.Public))
	data, err := readInput(files.record, maxDocument)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	c.Record = relative(files.record)
	v, err := ceremony.Verify(data, pinned)
	if err != nil {
		reason := verdict.Of(err) // which every finding is followed by
		c.refuse(reason, "%s: %s", c.Record, strings.Replace(err.Error(), fmt.Sprintf(" (%s)", reason), "", 1))
		return nil, nil
	}
	recorded := v.Record().Key
	for _, use := range usesOf(cfg, k.Name) {
		if recorded.Usage != "" && string(use) != recorded.Usage {
			c.refuse(verdict.KeyUsage, "it was made for role %s, %s uses it for role %s", recorded.Usage, cfg.File(), use)
		}
	}
	want, err := v.Record().Text()
	if err != nil {
		return nil, err
	}
	text, err := readInput(files.text, maxDocument)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case string(text) != want:
		c.refuse(verdict.CeremonyDiffers, "%s is not the text of %s", relative(files.text), c.Record)
	}
	return &recorded, nil
}

func checkText(keys []checkedKey) (string, error) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ALIAS\tCURVE\tLOCAL\tSENSITIVE\tEXTRACTABLE\tSIGN ONLY\tRECORD\tRESULT")
	for _, k := range keys {
		var at ceremonyAttributeView
		if k.Attributes != nil {
			at = *k.Attributes
		}
		result := k.Status
		var reasons []string
		for _, f := range k.Findings {
			if f.Severity == severityRefused && !slices.Contains(reasons, string(f.Reason)) {
				reasons = append(reasons, string(f.Reason))
			}
		}
		if reasons != nil {
			result += ": " + strings.Join(reasons, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Alias, orDash(k.Curve), at.Local, at.Sensitive, at.Extractable, at.signOnly(), orDash(k.Record), result)
	}
	err := w.Flush()
	return b.String(), err
}

// signOnly sums up what a key may be used for.
func (at ceremonyAttributeView) signOnly() ceremony.State {
	others := []ceremony.State{at.Decrypt, at.Unwrap, at.Derive}
	switch {
	case at.Sign == ceremony.No || slices.Contains(others, ceremony.Yes):
		return ceremony.No
	case at.Sign == ceremony.Unknown || slices.Contains(others, ceremony.Unknown):
		return ceremony.Unknown
	}
	return ceremony.Yes
}
