package verdict_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/otapack/otapack/sign/verdict"
)

func TestError(t *testing.T) {
	for want, err := range map[string]*verdict.Error{
		"manifest: got 33, want 32 at offset 7 (digest-length)": verdict.At(7, verdict.DigestLength, "manifest", "got %d, want %d", 33, 32),
		"got 33 at offset 0 (digest-length)":                    verdict.At(0, verdict.DigestLength, "", "got %d", 33),
		"bundle: 3 bytes (truncated)":                           verdict.New(verdict.Truncated, "bundle", "3 bytes"),
		"100% (truncated)":                                      verdict.New(verdict.Truncated, "", "%s", "100%"),
		"record: EOF (truncated)":                               verdict.Wrap(io.EOF, verdict.Truncated, "record"),
		"record: refused (truncated)":                           verdict.New(verdict.Truncated, "record", ""),
		"record: cut (truncated): EOF":                          {Reason: verdict.Truncated, Object: "record", Offset: verdict.NoOffset, Detail: "cut", Err: io.EOF},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestOf(t *testing.T) {
	inner := verdict.Wrap(io.EOF, verdict.Truncated, "record")
	outer := verdict.Wrap(fmt.Errorf("release: %w", inner), verdict.RecordFormat, "bundle")
	for _, c := range []struct {
		err  error
		want verdict.Reason
	}{
		{nil, ""},
		{io.EOF, ""},
		{inner, verdict.Truncated},
		{fmt.Errorf("radio: %w", inner), verdict.Truncated},
		{outer, verdict.RecordFormat}, // the outermost speaks for the whole
		{errors.Join(io.EOF, inner), verdict.Truncated},
	} {
		if got := verdict.Of(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
	if !errors.Is(outer, io.EOF) {
		t.Error("the cause is lost")
	}
}
