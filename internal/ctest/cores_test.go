//go:build cores

package ctest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// boards are those of bootloader/c/qemu/cases, by their cores.
var boards = map[string]string{"Cortex-M0": "microbit", "Cortex-M4": "netduinoplus2"}

// board answers cases on an emulated board with the C of a folder.
func board(t *testing.T, folder, board string, cases []asked, flags ...string) []string {
	var in bytes.Buffer
	for _, c := range cases {
		in.Write(c.fields)
	}
	scratch := t.TempDir()
	if err := os.WriteFile(filepath.Join(scratch, "cases"), in.Bytes(), 0o600); err != nil {
		t.Error(err)
		return nil
	}
	out, err := exec.Command(filepath.Join(folder, "qemu", "cases"), append([]string{board, scratch}, flags...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", board, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// onBoards answers cases on both boards at a time, and gives the answers by core.
func onBoards(t *testing.T, folder string, cases []asked, flags ...string) map[string][]string {
	var wait sync.WaitGroup
	var mu sync.Mutex
	answers := map[string][]string{}
	for core, name := range boards {
		asks := cases
		if name == "microbit" { // its 16 KiB of RAM have no room for a decoder
			asks = onBare(cases)
		}
		wait.Go(func() {
			lines := board(t, folder, name, asks, flags...)
			mu.Lock()
			defer mu.Unlock()
			answers[core] = lines
		})
	}
	wait.Wait()
	return answers
}

// onBare asks about devices without a decoder.
func onBare(cases []asked) []asked {
	bare := slices.Clone(cases)
	for i, c := range bare {
		bare[i].question = c.bare
	}
	return bare
}

// TestCores demands the answers of Go from the C on this machine and on both cores.
func TestCores(t *testing.T) {
	cases, err := everyCase()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := casesBuild()
	if err != nil {
		t.Fatal(err)
	}
	answers := onBoards(t, source, cases)
	answers["host"] = askCases(t, exe, cases)
	n := 0
	for target, lines := range answers {
		asks := cases
		if target == "Cortex-M0" {
			asks = onBare(cases)
		}
		for _, d := range differences(asks, lines) {
			t.Errorf("%s: %s", target, d)
			n++
		}
	}
	decoded := 0
	for _, c := range cases {
		if c.decoded && !bytes.Equal(c.fields, c.bare.fields) {
			decoded++
		}
	}
	fmt.Printf("%d vectors × %d targets (Go, C on the host, on Cortex-M0, on Cortex-M4), %d differences\n", len(cases), 1+len(answers), n)
	fmt.Printf("  of them %d with a decoder, on the host and on Cortex-M4; else T4 is asked of a device without one\n", decoded)
}

// TestPlantOnCores builds the C without the comparison of classes: the boards
// run what they are given, and their answers are looked at.
func TestPlantOnCores(t *testing.T) {
	all, err := suitCases()
	if err != nil {
		t.Fatal(err)
	}
	cases := slices.DeleteFunc(slices.Clone(all), func(a asked) bool {
		return a.want != "refuse class" || !strings.HasPrefix(a.id, "suit-nrf52840/T1/")
	})
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	decoder, err := filepath.Abs(delta)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTAPACK_DELTA", decoder)
	if err := plants[0].apply(filepath.Join(folder, plants[0].file)); err != nil {
		t.Fatal(err)
	}
	for core, lines := range onBoards(t, folder, cases) {
		n := len(differences(cases, lines))
		fmt.Printf("planted, %s on %s: %d of %d vectors differ\n", plants[0].name, core, n, len(cases))
		if n == 0 {
			t.Errorf("%s: a verifier with a mistake goes unnoticed", core)
		}
	}
}

// Most that a verification may take: instructions of a plain image of 96 bytes,
// and bytes of stack for any. Both are exact, so that a change shows at once.
var (
	mostInstructions = map[string]int{"Cortex-M0": 36_000_000, "Cortex-M4": 10_000_000}
	mostStack        = 2048
)

// TestCost prints what one verification takes: instructions, and bytes of stack.
func TestCost(t *testing.T) {
	all, err := suitCases()
	if err != nil {
		t.Fatal(err)
	}
	var cases []asked
	for _, id := range []string{"T1/as-it-should-be", "T1/two-of-three-signatures", "T3/as-it-should-be", "T1/full-bank", "T4/od1-patch"} {
		i := slices.IndexFunc(all, func(a asked) bool { return a.id == "suit-nrf52840/"+id })
		if i < 0 || all[i].want != "accept" {
			t.Fatalf("%s is not there to be accepted", id)
		}
		cases = append(cases, all[i])
	}
	for core, lines := range onBoards(t, source, cases, "-DCOST") {
		var measured []int
		for _, line := range lines {
			if words := strings.Fields(line); words[0] == "region" || words[0] == "stack" {
				n, err := strconv.Atoi(words[1])
				if err != nil {
					t.Fatalf("%s: %q", core, line)
				}
				measured = append(measured, n)
			}
		}
		if len(measured) != 2*len(cases) {
			t.Fatalf("%s: %q", core, lines)
		}
		for i, c := range cases {
			fmt.Printf("%s, %s: %d instructions, %d bytes of stack\n", core, c.id, measured[2*i], measured[2*i+1])
			if measured[2*i+1] > mostStack {
				t.Errorf("%s, %s: more than %d bytes of stack", core, c.id, mostStack)
			}
		}
		if measured[0] > mostInstructions[core] {
			t.Errorf("%s, %s: more than %d instructions", core, cases[0].id, mostInstructions[core])
		}
	}
}
