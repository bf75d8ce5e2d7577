//go:build cgo

package hsm

/*
// What is needed of CK_FUNCTION_LIST (PKCS#11 v2.40, section 3.6): a version,
// then the functions in an order of their own, of which C_Sign is number 43.
struct function_list {
	unsigned char version[2];
	void (*functions[44])(void);
};

// How miekg/pkcs11 v1.1.2 keeps a loaded module: "struct ctx" of its pkcs11.go.
struct miekg_ctx {
	void *library;
	struct function_list *list;
};

static unsigned long call_sign(struct miekg_ctx *ctx, unsigned long session, unsigned char *digest,
	unsigned long digest_length, unsigned char *signature, unsigned long *length)
{
	return ((unsigned long (*)(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *))
		ctx->list->functions[43])(session, digest, digest_length, signature, length);
}
*/
import "C"

import (
	"reflect"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// maxSignature holds the raw signature of any key that package sign supports,
// and of the larger curves that a token may have, in bytes.
const maxSignature = 2 * 66

// cSign calls C_Sign once. miekg/pkcs11 calls it twice, to learn the length of
// the signature first: with a token on the network that is a third of the time
// of a signature.
func cSign(p *pkcs11.Ctx, session pkcs11.SessionHandle, digest []byte) ([]byte, error) {
	ctx := miekgContext(p)
	if ctx == nil || len(digest) == 0 {
		raw, err := p.Sign(session, digest)
		return raw, call("C_Sign", err)
	}
	signature := make([]byte, maxSignature)
	length := C.ulong(len(signature))
	rv := C.call_sign(ctx, C.ulong(session), (*C.uchar)(unsafe.SliceData(digest)), C.ulong(len(digest)),
		(*C.uchar)(unsafe.SliceData(signature)), &length)
	if rv != 0 {
		return nil, CallError{"C_Sign", uint(rv)}
	}
	return signature[:min(int(length), len(signature))], nil
}

// miekgContext returns the functions that p calls. It must be these: p11-kit
// gives everybody who asks for a function list sessions of his own. Where the
// library keeps them otherwise, it returns nil.
func miekgContext(p *pkcs11.Ctx) *C.struct_miekg_ctx {
	field := reflect.ValueOf(p).Elem().FieldByName("ctx")
	if field.Kind() != reflect.Pointer {
		return nil
	}
	return (*C.struct_miekg_ctx)(field.UnsafePointer())
}
