package ctest

import (
	"encoding/hex"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/testvectors/verdicts"
)

// TestAttackedEnvelope holds the bytes that the fault campaign attacks against the vector that they are from.
func TestAttackedEnvelope(t *testing.T) {
	family, err := verdicts.Load("suit-nrf52840")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(family.Cases, func(c verdicts.Case) bool { return c.ID == "suit-nrf52840/T1/as-it-should-be" })
	if at < 0 {
		t.Fatal("the vector is gone")
	}
	want, err := family.Input(family.Cases[at], "envelope")
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile(source + "/faults/envelope.h")
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for _, b := range regexp.MustCompile(`0x([0-9a-f]{2}),`).FindAllSubmatch(header, -1) {
		digits.Write(b[1])
	}
	if got := digits.String(); got != hex.EncodeToString(want) {
		t.Errorf("envelope.h has %s, want %x", got, want)
	}
}

// TestChangedDevice demands that no byte of a device changes unnoticed during a verification.
func TestChangedDevice(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	exe, err := buildFrom("changed", []string{"/host/changed.c"})()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(exe).Output(); err != nil || string(out) != "0\n" {
		t.Errorf("%q bytes were not noticed (%v), want 0", out, err)
	}
}
