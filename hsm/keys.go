//go:build cgo

package hsm

import (
	"bytes"
	"cmp"
	"context"
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
func (t *Token) find(ctx context.Context, template []*pkcs11.Attribute) (handles []pkcs11.ObjectHandle, err error) {
	const batch = 100
	p := t.module.ctx
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.FindObjectsInit(t.session, template); err != nil {
		return nil, call("C_FindObjectsInit", err)
	}
	defer func() {
		err = cmp.Or(err, call("C_FindObjectsFinal", p.FindObjectsFinal(t.session)))
	}()
	for {
		found, _, err := p.FindObjects(t.session, batch)
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
func (t *Token) read(ctx context.Context, handle pkcs11.ObjectHandle, types ...uint) ([][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var template []*pkcs11.Attribute
	for _, typ := range types {
		template = append(template, pkcs11.NewAttribute(typ, nil))
	}
	attributes, err := t.module.ctx.GetAttributeValue(t.session, handle, template)
	if err := call("C_GetAttributeValue", err); err != nil {
		if !hasCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
			return nil, err
		}
		if len(types) == 1 {
			return [][]byte{nil}, nil
		}
		var values [][]byte
		for _, typ := range types {
			value, err := t.read(ctx, handle, typ)
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

func (t *Token) readObject(ctx context.Context, handle pkcs11.ObjectHandle) (object, error) {
	v, err := t.read(ctx, handle, pkcs11.CKA_LABEL, pkcs11.CKA_ID)
	if err != nil {
		return object{}, err
	}
	return object{handle, string(v[0]), v[1]}, nil
}

// publicObjects reads the EC public key objects with the given label and id.
func (t *Token) publicObjects(ctx context.Context, label string, id []byte) ([]publicObject, error) {
	handles, err := t.find(ctx, keyTemplate(pkcs11.CKO_PUBLIC_KEY, label, id))
	if err != nil {
		return nil, err
	}
	var objects []publicObject
	for _, h := range handles {
		v, err := t.read(ctx, h, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		objects = append(objects, publicObject{object{h, string(v[0]), v[1]}, v[2], v[3]})
	}
	return objects, nil
}

// uri is the paste-ready name of a key on this token.
func (t *Token) uri(o object) URI {
	u := t.info.URI()
	u.Object, u.ID, u.Type = o.label, o.id, "private"
	return u
}

// lookup finds the only private key that key names, and its public half.
func (t *Token) lookup(ctx context.Context, key URI) (pkcs11.ObjectHandle, sign.PublicKey, error) {
	handles, err := t.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, key.Object, key.ID))
	switch {
	case err != nil:
		return 0, sign.PublicKey{}, err
	case len(handles) == 0:
		return 0, sign.PublicKey{}, t.notFound(ctx)
	case len(handles) > 1:
		uris, err := t.listKeys(ctx, handles)
		return 0, sign.PublicKey{}, cmp.Or(err, fmt.Errorf("%w: %s", ErrKeyAmbiguous, uris))
	}
	private, err := t.readObject(ctx, handles[0])
	if err != nil {
		return 0, sign.PublicKey{}, err
	}
	label := private.label
	if len(private.id) > 0 {
		label = "" // some tokens label the halves differently
	}
	publics, err := t.publicObjects(ctx, label, private.id)
	if err != nil {
		return 0, sign.PublicKey{}, err
	}
	publics = slices.DeleteFunc(publics, func(o publicObject) bool { return !o.belongsTo(private) })
	if len(publics) != 1 {
		target := ErrKeyNotFound
		if len(publics) > 1 {
			target = ErrKeyAmbiguous
		}
		return 0, sign.PublicKey{}, fmt.Errorf("%w: it has %d public key objects, want one", target, len(publics))
	}
	public, err := parsePublicKey(publics[0].params, publics[0].point)
	return private.handle, public, err
}

// notFound says what could have been meant.
func (t *Token) notFound(ctx context.Context) error {
	handles, err := t.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, "", nil))
	switch {
	case err != nil:
		return err
	case len(handles) > 0:
		uris, err := t.listKeys(ctx, handles)
		return cmp.Or(err, fmt.Errorf("%w; the token has %s", ErrKeyNotFound, uris))
	case t.options.PIN == nil && t.info.LoginRequired:
		return fmt.Errorf("%w: private keys are hidden without a login", ErrPINRequired)
	}
	return fmt.Errorf("%w; the token has no EC private key", ErrKeyNotFound)
}

func (t *Token) listKeys(ctx context.Context, handles []pkcs11.ObjectHandle) (string, error) {
	var uris []URI
	for _, h := range handles[:min(len(handles), listLimit)] {
		o, err := t.readObject(ctx, h)
		if err != nil {
			return "", err
		}
		uris = append(uris, t.uri(o))
	}
	return list(uris, len(handles)), nil
}

// Keys lists the EC private keys of the token, sorted by label and id. Without
// a login it lists what is visible: on most tokens only public halves, for
// which KeyInfo.Private is Unknown. It makes a few calls per key.
func (t *Token) Keys(ctx context.Context) ([]KeyInfo, error) {
	var keys []KeyInfo
	err := t.do(ctx, func() (err error) {
		keys, err = t.keys(ctx, "", nil)
		return err
	})
	return keys, err
}

// keys lists the keys with the given label and id.
func (t *Token) keys(ctx context.Context, label string, id []byte) ([]KeyInfo, error) {
	publics, err := t.publicObjects(ctx, label, id)
	if err != nil {
		return nil, err
	}
	handles, err := t.find(ctx, keyTemplate(pkcs11.CKO_PRIVATE_KEY, label, id))
	if err != nil {
		return nil, err
	}
	var keys []KeyInfo
	paired := make([]bool, len(publics))
	for _, h := range handles {
		private, err := t.readObject(ctx, h)
		if err != nil {
			return nil, err
		}
		info := t.keyInfo(private)
		info.Private = Yes
		values, err := t.read(ctx, h, append([]uint{pkcs11.CKA_EC_PARAMS}, attributeTypes...)...)
		if err != nil {
			return nil, err
		}
		info.setCurve(values[0])
		info.Attributes = attributesOf(values[1:])
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
	if t.options.PIN == nil && t.info.LoginRequired {
		for i, o := range publics {
			if !paired[i] {
				info := t.keyInfo(o.object)
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

func (t *Token) keyInfo(o object) KeyInfo {
	return KeyInfo{Label: o.label, ID: o.id, URI: t.uri(o), Curve: parseCurve(nil).name}
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
	}
}
