package main

import (
	"sync"

	"github.com/golangci/misspell"
	"github.com/golangci/unconvert"
	"golang.org/x/tools/go/analysis"
	"honnef.co/go/tools/unused"
)

// Three checks exist as programs or plain functions only; these are their
// analyzers.

var misspelled = &analysis.Analyzer{
	Name: "misspell",
	Doc:  "commonly misspelled English words",
	Run: func(pass *analysis.Pass) (any, error) {
		for _, f := range pass.Files {
			file := pass.Fset.File(f.FileStart)
			text, err := pass.ReadFile(file.Name())
			if err != nil {
				return nil, err
			}
			_, found := dictionary().Replace(string(text))
			for _, d := range found {
				pass.Reportf(file.LineStart(d.Line), "%q is a misspelling of %q", d.Original, d.Corrected)
			}
		}
		return nil, nil
	},
}

var dictionary = sync.OnceValue(func() *misspell.Replacer {
	r := misspell.New()
	r.Compile()
	return r
})

var unconverted = &analysis.Analyzer{
	Name: "unconvert",
	Doc:  "conversions of a value to the type it has",
	Run: func(pass *analysis.Pass) (any, error) {
		for _, p := range unconvert.Run(pass) {
			for _, f := range pass.Files {
				if file := pass.Fset.File(f.FileStart); file.Name() == p.Filename {
					pass.Reportf(file.LineStart(p.Line), "unnecessary conversion")
				}
			}
		}
		return nil, nil
	},
}

var unusedCode = &analysis.Analyzer{
	Name:     "U1000",
	Doc:      "unexported names that nothing uses",
	Requires: []*analysis.Analyzer{unused.Analyzer.Analyzer},
	Run: func(pass *analysis.Pass) (any, error) {
		for _, o := range pass.ResultOf[unused.Analyzer.Analyzer].(unused.Result).Unused {
			for _, f := range pass.Files {
				if file := pass.Fset.File(f.FileStart); file.Name() == o.Position.Filename {
					pass.Reportf(file.Pos(o.Position.Offset), "%s %s is unused", o.Kind, o.Name)
				}
			}
		}
		return nil, nil
	},
}
