// Command lint is every analyzer of the project in one vet tool:
//
//	go vet -vettool=bin/lint ./...
//
// Run under go vet it sees each package once, with its in-package tests, reads
// dependencies from export data, and unchanged packages come from the build
// cache. It lives in a module of its own so that the product's go.mod does not
// list linters.
//
// A finding that is wrong is silenced where it stands, with its reason:
//
//	//lint:ignore SA1019 the old constant is what the file format stores
package main

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"

	"github.com/gordonklaus/ineffassign/pkg/ineffassign"
	"github.com/gostaticanalysis/nilerr"
	"github.com/kisielk/errcheck/errcheck"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
)

func main() {
	errcheck.DefaultExcludedSymbols = append(errcheck.DefaultExcludedSymbols, sticky...)
	analyzers := []*analysis.Analyzer{
		errcheck.Analyzer,
		errorlint.NewAnalyzer(),
		ineffassign.Analyzer,
		nilerr.Analyzer,
		nilness.Analyzer,
		misspelled,
		unconverted,
		unusedCode,
	}
	for _, a := range slices.Concat(simple.Analyzers, staticcheck.Analyzers, stylecheck.Analyzers) {
		if !a.Doc.NonDefault || slices.Contains(extra, a.Analyzer.Name) {
			analyzers = append(analyzers, a.Analyzer)
		}
	}
	for _, a := range analyzers {
		silence(a)
	}
	unitchecker.Main(analyzers...)
}

// extra are staticcheck's checks that are off by default and kept here: a
// package comment, the form of doc comments, one receiver name per type.
var extra = []string{"ST1000", "ST1016", "ST1020", "ST1021", "ST1022"}

// sticky are the calls whose error is not lost when the caller drops it:
// bufio keeps it for Flush. Text printed for people has nowhere to report to.
var sticky = []string{
	"(*bufio.Writer).Write", "(*bufio.Writer).WriteByte", "(*bufio.Writer).WriteRune", "(*bufio.Writer).WriteString",
	"fmt.Fprint", "fmt.Fprintf", "fmt.Fprintln",
}

// silence drops an analyzer's findings that a lint:ignore comment names, and
// errcheck's in a deferred call: closing a file that was only read, or removing
// a temporary one after the error that matters is already on its way.
func silence(a *analysis.Analyzer) {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		directives := lint.ParseDirectives(pass.Files, pass.Fset)
		quiet := *pass
		quiet.Report = func(d analysis.Diagnostic) {
			if !ignored(pass, directives, a.Name, d.Pos) && !(a == errcheck.Analyzer && deferred(pass, d.Pos)) {
				pass.Report(d)
			}
		}
		return run(&quiet)
	}
}

// ignored reports whether a comment on the same line, or directly above the
// line, reads lint:ignore, the check's name (or several, by commas) and a reason.
func ignored(pass *analysis.Pass, directives []lint.Directive, check string, at token.Pos) bool {
	line := pass.Fset.Position(at)
	return slices.ContainsFunc(directives, func(d lint.Directive) bool {
		if d.Command != "ignore" || len(d.Arguments) < 2 || !slices.Contains(strings.Split(d.Arguments[0], ","), check) {
			return false
		}
		node := pass.Fset.Position(d.Node.Pos())
		return node.Filename == line.Filename && node.Line == line.Line
	})
}

// deferred reports whether a position, as errcheck gives it, is the opening
// parenthesis of a defer statement's call.
func deferred(pass *analysis.Pass, at token.Pos) bool {
	found := false
	for _, f := range pass.Files {
		if at < f.FileStart || at > f.FileEnd {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if d, ok := n.(*ast.DeferStmt); ok && d.Call.Lparen == at {
				found = true
			}
			return !found
		})
	}
	return found
}
