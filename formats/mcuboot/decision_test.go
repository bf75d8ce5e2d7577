package mcuboot

import (
	"crypto/rand"
	"testing"

	"github.com/otapack/otapack/sign"
)

// A verdict does not rest on the steps alone: with what one of them says ignored,
// an image passes all, and is still not verified.
func TestDecision(t *testing.T) {
	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Signature: ECDSAP256, Keys: []Key{NewKey(signer.Public())}}
	draft, err := Build([]byte("firmware of a very small device"), Options{
		Target: Target{Signature: ECDSAP256}, Keys: []sign.PublicKey{signer.Public()}, HeaderSize: 64, PadHeader: true,
	}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := sign.Answer(t.Context(), draft.Requests(), map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		t.Fatal(err)
	}
	good, err := draft.Finish(signatures)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	without := func(kind Type) []byte {
		changed := *f
		changed.Unprotected = nil
		for _, e := range f.Unprotected {
			if e.Type != kind {
				changed.Unprotected = append(changed.Unprotected, e)
			}
		}
		return changed.Encode()
	}
	last := append([]byte(nil), good...)
	last[len(last)-1] ^= 1
	for _, c := range []struct {
		name    string
		file    []byte
		ignored Step
		ok      bool
	}{
		{"good", good, "", true},
		{"good", good, StepSignature, true},
		{"no hash", without(TypeSHA256), StepHash, false},
		{"no signature", without(TypeECDSA), StepSignature, false},
		{"another signature", last, StepSignature, false},
	} {
		l := &loader{ctx: t.Context(), target: target, data: c.file, ignored: c.ignored}
		if err := l.run(); err != nil {
			t.Errorf("%s without %s: %v", c.name, c.ignored, err)
			continue
		}
		if v, err := l.verified(); (v != nil) != c.ok || (err == nil) != c.ok {
			t.Errorf("%s without %s: %v, %v", c.name, c.ignored, v, err)
		}
	}
}
