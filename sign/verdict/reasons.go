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
	UnknownCoding            Reason = "unknown-coding"              // payload coded in a way that the profile does not have, or not with or without a base
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

// MCUboot: an image's header and TLV area, and the rules of its bootloader.
const (
	ImageMagic            Reason = "image-magic"               // does not begin with the magic number of an image
	HeaderSize            Reason = "header-size"               // header shorter than its fields or longer than its size field can say
	HeaderPadding         Reason = "header-padding"            // firmware does not begin with the zeros that its header takes the place of
	ImageSizes            Reason = "image-sizes"               // sizes in the header overflow or do not fit the slot
	EncryptionFlags       Reason = "encryption-flags"          // flags of both AES-128 and AES-256
	EncryptionNotBuiltIn  Reason = "encryption-not-built-in"   // encrypted image for a bootloader that does not decrypt it
	EncryptionMode        Reason = "encryption-mode"           // encryption that the update mode cannot have
	EncryptionTLV         Reason = "encryption-tlv"            // no encrypted content key of the bootloader's kind and length
	AESLength             Reason = "aes-length"                // AES key length that the bootloader is not built for
	CompressionNotBuiltIn Reason = "compression-not-built-in"  // compressed image, which upstream bootloaders do not read
	TLVMagic              Reason = "tlv-magic"                 // a TLV area does not begin with its magic number
	TLVLength             Reason = "tlv-length"                // a TLV that passes its area, or of a length that its type does not have
	TLVNotAllowed         Reason = "tlv-not-allowed"           // a type that may not stand in its TLV area
	CustomTLV             Reason = "custom-tlv"                // a custom TLV whose type is reserved or occurs twice
	ProtectedSize         Reason = "protected-size-mismatch"   // protected TLV area of another size than the header says
	ImageHashMissing      Reason = "image-hash-missing"        // no hash of the image by the bootloader's algorithm
	NoKnownKey            Reason = "no-known-key"              // signatures, but none after a key that the bootloader knows
	PureMissing           Reason = "pure-flag-missing"         // no TLV says that the signature covers the image itself
	SignatureType         Reason = "signature-type"            // a key or hash that the bootloader does not verify with
	CounterMissing        Reason = "security-counter-missing"  // no security counter, and the bootloader wants one
	CounterRollback       Reason = "security-counter-rollback" // security counter below the stored one
	VersionDowngrade      Reason = "version-downgrade"         // version below the installed one, or not above it where the bootloader asks for that
	UUIDMissing           Reason = "uuid-missing"              // no vendor or class identifier, and the bootloader wants one
	UUIDForm              Reason = "uuid-form"                 // text that makes no vendor or class identifier
	BootRecordType        Reason = "boot-record-type"          // software type of a boot record that is too long or not text
	DependencyImage       Reason = "dependency-image"          // dependency on an image that the bootloader does not have, or on itself
	DependencyUnmet       Reason = "dependency-unmet"          // another image is older than the dependency asks for
	LoadAddress           Reason = "load-address"              // load address outside the memory that the bootloader loads to or boots from
	ImageExceedsSlot      Reason = "image-exceeds-slot"        // image larger than the update mode leaves of the slot
)

// SBSFU: the header of a package, and what its bootloader asks for beside.
const (
	SFBScheme      Reason = "sfb-scheme"       // made for a scheme without a signature, or one that is not supported
	SFBHeader      Reason = "sfb-header"       // protocol version, state, fingerprint or padding that ST's tool does not write
	ReservedBytes  Reason = "reserved-bytes"   // reserved bytes of a header that are not zero
	SFBInitVersion Reason = "sfb-init-version" // nothing is installed, and the version is not the one to begin with
	SlotNotBlank   Reason = "slot-not-blank"   // bytes behind the firmware that are neither erased nor cleared
	FlowControl    Reason = "flow-control"     // a check that has to have passed did not
)

// WolfBoot: the header of an image, and what its keys are for.
const (
	ImageType    Reason = "image-type"    // not an image of an application
	TLVRepeated  Reason = "tlv-repeated"  // a type occurs twice in a header, of which the bootloader takes the first
	KeyPartition Reason = "key-partition" // signed with a key that is for other partitions
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
	CeremonyMissing  Reason = "ceremony-missing"   // there is no record of a key's ceremony
	CeremonyDiffers  Reason = "ceremony-differs"   // the token says something else of the key than the record does
)

// Signing keys: what a PKCS#11 module says of a key that should not be so.
const (
	KeyExtractable  Reason = "key-extractable"   // the private half can leave its token
	KeyNotSensitive Reason = "key-not-sensitive" // the private half can be read
	KeyNotSignOnly  Reason = "key-not-sign-only" // the key cannot sign, or can do more
	KeyWasOutside   Reason = "key-was-outside"   // the private half could leave its token, or be read, at some time
	KeyNotLocal     Reason = "key-not-local"     // the key was not generated in its token, or the module says so of all keys
	KeyUsage        Reason = "key-usage"         // a key is used for another role than it was made for
)

// Key rotation: why a signing key cannot be replaced by another, or not yet.
const (
	RotationSameKey   Reason = "rotation-same-key"        // both aliases are one key
	RotationAlgorithm Reason = "rotation-algorithm"       // a bootloader cannot verify the new key's signatures
	RotationKeySlots  Reason = "rotation-key-slots"       // a bootloader has no slot for one more key
	RotationSigners   Reason = "rotation-signers"         // more keys would sign than an envelope has signatures for
	RotationThreshold Reason = "rotation-threshold"       // fewer keys would be left than have to sign
	RotationStrands   Reason = "rotation-strands-devices" // devices know only the old key, which does not sign any more
)

// Provisioning: the list of devices, and the file with the records of their secrets.
const (
	DeviceList          Reason = "device-list"          // not a CSV file with a column of serials
	BadSerial           Reason = "bad-serial"           // a serial with a character that it must not have
	DuplicateSerial     Reason = "duplicate-serial"     // a serial that occurs twice
	ProvisionFormat     Reason = "provision-format"     // a line that is not a header or record as otapack writes it
	ProvisionOrder      Reason = "provision-order"      // a record other than the one that has to follow
	ProvisionIncomplete Reason = "provision-incomplete" // the file ends before its last record
	ProvisionDiffers    Reason = "provision-differs"    // the token derives another secret than the record has
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

// Decoding: what a device finds when it makes the image from a compressed payload or a difference.
const (
	DecoderRAM            Reason = "decoder-ram"             // the decoder needs more RAM than the chip has for it
	DeltaInPlace          Reason = "delta-in-place"          // a difference for a chip with one bank, which would overwrite what it is read from
	BaseMismatch          Reason = "base-mismatch"           // a difference to another image than the device runs
	PayloadDigestMismatch Reason = "payload-digest-mismatch" // payload as received is not the one that was signed
	PayloadCoding         Reason = "payload-coding"          // payload is not of its coding, or damaged inside
	DecodedSize           Reason = "decoded-size"            // payload decodes to more or fewer bytes than the image has
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
	VariantsMismatch     Reason = "variants-mismatch"      // a variant other than the record has, or for another image
	ManifestNotRecorded  Reason = "manifest-not-in-record" // a manifest other than the one in the release record
	VersionMismatch      Reason = "version-mismatch"       // manifest and record disagree about the version
	SequenceMismatch     Reason = "sequence-mismatch"      // manifest and record disagree about the sequence number
	TransferIncomplete   Reason = "transfer-incomplete"    // simulated transfers that do not arrive
	TransferTooLong      Reason = "transfer-too-long"      // simulated transfers take longer than the limit
)

// Chunk protocol: what the two ends of a transfer refuse, see transfer.md.
const (
	ChunkMessage  Reason = "chunk-message"  // not a message of the protocol
	ChunkLength   Reason = "chunk-length"   // a length that the message, or the chunk's place, does not have
	ChunkChecksum Reason = "chunk-checksum" // CRC-16 of a frame is wrong
	ChunkOrder    Reason = "chunk-order"    // another chunk has to come first
	ChunkSession  Reason = "chunk-session"  // no object was announced on this connection
	ChunkSize     Reason = "chunk-size"     // the object is larger than the room for it
	ChunkDigest   Reason = "chunk-digest"   // everything arrived and is not the announced object
	ChunkCursor   Reason = "chunk-cursor"   // a saved cursor that was not written completely
)

// Bundle: the .ota file, a stored zip of one layout.
const (
	BundleNotZip        Reason = "bundle-not-zip"        // does not begin with a local file header
	BundleTruncated     Reason = "bundle-truncated"      // ends before it is complete
	BundleTrailingBytes Reason = "bundle-trailing-bytes" // goes on after the end record
	BundleEntryOrder    Reason = "bundle-entry-order"    // an entry other than the one that has to follow
	BundleComponentName Reason = "bundle-component-name" // a component name that is malformed or occurs twice
	BundleBaseName      Reason = "bundle-base-name"      // the base of a variant has a malformed name, or one that occurs twice
	BundleNotStored     Reason = "bundle-not-stored"     // a compressed or encrypted entry
	BundleTooLarge      Reason = "bundle-too-large"      // an entry, or the number of components, beyond the bound
	BundleChecksum      Reason = "bundle-checksum"       // CRC-32 of an entry is wrong
	BundleNonCanonical  Reason = "bundle-noncanonical"   // headers other than the ones this layout has
)

// Nordic nRF5 SDK Secure DFU: the package, its init packets, and what the bootloader refuses.
const (
	DFUZip              Reason = "dfu-zip"                      // not a zip archive, or one with entries that two readers see differently
	DFUZipLimit         Reason = "dfu-zip-limit"                // more entries or bytes than a package may have
	DFUZipEntry         Reason = "dfu-zip-entry"                // a file that manifest.json names is not in the archive
	DFUManifest         Reason = "dfu-manifest"                 // manifest.json is not of the form that DFU senders read
	DFUManifestType     Reason = "dfu-manifest-type"            // manifest.json files an image under another kind than its init packet
	DFUManifestSizes    Reason = "dfu-manifest-sizes"           // manifest.json and init packet give other sizes
	DFUPacketSize       Reason = "dfu-packet-size"              // init packet that is empty or longer than the bootloader's buffer
	DFUPacketEncoding   Reason = "dfu-packet-encoding"          // init packet that the bootloader's protobuf reader cannot read
	DFUPacketCommands   Reason = "dfu-packet-commands"          // no init command, more than one, or one signed and one not
	DFUPacketCanonical  Reason = "dfu-packet-noncanonical"      // init packet that another writer would encode differently
	DFUOpCode           Reason = "dfu-op-code"                  // op code other than INIT, or none
	DFUUnsigned         Reason = "dfu-unsigned"                 // no signature where the bootloader wants one
	DFUSignatureType    Reason = "dfu-signature-type"           // signature type other than ECDSA P-256 with SHA-256
	DFUSignatureLength  Reason = "dfu-signature-length"         // signature that is not 64 bytes
	DFUSignature        Reason = "dfu-signature"                // signature that does not verify with the bootloader's key
	DFUType             Reason = "dfu-type"                     // firmware type that is absent or that the bootloader does not know
	DFUHashType         Reason = "dfu-hash-type"                // firmware hash other than SHA-256
	DFUHardwareMissing  Reason = "dfu-hardware-version-missing" // no hardware version
	DFUHardware         Reason = "dfu-hardware-version"         // made for another hardware version
	DFUSoftDevice       Reason = "dfu-softdevice"               // the installed SoftDevice, or its absence, is not among the required ones
	DFUVersionMissing   Reason = "dfu-version-missing"          // no firmware version where the bootloader compares it
	DFUVersion          Reason = "dfu-version"                  // firmware version below, or equal to, the one that was installed last
	DFUSizeMissing      Reason = "dfu-size-missing"             // no size for the type of firmware, or zero
	DFUBootloaderSize   Reason = "dfu-bootloader-size"          // bootloader larger than the area of the installed one
	DFUNoRoom           Reason = "dfu-no-room"                  // image does not fit between what must stay and the bootloader
	DFUFirmwareSize     Reason = "dfu-firmware-size"            // firmware file of another length than the init packet announces
	DFUFirmwareHash     Reason = "dfu-firmware-hash"            // firmware is not what the init packet's hash names
	DFUBootValidation   Reason = "dfu-boot-validation"          // boot validation of a type that the bootloader does not know
	DFUBootSignature    Reason = "dfu-boot-signature"           // boot validation signature that does not verify
	DFUBootUnsigned     Reason = "dfu-boot-unsigned"            // application without the boot validation signature that the bootloader demands
	DFUSoftDeviceInfo   Reason = "dfu-softdevice-info"          // SoftDevice without its information structure, or larger than that says
	DFUSoftDeviceMajor  Reason = "dfu-softdevice-major"         // another major SoftDevice version without a bootloader made for it
	DFUSoftDeviceFamily Reason = "dfu-softdevice-family"        // SoftDevice of another family than the installed one
	DFUCombination      Reason = "dfu-combination"              // parts that cannot be in one package
	DFUVersionString    Reason = "dfu-version-string"           // version that does not map to one number
	DFURequirement      Reason = "dfu-softdevice-requirement"   // list of required SoftDevices that no device reads as it looks
	DFUDebug            Reason = "dfu-debug"                    // debug package: the checks it skips exist on release bootloaders only
	DFUVersionMax       Reason = "dfu-version-max"              // highest version there is: no update can follow
	DFUPartSize         Reason = "dfu-part-size"                // firmware without bytes, of a length that is no multiple of a word, or beyond the bound
	DFUBootSDBL         Reason = "dfu-sd-bl-boot-validation"    // SoftDevice and bootloader with a boot validation that SDK 15 and 16 apply to the wrong part
	DFUSettingsLength   Reason = "dfu-settings-length"          // settings page shorter than its version
	DFUSettingsVersion  Reason = "dfu-settings-version"         // settings version other than 1 and 2
	DFUSettingsCRC      Reason = "dfu-settings-crc"             // checksum of the settings is wrong or was never written
	DFUSettingsBootCRC  Reason = "dfu-settings-boot-crc"        // checksum of the boot validations is wrong
	DFUSettingsBoot     Reason = "dfu-settings-boot-validation" // boot validation that does not match the firmware
	DFUSettingsFirmware Reason = "dfu-settings-firmware"        // bank 0 is not the application at hand
	DFUSettingsAddress  Reason = "dfu-settings-address"         // address that no settings page can have
)
