package manifest

import (
	"testing"

	"github.com/otapack/otapack/sign"
)

// BenchmarkAuthenticate is the work of a verifier per envelope: one P-256
// verification and everything else.
func BenchmarkAuthenticate(b *testing.B) {
	for name, base := range map[string]int{"T1": plain, "T3": encrypted} {
		b.Run(name, func(b *testing.B) {
			data, trust := baseEnvelope(b, base), testTrust(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Authenticate(data, trust); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnverified is the same without the signature.
func BenchmarkUnverified(b *testing.B) {
	for name, base := range map[string]int{"T1": plain, "T3": encrypted} {
		b.Run(name, func(b *testing.B) {
			data := baseEnvelope(b, base)
			b.ReportAllocs()
			for b.Loop() {
				e, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Unverified(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNew is the layout of an envelope up to its to-be-signed bytes.
func BenchmarkNew(b *testing.B) {
	for name, m := range map[string]Manifest{"T1": plainManifest(), "T3": encryptedManifest()} {
		b.Run(name, func(b *testing.B) {
			keys := []sign.PublicKey{alpha(b).Public()}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := New(m, keys, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
