package strictcbor_test

import (
	"bytes"
	"math/big"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// wantReencoded checks deterministic CBOR against another implementation: what
// it decodes and encodes deterministically must be the same bytes again. Values
// that it turns into Go types with a different encoding are left out.
func wantReencoded(t testing.TB, data []byte) {
	t.Helper()
	var value any
	if err := cbor.Unmarshal(data, &value); err != nil || !plain(value) || bytes.Contains(data, []byte{0xd9, 0xd9, 0xf7}) {
		return // arrays as map keys, tag 55799 and the like, which a Go value cannot hold
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := mode.Marshal(value)
	if err != nil {
		t.Fatalf("% x: %v", data, err)
	}
	if !bytes.Equal(again, data) {
		t.Errorf("% x is accepted, its deterministic form is % x", data, again)
	}
}

// plain reports whether a decoded value has neither times (tags 0 and 1) nor
// big integers (tags 2 and 3), which lose their tag.
func plain(v any) bool {
	switch v := v.(type) {
	case time.Time, big.Int:
		return false
	case []any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
	case map[any]any:
		for k, e := range v {
			if !plain(k) || !plain(e) {
				return false
			}
		}
	case cbor.Tag:
		return plain(v.Content)
	}
	return true
}

func FuzzRaw(f *testing.F) {
	for _, pattern := range []string{"suit/profile/*.hex", "suit/manifest-37/*.hex"} {
		names, err := testvectors.Cases(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			data, err := testvectors.Hex(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			// The wrapped items are where the structure is.
			if i := bytes.Index(data, []byte{0xa2, 0x02, 0x81, 0x81, 0x41}); i > 0 {
				f.Add(data[i:])
			}
		}
	}
	for _, seed := range []string{"a56161614161626142616361436164614461656145", "8301820203820405", "c249010000000000000000", "a2408001f6", "1bffffffffffffffff", "d86ba0"} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := strictcbor.NewReader("object", data)
		raw := r.Raw(16)
		if r.OK() && !bytes.Equal(raw, data[:len(data)-r.Len()]) {
			t.Fatalf("% x: Raw returns % x", data, raw)
		}
		r.End(verdict.TrailingBytes)
		if err := r.Err(); err != nil {
			if verdict.Of(err) == "" {
				t.Fatalf("% x: %v has no reason", data, err)
			}
			return
		}
		wantReencoded(t, data)
	})
}
