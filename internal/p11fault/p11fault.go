// Package p11fault puts a PKCS#11 module with faults around a real one, for
// tests. Errors of a token that do not happen on a desk (a removed device, a
// session that timed out, a locked PIN, a slow network) then happen on the
// n-th call of a function, and calls are counted, so that a test can show that
// the fault struck and how many logins it cost.
//
// A plan is words with blanks between them:
//
//	C_Sign@3=0x30       the third call of C_Sign returns CKR_DEVICE_ERROR
//	C_Sign@3+=0x30      so do all later ones
//	*@40+=0x30          every call from the fortieth on, of any function but C_Finalize
//	latency=2000        every call takes 2000 microseconds longer
//	C_Sign~2000         only C_Sign does
//	damage@3            the third call of C_Sign returns a signature with a flipped bit
//	interrupt@1         the first call of C_Sign has SIGINT sent to the process
//	flags+0x100         the token has CKF_PROTECTED_AUTHENTICATION_PATH
//	flags-0x4           it does not have CKF_LOGIN_REQUIRED
//	maxsessions=1       it says that it allows one session
//	sessions=2          it opens no third session (CKR_SESSION_COUNT)
//	without=0x1041      it lacks CKM_ECDSA (CKR_MECHANISM_INVALID)
//	padpin=1234         a login without a PIN is made with this one, as on a PIN pad
//
// A process of its own is controlled by its environment: P11FAULT_REAL is the
// path of the real module, P11FAULT the plan, P11FAULT_LOG a file that gets a
// line for each call, P11FAULT_ENVIRON one that gets the arguments and the
// environment of the process at each C_Sign. Inside a test, Plan does the same and starts the counts anew.
package p11fault

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

//go:embed testdata/p11fault.c
var source []byte

var (
	build  sync.Once
	module string
	broken error
	output []byte
)

// Build compiles the module, once per process, and returns its path. The caller
// removes the folder that it is in with Remove when all tests are done.
func Build(tb testing.TB) string {
	tb.Helper()
	build.Do(func() {
		dir, err := os.MkdirTemp("", "p11fault")
		if err != nil {
			broken = err
			return
		}
		module = filepath.Join(dir, "p11fault.so")
		c := filepath.Join(dir, "p11fault.c")
		if broken = os.WriteFile(c, source, 0o600); broken == nil {
			output, broken = exec.Command("gcc", "-shared", "-fPIC", "-O2", "-o", module, c, "-ldl", "-lpthread").CombinedOutput()
		}
	})
	if broken != nil {
		tb.Fatalf("p11fault: %v\n%s", broken, output)
	}
	return module
}

// Remove removes what Build made.
func Remove() {
	if module != "" {
		_ = os.RemoveAll(filepath.Dir(module)) // temporary: nothing depends on it
	}
}
