package ctest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// asked is a case of bootloader/c/cases and the line that has to answer it.
type asked struct {
	question
	id       string
	envelope []byte
	decoded  bool // a payload of template T4
	// bare is for a target without a decoder, and asks about a device without one.
	bare question
}

type question struct {
	fields []byte
	want   string
}

// ask puts a case to Go. A payload of a coding that the C has no decoder for is
// always that of a device without one.
func ask(id string, device verdicts.SUIT, inputs map[string][]byte) (asked, error) {
	a := asked{id: id, envelope: inputs["envelope"]}
	coding := Coding(a.envelope)
	var err error
	if a.question, err = a.as(device, inputs); err != nil || coding == 0 {
		a.bare = a.question
		return a, err
	}
	a.decoded = true
	device.DecoderRAM = 0
	inputs = maps.Clone(inputs)
	delete(inputs, "running") // which nobody looks at then
	a.bare, err = a.as(device, inputs)
	if coding != manifest.CodingOD1 {
		a.question = a.bare
	}
	return a, err
}

func (asked) as(device verdicts.SUIT, inputs map[string][]byte) (q question, err error) {
	judged, err := vectors.Reference(context.Background(), verdicts.Device{SUIT: &device}, inputs)
	if err != nil {
		return q, err
	}
	q.want = strings.TrimSpace(judged.Verdict + " " + judged.Step)
	q.fields, err = Case(device, inputs)
	return q, err
}

// suitCases are the published verdicts for our SUIT profile, of both chips.
var suitCases = sync.OnceValues(func() ([]asked, error) {
	var all []asked
	for _, name := range []string{"suit-nrf52840", "suit-stm32l4"} {
		family, err := verdicts.Load(name)
		if err != nil {
			return nil, err
		}
		for _, c := range family.Cases {
			a, err := suitCase(family, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.ID, err)
			}
			all = append(all, a)
		}
	}
	return all, nil
})

// suitCase asks Go again: the published verdict is not taken on trust.
func suitCase(family *verdicts.Family, c verdicts.Case) (asked, error) {
	inputs, err := vectors.Inputs(family, c)
	if err != nil {
		return asked{}, err
	}
	device := family.Devices[c.Device]
	judged, err := vectors.Reference(context.Background(), device, inputs)
	if err != nil {
		return asked{}, err
	}
	if judged.Verdict != c.Verdict || judged.Step != c.Step {
		return asked{}, fmt.Errorf("Go says %s %s, published is %s %s", judged.Verdict, judged.Step, c.Verdict, c.Step)
	}
	return ask(c.ID, *device.SUIT, inputs)
}

// askCases runs a program over cases and returns its lines.
func askCases(t *testing.T, exe string, cases []asked) []string {
	t.Helper()
	var in bytes.Buffer
	for _, c := range cases {
		in.Write(c.fields)
	}
	cmd := exec.Command(exe)
	cmd.Stdin = &in
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errors.Bytes())
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// differences compares answers and says which differ.
func differences(cases []asked, lines []string) []string {
	var all []string
	for i, c := range cases {
		got := "nothing"
		if i < len(lines) {
			got = lines[i]
		}
		if got != c.want {
			all = append(all, fmt.Sprintf("%s: %s, want %s", c.id, got, c.want))
		}
	}
	return all
}

// everyCase are all verdicts and signatures. Cases with one envelope stand
// together, in which the boards remember signatures.
func everyCase() ([]asked, error) {
	suit, err := suitCases()
	if err != nil {
		return nil, err
	}
	signatures, err := signatureCases()
	all := slices.Concat(suit, signatures)
	slices.SortStableFunc(all, func(a, b asked) int { return bytes.Compare(a.envelope, b.envelope) })
	return all, err
}

// equal demands Go's answers from the C on this machine, and that there are cases
// for all that is wanted.
func equal(t *testing.T, cases func() ([]asked, error), want ...string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	all, err := cases()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := casesBuild()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences(all, askCases(t, exe, all)) {
		t.Error(d)
	}
	counts := map[string]int{}
	for _, c := range all {
		counts[c.want]++
		if c.decoded {
			counts["decoded"]++
		}
	}
	t.Log(counts)
	for _, w := range want {
		if counts[w] == 0 {
			t.Errorf("no case of %s", w)
		}
	}
}

func TestVerdicts(t *testing.T) {
	equal(t, everyCase, "accept", "refuse", "refuse envelope", "refuse signature", "refuse manifest", "refuse vendor", "refuse class",
		"refuse slot", "refuse sequence", "refuse size", "refuse decoder", "refuse base", "refuse ciphertext", "refuse unwrap", "refuse image", "decoded")
}

// casesBuild answers cases.
var casesBuild = buildFrom("cases", []string{"/cases/host.c", "/cases/cases.c", "/../../formats/payload/delta/c/delta.c"},
	"-DDECODER", "-I"+delta)
