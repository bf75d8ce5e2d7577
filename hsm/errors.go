package hsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// Errors of this package, to be tested with errors.Is.
var (
	ErrNoCgo = errors.New("this build has no PKCS#11 support (built with CGO_ENABLED=0)")

	// A URI or a module file that cannot be used.
	ErrURI      = errors.New("invalid PKCS#11 URI")
	ErrPINValue = errors.New("pin-value is not accepted") // also wraps ErrURI
	ErrModule   = errors.New("unusable PKCS#11 module")

	// Selection: none or more than one where exactly one is needed.
	ErrTokenNotFound  = errors.New("token not found")
	ErrTokenAmbiguous = errors.New("more than one token matches")
	ErrTokenExists    = errors.New("token exists already")
	ErrTokenLabel     = errors.New("unusable token label")
	ErrKeyNotFound    = errors.New("key not found")
	ErrKeyAmbiguous   = errors.New("more than one key matches")
	ErrKeyExists      = errors.New("key exists already")

	// The PIN. A caller must not retry on any of these.
	ErrPINRequired = errors.New("PIN required")
	ErrPINRejected = errors.New("PIN rejected")
	ErrPINUnset    = errors.New("the user PIN has expired or was never set")
	ErrPINLocked   = errors.New("PIN is locked")
	ErrPINFinalTry = errors.New("one more wrong PIN would lock the token")
	ErrPINPad      = errors.New("no login through the token's PIN pad")
	ErrPINFile     = errors.New("unusable PIN file")

	// An unusable request for a key, and a key that is not as it has to be. If
	// it has just been generated, it has been deleted again.
	ErrKeySpec  = errors.New("unusable key specification")
	ErrKeyUnfit = errors.New("unfit key")

	// What the token cannot do, named by its mechanism.
	ErrMechanism = errors.New("the token lacks a mechanism")
	// All sessions are taken, by other programs.
	ErrSessions = errors.New("the token has no free session")

	// The session was lost and could not be used after one reopening either.
	// Trying again later may help.
	ErrUnavailable = errors.New("HSM unavailable")
	ErrClosed      = errors.New("token is closed")
)

// CallError is a return value other than CKR_OK of a PKCS#11 function.
type CallError struct {
	Function string // "C_Sign"
	Code     uint   // CK_RV
}

// Error formats as "C_Sign: CKR_DEVICE_REMOVED".
func (e CallError) Error() string {
	name, ok := codeNames[e.Code]
	if !ok {
		name = fmt.Sprintf("CKR 0x%08X", e.Code)
	}
	return e.Function + ": " + name
}

// codeNames holds the return values that the functions called here can give
// (PKCS#11 v2.40, section 5.1); others print as a number.
var codeNames = map[uint]string{
	pkcs11.CKR_CANCEL:                         "CKR_CANCEL",
	pkcs11.CKR_HOST_MEMORY:                    "CKR_HOST_MEMORY",
	pkcs11.CKR_SLOT_ID_INVALID:                "CKR_SLOT_ID_INVALID",
	pkcs11.CKR_GENERAL_ERROR:                  "CKR_GENERAL_ERROR",
	pkcs11.CKR_FUNCTION_FAILED:                "CKR_FUNCTION_FAILED",
	pkcs11.CKR_ARGUMENTS_BAD:                  "CKR_ARGUMENTS_BAD",
	pkcs11.CKR_NEED_TO_CREATE_THREADS:         "CKR_NEED_TO_CREATE_THREADS",
	pkcs11.CKR_CANT_LOCK:                      "CKR_CANT_LOCK",
	pkcs11.CKR_ATTRIBUTE_READ_ONLY:            "CKR_ATTRIBUTE_READ_ONLY",
	pkcs11.CKR_ATTRIBUTE_SENSITIVE:            "CKR_ATTRIBUTE_SENSITIVE",
	pkcs11.CKR_ATTRIBUTE_TYPE_INVALID:         "CKR_ATTRIBUTE_TYPE_INVALID",
	pkcs11.CKR_ATTRIBUTE_VALUE_INVALID:        "CKR_ATTRIBUTE_VALUE_INVALID",
	pkcs11.CKR_ACTION_PROHIBITED:              "CKR_ACTION_PROHIBITED",
	pkcs11.CKR_DATA_INVALID:                   "CKR_DATA_INVALID",
	pkcs11.CKR_DATA_LEN_RANGE:                 "CKR_DATA_LEN_RANGE",
	pkcs11.CKR_DEVICE_ERROR:                   "CKR_DEVICE_ERROR",
	pkcs11.CKR_DEVICE_MEMORY:                  "CKR_DEVICE_MEMORY",
	pkcs11.CKR_DEVICE_REMOVED:                 "CKR_DEVICE_REMOVED",
	pkcs11.CKR_FUNCTION_CANCELED:              "CKR_FUNCTION_CANCELED",
	pkcs11.CKR_FUNCTION_NOT_SUPPORTED:         "CKR_FUNCTION_NOT_SUPPORTED",
	pkcs11.CKR_KEY_HANDLE_INVALID:             "CKR_KEY_HANDLE_INVALID",
	pkcs11.CKR_KEY_SIZE_RANGE:                 "CKR_KEY_SIZE_RANGE",
	pkcs11.CKR_KEY_TYPE_INCONSISTENT:          "CKR_KEY_TYPE_INCONSISTENT",
	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED:     "CKR_KEY_FUNCTION_NOT_PERMITTED",
	pkcs11.CKR_MECHANISM_INVALID:              "CKR_MECHANISM_INVALID",
	pkcs11.CKR_MECHANISM_PARAM_INVALID:        "CKR_MECHANISM_PARAM_INVALID",
	pkcs11.CKR_OBJECT_HANDLE_INVALID:          "CKR_OBJECT_HANDLE_INVALID",
	pkcs11.CKR_OPERATION_ACTIVE:               "CKR_OPERATION_ACTIVE",
	pkcs11.CKR_OPERATION_NOT_INITIALIZED:      "CKR_OPERATION_NOT_INITIALIZED",
	pkcs11.CKR_PIN_INCORRECT:                  "CKR_PIN_INCORRECT",
	pkcs11.CKR_PIN_INVALID:                    "CKR_PIN_INVALID",
	pkcs11.CKR_PIN_LEN_RANGE:                  "CKR_PIN_LEN_RANGE",
	pkcs11.CKR_PIN_EXPIRED:                    "CKR_PIN_EXPIRED",
	pkcs11.CKR_PIN_LOCKED:                     "CKR_PIN_LOCKED",
	pkcs11.CKR_SESSION_CLOSED:                 "CKR_SESSION_CLOSED",
	pkcs11.CKR_SESSION_COUNT:                  "CKR_SESSION_COUNT",
	pkcs11.CKR_SESSION_HANDLE_INVALID:         "CKR_SESSION_HANDLE_INVALID",
	pkcs11.CKR_SESSION_PARALLEL_NOT_SUPPORTED: "CKR_SESSION_PARALLEL_NOT_SUPPORTED",
	pkcs11.CKR_SESSION_READ_ONLY:              "CKR_SESSION_READ_ONLY",
	pkcs11.CKR_SESSION_EXISTS:                 "CKR_SESSION_EXISTS",
	pkcs11.CKR_SESSION_READ_ONLY_EXISTS:       "CKR_SESSION_READ_ONLY_EXISTS",
	pkcs11.CKR_SESSION_READ_WRITE_SO_EXISTS:   "CKR_SESSION_READ_WRITE_SO_EXISTS",
	pkcs11.CKR_TEMPLATE_INCOMPLETE:            "CKR_TEMPLATE_INCOMPLETE",
	pkcs11.CKR_TEMPLATE_INCONSISTENT:          "CKR_TEMPLATE_INCONSISTENT",
	pkcs11.CKR_TOKEN_NOT_PRESENT:              "CKR_TOKEN_NOT_PRESENT",
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED:           "CKR_TOKEN_NOT_RECOGNIZED",
	pkcs11.CKR_TOKEN_WRITE_PROTECTED:          "CKR_TOKEN_WRITE_PROTECTED",
	pkcs11.CKR_USER_ALREADY_LOGGED_IN:         "CKR_USER_ALREADY_LOGGED_IN",
	pkcs11.CKR_USER_NOT_LOGGED_IN:             "CKR_USER_NOT_LOGGED_IN",
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED:       "CKR_USER_PIN_NOT_INITIALIZED",
	pkcs11.CKR_USER_TYPE_INVALID:              "CKR_USER_TYPE_INVALID",
	pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
	pkcs11.CKR_USER_TOO_MANY_TYPES:            "CKR_USER_TOO_MANY_TYPES",
	pkcs11.CKR_DOMAIN_PARAMS_INVALID:          "CKR_DOMAIN_PARAMS_INVALID",
	pkcs11.CKR_CURVE_NOT_SUPPORTED:            "CKR_CURVE_NOT_SUPPORTED",
	pkcs11.CKR_BUFFER_TOO_SMALL:               "CKR_BUFFER_TOO_SMALL",
	pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED:       "CKR_CRYPTOKI_NOT_INITIALIZED",
	pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED:   "CKR_CRYPTOKI_ALREADY_INITIALIZED",
	pkcs11.CKR_MUTEX_BAD:                      "CKR_MUTEX_BAD",
	pkcs11.CKR_PIN_TOO_WEAK:                   "CKR_PIN_TOO_WEAK",
	pkcs11.CKR_FUNCTION_REJECTED:              "CKR_FUNCTION_REJECTED",
}

// hasCode reports whether err is a CallError with one of codes.
func hasCode(err error, codes ...uint) bool {
	var call CallError
	return errors.As(err, &call) && slices.Contains(codes, call.Code)
}

// Stale reports whether err is a PKCS#11 return value that a fresh session may
// cure. No PIN error is among them.
func Stale(err error) bool {
	return hasCode(err,
		pkcs11.CKR_SESSION_HANDLE_INVALID,
		pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_OPERATION_ACTIVE, // left behind by a call that failed half way
		pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
		pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_DEVICE_ERROR,
		pkcs11.CKR_TOKEN_NOT_PRESENT,
		pkcs11.CKR_OBJECT_HANDLE_INVALID, // handles do not outlive their session
		pkcs11.CKR_KEY_HANDLE_INVALID)
}

// isPINError reports whether err is about the PIN, so that another attempt
// could cost one of the token's tries.
func isPINError(err error) bool {
	return slices.ContainsFunc([]error{ErrPINRequired, ErrPINRejected, ErrPINUnset, ErrPINLocked, ErrPINFinalTry, ErrPINPad},
		func(target error) bool { return errors.Is(err, target) })
}
