package release

import (
	"crypto/rand"
	"testing"
)

// benchWorkshop has images of the sizes of examples/toothbrush.
func benchWorkshop(b *testing.B) *workshop {
	b.Helper()
	w := newWorkshop(b)
	w.write(b, "radio.hex", intelHex(b, radioBase, pseudo(b, "radio", 175<<10)))
	w.write(b, "motor.bin", pseudo(b, "motor", 4<<10))
	return w
}

// BenchmarkRelease is the whole pipeline, from otapack.yaml to the bundle, with
// both components encrypted and keys in memory instead of an HSM. Making the
// files durable is a matter of the disk and comes apart.
func BenchmarkRelease(b *testing.B) {
	for _, write := range []bool{false, true} {
		name := "memory"
		if write {
			name = "files"
		}
		b.Run(name, func(b *testing.B) {
			w := benchWorkshop(b)
			b.SetBytes(179 << 10)
			b.ReportAllocs()
			for b.Loop() {
				w.benchRelease(b, write)
			}
		})
	}
}

func (w *workshop) benchRelease(b *testing.B, write bool) {
	plan, err := w.open(b).Load(Options{Version: "1.0.0", OutDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	if err := plan.Lint(); err != nil {
		b.Fatal(err)
	}
	draft, err := plan.Build(b.Context(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	defer draft.Wipe()
	rehearsed, err := draft.Rehearse(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	signed, err := rehearsed.Sign(b.Context(), w.signers)
	if err != nil {
		b.Fatal(err)
	}
	verified, err := signed.Verify(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if !write {
		return
	}
	if err := verified.Write(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVerifyBundle decrypts both components.
func BenchmarkVerifyBundle(b *testing.B) {
	w := benchWorkshop(b)
	_, data := w.release(b, "1.0.0")
	project, o := w.open(b), VerifyOptions{Identities: devices(b)}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := verifyBundle(b, project, data, o); err != nil {
			b.Fatal(err)
		}
	}
}
