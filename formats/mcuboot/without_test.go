package mcuboot_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
)

// Whatever is ignored and whatever is broken, TraceWithout comes to an end, and
// an ignored step never refuses alone what Verify takes.
func TestTraceWithout(t *testing.T) {
	s, other := throwaway(t, sign.ESP256), throwaway(t, sign.ESP256)
	steps := []mcuboot.Step{
		mcuboot.StepBootable, mcuboot.StepDowngrade, mcuboot.StepHeader, mcuboot.StepPlacement, mcuboot.StepContentKey, mcuboot.StepTLVs, mcuboot.StepSize,
		mcuboot.StepHash, mcuboot.StepSignature, mcuboot.StepCounter, mcuboot.StepVendor, mcuboot.StepClass, mcuboot.StepDependencies, mcuboot.StepStructure,
	}
	target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}, Rollback: number(5)})
	counter := func(n uint32) func(*mcuboot.Options) { return func(o *mcuboot.Options) { o.Counter = number(n) } }
	good, stranger, old := small(t, target, s, counter(5)), small(t, target, other, counter(5)), small(t, target, s, counter(4))
	for _, c := range []struct {
		name  string
		file  []byte
		alone mcuboot.Step // without which it is taken, "" for none
	}{
		{"good", good, ""}, {"stranger", stranger, mcuboot.StepSignature}, {"old", old, mcuboot.StepCounter},
	} {
		for _, ignored := range steps {
			trace, err := mcuboot.TraceWithout(t.Context(), c.file, target, ignored)
			if taken := c.alone == "" || c.alone == ignored; (err == nil) != taken {
				t.Errorf("%s without %s: %v\n%+v", c.name, ignored, err, trace)
			}
			for _, check := range trace {
				if check.Status == mcuboot.NotRun && check.Step != ignored {
					t.Errorf("%s without %s: %s was not run", c.name, ignored, check.Step)
				}
			}
		}
	}
	for _, ignored := range steps {
		for bit := range 8 * len(good) {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			_, _, want := mcuboot.Verify(t.Context(), b, target)
			if _, err := mcuboot.TraceWithout(t.Context(), b, target, ignored); want == nil && err != nil {
				t.Errorf("bit %d without %s: %v", bit, ignored, err)
			}
		}
		for n := range good {
			if _, err := mcuboot.TraceWithout(t.Context(), good[:n], target, ignored); err == nil {
				t.Errorf("%d bytes are taken without %s", n, ignored)
			}
		}
	}
	if _, err := mcuboot.TraceWithout(t.Context(), good, mcuboot.Target{}, mcuboot.StepHash); !errors.Is(err, mcuboot.ErrTarget) {
		t.Errorf("no target: %v", err)
	}
}
