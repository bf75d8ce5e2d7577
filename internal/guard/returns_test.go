package guard

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// returnsChecked are the packages in which a nil error means "accepted".
var returnsChecked = []string{"sign", "sign/*", "manifest", "formats", "formats/*", "formats/payload/*", "bootloader", "bootloader/*", "hsm"}

// TestReturns refuses "return x, err" where err has been tested already and is
// nil: gh attestation verify once reported success that way, with nothing
// verified (cli/cli issue 10418), and general linters do not see it. An error
// variable may be returned inside a condition that says that it is not nil, or
// directly after the statement that assigned it. Likewise "return nil, nil".
func TestReturns(t *testing.T) {
	n := 0
	for _, f := range files(t) {
		if !slices.ContainsFunc(returnsChecked, func(pattern string) bool { return matches(pattern, f.pkg) }) {
			continue
		}
		n++
		for _, pos := range f.badReturns() {
			t.Errorf("%s: returns an error that may be nil here", f.at(pos))
		}
	}
	if n == 0 {
		t.Error("no file was looked at")
	}
}

// TestReturnsRefuses feeds the check what it exists to refuse, and the idioms
// that it must leave alone.
func TestReturnsRefuses(t *testing.T) {
	const before = `x, err := g(); if err != nil { return nil, err }; `
	for body, bad := range map[string]bool{
		before + `if len(x) == 0 { return nil, err }; return x, nil`:                       true, // gh
		before + `return x, err`:                                                           true,
		before + `if x[0] != 1 { log(x); return x, err }; return x, nil`:                   true,
		before + `for range x { return nil, err }; return x, nil`:                          true,
		before + `defer func() { h() }(); return nil, err`:                                 true,
		`x, err := g(); if err == nil { return nil, err }; return x, nil`:                  true,
		`x, err := g(); if err != nil { h() } else { return nil, err }; return x, nil`:     true,
		`x, err := g(); if err != nil || len(x) == 0 { return nil, err }; return x, nil`:   true,
		`x, err := g(); if !errors.Is(err, io.EOF) { return nil, err }; return x, nil`:     true,
		`x, err := g(); if errors.Is(err, nil) { return nil, err }; return x, nil`:         true,
		`x, err := g(); y, other := g(); if other != nil { return y, err }; return x, nil`: true,
		`x, err := g(); h(); return x, err`:                                                true,
		`return nil, nil`:                                                                  true,
		`return func() ([]byte, error) { ` + before + `return x, err }()`:                  true,

		before + `return x, nil`:                                                                            false,
		`x, err := g(); return x, err`:                                                                      false,
		`var x []byte; var err error; x, err = g(); return x, err`:                                          false,
		`if x, err := g(); err != nil { h(); return x, err }; return h()`:                                   false,
		`x, err := g(); if len(x) == 0 && err != nil { return nil, err }; return x, nil`:                    false,
		`x, err := g(); if errors.Is(err, io.EOF) || err == errOdd { return nil, err }; return x, nil`:      false,
		`x, err := g(); if err == nil { return x, nil } else { return nil, err }`:                           false,
		`x, err := g(); switch { case err != nil: return nil, err }; return x, nil`:                         false,
		`x, err := g(); if e, ok := errors.AsType[*E](err); ok { log(e); return nil, err }; return x, nil`:  false,
		`x, err := g(); if err != nil { for range 3 { if len(x) > 2 { return nil, err } } }; return x, nil`: false,
		`return nil, ErrOdd`: false,
		`if err := h(); err != nil { return nil, fmt.Errorf("x: %w", err) }; return g()`:                              false,
		`f := func(r []byte) []byte { return r }; x, err := g(); if err != nil { return nil, err }; return f(x), nil`: false,
	} {
		f := snippet(t, "sign", "package p\nvar ErrOdd error\nfunc f() ([]byte, error) {"+body+"}")
		if got := len(f.badReturns()) > 0; got != bad {
			t.Errorf("refused %v, want %v: %s", got, bad, body)
		}
	}
}

// badReturns lists the returns of an error variable outside a condition that
// makes it non-nil.
func (f file) badReturns() []token.Pos {
	var bad []token.Pos
	var stack []ast.Node
	ast.Inspect(f.File, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, n)
		if r, ok := n.(*ast.ReturnStmt); ok && returnsError(stack) && len(r.Results) > 0 {
			if id, ok := r.Results[len(r.Results)-1].(*ast.Ident); ok && !settled(id, r, stack) {
				bad = append(bad, r.Pos())
			}
		}
		return true
	})
	return bad
}

// returnsError reports whether the innermost function has error as last result.
func returnsError(stack []ast.Node) bool {
	for _, n := range slices.Backward(stack) {
		var results *ast.FieldList
		switch n := n.(type) {
		case *ast.FuncDecl:
			results = n.Type.Results
		case *ast.FuncLit:
			results = n.Type.Results
		default:
			continue
		}
		if results == nil {
			return false
		}
		id, ok := results.List[len(results.List)-1].Type.(*ast.Ident)
		return ok && id.Name == "error"
	}
	return false
}

// settled reports whether the last result of a return is known not to be a nil
// error that a check has already seen.
func settled(id *ast.Ident, r *ast.ReturnStmt, stack []ast.Node) bool {
	if id.Name == "nil" {
		return len(r.Results) == 1 || !slices.ContainsFunc(r.Results[:1], func(e ast.Expr) bool { return isIdent(e, "nil") })
	}
	if ast.IsExported(id.Name) || id.Obj == nil { // a sentinel; package-level in another file
		return true
	}
	child := ast.Node(r)
	for _, n := range slices.Backward(stack[:len(stack)-1]) {
		switch n := n.(type) {
		case *ast.IfStmt:
			if child == n.Body && (implies(n.Cond, id.Name, true) || unpacks(n, id.Name)) || child == n.Else && implies(n.Cond, id.Name, false) {
				return true
			}
		case *ast.CaseClause:
			if slices.ContainsFunc(n.List, func(e ast.Expr) bool { return implies(e, id.Name, true) }) || follows(n.Body, child, id.Name) {
				return true
			}
		case *ast.BlockStmt:
			if follows(n.List, child, id.Name) {
				return true
			}
		case *ast.FuncDecl, *ast.FuncLit:
			return false
		}
		child = n
	}
	return false
}

// follows reports whether the statement before a return assigns the variable.
func follows(list []ast.Stmt, child ast.Node, name string) bool {
	i := slices.IndexFunc(list, func(s ast.Stmt) bool { return s == child })
	if i < 1 {
		return false
	}
	if _, ok := child.(*ast.ReturnStmt); !ok {
		return false
	}
	a, ok := list[i-1].(*ast.AssignStmt)
	return ok && slices.ContainsFunc(a.Lhs, func(e ast.Expr) bool { return isIdent(e, name) })
}

// implies reports whether a condition that is true (or false, as truth says)
// means that the variable is not nil.
func implies(cond ast.Expr, name string, truth bool) bool {
	switch c := cond.(type) {
	case *ast.ParenExpr:
		return implies(c.X, name, truth)
	case *ast.UnaryExpr:
		return c.Op == token.NOT && implies(c.X, name, !truth)
	case *ast.BinaryExpr:
		x, y := c.X, c.Y
		switch c.Op {
		case token.LAND, token.LOR:
			if (c.Op == token.LAND) == truth {
				return implies(x, name, truth) || implies(y, name, truth)
			}
			return implies(x, name, truth) && implies(y, name, truth)
		case token.EQL, token.NEQ:
			if !isIdent(x, name) {
				x, y = y, x
			}
			return isIdent(x, name) && (c.Op == token.EQL) == (truth != isIdent(y, "nil"))
		}
	case *ast.CallExpr: // errors.Is(err, target), errors.As(err, &target)
		s, ok := c.Fun.(*ast.SelectorExpr)
		return ok && truth && isIdent(s.X, "errors") && len(c.Args) == 2 && isIdent(c.Args[0], name) && !isIdent(c.Args[1], "nil")
	}
	return false
}

// unpacks reports whether an if statement reads "e, ok := errors.AsType[T](err); ok".
func unpacks(n *ast.IfStmt, name string) bool {
	a, ok := n.Init.(*ast.AssignStmt)
	if !ok || len(a.Lhs) != 2 || len(a.Rhs) != 1 {
		return false
	}
	call, ok := a.Rhs[0].(*ast.CallExpr)
	if !ok || len(call.Args) != 1 || !isIdent(call.Args[0], name) {
		return false
	}
	found, ok := a.Lhs[1].(*ast.Ident)
	if !ok {
		return false
	}
	generic, ok := call.Fun.(*ast.IndexExpr)
	if !ok {
		return false
	}
	s, ok := generic.X.(*ast.SelectorExpr)
	return ok && isIdent(s.X, "errors") && isIdent(n.Cond, found.Name)
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
