package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/otapack/otapack/sign/cose"
)

// Digest is a SHA-256 digest.
type Digest [sha256.Size]byte

// String formats as 64 hexadecimal digits.
func (d Digest) String() string { return fmt.Sprintf("%x", d[:]) }

// MarshalText encodes as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) {
		return fmt.Errorf("manifest: digest %q, want %d hexadecimal digits", text, 2*len(d))
	}
	copy(d[:], b)
	return nil
}

// Content names bytes by digest and length.
type Content struct {
	Digest Digest
	Size   uint32 // in bytes
}

// Manifest is what a manifest of the profile says. Which template it uses
// follows from Slot and Install.
type Manifest struct {
	// Sequence is the rollback counter. A device refuses a lower number than
	// the one it has confirmed; an equal one is a reinstallation.
	Sequence uint32
	Version  Version // empty when the manifest does not tell
	Vendor   UUID
	Class    UUID
	Slot     *uint32 // T2b: the slot that the image is linked for
	Image    Content // the plain image, as it is executed

	// Component and Staging are component identifiers of 1 to 8 bytes. Nil
	// means the default, h'00' and h'01'. Staging is used when Staged.
	Component []byte
	Staging   []byte
	// Staged says that the payload is not the image: it is decrypted (T3) or
	// decoded, and before that perhaps decrypted (T4).
	Staged bool

	// Install is nil after decoding an envelope whose install sequence was
	// severed.
	Install *Install
	// Text is the digest of the envelope's text element, nil when it has none.
	Text *Digest
}

// Install is what a device needs until the image is in place.
type Install struct {
	URI        string        // where the payload comes from; "#name" is an integrated element
	Received   Content       // T3, T4: the payload as received
	Encryption *cose.Encrypt // T3, T4 when encrypted: how to decrypt it
	Decoding   *Decoding     // T4: how to decode what was received or decrypted
}

var (
	defaultComponent = []byte{0}
	defaultStaging   = []byte{1}
)

// command is one (number, argument) pair of a sequence. The argument is
// anything that cose.Marshal takes.
type command struct {
	code   int64
	arg    any
	offset int64 // where it was read; 0 when built
}

// digestWire is SUIT_Digest.
type digestWire struct {
	_         struct{} `cbor:",toarray"`
	Algorithm int64
	Bytes     []byte
}

// encode returns the SUIT_Digest array, 36 bytes.
func (d Digest) encode() ([]byte, error) {
	return cose.Marshal(digestWire{Algorithm: digestSHA256, Bytes: d[:]})
}

// encodeSequence flattens commands into the array of a command sequence.
func encodeSequence(commands []command) ([]byte, error) {
	flat := make([]any, 0, 2*len(commands))
	for _, c := range commands {
		flat = append(flat, c.code, c.arg)
	}
	return cose.Marshal(flat)
}

// body is a manifest map before encoding. It can express more of SUIT than the
// profile uses, which lets the tests reproduce published examples.
type body struct {
	sequence   uint64
	components [][]byte
	shared     []command
	version    Version
	validate   []command
	invoke     []command
	install    []command
	// installDigest and textDigest stand in for severed elements.
	installDigest *Digest
	textDigest    *Digest
}

// encode returns the manifest map, without the byte string around it.
func (b body) encode() ([]byte, error) {
	shared, err := encodeSequence(b.shared)
	if err != nil {
		return nil, err
	}
	components := make([][][]byte, len(b.components))
	for i, c := range b.components {
		components[i] = [][]byte{c}
	}
	common, err := cose.Marshal(map[int64]any{commonComponents: components, commonShared: shared})
	if err != nil {
		return nil, err
	}
	m := map[int64]any{keyManifestVersion: 1, keySequence: b.sequence, keyCommon: common}
	if len(b.version) > 0 {
		if m[keyVersion], err = cose.Marshal([]int32(b.version)); err != nil {
			return nil, err
		}
	}
	for key, commands := range map[int64][]command{keyValidate: b.validate, keyInvoke: b.invoke, keyInstall: b.install} {
		if commands == nil {
			continue
		}
		if m[key], err = encodeSequence(commands); err != nil {
			return nil, err
		}
	}
	for key, d := range map[int64]*Digest{keyInstall: b.installDigest, keyText: b.textDigest} {
		if d != nil {
			m[key] = digestWire{Algorithm: digestSHA256, Bytes: d[:]}
		}
	}
	return cose.Marshal(m)
}

// Template returns "T1", "T2b", "T3" or "T4", the template that the manifest
// uses. T3 and T4 differ in install: without it, it is "T3 or T4".
func (m Manifest) Template() string {
	switch {
	case m.Staged && m.Install == nil:
		return "T3 or T4"
	case m.Decoded():
		return "T4"
	case m.Staged:
		return "T3"
	case m.Slot != nil:
		return "T2b"
	}
	return "T1"
}

// Encrypted reports whether the payload is. It is false, too, when install was
// severed.
func (m Manifest) Encrypted() bool { return m.Install != nil && m.Install.Encryption != nil }

// Decoded reports whether the image is decoded from the payload. It is false,
// too, when install was severed.
func (m Manifest) Decoded() bool { return m.Install != nil && m.Install.Decoding != nil }

// components returns the component identifiers in index order.
func (m Manifest) components() [][]byte {
	component, staging := m.Component, m.Staging
	if component == nil {
		component = defaultComponent
	}
	if staging == nil {
		staging = defaultStaging
	}
	if m.Staged {
		return [][]byte{component, staging}
	}
	return [][]byte{component}
}

// choose starts a sequence that works on a component: with one component there
// is nothing to choose, with two the draft demands the command.
func (m Manifest) choose(component uint64, commands ...command) []command {
	if m.Staged {
		commands = append([]command{{code: setComponentIndex, arg: component}}, commands...)
	}
	return commands
}

// shared is the sequence that every device runs first: it identifies the
// device, and the image.
func (m Manifest) shared() ([]command, error) {
	digest, err := m.Image.Digest.encode()
	if err != nil {
		return nil, err
	}
	parameters := map[int64]any{
		parameterVendor: m.Vendor[:],
		parameterClass:  m.Class[:],
		parameterDigest: digest,
		parameterSize:   m.Image.Size,
	}
	commands := []command{
		{code: overrideParameters, arg: parameters},
		{code: conditionVendor, arg: reportAll},
		{code: conditionClass, arg: reportAll},
	}
	if m.Slot != nil {
		parameters[parameterSlot] = *m.Slot
		commands = append(commands, command{code: conditionSlot, arg: reportSlot})
	}
	return m.choose(0, commands...), nil
}

func (m Manifest) validate() []command {
	return m.choose(0, command{code: conditionImageMatch, arg: reportAll})
}

func (m Manifest) invoke() []command {
	return m.choose(0, command{code: directiveInvoke, arg: reportFailure})
}

// install fetches the payload, in T3 and T4 checks it, and then decrypts or
// decodes it.
func (m Manifest) install() ([]command, error) {
	parameters := map[int64]any{parameterURI: m.Install.URI}
	fetch := []command{
		{code: overrideParameters, arg: parameters},
		{code: directiveFetch, arg: reportFailure},
		{code: conditionImageMatch, arg: reportAll},
	}
	if !m.Staged {
		return fetch, nil
	}
	digest, err := m.Install.Received.Digest.encode()
	if err != nil {
		return nil, err
	}
	parameters[parameterDigest] = digest
	parameters[parameterSize] = m.Install.Received.Size
	source := map[int64]any{parameterSource: 1}
	if m.Encrypted() {
		if source[parameterEncryptionInfo], err = m.Install.Encryption.Encode(); err != nil {
			return nil, err
		}
	}
	open := command{code: directiveCopy, arg: reportFailure}
	if m.Decoded() {
		open.code = directiveDecode
		if open.arg, err = m.Install.Decoding.encode(); err != nil {
			return nil, err
		}
	}
	place := []command{{code: overrideParameters, arg: source}, open, {code: conditionImageMatch, arg: reportAll}}
	return append(m.choose(1, fetch...), m.choose(0, place...)...), nil
}

// check refuses what the templates cannot express.
func (m Manifest) check() error {
	switch in := m.Install; {
	case in == nil:
		return errors.New("manifest: no install information")
	case in.URI == "" || len(in.URI) > MaxURI || !utf8.ValidString(in.URI):
		return fmt.Errorf("manifest: URI of %d bytes, want 1 to %d in UTF-8", len(in.URI), MaxURI)
	case m.Staged != (m.Encrypted() || m.Decoded()):
		return fmt.Errorf("manifest: staged is %t, encrypted %t, decoded %t", m.Staged, m.Encrypted(), m.Decoded())
	case m.Staged && !m.Decoded() && in.Received.Size != m.Image.Size:
		return fmt.Errorf("manifest: ciphertext of %d bytes for an image of %d: A128CTR keeps the length", in.Received.Size, m.Image.Size)
	case m.Staged && in.Received.Size == 0:
		return errors.New("manifest: empty payload")
	case m.Image.Size == 0:
		return errors.New("manifest: empty image")
	case len(m.Version) > 0 && !m.Version.valid():
		return fmt.Errorf("manifest: version elements %s: %w", m.Version, ErrVersion)
	}
	if m.Decoded() {
		if err := m.Install.Decoding.check(); err != nil {
			return err
		}
	}
	components := m.components()
	for i, c := range components {
		switch {
		case len(c) < 1 || len(c) > maxComponent:
			return fmt.Errorf("manifest: component identifier of %d bytes, want 1 to %d", len(c), maxComponent)
		case i > 0 && bytes.Equal(c, components[0]):
			return fmt.Errorf("manifest: both components are h'%x'", c)
		}
	}
	return nil
}

// encode returns the manifest map and, when install is severed, the sequence
// that goes into the envelope.
func (m Manifest) encode(severInstall bool) (manifest, install []byte, err error) {
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	b := body{
		sequence:   uint64(m.Sequence),
		components: m.components(),
		version:    m.Version,
		validate:   m.validate(),
		invoke:     m.invoke(),
		textDigest: m.Text,
	}
	if b.shared, err = m.shared(); err != nil {
		return nil, nil, err
	}
	commands, err := m.install()
	if err != nil {
		return nil, nil, err
	}
	if !severInstall {
		b.install = commands
	} else {
		if install, err = encodeSequence(commands); err != nil {
			return nil, nil, err
		}
		if len(install) > MaxInstall {
			return nil, nil, fmt.Errorf("manifest: install sequence of %d bytes, at most %d", len(install), MaxInstall)
		}
		if b.installDigest, err = severedDigest(install); err != nil {
			return nil, nil, err
		}
	}
	manifest, err = b.encode()
	if err == nil && len(manifest) > MaxManifest {
		err = fmt.Errorf("manifest: %d bytes, at most %d", len(manifest), MaxManifest)
	}
	return manifest, install, err
}

// severedDigest hashes a severable element the way the manifest refers to it:
// as the byte string in the envelope, head included.
func severedDigest(content []byte) (*Digest, error) {
	element, err := cose.Marshal(content)
	if err != nil {
		return nil, err
	}
	d := Digest(sha256.Sum256(element))
	return &d, nil
}
