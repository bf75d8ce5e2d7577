package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func (a *app) vectorsExportCommand() *cobra.Command {
	var (
		f          vectorsFilter
		as, output string
	)
	c := &cobra.Command{
		Use:   "export",
		Short: "Write test vectors out: as a C header, as JSON, as files",
		Long: `Write test vectors into a folder:

  --as c      one C99 header for each family, for a unit test on the target:
              devices, inputs as pieces of one array, expected step and reason as
              enumerations
  --as json   one self-contained JSON file for each family, inputs in base64
  --as files  one folder for each case: its inputs, the question of "vectors run"
              in case.json, and the answer that it must get in want

"-o -" writes a single header or JSON file to standard output.`,
		Example: `  otapack vectors export --as c --family suit-nrf52840 -o tests/
  otapack vectors export --as json --family mcuboot -o -
  otapack vectors export --as files --step sequence -o cases/`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.vectorsExport(f, as, output) },
	}
	f.flags(c.Flags())
	c.Flags().StringVar(&as, "as", "", "`format`: c, json or files")
	c.Flags().StringVarP(&output, "output", "o", "", "`folder` to write into, or - for standard output")
	return c
}

// vectorsExportResult is the answer of --json.
type vectorsExportResult struct {
	Schema string   `json:"schema"`
	Format string   `json:"format"`
	Cases  int      `json:"cases"`
	Paths  []string `json:"paths"` // headers, JSON files, or the folder of each family
}

func (a *app) vectorsExport(filter vectorsFilter, as, output string) error {
	switch {
	case !slices.Contains([]string{"c", "json", "files"}, as):
		return usagef("--as %q: want c, json or files", as)
	case output == "":
		return usagef("--output is missing")
	case output == "-" && as == "files":
		return usagef("--as files writes into a folder, not to standard output")
	case output == "-" && a.json:
		return usagef("--json and -o - both want standard output")
	}
	families, err := filter.load()
	if err != nil {
		return err
	}
	if output == "-" && len(families) > 1 {
		return usagef("-o - takes one family: choose with --family")
	}
	set := atomicfile.NewSet(output)
	defer set.Abort() // nothing is left after Commit
	r := vectorsExportResult{Schema: "otapack.vectors-export-result/1", Format: as}
	for _, f := range families {
		r.Cases += len(f.Cases)
		if as == "files" {
			r.Paths = append(r.Paths, filepath.Join(output, f.Name))
			if err := vectors.ExportFiles(f, set.Write); err != nil {
				return err
			}
			continue
		}
		name, data, err := exportOne(f, as)
		if err != nil {
			return err
		}
		if output == "-" {
			_, err := a.stdout.Write(data)
			return err
		}
		r.Paths = append(r.Paths, filepath.Join(output, name))
		if err := set.Write(name, data); err != nil {
			return err
		}
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("%s", countCases(families))
	return a.result(r, strings.Join(r.Paths, "\n")+"\n")
}

func exportOne(f *verdicts.Family, as string) (name string, data []byte, err error) {
	if as == "c" {
		data, err = vectors.ExportC(f)
		return vectors.CHeader(f.Name), data, err
	}
	data, err = vectors.ExportJSON(f)
	return f.Name + ".json", data, err
}
