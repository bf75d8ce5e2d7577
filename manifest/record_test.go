package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// testRecord has two components that move from 1.3 and 2.0 to 1.4.2 and 2.1.
// The radio needs the new motor firmware; the motor gets along with any radio.
func testRecord() Record {
	return Record{
		ID:       "1.4.2+17",
		Product:  "toothbrush",
		Vendor:   VendorID("acme.example"),
		Sequence: 1042,
		Components: []RecordComponent{
			{Role: "radio", Manifest: Digest{1}, Version: Version{1, 4, 2}, Requires: []Requirement{{1, Version{2, 1}}}},
			{Role: "motor", Manifest: Digest{2}, Version: Version{2, 1}},
		},
		InstallOrder: []int{1, 0},
		Allowed:      [][]Version{{{1, 3}, {2, 0}}, {{1, 3}, {2, 1}}},
	}
}

func signRecord(t testing.TB, r Record, signer sign.Signer) []byte {
	t.Helper()
	d, err := NewRecord(r, signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, d, signer)
}

func TestRecordCheck(t *testing.T) {
	name := func(n int) string { return strings.Repeat("é", n/2) + strings.Repeat("x", n%2) }
	many := func(n int) func(*Record) {
		return func(r *Record) {
			r.Components, r.InstallOrder, r.Allowed = nil, nil, nil
			for i := range n {
				r.Components = append(r.Components, RecordComponent{Role: fmt.Sprint("part", i), Version: Version{1}})
				r.InstallOrder = append(r.InstallOrder, i)
			}
		}
	}
	variants := func(v ...RecordVariant) func(*Record) {
		return func(r *Record) { r.Components[1].Variants = v }
	}
	for _, tt := range []struct {
		name string
		bend func(*Record)
		want verdict.Reason
	}{
		{"as it is", func(*Record) {}, ""},
		{"variants", variants(RecordVariant{Digest{3}, Version{1, 9}, Content{Digest{4}, 1}}, RecordVariant{Digest{5}, Version{2, 0}, Content{Digest{6}, 1}}), ""},
		{"nine variants", variants(make([]RecordVariant, MaxVariants+1)...), verdict.RecordInconsistent},
		{"variants not in order", variants(RecordVariant{Digest{3}, Version{2}, Content{Digest{4}, 1}}, RecordVariant{Digest{5}, Version{1}, Content{Digest{6}, 1}}), verdict.RecordInconsistent},
		{"variants from one version", variants(RecordVariant{Digest{3}, Version{2}, Content{Digest{4}, 1}}, RecordVariant{Digest{5}, Version{2, 0}, Content{Digest{6}, 1}}), verdict.RecordInconsistent},
		{"variants from one base", variants(RecordVariant{Digest{3}, Version{1}, Content{Digest{4}, 1}}, RecordVariant{Digest{5}, Version{2}, Content{Digest{4}, 1}}), verdict.RecordInconsistent},
		{"variant from no version", variants(RecordVariant{Digest{3}, nil, Content{Digest{4}, 1}}), verdict.RecordInconsistent},
		{"variant from an empty base", variants(RecordVariant{Digest{3}, Version{1}, Content{}}), verdict.RecordInconsistent},
		{"no components", func(r *Record) { *r = Record{ID: "1", Product: "p"} }, verdict.RecordInconsistent},
		{"32 components", many(32), ""},
		{"33 components", many(33), verdict.RecordInconsistent},
		{"no id", func(r *Record) { r.ID = "" }, verdict.RecordInconsistent},
		{"id of 64 bytes", func(r *Record) { r.ID = name(64) }, ""},
		{"id of 65 bytes", func(r *Record) { r.ID = name(65) }, verdict.RecordInconsistent},
		{"id not UTF-8", func(r *Record) { r.ID = "\xff" }, verdict.RecordInconsistent},
		{"no product", func(r *Record) { r.Product = "" }, verdict.RecordInconsistent},
		{"product of 65 bytes", func(r *Record) { r.Product = name(65) }, verdict.RecordInconsistent},
		{"no role", func(r *Record) { r.Components[1].Role = "" }, verdict.RecordInconsistent},
		{"role of 65 bytes", func(r *Record) { r.Components[1].Role = name(65) }, verdict.RecordInconsistent},
		{"role not UTF-8", func(r *Record) { r.Components[1].Role = "\xc3" }, verdict.RecordInconsistent},
		{"role twice", func(r *Record) { r.Components[1].Role = "radio" }, verdict.RecordInconsistent},
		{"no version", func(r *Record) { r.Components[1].Version = nil }, verdict.RecordInconsistent},
		{"malformed version", func(r *Record) { r.Components[1].Version = Version{-9} }, verdict.RecordInconsistent},

		{"no install order", func(r *Record) { r.InstallOrder = nil }, verdict.RecordInconsistent},
		{"install order too short", func(r *Record) { r.InstallOrder = []int{0} }, verdict.RecordInconsistent},
		{"install order too long", func(r *Record) { r.InstallOrder = []int{0, 1, 0} }, verdict.RecordInconsistent},
		{"component twice in the install order", func(r *Record) { r.InstallOrder = []int{1, 1} }, verdict.RecordInconsistent},
		{"install order beyond the components", func(r *Record) { r.InstallOrder = []int{1, 2} }, verdict.RecordInconsistent},
		{"install order below zero", func(r *Record) { r.InstallOrder = []int{-1, 0} }, verdict.RecordInconsistent},

		{"requirement on itself", func(r *Record) { r.Components[0].Requires[0].Component = 0 }, verdict.RecordInconsistent},
		{"requirement on nothing", func(r *Record) { r.Components[0].Requires[0].Component = 2 }, verdict.RecordInconsistent},
		{"requirement below zero", func(r *Record) { r.Components[0].Requires[0].Component = -1 }, verdict.RecordInconsistent},
		{"requirement without a version", func(r *Record) { r.Components[0].Requires[0].Minimum = nil }, verdict.RecordInconsistent},
		{"requirement of a malformed version", func(r *Record) { r.Components[0].Requires[0].Minimum = Version{1, 2, 3, 4} }, verdict.RecordInconsistent},
		{"requirement twice", func(r *Record) { r.Components[0].Requires = slices.Repeat(r.Components[0].Requires, 2) }, verdict.RecordInconsistent},
		{"requirements not in order", func(r *Record) {
			many(3)(r)
			r.Components[0].Requires = []Requirement{{2, Version{1}}, {1, Version{1}}}
		}, verdict.RecordInconsistent},
		{"requirements in order", func(r *Record) {
			many(3)(r)
			r.Components[0].Requires = []Requirement{{1, Version{1}}, {2, Version{1}}}
		}, ""},

		{"nothing allowed", func(r *Record) { r.Allowed = nil }, ""},
		{"256 combinations", func(r *Record) { r.Allowed = slices.Repeat(r.Allowed, 128) }, ""},
		{"257 combinations", func(r *Record) { r.Allowed = slices.Repeat(r.Allowed[:1], 257) }, verdict.RecordInconsistent},
		{"combination too short", func(r *Record) { r.Allowed[1] = r.Allowed[1][:1] }, verdict.RecordInconsistent},
		{"combination too long", func(r *Record) { r.Allowed[1] = append(r.Allowed[1], Version{1}) }, verdict.RecordInconsistent},
		{"combination with no version", func(r *Record) { r.Allowed[1][0] = nil }, verdict.RecordInconsistent},
		{"combination with a malformed version", func(r *Record) { r.Allowed[1][0] = Version{1, -4} }, verdict.RecordInconsistent},

		// A minimum binds a component in the version of this release.
		{"the release itself", func(r *Record) { r.Components[1].Version = Version{2, 0, 9} }, verdict.PeerTooOld},
		{"the release is just above", func(r *Record) { r.Components[0].Requires[0].Minimum = Version{2, 1, -1} }, ""},
		{"new radio, old motor", func(r *Record) { r.Allowed[0][0] = Version{1, 4, 2} }, verdict.PeerTooOld},
		{"new radio, release candidate of the motor", func(r *Record) { r.Allowed[0] = []Version{{1, 4, 2}, {2, 1, -1, 9}} }, verdict.PeerTooOld},
		{"new radio, later motor", func(r *Record) { r.Allowed[0] = []Version{{1, 4, 2}, {2, 10}} }, ""},
		{"radio of another version, old motor", func(r *Record) { r.Allowed[0][0] = Version{1, 4, 3} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := testRecord()
			tt.bend(&r)
			err := r.Check()
			if got := verdict.Of(err); got != tt.want || (err == nil) != (tt.want == "") {
				t.Fatalf("got %v, want reason %q", err, tt.want)
			}
			if _, err = NewRecord(r, alpha(t).Public()); verdict.Of(err) != tt.want {
				t.Errorf("NewRecord: got %v, want reason %q", err, tt.want)
			}
		})
	}
}

func TestRecordAllows(t *testing.T) {
	r := testRecord()
	for _, tt := range []struct {
		name     string
		versions []Version
		want     bool
	}{
		{"the release", []Version{{1, 4, 2}, {2, 1}}, true},
		{"the release in another spelling", []Version{{1, 4, 2}, {2, 1, 0}}, true},
		{"before the update", []Version{{1, 3}, {2, 0}}, true},
		{"in the middle of it", []Version{{1, 3, 0}, {2, 1}}, true},
		{"in the wrong order", []Version{{1, 4, 2}, {2, 0}}, false},
		{"later than the release", []Version{{1, 4, 3}, {2, 1}}, false},
		{"release candidate", []Version{{1, 4, 2}, {2, 1, -1}}, false},
		{"components swapped", []Version{{2, 1}, {1, 4, 2}}, false},
		{"one component", []Version{{1, 4, 2}}, false},
		{"three components", []Version{{1, 4, 2}, {2, 1}, {1}}, false},
		{"none", nil, false},
	} {
		if got := r.Allows(tt.versions); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	plainer := testRecord()
	plainer.Allowed = nil
	plainer.Components[0].Requires = nil
	plainer.Sequence = maxSequence
	most := Record{ID: "x", Product: "y"}
	for i := range MaxComponents {
		c := RecordComponent{Role: fmt.Sprint(i), Version: Version{1, 2, 3, -1, int32(i)}}
		for peer := range MaxComponents {
			if peer != i {
				c.Requires = append(c.Requires, Requirement{peer, Version{1, 2}})
			}
		}
		most.Components = append(most.Components, c)
		most.InstallOrder = append(most.InstallOrder, MaxComponents-1-i)
	}
	varied := testRecord()
	for i := range MaxVariants {
		varied.Components[1].Variants = append(varied.Components[1].Variants, RecordVariant{Digest{9, byte(i)}, Version{1, int32(i)}, Content{Digest{8, byte(i)}, 1<<32 - 1}})
	}
	for name, want := range map[string]Record{"usual": testRecord(), "plain": plainer, "large": most, "varied": varied} {
		for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
			t.Run(name+" "+a.String(), func(t *testing.T) {
				signer := testSigner(t, a, "alpha")
				d, err := NewRecord(want, signer.Public())
				if err != nil {
					t.Fatal(err)
				}
				if q := d.Requests(); len(q) != 1 || q[0].Role != sign.RoleRelease || q[0].Key != signer.Public().ID() || q[0].Artifact != "release record" {
					t.Errorf("requests %+v", q)
				}
				data := finish(t, d, signer)
				v, err := VerifyRecord(data, trusting(t, sign.RoleRelease, 1, beta(t), signer))
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(v.Record(), want) || !v.Signer().Equal(signer.Public()) {
					t.Errorf("got %+v by %s, want %+v", v.Record(), v.Signer().ID(), want)
				}
				if r, err := ParseRecord(data); err != nil || !reflect.DeepEqual(r, want) {
					t.Errorf("parsed %+v, %v; want %+v", r, err, want)
				}
				if again := signRecord(t, v.Record(), signer); !bytes.Equal(again, data) {
					t.Error("the record read back makes another file")
				}
			})
		}
	}
}

// recordForgery is a signed record under modification; payload is its map.
type recordForgery struct {
	forgery
	payload *item
}

func forgeRecord(t testing.TB) *recordForgery {
	root, _ := parseItem(signRecord(t, testRecord(), alpha(t)))
	return &recordForgery{forgery{T: t, Root: root, Signer: alpha(t)}, root.At(2).In()}
}

func (f *recordForgery) seal() {
	block := f.Root.In()
	message := list(text("Signature1"), block.Kids[0], bin(nil), bin(block.Kids[2].Body())).Encode()
	s, err := f.Signer.Sign(f.T.Context(), message)
	if err != nil {
		f.T.Fatal(err)
	}
	block.Kids[3] = bin(s.Encode(sign.Raw))
}

// variant adds one variant to the second component and returns the list.
func (f *recordForgery) variant() *item {
	variants := list(list(bin(sized(32)), list(num(2)), bin(sized(32)), num(1000)))
	f.payload.At(recordComponents, 1).Set(componentVariants, variants)
	return variants
}

func recordTrust(t testing.TB) *sign.TrustSet {
	t.Helper()
	trust := trusting(t, sign.RoleRelease, 1, alpha(t), beta(t), gamma(t))
	trust.Revoke(gamma(t).Public())
	return trust
}

// Each refusal of the decoder, with the offset from the start of the file. All
// signatures are right.
func TestRecordRefusals(t *testing.T) {
	type path = []any
	for _, tt := range []struct {
		name  string
		bend  func(*recordForgery)
		want  verdict.Reason
		path  []any // the item that is refused, from the payload
		after bool  // what follows the item is refused
	}{
		{"payload is an array", func(f *recordForgery) { *f.payload = *list() }, verdict.WrongType, nil, false},
		{"payload is not CBOR", func(f *recordForgery) { f.payload.Head = []byte{0xff} }, verdict.Indefinite, nil, false},
		{"bytes after the payload", func(f *recordForgery) { f.payload.Tail = []byte{0} }, verdict.TrailingBytes, nil, true},
		{"no format", func(f *recordForgery) { f.payload.Drop(recordFormat) }, verdict.MissingKey, nil, true},
		{"no id", func(f *recordForgery) { f.payload.Drop(recordID) }, verdict.MissingKey, nil, true},
		{"no product", func(f *recordForgery) { f.payload.Drop(recordProduct) }, verdict.MissingKey, nil, true},
		{"no vendor", func(f *recordForgery) { f.payload.Drop(recordVendor) }, verdict.MissingKey, nil, true},
		{"no sequence number", func(f *recordForgery) { f.payload.Drop(recordSequence) }, verdict.MissingKey, nil, true},
		{"no components", func(f *recordForgery) { f.payload.Drop(recordComponents) }, verdict.MissingKey, nil, true},
		{"no install order", func(f *recordForgery) { f.payload.Drop(recordInstallOrder) }, verdict.MissingKey, nil, true},
		{"no combinations", func(f *recordForgery) { f.payload.Drop(recordAllowed) }, verdict.MissingKey, nil, true},
		{"format 2", func(f *recordForgery) { f.payload.At(recordFormat).Arg = 2 }, verdict.RecordFormat, path{recordFormat}, false},
		{"unknown key", func(f *recordForgery) { f.payload.Drop(recordAllowed); f.payload.Set(9, num(0)) }, verdict.UnknownKey, path{9}, false},
		{"text key", func(f *recordForgery) { f.payload.Drop(recordAllowed); f.payload.Set("x", num(0)) }, verdict.UnknownKey, path{"x"}, false},
		{"key too many", func(f *recordForgery) { f.payload.Set(9, num(0)) }, verdict.UnknownKey, path{9}, false},
		{"key twice", func(f *recordForgery) { f.payload.Kids[2] = num(1) }, verdict.DuplicateKey, path{recordFormat}, true},
		{"empty id", func(f *recordForgery) { f.payload.At(recordID).Str = nil }, verdict.WrongLength, path{recordID}, false},
		{"id of 65 bytes", func(f *recordForgery) { f.payload.At(recordID).Str = sized(65) }, verdict.WrongLength, path{recordID}, false},
		{"id not UTF-8", func(f *recordForgery) { f.payload.At(recordID).Str[0] = 0xff }, verdict.BadUTF8, path{recordID}, false},
		{"id is a number", func(f *recordForgery) { *f.payload.At(recordID) = *num(17) }, verdict.WrongType, path{recordID}, false},
		{"product of 65 bytes", func(f *recordForgery) { f.payload.At(recordProduct).Str = sized(65) }, verdict.WrongLength, path{recordProduct}, false},
		{"vendor of 15 bytes", func(f *recordForgery) { f.payload.At(recordVendor).Str = sized(15) }, verdict.WrongLength, path{recordVendor}, false},
		{"sequence number 2^32", func(f *recordForgery) { f.payload.At(recordSequence).Arg = 1 << 32 }, verdict.TooLarge, path{recordSequence}, false},
		{"sequence number in long form", func(f *recordForgery) { f.payload.At(recordSequence).Head = []byte{0x1a, 0, 0, 4, 0x12} }, verdict.LongForm, path{recordSequence}, false},
		{"zero components", func(f *recordForgery) { f.payload.At(recordComponents).Kids = []*item{} }, verdict.WrongCount, path{recordComponents}, false},
		{"33 components", func(f *recordForgery) { f.payload.At(recordComponents).More = 31 }, verdict.WrongCount, path{recordComponents}, false},
		{"install order of 33", func(f *recordForgery) { f.payload.At(recordInstallOrder).More = 31 }, verdict.WrongCount, path{recordInstallOrder}, false},
		{"install order beyond 31", func(f *recordForgery) { f.payload.At(recordInstallOrder, 0).Arg = 32 }, verdict.TooLarge, path{recordInstallOrder, 0}, false},
		{"257 combinations", func(f *recordForgery) { f.payload.At(recordAllowed).More = 255 }, verdict.WrongCount, path{recordAllowed}, false},
		{"empty combination", func(f *recordForgery) { f.payload.At(recordAllowed, 0).Kids = []*item{} }, verdict.WrongCount, path{recordAllowed, 0}, false},
		{"combination with a malformed version", func(f *recordForgery) { *f.payload.At(recordAllowed, 0, 0, 1) = *num(-4) }, verdict.BadVersion, path{recordAllowed, 0, 0}, false},

		{"component is an array", func(f *recordForgery) { f.payload.At(recordComponents).Kids[0] = list() }, verdict.WrongType, path{recordComponents, 0}, false},
		{"component without a role", func(f *recordForgery) { f.payload.At(recordComponents, 0).Drop(componentRole) }, verdict.MissingKey, path{recordComponents, 0}, true},
		{"component without a manifest", func(f *recordForgery) { f.payload.At(recordComponents, 0).Drop(componentManifest) }, verdict.MissingKey, path{recordComponents, 0}, true},
		{"component without a version", func(f *recordForgery) { f.payload.At(recordComponents, 0).Drop(componentVersion) }, verdict.MissingKey, path{recordComponents, 0}, true},
		{"key in a component", func(f *recordForgery) { f.payload.At(recordComponents, 1).Set(6, num(0)) }, verdict.UnknownKey, path{recordComponents, 1, 6}, false},
		{"no variants", func(f *recordForgery) { f.payload.At(recordComponents, 1).Set(componentVariants, list()) }, verdict.WrongCount, path{recordComponents, 1, componentVariants}, false},
		{"nine variants", func(f *recordForgery) { f.variant().More = MaxVariants }, verdict.WrongCount, path{recordComponents, 1, componentVariants}, false},
		{"variant is a map", func(f *recordForgery) { f.variant().Kids[0] = dict() }, verdict.WrongType, path{recordComponents, 1, componentVariants, 0}, false},
		{"variant of three elements", func(f *recordForgery) { f.variant().Kids[0].More = -1 }, verdict.WrongCount, path{recordComponents, 1, componentVariants, 0}, false},
		{"variant's manifest digest of 31 bytes", func(f *recordForgery) { f.variant().At(0, 0).Str = sized(31) }, verdict.WrongLength, path{recordComponents, 1, componentVariants, 0, 0}, false},
		{"variant from a malformed version", func(f *recordForgery) { f.variant().At(0, 1).Kids = []*item{} }, verdict.WrongCount, path{recordComponents, 1, componentVariants, 0, 1}, false},
		{"variant's base digest of 33 bytes", func(f *recordForgery) { f.variant().At(0, 2).Str = sized(33) }, verdict.WrongLength, path{recordComponents, 1, componentVariants, 0, 2}, false},
		{"variant's base size 2^32", func(f *recordForgery) { f.variant().At(0, 3).Arg = 1 << 32 }, verdict.TooLarge, path{recordComponents, 1, componentVariants, 0, 3}, false},
		{"text key in a component", func(f *recordForgery) { f.payload.At(recordComponents, 1).Set("x", num(0)) }, verdict.UnknownKey, path{recordComponents, 1, "x"}, false},
		{"empty role", func(f *recordForgery) { f.payload.At(recordComponents, 0, componentRole).Str = nil }, verdict.WrongLength, path{recordComponents, 0, componentRole}, false},
		{"manifest digest of 31 bytes", func(f *recordForgery) { f.payload.At(recordComponents, 0, componentManifest).Str = sized(31) }, verdict.WrongLength, path{recordComponents, 0, componentManifest}, false},
		{"empty requirements", func(f *recordForgery) { f.payload.At(recordComponents, 0).Set(componentRequires, dict()) }, verdict.WrongCount, path{recordComponents, 0, componentRequires}, true},
		{"requirement by name", func(f *recordForgery) {
			f.payload.At(recordComponents, 0).Set(componentRequires, dict(text("motor"), list(num(1))))
		}, verdict.UnknownKey, path{recordComponents, 0, componentRequires, "motor"}, false},
		{"requirement on component -1", func(f *recordForgery) {
			f.payload.At(recordComponents, 0).Set(componentRequires, dict(num(-1), list(num(1))))
		}, verdict.UnknownKey, path{recordComponents, 0, componentRequires, -1}, false},
		{"requirement on component 32", func(f *recordForgery) {
			f.payload.At(recordComponents, 0).Set(componentRequires, dict(num(32), list(num(1))))
		}, verdict.UnknownKey, path{recordComponents, 0, componentRequires, 32}, false},
		{"requirement of a malformed version", func(f *recordForgery) { f.payload.At(recordComponents, 0).Set(componentRequires, dict(num(1), list())) }, verdict.WrongCount, path{recordComponents, 0, componentRequires, 1}, false},

		// Check runs on what was read.
		{"install order with a component twice", func(f *recordForgery) { f.payload.At(recordInstallOrder, 0).Arg = 0 }, verdict.RecordInconsistent, nil, false},
		{"variant with an empty base", func(f *recordForgery) { f.variant().At(0, 3).Arg = 0 }, verdict.RecordInconsistent, nil, false},
		{"minimum not met", func(f *recordForgery) { f.payload.At(recordComponents, 0, componentRequires, 1, 0).Arg = 3 }, verdict.PeerTooOld, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := forgeRecord(t)
			tt.bend(f)
			f.seal()
			data := f.Root.Encode()
			v, err := VerifyRecord(data, recordTrust(t))
			if v != nil {
				t.Error("a refused record is returned")
			}
			e, ok := errors.AsType[*verdict.Error](err)
			if !ok || e.Reason != tt.want {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			want := f.Root.Offset(f.payload.At(tt.path...))
			if tt.after {
				want = f.Root.End(f.payload.At(tt.path...))
			}
			if tt.want == verdict.RecordInconsistent || tt.want == verdict.PeerTooOld {
				want = verdict.NoOffset
			}
			if e.Offset != int64(want) {
				t.Errorf("got offset %d (%v), want %d", e.Offset, err, want)
			}
			if _, parsed := ParseRecord(data); parsed == nil || parsed.Error() != err.Error() {
				t.Errorf("ParseRecord: %v, VerifyRecord: %v", parsed, err)
			}
		})
	}
}

// What is refused before the content is read.
func TestRecordSignature(t *testing.T) {
	good := signRecord(t, testRecord(), alpha(t))
	for _, tt := range []struct {
		name string
		bend func(*recordForgery)
		want verdict.Reason
	}{
		{"no input", func(f *recordForgery) { f.Root = &item{Head: []byte{}} }, verdict.Truncated},
		{"no tag", func(f *recordForgery) { f.Root = f.Root.Kids[0] }, verdict.NotSign1},
		{"an envelope", func(f *recordForgery) { f.Root, _ = parseItem(baseEnvelope(t, plain)) }, verdict.NotSign1},
		{"bytes after the message", func(f *recordForgery) { f.Root.Tail = []byte{0} }, verdict.TrailingBytes},
		{"payload detached", func(f *recordForgery) { f.Root.In().Kids[2] = null() }, verdict.PayloadMissing},
		{"payload above the bound", func(f *recordForgery) { f.Root.In().Kids[2] = bin(sized(MaxRecord + 1)) }, verdict.WrongLength},
		{"ES256", func(f *recordForgery) { f.Root.In().Kids[0] = protected(-7); f.seal() }, verdict.ES256Deprecated},
		{"unknown algorithm", func(f *recordForgery) { f.Root.In().Kids[0] = protected(-48); f.seal() }, verdict.NoKnownSignature},
		{"other content", func(f *recordForgery) { f.payload.At(recordSequence).Arg++ }, verdict.SignatureInvalid},
		{"content that is no record", func(f *recordForgery) { f.Root.In().Kids[2] = bin([]byte("no CBOR at all")) }, verdict.SignatureInvalid},
		{"stranger's key", func(f *recordForgery) { f.Signer = testSigner(t, sign.ESP256, "stranger"); f.seal() }, verdict.SignatureInvalid},
		{"revoked key", func(f *recordForgery) { f.Signer = gamma(t); f.seal() }, verdict.KeyRevoked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := forgeRecord(t)
			tt.bend(f)
			v, err := VerifyRecord(f.Root.Encode(), recordTrust(t))
			if v != nil {
				t.Error("a refused record is returned")
			}
			wantReason(t, err, tt.want)
		})
	}
	t.Run("key of another role", func(t *testing.T) {
		v, err := VerifyRecord(good, trusting(t, sign.RoleManifest, 1, alpha(t)))
		if v != nil || !errors.Is(err, sign.ErrTrust) || verdict.Of(err) != "" {
			t.Errorf("got %v, want sign.ErrTrust and no reason", err)
		}
		var both sign.TrustSet
		if err := errors.Join(both.Add(sign.RoleManifest, 1, alpha(t).Public()), both.Add(sign.RoleRelease, 1, beta(t).Public())); err != nil {
			t.Fatal(err)
		}
		_, err = VerifyRecord(good, &both)
		wantReason(t, err, verdict.SignatureInvalid)
	})
	t.Run("two signatures wanted", func(t *testing.T) {
		_, err := VerifyRecord(good, trusting(t, sign.RoleRelease, 2, alpha(t), beta(t)))
		wantReason(t, err, verdict.SignatureInvalid)
	})
	t.Run("unknown kid", func(t *testing.T) {
		f := forgeRecord(t)
		f.Root.In().Kids[1] = dict(num(4), bin([]byte("nobody")))
		if _, err := VerifyRecord(f.Root.Encode(), recordTrust(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestRecordDraftErrors(t *testing.T) {
	if d, err := NewRecord(testRecord(), sign.PublicKey{}); d != nil || err == nil {
		t.Error("a draft without a key")
	}
	d, err := NewRecord(testRecord(), alpha(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := beta(t).Sign(t.Context(), d.Requests()[0].Message)
	if err != nil {
		t.Fatal(err)
	}
	for name, signatures := range map[string][]sign.Signature{"none": nil, "two": {foreign, foreign}, "zero": {{}}, "another key's": {foreign}} {
		if b, err := d.Finish(signatures); b != nil || err == nil {
			t.Errorf("finishes with %s", name)
		}
	}
}

// The largest record that is made can be read; a larger one is refused before
// anybody signs it.
func TestRecordSize(t *testing.T) {
	r := Record{ID: "x", Product: "y"}
	var versions []Version
	for i := range MaxComponents {
		r.Components = append(r.Components, RecordComponent{Role: fmt.Sprint(i), Version: Version{1}})
		r.InstallOrder = append(r.InstallOrder, i)
		versions = append(versions, Version{1 << 20, 1 << 20, 1 << 20, -1, 1 << 20})
	}
	largest := 0
	for n := range MaxAllowed {
		r.Allowed = append(r.Allowed, versions)
		d, err := NewRecord(r, alpha(t).Public())
		if err != nil {
			if verdict.Of(err) != "" || n*32*22 < MaxRecord-4096 {
				t.Fatalf("%d combinations: %v", n+1, err)
			}
			break
		}
		if largest = len(d.payload); largest > MaxRecord {
			t.Fatalf("a record of %d bytes", largest)
		}
	}
	if largest < MaxRecord-1024 {
		t.Errorf("the largest record has %d bytes", largest)
	}
	r.Allowed = r.Allowed[:len(r.Allowed)-1]
	if _, err := VerifyRecord(signRecord(t, r, alpha(t)), recordTrust(t)); err != nil {
		t.Error(err)
	}
}

func TestRecordBitFlips(t *testing.T) {
	data := signRecord(t, testRecord(), alpha(t))
	trust := recordTrust(t)
	want, err := VerifyRecord(data, trust)
	if err != nil {
		t.Fatal(err)
	}
	hint := alpha(t).Public().ID().Hint()
	at := bytes.Index(data, hint[:])
	for bit := range 8 * len(data) {
		data[bit/8] ^= 1 << (bit % 8)
		v, err := VerifyRecord(data, trust)
		inHint := bit/8 >= at && bit/8 < at+len(hint)
		if (err == nil) != inHint || inHint && !reflect.DeepEqual(v, want) || !inHint && verdict.Of(err) == "" {
			t.Errorf("bit %d of byte %d: %+v, %v", bit%8, bit/8, v, err)
		}
		data[bit/8] ^= 1 << (bit % 8)
	}
}
