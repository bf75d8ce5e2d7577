package guard

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A file is one parsed Go file that is not a test.
type file struct {
	*ast.File
	fset *token.FileSet
	pkg  string // below the module, for example "sign/cose"
}

// files parses the non-test files of every package, those of other build tags
// included.
func files(t *testing.T) []file {
	t.Helper()
	var all []file
	fset := token.NewFileSet()
	for _, p := range list(t) {
		for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.IgnoredGoFiles} {
			for _, name := range names {
				if strings.HasSuffix(name, "_test.go") {
					continue
				}
				f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, file{f, fset, p.name()})
			}
		}
	}
	return all
}

// watchTree reads every folder of the module. Files are named here by go list
// and git, whose reads go test does not see: without this a cached result would
// outlive a new file or a changed import.
func watchTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// snippet parses the source of a function-level example.
func snippet(t *testing.T, pkg, source string) file {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "snippet.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file{f, fset, pkg}
}

// at formats a position as file:line, the file without its directories.
func (f file) at(pos token.Pos) string {
	p := f.fset.Position(pos)
	return f.pkg + "/" + filepath.Base(p.Filename) + ":" + strconv.Itoa(p.Line)
}

// imports maps the name that each import has in the file to its path.
func (f file) imports() map[string]string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" { // math/rand/v2
			name = filepath.Base(filepath.Dir(path))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	return names
}
