package manifest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"

	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// A manifest is built, signed with a key that lives as long as the example, and
// held against the device that it is made for.
func ExampleNew() {
	image := []byte("the image as it is executed")
	vendor := manifest.VendorID("acme.example")
	m := manifest.Manifest{
		Sequence: 1042,
		Version:  manifest.Version{1, 4, 2},
		Vendor:   vendor,
		Class:    manifest.ClassID(vendor, "toothbrush-radio", "B2"),
		Image:    manifest.Content{Digest: sha256.Sum256(image), Size: uint32(len(image))},
		Install:  &manifest.Install{URI: "#radio"},
	}

	signer, err := sign.Throwaway(sign.ESP256)
	if err != nil {
		log.Fatal(err)
	}
	draft, err := manifest.New(m, []sign.PublicKey{signer.Public()}, manifest.Options{Artifact: "radio manifest"})
	if err != nil {
		log.Fatal(err)
	}
	signatures, err := sign.Answer(context.Background(), draft.Requests(), map[sign.KeyID]sign.Signer{signer.Public().ID(): signer})
	if err != nil {
		log.Fatal(err)
	}
	envelope, err := draft.Finish(signatures)
	if err != nil {
		log.Fatal(err)
	}

	var trust sign.TrustSet
	if err := trust.Add(sign.RoleManifest, 1, signer.Public()); err != nil {
		log.Fatal(err)
	}
	device := manifest.Device{Vendor: vendor, Class: manifest.ClassID(vendor, "toothbrush-radio", "B2"), MinSequence: 1041}
	verified, err := manifest.Verify(envelope, &trust, device)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(envelope), "bytes, version", verified.Manifest().Version)

	device.Class = manifest.ClassID(vendor, "toothbrush-radio", "C1")
	_, err = manifest.Verify(envelope, &trust, device)
	fmt.Println(verdict.Of(err))
	// Output:
	// 261 bytes, version 1.4.2
	// class-mismatch
}
