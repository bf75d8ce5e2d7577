//go:build cgo

package hsm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/pkcs11"
)

func TestSlots(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "one")
	makeToken(t, "two")
	info, slots, err := Slots(t.Context(), modulePath(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Path != modulePath(t) || info.Manufacturer != "SoftHSM" || info.Cryptoki == "" {
		t.Errorf("module %+v", info)
	}
	labels := map[string]bool{}
	for _, s := range slots {
		if s.Err != nil || s.Description == "" || s.Initialized != (s.Token.Label != "") || s.PINInitialized != s.Initialized {
			t.Errorf("slot %+v", s)
		}
		if s.Matches(URI{Token: "one"}) != (s.Token.Label == "one") || s.Matches(URI{}) != s.Initialized {
			t.Errorf("slot %+v matches what it should not, or not what it should", s)
		}
		labels[s.Token.Label] = true
	}
	if len(slots) != 3 || !labels["one"] || !labels["two"] || !labels[""] { // SoftHSM always offers one to be initialised
		t.Errorf("slots of %v", labels)
	}
	if len(modules.open) != 0 {
		t.Errorf("%d modules stay loaded", len(modules.open))
	}
}

// How far Slots came is in its error.
func TestSlotsErrors(t *testing.T) {
	tokens := useSoftHSM(t)
	if _, _, err := Slots(t.Context(), filepath.Join(tokens, "none.so")); !errors.Is(err, ErrModule) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Slots(canceled, modulePath(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := os.Remove(tokens); err != nil {
		t.Fatal(err)
	}
	_, slots, err := Slots(t.Context(), modulePath(t))
	failed, ok := errors.AsType[CallError](err)
	if !ok || failed.Function != "C_Initialize" || slots != nil {
		t.Errorf("no token folder: %v, %v", slots, err)
	}
}

func TestMechanisms(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	mechanisms, err := token.Mechanisms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range mechanisms {
		if m.Code == pkcs11.CKM_ECDSA {
			found = m.Name() == "CKM_ECDSA" && m.MinKeySize > 0 && m.MinKeySize <= 256 && m.MaxKeySize >= 384
		}
	}
	if !found {
		t.Errorf("no CKM_ECDSA for 256 and 384 bits among %d mechanisms", len(mechanisms))
	}
}

func TestOpenSessions(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	for _, want := range []int{1, 6} {
		token, err := Open(t.Context(), Options{Module: modulePath(t), Token: URI{Token: "lab"}, PIN: pinIs(userPIN), Sessions: want})
		if err != nil {
			t.Fatal(err)
		}
		opened, wanted, err := token.OpenSessions(t.Context())
		if opened != want || wanted != want || err != nil {
			t.Errorf("%d of %d sessions, want %d: %v", opened, wanted, want, err)
		}
		if token.conn.open != 1 {
			t.Errorf("%d sessions stay open", token.conn.open)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTrySign(t *testing.T) {
	useSoftHSM(t)
	makeToken(t, "lab")
	token := open(t, "lab")
	key := generate(t, token, "key")
	signer, err := token.Signer(t.Context(), key.URI, key.Public)
	if err != nil {
		t.Fatal(err)
	}
	if err := TrySign(t.Context(), signer); err != nil {
		t.Error(err)
	}
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	if err := TrySign(t.Context(), signer); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// CheckModule says of which kind a useless file is.
func TestCheckModuleKinds(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		text:                             ErrNotELF,
		loadedLibrary(t, "libc.so.6"):    ErrNoEntry,
		filepath.Join(text, "none.so"):   ErrModule,
		filepath.Join(t.TempDir(), "no"): os.ErrNotExist,
	} {
		if err := CheckModule(path); !errors.Is(err, want) || !errors.Is(err, ErrModule) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
