package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader/link"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/census"
	"github.com/otapack/otapack/internal/release"
)

type sizeOptions struct {
	linkOptions
	census, svg string
}

func (a *app) sizeCommand() *cobra.Command {
	var o sizeOptions
	c := &cobra.Command{
		Use:   "size <bundle>",
		Short: "Say what each device has to receive, erase and hold in RAM for a bundle",
		Long: `List the payloads of a bundle: the one for all devices of a component, and the
differences for devices that run a certain version. For each of them: bytes with
the manifest, packets and time over BLE when nothing goes wrong (otapack transfer
simulates what does), flash pages that the device erases, and the RAM that its
decoder needs.

With a census of the fleet (docs/reach.md) every class of devices receives the
smallest set of payloads that is made for it, and the mean over all devices is
what an update costs.

Signatures of the record and of the manifests are verified; that devices take the
payloads is said by otapack verify.`,
		Example: `  otapack size dist/1.4.2/toothbrush-1.4.2.ota
  otapack size release.ota --mtu 185 --rate 1250 --uart motor=115200
  otapack size release.ota --census census.csv --svg size.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.size(cmd, args[0], o) },
	}
	f := c.Flags()
	o.flags(f)
	f.StringVar(&o.census, "census", "", "CSV `file` with the devices in the field")
	f.StringVar(&o.svg, "svg", "", "draw the payloads as bars into `file`")
	return c
}

// sizeResult is the answer of --json.
type sizeResult struct {
	Schema     string          `json:"schema"`
	Product    string          `json:"product"`
	ReleaseID  string          `json:"release_id"`
	Link       transferLink    `json:"link"`
	Record     sizeCost        `json:"release_record"` // that every device receives first
	Components []componentSize `json:"components"`     // in install order
	Fleet      *fleetSize      `json:"fleet,omitempty"`
}

// sizeCost is what a device receives when nothing goes wrong.
type sizeCost struct {
	Bytes   int64   `json:"bytes"`
	Packets uint64  `json:"packets"` // that the phone sends
	Seconds float64 `json:"seconds"` // the way over a UART is part of it
}

func (c *sizeCost) add(o sizeCost) {
	c.Bytes += o.Bytes
	c.Packets += o.Packets
	c.Seconds += o.Seconds
}

type componentSize struct {
	Name     string        `json:"name"`
	Image    int64         `json:"image_bytes"`
	Payloads []payloadSize `json:"payloads"` // the first is for all devices
}

type payloadSize struct {
	From   string `json:"from,omitempty"` // version that a device has to run, "" for any
	Coding string `json:"coding"`
	sizeCost
	Share      float64 `json:"share"` // of the image, manifest included
	Erased     int     `json:"erased_pages"`
	DecoderRAM uint32  `json:"decoder_ram_bytes"`
}

// fleetSize is over the devices of a census.
type fleetSize struct {
	Devices uint64      `json:"devices"`
	Updated uint64      `json:"updated"` // devices that receive something; the means are over them
	Bytes   float64     `json:"mean_bytes"`
	Packets float64     `json:"mean_packets"`
	Seconds float64     `json:"mean_seconds"`
	Classes []classSize `json:"classes"`
}

type classSize struct {
	Line    int    `json:"line"`
	Devices uint64 `json:"devices"`
	// From has what the payload of a component starts from, by component: a
	// version, "any", or "none" where the release is there already.
	From map[string]string `json:"from"`
	sizeCost
}

// Words for payloads in text, and in classSize.
const (
	fromAny  = "any"
	fromNone = "none"
)

func (a *app) size(cmd *cobra.Command, path string, o sizeOptions) error {
	ble, err := o.ble(cmd)
	if err != nil {
		return err
	}
	project, err := a.openProject()
	if err != nil {
		return err
	}
	var classes []census.Class
	if o.census != "" {
		if classes, err = readCensus(o.census, project); err != nil {
			return err
		}
	}
	f, size, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sizes, err := project.Sizes(f, size)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range sizes.Components {
		names = append(names, c.Name)
	}
	bauds, err := o.bauds(names)
	if err != nil {
		return err
	}
	result := &sizeResult{Schema: "otapack.size/1", Product: sizes.Product, ReleaseID: sizes.ReleaseID, Link: o.describe(ble)}
	if err := result.measure(cmd.Context(), sizes, ble, bauds); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if o.census != "" {
		result.weigh(sizes, classes)
	}
	if o.svg != "" {
		if err := a.drawSizes(result, o.svg); err != nil {
			return err
		}
	}
	return a.result(result, result.text())
}

// measure says what each payload costs.
func (r *sizeResult) measure(ctx context.Context, sizes *release.Sizes, ble link.Link, bauds map[string]int) error {
	var err error
	if r.Record, err = cost(ctx, ble, 0, sizes.Record); err != nil {
		return fmt.Errorf("release record: %w", err)
	}
	for _, c := range sizes.Components {
		out := componentSize{Name: c.Name, Image: c.Image}
		for _, choice := range c.Choices {
			if choice.Payload.Size() > maxTransferObject {
				return &release.InputError{Path: c.Name, Err: fmt.Errorf("payload of more than %d bytes", maxTransferObject)}
			}
			payload, err := io.ReadAll(io.NewSectionReader(choice.Payload, 0, choice.Payload.Size()))
			if err != nil {
				return err
			}
			p := payloadSize{Coding: choice.Coding, Erased: choice.Erased, DecoderRAM: choice.DecoderRAM}
			if choice.From != nil {
				p.From = choice.From.String()
			}
			if p.sizeCost, err = cost(ctx, ble, bauds[c.Name], choice.Manifest, payload); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			p.Share = float64(p.Bytes) / float64(c.Image)
			out.Payloads = append(out.Payloads, p)
		}
		r.Components = append(r.Components, out)
	}
	return nil
}

// cost transfers objects one after the other, and if baud is not 0 a second time
// over a UART.
func cost(ctx context.Context, ble link.Link, baud int, objects ...[]byte) (sizeCost, error) {
	var c sizeCost
	for _, object := range objects {
		sent, err := undisturbed(ctx, object, ble)
		if err != nil {
			return c, err
		}
		c.add(sizeCost{int64(len(object)), sent.Frames, sent.Elapsed.Seconds()})
		if baud == 0 {
			continue
		}
		wires, err := link.UART(baud)
		if err != nil {
			return c, err
		}
		if sent, err = undisturbed(ctx, object, wires); err != nil {
			return c, err
		}
		c.Seconds += sent.Elapsed.Seconds()
	}
	return c, nil
}

// weigh has every class receive what is made for it.
func (r *sizeResult) weigh(sizes *release.Sizes, classes []census.Class) {
	fleet := &fleetSize{Classes: []classSize{}}
	for _, class := range classes {
		c := classSize{Line: class.Line, Devices: class.Devices, From: map[string]string{}}
		for i, component := range sizes.Components {
			at := sizes.For(i, class)
			if at < 0 {
				c.From[component.Name] = fromNone
				continue
			}
			payload := r.Components[i].Payloads[at]
			c.From[component.Name] = payload.from()
			c.add(payload.sizeCost)
		}
		fleet.Devices += c.Devices
		if c.Bytes > 0 {
			c.add(r.Record)
			fleet.Updated += c.Devices
			weight := float64(c.Devices)
			fleet.Bytes += weight * float64(c.Bytes)
			fleet.Packets += weight * float64(c.Packets)
			fleet.Seconds += weight * c.Seconds
		}
		fleet.Classes = append(fleet.Classes, c)
	}
	if n := float64(fleet.Updated); n > 0 {
		fleet.Bytes, fleet.Packets, fleet.Seconds = fleet.Bytes/n, fleet.Packets/n, fleet.Seconds/n
	}
	r.Fleet = fleet
}

func (p payloadSize) from() string {
	if p.From == "" {
		return fromAny
	}
	return p.From
}

// text is the table for people, with the bars.
func (r *sizeResult) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s in chunks of %d bytes, %.0f packets a second\n\n", r.ReleaseID, r.Product, r.Link.ChunkBytes, r.Link.PacketsPerSec)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "component\tfrom\tcoding\tbytes\tof image\tpackets\ttime\terased\tdecoder RAM\t\n")
	longest := int64(1)
	for _, c := range r.Components {
		for _, p := range c.Payloads {
			longest = max(longest, p.Bytes)
		}
	}
	for _, c := range r.Components {
		for _, p := range c.Payloads {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.1f %%\t%d\t%s\t%s\t%s\t%s\n", c.Name, p.from(), p.Coding, p.Bytes, 100*p.Share, p.Packets,
				seconds(p.Seconds), orNone(p.Erased, "%d pages"), orNone(p.DecoderRAM, "%d"), textBar(p.Bytes, longest))
		}
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	fmt.Fprintf(&b, "\nand the release record, %d bytes\n", r.Record.Bytes)
	if r.Fleet != nil {
		r.Fleet.text(&b, r.Components)
	}
	return b.String()
}

func orNone[T int | uint32](n T, format string) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf(format, n)
}

// textBar draws n as a share of the longest bar.
func textBar(n, longest int64) string {
	const width = 24
	return strings.Repeat("#", int(max(1, (n*width+longest/2)/longest)))
}

func (f *fleetSize) text(b *strings.Builder, components []componentSize) {
	fmt.Fprintln(b)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "line\tdevices\t")
	for _, c := range components {
		fmt.Fprintf(w, "%s from\t", c.Name)
	}
	fmt.Fprint(w, "bytes\tpackets\ttime\n")
	for _, class := range f.Classes {
		fmt.Fprintf(w, "%d\t%d\t", class.Line, class.Devices)
		for _, c := range components {
			fmt.Fprintf(w, "%s\t", class.From[c.Name])
		}
		fmt.Fprintf(w, "%d\t%d\t%s\n", class.Bytes, class.Packets, seconds(class.Seconds))
	}
	fmt.Fprintf(w, "mean\t%d\t%s%.0f\t%.0f\t%s\n", f.Updated, strings.Repeat("\t", len(components)), f.Bytes, f.Packets, seconds(f.Seconds))
	if w.Flush() != nil {
		return // a strings.Builder does not fail
	}
}

// drawSizes writes the bars as a picture.
func (a *app) drawSizes(r *sizeResult, path string) error {
	set := atomicfile.NewSet(filepath.Dir(path))
	defer set.Abort() // after Commit it does nothing, before it the first error counts
	if err := set.Write(filepath.Base(path), drawSizes(r)); err != nil {
		return err
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("drew the payloads into %s", path)
	return nil
}
