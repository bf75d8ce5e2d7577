package ceremony_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

var update = flag.Bool("update", false, "write the vectors in testvectors/ceremony")

func wantRecord(t *testing.T, got, want ceremony.Record) {
	t.Helper()
	if !got.Key.Public.Equal(want.Key.Public) {
		t.Error("another public key")
	}
	got.Key.Public, want.Key.Public = sign.PublicKey{}, sign.PublicKey{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestGolden(t *testing.T) {
	for name, test := range map[string]struct {
		algorithm sign.Algorithm
		record    func(sign.PublicKey) ceremony.Record
	}{
		"full": {sign.ESP256, full},
		"bare": {sign.ESP384, bare},
	} {
		key := newFixed(t, test.algorithm)
		r := test.record(key.PublicKey)
		data := mustSign(t, r, key)
		text, err := r.Text()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			for file, content := range map[string][]byte{name + ".cbor": data, name + ".txt": []byte(text)} {
				if err := os.WriteFile(filepath.Join("..", "..", "testvectors", "ceremony", file), content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		golden, err := testvectors.Read("ceremony/" + name + ".cbor")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, golden) {
			t.Errorf("%s: got  %x\nwant %x", name, data, golden)
		}
		v, err := ceremony.Verify(golden, key.PublicKey)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantRecord(t, v.Record(), r)
		parsed, err := ceremony.Parse(golden)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantRecord(t, parsed, r)
		if !ceremony.IsRecord(golden) {
			t.Errorf("%s: is not recognised", name)
		}
		goldenText, err := testvectors.Read("ceremony/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		fromRecord, err := v.Record().Text()
		if err != nil || text != string(goldenText) || fromRecord != text {
			t.Errorf("%s: got\n%s\nfrom the record\n%s\nwant\n%s", name, text, fromRecord, goldenText)
		}
	}
}

// Times are recorded in whole seconds of UTC.
func TestTime(t *testing.T) {
	key := newFixed(t, sign.ESP256)
	r := full(key.PublicKey)
	r.Time = time.Date(2026, 3, 14, 10, 26, 53, 999, time.FixedZone("", 3600))
	v, err := ceremony.Verify(mustSign(t, r, key), key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	wantRecord(t, v.Record(), full(key.PublicKey))
}

func TestSignErrors(t *testing.T) {
	key := newFixed(t, sign.ESP256)
	other, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.Sign(t.Context(), full(key.PublicKey), other); !errors.Is(err, sign.ErrKeyMismatch) {
		t.Errorf("a signer with another key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := sign.FromCrypto(key.private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.Sign(ctx, full(key.PublicKey), s); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := ceremony.Sign(t.Context(), full(key.PublicKey), liar{key}); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("a signer that signs something else: %v", err)
	}
}

// liar is a token that signs with the right key but not what it was given.
type liar struct{ fixed }

func (l liar) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	return l.fixed.Sign(ctx, append([]byte{0}, message...))
}

func (l liar) SignDigest(ctx context.Context, digest []byte) (sign.Signature, error) {
	digest = bytes.Clone(digest)
	digest[0] ^= 1
	return l.fixed.SignDigest(ctx, digest)
}

// One change to the content of a valid record, signed again with its key.
func TestContentRefused(t *testing.T) {
	key := newFixed(t, sign.ESP256)
	other := newFixed(t, sign.ESP384)
	good := mustSign(t, full(key.PublicKey), key)
	part := func(o object, k int) object { return o[k].(object) }
	long := strings.Repeat("a", ceremony.MaxText+1)
	p521 := append([]byte{0x30}, make([]byte, 90)...)
	for name, test := range map[string]struct {
		change func(object)
		reason verdict.Reason
	}{
		"another format":          {func(o object) { o[1] = "otapack.ceremony/2" }, verdict.CeremonyFormat},
		"format of a number":      {func(o object) { o[1] = 1 }, verdict.WrongType},
		"unknown key":             {func(o object) { o[9] = 0 }, verdict.UnknownKey},
		"text key":                {func(o object) { o["a"] = 0 }, verdict.UnknownKey},
		"empty tool":              {func(o object) { o[2] = "" }, verdict.WrongLength},
		"long tool":               {func(o object) { o[2] = long }, verdict.WrongLength},
		"tool that rings":         {func(o object) { o[2] = "\a" }, verdict.CeremonyText},
		"negative time":           {func(o object) { o[3] = -1 }, verdict.WrongType},
		"time in the year 10000":  {func(o object) { o[3] = 253402300800 }, verdict.TooLarge},
		"time as text":            {func(o object) { o[3] = "2026-03-14" }, verdict.WrongType},
		"short spec digest":       {func(o object) { o[8] = make([]byte, 31) }, verdict.WrongLength},
		"no operators":            {func(o object) { delete(part(o, 4), 1) }, verdict.MissingKey},
		"no witnesses":            {func(o object) { delete(part(o, 4), 2) }, verdict.MissingKey},
		"nine operators":          {func(o object) { part(o, 4)[1] = slices.Repeat([]string{"a"}, 9) }, verdict.WrongCount},
		"operator of bytes":       {func(o object) { part(o, 4)[1] = [][]byte{{1}} }, verdict.WrongType},
		"empty operator":          {func(o object) { part(o, 4)[1] = []string{""} }, verdict.WrongLength},
		"operators null":          {func(o object) { part(o, 4)[1] = nil }, verdict.WrongType},
		"empty purpose":           {func(o object) { part(o, 4)[3] = "" }, verdict.WrongLength},
		"long purpose":            {func(o object) { part(o, 4)[3] = strings.Repeat("a", 513) }, verdict.WrongLength},
		"empty place":             {func(o object) { part(o, 4)[4] = "" }, verdict.WrongLength},
		"unknown ceremony key":    {func(o object) { part(o, 4)[5] = 0 }, verdict.UnknownKey},
		"ceremony of a list":      {func(o object) { o[4] = []string{} }, verdict.WrongType},
		"module without digest":   {func(o object) { delete(part(o, 5), 5) }, verdict.MissingKey},
		"long module digest":      {func(o object) { part(o, 5)[5] = make([]byte, 33) }, verdict.WrongLength},
		"unknown module key":      {func(o object) { part(o, 5)[6] = 0 }, verdict.UnknownKey},
		"long description":        {func(o object) { part(o, 5)[2] = long }, verdict.WrongLength},
		"token without serial":    {func(o object) { delete(part(o, 6), 2) }, verdict.MissingKey},
		"unknown token key":       {func(o object) { part(o, 6)[7] = "" }, verdict.UnknownKey},
		"token model of blanks":   {func(o object) { part(o, 6)[3] = "a\u00a0" }, verdict.CeremonyText},
		"no key label":            {func(o object) { delete(part(o, 7), 1) }, verdict.MissingKey},
		"empty key label":         {func(o object) { part(o, 7)[1] = "" }, verdict.WrongLength},
		"empty key id":            {func(o object) { part(o, 7)[2] = []byte{} }, verdict.WrongLength},
		"key id of 65 bytes":      {func(o object) { part(o, 7)[2] = make([]byte, 65) }, verdict.WrongLength},
		"another curve":           {func(o object) { part(o, 7)[3] = "P-384" }, verdict.CeremonyKey},
		"unknown usage":           {func(o object) { part(o, 7)[4] = "boot" }, verdict.CeremonyKey},
		"empty usage":             {func(o object) { part(o, 7)[4] = "" }, verdict.CeremonyKey},
		"digest of another key":   {func(o object) { part(o, 7)[5] = make([]byte, 32) }, verdict.CeremonyKey},
		"public key of zeros":     {func(o object) { part(o, 7)[6] = p521 }, verdict.CeremonyKey},
		"public key in PEM":       {func(o object) { part(o, 7)[6] = key.PEM()[:128] }, verdict.CeremonyKey},
		"public key too long":     {func(o object) { part(o, 7)[6] = make([]byte, 129) }, verdict.WrongLength},
		"public key of no bytes":  {func(o object) { part(o, 7)[6] = []byte{} }, verdict.WrongLength},
		"public key, not digest":  {func(o object) { part(o, 7)[6] = other.DER() }, verdict.CeremonyKey},
		"no mechanism":            {func(o object) { delete(part(o, 7), 7) }, verdict.MissingKey},
		"unknown key of the key":  {func(o object) { part(o, 7)[9] = 0 }, verdict.UnknownKey},
		"state 3":                 {func(o object) { part(part(o, 7), 8)[4] = 3 }, verdict.TooLarge},
		"state true":              {func(o object) { part(part(o, 7), 8)[4] = true }, verdict.WrongType},
		"attribute 0":             {func(o object) { part(part(o, 7), 8)[0] = 0 }, verdict.UnknownKey},
		"attribute 11":            {func(o object) { part(part(o, 7), 8)[11] = 0 }, verdict.UnknownKey},
		"attribute of a negative": {func(o object) { part(part(o, 7), 8)[-1] = 0 }, verdict.UnknownKey},
		"no attribute 10":         {func(o object) { delete(part(part(o, 7), 8), 10) }, verdict.MissingKey},
	} {
		o := payload(t, good)
		test.change(o)
		data := message(t, marshal(t, o), key)
		if _, err := ceremony.Verify(data, key.PublicKey); verdict.Of(err) != test.reason {
			t.Errorf("%s: Verify: %v, want %s", name, err, test.reason)
		}
		if _, err := ceremony.Parse(data); verdict.Of(err) != test.reason {
			t.Errorf("%s: Parse: %v, want %s", name, err, test.reason)
		}
	}
	for k := range 8 {
		o := payload(t, good)
		delete(o, k+1)
		want := verdict.MissingKey
		if k+1 == 8 {
			want = "" // the specification may be absent
		}
		if _, err := ceremony.Verify(message(t, marshal(t, o), key), key.PublicKey); verdict.Of(err) != want {
			t.Errorf("without key %d: %v, want %q", k+1, err, want)
		}
	}
}

// One change to the bytes of a valid record, signed again with its key.
func TestEncodingRefused(t *testing.T) {
	key := newFixed(t, sign.ESP256)
	good := unwrap(t, mustSign(t, full(key.PublicKey), key)).Payload
	replace := func(old, new string) []byte {
		if n := bytes.Count(good, []byte(old)); n != 1 {
			t.Fatalf("%q occurs %d times", old, n)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for name, test := range map[string]struct {
		payload []byte
		reason  verdict.Reason
	}{
		"nothing":                     {[]byte{}, verdict.Truncated},
		"an array":                    {[]byte{0x80}, verdict.WrongType},
		"bytes behind it":             {append(slices.Clone(good), 0), verdict.TrailingBytes},
		"key in long form":            {replace("\xa8\x01\x72otapack", "\xa8\x18\x01\x72otapack"), verdict.LongForm},
		"length in long form":         {replace("\x01\x72otapack", "\x01\x78\x12otapack"), verdict.LongForm},
		"map of indefinite length":    {append(append([]byte{0xbf}, good[1:]...), 0xff), verdict.Indefinite},
		"format twice":                {replace("\x02\x6eotapack v1.2.0", "\x01\x72otapack.ceremony/1"), verdict.DuplicateKey},
		"keys out of order":           {replace("\x02\x6eotapack v1.2.0", "\x03\x00\x02\x6eotapack v1.2.0"), verdict.UnsortedKeys},
		"text that is not UTF-8":      {replace("Ada", "A\xffa"), verdict.BadUTF8},
		"one pair less than it says":  {append([]byte{0xa9}, good[1:]...), verdict.WrongCount},
		"one pair more than it says":  {append([]byte{0xa7}, good[1:]...), verdict.TrailingBytes},
		"more pairs than anybody has": {append([]byte{0xb1}, good[1:]...), verdict.WrongCount},
		"release record":              {marshal(t, map[int]any{1: 1, 2: "1.4.2+1"}), verdict.WrongType},
		"beyond the bound":            {make([]byte, ceremony.MaxRecord+1), verdict.WrongLength},
	} {
		data := message(t, test.payload, key)
		if _, err := ceremony.Verify(data, key.PublicKey); verdict.Of(err) != test.reason {
			t.Errorf("%s: Verify: %v, want %s", name, err, test.reason)
		}
		if _, err := ceremony.Parse(data); verdict.Of(err) != test.reason {
			t.Errorf("%s: Parse: %v, want %s", name, err, test.reason)
		}
	}
}

// What surrounds the content.
func TestMessageRefused(t *testing.T) {
	key, strange := newFixed(t, sign.ESP256), newFixed(t, sign.ESP384)
	good := mustSign(t, full(key.PublicKey), key)
	w := unwrap(t, good)
	sig, err := sign.ParseSignature(sign.ESP256, sign.Raw, w.Signature)
	if err != nil {
		t.Fatal(err)
	}
	throwaway, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		t.Fatal(err)
	}
	hint, theirs := key.ID().Hint(), strange.ID().Hint()
	tagged := func(protected []byte, unprotected map[int64]any, payload any, signature []byte) []byte {
		return append([]byte{0xd2}, marshal(t, []any{protected, unprotected, payload, signature})...)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	changed := bytes.Replace(good, []byte("Ada"), []byte("Eve"), 1)
	for name, test := range map[string]struct {
		data   []byte
		pinned sign.PublicKey
		reason verdict.Reason
		parses bool
	}{
		"no bytes":                     {nil, key.PublicKey, verdict.Truncated, false},
		"no tag":                       {good[1:], key.PublicKey, verdict.NotSign1, false},
		"bytes behind it":              {append(slices.Clone(good), 0), key.PublicKey, verdict.TrailingBytes, false},
		"cut off":                      {good[:len(good)-1], key.PublicKey, verdict.Truncated, false},
		"payload detached":             {tagged(w.Protected, w.Unprotected, nil, w.Signature), key.PublicKey, verdict.PayloadMissing, false},
		"signature flipped":            {flipped, key.PublicKey, verdict.SignatureInvalid, true},
		"operator changed":             {changed, key.PublicKey, verdict.SignatureInvalid, true},
		"another pinned key":           {good, throwaway.Public(), verdict.CeremonyOtherKey, true},
		"pinned key on another curve":  {good, strange.PublicKey, verdict.CeremonyOtherKey, true},
		"no pinned key":                {good, sign.PublicKey{}, verdict.CeremonyOtherKey, true},
		"signed by somebody else":      {message(t, w.Payload, throwaway), key.PublicKey, verdict.SignatureInvalid, false}, // and the hint is theirs
		"their key, their signature":   {message(t, w.Payload, throwaway), throwaway.Public(), verdict.CeremonyKey, false},
		"no key hint":                  {encode(t, cose.Sign1{Algorithm: -9, Payload: w.Payload, Signature: sig}), key.PublicKey, verdict.CeremonyKey, false},
		"hint of another key":          {encode(t, cose.Sign1{Algorithm: -9, KeyID: theirs[:], Payload: w.Payload, Signature: sig}), key.PublicKey, verdict.CeremonyKey, false},
		"long hint":                    {encode(t, cose.Sign1{Algorithm: -9, KeyID: append(hint[:], 0), Payload: w.Payload, Signature: sig}), key.PublicKey, verdict.CeremonyKey, false},
		"algorithm that nobody knows":  {tagged(marshal(t, map[int]int{1: -48}), w.Unprotected, w.Payload, w.Signature), key.PublicKey, verdict.NoKnownSignature, true},
		"algorithm without a curve":    {tagged(marshal(t, map[int]int{1: -7}), w.Unprotected, w.Payload, w.Signature), key.PublicKey, verdict.ES256Deprecated, false},
		"another header":               {tagged(w.Protected, map[int64]any{4: hint[:], 5: []byte{0}}, w.Payload, w.Signature), key.PublicKey, verdict.ExtraUnprotected, false},
		"signature of half the length": {tagged(w.Protected, w.Unprotected, w.Payload, w.Signature[:32]), key.PublicKey, verdict.SignatureLength, false},
	} {
		if v, err := ceremony.Verify(test.data, test.pinned); verdict.Of(err) != test.reason || v != nil {
			t.Errorf("%s: %v, want %s", name, err, test.reason)
		}
		if _, err := ceremony.Parse(test.data); (err == nil) != test.parses {
			t.Errorf("%s: Parse: %v", name, err)
		}
	}
}

func TestIsRecord(t *testing.T) {
	good := mustSign(t, full(newFixed(t, sign.ESP256).PublicKey), newFixed(t, sign.ESP256))
	later := bytes.Replace(good, []byte("otapack.ceremony/1"), []byte("otapack.ceremony/9"), 1)
	for name, test := range map[string]struct {
		data []byte
		want bool
	}{
		"good":           {good, true},
		"cut off":        {good[:60], true},
		"later version":  {later, true},
		"empty":          {nil, false},
		"the name alone": {[]byte("otapack.ceremony/1"), false},
		"in a text":      {[]byte("see otapack.ceremony/1"), false},
		"far behind":     {append(make([]byte, 100), good...), false},
	} {
		if got := ceremony.IsRecord(test.data); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
