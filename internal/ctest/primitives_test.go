package ctest

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/testvectors"
)

// source is the folder of the C.
const source = "../../bootloader/c"

// delta is the folder of the decoder.
const delta = "../../formats/payload/delta/c"

// program answers one line for each line, see bootloader/c/host/primitives.c.
type program struct {
	in  io.Writer
	out *bufio.Scanner
}

// builds are ways to compile the primitives that must not make a difference.
var builds = map[string]func() (string, error){
	"plain":          build("plain"),
	"short multiply": build("short", "-DOTAPACK_SHORT_MULTIPLY"), // as on Armv6-M
}

// dir has the programs, until TestMain ends.
var dir string

func TestMain(m *testing.M) {
	var err error
	if dir, err = os.MkdirTemp("", "ctest"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// build compiles the driver with all sources, once.
func build(name string, flags ...string) func() (string, error) {
	return buildFrom(name, []string{"/host/primitives.c"}, flags...)
}

// buildFrom compiles a program of some files with all sources, once.
func buildFrom(name string, program []string, flags ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		files, err := filepath.Glob(source + "/*.c")
		if err != nil {
			return "", err
		}
		for _, file := range program {
			files = append(files, source+file)
		}
		exe := filepath.Join(dir, name)
		args := append([]string{
			"-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror",
			"-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", exe,
		}, append(flags, files...)...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		return exe, nil
	})
}

// eachBuild runs a test with every build.
func eachBuild(t *testing.T, test func(*testing.T, *program)) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	for name, build := range builds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exe, err := build()
			if err != nil {
				t.Fatal(err)
			}
			test(t, start(t, exe))
		})
	}
}

func start(t *testing.T, exe string) *program {
	cmd := exec.Command(exe)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{in: in, out: bufio.NewScanner(out)}
	p.out.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, errors.Bytes())
		}
	})
	return p
}

// bad is the answer to what is refused.
const bad = "bad"

func (p *program) ask(t *testing.T, name string, args ...[]byte) string {
	t.Helper()
	line := name
	for _, a := range args {
		if len(a) == 0 {
			line += " -"
			continue
		}
		line += " " + hex.EncodeToString(a)
	}
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() {
		t.Fatalf("no answer to %s: %v", line, p.out.Err())
	}
	return p.out.Text()
}

func (p *program) expect(t *testing.T, want, name string, args ...[]byte) {
	t.Helper()
	if got := p.ask(t, name, args...); got != want {
		t.Errorf("%s %x: got %s, want %s", name, args, got, want)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// random gives the same bytes in every run.
func random(seed string) func(n int) []byte {
	r := rand.NewChaCha8(sha256.Sum256([]byte(seed)))
	return func(n int) []byte {
		b := make([]byte, n)
		if _, err := r.Read(b); err != nil {
			panic(err) // it has none
		}
		return b
	}
}

// TestAnswers has the examples of the standards.
func TestAnswers(t *testing.T) {
	eachBuild(t, func(t *testing.T, p *program) {
		for _, c := range []struct{ name, args, want string }{
			// FIPS 180-4 examples, and nothing
			{"sha256", "-", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
			{"sha256", "616263", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
			// FIPS 197, appendices B and C.1
			{"encrypt", "2b7e151628aed2a6abf7158809cf4f3c 3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"},
			{"encrypt", "000102030405060708090a0b0c0d0e0f 00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"},
			{"decrypt", "000102030405060708090a0b0c0d0e0f 69c4e0d86a7b0430d8cdb78070b4c55a", "00112233445566778899aabbccddeeff"},
			// SP 800-38A, F.5.1
			{"ctr", "2b7e151628aed2a6abf7158809cf4f3c f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff 6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" +
				"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
				"874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"},
			// RFC 3394, section 4.1, and the same with a bit changed in each part
			{"unwrap", "000102030405060708090a0b0c0d0e0f 1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", "00112233445566778899aabbccddeeff"},
			{"unwrap", "000102030405060708090a0b0c0d0e0f 1fa68b0a8112b446aef34bd8fb5a7b829d3e862371d2cfe5", bad},
			{"unwrap", "000102030405060708090a0b0c0d0e0f 1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe4", bad},
			{"unwrap", "010102030405060708090a0b0c0d0e0f 1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", bad},
			{"equal", "00112233 00112233", ""},
			{"equal", "00112233 01112233", bad},
			{"equal", "00112233 001122b3", bad},
			{"equal", "- -", bad},
		} {
			var args [][]byte
			for arg := range strings.FieldsSeq(strings.ReplaceAll(c.args, "-", "- ")) {
				args = append(args, unhex(t, strings.Trim(arg, "-")))
			}
			p.expect(t, c.want, c.name, args...)
		}
	})
}

// TestDecide has three checks, and what they answer in the two rounds.
func TestDecide(t *testing.T) {
	eachBuild(t, func(t *testing.T, p *program) {
		for _, c := range []struct{ first, second, want string }{
			{"010101", "010101", "accept after 6 checks"},
			{"000101", "010101", "refuse 0"},
			{"010001", "010101", "refuse 1"},
			{"010100", "010101", "refuse 2"},
			{"000000", "010101", "refuse 0"},
			{"010101", "000101", bad}, // in the second round it is a fault
			{"010101", "010001", bad},
			{"010101", "010100", bad},
		} {
			p.expect(t, c.want, "decide", unhex(t, c.first), unhex(t, c.second))
		}
	})
}

// TestAgainstGo asks for the same as crypto/sha256, crypto/aes and math/big.
func TestAgainstGo(t *testing.T) {
	eachBuild(t, func(t *testing.T, p *program) {
		bytes := random("against Go")
		for n := range 200 { // every length around one and two blocks
			data := bytes(n)
			p.expect(t, fmt.Sprintf("%x", sha256.Sum256(data)), "sha256", data)
		}
		for n := range 100 {
			key, iv, data := bytes(16), bytes(16), bytes(n)
			if n%3 == 0 { // the counter wraps, in one byte or in all
				copy(iv[n%16:], strings.Repeat("\xff", 16))
			}
			block, err := aes.NewCipher(key)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, n)
			cipher.NewCTR(block, iv).XORKeyStream(want, data)
			p.expect(t, hex.EncodeToString(want), "ctr", key, iv, data)
			sealed := make([]byte, 16)
			block.Encrypt(sealed, iv)
			p.expect(t, hex.EncodeToString(sealed), "encrypt", key, iv)
			p.expect(t, hex.EncodeToString(iv), "decrypt", key, sealed)
		}
		params := elliptic.P256().Params()
		for name, m := range map[string]*big.Int{"modular-p": params.P, "modular-n": params.N} {
			last := new(big.Int).Sub(m, big.NewInt(1))
			numbers := []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), last, new(big.Int).Rsh(m, 1)}
			for range 10 {
				numbers = append(numbers, new(big.Int).Mod(new(big.Int).SetBytes(bytes(40)), m))
			}
			for _, x := range numbers {
				for _, y := range numbers {
					p.expect(t, modular(x, y, m), name, x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32)))
				}
			}
		}
	})
}

// modular returns x + y, x - y, x y and x / y, in which 1 / 0 is 0.
func modular(x, y, m *big.Int) string {
	inverse := new(big.Int)
	if y.Sign() != 0 {
		inverse.ModInverse(y, m)
	}
	var all strings.Builder
	for _, r := range []*big.Int{new(big.Int).Add(x, y), new(big.Int).Sub(x, y), new(big.Int).Mul(x, y), inverse.Mul(x, inverse)} {
		fmt.Fprintf(&all, "%064x", r.Mod(r, m))
	}
	return all.String()
}

// suite is a file of Wycheproof.
type suite struct {
	TestGroups []struct {
		KeySize   int
		PublicKey struct{ Uncompressed string }
		Tests     []struct {
			ID                                         int `json:"tcId"`
			Key, Msg, CT, Sig, Public, Private, Shared string
			Result                                     string
		}
	}
}

// TestWycheproofUnwrap has all wrapped keys of our size under 128-bit keys.
func TestWycheproofUnwrap(t *testing.T) {
	var s suite
	if err := testvectors.JSON("wycheproof/aes_wrap_test.json", &s); err != nil {
		t.Fatal(err)
	}
	eachBuild(t, func(t *testing.T, p *program) {
		n := map[string]int{}
		for _, group := range s.TestGroups {
			for _, c := range group.Tests {
				if group.KeySize != 128 || len(c.CT) != 2*24 {
					continue
				}
				n[c.Result]++
				want := bad
				if c.Result == "valid" {
					want = c.Msg
				}
				p.expect(t, want, "unwrap", unhex(t, c.Key), unhex(t, c.CT))
			}
		}
		if n["valid"] == 0 || n["invalid"] == 0 {
			t.Errorf("%v: want both", n)
		}
	})
}

// TestWycheproofECDH has all uncompressed points of ECDH on P-256.
func TestWycheproofECDH(t *testing.T) {
	var s suite
	if err := testvectors.JSON("wycheproof/ecdh_secp256r1_ecpoint_test.json", &s); err != nil {
		t.Fatal(err)
	}
	eachBuild(t, func(t *testing.T, p *program) {
		n := map[string]int{}
		for _, c := range s.TestGroups[0].Tests {
			public, private := unhex(t, c.Public), new(big.Int).SetBytes(unhex(t, c.Private))
			if len(public) != 65 || public[0] != 4 {
				continue
			}
			n[c.Result]++
			want := bad
			if c.Result == "valid" {
				want = c.Shared
			}
			p.expect(t, want, "ecdh", private.FillBytes(make([]byte, 32)), public[1:33], public[33:])
		}
		if n["valid"] < 200 || n["invalid"] == 0 {
			t.Errorf("%v: want both", n)
		}
	})
}

// TestWycheproofECDSA has all signatures of 64 bytes; two of the valid ones have
// a point whose x coordinate is not below n.
func TestWycheproofECDSA(t *testing.T) {
	var s suite
	if err := testvectors.JSON("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", &s); err != nil {
		t.Fatal(err)
	}
	eachBuild(t, func(t *testing.T, p *program) {
		n := map[string]int{}
		for _, group := range s.TestGroups {
			key := unhex(t, group.PublicKey.Uncompressed)
			for _, c := range group.Tests {
				if len(c.Sig) != 2*64 {
					continue
				}
				n[c.Result]++
				want := bad
				if c.Result == "valid" {
					want = ""
				}
				digest := sha256.Sum256(unhex(t, c.Msg))
				p.expect(t, want, "ecdsa", key[1:], digest[:], unhex(t, c.Sig))
			}
		}
		if n["valid"] != 173 || n["invalid"] == 0 {
			t.Errorf("%v: want both", n)
		}
	})
}

// TestSignatures has what Go signs, and the same with a bit changed.
func TestSignatures(t *testing.T) {
	eachBuild(t, func(t *testing.T, p *program) {
		bytes := random("signatures")
		params := elliptic.P256().Params()
		digests := [][]byte{make([]byte, 32), params.N.Bytes(), slices.Repeat([]byte{0xff}, 32)}
		for range 20 {
			digests = append(digests, bytes(32))
		}
		for i, digest := range digests {
			key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			point, err := key.PublicKey.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			r, s, err := ecdsa.Sign(crand.Reader, key, digest)
			if err != nil {
				t.Fatal(err)
			}
			signature := slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32)))
			p.expect(t, "", "ecdsa", point[1:], digest, signature)
			for _, part := range [][]byte{point[1:], digest, signature} {
				part[(7*i)%len(part)] ^= 1 << (i % 8)
				p.expect(t, bad, "ecdsa", point[1:], digest, signature)
				part[(7*i)%len(part)] ^= 1 << (i % 8)
			}
			for _, scalar := range [][]byte{make([]byte, 32), params.N.Bytes(), digests[2]} {
				p.expect(t, bad, "ecdsa", point[1:], digest, slices.Concat(scalar, signature[32:]))
				p.expect(t, bad, "ecdsa", point[1:], digest, slices.Concat(signature[:32], scalar))
			}
		}
	})
}

// TestAgreement asks for what Go agrees on, and refuses where there is no point.
func TestAgreement(t *testing.T) {
	eachBuild(t, func(t *testing.T, p *program) {
		params := elliptic.P256().Params()
		bytes := random("agreement")
		x, y := params.Gx.FillBytes(make([]byte, 32)), params.Gy.FillBytes(make([]byte, 32))
		scalar := func(i int64) []byte {
			k := big.NewInt(i)
			if i <= 0 {
				k.Add(k, params.N)
			}
			return k.FillBytes(make([]byte, 32))
		}
		scalars := [][]byte{scalar(1), scalar(2), scalar(3), scalar(-1), scalar(-2)}
		for range 5 {
			scalars = append(scalars, bytes(32))
		}
		for _, k := range scalars {
			private, err := ecdh.P256().NewPrivateKey(k)
			if err != nil {
				t.Fatal(err)
			}
			point, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, x, y))
			if err != nil {
				t.Fatal(err)
			}
			shared, err := private.ECDH(point)
			if err != nil {
				t.Fatal(err)
			}
			p.expect(t, hex.EncodeToString(shared), "ecdh", k, x, y)
			public := private.PublicKey().Bytes()
			x, y = public[1:33], public[33:]
		}
		p.expect(t, bad, "ecdh", scalar(0), x, y) // n times the point is infinity
		p.expect(t, bad, "ecdh", make([]byte, 32), x, y)
		p.expect(t, bad, "ecdh", scalar(5), y, x)
		x, y = small(t)
		want := p.ask(t, "ecdh", scalar(5), x, y)
		above := new(big.Int).Add(new(big.Int).SetBytes(x), params.P) // the same number, not below p
		p.expect(t, bad, "ecdh", scalar(5), above.FillBytes(make([]byte, 32)), y)
		if want == bad {
			t.Error("the point that is above p otherwise is refused")
		}
		p.expect(t, bad, "ecdh", scalar(5), make([]byte, 32), make([]byte, 32))
	})
}

// small returns the point with the smallest x coordinate, 5.
func small(t *testing.T) (x, y []byte) {
	params := elliptic.P256().Params()
	square := big.NewInt(5*5*5 - 3*5)
	root := square.Add(square, params.B).ModSqrt(square, params.P)
	if root == nil {
		t.Fatal("no point")
	}
	return big.NewInt(5).FillBytes(make([]byte, 32)), root.FillBytes(make([]byte, 32))
}

// TestRecipients opens what package encrypt has sealed, and not with another key.
func TestRecipients(t *testing.T) {
	eachBuild(t, func(t *testing.T, p *program) {
		private, err := ecdh.P256().NewPrivateKey(random("device")(32))
		if err != nil {
			t.Fatal(err)
		}
		to, err := encrypt.NewRecipient(private.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		sealer, err := encrypt.NewSealer(rand.NewChaCha8([32]byte{1}), []encrypt.Recipient{to})
		if err != nil {
			t.Fatal(err)
		}
		image := random("image")(1000)
		var sealed bytes.Buffer
		if _, err := sealer.Seal(&sealed, bytes.NewReader(image)); err != nil {
			t.Fatal(err)
		}
		h := sealer.Header()
		r := h.Recipients[0]
		key := p.ask(t, "agreed", private.Bytes(), r.EphemeralX[:], r.EphemeralY[:], r.Wrapped[:])
		if key == bad {
			t.Fatal("the content key does not open")
		}
		p.expect(t, hex.EncodeToString(image), "ctr", unhex(t, key), h.IV, sealed.Bytes())

		p.expect(t, bad, "agreed", random("other")(32), r.EphemeralX[:], r.EphemeralY[:], r.Wrapped[:])
		p.expect(t, bad, "agreed", private.Bytes(), r.EphemeralY[:], r.EphemeralX[:], r.Wrapped[:])
		r.Wrapped[5] ^= 1
		p.expect(t, bad, "agreed", private.Bytes(), r.EphemeralX[:], r.EphemeralY[:], r.Wrapped[:])
	})
}

// TestDraft opens the examples of draft-ietf-suit-firmware-encryption, with the
// draft's keys.
func TestDraft(t *testing.T) {
	const image = "This is a real firmware image."
	eachBuild(t, func(t *testing.T, p *program) {
		for _, name := range []string{"aes-kw-aes-ctr", "es-ecdh-aes-ctr"} {
			info, err := testvectors.Hex("suit/firmware-encryption/suit-encryption-info-" + name + ".hex")
			if err != nil {
				t.Fatal(err)
			}
			payload, err := testvectors.Hex("suit/firmware-encryption/encrypted-payload-" + name + ".hex")
			if err != nil {
				t.Fatal(err)
			}
			r := strictcbor.NewReader(name, info)
			e := cose.ReadEncrypt(r)
			if !r.OK() || len(e.Recipients) != 1 {
				t.Fatal(name, r.Err())
			}
			to := e.Recipients[0]
			var key string
			if to.Algorithm == cose.A128KW {
				key = p.ask(t, "unwrap", []byte(strings.Repeat("a", 16)), to.Wrapped[:])
			} else {
				device := unhex(t, "60fe6dd6d85d5740a5349b6f91267eeac5ba81b8cb53ee249e4b4eb102c476b3")
				key = p.ask(t, "agreed", device, to.X[:], to.Y[:], to.Wrapped[:])
			}
			if key == bad {
				t.Errorf("%s: the content key does not open", name)
				continue
			}
			p.expect(t, hex.EncodeToString([]byte(image)), "ctr", unhex(t, key), e.IV[:], payload)
		}
	})
}
