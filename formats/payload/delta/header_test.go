package delta

import (
	"bytes"
	"errors"
	"testing"
)

func TestHeader(t *testing.T) {
	for name, c := range map[string]struct {
		h      Header
		length int
	}{
		"least":  {Header{Params: Params{MapSize: DefaultMap}}, 5},
		"usual":  {Header{Params: Params{OldBase: 0x1c000, NewBase: 0x1c000, RAMStart: 0x20000000, RAMEnd: 0x20020000, MapSize: DefaultMap}, OldLength: 200000, NewLength: 201000}, 11},
		"all":    {Header{Params{1, 2, 3, 4, MaxMap, MaxImage}, MaxImage, MaxImage}, maxHeader - 6},
		"at end": {Header{Params: Params{OldBase: 1<<32 - 1, NewBase: 0, MapSize: 1, Restart: MinRestart}, NewLength: 1}, 14},
	} {
		b := c.h.append(nil)
		if len(b) > c.length {
			t.Errorf("%s: %d bytes", name, len(b))
		}
		got, err := ReadHeader(append(bytes.Clone(b), "body"...))
		if err != nil || got != c.h {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		for n := range b {
			if _, err := ReadHeader(b[:n]); !errors.Is(err, ErrHeader) {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
	}
}

func TestHeaderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"magic":        {[]byte{0xd0, 0x10, 0, 0, 0}, ErrHeader},
		"version":      {[]byte{0xd1, 0x40, 0, 0, 0}, ErrVersion},
		"longer form":  {[]byte{0xd1, 0x20, 0x80, 0, 0, 0}, ErrHeader},
		"same base":    {[]byte{0xd1, 0x21, 0, 0, 5, 5}, ErrHeader},
		"default map":  {[]byte{0xd1, 0x28, 0, 0, 0, 0x80, 2}, ErrHeader},
		"no map":       {[]byte{0xd1, 0x28, 0, 0, 0, 0}, ErrParams},
		"no restart":   {[]byte{0xd1, 0x30, 0, 0, 0, 0}, ErrHeader},
		"restart":      {[]byte{0xd1, 0x30, 0, 0, 0, 1}, ErrParams},
		"empty RAM":    {[]byte{0xd1, 0x22, 0, 0, 0, 0}, ErrHeader},
		"RAM wraps":    {[]byte{0xd1, 0x22, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1}, ErrParams},
		"new too long": {[]byte{0xd1, 0x20, 0x80, 0x80, 0x80, 4, 0, 0}, ErrTooLong},
		"old too long": {[]byte{0xd1, 0x20, 0, 0x80, 0x80, 0x80, 8, 0}, ErrTooLong},
		"usual start":  {[]byte{0xd1, 0x26, 0, 0, 0, 0x80, 0x80, 0x80, 1, 1}, ErrHeader},
		"old below 0":  {[]byte{0xd1, 0x20, 0, 1, 0}, ErrHeader},
		"wide":         {[]byte{0xd1, 0x20, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 0}, ErrHeader},
	} {
		if _, err := ReadHeader(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
