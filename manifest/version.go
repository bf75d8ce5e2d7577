package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// ErrVersion is wrapped by errors of ParseVersion.
var ErrVersion = errors.New("malformed version")

// Version is a firmware version in the form of
// draft-ietf-suit-update-management-14: one to three numbers, optionally
// followed by a pre-release mark (-1 rc, -2 beta, -3 alpha) and its number.
// 1.4.2 is [1,4,2], 1.2-rc.3 is [1,2,-1,3]. The empty Version means "none".
//
// The version is for people and for checks between components. It is not the
// rollback counter; that is the sequence number.
type Version []int32

var preReleases = []string{"rc", "beta", "alpha"} // -1, -2, -3

// ParseVersion reads "1", "1.4", "1.4.2", and these with "-rc", "-beta.2" or
// "-alpha.7" behind. Leading zeros, signs and other suffixes are refused.
func ParseVersion(s string) (Version, error) {
	bad := func() (Version, error) {
		return nil, fmt.Errorf("manifest: version %q, want forms like 1.4.2 or 1.4.2-rc.1: %w", s, ErrVersion)
	}
	numbers, pre, hasPre := strings.Cut(s, "-")
	var v Version
	fields := strings.Split(numbers, ".")
	if len(fields) > 3 {
		return bad()
	}
	number := func(f string) bool {
		n, err := strconv.ParseUint(f, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != f {
			return false
		}
		v = append(v, int32(n))
		return true
	}
	for _, f := range fields {
		if !number(f) {
			return bad()
		}
	}
	if hasPre {
		name, n, hasNumber := strings.Cut(pre, ".")
		i := slices.Index(preReleases, name)
		if i < 0 {
			return bad()
		}
		v = append(v, int32(-1-i))
		if hasNumber && !number(n) {
			return bad()
		}
	}
	return v, nil
}

// String is the inverse of ParseVersion; "" for the empty Version.
func (v Version) String() string {
	var b strings.Builder
	for i, n := range v {
		switch {
		case n < 0:
			b.WriteString("-" + preReleases[-1-n])
		case i > 0:
			b.WriteByte('.')
			fallthrough
		default:
			b.WriteString(strconv.Itoa(int(n)))
		}
	}
	return b.String()
}

// Compare orders two versions: element by element, a missing element counting
// as zero, so that 1.2-rc.3 < 1.2 = 1.2.0 < 1.2.1.
func (v Version) Compare(w Version) int {
	at := func(v Version, i int) int32 {
		if i < len(v) {
			return v[i]
		}
		return 0
	}
	for i := range max(len(v), len(w)) {
		if d := int64(at(v, i)) - int64(at(w, i)); d != 0 {
			if d < 0 {
				return -1
			}
			return 1
		}
	}
	return 0
}

// readVersion reads the array form.
func readVersion(r *strictcbor.Reader) Version {
	var v Version
	pre := -1 // index of the pre-release mark
	at := r.Offset()
	n := r.Array(1, 5)
	for i := range n {
		e := r.Int()
		if !r.OK() {
			return nil
		}
		ok := e >= 0 && e < 1<<31 && (pre < 0 && i < 3 || pre == i-1)
		if e < 0 && e >= -3 && i > 0 && pre < 0 {
			pre, ok = i, true
		}
		if !ok {
			r.FailAt(at, verdict.BadVersion, "version element %d is %d", i, e)
			return nil
		}
		v = append(v, int32(e))
	}
	return v
}
