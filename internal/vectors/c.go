package vectors

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/otapack/otapack/testvectors/verdicts"
)

// ExportC returns a family as a C99 header: devices, cases, and their inputs as
// pieces of one array, so that what inputs have in common is stored once. With
// an array that lies in flash a test on the target needs no file system and
// hardly any RAM.
func ExportC(f *verdicts.Family) ([]byte, error) {
	w := &cWriter{family: f, prefix: "otapack_" + cName(f.Name), pool: map[string]int{}}
	return w.header()
}

// CHeader is the file name of a family's header.
func CHeader(family string) string { return "otapack_vectors_" + cName(family) + ".h" }

func cName(name string) string {
	return strings.NewReplacer("-", "_", "/", "_", ".", "_").Replace(name)
}

// cTypes are common to all headers. A device is followed by what is peculiar to
// its bootloader.
const cTypes = `#ifndef OTAPACK_VECTORS_TYPES
#define OTAPACK_VECTORS_TYPES

enum otapack_verdict { OTAPACK_REFUSE, OTAPACK_ACCEPT };

struct otapack_bytes {
	const uint8_t *data;
	uint32_t size; /* bytes */
};

/* Bytes that are repeated so many times. */
struct otapack_piece {
	const uint8_t *data;
	uint32_t size;
	uint32_t times;
};

/* One input: its pieces, one after the other. */
struct otapack_input {
	const char *name;
	const struct otapack_piece *pieces;
	uint32_t n_pieces;
	uint32_t size; /* bytes in all */
	uint8_t sha256[32]; /* zeros for an empty input */
};

/* Copies up to n bytes from an offset of an input on, as reading flash does, and
   returns how many there were. */
static inline uint32_t otapack_read(const struct otapack_input *in, uint32_t offset, uint8_t *to, uint32_t n)
{
	uint32_t done = 0;
	for (uint32_t i = 0; i < in->n_pieces && done < n; i++) {
		const struct otapack_piece *p = &in->pieces[i];
		uint32_t length = p->size * p->times;
		if (offset >= length) {
			offset -= length;
			continue;
		}
		for (; offset < length && done < n; offset++)
			to[done++] = p->data[offset % p->size];
		offset = 0;
	}
	return done;
}

#endif
`

// cWriter collects a header.
type cWriter struct {
	family *verdicts.Family
	prefix string
	bytes  []byte         // of the one array
	pool   map[string]int // what stands where in it
	arrays bytes.Buffer   // definitions that others point to
	n      int            // of them
}

// at returns an expression for where bytes stand.
func (w *cWriter) at(data []byte) string {
	if len(data) == 0 {
		return w.prefix + "_data"
	}
	offset, ok := w.pool[string(data)]
	if !ok {
		offset = len(w.bytes)
		w.pool[string(data)] = offset
		w.bytes = append(w.bytes, data...)
	}
	return fmt.Sprintf("%s_data + %d", w.prefix, offset)
}

// name makes a name for an array.
func (w *cWriter) name() string {
	w.n++
	return fmt.Sprintf("%s_%d", w.prefix, w.n)
}

func (w *cWriter) header() ([]byte, error) {
	f := w.family
	device, kind := deviceOf(f)
	if device == nil {
		return nil, fmt.Errorf("vectors: %s: %w: no bootloader", f.Name, ErrDevice)
	}
	upper := strings.ToUpper(w.prefix)
	files := map[string]int{} // where bases stand
	for _, c := range f.Cases {
		for _, in := range c.Inputs {
			if _, ok := files[in.Base]; ok || in.Base == "" {
				continue
			}
			data, err := f.File(in.Base)
			if err != nil {
				return nil, err
			}
			w.at(data)
			files[in.Base] = w.pool[string(data)]
		}
	}
	var cases bytes.Buffer
	devices := map[string]string{}
	reasons := []string{}
	for _, c := range f.Cases {
		if devices[c.Device] == "" {
			_, body := deviceValue(f.Devices[c.Device])
			name := w.name()
			fmt.Fprintf(&w.arrays, "static const struct otapack_%s %s = %s;\n", kind, name, w.value(body))
			devices[c.Device] = name
		}
		if c.Reason != "" && !slices.Contains(reasons, c.Reason) {
			reasons = append(reasons, c.Reason)
		}
		inputs := w.name()
		var list bytes.Buffer
		for _, in := range c.Inputs {
			text, err := w.input(in, files[in.Base])
			if err != nil {
				return nil, err
			}
			list.WriteString(text)
		}
		fmt.Fprintf(&w.arrays, "static const struct otapack_input %s[] = {\n%s};\n", inputs, list.String())
		fmt.Fprintf(&cases, "\t{%s, &%s, %s, %d, OTAPACK_%s, %s_STEP_%s, %s_REASON_%s, %d, {%s}},\n", cString(c.ID), devices[c.Device], inputs, len(c.Inputs),
			strings.ToUpper(c.Verdict), upper, cEnum(c.Step), upper, cEnum(c.Reason), c.Released.Size, cBytes(pad32(c.Released.SHA256)))
	}
	slices.Sort(reasons)

	var b bytes.Buffer
	fmt.Fprintf(&b, "/* %s: %d cases. Made by \"otapack vectors export --as c\"; docs/bootloaders.md\n   says how to use it. SPDX-License-Identifier: Apache-2.0 */\n", f.Title, len(f.Cases))
	fmt.Fprintf(&b, "#ifndef %s_H\n#define %s_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n%s\n", upper, upper, cTypes)
	fmt.Fprintf(&b, "#ifndef OTAPACK_VECTORS_%s\n#define OTAPACK_VECTORS_%s\n\n", strings.ToUpper(kind), strings.ToUpper(kind))
	for _, t := range structsOf(reflect.TypeOf(device)) {
		b.WriteString(cStruct(t))
	}
	b.WriteString("#endif\n\n")
	enum := func(what string, words []string) {
		fmt.Fprintf(&b, "enum %s_%s {\n\t%s_%s_NONE,\n", w.prefix, strings.ToLower(what), upper, what)
		for _, word := range words {
			fmt.Fprintf(&b, "\t%s_%s_%s,\n", upper, what, cEnum(word))
		}
		b.WriteString("};\n\n")
	}
	b.WriteString("/* In the order in which the checks are made. */\n")
	enum("STEP", f.Steps)
	enum("REASON", reasons)
	fmt.Fprintf(&b, `struct %[1]s_case {
	const char *id;
	const struct otapack_%[2]s *device;
	const struct otapack_input *inputs;
	uint32_t n_inputs;
	enum otapack_verdict verdict;
	enum %[1]s_step step;
	enum %[1]s_reason reason;
	uint32_t released; /* bytes that may have been written at most when the verdict falls */
	uint8_t released_sha256[32];
};

`, w.prefix, kind)
	fmt.Fprintf(&b, "static const uint8_t %s_data[] = {\n%s};\n\n", w.prefix, cLines(append(w.bytes, 0)))
	b.Write(w.arrays.Bytes())
	fmt.Fprintf(&b, "\n#define %s_CASES %d\n\nstatic const struct %s_case %s_cases[] = {\n%s};\n\n#endif\n", upper, len(f.Cases), w.prefix, w.prefix, cases.String())
	return b.Bytes(), nil
}

// input lists the pieces of an input and returns its initialiser.
func (w *cWriter) input(in verdicts.Input, base int) (string, error) {
	pieces, err := w.family.Pieces(in)
	if err != nil {
		return "", err
	}
	name := "NULL"
	if len(pieces) > 0 {
		name = w.name()
		fmt.Fprintf(&w.arrays, "static const struct otapack_piece %s[] = {", name)
		for _, p := range pieces {
			at := fmt.Sprintf("%s_data + %d", w.prefix, base+p.Base)
			if p.Base < 0 {
				at = w.at(p.Data)
			}
			fmt.Fprintf(&w.arrays, "{%s, %d, %d}, ", at, len(p.Data), p.Times)
		}
		w.arrays.WriteString("};\n")
	}
	return fmt.Sprintf("\t{%s, %s, %d, %d, {%s}},\n", cString(in.Name), name, len(pieces), in.Size, cBytes(pad32(in.SHA256))), nil
}

// deviceOf returns a device of the family's kind, and the kind.
func deviceOf(f *verdicts.Family) (any, string) {
	for _, c := range f.Cases {
		kind, v := deviceValue(f.Devices[c.Device])
		if kind != "" {
			return v.Interface(), kind
		}
	}
	return nil, ""
}

func deviceValue(d verdicts.Device) (kind string, v reflect.Value) {
	switch {
	case d.SUIT != nil:
		return "suit", reflect.ValueOf(*d.SUIT)
	case d.MCUboot != nil:
		return "mcuboot", reflect.ValueOf(*d.MCUboot)
	case d.NRFDFU != nil:
		return "nrfdfu", reflect.ValueOf(*d.NRFDFU)
	case d.SBSFU != nil:
		return "sbsfu", reflect.ValueOf(*d.SBSFU)
	case d.WolfBoot != nil:
		return "wolfboot", reflect.ValueOf(*d.WolfBoot)
	}
	return "", reflect.Value{}
}

var hexType = reflect.TypeFor[verdicts.Hex]()

// structsOf returns the struct types that t is made of, t last.
func structsOf(t reflect.Type) []reflect.Type {
	var all []reflect.Type
	for i := range t.NumField() {
		below := t.Field(i).Type
		if below.Kind() == reflect.Pointer || below.Kind() == reflect.Slice && below != hexType {
			below = below.Elem()
		}
		if below.Kind() == reflect.Struct {
			for _, s := range structsOf(below) {
				if !slices.Contains(all, s) {
					all = append(all, s)
				}
			}
		}
	}
	return append(all, t)
}

func cStructName(t reflect.Type) string { return "otapack_" + strings.ToLower(t.Name()) }

// cMember is the name of a field: the one that it has in JSON.
func cMember(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" { // embedded
		name = strings.ToLower(f.Name)
	}
	return name
}

// cType is that of a field which is neither a pointer nor a list.
func cType(t reflect.Type) string {
	switch {
	case t == hexType:
		return "struct otapack_bytes "
	case t.Kind() == reflect.Struct:
		return "struct " + cStructName(t) + " "
	case t.Kind() == reflect.String:
		return "const char *"
	case t.Kind() == reflect.Bool:
		return "uint8_t "
	}
	return t.Kind().String() + "_t " // uint8, uint16, uint32
}

func cStruct(t reflect.Type) string {
	var b strings.Builder
	fmt.Fprintf(&b, "struct %s {\n", cStructName(t))
	for i := range t.NumField() {
		f := t.Field(i)
		name := cMember(f)
		switch ft := f.Type; {
		case ft.Kind() == reflect.Slice && ft != hexType:
			fmt.Fprintf(&b, "\tconst %s*%s;\n\tuint32_t n_%s;\n", cType(ft.Elem()), name, name)
		case ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.Struct:
			fmt.Fprintf(&b, "\tconst %s*%s; /* or NULL */\n", cType(ft.Elem()), name)
		case ft.Kind() == reflect.Pointer:
			fmt.Fprintf(&b, "\tuint8_t has_%s;\n\t%s%s;\n", name, cType(ft.Elem()), name)
		default:
			fmt.Fprintf(&b, "\t%s%s;\n", cType(ft), name)
		}
	}
	b.WriteString("};\n\n")
	return b.String()
}

// value returns an initialiser. What it points to is defined before.
func (w *cWriter) value(v reflect.Value) string {
	switch t := v.Type(); {
	case t == hexType:
		return fmt.Sprintf("{%s, %d}", w.at(v.Bytes()), v.Len())
	case t.Kind() == reflect.Struct:
		var members []string
		for i := range t.NumField() {
			members = append(members, w.member(v.Field(i))...)
		}
		return "{" + strings.Join(members, ", ") + "}"
	case t.Kind() == reflect.String:
		return cString(v.String())
	case t.Kind() == reflect.Bool:
		return map[bool]string{false: "0", true: "1"}[v.Bool()]
	}
	return fmt.Sprintf("%dU", v.Uint())
}

func (w *cWriter) member(v reflect.Value) []string {
	switch t := v.Type(); {
	case t.Kind() == reflect.Slice && t != hexType:
		if v.Len() == 0 {
			return []string{"NULL", "0"}
		}
		var list []string
		for i := range v.Len() {
			list = append(list, w.value(v.Index(i)))
		}
		name := w.name()
		fmt.Fprintf(&w.arrays, "static const %s%s[] = {%s};\n", cType(t.Elem()), name, strings.Join(list, ", "))
		return []string{name, fmt.Sprint(v.Len())}
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		if v.IsNil() {
			return []string{"NULL"}
		}
		text, name := w.value(v.Elem()), w.name()
		fmt.Fprintf(&w.arrays, "static const %s%s = %s;\n", cType(t.Elem()), name, text)
		return []string{"&" + name}
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			return []string{"0", "0"}
		}
		return []string{"1", w.value(v.Elem())}
	}
	return []string{w.value(v)}
}

func cString(s string) string { return fmt.Sprintf("%+q", s) }

// cEnum is the part of an enumerator's name that a word becomes.
func cEnum(word string) string {
	if word == "" {
		return "NONE"
	}
	return strings.ToUpper(cName(word))
}

// pad32 is a digest, or zeros for none.
func pad32(sum []byte) []byte {
	b := make([]byte, 32)
	copy(b, sum)
	return b
}

func cBytes(b []byte) string {
	if len(b) == 32 && bytes.Count(b, []byte{0}) == 32 {
		return "0"
	}
	words := make([]string, len(b))
	for i, v := range b {
		words[i] = fmt.Sprintf("0x%02x", v)
	}
	return strings.Join(words, ",")
}

func cLines(data []byte) string {
	var b strings.Builder
	for line := range slices.Chunk(data, 16) {
		b.WriteString("\t" + cBytes(line) + ",\n")
	}
	return b.String()
}
