package delta

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/otapack/otapack/testvectors"
)

// vector returns a file of testvectors/delta.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	data, err := testvectors.Read("delta/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestVectors decodes patches that were written once: what a device has in its
// bootloader must go on reading what this package wrote.
func TestVectors(t *testing.T) {
	for _, p := range pairs(t) {
		patch := vector(t, p.name+".od1")
		if got, err := Decode(patch, p.old, len(p.image)); err != nil || !bytes.Equal(got, p.image) {
			t.Errorf("%s: %d bytes, %v", p.name, len(got), err)
		}
		if 10*len(patch) > 7*p.peerBytes {
			t.Errorf("%s: %d bytes, the best peer has %d", p.name, len(patch), p.peerBytes)
		}
	}
}

// TestStateVectors goes on at each state of a patch with restart points, and
// meets the later ones on the way.
func TestStateVectors(t *testing.T) {
	old, image := release(t, "mc-nrf51-m0-2.1.8"), release(t, "mc-nrf51-m0-4.0.24")
	patch := vector(t, "mc1-minor-restart.od1")
	lines := strings.Fields(string(vector(t, "mc1-minor-restart.states")))
	for i, line := range lines {
		kept, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		var state State
		if err := state.UnmarshalBinary(kept); err != nil {
			t.Fatal(err)
		}
		b := &bank{memory{bytes.Clone(image[:state.Output])}}
		d, err := Resume(bytes.NewReader(patch), bytes.NewReader(old), b, Limits{MapSize: smallMap}, state)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(d, b, 512); err != nil || !bytes.Equal(b.bytes, image) {
			t.Errorf("from state %d: %v", i, err)
		}
		last, err := d.State().MarshalBinary()
		if err != nil || hex.EncodeToString(last) != lines[len(lines)-1] {
			t.Errorf("from state %d: the last is %x, %v", i, last, err)
		}
	}
	if len(lines) < 5 {
		t.Errorf("%d states", len(lines))
	}
}
