// Package forge takes signed envelopes apart, bends them and signs them again, for
// tests. Unlike the encoder of package manifest it writes whatever it is told.
package forge

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
)

// Item is a CBOR item that a test takes apart, bends and puts together again.
type Item struct {
	Major byte
	Arg   uint64  // of integers, tags and simple values
	Str   []byte  // of strings, unless Open
	Open  bool    // a byte string whose content is Kids
	Kids  []*Item // elements; keys and values in turn; a tag's content; the items in a byte string
	Head  []byte  // written instead of the computed head
	More  int     // added to the count in the head
	Tail  []byte  // written after the item
}

// Major types.
const (
	MajorUint = iota
	MajorNegative
	MajorBytes
	MajorText
	MajorArray
	MajorMap
	MajorTag
	MajorSimple
)

// Parse takes definite-length CBOR apart. It trusts its input.
func Parse(data []byte) (i *Item, rest []byte) {
	i = &Item{Major: data[0] >> 5}
	info := data[0] & 31
	data = data[1:]
	if i.Arg = uint64(info); info >= 24 {
		i.Arg = 0
		for range 1 << (info - 24) {
			i.Arg = i.Arg<<8 | uint64(data[0])
			data = data[1:]
		}
	}
	kids := 0
	switch i.Major {
	case MajorBytes, MajorText:
		i.Str, data = slices.Clone(data[:i.Arg]), data[i.Arg:]
	case MajorArray:
		kids = int(i.Arg)
	case MajorMap:
		kids = 2 * int(i.Arg)
	case MajorTag:
		kids = 1
	}
	for range kids {
		var kid *Item
		kid, data = Parse(data)
		i.Kids = append(i.Kids, kid)
	}
	return i, data
}

// Body returns what stands between the head and the tail.
func (i *Item) Body() []byte {
	body := i.Str
	for _, kid := range i.Kids {
		body = append(body, kid.Encode()...)
	}
	return body
}

// Offset returns where target stands in the encoding of i, or -1 when it is not there.
func (i *Item) Offset(target *Item) int {
	if i == target {
		return 0
	}
	pos := len(i.Encode()) - len(i.Tail) - len(i.Body())
	for _, kid := range i.Kids {
		if o := kid.Offset(target); o >= 0 {
			return pos + o
		}
		pos += len(kid.Encode())
	}
	return -1
}

// End returns the offset behind target, before its tail.
func (i *Item) End(target *Item) int {
	return i.Offset(target) + len(target.Encode()) - len(target.Tail)
}

// Encode puts an item together.
func (i *Item) Encode() []byte {
	body, arg := i.Body(), i.Arg
	switch i.Major {
	case MajorBytes, MajorText:
		arg = uint64(len(body))
	case MajorArray:
		arg = uint64(len(i.Kids) + i.More)
	case MajorMap:
		arg = uint64(len(i.Kids)/2 + i.More)
	}
	head := i.Head
	if head == nil {
		head = EncodeHead(i.Major, arg)
	}
	return slices.Concat(head, body, i.Tail)
}

// EncodeHead returns the shortest head with an argument.
func EncodeHead(major byte, arg uint64) []byte {
	n, info := 0, byte(arg)
	switch {
	case arg >= 1<<32:
		n, info = 8, 27
	case arg >= 1<<16:
		n, info = 4, 26
	case arg >= 1<<8:
		n, info = 2, 25
	case arg >= 24:
		n, info = 1, 24
	}
	head := []byte{major<<5 | info}
	for n--; n >= 0; n-- {
		head = append(head, byte(arg>>(8*n)))
	}
	return head
}

// In opens byte strings and tags down to the array or map in them.
func (i *Item) In() *Item {
	for {
		switch {
		case i.Major == MajorTag:
			i = i.Kids[0]
		case i.Major == MajorBytes && !i.Open:
			for rest := i.Str; len(rest) > 0; {
				var kid *Item
				kid, rest = Parse(rest)
				i.Kids = append(i.Kids, kid)
			}
			i.Open, i.Str = true, nil
			fallthrough
		case i.Major == MajorBytes:
			i = i.Kids[0]
		default:
			return i
		}
	}
}

// Index returns the position of a map's value or an array's element in kids,
// -1 when there is none.
func (i *Item) Index(key any) int {
	if i.Major == MajorArray {
		return key.(int)
	}
	want := Key(key).Encode()
	for k := 0; k < len(i.Kids); k += 2 {
		if bytes.Equal(i.Kids[k].Encode(), want) {
			return k + 1
		}
	}
	return -1
}

// At follows map keys and array indices, through byte strings and tags.
func (i *Item) At(path ...any) *Item {
	for _, key := range path {
		i = i.In()
		i = i.Kids[i.Index(key)]
	}
	return i
}

// Set replaces the value of a map key, or appends key and value.
func (i *Item) Set(key any, value *Item) {
	i = i.In()
	if k := i.Index(key); k >= 0 {
		i.Kids[k] = value
		return
	}
	i.Kids = append(i.Kids, Key(key), value)
}

// Drop removes a key and its value from a map.
func (i *Item) Drop(key any) *Item {
	i = i.In()
	k := i.Index(key)
	value := i.Kids[k]
	i.Kids = slices.Delete(i.Kids, k-1, k+1)
	return value
}

// DropCommand removes the first command with a code, and its argument, from a
// sequence, which has to have it.
func (i *Item) DropCommand(code int) {
	i = i.In()
	k := 0
	for i.Kids[k].Arg != uint64(code) {
		k += 2
	}
	i.Kids = slices.Delete(i.Kids, k, k+2)
}

// Insert puts elements at position k of an array.
func (i *Item) Insert(k int, elements ...*Item) {
	i = i.In()
	i.Kids = slices.Insert(i.Kids, k, elements...)
}

// Key returns an integer or a text as an item.
func Key(key any) *Item {
	if s, ok := key.(string); ok {
		return Text(s)
	}
	return Num(key.(int))
}

// Num returns an integer.
func Num(n int) *Item {
	if n < 0 {
		return &Item{Major: MajorNegative, Arg: uint64(-1 - n)}
	}
	return &Item{Major: MajorUint, Arg: uint64(n)}
}

// Bin returns a byte string.
func Bin(b []byte) *Item { return &Item{Major: MajorBytes, Str: b} }

// Text returns a text string.
func Text(s string) *Item { return &Item{Major: MajorText, Str: []byte(s)} }

// List returns an array.
func List(elements ...*Item) *Item { return &Item{Major: MajorArray, Kids: elements} }

// Dict returns a map of keys and values in turn.
func Dict(pairs ...*Item) *Item { return &Item{Major: MajorMap, Kids: pairs} }

// Null returns null.
func Null() *Item { return &Item{Major: MajorSimple, Arg: 22} }

// Wrap returns a byte string that holds the encoding of an item.
func Wrap(content *Item) *Item { return Bin(content.Encode()) }

// Tagged returns an item with a tag.
func Tagged(n int, kid *Item) *Item {
	return &Item{Major: MajorTag, Arg: uint64(n), Kids: []*Item{kid}}
}

// Header returns a protected header of COSE.
func Header(pairs ...*Item) *Item { return Wrap(Dict(pairs...)) }

// Protected returns a protected header that names an algorithm.
func Protected(algorithm int) *Item { return Header(Num(1), Num(algorithm)) }

// Sized returns n bytes.
func Sized(n int) []byte { return bytes.Repeat([]byte{1}, n) }

// Nested returns an item within so many arrays.
func Nested(depth int, i *Item) *Item {
	for range depth {
		i = List(i)
	}
	return i
}

// Envelope is a signed envelope under modification.
type Envelope struct {
	T      testing.TB
	Root   *Item // through its tag: At(2) is the wrapper, At(3) the manifest
	Signer sign.Signer
}

// Open takes an envelope apart. The key signs it again.
func Open(t testing.TB, envelope []byte, key sign.Signer) *Envelope {
	root, rest := Parse(envelope)
	if len(rest) > 0 {
		t.Fatalf("%d bytes after the envelope", len(rest))
	}
	return &Envelope{t, root, key}
}

// At follows map keys and array indices from the envelope's map.
func (f *Envelope) At(path ...any) *Item { return f.Root.At(path...) }

// Block returns the elements of a signature block.
func (f *Envelope) Block(i int) *Item { return f.At(2, 1+i).In() }

// Sign signs the digest as it stands in the wrapper.
func (f *Envelope) Sign() {
	f.SignOver(f.At(2, 0).Body())
}

// SignOver replaces the signature of every block by one over payload, under the
// protected header of the block, whatever that says.
func (f *Envelope) SignOver(payload []byte) {
	for i := range f.At(2).In().Kids[1:] {
		block := f.Block(i)
		message := List(Text("Signature1"), block.Kids[0], Bin(nil), Bin(payload)).Encode()
		s, err := f.Signer.Sign(f.T.Context(), message)
		if err != nil {
			f.T.Fatal(err)
		}
		block.Kids[3] = Bin(s.Encode(sign.Raw))
	}
}

// Seal makes digest and signatures right for a changed manifest.
func (f *Envelope) Seal() {
	digest := sha256.Sum256(f.At(3).Encode())
	f.At(2, 0, 1).Str = digest[:]
	f.Sign()
}

// Resever makes the manifest's digest of a severable element right, and seals.
func (f *Envelope) Resever(key int) {
	digest := sha256.Sum256(f.At(key).Encode())
	f.At(3, key, 1).Str = digest[:]
	f.Seal()
}
