package term

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) {
	const erase = "\x1b[K"
	for _, test := range []struct {
		name string
		run  func(p *Progress)
		want string
	}{
		{"short work", func(p *Progress) { time.Sleep(quiet - 1) }, ""},
		{"long work", func(p *Progress) { time.Sleep(10 * quiet) }, "\rfirst" + erase + "\r" + erase},
		{"text changes before it shows", func(p *Progress) {
			p.Set("second")
			time.Sleep(quiet + 1)
		}, "\rsecond" + erase + "\r" + erase},
		{"text changes", func(p *Progress) {
			time.Sleep(quiet + 1)
			p.Set("never seen")
			p.Set("second")
			time.Sleep(interval)
		}, "\rfirst" + erase + "\rsecond" + erase + "\r" + erase},
		{"wide and unprintable", func(p *Progress) {
			p.Set("a\x1b[2J\nä" + strings.Repeat("x", 100))
			time.Sleep(quiet + 1)
		}, "\ra [2J äxx" + erase + "\r" + erase},
		{"after Stop", func(p *Progress) {
			p.Stop()
			p.Set("second")
			time.Sleep(2 * quiet)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				p := start(&out, func() int { return 10 }, "first")
				test.run(p)
				p.Stop()
				p.Stop()
				time.Sleep(2 * quiet)
				synctest.Wait()
				if got := out.String(); got != test.want {
					t.Errorf("wrote %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestMeter(t *testing.T) {
	for _, test := range []struct {
		done, total int
		elapsed     time.Duration
		want        string
	}{
		{0, 10, 0, "[                    ] 0 of 10"},
		{1, 10, time.Second, "[==                  ] 1 of 10, 9s left"},
		{500_000, 1_000_000, 100 * time.Second, "[==========          ] 500000 of 1000000, 1m40s left"},
		{10, 10, time.Second, "[====================] 10 of 10"},
		{0, 0, 0, ""}, {11, 10, 0, ""}, {-1, 10, 0, ""},
	} {
		if got := Meter(test.done, test.total, test.elapsed); got != test.want {
			t.Errorf("Meter(%d, %d, %v) = %q, want %q", test.done, test.total, test.elapsed, got, test.want)
		}
	}
}

func TestFit(t *testing.T) {
	for _, test := range []struct {
		text    string
		columns int
		want    string
	}{
		{"abc", 4, "abc"}, {"abc", 3, "ab"}, {"äöü", 4, "äöü"}, {"äöü", 3, "äö"}, {"abc", 1, ""}, {"abc", 0, ""}, {"", 0, ""},
		{"a\x7fb\u009bc", 80, "a b c"},
	} {
		if got := fit(test.text, test.columns); got != test.want {
			t.Errorf("fit(%q, %d) = %q, want %q", test.text, test.columns, got, test.want)
		}
	}
}

func TestNotATerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	noEnv := func(string) string { return "" }
	if IsTerminal(f) || ColorEnabled(noEnv, f) {
		t.Error("a file counts as a terminal")
	}
	if got := width(f); got != 80 {
		t.Errorf("width %d, want 80", got)
	}
	synctest.Test(t, func(t *testing.T) {
		p := StartProgress(f, "text")
		time.Sleep(2 * quiet)
		p.Set("more")
		p.Stop()
	})
	if data, err := os.ReadFile(path); err != nil || len(data) != 0 {
		t.Errorf("wrote %q, %v", data, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if IsTerminal(f) {
		t.Error("a closed file counts as a terminal")
	}
}
