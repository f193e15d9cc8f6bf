package analysis

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/ast/inspector"
)

// capturedHandle: a handle belongs to one place in an execution and to the
// code that it was given to. In the body of a step operations on it return
// ErrNested; in a branch they run in the wrong place or race with their
// owner's. A scope of a saga is sealed once it is built: declaring on it in a
// body panics.
var capturedHandle = rule{"captured-handle", func(s *source) {
	for cur := range s.root.Preorder((*ast.Ident)(nil), (*ast.SelectorExpr)(nil)) {
		f := s.enclosing(cur)
		if f == nil {
			continue
		}
		if v, e := s.handleUse(cur); v != nil {
			if into := f.captures(v, s.info.TypeOf(e)); into != nil {
				s.reportCaptured(cur, e, into)
			}
		} else if id, ok := cur.Node().(*ast.Ident); ok {
			s.reportIndirect(id, f)
		}
	}
}}

// handleUse is a use of a handle or of a scope of a saga: the expression and
// the variable on which it stands.
func (s *source) handleUse(cur inspector.Cursor) (*types.Var, ast.Expr) {
	e := cur.Node().(ast.Expr)
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if field, ok := s.info.Uses[sel.Sel].(*types.Var); !ok || !field.IsField() {
			return nil, nil
		}
	} else if v, ok := s.info.Uses[e.(*ast.Ident)].(*types.Var); !ok || v.IsField() {
		return nil, nil
	}
	t := s.info.TypeOf(e)
	if t == nil || !isHandle(t) && !isStack(t) && !isScope(t) && !isStep(t) || harmless(cur) {
		return nil, nil
	}
	return s.rootVariable(e), e
}

// harmless: the ID of the execution is the same on every handle.
func harmless(cur inspector.Cursor) bool {
	sel, ok := cur.Parent().Node().(*ast.SelectorExpr)
	return ok && sel.X == cur.Node() && sel.Sel.Name == "ExecutionID"
}

// captures is the innermost function around a use of v that must not use what
// comes from outside of it, and does; nil if v may be used.
func (f *function) captures(v *types.Var, t types.Type) *function {
	for ; f != nil && !f.contains(v.Pos()); f = f.outer {
		if f.role >= sagaBody || (isHandle(t) || isStack(t)) && (f.role == stepBody || f.role == branch) {
			return f
		}
	}
	return nil
}

func (s *source) reportCaptured(cur inspector.Cursor, e ast.Expr, into *function) {
	switch {
	case isStack(s.info.TypeOf(e)):
		s.report(e, "%s belongs to the handle that it was made for, and is captured by %s, where it refuses: register before, and unwind after", text(e), into)
	case !isHandle(s.info.TypeOf(e)):
		s.report(e, "%s is captured by %s: declaring there panics, which parks; declare everything before Build", text(e), into)
	case into.role == branch || into.role == sagaRun:
		s.report(e, "%s belongs to the code around %s, which has a handle of its own: use its parameter", text(e), into)
	default:
		if call, ok := cur.Parent().Node().(*ast.CallExpr); ok && isOperation(s.callee(call)) {
			s.report(e, "%s is called inside %s, with the captured handle %s, and returns ErrNested: call it before or after the step", operationName(s.callee(call)), into, text(e))
			return
		}
		s.report(e, "%s is captured by %s, where its operations return ErrNested: use the context that the body is given, and call operations outside of it", text(e), into)
	}
}

// reportIndirect reports a function that is named inside a body or branch, is
// declared outside of it, and uses a handle from out there.
func (s *source) reportIndirect(id *ast.Ident, f *function) {
	v, ok := s.info.Uses[id].(*types.Var)
	if !ok || !isFunc(v.Type()) {
		return
	}
	called := s.function(id)
	if called == nil || called.role != plain {
		return
	}
	for ; f != nil && !f.contains(v.Pos()); f = f.outer {
		if f.role != stepBody && f.role != branch && f.role < sagaBody {
			continue
		}
		if handle := s.capturedBy(called); handle != nil {
			s.report(id, "%s uses the handle %s of the code around %s: give it a handle as a parameter, and none inside the body of a step", id.Name, handle.Name(), f)
		}
		return
	}
}

// capturedBy is a handle that a function uses and does not own, or nil.
func (s *source) capturedBy(f *function) *types.Var {
	var captured *types.Var
	cur, _ := s.root.FindNode(f.node)
	for c := range cur.Preorder((*ast.Ident)(nil), (*ast.SelectorExpr)(nil)) {
		v, e := s.handleUse(c)
		if t := s.info.TypeOf(e); v == nil || f.contains(v.Pos()) || !isHandle(t) && !isStack(t) {
			continue
		}
		if s.enclosing(c).captures(v, s.info.TypeOf(e)) == nil { // else it is reported there
			captured = v
		}
	}
	return captured
}
