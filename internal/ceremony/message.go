package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// object is what a record is called in errors.
const object = "ceremony record"

// Sign writes a record and has it signed with the key that it is about. It is a
// COSE_Sign1 with the payload attached. The result was read and verified again.
func Sign(ctx context.Context, r Record, s sign.Signer) ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	key := r.Key.Public
	s, err := sign.Checked(s, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object, err)
	}
	payload, err := r.encode()
	if err != nil {
		return nil, err
	}
	message, err := cose.ToBeSigned(key.Algorithm(), payload)
	if err != nil {
		return nil, err
	}
	signature, err := s.Sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object, err)
	}
	hint := key.ID().Hint()
	data, err := cose.Sign1{Algorithm: key.Algorithm().COSE(), KeyID: hint[:], Payload: payload, Signature: signature}.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := Verify(data, key); err != nil {
		return nil, err
	}
	return data, nil
}

// Verified is a record whose signature was checked.
type Verified struct{ record Record }

// Record returns what was signed.
func (v *Verified) Record() Record { return v.record }

// Verify checks that a record is about a key, the pinned one, and was signed with
// it. The signature is checked before the content is read.
func Verify(data []byte, pinned sign.PublicKey) (*Verified, error) {
	message, err := readMessage(data)
	if err != nil {
		return nil, err
	}
	if err := verifyMessage(message, pinned); err != nil {
		// A record of another key deserves to be told from a damaged one.
		if r, e := decode(data, message); e == nil && !r.Key.Public.Equal(pinned) {
			err = otherKey(r.Key, pinned)
		}
		return nil, err
	}
	r, err := decode(data, message)
	switch {
	case err != nil:
		return nil, err
	case !r.Key.Public.Equal(pinned):
		return nil, otherKey(r.Key, pinned)
	}
	return &Verified{r}, nil
}

func verifyMessage(m cose.Sign1, key sign.PublicKey) error {
	if m.Signature.IsZero() {
		return verdict.New(verdict.NoKnownSignature, object, "algorithm %d is not known", m.Algorithm)
	}
	signed, err := cose.ToBeSigned(m.Signature.Algorithm(), m.Payload)
	if err != nil {
		return err
	}
	if err := key.Verify(signed, m.Signature); err != nil {
		return verdict.Wrap(err, verdict.SignatureInvalid, object)
	}
	return nil
}

func otherKey(k Key, pinned sign.PublicKey) error {
	return verdict.New(verdict.CeremonyOtherKey, object, "it is of key %s, not of %s", k.Public.ID().Short(), pinned.ID().Short())
}

// Parse reads a record without looking at the signature, for showing it to
// people.
func Parse(data []byte) (Record, error) {
	message, err := readMessage(data)
	if err != nil {
		return Record{}, err
	}
	return decode(data, message)
}

// IsRecord reports whether data begins like a ceremony record, whole or damaged
// and of whatever version, so that a reader of several kinds of messages can
// choose.
func IsRecord(data []byte) bool {
	const head = 64 // bytes that the headers, the map's first key and the name fit into
	i := bytes.Index(data[:min(len(data), head)], []byte(formatName))
	return i >= 2 && data[i-2] == recordFormat
}

func readMessage(data []byte) (cose.Sign1, error) {
	r := strictcbor.NewReader(object, data)
	m := cose.ReadSign1(r, MaxRecord)
	r.End(verdict.TrailingBytes)
	return m, r.Err()
}

const maxPairs = 16

// decode reads the payload of a message that readMessage has taken. It starts
// from the message, so that offsets count from there.
func decode(data []byte, m cose.Sign1) (Record, error) {
	outer := strictcbor.NewReader(object, data)
	outer.Tag()
	outer.Array(4, 4)
	outer.Raw(1) // protected header
	outer.Raw(2) // unprotected header
	d := decoder{outer.Nested(object, MaxRecord)}
	r := d.record()
	d.End(verdict.TrailingBytes)
	// The key hint is not signed, and there is only one right value.
	if hint := r.Key.Public.ID().Hint(); d.OK() && !bytes.Equal(m.KeyID, hint[:]) {
		d.FailAt(0, verdict.CeremonyKey, "key hint %x, want %x", m.KeyID, hint)
	}
	if err := d.Err(); err != nil {
		return Record{}, err
	}
	return r, nil
}

type decoder struct{ *strictcbor.Reader }

// object reads a map with integer keys. Each of required has to be there, and
// read says whether it knows a key.
func (d decoder) object(what string, required []int64, read func(key int64) bool) {
	at := d.Offset()
	var seen []int64
	d.Map(maxPairs, func(k strictcbor.Key) {
		if k.IsText || !read(k.Int) {
			d.FailAt(at, verdict.UnknownKey, "%s has a key that is not known", what)
			return
		}
		seen = append(seen, k.Int)
	})
	for _, key := range required {
		if !slices.Contains(seen, key) {
			d.FailAt(at, verdict.MissingKey, "%s has no key %d", what, key)
		}
	}
}

// text reads a text that prints, of low to high bytes.
func (d decoder) text(low, high int) string {
	at := d.Offset()
	s := d.Text(low, high)
	if !prints(s) {
		d.FailAt(at, verdict.CeremonyText, "text %q does not print", s)
	}
	return s
}

// choice reads one of a few texts.
func (d decoder) choice(reason verdict.Reason, choices ...string) string {
	at := d.Offset()
	s := d.text(0, MaxText)
	if d.OK() && !slices.Contains(choices, s) {
		d.FailAt(at, reason, "%q, want one of %q", s, choices)
	}
	return s
}

func (d decoder) digest() Digest {
	var sum Digest
	copy(sum[:], d.Bytes(len(sum), len(sum)))
	return sum
}

func (d decoder) record() Record {
	var r Record
	d.object("record", []int64{recordFormat, recordTool, recordTime, recordCeremony, recordModule, recordToken, recordKey}, func(key int64) bool {
		switch key {
		case recordFormat:
			d.choice(verdict.CeremonyFormat, Format)
		case recordTool:
			r.Tool = d.text(1, MaxText)
		case recordTime:
			r.Time = time.Unix(int64(d.Uint(maxTimestamp)), 0).UTC()
		case recordCeremony:
			r.Ceremony = d.ceremony()
		case recordModule:
			r.Module = d.module()
		case recordToken:
			r.Token = d.token()
		case recordKey:
			r.Key = d.key()
		case recordSpec:
			sum := d.digest()
			r.Spec = &sum
		default:
			return false
		}
		return true
	})
	return r
}

func (d decoder) ceremony() Ceremony {
	var c Ceremony
	people := func() (names []string) {
		for range d.Array(0, MaxPeople) {
			names = append(names, d.text(1, MaxText))
		}
		return names
	}
	d.object("ceremony", []int64{ceremonyOperators, ceremonyWitnesses}, func(key int64) bool {
		switch key {
		case ceremonyOperators:
			c.Operators = people()
		case ceremonyWitnesses:
			c.Witnesses = people()
		case ceremonyPurpose:
			c.Purpose = d.text(1, MaxPurpose)
		case ceremonyPlace:
			c.Place = d.text(1, MaxText)
		default:
			return false
		}
		return true
	})
	return c
}

func (d decoder) module() Module {
	var m Module
	d.object("module", []int64{moduleManufacturer, moduleDescription, moduleVersion, moduleCryptoki, moduleSHA256}, func(key int64) bool {
		switch key {
		case moduleManufacturer:
			m.Manufacturer = d.text(0, MaxText)
		case moduleDescription:
			m.Description = d.text(0, MaxText)
		case moduleVersion:
			m.Version = d.text(0, MaxText)
		case moduleCryptoki:
			m.Cryptoki = d.text(0, MaxText)
		case moduleSHA256:
			m.SHA256 = d.digest()
		default:
			return false
		}
		return true
	})
	return m
}

func (d decoder) token() Token {
	var t Token
	d.object("token", []int64{tokenLabel, tokenSerial, tokenModel, tokenManufacturer, tokenFirmware, tokenHardware}, func(key int64) bool {
		switch key {
		case tokenLabel:
			t.Label = d.text(0, MaxText)
		case tokenSerial:
			t.Serial = d.text(0, MaxText)
		case tokenModel:
			t.Model = d.text(0, MaxText)
		case tokenManufacturer:
			t.Manufacturer = d.text(0, MaxText)
		case tokenFirmware:
			t.Firmware = d.text(0, MaxText)
		case tokenHardware:
			t.Hardware = d.text(0, MaxText)
		default:
			return false
		}
		return true
	})
	return t
}

func (d decoder) key() Key {
	var k Key
	var curve string
	var sum Digest
	at := d.Offset()
	d.object("key", []int64{keyLabel, keyID, keyCurve, keySPKIDigest, keySPKI, keyMechanism, keyAttributes}, func(key int64) bool {
		switch key {
		case keyLabel:
			k.Label = d.text(1, MaxText)
		case keyID:
			k.ID = bytes.Clone(d.Bytes(1, MaxID))
		case keyCurve:
			curve = d.text(1, MaxText)
		case keyUsage:
			k.Usage = d.choice(verdict.CeremonyKey, usages...)
		case keySPKIDigest:
			sum = d.digest()
		case keySPKI:
			k.Public = d.publicKey()
		case keyMechanism:
			k.Mechanism = d.text(0, MaxText)
		case keyAttributes:
			k.Attributes = d.attributes()
		default:
			return false
		}
		return true
	})
	if !d.OK() {
		return k
	}
	switch id := sha256.Sum256(k.Public.DER()); {
	case subtle.ConstantTimeCompare(sum[:], id[:]) != 1:
		d.FailAt(at, verdict.CeremonyKey, "digest %x of a public key with %x", sum, id)
	case curve != k.CurveName():
		d.FailAt(at, verdict.CeremonyKey, "curve %q of a public key on %s", curve, k.CurveName())
	}
	return k
}

func (d decoder) publicKey() sign.PublicKey {
	at := d.Offset()
	der := d.Bytes(1, maxSPKI)
	if !d.OK() {
		return sign.PublicKey{}
	}
	key, err := sign.ParsePublicKey(der)
	switch {
	case err != nil:
	case !bytes.Equal(key.DER(), der): // PEM
		err = sign.ErrKey
	case !key.Algorithm().Prehashed(): // the record is a COSE message by this key
		err = fmt.Errorf("%s key: %w", key.Algorithm(), sign.ErrAlgorithm)
	}
	if err != nil {
		d.FailAt(at, verdict.CeremonyKey, "%v", err)
	}
	return key
}

func (d decoder) attributes() Attributes {
	var a Attributes
	fields := a.fields()
	var required []int64
	for i := range fields {
		required = append(required, int64(i+1))
	}
	d.object("attributes", required, func(key int64) bool {
		if key < 1 || key > int64(len(fields)) {
			return false
		}
		*fields[key-1].state = State(d.Uint(uint64(Yes)))
		return true
	})
	return a
}
