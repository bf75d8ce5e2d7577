package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otapack/otapack/bootloader"
)

// TestDocsProfiles keeps docs/profiles.md in step with the profiles:
// go test ./cmd/otapack -run TestDocs -update
func TestDocsProfiles(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "profiles.md")
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- from here on: made from bootloader.Profiles by make docs -->\n"
	text, _, ok := strings.Cut(string(have), mark)
	if !ok {
		t.Fatal("docs/profiles.md has no mark")
	}
	page := text + mark + profilesPage()
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(have) != page {
		t.Error("docs/profiles.md is out of step with the code: run make docs")
	}
}

// profilesPage is the tables of all profiles.
func profilesPage() string {
	var b strings.Builder
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
	for _, p := range bootloader.Profiles() {
		fmt.Fprintf(&b, "\n## %s\n\n%s. Verifier: `%s`.\n\n", p.Name, p.Title, p.Verifier)
		b.WriteString("| step | looks at | compare | on failure | |\n| --- | --- | --- | --- | --- |\n")
		for _, s := range p.Steps {
			var notes []string
			if s.Optional {
				notes = append(notes, "some builds only")
			}
			if s.Ours {
				notes = append(notes, "our check, not the bootloader's")
			}
			if s.Secret != "" {
				notes = append(notes, "**secret**: "+s.Secret)
			}
			if s.Note != "" {
				notes = append(notes, s.Note)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.ID, cell(s.Input), s.Compare, s.OnFail, cell(strings.Join(notes, "; ")))
		}
		fmt.Fprintf(&b, "\n- rollback: %s; passes: %s; raised: %s\n", p.Rollback.Of, p.Rollback.Rule, p.Rollback.Raised)
		fmt.Fprintf(&b, "- trial: %s; way back: %s\n", trialText(p.Trial), p.Trial.Revert)
		for _, w := range p.Writes {
			fmt.Fprintf(&b, "- %s: %s\n", w.When, w.State)
		}
		fmt.Fprintf(&b, "- every boot: %s\n- hardening: %s\n- flash: %s\n", p.EveryBoot, p.Hardening, geometryText(p.Geometry))
		fmt.Fprintf(&b, "- source: %s %s, `%s`\n", p.Source.Project, p.Source.Version, strings.Join(p.Source.Files, "`, `"))
	}
	return b.String()
}
