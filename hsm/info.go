package hsm

import (
	"fmt"
	"strings"

	"github.com/otapack/otapack/sign"
)

// Options says what to open.
type Options struct {
	Module string // absolute path of the PKCS#11 module, a shared object

	// Token names the token by at least one of token, serial, model and
	// manufacturer. The object and query attributes are not looked at, so
	// that a key's URI can be given as it is.
	Token URI

	// PIN is asked when the token wants a login. Nil means no login: then only
	// public objects are visible, and nothing can be signed or generated.
	PIN PINSource

	// Sessions is how many sessions to open at most, as many as signatures are
	// wanted at the same time: 1 to MaxSessions, 0 for 4. A token that allows
	// fewer is served with fewer.
	Sessions int

	// AllowFinalTry permits a login when one more wrong PIN locks the token.
	AllowFinalTry bool
}

// MaxSessions bounds Options.Sessions.
const MaxSessions = 64

const defaultSessions = 4

// ModuleInfo is what a module says about itself (C_GetInfo).
type ModuleInfo struct {
	Path         string
	Manufacturer string
	Description  string
	Version      string // of the library, "2.6"
	Cryptoki     string // version of the interface, "2.40"
}

// TokenInfo is what a token says about itself without a login. Blanks and NULs
// that pad the text are removed.
type TokenInfo struct {
	Label, Serial, Model, Manufacturer string
	Hardware, Firmware                 string // versions, "2.6"

	// MaxSessions is how many sessions one program may open, 0 when there is no
	// limit or the token does not tell.
	MaxSessions uint
	// Clock is the token's time as YYYYMMDDhhmmss and two more digits, in UTC;
	// empty when it has none.
	Clock string

	LoginRequired bool // CKF_LOGIN_REQUIRED
	PINPad        bool // CKF_PROTECTED_AUTHENTICATION_PATH
	PINCountLow   bool // CKF_USER_PIN_COUNT_LOW: a wrong PIN was tried since the last good one
	PINFinalTry   bool // CKF_USER_PIN_FINAL_TRY
	PINLocked     bool // CKF_USER_PIN_LOCKED
}

// SlotInfo is a slot with a token in it, or with one that does not answer.
type SlotInfo struct {
	ID          uint   // CK_SLOT_ID: of no use as a name, slots get renumbered
	Description string // of the slot, as a reader calls itself

	Token          TokenInfo // zero with Err
	Initialized    bool      // CKF_TOKEN_INITIALIZED
	PINInitialized bool      // CKF_USER_PIN_INITIALIZED: a user can log in

	Err error // what C_GetTokenInfo answered instead
}

// Matches reports whether a URI selects the token as Open would: it is
// initialised, and every token attribute that is given equals the token's.
func (s SlotInfo) Matches(u URI) bool { return s.Initialized && u.matches(s.Token) }

// URI names the token by label and serial number.
func (i TokenInfo) URI() URI { return URI{Token: i.Label, Serial: i.Serial} }

// fullURI names it by all that a URI can say, to tell two of a label apart.
func (i TokenInfo) fullURI() URI {
	return URI{Token: i.Label, Serial: i.Serial, Model: i.Model, Manufacturer: i.Manufacturer}
}

// State is a yes or no that a module may leave open.
type State int

// The states. An attribute that the module does not know, or does not tell, is
// Unknown and never No.
const (
	Unknown State = iota
	No
	Yes
)

// String returns "unknown", "no" or "yes".
func (s State) String() string {
	switch s {
	case No:
		return "no"
	case Yes:
		return "yes"
	}
	return "unknown"
}

// MarshalText returns String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// stateOf reads a CK_BBOOL.
func stateOf(value []byte) State {
	switch {
	case len(value) != 1:
		return Unknown
	case value[0] == 0:
		return No
	default:
		return Yes
	}
}

// Attributes are what the module says about a private key. They are unsigned
// statements: good for finding mistakes, no proof of anything.
type Attributes struct {
	Local            State // CKA_LOCAL: generated in the token
	Sensitive        State // CKA_SENSITIVE: its value cannot be read
	AlwaysSensitive  State // CKA_ALWAYS_SENSITIVE
	Extractable      State // CKA_EXTRACTABLE: it can be wrapped by another key
	NeverExtractable State // CKA_NEVER_EXTRACTABLE
	Sign             State // CKA_SIGN
	Decrypt          State // CKA_DECRYPT
	Unwrap           State // CKA_UNWRAP
	Derive           State // CKA_DERIVE

	// AlwaysAuthenticate is CKA_ALWAYS_AUTHENTICATE: the PIN is wanted for
	// every signature.
	AlwaysAuthenticate State
}

// KeyInfo describes an EC key on a token.
type KeyInfo struct {
	Label string // CKA_LABEL, may be empty
	ID    []byte // CKA_ID, may be empty
	URI   URI    // token, serial, object, id and type=private

	// Curve is "P-256", "P-384" or "P-521", the dotted object identifier of
	// another curve, or "unknown".
	Curve string
	// Algorithm is 0 on curves that package sign does not support.
	Algorithm sign.Algorithm
	// Public is zero when the token has no, or more than one, public key
	// object that belongs to the key, or one on an unsupported curve.
	Public sign.PublicKey

	// Private is Yes when the private half was seen. Without a login it is
	// hidden on most tokens: then the public half is listed, as Unknown.
	Private State
	// Mechanism is how the key was made: "CKM_EC_KEY_PAIR_GEN", or "" when the
	// module does not tell.
	Mechanism string
	Attributes
}

// KeySpec says which key to generate.
type KeySpec struct {
	Label     string // CKA_LABEL of both halves, not empty, not in use
	ID        []byte // CKA_ID of both halves, not in use; nil means 8 random bytes
	Algorithm sign.Algorithm
}

// listLimit is how many URIs an error message lists.
const listLimit = 10

// list joins URIs, of which there are total, for an error message.
func list(uris []URI, total int) string {
	var b strings.Builder
	for i, u := range uris {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(u.String())
	}
	if more := total - len(uris); more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}
