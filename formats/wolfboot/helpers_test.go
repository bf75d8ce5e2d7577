package wolfboot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// entry is a TLV of a header that is built.
type entry struct {
	kind  wolfboot.Type
	value []byte
}

// recipe is an image that is built: what is signed, then what is not.
type recipe struct {
	magic    string
	header   int
	size     uint32 // of the firmware, in the header
	signed   []entry
	unsigned []entry // behind the digest; a nil signature is made
	firmware []byte
	digest   func([]byte) []byte // nil: as it is
	signer   sign.Signer
}

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// good is an image of version 2 as wolfBoot's tool lays it out.
func good(t testing.TB, s sign.Signer) recipe {
	t.Helper()
	firmware := testvectors.Bytes("wolfboot", 3000)
	hint := sha256.Sum256(s.Public().Point()[1:])
	return recipe{
		magic: wolfboot.Magic, header: 256, size: uint32(len(firmware)), firmware: firmware, signer: s,
		signed: []entry{
			{wolfboot.TypeVersion, u32(2)}, {wolfboot.TypeTimestamp, make([]byte, 8)}, {wolfboot.TypeImage, u16(0x0201)}, {wolfboot.TypeKeyHint, hint[:]},
		},
		unsigned: []entry{{wolfboot.TypeSignature, nil}},
	}
}

// set replaces the value of a TLV.
func (r *recipe) set(kind wolfboot.Type, value []byte) {
	for _, all := range [][]entry{r.signed, r.unsigned} {
		for i := range all {
			if all[i].kind == kind {
				all[i].value = value
			}
		}
	}
}

// remove takes a TLV out.
func (r *recipe) remove(kind wolfboot.Type) {
	is := func(e entry) bool { return e.kind == kind }
	r.signed, r.unsigned = slices.DeleteFunc(r.signed, is), slices.DeleteFunc(r.unsigned, is)
}

// build makes the image.
func (r recipe) build(t testing.TB) []byte {
	t.Helper()
	b := append([]byte(r.magic), u32(r.size)...)
	put := func(e entry) {
		for len(b)%8 != 4 {
			b = append(b, 0xff)
		}
		b = slices.Concat(b, u16(uint16(e.kind)), u16(uint16(len(e.value))), e.value)
	}
	for _, e := range r.signed {
		put(e)
	}
	for len(b)%8 != 4 {
		b = append(b, 0xff)
	}
	sum := sha256.Sum256(slices.Concat(b, r.firmware))
	digest := sum[:]
	if r.digest != nil {
		digest = r.digest(digest)
	}
	put(entry{wolfboot.TypeSHA256, digest})
	for _, e := range r.unsigned {
		if e.kind == wolfboot.TypeSignature && e.value == nil {
			s, err := r.signer.SignDigest(context.Background(), sum[:])
			if err != nil {
				t.Fatal(err)
			}
			e.value = s.Encode(sign.Raw)
		}
		put(e)
	}
	if len(b) > r.header {
		t.Fatalf("header of %d bytes", len(b))
	}
	b = append(b, bytes.Repeat([]byte{0xff}, r.header-len(b))...)
	return append(b, r.firmware...)
}

func throwaway(t testing.TB) sign.Signer {
	t.Helper()
	s, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// device is one that takes what good builds.
func device(s sign.Signer) wolfboot.Device {
	return wolfboot.Device{
		PartitionSize: 0x4000, SectorSize: 0x1000, Keys: []wolfboot.Key{{Public: s.Public(), Partitions: wolfboot.AllPartitions}},
		Running: &wolfboot.Running{Version: 1, Size: 100},
	}
}

var steps = []wolfboot.Step{
	wolfboot.StepOpen, wolfboot.StepType, wolfboot.StepSize, wolfboot.StepIntegrity, wolfboot.StepAuthenticity, wolfboot.StepSanity, wolfboot.StepVersion,
}

// fails holds a refusal against the step and reason that are wanted, and the
// trace against the order of the steps.
func fails(t *testing.T, what string, trace wolfboot.Trace, err error, step wolfboot.Step, reason verdict.Reason) {
	t.Helper()
	if err == nil || len(trace) == 0 {
		t.Errorf("%s: %v after %v; want %s, %s", what, err, trace, step, reason)
		return
	}
	last := trace[len(trace)-1]
	if last.Step != step || last.Status != wolfboot.Failed || last.Reason != reason || verdict.Of(err) != reason {
		t.Errorf("%s: %+v, %v; want %s, %s", what, last, err, step, reason)
	}
	for i, c := range trace {
		if c.Step != steps[i] || c.Status != wolfboot.Passed && i < len(trace)-1 {
			t.Errorf("%s: check %d is %+v", what, i, c)
		}
	}
}
