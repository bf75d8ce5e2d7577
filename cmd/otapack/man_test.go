package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEscapeRoff(t *testing.T) {
	for text, want := range map[string]string{
		"plain text":        "plain text",
		`a\b`:               `a\eb`,
		"--json":            `\-\-json`,
		"it's `x` ^ ~":      `it\(aqs \(gax\(ga \(ha \(ti`,
		"pkcs11:serial=…":   `pkcs11:serial=\[u2026]`,
		".not a request":    ".not a request", // only at the beginning of a line: see line
		"\U0001F511 \u00fc": `\[u1F511] \[u00FC]`,
	} {
		if got := escapeRoff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	var r roff
	r.line(".TH x")
	r.line("'br")
	r.request("B", `say "x" \ -`)
	r.section("T", "one\ntwo\n\n\t.three\n")
	r.section("EMPTY", "")
	const want = "\\&.TH x\n\\&'br\n.B \"say \\(dqx\\(dq \\e \\-\"\n.SH \"T\"\n.PP\none\ntwo\n.PP\n.nf\n    .three\n.fi\n"
	if r.String() != want {
		t.Errorf("got\n%s\nwant\n%s", r.String(), want)
	}
}

// TestManPages demands a page for every command, in a form that every man reads.
func TestManPages(t *testing.T) {
	pages := map[string]manPage{}
	for _, p := range manPages(testRoot()) {
		pages[p.name] = p
	}
	request := regexp.MustCompile(`^\.(TH|SH|PP|nf|fi|B)( "[^"]*")*$`)
	eachCommand(testRoot(), func(c *cobra.Command) {
		if c.Name() == "help" {
			return
		}
		p, ok := pages[manName(c)]
		if !ok {
			t.Errorf("no page for %s", c.CommandPath())
			return
		}
		lines := strings.Split(strings.TrimSuffix(p.text, "\n"), "\n")
		if !strings.HasPrefix(lines[0], ".TH ") || !slices.Contains(lines, `.SH "NAME"`) || !slices.Contains(lines, `.SH "DESCRIPTION"`) {
			t.Errorf("%s: it does not begin as a page does", p.file())
		}
		for i, line := range lines {
			switch {
			case strings.HasPrefix(line, "."):
				if !request.MatchString(line) {
					t.Errorf("%s:%d: request %q", p.file(), i+1, line)
				}
			case strings.HasPrefix(line, "'"):
				t.Errorf("%s:%d: a line of text that is a request: %q", p.file(), i+1, line)
			}
			for _, c := range []byte(line) {
				if c >= 0x80 || c < ' ' {
					t.Errorf("%s:%d: not printable ASCII: %q", p.file(), i+1, line)
					break
				}
			}
		}
	})
	topic := pages["otapack-pin"]
	if topic.section != 7 || !strings.Contains(pages["otapack"].text, `\fBotapack\-pin\fP(7)`) {
		t.Errorf("the topics are not in section 7: %+v", topic)
	}
}

// TestManRenders has groff read the pages, where it is installed.
func TestManRenders(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "otapack", "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man?", "*"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tascii", "-P-cbou", "-ww")
		var errs bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(text), &errs
		out, err := cmd.Output()
		if err != nil || errs.Len() > 0 {
			t.Errorf("%s: %v: %s", page, err, errs.String())
		}
		if !bytes.Contains(out, []byte("NAME\n")) {
			t.Errorf("%s: renders as %.200q", page, out)
		}
	}
}
