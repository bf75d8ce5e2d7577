package wolfboot_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strconv"
	"testing"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := testvectors.Read("wolfboot/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// toolDevice has the key that wolfBoot's tool signed with.
func toolDevice(t testing.TB) wolfboot.Device {
	t.Helper()
	key, err := sign.ParsePublicKey(read(t, "ecc256.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return wolfboot.Device{PartitionSize: 0x4000, SectorSize: 0x1000, Keys: []wolfboot.Key{{Public: key, Partitions: wolfboot.AllPartitions}}}
}

// What wolfBoot's own tool signed.
func TestPublishedImages(t *testing.T) {
	for _, c := range []struct {
		file    string
		version uint32
		step    wolfboot.Step
		reason  verdict.Reason
	}{
		{"ecc256_v2.bin", 2, "", ""},
		{"ecc256_v4_id0.bin", 4, wolfboot.StepType, verdict.ImageType},
		{"ecc256_v5_sha384.bin", 5, wolfboot.StepIntegrity, verdict.ImageHashMissing},
		{"ed25519_v6.bin", 6, wolfboot.StepType, verdict.SignatureType},
		{"unsigned_v8.bin", 8, wolfboot.StepType, verdict.SignatureType},
	} {
		file := read(t, c.file)
		v, trace, err := wolfboot.Verify(t.Context(), file, toolDevice(t))
		if c.step != "" {
			fails(t, c.file, trace, err, c.step, c.reason)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if v.Version() != c.version || v.Unusual() != nil || !bytes.Equal(v.Firmware(), file[256:]) {
			t.Errorf("%s: version %d, unusual %v", c.file, v.Version(), v.Unusual())
		}
	}
	if _, _, err := wolfboot.Verify(t.Context(), read(t, "ecc256_v9_delta.bin"), toolDevice(t)); !errors.Is(err, wolfboot.ErrUnsupported) {
		t.Errorf("delta: %v", err)
	}
}

// What wolfBoot's own code said of changes of an image, most of them signed again.
func TestWolfBootAgrees(t *testing.T) {
	var cases []struct {
		WolfBoot string            // the step that refuses, or "taken"
		Changes  map[string]string // offset: bytes
	}
	if err := testvectors.JSON("wolfboot/verdicts.json", &cases); err != nil {
		t.Fatal(err)
	}
	d := toolDevice(t)
	d.Running = &wolfboot.Running{Version: 1, Size: 100}
	seen := map[string]int{}
	for i, c := range cases {
		file := read(t, "ecc256_v2.bin")
		for offset, digits := range c.Changes {
			at, err := strconv.Atoi(offset)
			if err != nil {
				t.Fatal(err)
			}
			b, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatal(err)
			}
			copy(file[at:], b)
		}
		_, trace, err := wolfboot.Verify(t.Context(), file, d)
		got := "taken"
		if err != nil && len(trace) > 0 {
			got = string(trace[len(trace)-1].Step)
		}
		if got != c.WolfBoot {
			t.Errorf("case %d: %s, %v; wolfBoot says %s", i, got, err, c.WolfBoot)
		}
		seen[c.WolfBoot]++
	}
	for _, verdict := range []string{"taken", "open", "type", "size", "integrity", "authenticity", "version"} {
		if seen[verdict] == 0 {
			t.Errorf("no case for %s", verdict)
		}
	}
}
