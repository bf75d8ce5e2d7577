package formats_test

import (
	"bytes"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/otapack/otapack/formats"
	"github.com/otapack/otapack/sign/verdict"
)

func seg(addr uint32, data string) formats.Segment {
	return formats.Segment{Addr: addr, Data: []byte(data)}
}

func mustImage(t *testing.T, segments ...formats.Segment) formats.Image {
	t.Helper()
	m, err := formats.NewImage(segments)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantRefused checks the reason and that the message names what it should.
func wantRefused(t *testing.T, err error, reason verdict.Reason, parts ...string) {
	t.Helper()
	if verdict.Of(err) != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestNewImageRefuses(t *testing.T) {
	for _, c := range []struct {
		name     string
		segments []formats.Segment
		reason   verdict.Reason
		parts    []string
	}{
		{"one byte shared", []formats.Segment{seg(0x100, "abcd"), seg(0x103, "d")}, verdict.SegmentOverlap, []string{"0x00000103-0x00000103", "0x00000100-0x00000103"}},
		{"out of order", []formats.Segment{seg(0x103, "d"), seg(0x100, "abcd")}, verdict.SegmentOverlap, nil},
		{"same bytes at the same address", []formats.Segment{seg(8, "abcd"), seg(8, "abcd")}, verdict.SegmentOverlap, nil},
		{"one inside another", []formats.Segment{seg(0, "abcdefgh"), seg(100, "z"), seg(2, "c")}, verdict.SegmentOverlap, []string{"0x00000002-0x00000002"}},
		{"past the address space", []formats.Segment{seg(0xffff_fffe, "abc")}, verdict.AddressRange, []string{"3 bytes at 0xfffffffe"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := formats.NewImage(c.segments)
			wantRefused(t, err, c.reason, c.parts...)
		})
	}
}

func TestNewImage(t *testing.T) {
	in := []formats.Segment{seg(0xffff_fffe, "yz"), seg(0x104, "efg"), seg(0x50, ""), seg(0x100, "abcd"), seg(0x108, "i"), seg(0x107, "h")}
	before := seg(0x100, "abcd")
	m := mustImage(t, in...)
	want := []formats.Segment{seg(0x100, "abcdefghi"), seg(0xffff_fffe, "yz")}
	if got := m.Segments(); !reflect.DeepEqual(got, want) {
		t.Errorf("segments %v, want %v", got, want)
	}
	if !reflect.DeepEqual(in[3], before) {
		t.Error("the caller's segment has changed")
	}
	if m.Empty() || m.Start() != 0x100 || m.End() != 1<<32 || m.Size() != 11 {
		t.Errorf("empty %t, start %#x, end %#x, size %d", m.Empty(), m.Start(), m.End(), m.Size())
	}
	if got, want := m.Gaps(), []formats.Range{{Start: 0x109, End: 0xffff_fffe}}; !reflect.DeepEqual(got, want) {
		t.Errorf("gaps %v, want %v", got, want)
	}

	m.Segments()[0] = seg(0, "changed")
	if m.Start() != 0x100 {
		t.Error("Segments gives the image's own list away")
	}
}

func TestEmptyImage(t *testing.T) {
	for name, m := range map[string]formats.Image{"zero value": {}, "no segments": mustImage(t), "no bytes": mustImage(t, seg(77, ""))} {
		if !m.Empty() || m.Start() != 0 || m.End() != 0 || m.Size() != 0 || len(m.Gaps()) != 0 || len(m.Segments()) != 0 {
			t.Errorf("%s: not empty: %v", name, m)
		}
		if b, err := m.Flatten(0x1000, 0, 0xff); err != nil || len(b) != 0 {
			t.Errorf("%s: flattens to %d bytes, %v", name, len(b), err)
		}
	}
}

func TestFlatten(t *testing.T) {
	m := mustImage(t, seg(0x10, "abc"), seg(0x15, "f"))
	for _, c := range []struct {
		name   string
		base   uint32
		limit  int
		reason verdict.Reason
		want   string
	}{
		{"below base", 0x11, 100, verdict.BelowBase, ""},
		{"one byte too long", 0x10, 5, verdict.ImageTooLong, ""},
		{"too long with its lead", 0x0e, 7, verdict.ImageTooLong, ""},
		{"negative limit", 0x10, -1, verdict.ImageTooLong, ""},
		{"exact", 0x10, 6, "", "abc..f"},
		{"lead", 0x0e, 8, "", "..abc..f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := m.Flatten(c.base, c.limit, '.')
			if verdict.Of(err) != c.reason || (err != nil) != (c.reason != "") {
				t.Fatalf("got %v, want %q", err, c.reason)
			}
			if string(b) != c.want {
				t.Errorf("got %q, want %q", b, c.want)
			}
		})
	}
}

func TestFlattenAtTheTop(t *testing.T) {
	m := mustImage(t, seg(0xffff_fffc, "abcd"))
	b, err := m.Flatten(0xffff_fff8, 8, 0xff)
	if err != nil || !bytes.Equal(b, []byte("\xff\xff\xff\xffabcd")) {
		t.Errorf("got %q, %v", b, err)
	}
}

// The span of these two bytes is the whole address space.
func TestFlattenChecksBeforeAllocating(t *testing.T) {
	m := mustImage(t, seg(0, "a"), seg(0xffff_ffff, "z"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := m.Flatten(0, 1<<20, 0xff)
	runtime.ReadMemStats(&after)
	wantRefused(t, err, verdict.ImageTooLong, "0x00000000-0xffffffff is 4294967296 bytes, at most 1048576")
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestRange(t *testing.T) {
	for want, r := range map[string]formats.Range{
		"0x08000000-0x08000fff": {Start: 0x0800_0000, End: 0x0800_1000},
		"0x00000010 (empty)":    {Start: 0x10, End: 0x10},
		"0x00000000-0xffffffff": {Start: 0, End: 1 << 32},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
