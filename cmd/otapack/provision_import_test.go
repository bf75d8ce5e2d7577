//go:build cgo

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/miekg/pkcs11"
)

// p11import is a program that puts a secret key on the token otapack-test, as a
// factory or a careless administrator does:
//
//	p11import LABEL VALUE [permission]...
//
// The value is hexadecimal. The permissions are those below; without any the key
// may do nothing, cannot be read and cannot be extracted.
func p11import() {
	if err := importSecretKey(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintf(os.Stderr, "p11import: %v\n", err)
		os.Exit(1)
	}
}

func importSecretKey(label, value string, permissions []string) error {
	raw, err := hex.DecodeString(value)
	if err != nil {
		return err
	}
	pin, err := os.ReadFile(".otapack/pin")
	if err != nil {
		return err
	}
	set := map[string]uint{
		"derive": pkcs11.CKA_DERIVE, "wrap": pkcs11.CKA_WRAP, "unwrap": pkcs11.CKA_UNWRAP, "encrypt": pkcs11.CKA_ENCRYPT, "decrypt": pkcs11.CKA_DECRYPT,
		"sign": pkcs11.CKA_SIGN, "verify": pkcs11.CKA_VERIFY, "extractable": pkcs11.CKA_EXTRACTABLE, "sensitive": pkcs11.CKA_SENSITIVE,
	}
	keyType := uint(pkcs11.CKK_AES)
	has := map[uint]bool{pkcs11.CKA_SENSITIVE: true}
	for _, p := range permissions {
		switch a, ok := set[p]; {
		case p == "generic":
			keyType = pkcs11.CKK_GENERIC_SECRET
		case p == "readable":
			has[pkcs11.CKA_SENSITIVE] = false
		case !ok:
			return fmt.Errorf("unknown permission %q", p)
		default:
			has[a] = true
		}
	}
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, raw),
	}
	for _, a := range set {
		template = append(template, pkcs11.NewAttribute(a, has[a]))
	}
	p := pkcs11.New(softhsm())
	if p == nil {
		return errors.New("no module")
	}
	if err := p.Initialize(); err != nil {
		return err
	}
	slots, err := p.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		if err != nil || info.Label != "otapack-test" {
			continue
		}
		session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return err
		}
		if err := p.Login(session, pkcs11.CKU_USER, strings.TrimSpace(string(pin))); err != nil {
			return err
		}
		_, err = p.CreateObject(session, template)
		return err
	}
	return errors.New("no token otapack-test")
}
