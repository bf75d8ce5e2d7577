package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/otapack/otapack/internal/release"
)

// inputError names a file once: *fs.PathError would do it again.
func inputError(path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return &release.InputError{Path: path, Err: err}
}

// readInput reads a whole file of at most limit bytes.
func readInput(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, inputError(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return nil, inputError(path, err)
	}
	return data, nil
}
