package guard

import (
	"go/ast"
	"slices"
	"testing"
)

// bans lists what library code must not refer to, where, and why. A name is
// the import path and the identifier, or the identifier alone for a builtin;
// patterns are those of path.Match on the whole name.
var bans = []struct {
	names  []string
	in     func(pkg string) bool
	reason string
}{
	{
		names:  []string{"fmt.Print", "fmt.Printf", "fmt.Println", "log.*", "os.Stdin", "os.Stdout", "os.Stderr", "print", "println"},
		in:     library,
		reason: "only the command talks to people",
	},
	{
		names:  []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "os.Setenv", "os.Unsetenv", "os.Args"},
		in:     library,
		reason: "only the command reads its surroundings",
	},
	{
		names:  []string{"os.Exit", "panic", "runtime.Goexit", "syscall.Exit"},
		in:     library,
		reason: "a library returns errors",
	},
	{
		names:  []string{"time.Now", "time.Since", "time.Until"},
		in:     library,
		reason: "the same input gives the same bytes: the time is handed in",
	},
	{
		names:  []string{"math/rand.*", "math/rand/v2.*"},
		in:     anywhere,
		reason: "randomness is for keys and nonces: crypto/rand",
	},
	{
		names:  []string{"bytes.Equal", "reflect.DeepEqual"},
		in:     comparesSecrets,
		reason: "digests, tags and keys are compared with crypto/subtle",
	},
}

// exceptions lists who may use a banned name, as "package.Declaration: name",
// each with why.
var exceptions = map[string]string{
	"bootloader/link.run.arrived: bytes.Equal":         "a simulated device is not attacked",
	"formats/payload/encrypt.unwrapAny: bytes.Equal":   "key identifiers are public",
	"formats/mcuboot.File.Trailer: bytes.Equal":        "a magic number is public",
	"hsm.parseCurve: bytes.Equal":                      "curve parameters are public",
	"hsm.publicObject.belongsTo: bytes.Equal":          "object identifiers are public",
	"internal/provision.decode: bytes.Equal":           "a line against its own encoding",
	"manifest.decoder.readCommon: bytes.Equal":         "component identifiers are public",
	"bootloader/swap.Rehearsal.run: bytes.Equal":       "whether two files are the same",
	"bootloader/swap.device.identify: bytes.Equal":     "a simulated device is not attacked",
	"bootloader/swap.layout.parseTrailer: bytes.Equal": "a magic number is public",
	"bootloader.mcu.apply: bytes.Equal":                "whether a rehearsal has to remember what a patch made",
	"manifest.decoder.compare: bytes.Equal":            "command sequences are public, and the digest is compared elsewhere",
	"manifest.Manifest.check: bytes.Equal":             "component identifiers are public",
	"sign.ParsePublicKey: bytes.Equal":                 "a public key against its own encoding",
	"sign/cose.encMode: panic":                         "constant options, at start-up",
	"testvectors.Bytes: panic":                         "a stream does not end",
	"testvectors.Stream: panic":                        "a digest is a key of AES-256",
}

func anywhere(string) bool { return true }

// library is all but the command and the one that asks our C.
func library(pkg string) bool { return pkg != "cmd/otapack" && pkg != "bootloader/c/answer" }

func comparesSecrets(pkg string) bool {
	return slices.ContainsFunc([]string{"sign", "sign/*", "manifest", "bootloader", "bootloader/*", "formats/payload/*", "formats/mcuboot", "formats/nrfdfu", "formats/sbsfu", "formats/wolfboot", "hsm", "internal/provision"},
		func(pattern string) bool { return matches(pattern, pkg) })
}

// TestCalls looks at every identifier of every non-test file.
func TestCalls(t *testing.T) {
	used := map[string]bool{}
	for _, f := range files(t) {
		for _, b := range f.banned() {
			key := f.pkg + "." + b.function + ": " + b.name
			if exceptions[key] != "" {
				used[key] = true
				continue
			}
			t.Errorf("%s: %s in %s: %s\n\tan exception is a row in internal/guard: %q", f.at(b.node.Pos()), b.name, b.function, b.reason, key)
		}
	}
	for key := range exceptions {
		if !used[key] {
			t.Errorf("the exception %q is about nothing: remove it", key)
		}
	}
}

// TestCallsRefuses feeds the check what it exists to refuse.
func TestCallsRefuses(t *testing.T) {
	const head = "package p\nimport (\"bytes\"; \"fmt\"; out \"log\"; \"math/rand/v2\"; \"os\"; \"time\"; . \"strings\")\n"
	for _, c := range []struct {
		pkg, body string
		want      []string
	}{
		{"sign", `func f() { fmt.Println() }`, []string{"f: fmt.Println"}},
		{"sign", `func (t *T) f() { out.Fatal() }`, []string{"T.f: log.Fatal"}},
		{"sign", `var now = time.Now`, []string{"now: time.Now"}},
		{"sign", `func f() { panic(os.Getenv("A")) }`, []string{"f: panic", "f: os.Getenv"}},
		{"sign", `func f(a, b []byte) bool { return bytes.Equal(a, b) }`, []string{"f: bytes.Equal"}},
		{"formats/bundle", `func f(a, b []byte) bool { return bytes.Equal(a, b) }`, nil},
		{"cmd/otapack", `func f() { fmt.Println(); os.Exit(rand.IntN(2)) }`, []string{"f: math/rand/v2.IntN"}},
		{"sign", `func f() { fmt.Sprint(); var os T; os.Exit() }`, nil},
		{"sign", `func f(panic func()) { panic() }`, nil},
	} {
		var got []string
		for _, b := range snippet(t, c.pkg, head+c.body).banned() {
			got = append(got, b.function+": "+b.name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %s: got %q, want %q", c.pkg, c.body, got, c.want)
		}
	}
}

// TestNoInit keeps packages from doing work before main, and from hiding where
// a name comes from.
func TestNoInit(t *testing.T) {
	for _, f := range files(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init", f.at(fn.Pos()))
			}
		}
		if p, ok := f.imports()["."]; ok {
			t.Errorf("%s: dot import of %s", f.at(f.Name.Pos()), p)
		}
	}
}

type banned struct {
	node                   ast.Node
	function, name, reason string
}

// banned lists the uses of banned names. An identifier that is declared in the
// file is not the import or builtin of the same name.
func (f file) banned() []banned {
	var found []banned
	imports := f.imports()
	look := func(function string, name string, n ast.Node) {
		for _, b := range bans {
			if b.in(f.pkg) && slices.ContainsFunc(b.names, func(pattern string) bool { return matches(pattern, name) }) {
				found = append(found, banned{n, function, name, b.reason})
			}
		}
	}
	for _, d := range f.Decls {
		function := declared(d)
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Obj == nil && imports[x.Name] != "" {
					look(function, imports[x.Name]+"."+n.Sel.Name, n)
				}
			case *ast.CallExpr:
				if x, ok := n.Fun.(*ast.Ident); ok && x.Obj == nil {
					look(function, x.Name, n)
				}
			}
			return true
		})
	}
	return found
}

// declared is what a declaration is called in exceptions: Func, Type.Method, or
// the first name of a group of variables.
func declared(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return functionName(d)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				return v.Names[0].Name
			}
		}
	}
	return ""
}

// functionName is Func or Type.Method.
func functionName(fn *ast.FuncDecl) string {
	if t := receiver(fn); t != "" {
		return t + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// receiver is the name of a method's type, "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
