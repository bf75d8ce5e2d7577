package ceremony_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
)

// What Parse takes is what Sign would have signed, byte for byte.
func FuzzParse(f *testing.F) {
	p256, p384 := newFixed(f, sign.ESP256), newFixed(f, sign.ESP384)
	f.Add(mustSign(f, full(p256.PublicKey), p256))
	f.Add(mustSign(f, bare(p256.PublicKey), p256))
	f.Add(mustSign(f, full(p384.PublicKey), p384))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ceremony.Parse(data)
		if err != nil {
			return
		}
		if err := r.Check(); err != nil {
			t.Fatalf("it would not be signed: %v", err)
		}
		if !ceremony.IsRecord(data) {
			t.Fatal("it is not recognised")
		}
		text, err := r.Text()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("line %q does not print", line)
			}
		}
		m := cose.ReadSign1(strictcbor.NewReader("message", data), ceremony.MaxRecord)
		if m.Signature.IsZero() {
			return // of an algorithm that cannot be written
		}
		payload, err := ceremony.Payload(r)
		if err != nil {
			t.Fatal(err)
		}
		m.Payload = payload
		if back, err := m.Encode(); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("read  %x\nwrote %x, %v", data, back, err)
		}
	})
}
