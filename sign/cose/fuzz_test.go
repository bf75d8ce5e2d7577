package cose_test

import (
	"bytes"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// FuzzSign1 reads messages with a detached payload and with one of up to 1 KiB.
// What is accepted encodes to the same bytes, unless its algorithm is unknown.
func FuzzSign1(f *testing.F) {
	for _, name := range []string{"suit/profile/T1-nrf-plain.hex", "suit/profile/T1-nrf-plain-kid8.hex", "suit/profile/C1-cose-sign1-small-map.hex"} {
		data, err := testvectors.Hex(name)
		if err != nil {
			f.Fatal(err)
		}
		i := bytes.Index(data, []byte{0xd2, 0x84})
		f.Add(data[i:], uint16(1024))
		f.Add(data[i:min(len(data), i+74)], uint16(0))
		f.Add(data[i:min(len(data), i+84)], uint16(0))
	}
	for _, s := range []cose.Sign1{
		{Algorithm: -9, Signature: signature(f, sign.ESP256), KeyID: []byte("kid")},
		{Algorithm: -51, Signature: signature(f, sign.ESP384), Payload: []byte("payload")},
	} {
		data, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint16(len(s.Payload)))
	}
	f.Add(marshal(f, cbor.Tag{Number: 18, Content: list{marshal(f, header{1: -48}), header{}, nil, make([]byte, 2420)}}), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, maxPayload uint16) {
		s, err := readSign1(data, int(maxPayload)%1025)
		switch {
		case err != nil:
			if verdict.Of(err) == "" {
				t.Fatalf("%v has no reason", err)
			}
		case !s.Known():
			if !s.Signature.IsZero() {
				t.Error("signature of an unknown algorithm")
			}
		default:
			if again, err := s.Encode(); err != nil || !bytes.Equal(again, data) {
				t.Errorf("% x encodes to % x, %v", data, again, err)
			}
		}
	})
}

// FuzzEncrypt: what is accepted encodes to the same bytes.
func FuzzEncrypt(f *testing.F) {
	names, err := testvectors.Cases("suit/firmware-encryption/suit-encryption-info-*.hex")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := testvectors.Hex(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, name := range []string{"suit/profile/T3-nrf-enc-a128kw-a128ctr.hex", "suit/profile/T3-nrf-enc-ecdh-a128ctr.hex"} {
		r := strictcbor.NewReader("message", encryptionInfo(f, name))
		cose.ReadEncrypt(r)
		f.Add(r.Since(0))
	}
	two, err := cose.Encrypt{Recipients: []cose.Recipient{{Algorithm: cose.A128KW}, {Algorithm: cose.ECDHESA128KW, KeyID: []byte("kid")}}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(two)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := readEncrypt(data)
		if err != nil {
			if verdict.Of(err) == "" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		if again, err := e.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("% x encodes to % x, %v", data, again, err)
		}
	})
}
