package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestMain lets the test binary stand in for the tool under go vet.
func TestMain(m *testing.M) {
	if os.Getenv("LINT_TEST_TOOL") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestFindings runs the tool over testdata/bad.go and compares what it says
// with the want comments, line by line: a check that went missing fails here.
func TestFindings(t *testing.T) {
	source, err := os.ReadFile("testdata/bad.go")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{"go.mod": "module bad\n\ngo 1.26.0\n", "bad.go": string(source)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "-vettool="+self, ".")
	vet.Dir = dir
	vet.Env = append(os.Environ(), "LINT_TEST_TOOL=1", "GOWORK=off")
	out, err := vet.CombinedOutput()
	if err == nil {
		t.Error("go vet accepts testdata/bad.go")
	}

	got := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)bad\.go:(\d+):\d+: (.*)$`).FindAllStringSubmatch(string(out), -1) {
		got[m[1]] = append(got[m[1]], m[2])
	}
	want := regexp.MustCompile(`// want "(.*)"$`)
	for i, line := range strings.Split(string(source), "\n") {
		number := strconv.Itoa(i + 1)
		if m := want.FindStringSubmatch(line); m != nil {
			if !slices.ContainsFunc(got[number], func(s string) bool { return strings.Contains(s, m[1]) }) {
				t.Errorf("line %s: got %q, want %q", number, got[number], m[1])
			}
			delete(got, number)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(got)) {
		t.Errorf("line %s: got %q, want nothing", number, got[number])
	}
	if t.Failed() {
		t.Logf("go vet says:\n%s", out)
	}
}
