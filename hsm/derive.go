//go:build cgo

package hsm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// Wrapper makes AES keys for devices as session objects of a token, and lets
// them out only wrapped under the transport key. It works until the Token is
// closed, and for several goroutines at once.
//
// Each key comes with its check value, see KeyCheckValue, which is computed in
// the token.
type Wrapper struct {
	token *Token
	spec  WrapperSpec

	mu   sync.Mutex  // guards what follows
	conn *connection // for which the handles are good
	keys wrapperKeys
}

type wrapperKeys struct {
	transport, master         pkcs11.ObjectHandle
	transportInfo, masterInfo SecretKeyInfo
}

// Wrapper finds the keys of spec and makes sure that they and the mechanisms of
// the token are as they have to be.
//
// Exactly one secret key must match each URI: else the error wraps
// ErrKeyNotFound or ErrKeyAmbiguous. One that is not an AES key, is too short or
// may not derive or wrap wraps ErrKeyUnfit. One that can be extracted or read,
// and a master key that may do anything but derive, wraps ErrKeyPolicy. What the
// token lacks wraps ErrMechanism.
func (t *Token) Wrapper(ctx context.Context, spec WrapperSpec) (*Wrapper, error) {
	if !namesKey(spec.Transport) {
		return nil, fmt.Errorf("hsm: %w: it does not name a transport key", ErrURI)
	}
	for _, u := range []URI{spec.Transport, spec.Master} {
		if u.Type != "" && u.Type != "secret-key" {
			return nil, fmt.Errorf("hsm: %w: type is %s, want secret-key", ErrURI, u.Type)
		}
	}
	w := &Wrapper{token: t, spec: spec}
	err := t.do(ctx, func(s *session) error {
		wanted := []uint{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_CMAC}
		if namesKey(spec.Master) {
			wanted = append(wanted, pkcs11.CKM_AES_ECB_ENCRYPT_DATA)
		}
		if spec.Generate {
			wanted = append(wanted, pkcs11.CKM_AES_KEY_GEN)
		}
		if err := s.needMechanisms(wanted...); err != nil {
			return err
		}
		_, err := w.load(ctx, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Keys describes the transport key and the master key, as they were found last.
func (w *Wrapper) Keys() (transport, master SecretKeyInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keys.transportInfo, w.keys.masterInfo
}

// Derive derives a key of 16 or 32 bytes: the encryption of data, which has the
// length of the key, with the master key in ECB mode
// (CKM_AES_ECB_ENCRYPT_DATA; PKCS#11 v2.40 mechanisms, section 2.15). With as
// much data as key it does not matter which end a token cuts off.
func (w *Wrapper) Derive(ctx context.Context, data []byte) (wrapped, check []byte, err error) {
	if !namesKey(w.spec.Master) {
		return nil, nil, fmt.Errorf("hsm: derive: %w: there is no master key", ErrKeySpec)
	}
	if err := checkKeySize(len(data)); err != nil {
		return nil, nil, fmt.Errorf("hsm: derive: %w", err)
	}
	return w.wrap(ctx, len(data), func(s *session, master pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error) {
		return s.derive(master, data)
	})
}

// Generate makes a random key of 16 or 32 bytes in the token.
func (w *Wrapper) Generate(ctx context.Context, size int) (wrapped, check []byte, err error) {
	if err := checkKeySize(size); err != nil {
		return nil, nil, fmt.Errorf("hsm: generate: %w", err)
	}
	return w.wrap(ctx, size, func(s *session, _ pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error) {
		return s.generateSession(size)
	})
}

// Import wraps 16 or 32 bytes that the caller made, as an AES key, whatever they
// are. The check value of the token is compared with the one of the bytes. The
// caller wipes the bytes; the copy that miekg/pkcs11 hands to C is freed as it
// is.
func (w *Wrapper) Import(ctx context.Context, key []byte) (wrapped, check []byte, err error) {
	if err := checkKeySize(len(key)); err != nil {
		return nil, nil, fmt.Errorf("hsm: import: %w", err)
	}
	want, err := KeyCheckValue(key)
	if err != nil {
		return nil, nil, err
	}
	wrapped, check, err = w.wrap(ctx, len(key), func(s *session, _ pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error) {
		handle, err := s.p.CreateObject(s.handle, append(sessionKey(0), pkcs11.NewAttribute(pkcs11.CKA_VALUE, key)))
		return handle, call("C_CreateObject", err)
	})
	if err == nil && subtle.ConstantTimeCompare(check, want) != 1 {
		return nil, nil, fmt.Errorf("hsm: import: %w: the token took another value than it was given", ErrKeyUnfit)
	}
	return wrapped, check, err
}

func checkKeySize(size int) error {
	if size != 16 && size != 32 {
		return fmt.Errorf("%w: %d bytes, want 16 or 32", ErrKeySpec, size)
	}
	return nil
}

// wrap has a key made, wrapped and destroyed. A session on which one of these
// calls fails is closed, and what was made in it goes with it.
func (w *Wrapper) wrap(ctx context.Context, size int, create func(*session, pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error)) (wrapped, check []byte, err error) {
	err = w.token.do(ctx, func(s *session) error {
		keys, err := w.load(ctx, s)
		if err != nil {
			return err
		}
		key, err := create(s, keys.master)
		if err != nil {
			return err
		}
		if wrapped, err = s.wrapKey(keys.transport, key, size); err == nil {
			check, err = s.keyCheckValue(key)
		}
		return cmp.Or(err, call("C_DestroyObject", s.p.DestroyObject(s.handle, key)))
	})
	if err != nil {
		return nil, nil, err
	}
	return wrapped, check, nil
}

// load finds the keys, unless they have been found in this connection.
func (w *Wrapper) load(ctx context.Context, s *session) (wrapperKeys, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == s.conn {
		return w.keys, nil
	}
	var keys wrapperKeys
	var err error
	if keys.transport, keys.transportInfo, err = s.secretKey(ctx, w.spec.Transport, Wrapping, w.spec.Size); err != nil {
		return keys, fmt.Errorf("transport key %s: %w", selector(w.spec.Transport), err)
	}
	if namesKey(w.spec.Master) {
		if keys.master, keys.masterInfo, err = s.secretKey(ctx, w.spec.Master, Derivation, w.spec.Size); err != nil {
			return keys, fmt.Errorf("master key %s: %w", selector(w.spec.Master), err)
		}
	}
	w.conn, w.keys = s.conn, keys
	return keys, nil
}

// selector is the part of a URI that a key is looked up by.
func selector(key URI) URI { return URI{Object: key.Object, ID: key.ID, Type: "secret-key"} }

func namesKey(key URI) bool { return key.Object != "" || len(key.ID) > 0 }

// secretTemplate finds secret keys of any type. Empty label and id are left out.
func secretTemplate(label string, id []byte) []*pkcs11.Attribute {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)}
	if label != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if len(id) > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	return template
}

// secretKey finds the only secret key that a URI names, and looks at what it is
// and may do.
func (s *session) secretKey(ctx context.Context, key URI, use Use, size int) (pkcs11.ObjectHandle, SecretKeyInfo, error) {
	if !key.matches(s.info) {
		return 0, SecretKeyInfo{}, fmt.Errorf("%w: its URI names another token", ErrKeyNotFound)
	}
	handles, err := s.find(ctx, secretTemplate(key.Object, key.ID))
	switch {
	case err != nil:
		return 0, SecretKeyInfo{}, err
	case len(handles) == 0:
		return 0, SecretKeyInfo{}, s.noSecretKey(ctx)
	case len(handles) > 1:
		uris, err := s.listSecretKeys(ctx, handles)
		return 0, SecretKeyInfo{}, cmp.Or(err, fmt.Errorf("%w: %s", ErrKeyAmbiguous, uris))
	}
	info, err := s.checkSecretKey(ctx, handles[0], use, size)
	return handles[0], info, err
}

func (s *session) noSecretKey(ctx context.Context) error {
	handles, err := s.find(ctx, secretTemplate("", nil))
	switch {
	case err != nil:
		return err
	case len(handles) > 0:
		uris, err := s.listSecretKeys(ctx, handles)
		return cmp.Or(err, fmt.Errorf("%w; the token has %s", ErrKeyNotFound, uris))
	case s.token.options.PIN == nil && s.info.LoginRequired:
		return fmt.Errorf("%w: secret keys are hidden without a login", ErrPINRequired)
	}
	return fmt.Errorf("%w; the token has no secret key", ErrKeyNotFound)
}

func (s *session) listSecretKeys(ctx context.Context, handles []pkcs11.ObjectHandle) (string, error) {
	var uris []URI
	for _, h := range handles[:min(len(handles), listLimit)] {
		o, err := s.readObject(ctx, h)
		if err != nil {
			return "", err
		}
		uris = append(uris, s.secretURI(o))
	}
	return list(uris, len(handles)), nil
}

func (s *session) secretURI(o object) URI {
	u := s.uri(o)
	u.Type = "secret-key"
	return u
}

// permission is one of the things that a secret key may be allowed to do.
type permission struct {
	attribute uint
	name      string
}

var permissions = []permission{
	{pkcs11.CKA_DERIVE, "CKA_DERIVE"},
	{pkcs11.CKA_WRAP, "CKA_WRAP"},
	{pkcs11.CKA_UNWRAP, "CKA_UNWRAP"},
	{pkcs11.CKA_ENCRYPT, "CKA_ENCRYPT"},
	{pkcs11.CKA_DECRYPT, "CKA_DECRYPT"},
	{pkcs11.CKA_SIGN, "CKA_SIGN"},
	{pkcs11.CKA_VERIFY, "CKA_VERIFY"},
}

// attribute is the permission that a use needs.
func (u Use) attribute() uint {
	if u == Derivation {
		return pkcs11.CKA_DERIVE
	}
	return pkcs11.CKA_WRAP
}

// checkSecretKey insists on an AES key of at least size bytes that is good for
// the use and stays in the token. A master key must not be able to do anything
// else: with CKA_ENCRYPT it would give device keys away in clear. A transport
// key that may do more is used, as keys that come from elsewhere mostly may:
// see SecretKeyInfo.Opens.
func (s *session) checkSecretKey(ctx context.Context, handle pkcs11.ObjectHandle, use Use, size int) (SecretKeyInfo, error) {
	o, err := s.readObject(ctx, handle)
	if err != nil {
		return SecretKeyInfo{}, err
	}
	types := []uint{pkcs11.CKA_KEY_TYPE, pkcs11.CKA_VALUE_LEN, pkcs11.CKA_LOCAL, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE}
	for _, p := range permissions {
		types = append(types, p.attribute)
	}
	v, err := s.read(ctx, handle, types...)
	if err != nil {
		return SecretKeyInfo{}, err
	}
	info := SecretKeyInfo{Label: o.label, ID: o.id, URI: s.secretURI(o), Size: int(ulongOf(v[1])), Local: stateOf(v[2])}
	may := map[uint]State{}
	for i, p := range permissions {
		may[p.attribute] = stateOf(v[5+i])
	}
	if info.Opens = may[pkcs11.CKA_UNWRAP]; info.Opens != Yes && may[pkcs11.CKA_DECRYPT] != No {
		info.Opens = may[pkcs11.CKA_DECRYPT]
	}
	switch {
	case len(v[0]) == 0 || ulongOf(v[0]) != pkcs11.CKK_AES:
		return info, fmt.Errorf("%w: it is not an AES key", ErrKeyUnfit)
	case info.Size < size:
		return info, fmt.Errorf("%w: it has %d bytes, want %d", ErrKeyUnfit, info.Size, size)
	}
	for _, p := range permissions {
		state := may[p.attribute]
		switch {
		case p.attribute == use.attribute() && state != Yes:
			return info, fmt.Errorf("%w: %s is %s", ErrKeyUnfit, p.name, state)
		case p.attribute != use.attribute() && state == Yes && use == Derivation:
			return info, fmt.Errorf("%w: %s is %s", ErrKeyPolicy, p.name, state)
		}
	}
	if state := stateOf(v[3]); state != Yes {
		return info, fmt.Errorf("%w: CKA_SENSITIVE is %s", ErrKeyPolicy, state)
	}
	if state := stateOf(v[4]); state != No {
		return info, fmt.Errorf("%w: CKA_EXTRACTABLE is %s", ErrKeyPolicy, state)
	}
	return info, nil
}

// ulongOf reads a CK_ULONG, 0 when it is none.
func ulongOf(value []byte) uint {
	switch len(value) {
	case 4:
		return uint(binary.NativeEndian.Uint32(value))
	case 8:
		return uint(binary.NativeEndian.Uint64(value))
	}
	return 0
}

// needMechanisms names the first that the token does not have.
func (s *session) needMechanisms(codes ...uint) error {
	offered, err := s.p.GetMechanismList(s.conn.slot)
	if err != nil {
		return call("C_GetMechanismList", err)
	}
	for _, code := range codes {
		if !slices.ContainsFunc(offered, func(m *pkcs11.Mechanism) bool { return m.Mechanism == code }) {
			return fmt.Errorf("%w: %s", ErrMechanism, mechanismName(code))
		}
	}
	return nil
}

// sessionKey is the template of an AES key that lives as long as the session,
// can be wrapped, and can compute its check value. A size of 0 is left out.
func sessionKey(size int) []*pkcs11.Attribute {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
	}
	for _, p := range permissions {
		if p.attribute != pkcs11.CKA_SIGN {
			template = append(template, pkcs11.NewAttribute(p.attribute, false))
		}
	}
	if size > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, size))
	}
	return template
}

// derive makes a session key of the length of data.
func (s *session) derive(master pkcs11.ObjectHandle, data []byte) (pkcs11.ObjectHandle, error) {
	// CK_KEY_DERIVATION_STRING_DATA (PKCS#11 v2.40 mechanisms, section 2.15.1),
	// for which miekg/pkcs11 has no type. It copies the struct to C memory; what
	// the pointer in it leads to stays where it is while it is pinned.
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&data[0])
	param := struct {
		data *byte
		size uint // CK_ULONG
	}{&data[0], uint(len(data))}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&param)), unsafe.Sizeof(param))
	mechanism := pkcs11.NewMechanism(pkcs11.CKM_AES_ECB_ENCRYPT_DATA, bytes.Clone(raw))
	handle, err := s.p.DeriveKey(s.handle, []*pkcs11.Mechanism{mechanism}, master, sessionKey(len(data)))
	if err := call("C_DeriveKey", err); hasCode(err, pkcs11.CKR_MECHANISM_INVALID) {
		return 0, missing(pkcs11.CKM_AES_ECB_ENCRYPT_DATA, err)
	} else if err != nil {
		return 0, err
	}
	return handle, nil
}

func (s *session) generateSession(size int) (pkcs11.ObjectHandle, error) {
	handle, err := s.p.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, sessionKey(size))
	return handle, call("C_GenerateKey", err)
}

// wrapKey wraps a key of size bytes.
func (s *session) wrapKey(transport, key pkcs11.ObjectHandle, size int) ([]byte, error) {
	wrapped, err := s.p.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP, nil)}, transport, key)
	if err != nil {
		return nil, call("C_WrapKey", err)
	}
	if len(wrapped) != size+8 {
		return nil, fmt.Errorf("%w: its %s makes %d bytes of %d, RFC 3394 makes %d", ErrMechanism, WrapMechanism, len(wrapped), size, size+8)
	}
	return wrapped, nil
}

// keyCheckValue is KeyCheckValue, computed in the token.
func (s *session) keyCheckValue(key pkcs11.ObjectHandle) ([]byte, error) {
	if err := s.p.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CMAC, nil)}, key); err != nil {
		return nil, call("C_SignInit", err)
	}
	mac, err := s.p.Sign(s.handle, make([]byte, 16))
	if err != nil {
		return nil, call("C_Sign", err)
	}
	if len(mac) < KeyCheckSize {
		return nil, fmt.Errorf("%w: its CKM_AES_CMAC gives %d bytes", ErrMechanism, len(mac))
	}
	return mac[:KeyCheckSize], nil
}

// GenerateSecretKey makes an AES-256 key in the token that can be used for one
// thing only, see Use, and cannot be extracted. Before it returns, the
// attributes are read back and the key is tried; one that fails is deleted, and
// the error wraps ErrKeyUnfit or ErrKeyPolicy. A label or id that a secret key of
// the token has already wraps ErrKeyExists.
//
// It opens a read-write session of its own for the time of the call.
func (t *Token) GenerateSecretKey(ctx context.Context, spec SecretKeySpec) (SecretKeyInfo, error) {
	switch {
	case spec.Use != Derivation && spec.Use != Wrapping:
		return SecretKeyInfo{}, fmt.Errorf("hsm: new key: %w: it is for nothing", ErrKeySpec)
	case spec.Label == "" || len(spec.Label) > maxLabelLength:
		return SecretKeyInfo{}, fmt.Errorf("hsm: new key: %w: label of %d bytes, want 1 to %d", ErrKeySpec, len(spec.Label), maxLabelLength)
	case len(spec.ID) > maxIDLength:
		return SecretKeyInfo{}, fmt.Errorf("hsm: new key: %w: id of %d bytes, want at most %d", ErrKeySpec, len(spec.ID), maxIDLength)
	}
	spec.ID = slices.Clone(spec.ID)
	if len(spec.ID) == 0 {
		spec.ID = make([]byte, defaultIDLength)
		_, _ = rand.Read(spec.ID) // never fails
	}
	var info SecretKeyInfo
	err := t.do(ctx, func(s *session) (err error) {
		if t.options.PIN == nil && s.info.LoginRequired {
			return ErrPINRequired
		}
		if err := s.checkSecretUnused(ctx, spec); err != nil {
			return err
		}
		if info, err = s.generateToken(ctx, spec); err != nil {
			return fmt.Errorf("new key %s: %w", selector(URI{Object: spec.Label, ID: spec.ID}), err)
		}
		return nil
	})
	return info, err
}

func (s *session) checkSecretUnused(ctx context.Context, spec SecretKeySpec) error {
	for _, template := range [][]*pkcs11.Attribute{secretTemplate(spec.Label, nil), secretTemplate("", spec.ID)} {
		handles, err := s.find(ctx, template)
		if err != nil {
			return err
		}
		if len(handles) > 0 {
			uris, err := s.listSecretKeys(ctx, handles)
			return cmp.Or(err, fmt.Errorf("%w: %s", ErrKeyExists, uris))
		}
	}
	return nil
}

// generateToken makes a token object and keeps it if it is fit.
func (s *session) generateToken(ctx context.Context, spec SecretKeySpec) (info SecretKeyInfo, err error) {
	wanted := []uint{pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_KEY_WRAP}
	if spec.Use == Derivation {
		wanted = []uint{pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_ECB_ENCRYPT_DATA}
	}
	if err := s.needMechanisms(wanted...); err != nil {
		return info, err
	}
	rw, err := s.p.OpenSession(s.conn.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err := call("C_OpenSession", err); hasCode(err, pkcs11.CKR_SESSION_COUNT) {
		return info, fmt.Errorf("%w: making a key takes a second one beside that of the login: %w", ErrSessions, err)
	} else if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, call("C_CloseSession", s.p.CloseSession(rw))) }()
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, spec.Label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, spec.ID),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
	}
	for _, p := range permissions {
		template = append(template, pkcs11.NewAttribute(p.attribute, p.attribute == spec.Use.attribute()))
	}
	handle, err := s.p.GenerateKey(rw, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, template)
	if err != nil {
		return info, call("C_GenerateKey", err)
	}
	if info, err = s.checkNew(ctx, handle, spec.Use); err == nil {
		err = s.checkSecretAlone(ctx, spec)
	}
	if err == nil {
		return info, nil
	}
	if undone := s.p.DestroyObject(rw, handle); undone != nil {
		err = fmt.Errorf("%w; and it is still on the token: %w", err, call("C_DestroyObject", undone))
	}
	return info, err
}

// checkSecretAlone finds a key that another program has made under the same
// label since that was looked for.
func (s *session) checkSecretAlone(ctx context.Context, spec SecretKeySpec) error {
	handles, err := s.find(ctx, secretTemplate(spec.Label, nil))
	switch {
	case err != nil:
		return err
	case len(handles) > 1:
		return errMeanwhile
	}
	return nil
}

// checkNew does not take the token's word: it reads the attributes back and
// tries the key.
func (s *session) checkNew(ctx context.Context, handle pkcs11.ObjectHandle, use Use) (SecretKeyInfo, error) {
	info, err := s.checkSecretKey(ctx, handle, use, 32)
	switch {
	case err != nil:
		return info, err
	case use == Wrapping && info.Opens == Yes:
		return info, fmt.Errorf("%w: it can also unwrap or decrypt", ErrKeyPolicy)
	}
	var trial pkcs11.ObjectHandle
	if use == Derivation {
		trial, err = s.derive(handle, make([]byte, 16))
	} else {
		trial, err = s.generateSession(16)
	}
	if err != nil {
		return info, fmt.Errorf("trial: %w", err)
	}
	if use == Derivation {
		_, err = s.keyCheckValue(trial)
	} else {
		_, err = s.wrapKey(handle, trial, 16)
	}
	if err = cmp.Or(err, call("C_DestroyObject", s.p.DestroyObject(s.handle, trial))); err != nil {
		return info, fmt.Errorf("trial: %w", err)
	}
	return info, nil
}
