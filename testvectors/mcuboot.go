package testvectors

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// MCUbootImage is one output of imgtool, taken apart so that the firmware that
// most of them carry is stored once. mcuboot/README.md says what is in a field.
type MCUbootImage struct {
	Name, Command, Bootutil, Header, Payload, TLVs, End, SHA256 string
	ContentKey                                                  string `json:"content_key"`
	Size                                                        int    // of the whole file in bytes
	Erased, Fill                                                byte
	HexBase                                                     *uint32 `json:"hex_base"`
	FileSHA256                                                  string  `json:"file_sha256"`
}

// MCUbootImages returns all outputs of imgtool.
func MCUbootImages() ([]MCUbootImage, error) {
	var all []MCUbootImage
	return all, JSON("mcuboot/golden.json", &all)
}

// MCUbootPayload returns the firmware that MCUbootImage.Payload names.
func MCUbootPayload(name string) ([]byte, error) {
	app, err := Read("mcuboot/app.bin")
	if err != nil {
		return nil, err
	}
	switch name {
	case "odd":
		return append(app, 0x11, 0x22, 0x33), nil
	case "gap":
		return slices.Concat(app[:0x3000], bytes.Repeat([]byte{0xff}, 0x123), app[0x3000:0x5000]), nil
	}
	return app, nil
}

// File puts the output together again, and compares it with imgtool's by its
// digest.
func (g MCUbootImage) File() ([]byte, error) {
	var fields [4][]byte
	for i, digits := range []string{g.Header, g.TLVs, g.End, g.ContentKey} {
		var err error
		if fields[i], err = hex.DecodeString(digits); err != nil {
			return nil, fmt.Errorf("testvectors: %s: %w", g.Name, err)
		}
	}
	header, tlvs, end, key := fields[0], fields[1], fields[2], fields[3]
	body, err := MCUbootPayload(g.Payload)
	if err != nil {
		return nil, err
	}
	headerSize, size := int(binary.LittleEndian.Uint16(header[8:])), int(binary.LittleEndian.Uint32(header[12:]))
	body = append(body, make([]byte, size-len(body))...)
	if len(key) > 0 {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("testvectors: %s: %w", g.Name, err)
		}
		cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(body, body)
	}
	file := slices.Concat(header, bytes.Repeat([]byte{g.Erased}, headerSize-len(header)), body, tlvs)
	if len(end) > 0 {
		file = slices.Concat(file, bytes.Repeat([]byte{g.Fill}, g.Size-len(file)-len(end)), end)
	}
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != g.SHA256 {
		return nil, fmt.Errorf("testvectors: %s: SHA-256 %x is not imgtool's", g.Name, sum)
	}
	return file, nil
}

// MCUbootMutation is a change of an output of imgtool, and what bootutil says
// of it.
type MCUbootMutation struct {
	Base, Why  string // name of the image, and what is wrong afterwards
	VerifyKey  string `json:"verify_key"`
	DecryptKey string `json:"decrypt_key"`
	Bootutil   string
	Ops        []struct {
		Op, Val  string // what is done; its bytes in hexadecimal
		Off, Len int    // where in the file, in bytes
	}
}

// MCUbootMutations returns all changes.
func MCUbootMutations() ([]MCUbootMutation, error) {
	var all []MCUbootMutation
	return all, JSON("mcuboot/negatives.json", &all)
}

// Apply returns the changed file. The one that is given is not kept.
func (m MCUbootMutation) Apply(file []byte) ([]byte, error) {
	file = bytes.Clone(file)
	for _, op := range m.Ops {
		val, err := hex.DecodeString(strings.TrimPrefix(op.Val, "0x"))
		if err != nil {
			return nil, fmt.Errorf("testvectors: %s, %s: %w", m.Base, m.Why, err)
		}
		switch op.Op {
		case "xor":
			file[op.Off] ^= val[0]
		case "set":
			copy(file[op.Off:], val)
		case "cut":
			file = slices.Delete(file, op.Off, op.Off+op.Len)
		case "insert":
			file = slices.Insert(file, op.Off, val...)
		case "truncate":
			file = file[:op.Len]
		default:
			return nil, fmt.Errorf("testvectors: %s, %s: unknown operation %q", m.Base, m.Why, op.Op)
		}
	}
	return file, nil
}
