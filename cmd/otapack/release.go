package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
)

// smallHeap is how much garbage there may be while patches are made, in percent of
// what is in use.
const smallHeap = 20

func (a *app) releaseCommand() *cobra.Command {
	var o releaseOptions
	c := &cobra.Command{
		Use:   "release --version <version>",
		Short: "Build, rehearse, sign, verify and write a release",
		Long: `Build a release from the project file: read the firmware, encrypt the payloads,
build the manifests and the release record, check the policy, have the reference
bootloaders of all chips accept everything with throwaway keys, and only then
sign on the token. The finished bundle is verified with the pinned keys before
anything is written; all files are written or none.

The sequence number is the devices' rollback counter. Unless --sequence says
otherwise it is one above the last release.

Where a component has "compress", its whole image is compressed; where it has
"delta", a patch is made for each of the named releases, with a manifest of its
own for devices that run that release. What is not smaller is left out. All other
devices take the whole image.

Running the same version again with the same inputs changes nothing. The same
version with other inputs is refused.`,
		Example: `  otapack release --version 1.4.2 --dry-run
  otapack release --version 1.4.2 --no-input --pin-file "$PIN_FILE" --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("sequence") {
				if o.sequence == 0 || o.sequence > math.MaxUint32 {
					return usagef("--sequence %d: want 1 to %d", o.sequence, uint32(math.MaxUint32))
				}
				n := uint32(o.sequence)
				o.Sequence = &n
			}
			if o.Version == "" {
				return usagef("--version is missing")
			}
			if _, err := manifest.ParseVersion(o.Version); err != nil {
				return usagef("--version: %w", err)
			}
			return a.release(cmd.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Version, "version", "", "`version` of the release, for example 1.4.2 or 1.5.0-rc.1")
	f.Uint64Var(&o.sequence, "sequence", 0, "sequence `number` instead of the next one")
	f.StringVarP(&o.OutDir, "output", "o", "", "`directory` for the release (default <output.dir>/<version>)")
	f.BoolVar(&o.dryRun, "dry-run", false, "stop before the token is opened; write nothing")
	return c
}

type releaseOptions struct {
	release.Options
	sequence uint64
	dryRun   bool
}

// released is the answer of --json.
type released struct {
	release.Record
	Status string `json:"status"` // "released", "unchanged" or "dry-run"
	Dir    string `json:"dir,omitempty"`
}

func (a *app) release(ctx context.Context, o releaseOptions) error {
	project, err := a.openProject()
	if err != nil {
		return err
	}
	plan, err := project.Load(o.Options)
	if err != nil {
		return err
	}
	existing, err := plan.Existing()
	if err != nil {
		return err
	}
	if existing != nil {
		return a.unchanged(ctx, project, plan, *existing, o.dryRun)
	}
	// Matching images leaves much behind that is soon of no use.
	before := debug.SetGCPercent(smallHeap)
	draft, err := plan.Build(ctx, rand.Reader)
	debug.SetGCPercent(before)
	if err != nil {
		return err
	}
	defer draft.Wipe()
	a.say("%s %s, sequence number %d", project.Config().Product.Name, plan.Version(), plan.Sequence())
	a.sayBuilt(draft.Record())
	for _, w := range draft.Warnings() {
		a.say("warning: %s", w)
	}
	rehearsed, err := draft.Rehearse(ctx)
	if err != nil {
		return err
	}
	a.say("rehearsed with throwaway keys: %d of %d components accepted by their bootloaders", len(draft.Record().Components), len(draft.Record().Components))
	if name := project.Unrehearsed(); name != "" && project.Config().Policy.Rehearse != config.RehearseOff {
		a.say("power loss is not rehearsed: %s has a vendor's bootloader", name)
	}
	if loss := rehearsed.PowerLoss(); loss != nil {
		a.say("rehearsed power loss at %d of %d flash operations: %d runs, none fails", loss.CutPoints, loss.Operations, loss.Runs)
	}
	if o.dryRun {
		a.say("dry run: nothing signed, nothing written")
		return a.result(released{draft.Record(), "dry-run", ""}, "")
	}
	signed, err := a.sign(ctx, project, rehearsed)
	if err != nil {
		return err
	}
	verified, err := signed.Verify(ctx)
	if err != nil {
		return err
	}
	if err := verified.Write(); err != nil {
		return err
	}
	record := verified.Record()
	a.say("signed and verified: %d signatures, %d components", len(record.Signatures), len(record.Components))
	return a.result(released{record, "released", plan.OutDir()}, outputs(plan, record))
}

func outputs(plan *release.Plan, r release.Record) string {
	var b strings.Builder
	for _, f := range r.Outputs {
		fmt.Fprintln(&b, relative(filepath.Join(plan.OutDir(), f.Path)))
	}
	return b.String()
}

func (a *app) sayBuilt(r release.Record) {
	for _, c := range r.Components {
		how := "plain"
		if n := len(c.Recipients); n == 1 {
			how = "encrypted to 1 key"
		} else if n > 1 {
			how = fmt.Sprintf("encrypted to %d keys", n)
		}
		what := fmt.Sprintf("template %s, %s", c.Template, bytesText(int64(c.Payload.Size)))
		switch c.Format {
		case config.FormatMCUboot:
			what = "MCUboot image"
		case config.FormatNRFDFU:
			what = "nRF5 DFU package"
		}
		a.say("built %-8s %s, %s, revision %s, %s, %s", c.Name, c.Version, c.Chip, c.Revision, what, how)
		for _, line := range codingText(c) {
			a.say("      %-8s %s", c.Name, line)
		}
	}
}

// codingText says how a component gets smaller: the whole image first, then each
// patch, and in the end what was left out.
func codingText(c release.ComponentRecord) []string {
	var lines []string
	part := func(n, of uint32) string {
		return fmt.Sprintf("%d %%", (100*uint64(n)+uint64(of)/2)/max(uint64(of), 1))
	}
	if d := c.Decoding; d != nil {
		lines = append(lines, fmt.Sprintf("whole: %s of %s (%s), %s", bytesText(int64(c.Payload.Size)), bytesText(int64(c.Image.Size)), part(c.Payload.Size, c.Image.Size), decodingText(*d)))
	}
	for _, v := range c.Variants {
		line := fmt.Sprintf("from %s: %s (%s of the whole), %s", v.From, bytesText(int64(v.Payload.Size)), part(v.Payload.Size, c.Payload.Size), decodingText(v.Decoding))
		if !v.Recorded {
			line += fmt.Sprintf("; no record of release %s tells whether %s is what devices have", v.Release, v.Source)
		}
		lines = append(lines, line)
	}
	for _, l := range c.NotSmaller {
		what := "whole"
		if len(l.From) > 0 {
			what = "from " + l.From.String()
		}
		lines = append(lines, fmt.Sprintf("%s: %s as %s, which is not smaller: left out", what, bytesText(int64(l.Size)), l.Coding))
	}
	return lines
}

func decodingText(d release.DecodingRecord) string {
	text := d.Coding
	if d.Window > 0 {
		text += ", window " + bytesText(int64(d.Window))
	}
	return text + ", decoder RAM " + bytesText(int64(d.DecoderRAM))
}

// unchanged answers for a version that was released before from the same
// inputs, after verifying it once more.
func (a *app) unchanged(ctx context.Context, project *release.Project, plan *release.Plan, r release.Record, dryRun bool) error {
	f, err := os.Open(filepath.Join(plan.OutDir(), r.Outputs[0].Path))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, err := project.VerifyBundle(ctx, f, r.Outputs[0].Size, release.VerifyOptions{MinSequence: r.Sequence}); err != nil {
		return err
	}
	a.say("%s %s was released before from the same inputs and verifies", r.Product, r.Version)
	if last := project.Config().Output.LastRelease; plan.Behind(r) && !dryRun {
		if err := plan.CatchUp(r); err != nil {
			return err
		}
		a.say("%s did not know it: corrected", last)
	}
	return a.result(released{r, "unchanged", plan.OutDir()}, outputs(plan, r))
}

// sign opens the tokens of all keys that a release needs, one after the other,
// and only then makes the first signature.
func (a *app) sign(ctx context.Context, project *release.Project, r *release.Rehearsed) (*release.Signed, error) {
	cfg := project.Config()
	keys := project.Signers()
	tokens := map[string]*hsm.Token{}
	defer func() {
		for _, t := range tokens {
			if err := t.Close(); err != nil {
				a.say("warning: %v", err)
			}
		}
	}()
	signers := map[sign.KeyID]sign.Signer{}
	for _, k := range keys {
		t, ok := tokens[k.Token]
		if !ok {
			var err error
			if t, err = a.openToken(ctx, cfg, k.Token, true); err != nil {
				return nil, err
			}
			tokens[k.Token] = t
		}
		s, err := a.signer(ctx, cfg, t, k, project)
		if err != nil {
			return nil, err
		}
		signers[s.Public().ID()] = s
	}
	a.say("signing %d requests with %d keys", r.Signatures(), len(keys))
	if !a.quiet {
		defer term.StartProgress(os.Stderr, "waiting for the token").Stop()
	}
	return r.Sign(ctx, signers)
}

func (a *app) signer(ctx context.Context, cfg *config.Config, t *hsm.Token, k config.Key, project *release.Project) (sign.Signer, error) {
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cfg.Errorf("keys."+k.Name+".uri", "unusable"), err)
	}
	pinned, ok := project.Key(k.Name)
	if !ok {
		return nil, cfg.Errorf("keys."+k.Name, "no public key")
	}
	s, err := t.Signer(ctx, uri, pinned)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.Name, err)
	}
	return s, nil
}

// bytesText prints a size for people.
func bytesText(n int64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/1024)
}
