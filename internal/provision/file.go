package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/sign/verdict"
)

// Faults of a file that a run would go on with.
var (
	ErrOther  = errors.New("exists and belongs to another run")
	ErrLocked = errors.New("another run is writing it")
)

// batch is how many records are made before they are written and flushed to the
// disk.
const batch = 128

// File is a file that records are appended to. It is locked against other runs
// until Close.
type File struct {
	header  Header
	serials []string
	file    *os.File
	path    string
	done    int // records in the file, all flushed
	torn    int64
}

// Open makes a file with a header, or opens one that has this very header and
// finds out where it ends. A last line without its line feed is what a killed
// run leaves behind: it is cut off. Another header, or none, wraps ErrOther; a
// record that is not the one that has to be in its place is a verdict.Error.
//
// The serials are those that h.Devices describes. A new file can be read by its
// owner only. The file must be closed.
func Open(path string, h Header, serials []string) (*File, error) {
	h.Schema, h.Mechanism = Schema, Mechanism
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("provision: header: %w", err)
	}
	if h.Devices != NewDevices(serials) {
		return nil, errors.New("provision: header: it is about other devices")
	}
	f := &File{header: h, serials: serials, path: path}
	if err := f.create(); err != nil {
		return nil, err
	}
	var err error
	if f.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	err = lock(f.file)
	if err == nil {
		err = f.resume()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("provision: %s: %w", path, err), f.file.Close())
	}
	return f, nil
}

// Look finds out, as far as it can be told without a token, whether Open would
// go on with the file at path: it compares all of the header but Module and
// Check. Where there is no file, it would.
func Look(path string, h Header) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	defer file.Close()
	r, err := NewReader(file)
	if err != nil {
		return fmt.Errorf("provision: %s: %w: %w", path, ErrOther, err)
	}
	h.Schema, h.Mechanism, h.Module, h.Check = Schema, Mechanism, r.Header.Module, r.Header.Check
	if what := h.differs(r.Header); what != "" {
		return fmt.Errorf("provision: %s: %w: %s", path, ErrOther, what)
	}
	return nil
}

// create makes the file where there is none, in one step with its header: what
// exists without a whole header is never ours.
func (f *File) create() error {
	info, err := os.Stat(f.path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("provision: %s: %w: it is not a regular file", f.path, ErrOther)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("provision: %w", err)
	}
	line, err := encode(f.header)
	if err != nil {
		return err
	}
	if len(line) > maxHeader {
		return fmt.Errorf("provision: header of %d bytes, at most %d are possible", len(line), maxHeader)
	}
	set := atomicfile.NewSet(filepath.Dir(f.path))
	defer set.Abort() // nothing is left after Commit
	if err := set.WritePrivate(filepath.Base(f.path), line); err != nil {
		return err
	}
	if err := set.Commit(); err != nil && !errors.Is(err, atomicfile.ErrExists) { // another run was faster: see lock
		return err
	}
	return nil
}

// resume reads the file up to its end.
func (f *File) resume() error {
	r, err := NewReader(f.file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOther, err)
	}
	if what := f.header.differs(r.Header); what != "" {
		return fmt.Errorf("%w: %s", ErrOther, what)
	}
	for {
		rec, err := r.read()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return err
		}
		if want := f.serial(f.done); rec.Serial != want {
			return verdict.New(verdict.ProvisionOrder, r.at(0), "it is of device %s, want %s", rec.Serial, want)
		}
		f.done++
	}
	size, err := f.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if f.torn = size - r.offset; f.torn > 0 {
		if err := f.file.Truncate(r.offset); err != nil {
			return err
		}
	}
	if _, err := f.file.Seek(r.offset, io.SeekStart); err != nil {
		return err
	}
	return f.file.Sync() // what a killed run wrote may not be on the disk yet
}

// serial is the device of a record.
func (f *File) serial(i int) string { return f.serials[i/len(f.header.Secrets)] }

// differs says what two headers disagree about, "" if nothing.
func (h Header) differs(o Header) string {
	switch {
	case h.Product != o.Product:
		return fmt.Sprintf("it is for product %s, not %s", o.Product, h.Product)
	case h.Devices != o.Devices:
		return fmt.Sprintf("it is for other devices (%d, not %d)", o.Devices.Count, h.Devices.Count)
	case !slices.Equal(h.Secrets, o.Secrets):
		return "it has other secrets"
	case h.Module != o.Module:
		return fmt.Sprintf("its module is %s, not %s", o.Module, h.Module)
	case !h.Check.equal(o.Check):
		return "its transport key or master key is another one"
	case h.Schema != o.Schema || h.Mechanism != o.Mechanism:
		return "it has another form"
	}
	return ""
}

// Done returns how many records the file has.
func (f *File) Done() int { return f.done }

// Records returns how many records the file has when it is complete.
func (f *File) Records() int { return f.header.records() }

// Torn returns how many bytes of an unfinished record Open cut off.
func (f *File) Torn() int64 { return f.torn }

// Close flushes the file and lets go of the lock.
func (f *File) Close() error {
	if err := errors.Join(f.file.Sync(), f.file.Close()); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}

// Fill makes the records that are missing, several at a time, and appends them
// in their order. After each batch, which is on the disk then, it calls progress
// with the number of records that the file has. When the context ends or the
// maker fails, what was made before is kept, and another Fill, or another run,
// goes on from there.
func (f *File) Fill(ctx context.Context, m Maker, workers int, progress func(done int)) error {
	for f.done < f.Records() {
		records, err := f.make(ctx, m, workers, min(batch, f.Records()-f.done))
		if err := f.append(records); err != nil {
			return fmt.Errorf("provision: %w", err)
		}
		progress(f.done)
		if err != nil {
			return err
		}
	}
	return nil
}

// make returns the next n records. With an error it returns those before the
// first one that failed.
func (f *File) make(ctx context.Context, m Maker, workers, n int) ([]Record, error) {
	records, errs := make([]Record, n), make([]error, n)
	var next atomic.Int64 // numbers are handed out in order, so that only the end can be missing
	var all sync.WaitGroup
	for range max(1, min(workers, n)) {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[i] = ctx.Err(); errs[i] == nil {
					place := f.done + i
					records[i], errs[i] = f.header.newRecord(ctx, m, f.serial(place), f.header.Secrets[place%len(f.header.Secrets)])
				}
				if errs[i] != nil {
					next.Store(int64(n))
				}
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return records[:i], err
		}
	}
	return records, nil
}

// append writes records and flushes them. After a failure the file may end in
// the middle of a record, and must be opened anew.
func (f *File) append(records []Record) error {
	var text []byte
	for _, r := range records {
		line, err := encode(r)
		if err != nil {
			return err
		}
		text = append(text, line...)
	}
	if _, err := f.file.Write(text); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	f.done += len(records)
	return nil
}
