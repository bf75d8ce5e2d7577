// Package guard keeps the rules of this module that no compiler or linter
// knows. It has tests only:
//
//   - who may import whom, and what builds without cgo (layering_test.go);
//   - which calls stay out of libraries: printing, the environment, the clock,
//     exit, panic, comparisons of secrets that stop early (calls_test.go);
//   - no "return x, err" where err was already found to be nil, because that
//     reports success (returns_test.go);
//   - a comment on every exported name (docs_test.go);
//   - no path of somebody's machine in a tracked file (words_test.go).
//
// The rules are tables at the head of each file. A new package, or a
// well-founded exception, is one row with its reason.
package guard
