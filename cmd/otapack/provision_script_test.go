package main

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/provision"
)

// scriptUnwrap does what a factory does with the record of one device: it
// unwraps the secret with the transport key, compares the check value, and of a
// recipient the public half, and writes the secret to a file, a private key as
// PEM. With a master key it also derives the secret itself and compares.
//
//	unwrap FILE TRANSPORT SERIAL COMPONENT PURPOSE OUTPUT [MASTER]
func scriptUnwrap(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "unwrap FILE TRANSPORT SERIAL COMPONENT PURPOSE OUTPUT [MASTER]", 6, 7)
	key := func(s string) []byte {
		b, err := hex.DecodeString(s)
		ts.Check(err)
		return b
	}
	r, err := provision.NewReader(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	checked, err := unwrapRFC3394(key(args[1]), r.Header.Check.Wrapped)
	ts.Check(err)
	value, err := hsm.KeyCheckValue(checked)
	ts.Check(err)
	if !bytes.Equal(value, r.Header.Check.KCV) {
		ts.Fatalf("check value %x in the header, want %x", []byte(r.Header.Check.KCV), value)
	}
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			ts.Fatalf("no such record")
		}
		ts.Check(err)
		if rec.Serial != args[2] || rec.Component != args[3] || rec.Purpose != args[4] {
			continue
		}
		secret, err := unwrapRFC3394(key(args[1]), rec.Wrapped)
		ts.Check(err)
		value, err := hsm.KeyCheckValue(secret)
		ts.Check(err)
		if !bytes.Equal(value, rec.KCV) {
			ts.Fatalf("check value %x, want %x", []byte(rec.KCV), value)
		}
		for _, where := range []string{args[0], "stdout", "stderr"} {
			text := ts.ReadFile(where)
			for _, clear := range []string{hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), string(secret)} {
				if strings.Contains(text, clear) {
					ts.Fatalf("%s has the secret in clear", where)
				}
			}
		}
		if len(args) == 7 {
			block, err := aes.NewCipher(key(args[6]))
			ts.Check(err)
			d := provision.Diversifier(r.Header.Product, rec.Component, rec.Serial, rec.Purpose, len(secret))
			for i := 0; i < len(d); i += aes.BlockSize {
				block.Encrypt(d[i:], d[i:])
			}
			if !bytes.Equal(d, secret) {
				ts.Fatalf("the master key derives another secret")
			}
		}
		if rec.Kind == provision.Recipient {
			secret = recipientPEM(ts, rec, secret)
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[5]), secret, 0o600))
		return
	}
}

func recipientPEM(ts *testscript.TestScript, rec provision.Record, scalar []byte) []byte {
	private, err := ecdh.P256().NewPrivateKey(scalar)
	ts.Check(err)
	to, err := encrypt.ParseRecipient(rec.PublicKey)
	ts.Check(err)
	if !to.Public.Equal(private.PublicKey()) {
		ts.Fatalf("the public half is that of another key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	ts.Check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// unwrapRFC3394 is section 2.2.2 of the RFC.
func unwrapRFC3394(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(wrapped)/8 - 1
	r := bytes.Clone(wrapped)
	b := append(bytes.Clone(r[:8]), make([]byte, 8)...)
	for t := 6 * n; t >= 1; t-- {
		part := r[8*((t-1)%n+1):][:8]
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)^uint64(t))
		copy(b[8:], part)
		block.Decrypt(b, b)
		copy(part, b[8:])
	}
	if !bytes.Equal(b[:8], bytes.Repeat([]byte{0xa6}, 8)) {
		return nil, errors.New("it does not unwrap")
	}
	return r[8:], nil
}
