package mcuboot_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// small is an image of a few bytes with the options that a test changes.
func small(t testing.TB, target mcuboot.Target, s sign.Signer, change func(*mcuboot.Options)) []byte {
	t.Helper()
	o := mcuboot.Options{Target: target, HeaderSize: 64, PadHeader: true, Version: mcuboot.Version{Major: 1, Minor: 2}}
	o.Target.Keys = nil
	if s != nil {
		o.Keys = []sign.PublicKey{s.Public()}
	}
	if change != nil {
		change(&o)
	}
	// The loader of a test may refuse what this one builds.
	o.Target.Rollback, o.Target.Vendor, o.Target.Class, o.Target.Installed, o.Target.Others, o.Target.Images = nil, nil, nil, nil, nil, 0
	d, err := mcuboot.Build([]byte("firmware of a very small device"), o, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s == nil {
		return finish(t, d)
	}
	return finish(t, d, s)
}

// edit replaces the unprotected TLVs, which no signature covers.
func edit(t testing.TB, file []byte, change func(area []mcuboot.TLV) []mcuboot.TLV) []byte {
	t.Helper()
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	f.Unprotected = change(slices.Clone(f.Unprotected))
	return f.Encode()
}

// want checks the first refusal of a target.
func want(t testing.TB, name string, file []byte, target mcuboot.Target, reason verdict.Reason) {
	t.Helper()
	v, trace, err := mcuboot.Verify(context.Background(), file, target)
	if verdict.Of(err) != reason || (err == nil) != (reason == "") || (v == nil) != (err != nil) {
		t.Errorf("%s: got %q, want %q: %v\n%+v", name, verdict.Of(err), reason, err, trace)
	}
}

// The loader's rules about unprotected TLVs (image_validate.c).
func TestLoaderRules(t *testing.T) {
	old, fresh := throwaway(t, sign.ESP256), throwaway(t, sign.ESP256)
	target := mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(old.Public())}}
	any := target
	any.AnyTLV = true
	file := small(t, target, old, nil)
	other := small(t, target, fresh, nil) // the same image but for key hash and signature
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	o, err := mcuboot.Parse(other)
	if err != nil {
		t.Fatal(err)
	}
	hash, keyHash, signature := f.Unprotected[0], f.Unprotected[1], f.Unprotected[2]
	unknownHash, unknown := o.Unprotected[1], o.Unprotected[2]
	bad := mcuboot.TLV{Type: mcuboot.TypeECDSA, Value: unknown.Value} // a signature by another key
	cut := func(e mcuboot.TLV, n int) mcuboot.TLV { return mcuboot.TLV{Type: e.Type, Value: e.Value[:n]} }
	long := func(e mcuboot.TLV, n int) mcuboot.TLV {
		return mcuboot.TLV{Type: e.Type, Value: append(bytes.Clone(e.Value), make([]byte, n)...)}
	}
	vendor := mcuboot.TLV{Type: 0xa0, Value: []byte{1}}
	wrongHash := mcuboot.TLV{Type: hash.Type, Value: make([]byte, 32)}

	for _, c := range []struct {
		name   string
		area   []mcuboot.TLV
		target mcuboot.Target
		reason verdict.Reason
	}{
		{"as built", []mcuboot.TLV{hash, keyHash, signature}, target, ""},
		{"hash last", []mcuboot.TLV{keyHash, signature, hash}, target, ""},
		{"no hash", []mcuboot.TLV{keyHash, signature}, target, verdict.ImageHashMissing},
		{"two hashes", []mcuboot.TLV{hash, keyHash, hash, signature}, target, ""},
		{"a second hash that is wrong", []mcuboot.TLV{hash, keyHash, signature, wrongHash}, target, verdict.ImageDigestMismatch},
		{"short hash", []mcuboot.TLV{cut(hash, 31), keyHash, signature}, target, verdict.TLVLength},
		{"long hash", []mcuboot.TLV{long(hash, 1), keyHash, signature}, target, verdict.TLVLength},
		{"a hash of another algorithm, not looked at", []mcuboot.TLV{{Type: mcuboot.TypeSHA512, Value: []byte("no")}, hash, keyHash, signature}, target, ""},
		{"another hash only", []mcuboot.TLV{{Type: mcuboot.TypeSHA512, Value: make([]byte, 64)}, keyHash, signature}, target, verdict.ImageHashMissing},

		{"signature before its key", []mcuboot.TLV{hash, signature, keyHash}, target, verdict.NoKnownKey},
		{"no key", []mcuboot.TLV{hash, signature}, target, verdict.NoKnownKey},
		{"no signature", []mcuboot.TLV{hash, keyHash}, target, verdict.Unsigned},
		{"nothing", nil, target, verdict.ImageHashMissing},
		{"unknown key", []mcuboot.TLV{hash, unknownHash, unknown}, target, verdict.NoKnownKey},
		{"unknown and known key", []mcuboot.TLV{hash, unknownHash, unknown, keyHash, signature}, target, ""},
		{"known and unknown key", []mcuboot.TLV{hash, keyHash, signature, unknownHash, unknown}, target, ""},
		{"a key that is replaced before its signature", []mcuboot.TLV{hash, keyHash, unknownHash, signature}, target, verdict.NoKnownKey},
		{"two signatures after one key", []mcuboot.TLV{hash, keyHash, signature, bad}, target, ""},
		{"the last decides: bad", []mcuboot.TLV{hash, keyHash, signature, keyHash, bad}, target, verdict.SignatureInvalid},
		{"the last decides: good", []mcuboot.TLV{hash, keyHash, bad, keyHash, signature}, target, ""},
		{"wrong signature", []mcuboot.TLV{hash, keyHash, bad}, target, verdict.SignatureInvalid},
		{"key hash of 4 bytes", []mcuboot.TLV{hash, cut(keyHash, 4), signature}, target, ""},
		{"key hash of no bytes", []mcuboot.TLV{hash, cut(keyHash, 0), signature}, target, ""},
		{"key hash of 33 bytes", []mcuboot.TLV{hash, long(keyHash, 1), signature}, target, verdict.TLVLength},
		{"signature with padding", []mcuboot.TLV{hash, keyHash, long(signature, 3)}, target, ""},
		{"signature of more than the loader reads", []mcuboot.TLV{hash, keyHash, long(signature, 60)}, target, verdict.TLVLength},
		{"the same by an unknown key", []mcuboot.TLV{hash, unknownHash, long(signature, 60), keyHash, signature}, target, ""},
		{"raw r, s", []mcuboot.TLV{hash, keyHash, {Type: mcuboot.TypeECDSA, Value: make([]byte, 64)}}, target, verdict.SignatureInvalid},
		{"empty signature", []mcuboot.TLV{hash, keyHash, {Type: mcuboot.TypeECDSA}}, target, verdict.SignatureInvalid},
		{"Ed25519 signature", []mcuboot.TLV{hash, keyHash, {Type: mcuboot.TypeEd25519, Value: make([]byte, 64)}}, target, verdict.Unsigned},

		{"vendor TLV", []mcuboot.TLV{hash, keyHash, signature, vendor}, target, verdict.TLVNotAllowed},
		{"vendor TLV, no list", []mcuboot.TLV{hash, keyHash, signature, vendor}, any, ""},
		{"counter", []mcuboot.TLV{hash, keyHash, signature, {Type: mcuboot.TypeCounter, Value: make([]byte, 4)}}, target, verdict.TLVNotAllowed},
		{"type 0xffff", []mcuboot.TLV{hash, keyHash, signature, {Type: 0xffff}}, target, verdict.TLVNotAllowed},
		{"pure flag", []mcuboot.TLV{hash, {Type: mcuboot.TypePure, Value: []byte{1}}, keyHash, signature}, target, verdict.TLVNotAllowed},
		{"key and encryption TLVs", []mcuboot.TLV{hash, {Type: mcuboot.TypePublicKey}, {Type: mcuboot.TypeEncRSA}, {Type: mcuboot.TypeEncKW}, {Type: mcuboot.TypeEncP256}, {Type: mcuboot.TypeEncX25519}, {Type: mcuboot.TypeECDSA224}, keyHash, signature}, target, ""},
		{"the X25519 TLV of the other hash", []mcuboot.TLV{hash, keyHash, signature, {Type: mcuboot.TypeEncX25519H5}}, target, verdict.TLVNotAllowed},
	} {
		want(t, c.name, edit(t, file, func([]mcuboot.TLV) []mcuboot.TLV { return c.area }), c.target, c.reason)
	}

	h5 := target
	h5.Encryption = mcuboot.ECIESX25519SHA512
	want(t, "0x34 where it is the build's", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { return append(a, mcuboot.TLV{Type: mcuboot.TypeEncX25519H5}) }), h5, "")
	want(t, "0x33 where 0x34 is", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { return append(a, mcuboot.TLV{Type: mcuboot.TypeEncX25519}) }), h5, verdict.TLVNotAllowed)
	want(t, "bytes after the TLV area", append(bytes.Clone(file), 1, 2, 3), target, "")

	both := target
	both.Keys = append(both.Keys, mcuboot.NewKey(fresh.Public()))
	want(t, "second of two keys", other, both, "")
	crossed := edit(t, file, func([]mcuboot.TLV) []mcuboot.TLV { return []mcuboot.TLV{hash, unknownHash, signature} })
	want(t, "key hash and signature of two keys", crossed, both, verdict.SignatureInvalid)

	// Other ways to a key.
	builtin := target
	builtin.KeyMatch = mcuboot.BuiltinKey
	for name, c := range map[string]struct {
		area   []mcuboot.TLV
		reason verdict.Reason
	}{
		"built in: no key TLV":                     {[]mcuboot.TLV{hash, signature}, ""},
		"built in: key TLVs are not read":          {[]mcuboot.TLV{hash, long(keyHash, 40), signature}, ""},
		"built in: only the first signature":       {[]mcuboot.TLV{hash, signature, bad}, ""},
		"built in: the first signature is the one": {[]mcuboot.TLV{hash, bad, signature}, verdict.SignatureInvalid},
	} {
		want(t, name, edit(t, file, func([]mcuboot.TLV) []mcuboot.TLV { return c.area }), builtin, c.reason)
	}
	bypass := target
	bypass.KeyMatch = mcuboot.AnyKeyHash
	want(t, "bypass: any hash", edit(t, file, func([]mcuboot.TLV) []mcuboot.TLV { return []mcuboot.TLV{hash, unknownHash, signature} }), bypass, "")
	want(t, "bypass: no hash", edit(t, file, func([]mcuboot.TLV) []mcuboot.TLV { return []mcuboot.TLV{hash, signature} }), bypass, verdict.NoKnownKey)
	full := target
	full.KeyMatch = mcuboot.FullKey
	withKey := func(k []byte) []byte {
		return edit(t, file, func([]mcuboot.TLV) []mcuboot.TLV {
			return []mcuboot.TLV{hash, {Type: mcuboot.TypePublicKey, Value: k}, signature}
		})
	}
	want(t, "full key", withKey(old.Public().DER()), full, "")
	want(t, "full key: another", withKey(fresh.Public().DER()), full, verdict.NoKnownKey)
	want(t, "full key: longer than the loader reads", withKey(make([]byte, 153)), full, verdict.TLVLength)
	want(t, "full key: hash given", file, full, verdict.NoKnownKey)
	want(t, "hash wanted: full key given", withKey(old.Public().DER()), target, verdict.NoKnownKey)

	// Whether an entry is protected is asked of where its value begins.
	empty := small(t, any, old, func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0}} })
	want(t, "empty TLV at the end of the protected area", empty, target, verdict.TLVNotAllowed)
	want(t, "the same without the list", empty, any, "")

	none := mcuboot.Target{Signature: mcuboot.HashOnly}
	want(t, "hash only: signatures are not looked at", file, none, "")
	want(t, "hash only: wrong hash", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { a[0] = wrongHash; return a }), none, verdict.ImageDigestMismatch)
}

func TestPureRules(t *testing.T) {
	s := throwaway(t, sign.Ed25519)
	target := mcuboot.Target{Signature: mcuboot.Ed25519Pure, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}}
	file := small(t, target, s, nil)
	want(t, "as built", file, target, "")
	set := func(value ...byte) func([]mcuboot.TLV) []mcuboot.TLV {
		return func(a []mcuboot.TLV) []mcuboot.TLV { a[1].Value = value; return a }
	}
	want(t, "flag 0", edit(t, file, set(0)), target, verdict.PureMissing)
	want(t, "flag of two bytes", edit(t, file, set(1, 1)), target, verdict.PureMissing)
	want(t, "no flag", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { return slices.Delete(a, 1, 2) }), target, verdict.PureMissing)
	want(t, "wrong hash, not looked at", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { a[0].Value = []byte{1}; return a }), target, "")
	want(t, "no hash", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { return a[1:] }), target, "")
	changed := bytes.Clone(file)
	changed[70] ^= 1
	want(t, "another payload", changed, target, verdict.SignatureInvalid)
	prehashed := mcuboot.Target{Signature: mcuboot.Ed25519, Hash: crypto.SHA512, Keys: target.Keys, AnyTLV: true}
	want(t, "a loader that signs hashes", file, prehashed, verdict.SignatureInvalid)
	want(t, "signature of 63 bytes", edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV { a[3].Value = a[3].Value[:63]; return a }), target, verdict.TLVLength)
}

func number(n uint32) *uint32 { return &n }

// What an image says of itself, against what the device knows.
func TestDeviceRules(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}})
	build := func(change func(*mcuboot.Options)) []byte { return small(t, target, s, change) }
	with := func(change func(*mcuboot.Target)) mcuboot.Target {
		c := target
		change(&c)
		return c
	}
	vendor, err := mcuboot.VendorUUID("example.com")
	if err != nil {
		t.Fatal(err)
	}
	class, err := mcuboot.ClassUUID(vendor, "radio")
	if err != nil {
		t.Fatal(err)
	}
	plain := build(nil)
	counted := build(func(o *mcuboot.Options) { o.Counter = number(5) })
	named := build(func(o *mcuboot.Options) { o.Vendor, o.Class = "example.com", "radio" })
	dependent := build(func(o *mcuboot.Options) {
		o.Dependencies = []mcuboot.Dependency{{Image: 1, Minimum: mcuboot.Version{Major: 2, Build: 7}}}
	})
	rollback := func(n uint32) mcuboot.Target { return with(func(t *mcuboot.Target) { t.Rollback = number(n) }) }
	installed := func(m mcuboot.Mode, d mcuboot.Downgrade, v mcuboot.Version, counter *uint32) mcuboot.Target {
		return with(func(t *mcuboot.Target) {
			t.Mode, t.Downgrade, t.Installed = m, d, &mcuboot.Installed{Version: v, Counter: counter}
		})
	}
	others := func(images int, v map[uint8]mcuboot.Version) mcuboot.Target {
		return with(func(t *mcuboot.Target) { t.Images, t.Others = images, v })
	}
	newer := mcuboot.Version{Major: 1, Minor: 2, Revision: 1}
	same := mcuboot.Version{Major: 1, Minor: 2, Build: 9}

	for _, c := range []struct {
		name   string
		file   []byte
		target mcuboot.Target
		reason verdict.Reason
	}{
		{"no counter", plain, rollback(0), verdict.CounterMissing},
		{"counter below", counted, rollback(6), verdict.CounterRollback},
		{"counter equal", counted, rollback(5), ""},
		{"counter above", counted, rollback(4), ""},
		{"counter without protection", counted, target, ""},

		{"older, swap", plain, installed(mcuboot.SwapMove, mcuboot.ByVersion, newer, nil), verdict.VersionDowngrade},
		{"older, overwrite", plain, installed(mcuboot.OverwriteOnly, mcuboot.ByVersion, newer, nil), verdict.VersionDowngrade},
		{"older, overwrite by counter compares versions", counted, installed(mcuboot.OverwriteOnly, mcuboot.ByCounter, newer, number(0)), verdict.VersionDowngrade},
		{"older, direct-xip chooses the newest", plain, installed(mcuboot.DirectXIP, mcuboot.ByVersion, newer, nil), ""},
		{"older, no prevention", plain, installed(mcuboot.SwapMove, mcuboot.AllowDowngrade, newer, nil), ""},
		{"the build number does not count", plain, installed(mcuboot.SwapMove, mcuboot.ByVersion, same, nil), ""},
		{"it does", plain, func() mcuboot.Target {
			t := installed(mcuboot.SwapMove, mcuboot.ByVersion, same, nil)
			t.CompareBuild = true
			return t
		}(), verdict.VersionDowngrade},
		{"by counter: below", counted, installed(mcuboot.SwapScratch, mcuboot.ByCounter, newer, number(6)), verdict.CounterRollback},
		{"by counter: equal", counted, installed(mcuboot.SwapScratch, mcuboot.ByCounter, newer, number(5)), ""},
		{"by counter: none in the update", plain, installed(mcuboot.SwapScratch, mcuboot.ByCounter, newer, number(0)), verdict.CounterMissing},
		{"by counter: none installed", plain, installed(mcuboot.SwapScratch, mcuboot.ByCounter, newer, nil), ""},

		{"vendor and class", named, with(func(t *mcuboot.Target) { t.Vendor, t.Class = &vendor, &class }), ""},
		{"no vendor", plain, with(func(t *mcuboot.Target) { t.Vendor = &vendor }), verdict.UUIDMissing},
		{"no class", plain, with(func(t *mcuboot.Target) { t.Class = &class }), verdict.UUIDMissing},
		{"another vendor", named, with(func(t *mcuboot.Target) { t.Vendor = &class }), verdict.VendorMismatch},
		{"another class", named, with(func(t *mcuboot.Target) { t.Class = &vendor }), verdict.ClassMismatch},

		{"dependency, one image", dependent, others(1, nil), ""},
		{"dependency met", dependent, others(2, map[uint8]mcuboot.Version{1: {Major: 2, Build: 1}}), ""}, // build numbers do not count
		{"dependency not met", dependent, others(2, map[uint8]mcuboot.Version{1: {Major: 1, Minor: 255}}), verdict.DependencyUnmet},
		{"dependency not known", dependent, others(2, nil), ""},
	} {
		want(t, c.name, c.file, c.target, c.reason)
	}
	third := build(func(o *mcuboot.Options) { o.Dependencies = []mcuboot.Dependency{{Image: 3}} })
	want(t, "dependency on no image", third, others(2, nil), verdict.DependencyImage)

	// Incomplete where the target does not say enough.
	for name, target := range map[string]mcuboot.Target{
		"others":    others(2, nil),
		"images":    target,
		"installed": func() mcuboot.Target { t := others(1, nil); t.Downgrade = mcuboot.ByVersion; return t }(),
		"slot":      func() mcuboot.Target { t := others(1, nil); t.SlotSize = 0; return t }(),
	} {
		if v, trace, err := mcuboot.Verify(t.Context(), dependent, target); err != nil || v.Complete() {
			t.Errorf("%s: %v, complete\n%+v", name, err, trace)
		}
	}
	if v, trace, err := mcuboot.Verify(t.Context(), dependent, others(1, nil)); err != nil || !v.Complete() {
		t.Errorf("not complete: %v\n%+v", err, trace)
	}
}

func TestPlacement(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}})
	plain := small(t, target, s, nil)
	ram := small(t, target, s, func(o *mcuboot.Options) { o.LoadAddress = number(0x2000_0000) })
	rom := small(t, target, s, func(o *mcuboot.Options) { o.ROMAddress = number(0x0801_0000) })
	in := func(m mcuboot.Mode, change func(*mcuboot.Target)) mcuboot.Target {
		c := target
		c.Mode = m
		if change != nil {
			change(&c)
		}
		return c
	}
	memory := func(start, size uint32) func(*mcuboot.Target) {
		return func(t *mcuboot.Target) { t.RAM = &mcuboot.Memory{Start: start, Size: size} }
	}
	slot := func(at uint32) func(*mcuboot.Target) { return func(t *mcuboot.Target) { t.SlotAddress = &at } }
	boot := func(start, size uint32) func(*mcuboot.Target) {
		return func(t *mcuboot.Target) { t.Boot = &mcuboot.Memory{Start: start, Size: size} }
	}
	f, err := mcuboot.Parse(ram)
	if err != nil {
		t.Fatal(err)
	}
	size := uint32(f.End())
	for _, c := range []struct {
		name   string
		file   []byte
		target mcuboot.Target
		reason verdict.Reason
	}{
		{"to RAM", ram, in(mcuboot.RAMLoadMode, memory(0x2000_0000, size)), ""},
		{"one byte too long", ram, in(mcuboot.RAMLoadMode, memory(0x2000_0000, size-1)), verdict.LoadAddress},
		{"below", ram, in(mcuboot.RAMLoadMode, memory(0x2000_0001, 1<<20)), verdict.LoadAddress},
		{"not for RAM", plain, in(mcuboot.RAMLoadMode, nil), verdict.LoadAddress},
		{"RAM not known", ram, in(mcuboot.RAMLoadMode, nil), ""},
		{"for RAM, another mode", ram, target, ""},
		{"its slot", rom, in(mcuboot.DirectXIP, slot(0x0801_0000)), ""},
		{"another slot", rom, in(mcuboot.DirectXIP, slot(0x0802_0000)), verdict.SlotMismatch},
		{"slot not known", rom, in(mcuboot.DirectXIP, nil), ""},
		{"for no slot", plain, in(mcuboot.DirectXIP, slot(0x0802_0000)), ""},
		{"load address in the primary slot", rom, in(mcuboot.SwapMove, boot(0x0801_0000, 0x10000)), ""},
		{"load address elsewhere", rom, in(mcuboot.SwapMove, boot(0x0801_0001, 0x10000)), verdict.LoadAddress},
		{"load address after it", rom, in(mcuboot.SwapMove, boot(0x0800_0000, 0x10000)), verdict.LoadAddress},
	} {
		want(t, c.name, c.file, c.target, c.reason)
	}
}

// The header's rules, on a bootloader that verifies the hash only.
func TestHeaderRules(t *testing.T) {
	target := mcuboot.Target{Signature: mcuboot.HashOnly, Mode: mcuboot.OverwriteOnly, SlotSize: 4096}
	good := small(t, target, nil, func(o *mcuboot.Options) { o.Counter = number(1) })
	want(t, "as built", good, target, "")
	rehash := func(b []byte) []byte {
		f, err := mcuboot.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b[:f.End()-40]) // one TLV and its area's header
		copy(b[f.End()-32:], sum[:])
		return b
	}
	set32 := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	set16 := func(at int, v uint16) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint16(b[at:], v)
		return b
	}
	protected := int(64) + len("firmware of a very small device")
	for _, c := range []struct {
		name   string
		file   []byte
		reason verdict.Reason
	}{
		{"empty file", nil, verdict.Truncated},
		{"31 bytes", good[:31], verdict.Truncated},
		{"magic", set32(0, 0xffffffff), verdict.ImageMagic},
		{"payload as large as the slot", set32(12, 4096), verdict.ImageSizes},
		{"payload of 4 GiB", set32(12, 0xffffffff), verdict.ImageSizes},
		{"payload longer than the file", set32(12, 1000), verdict.Truncated},
		{"AES-128 flag", set32(16, 4), verdict.EncryptionNotBuiltIn},
		{"LZMA1 flag", set32(16, 0x200), verdict.CompressionNotBuiltIn},
		{"LZMA2 flag", set32(16, 0x400), verdict.CompressionNotBuiltIn},
		{"ARM Thumb flag alone", set32(16, 0x800), verdict.CompressionNotBuiltIn},
		{"flags without a meaning", rehash(set32(16, 0xf000_0002)), ""},
		{"pad word", rehash(set32(28, 1)), ""},
		{"no protected size", set16(10, 0), verdict.ProtectedSize},
		{"another protected size", set16(10, 13), verdict.ProtectedSize},
		{"protected magic", func() []byte { b := bytes.Clone(good); b[protected] = 7; return b }(), verdict.ProtectedSize},
		{"unprotected magic", func() []byte { b := bytes.Clone(good); b[protected+12] = 8; return b }(), verdict.TLVMagic},
	} {
		want(t, c.name, c.file, target, c.reason)
	}
	both := target
	both.Encryption = mcuboot.ECIESP256
	want(t, "both AES flags", set32(16, 12), both, verdict.EncryptionFlags)
	want(t, "encrypted, no key", set32(16, 4), both, verdict.RecipientKeyMissing)
}

// The loader does not look where a protected TLV ends; no tool makes such files,
// and Parse has the last word.
func TestStructureIsTheLastStep(t *testing.T) {
	target := mcuboot.Target{Signature: mcuboot.HashOnly, AnyTLV: true}
	file := small(t, target, nil, func(o *mcuboot.Options) { o.Custom = []mcuboot.TLV{{Type: 0xa0, Value: make([]byte, 4)}} })
	f, err := mcuboot.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	// The entry swallows the info header of the unprotected area (4 bytes).
	at := int(f.Header.HeaderSize) + len(f.Payload) + 4
	binary.LittleEndian.PutUint16(file[at+2:], 8)
	sum := sha256.Sum256(file[:f.End()-40])
	copy(file[f.End()-32:], sum[:])
	_, trace, err := mcuboot.Verify(t.Context(), file, target)
	if verdict.Of(err) != verdict.TLVLength || trace[len(trace)-1].Step != mcuboot.StepStructure {
		t.Errorf("%v\n%+v", err, trace)
	}
}

func TestEncryptedRules(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	device, other := deviceKey(t, "enc-p256"), deviceKey(t, "p256-other")
	target := flash(mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}, Encryption: mcuboot.ECIESP256, DeviceKey: device})
	file := small(t, target, s, func(o *mcuboot.Options) { o.Encrypt = &mcuboot.Encrypt{To: device.Recipient()} })
	want(t, "as built", file, target, "")
	plain := small(t, target, s, nil)
	want(t, "plain", plain, target, "")

	changed := func(change func(*mcuboot.Target)) mcuboot.Target {
		c := target
		change(&c)
		return c
	}
	want(t, "primary slot", file, changed(func(t *mcuboot.Target) { t.Slot = mcuboot.Primary }), verdict.ImageDigestMismatch)
	want(t, "another key", file, changed(func(t *mcuboot.Target) { t.DeviceKey = other }), verdict.KeyUnwrap)
	want(t, "no key", file, changed(func(t *mcuboot.Target) { t.DeviceKey = mcuboot.DeviceKey{} }), verdict.RecipientKeyMissing)
	want(t, "AES-256 bootloader", file, changed(func(t *mcuboot.Target) { t.AESBits = 256 }), verdict.EncryptionTLV)
	x := deviceKey(t, "enc-x25519")
	want(t, "X25519 bootloader", file, changed(func(t *mcuboot.Target) { t.Encryption, t.DeviceKey = mcuboot.ECIESX25519, x }), verdict.EncryptionTLV)
	want(t, "no encryption", file, changed(func(t *mcuboot.Target) { t.Encryption, t.DeviceKey = mcuboot.NoEncryption, mcuboot.DeviceKey{} }), verdict.EncryptionNotBuiltIn)

	enc := func(change func(area []mcuboot.TLV) []mcuboot.TLV) []byte { return edit(t, file, change) }
	want(t, "no TLV", enc(func(a []mcuboot.TLV) []mcuboot.TLV { return a[:3] }), target, verdict.EncryptionTLV)
	want(t, "the first TLV counts", enc(func(a []mcuboot.TLV) []mcuboot.TLV {
		return slices.Insert(a, 0, mcuboot.TLV{Type: mcuboot.TypeEncP256, Value: bytes.Repeat([]byte{4}, 113)})
	}), target, verdict.EphemeralPoint)
	want(t, "a second TLV does not", enc(func(a []mcuboot.TLV) []mcuboot.TLV {
		return append(a, mcuboot.TLV{Type: mcuboot.TypeEncP256, Value: []byte{1}})
	}), target, "")
	want(t, "long TLV", enc(func(a []mcuboot.TLV) []mcuboot.TLV { a[3].Value = append(bytes.Clone(a[3].Value), 0); return a }), target, verdict.EncryptionTLV)
	for at, reason := range map[int]verdict.Reason{0: verdict.EphemeralPoint, 40: verdict.EphemeralPoint, 70: verdict.KeyUnwrap, 112: verdict.KeyUnwrap} {
		want(t, "changed TLV", enc(func(a []mcuboot.TLV) []mcuboot.TLV {
			a[3].Value = bytes.Clone(a[3].Value)
			a[3].Value[at] ^= 1
			return a
		}), target, reason)
	}

	want(t, "direct-xip", file, changed(func(t *mcuboot.Target) { t.Mode = mcuboot.DirectXIP }), verdict.EncryptionMode)
	want(t, "single slot: nothing is decrypted", file, changed(func(t *mcuboot.Target) { t.Mode = mcuboot.SingleSlot }), verdict.ImageDigestMismatch)

	// ram-load decrypts in either slot.
	ram := changed(func(t *mcuboot.Target) { t.Mode, t.Slot = mcuboot.RAMLoadMode, mcuboot.Primary })
	loaded := small(t, ram, s, func(o *mcuboot.Options) {
		o.LoadAddress, o.Encrypt = number(0x2000_0000), &mcuboot.Encrypt{To: device.Recipient()}
	})
	want(t, "ram-load", loaded, ram, "")
}

func TestRSA(t *testing.T) {
	for bits, kind := range map[int]mcuboot.SignatureType{2048: mcuboot.RSA2048, 3072: mcuboot.RSA3072} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		k, err := mcuboot.ParseKey(spki)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := mcuboot.ParseKey(k.DER()); err != nil || raw.String() != k.String() {
			t.Errorf("PKCS #1: %v, %v", raw, err)
		}
		target := mcuboot.Target{Signature: kind, Keys: []mcuboot.Key{k}}
		file := small(t, mcuboot.Target{Signature: mcuboot.HashOnly}, nil, nil)
		f, err := mcuboot.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		pss := func(salt int) []byte {
			s, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, f.Unprotected[0].Value, &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		tlv := mcuboot.TypeRSA2048
		if bits == 3072 {
			tlv = mcuboot.TypeRSA3072
		}
		with := func(value []byte) []byte {
			return edit(t, file, func(a []mcuboot.TLV) []mcuboot.TLV {
				return append(a, mcuboot.TLV{Type: mcuboot.TypeKeyHash, Value: k.Hash(crypto.SHA256)}, mcuboot.TLV{Type: tlv, Value: value})
			})
		}
		want(t, "salt of 32 bytes", with(pss(32)), target, "")
		want(t, "salt of 20 bytes", with(pss(20)), target, verdict.SignatureInvalid)
		want(t, "one byte short", with(pss(32)[1:]), target, verdict.TLVLength)
		if k.Verifies(mcuboot.ECDSAP256) || k.Verifies(mcuboot.HashOnly) || !k.Public().IsZero() {
			t.Error("an RSA key for something else")
		}
	}
}

func TestVerifyWithoutVerdict(t *testing.T) {
	s := throwaway(t, sign.ESP256)
	target := mcuboot.Target{Signature: mcuboot.ECDSAP256, Keys: []mcuboot.Key{mcuboot.NewKey(s.Public())}}
	file := small(t, target, s, nil)
	if _, _, err := mcuboot.Verify(t.Context(), file, mcuboot.Target{}); !errors.Is(err, mcuboot.ErrTarget) || verdict.Of(err) != "" {
		t.Errorf("no target: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if v, _, err := mcuboot.Verify(cancelled, file, target); !errors.Is(err, context.Canceled) || v != nil {
		t.Errorf("cancelled: %v", err)
	}
}
