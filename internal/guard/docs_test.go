package guard

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// TestExportedNamesAreDocumented asks for a comment on every exported name of a
// library. Constants and variables may have it on their line or their group;
// Error needs none.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range files(t) {
		if f.Name.Name == "main" {
			continue
		}
		for _, name := range f.undocumented() {
			t.Errorf("%s: %s has no comment", f.pkg, name)
		}
	}
}

func TestUndocumented(t *testing.T) {
	f := snippet(t, "sign", `package p

func A() {}

// B is documented.
func B() {}

type c int

func (c) D()            {}
func (E) Error() string { return "" }
func (*E) F()           {}

type E int

// The group has one.
var (
	G int
	H int // and this line
)

const (
	I = 1
	J = 2 // two
)

// This one says nothing about K.
type (
	K int
	// L is documented.
	L int
)
`)
	if got, want := f.undocumented(), []string{"A", "E.F", "E", "I", "K"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func (f file) undocumented() []string {
	var names []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && d.Name.Name != "Error" && (d.Recv == nil || ast.IsExported(receiver(d))) {
				names = append(names, functionName(d))
			}
		case *ast.GenDecl:
			if d.Doc != nil && (d.Tok != token.TYPE || !d.Lparen.IsValid()) {
				continue
			}
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Doc == nil && spec.Name.IsExported() {
						names = append(names, spec.Name.Name)
					}
				case *ast.ValueSpec:
					if spec.Doc == nil && spec.Comment == nil && spec.Names[0].IsExported() {
						names = append(names, spec.Names[0].Name)
					}
				}
			}
		}
	}
	return names
}
