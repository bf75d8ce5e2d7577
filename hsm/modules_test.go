//go:build cgo

package hsm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otapack/otapack/internal/p11fault"
	"github.com/otapack/otapack/sign"
)

// otherModule is a PKCS#11 module that is set up on this machine, with what is
// particular about it. TestModules runs the same over each.
type otherModule struct {
	name  string
	needs []string // commands, and libraries as find finds them
	// start makes a token without keys.
	start func(t *testing.T) (path string, token URI, pin string)
	signs int // how many signatures to make; the TPM takes 10 ms for each

	local     State  // what CKA_LOCAL of a generated key is
	mechanism string // what CKA_KEY_GEN_MECHANISM of a generated key is
	// locks is after how many wrong PINs in a row the token locks, 0 if never.
	locks int
	// sameSerial says that another of its tokens has the same serial number, so
	// that only the label names one.
	sameSerial bool
}

var otherModules = []otherModule{
	{
		name:      "SoftHSM",
		start:     startSoftHSM,
		local:     Yes,
		mechanism: "CKM_EC_KEY_PAIR_GEN",
		signs:     100,
	},
	{
		// The proxy gives every caller an instance of its own, and loads every
		// module that p11-kit knows, those without a token too.
		name:       "NSS through p11-kit-proxy",
		needs:      []string{"libsoftokn3.so", "p11-kit-proxy.so", "certutil"},
		start:      startNSS,
		local:      No, // for keys that it made itself
		sameSerial: true,
		signs:      100,
	},
	{
		// Only some mechanisms pass; those for signing are among them.
		name:      "p11-kit remote",
		needs:     []string{"pkcs11/p11-kit-client.so", "p11-kit"},
		start:     startRemote,
		local:     Yes,
		mechanism: "CKM_EC_KEY_PAIR_GEN",
		signs:     100,
	},
	{
		// The resource manager is needed: without it the second key of a process
		// finds no room in the TPM.
		name:      "tpm2-pkcs11",
		needs:     []string{"pkcs11/libtpm2_pkcs11.so", "libtss2-tcti-tabrmd.so.0", "libtss2-tcti-swtpm.so.0", "swtpm", "tpm2-abrmd", "dbus-daemon"},
		start:     startTPM,
		local:     Yes,
		mechanism: "CKM_EC_KEY_PAIR_GEN",
		locks:     3,
		signs:     10,
	},
}

// requireModules is set by "make modules": then a missing module is a failure.
const requireModules = "OTAPACK_REQUIRE_MODULES"

func TestModules(t *testing.T) {
	for _, m := range otherModules {
		t.Run(m.name, func(t *testing.T) {
			for _, need := range m.needs {
				if _, err := exec.LookPath(need); err != nil && find(need) == "" {
					notTested(t, need)
				}
			}
			m.run(t)
		})
	}
}

// notTested fails or skips a test of a module that is not here.
func notTested(t *testing.T, missing string) {
	t.Helper()
	if os.Getenv(requireModules) == "1" {
		t.Fatalf("there is no %s: \"scripts/deps modules\" installs what is missing", missing)
	}
	t.Skipf("NOT TESTED: there is no %s (\"make modules\" installs it)", missing)
}

// find returns the path of a library of this machine's architecture, "" where it
// is not installed.
func find(library string) string {
	found, err := filepath.Glob("/usr/lib/*-linux-gnu*/" + library)
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

func (m otherModule) run(t *testing.T) {
	path, uri, pin := m.start(t)
	open := func(plan string, pin PINSource) (*Token, error) {
		p11fault.Plan(t, path, plan)
		return Open(t.Context(), Options{Module: p11fault.Build(t), Token: uri, PIN: pin})
	}
	closing := func(token *Token) {
		t.Helper()
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}

	// A wrong PIN, once.
	asked := 0
	_, err := open("", func(context.Context, TokenInfo) (PIN, error) {
		asked++
		return NewPIN([]byte("not" + pin)), nil
	})
	if !errors.Is(err, ErrPINRejected) || asked != 1 || p11fault.Calls(t, "C_Login") != 1 {
		t.Fatalf("wrong PIN: asked %d times, %d logins, %v", asked, p11fault.Calls(t, "C_Login"), err)
	}
	_, err = open("", pinIs(""))
	if !errors.Is(err, ErrPINRequired) || p11fault.Calls(t, "C_Login") != 0 {
		t.Errorf("empty PIN: %v", err)
	}
	if _, err := Open(t.Context(), Options{Module: path, Token: URI{Token: "nope"}}); !errors.Is(err, ErrTokenNotFound) {
		t.Errorf("no such token: %v", err)
	}
	if _, err := Open(t.Context(), Options{Module: path, Token: URI{Token: uri.Token, Serial: "nope"}}); !errors.Is(err, ErrTokenNotFound) {
		t.Errorf("no such serial: %v", err)
	}

	// A token is named by its label, and by its serial number where it has one of
	// its own.
	token, err := Open(t.Context(), Options{Module: path, Token: uri, PIN: pinIs(pin)})
	if err != nil {
		t.Fatal(err)
	}
	if info := token.Info(); info.Label != uri.Token || !info.LoginRequired || info.Serial == "" || trim(info.Model) != info.Model {
		t.Errorf("got %+v", info)
	}
	again, err := Open(t.Context(), Options{Module: path, Token: URI{Serial: token.Info().Serial}})
	if m.sameSerial != errors.Is(err, ErrTokenAmbiguous) || !m.sameSerial && err != nil {
		t.Errorf("serial alone: %v", err)
	}
	if err == nil {
		closing(again)
	}

	// A key of each kind.
	var made []KeyInfo
	for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
		key, err := token.Generate(t.Context(), KeySpec{Label: a.String(), Algorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		if key.Local != m.local || key.Mechanism != m.mechanism || key.Sensitive != Yes || key.Extractable != No || key.Sign != Yes {
			t.Errorf("%s: %+v", a, key)
		}
		if _, err := token.Generate(t.Context(), KeySpec{Label: a.String(), Algorithm: a}); !errors.Is(err, ErrKeyExists) {
			t.Errorf("%s once more: %v", a, err)
		}
		made = append(made, key)
	}
	keys, err := token.Keys(t.Context())
	if err != nil || len(keys) != len(made) {
		t.Fatalf("got %v, %v", keys, err)
	}
	for i, key := range keys {
		if key.Private != Yes || !key.Public.Equal(made[i].Public) || key.URI.String() != made[i].URI.String() {
			t.Errorf("listed as %+v, made as %+v", key, made[i])
		}
	}
	p256, p384 := made[0], made[1]

	// Another key is pinned, or none has that name.
	for _, c := range []struct {
		name   string
		uri    URI
		pinned sign.PublicKey
		want   error
	}{
		{"another curve", p256.URI, p384.Public, sign.ErrKeyMismatch},
		{"another curve", p384.URI, p256.Public, sign.ErrKeyMismatch},
		{"another label", URI{Object: "nope"}, p256.Public, ErrKeyNotFound},
		{"another id", URI{Object: p256.Label, ID: p384.ID}, p256.Public, ErrKeyNotFound},
	} {
		if _, err := token.Signer(t.Context(), c.uri, c.pinned); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}

	// Sign, through a name, and without one.
	for _, key := range made {
		for _, uri := range []URI{key.URI, {Object: key.Label}, {ID: key.ID}, {}} {
			s, err := token.Signer(t.Context(), uri, key.Public)
			if err != nil {
				t.Fatalf("%s: %v", uri, err)
			}
			useSigner(t, s, key.Public)
		}
	}
	s, err := token.Signer(t.Context(), p256.URI, p256.Public)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.signs {
		if _, err := s.Sign(t.Context(), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	closing(token)
	if _, err := s.Sign(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("used after Close: %v", err)
	}

	// A lost session, at several places, costs a login and no signature.
	for _, plan := range []string{"C_SignInit@1=0xb3", "C_Sign@2=0x30", "C_SignInit@2=0x101", "C_Sign@1=0x32 C_Sign@3=0xb3"} {
		token, err := open(plan, pinIs(pin))
		if err != nil {
			t.Fatalf("%s: %v", plan, err)
		}
		s, err := token.Signer(t.Context(), p256.URI, p256.Public)
		if err != nil {
			t.Fatalf("%s: %v", plan, err)
		}
		for range 3 {
			useSigner(t, s, p256.Public)
		}
		if got, want := p11fault.Calls(t, "C_Login"), 2+strings.Count(plan, " "); got != want {
			t.Errorf("%s: %d logins, want %d", plan, got, want)
		}
		closing(token)
	}

	// Several at once.
	token, err = open("", pinIs(pin))
	if err != nil {
		t.Fatal(err)
	}
	s, err = token.Signer(t.Context(), p384.URI, p384.Public)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for w := range 4 {
		go func() {
			var err error
			for i := range max(m.signs/20, 2) {
				_, e := s.Sign(t.Context(), []byte{byte(w), byte(i)})
				err = errors.Join(err, e)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	closing(token)

	// A mechanism that is not there is named.
	token, err = open("without=0x1041", pinIs(pin))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = token.Signer(t.Context(), p256.URI, p256.Public); err == nil {
		_, err = s.Sign(t.Context(), nil)
	}
	if !errors.Is(err, ErrMechanism) || !strings.Contains(err.Error(), "CKM_ECDSA") {
		t.Errorf("without CKM_ECDSA: %v", err)
	}
	closing(token)
	token, err = open("without=0x1040", pinIs(pin))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Generate(t.Context(), KeySpec{Label: "new", Algorithm: sign.ESP256}); !errors.Is(err, ErrMechanism) || !strings.Contains(err.Error(), "CKM_EC_KEY_PAIR_GEN") {
		t.Errorf("without CKM_EC_KEY_PAIR_GEN: %v", err)
	}
	closing(token)

	// Wrong until it locks, and then not even tried where the token says so.
	if m.locks > 0 {
		for range m.locks {
			if _, err := open("", pinIs("not"+pin)); !errors.Is(err, ErrPINRejected) && !errors.Is(err, ErrPINLocked) {
				t.Errorf("wrong PIN: %v", err)
			}
		}
		if _, err := open("", pinIs(pin)); !errors.Is(err, ErrPINLocked) {
			t.Errorf("after %d wrong PINs: %v", m.locks, err)
		}
	}
}

func startSoftHSM(t *testing.T) (path string, token URI, pin string) {
	useSoftHSM(t)
	makeToken(t, "lab")
	return modulePath(t), URI{Token: "lab"}, userPIN
}

// startNSS makes a certificate store. NSS wants parameters when it is
// initialised, which p11-kit takes from a file: as root only from /etc, where it
// is for this program alone and does not stay.
func startNSS(t *testing.T) (path string, token URI, pin string) {
	const password = "Passw0rd1"
	dir := t.TempDir()
	store, pinFile := filepath.Join(dir, "nss"), filepath.Join(dir, "pin")
	if err := errors.Join(os.Mkdir(store, 0o700), os.WriteFile(pinFile, []byte(password), 0o600)); err != nil {
		t.Fatal(err)
	}
	command(t, "certutil", "-N", "-d", "sql:"+store, "-f", pinFile)
	modules := filepath.Join(dir, "pkcs11", "modules")
	t.Setenv("XDG_CONFIG_HOME", dir)
	if os.Getuid() == 0 {
		if os.Getenv(requireModules) != "1" {
			t.Skip("NOT TESTED: p11-kit has no configuration for root but /etc/pkcs11, which only \"make modules\" writes to")
		}
		modules = "/etc/pkcs11/modules"
	}
	removeNew(t, modules)
	text := fmt.Sprintf("module: %s\nx-init-reserved: configdir='sql:%s' certPrefix='' keyPrefix='' secmod='secmod.db' flags=\ncritical: no\nenable-in: %s\n",
		find("libsoftokn3.so"), store, filepath.Base(os.Args[0]))
	file := filepath.Join(modules, "otapack-test.module")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	})
	quietTPM(t)
	return find("p11-kit-proxy.so"), URI{Token: "NSS Certificate DB"}, password
}

// removeNew makes a folder, and removes what was not there before at the end.
func removeNew(t *testing.T, dir string) {
	t.Helper()
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range made {
			if err := os.Remove(d); err != nil {
				t.Error(err)
			}
		}
	})
}

// startRemote has SoftHSM in another process.
func startRemote(t *testing.T) (path string, token URI, pin string) {
	real, token, pin := startSoftHSM(t)
	dir, err := os.MkdirTemp("", "p11") // a socket's name has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	background(t, "p11-kit", "server", "--foreground", "-n", socket, "--provider", real, "pkcs11:token="+token.Token)
	waitFor(t, "the socket of p11-kit", func() bool { _, err := os.Stat(socket); return err == nil })
	t.Setenv("P11_KIT_SERVER_ADDRESS", "unix:path="+socket)
	return find("pkcs11/p11-kit-client.so"), token, pin
}

// startTPM runs a software TPM and its resource manager on a bus of their own.
func startTPM(t *testing.T) (path string, token URI, pin string) {
	dir := t.TempDir()
	state, store := filepath.Join(dir, "state"), filepath.Join(dir, "store")
	if err := errors.Join(os.Mkdir(state, 0o700), os.Mkdir(store, 0o700)); err != nil {
		t.Fatal(err)
	}
	quietTPM(t)
	port := twoPorts(t)
	background(t, "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--flags", "not-need-init,startup-clear",
		"--server", fmt.Sprintf("type=tcp,port=%d,bindaddr=127.0.0.1", port), "--ctrl", fmt.Sprintf("type=tcp,port=%d,bindaddr=127.0.0.1", port+1))
	bus := background(t, "dbus-daemon", "--session", "--nofork", "--print-address=1")
	address, err := bufio.NewReader(bus).ReadString('\n')
	if err != nil {
		t.Fatalf("dbus-daemon: %v", err)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", strings.TrimSpace(address))
	background(t, "tpm2-abrmd", "--session", "--allow-root", fmt.Sprintf("--tcti=swtpm:host=127.0.0.1,port=%d", port))
	t.Setenv("TPM2_PKCS11_TCTI", "tabrmd:bus_type=session")
	t.Setenv("TPM2_PKCS11_STORE", store)
	path = find("pkcs11/libtpm2_pkcs11.so")
	waitFor(t, "the TPM", func() bool {
		err = InitToken(t.Context(), path, "lab", NewPIN([]byte(soPIN)), NewPIN([]byte(userPIN)))
		return err == nil
	})
	return path, URI{Token: "lab"}, userPIN
}

// quietTPM keeps the TPM's libraries from writing to our standard error.
func quietTPM(t *testing.T) {
	t.Helper()
	t.Setenv("TPM2_PKCS11_LOG_LEVEL", "0")
	t.Setenv("TSS2_LOG", "all+NONE")
}

// twoPorts returns the first of two neighbouring ports that are free.
func twoPorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		_ = first.Close()
		if err == nil {
			_ = second.Close()
			return port
		}
	}
	t.Fatal("no two free ports")
	return 0
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// background starts a program that ends with the test, and returns what it
// prints.
func background(t *testing.T, name string, args ...string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout = w
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to stop: how it does so is its affair
		_ = r.Close()
	})
	return r
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for range 200 {
		if ready() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s did not come up", what)
}
