package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/otapack/otapack/formats/payload/encrypt"
	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/provision"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/term"
	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// Exit codes. They are documented in "otapack help exit-codes" and never
// change their meaning.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitInput       = 3
	exitVerify      = 4
	exitPolicy      = 5
	exitHSM         = 6
	exitPIN         = 7
	exitKey         = 8
	exitExists      = 9
	exitInterrupted = 130
)

// usageError is a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var (
	errNoConfig = errors.New("no project file")
	errNoModule = errors.New("no PKCS#11 module is named")

	errNoProvision = errors.New("has no section provision")
)

// failure is the answer of --json to an error.
type failure struct {
	Schema  string `json:"schema"`
	Code    string `json:"code"` // a reason code, or the class of the failure
	Exit    int    `json:"exit"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Findings lists all broken rules of a refused release.
	Findings []release.Finding `json:"findings,omitempty"`
	// Report is what verify found.
	Report *release.Report `json:"report,omitempty"`
	// Keys is what key check found.
	Keys []checkedKey `json:"keys,omitempty"`
	// Rotation is the plan of key rotate.
	Rotation *release.Rotation `json:"rotation,omitempty"`
	// Checks is what hsm doctor found.
	Checks []check `json:"checks,omitempty"`
	// Result is what another verb found that refuses its input.
	Result any `json:"result,omitempty"`
	// Rehearsal is what rehearse found, or covered before it was interrupted.
	Rehearsal *rehearsed `json:"rehearsal,omitempty"`
	// Vectors is where a program and the vectors disagree.
	Vectors *vectorsRunResult `json:"vectors,omitempty"`
}

// findingError is the error of a verb that has found something out before it
// failed, which --json shows too.
type findingError interface {
	error
	addTo(f *failure)
}

// resultError carries what a verb found to the output.
type resultError struct {
	error
	result any
}

func (e resultError) Unwrap() error    { return e.error }
func (e resultError) addTo(f *failure) { f.Result = e.result }

// reportError carries a verification report to the output.
type reportError struct {
	error
	report *release.Report
}

func (e reportError) Unwrap() error { return e.error }

func (e reportError) addTo(f *failure) {
	if e.report.ReleaseID != "" { // else nothing was found out
		f.Report = e.report
	}
}

// fail reports an error and returns the exit code.
func (a *app) fail(err error) int {
	code, exit := classify(err)
	hint := hintFor(err, code)
	if a.json {
		f := failure{Schema: "otapack.error/1", Code: code, Exit: exit, Message: err.Error(), Hint: hint}
		if p, ok := errors.AsType[*release.PolicyError](err); ok {
			f.Findings = p.Findings
		}
		if e, ok := errors.AsType[findingError](err); ok {
			e.addTo(&f)
		}
		if e := a.encode(f); e != nil {
			fmt.Fprintf(a.stderr, "otapack: error: %v\n", e)
		}
	}
	for _, line := range lines(err) {
		fmt.Fprintf(a.stderr, "otapack: error: %s\n", line)
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "otapack: hint: %s\n", hint)
	}
	return exit
}

// lines splits an error that is several into one line each. Joined errors, as
// those of a project file, have their lines already.
func lines(err error) []string {
	var out []string
	if p, ok := errors.AsType[*release.PolicyError](err); ok {
		for _, f := range p.Findings {
			out = append(out, f.String())
		}
		return out
	}
	if r, ok := errors.AsType[*release.RejectedError](err); ok {
		for _, e := range r.Failures {
			out = append(out, e.Error())
		}
		return out
	}
	return strings.Split(err.Error(), "\n")
}

func isConfig(err error) bool { _, ok := errors.AsType[*config.Error](err); return ok }

// class maps errors to a code and an exit code, first match wins.
var classes = []struct {
	errs []error
	code string
	exit int
}{
	{[]error{context.Canceled}, "interrupted", exitInterrupted},
	{[]error{hsm.ErrPINRequired}, "pin-required", exitPIN},
	{[]error{hsm.ErrPINRejected}, "pin-rejected", exitPIN},
	{[]error{hsm.ErrPINUnset}, "pin-unset", exitPIN},
	{[]error{hsm.ErrPINLocked}, "pin-locked", exitPIN},
	{[]error{hsm.ErrPINFinalTry}, "pin-final-try", exitPIN},
	{[]error{hsm.ErrPINPad}, "pin-pad", exitPIN},
	{[]error{hsm.ErrPINFile, term.ErrInput}, "pin-file", exitPIN},
	{[]error{hsm.ErrTokenNotFound}, "token-not-found", exitKey},
	{[]error{hsm.ErrTokenAmbiguous}, "token-ambiguous", exitKey},
	{[]error{hsm.ErrKeyNotFound}, "key-not-found", exitKey},
	{[]error{hsm.ErrKeyAmbiguous}, "key-ambiguous", exitKey},
	{[]error{sign.ErrKeyMismatch}, "key-mismatch", exitKey},
	{[]error{hsm.ErrKeyUnfit}, "key-unfit", exitKey},
	{[]error{hsm.ErrKeyPolicy}, "key-policy", exitPolicy},
	{[]error{hsm.ErrKeyExists}, "key-exists", exitExists},
	{[]error{hsm.ErrMechanism}, "mechanism-missing", exitKey},
	{[]error{hsm.ErrURI, hsm.ErrKeySpec, hsm.ErrTokenLabel, errNoModule, errNoProvision}, "config", exitInput},
	{[]error{hsm.ErrModule}, "module", exitHSM},
	{[]error{hsm.ErrNoCgo}, "no-pkcs11", exitHSM},
	{[]error{hsm.ErrSessions}, "sessions", exitHSM},
	{[]error{hsm.ErrUnavailable, hsm.ErrClosed}, "hsm-unavailable", exitHSM},
	{[]error{release.ErrNoPatch}, "no-patch", exitInput},
	{[]error{release.ErrExists}, "version-exists", exitExists},
	{[]error{release.ErrChanged}, "output-changed", exitExists},
	{[]error{atomicfile.ErrExists, fs.ErrExist}, "output-exists", exitExists},
	{[]error{atomicfile.ErrChanged}, "last-release-changed", exitExists},
	{[]error{provision.ErrOther}, "records-exist", exitExists},
	{[]error{provision.ErrLocked}, "records-locked", exitExists},
	{[]error{provision.ErrSelfTest}, "self-test", exitHSM},
	{[]error{errVectors}, "vectors-disagree", exitVerify},
	{[]error{errAnsweredRefuse}, "refused", exitVerify},
	{[]error{vectors.ErrStart}, "program-start", exitInput},
	{[]error{wolfboot.ErrUnsupported}, codeDelta, exitInput},
}

// Codes that neither classes nor package verdict has.
const (
	codeUsage     = "usage"
	codeConfig    = "config"
	codeInput     = "input"
	codeMissing   = "file-missing"
	codeCurve     = "wrong-curve"
	codeHSM       = "hsm-error"
	codeException = "error"
)

func classify(err error) (code string, exit int) {
	if _, ok := errors.AsType[usageError](err); ok {
		return codeUsage, exitUsage
	}
	for _, c := range classes {
		for _, target := range c.errs {
			if errors.Is(err, target) {
				return c.code, c.exit
			}
		}
	}
	_, isInput := errors.AsType[*release.InputError](err)
	wrongCurve := errors.Is(err, sign.ErrCurve) || errors.Is(err, encrypt.ErrCurve)
	switch reason := verdict.Of(err); {
	case (isConfig(err) || isInput) && wrongCurve:
		return codeCurve, exitInput
	case isConfig(err) || errors.Is(err, errNoConfig):
		return codeConfig, exitInput
	case isInput && reason != "":
		return string(reason), exitInput
	case isInput && errors.Is(err, fs.ErrNotExist):
		return codeMissing, exitInput
	case isInput:
		return codeInput, exitInput
	}
	if p, ok := errors.AsType[*release.PolicyError](err); ok {
		return string(p.Findings[0].Reason), exitPolicy
	}
	if reason := verdict.Of(err); reason != "" {
		return string(reason), exitVerify
	}
	if errors.Is(err, sign.ErrSignature) {
		return string(verdict.SignatureInvalid), exitVerify
	}
	if _, ok := errors.AsType[hsm.CallError](err); ok {
		return codeHSM, exitHSM
	}
	return codeException, exitError
}

// hints say what to do next, by code.
var hints = map[string]string{
	"pin-required":                         "pass --pin-file, or set pin.file for the token in otapack.yaml; see otapack help pin",
	"pin-rejected":                         "the PIN was tried once and will not be tried again; check its source before the next run, tokens lock after a few failures",
	"pin-unset":                            "set the user PIN with the HSM's own tool first",
	"pin-locked":                           "the token's security officer has to reset the user PIN",
	"pin-final-try":                        "make sure that the PIN is right, then pass --allow-final-try",
	"pin-pad":                              "the login at the PIN pad was cancelled or took too long: run the command again and enter the PIN there",
	"pin-file":                             "the PIN file must hold the PIN alone and be readable by its owner only (chmod 600)",
	"token-not-found":                      "name one of the tokens that the module has, or make one with otapack init --dev-token; SoftHSM looks where SOFTHSM2_CONF points",
	"module":                               "name the module of your HSM in hsm.module or OTAPACK_PKCS11_MODULE; the one of SoftHSM is in the Debian package softhsm2",
	"sessions":                             "other programs hold all sessions that the token allows: end them, or try again when they are done",
	"mechanism-missing":                    "the token, its firmware or its policy rules this mechanism out: allow it there, or use another token; otapack hsm doctor shows what is missing",
	"hsm-unavailable":                      "the connection to the token was lost and could not be made again: run the same command again once the HSM answers; otapack hsm doctor says when it does",
	codeHSM:                                "the module could not do what it was asked to: look at its configuration and log, its daemon, and the connection to the HSM; SoftHSM reads the file that SOFTHSM2_CONF names; otapack hsm doctor narrows it down",
	"token-ambiguous":                      "name the token by its serial in otapack.yaml: pkcs11:serial=…",
	"key-not-found":                        "otapack key ls shows what is on the token; otapack key create makes the key",
	"key-ambiguous":                        "add the id to the key's URI in otapack.yaml",
	"key-mismatch":                         "the key on the token is not the one in the public key file; never replace a pinned key without knowing why it differs",
	"key-unfit":                            "the key must be allowed to sign (CKA_SIGN) and must not leave the token: make another one with otapack key create",
	"key-exists":                           "a key is never overwritten; choose another label, or use the existing key with otapack key export --from-token",
	"no-pkcs11":                            "build otapack with cgo (CGO_ENABLED=1 and a C compiler)",
	"no-patch":                             "delta: in otapack.yaml says which releases patches come from; --from names what the devices have; an encrypted base is found through delta.images",
	"version-exists":                       "a version is released once; choose another --version",
	"output-changed":                       "restore the file from a copy, or remove the whole directory and release again",
	"output-exists":                        "an existing file is never overwritten; choose another name, or move it away",
	"last-release-changed":                 "another release was made at the same time, and has the sequence number: nothing was written, release again",
	"key-policy":                           "make a key that can do one thing only, with otapack provision init; where it can be extracted, so can every device's secret",
	"records-exist":                        "a file of records belongs to one list of devices, one set of secrets and one pair of keys: choose another --output",
	"records-locked":                       "wait for the other run to end, or write another file",
	"self-test":                            "the token does not answer the same twice: do not use it before its vendor has looked at it",
	"vectors-disagree":                     "docs/bootloaders.md says what each step checks; otapack vectors export --as files writes the cases out",
	"program-start":                        "name a program in PATH or by its path, and make it executable",
	codeUsage:                              "otapack help lists the commands, otapack help <command> its flags",
	codeCurve:                              "the bootloaders take P-256 keys only: otapack key create makes signing keys, otapack key recipient a device key for the bench",
	string(verdict.SequenceRollback):       "devices that have a newer release refuse this one",
	string(verdict.ClassMismatch):          "the devices' model and hardware revision are set per component in otapack.yaml",
	string(verdict.ProductMismatch):        "is this the right otapack.yaml? pass it with --config",
	string(verdict.VendorMismatch):         "is this the right otapack.yaml? pass it with --config",
	string(verdict.ComponentsMismatch):     "is this the right otapack.yaml? pass it with --config",
	string(verdict.EncryptionNotBuiltIn):   "say how the bootloader decrypts: --encryption or --device-key on the command line, mcuboot.encryption in otapack.yaml",
	string(verdict.ImageMagic):             "an MCUboot image begins with 0x96f3b83d: is this the firmware before it was signed?",
	string(verdict.NoKnownKey):             "the image was signed with other keys: is this the public half of one of them?",
	string(verdict.HeaderPadding):          "link the firmware with room for the header (CONFIG_ROM_START_OFFSET in Zephyr), or have it put in front: pad-header",
	string(verdict.ImageExceedsSlot):       "make the image smaller, or describe the bootloader as it was built: mode, sector-size, align and max-sectors decide what is left of a slot",
	string(verdict.DFURequirement):         "sd-req lists the firmware ids of the SoftDevices that the update is installed beside, 0x00 alone for devices without one; sd-id those for an application beside a new SoftDevice",
	string(verdict.DFUSignature):           "is this the key that is compiled into the bootloader? otapack key export --as nrf shows it as the bootloader has it",
	string(verdict.DFUZip):                 "a DFU package is the .zip file that otapack image sign nrfdfu or nrfutil pkg generate writes",
	string(verdict.BundleNotZip):           "a bundle is the .ota file that otapack release writes; otapack image verify is for single images",
	string(verdict.BundleEntryOrder):       "a bundle is the .ota file that otapack release writes; otapack image inspect and image verify are for nRF5 DFU packages",
	string(verdict.BundleNotStored):        "a bundle is the .ota file that otapack release writes; otapack image inspect and image verify are for nRF5 DFU packages",
	string(verdict.BundleNonCanonical):     "a bundle is the .ota file that otapack release writes; otapack image inspect and image verify are for nRF5 DFU packages",
	string(verdict.BundleTruncated):        "the file is incomplete: fetch it again",
	string(verdict.BundleChecksum):         "the file was damaged on the way: fetch it again",
	string(verdict.ImageExceedsBank):       "the image does not fit the device; components.<name>.bank describes another flash layout",
	string(verdict.ImageOutsideBank):       "link the image for the start of the bank, or describe your flash layout with components.<name>.bank",
	string(verdict.PackageExceedsBank):     "the reference bootloaders keep image, payloads to pass on and manifests in one bank; if yours do not, set policy.rehearse: off",
	string(verdict.RehearsalVersions):      "test that combination on a device, then list it under allowed-versions; devices that skipped a release need a listed way too",
	string(verdict.TransitionNotAllowed):   "test that combination on a device, then list it under allowed-versions, or change install-order",
	string(verdict.TransferTooLong):        "a larger MTU, a shorter connection interval or a smaller payload makes it faster",
	string(verdict.PeerTooOld):             "update the peer first (install-order) or raise its version",
	string(verdict.BaseMissing):            "set components.<name>.base to the address of the binary's first byte",
	string(verdict.TestKey):                "make keys of your own with otapack key create",
	string(verdict.KeyExtractable):         "who can log in to the token can copy this key: make another with otapack key create, then see otapack key rotate",
	string(verdict.KeyNotSensitive):        "who can log in to the token can read this key: make another with otapack key create, then see otapack key rotate",
	string(verdict.KeyNotSignOnly):         "otapack key create makes keys that can sign and nothing else; see otapack key rotate",
	string(verdict.CeremonyDiffers):        "the key, its attributes or the record changed after the ceremony: find out why before it signs anything",
	string(verdict.CeremonyMissing):        "otapack key create writes the record beside the public half; it cannot be made later",
	string(verdict.CeremonyOtherKey):       "a record belongs to the one key that it was made with: put back the record of this key",
	string(verdict.RotationStrands):        "these devices have to take a release that both keys have signed, before one that only the new key signs",
	string(verdict.RotationKeySlots):       "retire a key that is trusted and not used any more first",
	string(verdict.RotationSigners):        "take one of the keys out of sign first",
	string(verdict.RotationAlgorithm):      "make the new key for the algorithm of the bootloaders: otapack key create --algorithm",
	string(verdict.RotationThreshold):      "add another key to sign and trust first",
	string(verdict.RotationSameKey):        "make another key with otapack key create",
	string(verdict.EncryptionMode):         "encrypt for the modes that swap or overwrite, and neither with a pure signature nor for the primary slot; otherwise leave encryption out",
	string(verdict.EncryptionTLV):          "the device's key and mcuboot.encryption, or --encryption, have to be of one kind: P-256 for ecies-p256, X25519 for ecies-x25519",
	string(verdict.DependencyImage):        "dependencies name other images of the same bootloader, counted from 0: image, or --image, says which one this is, images how many there are",
	string(verdict.DFUBootSDBL):            "say crc or sha256 for the SoftDevice; where every bootloader in the field is of SDK 17, --sdk 17",
	string(verdict.DFUCombination):         "make a package of each, and install them one after the other",
	string(verdict.CounterMissing):         "say security-counter under mcuboot, for example \"sequence\", or --security-counter",
	string(verdict.DFUVersionString):       "let fw-version follow the sequence number, or choose versions with two-digit parts",
	string(verdict.RecipientKeyMissing):    "pass the device's key with --device-key <component>=<file>",
	string(verdict.DecoderRAM):             "choose a codec, a format or a window that takes less, or say with components.<name>.decoder-ram what the bootloader has",
	string(verdict.BaseMismatch):           "a patch is for one image only, and devices with any other take the whole one: is this the firmware of the release that the patch comes from?",
	string(verdict.DeltaInPlace):           "devices with one bank take the whole image",
	string(verdict.KeyUnwrap):              "is this the key of a device that the release was encrypted to?",
	string(verdict.AddressSpan):            "cut off what does not belong to the application, for example UICR at 0x10001000 (objcopy -R)",
	string(verdict.SignatureInvalid):       "signed with keys that otapack.yaml does not trust, or changed after signing",
	string(verdict.ProvisionIncomplete):    "give the command that made the file again: it goes on from there",
	string(verdict.ProvisionFormat):        "the file was changed after it was written, or damaged: restore it from a copy",
	string(verdict.ProvisionOrder):         "the file was changed after it was written: restore it from a copy",
	string(verdict.ProvisionDiffers):       "is this the token and the project file that the records were made with?",
	string(verdict.DuplicateSerial):        "every device needs a serial of its own",
	string(verdict.ManifestDigestMismatch): "the file was changed after signing, or damaged on the way",
}

func hintFor(err error, code string) string {
	policy, _ := errors.AsType[*release.PolicyError](err)
	if own, ok := imageHintsFor(err); ok {
		return own[code]
	}
	if _, ok := errors.AsType[doctorError](err); ok {
		return "begin with the first failure, others may follow from it; then run otapack hsm doctor again"
	}
	switch {
	case policy != nil && code == string(verdict.SequenceRollback):
		return "leave --sequence out to get the next number, or pass a higher one"
	case errors.Is(err, errNoConfig):
		return "pass --config, or make a starter file with otapack init"
	case errors.Is(err, errNoModule):
		return "set hsm.module in otapack.yaml or OTAPACK_PKCS11_MODULE in the environment"
	case isProvisionKey(err) && code == "key-not-found":
		return "otapack provision init makes the master key and a transport key for the bench; the key of a line comes from its factory"
	case isProvisionKey(err) && code == "mechanism-missing":
		return "docs/provisioning.md says which kind of secret needs what of the token"
	case isProvisionKey(err) && code == "key-ambiguous":
		return "add the id to the key's URI in the section provision of otapack.yaml"
	case isProvisionKey(err) && code == "key-exists":
		return "a key is never overwritten; name the one to make: otapack provision init master, or transport"
	case errors.Is(err, errNoProvision):
		return "docs/provisioning.md has an example of the section"
	case isImageExists(err):
		return "choose another name, or replace the file with --force"
	case isImageVerdict(err) && code == string(verdict.RecipientKeyMissing):
		return "pass the device's private key with --device-key; --primary is for an image as it stands in the primary slot"
	case isMissingKeyFile(err):
		return "otapack key create makes signing keys, otapack key recipient a device key for the bench"
	}
	return hints[code]
}

func isProvisionKey(err error) bool { _, ok := errors.AsType[provisionKeyError](err); return ok }

func isImageExists(err error) bool { _, ok := errors.AsType[imageExists](err); return ok }

func isImageVerdict(err error) bool { _, ok := errors.AsType[imageVerifyError](err); return ok }

// isMissingKeyFile tells a missing public key from other missing files.
func isMissingKeyFile(err error) bool {
	in, ok := errors.AsType[*release.InputError](err)
	return ok && errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(in.Path, ".pem")
}
