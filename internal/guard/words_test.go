package guard

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machinePath finds an absolute path below somebody's home or work folder. What
// stands before the slash must not make it a URL's path or a relative one.
var machinePath = regexp.MustCompile(`(?:^|[^\w.~})\]])/(?:work|root|home/\w+|Users/\w+)/`)

// TestNoMachinePaths looks at every text file that is tracked or about to be:
// what works in one checkout only has no place in any of them.
func TestNoMachinePaths(t *testing.T) {
	watchTree(t)
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	n := 0
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			continue // removed, or binary
		}
		n++
		for i, line := range bytes.Split(text, []byte("\n")) {
			if m := machinePath.Find(line); m != nil {
				t.Errorf("%s:%d: machine path %q", name, i+1, m)
			}
		}
	}
	if n == 0 {
		t.Error("no file was looked at")
	}
}

func TestMachinePath(t *testing.T) {
	for line, want := range map[string]bool{ // with | for the slash, so that this file passes
		`see |work|main|x`:               true,
		`-I |root|go|pkg`:                true,
		`"|home|builder|otapack"`:        true,
		`file:|||home|builder|x`:         true,
		`https:||example.com|root|x`:     false,
		`.|work|x and $(pwd)|work|x`:     false,
		`|usr|share|otapack |var|root`:   false,
		`|home`:                          false,
		`a home|builder|x is relative`:   false,
		`${HOME}|work|x is not absolute`: false,
	} {
		if got := machinePath.MatchString(strings.ReplaceAll(line, "|", "/")); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}
