package verdict

// Encoding: the bytes are not deterministic CBOR (RFC 8949, section 4.2.1).
const (
	Truncated        Reason = "truncated"           // input ends inside an item
	TrailingBytes    Reason = "trailing-bytes"      // input goes on after the item
	WrongLength      Reason = "wrong-length"        // a string whose length the profile does not allow
	WrongType        Reason = "wrong-type"          // another CBOR major type is required here
	LongForm         Reason = "long-form"           // an integer or length not in its shortest form
	Indefinite       Reason = "indefinite-length"   // indefinite-length item
	DuplicateKey     Reason = "duplicate-key"       // a map key occurs twice
	UnsortedKeys     Reason = "unsorted-keys"       // map keys out of bytewise order
	ReservedEncoding Reason = "reserved-encoding"   // additional information 28..30, or a simple value that is not allowed
	BadUTF8          Reason = "bad-utf8"            // text string is not UTF-8
	TooDeep          Reason = "too-deep"            // nesting beyond the bound
	TooLarge         Reason = "too-large"           // a count, length or number beyond the bound
	WrongCount       Reason = "wrong-element-count" // map or array head does not fit its content
	UnknownKey       Reason = "unknown-key"         // a map key that the profile does not have
	MissingKey       Reason = "missing-key"         // a required map key is absent
)

// COSE: signature blocks and encryption information (RFC 9052).
const (
	NotSign1             Reason = "not-cose-sign1"                // a signature block that is not a tagged COSE_Sign1
	MissingAlgorithm     Reason = "missing-algorithm"             // no algorithm in the protected header
	UnprotectedAlgorithm Reason = "unprotected-algorithm"         // the algorithm stands in the unprotected header
	ExtraProtected       Reason = "extra-protected-header"        // a protected header beside the algorithm
	ExtraUnprotected     Reason = "extra-unprotected-header"      // an unprotected header that the profile does not have
	ES256Deprecated      Reason = "es256-deprecated"              // algorithm -7 instead of the fully specified -9
	EdDSADeprecated      Reason = "eddsa-deprecated"              // algorithm -8, which names no curve
	PayloadNotDetached   Reason = "payload-not-detached"          // a payload where the profile detaches it
	PayloadMissing       Reason = "cose-payload-missing"          // no payload where the profile attaches it
	SignatureLength      Reason = "signature-length"              // r‖s is not exactly twice the field size
	SignatureRange       Reason = "signature-range"               // r or s is zero or not below the group order
	SignatureInvalid     Reason = "signature-invalid"             // too few valid signatures by trusted keys
	Unsigned             Reason = "unsigned"                      // no signature block at all
	NoKnownSignature     Reason = "no-known-signature"            // only signature blocks of unknown algorithms
	KeyRevoked           Reason = "key-revoked"                   // signed by a key that was withdrawn
	OverWrappedDigest    Reason = "signature-over-wrapped-digest" // the signature covers the digest with its byte-string head
	NotEncrypt           Reason = "not-cose-encrypt"              // not a tagged COSE_Encrypt
	Encrypt0             Reason = "cose-encrypt0"                 // COSE_Encrypt0, which has no recipients
	ProtectedNotEmpty    Reason = "protected-not-empty"           // a protected header where it must be zero length
	ContentAlgorithm     Reason = "content-algorithm"             // content encryption algorithm that the profile does not have
	RecipientAlgorithm   Reason = "recipient-algorithm"           // key management algorithm that the profile does not have
	IVLength             Reason = "iv-length"                     // IV of a length that the algorithm does not take
	CiphertextAttached   Reason = "ciphertext-attached"           // ciphertext inside the encryption information
	WrappedKeyLength     Reason = "wrapped-key-length"            // wrapped content key that is not 24 bytes
	EphemeralKey         Reason = "ephemeral-key"                 // ephemeral key that is malformed or not on P-256
)

// SUIT envelope and manifest: what draft-ietf-suit-manifest and the profile ask for.
const (
	MissingTag               Reason = "missing-tag"                 // no SUIT envelope tag
	WrongTag                 Reason = "wrong-tag"                   // a tag other than 107
	UncountedElement         Reason = "uncounted-element"           // the envelope's map head counts too few elements
	TrailingAfterEnvelope    Reason = "trailing-after-envelope"     // bytes after the envelope
	TrailingAfterManifest    Reason = "trailing-after-manifest"     // bytes after the manifest map
	TrailingAfterSequence    Reason = "trailing-after-sequence"     // bytes after a command sequence
	TrailingAfterDigest      Reason = "trailing-after-digest"       // bytes after a digest
	UnknownEnvelopeKey       Reason = "unknown-envelope-key"        // envelope element that the profile does not have
	UnknownManifestKey       Reason = "unknown-manifest-key"        // manifest key that the profile does not have
	UnknownCommand           Reason = "unknown-command"             // condition or directive that the profile does not have
	UnknownParameter         Reason = "unknown-parameter"           // parameter that the profile does not have
	OddSequence              Reason = "odd-sequence"                // a command without its argument
	DigestAlgorithm          Reason = "digest-algorithm"            // digest algorithm other than SHA-256
	DigestLength             Reason = "digest-length"               // digest that is not 32 bytes
	ManifestDigestMismatch   Reason = "manifest-digest-mismatch"    // the manifest is not what the wrapper's digest names
	DigestOverContent        Reason = "digest-over-content"         // the wrapper's digest leaves out the byte-string head
	ManifestVersion          Reason = "manifest-version"            // manifest format version other than 1
	BadVersion               Reason = "bad-version"                 // firmware version outside the grammar
	SequenceRange            Reason = "sequence-range"              // sequence number above 2^32-1
	SequenceRollback         Reason = "sequence-rollback"           // sequence number below the device's floor
	VendorMismatch           Reason = "vendor-mismatch"             // made for another vendor
	ClassMismatch            Reason = "class-mismatch"              // made for another model or hardware revision
	SlotMismatch             Reason = "slot-mismatch"               // linked for another slot
	MissingVendorCheck       Reason = "missing-vendor-check"        // no vendor condition in the shared sequence
	MissingClassCheck        Reason = "missing-class-check"         // no class condition in the shared sequence
	VendorOnlyInInstall      Reason = "vendor-only-in-install"      // vendor checked only while installing
	ClassOnlyInInstall       Reason = "class-only-in-install"       // class checked only while installing
	MissingImageMatch        Reason = "missing-image-match"         // validate does not check the image
	MissingImageSize         Reason = "missing-image-size"          // no image size
	MissingParameter         Reason = "missing-parameter"           // another required parameter is absent
	DuplicateComponent       Reason = "duplicate-component"         // two components with one identifier
	ComponentIndexRange      Reason = "component-index-range"       // a component that the manifest does not declare
	MissingSetComponentIndex Reason = "missing-set-component-index" // two components and a sequence that starts without choosing one
	InstallTwice             Reason = "install-twice"               // install both in the manifest and in the envelope
	InstallSevered           Reason = "install-severed"             // install is wanted and was taken out
	SeverableDigestMismatch  Reason = "severable-digest-mismatch"   // a severable element is not what the manifest names
	PayloadElementMissing    Reason = "payload-missing"             // integrated payload is wanted and absent
	PayloadElementName       Reason = "payload-name"                // integrated payload under a name that the manifest does not fetch
	PayloadElementSize       Reason = "payload-size"                // payload of another size than signed
	NotInProfile             Reason = "not-in-profile"              // valid SUIT that none of the templates produces
)

// Firmware input files: raw binary, Intel HEX, S-records, ELF, and the image in them.
const (
	UnknownFirmware  Reason = "unknown-firmware-format" // a text file that is neither Intel HEX nor S-records
	EmptyFirmware    Reason = "empty-firmware"          // no bytes to load
	BaseMissing      Reason = "base-address-missing"    // a raw binary without a base address
	BaseNotAllowed   Reason = "base-address-given"      // a base address for a file that has addresses of its own
	BadRecord        Reason = "bad-record"              // a line that is not a well-formed record
	BadChecksum      Reason = "bad-checksum"            // a record whose checksum is wrong
	UnknownRecord    Reason = "unknown-record"          // a record type that the format does not define
	RecordCount      Reason = "record-count-mismatch"   // S5 or S6 counts other than the records before it
	MissingEndRecord Reason = "missing-end-record"      // the file ends before its last record
	DataAfterEnd     Reason = "data-after-end"          // lines after the last record
	BadELF           Reason = "bad-elf"                 // ELF headers that contradict the format
	UnsupportedELF   Reason = "unsupported-elf"         // ELF that is not a 32-bit little-endian ARM executable
	SegmentOverlap   Reason = "segment-overlap"         // an address that gets two bytes
	AddressRange     Reason = "address-range"           // data past the 32-bit address space
	AddressSpan      Reason = "address-span"            // segments too far apart for one image
	BelowBase        Reason = "below-base"              // image begins below the base address
	ImageTooLong     Reason = "image-too-long"          // image does not fit the bytes that it may take
)

// Release record: what ties the components of a release together.
const (
	RecordFormat       Reason = "record-format"       // format version that is not known
	RecordInconsistent Reason = "record-inconsistent" // indices, counts or names that contradict each other
	PeerTooOld         Reason = "peer-too-old"        // a version combination breaks a minimum peer version
)

// Ceremony record: what a PKCS#11 module said of a key when it was made, signed with that key.
const (
	CeremonyFormat   Reason = "ceremony-format"    // not a ceremony record, or a format version that is not known
	CeremonyText     Reason = "ceremony-text"      // a text with a character that does not print
	CeremonyKey      Reason = "ceremony-key"       // a public key that cannot be read, or is not the one that its digest, curve or key hint names
	CeremonyOtherKey Reason = "ceremony-other-key" // the record of another key
	CeremonyDiffers  Reason = "ceremony-differs"   // the token says something else of the key than the record does
)

// Reference bootloader: what a device finds when it takes a payload.
const (
	ImageExceedsBank         Reason = "image-exceeds-bank"         // image or payload larger than the flash bank
	CiphertextDigestMismatch Reason = "ciphertext-digest-mismatch" // payload as received is not the one that was signed
	ImageDigestMismatch      Reason = "image-digest-mismatch"      // plain image is not the one that was signed
	KeyUnwrap                Reason = "key-unwrap-failed"          // no recipient block opens with the device's key
	EphemeralPoint           Reason = "ephemeral-point"            // ephemeral key is not a point of the curve
	RecipientKeyMissing      Reason = "recipient-key-missing"      // encrypted payload for a device without a key
	PayloadTruncated         Reason = "payload-truncated"          // payload ends before its announced size
)

// Power-loss rehearsal: what happens to a device that loses power while it installs the release.
const (
	PackageExceedsBank    Reason = "package-exceeds-bank"    // image, payloads to pass on and envelopes do not fit one flash bank
	PackageDirectory      Reason = "package-directory"       // a bank without a directory of what is in it, or with a damaged one
	FlashUnreadable       Reason = "flash-unreadable"        // flash with an uncorrectable ECC error
	RehearsalBrick        Reason = "rehearsal-brick"         // an MCU comes to rest without an image that it may start
	RehearsalUnverified   Reason = "rehearsal-unverified"    // an MCU starts what nobody has signed, or what does not read the same twice
	RehearsalVersions     Reason = "rehearsal-versions"      // a version combination runs that the release record does not list
	RehearsalCounter      Reason = "rehearsal-counter"       // a rollback counter goes down, or is not raised
	RehearsalNotInstalled Reason = "rehearsal-not-installed" // power is back, and the release is not installed in the end
	RehearsalNotReverted  Reason = "rehearsal-not-reverted"  // firmware that does not work stays installed
	RehearsalUnsettled    Reason = "rehearsal-unsettled"     // the devices do not come to rest
	RehearsalFlashRule    Reason = "rehearsal-flash-rule"    // flash is used against the chip's rules
)

// Policy: a release that breaks a rule, and a bundle that is not this project's.
const (
	SequenceStep         Reason = "sequence-step"          // sequence number jumps further than the policy allows
	TestKey              Reason = "test-key"               // a key whose private half is published
	ImageOutsideBank     Reason = "image-outside-bank"     // image is not linked for the bank
	TransitionNotAllowed Reason = "transition-not-allowed" // a version combination on the way is not declared
	ProductMismatch      Reason = "product-mismatch"       // release of another product
	ComponentsMismatch   Reason = "components-mismatch"    // bundle, record and configuration name other components
	ManifestNotRecorded  Reason = "manifest-not-in-record" // a manifest other than the one in the release record
	VersionMismatch      Reason = "version-mismatch"       // manifest and record disagree about the version
	SequenceMismatch     Reason = "sequence-mismatch"      // manifest and record disagree about the sequence number
)

// Bundle: the .ota file, a stored zip of one layout.
const (
	BundleNotZip        Reason = "bundle-not-zip"        // does not begin with a local file header
	BundleTruncated     Reason = "bundle-truncated"      // ends before it is complete
	BundleTrailingBytes Reason = "bundle-trailing-bytes" // goes on after the end record
	BundleEntryOrder    Reason = "bundle-entry-order"    // an entry other than the one that has to follow
	BundleComponentName Reason = "bundle-component-name" // a component name that is malformed or occurs twice
	BundleNotStored     Reason = "bundle-not-stored"     // a compressed or encrypted entry
	BundleTooLarge      Reason = "bundle-too-large"      // an entry, or the number of components, beyond the bound
	BundleChecksum      Reason = "bundle-checksum"       // CRC-32 of an entry is wrong
	BundleNonCanonical  Reason = "bundle-noncanonical"   // headers other than the ones this layout has
)
