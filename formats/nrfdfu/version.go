package nrfdfu

import (
	"strconv"
	"strings"

	"github.com/otapack/otapack/sign/verdict"
)

// MaxVersion is the highest version number. A device that has installed it
// takes no other version any more.
const MaxVersion = 1<<32 - 1

// ParseVersion maps "a.b.c" to 10000×a + 100×b + c, as pc-nrfutil does with
// --application-version-string. It refuses b and c of 100 and more, which
// pc-nrfutil takes: there 2.100.1 and 3.0.1 are the same number.
func ParseVersion(s string) (uint32, error) {
	refuse := func(detail string) (uint32, error) {
		return 0, verdict.New(verdict.DFUVersionString, "version", "%q: %s", s, detail)
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return refuse("want three numbers, a.b.c")
	}
	var v uint64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		switch {
		case err != nil || p != strconv.FormatUint(n, 10):
			return refuse("part " + strconv.Itoa(i+1) + " is no decimal number, or has leading zeros")
		case i > 0 && n >= 100:
			return refuse("the second and third part have two digits at most: they would carry into the part before")
		}
		v = v*100 + n
	}
	if v > MaxVersion {
		return refuse("does not fit 32 bits")
	}
	return uint32(v), nil
}
