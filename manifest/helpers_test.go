package manifest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"io"
	"testing"

	"github.com/otapack/otapack/internal/forge"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// deterministic signs with the nonce of RFC 6979, as the published vectors do:
// that is what crypto/ecdsa does without a source of randomness.
type deterministic struct{ *ecdsa.PrivateKey }

func (k deterministic) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, o)
}

func newSigner(t testing.TB, key *ecdsa.PrivateKey) sign.Signer {
	t.Helper()
	s, err := sign.FromCrypto(deterministic{key})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// vectorSigner has the key that signed all published vectors.
func vectorSigner(t testing.TB) sign.Signer {
	t.Helper()
	data, err := testvectors.Read("suit/manifest-37/private_key.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key.(*ecdsa.PrivateKey))
}

// testSigner has a key that is made from a name.
func testSigner(t testing.TB, a sign.Algorithm, name string) sign.Signer {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(a.Curve(), a.Digest([]byte(name))[:a.SignatureSize()/2])
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

func publicKeys(signers []sign.Signer) []sign.PublicKey {
	var keys []sign.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	return keys
}

// trusting trusts the signers' keys for role.
func trusting(t testing.TB, role sign.Role, threshold int, signers ...sign.Signer) *sign.TrustSet {
	t.Helper()
	var set sign.TrustSet
	if err := set.Add(role, threshold, publicKeys(signers)...); err != nil {
		t.Fatal(err)
	}
	return &set
}

type finisher interface {
	Requests() []sign.Request
	Finish([]sign.Signature) ([]byte, error)
}

// finish has the requests of a draft answered.
func finish(t testing.TB, d finisher, signers ...sign.Signer) []byte {
	t.Helper()
	byID := map[sign.KeyID]sign.Signer{}
	for _, s := range signers {
		byID[s.Public().ID()] = s
	}
	signatures, err := sign.Answer(t.Context(), d.Requests(), byID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := d.Finish(signatures)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// build makes a signed envelope.
func build(t testing.TB, m Manifest, o Options, signers ...sign.Signer) []byte {
	t.Helper()
	d, err := New(m, publicKeys(signers), o)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, d, signers...)
}

func hexVector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Hex("suit/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func rawVector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Read("suit/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cose.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantReason(t *testing.T, err error, want verdict.Reason) {
	t.Helper()
	if got := verdict.Of(err); err == nil || got != want {
		t.Errorf("got %v, want reason %q", err, want)
	}
}

// The facts of the test manifests.
var (
	testImage      = bytes.Repeat([]byte("firmware"), 12)
	testCiphertext = bytes.Repeat([]byte("ciphertext!!"), 8)
	testDevice     = Device{Vendor: VendorID("acme.example"), Class: ClassID(VendorID("acme.example"), "brush", "b2"), MinSequence: 1042}
)

func content(b []byte) Content { return Content{sha256.Sum256(b), uint32(len(b))} }

// plainManifest is a T1 for testDevice, whose rollback floor it just meets.
func plainManifest() Manifest {
	return Manifest{
		Sequence: 1042,
		Version:  Version{1, 4, 2},
		Vendor:   testDevice.Vendor,
		Class:    testDevice.Class,
		Image:    content(testImage),
		Install:  &Install{URI: "#ble"},
	}
}

// encryptedManifest is the T3 of plainManifest.
func encryptedManifest() Manifest {
	m := plainManifest()
	m.Staged = true
	m.Install.Received = content(testCiphertext)
	m.Install.Encryption = &cose.Encrypt{IV: [16]byte{1, 2, 3}, Recipients: []cose.Recipient{
		{Algorithm: cose.ECDHESA128KW, KeyID: []byte("ble-enc1"), X: [32]byte{4}, Y: [32]byte{5}, Wrapped: [24]byte{6}},
	}}
	return m
}

// decodedManifest is a T4 of plainManifest: the payload is a difference.
func decodedManifest() Manifest {
	m := plainManifest()
	m.Staged = true
	m.Install.Received = content([]byte("difference"))
	m.Install.Decoding = &Decoding{Coding: CodingOD1, RAM: 12 << 10, Base: &Content{Digest{7}, 80}}
	return m
}

// bothManifest is a T4 whose payload is compressed and encrypted.
func bothManifest() Manifest {
	m := encryptedManifest()
	m.Install.Received = content([]byte("ciphertext"))
	m.Install.Decoding = &Decoding{Coding: CodingZstd, RAM: 1<<32 - 1}
	return m
}

// Short names of package forge.
type (
	item    = forge.Item
	forgery = forge.Envelope
)

const (
	majorUint     = forge.MajorUint
	majorNegative = forge.MajorNegative
	majorBytes    = forge.MajorBytes
	majorText     = forge.MajorText
	majorArray    = forge.MajorArray
	majorMap      = forge.MajorMap
	majorTag      = forge.MajorTag
	majorSimple   = forge.MajorSimple
)

var (
	parseItem    = forge.Parse
	num          = forge.Num
	bin          = forge.Bin
	text         = forge.Text
	list         = forge.List
	dict         = forge.Dict
	null         = forge.Null
	wrap         = forge.Wrap
	tagged       = forge.Tagged
	header       = forge.Header
	protected    = forge.Protected
	sized        = forge.Sized
	nested       = forge.Nested
	openEnvelope = forge.Open
)
