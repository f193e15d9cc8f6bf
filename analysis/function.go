package analysis

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
)

// role is what a function is handed over for.
type role uint8

const (
	plain      role = iota
	goroutine       // of a go statement
	stepBody        // of a durable step: gets a plain context
	branch          // of Child, Go, Map, Parallel: has a handle of its own
	sagaBody        // of a saga's step
	sagaRun         // of a saga's step by Run: has a handle of its own
	sagaVerify      // of a saga's step
	sagaUndo        // of a saga's step
	sagaInput       // of a sub-saga
	condition       // of a When
	sagaResult      // of Build
)

// function is a declared function or a literal.
type function struct {
	node  ast.Node
	block *ast.BlockStmt
	sig   *types.Signature
	outer *function // around a literal
	role  role
	of    string // the step, branch or saga that it is handed to, for messages
}

func (s *source) findFunctions() {
	for cur := range s.root.Preorder((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		switch n := cur.Node().(type) {
		case *ast.FuncDecl:
			fn, ok := s.info.Defs[n.Name].(*types.Func)
			if !ok || n.Body == nil {
				continue
			}
			f := &function{node: n, block: n.Body, sig: fn.Signature()}
			s.funcs[n], s.decls[fn] = f, f
		case *ast.FuncLit:
			sig, _ := s.info.TypeOf(n).(*types.Signature)
			s.funcs[n] = &function{node: n, block: n.Body, sig: sig, outer: s.enclosing(cur)}
		}
	}
}

// function is the function of this package that an expression stands for: a
// literal, a declared one, or a variable that only ever was one of those.
func (s *source) function(e ast.Expr) *function {
	switch e := ast.Unparen(e).(type) {
	case *ast.FuncLit:
		return s.funcs[e]
	case *ast.IndexExpr: // instantiated
		return s.function(e.X)
	case *ast.SelectorExpr: // a method's value
		fn, _ := s.info.Uses[e.Sel].(*types.Func)
		return s.declared(fn)
	case *ast.Ident:
		switch obj := s.info.Uses[e].(type) {
		case *types.Func:
			return s.declared(obj)
		case *types.Var:
			if value := s.value(obj); value != nil {
				return s.function(value)
			}
		}
	}
	return nil
}

func (s *source) declared(fn *types.Func) *function {
	if fn == nil {
		return nil
	}
	return s.decls[fn.Origin()]
}

// contains tells whether a place lies in the function, parameters included.
func (f *function) contains(pos token.Pos) bool { return f.node.Pos() <= pos && pos < f.node.End() }

// handler tells whether the function is code of a handler: it, or a function
// around it, has a handle, and it is not a body, which runs apart.
func (f *function) handler() bool {
	switch {
	case f == nil || f.role != plain && f.role != branch && f.role != sagaRun:
		return false
	case takesHandle(f.sig):
		return true
	}
	if first := firstParam(f.sig); first != nil && (isStdContext(first) || isSagaContext(first)) {
		return false
	}
	return f.outer.handler()
}

// replayed tells whether the function must do the same whenever it runs.
func (f *function) replayed() bool {
	switch {
	case f == nil:
		return false
	case f.role == sagaResult:
		return true
	case f.role == plain && !takesHandle(f.sig) && f.outer.replayed():
		first := firstParam(f.sig)
		return first == nil || !isStdContext(first) && !isSagaContext(first)
	}
	return f.handler()
}

// recorded tells whether what the function returns is recorded: it need not do
// the same whenever it runs, but may have no effects, since it runs again if the
// record is lost. It is that of the condition or input around the function.
func (f *function) recorded() *function {
	switch {
	case f == nil:
		return nil
	case f.role == condition || f.role == sagaInput:
		return f
	case f.role == plain && !takesHandle(f.sig):
		if first := firstParam(f.sig); first == nil || !isStdContext(first) && !isSagaContext(first) {
			return f.outer.recorded()
		}
	}
	return nil
}

// String says what the function is, for messages.
func (f *function) String() string {
	switch f.role {
	case stepBody, sagaBody, sagaRun:
		return fmt.Sprintf("the body of step %s", f.of)
	case branch:
		return fmt.Sprintf("the branch %s", f.of)
	case sagaVerify:
		return fmt.Sprintf("the Verify of step %s", f.of)
	case sagaUndo:
		return fmt.Sprintf("the undo of step %s", f.of)
	case sagaInput:
		return fmt.Sprintf("the input of sub-saga %s", f.of)
	case condition:
		return fmt.Sprintf("the condition of %s", f.of)
	case sagaResult:
		return "the result of the saga"
	}
	return "this function"
}

// label is how the name of a step stands in messages: as the string that it
// is, or as the expression that makes it.
func (s *source) label(e ast.Expr) string {
	if tv := s.info.Types[e]; tv.Value != nil {
		return tv.Value.ExactString()
	}
	return strconv.Quote(text(e))
}
