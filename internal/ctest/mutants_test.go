package ctest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// mutant makes envelopes of the published verdicts with changed bytes: anywhere,
// or in the manifest, under a digest and a signature that are right again.
type mutant struct {
	random *rand.Rand
	signer sign.Signer
}

// change flips a bit, or puts in, takes out or replaces a byte; small numbers and
// bytes that stand there already are likely.
func (m mutant) change(data []byte) []byte {
	data = slices.Clone(data)
	for n := 1 + m.random.IntN(2); n > 0 && len(data) > 0; n-- {
		at := m.random.IntN(len(data))
		b := byte(m.random.IntN(256))
		switch m.random.IntN(3) {
		case 0:
			b = byte(m.random.IntN(32))
		case 1:
			b = data[m.random.IntN(len(data))]
		}
		switch m.random.IntN(5) {
		case 0:
			data[at] ^= 1 << m.random.IntN(8)
		case 1:
			data[at]++
		case 2:
			data[at] = b
		case 3:
			data = slices.Insert(data, at, b)
		case 4:
			data = slices.Delete(data, at, at+1)
		}
	}
	return data
}

// signed changes the manifest of an envelope and signs that.
func (m mutant) signed(envelope []byte) ([]byte, error) {
	var tag cbor.RawTag
	if err := cbor.Unmarshal(envelope, &tag); err != nil {
		return nil, err
	}
	var elements map[any][]byte
	if err := cbor.Unmarshal(tag.Content, &elements); err != nil {
		return nil, err
	}
	elements[uint64(3)] = m.change(elements[uint64(3)])
	element, err := cose.Marshal(elements[uint64(3)])
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(element)
	wrapped, err := cose.Marshal([]any{-16, digest[:]})
	if err != nil {
		return nil, err
	}
	message, err := cose.ToBeSigned(sign.ESP256, wrapped)
	if err != nil {
		return nil, err
	}
	signature, err := m.signer.Sign(context.Background(), message)
	if err != nil {
		return nil, err
	}
	block, err := cose.Sign1{Algorithm: sign.ESP256.COSE(), Signature: signature}.Encode()
	if err != nil {
		return nil, err
	}
	if elements[uint64(2)], err = cose.Marshal([][]byte{wrapped, block}); err != nil {
		return nil, err
	}
	return cose.Marshal(cbor.Tag{Number: 107, Content: elements})
}

// mutants are n changed envelopes with what Go says of them.
func mutants(n int, seed string) ([]asked, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), random("mutants")(32))
	if err != nil {
		return nil, err
	}
	signer, err := sign.FromCrypto(key)
	if err != nil {
		return nil, err
	}
	family, err := verdicts.Load("suit-nrf52840")
	if err != nil {
		return nil, err
	}
	accepted := slices.DeleteFunc(family.Cases, func(c verdicts.Case) bool { return c.Verdict != verdicts.Accept || c.Inputs[1].Size > 1000 })
	m := mutant{random: rand.New(rand.NewChaCha8(sha256.Sum256([]byte(seed)))), signer: signer}
	var all []asked
	for i := range n {
		c := accepted[m.random.IntN(len(accepted))]
		inputs, err := vectors.Inputs(family, c)
		if err != nil {
			return nil, err
		}
		device := *family.Devices[c.Device].SUIT
		envelope := inputs["envelope"]
		if i%4 == 0 {
			envelope = m.change(envelope)
		} else {
			device.Threshold, device.Keys = 1, []verdicts.PublicKey{{Point: signer.Public().Point()[1:]}}
			if envelope, err = m.signed(envelope); err != nil {
				return nil, err
			}
		}
		inputs["envelope"] = envelope
		a, err := ask(fmt.Sprintf("mutant %d of %s: %x", i, c.ID, envelope), device, inputs)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// TestMutants asks for the same of envelopes that nobody has thought of.
func TestMutants(t *testing.T) {
	equal(t, func() ([]asked, error) { return mutants(200, "mutants") },
		"accept", "refuse envelope", "refuse signature", "refuse manifest", "refuse vendor", "refuse class", "refuse image")
}
