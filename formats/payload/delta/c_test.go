package delta

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// faults are the answers of the C decoder.
var faults = map[int32]error{
	-1: ErrHeader, -2: ErrVersion, -3: ErrParams, -4: ErrTooLong, -5: ErrLimit, -6: ErrOld,
	-7: ErrTruncated, -8: ErrTrailing, -9: ErrCorrupt, -10: ErrState, -11: io.ErrUnexpectedEOF,
}

// A cDecoder is c/host/decode.c, running.
type cDecoder struct {
	in     io.WriteCloser
	out    io.ReadCloser
	covers int
}

// buildC compiles the decoder for maps of so many covers, with the sanitizers.
func buildC(t *testing.T, covers int) *cDecoder {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	exe := filepath.Join(t.TempDir(), "decode")
	out, err := exec.Command("gcc",
		"-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror",
		"-fsanitize=address,undefined", "-fno-sanitize-recover=all", fmt.Sprintf("-DOTAPACK_DELTA_COVERS=%d", covers),
		"-o", exe, "c/host/decode.c", "c/delta.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	size, err := exec.Command(exe, "size").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Eight bytes more than on a device, where a pointer has four.
	ram := Header{Params: Params{MapSize: covers}}.DecoderRAM()
	if n, err := strconv.Atoi(string(size)); err != nil || n > ram || n < ram-32 {
		t.Errorf("the C decoder for %d covers has %s bytes, %v; DecoderRAM says %d", covers, size, err, ram)
	}
	cmd := exec.Command(exe)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	d := &cDecoder{covers: covers}
	var errIn, errOut error
	d.in, errIn = cmd.StdinPipe()
	d.out, errOut = cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.in.Close(), cmd.Wait()); err != nil {
			t.Errorf("%v\n%s", err, stderr.Bytes())
		}
	})
	return d
}

// A job is one run of a decoder.
type job struct {
	patch, old, bank []byte
	state            [stateSize]byte
	most, piece      int // longest image, bytes per call
	stop             int // of the image, in bytes
}

// decode runs a job and returns what is in the bank then, and the state.
func (d *cDecoder) decode(t *testing.T, j job) (bank []byte, state [stateSize]byte, err error) {
	t.Helper()
	var b []byte
	for _, v := range []int{len(j.patch), len(j.old), len(j.bank), j.most, j.piece, j.stop} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	for _, part := range [][]byte{b, j.state[:], j.patch, j.old, j.bank} {
		if _, err := d.in.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	head := make([]byte, 8+stateSize)
	if _, err := io.ReadFull(d.out, head); err != nil {
		t.Fatal(err)
	}
	answer := int32(binary.LittleEndian.Uint32(head))
	bank = make([]byte, binary.LittleEndian.Uint32(head[4:]))
	if _, err := io.ReadFull(d.out, bank); err != nil {
		t.Fatal(err)
	}
	err = faults[answer]
	if answer < 0 && err == nil {
		t.Fatalf("answer %d", answer)
	}
	return bank, [stateSize]byte(head[8:]), err
}

// golang does what the C decoder does.
func (d *cDecoder) golang(j job) (bank []byte, state [stateSize]byte, err error) {
	m := &memory{bytes: bytes.Clone(j.bank)}
	h, err := ReadHeader(j.patch)
	if err == nil && h.OldLength != len(j.old) {
		err = ErrOld
	}
	if err != nil {
		return nil, state, err
	}
	var s State
	if err := s.UnmarshalBinary(j.state[:]); err != nil {
		return nil, state, err
	}
	limits := Limits{NewLength: j.most, MapSize: d.covers}
	g, err := Resume(bytes.NewReader(j.patch), bytes.NewReader(j.old), m, limits, s)
	if err != nil {
		return nil, state, err
	}
	m.bytes = m.bytes[:s.Output]
	piece := make([]byte, min(j.piece, 32))
	for len(m.bytes) < j.stop {
		n, err := g.Read(piece)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, state, err
		}
		_, _ = m.Write(piece[:n]) // cannot fail
	}
	kept, err := g.State().MarshalBinary()
	return m.bytes, [stateSize]byte(kept), err
}

// compare demands that C and Go answer a job alike, and returns that.
func (d *cDecoder) compare(t *testing.T, name string, j job) (bank []byte, state [stateSize]byte, err error) {
	t.Helper()
	want, wantState, wantErr := d.golang(j)
	bank, state, err = d.decode(t, j)
	switch {
	case err == nil != (wantErr == nil) || !errors.Is(wantErr, err):
		t.Errorf("%s: C says %v, Go %v", name, err, wantErr)
	case err == nil && (!bytes.Equal(bank, want) || state != wantState):
		t.Errorf("%s: C and Go differ; state %x, %x", name, state, wantState)
	}
	return bank, state, err
}

// whole is a job that decodes all of a patch.
func whole(patch, old []byte) job {
	return job{patch: patch, old: old, most: 1 << 18, piece: 64, stop: MaxImage + 1}
}

// TestC holds the C decoder against this package.
func TestC(t *testing.T) {
	full, small := buildC(t, DefaultMap), buildC(t, smallMap)
	t.Run("releases", func(t *testing.T) { testReleases(t, full, small) })
	t.Run("edits", func(t *testing.T) { testEdits(t, full, small) })
	t.Run("resume", func(t *testing.T) { testResume(t, full) })
	t.Run("damage", func(t *testing.T) { testDamage(t, full) })
}

// testReleases decodes the published patches of real firmware, and goes on at
// their states.
func testReleases(t *testing.T, full, small *cDecoder) {
	all := pairs(t)
	for _, p := range all {
		if got, _, err := full.compare(t, p.name, whole(vector(t, p.name+".od1"), p.old)); err != nil || !bytes.Equal(got, p.image) {
			t.Errorf("%s: C decodes to something else: %v", p.name, err)
		}
	}
	p := all[1]
	j := whole(vector(t, p.name+"-restart.od1"), p.old)
	for _, line := range append(strings.Fields(string(vector(t, p.name+"-restart.states"))), strings.Repeat("0", 2*stateSize)) {
		if n, err := hex.Decode(j.state[:], []byte(line)); n != stateSize || err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		j.bank = p.image
		for _, d := range []*cDecoder{full, small} {
			if got, _, err := d.compare(t, line, j); err != nil || !bytes.Equal(got, p.image) {
				t.Errorf("%s from %s: C decodes to something else: %v", p.name, line, err)
			}
		}
		j.piece = max(j.piece-9, 1)
	}
}

// testEdits decodes patches of made-up programs and of no programs.
func testEdits(t *testing.T, full, small *cDecoder) {
	r := rand.New(rand.NewPCG(5, 5))
	for edits := range 12 {
		old, image := images(20+10*edits, 1+3*edits)
		p := testParams()
		d := full
		switch edits % 4 {
		case 1:
			p.Restart = 1024
		case 2:
			p.MapSize, d, old = 3, small, old[:len(old)*(edits&4)/4]
		case 3:
			p.MapSize, p.Restart, p.NewBase = 40, 1024, p.NewBase+8
			image = append(image[:len(image)-r.IntN(4)], old...)
		}
		patch := encode(t, old, image, p)
		if got, _, err := d.compare(t, fmt.Sprint(edits), whole(patch, old)); err != nil || !bytes.Equal(got, image) {
			t.Errorf("%d edits: C decodes to something else: %v", edits, err)
		}
		if len(old)%2 == 0 {
			_, _, err := small.compare(t, "a large map", whole(patch, old))
			if p.MapSize == 0 && !errors.Is(err, ErrLimit) {
				t.Errorf("a large map: %v", err)
			}
		}
	}
}

// testResume goes on at every state that the decoder gives.
func testResume(t *testing.T, d *cDecoder) {
	old, image := images(120, 40)
	p := testParams()
	p.Restart = 1024
	patch := encode(t, old, image, p)
	seen := map[[stateSize]byte]bool{}
	refused := 0
	for stop := 100; stop < len(image); stop += 300 {
		j := whole(patch, old)
		j.stop = stop
		bank, state, err := d.compare(t, fmt.Sprint("up to ", stop), j)
		if err != nil {
			t.Fatal(err)
		}
		seen[state] = true
		j.bank, j.state, j.stop = bank, state, MaxImage+1
		if got, _, err := d.compare(t, fmt.Sprint("from ", stop), j); err != nil || !bytes.Equal(got, image) {
			t.Errorf("from %d: %v", stop, err)
		}
		// Not the last six bytes: nothing but the digest of the image shows that they
		// are not those before pos, and what comes of it is not laid down.
		for i := stop / 100 % 7; i < 8*(stateSize-6); i += 7 {
			damaged := j
			damaged.state[i/8] ^= 1 << (i % 8)
			damaged.bank = append(bytes.Clone(image), make([]byte, len(image))...) // so that there is something everywhere
			if _, _, err := d.compare(t, fmt.Sprintf("from %d, bit %d flipped", stop, i), damaged); err != nil {
				refused++
			}
		}
	}
	if len(seen) < 5 || refused < 10*len(seen) {
		t.Errorf("%d states, %d damaged ones refused", len(seen), refused)
	}
}

// testDamage cuts a patch everywhere and flips each third bit.
func testDamage(t *testing.T, d *cDecoder) {
	old, image := images(40, 12)
	for _, size := range []int{DefaultMap, 17} {
		p := testParams()
		p.Restart, p.MapSize = 1024, size
		patch := encode(t, old, image, p)
		for n := range patch {
			if _, _, err := d.compare(t, fmt.Sprintf("cut to %d bytes", n), whole(patch[:n], old)); err == nil {
				t.Errorf("cut to %d bytes: no error", n)
			}
		}
		for i := 0; i < 8*len(patch); i += 3 {
			damaged := bytes.Clone(patch)
			damaged[i/8] ^= 1 << (i % 8)
			if _, _, err := d.compare(t, fmt.Sprintf("bit %d flipped", i), whole(damaged, old)); err == nil && i >= 8*maxHeader {
				t.Errorf("bit %d flipped: no error", i)
			}
		}
		if _, _, err := d.compare(t, "a byte more", whole(append(bytes.Clone(patch), 0), old)); !errors.Is(err, ErrTrailing) {
			t.Errorf("a byte more: %v", err)
		}
		if _, _, err := d.compare(t, "a blank old image", whole(patch, make([]byte, len(old)))); err == nil {
			t.Error("a blank old image: no error")
		}
		if _, _, err := d.compare(t, "a longer old image", whole(patch, append(bytes.Clone(old), 0))); !errors.Is(err, ErrOld) {
			t.Errorf("a longer old image: %v", err)
		}
		j := whole(patch, old)
		j.most = len(image) - 1
		if _, _, err := d.compare(t, "a small bank", j); !errors.Is(err, ErrLimit) {
			t.Errorf("a small bank: %v", err)
		}
	}
}
