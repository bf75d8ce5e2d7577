//go:build cgo

package hsm

import (
	"errors"
	"testing"
)

func TestCheckUnused(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	key := generate(t, token, "taken")
	free := KeySpec{Label: "free", ID: []byte{1, 2, 3}}
	for name, test := range map[string]struct {
		specs []KeySpec
		want  error
	}{
		"none":           {nil, nil},
		"free":           {[]KeySpec{free, {Label: "free too"}}, nil}, // no id matches no key
		"label":          {[]KeySpec{free, {Label: "taken"}}, ErrKeyExists},
		"id":             {[]KeySpec{free, {Label: "other", ID: key.ID}}, ErrKeyExists},
		"label and id":   {[]KeySpec{{Label: "taken", ID: key.ID}}, ErrKeyExists},
		"start of an id": {[]KeySpec{{Label: "other", ID: key.ID[:4]}}, nil},
	} {
		if err := token.CheckUnused(t.Context(), test.specs...); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	public, err := openWith(t, "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer public.Close()
	if err := public.CheckUnused(t.Context(), free); !errors.Is(err, ErrPINRequired) {
		t.Errorf("without a login: %v, want ErrPINRequired", err)
	}
}
