package nrfdfu

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// Bounds of a package. Sizes are in bytes.
const (
	MaxPackage    = 48 << 20 // the .zip file
	MaxEntries    = 64
	maxManifest   = 64 << 10
	maxPacketFile = 64 << 10 // a bootloader takes far less, which is for Verify to say
	maxEntryName  = 128

	manifestName  = "manifest.json"
	packageObject = "package"
)

// Kind is the name that manifest.json has for an image. Senders go by it; the
// bootloader never sees it.
type Kind string

// Kinds of images. An external application is filed under KindApplication.
const (
	KindSoftDeviceBootloader Kind = "softdevice_bootloader"
	KindSoftDevice           Kind = "softdevice"
	KindBootloader           Kind = "bootloader"
	KindApplication          Kind = "application"
)

// transferOrder is the one in which senders transfer the images of a package
// (pc-nrfutil, nordicsemi/dfu/dfu.py).
var transferOrder = []Kind{KindSoftDeviceBootloader, KindSoftDevice, KindBootloader, KindApplication}

// Package is a DFU package as read from a .zip file. Nothing in it is verified.
type Package struct {
	Images []Image  // in the order in which they are transferred
	Extra  []string // entries that manifest.json does not name, in the order of the archive
}

// Image is one firmware with its init packet.
type Image struct {
	Kind             Kind
	BinName, DatName string
	Firmware         []byte // the .bin file
	Packet           []byte // the .dat file, see ParsePacket
	Sizes            *Sizes // what manifest.json says of a SoftDevice with bootloader, nil if nothing
}

// Sizes are the lengths of the two parts of a SoftDevice with bootloader, in
// bytes. They are information for people: the ones in the init packet count.
type Sizes struct {
	Bootloader uint32 `json:"bl_size"`
	SoftDevice uint32 `json:"sd_size"`
}

// manifestEntry is an image in manifest.json. The keys are in alphabetical
// order, as pc-nrfutil writes them.
type manifestEntry struct {
	BinFile string `json:"bin_file"`
	DatFile string `json:"dat_file"`
	Info    *Sizes `json:"info_read_only_metadata,omitempty"`
}

// encodeManifest writes manifest.json as pc-nrfutil does (nordicsemi/dfu/
// manifest.py): indented by four, keys sorted, no line feed at the end.
func encodeManifest(images []Image) ([]byte, error) {
	entries := map[Kind]manifestEntry{} // encoding/json sorts the keys
	for _, image := range images {
		entries[image.Kind] = manifestEntry{image.BinName, image.DatName, image.Sizes}
	}
	b, err := json.MarshalIndent(map[string]any{"manifest": entries}, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("nrfdfu: manifest: %w", err)
	}
	return b, nil
}

// writePackage writes the archive: manifest.json, then .dat and .bin of each
// image, stored, without times.
func writePackage(images []Image) ([]byte, error) {
	manifest, err := encodeManifest(images)
	if err != nil {
		return nil, err
	}
	z := &zipWriter{}
	z.add(manifestName, manifest)
	for _, image := range images {
		z.add(image.DatName, image.Packet)
		z.add(image.BinName, image.Firmware)
	}
	return z.finish(), nil
}

// ParsePackage reads a .zip file: one by [Draft.Finish], by pc-nrfutil, or by
// any tool that packs the same files, stored or deflated, in any order. It is
// bounded in entries and bytes, refuses names that occur twice and those that
// leave the archive, and archives in which a program that reads from the
// beginning finds something else than one that reads the directory at the end.
// It reads only what manifest.json names. The init packets are left to
// [ParsePacket].
func ParsePackage(data []byte) (*Package, error) {
	if len(data) > MaxPackage {
		return nil, verdict.New(verdict.DFUZipLimit, packageObject, "%d bytes, at most %d are read", len(data), MaxPackage)
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, verdict.Wrap(err, verdict.DFUZip, packageObject)
	}
	if n := len(archive.File); n > MaxEntries {
		return nil, verdict.New(verdict.DFUZipLimit, packageObject, "%d entries, at most %d are read", n, MaxEntries)
	}
	z := zipFiles{}
	for _, f := range archive.File {
		if err := z.add(f); err != nil {
			return nil, err
		}
	}
	if err := checkLocal(data, archive.File); err != nil {
		return nil, err
	}
	text, err := z.read(manifestName, maxManifest)
	if err != nil {
		return nil, err
	}
	entries, err := decodeManifest(text)
	if err != nil {
		return nil, err
	}
	p := &Package{}
	used := []string{manifestName}
	for _, kind := range transferOrder {
		e, ok := entries[kind]
		if !ok {
			continue
		}
		image := Image{Kind: kind, BinName: e.BinFile, DatName: e.DatFile, Sizes: e.Info}
		if image.Packet, err = z.read(e.DatFile, maxPacketFile); err != nil {
			return nil, err
		}
		if image.Firmware, err = z.read(e.BinFile, MaxFirmware); err != nil {
			return nil, err
		}
		used = append(used, e.BinFile, e.DatFile)
		p.Images = append(p.Images, image)
	}
	for _, f := range archive.File {
		if !strings.HasSuffix(f.Name, "/") && !slices.Contains(used, f.Name) {
			p.Extra = append(p.Extra, f.Name)
		}
	}
	return p, nil
}

// zipFiles finds the entries of an archive by name.
type zipFiles map[string]*zip.File

func (z zipFiles) add(f *zip.File) error {
	name := strings.TrimSuffix(f.Name, "/")
	switch {
	case len(name) > maxEntryName:
		return verdict.New(verdict.DFUZipLimit, packageObject, "entry name of %d bytes, at most %d are read", len(name), maxEntryName)
	case !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\:\x00"):
		return verdict.New(verdict.DFUZip, packageObject, "entry name %q", f.Name)
	case z[name] != nil:
		return verdict.New(verdict.DFUZip, packageObject, "two entries with the name %q", name)
	}
	z[name] = f
	return nil
}

// read returns the content of an entry. Its CRC-32 is checked on the way.
func (z zipFiles) read(name string, limit int) ([]byte, error) {
	f := z[name]
	switch {
	case f == nil || f.Mode().IsDir():
		return nil, verdict.New(verdict.DFUZipEntry, packageObject, "no entry %q", name)
	case f.Flags&1 != 0:
		return nil, verdict.New(verdict.DFUZip, packageObject, "entry %q is encrypted", name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return nil, verdict.New(verdict.DFUZip, packageObject, "entry %q is compressed by method %d", name, f.Method)
	case f.UncompressedSize64 > uint64(limit):
		return nil, verdict.New(verdict.DFUZipLimit, packageObject, "entry %q has %d bytes, at most %d are read", name, f.UncompressedSize64, limit)
	}
	r, err := f.Open()
	if err != nil {
		return nil, verdict.Wrap(err, verdict.DFUZip, packageObject)
	}
	// archive/zip stops at the announced size, and memory grows with what is
	// really there.
	content, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, verdict.Wrap(err, verdict.DFUZip, fmt.Sprintf("%s: entry %q", packageObject, name))
	}
	return content, nil
}

// metadata is what pc-nrfutil's parser takes in info_read_only_metadata
// (nordicsemi/dfu/manifest.py, FWMetaData).
type metadata struct {
	IsDebug       any     `json:"is_debug"`
	HWVersion     any     `json:"hw_version"`
	FWVersion     any     `json:"fw_version"`
	SoftDeviceReq any     `json:"softdevice_req"`
	SDSize        *uint32 `json:"sd_size"`
	BLSize        *uint32 `json:"bl_size"`
}

// decodeManifest reads manifest.json. Keys that pc-nrfutil's parser does not
// know, and keys that occur twice, are refused; a kind that is null is absent.
func decodeManifest(text []byte) (map[Kind]manifestEntry, error) {
	refuse := func(err error) (map[Kind]manifestEntry, error) {
		return nil, verdict.Wrap(err, verdict.DFUManifest, manifestName)
	}
	if err := checkKeys(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return refuse(err)
	}
	type entry struct {
		BinFile *string   `json:"bin_file"`
		DatFile *string   `json:"dat_file"`
		Info    *metadata `json:"info_read_only_metadata"`
	}
	var file struct {
		Manifest *struct {
			Application          *entry `json:"application"`
			Bootloader           *entry `json:"bootloader"`
			SoftDevice           *entry `json:"softdevice"`
			SoftDeviceBootloader *entry `json:"softdevice_bootloader"`
		} `json:"manifest"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return refuse(err)
	}
	if file.Manifest == nil {
		return refuse(errors.New(`no "manifest"`))
	}
	entries := map[Kind]manifestEntry{}
	for kind, e := range map[Kind]*entry{
		KindApplication: file.Manifest.Application, KindBootloader: file.Manifest.Bootloader,
		KindSoftDevice: file.Manifest.SoftDevice, KindSoftDeviceBootloader: file.Manifest.SoftDeviceBootloader,
	} {
		if e == nil {
			continue
		}
		if e.BinFile == nil || e.DatFile == nil || *e.BinFile == *e.DatFile {
			return refuse(fmt.Errorf("%s: want a bin_file and a dat_file", kind))
		}
		m := manifestEntry{BinFile: *e.BinFile, DatFile: *e.DatFile}
		if e.Info != nil && e.Info.BLSize != nil && e.Info.SDSize != nil {
			m.Info = &Sizes{Bootloader: *e.Info.BLSize, SoftDevice: *e.Info.SDSize}
		}
		entries[kind] = m
	}
	if len(entries) == 0 {
		return refuse(errors.New("no image"))
	}
	return entries, nil
}

// checkKeys walks one JSON value, and refuses keys that occur twice in an
// object or have other characters than lower-case letters and '_', and anything
// after the value.
func checkKeys(d *json.Decoder) error {
	const maxDepth = 8
	var objects []map[string]bool // nil in an array
	key := false
	for {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{', '[':
				if len(objects) == maxDepth {
					return errors.New("nested too deeply")
				}
				var keys map[string]bool
				if t == '{' {
					keys = map[string]bool{}
				}
				objects = append(objects, keys)
			default:
				objects = objects[:len(objects)-1]
			}
		case string:
			if key {
				keys := objects[len(objects)-1]
				switch {
				// encoding/json matches keys without regard to case.
				case strings.ContainsFunc(t, func(c rune) bool { return (c < 'a' || c > 'z') && c != '_' }):
					return fmt.Errorf("key %q", t)
				case keys[t]:
					return fmt.Errorf("key %q occurs twice", t)
				}
				keys[t], key = true, false
				continue
			}
		}
		if len(objects) == 0 {
			break
		}
		key = objects[len(objects)-1] != nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("goes on after the object")
	}
	return nil
}

// validName reports whether a file name works everywhere: 1 to 64 letters,
// digits, '.', '-' and '_', no '.' first.
func validName(s string) bool {
	const maxName = 64
	if s == "" || len(s) > maxName || s[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '-' && c != '_'
	})
}
