package vectors

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign"
)

// This file has the editor that the generator of the SUIT families makes wrong
// envelopes with: it takes CBOR apart and writes whatever it is told.

// Integer keys of SUIT (draft-ietf-suit-manifest-37; see package manifest).
const (
	envelopeAuth     = 2
	envelopeManifest = 3
	envelopeInstall  = 20
	envelopeText     = 23

	keyManifestVersion = 1
	keySequence        = 2
	keyCommon          = 3
	keyVersion         = 6
	keyValidate        = 7
	keyInvoke          = 9
	keyInstall         = 20
	keyText            = 23

	commonComponents = 2
	commonShared     = 4

	conditionVendor    = 1
	conditionClass     = 2
	conditionSlot      = 5
	setComponentIndex  = 12
	overrideParameters = 20
	directiveFetch     = 21

	parameterDigest         = 3
	parameterSlot           = 5
	parameterSize           = 14
	parameterEncryptionInfo = 19
	parameterURI            = 21
	parameterSource         = 22
)

// The places where faults are put.
var (
	toShared   = []any{envelopeManifest, keyCommon, commonShared}
	toFacts    = []any{envelopeManifest, keyCommon, commonShared, 1} // T1: the parameters
	toInstall  = []any{envelopeManifest, keyInstall}
	toInfo     = []any{envelopeManifest, keyInstall, 11, parameterEncryptionInfo} // T3
	toDecoding = []any{envelopeManifest, keyInstall, 13}                          // T4: the payload-info
	toValidate = []any{envelopeManifest, keyValidate}
)

func orderP256() *big.Int { return sign.ESP256.Curve().Params().N }

// unknownBlock is a signature block of ML-DSA-44, which nobody here has.
func unknownBlock() *item {
	return wrap(tagged(18, list(protected(-48), dict(), null(), bin(sized(2420)))))
}

// signed makes a fault inside the signed part: after it, digest and signature
// are right again, so that nothing but the fault can be the reason.
func signed(bend func(*forgery)) func(*forgery) {
	return func(f *forgery) {
		bend(f)
		f.seal()
	}
}

// item is a CBOR item that a test takes apart, bends and puts together again.
// Unlike the encoder of the package it writes whatever it is told.
type item struct {
	major byte
	arg   uint64  // of integers, tags and simple values
	str   []byte  // of strings, unless open
	open  bool    // a byte string whose content is kids
	kids  []*item // elements; keys and values in turn; a tag's content; the items in a byte string
	head  []byte  // written instead of the computed head
	more  int     // added to the count in the head
	tail  []byte  // written after the item
}

// Major types.
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// parseItem takes definite-length CBOR apart. It trusts its input.
func parseItem(data []byte) (i *item, rest []byte) {
	i = &item{major: data[0] >> 5}
	info := data[0] & 31
	data = data[1:]
	if i.arg = uint64(info); info >= 24 {
		i.arg = 0
		for range 1 << (info - 24) {
			i.arg = i.arg<<8 | uint64(data[0])
			data = data[1:]
		}
	}
	kids := 0
	switch i.major {
	case majorBytes, majorText:
		i.str, data = slices.Clone(data[:i.arg]), data[i.arg:]
	case majorArray:
		kids = int(i.arg)
	case majorMap:
		kids = 2 * int(i.arg)
	case majorTag:
		kids = 1
	}
	for range kids {
		var kid *item
		kid, data = parseItem(data)
		i.kids = append(i.kids, kid)
	}
	return i, data
}

// body returns what stands between the head and the tail.
func (i *item) body() []byte {
	body := i.str
	for _, kid := range i.kids {
		body = append(body, kid.encode()...)
	}
	return body
}

func (i *item) encode() []byte {
	body, arg := i.body(), i.arg
	switch i.major {
	case majorBytes, majorText:
		arg = uint64(len(body))
	case majorArray:
		arg = uint64(len(i.kids) + i.more)
	case majorMap:
		arg = uint64(len(i.kids)/2 + i.more)
	}
	head := i.head
	if head == nil {
		head = cborHead(i.major, arg)
	}
	return slices.Concat(head, body, i.tail)
}

func cborHead(major byte, arg uint64) []byte {
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

// in opens byte strings and tags down to the array or map in them.
func (i *item) in() *item {
	for {
		switch {
		case i.major == majorTag:
			i = i.kids[0]
		case i.major == majorBytes && !i.open:
			for rest := i.str; len(rest) > 0; {
				var kid *item
				kid, rest = parseItem(rest)
				i.kids = append(i.kids, kid)
			}
			i.open, i.str = true, nil
			fallthrough
		case i.major == majorBytes:
			i = i.kids[0]
		default:
			return i
		}
	}
}

// index returns the position of a map's value or an array's element in kids,
// -1 when there is none.
func (i *item) index(key any) int {
	if i.major == majorArray {
		return key.(int)
	}
	want := cborKey(key).encode()
	for k := 0; k < len(i.kids); k += 2 {
		if bytes.Equal(i.kids[k].encode(), want) {
			return k + 1
		}
	}
	return -1
}

// at follows map keys and array indices, through byte strings and tags.
func (i *item) at(path ...any) *item {
	for _, key := range path {
		i = i.in()
		i = i.kids[i.index(key)]
	}
	return i
}

// set replaces the value of a map key, or appends key and value.
func (i *item) set(key any, value *item) {
	i = i.in()
	if k := i.index(key); k >= 0 {
		i.kids[k] = value
		return
	}
	i.kids = append(i.kids, cborKey(key), value)
}

// drop removes a key and its value from a map.
func (i *item) drop(key any) *item {
	i = i.in()
	k := i.index(key)
	value := i.kids[k]
	i.kids = slices.Delete(i.kids, k-1, k+1)
	return value
}

// dropCommand removes the first command with a code, and its argument, from a
// sequence.
func (i *item) dropCommand(code int) {
	i = i.in()
	for k := 0; k < len(i.kids); k += 2 {
		if i.kids[k].arg == uint64(code) {
			i.kids = slices.Delete(i.kids, k, k+2)
			return
		}
	}
	panic("no such command")
}

// insert puts elements at position k of an array.
func (i *item) insert(k int, elements ...*item) {
	i = i.in()
	i.kids = slices.Insert(i.kids, k, elements...)
}

func cborKey(key any) *item {
	if s, ok := key.(string); ok {
		return text(s)
	}
	return num(key.(int))
}

func num(n int) *item {
	if n < 0 {
		return &item{major: majorNegative, arg: uint64(-1 - n)}
	}
	return &item{major: majorUint, arg: uint64(n)}
}

func bin(b []byte) *item           { return &item{major: majorBytes, str: b} }
func text(s string) *item          { return &item{major: majorText, str: []byte(s)} }
func list(elements ...*item) *item { return &item{major: majorArray, kids: elements} }
func dict(pairs ...*item) *item    { return &item{major: majorMap, kids: pairs} }
func null() *item                  { return &item{major: majorSimple, arg: 22} }
func wrap(content *item) *item     { return bin(content.encode()) }
func tagged(n int, kid *item) *item {
	return &item{major: majorTag, arg: uint64(n), kids: []*item{kid}}
}
func header(pairs ...*item) *item   { return wrap(dict(pairs...)) }
func protected(algorithm int) *item { return header(num(1), num(algorithm)) }
func sized(n int) []byte            { return bytes.Repeat([]byte{1}, n) }
func nested(depth int, i *item) *item {
	for range depth {
		i = list(i)
	}
	return i
}

// forgery is a signed envelope under modification.
type forgery struct {
	t    testing.TB
	root *item // through its tag: at(2) is the wrapper, at(3) the manifest
	key  sign.Signer
}

func forge(t testing.TB, envelope []byte, key sign.Signer) *forgery {
	root, rest := parseItem(envelope)
	if len(rest) > 0 {
		t.Fatalf("%d bytes after the envelope", len(rest))
	}
	return &forgery{t, root, key}
}

func (f *forgery) at(path ...any) *item { return f.root.at(path...) }

// block returns the elements of a signature block.
func (f *forgery) block(i int) *item { return f.at(2, 1+i).in() }

// sign signs the digest as it stands in the wrapper.
func (f *forgery) sign() {
	f.signOver(f.at(2, 0).body())
}

// signOver replaces the signature of every block by one over payload, under the
// protected header of the block, whatever that says.
func (f *forgery) signOver(payload []byte) {
	for i := range f.at(2).in().kids[1:] {
		block := f.block(i)
		message := list(text("Signature1"), block.kids[0], bin(nil), bin(payload)).encode()
		s, err := f.key.Sign(f.t.Context(), message)
		if err != nil {
			f.t.Fatal(err)
		}
		block.kids[3] = bin(s.Encode(sign.Raw))
	}
}

// seal makes digest and signatures right for a changed manifest.
func (f *forgery) seal() {
	digest := sha256.Sum256(f.at(3).encode())
	f.at(2, 0, 1).str = digest[:]
	f.sign()
}

// resever makes the manifest's digest of a severable element right, and seals.
func (f *forgery) resever(key int) {
	digest := sha256.Sum256(f.at(key).encode())
	f.at(3, key, 1).str = digest[:]
	f.seal()
}
