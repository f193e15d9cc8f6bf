package analysis

import (
	"go/ast"
	"go/types"
)

// part is a function of a saga, with what it is a part of: a step, a branch
// (its condition), the saga (its result).
type part struct {
	*function
	role role // one function may be part of several
	item *item
}

// findRoles sees what functions are handed over for.
func (s *source) findRoles() {
	for cur := range s.root.Preorder((*ast.CallExpr)(nil), (*ast.CompositeLit)(nil), (*ast.GoStmt)(nil)) {
		switch n := cur.Node().(type) {
		case *ast.GoStmt:
			if lit, ok := n.Call.Fun.(*ast.FuncLit); ok {
				s.give(lit, goroutine, "")
			}
		case *ast.CompositeLit:
			s.branchLiteral(n)
		case *ast.CallExpr:
			fn := s.callee(n)
			switch {
			case isOperation(fn):
				s.operationRoles(n)
			case fn != nil && isPackage(fn.Pkg(), "saga"):
				s.sagaRoles(n, fn)
			}
		}
	}
}

// give gives a function its role. The first one stays.
func (s *source) give(e ast.Expr, r role, of string) *function {
	f := s.function(e)
	if f != nil && f.role == plain {
		f.role, f.of = r, of
	}
	return f
}

// operationRoles: an operation hands a plain context to bodies, and handles
// to branches.
func (s *source) operationRoles(call *ast.CallExpr) {
	name := "of " + text(call.Fun)
	if len(call.Args) > 1 {
		name = s.label(call.Args[1])
	}
	for _, arg := range call.Args {
		sig, _ := types.Unalias(s.info.TypeOf(arg)).(*types.Signature)
		switch first := firstParam(sig); {
		case first == nil:
		case isHandle(first):
			s.give(arg, branch, name)
		case isStdContext(first):
			s.give(arg, stepBody, name)
		}
	}
}

// branchLiteral: durable.Branch{Name: …, Run: …}.
func (s *source) branchLiteral(lit *ast.CompositeLit) {
	if !isNamed(s.info.TypeOf(lit), "durable", "Branch") {
		return
	}
	name, run := "of a Parallel", ast.Expr(nil)
	for i, e := range lit.Elts {
		field, value := []string{"Name", "Run"}[i%2], e
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			field, value = text(kv.Key), kv.Value
		}
		switch field {
		case "Name":
			name = s.label(value)
		case "Run":
			run = value
		}
	}
	if run != nil {
		s.give(run, branch, name)
	}
}

// sagaRoles: what saga's declarations, and methods of what they return, take.
func (s *source) sagaRoles(call *ast.CallExpr, fn *types.Func) {
	r := sagaBody
	switch fn.Name() {
	case "Verify":
		r = sagaVerify
	case "Undo":
		r = sagaUndo
	case "Build":
		r = sagaResult
	case "When":
		r = condition
	case "Sub":
		r = sagaInput
	case "Register": // of a Stack, which is no scope
		s.stackUndo(call)
		return
	}
	var it *item
	for _, arg := range call.Args {
		sig, _ := types.Unalias(s.info.TypeOf(arg)).(*types.Signature)
		first := firstParam(sig)
		if first == nil || !isSagaContext(first) && !isHandle(first) {
			continue
		}
		if it == nil {
			it = s.partOf(call, r)
		}
		if isHandle(first) { // of Run; it can read no output
			s.give(arg, sagaRun, it.label())
			continue
		}
		if f := s.give(arg, r, it.label()); f != nil {
			s.parts = append(s.parts, part{f, r, it})
		}
	}
}

// stackUndo: what saga.Stack undoes with.
func (s *source) stackUndo(call *ast.CallExpr) {
	if len(call.Args) > 1 {
		s.give(call.Args[1], sagaUndo, s.label(call.Args[0]))
	}
}

// partOf is the item that the functions in a call are a part of.
func (s *source) partOf(call *ast.CallExpr, r role) *item {
	if sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && (r == sagaVerify || r == sagaUndo || r == sagaResult) {
		return s.item(sel.X)
	}
	return s.item(call)
}
