//go:build cgo

package hsm

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// load_module loads a PKCS#11 module and asks for its functions. It returns the
// answer of C_GetFunctionList, or all ones with what the loader says in *why, to
// be freed. *module is to be closed, if not null.
static unsigned long load_module(const char *path, void **module, char **why)
{
	unsigned long (*get)(void **), rv;
	void *functions = NULL;
	*module = dlopen(path, RTLD_LAZY);
	if (*module == NULL || (*(void **)&get = dlsym(*module, "C_GetFunctionList")) == NULL) {
		const char *text = dlerror();
		*why = strdup(text ? text : "the loader gives no reason");
		return ~0UL;
	}
	rv = get(&functions);
	return rv == 0 && functions == NULL ? 5 : rv; // CKR_GENERAL_ERROR
}
*/
import "C"

import (
	"errors"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// newContext loads a module, or says why it cannot be loaded in the loader's own
// words: most often a library that it needs is missing. miekg/pkcs11 v1.1.2
// keeps that to itself, and calls through a null pointer when C_GetFunctionList
// fails.
func newContext(path string) (*pkcs11.Ctx, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var module unsafe.Pointer
	var why *C.char
	rv := C.load_module(name, &module, &why)
	if module != nil {
		defer C.dlclose(module) // when miekg/pkcs11 holds it: loading twice takes twice the time
	}
	if why != nil {
		defer C.free(unsafe.Pointer(why))
		return nil, errors.New(C.GoString(why))
	}
	if rv != 0 {
		return nil, call("C_GetFunctionList", pkcs11.Error(rv))
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, errors.New("it loads once and not twice")
	}
	return ctx, nil
}
