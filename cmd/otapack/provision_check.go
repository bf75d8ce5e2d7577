package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/internal/provision"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/sign/verdict"
)

func (a *app) provisionCheckCommand() *cobra.Command {
	var token bool
	var sample uint64
	c := &cobra.Command{
		Use:   "check <records>",
		Short: "Check a file of records, with or without the token",
		Long: `Check that a file of records is complete and as otapack writes it: every device of
its list once, every secret in its place, public keys that belong to their ids.
Neither token nor project file is needed for that.

With --token the derived secrets are derived once more and compared, all of them
or those of a sample of devices, evenly spread. Random secrets and those of
recipients cannot be made again; for them only the transport key is compared.`,
		Example: `  otapack provision check lot-7.jsonl
  otapack provision check lot-7.jsonl --token --sample 100`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("sample") && (!token || sample == 0) {
				return usagef("--sample: want at least 1, and --token")
			}
			return a.provisionCheck(cmd.Context(), args[0], token, sample)
		},
	}
	f := c.Flags()
	f.BoolVar(&token, "token", false, "derive secrets again and compare")
	f.Uint64Var(&sample, "sample", 0, "`number` of devices to do that for, instead of all")
	return c
}

type provisionCheckResult struct {
	Schema  string                 `json:"schema"`
	Product string                 `json:"product"`
	Module  string                 `json:"module"`
	Devices int                    `json:"devices"`
	Records int                    `json:"records"`
	Secrets []provisionSecretCheck `json:"secrets"`
	Token   bool                   `json:"token"` // whether the keys of the token were compared
}

type provisionSecretCheck struct {
	provision.Secret
	Records int `json:"records"`
	Derived int `json:"derived"` // again, and equal
}

func (a *app) provisionCheck(ctx context.Context, path string, token bool, sample uint64) error {
	f, _, err := openInput(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header, result, err := checkProvisioned(f, func(provision.Header, int, provision.Record) (bool, error) { return false, ctx.Err() })
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if token {
		// The whole file first: what is damaged needs no PIN.
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if result, err = a.rederive(ctx, f, header, sample); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a.say("%s: complete, and made with the keys of the token", path)
	} else {
		a.say("%s: complete", path)
	}
	return a.result(result, provisionCheckText(result))
}

// checkProvisioned reads all records and hands each to again, with the number of its
// device, which says whether the secret was made again.
func checkProvisioned(in io.Reader, again func(provision.Header, int, provision.Record) (bool, error)) (provision.Header, provisionCheckResult, error) {
	r, err := provision.NewReader(in)
	if err != nil {
		return provision.Header{}, provisionCheckResult{}, err
	}
	h := r.Header
	result := provisionCheckResult{Schema: "otapack.provision-check/1", Product: h.Product, Module: h.Module, Devices: h.Devices.Count}
	for _, s := range h.Secrets {
		result.Secrets = append(result.Secrets, provisionSecretCheck{Secret: s})
	}
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return h, result, nil
		}
		if err != nil {
			return h, result, err
		}
		derived, err := again(h, result.Records/len(h.Secrets), rec)
		if err != nil {
			return h, result, err
		}
		s := &result.Secrets[result.Records%len(h.Secrets)]
		if s.Records++; derived {
			s.Derived++
		}
		result.Records++
	}
}

// rederive compares with the token.
func (a *app) rederive(ctx context.Context, in io.Reader, h provision.Header, sample uint64) (provisionCheckResult, error) {
	cfg, err := a.provisionConfig()
	if err != nil {
		return provisionCheckResult{}, err
	}
	if cfg.Product.Name != h.Product {
		return provisionCheckResult{}, verdict.New(verdict.ProductMismatch, "records: line 1", "product is %s, want %s", h.Product, cfg.Product.Name)
	}
	t, w, err := a.openWrapper(ctx, cfg)
	if err != nil {
		return provisionCheckResult{}, err
	}
	defer t.Close() // read only
	check, err := provision.SelfTest(ctx, w, h.Secrets, h.Product)
	if err != nil {
		return provisionCheckResult{}, err
	}
	if err := h.CheckKeys(check); err != nil {
		return provisionCheckResult{}, err
	}
	progress := func(int) {}
	if !a.quiet {
		start := time.Now()
		p := term.StartProgress(os.Stderr, "devices "+term.Meter(0, h.Devices.Count, 0))
		defer p.Stop()
		progress = func(device int) { p.Set("devices " + term.Meter(device, h.Devices.Count, time.Since(start))) }
	}
	_, result, err := checkProvisioned(in, func(h provision.Header, device int, r provision.Record) (bool, error) {
		progress(device)
		if !sampled(uint64(device), uint64(h.Devices.Count), sample) {
			return false, ctx.Err()
		}
		return provision.Rederive(ctx, w, h, r)
	})
	result.Token = true
	return result, err
}

// sampled reports whether a device is one of sample out of count, evenly spread
// and with the first among them. A sample of 0 is all.
func sampled(device, count, sample uint64) bool {
	return sample == 0 || sample >= count || device*sample%count < sample
}

func provisionCheckText(r provisionCheckResult) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tPURPOSE\tKIND\tBYTES\tRECORDS\tDERIVED AGAIN")
	for _, s := range r.Secrets {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\n", s.Component, s.Purpose, s.Kind, s.Bytes, s.Records, s.Derived)
	}
	if w.Flush() != nil {
		return "" // a strings.Builder does not fail
	}
	return b.String()
}
