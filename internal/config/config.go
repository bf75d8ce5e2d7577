// Package config reads otapack.yaml, the file that says what a release is made
// of and who signs it.
//
// Reading is strict. Unknown and duplicate keys, second documents, anchors,
// aliases, tags and merge keys are errors, and every problem of a file is
// reported at once, each as an [*Error] with its line and column. Scalars are
// taken as they are spelled: version 1.10 stays "1.10".
//
// Nothing secret has a place in the file. A token's entry may say where its PIN
// is, never what it is.
//
// Names, references between entries, sizes and counts are checked here. What a
// chip is called, how a version is spelled and whether a file exists is for the
// packages that use them; [Config.Errorf] lends them the position.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Schema is the value of the key "otapack" that this package reads.
const Schema = 1

// Bounds of the file and of what it may hold.
const (
	MaxSize       = 1 << 20 // bytes
	MaxComponents = 32      // as many as a bundle holds
	MaxSigners    = 3       // keys in one sign list: signature blocks in an envelope
	MaxRecipients = 8       // keys in one encrypt.to list
	MaxURI        = 16      // bytes in a component's uri
	MaxSecrets    = 32      // secrets of one device
	MaxErrors     = 20      // problems reported for one file
)

// Config is a valid otapack.yaml with its defaults filled in. Lists keep the
// order of the file.
type Config struct {
	Product         Product
	HSM             HSM
	Keys            []Key
	Signing         Signing
	Components      []Component
	InstallOrder    []string // every component once
	AllowedVersions [][]ComponentVersion
	Policy          Policy
	Output          Output
	Provision       *Provision // nil when the file has no such section

	source
}

// Product names the device model.
type Product struct {
	Name   string
	Vendor string // lower-case domain name
}

// HSM says where private keys live.
type HSM struct {
	Module string // path of the PKCS#11 module, empty when the environment has to name it
	Tokens []Token
}

// Token is a PKCS#11 token under an alias.
type Token struct {
	Name    string
	URI     string // RFC 7512, without a PIN; the parser of package hsm has the last word
	PINFile string // path, empty when the file does not say where the PIN is
}

// Key is a signing key under an alias.
type Key struct {
	Name   string
	Token  string // alias; empty together with URI for a key that only verifies
	URI    string // RFC 7512, selects the private half on the token
	Public string // path of the pinned public half
}

// Signing says who signs the manifests of components, unless a component says
// otherwise, and who signs the release record.
type Signing struct {
	Manifest Rule
	Release  Rule
}

// Rule is a list of signers and the keys that a verifier trusts. All names are
// key aliases.
type Rule struct {
	Sign      []string // 1 to MaxSigners keys that have a private half
	Trust     []string // Sign unless given
	Threshold int      // how many of Trust have to have signed; at least 1, never more than Sign can reach
}

// Component is the firmware of one MCU.
type Component struct {
	Name       string
	Chip       string
	Model      string
	Revision   string
	Image      string             // path
	Base       *uint64            // address of a raw binary's first byte, nil when not given
	Bank       *Bank              // nil: as in the chip profile
	RAM        *Bank              // RAM of the MCU, nil: as in the chip profile
	DecoderRAM *uint64            // bytes of RAM that a decoder may take, nil: as in the chip profile
	Delta      *Delta             // nil: no patches
	Compress   *Compress          // nil: whole images are not compressed
	Slot       *int               // slot that the image is linked for, nil when not given
	Version    string             // empty: the version of the release
	EncryptTo  []string           // paths of recipients' public keys, empty: not encrypted
	PerDevice  string             // folder of device keys, one more file for each; empty for none
	Format     string             // FormatSUIT, FormatMCUboot or FormatNRFDFU
	MCUboot    *MCUboot           // with FormatMCUboot
	NRFDFU     *NRFDFU            // with FormatNRFDFU
	Signing    Rule               // Signing.Manifest unless given
	Requires   []ComponentVersion // lowest version of each other component that this one works with
	URI        string             // "#" and the name unless given
}

// Bank is a region of flash, or of RAM.
type Bank struct {
	Base uint64 // address
	Size uint64 // bytes, at least 1; the region ends at or below 2^32
}

// ComponentVersion is a component at a version.
type ComponentVersion struct{ Component, Version string }

// Formats of components.
const (
	FormatSUIT    = "suit"    // our own bootloaders: the manifest is all there is
	FormatMCUboot = "mcuboot" // an MCUboot image, which the manifest covers as a file
	FormatNRFDFU  = "nrfdfu"  // an nRF5 SDK DFU package, which the manifest covers as a file
)

// MCUboot says how the MCUboot bootloader of a component was built and what goes
// into its images. What is not given comes from the profile. Names and values
// follow imgtool; package mcuboot has the last word on them.
type MCUboot struct {
	Profile string // empty for none
	Signing Rule   // keys that are compiled into the bootloader

	Signature, Mode, Encryption, Downgrade string // empty: as in the profile

	HeaderSize, SlotSize, SecondarySize, SectorSize, WriteSize, MaxAlign, MaxSectors, AESBits *uint64
	Image, Images                                                                             *uint64

	PadHeader, SaveEncTLV, AllowList, Rollback *bool

	FullKey    bool   // the image carries the whole public key and not its hash
	Padding    string // "", "pad" or "confirm"
	Counter    string // "sequence", "version", a number, or empty for none
	BootRecord string // software type, empty for no record

	Dependencies            []ImageVersion
	Vendor, Class           string
	LoadAddress, ROMAddress *uint64
}

// ImageVersion is the lowest version of another image of a bootloader.
type ImageVersion struct {
	Image   uint64
	Version string
}

// NRFDFU says what the nRF5 SDK bootloader of a component checks and what goes
// into its packages.
type NRFDFU struct {
	Profile string // chip
	SDK     uint64 // generation of the nRF5 SDK of the oldest bootloader in the field
	Signing Rule   // one key, which is compiled into the bootloader

	// BootloaderStart and AppDataArea replace those of the profile.
	BootloaderStart, AppDataArea *uint64
	BLE                          *bool // the bootloader uses the SoftDevice; nil: if there is one

	External       bool     // the application is for a device behind this one
	HWVersion      uint64   // NRF_DFU_HW_VERSION
	SDReq          []uint64 // firmware ids of SoftDevices, in the order of the file
	FWVersion      string   // "sequence", "version" or a number
	BootValidation string   // "", "none", "crc", "sha256" or "ecdsa"

	SoftDevice        string   // path of a SoftDevice to install with it, empty for none
	SDID              []uint64 // firmware ids of that SoftDevice
	Bootloader        string   // path of a bootloader to install with it, empty for none
	BootloaderVersion uint64
}

// DeviceSigning returns the rule of the component's own bootloader format; ok is
// false where the manifest's signatures are all that its device checks.
func (c Component) DeviceSigning() (r Rule, ok bool) {
	switch {
	case c.MCUboot != nil:
		return c.MCUboot.Signing, true
	case c.NRFDFU != nil:
		return c.NRFDFU.Signing, true
	}
	return Rule{}, false
}

// Policy bounds what a release may do.
type Policy struct {
	MaxSequenceStep uint64 // largest step from the last release's sequence number (at most 2^32-1), 0: any
	Rehearse        string // how much power loss a release rehearses: RehearseShort unless given
	OldestSupported string // version of the oldest release that devices in the field have, empty: not said
}

// Values of Policy.Rehearse.
const (
	RehearseOff   = "off"
	RehearseShort = "short" // a sample of the cut points
	RehearseFull  = "full"  // all of them, and pairs
)

// Output says where results go.
type Output struct {
	Dir         string // path
	LastRelease string // path of the record that the next release is compared with
}

// Provision says which secrets the factory puts into a device, and the keys
// that they are made with. The keys are on one token, because a secret leaves
// it only after it was wrapped there.
type Provision struct {
	Token     string // alias
	Transport string // RFC 7512, selects the AES key that secrets are wrapped under
	Master    string // RFC 7512, selects the AES key that secrets are derived from, empty when none is
	Secrets   []Secret
}

// Secret is one secret of each device.
type Secret struct {
	Component string
	Purpose   string // a name, unique in the component
	Kind      string // "derive", "generate" or "recipient"
	Bytes     int    // 16 or 32; 32 for a recipient
}

// Kinds of secrets.
const (
	Derive    = "derive"    // AES key derived from the master key
	Generate  = "generate"  // random AES key
	Recipient = "recipient" // private key of a P-256 pair that payloads are encrypted to
)

// Error is one problem of the file.
type Error struct {
	File         string
	Line, Column int    // from 1, in characters; 0 when the problem is the file as a whole
	Path         string // for example "components.radio.chip", may be empty
	Msg          string
}

// Error formats as "file:line:column: path: message", leaving out what is
// absent.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

// Load reads the file at path. A file that was read and refused gives at least
// one *Error, several of them joined by errors.Join in the order of their lines.
func Load(path string) (*Config, error) {
	c, err := LoadPart(path)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// LoadPart is Load for a diagnosis: beside an error it returns what could be
// read, which may be nothing, and which no rule of this package holds for.
func LoadPart(path string) (*Config, error) {
	c := &Config{source: newSource(path)}
	data, err := readFile(path)
	if err != nil {
		return c, err
	}
	return c, c.parse(data)
}

// readFile reads a file of MaxSize bytes, and one more if there is: parse refuses
// it then.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return data, nil
}

// Parse is Load for a file that has been read already. The name stands in
// errors, and its directory is the one that Resolve starts from.
func Parse(name string, data []byte) (*Config, error) {
	c := &Config{source: newSource(name)}
	if err := c.parse(data); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) parse(data []byte) error {
	d := decoder{source: c.source, cfg: c}
	if root, ok := d.parse(data); ok {
		d.config(root)
		d.check()
	}
	return d.err()
}

// source is the file that something was read from.
type source struct {
	file string
	dir  string
	pos  map[string]position
}

func newSource(name string) source {
	return source{name, filepath.Dir(name), map[string]position{}}
}

// File returns the name that the file was read under.
func (s source) File() string { return s.file }

// Resolve returns a path of the file as seen from the working directory:
// relative ones start at the file's directory.
func (s source) Resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.dir, path)
}

// Has reports whether the file has an entry such as "signing.manifest.trust",
// and does not leave it to its default.
func (s source) Has(path string) bool {
	_, ok := s.pos[path]
	return ok
}

// Errorf returns an Error at the place of an entry, such as
// "components.radio.version", or of the nearest entry around it that the file
// has. It is for checks that other packages make.
func (s source) Errorf(path, format string, args ...any) *Error {
	e := &Error{File: s.file, Path: path, Msg: fmt.Sprintf(format, args...)}
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if at, ok := s.pos[p]; ok {
			e.Line, e.Column = at.line, at.column
			break
		}
	}
	return e
}

// Key returns the key with an alias.
func (c *Config) Key(alias string) (Key, bool) {
	return find(c.Keys, func(k Key) bool { return k.Name == alias })
}

// Token returns the token with an alias.
func (c *Config) Token(alias string) (Token, bool) {
	return find(c.HSM.Tokens, func(t Token) bool { return t.Name == alias })
}

// Component returns the component with a name.
func (c *Config) Component(name string) (Component, bool) {
	return find(c.Components, func(p Component) bool { return p.Name == name })
}

func find[T any](list []T, match func(T) bool) (T, bool) {
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i], true
	}
	var zero T
	return zero, false
}
