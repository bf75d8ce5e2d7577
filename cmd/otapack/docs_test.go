package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestDocs keeps docs/cli.md and docs/reasons.md in step with the code:
// go test ./cmd/otapack -run TestDocs -update
func TestDocs(t *testing.T) {
	for name, page := range map[string]string{"cli.md": cliPage(t), "reasons.md": reasonsPage(t)} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != page {
			t.Errorf("docs/%s is out of step with the code: run make docs", name)
		}
	}
}

// TestHelp demands a text for every command and flag.
func TestHelp(t *testing.T) {
	eachCommand(testRoot(), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short text is empty or ends in a period", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no help", c.CommandPath(), f.Name)
			}
		})
	})
}

// TestHelpOutput compares what the program prints with docs/cli.md, and runs the
// examples as far as to their arguments.
func TestHelpOutput(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	root := testRoot()
	eachCommand(root, func(c *cobra.Command) {
		if c.Name() == "help" || c.IsAdditionalHelpTopicCommand() || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		out, err := exec.CommandContext(t.Context(), "otapack", args...).Output() // TestMain has put it into PATH
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(page), "\n## "+c.CommandPath()+"\n\n```\n"+string(out)+"```\n") {
			t.Errorf("otapack %v prints something else than docs/cli.md has: run make docs", args)
		}
		for line := range strings.Lines(c.Example) {
			words := strings.Fields(strings.ReplaceAll(line, `"`, ""))
			found, rest, err := root.Find(words[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil || words[0] != "otapack" || found == root {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
			}
		}
	})
}

// TestExitCodes compares the help topic with the constants.
func TestExitCodes(t *testing.T) {
	topic, _, err := testRoot().Find([]string{"exit-codes"})
	if err != nil {
		t.Fatal(err)
	}
	var listed, declared []string
	for _, match := range regexp.MustCompile(`(?m)^    (\d+) `).FindAllStringSubmatch(topic.Long, -1) {
		listed = append(listed, match[1])
	}
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "exit") {
			declared = append(declared, v.Values[0].(*ast.BasicLit).Value)
		}
		return true
	})
	if len(declared) == 0 || !slices.Equal(listed, declared) {
		t.Errorf("the topic has %v, the constants are %v", listed, declared)
	}
}

// TestHints demands that each hint belongs to a code that exists.
func TestHints(t *testing.T) {
	codes := map[string]bool{codeUsage: true, codeConfig: true, codeInput: true, codeMissing: true, codeCurve: true, codeHSM: true, codeException: true}
	for _, c := range classes {
		codes[c.code] = true
	}
	for _, section := range reasonSections(t) {
		for _, r := range section.reasons {
			codes[r.code] = true
		}
	}
	for code := range hints {
		if !codes[code] {
			t.Errorf("a hint for %q, which is no code", code)
		}
	}
	for format, own := range imageHints {
		for code := range own {
			if !codes[code] {
				t.Errorf("%s: a hint for %q, which is no code", format, code)
			}
		}
	}
}

func testRoot() *cobra.Command {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	return a.rootCommand()
}

func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, f)
	}
}

// cliPage is the command reference: what --help says, command by command.
func cliPage(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# The command\n\nMade from the program's own help by `make docs`.\n")
	eachCommand(testRoot(), func(c *cobra.Command) {
		if c.Name() == "help" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n", c.CommandPath())
		if c.IsAdditionalHelpTopicCommand() {
			fmt.Fprintf(&b, "%s (a page of `otapack help`).\n\n```\n%s\n```\n", c.Short, c.Long)
			return
		}
		text := c.Long
		if text == "" {
			text = c.Short
		}
		c.InitDefaultHelpFlag()
		fmt.Fprintf(&b, "```\n%s\n\n%s```\n", strings.TrimSpace(text), c.UsageString())
	})
	return b.String()
}

// reasonsPage lists the reason codes by section.
func reasonsPage(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Reason codes

Why an input was refused. The codes are those of ` + "`--json`" + ` and of error messages, in brackets there; they are added, never renamed. Made from
sign/verdict/reasons.go by ` + "`make docs`" + `.
`)
	for _, s := range reasonSections(t) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| code | meaning |\n| --- | --- |\n", s.title, s.text)
		for _, r := range s.reasons {
			fmt.Fprintf(&b, "| `%s` | %s |\n", r.code, strings.ReplaceAll(r.meaning, "|", "\\|"))
		}
	}
	b.WriteString("\n## Failures without a reason code\n\nOther values of `code` in the answer of `--json`.\n\n| code | exit |\n| --- | --- |\n")
	rows := []string{
		row(codeUsage, exitUsage), row(codeConfig, exitInput), row(codeInput, exitInput), row(codeMissing, exitInput),
		row(codeCurve, exitInput), row(codeHSM, exitHSM), row(codeException, exitError),
	}
	for _, c := range classes {
		rows = append(rows, row(c.code, c.exit))
	}
	slices.Sort(rows)
	for _, r := range slices.Compact(rows) {
		b.WriteString(r)
	}
	return b.String()
}

func row(code string, exit int) string { return fmt.Sprintf("| `%s` | %d |\n", code, exit) }

type reasonSection struct {
	title, text string
	reasons     []reason
}

type reason struct{ code, meaning string }

// reasonSections reads the constants and their comments. Each block's comment
// is "Title: text", each constant's the meaning; a code may occur once.
func reasonSections(t *testing.T) []reasonSection {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "sign", "verdict", "reasons.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var sections []reasonSection
	var seen []string
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		comment := strings.Join(strings.Fields(block.Doc.Text()), " ")
		title, text, ok := strings.Cut(comment, ": ")
		if !ok {
			t.Fatalf("the comment of a block is %q, want \"Title: text\"", comment)
		}
		s := reasonSection{title: title, text: strings.ToUpper(text[:1]) + text[1:]}
		for _, spec := range block.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				t.Fatal("a constant without a value of its own")
			}
			code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			meaning := strings.Join(strings.Fields(v.Comment.Text()), " ")
			if meaning == "" || slices.Contains(seen, code) {
				t.Errorf("reason %q has no comment, or occurs twice", code)
			}
			seen = append(seen, code)
			s.reasons = append(s.reasons, reason{code, meaning})
		}
		sections = append(sections, s)
	}
	if len(seen) == 0 {
		t.Fatal("no reason codes found")
	}
	return sections
}
