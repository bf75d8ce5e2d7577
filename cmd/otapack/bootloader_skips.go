package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/bootloader"
)

func (a *app) bootloaderSkipsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "skips <profile>",
		Short: "Say which bad images a bootloader takes when one check is skipped",
		Long: `Ignore each check of a bootloader once, as a fault that is induced with a voltage
or clock glitch can, and give it images that it must refuse. The table says which
check refuses an image, and what becomes of it without that check: another refuses
it, it is taken, or there is nothing to go on with.

A check that alone keeps an image out is a single point of failure: the place to
make the check twice in the code of the bootloader. The matrix is about the checks
and their order. The machine code of a bootloader can have points of its own, and
no comparison in constant time is a protection against faults.

The images are made for the run, with keys that live as long as it does.`,
		Example: "  otapack bootloader skips nrf52840\n  otapack bootloader skips mcuboot-swap --json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.bootloaderSkips(cmd.Context(), args[0]) },
	}
}

// bootloaderSkipsResult is the answer of skips --json.
type bootloaderSkipsResult struct {
	Schema string `json:"schema"`
	*bootloader.SkipMatrix
}

func (a *app) bootloaderSkips(ctx context.Context, name string) error {
	p, err := profileArgument(name)
	if err != nil {
		return err
	}
	m, err := bootloader.Skips(ctx, p)
	if err != nil {
		return err
	}
	text, err := skipsText(m)
	if err != nil {
		return err
	}
	return a.result(bootloaderSkipsResult{"otapack.bootloader-skips/1", m}, text)
}

// skipsText is a line for each bad image, and one for each single point.
func skipsText(m *bootloader.SkipMatrix) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d steps, each ignored once, %d bad images\n\n", m.Profile, len(m.Steps), len(m.Images))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BAD IMAGE\tREFUSED BY\tWITHOUT IT\tWHAT IS BAD")
	for _, image := range m.Images {
		i := slices.IndexFunc(image.Without, func(c bootloader.SkipCell) bool { return c.Step == image.RefusedBy })
		if i < 0 {
			return "", fmt.Errorf("%s: refused by step %s, which is not in the profile", image.Name, image.RefusedBy)
		}
		fate := "cannot go on"
		switch c := image.Without[i]; {
		case c.Taken:
			fate = "TAKEN"
		case c.RefusedBy != "":
			fate = "refused by " + string(c.RefusedBy)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", image.Name, image.RefusedBy, fate, image.What)
	}
	fmt.Fprintln(w, "\nSINGLE POINT\tALONE KEEPS OUT") // a line without tabs ends the columns above
	for _, s := range m.Alone {
		fmt.Fprintf(w, "%s\t%s\n", s.Step, strings.Join(s.Images, ", "))
	}
	err := w.Flush()
	return b.String(), err
}
