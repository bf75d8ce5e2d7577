package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/testvectors"
)

// Keys of testvectors/suit/test-keys.txt, by their numbers there.
var (
	draftKEK    = unhex("61616161616161616161616161616161")                                 // 4
	draftDevice = unhex("60FE6DD6D85D5740A5349B6F91267EEAC5BA81B8CB53EE249E4B4EB102C476B3") // 5
	draftCEK    = unhex("261DE6165070FB8951EC5D7B92A065FE")                                 // 6, A128CTR
	draftIV     = unhex("DAE613B2E0DC55F4322BE38BDBA9DC68")                                 // 6, A128CTR
	draftInfo   = unhex("842283F6F6F683F6F6F683188044A101381C5753554954205061796C6F616420456E6372797074696F6E")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func vector(t testing.TB, name string) []byte {
	t.Helper()
	load := testvectors.Read
	if strings.HasSuffix(name, ".hex") {
		load = testvectors.Hex
	}
	b, err := load(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// draftIdentity returns key 5 or, for A128KW, key 4.
func draftIdentity(t testing.TB, m KeyManagement) Identity {
	t.Helper()
	if m == A128KW {
		return NewKEK([]byte("kid-1"), [keySize]byte(draftKEK))
	}
	return identity(t, privateKey(t, draftDevice))
}

func privateKey(t testing.TB, scalar []byte) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func identity(t testing.TB, key *ecdh.PrivateKey) Identity {
	t.Helper()
	id, err := NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// readInfo decodes the COSE_Encrypt at the start of b.
func readInfo(t testing.TB, b []byte) Header {
	t.Helper()
	var info struct {
		Number  uint64
		Content struct {
			_           struct{} `cbor:",toarray"`
			Protected   []byte
			Unprotected struct {
				Algorithm Algorithm `cbor:"1,keyasint"`
				IV        []byte    `cbor:"5,keyasint"`
			}
			Ciphertext []byte
			Recipients []struct {
				_           struct{} `cbor:",toarray"`
				Protected   []byte
				Unprotected struct {
					Algorithm KeyManagement `cbor:"1,keyasint"`
					KeyID     []byte        `cbor:"4,keyasint"`
					Ephemeral struct {
						X []byte `cbor:"-2,keyasint"`
						Y []byte `cbor:"-3,keyasint"`
					} `cbor:"-1,keyasint"`
				}
				Wrapped []byte
			}
		}
	}
	var tag cbor.RawTag
	if _, err := cbor.UnmarshalFirst(b, &tag); err != nil {
		t.Fatal(err)
	}
	if err := cbor.Unmarshal(tag.Content, &info.Content); err != nil {
		t.Fatal(err)
	}
	protected := func(b []byte, v any) {
		if len(b) > 0 {
			if err := cbor.Unmarshal(b, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := info.Content
	protected(c.Protected, &c.Unprotected)
	h := Header{Algorithm: c.Unprotected.Algorithm, IV: c.Unprotected.IV}
	for _, r := range c.Recipients {
		protected(r.Protected, &r.Unprotected)
		w := WrappedKey{Management: r.Unprotected.Algorithm, KeyID: r.Unprotected.KeyID, Wrapped: [24]byte(r.Wrapped)}
		copy(w.EphemeralX[:], r.Unprotected.Ephemeral.X)
		copy(w.EphemeralY[:], r.Unprotected.Ephemeral.Y)
		h.Recipients = append(h.Recipients, w)
	}
	return h
}

// open unwraps and decrypts with whatever the header asks for.
func open(t testing.TB, id Identity, h Header, ciphertext []byte) []byte {
	t.Helper()
	key, err := id.Unwrap(h)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Wipe()
	var plain []byte
	if h.Algorithm == A128GCM {
		plain, err = OpenGCM(ciphertext, h, key)
	} else {
		var r io.Reader
		if r, err = NewReader(bytes.NewReader(ciphertext), h, key); err == nil {
			plain, err = io.ReadAll(r)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestDraftExamples(t *testing.T) {
	image := vector(t, "suit/libcsuit/raw_image.bin")
	config := vector(t, "suit/libcsuit/config.json")
	for _, tt := range []struct {
		info, payload string
		algorithm     Algorithm
		management    KeyManagement
		want          []byte
	}{
		{"firmware-encryption/suit-encryption-info-aes-kw-aes-ctr.hex", "firmware-encryption/encrypted-payload-aes-kw-aes-ctr.hex", A128CTR, A128KW, image},
		{"firmware-encryption/suit-encryption-info-aes-kw-aes-gcm.hex", "firmware-encryption/encrypted-payload-aes-kw-aes-gcm.hex", A128GCM, A128KW, image},
		{"firmware-encryption/suit-encryption-info-es-ecdh-aes-ctr.hex", "firmware-encryption/encrypted-payload-es-ecdh-aes-ctr.hex", A128CTR, ECDHESA128KW, image},
		{"firmware-encryption/suit-encryption-info-es-ecdh-aes-gcm.hex", "firmware-encryption/encrypted-payload-es-ecdh-aes-gcm.hex", A128GCM, ECDHESA128KW, image},
		{"libcsuit/encryption_info_aes.cose", "libcsuit/encrypted_image_aes.bin", A128GCM, A128KW, image},
		{"libcsuit/encryption_info_esdh.cose", "libcsuit/encrypted_image_esdh.bin", A128GCM, ECDHESA128KW, image},
		{"libcsuit/encryption_info_config_aes.cose", "libcsuit/encrypted_config_aes.bin", A128GCM, A128KW, config},
		{"libcsuit/encryption_info_config_esdh.cose", "libcsuit/encrypted_config_esdh.bin", A128GCM, ECDHESA128KW, config},
	} {
		t.Run(tt.info, func(t *testing.T) {
			h := readInfo(t, vector(t, "suit/"+tt.info))
			if h.Algorithm != tt.algorithm || h.Recipients[0].Management != tt.management {
				t.Fatalf("header is %v under %v", h.Algorithm, h.Recipients[0].Management)
			}
			if got := open(t, draftIdentity(t, tt.management), h, vector(t, "suit/"+tt.payload)); !bytes.Equal(got, tt.want) {
				t.Errorf("plaintext %q, want %q", got, tt.want)
			}
		})
	}
}

// The profile's T3 vector was made by another program from known secrets: a
// Sealer that reads the same secrets must arrive at the same bytes.
func TestProfileVector(t *testing.T) {
	envelope := vector(t, "suit/profile/T3-nrf-enc-ecdh-with-payload.hex")
	want := readInfo(t, envelope[bytes.Index(envelope, []byte{0xd8, 96, 0x84}):])
	ciphertext := envelope[len(envelope)-1024:] // the integrated payload is last

	ephemeral := sha256.Sum256([]byte("otapack sketch ephemeral"))
	random := bytes.NewReader(append(append(bytes.Clone(draftCEK), draftIV[:12]...), ephemeral[:]...))
	device := privateKey(t, draftDevice)
	s, err := NewSealer(random, []Recipient{{KeyID: []byte("ble-enc1"), Public: device.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	if random.Len() != 0 {
		t.Errorf("%d bytes of randomness were left over", random.Len())
	}
	got := s.Header()
	if zeros := [4]byte{}; !bytes.Equal(got.IV[:12], want.IV[:12]) || !bytes.Equal(got.IV[12:], zeros[:]) {
		t.Errorf("IV %x, want %x and a zero block counter", got.IV, want.IV[:12])
	}
	sameRecipient := func(a, b WrappedKey) bool {
		return a.Management == b.Management && bytes.Equal(a.KeyID, b.KeyID) &&
			a.EphemeralX == b.EphemeralX && a.EphemeralY == b.EphemeralY && a.Wrapped == b.Wrapped
	}
	if len(want.Recipients) != 1 || len(got.Recipients) != 1 || !sameRecipient(got.Recipients[0], want.Recipients[0]) {
		t.Errorf("recipients %+v, want %+v", got.Recipients, want.Recipients)
	}

	image := open(t, identity(t, device), want, ciphertext)
	if s.stream, err = newKeystream((*[keySize]byte)(draftCEK), draftIV); err != nil { // its IV does not end in zeros
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	result, err := s.Seal(&sealed, bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sealed.Bytes(), ciphertext) {
		t.Error("another ciphertext")
	}
	if result.Size != 1024 || !bytes.Contains(envelope, result.PlainSHA256[:]) || !bytes.Contains(envelope, result.CipherSHA256[:]) {
		t.Errorf("%+v does not stand in the signed manifest", result)
	}

	kw := vector(t, "suit/profile/T3-nrf-enc-a128kw-a128ctr.hex")
	h := readInfo(t, kw[bytes.Index(kw, []byte{0xd8, 96, 0x84}):])
	if got := open(t, draftIdentity(t, A128KW), h, ciphertext); !bytes.Equal(got, image) {
		t.Error("the A128KW variant has another content key")
	}
}

func TestKDFContext(t *testing.T) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	nobody := []any{nil, nil, nil}
	want, err := mode.Marshal([]any{A128KW, nobody, nobody,
		[]any{8 * keySize, []byte{0xa1, 1, 0x38, 0x1c}, []byte("SUIT Payload Encryption")}})
	if err != nil {
		t.Fatal(err)
	}
	if kdfContext != string(want) || kdfContext != string(draftInfo) {
		t.Errorf("got %x, want %x", kdfContext, want)
	}
	want, err = mode.Marshal([]any{"Encrypt", []byte{0xa1, 1, 1}, []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	if gcmAAD != string(want) {
		t.Errorf("Enc_structure %x, want %x", gcmAAD, want)
	}
}

// RFC 3686, section 6, test vectors 1 and 2: their block counter starts at 1,
// ours at 0, so they begin in our second block.
func TestCTRVectors(t *testing.T) {
	for _, tt := range []struct{ key, nonce, plain, want string }{
		{"AE6852F8121067CC4BF7A5765577F39E", "00000030 0000000000000000",
			hex.EncodeToString([]byte("Single block msg")), "E4095D4FB7A7B3792D6175A3261311B8"},
		{"7E24067817FAE0D743D6CE1F32539163", "006CB6DB C0543B59DA48D90B",
			"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
			"5104A106168A72D9790D41EE8EDAD388EB2E1EFC46DA57C8FCE630DF9141BE28"},
	} {
		_, to := recipient(t, "ctr")
		random := io.MultiReader(bytes.NewReader(unhex(tt.key+tt.nonce)), stream("ctr"))
		s, err := NewSealer(random, []Recipient{to})
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := s.Seal(&got, bytes.NewReader(append(make([]byte, aes.BlockSize), unhex(tt.plain)...))); err != nil {
			t.Fatal(err)
		}
		if want := unhex(tt.want); !bytes.Equal(got.Bytes()[aes.BlockSize:], want) {
			t.Errorf("got %x, want %x", got.Bytes()[aes.BlockSize:], want)
		}
	}
}

// RFC 3394, section 4.1.
func TestKeyWrapVector(t *testing.T) {
	kek, err := aes.NewCipher(unhex("000102030405060708090A0B0C0D0E0F"))
	if err != nil {
		t.Fatal(err)
	}
	key := [keySize]byte(unhex("00112233445566778899AABBCCDDEEFF"))
	wrapped := [24]byte(unhex("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"))
	if got := wrap(kek, &key); got != wrapped {
		t.Errorf("wrap: got %x, want %x", got, wrapped)
	}
	if got := unwrap(kek, wrapped); got == nil || *got != key {
		t.Errorf("unwrap: got %x, want %x", got, key)
	}
	for bit := range 8 * len(wrapped) {
		bad := wrapped
		bad[bit/8] ^= 1 << (bit % 8)
		if unwrap(kek, bad) != nil {
			t.Fatalf("unwrap accepts bit %d flipped", bit)
		}
	}
}

// hexBytes is a hexadecimal string of a Wycheproof file.
type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func TestWycheproofKeyWrap(t *testing.T) {
	var suite struct {
		TestGroups []struct {
			Tests []struct {
				TcID         int
				Key, Msg, Ct hexBytes
				Result       string
			}
		}
	}
	if err := testvectors.JSON("wycheproof/aes_wrap_test.json", &suite); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, g := range suite.TestGroups {
		for _, tc := range g.Tests {
			kek, err := aes.NewCipher(tc.Key)
			if err != nil {
				t.Fatal(err)
			}
			if len(tc.Ct) != 24 { // not a [24]byte: the types exclude it
				continue
			}
			count[tc.Result]++
			got := unwrap(kek, [24]byte(tc.Ct))
			if (tc.Result == "valid") != (got != nil) {
				t.Errorf("case %d: unwrapped: %t, want %s", tc.TcID, got != nil, tc.Result)
				continue
			}
			if got != nil && (!bytes.Equal(got[:], tc.Msg) || wrap(kek, got) != [24]byte(tc.Ct)) {
				t.Errorf("case %d: got %x, want %x", tc.TcID, *got, tc.Msg)
			}
		}
	}
	if count["valid"] != 12 || count["invalid"] != 36 || len(count) != 2 {
		t.Errorf("ran %v, want 12 valid and 36 invalid", count)
	}
}

// Every point of the file takes the way of an ephemeral key through Unwrap.
func TestWycheproofECDH(t *testing.T) {
	var suite struct {
		TestGroups []struct {
			Tests []struct {
				TcID                    int
				Public, Private, Shared hexBytes
				Result                  string
			}
		}
	}
	if err := testvectors.JSON("wycheproof/ecdh_secp256r1_ecpoint_test.json", &suite); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, g := range suite.TestGroups {
		for _, tc := range g.Tests {
			if len(tc.Public) != 65 { // compressed or empty: not a pair of coordinates
				continue
			}
			count[tc.Result]++
			private := privateKey(t, new(big.Int).SetBytes(tc.Private).FillBytes(make([]byte, 32)))
			w := WrappedKey{Management: ECDHESA128KW, EphemeralX: [32]byte(tc.Public[1:33]), EphemeralY: [32]byte(tc.Public[33:])}
			if tc.Result == "valid" {
				public, err := w.ephemeralKey()
				if err != nil {
					t.Errorf("case %d: %v", tc.TcID, err)
					continue
				}
				shared, err := private.ECDH(public)
				if err != nil || !bytes.Equal(shared, tc.Shared) {
					t.Errorf("case %d: shared secret %x, %v", tc.TcID, shared, err)
				}
				kek, err := deriveKEK(private, public)
				if err != nil {
					t.Fatal(err)
				}
				block, err := aes.NewCipher(kek[:])
				if err != nil {
					t.Fatal(err)
				}
				w.Wrapped = wrap(block, (*[keySize]byte)(draftCEK))
			}
			key, err := identity(t, private).Unwrap(Header{A128CTR, draftIV, []WrappedKey{w}})
			switch {
			case tc.Result != "valid":
				if !errors.Is(err, ErrEphemeralKey) {
					t.Errorf("case %d: got %v, want %v", tc.TcID, err, ErrEphemeralKey)
				}
			case err != nil:
				t.Errorf("case %d: %v", tc.TcID, err)
			case !bytes.Equal(key.key[:], draftCEK):
				t.Errorf("case %d: another content key", tc.TcID)
			}
		}
	}
	if count["valid"] != 330 || count["invalid"] != 16 || len(count) != 2 {
		t.Errorf("ran %v, want 330 valid and 16 invalid", count)
	}
}

// stream is an endless reader of pseudorandom bytes that depend on the seed:
// SHA-256 in counter mode.
func stream(seed string) io.Reader { return &hashStream{seed: sha256.Sum256([]byte(seed))} }

type hashStream struct {
	seed    [sha256.Size]byte
	counter uint64
	rest    []byte
}

func (s *hashStream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		s.counter++
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(s.seed[:], s.counter))
		s.rest = sum[:]
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// recipient returns a key pair that depends on the name.
func recipient(t testing.TB, name string) (*ecdh.PrivateKey, Recipient) {
	t.Helper()
	scalar := sha256.Sum256([]byte(name))
	key := privateKey(t, scalar[:])
	to, err := NewRecipient(key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return key, to
}
