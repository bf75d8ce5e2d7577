package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader/link"
	"github.com/otapack/otapack/formats/bundle"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign/verdict"
)

// transferOptions are the flags of transfer.
type transferOptions struct {
	linkOptions
	from  []string
	runs  int
	limit time.Duration
	loss  string
	seed  uint64
}

func (a *app) transferCommand() *cobra.Command {
	var o transferOptions
	c := &cobra.Command{
		Use:   "transfer <bundle>",
		Short: "Say how long a bundle takes to reach a device over BLE",
		Long: `Simulate the transfer of a bundle from a phone to a device over BLE, component by
component, and say what it costs: packets, bytes on the air, chunks that have to
be sent again, and minutes. The sender and the receiver are those of the transfer
protocol (docs/transfer.md); the link loses and breaks, and both ends restart.

The speed is given as a connection interval and the packets that fit into it, or
as --rate if it was measured. --loss is one of the profiles none, good, average
and bad, which are assumptions to compare releases with, or what was measured:
drop, duplicate, reorder and corrupt are shares of the packets, disconnect,
restart (of the phone's program) and power-loss (of the device) mean times
between two of them. A profile's values can be replaced one by one.

A component behind a UART is named with --uart and gets its bytes a second time,
over the wires. The time that flash takes to erase and write is not included.

A device that runs a version which the bundle has a patch for gets the patch: say
so with --from. Without it every component is sent whole.

The same seed gives the same report. Nothing is verified here: see otapack
verify.`,
		Example: `  otapack transfer dist/1.4.2/toothbrush-1.4.2.ota
  otapack transfer release.ota --mtu 185 --loss bad,disconnect=2m --limit 10m
  otapack transfer release.ota --rate 12000 --loss drop=0.01 --uart motor=38400 --json
  otapack transfer release.ota --from radio=1.4.1 --limit 2m`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.transfer(cmd, args[0], o)
		},
	}
	f := c.Flags()
	o.flags(f)
	f.StringVar(&o.loss, "loss", "average", "`profile` of the link: none, good, average, bad, or name=value, separated by commas")
	f.StringArrayVar(&o.from, "from", nil, "`component=version` that the device runs, to send the patch from it (repeatable)")
	f.IntVar(&o.runs, "runs", 100, "simulated transfers, 1 to 10000")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that the transfers' accidents follow from")
	f.DurationVar(&o.limit, "limit", 0, "longest `time` that 95 of 100 transfers of the whole bundle may take, 0 for any")
	return c
}

// transferResult is the answer of --json. Counts are means over the runs that
// arrived, unless something else is said.
type transferResult struct {
	Schema    string          `json:"schema"`
	Verified  bool            `json:"verified"` // always false: transfer does not verify
	ReleaseID string          `json:"release_id"`
	Link      transferLink    `json:"link"`
	Loss      transferLoss    `json:"loss"`
	Runs      int             `json:"runs"`
	Seed      uint64          `json:"seed"`
	Parts     []transferPart  `json:"parts"` // "release record", then the components in install order
	Total     transferPart    `json:"total"`
	Faults    []transferFault `json:"faults"`
}

type transferLoss struct {
	Drop       float64 `json:"drop"`
	Duplicate  float64 `json:"duplicate"`
	Reorder    float64 `json:"reorder"`
	Corrupt    float64 `json:"corrupt"`
	Disconnect float64 `json:"disconnect_seconds"` // mean, 0 for never
	Restart    float64 `json:"restart_seconds"`
	PowerLoss  float64 `json:"power_loss_seconds"`
}

// transferPart is what is sent together: manifest and payload of a component.
type transferPart struct {
	Name    string `json:"name"`
	From    string `json:"from,omitempty"` // version that a patch starts from, "" for a whole image
	Bytes   int64  `json:"bytes"`          // of manifest and payload
	Packets uint64 `json:"packets"`        // that the phone sends when nothing goes wrong
	Air     uint64 `json:"air_bytes"`

	MeanPackets float64 `json:"mean_packets"`
	MeanAir     float64 `json:"mean_air_bytes"`
	MeanResent  float64 `json:"mean_resent"`
	MeanBreaks  float64 `json:"mean_breaks"` // connections that ended early, for whatever reason

	Seconds transferTime  `json:"seconds"`
	UART    *transferUART `json:"uart,omitempty"`
	Failed  int           `json:"failed"` // runs that did not arrive
}

// title is what the table calls it.
func (p transferPart) title() string {
	if p.From != "" {
		return p.Name + " from " + p.From
	}
	return p.Name
}

// transferTime is in seconds; those but the first are over the runs that arrived.
type transferTime struct {
	Clean float64 `json:"clean"` // when nothing goes wrong
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	Max   float64 `json:"max"`
}

// transferUART is the way over the wires, on which nothing goes wrong. Its time
// is part of the component's.
type transferUART struct {
	Baud    int     `json:"baud"`
	Frames  uint64  `json:"frames"` // of both sides
	Bytes   uint64  `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// transferFault counts runs that did not arrive by their cause.
type transferFault struct {
	Part   string `json:"part"`
	Reason string `json:"reason"` // a reason code, or "given-up"
	Runs   int    `json:"runs"`
	Detail string `json:"detail"` // of the first one
}

const (
	maxTransferRuns   = 10000
	maxTransferObject = 64 << 20 // bytes: it is held in memory
)

func (a *app) transfer(cmd *cobra.Command, path string, o transferOptions) error {
	if o.runs < 1 || o.runs > maxTransferRuns {
		return usagef("--runs %d: want 1 to %d", o.runs, maxTransferRuns)
	}
	if o.limit < 0 {
		return usagef("--limit %v is negative", o.limit)
	}
	t := transferrer{options: o, faults: []transferFault{}}
	var err error
	if t.loss, err = link.ParseLoss(o.loss); err != nil {
		return usagef("--loss: %w", err)
	}
	if t.ble, err = o.ble(cmd); err != nil {
		return err
	}
	f, size, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, record, err := openBundle(f, size)
	if err != nil {
		return &release.InputError{Path: path, Err: err}
	}
	var names []string
	for _, c := range b.Components {
		names = append(names, c.Name)
	}
	if t.bauds, err = o.bauds(names); err != nil {
		return err
	}
	if t.variants, err = chooseVariants(b, o.from); err != nil {
		return err
	}
	if !a.quiet {
		defer term.StartProgress(os.Stderr, fmt.Sprintf("simulating %d transfers", o.runs)).Stop()
	}
	result, err := t.run(cmd.Context(), b, record)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !a.json {
		if _, err := io.WriteString(a.stdout, result.text()); err != nil {
			return err
		}
	}
	if findings := result.findings(o.limit); len(findings) > 0 {
		return resultError{&release.PolicyError{Findings: findings}, result}
	}
	return a.result(result, "")
}

// openBundle reads a bundle whose bytes are intact, and its release record.
func openBundle(r io.ReaderAt, size int64) (*bundle.Bundle, manifest.Record, error) {
	b, err := bundle.Open(r, size)
	if err != nil {
		return nil, manifest.Record{}, err
	}
	if err := b.CheckPayloads(); err != nil {
		return nil, manifest.Record{}, err
	}
	record, err := manifest.ParseRecord(b.Record)
	return b, record, err
}

// chooseVariants finds what devices that run certain versions receive, by
// component.
func chooseVariants(b *bundle.Bundle, specs []string) (map[string]bundle.Variant, error) {
	chosen := map[string]bundle.Variant{}
	for _, spec := range specs {
		name, version, ok := strings.Cut(spec, "=")
		if !ok || name == "" || version == "" {
			return nil, usagef("--from %q: want component=version", spec)
		}
		if _, twice := chosen[name]; twice {
			return nil, usagef("--from: %s is given twice", name)
		}
		i := slices.IndexFunc(b.Components, func(c bundle.Component) bool { return c.Name == name })
		if i < 0 {
			return nil, usagef("--from: the bundle has no component %q", name)
		}
		variants := b.Components[i].Variants
		k := slices.IndexFunc(variants, func(v bundle.Variant) bool { return v.Base == version })
		if k < 0 {
			var there []string
			for _, v := range variants {
				there = append(there, v.Base)
			}
			return nil, usagef("--from: the bundle has no patch from %s %s; it has %s", name, version, cmp.Or(strings.Join(there, ", "), "none"))
		}
		chosen[name] = variants[k]
	}
	return chosen, nil
}

// transferrer simulates the parts of a bundle one after the other.
type transferrer struct {
	options  transferOptions
	ble      link.Link
	loss     link.Loss
	bauds    map[string]int
	variants map[string]bundle.Variant // that are sent in place of components

	objects uint64
	total   []link.Result // by run
	faults  []transferFault
}

func (t *transferrer) run(ctx context.Context, b *bundle.Bundle, record manifest.Record) (*transferResult, error) {
	l, o := t.loss, t.options
	result := &transferResult{
		Schema: "otapack.transfer/1", ReleaseID: record.ID, Runs: o.runs, Seed: o.seed,
		Link: o.describe(t.ble),
		Loss: transferLoss{
			Drop: l.Drop, Duplicate: l.Duplicate, Reorder: l.Reorder, Corrupt: l.Corrupt,
			Disconnect: l.Disconnect.Seconds(), Restart: l.Restart.Seconds(), PowerLoss: l.PowerLoss.Seconds(),
		},
	}
	t.total = make([]link.Result, o.runs)
	total := transferPart{Name: "total"}
	add := func(name, from string, objects ...[]byte) error {
		part, err := t.part(ctx, name, objects)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		part.From = from
		result.Parts = append(result.Parts, part)
		total.Bytes += part.Bytes
		total.Packets += part.Packets
		total.Air += part.Air
		total.Seconds.Clean += part.Seconds.Clean
		return nil
	}
	if err := add("release record", "", b.Record); err != nil {
		return nil, err
	}
	for _, c := range b.Components {
		sent := bundle.Variant{Manifest: c.Manifest, Payload: c.Payload}
		if v, ok := t.variants[c.Name]; ok {
			sent = v
		}
		if sent.Payload.Size() > maxTransferObject {
			return nil, &release.InputError{Path: c.Name, Err: fmt.Errorf("payload of more than %d bytes", maxTransferObject)}
		}
		payload, err := io.ReadAll(io.NewSectionReader(sent.Payload, 0, sent.Payload.Size()))
		if err != nil {
			return nil, err
		}
		if err := add(c.Name, sent.Base, sent.Manifest, payload); err != nil {
			return nil, err
		}
	}
	total.summarize(t.total)
	result.Total, result.Faults = total, t.faults
	return result, nil
}

// part simulates objects that are sent one after the other.
func (t *transferrer) part(ctx context.Context, name string, objects [][]byte) (transferPart, error) {
	p := transferPart{Name: name}
	if baud, ok := t.bauds[name]; ok {
		p.UART = &transferUART{Baud: baud}
	}
	sums := make([]link.Result, t.options.runs)
	for _, object := range objects {
		p.Bytes += int64(len(object))
		clean, err := undisturbed(ctx, object, t.ble)
		if err != nil {
			return p, err
		}
		p.Packets += clean.Frames
		p.Air += clean.Air
		p.Seconds.Clean += clean.Elapsed.Seconds()
		runs, err := simulate(ctx, object, t.ble, t.loss, t.options.runs, t.options.seed+t.objects)
		if err != nil {
			return p, err
		}
		t.objects++
		if p.UART != nil {
			wires, err := t.wires(ctx, object, p.UART)
			if err != nil {
				return p, err
			}
			p.Seconds.Clean += wires.Seconds()
			for i := range runs {
				runs[i].Elapsed += wires
			}
		}
		for i, r := range runs {
			sum(&sums[i], r)
		}
	}
	for i, r := range sums {
		sum(&t.total[i], r)
	}
	p.summarize(sums)
	t.note(name, sums)
	return p, nil
}

// wires adds an object's way over the UART.
func (t *transferrer) wires(ctx context.Context, object []byte, u *transferUART) (time.Duration, error) {
	l, err := link.UART(u.Baud)
	if err != nil {
		return 0, err
	}
	r, err := undisturbed(ctx, object, l)
	if err != nil {
		return 0, err
	}
	u.Frames += r.Frames + r.Answers
	u.Bytes += r.Air
	u.Seconds += r.Elapsed.Seconds()
	return r.Elapsed, nil
}

// sum adds what follows in the same run. The first failure is the run's.
func sum(to *link.Result, r link.Result) {
	if to.Err == nil {
		to.Err = r.Err
	}
	to.Elapsed += r.Elapsed
	to.Frames += r.Frames
	to.Air += r.Air
	to.Resent += r.Resent
	to.Disconnects += r.Disconnects + r.GivenUp + r.Restarts + r.PowerLosses
}

// note lists why runs of a part failed.
func (t *transferrer) note(name string, runs []link.Result) {
	for _, r := range runs {
		if r.Err == nil {
			continue
		}
		reason := "given-up"
		if code := verdict.Of(r.Err); code != "" {
			reason = string(code)
		}
		same := func(f transferFault) bool { return f.Part == name && f.Reason == reason }
		if i := slices.IndexFunc(t.faults, same); i >= 0 {
			t.faults[i].Runs++
			continue
		}
		t.faults = append(t.faults, transferFault{Part: name, Reason: reason, Runs: 1, Detail: r.Err.Error()})
	}
}

// summarize computes means and percentiles of the runs that arrived.
func (p *transferPart) summarize(runs []link.Result) {
	var times []time.Duration
	for _, r := range runs {
		if r.Err != nil {
			p.Failed++
			continue
		}
		times = append(times, r.Elapsed)
		p.MeanPackets += float64(r.Frames)
		p.MeanAir += float64(r.Air)
		p.MeanResent += float64(r.Resent)
		p.MeanBreaks += float64(r.Disconnects)
		p.Seconds.Mean += r.Elapsed.Seconds()
	}
	n := len(times)
	if n == 0 {
		return
	}
	for _, mean := range []*float64{&p.MeanPackets, &p.MeanAir, &p.MeanResent, &p.MeanBreaks, &p.Seconds.Mean} {
		*mean /= float64(n)
	}
	slices.Sort(times)
	percentile := func(share int) float64 { return times[(n*share+99)/100-1].Seconds() } // nearest rank
	p.Seconds.P50, p.Seconds.P95, p.Seconds.Max = percentile(50), percentile(95), percentile(100)
}

// findings are what a CI job should stop for.
func (r *transferResult) findings(limit time.Duration) []release.Finding {
	var found []release.Finding
	for _, f := range r.Faults {
		found = append(found, release.Finding{
			Reason: verdict.TransferIncomplete, Object: f.Part,
			Detail: fmt.Sprintf("%d of %d transfers do not arrive: %s", f.Runs, r.Runs, f.Detail),
		})
	}
	if p95 := r.Total.Seconds.P95; limit > 0 && p95 > limit.Seconds() {
		found = append(found, release.Finding{
			Reason: verdict.TransferTooLong, Object: "transfer",
			Detail: fmt.Sprintf("95 of 100 are done after %s, the limit is %s", seconds(p95), limit),
		})
	}
	return found
}

// text is the table for people.
func (r *transferResult) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s in chunks of %d bytes, %.0f packets a second, simulated transfers: %d\n\n", r.ReleaseID, r.Link.ChunkBytes, r.Link.PacketsPerSec, r.Runs)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	parts := append(slices.Clone(r.Parts), r.Total)
	width := len("release record")
	for _, p := range parts {
		width = max(width, len(p.title()))
	}
	fmt.Fprintf(w, "%-*s\tbytes\tpackets\ton air\tresent\tbreaks\tclean\tmean\t95 %%\tfailed\t\n", width, "part")
	for _, p := range parts {
		fmt.Fprintf(w, "%-*s\t%d\t%d\t%d\t%.1f\t%.2f\t%s\t%s\t%s\t%d\t\n", width, p.title(), p.Bytes, p.Packets, p.Air, p.MeanResent, p.MeanBreaks,
			seconds(p.Seconds.Clean), seconds(p.Seconds.Mean), seconds(p.Seconds.P95), p.Failed)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	for _, p := range r.Parts {
		if u := p.UART; u != nil {
			fmt.Fprintf(&b, "\n%s over the UART: %d frames, %d bytes, %s of its time at %d baud\n", p.Name, u.Frames, u.Bytes, seconds(u.Seconds), u.Baud)
		}
	}
	return b.String()
}

// seconds prints a time to a tenth of a second below a minute, to a second above.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", s)
	}
	return d.Round(time.Second).String()
}
