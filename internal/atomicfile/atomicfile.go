// Package atomicfile writes a set of files so that either all of them appear or
// none does.
//
// Files are staged next to their destination under a temporary name
// (".otapack-*.tmp"). [Set.Commit] makes them durable, looks at every
// destination, and only then publishes. A destination that already holds the
// same bytes is left alone, so that a second run is a no-op; one that holds
// anything else is an [*ExistsError] and nothing at all is changed. A failure
// half way takes back what was published before it.
//
//	set := atomicfile.NewSet("dist/1.4.2")
//	defer set.Abort()
//	if err := set.Write("radio/manifest.suit", manifest); err != nil {
//		return err
//	}
//	return set.Commit()
//
// A killed process can leave temporary files and, between two publications,
// part of a set. The file given to [Set.Replace] is written last, so whoever
// finds it finds the whole set.
package atomicfile

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// Errors of this package, to be tested with errors.Is.
var (
	ErrExists = errors.New("exists with other content")
	ErrName   = errors.New("unusable file name")
	ErrDone   = errors.New("set is already committed or aborted")
	// ErrChanged says that a file is not what it was when the set was prepared.
	ErrChanged = errors.New("was changed meanwhile")
)

// ExistsError names the destination that holds something else than what the set
// would write. It wraps ErrExists.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string { return fmt.Sprintf("atomicfile: %s: %v", e.Path, ErrExists) }

// Unwrap returns ErrExists.
func (e *ExistsError) Unwrap() error { return ErrExists }

const (
	modePublic  fs.FileMode = 0o644 // both before the umask
	modePrivate fs.FileMode = 0o600
	modeDir     fs.FileMode = 0o755
)

// Set is a group of output files. It is for one goroutine. Abort must be called
// when the set is no longer needed, also after Commit.
type Set struct {
	dir     string
	files   []*staged // in the order in which they are published
	pointer *staged   // published last, may replace; nil when there is none
	held    [][]byte  // what the pointer may replace, nil for no file; none: anything
	created []string  // directories that did not exist, parents first
	done    bool

	link func(oldname, newname string) error // os.Link
}

// staged is one file under its temporary name.
type staged struct {
	dest    string
	temp    string
	file    *os.File    // closed and nil after sync
	info    fs.FileInfo // of the temporary file, to recognise it once published
	err     error       // first failed write
	present bool        // the destination already holds these bytes
	ours    bool        // published by this set
	gone    bool        // the temporary name no longer exists
}

// NewSet returns an empty set whose relative names are below dir. Nothing is
// created before the first file is staged.
func NewSet(dir string) *Set { return &Set{dir: dir, link: os.Link} }

// Create stages a file with mode 0644 and returns the writer of its content,
// which must not be used after Commit or Abort. A failed write also fails
// Commit. The name is relative to the set's directory and must stay inside, or
// it is absolute and goes where it says; missing directories are created.
func (s *Set) Create(name string) (io.Writer, error) {
	f, err := s.stageNamed(name, modePublic)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Write stages a file with mode 0644 and the given content.
func (s *Set) Write(name string, data []byte) error { return s.write(name, data, modePublic) }

// WritePrivate stages a file with mode 0600, for content that only its owner
// may read. It has that mode from its first byte on.
func (s *Set) WritePrivate(name string, data []byte) error { return s.write(name, data, modePrivate) }

// Replace stages the one file of the set that may overwrite another: the record
// that points at the newest set. It is renamed into place as the last step of
// Commit. A symbolic link at path is replaced, not followed. Relative paths are
// relative to the working directory.
func (s *Set) Replace(path string, data []byte) error {
	if s.pointer != nil {
		return fmt.Errorf("atomicfile: %s: second file to replace: %w", path, ErrName)
	}
	f, err := s.stage(filepath.Clean(path), modePublic)
	if err != nil {
		return err
	}
	s.pointer = f
	_, err = f.Write(data)
	return err
}

// ReplaceUnchanged is Replace of a file whose content the set depends on: was is
// what the caller read, nil when there was no file. If the file is something else
// by then, and not data either, Commit changes nothing and its error wraps ErrChanged. Of two sets that
// replace the same content at the same time, one is published.
func (s *Set) ReplaceUnchanged(path string, data, was []byte) error {
	s.held = [][]byte{was, data}
	return s.Replace(path, data)
}

func (s *Set) write(name string, data []byte, mode fs.FileMode) error {
	f, err := s.stageNamed(name, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return err
}

func (s *Set) stageNamed(name string, mode fs.FileMode) (*staged, error) {
	dest := filepath.Clean(name)
	if !filepath.IsAbs(name) {
		if !filepath.IsLocal(name) || dest == "." {
			return nil, fmt.Errorf("atomicfile: %q: %w", name, ErrName)
		}
		dest = filepath.Join(s.dir, name)
	}
	if strings.ContainsRune(dest, 0) {
		return nil, fmt.Errorf("atomicfile: %q: %w", name, ErrName)
	}
	if slices.ContainsFunc(s.files, func(f *staged) bool { return f.dest == dest }) {
		return nil, fmt.Errorf("atomicfile: %s: staged twice: %w", dest, ErrName)
	}
	f, err := s.stage(dest, mode)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, f)
	return f, nil
}

func (s *Set) stage(dest string, mode fs.FileMode) (*staged, error) {
	if s.done {
		return nil, fmt.Errorf("atomicfile: %s: %w", dest, ErrDone)
	}
	dir := filepath.Dir(dest)
	if err := s.mkdirAll(dir); err != nil {
		return nil, fmt.Errorf("atomicfile: %w", err)
	}
	temp := filepath.Join(dir, ".otapack-"+rand.Text()+".tmp")
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, fmt.Errorf("atomicfile: %w", err)
	}
	return &staged{dest: dest, temp: temp, file: file}, nil
}

// mkdirAll is os.MkdirAll that remembers what it made.
func (s *Set) mkdirAll(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := s.mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, modeDir); err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil // someone else was faster: not ours to remove
		}
		return err
	}
	s.created = append(s.created, dir)
	return nil
}

// Write appends to the staged file and remembers the first failure.
func (f *staged) Write(p []byte) (int, error) {
	if f.file == nil {
		return 0, fmt.Errorf("atomicfile: %s: %w", f.dest, ErrDone)
	}
	n, err := f.file.Write(p)
	if err != nil {
		f.err = cmp.Or(f.err, err)
		return n, fmt.Errorf("atomicfile: %w", err)
	}
	return n, nil
}

// sync makes the content durable and closes the file.
func (f *staged) sync() error {
	info, statErr := f.file.Stat()
	err := cmp.Or(f.err, f.file.Sync(), statErr, f.file.Close())
	f.info, f.file = info, nil
	return err
}

// Commit publishes the set. An *ExistsError means that a destination holds
// something else; after that and after every other error before the last step,
// the file system is as it was before the set. The last step is the rename of
// the file given to Replace; when only what follows it fails, removing temporary
// names and making the rename durable, the set is published all the same.
func (s *Set) Commit() error {
	if s.done {
		return fmt.Errorf("atomicfile: %w", ErrDone)
	}
	unlock, err := s.hold()
	if err != nil {
		return errors.Join(err, s.Abort())
	}
	defer unlock()
	if err := s.publish(); err != nil {
		return errors.Join(err, s.Abort())
	}
	if s.pointer != nil {
		if err := os.Rename(s.pointer.temp, s.pointer.dest); err != nil {
			return errors.Join(fmt.Errorf("atomicfile: %w", err), s.Abort())
		}
		s.pointer.gone = true
	}
	// From here on nothing is taken back.
	s.done = true
	err = s.removeTemps()
	if s.pointer != nil {
		err = errors.Join(err, syncDir(filepath.Dir(s.pointer.dest)))
	}
	return err
}

// hold keeps other sets from replacing the pointer, until unlock, and sees that
// it is what it was.
func (s *Set) hold() (unlock func(), err error) {
	if s.held == nil {
		return func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(s.pointer.dest))
	if err != nil {
		return nil, fmt.Errorf("atomicfile: %w", err)
	}
	unlock = func() { _ = dir.Close() } // it was read from only
	if err := lock(dir); err != nil {
		unlock()
		return nil, fmt.Errorf("atomicfile: %s: %w", dir.Name(), err)
	}
	is, err := os.ReadFile(s.pointer.dest)
	if errors.Is(err, fs.ErrNotExist) {
		is, err = nil, nil
	}
	same := func(may []byte) bool { return bytes.Equal(is, may) && (is == nil) == (may == nil) }
	if err == nil && !slices.ContainsFunc(s.held, same) {
		err = fmt.Errorf("%s: %w", s.pointer.dest, ErrChanged)
	}
	if err != nil {
		unlock()
		return nil, fmt.Errorf("atomicfile: %w", err)
	}
	return unlock, nil
}

// publish does everything but the pointer. It leaves taking back to Abort.
func (s *Set) publish() error {
	for _, f := range s.all() {
		if err := f.sync(); err != nil {
			return fmt.Errorf("atomicfile: %w", err)
		}
	}
	for _, f := range s.files {
		if err := f.look(); err != nil {
			return err
		}
	}
	var dirs []string
	for _, dir := range s.created {
		dirs = append(dirs, filepath.Dir(dir))
	}
	for _, f := range s.files {
		dirs = append(dirs, filepath.Dir(f.dest))
		if f.present {
			continue
		}
		if err := s.put(f); err != nil {
			return err
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// put gives a staged file its name, never replacing another file. A hard link
// does that in one step. Where links are not supported, an empty file holds the
// name until the rename.
func (s *Set) put(f *staged) error {
	err := s.link(f.temp, f.dest)
	switch {
	case err == nil:
		f.ours = true
		return nil
	case errors.Is(err, fs.ErrExist):
		return f.raced()
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("atomicfile: %w", err)
	}
	holder, err := os.OpenFile(f.dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modePrivate)
	switch {
	case errors.Is(err, fs.ErrExist):
		return f.raced()
	case err != nil:
		return fmt.Errorf("atomicfile: %w", err)
	}
	if err := cmp.Or(holder.Close(), os.Rename(f.temp, f.dest)); err != nil {
		return errors.Join(fmt.Errorf("atomicfile: %w", err), os.Remove(f.dest))
	}
	f.ours, f.gone = true, true
	return nil
}

// raced handles a destination that appeared after the check.
func (f *staged) raced() error {
	if err := f.look(); err != nil {
		return err
	}
	if !f.present { // came and went: another writer is at work
		return &ExistsError{f.dest}
	}
	return nil
}

// look finds out whether the destination already holds the staged bytes.
// Anything else in its place is an *ExistsError.
func (f *staged) look() error {
	if _, err := os.Lstat(f.dest); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	info, err := os.Stat(f.dest)
	switch {
	case errors.Is(err, fs.ErrNotExist): // dangling symbolic link
		return &ExistsError{f.dest}
	case err != nil:
		return fmt.Errorf("atomicfile: %w", err)
	case !info.Mode().IsRegular() || info.Size() != f.info.Size():
		return &ExistsError{f.dest}
	}
	same, err := sameContent(f.temp, f.dest)
	switch {
	case err != nil:
		return fmt.Errorf("atomicfile: %w", err)
	case !same:
		return &ExistsError{f.dest}
	}
	f.present = true
	return nil
}

// sameContent compares two files block by block.
func sameContent(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	const block = 64 << 10
	bufA, bufB := make([]byte, block), make([]byte, block)
	for {
		na, errA := io.ReadFull(fa, bufA)
		nb, errB := io.ReadFull(fb, bufB)
		endA, endB := isEnd(errA), isEnd(errB)
		switch {
		case errA != nil && !endA:
			return false, errA
		case errB != nil && !endB:
			return false, errB
		case !bytes.Equal(bufA[:na], bufB[:nb]):
			return false, nil
		case endA || endB:
			return endA && endB, nil
		}
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// Abort takes back whatever the set has left on disk: temporary files,
// published files of a Commit that failed, and directories that the set made
// and nobody else has used. After a successful Commit and after another Abort
// it does nothing.
func (s *Set) Abort() error {
	if s.done {
		return nil
	}
	s.done = true
	var errs []error
	for _, f := range slices.Backward(s.files) {
		if !f.ours {
			continue
		}
		// Someone may have put another file there meanwhile.
		if info, err := os.Lstat(f.dest); err != nil || !os.SameFile(info, f.info) {
			continue
		}
		errs = append(errs, os.Remove(f.dest))
	}
	errs = append(errs, s.removeTemps())
	for _, dir := range slices.Backward(s.created) {
		// Remove fails on a directory in use, and that is the intention.
		_ = os.Remove(dir)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("atomicfile: taking back: %w", err)
	}
	return nil
}

func (s *Set) removeTemps() error {
	var errs []error
	for _, f := range s.all() {
		if f.file != nil {
			_ = f.file.Close() // its content is being discarded
			f.file = nil
		}
		if f.gone {
			continue
		}
		if err := os.Remove(f.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("atomicfile: %w", err))
		}
		f.gone = true
	}
	return errors.Join(errs...)
}

// all returns the files in publishing order, the pointer last.
func (s *Set) all() []*staged {
	if s.pointer == nil {
		return s.files
	}
	return append(slices.Clip(s.files), s.pointer)
}

// syncDir makes the names in a directory durable. Windows has no such call, and
// some network file systems refuse it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("atomicfile: %w", err)
	}
	return nil
}
