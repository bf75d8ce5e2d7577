package bootloader

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"path"
	"testing"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := testvectors.Hex("suit/profile/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vectorTrust trusts the key that has signed the vectors.
func vectorTrust(t testing.TB) *sign.TrustSet {
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
	signer, err := sign.FromCrypto(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return trusting(t, sign.RoleManifest, 1, signer)
}

// vectorIdentity is key 5 of testvectors/suit/test-keys.txt.
func vectorIdentity(t testing.TB) encrypt.Identity {
	t.Helper()
	scalar, err := hex.DecodeString("60FE6DD6D85D5740A5349B6F91267EEAC5BA81B8CB53EE249E4B4EB102C476B3")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return identity(t, key)
}

// vectorCiphertext is the payload of all T3 vectors.
func vectorCiphertext(t testing.TB, trust *sign.TrustSet) []byte {
	t.Helper()
	v, err := manifest.Authenticate(vector(t, "T3-nrf-enc-ecdh-with-payload"), trust)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := v.IntegratedPayload()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// The published instances of the profile. What their class identifiers were
// made from is not published, so no device of this package has their class;
// behind that check the device is theirs. Images of T1 and T2b do not exist.
func TestVectors(t *testing.T) {
	const anyPayload = 245760
	trust := vectorTrust(t)
	ciphertext := vectorCiphertext(t, trust)
	kek := encrypt.NewKEK([]byte("kid-1"), [16]byte(bytes.Repeat([]byte{0x61}, 16)))
	slot := func(n uint32) *uint32 { return &n }
	for _, tt := range []struct {
		name    string
		chip    int
		slot    *uint32
		payload []byte
		id      encrypt.Identity
		step    Step // "" for taken
		reason  verdict.Reason
	}{
		{"T1-nrf-plain", 0, nil, make([]byte, anyPayload), nil, StepImage, verdict.ImageDigestMismatch},
		{"T1-nrf-plain", 1, nil, make([]byte, anyPayload), nil, StepSize, verdict.ImageExceedsBank},
		{"T1-nrf-plain", 0, nil, make([]byte, anyPayload-1), nil, StepSize, verdict.PayloadElementSize},
		{"T1-nrf-plain-kid8", 0, nil, make([]byte, anyPayload), nil, StepImage, verdict.ImageDigestMismatch},
		{"T1-nrf-severable-full", 0, nil, make([]byte, anyPayload), nil, StepImage, verdict.ImageDigestMismatch},
		{"T1-nrf-severable-severed", 0, nil, make([]byte, anyPayload), nil, StepSize, verdict.InstallSevered},
		{"T1-stm32-plain", 1, nil, make([]byte, 98304), nil, StepImage, verdict.ImageDigestMismatch},
		{"T2b-nrf-slot1-only", 0, slot(1), make([]byte, anyPayload), nil, StepImage, verdict.ImageDigestMismatch},
		{"T2b-nrf-slot1-only", 0, slot(0), make([]byte, anyPayload), nil, StepSlot, verdict.SlotMismatch},
		{"T3-nrf-enc-ecdh-a128ctr", 0, nil, ciphertext, vectorIdentity(t), "", ""},
		{"T3-nrf-enc-ecdh-a128ctr", 0, nil, flip(ciphertext, 8191), vectorIdentity(t), StepCiphertext, verdict.CiphertextDigestMismatch},
		{"T3-nrf-enc-ecdh-a128ctr", 0, nil, ciphertext, nil, StepUnwrap, verdict.RecipientKeyMissing},
		{"T3-nrf-enc-ecdh-a128ctr", 0, nil, ciphertext, kek, StepUnwrap, verdict.KeyUnwrap},
		{"T3-nrf-enc-ecdh-severable-full", 0, nil, ciphertext, vectorIdentity(t), "", ""},
		{"T3-nrf-enc-ecdh-severable-severed", 0, nil, ciphertext, vectorIdentity(t), StepSize, verdict.InstallSevered},
		{"T3-nrf-enc-ecdh-with-payload", 0, nil, ciphertext, vectorIdentity(t), "", ""},
		{"T3-nrf-enc-a128kw-a128ctr", 0, nil, ciphertext, kek, "", ""},
		{"T3-nrf-enc-a128kw-a128ctr", 0, nil, ciphertext, vectorIdentity(t), StepUnwrap, verdict.KeyUnwrap},

		{"T1-nrf-two-hw-revs", 0, nil, nil, nil, StepManifest, verdict.UnknownCommand},
		{"T2-nrf-ab-xip", 0, nil, nil, nil, StepManifest, verdict.UnknownCommand},
		{"T4-two-mcus-one-envelope", 0, nil, nil, nil, StepManifest, verdict.MissingParameter},
		{"T5-nrf-plain-peer-version", 0, nil, nil, nil, StepManifest, verdict.UnknownParameter},
		{"C1-cose-sign1-small-map", 0, nil, nil, nil, StepEnvelope, verdict.WrongTag},
	} {
		t.Run(tt.name, func(t *testing.T) {
			envelope := vector(t, tt.name)
			device := Device{
				Chip: Chips()[tt.chip], Vendor: "acme.example", Model: "radio", Revision: "b2",
				MinSequence: 1042, Slot: tt.slot, Trust: trust, Identity: tt.id,
			}
			payload := Payload{bytes.NewReader(tt.payload), int64(len(tt.payload))}
			v, trace, err := Verify(t.Context(), device, envelope, payload, Options{})
			if tt.step == StepEnvelope || tt.step == StepManifest {
				wantRefusal(t, "T1", v, trace, err, tt.step, tt.reason)
				return
			}
			wantRefusal(t, "T1", v, trace, err, StepClass, verdict.ClassMismatch)

			device.Chip = without(device.Chip, StepClass)
			v, trace, err = Verify(t.Context(), device, envelope, payload, Options{})
			if tt.step == "" {
				if err != nil || !v.Complete() || trace[len(trace)-1] != (Check{Step: StepImage, Status: Passed}) {
					t.Errorf("got %v after %s", err, text(trace))
				}
				return
			}
			if v != nil || verdict.Of(err) != tt.reason || trace[len(trace)-1].Step != tt.step {
				t.Errorf("got %v, want %s in step %s", err, tt.reason, tt.step)
			}
			device.MinSequence++
			if _, trace, err := Verify(t.Context(), device, envelope, payload, Options{}); tt.step != StepSlot && verdict.Of(err) != verdict.SequenceRollback {
				t.Errorf("got %v after %s, want %s", err, text(trace), verdict.SequenceRollback)
			}
		})
	}
	names, err := testvectors.Cases("suit/profile/*.hex")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		envelope, err := testvectors.Hex(name)
		if err != nil {
			t.Fatal(err)
		}
		device := Device{Chip: Chips()[0], Vendor: "acme.example", Trust: trusting(t, sign.RoleManifest, 1, newSigner(t, "signer"))}
		_, trace, err := Verify(t.Context(), device, envelope, Payload{}, Options{})
		if last := trace[len(trace)-1]; last.Step != StepSignature && path.Base(name) != "C1-cose-sign1-small-map.hex" {
			t.Errorf("%s: %v after %s, want a refusal of the signature", name, err, text(trace))
		}
	}
}
