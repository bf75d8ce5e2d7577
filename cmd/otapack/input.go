package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign/verdict"
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

// loadFirmware reads a firmware file; a raw binary begins at address 0.
func loadFirmware(path string) (formats.Image, firmware.Format, error) {
	data, err := readInput(path, maxFirmware)
	if err != nil {
		return formats.Image{}, firmware.Auto, err
	}
	image, format, err := firmware.Load(bytes.NewReader(data), firmware.Options{})
	if verdict.Of(err) == verdict.BaseMissing {
		image, format, err = firmware.Load(bytes.NewReader(data), firmware.Options{Base: new(uint32)})
	}
	if err != nil {
		return image, format, &release.InputError{Path: path, Err: err}
	}
	return image, format, nil
}

// maxFirmware bounds a firmware file in bytes: 16 MiB of image as Intel HEX.
const maxFirmware = 64 << 20
