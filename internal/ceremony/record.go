package ceremony

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
)

// Bounds of a record.
const (
	MaxRecord    = 16 << 10 // payload of the message, in bytes
	MaxPeople    = 8        // operators, and witnesses
	MaxText      = 128      // a name, or another text where nothing else is said, in bytes
	MaxPurpose   = 512      // in bytes
	MaxID        = 64       // CKA_ID, in bytes
	maxSPKI      = 128      // a P-384 key has 120 bytes
	maxTimestamp = 253402300799
)

// Format is the first value of every record: a name, for a release record and a
// manifest are signed in the same way with the same keys and must not be taken
// for one another, and a version.
const Format = formatName + "1"

const formatName = "otapack.ceremony/"

// State is a yes or no that a module may leave open.
type State int

// The states, with their numbers in a record.
const (
	Unknown State = iota // the module does not know the attribute, or does not tell
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
	case Unknown:
	}
	return "unknown"
}

// MarshalText returns String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Record is what is written down when a key is made. All texts print: see
// [Printable]. A text that nobody gave, or that the module left empty, is "".
type Record struct {
	Tool string    // program and version that made the key, for example "otapack v1.2.0"
	Time time.Time // when, in whole seconds; UTC when it was read from a record
	Ceremony
	Spec   *Digest // of the key specification that the key was made from, nil for none
	Module Module
	Token  Token
	Key    Key
}

// Digest is a SHA-256 value.
type Digest [sha256.Size]byte

// Ceremony is what the people in the room say about it. Up to MaxPeople each.
type Ceremony struct {
	Operators []string // who did it, none when that was not written down
	Witnesses []string // who watched
	Purpose   string   // up to MaxPurpose bytes
	Place     string
}

// Module is what a PKCS#11 module says about itself (C_GetInfo), and the digest
// of its file.
type Module struct {
	Manufacturer, Description string
	Version                   string // of the library, "2.6"
	Cryptoki                  string // version of the interface, "2.40"
	SHA256                    Digest // of the shared object that was named, not of what it loads in turn
}

// Token is what the module says about a token (C_GetTokenInfo).
type Token struct {
	Label, Serial, Model, Manufacturer string
	Firmware, Hardware                 string // versions, "2.6"
}

// Key is the new key.
type Key struct {
	Label     string // CKA_LABEL, not empty
	ID        []byte // CKA_ID, 1 to MaxID bytes
	Usage     string // "manifest", "release", "image", or "" when that was not written down
	Public    sign.PublicKey
	Mechanism string // CKA_KEY_GEN_MECHANISM, for example "CKM_EC_KEY_PAIR_GEN"; "" when the module does not tell
	Attributes
}

// Attributes are what the module says about the private half.
type Attributes struct {
	Local              State // CKA_LOCAL: generated in the token
	Sensitive          State // CKA_SENSITIVE: its value cannot be read
	AlwaysSensitive    State // CKA_ALWAYS_SENSITIVE
	Extractable        State // CKA_EXTRACTABLE: it can be wrapped by another key
	NeverExtractable   State // CKA_NEVER_EXTRACTABLE
	Sign               State // CKA_SIGN
	Decrypt            State // CKA_DECRYPT
	Unwrap             State // CKA_UNWRAP
	Derive             State // CKA_DERIVE
	AlwaysAuthenticate State // CKA_ALWAYS_AUTHENTICATE: the PIN is wanted for every signature
}

// Attribute is one of Attributes under its name.
type Attribute struct {
	Name  string // "never extractable"
	State State
}

// List returns the attributes in the order of the record.
func (a Attributes) List() []Attribute {
	var list []Attribute
	for _, f := range a.fields() {
		list = append(list, Attribute{f.name, *f.state})
	}
	return list
}

type attributeField struct {
	name  string
	state *State
}

// fields is the order of the record; the first has the key 1.
func (a *Attributes) fields() []attributeField {
	return []attributeField{
		{"local", &a.Local},
		{"sensitive", &a.Sensitive},
		{"always sensitive", &a.AlwaysSensitive},
		{"extractable", &a.Extractable},
		{"never extractable", &a.NeverExtractable},
		{"sign", &a.Sign},
		{"decrypt", &a.Decrypt},
		{"unwrap", &a.Unwrap},
		{"derive", &a.Derive},
		{"always authenticate", &a.AlwaysAuthenticate},
	}
}

// Printable returns s as a record can hold it: what does not print, or is not
// UTF-8, becomes U+FFFD, and what goes beyond MaxText bytes is cut off. What
// prints is what unicode.IsPrint says: letters, marks, digits, punctuation,
// symbols and the space, but no line ends, no other blanks and none of the
// characters that reorder or hide text.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s) // bytes that are not UTF-8 arrive as utf8.RuneError
	for len(s) > MaxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func prints(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// CurveName returns "P-256" or "P-384".
func (k Key) CurveName() string {
	return k.Public.Algorithm().CurveName()
}

// Check refuses texts that are too long or do not print, and too many people.
func (c Ceremony) Check() error {
	if n := max(len(c.Operators), len(c.Witnesses)); n > MaxPeople {
		return verdict.New(verdict.WrongCount, object, "%d operators or witnesses, at most %d", n, MaxPeople)
	}
	for _, name := range slices.Concat(c.Operators, c.Witnesses) {
		if err := checkText("name", name, 1, MaxText); err != nil {
			return err
		}
	}
	if err := checkText("place", c.Place, 0, MaxText); err != nil {
		return err
	}
	return checkText("purpose", c.Purpose, 0, MaxPurpose)
}

// Check refuses a record that could not be read again.
func (r Record) Check() error {
	if err := r.Ceremony.Check(); err != nil {
		return err
	}
	if t := r.Time.Unix(); t < 0 || t > maxTimestamp {
		return verdict.New(verdict.TooLarge, object, "time %s is not in the years 1970 to 9999", r.Time)
	}
	m, t, k := r.Module, r.Token, r.Key
	for _, said := range []string{m.Manufacturer, m.Description, m.Version, m.Cryptoki, t.Label, t.Serial, t.Model, t.Manufacturer, t.Firmware, t.Hardware, k.Mechanism} {
		if err := checkText("statement of the module", said, 0, MaxText); err != nil {
			return err
		}
	}
	if err := checkText("tool", r.Tool, 1, MaxText); err != nil {
		return err
	}
	if err := checkText("key label", k.Label, 1, MaxText); err != nil {
		return err
	}
	switch {
	case len(k.ID) < 1 || len(k.ID) > MaxID:
		return verdict.New(verdict.WrongLength, object, "key id of %d bytes, want 1 to %d", len(k.ID), MaxID)
	case k.Usage != "" && !slices.Contains(usages, k.Usage):
		return verdict.New(verdict.CeremonyKey, object, "usage %q", k.Usage)
	case k.Public.IsZero():
		return verdict.New(verdict.CeremonyKey, object, "no public key")
	}
	for _, a := range k.List() {
		if a.State < Unknown || a.State > Yes {
			return verdict.New(verdict.TooLarge, object, "%s in state %d", a.Name, int(a.State))
		}
	}
	return nil
}

// usages are what a key may be for: the roles of package sign.
var usages = []string{string(sign.RoleManifest), string(sign.RoleRelease), string(sign.RoleImage)}

func checkText(what, s string, low, high int) error {
	switch {
	case len(s) < low || len(s) > high:
		return verdict.New(verdict.WrongLength, object, "%s of %d bytes, want %d to %d", what, len(s), low, high)
	case !prints(s):
		return verdict.New(verdict.CeremonyText, object, "%s %q does not print", what, s)
	}
	return nil
}

// Keys of the payload and of its maps. docs/ceremony.cddl has the grammar.
const (
	recordFormat   = 1
	recordTool     = 2
	recordTime     = 3
	recordCeremony = 4
	recordModule   = 5
	recordToken    = 6
	recordKey      = 7
	recordSpec     = 8

	ceremonyOperators = 1
	ceremonyWitnesses = 2
	ceremonyPurpose   = 3
	ceremonyPlace     = 4

	moduleManufacturer = 1
	moduleDescription  = 2
	moduleVersion      = 3
	moduleCryptoki     = 4
	moduleSHA256       = 5

	tokenLabel        = 1
	tokenSerial       = 2
	tokenModel        = 3
	tokenManufacturer = 4
	tokenFirmware     = 5
	tokenHardware     = 6

	keyLabel      = 1
	keyID         = 2
	keyCurve      = 3
	keyUsage      = 4
	keySPKIDigest = 5
	keySPKI       = 6
	keyMechanism  = 7
	keyAttributes = 8
)

// encode returns the payload.
func (r Record) encode() ([]byte, error) {
	people := map[int64]any{ceremonyOperators: emptyList(r.Operators), ceremonyWitnesses: emptyList(r.Witnesses)}
	if r.Purpose != "" {
		people[ceremonyPurpose] = r.Purpose
	}
	if r.Place != "" {
		people[ceremonyPlace] = r.Place
	}
	id := r.Key.Public.ID()
	key := map[int64]any{
		keyLabel: r.Key.Label, keyID: r.Key.ID, keyCurve: r.Key.CurveName(),
		keySPKIDigest: id[:], keySPKI: r.Key.Public.DER(), keyMechanism: r.Key.Mechanism,
	}
	if r.Key.Usage != "" {
		key[keyUsage] = r.Key.Usage
	}
	attributes := map[int64]int{}
	for i, a := range r.Key.List() {
		attributes[int64(i+1)] = int(a.State)
	}
	key[keyAttributes] = attributes
	record := map[int64]any{
		recordFormat: Format, recordTool: r.Tool, recordTime: r.Time.Unix(), recordCeremony: people,
		recordModule: map[int64]any{
			moduleManufacturer: r.Module.Manufacturer, moduleDescription: r.Module.Description,
			moduleVersion: r.Module.Version, moduleCryptoki: r.Module.Cryptoki, moduleSHA256: r.Module.SHA256[:],
		},
		recordToken: map[int64]any{
			tokenLabel: r.Token.Label, tokenSerial: r.Token.Serial, tokenModel: r.Token.Model,
			tokenManufacturer: r.Token.Manufacturer, tokenFirmware: r.Token.Firmware, tokenHardware: r.Token.Hardware,
		},
		recordKey: key,
	}
	if r.Spec != nil {
		record[recordSpec] = r.Spec[:]
	}
	return cose.Marshal(record)
}

// emptyList has no nil, which would be encoded as null.
func emptyList(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
