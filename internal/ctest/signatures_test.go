package ctest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/otapack/otapack/testvectors"
)

// signatureCases are Wycheproof's signatures of 64 bytes, and classes of our own.
var signatureCases = sync.OnceValues(func() ([]asked, error) {
	var s suite
	if err := testvectors.JSON("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", &s); err != nil {
		return nil, err
	}
	var all []asked
	for _, group := range s.TestGroups {
		for _, c := range group.Tests {
			var key, msg, sig []byte
			for text, to := range map[string]*[]byte{group.PublicKey.Uncompressed: &key, c.Msg: &msg, c.Sig: &sig} {
				if _, err := fmt.Sscanf(text+"\n", "%x\n", to); err != nil && text != "" {
					return nil, err
				}
			}
			if len(sig) != 64 {
				continue
			}
			digest := sha256.Sum256(msg)
			a := signatureCase(fmt.Sprintf("wycheproof %d", c.ID), key[1:], digest[:], sig)
			if want := map[string]string{"valid": "accept", "invalid": "refuse"}[c.Result]; a.want != want {
				return nil, fmt.Errorf("%s: Go says %s, published is %s", a.id, a.want, want)
			}
			all = append(all, a)
		}
	}
	return slices.Concat(all, changedSignatures(), edgeSignatures()), nil
})

// signatureCase asks Go.
func signatureCase(id string, point, digest, signature []byte) asked {
	a := asked{id: id, question: question{slices.Concat([]byte("E"), point, digest, signature), "refuse"}}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, point))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if err == nil && ecdsa.Verify(key, digest, r, s) {
		a.want = "accept"
	}
	a.bare = a.question
	return a
}

// signer makes signatures that are the same in every run.
type signer struct {
	bytes func(int) []byte
}

func b32(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

func (s signer) scalar() *big.Int {
	n := elliptic.P256().Params().N
	last := new(big.Int).Sub(n, big.NewInt(1))
	k := new(big.Int).SetBytes(s.bytes(40))
	return k.Add(k.Mod(k, last), big.NewInt(1))
}

// public is the point of a private key.
func public(d *big.Int) []byte {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b32(d))
	if err != nil {
		panic(err) // it is in range
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return point[1:]
}

// sign is FIPS 186-5, section 6.4.1, with a nonce of the test's.
func (s signer) sign(d *big.Int, digest []byte) []byte {
	n := elliptic.P256().Params().N
	k := s.scalar()
	r := new(big.Int).Mod(new(big.Int).SetBytes(public(k)[:32]), n)
	e := new(big.Int).SetBytes(digest)
	e.Add(e, new(big.Int).Mul(r, d))
	return slices.Concat(b32(r), b32(e.Mul(e, new(big.Int).ModInverse(k, n)).Mod(e, n)))
}

// changedSignatures have a bit changed in the key, the digest or the signature,
// or numbers in it replaced.
func changedSignatures() []asked {
	s := signer{random("changed signatures")}
	n := elliptic.P256().Params().N
	ones := bytes.Repeat([]byte{0xff}, 32)
	var all []asked
	for i, digest := range [][]byte{s.bytes(32), make([]byte, 32), b32(n), ones} {
		d := s.scalar()
		point, sig := public(d), s.sign(d, digest)
		add := func(what string, point, digest, sig []byte) {
			all = append(all, signatureCase(fmt.Sprintf("own %d: %s", i, what), point, digest, sig))
		}
		add("valid", point, digest, sig)
		twin := new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:]))
		add("twin", point, digest, slices.Concat(sig[:32], b32(twin)))
		for _, part := range [][]byte{point[:32], point[32:], digest, sig[:32], sig[32:]} {
			at := s.bytes(2)
			part[at[0]%32] ^= 1 << (at[1] % 8)
			add("bit", point, digest, sig)
			part[at[0]%32] ^= 1 << (at[1] % 8)
		}
		for _, number := range [][]byte{make([]byte, 32), b32(n), ones, b32(new(big.Int).Sub(n, big.NewInt(1)))} {
			add("r", point, digest, slices.Concat(number, sig[32:]))
			add("s", point, digest, slices.Concat(sig[:32], number))
		}
	}
	return all
}

// edgeSignatures have keys that are no points or near the generator, and points
// whose x coordinate is not below the group's order.
func edgeSignatures() []asked {
	s := signer{random("edge signatures")}
	params := elliptic.P256().Params()
	digest := s.bytes(32)
	var all []asked
	for _, d := range []*big.Int{big.NewInt(1), big.NewInt(2), new(big.Int).Sub(params.N, big.NewInt(1))} {
		all = append(all, signatureCase(fmt.Sprintf("key %x", d), public(d), digest, s.sign(d, digest)))
	}
	point := public(big.NewInt(3))
	sig := s.sign(big.NewInt(3), digest)
	for what, key := range map[string][]byte{
		"origin": make([]byte, 64), "x and y swapped": slices.Concat(point[32:], point[:32]),
		"x = p": slices.Concat(b32(params.P), point[32:]), "y = p": slices.Concat(point[:32], b32(params.P)),
	} {
		all = append(all, signatureCase("key: "+what, key, digest, sig))
	}
	for i := int64(1); i < 16; i++ {
		x := new(big.Int).Add(params.N, big.NewInt(i))
		key := keyOf(x, big.NewInt(i))
		if key == nil {
			continue
		}
		for what, r := range map[string][]byte{"x = n + %d": b32(big.NewInt(i)), "r = n + %d": b32(x)} {
			all = append(all, signatureCase(fmt.Sprintf(what, i), key, make([]byte, 32), slices.Concat(r, b32(big.NewInt(7)))))
		}
	}
	return all
}

// keyOf returns the key to which the digest 0 was signed with r and s = 7, where
// x is the coordinate of the signature's point: 7/r times that point. It is nil
// where x is of none.
func keyOf(x, r *big.Int) []byte {
	y := root(x)
	if y == nil {
		return nil
	}
	n := elliptic.P256().Params().N
	k := new(big.Int).ModInverse(r, n)
	k.Mod(k.Mul(k, big.NewInt(7)), n)
	private, err := ecdh.P256().NewPrivateKey(b32(k))
	if err != nil {
		panic(err) // it is in range
	}
	point, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, b32(x), b32(y)))
	if err != nil {
		panic(err) // it is on the curve
	}
	shared, err := private.ECDH(point)
	if err != nil {
		panic(err)
	}
	return slices.Concat(shared, b32(root(new(big.Int).SetBytes(shared)))) // either root will do: x does not tell a point from its opposite
}

// root returns a y coordinate, nil where x is of no point.
func root(x *big.Int) *big.Int {
	params := elliptic.P256().Params()
	square := new(big.Int).Exp(x, big.NewInt(3), params.P)
	square.Sub(square, new(big.Int).Mul(x, big.NewInt(3)))
	square.Mod(square.Add(square, params.B), params.P)
	return square.ModSqrt(square, params.P)
}
