//go:build unix

package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// tree returns what is below dir: file contents by slash path, and "dir" for
// directories under a name that ends in a slash.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir():
			got[name+"/"] = "dir"
		case d.Type()&fs.ModeSymlink != 0:
			got[name], err = os.Readlink(path)
			got[name] = "-> " + got[name]
		default:
			var data []byte
			data, err = os.ReadFile(path)
			got[name] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func checkTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("files on disk: %q, want %q", got, want)
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "dist", "1.0.0")
	s := NewSet(out)
	defer s.Abort()
	w, err := s.Create("app.ota")
	must(t, err)
	for _, part := range []string{"one ", "two"} {
		_, err := w.Write([]byte(part))
		must(t, err)
	}
	must(t, s.Write("radio/manifest.suit", []byte("manifest")))
	must(t, s.WritePrivate("radio/secret.key", []byte("secret")))
	must(t, s.Write(filepath.Join(dir, "elsewhere.txt"), nil))
	must(t, s.Replace(filepath.Join(dir, "release.json"), []byte("{}")))

	for name, data := range tree(t, dir) {
		if data != "dir" && !strings.HasPrefix(filepath.Base(name), ".otapack-") {
			t.Errorf("%s is visible before Commit", name)
		}
	}
	must(t, s.Commit())
	must(t, s.Abort())
	want := map[string]string{
		"dist/":                          "dir",
		"dist/1.0.0/":                    "dir",
		"dist/1.0.0/app.ota":             "one two",
		"dist/1.0.0/radio/":              "dir",
		"dist/1.0.0/radio/manifest.suit": "manifest",
		"dist/1.0.0/radio/secret.key":    "secret",
		"elsewhere.txt":                  "",
		"release.json":                   "{}",
	}
	checkTree(t, dir, want)

	for name, forbidden := range map[string]fs.FileMode{"app.ota": 0o133, "radio/secret.key": 0o177} {
		info, err := os.Stat(filepath.Join(out, name))
		must(t, err)
		if mode := info.Mode().Perm(); mode&forbidden != 0 || mode&0o600 != 0o600 {
			t.Errorf("%s has mode %v", name, mode)
		}
	}
	if err := s.Commit(); !errors.Is(err, ErrDone) {
		t.Errorf("second Commit: %v, want ErrDone", err)
	}
	if err := s.Write("late", nil); !errors.Is(err, ErrDone) {
		t.Errorf("Write after Commit: %v, want ErrDone", err)
	}
	if _, err := w.Write([]byte("late")); !errors.Is(err, ErrDone) {
		t.Errorf("staged Write after Commit: %v, want ErrDone", err)
	}
	checkTree(t, dir, want)
}

func TestCommitAgainIsNoOp(t *testing.T) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("0123456789"), 20000) // several comparison blocks
	commit := func() error {
		s := NewSet(dir)
		defer s.Abort()
		must(t, s.Write("big", big))
		must(t, s.Write("empty", nil))
		must(t, s.Replace(filepath.Join(dir, "last"), []byte("1")))
		return s.Commit()
	}
	must(t, commit())
	before, err := os.Stat(filepath.Join(dir, "big"))
	must(t, err)
	must(t, commit())
	after, err := os.Stat(filepath.Join(dir, "big"))
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("a file with the same bytes was written again")
	}
	checkTree(t, dir, map[string]string{"big": string(big), "empty": "", "last": "1"})
}

// A destination that holds anything else stops the whole set, wherever it
// stands in the order.
func TestExists(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, test := range []struct {
		name  string
		place func(path string) error
		data  string
	}{
		{"other bytes", func(p string) error { return os.WriteFile(p, []byte("old"), 0o644) }, "new"},
		{"shorter", func(p string) error { return os.WriteFile(p, nil, 0o644) }, "new"},
		{"longer", func(p string) error { return os.WriteFile(p, []byte("new and more"), 0o644) }, "new"},
		{"last byte differs", func(p string) error { return os.WriteFile(p, []byte(long+"y"), 0o644) }, long + "z"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }, "new"},
		{"dangling link", func(p string) error { return os.Symlink("nowhere", p) }, "new"},
		{"link to itself", func(p string) error { return os.Symlink(filepath.Base(p), p) }, "new"},
		{"pipe", func(p string) error { return syscall.Mkfifo(p, 0o644) }, ""},
	} {
		for _, order := range []string{"a", "b", "c"} {
			t.Run(test.name+"/"+order, func(t *testing.T) {
				dir := t.TempDir()
				must(t, test.place(filepath.Join(dir, order)))
				write(t, filepath.Join(dir, "last"), "previous")
				if test.name == "pipe" {
					must(t, os.Remove(filepath.Join(dir, "last"))) // tree would block on the pipe
				}
				s := NewSet(dir)
				defer s.Abort()
				for _, name := range []string{"a", "b", "c"} {
					must(t, s.Write(name, []byte(test.data)))
				}
				must(t, s.Write("sub/d", []byte("d")))
				must(t, s.Replace(filepath.Join(dir, "last"), []byte("next")))
				err := s.Commit()
				if test.name == "link to itself" {
					if err == nil {
						t.Fatal("accepted")
					}
				} else if e, ok := errors.AsType[*ExistsError](err); !ok || e.Path != filepath.Join(dir, order) || !errors.Is(err, ErrExists) {
					t.Fatalf("got %v, want an ExistsError for %s", err, order)
				}
				names, err := os.ReadDir(dir)
				must(t, err)
				var got []string
				for _, n := range names {
					got = append(got, n.Name())
				}
				want := []string{order, "last"}
				if test.name == "pipe" {
					want = want[:1]
				} else if data, err := os.ReadFile(filepath.Join(dir, "last")); err != nil || string(data) != "previous" {
					t.Errorf("last is %q, %v", data, err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("left behind: %q, want %q", got, want)
				}
			})
		}
	}
}

func TestExistsThroughSymlink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "target"), "same")
	must(t, os.Symlink("target", filepath.Join(dir, "name")))
	s := NewSet(dir)
	defer s.Abort()
	must(t, s.Write("name", []byte("same")))
	must(t, s.Commit())
	checkTree(t, dir, map[string]string{"target": "same", "name": "-> target"})
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(filepath.Join(dir, "made", "by", "set"))
	must(t, s.Write("x/y/file", []byte("data")))
	must(t, s.Write("file", []byte("data")))
	must(t, s.Replace(filepath.Join(dir, "pointers", "last"), []byte("data")))
	write(t, filepath.Join(dir, "made", "someone-elses"), "kept")
	must(t, s.Abort())
	must(t, s.Abort())
	checkTree(t, dir, map[string]string{"made/": "dir", "made/someone-elses": "kept"})
	if err := s.Commit(); !errors.Is(err, ErrDone) {
		t.Errorf("Commit after Abort: %v, want ErrDone", err)
	}
}

func TestEmptySet(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(filepath.Join(dir, "out"))
	must(t, s.Commit())
	must(t, s.Abort())
	checkTree(t, dir, map[string]string{})
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(filepath.Join(dir, "out"))
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "x\x00y", dir + "/x\x00y"} {
		if err := s.Write(name, nil); !errors.Is(err, ErrName) {
			t.Errorf("Write(%q): %v, want ErrName", name, err)
		}
	}
	must(t, s.Write("a/b", nil))
	for _, name := range []string{"a/b", "a//b", "./a/c/../b", filepath.Join(dir, "out", "a", "b")} {
		if err := s.Write(name, nil); !errors.Is(err, ErrName) {
			t.Errorf("Write(%q) a second time: %v, want ErrName", name, err)
		}
	}
	must(t, s.Replace(filepath.Join(dir, "last"), nil))
	if err := s.Replace(filepath.Join(dir, "other"), nil); !errors.Is(err, ErrName) {
		t.Errorf("second Replace: %v, want ErrName", err)
	}
	must(t, s.Abort())
	checkTree(t, dir, map[string]string{})
}

func TestDirectoryIsFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "x")
	s := NewSet(dir)
	defer s.Abort()
	for _, name := range []string{"f/x", "f/x/y"} {
		if err := s.Write(name, nil); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("Write(%q): %v, want ENOTDIR", name, err)
		}
	}
	must(t, os.Symlink("nowhere", filepath.Join(dir, "l")))
	if err := s.Write("l/x", nil); err == nil {
		t.Error("staged below a dangling link")
	}
}

// Two names for one file, which the checks before publishing cannot see.
func TestRollBack(t *testing.T) {
	for _, links := range []bool{true, false} {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
		must(t, os.Symlink("real", filepath.Join(dir, "alias")))
		write(t, filepath.Join(dir, "last"), "previous")
		before := tree(t, dir)
		s := NewSet(dir)
		if !links {
			s.link = func(_, _ string) error { return &os.LinkError{Op: "link", Err: syscall.EPERM} }
		}
		must(t, s.Write("first", []byte("1")))
		must(t, s.Write("new/second", []byte("2")))
		must(t, s.Write("real/third", []byte("3")))
		must(t, s.Write("alias/third", []byte("not 3")))
		must(t, s.Replace(filepath.Join(dir, "last"), []byte("next")))
		err := s.Commit()
		if e, ok := errors.AsType[*ExistsError](err); !ok || e.Path != filepath.Join(dir, "alias/third") {
			t.Errorf("links %v: %v, want an ExistsError for alias/third", links, err)
		}
		checkTree(t, dir, before)
		must(t, s.Abort())
		checkTree(t, dir, before)
	}
}

func TestSameBytesRaced(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink(".", filepath.Join(dir, "alias")))
	s := NewSet(dir)
	defer s.Abort()
	must(t, s.Write("file", []byte("1")))
	must(t, s.Write("alias/file", []byte("1")))
	must(t, s.Commit())
	checkTree(t, dir, map[string]string{"alias": "-> .", "file": "1"})
}

// Between the check and the link, another writer makes the file and removes it.
func TestCameAndWent(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(dir)
	s.link = func(_, _ string) error { return &os.LinkError{Op: "link", Err: syscall.EEXIST} }
	must(t, s.Write("file", nil))
	if err := s.Commit(); !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	checkTree(t, dir, map[string]string{})
}

func TestWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(dir)
	defer s.Abort()
	s.link = func(_, _ string) error { return &os.LinkError{Op: "link", Err: syscall.ENOTSUP} }
	must(t, s.Write("a/b", []byte("1")))
	must(t, s.WritePrivate("key", []byte("2")))
	must(t, s.Commit())
	checkTree(t, dir, map[string]string{"a/": "dir", "a/b": "1", "key": "2"})
}

// The pointer comes last: when it cannot be renamed, the files before it go.
func TestPointerFails(t *testing.T) {
	t.Run("directory gone", func(t *testing.T) {
		dir := t.TempDir()
		s := NewSet(filepath.Join(dir, "out"))
		must(t, s.Write("file", []byte("1")))
		must(t, s.Replace(filepath.Join(dir, "p", "last"), []byte("2")))
		must(t, os.RemoveAll(filepath.Join(dir, "p")))
		if err := s.Commit(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
		checkTree(t, dir, map[string]string{})
	})
	t.Run("is a directory", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "last"), 0o755))
		s := NewSet(filepath.Join(dir, "out"))
		must(t, s.Write("file", []byte("1")))
		must(t, s.Replace(filepath.Join(dir, "last"), []byte("2")))
		if err := s.Commit(); err == nil {
			t.Error("replaced a directory")
		}
		checkTree(t, dir, map[string]string{"last/": "dir"})
	})
}

func TestDirectoryGone(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(dir)
	must(t, s.Write("a", []byte("1")))
	must(t, s.Write("sub/b", []byte("2")))
	must(t, os.RemoveAll(filepath.Join(dir, "sub")))
	if err := s.Commit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	checkTree(t, dir, map[string]string{})
}

// Rolling back never removes a file that somebody else has put in place.
func TestRollBackKeepsForeignFile(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(dir)
	must(t, s.Write("a", []byte("1")))
	must(t, s.Write("b", []byte("2")))
	calls := 0
	s.link = func(oldname, newname string) error {
		if calls++; calls == 1 {
			return os.Link(oldname, newname)
		}
		write(t, filepath.Join(dir, "foreign"), "foreign")
		must(t, os.Rename(filepath.Join(dir, "foreign"), filepath.Join(dir, "a")))
		return &os.LinkError{Op: "link", Err: syscall.ENOENT}
	}
	if err := s.Commit(); err == nil {
		t.Error("accepted")
	}
	checkTree(t, dir, map[string]string{"a": "foreign"})
}

// Temporary files of a killed run neither disturb a later one nor vanish.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	killed := NewSet(dir)
	must(t, killed.Write("a", []byte("half")))
	s := NewSet(dir)
	defer s.Abort()
	must(t, s.Write("a", []byte("whole")))
	must(t, s.Commit())
	got := tree(t, dir)
	if len(got) != 2 || got["a"] != "whole" {
		t.Errorf("files on disk: %q", got)
	}
	if err := killed.Commit(); !errors.Is(err, ErrExists) {
		t.Errorf("Commit of the other set: %v, want ErrExists", err)
	}
	checkTree(t, dir, map[string]string{"a": "whole"})
}

// A write that failed is not forgotten when its error was ignored.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	s := NewSet(dir)
	w, err := s.Create("a")
	must(t, err)
	must(t, s.Write("b", nil))
	must(t, s.files[0].file.Close())
	if _, err := w.Write([]byte("1")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write: %v, want ErrClosed", err)
	}
	err = s.Commit()
	if !errors.Is(err, os.ErrClosed) || strings.Count(err.Error(), "atomicfile") != 1 {
		t.Errorf("Commit: %v, want ErrClosed", err)
	}
	checkTree(t, dir, map[string]string{})
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "ro"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "ro"), 0o555))
	s := NewSet(filepath.Join(dir, "ro"))
	for _, name := range []string{"a", "sub/a"} {
		if err := s.Write(name, nil); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Write(%q): %v, want ErrPermission", name, err)
		}
	}
	must(t, s.Abort())

	// It becomes read-only after staging: nothing can be published, and the
	// temporary file cannot be removed, which the error says.
	s = NewSet(filepath.Join(dir, "out"))
	must(t, s.Write("a", []byte("1")))
	must(t, s.Write("sub/b", []byte("2")))
	must(t, os.Chmod(filepath.Join(dir, "out", "sub"), 0o555))
	err := s.Commit()
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "taking back") {
		t.Errorf("Commit: %v, want ErrPermission twice", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("out/a: %v, want ErrNotExist", err)
	}
	must(t, os.Chmod(filepath.Join(dir, "out", "sub"), 0o755))
}

func BenchmarkCommit(b *testing.B) {
	dir := b.TempDir()
	payload := make([]byte, 256<<10)
	for i := 0; b.Loop(); i++ {
		s := NewSet(filepath.Join(dir, string(rune('a'+i%26)), string(rune('a'+i/26%26)), string(rune('a'+i/676))))
		for _, name := range []string{"radio/payload.bin", "motor/payload.bin", "release.ota"} {
			if err := s.Write(name, payload); err != nil {
				b.Fatal(err)
			}
		}
		for _, name := range []string{"radio/manifest.suit", "motor/manifest.suit", "release.json"} {
			if err := s.Write(name, payload[:500]); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// A set that depends on what it replaces is published only over that.
func TestReplaceUnchanged(t *testing.T) {
	for _, tt := range []struct {
		name    string
		was     []byte
		is      string // "-" for no file
		changed bool
	}{
		{name: "none, as before", was: nil, is: "-"},
		{name: "as before", was: []byte("1"), is: "1"},
		{name: "empty, as before", was: []byte{}, is: ""},
		{name: "what is to be written", was: []byte("1"), is: "2"},
		{name: "another", was: []byte("1"), is: "3", changed: true},
		{name: "one more byte", was: []byte("1"), is: "11", changed: true},
		{name: "came", was: nil, is: "1", changed: true},
		{name: "came empty", was: nil, is: "", changed: true},
		{name: "went", was: []byte("1"), is: "-", changed: true},
		{name: "went empty", was: []byte{}, is: "-", changed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			last := filepath.Join(dir, "last")
			want := map[string]string{}
			if tt.is != "-" {
				must(t, os.WriteFile(last, []byte(tt.is), 0o644))
				want["last"] = tt.is
			}
			s := NewSet(dir)
			defer s.Abort()
			must(t, s.Write("file", []byte("x")))
			must(t, s.ReplaceUnchanged(last, []byte("2"), tt.was))
			err := s.Commit()
			if errors.Is(err, ErrChanged) != tt.changed || err != nil && !tt.changed {
				t.Errorf("got %v", err)
			}
			if !tt.changed {
				want["last"], want["file"] = "2", "x"
			}
			checkTree(t, dir, want)
		})
	}
}

// Of sets that replace the same content at the same time, one is published.
func TestReplaceUnchangedOnce(t *testing.T) {
	dir := t.TempDir()
	last := filepath.Join(dir, "last")
	const sets = 8
	results := make(chan error, sets)
	for i := range sets {
		s := NewSet(dir)
		must(t, s.Write(fmt.Sprint(i), []byte("x")))
		must(t, s.ReplaceUnchanged(last, fmt.Append(nil, "by ", i), nil))
		go func() { results <- errors.Join(s.Commit(), s.Abort()) }()
	}
	published := 0
	for range sets {
		switch err := <-results; {
		case err == nil:
			published++
		case !errors.Is(err, ErrChanged):
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if published != 1 || len(entries) != 2 {
		t.Errorf("%d sets published, %d files", published, len(entries))
	}
}
