package nrfdfu

import (
	"encoding/binary"
	"hash/crc32"
)

// Header fields that are the same in every package (PKWARE APPNOTE 6.3,
// sections 4.3 and 4.4). All numbers are little endian.
const (
	localSignature   = 0x04034b50
	centralSignature = 0x02014b50
	endSignature     = 0x06054b50
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
