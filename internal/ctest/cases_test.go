package ctest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// asked is a case of bootloader/c/cases and the line that has to answer it.
type asked struct {
	id       string
	fields   []byte
	want     string
	envelope []byte
	decoded  bool // a payload of template T4, which the C refuses as no manifest
	host     bool // only for this machine
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
	a := asked{id: c.ID, envelope: inputs["envelope"], want: strings.TrimSpace(judged.Verdict + " " + judged.Step)}
	if e, err := manifest.Parse(inputs["envelope"]); err == nil && judged.Step != "signature" {
		if m, err := e.Unverified(); err == nil && m.Decoded() {
			a.decoded, a.want = true, "refuse manifest"
		}
	}
	a.fields, err = suitFields(*device.SUIT, inputs["envelope"], inputs["payload"])
	return a, err
}

// suitFields writes what bootloader/c/cases/cases.h says about S.
func suitFields(d verdicts.SUIT, envelope, payload []byte) ([]byte, error) {
	var hasSlot, slot uint32
	if d.Slot != nil {
		hasSlot, slot = 1, *d.Slot
	}
	b := slices.Concat([]byte("S"), d.VendorID, d.ClassID)
	for _, n := range []uint32{d.MinSequence, hasSlot, slot, d.BankSize, d.Threshold, uint32(len(d.Keys))} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for _, k := range d.Keys {
		id := keyID(k.Point)
		b = slices.Concat(b, k.Point, id[:16], []byte{0})
		if k.Revoked {
			b[len(b)-1] = 1
		}
	}
	key, name := []byte(d.KEK), []byte(d.KEKID)
	if len(d.DeviceKey) > 0 {
		private, err := ecdh.P256().NewPrivateKey(d.DeviceKey)
		if err != nil {
			return nil, err
		}
		to, err := encrypt.NewRecipient(private.PublicKey())
		if err != nil {
			return nil, err
		}
		key, name = d.DeviceKey, to.KeyID
	}
	for _, field := range [][]byte{key, name} {
		b = append(append(b, byte(len(field))), field...)
	}
	for _, input := range [][]byte{envelope, payload} {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(input))), input...)
	}
	return b, nil
}

// spkiHead stands before a point in a SubjectPublicKeyInfo on P-256 (RFC 5480).
const spkiHead = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"

func keyID(point []byte) sign.KeyID {
	return sha256.Sum256(slices.Concat([]byte(spkiHead), point))
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

func TestVerdicts(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	cases, err := everyCase()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := casesBuild()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences(cases, askCases(t, exe, cases)) {
		t.Error(d)
	}
	counts := map[string]int{}
	for _, c := range cases {
		counts[c.want]++
		if c.decoded {
			counts["decoded"]++
		}
	}
	t.Log(counts)
	for _, want := range []string{
		"accept", "refuse", "refuse envelope", "refuse signature", "refuse manifest", "refuse vendor", "refuse class", "refuse slot",
		"refuse sequence", "refuse size", "refuse ciphertext", "refuse unwrap", "refuse image", "decoded",
	} {
		if counts[want] == 0 {
			t.Errorf("no case of %s", want)
		}
	}
}

// casesBuild answers cases.
var casesBuild = buildFrom("cases", []string{"/cases/host.c", "/cases/cases.c"})
