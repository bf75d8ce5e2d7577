package manifest

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

func decodeVersion(data []byte) (Version, error) {
	r := strictcbor.NewReader("version", data)
	v := readVersion(r)
	r.End(verdict.TrailingBytes)
	return v, r.Err()
}

func TestParseVersionErrors(t *testing.T) {
	for _, s := range []string{
		"", ".", "1.", ".1", "1..2", "1.2.3.4", "v1", "1.2.x", "01", "1.02", "00", "+1", "-1", "1.-2", " 1", "1 ", "1_0", "0x1",
		"2147483648", "99999999999999999999", "1-", "1-rc.", "1-rc1", "1-rc.01", "1-rc.-1", "1-rc.2147483648", "1-rc.1.2", "1-RC", "1-gamma",
		"1-rc-beta", "-rc", "1.2.3-rc.1+build", "1.2.3+build", "١",
	} {
		if v, err := ParseVersion(s); v != nil || !errors.Is(err, ErrVersion) {
			t.Errorf("%q: got %v, %v", s, v, err)
		}
	}
}

func TestVersionRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Version
		hex  string
	}{
		{"0", Version{0}, "8100"},
		{"1", Version{1}, "8101"},
		{"1.4", Version{1, 4}, "820104"},
		{"1.4.2", Version{1, 4, 2}, "83010402"},
		{"0.0.0", Version{0, 0, 0}, "83000000"},
		{"2147483647.24.256", Version{math.MaxInt32, 24, 256}, "831a7fffffff1818190100"},
		{"1-rc", Version{1, -1}, "820120"},
		{"1.2-rc.3", Version{1, 2, -1, 3}, "8401022003"}, // the example of update-management
		{"1.2.3-beta", Version{1, 2, 3, -2}, "8401020321"},
		{"1.2.3-beta.0", Version{1, 2, 3, -2, 0}, "850102032100"},
		{"1.2.3-alpha.7", Version{1, 2, 3, -3, 7}, "850102032207"},
	} {
		v, err := ParseVersion(tt.text)
		if err != nil || !slices.Equal(v, tt.want) {
			t.Errorf("%q: got %d, %v; want %d", tt.text, v, err, tt.want)
		}
		if got := tt.want.String(); got != tt.text {
			t.Errorf("%d prints as %q, want %q", tt.want, got, tt.text)
		}
		data := mustUnhex(tt.hex)
		if got := marshal(t, tt.want); !bytes.Equal(got, data) {
			t.Errorf("%q: encodes to %x, want %s", tt.text, got, tt.hex)
		}
		if got, err := decodeVersion(data); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: decodes to %d, %v; want %d", tt.hex, got, err, tt.want)
		}
	}
	if s := (Version)(nil).String(); s != "" {
		t.Errorf("the empty version prints as %q", s)
	}
}

// Elements outside the grammar are refused wherever they come from, and print
// without a panic.
func TestMalformedVersion(t *testing.T) {
	for _, v := range []Version{
		{-1}, {-1, 1}, {1, -4}, {1, math.MinInt32}, {1, -1, -1}, {1, -1, 1, 1}, {1, 2, 3, 4}, {1, 2, 3, 4, -1}, {1, 2, 3, 4, 5}, {1, 2, -1, -2, 3},
	} {
		if v.valid() {
			t.Errorf("%d is valid", []int32(v))
		}
		if _, err := ParseVersion(v.String()); err == nil {
			t.Errorf("%q is read back", v.String())
		}
		if _, err := decodeVersion(marshal(t, v)); verdict.Of(err) != verdict.BadVersion {
			t.Errorf("%d: got %v, want %s", []int32(v), err, verdict.BadVersion)
		}
	}
	for digits, want := range map[string]verdict.Reason{
		"80":                   verdict.WrongCount,
		"86010203200102":       verdict.WrongCount,
		"a0":                   verdict.WrongType,
		"816131":               verdict.WrongType,
		"811801":               verdict.LongForm,
		"811a80000000":         verdict.BadVersion,
		"82013a80000000":       verdict.BadVersion,
		"811b8000000000000000": verdict.TooLarge,
		"8201":                 verdict.Truncated,
		"810100":               verdict.TrailingBytes,
	} {
		if _, err := decodeVersion(mustUnhex(digits)); verdict.Of(err) != want {
			t.Errorf("%s: got %v, want %s", digits, err, want)
		}
	}
}

// The order is that of update-management, element by element.
func TestVersionCompare(t *testing.T) {
	// Each line is below the next; the versions of a line are equal.
	order := [][]string{
		{"0-alpha"}, {"0", "0.0", "0.0.0"}, {"0.0.1"}, {"0.9"}, {"1-alpha"}, {"1-rc", "1-rc.0"}, {"1-rc.1"},
		{"1.0-alpha.1"}, {"1.0-alpha.2"}, {"1.0-beta"}, {"1.0-rc.9"}, {"1", "1.0", "1.0.0"}, {"1.0.1"},
		{"1.2-rc.3"}, // also below 1.2.0-alpha: the mark is compared with the third number
		{"1.2.0-alpha"}, {"1.2.0-rc.1"}, {"1.2", "1.2.0"}, {"1.2.1-rc"}, {"1.2.1"}, {"1.10"}, {"2"}, {"10"}, {"2147483647"},
	}
	parse := func(s string) Version {
		v, err := ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i, line := range order {
		for j, other := range order {
			for _, a := range line {
				for _, b := range other {
					want := min(1, max(-1, i-j))
					if got := parse(a).Compare(parse(b)); got != want {
						t.Errorf("%s to %s: got %d, want %d", a, b, got, want)
					}
				}
			}
		}
	}
	if (Version{}).Compare(Version{0}) != 0 || (Version{math.MaxInt32}).Compare(Version{0, math.MaxInt32}) != 1 || (Version{math.MinInt32}).Compare(Version{math.MaxInt32}) != -1 {
		t.Error("extremes")
	}
}
