package strictcbor_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantError checks reason and offset of a refusal.
func wantError(t *testing.T, err error, reason verdict.Reason, offset int64) {
	t.Helper()
	e, ok := errors.AsType[*verdict.Error](err)
	if !ok {
		t.Fatalf("got %v, want %s", err, reason)
	}
	if e.Reason != reason || e.Offset != offset {
		t.Errorf("got %s at %d (%v), want %s at %d", e.Reason, e.Offset, err, reason, offset)
	}
	if e.Object != "object" && e.Object != "inner" {
		t.Errorf("the error names %q", e.Object)
	}
}

// skip reads a map value of any kind.
func skip(r *strictcbor.Reader) func(strictcbor.Key) {
	return func(strictcbor.Key) { r.Raw(8) }
}

func TestRefusals(t *testing.T) {
	type reader = strictcbor.Reader
	raw := func(r *reader) { r.Raw(4) }
	toMap := func(r *reader) { r.Map(4, skip(r)) }
	unsigned := func(r *reader) { r.Uint(math.MaxUint64) }
	for _, tt := range []struct {
		name   string
		hex    string
		read   func(*reader)
		reason verdict.Reason
		offset int64
	}{
		// Heads. Every typed method goes through the same code.
		{"no input", "", unsigned, verdict.Truncated, 0},
		{"second item missing", "01", func(r *reader) { r.Uint(1); r.Uint(1) }, verdict.Truncated, 1},
		{"head of one byte cut off", "18", unsigned, verdict.Truncated, 0},
		{"head of two bytes cut off", "19 01", unsigned, verdict.Truncated, 0},
		{"head of four bytes cut off", "1a 010000", unsigned, verdict.Truncated, 0},
		{"head of eight bytes cut off", "1b 01000000000000", unsigned, verdict.Truncated, 0},
		{"23 in one byte", "18 17", unsigned, verdict.LongForm, 0},
		{"255 in two bytes", "19 00ff", unsigned, verdict.LongForm, 0},
		{"65535 in four bytes", "1a 0000ffff", unsigned, verdict.LongForm, 0},
		{"2^32-1 in eight bytes", "1b 00000000ffffffff", unsigned, verdict.LongForm, 0},
		{"negative in long form", "38 17", func(r *reader) { r.Int() }, verdict.LongForm, 0},
		{"byte string length in long form", "58 01 00", func(r *reader) { r.Bytes(0, 9) }, verdict.LongForm, 0},
		{"text length in long form", "78 01 61", func(r *reader) { r.Text(0, 9) }, verdict.LongForm, 0},
		{"array length in long form", "98 01 00", func(r *reader) { r.Array(0, 9) }, verdict.LongForm, 0},
		{"map length in long form", "b8 01 0000", toMap, verdict.LongForm, 0},
		{"tag in long form", "d9 006b a0", func(r *reader) { r.Tag() }, verdict.LongForm, 0},
		{"tag in long form, peeked at", "d9 006b a0", func(r *reader) { r.PeekTag() }, verdict.LongForm, 0},
		{"tag cut off, peeked at", "d8", func(r *reader) { r.PeekTag() }, verdict.Truncated, 0},
		{"no tag to peek at", "", func(r *reader) { r.PeekTag() }, verdict.Truncated, 0},
		{"additional information 28", "1c", unsigned, verdict.ReservedEncoding, 0},
		{"additional information 29", "5d", raw, verdict.ReservedEncoding, 0},
		{"additional information 30", "fe", raw, verdict.ReservedEncoding, 0},
		{"indefinite byte string", "5f 41 00 ff", func(r *reader) { r.Bytes(0, 9) }, verdict.Indefinite, 0},
		{"indefinite text", "7f ff", func(r *reader) { r.Text(0, 9) }, verdict.Indefinite, 0},
		{"indefinite array", "9f ff", func(r *reader) { r.Array(0, 9) }, verdict.Indefinite, 0},
		{"indefinite map", "bf ff", toMap, verdict.Indefinite, 0},
		{"break", "ff", raw, verdict.Indefinite, 0},

		// Types and ranges of the typed methods.
		{"Uint of a negative", "20", unsigned, verdict.WrongType, 0},
		{"Uint above its bound", "00 0a", func(r *reader) { r.Uint(0); r.Uint(9) }, verdict.TooLarge, 1},
		{"Int of a text", "60", func(r *reader) { r.Int() }, verdict.WrongType, 0},
		{"Int of 2^63", "1b 8000000000000000", func(r *reader) { r.Int() }, verdict.TooLarge, 0},
		{"Int of -2^63-1", "3b 8000000000000000", func(r *reader) { r.Int() }, verdict.TooLarge, 0},
		{"Bytes of a text", "60", func(r *reader) { r.Bytes(0, 9) }, verdict.WrongType, 0},
		{"Bytes below the minimum", "41 00", func(r *reader) { r.Bytes(2, 3) }, verdict.WrongLength, 0},
		{"Bytes above the maximum", "00 44 00000000", func(r *reader) { r.Uint(0); r.Bytes(2, 3) }, verdict.WrongLength, 1},
		{"Bytes of another length than the only one", "41 00", func(r *reader) { r.Bytes(2, 2) }, verdict.WrongLength, 0},
		{"Bytes cut off", "43 0000", func(r *reader) { r.Bytes(0, 9) }, verdict.Truncated, 1},
		{"Text of bytes", "40", func(r *reader) { r.Text(0, 9) }, verdict.WrongType, 0},
		{"Text too long", "63 616263", func(r *reader) { r.Text(0, 2) }, verdict.WrongLength, 0},
		{"Text too short", "60", func(r *reader) { r.Text(1, 2) }, verdict.WrongLength, 0},
		{"Text cut off", "62 61", func(r *reader) { r.Text(0, 9) }, verdict.Truncated, 1},
		{"Text not UTF-8", "00 61 ff", func(r *reader) { r.Uint(0); r.Text(0, 9) }, verdict.BadUTF8, 1},
		{"Array of a map", "a0", func(r *reader) { r.Array(0, 9) }, verdict.WrongType, 0},
		{"Array too short", "80", func(r *reader) { r.Array(1, 2) }, verdict.WrongCount, 0},
		{"Array too long", "83 000000", func(r *reader) { r.Array(1, 2) }, verdict.WrongCount, 0},
		{"Tag of an array", "80", func(r *reader) { r.Tag() }, verdict.WrongType, 0},
		{"Null without input", "", func(r *reader) { r.Null() }, verdict.Truncated, 0},
		{"bytes left over", "00 00 00", func(r *reader) { r.Uint(0); r.End(verdict.TrailingAfterDigest) }, verdict.TrailingAfterDigest, 1},

		// Maps.
		{"Map of an array", "80", toMap, verdict.WrongType, 0},
		{"Map beyond its bound", "a5 0000 0100 0200 0300 0400", toMap, verdict.WrongCount, 0},
		{"Map that announces a pair too many", "00 a2 0100", func(r *reader) { r.Uint(0); toMap(r) }, verdict.WrongCount, 1},
		{"Map without its last value", "a1 01", toMap, verdict.Truncated, 2},
		{"key twice", "a2 01 00 01 00", toMap, verdict.DuplicateKey, 3},
		{"text key twice", "a2 61 61 00 61 61 00", toMap, verdict.DuplicateKey, 4},
		{"keys not in order", "a2 02 00 01 00", toMap, verdict.UnsortedKeys, 3},
		{"negative key before a positive one", "a2 20 00 01 00", toMap, verdict.UnsortedKeys, 3},
		{"text key before an integer", "a2 61 61 00 18 18 00", toMap, verdict.UnsortedKeys, 4},
		{"keys in the order of RFC 7049", "a3 0a 00 20 00 18 64 00", toMap, verdict.UnsortedKeys, 5}, // -1 before 100 because shorter
		{"longer text key first", "a2 62 6161 00 61 62 00", toMap, verdict.UnsortedKeys, 5},
		{"byte string key", "a1 40 00", toMap, verdict.WrongType, 1},
		{"text key of 65 bytes", "a1 7841" + strings.Repeat("61", 65) + "00", toMap, verdict.WrongLength, 1},
		{"key in long form", "a1 1801 00", toMap, verdict.LongForm, 1},

		// Raw.
		{"Raw without input", "", raw, verdict.Truncated, 0},
		{"Raw array that is too short", "82 00", raw, verdict.Truncated, 1},
		{"Raw array without its last element", "82 81 00", raw, verdict.Truncated, 3},
		{"Raw array of 2^64-1", "9b ffffffffffffffff", raw, verdict.Truncated, 9},
		{"Raw map of 2^64-1", "bb ffffffffffffffff", raw, verdict.Truncated, 9},
		{"Raw map without its last value", "a1 01", raw, verdict.Truncated, 1},
		{"Raw bytes of 2^64-1", "5b ffffffffffffffff", raw, verdict.Truncated, 9},
		{"Raw text that is cut off", "62 61", raw, verdict.Truncated, 1},
		{"Raw text not UTF-8", "81 61 ff", raw, verdict.BadUTF8, 1},
		{"Raw key twice", "81 a2 01 00 01 00", raw, verdict.DuplicateKey, 4},
		{"Raw array key twice", "a2 80 00 80 00", raw, verdict.DuplicateKey, 3},
		{"Raw keys not in order", "a2 40 00 01 00", raw, verdict.UnsortedKeys, 3},
		{"Raw tag without content", "c1", raw, verdict.Truncated, 1},
		{"Raw undefined", "81 f7", raw, verdict.ReservedEncoding, 1},
		{"Raw simple value 0", "e0", raw, verdict.ReservedEncoding, 0},
		{"Raw simple value in two bytes", "f8 ff", raw, verdict.ReservedEncoding, 0},
		{"Raw null in two bytes", "f8 16", raw, verdict.ReservedEncoding, 0},
		{"Raw half", "f9 0000", raw, verdict.ReservedEncoding, 0},
		{"Raw nested arrays", "81 81 81 81 00", raw, verdict.TooDeep, 4},
		{"Raw nested tags", "c1 c1 c1 c1 00", raw, verdict.TooDeep, 4},
		{"Raw nested map keys", "a1 a1 a1 a1 00 00 00 00 00", raw, verdict.TooDeep, 4},
		{"Raw nested map values", "a1 00 a1 00 a1 00 a1 00 00", raw, verdict.TooDeep, 7},

		// The value of a map key fails.
		{"inside a value", "a2 01 00 02 18 01", toMap, verdict.LongForm, 4},
		// What a reader is told to refuse.
		{"Fail", "00 00", func(r *reader) { r.Uint(0); r.Fail(verdict.UnknownKey, "x") }, verdict.UnknownKey, 1},
		{"FailAt", "00", func(r *reader) { r.FailAt(7, verdict.UnknownKey, "x") }, verdict.UnknownKey, 7},
		{"FailWith", "00", func(r *reader) { r.FailWith(verdict.At(9, verdict.UnknownKey, "object", "")) }, verdict.UnknownKey, 9},
		{"only the first counts", "18 17", func(r *reader) { unsigned(r); r.Fail(verdict.UnknownKey, "x"); r.FailWith(errors.New("x")) }, verdict.LongForm, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := unhex(t, tt.hex)
			r := strictcbor.NewReader("object", data)
			tt.read(r)
			wantError(t, r.Err(), tt.reason, tt.offset)
			wantInert(t, r)

			// The same input as a part of a larger one.
			r = strictcbor.NewReaderAt("object", data, 1000)
			tt.read(r)
			if e, ok := errors.AsType[*verdict.Error](r.Err()); ok && !strings.HasPrefix(tt.name, "Fail") {
				wantError(t, e, tt.reason, 1000+tt.offset)
			}
		})
	}
}

// wantInert checks that a reader with an error gives zero values, consumes
// nothing and keeps its error.
func wantInert(t *testing.T, r *strictcbor.Reader) {
	t.Helper()
	before, at := r.Err(), r.Offset()
	n, peeked := r.PeekTag()
	nested := r.Nested("inner", 9)
	calls := 0
	r.Map(9, func(strictcbor.Key) { calls++ })
	r.End(verdict.TrailingBytes)
	if r.OK() || r.Uint(9) != 0 || r.Int() != 0 || r.Bytes(0, 9) != nil || r.Text(0, 9) != "" || r.Array(0, 9) != 0 || r.Tag() != 0 ||
		r.Null() || r.IsBytes() || r.IsText() || r.IsArray() || r.Raw(9) != nil || n != 0 || peeked || calls != 0 || nested.OK() || nested.Len() != 0 {
		t.Error("a reader with an error goes on reading")
	}
	if !errors.Is(r.Err(), before) || r.Offset() != at {
		t.Errorf("a reader with an error moves from %d to %d, error %v to %v", at, r.Offset(), before, r.Err())
	}
}

func TestReads(t *testing.T) {
	r := strictcbor.NewReaderAt("object", unhex(t, "1b ffffffffffffffff 3b 7fffffffffffffff 18 18 40 43 010203 62 c3bc 82 f6 f4 d8 6b a2 20 81 00 61 61 f6"), 100)
	check := func(what string, ok bool) {
		t.Helper()
		if !ok || !r.OK() {
			t.Fatalf("%s, at %d: %v", what, r.Offset(), r.Err())
		}
	}
	check("largest unsigned", r.Uint(math.MaxUint64) == math.MaxUint64)
	check("smallest integer", r.Int() == math.MinInt64)
	check("shortest one-byte form", r.Uint(24) == 24)
	empty := r.Bytes(0, 0)
	check("an empty byte string is not nil", empty != nil && len(empty) == 0)
	check("byte string next", r.IsBytes() && !r.IsText() && !r.IsArray())
	start := r.Offset()
	b := r.Bytes(3, 3)
	check("byte string", bytes.Equal(b, []byte{1, 2, 3}) && cap(b) == 3)
	check("bytes since", bytes.Equal(r.Since(start), []byte{0x43, 1, 2, 3}))
	check("text next", r.IsText() && !r.IsBytes())
	check("text", r.Text(2, 2) == "ü")
	check("array next", r.IsArray() && !r.IsText())
	check("array", r.Array(2, 2) == 2)
	check("null", r.Null())
	check("false is not null", !r.Null())
	check("false", bytes.Equal(r.Raw(1), []byte{0xf4}))
	n, ok := r.PeekTag()
	check("tag, peeked at", ok && n == 107)
	check("tag", r.Tag() == 107)
	_, ok = r.PeekTag()
	check("no tag", !ok)
	var keys []strictcbor.Key
	r.Map(2, func(k strictcbor.Key) { keys = append(keys, k); r.Raw(2) })
	check("map keys", len(keys) == 2 && keys[0] == strictcbor.Key{Int: -1} && keys[1] == strictcbor.Key{Text: "a", IsText: true})
	check("offset", r.Offset() == 100+int64(len(unhex(t, "1bffffffffffffffff3b7fffffffffffffff18184043010203 62c3bc82f6f4d86ba2208100 6161f6"))) && r.Len() == 0)
	r.End(verdict.TrailingBytes)
	check("end", true)
}

// Errors of a nested reader stop the outer one, the other way round, and count
// from the start of the outermost input.
func TestNested(t *testing.T) {
	data := unhex(t, "82 47 82 44 43 010203 00 01") // [<<[<<h'010203'>>, 0]>>, 1], the inner array one byte short
	t.Run("inner error", func(t *testing.T) {
		r := strictcbor.NewReaderAt("object", data, 50)
		r.Array(2, 2)
		n := r.Nested("inner", 9)
		n.Array(2, 2)
		nn := n.Nested("inner", 9)
		if nn.Offset() != 50+4 {
			t.Errorf("content starts at %d, want 54", nn.Offset())
		}
		nn.Uint(9)
		wantError(t, r.Err(), verdict.WrongType, 54)
		wantInert(t, r)
		wantInert(t, n)
		wantInert(t, nn)
	})
	t.Run("outer error", func(t *testing.T) {
		r := strictcbor.NewReader("object", data)
		r.Array(2, 2)
		n := r.Nested("inner", 9)
		r.Text(0, 9)
		wantError(t, n.Err(), verdict.WrongType, 9)
		wantInert(t, n)
	})
	t.Run("end of the inner reader", func(t *testing.T) {
		r := strictcbor.NewReader("object", data)
		r.Array(2, 2)
		n := r.Nested("inner", 9)
		n.Array(2, 2)
		n.Raw(1)
		n.End(verdict.TrailingAfterSequence)
		wantError(t, r.Err(), verdict.TrailingAfterSequence, 8)
	})
	t.Run("content too long", func(t *testing.T) {
		r := strictcbor.NewReader("object", data)
		r.Array(2, 2)
		n := r.Nested("inner", 6)
		wantError(t, n.Err(), verdict.WrongLength, 1)
	})
	t.Run("both read on", func(t *testing.T) {
		r := strictcbor.NewReader("object", data)
		r.Array(2, 2)
		n := r.Nested("inner", 7)
		if v := r.Uint(1); v != 1 {
			t.Errorf("outer: %d", v)
		}
		n.Array(2, 2)
		if b := n.Raw(1); !bytes.Equal(b, data[3:8]) {
			t.Errorf("inner: % x", b)
		}
		if v := n.Uint(0); v != 0 || n.Err() != nil {
			t.Errorf("inner: %d, %v", v, n.Err())
		}
	})
}

// The examples of RFC 8949, appendix A: everything that is deterministic and
// has a use here is accepted, everything else refused by the right rule.
func TestAppendixA(t *testing.T) {
	const ok verdict.Reason = ""
	for _, tt := range []struct {
		hex    string
		reason verdict.Reason
	}{
		{"00", ok}, {"01", ok}, {"0a", ok}, {"17", ok}, {"1818", ok}, {"1819", ok}, {"1864", ok}, {"1903e8", ok}, {"1a000f4240", ok},
		{"1b000000e8d4a51000", ok}, {"1bffffffffffffffff", ok}, {"c249010000000000000000", ok}, {"3bffffffffffffffff", ok},
		{"c349010000000000000000", ok}, {"20", ok}, {"29", ok}, {"3863", ok}, {"3903e7", ok},
		{"f90000", verdict.ReservedEncoding}, {"f98000", verdict.ReservedEncoding}, {"f93c00", verdict.ReservedEncoding},
		{"fb3ff199999999999a", verdict.ReservedEncoding}, {"f93e00", verdict.ReservedEncoding}, {"f97bff", verdict.ReservedEncoding},
		{"fa47c35000", verdict.ReservedEncoding}, {"fa7f7fffff", verdict.ReservedEncoding}, {"fb7e37e43c8800759c", verdict.ReservedEncoding},
		{"f90001", verdict.ReservedEncoding}, {"f90400", verdict.ReservedEncoding}, {"f9c400", verdict.ReservedEncoding},
		{"fbc010666666666666", verdict.ReservedEncoding}, {"f97c00", verdict.ReservedEncoding}, {"f97e00", verdict.ReservedEncoding},
		{"f9fc00", verdict.ReservedEncoding}, {"fa7f800000", verdict.ReservedEncoding}, {"fa7fc00000", verdict.ReservedEncoding},
		{"faff800000", verdict.ReservedEncoding}, {"fb7ff0000000000000", verdict.ReservedEncoding}, {"fb7ff8000000000000", verdict.ReservedEncoding},
		{"fbfff0000000000000", verdict.ReservedEncoding},
		{"f4", ok}, {"f5", ok}, {"f6", ok}, {"f7", verdict.ReservedEncoding}, {"f0", verdict.ReservedEncoding}, {"f8ff", verdict.ReservedEncoding},
		{"c074323031332d30332d32315432303a30343a30305a", ok}, {"c11a514b67b0", ok}, {"c1fb41d452d9e8200000", verdict.ReservedEncoding},
		{"d74401020304", ok}, {"d818456449455446", ok}, {"d82076687474703a2f2f7777772e6578616d706c652e636f6d", ok},
		{"40", ok}, {"4401020304", ok}, {"60", ok}, {"6161", ok}, {"6449455446", ok}, {"62225c", ok}, {"62c3bc", ok}, {"63e6b0b4", ok}, {"64f0908591", ok},
		{"80", ok}, {"83010203", ok}, {"8301820203820405", ok},
		{"98190102030405060708090a0b0c0d0e0f101112131415161718181819", ok},
		{"a0", ok}, {"a201020304", ok}, {"a26161016162820203", ok}, {"826161a161626163", ok},
		{"a56161614161626142616361436164614461656145", ok},
		{"5f42010243030405ff", verdict.Indefinite}, {"7f657374726561646d696e67ff", verdict.Indefinite}, {"9fff", verdict.Indefinite},
		{"9f018202039f0405ffff", verdict.Indefinite}, {"9f01820203820405ff", verdict.Indefinite}, {"83018202039f0405ff", verdict.Indefinite},
		{"83019f0203ff820405", verdict.Indefinite}, {"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", verdict.Indefinite},
		{"bf61610161629f0203ffff", verdict.Indefinite}, {"826161bf61626163ff", verdict.Indefinite}, {"bf6346756ef563416d7421ff", verdict.Indefinite},
	} {
		data := unhex(t, tt.hex)
		r := strictcbor.NewReader("object", data)
		got := r.Raw(8)
		r.End(verdict.TrailingBytes)
		if reason := verdict.Of(r.Err()); reason != tt.reason {
			t.Errorf("%s: got %v, want reason %q", tt.hex, r.Err(), tt.reason)
			continue
		}
		if tt.reason == ok {
			if !bytes.Equal(got, data) {
				t.Errorf("%s: got % x", tt.hex, got)
			}
			wantReencoded(t, data)
		}
	}
}

// Lengths that the input announces but does not have cost nothing: the only
// allocations are those of the error.
func TestAllocations(t *testing.T) {
	for _, head := range []string{"5b7fffffffffffffff", "7b7fffffffffffffff", "9b7fffffffffffffff", "bb7fffffffffffffff", "5a7fffffff", "9a7fffffff"} {
		data := unhex(t, head+"00000000")
		for name, read := range map[string]func(*strictcbor.Reader){
			"Raw":   func(r *strictcbor.Reader) { r.Raw(8) },
			"Bytes": func(r *strictcbor.Reader) { r.Bytes(0, math.MaxInt) },
			"Text":  func(r *strictcbor.Reader) { r.Text(0, math.MaxInt) },
			"Map":   func(r *strictcbor.Reader) { r.Map(math.MaxInt, skip(r)) },
		} {
			const runs = 100
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				r := strictcbor.NewReader("object", data)
				if read(r); r.OK() {
					t.Fatalf("%s of %s: accepted", name, head)
				}
			}
			runtime.ReadMemStats(&after)
			if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 4<<10 {
				t.Errorf("%s of %s: %d bytes allocated", name, head, n)
			}
		}
	}
}
