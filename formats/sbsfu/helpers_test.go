package sbsfu_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := testvectors.Read("sbsfu/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signer is the key that signed the packages.
func signer(t testing.TB) sign.Signer {
	t.Helper()
	block, _ := pem.Decode(read(t, "ECC.pem"))
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.FromCrypto(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// device is the one that the packages are for.
func device(t testing.TB, scheme sbsfu.Scheme) sbsfu.Device {
	t.Helper()
	slot := sbsfu.Slot{Size: 0x8000, Key: signer(t).Public(), Installed: &sbsfu.Installed{Version: 1, Firmware: read(t, "v1.bin")}}
	if scheme == sbsfu.AESCBC {
		slot.AESKey = read(t, "AES_CBC.bin")
	}
	return sbsfu.Device{Scheme: scheme, Offset: 512, Slots: []sbsfu.Slot{slot}}
}

// resigned changes a header and signs it again.
func resigned(t testing.TB, file []byte, scheme sbsfu.Scheme, change func(*sbsfu.Header)) []byte {
	t.Helper()
	h, err := sbsfu.ParseHeader(file, scheme)
	if err != nil {
		t.Fatal(err)
	}
	change(h)
	s, err := signer(t).Sign(context.Background(), h.Signed())
	if err != nil {
		t.Fatal(err)
	}
	copy(h.Signature[:], s.Encode(sign.Raw))
	return slices.Concat(h.Encode(), file[sbsfu.HeaderSize:])
}

// fails holds a refusal against the step and reason that are wanted, and the
// trace against the order of the steps.
func fails(t *testing.T, what string, trace sbsfu.Trace, err error, step sbsfu.Step, reason verdict.Reason) {
	t.Helper()
	if err == nil || len(trace) == 0 {
		t.Errorf("%s: %v after %v", what, err, trace)
		return
	}
	last := trace[len(trace)-1]
	if last.Step != step || last.Status != sbsfu.Failed || last.Reason != reason || verdict.Of(err) != reason {
		t.Errorf("%s: %+v, %v; want %s, %s", what, last, err, step, reason)
	}
	for i, c := range trace {
		if c.Step != steps[i] || c.Status != sbsfu.Passed && i < len(trace)-1 {
			t.Errorf("%s: check %d is %+v", what, i, c)
		}
	}
}

var steps = []sbsfu.Step{
	sbsfu.StepCandidate, sbsfu.StepVersion, sbsfu.StepHeader, sbsfu.StepImage, sbsfu.StepRest, sbsfu.StepFlow, sbsfu.StepExecute,
}
