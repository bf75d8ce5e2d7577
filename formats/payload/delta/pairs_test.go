package delta

import (
	"encoding/csv"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/otapack/otapack/testvectors"
)

// A pair is two releases of real firmware, see testvectors/delta.
type pair struct {
	name       string
	old, image []byte
	Params
	peer      string // who made the smallest patch that is not ours
	peerBytes int
}

// pairs reads testdata/peers.csv and the images that it names. The best peer is
// the smallest patch of 62 methods: bsdiff, xdelta3, zstd, detools, HDiffPatch,
// HPatchLite, jojodiff and wolfBoot in all settings that fit, those for which no
// decoder in C exists among them.
func pairs(t testing.TB) []pair {
	t.Helper()
	f, err := os.Open("testdata/peers.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var all []pair
	for _, row := range rows[1:] {
		base, err := strconv.ParseUint(row[3], 0, 32)
		size, err2 := strconv.Atoi(row[5])
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		p := pair{name: row[0], old: release(t, row[1]), image: release(t, row[2]), peer: row[4], peerBytes: size}
		p.OldBase, p.NewBase = uint32(base), uint32(base)
		p.RAMStart, p.RAMEnd = testRAM, testRAM+0x10000
		all = append(all, p)
	}
	return all
}

// release returns an image of testvectors/delta.
func release(t testing.TB, name string) []byte {
	t.Helper()
	image, err := testvectors.Read("delta/" + name + ".bin")
	if err != nil {
		t.Fatal(err)
	}
	return image
}
