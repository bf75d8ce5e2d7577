//go:build cgo

package hsm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/sign"
)

// object is what a lookup needs to know of a key object.
type object struct {
	handle pkcs11.ObjectHandle
	label  string
	id     []byte
}

// publicObject is a public key object with its undecoded point.
type publicObject struct {
	object
	params, point []byte
}

// belongsTo reports whether o is the public half of a private key: it has the
// same id or, when that has none, the same label. Both empty match nothing.
func (o publicObject) belongsTo(private object) bool {
	if len(private.id) > 0 {
		return bytes.Equal(o.id, private.id)
	}
	return private.label != "" && o.label == private.label
}

// keyTemplate finds EC keys of a class. Empty label and id are left out.
func keyTemplate(class uint, label string, id []byte) []*pkcs11.Attribute {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
	}
	if label != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if len(id) > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	return template
}

// find returns the handles of all objects that match a template.
func (s *session) find(ctx context.Context, template []*pkcs11.Attribute) (handles []pkcs11.ObjectHandle, err error) {
	const batch = 100
	p := s.p
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.FindObjectsInit(s.handle, template); err != nil {
		return nil, call("C_FindObjectsInit", err)
	}
	defer func() {
		err = cmp.Or(err, call("C_FindObjectsFinal", p.FindObjectsFinal(s.handle)))
	}()
	for {
		found, _, err := p.FindObjects(s.handle, batch)
		if err != nil {
			return nil, call("C_FindObjects", err)
		}
		if len(found) == 0 { // some modules give fewer than asked for before the end
			return handles, nil
		}
		handles = append(handles, found...)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// read returns attribute values, nil for one that the module does not have or
// does not tell. One such attribute makes some modules refuse the whole call:
// then each is asked for alone.
func (s *session) read(ctx context.Context, handle pkcs11.ObjectHandle, types ...uint) ([][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var template []*pkcs11.Attribute
	for _, typ := range types {
		template = append(template, pkcs11.NewAttribute(typ, nil))
	}
	attributes, err := s.p.GetAttributeValue(s.handle, handle, template)
	if err := call("C_GetAttributeValue", err); err != nil {
		if !hasCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
			return nil, err
		}
		if len(types) == 1 {
			return [][]byte{nil}, nil
		}
		var values [][]byte
		for _, typ := range types {
			value, err := s.read(ctx, handle, typ)
			if err != nil {
				return nil, err
			}
			values = append(values, value...)
		}
		return values, nil
	}
	var values [][]byte
	for _, a := range attributes {
		values = append(values, a.Value)
	}
	return values, nil
}

func (s *session) readObject(ctx context.Context, handle pkcs11.ObjectHandle) (object, error) {
	v, err := s.read(ctx, handle, pkcs11.CKA_LABEL, pkcs11.CKA_ID)
	if err != nil {
		return object{}, err
	}
	return object{handle, string(v[0]), v[1]}, nil
}

// publicObjects reads the EC public key objects with the given label and id.
func (s *session) publicObjects(ctx context.Context, label string, id []byte) ([]publicObject, error) {
	handles, err := s.find(ctx, keyTemplate(pkcs11.CKO_PUBLIC_KEY, label, id))
	if err != nil {
		return nil, err
	}
	var objects []publicObject
	for _, h := range handles {
		v, err := s.read(ctx, h, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		objects = append(objects, publicObject{object{h, string(v[0]), v[1]}, v[2], v[3]})
	}
	return objects, nil
}

// uri is the paste-ready name of a key on this token.
func (s *session) uri(o object) URI {
	u := s.info.URI()
	u.Object, u.ID, u.Type = o.label, o.id, "private"
	return u
}

// lookup finds the only private key that key names, or any if it names none, and
// that pinned is the public half of.
func (s *session) lookup(ctx context.Context, key URI, pinned sign.PublicKey) (pkcs11.ObjectHandle, error) {
	if key.Object == "" && len(key.ID) == 0 {
		return s.lookupPinned(ctx, pinned)
	}
	handles, err := s.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, key.Object, key.ID))
	switch {
	case err != nil:
		return 0, err
	case len(handles) == 0:
		return 0, s.notFound(ctx)
	case len(handles) > 1:
		return 0, s.ambiguous(ctx, handles)
	}
	return handles[0], s.checkPublic(ctx, handles[0], pinned)
}

// checkPublic insists that pinned is the public half of a private key.
func (s *session) checkPublic(ctx context.Context, handle pkcs11.ObjectHandle, pinned sign.PublicKey) error {
	private, err := s.readObject(ctx, handle)
	if err != nil {
		return err
	}
	label := private.label
	if len(private.id) > 0 {
		label = "" // some tokens label the halves differently
	}
	publics, err := s.publicObjects(ctx, label, private.id)
	if err != nil {
		return err
	}
	publics = slices.DeleteFunc(publics, func(o publicObject) bool { return !o.belongsTo(private) })
	switch len(publics) {
	case 0:
		_, err := s.provePublic(ctx, handle, pinned)
		return err
	case 1:
	default:
		return fmt.Errorf("%w: it has %d public key objects, want one", ErrKeyAmbiguous, len(publics))
	}
	public, err := parsePublicKey(publics[0].params, publics[0].point)
	switch {
	case errors.Is(err, sign.ErrCurve): // the pinned key is on a supported one
		return fmt.Errorf("%w: %w", sign.ErrKeyMismatch, err)
	case err != nil:
		return err
	case public.Algorithm() != pinned.Algorithm():
		return fmt.Errorf("%w: it is an %s key, pinned is %s", sign.ErrKeyMismatch, public.Algorithm(), pinned.Algorithm())
	case !public.Equal(pinned):
		return fmt.Errorf("%w: it is %s, pinned is %s", sign.ErrKeyMismatch, public.ID().Short(), pinned.ID().Short())
	}
	return nil
}

// provePublic has a private key sign a text that authorises nothing, to learn
// whether pinned is its public half. A key that wants its PIN for every
// signature is left alone and not proven: its first signature will tell.
func (s *session) provePublic(ctx context.Context, handle pkcs11.ObjectHandle, pinned sign.PublicKey) (proven bool, err error) {
	v, err := s.read(ctx, handle, pkcs11.CKA_ALWAYS_AUTHENTICATE)
	switch {
	case err != nil:
		return false, err
	case stateOf(v[0]) == Yes:
		return false, nil
	}
	a := pinned.Algorithm()
	raw, err := s.sign(ctx, handle, false, a.Digest([]byte(trialMessage)))
	if err != nil {
		return false, fmt.Errorf("it has no public key object, and a trial signature: %w", err)
	}
	if signature, err := sign.ParseSignature(a, sign.Raw, raw); err == nil {
		if pinned.Verify([]byte(trialMessage), signature) == nil {
			return true, nil
		}
	}
	return false, fmt.Errorf("%w: it has no public key object, and the pinned key does not verify its trial signature", sign.ErrKeyMismatch)
}

// lookupPinned finds the only private key that pinned is the public half of:
// through the public key object, or by trying them all.
func (s *session) lookupPinned(ctx context.Context, pinned sign.PublicKey) (pkcs11.ObjectHandle, error) {
	const maxTried = 32
	publics, err := s.publicObjects(ctx, "", nil)
	if err != nil {
		return 0, err
	}
	privates, err := s.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, "", nil))
	if err != nil {
		return 0, err
	}
	if len(privates) > maxTried {
		return 0, fmt.Errorf("%w: the token has %d EC keys, too many to look for one by its public half: name it by object or id", ErrKeyAmbiguous, len(privates))
	}
	var matching, unproven []pkcs11.ObjectHandle
	for _, handle := range privates {
		private, err := s.readObject(ctx, handle)
		if err != nil {
			return 0, err
		}
		paired, equal := false, false
		for _, o := range publics {
			if o.belongsTo(private) {
				public, err := parsePublicKey(o.params, o.point)
				paired, equal = true, equal || err == nil && public.Equal(pinned)
			}
		}
		if !paired {
			proven, err := s.provePublic(ctx, handle, pinned)
			_, refused := errors.AsType[CallError](err)
			switch {
			case proven:
				equal = true
			case err == nil:
				unproven = append(unproven, handle)
			case !errors.Is(err, sign.ErrKeyMismatch) && (!refused || Stale(err)): // a key of another curve refuses the digest
				return 0, err
			}
		}
		if equal {
			matching = append(matching, handle)
		}
	}
	if len(matching) == 0 {
		matching = unproven
	}
	switch len(matching) {
	case 0:
		return 0, s.notFound(ctx)
	case 1:
		return matching[0], nil
	}
	return 0, s.ambiguous(ctx, matching)
}

func (s *session) ambiguous(ctx context.Context, handles []pkcs11.ObjectHandle) error {
	uris, err := s.listKeys(ctx, handles)
	return cmp.Or(err, fmt.Errorf("%w: %s", ErrKeyAmbiguous, uris))
}

// checkLogin insists on the login: without it private keys are not found, which
// is no error for a module. Somebody else may have logged this program out.
func (s *session) checkLogin() error {
	if s.token.options.PIN == nil || !s.info.LoginRequired {
		return nil
	}
	info, err := s.p.GetSessionInfo(s.handle)
	switch {
	case err != nil:
		return call("C_GetSessionInfo", err)
	case info.State == pkcs11.CKS_RO_PUBLIC_SESSION:
		return CallError{"C_GetSessionInfo", pkcs11.CKR_USER_NOT_LOGGED_IN}
	}
	return nil
}

// notFound says what could have been meant.
func (s *session) notFound(ctx context.Context) error {
	if err := s.checkLogin(); err != nil {
		return err
	}
	handles, err := s.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, "", nil))
	switch {
	case err != nil:
		return err
	case len(handles) > 0:
		uris, err := s.listKeys(ctx, handles)
		return cmp.Or(err, fmt.Errorf("%w; the token has %s", ErrKeyNotFound, uris))
	case s.token.options.PIN == nil && s.info.LoginRequired:
		return fmt.Errorf("%w: private keys are hidden without a login", ErrPINRequired)
	}
	return fmt.Errorf("%w; the token has no EC private key", ErrKeyNotFound)
}

func (s *session) listKeys(ctx context.Context, handles []pkcs11.ObjectHandle) (string, error) {
	var uris []URI
	for _, h := range handles[:min(len(handles), listLimit)] {
		o, err := s.readObject(ctx, h)
		if err != nil {
			return "", err
		}
		uris = append(uris, s.uri(o))
	}
	return list(uris, len(handles)), nil
}

// Keys lists the EC private keys of the token, sorted by label and id. Without
// a login it lists what is visible: on most tokens only public halves, for
// which KeyInfo.Private is Unknown. It makes a few calls per key.
func (t *Token) Keys(ctx context.Context) ([]KeyInfo, error) {
	var keys []KeyInfo
	err := t.do(ctx, func(s *session) (err error) {
		keys, err = s.keys(ctx, "", nil)
		return err
	})
	return keys, err
}

// keys lists the keys with the given label and id.
func (s *session) keys(ctx context.Context, label string, id []byte) ([]KeyInfo, error) {
	if err := s.checkLogin(); err != nil {
		return nil, err
	}
	publics, err := s.publicObjects(ctx, label, id)
	if err != nil {
		return nil, err
	}
	handles, err := s.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, label, id))
	if err != nil {
		return nil, err
	}
	var keys []KeyInfo
	paired := make([]bool, len(publics))
	for _, h := range handles {
		private, err := s.readObject(ctx, h)
		if err != nil {
			return nil, err
		}
		info := s.keyInfo(private)
		info.Private = Yes
		values, err := s.read(ctx, h, append([]uint{pkcs11.CKA_EC_PARAMS, pkcs11.CKA_KEY_GEN_MECHANISM}, attributeTypes...)...)
		if err != nil {
			return nil, err
		}
		info.setCurve(values[0])
		info.Mechanism = mechanismOf(values[1])
		info.Attributes = attributesOf(values[2:])
		var halves []publicObject
		for i, o := range publics {
			if o.belongsTo(private) {
				halves, paired[i] = append(halves, o), true
			}
		}
		if len(halves) == 1 {
			info.setPublic(halves[0])
		}
		keys = append(keys, info)
	}
	if s.token.options.PIN == nil && s.info.LoginRequired {
		for i, o := range publics {
			if !paired[i] {
				info := s.keyInfo(o.object)
				info.setPublic(o)
				keys = append(keys, info)
			}
		}
	}
	slices.SortFunc(keys, func(a, b KeyInfo) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
	})
	return keys, nil
}

func (s *session) keyInfo(o object) KeyInfo {
	return KeyInfo{Label: o.label, ID: o.id, URI: s.uri(o), Curve: parseCurve(nil).name}
}

// setCurve takes CKA_EC_PARAMS, which not every module tells of a private key.
func (k *KeyInfo) setCurve(params []byte) {
	if len(params) > 0 {
		c := parseCurve(params)
		k.Curve, k.Algorithm = c.name, c.algorithm
	}
}

func (k *KeyInfo) setPublic(o publicObject) {
	k.setCurve(o.params)
	if public, err := parsePublicKey(o.params, o.point); err == nil {
		k.Public = public
	}
}

// attributeTypes are those of Attributes, in its order.
var attributeTypes = []uint{
	pkcs11.CKA_LOCAL,
	pkcs11.CKA_SENSITIVE,
	pkcs11.CKA_ALWAYS_SENSITIVE,
	pkcs11.CKA_EXTRACTABLE,
	pkcs11.CKA_NEVER_EXTRACTABLE,
	pkcs11.CKA_SIGN,
	pkcs11.CKA_DECRYPT,
	pkcs11.CKA_UNWRAP,
	pkcs11.CKA_DERIVE,
	pkcs11.CKA_ALWAYS_AUTHENTICATE,
}

// attributesOf takes the values of attributeTypes.
func attributesOf(v [][]byte) Attributes {
	return Attributes{
		Local:            stateOf(v[0]),
		Sensitive:        stateOf(v[1]),
		AlwaysSensitive:  stateOf(v[2]),
		Extractable:      stateOf(v[3]),
		NeverExtractable: stateOf(v[4]),
		Sign:             stateOf(v[5]),
		Decrypt:          stateOf(v[6]),
		Unwrap:           stateOf(v[7]),
		Derive:           stateOf(v[8]),

		AlwaysAuthenticate: stateOf(v[9]),
	}
}
