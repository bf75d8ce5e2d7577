package provision

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/formats/payload/encrypt"
)

// Maker makes AES keys of 16 or 32 bytes and gives them out wrapped (RFC 3394),
// each with its check value: the first CheckSize bytes of AES-CMAC over 16 zero
// bytes. It may be called from several goroutines.
type Maker interface {
	// Derive gives the same key for the same data, which is as long as the key:
	// AES-ECB of the data under a master key.
	Derive(ctx context.Context, data []byte) (wrapped, check []byte, err error)
	// Generate gives a random key.
	Generate(ctx context.Context, size int) (wrapped, check []byte, err error)
	// Import takes a key that the caller made, and wipes.
	Import(ctx context.Context, key []byte) (wrapped, check []byte, err error)
}

// CheckSize is the length of a key check value in bytes.
const CheckSize = 5

// Mechanism is how secrets are wrapped, as records name it.
const Mechanism = "CKM_AES_KEY_WRAP"

// wrapOverhead is what RFC 3394 adds to a key, in bytes.
const wrapOverhead = 8

// ErrSelfTest is a token that does not do the same thing twice.
var ErrSelfTest = errors.New("self-test failed")

// Kind says how a secret is made.
type Kind string

// The kinds.
const (
	Derive    Kind = "derive"    // AES key derived from the master key
	Generate  Kind = "generate"  // random AES key, made in the token
	Recipient Kind = "recipient" // private key of a P-256 pair, 32 bytes big-endian, made on the host
)

// Secret is one secret of each device.
type Secret struct {
	Component string `json:"component"` // name of the microcontroller in the project
	Purpose   string `json:"purpose"`   // unique in the component
	Kind      Kind   `json:"kind"`
	Bytes     int    `json:"bytes"` // 16 or 32; 32 for Recipient
}

func (s Secret) check() error {
	switch {
	case !namePattern.MatchString(s.Component) || !namePattern.MatchString(s.Purpose):
		return errors.New("component and purpose have to be names")
	case s.Kind != Derive && s.Kind != Generate && s.Kind != Recipient:
		return fmt.Errorf("unknown kind %.20q", s.Kind)
	case s.Bytes != 32 && (s.Bytes != 16 || s.Kind == Recipient):
		return fmt.Errorf("%d bytes are not possible", s.Bytes)
	}
	return nil
}

// Domains of the two kinds of input to a derivation. They differ, so that no
// device can have the key of the self-test.
const (
	deviceDomain = "otapack device key v1"
	checkDomain  = "otapack self-test key v1"
)

// Diversifier returns what the master key encrypts to make the key of one
// device: the first size bytes of the SHA-256 of
//
//	domain, product, component, serial, purpose, size
//
// each of them with its length in front as a 16-bit big-endian number, the
// domain being "otapack device key v1" and the size of the key in bytes being
// one byte. No two lists of texts give the same input, and a short key is no
// part of a long one. The texts have at most 65,535 bytes.
func Diversifier(product, component, serial, purpose string, size int) []byte {
	return diversifier(deviceDomain, product, component, serial, purpose, string([]byte{byte(size)}))[:size]
}

func diversifier(fields ...string) []byte {
	h := sha256.New()
	for _, f := range fields {
		_ = binary.Write(h, binary.BigEndian, uint16(len(f))) // hash.Hash never fails
		_, _ = h.Write([]byte(f))
	}
	return h.Sum(nil)
}

// Check is a secret that no device has, made with the same keys as those of the
// devices. Whoever has the transport key can unwrap it and compare its check
// value, before the first device and without harm. With a master key it is
// derived, without one it is 16 zero bytes.
type Check struct {
	Wrapped Hex `json:"wrapped"`
	KCV     Hex `json:"kcv"`
}

// checkBytes is the length of that secret.
const checkBytes = 16

// SelfTest makes the Check of a product twice and insists that both are equal:
// else the error wraps ErrSelfTest.
func SelfTest(ctx context.Context, m Maker, secrets []Secret, product string) (Check, error) {
	one, err := makeCheck(ctx, m, secrets, product)
	if err != nil {
		return Check{}, fmt.Errorf("provision: self-test: %w", err)
	}
	two, err := makeCheck(ctx, m, secrets, product)
	if err != nil {
		return Check{}, fmt.Errorf("provision: self-test: %w", err)
	}
	switch {
	case !one.equal(two):
		return Check{}, fmt.Errorf("provision: %w: the token gave two answers to one question", ErrSelfTest)
	case len(one.Wrapped) != checkBytes+wrapOverhead || len(one.KCV) != CheckSize:
		return Check{}, fmt.Errorf("provision: %w: %d bytes wrapped and a check value of %d", ErrSelfTest, len(one.Wrapped), len(one.KCV))
	}
	return one, nil
}

func makeCheck(ctx context.Context, m Maker, secrets []Secret, product string) (Check, error) {
	if slices.ContainsFunc(secrets, func(s Secret) bool { return s.Kind == Derive }) {
		wrapped, check, err := m.Derive(ctx, diversifier(checkDomain, product)[:checkBytes])
		return Check{wrapped, check}, err
	}
	wrapped, check, err := m.Import(ctx, make([]byte, checkBytes))
	return Check{wrapped, check}, err
}

func (c Check) equal(o Check) bool {
	return subtle.ConstantTimeCompare(c.Wrapped, o.Wrapped)&subtle.ConstantTimeCompare(c.KCV, o.KCV) == 1
}

// newRecord makes one secret of one device.
func (h Header) newRecord(ctx context.Context, m Maker, serial string, s Secret) (r Record, err error) {
	r = Record{Serial: serial, Component: s.Component, Purpose: s.Purpose, Kind: s.Kind, Mechanism: h.Mechanism, Module: h.Module}
	switch s.Kind {
	case Derive:
		r.Wrapped, r.KCV, err = m.Derive(ctx, Diversifier(h.Product, s.Component, serial, s.Purpose, s.Bytes))
	case Generate:
		r.Wrapped, r.KCV, err = m.Generate(ctx, s.Bytes)
	case Recipient:
		err = r.makeRecipient(ctx, m)
	}
	if err == nil {
		err = r.check(h, s)
	}
	if err != nil {
		return Record{}, fmt.Errorf("provision: device %s: %s %s: %w", serial, s.Component, s.Purpose, err)
	}
	return r, nil
}

// makeRecipient makes the pair on the host, because PKCS#11 modules do not
// agree on how they wrap an EC private key: the number alone, which is what a
// device needs, is wrapped as if it were an AES key. It is in memory for the
// time of this call. What is copied here is wiped; the copy inside the pair,
// which crypto/ecdh does not let go of, is left to the garbage collector.
func (r *Record) makeRecipient(ctx context.Context, m Maker) error {
	pair, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	scalar := pair.Bytes()
	defer clear(scalar)
	if r.Wrapped, r.KCV, err = m.Import(ctx, scalar); err != nil {
		return err
	}
	if r.PublicKey, err = x509.MarshalPKIXPublicKey(pair.PublicKey()); err != nil {
		return err
	}
	to, err := encrypt.NewRecipient(pair.PublicKey())
	r.KeyID = to.KeyID
	return err
}
