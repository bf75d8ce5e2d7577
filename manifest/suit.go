package manifest

// Integer keys of SUIT. Source: draft-ietf-suit-manifest-37 (CDDL and IANA
// sections), draft-ietf-suit-update-management-14 for the version, and
// draft-ietf-suit-firmware-encryption for the encryption information.

const tagEnvelope = 107

// Envelope.
const (
	envelopeAuth     = 2
	envelopeManifest = 3
	envelopeInstall  = 20
	envelopeText     = 23
)

// Manifest.
const (
	keyManifestVersion = 1
	keySequence        = 2
	keyCommon          = 3
	keyVersion         = 6
	keyValidate        = 7
	keyInvoke          = 9
	keyInstall         = 20
	keyText            = 23
)

// Common.
const (
	commonComponents = 2
	commonShared     = 4
)

// Commands: conditions and directives.
const (
	conditionVendor     = 1
	conditionClass      = 2
	conditionImageMatch = 3
	conditionSlot       = 5
	setComponentIndex   = 12
	overrideParameters  = 20
	directiveFetch      = 21
	directiveCopy       = 22
	directiveInvoke     = 23
)

// directiveDecode is the one command of the profile that SUIT does not have. It
// stands where T3 has copy, and its argument is a payload-info of
// docs/manifest.cddl. SUIT leaves the numbers below -256 to private use. It is a
// command and no parameter: a device may skip a parameter of a number that it
// does not know (section 8.4.8.16), and has to refuse such a command.
const directiveDecode = -257

// Keys of the payload-info.
const (
	decodeCoding     = 1
	decodeRAM        = 2
	decodeBaseDigest = 3
	decodeBaseSize   = 4
)

// Parameters.
const (
	parameterVendor         = 1
	parameterClass          = 2
	parameterDigest         = 3
	parameterSlot           = 5
	parameterSize           = 14
	parameterEncryptionInfo = 19
	parameterURI            = 21
	parameterSource         = 22
)

// Reporting policies, as in the examples of the draft. A device ignores them.
const (
	reportAll     = 15
	reportFailure = 2
	reportSlot    = 5
)

// digestSHA256 is the COSE number of SHA-256 (RFC 9054).
const digestSHA256 = -16

// Bounds of the profile, in bytes unless noted.
const (
	MaxManifest    = 1 << 10 // manifest without severed elements
	MaxInstall     = 2 << 10 // severed install sequence: eight recipients need 1.1 KiB
	MaxText        = 4 << 10
	MaxURI         = 64
	MaxSignatures  = 3 // signature blocks in one envelope
	maxComponent   = 8 // component identifier
	maxSequence    = 1<<32 - 1
	maxCommands    = 32 // commands in one sequence
	maxPairs       = 16 // pairs of a map: enough to reach and name an unknown key
	maxDepth       = 8  // nesting of the text element
	maxPayloadInfo = 64 // payload-info: coding, RAM, base digest and size are 52 bytes at most
)
