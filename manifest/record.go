package manifest

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/cose"
	"github.com/otapack/otapack/sign/strictcbor"
	"github.com/otapack/otapack/sign/verdict"
)

// Bounds of the release record.
const (
	MaxRecord     = 64 << 10 // payload of the message, in bytes
	MaxComponents = 32
	MaxAllowed    = 256 // allowed version combinations
	MaxVariants   = 8   // of one component
	maxName       = 64  // product, release id and role, in bytes
)

// Keys of the record's payload and of its components. docs/release.cddl has the
// grammar.
const (
	recordFormat       = 1
	recordID           = 2
	recordProduct      = 3
	recordVendor       = 4
	recordSequence     = 5
	recordComponents   = 6
	recordInstallOrder = 7
	recordAllowed      = 8

	componentRole     = 1
	componentManifest = 2
	componentVersion  = 3
	componentRequires = 4
	componentVariants = 5
)

// recordFormatVersion is the only format so far.
const recordFormatVersion = 1

// Record ties the component manifests of one release together. It is signed as
// a COSE_Sign1 with the payload attached and is checked by the tool, by
// gateways and by the MCU that coordinates an update; the bootloaders check
// their component's manifest only.
type Record struct {
	ID       string // names the release, for example "1.4.2+17"
	Product  string
	Vendor   UUID
	Sequence uint32 // the same number as in the manifests
	// Components in a fixed order that InstallOrder and Allowed refer to.
	Components []RecordComponent
	// InstallOrder lists each component index once, first to install first.
	InstallOrder []int
	// Allowed lists the version combinations that may run together while the
	// update is under way, each with one version per component. The release's
	// own combination is always allowed and not listed.
	Allowed [][]Version
}

// RecordComponent is one component of a release.
type RecordComponent struct {
	Role     string // the component's name in the product, for example "radio"
	Manifest Digest // identifies the component's SUIT manifest
	Version  Version
	Requires []Requirement // minimum versions of other components
	// Variants are other ways to the same image, for devices that have a certain
	// one. They are in ascending order of From.
	Variants []RecordVariant
}

// RecordVariant is a second manifest of a component, whose payload is a
// difference to an image that devices may have. It installs the image of the
// component's own manifest.
type RecordVariant struct {
	Manifest Digest  // identifies the variant's SUIT manifest
	From     Version // of the base
	Base     Content // the plain image that the device has to have
}

// Requirement is a minimum version of a peer component.
type Requirement struct {
	Component int // index into Record.Components
	Minimum   Version
}

// Own returns the release's own version combination.
func (r Record) Own() []Version {
	own := make([]Version, len(r.Components))
	for i, c := range r.Components {
		own[i] = c.Version
	}
	return own
}

// Allows reports whether a version combination may run.
func (r Record) Allows(versions []Version) bool {
	same := func(v, w Version) bool { return v.Compare(w) == 0 }
	return slices.EqualFunc(versions, r.Own(), same) ||
		slices.ContainsFunc(r.Allowed, func(a []Version) bool { return slices.EqualFunc(a, versions, same) })
}

// Check refuses a record that contradicts itself: wrong indices, combinations
// of the wrong size, or a version combination that breaks a requirement.
func (r Record) Check() error {
	n := len(r.Components)
	bad := func(format string, args ...any) error {
		return verdict.New(verdict.RecordInconsistent, "release record", format, args...)
	}
	switch {
	case n < 1 || n > MaxComponents:
		return bad("%d components, want 1 to %d", n, MaxComponents)
	case len(r.Allowed) > MaxAllowed:
		return bad("%d version combinations, at most %d", len(r.Allowed), MaxAllowed)
	case len(r.InstallOrder) != n:
		return bad("install order of %d for %d components", len(r.InstallOrder), n)
	}
	for _, s := range []string{r.ID, r.Product} {
		if !validName(s) {
			return bad("name of %d bytes, want 1 to %d in UTF-8", len(s), maxName)
		}
	}
	for i := range n {
		if !slices.Contains(r.InstallOrder, i) {
			return bad("component %d is not in the install order", i)
		}
	}
	for i, c := range r.Components {
		switch {
		case !validName(c.Role):
			return bad("role of %d bytes, want 1 to %d in UTF-8", len(c.Role), maxName)
		case !c.Version.valid():
			return bad("%s has version elements %d", c.Role, []int32(c.Version))
		case slices.ContainsFunc(r.Components[:i], func(o RecordComponent) bool { return o.Role == c.Role }):
			return bad("%s occurs twice", c.Role)
		}
		for j, q := range c.Requires {
			if q.Component < 0 || q.Component >= n || q.Component == i || !q.Minimum.valid() || j > 0 && q.Component <= c.Requires[j-1].Component {
				return bad("%s has a malformed requirement", c.Role)
			}
		}
		if fault := checkVariants(c.Variants); fault != "" {
			return bad("%s has %s", c.Role, fault)
		}
	}
	for _, versions := range append([][]Version{r.Own()}, r.Allowed...) {
		if len(versions) != n {
			return bad("a version combination of %d for %d components", len(versions), n)
		}
		if i := slices.IndexFunc(versions, func(v Version) bool { return !v.valid() }); i >= 0 {
			return bad("a version combination has version elements %d", []int32(versions[i]))
		}
		if err := r.checkRequirements(versions); err != nil {
			return err
		}
	}
	return nil
}

// checkVariants says what is wrong with the variants of a component. A device
// finds its own by the digest of what it has, people find it by the version, so
// neither occurs twice.
func checkVariants(variants []RecordVariant) string {
	if len(variants) > MaxVariants {
		return fmt.Sprintf("%d variants, at most %d are possible", len(variants), MaxVariants)
	}
	for i, v := range variants {
		switch {
		case !v.From.valid():
			return fmt.Sprintf("a variant from version elements %d", []int32(v.From))
		case v.Base.Size == 0:
			return fmt.Sprintf("a variant from %s with an empty base", v.From)
		case i > 0 && variants[i-1].From.Compare(v.From) >= 0:
			return fmt.Sprintf("variants from %s and %s, which are not in ascending order", variants[i-1].From, v.From)
		case slices.ContainsFunc(variants[:i], func(o RecordVariant) bool { return o.Base.Digest == v.Base.Digest }):
			return fmt.Sprintf("a variant from %s whose base another one has, too", v.From)
		}
	}
	return ""
}

func validName(s string) bool {
	return len(s) >= 1 && len(s) <= maxName && utf8.ValidString(s)
}

// checkRequirements holds a combination against the minimum peer versions. A
// minimum binds where the component runs in this release's version.
func (r Record) checkRequirements(versions []Version) error {
	for i, c := range r.Components {
		if versions[i].Compare(c.Version) != 0 {
			continue
		}
		for _, q := range c.Requires {
			if got := versions[q.Component]; got.Compare(q.Minimum) < 0 {
				return verdict.New(verdict.PeerTooOld, "release record", "%s %s needs %s %s or later, the combination has %s",
					c.Role, c.Version, r.Components[q.Component].Role, q.Minimum, got)
			}
		}
	}
	return nil
}

// variantWire is a variant as it is encoded.
type variantWire struct {
	_        struct{} `cbor:",toarray"`
	Manifest []byte
	From     []int32
	Digest   []byte
	Size     uint32
}

func (r Record) encode() ([]byte, error) {
	components := make([]map[int64]any, len(r.Components))
	for i, c := range r.Components {
		components[i] = map[int64]any{componentRole: c.Role, componentManifest: c.Manifest[:], componentVersion: c.Version}
		if len(c.Requires) > 0 {
			requires := map[int]Version{}
			for _, q := range c.Requires {
				requires[q.Component] = q.Minimum
			}
			components[i][componentRequires] = requires
		}
		if len(c.Variants) > 0 {
			variants := make([]variantWire, len(c.Variants))
			for j, v := range c.Variants {
				variants[j] = variantWire{Manifest: v.Manifest[:], From: v.From, Digest: v.Base.Digest[:], Size: v.Base.Size}
			}
			components[i][componentVariants] = variants
		}
	}
	allowed := r.Allowed
	if allowed == nil {
		allowed = [][]Version{}
	}
	return cose.Marshal(map[int64]any{
		recordFormat: recordFormatVersion, recordID: r.ID, recordProduct: r.Product, recordVendor: r.Vendor[:],
		recordSequence: r.Sequence, recordComponents: components, recordInstallOrder: r.InstallOrder, recordAllowed: allowed,
	})
}

// RecordDraft is an unsigned release record.
type RecordDraft struct {
	key     sign.PublicKey
	payload []byte
	request sign.Request
}

// NewRecord lays out a record to be signed by key.
func NewRecord(r Record, key sign.PublicKey) (*RecordDraft, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	payload, err := r.encode()
	if err != nil {
		return nil, err
	}
	if len(payload) > MaxRecord {
		return nil, fmt.Errorf("manifest: release record: %d bytes, at most %d", len(payload), MaxRecord)
	}
	message, err := cose.ToBeSigned(key.Algorithm(), payload)
	if err != nil {
		return nil, err
	}
	return &RecordDraft{key, payload, sign.Request{Artifact: "release record", Role: sign.RoleRelease, Key: key.ID(), Message: message}}, nil
}

// Requests returns the one signing request.
func (d *RecordDraft) Requests() []sign.Request { return []sign.Request{d.request} }

// Finish returns the signed record, after verifying the signature.
func (d *RecordDraft) Finish(signatures []sign.Signature) ([]byte, error) {
	if len(signatures) != 1 {
		return nil, fmt.Errorf("manifest: release record: %d signatures, want 1", len(signatures))
	}
	if err := d.key.Verify(d.request.Message, signatures[0]); err != nil {
		return nil, fmt.Errorf("manifest: release record: %w", err)
	}
	hint := d.key.ID().Hint()
	message := cose.Sign1{Algorithm: d.key.Algorithm().COSE(), KeyID: hint[:], Payload: d.payload, Signature: signatures[0]}
	return message.Encode()
}

// VerifiedRecord is a release record whose signature was checked.
type VerifiedRecord struct {
	record Record
	signer sign.PublicKey
}

// Record returns the verified facts.
func (v *VerifiedRecord) Record() Record { return v.record }

// Signer returns the trusted key that signed.
func (v *VerifiedRecord) Signer() sign.PublicKey { return v.signer }

// ParseRecord reads a release record without looking at the signature, for
// showing it to people.
func ParseRecord(data []byte) (Record, error) {
	if _, err := parseRecordMessage(data); err != nil {
		return Record{}, err
	}
	return decodeRecord(data)
}

func parseRecordMessage(data []byte) (cose.Sign1, error) {
	r := strictcbor.NewReader("release record", data)
	message := cose.ReadSign1(r, MaxRecord)
	r.End(verdict.TrailingBytes)
	return message, r.Err()
}

// VerifyRecord checks the signature of a release record with the keys of
// sign.RoleRelease before it reads the content.
func VerifyRecord(data []byte, trust *sign.TrustSet) (*VerifiedRecord, error) {
	message, err := parseRecordMessage(data)
	if err != nil {
		return nil, err
	}
	if message.Signature.IsZero() {
		return nil, verdict.New(verdict.NoKnownSignature, "release record", "algorithm %d is not known", message.Algorithm)
	}
	signed, err := cose.ToBeSigned(message.Signature.Algorithm(), message.Payload)
	if err != nil {
		return nil, err
	}
	signers, err := trust.Check(sign.RoleRelease, []sign.Candidate{{Hint: message.KeyID, Message: signed, Signature: message.Signature}})
	switch {
	case errors.Is(err, sign.ErrTrust):
		return nil, err
	case errors.Is(err, sign.ErrRevoked):
		return nil, verdict.Wrap(err, verdict.KeyRevoked, "release record")
	case err != nil:
		return nil, verdict.Wrap(err, verdict.SignatureInvalid, "release record")
	}
	record, err := decodeRecord(data)
	if err != nil {
		return nil, err
	}
	return &VerifiedRecord{record, signers[0]}, nil
}

// decodeRecord reads the payload of a message that parseRecordMessage has taken.
// It starts from the message, so that offsets count from there.
func decodeRecord(message []byte) (Record, error) {
	outer := strictcbor.NewReader("release record", message)
	outer.Tag()
	outer.Array(4, 4)
	outer.Raw(1) // protected header
	outer.Raw(2) // unprotected header
	r := outer.Nested("release record", MaxRecord)

	var rec Record
	seen := 0
	r.Map(maxPairs, func(k strictcbor.Key) {
		seen++
		if k.IsText {
			r.Fail(verdict.UnknownKey, "text key")
			return
		}
		switch at := r.Offset(); k.Int {
		case recordFormat:
			if v := r.Uint(1 << 16); r.OK() && v != recordFormatVersion {
				r.FailAt(at, verdict.RecordFormat, "format %d, want %d", v, recordFormatVersion)
			}
		case recordID:
			rec.ID = r.Text(1, maxName)
		case recordProduct:
			rec.Product = r.Text(1, maxName)
		case recordVendor:
			copy(rec.Vendor[:], r.Bytes(len(rec.Vendor), len(rec.Vendor)))
		case recordSequence:
			rec.Sequence = uint32(r.Uint(maxSequence))
		case recordComponents:
			for range r.Array(1, MaxComponents) {
				rec.Components = append(rec.Components, readRecordComponent(r))
			}
		case recordInstallOrder:
			for range r.Array(1, MaxComponents) {
				rec.InstallOrder = append(rec.InstallOrder, int(r.Uint(MaxComponents-1)))
			}
		case recordAllowed:
			for range r.Array(0, MaxAllowed) {
				var versions []Version
				for range r.Array(1, MaxComponents) {
					versions = append(versions, readVersion(r))
				}
				rec.Allowed = append(rec.Allowed, versions)
			}
		default:
			r.FailAt(at, verdict.UnknownKey, "key %d", k.Int)
		}
	})
	if r.OK() && seen != recordAllowed {
		r.Fail(verdict.MissingKey, "%d of %d keys", seen, recordAllowed)
	}
	r.End(verdict.TrailingBytes)
	if err := r.Err(); err != nil {
		return Record{}, err
	}
	if err := rec.Check(); err != nil {
		return Record{}, err
	}
	return rec, nil
}

func readRecordComponent(r *strictcbor.Reader) RecordComponent {
	var c RecordComponent
	seen := 0
	r.Map(maxPairs, func(k strictcbor.Key) {
		switch {
		case !k.IsText && k.Int == componentRole:
			c.Role = r.Text(1, maxName)
		case !k.IsText && k.Int == componentManifest:
			copy(c.Manifest[:], r.Bytes(len(c.Manifest), len(c.Manifest)))
		case !k.IsText && k.Int == componentVersion:
			c.Version = readVersion(r)
		case !k.IsText && k.Int == componentRequires:
			seen-- // optional
			r.Map(MaxComponents, func(peer strictcbor.Key) {
				if peer.IsText || peer.Int < 0 || peer.Int >= MaxComponents {
					r.Fail(verdict.UnknownKey, "requirement on an unknown component")
					return
				}
				c.Requires = append(c.Requires, Requirement{int(peer.Int), readVersion(r)})
			})
			if r.OK() && len(c.Requires) == 0 {
				r.Fail(verdict.WrongCount, "empty requirements")
			}
		case !k.IsText && k.Int == componentVariants:
			seen-- // optional
			for range r.Array(1, MaxVariants) {
				c.Variants = append(c.Variants, readRecordVariant(r))
			}
		default:
			r.Fail(verdict.UnknownKey, "key in component")
		}
		seen++
	})
	if r.OK() && seen != componentVersion {
		r.Fail(verdict.MissingKey, "component lacks role, manifest digest or version")
	}
	return c
}

func readRecordVariant(r *strictcbor.Reader) RecordVariant {
	var v RecordVariant
	r.Array(4, 4)
	copy(v.Manifest[:], r.Bytes(len(v.Manifest), len(v.Manifest)))
	v.From = readVersion(r)
	copy(v.Base.Digest[:], r.Bytes(len(v.Base.Digest), len(v.Base.Digest)))
	v.Base.Size = uint32(r.Uint(1<<32 - 1))
	return v
}
