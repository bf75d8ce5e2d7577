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

	file string
	dir  string
	pos  map[string]position
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
	Name      string
	Chip      string
	Model     string
	Revision  string
	Image     string             // path
	Base      *uint64            // address of a raw binary's first byte, nil when not given
	Bank      *Bank              // nil: as in the chip profile
	Slot      *int               // slot that the image is linked for, nil when not given
	Version   string             // empty: the version of the release
	EncryptTo []string           // paths of recipients' public keys, empty: not encrypted
	Signing   Rule               // Signing.Manifest unless given
	Requires  []ComponentVersion // lowest version of each other component that this one works with
	URI       string             // "#" and the name unless given
}

// Bank is a region of flash.
type Bank struct {
	Base uint64 // address
	Size uint64 // bytes, at least 1; the bank ends at or below 2^32
}

// ComponentVersion is a component at a version.
type ComponentVersion struct{ Component, Version string }

// Policy bounds what a release may do.
type Policy struct {
	MaxSequenceStep uint64 // largest step from the last release's sequence number (at most 2^32-1), 0: any
	Rehearse        string // how much power loss a release rehearses: RehearseShort unless given
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
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, data)
}

// Parse is Load for a file that has been read already. The name stands in
// errors, and its directory is the one that Resolve starts from.
func Parse(name string, data []byte) (*Config, error) {
	c := &Config{file: name, dir: filepath.Dir(name), pos: map[string]position{}}
	d := decoder{cfg: c}
	if root, ok := d.parse(data); ok {
		d.config(root)
		d.check()
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// File returns the name that the configuration was read under.
func (c *Config) File() string { return c.file }

// Resolve returns a path of the file as seen from the working directory:
// relative ones start at the file's directory.
func (c *Config) Resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.dir, path)
}

// Errorf returns an Error at the place of an entry, such as
// "components.radio.version", or of the nearest entry around it that the file
// has. It is for checks that other packages make.
func (c *Config) Errorf(path, format string, args ...any) *Error {
	e := &Error{File: c.file, Path: path, Msg: fmt.Sprintf(format, args...)}
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if at, ok := c.pos[p]; ok {
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
