package manifest

import (
	"errors"
	"fmt"
	"math"
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

// String is the inverse of ParseVersion; "" for the empty Version. What is not of
// the form above prints as its elements, "[-7 1]".
func (v Version) String() string {
	if len(v) > 0 && !v.valid() {
		return fmt.Sprint([]int32(v))
	}
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

// MarshalText encodes as String does.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what ParseVersion reads, and nothing as the empty Version.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = nil
		return nil
	}
	w, err := ParseVersion(string(text))
	if err == nil {
		*v = w
	}
	return err
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

// valid reports whether v is of the form above and not empty.
func (v Version) valid() bool {
	pre := slices.IndexFunc(v, func(n int32) bool { return n < 0 })
	if pre < 0 {
		return len(v) >= 1 && len(v) <= 3
	}
	return pre >= 1 && pre <= 3 && v[pre] >= -int32(len(preReleases)) && (len(v) == pre+1 || len(v) == pre+2 && v[pre+1] >= 0)
}

// readVersion reads the array form.
func readVersion(r *strictcbor.Reader) Version {
	var v Version
	at := r.Offset()
	for range r.Array(1, 5) {
		n := r.Int()
		if n < math.MinInt32 || n > math.MaxInt32 {
			r.FailAt(at, verdict.BadVersion, "version element %d is %d", len(v), n)
		}
		v = append(v, int32(n))
	}
	if !r.OK() {
		return nil
	}
	if !v.valid() {
		r.FailAt(at, verdict.BadVersion, "version elements %d", []int32(v))
		return nil
	}
	return v
}
