package hsm

import (
	"encoding/json"
	"testing"
)

func TestStateKeepsAbsentApart(t *testing.T) {
	for _, c := range []struct {
		value []byte
		want  string
	}{
		{nil, `"unknown"`},
		{[]byte{}, `"unknown"`},
		{[]byte{0}, `"no"`},
		{[]byte{1}, `"yes"`},
		{[]byte{0, 0}, `"unknown"`},
	} {
		if got, err := json.Marshal(stateOf(c.value)); err != nil || string(got) != c.want {
			t.Errorf("%x: %s, %v, want %s", c.value, got, err, c.want)
		}
	}
}

func TestListIsBounded(t *testing.T) {
	uris := []URI{{Object: "a"}, {Object: "b, c"}}
	if got, want := list(uris, 14), "pkcs11:object=a, pkcs11:object=b%2C%20c and 12 more"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
