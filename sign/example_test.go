package sign_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/otapack/otapack/sign"
)

func ExampleChecked() {
	ctx := context.Background()
	token, err := sign.Throwaway(sign.ESP256) // in its place: a key of package hsm
	if err != nil {
		log.Fatal(err)
	}

	// The public half comes from the configuration, not from the token.
	pinned, err := sign.ParsePublicKey(token.Public().PEM())
	if err != nil {
		log.Fatal(err)
	}
	signer, err := sign.Checked(token, pinned)
	if err != nil {
		log.Fatal(err)
	}
	signature, err := signer.Sign(ctx, []byte("the exact bytes"))
	if err != nil {
		log.Fatal(err) // also when the token answered with a signature of another key
	}
	fmt.Println(signature, len(signature.Encode(sign.Raw)))

	other, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		log.Fatal(err)
	}
	_, err = sign.Checked(other, pinned)
	fmt.Println(errors.Is(err, sign.ErrKeyMismatch))
	// Output:
	// esp256 signature 64
	// true
}

func ExampleTrustSet_Check() {
	ctx := context.Background()
	engineer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		log.Fatal(err)
	}
	reviewer, err := sign.Throwaway(sign.ESP384)
	if err != nil {
		log.Fatal(err)
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleRelease, 2, engineer.Public(), reviewer.Public()); err != nil {
		log.Fatal(err)
	}

	message := []byte("the exact bytes")
	requests := []sign.Request{
		{Artifact: "release record", Role: sign.RoleRelease, Key: engineer.Public().ID(), Message: message},
		{Artifact: "release record", Role: sign.RoleRelease, Key: reviewer.Public().ID(), Message: message},
	}
	signatures, err := sign.Answer(ctx, requests, map[sign.KeyID]sign.Signer{
		engineer.Public().ID(): engineer,
		reviewer.Public().ID(): reviewer,
	})
	if err != nil {
		log.Fatal(err)
	}

	first := sign.Candidate{Message: message, Signature: signatures[0]}
	second := sign.Candidate{Message: message, Signature: signatures[1]}
	_, err = trust.Check(sign.RoleRelease, []sign.Candidate{first, first})
	fmt.Println(err)
	keys, err := trust.Check(sign.RoleRelease, []sign.Candidate{second, first})
	fmt.Println(len(keys), err)
	// Output:
	// sign: role release: 1 of 2 required signatures: too few valid signatures
	// 2 <nil>
}
