//go:build cgo

package p11fault

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

static int call_plan(void *f, const char *real, const char *plan) { return ((int (*)(const char *, const char *))f)(real, plan); }
static long call_calls(void *f, const char *name) { return ((long (*)(const char *))f)(name); }
*/
import "C"

import (
	"testing"
	"unsafe"
)

// Plan makes the module in this process follow a plan around the real module,
// and forgets counts and the former plan. A change of the real module has an
// effect once the module is loaded again.
func Plan(tb testing.TB, real, plan string) {
	tb.Helper()
	f := symbol(tb, "p11fault_plan")
	r, p := C.CString(real), C.CString(plan)
	defer C.free(unsafe.Pointer(r))
	defer C.free(unsafe.Pointer(p))
	if C.call_plan(f, r, p) == 0 {
		tb.Fatalf("p11fault: %q is not a plan", plan)
	}
}

// Calls returns how often a function, such as "C_Login", was called since Plan;
// "*" is for all calls.
func Calls(tb testing.TB, function string) int {
	tb.Helper()
	name := C.CString(function)
	defer C.free(unsafe.Pointer(name))
	n := int(C.call_calls(symbol(tb, "p11fault_calls"), name))
	if n < 0 {
		tb.Fatalf("p11fault: PKCS#11 has no %s", function)
	}
	return n
}

// symbol finds a function of the module, which stays loaded from then on.
func symbol(tb testing.TB, name string) unsafe.Pointer {
	tb.Helper()
	path, symbol := C.CString(Build(tb)), C.CString(name)
	defer C.free(unsafe.Pointer(path))
	defer C.free(unsafe.Pointer(symbol))
	library := C.dlopen(path, C.RTLD_NOW)
	if library == nil {
		tb.Fatalf("p11fault: %s", C.GoString(C.dlerror()))
	}
	f := C.dlsym(library, symbol)
	if f == nil {
		tb.Fatalf("p11fault: %s", C.GoString(C.dlerror()))
	}
	return f
}
