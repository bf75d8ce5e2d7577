package ceremony_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
)

// fixed signs with a key and a nonce that are the same in every run.
type fixed struct {
	sign.PublicKey
	private *ecdsa.PrivateKey
}

func newFixed(t testing.TB, a sign.Algorithm) fixed {
	t.Helper()
	private, err := ecdsa.ParseRawPrivateKey(a.Curve(), a.Digest([]byte("otapack test key"))[:a.SignatureSize()/2])
	if err != nil {
		t.Fatal(err)
	}
	public, err := sign.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fixed{public, private}
}

func (f fixed) Public() sign.PublicKey { return f.PublicKey }

func (f fixed) Sign(ctx context.Context, message []byte) (sign.Signature, error) {
	return f.SignDigest(ctx, f.Algorithm().Digest(message))
}

func (f fixed) SignDigest(_ context.Context, digest []byte) (sign.Signature, error) {
	der, err := f.private.Sign(nil, digest, f.Algorithm().Hash()) // RFC 6979
	if err != nil {
		return sign.Signature{}, err
	}
	return sign.ParseSignature(f.Algorithm(), sign.DER, der)
}

// full has every field.
func full(key sign.PublicKey) ceremony.Record {
	spec := ceremony.Digest(sha256.Sum256([]byte("specification")))
	return ceremony.Record{
		Tool: "otapack v1.2.0",
		Time: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC),
		Ceremony: ceremony.Ceremony{
			Operators: []string{"Ada Lovelace", "Zoë Müller"},
			Witnesses: []string{"李雷"},
			Purpose:   "Yearly rotation: replaces fw-2025.",
			Place:     "Vault 2, Bern",
		},
		Spec: &spec,
		Module: ceremony.Module{
			Manufacturer: "SoftHSM", Description: "Implementation of PKCS11", Version: "2.6", Cryptoki: "2.40",
			SHA256: sha256.Sum256([]byte("module")),
		},
		Token: ceremony.Token{
			Label: "fw-release", Serial: "108bff019a19f13a", Model: "SoftHSM v2", Manufacturer: "SoftHSM project", Firmware: "2.6", Hardware: "2.6",
		},
		Key: ceremony.Key{
			Label: "fw-2026", ID: []byte{0x0a, 0x01}, Usage: "manifest", Public: key, Mechanism: "CKM_EC_KEY_PAIR_GEN",
			Attributes: ceremony.Attributes{
				Local: ceremony.Yes, Sensitive: ceremony.Yes, AlwaysSensitive: ceremony.Yes, Extractable: ceremony.No, NeverExtractable: ceremony.Yes,
				Sign: ceremony.Yes, Decrypt: ceremony.No, Unwrap: ceremony.No, Derive: ceremony.No, AlwaysAuthenticate: ceremony.Unknown,
			},
		},
	}
}

// bare has nothing that can be left out.
func bare(key sign.PublicKey) ceremony.Record {
	return ceremony.Record{
		Tool: "t", Time: time.Unix(0, 0).UTC(),
		Key: ceremony.Key{Label: "k", ID: []byte{0}, Public: key},
	}
}

func mustSign(t testing.TB, r ceremony.Record, s sign.Signer) []byte {
	t.Helper()
	data, err := ceremony.Sign(t.Context(), r, s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// message signs a payload of any content.
func message(t testing.TB, payload []byte, s sign.Signer) []byte {
	t.Helper()
	a := s.Public().Algorithm()
	signed, err := cose.ToBeSigned(a, payload)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.Sign(t.Context(), signed)
	if err != nil {
		t.Fatal(err)
	}
	hint := s.Public().ID().Hint()
	return encode(t, cose.Sign1{Algorithm: a.COSE(), KeyID: hint[:], Payload: payload, Signature: signature})
}

func encode(t testing.TB, m cose.Sign1) []byte {
	t.Helper()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := cose.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wire is a COSE_Sign1 as another program reads it.
type wire struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]any
	Payload     []byte
	Signature   []byte
}

func unwrap(t testing.TB, data []byte) wire {
	t.Helper()
	var tag cbor.RawTag
	var w wire
	if err := cbor.Unmarshal(data, &tag); err != nil || tag.Number != 18 {
		t.Fatalf("tag %d, %v", tag.Number, err)
	}
	if err := cbor.Unmarshal(tag.Content, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// object is a map of the payload as another program reads it, with keys of type
// int.
type object = map[any]any

func payload(t testing.TB, data []byte) object {
	t.Helper()
	var o object
	if err := cbor.Unmarshal(unwrap(t, data).Payload, &o); err != nil {
		t.Fatal(err)
	}
	return withIntKeys(o)
}

func withIntKeys(o object) object {
	out := object{}
	for k, v := range o {
		if sub, ok := v.(object); ok {
			v = withIntKeys(sub)
		}
		out[int(k.(uint64))] = v
	}
	return out
}
