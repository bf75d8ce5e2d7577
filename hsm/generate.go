//go:build cgo

package hsm

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/sign"
)

// trialMessage is what a key signs to show that it works. It is no message that
// any part of a release could be: all of those are CBOR arrays.
const trialMessage = "otapack trial signature: it authorises nothing"

// errMeanwhile is a label that was free until the key was made. The new key is
// deleted, and the other one is left alone.
var errMeanwhile = fmt.Errorf("%w: another key got its label meanwhile", ErrKeyExists)

const (
	defaultIDLength = 8
	maxIDLength     = 64
	maxLabelLength  = 128
)

// Generate makes an EC key pair in the token: it signs, does not derive or unwrap
// other keys, and cannot be extracted. Before it returns, the attributes are read back and a
// signature is tried; a key that fails is deleted and the error wraps
// ErrKeyUnfit. A label or id that a key of the token has already wraps
// ErrKeyExists. Tokens do not enforce this, so the label is looked for once more
// afterwards: of two operators at once at most one keeps a key.
//
// It needs a read-write session. The module is initialised anew for it, so the
// sessions of all Tokens of this module end; they reopen when used next.
func (t *Token) Generate(ctx context.Context, spec KeySpec) (KeyInfo, error) {
	switch {
	case !spec.Algorithm.Prehashed(): // CKM_ECDSA only
		return KeyInfo{}, fmt.Errorf("hsm: new key: %w", sign.ErrAlgorithm)
	case spec.Label == "" || len(spec.Label) > maxLabelLength:
		return KeyInfo{}, fmt.Errorf("hsm: new key: %w: label of %d bytes, want 1 to %d", ErrKeySpec, len(spec.Label), maxLabelLength)
	case len(spec.ID) > maxIDLength:
		return KeyInfo{}, fmt.Errorf("hsm: new key: %w: id of %d bytes, want at most %d", ErrKeySpec, len(spec.ID), maxIDLength)
	}
	spec.ID = slices.Clone(spec.ID)
	if len(spec.ID) == 0 {
		spec.ID = make([]byte, defaultIDLength)
		_, _ = rand.Read(spec.ID) // never fails
	}
	var self slotToken
	err := t.do(ctx, func(s *session) (err error) {
		if t.options.PIN == nil && s.info.LoginRequired {
			return ErrPINRequired
		}
		if self, err = s.forCrypto11(); err != nil {
			return err
		}
		return s.checkUnused(ctx, spec)
	})
	if err != nil {
		return KeyInfo{}, err
	}
	if err := t.lend(ctx, self, spec); err != nil {
		return KeyInfo{}, t.fail(err)
	}
	var keys []KeyInfo
	err = t.do(ctx, func(s *session) (err error) {
		if keys, err = s.keys(ctx, spec.Label, nil); err != nil {
			return err
		}
		if len(keys) > 1 { // made after ours, and about to be deleted by whoever did
			keys = slices.DeleteFunc(keys, func(k KeyInfo) bool { return string(k.ID) != string(spec.ID) })
		}
		switch {
		case len(keys) > 1:
			return fmt.Errorf("new key %s: %w: another key got its label meanwhile", spec.uri(), ErrKeyAmbiguous)
		case len(keys) == 0 || keys[0].Public.IsZero():
			return fmt.Errorf("new key %s: %w after it was generated", spec.uri(), ErrKeyNotFound)
		}
		return nil
	})
	if err != nil {
		return KeyInfo{}, err
	}
	return keys[0], nil
}

func (s KeySpec) uri() URI { return URI{Object: s.Label, ID: s.ID} }

// checkUnused looks for keys of any type, as a label or id that is taken twice
// confuses other tools too.
func (s *session) checkUnused(ctx context.Context, spec KeySpec) error {
	if err := s.checkLogin(); err != nil {
		return err
	}
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		names := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, spec.Label)}
		if len(spec.ID) > 0 {
			names = append(names, pkcs11.NewAttribute(pkcs11.CKA_ID, spec.ID))
		}
		for _, a := range names {
			handles, err := s.find(ctx, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), a})
			if err != nil {
				return err
			}
			if len(handles) > 0 {
				found, err := s.readObject(ctx, handles[0])
				if err != nil {
					return err
				}
				return fmt.Errorf("%w: %s", ErrKeyExists, s.uri(found))
			}
		}
	}
	return nil
}

// forCrypto11 returns how crypto11 can select this token. It takes the first
// token of a serial or a label and tells nobody, so that either must be unique.
func (s *session) forCrypto11() (slotToken, error) {
	all, broken, err := tokens(s.p)
	if err != nil {
		return slotToken{}, err
	}
	i := slices.IndexFunc(all, func(o slotToken) bool { return o.slot == s.conn.slot })
	if i < 0 { // it may not answer while another program changes it
		return slotToken{}, cmp.Or(broken, ErrTokenNotFound)
	}
	self := all[i]
	serials, labels := 0, 0
	for _, o := range all {
		if o.serial == self.serial {
			serials++
		}
		if o.label == self.label {
			labels++
		}
	}
	switch {
	case self.serial != "" && serials == 1:
		self.label = ""
	case self.label != "" && labels == 1:
		self.serial = ""
	default:
		return slotToken{}, fmt.Errorf("%w: generating a key needs a token whose serial or label is unique", ErrTokenAmbiguous)
	}
	return self, nil
}

// demand is an attribute of a new private key.
type demand struct {
	attribute uint
	name      string
	value     bool
	firm      firmness
}

// firmness is how much a demand matters.
type firmness int

const (
	// wished is given up where a module has it otherwise.
	wished firmness = iota
	// uncontradicted allows a module to keep silent.
	uncontradicted
	// stated wants the module to say so.
	stated
)

var demands = []demand{
	{pkcs11.CKA_TOKEN, "CKA_TOKEN", true, stated},
	{pkcs11.CKA_PRIVATE, "CKA_PRIVATE", true, stated},
	{pkcs11.CKA_SENSITIVE, "CKA_SENSITIVE", true, stated},
	{pkcs11.CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false, stated},
	{pkcs11.CKA_SIGN, "CKA_SIGN", true, stated},
	{pkcs11.CKA_UNWRAP, "CKA_UNWRAP", false, uncontradicted}, // SoftHSM's default is true
	{pkcs11.CKA_DERIVE, "CKA_DERIVE", false, uncontradicted},
	// tpm2-pkcs11 has both for every key. They do no harm: no mechanism decrypts
	// with an EC key, and what is sensitive and not extractable stays so.
	{pkcs11.CKA_MODIFIABLE, "CKA_MODIFIABLE", false, wished},
	{pkcs11.CKA_DECRYPT, "CKA_DECRYPT", false, wished},
}

// consequences follow from the demands. They cannot be asked for, and are read
// back only. CKA_LOCAL is not among them: NSS says no for keys that it made.
var consequences = []demand{
	{pkcs11.CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", true, uncontradicted},
	{pkcs11.CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", true, uncontradicted},
}

// lend has the module to crypto11 for one key. Like any operation it keeps Close
// waiting.
func (t *Token) lend(ctx context.Context, self slotToken, spec KeySpec) error {
	t.use.RLock()
	defer t.use.RUnlock()
	t.mu.Lock()
	closed, rejected := t.closed, t.rejected
	t.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if rejected != nil {
		return rejected
	}
	return t.module.lend(func() error { return t.generate(ctx, self, spec) })
}

// generate runs while the module is finalised: crypto11 refuses a module that
// it has not initialised itself.
func (t *Token) generate(ctx context.Context, self slotToken, spec KeySpec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock() // nothing else runs, but the race detector does not know
	defer t.mu.Unlock()
	c, err := crypto11.Configure(&crypto11.Config{
		Path:              t.module.path,
		TokenSerial:       self.serial,
		TokenLabel:        self.label,
		Pin:               t.pin.reveal(), // this copy cannot be wiped, see PIN
		LoginNotSupported: !t.info.LoginRequired,
		MaxSessions:       2, // one holds the login, one works
	})
	if err != nil {
		err = classifyPIN(call("crypto11.Configure", err))
		if isPINError(err) {
			t.rejected = err
		}
		return err
	}
	defer c.Close()
	// tpm2-pkcs11 refuses what is only wished for, and more that may be left to
	// it, with CKR_GENERAL_ERROR. What it makes of the key is checked anyway.
	pair, err := generatePair(c, spec, wished)
	if hasCode(err, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID) {
		pair, err = generatePair(c, spec, stated)
	}
	if err != nil {
		return fmt.Errorf("new key %s: %w", spec.uri(), err)
	}
	if err := keepIfFit(ctx, c, pair, spec); err != nil {
		return fmt.Errorf("new key %s: %w", spec.uri(), err)
	}
	return nil
}

// generatePair asks for the demands that are at least as firm as given.
func generatePair(c *crypto11.Context, spec KeySpec, firm firmness) (crypto11.Signer, error) {
	public, private := crypto11.NewAttributeSet(), crypto11.NewAttributeSet()
	for _, set := range []crypto11.AttributeSet{public, private} {
		set.AddIfNotPresent([]*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, spec.Label),
			pkcs11.NewAttribute(pkcs11.CKA_ID, spec.ID),
		})
	}
	public.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
	})
	for _, d := range demands {
		if d.firm >= firm {
			private.AddIfNotPresent([]*pkcs11.Attribute{pkcs11.NewAttribute(d.attribute, d.value)})
		}
	}
	pair, err := c.GenerateECDSAKeyPairWithAttributes(public, private, spec.Algorithm.Curve())
	err = call("C_GenerateKeyPair", err)
	switch {
	case hasCode(err, pkcs11.CKR_MECHANISM_INVALID):
		return nil, missing(pkcs11.CKM_EC_KEY_PAIR_GEN, err)
	case hasCode(err, pkcs11.CKR_SESSION_COUNT):
		return nil, fmt.Errorf("%w: making a key takes a second one beside that of the login: %w", ErrSessions, err)
	}
	return pair, err
}

// keepIfFit does not take the token's word: it reads the attributes back and
// tries the key, and deletes it when something is amiss.
func keepIfFit(ctx context.Context, c *crypto11.Context, pair crypto11.Signer, spec KeySpec) error {
	err := checkAttributes(c, pair)
	if err == nil {
		err = trySigning(ctx, pair, spec.Algorithm)
	}
	if err == nil {
		err = checkAlone(c, spec)
	}
	if err == nil {
		return nil
	}
	if undone := pair.Delete(); undone != nil {
		return fmt.Errorf("%w; and it is still on the token: %w", err, call("C_DestroyObject", undone))
	}
	return err
}

func checkAttributes(c *crypto11.Context, pair crypto11.Signer) error {
	for _, d := range slices.Concat(demands, consequences) {
		state := Unknown
		attribute, err := c.GetAttribute(pair, d.attribute)
		switch err := call("C_GetAttributeValue", err); {
		case err == nil:
			state = stateOf(attribute.Value)
		case !hasCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE):
			return err
		}
		contradicted := state == No && d.value || state == Yes && !d.value
		if d.firm > wished && contradicted || d.firm == stated && state == Unknown {
			return fmt.Errorf("%w: %s is %s", ErrKeyUnfit, d.name, state)
		}
	}
	return nil
}

// checkAlone finds a key that another program has made under the same label
// since that was looked for.
func checkAlone(c *crypto11.Context, spec KeySpec) error {
	pairs, err := c.FindKeyPairs(nil, []byte(spec.Label))
	switch {
	case err != nil:
		return call("C_FindObjects", err)
	case len(pairs) > 1:
		return errMeanwhile
	}
	return nil
}

func trySigning(ctx context.Context, pair crypto11.Signer, a sign.Algorithm) error {
	s, err := sign.FromCrypto(pair)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyUnfit, err)
	}
	if s.Public().Algorithm() != a {
		return fmt.Errorf("%w: it is an %s key, not %s", ErrKeyUnfit, s.Public().Algorithm(), a)
	}
	if s, err = sign.Checked(s, s.Public()); err == nil {
		_, err = s.Sign(ctx, []byte(trialMessage))
	}
	if err != nil {
		return fmt.Errorf("%w: trial signature: %w", ErrKeyUnfit, err)
	}
	return nil
}
