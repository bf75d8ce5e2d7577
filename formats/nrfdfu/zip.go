package nrfdfu

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// Header fields that are the same in every package (PKWARE APPNOTE 6.3,
// sections 4.3 and 4.4). All numbers are little endian.
const (
	localSignature   = 0x04034b50
	centralSignature = 0x02014b50
	endSignature     = 0x06054b50
	localSize        = 30     // of a local header, without the name
	zipVersion       = 10     // 1.0, stored files; as "made by" also host 0, whose attributes are 0
	dosDate          = 0x0021 // 1980-01-01, at the time 0
)

// zipWriter writes an archive whose bytes depend on names and contents alone:
// stored, without times, attributes and data descriptors. archive/zip leaves no
// way to have a valid time and nothing else.
type zipWriter struct {
	file, directory []byte
	entries         uint16
}

func (z *zipWriter) add(name string, content []byte) {
	le := binary.LittleEndian
	common := func(b []byte) []byte {
		b = le.AppendUint16(b, zipVersion) // needed to extract
		b = le.AppendUint16(b, 0)          // flags
		b = le.AppendUint16(b, 0)          // method: stored
		b = le.AppendUint16(b, 0)          // time
		b = le.AppendUint16(b, dosDate)
		b = le.AppendUint32(b, crc32.ChecksumIEEE(content))
		b = le.AppendUint32(b, uint32(len(content))) // stored
		b = le.AppendUint32(b, uint32(len(content))) // extracted
		b = le.AppendUint16(b, uint16(len(name)))
		return le.AppendUint16(b, 0) // no extra field
	}
	z.directory = le.AppendUint32(z.directory, centralSignature)
	z.directory = le.AppendUint16(z.directory, zipVersion) // made by
	z.directory = common(z.directory)
	z.directory = append(z.directory, make([]byte, 2+2+2+4)...) // comment, disk, attributes
	z.directory = le.AppendUint32(z.directory, uint32(len(z.file)))
	z.directory = append(z.directory, name...)
	z.entries++

	z.file = common(le.AppendUint32(z.file, localSignature))
	z.file = append(append(z.file, name...), content...)
}

// finish returns the archive.
func (z *zipWriter) finish() []byte {
	le := binary.LittleEndian
	offset := len(z.file)
	b := append(z.file, z.directory...)
	b = le.AppendUint32(b, endSignature)
	b = append(b, make([]byte, 2+2)...) // this disk, and that of the directory
	b = le.AppendUint16(b, z.entries)
	b = le.AppendUint16(b, z.entries)
	b = le.AppendUint32(b, uint32(len(z.directory)))
	b = le.AppendUint32(b, uint32(offset))
	return le.AppendUint16(b, 0) // no comment
}

// checkLocal walks the archive from its first byte, as programs do that read it
// while it arrives, phone libraries among them, and refuses one in which they
// would find other entries than those of the central directory: in other
// places, with other names, more of them or fewer.
func checkLocal(data []byte, files []*zip.File) error {
	le := binary.LittleEndian
	refuse := func(at int64, detail string, args ...any) error {
		return verdict.At(at, verdict.DFUZip, packageObject, detail, args...)
	}
	size, at := int64(len(data)), int64(0)
	for n := 0; ; n++ {
		if size-at < localSize || le.Uint32(data[at:]) != localSignature {
			if n != len(files) {
				return refuse(at, "%d entries from the beginning on, the directory has %d", n, len(files))
			}
			if size-at < 4 || le.Uint32(data[at:]) != centralSignature && len(files) > 0 {
				return refuse(at, "the directory does not follow the last entry")
			}
			return nil
		}
		begin := at + localSize
		end := begin + int64(le.Uint16(data[at+26:]))
		if end > size {
			return refuse(at, "entry name of %d bytes", end-begin)
		}
		name := string(data[begin:end])
		i := slices.IndexFunc(files, func(f *zip.File) bool { return f.Name == name })
		if i < 0 {
			return refuse(at, "entry %q, which is not in the directory", name)
		}
		content := end + int64(le.Uint16(data[at+28:]))
		f := files[i]
		offset, err := f.DataOffset()
		if err != nil || offset != content || content > size || f.CompressedSize64 > uint64(size-content) {
			return refuse(at, "entry %q, which the directory has in another place", name)
		}
		header := data[at:]
		described := le.Uint16(header[6:])&8 != 0 // the numbers come after the content
		numbers := le.Uint32(header[14:]) == f.CRC32 && uint64(le.Uint32(header[18:])) == f.CompressedSize64 && uint64(le.Uint32(header[22:])) == f.UncompressedSize64
		if le.Uint16(header[8:]) != f.Method || !described && !numbers {
			return refuse(at, "entry %q, of which the directory says something else", name)
		}
		at = content + int64(f.CompressedSize64)
		if described {
			at += descriptorSize(data[at:], f)
		}
	}
}

// descriptorSize is the length of the data descriptor after an entry (section
// 4.3.9): CRC-32 and both sizes, with a signature or without.
func descriptorSize(rest []byte, f *zip.File) int64 {
	const signature = 0x08074b50
	le := binary.LittleEndian
	plain := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, f.CRC32), uint32(f.CompressedSize64)), uint32(f.UncompressedSize64))
	switch signed := append(le.AppendUint32(nil, signature), plain...); {
	case bytes.HasPrefix(rest, signed):
		return int64(len(signed))
	case bytes.HasPrefix(rest, plain):
		return int64(len(plain))
	}
	return 0 // what follows is refused
}
