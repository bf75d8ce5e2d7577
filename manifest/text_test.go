package manifest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// The text forms, as they stand in JSON.
func TestTextForms(t *testing.T) {
	type facts struct {
		Digest  Digest
		UUID    UUID
		Version Version
		None    Version
	}
	want := facts{Digest{0xab, 1}, VendorID("acme.example"), Version{1, 2, -1, 3}, nil}
	const text = `{"Digest":"ab01000000000000000000000000000000000000000000000000000000000000","UUID":"0637e301-e05d-505b-8267-486f5677de9b","Version":"1.2-rc.3","None":""}`
	if got, err := json.Marshal(want); err != nil || string(got) != text {
		t.Errorf("got  %s, %v\nwant %s", got, err, text)
	}
	for _, s := range []string{text, strings.NewReplacer("ab01", "AB01", "e01d", "E01D").Replace(text)} {
		var got facts
		if err := json.Unmarshal([]byte(s), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
	}
}

func TestUnmarshalTextErrors(t *testing.T) {
	before := VendorID("acme.example")
	digest, id, version := Digest{1}, before, Version{1}
	for _, s := range []string{"", "ab", strings.Repeat("0", 62), strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("0", 66), strings.Repeat("g", 64), "0x" + strings.Repeat("0", 64)} {
		if err := digest.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("digest %q", s)
		}
	}
	for _, s := range []string{
		"", "0637e301", "0637e301e05d505b8267486f5677de9b", "0637e301-e05d-505b-8267-486f5677de9", "0637e301-e05d-505b-8267-486f5677de9b0",
		"0637e301e-05d-505b-8267-486f5677de9b", "{0637e301-e05d-505b-8267-486f5677de9b}", "0637e301-e05d-505b-8267-486f5677de9g",
		"0637e301-e05d-505b-8267--486f5677de9b", " 0637e301-e05d-505b-8267-486f5677de9b",
	} {
		if err := id.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("UUID %q", s)
		}
	}
	if err := version.UnmarshalText([]byte("1.x")); err == nil {
		t.Error("version 1.x")
	}
	if digest != (Digest{1}) || id != before || version.Compare(Version{1}) != 0 {
		t.Error("a refused text changes the value")
	}
}

func TestTemplate(t *testing.T) {
	slot := uint32(0)
	slotted, both := plainManifest(), encryptedManifest()
	slotted.Slot, both.Slot = &slot, &slot
	for want, manifests := range map[string][]Manifest{"T1": {plainManifest()}, "T2b": {slotted}, "T3": {encryptedManifest(), both}, "T4": {decodedManifest(), bothManifest()}} {
		for _, m := range manifests {
			if got := m.Template(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			e, err := Parse(build(t, m, Options{}, alpha(t)))
			if err != nil {
				t.Fatal(err)
			}
			if content, _, err := m.encode(false); err != nil || e.ManifestSize() != len(content) {
				t.Errorf("%s: manifest of %d bytes, want %d, %v", want, e.ManifestSize(), len(content), err)
			}
		}
	}
}
