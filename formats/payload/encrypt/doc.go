// Package encrypt does the mathematics of SUIT payload encryption
// (draft-ietf-suit-firmware-encryption), profile suit-sha256-esp256-ecdh-a128ctr:
// one AES-128 content key per payload, in counter mode, wrapped for each device
// key with ECDH-ES+A128KW. It knows no CBOR; callers turn a [Header] into a
// COSE_Encrypt and back.
//
// The sender:
//
//	to, err := encrypt.ParseRecipient(pem)
//	sealer, err := encrypt.NewSealer(rand.Reader, []encrypt.Recipient{to})
//	defer sealer.Wipe()
//	result, err := sealer.Seal(dst, src)
//	// sealer.Header() and the digests in result go into the signed manifest
//
// The device, or who stands in for it:
//
//	device, err := encrypt.ParseIdentity(pem)
//	key, err := device.Unwrap(header)
//	defer key.Wipe()
//	plain, err := encrypt.NewReader(ciphertext, header, key)
//
// Counter mode has no integrity: whoever flips a ciphertext bit flips that bit
// of the plaintext, and a wrong content key yields noise without an error. A
// payload is authentic only when both SHA-256 digests of [Result] stand in a
// signed manifest and the receiver compares them, the ciphertext's before it
// decrypts and the plaintext's before it runs anything (RFC 9459, section 8).
// For the same reason a Header is worth something only inside a signed
// manifest.
//
// Payloads stream: sealing and opening use a fixed amount of memory.
package encrypt
