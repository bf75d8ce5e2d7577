package hsm

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	slot := uint(7)
	for _, c := range []struct {
		in, canonical string
		want          URI
	}{
		{"pkcs11:", "pkcs11:", URI{}},
		{"PKCS11:token=lab", "pkcs11:token=lab", URI{Token: "lab"}},
		{"pkcs11:?", "pkcs11:", URI{}},
		{"pkcs11:token=a+b", "pkcs11:token=a%2Bb", URI{Token: "a+b"}},
		{"pkcs11:token=a%20b=c&d", "pkcs11:token=a%20b%3Dc%26d", URI{Token: "a b=c&d"}},
		{"pkcs11:object=r%C3%A4dio;token=x", "pkcs11:token=x;object=r%C3%A4dio", URI{Token: "x", Object: "rädio"}},
		{"pkcs11:id=%00%ffA", "pkcs11:id=%00%FF%41", URI{ID: []byte{0, 0xff, 'A'}}},
		{"pkcs11:id=0102", "pkcs11:id=%30%31%30%32", URI{ID: []byte("0102")}},
		{
			// as p11tool --list-privkeys prints it
			"pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=39fda8bd9c7b5e2f;token=lab;id=%01%02;object=radio;type=private",
			"pkcs11:token=lab;serial=39fda8bd9c7b5e2f;model=SoftHSM%20v2;manufacturer=SoftHSM%20project;object=radio;id=%01%02;type=private",
			URI{Token: "lab", Serial: "39fda8bd9c7b5e2f", Model: "SoftHSM v2", Manufacturer: "SoftHSM project", Object: "radio", ID: []byte{1, 2}, Type: "private"},
		},
		{"pkcs11:slot-id=007", "pkcs11:slot-id=7", URI{SlotID: &slot}},
		{
			"pkcs11:token=x?module-path=/usr/lib/a%20b.so&module-name=soft&pin-source=file:///run/pin?",
			"pkcs11:token=x?module-path=/usr/lib/a%20b.so&module-name=soft&pin-source=file:/run/pin%3F",
			URI{Token: "x", ModulePath: "/usr/lib/a b.so", ModuleName: "soft", PINSource: "/run/pin?"},
		},
		{"pkcs11:?pin-source=/run/pin", "pkcs11:?pin-source=file:/run/pin", URI{PINSource: "/run/pin"}},
		{"pkcs11:?pin-source=file%3A/run/pin", "pkcs11:?pin-source=file:/run/pin", URI{PINSource: "/run/pin"}},
	} {
		got, err := ParseURI(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.in, got, c.want)
		}
		if got.String() != c.canonical {
			t.Errorf("%s: prints as %s, want %s", c.in, got, c.canonical)
		}
	}
}

func TestParseURIErrors(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct{ in, says string }{
		{"", "must begin"},
		{"pkcs11", "must begin"},
		{"token=" + secret, "must begin"},
		{"file:/" + secret, "must begin"},
		{"pkcs11:" + strings.Repeat("a", 5000), "longer than 4096"},
		{"pkcs11:token=a;token=b", `"token" is given twice`},
		{"pkcs11:?pin-source=/a&pin-source=/b", `"pin-source" is given twice`},
		{"pkcs11:token=a;", `attribute 2 `},
		{"pkcs11:token=a;" + secret, `attribute 2 `},
		{"pkcs11:token=a?" + secret, `attribute 1 `},
		{"pkcs11:x-vendor=" + secret, `"x-vendor" is not known`},
		{"pkcs11:Token=" + secret, `"Token" is not known`},
		{"pkcs11:library-version=1", "is not known"},
		{"pkcs11:module-path=/lib/x.so", `"module-path" is not known`},
		{"pkcs11:token=a?object=b", `"object" is not known`},
		{"pkcs11:token=", `"token" is empty`},
		{"pkcs11:token=a b", `"token": byte 1`},
		{"pkcs11:token=a/b", `"token": byte 1`},
		{"pkcs11:token=ü", `"token": byte 0`},
		{"pkcs11:token=a#b", `"token": byte 1`},
		{"pkcs11:token=a%2", `"token": incomplete`},
		{"pkcs11:token=%zz" + secret, `"token": wrong percent-encoding at byte 0`},
		{"pkcs11:type=key", `"type": not one of`},
		{"pkcs11:slot-id=first", `"slot-id": not a number`},
		{"pkcs11:slot-id=-1", `"slot-id": not a number`},
		{"pkcs11:slot-id=4294967296", `"slot-id": not a number`},
		{"pkcs11:?module-path=softhsm.so", `"module-path": not an absolute path`},
		{"pkcs11:?pin-source=|cat%20" + secret, `"pin-source": a command is never run`},
		{"pkcs11:?pin-source=%7Ccat", `"pin-source": a command is never run`},
		{"pkcs11:?pin-source=file:|cat", `"pin-source": not "file:" and an absolute path`},
		{"pkcs11:?pin-source=file:pin", `"pin-source": not "file:"`},
		{"pkcs11:?pin-source=file://host/pin", `"pin-source": not "file:"`},
		{"pkcs11:?pin-source=https://host/pin", `"pin-source": not "file:"`},
		{"pkcs11:?pin-source=/a%00b", `"pin-source": not "file:"`},
		{"pkcs11:?pin-value=" + secret, "pin-value is not accepted"},
		{"pkcs11:pin-value=" + secret, "pin-value is not accepted"},
		{"pkcs11:?pin-source=/a&pin-value=" + secret, "pin-value is not accepted"},
	} {
		u, err := ParseURI(c.in)
		switch {
		case err == nil:
			t.Errorf("%s: accepted as %s", c.in, u)
		case !errors.Is(err, ErrURI) || !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v, want %q", c.in, err, c.says)
		case strings.Contains(err.Error(), secret):
			t.Errorf("%s: the error shows the secret: %v", c.in, err)
		case !reflect.DeepEqual(u, URI{}):
			t.Errorf("%s: a value beside the error", c.in)
		}
		if got, want := errors.Is(err, ErrPINValue), strings.Contains(c.in, "pin-value"); got != want {
			t.Errorf("%s: ErrPINValue is %v", c.in, got)
		}
	}
}

func TestURIMatches(t *testing.T) {
	info := TokenInfo{Label: "lab", Serial: "42", Model: "v2", Manufacturer: "acme"}
	for _, c := range []struct {
		uri  string
		want bool
	}{
		{"pkcs11:", true},
		{"pkcs11:token=lab", true},
		{"pkcs11:token=lab;serial=42;model=v2;manufacturer=acme;object=any", true},
		{"pkcs11:token=LAB", false},
		{"pkcs11:token=la", false},
		{"pkcs11:token=lab;serial=43", false},
		{"pkcs11:token=lab;model=v3", false},
		{"pkcs11:token=lab;manufacturer=other", false},
	} {
		u, err := ParseURI(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.matches(info); got != c.want {
			t.Errorf("%s: %v", c.uri, got)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{
		"pkcs11:",
		"pkcs11:token=lab;serial=1;model=m;manufacturer=n;object=o;id=%01;type=private;slot-id=3",
		"PKCS11:token=a+b?module-path=/l.so&module-name=n&pin-source=file:///p",
		"pkcs11:?pin-source=|cat",
		"pkcs11:?pin-source=file:/p%00",
		"pkcs11:?pin-value=1234",
		"pkcs11:id=%",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			if !errors.Is(err, ErrURI) {
				t.Fatalf("not an ErrURI: %v", err)
			}
			return
		}
		again, err := ParseURI(u.String())
		if err != nil && len(u.String()) > maxURILength {
			return // the canonical form encodes more, and is three times as long at most
		}
		if err != nil || !reflect.DeepEqual(u, again) {
			t.Fatalf("%q parses as %+v, prints as %q, which parses as %+v, %v", s, u, u.String(), again, err)
		}
		if u.String() != again.String() {
			t.Fatalf("%q is not canonical", u.String())
		}
	})
}
