package manifest

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// sequence is a command sequence as read.
type sequence struct {
	encoded  []byte
	commands []command
	offset   int64
	err      error // first refusal
}

// parameters is the argument of override-parameters as read; nil pointers and
// slices mean absent.
type parameters struct {
	vendor, class *UUID
	digest        *Digest
	size          *uint32
	slot          *uint32
	uri           *string
	encryption    *cose.Encrypt
	source        *uint64
}

// decode reads the manifest of an envelope and matches it to the templates.
//
// Reading collects facts and names what is unknown. Matching first looks for
// the omissions that matter to a device, so that each has a reason of its own;
// in the end every sequence must be byte for byte what its template gives for
// the collected facts.
func decode(e *Envelope) (Manifest, error) {
	r := e.manifest.reader("manifest")
	d := decoder{r: r, envelope: e}
	d.read()
	if r.OK() {
		d.match()
	}
	if err := r.Err(); err != nil {
		return Manifest{}, err
	}
	return d.m, nil
}

type decoder struct {
	r        *strictcbor.Reader
	envelope *Envelope
	m        Manifest

	shared, validate, invoke, install sequence
	installDigest                     *Digest
}

func (d *decoder) read() {
	r := d.r
	seen := map[int64]bool{}
	r.Map(maxPairs, func(k strictcbor.Key) {
		if k.IsText {
			r.Fail(verdict.UnknownManifestKey, "text key")
			return
		}
		seen[k.Int] = true
		at := r.Offset()
		switch k.Int {
		case keyManifestVersion:
			if v := r.Int(); r.OK() && v != 1 {
				r.FailAt(at, verdict.ManifestVersion, "manifest version %d, want 1", v)
			}
		case keySequence:
			v := r.Int()
			if r.OK() && (v < 0 || v > maxSequence) {
				r.FailAt(at, verdict.SequenceRange, "sequence number %d, at most %d", v, maxSequence)
			}
			d.m.Sequence = uint32(v)
		case keyCommon:
			d.readCommon(r.Nested("common", MaxManifest))
		case keyVersion:
			v := r.Nested("version", 64)
			d.m.Version = readVersion(v)
			v.End(verdict.TrailingBytes)
		case keyValidate:
			d.validate = readSequence(r.Nested("validate", MaxManifest))
		case keyInvoke:
			d.invoke = readSequence(r.Nested("invoke", MaxManifest))
		case keyInstall:
			if r.IsArray() {
				digest := readDigest(r)
				d.installDigest = &digest
			} else {
				d.install = readSequence(r.Nested("install", MaxManifest))
			}
		case keyText:
			digest := readDigest(r)
			d.m.Text = &digest
		default:
			r.FailAt(at, verdict.UnknownManifestKey, "manifest key %d", k.Int)
		}
	})
	for _, k := range []int64{keyManifestVersion, keySequence, keyCommon, keyValidate, keyInvoke, keyInstall} {
		if r.OK() && !seen[k] {
			r.Fail(verdict.MissingKey, "no manifest key %d", k)
		}
	}
	r.End(verdict.TrailingAfterManifest)
	d.readSevered()
}

// readSevered takes severed elements from the envelope and checks that they
// are the ones that the manifest names.
func (d *decoder) readSevered() {
	r, install, text := d.r, d.envelope.install, d.envelope.text
	switch {
	case !r.OK():
		return
	case install.present() && d.installDigest == nil:
		r.FailAt(install.offset, verdict.InstallTwice, "install stands in the manifest and in the envelope")
		return
	case install.present():
		if !d.installDigest.covers(install) {
			r.FailAt(install.offset, verdict.SeverableDigestMismatch, "install sequence is not the one that the manifest names")
			return
		}
		d.install = readSequence(install.reader("install"))
		// The sequence has a reader of its own; its refusal is the manifest's.
		if err := d.install.err; err != nil {
			r.FailWith(err)
		}
	}
	if text.present() && (d.m.Text == nil || !d.m.Text.covers(text)) {
		r.FailAt(text.offset, verdict.SeverableDigestMismatch, "text is not the one that the manifest names")
	}
}

// covers reports whether d is the digest of a severable element.
func (d *Digest) covers(e element) bool {
	sum := sha256.Sum256(e.encoded)
	return subtle.ConstantTimeCompare(sum[:], d[:]) == 1
}

func (d *decoder) readCommon(r *strictcbor.Reader) {
	r.Map(4, func(k strictcbor.Key) {
		switch {
		case !k.IsText && k.Int == commonComponents:
			for i := range r.Array(1, 2) {
				r.Array(1, 1)
				id := r.Bytes(1, maxComponent)
				switch {
				case i == 0:
					d.m.Component = id
				case bytes.Equal(id, d.m.Component):
					r.Fail(verdict.DuplicateComponent, "both components are h'%x'", id)
				default:
					d.m.Staging, d.m.Staged = id, true
				}
			}
		case !k.IsText && k.Int == commonShared:
			d.shared = readSequence(r.Nested("shared sequence", MaxManifest))
		default:
			r.Fail(verdict.UnknownManifestKey, "key in common")
		}
	})
	if r.OK() && (d.m.Component == nil || d.shared.encoded == nil) {
		r.Fail(verdict.MissingKey, "common lacks components or the shared sequence")
	}
	r.End(verdict.TrailingBytes)
}

func readSequence(r *strictcbor.Reader) sequence {
	s := sequence{offset: r.Offset()}
	at := r.Offset()
	n := r.Array(0, 2*maxCommands)
	if n%2 != 0 {
		r.FailAt(at, verdict.OddSequence, "%d elements", n)
	}
	for range n / 2 {
		c := command{offset: r.Offset(), code: r.Int()}
		switch c.code {
		case conditionVendor, conditionClass, conditionImageMatch, conditionSlot, directiveFetch, directiveCopy, directiveInvoke:
			c.arg = r.Uint(reportAll)
		case setComponentIndex:
			c.arg = r.Uint(maxSequence)
		case overrideParameters:
			c.arg = readParameters(r)
		case directiveDecode:
			c.arg = readDecoding(r.Nested("payload information", maxPayloadInfo))
		default:
			r.FailAt(c.offset, verdict.UnknownCommand, "command %d", c.code)
		}
		if !r.OK() {
			break
		}
		s.commands = append(s.commands, c)
	}
	r.End(verdict.TrailingAfterSequence)
	if r.OK() {
		s.encoded = r.Since(s.offset)
	}
	s.err = r.Err()
	return s
}

func readParameters(r *strictcbor.Reader) parameters {
	var p parameters
	r.Map(maxPairs, func(k strictcbor.Key) {
		at := r.Offset()
		switch {
		case k.IsText:
			r.FailAt(at, verdict.UnknownParameter, "text key")
		case k.Int == parameterVendor || k.Int == parameterClass:
			b := r.Bytes(len(UUID{}), len(UUID{}))
			if !r.OK() {
				return
			}
			if u := UUID(b); k.Int == parameterVendor {
				p.vendor = &u
			} else {
				p.class = &u
			}
		case k.Int == parameterDigest:
			digest := r.Nested("digest", 128)
			v := readDigest(digest)
			digest.End(verdict.TrailingAfterDigest)
			p.digest = &v
		case k.Int == parameterSlot:
			v := uint32(r.Uint(1<<32 - 1))
			p.slot = &v
		case k.Int == parameterSize:
			v := uint32(r.Uint(1<<32 - 1))
			p.size = &v
		case k.Int == parameterEncryptionInfo:
			info := r.Nested("encryption information", MaxInstall)
			v := cose.ReadEncrypt(info)
			info.End(verdict.TrailingBytes)
			p.encryption = &v
		case k.Int == parameterURI:
			v := r.Text(1, MaxURI)
			p.uri = &v
		case k.Int == parameterSource:
			v := r.Uint(1<<32 - 1)
			p.source = &v
		default:
			r.FailAt(at, verdict.UnknownParameter, "parameter %d", k.Int)
		}
	})
	return p
}

// match checks the sequences against the templates and moves their parameters
// into the manifest.
func (d *decoder) match() {
	r, m := d.r, &d.m
	sequences := []struct {
		name string
		sequence
	}{{"shared sequence", d.shared}, {"validate", d.validate}, {"invoke", d.invoke}, {"install", d.install}}
	for _, s := range sequences {
		d.checkComponents(s.name, s.sequence)
	}
	if !r.OK() {
		return
	}
	d.checkIdentity()
	if !d.validate.has(conditionImageMatch) {
		r.FailAt(d.validate.offset, verdict.MissingImageMatch, "validate does not check the image")
	}
	shared := d.shared.parameters()
	switch {
	case !r.OK():
		return
	case len(shared) == 0 || shared[0].vendor == nil || shared[0].class == nil || shared[0].digest == nil:
		r.FailAt(d.shared.offset, verdict.MissingParameter, "shared sequence lacks vendor, class or digest")
		return
	case shared[0].size == nil:
		r.FailAt(d.shared.offset, verdict.MissingImageSize, "shared sequence lacks the image size")
		return
	case *shared[0].size == 0:
		r.FailAt(d.shared.offset, verdict.MissingImageSize, "image size is zero")
		return
	}
	m.Vendor, m.Class, m.Slot = *shared[0].vendor, *shared[0].class, shared[0].slot
	m.Image = Content{*shared[0].digest, *shared[0].size}
	if d.install.encoded != nil {
		d.matchInstall()
	}
	d.compare()
}

// checkComponents keeps component indices in range and, with two components,
// demands that each sequence starts by choosing one (draft, section 8.4.10.1).
func (d *decoder) checkComponents(name string, s sequence) {
	count := uint64(len(d.m.components()))
	for i, c := range s.commands {
		if c.code == setComponentIndex && c.arg.(uint64) >= count {
			d.r.FailAt(c.offset, verdict.ComponentIndexRange, "%s: component %d of %d", name, c.arg, count)
		}
		if i == 0 && count > 1 && c.code != setComponentIndex {
			d.r.FailAt(c.offset, verdict.MissingSetComponentIndex, "%s starts without choosing a component", name)
		}
	}
}

// checkIdentity demands the vendor and class conditions where every device
// runs them: the draft only says "should".
func (d *decoder) checkIdentity() {
	for _, c := range []struct {
		code                int64
		name                string
		absent, onlyInstall verdict.Reason
	}{
		{conditionVendor, "vendor", verdict.MissingVendorCheck, verdict.VendorOnlyInInstall},
		{conditionClass, "class", verdict.MissingClassCheck, verdict.ClassOnlyInInstall},
	} {
		switch {
		case d.shared.has(c.code):
		case d.install.has(c.code):
			d.r.FailAt(d.shared.offset, c.onlyInstall, "%s is checked only while installing", c.name)
		default:
			d.r.FailAt(d.shared.offset, c.absent, "%s is not checked", c.name)
		}
	}
}

func (d *decoder) matchInstall() {
	p := d.install.parameters()
	want := 1
	if d.m.Staged {
		want = 2
	}
	if len(p) != want || p[0].uri == nil {
		d.r.FailAt(d.install.offset, verdict.MissingParameter, "install lacks the URI or a parameter block")
		return
	}
	d.m.Install = &Install{URI: *p[0].uri}
	if d.m.Staged {
		d.matchStaged(p[0], p[1])
	}
}

// matchStaged takes what T3 and T4 say about the payload: as it is received, and
// how the image is made from it.
func (d *decoder) matchStaged(fetch, open parameters) {
	in := d.m.Install
	in.Encryption, in.Decoding = open.encryption, d.install.decoding()
	if fetch.digest == nil || fetch.size == nil || open.source == nil || in.Encryption == nil && in.Decoding == nil {
		d.r.FailAt(d.install.offset, verdict.MissingParameter, "install lacks the payload's digest, its size, or how the image is made from it")
		return
	}
	in.Received = Content{*fetch.digest, *fetch.size}
	switch {
	case in.Decoding == nil && in.Received.Size != d.m.Image.Size:
		d.r.FailAt(d.install.offset, verdict.PayloadElementSize, "ciphertext of %d bytes for an image of %d", in.Received.Size, d.m.Image.Size)
	case in.Received.Size == 0:
		d.r.FailAt(d.install.offset, verdict.PayloadElementSize, "the payload is empty")
	}
}

// compare encodes the facts again: a sequence that differs from its template
// in any byte is not of the profile.
func (d *decoder) compare() {
	if !d.r.OK() {
		return
	}
	check := func(name string, got sequence, want []command, err error) {
		if err == nil {
			var encoded []byte
			if encoded, err = encodeSequence(want); err == nil && bytes.Equal(encoded, got.encoded) {
				return
			}
		}
		d.r.FailAt(got.offset, verdict.NotInProfile, "%s differs from its template", name)
	}
	shared, err := d.m.shared()
	check("shared sequence", d.shared, shared, err)
	check("validate", d.validate, d.m.validate(), nil)
	check("invoke", d.invoke, d.m.invoke(), nil)
	if d.m.Install != nil {
		install, err := d.m.install()
		check("install", d.install, install, err)
	}
}

func (s sequence) has(code int64) bool {
	for _, c := range s.commands {
		if c.code == code {
			return true
		}
	}
	return false
}

// decoding returns the argument of the last decode command, nil for none. A
// sequence with more than one is none of a template.
func (s sequence) decoding() *Decoding {
	var last *Decoding
	for _, c := range s.commands {
		if d, ok := c.arg.(Decoding); ok {
			last = &d
		}
	}
	return last
}

// parameters returns the arguments of all override-parameters commands.
func (s sequence) parameters() []parameters {
	var all []parameters
	for _, c := range s.commands {
		if p, ok := c.arg.(parameters); ok {
			all = append(all, p)
		}
	}
	return all
}
