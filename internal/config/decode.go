package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

var (
	namePattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	componentPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,13}$`) // "#" and the name fit MaxURI
	domainPattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	modelPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	revisionPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._]{0,31}$`) // no "-": model-revision must read one way only
	rehearsePattern  = regexp.MustCompile(`^(off|short|full)$`)
	uriPattern       = regexp.MustCompile(`^[!-~]{1,16}$`)
	plainKey         = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// addressLimit is the end of a 32-bit address space.
const addressLimit = 1 << 32

type position struct{ line, column int }

// value is a node of the document and the path that leads to it.
type value struct {
	node ast.Node
	path string
}

// entry is one key of a mapping together with its value.
type entry struct {
	key string
	at  position // of the key
	value
}

// fields maps the keys of a mapping to what reads their values.
type fields map[string]func(value)

// decoder reads a file and collects every problem it meets.
type decoder struct {
	source
	cfg  *Config // nil in a key specification
	errs []*Error
}

// fail records a problem at the path.
func (d *decoder) fail(path, format string, args ...any) {
	d.errs = append(d.errs, d.Errorf(path, format, args...))
}

// failAt records a problem at a position that no path leads to.
func (d *decoder) failAt(at position, path, format string, args ...any) {
	d.errs = append(d.errs, &Error{d.file, at.line, at.column, path, fmt.Sprintf(format, args...)})
}

// err returns the problems in line order.
func (d *decoder) err() error {
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var errs []error
	for i, e := range d.errs {
		if i == MaxErrors {
			errs = append(errs, &Error{File: e.File, Msg: fmt.Sprintf("%d more problems", len(d.errs)-i)})
			break
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// config reads the document into d.cfg. References between its parts are left
// to check.
func (d *decoder) config(root value) {
	c := d.cfg
	c.Output = Output{Dir: "dist", LastRelease: "release.json"}
	c.Policy.Rehearse = RehearseShort
	d.object(root, fields{
		"otapack": func(v value) {
			n := uint64(Schema)
			if d.number(&n, 0, 1<<63-1)(v); n != Schema {
				d.fail(v.path, "is schema %d, this version reads schema %d", n, Schema)
			}
		},
		"product": func(v value) {
			d.object(v, fields{
				"name":   d.name(&c.Product.Name),
				"vendor": d.match(&c.Product.Vendor, domainPattern, "a lower-case domain name"),
			}, "name", "vendor")
		},
		"hsm": func(v value) {
			d.object(v, fields{"module": d.text(&c.HSM.Module), "tokens": d.tokens})
		},
		"keys": d.keys,
		"signing": func(v value) {
			d.object(v, fields{"manifest": d.rule(&c.Signing.Manifest), "release": d.rule(&c.Signing.Release)}, "manifest", "release")
		},
		"components":       d.components,
		"install-order":    d.list(&c.InstallOrder),
		"allowed-versions": d.allowedVersions,
		"provision":        d.provision,
		"policy": func(v value) {
			d.object(v, fields{
				"max-sequence-step": d.number(&c.Policy.MaxSequenceStep, 1, 1<<32-1),
				"rehearse":          d.match(&c.Policy.Rehearse, rehearsePattern, "off, short or full"),
				"oldest-supported":  d.text(&c.Policy.OldestSupported),
			})
		},
		"output": func(v value) {
			d.object(v, fields{"dir": d.text(&c.Output.Dir), "last-release": d.text(&c.Output.LastRelease)})
		},
	}, "otapack", "product", "keys", "signing", "components")
}

func (d *decoder) tokens(v value) {
	for _, e := range d.named(v, namePattern) {
		t := Token{Name: e.key}
		d.object(e.value, fields{"uri": d.pkcs11(&t.URI), "pin": d.pin(&t.PINFile)}, "uri")
		d.cfg.HSM.Tokens = append(d.cfg.HSM.Tokens, t)
	}
}

// pin takes the place of a PIN. A PIN itself is refused and, in whatever form it
// comes, not repeated.
func (d *decoder) pin(file *string) func(value) {
	const refused = "a PIN does not belong in this file: write {file: <path>}, or leave it out to be asked"
	return func(v value) {
		if _, ok := v.node.(*ast.MappingNode); !ok {
			d.fail(v.path, refused)
			return
		}
		entries, _ := d.entries(v)
		for _, e := range entries {
			if e.key == "file" {
				d.text(file)(e.value)
			} else {
				d.failAt(e.at, v.path, refused)
			}
		}
		if len(entries) == 0 {
			d.fail(v.path, refused)
		}
	}
}

func (d *decoder) keys(v value) {
	for _, e := range d.named(v, namePattern) {
		k := Key{Name: e.key}
		d.object(e.value, fields{"token": d.text(&k.Token), "uri": d.pkcs11(&k.URI), "public": d.text(&k.Public)}, "public")
		d.cfg.Keys = append(d.cfg.Keys, k)
	}
	if len(d.cfg.Keys) == 0 {
		d.needOne(v)
	}
}

func (d *decoder) rule(r *Rule) func(value) {
	return func(v value) {
		threshold := uint64(1)
		d.object(v, fields{
			"sign":      d.list(&r.Sign),
			"trust":     d.list(&r.Trust),
			"threshold": d.number(&threshold, 1, MaxSigners),
		}, "sign")
		if r.Trust == nil {
			r.Trust = slices.Clone(r.Sign)
		}
		r.Threshold = int(threshold)
		if len(r.Sign) > MaxSigners {
			d.fail(v.path+".sign", "has %d keys, at most %d can sign", len(r.Sign), MaxSigners)
		}
	}
}

func (d *decoder) components(v value) {
	for _, e := range d.named(v, componentPattern) {
		c := Component{Name: e.key, URI: "#" + e.key, Format: FormatSUIT}
		d.object(e.value, fields{
			"chip":     d.name(&c.Chip),
			"model":    d.match(&c.Model, modelPattern, "1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first"),
			"revision": d.match(&c.Revision, revisionPattern, "1 to 32 letters, digits, dots and underscores, a letter or digit first"),
			"image":    d.text(&c.Image),
			"base": func(v value) {
				c.Base = new(uint64)
				d.number(c.Base, 0, addressLimit-1)(v)
			},
			"bank":        d.region(&c.Bank),
			"ram":         d.region(&c.RAM),
			"decoder-ram": d.optionalSize(&c.DecoderRAM, 1, addressLimit-1),
			"delta":       func(v value) { c.Delta = d.delta(v) },
			"compress":    func(v value) { c.Compress = d.compress(v) },
			"slot": func(v value) {
				var n uint64
				d.number(&n, 0, 255)(v)
				slot := int(n)
				c.Slot = &slot
			},
			"version": d.text(&c.Version),
			"encrypt": func(v value) {
				d.object(v, fields{"to": d.list(&c.EncryptTo), "per-device": d.text(&c.PerDevice)}, "to")
				if len(c.EncryptTo) > MaxRecipients {
					d.fail(v.path+".to", "has %d recipients, at most %d are possible", len(c.EncryptTo), MaxRecipients)
				}
			},
			"signing":  d.rule(&c.Signing),
			"requires": func(v value) { c.Requires = d.versions(v) },
			"uri":      d.match(&c.URI, uriPattern, "1 to 16 printable characters without spaces"),
			"format":   d.choice(&c.Format, FormatSUIT, FormatMCUboot, FormatNRFDFU),
			"mcuboot":  func(v value) { c.MCUboot = d.mcuboot(v) },
			"nrfdfu":   func(v value) { c.NRFDFU = d.nrfdfu(v) },
		}, "chip", "model", "revision", "image")
		d.checkFormat(c)
		d.checkPayload(c)
		d.cfg.Components = append(d.cfg.Components, c)
	}
	switch n := len(d.cfg.Components); {
	case n == 0:
		d.needOne(v)
	case n > MaxComponents:
		d.fail(v.path, "has %d components, at most %d are possible", n, MaxComponents)
	}
}

func (d *decoder) allowedVersions(v value) {
	for _, item := range d.items(v) {
		if set := d.versions(item); len(set) > 0 {
			d.cfg.AllowedVersions = append(d.cfg.AllowedVersions, set)
		}
	}
}

func (d *decoder) provision(v value) {
	p := &Provision{}
	d.cfg.Provision = p
	d.object(v, fields{
		"token":     d.text(&p.Token),
		"transport": d.pkcs11(&p.Transport),
		"master":    d.pkcs11(&p.Master),
		"secrets": func(v value) {
			components, ok := d.entries(v)
			for _, c := range components {
				purposes := d.named(c.value, namePattern)
				if len(purposes) == 0 {
					d.needOne(c.value)
				}
				for _, e := range purposes {
					p.Secrets = append(p.Secrets, d.secret(c.key, e))
				}
			}
			switch n := len(p.Secrets); {
			case ok && len(components) == 0:
				d.needOne(v)
			case n > MaxSecrets:
				d.fail(v.path, "has %d secrets, at most %d are possible", n, MaxSecrets)
			}
		},
	}, "token", "transport", "secrets")
}

// secret reads one secret. What it does not say is wrong if it is needed, and
// what it says is wrong if it means nothing.
func (d *decoder) secret(component string, e entry) Secret {
	s := Secret{Component: component, Purpose: e.key}
	var bytes uint64
	d.object(e.value, fields{
		"kind": func(v value) {
			kind, ok := d.scalar(v)
			if kinds := []string{Derive, Generate, Recipient}; ok && !slices.Contains(kinds, kind) {
				d.fail(v.path, "%q is not derive, generate or recipient%s", kind, suggest(kind, kinds))
			}
			s.Kind = kind
		},
		"bytes": func(v value) {
			if d.number(&bytes, 16, 32)(v); bytes != 0 && bytes != 16 && bytes != 32 {
				d.fail(v.path, "%d is not 16 or 32", bytes)
			}
		},
	}, "kind")
	s.Bytes = int(bytes)
	switch has := d.Has(e.path + ".bytes"); {
	case d.failed(e.path):
	case s.Kind == Recipient && has:
		d.fail(e.path+".bytes", "is not for a recipient: its key is on P-256, which has 32")
	case s.Kind == Recipient:
		s.Bytes = 32
	case !has:
		d.fail(e.path, "key %q is missing", "bytes")
	}
	return s
}

// versions reads a mapping from component to version.
func (d *decoder) versions(v value) []ComponentVersion {
	entries, ok := d.entries(v)
	if ok && len(entries) == 0 {
		d.needOne(v)
	}
	var list []ComponentVersion
	for _, e := range entries {
		cv := ComponentVersion{Component: e.key}
		d.text(&cv.Version)(e.value)
		list = append(list, cv)
	}
	return list
}

// check looks at what the parts of the file say about each other.
func (d *decoder) check() {
	c := d.cfg
	var tokens, keys, components []string
	for _, t := range c.HSM.Tokens {
		tokens = append(tokens, t.Name)
	}
	for _, k := range c.Keys {
		path := "keys." + k.Name
		switch {
		case k.Token != "":
			d.known("token alias", tokens, k.Token, path+".token")
			if k.URI == "" && !d.failed(path+".uri") {
				d.fail(path, "names a token but no uri of the key on it")
			}
		case k.URI != "":
			d.fail(path, "has a uri but names no token")
		}
		keys = append(keys, k.Name)
	}
	d.checkRule(c.Signing.Manifest, "signing.manifest", keys)
	d.checkRule(c.Signing.Release, "signing.release", keys)

	for _, p := range c.Components {
		components = append(components, p.Name)
	}
	uris := map[string]string{}
	for i := range c.Components {
		p := &c.Components[i]
		path := "components." + p.Name
		if p.Signing.Sign == nil {
			p.Signing = c.Signing.Manifest
		} else {
			d.checkRule(p.Signing, path+".signing", keys)
		}
		if r, ok := p.DeviceSigning(); ok {
			d.checkRule(r, path+"."+p.Format+".signing", keys)
		}
		if other, ok := uris[p.URI]; ok {
			d.fail(path+".uri", "is also the uri of component %s", other)
		}
		uris[p.URI] = p.Name
		d.checkFrom(*p)
		for _, r := range p.Requires {
			at := path + ".requires." + pathKey(r.Component)
			if d.known("component", components, r.Component, at) && r.Component == p.Name {
				d.fail(at, "a component cannot require itself")
			}
		}
	}
	if len(components) == 0 {
		return
	}
	d.checkProvision(tokens, components)
	for i, set := range c.AllowedVersions {
		for _, v := range set {
			d.known("component", components, v.Component, fmt.Sprintf("allowed-versions[%d].%s", i, pathKey(v.Component)))
		}
	}
	if c.InstallOrder == nil {
		c.InstallOrder = components
		return
	}
	for i, name := range c.InstallOrder {
		d.known("component", components, name, fmt.Sprintf("install-order[%d]", i))
	}
	for _, name := range components {
		if !slices.Contains(c.InstallOrder, name) && !d.failed("install-order") {
			d.fail("install-order", "leaves out component %s", name)
		}
	}
}

func (d *decoder) checkProvision(tokens, components []string) {
	p := d.cfg.Provision
	if p == nil {
		return
	}
	if d.Has("provision.token") {
		d.known("token alias", tokens, p.Token, "provision.token")
	}
	derives := false
	for _, s := range p.Secrets {
		d.known("component", components, s.Component, "provision.secrets."+pathKey(s.Component))
		derives = derives || s.Kind == Derive
	}
	switch {
	case d.failed("provision"):
	case derives && p.Master == "":
		d.fail("provision", "has secrets to derive and no master key")
	case !derives && p.Master != "":
		d.fail("provision.master", "no secret is derived from it")
	}
}

func (d *decoder) checkRule(r Rule, path string, keys []string) {
	if len(keys) == 0 { // reported where the keys should be
		return
	}
	for i, alias := range r.Sign {
		at := fmt.Sprintf("%s.sign[%d]", path, i)
		if d.known("key alias", keys, alias, at) {
			if k, _ := d.cfg.Key(alias); k.Token == "" && !d.failed("keys."+alias) {
				d.fail(at, "key %s cannot sign: it names no token", alias)
			}
		}
	}
	for i, alias := range r.Trust {
		if at := fmt.Sprintf("%s.trust[%d]", path, i); d.Has(at) {
			d.known("key alias", keys, alias, at)
		}
	}
	reach := 0
	for _, alias := range r.Sign {
		if slices.Contains(r.Trust, alias) {
			reach++
		}
	}
	if reach < r.Threshold && !d.failed(path) {
		d.fail(path+".threshold", "%d trusted signatures are needed and %d of the signing keys are trusted", r.Threshold, reach)
	}
}

// known reports whether a name is in the list, and records a problem when not,
// unless the entry has another problem already.
func (d *decoder) known(what string, list []string, name, path string) bool {
	if slices.Contains(list, name) {
		return true
	}
	if !d.failed(path) {
		d.fail(path, "unknown %s %q%s", what, name, suggest(name, list))
	}
	return false
}

// failed reports whether a problem at or below the path is known.
func (d *decoder) failed(path string) bool {
	return slices.ContainsFunc(d.errs, func(e *Error) bool {
		rest, ok := strings.CutPrefix(e.Path, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

func (d *decoder) needOne(v value) {
	if !d.failed(v.path) {
		d.fail(v.path, "needs at least one entry")
	}
}

// object reads a mapping whose keys are known.
func (d *decoder) object(v value, known fields, required ...string) {
	entries, ok := d.entries(v)
	if !ok {
		return
	}
	var seen []string
	for _, e := range entries {
		seen = append(seen, e.key)
		if read, ok := known[e.key]; ok {
			read(e.value)
			continue
		}
		var names []string
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		d.failAt(e.at, e.path, "unknown key%s", suggest(e.key, names))
	}
	for _, name := range required {
		if !slices.Contains(seen, name) {
			d.fail(v.path, "key %q is missing", name)
		}
	}
}

// entries returns the keys of a mapping in file order. Of a key that occurs
// twice, the first counts.
func (d *decoder) entries(v value) ([]entry, bool) {
	node, ok := v.node.(*ast.MappingNode)
	if !ok {
		d.wrongKind(v, "a mapping")
		return nil, false
	}
	var list []entry
	for _, n := range node.Values {
		token := n.Key.GetToken()
		e := entry{key: token.Value, at: positionOf(token)}
		e.value = value{n.Value, pathJoin(v.path, e.key)}
		if i := slices.IndexFunc(list, func(o entry) bool { return o.key == e.key }); i >= 0 {
			d.failAt(e.at, e.path, "duplicate key, first in line %d", list[i].at.line)
			continue
		}
		switch n.Value.(type) {
		case *ast.MappingNode, *ast.SequenceNode:
			d.pos[e.path] = e.at // a collection is found at its key
		default:
			d.pos[e.path] = start(n.Value)
		}
		list = append(list, e)
	}
	return list, true
}

// named is entries for a mapping whose keys are names of the author's choice.
func (d *decoder) named(v value, pattern *regexp.Regexp) []entry {
	entries, _ := d.entries(v)
	for _, e := range entries {
		if !pattern.MatchString(e.key) {
			longest := 32
			if pattern == componentPattern {
				longest = 14
			}
			d.failAt(e.at, e.path, "a name is 1 to %d lower-case letters, digits and hyphens, no hyphen first", longest)
		}
	}
	return entries
}

// items returns the elements of a sequence.
func (d *decoder) items(v value) []value {
	node, ok := v.node.(*ast.SequenceNode)
	if !ok {
		d.wrongKind(v, "a list")
		return nil
	}
	var list []value
	for i, n := range node.Values {
		item := value{n, pathIndex(v.path, i)}
		d.pos[item.path] = start(n)
		list = append(list, item)
	}
	if len(list) == 0 {
		d.needOne(v)
	}
	return list
}

// start returns where a node begins.
func start(n ast.Node) position {
	token := n.GetToken() // of a block mapping, the first colon
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		token = m.Values[0].Key.GetToken()
	}
	return positionOf(token)
}

// list reads a sequence of different strings.
func (d *decoder) list(to *[]string) func(value) {
	return func(v value) {
		for _, item := range d.items(v) {
			s, ok := d.scalar(item)
			if ok && slices.Contains(*to, s) {
				d.fail(item.path, "%q is listed twice", s)
			}
			*to = append(*to, s)
		}
	}
}

// text reads a string: a scalar as it is spelled, not empty, on one line.
func (d *decoder) text(to *string) func(value) {
	return func(v value) { *to, _ = d.scalar(v) }
}

// match reads a string of a certain shape.
func (d *decoder) match(to *string, pattern *regexp.Regexp, shape string) func(value) {
	return func(v value) {
		s, ok := d.scalar(v)
		if ok && !pattern.MatchString(s) {
			d.fail(v.path, "%q is not %s", s, shape)
		}
		*to = s
	}
}

func (d *decoder) name(to *string) func(value) {
	return d.match(to, namePattern, "a name: 1 to 32 lower-case letters, digits and hyphens, no hyphen first")
}

// pkcs11 reads a PKCS#11 URI. A PIN in it is refused and not repeated.
func (d *decoder) pkcs11(to *string) func(value) {
	return func(v value) {
		s, ok := d.scalar(v)
		switch {
		case !ok:
		case strings.Contains(strings.ToLower(s), "pin-value"):
			d.fail(v.path, "a PIN does not belong in this file: remove pin-value from the URI")
		case !strings.HasPrefix(s, "pkcs11:"):
			d.fail(v.path, "is not a PKCS#11 URI: it has to start with \"pkcs11:\"")
		}
		*to = s
	}
}

// number reads an unsigned integer, decimal or hexadecimal with 0x.
func (d *decoder) number(to *uint64, low, high uint64) func(value) {
	return d.integer(to, low, high, false)
}

// size is number for a count of bytes, which may end in KiB or MiB.
func (d *decoder) size(to *uint64, low, high uint64) func(value) {
	return d.integer(to, low, high, true)
}

func (d *decoder) integer(to *uint64, low, high uint64, units bool) func(value) {
	return func(v value) {
		s, ok := d.scalar(v)
		if !ok {
			return
		}
		digits, shift := s, 0
		if units {
			if t, ok := strings.CutSuffix(s, "KiB"); ok {
				digits, shift = t, 10
			} else if t, ok := strings.CutSuffix(s, "MiB"); ok {
				digits, shift = t, 20
			}
		}
		n, err := parseUint(digits)
		switch {
		case errors.Is(err, strconv.ErrSyntax) && units:
			d.fail(v.path, "%q is not a size: write bytes in decimal or with 0x, or a number of KiB or MiB", s)
		case errors.Is(err, strconv.ErrSyntax):
			d.fail(v.path, "%q is not a number: write it in decimal or with 0x", s)
		case err != nil || n > high>>shift || n<<shift < low:
			d.fail(v.path, "%s is out of range %d to %d", s, low, high)
		default:
			*to = n << shift
		}
	}
}

// parseUint takes no sign, no underscores and no leading zeros, which YAML 1.1
// readers would take for octal.
func parseUint(s string) (uint64, error) {
	if t, ok := strings.CutPrefix(s, "0x"); ok {
		return strconv.ParseUint(t, 16, 64)
	}
	if len(s) > 1 && s[0] == '0' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(s, 10, 64)
}

// scalar returns a scalar as it is spelled: 1.10 is "1.10", true is "true".
func (d *decoder) scalar(v value) (string, bool) {
	var s string
	switch n := v.node.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		s = n.GetToken().Value
	default:
		d.wrongKind(v, "a single value on one line")
		return "", false
	}
	switch {
	case s == "":
		d.fail(v.path, "is empty")
		return "", false
	case strings.ContainsFunc(s, unicode.IsControl):
		d.fail(v.path, "contains a control character")
		return "", false
	}
	return s, true
}

func (d *decoder) wrongKind(v value, want string) {
	switch v.node.(type) {
	case *ast.NullNode:
		d.fail(v.path, "is empty")
	case *ast.MappingNode:
		d.fail(v.path, "has to be %s, not a mapping", want)
	case *ast.SequenceNode:
		d.fail(v.path, "has to be %s, not a list", want)
	case *ast.LiteralNode:
		d.fail(v.path, "has to be %s, not a block of text", want)
	default:
		d.fail(v.path, "has to be %s", want)
	}
}

// pathJoin appends a key to a path.
func pathJoin(path, key string) string {
	if path == "" {
		return pathKey(key)
	}
	return path + "." + pathKey(key)
}

// pathIndex appends the index of a list item to a path.
func pathIndex(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// pathKey is a key as it stands in a path: quoted and cut when it is not a
// plain word.
func pathKey(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return strconv.Quote(key[:min(len(key), 64)])
}

// suggest returns the hint for a name that is not in the list, or "".
func suggest(name string, list []string) string {
	best, distance := "", 3
	for _, s := range list {
		if n := editDistance(name, s); n < distance && n < len(s) {
			best, distance = s, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is the number of bytes to insert, remove or replace between two
// strings (Levenshtein), or more than 2 when their lengths say so already.
func editDistance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
