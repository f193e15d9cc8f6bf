package analysis

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
)

// isPackage tells whether p is clew's package of that name. Vendored copies
// are, and so are stand-ins under another module whose path ends alike.
func isPackage(p *types.Package, name string) bool {
	if p == nil {
		return false
	}
	path, _, _ := strings.Cut(p.Path(), " ") // "path [path.test]" under go vet
	return strings.HasSuffix("/"+path, "/clew/"+name)
}

// named is the named type that t is, or points to.
func named(t types.Type) *types.Named {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	n, _ := types.Unalias(t).(*types.Named)
	return n
}

// isNamed tells whether t is, or points to, one of the types of clew's package.
func isNamed(t types.Type, pkg string, names ...string) bool {
	n := named(t)
	return n != nil && isPackage(n.Obj().Pkg(), pkg) && slices.Contains(names, n.Obj().Name())
}

// isHandle tells whether t is *durable.Context.
func isHandle(t types.Type) bool {
	_, pointer := types.Unalias(t).(*types.Pointer)
	return pointer && isNamed(t, "durable", "Context")
}

// isScope tells whether t is something that steps are declared on.
func isScope(t types.Type) bool {
	return isNamed(t, "saga", "Scope", "Builder", "Group", "Branch")
}

// isStep tells whether t is a step that is being declared.
func isStep(t types.Type) bool { return isNamed(t, "saga", "Forward", "Action", "PivotStep") }

func isOutput(t types.Type) bool { return isNamed(t, "saga", "Output") }

// isSagaContext tells whether t is what saga hands to bodies.
func isSagaContext(t types.Type) bool { return isNamed(t, "saga", "Context", "UndoContext") }

func isStdContext(t types.Type) bool {
	n := named(t)
	return n != nil && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "context" && n.Obj().Name() == "Context"
}

func isError(t types.Type) bool {
	return t != nil && types.Identical(t, types.Universe.Lookup("error").Type())
}

// firstParam is the type of a function's first parameter, or nil.
func firstParam(sig *types.Signature) types.Type {
	if sig == nil || sig.Params().Len() == 0 {
		return nil
	}
	return sig.Params().At(0).Type()
}

// takesHandle tells whether a function has a handle of its own.
func takesHandle(sig *types.Signature) bool {
	if sig == nil {
		return false
	}
	for p := range sig.Params().Variables() {
		if isHandle(p.Type()) {
			return true
		}
	}
	return false
}

// callee is the function or method that is called, as it was declared; nil
// for calls of variables, conversions and builtins.
func (s *source) callee(call *ast.CallExpr) *types.Func {
	fn, _ := typeutil.Callee(s.info, call).(*types.Func)
	if fn == nil {
		return nil
	}
	return fn.Origin()
}

// isOperation tells whether fn is one of durable's operations: what takes a
// handle there, and methods of the handle that can fail.
func isOperation(fn *types.Func) bool {
	if fn == nil || !fn.Exported() || !isPackage(fn.Pkg(), "durable") {
		return false
	}
	sig := fn.Signature()
	if recv := sig.Recv(); recv != nil && isHandle(recv.Type()) {
		return fn.Name() != "Cancelled" && errorResult(sig) >= 0
	}
	first := firstParam(sig)
	return first != nil && isHandle(first)
}

// isStack tells whether t is *saga.Stack, which stands for the handle that it was
// made for.
func isStack(t types.Type) bool { return isNamed(t, "saga", "Stack") }

// isStackOperation tells whether fn is a method of saga.Stack that calls
// operations.
func isStackOperation(fn *types.Func) bool {
	if fn == nil || !fn.Exported() {
		return false
	}
	recv := fn.Signature().Recv()
	return recv != nil && isStack(recv.Type()) && errorResult(fn.Signature()) >= 0
}

// errorResult is the index of the last result if that is an error, else -1.
func errorResult(sig *types.Signature) int {
	last := sig.Results().Len() - 1
	if last < 0 || !isError(sig.Results().At(last).Type()) {
		return -1
	}
	return last
}

// mayOperate tells whether a call is of an operation, or hands a handle to a
// function that can only want it for operations.
func (s *source) mayOperate(call *ast.CallExpr) bool {
	if fn := s.callee(call); isOperation(fn) || isStackOperation(fn) {
		return true
	}
	sig, _ := types.Unalias(s.info.TypeOf(call.Fun)).(*types.Signature)
	return takesHandle(sig)
}

// operationName is how an operation stands in messages: durable.Step.
func operationName(fn *types.Func) string {
	if recv := fn.Signature().Recv(); recv != nil {
		return "(*" + fn.Pkg().Name() + "." + named(recv.Type()).Obj().Name() + ")." + fn.Name()
	}
	return "durable." + fn.Name()
}
