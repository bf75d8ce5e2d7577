package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/provision"
)

// provisionSection asks for a secret of each kind.
const provisionSection = `provision:
  token: release
  transport: "pkcs11:object=line"
  master: "pkcs11:object=device-master"
  secrets:
    radio: {storage: {kind: derive, bytes: 16}, update: {kind: recipient}}
    motor: {debug: {kind: generate, bytes: 32}}
`

// makeProvisioning is a project with its keys, in a folder of its own.
func makeProvisioning(tb testing.TB) (dir string) {
	tb.Helper()
	needSoftHSM(tb)
	dir = tb.TempDir()
	otapack := func(args ...string) error {
		if out, err := command(tb.Context(), dir, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := makeProject(dir, otapack); err != nil {
		tb.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "otapack.yaml"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := file.WriteString(provisionSection); err != nil {
		tb.Fatal(err)
	}
	if err := file.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := otapack("provision", "init"); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// command is otapack in a folder, with the tokens of that folder.
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "otapack", args...)
	c.Dir = dir
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, envSoftHSM+"=") || strings.HasPrefix(v, envPIN) || strings.HasPrefix(v, envModule+"=")
	})
	c.Env = append(c.Env, "GORACE=atexit_sleep_ms=0")
	return c
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestProvisionWords: packages that must not know each other use the same words.
func TestProvisionWords(t *testing.T) {
	if hsm.WrapMechanism != provision.Mechanism || hsm.KeyCheckSize != provision.CheckSize {
		t.Errorf("%s and %s, check values of %d and %d bytes", hsm.WrapMechanism, provision.Mechanism, hsm.KeyCheckSize, provision.CheckSize)
	}
	for kind, want := range map[provision.Kind]string{provision.Derive: config.Derive, provision.Generate: config.Generate, provision.Recipient: config.Recipient} {
		if string(kind) != want {
			t.Errorf("%s and %s", kind, want)
		}
	}
	if provision.MaxSecrets != config.MaxSecrets {
		t.Errorf("%d and %d secrets", provision.MaxSecrets, config.MaxSecrets)
	}
}

// TestProvisionSample counts who is in a sample.
func TestProvisionSample(t *testing.T) {
	for _, c := range [][3]uint64{{10, 0, 10}, {10, 3, 3}, {10, 10, 10}, {10, 11, 10}, {1_000_000, 7, 7}, {1, 1, 1}} {
		n := uint64(0)
		for device := range c[0] {
			if sampled(device, c[0], c[1]) {
				n++
			}
		}
		if n != c[2] || !sampled(0, c[0], c[1]) {
			t.Errorf("%d of %d devices: got %d, want %d with the first", c[1], c[0], n, c[2])
		}
	}
}

// TestProvisionKilled kills runs at random places while they write. What was
// written never changes, and in the end no device is missing and none is there
// twice. (Before the first record a run is let be: SoftHSM writes to its token
// during a login, and a token whose login is killed is sometimes no more.)
func TestProvisionKilled(t *testing.T) {
	dir := makeProvisioning(t)
	const devices, kills = 1500, 25
	path := filepath.Join(dir, "records.jsonl")
	args := []string{"provision", "--count", fmt.Sprint(devices), "--serial-format", "TB-%06d", "-o", "records.jsonl", "--public-dir", "public"}
	var kept []byte
	torn := 0
	for run := range kills {
		c := command(t.Context(), dir, args...)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for sizeOf(path) <= int64(len(kept)) && len(ended) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(random(t, 8*time.Millisecond))
		if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if err := <-ended; err == nil || c.ProcessState.Exited() {
			t.Fatalf("run %d ended by itself: %v\n%s", run, err, &stderr)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(data, kept) {
			t.Fatalf("run %d changed what was there", run)
		}
		end := bytes.LastIndexByte(data, '\n') + 1
		if end < len(data) {
			torn++
		}
		kept = data[:end]
	}
	t.Logf("%d runs killed with %d of %d records written, %d in the middle of one", kills, bytes.Count(kept, []byte("\n"))-1, 3*devices, torn)
	if out, err := command(t.Context(), dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, kept) {
		t.Error("the last run changed what was there")
	}
	checkRecordsOf(t, data, devices)
	if out, err := command(t.Context(), dir, "provision", "check", "records.jsonl", "--token").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if keys, err := os.ReadDir(filepath.Join(dir, "public")); err != nil || len(keys) != devices {
		t.Errorf("%d public keys, %v", len(keys), err)
	}
}

func random(t *testing.T, below time.Duration) time.Duration {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(int64(below)))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n.Int64())
}

// checkRecordsOf insists on three different secrets of each device.
func checkRecordsOf(t *testing.T, data []byte, devices int) {
	t.Helper()
	r, err := provision.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	n, seen := 0, map[string]bool{}
	for ; ; n++ {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("TB-%06d", n/3+1); rec.Serial != want {
			t.Fatalf("record %d is of %s, want %s", n, rec.Serial, want)
		}
		if seen[string(rec.Wrapped)] {
			t.Fatalf("record %d: a secret that was given to another device", n)
		}
		seen[string(rec.Wrapped)] = true
	}
	if n != 3*devices {
		t.Errorf("%d records, want %d", n, 3*devices)
	}
}

// TestProvisionInterrupted asks a run to stop, while another is kept out.
func TestProvisionInterrupted(t *testing.T) {
	dir := makeProvisioning(t)
	const devices = 100_000
	path := filepath.Join(dir, "records.jsonl")
	args := []string{"provision", "--count", fmt.Sprint(devices), "--serial-format", "TB-%06d", "-o", "records.jsonl"}
	c := command(t.Context(), dir, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); sizeOf(path) < 10_000; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it writes nothing\n%s", &stderr)
		}
	}
	second := command(t.Context(), dir, args...)
	out, err := second.CombinedOutput()
	if err == nil || second.ProcessState.ExitCode() != exitExists || !strings.Contains(string(out), "records.jsonl: another run is writing it") ||
		!strings.Contains(string(out), "hint: wait for the other run to end, or write another file") {
		t.Errorf("a second run: %v\n%s", err, out)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("interrupted: %v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "records are in records.jsonl; the same command goes on from there") {
		t.Errorf("it says\n%s", &stderr)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.HasSuffix(data, []byte("\n")) {
		t.Errorf("the file ends in the middle of a record, %v", err)
	}
	r, err := provision.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	if !strings.Contains(err.Error(), "are missing (provision-incomplete)") {
		t.Errorf("the file is %v", err)
	}
}

// BenchmarkProvision is a whole process that makes one derived secret of 1,000
// devices.
func BenchmarkProvision(b *testing.B) {
	dir := makeProvisioning(b)
	const devices = 1000
	yaml := filepath.Join(dir, "otapack.yaml")
	data, err := os.ReadFile(yaml)
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Replace(string(data), ", update: {kind: recipient}}\n    motor: {debug: {kind: generate, bytes: 32}", "", 1)
	if err := os.WriteFile(yaml, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		out, err := command(b.Context(), dir, "provision", "--count", fmt.Sprint(devices), "--serial-format", "TB-%06d", "-o", fmt.Sprintf("%d.jsonl", n)).CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*devices), "µs/device")
}
