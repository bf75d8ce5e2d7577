// Package strictcbor reads deterministically encoded CBOR (RFC 8949, section
// 4.2.1) from a byte slice, front to back, the way a bootloader does.
//
// It refuses everything that has a second encoding: long-form integers and
// lengths, indefinite lengths, unsorted or duplicate map keys, trailing bytes.
// Each refusal is a *verdict.Error with the byte offset and the rule.
//
// A [Reader] keeps its first error: after it, every method returns the zero
// value and consumes nothing, so that a decoder is written as a straight line
// and asks for Err once.
package strictcbor

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/otapack/otapack/sign/verdict"
)

// CBOR major types (RFC 8949, section 3.1).
const (
	majorUint   = 0
	majorNegInt = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7
)

var majorNames = [8]string{"unsigned integer", "negative integer", "byte string", "text string", "array", "map", "tag", "simple value"}

const null = 0xf6

// Reader reads one CBOR item, or a sequence of them, from a slice.
type Reader struct {
	data   []byte
	pos    int
	base   int64  // offset of data[0] in the outermost input
	object string // prefix of errors
	shared *state // with nested readers: an inner error stops the outer one
}

type state struct{ err error }

// NewReader reads data; object names it in errors.
func NewReader(object string, data []byte) *Reader {
	return &Reader{data: data, object: object, shared: &state{}}
}

// NewReaderAt is NewReader for data that stands at offset base of a larger
// input; errors count from the start of that input.
func NewReaderAt(object string, data []byte, base int64) *Reader {
	r := NewReader(object, data)
	r.base = base
	return r
}

// Err returns the first refusal of this reader and of all readers nested in it.
func (r *Reader) Err() error { return r.shared.err }

// OK reports whether nothing has been refused yet.
func (r *Reader) OK() bool { return r.shared.err == nil }

// Offset returns the position of the next byte in the outermost input.
func (r *Reader) Offset() int64 { return r.base + int64(r.pos) }

// Since returns the bytes from an earlier Offset of this reader up to here.
func (r *Reader) Since(offset int64) []byte {
	return r.data[offset-r.base : r.pos : r.pos]
}

// Len returns the number of bytes not read yet.
func (r *Reader) Len() int { return len(r.data) - r.pos }

// Fail records a refusal at the current position unless there is one already.
func (r *Reader) Fail(reason verdict.Reason, detail string, args ...any) {
	r.FailAt(r.Offset(), reason, detail, args...)
}

// FailAt is Fail with an offset of the outermost input.
func (r *Reader) FailAt(offset int64, reason verdict.Reason, detail string, args ...any) {
	if r.OK() {
		r.shared.err = verdict.At(offset, reason, r.object, detail, args...)
	}
}

// FailWith records the refusal of another reader.
func (r *Reader) FailWith(err error) {
	if r.OK() {
		r.shared.err = err
	}
}

// End refuses bytes after what has been read.
func (r *Reader) End(reason verdict.Reason) {
	if r.OK() && r.Len() > 0 {
		r.Fail(reason, "%d bytes left over", r.Len())
	}
}

// head reads an initial byte and its argument without deciding what it is.
func (r *Reader) head() (major byte, arg uint64, ok bool) {
	if !r.OK() {
		return 0, 0, false
	}
	if r.Len() == 0 {
		r.Fail(verdict.Truncated, "input ends where an item should start")
		return 0, 0, false
	}
	start := r.pos
	b := r.data[r.pos]
	major, info := b>>5, b&0x1f
	switch {
	case info < 24:
		r.pos++
		return major, uint64(info), true
	case info == 31:
		r.Fail(verdict.Indefinite, "indefinite-length %s", majorNames[major])
		return 0, 0, false
	case info > 27:
		r.Fail(verdict.ReservedEncoding, "reserved additional information %d", info)
		return 0, 0, false
	}
	n := 1 << (info - 24)
	if r.Len() < 1+n {
		r.Fail(verdict.Truncated, "input ends inside a %s head", majorNames[major])
		return 0, 0, false
	}
	for _, c := range r.data[start+1 : start+1+n] {
		arg = arg<<8 | uint64(c)
	}
	smallest := [4]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]
	if major != majorSimple && arg < smallest {
		r.Fail(verdict.LongForm, "%s %d is not in its shortest form", majorNames[major], arg)
		return 0, 0, false
	}
	r.pos += 1 + n
	return major, arg, true
}

// expect reads a head of one major type.
func (r *Reader) expect(want byte) (uint64, bool) {
	start := r.pos
	major, arg, ok := r.head()
	if ok && major != want {
		r.pos = start
		r.Fail(verdict.WrongType, "%s, want %s", majorNames[major], majorNames[want])
		return 0, false
	}
	return arg, ok
}

// Uint reads an unsigned integer up to max.
func (r *Reader) Uint(max uint64) uint64 {
	at := r.Offset()
	v, ok := r.expect(majorUint)
	if ok && v > max {
		r.FailAt(at, verdict.TooLarge, "%d is above %d", v, max)
		return 0
	}
	return v
}

// Int reads a signed integer.
func (r *Reader) Int() int64 {
	start := r.pos
	major, arg, ok := r.head()
	switch {
	case !ok:
		return 0
	case major != majorUint && major != majorNegInt:
		r.pos = start
		r.Fail(verdict.WrongType, "%s, want integer", majorNames[major])
		return 0
	case arg > math.MaxInt64:
		r.pos = start
		r.Fail(verdict.TooLarge, "integer does not fit 64 bits")
		return 0
	case major == majorNegInt:
		return -1 - int64(arg)
	}
	return int64(arg)
}

// take returns the next n bytes after a string head.
func (r *Reader) take(n uint64) []byte {
	if n > uint64(r.Len()) {
		r.Fail(verdict.Truncated, "string of %d bytes, %d left", n, r.Len())
		return nil
	}
	b := r.data[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	return b
}

// Bytes reads a byte string of min to max bytes. The result aliases the input
// and is nil only after an error.
func (r *Reader) Bytes(min, max int) []byte {
	at := r.Offset()
	n, ok := r.expect(majorBytes)
	if !ok {
		return nil
	}
	if n < uint64(min) || n > uint64(max) {
		r.FailAt(at, verdict.WrongLength, "byte string of %d bytes, want %s", n, span(min, max))
		return nil
	}
	return r.take(n)
}

func span(min, max int) string {
	if min == max {
		return strconv.Itoa(min)
	}
	return fmt.Sprintf("%d to %d", min, max)
}

// Text reads a UTF-8 text string of min to max bytes.
func (r *Reader) Text(min, max int) string {
	at := r.Offset()
	n, ok := r.expect(majorText)
	if !ok {
		return ""
	}
	if n < uint64(min) || n > uint64(max) {
		r.FailAt(at, verdict.WrongLength, "text of %d bytes, want %s", n, span(min, max))
		return ""
	}
	b := r.take(n)
	if !utf8.Valid(b) {
		r.FailAt(at, verdict.BadUTF8, "text is not UTF-8")
		return ""
	}
	return string(b)
}

// Nested reads a byte string of at most max bytes and returns a reader for its
// content. Errors of both count for both.
func (r *Reader) Nested(object string, max int) *Reader {
	content := r.Bytes(0, max)
	return &Reader{data: content, base: r.Offset() - int64(len(content)), object: object, shared: r.shared}
}

// Array reads the head of an array of min to max elements.
func (r *Reader) Array(min, max int) int {
	at := r.Offset()
	n, ok := r.expect(majorArray)
	if !ok {
		return 0
	}
	if n < uint64(min) || n > uint64(max) {
		r.FailAt(at, verdict.WrongCount, "array of %d, want %s", n, span(min, max))
		return 0
	}
	return int(n)
}

// Key is a map key: an integer, or a text string when IsText is set.
type Key struct {
	Int    int64
	Text   string
	IsText bool
}

const maxTextKey = 64

// Map reads a map of at most max pairs with integer or text keys. It calls
// value for each key, in bytewise order of the encoded keys; value must read
// exactly one item.
func (r *Reader) Map(max int, value func(Key)) {
	at := r.Offset()
	n, ok := r.expect(majorMap)
	if !ok {
		return
	}
	if n > uint64(max) {
		r.FailAt(at, verdict.WrongCount, "map of %d pairs, at most %d", n, max)
		return
	}
	var last []byte
	for range n {
		if !r.OK() {
			return
		}
		if r.Len() == 0 {
			r.FailAt(at, verdict.WrongCount, "map announces %d pairs, the input ends before", n)
			return
		}
		start := r.pos
		var key Key
		if r.data[r.pos]>>5 == majorText {
			key = Key{Text: r.Text(0, maxTextKey), IsText: true}
		} else {
			key = Key{Int: r.Int()}
		}
		if !r.OK() {
			return
		}
		if last = r.nextKey(last, start); !r.OK() {
			return
		}
		value(key)
	}
}

// nextKey checks that the map key read since start follows last in bytewise
// order, and returns its encoding.
func (r *Reader) nextKey(last []byte, start int) []byte {
	key := r.data[start:r.pos]
	if last != nil {
		switch c := bytes.Compare(last, key); {
		case c == 0:
			r.FailAt(r.base+int64(start), verdict.DuplicateKey, "map key occurs twice")
		case c > 0:
			r.FailAt(r.base+int64(start), verdict.UnsortedKeys, "map keys are not in order")
		}
	}
	return key
}

// skipPairs skips n map pairs whose keys may be of any kind.
func (r *Reader) skipPairs(n uint64, depth int) {
	if n > uint64(r.Len()/2) {
		r.Fail(verdict.Truncated, "map of %d pairs in %d bytes", n, r.Len())
		return
	}
	var last []byte
	for range n {
		if !r.OK() {
			return
		}
		start := r.pos
		r.skip(depth - 1)
		if r.OK() {
			last = r.nextKey(last, start)
		}
		r.skip(depth - 1)
	}
}

// Tag reads a tag head and returns its number.
func (r *Reader) Tag() uint64 {
	n, _ := r.expect(majorTag)
	return n
}

// PeekTag returns the number of the tag that comes next, if one does. It refuses
// a malformed tag head and the end of the input, like Tag.
func (r *Reader) PeekTag() (uint64, bool) {
	if r.Len() > 0 && !r.next(majorTag) {
		return 0, false
	}
	probe := *r
	n := probe.Tag()
	return n, r.OK()
}

// Null consumes a null if one comes next and reports whether it did. It refuses
// the end of the input.
func (r *Reader) Null() bool {
	if !r.OK() {
		return false
	}
	if r.Len() == 0 {
		r.Fail(verdict.Truncated, "input ends where an item should start")
		return false
	}
	if r.data[r.pos] != null {
		return false
	}
	r.pos++
	return true
}

// IsBytes reports whether a byte string comes next.
func (r *Reader) IsBytes() bool { return r.next(majorBytes) }

// IsText reports whether a text string comes next.
func (r *Reader) IsText() bool { return r.next(majorText) }

// IsArray reports whether an array comes next.
func (r *Reader) IsArray() bool { return r.next(majorArray) }

func (r *Reader) next(major byte) bool {
	return r.OK() && r.Len() > 0 && r.data[r.pos]>>5 == major
}

// Raw reads one item of any kind, at most depth levels deep, and returns its
// encoding.
func (r *Reader) Raw(depth int) []byte {
	start := r.pos
	r.skip(depth)
	if !r.OK() {
		return nil
	}
	return r.data[start:r.pos:r.pos]
}

func (r *Reader) skip(depth int) {
	if depth <= 0 {
		r.Fail(verdict.TooDeep, "nested too deep")
		return
	}
	start := r.pos
	major, arg, ok := r.head()
	if !ok {
		return
	}
	switch major {
	case majorBytes:
		r.take(arg)
	case majorText:
		if b := r.take(arg); !utf8.Valid(b) {
			r.FailAt(r.base+int64(start), verdict.BadUTF8, "text is not UTF-8")
		}
	case majorArray:
		if arg > uint64(r.Len()) {
			r.Fail(verdict.Truncated, "array of %d in %d bytes", arg, r.Len())
			return
		}
		for range arg {
			if !r.OK() {
				return
			}
			r.skip(depth - 1)
		}
	case majorMap:
		r.skipPairs(arg, depth)
	case majorTag:
		r.skip(depth - 1)
	case majorSimple:
		// false, true and null; floats and other simple values have no use here.
		if b := r.data[start]; b < 0xf4 || b > null {
			r.pos = start
			r.Fail(verdict.ReservedEncoding, "simple value or float 0x%02x", b)
		}
	}
}
