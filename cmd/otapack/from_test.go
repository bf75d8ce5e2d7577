package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The options that the pages about other tools have to speak of.
var (
	imgtoolOptions = strings.Fields(`
		key fix-sig fix-sig-pubkey vector-to-sign sig-out sha hmac-sha pure public-key-format max-align align version security-counter dependencies
		pad-sig header-size pad-header slot-size pad confirm test max-sectors boot-record overwrite-only endian clear compression encrypt-keylen encrypt
		save-enctlv rom-fixed load-addr hex-addr erased-val custom-tlv custom-tlv-file non-bootable vid cid
		format outfile silent type password encoding lang output name-suffix`)
	nrfutilOptions = strings.Fields(`
		debug-mode application application-version application-version-string bootloader bootloader-version hw-version sd-req sd-id softdevice
		sd-boot-validation app-boot-validation key-file external-app zigbee family bl-settings-version start-address no-backup backup-address
		key format out_file`)
)

var (
	codeSpan  = regexp.MustCompile("`([^`]+)`")
	flagWord  = regexp.MustCompile(`^--?[a-z][a-z_-]*`)
	aboutVerb = regexp.MustCompile("^## .*: `otapack ([^`]+)`$")
)

// TestPagesForOtherTools holds docs/from-imgtool.md and docs/from-nrfutil.md
// against the command: each option of the other tool has a row, each flag of
// otapack in a row belongs to the verb of its section, each key to otapack.yaml, and
// each command line in an example can be parsed.
func TestPagesForOtherTools(t *testing.T) {
	project := configSource(t)
	for page, options := range map[string][]string{"from-imgtool.md": imgtoolOptions, "from-nrfutil.md": nrfutilOptions} {
		data, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		root := testRoot()
		var verb *cobra.Command
		var rows, flags, lines int
		seen := map[string]bool{}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "## ") {
				verb = nil
				if m := aboutVerb.FindStringSubmatch(line); m != nil {
					verb = findVerb(t, root, strings.Fields(m[1]))
				}
			}
			if command, ok := strings.CutPrefix(line, "$ otapack "); ok {
				checkCommandLine(t, page, command)
				lines++
			}
			cells := strings.Split(line, "|")
			if verb == nil || len(cells) < 4 || strings.Contains(line, "---") {
				continue
			}
			rows++
			for _, m := range codeSpan.FindAllStringSubmatch(cells[1], -1) {
				seen[strings.TrimLeft(flagWord.FindString(m[1]), "-")] = true
			}
			if len(cells) > 5 {
				for _, m := range codeSpan.FindAllStringSubmatch(cells[3], -1) {
					key, _, _ := strings.Cut(m[1], ":")
					for part := range strings.SplitSeq(key, ".") {
						if !strings.Contains(project, `"`+part+`":`) {
							t.Errorf("%s: otapack.yaml has no %s", page, m[1])
						}
					}
				}
			}
			for _, m := range codeSpan.FindAllStringSubmatch(cells[2], -1) {
				name := flagWord.FindString(m[1])
				if name == "" {
					continue
				}
				flags++
				if lookupFlag(verb, name) == nil {
					t.Errorf("%s: %s has no flag %s", page, verb.CommandPath(), name)
				}
			}
		}
		for _, option := range options {
			if !seen[option] {
				t.Errorf("%s: no row for --%s", page, option)
			}
		}
		if rows < 30 || flags < 30 || lines < 5 {
			t.Errorf("%s: %d rows, %d flags, %d command lines", page, rows, flags, lines)
		}
	}
}

// configSource is the text of package config, in which every key of otapack.yaml
// stands in quotes, with a colon behind it.
func configSource(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "internal", "config", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			all.Write(data)
		}
	}
	return all.String()
}

func findVerb(t *testing.T, root *cobra.Command, words []string) *cobra.Command {
	t.Helper()
	verb, rest, err := root.Find(words)
	if err != nil || len(rest) > 0 {
		t.Fatalf("no command %v: %v", words, err)
	}
	return verb
}

// lookupFlag finds a flag by --name or -n, also one that all commands have.
func lookupFlag(verb *cobra.Command, name string) *pflag.Flag {
	for _, set := range []*pflag.FlagSet{verb.Flags(), verb.InheritedFlags()} {
		var f *pflag.Flag
		if long, ok := strings.CutPrefix(name, "--"); ok {
			f = set.Lookup(long)
		} else if len(name) == 2 {
			f = set.ShorthandLookup(name[1:])
		}
		if f != nil {
			return f
		}
	}
	return nil
}

// checkCommandLine parses an example as a shell and the command do, up to a pipe.
func checkCommandLine(t *testing.T, page, line string) {
	t.Helper()
	var args []string
	for i, part := range strings.FieldsFunc(strings.ReplaceAll(line, `'`, `"`), func(r rune) bool { return r == '"' }) {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	if i := slices.Index(args, "|"); i >= 0 {
		args = args[:i]
	}
	found, rest, err := testRoot().Find(args)
	if err == nil {
		err = found.ParseFlags(rest)
	}
	if err == nil {
		err = found.ValidateArgs(found.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: otapack %s: %v", page, line, err)
	}
}
