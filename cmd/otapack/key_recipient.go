package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/internal/atomicfile"
)

func (a *app) keyRecipientCommand() *cobra.Command {
	var private, public string
	c := &cobra.Command{
		Use:   "recipient --private-out <file> --public-out <file>",
		Short: "Make a device's decryption key for the bench",
		Long: `Make a P-256 key pair that a device decrypts payloads with, and write both halves
as PEM files. The private half is in clear text: this is for development boards
and tests, whose key you burn by hand. Keys of production devices are
made wrapped, by otapack provision.`,
		Example: "  otapack key recipient --private-out bench/radio.key.pem --public-out keys/radio-device.pub.pem",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if private == "" || public == "" {
				return usagef("--private-out and --public-out are both needed")
			}
			if filepath.Clean(private) == filepath.Clean(public) {
				return usagef("--private-out and --public-out name the same file")
			}
			return a.keyRecipient(private, public)
		},
	}
	f := c.Flags()
	f.StringVar(&private, "private-out", "", "`file` for the private half, PKCS #8 PEM, mode 0600")
	f.StringVar(&public, "public-out", "", "`file` for the public half, SubjectPublicKeyInfo PEM")
	return c
}

type recipientResult struct {
	Schema  string `json:"schema"`
	KeyID   string `json:"key_id"` // as in the manifest, hexadecimal
	Private string `json:"private"`
	Public  string `json:"public"`
}

func (a *app) keyRecipient(private, public string) error {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(pkcs8)
	spki, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	if err != nil {
		return err
	}
	to, err := encrypt.NewRecipient(key.PublicKey())
	if err != nil {
		return err
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	defer clear(secret)
	paths := make([]string, 2)
	for i, p := range []string{private, public} {
		if paths[i], err = filepath.Abs(p); err != nil {
			return err
		}
	}
	set := atomicfile.NewSet(filepath.Dir(paths[0]))
	defer set.Abort() // nothing is left after Commit
	if err := set.WritePrivate(paths[0], secret); err != nil {
		return err
	}
	if err := set.Write(paths[1], pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})); err != nil {
		return err
	}
	if err := set.Commit(); err != nil {
		return err
	}
	a.say("private half in %s: for the bench only", private)
	r := recipientResult{"otapack.key-recipient/1", fmt.Sprintf("%x", to.KeyID), private, public}
	return a.result(r, public+"\n")
}
