package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// Options are the choices that do not change what a manifest means.
type Options struct {
	Artifact string // names the envelope in signing requests, "radio manifest"
	// SeverInstall moves the install sequence out of the manifest, so that a
	// device need not keep the encryption information after installing.
	SeverInstall bool
	KeyHints     bool   // put an 8-byte key hint into each signature block
	Text         []byte // encoded SUIT text map for people; nil for none
	Payload      []byte // integrate the payload under the manifest's URI, given the bytes that Manifest.Payload describes; nil for none
}

// Draft is an unsigned envelope: its to-be-signed bytes are final.
type Draft struct {
	keys     []sign.PublicKey
	requests []sign.Request // one per key
	options  Options
	uri      string
	digest   Digest
	manifest []byte // content of the manifest byte string
	install  []byte // severed install sequence, or nil
}

// New lays out an envelope to be signed by each of keys, 1 to MaxSignatures of
// them.
func New(m Manifest, keys []sign.PublicKey, o Options) (*Draft, error) {
	if n := len(keys); n < 1 || n > MaxSignatures {
		return nil, fmt.Errorf("manifest: %d signing keys, want 1 to %d", n, MaxSignatures)
	}
	if o.Text != nil {
		if len(o.Text) > MaxText {
			return nil, fmt.Errorf("manifest: text of %d bytes, at most %d", len(o.Text), MaxText)
		}
		if err := checkText(strictcbor.NewReader("text", o.Text)); err != nil {
			return nil, err
		}
		var err error
		if m.Text, err = severedDigest(o.Text); err != nil {
			return nil, err
		}
	}
	d := &Draft{keys: keys, options: o}
	var err error
	if d.manifest, d.install, err = m.encode(o.SeverInstall); err != nil {
		return nil, err
	}
	d.uri = m.Install.URI // encode has refused a manifest without
	if o.Payload != nil {
		if p := m.Payload(); uint64(len(o.Payload)) != uint64(p.Size) || sha256.Sum256(o.Payload) != p.Digest {
			return nil, errors.New("manifest: integrated payload is not the one that the manifest names")
		}
	}
	element, err := cose.Marshal(d.manifest)
	if err != nil {
		return nil, err
	}
	d.digest = sha256.Sum256(element)
	for _, k := range keys {
		message, err := toBeSigned(k.Algorithm(), d.digest)
		if err != nil {
			return nil, err
		}
		d.requests = append(d.requests, sign.Request{Artifact: o.Artifact, Role: sign.RoleManifest, Key: k.ID(), Message: message})
	}
	return d, nil
}

// Digest returns the manifest digest: SHA-256 over the manifest's byte string
// with its head. It identifies the envelope, whatever its signatures are.
func (d *Draft) Digest() Digest { return d.digest }

// Requests returns one signing request per key.
func (d *Draft) Requests() []sign.Request { return d.requests }

// toBeSigned is the Sig_structure over the SUIT_Digest array: 55 bytes for
// ESP256.
func toBeSigned(a sign.Algorithm, digest Digest) ([]byte, error) {
	payload, err := digest.encode()
	if err != nil {
		return nil, err
	}
	return cose.ToBeSigned(a, payload)
}

// Finish puts the signatures, in the order of Requests, into the envelope. It
// verifies each with its key first: an envelope that its own keys refuse is
// never returned.
func (d *Draft) Finish(signatures []sign.Signature) ([]byte, error) {
	if len(signatures) != len(d.keys) {
		return nil, fmt.Errorf("manifest: %d signatures for %d keys", len(signatures), len(d.keys))
	}
	digest, err := d.digest.encode()
	if err != nil {
		return nil, err
	}
	auth := [][]byte{digest}
	for i, s := range signatures {
		key := d.keys[i]
		if err := key.Verify(d.requests[i].Message, s); err != nil {
			return nil, fmt.Errorf("manifest: %s: %w", d.options.Artifact, err)
		}
		block := cose.Sign1{Algorithm: key.Algorithm().COSE(), Signature: s}
		if d.options.KeyHints {
			hint := key.ID().Hint()
			block.KeyID = hint[:]
		}
		encoded, err := block.Encode()
		if err != nil {
			return nil, err
		}
		auth = append(auth, encoded)
	}
	wrapper, err := cose.Marshal(auth)
	if err != nil {
		return nil, err
	}
	envelope := map[any]any{envelopeAuth: wrapper, envelopeManifest: d.manifest}
	if d.install != nil {
		envelope[envelopeInstall] = d.install
	}
	if d.options.Text != nil {
		envelope[envelopeText] = d.options.Text
	}
	if d.options.Payload != nil {
		envelope[d.uri] = d.options.Payload
	}
	return cose.Marshal(cbor.Tag{Number: tagEnvelope, Content: envelope})
}

// Envelope is a SUIT envelope that has been read but not verified.
type Envelope struct {
	Digest Digest       // as the wrapper claims it
	Blocks []cose.Sign1 // signature blocks in file order

	manifest element // the manifest byte string
	install  element // severed install sequence, zero when absent
	text     element

	payloadName string
	payload     element
}

// element is a byte string of the envelope: with its head, and its content.
type element struct {
	encoded []byte
	content []byte
	offset  int64 // of the content
}

func (e element) present() bool { return e.encoded != nil }

func (e element) reader(object string) *strictcbor.Reader {
	return strictcbor.NewReaderAt(object, e.content, e.offset)
}

func readElement(r *strictcbor.Reader, max int) element {
	start := r.Offset()
	content := r.Bytes(0, max)
	if !r.OK() {
		return element{}
	}
	return element{encoded: r.Since(start), content: content, offset: r.Offset() - int64(len(content))}
}

// Parse reads the structure of an envelope and of its signature blocks, not of
// the manifest inside. The result aliases data.
func Parse(data []byte) (*Envelope, error) {
	r := strictcbor.NewReader("envelope", data)
	var e Envelope
	switch tag, ok := r.PeekTag(); {
	case !ok && r.Len() > 0:
		r.Fail(verdict.MissingTag, "want tag %d", tagEnvelope)
	case ok && tag != tagEnvelope:
		r.Fail(verdict.WrongTag, "tag %d, want %d", tag, tagEnvelope)
	default:
		r.Tag()
	}
	r.Map(maxPairs, func(k strictcbor.Key) {
		switch {
		case k.IsText:
			if e.payload.present() {
				r.Fail(verdict.UnknownEnvelopeKey, "second integrated payload %q", k.Text)
				return
			}
			e.payloadName, e.payload = k.Text, readElement(r, len(data))
		case k.Int == envelopeAuth:
			e.readAuth(r)
		case k.Int == envelopeManifest:
			e.manifest = readElement(r, MaxManifest)
		case k.Int == envelopeInstall:
			e.install = readElement(r, MaxInstall)
		case k.Int == envelopeText:
			e.text = readElement(r, MaxText)
			if err := checkText(e.text.reader("text")); err != nil {
				r.FailWith(err)
			}
		default:
			r.Fail(verdict.UnknownEnvelopeKey, "envelope element %d", k.Int)
		}
	})
	switch {
	case !r.OK():
	case r.Len() > 0 && anotherElement(data[len(data)-r.Len():]):
		r.Fail(verdict.UncountedElement, "the map head leaves out an element")
	case len(e.Blocks) == 0:
		r.Fail(verdict.MissingKey, "no authentication wrapper")
	case !e.manifest.present():
		r.Fail(verdict.MissingKey, "no manifest")
	}
	r.End(verdict.TrailingAfterEnvelope)
	if err := r.Err(); err != nil {
		return nil, err
	}
	return &e, nil
}

// checkText checks the form of a text element, which is for people: one item of
// any kind.
func checkText(r *strictcbor.Reader) error {
	r.Raw(maxDepth)
	r.End(verdict.TrailingBytes)
	return r.Err()
}

// anotherElement tells a wrong map head from plain trailing bytes.
func anotherElement(rest []byte) bool {
	r := strictcbor.NewReader("", rest)
	if r.IsText() {
		r.Text(0, MaxURI)
	} else {
		r.Int()
	}
	r.Bytes(0, len(rest))
	return r.OK()
}

func (e *Envelope) readAuth(r *strictcbor.Reader) {
	auth := r.Nested("authentication wrapper", 32<<10)
	n := auth.Array(1, 1+MaxSignatures)
	digest := auth.Nested("manifest digest", 64)
	e.Digest = readDigest(digest)
	digest.End(verdict.TrailingAfterDigest)
	if n == 1 {
		auth.Fail(verdict.Unsigned, "no signature block")
	}
	for range n - 1 {
		if !r.OK() {
			return
		}
		block := auth.Nested("signature block", 10<<10)
		e.Blocks = append(e.Blocks, cose.ReadSign1(block, 0))
		block.End(verdict.TrailingBytes)
	}
	auth.End(verdict.TrailingBytes)
}

// readDigest reads a SUIT_Digest.
func readDigest(r *strictcbor.Reader) Digest {
	var d Digest
	r.Array(2, 2)
	at := r.Offset()
	if a := r.Int(); r.OK() && a != digestSHA256 {
		r.FailAt(at, verdict.DigestAlgorithm, "digest algorithm %d, want %d", a, digestSHA256)
	}
	at = r.Offset()
	if b := r.Bytes(0, 64); r.OK() && len(b) != len(d) {
		r.FailAt(at, verdict.DigestLength, "digest of %d bytes, want %d", len(b), len(d))
	} else {
		copy(d[:], b)
	}
	return d
}

// Unverified decodes the manifest without looking at the signatures, for
// showing it to people.
func (e *Envelope) Unverified() (Manifest, error) { return decode(e) }

// ManifestSize returns the length of the encoded manifest in bytes, without
// severed elements.
func (e *Envelope) ManifestSize() int { return len(e.manifest.content) }
