package guard

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."                      // of the module, from this package
	module = "github.com/otapack/otapack" // import path of the root

	cbor  = "github.com/fxamacker/cbor/v2"
	cobra = "github.com/spf13/cobra"
)

// A layer says what a package may import beside the standard library: packages
// of this module, and other modules. Package patterns are those of path.Match,
// so that "formats/*" does not reach into formats/payload.
type layer struct {
	pkg     string
	own     []string
	modules []string
}

// forTests lists the packages that tests of every layer may import.
var forTests = []string{module + "/testvectors", module + "/testvectors/verdicts", module + "/internal/forge", module + "/internal/p11fault", module + "/internal/valgrind"}

// layers has the rule of every package; the first row that matches counts.
var layers = []layer{
	{pkg: "testvectors"},
	{pkg: "testvectors/verdicts"},

	{pkg: "sign"},
	{pkg: "sign/verdict"},
	{pkg: "sign/strictcbor", own: []string{"sign/verdict"}},
	{pkg: "sign/cose", own: []string{"sign", "sign/verdict", "sign/strictcbor"}, modules: []string{cbor}},

	// What a device undoes before flashing knows nothing of keys and codecs.
	// Delta formats differ; what two images have in common is found once.
	{pkg: "formats/payload/delta/match"},
	{pkg: "formats/payload/delta/lz"},
	// Published formats, with our own search for what two images have in common.
	{pkg: "formats/payload/delta/*", own: []string{"formats/payload/delta/match", "formats/payload/delta/lz"}},
	{pkg: "formats/payload/delta", own: []string{"formats/payload/delta/match"}},
	{pkg: "formats/payload/*", modules: []string{"github.com/klauspost/compress"}},
	{pkg: "formats", own: []string{"sign", "sign/verdict"}},
	{pkg: "formats/nrfdfu", own: []string{"formats", "formats/firmware", "sign", "sign/verdict"}},
	{pkg: "formats/*", own: []string{"formats", "formats/payload/*", "sign", "sign/cose", "sign/verdict"}},

	// A device team can port these two without the rest.
	{pkg: "manifest", own: []string{"sign", "sign/*"}, modules: []string{cbor}},
	{pkg: "bootloader/flash"},
	{pkg: "bootloader/swap", own: []string{"bootloader/flash", "formats/mcuboot", "sign/verdict"}},
	{pkg: "bootloader", own: []string{"bootloader/flash", "bootloader/link", "manifest", "formats", "formats/*", "formats/payload/*", "formats/payload/delta/*", "sign", "sign/*"}},
	{pkg: "bootloader/link", own: []string{"formats/chunk", "sign/verdict"}},

	{pkg: "hsm", own: []string{"sign"}, modules: []string{"github.com/ThalesGroup/crypto11", "github.com/miekg/pkcs11"}},

	{pkg: "internal/atomicfile"},
	{pkg: "internal/census", own: []string{"manifest"}},
	{pkg: "bootloader/c/answer", own: []string{"internal/ctest", "internal/vectors", "manifest"}},
	{pkg: "internal/ctest", own: []string{"bootloader", "formats/payload/encrypt", "internal/vectors", "manifest", "sign", "sign/cose", "sign/strictcbor", "testvectors/verdicts"}, modules: []string{cbor}}, // most of it in tests
	{pkg: "internal/ceremony", own: []string{"sign", "sign/*"}},
	{pkg: "internal/forge", own: []string{"sign"}},
	{pkg: "internal/guard"},
	// Factory secrets are made by what the command hands in.
	{pkg: "internal/provision", own: []string{"formats/payload/encrypt", "internal/atomicfile", "sign/verdict"}},
	{pkg: "internal/p11fault"},
	{pkg: "internal/valgrind"},
	{pkg: "internal/config", modules: []string{"github.com/goccy/go-yaml"}},
	{pkg: "internal/term", modules: []string{"golang.org/x/term"}},
	// The pipeline is handed signers; it never opens a token and never asks.
	{pkg: "internal/release", own: []string{
		"bootloader", "formats", "formats/*", "formats/payload/*", "formats/payload/delta/*", "internal/atomicfile", "internal/census", "internal/config", "manifest", "sign", "sign/*",
	}},

	// Published verdicts are answered by the reference verifiers, without a release.
	{pkg: "internal/vectors", own: []string{
		"bootloader", "formats", "formats/*", "formats/payload/*", "formats/payload/delta/*", "manifest", "sign", "sign/*", "testvectors/verdicts",
	}},

	{pkg: "cmd/otapack", own: []string{"*", "*/*", "*/*/*", "*/*/*/*"}, modules: []string{cobra, "github.com/spf13/pflag", cbor}},
}

// TestLayering compares the direct imports of every package with its row. A
// package's tests keep to the same row, plus forTests; which other modules
// they use is free.
func TestLayering(t *testing.T) {
	seen := map[string]bool{}
	// Files for cgo and files for its absence are two sets of imports.
	for _, cgo := range []string{"CGO_ENABLED=1", "CGO_ENABLED=0"} {
		for _, p := range list(t, cgo) {
			i := slices.IndexFunc(layers, func(l layer) bool { return matches(l.pkg, p.name()) })
			if i < 0 {
				t.Errorf("%s has no rule: add a row to layers in internal/guard", p.name())
				continue
			}
			seen[layers[i].pkg] = true
			for _, bad := range layers[i].violations(p) {
				t.Errorf("%s (%s): %s", p.name(), cgo, bad)
			}
		}
	}
	for _, l := range layers {
		if !seen[l.pkg] {
			t.Errorf("the rule for %s is about no package: remove the row", l.pkg)
		}
	}
}

// TestLayeringRefuses feeds the check what it exists to refuse.
func TestLayeringRefuses(t *testing.T) {
	l := layer{pkg: "formats/*", own: []string{"sign", "formats/payload/*"}, modules: []string{cbor}}
	for _, c := range []struct {
		imports, tests []string
		want           int
	}{
		{imports: []string{"bytes", "encoding/json", module + "/sign", module + "/formats/payload/encrypt", cbor, cbor + "/sub"}},
		{tests: []string{module + "/testvectors", module + "/formats/bundle", "example.com/any"}},
		{imports: []string{module + "/sign/cose"}, want: 1},
		{imports: []string{module + "/formats/payload/encrypt/deeper"}, want: 1},
		{imports: []string{module}, want: 1},
		{imports: []string{cbor + "x", "example.com/any"}, want: 2},
		{imports: []string{module + "/testvectors"}, want: 1},
		{tests: []string{module + "/hsm"}, want: 1},
	} {
		p := listed{ImportPath: module + "/formats/bundle", Imports: c.imports, XTestImports: c.tests}
		if got := l.violations(p); len(got) != c.want {
			t.Errorf("%q and tests %q: got %q, want %d violations", c.imports, c.tests, got, c.want)
		}
	}
}

// TestBuildsWithoutCgo keeps the verifier, and the command less its tokens,
// free of C: sign, manifest, formats and bootloader must run where no PKCS#11
// module can be loaded.
func TestBuildsWithoutCgo(t *testing.T) {
	build := exec.CommandContext(t.Context(), "go", "build", "./...")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("CGO_ENABLED=0 go build ./...: %v\n%s", err, out)
	}
}

// violations lists the imports of p that its layer does not allow.
func (l layer) violations(p listed) []string {
	var bad []string
	for _, imp := range p.Imports {
		if !l.allows(imp) {
			bad = append(bad, "imports "+imp)
		}
	}
	for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
		if own(imp) && imp != p.ImportPath && !slices.Contains(forTests, imp) && !l.allows(imp) {
			bad = append(bad, "its tests import "+imp)
		}
	}
	return bad
}

func (l layer) allows(imp string) bool {
	if own(imp) {
		return slices.ContainsFunc(l.own, func(pattern string) bool { return matches(pattern, strings.TrimPrefix(imp, module+"/")) })
	}
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".") || // the standard library
		slices.ContainsFunc(l.modules, func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") })
}

// own reports whether an import path is one of this module.
func own(imp string) bool { return imp == module || strings.HasPrefix(imp, module+"/") }

func matches(pattern, pkg string) bool {
	ok, err := path.Match(pattern, pkg)
	return ok && err == nil
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	CgoFiles        []string
	IgnoredGoFiles  []string
	Imports         []string
	TestImports     []string
	XTestImports    []string
}

// name is the import path below the module's.
func (p listed) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list returns every package of the module.
func list(t *testing.T, env ...string) []listed {
	t.Helper()
	watchTree(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list names no package")
	}
	return all
}
