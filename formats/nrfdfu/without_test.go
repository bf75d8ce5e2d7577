package nrfdfu_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/nrfdfu"
)

// Whatever is ignored and whatever is broken, TraceWithout comes to an end, and
// an ignored step never refuses alone what Verify takes.
func TestTraceWithout(t *testing.T) {
	steps := []nrfdfu.Step{
		nrfdfu.StepReceive, nrfdfu.StepDecode, nrfdfu.StepSignature, nrfdfu.StepType, nrfdfu.StepHashType, nrfdfu.StepHardware, nrfdfu.StepSoftDevice,
		nrfdfu.StepVersion, nrfdfu.StepSize, nrfdfu.StepRoom, nrfdfu.StepTransfer, nrfdfu.StepHash, nrfdfu.StepSoftDeviceInfo, nrfdfu.StepBootValidation,
		nrfdfu.StepEnd,
	}
	states := []string{"ble-s132-6.1.1", "ble-s132-7.2.0", "ble-s132-6.1.1-hw40", "ble-s132-6.1.1-app2-bl2", "serial-no-softdevice"}
	taken := map[nrfdfu.Step]int{}
	for _, v := range vectors(t) {
		for _, state := range states {
			p, d := v.pack(t), device(t, state)
			_, _, want := nrfdfu.Verify(p, d)
			for _, ignored := range steps {
				trace, err := nrfdfu.TraceWithout(p, d, ignored)
				if want == nil && err != nil {
					t.Errorf("%s on %s without %s: %v", v.File, state, ignored, err)
				}
				if r, ok := errorsAs(want); ok && err == nil {
					if r.Step != ignored {
						t.Errorf("%s on %s is taken without %s, and %s refused it", v.File, state, ignored, r.Step)
					}
					taken[ignored]++
				}
				if len(trace) == 0 {
					t.Errorf("%s on %s without %s: no trace", v.File, state, ignored)
				}
			}
		}
	}
	if taken[nrfdfu.StepSignature] == 0 || taken[nrfdfu.StepHash] == 0 || taken[nrfdfu.StepVersion] == 0 || taken[nrfdfu.StepDecode] > 0 {
		t.Errorf("taken without %v", taken)
	}

	signer := throwaway(t)
	d := device(t, "ble-s132-6.1.1")
	d.Key, d.UnsignedApps = signer.Public(), true
	good := crafted{}.pack(t, signer)
	for _, ignored := range steps {
		for bit := range 8 * len(good.Images[0].Packet) {
			bent := &nrfdfu.Package{Images: slices.Clone(good.Images)}
			bent.Images[0].Packet = bytes.Clone(good.Images[0].Packet)
			bent.Images[0].Packet[bit/8] ^= 1 << (bit % 8)
			_, _, want := nrfdfu.Verify(bent, d)
			if _, err := nrfdfu.TraceWithout(bent, d, ignored); want == nil && err != nil {
				t.Errorf("bit %d without %s: %v", bit, ignored, err)
			}
		}
		bent := &nrfdfu.Package{Images: slices.Clone(good.Images)}
		bent.Images[0].Firmware = nil
		if _, err := nrfdfu.TraceWithout(bent, d, ignored); err == nil {
			t.Errorf("nothing is taken without %s", ignored)
		}
	}
	if _, err := nrfdfu.TraceWithout(&nrfdfu.Package{}, d, nrfdfu.StepHash); !errors.Is(err, nrfdfu.ErrOptions) {
		t.Errorf("no image: %v", err)
	}
}
