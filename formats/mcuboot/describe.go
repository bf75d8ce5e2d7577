package mcuboot

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Field is one line of a description: what the file says, not whether it is true.
type Field struct {
	Section string // "header", "protected", "unprotected" or "tail"
	Name    string // "version", or the name of a TLV
	Value   string
	Offset  int // of the field, or of a TLV's header
}

// Sections of a description.
const (
	sectionHeader      = "header"
	sectionProtected   = "protected"
	sectionUnprotected = "unprotected"
	sectionTail        = "tail"
)

// Describe lists what is in a file, in its order, for people and for --json.
func Describe(f *File) []Field {
	h := f.Header
	fields := []Field{
		{sectionHeader, "load-address", fmt.Sprintf("0x%08x", h.LoadAddress), 4},
		{sectionHeader, "header-size", fmt.Sprint(h.HeaderSize), 8},
		{sectionHeader, "protected-size", fmt.Sprint(h.ProtectedSize), 10},
		{sectionHeader, "payload-size", fmt.Sprint(h.PayloadSize), 12},
		{sectionHeader, "flags", h.Flags.String(), 16},
		{sectionHeader, "version", h.Version.String(), 20},
	}
	at := int(h.end())
	if h.ProtectedSize != 0 {
		fields = appendEntries(fields, sectionProtected, at, f.Protected)
		at += int(h.ProtectedSize)
	}
	fields = appendEntries(fields, sectionUnprotected, at, f.Unprotected)
	if len(f.Tail) > 0 {
		end := f.End()
		fields = append(fields, Field{sectionTail, "size", fmt.Sprint(len(f.Tail)), end})
		if t, ok := f.Trailer(); ok {
			fields = append(fields, Field{sectionTail, "trailer", t.String(), end + len(f.Tail) - magicSize})
		}
	}
	return fields
}

func appendEntries(fields []Field, section string, at int, entries []TLV) []Field {
	at += infoSize
	for _, e := range entries {
		fields = append(fields, Field{section, e.Type.String(), e.text(), at})
		at += entrySize + len(e.Value)
	}
	return fields
}

// text spells a value; one of a length that its type does not have in
// hexadecimal.
func (e TLV) text() string {
	switch n := len(e.Value); {
	case e.Type == TypeDependency && n == dependencySize:
		return parseDependency(e.Value).String()
	case (e.Type == TypeCounter || e.Type == TypeDecompSize || e.Type == TypeCompDecSize) && n == 4:
		return fmt.Sprint(binary.LittleEndian.Uint32(e.Value))
	case (e.Type == TypeVendor || e.Type == TypeClass) && n == len(UUID{}):
		return UUID(e.Value).String()
	}
	return hex.EncodeToString(e.Value)
}
