package hsm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
)

func TestCallError(t *testing.T) {
	for _, c := range []struct {
		err  CallError
		want string
	}{
		{CallError{"C_Sign", pkcs11.CKR_DEVICE_REMOVED}, "C_Sign: CKR_DEVICE_REMOVED"},
		{CallError{"C_Login", 0xa0}, "C_Login: CKR_PIN_INCORRECT"},
		{CallError{"C_Sign", 0x80000001}, "C_Sign: CKR 0x80000001"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		var call CallError
		if !errors.As(fmt.Errorf("x: %w", c.err), &call) || call != c.err {
			t.Errorf("%v is lost when wrapped", c.err)
		}
	}
	for code, name := range codeNames {
		if !strings.HasPrefix(name, "CKR_") || code == pkcs11.CKR_OK {
			t.Errorf("0x%X is called %q", code, name)
		}
	}
}

func TestStaleIsNeverAboutThePIN(t *testing.T) {
	for code := range codeNames {
		err := fmt.Errorf("x: %w", CallError{"C_Login", code})
		if strings.Contains(codeNames[code], "PIN") && Stale(err) {
			t.Errorf("%v would be tried again", err)
		}
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("CKR_SESSION_CLOSED"), false},
		{CallError{"C_Sign", pkcs11.CKR_SESSION_HANDLE_INVALID}, true},
		{CallError{"C_Sign", pkcs11.CKR_GENERAL_ERROR}, false},
	} {
		if got := Stale(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
