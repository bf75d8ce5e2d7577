package guard

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// returnsChecked are the packages in which a nil error means "accepted".
var returnsChecked = []string{"sign", "sign/*", "manifest", "formats", "formats/*", "formats/payload/*", "bootloader", "bootloader/*", "hsm"}

// returnsNothing lists the functions that may return nil, nil, and what that
// means.
var returnsNothing = map[string]string{
	"formats/payload/encrypt.WrappedKey.ephemeralKey": "no ephemeral key in this kind of recipient",
	"formats/payload/encrypt.device.Unwrap":           "not my recipient, try the next",
	"formats/payload/encrypt.KEK.Unwrap":              "not my recipient, try the next",
	"formats/payload/encrypt.senderView.Unwrap":       "not my recipient, try the next",
}

// TestReturns refuses success by accident: a return of an error variable that
// is known to be nil, or that may be nil beside results that are all zero, and
// "return nil, nil".
//
// gh attestation verify exited 0 that way with nothing verified: the list was
// empty, and err had been tested further up (cli/cli issue 10418). General
// linters do not see it.
func TestReturns(t *testing.T) {
	n := 0
	used := map[string]bool{}
	for _, f := range files(t) {
		if !slices.ContainsFunc(returnsChecked, func(pattern string) bool { return matches(pattern, f.pkg) }) {
			continue
		}
		n++
		for _, bad := range f.badReturns() {
			key := f.pkg + "." + bad.function
			if bad.nothing && returnsNothing[key] != "" {
				used[key] = true
				continue
			}
			t.Errorf("%s: %s returns without a result and without an error", f.at(bad.pos), bad.function)
		}
	}
	if n == 0 {
		t.Error("no file was looked at")
	}
	for key := range returnsNothing {
		if !used[key] {
			t.Errorf("the exception %q is about nothing: remove it", key)
		}
	}
}

// TestReturnsRefuses feeds the check what it exists to refuse, and the idioms
// that it leaves alone.
func TestReturnsRefuses(t *testing.T) {
	const tested = `x, err := g(); if err != nil { return nil, err }; `
	for body, bad := range map[string]bool{
		tested + `if len(x) == 0 { return nil, err }; return x, nil`:                                true, // gh
		tested + `if x[0] != 1 { log(x); return x, err }; return x, nil`:                            true,
		tested + `for range x { return nil, err }; return x, nil`:                                   true,
		tested + `h(); return x, err`:                                                               true,
		tested + `if x, err := g(); err == nil { return x, nil }; return nil, err`:                  true, // the outer err
		`x, err := g(); if err == nil { return nil, err }; return x, nil`:                           true,
		`x, err := g(); if err != nil { h() } else { return nil, err }; return x, nil`:              true,
		`x, err := g(); if err != nil || len(x) == 0 { return nil, err }; return x, nil`:            true,
		`x, err := g(); if len(x) == 0 { return nil, err }; return x, err`:                          true,
		`x, err := g(); if !errors.Is(err, io.EOF) { return nil, err }; return x, nil`:              true,
		`x, err := g(); if errors.Is(err, nil) { return nil, err }; return x, nil`:                  true,
		`x, err := g(); y, other := g(); if other != nil { return nil, err }; return x, other`:      true,
		`x, err := g(); switch { case err != nil: return nil, err }; h(); return nil, err`:          true,
		`x, err := g(); switch { case err != nil: h(); case x == nil: return nil, err }; h()`:       true,
		`x, err := g(); switch len(x) { case 0: return nil, err }; return x, err`:                   true,
		`x, err := g(); if e, ok := errors.AsType[*E](err); !ok { return nil, err }; return x, nil`: true,
		`x, err := g(); if _, ok := x.(T); ok { return nil, err }; return x, nil`:                   true,
		`var err error; h(); return nil, err`:                                                       true,
		`return nil, nil`:                                                                           true,
		`return func() ([]byte, error) { ` + tested + `return x, err }()`:                           true,

		tested + `return x, nil`:            false,
		`x, err := g(); h(); return x, err`: false,
		`x, err := g(); if errors.Is(err, io.EOF) { return x, nil }; return nil, err`:                       false,
		`var x []byte; var err error; x, err = g(); return nil, err`:                                        false,
		`var err error; for err == nil { err = h() }; return nil, err`:                                      false,
		`if x, err := g(); err != nil { h(); return x, err }; return h()`:                                   false,
		`x, err := g(); if err == nil { return x, nil }; h(); return nil, err`:                              false,
		`x, err := g(); if err == nil { return x, nil } else { return nil, err }`:                           false,
		`x, err := g(); if len(x) == 0 && err != nil { return nil, err }; return x, nil`:                    false,
		`x, err := g(); if errors.Is(err, io.EOF) || err == errOdd { return nil, err }; return x, nil`:      false,
		`x, err := g(); switch { case err != nil: return nil, err }; return x, nil`:                         false,
		`x, err := g(); switch { case err == nil: return x, nil; case x == nil: return nil, err }; return`:  false,
		`x, err := g(); if err != nil { for range 3 { if len(x) > 2 { return nil, err } } }; return x, nil`: false,
		`x, err := g(); if x == nil { return x[:0:0], err }; return x, nil`:                                 false,
		`x, err := g(); if e, ok := errors.AsType[*E](err); ok { log(e); return nil, err }; return x, nil`:  false,
		`return nil, ErrOdd`: false,
		`return nil, errOdd`: false,
		`if err := h(); err != nil { return nil, fmt.Errorf("x: %w", err) }; return g()`:           false,
		`f := func() []byte { return nil }; x, err := g(); if f() == nil { return f(), err }; h()`: false,
	} {
		f := snippet(t, "sign", "package p\nvar errOdd error\nfunc f() ([]byte, error) {"+body+"}")
		if got := len(f.badReturns()) > 0; got != bad {
			t.Errorf("refused %v, want %v: %s", got, bad, body)
		}
	}
}

type badReturn struct {
	pos      token.Pos
	function string
	nothing  bool // return nil, nil
}

func (f file) badReturns() []badReturn {
	var bad []badReturn
	for _, d := range f.Decls {
		var stack []ast.Node
		ast.Inspect(d, func(n ast.Node) bool {
			if n == nil {
				stack = stack[:len(stack)-1]
				return true
			}
			stack = append(stack, n)
			r, ok := n.(*ast.ReturnStmt)
			if !ok || len(r.Results) == 0 || !returnsError(stack) {
				return true
			}
			last := len(r.Results) - 1
			id, ok := r.Results[last].(*ast.Ident)
			zero := !slices.ContainsFunc(r.Results[:last], func(e ast.Expr) bool { return !isZero(e) })
			switch {
			case !ok:
			case id.Name == "nil":
				if last > 0 && zero && isIdent(r.Results[0], "nil") {
					bad = append(bad, badReturn{r.Pos(), declared(d), true})
				}
			case id.Obj == nil || id.Obj.Pos() < d.Pos() || id.Obj.Pos() > d.End(): // a sentinel of this package
			default:
				if what := known(variable(id.Obj.Pos()), stack); what == isNil || what == maybeNil && zero {
					bad = append(bad, badReturn{pos: r.Pos(), function: declared(d)})
				}
			}
			return true
		})
	}
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
		return results != nil && isIdent(results.List[len(results.List)-1].Type, "error")
	}
	return false
}

// A variable is told from others of its name by where it is declared.
type variable token.Pos

// A fact is what is known of an error variable at a return.
type fact int

const (
	unknown  fact = iota // nothing said
	isNil                // tested and found nil
	notNil               // tested and found not nil
	asIs                 // passed on untested, whatever it is
	maybeNil             // untested, under a condition about something else
)

// known walks from a return outwards and upwards to the statement that gave the
// variable its value, and collects what conditions on the way say.
func known(v variable, stack []ast.Node) fact {
	untested := asIs
	child := stack[len(stack)-1]
	for i := len(stack) - 2; i >= 0; i-- {
		what, list := unknown, []ast.Stmt(nil)
		switch n := stack[i].(type) {
		case *ast.BlockStmt:
			list = n.List
		case *ast.IfStmt:
			what = says(condition(n), v, child == n.Body)
			untested, list = maybeNil, []ast.Stmt{n.Init, nil}
		case *ast.CaseClause:
			list = n.Body
		case *ast.SwitchStmt:
			if n.Tag == nil {
				what = clauses(n, stack[i+2], v)
			}
			untested, list = maybeNil, []ast.Stmt{n.Init, nil}
		case *ast.ForStmt, *ast.RangeStmt, *ast.TypeSwitchStmt, *ast.SelectStmt:
			untested = maybeNil
		case *ast.FuncDecl, *ast.FuncLit:
			return untested
		}
		if what != unknown {
			return what
		}
		// The statements before, nearest first.
		before := slices.IndexFunc(list, func(s ast.Stmt) bool { return s == nil || s == child })
		for _, s := range slices.Backward(list[:max(before, 0)]) {
			if what = passed(s, v); what != unknown {
				return what
			}
			if assigned, value := assigns(s, v); assigned {
				if !value {
					return isNil
				}
				return untested
			}
		}
		child = stack[i]
	}
	return untested
}

// condition is the condition of an if statement, and the call behind the ok of
// "if e, ok := errors.AsType[*Error](err); ok".
func condition(n *ast.IfStmt) ast.Expr {
	if a, ok := n.Init.(*ast.AssignStmt); ok && len(a.Lhs) == 2 && len(a.Rhs) == 1 {
		if found, ok := a.Lhs[1].(*ast.Ident); ok && isIdent(n.Cond, found.Name) {
			return a.Rhs[0]
		}
	}
	return n.Cond
}

// clauses tells what being in one case of a switch without a tag says: its own
// condition holds and those before it do not.
func clauses(n *ast.SwitchStmt, in ast.Node, v variable) fact {
	for _, s := range n.Body.List {
		c := s.(*ast.CaseClause)
		if s == in {
			if len(c.List) == 1 {
				return says(c.List[0], v, true)
			}
			return unknown
		}
		for _, e := range c.List {
			if what := says(e, v, false); what != unknown {
				return what
			}
		}
	}
	return unknown
}

// passed tells what it says that control came past a statement.
func passed(s ast.Stmt, v variable) fact {
	switch s := s.(type) {
	case *ast.IfStmt:
		if leaves(s.Body.List) {
			return says(s.Cond, v, false)
		}
	case *ast.SwitchStmt:
		for _, s := range s.Body.List {
			c := s.(*ast.CaseClause)
			if !leaves(c.Body) {
				break
			}
			for _, e := range c.List {
				if what := says(e, v, false); what != unknown {
					return what
				}
			}
		}
	}
	return unknown
}

// leaves reports whether control does not come out at the end of a list.
func leaves(list []ast.Stmt) bool {
	if len(list) == 0 {
		return false
	}
	switch s := list[len(list)-1].(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.BranchStmt:
		return s.Tok != token.FALLTHROUGH
	}
	return false
}

// assigns reports whether a statement gives the variable a value; a declaration
// without one is value false.
func assigns(s ast.Stmt, v variable) (assigned, value bool) {
	ast.Inspect(s, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if slices.ContainsFunc(n.Lhs, func(e ast.Expr) bool { return isVar(e, v) }) {
				assigned, value = true, true
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND && isVar(n.X, v) {
				assigned, value = true, true
			}
		case *ast.ValueSpec:
			if slices.ContainsFunc(n.Names, func(id *ast.Ident) bool { return isVar(id, v) }) {
				assigned, value = true, value || len(n.Values) > 0
			}
		}
		return true
	})
	return assigned, value
}

// says tells what a condition that came out as truth says of the variable.
// A function of an error that answers true, as errors.Is does, has seen one.
func says(cond ast.Expr, v variable, truth bool) fact {
	switch c := cond.(type) {
	case *ast.ParenExpr:
		return says(c.X, v, truth)
	case *ast.UnaryExpr:
		if c.Op == token.NOT {
			return says(c.X, v, !truth)
		}
	case *ast.BinaryExpr:
		switch x, y := says(c.X, v, truth), says(c.Y, v, truth); {
		case c.Op == token.EQL || c.Op == token.NEQ:
			return compared(c, v, truth)
		case c.Op != token.LAND && c.Op != token.LOR:
		case (c.Op == token.LAND) == truth: // both came out so
			return max(x, y)
		case x == y:
			return x
		}
	case *ast.CallExpr:
		if truth && slices.ContainsFunc(c.Args, func(e ast.Expr) bool { return isVar(e, v) }) &&
			!slices.ContainsFunc(c.Args, func(e ast.Expr) bool { return isIdent(e, "nil") }) {
			return notNil
		}
	}
	return unknown
}

// compared is says for == and !=.
func compared(c *ast.BinaryExpr, v variable, truth bool) fact {
	equal := (c.Op == token.EQL) == truth
	x, y := c.X, c.Y
	if isVar(y, v) {
		x, y = y, x
	}
	switch {
	case !isVar(x, v):
		return unknown
	case isIdent(y, "nil") && equal:
		return isNil
	case isIdent(y, "nil") || equal: // not nil, or a sentinel
		return notNil
	}
	return unknown
}

// isZero reports whether an expression is written as the zero value.
func isZero(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "nil" || e.Name == "false"
	case *ast.BasicLit:
		return e.Value == "0" || e.Value == `""`
	case *ast.CompositeLit:
		return len(e.Elts) == 0
	}
	return false
}

func isVar(e ast.Expr, v variable) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Obj != nil && variable(id.Obj.Pos()) == v
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
