package config

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// KeySpecSchema is the value of the key "otapack-keys" that this package reads.
const KeySpecSchema = 1

// MaxKeysInSpec is how many keys a specification can have.
const MaxKeysInSpec = 32

// KeySpec is a valid key specification: which keys a ceremony makes, who is
// there and why. It is read as strictly as otapack.yaml.
type KeySpec struct {
	Operators []string // at least one
	Witnesses []string
	Purpose   string // may be empty, as Place
	Place     string
	Keys      []NewKey // 1 to MaxKeysInSpec, in the order of the file

	// Digest is the SHA-256 of the file.
	Digest [sha256.Size]byte

	source
}

// NewKey is a key to be made. It has either an Alias or a Token, a Label and a
// Public.
type NewKey struct {
	Alias  string // of a key in otapack.yaml, which says the rest
	Token  string // alias of a token in otapack.yaml
	Label  string // CKA_LABEL
	Public string // path of the public half; relative ones start at the specification's directory
	ID     []byte // CKA_ID, 1 to 64 bytes; nil: random
	Curve  string // "P-256" or "P-384"
	Usage  string // "manifest", "release" or "image"
}

var (
	idPattern    = regexp.MustCompile(`^([0-9a-f]{2}){1,64}$`)
	curvePattern = regexp.MustCompile(`^P-(256|384)$`)
	usagePattern = regexp.MustCompile(`^(manifest|release|image)$`)
)

// LoadKeySpec reads the key specification at path. Its errors are those of Load.
func LoadKeySpec(path string) (*KeySpec, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseKeySpec(path, data)
}

// ParseKeySpec is LoadKeySpec for a file that has been read already, with the
// name that stands in errors.
func ParseKeySpec(name string, data []byte) (*KeySpec, error) {
	s := &KeySpec{Digest: sha256.Sum256(data), source: newSource(name)}
	d := decoder{source: s.source}
	if root, ok := d.parse(data); ok {
		d.keySpec(root, s)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (d *decoder) keySpec(root value, s *KeySpec) {
	d.object(root, fields{
		"otapack-keys": func(v value) {
			n := uint64(KeySpecSchema)
			if d.number(&n, 0, 1<<63-1)(v); n != KeySpecSchema {
				d.fail(v.path, "is schema %d, this version reads schema %d", n, KeySpecSchema)
			}
		},
		"operators": d.list(&s.Operators),
		"witnesses": d.list(&s.Witnesses),
		"purpose":   d.text(&s.Purpose),
		"place":     d.text(&s.Place),
		"keys": func(v value) {
			for _, item := range d.items(v) {
				s.Keys = append(s.Keys, d.newKey(item))
			}
			if len(s.Keys) > MaxKeysInSpec {
				d.fail(v.path, "has %d keys, at most %d are possible", len(s.Keys), MaxKeysInSpec)
			}
		},
	}, "otapack-keys", "operators", "keys")
	for i, name := range s.Witnesses {
		if slices.Contains(s.Operators, name) {
			d.fail(pathIndex("witnesses", i), "%q is an operator and cannot be a witness too", name)
		}
	}
	for i, k := range s.Keys {
		same := func(o NewKey) bool {
			return k.Alias != "" && o.Alias == k.Alias || k.Label != "" && o.Label == k.Label && o.Token == k.Token
		}
		if j := slices.IndexFunc(s.Keys[:i], same); j >= 0 {
			d.fail(pathIndex("keys", i), "is the same key as %s", pathIndex("keys", j))
		}
	}
}

func (d *decoder) newKey(v value) NewKey {
	var k NewKey
	var id string
	d.object(v, fields{
		"alias":  d.name(&k.Alias),
		"token":  d.name(&k.Token),
		"label":  d.text(&k.Label),
		"public": d.text(&k.Public),
		"id":     d.match(&id, idPattern, "1 to 64 bytes in lower-case hexadecimal"),
		"curve":  d.match(&k.Curve, curvePattern, "P-256 or P-384"),
		"usage":  d.match(&k.Usage, usagePattern, "manifest, release or image"),
	}, "curve", "usage")
	if id != "" && !d.failed(v.path+".id") {
		k.ID, _ = hex.DecodeString(id) // the pattern leaves nothing to fail
	}
	if d.failed(v.path) {
		return k
	}
	own := map[string]string{"token": k.Token, "label": k.Label, "public": k.Public}
	var missing []string
	for _, name := range []string{"token", "label", "public"} {
		switch {
		case own[name] == "":
			missing = append(missing, name)
		case k.Alias != "":
			d.fail(v.path+"."+name, "does not go with alias: otapack.yaml says it")
		}
	}
	if k.Alias == "" && len(missing) > 0 {
		d.fail(v.path, "needs an alias of otapack.yaml, or else token, label and public (%s missing)", strings.Join(missing, " and "))
	}
	return k
}
