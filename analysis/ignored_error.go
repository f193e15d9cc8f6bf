package analysis

import (
	"go/ast"
	"go/types"
)

// ignoredError: a suspension never comes as an error, so every error of an
// operation means something: the step has failed, or the execution was asked
// to stop. Without a look at it the handler goes on as if it had succeeded. That
// of a Stack's Register says that there will be no undo; Unwind's is the saga's.
var ignoredError = rule{"ignored-error", func(s *source) {
	for cur := range s.root.Preorder((*ast.ExprStmt)(nil), (*ast.AssignStmt)(nil), (*ast.ValueSpec)(nil)) {
		switch n := cur.Node().(type) {
		case *ast.ExprStmt:
			s.checkDiscarded(n.X, nil)
		case *ast.AssignStmt:
			s.checkAssigned(n.Lhs, n.Rhs)
		case *ast.ValueSpec:
			names := make([]ast.Expr, len(n.Names))
			for i, name := range n.Names {
				names[i] = name
			}
			s.checkAssigned(names, n.Values)
		}
	}
}}

func (s *source) checkAssigned(left, right []ast.Expr) {
	if len(right) == 1 {
		s.checkDiscarded(right[0], left)
		return
	}
	for i := range right { // each with one result
		s.checkDiscarded(right[i], left[i:i+1])
	}
}

// checkDiscarded looks at a call whose results go to left, or nowhere.
func (s *source) checkDiscarded(e ast.Expr, left []ast.Expr) {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return
	}
	sig, _ := types.Unalias(s.info.TypeOf(call.Fun)).(*types.Signature)
	if sig == nil || !s.mayOperate(call) {
		return
	}
	fn, name := s.callee(call), text(call.Fun)
	if isOperation(fn) || isStackOperation(fn) {
		name = operationName(fn)
	}
	dropped := func(i int) bool { return i >= len(left) || isBlank(left[i]) }
	switch i := errorResult(sig); {
	case i >= 0 && dropped(i):
		s.report(call, "the error of %s is discarded: a failure would pass for success and a cancel would not be seen; return it, or decide what it means", name)
	case i < 0 && isOperation(fn) && isFuture(fn) && dropped(0):
		s.report(call, "the future of %s is discarded: what nobody waits for is given up when the context around it ends; call its Wait", operationName(fn))
	}
}

func isBlank(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "_"
}

// isFuture tells whether an operation returns what is to be waited for.
func isFuture(fn *types.Func) bool {
	r := fn.Signature().Results()
	return r.Len() == 1 && isNamed(r.At(0).Type(), "durable", "Future")
}
