package analysis

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// effectsInDefer: a suspension ends the handler's goroutine as runtime.Goexit
// does, so its deferred functions run at every wait, and with the error that
// the last operation left behind. Operations in them record nothing; an undo
// in them undoes at every wait.
var effectsInDefer = rule{"effects-in-defer", func(s *source) {
	for cur := range s.root.Preorder((*ast.DeferStmt)(nil)) {
		if f := s.enclosing(cur); f.handler() && (takesHandle(f.sig) || s.operates(f.block)) {
			s.checkDeferred(cur.Node().(*ast.DeferStmt).Call)
		}
	}
}}

// operates tells whether code calls operations, other than in bodies and
// branches.
func (s *source) operates(n ast.Node) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return s.funcs[n].role == plain
		case *ast.CallExpr:
			found = found || s.mayOperate(n)
		}
		return !found
	})
	return found
}

func (s *source) checkDeferred(call *ast.CallExpr) {
	if s.mayOperate(call) {
		s.reportDeferred(call)
		return
	}
	if f := s.function(call.Fun); f != nil {
		if _, literal := f.node.(*ast.FuncLit); literal {
			d := deferred{s, f}
			d.block(f.block.List, false)
		}
	}
}

func (s *source) reportDeferred(call *ast.CallExpr) {
	s.report(call, "%s in a deferred function: deferred functions run at every suspension, where operations do nothing and return ErrSuspended; call it on the way out of the handler", text(call.Fun))
}

// deferred is a deferred function that is being read.
type deferred struct {
	*source
	f *function
}

// block reads statements. failed says that they run because something is
// believed to have failed.
func (d deferred) block(list []ast.Stmt, failed bool) {
	for _, stmt := range list {
		d.stmt(stmt, failed)
		if i, ok := stmt.(*ast.IfStmt); ok && i.Else == nil && returns(i.Body) && d.succeeding(i.Cond) {
			failed = true // if err == nil { return }
		}
	}
}

func returns(b *ast.BlockStmt) bool {
	if len(b.List) == 0 {
		return false
	}
	_, ok := b.List[len(b.List)-1].(*ast.ReturnStmt)
	return ok
}

func (d deferred) stmt(n ast.Node, failed bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return d.funcs[n].role == plain
		case *ast.BlockStmt:
			d.block(n.List, failed)
			return false
		case *ast.IfStmt:
			d.branches(n, failed)
			return false
		case *ast.CallExpr:
			switch {
			case d.mayOperate(n):
				d.reportDeferred(n)
			case failed && !d.cleans(n):
				d.report(n, "%s in a deferred function, when something seems to have failed: deferred functions run at every suspension, with the error of an operation that was handled long ago; do it on the way out of the handler, in a step", text(n.Fun))
			}
		}
		return true
	})
}

func (d deferred) branches(i *ast.IfStmt, failed bool) {
	if i.Init != nil {
		d.stmt(i.Init, failed)
	}
	d.stmt(i.Cond, failed)
	d.block(i.Body.List, failed || d.failing(i.Cond))
	if i.Else != nil {
		d.stmt(i.Else, failed || d.succeeding(i.Cond))
	}
}

// failing tells whether a condition asks if something has failed before the
// deferred function: err != nil, errors.Is(err, …), !done.
func (d deferred) failing(cond ast.Expr) bool {
	switch e := ast.Unparen(cond).(type) {
	case *ast.BinaryExpr:
		if e.Op == token.LAND || e.Op == token.LOR {
			return d.failing(e.X) || d.failing(e.Y)
		}
		return e.Op == token.NEQ && d.leftover(e.X)
	case *ast.CallExpr:
		fn := d.callee(e)
		return fn != nil && fn.Pkg() != nil && fn.Pkg().Path() == "errors" && len(e.Args) > 0 && d.leftover(e.Args[0])
	case *ast.UnaryExpr:
		return e.Op == token.NOT && d.flag(e.X)
	}
	return false
}

// succeeding tells whether a condition asks the opposite: err == nil, done.
func (d deferred) succeeding(cond ast.Expr) bool {
	if e, ok := ast.Unparen(cond).(*ast.BinaryExpr); ok {
		return e.Op == token.EQL && d.leftover(e.X)
	}
	return d.flag(cond)
}

// flag tells whether an expression is a variable from outside of the deferred
// function that the handler sets on its way, as done is.
func (d deferred) flag(e ast.Expr) bool { return d.outside(e) && d.again[d.variable(e)] }

// leftover tells whether an expression is an error from outside of the
// deferred function.
func (d deferred) leftover(e ast.Expr) bool { return isError(d.info.TypeOf(e)) && d.outside(e) }

func (d deferred) outside(e ast.Expr) bool {
	v := d.variable(e)
	return v != nil && !d.f.contains(v.Pos())
}

// cleaning are methods that give back what the goroutine holds: they must run
// at a suspension too.
var cleaning = []string{"Unlock", "RUnlock", "Done", "Close", "Stop", "End", "Release"}

// speaking are packages that have no effects but for words.
var speaking = []string{"errors", "log", "log/slog", "strings", "strconv"}

// cleans tells whether a call gives something back, makes an error, logs, or
// is no call of code at all.
func (d deferred) cleans(call *ast.CallExpr) bool {
	if tv := d.info.Types[call.Fun]; tv.IsType() || tv.IsBuiltin() {
		return true
	}
	if _, literal := ast.Unparen(call.Fun).(*ast.FuncLit); literal {
		return true // what it calls is looked at by itself
	}
	if n := named(d.info.TypeOf(call.Fun)); n != nil && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "context" {
		return true // CancelFunc, CancelCauseFunc
	}
	fn := d.callee(call)
	if fn == nil || fn.Pkg() == nil {
		return fn != nil // err.Error()
	}
	recv := fn.Signature().Recv()
	switch path := fn.Pkg().Path(); {
	case recv != nil && (isHandle(recv.Type()) || slices.Contains(cleaning, fn.Name()) || returnsText(fn)):
		return true
	case path == "fmt":
		return fn.Name() == "Errorf" || strings.HasPrefix(fn.Name(), "Sprint") || strings.HasPrefix(fn.Name(), "Append")
	default:
		return slices.Contains(speaking, path)
	}
}

// returnsText: Error and String.
func returnsText(fn *types.Func) bool { return fn.Name() == "Error" || fn.Name() == "String" }
