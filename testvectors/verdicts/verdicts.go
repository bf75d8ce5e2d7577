// Package verdicts holds inputs for bootloaders with the verdict that each must
// get: what is sent, the state of the device that it is sent to, the first check
// that fails, and why. A bootloader team holds its code against them; our own
// reference verifiers are held against them by the tests of this module.
//
// There is one index per family, described by schema.json. README.md says where
// the verdicts come from, and docs/bootloaders.md how to use them:
//
//	family, err := verdicts.Load("suit-nrf52840")
//	for _, c := range family.Cases {
//		envelope, err := family.Materialise(c.Inputs[0])
//		...
//	}
//
// Private keys in here are published and worthless: they sign test data only.
package verdicts

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.json files
var files embed.FS

// Schema is the value of Family.Schema.
const Schema = "otapack.vectors/1"

// ErrFamily is wrapped by Load for names of no family.
var ErrFamily = errors.New("unknown family")

// Verdicts.
const (
	Accept = "accept"
	Refuse = "refuse"
)

// Sources of a verdict.
const (
	SourceOtapack  = "otapack"  // our reference verifier, which is the specification of the SUIT profile
	SourceBootutil = "bootutil" // MCUboot's own code, built for the host
	SourceNRF5     = "nrf5-sdk" // the nRF5 SDK's own code, built for the host
	SourceWolfBoot = "wolfboot" // wolfBoot's own code, built for the host
)

// Sources returns all of them.
func Sources() []string {
	return []string{SourceOtapack, SourceBootutil, SourceNRF5, SourceWolfBoot}
}

// Hex is bytes that JSON spells in hexadecimal.
type Hex []byte

// MarshalText encodes in lower case.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("verdicts: %w", err)
	}
	*h = b
	return nil
}

// Content is the length in bytes and the SHA-256 of something. The digest of
// nothing is left out.
type Content struct {
	Size   int `json:"size"`
	SHA256 Hex `json:"sha256,omitempty"`
}

// Of describes data.
func Of(data []byte) Content {
	if len(data) == 0 {
		return Content{}
	}
	sum := sha256.Sum256(data)
	return Content{len(data), sum[:]}
}

// Equal reports whether two contents are the same.
func (c Content) Equal(o Content) bool { return c.Size == o.Size && bytes.Equal(c.SHA256, o.SHA256) }

// Family is the index of one family.
type Family struct {
	Schema string `json:"schema"`
	Name   string `json:"family"`
	Title  string `json:"title"`
	// Steps are the checks in the order in which they are made.
	Steps []string `json:"steps"`
	// Files are the ones that inputs begin with, below files/.
	Files map[string]Content `json:"files"`
	// Devices are the states that cases name.
	Devices map[string]Device `json:"devices"`
	Cases   []Case            `json:"cases"`
}

// Case is one input for one device, and the verdict that it must get.
type Case struct {
	ID          string  `json:"id"`          // "suit-nrf52840/T1/wrong-tag"
	Description string  `json:"description"` // the one thing that is tested
	Device      string  `json:"device"`      // in Family.Devices
	Inputs      []Input `json:"inputs"`
	Verdict     string  `json:"verdict"`          // Accept or Refuse
	Step        string  `json:"step,omitempty"`   // the first that fails
	Reason      string  `json:"reason,omitempty"` // code of package sign/verdict
	// Answer is what the real bootloader sends back, where it says more than the
	// verdict: a result code of the nRF5 SDK.
	Answer string `json:"answer,omitempty"`
	Source string `json:"source"` // who gave the verdict; the reason is always ours, the step unless it is SourceWolfBoot
	// Released is the most that may have been written to where firmware is kept
	// when the verdict falls: these bytes, or the first of them. Of a refused case
	// it is empty unless the order of checks allows writing before the last one.
	Released Content `json:"released"`
}

// Input is one file of a case: a file of the family with edits.
type Input struct {
	Name  string `json:"name"`            // "envelope", "payload", "running", "image", "packet", "firmware", "installed"
	Base  string `json:"base,omitempty"`  // in Family.Files; "" begins with nothing
	Edits []Edit `json:"edits,omitempty"` // by ascending position, without overlap
	Content
}

// Edit replaces bytes of the base. Positions count in the base, not in what
// earlier edits have made of it.
type Edit struct {
	At     int `json:"at"`
	Remove int `json:"remove,omitempty"` // bytes
	Insert Hex `json:"insert,omitempty"`
	Times  int `json:"times,omitempty"` // how often Insert is repeated; 0 is once
}

// Piece is a part of an input: bytes, so many times.
type Piece struct {
	Data  []byte
	Times int
	// Base says where Data stands in the input's base, -1 for what an edit inserts.
	Base int
}

// Families returns the names of all families in alphabetical order.
func Families() []string {
	return []string{"mcuboot", "nrfdfu", "sbsfu", "suit-nrf52840", "suit-stm32l4", "wolfboot"}
}

// Load reads the index of a family. Unknown names wrap ErrFamily.
func Load(name string) (*Family, error) {
	if !slices.Contains(Families(), name) {
		return nil, fmt.Errorf("verdicts: %q (known: %s): %w", name, strings.Join(Families(), ", "), ErrFamily)
	}
	data, err := files.ReadFile(name + ".json")
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	return Decode(data)
}

// Decode reads an index, strictly.
func Decode(data []byte) (*Family, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var f Family
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	if f.Schema != Schema {
		return nil, fmt.Errorf("verdicts: schema %q, want %q", f.Schema, Schema)
	}
	return &f, nil
}

// JSONSchema returns the schema of an index.
func JSONSchema() ([]byte, error) {
	data, err := files.ReadFile("schema.json")
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	return data, nil
}

// File returns one of the family's files, and checks it.
func (f *Family) File(name string) ([]byte, error) {
	want, ok := f.Files[name]
	if !ok {
		return nil, fmt.Errorf("verdicts: %s: file %q: %w", f.Name, name, fs.ErrNotExist)
	}
	data, err := files.ReadFile("files/" + name)
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	if !Of(data).Equal(want) {
		return nil, fmt.Errorf("verdicts: %s: file %q is not the one of the index", f.Name, name)
	}
	return data, nil
}

// Pieces takes an input apart, see Input.Pieces.
func (f *Family) Pieces(in Input) ([]Piece, error) {
	var base []byte
	if in.Base != "" {
		var err error
		if base, err = f.File(in.Base); err != nil {
			return nil, err
		}
	}
	pieces, err := in.Pieces(base)
	if err != nil {
		return nil, fmt.Errorf("verdicts: %s: %w", f.Name, err)
	}
	return pieces, nil
}

// Pieces takes an input apart into what stands in its base and what is inserted,
// in order. Together they have the length of the input. Nothing is copied.
func (in Input) Pieces(base []byte) ([]Piece, error) {
	var pieces []Piece
	at, total := 0, 0
	add := func(data []byte, times, from int) {
		if len(data) > 0 {
			pieces = append(pieces, Piece{data, times, from})
			total += min(len(data)*min(times, 1<<30), 1<<30)
		}
	}
	for _, e := range in.Edits {
		if e.At < at || e.At > len(base) || e.Remove < 0 || e.Remove > len(base)-e.At || e.Times < 0 {
			return nil, fmt.Errorf("input %q: edit at %d of %d bytes", in.Name, e.At, len(base))
		}
		add(base[at:e.At], 1, at)
		add(e.Insert, max(e.Times, 1), -1)
		at = e.At + e.Remove
	}
	add(base[at:], 1, at)
	if total != in.Size {
		return nil, fmt.Errorf("input %q: %d bytes, the index says %d", in.Name, total, in.Size)
	}
	return pieces, nil
}

// Materialise returns the bytes of an input, and checks them.
func (f *Family) Materialise(in Input) ([]byte, error) {
	pieces, err := f.Pieces(in)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, in.Size)
	for _, p := range pieces {
		for range p.Times {
			data = append(data, p.Data...)
		}
	}
	if !Of(data).Equal(in.Content) {
		return nil, fmt.Errorf("verdicts: %s: input %q of %d bytes is not the one of the index", f.Name, in.Name, len(data))
	}
	return data, nil
}

// Input returns the bytes of a case's input by its name, nil for none.
func (f *Family) Input(c Case, name string) ([]byte, error) {
	i := slices.IndexFunc(c.Inputs, func(in Input) bool { return in.Name == name })
	if i < 0 {
		return nil, nil
	}
	return f.Materialise(c.Inputs[i])
}
