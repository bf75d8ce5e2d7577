package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man <directory>",
		Short: "Write the manual pages, for packagers",
		Long: `Write a manual page for every command into man1 of a directory, and the help
topics into man7. make install puts them where man finds them.`,
		Example: "  otapack man /usr/local/share/man",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pages := manPages(cmd.Root())
			for _, p := range pages {
				dir := filepath.Join(args[0], fmt.Sprintf("man%d", p.section))
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
				// A page of an older version is replaced, so not writeFile.
				if err := os.WriteFile(filepath.Join(dir, p.file()), []byte(p.text), 0o644); err != nil {
					return err
				}
			}
			return a.result(manResult{"otapack.man/1", args[0], len(pages)}, args[0]+"\n")
		},
	}
}

type manResult struct {
	Schema string `json:"schema"`
	Path   string `json:"path"`
	Pages  int    `json:"pages"`
}

// manPage is one page of the manual.
type manPage struct {
	name    string // "otapack-key-create"
	section int
	text    string // man(7) source
}

func (p manPage) file() string { return fmt.Sprintf("%s.%d", p.name, p.section) }

// manPages makes the pages of a command and all below it: section 1, and 7 for
// the topics of help. They carry no date: the same program gives the same bytes.
func manPages(c *cobra.Command) []manPage {
	if c.Name() == "help" {
		return nil
	}
	pages := []manPage{newManPage(c)}
	for _, sub := range c.Commands() {
		pages = append(pages, manPages(sub)...)
	}
	return pages
}

func newManPage(c *cobra.Command) manPage {
	p := manPage{name: manName(c), section: manSection(c)}
	var b roff
	b.request("TH", strings.ToUpper(p.name), fmt.Sprint(p.section), "", "otapack "+toolVersion(), "otapack manual")
	b.request("SH", "NAME")
	b.line(p.name + ` \- ` + escapeRoff(c.Short))
	if p.section == 1 {
		b.request("SH", "SYNOPSIS")
		b.request("B", c.UseLine())
	}
	b.section("DESCRIPTION", cmp.Or(c.Long, c.Short))
	b.section("EXAMPLES", c.Example)
	if p.section == 1 {
		c.InitDefaultHelpFlag()
		b.section("OPTIONS", c.LocalFlags().FlagUsages())
		b.section("GLOBAL OPTIONS", c.InheritedFlags().FlagUsages())
	}
	var also []string
	if c.HasParent() {
		also = append(also, manReference(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.Name() != "help" {
			also = append(also, manReference(sub))
		}
	}
	if len(also) > 0 {
		b.request("SH", "SEE ALSO")
		for i, reference := range also {
			if i < len(also)-1 {
				reference += ","
			}
			b.line(reference)
		}
	}
	p.text = b.String()
	return p
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func manSection(c *cobra.Command) int {
	if c.IsAdditionalHelpTopicCommand() {
		return 7
	}
	return 1
}

func manReference(c *cobra.Command) string {
	return fmt.Sprintf(`\fB%s\fP(%d)`, escapeRoff(manName(c)), manSection(c))
}

// roff is man(7) source under construction, see groff_man(7) and mandoc's man(7).
type roff struct{ strings.Builder }

// request writes a macro with its arguments, quoted.
func (r *roff) request(macro string, args ...string) {
	r.WriteString("." + macro)
	for _, a := range args {
		r.WriteString(` "` + strings.ReplaceAll(escapeRoff(a), `"`, `\(dq`) + `"`)
	}
	r.WriteByte('\n')
}

// line writes text that is escaped already. One that would begin with a control
// character gets a zero-width one first.
func (r *roff) line(text string) {
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		r.WriteString(`\&`)
	}
	r.WriteString(text + "\n")
}

// section writes help text under a heading: blocks between empty lines are
// filled, those with an indented line stay as they are.
func (r *roff) section(title, text string) {
	if text == "" {
		return
	}
	r.request("SH", title)
	text = strings.ReplaceAll(text, "\t", "    ")
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		literal := strings.Contains("\n"+block, "\n ")
		r.request("PP")
		if literal {
			r.request("nf")
		}
		for line := range strings.SplitSeq(block, "\n") {
			r.line(escapeRoff(line))
		}
		if literal {
			r.request("fi")
		}
	}
}

// roffEscapes has the characters that roff would take for something else or
// replace: the escape character, and what becomes a typographic dash or quote.
var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// escapeRoff makes text that roff prints as it is. Characters beyond ASCII are
// written as their code points, so that the page needs no encoding.
func escapeRoff(s string) string {
	var b strings.Builder
	for _, c := range roffEscapes.Replace(s) {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, c)
		}
	}
	return b.String()
}
